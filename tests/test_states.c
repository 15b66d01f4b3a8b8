/* SPDX-License-Identifier: ISC */

/*
 * The state machine, whole: every call that takes a socket in every state that
 * there is, and what comes of it.
 *
 * A cell of the table is a story (story.h) in three phases.  The call is made,
 * and the loop runs until it is quiet; look-ups are not answered and blocked
 * datagrams not taken.  Then, behind a |, they are.  Then the socket is closed.
 * The letters:
 *
 *	b c s	completions of what made the state: bind, connect, 3 bytes sent
 *	d	that of the call of the cell, which sends 4
 *	e f g	functions of the dgram_end() of the state, of the close at last,
 *		of the call
 *
 * A call that is refused, and one that only asks, must leave the story as it is
 * without the call.
 */

#include "story.h"

#include <net/if.h>

enum state { UNBOUND, ADOPTED, BINDING, TO_CONNECT, BOUND, CONNECTING,
	CONNECTED, NAMELESS, NAMELESS_CONNECTED, LOOKS_UP, ENDS_BINDING,
	ENDS_BOUND, ENDS_CONNECTING, ENDS_CONNECTED, ENDS_LOOKUP, CLOSED,
	IN_COMPLETION, IN_CLOSE, IN_CLOSE_FN, NSTATES };

#define INET	(1u << DGRAM_UDP4 | 1u << DGRAM_UDP6)
#define UNIX	(1u << DGRAM_UNIX)
#define ANY	(INET | UNIX)

static const struct {
	const char *name;
	unsigned types;
	enum dgi_state is;
	const char *story;		/* without a call */
	char on;			/* the word behind which it is made */
} states[NSTATES] = {
	[UNBOUND] = { "unbound", ANY, DGI_UNBOUND, "|", 0 },
	/* A descriptor that has no address yet. */
	[ADOPTED] = { "adopted", INET, DGI_UNBOUND, "|", 0 },
	[BINDING] = { "binding", INET, DGI_BINDING, "| L b0 s3 >o3", 0 },
	[TO_CONNECT] = { "binding, to connect", INET, DGI_BINDING_TO_CONNECT,
	    "| L b0 C c0 s3 >o3", 0 },
	[BOUND] = { "bound", ANY, DGI_BOUND, "|", 0 },
	[CONNECTING] = { "connecting", INET, DGI_CONNECTING, "| C c0", 0 },
	[CONNECTED] = { "connected", ANY, DGI_CONNECTED, "|", 0 },
	/* A descriptor without a path. */
	[NAMELESS] = { "nameless", UNIX, DGI_BOUND, "|", 0 },
	[NAMELESS_CONNECTED] = { "nameless, connected", UNIX, DGI_CONNECTED,
	    "|", 0 },
	/* Bound, and a datagram waits for its name. */
	[LOOKS_UP] = { "looks up", INET, DGI_BOUND, "| s3 >o3", 0 },
	/* dgram_end() was called, and something waits. */
	[ENDS_BINDING] = { "ends, binding", INET, DGI_BINDING,
	    "| b0 s3 X e >o3", 0 },
	[ENDS_BOUND] = { "ends, bound", ANY, DGI_BOUND, "| s3 X e >o3", 0 },
	[ENDS_CONNECTING] = { "ends, connecting", INET, DGI_CONNECTING,
	    "| c0 X e", 0 },
	[ENDS_CONNECTED] = { "ends, connected", ANY, DGI_CONNECTED,
	    "| s3 X e >p3", 0 },
	[ENDS_LOOKUP] = { "ends, looks up", INET, DGI_BOUND,
	    "| s3 X e >o3", 0 },
	/* Closed: at once, and in what it still calls. */
	[CLOSED] = { "closed", ANY, DGI_CLOSED, "s:ECANCELED X f |", 0 },
	[IN_COMPLETION] = { "closed, in a completion", ANY, DGI_CLOSED,
	    "s:ECANCELED X f |", 's' },
	[IN_CLOSE] = { "closed, in close", ANY, DGI_CLOSED,
	    "s:ECANCELED X f |", 'X' },
	[IN_CLOSE_FN] = { "closed, in the function", ANY, DGI_CLOSED,
	    "s:ECANCELED X f |", 'f' },
};

/* Into a state, by the calls that lead there. */
static void
enter(const char *backend, int type, enum state st)
{
	open_scene(backend, type);
	if (st == ADOPTED) {
		adopt_unbound();
	} else if (st == BINDING || st == TO_CONNECT || st == ENDS_BINDING) {
		OK(bind_name('b'));
		OK(send_to(&sc.other, 3, 's'));
	} else if (st == NAMELESS) {
		OK(send_to(&sc.other, 0, '\0'));
		quiet();
		cr_assert_eq(recv(sc.other_fd, NULL, 0, MSG_DONTWAIT), 0);
	} else if (st != UNBOUND && st != NAMELESS_CONNECTED) {
		bind_here();
	}
	if (st == TO_CONNECT || st == CONNECTING || st == ENDS_CONNECTING)
		OK(connect_name('c'));
	if (st == CONNECTED || st == NAMELESS_CONNECTED ||
	    st == ENDS_CONNECTED)
		OK(dgram_connect_addr(sc.s, &sc.peer));
	if (st == ENDS_BOUND || st >= CLOSED)
		block(&sc.other);
	if (st == ENDS_CONNECTED)
		block(NULL);
	if (st == LOOKS_UP || st == ENDS_LOOKUP)
		OK(send_name(3, 's'));
	quiet();
	if (st >= ENDS_BINDING && st <= ENDS_LOOKUP)
		OK(dgram_end(sc.s, on_closed, letter('e')));
	sc.log[0] = '\0';
	if (st >= CLOSED)
		OK(dgram_close(sc.s, on_closed, letter('f')));
	sc.on = states[st].on;
	cr_assert_eq(sc.s->state, states[st].is, "%s: state %d",
	    states[st].name, sc.s->state);
}

/* ---- the calls ---- */

static int
c_bind_addr(struct dgram_socket *s)
{
	struct dgram_addr a = any_addr(sc.type);

	return CALL(dgram_bind_addr(s, &a));
}

static int
c_bind_path(struct dgram_socket *s)
{
	return CALL(dgram_bind_path(s, fresh_path(), 0));
}

static int
c_bind_stale(struct dgram_socket *s)
{
	return CALL(dgram_bind_path(s, fresh_path(), DGRAM_UNLINK_STALE));
}

static int
c_bind_fd(struct dgram_socket *s)
{
	int r = CALL(dgram_bind_fd(s, sc.spare));

	if (r == 0)
		sc.spare = -1;
	return r;
}

static int
c_connect_addr(struct dgram_socket *s)
{
	return CALL(dgram_connect_addr(s, &sc.peer));
}

static const char *
path_of(const struct dgram_addr *a)
{
	static char path[128];

	if (sc.type != DGRAM_UNIX)
		return "x";
	MUST(dgram_addr_host(a, path, sizeof(path)) > 0, "no path");
	return path;
}

static int
c_connect_path(struct dgram_socket *s)
{
	return CALL(dgram_connect_path(s, path_of(&sc.peer)));
}

static int
c_disconnect(struct dgram_socket *s)
{
	return CALL(dgram_disconnect(s));
}

static int
c_send_addr(struct dgram_socket *s)
{
	struct iovec iov = { payload(4), 4 };

	return CALL(dgram_send_addr(s, &iov, 1, &sc.other, on_done,
	    letter('d')));
}

static int
c_send_addr_silent(struct dgram_socket *s)
{
	struct iovec iov = { payload(4), 4 };

	return CALL(dgram_send_addr(s, &iov, 1, &sc.other, NULL, NULL));
}

static int
c_send_addr_peer(struct dgram_socket *s)
{
	struct iovec iov = { payload(4), 4 };

	return CALL(dgram_send_addr(s, &iov, 1, NULL, on_done, letter('d')));
}

static int
c_send_path(struct dgram_socket *s)
{
	return CALL(dgram_send_path(s, payload(4), 4, path_of(&sc.other), on_done,
	    letter('d')));
}

static int
batch(struct dgram_socket *s, const struct dgram_addr *to, dgram_done_fn *done)
{
	static struct dgram_datagram d;
	static struct iovec iov;

	iov = (struct iovec){ payload(4), 4 };
	d = (struct dgram_datagram){ .iov = &iov, .iovcnt = 1, .to = to };
	return CALL(dgram_send_batch(s, &d, 1, done, letter('d')));
}

static int
c_batch(struct dgram_socket *s)
{
	return batch(s, &sc.other, on_done);
}

static int
c_batch_silent(struct dgram_socket *s)
{
	return batch(s, &sc.other, NULL);
}

static int
c_batch_peer(struct dgram_socket *s)
{
	return batch(s, NULL, on_done);
}

static int
try(struct dgram_socket *s, const struct dgram_addr *to)
{
	struct iovec iov = { payload(4), 4 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1, .to = to };

	return CALL(dgram_try_send(s, &d, 1));
}

static int
c_try(struct dgram_socket *s)
{
	return try(s, &sc.other);
}

static int
c_try_peer(struct dgram_socket *s)
{
	return try(s, NULL);
}

static int
c_reply(struct dgram_socket *s)
{
	struct dgram_message m = { .remote = &sc.other };

	return CALL(dgram_reply(s, &m, payload(4), 4));
}

static int
c_reply_peer(struct dgram_socket *s)
{
	struct dgram_message m = { .remote = &sc.peer };

	return CALL(dgram_reply(s, &m, payload(4), 4));
}

static int
c_reply_unnamed(struct dgram_socket *s)
{
	struct dgram_addr nobody = { .len = 0 };
	struct dgram_message m = { .remote = &nobody };

	return CALL(dgram_reply(s, &m, payload(4), 4));
}

static int
c_flush(struct dgram_socket *s)
{
	return CALL(dgram_flush(s));
}

static int
c_bind(struct dgram_socket *s)
{
	(void)s;
	return bind_name('d');
}

static int
c_bind_silent(struct dgram_socket *s)
{
	(void)s;
	return bind_name('\0');
}

static const char *
literal(void)
{
	return sc.type == DGRAM_UDP4 ? "127.0.0.1" : "::1";
}

static const char *
foreign_literal(void)
{
	return sc.type == DGRAM_UDP4 ? "::1" : "127.0.0.1";
}

static const char *
long_name(void)
{
	static char name[257];

	memset(name, 'x', sizeof(name) - 1);
	return name;
}

static int
bind_to(struct dgram_socket *s, int port, const char *address)
{
	return CALL(dgram_bind(s, port, address, on_done, letter('d')));
}

static int
c_bind_literal(struct dgram_socket *s)
{
	return bind_to(s, 0, literal());
}

static int
c_bind_any(struct dgram_socket *s)
{
	int r = bind_to(s, 0, NULL);

	MUST(r < 0 || dgi_addr_is_any(&s->local), "not all interfaces");
	return r;
}

static int
c_bind_port(struct dgram_socket *s)
{
	int r = bind_to(s, -1, BOUND_NAME);

	MUST(bind_to(s, 65536, NULL) == r, "another result");
	MUST(bind_to(s, 65536, literal()) == r, "another result");
	return r;
}

static int
c_bind_foreign(struct dgram_socket *s)
{
	return bind_to(s, 0, foreign_literal());
}

static int
c_bind_long(struct dgram_socket *s)
{
	return bind_to(s, 0, long_name());
}

static int
connect_to(struct dgram_socket *s, int port, const char *address)
{
	return CALL(dgram_connect(s, port, address, on_done, letter('d')));
}

static int
c_connect(struct dgram_socket *s)
{
	(void)s;
	return connect_name('d');
}

static int
c_connect_silent(struct dgram_socket *s)
{
	(void)s;
	return connect_name('\0');
}

static int
c_connect_literal(struct dgram_socket *s)
{
	return connect_to(s, dgram_addr_port(&sc.peer), literal());
}

static int
c_connect_loopback(struct dgram_socket *s)
{
	int r = connect_to(s, dgram_addr_port(&sc.peer), "");

	MUST(r < 0 || s->state != DGI_CONNECTED ||
	    dgram_addr_equal(&s->peer, &sc.peer), "not the loopback");
	return r;
}

