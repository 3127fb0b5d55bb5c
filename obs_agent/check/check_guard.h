/*
 * check_guard.h - what a check may show, and where a redirect may lead it.
 *
 * Pure functions of texts and addresses.
 */
#ifndef OBS_AGENT_CHECK_GUARD_H
#define OBS_AGENT_CHECK_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "obs_agent/config/config.h"

/* Copy `text` (such as a library's message, which may repeat what a peer sent) with "***" for each
 * secret, in whatever encoding; cut to `size`. False: it holds a secret that is too short to be
 * found reliably; show none of it. */
bool check_hide(const struct secret *secrets, const char *text, char *out, size_t size);

/* 169.254.0.0/16, fe80::/10 and the like. */
bool check_link_local(const struct sockaddr *s);

#endif
