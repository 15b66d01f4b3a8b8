/* SPDX-License-Identifier: ISC */

/*
 * Sockets: open, adopt, close, and what the loop has to do with them.
 *
 * What a socket wants of the loop (interest, keeping it running) is never
 * switched on and off by whoever changes something: it is derived from the
 * state by dgi_socket_changed().
 *
 * A closed socket is out of everything at once: descriptor, watch, timer, path.
 * What is left is its memory, until the completions it owes and then its close
 * have been called.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/addr.h"
#include "core/blocklist.h"
#include "core/mcast.h"
#include "core/queue.h"
#include "core/socket.h"

#define QUEUE_BYTES		((size_t)1 << 20)
#define QUEUE_COUNT		4096u
#define FDS			16u

static void	on_ready(struct dgram_watch *, unsigned events, void *arg);

int
dgram_type_parse(const char *name)
{
	if (name != NULL) {
		if (strcmp(name, "udp4") == 0)
			return DGRAM_UDP4;
		if (strcmp(name, "udp6") == 0)
			return DGRAM_UDP6;
		if (strcmp(name, "unix_dgram") == 0)
			return DGRAM_UNIX;
	}
	return DGRAM_ERR_SOCKET_BAD_TYPE;
}

/* ---- as a member of the loop ---- */

static struct dgram_socket *
of_member(struct dgi_member *m)
{
	return DGI_CONTAINER(m, struct dgram_socket, member);
}

static void
member_flush(struct dgi_member *m)
{
	struct dgram_socket *s = of_member(m);

	dgi_queue_flush(s, s->loop->budget);
}

static void
member_end(struct dgi_member *m)
{
	struct dgram_socket *s = of_member(m);

	if (s->state != DGI_CLOSED)
		dgi_socket_close(s);
}

static void
member_fork(struct dgi_member *m, bool take_paths)
{
	struct dgram_socket *s = of_member(m);

	if (!take_paths)
		s->own_path = false;
	if (s->state == DGI_CLOSED)
		return;
	dgi_state_cancel_ops(s, -ECANCELED);
	dgi_state_abandon(s);
	dgi_queue_unblock(s);
	dgi_queue_fail(s, -ECANCELED, false);
	if (s->state != DGI_CLOSED)
		dgi_socket_check_end(s);
	if (s->state == DGI_CLOSED)
		return;
	dgi_queue_arm(s);
	dgi_socket_changed(s);
}

static size_t
member_bound(const struct dgi_member *m)
{
	const struct dgram_socket *s = (const void *)((const char *)m -
	    offsetof(struct dgram_socket, member));
	size_t queue, arena;

	if (s->state == DGI_CLOSED)
		return 0;
	queue = dgi_queue_bound(s);
	arena = dgi_arena_bound(&s->loop->arena, s->options.max_datagram,
	    s->rx_mode);
	return arena > SIZE_MAX - queue ? SIZE_MAX : queue + arena;
}

static const struct dgi_member_ops member_ops = {
	.flush = member_flush,
	.end = member_end,
	.fork = member_fork,
	.bound = member_bound,
};

static unsigned
wants(const struct dgram_socket *s)
{
	unsigned w = 0;

	if (s->fd < 0)
		return 0;
	if (dgi_socket_reads(s))
		w |= DGRAM_READABLE;
	if (s->block == DGI_UNTIL_WRITABLE)
		w |= DGRAM_WRITABLE;
	/* An ICMP error is told even if nothing is read. */
	if (s->state == DGI_CONNECTED && s->type != DGRAM_UNIX &&
	    !s->hung_up && !s->shut)
		w |= DGI_ERROR;
	return w;
}

static void
hold(struct dgram_socket *s)
{
	bool want = s->receives && !s->unrefd && s->state != DGI_CLOSED;

	if (want == s->holds)
		return;
	s->holds = want;
	if (want)
		dgi_loop_hold(s->loop);
	else
		dgi_loop_release(s->loop);
}

void
dgi_socket_changed(struct dgram_socket *s)
{
	hold(s);
	dgi_watch_want(&s->watch, wants(s));
}

