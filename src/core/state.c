/* SPDX-License-Identifier: ISC */

/*
 * Bind and connect: the state of a socket and what moves it.
 *
 * The drawing is in socket.h; the table below is the whole of it, and the only
 * place that changes a state or refuses a call because of one.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/addr.h"
#include "core/blocklist.h"
#include "core/queue.h"
#include "core/socket.h"

#define BOUND_ALREADY	DGRAM_ERR_SOCKET_ALREADY_BOUND
#define IS_CONNECTED	DGRAM_ERR_SOCKET_DGRAM_IS_CONNECTED
#define NOT_CONNECTED	DGRAM_ERR_SOCKET_DGRAM_NOT_CONNECTED
#define NOT_RUNNING	DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING

/* The next state, or why not. */
static int
next_state(enum dgi_state state, enum dgi_step step)
{
	/* Left out, 0: a step that nobody makes from there. */
	static const short table[DGI_NSTATES][DGI_NSTEPS] = {
		[DGI_UNBOUND] = {
			[DGI_BIND] = DGI_BINDING,
			[DGI_CONNECT] = -EINVAL,	/* bind it first */
			[DGI_DISCONNECT] = NOT_CONNECTED,
			[DGI_CLOSE] = DGI_CLOSED,
		},
		[DGI_BINDING] = {
			[DGI_BIND] = BOUND_ALREADY,
			[DGI_BIND_DONE] = DGI_BOUND,
			[DGI_BIND_FAILED] = DGI_UNBOUND,
			[DGI_CONNECT] = DGI_BINDING_TO_CONNECT,
			[DGI_DISCONNECT] = NOT_CONNECTED,
			[DGI_CLOSE] = DGI_CLOSED,
		},
		[DGI_BINDING_TO_CONNECT] = {
			[DGI_BIND] = BOUND_ALREADY,
			[DGI_BIND_DONE] = DGI_CONNECTING,
			[DGI_BIND_FAILED] = DGI_UNBOUND,
			[DGI_CONNECT] = IS_CONNECTED,
			[DGI_CONNECT_FAILED] = DGI_BINDING,
			[DGI_DISCONNECT] = NOT_CONNECTED,
			[DGI_CLOSE] = DGI_CLOSED,
		},
		[DGI_BOUND] = {
			[DGI_BIND] = BOUND_ALREADY,
			[DGI_CONNECT] = DGI_CONNECTING,
			[DGI_DISCONNECT] = NOT_CONNECTED,
			[DGI_CLOSE] = DGI_CLOSED,
		},
		[DGI_CONNECTING] = {
			[DGI_BIND] = BOUND_ALREADY,
			[DGI_CONNECT] = IS_CONNECTED,
			[DGI_CONNECT_DONE] = DGI_CONNECTED,
			[DGI_CONNECT_FAILED] = DGI_BOUND,
			[DGI_DISCONNECT] = NOT_CONNECTED,
			[DGI_CLOSE] = DGI_CLOSED,
		},
		[DGI_CONNECTED] = {
			[DGI_BIND] = BOUND_ALREADY,
			[DGI_CONNECT] = IS_CONNECTED,
			[DGI_DISCONNECT] = DGI_BOUND,
			[DGI_CLOSE] = DGI_CLOSED,
		},
		[DGI_CLOSED] = {
			[DGI_BIND] = NOT_RUNNING,
			[DGI_CONNECT] = NOT_RUNNING,
			[DGI_DISCONNECT] = NOT_CONNECTED,	/* as in Node */
			[DGI_CLOSE] = NOT_RUNNING,
		},
	};

	return table[state][step];
}

int
dgi_state_check(const struct dgram_socket *s, enum dgi_step step)
{
	int r = next_state(s->state, step);

	if (r < 0)
		return r;
	return r == 0 ? -EINVAL : 0;
}

void
dgi_state_move(struct dgram_socket *s, enum dgi_step step)
{
	int r = next_state(s->state, step);

	/* A step that the table does not have changes nothing. */
	if (r > 0)
		s->state = (enum dgi_state)r;
	dgi_state_set_common(s);
}

void
dgi_state_abandon(struct dgram_socket *s)
{
	if (s->state == DGI_BINDING || s->state == DGI_BINDING_TO_CONNECT)
		dgi_state_move(s, DGI_BIND_FAILED);
	else if (s->state == DGI_CONNECTING)
		dgi_state_move(s, DGI_CONNECT_FAILED);
}

