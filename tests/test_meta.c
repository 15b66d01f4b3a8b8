/* SPDX-License-Identifier: ISC */

/*
 * Metadata of datagrams: what is told of each, what each is sent with, and the
 * reply from the address that was asked; against real sockets, with faults, and
 * between two network namespaces.
 */

#include "test.h"

#include <net/if.h>

#include "netns.h"

#define ALL	(DGRAM_LOCAL | DGRAM_TTL | DGRAM_TOS | DGRAM_TIME)
#define KNOWN	(ALL | DGRAM_GROUP)
#define TTL	33
#define TOS	0x48

/* What an IPv4 socket of this system can tell. */
#define ALL4	(DGI_HAVE_RECVTOS ? (unsigned)ALL : ALL & ~DGRAM_TOS)

/* ---- what was told ---- */

struct told {
	uint32_t seq;
	unsigned flags, ifindex;
	bool has_local, has_remote;
	struct dgram_addr local, remote;
	uint8_t ttl, tos;
	int64_t time_ns;
};

#define LOG	512

static struct told told[LOG];
static size_t ntold;

static void
log_hook(struct peer *p, enum event e, const struct dgram_message *m, size_t n)
{
	size_t i;

	(void)p;
	for (i = 0; e == EV_MESSAGE && i < n && ntold < LOG; i++) {
		struct told *t = &told[ntold++];

		memset(t, 0, sizeof(*t));
		memcpy(&t->seq, m[i].data, m[i].size < 4 ? m[i].size : 4);
		t->flags = m[i].flags;
		t->ifindex = m[i].ifindex;
		t->ttl = m[i].ttl;
		t->tos = m[i].tos;
		t->time_ns = m[i].time_ns;
		t->has_local = m[i].local != NULL;
		if (t->has_local)
			t->local = *m[i].local;
		t->has_remote = m[i].remote != NULL;
		if (t->has_remote)
			t->remote = *m[i].remote;
	}
}

/* ---- sockets ---- */

static struct dgram_addr
at(const char *literal, int port)
{
	struct dgram_addr a;

	OK(dgram_addr_parse(&a, literal, port));
	return a;
}

static void
open_at(struct peer *p, struct dgram_loop *l, const char *literal,
    unsigned want)
{
	const struct dgram_options o = { .want = want };
	struct dgram_addr a = at(literal, 0);

	peer_open(p, l, strchr(literal, ':') != NULL ? DGRAM_UDP6 : DGRAM_UDP4,
	    &o);
	p->hook = log_hook;
	OK(dgram_bind_addr(p->s, &a));
	OK(dgram_address(p->s, &p->addr));
}

static void
set(int fd, int level, int name, int v)
{
	MUST(setsockopt(fd, level, name, &v, sizeof(v)) == 0, "%d %d: %s",
	    level, name, strerror(errno));
}

/* A bare socket that sends with that ttl and tos, bound to the address. */
static int
bare_at(const char *literal, struct dgram_addr *addr)
{
	struct dgram_addr a = at(literal, 0);
	int fd = socket(a.u.sa.sa_family, SOCK_DGRAM, 0);

	MUST(fd >= 0, "%s", strerror(errno));
	if (a.u.sa.sa_family == AF_INET) {
		set(fd, IPPROTO_IP, IP_TTL, TTL);
		set(fd, IPPROTO_IP, IP_TOS, TOS);
	} else {
		set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, TTL);
		set(fd, IPPROTO_IPV6, IPV6_TCLASS, TOS);
	}
	MUST(bind(fd, &a.u.sa, a.len) == 0, "%s: %s", literal,
	    strerror(errno));
	if (addr != NULL) {
		addr->len = sizeof(addr->u);
		MUST(getsockname(fd, &addr->u.sa, &addr->len) == 0, "name");
	}
	return fd;
}

/* The number of a datagram that must come, and its sender. */
static int64_t
bare_wait(int fd, struct dgram_addr *from)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint32_t seq = 0;

	MUST(poll(&pfd, 1, 5000) == 1, "no answer");
	from->len = sizeof(from->u);
	MUST(recvfrom(fd, &seq, sizeof(seq), MSG_DONTWAIT, &from->u.sa,
	    &from->len) == 4, "%s", strerror(errno));
	return seq;
}

static int64_t
real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* qemu does not swap the interface of IPv4 for a big-endian program. */
static bool
is_index(unsigned got, unsigned want)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	if (got == __builtin_bswap32(want))
		return true;
#endif
	return got == want;
}

/*
 * qemu of a user's program hands most control messages on as they are: what is
 * in them is wrong for a machine of the other byte order.
 */
static bool
is_swapped(void)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ && DGI_HAVE_SEND_TTL
	_Alignas(8) unsigned char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { control, 1 };
	struct dgram_addr to;
	struct msghdr m = { .msg_name = &to.u, .msg_iov = &iov,
	    .msg_iovlen = 1, .msg_control = control,
	    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fd = bare_at("127.0.0.1", &to), ttl = 9;
	bool ok;

	m.msg_namelen = to.len;
	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_TTL;
	c->cmsg_len = CMSG_LEN(sizeof(ttl));
	memcpy(CMSG_DATA(c), &ttl, sizeof(ttl));
	ok = sendmsg(fd, &m, 0) == 1;
	close(fd);
	return ok;
#else
	return true;
#endif
}

#define NEEDS_SWAPPED() do {						\
	if (!is_swapped())						\
		cr_skip_test("control messages are not swapped");	\
} while (0)

/* It also installs descriptors that it has no room for, and no SO_TIMESTAMPNS. */
static bool
is_emulated(void)
{
#if DGI_HAVE_TIMESTAMPNS
	int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
	bool no = setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one,
	    sizeof(one)) < 0;

	close(fd);
	return no;
#else
	return false;
#endif
}

static unsigned
loopback(void)
{
	unsigned i = if_nametoindex("lo");

	return i != 0 ? i : if_nametoindex("lo0");
}

/* ---- a look at what the kernel is given, and a hand in what it gives ---- */

static struct spy {
	struct fault_os f;
	struct dgi_os before;
	unsigned controls;	/* headers sent with control messages */
	size_t room;		/* of control messages to receive; or all */
	bool none;		/* they are lost altogether */
	_Alignas(8) unsigned char last[DGI_CMSG_SEND];
	size_t last_size;
} spy;

#define WHOLE	SIZE_MAX

static void
look(const struct msghdr *m)
{
	if (m->msg_controllen == 0) {
		MUST(m->msg_control == NULL, "a control without length");
		return;
	}
	spy.controls++;
	spy.last_size = m->msg_controllen;
	memcpy(spy.last, m->msg_control, spy.last_size);
}

static ssize_t
spy_sendmsg(const struct dgi_os *os, int fd, const struct msghdr *m)
{
	look(m);
	return spy.before.sendmsg(os, fd, m);
}

static int
spy_sendmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n)
{
	int r = spy.before.sendmmsg(os, fd, m, n), i;

	for (i = 0; i < r; i++)
		look(&m[i].msg_hdr);
	return r;
}

static ssize_t
spy_recvmsg(const struct dgi_os *os, int fd, struct msghdr *m, int flags)
{
	ssize_t r;

	if (spy.room != WHOLE && m->msg_controllen > spy.room)
		m->msg_controllen = (unsigned)spy.room;
	r = spy.before.recvmsg(os, fd, m, flags);
	if (r >= 0 && spy.room == WHOLE)
		MUST((m->msg_flags & MSG_CTRUNC) == 0, "too little room");
	if (r >= 0 && spy.none)
		m->msg_controllen = 0;
	return r;
}

static int
spy_recvmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n,
    int flags)
{
	unsigned i;
	int r;

	for (i = 0; i < n; i++) {
		if (m[i].msg_hdr.msg_controllen > spy.room)
			m[i].msg_hdr.msg_controllen = (unsigned)spy.room;
	}
	r = spy.before.recvmmsg(os, fd, m, n, flags);
	for (i = 0; spy.none && r > 0 && i < (unsigned)r; i++)
		m[i].msg_hdr.msg_controllen = 0;
	return r;
}

static struct dgram_loop *
spy_loop(const char *backend)
{
	fault_init(&spy.f);
	spy.before = spy.f.os;
	spy.f.os.sendmsg = spy_sendmsg;
	spy.f.os.sendmmsg = spy_sendmmsg;
	spy.f.os.recvmsg = spy_recvmsg;
	spy.f.os.recvmmsg = spy_recvmmsg;
	spy.room = WHOLE;
	spy.none = false;
	spy.controls = 0;
	ntold = 0;
	return fault_loop(&spy.f, backend, NULL);
}

/* ---- told ---- */

/* Asker, asked, and what the local address is then. */
static const struct path {
	const char *bound, *asker, *to, *local;
} paths[] = {
	{ "0.0.0.0", "127.0.0.1", "127.0.0.1", "127.0.0.1" },
	{ "127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1" },
	{ "::", "::1", "::1", "::1" },
	{ "::1", "::1", "::1", "::1" },
	{ "::", "127.0.0.1", "127.0.0.1", "::ffff:127.0.0.1" },
};

