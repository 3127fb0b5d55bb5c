/*
 * cleanup.h - resources that free themselves when their variable leaves scope.
 *
 *	CLEANUP(free_p) char *line = NULL;
 *	CLEANUP(close_p) int fd = open(...);
 *	return TAKE_FD(fd);             ownership leaves, the cleanup sees -1
 *
 * A destructor accepts the value of an unset variable (NULL, -1), so a function may return
 * anywhere and needs no cleanup labels.
 */
#ifndef OBSERV_CLEANUP_H
#define OBSERV_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(f) __attribute__((cleanup(f)))

#define TAKE_PTR(p)                                                            \
	__extension__({                                                        \
		__typeof__(p) taken_ = (p);                                    \
		(p) = NULL;                                                    \
		taken_;                                                        \
	})

#define TAKE_FD(fd)                                                            \
	__extension__({                                                        \
		int taken_ = (fd);                                             \
		(fd) = -1;                                                     \
		taken_;                                                        \
	})

static inline void close_p(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void free_p(void *p)
{
	free(*(void **)p);
	*(void **)p = NULL;
}

static inline void fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
	*f = NULL;
}

static inline void closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
	*d = NULL;
}

#endif
