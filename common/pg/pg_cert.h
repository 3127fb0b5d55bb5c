/*
 * pg_cert.h - the certificate that the database showed. Owns what is asked of OpenSSL.
 */
#ifndef COMMON_PG_CERT_H
#define COMMON_PG_CERT_H

#include <libpq-fe.h>
#include <stdbool.h>

/* How many days it is still valid; below 0: since when not. False: it can't be told. */
bool pg_certificate_days(PGconn *conn, int *ret);

#endif
