#include "pg_message.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { SENTENCE_MAX = 1024 };

static bool ends_sentence(char c)
{
	return c && strchr(".?!", c);
}

/* Is it in `all` as a whole, whatever case its first letter has? */
static bool is_said(const char *all, const char *sentence)
{
	size_t n = strlen(sentence);

	for (const char *at = all; (at = strcasestr(at, sentence)); at++)
		if ((at == all || at[-1] == ' ') &&
		    (!at[n] || at[n] == ';' || ends_sentence(at[n]) || ends_sentence(at[n - 1])))
			return true;
	return false;
}

static void append(char *all, size_t size, const char *sentence)
{
	size_t n = strlen(all);
	bool begins = n > 0 && ends_sentence(all[n - 1]), first = n == 0 || all[n - 1] == ' ';

	snprintf(all + n, size - n, "%s%s", first ? "" : begins ? " " : "; ", sentence);
	if (begins && n + 1 < size)
		all[n + 1] = (char)toupper((unsigned char)all[n + 1]);
}

/* "connection to server at ... failed: why": the two parts; false: it is another sentence. */
static bool split_failure(const char *sentence, char place[SENTENCE_MAX], const char **ret_why)
{
	static const char head[] = "connection to server ", tail[] = " failed: ";
	const char *end = strncmp(sentence, head, strlen(head)) == 0 ? strstr(sentence, tail) : NULL;

	if (!end)
		return false;
	sentence += strlen(head);
	snprintf(place, SENTENCE_MAX, "%.*s", (int)(end - sentence), sentence);
	*ret_why = end + strlen(tail);
	return true;
}

void pg_add_sentence(char *all, size_t size, const char *sentence)
{
	char place[SENTENCE_MAX], same[SENTENCE_MAX + sizeof "the same "];
	const char *why;

	if (is_said(all, sentence))
		return;
	if (!split_failure(sentence, place, &why) || !is_said(all, why)) {
		append(all, size, sentence);
	} else if (!strstr(all, place)) {
		snprintf(same, sizeof same, "the same %s", place);
		append(all, size, same);
	}
}

/* A line without the spaces around it and with one for several inside, behind what is in `out`. */
static void add_line(char *out, size_t size, const char *line, size_t n)
{
	size_t used = strlen(out), begin = used;

	for (size_t i = 0; i < n && used + 1 < size; i++) {
		bool space = isspace((unsigned char)line[i]);

		if (!space || (used > begin && out[used - 1] != ' '))
			out[used++] = space ? ' ' : line[i];
	}
	while (used > begin && out[used - 1] == ' ')
		used--;
	out[used] = '\0';
}

/* A line that is indented belongs to the one before: libpq asks "Is the server running ...?" there. */
static void add_question(char *sentence, const char *line, size_t n)
{
	size_t used = strlen(sentence);

	snprintf(sentence + used, SENTENCE_MAX - used, "; ");
	used = strlen(sentence);
	add_line(sentence, SENTENCE_MAX, line, n);
	sentence[used] = (char)tolower((unsigned char)sentence[used]);
}

void pg_one_line(const char *msg, char *out, size_t size)
{
	char sentence[SENTENCE_MAX] = "";

	*out = '\0';
	for (size_t n; *msg; msg += n + (msg[n] == '\n')) {
		n = strcspn(msg, "\n");
		if (*msg == '\t' && *sentence) {
			add_question(sentence, msg, n);
			continue;
		}
		if (*sentence)
			pg_add_sentence(out, size, sentence);
		*sentence = '\0';
		if (strncmp(msg, "LOCATION:", strlen("LOCATION:")) != 0)
			add_line(sentence, sizeof sentence, msg, n);
	}
	if (*sentence)
		pg_add_sentence(out, size, sentence);
}
