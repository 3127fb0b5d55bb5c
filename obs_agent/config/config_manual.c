/*
 * config_manual.c - the key table as documentation: as text, for Markdown, for
 * the manual page.
 */
#include "config_keys.h"

#include <inttypes.h>

/* How one form prints a row: up to its type, from there to its default, and the rest. */
struct form {
	const char *head, *row, *named, *between, *end;
	const char *code, *code_end;    /* around what is literal */
	char sentence;                  /* between two of them */
};

static const struct form forms[] = {
	[KEYS_TEXT] = { "", "", "\n    ", "; default: ", "\n", "`", "`", ' ' },
	[KEYS_MARKDOWN] = { "| key | type | default | meaning |\n|---|---|---|---|\n", "| `", "` | ", " | ",
			    " |\n", "`", "`", ' ' },
	[KEYS_MDOC] = { "", ".It Cm ", "\n", ";\ndefault: ", "\n", "\\(lq", "\\(rq", '\n' },
};

/* Print `text` with its `marked` words in the markup of the form. */
static void print_marked(FILE *out, const struct form *f, const char *text)
{
	bool inside = false;

	for (const char *begin = text; *text; text++)
		if (*text == ' ' && text > begin && text[-1] == '.')
			fputc(f->sentence, out);
		else if (*text == '`') {
			fputs(inside ? f->code_end : f->code, out);
			inside = !inside;
		} else
			fputc(*text, out);
}

static void print_type(FILE *out, const struct key *k)
{
	fputs(k->kind->name, out);
	if (k->kind == &kind_number)
		fprintf(out, ", %" PRId64 " to %" PRId64, k->min, k->max);
	else if (k->kind == &kind_duration)
		fprintf(out, ", %" PRId64 " to %" PRId64 " s", k->min, k->max);
	for (size_t i = 0; k->choices && k->choices[i]; i++)
		fprintf(out, "%s%s", i ? ", " : " ", k->choices[i]);
}

static void print_default(FILE *out, const struct key *k, enum keys_form form)
{
	const struct form *f = &forms[form];

	if (k->required)
		fputs("required", out);
	else if (!k->def)
		print_marked(out, f, k->def_help);
	else if (form == KEYS_TEXT)
		fputs(k->def, out);
	else
		fprintf(out, "%s%s%s", f->code, k->def, f->code_end);
}

/* `prefix` is the key of the map, or of the list whose items these rows describe. */
static void print_rows(FILE *out, const struct key_table *t, const char *prefix, enum keys_form form)
{
	const struct form *f = &forms[form];

	for (const struct key *k = t->rows; k < t->rows + t->n; k++) {
		fprintf(out, "%s%s%s%s", f->row, prefix, k->name, f->named);
		if (form == KEYS_MDOC) {
			print_marked(out, f, k->help);
			fputs(".\n.br\n", out);
		}
		print_type(out, k);
		fputs(f->between, out);
		print_default(out, k, form);
		if (form != KEYS_MDOC) {
			fputs(form == KEYS_MARKDOWN ? " | " : "\n    ", out);
			print_marked(out, f, k->help);
		}
		fputs(f->end, out);
	}
	for (const struct key *k = t->rows; k < t->rows + t->n; k++) {
		char inner[64];

		if (!k->table)
			continue;
		snprintf(inner, sizeof inner, "%s%s%s", prefix, k->name, k->kind == &kind_map ? "." : "[].");
		print_rows(out, k->table, inner, form);
	}
}

void config_print_keys(FILE *out, enum keys_form form)
{
	if (form == KEYS_SCHEMA) {
		config_print_schema(out);
		return;
	}
	fputs(forms[form].head, out);
	print_rows(out, &monitoring_keys, "", form);
}
