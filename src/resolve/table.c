/* SPDX-License-Identifier: ISC */

/*
 * Who waits, found by name (a hash table) or by number (an array with
 * generations).
 */

#include "core/plat.h"

#include <string.h>

#include "resolve/table.h"

#define IDS_FIRST	16u

void
dgi_names_init(struct dgi_names *t)
{
	size_t i;

	for (i = 0; i < DGI_NAMES_BUCKETS; i++)
		dgi_list_init(&t->buckets[i]);
}

/* FNV-1a. */
static struct dgi_list *
bucket(struct dgi_names *t, const void *of, const char *name)
{
	uint32_t h = 2166136261u ^ (uint32_t)((uintptr_t)of >> 4);

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return &t->buckets[(h ^ h >> 16) & (DGI_NAMES_BUCKETS - 1)];
}

struct dgi_named *
dgi_names_find(struct dgi_names *t, const void *of, const char *name,
    int family)
{
	struct dgi_list *head = bucket(t, of, name), *i;
	struct dgi_named *n;

	for (i = head->next; i != head; i = i->next) {
		n = DGI_CONTAINER(i, struct dgi_named, link);
		if (n->of == of && n->family == family &&
		    strcmp(n->name, name) == 0)
			return n;
	}
	return NULL;
}

void
dgi_names_add(struct dgi_names *t, struct dgi_named *n)
{
	dgi_list_append(bucket(t, n->of, n->name), &n->link);
}

static bool
grow(struct dgi_ids *t, struct dgi_mem *m)
{
	uint32_t n = t->n == 0 ? IDS_FIRST : t->n * 2, i;
	struct dgi_id *v;

	v = dgi_mem_grow(m, t->v, t->n * sizeof(*v), n * sizeof(*v));
	if (v == NULL)
		return false;
	for (i = n; i > t->n; i--) {
		v[i - 1] = (struct dgi_id){ .next_free = t->free };
		t->free = i;
	}
	t->v = v;
	t->n = n;
	return true;
}

uint64_t
dgi_ids_take(struct dgi_ids *t, struct dgi_mem *m, void *what)
{
	struct dgi_id *e;
	uint32_t i;

	if (t->free == 0 && !grow(t, m))
		return 0;
	i = t->free;
	e = &t->v[i - 1];
	t->free = e->next_free;
	t->used++;
	e->what = what;
	return (uint64_t)e->gen << 32 | i;
}

void
dgi_ids_put(struct dgi_ids *t, uint64_t id)
{
	uint32_t i = (uint32_t)id;
	struct dgi_id *e;

	if (i == 0)
		return;
	e = &t->v[i - 1];
	e->what = NULL;
	e->gen++;
	e->next_free = t->free;
	t->free = i;
	t->used--;
}

void *
dgi_ids_find(const struct dgi_ids *t, uint64_t id)
{
	uint32_t i = (uint32_t)id;

	if (i == 0 || i > t->n || t->v[i - 1].gen != (uint32_t)(id >> 32))
		return NULL;
	return t->v[i - 1].what;
}

void
dgi_ids_done(struct dgi_ids *t, struct dgi_mem *m)
{
	if (t->v != NULL)
		dgi_mem_free(m, t->v, t->n * sizeof(*t->v));
}
