/* SPDX-License-Identifier: ISC */

/*
 * dgram_resolve(): a look-up for itself, without a socket.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/queue.h"
#include "resolve/lookup.h"

struct resolve {
	struct dgi_lookup lookup;
	struct dgram_loop *loop;
	uint64_t id;			/* until it is told */
	struct dgi_task owed;		/* over without a turn: told by a task */
	bool is_over;
	dgram_resolve_fn *fn;
	void *arg;
	int status;
	struct dgram_addr addr;		/* of a literal */
};

_Static_assert(sizeof(struct resolve) <= DGI_LOOKUP_ROOM, "it is counted so");

static void
tell(struct resolve *p, const struct dgram_addr *addrs, size_t n)
{
	dgram_resolve_fn *fn = p->fn;
	void *arg = p->arg;
	int status = p->status;

	dgi_lookup_put_id(p->loop, p->id);
	dgi_mem_put(&p->loop->mem, p, sizeof(*p));
	fn(status, addrs, n, arg);
}

static void
run_owed(struct dgi_task *t)
{
	struct resolve *p = DGI_CONTAINER(t, struct resolve, owed);
	struct dgram_addr addr = p->addr;

	if (p->status < 0)
		tell(p, NULL, 0);
	else
		tell(p, &addr, 1);
}

static void
owe(struct resolve *p, int status)
{
	p->status = status;
	p->is_over = true;
	p->owed.run = run_owed;
	dgi_loop_owe(p->loop, &p->owed);
}

static void
on_done(struct dgi_lookup *w, int status, const struct dgram_addr *addrs,
    size_t n)
{
	struct resolve *p = DGI_CONTAINER(w, struct resolve, lookup);

	p->status = status;
	/* That comes from inside of a call. */
	if (status == -ECANCELED)
		owe(p, status);
	else
		tell(p, addrs, n);
}

/* AF_INET and AF_INET6, also as Node and people write them; or -1. */
static int
read_family(int family)
{
	if (family == AF_UNSPEC || family == AF_INET || family == AF_INET6)
		return family;
	return family == 4 ? AF_INET : family == 6 ? AF_INET6 : -1;
}

/* A literal is over at once. */
static int
start(struct resolve *p, const char *host, int family)
{
	int r = dgram_addr_parse(&p->addr, host, 0);

	if (r == -EINVAL)
		return dgi_lookup_start(p->loop, &p->lookup, host, family);
	if (r < 0)
		return r;
	owe(p, family == AF_UNSPEC || p->addr.u.sa.sa_family == family ? 0 :
	    DGRAM_EAI_ADDRFAMILY);
	return 0;
}

int
dgram_resolve(struct dgram_loop *l, const char *host, int family,
    dgram_resolve_fn *fn, void *arg, uint64_t *id)
{
	struct resolve *p;
	int r;

	family = read_family(family);
	if (l == NULL || host == NULL || *host == '\0' || fn == NULL ||
	    family < 0)
		return -EINVAL;
	if (strlen(host) > DGI_NAME_MOST)
		return -ENAMETOOLONG;
	r = dgi_resolver_get(l);
	if (r < 0)
		return r;
	p = dgi_mem_get(&l->mem, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	dgi_lookup_init(&p->lookup);
	p->lookup.done = on_done;
	p->loop = l;
	p->id = 0;
	p->is_over = false;
	p->fn = fn;
	p->arg = arg;
	r = dgi_lookup_take_id(l, &p->lookup, &p->id);
	if (r == 0)
		r = start(p, host, family);
	if (r < 0) {
		dgi_lookup_put_id(l, p->id);
		dgi_mem_put(&l->mem, p, sizeof(*p));
		return r;
	}
	if (id != NULL)
		*id = p->id;
	return 0;
}

int
dgram_resolve_cancel(struct dgram_loop *l, uint64_t id)
{
	struct dgi_lookup *w;
	struct resolve *p;

	if (l == NULL)
		return -EINVAL;
	w = dgi_lookup_find(l, id);
	/* An id of options.lookup is for dgram_lookup_done(). */
	if (w == NULL || w->done != on_done)
		return -ENOENT;
	p = DGI_CONTAINER(w, struct resolve, lookup);
	if (p->is_over) {
		if (p->status == -ECANCELED)
			return -ENOENT;
		p->status = -ECANCELED;
	} else {
		dgi_lookup_cancel(l, w);
		owe(p, -ECANCELED);
	}
	return 0;
}
