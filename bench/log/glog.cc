/*
 * glog.cc - glog, buffered and flushed after each line. This file adds timestamp, JSON and escaping in place
 * of glog's prefix; glog writes four header lines to the log.
 */
#define BENCH_CASES "glog-flushed", "glog-buffered"
#include "driver.h"

#include <glog/logging.h>

#include "format.h"

struct escaped {
	const char *text;
};

static std::ostream &operator<<(std::ostream &out, escaped e)
{
	for (size_t n = strlen(e.text), part; n > 0; n -= part, e.text += part) {
		char room[6 * 64];

		part = n < 64 ? n : 64;
		out.write(room, put_text(room, e.text, part) - room);
	}
	return out;
}

struct stamp {
};

static std::ostream &operator<<(std::ostream &out, stamp)
{
	char room[STAMP_LEN];

	put_stamp(room);
	return out.write(room, sizeof room);
}

static int bench_open(int which, const char *path)
{
	FLAGS_log_prefix = false;
	FLAGS_timestamp_in_logfile_name = false;
	FLAGS_logbuflevel = which == 0 ? google::GLOG_INFO - 1 : google::GLOG_INFO;
	google::InitGoogleLogging("bench");
	google::SetLogSymlink(google::GLOG_INFO, "");
	google::SetLogDestination(google::GLOG_INFO, path);
	return 0;
}

#define LINE(o)                                                                                              \
	R"({"timestamp":")" << stamp{}                                                                       \
			    << R"(","level":"INFO","logger":")" LOGGER R"(","message":")"                    \
			    << escaped{ MESSAGE }                                                            \
			    << R"(","context":{"order":)" << (o).number << R"(,"user":")"                    \
			    << escaped{ (o).user } << R"(","ms":)" << (o).ms << "}}"

static void bench_line(int, struct order o)
{
	LOG(INFO) << LINE(o);
}

static void bench_below(struct order o)
{
	VLOG(1) << LINE(o);
}

static void bench_close()
{
	google::ShutdownGoogleLogging();
}