int
dgi_socket_register(struct dgram_socket *s)
{
	return dgi_watch_set(&s->watch, wants(s));
}

static void
run_owed(struct dgi_task *t)
{
	struct dgram_socket *s = DGI_CONTAINER(t, struct dgram_socket, owed);
	unsigned owes = s->owes;

	s->is_owed = false;
	s->owes &= DGI_OWES_STATE;
	if (s->owes != 0)
		dgi_step_tell_all(s);
	if ((owes & DGI_OWES_DONE) != 0) {
		dgi_queue_complete(s);
		/* Fewer completions wait: a drain may be due. */
		if (s->refused)
			dgi_queue_changed(s);
	}
	if (s->state != DGI_CLOSED && (owes & DGI_OWES_DRAIN) != 0 &&
	    s->events.drain != NULL)
		s->events.drain(s, s->arg);
}

/* ---- readiness ---- */

static void
on_ready(struct dgram_watch *w, unsigned events, void *arg)
{
	struct dgram_socket *s = arg;

	(void)w;
	s->stats.wakeups++;
	if ((events & DGI_ERROR) != 0)
		dgi_socket_drain_errors(s);
	/* The first messages come behind `listening` and `connect`. */
	if ((s->owes & DGI_OWES_STATE) != 0)
		dgi_step_tell_all(s);
	if (dgi_socket_reads(s)) {
		if (events != DGRAM_WRITABLE)
			dgi_recv_ready(s, events);
	} else if (s->state != DGI_CLOSED) {
		if ((events & DGI_ERROR) != 0)
			dgi_socket_take_error(s);
		if ((events & DGI_HANGUP) != 0 && s->state != DGI_CLOSED) {
			/* What there is to read is for who resumes. */
			s->shut = true;
			dgi_socket_changed(s);
		}
	}
	if (s->state != DGI_CLOSED && s->block == DGI_UNTIL_WRITABLE &&
	    (events & ~DGRAM_READABLE) != 0) {
		s->block = DGI_FREE;
		dgi_queue_flush(s, s->loop->budget);
		if (s->state != DGI_CLOSED)
			dgi_socket_changed(s);
	}
	dgi_loop_flush(s->loop);
}

/* ---- open ---- */

static int
new_socket(struct dgram_loop *l, const struct dgram_options *o,
    struct dgram_socket **ret)
{
	struct dgram_socket *s;

