/* SPDX-License-Identifier: ISC */

/*
 * Network namespaces, for tests that want interfaces: of Linux, for root.
 *
 * netns_enter() puts the test, a process of its own, into a namespace with
 *
 *	lo	127.0.0.1, ::1
 *	d0	10.9.0.1/24, fd09::1/64, fe80::1	its other end is p0
 *	d1	10.9.1.1/24, fd09:1::1/64, fe80::1	its other end is p1
 *
 * where groups leave by d0 unless a socket says otherwise.
 */

#ifndef DGT_NETNS_H
#define DGT_NETNS_H

#include "sockets.h"

#if DGI_OS_LINUX && !DGT_BSD
#define HAVE_NETNS	1
#include <sched.h>
#else
#define HAVE_NETNS	0
#endif

/* A command of the shell, which must succeed. */
static inline void
netns_run(const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "PATH=$PATH:/sbin:/usr/sbin; (%s) >&2",
	    command);
	MUST(system(line) == 0, "%s", command);
}

/* Goes on in a new namespace, or the test is skipped. */
static inline void
netns_unshare(void)
{
#if HAVE_NETNS
	if (system("PATH=$PATH:/sbin:/usr/sbin; command -v ip > /dev/null") !=
	    0)
		cr_skip_test("ip(8) is missing");
	if (unshare(CLONE_NEWNET) < 0)
		cr_skip_test("no network namespace: %s", strerror(errno));
#else
	cr_skip_test("no network namespaces on this system");
#endif
}

static inline void
netns_enter(void)
{
	netns_unshare();
	netns_run("ip link set lo up && "
	    "for i in 0 1; do"
	    "  ip link add d$i type veth peer name p$i &&"
	    "  ip link set d$i addrgenmode none &&"
	    "  ip link set p$i addrgenmode none &&"
	    "  ip addr add 10.9.$i.1/24 brd + dev d$i &&"
	    "  ip addr add fe80::1/64 dev d$i nodad &&"
	    "  ip link set d$i up && ip link set p$i up || exit 1; "
	    "done && ip addr add fd09::1/64 dev d0 nodad && "
	    "ip addr add fd09:1::1/64 dev d1 nodad && "
	    "ip route add 224.0.0.0/4 dev d0 && "
	    /* Until the kernel has looked at its carrier a link loses. */
	    "for d in d0 d1 p0 p1; do"
	    "  until ip link show $d | grep -q 'state UP'; do :; done; "
	    "done");
}

#endif
