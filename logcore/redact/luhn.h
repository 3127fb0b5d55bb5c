/*
 * luhn.h - find numbers of payment cards in a text. Private to the library.
 */
#ifndef LOGCORE_LUHN_H
#define LOGCORE_LUHN_H

#include <stddef.h>

/* Length of the card number that starts with the digit at s[i], 0 if there is none. A card
 * number has an issuer's length and first digits and a correct check digit; its digits are
 * contiguous, or in groups of four or more with a space or a dash between them. */
size_t logcore_luhn_card(const char *s, size_t len, size_t i);

#endif
