/* SPDX-License-Identifier: ISC */

/*
 * Random programs: model.h says what for.
 */

#include "model.h"

#include "core/loop.h"

#include <netinet/in.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS		UINT64_C(1000000)
#define PORT		4000u
#define PATHS		6u
#define CROWD_PATHS	3u
#define NOT_RUNNING	DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING
#define IS_CONNECTED	DGRAM_ERR_SOCKET_DGRAM_IS_CONNECTED
#define NOT_CONNECTED	DGRAM_ERR_SOCKET_DGRAM_NOT_CONNECTED
#define ALREADY_BOUND	DGRAM_ERR_SOCKET_ALREADY_BOUND
#define BAD_PORT	DGRAM_ERR_SOCKET_BAD_PORT

/* Completions that may wait to be told. */
#define UNTOLD_MOST	4096u

#define BIT(call)	(1u << (call))
/* What may fail in a bind that makes the descriptor. */
#define BIND_CALLS	(BIT(SIM_SOCKET) | BIT(SIM_SETSOCKOPT) | \
			BIT(SIM_BIND) | BIT(SIM_SET))

/* ---- choices ---- */

static struct m_socket *
any_socket(struct model *m)
{
	unsigned i, k = m_below(m, M_SOCKETS);

	for (i = 0; i < M_SOCKETS; i++, k = (k + 1) % M_SOCKETS) {
		if (m_may_touch(&m->sockets[k]))
			return &m->sockets[k];
	}
	return NULL;
}

static void
path_of(unsigned k, char *path)
{
	/* Addresses of both sizes. */
	snprintf(path, SIM_PATH, (k & 1) != 0 ? "/s/%u" :
	    "/a/directory/with/a/long/name/%u", k % 10);
}

/* Host 0 is the wildcard, 1 the loopback, others of 10/8, -1 is not routed. */
static void
make_addr(struct dgram_addr *a, int type, int host, unsigned port)
{
	char path[SIM_PATH];

	memset(a, 0, offsetof(struct dgram_addr, u) + sizeof(a->u.in6));
	if (type == DGRAM_UNIX) {
		path_of(port, path);
		(void)dgram_addr_unix(a, path);
		return;
	}
	if (type == DGRAM_UDP4) {
		a->len = sizeof(a->u.in);
		a->u.in.sin_family = AF_INET;
		a->u.in.sin_port = htons((uint16_t)port);
		a->u.in.sin_addr.s_addr = htonl(host == 0 ? INADDR_ANY :
		    host == 1 ? INADDR_LOOPBACK : host < 0 ? 0xc0000201 :
		    0x0a000000 + (unsigned)host);
	} else {
		a->len = sizeof(a->u.in6);
		a->u.in6.sin6_family = AF_INET6;
		a->u.in6.sin6_port = htons((uint16_t)port);
		a->u.in6.sin6_addr.s6_addr[0] = host > 1 ? 0xfd :
		    host < 0 ? 0x20 : 0;
		a->u.in6.sin6_addr.s6_addr[15] = (unsigned char)host;
	}
#if DGI_HAVE_SA_LEN
	a->u.sa.sa_len = (uint8_t)a->len;
#endif
}

/* Also the last digit of a port. */
static unsigned
choose_path(struct model *m)
{
	return PORT + m_below(m, m->crowd ? CROWD_PATHS : PATHS);
}

static int
other_type(struct model *m, int type)
{
	return 1 + (type + (int)m_below(m, 2)) % 3;
}

/* Where to send or connect to: mostly somebody who is there. */
static void
choose_to(struct model *m, const struct m_socket *ms, struct dgram_addr *a)
{
	unsigned i, k = m_below(m, M_SOCKETS), p = m_below(m, 100);
	const struct m_socket *o;

	for (i = 0; p < 75 && i < M_SOCKETS; i++, k = (k + 1) % M_SOCKETS) {
		o = &m->sockets[k];
		if (o->s != NULL && o->type == ms->type && o->addr.len > 0) {
			*a = o->addr;
			return;
		}
	}
	if (p < 88)
		make_addr(a, ms->type, 1, choose_path(m));
	else if (p < 94)
		make_addr(a, ms->type, 2 + (int)m_below(m, 4), 53);
	else if (p < 96)
		make_addr(a, ms->type, -1, 9);
	else if (p < 98)
		make_addr(a, ms->type, 1, 0);
	else
		make_addr(a, other_type(m, ms->type), 1, 9);
}

static unsigned
choose_size(struct model *m)
{
	unsigned p = m_below(m, 1000);

	if (m->burst)
		return p % 8;
	if (p < 900 || (m->crowd && p < 990))
		return m_below(m, 200);
	if (p < 940)
		return 0;
	if (p < 985)
		return m_below(m, 3000);
	return p < 993 ? m_below(m, 60000) : 65500 + m_below(m, 32);
}

static void
choose_bytes(struct model *m, struct m_datagram *d)
{
	d->size = choose_size(m);
	d->offset = m_below(m, M_PATTERN - d->size - 1);
	d->deadline = 0;
	d->result = 0;
}

/* What the checks of an address say of this one. */
static int
addr_error(const struct m_socket *ms, const struct dgram_addr *a)
{
	if (a->u.sa.sa_family != ms->family)
		return -EINVAL;
	if (ms->type != DGRAM_UNIX && dgram_addr_port(a) == 0)
		return BAD_PORT;
	return 0;
}

/* ---- open, close ---- */

static void
choose_events(struct model *m, struct m_socket *ms, struct dgram_events *ev,
    unsigned keep)
{
	unsigned bits = M_EV_ALL, i;

	for (i = 0; i < 6; i++) {
		if (m_percent(m, 12))
			bits &= ~(1u << i);
	}
	bits |= keep;
	*ev = m_events;
	if ((bits & M_EV_LISTENING) == 0)
		ev->listening = NULL;
	if ((bits & M_EV_MESSAGE) == 0)
		ev->message = NULL;
	if ((bits & M_EV_CONNECT) == 0)
		ev->connect = NULL;
	if ((bits & M_EV_ERROR) == 0)
		ev->error = NULL;
	if ((bits & M_EV_DRAIN) == 0)
		ev->drain = NULL;
	if ((bits & M_EV_CLOSE) == 0)
		ev->close = NULL;
	ms->events = bits;
}

static struct m_socket *
free_slot(struct model *m)
{
	unsigned i;

	for (i = 0; i < M_SOCKETS; i++) {
		if (m->sockets[i].s == NULL && m->sockets[i].queue.head == NULL)
			return &m->sockets[i];
	}
	return NULL;
}

static void
choose_options(struct model *m, struct m_socket *ms, struct dgram_options *o,
    struct dgram_events *ev)
{
	static const size_t counts[] = { 0, 1, 2, 7, 40, DGRAM_UNLIMITED };
	static const size_t bytes[] = { 0, 100, 5000, 100000,
		DGRAM_UNLIMITED };

	memset(o, 0, sizeof(*o));
	o->type = (enum dgram_type)ms->type;
	o->reuse_addr = m_percent(m, 30) && o->type != DGRAM_UNIX;
	o->send_queue_count = m_percent(m, 60) ? 0 : counts[m_below(m, 6)];
	o->send_queue_bytes = m_percent(m, 60) ? 0 : bytes[m_below(m, 5)];
	o->messages_per_call = m_percent(m, 80) ? 0 : 1 + m_below(m, 3);
	o->max_datagram = m_percent(m, 80) ? 0 : 64 << m_below(m, 6);
	if (m_percent(m, 10))
		o->recv_buffer_size = 4096;
	if (m_percent(m, 10))
		o->want |= DGRAM_NO_REMOTE;
	if (m_percent(m, 10))
		o->want |= DGRAM_TIME;
	o->reconnect = m_percent(m, ms->type == DGRAM_UNIX ? 50 : 1);
	choose_events(m, ms, ev, 0);
	o->lookup = m_lookup;
	o->events = ev;
	o->arg = ms;
	ms->reconnect = o->reconnect;
	ms->no_remote = (o->want & DGRAM_NO_REMOTE) != 0;
	ms->per_call = o->messages_per_call;
	ms->max_datagram = o->max_datagram != 0 ? o->max_datagram :
	    m->loop_datagram;
	ms->count_limit = o->send_queue_count != 0 ? o->send_queue_count : 4096;
	ms->byte_limit = o->send_queue_bytes != 0 ? o->send_queue_bytes :
	    (size_t)1 << 20;
}

