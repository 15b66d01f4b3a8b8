/* SPDX-License-Identifier: ISC */

/*
 * The scene of most tests of sending and receiving: a bound socket of the
 * library on a loop whose system calls can fail, and a bare one of the same type
 * that it talks with.
 */

#ifndef DGT_SCENE_H
#define DGT_SCENE_H

#include "sockets.h"

struct scene {
	struct fault_os f;
	struct dgram_loop *l;
	struct peer p;
	int fd, type;			/* of the bare socket; < 0: closed */
	struct dgram_addr to;		/* its address */
};

static struct scene sc;

static inline void
scene_enter(const char *backend, int type, const struct dgram_loop_options *lo,
    const struct dgram_options *o)
{
	memset(&sc, 0, sizeof(sc));
	sc.type = type;
	fault_init(&sc.f);
	sc.l = fault_loop(&sc.f, backend, lo);
	sc.fd = bare_socket(type, &sc.to);
	peer_open_bound(&sc.p, sc.l, type, o);
	turns(sc.l, 5);
}

static inline void
leave(void)
{
	free_fault_loop(sc.l, &sc.f);
	if (sc.fd >= 0)
		close(sc.fd);
}

#endif
