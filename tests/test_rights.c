/* SPDX-License-Identifier: ISC */

/*
 * Credentials and descriptors of AF_UNIX datagrams, received and sent.
 *
 * The descriptors are of pipes.  One is at its end when the last descriptor of
 * its other side has been closed, wherever that was: nothing can leak unseen.
 */

#include "test.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <signal.h>

#include "scene.h"

#define MOST	DGRAM_FDS_MOST

/* ---- pipes ---- */

struct tube {
	int in, out;		/* what is sent; where its end shows */
	ino_t ino;
};

static struct tube
tube_open(void)
{
	struct tube t;
	struct stat st;
	int fd[2];

	cr_assert_eq(pipe(fd), 0);
	t.out = fd[0];
	t.in = fd[1];
	cr_assert_eq(fstat(t.in, &st), 0);
	t.ino = st.st_ino;
	return t;
}

/* Nobody has the other side any more: a kernel may take a moment for that. */
static bool
is_at_end(const struct tube *t)
{
	char byte;
	int i;

	for (i = 0; i < 100; i++) {
		struct pollfd p = { .fd = t->out, .events = POLLIN };

		if (poll(&p, 1, 20) == 1 && read(t->out, &byte, 1) == 0)
			return true;
	}
	return false;
}

static void
tube_close(struct tube *t)
{
	if (t->in >= 0)
		close(t->in);
	t->in = -1;
	cr_assert(is_at_end(t), "a descriptor is open somewhere");
	close(t->out);
}

/* ---- bare sockets ---- */

/* Sends a number and n times fd, or nothing, if seq is 0; 0 or errno. */
static int
try_bare_send(int s, const struct dgram_addr *to, uint32_t seq, int fd, int n)
{
	static _Alignas(8) unsigned char control[DGI_CMSG_SEND_FDS];
	struct dgram_addr a = { .len = 0 };
	struct iovec iov = { &seq, seq == 0 ? 0 : sizeof(seq) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[MOST], i, e;

	if (to != NULL) {
		a = *to;
		m.msg_name = &a.u;
		m.msg_namelen = a.len;
	}
	for (i = 0; i < n; i++)
		fds[i] = fd;
	if (n > 0) {
		m.msg_control = control;
		m.msg_controllen = (unsigned)dgi_cmsg_build_rights(
		    &dgi_cmsg_native, control, fds, (size_t)n);
	}
	/* That of musl takes 252 descriptors. */
	e = (int)dgi_os_real.sendmsg(&dgi_os_real, s, &m);
	return e < 0 ? -e : 0;
}

static void
bare_send_fds(int s, const struct dgram_addr *to, uint32_t seq, int fd, int n)
{
	int e = try_bare_send(s, to, seq, fd, n);

	MUST(e == 0, "%s", strerror(e));
}

/* The number of the next datagram, -1: none; its descriptors, *n of them. */
static int64_t
bare_recv_fds(int s, int *fds, size_t *n)
{
	static _Alignas(8) unsigned char control[DGI_CMSG_RECV_FDS];
	uint32_t seq = 0;
	struct iovec iov = { &seq, sizeof(seq) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = control, .msg_controllen = sizeof(control) };
	struct dgram_message told = { .flags = 0 };
	struct dgi_cmsg_rest rest;
	struct dgram_addr local;

	*n = 0;
	if (recvmsg(s, &m, MSG_DONTWAIT) < 0) {
		MUST(errno == EAGAIN, "%s", strerror(errno));
		return -1;
	}
	dgi_cmsg_parse(&dgi_cmsg_native, control, m.msg_controllen, AF_UNIX,
	    &told, &local, &rest);
	*n = rest.nfds;
	memcpy(fds, rest.fds, rest.nfds * sizeof(int));
	return seq;
}

/* That number comes with n descriptors of the pipe. */
static void
expect_fds(int s, uint32_t seq, const struct tube *t, size_t n)
{
	int64_t end = clock_ms() + 5000, got;
	int fds[MOST + 8];
	struct stat st;
	size_t have, i;

	while ((got = bare_recv_fds(s, fds, &have)) == -1) {
		MUST(clock_ms() < end, "%u never comes", seq);
		if (sc.l != NULL)
			turn_wait(sc.l, 1);
	}
	MUST(got == seq && have == n, "%lld with %zu, not %u with %zu",
	    (long long)got, have, seq, n);
	for (i = 0; i < n; i++) {
		MUST(fstat(fds[i], &st) == 0 && st.st_ino == t->ino, "%zu", i);
		close(fds[i]);
	}
}

/* ---- what a socket of the library was told ---- */

struct told {
	uint32_t seq;
	size_t size;
	unsigned flags;
	pid_t pid;
	uid_t uid;
	gid_t gid;
	size_t nfds;
	ino_t ino;			/* of the first */
	struct dgram_addr from;
};

#define LOG	2048
static struct told told[LOG];
static size_t ntold;

/* Writes down and closes what came. */
static void
log_hook(struct peer *p, enum event e, const struct dgram_message *m, size_t n)
{
	struct stat st;
	size_t i, k;

	(void)p;
	for (i = 0; e == EV_MESSAGE && i < n && ntold < LOG; i++) {
		struct told *t = &told[ntold++];

		memset(t, 0, sizeof(*t));
		memcpy(&t->seq, m[i].data, m[i].size < 4 ? m[i].size : 4);
		t->size = m[i].size;
		t->flags = m[i].flags;
		t->pid = m[i].pid;
		t->uid = m[i].uid;
		t->gid = m[i].gid;
		t->nfds = m[i].nfds;
		if (m[i].remote != NULL)
			t->from = *m[i].remote;
		MUST((m[i].nfds > 0) == ((m[i].flags & DGRAM_FDS) != 0) &&
		    (m[i].nfds > 0) == (m[i].fds != NULL), "%zu", m[i].nfds);
		for (k = 0; k < m[i].nfds; k++) {
			MUST(fstat(m[i].fds[k], &st) == 0, "%s",
			    strerror(errno));
			MUST(k == 0 || st.st_ino == t->ino, "another file");
			t->ino = st.st_ino;
			MUST((fcntl(m[i].fds[k], F_GETFD) & FD_CLOEXEC) != 0,
			    "%zu stays open in a child", k);
			close(m[i].fds[k]);
		}
	}
}

static void
enter(const char *backend, const struct dgram_options *o)
{
	ntold = 0;
	scene_enter(backend, DGRAM_UNIX, NULL, o);
	sc.p.hook = log_hook;
}

/* ---- descriptors that come ---- */

/* It gives a kernel more room than it was given, and forgets what comes there. */
#define NOT_EMULATED() do {						\
	if (test_emulated())						\
		cr_skip_test("an emulator loses descriptors");		\
} while (0)

/* The ways to read of a socket that did not ask for descriptors. */
static const struct {
	struct dgram_options o;
	bool emulated;
} deaf_to_fds[] = {
	{ { .want = 0 }, false },
	{ { .want = 0 }, true },
	{ { .want = DGRAM_TIME }, false },
	{ { .want = DGRAM_NO_REMOTE }, false },
	{ { .want = DGRAM_TIME | DGRAM_NO_REMOTE }, true },
	{ { .max_datagram = 2 }, false },
	{ { .messages_per_call = 1 }, false },
#if DGI_HAVE_PASSCRED || DGI_HAVE_SOCKCRED
	{ { .want = DGRAM_CREDS }, false },
	{ { .want = DGRAM_CREDS | DGRAM_TIME }, true },
	{ { .want = DGRAM_CREDS | DGRAM_NO_REMOTE, .max_datagram = 1 }, false },
#endif
};

