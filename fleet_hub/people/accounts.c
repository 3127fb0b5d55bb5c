#include "accounts.h"

#include "common/cleanup.h"
#include "common/embed.h"
#include "common/json/json.h"
#include "fleet_hub/base/auth.h"
#include "fleet_hub/base/conf.h"
#include "fleet_hub/base/hash_slot.h"
#include "fleet_hub/base/refusal.h"
#include "fleet_hub/people/password.h"
#include "fleet_hub/view/view.h"

EMBED(sql_password_salt, "fleet_hub/people/password_salt.sql");
EMBED(sql_password_change, "fleet_hub/people/password_change.sql");

enum { ANSWER_MAX = 64 * 1024, TIMEOUT_MS = 5000 };

static const char *text_in(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o, name, &v) && v ? json_object_get_string(v) : NULL;
}

static int64_t number_in(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o, name, &v) ? json_object_get_int64(v) : 0;
}

static struct password_cost cost_now(const struct request *r)
{
	return (struct password_cost){ r->conf->password_memory_mib, r->conf->password_passes };
}

int param_secret(struct params *p, const struct param *row, const char *value, struct err *e)
{
	char secret[PASSWORD_SECRET_SIZE];
	struct json_object *body = NULL, *given = NULL;
	const char *password, *email;
	int rc = params_body(p, &body, e);

	(void)value;
	if (rc < 0)
		return rc;
	p->field = "password";
	if (json_object_object_get_ex(body, "password", &given) && given &&
	    !json_object_is_type(given, json_type_string))
		return err_set(e, 422, "is not a text");
	password = text_in(body, "password");
	email = text_in(body, "email");
	if (!password && !row->otherwise) {
		p->field = NULL;
		return params_add(p, NULL, e);
	}
	if (password && (rc = password_check(password, email ? email : "", e)) < 0)
		return rc;
	if (!password)
		password_generate(p->request->new_password);
	rc = password_secret(password ? password : p->request->new_password, cost_now(p->request), !password,
			     secret, e);
	return rc < 0 ? rc : params_add_copy(p, text_of(secret), e);
}

/* ---- the account page --------------------------------------------------------------------------- */

struct change {
	const char *current, *wanted;
	char key[PASSWORD_KEY_SIZE], secret[PASSWORD_SECRET_SIZE];
	char token[HTTP_TOKEN_SIZE], hash[HTTP_HASH_SIZE];
};

/* The key of the current password, and how the new one is kept. */
static int prepare(const struct request *r, struct json_object *salt, struct change *c, struct err *e)
{
	struct password_cost cost = { number_in(salt, "memory_mib"), number_in(salt, "passes") };
	const char *digits = text_in(salt, "salt"), *email = text_in(salt, "email");
	int rc;

	if (!digits)
		return err_set(e, 403, "This user has no password to change; an admin can set one.");
	if (password_check(c->wanted, email ? email : "", e) < 0)
		return err_prefix(e, "The new password");
	rc = password_key(c->current, digits, cost, c->key, e);
	if (rc == 0)
		rc = password_secret(c->wanted, cost_now(r), false, c->secret, e);
	auth_new_token("obs_s_", c->token);
	auth_hash(text_of(c->token), c->hash);
	return rc;
}

static enum db_failure look(struct db *db, const struct request *r, struct json_object **ret, struct err *e)
{
	CLEANUP(buf_free) struct buf answer = BUF(ANSWER_MAX);
	const char *params[] = { r->who.hash };
	const struct db_question question = { sql_password_salt, 1, params, TIMEOUT_MS };
	enum db_failure failure = db_ask(db, &question, &answer, e);

	*ret = failure == DB_OK ? json_of(&answer) : NULL;
	return failure;
}

/* Whether the current password was right is in *ret. */
static enum db_failure change(struct db *db, const struct request *r, const struct change *c, bool *ret,
			      struct err *e)
{
	CLEANUP(buf_free) struct buf answer = BUF(ANSWER_MAX);
	const char *params[] = { r->who.hash, c->key, c->secret, c->hash, r->who.browser };
	const struct db_question question = { sql_password_change, 5, params, TIMEOUT_MS };
	enum db_failure failure = db_change(db, &question, &answer, e);

	*ret = failure == DB_OK && buf_cstr(&answer) && strstr(answer.data, "\"ok\" : true");
	return failure;
}

void account_change_password(struct request *r, struct db *db, struct response *s)
{
	CLEANUP(json_p) struct json_object *salt = NULL;
	const char *current = request_param(r, "current"), *wanted = request_param(r, "password");
	struct change c = { .current = current ? current : "", .wanted = wanted ? wanted : "" };
	struct hash_slot slot;
	bool right = false;
	int rc = 0;
	struct err e;
	enum db_failure failure = look(db, r, &salt, &e);

	if (failure == DB_OK)
		failure = hash_slot_take(db, &slot, &e);
	if (failure == DB_OK) {
		rc = prepare(r, salt, &c, &e);
		hash_slot_give(db, &slot);
	}
	if (rc < 0) {
		refuse(r, s, &e, "");
		return;
	}
	if (failure == DB_OK)
		failure = change(db, r, &c, &right, &e);
	if (failure) {
		refuse_failure(r, db, s, failure, &e);
	} else if (!right) {
		err_set(&e, 403, "The current password is wrong.");
		refuse(r, s, &e, "");
	} else {
		auth_set_cookie(r, s, c.token);
		view_redirect(r, s, NULL, "/account?done=password");
	}
}
