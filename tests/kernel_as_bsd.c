/* SPDX-License-Identifier: ISC */

/*
 * With -DDGT_BSD=1: the table of system calls and the backend poll as a BSD
 * would have them.  They take the place of those in the library.
 */

#include "core/plat.h"

#include "bsd_os.h"

#if DGT_BSD
#include <sys/stat.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define dgi_os_real	bsd_os_kernel
#include "core/os.c"
#undef dgi_os_real

#include "bsd_table.h"

extern const struct dgi_os	dgi_os_real;

const struct dgi_os dgi_os_real = {
	.socket = bsd_socket,
	.close = os_close,
	.bind = os_bind,
	.connect = bsd_connect,
	.getsockname = bsd_getsockname,
	.getpeername = os_getpeername,
	.getsockopt = bsd_getsockopt,
	.setsockopt = bsd_setsockopt,
	.recvfrom = bsd_recvfrom,
	.recvmsg = bsd_recvmsg,
	.sendto = bsd_sendto,
	.sendmsg = bsd_sendmsg,
	.recvmmsg = bsd_recvmmsg,
	.sendmmsg = bsd_sendmmsg,
	.now = os_now,
	.if_nametoindex = os_if_nametoindex,
	.lstat = dgi_file_lstat,
	.unlink = dgi_file_unlink,
	.open = dgi_file_open,
	.fstat = dgi_file_fstat,
	.lock = dgi_file_lock,
	.fchmod = bsd_fchmod,
	.set_owner = dgi_file_set_owner,
	.set_mode = dgi_file_set_mode,
	.get_umask = dgi_file_get_umask,
	.bindat = dgi_file_bindat,
	.connectat = dgi_file_connectat,
	.event_open = os_event_open,
	.event_signal = os_event_signal,
	.event_clear = os_event_clear,
};

/* NetBSD tells of a socket that it is readable or writable, no more. */
static bool
plain(struct pollfd *p)
{
	struct stat st;

	if ((p->revents & (POLLERR | POLLHUP)) == 0 ||
	    fstat(p->fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return true;
	p->revents = (short)((p->revents & ~(POLLERR | POLLHUP)) |
	    (p->events & (POLLIN | POLLOUT)));
	return p->revents != 0;
}

static int
bsd_poll(struct pollfd *fds, nfds_t n, int ms)
{
	struct pollfd *copy = calloc(n + 1, sizeof(*copy));
	uint64_t end = os_now(&bsd_os_kernel) + (uint64_t)ms * 1000000, now;
	int r, left = ms, found;
	nfds_t i;

	if (copy == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (n > 0)
		memcpy(copy, fds, n * sizeof(*fds));
	for (;;) {
		r = found = poll(copy, n, left);
		for (i = 0; i < n; i++) {
			if (copy[i].fd < 0)
				continue;
			fds[i].revents = copy[i].revents;
			if (r <= 0 || plain(&fds[i]))
				continue;
			/* Not looked at again. */
			copy[i].fd = -1;
			found--;
		}
		now = os_now(&bsd_os_kernel);
		if (r <= 0 || found > 0 || ms == 0 || (ms > 0 && now >= end))
			break;
		if (ms > 0)
			left = (int)((end - now + 999999) / 1000000);
	}
	free(copy);
	return found;
}

#define poll(fds, n, ms)	bsd_poll(fds, n, ms)
#include "poll/poll.c"
#else
/* ISO C wants something to be here. */
extern int	dgt_no_bsd;
#endif
