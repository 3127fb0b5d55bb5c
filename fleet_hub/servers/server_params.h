/*
 * server_params.h - kinds of parameters that only programs have: metrics, steps, addresses.
 */
#ifndef FLEET_HUB_SERVER_PARAMS_H
#define FLEET_HUB_SERVER_PARAMS_H

#include "fleet_hub/base/params.h"

param_kind param_metric; /* a name of METRICS in wire/sample.h */
param_kind param_step;   /* "30", "5m", "1h": as seconds; "" is null */

/* The hub's own address, without a slash at its end: public_url, or what the request shows. */
param_kind param_site;

/* Where agents reach the database, HOST[:PORT]/NAME...: agents_database, or the hub's own. */
param_kind param_agents_database;

#endif
