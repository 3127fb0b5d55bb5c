/*
 * logcore.hpp - logcore for C++17: a logger that closes itself, and fields of the
 * standard library's types. Header only; link with -llogcore as in C.
 *
 *	logcore_logger log("billing", "/var/log/billing/app.log");
 *
 *	log.info("User action", logcore_kv("user_id", 123), logcore_kv("action", action));
 *
 * The promises of logcore.h hold here too, including secrets and modes. Only opening a
 * logger and child() allocate, and may throw std::bad_alloc; nothing else throws. A
 * logger that could not be opened logs nothing. The methods evaluate their arguments even
 * if the level is not enabled: if one is costly, ask enabled() first, or use the macros of
 * logcore.h with get(), which take the same fields:
 *
 *	logcore_debug(log.get(), "Cache", logcore_kv("entries", cache.count()));
 */
#ifndef LOGCORE_HPP
#define LOGCORE_HPP

#include <chrono>
#include <cstdint>
#include <ctime>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "logcore.h"

/* ---- fields ---------------------------------------------------------------------- */

/*
 * More overloads of logcore_kv(). A field borrows its text until the logging call returns,
 * so temporaries in that statement are fine. For your own type T, define
 * logcore_kv(const char *, const T &) beside it; std::optional<T> finds it there. In a
 * namespace, write "using ::logcore_kv;" first, or the new function hides these.
 */

/* Also for std::string. Takes any bytes; those that are not UTF-8 become U+FFFD. */
inline logcore_field logcore_kv(const char *key, std::string_view v)
{
	return logcore_kv_strn(key, v.empty() ? "" : v.data(), v.size());
}

inline logcore_field logcore_kv(const char *key, long double v)
{
	return logcore_kv_double(key, static_cast<double>(v));
}

/* An enumeration, scoped or not, as its number. */
template <class E, std::enable_if_t<std::is_enum_v<E>, int> = 0>
inline logcore_field logcore_kv(const char *key, E v)
{
	return logcore_kv(key, static_cast<std::underlying_type_t<E>>(v));
}

/* In nanoseconds; a duration of more than 292 years becomes the largest or smallest value. */
template <class Rep, class Period>
inline std::int64_t logcore_nanoseconds_(const std::chrono::duration<Rep, Period> &v)
{
	const double seconds = std::chrono::duration<double>(v).count();

	if (!(seconds < 9223372036.0))
		return INT64_MAX;
	if (!(seconds > -9223372036.0))
		return INT64_MIN;
	return std::chrono::duration_cast<std::chrono::nanoseconds>(v).count();
}

/* Milliseconds, exactly and with a point: 1500us gives 1.5. Use a key that ends in _ms. */
template <class Rep, class Period>
inline logcore_field logcore_kv(const char *key, const std::chrono::duration<Rep, Period> &v)
{
	return logcore_kv_duration(key, logcore_nanoseconds_(v));
}

/* A time of the wall clock, "2026-11-21T02:39:14.123456Z". Other clocks have no date. */
template <class Duration>
inline logcore_field logcore_kv(const char *key,
				const std::chrono::time_point<std::chrono::system_clock, Duration> &v)
{
	const auto second = std::chrono::floor<std::chrono::seconds>(v);
	timespec t{};

	t.tv_sec = static_cast<std::time_t>(second.time_since_epoch().count());
	t.tv_nsec =
		static_cast<long>(std::chrono::duration_cast<std::chrono::nanoseconds>(v - second).count());
	return logcore_kv_time(key, t);
}

inline logcore_field logcore_kv(const char *key, std::nullopt_t)
{
	return logcore_kv_null(key);
}

/* The value, or null. */
template <class T>
inline logcore_field logcore_kv(const char *key, const std::optional<T> &v)
{
	return v ? logcore_kv(key, *v) : logcore_kv_null(key);
}

/* An exception's text, as "error". The logger's methods take exceptions directly. */
inline logcore_field logcore_kv(const std::exception &e)
{
	return logcore_kv("error", e.what());
}

inline logcore_field logcore_as_field_(const logcore_field &field)
{
	return field;
}

inline logcore_field logcore_as_field_(const std::exception &e)
{
	return logcore_kv(e);
}

/* A message: anything that converts to std::string_view, or a null pointer, which becomes an
 * empty message as in logcore.h. */
