/* SPDX-License-Identifier: ISC */

/*
 * Memberships of multicast groups: the calls, and what a socket has joined.
 *
 * The kernel decides what is joined; the table remembers what was asked for, so
 * that it can be asked again when interfaces have come, gone or changed.
 *
 * Where the kernel picks an interface it is asked for it, joined_on().  If it does
 * not tell, to leave means any of them to it, and those that are known must be
 * spared: leave_picked().
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/mcast.h"

/* ---- the table ---- */

static struct dgi_membership *
new_membership(const struct dgram_socket *s, const struct dgi_mreq *q)
{
	struct dgi_membership *m;

	m = dgi_mem_alloc(&s->loop->mem, sizeof(*m));
	if (m == NULL)
		return NULL;
	m->next = NULL;
	m->what = *q;
	m->index = 0;
	return m;
}

static void
append(struct dgram_socket *s, struct dgi_membership *m)
{
	struct dgi_membership **p = &s->memberships;

	while (*p != NULL)
		p = &(*p)->next;
	*p = m;
}

static void
forget(struct dgram_socket *s, struct dgi_membership *m)
{
	struct dgi_membership **p = &s->memberships;

	while (*p != m)
		p = &(*p)->next;
	*p = m->next;
	dgi_mem_free(&s->loop->mem, m, sizeof(*m));
}

/* That of all interfaces, not one of those. */
static bool
is_head(const struct dgi_membership *m)
{
	return m->what.on.which == DGI_IF_ALL && m->index == 0;
}

/* To leave a group is to leave its sources, too. */
static bool
concerns(const struct dgi_mreq *q, const struct dgi_membership *m)
{
	return dgi_ip_equal(&q->group, &m->what.group) &&
	    (q->source.family == AF_UNSPEC ||
	    dgi_ip_equal(&q->source, &m->what.source));
}

/* It is joined on that interface; 0: on any that is known. */
static bool
is_known(const struct dgram_socket *s, const struct dgi_mreq *q,
    unsigned index)
{
	const struct dgi_membership *m;

	for (m = s->memberships; m != NULL; m = m->next) {
		if (m->index != 0 && m->index != DGI_PICKED &&
		    concerns(q, m) && (index == 0 || m->index == index))
			return true;
	}
	return false;
}

/* What has gone with it. */
static void
forget_all(struct dgram_socket *s, const struct dgi_mreq *q, unsigned index)
{
	struct dgi_membership *m, *next;

	for (m = s->memberships; m != NULL; m = next) {
		next = m->next;
		if (m->index == index && concerns(q, m))
			forget(s, m);
	}
}

/* One of a head's. */
static bool
is_of(const struct dgi_membership *m, const struct dgi_mreq *head)
{
	return m->what.on.which == DGI_IF_ALL && m->index != 0 &&
	    dgi_ip_equal(&m->what.group, &head->group) &&
	    dgi_ip_equal(&m->what.source, &head->source);
}

/* 0: it is not meant.  The interface of q has that index now, 0: none or any. */
static int
fits(const struct dgi_membership *m, const struct dgi_mreq *q, unsigned index)
{
	if (!concerns(q, m))
		return 0;
	if (q->on.which == DGI_IF_ALL || is_head(m))
		return q->on.which == DGI_IF_ALL && is_head(m) &&
		    dgi_ip_equal(&q->source, &m->what.source);
	if (q->on.which == DGI_IF_ANY)
		return m->what.on.which == DGI_IF_ANY ? 2 : 1;
	if (index != 0 && m->index == index)
		return 2;
	/* Asked for in the same words, before the interface was another. */
	return dgi_interface_equal(&q->on, &m->what.on);
}

/* The one that fits best, of those the last. */
static struct dgi_membership *
find(const struct dgram_socket *s, const struct dgi_mreq *q, unsigned index)
{
	struct dgi_membership *m, *best = NULL;
	int fit, most = 1;

	for (m = s->memberships; m != NULL; m = m->next) {
		fit = fits(m, q, index);
		if (fit >= most) {
			best = m;
			most = fit;
		}
	}
	return best;
}

