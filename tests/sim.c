/* SPDX-License-Identifier: ISC */

/*
 * The simulated network: sim.h says what it does.
 */

#include "sim.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/list.h"

#define SMALL		256u		/* bytes of datagrams that are kept */
#define UDP_MOST	65507u
#define FIRST_PORT	32768u
#define DEFAULT_BUFFER	212992
#define EVENT		(-1)		/* in place of a family */

struct sim_packet {
	struct sim_packet *next;
	uint64_t due, seq, tag;
	uint32_t sender, receiver;	/* serials; receiver 0: by address */
	int fd;				/* of the sender, or the receiver */
	int error;			/* no datagram, but an error for fd */
	struct sim_name from, to;
	size_t size, room;
	char data[];
};

static struct sim *
of_os(const struct dgi_os *os)
{
	/* The first member, which nobody else has made. */
	union { const struct dgi_os *os; struct sim *sim; } u = { .os = os };

	return u.sim;
}

static bool
chance(struct sim *sim, unsigned of)
{
	return of != 0 && (sim_random(&sim->rng) >> 48) < of;
}

static void
misuse(struct sim *sim, const char *what)
{
	if (sim->misuse == NULL)
		sim->misuse = what;
}

static int
fail(struct sim *sim, enum sim_call call, int err)
{
	if (sim->nfailures < SIM_FAILURES) {
		sim->failures[sim->nfailures].call = call;
		sim->failures[sim->nfailures++].result = -err;
	}
	return -err;
}

/* Should this call fail? Then with what. */
static int
injected(struct sim *sim, enum sim_call call)
{
	static const short errors[SIM_NCALLS][4] = {
		[SIM_SOCKET] = { EMFILE, ENFILE, ENOBUFS, ENOMEM },
		[SIM_BIND] = { EADDRINUSE, EACCES, ENOMEM, EADDRNOTAVAIL },
		[SIM_CONNECT] = { ENETUNREACH, EACCES, EPERM, EAGAIN },
		[SIM_SETSOCKOPT] = { EPERM, ENOMEM, EPERM, ENOMEM },
		[SIM_SEND] = { EPERM, ENETUNREACH, ENOMEM, EHOSTUNREACH },
		[SIM_RECV] = { ENOMEM, ECONNREFUSED, EHOSTUNREACH, EIO },
		[SIM_SET] = { ENOMEM, ENOSPC, ENOMEM, ENOSPC },
		[SIM_ALLOC] = { ENOMEM, ENOMEM, ENOMEM, ENOMEM },
	};

	sim->counts.calls++;
	if (!chance(sim, sim->config.fail[call]))
		return 0;
	return fail(sim, call, errors[call][sim_below(&sim->rng, 4)]);
}

/* ---- addresses ---- */

void
sim_name_of(struct sim_name *n, const struct sockaddr *sa, socklen_t len)
{
	const size_t path = offsetof(struct sockaddr_un, sun_path);
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	const char *p;
	size_t i;

	memset(n, 0, sizeof(*n));
	if (sa == NULL || len < sizeof(sa->sa_family))
		return;
	if (sa->sa_family == AF_INET && len >= sizeof(in)) {
		memcpy(&in, sa, sizeof(in));
		memcpy(n->u.ip, &in.sin_addr, sizeof(in.sin_addr));
		n->port = ntohs(in.sin_port);
	} else if (sa->sa_family == AF_INET6 && len >= sizeof(in6)) {
		memcpy(&in6, sa, sizeof(in6));
		memcpy(n->u.ip, &in6.sin6_addr, sizeof(in6.sin6_addr));
		n->port = ntohs(in6.sin6_port);
	} else if (sa->sa_family == AF_UNIX && len > path) {
		p = (const char *)sa + path;
		for (i = 0; i < len - path && i < SIM_PATH - 1; i++) {
			if (p[i] == '\0')
				break;
			n->u.path[i] = p[i];
		}
	} else {
		return;
	}
	n->family = sa->sa_family;
}

/* Into what a system call was given, cut as the kernel does it. */
static void
give_name(const struct sim_name *n, void *to, socklen_t *len)
{
	struct dgram_addr a;
	socklen_t room;

	if (to == NULL || len == NULL)
		return;
	memset(&a, 0, sizeof(a));
	a.u.sa.sa_family = (sa_family_t)n->family;
	if (n->family == AF_INET) {
		memcpy(&a.u.in.sin_addr, n->u.ip, sizeof(a.u.in.sin_addr));
		a.u.in.sin_port = htons(n->port);
		a.len = sizeof(a.u.in);
	} else if (n->family == AF_INET6) {
		memcpy(&a.u.in6.sin6_addr, n->u.ip, 16);
		a.u.in6.sin6_port = htons(n->port);
		a.len = sizeof(a.u.in6);
	} else if (n->u.path[0] == '\0') {
		/* Without a name: none, or the family alone. */
		a.len = DGI_HAVE_EMPTY_NAME ? 0 : 2;
	} else {
		memcpy(a.u.un.sun_path, n->u.path, SIM_PATH);
		a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
		    strlen(n->u.path) + 1);
	}
#if DGI_HAVE_SA_LEN
	a.u.sa.sa_len = (uint8_t)a.len;
#endif
	room = *len;
	memcpy(to, &a.u, a.len < room ? a.len : room);
	*len = a.len;
}

