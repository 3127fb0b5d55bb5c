#include "curl_glue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/clock.h"

/* One transfer, from curl_glue_add() to its end. Hangs on the easy handle as
 * CURLOPT_PRIVATE. */
struct transfer {
	CURL *easy;
	enum curl_lane lane;
	bool running;
	curl_begin_fn begin;
	curl_done_fn done;
	void *data;
	struct transfer *next;          /* in its lane, while it waits */
};

struct lane {
	struct transfer *first, **last;
	size_t waiting, running, max;
};

struct curl_glue {
	sd_event *loop;
	CURLM *multi;
	sd_event_source *timer;
	struct lane lane[CURL_LANES];
	size_t max;
	sd_event_source *starter;       /* starts waiting transfers, from the loop */
};

static const uint64_t ACCURACY_US = 1 * US_PER_MS;      /* deadlines of transfers, while there are any */

static void start_waiting(struct curl_glue *g);

/* ---- libcurl asks for events ---------------------------------------------------------- */

/* Tell the owner that a transfer ended. False: the owner has another request, and it was started.
 * libcurl refuses a request only without memory. */
static bool end(struct curl_glue *g, struct transfer *t, CURLcode result)
{
	CURL *easy = t->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);
	while (t->done(easy, result, t->data)) {
		curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
		t->running = curl_multi_add_handle(g->multi, easy) == CURLM_OK;
		if (t->running)
			return false;
		result = CURLE_OUT_OF_MEMORY;
	}
	free(t);
	return true;
}

/* Hand over the transfers that ended. Removing the handle frees libcurl's message, and `done`
 * may add and remove transfers: read everything first. */
static void collect(struct curl_glue *g)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(g->multi, &left))) {
		struct transfer *t = NULL;
		enum curl_lane lane;
		CURL *easy = m->easy_handle;
		CURLcode result = m->data.result;

		if (m->msg != CURLMSG_DONE || curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t) || !t)
			continue;
		curl_multi_remove_handle(g->multi, easy);
		lane = t->lane;
		if (end(g, t, result))
			g->lane[lane].running--;
	}
	start_waiting(g);
}

static void act(struct curl_glue *g, curl_socket_t fd, int what)
{
	int running;

	curl_multi_socket_action(g->multi, fd, what, &running);
	collect(g);
}

static int on_io(sd_event_source *s, int fd, uint32_t events, void *data)
{
	int what = 0;

	(void)s;
	if (events & EPOLLIN)
		what |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		what |= CURL_CSELECT_ERR;
	act(data, fd, what);
	return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *data)
{
	(void)s;
	(void)usec;
	act(data, CURL_SOCKET_TIMEOUT, 0);
	return 0;
}

static uint32_t events_of(int what)
{
	return (what & CURL_POLL_IN ? EPOLLIN : 0U) | (what & CURL_POLL_OUT ? EPOLLOUT : 0U);
}

/* CURLMOPT_SOCKETFUNCTION: `socket_data` is the event source of that socket; NULL: it is new.
 * Without a source the transfer runs into its deadline. */
static int want_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
	struct curl_glue *g = data;
	sd_event_source *s = socket_data;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		sd_event_source_disable_unref(s);
		curl_multi_assign(g->multi, fd, NULL);
		return 0;
	}
	if (s)
		return sd_event_source_set_io_events(s, events_of(what)) < 0 ? -1 : 0;
	if (sd_event_add_io(g->loop, &s, fd, events_of(what), on_io, g) < 0)
		return -1;
	curl_multi_assign(g->multi, fd, s);
	return 0;
}

/* CURLMOPT_TIMERFUNCTION. A timeout of 0 goes through the loop, too: libcurl must not be called
 * from here. */
