/*
 * curl_glue.h - libcurl's multi interface on sd-event: one handle for all
 * transfers, its sockets and its timer on the agent's loop, nothing that blocks.
 *
 * Owns the queue of transfers that wait for a free slot; waiting is not part of a
 * transfer's own time. Leaves out what a transfer does: options, callbacks and the
 * end of the easy handle are its owner's, but two options are set here:
 * CURLOPT_PRIVATE, and CURLOPT_QUICK_EXIT. The latter is what keeps a name server
 * that never answers from blocking the loop: without it libcurl waits for its
 * resolver thread whenever a transfer ends (https://github.com/curl/curl/issues/8515).
 */
#ifndef OBS_AGENT_CURL_GLUE_H
#define OBS_AGENT_CURL_GLUE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "common/err.h"

struct curl_glue;

/* Called when a transfer ends by itself. True: `easy` has been set up for one more request,
 * which goes out at once in the same slot, and `done` is called again at its end. */
typedef bool (*curl_done_fn)(CURL *easy, CURLcode result, void *data);

/* libcurl is initialised at the first call. */
int curl_glue_new(sd_event *loop, int max_parallel, struct curl_glue **ret, struct err *e);

/* Which queue: a transfer of which it is known, or not known, that it may hang
 * goes to the slow one. That may use three quarters of the slots and comes second,
 * so that the good ones keep their rhythm whatever hangs. */
enum curl_lane { CURL_LANE_FAST, CURL_LANE_SLOW, CURL_LANES };

/* Queue a configured easy handle; the loop starts it as soon as there is a slot.
 * `data` goes to `begin`, called right before it starts (NULL: nothing to do; false:
 * do not start it, `done` gets CURLE_FAILED_INIT), and to `done`. Neither is called from here. Not from within a callback of libcurl's,
 * but from `done` it is allowed. */
typedef bool (*curl_begin_fn)(CURL *easy, void *data);
int curl_glue_add(struct curl_glue *g, CURL *easy, enum curl_lane lane, curl_begin_fn begin,
		  curl_done_fn done, void *data, struct err *e);

/* Take a transfer out, started or waiting, before its end; `done` is not called.
 * The same places as for curl_glue_add(). */
void curl_glue_remove(struct curl_glue *g, CURL *easy);

size_t curl_glue_running(const struct curl_glue *g);
size_t curl_glue_waiting(const struct curl_glue *g);

/* All transfers must have been removed or be done. */
void curl_glue_free(struct curl_glue *g);

#endif