static bool
can_go(const struct path *p)
{
	/* Of IPv6 they are ints, of IPv4 a byte, or swapped. */
	return strchr(p->bound, ':') == NULL || (have_ipv6() && is_swapped() &&
	    (DGI_HAVE_MAPPED || strchr(p->asker, ':') != NULL));
}

#define EACH_PATH(p)							\
	for (const struct path *p = paths; p < paths + COUNT(paths); p++) \
		if (!can_go(p))						\
			continue;					\
		else

static void
check_told(const struct told *t, unsigned want, const struct path *path,
    int port, int64_t since)
{
	struct dgram_addr local = at(path->local, port);

	MUST(t->flags == (want & ALL), "flags %#x, wanted %#x", t->flags, want);
	MUST(t->has_local == ((want & DGRAM_LOCAL) != 0), "local");
	MUST(!t->has_local || dgram_addr_equal(&t->local, &local), "local");
	MUST(t->has_local ? is_index(t->ifindex, loopback()) : t->ifindex == 0,
	    "ifindex %u, want %#x", t->ifindex, want);
	MUST(t->has_remote == ((want & DGRAM_NO_REMOTE) == 0), "remote");
	MUST(t->ttl == ((want & DGRAM_TTL) != 0 ? TTL : 0), "ttl %u", t->ttl);
	MUST(t->tos == ((want & DGRAM_TOS) != 0 ? TOS : 0), "tos %u", t->tos);
	if ((want & DGRAM_TIME) == 0)
		MUST(t->time_ns == 0, "time");
	else
		MUST(t->time_ns >= since - 1000 && t->time_ns <= real_ns(),
		    "time %lld", (long long)t->time_ns);
}

BACKEND_TEST(meta, each_bit)
{
	static const unsigned wants[] = { 0, DGRAM_LOCAL, DGRAM_TTL, DGRAM_TOS,
	    DGRAM_TIME, DGRAM_NO_REMOTE, DGRAM_LOCAL | DGRAM_NO_REMOTE, ALL,
	    ALL | DGRAM_NO_REMOTE };
	struct dgram_addr to;
	struct dgram_loop *l;
	struct peer p;
	int64_t since;
	size_t i;
	int fd;

	EACH_PATH(path) {
		for (i = 0; i < COUNT(wants); i++) {
			if ((wants[i] & ~ALL4) != DGRAM_NO_REMOTE &&
			    !DGI_HAVE_RECVTOS)
				continue;
			l = spy_loop(backend);
			open_at(&p, l, path->bound, wants[i]);
			to = at(path->to, dgram_addr_port(&p.addr));
			fd = bare_at(path->asker, NULL);
			since = real_ns();
			bare_send(fd, &to, 1);
			RUN_UNTIL(l, ntold == 1);
			check_told(&told[0], wants[i], path,
			    dgram_addr_port(&p.addr), since);
			close(fd);
			free_fault_loop(l, &spy.f);
		}
	}
	cr_assert(true);
}

/* Single reads, batches, and batches that are a loop; the ttl of each. */
BACKEND_TEST(meta, streaks)
{
	struct dgram_loop *l;
	struct dgram_addr to;
	struct peer p;
	uint32_t i, k;
	int fd, emulated;

	EACH_PATH(path) {
		for (emulated = 0; emulated < 2; emulated++) {
			l = spy_loop(backend);
			if (emulated)
				fault_always(&spy.f, FAULT_RECVMMSG, -ENOSYS);
			open_at(&p, l, path->bound, ALL4);
			to = at(path->to, dgram_addr_port(&p.addr));
			fd = bare_at(path->asker, NULL);
			for (i = 0; i < 160;) {
				for (k = 0; k < 40; k++, i++) {
					if (to.u.sa.sa_family == AF_INET)
						set(fd, IPPROTO_IP, IP_TTL,
						    (int)i + 10);
					else
						set(fd, IPPROTO_IPV6,
						    IPV6_UNICAST_HOPS,
						    (int)i + 10);
					bare_send(fd, &to, i);
				}
				RUN_UNTIL(l, ntold == i);
			}
			MUST(p.largest > 1, "no batch");
			MUST(spy.f.entry[FAULT_RECVMSG].calls > 0, "no single");
			for (i = 0; i < 160; i++) {
				MUST(told[i].seq == i && told[i].ttl == i + 10,
				    "%u: %u", i, told[i].ttl);
				MUST((told[i].flags & KNOWN) == ALL4, "%#x",
				    told[i].flags);
			}
			close(fd);
			free_fault_loop(l, &spy.f);
		}
	}
	cr_assert(true);
}

/* The headers are shared: what one asks for no other is told. */
BACKEND_TEST(meta, not_of_another)
{
	static const unsigned wants[] = { ALL, 0, DGRAM_NO_REMOTE, DGRAM_TTL,
	    DGRAM_LOCAL | DGRAM_NO_REMOTE, 0 };
	struct peer p[COUNT(wants)];
	struct dgram_loop *l;
	uint32_t i, k, n = 0;
	int64_t since;
	int fd;

	if (!DGI_HAVE_RECVTOS)
		cr_skip_test("IP_RECVTOS is missing here");
	l = spy_loop(backend);
	for (i = 0; i < COUNT(wants); i++)
		open_at(&p[i], l, "127.0.0.1", wants[i]);
	fd = bare_at("127.0.0.1", NULL);
	since = real_ns();
	while (n < 60 * COUNT(wants)) {
		ntold = 0;
		for (k = 0; k < 10; k++) {
			for (i = 0; i < COUNT(wants); i++, n++)
				bare_send(fd, &p[i].addr, i);
		}
		RUN_UNTIL(l, ntold == 10 * COUNT(wants));
		for (k = 0; k < ntold; k++) {
			i = told[k].seq;
			MUST(i < COUNT(wants), "%u", i);
			check_told(&told[k], wants[i], &paths[1],
			    dgram_addr_port(&p[i].addr), since);
		}
	}
	close(fd);
	free_fault_loop(l, &spy.f);
	cr_assert(true);
}

BACKEND_TEST(meta, adopted)
{
	const struct dgram_options o = { .want = ALL4,
	    .events = &peer_events };
	struct dgram_options with = o;
	struct dgram_addr addr;
	struct dgram_loop *l;
	struct peer p;
	int64_t since;
	int fd, out;

	EACH_PATH(path) {
		l = spy_loop(backend);
		memset(&p, 0, sizeof(p));
		p.hook = log_hook;
		with.arg = &p;
		fd = bare_at(path->bound, &addr);
		OK(dgram_open_fd(l, &with, fd, &p.s));
		addr = at(path->to, dgram_addr_port(&addr));
		out = bare_at(path->asker, NULL);
		since = real_ns();
		bare_send(out, &addr, 1);
		RUN_UNTIL(l, ntold == 1);
		check_told(&told[0], ALL4, path, dgram_addr_port(&addr), since);
		close(out);
		free_fault_loop(l, &spy.f);
	}
	/* One that cannot be asked stays the caller's. */
	l = spy_loop(backend);
	fd = bare_at("127.0.0.1", NULL);
	fault_always(&spy.f, FAULT_SETSOCKOPT, -ENOPROTOOPT);
	CHECK(dgram_open_fd(l, &with, fd, &p.s), -ENOTSUP);
	cr_assert_eq(close(fd), 0);
	free_fault_loop(l, &spy.f);
}

