/* SPDX-License-Identifier: ISC */

/*
 * Facts about the system.  First include of every .c file and the only file
 * that names an operating system or a feature-test macro.
 *
 * Each DGI_HAVE_* is always 0 or 1 and can be overridden with -D: code says
 * #if DGI_HAVE_X, never #ifdef, so that -Wundef catches a wrong name.
 */

#ifndef DGI_PLAT_H
#define DGI_PLAT_H

#if defined(__linux__)
#define DGI_OS_LINUX	1
#else
#define DGI_OS_LINUX	0
#endif
#if defined(__FreeBSD__)
#define DGI_OS_FREEBSD	1
#else
#define DGI_OS_FREEBSD	0
#endif
#if defined(__DragonFly__)
#define DGI_OS_DRAGONFLY	1
#else
#define DGI_OS_DRAGONFLY	0
#endif
#if defined(__APPLE__)
#define DGI_OS_MACOS	1
#else
#define DGI_OS_MACOS	0
#endif
#if defined(__NetBSD__)
#define DGI_OS_NETBSD	1
#else
#define DGI_OS_NETBSD	0
#endif
#if defined(__OpenBSD__)
#define DGI_OS_OPENBSD	1
#else
#define DGI_OS_OPENBSD	0
#endif

/* FreeBSD, and its version. */
#if DGI_OS_FREEBSD
#define DGI_OS_FREEBSD_SINCE(v)	(__FreeBSD__ >= (v))
#else
#define DGI_OS_FREEBSD_SINCE(v)	0
#endif

/* What the C library hides without these.  The BSDs show all by default. */
#if DGI_OS_LINUX && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1		/* recvmmsg, struct in6_pktinfo, pipe2 */
#endif
#if DGI_OS_MACOS
#if !defined(_DARWIN_C_SOURCE)
#define _DARWIN_C_SOURCE 1
#endif
#if !defined(__APPLE_USE_RFC_3542)
#define __APPLE_USE_RFC_3542 1	/* IPV6_RECVPKTINFO and its family */
#endif
#endif
#if DGI_OS_NETBSD && !defined(_NETBSD_SOURCE)
#define _NETBSD_SOURCE 1
#endif

/* A function that is to stay one: inlined it would cost its caller more. */
#if defined(__GNUC__)
#define DGI_APART	__attribute__((noinline))
#else
#define DGI_APART
#endif

/* epoll(7), Linux 2.6.27 for epoll_create1. */
#if !defined(DGI_HAVE_EPOLL)
#define DGI_HAVE_EPOLL	DGI_OS_LINUX
#endif

/* kqueue(2), FreeBSD 4.1 and all that took it from there. */
#if !defined(DGI_HAVE_KQUEUE)
#define DGI_HAVE_KQUEUE	(DGI_OS_FREEBSD || DGI_OS_DRAGONFLY || \
	DGI_OS_NETBSD || DGI_OS_OPENBSD || DGI_OS_MACOS)
#endif

/* POLLRDHUP, Linux 2.6.17. */
#if !defined(DGI_HAVE_POLLRDHUP)
#define DGI_HAVE_POLLRDHUP	(DGI_OS_LINUX || DGI_OS_FREEBSD_SINCE(14))
#endif

/*
 * eventfd(2), Linux 2.6.27; elsewhere a pipe does the same.  FreeBSD 13 and
 * NetBSD 10 have it, but a program built there could not run on older ones.
 */
#if !defined(DGI_HAVE_EVENTFD)
#define DGI_HAVE_EVENTFD	DGI_OS_LINUX
#endif

/*
 * SOCK_CLOEXEC, SOCK_NONBLOCK, pipe2(2): Linux 2.6.27, FreeBSD 10, NetBSD 6,
 * OpenBSD 5.7, DragonFly 4.4.
 */
#if !defined(DGI_HAVE_SOCK_CLOEXEC)
#define DGI_HAVE_SOCK_CLOEXEC	(!DGI_OS_MACOS)
#endif

