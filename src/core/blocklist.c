/* SPDX-License-Identifier: ISC */

/*
 * Block lists: sets of IP addresses, of both families in the one space of IPv6.
 *
 * A list is an array of intervals in order, none of which touches the next, cut
 * into blocks so that an insertion moves at most a block of 4 KiB.  A full block
 * is split, at the cost of moving the pointers behind it: a million rules in
 * random order are moves of a few gigabytes in all, and in ascending order none.
 * A look is a binary search among the blocks, then in one.
 *
 * An address is also looked for as what the kernel or a gateway makes of it.
 */

#include "core/plat.h"

#include <netinet/in.h>

#include <errno.h>
#include <string.h>

#include "core/addr.h"
#include "core/blocklist.h"

/* ---- addresses ---- */

#define MAPPED	UINT64_C(0xffff00000000)	/* ::ffff:0:0, its low half */
#define NAT64	UINT64_C(0x64ff9b00000000)	/* 64:ff9b::, RFC 6052 */
#define SIXTO4	0x2002u				/* 2002::, RFC 3056 */

static struct dgi_key
ip_of4(uint32_t v4)
{
	return (struct dgi_key){ 0, MAPPED | v4 };
}

static uint64_t
read64(const unsigned char *p)
{
	uint64_t v = 0;
	unsigned i;

	for (i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

static struct dgi_key
ip_of(const struct dgram_addr *a)
{
	const unsigned char *p = a->u.in6.sin6_addr.s6_addr;

	if (a->u.sa.sa_family == AF_INET)
		return ip_of4(ntohl(a->u.in.sin_addr.s_addr));
	return (struct dgi_key){ read64(p), read64(p + 8) };
}

static bool
is_less(struct dgi_key a, struct dgi_key b)
{
	return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}

/* The one before; of the first itself. */
static struct dgi_key
before(struct dgi_key a)
{
	if (a.lo > 0)
		a.lo--;
	else if (a.hi > 0)
		a = (struct dgi_key){ a.hi - 1, UINT64_MAX };
	return a;
}

/* ---- places in the list ---- */

/* Rule i of a block; the end is rule 0 of the block that would be next. */
struct place {
	size_t block;
	unsigned i;
};

/* The first rule that does not end before the address. */
static struct place
find(const struct dgram_block_list *b, struct dgi_key ip)
{
	size_t low = 0, high = b->n, mid;
	struct place p = { 0, 0 };
	const struct dgi_rules *r;

	/* How many begin at it or before: it is in the last of those. */
	while (low < high) {
		mid = low + (high - low) / 2;
		if (is_less(ip, b->blocks[mid]->v[0].first))
			high = mid;
		else
			low = mid + 1;
	}
	if (low == 0)
		return p;
	p.block = low - 1;
	r = b->blocks[p.block];
	low = 0;
	high = r->n;
	while (low < high) {
		mid = low + (high - low) / 2;
		if (is_less(r->v[mid].last, ip))
			low = mid + 1;
		else
			high = mid;
	}
	/* Behind all of them. */
	if (low == r->n)
		return (struct place){ p.block + 1, 0 };
	p.i = (unsigned)low;
	return p;
}

static const struct dgi_rule *
at(const struct dgram_block_list *b, struct place p)
{
	return p.block < b->n ? &b->blocks[p.block]->v[p.i] : NULL;
}

/* ---- changes ---- */

static void
free_block(struct dgram_block_list *b, struct dgi_rules *r)
{
	if (r != NULL)
		dgi_mem_free_shared(&b->mem, r, sizeof(*r));
}

/* Memory for what may come of adding a rule: nothing else needs any. */
static int
reserve(struct dgram_block_list *b, struct place p)
{
	size_t room = b->room == 0 ? 4 : b->room * 2;
	struct dgi_rules **blocks;

	/* Where it goes, unless rules that it takes in leave room. */
	if (p.block == b->n && b->n > 0)
		p.block--;
	if (b->n > 0 && b->blocks[p.block]->n < DGI_RULES)
		return 0;
	if (b->n == b->room) {
		if (room > SIZE_MAX / sizeof(struct dgi_rules *))
			return -ENOMEM;
		blocks = dgi_mem_alloc_shared(&b->mem, room * sizeof(*blocks));
		if (blocks == NULL)
			return -ENOMEM;
		if (b->n > 0)
			memcpy(blocks, b->blocks, b->n * sizeof(*blocks));
		if (b->room > 0)
			dgi_mem_free_shared(&b->mem, b->blocks,
			    b->room * sizeof(*blocks));
		b->blocks = blocks;
		b->room = room;
	}
	if (b->spare == NULL)
		b->spare = dgi_mem_alloc_shared(&b->mem, sizeof(*b->spare));
	return b->spare == NULL ? -ENOMEM : 0;
}

/* The spare block, empty, at that place. */
static struct dgi_rules *
insert_block(struct dgram_block_list *b, size_t k)
{
	struct dgi_rules **v = b->blocks, *r = b->spare;

	memmove(v + k + 1, v + k, (b->n - k) * sizeof(*v));
	v[k] = r;
	b->n++;
	b->spare = NULL;
	r->n = 0;
	return r;
}

/* The place of the rule behind it, which may be another block's. */
static struct place
erase(struct dgram_block_list *b, struct place p)
{
	struct dgi_rules **v = b->blocks, *r = v[p.block];

	r->n--;
	memmove(r->v + p.i, r->v + p.i + 1, (r->n - p.i) * sizeof(*r->v));
	if (r->n == 0) {
		b->n--;
		memmove(v + p.block, v + p.block + 1,
		    (b->n - p.block) * sizeof(*v));
		/* An insertion may want it. */
		free_block(b, b->spare);
		b->spare = r;
	} else if (p.i == r->n) {
		p.block++;
		p.i = 0;
	}
	return p;
}

/* In front of the rule at that place. */
static void
insert(struct dgram_block_list *b, struct place p, const struct dgi_rule *rule)
{
	struct dgi_rules *r, *upper;
	unsigned half = DGI_RULES / 2;

	if (p.i == 0 && p.block > 0 &&
	    b->blocks[p.block - 1]->n < DGI_RULES) {
		p.block--;
		p.i = b->blocks[p.block]->n;
	} else if (p.block == b->n) {
		(void)insert_block(b, p.block);
	}
	r = b->blocks[p.block];
	if (r->n == DGI_RULES) {
		upper = insert_block(b, p.block + 1);
		upper->n = DGI_RULES - half;
		memcpy(upper->v, r->v + half, upper->n * sizeof(*r->v));
		r->n = half;
		if (p.i > half) {
			p.i -= half;
			r = upper;
		}
	}
	memmove(r->v + p.i + 1, r->v + p.i, (r->n - p.i) * sizeof(*r->v));
	r->v[p.i] = *rule;
	r->n++;
}

static int
add(struct dgram_block_list *b, struct dgi_key first, struct dgi_key last)
{
	struct dgi_rule rule = { first, last };
	struct place p = find(b, before(first));
	const struct dgi_rule *r;
	int status;

	status = reserve(b, p);
	if (status < 0)
		return status;
	/* Takes in all that it overlaps or touches. */
	while ((r = at(b, p)) != NULL &&
	    !is_less(rule.last, before(r->first))) {
		if (is_less(r->first, rule.first))
			rule.first = r->first;
		if (is_less(rule.last, r->last))
			rule.last = r->last;
		p = erase(b, p);
	}
	insert(b, p, &rule);
	return 0;
}

/* ---- rules ---- */

/* AF_INET or AF_INET6, or an error.  Rules know no zones. */
static int
parse(const char *text, struct dgi_key *ip)
{
	struct dgram_addr a;

	if (text == NULL || strchr(text, '%') != NULL ||
	    dgram_addr_parse(&a, text, 0) < 0)
		return -EINVAL;
	*ip = ip_of(&a);
	return a.u.sa.sa_family;
}

int
dgram_block_list_add_range(struct dgram_block_list *b, const char *first,
    const char *last)
{
	struct dgi_key from, to;
	int family;

	if (b == NULL)
		return -EINVAL;
	family = parse(first, &from);
	if (family < 0 || parse(last, &to) != family || is_less(to, from))
		return -EINVAL;
	return add(b, from, to);
}

int
dgram_block_list_add_address(struct dgram_block_list *b, const char *address)
{
	return dgram_block_list_add_range(b, address, address);
}

/* The bits of half an address behind the first n, of any n. */
static uint64_t
bits_behind(int n)
{
	return n <= 0 ? UINT64_MAX : n >= 64 ? 0 : UINT64_MAX >> n;
}

int
dgram_block_list_add_subnet(struct dgram_block_list *b, const char *net,
    int prefix)
{
	struct dgi_key ip, host;
	int family;

	if (b == NULL)
		return -EINVAL;
	family = parse(net, &ip);
	if (family < 0 || prefix < 0 || prefix > (family == AF_INET ? 32 : 128))
		return -EINVAL;
	if (family == AF_INET)
		prefix += 96;
	host = (struct dgi_key){ bits_behind(prefix), bits_behind(prefix - 64) };
	return add(b, (struct dgi_key){ ip.hi & ~host.hi, ip.lo & ~host.lo },
	    (struct dgi_key){ ip.hi | host.hi, ip.lo | host.lo });
}

/* ---- checks ---- */

static bool
has(const struct dgram_block_list *b, struct dgi_key ip)
{
	const struct dgi_rule *r = at(b, find(b, ip));

	return r != NULL && !is_less(ip, r->first);
}

/* connect(2) and sendto(2) take the wildcard for the loopback. */
static bool
has4(const struct dgram_block_list *b, uint32_t v4)
{
	return has(b, ip_of4(v4)) ||
	    (v4 == INADDR_ANY && has(b, ip_of4(INADDR_LOOPBACK)));
}

static bool
has6(const struct dgram_block_list *b, struct dgi_key ip)
{
	if (has(b, ip))
		return true;
	if (ip.hi == 0 && ip.lo == 0)
		return has(b, (struct dgi_key){ 0, 1 }) || has4(b, INADDR_ANY);
	/* An IPv4 address in it, which a gateway would send to. */
	if ((ip.hi == 0 && ip.lo >> 32 == MAPPED >> 32) ||
	    (ip.hi == NAT64 && ip.lo >> 32 == 0))
		return has4(b, (uint32_t)ip.lo);
	return ip.hi >> 48 == SIXTO4 && has4(b, (uint32_t)(ip.hi >> 16));
}

bool
dgram_block_list_check(const struct dgram_block_list *b,
    const struct dgram_addr *a)
{
	if (b == NULL || a == NULL)
		return false;
	if (dgi_addr_check(a, AF_INET) > 0)
		return has4(b, ntohl(a->u.in.sin_addr.s_addr));
	return dgi_addr_check(a, AF_INET6) > 0 && has6(b, ip_of(a));
}

/* ---- sockets ---- */

/*
 * What is blocked leaves the messages; those behind move up, and do not lie in
 * the slots of their number any more.
 */
static unsigned
sift(struct dgram_socket *s, unsigned n, size_t *bytes)
{
	const struct dgram_block_list *b = s->options.receive_block_list;
	struct dgi_arena *a = &s->loop->arena;
	struct dgram_message *m = a->messages;
	unsigned i, left = 0;

	for (i = 0; i < n; i++) {
		if (dgram_block_list_check(b, m[i].remote)) {
			s->stats.blocked++;
			if ((m[i].flags & DGRAM_TRUNCATED) != 0)
				s->stats.truncated--;
			*bytes -= m[i].size;
			continue;
		}
		if (i != left) {
			m[left] = m[i];
			a->prepared = 0;
		}
		left++;
	}
	return left;
}

/*
 * NULL: to the connected peer; from the socket's own address.  The wildcard leads
 * to the address that it is sent from, if that is one (Linux).
 */
static bool
stops_way(const struct dgram_socket *s, const struct dgram_addr *to,
    const struct dgram_addr *from)
{
	const struct dgram_block_list *b = s->options.send_block_list;

	if (to == NULL)
		to = &s->peer;
	return dgram_block_list_check(b, to) || (dgi_addr_is_any(to) &&
	    (dgram_block_list_check(b, &s->local) ||
	    dgram_block_list_check(b, from)));
}

static bool
stops_peer(const struct dgram_socket *s, const struct dgram_addr *to)
{
	return stops_way(s, to, NULL);
}

/* Where a request is sent from, if it says so: true. */
static bool
source_of(const struct dgram_socket *s, const struct dgi_req *r,
    struct dgram_addr *from)
{
	struct dgi_source src;

	if ((r->flags & DGI_REQ_META) == 0)
		return false;
	memcpy(&src, r->addr + DGI_REQ_SOURCE_AT, sizeof(src));
	dgi_addr_from(from, s->family, src.addr);
	return src.has_addr;
}

static bool
stops(const struct dgram_socket *s, const struct dgi_req *r)
{
	struct dgram_addr to = { .len = r->addr_len }, from;

	memcpy(&to.u, r->addr, r->addr_len);
	return stops_way(s, to.len > 0 ? &to : NULL,
	    source_of(s, r, &from) ? &from : NULL);
}

static unsigned
count_allowed(const struct dgram_socket *s, const struct dgram_datagram *d,
    unsigned n)
{
	unsigned i;

	for (i = 0; i < n && !stops_way(s, d[i].to, d[i].from); i++)
		continue;
	return i;
}

/* ---- its life ---- */

int
dgi_block_list_new(const struct dgram_allocator *allocator,
    struct dgram_block_list **ret)
{
	struct dgram_block_list *b;
	struct dgi_mem mem;

	dgi_mem_init(&mem, allocator);
	b = dgi_mem_alloc_shared(&mem, sizeof(*b));
	if (b == NULL)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	b->mem = mem;
	atomic_init(&b->refs, 1);
	b->release = dgram_block_list_free;
	b->sift = sift;
	b->stops_peer = stops_peer;
	b->stops = stops;
	b->count_allowed = count_allowed;
	*ret = b;
	return 0;
}

int
dgram_block_list_new(struct dgram_block_list **ret)
{
	return ret == NULL ? -EINVAL : dgi_block_list_new(NULL, ret);
}

void
dgram_block_list_free(struct dgram_block_list *b)
{
	struct dgi_mem mem;

	if (b == NULL || atomic_fetch_sub(&b->refs, 1) > 1)
		return;
	while (b->n > 0)
		free_block(b, b->blocks[--b->n]);
	free_block(b, b->spare);
	mem = b->mem;
	if (b->room > 0)
		dgi_mem_free_shared(&mem, b->blocks,
		    b->room * sizeof(struct dgi_rules *));
	dgi_mem_free_shared(&mem, b, sizeof(*b));
}
