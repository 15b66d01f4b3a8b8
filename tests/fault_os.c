/* SPDX-License-Identifier: ISC */

/*
 * The faulty table: each entry asks verdict() and then the real one.
 */

#include "test.h"
#include "fault_os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/loop.h"

/* What the kernel lacks has no other faults. */
static bool no_recvmmsg, no_sendmmsg;

static struct fault_os *
of(const struct dgi_os *os)
{
	void *p;

	/* The table is const to the library, but this one is ours. */
	memcpy(&p, &os, sizeof(p));
	return p;
}

/* < 0: the call fails with it; > 0: it takes no more datagrams than this. */
static int
verdict(const struct dgi_os *os, enum fault_call call, int fd)
{
	struct fault_os *f = of(os);
	struct fault_entry *e = &f->entry[call];

	e->calls++;
	if (f->fd >= 0 && fd >= 0 && fd != f->fd)
		return 0;
	if (e->nscript > 0) {
		e->nscript--;
		return *e->script++;
	}
	if (e->at != 0 && e->at == e->calls)
		return e->with;
	return e->always != 0 ? e->always : e->most;
}

/*
 * The same for n datagrams to send, of which one may be bad: those in front of
 * it go, and then it fails.
 */
static int
send_verdict(const struct dgi_os *os, enum fault_call call, int fd, unsigned n)
{
	struct fault_os *f = of(os);
	int v = verdict(os, call, fd);

	if (v != 0 || f->datagram == 0 || (f->fd >= 0 && fd != f->fd))
		return v;
	if (f->datagram == f->tried + 1) {
		f->tried++;
		return f->datagram_with;
	}
	if (f->datagram > f->tried && f->datagram <= f->tried + n)
		return (int)(f->datagram - f->tried - 1);
	return 0;
}

static ssize_t
sent(const struct dgi_os *os, ssize_t r, ssize_t n)
{
	if (r >= 0)
		of(os)->tried += (unsigned)n;
	return r;
}

static int
f_socket(const struct dgi_os *os, int domain, int type, int proto)
{
	int v = verdict(os, FAULT_SOCKET, -1);

	return v < 0 ? v : dgi_os_real.socket(os, domain, type, proto);
}

static int
f_close(const struct dgi_os *os, int fd)
{
	int v = verdict(os, FAULT_CLOSE, fd);
	int r = dgi_os_real.close(os, fd);

	return v < 0 ? v : r;
}

static int
f_dup(const struct dgi_os *os, int fd)
{
	int v = verdict(os, FAULT_DUP, fd);

	return v < 0 ? v : dgi_file_dup(os, fd);
}

static int
f_bind(const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	int v = verdict(os, FAULT_BIND, fd);

	return v < 0 ? v : dgi_os_real.bind(os, fd, sa, len);
}

static int
f_connect(const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	int v = verdict(os, FAULT_CONNECT, fd);

	return v < 0 ? v : dgi_os_real.connect(os, fd, sa, len);
}

static int
f_getsockname(const struct dgi_os *os, int fd, struct sockaddr *sa,
    socklen_t *len)
{
	int v = verdict(os, FAULT_GETSOCKNAME, fd);

	return v < 0 ? v : dgi_os_real.getsockname(os, fd, sa, len);
}

static int
f_getpeername(const struct dgi_os *os, int fd, struct sockaddr *sa,
    socklen_t *len)
{
	int v = verdict(os, FAULT_GETPEERNAME, fd);

	return v < 0 ? v : dgi_os_real.getpeername(os, fd, sa, len);
}

static int
f_getsockopt(const struct dgi_os *os, int fd, int level, int name, void *p,
    socklen_t *len)
{
	int v = verdict(os, FAULT_GETSOCKOPT, fd);

	return v < 0 ? v :
	    dgi_os_real.getsockopt(os, fd, level, name, p, len);
}

static int
f_setsockopt(const struct dgi_os *os, int fd, int level, int name,
    const void *p, socklen_t len)
{
	int v = verdict(os, FAULT_SETSOCKOPT, fd);

	return v < 0 ? v :
	    dgi_os_real.setsockopt(os, fd, level, name, p, len);
}

static ssize_t
f_recvfrom(const struct dgi_os *os, int fd, void *buf, size_t size, int flags,
    struct sockaddr *sa, socklen_t *len)
{
	int v = verdict(os, FAULT_RECVFROM, fd);

	return v < 0 ? v :
	    dgi_os_real.recvfrom(os, fd, buf, size, flags, sa, len);
}