static bool
same(const struct sim_name *a, const struct sim_name *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static size_t
ip_len(const struct sim_name *n)
{
	return n->family == AF_INET ? 4 : 16;
}

static bool
is_any(const struct sim_name *n)
{
	static const unsigned char zero[16];

	return memcmp(n->u.ip, zero, ip_len(n)) == 0;
}

static bool
is_loopback(const struct sim_name *n)
{
	static const unsigned char one[16] = { [15] = 1 };

	if (n->family == AF_INET)
		return n->u.ip[0] == 127;
	return memcmp(n->u.ip, one, 16) == 0;
}

/* Not 127.0.0.1: 10.0.0.1, fd00::1. */
static bool
is_own_other(const struct sim_name *n)
{
	static const unsigned char v4[4] = { 10, 0, 0, 1 };
	static const unsigned char v6[16] = { [0] = 0xfd, [15] = 1 };

	return memcmp(n->u.ip, n->family == AF_INET ? v4 : v6, ip_len(n)) == 0;
}

static bool
is_local(const struct sim_name *n)
{
	return is_loopback(n) || is_own_other(n);
}

static bool
is_routed(const struct sim_name *n)
{
	return is_local(n) || n->u.ip[0] == (n->family == AF_INET ? 10 : 0xfd);
}

/* The address of this host that is used towards another. */
static void
set_source(struct sim_name *local, const struct sim_name *to)
{
	memset(local->u.ip, 0, sizeof(local->u.ip));
	if (local->family == AF_INET) {
		local->u.ip[0] = is_loopback(to) ? 127 : 10;
		local->u.ip[3] = 1;
	} else {
		local->u.ip[0] = is_loopback(to) ? 0 : 0xfd;
		local->u.ip[15] = 1;
	}
}

/* connect(2) and sendto(2) take the wildcard for the loopback. */
static void
resolve_any(struct sim_name *to)
{
	if (!is_any(to))
		return;
	to->u.ip[0] = to->family == AF_INET ? 127 : 0;
	to->u.ip[to->family == AF_INET ? 3 : 15] = 1;
}

/* ---- packets ---- */

static struct sim_packet *
new_packet(struct sim *sim, size_t size)
{
	struct sim_packet *p = sim->free_small;
	size_t room = size <= SMALL ? SMALL : size;

	if (size <= SMALL && p != NULL) {
		sim->free_small = p->next;
	} else {
		p = malloc(sizeof(*p) + room);
		if (p == NULL)
			abort();
		p->room = room;
	}
	p->next = NULL;
	p->size = size;
	p->error = 0;
	p->sender = p->receiver = 0;
	p->tag = 0;
	return p;
}

static void
free_packet(struct sim *sim, struct sim_packet *p)
{
	if (p->room != SMALL) {
		free(p);
		return;
	}
	p->next = sim->free_small;
	sim->free_small = p;
}

static bool
is_before(const struct sim_packet *a, const struct sim_packet *b)
{
	return a->due != b->due ? a->due < b->due : a->seq < b->seq;
}

static void
heap_push(struct sim *sim, struct sim_packet *p)
{
	size_t i = sim->heap_n++, up;

	if (sim->heap_n > sim->heap_size) {
		sim->heap_size = sim->heap_size == 0 ? 64 : sim->heap_size * 2;
		sim->heap = realloc(sim->heap,
		    sim->heap_size * sizeof(*sim->heap));
		if (sim->heap == NULL)
			abort();
	}
	for (; i > 0; i = up) {
		up = (i - 1) / 2;
		if (!is_before(p, sim->heap[up]))
			break;
		sim->heap[i] = sim->heap[up];
	}
	sim->heap[i] = p;
}

static struct sim_packet *
heap_pop(struct sim *sim)
{
	struct sim_packet *top = sim->heap[0], *p = sim->heap[--sim->heap_n];
	size_t i = 0, k;

	while ((k = 2 * i + 1) < sim->heap_n) {
		if (k + 1 < sim->heap_n &&
		    is_before(sim->heap[k + 1], sim->heap[k]))
			k++;
		if (!is_before(sim->heap[k], p))
			break;
		sim->heap[i] = sim->heap[k];
		i = k;
	}
	sim->heap[i] = p;
	return top;
}

static void
schedule(struct sim *sim, struct sim_packet *p, uint64_t after)
{
	p->due = sim->now + after;
	p->seq = sim->seq++;
	heap_push(sim, p);
}

/* ---- descriptors ---- */

struct sim_socket *
sim_socket(struct sim *sim, int fd)
{
	if (fd < SIM_FD || fd >= SIM_FD + sim->nfds ||
	    sim->sockets[fd - SIM_FD].family == 0)
		return NULL;
	return &sim->sockets[fd - SIM_FD];
}

static int
fd_of(const struct sim *sim, const struct sim_socket *s)
{
	return SIM_FD + (int)(s - sim->sockets);
}

/* One that is used by the program: it must be there. */
static struct sim_socket *
used(struct sim *sim, int fd)
{
	struct sim_socket *s = sim_socket(sim, fd);

	if (s == NULL || s->family == EVENT) {
		misuse(sim, "a descriptor that is closed was used");
		return NULL;
	}
	return s;
}

static struct sim_socket *
take_fd(struct sim *sim, int family)
{
	struct sim_socket *s;
	int i;

	for (i = 0; i < SIM_FDS; i++) {
		if (sim->sockets[i].family == 0)
			break;
	}
	if (i == SIM_FDS)
		return NULL;
	if (i == sim->nfds)
		sim->nfds++;
	s = &sim->sockets[i];
	memset(s, 0, sizeof(*s));
	s->family = family;
	s->serial = ++sim->serial;
	s->tail = &s->head;
	s->rcvbuf = s->sndbuf = DEFAULT_BUFFER;
	return s;
}

static struct sim_socket *
of_serial(struct sim *sim, int fd, uint32_t serial)
{
	struct sim_socket *s = sim_socket(sim, fd);

	return s != NULL && s->serial == serial ? s : NULL;
}

/* The socket of AF_UNIX with this serial, or NULL. */
static struct sim_socket *
find_serial(const struct sim *sim, uint32_t serial)
{
	union { const struct sim_socket *c; struct sim_socket *v; } u;
	int i;

	for (i = 0; i < sim->nfds; i++) {
		u.c = &sim->sockets[i];
		if (u.c->serial == serial && u.c->family != 0)
			return u.v;
	}
	return NULL;
}

static struct sim_file *
find_file(const struct sim *sim, const struct sim_name *n)
{
	size_t i;

	for (i = 0; i < SIM_FILES; i++) {
		if (sim->files[i].name.family != 0 &&
		    same(&sim->files[i].name, n)) {
			union { const struct sim_file *c; struct sim_file *v; }
			    u = { .c = &sim->files[i] };

			return u.v;
		}
	}
	return NULL;
}

static struct sim_file *
new_file(struct sim *sim, const struct sim_name *n)
{
	size_t i;

	for (i = 0; i < SIM_FILES; i++) {
		if (sim->files[i].name.family == 0) {
			memset(&sim->files[i], 0, sizeof(sim->files[i]));
			sim->files[i].name = *n;
			sim->files[i].ino = ++sim->ino;
			return &sim->files[i];
		}
	}
	return NULL;
}

/* ---- the network ---- */

/* Who gets a datagram: the connected, the bound, the wildcard; the youngest. */
static struct sim_socket *
find_receiver(struct sim *sim, const struct sim_name *to,
    const struct sim_name *from)
{
	struct sim_socket *s, *best = NULL;
	unsigned score, most = 0;
	int i;

	for (i = 0; i < sim->nfds; i++) {
		s = &sim->sockets[i];
		if (s->local.port != to->port || s->family != to->family)
			continue;
		if (!is_any(&s->local) && !same(&s->local, to))
			continue;
		if (s->peer.family != 0 && !same(&s->peer, from))
			continue;
		score = s->peer.family != 0 ? 3 : is_any(&s->local) ? 1 : 2;
		if (score < most ||
		    (score == most && s->serial < best->serial))
			continue;
		most = score;
		best = s;
	}
	return best;
}

static void
enqueue(struct sim *sim, struct sim_socket *s, struct sim_packet *p)
{
	if (s->packets >= sim->config.recv_packets) {
		s->drops++;
		sim->counts.full++;
		free_packet(sim, p);
		return;
	}
	p->next = NULL;
	*s->tail = p;
	s->tail = &p->next;
	s->packets++;
}

/* A datagram has arrived at its host, or an error at its socket. */
static void
arrive(struct sim *sim, struct sim_packet *p)
{
	struct sim_socket *s, *sender;

	sender = p->sender != 0 ? of_serial(sim, p->fd, p->sender) : NULL;
	if (p->error != 0) {
		if (sender != NULL && sender->peer.family != 0)
			sender->error = p->error;
		free_packet(sim, p);
		return;
	}
	if (sender != NULL)
		sender->on_the_way -= p->size;
	s = is_local(&p->to) ? find_receiver(sim, &p->to, &p->from) : NULL;
	if (s != NULL) {
		enqueue(sim, s, p);
		return;
	}
	sim->counts.nobody++;
	if (sender == NULL || !is_local(&p->to)) {
		free_packet(sim, p);
		return;
	}
	p->error = ECONNREFUSED;
	schedule(sim, p, sim->config.delay_ns);
}

static void
deliver_due(struct sim *sim)
{
	while (sim->heap_n > 0 && sim->heap[0]->due <= sim->now)
		arrive(sim, heap_pop(sim));
}

static void
gather(char *to, const struct iovec *iov, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		if (iov[i].iov_len > 0)
			memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
}

/* On its way, once more or not at all. */
static void
launch(struct sim *sim, struct sim_packet *p, struct sim_socket *sender)
{
	struct sim_packet *twin;
	uint64_t delay = sim->config.delay_ns;

	if (chance(sim, sim->config.loss)) {
		sim->counts.lost++;
		free_packet(sim, p);
		return;
	}
	if (chance(sim, sim->config.duplicate)) {
		twin = new_packet(sim, p->size);
		memcpy(twin->data, p->data, p->size);
		twin->from = p->from;
		twin->to = p->to;
		twin->tag = p->tag;
		schedule(sim, twin, delay);
	}
	if (sender != NULL) {
		p->sender = sender->serial;
		p->fd = fd_of(sim, sender);
		sender->on_the_way += p->size;
	}
	if (chance(sim, sim->config.late))
		delay = delay * (2 + sim_below(&sim->rng, 9));
	schedule(sim, p, delay);
	deliver_due(sim);
}

/* A port that nobody has, for a socket that has none. */
static int
choose_port(struct sim *sim, struct sim_socket *s)
{
	unsigned tries;
	int i;

	for (tries = 0; tries < 4096; tries++) {
		s->local.port = sim->port++;
		if (sim->port < FIRST_PORT)
			sim->port = FIRST_PORT;
		for (i = 0; i < sim->nfds; i++) {
			if (&sim->sockets[i] != s &&
			    sim->sockets[i].family == s->family &&
			    sim->sockets[i].local.port == s->local.port)
				break;
		}
		if (i == sim->nfds)
			return 0;
	}
	s->local.port = 0;
	return -EADDRINUSE;
}

/* Checks of a datagram of UDP: 0, or its error. */
static int
check_udp(struct sim *sim, struct sim_socket *s, const struct sim_name *to,
    size_t size)
{
	int r;

	if (s->error != 0) {
		r = -s->error;
		s->error = 0;
		return r;
	}
	if (size > UDP_MOST)
		return -EMSGSIZE;
	if (to->family == 0)
		return -EDESTADDRREQ;
	if (to->family != s->family || to->port == 0)
		return -EINVAL;
	if (!is_routed(to))
		return -ENETUNREACH;
	if (sim->now < sim->nobufs_until || chance(sim, sim->config.nobufs))
		return -ENOBUFS;
	if (s->on_the_way > 0 && s->on_the_way + size > sim->config.send_bytes)
		return -EAGAIN;
	return s->local.port == 0 ? choose_port(sim, s) : 0;
}

/* The receiver of a path, or of a connection. */
static int
find_unix(struct sim *sim, struct sim_socket *s, const struct sim_name *to,
    struct sim_socket **ret)
{
	const struct sim_file *f;
	struct sim_socket *r;

	if (to->family == 0) {
		if (s->peer_serial == 0)
			return -ENOTCONN;
		*ret = find_serial(sim, s->peer_serial);
		if (*ret != NULL)
			return 0;
		/* It is gone, and the connection with it. */
		s->peer_serial = 0;
		memset(&s->peer, 0, sizeof(s->peer));
		return sim->config.bsd_unix ? -ECONNRESET : -ECONNREFUSED;
	}
	f = find_file(sim, to);
	if (f == NULL)
		return -ENOENT;
	r = f->plain ? NULL : find_serial(sim, f->serial);
	if (r == NULL)
		return -ECONNREFUSED;
	*ret = r;
	return r->peer_serial != 0 && r->peer_serial != s->serial ? -EPERM : 0;
}

static int
send_unix(struct sim *sim, struct sim_socket *s, const struct sim_name *to,
    size_t size, struct sim_socket **receiver)
{
	int r = find_unix(sim, s, to, receiver);

	if (r < 0)
		return r;
	if (size > (size_t)s->sndbuf)
		return -EMSGSIZE;
	if ((*receiver)->packets < sim->config.recv_packets)
		return 0;
	return sim->config.bsd_unix ? -ENOBUFS : -EAGAIN;
}

/*
 * All that sends ends here: bytes, or -errno, which is told of the first datagram
 * of a call only.
 */
static int
transmit(struct sim *sim, int fd, const struct iovec *iov, int n,
    const struct sockaddr *sa, socklen_t len, bool first)
{
	struct sim_event e = { .what = SIM_SENT, .fd = fd, .first = first,
	    .iov = iov, .iovcnt = n, .addr = sa, .len = len };
	struct sim_socket *s = used(sim, fd), *receiver = NULL;
	struct sim_packet *p = NULL;
	struct sim_name to;
	size_t size = 0;
	int i, r;

	if (s == NULL)
		return -EBADF;
	for (i = 0; i < n; i++)
		size += iov[i].iov_len;
	sim_name_of(&to, sa, len);
	sim->now += sim->config.call_ns;
	deliver_due(sim);
	r = injected(sim, SIM_SEND);
	if (r == 0 && s->family == AF_UNIX) {
		r = send_unix(sim, s, &to, size, &receiver);
	} else if (r == 0) {
		if (to.family == 0)
			to = s->peer;
		else
			resolve_any(&to);
		r = check_udp(sim, s, &to, size);
	}
	if (r == 0) {
		p = new_packet(sim, size);
		gather(p->data, iov, n);
		p->from = s->local;
		p->to = to;
		if (s->family != AF_UNIX && is_any(&p->from))
			set_source(&p->from, &to);
		r = (int)size;
	}
	e.result = r;
	if (sim->observe != NULL && (first || r >= 0))
		sim->observe(sim, &e);
	if (p == NULL)
		return r;
	sim->counts.sent++;
	p->tag = e.tag;
	if (receiver != NULL)
		enqueue(sim, receiver, p);
	else
		launch(sim, p, s);
	return r;
}

/* Bytes of the datagram, or -errno. */
static int
receive(struct sim *sim, int fd, struct msghdr *m, int flags, bool first)
{
	struct sim_event e = { .what = SIM_RECEIVED, .fd = fd };
	struct sim_socket *s = used(sim, fd);
	struct sim_packet *p;
	size_t done = 0, k, i;
	int r;

	if (s == NULL)
		return -EBADF;
#if DGI_HAVE_ERRQUEUE
	if ((flags & MSG_ERRQUEUE) != 0)
		return -EAGAIN;
#endif
	if (first) {
		sim->now += sim->config.call_ns;
		deliver_due(sim);
	}
	r = first ? injected(sim, SIM_RECV) : 0;
	if (r == 0 && s->error != 0) {
		r = -s->error;
		s->error = 0;
	}
	p = s->head;
	if (r == 0 && p == NULL)
		r = -EAGAIN;
	if (r < 0) {
		e.result = r;
		if (sim->observe != NULL)
			sim->observe(sim, &e);
		return r;
	}
	for (i = 0; i < (size_t)m->msg_iovlen && done < p->size; i++) {
		k = p->size - done;
		if (k > m->msg_iov[i].iov_len)
			k = m->msg_iov[i].iov_len;
		memcpy(m->msg_iov[i].iov_base, p->data + done, k);
		done += k;
	}
	m->msg_flags = done < p->size ? MSG_TRUNC : 0;
	m->msg_controllen = 0;
	if (m->msg_name != NULL)
		give_name(&p->from, m->msg_name, &m->msg_namelen);
	r = (flags & MSG_TRUNC) != 0 ? (int)p->size : (int)done;
	if ((flags & MSG_PEEK) != 0)
		return r;
	e.result = r;
	e.iov = m->msg_iov;
	e.iovcnt = (int)m->msg_iovlen;
	e.addr = m->msg_name;
	e.len = m->msg_name != NULL ? m->msg_namelen : 0;
	e.tag = p->tag;
	e.size = p->size;
	s->head = p->next;
	if (s->head == NULL)
		s->tail = &s->head;
	s->packets--;
	free_packet(sim, p);
	sim->counts.received++;
	if (sim->observe != NULL)
		sim->observe(sim, &e);
	return r;
}

/* ---- the table ---- */

static int
os_socket(const struct dgi_os *os, int domain, int type, int proto)
{
	struct sim *sim = of_os(os);
	struct sim_socket *s;
	int r = injected(sim, SIM_SOCKET);

	(void)type, (void)proto;
	if (r < 0)
		return r;
	s = take_fd(sim, domain);
	if (s == NULL)
		return fail(sim, SIM_SOCKET, EMFILE);
	s->local.family = (uint16_t)domain;
	return fd_of(sim, s);
}

static int
os_close(const struct dgi_os *os, int fd)
{
	struct sim *sim = of_os(os);
	struct sim_socket *s = sim_socket(sim, fd);
	struct sim_packet *p;

	if (s == NULL) {
		misuse(sim, "a descriptor was closed twice");
		return -EBADF;
	}
	if (s->want != 0)
		misuse(sim, "a descriptor was closed that is registered");
	while ((p = s->head) != NULL) {
		s->head = p->next;
		free_packet(sim, p);
	}
	memset(s, 0, sizeof(*s));
	while (sim->nfds > 0 && sim->sockets[sim->nfds - 1].family == 0)
		sim->nfds--;
	return 0;
}

static int
bind_unix(struct sim *sim, struct sim_socket *s, const struct sim_name *n)
{
	struct sim_file *f;

	if (s->local.u.path[0] != '\0')
		return fail(sim, SIM_BIND, EINVAL);
	if (find_file(sim, n) != NULL)
		return fail(sim, SIM_BIND, EADDRINUSE);
	f = new_file(sim, n);
	if (f == NULL)
		return fail(sim, SIM_BIND, ENOSPC);
	f->serial = s->serial;
	s->local = *n;
	return 0;
}

static int
bind_udp(struct sim *sim, struct sim_socket *s, const struct sim_name *n)
{
	const struct sim_socket *o;
	int i, r;

	if (s->local.port != 0)
		return fail(sim, SIM_BIND, EINVAL);
	if (!is_any(n) && !is_local(n))
		return fail(sim, SIM_BIND, EADDRNOTAVAIL);
	for (i = 0; n->port != 0 && i < sim->nfds; i++) {
		o = &sim->sockets[i];
		if (o->family != s->family || o->local.port != n->port ||
		    (o->reuse && s->reuse))
			continue;
		if (is_any(n) || is_any(&o->local) || same(n, &o->local))
			return fail(sim, SIM_BIND, EADDRINUSE);
	}
	s->local = *n;
	s->any = is_any(n);
	s->fixed = n->port != 0;
	if (s->fixed)
		return 0;
	r = choose_port(sim, s);
	return r < 0 ? fail(sim, SIM_BIND, -r) : 0;
}

/* Descriptors are not sent here. */
static int
os_dup(const struct dgi_os *os, int fd)
{
	(void)os, (void)fd;
	return -EMFILE;
}

static int
os_bind(const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	struct sim *sim = of_os(os);
	struct sim_socket *s = used(sim, fd);
	struct sim_name n;
	int r;

	if (s == NULL)
		return -EBADF;
	r = injected(sim, SIM_BIND);
	if (r < 0)
		return r;
	sim_name_of(&n, sa, len);
	if (n.family != s->family)
		return fail(sim, SIM_BIND, EINVAL);
	return s->family == AF_UNIX ? bind_unix(sim, s, &n) :
	    bind_udp(sim, s, &n);
}

/* What Linux does: a port that the kernel chose is gone. */
static void
dissolve(struct sim_socket *s)
{
	memset(&s->peer, 0, sizeof(s->peer));
	s->peer_serial = 0;
	if (s->family == AF_UNIX)
		return;
	if (s->any)
		memset(s->local.u.ip, 0, sizeof(s->local.u.ip));
	if (!s->fixed && DGI_HAVE_FORGETFUL_DISCONNECT)
		s->local.port = 0;
}

static int
connect_to(struct sim *sim, struct sim_socket *s, const struct sockaddr *sa,
    socklen_t len)
{
	struct sim_socket *peer = NULL;
	struct sim_name n;
	int r;

	sim_name_of(&n, sa, len);
	if (n.family != s->family)
		return fail(sim, SIM_CONNECT, EAFNOSUPPORT);
	if (s->family == AF_UNIX) {
		r = find_unix(sim, s, &n, &peer);
		if (r < 0)
			return fail(sim, SIM_CONNECT, -r);
		s->peer_serial = peer->serial;
		s->peer = n;
		return 0;
	}
	resolve_any(&n);
	if (!is_routed(&n))
		return fail(sim, SIM_CONNECT, ENETUNREACH);
	if (s->local.port == 0) {
		r = choose_port(sim, s);
		if (r < 0)
			return fail(sim, SIM_CONNECT, EAGAIN);
	}
	s->peer = n;
	if (is_any(&s->local))
		set_source(&s->local, &n);
	return 0;
}

static int
os_connect(const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	struct sim_event e = { .what = SIM_CONNECTED, .fd = fd, .addr = sa,
	    .len = len };
	struct sim *sim = of_os(os);
	struct sim_socket *s = used(sim, fd);
	int r;

	if (s == NULL)
		return -EBADF;
	r = injected(sim, SIM_CONNECT);
	if (len >= sizeof(sa->sa_family) && sa->sa_family == AF_UNSPEC) {
		if (r == 0)
			dissolve(s);
		return r;
	}
	e.result = r < 0 ? r : connect_to(sim, s, sa, len);
	if (sim->observe != NULL)
		sim->observe(sim, &e);
	return e.result;
}

static int
os_getsockname(const struct dgi_os *os, int fd, struct sockaddr *sa,
    socklen_t *len)
{
	struct sim_socket *s = used(of_os(os), fd);

	if (s == NULL)
		return -EBADF;
	give_name(&s->local, sa, len);
	/* Its family is told even of a socket without a name. */
	if (*len == 0) {
		memset(sa, 0, sizeof(sa->sa_family) + 1);
		sa->sa_family = AF_UNIX;
		*len = sizeof(sa->sa_family);
	}
	return 0;
}

static int
os_getpeername(const struct dgi_os *os, int fd, struct sockaddr *sa,
    socklen_t *len)
{
	struct sim_socket *s = used(of_os(os), fd);

	if (s == NULL)
		return -EBADF;
	if (s->peer.family == 0)
		return -ENOTCONN;
	give_name(&s->peer, sa, len);
	return 0;
}

/* SO_MEMINFO of Linux: the ninth of nine words counts the drops. */
#define MEMINFO		55
#define MEMINFO_DROPS	8

static int
os_getsockopt(const struct dgi_os *os, int fd, int level, int name, void *v,
    socklen_t *len)
{
	struct sim *sim = of_os(os);
	struct sim_socket *s = used(sim, fd);
	struct sim_event e = { .what = SIM_ERROR, .fd = fd };
	uint32_t words[MEMINFO_DROPS + 1] = { 0 };
	int r = 0;

	if (s == NULL)
		return -EBADF;
	if (level != SOL_SOCKET)
		return -ENOPROTOOPT;
	if (DGI_HAVE_MEMINFO && name == MEMINFO && *len >= sizeof(words)) {
		words[MEMINFO_DROPS] = (uint32_t)s->drops;
		memcpy(v, words, sizeof(words));
		*len = sizeof(words);
		return 0;
	}
	switch (name) {
	case SO_ERROR:
		r = s->error;
		s->error = 0;
		e.result = -r;
		if (sim->observe != NULL)
			sim->observe(sim, &e);
		break;
	case SO_TYPE:
		r = SOCK_DGRAM;
		break;
	case SO_RCVBUF:
		r = s->rcvbuf;
		break;
	case SO_SNDBUF:
		r = s->sndbuf;
		break;
#if DGI_HAVE_SO_PROTOCOL
	case SO_PROTOCOL:
		r = s->family == AF_UNIX ? 0 : IPPROTO_UDP;
		break;
#endif
	default:
		return -ENOPROTOOPT;
	}
	memcpy(v, &r, sizeof(r));
	*len = sizeof(r);
	return 0;
}

static int
os_setsockopt(const struct dgi_os *os, int fd, int level, int name,
    const void *v, socklen_t len)
{
	struct sim *sim = of_os(os);
	struct sim_socket *s = used(sim, fd);
	int r, n = 0;

	if (s == NULL)
		return -EBADF;
	r = injected(sim, SIM_SETSOCKOPT);
	if (r < 0)
		return r;
	memcpy(&n, v, len < sizeof(n) ? len : sizeof(n));
	if (level != SOL_SOCKET)
		return 0;
	/* As Linux does it: twice what is asked. */
	if (name == SO_RCVBUF)
		s->rcvbuf = n > 1152 ? 2 * n : 2304;
	else if (name == SO_SNDBUF)
		s->sndbuf = n > 2304 ? 2 * n : 4608;
	else if (name == SO_REUSEADDR || name == SO_REUSEPORT)
		s->reuse = n != 0;
	return 0;
}

static ssize_t
os_recvfrom(const struct dgi_os *os, int fd, void *buf, size_t size, int flags,
    struct sockaddr *sa, socklen_t *len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_name = sa, .msg_namelen = len != NULL ? *len : 0 };
	int r;

	r = receive(of_os(os), fd, &m, flags, true);
	if (r >= 0 && len != NULL)
		*len = m.msg_namelen;
	return r;
}