static int
c_connect_port(struct dgram_socket *s)
{
	int r = connect_to(s, 0, PEER_NAME);

	MUST(connect_to(s, 65536, NULL) == r, "another result");
	MUST(connect_to(s, 65536, literal()) == r, "another result");
	return r;
}

static int
c_connect_foreign(struct dgram_socket *s)
{
	return connect_to(s, 9, foreign_literal());
}

static int
c_connect_long(struct dgram_socket *s)
{
	return connect_to(s, 9, long_name());
}

static int
c_send(struct dgram_socket *s)
{
	(void)s;
	return send_name(4, 'd');
}

static int
c_send_silent(struct dgram_socket *s)
{
	(void)s;
	return send_name(4, '\0');
}

static int
send_at(struct dgram_socket *s, int port, const char *address)
{
	return CALL(dgram_send(s, payload(4), 4, port, address, on_done,
	    letter('d')));
}

static int
c_send_literal(struct dgram_socket *s)
{
	return send_at(s, dgram_addr_port(&sc.other), literal());
}

static int
c_send_loopback(struct dgram_socket *s)
{
	return send_at(s, dgram_addr_port(&sc.other), NULL);
}

static int
c_send_peer(struct dgram_socket *s)
{
	return send_at(s, 0, "");
}

static int
c_send_port(struct dgram_socket *s)
{
	int r = send_at(s, 0, OTHER_NAME);

	MUST(send_at(s, 65536, NULL) == r, "another result");
	MUST(send_at(s, 65536, literal()) == r, "another result");
	MUST(send_at(s, -1, NULL) == r, "another result");
	return r;
}

static int
c_send_foreign(struct dgram_socket *s)
{
	return send_at(s, 9, foreign_literal());
}

static int
c_send_long(struct dgram_socket *s)
{
	return send_at(s, 9, long_name());
}

static int
c_sendv(struct dgram_socket *s)
{
	struct iovec iov[] = { { payload(4), 1 }, { payload(4), 3 } };

	return CALL(dgram_sendv(s, iov, 2, dgram_addr_port(&sc.other),
	    OTHER_NAME, on_done, letter('d')));
}

static int
c_sendv_peer(struct dgram_socket *s)
{
	struct iovec iov[] = { { payload(4), 1 }, { payload(4), 3 } };

	return CALL(dgram_sendv(s, iov, 2, 0, NULL, on_done, letter('d')));
}

/* Four bytes with others around them. */
static const char *
inner_bytes(void)
{
	static char bytes[] = "ab....cd";

	memcpy(bytes + 2, payload(4), 4);
	return bytes;
}

static int
c_sendto(struct dgram_socket *s)
{
	return CALL(dgram_sendto(s, inner_bytes(), 2, 4,
	    dgram_addr_port(&sc.other), OTHER_NAME, on_done, letter('d')));
}

static int
c_sendto_peer(struct dgram_socket *s)
{
	return CALL(dgram_sendto(s, inner_bytes(), 2, 4, 0, NULL, on_done,
	    letter('d')));
}

static int
c_close(struct dgram_socket *s)
{
	return CALL(dgram_close(s, on_closed, letter('g')));
}

static int
c_end(struct dgram_socket *s)
{
	return CALL(dgram_end(s, on_closed, letter('g')));
}

static int
c_pause(struct dgram_socket *s)
{
	return CALL(dgram_pause(s));
}

static int
c_resume(struct dgram_socket *s)
{
	int r = CALL(dgram_pause(s));

	MUST(CALL(dgram_resume(s)) == r, "another result");
	return r;
}

static int
c_set_events(struct dgram_socket *s)
{
	return CALL(dgram_set_events(s, NULL, NULL));
}

static int
c_arg(struct dgram_socket *s)
{
	return dgram_arg(s) == NULL ? 0 : 1;
}

static int
c_socket_loop(struct dgram_socket *s)
{
	return dgram_socket_loop(s) == sc.l;
}

static int
c_fileno(struct dgram_socket *s)
{
	int r = CALL(dgram_fileno(s));

	MUST(r < 0 || r == s->fd, "descriptor %d", r);
	return r < 0 ? r : 0;
}

static int
c_ref(struct dgram_socket *s)
{
	size_t alive = sc.l->alive;
	int r = CALL(dgram_unref(s));

	MUST(CALL(dgram_ref(s)) == r && sc.l->alive == alive, "alive");
	return r;
}

static int
c_unref(struct dgram_socket *s)
{
	size_t alive = sc.l->alive - s->holds;
	int r = CALL(dgram_unref(s));

	MUST(sc.l->alive == alive, "alive");
	return r;
}

static int
c_last_error(struct dgram_socket *s)
{
	struct dgram_error e = { .status = 0 };
	int r = CALL(dgram_last_error(s, &e));

	MUST(r < 0 || e.status == -ECANCELED, "%d", e.status);
	return r;
}

/* The status that it tells. */
static int
c_failure(struct dgram_socket *s)
{
	struct dgram_error e = { .status = 0 };
	int r = CALL(dgram_last_error(s, &e));

	return r < 0 ? r : e.status;
}

static int
c_address(struct dgram_socket *s)
{
	struct dgram_addr a, b = { .len = sizeof(b.u) };
	int r;

	memset(&a, 1, sizeof(a));
	r = CALL(dgram_address(s, &a));
	if (r < 0) {
		MUST(a.u.raw[0] == 1, "refused, and written to");
		return r;
	}
	MUST(getsockname(s->fd, &b.u.sa, &b.len) == 0, "getsockname");
	dgi_addr_trim(&b);
	MUST(a.len == b.len && (a.len == 0 || dgram_addr_equal(&a, &b)),
	    "another address");
	return 0;
}

static int
c_remote_address(struct dgram_socket *s)
{
	struct dgram_addr a;
	int r = CALL(dgram_remote_address(s, &a));

	MUST(r < 0 || dgram_addr_equal(&a, &sc.peer), "another address");
	return r;
}

static int
option(const struct dgram_socket *s, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	return getsockopt(s->fd, level, name, &v, &len) < 0 ? -1 : v;
}

static int
c_broadcast(struct dgram_socket *s)
{
	int r = CALL(dgram_set_broadcast(s, 1));

	MUST(r < 0 || option(s, SOL_SOCKET, SO_BROADCAST) != 0, "not set");
	return r;
}

static int
c_ttl(struct dgram_socket *s)
{
	int r = CALL(dgram_set_ttl(s, 9));

	MUST(r < 0 || (sc.type == DGRAM_UDP4 ?
	    option(s, IPPROTO_IP, IP_TTL) :
	    option(s, IPPROTO_IPV6, IPV6_UNICAST_HOPS)) == 9, "not set");
	return r;
}

static int
c_tos(struct dgram_socket *s)
{
	int r = CALL(dgram_set_tos(s, 8));

	MUST(r < 0 || (sc.type == DGRAM_UDP4 ?
	    option(s, IPPROTO_IP, IP_TOS) :
	    option(s, IPPROTO_IPV6, IPV6_TCLASS)) == 8, "not set");
	return r;
}

static int
c_set_recv_buffer(struct dgram_socket *s)
{
	int r = CALL(dgram_set_recv_buffer_size(s, 20000));

	MUST(r < 0 || option(s, SOL_SOCKET, SO_RCVBUF) ==
	    (ON_LINUX ? 40000 : 20000), "not set");
	return r;
}

static int
c_set_send_buffer(struct dgram_socket *s)
{
	int r = CALL(dgram_set_send_buffer_size(s, 20000));

	MUST(r < 0 || option(s, SOL_SOCKET, SO_SNDBUF) ==
	    (ON_LINUX ? 40000 : 20000), "not set");
	return r;
}

static int
c_get_recv_buffer(struct dgram_socket *s)
{
	int r = CALL(dgram_get_recv_buffer_size(s));

	MUST(r < 0 || r == option(s, SOL_SOCKET, SO_RCVBUF), "%d", r);
	return r < 0 ? r : 0;
}

static int
c_get_send_buffer(struct dgram_socket *s)
{
	int r = CALL(dgram_get_send_buffer_size(s));

	MUST(r < 0 || r == option(s, SOL_SOCKET, SO_SNDBUF), "%d", r);
	return r < 0 ? r : 0;
}

static int
c_max_send_size(struct dgram_socket *s)
{
	int r = CALL(dgram_max_send_size(s));

	MUST(r < 0 || (sc.type != DGRAM_UNIX && r <= 65527) ||
	    (sc.type == DGRAM_UNIX && r <= option(s, SOL_SOCKET, SO_SNDBUF)),
	    "%d", r);
	return r < 0 ? r : 0;
}

static int
c_queue_size(struct dgram_socket *s)
{
	return (int)dgram_get_send_queue_size(s);
}

static int
c_queue_count(struct dgram_socket *s)
{
	return (int)dgram_get_send_queue_count(s);
}

/* ---- multicast ---- */

static const char *
lo(void)
{
	return if_nametoindex("lo") != 0 ? "lo" : "lo0";
}

static const char *
group(void)
{
	return sc.type == DGRAM_UDP6 ? "ff05::7:7" : "224.7.7.7";
}

static int
c_multicast_ttl(struct dgram_socket *s)
{
	return CALL(dgram_set_multicast_ttl(s, 9));
}

static int
c_multicast_loopback(struct dgram_socket *s)
{
	return CALL(dgram_set_multicast_loopback(s, 0));
}

static int
c_multicast_interface(struct dgram_socket *s)
{
	return CALL(dgram_set_multicast_interface(s, lo()));
}

static int
c_add_membership(struct dgram_socket *s)
{
	return CALL(dgram_add_membership(s, group(), lo()));
}

static int
c_drop_membership(struct dgram_socket *s)
{
	return CALL(dgram_drop_membership(s, group(), lo()));
}

static int
c_add_source(struct dgram_socket *s)
{
	return CALL(dgram_add_source_specific_membership(s,
	    sc.type == DGRAM_UDP6 ? "::1" : "127.0.0.1", group(), lo()));
}

static int
c_drop_source(struct dgram_socket *s)
{
	return CALL(dgram_drop_source_specific_membership(s,
	    sc.type == DGRAM_UDP6 ? "::1" : "127.0.0.1", group(), lo()));
}

static int
c_refresh(struct dgram_socket *s)
{
	return CALL(dgram_refresh_memberships(s));
}

static int
c_device(struct dgram_socket *s)
{
	return CALL(dgram_bind_to_device(s, lo()));
}

#if DGI_HAVE_SOURCE_GROUP
#define OF_SOURCES(...)	__VA_ARGS__
#else
#define OF_SOURCES(...)	EACH_LIVE_STATE(-ENOTSUP)
#endif
#if DGI_HAVE_BINDTODEVICE || DGI_HAVE_BOUND_IF
#define OF_DEVICE	0
#else
#define OF_DEVICE	-ENOTSUP
#endif

/* What waits, by the ledger. */
static int
c_stats(struct dgram_socket *s)
{
	struct dgram_stats st = { .size = sizeof(st) };
	int r = CALL(dgram_get_stats(s, &st));

	return r < 0 ? r : (int)st.waiting;
}

/* ---- the table ---- */

struct cell {
	int r;
	enum dgi_state after;		/* 0: nothing has changed */
	const char *story;
};

#define NO(result)	{ .r = (result) }
#define TWO(result)	NO(result), NO(result)
#define THREE(result)	TWO(result), NO(result)
#define ENDING(result)	TWO(result), THREE(result)
#define DEAD(result)	TWO(result), TWO(result)

#define TO_U		DGI_UNBOUND
#define TO_G		DGI_BINDING
#define TO_GC		DGI_BINDING_TO_CONNECT
#define TO_B		DGI_BOUND
#define TO_K		DGI_CONNECTING
#define TO_C		DGI_CONNECTED
#define TO_X		DGI_CLOSED

/* A connected socket has a datagram for somebody else; then it ends. */
#if ON_LINUX
#define PAST_THE_PEER	"s3 X e >o3"
#else
#define PAST_THE_PEER	"s:EISCONN X e"
#endif
/* It binds. */
#define JOIN								\
	{ 0, TO_B, "L |" }, { 0, TO_B, "L |" }, TWO(-EBADF), THREE(0),	\
	TWO(0), NO(0), NO(-EBADF), TWO(0), TWO(0), DEAD(NOT_RUNNING)