struct logcore_message_ {
	template <class T, std::enable_if_t<std::is_convertible_v<const T &, std::string_view>, int> = 0>
	logcore_message_(const T &message) noexcept     // NOLINT: implicit by design
	{
		if constexpr (std::is_convertible_v<const T &, const char *>) {
			const char *const chars = message;

			text = chars ? chars : "";
		} else {
			text = message;
		}
	}

	std::string_view text;
};

/* ---- the logger ------------------------------------------------------------------ */

/*
 * Owns a struct logcore; an empty one logs nothing. Can be moved, not copied. Its children
 * may outlive it. The methods take fields from logcore_kv(), and exceptions.
 */
class logcore_logger {
public:
	logcore_logger() = default;

	/* Takes ownership of a result of logcore_open() or logcore_child(). */
	explicit logcore_logger(logcore *taken) noexcept : handle(taken) {}

	/* On failure *error is one sentence. */
	explicit logcore_logger(const logcore_options &options, std::string *error = nullptr)
	{
		char sentence[256] = "";

		handle.reset(logcore_open(&options, sentence, sizeof sentence));
		if (!handle && error)
			*error = sentence;
	}

	/* To a file; without a path to standard error. */
	explicit logcore_logger(const std::string &name, const std::string &path = std::string(),
				std::string *error = nullptr)
		: logcore_logger(options_of(name, path), error)
	{
	}

	/* For the functions and macros of logcore.h. The logger keeps ownership. */
	logcore *get() const noexcept { return handle.get(); }

	/* Whether it was opened. */
	explicit operator bool() const noexcept { return handle != nullptr; }

	/* Another logger, for a part or a request, named "parent.name" (nullptr: like this
	 * one). Each of its lines has the given fields, which are copied. */
	template <class... F>
	logcore_logger child(const char *name, const F &...fields) const
	{
		const logcore_field all[] = { logcore_as_field_(fields)..., logcore_end_() };

		return logcore_logger(logcore_child_(get(), name, all));
	}

	/* Write a line of a level. */
	template <class... F>
	void log(int level, logcore_message_ message, const F &...fields) const noexcept
	{
		if (!enabled(level))
			return;
		const logcore_field all[] = { logcore_as_field_(fields)..., logcore_end_() };

		logcore_write_(get(), level, message.text.data(), message.text.size(), all);
	}

	template <class... F>
	void trace(logcore_message_ message, const F &...fields) const noexcept
	{
		log(LOGCORE_TRACE, message, fields...);
	}

	template <class... F>
	void debug(logcore_message_ message, const F &...fields) const noexcept
	{
		log(LOGCORE_DEBUG, message, fields...);
	}

	template <class... F>
	void info(logcore_message_ message, const F &...fields) const noexcept
	{
		log(LOGCORE_INFO, message, fields...);
	}

	template <class... F>
	void warning(logcore_message_ message, const F &...fields) const noexcept
	{
		log(LOGCORE_WARNING, message, fields...);
	}

	template <class... F>
	void error(logcore_message_ message, const F &...fields) const noexcept
	{
		log(LOGCORE_ERROR, message, fields...);
	}

	template <class... F>
	void critical(logcore_message_ message, const F &...fields) const noexcept
	{
		log(LOGCORE_CRITICAL, message, fields...);
	}

	bool enabled(int level) const noexcept { return logcore_enabled(get(), level); }
	void set_level(int level) noexcept { logcore_set_level(get(), level); }

	/* Write the buffered lines (LOGCORE_BUFFERED, LOGCORE_ASYNC). 0, or -EIO. */
	int flush() noexcept { return logcore_flush(get()); }

	/* 0, or -errno and keeps the old file. */
	int reopen() noexcept { return logcore_reopen(get()); }

	logcore_counters stats() const noexcept
	{
		logcore_counters counters;

		logcore_stats(get(), &counters);
		return counters;
	}

private:
	struct closer {
		void operator()(logcore *open) const noexcept { logcore_close(open); }
	};

	static logcore_options options_of(const std::string &name, const std::string &path)
	{
		logcore_options options{};

		options.name = name.c_str();
		options.path = path.empty() ? nullptr : path.c_str();
		return options;
	}

	std::unique_ptr<logcore, closer> handle;
};

#endif