/* Elsewhere a kernel that is given no room does not say what it closed. */
#define IS_REFUSED(got, sent)	\
	((got) == (sent) || (!DGI_OS_LINUX && (got) <= (sent)))

/*
 * Floods of them: 1, and then as many as the receiver holds, at a time.  The
 * count does not change while they are delivered either.
 */
static void
flood(int n, int total, const struct tube *t)
{
	const int fds = test_count_fds();
	int sent = 0, k, e;

	while (sent < total) {
		for (k = 0; k < (sent % 3 == 0 ? 1 : 20) && sent < total; k++) {
			e = try_bare_send(sc.fd, &sc.p.addr,
			    (uint32_t)sent + 1, t->in, n);
			/* Full, or too many on their way. */
			if (e != 0 && k > 0)
				break;
			MUST(e == 0, "%s", strerror(e));
			sent++;
		}
		RUN_UNTIL(sc.l, sc.p.got == (size_t)sent);
		MUST(test_count_fds() == fds, "%d, not %d", test_count_fds(),
		    fds);
	}
}

BACKEND_TEST(rights, not_asked_for)
{
	static const int counts[] = { 1, 3, MOST };
	struct tube t;
	size_t i, k;

	NOT_EMULATED();
	for (i = 0; i < COUNT(deaf_to_fds); i++) {
		for (k = 0; k < COUNT(counts); k++) {
			const struct dgram_options *o = &deaf_to_fds[i].o;
			size_t j;

			enter(backend, o);
			if (deaf_to_fds[i].emulated)
				fault_always(&sc.f, FAULT_RECVMMSG, -ENOSYS);
			t = tube_open();
			flood(counts[k], 1000, &t);
			cr_assert(IS_REFUSED(stats_of(&sc.p).fds_refused, 1000),
			    "%llu", (unsigned long long)
			    stats_of(&sc.p).fds_refused);
			cr_assert_eq(stats_of(&sc.p).received, 1000);
			for (j = 0; j < ntold; j++)
				MUST(told[j].nfds == 0 && (!DGI_OS_LINUX ||
				    (told[j].flags & DGRAM_FDS_CUT) != 0),
				    "%zu: %#x", j, told[j].flags);
			/* The mark is of those only. */
			bare_send(sc.fd, &sc.p.addr, 7);
			RUN_UNTIL(sc.l, sc.p.got == 1001);
			cr_assert_eq(told[1000].flags & DGRAM_FDS_CUT, 0);
			cr_assert(IS_REFUSED(stats_of(&sc.p).fds_refused,
			    1000));
			tube_close(&t);
			leave();
		}
	}
}

/* Not read at all: deaf, paused; and then closed. */
BACKEND_TEST(rights, not_read)
{
	const struct dgram_options deaf = { .events = &peer_deaf };
	const int counts[] = { 1, MOST };
	struct tube t;
	size_t i, k;
	int fds, n;

	for (i = 0; i < 2; i++) {
		for (k = 0; k < COUNT(counts); k++) {
			enter(backend, i == 0 ? &deaf : NULL);
			if (i == 1)
				OK(dgram_pause(sc.p.s));
			t = tube_open();
			fds = test_count_fds();
			for (n = 0; n < 1000; n++) {
				if (try_bare_send(sc.fd, &sc.p.addr, 1, t.in,
				    counts[k]) != 0)
					break;
			}
			cr_assert(n > 0);
			turns(sc.l, 5);
			cr_assert_eq(test_count_fds(), fds);
			cr_assert_eq(stats_of(&sc.p).fds_refused, 0);
			OK(dgram_close(sc.p.s, NULL, NULL));
			turns(sc.l, 2);
			cr_assert_eq(test_count_fds(), fds - 1);
			tube_close(&t);
			leave();
		}
	}
}

/* As many as were asked for; what is more is closed, and marked. */
BACKEND_TEST(rights, asked_for)
{
	static const struct {
		unsigned max;
		int sent;
		size_t got;
	} v[] = { { 0, 1, 1 }, { 0, 16, 16 }, { 0, 17, 16 }, { 0, MOST, 16 },
		{ 2, 1, 1 }, { 2, 2, 2 }, { 2, 3, 2 }, { 2, 5, 2 },
		{ 1, 2, 1 }, { 1, MOST, 1 }, { 44, 45, 44 },
		{ MOST, MOST, MOST }, { MOST, 1, 1 }, { 3, 4, 3 } };
	static const unsigned others[] = { 0, DGRAM_TIME, DGRAM_NO_REMOTE,
#if DGI_HAVE_PASSCRED || DGI_HAVE_SOCKCRED
		DGRAM_CREDS, DGRAM_CREDS | DGRAM_TIME,
#endif
	};
	struct dgram_options o = { 0 };
	struct tube t;
	size_t i, k, before;
	uint64_t refused;

	NOT_EMULATED();
	for (k = 0; k < COUNT(others) * COUNT(v); k++) {
		i = k % COUNT(v);
		o.want = DGRAM_FDS | others[k / COUNT(v)];
		o.max_fds = v[i].max;
		enter(backend, &o);
		t = tube_open();
		for (refused = 0; refused < 3; refused++) {
			before = ntold;
			bare_send_fds(sc.fd, &sc.p.addr, 9, t.in, v[i].sent);
			bare_send_fds(sc.fd, &sc.p.addr, 0, t.in, v[i].sent);
			bare_send(sc.fd, &sc.p.addr, 11);
			RUN_UNTIL(sc.l, ntold == before + 3);
			MUST(told[before].nfds == v[i].got &&
			    told[before].ino == t.ino, "%zu of %d, not %zu",
			    told[before].nfds, v[i].sent, v[i].got);
			/* Also with no byte, which is a datagram. */
			MUST(told[before + 1].nfds == v[i].got &&
			    told[before + 1].size == 0, "%zu", told[1].nfds);
			MUST(told[before + 2].nfds == 0 &&
			    told[before + 2].seq == 11, "%zu", told[2].nfds);
			MUST(((told[before].flags & DGRAM_FDS_CUT) != 0) ==
			    (v[i].sent > (int)v[i].got), "%#x, %d of %zu",
			    told[before].flags, v[i].sent, v[i].got);
		}
		cr_assert_eq(stats_of(&sc.p).fds_refused,
		    v[i].sent > (int)v[i].got ? 6 : 0);
		tube_close(&t);
		leave();
	}
}

/* Each of a batch has its own; also where a batch is a loop. */
BACKEND_TEST(rights, batch_of_their_own)
{
	const unsigned max[] = { 0, MOST };
	struct dgram_options o = { .want = DGRAM_FDS };
	struct tube t[8];
	size_t i, k, n, emulated;

	for (i = 0; i < COUNT(max) * 2; i++) {
		emulated = i / COUNT(max);
		o.max_fds = max[i % COUNT(max)];
		enter(backend, &o);
		if (emulated)
			fault_always(&sc.f, FAULT_RECVMMSG, -ENOSYS);
		for (k = 0; k < COUNT(t); k++)
			t[k] = tube_open();
		for (n = 0; n < 20; n++) {
			for (k = 0; k < COUNT(t); k++)
				bare_send_fds(sc.fd, &sc.p.addr, (uint32_t)k,
				    t[k].in, (int)k + 1);
			RUN_UNTIL(sc.l, ntold == (n + 1) * COUNT(t));
		}
		cr_assert(sc.p.largest > 1, "no batch");
		for (k = 0; k < ntold; k++)
			MUST(told[k].seq == k % COUNT(t) &&
			    told[k].nfds == k % COUNT(t) + 1 &&
			    told[k].ino == t[k % COUNT(t)].ino, "%zu", k);
		for (k = 0; k < COUNT(t); k++)
			tube_close(&t[k]);
		leave();
	}
}

