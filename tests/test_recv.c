/* SPDX-License-Identifier: ISC */

/*
 * Receiving: how many system calls it takes, who gets his turn, what is told of
 * each datagram, and what stays in the kernel when the user has had enough.
 */

#include "scene.h"

static void
enter(const char *backend, int type, const struct dgram_options *o)
{
	scene_enter(backend, type, NULL, o);
}

static void
send_numbers(uint32_t first, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		bare_send(sc.fd, &sc.p.addr, first + i);
}

static void
check_order(size_t n)
{
	size_t i;

	cr_assert_eq(sc.p.got, n);
	for (i = 0; i < n; i++)
		MUST(sc.p.seq[i] == i + 1, "%u at %zu", sc.p.seq[i], i);
}

/* ---- system calls ---- */

/* A second call to learn that there is nothing more. */
BACKEND_TEST(recv, quiet_socket)
{
	unsigned calls;
	int i;

	EACH_TYPE(type) {
		enter(backend, type, NULL);
		calls = fault_count_receives(&sc.f);
		for (i = 1; i <= 10; i++) {
			send_numbers((uint32_t)i, 1);
			RUN_UNTIL(sc.l, sc.p.got == (size_t)i);
			turns(sc.l, 5);
		}
		cr_assert_eq(fault_count_receives(&sc.f) - calls, 10);
		cr_assert_eq(sc.f.entry[FAULT_READ_ONE(type)].calls, 10);
		cr_assert_eq(stats_of(&sc.p).receive_calls, 10);
		check_order(10);
		leave();
	}
}

/* One call per datagram where a batch is there: the target of DESIGN 5. */
BACKEND_TEST(recv, drain)
{
	struct dgram_options o = { .recv_buffer_size = ROOM };
	enum { N = ROOM_COUNT, MOST = (N + 31) / 32 + (N + 63) / 64 + 4 };
	uint64_t waits;
	unsigned calls;

	if (!test_has("recvmmsg"))
		cr_skip_test("no recvmmsg");
	enter(backend, DGRAM_UDP4, &o);
	send_numbers(1, N);
	waits = sc.l->waits;
	calls = fault_count_receives(&sc.f);
	RUN_UNTIL(sc.l, sc.p.got == N);
	waits = sc.l->waits - waits;
	calls = fault_count_receives(&sc.f) - calls;
	cr_assert(waits + calls <= MOST, "%lu waits and %u calls",
	    (unsigned long)waits, calls);
	cr_assert(sc.p.largest == 32);
	check_order(N);
	turns(sc.l, 5);
	leave();
}

/* A budget that is not kept, or a datagram that it loses. */
BACKEND_TEST(recv, budget)
{
	struct dgram_options o = { .recv_buffer_size = ROOM };
	struct dgram_loop_options lo = { .batch = 8, .budget = 20 };
	enum { N = 200 };
	size_t before;

	memset(&sc, 0, sizeof(sc));
	fault_init(&sc.f);
	sc.l = fault_loop(&sc.f, backend, &lo);
	sc.fd = bare_socket(DGRAM_UDP4, &sc.to);
	peer_open_bound(&sc.p, sc.l, DGRAM_UDP4, &o);
	turns(sc.l, 5);
	send_numbers(1, N);
	while (sc.p.got < N) {
		before = sc.p.got;
		turn_wait(sc.l, 100);
		cr_assert(sc.p.got - before <= 20, "%zu in a turn",
		    sc.p.got - before);
	}
	check_order(N);
	cr_assert(sc.p.largest <= 8);
	cr_assert(stats_of(&sc.p).budget_used_up >= N / 30);
	leave();
}

static struct peer quiet;
static size_t busy_before;

static void
on_quiet(struct peer *p, enum event e, const struct dgram_message *m, size_t n)
{
	(void)p, (void)m, (void)n;
	if (e == EV_MESSAGE)
		busy_before = sc.p.got;
}

