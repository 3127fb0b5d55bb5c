#include "log_columns.h"

#include <string.h>

#include "common/parse.h"
#include "chars.h"

enum { STATUS_ERROR = 500, COLUMN_NAME_MAX = 32 };

/*
 * A format is its columns, separated by blanks: the name of a field; "=x" for the word x; "a/b" for two
 * fields and a slash between them; "*" for whatever follows. What is in quotes or square brackets is one
 * column. Checked are
 *
 *	time     a time, with its blanks    status  100 to 599, which gives the level
 *	method   capitals          request "GET /orders HTTP/1.1"
 */
#define HAPROXY "remote_addr time frontend backend/server timers status bytes cookie_in cookie_out " \
		"termination connections queues request"
#define IIS "server_addr method path query port user remote_addr "
#define BALANCER "balancer remote_addr target request_time target_time response_time status target_status " \
		 "received bytes "

static const struct {
	const char *product, *columns;
	bool behind_time;               /* not at the beginning of the line */
	const char *begins; /* the first byte: "9" a digit, "a" a letter, "A" a capital, or itself */
} formats[] = {
	{ "HAProxy", HAPROXY, true, "9:a" },
	{ "HAProxy", HAPROXY, false, "9:a" },
	{ "Squid", "duration remote_addr result/status bytes method url user hierarchy content_type", true,
	  "9" },
	{ "IIS", IIS "user_agent referer status substatus win32_status time_taken", true, "9:" },
	{ "IIS", IIS "user_agent status substatus win32_status time_taken", true, "9:" },
	{ "IIS, all columns",
	  "site computer " IIS "protocol user_agent cookie referer host status substatus win32_status "
	  "bytes received time_taken", true, "A" },
	{ "PHP-FPM", "remote_addr =- time request status *", false, "9:" },
	{ "PHP-FPM", "remote_addr =- user time request status *", false, "9:" },
	{ "ELB", BALANCER "request *", true, "a" },
	{ "ALB", "type time " BALANCER "request user_agent *", false, "a" },
	{ "S3",
	  "bucket_owner bucket time remote_addr requester request_id operation key request status "
	  "error bytes *",
	  false, "9a" },
	{ "Gin", "=| status =| duration =| remote_addr =| method path *", true, "|" },
	{ "Fiber", "=| status =| duration =| remote_addr =| method =| path *", true, "|" },
	{ "chi", "request =from remote_addr =- status bytes =in duration", true, "\"" },
	{ "PHP's server", "remote_addr status method path *", true, "9[" },
	{ "Uvicorn", "remote_addr =- request status *", true, "9" },
	{ "Uvicorn", "remote_addr =- request status *", false, "9" },
	{ "Actix", "remote_addr request status bytes *", true, "9" },
	{ "Django, Envoy", "request status *", true, "\"" },
	{ "morgan", "method path status duration =ms *", false, "A" },
};

/* One column of the line: in quotes, in brackets, or up to a blank. */
static bool take_column(struct text *t, struct text *ret)
{
	char close;
	size_t n = 0;

	*t = text_after(*t, text_span(*t, is_blank));
	if (t->len == 0)
		return false;
	close = t->s[0] == '"' ? '"' : t->s[0] == '[' ? ']' : '\0';
	if (close == '\0') {
		while (n < t->len && !is_blank(t->s[n]))
			n++;
		*ret = (struct text){ t->s, n };
		*t = text_after(*t, n);
		return true;
	}
	for (n = 1; n < t->len && t->s[n] != close; n++)
		n += t->s[n] == '\\';
	if (n >= t->len)
		return false;
	*ret = (struct text){ t->s + 1, n - 1 };
	*t = text_after(*t, n + 1);
	if (text_first(*t) == ':')
		*t = text_after(*t, 1);
	return true;
}

/* A time may have blanks without quotes or brackets: "30/Nov/2026:12:00:01 +0000". */
static bool take_time_column(struct log_clock *c, struct text *t, struct text *ret)
{
	struct log_time time;

	*t = text_after(*t, text_span(*t, is_blank));
	if (!is_digit(text_first(*t)) || !log_time_begins(c, *t, &time))
		return take_column(t, ret);
	*ret = (struct text){ t->s, time.len };
	*t = text_after(*t, time.len);
	return true;
}

static bool is_method(struct text t)
{
	return t.len >= 3 && text_span(t, is_upper) == t.len;
}