/* What configure() has switched on is not what the socket was asked for. */
static int
configure_more(int fd, void *arg)
{
	(void)arg;
	set(fd, IPPROTO_IP, IP_RECVTTL, 1);
	set(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
	return 0;
}

BACKEND_TEST(meta, configured)
{
	const struct dgram_options o = { .want = DGRAM_LOCAL,
	    .configure = configure_more };
	struct dgram_loop *l = spy_loop(backend);
	struct dgram_addr any = at("127.0.0.1", 0);
	struct peer p;
	int fd;

	peer_open(&p, l, DGRAM_UDP4, &o);
	p.hook = log_hook;
	OK(dgram_bind_addr(p.s, &any));
	OK(dgram_address(p.s, &p.addr));
	fd = bare_at("127.0.0.1", NULL);
	bare_send(fd, &p.addr, 1);
	RUN_UNTIL(l, ntold == 1);
	cr_assert_eq(told[0].flags, DGRAM_LOCAL, "%#x", told[0].flags);
	close(fd);
	free_fault_loop(l, &spy.f);
}

/* ---- AF_UNIX: the time, and descriptors that nobody asked for ---- */

static void
send_fds(int fd, const struct dgram_addr *to, int n)
{
	_Alignas(8) unsigned char control[CMSG_SPACE(250 * sizeof(int))];
	uint32_t seq = (uint32_t)n;
	struct iovec iov = { &seq, sizeof(seq) };
	struct dgram_addr a = *to;
	struct msghdr m = { .msg_name = &a.u, .msg_namelen = a.len,
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	struct cmsghdr *c;
	int i;

	memset(control, 0, sizeof(control));
	m.msg_controllen = (unsigned)CMSG_SPACE((unsigned)n * sizeof(int));
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((unsigned)n * sizeof(int));
	for (i = 0; i < n; i++)
		memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &fd,
		    sizeof(fd));
	MUST(sendmsg(fd, &m, 0) == 4, "%s", strerror(errno));
}

BACKEND_TEST(meta, unix_time)
{
	/* musl sends no more than 1024 bytes of control messages. */
	static const int counts[] = { 1, 3, 50, 250 };
	const struct dgram_options o = { .want = DGRAM_TIME };
	struct dgram_addr from;
	struct dgram_loop *l;
	struct peer p;
	int64_t since;
	size_t i;
	int fd, fds;

	l = spy_loop(backend);
	peer_open_bound(&p, l, DGRAM_UNIX, &o);
	p.hook = log_hook;
	fd = bare_socket(DGRAM_UNIX, &from);
	since = real_ns();
	bare_send(fd, &p.addr, 7);
	RUN_UNTIL(l, ntold == 1);
	MUST(told[0].flags == DGRAM_TIME && told[0].time_ns >= since - 1000 &&
	    told[0].time_ns <= real_ns(), "time");
	MUST(!told[0].has_local && dgram_addr_equal(&told[0].remote, &from),
	    "addresses");
	fds = test_count_fds();
	spy.room = SIZE_MAX - 1;	/* the kernel may cut them */
	for (i = 0; i < COUNT(counts); i++) {
		/* An emulator loses descriptors. */
		if (is_emulated())
			break;
		send_fds(fd, &p.addr, counts[i]);
		RUN_UNTIL(l, ntold == i + 2);
		MUST(told[i + 1].seq == (uint32_t)counts[i], "another");
		cr_assert_eq(test_count_fds(), fds, "%d of them leak",
		    counts[i]);
	}
	close(fd);
	free_fault_loop(l, &spy.f);
}

/* ---- systems that lack it, and kernels that lose it ---- */

BACKEND_TEST(meta, not_here)
{
	static const int errors[] = { -ENOPROTOOPT, -EINVAL, -EOPNOTSUPP };
	static const unsigned wants[] = { DGRAM_LOCAL, DGRAM_TTL, DGRAM_TIME,
	    DGRAM_LOCAL | DGRAM_NO_REMOTE };
	struct dgram_options o = { .type = DGRAM_UDP4 };
	struct dgram_addr any = at("127.0.0.1", 0);
	struct dgram_loop *l = spy_loop(backend);
	struct dgram_socket *s;
	struct peer p;
	size_t i, k;

	for (i = 0; i < COUNT(wants); i++) {
		for (k = 0; k < COUNT(errors); k++) {
			o.want = wants[i];
			peer_open(&p, l, DGRAM_UDP4, &o);
			fault_always(&spy.f, FAULT_SETSOCKOPT, errors[k]);
			CHECK(dgram_bind_addr(p.s, &any), -ENOTSUP);
			CHECK(dgram_fileno(p.s), -EBADF);
			fault_always(&spy.f, FAULT_SETSOCKOPT, -EPERM);
			CHECK(dgram_bind_addr(p.s, &any), -EPERM);
			/* It was not for ever. */
			fault_always(&spy.f, FAULT_SETSOCKOPT, 0);
			OK(dgram_bind_addr(p.s, &any));
			OK(dgram_close(p.s, NULL, NULL));
			turns(l, 2);
		}
	}
	o.want = DGRAM_CREDS;
	CHECK(dgram_open(l, &o, &s), -ENOTSUP);
	o.want = DGRAM_FDS;
	CHECK(dgram_open(l, &o, &s), -ENOTSUP);
	o.want = DGRAM_TRUNCATED;
	CHECK(dgram_open(l, &o, &s), -EINVAL);
	o.want = DGRAM_GROUP;
	CHECK(dgram_open(l, &o, &s), -EINVAL);
	o.want = 0x80000000u;
	CHECK(dgram_open(l, &o, &s), -EINVAL);
	o.type = DGRAM_UNIX;
	for (i = 0; i < 2; i++) {
		o.want = wants[i];
		CHECK(dgram_open(l, &o, &s), -ENOTSUP);
	}
	free_fault_loop(l, &spy.f);
	cr_assert(true);
}

#if DGI_HAVE_TIMESTAMPNS
/* SO_TIMESTAMP serves where SO_TIMESTAMPNS is missing. */
BACKEND_TEST(meta, old_time)
{
	const struct dgram_options o = { .want = DGRAM_TIME };
	struct dgram_addr any = at("127.0.0.1", 0), to;
	struct dgram_loop *l = spy_loop(backend);
	struct peer p;
	int64_t since;
	int fd;

	peer_open(&p, l, DGRAM_UDP4, &o);
	p.hook = log_hook;
	/* IP_MULTICAST_ALL is the first. */
	fault_at(&spy.f, FAULT_SETSOCKOPT, 2, -ENOPROTOOPT);
	OK(dgram_bind_addr(p.s, &any));
	cr_assert_eq(spy.f.entry[FAULT_SETSOCKOPT].calls, 3);
	OK(dgram_address(p.s, &to));
	fd = bare_at("127.0.0.1", NULL);
	since = real_ns();
	bare_send(fd, &to, 1);
	RUN_UNTIL(l, ntold == 1);
	check_told(&told[0], DGRAM_TIME, &paths[1], 0, since);
	cr_assert_eq(told[0].time_ns % 1000, 0);
	close(fd);
	free_fault_loop(l, &spy.f);
}
#endif

/* The kernel cuts the control messages, at each byte: right, or unknown. */
BACKEND_TEST(meta, cut)
{
	struct dgram_addr to;
	struct dgram_loop *l;
	struct peer p;
	unsigned full, told_of_some;
	size_t room;
	int fd;

	EACH_PATH(path) {
		l = spy_loop(backend);
		open_at(&p, l, path->bound, ALL4);
		to = at(path->to, dgram_addr_port(&p.addr));
		fd = bare_at(path->asker, NULL);
		full = told_of_some = 0;
		for (room = 0; room <= DGI_CMSG_RECV; room += 1) {
			const struct told *t;

			spy.room = room;
			ntold = 0;
			bare_send(fd, &to, 1);
			if (room % 3 == 0)
				bare_send(fd, &to, 1);
			RUN_UNTIL(l, ntold == (room % 3 == 0 ? 2 : 1));
			t = &told[ntold - 1];
			MUST((t->flags & ~ALL4) == 0, "%#x", t->flags);
			check_told(t, t->flags, path,
			    dgram_addr_port(&p.addr), 1000);
			full += t->flags == ALL4;
			told_of_some += t->flags != 0;
		}
		MUST(full > 0 && full < told_of_some, "%u, %u", full,
		    told_of_some);
		/* The next one is whole again. */
		spy.room = WHOLE;
		ntold = 0;
		bare_send(fd, &to, 1);
		RUN_UNTIL(l, ntold == 1);
		check_told(&told[0], ALL4, path, dgram_addr_port(&p.addr), 0);
		close(fd);
		free_fault_loop(l, &spy.f);
	}
	cr_assert(true);
}

static void
reply_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	log_hook(p, e, m, n);
	for (i = 0; e == EV_MESSAGE && i < n; i++)
		CHECK(dgram_reply(p->s, &m[i], m[i].data, m[i].size),
		    *(int *)p->arg);
}

/* Without any control message: unknown, and the reply is the system's. */
BACKEND_TEST(meta, lost)
{
	struct dgram_addr to, from;
	struct dgram_loop *l = spy_loop(backend);
	struct peer p;
	int fd, k, ok = 0;

	open_at(&p, l, "0.0.0.0", ALL4);
	p.hook = reply_hook;
	p.arg = &ok;
	to = at("127.0.0.1", dgram_addr_port(&p.addr));
	fd = bare_at("127.0.0.1", NULL);
	spy.none = true;
	for (k = 0; k < 60; k++)
		bare_send(fd, &to, 5);
	RUN_UNTIL(l, ntold == 60);
	for (k = 0; k < 60; k++)
		check_told(&told[k], 0, &paths[0], 0, 0);
	cr_assert_eq(bare_wait(fd, &from), 5);
	cr_assert_eq(spy.controls, 0);
	spy.none = false;
	close(fd);
	free_fault_loop(l, &spy.f);
}

BACKEND_TEST(meta, no_remote)
{
	struct dgram_loop *l = spy_loop(backend);
	struct dgram_addr to;
	struct peer p;
	int fd, not = NOT_CONNECTED;

	open_at(&p, l, "0.0.0.0", DGRAM_LOCAL | DGRAM_NO_REMOTE);
	p.hook = reply_hook;
	p.arg = &not;
	to = at("127.0.0.1", dgram_addr_port(&p.addr));
	fd = bare_at("127.0.0.1", NULL);
	bare_send(fd, &to, 1);
	RUN_UNTIL(l, ntold == 1);
	check_told(&told[0], DGRAM_LOCAL | DGRAM_NO_REMOTE, &paths[0],
	    dgram_addr_port(&p.addr), 0);
	close(fd);
	free_fault_loop(l, &spy.f);
	cr_assert(true);
}

/* ---- sent with ---- */

enum how { BORROWED, COPIED, TRY, NHOW };

#if DGI_HAVE_SEND_TTL
#define NSENT	24u