/* A slot, as it is before anything is known of it. */
static void
reset(struct model *m, struct m_socket *ms)
{
	unsigned slot = ms->slot, i;

	memset(ms, 0, offsetof(struct m_socket, rx));
	memset(&ms->nrx, 0, sizeof(*ms) - offsetof(struct m_socket, nrx));
	ms->m = m;
	ms->slot = slot;
	ms->state = M_UNBOUND;
	ms->fd = -1;
	ms->queue.tail = &ms->queue.head;
	ms->known.tail = &ms->known.head;
	m_lines_init(ms);
	for (i = 0; i < M_NAMES; i++)
		ms->names[i].parked.tail = &ms->names[i].parked.head;
	ms->type = m->crowd && m_percent(m, 85) ? DGRAM_UNIX :
	    1 + (int)m_below(m, 3);
	ms->family = ms->type == DGRAM_UDP4 ? AF_INET :
	    ms->type == DGRAM_UDP6 ? AF_INET6 : AF_UNIX;
}

static void
do_open(struct model *m)
{
	struct m_socket *ms = free_slot(m);
	struct dgram_events ev;
	struct dgram_options o;
	struct dgram_socket *s = NULL;
	int r;

	if (ms == NULL)
		return;
	reset(m, ms);
	choose_options(m, ms, &o, &ev);
	if (m_percent(m, 2))
		o.type = (enum dgram_type)4;
	m_enter(m, NULL);
	r = dgram_open(m->l, &o, &s);
	m_leave(m, "open", NULL, (int)ms->slot, r);
	if (r < 0 && m_is_injected(m, r, 0))
		return;
	m_expect(m, r, o.type == 4 ? DGRAM_ERR_SOCKET_BAD_TYPE :
	    m->freeing ? -ECANCELED :
	    o.reconnect && o.type != DGRAM_UNIX ? -EINVAL : 0);
	if (r == 0)
		ms->s = s;
}

/* A descriptor that somebody else made: its number, or -1; and its peer. */
static int
make_fd(struct model *m, struct m_socket *ms, bool *named, bool *connected,
    struct dgram_addr *peer)
{
	const struct dgi_os *os = &m->sim.os;
	struct dgram_addr a;
	int fd;

	fd = os->socket(os, ms->family, SOCK_DGRAM, 0);
	if (fd < 0)
		return -1;
	*named = *connected = false;
	if (m_percent(m, 60)) {
		make_addr(&a, ms->type, 1, ms->type == DGRAM_UNIX ?
		    choose_path(m) : 0);
		*named = os->bind(os, fd, &a.u.sa, a.len) == 0;
	}
	if (m_percent(m, 40)) {
		choose_to(m, ms, peer);
		/* Not by the library. */
		m->sim.observe = NULL;
		*connected = peer->u.sa.sa_family == ms->family &&
		    os->connect(os, fd, &peer->u.sa, peer->len) == 0;
		m->sim.observe = m_observe;
	}
	/* UDP is named by being connected; AF_UNIX counts as if it were. */
	*named = *named || *connected;
	return fd;
}

/* peer: NULL, or to whom it is connected. */
static void
adopted(struct m_socket *ms, int fd, bool named, const struct dgram_addr *peer)
{
	struct model *m = ms->m;

	ms->adopted = true;
	ms->fd = fd;
	m->of_fd[fd - SIM_FD] = ms;
	if (!named && ms->type != DGRAM_UNIX)
		return;
	m_bound(ms, named);
	if (peer == NULL)
		return;
	ms->state = M_CONNECTED;
	ms->peer = *peer;
}

static void
do_open_fd(struct model *m)
{
	struct m_socket *ms = free_slot(m);
	bool named, connected, wrong = m_percent(m, 5);
	struct dgram_addr peer;
	struct dgram_events ev;
	struct dgram_options o;
	struct dgram_socket *s = NULL;
	int fd, r;

	if (ms == NULL)
		return;
	reset(m, ms);
	choose_options(m, ms, &o, &ev);
	fd = make_fd(m, ms, &named, &connected, &peer);
	if (fd < 0)
		return;
	o.type = (enum dgram_type)(wrong ? other_type(m, ms->type) :
	    m_percent(m, 50) ? 0 : ms->type);
	o.reuse_addr = o.reuse_addr && o.type != DGRAM_UNIX;
	o.reconnect = o.reconnect && !wrong;
	m_enter(m, NULL);
	r = dgram_open_fd(m->l, &o, fd, &s);
	m_leave(m, "open fd", NULL, (int)ms->slot, r);
	if (r < 0)
		(void)m->sim.os.close(&m->sim.os, fd);
	if (r == 0 || !m_is_injected(m, r, BIND_CALLS))
		m_expect(m, r, m->freeing ? -ECANCELED : wrong ?
		    DGRAM_ERR_INVALID_FD_TYPE : o.reconnect &&
		    ms->type != DGRAM_UNIX ? -EINVAL : 0);
	if (r < 0)
		return;
	ms->s = s;
	adopted(ms, fd, named, connected ? &peer : NULL);
}

static void
do_bind_fd(struct model *m, struct m_socket *ms)
{
	bool named, connected;
	struct dgram_addr peer;
	int fd, r, expected = 0;

	fd = make_fd(m, ms, &named, &connected, &peer);
	if (fd < 0)
		return;
	m_enter(m, ms);
	if (ms->closed)
		expected = NOT_RUNNING;
	else if (ms->state != M_UNBOUND)
		expected = ALREADY_BOUND;
	else if (ms->fd >= 0)
		expected = -EBUSY;
	r = dgram_bind_fd(ms->s, fd);
	m_leave(m, "bind fd", ms, fd, r);
	if (r < 0)
		(void)m->sim.os.close(&m->sim.os, fd);
	if (r == 0 || !m_is_injected(m, r, BIND_CALLS))
		m_expect(m, r, expected);
	if (r == 0)
		adopted(ms, fd, named, connected ? &peer : NULL);
}

static void
do_close(struct model *m, struct m_socket *ms)
{
	bool with_fn;
	int r;

	m_enter(m, ms);
	m_asks(ms, true);
	with_fn = (ms->events & M_EV_CLOSE) == 0 ? m_percent(m, 90) :
	    m_percent(m, 30);
	r = dgram_close(ms->s, with_fn ? m_close_fn : NULL, ms);
	m_leave(m, "close", ms, with_fn, r);
	m_expect(m, r, ms->closed ? NOT_RUNNING : 0);
	if (ms->closed || m->failed)
		return;
	ms->close_fn = with_fn;
	m_flushed(ms);
	m_closed(ms);
}

static void
do_end(struct model *m, struct m_socket *ms)
{
	bool with_fn, ended;
	int r;

	m_enter(m, ms);
	m_asks(ms, true);
	ended = ms->closed || ms->ending;
	with_fn = (ms->events & M_EV_CLOSE) == 0 || m_percent(m, 30);
	/* It may be closed when the call returns. */
	if (!ended) {
		ms->ending = true;
		ms->end_fn = with_fn;
	}
	r = dgram_end(ms->s, with_fn ? m_end_fn : NULL, ms);
	m_leave(m, "end", ms, with_fn, r);
	if (r == 0)
		m_flushed(ms);
	m_sync(ms);
	m_expect(m, r, ended ? NOT_RUNNING : 0);
}

/* ---- bind, connect ---- */

static void
check_address(struct model *m, struct m_socket *ms, const struct dgram_addr *a)
{
	struct sim_socket *ss = sim_socket(&m->sim, ms->fd);
	struct sim_name n;

	sim_name_of(&n, &a->u.sa, a->len);
	if (ss == NULL || ss->family != ms->family)
		m_fail(m, "bound to another descriptor");
	else if (n.port != 0 && ms->type != DGRAM_UNIX &&
	    ss->local.port != n.port)
		m_fail(m, "bound to another port");
	else if (ms->type == DGRAM_UNIX &&
	    memcmp(&ss->local, &n, sizeof(n)) != 0)
		m_fail(m, "bound to another path");
}

/* Its descriptor, if it was made for a bind that failed, is gone. */
static void
check_unbound(struct model *m, struct m_socket *ms)
{
	if (ms->state == M_UNBOUND && !ms->adopted && !ms->closed) {
		if (dgram_fileno(ms->s) != -EBADF)
			m_fail(m, "a bind failed and left its descriptor");
		ms->fd = -1;
	}
}

