/*
 * config_schema.c - the key table as JSON Schema (draft 7), for editors.
 *
 * The schema accepts everything that the agent accepts, and refuses most of what it refuses. What
 * a schema can't express (a duration out of range, duplicates after variables are expanded) is
 * left to --check-config.
 */
#include "config_keys.h"

#include <inttypes.h>

/* A text with a variable can become any value. */
#define VARIABLE   "{\"$ref\":\"#/definitions/variable\"}"
#define SCALAR     "{\"type\":[\"string\",\"number\",\"boolean\"]}"
#define PATH       "^/.*[^/]$|\\\\$\\\\{"
#define HTTP_URL   "{\"type\":\"string\",\"pattern\":\"^[hH][tT][tT][pP][sS]?://|\\\\$\\\\{\"}"

static void string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++)
		fprintf(out, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	fputc('"', out);
}

static void properties(FILE *out, const struct key_table *t);

/* ---- one function a kind: the members of its schema, without braces -------------------------- */

static void boolean(FILE *out, const struct key *k)
{
	(void)k;
	fputs("\"anyOf\":[{\"type\":\"boolean\"},"
	      "{\"type\":\"string\","
	      "\"pattern\":\"^([tT]rue|[fF]alse|TRUE|FALSE|[yY]es|YES|[nN]o|NO|[oO]n|ON|[oO]ff|OFF)$\"},"
	      VARIABLE "]", out);
}

static void whole_number(FILE *out, const struct key *k, const char *as_text)
{
	fprintf(out, "\"anyOf\":[{\"type\":\"integer\",\"minimum\":%" PRId64 ",\"maximum\":%" PRId64 "},"
		"{\"type\":\"string\",\"pattern\":\"%s\"}," VARIABLE "]", k->min, k->max, as_text);
}

static void number(FILE *out, const struct key *k)
{
	whole_number(out, k, "^[0-9]+$");
}

static void duration(FILE *out, const struct key *k)
{
	whole_number(out, k, "^[0-9]+$|^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$");
}

static void text(FILE *out, const struct key *k)
{
	(void)k;
	fputs("\"type\":[\"string\",\"number\",\"boolean\"]", out);
}

/* Case does not matter: editors suggest the words as they are, and accept either case. */
static void choice(FILE *out, const struct key *k)
{
	fputs("\"anyOf\":[{\"enum\":[", out);
	for (size_t i = 0; k->choices[i]; i++)
		fprintf(out, "%s\"%s\"", i ? "," : "", k->choices[i]);
	fputs("]},{\"type\":\"string\",\"pattern\":\"^(", out);
	for (size_t i = 0; k->choices[i]; i++) {
		fputs(i ? "|" : "", out);
		for (const char *s = k->choices[i]; *s; s++)
			fprintf(out, "[%c%c]", *s | 0x20, *s & ~0x20);
	}
	fputs(")$\"}," VARIABLE "]", out);
}

static void name(FILE *out, const struct key *k)
{
	fprintf(out, "\"type\":[\"string\",\"number\"],\"minLength\":1%s", k->kind == &kind_url ? "," : "");
	if (k->kind == &kind_url)
		fputs("\"pattern\":\"^[hH][tT][tT][pP][sS]?://|\\\\$\\\\{\"", out);
}

static void path(FILE *out, const struct key *k)
{
	(void)k;
	fputs("\"type\":\"string\",\"pattern\":\"" PATH "\"", out);
}

static void logs(FILE *out, const struct key *k)
{
	fprintf(out, "\"type\":\"array\",\"maxItems\":%" PRId64 ",\"uniqueItems\":true,\"items\":{\"anyOf\":["
		"{\"type\":\"string\",\"pattern\":\"" PATH "\"},{", k->max);
	properties(out, k->table);
	fputs("}]}", out);
}

static void zone_name(FILE *out, const struct key *k)
{
	(void)k;
	fputs("\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9/_+-]+$|\\\\$\\\\{\"", out);
}

