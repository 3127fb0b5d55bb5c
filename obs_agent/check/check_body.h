/*
 * check_body.h - search the body of an answer for a text.
 *
 * Takes the body in pieces, finds the text across their borders, and keeps only as many
 * bytes as that needs. Searches the bytes as UTF-8, and decoded from the body's charset:
 * that of a byte order mark, else of Content-Type, else of <meta> or <?xml in the first
 * 1024 bytes, else windows-1252, as browsers do.
 */
#ifndef OBS_AGENT_CHECK_BODY_H
#define OBS_AGENT_CHECK_BODY_H

#include <stdbool.h>
#include <stddef.h>

struct check_body;

/* `want` is UTF-8. NULL: out of memory. */
struct check_body *check_body_new(const char *want);

/* Take the next piece. `content_type` is the header's value; NULL: none. True: the text was found. */
bool check_body_take(struct check_body *b, const char *content_type, const char *bytes, size_t n);

/* The body has ended. True: the text was found. */
bool check_body_end(struct check_body *b, const char *content_type);

/* Accepts NULL. */
void check_body_free(struct check_body *b);

#endif