/* The headers are shared by all: nobody is told what another asked for. */
BACKEND_TEST(rights, not_of_another)
{
	const struct dgram_options o[] = { { .want = 0 },
		{ .want = DGRAM_FDS, .max_fds = MOST }, { .want = DGRAM_TIME },
		{ .want = DGRAM_FDS, .max_fds = 2 },
		{ .want = DGRAM_FDS | DGRAM_TIME } };
	const size_t got[] = { 0, 5, 0, 2, 5 };
	struct peer p[COUNT(o)];
	struct tube t;
	size_t i, n;

	NOT_EMULATED();
	enter(backend, NULL);
	for (i = 0; i < COUNT(o); i++) {
		peer_open_bound(&p[i], sc.l, DGRAM_UNIX, &o[i]);
		p[i].hook = log_hook;
	}
	t = tube_open();
	for (n = 0; n < 30; n++) {
		ntold = 0;
		for (i = 0; i < COUNT(o); i++) {
			bare_send_fds(sc.fd, &p[i].addr, (uint32_t)i + 1, t.in,
			    5);
			bare_send(sc.fd, &p[i].addr, (uint32_t)i + 1);
		}
		RUN_UNTIL(sc.l, ntold == 2 * COUNT(o));
		for (i = 0; i < ntold; i++)
			MUST(told[i].nfds == 0 ||
			    told[i].nfds == got[told[i].seq - 1], "%zu", i);
	}
	for (i = 0; i < COUNT(o); i++)
		cr_assert(got[i] == 5 ? stats_of(&p[i]).fds_refused == 0 :
		    IS_REFUSED(stats_of(&p[i]).fds_refused, 30), "%zu", i);
	tube_close(&t);
	leave();
}

/* There is more room than was thought: what is too much is closed here. */
BACKEND_TEST(rights, room_to_spare)
{
	const struct dgram_options o[] = { { .want = DGRAM_TIME },
		{ .want = DGRAM_TIME | DGRAM_FDS, .max_fds = 1 } };
	struct tube t;
	size_t i, k;
	int fds;

	NOT_EMULATED();
	for (i = 0; i < 2 * COUNT(o); i++) {
		enter(backend, &o[i % COUNT(o)]);
		if (i >= COUNT(o))
			fault_always(&sc.f, FAULT_RECVMMSG, -ENOSYS);
		/* That of a time which does not come. */
#if DGI_HAVE_TIMESTAMPNS
		cr_assert_eq(setsockopt(sc.p.s->fd, SOL_SOCKET, SO_TIMESTAMPNS,
		    &(int){ 0 }, sizeof(int)), 0);
#endif
		cr_assert_eq(setsockopt(sc.p.s->fd, SOL_SOCKET, SO_TIMESTAMP,
		    &(int){ 0 }, sizeof(int)), 0);
		t = tube_open();
		fds = test_count_fds();
		for (k = 1; k <= 40; k++) {
			bare_send_fds(sc.fd, &sc.p.addr, 1, t.in, 9);
			if (k % 8 != 0)
				continue;
			RUN_UNTIL(sc.l, ntold == k);
			cr_assert_eq(test_count_fds(), fds);
		}
		cr_assert_eq(stats_of(&sc.p).fds_refused, 40);
		for (k = 0; k < ntold; k++)
			MUST(told[k].nfds == o[i % COUNT(o)].max_fds &&
			    (told[k].flags & DGRAM_FDS_CUT) != 0, "%zu",
			    told[k].nfds);
		tube_close(&t);
		leave();
	}
}

#if DGI_HAVE_PASSCRED
/* SO_PASSPIDFD, Linux 6.5, that somebody else has set. */
BACKEND_TEST(rights, pidfd)
{
	enum { PASSPIDFD = 76 };
	const struct dgram_options o = { .want = DGRAM_FDS };
	struct tube t;
	int fds, i;

	enter(backend, &o);
	if (setsockopt(sc.p.s->fd, SOL_SOCKET, PASSPIDFD, &(int){ 1 },
	    sizeof(int)) < 0) {
		leave();
		cr_skip_test("no SO_PASSPIDFD");
	}
	t = tube_open();
	fds = test_count_fds();
	for (i = 0; i < 20; i++) {
		bare_send_fds(sc.fd, &sc.p.addr, 1, t.in, i % 3);
		if (i % 8 == 7 || i == 19)
			RUN_UNTIL(sc.l, ntold == (size_t)i + 1);
	}
	for (i = 0; i < 20; i++)
		MUST(told[i].nfds == (size_t)i % 3, "%d", i);
	cr_assert_eq(test_count_fds(), fds);
	tube_close(&t);
	leave();
}
#endif

/* The table of the process is full, or the last places are taken. */
BACKEND_TEST(rights, no_place)
{
	const struct dgram_options o = { .want = DGRAM_FDS };
	struct rlimit was, now;
	struct tube t;
	int left, fd[4], i;

	if (!DGI_OS_LINUX)
		cr_skip_test("what such a kernel does with it differs");
	enter(backend, &o);
	t = tube_open();
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	for (left = 0; left < 4; left++) {
		ntold = 0;
		/* The first free places need not lie side by side. */
		for (i = 0; i <= left; i++)
			fd[i] = dup(t.in);
		for (i = 0; i <= left; i++)
			close(fd[i]);
		now = was;
		now.rlim_cur = (rlim_t)fd[left];
		bare_send_fds(sc.fd, &sc.p.addr, 1, t.in, 5);
		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
		turns(sc.l, 3);
		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
		cr_assert_eq(ntold, 1);
		cr_assert_eq(told[0].nfds, (size_t)left);
		cr_assert((told[0].flags & DGRAM_FDS_CUT) != 0);
	}
	cr_assert_eq(stats_of(&sc.p).fds_refused, 4);
	tube_close(&t);
	leave();
}

