/* SPDX-License-Identifier: ISC */

/*
 * Block lists: the set itself, beside a naive one; and what sockets do with it.
 */

#include "test.h"
#include "alloc.h"
#include "names.h"

#include <pthread.h>

#include "core/blocklist.h"

static struct dgram_block_list *list;

static void
new_list(void)
{
	OK(dgram_block_list_new(&list));
}

static void
free_list(void)
{
	call_begins();
	dgram_block_list_free(list);
	(void)call_ends(0);
	list = NULL;
}

/* "a", "a-b" or "a/n". */
static int
add_rule(const char *rule)
{
	char text[128];
	char *mark;

	snprintf(text, sizeof(text), "%s", rule);
	mark = strpbrk(text, "-/");
	if (mark == NULL)
		return CALL(dgram_block_list_add_address(list, text));
	if (*mark == '-') {
		*mark = '\0';
		return CALL(dgram_block_list_add_range(list, text, mark + 1));
	}
	*mark = '\0';
	return CALL(dgram_block_list_add_subnet(list, text, atoi(mark + 1)));
}

static bool
has(const char *literal)
{
	struct dgram_addr a;

	OK(dgram_addr_parse(&a, literal, 53));
	return CALL(dgram_block_list_check(list, &a)) != 0;
}

/* ---- the set ---- */

