/* SPDX-License-Identifier: ISC */

/*
 * For the tests of sockets: a socket of the library that writes down what
 * happens to it (struct peer), bare sockets, and numbered datagrams.
 */

#ifndef DGT_SOCKETS_H
#define DGT_SOCKETS_H

#include "test.h"

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bsd_os.h"
#include "fault_os.h"
#include "core/addr.h"
#include "core/loop.h"
#include "core/queue.h"
#include "core/socket.h"

/*
 * What a receive buffer is to be for many small datagrams, and how many it holds
 * then: on NetBSD 256, of which some room is left.
 */
#define ROOM		(ON_LINUX ? 2 << 20 : 200000)
#define ROOM_COUNT	(ON_LINUX ? 1024 : 200)

#if DGT_BSD
#define shutdown(fd, how)	bsd_bare_shutdown(fd, how)
#define socket(domain, type, proto)	bsd_bare_socket(domain, type, proto)
#define setsockopt(fd, level, name, p, len)				\
	bsd_bare_setsockopt(fd, level, name, p, len)
#define getsockopt(fd, level, name, p, len)				\
	bsd_bare_getsockopt(fd, level, name, p, len)
#define sendto(fd, buf, size, flags, sa, len)				\
	bsd_bare_sendto(fd, buf, size, flags, sa, len)
#endif

#define NOT_RUNNING	DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING
#define IS_CONNECTED	DGRAM_ERR_SOCKET_DGRAM_IS_CONNECTED
#define NOT_CONNECTED	DGRAM_ERR_SOCKET_DGRAM_NOT_CONNECTED
#define ALREADY_BOUND	DGRAM_ERR_SOCKET_ALREADY_BOUND
#define BAD_PORT	DGRAM_ERR_SOCKET_BAD_PORT

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define MS		UINT64_C(1000000)

/*
 * Each assertion is reported to the runner, also one that holds, and that takes
 * longer than a datagram.  This one is reported only if it fails.
 */
#define MUST(cond, ...) do {						\
	if (!(cond))							\
		cr_assert(false, __VA_ARGS__);				\
} while (0)

/*
 * CALL(a call of the library): its result.  Fails if it changes errno, and
 * while it runs every callback fails (DESIGN rule 2).
 */
#define POISON		12345
static int in_call;

static inline void
call_begins(void)
{
	in_call++;
	errno = POISON;
}

static inline int
call_ends(int r)
{
	in_call--;
	MUST(errno == POISON, "errno was changed to %d", errno);
	return r;
}

#define CALL(call)	(call_begins(), call_ends(call))
/* It returns that value. */
#define CHECK(call, value) do {						\
	int got_ = CALL(call), want_ = (value);				\
	MUST(got_ == want_, "%s: %d (%s), not %d (%s)", #call, got_,	\
	    dgram_err_name(got_), want_, dgram_err_name(want_));	\
} while (0)
#define OK(call)	CHECK(call, 0)
/* It accepts. */
#define ACCEPT(call) do {						\
	int got_ = CALL(call);						\
	MUST(got_ >= 0, "%s: %d (%s)", #call, got_,			\
	    dgram_err_name(got_));					\
} while (0)

/* ---- a socket that writes down what happens ---- */

enum event { EV_LISTENING, EV_MESSAGE, EV_CONNECT, EV_ERROR, EV_DRAIN,
	EV_CLOSE, EV_DONE, EV_CLOSE_FN, NEVENTS };

#define EVENT_LETTERS	"LMCEDXdf"
#define PEER_LOG	8192
#define PEER_TRACE	256