/* From a sender without a name, and an end that looks like no byte from it. */
BACKEND_TEST(rights, behind_shutdown)
{
	const struct dgram_options o = { .want = DGRAM_FDS };
	const int sent[] = { 1, 30 };
	struct tube t;
	size_t i;
	int fd, streak;

	NOT_EMULATED();
	if (!ON_LINUX)
		cr_skip_test("a BSD drops what was not read");
	for (i = 0; i < 2 * COUNT(sent); i++) {
		enter(backend, i < COUNT(sent) ? &o : NULL);
		t = tube_open();
		fd = socket(AF_UNIX, SOCK_DGRAM, 0);
		bare_send_fds(fd, &sc.p.addr, 0, t.in, sent[i % COUNT(sent)]);
		bare_send_fds(fd, &sc.p.addr, 0, t.in, 1);
		cr_assert_eq(shutdown(sc.p.s->fd, SHUT_RDWR), 0);
		RUN_UNTIL(sc.l, sc.p.n[EV_ERROR] == 1);
		cr_assert_eq(sc.p.status[0], -ESHUTDOWN);
		cr_assert_eq(ntold, 2, "%zu", ntold);
		close(fd);
		tube_close(&t);
		leave();
	}
	/* What lies behind such a datagram that has none is not delivered. */
	for (streak = 0; streak < 3; streak += 2) {
		enter(backend, &o);
		t = tube_open();
		fd = socket(AF_UNIX, SOCK_DGRAM, 0);
		OK(dgram_pause(sc.p.s));
		bare_send_fds(fd, &sc.p.addr, 0, -1, 0);
		bare_send_fds(fd, &sc.p.addr, 5, t.in, 4);
		bare_send_fds(fd, &sc.p.addr, 6, t.in, 1);
		cr_assert_eq(shutdown(sc.p.s->fd, SHUT_RDWR), 0);
		sc.p.s->paused = false;
		sc.p.s->streak = (unsigned)streak;
		sc.p.s->last_wait = sc.l->waits - 1;
		dgi_recv_ready(sc.p.s, DGRAM_READABLE | DGI_HANGUP |
		    DGI_READ_END);
		cr_assert_eq(sc.p.n[EV_ERROR], 1);
		cr_assert_eq(ntold, 0);
		OK(dgram_close(sc.p.s, NULL, NULL));
		turns(sc.l, 2);
		close(fd);
		tube_close(&t);
		leave();
	}
}

/* Closed and paused in the middle: those that were delivered are the user's. */
static void
close_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	log_hook(p, e, m, n);
	if (e == EV_MESSAGE)
		OK(dgram_close(p->s, NULL, NULL));
}

BACKEND_TEST(rights, closed_by_the_callback)
{
	const struct dgram_options o = { .want = DGRAM_FDS };
	struct tube t;
	uint32_t i;

	enter(backend, &o);
	t = tube_open();
	sc.p.hook = close_hook;
	for (i = 0; i < 8; i++)
		bare_send_fds(sc.fd, &sc.p.addr, i, t.in, 3);
	RUN_UNTIL(sc.l, sc.p.s == NULL);
	tube_close(&t);
	leave();
}

/* ---- descriptors that go ---- */

/* Arguments of one datagram. */
struct parcel {
	uint32_t seq;
	struct iovec iov;
	int fds[MOST + 1];
};

static struct dgram_datagram
pack(struct parcel *p, uint32_t seq, const struct dgram_addr *to, int fd,
    size_t n)
{
	struct dgram_datagram d = { .iov = &p->iov, .iovcnt = 1, .to = to,
	    .fds = n > 0 ? p->fds : NULL, .nfds = n };
	size_t i;

	p->seq = seq;
	p->iov.iov_base = &p->seq;
	p->iov.iov_len = sizeof(p->seq);
	for (i = 0; i < n; i++)
		p->fds[i] = fd;
	return d;
}

BACKEND_TEST(rights, sent)
{
	static struct parcel p;
	struct dgram_datagram d;
	struct tube t;
	size_t n;
	int own;

	enter(backend, NULL);
	t = tube_open();
	for (n = 0; n <= MOST; n += n < 3 ? 1 : 25) {
		/* Borrowed. */
		d = pack(&p, 1, &sc.to, t.in, n);
		OK(dgram_send_batch(sc.p.s, &d, 1, peer_done, &sc.p));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] > 0);
		cr_assert_eq(sc.p.done[0], 1);
		cr_assert_eq(d.result, 4);
		sc.p.n[EV_DONE] = 0;
		expect_fds(sc.fd, 1, &t, n);
		/* Duplicated: all of it is the caller's at once. */
		own = dup(t.in);
		d = pack(&p, 2, &sc.to, own, n);
		OK(dgram_send_batch(sc.p.s, &d, 1, NULL, NULL));
		close(own);
		memset(&p, 0x5a, sizeof(p));
		turns(sc.l, 2);
		expect_fds(sc.fd, 2, &t, n);
		/* Now. */
		d = pack(&p, 3, &sc.to, t.in, n);
		CHECK(dgram_try_send(sc.p.s, &d, 1), 1);
		expect_fds(sc.fd, 3, &t, n);
		/* No bytes. */
		d = pack(&p, 0, &sc.to, t.in, n);
		p.iov.iov_len = 0;
		CHECK(dgram_try_send(sc.p.s, &d, 1), 1);
		expect_fds(sc.fd, 0, &t, n);
	}
	/* The most there can be. */
	d = pack(&p, 4, &sc.to, t.in, MOST);
	CHECK(dgram_try_send(sc.p.s, &d, 1), 1);
	expect_fds(sc.fd, 4, &t, MOST);
	/* To the connected peer. */
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	d = pack(&p, 5, NULL, t.in, 2);
	OK(dgram_send_batch(sc.p.s, &d, 1, NULL, NULL));
	CHECK(dgram_flush(sc.p.s), 0);
	expect_fds(sc.fd, 5, &t, 2);
	CHECK(dgram_try_send(sc.p.s, &d, 1), 1);
	expect_fds(sc.fd, 5, &t, 2);
	/* Nothing stays in the header for who comes next. */
	OK(send_done(&sc.p, 6, NULL));
	turns(sc.l, 2);
	expect_fds(sc.fd, 6, &t, 0);
	tube_close(&t);
	leave();
}

/* Errors of arguments change nothing, and leave nothing behind. */
BACKEND_TEST(rights, arguments)
{
	static struct parcel p, q;
	struct dgram_addr from = { .len = 0 };
	struct dgram_datagram d[2], good;
	struct dgram_socket *udp;
	struct dgram_options o = { .type = DGRAM_UDP4 };
	struct tube t;
	int fds;
	size_t i;

	enter(backend, NULL);
	t = tube_open();
	good = pack(&p, 1, &sc.to, t.in, 3);
	fds = test_count_fds();
#define REFUSED(field, value, error) do {				\
	d[1] = pack(&q, 2, &sc.to, t.in, 3);				\
	d[1].field = (value);						\
	for (i = 0; i < 2; i++) {					\
		d[0] = good;						\
		CHECK(dgram_send_batch(sc.p.s, d, 2,			\
		    i == 0 ? peer_done : NULL, NULL), error);		\
	}								\
	CHECK(dgram_try_send(sc.p.s, d, 2), error);			\
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 0);		\
	cr_assert_eq(test_count_fds(), fds);				\
} while (0)
	REFUSED(nfds, MOST + 1, -EMSGSIZE);
	REFUSED(nfds, SIZE_MAX, -EMSGSIZE);
	REFUSED(fds, NULL, -EINVAL);
	REFUSED(fds, (&(const int){ -1 }), -EBADF);
	REFUSED(from, &from, -ENOTSUP);
	REFUSED(ifindex, 1, -ENOTSUP);
	REFUSED(ttl, 1, -ENOTSUP);
	REFUSED(tos, 1, -ENOTSUP);
	REFUSED(flags, DGRAM_SET_TTL, -ENOTSUP);
	REFUSED(flags, 0x80, -EINVAL);
	REFUSED(ttl, 256, -EINVAL);
	/* No descriptors of no array, and an array of none. */
	d[0] = good;
	d[0].nfds = 0;
	CHECK(dgram_try_send(sc.p.s, d, 1), 1);
	expect_fds(sc.fd, 1, &t, 0);
	OK(dgram_send_batch(sc.p.s, d, 1, NULL, NULL));
	turns(sc.l, 2);
	expect_fds(sc.fd, 1, &t, 0);
	OK(dgram_open(sc.l, &o, &udp));
	OK(dgram_addr_parse(&from, "127.0.0.1", 9));
	good.to = &from;
	CHECK(dgram_try_send(udp, &good, 1), -ENOTSUP);
	CHECK(dgram_send_batch(udp, &good, 1, NULL, NULL), -ENOTSUP);
	cr_assert_eq(test_count_fds(), fds);
	tube_close(&t);
	leave();
}

