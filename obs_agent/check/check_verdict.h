/*
 * check_verdict.h - what the end of an HTTP transfer means: error class, one
 * sentence, phases, dates of the certificate.
 *
 * Promises that the sentence shows no secret of the URL or of a header.
 */
#ifndef OBS_AGENT_CHECK_VERDICT_H
#define OBS_AGENT_CHECK_VERDICT_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "obs_agent/config/config.h"
#include "wire/sample.h"

enum {
	CHECK_HEADERS_MAX = 64 << 10,   /* in all answers of an attempt */
	CHECK_BODY_MAX = 1 << 20,       /* searched for expect_body */
	CHECK_DRAIN_MAX = 64 << 10,     /* read without expect_body; then the headers decide */
	CHECK_MESSAGE_MAX = 512,
};

/* Why the check ended the transfer. */
enum check_stop { GO_ON, ENOUGH, BODY_FOUND, BODY_TOO_LONG, HEADERS_TOO_LONG, PACKED_TWICE, METADATA,
		  NO_SOCKET, REDIRECTED, TOO_MANY_REDIRECTS, NO_REDIRECT_URL };

/* Milliseconds; NaN: not reached. */
struct check_phases {
	double dns, connect, tls, first_byte;
	double all;                     /* the whole request */
};

/* How the last request of an attempt ended. */
struct check_end {
	const struct check_config *c;
	CURL *easy;
	CURLcode code;
	enum check_stop stop;
	size_t body_bytes;              /* taken from libcurl */
	double tcp_ms;                  /* until the TLS handshake began, 0: never */
	char curl_says[CURL_ERROR_SIZE];
	struct check_phases before;     /* sum over the requests before it, which were redirected */
	bool headers_withheld;          /* a redirect led to where they must not go */
};

/* Nothing measured yet. */
extern const struct check_phases check_no_phases;

/* The last request was redirected: add its phases to `before`, and reset the rest for the next. */
void check_next_request(struct check_end *end);

/* Fill all but the URL and the number of attempts. False: this process was short of
 * memory, threads or descriptors; that says nothing about the target. */
bool check_judge(const struct check_end *end, struct check_sample *ret, char message[CHECK_MESSAGE_MAX]);

/* Set the dates of the server's own certificate, if one was seen. */
void check_certificate(CURL *easy, struct check_sample *ret);

#endif
