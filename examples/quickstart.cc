/*
 * The shortest program that logs, in C++. With the library installed:
 *	c++ -std=c++17 quickstart.cc $(pkg-config --cflags --libs logcore) -o quickstart && ./quickstart
 */
#include <logcore.hpp>

#include <stdexcept>

static void charge(const std::string &card)
{
	throw std::runtime_error("card " + card + " was refused");
}

int main()
{
	const logcore_logger log("quickstart");
	const logcore_logger request = log.child("http", logcore_kv("request_id", 7));
	const auto begin = std::chrono::steady_clock::now();

	log.info("User action", logcore_kv("user_id", 123), logcore_kv("action", std::string("login")));
	try {
		charge("4711");
	} catch (const std::exception &e) {
		request.error("Payment failed", e,
			      logcore_kv("took_ms", std::chrono::steady_clock::now() - begin));
	}
}
