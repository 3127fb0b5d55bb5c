/*
 * columns_view.h - what a list of log lines shows in chosen columns, in the page, in JSON and in files.
 *
 * The question gives the values of chosen keys as "context_cells": for each line (a file: in its last column)
 * a list of [kind, text] or null, in the order of $n, the keys.
 */
#ifndef FLEET_HUB_COLUMNS_VIEW_H
#define FLEET_HUB_COLUMNS_VIEW_H

#include "fleet_hub/base/params.h"

struct json_object;

/* The kind of the parameter "columns": one $n, the keys of the context as a JSON array, or null for none.
 * Sets what files and JSON show of each row. */
param_kind param_columns;

/*
 * Add to the page's data "column_menu", the columns that there are to choose, and "column_list", those that
 * are shown. With a choice also "columns", the headings, and to each line its "cells".
 */
void columns_decorate(const struct request *r, struct json_object *data);

#endif