static ssize_t
f_recvmsg(const struct dgi_os *os, int fd, struct msghdr *m, int flags)
{
	int v = 0;

	/* Looking for errors is not receiving. */
#if DGI_HAVE_ERRQUEUE
	if ((flags & MSG_ERRQUEUE) == 0)
#endif
		v = verdict(os, FAULT_RECVMSG, fd);
	return v < 0 ? v : dgi_os_real.recvmsg(os, fd, m, flags);
}

static ssize_t
f_sendto(const struct dgi_os *os, int fd, const void *buf, size_t size,
    const struct sockaddr *sa, socklen_t len)
{
	int v = send_verdict(os, FAULT_SENDTO, fd, 1);

	return v < 0 ? v :
	    sent(os, dgi_os_real.sendto(os, fd, buf, size, sa, len), 1);
}

static ssize_t
f_sendmsg(const struct dgi_os *os, int fd, const struct msghdr *m)
{
	int v = send_verdict(os, FAULT_SENDMSG, fd, 1);

	return v < 0 ? v : sent(os, dgi_os_real.sendmsg(os, fd, m), 1);
}

static int
f_recvmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n,
    int flags)
{
	int v;

	if (no_recvmmsg) {
		of(os)->entry[FAULT_RECVMMSG].calls++;
		return -ENOSYS;
	}
	v = verdict(os, FAULT_RECVMMSG, fd);
	if (v > 0 && (unsigned)v < n)
		n = (unsigned)v;
	return v < 0 ? v : dgi_os_real.recvmmsg(os, fd, m, n, flags);
}

static int
f_sendmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n)
{
	int v, r;

	if (no_sendmmsg) {
		of(os)->entry[FAULT_SENDMMSG].calls++;
		return -ENOSYS;
	}
	v = send_verdict(os, FAULT_SENDMMSG, fd, n);
	if (v > 0 && (unsigned)v < n)
		n = (unsigned)v;
	if (v < 0)
		return v;
	r = dgi_os_real.sendmmsg(os, fd, m, n);
	return (int)sent(os, r, r);
}

static uint64_t
f_now(const struct dgi_os *os)
{
	return dgi_os_real.now(os) + of(os)->ahead;
}

static int
f_interfaces(const struct dgi_os *os, dgi_interface_fn *fn, void *arg)
{
	int v = verdict(os, FAULT_INTERFACES, -1);

	return v < 0 ? v : dgi_os_interfaces(os, fn, arg);
}

static int
f_lstat(const struct dgi_os *os, const char *path, struct stat *st)
{
	int v = verdict(os, FAULT_LSTAT, -1);

	return v < 0 ? v : dgi_os_real.lstat(os, path, st);
}

static int
f_unlink(const struct dgi_os *os, const char *path)
{
	int v = verdict(os, FAULT_UNLINK, -1);

	return v < 0 ? v : dgi_os_real.unlink(os, path);
}

static int
f_open(const struct dgi_os *os, const char *path, enum dgi_open what)
{
	int v = verdict(os, FAULT_OPEN, -1);

	return v < 0 ? v : dgi_file_open(os, path, what);
}

static int
f_fstat(const struct dgi_os *os, int fd, struct stat *st)
{
	int v = verdict(os, FAULT_FSTAT, fd);

	return v < 0 ? v : dgi_file_fstat(os, fd, st);
}

static int
f_lock(const struct dgi_os *os, int fd)
{
	int v = verdict(os, FAULT_LOCK, fd);

	return v < 0 ? v : dgi_file_lock(os, fd);
}

static int
f_fchmod(const struct dgi_os *os, int fd, mode_t mode)
{
	int v = verdict(os, FAULT_FCHMOD, fd);

	return v < 0 ? v : dgi_file_fchmod(os, fd, mode);
}

static int
f_set_owner(const struct dgi_os *os, int fd, uid_t uid, gid_t gid)
{
	int v = verdict(os, FAULT_SET_OWNER, fd);

	return v < 0 ? v : dgi_file_set_owner(os, fd, uid, gid);
}

static int
f_set_mode(const struct dgi_os *os, int fd, mode_t mode)
{
	int v = verdict(os, FAULT_SET_MODE, fd);

	return v < 0 ? v : dgi_file_set_mode(os, fd, mode);
}

static int
f_get_umask(const struct dgi_os *os, mode_t *mask)
{
	int v = verdict(os, FAULT_GET_UMASK, -1);

	return v < 0 ? v : dgi_file_get_umask(os, mask);
}

static int
f_bindat(const struct dgi_os *os, int dir, int fd, const char *base)
{
	int v = verdict(os, FAULT_BINDAT, fd);

	return v < 0 ? v : dgi_file_bindat(os, dir, fd, base);
}

static int
f_connectat(const struct dgi_os *os, int dir, int fd, const char *base)
{
	int v = verdict(os, FAULT_CONNECTAT, fd);

	return v < 0 ? v : dgi_file_connectat(os, dir, fd, base);
}