static void status(FILE *out, const struct key *k)
{
	static const char item[] = "{\"type\":\"integer\",\"minimum\":100,\"maximum\":599},"
		"{\"type\":\"string\",\"pattern\":\"^ *[1-5][0-9][0-9](-[1-5][0-9][0-9])?"
		"( *, *[1-5][0-9][0-9](-[1-5][0-9][0-9])?)* *$\"},"
		VARIABLE;

	(void)k;
	fprintf(out, "\"anyOf\":[%s,{\"type\":\"array\",\"minItems\":1,\"items\":{\"anyOf\":[%s]}}]", item,
		item);
}

static void headers(FILE *out, const struct key *k)
{
	fprintf(out, "\"type\":\"object\",\"maxProperties\":%" PRId64 ","
		"\"propertyNames\":{\"pattern\":\"^[!#$%%&'*+.^_`|~0-9A-Za-z-]+$\"},"
		"\"additionalProperties\":" SCALAR, k->max);
}

static void map(FILE *out, const struct key *k)
{
	properties(out, k->table);
}

static void settings(FILE *out, const struct key *k)
{
	fprintf(out, "\"type\":\"object\",\"maxProperties\":%" PRId64 ",\"additionalProperties\":" SCALAR,
		k->max);
}

static void checks(FILE *out, const struct key *k)
{
	fprintf(out, "\"type\":\"array\",\"maxItems\":%" PRId64 ",\"items\":{\"anyOf\":[" HTTP_URL ",{",
		k->max);
	properties(out, k->table);
	fputs("}]}", out);
}

static const struct { const struct kind *kind; void (*print)(FILE *out, const struct key *k); } printers[] = {
	{ &kind_bool, boolean }, { &kind_number, number }, { &kind_duration, duration }, { &kind_text, text },
	{ &kind_choice, choice }, { &kind_name, name }, { &kind_unit, name }, { &kind_url, name },
	{ &kind_postgres_url, name }, { &kind_path, path }, { &kind_logs, logs }, { &kind_zone, zone_name },
	{ &kind_regex, text }, { &kind_status, status }, { &kind_headers, headers },
	{ &kind_checks, checks }, { &kind_map, map }, { &kind_settings, settings },
};

/* ---- tables -------------------------------------------------------------------------------- */

/* A kind without a row above accepts any value. */
static void key(FILE *out, const struct key *k)
{
	string(out, k->name);
	fputs(":{\"description\":", out);
	string(out, k->help);
	for (size_t i = 0; i < sizeof printers / sizeof *printers; i++)
		if (printers[i].kind == k->kind) {
			fputc(',', out);
			printers[i].print(out, k);
		}
	if (k->def) {
		fputs(",\"default\":", out);
		if (k->kind == &kind_bool || k->kind == &kind_number || k->kind == &kind_duration)
			fputs(k->def, out);
		else
			string(out, k->def);
	}
	fputc('}', out);
}

static void properties(FILE *out, const struct key_table *t)
{
	bool first = true;

	fputs("\"type\":\"object\",\"additionalProperties\":false,\"required\":[", out);
	for (const struct key *k = t->rows; k < t->rows + t->n; k++)
		if (k->required) {
			fprintf(out, "%s\"%s\"", first ? "" : ",", k->name);
			first = false;
		}
	fputs("],\"properties\":{\n", out);
	for (const struct key *k = t->rows; k < t->rows + t->n; k++) {
		key(out, k);
		fputs(k + 1 < t->rows + t->n ? ",\n" : "}", out);
	}
}

void config_print_schema(FILE *out)
{
	fputs("{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\n"
	      "\"title\":\"config.yml of an application that obs_agent watches\",\n"
	      "\"description\":\"Section monitoring: is the agent's, all others belong to other tools. "
	      "Printed by obs_agent --print-keys=schema\",\n"
	      "\"definitions\":{\"variable\":{\"type\":\"string\",\"pattern\":\"\\\\$\\\\{\"}},\n"
	      "\"type\":\"object\",\"properties\":{\"monitoring\":{\n"
	      "\"if\":{\"required\":[\"enabled\"],\"properties\":{\"enabled\":{\"const\":true}}},"
	      "\"then\":{\"required\":[\"postgres_url\"]},\n", out);
	properties(out, &monitoring_keys);
	fputs("}}}\n", out);
}
