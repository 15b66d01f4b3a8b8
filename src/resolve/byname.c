/* SPDX-License-Identifier: ISC */

/*
 * Bind, connect and send by name: what stands between a call of the API, which
 * has a name, and layer 3, which wants addresses.
 *
 * A literal is used at once.  A name becomes an operation that hangs on its
 * socket and waits for a look-up, of getaddrinfo(3) or of the user's.  Datagrams
 * to one name share an operation, and so cost one look-up and keep their order.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/addr.h"
#include "core/queue.h"
#include "resolve/lookup.h"

/* A bind, a connect, or all datagrams of a socket to one name. */
struct byname {
	struct dgi_op op;
	struct dgi_lookup lookup;
	struct dgram_loop *loop;
	struct dgram_socket *s;		/* not valid when it is over */
	struct dgi_name *name;
	struct dgi_task ask;		/* has options.lookup called */
	bool asking;			/* it is queued: the storage stays */
	bool over;			/* and goes when that has run */
	int port;
	struct dgi_req *step;		/* of a bind or connect */
	struct dgram_addr addr;		/* of a connect that waits for a bind */
	struct dgi_named named;		/* of datagrams */
	struct dgi_reqs parked;
};

_Static_assert(sizeof(struct byname) <= DGI_LOOKUP_ROOM, "it is counted so");

/* ---- an operation ---- */

static void
free_op(struct byname *b)
{
	struct dgi_mem *m = &b->loop->mem;

	if (b->asking) {
		b->over = true;
		return;
	}
	dgi_name_free(m, b->name);
	dgi_mem_put(m, b, sizeof(*b));
}

/* From the loop: no callback is called from inside of a user's call. */
static void
run_ask(struct dgi_task *t)
{
	struct byname *b = DGI_CONTAINER(t, struct byname, ask);
	struct dgram_socket *s = b->s;
	struct dgi_name *name = b->name;
	struct dgi_mem *m = &b->loop->mem;

	b->asking = false;
	if (b->over) {
		free_op(b);
		return;
	}
	/* The answer may come at once, and everything else may happen, too. */
	name->refs++;
	b->lookup.asked = true;
	s->options.lookup(s, b->lookup.id, name->text, s->family,
	    s->options.arg);
	dgi_name_free(m, name);
}

static int
new_op(struct dgram_socket *s, const char *name, int port, struct byname **ret)
{
	struct dgi_mem *m = &s->loop->mem;
	struct byname *b;

	b = dgi_mem_get(m, sizeof(*b));
	if (b == NULL)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	b->name = dgi_name_new(m, name);
	if (b->name == NULL) {
		dgi_mem_put(m, b, sizeof(*b));
		return -ENOMEM;
	}
	b->loop = s->loop;
	b->s = s;
	b->port = port;
	dgi_list_init(&b->op.link);
	dgi_lookup_init(&b->lookup);
	*ret = b;
	return 0;
}

static int
start_lookup(struct byname *b)
{
	struct dgram_socket *s = b->s;
	int r;

	if (s->options.lookup == NULL)
		return dgi_lookup_start(s->loop, &b->lookup, b->name->text,
		    s->family);
	r = dgi_lookup_start_asked(s->loop, &b->lookup);
	if (r < 0)
		return r;
	b->asking = true;
	b->ask.run = run_ask;
	dgi_loop_owe(s->loop, &b->ask);
	return 0;
}

/* The first address, with the port that was asked for; or why there is none. */
static int
read_answer(const struct byname *b, int status, const struct dgram_addr *addrs,
    struct dgram_addr *ret)
{
	if (status < 0)
		return status;
	/* Of a user's look-up it may be anything. */
	if (addrs == NULL || dgi_addr_check(addrs, b->s->family) < 0)
		return -EINVAL;
	*ret = *addrs;
	dgi_addr_set_port(ret, b->port);
	return 0;
}

static bool
is_given(const char *address)
{
	return address != NULL && *address != '\0';
}

static int
check_port(int port, int least)
{
	return port < least || port > 65535 ? DGRAM_ERR_SOCKET_BAD_PORT : 0;
}

