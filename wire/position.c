#include "position.h"

#include <string.h>

const struct position *positions_of(const struct position *p, size_t n, const char *source, size_t *ret_n)
{
	size_t first = 0, own = 0;

	while (first < n && strcmp(p[first].source, source) != 0)
		first++;
	while (first + own < n && strcmp(p[first + own].source, source) == 0)
		own++;
	*ret_n = own;
	return p ? p + first : NULL;
}
