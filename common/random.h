/*
 * random.h - random numbers from the kernel, for jitter and for names that must not repeat.
 * Not for secrets: if the kernel refuses, they come from the clock.
 */
#ifndef OBSERV_RANDOM_H
#define OBSERV_RANDOM_H

#include <stdint.h>

uint64_t random_u64(void);

/* A positive number of at most `bits` bits (1 to 63). */
int64_t random_id(unsigned bits);

#endif
