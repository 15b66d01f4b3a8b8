/* SPDX-License-Identifier: ISC */

/*
 * options.lookup: who is asked, when, and what of the answers.
 */

#include "names.h"

static void
begin(const char *backend)
{
	enter(backend, NULL, NULL, look_up);
}

static void
answer_at_once(struct ask *a)
{
	struct dgram_addr addr;

	OK(dgram_addr_parse(&addr, "127.0.0.1", 0));
	OK(dgram_lookup_done(l, a->id, 0, &addr));
	/* The first answer counts. */
	CHECK(dgram_lookup_done(l, a->id, 0, &addr), -ENOENT);
	CHECK(dgram_lookup_done(l, a->id, -EIO, NULL), -ENOENT);
}

BACKEND_TEST(lookup, asked_and_answered)
{
	begin(backend);
	OK(send_to("some.where", 1));
	cr_assert_eq(nasks, 0);
	turns(l, 3);
	cr_assert_eq(nasks, 1);
	cr_assert(strcmp(asks[0].host, "some.where") == 0);
	cr_assert(asks[0].family == AF_INET && asks[0].s == p.s &&
	    asks[0].arg == &p);
	turns(l, 3);
	TRACE(&p, "L");
	OK(answer(0, "127.0.0.1"));
	TRACE(&p, "L");
	CHECK(answer(0, "127.0.0.1"), -ENOENT);
	turns(l, 3);
	TRACE(&p, "Ld");
	cr_assert_eq(bare_recv(fd), 1);
	CHECK(refuse(0, -EIO), -ENOENT);
	/* Nothing is kept. */
	on_ask = answer_at_once;
	OK(send_to("some.where", 2));
	turns(l, 3);
	cr_assert_eq(nasks, 2);
	cr_assert(asks[1].id != asks[0].id);
	TRACE(&p, "Ldd");
	cr_assert_eq(bare_recv(fd), 2);
	FAKE_CHECK(fake.calls == 0 && fake.threads == 0);
	leave();
}

BACKEND_TEST(lookup, at_once_for_all_kinds)
{
	begin(backend);
	on_ask = answer_at_once;
	OK(CALL(dgram_bind(p.s, 0, "me", bind_done, &p)));
	OK(send_to("a", 1));
	turns(l, 4);
	OK(CALL(dgram_connect(p.s, port, "there", connect_done, &p)));
	turns(l, 4);
	OK(CALL(dgram_send(p.s, number(2), 4, 0, NULL, sent, &p)));
	turns(l, 4);
	TRACE(&p, "LbdCcd");
	cr_assert_eq(bare_recv(fd), 1);
	cr_assert_eq(bare_recv(fd), 2);
	leave();
}

BACKEND_TEST(lookup, ipv6)
{
	struct dgram_options o = { .lookup = look_up };
	struct dgram_addr any;
	struct peer six;

	begin(backend);
	if (have_ipv6()) {
		peer_open(&six, l, DGRAM_UDP6, &o);
		OK(dgram_bind(six.s, 0, "me", bind_done, &six));
		turns(l, 3);
		cr_assert(nasks == 1 && asks[0].family == AF_INET6);
		OK(answer(0, "::1"));
		turns(l, 3);
		TRACE(&six, "Lb");
		OK(dgram_address(six.s, &any));
		cr_assert(dgram_addr_port(&any) != 0 && dgram_addr_port(&any)
		    != 9);
		/* Of the other family it is a literal all the same. */
		CHECK(dgram_connect(six.s, 1, "127.0.0.1", connect_done, &six),
		    -EINVAL);
		OK(dgram_connect(six.s, 1, "there", connect_done, &six));
		turns(l, 3);
		OK(answer(1, "127.0.0.1"));
		turns(l, 3);
		TOLD('c', 0, -EINVAL, DGRAM_IN_LOOKUP,
		    "getaddrinfo EINVAL there");
		TRACE(&six, "Lbc");
	}
	leave();
}

BACKEND_TEST(lookup, answers_that_are_none)
{
	struct dgram_addr six, none = { 0 };

	begin(backend);
	OK(dgram_addr_parse(&six, "::1", 0));
	OK(send_to("six", 1));
	OK(send_to("null", 2));
	OK(send_to("empty", 3));
	OK(send_to("fails", 4));
	OK(send_to("strange", 5));
	turns(l, 3);
	cr_assert_eq(nasks, 5);
	CHECK(dgram_lookup_done(l, asks[0].id, 1, &six), -EINVAL);
	CHECK(dgram_lookup_done(NULL, asks[0].id, 0, &six), -EINVAL);
	OK(CALL(dgram_lookup_done(l, asks[0].id, 0, &six)));
	OK(CALL(dgram_lookup_done(l, asks[1].id, 0, NULL)));
	OK(CALL(dgram_lookup_done(l, asks[2].id, 0, &none)));
	/* With an address beside it, too. */
	OK(CALL(dgram_lookup_done(l, asks[3].id, DGRAM_ENOTFOUND, &to)));
	OK(CALL(dgram_lookup_done(l, asks[4].id, -4242, NULL)));
	turns(l, 3);
	TRACE(&p, "Lddddd");
	TOLD('d', 0, -EINVAL, DGRAM_IN_LOOKUP, "getaddrinfo EINVAL six");
	TOLD('d', 1, -EINVAL, DGRAM_IN_LOOKUP, "getaddrinfo EINVAL null");
	TOLD('d', 2, -EINVAL, DGRAM_IN_LOOKUP, "getaddrinfo EINVAL empty");
	TOLD('d', 3, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP,
	    "getaddrinfo ENOTFOUND fails");
	cr_assert_eq(record_of('d', 4)->status, -4242);
	LEDGER(0, 5, 0, 0);
	leave();
}