static void
do_bind(struct model *m, struct m_socket *ms)
{
	unsigned p = m_below(m, 100);
	/* Here: of arguments nobody knows which is first. */
	int host = (int)m_below(m, 2), r, expected = 0;
	struct dgram_addr a;
	char path[SIM_PATH];

	m_enter(m, ms);
	if (p < 45)
		make_addr(&a, ms->type, 0, choose_path(m) *
		    (ms->type == DGRAM_UNIX));
	else if (p < 60)
		make_addr(&a, ms->type, 1, choose_path(m) *
		    (ms->type == DGRAM_UNIX));
	else if (p < 90)
		make_addr(&a, ms->type, host, choose_path(m));
	else if (p < 95)
		make_addr(&a, ms->type, 9, PORT);
	else
		make_addr(&a, other_type(m, ms->type), 1, 0);
	if (ms->closed)
		expected = NOT_RUNNING;
	else if (ms->state != M_UNBOUND &&
	    (ms->state < M_BOUND || ms->receives))
		expected = ALREADY_BOUND;
	else if (a.u.sa.sa_family != ms->family)
		expected = -EINVAL;
	(void)dgram_addr_host(&a, path, sizeof(path));
	if (ms->type == DGRAM_UNIX && a.u.sa.sa_family == AF_UNIX && p < 30)
		r = dgram_bind_path(ms->s, path, 0);
	else
		r = dgram_bind_addr(ms->s, &a);
	m_leave(m, "bind", ms, (int)p, r);
	if (expected != 0 || r == 0 || !m_is_injected(m, r, BIND_CALLS))
		m_expect(m, r, expected);
	if (r < 0) {
		check_unbound(m, ms);
		return;
	}
	if (sim_has_failed(&m->sim, SIM_BIND, 0) ||
	    sim_has_failed(&m->sim, SIM_SOCKET, 0))
		m_fail(m, "bound, but the system has refused it");
	m_bound(ms, true);
	check_address(m, ms, &a);
	if (ms->type == DGRAM_UNIX) {
		memcpy(ms->path, path, sizeof(path));
		ms->owns_path = true;
	}
}

/* A call that binds an unbound socket has been made. */
static void
implicitly_bound(struct m_socket *ms)
{
	struct dgram_addr a;

	if (ms->state != M_UNBOUND || ms->closed)
		return;
	if (dgram_address(ms->s, &a) == -EBADF)
		check_unbound(ms->m, ms);
	else
		m_bound(ms, ms->type != DGRAM_UNIX);
}

/* It was ending, and what the call has sent was the last. */
static bool
has_ended(const struct m_socket *ms, bool ending, int r)
{
	return ending && ms->closed && r == NOT_RUNNING;
}

static bool
is_connecting(const struct m_socket *ms)
{
	return ms->state == M_BINDING_TO_CONNECT || ms->state >= M_CONNECTING;
}

static void
do_connect(struct model *m, struct m_socket *ms)
{
	struct dgram_addr a;
	bool ending;
	int r, expected;

	m_enter(m, ms);
	m_asks(ms, true);
	choose_to(m, ms, &a);
	expected = addr_error(ms, &a);
	if (ms->closed)
		expected = NOT_RUNNING;
	else if (ms->state == M_BINDING)
		expected = ALREADY_BOUND;
	else if (is_connecting(ms))
		expected = IS_CONNECTED;
	ending = ms->ending;
	r = dgram_connect_addr(ms->s, &a);
	m_leave(m, "connect", ms, dgram_addr_port(&a), r);
	m_sync(ms);
	if (has_ended(ms, ending, r))
		return;
	implicitly_bound(ms);
	if (expected != 0 || r == 0 ||
	    !m_is_injected(m, r, BIND_CALLS | BIT(SIM_CONNECT)))
		m_expect(m, r, expected);
	if (r < 0)
		return;
	m_flushed(ms);
	if (sim_has_failed(&m->sim, SIM_CONNECT, 0))
		m_fail(m, "connected, but the system has refused it");
	m_connected(ms, &a);
}

/* ---- by name ---- */

/* An address as text, and what is made of it: 0 and at, 1: a name; or why not. */
struct text {
	const char *address;
	int port, result;
	unsigned name;
	struct dgram_addr at;
	char buf[300];
};

/* least: the smallest port; 0 is to bind. */
static void
choose_text(struct model *m, const struct m_socket *ms, int least,
    struct text *t)
{
	static const int ports[] = { 0, -1, 65535, 65536 };
	int type = ms->type == DGRAM_UNIX ? DGRAM_UDP4 : ms->type;
	unsigned p = m_below(m, 100);

	t->address = t->buf;
	t->result = 0;
	t->port = m_percent(m, 90) ? (int)(PORT + m_below(m, 6)) :
	    ports[m_below(m, 4)];
	if (least == 0 && m_percent(m, 40))
		t->port = 0;
	if (p < 15) {
		make_addr(&t->at, type, least, (unsigned)t->port & 0xffff);
		t->buf[0] = '\0';
		if (p < 8)
			t->address = NULL;
	} else if (p < 50) {
		if (p >= 48)
			type = type == DGRAM_UDP4 ? DGRAM_UDP6 : DGRAM_UDP4;
		make_addr(&t->at, type, p < 18 ? -1 : p < 20 ? 0 : p < 22 ? 9 :
		    1, (unsigned)t->port & 0xffff);
		/* Mostly to somebody who is there. */
		if (least == 1 && p < 45 && ms->type != DGRAM_UNIX)
			choose_to(m, ms, &t->at);
		t->port = p < 45 ? dgram_addr_port(&t->at) : t->port;
		if (t->at.u.sa.sa_family == AF_UNIX)
			make_addr(&t->at, type, 1, 0);
		(void)dgram_addr_host(&t->at, t->buf, sizeof(t->buf));
		if (ms->type != DGRAM_UNIX &&
		    t->at.u.sa.sa_family != ms->family)
			t->result = -EINVAL;
	} else if (p < 52) {
		memset(t->buf, 'x', 256);
		t->buf[256] = '\0';
		t->result = -ENAMETOOLONG;
	} else {
		t->name = m_below(m, M_NAMES);
		snprintf(t->buf, sizeof(t->buf), "host-%u", t->name);
		t->result = 1;
	}
	if (t->port < least || t->port > 65535)
		t->result = BAD_PORT;
}

static void
do_bind_name(struct model *m, struct m_socket *ms)
{
	bool silent = m_percent(m, 25);
	struct m_step *st = m_step_new(m, false, silent);
	struct text t;
	int r, expected;

	if (st == NULL)
		return;
	m_enter(m, ms);
	choose_text(m, ms, 0, &t);
	expected = t.result < 0 ? t.result : 0;
	if (ms->closed)
		expected = NOT_RUNNING;
	else if (ms->type == DGRAM_UNIX)
		expected = -EINVAL;
	else if (ms->state != M_UNBOUND)
		expected = ALREADY_BOUND;
	else if (t.result == 1 && m->freeing)
		expected = -ECANCELED;
	r = dgram_bind(ms->s, t.port, t.address, silent ? NULL : m_step_done,
	    m_step_arg(ms, st));
	m_leave(m, "bind name", ms, t.result, r);
	if (expected != 0 || r == 0 ||
	    !m_is_injected(m, r, t.result == 1 ? 0 : BIND_CALLS))
		m_expect(m, r, expected);
	if (r < 0) {
		m_step_free(m, st);
		check_unbound(m, ms);
		return;
	}
	if (t.result == 1) {
		ms->state = M_BINDING;
		st->at.u.in.sin_port = htons((uint16_t)t.port);
		ms->bind = st;
		m_look_begins(ms, &ms->bind_look, M_LOOK_BIND, t.name);
		return;
	}
	if (sim_has_failed(&m->sim, SIM_BIND, 0) ||
	    sim_has_failed(&m->sim, SIM_SOCKET, 0))
		m_fail(m, "bound, but the system has refused it");
	m_bound(ms, true);
	check_address(m, ms, &t.at);
	m_step_known(ms, st, 0);
}

/* It waits for its name, or for a bind, or for both. */
static void
connect_waits(struct m_socket *ms, struct m_step *st, const struct text *t)
{
	ms->state = ms->state == M_BINDING ? M_BINDING_TO_CONNECT :
	    M_CONNECTING;
	ms->connect = st;
	st->found = t->result == 0;
	if (st->found) {
		st->at = t->at;
		sim_name_of(&st->to, &t->at.u.sa, t->at.len);
		return;
	}
	st->at.u.in.sin_port = htons((uint16_t)t->port);
	m_look_begins(ms, &ms->connect_look, M_LOOK_CONNECT, t->name);
}