/* The one with that number. */
static const struct told *
told_of(uint32_t seq)
{
	size_t i;

	for (i = 0; i < ntold; i++) {
		if (told[i].seq == seq)
			return &told[i];
	}
	MUST(false, "%u did not arrive", seq);
	return NULL;
}

/*
 * Each in its own way: plain, with one thing, with all.  The way is not the
 * number modulo what a batch could be, so that no neighbour will do.
 */
struct outgoing {
	struct dgram_datagram d[NSENT];
	struct iovec iov[NSENT];
	struct dgram_addr to, from[NSENT];
	uint32_t base;
	unsigned meta;			/* how many are not plain */
};

static void
compose(struct outgoing *o, const struct dgram_addr *to, uint32_t base)
{
	bool mapped = dgi_addr_is_mapped(to);
	bool four = to->u.sa.sa_family == AF_INET || mapped;
	char text[64];
	unsigned i;

	memset(o, 0, sizeof(*o));
	o->to = *to;
	o->base = base;
	for (i = 0; i < NSENT; i++) {
		struct dgram_datagram *d = &o->d[i];
		unsigned way = i * i % 7;

		o->iov[i].iov_base = number(base + i);
		o->iov[i].iov_len = 4;
		d->iov = &o->iov[i];
		d->iovcnt = 1;
		d->to = &o->to;
		d->ttl = d->tos = -1;
		if (way == 0)
			d->ttl = d->tos = 0;	/* without the flags */
		if (way == 1 || way == 2)
			d->ttl = 100 + (int)i;
		if (way == 4 || way == 2)
			d->tos = 4 * (int)(i + 1);
		if (way != 0) {
			if (four)
				snprintf(text, sizeof(text), "%s127.0.1.%u",
				    mapped ? "::ffff:" : "", i + 1);
			else
				snprintf(text, sizeof(text), "::1");
			o->from[i] = at(text, (int)i);
			d->from = way == 1 || way == 4 ? &o->from[i] : NULL;
			if (way == 2)
				d->ifindex = loopback();
		}
		o->meta += d->from != NULL || d->ttl > 0 || d->tos > 0 ||
		    d->ifindex != 0;
	}
	MUST(o->meta > 5 && o->meta < NSENT - 3, "%u", o->meta);
}

/* The plain ones go as the socket does. */
static void
check_arrived(const struct outgoing *o, const struct dgram_addr *own)
{
	struct dgram_addr from;
	unsigned i;

	for (i = 0; i < NSENT; i++) {
		const struct dgram_datagram *d = &o->d[i];
		const struct told *t = told_of(o->base + i);

		MUST(t->ttl == (d->ttl > 0 ? d->ttl : TTL), "%u: ttl %u", i,
		    t->ttl);
		MUST(t->tos == (d->tos > 0 ? d->tos : TOS), "%u: tos %u", i,
		    t->tos);
		from = d->from != NULL ? *d->from : *own;
		from.u.in.sin_port = own->u.in.sin_port;
		MUST(dgram_addr_equal(&t->remote, &from), "%u: source", i);
	}
}

/* How they are sent, and what stands in the way. */
enum fault { NO_FAULT, NO_MMSG, BLOCKED, NO_BUFFERS, NFAULTS };

static void
push(struct peer *p, struct outgoing *o, enum how how)
{
	if (how == TRY) {
		MUST(CALL(dgram_try_send(p->s, o->d, NSENT)) == (int)NSENT,
		    "try");
		return;
	}
	OK(dgram_send_batch(p->s, o->d, NSENT, how == BORROWED ? peer_done :
	    NULL, p));
	if (how == COPIED) {
		/* Nothing of it is needed any more. */
		memset(o->from, 0xaa, sizeof(o->from));
		memset(&o->to, 0xaa, sizeof(o->to));
		memset(o->iov, 0xaa, sizeof(o->iov));
		memset(o->d, 0xaa, sizeof(o->d));
	}
}

static void
begin_fault(enum fault fault)
{
	if (fault == NO_MMSG)
		fault_always(&spy.f, FAULT_SENDMMSG, -ENOSYS);
	else if (fault == BLOCKED)
		fault_sends(&spy.f, -EAGAIN);
	else if (fault == NO_BUFFERS)
		fault_sends(&spy.f, -ENOBUFS);
}

/* One socket of the family sends to another by all ways. */
static void
send_ways(const char *backend, const char *bind_to, const char *receiver,
    const char *as, int most, enum fault fault, enum how how)
{
	struct dgram_loop *l = spy_loop(backend);
	struct outgoing o, intact;
	struct dgram_addr to, own;
	struct peer p, q;

	open_at(&q, l, receiver, DGRAM_TTL | DGRAM_TOS);
	open_at(&p, l, bind_to, 0);
	OK(dgram_set_ttl(p.s, TTL));
	OK(dgram_set_tos(p.s, TOS));
	to = at(as, dgram_addr_port(&q.addr));
	/* Where the system has us be. */
	own = at(as[0] == ':' && as[2] == 'f' ? "127.0.0.1" : as,
	    dgram_addr_port(&p.addr));
	if (q.addr.u.sa.sa_family == AF_INET6 && own.u.sa.sa_family == AF_INET)
		own = at("::ffff:127.0.0.1", dgram_addr_port(&p.addr));
	compose(&o, &to, 100);
	if (q.addr.u.sa.sa_family == AF_INET &&
	    to.u.sa.sa_family == AF_INET6) {
		unsigned i;

		/* They arrive as what they are. */
		intact = o;
		for (i = 0; i < NSENT; i++) {
			char text[64];

			snprintf(text, sizeof(text), "127.0.1.%u", i + 1);
			intact.from[i] = at(text, 0);
		}
	} else {
		intact = o;
	}
	for (unsigned i = 0; i < NSENT; i++) {
		if (intact.d[i].from != NULL)
			intact.d[i].from = &intact.from[i];
	}
	spy.f.entry[FAULT_SENDMMSG].most = most;
	begin_fault(fault);
	/* Plain ones in front and behind, of the common kind. */
	if (how != TRY)
		OK(send_done(&p, 1, &to));
	push(&p, &o, how);
	if (how != TRY)
		OK(send_done(&p, 2, &to));
	if (fault == BLOCKED || fault == NO_BUFFERS) {
		turns(l, 3);
		MUST(ntold == 0 && dgram_get_send_queue_count(p.s) ==
		    NSENT + 2, "not blocked");
		fault_sends(&spy.f, 0);
	}
	RUN_UNTIL(l, ntold == NSENT + (how == TRY ? 0 : 2));
	check_arrived(&intact, &own);
	MUST(spy.controls == intact.meta, "%u, not %u", spy.controls,
	    intact.meta);
	OK(send_done(&p, 3, &to));
	RUN_UNTIL(l, ntold == NSENT + (how == TRY ? 1 : 3));
	for (uint32_t i = how == TRY ? 3 : 1; i < 4; i++)
		MUST(told_of(i)->ttl == TTL && told_of(i)->tos == TOS,
		    "%u: what another was sent with", i);
	MUST(how != BORROWED || p.n[EV_DONE] == 4, "%d", p.n[EV_DONE]);
	MUST(p.n[EV_ERROR] == 0, "error %d", p.status[0]);
	free_fault_loop(l, &spy.f);
}

BACKEND_TEST(meta, each_its_own)
{
	int fault, how;

	NEEDS_SWAPPED();
	for (fault = 0; fault < NFAULTS; fault++) {
		for (how = 0; how < NHOW; how++) {
			if (how == TRY && fault > NO_MMSG)
				continue;
			send_ways(backend, "0.0.0.0", "127.0.0.1", "127.0.0.1",
			    0, (enum fault)fault, (enum how)how);
			if (!have_ipv6())
				continue;
			send_ways(backend, "::", "::1", "::1", 0,
			    (enum fault)fault, (enum how)how);
			send_ways(backend, "::", "127.0.0.1",
			    "::ffff:127.0.0.1", 0, (enum fault)fault,
			    (enum how)how);
			send_ways(backend, "::", "::", "::ffff:127.0.0.1", 0,
			    (enum fault)fault, (enum how)how);
		}
	}
	cr_assert(true);
}

/* sendmmsg(2) takes fewer than it was given, at each point. */
BACKEND_TEST(meta, short_counts)
{
	int most, how;

	NEEDS_SWAPPED();
	for (most = 1; most < (int)NSENT + 3; most++) {
		for (how = 0; how < NHOW; how++)
			send_ways(backend, "0.0.0.0", "127.0.0.1", "127.0.0.1",
			    most, NO_FAULT, (enum how)how);
	}
	cr_assert(true);
}

