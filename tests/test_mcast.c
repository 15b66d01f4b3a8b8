/* SPDX-License-Identifier: ISC */

/*
 * Multicast: what may be joined, what is joined then, and what is heard.
 *
 * The kernel is asked whether a socket is a member, is_member().  Where there
 * must be interfaces a test has some of its own, netns.h.
 */

#include "netns.h"

#include <sys/wait.h>

#include <net/if.h>

#if DGI_OS_LINUX
#include <netpacket/packet.h>
#endif

#include "core/mcast.h"

#define PORT	7407

static struct fault_os f;
static struct dgram_loop *l;

static void
enter(const char *backend)
{
	if (test_emulated())
		cr_skip_test("user-mode emulation does not pass all of this");
	fault_init(&f);
	l = fault_loop(&f, backend, NULL);
}

static void
leave(void)
{
	free_fault_loop(l, &f);
}

static const char *
lo(void)
{
	return if_nametoindex("lo") != 0 ? "lo" : "lo0";
}

/* By the kernel, for this socket.  -1: this system does not tell. */
static int
is_member(const struct peer *p, const char *group, unsigned index)
{
#if DGI_OS_LINUX
	struct dgram_addr a;
	struct group_filter g;
	socklen_t len = sizeof(g);

	memset(&g, 0, sizeof(g));
	g.gf_interface = index;
	OK(dgram_addr_parse(&a, group, 0));
	memcpy(&g.gf_group, &a.u, a.len);
	/* Not by the table, which would not pass it. */
	return (getsockopt)(p->s->fd, a.u.sa.sa_family == AF_INET ?
	    IPPROTO_IP : IPPROTO_IPV6, MCAST_MSFILTER, &g, &len) == 0;
#else
	(void)p, (void)group, (void)index;
	return -1;
#endif
}

#define MEMBER(p, group, name, yes) do {				\
	int is_ = is_member(p, group, if_nametoindex(name));		\
	MUST(is_ == -1 || is_ == (yes), "%s on %s: %d", group, name, is_); \
} while (0)

static size_t
count(const struct peer *p)
{
	const struct dgi_membership *m;
	size_t n = 0;

	for (m = p->s->memberships; m != NULL; m = m->next)
		n++;
	return n;
}

/* Nothing has happened to it. */
static void
untouched(const struct peer *p, int fds)
{
	MUST(p->s->state == DGI_UNBOUND && p->s->fd < 0 &&
	    p->s->memberships == NULL && p->s->owes == 0, "touched");
	cr_assert_eq(test_count_fds(), fds);
}

/* ---- words ---- */

struct row {
	int type;
	const char *group, *interface;
	int result;
	const char *source;
};

/* Wrong ones, and what is not there: on an unbound socket nothing comes of it. */
TEST(mcast, wrong)
{
	static const struct row rows[] = {
		{ DGRAM_UDP4, NULL, NULL, -EINVAL, NULL },
		{ DGRAM_UDP4, "", NULL, -EINVAL, NULL },
		{ DGRAM_UDP4, "0", NULL, -EINVAL, NULL },
		{ DGRAM_UDP4, "256.256.256.256", NULL, -EINVAL, NULL },
		{ DGRAM_UDP4, "127.0.0.1", NULL, -EINVAL, NULL },
		{ DGRAM_UDP4, "223.255.255.255", NULL, -EINVAL, NULL },
		{ DGRAM_UDP4, "240.0.0.0", NULL, -EINVAL, NULL },
		{ DGRAM_UDP4, "224.7.7.7%lo", NULL, -EINVAL, NULL },
		{ DGRAM_UDP4, "224.7.7.7", "", -EINVAL, NULL },
		{ DGRAM_UDP4, "224.7.7.7", "::1", -EINVAL, NULL },
		{ DGRAM_UDP4, "224.7.7.7", "::%lo", -EINVAL, NULL },
		{ DGRAM_UDP4, "224.7.7.7", "::%none9", -EINVAL, NULL },
		{ DGRAM_UDP4, "224.7.7.7", "9.9.9.9", -ENODEV, NULL },
		{ DGRAM_UDP4, "224.7.7.7", "none9", -ENODEV, NULL },
		{ DGRAM_UDP4, "224.7.7.7", "0", -ENODEV, NULL },
		{ DGRAM_UDP4, "224.7.7.7", "999999", -ENODEV, NULL },
		{ DGRAM_UDP4, "224.7.7.7", "4294967297", -ENODEV, NULL },
		{ DGRAM_UDP4, "224.7.7.7", "a name that is too long", -ENODEV,
		    NULL },
		{ DGRAM_UDP4, "ff05::7", NULL, -ENOPROTOOPT, NULL },
		{ DGRAM_UDP4, "::ffff:224.7.7.7", NULL, -EINVAL, NULL },
		{ DGRAM_UDP6, "::ffff:224.7.7.7", NULL, -EINVAL, NULL },
		{ DGRAM_UDP6, "fe80::1", NULL, -EINVAL, NULL },
		{ DGRAM_UDP6, "ff05::7", "", -EINVAL, NULL },
		{ DGRAM_UDP6, "ff05::7", "::%", -EINVAL, NULL },
		{ DGRAM_UDP6, "ff05::7", "0.0.0.0", -EINVAL, NULL },
		{ DGRAM_UDP6, "ff05::7", "127.0.0.1", -EINVAL, NULL },
		{ DGRAM_UDP6, "ff05::7", "fe80::1", -EINVAL, NULL },
		{ DGRAM_UDP6, "ff05::7", "2001:db8::9", -ENODEV, NULL },
		{ DGRAM_UDP6, "ff05::7", "::%none9", -ENODEV, NULL },
		{ DGRAM_UDP6, "ff05::7%none9", NULL, -ENODEV, NULL },
		{ DGRAM_UDP6, "ff05::7%", NULL, -EINVAL, NULL },
		{ DGRAM_UDP6, "ff05::7%none9", "none8", -ENODEV, NULL },
#if DGI_HAVE_SOURCE_GROUP
		{ DGRAM_UDP4, "232.7.7.7", NULL, -EINVAL, "" },
		{ DGRAM_UDP4, "232.7.7.7", NULL, -EINVAL, "localhost" },
		{ DGRAM_UDP4, "232.7.7.7", NULL, -EINVAL, "224.0.0.1" },
		{ DGRAM_UDP4, "232.7.7.7", NULL, -EINVAL, "::1" },
		{ DGRAM_UDP4, "127.0.0.1", NULL, -EINVAL, "127.0.0.1" },
		{ DGRAM_UDP6, "ff35::7", NULL, -EINVAL, "127.0.0.1" },
		{ DGRAM_UDP6, "ff35::7", NULL, -ENODEV, "fe80::1%none9" },
#endif
	};
	struct peer p;
	size_t i;
	int fds;

	enter(NULL);
	fds = test_count_fds();
	for (i = 0; i < COUNT(rows); i++) {
		const struct row *w = &rows[i];

		peer_open(&p, l, (enum dgram_type)w->type, NULL);
		if (w->source == NULL) {
			CHECK(dgram_add_membership(p.s, w->group,
			    w->interface), w->result);
			CHECK(dgram_drop_membership(p.s, w->group,
			    w->interface), w->result);
		} else {
			CHECK(dgram_add_source_specific_membership(p.s,
			    w->source, w->group, w->interface), w->result);
			CHECK(dgram_drop_source_specific_membership(p.s,
			    w->source, w->group, w->interface), w->result);
		}
		untouched(&p, fds);
		/* It can still become anything. */
		if (w->type == DGRAM_UDP4)
			peer_bind(&p);
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);
	}
	peer_open(&p, l, DGRAM_UDP4, NULL);
	CHECK(dgram_add_source_specific_membership(p.s, NULL, "232.7.7.7",
	    NULL), -EINVAL);
	CHECK(dgram_drop_source_specific_membership(p.s, NULL, "232.7.7.7",
	    NULL), -EINVAL);
	CHECK(dgram_drop_membership(p.s, "224.7.7.7", lo()), -EADDRNOTAVAIL);
	CHECK(dgram_drop_membership(p.s, "224.7.7.7", "*"), -EADDRNOTAVAIL);
	CHECK(dgram_drop_membership(p.s, "224.7.7.7", NULL), -EADDRNOTAVAIL);
	untouched(&p, fds);
	CHECK(dgram_add_membership(NULL, "224.7.7.7", NULL), -EINVAL);
	CHECK(dgram_drop_membership(NULL, "224.7.7.7", NULL), -EINVAL);
	CHECK(dgram_add_source_specific_membership(NULL, "1.1.1.1",
	    "224.7.7.7", NULL), -EINVAL);
	CHECK(dgram_refresh_memberships(NULL), -EINVAL);
	CHECK(dgram_set_multicast_interface(NULL, NULL), -EINVAL);
	CHECK(dgram_set_multicast_ttl(NULL, 1), -EINVAL);
	CHECK(dgram_set_multicast_loopback(NULL, 1), -EINVAL);
	CHECK(dgram_bind_to_device(NULL, NULL), -EINVAL);
	leave();
}