/* A busy socket behind which a quiet one waits for its turn. */
BACKEND_TEST(recv, fairness)
{
	struct dgram_options o = { .recv_buffer_size = ROOM };
	enum { N = ROOM_COUNT };
	size_t before;

	enter(backend, DGRAM_UDP4, &o);
	peer_open_bound(&quiet, sc.l, DGRAM_UDP4, NULL);
	quiet.hook = on_quiet;
	turns(sc.l, 5);
	send_numbers(1, N);
	RUN_UNTIL(sc.l, sc.p.got > 100);
	before = sc.p.got;
	bare_send(sc.fd, &quiet.addr, 1);
	RUN_UNTIL(sc.l, quiet.got == 1);
	cr_assert(busy_before - before <= 64, "%zu came first",
	    busy_before - before);
	RUN_UNTIL(sc.l, sc.p.got == N);
	check_order(N);
	leave();
}

/* ---- messages_per_call ---- */

static int stop_after, stop_how;
static unsigned calls_then;		/* receives, when it was stopped */

static void
stop_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e != EV_MESSAGE || p->n[EV_MESSAGE] != stop_after)
		return;
	calls_then = fault_count_receives(&sc.f);
	if (stop_how == 0)
		OK(dgram_pause(p->s));
	else if (stop_how == 1)
		OK(dgram_close(p->s, NULL, NULL));
	else
		OK(dgram_set_events(p->s, &peer_deaf, p));
}

/* Messages behind a pause or close, or lost by it. */
BACKEND_TEST(recv, messages_per_call)
{
	static const unsigned most[] = { 1, 3 };
	struct dgram_options o = { 0 };
	size_t i, at;

	for (i = 0; i < COUNT(most); i++) {
		for (stop_how = 0; stop_how < 3; stop_how++) {
			for (stop_after = 1; stop_after < 12; stop_after++) {
				o.messages_per_call = most[i];
				enter(backend, DGRAM_UDP4, &o);
				sc.p.hook = stop_hook;
				send_numbers(1, 60);
				RUN_UNTIL(sc.l, sc.p.n[EV_MESSAGE] ==
				    stop_after);
				at = sc.p.got;
				cr_assert(at <= (size_t)stop_after *
				    most[i]);
				turns(sc.l, 5);
				cr_assert_eq(sc.p.got, at,
				    "%zu after the stop", sc.p.got - at);
				cr_assert_eq(fault_count_receives(&sc.f),
				    calls_then, "read after the stop");
				if (stop_how == 1) {
					cr_assert_eq(sc.p.n[EV_CLOSE], 1);
					leave();
					continue;
				}
				OK(dgram_resume(sc.p.s));
				OK(dgram_set_events(sc.p.s, &peer_events,
				    &sc.p));
				RUN_UNTIL(sc.l, sc.p.got == 60);
				check_order(60);
				cr_assert(sc.p.largest <= most[i]);
				leave();
			}
		}
	}
}

/* Without a limit the same, callback by callback. */
BACKEND_TEST(recv, stop_in_a_batch)
{
	struct dgram_options o = { .recv_buffer_size = ROOM };
	size_t at;

	for (stop_how = 0; stop_how < 3; stop_how++) {
		for (stop_after = 1; stop_after <= 4; stop_after++) {
			enter(backend, DGRAM_UDP4, &o);
			sc.p.hook = stop_hook;
			send_numbers(1, 150);
			RUN_UNTIL(sc.l, sc.p.n[EV_MESSAGE] == stop_after);
			at = sc.p.got;
			turns(sc.l, 5);
			cr_assert_eq(sc.p.got, at);
			cr_assert_eq(fault_count_receives(&sc.f), calls_then);
			if (stop_how != 1) {
				OK(dgram_resume(sc.p.s));
				OK(dgram_set_events(sc.p.s, &peer_events,
				    &sc.p));
				RUN_UNTIL(sc.l, sc.p.got == 150);
				check_order(150);
			}
			leave();
		}
	}
}