static ssize_t
os_recvmsg(const struct dgi_os *os, int fd, struct msghdr *m, int flags)
{
	return receive(of_os(os), fd, m, flags, true);
}

static ssize_t
os_sendto(const struct dgi_os *os, int fd, const void *buf, size_t size,
    const struct sockaddr *sa, socklen_t len)
{
	struct iovec iov = { .iov_len = size };

	memcpy(&iov.iov_base, &buf, sizeof(buf));
	return transmit(of_os(os), fd, &iov, 1, sa, len, true);
}

static ssize_t
os_sendmsg(const struct dgi_os *os, int fd, const struct msghdr *m)
{
	return transmit(of_os(os), fd, m->msg_iov, (int)m->msg_iovlen,
	    m->msg_name, m->msg_namelen, true);
}

static int
os_recvmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n,
    int flags)
{
	struct sim *sim = of_os(os);
	struct sim_socket *s;
	unsigned i;
	int r;

	if (sim->config.no_recvmmsg)
		return -ENOSYS;
	for (i = 0; i < n; i++) {
		s = sim_socket(sim, fd);
		/* A call that has something ends without an error. */
		if (i > 0 && s != NULL && (s->head == NULL || s->error != 0))
			break;
		r = receive(sim, fd, &m[i].msg_hdr, flags, i == 0);
		if (r < 0)
			return r;
		m[i].msg_len = (unsigned)r;
	}
	return (int)i;
}

