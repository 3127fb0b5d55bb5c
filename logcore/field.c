#include "field.h"

#include <string.h>

#include "logcore/redact/redact.h"

#include "backtrace.h"
#include "nested.h"
#include "number.h"
#include "unescaped.h"
#include "timestamp.h"

static const char DIGITS[] = "0123456789abcdef";

static bool add_pointer(struct json *j, const void *p)
{
	char out[2 + 2 * sizeof p + 2];
	size_t i = sizeof out;

	out[--i] = '"';
	for (uintptr_t v = (uintptr_t)p; v; v >>= 4)
		out[--i] = DIGITS[v & 15];
	memcpy(out + i - 3, "\"0x", 3);
	return logcore_json_raw(j, out + i - 3, sizeof out - i + 3);
}

/* Hexadecimal text; if it does not fit it is cut after a whole byte. */
static bool add_hex(struct json *j, const unsigned char *bytes, size_t len)
{
	const char *end = logcore_json_open(j);
	size_t n;

	if (!end)
		return false;
	n = (size_t)(end - j->p) / 2;
	if (n < len)
		j->cut = true;
	else
		n = len;
	for (size_t i = 0; i < n; i++) {
		*j->p++ = DIGITS[bytes[i] >> 4];
		*j->p++ = DIGITS[bytes[i] & 15];
	}
	*j->p++ = '"';
	return true;
}

static bool add_time(struct json *j, int64_t second, unsigned ns)
{
	char out[LOGCORE_TIMESTAMP_MAX + 2];

	if (second < LOGCORE_TIMESTAMP_FIRST || second > LOGCORE_TIMESTAMP_LAST)
		return logcore_json_raw(j, "null", 4);
	out[0] = '"';
	logcore_timestamp_second(out + 1, second);
	logcore_timestamp_rest(out + 1 + LOGCORE_TIMESTAMP_SECOND, ns);
	out[sizeof out - 1] = '"';
	return logcore_json_raw(j, out, sizeof out);
}

static size_t number(char *out, const struct logcore_field *f)
{
	switch (f->type) {
	case LOGCORE_TYPE_INT:
		return logcore_number_i64(out, f->value.i);
	case LOGCORE_TYPE_UINT:
		return logcore_number_u64(out, f->value.u);
	case LOGCORE_TYPE_DOUBLE:
		return logcore_number_double(out, f->value.d);
	case LOGCORE_TYPE_DURATION:
		return logcore_number_millionths(out, f->value.i);
	default:
		return logcore_number_float(out, (float)f->value.d);
	}
}

static bool add_number(struct json *j, const struct logcore_field *f)
{
	char out[LOGCORE_NUMBER_MAX];
	size_t n = number(out, f);

	return logcore_json_raw(j, out, n);
}

/* A JSON value as it is; as a string if it is invalid or too long. */
static bool add_json(struct json *j, const char *text, size_t len)
{
	if (logcore_nested_valid(text, len) && logcore_nested(j, text, len))
		return true;
	return logcore_redact_text(j, text, len);
}

/* Not inlined, so that only these types pay for the arrays. */
__attribute__((noinline)) static bool add_other_value(struct json *j, const struct logcore_field *f)
{
	switch (f->type) {
	case LOGCORE_TYPE_BOOL:
		return f->value.u ? logcore_json_raw(j, "true", 4) : logcore_json_raw(j, "false", 5);
	case LOGCORE_TYPE_INT:
	case LOGCORE_TYPE_UINT:
	case LOGCORE_TYPE_DOUBLE:
	case LOGCORE_TYPE_FLOAT:
	case LOGCORE_TYPE_DURATION:
		return add_number(j, f);
	case LOGCORE_TYPE_POINTER:
		return add_pointer(j, f->value.p);
	case LOGCORE_TYPE_HEX:
		return add_hex(j, f->value.p, f->len);
	case LOGCORE_TYPE_TIME:
		return add_time(j, f->value.i, (unsigned)f->len);
	case LOGCORE_TYPE_JSON:
		return add_json(j, f->value.s, f->len);
	default:
		return logcore_json_raw(j, "null", 4);
	}
}

