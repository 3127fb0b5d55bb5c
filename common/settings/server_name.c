#include "server_name.h"

#include <string.h>

#include "common/text.h"
#include "common/utf8.h"

/* Those of ASCII, and U+0080 to U+009F. */
static bool is_control(const char *s)
{
	unsigned char c = (unsigned char)s[0], next = (unsigned char)s[1];

	return c < ' ' || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

bool server_name_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > SERVER_NAME_MAX || name[0] == ' ' || name[n - 1] == ' ' ||
	    !utf8_is_clean(text_of(name)))
		return false;
	for (const char *s = name; *s; s++)
		if (is_control(s))
			return false;
	return true;
}