/*
 * recvmmsg(2), Linux 2.6.33, and sendmmsg(2), Linux 3.0; both NetBSD 7 and
 * OpenBSD 7.2, where MSG_WAITFORONE came with them.  FreeBSD has them as loops
 * in its C library, with faults of their own; our loop serves it.
 */
#if !defined(DGI_HAVE_MMSG)
#if DGI_OS_NETBSD || DGI_OS_OPENBSD
#include <sys/types.h>
#include <sys/socket.h>
#endif
#if DGI_OS_LINUX || ((DGI_OS_NETBSD || DGI_OS_OPENBSD) && \
    defined(MSG_WAITFORONE))
#define DGI_HAVE_MMSG	1
#else
#define DGI_HAVE_MMSG	0
#endif
#endif

/*
 * sendmmsg(2) past the C library: musl's is a loop over sendmsg(2), because the
 * kernel's struct has no padding where POSIX wants an int.  Ours is zero there.
 */
#if !defined(DGI_HAVE_RAW_SENDMMSG)
#if DGI_OS_LINUX
#include <features.h>
#if defined(__GLIBC__)
#define DGI_HAVE_RAW_SENDMMSG	0
#else
#define DGI_HAVE_RAW_SENDMMSG	1
#endif
#else
#define DGI_HAVE_RAW_SENDMMSG	0
#endif
#endif

/*
 * The same of sendmsg(2) and recvmsg(2): where a long is longer than an int musl's
 * copy the struct to have the padding zero, and take no more than 1024 bytes of
 * control messages.
 */
#if !defined(DGI_HAVE_RAW_MSG)
#include <limits.h>
#define DGI_HAVE_RAW_MSG	(DGI_HAVE_RAW_SENDMMSG && LONG_MAX > INT_MAX)
#endif

/* recvmsg(2) given MSG_TRUNC returns the true length of a cut datagram. */
#if !defined(DGI_HAVE_TRUE_LENGTH)
#define DGI_HAVE_TRUE_LENGTH	DGI_OS_LINUX
#endif

/* MSG_ERRQUEUE, ip(7): errors of IP_RECVERR. */
#if !defined(DGI_HAVE_ERRQUEUE)
#define DGI_HAVE_ERRQUEUE	DGI_OS_LINUX
#endif

/* Abstract AF_UNIX names, unix(7). */
#if !defined(DGI_HAVE_ABSTRACT)
#define DGI_HAVE_ABSTRACT	DGI_OS_LINUX
#endif

/*
 * O_PATH, Linux 2.6.39, and /proc/thread-self/fd, 3.17: a file that is reached, or
 * changed, by a descriptor that only names it.
 */
#if !defined(DGI_HAVE_PROC_FD)
#define DGI_HAVE_PROC_FD	DGI_OS_LINUX
#endif

/*
 * fchmodat2(2), Linux 6.6, which serves where there is no /proc.  It is younger
 * than many headers, and has the same number on these processors.
 */
#if !defined(DGI_HAVE_FCHMODAT2)
#if DGI_OS_LINUX && (defined(__x86_64__) || defined(__i386__) || \
    defined(__aarch64__) || defined(__arm__) || defined(__riscv) || \
    defined(__powerpc__) || defined(__s390__))
#define DGI_HAVE_FCHMODAT2	1
#else
#define DGI_HAVE_FCHMODAT2	0
#endif
#endif

/* bindat(2) and connectat(2), FreeBSD 10. */
#if !defined(DGI_HAVE_BINDAT)
#define DGI_HAVE_BINDAT	DGI_OS_FREEBSD_SINCE(10)
#endif

/* A path that is longer than an address, by either of them. */
#if !defined(DGI_HAVE_LONG_PATH)
#define DGI_HAVE_LONG_PATH	(DGI_HAVE_PROC_FD || DGI_HAVE_BINDAT)
#endif

