/*
 * address.h - addresses that a URL from others must not lead to.
 *
 * Pure functions. An IPv6 address that has an IPv4 address inside counts as that one.
 */
#ifndef OBSERV_ADDRESS_H
#define OBSERV_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* An address on which a cloud provider answers each of its machines (169.254.169.254 and the like), or any
 * other link-local one. */
bool address_is_metadata(const struct sockaddr *s);

/* Loopback, or the unspecified address, which leads there. */
bool address_is_this_machine(const struct sockaddr *s);

#endif
