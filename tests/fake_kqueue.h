/* SPDX-License-Identifier: ISC */

/*
 * A kqueue(2) of our own for systems without one: the declarations are in
 * fake/sys/event.h, what it can be made to do is here.
 */

#ifndef DGT_FAKE_KQUEUE_H
#define DGT_FAKE_KQUEUE_H

#include "core/plat.h"

#if DGI_OS_LINUX

#include <stdbool.h>

struct kevent;

/*
 * Where kernels differ, for the whole process.  The defaults are the worst that
 * a program can meet, with one exception.
 */
struct fake_kqueue_quirks {
	/* EVFILT_USER is EINVAL (NetBSD before 10). */
	bool no_user;
	/* NOTE_USECONDS is taken for milliseconds (the same). */
	bool no_useconds;
	/* EV_ENABLE after EV_DISPATCH waits for something new (the same). */
	bool enable_without_check;
	/* data of EVFILT_READ has the senders' addresses in it (NetBSD). */
	bool data_counts_addresses;
	/* More than 100,000,000 s are EINVAL (older kernels). */
	bool no_long_timeouts;
	/* Successive calls go round, and do not begin anew (all kernels). */
	bool round_robin;
	/*
	 * EVFILT_WRITE of an AF_UNIX datagram socket is always true and never
	 * news (NetBSD, where sending says ENOBUFS).  Off by default: where
	 * sending says EAGAIN, as on Linux, no kernel does that; see bsd_os.h.
	 */
	bool unix_is_writable;
	/* fflags of an event with EV_EOF: a pending error of the socket. */
	int error_of_end;
};

extern struct fake_kqueue_quirks	fake_kqueue_quirks;

/* Back to the defaults. */
void	fake_kqueue_reset(void);

/*
 * The next kevent() on it that has room for events reports this one besides,
 * whatever the kernel knows.
 */
void	fake_kqueue_inject(int kq, const struct kevent *);

/* kevent() on it fails with this for the k-th change from now on (1: next). */
void	fake_kqueue_fail(int kq, unsigned k, int error);

/* close(2), and what is behind the descriptor if it is a kqueue. */
int	fake_kqueue_close(int fd);

#endif

#endif
