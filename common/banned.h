/*
 * banned.h - functions that do not compile in this project.
 *
 * The compiler includes this in front of every file (-include). Each function below either
 * cannot report invalid input, or does not take the size of its buffer; the comment names
 * the replacement.
 */
#ifndef OBSERV_BANNED_H
#define OBSERV_BANNED_H

/* Include the headers that declare the names first: a poisoned name must not even be
 * declared. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __cplusplus
#include <cstdio>
#include <cstdlib>
#include <cstring>
#endif

/* The C library may define them as macros, which clang reports. */
#undef sprintf
#undef vsprintf

#pragma GCC poison strcpy strcat stpcpy       /* buf_add(), memcpy() with a length */
#pragma GCC poison sprintf vsprintf           /* buf_addf(), snprintf() and a check */
#pragma GCC poison strtok                     /* strtok_r(), or a span */
#pragma GCC poison atoi atol atoll atof       /* parse_i64(), parse_double() */

#endif