/* The address of an unnamed AF_UNIX sender has length 0, not that of a family. */
#if !defined(DGI_HAVE_EMPTY_NAME)
#define DGI_HAVE_EMPTY_NAME	DGI_OS_LINUX
#endif

/* A sockaddr begins with its length. */
#if !defined(DGI_HAVE_SA_LEN)
#define DGI_HAVE_SA_LEN	(!DGI_OS_LINUX)
#endif

/* SO_MEMINFO tells the datagrams a socket has dropped, Linux 4.12. */
#if !defined(DGI_HAVE_MEMINFO)
#define DGI_HAVE_MEMINFO	DGI_OS_LINUX
#endif

/* disconnect forgets a port that the kernel chose. */
#if !defined(DGI_HAVE_FORGETFUL_DISCONNECT)
#define DGI_HAVE_FORGETFUL_DISCONNECT	DGI_OS_LINUX
#endif

/*
 * IP_PKTINFO: where an IPv4 datagram arrived, and to say where from; NetBSD 8.
 * On all but Linux the option that asks has a name of its own, IP_RECVPKTINFO.
 */
#if DGI_OS_NETBSD || DGI_OS_OPENBSD
#include <sys/types.h>
#include <netinet/in.h>
#endif
#if !defined(DGI_HAVE_PKTINFO4)
#if DGI_OS_LINUX || DGI_OS_MACOS || (DGI_OS_NETBSD && \
    defined(IP_PKTINFO) && defined(IP_RECVPKTINFO))
#define DGI_HAVE_PKTINFO4	1
#else
#define DGI_HAVE_PKTINFO4	0
#endif
#endif
#if !defined(DGI_HAVE_RECVPKTINFO4)
#define DGI_HAVE_RECVPKTINFO4	(DGI_HAVE_PKTINFO4 && !DGI_OS_LINUX)
#endif

/* IP_RECVDSTADDR and IP_RECVIF: the same in two messages. */
#if !defined(DGI_HAVE_RECVDSTADDR)
#define DGI_HAVE_RECVDSTADDR	(!DGI_OS_LINUX)
#endif

/* IP_SENDSRCADDR: the source of a datagram; NetBSD 8, OpenBSD 6.1. */
#if !defined(DGI_HAVE_SENDSRCADDR)
#if DGI_OS_FREEBSD || DGI_OS_DRAGONFLY || \
    ((DGI_OS_NETBSD || DGI_OS_OPENBSD) && defined(IP_SENDSRCADDR))
#define DGI_HAVE_SENDSRCADDR	1
#else
#define DGI_HAVE_SENDSRCADDR	0
#endif
#endif

/* A control message has the name of the value, IP_TTL, not of what asked. */
#if !defined(DGI_HAVE_CMSG_IS_OPTION)
#define DGI_HAVE_CMSG_IS_OPTION	DGI_OS_LINUX
#endif

/* IP_RECVTOS. */
#if !defined(DGI_HAVE_RECVTOS)
#define DGI_HAVE_RECVTOS	(DGI_OS_LINUX || DGI_OS_FREEBSD || DGI_OS_MACOS)
#endif

/* IP_TTL and IP_TOS as control messages that are sent; IP_TOS as an int. */
#if !defined(DGI_HAVE_SEND_TTL)
#define DGI_HAVE_SEND_TTL	DGI_OS_LINUX
#endif
#if !defined(DGI_HAVE_SEND_TOS)
#define DGI_HAVE_SEND_TOS	(DGI_OS_LINUX || DGI_OS_FREEBSD)
#endif
#if !defined(DGI_HAVE_SEND_TOS_INT)
#define DGI_HAVE_SEND_TOS_INT	DGI_OS_LINUX
#endif

/* IPV6_PKTINFO says the source also to a v4-mapped address. */
#if !defined(DGI_HAVE_MAPPED_PKTINFO)
#define DGI_HAVE_MAPPED_PKTINFO	DGI_OS_LINUX
#endif