/* Each rule alone, and what it blocks or not. */
TEST(blocklist, rules)
{
	static const struct {
		const char *rule, *yes, *no;	/* lists of words */
	} rows[] = {
		{ "10.1.2.3", "10.1.2.3 ::ffff:10.1.2.3", "10.1.2.2 10.1.2.4 "
		    "::10.1.2.3 ::1:ffff:10.1.2.3" },
		{ "::ffff:10.1.2.3", "10.1.2.3 ::ffff:a01:203", "10.1.2.4" },
		{ "10.0.0.5-10.0.1.2", "10.0.0.5 10.0.0.255 10.0.1.0 10.0.1.2",
		    "10.0.0.4 10.0.1.3" },
		{ "10.0.0.5-10.0.0.5", "10.0.0.5", "10.0.0.4 10.0.0.6" },
		{ "fd00::1-fd00::1:0:0:0:0", "fd00::1 fd00::ffff:ffff:ffff:ffff "
		    "fd00:0:0:1::", "fd00:: fd00:0:0:1::1" },
		{ "10.1.2.3/24", "10.1.2.0 10.1.2.255", "10.1.1.255 10.1.3.0" },
		{ "10.1.2.3/32", "10.1.2.3", "10.1.2.2" },
		{ "10.0.0.0/7", "10.0.0.0 11.255.255.255", "9.255.255.255 "
		    "12.0.0.0" },
		{ "1.2.3.4/0", "0.0.0.0 255.255.255.255 ::ffff:9.9.9.9",
		    "fd00::1 ::fffe:ffff:ffff ::1:0:0:0" },
		{ "::ffff:10.0.0.0/104", "10.0.0.0 10.255.255.255", "11.0.0.0 "
		    "9.255.255.255" },
		{ "::/0", ":: ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		    "127.0.0.1 8.8.8.8", "" },
		{ "fd00::/64", "fd00::ffff:ffff:ffff:ffff fd00::", "fd00:0:0:1:: "
		    "fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "fd00::/63", "fd00:0:0:1:: fd00::", "fd00:0:0:2::" },
		{ "fd00::/65", "fd00::7fff:0:0:0", "fd00::8000:0:0:0" },
		{ "fd00::/8", "fdff::1", "fe00::1 fcff::1" },
		{ "fd00::1/128", "fd00::1", "fd00:: fd00::2" },
		{ "fe80::1", "fe80::1", "fe80::2" },
		/* CVE-2020-26262, CVE-2026-27624: other ways to the loopback. */
		{ "127.0.0.0/8", "127.0.0.1 ::ffff:127.0.0.1 ::ffff:7f00:1 "
		    "0.0.0.0 ::ffff:0.0.0.0 :: 64:ff9b::127.0.0.1 "
		    "64:ff9b::0.0.0.0 2002:7f00:1:: 2002:7f00:1:5::9 2002::1",
		    "::1 128.0.0.1 64:ff9b:1::127.0.0.1 64:ff9b::1:7f00:1 "
		    "2001:7f00:1:: 2003:7f00:1::" },
		{ "::1", "::1 ::", "::2 0.0.0.0 127.0.0.1" },
		{ "0.0.0.0", "0.0.0.0 :: ::ffff:0:0 64:ff9b:: 2002::",
		    "127.0.0.1 ::1 0.0.0.1" },
		{ "::", "::", "::1 0.0.0.0 127.0.0.1" },
		{ "169.254.169.254", "64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1",
		    "64:ff9b::a9fe:a9ff 2002:a9fe:a9ff::1" },
		/* A rule for a gateway's addresses is for these. */
		{ "64:ff9b::/96", "64:ff9b::1.2.3.4", "1.2.3.4" },
		{ "2002::/16", "2002:102:304::", "1.2.3.4" },
	};
	char words[256];
	const char *w;
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		new_list();
		OK(add_rule(rows[i].rule));
		snprintf(words, sizeof(words), "%s", rows[i].yes);
		for (w = strtok(words, " "); w != NULL; w = strtok(NULL, " "))
			MUST(has(w), "%s lets %s pass", rows[i].rule, w);
		snprintf(words, sizeof(words), "%s", rows[i].no);
		for (w = strtok(words, " "); w != NULL; w = strtok(NULL, " "))
			MUST(!has(w), "%s blocks %s", rows[i].rule, w);
		free_list();
	}
}

TEST(blocklist, refused)
{
	static const char *const rules[] = { "", "x", "10.0.0", "10.0.0.256",
		"localhost", "fe80::1%lo", "fe80::1%1", "10.0.0.1%lo",
		"10.0.0.2-10.0.0.1", "fd00::2-fd00::1", "10.0.0.1-fd00::1",
		"::ffff:10.0.0.1-10.0.0.2", "10.0.0.1-", "-10.0.0.1",
		"10.0.0.1-fe80::1%1", "10.0.0.0/33", "10.0.0.0/-1", "fd00::/129",
		"fd00::/-1", "fe80::%1/64", "x/8", "/8" };
	struct dgram_addr a = any_addr(DGRAM_UNIX), none = { .len = 0 };
	struct dgram_addr cut;
	size_t i;

	CHECK(dgram_block_list_new(NULL), -EINVAL);
	new_list();
	for (i = 0; i < COUNT(rules); i++)
		MUST(add_rule(rules[i]) == -EINVAL, "%s", rules[i]);
	CHECK(dgram_block_list_add_address(list, NULL), -EINVAL);
	CHECK(dgram_block_list_add_range(list, NULL, "10.0.0.1"), -EINVAL);
	CHECK(dgram_block_list_add_range(list, "10.0.0.1", NULL), -EINVAL);
	CHECK(dgram_block_list_add_subnet(list, NULL, 0), -EINVAL);
	CHECK(dgram_block_list_add_address(NULL, "10.0.0.1"), -EINVAL);
	CHECK(dgram_block_list_add_range(NULL, "10.0.0.1", "10.0.0.1"),
	    -EINVAL);
	CHECK(dgram_block_list_add_subnet(NULL, "10.0.0.1", 8), -EINVAL);
	cr_assert(list->n == 0 && !has("0.0.0.0"), "something was added");
	/* What is no address of IP is never blocked. */
	OK(add_rule("::/0"));
	OK(dgram_addr_parse(&cut, "10.0.0.1", 9));
	cr_assert(dgram_block_list_check(list, &cut));
	cut.len = sizeof(cut.u.in) - 1;
	cr_assert(!dgram_block_list_check(list, &cut));
	cr_assert(!dgram_block_list_check(list, &a));
	cr_assert(!dgram_block_list_check(list, &none));
	cr_assert(!dgram_block_list_check(list, NULL));
	cr_assert(!dgram_block_list_check(NULL, &cut));
	free_list();
	free_list();
}

/* A zone is not looked at, nor is a port. */
TEST(blocklist, zone_of_an_address)
{
	struct dgram_addr a;

	new_list();
	OK(add_rule("fe80::/10"));
	OK(dgram_addr_parse(&a, "fe80::1", 0));
	a.u.in6.sin6_scope_id = 7;
	cr_assert(dgram_block_list_check(list, &a));
	free_list();
}

/* ---- beside a naive one ---- */

struct naive {
	unsigned char first[16], last[16];
};

#define NAIVE_MOST	4000
static struct naive naive[NAIVE_MOST];
static size_t nnaive;
static unsigned seed;

static unsigned
rnd(unsigned n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static bool
naive_has(const unsigned char ip[16])
{
	size_t i;

	for (i = 0; i < nnaive; i++) {
		if (memcmp(naive[i].first, ip, 16) <= 0 &&
		    memcmp(ip, naive[i].last, 16) <= 0)
			return true;
	}
	return false;
}

/*
 * An address near others: few values for each byte, so that rules overlap and
 * touch, also where one half of an address ends.
 */
static struct dgram_addr
random_addr(bool v4, unsigned wide, unsigned char ip[16])
{
	static const unsigned char bytes[] = { 0, 0xff, 0, 0xff, 1, 0xfe };
	struct dgram_addr a = { .len = 0 };
	int i;

	memset(ip, 0, 16);
	if (v4) {
		ip[10] = ip[11] = 0xff;
		ip[12] = 10;
		ip[13] = (unsigned char)rnd(wide);
		ip[14] = (unsigned char)rnd(wide);
		ip[15] = bytes[rnd(COUNT(bytes))];
		a.len = sizeof(a.u.in);
		a.u.in.sin_family = AF_INET;
		memcpy(&a.u.in.sin_addr, ip + 12, 4);
	} else {
		ip[0] = 0xfd;
		for (i = 6; i < 16; i++)
			ip[i] = i < 13 && i != 7 ? bytes[rnd(2)] :
			    (unsigned char)rnd(wide);
		if (rnd(4) == 0)
			memset(ip + 8, rnd(2) == 0 ? 0 : 0xff, 8);
		a.len = sizeof(a.u.in6);
		a.u.in6.sin6_family = AF_INET6;
		memcpy(&a.u.in6.sin6_addr, ip, 16);
	}
	return a;
}

static const char *
text_of(const struct dgram_addr *a)
{
	static char text[2][64];
	static int k;

	k = !k;
	MUST(dgram_addr_host(a, text[k], sizeof(text[k])) > 0, "no text");
	return text[k];
}

static void
add_random(unsigned wide, bool large)
{
	struct naive *v = &naive[nnaive++];
	struct dgram_addr a, b;
	bool v4 = rnd(2) == 0;
	int prefix, i;

	MUST(nnaive <= NAIVE_MOST, "too many");
	a = random_addr(v4, wide, v->first);
	b = random_addr(v4, wide, v->last);
	switch (large ? rnd(3) : 0) {
	case 0:
		memcpy(v->last, v->first, 16);
		OK(dgram_block_list_add_address(list, text_of(&a)));
		break;
	case 1:
		if (memcmp(v->first, v->last, 16) > 0) {
			CHECK(dgram_block_list_add_range(list, text_of(&a),
			    text_of(&b)), -EINVAL);
			nnaive--;
			break;
		}
		OK(dgram_block_list_add_range(list, text_of(&a), text_of(&b)));
		break;
	case 2:
		prefix = v4 ? (int)rnd(12) + 21 : (int)rnd(120) + 9;
		OK(dgram_block_list_add_subnet(list, text_of(&a), prefix));
		memcpy(v->last, v->first, 16);
		for (i = prefix + (v4 ? 96 : 0); i < 128; i++) {
			v->first[i / 8] &= (unsigned char)~(0x80 >> i % 8);
			v->last[i / 8] |= (unsigned char)(0x80 >> i % 8);
		}
		break;
	}
}

static struct dgi_key
after(struct dgi_key ip)
{
	return (struct dgi_key){ ip.hi + (ip.lo == UINT64_MAX), ip.lo + 1 };
}

static bool
is_below(struct dgi_key a, struct dgi_key b)
{
	return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}

/* In order, none touches the next, no empty block; how many rules. */
static size_t
check_order(const struct dgram_block_list *b)
{
	const struct dgi_rule *last = NULL, *r;
	size_t i, sum = 0;
	unsigned k;

	for (i = 0; i < b->n; i++) {
		MUST(b->blocks[i]->n > 0 && b->blocks[i]->n <= DGI_RULES,
		    "block %zu has %u", i, b->blocks[i]->n);
		sum += b->blocks[i]->n;
		for (k = 0; k < b->blocks[i]->n; k++, last = r) {
			r = &b->blocks[i]->v[k];
			MUST(!is_below(r->last, r->first), "no interval");
			MUST(last == NULL || is_below(after(last->last),
			    r->first), "block %zu, rule %u", i, k);
		}
	}
	MUST(b->n <= b->room, "no room");
	return sum;
}

static void
check_random(unsigned wide, int n)
{
	unsigned char ip[16];
	struct dgram_addr a;

	while (n-- > 0) {
		a = random_addr(rnd(2) == 0, wide, ip);
		MUST(dgram_block_list_check(list, &a) == naive_has(ip),
		    "%s: %d", text_of(&a), (int)naive_has(ip));
	}
}

TEST(blocklist, random_against_naive)
{
	unsigned round, wide;
	size_t most = 0, rules;
	int i;

	for (round = 0; round < 8; round++) {
		seed = round;
		wide = round % 2 == 0 ? 4 : 256;
		nnaive = 0;
		new_list();
		/* Many small ones in many blocks, then large ones over them. */
		for (i = 0; i < 1500; i++) {
			add_random(wide, false);
			if (i % 100 == 0)
				check_order(list);
		}
		rules = check_order(list);
		if (rules > most)
			most = rules;
		check_random(wide, 300);
		for (i = 0; i < 150; i++) {
			add_random(wide, true);
			check_order(list);
			check_random(wide, 10);
		}
		free_list();
	}
	cr_assert(most > 4 * DGI_RULES, "%zu rules: no block was split", most);
}

/* In order they fill the blocks, and neighbours become one rule. */
TEST(blocklist, in_order)
{
	char text[32];
	int i, down;

	for (down = 0; down < 2; down++) {
		new_list();
		for (i = 0; i < 2000; i++) {
			snprintf(text, sizeof(text), "10.0.%d.%d",
			    (down ? 1999 - i : i) / 100,
			    (down ? 1999 - i : i) % 100 * 2);
			OK(dgram_block_list_add_address(list, text));
		}
		cr_assert_eq(check_order(list), 2000);
		cr_assert(list->n <= (down ? 2 : 1) * (2000 / DGI_RULES + 1),
		    "%zu blocks", list->n);
		for (i = 0; i < 2000; i++) {
			snprintf(text, sizeof(text), "10.0.%d.%d", i / 100,
			    i % 100 * 2 + 1);
			cr_assert(!has(text));
			OK(dgram_block_list_add_address(list, text));
		}
		/* One for each of 10.0.0.0 to 10.0.19.0, 200 long. */
		cr_assert_eq(check_order(list), 20);
		OK(add_rule("10.0.0.0/16"));
		cr_assert_eq(check_order(list), 1);
		free_list();
	}
}

/* A feed of addresses, in no order: not the square of it. */
TEST(blocklist, many)
{
	const unsigned n = test_emulated() ? 20000 : 200000;
	char text[32];
	unsigned i, x = 1;

	new_list();
	for (i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		snprintf(text, sizeof(text), "%u.%u.%u.%u", x >> 24,
		    x >> 16 & 255, x >> 8 & 255, x & 254);
		MUST(dgram_block_list_add_address(list, text) == 0, "add");
	}
	cr_assert(check_order(list) > n - n / 100);
	free_list();
}

static size_t
copy_rules(const struct dgram_block_list *b, struct dgi_rule *v)
{
	size_t i, n = 0;

	for (i = 0; i < b->n; i++) {
		memcpy(v + n, b->blocks[i]->v,
		    b->blocks[i]->n * sizeof(*v));
		n += b->blocks[i]->n;
	}
	return n;
}

/* Each allocation fails once; the list is as it was, and goes on. */
TEST(blocklist, without_memory)
{
	static struct dgi_rule before[4000], now[4000];
	static const char *const large[] = { "10.0.0.0/10", "10.64.0.0/11",
		"10.200.0.0-10.211.0.0" };
	struct test_alloc alloc;
	unsigned failed = 0, i, x = 1;
	char text[32];
	size_t n;
	int r;

	test_alloc_init(&alloc);
	alloc.fail_at = 1;
	CHECK(dgi_block_list_new(&alloc.allocator, &list), -ENOMEM);
	OK(dgi_block_list_new(&alloc.allocator, &list));
	for (i = 0; i < 3000; i++) {
		x = x * 1664525u + 1013904223u;
		snprintf(text, sizeof(text), "10.%u.%u.%u", x >> 24,
		    x >> 16 & 255, x >> 8 & 255);
		/* Over some of it: blocks that are empty then are used again. */
		alloc.fail_at = 0;
		if (i >= 1500 && i % 500 == 0)
			OK(add_rule(large[i / 500 - 3]));
		n = copy_rules(list, before);
		alloc.fail_at = alloc.calls + 1;
		while ((r = CALL(dgram_block_list_add_subnet(list, text,
		    31))) != 0) {
			MUST(r == -ENOMEM, "%d", r);
			MUST(copy_rules(list, now) == n && memcmp(before, now,
			    n * sizeof(*now)) == 0, "it has changed");
			failed++;
			/* The first, then the second that it needs. */
			alloc.fail_at = failed % 2 == 0 ? 0 : alloc.calls + 2;
		}
	}
	cr_assert(failed > 15, "%u", failed);
	check_order(list);
	alloc.fail_at = 0;
	free_list();
	cr_assert(test_alloc_clean(&alloc));
}

/* ---- receiving ---- */

/* A bare socket on 127.0.0.2, which not every system has. */
static int
second_sender(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int s2 = socket(AF_INET, SOCK_DGRAM, 0);

	cr_assert(s2 >= 0);
	a.sin_addr.s_addr = htonl(0x7f000002);
	if (bind(s2, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(s2);
		return -1;
	}
	return s2;
}

/* From either, by the bits: 1 is of 127.0.0.2. */
static void
send_mixed(const int fds[2], uint32_t first, int n, uint32_t bits, size_t size)
{
	unsigned char data[64];
	uint32_t seq;
	int i;

	for (i = 0; i < n; i++) {
		seq = first + (uint32_t)i;
		memset(data, (int)seq, sizeof(data));
		memcpy(data, &seq, sizeof(seq));
		MUST(sendto(fds[bits >> i & 1], data, size, 0, &p.addr.u.sa,
		    p.addr.len) == (ssize_t)size, "%s", strerror(errno));
	}
}

/* What is told of a message is its own, and the answer comes from it. */
static void
check_messages(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	unsigned char data[64];
	uint32_t seq;
	size_t i;

	if (e != EV_MESSAGE)
		return;
	for (i = 0; i < n; i++) {
		memcpy(&seq, m[i].data, sizeof(seq));
		memset(data, (int)seq, sizeof(data));
		memcpy(data, &seq, sizeof(seq));
		MUST(memcmp(m[i].data, data, m[i].size) == 0, "%u", seq);
		MUST(m[i].remote->u.in.sin_addr.s_addr == htonl(0x7f000001),
		    "from the other");
		if ((m[i].flags & DGRAM_LOCAL) != 0)
			MUST(dgram_addr_equal(m[i].local, &peer->addr),
			    "another local address");
		OK(dgram_reply(peer->s, &m[i], m[i].data, m[i].size));
	}
}

static void
receive_mixed(const char *backend, unsigned want, size_t max)
{
	static const uint32_t patterns[] = { 0, UINT32_MAX, 1, 0x80000000u,
		0x7fffffffu, 0xfffffffeu, 0x55555555u, 0x0ff0f00fu, 0x10000u };
	struct dgram_options o = { .want = want, .max_datagram = max };
	struct dgram_stats st;
	struct peer other;
	uint64_t good = 0, bad = 0;
	int fds[2], i, seen;
	size_t at = 0, k;

	new_list();
	OK(add_rule("127.0.0.2"));
	o.receive_block_list = list;
	enter(backend, NULL, &o, NULL);
	fds[0] = bare_socket(DGRAM_UDP4, &to);
	fds[1] = second_sender();
	if (fds[1] < 0) {
		close(fds[0]);
		leave();
		free_list();
		cr_skip_test("no 127.0.0.2 on this system");
	}
	p.hook = check_messages;
	peer_bind(&p);
	peer_open_bound(&other, l, DGRAM_UDP4, NULL);
	turns(l, 2);
	/* Each several times: alone, then in a streak. */
	for (k = 0; k < COUNT(patterns) * 3; k++) {
		send_mixed(fds, (uint32_t)k * 32, 32, patterns[k / 3], 16);
		for (i = 0; i < 32; i++) {
			if ((patterns[k / 3] >> i & 1) == 0)
				good++;
			else
				bad++;
		}
		RUN_UNTIL(l, stats_of(&p).received +
		    stats_of(&p).blocked == good + bad);
		for (i = seen = 0; i < 32; i++) {
			if ((patterns[k / 3] >> i & 1) != 0)
				continue;
			MUST(p.seq[at] == (uint32_t)k * 32 + (uint32_t)i,
			    "%u", p.seq[at]);
			at++;
			seen++;
		}
		MUST(p.got == at, "%zu, not %zu", p.got, at);
		turns(l, 2);
		for (i = 0; i < 32; i++) {
			if ((patterns[k / 3] >> i & 1) == 0)
				MUST(bare_recv(fds[0]) ==
				    (int64_t)k * 32 + i, "the answer");
		}
		MUST(bare_recv(fds[0]) == -1 && bare_recv(fds[1]) == -1,
		    "more answers");
		/* One without a list has nothing of it. */
		bare_send(fds[1], &other.addr, (uint32_t)k);
		RUN_UNTIL(l, other.got == k + 1);
	}
	st = stats_of(&p);
	cr_assert_eq(st.received, good);
	cr_assert_eq(st.blocked, bad);
	cr_assert_eq(st.received_bytes, good * (max == 0 ? 16 : max));
	cr_assert_eq(st.truncated, max == 0 ? 0 : good);
	cr_assert_eq(p.n[EV_ERROR], 0);
	cr_assert_eq(stats_of(&other).blocked, 0);
	if (test_has("recvmmsg"))
		cr_assert(p.largest > 1, "never a batch");
	close(fds[0]);
	close(fds[1]);
	leave();
	free_list();
}

BACKEND_TEST(blocklist, received)
{
	receive_mixed(backend, 0, 0);
}

/* By recvmsg(2), each with what the kernel tells of it. */
BACKEND_TEST(blocklist, received_with_metadata)
{
	receive_mixed(backend, DGRAM_LOCAL | DGRAM_TTL, 0);
}

/* Cut ones count as truncated only if they are told. */
BACKEND_TEST(blocklist, received_cut)
{
	receive_mixed(backend, 0, 8);
}

/* A flood of what is blocked uses the budget up like any other. */
BACKEND_TEST(blocklist, received_within_the_budget)
{
	struct dgram_loop_options lo = { .batch = 8, .budget = 16 };
	struct dgram_options o = { 0 };
	struct dgram_stats st;
	int i;

	new_list();
	OK(add_rule("127.0.0.0/8"));
	o.receive_block_list = list;
	enter(backend, &lo, &o, NULL);
	peer_bind(&p);
	turns(l, 2);
	/* As many as any system has room for. */
	for (i = 0; i < 64; i++)
		bare_send(fd, &p.addr, (uint32_t)i);
	for (st = stats_of(&p); st.blocked < 64; ) {
		i = (int)st.blocked;
		turn_wait(l, 100);
		st = stats_of(&p);
		MUST(st.blocked - (unsigned)i <= 16, "%d in a turn",
		    (int)st.blocked - i);
	}
	cr_assert(st.budget_used_up >= 3, "%d", (int)st.budget_used_up);
	cr_assert(st.received == 0 && st.received_bytes == 0);
	cr_assert_eq(p.n[EV_MESSAGE], 0);
	leave();
	free_list();
}

/* A rule of IPv4 on a socket of both. */
BACKEND_TEST(blocklist, received_mapped)
{
	struct dgram_options o = { 0 };
	struct dgram_addr any;
	struct peer q;
	int sender;

	if (!have_ipv6() || !DGI_HAVE_MAPPED)
		cr_skip_test("no socket of both families on this system");
	new_list();
	OK(add_rule("127.0.0.1"));
	enter(backend, NULL, NULL, NULL);
	o.receive_block_list = list;
	peer_open(&q, l, DGRAM_UDP6, &o);
	OK(dgram_addr_parse(&any, "::", 0));
	OK(dgram_bind_addr(q.s, &any));
	OK(dgram_address(q.s, &any));
	turns(l, 2);
	bare_send(fd, &(struct dgram_addr){ .len = sizeof(any.u.in),
	    .u.in = { .sin_family = AF_INET, .sin_port = any.u.in6.sin6_port,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } }, 1);
	RUN_UNTIL(l, stats_of(&q).blocked == 1);
	sender = bare_socket(DGRAM_UDP6, &to);
	any.u.in6.sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
	bare_send(sender, &any, 2);
	RUN_UNTIL(l, q.got == 1);
	cr_assert_eq(q.seq[0], 2);
	close(sender);
	leave();
	free_list();
}

/* ---- sending ---- */

#define BLOCKED	DGRAM_ERR_IP_BLOCKED

static struct dgram_addr bad;

/* p may send to `to`, and not to `bad`. */
static void
enter_sender(const char *backend)
{
	struct dgram_options o = { 0 };

	new_list();
	OK(add_rule("127.0.0.2-127.255.255.255"));
	o.send_block_list = list;
	enter(backend, NULL, &o, look_up);
	/* The socket's is enough. */
	free_list();
	OK(dgram_addr_parse(&bad, "127.0.0.2", port));
}

static int
send_addr(uint32_t seq, const struct dgram_addr *dest, bool silent)
{
	struct iovec iov = { number(seq), sizeof(seq) };

	return CALL(dgram_send_addr(p.s, &iov, 1, dest, silent ? NULL : sent,
	    &p));
}

/* Completions in the order of the calls, each with its result. */
BACKEND_TEST(blocklist, sent)
{
	static const unsigned patterns[] = { 0, 1, 2, 0xff, 0x55, 0x80, 0x3c };
	unsigned i;
	size_t k;

	enter_sender(backend);
	peer_bind(&p);
	turns(l, 2);
	for (k = 0; k < COUNT(patterns); k++) {
		nrecords = 0;
		for (i = 0; i < 8; i++)
			OK(send_addr(i, patterns[k] >> i & 1 ? &bad : &to,
			    false));
		RUN_UNTIL(l, nrecords == 8);
		for (i = 0; i < 8; i++) {
			if (patterns[k] >> i & 1) {
				cr_assert_eq(records[i].status, BLOCKED);
				cr_assert_eq(records[i].kind, DGRAM_IN_SEND);
			} else {
				cr_assert_eq(records[i].status, 4);
				cr_assert_eq(bare_recv(fd), i);
			}
		}
		cr_assert_eq(bare_recv(fd), -1);
	}
	LEDGER(8 * COUNT(patterns) - 19, 19, 0, 0);
	leave();
}

/* Without a completion it is an error; a reply is counted. */
BACKEND_TEST(blocklist, sent_silently)
{
	struct dgram_message m = { .remote = &bad };
	char text[64];

	enter_sender(backend);
	peer_bind(&p);
	turns(l, 2);
	OK(send_addr(1, &bad, true));
	OK(send_addr(2, &to, true));
	RUN_UNTIL(l, p.n[EV_ERROR] == 1);
	snprintf(text, sizeof(text), "send ERR_IP_BLOCKED 127.0.0.2:%d", port);
	TOLD('E', 0, BLOCKED, DGRAM_IN_SEND, text);
	cr_assert_eq(bare_recv(fd), 2);
	OK(dgram_reply(p.s, &m, "x", 1));
	RUN_UNTIL(l, stats_of(&p).failed == 2);
	turns(l, 2);
	cr_assert_eq(p.n[EV_ERROR], 1);
	leave();
}

static void
fill_batch(struct dgram_datagram *d, struct iovec *iov, unsigned n,
    unsigned bits)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		iov[i] = (struct iovec){ number(i), sizeof(uint32_t) };
		d[i] = (struct dgram_datagram){ .iov = &iov[i], .iovcnt = 1,
		    .to = bits >> i & 1 ? &bad : &to, .result = 99 };
	}
}

BACKEND_TEST(blocklist, sent_in_arrays)
{
	static const unsigned patterns[] = { 0, 1, 2, 0xffff, 0x5555, 0x8000,
		0x3cc3 };
	struct dgram_datagram d[16];
	struct iovec iov[16];
	unsigned i, good;
	size_t k;

	enter_sender(backend);
	peer_bind(&p);
	turns(l, 2);
	for (k = 0; k < COUNT(patterns); k++) {
		nrecords = 0;
		good = 0;
		fill_batch(d, iov, 16, patterns[k]);
		OK(dgram_send_batch(p.s, d, 16, sent, &p));
		RUN_UNTIL(l, nrecords == 1);
		for (i = 0; i < 16; i++) {
			if (patterns[k] >> i & 1) {
				cr_assert_eq(d[i].result, BLOCKED);
				continue;
			}
			cr_assert_eq(d[i].result, 4);
			cr_assert_eq(bare_recv(fd), i);
			good++;
		}
		cr_assert_eq(records[0].status, (int)good);
		cr_assert_eq(bare_recv(fd), -1);
	}
	/* Copied, each is a request of its own. */
	fill_batch(d, iov, 3, 2);
	OK(dgram_send_batch(p.s, d, 3, NULL, NULL));
	RUN_UNTIL(l, p.n[EV_ERROR] == 1);
	cr_assert_eq(bare_recv(fd), 0);
	cr_assert_eq(bare_recv(fd), 2);
	/* An empty array has nothing that is blocked. */
	nrecords = 0;
	OK(dgram_send_batch(p.s, d, 0, sent, &p));
	RUN_UNTIL(l, nrecords == 1);
	cr_assert_eq(records[0].status, 0);
	leave();
}

/* What went is a prefix, and ends in front of the first. */
BACKEND_TEST(blocklist, tried)
{
	struct dgram_datagram d[4];
	struct iovec iov[4];

	enter_sender(backend);
	fill_batch(d, iov, 4, 4);
	CHECK(dgram_try_send(p.s, d, 4), 2);
	cr_assert_eq(d[1].result, 4);
	cr_assert_eq(d[2].result, BLOCKED);
	cr_assert_eq(d[3].result, 99);
	cr_assert_eq(bare_recv(fd), 0);
	cr_assert_eq(bare_recv(fd), 1);
	cr_assert_eq(bare_recv(fd), -1);
	CHECK(dgram_try_send(p.s, d + 2, 2), BLOCKED);
	leave();
}

/* Late comes first: it would have failed without the list. */
BACKEND_TEST(blocklist, late_and_blocked)
{
	struct dgram_datagram d[3];
	struct iovec iov[3];

	enter_sender(backend);
	peer_bind(&p);
	turns(l, 2);
	fill_batch(d, iov, 3, 7);
	d[0].deadline_ns = 1;
	d[1].deadline_ns = UINT64_MAX;
	OK(dgram_send_batch(p.s, d, 3, sent, &p));
	RUN_UNTIL(l, nrecords == 1);
	cr_assert_eq(d[0].result, -ETIMEDOUT);
	cr_assert_eq(d[1].result, BLOCKED);
	cr_assert_eq(d[2].result, BLOCKED);
	cr_assert(stats_of(&p).expired == 1 && stats_of(&p).failed == 2);
	leave();
}

/* By name: known when the address is, behind what was accepted before. */
BACKEND_TEST(blocklist, named)
{
	enter_sender(backend);
	peer_bind(&p);
	OK(send_to("bad", 1));
	OK(send_silent("bad", 2));
	OK(send_to("good", 3));
	RUN_UNTIL(l, nasks == 2);
	OK(answer(0, "127.9.9.9"));
	OK(answer(1, "127.0.0.1"));
	RUN_UNTIL(l, nrecords == 3);
	cr_assert_eq(records[0].status, BLOCKED);
	cr_assert_eq(records[0].kind, DGRAM_IN_SEND);
	cr_assert(records[1].what == 'E' && records[1].status == BLOCKED);
	cr_assert_eq(records[2].status, 4);
	cr_assert_eq(bare_recv(fd), 3);
	LEDGER(1, 2, 0, 0);
	leave();
}

BACKEND_TEST(blocklist, connected)
{
	struct dgram_options o = { 0 };
	struct iovec iov = { number(1), 4 };
	int fd2;

	enter_sender(backend);
	CHECK(dgram_connect_addr(p.s, &bad), BLOCKED);
	cr_assert_eq(p.s->state, DGI_UNBOUND);
	CHECK(dgram_connect(p.s, port, "127.0.0.3", connect_done, &p),
	    BLOCKED);
	cr_assert_eq(nrecords, 0);
	OK(dgram_connect(p.s, port, "bad", connect_done, &p));
	RUN_UNTIL(l, nasks == 1);
	OK(answer(0, "127.0.0.4"));
	RUN_UNTIL(l, nrecords == 1);
	cr_assert(records[0].what == 'c' && records[0].status == BLOCKED);
	cr_assert_eq(p.s->state, DGI_BOUND);
	OK(dgram_connect_addr(p.s, &to));
	turns(l, 2);
	OK(CALL(dgram_send_addr(p.s, &iov, 1, NULL, sent, &p)));
	RUN_UNTIL(l, nrecords == 2);
	cr_assert_eq(records[1].status, 4);
	leave();
	/* Connected by somebody else: each datagram is for that peer. */
	new_list();
	OK(add_rule("127.0.0.1"));
	o.send_block_list = list;
	o.events = &names_events;
	o.arg = &p;
	enter(backend, NULL, NULL, NULL);
	nrecords = 0;
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 2);
	memset(&p, 0, sizeof(p));
	fd2 = bare_socket(DGRAM_UDP4, &bad);
	cr_assert_eq(connect(fd2, &to.u.sa, to.len), 0);
	OK(dgram_open_fd(l, &o, fd2, &p.s));
	OK(CALL(dgram_send_addr(p.s, &iov, 1, NULL, sent, &p)));
	RUN_UNTIL(l, nrecords == 1);
	cr_assert_eq(records[0].status, BLOCKED);
	CHECK(dgram_try_send(p.s, &(struct dgram_datagram){ .iov = &iov,
	    .iovcnt = 1 }, 1), BLOCKED);
	cr_assert_eq(bare_recv(fd), -1);
	leave();
	free_list();
}