/* All interfaces, for one membership. */
struct each {
	struct dgram_socket *s;
	const struct dgi_mreq *q;
	unsigned joined, index;	/* how many; the last */
	int refusal;		/* the first of an interface */
	int failure;		/* the first of another reason */
	bool go_on;		/* after that, too */
};

/* ---- leaving ---- */

static int
leave_each(unsigned index, const struct sockaddr *sa, void *arg)
{
	const struct each *e = arg;

	if (sa != NULL || is_known(e->s, e->q, index))
		return 0;
	return dgi_mreq_leave(e->s, e->q, index) == 0;
}

/*
 * Where only the kernel knows.  It may leave another one, and it may not find
 * the one that it took by other routes: then each interface is tried that is not
 * known.
 */
static int
leave_picked(struct dgram_socket *s, const struct dgi_mreq *q)
{
	struct each e = { .s = s, .q = q };
	int r, found;

	if (!is_known(s, q, 0)) {
		r = dgi_mreq_leave(s, q, 0);
		if (r != -ENODEV && r != -EADDRNOTAVAIL)
			return r;
	}
	found = dgi_interface_each(s->loop->os, leave_each, &e);
	if (found < 0)
		return found;
	return found > 0 ? 0 : -EADDRNOTAVAIL;
}

/* 0 also if it was not joined any more: by another process, or the kernel. */
static int
leave_on(struct dgram_socket *s, const struct dgi_mreq *q, unsigned index)
{
	int r = index == DGI_PICKED ? leave_picked(s, q) :
	    dgi_mreq_leave(s, q, index);

	return r == -EADDRNOTAVAIL ? 0 : r;
}

/* Of a head that goes: 0, or the first error, and then there are some left. */
static int
leave_all(struct dgram_socket *s, const struct dgi_mreq *q)
{
	struct dgi_membership *m, *next;
	int r, first = 0;

	for (m = s->memberships; m != NULL; m = next) {
		next = m->next;
		if (!is_of(m, q))
			continue;
		r = leave_on(s, &m->what, m->index);
		if (r == 0)
			forget(s, m);
		else if (first == 0)
			first = r;
	}
	return first;
}

/* m is in the table, and what q means. */
static int
leave(struct dgram_socket *s, const struct dgi_mreq *q,
    struct dgi_membership *m)
{
	unsigned index = m->index;
	int r = 0;

	if (is_head(m)) {
		r = leave_all(s, &m->what);
		if (r == 0)
			forget(s, m);
		return r;
	}
	if (index == 0) {
		forget(s, m);
		return 0;
	}
	r = leave_on(s, q, index);
	if (r == 0)
		forget_all(s, q, index);
	return r;
}

/* ---- joining ---- */

static int
look_each(unsigned index, const struct sockaddr *sa, void *arg)
{
	struct each *e = arg;

	if (sa == NULL && !is_known(e->s, e->q, index) &&
	    dgi_mreq_is_member(e->s, e->q, index)) {
		e->joined++;
		e->index = index;
	}
	return 0;
}

/* Where that was which has just been joined. */
static unsigned
joined_on(struct dgram_socket *s, const struct dgi_mreq *q, unsigned index)
{
	struct each e = { .s = s, .q = q };

	if (index != 0)
		return index;
	if (dgi_interface_each(s->loop->os, look_each, &e) < 0 ||
	    e.joined != 1)
		return DGI_PICKED;
	return e.index;
}

/*
 * Into the table: what has just been joined there was not joined before,
 * whatever the table says, and a source on Linux takes the place of all of them.
 */
static void
enter(struct dgram_socket *s, struct dgi_membership *m)
{
	struct dgi_membership *o, *next;

	for (o = s->memberships; o != NULL; o = next) {
		next = o->next;
		if (o->index == m->index && m->index != 0 &&
		    m->index != DGI_PICKED &&
		    (concerns(&m->what, o) || concerns(&o->what, m)))
			forget(s, o);
	}
	append(s, m);
}

/* It lies in the interface, and does not concern the others. */
static bool
is_refusal(int r)
{
	return r == -EADDRINUSE || r == -EADDRNOTAVAIL || r == -ENODEV ||
	    r == -ENXIO || r == -EINVAL || r == -EAFNOSUPPORT;
}

