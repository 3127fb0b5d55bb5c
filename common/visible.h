/*
 * visible.h - which characters must be shown by their number.
 *
 * For pages and terminals. Promises to find each character of a text from elsewhere that can turn around,
 * hide or split the text beside it: control characters, marks that change the direction of writing, and
 * characters without a shape. Joiners and variation selectors may stay where scripts and emoji need them:
 * beside characters that are not ASCII. Leaves out what is shown instead.
 */
#ifndef OBSERV_VISIBLE_H
#define OBSERV_VISIBLE_H

#include <stddef.h>
#include <stdint.h>

#include "text.h"

/* The length of the character at t.s[i] that must be shown by its number, which is then in
 * *ret; 0 when it may stand as it is. Tab, line feed and carriage return may. */
size_t visible_hidden(struct text t, size_t i, uint32_t *ret);

#endif
