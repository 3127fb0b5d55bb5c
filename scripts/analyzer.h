/*
 * analyzer.h - tell clang-tidy, which reads one file at a time, that a
 * function which reports an error returns something negative. Included by scripts/lint-tidy only.
 */
#include "common/err.h"

#define err_set(...) (err_set(__VA_ARGS__), -1)
#define err_prefix(...) (err_prefix(__VA_ARGS__), -1)
