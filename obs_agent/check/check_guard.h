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

/* Can libcurl write a secret in a form that check_hide() does not know, as with a host beyond ASCII? */
bool check_may_be_respelt(const struct secret *secrets);

/* An address on which a cloud provider answers each of its machines (169.254.169.254 and the like), or any
 * other link-local one; also as IPv6 that has it inside. */
bool check_is_metadata(const struct sockaddr *s);

#endif