static int want_timer(CURLM *multi, long timeout_ms, void *data)
{
	struct curl_glue *g = data;

	(void)multi;
	if (timeout_ms < 0)
		return sd_event_source_set_enabled(g->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
	if (sd_event_source_set_time_relative(g->timer, (uint64_t)timeout_ms * US_PER_MS) < 0 ||
	    sd_event_source_set_enabled(g->timer, SD_EVENT_ONESHOT) < 0)
		return -1;
	return 0;
}

/* ---- the queue ------------------------------------------------------------------------ */

static void enqueue(struct lane *l, struct transfer *t)
{
	t->next = NULL;
	*l->last = t;
	l->last = &t->next;
	l->waiting++;
}

static struct transfer *dequeue(struct lane *l)
{
	struct transfer *t = l->first;

	l->first = t->next;
	if (!l->first)
		l->last = &l->first;
	l->waiting--;
	return t;
}

static bool unqueue(struct lane *l, const struct transfer *t)
{
	for (struct transfer **at = &l->first; *at; at = &(*at)->next) {
		if (*at != t)
			continue;
		*at = t->next;
		if (l->last == &t->next)
			l->last = at;
		l->waiting--;
		return true;
	}
	return false;
}

/* The next transfer that may start: the lanes in order, each up to its share. */
static struct transfer *next_transfer(struct curl_glue *g)
{
	if (curl_glue_running(g) >= g->max)
		return NULL;
	for (int i = 0; i < CURL_LANES; i++)
		if (g->lane[i].waiting && g->lane[i].running < g->lane[i].max)
			return dequeue(&g->lane[i]);
	return NULL;
}

/* Start a transfer; libcurl refuses one only without memory, then it ends at once. */
static void start(struct curl_glue *g, struct transfer *t)
{
	enum curl_lane lane = t->lane;
	CURLcode code = CURLE_FAILED_INIT;

	g->lane[lane].running++;
	if (!t->begin || t->begin(t->easy, t->data)) {
		code = CURLE_OUT_OF_MEMORY;
		t->running = curl_multi_add_handle(g->multi, t->easy) == CURLM_OK;
	}
	if (!t->running && end(g, t, code))
		g->lane[lane].running--;
}

static void start_waiting(struct curl_glue *g)
{
	struct transfer *t;

	while ((t = next_transfer(g)))
		start(g, t);
}

static int on_starter(sd_event_source *s, void *data)
{
	(void)s;
	start_waiting(data);
	return 0;
}

int curl_glue_add(struct curl_glue *g, CURL *easy, enum curl_lane lane, curl_begin_fn begin,
		  curl_done_fn done, void *data, struct err *e)
{
	struct transfer *t = malloc(sizeof *t);

	if (!t || curl_easy_setopt(easy, CURLOPT_PRIVATE, t) ||
	    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L)) {
		free(t);
		return err_set(e, ENOMEM, "HTTP: not enough memory");
	}
	*t = (struct transfer){ .easy = easy, .lane = lane, .begin = begin, .done = done, .data = data };
	enqueue(&g->lane[lane], t);
	sd_event_source_set_enabled(g->starter, SD_EVENT_ONESHOT);
	return 0;
}

void curl_glue_remove(struct curl_glue *g, CURL *easy)
{
	struct transfer *t = NULL;

	if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t) || !t)
		return;
	curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);
	if (t->running) {
		curl_multi_remove_handle(g->multi, easy);
		g->lane[t->lane].running--;
	} else {
		unqueue(&g->lane[t->lane], t);
	}
	free(t);
	sd_event_source_set_enabled(g->starter, SD_EVENT_ONESHOT);
}

sd_event *curl_glue_loop(struct curl_glue *g)
{
	return g->loop;
}

size_t curl_glue_running(const struct curl_glue *g)
{
	size_t n = 0;

	for (int i = 0; i < CURL_LANES; i++)
		n += g->lane[i].running;
	return n;
}

size_t curl_glue_waiting(const struct curl_glue *g)
{
	size_t n = 0;

	for (int i = 0; i < CURL_LANES; i++)
		n += g->lane[i].waiting;
	return n;
}

/* ---- begin and end -------------------------------------------------------------------- */

static int set_up(struct curl_glue *g)
{
	int r = sd_event_add_time_relative(g->loop, &g->timer, CLOCK_MONOTONIC, 0, ACCURACY_US, on_timer, g);

	if (r >= 0)
		r = sd_event_source_set_enabled(g->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(g->loop, &g->starter, on_starter, g);
	if (r < 0)
		return r;
	g->multi = curl_multi_init();
	if (!g->multi || curl_multi_setopt(g->multi, CURLMOPT_SOCKETFUNCTION, want_socket) ||
	    curl_multi_setopt(g->multi, CURLMOPT_SOCKETDATA, g) ||
	    curl_multi_setopt(g->multi, CURLMOPT_TIMERFUNCTION, want_timer) ||
	    curl_multi_setopt(g->multi, CURLMOPT_TIMERDATA, g))
		return -ENOMEM;
	return 0;
}

int curl_glue_new(sd_event *loop, int max_parallel, struct curl_glue **ret, struct err *e)
{
	struct curl_glue *g;
	int r;

	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return err_set(e, ENOMEM, "HTTP: libcurl does not start");
	g = calloc(1, sizeof *g);
	if (!g) {
		curl_global_cleanup();
		return err_set(e, ENOMEM, "HTTP: not enough memory");
	}
	g->loop = sd_event_ref(loop);
	g->max = max_parallel > 0 ? (size_t)max_parallel : 1;
	for (int i = 0; i < CURL_LANES; i++) {
		g->lane[i].last = &g->lane[i].first;
		g->lane[i].max = g->max;
	}
	g->lane[CURL_LANE_SLOW].max = g->max - g->max / 4;
	r = set_up(g);
	if (r < 0) {
		curl_glue_free(g);
		return err_set(e, -r, "HTTP: no event source: %s", strerror(-r));
	}
	*ret = g;
	return 0;
}

void curl_glue_free(struct curl_glue *g)
{
	if (!g)
		return;
	if (g->multi)
		curl_multi_cleanup(g->multi);   /* last calls of want_socket() and want_timer() */
	sd_event_source_disable_unref(g->timer);
	sd_event_source_disable_unref(g->starter);
	sd_event_unref(g->loop);
	free(g);
	curl_global_cleanup();
}
