/*
 * luhn.h - numbers of payment cards. Private to the library.
 */
#ifndef LOGCORE_LUHN_H
#define LOGCORE_LUHN_H

#include <stddef.h>

/* Length of the card number that starts with the digit at s[i], 0 when there is none. It
 * is in one piece or in groups of four and more with a space or a dash between them, and
 * has the length and the first digits of an issuer, and a check digit that is right. */
size_t logcore_luhn_card(const char *s, size_t len, size_t i);

#endif