/* There is none. */
#define LEAVE								\
	TWO(-EADDRNOTAVAIL), TWO(-EBADF), THREE(-EADDRNOTAVAIL),	\
	THREE(-EADDRNOTAVAIL), NO(-EBADF), TWO(-EADDRNOTAVAIL),		\
	TWO(-EADDRNOTAVAIL), DEAD(NOT_RUNNING)
/* Where setters and getters of the descriptor have none. */
#define OF_DESCRIPTOR(there)						\
	NO(-EBADF), NO(there), TWO(-EBADF), THREE(there), THREE(there),	\
	NO(-EBADF), TWO(there), TWO(there), DEAD(NOT_RUNNING)
/* To somebody, by whatever call; what it tells the caller, if anything. */
#define SEND_TO(result, told, stranger)					\
	{ result, TO_B, "l" told " >o4 |" },				\
	{ result, TO_B, "l" told " >o4 |" },				\
	{ result, TO_G, "| L b0 s3" told " >o3 >o4" },			\
	{ result, TO_GC, "| L b0 C c0 s3" told " >o3 >o4" },		\
	{ result, TO_B, told " >o4 |" },				\
	{ result, TO_K, told " >o4 | C c0" },				\
	stranger,							\
	{ result, TO_B, told " >o4 |" },				\
	stranger,							\
	{ result, TO_B, told " >o4 | s3 >o3" },				\
	ENDING(NOT_RUNNING), DEAD(NOT_RUNNING)
/* To the peer. */
#define SEND_TO_PEER(result, told, none)				\
	TWO(none), TWO(none), TWO(none),				\
	{ result, TO_C, told " >p4 |" },				\
	NO(none),							\
	{ result, TO_C, told " >p4 |" },				\
	NO(none),							\
	ENDING(NOT_RUNNING), DEAD(NOT_RUNNING)
/* To somebody by name: all but the implicit bind waits. */
#define SEND_TO_NAME(told, isconn)					\
	{ 0, TO_B, "L |" told " >o4" },					\
	{ 0, TO_B, "L |" told " >o4" },					\
	{ 0, TO_G, "| L b0 s3" told " >o3 >o4" },			\
	{ 0, TO_GC, "| L b0 C c0 s3" isconn " >o3" },			\
	{ 0, TO_B, "|" told " >o4" },					\
	{ 0, TO_K, "| C c0" isconn },					\
	NO(IS_CONNECTED), TWO(0),					\
	{ 0, TO_B, "| s3" told " >o3 >o4" },				\
	ENDING(NOT_RUNNING), DEAD(NOT_RUNNING)
/* Refused for its arguments, in each state that lets it look at them. */
#define BAD_SEND(result)						\
	TWO(result), TWO(result), TWO(result), NO(IS_CONNECTED),	\
	TWO(0), NO(result), ENDING(NOT_RUNNING), DEAD(NOT_RUNNING)

#define BIND(unbound)							\
	unbound, unbound, TWO(ALREADY_BOUND), THREE(ALREADY_BOUND),	\
	TWO(0), NO(ALREADY_BOUND),					\
	ENDING(ALREADY_BOUND), DEAD(NOT_RUNNING)
#define EACH_STATE(result)						\
	TWO(result), TWO(result), THREE(result), THREE(result),		\
	ENDING(result), DEAD(result)
#define EACH_LIVE_STATE(result)						\
	TWO(result), TWO(result), THREE(result), THREE(result),		\
	ENDING(result), DEAD(NOT_RUNNING)
#define WAITING(n)							\
	TWO(0), TWO(n), THREE(0), TWO(0), NO(n),			\
	TWO(n), NO(0), TWO(n), DEAD(0)

#define SILENT	0x1u			/* nothing is told any more */
#define DEAF	0x2u			/* nothing is read any more */
#define SENDS	0x4u			/* a datagram */
#define ASKS	0x8u			/* for a name */
#define NATIVE	0x10u			/* user-mode emulation does not pass it,
					   or loses the interface */

/*
 * ROW(call, how, types, flags, result by state): the columns are those of enum
 * state, two or three a line.
 */