/* A pause that reads on, or a resume that forgets what is there. */
BACKEND_TEST(recv, pause)
{
	unsigned calls;

	EACH_TYPE(type) {
		enter(backend, type, NULL);
		OK(dgram_pause(sc.p.s));
		OK(dgram_pause(sc.p.s));
		send_numbers(1, 5);
		calls = fault_count_receives(&sc.f);
		turns(sc.l, 5);
		cr_assert_eq(sc.p.got, 0);
		cr_assert_eq(fault_count_receives(&sc.f), calls);
		OK(dgram_resume(sc.p.s));
		RUN_UNTIL(sc.l, sc.p.got == 5);
		check_order(5);
		leave();
	}
}

/* Paused before the bind. */
BACKEND_TEST(recv, pause_before_bind)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a;
	int fd = bare_socket(DGRAM_UDP4, &a);

	peer_open(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_pause(p.s));
	peer_bind(&p);
	bare_send(fd, &p.addr, 1);
	turns(l, 5);
	cr_assert_eq(p.got, 0);
	cr_assert_eq(p.n[EV_LISTENING], 1);
	OK(dgram_resume(p.s));
	RUN_UNTIL(l, p.got == 1);
	free_loop(l);
	close(fd);
}

/* ---- what is told ---- */

static char *large;

static void
send_large(size_t n)
{
	uint32_t seq = 1;

	memcpy(large, &seq, sizeof(seq));
	cr_assert_eq(sendto(sc.fd, large, n, 0, &sc.p.addr.u.sa,
	    sc.p.addr.len), (ssize_t)n, "%zu: %s", n, strerror(errno));
}

static bool content_ok;

static void
content_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	(void)p;
	if (e != EV_MESSAGE)
		return;
	for (i = 0; i < n; i++)
		content_ok = content_ok &&
		    memcmp(m[i].data, large, m[i].size) == 0;
}

/* A cut that is not told, or told where there is none (B5). */
BACKEND_TEST(recv, truncation)
{
	static const size_t most[] = { 1, 64, 100, 1000, 60000 };
	struct dgram_options o = { .recv_buffer_size = 1 << 20 };
	struct dgram_stats st;
	size_t i, k, sizes[5], cut;
	int batch, room = ON_LINUX ? 1 << 20 : 200000;

	large = malloc(65536);
	for (i = 0; i < 65536; i++)
		large[i] = (char)(i * 31 + i / 256);
	EACH_TYPE(type) {
		for (i = 0; i < COUNT(most) * 2; i++) {
			batch = i % 2;
			/* All of them at once have no room. */
			if (!ON_LINUX && batch && most[i / 2] > 1000)
				continue;
			o.max_datagram = most[i / 2];
			sizes[0] = most[i / 2] - 1;
			sizes[1] = most[i / 2];
			sizes[2] = most[i / 2] + 1;
			sizes[3] = 65507;
			sizes[4] = most[i / 2] / 2;
			enter(backend, type, &o);
			setsockopt(sc.fd, SOL_SOCKET, SO_SNDBUF, &room,
			    sizeof(room));
			content_ok = true;
			sc.p.hook = content_hook;
			cut = 0;
			for (k = 0; k < COUNT(sizes); k++) {
				send_large(sizes[k]);
				cut += sizes[k] > most[i / 2];
				if (!batch)
					RUN_UNTIL(sc.l, sc.p.got == k + 1);
			}
			RUN_UNTIL(sc.l, sc.p.got == COUNT(sizes));
			for (k = 0; k < COUNT(sizes); k++) {
				bool is_cut = sizes[k] > most[i / 2];

				cr_assert_eq(sc.p.sizes[k], is_cut ?
				    most[i / 2] : sizes[k]);
				cr_assert_eq(sc.p.wire[k],
				    is_cut && !DGI_HAVE_TRUE_LENGTH ? 0 :
				    sizes[k]);
				cr_assert_eq(sc.p.flags[k],
				    is_cut ? DGRAM_TRUNCATED : 0);
			}
			cr_assert(content_ok);
			st = stats_of(&sc.p);
			cr_assert_eq(st.truncated, cut);
			cr_assert_eq(st.received, COUNT(sizes));
			cr_assert_eq(st.received_bytes, sc.p.bytes);
			leave();
		}
	}
	free(large);
}

