/*
 * allocations.h - count allocations, for tests. Call count_allocations() first.
 */
#ifndef OBSERV_TEST_ALLOCATIONS_H
#define OBSERV_TEST_ALLOCATIONS_H

#include <stdatomic.h>
#include <stddef.h>

static _Atomic size_t allocations;

/* Counts calls in the linked objects, by -Wl,--wrap; a sanitizer counts those of the C library, too. */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n)
{
	allocations++;
	return __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
	allocations++;
	return __real_realloc(p, n);
}

#ifdef __has_feature            /* how clang names it */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
					      void (*on_free)(const volatile void *));
static inline void on_malloc(const volatile void *p, size_t n)
{
	(void)p, (void)n;
	allocations++;
}
static inline void on_free(const volatile void *p)
{
	(void)p;
}
static inline void count_allocations(void)
{
	__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
}
#else
static inline void count_allocations(void)
{
}
#endif

#endif