static void
do_connect_name(struct model *m, struct m_socket *ms)
{
	bool silent = m_percent(m, 25), ending, now;
	struct m_step *st = m_step_new(m, true, silent);
	struct text t;
	int r, expected;

	if (st == NULL)
		return;
	m_enter(m, ms);
	choose_text(m, ms, 1, &t);
	expected = t.result < 0 ? t.result : 0;
	if (ms->closed)
		expected = NOT_RUNNING;
	else if (ms->type == DGRAM_UNIX)
		expected = -EINVAL;
	else if (is_connecting(ms) && t.result != BAD_PORT)
		expected = IS_CONNECTED;
	else if (t.result == 1 && m->freeing)
		expected = -ECANCELED;
	ending = ms->ending;
	now = t.result == 0 && ms->state != M_BINDING;
	r = dgram_connect(ms->s, t.port, t.address, silent ? NULL :
	    m_step_done, m_step_arg(ms, st));
	m_leave(m, "connect name", ms, t.result, r);
	m_sync(ms);
	if (has_ended(ms, ending, r)) {
		m_step_free(m, st);
		return;
	}
	implicitly_bound(ms);
	if (expected != 0 || r == 0 ||
	    !m_is_injected(m, r, BIND_CALLS | BIT(SIM_CONNECT)))
		m_expect(m, r, expected);
	if (r < 0) {
		m_step_free(m, st);
	} else if (!now) {
		connect_waits(ms, st, &t);
	} else {
		m_flushed(ms);
		if (sim_has_failed(&m->sim, SIM_CONNECT, 0))
			m_fail(m, "connected, but the system has refused it");
		m_connected(ms, &t.at);
		m_step_known(ms, st, 0);
	}
}

static void
do_disconnect(struct model *m, struct m_socket *ms)
{
	int r, expected = 0;
	struct sim_socket *ss;
	unsigned port;
	bool ending;

	m_enter(m, ms);
	m_asks(ms, true);
	ss = ms->closed ? NULL : sim_socket(&m->sim, ms->fd);
	port = ss != NULL ? ss->local.port : 0;
	if (ms->closed || ms->state != M_CONNECTED)
		expected = NOT_CONNECTED;
	ending = ms->ending;
	r = dgram_disconnect(ms->s);
	if (expected == 0)
		m_flushed(ms);
	/* What the peer was to get is over before the socket can end. */
	if (r == 0 || (expected == 0 && r < 0 &&
	    sim_has_failed(&m->sim, SIM_BIND, r) &&
	    !sim_has_failed(&m->sim, SIM_CONNECT, r)))
		m_disconnected(ms);
	m_leave(m, "disconnect", ms, 0, r);
	m_sync(ms);
	if (has_ended(ms, ending, r))
		return;
	ms->port_lost = ms->port_lost || (r < 0 && ms->state == M_BOUND &&
	    expected == 0);
	if (r == 0 && !ms->closed && ss->local.port != port && !ms->port_lost)
		m_fail(m, "disconnected, and without its port");
	if (expected != 0 || r == 0 ||
	    !m_is_injected(m, r, BIT(SIM_CONNECT) | BIT(SIM_BIND)))
		m_expect(m, r, expected);
}

/* ---- sends ---- */

/* What is checked of a datagram to this address (NULL: the peer). */
static int
datagram_error(const struct m_socket *ms, const struct dgram_addr *to,
    size_t size)
{
	int r;

	if (to == NULL) {
		if (ms->closed || ms->state != M_CONNECTED)
			return NOT_CONNECTED;
	} else {
		if (ms->state == M_CONNECTED)
			return IS_CONNECTED;
		r = addr_error(ms, to);
		if (r < 0)
			return r;
	}
	return (ms->type == DGRAM_UDP4 && size > 65507) ||
	    (ms->type == DGRAM_UDP6 && size > 65527) ? -EMSGSIZE : 0;
}

static int
admission(struct m_socket *ms, size_t n, size_t bytes)
{
	if (ms->untold >= UNTOLD_MOST && ms->count_limit != DGRAM_UNLIMITED)
		return -ENOBUFS;
	return n <= ms->count_limit - ms->queued &&
	    bytes <= ms->byte_limit - ms->bytes ? 0 : -ENOBUFS;
}

/* The result of a call that sends, and what it leaves behind. */
static void
after_send(struct model *m, struct m_socket *ms, struct m_op *first, size_t n,
    int r, int expected)
{
	if (r < 0 && first != NULL)
		m_take_back(m, ms, first);
	if (ms->closed) {
		m_expect(m, r, expected);
		return;
	}
	if (expected == -ENOBUFS && r == -ENOBUFS)
		m_refused(ms, n);
	implicitly_bound(ms);
	if (expected != 0 || r == 0 || !m_is_injected(m, r, BIND_CALLS))
		m_expect(m, r, expected);
}

static int
cut_up(struct model *m, const char *p, size_t size, struct iovec *iov)
{
	int n = 1 + (m_percent(m, 15) ? (int)m_below(m, 4) : 0), i;
	size_t k;

	if (size == 0 && m_percent(m, 20))
		return 0;
	for (i = 0; i < n; i++) {
		k = i + 1 == n ? size : m_below(m, (unsigned)size + 1);
		memcpy(&iov[i].iov_base, &p, sizeof(p));
		iov[i].iov_len = k;
		p += k;
		size -= k;
	}
	return n;
}

/* Is there room for it in the model, and are its limits known? */
static bool
can_send(const struct model *m, const struct m_socket *ms)
{
	/* Those that are just being told do not count any more. */
	return m->ops_used + M_BATCH <= M_OPS && (m->in_callback == 0 ||
	    ms->untold + M_BATCH <= UNTOLD_MOST);
}

/* Where the bytes of a datagram are for the call. */
static const char *
bytes_of(struct model *m, const struct m_datagram *d, bool silent)
{
	if (!silent)
		return m->pattern + d->offset;
	memcpy(m->scratch, m->pattern + d->offset, d->size);
	return m->scratch;
}

/* The caller's memory is the caller's again. */
static void
spoil(struct model *m, const struct m_datagram *d)
{
	memset(m->scratch, 0x5a, d->size < 300 ? d->size : 300);
}

static void
do_send(struct model *m, struct m_socket *ms)
{
	bool silent = !m->burst && m_percent(m, 25), peer, by_path;
	struct dgram_addr to;
	struct iovec iov[4];
	char path[SIM_PATH];
	struct m_datagram d;
	struct m_op *op;
	int n, r, expected;

	if (!can_send(m, ms))
		return;
	m_enter(m, ms);
	peer = m_percent(m, ms->state == M_CONNECTED ? 95 : 4);
	op = m_op_new(m, ms, 1);
	op->silent = silent;
	choose_bytes(m, &op->one);
	if (peer) {
		memset(&op->one.to, 0, sizeof(op->one.to));
	} else {
		choose_to(m, ms, &to);
		sim_name_of(&op->one.to, &to.u.sa, to.len);
	}
	expected = ms->closed || ms->ending ? NOT_RUNNING :
	    datagram_error(ms, peer ? NULL : &to, op->one.size);
	if (expected == 0)
		expected = admission(ms, 1, op->one.size);
	by_path = !peer && to.u.sa.sa_family == AF_UNIX && m_percent(m, 30);
	n = cut_up(m, bytes_of(m, &op->one, silent), op->one.size, iov);
	by_path = by_path && n == 1;
	d = op->one;
	m_push(ms, op);
	if (by_path) {
		(void)dgram_addr_host(&to, path, sizeof(path));
		r = dgram_send_path(ms->s, iov[0].iov_base, iov[0].iov_len,
		    path, silent ? NULL : m_done, m_arg(op));
	} else {
		r = dgram_send_addr(ms->s, iov, n, peer ? NULL : &to,
		    silent ? NULL : m_done, m_arg(op));
	}
	if (silent)
		spoil(m, &d);
	m_leave(m, "send", ms, expected, r);
	after_send(m, ms, r < 0 ? op : NULL, 1, r, expected);
}

/* More than may wait to be told, of one who does not run the loop. */
static void
do_burst(struct model *m, struct m_socket *ms)
{
	unsigned i;

	m->burst = true;
	for (i = 0; i < UNTOLD_MOST + 200 && !m->failed; i++) {
		do_send(m, ms);
		if (ms->closed || ms->ending || ms->queued > 2 * M_BATCH)
			break;
	}
	m->burst = false;
}

/* What a send to a port and an address in text says of them. */
static int
text_error(const struct m_socket *ms, const struct text *t, size_t size)
{
	bool peer = t->port == 0 && (t->address == NULL || *t->address == '\0');

	if (ms->closed)
		return NOT_RUNNING;
	if (ms->type == DGRAM_UNIX)
		return -EINVAL;
	if (ms->ending)
		return NOT_RUNNING;
	if (ms->state == M_CONNECTED && !peer)
		return IS_CONNECTED;
	if (ms->state != M_CONNECTED && t->result < 0)
		return t->result;
	return size > (ms->type == DGRAM_UDP4 ? 65507 : 65527) ? -EMSGSIZE : 0;
}

