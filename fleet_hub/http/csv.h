/*
 * csv.h - rows of a JSON answer as comma-separated values (RFC 4180).
 *
 * Promises that no cell can become a formula when a spreadsheet opens the file:
 * text that begins like one gets an apostrophe in front. Numbers stay numbers.
 */
#ifndef FLEET_HUB_CSV_H
#define FLEET_HUB_CSV_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/text.h"

struct json_object;

/* Takes the next bytes; false when they do not fit or nobody takes them. */
typedef bool csv_put(void *to, const void *bytes, size_t n);

/* One cell; the absent text is an empty one. */
bool csv_cell(struct text t, bool is_number, csv_put *put, void *to);

/*
 * Append the objects in data[rows], one line each; the columns are the members of
 * the first one, in order, that are not lists. Where `children` names a list in each row, a line is
 * a child, its columns named app_NAME, behind its parent's. False when it does not fit.
 */
bool csv_write(struct json_object *data, const char *rows, const char *children, struct buf *out);

#endif
