/*
 * config_keys.h - internal to config/: the rows of the key table, and the kinds of values.
 *
 * A row has a key's name, kind (how it is read and printed), target, default, bounds and help
 * text. The rows are in config_keys.c, the only place that names keys: to add a key, add a row.
 *
 * Rows are read in the order of the table, not of the file, so that a key can take its default
 * from a row above.
 */
#ifndef OBS_AGENT_CONFIG_KEYS_H
#define OBS_AGENT_CONFIG_KEYS_H

#include "config.h"
#include "common/settings/yaml_tree.h"

/* One reading of one file. */
struct loader {
	const char *path;
	struct config *c;               /* to fill; its arena owns what the rows store */
	struct config_mistakes *mistakes;
	struct place {
		int line, column;
	} places[CONFIG_MISTAKES_MAX];  /* where they are */
};

struct key;

/* The state of --print-config. */
struct printer {
	FILE *out;
	int indent;
	bool item;                      /* the next line starts a list item */
};

/* What a value may be, and whether a credential in it would be seen. */
enum value_form {
	FORM_TEXT,   /* any text; no credential */
	FORM_LINE,   /* without control characters; no credential */
	FORM_SECRET, /* a line that is never shown; credentials as they are */
	FORM_URL,    /* a line; credentials are encoded as the URL's form needs it */
};

struct value;

/* `base` is the struct that has the row's target at offset `at`. A kind has `take`, for one value that is
 * expanded already, or `parse`, for a list or a map. */
struct kind {
	const char *name;               /* for --print-keys */
	enum value_form form;
	size_t max; /* bytes of the value; 0: k->max */
	int (*take)(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		    void *base);
	int (*parse)(struct loader *l, const struct key *k, const struct yaml_node *n, void *base);
	void (*print)(struct printer *p, const struct key *k, const void *base);
};

struct key_table {
	const char *where;              /* for messages: "section monitoring" */
	const struct key *rows;
	size_t n;
};

struct key {
	const char *name;
	const struct kind *kind;
	size_t at;                      /* the target, an offset into the struct */
	size_t count_at;                /* lists: the offset of their length; 0: none */
	size_t shown_at;                /* URLs: the offset of the text that may be shown */
	size_t secrets_at;              /* the offset of the list of secrets; 0: none */
	size_t made_at;                 /* zones, expressions: the offset of what the value stands for */
	const char *def;                /* read like a value of the file; NULL: none */
	/* Sets the default when there is neither value nor def; `map` is where the key is missing. */
	int (*fallback)(struct loader *l, const struct yaml_node *map, void *base);
	/* Checks the value against rows above. A row above whose value was wrong is zero: ignore it. */
	int (*check)(struct loader *l, const struct yaml_node *n, const void *base);
	const char *def_help;           /* for --print-keys, when def is not what to print */
	int64_t min, max;               /* numbers, durations (seconds), lists (items) */
	const char *const *choices;     /* the words that kind_choice takes, NULL-terminated */
	const struct key_table *table;  /* the keys of a map, or of each item of a list of maps */
	bool required;
	const char *help;
};

enum { KEYS_MAX = 32 };                 /* rows of one table */

extern const struct key_table monitoring_keys;          /* config_keys.c */

extern const struct kind kind_bool, kind_number, kind_duration, kind_text, kind_choice, kind_name, kind_unit,
	kind_url, kind_postgres_url, kind_zone, kind_regex, kind_path;      /* config_kind.c */
extern const struct kind kind_logs, kind_status, kind_headers, kind_checks, kind_map,
	kind_settings; /* config_list.c */

/* The member of the struct `base` at an offset of the row. */
static inline void *config_at(void *base, size_t offset)
{
	return (char *)base + offset;
}

static inline const void *config_seen_at(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

/* ---- config.c ------------------------------------------------------------------ */

/* Read `map` by the table into `base`; a text instead of a map is the value of the table's first
 * row. Continues after a mistake, to find them all. */
int config_read_map(struct loader *l, const struct key_table *t, const struct yaml_node *map, void *base);

/* ---- config_value.c -------------------------------------------------------------- */

enum { VALUE_MAX = 16384, URL_MAX = 4096, QUOTE_SIZE = 160 };   /* bytes */

/* What a variable or a credential gave: the bytes from `from` to before `to` of a value. */
struct filled {
	size_t from, to;
	const struct filled *next;
};

/* A value with its variables filled in. */
struct value {
	char *s;                        /* in the configuration's arena */
	char shown[QUOTE_SIZE];         /* as written in the file, quoted, passwords masked: for messages */
	const struct filled *filled;    /* there, the last one first */
};

/* Expand the value of `n`, which has at most `max` bytes then. `what` is the name of the key, or of the
 * item in it. A credential that is the whole value of FORM_URL is a URL already. */
int config_value(struct loader *l, const char *what, const struct yaml_node *n, enum value_form form,
		 size_t max, struct value *ret);

/* Replace each "{app}" by the application's name. */
int config_fill_app(struct loader *l, const struct yaml_node *n, struct value *v);

/* Add the mistake "path:line:column: sentence", with the position of `n`; returns -EINVAL. */
int config_fail(struct loader *l, const struct yaml_node *n, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Allocate zeroed memory in the configuration's arena. NULL: it is full, and the mistake is added. */
void *config_alloc(struct loader *l, const struct yaml_node *n, size_t size);

/* A terminated copy there. */
int config_keep(struct loader *l, const struct yaml_node *n, struct text t, const char **ret);

/* Quote a text for a message: passwords masked, control characters replaced, long texts cut. */
void config_quote(struct text t, char out[QUOTE_SIZE]);

/* ---- config_hide.c: what leaves the agent ------------------------------------------- */

/* Store the form of the URL `v` that may be shown at k->shown_at: "***" replaces the values of variables and
 * credentials, and secrets by their place. Adds the hidden texts to the list at k->secrets_at, if that is
 * set. whole_is_url: a variable that is the whole value hides only the places of secrets. */
int config_hide_url(struct loader *l, const struct key *k, const struct yaml_node *n, const struct value *v,
		    bool whole_is_url, void *base);

/* Add the secrets in the value of header `name` to the list at k->secrets_at. */
int config_hide_header(struct loader *l, const struct key *k, const struct yaml_node *n, struct text name,
		       const struct value *v, void *base);

/* ---- config_print.c ---------------------------------------------------------------- */

/* Print the start of the line of key `name`: indentation, name and colon. */
void print_name(struct printer *p, const char *name);

/* The line of a text; none if it is NULL. */
void print_line(struct printer *p, const char *name, const char *text);

/* All keys of a table. */
void print_table(struct printer *p, const struct key_table *t, const void *base);

/* ---- config_schema.c --------------------------------------------------------------- */

void config_print_schema(FILE *out);

#endif
