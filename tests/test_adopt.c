/* SPDX-License-Identifier: ISC */

/*
 * Descriptors that somebody else made: taken as they are, or left alone.
 */

#include "sockets.h"

#include <sys/stat.h>

struct scene {
	struct fault_os f;
	struct dgram_loop *l;
	struct peer p;
	struct dgram_addr from, addr;
	int fd, other;		/* a bare peer; what is adopted */
};

static struct scene sc;

static void
enter(const char *backend, int type)
{
	memset(&sc, 0, sizeof(sc));
	fault_init(&sc.f);
	sc.l = fault_loop(&sc.f, backend, NULL);
	sc.fd = bare_socket(type, &sc.from);
	sc.other = bare_socket(type, &sc.addr);
}

static void
leave(void)
{
	free_fault_loop(sc.l, &sc.f);
	close(sc.fd);
}

static int
adopt_wanting(enum dgram_type type, int fd, unsigned want)
{
	struct dgram_options o = { .events = &peer_events, .arg = &sc.p,
	    .want = want };

	memset(&sc.p, 0, sizeof(sc.p));
	sc.p.loop = sc.l;
	o.type = type;
	return CALL(dgram_open_fd(sc.l, &o, fd, &sc.p.s));
}

static int
adopt(enum dgram_type type, int fd)
{
	return adopt_wanting(type, fd, 0);
}

/* A bound one: at once usable, `listening` from the loop. */
BACKEND_TEST(adopt, bound)
{
	struct dgram_addr a;
	int way;

	EACH_TYPE(type) {
		for (way = 0; way < 3; way++) {
			enter(backend, type);
			if (way == 2) {
				peer_open(&sc.p, sc.l, (enum dgram_type)type,
				    NULL);
				OK(dgram_bind_fd(sc.p.s, sc.other));
			} else {
				OK(adopt(way == 0 ? (enum dgram_type)0 :
				    (enum dgram_type)type, sc.other));
			}
			cr_assert_eq(strlen(sc.p.trace), 0);
			CHECK(dgram_fileno(sc.p.s), sc.other);
			OK(dgram_address(sc.p.s, &a));
			cr_assert(dgram_addr_equal(&a, &sc.addr));
			CHECK(dgram_bind_addr(sc.p.s, &a), ALREADY_BOUND);
			CHECK(dgram_remote_address(sc.p.s, &a),
			    NOT_CONNECTED);
			bare_send(sc.fd, &sc.addr, 1);
			RUN_UNTIL(sc.l, sc.p.got == 1);
			turns(sc.l, 3);
			cr_assert_eq(sc.p.n[EV_LISTENING], 1);
			cr_assert_eq(sc.p.n[EV_CONNECT], 0);
			OK(send_done(&sc.p, 2, &sc.from));
			RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
			cr_assert_eq(bare_recv(sc.fd), 2);
			/* It can be connected, too. */
			OK(dgram_connect_addr(sc.p.s, &sc.from));
			OK(send_copy(&sc.p, 3, NULL));
			OK(dgram_close(sc.p.s, NULL, NULL));
			cr_assert(fcntl(sc.other, F_GETFD) < 0, "not closed");
			cr_assert_eq(bare_recv(sc.fd), 3);
			leave();
		}
	}
}

/* One that is not bound: by bind or send, as any other. */
BACKEND_TEST(adopt, unbound)
{
	struct dgram_addr a;
	int fd, way;

	EACH_TYPE(type) {
		for (way = 0; way < 2; way++) {
			enter(backend, type);
			fd = socket(sc.from.u.sa.sa_family, SOCK_DGRAM, 0);
			OK(adopt((enum dgram_type)0, fd));
			cr_assert_eq((int)sc.p.s->type, type);
			turns(sc.l, 3);
			cr_assert_eq(sc.p.n[EV_LISTENING], 0);
			CHECK(dgram_bind_fd(sc.p.s, sc.other),
			    type == DGRAM_UNIX ? ALREADY_BOUND : -EBUSY);
			if (way == 0) {
				CHECK(dgram_bind_addr(sc.p.s, &sc.from),
				    -EADDRINUSE);
				a = any_addr(type);
				OK(dgram_bind_addr(sc.p.s, &a));
				OK(dgram_address(sc.p.s, &a));
				bare_send(sc.fd, &a, 1);
				RUN_UNTIL(sc.l, sc.p.got == 1);
				cr_assert_eq(sc.p.n[EV_LISTENING], 1);
			}
			OK(send_copy(&sc.p, 2, &sc.from));
			turns(sc.l, 3);
			cr_assert_eq(bare_recv(sc.fd), 2);
			CHECK(dgram_fileno(sc.p.s), fd);
			leave();
			cr_assert(fcntl(fd, F_GETFD) < 0);
			close(sc.other);
		}
	}
}

