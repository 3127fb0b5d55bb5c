#define FOLDER "fleet_hub/people/"
#include "routes.h"

#include "common/cleanup.h"
#include "fleet_hub/base/auth.h"
#include "fleet_hub/base/refusal.h"
#include "fleet_hub/view/view.h"
#include "fleet_hub/people/accounts.h"
#include "fleet_hub/people/sign_in.h"

PAGE(sign_in);
SQL(sign_out);
PAGE(account);
SQL(session_end);
SQL(tokens);
SQL(token_create);
HTML(token);
SQL(token_end);
PAGE(users);
PAGE(user);
SQL(user_create);
SQL(user_change);
SQL(user_reset);
SQL(user_delete);
HTML(user_secret);
PAGE(audit);

enum { FORM_MAX = 8192 };               /* bytes */

/* ---- parameters: each table in the order of $1, $2 ... -------------------------------------------- */

static const struct param hash_params[] = {
	{ "",       param_hash,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param list_params[] = {
	{ "",       param_hash,   NULL },
	{ "after",  param_text,   NULL },
	{ "limit",  param_limit,  NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param user_create_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_body,   NULL },
	{ "",       param_secret, "generate" },
	{ NULL,     NULL,         NULL },
};

static const struct param user_change_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_rest,   NULL },
	{ "",       param_body,   NULL },
	{ "",       param_secret, NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param user_reset_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_rest,   NULL },
	{ "",       param_secret, "generate" },
	{ NULL,     NULL,         NULL },
};

static const struct param token_create_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_body,   NULL },
	{ "",       param_new_token, "obs_t_" },
	{ NULL,     NULL,         NULL },
};

static const struct param audit_params[] = {
	{ "",       param_hash,   NULL },
	{ "q",      param_text,   "" },
	{ "before", param_count,  NULL },
	{ "limit",  param_limit,  NULL },
	{ NULL,     NULL,         NULL },
};

/* The session of a browser ends, and its cookie. */
static void answer_sign_out(struct request *r, struct db *db, struct response *s)
{
	const char *params[] = { r->who.hash };
	const struct db_question question = { sql_sign_out, 1, params, PAGE_TIMEOUT_MS };
	CLEANUP(buf_free) struct buf answer = BUF(HTTP_HEADERS_MAX);
	struct err e;
	enum db_failure failure = db_change(db, &question, &answer, &e);

	if (failure) {
		refuse_failure(r, db, s, failure, &e);
		return;
	}
	auth_set_cookie(r, s, "");
	response_header(s, "Clear-Site-Data", "\"cache\", \"storage\"");
	view_redirect(r, s, NULL, "/sign-in");
}

