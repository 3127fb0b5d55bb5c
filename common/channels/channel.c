#include "channel.h"

#include <errno.h>
#include <string.h>

#include "common/json/json_get.h"
#include "common/net/url.h"

static const struct channel_kind *const kinds[] = {
	&channel_mail, &channel_slack, &channel_telegram, &channel_ntfy, &channel_pagerduty, &channel_webhook,
};

const char *const channel_kind_names[] = {
	"mail", "slack", "telegram", "ntfy", "pagerduty", "webhook", NULL,
};

enum { KINDS = sizeof kinds / sizeof *kinds };

const struct channel_kind *channel_kind_find(const char *name)
{
	for (size_t i = 0; i < KINDS; i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	return NULL;
}

const char *channel_setting(const struct message *m, const char *name)
{
	return json_text(m->settings, name);
}

const char *channel_secret(const struct message *m, const char *name)
{
	return json_text(m->secrets, name);
}

/* A line break in a setting would begin a header of its own. */
static bool one_line(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

/* Everybody who sees the channel sees a URL that is no secret. */
static const char *open_url_problem(const char *url)
{
	size_t scheme = url_http_scheme(url), authority = strcspn(url + scheme, "/?#");

	if (memchr(url + scheme, '@', authority))
		return "has a login, which people would see; a login has settings of its own";
	return strpbrk(url, "?#") ? "has a query or a fragment; leave it out" : NULL;
}

int channel_check_setting(const struct channel_kind *k, const struct setting *s, const char *value,
			  struct err *e)
{
	bool is_url = strcmp(s->name, "api_url") == 0 || (strcmp(s->name, "url") == 0 && k != &channel_mail);
	const char *problem = *value && is_url ? url_http_problem(value) : NULL;

	if (*value && is_url && !problem && !s->secret)
		problem = open_url_problem(value);
	if (!*value && s->required)
		return err_set(e, EINVAL, "the channel has no %s: %s", s->name, s->help);
	if (!one_line(value))
		return err_set(e, EINVAL, "the channel's %s has a control character; remove it", s->name);
	if (problem)
		return err_set(e, EINVAL, "the channel's %s: %s", s->name, problem);
	return 0;
}

int channel_check(const struct message *m, const struct channel_kind *k, struct err *e)
{
	int r = 0;

	for (const struct setting *s = k->settings; r == 0 && s->name; s++)
		r = channel_check_setting(
			k, s, s->secret ? channel_secret(m, s->name) : channel_setting(m, s->name), e);
	return r;
}

static void print_settings(const struct channel_kind *k, bool secret, FILE *to)
{
	struct buf out = BUF(64 * 1024);
	const char *between = "";

	buf_addc(&out, '{');
	for (const struct setting *s = k->settings; s->name; s++) {
		if (s->secret != secret)
			continue;
		buf_addf(&out, "%s\"%s\": {\"required\": %s, \"help\": ", between, s->name,
			 s->required ? "true" : "false");
		buf_add_json(&out, text_of(s->help));
		buf_addc(&out, '}');
		between = ", ";
	}
	buf_addc(&out, '}');
	fwrite(out.data, 1, out.len, to);
	buf_free(&out);
}

void channel_kinds_print(FILE *to)
{
	for (size_t i = 0; i < KINDS; i++) {
		const struct channel_kind *k = kinds[i];

		fprintf(to,
			"%s{\"kind\": \"%s\", \"title\": \"%s\", \"gap_s\": %g, \"at_once\": %d, "
			"\"settings\": ",
			i ? ",\n" : "[", k->name, k->title, k->gap_s, k->at_once);
		print_settings(k, false, to);
		fputs(", \"secrets\": ", to);
		print_settings(k, true, to);
		fputc('}', to);
	}
	fputs("]\n", to);
}