/* SO_TIMESTAMPNS, Linux 2.6.22; all have SO_TIMESTAMP. */
#if !defined(DGI_HAVE_TIMESTAMPNS)
#define DGI_HAVE_TIMESTAMPNS	DGI_OS_LINUX
#endif

/* SO_PASSCRED, struct ucred: who has sent a datagram of AF_UNIX. */
#if !defined(DGI_HAVE_PASSCRED)
#define DGI_HAVE_PASSCRED	DGI_OS_LINUX
#endif

/*
 * The same by LOCAL_CREDS, struct sockcred; with the pid since NetBSD 8, and
 * FreeBSD 13, where it is LOCAL_CREDS_PERSISTENT and struct sockcred2.
 */
#if !defined(DGI_HAVE_SOCKCRED)
#define DGI_HAVE_SOCKCRED	(DGI_OS_FREEBSD || DGI_OS_NETBSD)
#endif
#if !defined(DGI_HAVE_SOCKCRED2)
#define DGI_HAVE_SOCKCRED2	DGI_OS_FREEBSD_SINCE(13)
#endif
#if !defined(DGI_HAVE_SOCKCRED_PID)
#if DGI_OS_NETBSD
#include <sys/socket.h>
#endif
#if DGI_OS_NETBSD && SCM_CREDS == 0x10
#define DGI_HAVE_SOCKCRED_PID	1
#else
#define DGI_HAVE_SOCKCRED_PID	0
#endif
#endif

/* A datagram may be as long as SO_SNDBUF, of any type, and no longer. */
#if !defined(DGI_HAVE_SNDBUF_LIMIT)
#define DGI_HAVE_SNDBUF_LIMIT	(!DGI_OS_LINUX)
#endif

/* MSG_BCAST and MSG_MCAST: a datagram was not to this host alone. */
#if !defined(DGI_HAVE_MSG_MCAST)
#define DGI_HAVE_MSG_MCAST	(DGI_OS_NETBSD || DGI_OS_OPENBSD)
#endif

/* SO_REUSEPORT, not SO_REUSEADDR, lets two sockets share an address. */
#if !defined(DGI_HAVE_REUSEADDR_IS_REUSEPORT)
#define DGI_HAVE_REUSEADDR_IS_REUSEPORT	\
	(!DGI_OS_LINUX && !DGI_OS_DRAGONFLY)
#endif

/* SO_REUSEPORT spreads the load: Linux 3.9, DragonFly 3.6. */
#if !defined(DGI_HAVE_REUSEPORT_BALANCED)
#define DGI_HAVE_REUSEPORT_BALANCED	(DGI_OS_LINUX || DGI_OS_DRAGONFLY)
#endif

/* SO_REUSEPORT_LB, FreeBSD 12. */
#if !defined(DGI_HAVE_REUSEPORT_LB)
#define DGI_HAVE_REUSEPORT_LB	DGI_OS_FREEBSD_SINCE(12)
#endif

/* IPv4 through an IPv6 socket; the others refuse to be asked for it. */
#if !defined(DGI_HAVE_MAPPED)
#define DGI_HAVE_MAPPED	(!DGI_OS_OPENBSD && !DGI_OS_DRAGONFLY)
#endif

/* SO_BINDTODEVICE, socket(7); that of macOS 26 is younger than IP_BOUND_IF. */
#if !defined(DGI_HAVE_BINDTODEVICE)
#define DGI_HAVE_BINDTODEVICE	DGI_OS_LINUX
#endif

/* IP_BOUND_IF and IPV6_BOUND_IF. */
#if !defined(DGI_HAVE_BOUND_IF)
#define DGI_HAVE_BOUND_IF	DGI_OS_MACOS
#endif

