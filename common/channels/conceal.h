/*
 * conceal.h - what peers and libraries say, without the secrets of the channel that they may repeat.
 *
 * Owns what is hidden: each secret of the channel, of a URL also what is behind its host, the long parts of
 * each, and a login as it travels, in Base64. Pure.
 */
#ifndef COMMON_CONCEAL_H
#define COMMON_CONCEAL_H

#include "message.h"

/* Write `said` to `out` as one line of at most `max` bytes and a NUL: whole characters, without control
 * characters, with "***" for each secret. A secret is found before the line is cut, so that no half of one
 * stays. `said` may be in `out`. */
void conceal(const struct message *m, struct text said, size_t max, char *out);

#endif