/* A connected one that Node believes to be unconnected. */
BACKEND_TEST(adopt, connected)
{
	struct dgram_addr a;

	EACH_TYPE(type) {
		enter(backend, type);
		cr_assert_eq(connect(sc.other, &sc.from.u.sa, sc.from.len),
		    0);
		OK(adopt((enum dgram_type)0, sc.other));
		OK(dgram_remote_address(sc.p.s, &a));
		cr_assert(dgram_addr_equal(&a, &sc.from));
		CHECK(send_copy(&sc.p, 1, &sc.from), IS_CONNECTED);
		CHECK(dgram_connect_addr(sc.p.s, &sc.from), IS_CONNECTED);
		OK(send_copy(&sc.p, 1, NULL));
		turns(sc.l, 3);
		cr_assert_eq(bare_recv(sc.fd), 1);
		bare_send(sc.fd, &sc.addr, 2);
		RUN_UNTIL(sc.l, sc.p.got == 1);
		OK(dgram_disconnect(sc.p.s));
		OK(send_copy(&sc.p, 3, &sc.from));
		turns(sc.l, 3);
		cr_assert_eq(bare_recv(sc.fd), 3);
		leave();
	}
}

/* Two without names that are each other's peers. */
BACKEND_TEST(adopt, socketpair)
{
	static struct peer q;
	struct dgram_options o = { .events = &peer_events, .arg = &q };
	struct dgram_addr a;
	int fd[2];

	enter(backend, DGRAM_UNIX);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
	OK(adopt(DGRAM_UNIX, fd[0]));
	memset(&q, 0, sizeof(q));
	OK(dgram_open_fd(sc.l, &o, fd[1], &q.s));
	OK(dgram_address(sc.p.s, &a));
	cr_assert_eq(a.len, 0);
	OK(dgram_remote_address(sc.p.s, &a));
	cr_assert_eq(a.len, 0);
	OK(send_done(&sc.p, 1, NULL));
	OK(send_done(&q, 2, NULL));
	RUN_UNTIL(sc.l, sc.p.got == 1 && q.got == 1);
	cr_assert_eq(sc.p.seq[0], 2);
	cr_assert_eq(q.seq[0], 1);
	cr_assert_eq(q.from.len, 0);
	/* An empty one is not the end, the close of the other is no event. */
	OK(dgram_send_addr(q.s, NULL, 0, NULL, NULL, NULL));
	RUN_UNTIL(sc.l, sc.p.got == 2);
	OK(dgram_close(q.s, NULL, NULL));
	turns(sc.l, 5);
	cr_assert_eq(sc.p.n[EV_CLOSE], 0);
	OK(send_done(&sc.p, 1, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 2);
	cr_assert(sc.p.done[1] == -ECONNREFUSED ||
	    sc.p.done[1] == -ENOTCONN || sc.p.done[1] == -ECONNRESET ||
	    sc.p.done[1] == -EDESTADDRREQ);
	close(sc.other);
	leave();
}

/* A replier on a socketpair: no address to reply to, but a peer. */
BACKEND_TEST(adopt, abstract)
{
#if DGI_HAVE_ABSTRACT
	struct dgram_addr name, a;
	char text[32];
	int fd;

	enter(backend, DGRAM_UNIX);
	snprintf(text, sizeof(text), "dgt%c%ld", '\0', (long)getpid());
	OK(dgram_addr_abstract(&name, text, 12));
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	cr_assert_eq(bind(fd, &name.u.sa, name.len), 0);
	OK(adopt(DGRAM_UNIX, fd));
	OK(dgram_address(sc.p.s, &a));
	cr_assert(dgram_addr_equal(&a, &name));
	bare_send(sc.fd, &name, 1);
	RUN_UNTIL(sc.l, sc.p.got == 1);
	close(sc.other);
	leave();
#else
	(void)backend;
	cr_skip_test("no abstract names on this system");
#endif
}

/* Flags and options of a descriptor that changed by being adopted. */
BACKEND_TEST(adopt, nothing_is_set)
{
	struct dgram_options o = { .type = DGRAM_UDP4,
	    .events = &peer_events, .arg = &sc.p };
	int flags;

	EACH_TYPE(type) {
		enter(backend, type);
		flags = fcntl(sc.other, F_GETFL);
		cr_assert_eq(flags & O_NONBLOCK, 0);
		o.type = (enum dgram_type)type;
		o.reuse_addr = type != DGRAM_UNIX;
		OK(dgram_open_fd(sc.l, &o, sc.other, &sc.p.s));
		cr_assert_eq(fcntl(sc.other, F_GETFL), flags);
		cr_assert_eq(sc.f.entry[FAULT_SETSOCKOPT].calls, 0);
		leave();
	}
}

/* Buffers that were asked for and are not there: as Node, its test bind-fd. */
BACKEND_TEST(adopt, buffers)
{
	const struct dgram_options o = { .recv_buffer_size = 30000,
		.send_buffer_size = 20000, .events = &peer_events,
		.arg = &sc.p };
	const int times = ON_LINUX ? 2 : 1;

	EACH_TYPE(type) {
		enter(backend, type);
		OK(dgram_open_fd(sc.l, &o, sc.other, &sc.p.s));
		CHECK(dgram_get_recv_buffer_size(sc.p.s), 30000 * times);
		CHECK(dgram_get_send_buffer_size(sc.p.s), 20000 * times);
		leave();
		/* Refused: not adopted. */
		enter(backend, type);
		fault_always(&sc.f, FAULT_SETSOCKOPT, -EPERM);
		CHECK(dgram_open_fd(sc.l, &o, sc.other, &sc.p.s), -EPERM);
		sc.p.s = NULL;
		close(sc.other);
		leave();
	}
}

/* A blocking descriptor that blocks the loop: reading, or sending when full. */
BACKEND_TEST(adopt, blocking)
{
	int i;

	enter(backend, DGRAM_UNIX);
	OK(adopt(DGRAM_UNIX, sc.other));
	for (i = 0; i < 30; i++)
		OK(send_done(&sc.p, (uint32_t)i, &sc.from));
	turns(sc.l, 3);
	cr_assert(dgram_get_send_queue_count(sc.p.s) > 0);
	bare_send(sc.fd, &sc.addr, 1);
	RUN_UNTIL(sc.l, sc.p.got == 1);
	turns(sc.l, 3);
	/* A report without a datagram. */
	cr_assert_eq(fcntl(sc.other, F_GETFL) & O_NONBLOCK, 0);
	OK(dgram_close(sc.p.s, NULL, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
	cr_assert_eq(sc.p.n[EV_DONE], 30);
	leave();
}

/* A path that the socket did not make, and removes. */
BACKEND_TEST(adopt, path_survives)
{
	struct stat st;

	enter(backend, DGRAM_UNIX);
	OK(adopt(DGRAM_UNIX, sc.other));
	OK(dgram_close(sc.p.s, NULL, NULL));
	turns(sc.l, 3);
	cr_assert_eq(lstat(sc.addr.u.un.sun_path, &st), 0);
	leave();
}

/* ---- refusals ---- */

/* A wrong descriptor that is taken, closed or changed. */
BACKEND_TEST(adopt, refused)
{
	static struct peer q;
	struct dgram_watch w;
	char path[128];
	int bad[5], pipes[2], flags, fds;
	size_t i, pieces;

	enter(backend, DGRAM_UDP4);
	snprintf(path, sizeof(path), "%s", fresh_path());
	bad[0] = open(path, O_RDWR | O_CREAT, 0600);
	bad[1] = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(pipe(pipes), 0);
	bad[2] = pipes[0];
	bad[3] = socket(AF_UNIX, SOCK_STREAM, 0);
	bad[4] = open("/dev/null", O_RDWR);
	peer_open(&q, sc.l, DGRAM_UDP4, NULL);
	turns(sc.l, 3);
	pieces = sc.f.pieces;
	fds = test_count_fds();
	for (i = 0; i < COUNT(bad); i++) {
		flags = fcntl(bad[i], F_GETFL);
		CHECK(adopt((enum dgram_type)0, bad[i]),
		    DGRAM_ERR_INVALID_FD_TYPE);
		CHECK(adopt(DGRAM_UDP4, bad[i]), DGRAM_ERR_INVALID_FD_TYPE);
		CHECK(dgram_bind_fd(q.s, bad[i]), DGRAM_ERR_INVALID_FD_TYPE);
		cr_assert_eq(fcntl(bad[i], F_GETFL), flags);
		close(bad[i]);
		fds--;
	}
	CHECK(adopt((enum dgram_type)0, -1), -EBADF);
	CHECK(adopt((enum dgram_type)0, INT_MIN), -EBADF);
	CHECK(adopt((enum dgram_type)0, bad[0]), -EBADF);
	CHECK(dgram_bind_fd(q.s, bad[0]), -EBADF);
	CHECK(dgram_bind_fd(q.s, -1), -EBADF);
	/* Of another type. */
	CHECK(adopt(DGRAM_UDP6, sc.other), DGRAM_ERR_INVALID_FD_TYPE);
	CHECK(adopt(DGRAM_UNIX, sc.other), DGRAM_ERR_INVALID_FD_TYPE);
	CHECK(adopt((enum dgram_type)7, sc.other),
	    DGRAM_ERR_SOCKET_BAD_TYPE);
	/* Watched by this loop already, or a socket of it. */
	dgram_watch_init(&w, sc.l, sc.other, NULL, NULL);
	w.fn = (dgram_watch_fn *)NULL;
	OK(dgram_bind_fd(q.s, sc.other));
	CHECK(adopt((enum dgram_type)0, sc.other), -EEXIST);
	OK(dgram_pause(q.s));
	turns(sc.l, 3);
	CHECK(adopt((enum dgram_type)0, sc.other), -EEXIST);
	CHECK(dgram_bind_fd(q.s, sc.fd), ALREADY_BOUND);
	cr_assert_eq(test_count_fds(), fds);
	cr_assert(sc.f.pieces <= pieces + 16);
	/* And the one that has it works on. */
	OK(dgram_resume(q.s));
	bare_send(sc.fd, &sc.addr, 1);
	RUN_UNTIL(sc.l, q.got == 1);
	close(pipes[1]);
	leave();
}

static void
on_watch(struct dgram_watch *w, unsigned events, void *arg)
{
	(void)w, (void)events, (void)arg;
}

/* A member of the loop that is no socket, with the number where one has it. */
BACKEND_TEST(adopt, beside_another_member)
{
	static const struct dgi_member_ops ops;
	struct dgram_socket stranger = { .fd = -1 };

	enter(backend, DGRAM_UDP4);
	dgi_member_init(sc.l, &stranger.member, &ops);
	stranger.fd = sc.other;
	OK(adopt((enum dgram_type)0, sc.other));
	dgi_list_remove(&stranger.member.all);
	leave();
}

BACKEND_TEST(adopt, watched)
{
	struct dgram_watch w;

	enter(backend, DGRAM_UDP4);
	dgram_watch_init(&w, sc.l, sc.other, on_watch, NULL);
	OK(dgram_watch_start(&w, DGRAM_READABLE));
	CHECK(adopt((enum dgram_type)0, sc.other), -EEXIST);
	dgram_watch_stop(&w);
	OK(adopt((enum dgram_type)0, sc.other));
	/* The other way round. */
	CHECK(dgram_watch_start(&w, DGRAM_READABLE), -EEXIST);
	leave();
}

/* Each failure on the way: the descriptor is the caller's, open and usable. */
BACKEND_TEST(adopt, failure_leaves_the_descriptor)
{
	static const enum fault_call calls[] = { FAULT_GETSOCKOPT,
	    FAULT_GETSOCKNAME };
	struct dgram_addr a = { .len = 0 };
	size_t i, k;
	int r;

	EACH_TYPE(type) {
		for (i = 0; i < COUNT(calls); i++) {
			enter(backend, type);
			fault_at(&sc.f, calls[i], 1, -ENOMEM);
			CHECK(adopt((enum dgram_type)0, sc.other), -ENOMEM);
			bare_send(sc.fd, &sc.addr, 1);
			cr_assert_eq(bare_recv(sc.other), 1);
			OK(adopt((enum dgram_type)0, sc.other));
			leave();
		}
		for (k = 1;; k++) {
			enter(backend, type);
			sc.f.fail_alloc = sc.f.allocs + k;
			r = adopt((enum dgram_type)0, sc.other);
			sc.f.fail_alloc = 0;
			if (r == 0) {
				leave();
				break;
			}
			cr_assert_eq(r, -ENOMEM);
			bare_send(sc.fd, &sc.addr, 1);
			cr_assert_eq(bare_recv(sc.other), 1);
			OK(adopt((enum dgram_type)0, sc.other));
			OK(dgram_address(sc.p.s, &a));
			bare_send(sc.fd, &sc.addr, 2);
			RUN_UNTIL(sc.l, sc.p.got == 1);
			leave();
		}
		cr_assert(k > 1, "no allocation was made");
	}
}

/* ---- shut down by somebody else ---- */

static void
check_shut(int how, bool reading)
{
	uint64_t waits;
	int64_t begin;

	shutdown(sc.other, how);
	waits = sc.l->waits;
	begin = clock_ms();
	while (clock_ms() < begin + 40)
		turn_wait(sc.l, 40);
	cr_assert(sc.l->waits - waits <= 10, "%lu waits, type %d, how %d, %s",
	    (unsigned long)(sc.l->waits - waits), (int)sc.p.s->type, how,
	    reading ? "reading" : "deaf");
	if (reading && how != SHUT_WR) {
		cr_assert_eq(sc.p.n[EV_ERROR], 1, "%d errors",
		    sc.p.n[EV_ERROR]);
		cr_assert_eq(sc.p.status[0], -ESHUTDOWN);
		cr_assert_eq(sc.p.kind[0], DGRAM_IN_RECEIVE);
	} else {
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
	}
	cr_assert_eq(sc.p.n[EV_MESSAGE], 0);
	cr_assert_eq(sc.p.n[EV_CLOSE], 0);
}

/* CVE-2021-3468: a hang-up that is handled for ever, or never. */
BACKEND_TEST(adopt, shut_down)
{
	static const int hows[] = { SHUT_RD, SHUT_RDWR, SHUT_WR };
	int way, connected;
	size_t i;

	/* Reading, deaf, reading without names. */
	EACH_TYPE(type) {
		for (i = 0; i < COUNT(hows); i++) {
			for (way = 0; way < 3; way++) {
				for (connected = 0; connected < 2;
				    connected++) {
					enter(backend, type);
					if (connected)
						cr_assert_eq(connect(sc.other,
						    &sc.from.u.sa,
						    sc.from.len), 0);
					OK(adopt_wanting((enum dgram_type)0,
					    sc.other, way == 2 ?
					    DGRAM_NO_REMOTE : 0));
					if (way == 1)
						OK(dgram_set_events(sc.p.s,
						    &peer_deaf, &sc.p));
					turns(sc.l, 3);
					check_shut(hows[i], way != 1);
					leave();
				}
			}
		}
	}
}

/* No bytes and no name, for none is asked for: still no end. */
BACKEND_TEST(adopt, empty_datagrams_without_names)
{
	int i;

	EACH_TYPE(type) {
		enter(backend, type);
		OK(adopt_wanting((enum dgram_type)0, sc.other,
		    DGRAM_NO_REMOTE));
		turns(sc.l, 3);
		for (i = 0; i < 8; i++)
			cr_assert_eq(sendto(sc.fd, "", 0, 0, &sc.addr.u.sa,
			    sc.addr.len), 0);
		RUN_UNTIL(sc.l, sc.p.got == 8);
		turns(sc.l, 3);
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		leave();
	}
}

/* What came before the end is delivered first. */
BACKEND_TEST(adopt, shut_down_with_datagrams)
{
	int i;

	EACH_TYPE(type) {
		enter(backend, type);
		cr_assert_eq(connect(sc.other, &sc.from.u.sa, sc.from.len),
		    0);
		OK(adopt((enum dgram_type)0, sc.other));
		turns(sc.l, 3);
		for (i = 1; i <= 5; i++)
			bare_send(sc.fd, &sc.addr, (uint32_t)i);
		shutdown(sc.other, SHUT_RD);
		RUN_UNTIL(sc.l, sc.p.n[EV_ERROR] == 1);
		/* BSDs throw away what has not been read. */
		cr_assert(sc.p.got == 5 || (!ON_LINUX && sc.p.got == 0));
		for (i = 0; i < (int)sc.p.got; i++)
			cr_assert_eq(sc.p.sizes[i], 4);
		cr_assert_eq(sc.p.status[0], -ESHUTDOWN);
		turns(sc.l, 5);
		cr_assert_eq(sc.p.n[EV_ERROR], 1);
		leave();
	}
}

/* The same while nobody reads: what came is for who resumes, and the end too. */
BACKEND_TEST(adopt, shut_down_while_paused)
{
	int i;

	enter(backend, DGRAM_UDP4);
	cr_assert_eq(connect(sc.other, &sc.from.u.sa, sc.from.len), 0);
	OK(adopt((enum dgram_type)0, sc.other));
	turns(sc.l, 3);
	OK(dgram_pause(sc.p.s));
	for (i = 1; i <= 3; i++)
		bare_send(sc.fd, &sc.addr, (uint32_t)i);
	shutdown(sc.other, SHUT_RDWR);
	turns(sc.l, 5);
	cr_assert_eq(sc.p.got, 0);
	OK(dgram_resume(sc.p.s));
	RUN_UNTIL(sc.l, sc.p.n[EV_ERROR] == 1);
	cr_assert(sc.p.got == 3 || (!ON_LINUX && sc.p.got == 0));
	cr_assert_eq(sc.p.status[0], -ESHUTDOWN);
	leave();
}

static void
send_on_it(struct dgram_watch *w, unsigned events, void *arg)
{
	struct iovec iov = { arg, 1 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1 };

	(void)events;
	dgram_watch_stop(w);
	/* Takes the pending error off the socket before it is looked at. */
	CHECK(dgram_try_send(sc.p.s, &d, 1), -ECONNRESET);
}

/*
 * An error was reported of an AF_UNIX socket and is gone by the time that it is
 * looked at: there MSG_ERRQUEUE, which it does not know, takes datagrams.
 */
BACKEND_TEST(adopt, error_that_is_gone)
{
	struct dgram_watch w;
	struct dgram_addr none = { 0 };
	static char byte[1];
	int pipes[2], i;

	if (!ON_LINUX)
		cr_skip_test("no such error on this system");
	enter(backend, DGRAM_UNIX);
	cr_assert_eq(connect(sc.other, &sc.from.u.sa, sc.from.len), 0);
	cr_assert_eq(connect(sc.fd, &sc.addr.u.sa, sc.addr.len), 0);
	OK(adopt((enum dgram_type)0, sc.other));
	turns(sc.l, 3);
	OK(dgram_pause(sc.p.s));
	turns(sc.l, 1);
	cr_assert_eq(pipe(pipes), 0);
	cr_assert_eq(write(pipes[1], "x", 1), 1);
	dgram_watch_init(&w, sc.l, pipes[0], send_on_it, byte);
	OK(dgram_watch_start(&w, DGRAM_READABLE));
	/* One that the peer has not read, and away: the error. */
	cr_assert_eq(send(sc.other, "u", 1, 0), 1);
	for (i = 1; i <= 5; i++)
		cr_assert_eq(send(sc.fd, &i, 4, 0), 4);
	none.u.sa.sa_family = AF_UNSPEC;
	cr_assert_eq(connect(sc.fd, &none.u.sa, sizeof(none.u.sa)), 0);
	OK(dgram_resume(sc.p.s));
	RUN_UNTIL(sc.l, sc.p.got == 5);
	cr_assert_eq(stats_of(&sc.p).received, 5);
	close(pipes[0]);
	close(pipes[1]);
	leave();
}
