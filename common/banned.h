/*
 * banned.h - functions that do not compile in this project.
 *
 * Included by the compiler in front of every file of ours (-include). Each name
 * below either cannot report that it was given rubbish or cannot be told how
 * much room there is; the comment names what to call instead.
 */
#ifndef OBSERV_BANNED_H
#define OBSERV_BANNED_H

/* The headers that declare the names must come first: a poisoned name may not
 * even be declared. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __cplusplus
#include <cstdio>
#include <cstdlib>
#include <cstring>
#endif

/* Where the C library makes them macros, clang says so. */
#undef sprintf
#undef vsprintf

#pragma GCC poison strcpy strcat stpcpy       /* buf_add(), memcpy() with a length */
#pragma GCC poison sprintf vsprintf           /* buf_addf(), snprintf() and a check */
#pragma GCC poison strtok                     /* strtok_r(), or a span */
#pragma GCC poison atoi atol atoll atof       /* parse_i64(), parse_double() */

#endif