/*
 * What the caller gave: a name to look up (1), or *ret (0), or an error.  least:
 * the smallest port; 0 is to bind, where no address is the wildcard.
 */
static int
read_address(const struct dgram_socket *s, const char *address, int port,
    int least, struct dgram_addr *ret)
{
	int r = check_port(port, least);

	if (r < 0)
		return r;
	if (!is_given(address)) {
		if (least == 0)
			dgi_addr_wildcard(ret, s->family);
		else
			dgi_addr_loopback(ret, s->family);
		dgi_addr_set_port(ret, port);
		return 0;
	}
	r = dgram_addr_parse(ret, address, port);
	if (r == 0)
		return ret->u.sa.sa_family == s->family ? 0 : -EINVAL;
	if (r != -EINVAL)
		return r;
	return strlen(address) > DGI_NAME_MOST ? -ENAMETOOLONG : 1;
}

/* ---- bind and connect ---- */

/* It is over, with what is told of it. */
static void
end_step(struct byname *b, int status, const struct dgram_addr *addr,
    bool of_name)
{
	/* The name has no part in that. */
	if (status == -ECANCELED)
		of_name = false;
	dgi_step_set(b->step, status, addr, of_name ? b->name : NULL);
	free_op(b);
}

static void
cancel_step(struct dgi_op *op, int status)
{
	struct byname *b = DGI_CONTAINER(op, struct byname, op);

	dgi_lookup_cancel(b->s->loop, &b->lookup);
	dgi_step_owe(b->s, b->step);
	end_step(b, status, NULL, false);
}

static void
bind_found(struct dgi_lookup *w, int status, const struct dgram_addr *addrs,
    size_t n)
{
	struct byname *b = DGI_CONTAINER(w, struct byname, lookup);
	struct dgram_addr addr;
	bool found;

	(void)n;
	status = read_answer(b, status, addrs, &addr);
	found = status == 0;
	/* In front of those that it fails. */
	dgi_step_owe(b->s, b->step);
	status = dgi_socket_finish_bind(b->s, &b->op, status, &addr);
	end_step(b, status, found ? &addr : NULL, !found);
}

static void
finish_connect(struct byname *b, int status, const struct dgram_addr *addr)
{
	bool found = status == 0;

	dgi_step_owe(b->s, b->step);
	status = dgi_socket_finish_connect(b->s, &b->op, status, addr);
	end_step(b, status, found ? addr : NULL, !found);
}

static void
on_bound(struct dgi_op *op)
{
	struct byname *b = DGI_CONTAINER(op, struct byname, op);

	finish_connect(b, 0, &b->addr);
}

static void
connect_found(struct dgi_lookup *w, int status, const struct dgram_addr *addrs,
    size_t n)
{
	struct byname *b = DGI_CONTAINER(w, struct byname, lookup);

	(void)n;
	status = read_answer(b, status, addrs, &b->addr);
	if (status == 0 && b->s->state == DGI_BINDING_TO_CONNECT)
		b->op.bound = on_bound;
	else
		finish_connect(b, status, &b->addr);
}

/* An operation with its completion, not begun. */
static int
new_step(struct dgram_socket *s, unsigned kind, const char *name, int port,
    dgram_done_fn *done, void *arg, struct byname **ret)
{
	struct byname *b;
	int r;

	r = new_op(s, name, port, &b);
	if (r < 0)
		return r;
	r = dgi_step_new(s, kind, done, arg, &b->step);
	if (r < 0) {
		free_op(b);
		return r;
	}
	b->op.cancel = cancel_step;
	b->lookup.done = kind == DGI_REQ_BIND ? bind_found : connect_found;
	*ret = b;
	return 0;
}

/* One that will not be begun. */
static void
drop_step(struct byname *b)
{
	dgi_lookup_cancel(b->s->loop, &b->lookup);
	dgi_step_free(b->s, b->step);
	free_op(b);
}

/* By address: done in the call, and the completion is owed. */
static int
step_now(struct dgram_socket *s, unsigned kind, const struct dgram_addr *addr,
    dgram_done_fn *done, void *arg)
{
	struct dgi_req *step = NULL;
	int r;

	if (done != NULL) {
		r = dgi_step_new(s, kind, done, arg, &step);
		if (r < 0)
			return r;
	}
	r = kind == DGI_REQ_BIND ? dgram_bind_addr(s, addr) :
	    dgram_connect_addr(s, addr);
	if (step == NULL)
		return r;
	if (r < 0)
		dgi_step_free(s, step);
	else
		dgi_step_owe(s, step);
	return r;
}

