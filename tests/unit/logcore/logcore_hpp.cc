// A strict C++17 program that includes logcore.hpp first. test_logcore_hpp.c checks the lines that it writes.
#include "logcore/logcore.hpp"

#include <stdexcept>
#include <utility>

#include "logcore_hpp.h"

static_assert(std::is_nothrow_move_constructible_v<logcore_logger> &&
	      std::is_nothrow_move_assignable_v<logcore_logger>);
static_assert(!std::is_copy_constructible_v<logcore_logger> && !std::is_copy_assignable_v<logcore_logger>);
static_assert(!std::is_convertible_v<const char *, logcore_logger> &&
	      !std::is_convertible_v<logcore_logger, bool>);

namespace shop {
struct money { long cents; };

static logcore_field logcore_kv(const char *key, const money &v)
{
	return ::logcore_kv(key, v.cents);
}
}

/* As docs/logcore.md has it: with the using-declaration, the namespace can make all fields. */
namespace store {
using ::logcore_kv;

struct crate { int weight; };

static logcore_field logcore_kv(const char *key, const crate &v)
{
	return logcore_kv(key, v.weight);
}

static void log_all(const logcore_logger &log)
{
	log.info("store", logcore_kv("crate", crate{ 3 }), logcore_kv("text", "t"),
		 logcore_kv("maybe", std::optional<crate>(crate{ 4 })));
}
}

enum class color : unsigned char { red, green = 200 };
enum old_color { OLD_RED, OLD_GREEN = 7 };

static logcore_logger open_logger(int fd)
{
	logcore_options options{};

	options.name = "app";
	options.fd = fd;
	options.level = LOGCORE_TRACE;
	options.ignore_environment = true;
	return logcore_logger(options);
}

void hpp_fields(int fd)
{
	using namespace std::chrono;
	using namespace std::chrono_literals;
	const logcore_logger log = open_logger(fd);
	const std::string text("nul\0 inside", 11);
	const std::string_view part(text.data(), 3), empty;
	const std::optional<int> some = 5, none;
	const std::optional<std::string> some_text = "opt";
	const system_clock::time_point epoch{};

	log.info(std::string("text"), logcore_kv("string", text), logcore_kv("view", part),
		 logcore_kv("empty", empty), logcore_kv("temporary", std::string("a") + "b"),
		 logcore_kv("literal", "c"), logcore_kv("null", nullptr));
	log.info(part, logcore_kv("some", some), logcore_kv("none", none), logcore_kv("text", some_text),
		 logcore_kv("time", std::optional<system_clock::time_point>(epoch)),
		 logcore_kv("nullopt", std::nullopt),
		 logcore_kv("own", std::optional<shop::money>(shop::money{ 99 })));
	log.info("enums", logcore_kv("scoped", color::green), logcore_kv("old", OLD_GREEN),
		 logcore_kv("own", shop::money{ 12 }), logcore_kv("long double", 0.5L),
		 logcore_kv("bool", true), logcore_kv("char", 'c'));
	log.info("time", logcore_kv("us", 1500us), logcore_kv("s", 2s),
		 logcore_kv("double", duration<double>(0.25)), logcore_kv("huge", hours::max()),
		 logcore_kv("past", hours::min()), logcore_kv("at", epoch - 1us),
		 logcore_kv("second", time_point<system_clock, seconds>(1795228754s)));
	log.error("failed", std::runtime_error("out of paper"), logcore_kv("page", 3),
		  logcore_kv(std::out_of_range("no")));
	logcore_warning(log.get(), "macros take the same", logcore_kv("string", text.substr(4)));
	store::log_all(log);
}

void hpp_messages(int fd)
{
	const logcore_logger log = open_logger(fd);
	const char *const none = nullptr, *const pointer = "pointer";
	char array[] = "array", *const changeable = array;
	const struct { operator std::string_view() const { return "own"; } } own;

	log.info(none, logcore_kv("n", 1));
	log.log(LOGCORE_INFO, nullptr);
	log.info(pointer);
	log.info(array);
	log.info(changeable);
	log.info(std::string("string"));
	log.info(std::string_view());
	log.info(own);
}

void hpp_levels(int fd)
{
	logcore_logger log = open_logger(fd);

	log.trace("x");
	log.debug("x");
	log.info("x");
	log.warning("x");
	log.error("x");
	log.critical("x");
	log.set_level(LOGCORE_ERROR);
	log.warning("no");
	if (log.enabled(LOGCORE_ERROR) && !log.enabled(LOGCORE_WARNING) && log.stats().lines == 6)
		log.log(LOGCORE_CRITICAL, "yes");
}

void hpp_ownership(int fd)
{
	logcore_logger log = open_logger(fd), moved, request;

	moved = std::move(log);
	request = moved.child("http", logcore_kv("id", std::string("r1")))
			  .child(nullptr, std::runtime_error("bound"));
	moved = logcore_logger();
	log.info("moved away");         // NOLINT: the test is that it logs nothing
	request.info("outlives its parents");
}

int hpp_open_fails(char *sentence, size_t size)
{
	std::string error;
	const logcore_logger log("app", "/nowhere/app.log", &error);

	error.copy(sentence, size - 1);
	log.info("nowhere");
	return !log;
}

int hpp_failure_is_silent(void)
{
	logcore_logger none;

	none.info("nowhere");
	none.set_level(LOGCORE_DEBUG);
	return !none && !none.get() && !none.child("c") && none.reopen() == 0 && none.flush() == 0 &&
	       none.stats().lines == 0 && !none.enabled(LOGCORE_CRITICAL);
}
