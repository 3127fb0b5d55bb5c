/*
 * template.h - Mustache over a JSON value.
 *
 * Owns the parsed form of one template and its partials for one rendering.
 * Promises what the Mustache specification says about interpolation, sections,
 * inverted sections, partials, comments, dotted names, the
 * implicit iterator and standalone lines; that {{name}} is escaped for HTML text
 * and quoted attributes; and that no data, however deep or hostile, can change
 * the markup. Leaves out lambdas in the data, whose place is taken by formatters, and
 * set delimiters. {{{name}}} is refused where the result is markup.
 *
 * A section {{#f.NAME}}...{{/f.NAME}} is a formatter: its inside is rendered
 * without escaping, given to the function that has that name, and what the
 * function returns is escaped like any value. "f" is therefore not looked up in
 * the data.
 *
 * Falsy: absent, null, false, [] and "". Zero is a value like any other.
 */
#ifndef OBSERV_TEMPLATE_H
#define OBSERV_TEMPLATE_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/text.h"

struct json_object;

enum {
	TEMPLATE_DEPTH_MAX = 24,                /* sections and partials within one another */
	TEMPLATE_TEXT_MAX = 256 * 1024,         /* bytes of one template */
};

/* Append the formatted text to out; false when it does not fit. */
typedef bool template_formatter(const void *ctx, struct text in, struct buf *out);

/* What the templates may call upon; both functions may be NULL. */
struct template_env {
	/* The partial's text, or the absent span. The text must outlive the call. */
	struct text (*partial)(const void *ctx, struct text name);
	template_formatter *(*formatter)(const void *ctx, struct text name);
	const void *ctx;
	bool raw;                       /* the result is plain text: {{{name}}} and {{&name}} are allowed */
	/* How often sections may be rendered, all together, because lists within lists take any time; 0: any
	 * number. */
	size_t sections_max;
	/* Appends the value of {{name}} as the result needs it. NULL: template_escape(), for HTML. */
	bool (*escape)(struct buf *out, struct text t);
};

/*
 * Render `source` with `data` (borrowed, unchanged) and append the result to
 * `out`. On failure (a section that does not close, nesting too deep, result
 * larger than out's limit) out is as it was.
 */
int template_render(struct text source, struct json_object *data, const struct template_env *env,
		    struct buf *out, struct err *e);

/* Append t escaped for HTML; control characters become visible pictures. */
bool template_escape(struct buf *out, struct text t);

#endif
