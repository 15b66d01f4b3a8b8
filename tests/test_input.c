/* SPDX-License-Identifier: ISC */

/*
 * Arguments that are no good, in tables: each call that takes such an argument,
 * on a socket of each type that is unbound, bound or connected, where datagrams
 * wait.  Each is refused by name, and nothing of the socket has changed then.
 *
 * What is refused by one call only has its test beside the tests of that call:
 * NULL in test_state.c, members of datagrams in test_send.c and test_meta.c,
 * options in test_socket.c, descriptors in test_adopt.c.
 */

#include "names.h"

enum where { UNBOUND, BOUND, CONNECTED, NWHERE };

static const char *const where_names[] = { "unbound", "bound", "connected" };

static struct peer q;		/* the socket that is called */
static struct dgram_addr there;	/* a bare socket of its type */
static int there_fd;
static enum where where;
static int type;

/* The type of socket and where it stands, and for what input. */
static char input[64];

#define CASE(...)	snprintf(input, sizeof(input), __VA_ARGS__)

/* ---- nothing has changed ---- */

struct snapshot {
	enum dgi_state state;
	int fds, fileno, local, remote, nasks, nrecords;
	int recv_buffer, send_buffer, broadcast, ttl, tos, group_ttl;
	int group_loopback;
	struct dgram_addr local_addr, remote_addr;
	size_t queue_size, queue_count;
	struct dgram_stats stats;
	char trace[PEER_TRACE];
};

static struct snapshot before;

static int
option(int level, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	if (getsockopt(dgram_fileno(q.s), level, name, &value, &len) < 0)
		return -errno;
	return value;
}

static void
look(struct snapshot *n)
{
	memset(n, 0, sizeof(*n));
	n->state = q.s->state;
	n->fds = test_count_fds();
	n->fileno = dgram_fileno(q.s);
	n->local = dgram_address(q.s, &n->local_addr);
	n->remote = dgram_remote_address(q.s, &n->remote_addr);
	n->nasks = nasks;
	n->nrecords = nrecords;
	n->recv_buffer = dgram_get_recv_buffer_size(q.s);
	n->send_buffer = dgram_get_send_buffer_size(q.s);
	n->broadcast = option(SOL_SOCKET, SO_BROADCAST);
	n->ttl = type == DGRAM_UDP6 ? option(IPPROTO_IPV6, IPV6_UNICAST_HOPS) :
	    option(IPPROTO_IP, IP_TTL);
	n->tos = type == DGRAM_UDP6 ? option(IPPROTO_IPV6, IPV6_TCLASS) :
	    option(IPPROTO_IP, IP_TOS);
	n->group_ttl = type == DGRAM_UDP6 ?
	    option(IPPROTO_IPV6, IPV6_MULTICAST_HOPS) :
	    option(IPPROTO_IP, IP_MULTICAST_TTL);
	n->group_loopback = type == DGRAM_UDP6 ?
	    option(IPPROTO_IPV6, IPV6_MULTICAST_LOOP) :
	    option(IPPROTO_IP, IP_MULTICAST_LOOP);
	n->queue_size = dgram_get_send_queue_size(q.s);
	n->queue_count = dgram_get_send_queue_count(q.s);
	n->stats = stats_of(&q);
	memcpy(n->trace, q.trace, sizeof(n->trace));
}

