/* SPDX-License-Identifier: ISC */

/*
 * Receiving: from readiness to the message callback.
 *
 * A socket that was quiet is read by one recvfrom(2) and left: no second call
 * to learn EAGAIN, the backend is level-triggered and speaks again if there is
 * more.  That is the cheapest for many sockets with a datagram each.  One that
 * is ready again in the very next wait is in a streak: recvmmsg(2), of 8 at
 * first and then of a batch, until a short one or the end of the budget.  A
 * result of 0 or 1 ends the streak, and the next one takes longer to begin.
 *
 * What one system call brought goes to the callback at once, as one array.
 * Behind each callback all that it sent is flushed, so that replies which lie
 * in the arena need no copy; what the kernel did not take gets one.
 */

#include "core/plat.h"

#include <errno.h>

#include "core/addr.h"
#include "core/blocklist.h"
#include "core/queue.h"
#include "core/socket.h"

#define FIRST_BATCH	8u
#define PATIENCE_MOST	15u

/* After an error that does not go away. */
#define REST_NS		50000000u

#if DGI_HAVE_TRUE_LENGTH
#define RECV_FLAGS	MSG_TRUNC
#else
#define RECV_FLAGS	0
#endif

static void
cut(struct dgram_socket *s, struct dgram_message *m)
{
	m->size = s->options.max_datagram;
	m->wire_size = DGI_HAVE_TRUE_LENGTH ? m->wire_size : 0;
	m->flags = DGRAM_TRUNCATED;
	s->stats.truncated++;
}

/* Fills in message i, of which `len` bytes came; how many it has. */
static inline size_t
fill(struct dgram_socket *s, struct dgi_arena *a, unsigned i, size_t len,
    socklen_t namelen, size_t most)
{
	struct dgram_message *m = &a->messages[i];

	m->wire_size = m->size = len;
	m->flags = 0;
	a->rx_addr[i].len = namelen;
	if (len > most)
		cut(s, m);
	return m->size;
}

/* Something came beside the bytes, if there were any. */
static bool
has_control(const struct dgi_arena *a, unsigned i)
{
	const struct msghdr *h = &a->rx[i].msg_hdr;

	return (a->mode & DGI_RX_CONTROL) != 0 && (h->msg_controllen > 0 ||
	    (h->msg_flags & MSG_CTRUNC) != 0);
}

/* What a socket that asks for no names would be told of the next sender. */
static DGI_APART bool
is_next_from_nobody(const struct dgram_socket *s)
{
	const struct dgi_os *os = s->loop->os;
	struct dgram_addr a;
	socklen_t len = sizeof(a.u);
	char byte;

	return os->recvfrom(os, s->fd, &byte, sizeof(byte), MSG_PEEK, &a.u.sa,
	    &len) == 0 && len == 0;
}

/*
 * After shutdown(2) on its descriptor a socket is readable for ever, with
 * nothing: EAGAIN from UDP on Linux, elsewhere no bytes and no sender.  poll(2)
 * does not tell of it everywhere, but where even unnamed senders have an address
 * the lack of one does.
 */
static inline bool
is_end(const struct dgram_socket *s, size_t len, socklen_t namelen, bool named,
    unsigned events)
{
	if (len != 0 || namelen != 0)
		return false;
	return (events & (DGI_HANGUP | DGI_READ_END)) != 0 ||
	    (!DGI_HAVE_EMPTY_NAME && (named || is_next_from_nobody(s)));
}

static void
hang_up(struct dgram_socket *s)
{
	s->hung_up = true;
	dgi_socket_changed(s);
	dgi_socket_error(s, -ESHUTDOWN, DGRAM_IN_RECEIVE, "recvmsg", NULL);
}

static void
failed(struct dgram_socket *s, int status)
{
	bool icmp = dgi_socket_is_icmp(s, status);

	if (!icmp && s->recv_error == status) {
		/* It does not go away: look again later, say nothing more. */
		s->recv_rests = true;
		s->rests_until = s->loop->now + REST_NS;
		dgi_queue_arm(s);
		dgi_socket_changed(s);
		return;
	}
	/* One of ICMP is gone with having been told. */
	if (!icmp)
		s->recv_error = status;
	dgi_socket_receive_error(s, status);
}

/* Gives the first n messages to the user, and what he sent to the kernel. */
static void
deliver(struct dgram_socket *s, unsigned n, size_t bytes)
{
	struct dgram_loop *l = s->loop;

	s->recv_error = 0;
	if (s->options.receive_block_list != NULL) {
		n = s->options.receive_block_list->sift(s, n, &bytes);
		if (n == 0)
			return;
	}
	s->stats.received += n;
	s->stats.received_bytes += bytes;
	l->arena.used = n;
	s->events.message(s, l->arena.messages, n, s->arg);
	dgi_loop_flush(l);
	dgi_queue_settle(l);
	dgi_arena_release(&l->arena, &l->mem);
}

/*
 * Fills in n messages and readies their slots for the next time; how many of
 * them are datagrams.
 */
