/*
 * pg_message.h - what libpq and servers say, as sentences on one line.
 *
 * Promises that a sentence is said once, also when libpq repeats it for each address.
 */
#ifndef COMMON_PG_MESSAGE_H
#define COMMON_PG_MESSAGE_H

#include <stddef.h>

/* The lines of a message as sentences, without the LOCATION of verbose ones. Always terminates. */
void pg_one_line(const char *msg, char *out, size_t size);

/*
 * Add a sentence behind those in `all`, which is terminated. Nothing is added when it is there; of
 * a connection that failed for the same reason as another one, only where: "the same at ...".
 */
void pg_add_sentence(char *all, size_t size, const char *sentence);

#endif
