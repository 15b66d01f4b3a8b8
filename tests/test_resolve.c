/* SPDX-License-Identifier: ISC */

/*
 * dgram_resolve(), and look-ups as such: who waits with whom, for how long, and
 * what is left when they go.
 */

#include "fake_gai.h"
#include "sockets.h"

#include <sys/wait.h>

#if defined(__has_feature)
#define TSAN	__has_feature(thread_sanitizer)
#elif defined(__SANITIZE_THREAD__)
#define TSAN	1
#else
#define TSAN	0
#endif

#define MOST	16384		/* look-ups that may wait */
/* Of more than one family what comes first is the system's; here it is told. */
#define TWO	"10.1.2.3 fd00::7"

static struct fault_os f;
static struct dgram_loop *l;

/* One who waits. */
struct asker {
	uint64_t id;
	int calls, status, turn;	/* turn: order among all */
	size_t n;
	struct dgram_addr addr[4];
	/* Called in the callback, when all that is written down. */
	void (*hook)(struct asker *);
	void *arg;
	const char *next;
};

static int told;		/* calls of all */

static void
on_resolved(int status, const struct dgram_addr *addrs, size_t n, void *arg)
{
	struct asker *a = arg;
	size_t i;

	MUST(in_call == 0, "called from inside of a call");
	MUST((status == 0) == (n > 0) && (n > 0) == (addrs != NULL) &&
	    status <= 0, "%d with %zu addresses", status, n);
	a->calls++;
	a->status = status;
	a->n = n;
	a->turn = ++told;
	for (i = 0; i < n && i < COUNT(a->addr); i++)
		a->addr[i] = addrs[i];
	if (a->hook != NULL)
		a->hook(a);
}

static int
ask_for(struct asker *a, const char *host, int family)
{
	return CALL(dgram_resolve(l, host, family, on_resolved, a, &a->id));
}

static void
ask(struct asker *a, const char *host)
{
	OK(ask_for(a, host, AF_INET));
}

static void
begin(const char *backend, const struct dgram_loop_options *lo)
{
	fault_init(&f);
	l = fault_loop(&f, backend, lo);
}

/* Threads that nobody waits for may take longer than the loop. */
static void
end(void)
{
	free_fault_loop(l, &f);
	FAKE_UNTIL(fake.threads == 0);
	FAKE_CHECK(fake.lists == 0);
}

static bool
is_addr(const struct dgram_addr *a, const char *literal)
{
	struct dgram_addr want;

	OK(dgram_addr_parse(&want, literal, 0));
	return dgram_addr_equal(a, &want);
}