/* All the ways to say an interface mean the same membership. */
TEST(mcast, words_for_an_interface)
{
	static const char *const words4[] = { "10.9.1.1", "d1", NULL };
	static const char *const words6[] = { "fd09:1::1", "d1", "::%d1",
		"fe80::1%d1", "::1%d1", "fd09::1%d1", NULL };
	const char *const *words, *group;
	char number[16], zone[16];
	struct peer p;
	int i, k, n, type;

	netns_enter();
	enter(NULL);
	snprintf(number, sizeof(number), "%u", if_nametoindex("d1"));
	snprintf(zone, sizeof(zone), "::%%%u", if_nametoindex("d1"));
	for (type = DGRAM_UDP4; type <= DGRAM_UDP6; type++) {
		words = type == DGRAM_UDP4 ? words4 : words6;
		group = type == DGRAM_UDP4 ? "224.7.7.7" : "ff05::7:7";
		n = type == DGRAM_UDP4 ? 3 : 8;
		peer_open_bound(&p, l, type, NULL);
#define WORD(i)	(words[i] != NULL ? words[i] : number)
#define WORD6(i) ((i) == 7 ? zone : (i) < n ? WORD(i) : NULL)
		for (i = 0; i < n; i++) {
			OK(dgram_add_membership(p.s, group, WORD6(i)));
			MEMBER(&p, group, "d1", 1);
			MEMBER(&p, group, "d0", 0);
			MEMBER(&p, group, "lo", 0);
			for (k = 0; k < n; k++)
				CHECK(dgram_add_membership(p.s, group,
				    WORD6(k)), -EADDRINUSE);
			cr_assert_eq(count(&p), 1);
			OK(dgram_drop_membership(p.s, group,
			    WORD6((i + 1) % n)));
			MEMBER(&p, group, "d1", 0);
			cr_assert_eq(count(&p), 0);
			for (k = 0; k < n; k++)
				CHECK(dgram_drop_membership(p.s, group,
				    WORD6(k)), -EADDRNOTAVAIL);
		}
	}
	/* The group's own zone; both, and they differ. */
	OK(dgram_add_membership(p.s, "ff02::7%d1", NULL));
	MEMBER(&p, "ff02::7", "d1", 1);
	CHECK(dgram_add_membership(p.s, "ff02::7", "d1"), -EADDRINUSE);
	CHECK(dgram_add_membership(p.s, "ff02::7%d1", "d0"), -EINVAL);
	CHECK(dgram_add_membership(p.s, "ff02::7%d1", "*"), -EINVAL);
	CHECK(dgram_drop_membership(p.s, "ff02::7%d1", "fd09::1"), -EINVAL);
	CHECK(dgram_add_membership(p.s, "ff02::7%d1", "fd09:1::1"),
	    -EADDRINUSE);
	OK(dgram_drop_membership(p.s, "ff02::7%d1", "::"));
	MEMBER(&p, "ff02::7", "d1", 0);
	/* A group wider than a link has one, too. */
	OK(dgram_add_membership(p.s, "ff05::8%d0", "::"));
	MEMBER(&p, "ff05::8", "d0", 1);
	OK(dgram_drop_membership(p.s, "ff05::8", "d0"));
	OK(dgram_add_source_specific_membership(p.s, "fe80::2%d1", "ff35::8",
	    NULL));
	MEMBER(&p, "ff35::8", "d1", 1);
	/* An interface that is called as a number is. */
	netns_run("ip link add 77 type veth peer name 78 && ip link set 77 up");
	OK(dgram_add_membership(p.s, "ff05::9", "77"));
	MEMBER(&p, "ff05::9", "77", 1);
	leave();
}

#if DGI_HAVE_SOURCE_GROUP
static int (*pass_setsockopt)(const struct dgi_os *, int fd, int level,
    int name, const void *, socklen_t);

/* Where IPv4 is concerned. */
static int
macos_setsockopt(const struct dgi_os *os, int fd, int level, int name,
    const void *v, socklen_t len)
{
	struct group_source_req m;

	if (level == IPPROTO_IP && (name == IP_ADD_MEMBERSHIP ||
	    name == IP_DROP_MEMBERSHIP) && len > sizeof(struct ip_mreq))
		len = sizeof(struct ip_mreq);
	if (level == IPPROTO_IP && (name == MCAST_JOIN_SOURCE_GROUP ||
	    name == MCAST_LEAVE_SOURCE_GROUP)) {
		memcpy(&m, v, sizeof(m));
		if (m.gsr_interface == 0)
			return -EADDRNOTAVAIL;
	}
	return pass_setsockopt(os, fd, level, name, v, len);
}

/*
 * macOS, and FreeBSD for long, read no number behind the addresses of an
 * IP_ADD_MEMBERSHIP, and want one in what RFC 3678 has.
 */
TEST(mcast, without_ip_mreqn)
{
	struct peer p;

	netns_enter();
	enter(NULL);
	pass_setsockopt = f.os.setsockopt;
	f.os.setsockopt = macos_setsockopt;
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_add_membership(p.s, "224.7.7.7", "d1"));
	MEMBER(&p, "224.7.7.7", "d1", 1);
	MEMBER(&p, "224.7.7.7", "d0", 0);
	OK(dgram_add_membership(p.s, "224.7.7.7", NULL));
	MEMBER(&p, "224.7.7.7", "d0", 1);
	OK(dgram_drop_membership(p.s, "224.7.7.7", "d1"));
	MEMBER(&p, "224.7.7.7", "d1", 0);
	MEMBER(&p, "224.7.7.7", "d0", 1);
	OK(dgram_drop_membership(p.s, "224.7.7.7", NULL));
	MEMBER(&p, "224.7.7.7", "d0", 0);
	OK(dgram_add_source_specific_membership(p.s, "10.9.0.2", "232.7.7.7",
	    NULL));
	MEMBER(&p, "232.7.7.7", "d0", 1);
	OK(dgram_drop_source_specific_membership(p.s, "10.9.0.2", "232.7.7.7",
	    NULL));
	MEMBER(&p, "232.7.7.7", "d0", 0);
	leave();
}
#endif

/* What Linux says. */
TEST(mcast, kernel_words)
{
	struct peer p, q;

	netns_enter();
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	peer_open_bound(&q, l, DGRAM_UDP6, NULL);
	OK(dgram_add_membership(p.s, "224.1.1.1", "0.0.0.0"));
	MEMBER(&p, "224.1.1.1", "d0", 1);
	CHECK(dgram_add_membership(p.s, "224.1.1.1", NULL), -EADDRINUSE);
	CHECK(dgram_add_membership(p.s, "224.1.1.1", "d0"), -EADDRINUSE);
	OK(dgram_add_membership(p.s, "224.1.1.1", "d1"));
	OK(dgram_drop_membership(p.s, "224.1.1.1", NULL));
	MEMBER(&p, "224.1.1.1", "d0", 0);
	MEMBER(&p, "224.1.1.1", "d1", 1);
	OK(dgram_drop_membership(p.s, "224.1.1.1", "10.9.1.1"));
	CHECK(dgram_drop_membership(p.s, "224.1.1.1", NULL), -EADDRNOTAVAIL);
	/* IPv4 through IPv6. */
	OK(dgram_add_membership(q.s, "224.1.1.1", NULL));
	CHECK(dgram_add_membership(q.s, "224.1.1.1", "d0"), -EADDRINUSE);
	OK(dgram_add_membership(q.s, "224.1.1.2", "127.0.0.1"));
	OK(dgram_drop_membership(q.s, "224.1.1.2", "lo"));

	OK(dgram_add_source_specific_membership(p.s, "10.9.0.1", "232.1.1.1",
	    "d0"));
	CHECK(dgram_add_source_specific_membership(p.s, "10.9.0.1",
	    "232.1.1.1", "d0"), -EADDRNOTAVAIL);
	OK(dgram_add_source_specific_membership(p.s, "10.9.0.2", "232.1.1.1",
	    "d0"));
	CHECK(dgram_drop_source_specific_membership(p.s, "10.9.0.3",
	    "232.1.1.1", "d0"), -EADDRNOTAVAIL);
	CHECK(dgram_drop_source_specific_membership(p.s, "10.9.0.1",
	    "232.1.1.2", "d0"), -EADDRNOTAVAIL);
	/* Outside of 232/8; and where all of it is joined. */
	OK(dgram_add_source_specific_membership(p.s, "10.9.0.1", "224.1.1.9",
	    NULL));
	OK(dgram_add_membership(p.s, "224.1.1.8", "d0"));
	OK(dgram_add_source_specific_membership(p.s, "10.9.0.1", "224.1.1.8",
	    "d0"));
	OK(dgram_drop_source_specific_membership(p.s, "10.9.0.2",
	    "232.1.1.1", "d0"));
	MEMBER(&p, "232.1.1.1", "d0", 1);
	/* The group with all its sources. */
	OK(dgram_drop_membership(p.s, "232.1.1.1", "d0"));
	MEMBER(&p, "232.1.1.1", "d0", 0);
	CHECK(dgram_drop_source_specific_membership(p.s, "10.9.0.1",
	    "232.1.1.1", "d0"), -EADDRNOTAVAIL);
	OK(dgram_drop_membership(p.s, "224.1.1.9", NULL));
	cr_assert_eq(count(&p), 1);
	/* Two sources, one of them where the kernel picked. */
	OK(dgram_add_source_specific_membership(p.s, "10.9.0.1", "232.1.1.3",
	    NULL));
	OK(dgram_add_source_specific_membership(p.s, "10.9.0.2", "232.1.1.3",
	    "d0"));
	OK(dgram_drop_source_specific_membership(p.s, "10.9.0.1",
	    "232.1.1.3", NULL));
	OK(dgram_add_source_specific_membership(p.s, "10.9.0.1", "232.1.1.3",
	    "d0"));
	leave();
}

/* ---- the implicit bind ---- */