/* One fails, wherever it is; all others go as they should. */
BACKEND_TEST(meta, one_fails)
{
	struct dgram_addr own;
	struct dgram_loop *l;
	struct outgoing o;
	struct peer p, q;
	unsigned k, i;

	NEEDS_SWAPPED();
	/* Call by call an error behind another datagram is met twice. */
	if (!test_has("sendmmsg"))
		cr_skip_test("no sendmmsg");
	for (k = 1; k <= NSENT; k++) {
		l = spy_loop(backend);
		open_at(&q, l, "127.0.0.1", DGRAM_TTL | DGRAM_TOS);
		open_at(&p, l, "127.0.0.1", 0);
		OK(dgram_set_ttl(p.s, TTL));
		OK(dgram_set_tos(p.s, TOS));
		compose(&o, &q.addr, 100);
		own = p.addr;
		spy.f.datagram = k;
		spy.f.datagram_with = -EPERM;
		push(&p, &o, BORROWED);
		RUN_UNTIL(l, ntold == NSENT - 1 && p.n[EV_DONE] == 1);
		MUST(p.done[0] == (int)NSENT - 1, "%d", p.done[0]);
		for (i = 0; i < NSENT; i++)
			MUST(o.d[i].result == (i + 1 == k ? -EPERM : 4),
			    "%u: %d", i, o.d[i].result);
		/* Stands in for the one that is missing. */
		told[ntold] = told[0];
		told[ntold].seq = o.base + k - 1;
		told[ntold].ttl = (uint8_t)(o.d[k - 1].ttl > 0 ?
		    o.d[k - 1].ttl : TTL);
		told[ntold].tos = (uint8_t)(o.d[k - 1].tos > 0 ?
		    o.d[k - 1].tos : TOS);
		told[ntold].remote = o.d[k - 1].from != NULL ?
		    *o.d[k - 1].from : own;
		told[ntold++].remote.u.in.sin_port = own.u.in.sin_port;
		check_arrived(&o, &own);
		free_fault_loop(l, &spy.f);
	}
	cr_assert(true);
}

/* A connected socket is told of an earlier one's ICMP, and tries again. */
BACKEND_TEST(meta, after_refusal)
{
	struct dgram_loop *l;
	struct outgoing o;
	struct peer p, q;
	int how;
	unsigned i;

	NEEDS_SWAPPED();
	if (!test_has("sendmmsg"))
		cr_skip_test("no sendmmsg");
	for (how = 0; how < NHOW; how++) {
		l = spy_loop(backend);
		open_at(&q, l, "127.0.0.1", DGRAM_TTL | DGRAM_TOS);
		open_at(&p, l, "0.0.0.0", 0);
		OK(dgram_set_ttl(p.s, TTL));
		OK(dgram_set_tos(p.s, TOS));
		OK(dgram_connect_addr(p.s, &q.addr));
		OK(dgram_address(p.s, &p.addr));
		compose(&o, &q.addr, 100);
		for (i = 0; i < NSENT; i++)
			o.d[i].to = NULL;
		fault_at(&spy.f, FAULT_SENDMMSG, 1, -ECONNREFUSED);
		push(&p, &o, (enum how)how);
		RUN_UNTIL(l, ntold == NSENT && p.n[EV_ERROR] == 1);
		MUST(p.kind[0] == DGRAM_IN_ICMP, "kind %d", p.kind[0]);
		if (how == COPIED)
			compose(&o, &q.addr, 100);
		check_arrived(&o, &p.addr);
		free_fault_loop(l, &spy.f);
	}
	cr_assert(true);
}

/* 0 is meant with the flag, and the socket's without. */
BACKEND_TEST(meta, zero)
{
	static const char *const hosts[] = { "127.0.0.1", "::1" };
	const unsigned both = DGRAM_SET_TTL | DGRAM_SET_TOS;
	struct iovec iov = { number(1), 4 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1 };
	struct dgram_loop *l;
	struct peer p, q;
	int i, r;

	NEEDS_SWAPPED();
	for (i = 0; i < 2; i++) {
		if (i == 1 && !have_ipv6())
			break;
		l = spy_loop(backend);
		open_at(&q, l, hosts[i], DGRAM_TTL | DGRAM_TOS);
		open_at(&p, l, hosts[i], 0);
		OK(dgram_set_ttl(p.s, TTL));
		OK(dgram_set_tos(p.s, TOS));
		d.to = &q.addr;
		d.tos = 0;
		d.ttl = 0;
		d.flags = 0;
		CHECK(dgram_try_send(p.s, &d, 1), 1);
		d.flags = DGRAM_SET_TOS;
		CHECK(dgram_try_send(p.s, &d, 1), 1);
		d.ttl = d.tos = -1;
		d.flags = both;
		CHECK(dgram_try_send(p.s, &d, 1), 1);
		RUN_UNTIL(l, ntold == 3);
		MUST(told[0].ttl == TTL && told[0].tos == TOS, "unasked");
		MUST(told[1].ttl == TTL && told[1].tos == 0, "tos %u",
		    told[1].tos);
		MUST(told[2].ttl == TTL && told[2].tos == TOS, "-1");
		/* IPv4 without a hop goes nowhere, Linux says. */
		d.ttl = 0;
		d.flags = DGRAM_SET_TTL;
		r = CALL(dgram_try_send(p.s, &d, 1));
		MUST(r == (i == 0 ? -EINVAL : 1), "%d", r);
		if (i == 1) {
			RUN_UNTIL(l, ntold == 4);
			MUST(told[3].flags == (DGRAM_TTL | DGRAM_TOS) &&
			    told[3].ttl == 0, "ttl %u", told[3].ttl);
		}
		free_fault_loop(l, &spy.f);
	}
	cr_assert(true);
}
#endif

BACKEND_TEST(meta, arguments)
{
	struct dgram_loop *l = spy_loop(backend);
	struct dgram_addr four = at("127.0.0.2", 0), six, mapped, path, none;
	struct iovec iov = { number(1), 4 };
	struct dgram_datagram d[2] = { { .iov = &iov, .iovcnt = 1 },
	    { .iov = &iov, .iovcnt = 1 } };
	struct dgram_datagram ok = d[0], bad;
	struct dgram_addr to4, to6, tom;
	struct peer p4, p6, pu, q4;
	struct {
		struct peer *p;
		const struct dgram_addr *to, *from;
		unsigned ifindex, flags;
		int ttl, tos, result;
	} v[] = {
		{ &p4, &to4, NULL, 0, 4, 0, 0, -EINVAL },
		{ &p4, &to4, NULL, 0, ~0u, 0, 0, -EINVAL },
		{ &p4, &to4, NULL, 0, 0, -2, 0, -EINVAL },
		{ &p4, &to4, NULL, 0, 0, 256, 0, -EINVAL },
		{ &p4, &to4, NULL, 0, 0, 0, -2, -EINVAL },
		{ &p4, &to4, NULL, 0, 0, 0, 256, -EINVAL },
		{ &p4, &to4, NULL, 0, 0, INT_MAX, 0, -EINVAL },
		{ &p4, &to4, NULL, 0, 0, INT_MIN, 0, -EINVAL },
		{ &p4, &to4, NULL, 0, 0, 0, INT_MAX, -EINVAL },
		{ &p4, &to4, NULL, 0, 0, 0, INT_MIN, -EINVAL },
		{ &p4, &to4, NULL, 0x80000000u, 0, 0, 0, -EINVAL },
		{ &p4, &to4, NULL, UINT_MAX, 0, 0, 0, -EINVAL },
		{ &p4, &to4, &six, 0, 0, 0, 0, -EINVAL },
		{ &p4, &to4, &mapped, 0, 0, 0, 0, -EINVAL },
		{ &p4, &to4, &path, 0, 0, 0, 0, -EINVAL },
		{ &p4, &to4, &none, 0, 0, 0, 0, -EINVAL },
		{ &p6, &to6, &four, 0, 0, 0, 0, -EINVAL },
		{ &p6, &to6, &mapped, 0, 0, 0, 0, -EINVAL },
		{ &p6, &tom, &six, 0, 0, 0, 0, -EINVAL },
		{ &pu, &path, NULL, 1, 0, 0, 0, -ENOTSUP },
		{ &pu, &path, &path, 0, 0, 0, 0, -ENOTSUP },
		{ &pu, &path, NULL, 0, 0, 5, 0, -ENOTSUP },
		{ &pu, &path, NULL, 0, 0, 0, 5, -ENOTSUP },
		{ &pu, &path, NULL, 0, DGRAM_SET_TTL, 0, 0, -ENOTSUP },
	};
	size_t i;

	if (!have_ipv6())
		cr_skip_test("no IPv6");
	open_at(&q4, l, "127.0.0.1", 0);
	open_at(&p4, l, "127.0.0.1", 0);
	open_at(&p6, l, "::", 0);
	peer_open_bound(&pu, l, DGRAM_UNIX, NULL);
	to4 = q4.addr;
	to6 = at("::1", 9);
	tom = at("::ffff:127.0.0.1", dgram_addr_port(&q4.addr));
	six = at("::1", 0);
	mapped = at("::ffff:127.0.0.2", 0);
	path = pu.addr;
	none.len = 0;
	ok.to = &to4;
	for (i = 0; i < COUNT(v); i++) {
		bad = ok;
		bad.to = v[i].to;
		bad.from = v[i].from;
		bad.ifindex = v[i].ifindex;
		bad.flags = v[i].flags;
		bad.ttl = v[i].ttl;
		bad.tos = v[i].tos;
		CHECK(dgram_try_send(v[i].p->s, &bad, 1), v[i].result);
		CHECK(dgram_send_batch(v[i].p->s, &bad, 1, peer_done, v[i].p),
		    v[i].result);
		CHECK(dgram_send_batch(v[i].p->s, &bad, 1, NULL, NULL),
		    v[i].result);
		/* It takes the others with it. */
		d[0] = ok;
		d[1] = bad;
		if (v[i].p == &p4)
			CHECK(dgram_send_batch(p4.s, d, 2, peer_done, &p4),
			    v[i].result);
	}
	turns(l, 3);
	MUST(ntold == 0 && p4.n[EV_DONE] == 0, "something went");
	free_fault_loop(l, &spy.f);
	cr_assert(true);
}