/* IP_MULTICAST_ALL, Linux 2.6.31; IPV6_MULTICAST_ALL, Linux 4.20. */
#if !defined(DGI_HAVE_MULTICAST_ALL)
#define DGI_HAVE_MULTICAST_ALL	DGI_OS_LINUX
#endif

/*
 * struct ip_mreqn: an interface of IPv4 by its number, to send multicast by.
 * OpenBSD has not always had it.
 */
#if !defined(DGI_HAVE_MREQN)
#define DGI_HAVE_MREQN	(DGI_OS_LINUX || DGI_OS_FREEBSD || DGI_OS_MACOS)
#endif

/* RFC 3678: groups of one source, and interfaces of IPv4 by their numbers. */
#if !defined(DGI_HAVE_SOURCE_GROUP)
#define DGI_HAVE_SOURCE_GROUP	\
	(DGI_OS_LINUX || DGI_OS_FREEBSD || DGI_OS_MACOS)
#endif

/* MCAST_MSFILTER: what a socket has joined can be asked for.  Needs the above. */
#if !defined(DGI_HAVE_MSFILTER)
#define DGI_HAVE_MSFILTER	DGI_OS_LINUX
#endif

/* ENONET, what Linux makes of ICMP "source host isolated". */
#if !defined(DGI_HAVE_ENONET)
#define DGI_HAVE_ENONET	DGI_OS_LINUX
#endif

/* SO_PROTOCOL, Linux 2.6.32, FreeBSD 10, OpenBSD 5.4. */
#if !defined(DGI_HAVE_SO_PROTOCOL)
#define DGI_HAVE_SO_PROTOCOL	\
	(DGI_OS_LINUX || DGI_OS_FREEBSD || DGI_OS_OPENBSD)
#endif

/*
 * MSG_NOSIGNAL; without it SO_NOSIGPIPE is set on each socket.  The headers of
 * macOS 26 have it, the kernels of older ones do not.
 */
#if !defined(DGI_HAVE_MSG_NOSIGNAL)
#define DGI_HAVE_MSG_NOSIGNAL	(!DGI_OS_MACOS)
#endif

/* What getaddrinfo(3) may say beside what is in POSIX. */
#include <netdb.h>
#if !defined(DGI_HAVE_EAI_NODATA)
#if defined(EAI_NODATA)
#define DGI_HAVE_EAI_NODATA	1
#else
#define DGI_HAVE_EAI_NODATA	0
#endif
#endif
#if !defined(DGI_HAVE_EAI_ADDRFAMILY)
#if defined(EAI_ADDRFAMILY)
#define DGI_HAVE_EAI_ADDRFAMILY	1
#else
#define DGI_HAVE_EAI_ADDRFAMILY	0
#endif
#endif

/*
 * Thread-local variables, the program's too, lie in the stack that a thread was
 * given; elsewhere the C library adds them.
 */
#if !defined(DGI_HAVE_TLS_IN_STACK)
#if DGI_OS_LINUX && defined(__GLIBC__)
#define DGI_HAVE_TLS_IN_STACK	1
#else
#define DGI_HAVE_TLS_IN_STACK	0
#endif
#endif

/*
 * malloc(3) for the pieces of a loop that was given no allocator, so that a
 * memory checker sees each of them.  Otherwise they are cut from mmap(2): a
 * small static daemon is linked without malloc, a fifth of it.
 */
#if !defined(DGI_HAVE_MALLOC)
#if defined(__SANITIZE_ADDRESS__)
#define DGI_HAVE_MALLOC	1
#elif defined(__has_feature)
#define DGI_HAVE_MALLOC	(__has_feature(address_sanitizer) || \
	__has_feature(memory_sanitizer))
#else
#define DGI_HAVE_MALLOC	0
#endif
#endif

/* MAP_ANONYMOUS memory that huge pages would make resident at once. */
#if !defined(DGI_HAVE_NOHUGEPAGE)
#define DGI_HAVE_NOHUGEPAGE	DGI_OS_LINUX
#endif

#endif