/* Why a call by name is refused, whatever the name. */
static int
check_socket(const struct dgram_socket *s)
{
	int r = dgi_socket_check(s);

	return r == 0 && s->type == DGRAM_UNIX ? -EINVAL : r;
}

int
dgram_bind(struct dgram_socket *s, int port, const char *address,
    dgram_done_fn *done, void *arg)
{
	struct dgram_addr addr;
	struct byname *b;
	int r;

	r = check_socket(s);
	if (r == 0)
		r = dgi_state_check(s, DGI_BIND);
	if (r == 0)
		r = read_address(s, address, port, 0, &addr);
	if (r < 0)
		return r;
	if (r == 0)
		return step_now(s, DGI_REQ_BIND, &addr, done, arg);
	r = new_step(s, DGI_REQ_BIND, address, port, done, arg, &b);
	if (r < 0)
		return r;
	r = start_lookup(b);
	if (r == 0)
		r = dgi_socket_begin_bind(s, &b->op);
	if (r < 0)
		drop_step(b);
	return r;
}

/* A bind is under way, or a name is to be looked up. */
static int
connect_later(struct dgram_socket *s, int port, const char *address,
    const struct dgram_addr *addr, dgram_done_fn *done, void *arg)
{
	struct byname *b;
	int r;

	r = new_step(s, DGI_REQ_CONNECT, address, port, done, arg, &b);
	if (r < 0)
		return r;
	if (addr != NULL) {
		b->addr = *addr;
		b->op.bound = on_bound;
	} else {
		r = start_lookup(b);
	}
	if (r == 0)
		r = dgi_state_ready_to_send(s);
	if (r == 0)
		r = dgi_socket_begin_connect(s, &b->op);
	if (r < 0)
		drop_step(b);
	return r;
}

int
dgram_connect(struct dgram_socket *s, int port, const char *address,
    dgram_done_fn *done, void *arg)
{
	struct dgram_addr addr;
	int r;

	r = check_socket(s);
	/* As Node: the port, the state, the address. */
	if (r == 0)
		r = check_port(port, 1);
	if (r == 0 && s->state != DGI_UNBOUND)
		r = dgi_state_check(s, DGI_CONNECT);
	if (r == 0)
		r = read_address(s, address, port, 1, &addr);
	if (r < 0)
		return r;
	if (r == 0 && s->state != DGI_BINDING)
		return step_now(s, DGI_REQ_CONNECT, &addr, done, arg);
	return connect_later(s, port, is_given(address) ? address : "",
	    r == 0 ? &addr : NULL, done, arg);
}

/* ---- send ---- */

static void
cancel_send(struct dgi_op *op, int status)
{
	struct byname *b = DGI_CONTAINER(op, struct byname, op);

	dgi_names_remove(&b->named);
	dgi_lookup_cancel(b->s->loop, &b->lookup);
	dgi_queue_fail_parked(b->s, &b->parked, status, false);
	free_op(b);
}

static void
send_found(struct dgi_lookup *w, int status, const struct dgram_addr *addrs,
    size_t n)
{
	struct byname *b = DGI_CONTAINER(w, struct byname, lookup);
	struct dgram_socket *s = b->s;
	struct dgram_addr addr;

	(void)n;
	/* What is sent to the name from now on is for another look-up. */
	dgi_names_remove(&b->named);
	status = read_answer(b, status, addrs, &addr);
	if (status == 0)
		dgi_queue_unpark(s, &b->parked, &addr);
	else
		dgi_queue_fail_parked(s, &b->parked, status,
		    status != -ECANCELED);
	dgi_list_remove(&b->op.link);
	free_op(b);
	dgi_socket_check_end(s);
}