/* One that is not open: told by the call that duplicates, or by the kernel. */
BACKEND_TEST(rights, bad_descriptor)
{
	static struct parcel p[3];
	struct dgram_datagram d[3];
	struct tube t;
	int fds;

	enter(backend, NULL);
	t = tube_open();
	fds = test_count_fds();
	d[0] = pack(&p[0], 1, &sc.to, t.in, 2);
	d[1] = pack(&p[1], 2, &sc.to, t.in, 3);
	p[1].fds[2] = 1000;
	d[2] = pack(&p[2], 3, &sc.to, t.in, 1);
	CHECK(dgram_send_batch(sc.p.s, d, 3, NULL, NULL), -EBADF);
	cr_assert_eq(test_count_fds(), fds);
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 0);
	cr_assert_eq(bare_recv(sc.fd), -1);
	OK(dgram_send_batch(sc.p.s, d, 3, peer_done, &sc.p));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	cr_assert_eq(sc.p.done[0], 2);
	cr_assert_eq(d[0].result, 4);
	cr_assert_eq(d[1].result, -EBADF);
	cr_assert_eq(d[2].result, 4);
	expect_fds(sc.fd, 1, &t, 2);
	expect_fds(sc.fd, 3, &t, 1);
	CHECK(dgram_try_send(sc.p.s, d + 1, 2), -EBADF);
	tube_close(&t);
	leave();
}

/* Among plain ones and to several, in order for each. */
BACKEND_TEST(rights, mixed)
{
	enum { N = 24, PEERS = 3 };
	static struct parcel p[N];
	struct dgram_datagram d[N];
	struct dgram_addr to[PEERS];
	struct tube t;
	int fd[PEERS], how;
	uint32_t i, sent;

	for (how = 0; how < 3; how++) {
		enter(backend, NULL);
		t = tube_open();
		for (i = 0; i < PEERS; i++)
			fd[i] = bare_socket(DGRAM_UNIX, &to[i]);
		for (i = 0; i < N; i++)
			d[i] = pack(&p[i], i + 1, &to[i % PEERS], t.in,
			    i % 4 == 1 ? 0 : i % 5);
		if (how < 2) {
			OK(dgram_send_batch(sc.p.s, d, N, how == 0 ? peer_done :
			    NULL, &sc.p));
			turns(sc.l, 3);
		} else {
			for (sent = 0; sent < N;) {
				int r = CALL(dgram_try_send(sc.p.s, d + sent,
				    N - sent));

				MUST(r > 0, "%d", r);
				sent += (uint32_t)r;
			}
		}
		for (i = 0; i < N; i++)
			expect_fds(fd[i % PEERS], i + 1, &t,
			    i % 4 == 1 ? 0 : i % 5);
		cr_assert_eq(stats_of(&sc.p).sent, N);
		for (i = 0; i < PEERS; i++)
			close(fd[i]);
		tube_close(&t);
		leave();
	}
}

/* 64 with descriptors, from the library to the library. */
BACKEND_TEST(rights, batch_of_64)
{
	enum { N = 64 };
	const struct dgram_options o = { .want = DGRAM_FDS };
	static struct parcel p[N];
	struct dgram_datagram d[N];
	struct tube t;
	struct peer q;
	uint32_t i;
	int how, fds;

	for (how = 0; how < 2; how++) {
		enter(backend, &o);
		peer_open(&q, sc.l, DGRAM_UNIX, NULL);
		t = tube_open();
		for (i = 0; i < N; i++)
			d[i] = pack(&p[i], i, &sc.p.addr, t.in, i % 16 + 1);
		fds = test_count_fds();
		OK(dgram_send_batch(q.s, d, N, how == 0 ? peer_done : NULL,
		    &q));
		RUN_UNTIL(sc.l, ntold == N);
		for (i = 0; i < N; i++)
			MUST(told[i].seq == i && told[i].nfds == i % 16 + 1 &&
			    told[i].ino == t.ino, "%u: %u with %zu", i,
			    told[i].seq, told[i].nfds);
		turns(sc.l, 3);
		/* And the descriptor of q. */
		cr_assert_eq(test_count_fds(), fds + 1);
		tube_close(&t);
		leave();
	}
}

/* The receiver is full: closed, late, or room in the end. */
BACKEND_TEST(rights, waits)
{
	enum { N = 40, CLOSED = 0, LATE, SENT };
	static struct parcel p[N];
	struct dgram_datagram d[N];
	struct tube t;
	uint32_t i;
	int how, done, fds, took;

	for (how = 0; how < 6; how++) {
		done = how % 2;
		enter(backend, NULL);
		if (how >= 3)
			OK(dgram_connect_addr(sc.p.s, &sc.to));
		t = tube_open();
		fds = test_count_fds();
		for (took = 0; took < N; took++) {
			if (try_bare_send(sc.fd, &sc.to, 1000, -1, 0) != 0)
				break;
		}
		for (i = 0; i < N; i++) {
			d[i] = pack(&p[i], i, how < 3 ? &sc.to : NULL, t.in, 3);
			if (how % 3 == LATE)
				d[i].deadline_ns = dgram_loop_now(sc.l) +
				    3600000 * MS;
		}
		if (took == N) {
			/* There is room for all, as with 512 of them. */
			fault_sends(&sc.f, -EAGAIN);
		}
		OK(dgram_send_batch(sc.p.s, d, N, done ? peer_done : NULL,
		    &sc.p));
		turns(sc.l, 3);
		if (!done)
			cr_assert_eq(test_count_fds(), fds + 3 * N);
		if (how % 3 == CLOSED) {
			OK(dgram_close(sc.p.s, NULL, NULL));
			RUN_UNTIL(sc.l, sc.p.s == NULL);
			fds--;
		} else if (how % 3 == LATE) {
			sc.f.ahead = 3600001 * MS;
			RUN_UNTIL(sc.l,
			    dgram_get_send_queue_count(sc.p.s) == 0);
			turns(sc.l, 2);
			cr_assert_eq(stats_of(&sc.p).expired, N);
		} else {
			fault_sends(&sc.f, 0);
			for (; took > 0; took--)
				expect_fds(sc.fd, 1000, &t, 0);
			for (i = 0; i < N; i++)
				expect_fds(sc.fd, i, &t, 3);
			turns(sc.l, 2);
		}
		cr_assert_eq(test_count_fds(), fds);
		cr_assert_eq(sc.p.n[EV_DONE], done);
		tube_close(&t);
		leave();
	}
}