	s = dgi_mem_alloc(&l->mem, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	s->loop = l;
	s->fd = -1;
	s->state = DGI_UNBOUND;
	s->common_len = UINT32_MAX;
	s->type = o->type;
	s->options = *o;
	s->arg = o->arg;
	if (o->events != NULL)
		s->events = *o->events;
	if (o->device != NULL) {
		s->device = dgi_mem_alloc(&l->mem, strlen(o->device) + 1);
		if (s->device == NULL) {
			dgi_mem_free(&l->mem, s, sizeof(*s));
			return -ENOMEM;
		}
		memcpy(s->device, o->device, strlen(o->device) + 1);
	}
	s->options.device = s->device;
	if (o->path_owner != NULL) {
		s->path_owner = *o->path_owner;
		s->options.path_owner = &s->path_owner;
	}
	s->options.events = NULL;
	if (o->max_fds == 0 && (o->want & DGRAM_FDS) != 0)
		s->options.max_fds = FDS;
	if (s->options.max_datagram == 0)
		s->options.max_datagram = l->max_datagram;
	if (s->options.send_queue_bytes == 0)
		s->options.send_queue_bytes = QUEUE_BYTES;
	if (s->options.send_queue_count == 0)
		s->options.send_queue_count = QUEUE_COUNT;
	s->bytes_left = s->options.send_queue_bytes;
	dgi_queue_set_common(s);
	dgi_list_init(&s->ops);
	dgi_list_init(&s->signal_link);
	dgi_list_init(&s->borrower);
	dgi_list_init(&s->lines);
	dgi_list_init(&s->due);
	s->first_deadline = UINT64_MAX;
	dgi_reqs_init(&s->line.queue);
	dgi_reqs_init(&s->done);
	dgi_reqs_init(&s->steps);
	s->owed.run = run_owed;
	dgram_timer_init(&s->timer, l, dgi_queue_timer, s);
	dgram_timer_unref(&s->timer);
	dgi_watch_init(&s->watch, l, -1, on_ready, s);
	dgi_member_init(l, &s->member, &member_ops);
	dgi_block_list_hold(o->receive_block_list);
	dgi_block_list_hold(o->send_block_list);
	*ret = s;
	return 0;
}

static void
free_socket(struct dgram_socket *s)
{
	struct dgi_mem *m = &s->loop->mem;

	dgi_list_remove(&s->member.dirty);
	dgi_list_remove(&s->member.all);
	dgi_list_remove(&s->borrower);
	dgi_peer_forget(s);
	dgi_block_list_release(s->options.receive_block_list);
	dgi_block_list_release(s->options.send_block_list);
	if (s->device != NULL)
		dgi_mem_free(m, s->device, strlen(s->device) + 1);
	dgi_mem_free(m, s, sizeof(*s));
}

static int
check_open(const struct dgram_loop *l, const struct dgram_options *o)
{
	if (l->freeing)
		return -ECANCELED;
	if (o->max_datagram > DGI_DATAGRAM_MOST)
		return -EINVAL;
	if (o->signal != NULL && (atomic_load(&o->signal->loop) != l ||
	    o->events == NULL || o->events->close == NULL))
		return -EINVAL;
	return dgi_option_check(o);
}

/* All went well: the last step of opening. */
static void
opened(struct dgram_socket *s, struct dgram_socket **ret)
{
	struct dgram_abort *signal = s->options.signal;

	*ret = s;
	if (signal != NULL)
		signal->join(signal, s);
}

void
dgi_socket_set_type(struct dgram_socket *s, enum dgram_type type)
{
	s->type = type;
	s->family = dgi_type_family(type);
	s->addr_len = type == DGRAM_UDP4 ? sizeof(struct sockaddr_in) :
	    type == DGRAM_UDP6 ? sizeof(struct sockaddr_in6) : 0;
	s->rx_mode = dgi_meta_mode(s, s->options.want);
}

int
dgram_open(struct dgram_loop *l, const struct dgram_options *o,
    struct dgram_socket **ret)
{
	struct dgram_socket *s;
	int r;

	if (l == NULL || o == NULL || ret == NULL)
		return -EINVAL;
	if (o->type < DGRAM_UDP4 || o->type > DGRAM_UNIX)
		return DGRAM_ERR_SOCKET_BAD_TYPE;
	r = check_open(l, o);
	if (r == 0)
		r = new_socket(l, o, &s);
	if (r < 0)
		return r;
	dgi_socket_set_type(s, o->type);
	opened(s, ret);
	return 0;
}

int
dgram_open_fd(struct dgram_loop *l, const struct dgram_options *o, int fd,
    struct dgram_socket **ret)
{
	struct dgram_socket *s;
	int r;

