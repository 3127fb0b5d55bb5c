/*
 * Any bytes as what a peer answers: to a channel of each kind, as lines of SMTP, and as Prometheus. The
 * first bytes choose kind, status and command. Checks that each verdict is one of the known ones and a
 * sentence without control characters, that a refusal is never taken for "accepted", and that rows for the
 * database are JSON of a subject and a value each.
 */
#include "common/channels/transfer.c"
#include "fleet_watch/external.c"

#include "common/channels/message.h"

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "broken: %s\n", what);
	abort();
}

static const char *const kinds[] = { "mail", "slack", "telegram", "ntfy", "pagerduty", "webhook" };
static const char *const commands[] = { "", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "." };

#define CHOICE(list, n) (list)[(n) % (sizeof(list) / sizeof *(list))]

static struct message a_message(const char *kind, bool bot)
{
	struct json_object *row = json_tokener_parse(
		"{\"notification_id\": \"n-1\", \"kind\": \"firing\", \"content\": {\"alerts\": []}, "
		"\"channel\": "
		"{\"name\": \"c\", \"settings\": {\"to\": \"a@b\", \"chat_id\": \"-1\"}, \"secrets\": {}}}");
	struct json_object *channel = json_get(row, "channel");
	struct message m;
	struct err e;

	http_add(channel, "kind", kind);
	http_add(json_get(channel, bot ? "secrets" : "settings"), "token", "xoxb-1");
	must(message_make(&m, row, "", &e) == 0, "a good message");
	return m;
}

static bool plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ')
			return false;
	return true;
}

/* Judge the bytes as an answer to a channel. */
static void judge(uint8_t choice, long status, const char *command, struct text body)
{
	const char *name = CHOICE(kinds, choice);
	const struct channel_kind *kind = channel_kind_find(name);
	bool mail = strcmp(name, "mail") == 0;
	struct message m = a_message(name, choice & 0x80);
	struct answer a = {
		.status = status, .body = body, .retry_after_s = -1, .said = "no", .command = command
	};
	struct verdict v = { .retry_after_s = -1 };

	kind->judge(&m, 0, &a, &v);
	must(v.what >= ACCEPTED && v.what <= NOT_THIS_CHANNEL, "a verdict");
	must(v.what == ACCEPTED || *v.why, "a refusal without a sentence");
	must(memchr(v.why, '\0', sizeof v.why), "a sentence that ends");
	must(mail || plain(v.why), "a sentence on one line");
	must(v.what != ACCEPTED || (!mail && status >= 200 && status < 300), "a refusal as acceptance");
	message_free(&m);
}

/* Feed the bytes as what libcurl shows of a conversation in SMTP, in pieces. */
static void converse(uint8_t choice, struct text bytes)
{
	struct transfer t = { .command = "", .quits = false };
	struct answer a = { .status = 0 };

	for (size_t i = 0, n; i < bytes.len; i += n) {
		char *at = (char *)bytes.s + i;

		n = 1 + (size_t)(choice + i) % 97;
		n = n < bytes.len - i ? n : bytes.len - i;
		on_debug(NULL, (choice + i) % 3 ? CURLINFO_HEADER_IN : CURLINFO_HEADER_OUT, at, n, &t);
		is_packed(at, n);
		if (t.quits)
			break;
	}
	must(plain(t.line) && plain(t.command), "a control character of SMTP");
	read_mail_answer(&t, CURLE_RECV_ERROR, "broken", &a);
	must(a.status == 0 || (a.status >= 4 && *a.said), "a status of SMTP");
}

static void check_row(struct json_object *row)
{
	must(json_object_is_type(row, json_type_object) && json_object_object_length(row) == 2, "a row");
	must(json_object_object_get_ex(row, "subject", NULL) && json_object_object_get_ex(row, "value", NULL),
	     "subject and value");
}

/* Read the bytes as Prometheus' answer. */
static void ask(long status, bool cut, struct text body)
{
	struct json_tokener *t = json_tokener_new();
	struct json_object *answer = body.len ? json_tokener_parse_ex(t, body.s, (int)body.len) : NULL;
	struct json_object *rows = rows_of(json_get(answer, "data"));
	const struct answer a = { .status = status, .cut = cut, .said = "away", .body = body };
	char problem[ERR_MSG_MAX] = "";

	for (size_t i = 0; rows && i < json_length(rows); i++)
		check_row(json_object_array_get_idx(rows, i));
	problem_of(&a, answer, problem);
	must(*problem, "no sentence for what is no result");
	json_object_put(rows);
	json_object_put(answer);
	json_tokener_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct text body;
	long status;

	if (size < 3)
		return 0;
	body = (struct text){ (const char *)bytes + 3, size - 3 };
	status = bytes[1] ? 100 + bytes[1] * 2 + (bytes[2] & 1) : 0;
	judge(bytes[0], status, CHOICE(commands, bytes[2]), body);
	converse(bytes[2], body);
	ask(status, bytes[2] & 2, body);
	return 0;
}