static const struct route rows[] = {
	/* ---- signing in, the own account ---- */
	{ .path = "/sign-in", .name = "sign-in", .methods = HTTP_GET, .sql = sql_sign_in, SHOW(sign_in) },
	{ .path = "/sign-in",
	  .name = "sign-in",
	  .methods = HTTP_POST,
	  .body = { BODY_FORM, FORM_MAX },
	  .answer = sign_in_form },
	{ .path = "/sign-out",
	  .name = "sign-out",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .body = { BODY_FORM, FORM_MAX },
	  .answer = answer_sign_out },
	{ .path = "/api/v1/auth/login",
	  .name = "login",
	  .methods = HTTP_POST,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .answer = sign_in_token,
	  .doc = { .summary = "Sign in", .takes = "Login", .form = "LoginByName", .gives = "Session",
		   .limit = "sign-in by address",
		   .more = { { 400, "OAuthRefusal" },
			     { 403, "OAuthRefusal" },
			     { 429, "OAuthRefusal" },
			     { 503, "Unavailable" } } } },
	{ .path = "/api/v1/auth/logout",
	  .name = "logout",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .params = hash_params,
	  .sql = sql_sign_out,
	  .status = 204,
	  .doc = { .summary = "Sign out: the session is over at once", .limit = "" } },
	{ .path = "/api/v1/auth/me",
	  .name = "me",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = hash_params,
	  .sql = sql_account,
	  .doc = { .summary = "Tell who asks", .gives = "Account" } },
	{ .path = "/account",
	  .name = "account",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = hash_params,
	  .sql = sql_account,
	  SHOW(account) },
	{ .path = "/account/password",
	  .name = "account",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .body = { BODY_FORM, FORM_MAX },
	  .answer = account_change_password },
	{ .path = "/account/sessions/*/end",
	  .name = "account",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = params_one,
	  .sql = sql_session_end,
	  .then = "/account" },
	{ .path = "/account/tokens",
	  .name = "account",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = token_create_params,
	  .sql = sql_token_create,
	  SHOW(token) },
	{ .path = "/account/tokens/*/end",
	  .name = "account",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = params_one,
	  .sql = sql_token_end,
	  .then = "/account" },
	{ .path = "/api/v1/auth/sessions/*",
	  .name = "session",
	  .methods = HTTP_DELETE,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = params_one,
	  .sql = sql_session_end,
	  .status = 204,
	  .doc = { .summary = "End one of your sessions" } },

	/* ---- users, tokens and the audit log, for admins ---- */
	{ .path = "/users",
	  .name = "users",
	  .methods = HTTP_GET,
	  .role = ROLE_ADMIN,
	  .params = list_params,
	  .sql = sql_users,
	  SHOW(users),
	  .next = "after" },
	{ .path = "/users",
	  .name = "users",
	  .methods = HTTP_POST,
	  .role = ROLE_ADMIN,
	  .body = { BODY_FORM, FORM_MAX },
	  .hashes = true,
	  .params = user_create_params,
	  .sql = sql_user_create,
	  SHOW(user_secret),
	  .status = 201 },
	{ .path = "/users/*",
	  .name = "users",
	  .methods = HTTP_GET,
	  .role = ROLE_ADMIN,
	  .params = params_one,
	  .sql = sql_user,
	  SHOW(user) },
	{ .path = "/users/*/change",
	  .name = "users",
	  .methods = HTTP_POST,
	  .role = ROLE_ADMIN,
	  .body = { BODY_FORM, FORM_MAX },
	  .hashes = true,
	  .params = user_change_params,
	  .sql = sql_user_change,
	  .then = "/users" },
	{ .path = "/users/*/reset",
	  .name = "users",
	  .methods = HTTP_POST,
	  .role = ROLE_ADMIN,
	  .body = { BODY_FORM, FORM_MAX },
	  .hashes = true,
	  .params = user_reset_params,
	  .sql = sql_user_reset,
	  SHOW(user_secret) },
	{ .path = "/users/*/delete",
	  .name = "users",
	  .methods = HTTP_POST,
	  .role = ROLE_ADMIN,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = params_one,
	  .sql = sql_user_delete,
	  .then = "/users" },
	{ .path = "/audit",
	  .name = "audit",
	  .methods = HTTP_GET,
	  .role = ROLE_ADMIN,
	  .params = audit_params,
	  .sql = sql_audit,
	  SHOW(audit),
	  .next = "before" },
	{ .path = "/api/v1/users",
	  .name = "users",
	  .methods = HTTP_GET,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .params = list_params,
	  .sql = sql_users,
	  .next = "after",
	  .doc = { .summary = "List the users", .gives = "UserList" } },
	{ .path = "/api/v1/users",
	  .name = "users",
	  .methods = HTTP_POST,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .hashes = true,
	  .params = user_create_params,
	  .sql = sql_user_create,
	  .status = 201,
	  .doc = { .summary = "Create a user", .takes = "NewUser", .gives = "UserCreated" } },
	{ .path = "/api/v1/users/*",
	  .name = "user",
	  .methods = HTTP_GET,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .params = params_one,
	  .sql = sql_user,
	  .doc = { .summary = "Get a user with sessions and tokens", .gives = "UserWhole" } },
	{ .path = "/api/v1/users/*",
	  .name = "user",
	  .methods = HTTP_PATCH,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .hashes = true,
	  .params = user_change_params,
	  .sql = sql_user_change,
	  .doc = { .summary = "Change a user", .takes = "UserChange", .gives = "OneUser" } },
	{ .path = "/api/v1/users/*",
	  .name = "user",
	  .methods = HTTP_DELETE,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .params = params_one,
	  .sql = sql_user_delete,
	  .status = 204,
	  .doc = { .summary = "Delete a user", .more = { { 422, "Unprocessable" } } } },
	{ .path = "/api/v1/tokens",
	  .name = "tokens",
	  .methods = HTTP_GET,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .params = list_params,
	  .sql = sql_tokens,
	  .next = "after",
	  .doc = { .summary = "List the API tokens of all users", .gives = "TokenList" } },
	{ .path = "/api/v1/tokens",
	  .name = "tokens",
	  .methods = HTTP_POST,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .params = token_create_params,
	  .sql = sql_token_create,
	  .status = 201,
	  .doc = { .summary = "Create an API token of your own, shown once", .takes = "NewToken",
		   .gives = "TokenCreated" } },
	{ .path = "/api/v1/tokens/*",
	  .name = "token",
	  .methods = HTTP_DELETE,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .params = params_one,
	  .sql = sql_token_end,
	  .status = 204,
	  .doc = { .summary = "End an API token" } },
	{ .path = "/api/v1/audit",
	  .name = "audit",
	  .methods = HTTP_GET,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .params = audit_params,
	  .sql = sql_audit,
	  .next = "before",
	  .doc = { .summary = "List what was done, the newest first", .gives = "AuditList" } },
};

const struct route_table routes_people = { rows, sizeof rows / sizeof rows[0] };