bool log_columns_request(struct log_text *ret, struct text request)
{
	struct text method, path, protocol;

	if (!take_column(&request, &method) || !is_method(method) || !take_column(&request, &path))
		return false;
	log_text_add(ret, TEXT("method"), method);
	log_text_add(ret, TEXT("path"), path);
	if (take_column(&request, &protocol))
		log_text_add(ret, TEXT("protocol"), protocol);
	return true;
}

bool log_columns_status(struct log_text *ret, struct text status)
{
	uint64_t code;

	if (status.len != 3 || !parse_u64(status, &code) || code < 100 || code > 599)
		return false;
	if (!ret->leveled)
		ret->level = code >= STATUS_ERROR ? LEVEL_ERROR : LEVEL_INFO;
	ret->leveled = true;
	log_text_add(ret, TEXT("status"), status);
	return true;
}

static bool take_value(struct log_clock *c, struct text name, struct text value, struct log_text *ret)
{
	if (text_eq(name, TEXT("time"))) {
		struct log_time time;

		if (!log_time_begins(c, value, &time) || time.len != value.len)
			return false;
		if (!ret->timed || time.us % 1000000 != 0)      /* a syslog's time in front has no fraction */
			ret->us = time.us;
		ret->timed = true;
		return true;
	}
	if (text_eq(name, TEXT("status")))
		return log_columns_status(ret, value);
	if (text_eq(name, TEXT("request")))
		return value.s[-1] == '"' &&
		       (log_columns_request(ret, value) || value.len == 0 || value.s[0] == '-');
	if ((text_eq(name, TEXT("method")) && !is_method(value)) ||
	    (text_eq(name, TEXT("path")) && !strchr("/h*", text_first(value))))
		return false;
	if (!text_eq(value, TEXT("-")))
		log_text_add(ret, name, value);
	return true;
}

/* "backend/server": the value has a slash as well; behind the last one the second field begins. */
static bool take_two(struct log_clock *c, struct text name, struct text value, struct log_text *ret)
{
	const char *in_name = memchr(name.s, '/', name.len), *in_value = memrchr(value.s, '/', value.len);
	size_t n = (size_t)(in_name - name.s), v = in_value ? (size_t)(in_value - value.s) : 0;

	return in_value && take_value(c, (struct text){ name.s, n }, (struct text){ value.s, v }, ret) &&
	       take_value(c, text_after(name, n + 1), text_after(value, v + 1), ret);
}

static bool read_format(struct log_clock *c, const char *columns, struct text t, struct log_text *ret)
{
	struct text names = text_of(columns), name, value;

	while (take_column(&names, &name)) {
		if (name.s[0] == '*')
			return true;
		if (!(text_eq(name, TEXT("time")) ? take_time_column(c, &t, &value)
						  : take_column(&t, &value)))
			return false;
		if (name.s[0] == '=') {
			if (!text_eq(text_after(name, 1), value))
				return false;
		} else if (memchr(name.s, '/', name.len) ? !take_two(c, name, value, ret)
							 : !take_value(c, name, value, ret)) {
			return false;
		}
	}
	return text_trim(t).len == 0;
}

/* A word, and somewhere behind it what is in quotes; key=value pairs are no columns. */
static bool has_request(struct text t)
{
	size_t n = 0;

	while (n < t.len && t.s[n] != '=' && !is_blank(t.s[n]))
		n++;
	return n < t.len && t.s[n] != '=' && memchr(t.s + n, '"', t.len - n);
}

/* Rules most formats out at once. */
static bool may_begin(const char *begins, struct text t)
{
	char c = text_first(t);

	if (is_digit(c))
		return *begins == '9';
	if (is_letter(c))
		return *begins == 'A' ? is_upper(c) : strchr(begins, 'a') && has_request(t);
	return c && strchr(begins, c);
}

bool log_columns(struct log_clock *c, struct text t, bool behind_time, struct log_text *ret)
{
	struct log_text *r = ret;
	bool timed = r->timed, leveled = r->leveled;
	enum log_level level = r->level;
	int64_t us = r->us;
	unsigned n = r->n;

	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		if (formats[i].behind_time != behind_time || !may_begin(formats[i].begins, t))
			continue;
		if (read_format(c, formats[i].columns, t, r))
			return true;
		r->timed = timed;
		r->leveled = leveled;
		r->level = level;
		r->us = us;
		r->n = n;
	}
	return false;
}