static int
os_sendmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n)
{
	struct sim *sim = of_os(os);
	unsigned i;
	int r;

	if (sim->config.no_sendmmsg)
		return -ENOSYS;
	for (i = 0; i < n; i++) {
		r = transmit(sim, fd, m[i].msg_hdr.msg_iov,
		    (int)m[i].msg_hdr.msg_iovlen, m[i].msg_hdr.msg_name,
		    m[i].msg_hdr.msg_namelen, i == 0);
		if (r < 0)
			return i > 0 ? (int)i : r;
		m[i].msg_len = (unsigned)r;
	}
	return (int)n;
}

static uint64_t
os_now(const struct dgi_os *os)
{
	return of_os(os)->now;
}

static unsigned
os_if_nametoindex(const struct dgi_os *os, const char *name)
{
	(void)os, (void)name;
	return 0;
}

static int
os_interfaces(const struct dgi_os *os, dgi_interface_fn *fn, void *arg)
{
	(void)os, (void)fn, (void)arg;
	return 0;
}

static int
os_lstat(const struct dgi_os *os, const char *path, struct stat *st)
{
	struct dgram_addr a;
	struct sim_name n;
	const struct sim_file *f;

	(void)dgram_addr_unix(&a, path);
	sim_name_of(&n, &a.u.sa, a.len);
	f = find_file(of_os(os), &n);
	if (f == NULL)
		return -ENOENT;
	memset(st, 0, sizeof(*st));
	st->st_mode = f->plain ? S_IFREG : S_IFSOCK;
	st->st_ino = f->ino;
	return 0;
}

