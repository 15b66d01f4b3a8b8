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

/* Where credentials say who, and how many bytes of them come at most. */
struct dgi_cmsg_creds {
	unsigned char pid, uid, gid, most;
};
#define DGI_CMSG_NO_PID	0xff

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
	int rights, pidfd;
	int creds;
	struct dgi_cmsg_creds cred;
	/* What is sent, beside pktinfo. */
	int send_srcaddr;	/* struct in_addr */
	int send_ttl, send_tos;
	unsigned char tos_size;	/* bytes: 4 or 1 */
	bool mapped_by_ip6;	/* pktinfo6 also to a v4-mapped address */
};

/* That of this system. */
extern const struct dgi_cmsg_abi	dgi_cmsg_native;

/*
 * Bytes of control messages that one datagram may bring, and take: of IP, and
 * with as many descriptors as there can be.
 */
#define DGI_CMSG_RECV	256
#define DGI_CMSG_SEND	96
#define DGI_CMSG_RECV_FDS	1280
#define DGI_CMSG_SEND_FDS	1040

/* What they tell that is not in a message. */
struct dgi_cmsg_rest {
	int fds[DGI_CMSG_RECV_FDS / sizeof(int)];	/* ours to close */
	size_t nfds;
	int pidfd;		/* the same, that nobody asked for; or -1 */
};

/*
 * Fills in what the messages tell: bits of m->flags, the fields they stand for,
 * and *local (without port, which is the socket's; mapped if family is AF_INET6).
 * Messages that are unknown, cut, or of absurd length tell nothing.
 */
void	dgi_cmsg_parse(const struct dgi_cmsg_abi *, const void *control,
	    size_t len, int family, struct dgram_message *m,
	    struct dgram_addr *local, struct dgi_cmsg_rest *);

/*
 * Bytes of the messages that a datagram of AF_UNIX brings to who wants that,
 * DGRAM_TIME and DGRAM_CREDS, and so many descriptors; no more than these have
 * room, for there are systems that open what has room.
 */
size_t	dgi_cmsg_room(const struct dgi_cmsg_abi *, unsigned want,
	    unsigned fds);

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
/* Writes one for n descriptors, to DGRAM_FDS_MOST: its bytes. */
size_t	dgi_cmsg_build_rights(const struct dgi_cmsg_abi *, void *control,
	    const int *fds, size_t n);

#endif
