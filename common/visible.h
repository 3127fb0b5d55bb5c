/*
 * visible.h - which characters a page must show by their number.
 *
 * Promises that no text from elsewhere can turn around, hide or split what stands beside
 * it: control characters, marks that change the direction of writing, and characters
 * without a shape. Joiners and variation selectors stay where scripts and emoji need
 * them: beside characters that are not ASCII.
 */
#ifndef FLEET_HUB_VISIBLE_H
#define FLEET_HUB_VISIBLE_H

#include <stddef.h>
#include <stdint.h>

#include "common/text.h"

/* The length of the character at t.s[i] that must be shown by its number, which is then in
 * *ret; 0 when it may stand as it is. Tab, line feed and carriage return may. */
size_t visible_hidden(struct text t, size_t i, uint32_t *ret);

#endif