static int
os_unlink(const struct dgi_os *os, const char *path)
{
	sim_remove_file(of_os(os), path);
	return 0;
}

static int
os_event_open(const struct dgi_os *os, int fd[2])
{
	struct sim *sim = of_os(os);
	struct sim_socket *s = take_fd(sim, EVENT);

	if (s == NULL)
		return fail(sim, SIM_SOCKET, EMFILE);
	fd[0] = fd[1] = fd_of(sim, s);
	return 0;
}

static struct sim_socket *
event(struct sim *sim, int fd)
{
	struct sim_socket *s = sim_socket(sim, fd);

	if (s == NULL || s->family != EVENT) {
		misuse(sim, "an event that is closed was used");
		return NULL;
	}
	return s;
}

static int
os_event_signal(const struct dgi_os *os, int fd)
{
	struct sim_socket *s = event(of_os(os), fd);

	if (s == NULL)
		return -EBADF;
	s->raised = true;
	return 0;
}

static void
os_event_clear(const struct dgi_os *os, int fd)
{
	struct sim_socket *s = event(of_os(os), fd);

	if (s != NULL)
		s->raised = false;
}

/* ---- the backend ---- */

static struct sim *
of_poller(const struct dgi_poller *p)
{
	union { const struct dgi_poller_ops *ops; struct sim *sim; } u = {
		.ops = p->ops };

	u.sim = DGI_CONTAINER(u.sim, struct sim, poller);
	return u.sim;
}

