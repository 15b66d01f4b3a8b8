/* SPDX-License-Identifier: ISC */

/*
 * Control messages: what the kernel tells of a datagram beside its bytes, and
 * what it is told of one that is sent (cmsg(3), RFC 3542).
 *
 * Systems agree on little: the numbers, the layout, whether a TTL is an int or a
 * byte, how an interface is told.  All of that is in one table, so that the bytes
 * of each system can be read and written on any of them, by the tests.  The walk
 * is our own: it believes no length.
 */

#ifndef DGI_CMSG_H
#define DGI_CMSG_H

#include "core/plat.h"

#include <stdbool.h>
#include <stddef.h>

#include "dgram.h"

/* A type that a system does not have. */
#define DGI_CMSG_NONE	(-1)

/* A struct timeval or timespec: bytes of seconds, where the fraction is, its. */
struct dgi_cmsg_time {
	unsigned char sec, at, frac;
};

struct dgi_cmsg_abi {
	unsigned char len_size;	/* bytes of cmsg_len */
	unsigned char align;	/* of headers and of data, bytes; 0: as this
				   system says, NetBSD when asked only */
	/* Levels. */
	int socket, ip, ip6;
	/* Types that arrive. */
	int pktinfo;
	unsigned char pktinfo_size;	/* 12: interface, reply, destination;
					   8: destination, interface; 0: none */
	int dstaddr, recvif;	/* struct in_addr; struct sockaddr_dl */
	int ttl, tos;
	unsigned char ttl_size;	/* bytes at least; more are an int */
	int pktinfo6, hoplimit, tclass;
	int timestamp, timestampns;
	struct dgi_cmsg_time timeval, timespec;
	int rights;
	/* What is sent, beside pktinfo. */
	int send_srcaddr;	/* struct in_addr */
	int send_ttl, send_tos;
	unsigned char tos_size;	/* bytes: 4 or 1 */
	bool mapped_by_ip6;	/* pktinfo6 also to a v4-mapped address */
};

/* That of this system. */
extern const struct dgi_cmsg_abi	dgi_cmsg_native;

/* Bytes of control messages that one datagram may bring, and take. */
#define DGI_CMSG_RECV	256
#define DGI_CMSG_SEND	96

/* What they tell that is not in a message. */
struct dgi_cmsg_rest {
	int fds[DGI_CMSG_RECV / sizeof(int)];	/* ours to close */
	size_t nfds;
};

/*
 * Fills in what the messages tell: bits of m->flags, the fields they stand for,
 * and *local (without port, which is the socket's; mapped if family is AF_INET6).
 * Messages that are unknown, cut, or of absurd length tell nothing.
 */
void	dgi_cmsg_parse(const struct dgi_cmsg_abi *, const void *control,
	    size_t len, int family, struct dgram_message *m,
	    struct dgram_addr *local, struct dgi_cmsg_rest *);

/* What one datagram is sent with; all of it unset: nothing. */
struct dgi_source {
	unsigned char addr[16];	/* in_addr, or in6_addr */
	bool has_addr;
	unsigned ifindex;	/* 0: the system's choice */
	short ttl, tos;		/* -1: the socket's */
};

/*
 * Writes the messages for a datagram to a socket of that family, `mapped` if to
 * a v4-mapped address: their bytes, at most DGI_CMSG_SEND, or -ENOTSUP.
 */
int	dgi_cmsg_build(const struct dgi_cmsg_abi *, void *control,
	    const struct dgi_source *, int family, bool mapped);

#endif