void
dgi_state_set_common(struct dgram_socket *s)
{
	s->common_len = UINT32_MAX;
	if (s->state == DGI_BOUND && !s->ending && s->addr_len != 0)
		s->common_len = s->addr_len;
}

/* Bound by the kernel or by whoever made the descriptor. */
static void
bound(struct dgram_socket *s)
{
	s->local.len = sizeof(s->local.u);
	if (s->loop->os->getsockname(s->loop->os, s->fd, &s->local.u.sa,
	    &s->local.len) < 0)
		s->local.len = 0;
	dgi_addr_trim(&s->local);
}

/* To an address that was checked. */
struct to_addr {
	struct dgi_way way;
	const struct dgram_addr *addr;
};

static int
bind_to(struct dgram_socket *s, struct dgi_way *w)
{
	const struct dgram_addr *a = DGI_CONTAINER(w, struct to_addr, way)->addr;
	const struct dgi_os *os = s->loop->os;

	return os->bind(os, s->fd, &a->u.sa,
	    (socklen_t)dgi_addr_check(a, s->family));
}

static int
check_name(const struct dgram_socket *s, const struct dgram_addr *addr)
{
	int r = dgi_addr_check(addr, s->family);

	/* A program that does not ask for that is not linked with node.c. */
	if (r > 0 && s->type == DGRAM_UNIX && dgi_option_has_owner(&s->options))
		r = -EINVAL;
	return r < 0 ? r : 0;
}

/* The kernel's part of a bind. */
static int
kernel_bind(struct dgram_socket *s, struct dgi_way *w)
{
	bool created = s->fd < 0;
	int r = 0;

	if (created) {
		r = dgi_socket_create(s);
		if (r < 0)
			return r;
	}
	if (w->named)
		r = dgi_meta_set_creds(s, true);
	if (r == 0)
		r = w->go(s, w);
	if (r == 0) {
		bound(s);
		s->receives = w->named;
		if (s->receives && s->type == DGRAM_UNIX)
			dgi_unix_named(s);
		/* One that had a descriptor is bound, and stays so. */
		if (created)
			r = dgi_socket_register(s);
	}
	if (r < 0) {
		dgi_unix_unlink(s);
		s->receives = false;
		s->local.len = 0;
		if (created)
			dgi_socket_discard(s);
		else
			(void)dgi_meta_set_creds(s, false);
	}
	return r;
}

/* There is at most one connect that waits for a bind. */
static void
tell_bound(struct dgram_socket *s)
{
	struct dgi_list *i;
	struct dgi_op *op;

	for (i = s->ops.next; i != &s->ops; i = i->next) {
		op = DGI_CONTAINER(i, struct dgi_op, link);
		if (op->bound != NULL) {
			op->bound(op);
			return;
		}
	}
}

/*
 * BINDING until here: bound now, or unbound again.  configure() may have left
 * something that waits for it, also by an address.
 */
static void
settle_bind(struct dgram_socket *s, int status)
{
	dgi_state_move(s, status < 0 ? DGI_BIND_FAILED : DGI_BIND_DONE);
	dgi_socket_changed(s);
	if (status < 0) {
		dgi_queue_fail(s, status, false);
		dgi_state_cancel_ops(s, status);
	} else {
		if (s->receives)
			dgi_socket_owe(s, DGI_OWES_LISTENING);
		if (s->line.queue.head != NULL)
			dgi_member_dirty(s->loop, &s->member);
		tell_bound(s);
	}
	dgi_socket_check_end(s);
}

static int
end_bind(struct dgram_socket *s, struct dgi_way *w)
{
	int r;

	dgi_state_move(s, DGI_BIND);
	r = kernel_bind(s, w);
	if (s->state != DGI_CLOSED)
		settle_bind(s, r);
	return r;
}

/* Without a name so far: it may still get one, in any state. */
static bool
is_nameless(const struct dgram_socket *s)
{
	return dgi_state_can_send(s) && !s->receives;
}

int
dgi_state_check_name(const struct dgram_socket *s)
{
	return is_nameless(s) ? 0 : dgi_state_check(s, DGI_BIND);
}

int
dgi_state_name(struct dgram_socket *s, struct dgi_way *w)
{
	int r;

	if (!is_nameless(s))
		return end_bind(s, w);
	r = kernel_bind(s, w);
	if (r == 0) {
		dgi_socket_changed(s);
		dgi_socket_owe(s, DGI_OWES_LISTENING);
	}
	return r;
}

