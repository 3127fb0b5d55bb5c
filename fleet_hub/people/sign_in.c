#include "sign_in.h"

#include "common/cleanup.h"
#include "common/embed.h"
#include "common/json/json.h"
#include "fleet_hub/base/auth.h"
#include "fleet_hub/base/conf.h"
#include "fleet_hub/base/hash_slot.h"
#include "fleet_hub/base/refusal.h"
#include "fleet_hub/http/json_body.h"
#include "fleet_hub/people/password.h"
#include "fleet_hub/view/view.h"

EMBED(sql_sign_in_salt, "fleet_hub/people/sign_in_salt.sql");
EMBED(sql_sign_in_open, "fleet_hub/people/sign_in_open.sql");
EMBED(sql_password_renew, "fleet_hub/people/password_renew.sql");
EMBED(sql_any_user, "fleet_hub/people/sign_in.sql");
EMBED(html_sign_in_again, "fleet_hub/people/sign_in.html");

enum { ANSWER_MAX = 64 * 1024, TIMEOUT_MS = 5000 };

static const char wrong[] = "The email address or the password is wrong.";

/* What a try to sign in brings, and what comes of it. */
struct attempt {
	const char *email, *password;
	struct password_cost cost; /* of the stored password */
	char key[PASSWORD_KEY_SIZE];
	char token[HTTP_TOKEN_SIZE], hash[HTTP_HASH_SIZE];
	int expires_in; /* seconds; 0: it failed */
};

static const char *text_in(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o, name, &v) && v ? json_object_get_string(v) : "";
}

static int64_t number_in(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o, name, &v) ? json_object_get_int64(v) : 0;
}

/* ---- the two steps --------------------------------------------------------------------------- */

static enum db_failure change(struct db *db, const char *sql, const char *const *params, size_t n,
			      struct json_object **ret, struct err *e)
{
	CLEANUP(buf_free) struct buf answer = BUF(ANSWER_MAX);
	const struct db_question question = { sql, n, params, TIMEOUT_MS };
	enum db_failure failure = db_change(db, &question, &answer, e);

	*ret = failure == DB_OK ? json_of(&answer) : NULL;
	return failure;
}

/* Without a user who has a password, the cost is that of a new one. */
static struct password_cost cost_in(struct json_object *o, struct password_cost otherwise)
{
	struct password_cost cost = { number_in(o, "memory_mib"), number_in(o, "passes") };

	return cost.memory_mib && cost.passes ? cost : otherwise;
}

static struct password_cost cost_now(const struct request *r)
{
	return (struct password_cost){ r->conf->password_memory_mib, r->conf->password_passes };
}

static enum db_failure make_key(const struct request *r, struct db *db, struct attempt *a, struct err *e)
{
	CLEANUP(json_p) struct json_object *salt = NULL;
	enum db_failure failure = change(db, sql_sign_in_salt, &a->email, 1, &salt, e);
	struct hash_slot slot;
	int rc;

	if (failure == DB_OK)
		failure = hash_slot_take(db, &slot, e);
	if (failure)
		return failure;
	a->cost = cost_in(salt, cost_now(r));
	rc = password_key(a->password, text_in(salt, "salt"), a->cost, a->key, e);
	hash_slot_give(db, &slot);
	return rc < 0 ? DB_FAILED : DB_OK;
}

/* hub.conf asks for another cost than the password was stored with: store it anew, now that it is known. */
static void renew(const struct request *r, struct db *db, const struct attempt *a)
{
	CLEANUP(json_p) struct json_object *done = NULL;
	struct password_cost now = cost_now(r);
	char secret[PASSWORD_SECRET_SIZE];
	const char *params[] = { a->hash, a->key, secret };
	struct hash_slot slot;
	struct err e;

	if ((a->cost.memory_mib == now.memory_mib && a->cost.passes == now.passes) ||
	    hash_slot_take(db, &slot, &e) != DB_OK)
		return;
	if (password_secret(a->password, now, false, secret, &e) == 0)
		change(db, sql_password_renew, params, 3, &done, &e);
	hash_slot_give(db, &slot);
}

/* A session, if the password is right: a->expires_in. */
static enum db_failure sign_in(const struct request *r, struct db *db, struct attempt *a, struct err *e)
{
	CLEANUP(json_p) struct json_object *opened = NULL;
	const char *former = r->who.by_cookie ? r->who.hash : NULL;
	enum db_failure failure = make_key(r, db, a, e);
	const char *params[] = { a->email, a->key, a->hash, r->who.browser, former };

	if (failure)
		return failure;
	auth_new_token("obs_s_", a->token);
	auth_hash(text_of(a->token), a->hash);
	failure = change(db, sql_sign_in_open, params, 5, &opened, e);
	a->expires_in = (int)number_in(opened, "expires_in");
	if (failure == DB_OK && a->expires_in)
		renew(r, db, a);
	return failure;
}

