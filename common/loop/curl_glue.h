/*
 * curl_glue.h - libcurl's multi interface on sd-event: one handle for all
 * transfers, its sockets and its timer on the program's loop, nothing that blocks.
 *
 * Owns the queue of transfers that wait for a free slot; waiting does not count as a
 * transfer's time. Leaves out what a transfer does: its owner sets options and callbacks
 * and frees the easy handle. Two options are set here: CURLOPT_PRIVATE and
 * CURLOPT_QUICK_EXIT. Without the latter libcurl would wait for its resolver thread
 * whenever a transfer ends, and a name server that never answers would block the loop
 * (https://github.com/curl/curl/issues/8515).
 */
#ifndef OBSERV_CURL_GLUE_H
#define OBSERV_CURL_GLUE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "common/err.h"

struct curl_glue;

/* Called when a transfer ends by itself. True: the owner has set `easy` up for another request;
 * it starts at once in the same slot, and `done` is called again at its end. */
typedef bool (*curl_done_fn)(CURL *easy, CURLcode result, void *data);

/* libcurl is initialised at the first call. */
int curl_glue_new(sd_event *loop, int max_parallel, struct curl_glue **ret, struct err *e);

/* Which queue: transfers that may hang go to the slow one. It comes second and may use three
 * quarters of the slots, so that the others keep their rhythm whatever hangs. */
enum curl_lane { CURL_LANE_FAST, CURL_LANE_SLOW, CURL_LANES };

/* Queue a configured easy handle; the loop starts it as soon as there is a slot. `begin`
 * (NULL: none) is called right before that; if it returns false, the transfer does not start,
 * and `done` gets CURLE_FAILED_INIT. Neither is called from here. May be called from `done`,
 * not from a callback of libcurl. */
typedef bool (*curl_begin_fn)(CURL *easy, void *data);
int curl_glue_add(struct curl_glue *g, CURL *easy, enum curl_lane lane, curl_begin_fn begin,
		  curl_done_fn done, void *data, struct err *e);

/* Take a transfer out, started or waiting, before its end; `done` is not called.
 * The same places as for curl_glue_add(). */
void curl_glue_remove(struct curl_glue *g, CURL *easy);

sd_event *curl_glue_loop(struct curl_glue *g);

size_t curl_glue_running(const struct curl_glue *g);
size_t curl_glue_waiting(const struct curl_glue *g);

/* All transfers must have been removed or be done. */
void curl_glue_free(struct curl_glue *g);

#endif