int
dgram_bind_addr(struct dgram_socket *s, const struct dgram_addr *addr)
{
	struct to_addr to = { { bind_to, true }, addr };
	int r;

	if (s == NULL || addr == NULL)
		return -EINVAL;
	r = dgi_state_check_name(s);
	if (r == 0)
		r = check_name(s, addr);
	return r < 0 ? r : dgi_state_name(s, &to.way);
}

/* To no address in particular. */
struct implicit {
	struct dgi_way way;
	int (*prepare)(struct dgram_socket *, void *arg);
	void *arg;
};

static int
bind_implicitly(struct dgram_socket *s, struct dgi_way *w)
{
	const struct implicit *i = DGI_CONTAINER(w, struct implicit, way);
	struct dgram_addr any;
	struct to_addr to = { { bind_to, true }, &any };
	int r = i->prepare == NULL ? 0 : i->prepare(s, i->arg);

	if (r < 0 || !w->named)
		return r;
	dgi_addr_wildcard(&any, s->family);
	return bind_to(s, &to.way);
}

int
dgi_state_bind(struct dgram_socket *s, int (*prepare)(struct dgram_socket *,
    void *arg), void *arg)
{
	struct implicit i = { { bind_implicitly, s->type != DGRAM_UNIX },
	    prepare, arg };

	return end_bind(s, &i.way);
}

int
dgram_bind_fd(struct dgram_socket *s, int fd)
{
	int r;

	if (s == NULL)
		return -EINVAL;
	r = dgi_state_check(s, DGI_BIND);
	if (r < 0)
		return r;
	if (s->fd >= 0)
		return -EBUSY;
	return dgi_socket_adopt(s, fd);
}

/* What may be connected to: the length of its address, or an error. */
static int
check_target(const struct dgram_socket *s, const struct dgram_addr *addr)
{
	const struct dgram_block_list *list = s->options.send_block_list;
	int len = dgi_addr_check(addr, s->family);

	if (len > 0 && s->type != DGRAM_UNIX && dgram_addr_port(addr) == 0)
		return DGRAM_ERR_SOCKET_BAD_PORT;
	if (len > 0 && list != NULL && list->stops_peer(s, addr))
		return DGRAM_ERR_IP_BLOCKED;
	return len;
}

static int
connect_to(struct dgram_socket *s, struct dgi_way *w)
{
	const struct dgram_addr *a = DGI_CONTAINER(w, struct to_addr, way)->addr;
	const struct dgi_os *os = s->loop->os;
	int r;

	r = check_target(s, a);
	if (r > 0)
		r = os->connect(os, s->fd, &a->u.sa, (socklen_t)r);
	if (r < 0)
		return r;
	s->peer = *a;
	dgi_addr_trim(&s->peer);
	return 0;
}

static int
end_connect(struct dgram_socket *s, struct dgi_way *w)
{
	int r;

	r = w->go(s, w);
	dgi_state_move(s, r < 0 ? DGI_CONNECT_FAILED : DGI_CONNECT_DONE);
	if (r < 0)
		return r;
	dgi_socket_changed(s);
	dgi_socket_owe(s, DGI_OWES_CONNECT);
	return 0;
}

int
dgi_state_check_peer(const struct dgram_socket *s)
{
	/* A bind by name is under way: nothing to connect yet. */
	if (s->state == DGI_BINDING)
		return DGRAM_ERR_SOCKET_ALREADY_BOUND;
	return s->state == DGI_UNBOUND ? 0 : dgi_state_check(s, DGI_CONNECT);
}

int
dgi_state_reach(struct dgram_socket *s, struct dgi_way *w)
{
	int r;

	r = dgi_state_ready_to_send(s);
	if (r < 0)
		return r;
	/* What was accepted before goes where it was addressed to. */
	dgi_queue_flush_now(s);
	/* It was ending and is closed now, or configure() has connected it. */
	r = dgi_state_check(s, DGI_CONNECT);
	if (r < 0)
		return r;
	dgi_state_move(s, DGI_CONNECT);
	return end_connect(s, w);
}

int
dgram_connect_addr(struct dgram_socket *s, const struct dgram_addr *addr)
{
	struct to_addr to = { { connect_to, false }, addr };
	int r;

	if (s == NULL || addr == NULL)
		return -EINVAL;
	r = dgi_state_check_peer(s);
	if (r == 0)
		r = check_target(s, addr);
	return r < 0 ? r : dgi_state_reach(s, &to.way);
}

