#define FOLDER "fleet_hub/pages/"
#include "routes.h"

#include "common/parse.h"
#include "fleet_hub/view/assets.h"
#include "fleet_hub/base/refusal.h"
#include "fleet_hub/view/view.h"
#include "fleet_hub/logs/log_lines.h"

PAGE(fleet);
PAGE(server);
SQL(checks);
ROWS(checks);
SQL(delivery);
SQL(losses);
HTML(help);

enum { PAGE_MS = PAGE_TIMEOUT_MS };

/* ---- parameters: each table in the order of $1, $2 ... -------------------------------------------- */

enum {
	SERVERS_MAX = 1000,             /* on a page of the fleet */
	PAGE_NUMBER_MAX = 1000000,
	LABEL_MAX = 63,                 /* characters of its name, see label_errors() */
};

/* How many servers: all of them in a file, as many as fleet.sql thinks best on a page that says nothing. */
static int param_show(struct params *p, const struct param *row, const char *value, struct err *e)
{
	int64_t n;

	if (p->form == FORM_CSV || (p->form == FORM_JSON && strcmp(value, "all") == 0))
		return params_add(p, NULL, e);
	if (!*value)
		return params_add(p, p->form == FORM_JSON ? "1000" : "0", e);
	if (strcmp(value, "all") == 0)
		return params_add(p, "1000", e);
	if (!parse_i64(text_of(value), &n) || n < 1 || n > SERVERS_MAX)
		return params_refuse(row, value, "write a number of servers, from 1 to 1000", e);
	return params_add(p, value, e);
}

static int param_page(struct params *p, const struct param *row, const char *value, struct err *e)
{
	int64_t n;

	if (!*value)
		return params_add(p, "1", e);
	if (!parse_i64(text_of(value), &n) || n < 1 || n > PAGE_NUMBER_MAX)
		return params_refuse(row, value, "write the number of a page, from 1", e);
	return params_add(p, value, e);
}

/* Tags are no label to group by: a server has many. */
static int param_group(struct params *p, const struct param *row, const char *value, struct err *e)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	if (value[strspn(value, letters)] || strlen(value) > LABEL_MAX || strcmp(value, "tags") == 0)
		return params_refuse(row, value, "write the name of a label, such as environment or team", e);
	return params_add(p, value, e);
}

/* A label and its value; without a value for servers that don't have the label. */
static int param_label(struct params *p, const struct param *row, const char *value, struct err *e)
{
	const char *eq = strchr(value, '=');

	if (*value && (!eq || eq == value))
		return params_refuse(row, value, "write LABEL=VALUE", e);
	if (params_add_copy(p, (struct text){ value, eq ? (size_t)(eq - value) : 0 }, e) < 0)
		return -e->code;
	return params_add(p, eq ? eq + 1 : "", e);
}

static int param_version(struct params *p, const struct param *row, const char *value, struct err *e)
{
	(void)row;
	(void)value;
	return params_add(p, OBSERV_VERSION, e);
}

static const struct param fleet_params[] = {
	{ "q",      param_text,   "" },
	{ "state",  param_text,   "" },
	{ "sort",   param_text,   "" },
	{ "show",   param_show,   "" },         /* $4 */
	{ "page",   param_page,   "" },
	{ "view",   param_text,   "" },
	{ "environment", param_text, "" },
	{ "team",   param_text,   "" },
	{ "tag",    param_text,   "" },
	{ "",       param_version, NULL },      /* $10 */
	{ "group",  param_group,  "" },
	{ "label",  param_label,  "" },         /* $12, $13 */
	{ NULL,     NULL,         NULL },
};

static const struct param server_params[] = {
	{ "name",   param_rest,   NULL },
	{ "from",   param_time,   NULL },
	{ "to",     param_until,  NULL },
	{ "range",  param_range,  "1h" },
	{ NULL,     NULL,         NULL },
};

/* ---- answers that need no database ------------------------------------------------------------------ */

static void answer_asset(struct request *r, struct db *db, struct response *s)
{
	const struct asset *a = asset_find(text_of(r->path + strlen("/static/")));
	const char *version = request_param(r, "v");
	char current[17];

	(void)db;
	if (!a) {
		refuse_with(r, s, 404, "No such file", "There is no file of that name.", NULL);
		return;
	}
	snprintf(current, sizeof current, "%016llx", (unsigned long long)asset_hash(a));
	s->status = 200;
	s->type = a->type;
	s->cache =
		version && strcmp(version, current) == 0 ? "public, max-age=31536000, immutable" : "no-cache";
	buf_add(&s->body, a->bytes, *a->len);
}

/* A link, so that it works without scripts. What it sets is harmless, so GET will do. */
static void answer_theme(struct request *r, struct db *db, struct response *s)
{
	const char *set = request_param(r, "set");
	char cookie[128];

	(void)db;
	if (!set || (strcmp(set, "light") != 0 && strcmp(set, "dark") != 0 && strcmp(set, "auto") != 0)) {
		refuse_with(r, s, 400, "No such theme", "A theme is light, dark or auto.", NULL);
		return;
	}
	snprintf(cookie, sizeof cookie, "observ_theme=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax", set,
		 strcmp(set, "auto") == 0 ? 0 : 31536000);
	response_header(s, "Set-Cookie", cookie);
	view_redirect(r, s, request_param(r, "back"), "/");
}

/* ---- the table ---------------------------------------------------------------------------------------- */

static const struct route rows[] = {
	{ .path = "/",
	  .name = "fleet",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = fleet_params,
	  .sql = sql_fleet,
	  SHOW(fleet),
	  .rows = "servers",
	  .children = "apps",
	  .timeout_ms = PAGE_MS },
	{ .path = "/servers/*",
	  .name = "server",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = server_params,
	  .sql = sql_server,
	  .more = { { sql_checks, 4, "checks", FOR_ALL }, { sql_delivery, 1, "delivery", FOR_ALL },
		    { sql_losses, 4, "losses", FOR_ALL } },
	  SHOW(server),
	  .decorate = log_lines_decorate,
	  .rows_sql = rows_checks,
	  .rows = "checks",
	  .must_have = "name",
	  .timeout_ms = PAGE_MS },
	{ .path = "/help", .name = "help", .methods = HTTP_GET, .role = ROLE_VIEWER, SHOW(help) },
	{ .path = "/static/*", .name = "static", .methods = HTTP_GET, .answer = answer_asset },
	{ .path = "/theme", .name = "theme", .methods = HTTP_GET, .answer = answer_theme },
};

const struct route_table routes_pages = { rows, sizeof rows / sizeof rows[0] };