/* Both ends of a socketpair(2), adopted. */
BACKEND_TEST(rights, pair)
{
	struct dgram_options o = { .want = DGRAM_FDS, .max_fds = 2,
	    .events = &peer_events };
	static struct parcel p;
	struct dgram_datagram d;
	struct peer q[2];
	struct tube t;
	int fd[2], i;

	NOT_EMULATED();
	enter(backend, NULL);
	t = tube_open();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
	for (i = 0; i < 2; i++) {
		memset(&q[i], 0, sizeof(q[i]));
		q[i].hook = log_hook;
		o.arg = &q[i];
		OK(dgram_open_fd(sc.l, &o, fd[i], &q[i].s));
	}
	for (i = 0; i < 4; i++) {
		d = pack(&p, (uint32_t)i, NULL, t.in, (size_t)i);
		OK(dgram_send_batch(q[i % 2].s, &d, 1, NULL, NULL));
		RUN_UNTIL(sc.l, ntold == (size_t)i + 1);
		cr_assert_eq(told[i].nfds, i < 2 ? (size_t)i : 2u);
		cr_assert_eq((told[i].flags & DGRAM_FDS_CUT) != 0, i == 3);
		cr_assert_eq(told[i].from.len, 0);
	}
	tube_close(&t);
	leave();
}

/* The memory for it is within the bound, and is there only when asked for. */
BACKEND_TEST(rights, memory)
{
	const struct dgram_options o[] = { { .want = 0 },
		{ .want = DGRAM_FDS },
		{ .want = DGRAM_FDS | DGRAM_TIME, .max_fds = MOST } };
	static struct parcel p;
	struct dgram_datagram d;
	size_t i, held, bound, before[COUNT(o)];
	struct tube t;

	for (i = 0; i < COUNT(o); i++) {
		enter(backend, &o[i]);
		t = tube_open();
		OK(dgram_loop_memory(sc.l, &before[i], &bound));
		d = pack(&p, 1, &sc.to, t.in, MOST);
		OK(dgram_send_batch(sc.p.s, &d, 1, NULL, NULL));
		turns(sc.l, 2);
		expect_fds(sc.fd, 1, &t, MOST);
		OK(dgram_loop_memory(sc.l, &held, NULL));
		cr_assert(held <= bound, "%zu of %zu", held, bound);
		cr_assert(sc.l->arena.rx_fds == NULL || i == 2);
		cr_assert_eq(sc.l->arena.rx_control != NULL, i == 1);
		tube_close(&t);
		leave();
	}
	cr_assert(before[0] < before[1] && before[1] < before[2]);
}

TEST(rights, options)
{
	struct dgram_options o = { .type = DGRAM_UNIX };
	struct dgram_loop *l = test_loop(NULL);
	struct dgram_socket *s;
	int fd, type, fds;

#define OPEN(want_, max_, result) do {					\
	o.want = (want_);						\
	o.max_fds = (max_);						\
	CHECK(dgram_open(l, &o, &s), result);				\
} while (0)
	OPEN(DGRAM_FDS, 0, 0);
	OPEN(DGRAM_FDS, 1, 0);
	OPEN(DGRAM_FDS, MOST, 0);
	OPEN(DGRAM_FDS, MOST + 1, -EINVAL);
	OPEN(DGRAM_FDS, UINT_MAX, -EINVAL);
	OPEN(0, 1, -EINVAL);
	OPEN(DGRAM_CREDS, 1, -EINVAL);
	OPEN(DGRAM_FDS_CUT, 0, -EINVAL);
	OPEN(DGRAM_CREDS, 0, DGI_HAVE_PASSCRED || DGI_HAVE_SOCKCRED ? 0 :
	    -ENOTSUP);
	for (type = DGRAM_UDP4; type <= DGRAM_UDP6; type++) {
		o.type = (enum dgram_type)type;
		OPEN(DGRAM_FDS, 0, -ENOTSUP);
		OPEN(DGRAM_CREDS, 0, -ENOTSUP);
		OPEN(DGRAM_CREDS | DGRAM_LOCAL, 0, -ENOTSUP);
	}
	/* It depends on the descriptor. */
	o.type = 0;
	fds = test_count_fds();
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	o.want = DGRAM_FDS;
	CHECK(dgram_open_fd(l, &o, fd, &s), -ENOTSUP);
#if DGI_HAVE_PASSCRED || DGI_HAVE_SOCKCRED
	o.want = DGRAM_CREDS;
	CHECK(dgram_open_fd(l, &o, fd, &s), -ENOTSUP);
#endif
	close(fd);
	cr_assert_eq(test_count_fds(), fds);
	free_loop(l);
}

/* ---- credentials ---- */

#if DGI_HAVE_PASSCRED || DGI_HAVE_SOCKCRED

#define CHILD_UID	1235
#define CHILD_GID	1234

/* Who sends: a child, unnamed, with a path and with an abstract name. */
enum { UNNAMED, PATH, ABSTRACT, NSENDERS };

static void
send_as_child(int fd, const struct dgram_addr *to, int as,
    const struct dgram_addr *path, uint32_t first, uint32_t n)
{
	struct dgram_addr a;
	struct pollfd p = { .events = POLLOUT };
	int e = 0, own;

	own = fd >= 0 ? fd : socket(AF_UNIX, SOCK_DGRAM, 0);
	if (own < 0)
		_exit(2);
	if (as == PATH && bind(own, &path->u.sa, path->len) < 0)
		_exit(3);
	if (as == ABSTRACT && (dgram_addr_abstract(&a, path->u.un.sun_path,
	    strlen(path->u.un.sun_path)) < 0 ||
	    bind(own, &a.u.sa, a.len) < 0))
		_exit(4);
	/* The path is root's. */
	if (to != NULL && connect(own, &to->u.sa, to->len) < 0)
		_exit(7);
	if (geteuid() == 0 && (setgid(CHILD_GID) < 0 || setuid(CHILD_UID) < 0))
		_exit(5);
	p.fd = own;
	/* The parent reads, sooner or later. */
	for (; n > 0; n--, first++) {
		while ((e = try_bare_send(own, NULL, first, -1, 0)) == EAGAIN ||
		    e == ENOBUFS)
			(void)poll(&p, 1, 1);
		if (e != 0)
			_exit(6);
	}
	_exit(0);
}

/* All that a child sends is told to be from it. */
static void
check_creds(struct peer *to, int fd, int as, uint32_t n)
{
	struct dgram_addr path = any_addr(DGRAM_UNIX), name;
	uid_t uid = geteuid() == 0 ? CHILD_UID : getuid();
	gid_t gid = geteuid() == 0 ? CHILD_GID : getgid();
	pid_t child;
	int status;
	size_t i;

	ntold = 0;
	child = test_fork();
	if (child == 0)
		send_as_child(fd, to == NULL ? NULL : &to->addr, as, &path, 1, n);
	RUN_UNTIL(sc.l, ntold == n);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0, "%#x", (unsigned)status);
	if (as == ABSTRACT)
		OK(dgram_addr_abstract(&name, path.u.un.sun_path,
		    strlen(path.u.un.sun_path)));
	else
		name = path;
	for (i = 0; i < n; i++) {
		MUST(told[i].seq == i + 1, "%zu: %u", i, told[i].seq);
		MUST((told[i].flags & (DGRAM_CREDS | DGRAM_FDS_CUT)) ==
		    DGRAM_CREDS, "%#x", told[i].flags);
		MUST(told[i].pid == (dgi_cmsg_native.cred.pid ==
		    DGI_CMSG_NO_PID ? 0 : child), "pid %ld, not %ld",
		    (long)told[i].pid, (long)child);
		MUST(told[i].uid == uid && told[i].gid == gid, "%ld, %ld",
		    (long)told[i].uid, (long)told[i].gid);
		MUST(as == UNNAMED ? told[i].from.len == 0 :
		    dgram_addr_equal(&told[i].from, &name), "from %d", as);
	}
}