struct peer {
	struct dgram_socket *s;		/* NULL after `close` */
	struct dgram_loop *loop;
	struct dgram_addr addr;
	int n[NEVENTS];			/* calls of each */
	char trace[PEER_TRACE];		/* their letters in order */
	size_t got, bytes;		/* datagrams */
	uint32_t seq[PEER_LOG];		/* first 4 bytes of each */
	size_t sizes[PEER_LOG], wire[PEER_LOG];
	unsigned flags[PEER_LOG];
	struct dgram_addr from;		/* of the last */
	size_t largest;			/* longest array */
	int status[64], kind[64];	/* of errors */
	struct dgram_addr error_addr;	/* of the last, if it had one */
	int done[PEER_LOG];		/* status of completions, in order */
	/* Called in each event, after it was written down. */
	void (*hook)(struct peer *, enum event, const struct dgram_message *,
	    size_t n);
	void *arg;
};

static inline void
peer_event(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t end = strlen(p->trace);

	MUST(in_call == 0, "event %c from inside a call",
	    EVENT_LETTERS[e]);
	p->n[e]++;
	if (end + 1 < sizeof(p->trace))
		p->trace[end] = EVENT_LETTERS[e];
	if (p->hook != NULL)
		p->hook(p, e, m, n);
}

static inline void
peer_listening(struct dgram_socket *s, void *arg)
{
	(void)s;
	peer_event(arg, EV_LISTENING, NULL, 0);
}

static inline void
peer_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	struct peer *p = arg;
	size_t i;

	MUST(s == p->s && n >= 1, "another socket, or no message");
	if (n > p->largest)
		p->largest = n;
	for (i = 0; i < n; i++, p->got++) {
		p->bytes += m[i].size;
		if (p->got >= PEER_LOG)
			continue;
		if (m[i].size >= sizeof(p->seq[0]))
			memcpy(&p->seq[p->got], m[i].data, sizeof(p->seq[0]));
		p->sizes[p->got] = m[i].size;
		p->wire[p->got] = m[i].wire_size;
		p->flags[p->got] = m[i].flags;
		if (m[i].remote != NULL)
			p->from = *m[i].remote;
	}
	peer_event(p, EV_MESSAGE, m, n);
}

static inline void
peer_connect(struct dgram_socket *s, void *arg)
{
	(void)s;
	peer_event(arg, EV_CONNECT, NULL, 0);
}

static inline void
peer_error(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	struct peer *p = arg;

	(void)s;
	if ((size_t)p->n[EV_ERROR] < COUNT(p->status)) {
		p->status[p->n[EV_ERROR]] = e->status;
		p->kind[p->n[EV_ERROR]] = e->kind;
	}
	p->error_addr.len = 0;
	if (e->addr != NULL)
		p->error_addr = *e->addr;
	peer_event(p, EV_ERROR, NULL, 0);
}

static inline void
peer_drain(struct dgram_socket *s, void *arg)
{
	(void)s;
	peer_event(arg, EV_DRAIN, NULL, 0);
}

static inline void
peer_closed(struct dgram_socket *s, void *arg)
{
	struct peer *p = arg;

	(void)s;
	peer_event(p, EV_CLOSE, NULL, 0);
	p->s = NULL;
}

/* Completion; arg of the send is the peer. */
static inline void
peer_done(struct dgram_socket *s, int status, void *arg)
{
	struct peer *p = arg;

	MUST(s == p->s, "another socket");
	if (p->n[EV_DONE] < PEER_LOG)
		p->done[p->n[EV_DONE]] = status;
	peer_event(p, EV_DONE, NULL, 0);
}

static inline void
peer_close_fn(void *arg)
{
	peer_event(arg, EV_CLOSE_FN, NULL, 0);
}

static const struct dgram_events peer_events = {
	.listening = peer_listening,
	.message = peer_message,
	.connect = peer_connect,
	.error = peer_error,
	.drain = peer_drain,
	.close = peer_closed,
};

/* The same without `message`: nothing is read. */
static const struct dgram_events peer_deaf = {
	.listening = peer_listening,
	.connect = peer_connect,
	.error = peer_error,
	.drain = peer_drain,
	.close = peer_closed,
};

