/*
 * app_name.h - the rule for an application's name, which becomes part of paths and unit names.
 *
 * The same rule stands in templates/install.sh, which is a shell script, and in check_writer() of the
 * schema, which takes any characters: a database is not asked about paths.
 */
#ifndef OBSERV_APP_NAME_H
#define OBSERV_APP_NAME_H

#include <stdbool.h>

enum { APP_NAME_MAX = 100 }; /* bytes */

#define APP_NAME_RULE                                                                                        \
	"an application's name has letters, digits, '.', '_' and '-', 100 at most, and does not begin with " \
	"'.' or '-'"

bool app_name_valid(const char *name);

#endif