TEST(mcast, binds)
{
	struct peer p;
	struct dgram_addr a;
	int type;

	enter(NULL);
	for (type = DGRAM_UDP4; type <= DGRAM_UDP6; type++) {
		if (type == DGRAM_UDP6 && !have_ipv6())
			continue;
		peer_open(&p, l, (enum dgram_type)type, NULL);
		OK(dgram_add_membership(p.s, type == DGRAM_UDP4 ?
		    "224.7.7.7" : "ff05::7:7", lo()));
		cr_assert_eq(p.s->state, DGI_BOUND);
		OK(dgram_address(p.s, &a));
		cr_assert(dgi_addr_is_any(&a) && dgram_addr_port(&a) != 0);
		MEMBER(&p, type == DGRAM_UDP4 ? "224.7.7.7" : "ff05::7:7",
		    lo(), 1);
		cr_assert_eq(p.n[EV_LISTENING], 0);
		turns(l, 3);
		cr_assert_eq(p.n[EV_LISTENING], 1);
		CHECK(dgram_bind_addr(p.s, &a), ALREADY_BOUND);
	}
	leave();
}

static int hook_result;
static bool hook_closes, hook_joins;
static struct peer *hook_peer;

static int
configure(int fd, void *arg)
{
	struct dgram_addr a = any_addr(DGRAM_UDP4);

	(void)fd, (void)arg;
	/* As inside of any bind. */
	MUST(hook_peer->s->state == DGI_BINDING, "not binding");
	MUST(dgram_bind_addr(hook_peer->s, &a) == ALREADY_BOUND, "unbound");
	if (hook_joins)
		MUST(dgram_add_membership(hook_peer->s, "224.7.7.8", lo()) ==
		    0, "not joined");
	if (hook_closes)
		MUST(dgram_close(hook_peer->s, NULL, NULL) == 0, "not closed");
	return hook_result;
}

/* Each call that is made, and each allocation, fails in its turn. */
TEST(mcast, fails_whole)
{
	static const struct {
		enum fault_call call;
		int most;		/* of them there are fewer */
	} calls[] = {
		{ FAULT_SOCKET, 3 }, { FAULT_SETSOCKOPT, 20 },
		{ FAULT_BIND, 3 }, { FAULT_INTERFACES, 4 },
	};
	struct dgram_options o = { .reuse_addr = true };
	struct peer p;
	size_t i, pieces;
	unsigned binds;
	int fds, k, r, failed;

	enter(NULL);
	/* The arena is kept. */
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	fds = test_count_fds();
	peer_open(&p, l, DGRAM_UDP4, &o);
	pieces = f.pieces;
	binds = f.entry[FAULT_BIND].calls;
	for (i = 0; i < COUNT(calls); i++) {
		for (k = 1, failed = 0; k <= calls[i].most; k++) {
			fault_at(&f, calls[i].call, (unsigned)k, -EPERM);
			r = CALL(dgram_add_membership(p.s, "224.7.7.7",
			    "127.0.0.1"));
			f.entry[calls[i].call].at = 0;
			/* Not bound and then unbound. */
			MUST(r == 0 || calls[i].call == FAULT_BIND ||
			    f.entry[FAULT_BIND].calls == binds, "bound");
			binds = f.entry[FAULT_BIND].calls;
			if (r == 0) {
				OK(dgram_close(p.s, NULL, NULL));
				turns(l, 3);
				peer_open(&p, l, DGRAM_UDP4, &o);
				continue;
			}
			failed++;
			cr_assert_eq(r, -EPERM);
			untouched(&p, fds);
			cr_assert_eq(f.pieces, pieces);
		}
		MUST(failed > 0 && failed < calls[i].most, "%d: %d failed",
		    (int)calls[i].call, failed);
	}
	f.fail_alloc = f.allocs + 1;
	CHECK(dgram_add_membership(p.s, "224.7.7.7", lo()), -ENOMEM);
	untouched(&p, fds);
	f.fail_alloc = 0;
	make_stubborn(l);
	(void)dgram_loop_fd(l);
	stubborn.refuse = -ENOSPC;
	CHECK(dgram_add_membership(p.s, "224.7.7.7", lo()), -ENOSPC);
	untouched(&p, fds);
	stubborn.refuse = 0;
	turns(l, 3);
	cr_assert(p.n[EV_LISTENING] == 0 && p.n[EV_ERROR] == 0);
	OK(dgram_add_membership(p.s, "224.7.7.7", lo()));
	leave();
}

TEST(mcast, configure)
{
	struct dgram_options o = { .configure = configure };
	struct peer p;
	int fds;

	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	fds = test_count_fds();
	hook_peer = &p;
	peer_open(&p, l, DGRAM_UDP4, &o);
	hook_result = -EXDEV;
	CHECK(dgram_add_membership(p.s, "224.7.7.7", lo()), -EXDEV);
	untouched(&p, fds);
	/* Joined by it, and gone with the descriptor. */
	hook_joins = true;
	CHECK(dgram_add_membership(p.s, "224.7.7.7", lo()), -EXDEV);
	untouched(&p, fds);
	hook_result = 0;
	OK(dgram_add_membership(p.s, "224.7.7.7", lo()));
	cr_assert_eq(count(&p), 2);
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 3);
	hook_joins = false;
	hook_closes = true;
	peer_open(&p, l, DGRAM_UDP4, &o);
	CHECK(dgram_add_membership(p.s, "224.7.7.7", lo()), NOT_RUNNING);
	turns(l, 3);
	cr_assert_eq(p.n[EV_CLOSE], 1);
	leave();
}

/* An adopted descriptor without an address stays what it was. */
TEST(mcast, adopted)
{
	struct dgram_options o = { .type = DGRAM_UDP4, .events = &peer_events };
	struct peer p = { .s = NULL };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	enter(NULL);
	cr_assert(fd >= 0);
	o.arg = &p;
	OK(dgram_open_fd(l, &o, fd, &p.s));
	CHECK(dgram_drop_membership(p.s, "224.7.7.7", lo()), -EADDRNOTAVAIL);
	fault_at(&f, FAULT_BIND, 1, -EACCES);
	CHECK(dgram_add_membership(p.s, "224.7.7.7", lo()), -EACCES);
	cr_assert(p.s->state == DGI_UNBOUND && p.s->fd == fd);
	cr_assert_eq(count(&p), 0);
	MEMBER(&p, "224.7.7.7", lo(), 0);
	OK(dgram_add_membership(p.s, "224.7.7.7", lo()));
	MEMBER(&p, "224.7.7.7", lo(), 1);
	leave();
}

/* ---- the table and the kernel ---- */

TEST(mcast, all_interfaces)
{
	static const char *const names[] = { "lo", "d0", "d1", "p0", "p1" };
	struct peer p;
	size_t i;
	int type;

	netns_enter();
	enter(NULL);
	for (type = DGRAM_UDP4; type <= DGRAM_UDP6; type++) {
		const char *g = type == DGRAM_UDP4 ? "224.7.7.7" : "ff05::7";

		peer_open(&p, l, (enum dgram_type)type, NULL);
		OK(dgram_add_membership(p.s, g, "*"));
		for (i = 0; i < COUNT(names); i++)
			MEMBER(&p, g, names[i], 1);
		CHECK(dgram_add_membership(p.s, g, "*"), -EADDRINUSE);
		CHECK(dgram_add_membership(p.s, g, "d1"), -EADDRINUSE);
		/* One of them by itself. */
		OK(dgram_drop_membership(p.s, g, "d1"));
		MEMBER(&p, g, "d1", 0);
		MEMBER(&p, g, "d0", 1);
		OK(dgram_drop_membership(p.s, g, "*"));
		for (i = 0; i < COUNT(names); i++)
			MEMBER(&p, g, names[i], 0);
		CHECK(dgram_drop_membership(p.s, g, "*"), -EADDRNOTAVAIL);
		cr_assert_eq(count(&p), 0);
		/* What was joined before is not one of them. */
		OK(dgram_add_membership(p.s, g, "d1"));
		OK(dgram_add_membership(p.s, g, "*"));
		OK(dgram_drop_membership(p.s, g, "*"));
		MEMBER(&p, g, "d0", 0);
		MEMBER(&p, g, "d1", 1);
		OK(dgram_drop_membership(p.s, g, "d1"));
		cr_assert_eq(count(&p), 0);
	}
	/* Sources by themselves, beside the same group from anybody. */
	OK(dgram_add_membership(p.s, "ff35::7", "*"));
	OK(dgram_drop_membership(p.s, "ff35::7", "*"));
	OK(dgram_add_source_specific_membership(p.s, "fd09::1", "ff35::7",
	    "*"));
	OK(dgram_add_source_specific_membership(p.s, "fd09::2", "ff35::7",
	    "*"));
	CHECK(dgram_add_source_specific_membership(p.s, "fd09::2", "ff35::7",
	    "*"), -EADDRNOTAVAIL);
	CHECK(dgram_drop_membership(p.s, "ff35::7", "*"), -EADDRNOTAVAIL);
	OK(dgram_drop_source_specific_membership(p.s, "fd09::1", "ff35::7",
	    "*"));
	MEMBER(&p, "ff35::7", "d1", 1);
	OK(dgram_drop_source_specific_membership(p.s, "fd09::2", "ff35::7",
	    "*"));
	MEMBER(&p, "ff35::7", "d1", 0);
	cr_assert_eq(count(&p), 0);
	leave();
}

