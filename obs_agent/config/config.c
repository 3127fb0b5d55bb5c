/* config.c - reads a file into a struct config, by the key table. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "common/settings/app_name.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/settings/near.h"
#include "common/path_pattern.h"
#include "common/read.h"
#include "config_keys.h"

enum {
	FILE_MAX = 1 << 20, /* bytes of a configuration file */
	TREE_MAX = 8 << 20, /* memory for the section's tree, while it is read */
	KEEP_MAX = 8 << 20, /* memory of a struct config */
};

/* ---- a map by its table ----------------------------------------------------------- */

static const struct key *find_key(const struct key_table *t, struct text name)
{
	for (size_t i = 0; i < t->n; i++)
		if (text_eq(text_of(t->rows[i].name), name))
			return &t->rows[i];
	return NULL;
}

/* "enabled, postgres_url, ..." */
static const char *key_names(const struct key_table *t, char *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < t->n && used < size; i++)
		used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", t->rows[i].name);
	return out;
}

static int unknown_key(struct loader *l, const struct key_table *t, const struct key *near,
		       const struct yaml_node *key)
{
	char quoted[QUOTE_SIZE], names[ERR_MSG_MAX / 2];

	config_quote(key->text, quoted);
	if (near)
		return config_fail(l, key, "%s is not a key of %s; did you mean %s?", quoted, t->where,
				   near->name);
	if (t != &monitoring_keys && find_key(&monitoring_keys, key->text))
		return config_fail(l, key,
				   "%s is a key of section monitoring, not of %s; correct its indentation",
				   quoted, t->where);
	return config_fail(l, key, "%s is not a key of %s; known are %s", quoted, t->where,
			   key_names(t, names, sizeof names));
}

/* The values of a map, in the order of the table's rows. */
struct matched {
	const struct yaml_node *given[KEYS_MAX];
	bool misspelt[KEYS_MAX];        /* an unknown key probably means this row */
};

/* The row that a misspelt name may mean, or NULL. */
static const struct key *near_key(const struct key_table *t, struct text name)
{
	struct near n = near_to(name);

	for (size_t i = 0; i < t->n; i++)
		near_try(&n, t->rows[i].name);
	return n.word ? find_key(t, text_of(n.word)) : NULL;
}

static int match_key(struct loader *l, const struct key_table *t, const struct yaml_node *n,
		     struct matched *m)
{
	const struct key *k = find_key(t, n->key->text), *near = k ? NULL : near_key(t, n->key->text);

	if (near)
		m->misspelt[near - t->rows] = true;
	if (!k)
		return unknown_key(l, t, near, n->key);
	if (m->given[k - t->rows])
		return config_fail(l, n->key, "%s is given twice, first in line %d; remove one", k->name,
				   m->given[k - t->rows]->key->line);
	m->given[k - t->rows] = n;
	return 0;
}

static int match_keys(struct loader *l, const struct key_table *t, const struct yaml_node *map,
		      struct matched *m)
{
	int r = 0;

	for (const struct yaml_node *n = map->first; n; n = n->next)
		if (match_key(l, t, n, m) < 0)
			r = -EINVAL;
	return r;
}

/* Read a value, a list or a map into the row's target. */
static int read_node(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	const struct kind *kind = k->kind;
	struct value v;

	if (kind->parse)
		return kind->parse(l, k, n, base);
	if (config_value(l, k->name, n, kind->form, kind->max ? kind->max : (size_t)k->max, &v) < 0)
		return -EINVAL;
	return kind->take(l, k, n, &v, base);
}

static int read_default(struct loader *l, const struct key *k, const struct yaml_node *map, void *base)
{
	struct yaml_node n = *map;

	if (k->required)
		return config_fail(l, map, "%s is missing; add it", k->name);
	if (k->fallback)
		return k->fallback(l, map, base);
	if (!k->def)
		return 0;
	n.kind = NODE_TEXT;
	n.plain = false;
	n.text = text_of(k->def);
	return read_node(l, k, &n, base);
}

/* given: the row's value in `map`, or NULL. */
static int read_row(struct loader *l, const struct key *k, const struct yaml_node *given,
		    const struct yaml_node *map, void *base)
{
	int r = given ? read_node(l, k, given, base) : read_default(l, k, map, base);

	return r == 0 && given && k->check ? k->check(l, given, base) : r;
}

int config_read_map(struct loader *l, const struct key_table *t, const struct yaml_node *map, void *base)
{
	struct matched m = { 0 };
	int r = 0;

	if (map->kind == NODE_MAP)
		r = match_keys(l, t, map, &m);
	else if (map->kind == NODE_TEXT && t != &monitoring_keys)
		m.given[0] = map;
	else
		return config_fail(
			l, map,
			"%s must be keys with values, not %s; write \"key: value\", with a space behind "
			"the colon",
			t->where, map->kind == NODE_LIST ? "a list" : "one value");
	for (size_t i = 0; i < t->n; i++)
		if ((m.given[i] || !m.misspelt[i]) && read_row(l, &t->rows[i], m.given[i], map, base) < 0)
			r = -EINVAL;
	return r;
}

