/*
 * server_name.h - the rule for a server's name, which agents write with every row.
 *
 * The same rule stands in templates/install.sh, which is a shell script, and in check_name() and
 * check_writer() of the schema. Leaves out what a configuration file makes of ${.
 */
#ifndef OBSERV_SERVER_NAME_H
#define OBSERV_SERVER_NAME_H

#include <stdbool.h>

enum { SERVER_NAME_MAX = 128 }; /* bytes */

#define SERVER_NAME_RULE                                                                                     \
	"a server's name has 1 to 128 bytes of UTF-8, without control characters, and no space at its ends"

bool server_name_valid(const char *name);

#endif
