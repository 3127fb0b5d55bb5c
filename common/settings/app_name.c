#include "app_name.h"

#include <string.h>

bool app_name_valid(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strspn(name, letters);

	return n > 0 && n <= APP_NAME_MAX && !name[n] && name[0] != '.' && name[0] != '-';
}