#if DGI_HAVE_FORGETFUL_DISCONNECT
/* Takes the address again if the kernel dropped it. */
static int
bind_again(struct dgram_socket *s)
{
	const struct dgi_os *os = s->loop->os;
	struct dgram_addr now = { .len = sizeof(now.u) };

	if (s->type == DGRAM_UNIX || s->local.len == 0)
		return 0;
	if (os->getsockname(os, s->fd, &now.u.sa, &now.len) == 0 &&
	    dgram_addr_port(&now) == 0)
		return os->bind(os, s->fd, &s->local.u.sa, s->local.len);
	return 0;
}
#else
static int
bind_again(struct dgram_socket *s)
{
	(void)s;
	return 0;
}
#endif

int
dgram_disconnect(struct dgram_socket *s)
{
	const struct dgi_os *os;
	struct dgram_addr none;
	int r;

	if (s == NULL)
		return -EINVAL;
	r = dgi_state_check(s, DGI_DISCONNECT);
	if (r < 0)
		return r;
	os = s->loop->os;
	dgi_queue_flush_now(s);
	/* It was ending, and that was the last that it waited for. */
	if (s->state == DGI_CLOSED)
		return NOT_RUNNING;
	memset(&none, 0, sizeof(none));
	none.u.sa.sa_family = AF_UNSPEC;
	r = os->connect(os, s->fd, &none.u.sa, sizeof(none.u.sa));
	/* BSDs say so and have disconnected all the same, connect(2) there. */
	if (r < 0 && r != -EAFNOSUPPORT && r != -EINVAL)
		return r;
	r = bind_again(s);
	dgi_state_move(s, DGI_DISCONNECT);
	s->owes &= ~(DGI_OWES_CONNECT | DGI_OWES_LOST);
	dgi_queue_fail(s, -ENOTCONN, true);
	/* What the peer had no room for, or was not there for, is over. */
	if (s->type == DGRAM_UNIX && s->block != DGI_FREE) {
		s->block = DGI_FREE;
		dgi_member_dirty(s->loop, &s->member);
	}
	s->backoff_ms = 0;
	dgi_peer_forget(s);
	s->peer.len = 0;
	dgi_socket_changed(s);
	return r;
}

/* ---- for names ---- */

void
dgi_state_cancel_ops(struct dgram_socket *s, int status)
{
	struct dgi_op *op;

	while (!dgi_list_empty(&s->ops)) {
		op = DGI_CONTAINER(s->ops.next, struct dgi_op, link);
		dgi_list_remove(&op->link);
		op->cancel(op, status);
	}
}

int
dgi_socket_begin_bind(struct dgram_socket *s, struct dgi_op *op)
{
	int r;

	r = dgi_state_check(s, DGI_BIND);
	if (r < 0)
		return r;
	dgi_state_move(s, DGI_BIND);
	dgi_list_append(&s->ops, &op->link);
	return 0;
}

int
dgi_socket_finish_bind(struct dgram_socket *s, struct dgi_op *op, int status,
    const struct dgram_addr *addr)
{
	struct to_addr to = { { bind_to, true }, addr };

	dgi_list_remove(&op->link);
	if (status == 0)
		status = check_name(s, addr);
	if (status == 0)
		status = kernel_bind(s, &to.way);
	/* By configure(). */
	if (s->state == DGI_CLOSED)
		return -ECANCELED;
	settle_bind(s, status);
	return status;
}

int
dgi_socket_begin_connect(struct dgram_socket *s, struct dgi_op *op)
{
	int r;

	r = dgi_state_check(s, DGI_CONNECT);
	if (r < 0)
		return r;
	dgi_state_move(s, DGI_CONNECT);
	dgi_list_append(&s->ops, &op->link);
	return 0;
}

int
dgi_socket_finish_connect(struct dgram_socket *s, struct dgi_op *op,
    int status, const struct dgram_addr *addr)
{
	struct to_addr to = { { connect_to, false }, addr };

	if (status == 0) {
		/* As in dgi_state_reach(). */
		dgi_queue_flush_now(s);
		status = end_connect(s, &to.way);
	} else {
		dgi_state_move(s, DGI_CONNECT_FAILED);
	}
	dgi_list_remove(&op->link);
	dgi_socket_check_end(s);
	return status;
}