static int
join_each(unsigned index, const struct sockaddr *sa, void *arg)
{
	struct each *e = arg;
	struct dgi_membership *m;
	int r;

	if (sa != NULL)
		return 0;
	m = new_membership(e->s, e->q);
	r = m == NULL ? -ENOMEM : dgi_mreq_join(e->s, e->q, index);
	if (r == 0) {
		m->index = index;
		enter(e->s, m);
		e->joined++;
		return 0;
	}
	dgi_mem_free(&e->s->loop->mem, m, sizeof(*m));
	if (is_refusal(r)) {
		if (e->refusal == 0)
			e->refusal = r;
		return 0;
	}
	if (e->failure == 0)
		e->failure = r;
	return !e->go_on;
}

/* What it has joined stays so, also if it fails. */
static int
join_all(struct dgram_socket *s, const struct dgi_mreq *q, bool go_on)
{
	struct each e = { .s = s, .q = q, .go_on = go_on };
	int r = dgi_interface_each(s->loop->os, join_each, &e);

	if (r < 0)
		return r;
	if (e.failure < 0)
		return e.failure;
	if (e.joined > 0)
		return 0;
	return e.refusal < 0 ? e.refusal : -ENODEV;
}

/* A membership on its way into the table. */
struct join {
	struct dgi_membership *m;
	unsigned index;
	bool done;		/* it is there */
};

static int
join(struct dgram_socket *s, void *arg)
{
	struct join *j = arg;
	int r;

	if (j->m->what.on.which == DGI_IF_ALL) {
		r = join_all(s, &j->m->what, false);
		if (r < 0)
			(void)leave_all(s, &j->m->what);
	} else {
		r = dgi_mreq_join(s, &j->m->what, j->index);
		if (r == 0)
			j->m->index = joined_on(s, &j->m->what, j->index);
	}
	if (r < 0)
		return r;
	enter(s, j->m);
	j->done = true;
	return 0;
}

/* ---- the calls ---- */

static int
parse(const struct dgram_socket *s, struct dgi_mreq *q, const char *source,
    const char *group, const char *interface)
{
	int r = dgi_socket_check(s);

	if (r < 0)
		return r;
	if (s->type == DGRAM_UNIX ||
	    (source != NULL && !DGI_HAVE_SOURCE_GROUP))
		return -ENOTSUP;
	/* A bind by name is under way. */
	if (s->fd < 0 && s->state != DGI_UNBOUND)
		return -EBADF;
	r = dgi_mreq_parse(q, s->loop->os, source, group, interface);
	if (r == 0 && s->type == DGRAM_UDP4 && q->group.family != AF_INET)
		r = -ENOPROTOOPT;
	return r;
}

static int
add(struct dgram_socket *s, const char *source, const char *group,
    const char *interface)
{
	struct join j = { .done = false };
	struct dgi_mreq q;
	int r;

	r = parse(s, &q, source, group, interface);
	if (r == 0)
		r = dgi_interface_find(s->loop->os, &q.on, &j.index);
	if (r < 0)
		return r;
	/* As the kernel says of one interface. */
	if (q.on.which == DGI_IF_ALL && find(s, &q, 0) != NULL)
		return source == NULL ? -EADDRINUSE : -EADDRNOTAVAIL;
	j.m = new_membership(s, &q);
	if (j.m == NULL)
		return -ENOMEM;
	r = s->state == DGI_UNBOUND ? dgi_state_bind(s, join, &j) :
	    join(s, &j);
	if (!j.done)
		dgi_mem_free(&s->loop->mem, j.m, sizeof(*j.m));
	else if (r < 0 && s->fd >= 0)
		/* A descriptor that was there before, and could not be bound. */
		(void)leave(s, &q, j.m);
	return r;
}

static int
drop(struct dgram_socket *s, const char *source, const char *group,
    const char *interface)
{
	struct dgi_membership *m;
	struct dgi_mreq q;
	unsigned index;
	int r, found;

	r = parse(s, &q, source, group, interface);
	if (r < 0)
		return r;
	/* It may be gone, but not what was joined on it. */
	found = dgi_interface_find(s->loop->os, &q.on, &index);
	m = find(s, &q, index);
	if (m != NULL)
		return leave(s, &q, m);
	if (found < 0)
		return found;
	if (s->fd < 0 || q.on.which == DGI_IF_ALL)
		return -EADDRNOTAVAIL;
	/* Joined before the descriptor was ours, or where the kernel picked. */
	r = dgi_mreq_leave(s, &q, index);
	if (r == 0)
		forget_all(s, &q, DGI_PICKED);
	return r;
}

