/*
 * install.h - what a new server fetches from the hub: install.sh, and the packages that it installs.
 *
 * Answers of routes. Promises that the script names the packages of the configured folder with their SHA-256,
 * so that whoever has the script knows what the packages must be; and that no other file leaves that folder.
 */
#ifndef FLEET_HUB_INSTALL_H
#define FLEET_HUB_INSTALL_H

#include "fleet_hub/base/db.h"
#include "fleet_hub/http/http.h"

void install_script(struct request *r, struct db *db, struct response *s);
void install_package(struct request *r, struct db *db, struct response *s);

#endif
