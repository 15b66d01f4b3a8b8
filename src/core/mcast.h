/* SPDX-License-Identifier: ISC */

/*
 * Multicast: what a membership is (mreq.c), and the table of them (mcast.c).
 */

#ifndef DGI_MCAST_H
#define DGI_MCAST_H

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>

#include <net/if.h>

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/socket.h"

/* An address without port; zeros behind one of IPv4. */
struct dgi_ip {
	int family;			/* AF_UNSPEC: none */
	uint8_t bytes[16];
};

/* The interface that was asked for: it may have another index tomorrow. */
enum dgi_which { DGI_IF_ANY, DGI_IF_ALL, DGI_IF_NAME, DGI_IF_ADDR };

struct dgi_interface {
	enum dgi_which which;
	/* DGI_IF_ADDR; otherwise of its family, if that was said, too. */
	struct dgi_ip addr;
	char name[IF_NAMESIZE];		/* DGI_IF_NAME: or its number */
};

struct dgi_mreq {
	struct dgi_ip group, source;	/* source: only from there */
	struct dgi_interface on;
};

/* NULL is DGI_IF_ANY.  -EINVAL; -ENODEV if there cannot be one. */
int	dgi_interface_parse(struct dgi_interface *, const char *text);
/* Its index, or 0: the kernel picks.  -ENODEV, or why nobody knows. */
int	dgi_interface_find(const struct dgi_os *, const struct dgi_interface *,
	    unsigned *index);
bool	dgi_interface_equal(const struct dgi_interface *,
	    const struct dgi_interface *);
/* The system's, by the table. */
int	dgi_interface_each(const struct dgi_os *, dgi_interface_fn *,
	    void *arg);

/* source NULL: from anybody. */
int	dgi_mreq_parse(struct dgi_mreq *, const struct dgi_os *,
	    const char *source, const char *group, const char *interface);
bool	dgi_ip_equal(const struct dgi_ip *, const struct dgi_ip *);
/*
 * By the kernel, on that interface or, if 0, on one that it picks.  To leave what
 * was not joined is -EADDRNOTAVAIL.
 */
int	dgi_mreq_join(const struct dgram_socket *, const struct dgi_mreq *,
	    unsigned index);
int	dgi_mreq_leave(const struct dgram_socket *, const struct dgi_mreq *,
	    unsigned index);
/* Has it joined that there?  False also if the system does not tell. */
bool	dgi_mreq_is_member(const struct dgram_socket *,
	    const struct dgi_mreq *, unsigned index);
/* Datagrams to groups leave by it. */
int	dgi_mreq_set_interface(const struct dgram_socket *,
	    const struct dgi_interface *, unsigned index);

/* An index: the kernel picked, and does not tell. */
#define DGI_PICKED	UINT_MAX

/*
 * Of a socket, in the order in which they were joined.  That of all interfaces is
 * a head, index 0, and one of the same behind it for each interface.
 */
struct dgi_membership {
	struct dgi_membership *next;
	struct dgi_mreq what;
	unsigned index;		/* 0: it could not be joined again */
};

#endif