/* Look-ups that run. */
static unsigned
fake_in(void)
{
	unsigned n;

	pthread_mutex_lock(&fake.lock);
	n = fake.in;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

/* ---- arguments and literals ---- */

BACKEND_TEST(resolve, arguments)
{
	struct asker a = { 0 };
	char name[301];

	begin(backend, NULL);
	CHECK(dgram_resolve(NULL, "a", 0, on_resolved, &a, NULL), -EINVAL);
	CHECK(dgram_resolve(l, NULL, 0, on_resolved, &a, NULL), -EINVAL);
	CHECK(dgram_resolve(l, "", 0, on_resolved, &a, NULL), -EINVAL);
	CHECK(dgram_resolve(l, "a", 0, NULL, &a, NULL), -EINVAL);
	CHECK(ask_for(&a, "a", AF_UNIX), -EINVAL);
	CHECK(ask_for(&a, "a", -1), -EINVAL);
	CHECK(ask_for(&a, "a", 5), -EINVAL);
	memset(name, 'a', sizeof(name));
	name[300] = '\0';
	CHECK(ask_for(&a, name, AF_INET), -ENAMETOOLONG);
	name[256] = '\0';
	CHECK(ask_for(&a, name, AF_INET), -ENAMETOOLONG);
	CHECK(ask_for(&a, "fe80::1%no-such-zone", AF_INET6), -ENODEV);
	CHECK(dgram_resolve_cancel(NULL, 1), -EINVAL);
	CHECK(dgram_resolve_cancel(l, 0), -ENOENT);
	CHECK(dgram_resolve_cancel(l, 1), -ENOENT);
	turns(l, 3);
	cr_assert_eq(a.calls, 0);
	FAKE_CHECK(fake.calls == 0);
	/* The longest there is. */
	name[255] = '\0';
	ask(&a, name);
	RUN_UNTIL(l, a.calls > 0);
	cr_assert_eq(a.status, DGRAM_ENOTFOUND);
	FAKE_CHECK(fake.calls == 1 && strcmp(fake.log[0], name) == 0);
	end();
}

BACKEND_TEST(resolve, literals_take_no_thread)
{
	static const struct {
		const char *literal;
		int family, status;
	} t[] = {
		{ "127.0.0.1", AF_INET, 0 }, { "127.0.0.1", 4, 0 },
		{ "127.0.0.1", AF_UNSPEC, 0 }, { "::1", AF_INET6, 0 },
		{ "::1", 6, 0 }, { "::1", AF_UNSPEC, 0 },
		{ "::1", AF_INET, DGRAM_EAI_ADDRFAMILY },
		{ "127.0.0.1", AF_INET6, DGRAM_EAI_ADDRFAMILY },
	};
	struct asker a[COUNT(t)] = { { 0 } };
	size_t i;

	begin(backend, NULL);
	for (i = 0; i < COUNT(t); i++)
		OK(ask_for(&a[i], t[i].literal, t[i].family));
	cr_assert_eq(told, 0);
	/* They keep it running. */
	cr_assert_eq(dgram_loop_run(l), 0);
	for (i = 0; i < COUNT(t); i++) {
		cr_assert_eq(a[i].calls, 1);
		cr_assert_eq(a[i].turn, (int)i + 1);
		cr_assert_eq(a[i].status, t[i].status);
		if (a[i].status == 0)
			cr_assert(a[i].n == 1 &&
			    is_addr(&a[i].addr[0], t[i].literal));
		CHECK(dgram_resolve_cancel(l, a[i].id), -ENOENT);
	}
	FAKE_CHECK(fake.calls == 0 && fake.threads == 0);
	end();
}

/* Strictly: what only looks like one is a name. */
BACKEND_TEST(resolve, what_is_no_literal)
{
	static const char *const names[] = { "127.0.0.1x", "127.1", "0x7f.1",
		"::1%", "[::1]", "127.0.0.1.", "1" };
	struct asker a[COUNT(names)] = { { 0 } };
	struct asker blank[2] = { { 0 } };
	size_t i;

	begin(backend, NULL);
	for (i = 0; i < COUNT(names); i++)
		OK(ask_for(&a[i], names[i], AF_UNSPEC));
	OK(ask_for(&blank[0], " 127.0.0.1", AF_UNSPEC));
	OK(ask_for(&blank[1], "127.0.0.1 x", AF_UNSPEC));
	RUN_UNTIL(l, told == COUNT(names) + 2);
	for (i = 0; i < COUNT(names); i++)
		cr_assert_eq(a[i].status, DGRAM_ENOTFOUND, "%s", names[i]);
	cr_assert_eq(blank[0].status, DGRAM_ENOTFOUND);
	cr_assert_eq(blank[1].status, DGRAM_ENOTFOUND);
	/* A blank in it: the system is not even asked. */
	FAKE_CHECK(fake.calls == COUNT(names));
	end();
}

/* ---- answers ---- */

BACKEND_TEST(resolve, addresses_and_failures)
{
	struct asker all = { 0 }, v4 = { 0 }, v6 = { 0 }, none = { 0 },
	    again = { 0 }, sys = { 0 };

	begin(backend, NULL);
	fake_answer("two", TWO);
	fake_fail("again", EAI_AGAIN, 0);
	fake_fail("sys", EAI_SYSTEM, EMFILE);
	OK(ask_for(&all, "two", AF_UNSPEC));
	OK(ask_for(&v4, "two", 4));
	OK(ask_for(&v6, "two", AF_INET6));
	OK(ask_for(&none, "no.such", AF_INET));
	OK(ask_for(&again, "again", AF_INET));
	OK(ask_for(&sys, "sys", AF_INET));
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(told, 6);
	cr_assert(all.status == 0 && all.n == 2 &&
	    is_addr(&all.addr[0], "10.1.2.3") && is_addr(&all.addr[1],
	    "fd00::7"));
	cr_assert(v4.status == 0 && v4.n == 1 &&
	    is_addr(&v4.addr[0], "10.1.2.3"));
	cr_assert(v6.status == 0 && v6.n == 1 &&
	    is_addr(&v6.addr[0], "fd00::7"));
	cr_assert_eq(none.status, DGRAM_ENOTFOUND);
	cr_assert_eq(again.status, DGRAM_EAI_AGAIN);
	cr_assert_eq(sys.status, -EMFILE);
	end();
}

/* ---- one request for all ---- */

BACKEND_TEST(resolve, one_request_for_all_who_ask_the_same)
{
	struct asker a[64] = { { 0 } }, v6 = { 0 }, other = { 0 };
	struct dgram_loop_options lo = { .resolver_threads = 8 };
	size_t i;

	begin(backend, &lo);
	fake_answer("two", TWO);
	fake_block("two");
	fake_answer("other", "10.0.0.9");
	for (i = 0; i < COUNT(a); i++)
		ask(&a[i], "two");
	OK(ask_for(&v6, "two", AF_INET6));
	ask(&other, "other");
	RUN_UNTIL(l, other.calls > 0);
	cr_assert_eq(told, 1);
	FAKE_UNTIL(fake.calls == 3);
	fake_release("two");
	RUN_UNTIL(l, told == 1 + 64 + 1);
	cr_assert_eq(fake_calls("two"), 2);
	for (i = 0; i < COUNT(a); i++) {
		cr_assert(a[i].calls == 1 && a[i].status == 0 &&
		    is_addr(&a[i].addr[0], "10.1.2.3"));
		if (i > 0)
			cr_assert_eq(a[i].turn, a[i - 1].turn + 1);
	}
	cr_assert(is_addr(&v6.addr[0], "fd00::7"));
	/* Nothing is kept: the next asks again. */
	fake_answer("two", "10.0.0.2");
	ask(&a[0], "two");
	RUN_UNTIL(l, a[0].calls == 2);
	cr_assert(is_addr(&a[0].addr[0], "10.0.0.2"));
	cr_assert_eq(fake_calls("two"), 3);
	end();
}

BACKEND_TEST(resolve, a_request_without_anybody_is_joined)
{
	struct asker a = { 0 }, b = { 0 }, c = { 0 };

	begin(backend, NULL);
	fake_answer("slow", "10.0.0.1");
	fake_block("slow");
	ask(&a, "slow");
	ask(&b, "slow");
	FAKE_UNTIL(fake.in == 1);
	OK(CALL(dgram_resolve_cancel(l, a.id)));
	OK(CALL(dgram_resolve_cancel(l, b.id)));
	turns(l, 3);
	cr_assert_eq(told, 2);
	/* Nobody waits, so nothing keeps it running. */
	cr_assert_eq(dgram_loop_run(l), 0);
	ask(&c, "slow");
	fake_release("slow");
	RUN_UNTIL(l, c.calls > 0);
	cr_assert(c.status == 0 && is_addr(&c.addr[0], "10.0.0.1"));
	cr_assert_eq(fake_calls("slow"), 1);
	cr_assert(a.calls == 1 && b.calls == 1);
	end();
}

BACKEND_TEST(resolve, a_request_that_nobody_wants_is_not_made)
{
	struct dgram_loop_options lo = { .resolver_threads = 1 };
	struct asker slow = { 0 }, a = { 0 }, b = { 0 };

	begin(backend, &lo);
	fake_block("slow");
	fake_answer("b", "10.0.0.2");
	ask(&slow, "slow");
	FAKE_UNTIL(fake.in == 1);
	ask(&a, "a");
	OK(CALL(dgram_resolve_cancel(l, a.id)));
	ask(&b, "b");
	fake_release("slow");
	RUN_UNTIL(l, told == 3);
	cr_assert(a.status == -ECANCELED && b.status == 0);
	FAKE_CHECK(fake.calls == 2);
	end();
}

static void
ask_again(struct asker *a)
{
	if (a->calls == 1)
		ask(a, a->next);
}

BACKEND_TEST(resolve, the_next_from_the_callback)
{
	struct asker a = { .hook = ask_again, .next = "name" };
	struct asker b = { .hook = ask_again, .next = "10.1.1.1" };

	begin(backend, NULL);
	fake_answer("name", "10.0.0.1");
	ask(&a, "name");
	ask(&b, "10.0.0.4");
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert(a.calls == 2 && a.status == 0 && b.calls == 2);
	cr_assert_eq(fake_calls("name"), 2);
	end();
}

/* ---- deadlines ---- */

BACKEND_TEST(resolve, each_has_its_deadline)
{
	struct dgram_loop_options lo = { .resolver_timeout_ms = 10000 };
	struct asker a = { 0 }, b = { 0 }, c = { 0 };

	begin(backend, &lo);
	fake_answer("slow", "10.0.0.1");
	fake_block("slow");
	ask(&a, "slow");
	f.ahead += 6000 * MS;
	ask(&b, "slow");
	f.ahead += 3900 * MS;
	turns(l, 3);
	cr_assert_eq(told, 0);
	f.ahead += 100 * MS;
	turns(l, 3);
	cr_assert(a.calls == 1 && a.status == -ETIMEDOUT && told == 1);
	CHECK(dgram_resolve_cancel(l, a.id), -ENOENT);
	/* Joins what still runs. */
	ask(&c, "slow");
	f.ahead += 6000 * MS;
	turns(l, 3);
	cr_assert(b.calls == 1 && b.status == -ETIMEDOUT && told == 2);
	fake_release("slow");
	RUN_UNTIL(l, c.calls == 1);
	cr_assert(c.status == 0 && told == 3);
	cr_assert_eq(fake_calls("slow"), 1);
	end();
}

BACKEND_TEST(resolve, a_deadline_in_real_time)
{
	struct dgram_loop_options lo = { .resolver_timeout_ms = 50 };
	struct asker a = { 0 };
	uint64_t t;

	begin(backend, &lo);
	fake_block("slow");
	t = clock_ns();
	ask(&a, "slow");
	cr_assert_eq(dgram_loop_run(l), 0);
	t = clock_ns() - t;
	cr_assert(a.calls == 1 && a.status == -ETIMEDOUT);
	cr_assert(t >= 50 * MS && t < 2000 * MS, "%d us", (int)(t / 1000));
	fake_release("slow");
	end();
}

/* Outside of a run the loop's clock stands still. */
BACKEND_TEST(resolve, a_deadline_begins_with_the_call)
{
	struct dgram_loop_options lo = { .resolver_timeout_ms = 1000 };
	struct asker a = { 0 };

	begin(backend, &lo);
	fake_answer("slow", "10.0.0.1");
	fake_block("slow");
	f.ahead += 5000 * MS;
	ask(&a, "slow");
	turns(l, 3);
	cr_assert_eq(a.calls, 0);
	fake_release("slow");
	RUN_UNTIL(l, a.calls == 1);
	cr_assert_eq(a.status, 0);
	end();
}

/* It came in time; that the loop looks at it late is not its fault. */
BACKEND_TEST(resolve, an_answer_to_a_busy_loop)
{
	struct dgram_loop_options lo = { .resolver_timeout_ms = 10000 };
	struct asker a = { 0 }, b = { 0 };
	int64_t until = clock_ms() + 5000;

	begin(backend, &lo);
	fake_answer("name", "10.0.0.1");
	fake_block("slow");
	ask(&a, "name");
	ask(&b, "slow");
	while (!dgi_wake_has_posts(l) && clock_ms() < until)
		sched_yield();
	f.ahead += 10000 * MS;
	turns(l, 3);
	cr_assert(a.calls == 1 && a.status == 0);
	cr_assert(b.calls == 1 && b.status == -ETIMEDOUT);
	fake_release("slow");
	end();
}

/* ---- cancel ---- */

BACKEND_TEST(resolve, cancel)
{
	struct asker a = { 0 }, literal = { 0 };

	begin(backend, NULL);
	fake_block("slow");
	ask(&a, "slow");
	ask(&literal, "10.0.0.1");
	OK(CALL(dgram_resolve_cancel(l, literal.id)));
	CHECK(dgram_resolve_cancel(l, literal.id), -ENOENT);
	OK(CALL(dgram_resolve_cancel(l, a.id)));
	CHECK(dgram_resolve_cancel(l, a.id), -ENOENT);
	cr_assert_eq(told, 0);
	turn_wait(l, 0);
	cr_assert(a.calls == 1 && a.status == -ECANCELED);
	cr_assert(literal.calls == 1 && literal.status == -ECANCELED);
	CHECK(dgram_resolve_cancel(l, a.id), -ENOENT);
	fake_release("slow");
	turns(l, 3);
	cr_assert_eq(told, 2);
	end();
}

static void
cancel_others(struct asker *a)
{
	struct asker **other = a->arg;

	for (; *other != NULL; other++) {
		CHECK(dgram_resolve_cancel(l, (*other)->id),
		    (*other)->calls == 0 ? 0 : -ENOENT);
		CHECK(dgram_resolve_cancel(l, (*other)->id), -ENOENT);
	}
	/* Itself is over. */
	CHECK(dgram_resolve_cancel(l, a->id), -ENOENT);
}

BACKEND_TEST(resolve, cancel_in_callbacks)
{
	struct asker a[5] = { { 0 } };
	/* Of the same answer, told and not, and of one that still runs. */
	struct asker *others[] = { &a[0], &a[2], &a[4], NULL };

	begin(backend, NULL);
	fake_answer("name", "10.0.0.1");
	fake_block("slow");
	ask(&a[0], "name");
	ask(&a[1], "name");
	ask(&a[2], "name");
	ask(&a[3], "name");
	ask(&a[4], "slow");
	a[1].hook = cancel_others;
	a[1].arg = others;
	RUN_UNTIL(l, told == 5);
	cr_assert(a[0].status == 0 && a[1].status == 0 && a[3].status == 0);
	cr_assert(a[2].status == -ECANCELED && a[4].status == -ECANCELED);
	/* By then all of the answer were told. */
	cr_assert(a[2].turn > a[3].turn);
	fake_release("slow");
	end();
}

/* A cancelled one is somebody who waits until it is told. */
BACKEND_TEST(resolve, cancel_does_not_collect_memory)
{
	struct asker a = { 0 };
	size_t held, bound;
	int i, r = 0, n = 0;

	begin(backend, NULL);
	for (i = 0; i < 4 * MOST; i++) {
		r = ask_for(&a, i % 2 == 0 ? "10.0.0.1" : "name", AF_INET);
		if (r < 0)
			break;
		n++;
		OK(CALL(dgram_resolve_cancel(l, a.id)));
	}
	OK(dgram_loop_memory(l, &held, &bound));
	cr_assert(held <= bound, "%zu of %zu", held, bound);
	cr_assert(r == -ENOBUFS && n == MOST, "%d after %d", r, n);
	RUN_UNTIL(l, told == n);
	OK(ask_for(&a, "10.0.0.1", AF_INET));
	turns(l, 3);
	cr_assert_eq(told, n + 1);
	end();
}

BACKEND_TEST(resolve, so_many_may_wait)
{
	static struct asker a[MOST];
	struct asker more = { 0 };
	size_t held, bound;
	char name[16];
	int i;

	begin(backend, NULL);
	fake_block("slow");
	for (i = 0; i < MOST; i++) {
		snprintf(name, sizeof(name), "n%d", i / 64);
		MUST(ask_for(&a[i], i < MOST / 2 ? "slow" : name,
		    AF_INET) == 0, "%d", i);
	}
	CHECK(ask_for(&more, "slow", AF_INET), -ENOBUFS);
	OK(dgram_loop_memory(l, &held, &bound));
	cr_assert(held <= bound, "%zu of %zu", held, bound);
	for (i = 1; i < MOST; i++)
		OK(CALL(dgram_resolve_cancel(l, a[i].id)));
	turns(l, 3);
	OK(ask_for(&more, "10.0.0.1", AF_INET));
	fake_release("slow");
	RUN_UNTIL(l, a[0].calls == 1 && more.calls == 1);
	end();
}

/* ---- threads that hang ---- */

BACKEND_TEST(resolve, who_hangs_holds_nobody_up)
{
	struct dgram_loop_options lo = { .resolver_threads = 2 };
	static const char *const hung[] = { "h0", "h1", "h2", "h3", "h4",
		"h5", "h6", "h7", "h8", "h9" };
	struct asker a[COUNT(hung)] = { { 0 } }, b = { 0 }, c = { 0 };
	size_t i;
	int64_t t;

	begin(backend, &lo);
	fake_answer("b", "10.0.0.2");
	fake_answer("c", "10.0.0.3");
	for (i = 0; i < COUNT(hung); i++)
		fake_block(hung[i]);
	ask(&a[0], hung[0]);
	ask(&a[1], hung[1]);
	FAKE_UNTIL(fake.in == 2);
	t = clock_ms();
	ask(&b, "b");
	RUN_UNTIL(l, b.calls == 1);
	cr_assert_eq(b.status, 0);
	cr_assert(clock_ms() - t < 2000);
	/* All that there may be, and no more. */
	for (i = 2; i < COUNT(hung); i++)
		ask(&a[i], hung[i]);
	RUN_UNTIL(l, fake_in() == 8);
	ask(&c, "c");
	for (t = clock_ms(); clock_ms() - t < 500;)
		turn_wait(l, 20);
	FAKE_CHECK(fake.most == 8 && fake.threads == 8);
	cr_assert_eq(c.calls, 0);
	for (i = 0; i < COUNT(hung); i++)
		fake_release(hung[i]);
	RUN_UNTIL(l, told == (int)COUNT(hung) + 2);
	cr_assert_eq(c.status, 0);
	FAKE_CHECK(fake.most == 8);
	end();
}

/* ---- the end of the loop ---- */

BACKEND_TEST(resolve, free_waits_for_no_thread)
{
	struct dgram_loop_options lo = { .resolver_threads = 1 };
	struct asker running = { 0 }, queued = { 0 }, cancelled = { 0 },
	    literal = { 0 };
	int64_t t;

	begin(backend, &lo);
	fake_answer("slow", "10.0.0.1");
	fake_block("slow");
	ask(&running, "slow");
	FAKE_UNTIL(fake.in == 1);
	ask(&queued, "queued");
	ask(&cancelled, "slow");
	OK(CALL(dgram_resolve_cancel(l, cancelled.id)));
	ask(&literal, "10.0.0.1");
	t = clock_ms();
	free_fault_loop(l, &f);
	cr_assert(clock_ms() - t < 1000);
	cr_assert_eq(told, 4);
	cr_assert(running.calls == 1 && running.status == -ECANCELED);
	cr_assert(queued.calls == 1 && queued.status == -ECANCELED);
	cr_assert(cancelled.calls == 1 && cancelled.status == -ECANCELED);
	cr_assert(literal.calls == 1 && literal.status == 0);
	fake_release("slow");
	FAKE_UNTIL(fake.threads == 0);
	FAKE_CHECK(fake.lists == 0 && fake.calls == 1);
	cr_assert_eq(told, 4);
}

/* It was answered, and the loop has not turned since. */
BACKEND_TEST(resolve, free_with_answers_that_are_not_told)
{
	struct dgram_loop_options lo = { .resolver_threads = 1 };
	struct asker a = { 0 }, b = { 0 }, c = { 0 };

	begin(backend, &lo);
	fake_answer("name", "10.0.0.1");
	fake_block("slow");
	ask(&a, "name");
	ask(&b, "no.such");
	ask(&c, "slow");
	/* So the one thread is done with the others. */
	FAKE_UNTIL(fake.calls == 3);
	free_fault_loop(l, &f);
	cr_assert(a.calls == 1 && a.status == 0);
	cr_assert(b.calls == 1 && b.status == DGRAM_ENOTFOUND);
	cr_assert(c.calls == 1 && c.status == -ECANCELED);
	fake_release("slow");
	FAKE_UNTIL(fake.threads == 0);
	FAKE_CHECK(fake.lists == 0);
}

static void
try_all(struct asker *a)
{
	struct asker more = { 0 };

	CHECK(ask_for(&more, "name", AF_INET), -ECANCELED);
	CHECK(ask_for(&more, "10.0.0.1", AF_INET), -ECANCELED);
	CHECK(dgram_resolve_cancel(l, a->id), -ENOENT);
	CHECK(dgram_resolve_cancel(l, ((struct asker *)a->arg)->id), -ENOENT);
}

static void
from_post(void *arg)
{
	try_all(arg);
}

BACKEND_TEST(resolve, calls_while_the_loop_goes)
{
	struct asker a = { .hook = try_all }, b = { .hook = try_all };

	begin(backend, NULL);
	a.arg = &b;
	b.arg = &a;
	fake_block("slow");
	ask(&a, "slow");
	OK(CALL(dgram_resolve_cancel(l, a.id)));
	b.id = a.id;
	OK(CALL(dgram_loop_post(l, from_post, &a)));
	free_fault_loop(l, &f);
	cr_assert_eq(told, 1);
	fake_release("slow");
	FAKE_UNTIL(fake.threads == 0);
}

/* ---- fork ---- */

/* In the child: all is well, or the number of the line where it is not. */
#define CHILD(cond) do {						\
	if (!(cond))							\
		_exit(__LINE__ % 255 + 1);				\
} while (0)

