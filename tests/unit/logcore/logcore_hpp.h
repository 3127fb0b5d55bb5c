/* logcore_hpp.h - functions of logcore_hpp.cc, a C++ program, which test_logcore_hpp.c calls. */
#ifndef OBSERV_TEST_LOGCORE_HPP_H
#define OBSERV_TEST_LOGCORE_HPP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void hpp_fields(int fd);
void hpp_levels(int fd);
void hpp_messages(int fd);
void hpp_ownership(int fd);
int hpp_open_fails(char *sentence, size_t size);
int hpp_failure_is_silent(void);

#ifdef __cplusplus
}
#endif

#endif