/* Each setsockopt(2) and each allocation of "*" fails: all or nothing. */
TEST(mcast, all_or_nothing)
{
	struct peer p;
	size_t pieces;
	unsigned k;

	netns_enter();
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	pieces = f.pieces;
	for (k = 1; k <= 5; k++) {
		fault_at(&f, FAULT_SETSOCKOPT, k, -ENOMEM);
		CHECK(dgram_add_membership(p.s, "224.7.7.7", "*"), -ENOMEM);
		cr_assert_eq(count(&p), 0);
		MEMBER(&p, "224.7.7.7", "lo", 0);
		MEMBER(&p, "224.7.7.7", "d0", 0);
		cr_assert_eq(f.pieces, pieces);
	}
	for (k = 1; k <= 6; k++) {
		f.fail_alloc = f.allocs + k;
		CHECK(dgram_add_membership(p.s, "224.7.7.7", "*"), -ENOMEM);
		cr_assert_eq(count(&p), 0);
		MEMBER(&p, "224.7.7.7", "lo", 0);
	}
	f.fail_alloc = 0;
	/* One interface that cannot is left out; all of them are an error. */
	netns_run("ip link set lo mtu 60");
	CHECK(dgram_add_membership(p.s, "224.7.7.7", "lo"), -ENODEV);
	OK(dgram_add_membership(p.s, "224.7.7.7", "*"));
	cr_assert_eq(count(&p), 5);
	OK(dgram_drop_membership(p.s, "224.7.7.7", "*"));
	netns_run("ip link set lo mtu 65536");
	fault_always(&f, FAULT_SETSOCKOPT, -ENODEV);
	CHECK(dgram_add_membership(p.s, "224.7.7.7", "*"), -ENODEV);
	fault_always(&f, FAULT_SETSOCKOPT, 0);
	fault_always(&f, FAULT_INTERFACES, -EMFILE);
	CHECK(dgram_add_membership(p.s, "224.7.7.7", "*"), -EMFILE);
	CHECK(dgram_add_membership(p.s, "224.7.7.7", "10.9.0.1"), -EMFILE);
	fault_always(&f, FAULT_INTERFACES, 0);
	cr_assert_eq(count(&p), 0);
	/* A drop that the kernel refuses is made again. */
	OK(dgram_add_membership(p.s, "224.7.7.7", "*"));
	OK(dgram_add_membership(p.s, "224.7.7.8", "d0"));
	fault_always(&f, FAULT_SETSOCKOPT, -EPERM);
	CHECK(dgram_drop_membership(p.s, "224.7.7.7", "*"), -EPERM);
	CHECK(dgram_drop_membership(p.s, "224.7.7.8", "d0"), -EPERM);
	CHECK(dgram_refresh_memberships(p.s), -EPERM);
	fault_always(&f, FAULT_SETSOCKOPT, 0);
	cr_assert_eq(count(&p), 7);
	OK(dgram_drop_membership(p.s, "224.7.7.7", "*"));
	OK(dgram_drop_membership(p.s, "224.7.7.8", "d0"));
	cr_assert_eq(f.pieces, pieces);
	leave();
}

/* igmp_max_memberships. */
TEST(mcast, limit)
{
	struct peer p;
	char g[32];
	int i, fds;

	netns_enter();
	netns_run("echo 20 > /proc/sys/net/ipv4/igmp_max_memberships");
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	for (i = 1; i <= 18; i++) {
		snprintf(g, sizeof(g), "224.7.1.%d", i);
		OK(dgram_add_membership(p.s, g, "d0"));
	}
	CHECK(dgram_add_membership(p.s, "224.7.7.7", "*"), -ENOBUFS);
	MEMBER(&p, "224.7.7.7", "lo", 0);
	MEMBER(&p, "224.7.7.7", "d0", 0);
	cr_assert_eq(count(&p), 18);
	OK(dgram_add_membership(p.s, "224.7.7.7", "d0"));
	OK(dgram_add_membership(p.s, "224.7.7.7", "d1"));
	CHECK(dgram_add_membership(p.s, "224.7.7.8", "d1"), -ENOBUFS);
	OK(dgram_drop_membership(p.s, "224.7.7.7", "d0"));
	OK(dgram_add_membership(p.s, "224.7.7.8", "d1"));
	/* More interfaces than there may be memberships. */
	netns_run("for i in 1 2 3 4 5 6 7 8; do "
	    "ip link add e$i type veth peer name f$i || exit 1; done");
	fds = test_count_fds();
	peer_open(&p, l, DGRAM_UDP4, NULL);
	CHECK(dgram_add_membership(p.s, "224.7.7.7", "*"), -ENOBUFS);
	untouched(&p, fds);
	leave();
}

/* To leave where the kernel picked spares what was said by name. */
TEST(mcast, picked_is_left_alone)
{
	static const char *const groups[] = { "224.7.7.7", "ff05::7:7" };
	const char *g;
	struct peer p;
	int i, k;

	netns_enter();
	enter(NULL);
	for (k = 0; k < 4; k++) {
		i = k % 2;
		g = groups[i];
		netns_run(i == 0 ? "ip route replace 224.0.0.0/4 dev d0" :
		    "ip -6 route replace table local multicast ff05::7:7 "
		    "dev d0");
		peer_open_bound(&p, l, DGRAM_UDP4 + i, NULL);
		/* As where the kernel does not tell what it picked. */
		fault_always(&f, FAULT_GETSOCKOPT, k < 2 ? 0 : -ENOPROTOOPT);
		OK(dgram_add_membership(p.s, g, NULL));
		MEMBER(&p, g, "d0", 1);
		OK(dgram_add_membership(p.s, g, "d1"));
		OK(dgram_add_membership(p.s, g, "p1"));
		OK(dgram_drop_membership(p.s, g, NULL));
		MEMBER(&p, g, "d0", 0);
		MEMBER(&p, g, "d1", 1);
		MEMBER(&p, g, "p1", 1);
		/* Without such a one: any, the last. */
		OK(dgram_drop_membership(p.s, g, NULL));
		MEMBER(&p, g, "d1", 1);
		MEMBER(&p, g, "p1", 0);
		OK(dgram_drop_membership(p.s, g, NULL));
		CHECK(dgram_drop_membership(p.s, g, NULL), -EADDRNOTAVAIL);

		/* By other routes, and by none. */
		OK(dgram_add_membership(p.s, g, NULL));
		MEMBER(&p, g, "d0", 1);
		netns_run(i == 0 ? "ip route replace 224.0.0.0/4 dev d1" :
		    "ip -6 route replace table local multicast ff05::7:7 "
		    "dev d1");
		OK(dgram_drop_membership(p.s, g, NULL));
		MEMBER(&p, g, "d0", 0);
		OK(dgram_add_membership(p.s, g, NULL));
		MEMBER(&p, g, "d1", 1);
		netns_run(i == 0 ? "ip route flush table main" :
		    "ip -6 route flush table local type multicast");
		OK(dgram_drop_membership(p.s, g, NULL));
		MEMBER(&p, g, "d1", 0);
		CHECK(dgram_add_membership(p.s, g, NULL), -ENODEV);
		cr_assert_eq(count(&p), 0);
		/* Said by name where the kernel had picked. */
		netns_run(i == 0 ? "ip route replace 224.0.0.0/4 dev d0" :
		    "ip -6 route replace table local multicast ff05::7:7 "
		    "dev d0");
		OK(dgram_add_membership(p.s, g, NULL));
		OK(dgram_drop_membership(p.s, g, "d0"));
		cr_assert_eq(count(&p), 0);
		OK(dgram_refresh_memberships(p.s));
		MEMBER(&p, g, "d0", 0);
	}
	leave();
}

/* ---- refresh ---- */

/* The table of one that is made anew has other numbers. */
#define AGAIN	"ip link add d1 type veth peer name p1 && "		\
	"ip addr add 10.9.1.1/24 dev d1 && "				\
	"ip addr add fd09:1::1/64 dev d1 nodad && "			\
	"ip link set d1 up && ip link set p1 up"

TEST(mcast, interface_is_made_again)
{
	static const char *const groups[] = { "224.7.7.7", "ff05::7:7" };
	static const char *const other[] = { "224.7.7.8", "ff05::7:8" };
	static const char *const sources[] = { "10.9.1.2", "fd09:1::2" };
	static const char *const addrs[] = { "10.9.1.1", "fd09:1::1" };
	static const char *const ssm[] = { "232.7.7.7", "ff35::7:7" };
	struct peer p;
	unsigned before;
	int i;

	netns_enter();
	enter(NULL);
	for (i = 0; i < 2; i++) {
		peer_open_bound(&p, l, DGRAM_UDP4 + i, NULL);
		OK(dgram_add_membership(p.s, groups[i], "d1"));
		OK(dgram_add_membership(p.s, other[i], addrs[i]));
		OK(dgram_add_source_specific_membership(p.s, sources[i],
		    ssm[i], "d1"));
		OK(dgram_add_source_specific_membership(p.s, addrs[i],
		    ssm[i], "d1"));
		OK(dgram_refresh_memberships(p.s));
		MEMBER(&p, groups[i], "d1", 1);
		MEMBER(&p, ssm[i], "d1", 1);
		before = if_nametoindex("d1");
		netns_run("ip link del d1");
		/* Tried, kept, and tried again. */
		CHECK(dgram_refresh_memberships(p.s), -ENODEV);
		CHECK(dgram_refresh_memberships(p.s), -ENODEV);
		cr_assert_eq(count(&p), 4);
		netns_run(AGAIN);
		cr_assert(if_nametoindex("d1") != before);
		MEMBER(&p, groups[i], "d1", 0);
		OK(dgram_refresh_memberships(p.s));
		MEMBER(&p, groups[i], "d1", 1);
		MEMBER(&p, other[i], "d1", 1);
		MEMBER(&p, ssm[i], "d1", 1);
		/* Old ones can be left by their words. */
		netns_run("ip link del d1");
		OK(dgram_drop_membership(p.s, groups[i], "d1"));
		OK(dgram_drop_membership(p.s, other[i], addrs[i]));
		OK(dgram_drop_source_specific_membership(p.s, sources[i],
		    ssm[i], "d1"));
		OK(dgram_drop_source_specific_membership(p.s, addrs[i],
		    ssm[i], "d1"));
		CHECK(dgram_drop_membership(p.s, groups[i], "d1"), -ENODEV);
		cr_assert_eq(count(&p), 0);
		netns_run(AGAIN);
	}
	leave();
}