#define ROW(name, how, types, flags, ...)				\
	{ #name, how, types, flags, { __VA_ARGS__ } }

static const struct row {
	const char *name;
	int (*call)(struct dgram_socket *);
	unsigned types, flags;
	struct cell cells[NSTATES];
} rows[] = {
	/* ---- bind ---- */
	ROW(dgram_bind_addr, c_bind_addr, ANY, 0,
	    { 0, TO_B, "L |" }, { 0, TO_B, "L |" },
	    TWO(ALREADY_BOUND), THREE(ALREADY_BOUND),
	    { 0, TO_B, "L |" }, { 0, TO_C, "L |" }, NO(ALREADY_BOUND),
	    ENDING(ALREADY_BOUND), DEAD(NOT_RUNNING)),
#define BIND_PATH							\
	{ 0, TO_B, "L |" }, NO(0), TWO(0), THREE(ALREADY_BOUND),	\
	{ 0, TO_B, "L |" }, { 0, TO_C, "L |" }, NO(ALREADY_BOUND),	\
	ENDING(ALREADY_BOUND), DEAD(NOT_RUNNING)
	ROW(dgram_bind_path, c_bind_path, UNIX, 0, BIND_PATH),
	ROW(dgram_bind_path, c_bind_stale, UNIX, 0, BIND_PATH),
	ROW(dgram_bind_path, c_bind_path, INET, 0, BIND(NO(-EINVAL))),
	ROW(dgram_bind_path, c_bind_stale, INET, 0, BIND(NO(-EINVAL))),
	ROW(dgram_bind_fd, c_bind_fd, ANY, 0,
	    { 0, TO_B, "L |" }, NO(-EBUSY),
	    TWO(ALREADY_BOUND), THREE(ALREADY_BOUND), THREE(ALREADY_BOUND),
	    ENDING(ALREADY_BOUND), DEAD(NOT_RUNNING)),
#define BIND_NAMED	{ 0, TO_G, "| L d0" }
	ROW(dgram_bind, c_bind, INET, ASKS, BIND(BIND_NAMED)),
#define BIND_SILENT	{ 0, TO_G, "| L" }
	ROW(dgram_bind, c_bind_silent, INET, ASKS, BIND(BIND_SILENT)),
#define BIND_AT_ONCE	{ 0, TO_B, "L d0 |" }
	ROW(dgram_bind, c_bind_literal, INET, 0, BIND(BIND_AT_ONCE)),
	ROW(dgram_bind, c_bind_any, INET, 0, BIND(BIND_AT_ONCE)),
	ROW(dgram_bind, c_bind_port, INET, 0, BIND(NO(BAD_PORT))),
	ROW(dgram_bind, c_bind_foreign, INET, 0, BIND(NO(-EINVAL))),
	ROW(dgram_bind, c_bind_long, INET, 0, BIND(NO(-ENAMETOOLONG))),
	ROW(dgram_bind, c_bind, UNIX, 0, EACH_LIVE_STATE(-EINVAL)),

	/* ---- connect ---- */
	ROW(dgram_connect_addr, c_connect_addr, ANY, 0,
	    { 0, TO_C, "l C |" }, { 0, TO_C, "L C |" },
	    NO(ALREADY_BOUND), NO(IS_CONNECTED),
	    { 0, TO_C, "C |" }, TWO(IS_CONNECTED),
	    { 0, TO_C, "C |" }, NO(IS_CONNECTED), { 0, TO_C, "C | s:EISCONN" },
	    NO(ALREADY_BOUND), { 0, TO_C, "C | " PAST_THE_PEER },
	    TWO(IS_CONNECTED), { 0, TO_C, "C | s:EISCONN X e" },
	    DEAD(NOT_RUNNING)),
	ROW(dgram_connect_path, c_connect_path, UNIX, 0,
	    { 0, TO_C, "C |" }, NO(0), TWO(0),
	    { 0, TO_C, "C |" }, NO(0), NO(IS_CONNECTED),
	    { 0, TO_C, "C |" }, NO(IS_CONNECTED), NO(0),
	    NO(0), { 0, TO_C, "C | " PAST_THE_PEER },
	    NO(0), NO(IS_CONNECTED), NO(0),
	    DEAD(NOT_RUNNING)),
	ROW(dgram_connect_path, c_connect_path, INET, 0,
	    TWO(-EINVAL), NO(ALREADY_BOUND), NO(IS_CONNECTED),
	    NO(-EINVAL), TWO(IS_CONNECTED), TWO(0), NO(-EINVAL),
	    NO(ALREADY_BOUND), NO(-EINVAL), TWO(IS_CONNECTED), NO(-EINVAL),
	    DEAD(NOT_RUNNING)),
#define CONNECT_NAME(told)						\
	{ 0, TO_K, "L | C" told }, { 0, TO_K, "L | C" told },		\
	{ 0, TO_GC, "| L b0 C" told " s3 >o3" }, NO(IS_CONNECTED),	\
	{ 0, TO_K, "| C" told }, TWO(IS_CONNECTED), TWO(0),		\
	{ 0, TO_K, "| C" told " s3 >o3" },				\
	{ 0, TO_GC, "| b0" told " s3 X e >o3" },			\
	{ 0, TO_K, "|" told " s3 X e >o3" },				\
	TWO(IS_CONNECTED), { 0, TO_K, "|" told " s3 X e >o3" },		\
	DEAD(NOT_RUNNING)
	ROW(dgram_connect, c_connect, INET, ASKS, CONNECT_NAME(" d0")),
	ROW(dgram_connect, c_connect_silent, INET, ASKS, CONNECT_NAME("")),
#define CONNECT_AT_ONCE							\
	{ 0, TO_C, "L C d0 |" }, { 0, TO_C, "L C d0 |" },		\
	{ 0, TO_GC, "| L b0 C d0 s3 >o3" }, NO(IS_CONNECTED),		\
	{ 0, TO_C, "C d0 |" }, TWO(IS_CONNECTED), TWO(0),		\
	{ 0, TO_C, "C d0 | s:EISCONN" },				\
	{ 0, TO_GC, "| b0 d0 s3 X e >o3" },				\
	{ 0, TO_C, "C d0 | " PAST_THE_PEER },				\
	TWO(IS_CONNECTED), { 0, TO_C, "C d0 | s:EISCONN X e" },		\
	DEAD(NOT_RUNNING)
	ROW(dgram_connect, c_connect_literal, INET, 0, CONNECT_AT_ONCE),
	ROW(dgram_connect, c_connect_loopback, INET, 0, CONNECT_AT_ONCE),
#define BAD_CONNECT(result)						\
	TWO(result), NO(result), NO(IS_CONNECTED),			\
	NO(result), TWO(IS_CONNECTED), TWO(0), NO(result),		\
	TWO(result), TWO(IS_CONNECTED), NO(result),			\
	DEAD(NOT_RUNNING)
	/* The port is looked at before the state, as in Node. */
	ROW(dgram_connect, c_connect_port, INET, 0, EACH_LIVE_STATE(BAD_PORT)),
	ROW(dgram_connect, c_connect_foreign, INET, 0, BAD_CONNECT(-EINVAL)),
	ROW(dgram_connect, c_connect_long, INET, 0,
	    BAD_CONNECT(-ENAMETOOLONG)),
	ROW(dgram_connect, c_connect, UNIX, 0, EACH_LIVE_STATE(-EINVAL)),
	ROW(dgram_disconnect, c_disconnect, ANY, 0,
	    TWO(NOT_CONNECTED), TWO(NOT_CONNECTED),
	    TWO(NOT_CONNECTED), { 0, TO_B, "|" },
	    NO(NOT_CONNECTED), { 0, TO_B, "|" }, NO(NOT_CONNECTED),
	    THREE(NOT_CONNECTED), { 0, TO_X, "s:ENOTCONN X e |" },
	    NO(NOT_CONNECTED), DEAD(NOT_CONNECTED)),

	/* ---- send ---- */
	ROW(dgram_send_addr, c_send_addr, ANY, SENDS,
	    SEND_TO(0, " d4", NO(IS_CONNECTED))),
	ROW(dgram_send_addr, c_send_addr_silent, ANY, SENDS,
	    SEND_TO(0, "", NO(IS_CONNECTED))),
	ROW(dgram_send_addr, c_send_addr_peer, ANY, SENDS,
	    SEND_TO_PEER(0, " d4", NOT_CONNECTED)),
	ROW(dgram_send_path, c_send_path, UNIX, SENDS,
	    SEND_TO(0, " d4", NO(IS_CONNECTED))),
	ROW(dgram_send_path, c_send_path, INET, SENDS, BAD_SEND(-EINVAL)),
	ROW(dgram_send_batch, c_batch, ANY, SENDS,
	    SEND_TO(0, " d1", NO(IS_CONNECTED))),
	ROW(dgram_send_batch, c_batch_silent, ANY, SENDS,
	    SEND_TO(0, "", NO(IS_CONNECTED))),
	ROW(dgram_send_batch, c_batch_peer, ANY, SENDS,
	    SEND_TO_PEER(0, " d1", NOT_CONNECTED)),
	ROW(dgram_try_send, c_try, ANY, SENDS,
	    { 1, TO_B, "l >o4 |" }, { 1, TO_B, "L >o4 |" }, TWO(-EAGAIN),
	    { 1, TO_B, ">o4 |" }, { 1, TO_K, ">o4 | C c0" },
	    NO(IS_CONNECTED), { 1, TO_B, ">o4 |" }, NO(IS_CONNECTED),
	    { 1, TO_B, ">o4 | s3 >o3" },
	    ENDING(NOT_RUNNING), DEAD(NOT_RUNNING)),
	ROW(dgram_try_send, c_try_peer, ANY, SENDS,
	    SEND_TO_PEER(1, "", NOT_CONNECTED)),
	ROW(dgram_reply, c_reply, INET, SENDS,
	    SEND_TO(0, "", NO(IS_CONNECTED))),
#define TO_ITS_PEER	{ 0, TO_C, ">p4 |" }
	ROW(dgram_reply, c_reply, UNIX, SENDS, SEND_TO(0, "", TO_ITS_PEER)),
	ROW(dgram_reply, c_reply_peer, ANY, SENDS,
	    { 0, TO_B, "l >p4 |" }, { 0, TO_B, "L >p4 |" },
	    { 0, TO_G, "| L b0 s3 >p4 >o3" },
	    { 0, TO_GC, "| L b0 C c0 s3 >p4 >o3" },
	    { 0, TO_B, ">p4 |" }, { 0, TO_K, ">p4 | C c0" }, TO_ITS_PEER,
	    { 0, TO_B, ">p4 |" }, TO_ITS_PEER, { 0, TO_B, ">p4 | s3 >o3" },
	    ENDING(NOT_RUNNING), DEAD(NOT_RUNNING)),
	ROW(dgram_reply, c_reply_unnamed, UNIX, SENDS,
	    NO(-EDESTADDRREQ), NO(0), TWO(0), NO(-EDESTADDRREQ), NO(0),
	    TO_ITS_PEER, NO(-EDESTADDRREQ), TO_ITS_PEER, NO(0),
	    ENDING(NOT_RUNNING), DEAD(NOT_RUNNING)),
	ROW(dgram_send, c_send, INET, SENDS | ASKS,
	    SEND_TO_NAME(" d4", " d:EISCONN")),
	ROW(dgram_send, c_send_silent, INET, SENDS | ASKS,
	    SEND_TO_NAME("", " E:EISCONN")),
	ROW(dgram_send, c_send_literal, INET, SENDS,
	    SEND_TO(0, " d4", NO(IS_CONNECTED))),
	ROW(dgram_send, c_send_loopback, INET, SENDS,
	    SEND_TO(0, " d4", NO(IS_CONNECTED))),
	ROW(dgram_send, c_send_peer, INET, SENDS,
	    SEND_TO_PEER(0, " d4", BAD_PORT)),
	ROW(dgram_send, c_send_port, INET, SENDS, BAD_SEND(BAD_PORT)),
	ROW(dgram_send, c_send_foreign, INET, SENDS, BAD_SEND(-EINVAL)),
	ROW(dgram_send, c_send_long, INET, SENDS, BAD_SEND(-ENAMETOOLONG)),
	ROW(dgram_send, c_send, UNIX, SENDS, EACH_LIVE_STATE(-EINVAL)),
	ROW(dgram_sendv, c_sendv, INET, SENDS | ASKS,
	    SEND_TO_NAME(" d4", " d:EISCONN")),
	ROW(dgram_sendv, c_sendv_peer, INET, SENDS,
	    SEND_TO_PEER(0, " d4", BAD_PORT)),
	ROW(dgram_sendv, c_sendv, UNIX, SENDS, EACH_LIVE_STATE(-EINVAL)),
	ROW(dgram_sendto, c_sendto, INET, SENDS | ASKS,
	    SEND_TO_NAME(" d4", " d:EISCONN")),
	ROW(dgram_sendto, c_sendto_peer, INET, SENDS,
	    SEND_TO_PEER(0, " d4", BAD_PORT)),
	ROW(dgram_sendto, c_sendto, UNIX, SENDS, EACH_LIVE_STATE(-EINVAL)),
	ROW(dgram_flush, c_flush, ANY, 0,
	    TWO(0), TWO(1), THREE(0), TWO(0), NO(1),
	    TWO(1), NO(0), TWO(1), DEAD(NOT_RUNNING)),

	/* ---- close ---- */
	ROW(dgram_close, c_close, ANY, 0,
	    { 0, TO_X, "X g |" }, { 0, TO_X, "X g |" },
	    { 0, TO_X, "b:ECANCELED s:ECANCELED X g |" },
	    { 0, TO_X, "b:ECANCELED c:ECANCELED s:ECANCELED X g |" },
	    { 0, TO_X, "X g |" }, { 0, TO_X, "c:ECANCELED X g |" },
	    { 0, TO_X, "X g |" }, { 0, TO_X, "X g |" },
	    { 0, TO_X, "X g |" }, { 0, TO_X, "s:ECANCELED X g |" },
	    { 0, TO_X, "b:ECANCELED s:ECANCELED X e g |" },
	    { 0, TO_X, "s:ECANCELED X e g |" },
	    { 0, TO_X, "c:ECANCELED X e g |" },
	    { 0, TO_X, "s:ECANCELED X e g |" },
	    { 0, TO_X, "s:ECANCELED X e g |" },
	    DEAD(NOT_RUNNING)),
	ROW(dgram_end, c_end, ANY, 0,
	    { 0, TO_X, "X g |" }, { 0, TO_X, "X g |" },
	    { 0, TO_G, "| b0 s3 X g >o3" },
	    { 0, TO_GC, "| b0 c0 s3 X g >o3" },
	    { 0, TO_X, "X g |" }, { 0, TO_K, "| c0 X g" },
	    { 0, TO_X, "X g |" }, { 0, TO_X, "X g |" },
	    { 0, TO_X, "X g |" }, { 0, TO_B, "| s3 X g >o3" },
	    ENDING(NOT_RUNNING), DEAD(NOT_RUNNING)),

	/* ---- what a program asks, and sets ---- */
	ROW(dgram_pause, c_pause, ANY, DEAF, EACH_LIVE_STATE(0)),
	ROW(dgram_resume, c_resume, ANY, 0, EACH_LIVE_STATE(0)),
	ROW(dgram_set_events, c_set_events, ANY, DEAF | SILENT,
	    EACH_LIVE_STATE(0)),
	ROW(dgram_arg, c_arg, ANY, 0, EACH_STATE(0)),
	ROW(dgram_socket_loop, c_socket_loop, ANY, 0, EACH_STATE(1)),
	ROW(dgram_fileno, c_fileno, ANY, 0, OF_DESCRIPTOR(0)),
	ROW(dgram_ref, c_ref, ANY, 0, EACH_STATE(0)),
	ROW(dgram_unref, c_unref, ANY, 0, EACH_STATE(0)),
	ROW(dgram_last_error, c_last_error, ANY, 0,
	    TWO(-ENOENT), TWO(-ENOENT), THREE(-ENOENT), THREE(-ENOENT),
	    ENDING(-ENOENT), NO(-ENOENT), NO(0), TWO(-ENOENT)),
	ROW(dgram_address, c_address, ANY, 0,
	    TWO(-EBADF), TWO(-EBADF), THREE(0), THREE(0),
	    NO(-EBADF), TWO(0), TWO(0), DEAD(NOT_RUNNING)),
	ROW(dgram_remote_address, c_remote_address, ANY, 0,
	    TWO(NOT_CONNECTED), TWO(NOT_CONNECTED), TWO(NOT_CONNECTED),
	    NO(0), NO(NOT_CONNECTED), NO(0), NO(NOT_CONNECTED),
	    THREE(NOT_CONNECTED), NO(0), NO(NOT_CONNECTED),
	    DEAD(NOT_RUNNING)),
	ROW(dgram_set_broadcast, c_broadcast, ANY, 0, OF_DESCRIPTOR(0)),
	ROW(dgram_set_ttl, c_ttl, INET, 0, OF_DESCRIPTOR(0)),
	ROW(dgram_set_ttl, c_ttl, UNIX, 0, OF_DESCRIPTOR(-ENOTSUP)),
	ROW(dgram_set_tos, c_tos, INET, 0, OF_DESCRIPTOR(0)),
	ROW(dgram_set_tos, c_tos, UNIX, 0, OF_DESCRIPTOR(-ENOTSUP)),
	ROW(dgram_set_multicast_ttl, c_multicast_ttl, INET, 0,
	    OF_DESCRIPTOR(0)),
	ROW(dgram_set_multicast_ttl, c_multicast_ttl, UNIX, 0,
	    OF_DESCRIPTOR(-ENOTSUP)),
	ROW(dgram_set_multicast_loopback, c_multicast_loopback, INET, 0,
	    OF_DESCRIPTOR(0)),
	ROW(dgram_set_multicast_loopback, c_multicast_loopback, UNIX, 0,
	    OF_DESCRIPTOR(-ENOTSUP)),
	ROW(dgram_set_multicast_interface, c_multicast_interface, INET, NATIVE,
	    OF_DESCRIPTOR(0)),
	ROW(dgram_set_multicast_interface, c_multicast_interface, UNIX, 0,
	    OF_DESCRIPTOR(-ENOTSUP)),
	ROW(dgram_add_membership, c_add_membership, INET, NATIVE, JOIN),
	ROW(dgram_add_membership, c_add_membership, UNIX, 0,
	    EACH_LIVE_STATE(-ENOTSUP)),
	ROW(dgram_drop_membership, c_drop_membership, INET, NATIVE, LEAVE),
	ROW(dgram_drop_membership, c_drop_membership, UNIX, 0,
	    EACH_LIVE_STATE(-ENOTSUP)),
	ROW(dgram_add_source_specific_membership, c_add_source, INET, NATIVE,
	    OF_SOURCES(JOIN)),
	ROW(dgram_add_source_specific_membership, c_add_source, UNIX, 0,
	    EACH_LIVE_STATE(-ENOTSUP)),
	ROW(dgram_drop_source_specific_membership, c_drop_source, INET, NATIVE,
	    OF_SOURCES(LEAVE)),
	ROW(dgram_drop_source_specific_membership, c_drop_source, UNIX, 0,
	    EACH_LIVE_STATE(-ENOTSUP)),
	ROW(dgram_refresh_memberships, c_refresh, INET, 0, OF_DESCRIPTOR(0)),
	ROW(dgram_refresh_memberships, c_refresh, UNIX, 0,
	    EACH_LIVE_STATE(-ENOTSUP)),
	ROW(dgram_bind_to_device, c_device, INET, 0,
	    OF_DESCRIPTOR(OF_DEVICE)),
	ROW(dgram_bind_to_device, c_device, UNIX, 0,
	    OF_DESCRIPTOR(-ENOTSUP)),
	ROW(dgram_set_recv_buffer_size, c_set_recv_buffer, ANY, 0,
	    OF_DESCRIPTOR(0)),
	ROW(dgram_get_recv_buffer_size, c_get_recv_buffer, ANY, 0,
	    OF_DESCRIPTOR(0)),
	ROW(dgram_set_send_buffer_size, c_set_send_buffer, ANY, 0,
	    OF_DESCRIPTOR(0)),
	ROW(dgram_get_send_buffer_size, c_get_send_buffer, ANY, 0,
	    OF_DESCRIPTOR(0)),
	ROW(dgram_max_send_size, c_max_send_size, ANY, 0, OF_DESCRIPTOR(0)),
	ROW(dgram_get_send_queue_size, c_queue_size, ANY, 0, WAITING(3)),
	ROW(dgram_get_send_queue_count, c_queue_count, ANY, 0, WAITING(1)),
	ROW(dgram_get_stats, c_stats, ANY, 0, WAITING(1)),
};

/* ---- a cell ---- */

/* What came of a cell, or of its state without a call. */
struct outcome {
	enum dgi_state after;
	char story[LOG];		/* two phases */
	char last[LOG];			/* of who is still open */
	bool named;			/* has an address */
	struct dgram_stats st;		/* as of the end */
	size_t asked;
};

/*
 * A datagram is sent to it, if it has an address; is that read?  Then it is
 * not in the story.
 */
static bool
listen_in(bool deaf)
{
	const size_t end = strlen(sc.log);
	char seven[7] = "";
	struct dgram_addr a;

	if (sc.s == NULL || dgram_address(sc.s, &a) < 0 || a.len == 0)
		return false;
	if (sc.type != DGRAM_UNIX)
		a = loopback(dgram_addr_port(&a));
	MUST(sendto(sc.peer_fd, seven, sizeof(seven), 0, &a.u.sa, a.len) ==
	    (ssize_t)sizeof(seven), "%s", strerror(errno));
	quiet();
	MUST(strcmp(sc.log + end, deaf ? "" : end > 0 ? " M7" : "M7") == 0,
	    "\"%s\": read", sc.log);
	sc.log[end] = '\0';
	return true;
}

/* The counts that only a datagram changes. */
static bool
same_ledger(const struct dgram_stats *a, const struct dgram_stats *b)
{
	return a->received == b->received &&
	    a->received_bytes == b->received_bytes &&
	    a->truncated == b->truncated && a->blocked == b->blocked &&
	    a->discarded == b->discarded && a->sent == b->sent &&
	    a->sent_bytes == b->sent_bytes && a->failed == b->failed &&
	    a->expired == b->expired && a->cancelled == b->cancelled &&
	    a->refused == b->refused && a->waiting == b->waiting;
}

/* Datagrams that were accepted and are over. */
static uint64_t
over(const struct dgram_stats *st)
{
	return st->sent + st->failed + st->expired + st->cancelled;
}

/* Makes the call, and sees to it that a refusal changes nothing at once. */
static void
make_call(const struct row *row)
{
	struct dgram_stats before = { .size = sizeof(before) },
	    after = before;

	OK(dgram_get_stats(sc.s, &before));
	sc.r = row->call(sc.s);
	OK(dgram_get_stats(sc.s, &after));
	MUST(sc.r >= 0 || same_ledger(&before, &after),
	    "%s: refused, and counted", row->name);
}

/* Lives the story; the call is made, unless row is NULL. */
static void
live(const char *backend, int type, enum state st, const struct row *row,
    struct outcome *o)
{
	bool deaf;
	int room;

	enter(backend, type, st);
	if (sc.on != '\0')
		sc.act = row == NULL ? NULL : row->call;
	else if (row != NULL)
		make_call(row);
	o->after = sc.s->state;
	phase();
	MUST(sc.act == NULL, "%s was never called", row->name);
	deaf = row != NULL && sc.r >= 0 && (row->flags & DEAF) != 0;
	(void)listen_in(deaf);
	say("|");
	release();
	phase();
	snprintf(o->story, sizeof(o->story), "%s", sc.log);
	o->named = listen_in(deaf);
	sc.log[0] = '\0';
	if (sc.s != NULL) {
		room = dgram_get_recv_buffer_size(sc.s);
		OK(dgram_close(sc.s, on_closed, letter('f')));
		phase();
		MUST(sc.last.granted_recv_buffer == (room < 0 ? 0 : room),
		    "the stats are not kept");
	}
	snprintf(o->last, sizeof(o->last), "%s", sc.log);
	MUST(sc.gone, "never closed");
	MUST(sc.last.waiting == 0, "closed, and datagrams wait");
	o->st = sc.last;
	o->asked = sc.asked;
	leave();
}

/* The words of a cell: 'l' is listening, of all but AF_UNIX. */
static void
expand(char *buf, const char *story, int type)
{
	size_t n = 0;

	for (; *story != '\0'; story++) {
		if (*story == 'l' && type != DGRAM_UNIX)
			buf[n++] = 'L';
		else if (*story != 'l' && (n > 0 || *story != ' '))
			buf[n++] = *story;
	}
	buf[n] = '\0';
}

/* The same words without the events. */
static void
silence(char *story)
{
	const char *from = story;
	size_t len, n = 0;

	for (; *from != '\0'; from += len, from += *from == ' ') {
		len = strcspn(from, " ");
		if (len == 1 && strchr("LCDX", *from) != NULL)
			continue;
		if (n > 0)
			story[n++] = ' ';
		memmove(story + n, from, len);
		n += len;
	}
	story[n] = '\0';
}

/* The words of what went wrong. */
static const char *
where(int type, enum state st, const struct row *row)
{
	static char buf[128];

	snprintf(buf, sizeof(buf), "type %d, %s, row %d (%s)", type,
	    states[st].name, row == NULL ? -1 : (int)(row - rows),
	    row == NULL ? "no call" : row->name);
	return buf;
}

/* What came of it, in words and numbers, is what is wanted. */
static void
check_outcome(const char *at, const struct outcome *o, enum dgi_state after,
    const char *story, unsigned flags)
{
	const bool over_before = strpbrk(story, "feg") != NULL;

	MUST(o->after == after, "%s: state %d, not %d", at, (int)o->after,
	    (int)after);
	MUST(strcmp(o->story, story) == 0, "%s: \"%s\", not \"%s\"", at,
	    o->story, story);
	MUST(strcmp(o->last, over_before ? "" : (flags & SILENT) != 0 ? "f" :
	    "X f") == 0, "%s: at last \"%s\"", at, o->last);
}

static void
check_cell(const char *backend, int type, enum state st,
    const struct row *row, const struct outcome *plain)
{
	const struct cell *c = &row->cells[st];
	const unsigned flags = c->r < 0 ? 0 : row->flags;
	const char *at = where(type, st, row);
	struct outcome o;
	char story[LOG];

	live(backend, type, st, row, &o);
	MUST(sc.r == c->r, "%s: %s (%d), not %s (%d)", at,
	    dgram_err_name(sc.r), sc.r, dgram_err_name(c->r), c->r);
	expand(story, c->after != 0 ? c->story : states[st].story, type);
	if ((flags & SILENT) != 0)
		silence(story);
	check_outcome(at, &o, c->after != 0 ? c->after : states[st].is, story,
	    flags);
	if (c->after == 0)
		MUST(o.named == plain->named && ((flags & DEAF) != 0 ||
		    same_ledger(&o.st, &plain->st)),
		    "%s: the sequel is another", at);
	/* Datagrams to one name share the look-up. */
	MUST(o.asked == plain->asked + ((flags & ASKS) != 0 &&
	    ((flags & SENDS) == 0 || st != LOOKS_UP)),
	    "%s: asked %zu times", at, o.asked);
	MUST(over(&o.st) == over(&plain->st) + ((flags & SENDS) != 0),
	    "%s: a datagram too many, or too few", at);
}

/* All calls in one state; and what becomes of it without any. */
static void
check_state(const char *backend, enum state st)
{
	struct outcome plain;
	char story[LOG];
	size_t i;

	EACH_TYPE(type) {
		if ((states[st].types & 1u << type) == 0)
			continue;
		live(backend, type, st, NULL, &plain);
		expand(story, states[st].story, type);
		check_outcome(where(type, st, NULL), &plain, states[st].is,
		    story, 0);
		for (i = 0; i < COUNT(rows); i++)
			if ((rows[i].types & 1u << type) != 0 &&
			    ((rows[i].flags & NATIVE) == 0 || !test_emulated()))
				check_cell(backend, type, st, &rows[i],
				    &plain);
	}
}

#define CALLS_IN(name, state)						\
	BACKEND_TEST(states, calls_##name)				\
	{								\
		check_state(backend, state);				\
	}

CALLS_IN(unbound, UNBOUND)
CALLS_IN(adopted, ADOPTED)
CALLS_IN(binding, BINDING)
CALLS_IN(binding_to_connect, TO_CONNECT)
CALLS_IN(bound, BOUND)
CALLS_IN(connecting, CONNECTING)
CALLS_IN(connected, CONNECTED)
CALLS_IN(nameless, NAMELESS)
CALLS_IN(nameless_connected, NAMELESS_CONNECTED)
CALLS_IN(looks_up, LOOKS_UP)
CALLS_IN(ends_binding, ENDS_BINDING)
CALLS_IN(ends_bound, ENDS_BOUND)
CALLS_IN(ends_connecting, ENDS_CONNECTING)
CALLS_IN(ends_connected, ENDS_CONNECTED)
CALLS_IN(ends_lookup, ENDS_LOOKUP)
CALLS_IN(closed, CLOSED)
CALLS_IN(closed_in_completion, IN_COMPLETION)
CALLS_IN(closed_in_close, IN_CLOSE)
CALLS_IN(closed_in_function, IN_CLOSE_FN)

/* Rows of one call that do not cover all types: a cell that nobody looks at. */
TEST(states, rows_cover_all_types)
{
	unsigned types;
	size_t i, k;

	for (i = 0; i < COUNT(rows); i++) {
		for (k = 0, types = 0; k < COUNT(rows); k++)
			if (strcmp(rows[i].name, rows[k].name) == 0)
				types |= rows[k].types;
		cr_assert_eq(types, ANY, "%s", rows[i].name);
	}
}

/* ---- stories of their own ---- */

/* What has happened since the last time. */
static void
expect(const char *story)
{
	phase();
	MUST(strcmp(sc.log, story) == 0, "\"%s\", not \"%s\"", sc.log, story);
	sc.log[0] = '\0';
}

/* ... and no more comes but `close`. */
static void
expect_end(const char *story)
{
	expect(story);
	if (sc.s != NULL) {
		OK(dgram_close(sc.s, on_closed, letter('f')));
		expect("X f");
	}
	leave();
}

/* What the last completion that failed, or the last error, was told. */
static void
expect_error(int status, int kind, const char *syscall,
    const struct dgram_addr *addr, const char *host)
{
	MUST(sc.error.status == status && sc.error.kind == kind,
	    "status %d, kind %d", sc.error.status, sc.error.kind);
	MUST(strcmp(sc.error.syscall, syscall) == 0, "%s", sc.error.syscall);
	MUST(addr == NULL ? sc.error_addr.len == 0 :
	    dgram_addr_equal(&sc.error_addr, addr), "another address");
	MUST(strcmp(sc.error_host, host != NULL ? host : "") == 0, "host %s",
	    sc.error_host);
}

/* An action inside of an event of this letter. */
static void
act(char letter, int (*what)(struct dgram_socket *))
{
	sc.on = letter;
	sc.act = what;
}

static int
closes(struct dgram_socket *s)
{
	OK(dgram_close(s, on_closed, letter('f')));
	return 0;
}

/* ---- 2.2: the order of events ---- */

/* Bind returns, then `listening`, then its completion. */
BACKEND_TEST(states, order_of_a_bind)
{
	open_scene(backend, DGRAM_UDP4);
	OK(c_bind_literal(sc.s));
	cr_assert_eq(sc.log[0], '\0');
	expect_end("L d0");

	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	expect("");
	OK(answer(0));
	cr_assert_eq(sc.log[0], '\0');
	expect_end("L b0");
}

static int
is_ready(struct dgram_socket *s)
{
	struct dgram_addr a;

	OK(dgram_address(s, &a));
	cr_assert(dgram_addr_port(&a) != 0);
	cr_assert(dgi_socket_reads(s));
	cr_assert_eq(CALL(dgram_get_recv_buffer_size(s)),
	    ON_LINUX ? 40000 : 20000);
	return 1;
}

/* `listening` follows the bind, the buffers and the start of reading. */
BACKEND_TEST(states, order_listening_is_last)
{
	struct dgram_addr a;

	open_with(backend, DGRAM_UDP4,
	    (struct dgram_options){ .recv_buffer_size = 20000 });
	OK(c_bind_literal(sc.s));
	OK(dgram_address(sc.s, &a));
	bare_send(sc.peer_fd, &a, 1);
	act('L', is_ready);
	expect("L d0 M4");
	cr_assert_eq(sc.r, 1);
	expect_end("");
}

/* One FIFO behind a bind: `listening`, bind, `connect`, connect, sends. */
BACKEND_TEST(states, order_behind_a_bind)
{
	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	OK(send_to(&sc.other, 1, 's'));
	OK(send_to(&sc.peer, 2, 't'));
	OK(connect_to(sc.s, dgram_addr_port(&sc.peer), literal()));
	OK(send_to(&sc.other, 3, 'u'));
	expect("");
	OK(answer(0));
	expect("L b0 C d0 s1 t2 u3 >p2 >o1 >o3");
	OK(send_to(NULL, 4, 'v'));
	expect_end("v4 >p4");

	/* An implicit bind, a connect that takes its time, what follows it. */
	open_scene(backend, DGRAM_UDP4);
	OK(connect_name('c'));
	OK(send_to(&sc.other, 3, 's'));
	expect("L s3 >o3");
	OK(answer(0));
	expect_end("C c0");
}

/* Completions come in the order of the calls, and before what they cause. */
BACKEND_TEST(states, order_of_sends)
{
	struct dgram_addr a;

	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	OK(dgram_address(sc.s, &a));
	OK(send_to(&a, 1, 's'));
	OK(send_to(&a, 2, 't'));
	OK(send_to(&a, 3, 'u'));
	cr_assert_eq(sc.log[0], '\0');
	expect_end("s1 t2 u3 M1 M2 M3");
}

/* All that is outstanding comes before `close`, and nothing behind it. */
BACKEND_TEST(states, order_of_a_close)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		bind_here();
		sc.log[0] = '\0';
		OK(send_to(&sc.other, 1, 's'));
		OK(send_to(&sc.other, 2, 't'));
		OK(send_to(&sc.other, 3, '\0'));
		fault_sends(&sc.f, -EAGAIN);
		OK(dgram_close(sc.s, on_closed, letter('f')));
		expect_end("s:ECANCELED t:ECANCELED X f");
	}
}

