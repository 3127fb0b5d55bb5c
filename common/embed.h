/*
 * embed.h - files that become part of the program at build time.
 *
 *	EMBED(sql_hello, "obs_agent/sql/hello.sql");
 *
 * defines `const char sql_hello[]`, terminated by a NUL, and its length without the NUL as
 * `sql_hello_len`. The path is relative to the top of the tree. The Makefile compiles the
 * source again when an embedded file changes.
 */
#ifndef OBSERV_EMBED_H
#define OBSERV_EMBED_H

#include <stdint.h>

#define EMBED(name, path)                                                      \
	__asm__(".pushsection .rodata, \"a\"\n"                                \
		".balign 8\n"                                                  \
		".globl " #name "\n"                                           \
		".hidden " #name "\n"                                          \
		#name ":\n"                                                    \
		".incbin \"" path "\"\n"                                       \
		".L" #name "_end:\n"                                           \
		".byte 0\n"                                                    \
		".balign 8\n"                                                  \
		".globl " #name "_len\n"                                       \
		".hidden " #name "_len\n"                                      \
		#name "_len:\n"                                                \
		".quad .L" #name "_end - " #name "\n"                          \
		".popsection\n");                                              \
	extern const char name[] __attribute__((visibility("hidden")));       \
	extern const uint64_t name##_len __attribute__((visibility("hidden")))

#endif