BACKEND_TEST(rights, credentials)
{
	static const unsigned wants[] = { DGRAM_CREDS, DGRAM_CREDS | DGRAM_TIME,
	    DGRAM_CREDS | DGRAM_FDS };
	struct dgram_options o = { 0 };
	size_t i;
	int as;

	for (i = 0; i < COUNT(wants); i++) {
		o.want = wants[i];
		enter(backend, &o);
		for (as = UNNAMED; as < NSENDERS; as++) {
			if (as == ABSTRACT && !DGI_HAVE_ABSTRACT)
				break;
			check_creds(&sc.p, -1, as, 1);
			check_creds(&sc.p, -1, as, 200);
		}
		cr_assert(sc.p.largest > 1, "no batch");
		cr_assert_eq(stats_of(&sc.p).fds_refused, 0);
		leave();
	}
}

/*
 * A socket that sends before it is bound gets no name by that, and may still be
 * bound; a bind that fails leaves it so.
 */
BACKEND_TEST(rights, credentials_of_a_sender)
{
	const struct dgram_options o = { .want = DGRAM_CREDS };
	struct dgram_addr a;
	struct peer q;

	enter(backend, &o);
	peer_open(&q, sc.l, DGRAM_UNIX, &o);
	q.hook = log_hook;
	OK(send_copy(&q, 1, &sc.to));
	turns(sc.l, 2);
	expect_fds(sc.fd, 1, NULL, 0);
	OK(dgram_address(q.s, &a));
	cr_assert_eq(a.len, 0);
	CHECK(dgram_bind_addr(q.s, &sc.to), -EADDRINUSE);
	OK(send_copy(&q, 2, &sc.to));
	turns(sc.l, 2);
	expect_fds(sc.fd, 2, NULL, 0);
	OK(dgram_address(q.s, &a));
	cr_assert_eq(a.len, 0);
	OK(dgram_connect_addr(q.s, &sc.to));
	OK(dgram_address(q.s, &a));
	cr_assert_eq(a.len, 0);
	OK(dgram_disconnect(q.s));
	peer_bind(&q);
	check_creds(&q, -1, UNNAMED, 20);
	leave();
}

BACKEND_TEST(rights, credentials_of_adopted)
{
	struct dgram_options o = { .want = DGRAM_CREDS,
	    .events = &peer_events };
	struct peer q;
	int fd[2], type;

	/* Bound; bound later; one of a pair. */
	for (type = 0; type <= DGRAM_UNIX; type += DGRAM_UNIX) {
		o.type = (enum dgram_type)type;
		o.arg = &q;
		enter(backend, NULL);
		memset(&q, 0, sizeof(q));
		q.hook = log_hook;
		fd[0] = bare_socket(DGRAM_UNIX, &q.addr);
		OK(dgram_open_fd(sc.l, &o, fd[0], &q.s));
		check_creds(&q, -1, PATH, 30);
		OK(dgram_close(q.s, NULL, NULL));
		turns(sc.l, 2);

		fd[0] = socket(AF_UNIX, SOCK_DGRAM, 0);
		OK(dgram_open_fd(sc.l, &o, fd[0], &q.s));
		peer_bind(&q);
		check_creds(&q, -1, UNNAMED, 3);
		OK(dgram_close(q.s, NULL, NULL));
		turns(sc.l, 2);

		cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
		OK(dgram_open_fd(sc.l, &o, fd[0], &q.s));
		check_creds(NULL, fd[1], UNNAMED, 30);
		close(fd[1]);
		leave();
	}
}

/* A kernel without it: at bind, and a descriptor stays the caller's. */
BACKEND_TEST(rights, credentials_not_here)
{
	const struct dgram_options o = { .want = DGRAM_CREDS,
	    .events = &peer_events };
	struct dgram_addr a;
	struct dgram_socket *s;
	struct peer q;
	int fd;

	enter(backend, NULL);
	peer_open(&q, sc.l, DGRAM_UNIX, &o);
	a = any_addr(DGRAM_UNIX);
	fault_always(&sc.f, FAULT_SETSOCKOPT, -ENOPROTOOPT);
	CHECK(dgram_bind_addr(q.s, &a), -ENOTSUP);
	CHECK(dgram_fileno(q.s), -EBADF);
	fd = bare_socket(DGRAM_UNIX, &a);
	CHECK(dgram_open_fd(sc.l, &o, fd, &s), -ENOTSUP);
	cr_assert_eq(close(fd), 0);
	fault_always(&sc.f, FAULT_SETSOCKOPT, 0);
	peer_bind(&q);
	leave();
}
#endif

#if DGI_HAVE_PASSCRED
static int
set_passcred(int fd, void *arg)
{
	(void)arg;
	return setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){ 1 },
	    sizeof(int)) < 0 ? -errno : 0;
}

/* Switched on by others, by a manager of services say: no descriptors. */
BACKEND_TEST(rights, credentials_of_others)
{
	static const unsigned wants[] = { 0, DGRAM_TIME, DGRAM_FDS };
	struct dgram_options o = { .events = &peer_events };
	struct tube t;
	struct peer q;
	size_t i, adopt;
	int fd;

	NOT_EMULATED();
	for (i = 0; i < 2 * COUNT(wants); i++) {
		adopt = i / COUNT(wants);
		o.want = wants[i % COUNT(wants)];
		o.configure = adopt ? NULL : set_passcred;
		enter(backend, NULL);
		t = tube_open();
		if (adopt) {
			memset(&q, 0, sizeof(q));
			fd = bare_socket(DGRAM_UNIX, &q.addr);
			cr_assert_eq(set_passcred(fd, NULL), 0);
			o.arg = &q;
			OK(dgram_open_fd(sc.l, &o, fd, &q.s));
		} else {
			peer_open_bound(&q, sc.l, DGRAM_UNIX, &o);
		}
		q.hook = log_hook;
		bare_send(sc.fd, &q.addr, 1);
		bare_send_fds(sc.fd, &q.addr, 2, t.in, 1);
		RUN_UNTIL(sc.l, ntold == 2);
		cr_assert_eq(told[0].flags, o.want & DGRAM_TIME, "%#x",
		    told[0].flags);
		cr_assert_eq(told[1].nfds, (o.want & DGRAM_FDS) != 0);
		cr_assert_eq(stats_of(&q).fds_refused, told[1].nfds == 0);
		tube_close(&t);
		leave();
	}
}

/* Sets the bits of options that *arg names, as far as there are such. */
static int
set_others(int fd, void *arg)
{
	/* The last is SO_PASSPIDFD, Linux 6.5. */
	static const int names[] = { SO_PASSCRED, SO_TIMESTAMP, SO_TIMESTAMPNS,
		SO_TIMESTAMPING, SO_PASSSEC, 76 };
	/* SOF_TIMESTAMPING_RX_SOFTWARE, SOF_TIMESTAMPING_SOFTWARE */
	enum { SOFTWARE = 0x18 };
	const unsigned which = *(const unsigned *)arg;
	size_t i;
	int v;

	for (i = 0; i < COUNT(names); i++) {
		v = names[i] == SO_TIMESTAMPING ? SOFTWARE : 1;
		if ((which & 1u << i) != 0)
			(void)setsockopt(fd, SOL_SOCKET, names[i], &v,
			    sizeof(v));
	}
	return 0;
}