static unsigned
fill_batch(struct dgram_socket *s, unsigned n, unsigned events, size_t *bytes)
{
	struct dgi_arena *a = &s->loop->arena;
	const size_t most = s->options.max_datagram;
	size_t sum = 0;
	socklen_t namelen;
	unsigned i, k;

	for (i = 0; i < n; i++) {
		namelen = a->rx[i].msg_hdr.msg_namelen;
		if (a->rx[i].msg_len == 0 && !has_control(a, i) &&
		    is_end(s, 0, namelen, (a->mode & DGI_RX_NAMED) != 0,
		    events))
			break;
		if ((a->mode & DGI_RX_NAMED) != 0)
			a->rx[i].msg_hdr.msg_namelen = sizeof(a->rx_addr[i].u);
		sum += fill(s, a, i, a->rx[i].msg_len, namelen, most);
	}
	*bytes = sum;
	if ((a->mode & DGI_RX_CONTROL) != 0) {
		for (k = 0; k < i; k++)
			dgi_meta_fill(s, k);
		for (; k < n; k++)
			dgi_meta_drop(s, k);
	}
	if (s->type != DGRAM_UNIX)
		return i;
	for (k = 0; k < i; k++)
		dgi_addr_trim(&a->rx_addr[k]);
	return i;
}

/* n headers are filled: how many datagrams that is. */
static int
take_batch(struct dgram_socket *s, unsigned n, unsigned events, int later)
{
	struct dgi_arena *a = &s->loop->arena;
	unsigned good;
	size_t bytes;

	good = fill_batch(s, n, events, &bytes);
	if (good > 0)
		deliver(s, good, bytes);
	if (good < n) {
		/* The slots behind lost their room for a name. */
		a->prepared = 0;
		if (s->state != DGI_CLOSED)
			hang_up(s);
	} else if (later < 0 && s->state != DGI_CLOSED) {
		failed(s, later);
	}
	return (int)good;
}

/* One datagram; how many came, or -errno. */
static int
read_one(struct dgram_socket *s, unsigned events)
{
	struct dgram_loop *l = s->loop;
	struct dgi_arena *a = &l->arena;
	bool named = (s->rx_mode & DGI_RX_NAMED) != 0;
	socklen_t namelen = sizeof(a->rx_addr[0].u);
	ssize_t len;
	size_t size;

	(void)dgi_arena_prepare(a, s->options.max_datagram, s->rx_mode, 1);
	s->stats.receive_calls++;
	if ((s->rx_mode & DGI_RX_CONTROL) != 0) {
		len = l->os->recvmsg(l->os, s->fd, &a->rx[0].msg_hdr,
		    RECV_FLAGS);
		if (len < 0)
			return (int)len;
		a->rx[0].msg_len = (unsigned)len;
		return take_batch(s, 1, events, 0);
	}
	len = l->os->recvfrom(l->os, s->fd, a->rx_iov[0].iov_base,
	    a->rx_iov[0].iov_len, RECV_FLAGS,
	    named ? &a->rx_addr[0].u.sa : NULL, named ? &namelen : NULL);
	if (len < 0)
		return (int)len;
	if (!named)
		namelen = 0;
	if (is_end(s, (size_t)len, namelen, named, events)) {
		hang_up(s);
		return 0;
	}
	size = fill(s, a, 0, (size_t)len, namelen, s->options.max_datagram);
	deliver(s, 1, size);
	return 1;
}

/* Up to n, already prepared; how many came, or -errno. */
static int
read_batch(struct dgram_socket *s, unsigned n, unsigned events)
{
	struct dgram_loop *l = s->loop;
	int r, later;

	s->stats.receive_calls++;
	r = dgi_mmsg_recv(l->os, &l->mmsg, s->fd, l->arena.rx, n, RECV_FLAGS,
	    &later);
	return r <= 0 ? r : take_batch(s, (unsigned)r, events, later);
}

/* How many to ask for. */
static unsigned
how_many(const struct dgram_socket *s, unsigned left)
{
	unsigned most = s->options.messages_per_call, n;

	n = s->streak == 0 ? 1 : s->streak == 1 ? FIRST_BATCH : s->loop->batch;
	if (n > s->loop->batch)
		n = s->loop->batch;
	if (n > left)
		n = left;
	if (most != 0 && n > most)
		n = most;
	if (n == 1)
		return 1;
	return dgi_arena_prepare(&s->loop->arena, s->options.max_datagram,
	    s->rx_mode, n);
}

/*
 * A visit of one datagram to a quiet socket.  Ready in the very next wait it is
 * in a streak; one that turned out to have a single datagram after all, as when
 * requests come one at a time, has to be ready more often the next time.
 */
static void
count_quiet(struct dgram_socket *s)
{
	if (s->quiet++ < s->patience)
		return;
	s->quiet = 0;
	s->streak = 1;
}

static void
end_streak(struct dgram_socket *s)
{
	s->streak = 0;
	s->quiet = 0;
	if (s->patience < PATIENCE_MOST)
		s->patience = s->patience * 2 + 1;
}

void
dgi_recv_ready(struct dgram_socket *s, unsigned events)
{
	unsigned left = s->loop->budget, n;
	int r;

	if (s->last_wait + 1 != s->loop->waits)
		s->streak = s->quiet = 0;
	s->last_wait = s->loop->waits;
	while (left > 0) {
		n = how_many(s, left);
		r = n == 1 ? read_one(s, events) : read_batch(s, n, events);
		if (r < 0) {
			s->streak = s->quiet = 0;
			if (r != -EAGAIN)
				failed(s, r);
			else if ((events & (DGI_HANGUP | DGI_READ_END)) != 0)
				hang_up(s);
			return;
		}
		if (!dgi_socket_reads(s))
			return;
		if (s->streak == 0) {
			count_quiet(s);
			return;
		}
		left -= (unsigned)r;
		if (n > 1 && r <= 1) {
			end_streak(s);
		} else {
			s->streak = 2;
			s->patience = 0;
		}
		if ((unsigned)r < n)
			return;
	}
	/* Whoever is flooded comes by here, and only then are there drops. */
	s->stats.budget_used_up++;
	if ((++s->floods & 0xffff) == 0)
		dgi_stats_count_drops(s);
}