/* ---- a text ------------------------------------------------------------------------ */

static int load_section(struct loader *l, const struct yaml_node *section)
{
	if (section->kind == NODE_TEXT && section->text.len == 0)
		return config_fail(l, section,
				   "section monitoring has no keys; indent them below it by two spaces");
	return config_read_map(l, &monitoring_keys, section, l->c);
}

/* Read section "monitoring:" into a tree, and store the application's name. */
static int begin(const char *path, const char *app, struct text yaml, struct config *c, struct arena *tree,
		 const struct yaml_node **ret, struct err *e)
{
	struct yaml_section monitoring = { .name = "monitoring" };
	int r;

	if (!app_name_valid(app))
		return err_set(e, EINVAL, APP_NAME_RULE "; correct --app");
	c->app = arena_dup(&c->arena, text_of(app));
	if (!c->app)
		return err_set(e, ENOMEM, "%s: out of memory; give the process more", path);
	r = yaml_sections(path, yaml, &monitoring, 1, tree, e);
	*ret = monitoring.node;
	if (r == 0 && !*ret)
		r = yaml_error(e, path, 1, 1,
			       "the file has no section monitoring; add one with the key postgres_url");
	return r;
}

int config_parse(const char *path, const char *app, struct text yaml, struct config *ret,
		 struct config_mistakes *m)
{
	CLEANUP(arena_free) struct arena tree = ARENA(TREE_MAX);
	CLEANUP(config_free) struct config c = { .arena = ARENA(KEEP_MAX) };
	struct loader l = { .path = path, .c = &c, .mistakes = m };
	const struct yaml_node *section;
	int r = begin(path, app, yaml, &c, &tree, &section, &m->e[0]);

	m->n = r < 0;                   /* after such an error the rest can't be read */
	if (r == 0)
		r = load_section(&l, section);
	if (r < 0)
		return r;
	*ret = c;
	c = (struct config){ 0 };
	return 0;
}

const struct log_file_config *config_log_file(const struct config *c, const char *path)
{
	for (size_t i = 0; i < c->n_log_files; i++)
		if (path_pattern_matches(c->log_files[i].path, path))
			return &c->log_files[i];
	return NULL;
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < c->n_log_files; i++)
		line_start_free(c->log_files[i].start);
	zones_free(&c->zones);
	arena_free(&c->arena);
	*c = (struct config){ 0 };
}

/* ---- a file ------------------------------------------------------------------------ */

static int open_error(const char *path, int error, struct err *e)
{
	if (error == ENOENT)
		return err_set(e, error,
			       "%s: there is no such file; create it with a section monitoring and the key "
			       "postgres_url, or name another by --config",
			       path);
	if (error == EACCES)
		return err_set(e, error,
			       "%s: permission denied; let the agent's user read the file and enter its "
			       "folders",
			       path);
	return err_set(e, error, "%s: cannot be opened (%s); name a regular file", path, strerror(error));
}

/* O_NONBLOCK: opening a FIFO must not block before it is refused. */
static int open_regular(const char *path, struct err *e)
{
	CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return open_error(path, errno, e);
	if (S_ISDIR(st.st_mode))
		return err_set(e, EISDIR, "%s: this is a folder; name the file in it", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s: this is not a regular file; name one", path);
	return TAKE_FD(fd);
}

static int load_text(const char *path, struct buf *out, struct err *e)
{
	CLEANUP(close_p) int fd = open_regular(path, e);
	char *room = fd < 0 ? NULL : buf_room(out, FILE_MAX + 1);
	ssize_t n = room ? read_all(fd, room, FILE_MAX + 1) : -ENOMEM;

	if (fd < 0)
		return fd;
	if (!room)
		return err_set(e, ENOMEM, "%s: out of memory; give the process more", path);
	if (n < 0)
		return err_set(e, (int)-n, "%s: cannot be read (%s); check the disk", path,
			       strerror((int)-n));
	if (n > FILE_MAX)
		return err_set(e, EFBIG, "%s: the file is larger than %d bytes; is it the right one?", path,
			       FILE_MAX);
	out->len = (size_t)n;
	return 0;
}

int config_load(const char *path, const char *app, struct config *ret, struct config_mistakes *m)
{
	CLEANUP(buf_free) struct buf text = BUF(FILE_MAX + 1);
	int r = load_text(path, &text, &m->e[0]);

	m->n = r < 0;
	return r < 0 ? r : config_parse(path, app, (struct text){ text.data, text.len }, ret, m);
}
