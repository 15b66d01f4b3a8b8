/* SPDX-License-Identifier: ISC */

/*
 * What sockets have heard, byte for byte: hear() is a hook of struct peer, or
 * is called by one, and adds to `heard`.
 */

#ifndef DGT_HEARD_H
#define DGT_HEARD_H

#include "sockets.h"

#define HEARD_MOST	64
#define HEARD_ROOM	1500

static struct {
	size_t n, bytes;		/* datagrams */
	struct {
		size_t size;
		char data[HEARD_ROOM];
		struct dgram_addr from;
	} d[HEARD_MOST];
} heard;

static inline void
hear(struct peer *peer, enum event e, const struct dgram_message *m, size_t n)
{
	size_t i;

	(void)peer;
	if (e != EV_MESSAGE)
		return;
	for (i = 0; i < n; i++, heard.n++) {
		MUST(heard.n < HEARD_MOST && m[i].size <= HEARD_ROOM &&
		    m[i].wire_size == m[i].size, "%zu bytes", m[i].size);
		heard.d[heard.n].size = m[i].size;
		memcpy(heard.d[heard.n].data, m[i].data, m[i].size);
		heard.d[heard.n].from = *m[i].remote;
		heard.bytes += m[i].size;
	}
}

/* The k-th datagram, from 0. */
static inline bool
heard_is(size_t k, const void *data, size_t size)
{
	return k < heard.n && heard.d[k].size == size &&
	    memcmp(heard.d[k].data, data, size) == 0;
}

static inline bool
heard_text(size_t k, const char *text)
{
	return heard_is(k, text, strlen(text));
}

/* Host of an address, until the next call. */
static inline const char *
host_of(const struct dgram_addr *a)
{
	static char host[64];

	ACCEPT(dgram_addr_host(a, host, sizeof(host)));
	return host;
}

static inline int
port_of(const struct peer *peer)
{
	struct dgram_addr a;

	OK(dgram_address(peer->s, &a));
	return dgram_addr_port(&a);
}

#endif