static int
send_text(struct m_socket *ms, const char *bytes, size_t size,
    const struct text *t, dgram_done_fn *done, void *arg)
{
	struct model *m = ms->m;
	struct iovec iov[4];
	int n;

	switch (m_below(m, 3)) {
	case 0:
		return dgram_send(ms->s, bytes, size, t->port, t->address,
		    done, arg);
	case 1:
		return dgram_sendto(ms->s, bytes - 7, 7, size, t->port,
		    t->address, done, arg);
	default:
		n = cut_up(m, bytes, size, iov);
		return dgram_sendv(ms->s, iov, n, t->port, t->address, done,
		    arg);
	}
}

/* To a literal, or to a name: that waits for the answer of m_lookup(). */
static void
do_send_text(struct model *m, struct m_socket *ms)
{
	bool silent = m_percent(m, 25), named;
	struct m_datagram d;
	const char *bytes;
	struct m_op *op;
	struct text t;
	int r, expected;

	if (!can_send(m, ms))
		return;
	m_enter(m, ms);
	choose_text(m, ms, 1, &t);
	if (ms->state == M_CONNECTED && m_percent(m, 50)) {
		t.port = t.result = 0;
		t.address = m_percent(m, 50) ? NULL : "";
	}
	named = t.result == 1;
	op = m_op_new(m, ms, 1);
	op->silent = silent;
	choose_bytes(m, &op->one);
	memset(&op->one.to, 0, sizeof(op->one.to));
	if (named)
		op->one.to.port = (uint16_t)t.port;
	else if (ms->closed || ms->state != M_CONNECTED)
		sim_name_of(&op->one.to, &t.at.u.sa, t.at.len);
	d = op->one;
	expected = text_error(ms, &t, d.size);
	if (expected == 0)
		expected = admission(ms, 1, d.size);
	if (expected == 0 && m->freeing && named)
		expected = -ECANCELED;
	bytes = bytes_of(m, &d, silent);
	if (!named)
		m_push(ms, op);
	r = send_text(ms, bytes, d.size, &t, silent ? NULL : m_done,
	    m_arg(op));
	if (silent)
		spoil(m, &d);
	m_leave(m, "send text", ms, t.result, r);
	if (named && r < 0)
		m_op_free(m, op);
	else if (named)
		m_park(ms, op, t.name);
	after_send(m, ms, r < 0 && !named ? op : NULL, 1, r, expected);
}

/* The last failure of these calls, or 0. */
static int
failure_of(const struct model *m, unsigned calls)
{
	unsigned i;

	for (i = m->sim.nfailures < SIM_FAILURES ? m->sim.nfailures :
	    SIM_FAILURES; i > 0; i--) {
		if ((calls & BIT(m->sim.failures[i - 1].call)) != 0)
			return m->sim.failures[i - 1].result;
	}
	return 0;
}

/* The answer came, and by that what waited for it was done in the call. */
static void
connect_answered(struct model *m, struct m_socket *ms)
{
	struct dgram_addr a;
	bool open = dgram_fileno(ms->s) >= 0;
	int status = failure_of(m, BIT(SIM_CONNECT));

	if (open && (dgram_remote_address(ms->s, &a) == NOT_CONNECTED) !=
	    (status < 0))
		m_fail(m, "socket %u: connected and not", ms->slot);
	m_flushed(ms);
	m_connect_over(ms, status, false);
}

static void
bind_answered(struct model *m, struct m_socket *ms, unsigned allocs)
{
	int status = failure_of(m, BIT(SIM_SOCKET) | BIT(SIM_BIND) |
	    BIT(SIM_SET));
	struct dgram_addr a, at = ms->bind->at;
	int r = dgram_address(ms->s, &a);

	if (status == 0 && r == -EBADF)
		status = m->sim.alloc_failures > allocs ? -ENOMEM :
		    failure_of(m, BIT(SIM_SETSOCKOPT));
	if (r == 0 && !sim_has_failed(&m->sim, SIM_SOCKET, 0) &&
	    !sim_has_failed(&m->sim, SIM_BIND, 0))
		status = 0;
	if (r == -EBADF && status == 0)
		m_fail(m, "socket %u: a bind fails for nothing", ms->slot);
	if (r == 0 && status < 0)
		m_fail(m, "socket %u: bound, but the system has refused it",
		    ms->slot);
	m_bind_over(ms, status, false);
	if (status < 0)
		return;
	if (r == 0)
		check_address(m, ms, &at);
	if (ms->connect != NULL && ms->connect->found)
		connect_answered(m, ms);
}

static void
step_answered(struct model *m, struct m_socket *ms, struct m_look *look,
    int status, const struct dgram_addr *a, unsigned allocs)
{
	bool binds = look->what == M_LOOK_BIND;
	struct m_step *st = binds ? ms->bind : ms->connect;
	in_port_t port = st->at.u.in.sin_port;

	if (status < 0) {
		if (binds)
			m_bind_over(ms, status, true);
		else
			m_connect_over(ms, status, true);
		return;
	}
	st->found = true;
	st->at = *a;
	st->at.u.in.sin_port = port;
	sim_name_of(&st->to, &st->at.u.sa, st->at.len);
	if (binds)
		bind_answered(m, ms, allocs);
	else if (ms->state == M_CONNECTING)
		connect_answered(m, ms);
	else
		m_look_ends(m, look);
}

/* The next use of a number that is over: nobody was told it so far. */
static void
guess_id(struct model *m)
{
	uint64_t id = m->old_ids[m_below(m, M_OLD_IDS)] + (UINT64_C(1) << 32);
	const struct m_look *look;
	unsigned i, k;

	for (i = 0; i < M_SOCKETS; i++) {
		for (k = 0; m->sockets[i].s != NULL && k < M_LOOKS; k++) {
			look = m_look(&m->sockets[i], k);
			if (look->looking && look->asked && look->id == id)
				return;
		}
	}
	m_expect(m, dgram_lookup_done(m->l, id, -EIO, NULL), -ENOENT);
}

void
m_play_answer(struct model *m, struct m_socket *ms, struct m_look *look)
{
	unsigned p = m_below(m, 100), allocs = m->sim.alloc_failures;
	uint64_t id = look->id;
	struct dgram_addr a;
	struct sim_name to;
	int r, type, status = 0;

	m_enter(m, ms);
	if (m_percent(m, 10)) {
		m_expect(m, dgram_lookup_done(m->l, id, 1, NULL), -EINVAL);
		m_expect(m, dgram_lookup_done(m->l,
		    m->old_ids[m_below(m, M_OLD_IDS)], 0, NULL), -ENOENT);
		guess_id(m);
	}
	type = p < 90 ? ms->type : other_type(m, ms->type);
	/* A bind to another host fails. */
	make_addr(&a, type, (int)m_below(m, look->what != M_LOOK_BIND ||
	    m_percent(m, 10) ? 4 : 2), 1);
	if (p >= 95)
		status = m_percent(m, 50) ? DGRAM_ENOTFOUND : -EIO;
	else if (p >= 90)
		status = -EINVAL;
	sim_name_of(&to, &a.u.sa, a.len);
	if (look->what == M_LOOK_SEND)
		m_answer(ms, &ms->names[look->name], status, true, &to);
	r = dgram_lookup_done(m->l, id, p >= 95 ? status : 0,
	    p == 94 ? NULL : &a);
	m_leave(m, "lookup done", ms, (int)look->what, r);
	m_expect(m, r, 0);
	if (look->what != M_LOOK_SEND)
		step_answered(m, ms, look, status, &a, allocs);
	m_expect(m, dgram_lookup_done(m->l, id, 0, &a), -ENOENT);
	m_sync(ms);
}

static void
do_answer(struct model *m, struct m_socket *ms)
{
	struct m_look *look;
	unsigned i, k = m_below(m, M_LOOKS);

	/* Which of them a full interface refuses would not be known. */
	if (ms->closed || m->sim.config.nobufs != 0 ||
	    m->sim.now < m->sim.nobufs_until)
		return;
	for (i = 0; i < M_LOOKS; i++, k = (k + 1) % M_LOOKS) {
		look = m_look(ms, k);
		if (!look->looking || !look->asked)
			continue;
		m_play_answer(m, ms, look);
		return;
	}
}

static struct m_batch *
new_batch(struct model *m)
{
	struct m_batch *b = m->free_batches;

	if (b == NULL) {
		b = malloc(sizeof(*b));
		if (b == NULL)
			abort();
		return b;
	}
	m->free_batches = b->next;
	return b;
}