static void
never(int status, const struct dgram_addr *addrs, size_t n, void *arg)
{
	(void)addrs, (void)n;
	*(int *)arg = status;
}

BACKEND_TEST(lookup, ids_that_are_none)
{
	uint64_t id, i;
	int status = 1;

	begin(backend);
	CHECK(dgram_lookup_done(l, 0, 0, &to), -ENOENT);
	CHECK(dgram_lookup_done(l, 1, 0, &to), -ENOENT);
	fake_block("slow");
	OK(dgram_resolve(l, "slow", AF_INET, never, &status, &id));
	CHECK(dgram_lookup_done(l, id, 0, &to), -ENOENT);
	/* Nobody was asked yet: no number is right. */
	OK(send_to("name", 1));
	for (i = 0; i < 100; i++)
		CHECK(dgram_lookup_done(l, i, 0, &to), -ENOENT);
	turns(l, 3);
	cr_assert_eq(nasks, 1);
	CHECK(dgram_resolve_cancel(l, asks[0].id), -ENOENT);
	CHECK(dgram_lookup_done(l, asks[0].id + 1, 0, &to), -ENOENT);
	CHECK(dgram_lookup_done(l, asks[0].id | (uint64_t)1 << 32, 0, &to),
	    -ENOENT);
	CHECK(dgram_lookup_done(l, UINT64_MAX, 0, &to), -ENOENT);
	OK(answer(0, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "Ld");
	cr_assert_eq(status, 1);
	OK(dgram_resolve_cancel(l, id));
	turns(l, 3);
	cr_assert_eq(status, -ECANCELED);
	fake_release("slow");
	leave();
}

static void
answer_posted(void *arg)
{
	(void)arg;
	OK(answer(0, "127.0.0.1"));
}

/* The loop did not run for so long: whom nobody asked is asked, once. */
BACKEND_TEST(lookup, answered_to_a_busy_loop)
{
	begin(backend);
	OK(send_to("one", 1));
	turns(l, 3);
	OK(dgram_loop_post(l, answer_posted, NULL));
	OK(send_to("two", 2));
	f.ahead += 30000 * MS;
	turns(l, 3);
	TRACE(&p, "Ldd");
	cr_assert_eq(nasks, 2);
	cr_assert_eq(record_of('d', 0)->status, -ETIMEDOUT);
	cr_assert_eq(record_of('d', 1)->status, 4);
	cr_assert_eq(bare_recv(fd), 1);
	leave();
}

/* Not before, and each has its own; a late answer is none. */
BACKEND_TEST(lookup, not_answered)
{
	begin(backend);
	OK(send_to("one", 1));
	turns(l, 3);
	f.ahead += 20000 * MS;
	OK(send_to("two", 2));
	OK(send_to("one", 3));
	turns(l, 3);
	cr_assert_eq(nasks, 2);
	f.ahead += 9900 * MS;
	turns(l, 3);
	TRACE(&p, "L");
	f.ahead += 100 * MS;
	turns(l, 3);
	TRACE(&p, "Ldd");
	TOLD('d', 0, -ETIMEDOUT, DGRAM_IN_LOOKUP, "getaddrinfo ETIMEDOUT one");
	CHECK(answer(0, "127.0.0.1"), -ENOENT);
	OK(answer(1, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "Lddd");
	LEDGER(1, 0, 0, 0);
	cr_assert_eq(stats_of(&p).expired, 2);
	cr_assert_eq(bare_recv(fd), 2);
	leave();
}

/* ---- what else the hook may do ---- */

static void
close_in_hook(struct ask *a)
{
	OK(dgram_close(a->s, peer_close_fn, a->arg));
	CHECK(dgram_lookup_done(l, a->id, 0, &to), -ENOENT);
	/* The name is still there to be read. */
	cr_assert(a->host[0] != '\0');
}

BACKEND_TEST(lookup, closes_its_socket)
{
	begin(backend);
	on_ask = close_in_hook;
	OK(send_to("one", 1));
	OK(send_to("two", 2));
	turns(l, 4);
	/* `listening` was told in the same turn, in front. */
	TRACE(&p, "LddXf");
	cr_assert_eq(nasks, 1);
	TOLD('d', 0, -ECANCELED, DGRAM_IN_SEND, "send ECANCELED");
	CHECK(answer(0, "127.0.0.1"), -ENOENT);
	leave();
}

static void
send_in_hook(struct ask *a)
{
	if (strcmp(a->host, "one") == 0) {
		OK(send_to("one", 2));
		OK(send_to("two", 3));
	} else {
		/* Of whom it was asked before. */
		OK(answer(0, "127.0.0.1"));
		OK(dgram_lookup_done(l, a->id, 0, &to));
		OK(send_to("three", 4));
		on_ask = answer_at_once;
	}
}

BACKEND_TEST(lookup, sends_and_answers_for_another)
{
	begin(backend);
	on_ask = send_in_hook;
	OK(send_to("one", 1));
	turns(l, 6);
	cr_assert_eq(nasks, 3);
	TRACE(&p, "Ldddd");
	LEDGER(4, 0, 0, 0);
	cr_assert_eq(bare_recv(fd), 1);
	cr_assert_eq(bare_recv(fd), 2);
	cr_assert_eq(bare_recv(fd), 3);
	cr_assert_eq(bare_recv(fd), 4);
	leave();
}

static int others;

static void
other_look_up(struct dgram_socket *s, uint64_t id, const char *host,
    int family, void *arg)
{
	others++;
	look_up(s, id, host, family, arg);
}

BACKEND_TEST(lookup, each_socket_asks_its_own)
{
	struct peer q;

	begin(backend);
	open_named(&q, NULL, other_look_up);
	OK(send_to("name", 1));
	OK(CALL(dgram_send(q.s, number(2), 4, port, "name", sent, &q)));
	turns(l, 3);
	cr_assert(nasks == 2 && others == 1);
	cr_assert(asks[0].s == p.s && asks[0].arg == &p);
	cr_assert(asks[1].s == q.s && asks[1].arg == &q);
	cr_assert(asks[0].id != asks[1].id);
	OK(answer(1, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "L");
	TRACE(&q, "Ld");
	OK(refuse(0, -EIO));
	turns(l, 3);
	TRACE(&p, "Ld");
	TOLD('d', 1, -EIO, DGRAM_IN_LOOKUP, "getaddrinfo EIO name");
	leave();
}

/* ---- when its socket goes ---- */

BACKEND_TEST(lookup, answers_after_close)
{
	begin(backend);
	OK(send_to("name", 1));
	turns(l, 3);
	OK(dgram_close(p.s, NULL, NULL));
	CHECK(answer(0, "127.0.0.1"), -ENOENT);
	turns(l, 3);
	TRACE(&p, "LdX");
	CHECK(answer(0, "127.0.0.1"), -ENOENT);
	leave();
}

/* Closed before it could be asked. */
BACKEND_TEST(lookup, is_not_asked_for_a_closed_socket)
{
	begin(backend);
	OK(send_to("name", 1));
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 3);
	TRACE(&p, "dX");
	cr_assert_eq(nasks, 0);
	leave();
}

static struct peer second;

/* The second socket has something to tell in the same turn, behind this. */
static void
use_and_close_second(struct peer *peer, enum event e,
    const struct dgram_message *m, size_t n)
{
	(void)peer, (void)m, (void)n;
	if (e != EV_DONE || second.s == NULL)
		return;
	OK(CALL(dgram_send(second.s, "x", 1, port, "name", sent, &second)));
	OK(dgram_close(second.s, NULL, NULL));
}

BACKEND_TEST(lookup, is_not_asked_for_a_freed_socket)
{
	begin(backend);
	open_named(&second, NULL, look_up);
	peer_bind(&p);
	peer_bind(&second);
	turns(l, 3);
	p.hook = use_and_close_second;
	OK(send_done(&p, 1, &to));
	OK(send_done(&second, 2, &to));
	turns(l, 4);
	cr_assert(second.s == NULL);
	cr_assert_eq(second.n[EV_DONE], 2);
	cr_assert_eq(nasks, 0);
	leave();
}

/* ---- the loop ---- */

BACKEND_TEST(lookup, keeps_the_loop_running)
{
	begin(backend);
	OK(dgram_unref(p.s));
	OK(send_to("name", 1));
	turns(l, 3);
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	OK(answer(0, "127.0.0.1"));
	cr_assert_eq(dgram_loop_run(l), 0);
	TRACE(&p, "Ld");
	leave();
}

BACKEND_TEST(lookup, inside_of_another_loop)
{
	struct pollfd pfd = { .events = POLLIN };
	int i;

	begin(backend);
	on_ask = answer_at_once;
	pfd.fd = dgram_loop_fd(l);
	if (pfd.fd >= 0) {
		turns(l, 3);
		OK(send_to("name", 1));
		for (i = 0; i < 8; i++) {
			if (poll(&pfd, 1, 0) > 0)
				(void)dgram_loop_run_once(l, 0);
		}
		TRACE(&p, "Ld");
		cr_assert_eq(bare_recv(fd), 1);
	}
	leave();
}