/* Over plain HTTP everybody on the way reads the password, and then the session. */
static int check_way(const struct request *r, struct err *e)
{
	if (r->who.secure || r->who.here || strcmp(r->conf->plain_http, "allow") == 0)
		return 0;
	return err_set(
		e, 403,
		"Passwords do not travel over plain HTTP: open this hub by https. Where the way is safe "
		"nevertheless: plain_http = allow in hub.conf.");
}

/* ---- programs: OAuth 2.0's way to say it ---------------------------------------------------------- */

static void send_json(struct response *s, int status, struct json_object *o)
{
	s->status = status;
	s->type = "application/json";
	buf_reset(&s->body);
	buf_adds(&s->body, json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void send_oauth_error(struct response *s, int status, const char *error, const char *sentence)
{
	CLEANUP(json_p) struct json_object *o = json_object_new_object();

	json_object_object_add(o, "error", json_object_new_string(error));
	json_object_object_add(o, "error_description", json_object_new_string(sentence));
	send_json(s, status, o);
}

static void send_token(const struct attempt *a, struct response *s)
{
	CLEANUP(json_p) struct json_object *o = json_object_new_object();

	json_object_object_add(o, "access_token", json_object_new_string(a->token));
	json_object_object_add(o, "token_type", json_object_new_string("bearer"));
	json_object_object_add(o, "expires_in", json_object_new_int(a->expires_in));
	send_json(s, 200, o);
}

/* Name and password of a form or an object; clients say "username" or "email". */
static int read_attempt(const struct request *r, struct json_object **body, struct attempt *a, struct err *e)
{
	const char *field;
	int rc = json_body_read(r, body, &field, e);

	if (rc < 0)
		return field ? err_prefix(e, "The field \"%.100s\"", field) : rc;
	a->email = text_in(*body, "email");
	if (!*a->email)
		a->email = text_in(*body, "username");
	a->password = text_in(*body, "password");
	if (!*a->email || !*a->password)
		return err_set(e, 400, "Send username and password.");
	if (strlen(a->password) > PASSWORD_MAX)
		return err_set(e, 400, "The password has more than %d bytes.", PASSWORD_MAX);
	return 0;
}

void sign_in_token(struct request *r, struct db *db, struct response *s)
{
	CLEANUP(json_p) struct json_object *body = NULL;
	struct attempt a = { 0 };
	struct err e;
	enum db_failure failure;

	if (check_way(r, &e) < 0 || read_attempt(r, &body, &a, &e) < 0) {
		send_oauth_error(s, e.code == 403 ? 403 : 400, "invalid_request", e.msg);
		return;
	}
	failure = sign_in(r, db, &a, &e);
	if (failure == DB_OK && a.expires_in)
		send_token(&a, s);
	else if (failure == DB_OK)
		send_oauth_error(s, 400, "invalid_grant", wrong);
	else
		refuse_failure(r, db, s, failure, &e);
	if (failure == DB_REFUSED)
		send_oauth_error(s, e.code, "slow_down", e.msg);
}

/* ---- browsers ------------------------------------------------------------------------------------ */

/* The form once more, with what is wrong. */
static void show_again(const struct request *r, struct db *db, struct response *s, int status,
		       const char *sentence, const char *email)
{
	CLEANUP(buf_free) struct buf answer = BUF(ANSWER_MAX);
	CLEANUP(json_p) struct json_object *data = NULL;
	const struct db_question question = { sql_any_user, 0, NULL, TIMEOUT_MS };
	struct err e;

	if (db_ask(db, &question, &answer, &e) == DB_OK)
		data = json_of(&answer);
	if (!data)
		data = json_object_new_object();
	json_object_object_add(data, "wrong", json_object_new_string(sentence));
	json_object_object_add(data, "email", json_object_new_string(email));
	if (view_show(r, s, "sign-in", (struct text){ html_sign_in_again, (size_t)html_sign_in_again_len },
		      data, &e) < 0)
		fprintf(stderr, "fleet_hub: sign_in.html: %s\n", e.msg);
	s->status = status;
}

void sign_in_form(struct request *r, struct db *db, struct response *s)
{
	CLEANUP(json_p) struct json_object *body = NULL;
	struct attempt a = { .email = "" };
	enum db_failure failure = DB_OK;
	struct err e;

	if (r->who.foreign)
		err_set(&e, 403, "A page of another site made the browser ask this.");
	else if (check_way(r, &e) == 0 && read_attempt(r, &body, &a, &e) == 0)
		failure = sign_in(r, db, &a, &e);
	else
		failure = DB_REFUSED;
	if (r->who.foreign || failure == DB_REFUSED) {
		if (e.code == 429)
			refuse(r, s, &e, db_detail(db));
		show_again(r, db, s, e.code, e.msg, a.email);
	} else if (failure) {
		refuse_failure(r, db, s, failure, &e);
	} else if (!a.expires_in) {
		show_again(r, db, s, 401, wrong, a.email);
	} else {
		auth_set_cookie(r, s, a.token);
		view_redirect(r, s, request_param(r, "back"), "/");
	}
}
