/* SPDX-License-Identifier: ISC */

/*
 * What a socket does for names (layer 4): datagrams that wait for their address,
 * and what is told of binds and connects that took a while.
 *
 * Parked datagrams are in no queue of the socket's; who looks the name up has
 * them and brings them back.  They are counted with those that wait to be sent.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/addr.h"
#include "core/queue.h"

struct dgi_name *
dgi_name_new(struct dgi_mem *m, const char *text)
{
	size_t size = strlen(text) + 1;
	struct dgi_name *n;

	n = dgi_mem_get(m, sizeof(*n) + size);
	if (n == NULL)
		return NULL;
	n->refs = 1;
	memcpy(n->text, text, size);
	return n;
}

void
dgi_name_free(struct dgi_mem *m, struct dgi_name *n)
{
	if (--n->refs == 0)
		dgi_mem_put(m, n, sizeof(*n) + strlen(n->text) + 1);
}

/* The request has its own reference to the name. */
static void
set_place(struct dgi_req *r, struct dgi_name *name, int port)
{
	struct dgi_place place = { .name = name, .port = port };

	name->refs++;
	memcpy(r->addr, &place, sizeof(place));
	r->flags |= DGI_REQ_NAMED;
}

/* ---- parked datagrams ---- */

void
dgi_queue_park(struct dgram_socket *s, struct dgi_reqs *to, struct dgi_req *r,
    struct dgi_name *name, int port)
{
	set_place(r, name, port);
	dgi_reqs_append(to, r);
	s->parked++;
	s->bytes_left -= (size_t)r->status;
	dgi_queue_set_common(s);
}

/* The first of them, or NULL; it has no place any more unless `keep`. */
static struct dgi_req *
take(struct dgram_socket *s, struct dgi_reqs *from, bool keep, int *port)
{
	struct dgi_req *r = from->head;
	struct dgi_place place;

	if (r == NULL)
		return NULL;
	from->head = r->next;
	if (from->head == NULL)
		dgi_reqs_init(from);
	s->parked--;
	s->bytes_left += (size_t)r->status;
	if (keep)
		return r;
	place = dgi_req_place(r);
	dgi_name_free(&s->loop->mem, place.name);
	r->flags &= (unsigned short)~DGI_REQ_NAMED;
	*port = place.port;
	return r;
}

void
dgi_queue_unpark(struct dgram_socket *s, struct dgi_reqs *from,
    const struct dgram_addr *addr)
{
	struct dgram_addr to = *addr;
	struct dgi_req *r;
	int port;

	while ((r = take(s, from, false, &port)) != NULL) {
		dgi_addr_set_port(&to, port);
		r->addr_len = (unsigned short)s->addr_len;
		memcpy(r->addr, &to.u, s->addr_len);
		/* It was accepted for another destination than the peer. */
		if (s->state == DGI_CONNECTED)
			dgi_queue_finish(s, r, -EISCONN);
		else
			dgi_queue_push(s, r, 1, (size_t)r->status);
	}
	dgi_queue_set_common(s);
}

void
dgi_queue_fail_parked(struct dgram_socket *s, struct dgi_reqs *from, int status,
    bool of_name)
{
	struct dgi_req *r;
	int port;

	while ((r = take(s, from, of_name, &port)) != NULL)
		dgi_queue_finish(s, r, status);
	dgi_queue_set_common(s);
}

/* ---- binds and connects ---- */

int
dgi_step_new(struct dgram_socket *s, unsigned kind, dgram_done_fn *done,
    void *arg, struct dgi_req **ret)
{
	struct dgi_req *r;

	if (s->nsteps >= DGI_STEPS_MOST)
		return -ENOBUFS;
	/* With room for any address: that of a failure. */
	r = dgi_req_new(s, DGI_REQ_NOTE | kind, DGI_REQ_LARGE_ROOM);
	if (r == NULL)
		return -ENOMEM;
	s->nsteps++;
	r->done = done;
	r->arg = arg;
	dgi_step_set(r, 0, NULL, NULL);
	*ret = r;
	return 0;
}

void
dgi_step_free(struct dgram_socket *s, struct dgi_req *r)
{
	s->nsteps--;
	dgi_req_free(s, r);
}

void
dgi_step_owe(struct dgram_socket *s, struct dgi_req *r)
{
	dgi_reqs_append(&s->steps, r);
	dgi_socket_owe(s, DGI_OWES_STEP);
}

void
dgi_step_set(struct dgi_req *r, int status, const struct dgram_addr *addr,
    struct dgi_name *name)
{
	r->status = status;
	r->addr_len = 0;
	if (name != NULL) {
		set_place(r, name, 0);
	} else if (addr != NULL) {
		r->addr_len = (unsigned short)addr->len;
		memcpy(r->addr, &addr->u, addr->len);
	}
}

static void
tell_listening(struct dgram_socket *s)
{
	if ((s->owes & DGI_OWES_LISTENING) == 0)
		return;
	s->owes &= ~DGI_OWES_LISTENING;
	if (s->state != DGI_CLOSED && s->events.listening != NULL)
		s->events.listening(s, s->arg);
}

/* The peer has gone; looked at as below. */
static void
tell_lost(struct dgram_socket *s)
{
	if ((s->owes & DGI_OWES_LOST) == 0)
		return;
	s->owes &= ~DGI_OWES_LOST;
	dgi_socket_error(s, s->lost_status, DGRAM_IN_CONNECT, "connect",
	    &s->peer);
}

/* Looked at when its turn comes: a disconnect takes it back. */
static void
tell_connect(struct dgram_socket *s)
{
	/* And is back. */
	tell_lost(s);
	if ((s->owes & DGI_OWES_CONNECT) == 0)
		return;
	s->owes &= ~DGI_OWES_CONNECT;
	if (s->state != DGI_CLOSED && s->events.connect != NULL)
		s->events.connect(s, s->arg);
}

/* An event comes in front of the completion of what caused it. */
void
dgi_step_tell_all(struct dgram_socket *s)
{
	struct dgi_req *r = s->steps.head, *after;

	s->owes &= ~DGI_OWES_STEP;
	dgi_reqs_init(&s->steps);
	for (; r != NULL; r = after) {
		after = r->next;
		s->nsteps--;
		if (r->status == 0 || (r->flags & DGI_REQ_CONNECT) != 0)
			tell_listening(s);
		if (r->status == 0 && (r->flags & DGI_REQ_CONNECT) != 0)
			tell_connect(s);
		dgi_req_tell(s, r);
	}
	tell_listening(s);
	tell_connect(s);
}