/*
 * None of it takes the room of what is wanted, of all that there can be, or looks
 * like descriptors.
 */
BACKEND_TEST(rights, options_of_others)
{
	static const unsigned all = DGRAM_TIME | DGRAM_CREDS | DGRAM_FDS,
	    wants[] = { 0, DGRAM_CREDS, DGRAM_FDS, all };
	struct dgram_options o = { .type = DGRAM_UNIX, .events = &peer_events };
	unsigned which, i, adopt;
	struct tube t;
	struct peer q;
	int fd, fds;

	NOT_EMULATED();
	for (i = 0; i < 2 * COUNT(wants) * 64; i++) {
		which = i % 64;
		adopt = i / 64 % 2;
		o.want = wants[i / 128];
		o.max_fds = (o.want & DGRAM_FDS) != 0 ? MOST : 0;
		o.configure = adopt ? NULL : set_others;
		enter(backend, NULL);
		memset(&q, 0, sizeof(q));
		fd = bare_socket(DGRAM_UNIX, &q.addr);
		o.arg = &q;
		if (adopt) {
			(void)set_others(fd, &which);
			OK(dgram_open_fd(sc.l, &o, fd, &q.s));
		} else {
			close(fd);
			(void)unlink(q.addr.u.un.sun_path);
			o.arg = &which;
			OK(dgram_open(sc.l, &o, &q.s));
			OK(dgram_bind_addr(q.s, &q.addr));
			OK(dgram_set_events(q.s, &peer_events, &q));
		}
		q.hook = log_hook;
		t = tube_open();
		fds = test_count_fds();
		bare_send(sc.fd, &q.addr, 1);
		bare_send_fds(sc.fd, &q.addr, 2, t.in, MOST);
		RUN_UNTIL(sc.l, ntold == 2);
		MUST(told[0].flags == (o.want & ~DGRAM_FDS), "%#x of %#x, %#x",
		    told[0].flags, o.want, which);
		MUST((told[1].flags & ~DGRAM_FDS_CUT) == o.want,
		    "%#x of %#x, %#x", told[1].flags, o.want, which);
		MUST(told[1].nfds == o.max_fds && test_count_fds() == fds,
		    "%zu, %#x", told[1].nfds, which);
		MUST(stats_of(&q).fds_refused == (o.max_fds == 0), "%#x",
		    which);
		tube_close(&t);
		leave();
	}
}
#endif

/* ---- no memory, and system calls that fail ---- */

/* Descriptors that come and go, kept and borrowed; how it ended. */
static int
scenario(struct fault_os *f, const char *backend, struct tube *t)
{
	static struct parcel p[4];
	struct dgram_loop_options lo = { .backend = backend,
	    .allocator = &f->allocator };
	struct dgram_options o = { .type = DGRAM_UNIX,
	    .want = DGRAM_FDS | DGRAM_TIME, .max_fds = 100,
	    .events = &peer_events };
	struct dgram_addr a = any_addr(DGRAM_UNIX);
	struct dgram_datagram d[4];
	struct dgram_loop *l = NULL;
	static struct peer q;
	int r, done = 0, i;

	memset(&q, 0, sizeof(q));
	q.hook = log_hook;
	q.loop = l;
	o.arg = &q;
	for (i = 0; i < 4; i++)
		d[i] = pack(&p[i], (uint32_t)i, &a, t->in,
		    i == 2 ? 0 : (size_t)i + 2);
	r = CALL(dgi_loop_new(&lo, &f->os, NULL, &l));
	if (r < 0)
		return r;
	r = CALL(dgram_open(l, &o, &q.s));
	if (r == 0)
		r = CALL(dgram_bind_addr(q.s, &a));
	if (r == 0)
		r = CALL(dgram_send_batch(q.s, d, 4, NULL, NULL));
	if (r == 0)
		turns(l, 3);
	if (r == 0) {
		r = CALL(dgram_send_batch(q.s, d, 4, peer_done, &q));
		done += r == 0;
	}
	if (r == 0)
		turns(l, 3);
	if (r == 0) {
		r = CALL(dgram_try_send(q.s, d, 2));
		r = r > 0 || r == -EAGAIN ? 0 : r;
	}
	if (r == 0)
		r = CALL(dgram_send_batch(q.s, d, 4, NULL, NULL));
	free_loop(l);
	cr_assert_eq(q.n[EV_DONE], done);
	return r;
}

static int
run_faulty(struct fault_os *f, const char *backend)
{
	struct tube t = tube_open();
	int fds = test_count_fds(), r;

	ntold = 0;
	r = scenario(f, backend, &t);
	cr_assert_eq(f->pieces, 0, "%zu pieces", f->pieces);
	cr_assert_eq(test_count_fds(), fds, "%d, not %d", test_count_fds(),
	    fds);
	tube_close(&t);
	return r;
}

BACKEND_TEST(rights, no_memory)
{
	struct fault_os f;
	int r, failed = 0;
	size_t k;

	for (k = 1;; k++) {
		fault_init(&f);
		f.fail_alloc = k;
		r = run_faulty(&f, backend);
		cr_assert(r == 0 || r == -ENOMEM, "%s at %zu",
		    dgram_err_name(r), k);
		failed += r < 0;
		if (f.allocs < k)
			break;
	}
	cr_assert_eq(r, 0);
	cr_assert(failed > 8, "%d", failed);
}

BACKEND_TEST(rights, system_calls)
{
	static const int errors[] = { -EMFILE, -ENOMEM, -EPERM };
	struct fault_os f;
	unsigned k, calls;
	size_t e;
	int call, r;

	for (call = 0; call < FAULT_NCALLS; call++) {
		for (e = 0; e < COUNT(errors); e++) {
			for (calls = 1, k = 1; k <= calls; k++) {
				fault_init(&f);
				fault_at(&f, (enum fault_call)call, k,
				    errors[e]);
				r = run_faulty(&f, backend);
				cr_assert(r == 0 || r == errors[e],
				    "call %d, %u: %s", call, k,
				    dgram_err_name(r));
				cr_assert(call != FAULT_DUP || r < 0 ||
				    k > f.entry[call].calls, "call %u", k);
				calls = f.entry[call].calls;
			}
		}
	}
}

/* In the child of a fork(2) what waits is over, and its duplicates closed. */
BACKEND_TEST(rights, forked)
{
	static struct parcel p;
	struct dgram_datagram d;
	struct tube t;
	int fds, status;
	pid_t child;

	enter(backend, NULL);
	t = tube_open();
	fault_sends(&sc.f, -EAGAIN);
	fds = test_count_fds();
	d = pack(&p, 1, &sc.to, t.in, 5);
	OK(dgram_send_batch(sc.p.s, &d, 1, NULL, NULL));
	turns(sc.l, 2);
	cr_assert_eq(test_count_fds(), fds + 5);
	child = test_fork();
	if (child == 0) {
		if (dgram_loop_fork(sc.l, 0) < 0)
			_exit(1);
		(void)dgram_loop_run_once(sc.l, 0);
		_exit(test_count_fds() == fds ? 0 : 2);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0, "%#x", (unsigned)status);
	fault_sends(&sc.f, 0);
	CHECK(dgram_flush(sc.p.s), 0);
	expect_fds(sc.fd, 1, &t, 5);
	cr_assert_eq(test_count_fds(), fds);
	tube_close(&t);
	leave();
}