static bool remote_ok;

static void
remote_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	if (e != EV_MESSAGE)
		return;
	for (i = 0; i < n; i++) {
		if (p->arg == NULL)
			remote_ok = remote_ok && m[i].remote == NULL;
		else
			remote_ok = remote_ok && m[i].remote != NULL &&
			    dgram_addr_equal(m[i].remote, p->arg);
	}
}

/* The sender of another datagram, or one that was not asked for. */
BACKEND_TEST(recv, sender)
{
	struct dgram_options o = { .want = 0 };
	int named;

	EACH_TYPE(type) {
		for (named = 0; named < 2; named++) {
			o.want = named ? 0 : DGRAM_NO_REMOTE;
			enter(backend, type, &o);
			sc.p.hook = remote_hook;
			sc.p.arg = named ? &sc.to : NULL;
			remote_ok = true;
			send_numbers(1, 1);
			RUN_UNTIL(sc.l, sc.p.got == 1);
			send_numbers(2, 8);
			RUN_UNTIL(sc.l, sc.p.got == 9);
			/* An empty one, too, is not the end. */
			cr_assert_eq(sendto(sc.fd, "", 0, 0,
			    &sc.p.addr.u.sa, sc.p.addr.len), 0);
			RUN_UNTIL(sc.l, sc.p.got == 10);
			cr_assert(remote_ok);
			cr_assert_eq(sc.p.n[EV_ERROR], 0);
			leave();
		}
	}
}

/* Unnamed AF_UNIX senders between named ones: 0, never the last one's. */
BACKEND_TEST(recv, unnamed_sender)
{
	struct dgram_addr none = { .len = 0 };
	int fd, i, k, n = 0;

	enter(backend, DGRAM_UNIX, NULL);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	for (i = 1; i <= 8; i++) {
		for (k = 0; k < i; k++) {
			send_numbers(1, 1);
			n++;
			if (k == i / 2)
				break;
		}
		RUN_UNTIL(sc.l, sc.p.got == (size_t)n);
		cr_assert(dgram_addr_equal(&sc.p.from, &sc.to));
		bare_send(fd, &sc.p.addr, 2);
		n++;
		RUN_UNTIL(sc.l, sc.p.got == (size_t)n);
		cr_assert_eq(sc.p.from.len, 0);
		cr_assert(dgram_addr_equal(&sc.p.from, &none));
	}
	/* Empty and unnamed is a datagram. */
	cr_assert_eq(sendto(fd, "", 0, 0, &sc.p.addr.u.sa, sc.p.addr.len), 0);
	RUN_UNTIL(sc.l, sc.p.got == (size_t)n + 1);
	cr_assert_eq(sc.p.sizes[n], 0);
	cr_assert_eq(sc.p.n[EV_ERROR], 0);
	close(fd);
	leave();
}

/* ---- errors ---- */

/* A report with nothing behind it, as after a bad checksum: silence. */
BACKEND_TEST(recv, eagain_is_silent)
{
	int i;

	EACH_TYPE(type) {
		enter(backend, type, NULL);
		for (i = 0; i < 3; i++) {
			fault_at(&sc.f, FAULT_READ_ONE(type), 1, -EAGAIN);
			send_numbers((uint32_t)i + 1, 1);
			RUN_UNTIL(sc.l, sc.p.got == (size_t)i + 1);
		}
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		check_order(3);
		leave();
	}
}

