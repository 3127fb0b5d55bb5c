/*
 * Any bytes as a configuration and as a URL. Checks that
 * - a file is read, or refused in one line that names it;
 * - a configuration prints as a file that reads back to the same;
 * - a password is never shown, also if it is misplaced or not escaped.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/net/url_mask.h"
#include "obs_agent/config/config.h"

#define MARK "ZqX"                      /* stands at the start of each password */

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "broken: %s\n", what);
	abort();
}

static char *printed(const struct config *c)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	config_print(c, out);
	fclose(out);
	return text;
}

static void check_round_trip(const struct config *c)
{
	char *first = printed(c), *second;
	struct config again;
	struct config_mistakes m;

	must(!strstr(first, MARK), "a secret is printed");
	if (config_parse("f", c->app, text_of(first), &again, &m) < 0) {
		/* Two URLs may differ in nothing but their passwords. */
		must(strstr(m.e[0].msg, "is checked twice"), m.e[0].msg);
		free(first);
		return;
	}
	second = printed(&again);
	must(strcmp(first, second) == 0, "the round trip changes the configuration");
	config_free(&again);
	free(first);
	free(second);
}

static void fuzz_parse(struct text input)
{
	struct config c;
	struct config_mistakes m;

	if (config_parse("f", "my-app", input, &c, &m) == 0) {
		if (!memmem(input.s, input.len, MARK, 3))
			check_round_trip(&c);
		config_free(&c);
		return;
	}
	must(strncmp(m.e[0].msg, "f:", 2) == 0, "an error without a place");
	must(!strchr(m.e[0].msg, '\n'), "an error of more than one line");
}

/* The URL must not show the mark. */
static void must_hide(const char *url)
{
	char out[1024];

	url_mask(url, out, sizeof out);
	if (strstr(out, MARK))
		fprintf(stderr, "%s\nis shown as %s\n", url, out);
	must(!strstr(out, MARK), "a password is shown");
}

static void fuzz_mask(const char *s)
{
	char out[300], escaped[3 * 256 + 1] = "", url[4 * 256 + 64];
	size_t n = strnlen(s, 256), len;

	url_mask(s, out, sizeof out);
	must(memchr(out, '\0', sizeof out) != NULL, "no terminator");
	if (strstr(s, MARK))
		return;

	/* The form in a URI: percent-encoded. */
	len = 0;
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(escaped + len, sizeof escaped - len, "%%%02X", (unsigned char)s[i]);
	snprintf(url, sizeof url, "postgres://u:" MARK "%.*s@h/d?x=y", (int)len, escaped);
	must_hide(url);
	snprintf(url, sizeof url, "https://u:" MARK "%.*s@h/d?x=y", (int)len, escaped);
	must_hide(url);

	/* The form in key=value pairs. */
	len = (size_t)snprintf(url, sizeof url, "host=h password='" MARK);
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(url + len, sizeof url - len, "%s%c", strchr("'\\", s[i]) ? "\\" : "",
					s[i]);
	snprintf(url + len, sizeof url - len, "' dbname=d");
	must_hide(url);

	/* The form that people write. */
	snprintf(url, sizeof url, "postgres://u:" MARK "%.*s@h/d", (int)n, s);
	must_hide(url);
	snprintf(url, sizeof url, "u:" MARK "%.*s@h", (int)n, s);
	must_hide(url);
	snprintf(url, sizeof url, "%.*s password=" MARK, (int)n, s);
	must_hide(url);
	snprintf(url, sizeof url, "%.*s&token=" MARK "%.*s", (int)n, s, (int)strcspn(s, "&#;? "), s);
	must_hide(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s;

	setenv("SECRET", MARK, 1);
	setenv("SYNTAX", "a: [b]\n- \"c' # $${x}", 1);
	fuzz_parse((struct text){ (const char *)data, size });
	s = calloc(1, size + 1);
	if (size)
		memcpy(s, data, size);
	fuzz_mask(s);
	free(s);
	return 0;
}
