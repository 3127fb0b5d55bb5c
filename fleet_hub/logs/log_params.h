/*
 * log_params.h - the kinds of parameters that only log pages have.
 *
 *	param_search    the search box (search.h): one $n, the tree
 *	param_cursor    a line's place in the order of lists, "TIMESTAMP,ID,SERVER": three $n, its
 *	                timestamp, server and id, or three nulls
 */
#ifndef FLEET_HUB_LOG_PARAMS_H
#define FLEET_HUB_LOG_PARAMS_H

#include "fleet_hub/base/params.h"

param_kind param_search;
param_kind param_cursor;

#endif