/* Opens a socket; options may be NULL, events of them too. */
static inline void
peer_open(struct peer *p, struct dgram_loop *l, enum dgram_type type,
    const struct dgram_options *options)
{
	struct dgram_options o = { 0 };

	memset(p, 0, sizeof(*p));
	p->loop = l;
	if (options != NULL)
		o = *options;
	o.type = type;
	if (o.events == NULL)
		o.events = &peer_events;
	o.arg = p;
	OK(dgram_open(l, &o, &p->s));
}

/* ---- addresses ---- */

static inline bool
have_ipv6(void)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6,
	    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	bool ok;

	ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

/* All three types; IPv6 only where it is. */
#define EACH_TYPE(t)							\
	for (int t = DGRAM_UDP4; t <= DGRAM_UNIX; t++)			\
		if (t == DGRAM_UDP6 && !have_ipv6())			\
			continue;					\
		else

/* A path that is not in use. */
static inline const char *
fresh_path(void)
{
	static char path[96];
	static const char *dir;
	static int n;

	if (dir == NULL)
		dir = test_tmpdir();
	snprintf(path, sizeof(path), "%s/%d", dir, n++);
	return path;
}

/* Loopback and port 0, or a fresh path. */
static inline struct dgram_addr
any_addr(int type)
{
	struct dgram_addr a;

	if (type == DGRAM_UNIX)
		OK(dgram_addr_unix(&a, fresh_path()));
	else
		OK(dgram_addr_parse(&a, type == DGRAM_UDP4 ? "127.0.0.1" :
		    "::1", 0));
	return a;
}

static inline void
peer_bind(struct peer *p)
{
	struct dgram_addr a = any_addr((int)p->s->type);

	OK(dgram_bind_addr(p->s, &a));
	OK(dgram_address(p->s, &p->addr));
}

static inline void
peer_open_bound(struct peer *p, struct dgram_loop *l, int type,
    const struct dgram_options *options)
{
	peer_open(p, l, (enum dgram_type)type, options);
	peer_bind(p);
}

/* A bare socket on loopback or a fresh path. */
static inline int
bare_socket(int type, struct dgram_addr *addr)
{
	struct dgram_addr a = any_addr(type);
	int fd, room = ROOM;

	fd = socket(a.u.sa.sa_family, SOCK_DGRAM, 0);
	cr_assert(fd >= 0);
	/* Elsewhere the default is 81 small datagrams. */
	if (!ON_LINUX && type != DGRAM_UNIX)
		cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room,
		    sizeof(room)), 0);
	cr_assert_eq(bind(fd, &a.u.sa, a.len), 0);
	a.len = sizeof(a.u);
	cr_assert_eq(getsockname(fd, &a.u.sa, &a.len), 0);
	dgi_addr_trim(&a);
	*addr = a;
	return fd;
}

/*
 * An address of the type where nobody receives.  A port is kept, by a socket that
 * hears from one peer only, so that no other test is given it meanwhile.
 */
static inline struct dgram_addr
dead_addr(int type)
{
	struct dgram_addr a, peer;
	int fd = bare_socket(type, &a);

	if (type == DGRAM_UNIX) {
		close(fd);
		return a;
	}
	peer = a;
	peer.u.in.sin_port = htons(1);
	cr_assert_eq(connect(fd, &peer.u.sa, peer.len), 0);
	test_keep(fd);
	return a;
}

/* ---- numbered datagrams ---- */

/*
 * On Linux what was sent over loopback has arrived when the call returns, on a
 * BSD when a thread of the kernel has run.
 */
#define LOOPBACK_YIELDS	(DGI_OS_LINUX ? 0 : 100)

static inline void
bare_send(int fd, const struct dgram_addr *to, uint32_t seq)
{
	MUST(sendto(fd, &seq, sizeof(seq), 0, &to->u.sa, to->len) ==
	    (ssize_t)sizeof(seq), "%s", strerror(errno));
}

/* The number of the next datagram, or -1: there is none. */
static inline int64_t
bare_recv(int fd)
{
	uint32_t seq = 0;
	ssize_t r;
	int i;

	r = recv(fd, &seq, sizeof(seq), MSG_DONTWAIT);
	for (i = 0; r < 0 && i < LOOPBACK_YIELDS; i++) {
		sched_yield();
		r = recv(fd, &seq, sizeof(seq), MSG_DONTWAIT);
	}
	if (r < 0) {
		MUST(errno == EAGAIN, "%s", strerror(errno));
		return -1;
	}
	return seq;
}

