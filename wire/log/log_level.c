#include "log_level.h"

#include <stdint.h>

#include "common/parse.h"

struct word {
	struct text word;
	enum log_level level;
	enum log_level_kind kind;
};

/* The commonest first. */
static const struct word words[] = {
#define ROW(word, level, kind) { { word, sizeof word - 1 }, level, kind }
	ROW("info", LEVEL_INFO, LEVEL_PLAIN),           ROW("debug", LEVEL_DEBUG, LEVEL_PLAIN),
	ROW("warning", LEVEL_WARNING, LEVEL_PLAIN),     ROW("warn", LEVEL_WARNING, LEVEL_PLAIN),
	ROW("error", LEVEL_ERROR, LEVEL_PLAIN),         ROW("critical", LEVEL_CRITICAL, LEVEL_PLAIN),
	ROW("fatal", LEVEL_CRITICAL, LEVEL_PLAIN),      ROW("trace", LEVEL_TRACE, LEVEL_PLAIN),
	ROW("notice", LEVEL_INFO, LEVEL_ALSO_PROSE),    ROW("err", LEVEL_ERROR, LEVEL_PLAIN),
	ROW("crit", LEVEL_CRITICAL, LEVEL_PLAIN),       ROW("panic", LEVEL_CRITICAL, LEVEL_ALSO_PROSE),
	ROW("dpanic", LEVEL_CRITICAL, LEVEL_PLAIN),     ROW("emerg", LEVEL_CRITICAL, LEVEL_PLAIN),
	ROW("emergency", LEVEL_CRITICAL, LEVEL_ALSO_PROSE), ROW("alert", LEVEL_CRITICAL, LEVEL_ALSO_PROSE),
	ROW("severe", LEVEL_ERROR, LEVEL_ALSO_PROSE),   ROW("fine", LEVEL_DEBUG, LEVEL_ALSO_PROSE),
	ROW("finer", LEVEL_DEBUG, LEVEL_ALSO_PROSE),    ROW("finest", LEVEL_TRACE, LEVEL_ALSO_PROSE),
	ROW("config", LEVEL_INFO, LEVEL_FRAMED),    ROW("verbose", LEVEL_DEBUG, LEVEL_ALSO_PROSE),
	ROW("silly", LEVEL_TRACE, LEVEL_ALSO_PROSE),    ROW("information", LEVEL_INFO, LEVEL_FRAMED),
	ROW("informational", LEVEL_INFO, LEVEL_FRAMED), ROW("log", LEVEL_INFO, LEVEL_ALSO_PROSE),
	ROW("success", LEVEL_INFO, LEVEL_FRAMED),   ROW("http", LEVEL_INFO, LEVEL_ALSO_PROSE),
	ROW("mark", LEVEL_INFO, LEVEL_FRAMED),      ROW("statement", LEVEL_INFO, LEVEL_FRAMED),
	ROW("audit", LEVEL_INFO, LEVEL_FRAMED),     ROW("system", LEVEL_INFO, LEVEL_FRAMED),
	ROW("note", LEVEL_INFO, LEVEL_FRAMED),      ROW("failure", LEVEL_ERROR, LEVEL_FRAMED),
	ROW("exception", LEVEL_ERROR, LEVEL_FRAMED), ROW("wrn", LEVEL_WARNING, LEVEL_PLAIN),
	ROW("inf", LEVEL_INFO, LEVEL_PLAIN),            ROW("dbg", LEVEL_DEBUG, LEVEL_PLAIN),
	ROW("ftl", LEVEL_CRITICAL, LEVEL_PLAIN),        ROW("vrb", LEVEL_DEBUG, LEVEL_PLAIN),
	ROW("trc", LEVEL_TRACE, LEVEL_PLAIN),           ROW("eror", LEVEL_ERROR, LEVEL_PLAIN),
	ROW("debu", LEVEL_DEBUG, LEVEL_PLAIN),          ROW("fata", LEVEL_CRITICAL, LEVEL_PLAIN),
	ROW("erro", LEVEL_ERROR, LEVEL_PLAIN),          ROW("pani", LEVEL_CRITICAL, LEVEL_PLAIN),
	ROW("trac", LEVEL_TRACE, LEVEL_PLAIN),          ROW("pnc", LEVEL_CRITICAL, LEVEL_PLAIN),
	ROW("dbug", LEVEL_DEBUG, LEVEL_PLAIN),          ROW("fail", LEVEL_ERROR, LEVEL_FRAMED),
	ROW("info0", LEVEL_INFO, LEVEL_PLAIN),          ROW("debug1", LEVEL_DEBUG, LEVEL_PLAIN),
	ROW("debug2", LEVEL_DEBUG, LEVEL_PLAIN),        ROW("debug3", LEVEL_DEBUG, LEVEL_PLAIN),
	ROW("debug4", LEVEL_DEBUG, LEVEL_PLAIN),        ROW("debug5", LEVEL_DEBUG, LEVEL_PLAIN),
#undef ROW
};

