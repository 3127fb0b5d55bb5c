#include "check_url.h"

#include <curl/curl.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"

/* Accept what browsers accept in a redirect. libcurl refuses other schemes later, and says so. */
static const unsigned parse_flags = CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE | CURLU_ALLOW_SPACE;

static void url_free(CURLU **u)
{
	curl_url_cleanup(*u);
}

static void curl_free_p(char **s)
{
	curl_free(*s);
}

/* A part of the URL, in libcurl's memory; NULL: it has none. */
static char *part(CURLU *u, CURLUPart what, unsigned flags)
{
	char *s = NULL;

	return curl_url_get(u, what, &s, flags) ? NULL : s;
}

/* As browsers do: by the rules of 2010 (which keep "ß"), else by those of 2003. */
static bool to_ascii(const char *host, char **ret)
{
	int r = idn2_lookup_u8((const uint8_t *)host, (uint8_t **)ret, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);

	if (r != IDN2_OK)
		r = idn2_lookup_u8((const uint8_t *)host, (uint8_t **)ret, IDN2_TRANSITIONAL);
	return r == IDN2_OK;
}

static bool is_ascii(const char *s)
{
	while (*s && (unsigned char)*s < 0x80)
		s++;
	return !*s;
}

static bool set_ascii_host(CURLU *u)
{
	CLEANUP(curl_free_p) char *host = part(u, CURLUPART_HOST, CURLU_URLDECODE);
	char *ascii = NULL;
	bool ok;

	if (!host || is_ascii(host))
		return true;            /* file: has no host */
	if (!to_ascii(host, &ascii))
		return false;
	ok = !curl_url_set(u, CURLUPART_HOST, ascii, 0);
	idn2_free(ascii);
	return ok;
}

/* Move libcurl's text into memory for free(). */
static char *own(char *s)
{
	char *copy = s ? strdup(s) : NULL;

	curl_free(s);
	return copy;
}

static CURLU *parse(const char *url)
{
	CURLU *u = curl_url();

	if (u && !curl_url_set(u, CURLUPART_URL, url, parse_flags))
		return u;
	curl_url_cleanup(u);
	return NULL;
}

bool check_url_parse(const char *base, const char *url, struct check_url *ret)
{
	CLEANUP(url_free) CURLU *u = parse(base ? base : url);
	struct check_url found;

	if (!u || (base && curl_url_set(u, CURLUPART_URL, url, parse_flags)) || !set_ascii_host(u))
		return false;
	found.user = own(part(u, CURLUPART_USER, CURLU_URLDECODE));
	found.password = own(part(u, CURLUPART_PASSWORD, CURLU_URLDECODE));
	curl_url_set(u, CURLUPART_USER, NULL, 0);
	curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
	found.url = own(part(u, CURLUPART_URL, 0));
	if (found.url) {
		*ret = found;
		return true;
	}
	check_url_free(&found);
	return false;
}

void check_url_free(struct check_url *u)
{
	free(u->url);
	free(u->user);
	free(u->password);
	*u = (struct check_url){ NULL, NULL, NULL };
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart what)
{
	CLEANUP(curl_free_p) char *x = part(a, what, CURLU_DEFAULT_PORT);
	CLEANUP(curl_free_p) char *y = part(b, what, CURLU_DEFAULT_PORT);

	return x && y && strcasecmp(x, y) == 0;
}

bool check_url_is_https(const char *url)
{
	return strncasecmp(url, "https:", strlen("https:")) == 0;
}

bool check_url_may_carry(const char *from, const char *to)
{
	CLEANUP(url_free) CURLU *a = parse(from);
	CLEANUP(url_free) CURLU *b = parse(to);

	if (!a || !b || !same_part(a, b, CURLUPART_HOST))
		return false;
	if (same_part(a, b, CURLUPART_SCHEME))
		return same_part(a, b, CURLUPART_PORT);
	return !check_url_is_https(from) && check_url_is_https(to);
}

bool check_url_has_name(const char *url)
{
	CLEANUP(url_free) CURLU *u = parse(url);
	CLEANUP(curl_free_p) char *host = u ? part(u, CURLUPART_HOST, 0) : NULL;

	return host && host[0] != '[' && host[strspn(host, "0123456789.")];
}