/* Sends a number without completion, so as a copy. */
static inline int
send_copy(struct peer *p, uint32_t seq, const struct dgram_addr *to)
{
	struct iovec iov = { &seq, sizeof(seq) };

	return CALL(dgram_send_addr(p->s, &iov, 1, to, NULL, NULL));
}

/* Numbers whose bytes last. */
static inline uint32_t *
number(uint32_t n)
{
	static uint32_t v[PEER_LOG];

	MUST(n < PEER_LOG, "%u", n);
	v[n] = n;
	return &v[n];
}

/* Sends a number with peer_done. */
static inline int
send_done(struct peer *p, uint32_t seq, const struct dgram_addr *to)
{
	struct iovec iov = { number(seq), sizeof(seq) };

	return CALL(dgram_send_addr(p->s, &iov, 1, to, peer_done, p));
}

/* ---- turns ---- */

static inline uint64_t
clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline int64_t
clock_ms(void)
{
	return (int64_t)(clock_ns() / MS);
}

/* One turn that waits for `ms` at most. */
static inline void
turn_wait(struct dgram_loop *l, int ms)
{
	int r = dgram_loop_run_once(l, ms);

	MUST(r >= 0, "dgram_loop_run_once: %d", r);
	if (r == 0 && ms > 0)
		poll(NULL, 0, 1);
}

/*
 * At least n turns that do not wait, some with a look at what is ready: all
 * that can happen now has happened after them.
 */
static inline void
turns(struct dgram_loop *l, int n)
{
	uint64_t waits = l->waits;
	int most = 100, i;

	for (i = 0; i < LOOPBACK_YIELDS; i++)
		sched_yield();
	while (n-- > 0 || (most-- > 0 && l->waits - waits < 3))
		turn_wait(l, 0);
}

/* The first turns do not wait: mostly it has happened by then. */
#define RUN_UNTIL(l, cond) do {						\
	int64_t end_ = clock_ms() + 5000;				\
	int turns_ = 0;							\
	while (!(cond)) {						\
		MUST(clock_ms() < end_, "never: %s", #cond);		\
		turn_wait(l, ++turns_ < 4 ? 0 : 20);			\
	}								\
} while (0)

static inline void
free_loop(struct dgram_loop *l)
{
	cr_assert_eq(dgram_loop_free(l), 0);
}

/* ... and with it all that its allocator gave. */
static inline void
free_fault_loop(struct dgram_loop *l, struct fault_os *f)
{
	free_loop(l);
	cr_assert_eq(f->pieces, 0, "%zu pieces of memory leaked", f->pieces);
}

/* ---- a backend that refuses for a while ---- */

struct stubborn {
	struct dgi_poller_ops ops;
	const struct dgi_poller_ops *real;
	int refuse;		/* what a change gives, unless 0 */
};

static struct stubborn stubborn;

static inline int
stubborn_set(struct dgi_poller *p, const struct dgi_interest *in,
    unsigned have, unsigned want)
{
	return stubborn.refuse != 0 && want != 0 ? stubborn.refuse :
	    stubborn.real->set(p, in, have, want);
}

/* The loop's from now on: does as the real one does, until it is to refuse. */
static inline void
make_stubborn(struct dgram_loop *l)
{
	stubborn.real = l->poller.ops;
	stubborn.ops = *stubborn.real;
	stubborn.ops.set = stubborn_set;
	stubborn.refuse = 0;
	l->poller.ops = &stubborn.ops;
}

/* Ledger of a socket. */
static inline struct dgram_stats
stats_of(const struct peer *p)
{
	struct dgram_stats st = { .size = sizeof(st) };

	OK(dgram_get_stats(p->s, &st));
	return st;
}

#endif
