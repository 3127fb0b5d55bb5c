#include "random.h"

#include <sys/random.h>

#include "clock.h"

uint64_t random_u64(void)
{
	uint64_t r;

	if (getrandom(&r, sizeof r, 0) != sizeof r)
		r = (uint64_t)wall_us() * UINT64_C(0x9e3779b97f4a7c15);
	return r;
}

int64_t random_id(unsigned bits)
{
	uint64_t id = random_u64() >> (64 - bits);

	return id ? (int64_t)id : 1;
}