/* Most values are texts and integers that fit easily. */
static inline bool add_value(struct json *j, const struct logcore_field *f)
{
	/* A null or a boolean is no secret, even under a secret key. */
	if (f->type > LOGCORE_TYPE_BOOL && j->redact &&
	    logcore_secret_key(&j->redact->keys, f->key, f->key_len))
		return logcore_redact_value(j);
	if (f->type == LOGCORE_TYPE_STRING)
		return logcore_redact_text(j, f->value.s, f->len);
	if ((f->type == LOGCORE_TYPE_INT || f->type == LOGCORE_TYPE_UINT) &&
	    j->end - j->p >= LOGCORE_NUMBER_MAX) {
		j->p += f->type == LOGCORE_TYPE_INT ? logcore_number_i64(j->p, f->value.i)
						    : logcore_number_u64(j->p, f->value.u);
		return true;
	}
	return add_other_value(j, f);
}

static bool add_errno(struct json *j, int64_t error)
{
	char out[LOGCORE_NUMBER_MAX];
	const char *name;

	if (error < 0)
		error = -error;
	name = logcore_error_text(error);
	return logcore_json_raw(j, "\"errno\":", 8) &&
	       logcore_json_raw(j, out, logcore_number_i64(out, error)) &&
	       logcore_json_raw(j, ",\"error\":", 9) && logcore_json_text(j, name, strlen(name));
}

/* "source":"file:line (function)" */
static bool add_source(struct json *j, const struct logcore_field *f)
{
	char line[LOGCORE_NUMBER_MAX];
	size_t n = logcore_number_u64(line, f->key_len);
	const char *end;

	if (!logcore_json_raw(j, "\"source\":", 9) || !(end = logcore_json_open(j)))
		return false;
	if (logcore_json_part(j, end, f->value.s, strlen(f->value.s)) && logcore_json_part(j, end, ":", 1) &&
	    logcore_json_part(j, end, line, n) && logcore_json_part(j, end, " (", 2) &&
	    logcore_json_part(j, end, f->key, strlen(f->key)))
		logcore_json_part(j, end, ")", 1);
	*j->p++ = '"';
	return true;
}

/* Key and value; false when they do not fit. */
static bool add_member(struct json *j, const struct logcore_field *f)
{
	if (f->type == LOGCORE_TYPE_ERRNO)
		return add_errno(j, f->value.i);
	if (f->type == LOGCORE_TYPE_SOURCE)
		return add_source(j, f);
	if (f->type == LOGCORE_TYPE_BACKTRACE)
		return logcore_json_raw(j, "\"backtrace\":", 12) && logcore_backtrace(j);
	return logcore_json_text(j, f->key, f->key_len) && !j->cut && logcore_json_raw(j, ":", 1) &&
	       add_value(j, f);
}

/* Write ,"key": if the key needs no escapes, as almost all do; false: nothing was written. */
static inline bool add_plain_key(struct json *j, const struct logcore_field *f, bool comma)
{
	size_t len = f->key_len;
	char *p = j->p;

	if ((size_t)(j->end - p) < len + sizeof ",\"\":" - 1 || len > j->text_max ||
	    f->type >= LOGCORE_TYPE_ERRNO)
		return false;
	*p = ',';
	p += comma;
	*p++ = '"';
	if (logcore_unescaped(p, f->key, len) < len)
		return false;
	p += len;
	*p++ = '"';
	*p++ = ':';
	j->p = p;
	return true;
}

/* Write the whole member or nothing; only the text of a value may be cut. */
static bool add_field(struct json *j, const struct logcore_field *f, bool comma)
{
	char *mark = j->p;
	unsigned redacted = j->redacted;
	bool cut = j->cut;

	j->cut = false;
	if (add_plain_key(j, f, comma) ? add_value(j, f)
				       : (!comma || logcore_json_raw(j, ",", 1)) && add_member(j, f)) {
		j->cut |= cut;
		return true;
	}
	j->cut = true;
	j->redacted = redacted;
	j->p = mark;
	return false;
}

void logcore_fields(struct json *j, const struct logcore_field *f, bool comma)
{
	for (; f->type != LOGCORE_TYPE_END_; f++)
		if (add_field(j, f, comma))
			comma = true;
}