/* The kernel keeps a place for what was joined on an interface that is gone. */
TEST(mcast, places_are_freed)
{
	struct peer p;
	char g[32];
	int round, i;

	netns_enter();
	netns_run("echo 20 > /proc/sys/net/ipv4/igmp_max_memberships");
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	for (i = 1; i <= 10; i++) {
		snprintf(g, sizeof(g), "224.7.1.%d", i);
		OK(dgram_add_membership(p.s, g, "d1"));
		snprintf(g, sizeof(g), "232.7.1.%d", i);
		OK(dgram_add_source_specific_membership(p.s, "10.9.1.2", g,
		    "d1"));
	}
	for (round = 0; round < 3; round++) {
		netns_run("ip link del d1 && " AGAIN);
		OK(dgram_refresh_memberships(p.s));
		MEMBER(&p, "224.7.1.10", "d1", 1);
		MEMBER(&p, "232.7.1.10", "d1", 1);
	}
	CHECK(dgram_add_membership(p.s, "224.7.7.7", "d1"), -ENOBUFS);
	leave();
}

/* The same where the kernel picked, whatever its routes are by then. */
TEST(mcast, picked_places_are_freed)
{
	struct peer p;
	int i;

	netns_enter();
	netns_run("echo 3 > /proc/sys/net/ipv4/igmp_max_memberships");
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_add_membership(p.s, "224.7.7.7", "d0"));
	for (i = 0; i < 6; i++) {
		netns_run("ip route replace 224.0.0.0/4 dev d1");
		OK(dgram_add_membership(p.s, "224.7.7.7", NULL));
		MEMBER(&p, "224.7.7.7", "d1", 1);
		netns_run("ip link del d1");
		if (i < 3)
			netns_run("ip route add 224.0.0.0/4 dev d0");
		OK(dgram_drop_membership(p.s, "224.7.7.7", NULL));
		MEMBER(&p, "224.7.7.7", "d0", 1);
		netns_run(AGAIN);
	}
	leave();
}

/* Picked twice, and each time another; and one of which nobody was told. */
TEST(mcast, picked_are_told_apart)
{
	struct peer p;
	struct ip_mreq m;

	netns_enter();
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_add_membership(p.s, "224.7.7.7", NULL));
	netns_run("ip route replace 224.0.0.0/4 dev d1");
	OK(dgram_add_membership(p.s, "224.7.7.7", NULL));
	OK(dgram_drop_membership(p.s, "224.7.7.7", NULL));
	MEMBER(&p, "224.7.7.7", "d0", 1);
	MEMBER(&p, "224.7.7.7", "d1", 0);
	cr_assert_eq(count(&p), 1);
	OK(dgram_refresh_memberships(p.s));
	MEMBER(&p, "224.7.7.7", "d0", 0);
	MEMBER(&p, "224.7.7.7", "d1", 1);
	memset(&m, 0, sizeof(m));
	m.imr_multiaddr.s_addr = htonl(0xe0070707);
	m.imr_interface.s_addr = htonl(0x0a090001);
	OK((setsockopt)(p.s->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m,
	    sizeof(m)));
	OK(dgram_drop_membership(p.s, "224.7.7.7", "d0"));
	MEMBER(&p, "224.7.7.7", "d1", 1);
	cr_assert_eq(count(&p), 1);
	/* It could not be joined again: then nothing is left for it. */
	netns_run("ip route del 224.0.0.0/4");
	CHECK(dgram_refresh_memberships(p.s), -ENODEV);
	OK((setsockopt)(p.s->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m,
	    sizeof(m)));
	OK(dgram_drop_membership(p.s, "224.7.7.7", NULL));
	MEMBER(&p, "224.7.7.7", "d0", 1);
	cr_assert_eq(count(&p), 0);
	leave();
}

/* A source of a group that has others elsewhere, which the kernel tells, too. */
TEST(mcast, picked_source)
{
	const char *g = "232.7.7.7";
	struct peer p;

	netns_enter();
	netns_run("echo 2 > /proc/sys/net/ipv4/igmp_max_memberships");
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_add_source_specific_membership(p.s, "10.9.0.2", g, "d1"));
	OK(dgram_add_source_specific_membership(p.s, "10.9.0.3", g, NULL));
	netns_run("ip link del d0 && ip route add 224.0.0.0/4 dev d1");
	OK(dgram_drop_source_specific_membership(p.s, "10.9.0.3", g, NULL));
	MEMBER(&p, g, "d1", 1);
	cr_assert_eq(count(&p), 1);
	/* The other place is free. */
	OK(dgram_add_membership(p.s, "224.7.7.7", "d1"));
	leave();
}

/* What the kernel has left by itself is not twice in the table then. */
TEST(mcast, joined_anew)
{
	struct peer p;
	struct ip_mreq m;

	netns_enter();
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	/* The source takes the place of all. */
	OK(dgram_add_membership(p.s, "232.7.7.7", "d0"));
	OK(dgram_add_source_specific_membership(p.s, "10.9.0.2", "232.7.7.7",
	    "d0"));
	cr_assert_eq(count(&p), 1);
	OK(dgram_drop_source_specific_membership(p.s, "10.9.0.2", "232.7.7.7",
	    "d0"));
	OK(dgram_add_membership(p.s, "232.7.7.7", "d0"));
	OK(dgram_refresh_memberships(p.s));
	/* As another process would that has the descriptor, too. */
	memset(&m, 0, sizeof(m));
	m.imr_multiaddr.s_addr = htonl(0xe8070707);
	OK((setsockopt)(p.s->fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m,
	    sizeof(m)));
	OK(dgram_add_membership(p.s, "232.7.7.7", "d0"));
	OK(dgram_refresh_memberships(p.s));
	cr_assert_eq(count(&p), 1);
	OK(dgram_drop_membership(p.s, "232.7.7.7", "d0"));
	cr_assert_eq(count(&p), 0);
	leave();
}

TEST(mcast, interface_is_renamed)
{
	char number[16];
	struct peer p;

	netns_enter();
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	snprintf(number, sizeof(number), "%u", if_nametoindex("d1"));
	OK(dgram_add_membership(p.s, "224.7.7.1", "d1"));
	OK(dgram_add_membership(p.s, "224.7.7.2", number));
	OK(dgram_add_membership(p.s, "224.7.7.3", "10.9.1.1"));
	netns_run("ip link set d1 down && ip link set d1 name x1 && "
	    "ip link set x1 up && ip link set d0 down && "
	    "ip link set d0 name d1 && ip link set d1 up");
	/* By its old word, though another has that name now. */
	MEMBER(&p, "224.7.7.1", "x1", 1);
	OK(dgram_drop_membership(p.s, "224.7.7.1", "d1"));
	MEMBER(&p, "224.7.7.1", "x1", 0);
	/* Both have been joined by one name: the one that has it now. */
	netns_run("ip link set x1 down && ip link set d1 down && "
	    "ip link set d1 name d0 && ip link set x1 name d1 && "
	    "ip link set d0 up && ip link set d1 up");
	OK(dgram_add_membership(p.s, "224.7.7.1", "d1"));
	netns_run("ip link set d1 down && ip link set d1 name x1 && "
	    "ip link set x1 up && ip link set d0 down && "
	    "ip link set d0 name d1 && ip link set d1 up");
	OK(dgram_add_membership(p.s, "224.7.7.1", "d1"));
	OK(dgram_drop_membership(p.s, "224.7.7.1", "d1"));
	MEMBER(&p, "224.7.7.1", "x1", 1);
	MEMBER(&p, "224.7.7.1", "d1", 0);
	OK(dgram_add_membership(p.s, "224.7.7.1", "d1"));
	/* And once more, of which the last is not the one. */
	netns_run("ip link set x1 down && ip link set d1 down && "
	    "ip link set d1 name d0 && ip link set x1 name d1 && "
	    "ip link set d0 up && ip link set d1 up");
	OK(dgram_drop_membership(p.s, "224.7.7.1", "d1"));
	MEMBER(&p, "224.7.7.1", "d1", 0);
	MEMBER(&p, "224.7.7.1", "d0", 1);
	OK(dgram_drop_membership(p.s, "224.7.7.1", "d0"));
	OK(dgram_add_membership(p.s, "224.7.7.1", "d1"));
	netns_run("ip link set d1 down && ip link set d1 name x1 && "
	    "ip link set x1 up && ip link set d0 down && "
	    "ip link set d0 name d1 && ip link set d1 up");
	/* What was asked for is a name, a number, an address. */
	OK(dgram_refresh_memberships(p.s));
	MEMBER(&p, "224.7.7.1", "x1", 0);
	MEMBER(&p, "224.7.7.1", "d1", 1);
	MEMBER(&p, "224.7.7.2", "x1", 1);
	MEMBER(&p, "224.7.7.3", "x1", 1);
	netns_run("ip addr del 10.9.1.1/24 dev x1 && "
	    "ip addr add 10.9.1.1/24 dev d1");
	OK(dgram_refresh_memberships(p.s));
	MEMBER(&p, "224.7.7.3", "x1", 0);
	MEMBER(&p, "224.7.7.3", "d1", 1);
	/* Two that mean one now: the second is told, and kept. */
	OK(dgram_add_membership(p.s, "224.7.7.3", "x1"));
	netns_run("ip addr del 10.9.1.1/24 dev d1 && "
	    "ip addr add 10.9.1.1/24 dev x1");
	CHECK(dgram_refresh_memberships(p.s), -EADDRINUSE);
	netns_run("ip addr del 10.9.1.1/24 dev x1 && "
	    "ip addr add 10.9.1.1/24 dev d1");
	OK(dgram_refresh_memberships(p.s));
	MEMBER(&p, "224.7.7.3", "x1", 1);
	MEMBER(&p, "224.7.7.3", "d1", 1);
	cr_assert_eq(count(&p), 4);
	leave();
}