/* An error in the middle of a batch, or instead of one. */
BACKEND_TEST(recv, error_in_a_batch)
{
	struct dgram_options o = { .recv_buffer_size = ROOM };
	int emulated;

	for (emulated = !test_has("recvmmsg"); emulated < 2; emulated++) {
		enter(backend, DGRAM_UDP4, &o);
		if (emulated)
			fault_always(&sc.f, FAULT_RECVMMSG, -ENOSYS);
		send_numbers(1, 100);
		RUN_UNTIL(sc.l, sc.p.got > 1);
		if (emulated)
			fault_at(&sc.f, FAULT_RECVMSG, 5, -EIO);
		else
			fault_at(&sc.f, FAULT_RECVMMSG, 1, -EIO);
		RUN_UNTIL(sc.l, sc.p.got == 100);
		cr_assert_eq(sc.p.n[EV_ERROR], 1);
		cr_assert_eq(sc.p.status[0], -EIO);
		cr_assert_eq(sc.p.kind[0], DGRAM_IN_RECEIVE);
		check_order(100);
		leave();
	}
}

/* An error that stays: told once, and it must not spin. */
BACKEND_TEST(recv, error_that_stays)
{
	uint64_t waits;
	int64_t begin;

	EACH_TYPE(type) {
		enter(backend, type, NULL);
		fault_receives(&sc.f, -ENOMEM);
		send_numbers(1, 3);
		RUN_UNTIL(sc.l, sc.p.n[EV_ERROR] == 1);
		waits = sc.l->waits;
		begin = clock_ms();
		while (clock_ms() < begin + 400)
			turn_wait(sc.l, 400);
		cr_assert(sc.l->waits - waits <= 24, "%lu waits",
		    (unsigned long)(sc.l->waits - waits));
		cr_assert_eq(sc.p.n[EV_ERROR], 1);
		fault_receives(&sc.f, 0);
		RUN_UNTIL(sc.l, sc.p.got == 3);
		check_order(3);
		/* After a datagram it is news again. */
		fault_at(&sc.f, FAULT_RECVFROM, 1, -ENOMEM);
		fault_at(&sc.f, test_has("recvmmsg") ? FAULT_RECVMMSG :
		    FAULT_RECVMSG, 1, -ENOMEM);
		send_numbers(4, 1);
		RUN_UNTIL(sc.l, sc.p.got == 4);
		cr_assert_eq(sc.p.n[EV_ERROR], 2);
		leave();
	}
}

/* ---- callbacks that change the socket ---- */

static size_t other_got;

static void
other_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	(void)s, (void)m;
	*(size_t *)arg += n;
}

static void
change_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct dgram_events ev = { .message = other_message };

	(void)m, (void)n;
	if (e != EV_MESSAGE)
		return;
	OK(dgram_set_events(p->s, &ev, &other_got));
	cr_assert_eq(dgram_arg(p->s), &other_got);
}

/* Events that stay the old ones until the socket is quiet. */
BACKEND_TEST(recv, set_events_in_the_callback)
{
	struct dgram_options o = { .recv_buffer_size = ROOM };

	enter(backend, DGRAM_UDP4, &o);
	other_got = 0;
	sc.p.hook = change_hook;
	send_numbers(1, 200);
	RUN_UNTIL(sc.l, sc.p.got + other_got == 200);
	cr_assert_eq(sc.p.n[EV_MESSAGE], 1);
	leave();
}

static struct peer bigger;

static void
grow_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct dgram_options o = { 0 };
	size_t i;
	char *copy;

	if (e != EV_MESSAGE || bigger.s != NULL)
		return;
	copy = malloc(m[n - 1].size);
	memcpy(copy, m[n - 1].data, m[n - 1].size);
	/* Twice: the second makes the first, which nobody uses, superfluous. */
	for (i = 0; i < 2; i++) {
		o.max_datagram = (size_t)(4 << i) << 20;
		if (bigger.s != NULL)
			OK(dgram_close(bigger.s, NULL, NULL));
		peer_open_bound(&bigger, p->loop, DGRAM_UDP4, &o);
	}
	cr_assert(memcmp(copy, m[n - 1].data, m[n - 1].size) == 0);
	/* A reply of bytes in the old arena. */
	for (i = 0; i < n; i++)
		OK(dgram_reply(p->s, &m[i], m[i].data, m[i].size));
	free(copy);
}

