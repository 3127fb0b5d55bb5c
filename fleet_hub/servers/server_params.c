#include "server_params.h"

#include "common/settings/near.h"
#include "common/parse.h"
#include "common/utf8.h"
#include "fleet_hub/base/conf.h"
#include "wire/sample.h"

enum { STEP_MAX_S = 31536000, SITE_MAX = 1024, SAID_MAX = 60 };

int param_metric(struct params *p, const struct param *row, const char *value, struct err *e)
{
	struct text name = text_of(value ? value : "");
	struct near near = near_to(name);
	char hint[NEAR_HINT_SIZE];

	for (size_t i = 0; i < METRIC_COUNT; i++) {
		if (text_eq(name, text_of(metric_table[i].column)))
			return params_add(p, value, e);
		near_try(&near, metric_table[i].column);
	}
	return err_set(e, 400, "%s=%.*s is no metric%s.", row->name,
		       (int)utf8_cut(name.s, name.len, SAID_MAX), name.s, near_hint(&near, "", hint));
}

int param_step(struct params *p, const struct param *row, const char *value, struct err *e)
{
	static const char units[] = "smhd";
	static const int64_t seconds[] = { 1, 60, 3600, 86400 };
	struct text t = text_of(value);
	const char *unit = t.len > 1 ? strchr(units, t.s[t.len - 1]) : NULL;
	char shown[24];
	int64_t n;

	if (t.len == 0)
		return params_add(p, NULL, e);
	if (unit)
		t.len--;
	if (!parse_i64(t, &n) || n < 1 || n > STEP_MAX_S)
		return params_refuse(row, value, "write seconds, or a number with s, m, h or d", e);
	n *= unit ? seconds[unit - units] : 1;
	snprintf(shown, sizeof shown, "%lld", (long long)(n < STEP_MAX_S ? n : STEP_MAX_S));
	return params_add_copy(p, text_of(shown), e);
}

/* A name or an address with a port. What else a client writes there goes nowhere. */
static bool is_host(const char *host)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:[]-_";

	return *host && strspn(host, allowed) == strlen(host);
}

int param_site(struct params *p, const struct param *row, const char *value, struct err *e)
{
	const struct request *r = p->request;
	struct text site = text_of(r->conf->public_url);
	char shown[SITE_MAX];

	(void)row;
	(void)value;
	while (site.len && site.s[site.len - 1] == '/')
		site.len--;
	if (site.len)
		return params_add_copy(p, site, e);
	snprintf(shown, sizeof shown, "%s://%s%s", r->who.secure ? "https" : "http",
		 is_host(r->host) ? r->host : "localhost", r->base);
	return params_add_copy(p, text_of(shown), e);
}

/* Of "postgresql://user:secret@host/name?options" what stands behind the login, without the options. */
static struct text behind_login(const char *url)
{
	const char *at = strstr(url, "://");
	struct text t = { at ? at + 3 : NULL, at ? strcspn(at + 3, "?") : 0 };

	for (size_t i = 0; i < t.len && t.s[i] != '/'; i++)
		if (t.s[i] == '@')
			return (struct text){ t.s + i + 1, t.len - i - 1 };
	return t;
}

int param_agents_database(struct params *p, const struct param *row, const char *value, struct err *e)
{
	const char *url = getenv("OBSERV_DATABASE_URL");
	struct text t = text_of(p->request->conf->agents_database);

	(void)row;
	(void)value;
	if (t.len)
		return params_add_copy(p, t, e);
	t = behind_login(url && *url                      ? url
			 : p->request->conf->database_url ? p->request->conf->database_url
							  : "");
	return t.len && t.s[0] != '/' ? params_add_copy(p, t, e) : params_add(p, NULL, e);
}