/* Fills n datagrams, and says what the checks will say of them. */
static int
fill_batch(struct model *m, struct m_socket *ms, struct m_batch *b, size_t n,
    struct dgram_addr to[4], size_t *bytes)
{
	bool peer = m_percent(m, ms->state == M_CONNECTED ? 95 : 4);
	struct m_datagram *d;
	int r = 0, e;
	size_t i;

	for (i = 0; i < 4; i++)
		choose_to(m, ms, &to[i]);
	*bytes = 0;
	for (i = 0; i < n; i++) {
		d = &b->v[i];
		choose_bytes(m, d);
		if (d->size > 4000)
			d->size = 4000;
		if (m_percent(m, 20))
			d->deadline = dgram_loop_now(m->l) +
			    m_below(m, 30) * MS;
		memset(&b->lib[i], 0, sizeof(b->lib[i]));
		b->lib[i].to = peer ? NULL : &to[i % 4];
		b->lib[i].deadline_ns = d->deadline;
		b->lib[i].iov = &b->iov[i];
		b->lib[i].iovcnt = 1;
		b->iov[i].iov_len = d->size;
		memcpy(&b->iov[i].iov_base, &(const char *){ m->pattern +
		    d->offset }, sizeof(char *));
		memset(&d->to, 0, sizeof(d->to));
		if (!peer)
			sim_name_of(&d->to, &to[i % 4].u.sa, to[i % 4].len);
		*bytes += d->size;
		e = datagram_error(ms, b->lib[i].to, d->size);
		if (r == 0)
			r = e;
	}
	return ms->closed || ms->ending ? NOT_RUNNING : r;
}

static size_t
choose_n(struct model *m)
{
	unsigned p = m_below(m, 100);

	return p < 3 ? 0 : p < (m->crowd ? 40 : 80) ? 1 + m_below(m, 6) :
	    1 + m_below(m, M_BATCH);
}

static void
do_batch(struct model *m, struct m_socket *ms)
{
	size_t n = choose_n(m), bytes;
	struct m_op *op, *first;
	struct m_batch *b;
	int r, expected;

	if (!can_send(m, ms))
		return;
	b = new_batch(m);
	m_enter(m, ms);
	expected = fill_batch(m, ms, b, n, b->to, &bytes);
	if (expected == 0)
		expected = admission(ms, n, bytes);
	op = m_op_new(m, ms, n);
	op->batch = b;
	op->v = b->v;
	first = op;
	m_push(ms, op);
	r = dgram_send_batch(ms->s, b->lib, n, m_done, m_arg(op));
	m_leave(m, "send batch", ms, (int)n, r);
	after_send(m, ms, r < 0 ? first : NULL, n, r, expected);
}

/* Without a completion each datagram is on its own, and copied. */
static void
do_silent_batch(struct model *m, struct m_socket *ms)
{
	size_t n = choose_n(m), bytes, i;
	struct m_batch *b = &m->scratch_batch;
	struct m_op *op, *first = NULL;
	int r, expected;

	if (!can_send(m, ms))
		return;
	m_enter(m, ms);
	expected = fill_batch(m, ms, b, n, b->to, &bytes);
	if (expected == 0)
		expected = admission(ms, n, bytes);
	for (i = 0; i < n; i++) {
		op = m_op_new(m, ms, 1);
		op->silent = true;
		op->one = b->v[i];
		m_push(ms, op);
		if (first == NULL)
			first = op;
	}
	r = dgram_send_batch(ms->s, b->lib, n, NULL, NULL);
	m_leave(m, "send silent batch", ms, (int)n, r);
	after_send(m, ms, r < 0 ? first : NULL, n, r, expected);
	memset(b->lib, 0x5a, sizeof(b->lib));
	memset(b->to, 0x5a, sizeof(b->to));
}

static void
do_try(struct model *m, struct m_socket *ms)
{
	struct m_batch *b = &m->scratch_batch;
	struct m_try t = { .v = b->v };
	bool busy, unsure = false;
	const struct m_op *op;
	size_t bytes, i;
	int r, expected;

	m_enter(m, ms);
	t.n = choose_n(m);
	expected = fill_batch(m, ms, b, t.n, b->to, &bytes);
	busy = ms->queued > ms->parked || ms->state == M_BINDING ||
	    ms->state == M_BINDING_TO_CONNECT;
	for (op = ms->queue.head; op != NULL; op = op->next)
		unsure = unsure || op->n == 0;
	m->trying = &t;
	r = dgram_try_send(ms->s, b->lib, t.n);
	m->trying = NULL;
	m_leave(m, "try send", ms, (int)t.n, r);
	if (ms->closed) {
		m_expect(m, r, expected);
		return;
	}
	implicitly_bound(ms);
	if (expected != 0 || t.n == 0) {
		m_expect(m, r, expected);
	} else if (r < 0 && t.pos == 0 && !t.over &&
	    m_is_injected(m, r, BIND_CALLS)) {
		return;
	} else if (busy || (unsure && r == -EAGAIN && !t.over)) {
		m_expect(m, r, -EAGAIN);
	} else {
		if (t.pos < t.n && !t.over) {
			t.status = -ETIMEDOUT;
			if (t.v[t.pos].deadline == 0 ||
			    t.v[t.pos].deadline > dgram_loop_now(m->l))
				m_fail(m, "dgram_try_send() gives up early");
		}
		m_expect(m, r, t.pos > 0 ? (int)t.pos : t.status);
		for (i = 0; i < t.pos && !m->failed; i++)
			m_expect(m, b->lib[i].result, (int)b->v[i].size);
		if (t.pos < t.n)
			m_expect(m, b->lib[t.pos].result, t.status);
	}
}

/* The sender in the form of a peer that was connected to. */
static bool
is_from_peer(struct model *m, struct m_socket *ms,
    const struct dgram_message *msg)
{
	struct sim_socket *ss = sim_socket(&m->sim, ms->fd);
	struct sim_name from;

	if (msg->remote == NULL || ms->type == DGRAM_UNIX || ss == NULL ||
	    ms->any_peer)
		return true;
	sim_name_of(&from, &msg->remote->u.sa, msg->remote->len);
	return memcmp(&from, &ss->peer, sizeof(from)) == 0;
}

static int
reply_error(struct model *m, struct m_socket *ms,
    const struct dgram_message *msg, size_t size)
{
	const struct dgram_addr *to = msg->remote;
	int r;

	if (ms->closed || ms->ending)
		return NOT_RUNNING;
	if (ms->state == M_CONNECTED) {
		if (!is_from_peer(m, ms, msg))
			return IS_CONNECTED;
		to = NULL;
	}
	if (to != NULL && to->len == 0)
		return -EDESTADDRREQ;
	r = datagram_error(ms, to, size);
	return r < 0 ? r : admission(ms, 1, size);
}

/* The bytes of the message itself, or others. */
static void
do_reply(struct model *m, struct m_socket *ms, const struct dgram_message *msg,
    unsigned offset)
{
	bool own = m_percent(m, 60);
	struct m_datagram d;
	struct m_op *op;
	const void *data;
	int r, expected;

	if (!can_send(m, ms))
		return;
	m_enter(m, ms);
	op = m_op_new(m, ms, 1);
	op->silent = op->reply = true;
	choose_bytes(m, &op->one);
	if (own) {
		op->arena = m->borrowed = true;
		op->one.offset = offset;
		op->one.size = (unsigned)msg->size;
	}
	if ((ms->closed || ms->state != M_CONNECTED) && msg->remote != NULL)
		sim_name_of(&op->one.to, &msg->remote->u.sa, msg->remote->len);
	else
		memset(&op->one.to, 0, sizeof(op->one.to));
	expected = reply_error(m, ms, msg, op->one.size);
	d = op->one;
	data = own ? msg->data : bytes_of(m, &d, true);
	m_push(ms, op);
	r = dgram_reply(ms->s, msg, data, d.size);
	if (!own)
		spoil(m, &d);
	m_leave(m, "reply", ms, (int)d.size, r);
	after_send(m, ms, r < 0 ? op : NULL, 1, r, expected);
}

static void
do_flush(struct model *m, struct m_socket *ms)
{
	int r, expected;

	m_enter(m, ms);
	m_asks(ms, true);
	r = dgram_flush(ms->s);
	if (!ms->closed)
		m_flushed(ms);
	expected = ms->closed ? NOT_RUNNING :
	    (int)dgram_get_send_queue_count(ms->s);
	m_leave(m, "flush", ms, (int)ms->queued, r);
	m_sync(ms);
	m_expect(m, r, expected);
}

/* ---- the other calls ---- */

static void
do_pause(struct model *m, struct m_socket *ms)
{
	bool pause = m_percent(m, 40);
	int r;

	m_enter(m, ms);
	r = pause ? dgram_pause(ms->s) : dgram_resume(ms->s);
	m_leave(m, pause ? "pause" : "resume", ms, 0, r);
	m_expect(m, r, ms->closed ? NOT_RUNNING : 0);
	if (r == 0)
		ms->paused = pause;
}