int
dgram_add_membership(struct dgram_socket *s, const char *group,
    const char *interface)
{
	return add(s, NULL, group, interface);
}

int
dgram_drop_membership(struct dgram_socket *s, const char *group,
    const char *interface)
{
	return drop(s, NULL, group, interface);
}

int
dgram_add_source_specific_membership(struct dgram_socket *s,
    const char *source, const char *group, const char *interface)
{
	int r = dgi_socket_check(s);

	if (r < 0)
		return r;
	return source == NULL ? -EINVAL : add(s, source, group, interface);
}

int
dgram_drop_source_specific_membership(struct dgram_socket *s,
    const char *source, const char *group, const char *interface)
{
	int r = dgi_socket_check(s);

	if (r < 0)
		return r;
	return source == NULL ? -EINVAL : drop(s, source, group, interface);
}

/* An interface may have gone, and what was joined there still has a place. */
static int
leave_for_now(struct dgram_socket *s)
{
	struct dgi_membership *m, *next;
	int r, first = 0;

	for (m = s->memberships; m != NULL; m = next) {
		next = m->next;
		if (m->index == 0 || m->index == DGI_PICKED)
			continue;
		r = leave_on(s, &m->what, m->index);
		if (r < 0) {
			if (first == 0)
				first = r;
		} else if (m->what.on.which == DGI_IF_ALL) {
			forget(s, m);
		} else {
			m->index = 0;
		}
	}
	/* None is left now but these. */
	for (m = s->memberships; m != NULL; m = m->next) {
		if (m->index != DGI_PICKED)
			continue;
		r = leave_on(s, &m->what, m->index);
		if (r == 0)
			m->index = 0;
		else if (first == 0)
			first = r;
	}
	return first;
}

int
dgram_refresh_memberships(struct dgram_socket *s)
{
	struct dgi_membership *m;
	int r = dgi_socket_check(s), first;
	unsigned index;

	if (r < 0)
		return r;
	if (s->type == DGRAM_UNIX)
		return -ENOTSUP;
	if (s->fd < 0)
		return -EBADF;
	first = leave_for_now(s);
	for (m = s->memberships; m != NULL; m = m->next) {
		if (m->index != 0 || is_head(m))
			continue;
		r = dgi_interface_find(s->loop->os, &m->what.on, &index);
		if (r == 0)
			r = dgi_mreq_join(s, &m->what, index);
		if (r == 0)
			m->index = joined_on(s, &m->what, index);
		else if (first == 0)
			first = r;
	}
	/* Last: they leave out what others have joined. */
	for (m = s->memberships; m != NULL; m = m->next) {
		r = is_head(m) ? join_all(s, &m->what, true) : 0;
		if (first == 0)
			first = r;
	}
	return first;
}

int
dgram_set_multicast_interface(struct dgram_socket *s, const char *interface)
{
	struct dgi_interface on;
	unsigned index;
	int r = dgi_socket_check_fd(s);
	bool is_zone, is_number;

	if (r < 0)
		return r;
	if (s->type == DGRAM_UNIX)
		return -ENOTSUP;
	r = dgi_interface_parse(&on, interface);
	is_zone = on.addr.family == AF_INET6;
	if (is_zone && s->type == DGRAM_UDP4)
		return -ENOPROTOOPT;
	if (on.which == DGI_IF_ALL || (on.addr.family == AF_INET &&
	    s->type == DGRAM_UDP6 && s->options.ipv6_only))
		return -EINVAL;
	if (r == 0)
		r = dgi_interface_find(s->loop->os, &on, &index);
	if (r == 0)
		return dgi_mreq_set_interface(s, &on, index);
	if (r != -ENODEV)
		return r;
	/* Node's words, and the kernel's. */
	if (on.which == DGI_IF_ADDR)
		return -EADDRNOTAVAIL;
	is_number = interface[strspn(interface, "0123456789")] == '\0';
	return is_zone || is_number ? -ENODEV : -EINVAL;
}