TEST(mcast, all_again)
{
	struct peer p;
	size_t pieces;
	unsigned k;

	netns_enter();
	enter(NULL);
	peer_open(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_add_membership(p.s, "224.7.7.7", "*"));
	cr_assert_eq(count(&p), 6);
	netns_run("ip link add e0 type veth peer name f0 && ip link set e0 up");
	/* Younger than the head, and refreshed in front of it. */
	OK(dgram_add_membership(p.s, "224.7.7.7", "e0"));
	OK(dgram_refresh_memberships(p.s));
	MEMBER(&p, "224.7.7.7", "e0", 1);
	cr_assert_eq(count(&p), 8);
	OK(dgram_drop_membership(p.s, "224.7.7.7", "e0"));
	OK(dgram_refresh_memberships(p.s));
	MEMBER(&p, "224.7.7.7", "e0", 1);
	netns_run("ip link del e0 && ip link del d0");
	OK(dgram_refresh_memberships(p.s));
	cr_assert_eq(count(&p), 4);
	MEMBER(&p, "224.7.7.7", "d1", 1);
	/* Where it fails it is tried again. */
	pieces = f.pieces;
	for (k = 4; k <= 6; k++) {
		fault_at(&f, FAULT_SETSOCKOPT, k, -ENOMEM);
		CHECK(dgram_refresh_memberships(p.s), -ENOMEM);
		cr_assert_eq(count(&p), 3);
		OK(dgram_refresh_memberships(p.s));
		cr_assert_eq(count(&p), 4);
	}
	for (k = 1; k <= 3; k++) {
		f.fail_alloc = f.allocs + k;
		CHECK(dgram_refresh_memberships(p.s), -ENOMEM);
		OK(dgram_refresh_memberships(p.s));
	}
	fault_always(&f, FAULT_INTERFACES, -EMFILE);
	CHECK(dgram_refresh_memberships(p.s), -EMFILE);
	fault_always(&f, FAULT_INTERFACES, 0);
	cr_assert_eq(count(&p), 1);
	OK(dgram_refresh_memberships(p.s));
	cr_assert_eq(f.pieces, pieces);
	leave();
}

/* Where the kernel picked: by the routes of now. */
TEST(mcast, picked_again)
{
	struct peer p;

	netns_enter();
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_add_membership(p.s, "224.7.7.7", NULL));
	OK(dgram_add_membership(p.s, "224.7.7.7", "p1"));
	netns_run("ip route replace 224.0.0.0/4 dev d1");
	OK(dgram_refresh_memberships(p.s));
	MEMBER(&p, "224.7.7.7", "d0", 0);
	MEMBER(&p, "224.7.7.7", "d1", 1);
	MEMBER(&p, "224.7.7.7", "p1", 1);
	netns_run("ip route del 224.0.0.0/4");
	CHECK(dgram_refresh_memberships(p.s), -ENODEV);
	MEMBER(&p, "224.7.7.7", "d1", 0);
	MEMBER(&p, "224.7.7.7", "p1", 1);
	netns_run("ip route add 224.0.0.0/4 dev d0");
	OK(dgram_refresh_memberships(p.s));
	MEMBER(&p, "224.7.7.7", "d0", 1);
	cr_assert_eq(count(&p), 2);
	leave();
}

/* Beside it one by name that could not be joined again. */
TEST(mcast, picked_and_failed)
{
	struct peer p;

	netns_enter();
	netns_run("ip link add e0 type veth peer name f0");
	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_add_membership(p.s, "224.7.7.7", NULL));
	OK(dgram_add_membership(p.s, "224.7.7.7", "e0"));
	netns_run("ip link del e0");
	CHECK(dgram_refresh_memberships(p.s), -ENODEV);
	OK(dgram_drop_membership(p.s, "224.7.7.7", NULL));
	MEMBER(&p, "224.7.7.7", "d0", 0);
	cr_assert_eq(count(&p), 1);
	OK(dgram_add_membership(p.s, "224.7.7.7", NULL));
	OK(dgram_drop_membership(p.s, "224.7.7.7", "e0"));
	MEMBER(&p, "224.7.7.7", "d0", 1);
	cr_assert_eq(count(&p), 1);
	leave();
}

/* ---- shared descriptors ---- */

TEST(mcast, fork)
{
	struct peer p;
	int status;
	pid_t pid;

	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_add_membership(p.s, "224.7.7.1", lo()));
	OK(dgram_add_membership(p.s, "224.7.7.2", lo()));
	pid = test_fork();
	if (pid == 0) {
		if (dgram_loop_fork(l, 0) != 0 || count(&p) != 2)
			_exit(1);
		if (dgram_add_membership(p.s, "224.7.7.1", lo()) !=
		    -EADDRINUSE)
			_exit(2);
		if (dgram_drop_membership(p.s, "224.7.7.1", lo()) != 0 ||
		    dgram_add_membership(p.s, "224.7.7.3", lo()) != 0)
			_exit(3);
		if (dgram_loop_free(l) != 0)
			_exit(4);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d",
	    WEXITSTATUS(status));
	/* One kernel: left there is left here, joined there joined here. */
	MEMBER(&p, "224.7.7.1", lo(), 0);
	MEMBER(&p, "224.7.7.2", lo(), 1);
	OK(dgram_drop_membership(p.s, "224.7.7.1", lo()));
	CHECK(dgram_drop_membership(p.s, "224.7.7.1", lo()), -EADDRNOTAVAIL);
	CHECK(dgram_add_membership(p.s, "224.7.7.3", lo()), -EADDRINUSE);
	OK(dgram_drop_membership(p.s, "224.7.7.3", lo()));
	cr_assert_eq(count(&p), 1);
	leave();
}

/* Passed on over AF_UNIX, and adopted. */
TEST(mcast, passed_on)
{
	struct dgram_options o = { .events = &peer_events };
	struct peer p, q = { .s = NULL };
	struct dgram_loop *other;
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int pair[2], fd;

	enter(NULL);
	other = test_loop(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_add_membership(p.s, "224.7.7.1", lo()));
	memset(&control, 0, sizeof(control));
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &p.s->fd, sizeof(int));
	cr_assert_eq(sendmsg(pair[0], &m, 0), 1);
	cr_assert_eq(recvmsg(pair[1], &m, 0), 1);
	c = CMSG_FIRSTHDR(&m);
	MUST(c != NULL && c->cmsg_type == SCM_RIGHTS, "no descriptor");
	memcpy(&fd, CMSG_DATA(c), sizeof(int));
	o.arg = &q;
	OK(dgram_open_fd(other, &o, fd, &q.s));
	CHECK(dgram_add_membership(q.s, "224.7.7.1", lo()), -EADDRINUSE);
	/* Joined by another, left here: the kernel's word. */
	OK(dgram_drop_membership(q.s, "224.7.7.1", lo()));
	CHECK(dgram_drop_membership(q.s, "224.7.7.1", lo()), -EADDRNOTAVAIL);
	OK(dgram_drop_membership(p.s, "224.7.7.1", lo()));
	close(pair[0]);
	close(pair[1]);
	free_loop(other);
	leave();
}

/* ---- what is heard ---- */

/* Bound to the wildcard and PORT, beside others. */
static void
open_port(struct peer *p, int type)
{
	struct dgram_options o = { .reuse_addr = true, .want = DGRAM_LOCAL };
	struct dgram_addr any;

	peer_open(p, l, (enum dgram_type)type, &o);
	dgi_addr_wildcard(&any, p->s->family);
	dgi_addr_set_port(&any, PORT);
	OK(dgram_bind_addr(p->s, &any));
	p->got = 0;
}

static struct dgram_addr
group_addr(const char *group)
{
	struct dgram_addr a;

	OK(dgram_addr_parse(&a, group, PORT));
	return a;
}

/* n datagrams have come, and no more. */
static void
hears(struct peer *p, size_t n)
{
	RUN_UNTIL(l, p->got >= n);
	turns(l, 3);
	MUST(p->got == n, "%zu, not %zu", p->got, n);
}

/*
 * Two receivers have joined a group each, on d0 and on d1.  Of two datagrams to
 * these the one is heard that leaves by the right one.
 */
static void
leaves_by(struct peer *out, struct peer *on, const struct dgram_addr *to, int i)
{
	on[0].got = on[1].got = 0;
	ACCEPT(send_copy(out, 1, &to[!i]));
	ACCEPT(send_copy(out, 2, &to[i]));
	hears(&on[i], 1);
	MUST(on[i].seq[0] == 2 && on[!i].got == 0, "not by d%d", i);
}