enum { WORDS = sizeof words / sizeof *words, WORD_MAX = 13 };

/* With which letters words of each length begin: most texts are no level, and are refused at once. */
static const uint32_t first_letters[WORD_MAX + 1] = {
#define L(letter) 1U << ((letter) - 'a')
	[3] = L('d') | L('e') | L('f') | L('i') | L('l') | L('p') | L('t') | L('v') | L('w'),
	[4] = L('c') | L('d') | L('e') | L('f') | L('h') | L('i') | L('m') | L('n') | L('p') | L('t') |
	      L('w'),
	[5] = L('a') | L('d') | L('e') | L('f') | L('i') | L('p') | L('s') | L('t'),
	[6] = L('c') | L('d') | L('f') | L('n') | L('s'),
	[7] = L('f') | L('s') | L('v') | L('w'),
	[8] = L('c'),
	[9] = L('e') | L('s'),
	[11] = L('i'),
	[13] = L('i'),
#undef L
};

/* Is `word`, in any case, this word of as many small letters and digits? */
static inline bool same_letters(const char *small, struct text word)
{
	for (size_t i = 1; i < word.len; i++)
		if ((word.s[i] | 0x20) != small[i])
			return false;
	return true;
}

bool log_level_word(struct text word, enum log_level *ret, enum log_level_kind *ret_kind)
{
	char first;

	if (word.len < 3 || word.len > WORD_MAX)
		return false;
	first = (char)(word.s[0] | 0x20);
	if (first < 'a' || first > 'z' || !(first_letters[word.len] & 1U << (first - 'a')))
		return false;
	for (size_t i = 0; i < WORDS; i++)
		if (words[i].word.s[0] == first && words[i].word.len == word.len &&
		    same_letters(words[i].word.s, word)) {
			*ret = words[i].level;
			if (ret_kind)
				*ret_kind = words[i].kind;
			return true;
		}
	return false;
}

static const enum log_level syslog_levels[] = {
	LEVEL_CRITICAL, LEVEL_CRITICAL, LEVEL_CRITICAL, LEVEL_ERROR,
	LEVEL_WARNING,  LEVEL_INFO,     LEVEL_INFO,     LEVEL_DEBUG,
};

bool log_level_priority(struct text number, enum log_level *ret)
{
	enum { PRIORITY_MAX = 191 };
	int64_t n;

	if (!parse_i64(number, &n) || n < 0 || n > PRIORITY_MAX)
		return false;
	*ret = syslog_levels[n % 8];
	return true;
}

/* A row holds for numbers up to `last`, from the row before it on. */
struct range {
	int64_t last;
	enum log_level level;
};

