/* SPDX-License-Identifier: ISC */

/* Rows of Node's tests about bind and address: see README. */

#include "sockets.h"

/* Without an address: all interfaces, and a port of the kernel's choice. */
BACKEND_TEST(parallel, bind_default_address)
{
	static const char *const wildcard[] = { [DGRAM_UDP4] = "0.0.0.0",
		[DGRAM_UDP6] = "::" };
	struct dgram_loop *l = test_loop(backend);
	struct peer p[2];
	char host[64];
	int i = 0;

	for (int type = DGRAM_UDP4; type <= DGRAM_UDP6; type++) {
		if (type == DGRAM_UDP6 && !have_ipv6())
			continue;
		peer_open(&p[i], l, (enum dgram_type)type, NULL);
		OK(dgram_bind(p[i].s, 0, NULL, NULL, NULL));
		OK(dgram_address(p[i].s, &p[i].addr));
		ACCEPT(dgram_addr_host(&p[i].addr, host, sizeof(host)));
		cr_assert(strcmp(host, wildcard[type]) == 0, "%s", host);
		cr_assert(dgram_addr_port(&p[i].addr) > 0);
		i++;
	}
	turns(l, 2);
	while (i > 0)
		cr_assert_eq(p[--i].n[EV_LISTENING], 1);
	dgram_loop_free(l);
}
