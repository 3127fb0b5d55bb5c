#include "yaml_tree.h"

#include <errno.h>
#include <stdarg.h>
#include <yaml.h>

#include "common/cleanup.h"
#include "common/utf8.h"

/* Other tools' sections may be deep, but a megabyte of "[" must cost nothing. */
enum { OTHER_DEPTH_MAX = 256 };

struct tree {
	yaml_parser_t parser;
	yaml_event_t event;             /* the current one */
	const char *path;
	struct yaml_section *sections;
	size_t n_sections;
	const char *section;            /* the one that is read; the first one, before */
	struct text yaml;
	struct arena *arena;
	int depth;
	struct err *e;
};

static void set_error(struct err *e, const char *path, int line, int column, const char *fmt, va_list ap)
{
	char sentence[ERR_MSG_MAX];

	vsnprintf(sentence, sizeof sentence, fmt, ap);
	err_set(e, EINVAL, "%s:%d:%d: %s", path, line, column, sentence);
}

int yaml_error(struct err *e, const char *path, int line, int column, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_error(e, path, line, column, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

__attribute__((format(printf, 3, 4)))
static int fail(struct tree *t, yaml_mark_t at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_error(t->e, t->path, (int)at.line + 1, (int)at.column + 1, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- bytes ---------------------------------------------------------------- */

/* What is wrong with the character of n bytes at s, or NULL. */
static const char *bad_character(const char *s, size_t n, bool first)
{
	unsigned char c = (unsigned char)s[0], d = n > 1 ? (unsigned char)s[1] : 0;

	if (n == 0 && first && (c == 0xff || c == 0xfe))
		return "this looks like UTF-16; save the file as UTF-8";
	if (n == 0)
		return "this byte is not UTF-8; save the file as UTF-8";
	if (c == 0)
		return "there is a NUL byte here; the file is damaged or not text, restore it";
	if ((n == 1 && ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)) ||
	    (n == 2 && c == 0xc2 && d < 0xa0 && d != 0x85))
		return "there is a control character here; remove it, or write it as \\xNN in double quotes";
	if ((n == 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0 && !first) ||
	    (n == 3 && c == 0xef && d == 0xbf && (unsigned char)s[2] >= 0xbe))
		return "YAML does not allow this invisible character (a byte order mark); remove it";
	return NULL;
}

/* libyaml gives no line for a bad character, so all characters are checked first. */
static int check_characters(struct tree *t)
{
	const char *s = t->yaml.s, *problem;
	int line = 1, column = 1;
	size_t n;

	for (size_t i = 0; i < t->yaml.len; i += n, column++) {
		n = utf8_sequence(s + i, t->yaml.len - i);
		problem = bad_character(s + i, n, i == 0);
		if (problem)
			return yaml_error(t->e, t->path, line, column, "%s", problem);
		if (s[i] == '\n') {
			line++;
			column = 0;
		}
	}
	return 0;
}

/* The byte at a position that libyaml gives; '\0' if there is none. */
static char byte_at(struct text yaml, yaml_mark_t at)
{
	const char *s = yaml.s, *end = yaml.s + yaml.len;

	for (size_t line = 0; line < at.line; line++) {
		s = memchr(s, '\n', (size_t)(end - s));
		if (!s)
			return '\0';
		s++;
	}
	for (size_t i = 0; i < at.column && s < end; i++)
		s += utf8_sequence(s, (size_t)(end - s));
	return s < end ? *s : '\0';
}

/* ---- libyaml's complaints ---------------------------------------------------- */

/* libyaml's messages, and what to tell a person instead. `context`: point to where the construct
 * starts, not to where the error was noticed. */
static const struct complaint {
	const char *problem;
	bool context;
	const char *sentence;
} complaints[] = {
	{ "found unexpected end of stream", true, "a quote opens here and is never closed; close it" },
	{ "did not find expected ',' or ']'", true,
	  "a list opens here with [ and is not closed or lacks "
	  "a comma; add the ] or the comma" },
	{ "did not find expected ',' or '}'", true,
	  "a map opens here with { and is not closed or lacks "
	  "a comma; add the } or the comma" },
	{ "mapping values are not allowed", false,
	  "a colon is not expected here; quote a value that "
	  "contains \": \", or correct the indentation of this line" },
	{ "could not find expected ':'", true,
	  "this line is neither a key with a colon nor the rest of a "
	  "value; write \"key: value\"" },
	{ "did not find expected key", false,
	  "a key is expected here; correct the indentation of this line, "
	  "or the quotes of the value before it" },
	{ "did not find expected '-'", false,
	  "a list item is expected here; begin the line with \"- \", or "
	  "correct its indentation" },
	{ "block sequence entries are not allowed", false,
	  "a list may not begin here; put its first \"- \" "
	  "on a line of its own" },
	{ "did not find expected alphabetic or numeric", true,
	  "a value that begins with * or & must be "
	  "quoted; put it in double quotes" },
	{ "found unknown escape character", false,
	  "this backslash escape does not exist; write \\\\ for a "
	  "backslash, or use single quotes" },
	{ "did not find expected hexdecimal number", false,
	  "\\x, \\u and \\U must be followed by 2, 4 or 8 hexadecimal digits; write \\\\ for a backslash" },
	{ "found invalid Unicode character", false,
	  "this escape names no Unicode character; correct its digits" },
	{ "found undefined tag handle", false,
	  "this tag is not declared; remove it, or quote a value that begins with !" },
	{ "found a tab character", false, "a tab is used for indentation; use spaces" },
	{ "did not find expected comment or line break", false,
	  "nothing may follow | or > on its line; put the text on the next lines" },
	{ "did not find expected <document start>", false,
	  "text follows the end of the document; remove it" },
	{ "did not find expected node content", false,
	  "a value is expected here; write one, or quote one that begins with a special character" },
};

static const char *character_complaint(char c)
{
	switch (c) {
	case '\t':
		return "a tab is used for indentation; use spaces";
	case '@':
	case '`':
	case '%':
		return "a value may not begin with @, ` or %; put it in double quotes";
	default:
		return "this character may not stand here; quote the value";
	}
}

static int syntax_error(struct tree *t)
{
	yaml_mark_t at = t->parser.problem_mark;
	const char *problem = t->parser.problem ? t->parser.problem : "unknown problem";

	if (t->parser.error == YAML_MEMORY_ERROR)
		return err_set(t->e, ENOMEM, "%s: out of memory; give the process more", t->path);
	if (strstr(problem, "cannot start any token"))
		return fail(t, at, "%s", character_complaint(byte_at(t->yaml, at)));
	for (size_t i = 0; i < sizeof complaints / sizeof *complaints; i++)
		if (strstr(problem, complaints[i].problem))
			return fail(t,
				    complaints[i].context && t->parser.context ? t->parser.context_mark : at,
				    "%s", complaints[i].sentence);
	return yaml_error(t->e, t->path, (int)at.line + 1, (int)at.column + 1,
			  "this is not valid YAML (%s); correct this line or the one before", problem);
}

/* ---- events to nodes ---------------------------------------------------------- */

static int next_event(struct tree *t)
{
	yaml_event_delete(&t->event);
	return yaml_parser_parse(&t->parser, &t->event) ? 0 : syntax_error(t);
}

static bool opens(const yaml_event_t *ev)
{
	return ev->type == YAML_MAPPING_START_EVENT || ev->type == YAML_SEQUENCE_START_EVENT;
}

static bool closes(const yaml_event_t *ev)
{
	return ev->type == YAML_MAPPING_END_EVENT || ev->type == YAML_SEQUENCE_END_EVENT;
}

/* Skip the node that starts with the current event. */
static int skip(struct tree *t)
{
	for (int depth = 0;;) {
		int r;

		depth += opens(&t->event) - closes(&t->event);
		if (depth == 0)
			return 0;
		if (depth > OTHER_DEPTH_MAX)
			return yaml_error(t->e, t->path, (int)t->event.start_mark.line + 1,
					  (int)t->event.start_mark.column + 1,
					  "this is nested deeper than %d levels; make it flatter",
					  OTHER_DEPTH_MAX);
		r = next_event(t);
		if (r < 0)
			return r;
	}
}

/* Refuse anchors and tags of the current event. */
static int check_decoration(struct tree *t)
{
	const yaml_event_t *ev = &t->event;
	const yaml_char_t *anchor = NULL, *tag = NULL;

	if (ev->type == YAML_SCALAR_EVENT) {
		anchor = ev->data.scalar.anchor;
		tag = ev->data.scalar.tag;
	} else if (ev->type == YAML_SEQUENCE_START_EVENT) {
		anchor = ev->data.sequence_start.anchor;
		tag = ev->data.sequence_start.tag;
	} else if (ev->type == YAML_MAPPING_START_EVENT) {
		anchor = ev->data.mapping_start.anchor;
		tag = ev->data.mapping_start.tag;
	} else {
		return fail(t, ev->start_mark,
			    "aliases (*name) are not supported in section %s; write the value "
			    "out, or quote a value that begins with *", t->section);
	}
	if (anchor)
		return fail(t, ev->start_mark,
			    "anchors (&name) are not supported in section %s; remove it, or "
			    "quote a value that begins with &", t->section);
	if (tag)
		return fail(t, ev->start_mark,
			    "tags (!name) are not supported in section %s; remove it, or quote "
			    "a value that begins with !", t->section);
	return 0;
}

static int build(struct tree *t, struct yaml_node **ret);

/* Check a map's key: it must be text. */
static int build_key(struct tree *t, struct yaml_node **ret)
{
	if (opens(&t->event))
		return fail(t, t->event.start_mark,
			    "a key must be a name, not a list or a map; write \"key: value\", "
			    "or quote a value that begins with { or [");
	return build(t, ret);
}

/* Read the children of `parent`, up to the event that ends it. */
static int build_children(struct tree *t, struct yaml_node *parent)
{
	struct yaml_node **link = &parent->first, *key = NULL;
	int r;

	for (;;) {
		r = next_event(t);
		if (r < 0 || closes(&t->event))
			return r;
		if (parent->kind == NODE_MAP) {
			r = build_key(t, &key);
			if (r < 0)
				return r;
			r = next_event(t);
			if (r < 0)
				return r;
		}
		r = build(t, link);
		if (r < 0)
			return r;
		(*link)->key = key;
		link = &(*link)->next;
		parent->n++;
	}
}

/* A node for the current event; NULL: it does not fit. The arena has its first block already, so if it has
 * none, the machine is out of memory. */
static struct yaml_node *new_node(struct tree *t)
{
	const yaml_event_t *ev = &t->event;
	struct yaml_node *n = arena_alloc(t->arena, sizeof *n);
	bool scalar = ev->type == YAML_SCALAR_EVENT;

	if (n)
		*n = (struct yaml_node){ .line = (int)ev->start_mark.line + 1,
					 .column = (int)ev->start_mark.column + 1 };
	if (n && scalar) {
		n->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
		n->text.len = ev->data.scalar.length;
		n->text.s = arena_dup(t->arena,
				      (struct text){ (const char *)ev->data.scalar.value, n->text.len });
	}
	if (n && (!scalar || n->text.s))
		return n;
	if (t->arena->block)
		fail(t, ev->start_mark, "section %s is larger than its limit; shorten it", t->section);
	else
		err_set(t->e, ENOMEM, "%s: out of memory; give the process more", t->path);
	return NULL;
}

/* Read the node that starts with the current event; afterwards its last event is the current one. */
static int build(struct tree *t, struct yaml_node **ret)
{
	const yaml_event_t *ev = &t->event;
	struct yaml_node *n;
	int r = check_decoration(t);

	if (r < 0)
		return r;
	n = new_node(t);
	if (!n)
		return -EINVAL;
	*ret = n;
	if (ev->type == YAML_SCALAR_EVENT)
		return 0;
	n->kind = ev->type == YAML_MAPPING_START_EVENT ? NODE_MAP : NODE_LIST;
	if (++t->depth > YAML_DEPTH_MAX)
		return yaml_error(t->e, t->path, n->line, n->column,
				  "section %s is nested deeper than %d levels; make it flatter", t->section,
				  YAML_DEPTH_MAX);
	r = build_children(t, n);
	t->depth--;
	return r;
}

/* ---- the file -------------------------------------------------------------------- */

/* The wanted section whose key is the current event, or NULL. */
static struct yaml_section *section_here(const struct tree *t)
{
	const yaml_event_t *ev = &t->event;

	for (size_t i = 0; i < t->n_sections && ev->type == YAML_SCALAR_EVENT; i++)
		if (text_eq((struct text){ (const char *)ev->data.scalar.value, ev->data.scalar.length },
			    text_of(t->sections[i].name)))
			return &t->sections[i];
	return NULL;
}

/* Walk the top-level map, whose start is the current event. */
static int find_sections(struct tree *t)
{
	t->depth = 1;
	for (;;) {
		int r = next_event(t);
		struct yaml_section *here;

		if (r < 0 || closes(&t->event))
			return r;
		here = section_here(t);
		if (here && here->node)
			return fail(t, t->event.start_mark,
				    "%s: stands in the file twice; join the two sections", here->name);
		r = skip(t);
		if (r < 0)
			return r;
		r = next_event(t);
		if (r < 0)
			return r;
		if (here)
			t->section = here->name;
		r = here ? build(t, &here->node) : skip(t);
		if (r < 0)
			return r;
	}
}

/* Read to the first section. 1: the file is empty. */
static int open_document(struct tree *t)
{
	int r = 0;

	do
		r = next_event(t);
	while (r == 0 && t->event.type != YAML_DOCUMENT_START_EVENT &&
	       t->event.type != YAML_STREAM_END_EVENT);
	if (r == 0 && t->event.type == YAML_STREAM_END_EVENT)
		return 1;
	if (r == 0)
		r = next_event(t);
	if (r == 0 && t->event.type != YAML_MAPPING_START_EVENT)
		return fail(t, t->event.start_mark,
			    "the top level must be sections such as \"%s:\", each on "
			    "its own line; put a space or a new line after each colon", t->section);
	return r;
}

/* Check that only the end of the document and of the file follow. */
static int close_document(struct tree *t)
{
	int r = next_event(t);

	if (r == 0)
		r = next_event(t);
	if (r == 0 && t->event.type != YAML_STREAM_END_EVENT)
		return fail(t, t->event.start_mark,
			    "a second document (---) begins here; keep one document in the "
			    "file");
	return r;
}

static void tree_end(struct tree *t)
{
	yaml_event_delete(&t->event);
	yaml_parser_delete(&t->parser);
}

int yaml_sections(const char *path, struct text yaml, struct yaml_section *sections, size_t n,
		  struct arena *a, struct err *e)
{
	CLEANUP(tree_end) struct tree t = {
		.path = path, .yaml = yaml, .arena = a, .e = e,
		.sections = sections, .n_sections = n, .section = sections[0].name,
	};
	int r = check_characters(&t);

	if (r < 0)
		return r;
	if (!yaml_parser_initialize(&t.parser))
		return err_set(e, ENOMEM, "%s: out of memory; give the process more", path);
	yaml_parser_set_encoding(&t.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&t.parser, (const unsigned char *)yaml.s, yaml.len);
	r = open_document(&t);
	if (r == 0)
		r = find_sections(&t);
	if (r == 0)
		r = close_document(&t);
	return r < 0 ? r : 0;
}