/* Told apart by size: nobody counts in two of these ways. */
static const struct range by_size[] = {
	/* syslog, GELF */
	{ 2, LEVEL_CRITICAL }, { 3, LEVEL_ERROR }, { 4, LEVEL_WARNING }, { 6, LEVEL_INFO },
	{ 7, LEVEL_DEBUG },
	/* pino, bunyan */
	{ 19, LEVEL_TRACE }, { 29, LEVEL_DEBUG }, { 39, LEVEL_INFO }, { 49, LEVEL_WARNING },
	{ 59, LEVEL_ERROR }, { 99, LEVEL_CRITICAL },
	/* Monolog */
	{ 199, LEVEL_DEBUG }, { 299, LEVEL_INFO }, { 399, LEVEL_WARNING }, { 499, LEVEL_ERROR },
	{ 600, LEVEL_CRITICAL },
	/* java.util.logging */
	{ 800, LEVEL_INFO }, { 900, LEVEL_WARNING }, { 1000, LEVEL_ERROR },
	/* log4j, logback */
	{ 5000, LEVEL_TRACE }, { 10000, LEVEL_DEBUG }, { 20000, LEVEL_INFO },
	{ 30000, LEVEL_WARNING }, { 40000, LEVEL_ERROR }, { 50000, LEVEL_CRITICAL },
};
static const struct range python[] = {
	{ 9, LEVEL_TRACE },    { 19, LEVEL_DEBUG }, { 29, LEVEL_INFO },
	{ 39, LEVEL_WARNING }, { 49, LEVEL_ERROR }, { 100, LEVEL_CRITICAL },
};
static const struct range opentelemetry[] = {
	{ 0, LEVEL_INFO }, { 4, LEVEL_TRACE }, { 8, LEVEL_DEBUG }, { 12, LEVEL_INFO }, { 16, LEVEL_WARNING },
	{ 20, LEVEL_ERROR }, { 24, LEVEL_CRITICAL },
};
static const struct range nextcloud[] = {
	{ 0, LEVEL_DEBUG }, { 1, LEVEL_INFO }, { 2, LEVEL_WARNING }, { 3, LEVEL_ERROR },
	{ 4, LEVEL_CRITICAL },
};
static const struct range tslog[] = {
	{ 1, LEVEL_TRACE }, { 2, LEVEL_DEBUG }, { 3, LEVEL_INFO }, { 4, LEVEL_WARNING }, { 5, LEVEL_ERROR },
	{ 6, LEVEL_CRITICAL },
};

static const struct {
	const struct range *range;
	size_t n;
} families[] = {
#define FAMILY(ranges) { ranges, sizeof ranges / sizeof *ranges }
	[LEVELS_ANY] = FAMILY(by_size),
	[LEVELS_PYTHON] = FAMILY(python),
	[LEVELS_OPENTELEMETRY] = FAMILY(opentelemetry),
	[LEVELS_NEXTCLOUD] = FAMILY(nextcloud),
	[LEVELS_TSLOG] = FAMILY(tslog),
	[LEVELS_NONE] = { NULL, 0 },
#undef FAMILY
};

bool log_level_number(struct text number, enum log_level_family family, enum log_level *ret)
{
	double v;

	if (!parse_double(number, &v) || v < 0 || (family == LEVELS_ANY && (v == 8 || v == 9)))
		return false;
	for (size_t i = 0; i < families[family].n; i++)
		if (v <= (double)families[family].range[i].last) {
			*ret = families[family].range[i].level;
			return true;
		}
	return false;
}

bool log_level_letter(char letter, enum log_level *ret)
{
	static const struct {
		char letter;
		enum log_level level;
	} letters[] = {
		{ 'I', LEVEL_INFO },     { 'W', LEVEL_WARNING },  { 'E', LEVEL_ERROR }, { 'D', LEVEL_DEBUG },
		{ 'F', LEVEL_CRITICAL }, { 'V', LEVEL_TRACE },    { 'T', LEVEL_TRACE },
		{ 'C', LEVEL_CRITICAL },
		{ 'A', LEVEL_INFO },     { 'N', LEVEL_INFO },     { 'S', LEVEL_ERROR },
	};

	for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
		if (letters[i].letter == letter) {
			*ret = letters[i].level;
			return true;
		}
	return false;
}

void log_level_print(FILE *out)
{
	fputs("| level | words, in any case |\n|---|---|\n", out);
	for (enum log_level level = LEVEL_TRACE; level <= LEVEL_CRITICAL; level++) {
		const char *between = "";

		fprintf(out, "| %s | ", log_level_names[level]);
		for (size_t i = 0; i < WORDS; i++)
			if (words[i].level == level) {
				fprintf(out, "%s%s", between, words[i].word.s);
				between = ", ";
			}
		fputs(" |\n", out);
	}
}