#define SAME(member, call)						\
	MUST(memcmp(&now.member, &before.member, sizeof(now.member)) == 0, \
	    "%s on %s: %s has changed", input, call, #member)

static void
unchanged(const char *call)
{
	struct snapshot now;

	look(&now);
	SAME(state, call);
	SAME(fds, call);
	SAME(fileno, call);
	SAME(local, call);
	SAME(local_addr, call);
	SAME(remote, call);
	SAME(remote_addr, call);
	SAME(nasks, call);
	SAME(nrecords, call);
	SAME(recv_buffer, call);
	SAME(send_buffer, call);
	SAME(broadcast, call);
	SAME(ttl, call);
	SAME(tos, call);
	SAME(group_ttl, call);
	SAME(group_loopback, call);
	SAME(queue_size, call);
	SAME(queue_count, call);
	SAME(stats, call);
	SAME(trace, call);
}

/* The call is refused with that, and that is all. */
#define BAD(call, value) do {						\
	int r_ = CALL(call), bad_ = (value);				\
	MUST(r_ == bad_, "%s, %s: %s is %s, not %s", input,		\
	    where_names[where], #call, dgram_err_name(r_),		\
	    dgram_err_name(bad_));					\
	unchanged(#call);						\
} while (0)

/* ---- a socket that there is something to change of ---- */

static void
begin(const char *backend, int of_type, enum where at)
{
	struct dgram_options o = { .events = &names_events, .lookup = look_up };
	struct dgram_addr a;

	enter(backend, NULL, NULL, look_up);
	nasks = nrecords = 0;
	type = of_type;
	where = at;
	CASE("%d", type);
	there_fd = bare_socket(type, &there);
	if (type == DGRAM_UNIX)
		o.lookup = NULL;
	peer_open(&q, l, (enum dgram_type)type, &o);
	if (where != UNBOUND) {
		a = any_addr(type);
		OK(dgram_bind_addr(q.s, &a));
		turns(l, 3);
		if (type != DGRAM_UNIX)
			OK(dgram_set_tos(q.s, 0x20));
	}
	if (where == CONNECTED)
		OK(dgram_connect_addr(q.s, &there));
	turns(l, 3);
	if (where != UNBOUND) {
		fault_sends(&f, -EAGAIN);
		OK(send_done(&q, 1, where == BOUND ? &there : NULL));
		OK(send_done(&q, 2, where == BOUND ? &there : NULL));
		turns(l, 3);
	}
	look(&before);
}

/* Nothing comes of it later either, and what waited is sent. */
static void
end(void)
{
	int waited = where == UNBOUND ? 0 : 2;

	turns(l, 3);
	MUST(strcmp(q.trace, before.trace) == 0, "%s, not %s", q.trace,
	    before.trace);
	fault_sends(&f, 0);
	if (waited > 0)
		CALL(dgram_flush(q.s));
	RUN_UNTIL(l, q.n[EV_DONE] == waited);
	if (waited > 0) {
		MUST(bare_recv(there_fd) == 1 && bare_recv(there_fd) == 2,
		    "what waited is lost");
	}
	MUST(bare_recv(there_fd) == -1, "something was sent");
	MUST(nasks == before.nasks && q.n[EV_ERROR] == 0, "something came");
	leave();
	close(there_fd);
	cr_assert(true);
}

#define EACH_SCENE(backend)						\
	EACH_TYPE(t_)							\
		for (int w_ = (begin(backend, t_, UNBOUND), 0);		\
		    w_ < NWHERE;					\
		    end(), ++w_ < NWHERE ?				\
		    begin(backend, t_, (enum where)w_) : (void)0)

static bool
is_inet(void)
{
	return type != DGRAM_UNIX;
}

/* ---- addresses ---- */

/* Bind, connect and the sends by address, with one that is no good. */
static void
bad_address(const struct dgram_addr *a)
{
	struct iovec iov = { number(7), 4 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1, .to = a };
	int peer = where == CONNECTED ? IS_CONNECTED : -EINVAL;

	BAD(dgram_bind_addr(q.s, a), where == UNBOUND ? -EINVAL :
	    ALREADY_BOUND);
	BAD(dgram_connect_addr(q.s, a), peer);
	BAD(dgram_send_addr(q.s, &iov, 1, a, peer_done, &q), peer);
	BAD(dgram_send_addr(q.s, &iov, 1, a, NULL, NULL), peer);
	BAD(dgram_send_batch(q.s, &d, 1, peer_done, &q), peer);
	BAD(dgram_send_batch(q.s, &d, 1, NULL, NULL), peer);
	BAD(dgram_try_send(q.s, &d, 1), peer);
}

/* Lengths that are not those of the family, and families of others. */
BACKEND_TEST(input, addresses)
{
	static const int families[] = { AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX,
		255 };
	struct dgram_addr a;
	socklen_t n;
	size_t i;

	EACH_SCENE(backend) {
		for (n = 0; n < (is_inet() ? there.len : 3); n++) {
			CASE("%d, %u bytes", type, (unsigned)n);
			a = there;
			a.len = n;
			bad_address(&a);
		}
		for (i = 0; i < 2; i++) {
			a = there;
			a.len = i == 0 ? (socklen_t)sizeof(a.u) + 1 :
			    (socklen_t)-1;
			CASE("%d, %u bytes", type, (unsigned)a.len);
			bad_address(&a);
		}
		for (i = 0; i < COUNT(families); i++) {
			if (families[i] == there.u.sa.sa_family)
				continue;
			memset(&a, 1, sizeof(a));
			a.len = sizeof(a.u) - 1;
			a.u.sa.sa_family = (sa_family_t)families[i];
			CASE("%d, family %d", type, families[i]);
			bad_address(&a);
		}
	}
}

/* 0 is to bind only. */
BACKEND_TEST(input, address_without_port)
{
	struct iovec iov = { number(7), 4 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1 };
	struct dgram_addr a;
	int peer;

	EACH_SCENE(backend) {
		if (!is_inet())
			continue;
		peer = where == CONNECTED ? IS_CONNECTED : BAD_PORT;
		a = there;
		a.u.in.sin_port = 0;
		d.to = &a;
		BAD(dgram_connect_addr(q.s, &a), peer);
		BAD(dgram_send_addr(q.s, &iov, 1, &a, peer_done, &q), peer);
		BAD(dgram_send_batch(q.s, &d, 1, NULL, NULL), peer);
		BAD(dgram_try_send(q.s, &d, 1), peer);
	}
}

/* ---- ports and names ---- */

static char seven_bytes[] = "seven";
static struct iovec seven = { seven_bytes, 4 };

/* The five calls that take both; peer: what says who is connected. */
static void
bad_place(int to_port, const char *address, int status)
{
	int bound = where == UNBOUND ? status : ALREADY_BOUND;
	int peer = where == CONNECTED ? IS_CONNECTED : status;
	int connect = status == BAD_PORT ? status : peer;

	if (type == DGRAM_UNIX)
		bound = peer = connect = -EINVAL;
	BAD(dgram_bind(q.s, to_port, address, bind_done, &q), bound);
	BAD(dgram_bind(q.s, to_port, address, NULL, NULL), bound);
	BAD(dgram_connect(q.s, to_port, address, connect_done, &q), connect);
	BAD(dgram_connect(q.s, to_port, address, NULL, NULL), connect);
	BAD(dgram_send(q.s, "seven", 4, to_port, address, sent, &q), peer);
	BAD(dgram_send(q.s, "seven", 4, to_port, address, NULL, NULL), peer);
	BAD(dgram_sendv(q.s, &seven, 1, to_port, address, sent, &q), peer);
	BAD(dgram_sendto(q.s, "seven", 1, 4, to_port, address, sent, &q), peer);
}

BACKEND_TEST(input, ports)
{
	static const int ports[] = { -1, 65536, 65536 + 80, INT_MAX, INT_MIN,
		-65456 };
	static const char *const addresses[] = { NULL, "", "127.0.0.1", "::1",
		"a-name" };
	size_t i, k;

	EACH_SCENE(backend) {
		for (i = 0; i < COUNT(ports); i++) {
			for (k = 0; k < COUNT(addresses); k++) {
				if (k == (type == DGRAM_UDP4 ? 3 : 2))
					continue;
				CASE("%d, %d, %s", type, ports[i],
				    addresses[k] ? addresses[k] : "NULL");
				bad_place(ports[i], addresses[k], BAD_PORT);
			}
		}
	}
}

BACKEND_TEST(input, names)
{
	static const size_t lengths[] = { 256, 257, 300, 1024, 65536 };
	static const char fill[] = "a.1: \001\377";
	const struct { const char *text; int four, six; } t[] = {
		{ "::1", -EINVAL, 0 },
		{ "::ffff:127.0.0.1", -EINVAL, 0 },
		{ "::1.2.3.4", -EINVAL, 0 },
		{ "127.0.0.1", 0, -EINVAL },
		{ "0.0.0.0", 0, -EINVAL },
		{ "fe80::1%no-such-zone", -ENODEV, -ENODEV },
		{ "fe80::1%0", -ENODEV, -ENODEV },
		{ "fe80::1%4294967297", -ENODEV, -ENODEV },
	};
	static char name[65537];
	size_t i, k;
	int r;

	EACH_SCENE(backend) {
		for (i = 0; i < COUNT(t); i++) {
			r = type == DGRAM_UDP4 ? t[i].four : t[i].six;
			CASE("%d, %s", type, t[i].text);
			if (r < 0)
				bad_place(9, t[i].text, r);
		}
		for (i = 0; i < COUNT(lengths); i++) {
			for (k = 0; k < sizeof(fill) - 1; k++) {
				memset(name, fill[k], lengths[i]);
				name[lengths[i]] = '\0';
				CASE("%d, %zu times %d", type, lengths[i],
				    fill[k]);
				bad_place(9, name, -ENAMETOOLONG);
			}
		}
	}
}

/*
 * What is no literal is a name, whatever is in it, and the program's look-up is
 * given all of it.
 */
BACKEND_TEST(input, names_that_are_asked_for)
{
	static char longest[256];
	const char *const t[] = { longest, " ", "127.0.0.1 ", " 127.0.0.1",
		"127.0.0.1\n", "127.1", "0x7f.0.0.1", "1.2.3.4:80", "[::1]",
		"::1]", "a b", "a\tb", "\001", "\177", "\303\251", "\377\376",
		"-", ".", "..", "%", "*", "a%b", "/run/x", "@name", "x\r\ny" };
	size_t i;

	memset(longest, 'x', 255);
	begin(backend, DGRAM_UDP4, BOUND);
	fault_sends(&f, 0);
	RUN_UNTIL(l, q.n[EV_DONE] == 2);
	for (i = 0; i < COUNT(t); i++) {
		OK(dgram_send(q.s, "x", 1, 9, t[i], sent, &q));
		RUN_UNTIL(l, nasks == (int)i + 1);
		cr_assert(strcmp(asks[i].host, t[i]) == 0, "%s", t[i]);
		OK(refuse((int)i, DGRAM_ENOTFOUND));
	}
	RUN_UNTIL(l, nrecords == (int)COUNT(t));
	cr_assert_eq(record_of('d', 7)->status, DGRAM_ENOTFOUND);
	leave();
	close(there_fd);
}

/* The same by threads: no name has blanks or control bytes; none is asked. */
BACKEND_TEST(input, names_that_cannot_be)
{
	static const char *const t[] = { " ", "a b", "127.0.0.1 ", "a\n",
		"\001", "\177", "x\r\ny", "\t" };
	struct peer u;
	size_t i;

	enter(backend, NULL, NULL, look_up);
	nrecords = 0;
	open_named(&u, NULL, NULL);
	for (i = 0; i < COUNT(t); i++)
		OK(dgram_send(u.s, "x", 1, 9, t[i], sent, &u));
	RUN_UNTIL(l, nrecords == (int)COUNT(t));
	for (i = 0; i < COUNT(t); i++) {
		cr_assert_eq(records[i].status, DGRAM_ENOTFOUND);
		cr_assert_eq(records[i].kind, DGRAM_IN_LOOKUP);
	}
	FAKE_CHECK(fake.calls == 0);
	leave();
}

/* ---- paths ---- */

BACKEND_TEST(input, paths)
{
	static const size_t lengths[] = {
	    sizeof(((struct sockaddr_un *)0)->sun_path) + 1, 256, 257, 65536 };
	static char path[65537];
	size_t i;
	int r;

	EACH_SCENE(backend) {
		for (i = 0; i < COUNT(lengths) + 2; i++) {
			const char *text = i == 0 ? NULL : path;
			size_t n = i < 2 ? 0 : lengths[i - 2];

			memset(path, 'x', n);
			path[n] = '\0';
			CASE("%d, path of %zu", type, n);
			r = n == 0 ? -EINVAL : -ENAMETOOLONG;
			/* NULL is a name of the kernel's choice. */
			if (text != NULL)
				BAD(dgram_bind_path(q.s, text, 0), r);
			else if (where != UNBOUND)
				BAD(dgram_bind_path(q.s, text, 0),
				    ALREADY_BOUND);
			else if (is_inet())
				BAD(dgram_bind_path(q.s, text, 0), -EINVAL);
			BAD(dgram_connect_path(q.s, text), r);
			BAD(dgram_send_path(q.s, "x", 1, text, peer_done, &q), r);
			BAD(dgram_send_path(q.s, "x", 1, text, NULL, NULL), r);
		}
		CASE("%d, flags", type);
		BAD(dgram_bind_path(q.s, NULL, DGRAM_UNLINK_STALE), -EINVAL);
		for (i = 1; i < 32; i++)
			BAD(dgram_bind_path(q.s, "none/x", 1u << i), -EINVAL);
		if (!is_inet())
			continue;
		CASE("%d, a path", type);
		BAD(dgram_bind_path(q.s, "none/x", 0), where == UNBOUND ? -EINVAL :
		    ALREADY_BOUND);
		r = where == CONNECTED ? IS_CONNECTED : -EINVAL;
		BAD(dgram_connect_path(q.s, "x"), r);
		BAD(dgram_send_path(q.s, "x", 1, "x", NULL, NULL), r);
	}
}

/* ---- bytes ---- */

/* A list that is no good, by all who take one; to NULL: the peer. */
static void
bad_pieces(const struct iovec *iov, int n, int status)
{
	const struct dgram_addr *a = where == CONNECTED ? NULL : &there;
	struct dgram_datagram d = { .iov = iov, .iovcnt = n, .to = a };
	int to_port = where == CONNECTED ? 0 : dgram_addr_port(&there);

	BAD(dgram_send_addr(q.s, iov, n, a, peer_done, &q), status);
	BAD(dgram_send_addr(q.s, iov, n, a, NULL, NULL), status);
	BAD(dgram_send_batch(q.s, &d, 1, peer_done, &q), status);
	BAD(dgram_send_batch(q.s, &d, 1, NULL, NULL), status);
	BAD(dgram_try_send(q.s, &d, 1), status);
	if (!is_inet())
		status = -EINVAL;
	BAD(dgram_sendv(q.s, iov, n, to_port, NULL, sent, &q), status);
	BAD(dgram_sendv(q.s, iov, n, to_port, NULL, NULL, NULL), status);
	if (where == CONNECTED)
		return;
	/* Also where the size is not known to be too large yet. */
	BAD(dgram_sendv(q.s, iov, n, 9, "a-name", sent, &q), status);
}

BACKEND_TEST(input, pieces)
{
	static struct iovec many[1025];
	static char data[65536];
	struct iovec iov[3];
	size_t most;
	int i;

	for (i = 0; i < (int)COUNT(many); i++)
		many[i] = (struct iovec){ data, 1 };
	EACH_SCENE(backend) {
		most = type == DGRAM_UDP4 ? 65507 : type == DGRAM_UDP6 ? 65527 :
		    (size_t)INT_MAX;
		CASE("%d, counts", type);
		bad_pieces(many, -1, -EINVAL);
		bad_pieces(many, INT_MIN, -EINVAL);
		bad_pieces(NULL, 1, -EINVAL);
		bad_pieces(NULL, 1024, -EINVAL);
		bad_pieces(many, 1025, -EMSGSIZE);
		bad_pieces(many, INT_MAX, -EMSGSIZE);
		CASE("%d, no bytes", type);
		iov[0] = iov[1] = iov[2] = (struct iovec){ data, 1 };
		iov[1].iov_base = NULL;
		bad_pieces(iov, 2, -EINVAL);
		bad_pieces(iov, 3, -EINVAL);
		bad_pieces(iov + 1, 1, -EINVAL);
		iov[1].iov_base = data;
		CASE("%d, sizes", type);
		iov[0].iov_len = most + 1;
		bad_pieces(iov, 1, -EMSGSIZE);
		iov[0].iov_len = most;
		bad_pieces(iov, 2, -EMSGSIZE);
		iov[0].iov_len = (size_t)INT_MAX + 1;
		bad_pieces(iov, 1, -EMSGSIZE);
		iov[0].iov_len = SIZE_MAX;
		bad_pieces(iov, 1, -EMSGSIZE);
		CASE("%d, a sum that wraps", type);
		iov[0].iov_len = iov[1].iov_len = SIZE_MAX / 2 + 1;
		bad_pieces(iov, 2, -EMSGSIZE);
		iov[0].iov_len = SIZE_MAX;
		iov[1].iov_len = 2;
		bad_pieces(iov, 2, -EMSGSIZE);
	}
}

/* Bytes in one piece, by all who take them so. */
static void
bad_bytes(const void *data, size_t size, int status)
{
	struct dgram_message m = { .remote = where == CONNECTED ? NULL :
	    &there };
	int to_port = where == CONNECTED ? 0 : dgram_addr_port(&there);

	if (where != CONNECTED)
		BAD(dgram_reply(q.s, &m, data, size), status);
	if (!is_inet()) {
		if (where != CONNECTED)
			BAD(dgram_send_path(q.s, data, size,
			    there.u.un.sun_path, peer_done, &q), status);
		status = -EINVAL;
	}
	BAD(dgram_send(q.s, data, size, to_port, NULL, sent, &q), status);
	BAD(dgram_send(q.s, data, size, to_port, NULL, NULL, NULL), status);
	BAD(dgram_sendto(q.s, data, 0, size, to_port, NULL, sent, &q), status);
	if (where == CONNECTED)
		return;
	BAD(dgram_send(q.s, data, size, 9, "a-name", sent, &q), status);
}

BACKEND_TEST(input, bytes)
{
	static char data[8];
	size_t most;

	EACH_SCENE(backend) {
		most = type == DGRAM_UDP4 ? 65507 : type == DGRAM_UDP6 ? 65527 :
		    (size_t)INT_MAX;
		CASE("%d, no bytes", type);
		bad_bytes(NULL, 1, -EINVAL);
		bad_bytes(NULL, most, -EINVAL);
		CASE("%d, sizes", type);
		bad_bytes(data, most + 1, -EMSGSIZE);
		bad_bytes(data, (size_t)INT_MAX + 1, -EMSGSIZE);
		bad_bytes(data, SIZE_MAX, -EMSGSIZE);
		CASE("%d, offsets", type);
		BAD(dgram_sendto(q.s, NULL, 1, 0, 9, NULL, sent, &q), -EINVAL);
		BAD(dgram_sendto(q.s, NULL, SIZE_MAX, 0, 9, NULL, sent, &q),
		    -EINVAL);
		/* What lies before it is not the caller's to send. */
		BAD(dgram_sendto(q.s, data, (size_t)-1, 1, 9, NULL, sent, &q),
		    -EINVAL);
		BAD(dgram_sendto(q.s, NULL, 0, 1, 9, NULL, sent, &q),
		    where == CONNECTED && is_inet() ? IS_CONNECTED : -EINVAL);
	}
}

/* ---- options ---- */

BACKEND_TEST(input, options)
{
	static const int bad[] = { -1, 256, 257, INT_MAX, INT_MIN };
	size_t i;
	int r;

	EACH_SCENE(backend) {
		r = where == UNBOUND ? -EBADF : -EINVAL;
		for (i = 0; i < COUNT(bad); i++) {
			CASE("%d, %d", type, bad[i]);
			BAD(dgram_set_ttl(q.s, bad[i]), r);
			BAD(dgram_set_tos(q.s, bad[i]), r);
			if (bad[i] >= 0)
				continue;
			BAD(dgram_set_recv_buffer_size(q.s, bad[i]),
			    where == UNBOUND ? -EBADF :
			    DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE);
			BAD(dgram_set_send_buffer_size(q.s, bad[i]),
			    where == UNBOUND ? -EBADF :
			    DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE);
		}
		CASE("%d, 0", type);
		BAD(dgram_set_ttl(q.s, 0), r);
	}
}

/* ---- groups ---- */

/* An unbound socket is not bound for one that is no good. */
BACKEND_TEST(input, groups)
{
	static const int ttls[] = { -1, 256, INT_MAX, INT_MIN };
	const struct { const char *group, *interface; int status; } t[] = {
		{ NULL, NULL, -EINVAL },
		{ "", NULL, -EINVAL },
		{ "a-name", NULL, -EINVAL },
		{ "224.1.2", NULL, -EINVAL },
		{ "224.1.2.3 ", NULL, -EINVAL },
		{ "224.1.2.3:80", NULL, -EINVAL },
		{ "127.0.0.1", NULL, -EINVAL },
		{ "0.0.0.0", NULL, -EINVAL },
		{ "255.255.255.255", NULL, -EINVAL },
		{ "::", NULL, -EINVAL },
		{ "::1", NULL, -EINVAL },
		{ "::ffff:224.1.2.3", NULL, -EINVAL },
		{ "[ff02::1]", NULL, -EINVAL },
		{ "224.1.2.3", "", -EINVAL },
		{ "224.1.2.3", "::1", -EINVAL },
		{ "224.1.2.3", "224.1.2.3", -ENODEV },
		{ "224.1.2.3", "192.0.2.1", -ENODEV },
		{ "224.1.2.3", "no-such-name", -ENODEV },
		{ "224.1.2.3", "no such name that is short", -ENODEV },
		{ "224.1.2.3", "\001\377", -ENODEV },
		{ "224.1.2.3", "-1", -ENODEV },
		{ "224.1.2.3", "0", -ENODEV },
		{ "224.1.2.3", "2147483648", -ENODEV },
		{ "224.1.2.3", "18446744073709551617", -ENODEV },
	};
	size_t i;
	int r;

	EACH_SCENE(backend) {
		for (i = 0; i < COUNT(ttls); i++) {
			CASE("%d, %d", type, ttls[i]);
			BAD(dgram_set_multicast_ttl(q.s, ttls[i]),
			    where == UNBOUND ? -EBADF : -EINVAL);
		}
		for (i = 0; i < COUNT(t); i++) {
			CASE("%d, %zu", type, i);
			r = is_inet() ? t[i].status : -ENOTSUP;
			BAD(dgram_add_membership(q.s, t[i].group,
			    t[i].interface), r);
			BAD(dgram_drop_membership(q.s, t[i].group,
			    t[i].interface), r);
			if (!DGI_HAVE_SOURCE_GROUP)
				r = -ENOTSUP;
			BAD(dgram_add_source_specific_membership(q.s,
			    "192.0.2.1", t[i].group, t[i].interface), r);
			BAD(dgram_drop_source_specific_membership(q.s,
			    "192.0.2.1", t[i].group, t[i].interface), r);
		}
		CASE("%d, sources", type);
		r = is_inet() && DGI_HAVE_SOURCE_GROUP ? -EINVAL : -ENOTSUP;
		BAD(dgram_add_source_specific_membership(q.s, NULL,
		    "232.1.2.3", NULL), -EINVAL);
		BAD(dgram_add_source_specific_membership(q.s, "",
		    "232.1.2.3", NULL), r);
		BAD(dgram_add_source_specific_membership(q.s, "a-name",
		    "232.1.2.3", NULL), r);
		BAD(dgram_add_source_specific_membership(q.s, "232.1.2.3",
		    "232.1.2.3", NULL), r);
		BAD(dgram_add_source_specific_membership(q.s, "::1",
		    "232.1.2.3", NULL), r);
		CASE("%d, to send by", type);
		r = where == UNBOUND ? -EBADF : is_inet() ? -EINVAL :
		    -ENOTSUP;
		BAD(dgram_set_multicast_interface(q.s, ""), r);
		BAD(dgram_set_multicast_interface(q.s, "no-such-name"), r);
		BAD(dgram_set_multicast_interface(q.s, "127.0.0.1 "), r);
		if (is_inet() && where != UNBOUND)
			r = -EADDRNOTAVAIL;
		BAD(dgram_set_multicast_interface(q.s, "192.0.2.1"), r);
		if (is_inet() && where != UNBOUND)
			r = -ENODEV;
		BAD(dgram_set_multicast_interface(q.s, "2147483648"), r);
	}
}

/* ---- descriptors, and structures that are to be filled ---- */

BACKEND_TEST(input, descriptors)
{
	EACH_SCENE(backend) {
		const int bad[] = { -1, INT_MIN, INT_MAX, 1 << 20 };
		size_t i;

		for (i = 0; i < COUNT(bad); i++) {
			CASE("%d, %d", type, bad[i]);
			BAD(dgram_bind_fd(q.s, bad[i]), where == UNBOUND ?
			    -EBADF : ALREADY_BOUND);
		}
	}
}

BACKEND_TEST(input, results)
{
	static const size_t sizes[] = { 0, 1, sizeof(size_t) - 1 };
	struct dgram_stats st;
	struct dgram_error e;
	size_t i;

	EACH_SCENE(backend) {
		for (i = 0; i < COUNT(sizes); i++) {
			CASE("%d, size %zu", type, sizes[i]);
			memset(&st, 0xee, sizeof(st));
			st.size = sizes[i];
			BAD(dgram_get_stats(q.s, &st), -EINVAL);
			cr_assert_eq(st.sent, UINT64_C(0xeeeeeeeeeeeeeeee));
		}
		CASE("%d", type);
		BAD(dgram_get_stats(q.s, NULL), -EINVAL);
		BAD(dgram_last_error(q.s, &e), -ENOENT);
		BAD(dgram_last_error(q.s, NULL), -EINVAL);
		BAD(dgram_address(q.s, NULL), -EINVAL);
		BAD(dgram_remote_address(q.s, NULL), -EINVAL);
		BAD(dgram_reply(q.s, NULL, "x", 1), -EINVAL);
		BAD(dgram_lookup_done(l, 0, 0, &there), -ENOENT);
		BAD(dgram_lookup_done(l, UINT64_MAX, 0, &there), -ENOENT);
		BAD(dgram_lookup_done(l, 0, 1, &there), -EINVAL);
		BAD(dgram_lookup_done(l, 0, INT_MAX, &there), -EINVAL);
	}
}