static int
f_event_open(const struct dgi_os *os, int fd[2])
{
	int v = verdict(os, FAULT_EVENT_OPEN, -1);

	return v < 0 ? v : dgi_os_real.event_open(os, fd);
}

static int
f_event_signal(const struct dgi_os *os, int fd)
{
	int v = verdict(os, FAULT_EVENT_SIGNAL, fd);

	return v < 0 ? v : dgi_os_real.event_signal(os, fd);
}

/* In front of each piece, as aligned as it. */
union head {
	size_t size;
	max_align_t align;
};

static void *
f_alloc(size_t size, void *arg)
{
	struct fault_os *f = arg;
	union head *h;

	if (++f->allocs == f->fail_alloc)
		return NULL;
	h = malloc(sizeof(*h) + size);
	if (h == NULL)
		return NULL;
	h->size = size;
	f->pieces++;
	return h + 1;
}

static void
f_free(void *p, size_t size, void *arg)
{
	struct fault_os *f = arg;
	union head *h = (union head *)p - 1;

	/* What a sized free is told must be what was asked for. */
	if (h->size != size)
		abort();
	f->pieces--;
	free(h);
}

void
fault_init(struct fault_os *f)
{
	no_recvmmsg = !test_has("recvmmsg");
	no_sendmmsg = !test_has("sendmmsg");
	memset(f, 0, sizeof(*f));
	f->os = dgi_os_real;
	f->os.socket = f_socket;
	f->os.close = f_close;
	f->os.dup = f_dup;
	f->os.bind = f_bind;
	f->os.connect = f_connect;
	f->os.getsockname = f_getsockname;
	f->os.getpeername = f_getpeername;
	f->os.getsockopt = f_getsockopt;
	f->os.setsockopt = f_setsockopt;
	f->os.recvfrom = f_recvfrom;
	f->os.recvmsg = f_recvmsg;
	f->os.sendto = f_sendto;
	f->os.sendmsg = f_sendmsg;
	f->os.recvmmsg = f_recvmmsg;
	f->os.sendmmsg = f_sendmmsg;
	f->os.now = f_now;
	f->os.interfaces = f_interfaces;
	f->os.lstat = f_lstat;
	f->os.unlink = f_unlink;
	f->os.open = f_open;
	f->os.fstat = f_fstat;
	f->os.lock = f_lock;
	f->os.fchmod = f_fchmod;
	f->os.set_owner = f_set_owner;
	f->os.set_mode = f_set_mode;
	f->os.get_umask = f_get_umask;
	f->os.bindat = f_bindat;
	f->os.connectat = f_connectat;
	f->os.event_open = f_event_open;
	f->os.event_signal = f_event_signal;
	f->fd = -1;
	f->allocator.alloc = f_alloc;
	f->allocator.free = f_free;
	f->allocator.arg = f;
}

void
fault_at(struct fault_os *f, enum fault_call call, unsigned k, int with)
{
	f->entry[call].at = f->entry[call].calls + k;
	f->entry[call].with = with;
}

void
fault_always(struct fault_os *f, enum fault_call call, int with)
{
	f->entry[call].always = with;
}

void
fault_sends(struct fault_os *f, int with)
{
	fault_always(f, FAULT_SENDTO, with);
	fault_always(f, FAULT_SENDMSG, with);
	fault_always(f, FAULT_SENDMMSG, with);
}

void
fault_receives(struct fault_os *f, int with)
{
	fault_always(f, FAULT_RECVFROM, with);
	fault_always(f, FAULT_RECVMSG, with);
	fault_always(f, FAULT_RECVMMSG, with);
}

unsigned
fault_count_sends(const struct fault_os *f)
{
	return f->entry[FAULT_SENDTO].calls + f->entry[FAULT_SENDMSG].calls +
	    f->entry[FAULT_SENDMMSG].calls;
}

unsigned
fault_count_receives(const struct fault_os *f)
{
	return f->entry[FAULT_RECVFROM].calls +
	    f->entry[FAULT_RECVMSG].calls + f->entry[FAULT_RECVMMSG].calls;
}

struct dgram_loop *
fault_loop(struct fault_os *f, const char *backend,
    const struct dgram_loop_options *options)
{
	struct dgram_loop_options o = { 0 };
	struct dgram_loop *l = NULL;
	int r;

	if (options != NULL)
		o = *options;
	o.backend = backend;
	o.allocator = &f->allocator;
	r = dgi_loop_new(&o, &f->os, NULL, &l);
	cr_assert_eq(r, 0, "dgi_loop_new: %d", r);
	return l;
}