static int
poller_open(struct dgi_poller *p)
{
	(void)p;
	return 0;
}

static void
poller_close(struct dgi_poller *p)
{
	(void)p;
}

static int
poller_set(struct dgi_poller *p, const struct dgi_interest *w, unsigned have,
    unsigned want)
{
	struct sim *sim = of_poller(p);
	struct sim_socket *s = sim_socket(sim, w->fd);
	int r = want != 0 ? injected(sim, SIM_SET) : 0;

	if (s == NULL) {
		misuse(sim, "a descriptor was registered that is closed");
		return -EBADF;
	}
	if (s->want != have)
		misuse(sim, "it is not known what is registered");
	if (have != 0 && (s->slot != w->slot || s->gen != w->gen))
		misuse(sim, "another's registration was changed");
	if (r < 0)
		return r;
	s->want = want;
	s->slot = w->slot;
	s->gen = w->gen;
	return 0;
}

bool
sim_is_writable(const struct sim *sim, const struct sim_socket *s)
{
	const struct sim_socket *peer;

	if (s->family != AF_UNIX)
		return s->on_the_way <= sim->config.send_bytes / 2;
	if (s->peer_serial == 0 || sim->config.bsd_unix)
		return true;
	peer = find_serial(sim, s->peer_serial);
	return peer == NULL || peer->packets < sim->config.recv_packets;
}