static void
set_events(struct model *m, struct m_socket *ms, unsigned keep)
{
	struct dgram_events ev;
	unsigned before = ms->events;
	int r;

	m_enter(m, ms);
	choose_events(m, ms, &ev, keep);
	r = dgram_set_events(ms->s, &ev, ms);
	if (ms->closed)
		ms->events = before;
	m_leave(m, "set events", ms, (int)ms->events, r);
	m_expect(m, r, ms->closed ? NOT_RUNNING : 0);
	m_events_changed(ms, before);
}

static void
do_set_events(struct model *m, struct m_socket *ms)
{
	/* Whoever ends by himself says so. */
	set_events(m, ms, ms->ending || m->freeing ? M_EV_CLOSE : 0);
}

static void
do_ref(struct model *m, struct m_socket *ms)
{
	bool unref = m_percent(m, 50);
	int r;

	m_enter(m, ms);
	r = unref ? dgram_unref(ms->s) : dgram_ref(ms->s);
	m_leave(m, unref ? "unref" : "ref", ms, 0, r);
	m_expect(m, r, 0);
	ms->unrefd = unref;
}

static void
do_set(struct model *m, struct m_socket *ms)
{
	unsigned which = m_below(m, 5);
	int v = (int)m_below(m, 300) - 10, r, expected = 0;

	m_enter(m, ms);
	if (ms->closed)
		expected = NOT_RUNNING;
	else if (ms->fd < 0)
		expected = -EBADF;
	else if ((which == 1 && (v < 1 || v > 255)) ||
	    (which == 2 && (v < 0 || v > 255)))
		expected = -EINVAL;
	else if (which >= 3 && v < 0)
		expected = DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE;
	else if (ms->type == DGRAM_UNIX && (which == 1 || which == 2))
		expected = -ENOTSUP;
	if (which == 0)
		r = dgram_set_broadcast(ms->s, v);
	else if (which == 1)
		r = dgram_set_ttl(ms->s, v);
	else if (which == 2)
		r = dgram_set_tos(ms->s, v);
	else if (which == 3)
		r = dgram_set_recv_buffer_size(ms->s, v);
	else
		r = dgram_set_send_buffer_size(ms->s, v);
	m_leave(m, "set", ms, (int)which, r);
	if (expected != 0 || r == 0 ||
	    !m_is_injected(m, r, BIT(SIM_SETSOCKOPT)))
		m_expect(m, r, expected);
}

static void
check_name(struct model *m, const struct dgram_addr *a,
    const struct sim_name *is)
{
	struct sim_name n;

	sim_name_of(&n, &a->u.sa, a->len);
	if (a->len != 0 && memcmp(&n, is, sizeof(n)) != 0)
		m_fail(m, "another address is told");
}

static void
do_get(struct model *m, struct m_socket *ms)
{
	struct sim_socket *ss;
	struct dgram_addr a;
	struct dgram_error e;
	int r, expected;

	m_enter(m, ms);
	ss = ms->closed ? NULL : sim_socket(&m->sim, ms->fd);
	expected = ms->closed ? NOT_RUNNING :
	    ms->fd < 0 || ms->state < M_BOUND ? -EBADF : 0;
	r = dgram_address(ms->s, &a);
	m_leave(m, "address", ms, 0, r);
	m_expect(m, r, expected);
	if (r == 0 && ss != NULL)
		check_name(m, &a, &ss->local);
	m_expect(m, dgram_fileno(ms->s), ms->closed ? NOT_RUNNING :
	    ms->fd < 0 ? -EBADF : ms->fd);
	r = dgram_remote_address(ms->s, &a);
	expected = ms->closed ? NOT_RUNNING : ms->state != M_CONNECTED ?
	    NOT_CONNECTED : ss->peer.family == 0 ? -ENOTCONN : 0;
	m_expect(m, r, expected);
	if (r == 0)
		check_name(m, &a, &ss->peer);
	m_expect(m, dgram_get_recv_buffer_size(ms->s), ms->closed ?
	    NOT_RUNNING : ss == NULL ? -EBADF : ss->rcvbuf);
	if (m->in_callback == 0)
		m_expect(m, dgram_last_error(ms->s, &e), -ENOENT);
	if (!ms->closed)
		m_check_state(ms);
	m_check_ledger(ms);
}

static void
do_timer(struct model *m)
{
	struct m_timer *t = &m->timers[m_below(m, M_TIMERS)];
	unsigned p = m_below(m, 100);
	uint64_t after;
	int r;

	m_enter(m, NULL);
	if (t->m == NULL) {
		t->m = m;
		dgram_timer_init(&t->t, m->l, m_on_timer, t);
	}
	if (p < 25) {
		dgram_timer_stop(&t->t);
		t->active = false;
		m_leave(m, "timer stop", NULL, (int)(t - m->timers), 0);
		return;
	}
	if (p < 40) {
		t->unrefd = p < 30;
		if (t->unrefd)
			dgram_timer_unref(&t->t);
		else
			dgram_timer_ref(&t->t);
		m_leave(m, "timer ref", NULL, (int)p, 0);
		return;
	}
	after = p < 50 ? 0 : m_below(m, 100000000);
	t->repeat = p < 60 ? 1 + m_below(m, 20000000) : 0;
	t->due = dgram_loop_now(m->l) + after;
	r = dgram_timer_start(&t->t, after, t->repeat);
	m_leave(m, "timer start", NULL, (int)(t - m->timers), r);
	if (r < 0 && m_is_injected(m, r, 0)) {
		t->active = dgram_timer_active(&t->t);
		return;
	}
	m_expect(m, r, m->freeing ? -ECANCELED : 0);
	t->active = !m->freeing;
	t->armed_turn = m->turn;
	t->armed_seq = m->seq++;
}

static void
do_post(struct model *m)
{
	int r;

	m_enter(m, NULL);
	r = dgram_loop_post(m->l, m_on_post, m);
	m_leave(m, "post", NULL, 0, r);
	if (r < 0 && m_is_injected(m, r, 0))
		return;
	m_expect(m, r, m->freeing ? -ECANCELED : 0);
	if (r == 0)
		m->posts_made++;
}

/* Calls that are refused, and those that wake. */
static void
do_loop(struct model *m)
{
	unsigned p = m_below(m, 4);

	m_enter(m, NULL);
	if (p == 0)
		(void)dgram_loop_wake(m->l);
	m_leave(m, "loop", NULL, (int)p, 0);
	if (m->in_callback > 0) {
		m_expect(m, dgram_loop_run(m->l), -EBUSY);
		m_expect(m, dgram_loop_run_once(m->l, 0), -EBUSY);
		m_expect(m, dgram_loop_free(m->l), -EBUSY);
	} else if (p == 1) {
		dgram_loop_stop(m->l);
		m_expect(m, dgram_loop_run(m->l), 1);
	} else if (p == 2) {
		dgram_loop_update(m->l);
	}
}

/* The world around does something. */
static void
do_network(struct model *m, struct m_socket *ms)
{
	unsigned p = m_below(m, 100), size, offset;
	struct dgram_addr from;
	char path[SIM_PATH];

	m_trace(m, "network", (int)ms->slot, (int)p, 0);
	if (p < 80 && ms->type != DGRAM_UNIX && ms->addr.len > 0) {
		make_addr(&from, ms->type, 2 + (int)m_below(m, 4), 53);
		size = m_percent(m, 90) ? m_below(m, 300) : m_below(m, 5000);
		offset = m_below(m, M_PATTERN - 5001);
		for (p = m_percent(m, 95) ? 1 : m_below(m, 60); p > 0; p--)
			(void)sim_inject(&m->sim, &from, &ms->addr,
			    m->pattern + offset, size, offset);
	} else if (p < 90 && ms->type != DGRAM_UNIX && !ms->closed &&
	    ms->fd >= 0) {
		sim_error(&m->sim, ms->fd, p < 86 ? ECONNREFUSED :
		    EHOSTUNREACH);
	} else if (p < 92) {
		sim_nobufs(&m->sim, m_below(m, 1500) * MS);
	} else if (p < 96) {
		path_of(choose_path(m), path);
		m_lose_path(m, path);
		if (m_percent(m, 50))
			sim_put_file(&m->sim, path);
		else
			sim_remove_file(&m->sim, path);
	} else if (m->in_callback == 0 && m_percent(m, 10)) {
		/* The program does something else for a while. */
		m->sim.now += m_below(m, 1500) * MS;
	}
}

