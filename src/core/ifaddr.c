/* SPDX-License-Identifier: ISC */

/*
 * The interfaces of the system: an entry of the table in os.h that has a file of
 * its own, because getifaddrs(3) brings malloc(3) along.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>

#include <ifaddrs.h>
#include <net/if.h>

#include <errno.h>
#include <string.h>

#include "core/os.h"

/* NULL: the address of its hardware, which each interface has one of. */
static const struct sockaddr *
of_ip(const struct sockaddr *sa)
{
	return sa != NULL && (sa->sa_family == AF_INET ||
	    sa->sa_family == AF_INET6) ? sa : NULL;
}

/* 0: it has just gone. */
static unsigned
index_of(const char *name)
{
	char base[IF_NAMESIZE];
	size_t n = strcspn(name, ":");

	/* Linux may label an address of eth0 as eth0:1. */
	if (n >= sizeof(base))
		return 0;
	memcpy(base, name, n);
	base[n] = '\0';
	return if_nametoindex(base);
}

int
dgi_os_interfaces(const struct dgi_os *os, dgi_interface_fn *fn, void *arg)
{
	struct ifaddrs *all, *i;
	unsigned index;
	int r = 0, saved_errno = errno;

	(void)os;
	if (getifaddrs(&all) < 0) {
		r = -errno;
		errno = saved_errno;
		return r;
	}
	for (i = all; i != NULL && r == 0; i = i->ifa_next) {
		index = index_of(i->ifa_name);
		if (index != 0)
			r = fn(index, of_ip(i->ifa_addr), arg);
	}
	freeifaddrs(all);
	errno = saved_errno;
	return r;
}