/* Closes in the twelfth message. */
static int
closes_late(struct dgram_socket *s)
{
	if (strlen(sc.log) == 12 * strlen("M4 ") - 1)
		return closes(s);
	act('M', closes_late);
	return 0;
}

/* No message behind a close, of those that have been received with it. */
BACKEND_TEST(states, order_no_message_after_close)
{
	struct dgram_addr a;
	uint32_t i;

	open_with(backend, DGRAM_UDP4,
	    (struct dgram_options){ .messages_per_call = 1 });
	bind_here();
	sc.log[0] = '\0';
	OK(dgram_address(sc.s, &a));
	/* Enough that they are read by several at once. */
	for (i = 0; i < 60; i++)
		bare_send(sc.peer_fd, &a, i);
	act('M', closes_late);
	expect_end("M4 M4 M4 M4 M4 M4 M4 M4 M4 M4 M4 M4 X f");
}

/* What was sent before a connect goes first, and where it was addressed to. */
BACKEND_TEST(states, order_of_a_connect_behind_sends)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		bind_here();
		sc.log[0] = '\0';
		OK(send_to(&sc.other, 3, 's'));
		OK(dgram_connect_addr(sc.s, &sc.peer));
		arrived(sc.other_fd, 'o');
		cr_assert(strcmp(sc.log, ">o3") == 0, "%s", sc.log);
		OK(send_to(NULL, 2, 't'));
		expect_end(">o3 C s3 t2 >p2");
	}
}

