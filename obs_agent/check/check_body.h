/*
 * check_body.h - is a text in the body of an answer?
 *
 * Looks at the body as it comes, across the borders of its pieces, and keeps no more of it
 * than a text of that length needs. The text is looked for in the bytes as they are, and in
 * what they mean in the body's charset: that of a byte order mark, else of Content-Type,
 * else of a <meta> or <?xml in the first bytes, else (as browsers do) windows-1252.
 */
#ifndef OBS_AGENT_CHECK_BODY_H
#define OBS_AGENT_CHECK_BODY_H

#include <stdbool.h>
#include <stddef.h>

struct check_body;

/* `want` is UTF-8. NULL: out of memory. */
struct check_body *check_body_new(const char *want);

/* More of the body. `content_type` is the header's value, NULL: none. True: the text is there. */
bool check_body_take(struct check_body *b, const char *content_type, const char *bytes, size_t n);

/* The body has ended; what is asked is the same. */
bool check_body_end(struct check_body *b, const char *content_type);

/* Accepts NULL. */
void check_body_free(struct check_body *b);

#endif