BACKEND_TEST(mcast, steered)
{
	static const char *const words[2][3][2] = {
		{ { "10.9.0.1", "10.9.1.1" }, { "d0", "d1" },
		    { "d0", "10.9.1.1" } },
		{ { "fd09::1", "fd09:1::1" }, { "d0", "d1" },
		    { "::%d0", "fe80::1%d1" } } };
	static const char *const groups[2][2] = { { "224.7.7.7", "224.7.7.8" },
		{ "ff05::7:7", "ff05::7:8" } };
	static struct peer on[2], out;
	struct dgram_addr to[2];
	char number[16];
	int type, i, way;

	netns_enter();
	enter(backend);
	for (type = 0; type < 2; type++) {
		for (i = 0; i < 2; i++) {
			to[i] = group_addr(groups[type][i]);
			open_port(&on[i], DGRAM_UDP4 + type);
			OK(dgram_add_membership(on[i].s, groups[type][i],
			    i == 0 ? "d0" : "d1"));
		}
		peer_open(&out, l, (enum dgram_type)(DGRAM_UDP4 + type), NULL);
		dgi_addr_wildcard(&out.addr, out.s->family);
		OK(dgram_bind_addr(out.s, &out.addr));
		for (way = 0; way < 8; way++) {
			i = way % 2;
			snprintf(number, sizeof(number), "%u",
			    if_nametoindex(i == 0 ? "d0" : "d1"));
			OK(dgram_set_multicast_interface(out.s, way < 6 ?
			    words[type][way / 2][i] : number));
			leaves_by(&out, on, to, i);
		}
		/* An error changes nothing; what the system would choose. */
		CHECK(dgram_set_multicast_interface(out.s, "none9"), -EINVAL);
		leaves_by(&out, on, to, 1);
		netns_run(type == 0 ? "true" : "ip -6 route replace table "
		    "local multicast ff05::/16 dev d0");
		OK(dgram_set_multicast_interface(out.s, NULL));
		leaves_by(&out, on, to, 0);
		for (i = 0; i < 2; i++)
			OK(dgram_close(on[i].s, NULL, NULL));
		OK(dgram_close(out.s, NULL, NULL));
		turns(l, 3);
	}
	leave();
}

/* Groups of IPv4 through a socket of both, and its two halves. */
TEST(mcast, two_halves)
{
	static struct peer on[2], out;
	struct dgram_options only = { .ipv6_only = true };
	struct dgram_addr to, any;
	int i;

	netns_enter();
	enter(NULL);
	to = group_addr("::ffff:224.7.7.7");
	for (i = 0; i < 2; i++) {
		open_port(&on[i], DGRAM_UDP4);
		OK(dgram_add_membership(on[i].s, "224.7.7.7", i == 0 ? "d0" :
		    "d1"));
	}
	peer_open(&out, l, DGRAM_UDP6, NULL);
	dgi_addr_wildcard(&any, AF_INET6);
	OK(dgram_bind_addr(out.s, &any));
	for (i = 0; i < 6; i++) {
		static const char *const words[] = { "10.9.1.1", "10.9.0.1",
			"d1", "0.0.0.0", "::%d1", NULL };

		OK(dgram_set_multicast_interface(out.s, words[i]));
		on[0].got = on[1].got = 0;
		ACCEPT(send_copy(&out, 1, &to));
		RUN_UNTIL(l, on[(i + 1) % 2].got == 1);
		turns(l, 3);
		MUST(on[i % 2].got == 0, "%d", i);
	}
	peer_open(&out, l, DGRAM_UDP6, &only);
	OK(dgram_bind_addr(out.s, &any));
	CHECK(dgram_set_multicast_interface(out.s, "10.9.1.1"), -EINVAL);
	leave();
}

/* The address that was said is the source, and not the first of its interface. */
TEST(mcast, source_of_what_is_sent)
{
	static struct peer in, out;
	struct dgram_addr to, any;
	char host[64];

	netns_enter();
	netns_run("ip addr add 10.9.0.2/24 dev d0");
	enter(NULL);
	to = group_addr("224.7.7.7");
	open_port(&in, DGRAM_UDP4);
	OK(dgram_add_membership(in.s, "224.7.7.7", "d0"));
	peer_open(&out, l, DGRAM_UDP4, NULL);
	dgi_addr_wildcard(&any, AF_INET);
	OK(dgram_bind_addr(out.s, &any));
	OK(dgram_set_multicast_interface(out.s, "10.9.0.2"));
	ACCEPT(send_copy(&out, 1, &to));
	hears(&in, 1);
	cr_assert(dgram_addr_host(&in.from, host, sizeof(host)) > 0);
	MUST(strcmp(host, "10.9.0.2") == 0, "%s", host);
	leave();
}

/* What Node says. */
TEST(mcast, words_to_send_by)
{
	static const struct {
		int type;
		const char *word;
		int result;
	} rows[] = {
		{ DGRAM_UDP4, NULL, 0 }, { DGRAM_UDP4, "0.0.0.0", 0 },
		{ DGRAM_UDP4, "10.9.0.1", 0 }, { DGRAM_UDP4, "d0", 0 },
		{ DGRAM_UDP4, "lo", 0 },
		{ DGRAM_UDP4, "9.9.9.9", -EADDRNOTAVAIL },
		{ DGRAM_UDP4, "224.0.0.2", -EADDRNOTAVAIL },
		{ DGRAM_UDP4, "::", -ENOPROTOOPT },
		{ DGRAM_UDP4, "::1", -ENOPROTOOPT },
		{ DGRAM_UDP4, "::%d0", -ENOPROTOOPT },
		{ DGRAM_UDP4, "fe80::1", -ENOPROTOOPT },
		{ DGRAM_UDP4, "", -EINVAL }, { DGRAM_UDP4, "*", -EINVAL },
		{ DGRAM_UDP4, "none9", -EINVAL },
		{ DGRAM_UDP4, "1.2.3", -EINVAL },
		{ DGRAM_UDP4, "9a", -EINVAL },
		{ DGRAM_UDP4, "a name that is too long", -EINVAL },
		{ DGRAM_UDP4, "999999", -ENODEV },
		{ DGRAM_UDP4, "99999999999999999999", -ENODEV },
		{ DGRAM_UDP6, NULL, 0 }, { DGRAM_UDP6, "::", 0 },
		{ DGRAM_UDP6, "::%lo", 0 }, { DGRAM_UDP6, "::1%d0", 0 },
		{ DGRAM_UDP6, "::1", 0 }, { DGRAM_UDP6, "fd09::1", 0 },
		{ DGRAM_UDP6, "ff02::1%d0", 0 }, { DGRAM_UDP6, "d1", 0 },
		{ DGRAM_UDP6, "10.9.0.1", 0 }, { DGRAM_UDP6, "0.0.0.0", 0 },
		{ DGRAM_UDP6, "9.9.9.9", -EADDRNOTAVAIL },
		{ DGRAM_UDP6, "2001:db8::9", -EADDRNOTAVAIL },
		{ DGRAM_UDP6, "ff02::1", -EADDRNOTAVAIL },
		{ DGRAM_UDP6, "::%none9", -ENODEV },
		{ DGRAM_UDP6, "::%a name that is too long", -ENODEV },
		{ DGRAM_UDP6, "999999", -ENODEV },
		{ DGRAM_UDP6, "", -EINVAL }, { DGRAM_UDP6, "::%", -EINVAL },
		{ DGRAM_UDP6, "fe80::1", -EINVAL },
		{ DGRAM_UDP6, "junk%d0", -EINVAL },
	};
	struct peer p[2];
	size_t i;
	int before, v;
	socklen_t len = sizeof(v);

	netns_enter();
	enter(NULL);
	peer_open_bound(&p[0], l, DGRAM_UDP4, NULL);
	peer_open_bound(&p[1], l, DGRAM_UDP6, NULL);
	for (i = 0; i < COUNT(rows); i++) {
		struct dgram_socket *s = p[rows[i].type - DGRAM_UDP4].s;
		const int level = rows[i].type == DGRAM_UDP4 ? IPPROTO_IP :
		    IPPROTO_IPV6, name = rows[i].type == DGRAM_UDP4 ?
		    IP_MULTICAST_IF : IPV6_MULTICAST_IF;

		before = v = -1;
		OK(getsockopt(s->fd, level, name, &before, &len));
		errno = POISON;
		CHECK(dgram_set_multicast_interface(s, rows[i].word),
		    rows[i].result);
		OK(getsockopt(s->fd, level, name, &v, &len));
		MUST(rows[i].result == 0 || v == before, "%s: changed",
		    rows[i].word);
	}
	fault_always(&f, FAULT_INTERFACES, -EMFILE);
	CHECK(dgram_set_multicast_interface(p[0].s, "10.9.0.1"), -EMFILE);
	fault_always(&f, FAULT_INTERFACES, 0);
	fault_at(&f, FAULT_SETSOCKOPT, 1, -EPERM);
	CHECK(dgram_set_multicast_interface(p[0].s, "10.9.0.1"), -EPERM);
	leave();
}

/* Nobody hears what others have joined, IP_MULTICAST_ALL. */
BACKEND_TEST(mcast, hears_what_it_joined)
{
	static struct peer member, stranger;
	struct dgram_addr to, own;
	int type;

	netns_enter();
	enter(backend);
	for (type = DGRAM_UDP4; type <= DGRAM_UDP6; type++) {
		to = group_addr(type == DGRAM_UDP4 ? "224.7.7.7" :
		    "ff05::7:7");
		open_port(&member, type);
		open_port(&stranger, type);
		OK(dgram_add_membership(stranger.s, type == DGRAM_UDP4 ?
		    "224.7.7.8" : "ff05::7:8", "d0"));
		OK(dgram_add_membership(member.s, type == DGRAM_UDP4 ?
		    "224.7.7.7" : "ff05::7:7", "d0"));
		OK(dgram_set_multicast_interface(member.s, "d0"));
		ACCEPT(send_copy(&member, 1, &to));
		RUN_UNTIL(l, member.got == 1);
		turns(l, 3);
		cr_assert_eq(stranger.got, 0);
		/* Nor after it has left. */
		OK(dgram_drop_membership(member.s, type == DGRAM_UDP4 ?
		    "224.7.7.7" : "ff05::7:7", "d0"));
		ACCEPT(send_copy(&member, 2, &to));
		own = group_addr(type == DGRAM_UDP4 ? "224.7.7.8" :
		    "ff05::7:8");
		ACCEPT(send_copy(&member, 3, &own));
		RUN_UNTIL(l, stranger.got == 1);
		turns(l, 3);
		cr_assert_eq(stranger.seq[0], 3);
		cr_assert_eq(member.got, 1);
		OK(dgram_close(member.s, NULL, NULL));
		OK(dgram_close(stranger.s, NULL, NULL));
		turns(l, 3);
	}
	leave();
}