static unsigned
ready(struct sim *sim, const struct sim_socket *s)
{
	unsigned e = 0;

	if (s->family == EVENT)
		return s->raised ? DGRAM_READABLE : 0;
	if (s->error != 0)
		e |= DGI_ERROR | DGRAM_READABLE;
	if (s->head != NULL)
		e |= DGRAM_READABLE;
	if ((s->want & DGRAM_WRITABLE) != 0 && sim_is_writable(sim, s))
		e |= DGRAM_WRITABLE;
	return e & (s->want | DGI_ERROR);
}

static int
collect(struct sim *sim, struct dgi_report *out, int max)
{
	const struct sim_socket *s;
	unsigned e;
	int i, k, n = 0;

	k = sim->nfds > 0 ? (int)(sim->turn++ % (unsigned)sim->nfds) : 0;
	for (i = 0; i < sim->nfds && n < max; i++) {
		s = &sim->sockets[k];
		k = k + 1 < sim->nfds ? k + 1 : 0;
		if (s->want == 0)
			continue;
		e = ready(sim, s);
		if (e == 0)
			continue;
		out[n].slot = s->slot;
		out[n].gen = s->gen;
		out[n++].events = e;
	}
	return n;
}

/* Tells of a datagram whose sum was wrong. */
static int
tell_lies(struct sim *sim, struct dgi_report *out)
{
	const struct sim_socket *s;

	if (sim->nfds == 0)
		return 0;
	s = &sim->sockets[sim_below(&sim->rng, (unsigned)sim->nfds)];
	if (s->family == EVENT || (s->want & DGRAM_READABLE) == 0)
		return 0;
	out[0].slot = s->slot;
	out[0].gen = s->gen;
	out[0].events = DGRAM_READABLE;
	return 1;
}

static int
poller_wait(struct dgi_poller *p, int64_t timeout_ns, struct dgi_report *out,
    int max)
{
	struct sim *sim = of_poller(p);
	struct sim_event e = { .what = SIM_WAIT, .fd = -1,
	    .tag = (uint64_t)timeout_ns };
	uint64_t end, next;
	int n;

	sim->counts.waits++;
	if (sim->observe != NULL)
		sim->observe(sim, &e);
	sim->now += sim->config.call_ns;
	if (chance(sim, sim->config.spurious))
		return tell_lies(sim, out);
	end = timeout_ns < 0 ? UINT64_MAX : sim->now + (uint64_t)timeout_ns;
	for (;;) {
		deliver_due(sim);
		n = collect(sim, out, max);
		if (n > 0 || sim->now >= end)
			break;
		next = sim->heap_n > 0 ? sim->heap[0]->due : UINT64_MAX;
		if (next == UINT64_MAX && end == UINT64_MAX)
			return -EDEADLK;
		sim->now = next < end ? next : end;
		if (next >= end && sim->config.oversleep_ns > 0)
			sim->now += sim_random(&sim->rng) %
			    sim->config.oversleep_ns;
	}
	sim->counts.reports += (unsigned)n;
	return n;
}