static bool
child_until(const int *calls)
{
	int64_t until = clock_ms() + 5000;

	while (*calls == 0 && clock_ms() < until)
		(void)dgram_loop_run_once(l, 20);
	return *calls > 0;
}

static void
child_asks_anew(void)
{
	struct asker a = { 0 };

	/* It kills a child of threads that makes its own. */
	if (TSAN)
		return;
	fake_forked();
	fake_answer("slow", "10.0.0.7");
	fake_release("slow");
	CHILD(dgram_resolve(l, "slow", AF_INET, on_resolved, &a, NULL) == 0);
	CHILD(child_until(&a.calls) && a.status == 0);
	CHILD(a.addr[0].u.in.sin_addr.s_addr == htonl(0x0a000007));
}

static void
join(pid_t pid)
{
	int status = 0;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	    "the child failed: %x", (unsigned)status);
}

BACKEND_TEST(resolve, fork_ends_look_ups_in_the_child)
{
	struct dgram_loop_options lo = { .resolver_threads = 1 };
	struct asker a = { 0 }, b = { 0 }, c = { 0 };
	pid_t pid;

	begin(backend, &lo);
	fake_answer("slow", "10.0.0.1");
	fake_answer("queued", "10.0.0.2");
	fake_block("slow");
	ask(&a, "slow");
	FAKE_UNTIL(fake.in == 1);
	ask(&b, "queued");
	ask(&c, "slow");
	OK(CALL(dgram_resolve_cancel(l, c.id)));
	pid = test_fork();
	if (pid == 0) {
		CHILD(dgram_loop_fork(l, 0) == 0 && told == 0);
		CHILD(dgram_resolve_cancel(l, a.id) == -ENOENT);
		CHILD(dgram_loop_run(l) == 0);
		CHILD(told == 3 && a.calls == 1 && b.calls == 1);
		CHILD(a.status == -ECANCELED && b.status == -ECANCELED);
		CHILD(c.status == -ECANCELED);
		child_asks_anew();
		CHILD(dgram_loop_free(l) == 0 && f.pieces == 0);
		_exit(0);
	}
	join(pid);
	fake_release("slow");
	RUN_UNTIL(l, told == 3);
	cr_assert(a.status == 0 && b.status == 0 && c.status == -ECANCELED);
	end();
}