	if (l == NULL || o == NULL || ret == NULL)
		return -EINVAL;
	if (o->type != 0 && (o->type < DGRAM_UDP4 || o->type > DGRAM_UNIX))
		return DGRAM_ERR_SOCKET_BAD_TYPE;
	r = check_open(l, o);
	if (r == 0)
		r = new_socket(l, o, &s);
	if (r < 0)
		return r;
	r = dgi_socket_adopt(s, fd);
	if (r < 0) {
		free_socket(s);
		return r;
	}
	opened(s, ret);
	return 0;
}

int
dgi_socket_attach(struct dgram_socket *s, int fd)
{
	int r;

	r = dgi_arena_reserve(&s->loop->arena, &s->loop->mem,
	    s->options.max_datagram);
	if (r == 0)
		r = dgi_arena_reserve_rx(&s->loop->arena, &s->loop->mem,
		    s->rx_mode);
	if (r < 0)
		return r;
	s->fd = fd;
	s->watch.fd = fd;
#if !DGI_HAVE_MSG_NOSIGNAL
	/* No signal for a send behind shutdown(2): not said of each call. */
	(void)s->loop->os->setsockopt(s->loop->os, fd, SOL_SOCKET,
	    SO_NOSIGPIPE, &(int){ 1 }, sizeof(int));
#endif
	return 0;
}

int
dgi_socket_create(struct dgram_socket *s)
{
	const struct dgi_os *os = s->loop->os;
	int fd, r;

	fd = os->socket(os, s->family, SOCK_DGRAM, 0);
	if (fd < 0)
		return fd;
	r = dgi_socket_attach(s, fd);
	if (r < 0) {
		(void)os->close(os, fd);
		return r;
	}
	r = dgi_option_apply(s);
	/* configure() is the user's: the socket may be closed by now. */
	if (s->state == DGI_CLOSED)
		return DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING;
	if (r < 0)
		dgi_socket_discard(s);
	return r;
}

void
dgi_socket_discard(struct dgram_socket *s)
{
	const struct dgi_os *os = s->loop->os;
	struct dgi_membership *m;

	(void)dgi_watch_set(&s->watch, 0);
	(void)os->close(os, s->fd);
	s->fd = s->watch.fd = -1;
	while ((m = s->memberships) != NULL) {
		s->memberships = m->next;
		dgi_mem_free(&s->loop->mem, m, sizeof(*m));
	}
}

/* Closes now what must not wait, and owes the rest. */
static void
run_close(struct dgi_task *t)
{
	struct dgram_socket *s = DGI_CONTAINER(t, struct dgram_socket, closing);
	struct dgram_loop *l = s->loop;
	struct dgi_close_fn end = s->end_fn, fn = s->close_fn;

	/* Closed by a completion: those that it cut off come first. */
	if (s->is_owed) {
		dgi_loop_close(l, t);
		return;
	}
	if (s->events.close != NULL)
		s->events.close(s, s->arg);
	if (end.fn != NULL)
		end.fn(end.arg);
	if (fn.fn != NULL)
		fn.fn(fn.arg);
	free_socket(s);
}

void
dgi_socket_close(struct dgram_socket *s)
{
	struct dgram_abort *signal = s->options.signal;
	struct dgram_loop *l = s->loop;

	s->ending = false;
	dgi_queue_unblock(s);
	dgi_queue_flush(s, SIZE_MAX);
	dgi_stats_keep(s);
	dgi_state_move(s, DGI_CLOSE);
	hold(s);
	dgi_queue_fail(s, -ECANCELED, false);
	dgi_state_cancel_ops(s, -ECANCELED);
	dgram_timer_stop(&s->timer);
	dgi_list_remove(&s->member.dirty);
	dgi_list_remove(&s->borrower);
	dgi_unix_unlink(s);
	if (s->fd >= 0)
		dgi_socket_discard(s);
	if (signal != NULL)
		signal->leave(signal, s);
	s->closing.run = run_close;
	dgi_loop_close(l, &s->closing);
}

int
dgram_close(struct dgram_socket *s, void (*fn)(void *arg), void *arg)
{
	int r;

	if (s == NULL)
		return -EINVAL;
	r = dgi_state_check(s, DGI_CLOSE);
	if (r < 0)
		return r;
	s->close_fn.fn = fn;
	s->close_fn.arg = arg;
	dgi_socket_close(s);
	return 0;
}

void
dgi_socket_check_end(struct dgram_socket *s)
{
	if (s->ending && !dgi_queue_waits(s) && dgi_list_empty(&s->ops))
		dgi_socket_close(s);
}

int
dgram_end(struct dgram_socket *s, void (*fn)(void *arg), void *arg)
{
	if (s == NULL)
		return -EINVAL;
	if (s->state == DGI_CLOSED || s->ending)
		return DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING;
	s->end_fn.fn = fn;
	s->end_fn.arg = arg;
	s->ending = true;
	dgi_state_set_common(s);
	if (!dgi_queue_waits(s))
		dgi_socket_check_end(s);
	else
		dgi_queue_flush_now(s);
	return 0;
}