/*
 * The wildcard: Linux takes it for the address that a datagram is sent from, be
 * it the socket's own or the datagram's.
 */
BACKEND_TEST(blocklist, sent_to_the_wildcard)
{
	struct iovec iov = { number(1), 4 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1, .to = &bad };
	struct dgram_addr own;
	struct peer q;
	int fd2;

	enter_sender(backend);
	OK(dgram_addr_parse(&own, "127.0.0.2", 0));
	fd2 = second_sender();
	if (fd2 < 0) {
		leave();
		cr_skip_test("no 127.0.0.2 on this system");
	}
	close(fd2);
	peer_open(&q, l, DGRAM_UDP4, &(struct dgram_options){
	    .send_block_list = p.s->options.send_block_list });
	OK(dgram_bind_addr(q.s, &own));
	peer_bind(&p);
	turns(l, 2);
	OK(dgram_addr_parse(&bad, "0.0.0.0", port));
	CHECK(dgram_try_send(q.s, &d, 1), BLOCKED);
	CHECK(dgram_connect_addr(q.s, &bad), BLOCKED);
	OK(CALL(dgram_send_addr(q.s, &iov, 1, &bad, NULL, NULL)));
	RUN_UNTIL(l, stats_of(&q).failed == 1);
	/* From 127.0.0.1 it may. */
	OK(send_addr(2, &bad, false));
	RUN_UNTIL(l, nrecords == 1);
	cr_assert_eq(records[0].status, 4);
	cr_assert_eq(bare_recv(fd), 2);
	d.from = &own;
	if (dgram_try_send(p.s, &d, 1) != -ENOTSUP) {
		CHECK(dgram_try_send(p.s, &d, 1), BLOCKED);
		OK(dgram_send_batch(p.s, &d, 1, NULL, NULL));
		RUN_UNTIL(l, p.n[EV_ERROR] == 1);
		OK(dgram_send_batch(p.s, &d, 1, sent, &p));
		RUN_UNTIL(l, nrecords == 3);
		cr_assert_eq(d.result, BLOCKED);
	}
	leave();
}