/* ---- the allocator ---- */

static void *
alloc(size_t size, void *arg)
{
	struct sim *sim = arg;
	void *p;

	if (injected(sim, SIM_ALLOC) < 0) {
		sim->alloc_failures++;
		return NULL;
	}
	p = malloc(size);
	if (p == NULL)
		return NULL;
	sim->pieces++;
	sim->held += size;
	return p;
}

static void
release(void *p, size_t size, void *arg)
{
	struct sim *sim = arg;

	sim->pieces--;
	sim->held -= size;
	free(p);
}

/* ---- for the user ---- */

static const struct dgi_os table = {
	.socket = os_socket,
	.close = os_close,
	.dup = os_dup,
	.bind = os_bind,
	.connect = os_connect,
	.getsockname = os_getsockname,
	.getpeername = os_getpeername,
	.getsockopt = os_getsockopt,
	.setsockopt = os_setsockopt,
	.recvfrom = os_recvfrom,
	.recvmsg = os_recvmsg,
	.sendto = os_sendto,
	.sendmsg = os_sendmsg,
	.recvmmsg = os_recvmmsg,
	.sendmmsg = os_sendmmsg,
	.now = os_now,
	.if_nametoindex = os_if_nametoindex,
	.interfaces = os_interfaces,
	.lstat = os_lstat,
	.unlink = os_unlink,
	.event_open = os_event_open,
	.event_signal = os_event_signal,
	.event_clear = os_event_clear,
};

static const struct dgi_poller_ops backend = {
	.name = "sim",
	.open = poller_open,
	.close = poller_close,
	.forget = poller_close,
	.set = poller_set,
	.wait = poller_wait,
};

void
sim_init(struct sim *sim, uint64_t seed)
{
	memset(sim, 0, sizeof(*sim));
	memcpy(&sim->os, &table, sizeof(table));
	memcpy(&sim->poller, &backend, sizeof(backend));
	sim->allocator.alloc = alloc;
	sim->allocator.free = release;
	sim->allocator.arg = sim;
	/* No state of all zeros, and neighbours are far apart. */
	sim->rng = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	sim->now = 1000000000;
	sim->port = FIRST_PORT;
	sim->config.recv_packets = 256;
	sim->config.send_bytes = DEFAULT_BUFFER;
}

void
sim_done(struct sim *sim)
{
	struct sim_packet *p;
	int i;

	for (i = 0; i < sim->nfds; i++) {
		while ((p = sim->sockets[i].head) != NULL) {
			sim->sockets[i].head = p->next;
			free(p);
		}
	}
	while (sim->heap_n > 0)
		free(sim->heap[--sim->heap_n]);
	free(sim->heap);
	while ((p = sim->free_small) != NULL) {
		sim->free_small = p->next;
		free(p);
	}
}

bool
sim_has_failed(const struct sim *sim, enum sim_call call, int with)
{
	unsigned i;

	for (i = 0; i < sim->nfailures; i++) {
		if (sim->failures[i].call == call &&
		    (with == 0 || sim->failures[i].result == with))
			return true;
	}
	return false;
}

int
sim_inject(struct sim *sim, const struct dgram_addr *from,
    const struct dgram_addr *to, const void *data, size_t size, uint64_t tag)
{
	struct sim_packet *p;

	if (size > UDP_MOST)
		return -EINVAL;
	p = new_packet(sim, size);
	sim_name_of(&p->from, &from->u.sa, from->len);
	sim_name_of(&p->to, &to->u.sa, to->len);
	if (p->from.family != p->to.family || p->from.family == AF_UNIX ||
	    p->from.family == 0) {
		free_packet(sim, p);
		return -EINVAL;
	}
	if (size > 0)
		memcpy(p->data, data, size);
	p->tag = tag;
	launch(sim, p, NULL);
	return 0;
}

void
sim_error(struct sim *sim, int fd, int err)
{
	struct sim_socket *s = sim_socket(sim, fd);

	if (s != NULL)
		s->error = err;
}

void
sim_nobufs(struct sim *sim, uint64_t ns)
{
	sim->nobufs_until = sim->now + ns;
}

static struct sim_file *
find_path(const struct sim *sim, const char *path, struct sim_name *n)
{
	struct dgram_addr a;

	if (dgram_addr_unix(&a, path) < 0)
		return NULL;
	sim_name_of(n, &a.u.sa, a.len);
	return find_file(sim, n);
}

void
sim_put_file(struct sim *sim, const char *path)
{
	struct sim_name n;
	struct sim_file *f;

	sim_remove_file(sim, path);
	(void)find_path(sim, path, &n);
	f = new_file(sim, &n);
	if (f != NULL)
		f->plain = true;
}

void
sim_remove_file(struct sim *sim, const char *path)
{
	struct sim_name n;
	struct sim_file *f = find_path(sim, path, &n);

	if (f != NULL)
		f->name.family = 0;
}

int
sim_has_file(const struct sim *sim, const char *path)
{
	struct sim_name n;
	const struct sim_file *f = find_path(sim, path, &n);

	return f == NULL ? 0 : f->plain ? 2 : 1;
}

unsigned
sim_open_fds(const struct sim *sim)
{
	unsigned n = 0;
	int i;

	for (i = 0; i < sim->nfds; i++)
		n += sim->sockets[i].family != 0;
	return n;
}

bool
sim_is_quiet(const struct sim *sim)
{
	return sim->heap_n == 0;
}
