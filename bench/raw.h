/* SPDX-License-Identifier: ISC */

/*
 * The best bare loops over the system calls: what the library is compared to.
 *
 * Nothing here knows dgram.h.  Linux only.
 */

#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAW_BATCH	32	/* datagrams per call; more buys nothing */
#define RAW_STRIDE	2048	/* bytes of a slot */

enum raw_kind { RAW_UDP4, RAW_UDP6, RAW_UNIX };

struct raw_addr {
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} u;
};

/* What the user of every receiver makes of the datagrams. */
struct raw_sum {
	uint64_t packets, bytes, first, largest, cut, ports;
};

/* Receiver: headers prepared once, used slots reset. */
struct raw_in {
	struct mmsghdr msg[RAW_BATCH];
	struct iovec iov[RAW_BATCH];
	struct raw_addr name[RAW_BATCH];
	char data[RAW_BATCH][RAW_STRIDE];
	struct raw_sum sum;
	uint64_t calls;
};

/* Sender of datagrams of one size to one address. */
struct raw_out {
	struct mmsghdr msg[RAW_BATCH];
	struct iovec iov[RAW_BATCH];
	struct raw_addr to;
	char data[RAW_BATCH][RAW_STRIDE];
	uint64_t calls;
};

/*
 * The user's work per received datagram, the same in every row, raw and
 * library: about 20 instructions.  len is that of the sender's address, 0 if it
 * has none or was not asked for.
 */
static inline void
raw_work(struct raw_sum *sum, const void *data, size_t size,
    const struct sockaddr *from, socklen_t len, bool cut)
{
	const struct sockaddr_in *in = (const void *)from;

	sum->packets++;
	sum->bytes += size;
	if (size > 0)
		sum->first += *(const unsigned char *)data;
	if (size > sum->largest)
		sum->largest = size;
	if (cut)
		sum->cut++;
	/* The port of sockaddr_in6 lies where that of sockaddr_in does. */
	if (len >= sizeof(*in) && (in->sin_family == AF_INET ||
	    in->sin_family == AF_INET6))
		sum->ports += ntohs(in->sin_port);
}

/* The user's work per datagram to send: one byte of it changes. */
static inline void
raw_stamp(void *data, size_t turn)
{
	*(volatile char *)data = (char)turn;
}

/*
 * A non-blocking socket with large buffers, bound on loopback to a port (or an
 * abstract name) of the kernel's choice.  Descriptor or -errno.
 */
int	raw_socket(enum raw_kind, struct raw_addr *bound);
/* Asks for the largest buffers; returns the receive buffer granted. */
int	raw_buffers(int fd);
/* Loopback and port 0, or the family only: the kernel chooses. */
void	raw_addr_any(enum raw_kind, struct raw_addr *);

void	raw_in_init(struct raw_in *);
/* to NULL: connected. */
void	raw_out_init(struct raw_out *, const struct raw_addr *to, size_t size);

/*
 * Each handles up to `want` datagrams without waiting and returns how many it
 * did; fewer if the kernel has none or takes none.
 */
size_t	raw_recvmmsg(struct raw_in *, int fd, size_t want);
size_t	raw_recvfrom(struct raw_in *, int fd, size_t want);
size_t	raw_sendmmsg(struct raw_out *, int fd, size_t want);
size_t	raw_sendto(struct raw_out *, int fd, size_t want);
size_t	raw_send(struct raw_out *, int fd, size_t want);
/* All back to where they came from. */
size_t	raw_echo_mmsg(struct raw_in *, int fd, size_t want);
size_t	raw_echo_each(struct raw_in *, int fd, size_t want);
/* Waits without sleeping, then one recvfrom for each ready socket of ep. */
size_t	raw_epoll(struct raw_in *, int ep, size_t want);

/* epoll descriptor over n sockets, or -errno. */
int	raw_epoll_new(const int *fds, size_t n);

#endif