/* What close still sends is looked at as well. */
BACKEND_TEST(blocklist, closed)
{
	enter_sender(backend);
	peer_bind(&p);
	turns(l, 2);
	OK(send_addr(1, &to, false));
	OK(send_addr(2, &bad, false));
	OK(dgram_close(p.s, NULL, NULL));
	RUN_UNTIL(l, p.s == NULL);
	cr_assert_eq(records[0].status, 4);
	cr_assert_eq(records[1].status, BLOCKED);
	leave();
}

/* ---- life ---- */

TEST(blocklist, refused_by_sockets)
{
	struct dgram_options o = { .type = DGRAM_UNIX };
	struct dgram_socket *s = NULL;
	struct dgram_addr a;
	int unix_fd;

	new_list();
	enter(NULL, NULL, NULL, NULL);
	unix_fd = bare_socket(DGRAM_UNIX, &a);
	o.receive_block_list = list;
	CHECK(dgram_open(l, &o, &s), -ENOTSUP);
	o.type = (enum dgram_type)0;
	CHECK(dgram_open_fd(l, &o, unix_fd, &s), -ENOTSUP);
	o.receive_block_list = NULL;
	o.send_block_list = list;
	CHECK(dgram_open_fd(l, &o, unix_fd, &s), -ENOTSUP);
	o.type = DGRAM_UNIX;
	CHECK(dgram_open(l, &o, &s), -ENOTSUP);
	o.type = DGRAM_UDP4;
	o.receive_block_list = list;
	o.want = DGRAM_NO_REMOTE;
	CHECK(dgram_open(l, &o, &s), -EINVAL);
	/* No reference is left of those. */
	f.fail_alloc = f.allocs + 1;
	o.want = 0;
	CHECK(dgram_open(l, &o, &s), -ENOMEM);
	CHECK(dgram_open_fd(l, &o, -1, &s), -EBADF);
	cr_assert_eq(atomic_load(&list->refs), 1);
	o.receive_block_list = NULL;
	o.want = DGRAM_NO_REMOTE;
	OK(dgram_open(l, &o, &s));
	cr_assert_eq(atomic_load(&list->refs), 2);
	close(unix_fd);
	leave();
	cr_assert_eq(atomic_load(&list->refs), 1);
	free_list();
}

