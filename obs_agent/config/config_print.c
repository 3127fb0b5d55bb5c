/*
 * config_print.c - a configuration as YAML.
 */
#include "config_keys.h"

#include <inttypes.h>

#include "common/utf8.h"

/* ---- --print-config ---------------------------------------------------------------- */

void print_name(struct printer *p, const char *name)
{
	fprintf(p->out, "%*s%s%s:", p->indent - (p->item ? 2 : 0), "", p->item ? "- " : "", name);
	p->item = false;
}

/* Line breaks of YAML 1.1, and invisible characters that must be escaped. */
static bool needs_escape(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
	       c == 0xfffe || c == 0xffff;
}

/* Print `s` as a double-quoted YAML scalar that reads back unchanged. */
static void print_quoted(FILE *out, const char *s)
{
	fputc('"', out);
	for (size_t n; *s; s += n) {
		uint32_t c;

		n = utf8_sequence(s, strlen(s));
		n = n ? n : 1;
		c = utf8_code_point(s, n);
		if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if (s[0] == '$' && s[1] == '{')
			fputs("$$", out);
		else if (*s == '\n')
			fputs("\\n", out);
		else if (needs_escape(c))
			fprintf(out, "\\u%04" PRIx32, c);
		else
			fwrite(s, 1, n, out);
	}
	fputc('"', out);
}

void print_line(struct printer *p, const char *name, const char *text)
{
	if (!text)
		return;
	print_name(p, name);
	fputc(' ', p->out);
	print_quoted(p->out, text);
	fputc('\n', p->out);
}

void print_table(struct printer *p, const struct key_table *t, const void *base)
{
	for (const struct key *k = t->rows; k < t->rows + t->n; k++)
		k->kind->print(p, k, base);
}

void config_print(const struct config *c, FILE *out)
{
	struct printer p = { out, 2, false };

	fprintf(out, "# The configuration of application %s, with all defaults; *** stands for a secret.\n"
		"monitoring:\n", c->app);
	print_table(&p, &monitoring_keys, c);
}
