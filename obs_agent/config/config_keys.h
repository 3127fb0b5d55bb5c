/*
 * config_keys.h - inside the configuration module: what a row of the key table
 * is, and what the kinds of values are.
 *
 * A row names a key, its kind (how it is read and printed), where it goes, its
 * default, its bounds and its help text. The rows stand in config_keys.c and
 * are the only place where keys are named; to add a key, add a row.
 *
 * Rows are read in the order of the table, not of the file, so that a key can
 * take its default from one above it.
 */
#ifndef OBS_AGENT_CONFIG_KEYS_H
#define OBS_AGENT_CONFIG_KEYS_H

#include "config.h"
#include "yaml_tree.h"

/* One reading of one file. */
struct loader {
	const char *path;
	struct config *c;               /* being filled; its arena owns what the rows store */
	struct err *e;
};

struct key;

/* Where --print-config has got to. */
struct printer {
	FILE *out;
	int indent;
	bool item;                      /* the next line begins a list item */
};

/* `base` is the struct that the row's `at` is an offset into. */
struct kind {
	const char *name;               /* for --print-keys */
	int (*parse)(struct loader *l, const struct key *k, const struct yaml_node *n, void *base);
	void (*print)(struct printer *p, const struct key *k, const void *base);
};

struct key_table {
	const char *where;              /* for messages: "monitoring:" */
	const struct key *rows;
	size_t n;
};

struct key {
	const char *name;
	const struct kind *kind;
	size_t at;                      /* the target, an offset into the struct */
	size_t count_at;                /* lists: where their length goes; 0: nowhere */
	const char *def;                /* read like a value from the file; NULL: none */
	/* When there is neither value nor def; `map` is where the key could stand. */
	int (*fallback)(struct loader *l, const struct yaml_node *map, void *base);
	/* What the value's own kind cannot say: how it goes with the rows above. */
	int (*check)(struct loader *l, const struct yaml_node *n, const void *base);
	const char *def_help;           /* for --print-keys, when def does not say it */
	int64_t min, max;               /* numbers, durations (seconds), lists (items) */
	const char *const *choices;     /* the words that kind_choice takes, NULL-terminated */
	const struct key_table *table;  /* the keys of each item of a list of maps */
	bool required;
	const char *help;
};

enum { KEYS_MAX = 32 };                 /* rows of one table */

extern const struct key_table monitoring_keys;          /* config_keys.c */

extern const struct kind kind_bool, kind_number, kind_duration, kind_text, kind_choice, kind_name,
	kind_unit, kind_url, kind_postgres_url;                         /* config_kind.c */
extern const struct kind kind_paths, kind_status, kind_headers, kind_checks;    /* config_list.c */

/* ---- config.c ------------------------------------------------------------------ */

/* Read `map` by the table into `base`; a text instead of a map stands for
 * the table's first row. */
int config_read_map(struct loader *l, const struct key_table *t, const struct yaml_node *map, void *base);

/* ---- config_value.c -------------------------------------------------------------- */

enum { VALUE_MAX = 16384, QUOTE_SIZE = 160 };

/* A value with its variables filled in. */
struct value {
	char *s;                        /* in the configuration's arena */
	char shown[QUOTE_SIZE];         /* as written in the file, quoted, passwords masked: for messages */
	bool secret;                    /* a credential is in it */
};

/* `what` is the name of the key, or of the item in it. */
int config_value(struct loader *l, const char *what, const struct yaml_node *n, struct value *ret);

/* As above, refusing control characters and more than `max` bytes. */
int config_line(struct loader *l, const char *what, const struct yaml_node *n, size_t max, struct value *ret);

/* As above for a value that is shown nowhere, so that it may hold credentials. */
int config_secret_line(struct loader *l, const char *what, const struct yaml_node *n, size_t max, struct value *ret);

/* As above for a value that is shown masked: a credential is written as the URL's form wants it, and refused
 * where config_mask_url() would let it be seen. may_be_all: one that is the whole value is a URL already. */
int config_url_line(struct loader *l, const char *what, const struct yaml_node *n, size_t max, bool may_be_all,
		    struct value *ret);

/* Replace each "{app}" by the application's name. */
int config_fill_app(struct loader *l, const struct yaml_node *n, struct value *v);

/* "path:line:column: sentence", with the position of `n`; returns -EINVAL. */
int config_fail(struct loader *l, const struct yaml_node *n, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Zeroed memory of the configuration's arena; NULL: no room, and the error is set. */
void *config_alloc(struct loader *l, const struct yaml_node *n, size_t size);

/* A terminated copy there. */
int config_keep(struct loader *l, const struct yaml_node *n, struct text t, const char **ret);

/* Quoted for a message: passwords masked, control characters replaced, cut when long. */
void config_quote(struct text t, char out[QUOTE_SIZE]);

/* ---- config_url.c: what is wrong with a URL, as "what; how to mend it"; NULL: nothing --- */

const char *http_url_problem(const char *url);
const char *postgres_url_problem(const char *url);

/* ---- config_print.c ---------------------------------------------------------------- */

/* Begin the line of key `name`: indentation, name and colon. */
void print_name(struct printer *p, const char *name);

/* `s` as a double-quoted YAML scalar that reads back as it is. */
void print_quoted(FILE *out, const char *s);

/* All keys of a table. */
void print_table(struct printer *p, const struct key_table *t, const void *base);

/* ---- config_schema.c --------------------------------------------------------------- */

void config_print_schema(FILE *out);

/* ---- config_print.c ---------------------------------------------------------------- */

/* The row nearest to a misspelt name; NULL: none is near. */
const struct key *config_nearest(const struct key_table *t, struct text name);

#endif