/* Several members hear each datagram; who has left hears none. */
BACKEND_TEST(mcast, several_members)
{
	static struct peer in[3], out;
	struct dgram_addr to;
	uint32_t i;

	netns_enter();
	enter(backend);
	to = group_addr("224.0.0.114");
	for (i = 0; i < 3; i++) {
		open_port(&in[i], DGRAM_UDP4);
		OK(dgram_add_membership(in[i].s, "224.0.0.114", NULL));
	}
	open_port(&out, DGRAM_UDP4);
	OK(dgram_set_multicast_ttl(out.s, 1));
	OK(dgram_set_multicast_loopback(out.s, 1));
	for (i = 0; i < 4; i++)
		ACCEPT(send_copy(&out, i, &to));
	for (i = 0; i < 3; i++)
		hears(&in[i], 4);
	OK(dgram_drop_membership(in[1].s, "224.0.0.114", NULL));
	ACCEPT(send_copy(&out, 4, &to));
	hears(&in[0], 5);
	hears(&in[1], 4);
	hears(&in[2], 5);
	leave();
}

/* Over the loopback there is nothing but the loopback. */
TEST(mcast, loopback_of_the_loopback)
{
	static struct peer in, out;
	struct dgram_addr to;

	netns_enter();
	enter(NULL);
	to = group_addr("224.7.7.7");
	open_port(&in, DGRAM_UDP4);
	OK(dgram_add_membership(in.s, "224.7.7.7", "lo"));
	open_port(&out, DGRAM_UDP4);
	OK(dgram_set_multicast_interface(out.s, "127.0.0.1"));
	OK(dgram_set_multicast_loopback(out.s, 0));
	ACCEPT(send_copy(&out, 1, &to));
	hears(&in, 1);
	leave();
}

/* Each of the three sends; so many of them are heard. */
static void
all_send(struct peer *out, const struct dgram_addr *to, struct peer *in,
    size_t n)
{
	uint32_t i;

	in->got = 0;
	for (i = 0; i < 3; i++)
		ACCEPT(send_copy(&out[i], i, to));
	turns(l, 3);
	hears(in, n);
}

/* From one source, from another, and from neither. */
BACKEND_TEST(mcast, sources)
{
	static const char *const groups[] = { "232.7.7.7", "ff35::7:7" };
	static const char *const sources[2][3] = {
		{ "10.9.0.1", "10.9.0.2", "10.9.0.3" },
		{ "fd09::1", "fd09::2", "fd09::3" } };
	static struct peer in, out[3];
	struct dgram_addr to, a;
	int type, i;

	netns_enter();
	netns_run("for i in 2 3; do ip addr add 10.9.0.$i/24 dev d0 && "
	    "ip addr add fd09::$i/64 dev d0 nodad || exit 1; done");
	enter(backend);
	for (type = 0; type < 2; type++) {
		to = group_addr(groups[type]);
		open_port(&in, DGRAM_UDP4 + type);
		for (i = 0; i < 3; i++) {
			OK(dgram_addr_parse(&a, sources[type][i], 0));
			peer_open(&out[i], l, (enum dgram_type)(DGRAM_UDP4 +
			    type), NULL);
			OK(dgram_bind_addr(out[i].s, &a));
			OK(dgram_set_multicast_interface(out[i].s, "d0"));
		}
		OK(dgram_add_source_specific_membership(in.s,
		    sources[type][1], groups[type], "d0"));
		all_send(out, &to, &in, 1);
		cr_assert_eq(in.seq[0], 1);
		OK(dgram_add_source_specific_membership(in.s,
		    sources[type][2], groups[type], "d0"));
		all_send(out, &to, &in, 2);
		cr_assert(in.seq[0] == 1 && in.seq[1] == 2);
		OK(dgram_refresh_memberships(in.s));
		all_send(out, &to, &in, 2);
		OK(dgram_drop_source_specific_membership(in.s,
		    sources[type][1], groups[type], "d0"));
		all_send(out, &to, &in, 1);
		cr_assert_eq(in.seq[0], 2);
		OK(dgram_drop_source_specific_membership(in.s,
		    sources[type][2], groups[type], "d0"));
		all_send(out, &to, &in, 0);
		OK(dgram_close(in.s, NULL, NULL));
		for (i = 0; i < 3; i++)
			OK(dgram_close(out[i].s, NULL, NULL));
		turns(l, 3);
	}
	leave();
}

#if HAVE_NETNS
/* All that comes out of an interface, as it is on the wire. */
static int
open_wire(const char *name, int proto)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
	    .sll_protocol = htons((uint16_t)proto),
	    .sll_ifindex = (int)if_nametoindex(name) };
	int fd = (socket)(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, htons(
	    (uint16_t)proto));

	MUST(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0,
	    "%s", strerror(errno));
	return fd;
}

/* The TTL of the datagram with that number, or -1: it did not come out. */
static int
ttl_on_wire(int fd, bool six, uint32_t seq, int ms)
{
	const size_t head = six ? 48 : 28;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	unsigned char b[256];
	ssize_t n;

	while (poll(&pfd, 1, ms) == 1) {
		n = recv(fd, b, sizeof(b), 0);
		if (n == (ssize_t)(head + sizeof(seq)) &&
		    b[six ? 6 : 9] == IPPROTO_UDP &&
		    memcmp(b + head, &seq, sizeof(seq)) == 0)
			return b[six ? 7 : 8];
	}
	return -1;
}
#endif

/* How far a datagram goes, and whether this host hears it, too. */
BACKEND_TEST(mcast, ttl_and_loopback)
{
#if HAVE_NETNS
	static struct peer in, out;
	struct dgram_addr to;
	uint32_t seq = 100;
	int type, wire;
	bool six;

	netns_enter();
	enter(backend);
	for (type = DGRAM_UDP4; type <= DGRAM_UDP6; type++) {
		six = type == DGRAM_UDP6;
		wire = open_wire("p0", six ? 0x86dd : 0x0800);
		to = group_addr(six ? "ff05::7:7" : "224.7.7.7");
		open_port(&in, type);
		OK(dgram_add_membership(in.s, six ? "ff05::7:7" : "224.7.7.7",
		    "d0"));
		open_port(&out, type);
		OK(dgram_set_multicast_interface(out.s, "d0"));
#define SEND_AND_HEAR(n, ttl) do {					\
	in.got = 0;							\
	ACCEPT(send_copy(&out, ++seq, &to));				\
	turns(l, 3);							\
	hears(&in, n);							\
	cr_assert_eq(ttl_on_wire(wire, six, seq, (ttl) < 0 ? 0 : 5000), \
	    (ttl));							\
} while (0)
		SEND_AND_HEAR(1, 1);
		OK(dgram_set_multicast_ttl(out.s, 5));
		SEND_AND_HEAR(1, 5);
		OK(dgram_set_multicast_ttl(out.s, 255));
		OK(dgram_set_multicast_loopback(out.s, 0));
		SEND_AND_HEAR(0, 255);
		/* Any that is not 0. */
		OK(dgram_set_multicast_loopback(out.s, 16));
		OK(dgram_set_multicast_ttl(out.s, 0));
		SEND_AND_HEAR(1, -1);
		CHECK(dgram_set_multicast_ttl(out.s, 256), -EINVAL);
		CHECK(dgram_set_multicast_ttl(out.s, 1000), -EINVAL);
		CHECK(dgram_set_multicast_ttl(out.s, -1), -EINVAL);
		OK(dgram_set_multicast_loopback(out.s, -1));
		SEND_AND_HEAR(1, -1);
		/* Not that of other datagrams. */
		OK(dgram_set_ttl(out.s, 77));
		OK(dgram_set_multicast_ttl(out.s, 3));
		SEND_AND_HEAR(1, 3);
		close(wire);
		OK(dgram_close(in.s, NULL, NULL));
		OK(dgram_close(out.s, NULL, NULL));
		turns(l, 3);
	}
	/* Both levels. */
	open_port(&out, DGRAM_UDP6);
	OK(dgram_set_multicast_interface(out.s, "d0"));
	OK(dgram_set_multicast_ttl(out.s, 9));
	to = group_addr("::ffff:224.7.7.7");
	wire = open_wire("p0", 0x0800);
	ACCEPT(send_copy(&out, ++seq, &to));
	turns(l, 3);
	cr_assert_eq(ttl_on_wire(wire, false, seq, 5000), 9);
	close(wire);
	leave();
#else
	(void)backend;
	cr_skip_test("no network namespaces on this system");
#endif
}

/* Memory: counted while it is joined, and given back. */
TEST(mcast, memory)
{
	struct peer p;
	size_t held, more, bound, pieces;
	char g[32];
	int i;

	enter(NULL);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_loop_memory(l, &held, &bound));
	pieces = f.pieces;
	for (i = 1; i <= 10; i++) {
		snprintf(g, sizeof(g), "224.7.1.%d", i);
		OK(dgram_add_membership(p.s, g, lo()));
	}
	OK(dgram_loop_memory(l, &more, &bound));
	cr_assert_eq(more, held + 10 * sizeof(struct dgi_membership));
	cr_assert(more <= bound);
	OK(dgram_drop_membership(p.s, "224.7.1.4", lo()));
	cr_assert_eq(f.pieces, pieces + 9);
	OK(dgram_close(p.s, NULL, NULL));
	cr_assert_eq(f.pieces, pieces);
	leave();
}