/* The wildcard, and what a zone or a port of the source would say. */
BACKEND_TEST(meta, source_of_no_meaning)
{
	struct dgram_loop *l = spy_loop(backend);
	struct iovec iov = { number(1), 4 };
	struct dgram_addr from;
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1, .from = &from };
	struct peer p, q;

	NEEDS_SWAPPED();
	if (!have_ipv6())
		cr_skip_test("no IPv6");
	open_at(&q, l, "::1", 0);
	open_at(&p, l, "::", 0);
	d.to = &q.addr;
	from = at("::", 0);
	CHECK(dgram_try_send(p.s, &d, 1), 1);
	from = at("::ffff:0.0.0.0", 77);
	CHECK(dgram_try_send(p.s, &d, 1), 1);
	cr_assert_eq(spy.controls, 0);
	from = at("::1", 77);
	from.u.in6.sin6_scope_id = 4711;
	CHECK(dgram_try_send(p.s, &d, 1), 1);
	cr_assert_eq(spy.controls, 1);
	RUN_UNTIL(l, ntold == 3);
	cr_assert_eq(dgram_addr_port(&told[2].remote),
	    dgram_addr_port(&p.addr));
	free_fault_loop(l, &spy.f);
}

/* What only the kernel knows comes by completion, and stops nobody else. */
BACKEND_TEST(meta, not_ours)
{
	struct dgram_loop *l = spy_loop(backend);
	struct dgram_addr foreign = at("192.0.2.99", 0);
	struct iovec iov[3] = { { number(1), 4 }, { number(2), 4 },
	    { number(3), 4 } };
	struct dgram_datagram d[3];
	struct peer p, q;
	int i;

	open_at(&q, l, "127.0.0.1", 0);
	open_at(&p, l, "0.0.0.0", 0);
	memset(d, 0, sizeof(d));
	for (i = 0; i < 3; i++) {
		d[i].iov = &iov[i];
		d[i].iovcnt = 1;
		d[i].to = &q.addr;
	}
	d[1].from = &foreign;
	OK(dgram_send_batch(p.s, d, 3, peer_done, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1 && ntold == 2);
	MUST(p.done[0] == 2 && d[0].result == 4 && d[2].result == 4 &&
	    d[1].result < 0, "%d", d[1].result);
#if DGI_HAVE_PKTINFO4
	d[1].from = NULL;
	d[1].ifindex = 0x7fffffff;
	OK(dgram_send_batch(p.s, d, 3, NULL, NULL));
	RUN_UNTIL(l, p.n[EV_ERROR] == 1 && ntold == 4);
#endif
	free_fault_loop(l, &spy.f);
	cr_assert(true);
}

/* No memory for the control messages of a batch, at each allocation. */
BACKEND_TEST(meta, no_memory)
{
	struct dgram_addr from = at("127.0.0.2", 0), to;
	struct iovec iov = { number(1), 4 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1, .from = &from };
	struct dgram_loop *l;
	struct peer p, q;
	size_t k;
	int how, r, fd, no_memory = -ENOMEM;

	for (how = 0; how < NHOW; how++) {
		for (k = 1, r = -ENOMEM; r == -ENOMEM; k++) {
			l = spy_loop(backend);
			open_at(&q, l, "127.0.0.1", 0);
			open_at(&p, l, "0.0.0.0", 0);
			d.to = &q.addr;
			spy.f.fail_alloc = spy.f.allocs + k;
			r = how == TRY ? CALL(dgram_try_send(p.s, &d, 1)) :
			    CALL(dgram_send_batch(p.s, &d, 1, how == BORROWED ?
			    peer_done : NULL, &p));
			spy.f.fail_alloc = 0;
			MUST(r == -ENOMEM || r >= 0, "%d", r);
			if (r < 0) {
				turns(l, 2);
				MUST(ntold == 0, "it went");
				CHECK(dgram_try_send(p.s, &d, 1), 1);
			}
			RUN_UNTIL(l, ntold == 1);
			MUST(from.u.in.sin_addr.s_addr ==
			    told[0].remote.u.in.sin_addr.s_addr, "source");
			free_fault_loop(l, &spy.f);
		}
		MUST(k > 2, "nothing was allocated");
	}
	/* The same of a reply, and of the socket that asks for them. */
	l = spy_loop(backend);
	open_at(&p, l, "0.0.0.0", DGRAM_LOCAL);
	p.hook = reply_hook;
	p.arg = &no_memory;
	to = at("127.0.0.2", dgram_addr_port(&p.addr));
	fd = bare_at("127.0.0.1", NULL);
	bare_send(fd, &to, 1);
	spy.f.fail_alloc = spy.f.allocs + 1;
	RUN_UNTIL(l, ntold == 1);
	cr_assert_eq(spy.f.allocs, spy.f.fail_alloc);
	close(fd);
	free_fault_loop(l, &spy.f);
	l = spy_loop(backend);
	for (k = 1, r = -ENOMEM; r == -ENOMEM; k++) {
		const struct dgram_options o = { .want = DGRAM_LOCAL };
		struct dgram_addr any = at("127.0.0.1", 0);

		peer_open(&p, l, DGRAM_UDP4, &o);
		spy.f.fail_alloc = spy.f.allocs + k;
		r = CALL(dgram_bind_addr(p.s, &any));
		MUST(r == 0 || r == -ENOMEM, "%d", r);
		spy.f.fail_alloc = 0;
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 1);
	}
	MUST(k > 2, "nothing was allocated");
	free_fault_loop(l, &spy.f);
}

/* ---- connected ---- */

#if DGI_HAVE_SEND_TTL
BACKEND_TEST(meta, connected)
{
	struct dgram_addr from = at("127.0.0.5", 0), any = at("0.0.0.0", 0);
	struct iovec iov = { number(1), 4 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1, .from = &from,
	    .ttl = 9 };
	struct dgram_loop *l = spy_loop(backend);
	const struct dgram_options o = { .want = ALL };
	struct dgram_addr to;
	struct peer p, q;
	int ok = 0;

	NEEDS_SWAPPED();
	open_at(&q, l, "0.0.0.0", DGRAM_TTL | DGRAM_LOCAL);
	to = at("127.0.0.1", dgram_addr_port(&q.addr));
	peer_open(&p, l, DGRAM_UDP4, &o);
	OK(dgram_bind_addr(p.s, &any));
	OK(dgram_connect_addr(p.s, &to));
	p.hook = reply_hook;
	p.arg = &ok;
	CHECK(dgram_try_send(p.s, &d, 1), 1);
	OK(dgram_send_batch(p.s, &d, 1, peer_done, &p));
	RUN_UNTIL(l, ntold == 2);
	MUST(told[0].ttl == 9 && told[1].ttl == 9, "ttl");
	MUST(told[1].remote.u.in.sin_addr.s_addr == from.u.in.sin_addr.s_addr,
	    "source");
	/* What the peer sends is answered to the peer, without ado. */
	spy.controls = 0;
	OK(dgram_address(p.s, &to));
	OK(send_copy(&q, 2, &to));
	RUN_UNTIL(l, ntold == 4);
	MUST(told[2].flags == ALL && told[3].seq == 2, "reply");
	cr_assert_eq(spy.controls, 0);
	free_fault_loop(l, &spy.f);
}
#endif

/* ---- replies ---- */

/* Asks at that address; the answer must come from there. */
static void
ask(struct dgram_loop *l, const struct peer *server, int fd, const char *at_,
    uint32_t seq)
{
	struct dgram_addr to = at(at_, dgram_addr_port(&server->addr)), from;
	size_t n = ntold;

	bare_send(fd, &to, seq);
	RUN_UNTIL(l, ntold > n);
	MUST(bare_wait(fd, &from) == seq, "%u: another answer", seq);
	MUST(dgram_addr_equal(&from, &to), "%s: answered from another", at_);
}

static const char *const asked[] = { "127.0.0.2", "127.0.0.3", "127.0.0.1",
	"127.0.0.2" };

