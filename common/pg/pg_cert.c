#include "pg_cert.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

bool pg_certificate_days(PGconn *conn, int *ret)
{
	SSL *ssl = PQsslStruct(conn, "OpenSSL");
	X509 *certificate = ssl ? SSL_get1_peer_certificate(ssl) : NULL;
	int seconds;
	bool known = certificate && ASN1_TIME_diff(ret, &seconds, NULL, X509_get0_notAfter(certificate)) == 1;

	if (known && *ret == 0 && seconds < 0)
		*ret = -1;
	X509_free(certificate);
	return known;
}