/* An arena that is replaced while a callback looks at it. */
BACKEND_TEST(recv, arena_grows_in_the_callback)
{
	size_t i;
	int n, way;

	for (way = 0; way < 4; way++) {
		n = way % 2 == 0 ? 1 : 40;
		enter(backend, DGRAM_UDP4, NULL);
		memset(&bigger, 0, sizeof(bigger));
		if (way >= 2)
			fault_sends(&sc.f, -EAGAIN);
		send_numbers(1, (uint32_t)n);
		if (n > 1)
			RUN_UNTIL(sc.l, sc.p.got > 1);
		else
			turns(sc.l, 0);
		sc.p.hook = grow_hook;
		RUN_UNTIL(sc.l, sc.p.got == (size_t)n);
		check_order((size_t)n);
		send_numbers((uint32_t)n + 1, 20);
		RUN_UNTIL(sc.l, sc.p.got == (size_t)n + 20);
		check_order((size_t)n + 20);
		fault_sends(&sc.f, 0);
		turns(sc.l, 5);
		for (i = 0; bare_recv(sc.fd) >= 0; i++)
			;
		cr_assert(n == 1 || i > 0);
		leave();
	}
}

/* ---- without recvmmsg(2) ---- */

/* An emulation that delivers otherwise. */
BACKEND_TEST(recv, emulated)
{
	int i;

	EACH_TYPE(type) {
		enter(backend, type, NULL);
		fault_always(&sc.f, FAULT_RECVMMSG, -ENOSYS);
		sc.p.hook = remote_hook;
		sc.p.arg = &sc.to;
		remote_ok = true;
		for (i = 0; i < 20; i++) {
			send_numbers((uint32_t)i * 9 + 1, 9);
			RUN_UNTIL(sc.l, sc.p.got == (size_t)(i + 1) * 9);
		}
		check_order(180);
		cr_assert(sc.p.largest > 1);
		cr_assert(remote_ok);
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		cr_assert_eq(sc.f.entry[FAULT_RECVMMSG].calls, 1);
		cr_assert(stats_of(&sc.p).reduced & DGRAM_REDUCED_RECVMMSG);
		cr_assert(sc.f.entry[FAULT_RECVMSG].calls > 0);
		leave();
	}
}

/* Many sockets, more ready at once than the loop has room for reports. */
BACKEND_TEST(recv, many_sockets)
{
	enum { SOCKETS = 300 };
	static struct dgram_socket *s[SOCKETS];
	struct dgram_options o = { .type = DGRAM_UDP4,
	    .max_datagram = 100 };
	struct dgram_events ev = { .message = other_message };
	struct dgram_addr a = any_addr(DGRAM_UDP4), to;
	static size_t got[SOCKETS];
	size_t i, sum = 0;

	enter(backend, DGRAM_UDP4, NULL);
	memset(got, 0, sizeof(got));
	o.events = &ev;
	for (i = 0; i < SOCKETS; i++) {
		o.arg = &got[i];
		OK(dgram_open(sc.l, &o, &s[i]));
		OK(dgram_bind_addr(s[i], &a));
	}
	turns(sc.l, 5);
	for (i = 0; i < SOCKETS; i++) {
		OK(dgram_address(s[i], &to));
		bare_send(sc.fd, &to, 1);
		bare_send(sc.fd, &to, 2);
	}
	while (sum < 2 * SOCKETS) {
		turn_wait(sc.l, 1000);
		for (sum = 0, i = 0; i < SOCKETS; i++)
			sum += got[i];
	}
	for (i = 0; i < SOCKETS; i++)
		cr_assert_eq(got[i], 2);
	leave();
}