BACKEND_TEST(meta, reply)
{
	static const char *const wildcards[] = { "0.0.0.0", "::" };
	struct dgram_addr first;
	struct dgram_loop *l;
	struct peer p;
	int fd, ok = 0, k;
	uint32_t i;

	for (k = 0; k < 2; k++) {
		first = at(k == 0 ? "127.0.0.1" : "::1", 9);
		if (k == 1 && (!have_ipv6() || !DGI_HAVE_MAPPED))
			continue;
		l = spy_loop(backend);
		open_at(&p, l, wildcards[k], DGRAM_LOCAL);
		p.hook = reply_hook;
		p.arg = &ok;
		/* So that there are requests for common ones to take. */
		for (i = 0; i < 4; i++)
			OK(send_copy(&p, i, &first));
		RUN_UNTIL(l, dgram_get_send_queue_count(p.s) == 0);
		fd = bare_at("127.0.0.1", NULL);
		for (i = 0; i < COUNT(asked); i++)
			ask(l, &p, fd, asked[i], i);
		cr_assert_eq(spy.controls, COUNT(asked));
		close(fd);
		if (k == 1) {
			fd = bare_at("::1", NULL);
			ask(l, &p, fd, "::1", 9);
			close(fd);
		}
		free_fault_loop(l, &spy.f);
	}
}

/* IPv6 only where the other half of the socket cannot be asked. */
BACKEND_TEST(meta, reply_of_half)
{
	const struct dgram_options o = { .want = DGRAM_LOCAL };
	struct dgram_loop *l = spy_loop(backend);
	struct dgram_addr any;
	struct peer p;
	int fd, ok = 0;

	if (!have_ipv6() || !DGI_HAVE_MAPPED_PKTINFO)
		cr_skip_test("no IPv6, or no IPV6_PKTINFO of IPv4");
	any = at("::", 0);
	peer_open(&p, l, DGRAM_UDP6, &o);
	p.hook = reply_hook;
	p.arg = &ok;
	/* IP_PKTINFO is the last. */
	fault_at(&spy.f, FAULT_SETSOCKOPT, 5, -ENOPROTOOPT);
	OK(dgram_bind_addr(p.s, &any));
	cr_assert_eq(spy.f.entry[FAULT_SETSOCKOPT].calls, 5);
	OK(dgram_address(p.s, &p.addr));
	fd = bare_at("127.0.0.1", NULL);
	ask(l, &p, fd, "127.0.0.2", 1);
	ask(l, &p, fd, "127.0.0.3", 2);
	close(fd);
	free_fault_loop(l, &spy.f);
}

/* Many at once, to two addresses in turn, while the kernel takes nothing. */
BACKEND_TEST(meta, reply_waits)
{
	struct dgram_loop *l = spy_loop(backend);
	struct dgram_addr to[2], from;
	struct peer p;
	int fd, ok = 0, i, errors[] = { -EAGAIN, -ENOBUFS }, k;
	int64_t seq;

	open_at(&p, l, "0.0.0.0", DGRAM_LOCAL);
	p.hook = reply_hook;
	p.arg = &ok;
	fd = bare_at("127.0.0.1", NULL);
	for (k = 0; k < 2; k++)
		to[k] = at(asked[k], dgram_addr_port(&p.addr));
	for (k = 0; k < 2; k++) {
		ntold = 0;
		fault_sends(&spy.f, errors[k]);
		for (i = 0; i < 50; i++)
			bare_send(fd, &to[i * i % 3 % 2], (uint32_t)i);
		RUN_UNTIL(l, ntold == 50);
		MUST(dgram_get_send_queue_count(p.s) == 50, "they went");
		fault_sends(&spy.f, 0);
		for (i = 0; i < 50; i++) {
			RUN_UNTIL(l, dgram_get_send_queue_count(p.s) == 0);
			seq = bare_wait(fd, &from);
			MUST(seq == i, "%lld, not %d", (long long)seq, i);
			MUST(dgram_addr_equal(&from, &to[i * i % 3 % 2]),
			    "%d: answered from another", i);
		}
	}
	close(fd);
	free_fault_loop(l, &spy.f);
	cr_assert(true);
}

/* Copies of messages that are answered later, from the program. */
static struct dgram_message kept[8];
static struct dgram_addr kept_remote[8], kept_local[8];

static void
keep_hook(struct peer *p, enum event e, const struct dgram_message *m, size_t n)
{
	size_t i;

	for (i = 0; e == EV_MESSAGE && i < n; i++) {
		kept[ntold + i] = m[i];
		kept_remote[ntold + i] = *m[i].remote;
		kept_local[ntold + i] = *m[i].local;
		kept[ntold + i].remote = &kept_remote[ntold + i];
		kept[ntold + i].local = &kept_local[ntold + i];
		kept[ntold + i].data = NULL;
	}
	log_hook(p, e, m, n);
}

BACKEND_TEST(meta, reply_later)
{
	struct dgram_loop *l = spy_loop(backend);
	struct dgram_addr to[COUNT(asked)], from;
	struct peer p, other;
	uint32_t i;
	int fd;

	open_at(&p, l, "0.0.0.0", DGRAM_LOCAL);
	open_at(&other, l, "0.0.0.0", ALL4);
	p.hook = keep_hook;
	fd = bare_at("127.0.0.1", NULL);
	for (i = 0; i < COUNT(asked); i++) {
		to[i] = at(asked[i], dgram_addr_port(&p.addr));
		bare_send(fd, &to[i], i);
	}
	RUN_UNTIL(l, ntold == COUNT(asked));
	/* Meanwhile the slots are used for others. */
	from = at("127.0.0.9", dgram_addr_port(&other.addr));
	for (i = 0; i < 20; i++)
		bare_send(fd, &from, i);
	RUN_UNTIL(l, ntold == COUNT(asked) + 20);
	for (i = COUNT(asked); i-- > 0;)
		OK(dgram_reply(p.s, &kept[i], &i, sizeof(i)));
	turns(l, 2);
	for (i = COUNT(asked); i-- > 0;) {
		MUST(bare_wait(fd, &from) == i, "order");
		MUST(dgram_addr_equal(&from, &to[i]), "%u: from another", i);
	}
	close(fd);
	free_fault_loop(l, &spy.f);
	cr_assert(true);
}

/* Bound to one address, or not told: nothing is said to the kernel. */
BACKEND_TEST(meta, reply_plain)
{
	struct dgram_loop *l = spy_loop(backend);
	struct peer p;
	int fd, ok = 0, k;

	for (k = 0; k < 2; k++) {
		open_at(&p, l, k == 0 ? "127.0.0.2" : "0.0.0.0",
		    k == 0 ? ALL4 : ALL4 & ~DGRAM_LOCAL);
		p.hook = reply_hook;
		p.arg = &ok;
		fd = bare_at("127.0.0.1", NULL);
		ask(l, &p, fd, k == 0 ? "127.0.0.2" : "127.0.0.1", 1);
		cr_assert_eq(spy.controls, 0);
		close(fd);
	}
	free_fault_loop(l, &spy.f);
}

/* ---- two links between two network namespaces ---- */

#if HAVE_NETNS

static struct {
	int server, client;		/* namespaces */
} net = { -1, -1 };

static void
enter(int ns)
{
	MUST(setns(ns, CLONE_NEWNET) == 0, "setns: %s", strerror(errno));
}

