/*
 * spdlog.cc - spdlog: flushed after each line, with stdio's buffer, and with its thread (a queue of
 * 8,192 lines, waits when it is full). The JSON is that of its pattern; escaping is ours, for it has none.
 */
#define BENCH_CASES "spdlog-flushed", "spdlog-buffered", "spdlog-async"
#include "driver.h"

#include <algorithm>
#include <iterator>
#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>
#include <string_view>

#include "format.h"

enum { FLUSHED, BUFFERED, ASYNC };

struct escaped {
	std::string_view text;
};

template <> struct fmt::formatter<escaped> {
	constexpr auto parse(format_parse_context &c) { return c.begin(); }

	template <class Context> auto format(const escaped &e, Context &c) const
	{
		auto out = c.out();

		for (size_t i = 0; i < e.text.size(); i += 64) {
			size_t n = std::min<size_t>(64, e.text.size() - i);
			char room[6 * 64];

			out = std::copy(room, put_text(room, e.text.data() + i, n), out);
		}
		return out;
	}
};

static std::shared_ptr<spdlog::logger> shop;

static int bench_open(int which, const char *path)
{
	if (which == ASYNC)
		shop = spdlog::basic_logger_mt<spdlog::async_factory>(LOGGER, path);
	else
		shop = spdlog::basic_logger_mt(LOGGER, path);
	shop->set_pattern(R"({"timestamp":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l","logger":"%n",%v})",
			  spdlog::pattern_time_type::utc);
	shop->set_level(spdlog::level::info);
	if (which == FLUSHED)
		shop->flush_on(spdlog::level::info);
	return 0;
}

#define FORMAT R"("message":"{}","context":{{"order":{},"user":"{}","ms":{}}})"

static void bench_line(int, struct order o)
{
	shop->info(FORMAT, escaped{ MESSAGE }, o.number, escaped{ o.user }, o.ms);
}

static void bench_below(struct order o)
{
	shop->debug(FORMAT, escaped{ MESSAGE }, o.number, escaped{ o.user }, o.ms);
}

static void bench_close()
{
	shop.reset();
	spdlog::shutdown();
}