static pid_t forked;

static void
fork_here(struct asker *a)
{
	(void)a;
	a->hook = NULL;
	forked = test_fork();
	if (forked == 0)
		CHILD(dgram_loop_fork(l, 0) == 0);
}

/* Of an answer with many, and with other answers behind it. */
BACKEND_TEST(resolve, fork_in_a_callback)
{
	struct asker a[6] = { { 0 } };
	static const char *const names[] = { "n0", "n0", "n1", "n1", "n2",
		"slow" };
	struct dgram_loop_options lo = { .resolver_threads = 1 };
	int i;

	begin(backend, &lo);
	for (i = 0; i < 5; i++)
		fake_answer(names[i], "10.0.0.1");
	fake_block("slow");
	for (i = 0; i < 6; i++)
		ask(&a[i], names[i]);
	a[0].hook = fork_here;
	/* So the one thread is done with the others. */
	FAKE_UNTIL(fake.calls == 4);
	while (a[0].calls == 0)
		turn_wait(l, 20);
	if (forked == 0) {
		CHILD(child_until(&a[5].calls) && told == 6);
		for (i = 1; i < 6; i++)
			CHILD(a[i].calls == 1 && a[i].status == -ECANCELED);
		child_asks_anew();
		CHILD(dgram_loop_free(l) == 0 && f.pieces == 0);
		_exit(0);
	}
	join(forked);
	fake_release("slow");
	RUN_UNTIL(l, told == 6);
	end();
}

/* ---- without memory ---- */

BACKEND_TEST(resolve, without_memory)
{
	static const char *const hosts[] = { "10.0.0.1", "name", "slow" };
	struct asker a[COUNT(hosts)] = { { 0 } };
	size_t i, before;
	unsigned k;
	int r;

	begin(backend, NULL);
	fake_answer("name", "10.0.0.1");
	for (i = 0; i < COUNT(hosts); i++) {
		for (k = 1;; k++) {
			before = f.allocs;
			f.fail_alloc = before + k;
			r = ask_for(&a[i], hosts[i], AF_INET);
			f.fail_alloc = 0;
			if (r == 0)
				break;
			cr_assert_eq(r, -ENOMEM, "%d", r);
			cr_assert_eq(dgram_loop_run(l), 0);
			cr_assert_eq(a[i].calls, 0);
		}
		/* The first that is ever asked for has more to make. */
		cr_assert(k > 1 || i > 0);
		cr_assert_eq(dgram_loop_run(l), 0);
		cr_assert_eq(a[i].calls, 1);
	}
	cr_assert(a[0].status == 0 && a[1].status == 0);
	end();
}
