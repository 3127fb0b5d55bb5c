#include "cors.h"

#include "conf.h"

bool cors_admit(const struct request *r, struct response *s)
{
	if (!*r->origin || !conf_lists(r->conf->cors_origins, r->origin))
		return false;
	response_header(s, "Access-Control-Allow-Origin", r->origin);
	response_header(s, "Access-Control-Expose-Headers",
			"Link, Observ-Rows-Max, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
			"Retry-After, WWW-Authenticate");
	response_header(s, "Vary", "Origin");
	return true;
}

void cors_answer(unsigned methods, struct response *s)
{
	char names[64];

	http_method_names(names, methods);
	s->status = 204;
	response_header(s, "Allow", names);
	response_header(s, "Access-Control-Allow-Methods", names);
	response_header(s, "Access-Control-Allow-Headers",
			"Authorization, Content-Type, Idempotency-Key, If-Match");
	response_header(s, "Access-Control-Max-Age", "600");
}
