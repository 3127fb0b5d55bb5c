#include "sample.h"

const struct metric_info metric_table[METRIC_COUNT] = {
#define METRIC_ROW(id, column, unit, help) [METRIC_##id] = { column, unit, help },
	METRICS(METRIC_ROW, METRIC_ROW)
#undef METRIC_ROW
};

const char *const check_error_names[] = {
	[CHECK_OK] = "",
	[CHECK_DNS] = "dns",
	[CHECK_REFUSED] = "refused",
	[CHECK_TIMEOUT] = "timeout",
	[CHECK_TLS] = "tls",
	[CHECK_PROTOCOL] = "protocol",
	[CHECK_STATUS] = "status",
	[CHECK_BODY] = "body",
};