/* Two names, of which the first is slow and arrives second; literals. */
BACKEND_TEST(states, order_of_names)
{
	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	OK(send_name(1, 's'));
	OK(send_name(2, 't'));
	OK(CALL(dgram_send(sc.s, payload(3), 3, dgram_addr_port(&sc.peer), PEER_NAME,
	    on_done, letter('u'))));
	OK(send_at(sc.s, dgram_addr_port(&sc.other), literal()));
	expect("d4 >o4");
	cr_assert_eq(sc.asked, 2, "asked %zu times", sc.asked);
	sc.answered = 1;
	OK(answer(0));
	expect("u3 >p3");
	sc.answered = 0;
	OK(answer(0));
	expect_end("s1 t2 >o1 >o2");
}

/* ---- 2.3: where results go ---- */

/* An argument or a state: returned, and nothing else. */
BACKEND_TEST(states, result_of_a_refusal)
{
	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	CHECK(c_bind(sc.s), ALREADY_BOUND);
	CHECK(c_connect_port(sc.s), BAD_PORT);
	CHECK(c_send_port(sc.s), BAD_PORT);
	CHECK(c_send_foreign(sc.s), -EINVAL);
	CHECK(c_disconnect(sc.s), NOT_CONNECTED);
	expect("");
	cr_assert_eq(sc.asked, 0);
	expect_end("");

	/* No queue yet, and nothing to send with. */
	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	CHECK(c_try(sc.s), -EAGAIN);
	CHECK(c_flush(sc.s), 0);
	quiet();
	OK(answer(0));
	expect("L b0");
	CHECK(c_try(sc.s), 1);
	expect_end(">o4");
}

/* A bind whose name is not found: to the completion, else `error`; unbound. */
BACKEND_TEST(states, result_of_a_bind_lookup)
{
	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	quiet();
	OK(answer(DGRAM_ENOTFOUND));
	cr_assert_eq(sc.s->state, DGI_UNBOUND);
	expect("b:ENOTFOUND");
	expect_error(DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP, "getaddrinfo", NULL,
	    BOUND_NAME);
	OK(bind_name('\0'));
	quiet();
	OK(answer(DGRAM_EAI_AGAIN));
	expect("E:EAI_AGAIN");
	expect_error(DGRAM_EAI_AGAIN, DGRAM_IN_LOOKUP, "getaddrinfo", NULL,
	    BOUND_NAME);
	expect_end("");
}

/* The kernel refuses the address: the same, and it tells the address. */
BACKEND_TEST(states, result_of_a_bind)
{
	open_scene(backend, DGRAM_UDP4);
	OK(CALL(dgram_bind(sc.s, dgram_addr_port(&sc.other), BOUND_NAME,
	    on_done, letter('b'))));
	quiet();
	OK(answer(0));
	expect("b:EADDRINUSE");
	expect_error(-EADDRINUSE, DGRAM_IN_BIND, "bind", &sc.other, NULL);
	OK(CALL(dgram_bind(sc.s, dgram_addr_port(&sc.other), BOUND_NAME, NULL,
	    NULL)));
	quiet();
	OK(answer(0));
	cr_assert_eq(sc.s->state, DGI_UNBOUND);
	expect("E:EADDRINUSE");
	expect_error(-EADDRINUSE, DGRAM_IN_BIND, "bind", &sc.other, NULL);
	/* A literal's is returned, with nothing behind it. */
	CHECK(bind_to(sc.s, dgram_addr_port(&sc.other), literal()),
	    -EADDRINUSE);
	expect("");
	cr_assert_eq(sc.s->state, DGI_UNBOUND);
	CHECK(dgram_fileno(sc.s), -EBADF);
	expect_end("");
}

/* A descriptor that cannot be adopted: returned, and still the caller's. */
BACKEND_TEST(states, result_of_a_bind_fd)
{
	int stream = socket(AF_INET, SOCK_STREAM, 0), file;

	file = open("/dev/null", O_RDONLY);
	cr_assert(stream >= 0 && file >= 0);
	open_scene(backend, DGRAM_UDP4);
	CHECK(dgram_bind_fd(sc.s, stream), DGRAM_ERR_INVALID_FD_TYPE);
	CHECK(dgram_bind_fd(sc.s, file), DGRAM_ERR_INVALID_FD_TYPE);
	CHECK(dgram_bind_fd(sc.s, -1), -EBADF);
	cr_assert_eq(sc.s->state, DGI_UNBOUND);
	cr_assert_eq(close(stream), 0);
	cr_assert_eq(close(file), 0);
	OK(c_bind_fd(sc.s));
	expect_end("L");
}

/* A connect by name: to the completion, else `error`; bound again. */
BACKEND_TEST(states, result_of_a_connect)
{
	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	OK(connect_name('c'));
	quiet();
	OK(answer(DGRAM_ENOTFOUND));
	cr_assert_eq(sc.s->state, DGI_BOUND);
	expect("c:ENOTFOUND");
	expect_error(DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP, "getaddrinfo", NULL,
	    PEER_NAME);
	OK(connect_name('\0'));
	quiet();
	OK(answer(-ETIMEDOUT));
	expect("E:ETIMEDOUT");
	expect_error(-ETIMEDOUT, DGRAM_IN_LOOKUP, "getaddrinfo", NULL,
	    PEER_NAME);
	/* The kernel's. */
	fault_always(&sc.f, FAULT_CONNECT, -ENETUNREACH);
	OK(connect_name('c'));
	quiet();
	OK(answer(0));
	expect("c:ENETUNREACH");
	expect_error(-ENETUNREACH, DGRAM_IN_CONNECT, "connect", &sc.peer,
	    NULL);
	OK(connect_name('\0'));
	quiet();
	OK(answer(0));
	expect("E:ENETUNREACH");
	expect_error(-ENETUNREACH, DGRAM_IN_CONNECT, "connect", &sc.peer,
	    NULL);
	CHECK(c_connect_literal(sc.s), -ENETUNREACH);
	fault_always(&sc.f, FAULT_CONNECT, 0);
	cr_assert_eq(sc.s->state, DGI_BOUND);
	OK(send_to(&sc.other, 3, 's'));
	expect_end("s3 >o3");
}

/* A connect that fails and does not wait for the bind any more. */
BACKEND_TEST(states, result_of_a_connect_behind_a_bind)
{
	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	OK(connect_name('c'));
	quiet();
	sc.answered = 1;
	OK(answer(DGRAM_ENOTFOUND));
	cr_assert_eq(sc.s->state, DGI_BINDING);
	expect("c:ENOTFOUND");
	OK(connect_name('c'));
	quiet();
	cr_assert_eq(sc.s->state, DGI_BINDING_TO_CONNECT);
	OK(answer(0));
	expect("");
	sc.answered = 0;
	OK(answer(0));
	expect_end("L b0 C c0");
}

/* A send to a name that is not found. */
BACKEND_TEST(states, result_of_a_send_lookup)
{
	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	OK(send_name(3, 's'));
	OK(send_name(2, '\0'));
	OK(send_name(1, 't'));
	quiet();
	cr_assert_eq(sc.asked, 1);
	OK(answer(DGRAM_ENOTFOUND));
	cr_assert_eq(dgram_get_send_queue_count(sc.s), 0);
	cr_assert_eq(dgram_get_send_queue_size(sc.s), 0);
	expect("s:ENOTFOUND E:ENOTFOUND t:ENOTFOUND");
	expect_error(DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP, "getaddrinfo", NULL,
	    OTHER_NAME);
	expect("");
	OK(dgram_close(sc.s, on_closed, letter('f')));
	expect("X f");
	cr_assert_eq(sc.last.failed, 3);
	leave();
}

/* A send that the kernel refuses: told once, with a completion or without. */
BACKEND_TEST(states, result_of_a_send)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		bind_here();
		sc.log[0] = '\0';
		fault_sends(&sc.f, -EPERM);
		OK(send_to(&sc.other, 3, 's'));
		expect("s:EPERM");
		expect_error(-EPERM, DGRAM_IN_SEND, "send", &sc.other, NULL);
		OK(send_to(&sc.other, 3, '\0'));
		expect("E:EPERM");
		expect_error(-EPERM, DGRAM_IN_SEND, "send", &sc.other, NULL);
		if (type != DGRAM_UNIX) {
			OK(send_name(3, 's'));
			OK(send_name(3, '\0'));
			quiet();
			OK(answer(0));
			expect("s:EPERM E:EPERM");
			expect_error(-EPERM, DGRAM_IN_SEND, "send", &sc.other,
			    NULL);
		}
		fault_sends(&sc.f, 0);
		expect_end("");
	}
}