/* Datagrams to a name wait for their address from now on. */
static int
begin_parked(struct byname *b)
{
	struct dgram_socket *s = b->s;
	int r;

	b->op.cancel = cancel_send;
	b->lookup.done = send_found;
	dgi_reqs_init(&b->parked);
	r = start_lookup(b);
	if (r < 0)
		return r;
	b->named.of = s;
	b->named.name = b->name->text;
	b->named.family = s->family;
	dgi_names_add(dgi_resolver_names(s->loop), &b->named);
	dgi_list_append(&s->ops, &b->op.link);
	return 0;
}

/* Where datagrams to a name wait. */
static int
get_parked(struct dgram_socket *s, const char *name, struct byname **ret)
{
	struct dgi_named *found;
	struct byname *b;
	int r;

	r = dgi_resolver_get(s->loop);
	if (r < 0)
		return r;
	found = dgi_names_find(dgi_resolver_names(s->loop), s, name, s->family);
	if (found != NULL) {
		*ret = DGI_CONTAINER(found, struct byname, named);
		return 0;
	}
	r = new_op(s, name, 0, &b);
	if (r < 0)
		return r;
	r = begin_parked(b);
	if (r < 0)
		free_op(b);
	else
		*ret = b;
	return r;
}

static int
send_named(struct dgram_socket *s, const struct iovec *iov, int iovcnt,
    int port, const char *name, dgram_done_fn *done, void *arg)
{
	struct dgi_req *req;
	struct byname *b;
	int r;

	/* First, for configure() may send in there, or close the socket. */
	req = dgi_send_accept_named(s, iov, iovcnt, done, arg, &r);
	if (req == NULL)
		return r;
	r = get_parked(s, name, &b);
	if (r == 0) {
		dgi_queue_park(s, &b->parked, req, b->name, port);
		return 0;
	}
	dgi_req_free(s, req);
	return r == -ENOBUFS ? dgi_queue_refuse(s, 1) : r;
}

/* Where to: 0 and *to, or none (len 0): the peer; 1: a name; or an error. */
static int
check_send(const struct dgram_socket *s, int port, const char *address,
    struct dgram_addr *to)
{
	int r = check_socket(s);

	if (r == 0 && s->ending)
		r = DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING;
	if (r < 0)
		return r;
	if (s->state == DGI_CONNECTED) {
		to->len = 0;
		return port == 0 && !is_given(address) ? 0 :
		    DGRAM_ERR_SOCKET_DGRAM_IS_CONNECTED;
	}
	return read_address(s, address, port, 1, to);
}

int
dgram_sendv(struct dgram_socket *s, const struct iovec *iov, int iovcnt,
    int port, const char *address, dgram_done_fn *done, void *arg)
{
	struct dgram_addr to;
	int r;

	r = check_send(s, port, address, &to);
	if (r < 0)
		return r;
	if (r == 1)
		return send_named(s, iov, iovcnt, port, address, done, arg);
	return dgram_send_addr(s, iov, iovcnt, to.len == 0 ? NULL : &to, done,
	    arg);
}

int
dgram_send(struct dgram_socket *s, const void *data, size_t size, int port,
    const char *address, dgram_done_fn *done, void *arg)
{
	struct iovec iov;

	memcpy(&iov.iov_base, &data, sizeof(data));
	iov.iov_len = size;
	return dgram_sendv(s, &iov, 1, port, address, done, arg);
}

int
dgram_sendto(struct dgram_socket *s, const void *data, size_t offset,
    size_t length, int port, const char *address, dgram_done_fn *done,
    void *arg)
{
	const char *p = data;

	/* No object is larger: a negative number, which leads to before it. */
	if (offset > PTRDIFF_MAX || (p == NULL && offset > 0))
		return -EINVAL;
	if (p != NULL)
		p += offset;
	return dgram_send(s, p, length, port, address, done, arg);
}

/* ---- the user's look-up ---- */

int
dgram_lookup_done(struct dgram_loop *l, uint64_t id, int status,
    const struct dgram_addr *addr)
{
	struct dgi_lookup *w;

	if (l == NULL || status > 0)
		return -EINVAL;
	w = dgi_lookup_find(l, id);
	if (w == NULL || !w->asked)
		return -ENOENT;
	dgi_lookup_cancel(l, w);
	w->done(w, status, status < 0 ? NULL : addr, status == 0);
	return 0;
}