static int
new_ns(void)
{
	netns_unshare();
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

/*
 *	server	sa 10.9.0.1, .2, fd09::1, ::2, fe80::1		ca	client
 *		sb 10.9.1.1, fe80::1, 169.254.9.1		cb
 *
 * Link-local addresses are the same on both links.
 */
static void
net_up(void)
{
	char line[256];

	net.client = new_ns();
	net.server = new_ns();
	MUST(net.client >= 0 && net.server >= 0, "%s", strerror(errno));
	for (char c = 'a'; c <= 'b'; c++) {
		snprintf(line, sizeof(line), "ip link add s%c type veth peer "
		    "name c%c && ip link set c%c netns /proc/%d/fd/%d", c, c,
		    c, (int)getpid(), net.client);
		netns_run(line);
		snprintf(line, sizeof(line), "ip link set s%c addrgenmode none"
		    " && ip addr add fe80::1/64 dev s%c nodad && "
		    "ip link set s%c up", c, c, c);
		netns_run(line);
	}
	netns_run("ip link set lo up; ip addr add 10.9.0.1/24 brd + dev sa; "
	    "ip addr add 10.9.0.2/24 brd + dev sa; "
	    "ip addr add 10.9.1.1/24 brd + dev sb; "
	    "ip addr add 169.254.9.1/16 dev sb; "
	    "ip addr add fd09::1/64 dev sa nodad; "
	    "ip addr add fd09::2/64 dev sa nodad");
	enter(net.client);
	netns_run("ip link set ca addrgenmode none; "
	    "ip link set cb addrgenmode none; "
	    "ip addr add 10.9.0.9/24 brd + dev ca; "
	    "ip addr add 10.9.1.9/24 brd + dev cb; "
	    "ip addr add 169.254.9.9/16 dev cb; "
	    "ip addr add fd09::9/64 dev ca nodad; "
	    "ip addr add fe80::9/64 dev ca nodad; "
	    "ip addr add fe80::9/64 dev cb nodad; "
	    "ip link set ca up; ip link set cb up");
}

static void
net_down(void)
{
	close(net.server);
	close(net.client);
}

/* The server is opened in its namespace, the asker is in its own. */
static void
open_server(struct peer *p, struct dgram_loop *l, const char *wildcard)
{
	static int ok;

	enter(net.server);
	open_at(p, l, wildcard, ALL);
	enter(net.client);
	p->hook = reply_hook;
	p->arg = &ok;
}

BACKEND_TEST(meta, two_addresses)
{
	static const struct {
		const char *wildcard, *asker, *to;
	} v[] = {
		{ "0.0.0.0", "10.9.0.9", "10.9.0.1" },
		{ "0.0.0.0", "10.9.0.9", "10.9.0.2" },
		{ "::", "fd09::9", "fd09::1" },
		{ "::", "fd09::9", "fd09::2" },
		{ "::", "10.9.0.9", "10.9.0.1" },
		{ "::", "10.9.0.9", "10.9.0.2" },
		{ "0.0.0.0", "10.9.1.9", "10.9.0.2" },
		{ "::", "10.9.1.9", "10.9.0.2" },
	};
	struct dgram_loop *l;
	struct peer p;
	uint32_t i;
	int fd;

	net_up();
	for (i = 0; i < COUNT(v); i++) {
		l = spy_loop(backend);
		open_server(&p, l, v[i].wildcard);
		fd = bare_at(v[i].asker, NULL);
		ask(l, &p, fd, v[i].to, i);
		MUST((told[0].flags & DGRAM_GROUP) == 0, "a group?");
		/* The route stays free: no interface is said. */
		if (strchr(v[i].wildcard, ':') != NULL) {
			struct in6_pktinfo info;

			memcpy(&info, spy.last + CMSG_LEN(0), sizeof(info));
			MUST(info.ipi6_ifindex == 0, "pinned");
		} else {
			struct in_pktinfo info;

			memcpy(&info, spy.last + CMSG_LEN(0), sizeof(info));
			MUST(info.ipi_ifindex == 0, "pinned");
		}
		close(fd);
		free_fault_loop(l, &spy.f);
	}
	net_down();
	cr_assert(true);
}

/* The same two addresses on both ends of two links. */
BACKEND_TEST(meta, link_local)
{
	static const char *const zones[] = { "cb", "ca", "cb" };
	struct dgram_addr to, from;
	struct dgram_loop *l;
	struct peer p;
	char text[64];
	uint32_t i;
	int fd;

	NEEDS_SWAPPED();
	net_up();
	l = spy_loop(backend);
	open_server(&p, l, "::");
	for (i = 0; i < COUNT(zones); i++) {
		snprintf(text, sizeof(text), "fe80::9%%%s", zones[i]);
		fd = bare_at(text, NULL);
		snprintf(text, sizeof(text), "fe80::1%%%s", zones[i]);
		to = at(text, dgram_addr_port(&p.addr));
		bare_send(fd, &to, i);
		RUN_UNTIL(l, ntold == i + 1);
		MUST(bare_wait(fd, &from) == i, "another answer");
		MUST(dgram_addr_equal(&from, &to), "from another");
		MUST(told[i].local.u.in6.sin6_scope_id == told[i].ifindex &&
		    told[i].ifindex == told[i].remote.u.in6.sin6_scope_id,
		    "zone");
		close(fd);
	}
	free_fault_loop(l, &spy.f);
	net_down();
	cr_assert(true);
}

/* So are those of IPv4: RFC 3927, with the interface. */
BACKEND_TEST(meta, link_local4)
{
	static const char *const wildcards[] = { "0.0.0.0", "::" };
	struct in6_pktinfo info6;
	struct in_pktinfo info;
	struct dgram_loop *l;
	unsigned said;
	struct peer p;
	int i, fd;

	NEEDS_SWAPPED();
	net_up();
	for (i = 0; i < 2; i++) {
		l = spy_loop(backend);
		open_server(&p, l, wildcards[i]);
		fd = bare_at("169.254.9.9", NULL);
		ask(l, &p, fd, "169.254.9.1", 1);
		memcpy(&info, spy.last + CMSG_LEN(0), sizeof(info));
		memcpy(&info6, spy.last + CMSG_LEN(0), sizeof(info6));
		said = i == 0 ? (unsigned)info.ipi_ifindex :
		    info6.ipi6_ifindex;
		MUST(said != 0 && said == told[0].ifindex, "%s: %u",
		    wildcards[i], said);
		close(fd);
		free_fault_loop(l, &spy.f);
	}
	net_down();
	cr_assert(true);
}

/* Who is asked as one of a group answers from an address of its own. */
static void
check_group(const char *backend, const char *wildcard, const char *group,
    const char *asker, const char *answer, const char *out, bool pinned)
{
	struct dgram_loop *l = spy_loop(backend);
	struct dgram_addr to, from, want;
	unsigned index;
	struct peer p;
	char name[8];
	int fd;

	open_server(&p, l, wildcard);
	to = at(group, dgram_addr_port(&p.addr));
	snprintf(name, sizeof(name), "s%c", out[1]);
	enter(net.server);
	index = if_nametoindex(name);
	if (to.u.sa.sa_family == AF_INET6) {
		struct ipv6_mreq mreq = { to.u.in6.sin6_addr, index };

		MUST(setsockopt(p.s->fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &mreq,
		    sizeof(mreq)) == 0, "%s", strerror(errno));
	} else if (dgi_addr_is_multicast(&to)) {
		struct ip_mreqn mreq = { .imr_multiaddr = to.u.in.sin_addr,
		    .imr_ifindex = (int)index };

		MUST(setsockopt(p.s->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq,
		    sizeof(mreq)) == 0, "%s", strerror(errno));
	}
	enter(net.client);
	fd = bare_at(asker, NULL);
	set(fd, SOL_SOCKET, SO_BROADCAST, 1);
	/* 255.255.255.255 has no route, the group only one. */
	MUST(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, out,
	    (socklen_t)strlen(out)) == 0, "%s", strerror(errno));
	bare_send(fd, &to, 7);
	RUN_UNTIL(l, ntold == 1);
	MUST((told[0].flags & KNOWN) == (ALL | DGRAM_GROUP), "%s: %#x",
	    group, told[0].flags);
	MUST(told[0].ifindex == index, "%s: ifindex %u", group,
	    told[0].ifindex);
	MUST(bare_wait(fd, &from) == 7, "another answer");
	want = at(answer, dgram_addr_port(&p.addr));
	MUST(dgram_addr_equal(&from, &want), "%s: from another", group);
	MUST(spy.controls == pinned, "%s: %u", group, spy.controls);
	close(fd);
	free_fault_loop(l, &spy.f);
}

BACKEND_TEST(meta, groups)
{
	NEEDS_SWAPPED();
	net_up();
	check_group(backend, "0.0.0.0", "239.1.2.3", "10.9.0.9", "10.9.0.1",
	    "ca", true);
	check_group(backend, "0.0.0.0", "239.1.2.3", "10.9.1.9", "10.9.1.1",
	    "cb", true);
	check_group(backend, "::", "239.1.2.3", "10.9.1.9", "10.9.1.1", "cb",
	    true);
	check_group(backend, "0.0.0.0", "10.9.0.255", "10.9.0.9", "10.9.0.1",
	    "ca", false);
	check_group(backend, "::", "10.9.0.255", "10.9.0.9", "10.9.0.1", "ca",
	    false);
	check_group(backend, "0.0.0.0", "255.255.255.255", "10.9.1.9",
	    "10.9.1.1", "cb", false);
	check_group(backend, "::", "ff02::1:fb%ca", "fe80::9%ca", "fe80::1%ca",
	    "ca", true);
	check_group(backend, "::", "ff02::1:fb%cb", "fe80::9%cb", "fe80::1%cb",
	    "cb", true);
	net_down();
	cr_assert(true);
}

/* An interface that the route would not take. */
BACKEND_TEST(meta, by_interface)
{
	static const char *const hosts[] = { "10.9.1.1", "::ffff:10.9.1.1" };
	struct iovec iov = { .iov_len = 4 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1 };
	struct dgram_loop *l;
	struct dgram_addr to, any;
	struct peer p, q;
	int i;

	NEEDS_SWAPPED();
	net_up();
	for (i = 0; i < 2; i++) {
		l = spy_loop(backend);
		open_server(&q, l, "0.0.0.0");
		q.hook = log_hook;
		any = at(i == 0 ? "0.0.0.0" : "::", 0);
		peer_open(&p, l, i == 0 ? DGRAM_UDP4 : DGRAM_UDP6, NULL);
		OK(dgram_bind_addr(p.s, &any));
		to = at(hosts[i], dgram_addr_port(&q.addr));
		d.to = &to;
		iov.iov_base = number(1);
		d.ifindex = 0;
		CHECK(dgram_try_send(p.s, &d, 1), 1);
		iov.iov_base = number(2);
		d.ifindex = if_nametoindex("ca");
		CHECK(dgram_try_send(p.s, &d, 1), 1);
		RUN_UNTIL(l, ntold == 2);
		enter(net.server);
		/* In any order: each waits for its own neighbour. */
		MUST(told_of(1)->ifindex == if_nametoindex("sb") &&
		    told_of(2)->ifindex == if_nametoindex("sa"), "%s: %u, %u",
		    hosts[i], told_of(1)->ifindex, told_of(2)->ifindex);
		enter(net.client);
		free_fault_loop(l, &spy.f);
	}
	net_down();
	cr_assert(true);
}

#endif
