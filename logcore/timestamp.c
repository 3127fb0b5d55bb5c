#include "timestamp.h"

#include <string.h>

#include "number.h"

/* A day since 1970-01-01 to year, month and day.
 * Source: Howard Hinnant, "chrono-compatible low-level date algorithms". */
static void civil(int64_t day, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
	int64_t z = day + 719468;
	unsigned era = (unsigned)(z / 146097), doe = (unsigned)(z % 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;

	*ret_day = doy - (153 * mp + 2) / 5 + 1;
	*ret_month = mp < 10 ? mp + 3 : mp - 9;
	*ret_year = yoe + era * 400 + (*ret_month <= 2);
}

void logcore_timestamp_second(char out[LOGCORE_TIMESTAMP_SECOND], int64_t second)
{
	/* Count from year 1, so that the dividend is not negative. */
	int64_t since = second - LOGCORE_TIMESTAMP_FIRST, day = since / 86400;
	unsigned year, month, mday, rest = (unsigned)(since % 86400);

	civil(day + LOGCORE_TIMESTAMP_FIRST / 86400, &year, &month, &mday);
	memcpy(out, "0000-00-00T00:00:00.", LOGCORE_TIMESTAMP_SECOND);
	logcore_number_two(out, year / 100);
	logcore_number_two(out + 2, year % 100);
	logcore_number_two(out + 5, month);
	logcore_number_two(out + 8, mday);
	logcore_number_two(out + 11, rest / 3600);
	logcore_number_two(out + 14, rest / 60 % 60);
	logcore_number_two(out + 17, rest % 60);
}

void logcore_timestamp_rest(char out[LOGCORE_TIMESTAMP_MAX - LOGCORE_TIMESTAMP_SECOND], unsigned ns)
{
	unsigned us = ns / 1000;

	logcore_number_two(out, us / 10000);
	logcore_number_two(out + 2, us / 100 % 100);
	logcore_number_two(out + 4, us % 100);
	out[6] = 'Z';
}
