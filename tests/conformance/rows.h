/* SPDX-License-Identifier: ISC */

/*
 * For the rows of Node's tests: the sockets and the look-up of names.h, another
 * socket, and what is heard.
 */

#ifndef DGT_ROWS_H
#define DGT_ROWS_H

#include "names.h"
#include "heard.h"

static struct peer q;

static inline void
begin(const char *backend)
{
	enter(backend, NULL, NULL, look_up);
}

static inline void
open_type(struct peer *peer, int type, const struct dgram_options *options)
{
	open_typed(peer, type, options, look_up);
}

/* It may be opened again after that. */
static inline void
shut(struct peer *peer)
{
	OK(dgram_close(peer->s, NULL, NULL));
	RUN_UNTIL(l, peer->n[EV_CLOSE] == 1);
}

static const char *const loopback[] = { [DGRAM_UDP4] = "127.0.0.1",
	[DGRAM_UDP6] = "::1" };

/* UDP, IPv6 only where it is. */
#define EACH_UDP(t)							\
	for (int t = DGRAM_UDP4; t <= DGRAM_UDP6; t++)			\
		if (t == DGRAM_UDP6 && !have_ipv6())			\
			continue;					\
		else

/* The host of an address, as text. */
#define HOST(addr, want)						\
	MUST(strcmp(host_of(addr), want) == 0, "%s, not %s",		\
	    host_of(addr), want)
#define HEARD(k, want, size)						\
	MUST(heard_is((size_t)(k), want, (size_t)(size)),		\
	    "%zu heard, another %d", heard.n, k)

/* A hook: what Node's listeners do most is to look where they are and close. */
static inline void
look_and_close(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e != EV_LISTENING)
		return;
	OK(dgram_address(peer->s, &peer->addr));
	OK(dgram_close(peer->s, NULL, NULL));
}

#endif