/* What is accepted at once, and what the loop has queued, tells the same. */
BACKEND_TEST(states, result_of_what_was_sent)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		bind_here();
		sc.log[0] = '\0';
		OK(send_to(&sc.other, 3, 's'));
		expect("s3 >o3");
		fault_sends(&sc.f, -EAGAIN);
		OK(send_to(&sc.other, 3, 's'));
		expect("");
		fault_sends(&sc.f, 0);
		ACCEPT(dgram_flush(sc.s));
		expect_end("s3 >o3");
	}
}

/* A failure to receive is an event; the socket reads on. */
BACKEND_TEST(states, result_of_receiving)
{
	struct dgram_addr a;

	EACH_TYPE(type) {
		open_scene(backend, type);
		bind_here();
		sc.log[0] = '\0';
		OK(dgram_address(sc.s, &a));
		fault_at(&sc.f, FAULT_READ_ONE(type), 1, -EIO);
		bare_send(sc.peer_fd, &a, 1);
		expect("E:EIO M4");
		expect_error(-EIO, DGRAM_IN_RECEIVE, "recvmsg", NULL, NULL);
		/* It tells the peer, as long as there is one. */
		OK(dgram_connect_addr(sc.s, &sc.peer));
		fault_at(&sc.f, FAULT_READ_ONE(type), 1, -EIO);
		bare_send(sc.peer_fd, &a, 1);
		expect("C E:EIO M4");
		expect_error(-EIO, DGRAM_IN_RECEIVE, "recvmsg", &sc.peer,
		    NULL);
		OK(dgram_disconnect(sc.s));
		fault_at(&sc.f, FAULT_READ_ONE(type), 1, -EIO);
		bare_send(sc.peer_fd, &a, 1);
		expect("E:EIO M4");
		expect_error(-EIO, DGRAM_IN_RECEIVE, "recvmsg", NULL, NULL);
		expect_end("");
	}
}

/* Inside of a completion its failure can be asked for, elsewhere none. */
BACKEND_TEST(states, result_that_can_be_asked_for)
{
	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	fault_sends(&sc.f, -EPERM);
	sc.r = 0;
	act('s', c_failure);
	OK(send_to(&sc.other, 3, 's'));
	expect("s:EPERM");
	cr_assert_eq(sc.r, -EPERM);
	CHECK(c_failure(sc.s), -ENOENT);
	act('E', c_failure);
	OK(send_to(&sc.other, 3, '\0'));
	expect("E:EPERM");
	cr_assert_eq(sc.r, -ENOENT);
	fault_sends(&sc.f, 0);
	act('s', c_failure);
	OK(send_to(&sc.other, 3, 's'));
	expect("s3 >o3");
	cr_assert_eq(sc.r, -ENOENT);
	expect_end("");
}

/* Setters and getters return what the kernel says, and tell nobody. */
BACKEND_TEST(states, result_of_a_getter)
{
	struct dgram_addr a;

	EACH_TYPE(type) {
		open_scene(backend, type);
		bind_here();
		sc.log[0] = '\0';
		OK(dgram_connect_addr(sc.s, &sc.peer));
		expect("C");
		fault_always(&sc.f, FAULT_GETSOCKNAME, -ENOBUFS);
		CHECK(dgram_address(sc.s, &a), -ENOBUFS);
		fault_always(&sc.f, FAULT_GETSOCKNAME, 0);
		fault_always(&sc.f, FAULT_GETPEERNAME, -ENOBUFS);
		CHECK(dgram_remote_address(sc.s, &a), -ENOBUFS);
		fault_always(&sc.f, FAULT_GETPEERNAME, 0);
		fault_always(&sc.f, FAULT_SETSOCKOPT, -EPERM);
		CHECK(dgram_set_broadcast(sc.s, 1), -EPERM);
		CHECK(dgram_set_ttl(sc.s, 9), type == DGRAM_UNIX ? -ENOTSUP :
		    -EPERM);
		fault_always(&sc.f, FAULT_SETSOCKOPT, 0);
		expect_end("");
	}
}

/* A failure that nobody listens to ends nothing. */
BACKEND_TEST(states, result_that_nobody_hears)
{
	open_scene(backend, DGRAM_UDP4);
	OK(dgram_set_events(sc.s, NULL, NULL));
	OK(bind_name('\0'));
	OK(send_to(&sc.other, 3, '\0'));
	quiet();
	OK(answer(-EACCES));
	expect("");
	OK(dgram_set_events(sc.s, &events, NULL));
	OK(bind_name('b'));
	quiet();
	OK(answer(0));
	expect_end("L b0");
}

/* ---- 2.4: closes that race ---- */

/* The bind is not attempted, and an answer that is late is nobody's. */
BACKEND_TEST(states, race_close_bind_lookup)
{
	size_t asked;

	for (asked = 0; asked < 2; asked++) {
		open_scene(backend, DGRAM_UDP4);
		OK(bind_name(asked == 0 ? '\0' : 'b'));
		if (asked == 1)
			quiet();
		cr_assert_eq(sc.asked, asked);
		OK(dgram_close(sc.s, on_closed, letter('f')));
		if (asked == 1)
			CHECK(answer(0), -ENOENT);
		expect(asked == 0 ? "X f" : "b:ECANCELED X f");
		cr_assert_eq(sc.f.entry[FAULT_SOCKET].calls, 0);
		cr_assert_eq(sc.f.entry[FAULT_BIND].calls, 0);
		cr_assert_eq(sc.asked, asked, "asked for nobody");
		if (asked == 1) {
			sc.answered = 0;
			CHECK(answer(DGRAM_ENOTFOUND), -ENOENT);
		}
		expect_end("");
	}
}

/* An implicit bind by a send, and a close: rule 3, it is sent. */
BACKEND_TEST(states, race_implicit_bind_send_close)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		OK(send_to(&sc.other, 3, 's'));
		OK(dgram_close(sc.s, on_closed, letter('f')));
		expect_end("s3 X f >o3");
	}
	/* A name has no address: cut off, and never asked for. */
	open_scene(backend, DGRAM_UDP4);
	OK(send_name(3, 's'));
	OK(dgram_close(sc.s, on_closed, letter('f')));
	expect("s:ECANCELED X f");
	cr_assert_eq(sc.asked, 0);
	expect_end("");
}

BACKEND_TEST(states, race_send_close)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		bind_here();
		sc.log[0] = '\0';
		OK(send_to(&sc.other, 3, 's'));
		OK(send_to(&sc.other, 2, '\0'));
		OK(dgram_close(sc.s, on_closed, letter('f')));
		expect_end("s3 X f >o3 >o2");
	}
}

/* What waits for a name is cut off, those with an address go. */
BACKEND_TEST(states, race_send_close_lookup)
{
	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	OK(send_name(3, 's'));
	OK(send_name(2, '\0'));
	quiet();
	OK(send_to(&sc.other, 1, 't'));
	OK(dgram_close(sc.s, on_closed, letter('f')));
	CHECK(answer(DGRAM_ENOTFOUND), -ENOENT);
	expect("t1 s:ECANCELED X f >o1");
	cr_assert_eq(sc.last.cancelled, 2);
	cr_assert_eq(sc.last.sent, 1);
	leave();
}

BACKEND_TEST(states, race_connected_send_close)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		OK(dgram_connect_addr(sc.s, &sc.peer));
		quiet();
		sc.log[0] = '\0';
		OK(send_to(NULL, 3, 's'));
		OK(dgram_close(sc.s, on_closed, letter('f')));
		expect_end("s3 X f >p3");
	}
}

/* In `listening`, with sends behind the bind: they go, it has succeeded. */
BACKEND_TEST(states, race_close_in_listening)
{
	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	OK(send_to(&sc.other, 3, 's'));
	OK(send_name(2, 't'));
	quiet();
	OK(answer(0));
	act('L', closes);
	expect_end("L b0 s3 t:ECANCELED X f >o3");

	/* Between the answer and what would be told: no event. */
	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	OK(connect_to(sc.s, dgram_addr_port(&sc.peer), literal()));
	quiet();
	OK(answer(0));
	OK(dgram_close(sc.s, on_closed, letter('f')));
	expect_end("b0 d0 X f");
}

BACKEND_TEST(states, race_close_connecting)
{
	int status;

	for (status = 0; status < 2; status++) {
		open_scene(backend, DGRAM_UDP4);
		bind_here();
		sc.log[0] = '\0';
		OK(connect_name('c'));
		quiet();
		OK(dgram_close(sc.s, on_closed, letter('f')));
		CHECK(answer(-status), -ENOENT);
		expect_end("c:ECANCELED X f");
	}
	/* Its result is known. */
	open_scene(backend, DGRAM_UDP4);
	OK(connect_name('c'));
	expect("L");
	OK(answer(0));
	OK(dgram_close(sc.s, on_closed, letter('f')));
	expect_end("c0 X f");
}

/* Behind a bind that fails: close wins, whichever comes first. */
BACKEND_TEST(states, race_close_failing_bind)
{
	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	OK(send_to(&sc.other, 3, 's'));
	quiet();
	OK(answer(-EADDRINUSE));
	OK(dgram_close(sc.s, on_closed, letter('f')));
	expect_end("b:EADDRINUSE s:EADDRINUSE X f");

	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	OK(send_to(&sc.other, 3, 's'));
	quiet();
	act('b', closes);
	OK(answer(-EADDRINUSE));
	expect_end("b:EADDRINUSE s:EADDRINUSE X f");

	/* An end behind it: nothing waits any more. */
	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	OK(send_to(&sc.other, 3, 's'));
	OK(dgram_end(sc.s, on_closed, letter('e')));
	quiet();
	OK(answer(-EADDRINUSE));
	expect_end("b:EADDRINUSE s:EADDRINUSE X e");
}

/* A connect that waits for a bind that fails: the bind's error, and unbound. */
BACKEND_TEST(states, race_connect_failing_bind)
{
	int way;

	for (way = 0; way < 4; way++) {
		open_scene(backend, DGRAM_UDP4);
		OK(CALL(dgram_bind(sc.s, dgram_addr_port(&sc.other),
		    BOUND_NAME, on_done, letter('b'))));
		if (way < 2)
			OK(connect_name('c'));
		else
			OK(connect_to(sc.s, dgram_addr_port(&sc.peer),
			    literal()));
		quiet();
		/* By the kernel, or by the look-up. */
		OK(answer(way % 2 == 0 ? 0 : -EADDRINUSE));
		cr_assert_eq(sc.s->state, DGI_UNBOUND);
		if (way < 2)
			CHECK(answer(0), -ENOENT);
		expect(way < 2 ? "b:EADDRINUSE c:EADDRINUSE" :
		    "b:EADDRINUSE d:EADDRINUSE");
		OK(c_connect_literal(sc.s));
		expect_end("L C d0");
	}
}

/* Sends that wait for a bind that fails, with an address and with a name. */
BACKEND_TEST(states, race_send_failing_bind)
{
	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('\0'));
	OK(send_to(&sc.other, 3, 's'));
	OK(send_name(2, 't'));
	OK(send_to(&sc.other, 1, '\0'));
	quiet();
	cr_assert_eq(dgram_get_send_queue_count(sc.s), 3);
	OK(answer(-EACCES));
	cr_assert_eq(dgram_get_send_queue_count(sc.s), 0);
	CHECK(answer(0), -ENOENT);
	expect("E:EACCES s:EACCES E:EACCES t:EACCES");
	/* The name is asked for again. */
	OK(send_name(2, 't'));
	quiet();
	OK(answer(0));
	expect("L t2 >o2");
	OK(dgram_close(sc.s, on_closed, letter('f')));
	expect("X f");
	cr_assert_eq(sc.last.failed, 3);
	leave();
}

static int
send_in_configure(int fd, void *arg)
{
	(void)fd, (void)arg;
	OK(send_to(&sc.other, 3, 's'));
	OK(send_name(2, 't'));
	return 0;
}