/* ---- steps ---- */

static void
act_on_socket(struct model *m, struct m_socket *ms, unsigned p)
{
	if (p < 300)
		do_send(m, ms);
	else if (p < 380)
		do_batch(m, ms);
	else if (p < 420)
		do_silent_batch(m, ms);
	else if (p < 480)
		do_try(m, ms);
	else if (p < 570)
		do_bind(m, ms);
	else if (p < 600)
		do_bind_name(m, ms);
	else if (p < 650)
		do_connect(m, ms);
	else if (p < 670)
		do_connect_name(m, ms);
	else if (p < 730)
		do_disconnect(m, ms);
	else if (p < 740)
		do_flush(m, ms);
	else if (p < 760)
		do_send_text(m, ms);
	else if (p < 780)
		do_answer(m, ms);
	else if (p < 810)
		do_pause(m, ms);
	else if (p < 830)
		do_set_events(m, ms);
	else if (p < 845)
		do_ref(m, ms);
	else if (p < 865)
		do_set(m, ms);
	else if (p < 885)
		do_get(m, ms);
	else if (p < 970)
		do_network(m, ms);
	else if (p < 975)
		do_bind_fd(m, ms);
	else if (p < 992)
		do_close(m, ms);
	else
		do_end(m, ms);
}

static void
act(struct model *m)
{
	unsigned p = m_below(m, 1000);
	struct m_socket *ms;

	if (p < 25) {
		do_open(m);
	} else if (p < 30) {
		do_open_fd(m);
	} else if (p < 45) {
		do_timer(m);
	} else if (p < 55) {
		do_post(m);
	} else if (p < 60) {
		do_loop(m);
	} else {
		ms = any_socket(m);
		if (ms == NULL)
			return;
		if (m->in_callback == 0 && m_below(m, 4000) == 0)
			do_burst(m, ms);
		else
			act_on_socket(m, ms, m_below(m, 1000));
	}
}

void
m_play_inside(struct model *m, struct m_socket *ms,
    const struct dgram_message *msg, unsigned offset)
{
	unsigned p = m_below(m, 100);

	if (m->quiet)
		return;
	if (msg != NULL && p < 40)
		do_reply(m, ms, msg, offset);
	if (p > 80)
		act(m);
	if (p > 95 && ms != NULL && m_may_touch(ms))
		act_on_socket(m, ms, m_below(m, 1000));
}

static void
do_turn(struct model *m)
{
	static const int timeouts[] = { 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 5, 20,
		20, 1000, -1 };
	int timeout = timeouts[m_below(m, 15)], r;

	m_turn_begins(m);
	r = dgram_loop_run_once(m->l, timeout);
	m_trace(m, "turn", -1, timeout, r);
	m_turn_ends(m, timeout, r);
}

/* A network and a loop, both at random. */
static bool
new_loop(struct model *m)
{
	static const unsigned batches[] = { 1, 2, 8, 32 };
	static const uint64_t delays[] = { 0, 0, 10000, 1000000 };
	struct dgram_loop_options o = { 0 };
	struct sim_config *c = &m->sim.config;
	bool faults = m_percent(m, 60);
	unsigned i;
	int r;

	m_begin(m);
	memset(c->fail, 0, sizeof(c->fail));
	c->loss = m_percent(m, 50) ? SIM_PERCENT(3) : 0;
	c->duplicate = m_percent(m, 30) ? SIM_PERCENT(3) : 0;
	c->late = m_percent(m, 30) ? SIM_PERCENT(5) : 0;
	i = m_below(m, 10);
	c->nobufs = i == 0 ? SIM_PERCENT(20) : i == 1 ? SIM_PERCENT(90) : 0;
	c->spurious = m_percent(m, 30) ? SIM_PERCENT(3) : 0;
	/* The emulation of the other hides failures, which are followed here. */
	c->no_recvmmsg = m_percent(m, 15);
	c->delay_ns = delays[m_below(m, 4)];
	c->call_ns = m_percent(m, 70) ? 500 : 0;
	c->oversleep_ns = m_percent(m, 50) ? 50000 : 0;
	m->crowd = m_percent(m, 35);
	c->bsd_unix = m_percent(m, 25);
	c->recv_packets = m_percent(m, m->crowd ? 10 : 50) ? 256 :
	    1 + m_below(m, m->crowd ? 4 : 10);
	c->send_bytes = m_percent(m, 50) ? 212992 : 500;
	m->sim.nobufs_until = 0;
	m->batch = o.batch = batches[m_below(m, 4)];
	m->budget = o.budget = m_percent(m, 70) ? 64 : 1 + m_below(m, 10);
	m->loop_datagram = o.max_datagram = m_percent(m, 50) ? 2048 : 65535;
	o.resolver_timeout_ms = m_percent(m, 50) ? 86400000 : 1 +
	    m_below(m, 1000);
	m->look_ns = o.resolver_timeout_ms * MS;
	o.allocator = m_percent(m, 70) ? &m->sim.allocator : NULL;
	m_enter(m, NULL);
	r = dgi_loop_new(&o, &m->sim.os, &m->sim.poller, &m->l);
	m_leave(m, "new loop", NULL, (int)m->batch, r);
	m_expect(m, r, 0);
	for (i = 0; faults && i < SIM_NCALLS; i++)
		c->fail[i] = m_percent(m, 60) ? SIM_PERCENT(1) : 0;
	/* And errors that do not go away at once. */
	if (faults && m_percent(m, 20))
		c->fail[SIM_RECV] = SIM_PERCENT(40);
	return r == 0;
}

/* Nothing is left to do, so a run ends by itself, and soon. */
static void
run_out(struct model *m)
{
	uint64_t waits;
	unsigned i;
	int r;

	memset(m->sim.config.fail, 0, sizeof(m->sim.config.fail));
	m->sim.config.spurious = m->sim.config.nobufs = 0;
	m->quiet = true;
	for (i = 0; i < M_TIMERS; i++) {
		if (m->timers[i].m != NULL)
			dgram_timer_stop(&m->timers[i].t);
		m->timers[i].active = false;
	}
	for (i = 0; i < M_SOCKETS; i++) {
		if (m->sockets[i].s != NULL && !m->sockets[i].closed)
			do_close(m, &m->sockets[i]);
	}
	waits = m->sim.counts.waits;
	m_turn_begins(m);
	r = dgram_loop_run(m->l);
	m_trace(m, "run", -1, 0, r);
	m_expect(m, r, 0);
	m_turn_ends(m, 0, r);
	if (m->sim.counts.waits - waits > 16)
		m_fail(m, "a loop with nothing to do waits");
	m->quiet = false;
}

static void
free_loop(struct model *m)
{
	struct m_socket *ms;
	unsigned i;

	if (m_percent(m, 50))
		run_out(m);
	if (m->failed)
		return;
	/* None may go without a word. */
	for (i = 0; i < M_SOCKETS; i++) {
		if (m_may_touch(&m->sockets[i]))
			set_events(m, &m->sockets[i], M_EV_CLOSE);
	}
	m_turn_begins(m);
	m->in_turn = false;
	m->freeing = true;
	for (i = 0; i < M_SOCKETS; i++) {
		ms = &m->sockets[i];
		m_asks(ms, false);
		/* If no post can close one before. */
		ms->goes_first = ms->s != NULL && m_can_go(ms) &&
		    m->posts_made == m->posts_run;
	}
	m->fds_at_free = sim_open_fds(&m->sim);
	m_expect(m, dgram_loop_free(m->l), 0);
	m->freeing = false;
	m_end(m);
}

bool
model_run(uint64_t seed, uint64_t steps, struct model_report *report)
{
	struct model *m = malloc(sizeof(*m));
	struct m_batch *b;
	uint64_t until = 0;
	bool ok;

	if (m == NULL)
		return false;
	m_init(m, seed);
	sim_init(&m->sim, seed);
	m->sim.observe = m_observe;
	m->sim.arg = m;
	while (m->step < steps && !m->failed) {
		until = m->step + 500 + m_below(m, 20000);
		if (until > steps)
			until = steps;
		if (!new_loop(m))
			break;
		for (; m->step < until && !m->failed; m->step++) {
			if (m_percent(m, 30))
				do_turn(m);
			else
				act(m);
		}
		if (!m->failed)
			free_loop(m);
	}
	ok = !m->failed;
	m->report.steps = m->step;
	m->report.sent = m->sim.counts.sent;
	m->report.virtual_ns = m->sim.now;
	if (report != NULL)
		*report = m->report;
	while ((b = m->free_batches) != NULL) {
		m->free_batches = b->next;
		free(b);
	}
	sim_done(&m->sim);
	free(m);
	return ok;
}
