/*
 * pg_message.h - the messages of libpq and servers, as sentences on one line.
 *
 * Promises that each sentence appears once, even if libpq repeats it for each address.
 */
#ifndef COMMON_PG_MESSAGE_H
#define COMMON_PG_MESSAGE_H

#include <stddef.h>

/* The lines of a message as sentences, without the LOCATION of verbose ones. Always terminates. */
void pg_one_line(const char *msg, char *out, size_t size);

/*
 * Append a sentence to those in `all`, a terminated text, unless it is there already. If a connection failed
 * for the same reason as another one, append only its address: "the same at ...".
 */
void pg_add_sentence(char *all, size_t size, const char *sentence);

#endif