/* Sent by configure(), inside of the call that binds, and then that fails. */
BACKEND_TEST(states, race_send_in_a_failing_bind)
{
	int way;

	for (way = 0; way < 3; way++) {
		open_with(backend, DGRAM_UDP4, (struct dgram_options){
		    .configure = send_in_configure });
		if (way < 2)
			fault_at(&sc.f, FAULT_BIND, 1, -EADDRINUSE);
		if (way == 0)
			CHECK(c_bind_addr(sc.s), -EADDRINUSE);
		else
			CHECK(c_bind_literal(sc.s), way == 1 ? -EADDRINUSE :
			    0);
		expect(way < 2 ? "s:EADDRINUSE t:EADDRINUSE" :
		    "L d0 s3 >o3");
		cr_assert_eq(sc.asked, way == 2);
		if (way == 2)
			OK(answer(0));
		expect_end(way == 2 ? "t2 >o2" : "");
	}
}

static int
connect_name_in_configure(int fd, void *arg)
{
	(void)fd, (void)arg;
	return connect_name('c');
}

static int
connect_in_configure(int fd, void *arg)
{
	(void)fd, (void)arg;
	return connect_to(sc.s, dgram_addr_port(&sc.peer), literal());
}

/* Connected by configure(), behind the bind that it is called from. */
BACKEND_TEST(states, race_connect_in_a_bind)
{
	bool by_name;
	int way;

	for (way = 0; way < 4; way++) {
		by_name = way % 2 == 0;
		open_with(backend, DGRAM_UDP4, (struct dgram_options){
		    .configure = by_name ? connect_name_in_configure :
		    connect_in_configure });
		if (way < 2)
			OK(c_bind_addr(sc.s));
		else
			CHECK(dgram_connect_addr(sc.s, &sc.other),
			    IS_CONNECTED);
		expect(by_name ? "L" : "L C d0");
		if (by_name) {
			OK(answer(0));
			expect("C c0");
		}
		cr_assert(dgram_addr_equal(&sc.s->peer, &sc.peer));
		expect_end("");
	}
}

BACKEND_TEST(states, race_double_close)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		OK(dgram_close(sc.s, on_closed, letter('f')));
		CHECK(dgram_close(sc.s, on_closed, letter('g')), NOT_RUNNING);
		CHECK(dgram_end(sc.s, on_closed, letter('g')), NOT_RUNNING);
		expect_end("X f");
	}
}

/* A drain that is owed when its socket is closed. */
BACKEND_TEST(states, race_close_before_drain)
{
	int way;

	for (way = 0; way < 3; way++) {
		open_with(backend, DGRAM_UDP4,
		    (struct dgram_options){ .send_queue_count = 2 });
		bind_here();
		sc.log[0] = '\0';
		block(&sc.other);
		OK(send_to(&sc.other, 2, 't'));
		CHECK(send_to(&sc.other, 1, 'u'), -ENOBUFS);
		quiet();
		fault_sends(&sc.f, 0);
		CHECK(dgram_flush(sc.s), 0);
		if (way > 0)
			act(way == 1 ? 's' : 'D', closes);
		expect_end(way == 0 ? "s3 t2 D >o3 >o2" : way == 1 ?
		    "s3 t2 X f >o3 >o2" : "s3 t2 D X f >o3 >o2");
	}
}

/* A close in each event and completion that there is. */
BACKEND_TEST(states, race_close_in_events)
{
	static const struct {
		char in;
		const char *story;
	} v[] = {
		{ 'L', "L b0 c0 s3 t2 X f >o3 >o2" },
		{ 'b', "L b0 c0 s3 t2 X f >o3 >o2" },
		{ 'C', "L b0 C c0 s3 t2 X f >o3 >o2" },
		{ 'c', "L b0 C c0 s3 t2 X f >o3 >o2" },
		{ 's', "L b0 C c0 s3 t2 X f >o3 >o2" },
		{ 't', "L b0 C c0 s3 t2 X f >o3 >o2" },
	};
	size_t i;

	for (i = 0; i < COUNT(v); i++) {
		open_scene(backend, DGRAM_UDP4);
		OK(bind_name('b'));
		OK(connect_name('c'));
		OK(send_to(&sc.other, 3, 's'));
		OK(send_to(&sc.other, 2, 't'));
		quiet();
		act(v[i].in, closes);
		OK(answer(0));
		OK(answer(0));
		expect_end(v[i].story);
	}
}

static int
answers(struct dgram_socket *s)
{
	struct dgram_addr a = loopback(0);

	(void)s;
	CHECK(dgram_lookup_done(sc.l, sc.asks[0].id, 0, &a), 0);
	return 0;
}

/* In the hook itself: a close, and an answer. */
BACKEND_TEST(states, race_close_in_the_hook)
{
	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	act('?', closes);
	OK(send_name(3, 's'));
	OK(connect_name('c'));
	expect("c:ECANCELED s:ECANCELED X f");
	cr_assert_eq(sc.asked, 1);
	expect_end("");

	open_scene(backend, DGRAM_UDP4);
	act('?', answers);
	OK(bind_name('b'));
	expect("L b0");
	CHECK(answer(0), -ENOENT);
	expect_end("");
}

static int
connects_in_vain(struct dgram_socket *s)
{
	fault_always(&sc.f, FAULT_SOCKET, -EMFILE);
	CHECK(connect_name('c'), -EMFILE);
	fault_always(&sc.f, FAULT_SOCKET, 0);
	return closes(s);
}

static void
other_done(struct dgram_socket *s, int status, void *arg)
{
	(void)s, (void)arg;
	say("o%d", status);
	acts('o');
}

static int
sends_and_closes(struct dgram_socket *s)
{
	OK(send_name(1, '\0'));
	return closes(s);
}

/* A hook that is still to be called, and nobody any more to be asked for. */
BACKEND_TEST(states, race_close_before_the_hook)
{
	struct dgram_options o = { .type = DGRAM_UDP4 };
	struct iovec iov = { payload(4), 4 };
	struct dgram_socket *other;

	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	quiet();
	act('b', connects_in_vain);
	OK(answer(-EACCES));
	expect_end("b:EACCES X f");
	cr_assert_eq(sc.asked, 1);

	/* It has something to tell in this turn, behind another socket. */
	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	OK(dgram_open(sc.l, &o, &other));
	OK(CALL(dgram_send_addr(other, &iov, 1, &sc.other, other_done,
	    NULL)));
	OK(send_to(&sc.other, 3, 's'));
	act('o', sends_and_closes);
	expect("o4 s3 X f >o4 >o3");
	cr_assert_eq(sc.asked, 0);
	expect_end("");
}

/* An end, and what it waits for is cut off by a close. */
BACKEND_TEST(states, race_end_close)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		bind_here();
		sc.log[0] = '\0';
		block(&sc.other);
		OK(dgram_end(sc.s, on_closed, letter('e')));
		CHECK(dgram_end(sc.s, on_closed, letter('g')), NOT_RUNNING);
		OK(dgram_close(sc.s, on_closed, letter('f')));
		expect_end("s:ECANCELED X e f");
	}
}

/* An end that waits for nothing but a bind, however that ends. */
BACKEND_TEST(states, race_end_binding)
{
	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	OK(dgram_end(sc.s, on_closed, letter('e')));
	expect("");
	OK(answer(0));
	expect_end("b0 X e");

	open_scene(backend, DGRAM_UDP4);
	OK(bind_name('b'));
	OK(dgram_end(sc.s, on_closed, letter('e')));
	expect("");
	OK(answer(-EACCES));
	expect_end("b:EACCES X e");
}

/* An end that waits for names and for the kernel: for the last of them. */
BACKEND_TEST(states, race_end_of_several)
{
	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	block(&sc.other);
	OK(send_name(2, 't'));
	OK(connect_name('c'));
	OK(dgram_end(sc.s, on_closed, letter('e')));
	quiet();
	OK(answer(DGRAM_ENOTFOUND));
	expect("t:ENOTFOUND");
	OK(answer(-ETIMEDOUT));
	expect("c:ETIMEDOUT");
	fault_sends(&sc.f, 0);
	ACCEPT(dgram_flush(sc.s));
	expect_end("s3 X e >o3");
}

/* ---- 2.5: used again ---- */

/* After a bind that failed: another one, also to another port. */
BACKEND_TEST(states, reuse_after_a_failed_bind)
{
	int way;

	for (way = 0; way < 3; way++) {
		open_scene(backend, DGRAM_UDP4);
		if (way == 0) {
			CHECK(dgram_bind_addr(sc.s, &sc.other), -EADDRINUSE);
		} else {
			OK(CALL(dgram_bind(sc.s, dgram_addr_port(&sc.other),
			    BOUND_NAME, on_done, letter('b'))));
			quiet();
			OK(answer(way == 1 ? 0 : -EADDRINUSE));
		}
		expect(way == 0 ? "" : "b:EADDRINUSE");
		cr_assert_eq(sc.s->state, DGI_UNBOUND);
		CHECK(dgram_fileno(sc.s), -EBADF);
		/* All ways to be bound. */
		CHECK(c_bind_fd(sc.s), 0);
		OK(send_to(&sc.other, 3, 's'));
		expect_end("L s3 >o3");
	}
}

static int
binds_again(struct dgram_socket *s)
{
	act('E', binds_again);
	return CALL(dgram_bind(s, 0, BOUND_NAME, NULL, NULL));
}

/* In the event that tells of the failure, twenty times. */
BACKEND_TEST(states, reuse_in_the_error)
{
	int i;

	open_scene(backend, DGRAM_UDP4);
	act('E', binds_again);
	OK(bind_name('\0'));
	for (i = 0; i < 20; i++) {
		quiet();
		OK(answer(-EADDRINUSE));
		expect("E:EADDRINUSE");
		cr_assert_eq(sc.r, 0);
		cr_assert_eq(sc.s->state, DGI_BINDING);
	}
	quiet();
	OK(answer(0));
	expect_end("L");
}

/* Connected, not, connected to another; directly it is refused. */
BACKEND_TEST(states, reuse_after_a_disconnect)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		OK(dgram_connect_addr(sc.s, &sc.peer));
		CHECK(dgram_connect_addr(sc.s, &sc.other), IS_CONNECTED);
		OK(send_to(NULL, 3, 's'));
		OK(dgram_disconnect(sc.s));
		OK(dgram_connect_addr(sc.s, &sc.other));
		OK(send_to(NULL, 2, 't'));
		expect(type == DGRAM_UNIX ? "C s3 t2 >p3 >o2" :
		    "L C s3 t2 >p3 >o2");
		if (type != DGRAM_UNIX) {
			OK(dgram_disconnect(sc.s));
			OK(connect_name('c'));
			quiet();
			OK(answer(0));
			OK(send_to(NULL, 1, 'u'));
			expect("C c0 u1 >p1");
		}
		expect_end("");
	}
}

/* Told nothing of a connect that was taken back. */
BACKEND_TEST(states, reuse_without_connect)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		bind_here();
		sc.log[0] = '\0';
		OK(dgram_connect_addr(sc.s, &sc.peer));
		OK(dgram_disconnect(sc.s));
		expect_end("");
	}
}

/* What waits for the peer fails with the connection, the rest goes. */
BACKEND_TEST(states, reuse_of_what_waits)
{
	EACH_TYPE(type) {
		open_scene(backend, type);
		bind_here();
		sc.log[0] = '\0';
		block(&sc.other);
		OK(dgram_connect_addr(sc.s, &sc.peer));
		OK(send_to(NULL, 2, 't'));
		OK(send_to(NULL, 1, '\0'));
		expect("C");
		OK(dgram_disconnect(sc.s));
		expect("t:ENOTCONN E:ENOTCONN");
		fault_sends(&sc.f, 0);
		ACCEPT(dgram_flush(sc.s));
		expect_end("s3 >o3");
	}
}

/* Nothing leads out of a closed socket; the table has each call. */
BACKEND_TEST(states, reuse_after_a_close)
{
	open_scene(backend, DGRAM_UDP4);
	bind_here();
	sc.log[0] = '\0';
	OK(dgram_close(sc.s, on_closed, letter('f')));
	CHECK(c_bind(sc.s), NOT_RUNNING);
	CHECK(c_bind_fd(sc.s), NOT_RUNNING);
	cr_assert_eq(sc.s->state, DGI_CLOSED);
	expect_end("X f");
}
