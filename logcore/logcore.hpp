/*
 * logcore.hpp - logcore for C++17: a logger that closes itself, and fields of the
 * standard library's types. Header only; link with -llogcore as in C.
 *
 *	logcore_logger log("billing", "/var/log/billing/app.log");
 *
 *	log.info("User action", logcore_kv("user_id", 123), logcore_kv("action", action));
 *
 * What logcore.h promises holds here, secrets and modes included: nothing is
 * allocated but in opening and in child(), nothing throws but std::bad_alloc there,
 * a logger that could not be opened logs nothing. Arguments of the methods are evaluated also when the level
 * is not enabled; where one is costly ask enabled(), or use the macros of logcore.h
 * with get(), which take the same fields:
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
 * More of logcore_kv(): it borrows texts until the logging call returns, temporaries
 * of that call's line included. For a type of your own define logcore_kv(const char
 * *, const T &) beside it, from these; std::optional<T> finds it there. In a namespace
 * say "using ::logcore_kv;" first, or the new one hides these from what is in it.
 */

/* Also for std::string. Any bytes; what is not UTF-8 becomes U+FFFD. */
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

/* In nanoseconds; what 292 years do not hold becomes the largest or smallest. */
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

/* Milliseconds, exactly and with a point: 1500us gives 1.5. Let the key end in _ms. */
template <class Rep, class Period>
inline logcore_field logcore_kv(const char *key, const std::chrono::duration<Rep, Period> &v)
{
	return logcore_kv_duration(key, logcore_nanoseconds_(v));
}

/* A moment of the wall clock, "2026-11-21T02:39:14.123456Z". Other clocks have no date. */
template <class Duration>
inline logcore_field logcore_kv(const char *key,
				const std::chrono::time_point<std::chrono::system_clock, Duration> &v)
{
	const auto second = std::chrono::floor<std::chrono::seconds>(v);
	timespec t{};

	t.tv_sec = static_cast<std::time_t>(second.time_since_epoch().count());
	t.tv_nsec = static_cast<long>(std::chrono::duration_cast<std::chrono::nanoseconds>(v - second).count());
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

/* An exception's text, as "error". The logger's methods take exceptions as they are. */
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

/* What a message may be: all that is a std::string_view, and a null pointer, which is none
 * for a std::string_view but an empty message for logcore.h. */
struct logcore_message_ {
	template <class T, std::enable_if_t<std::is_convertible_v<const T &, std::string_view>, int> = 0>
	logcore_message_(const T &message) noexcept     // NOLINT: it is not to be seen
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
 * Owns a struct logcore, or none and then logs nothing. Can be moved, not copied. Its
 * children may outlive it. In the methods fields are what logcore_kv() gives, and
 * exceptions.
 */
class logcore_logger {
public:
	logcore_logger() = default;

	/* Takes over what logcore_open() or logcore_child() gave. */
	explicit logcore_logger(logcore *taken) noexcept : handle(taken) {}

	/* Where that fails, *error is one sentence. */
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

	/* For the functions and macros of logcore.h; stays ours. */
	logcore *get() const noexcept { return handle.get(); }

	/* Whether it was opened. */
	explicit operator bool() const noexcept { return handle != nullptr; }

	/* A logger of its own for a part or a request, named "parent.name" (nullptr: as
	 * this one), whose lines all carry the fields, which are copied. */
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

	/* Write what is held in the modes other than LOGCORE_DIRECT. 0, or -EIO. */
	int flush() noexcept { return logcore_flush(get()); }

	/* 0, or -errno and the old file stays in use. */
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