/* The list lives until its user and its last socket have let go. */
TEST(blocklist, counted)
{
	struct dgram_options o = { 0 };
	struct test_alloc alloc;
	struct peer q;

	test_alloc_init(&alloc);
	OK(dgi_block_list_new(&alloc.allocator, &list));
	OK(add_rule("127.0.0.1"));
	o.receive_block_list = o.send_block_list = list;
	enter(NULL, NULL, &o, NULL);
	o.send_block_list = NULL;
	peer_open_bound(&q, l, DGRAM_UDP4, &o);
	free_list();
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 3);
	bare_send(fd, &q.addr, 1);
	RUN_UNTIL(l, stats_of(&q).blocked == 1);
	cr_assert(!test_alloc_clean(&alloc));
	OK(dgram_close(q.s, NULL, NULL));
	turns(l, 3);
	cr_assert(test_alloc_clean(&alloc), "%zu pieces", alloc.pieces);
	leave();
}

/* A loop of its own, whose sockets come and go. */
static void *
use_list(void *arg)
{
	static const struct dgram_events none = { .error = NULL };
	struct dgram_options o = { .type = DGRAM_UDP4, .events = &none };
	const struct dgram_block_list *shared = list;
	struct dgram_socket *s;
	struct dgram_loop *own;
	struct dgram_addr a;
	int i;

	(void)arg;
	o.receive_block_list = o.send_block_list = list;
	if (dgram_loop_new(NULL, &own) < 0 ||
	    dgram_addr_parse(&a, "10.0.0.7", 9) < 0)
		return NULL;
	for (i = 0; i < 200; i++) {
		if (dgram_open(own, &o, &s) < 0 ||
		    dgram_connect_addr(s, &a) != BLOCKED ||
		    !dgram_block_list_check(shared, &a) ||
		    dgram_close(s, NULL, NULL) < 0 ||
		    dgram_loop_run(own) < 0)
			return NULL;
	}
	return dgram_loop_free(own) < 0 ? NULL : &list;
}

TEST(blocklist, shared_by_threads)
{
	pthread_t t[4];
	size_t i;
	void *ok;

	new_list();
	OK(add_rule("10.0.0.0/8"));
	for (i = 0; i < COUNT(t); i++)
		cr_assert_eq(pthread_create(&t[i], NULL, use_list, NULL), 0);
	for (i = 0; i < COUNT(t); i++) {
		cr_assert_eq(pthread_join(t[i], &ok), 0);
		cr_assert(ok != NULL, "thread %zu", i);
	}
	cr_assert_eq(atomic_load(&list->refs), 1);
	free_list();
}
