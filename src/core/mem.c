/* SPDX-License-Identifier: ISC */

/*
 * Memory of one loop.
 *
 * Requests and copies of payloads come and go at the rate of datagrams, so
 * pieces that are put back stay on a free list per power of two.  Each list
 * holds what was in use of its size at the peak, which the limits of the send
 * queues bound.
 *
 * A loop without an allocator of the user's cuts its pieces from chunks of its
 * own, of sizes that are powers of two, and gives them back to the system when
 * it ends.  It knows the size of what it frees, so that a piece has no header.
 */

#include "core/plat.h"

#include <sys/mman.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

void
dgi_mem_init(struct dgi_mem *m, const struct dgram_allocator *a)
{
	memset(m, 0, sizeof(*m));
	if (a != NULL)
		m->allocator = *a;
}

void
dgi_pool_done(struct dgi_pool *p, struct dgi_mem *m)
{
	struct dgi_mem_free *f;

	while ((f = p->free) != NULL) {
		p->free = f->next;
		dgi_mem_free(m, f, p->size);
	}
}

/* malloc(3) that leaves errno alone. */
static void *
quiet_malloc(size_t size)
{
	int saved_errno = errno;
	void *p = malloc(size);

	errno = saved_errno;
	return p;
}

void *
dgi_mem_alloc_shared(const struct dgi_mem *m, size_t size)
{
	if (m->allocator.alloc != NULL)
		return m->allocator.alloc(size, m->allocator.arg);
	return quiet_malloc(size);
}

void
dgi_mem_free_shared(const struct dgi_mem *m, void *p, size_t size)
{
	if (m->allocator.alloc != NULL)
		m->allocator.free(p, size, m->allocator.arg);
	else
		free(p);
}

static void *
map(size_t size)
{
	int saved_errno = errno;
	void *p;

	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	errno = saved_errno;
	return p == MAP_FAILED ? NULL : p;
}

/* The free list for a size, or DGI_MEM_CLASSES if it is too large for one. */
static unsigned
class_of(size_t size)
{
	unsigned c = 0;

	while (c < DGI_MEM_CLASSES && ((size_t)DGI_MEM_SMALLEST << c) < size)
		c++;
	return c;
}

#if !DGI_HAVE_MALLOC

#define CHUNK		((size_t)32 << 10)
/* Larger pieces are mapped one by one. */
#define PIECE_MOST	(CHUNK / 4)

struct dgi_chunk {
	struct dgi_chunk *next;
	size_t pad;			/* pieces are aligned as this struct */
};

static void *
default_alloc(struct dgi_mem *m, size_t size)
{
	unsigned c = class_of(size);
	size_t room = (size_t)DGI_MEM_SMALLEST << c;
	struct dgi_chunk *chunk;
	struct dgi_mem_free *f;
	void *p;

	if (size > PIECE_MOST) {
		p = map(size);
		if (p != NULL)
			m->held += size;
		return p;
	}
	f = m->pieces[c];
	if (f != NULL) {
		m->pieces[c] = f->next;
		p = f;
	} else {
		if ((size_t)(m->end - m->next) < room) {
			chunk = map(CHUNK);
			if (chunk == NULL)
				return NULL;
			m->slack += CHUNK;
			chunk->next = m->chunks;
			m->chunks = chunk;
			m->next = (char *)(chunk + 1);
			m->end = (char *)chunk + CHUNK;
		}
		p = m->next;
		m->next += room;
	}
	m->held += size;
	m->slack -= size;
	return p;
}

static void
default_free(struct dgi_mem *m, void *p, size_t size)
{
	unsigned c = class_of(size);
	struct dgi_mem_free *f = p;

	m->held -= size;
	if (size > PIECE_MOST) {
		(void)munmap(p, size);
		return;
	}
	m->slack += size;
	f->next = m->pieces[c];
	m->pieces[c] = f;
}

static void
default_done(struct dgi_mem *m)
{
	struct dgi_chunk *chunk;

	while ((chunk = m->chunks) != NULL) {
		m->chunks = chunk->next;
		(void)munmap(chunk, CHUNK);
	}
	m->slack = 0;
	m->next = m->end = NULL;
	memset(m->pieces, 0, sizeof(m->pieces));
}

#else

static void *
default_alloc(struct dgi_mem *m, size_t size)
{
	void *p = quiet_malloc(size);

	if (p != NULL)
		m->held += size;
	return p;
}

static void
default_free(struct dgi_mem *m, void *p, size_t size)
{
	m->held -= size;
	free(p);
}

static void
default_done(struct dgi_mem *m)
{
	(void)m;
}

#endif

void *
dgi_mem_alloc(struct dgi_mem *m, size_t size)
{
	void *p;

	if (m->allocator.alloc == NULL)
		return default_alloc(m, size);
	p = m->allocator.alloc(size, m->allocator.arg);
	if (p != NULL)
		m->held += size;
	return p;
}

void
dgi_mem_free(struct dgi_mem *m, void *p, size_t size)
{
	if (p == NULL)
		return;
	if (m->allocator.alloc == NULL) {
		default_free(m, p, size);
		return;
	}
	m->held -= size;
	m->allocator.free(p, size, m->allocator.arg);
}

void
dgi_mem_done(struct dgi_mem *m)
{
	unsigned c;

	for (c = 0; c < DGI_MEM_CLASSES; c++)
		dgi_pool_done(&m->classes[c], m);
	if (m->allocator.alloc == NULL)
		default_done(m);
}

void *
dgi_mem_grow(struct dgi_mem *m, void *old, size_t old_size, size_t wanted)
{
	void *p;

	p = dgi_mem_alloc(m, wanted);
	if (p == NULL)
		return NULL;
	if (old != NULL) {
		memcpy(p, old, old_size);
		dgi_mem_free(m, old, old_size);
	}
	return p;
}

void *
dgi_mem_get(struct dgi_mem *m, size_t size)
{
	unsigned c = class_of(size);

	if (c == DGI_MEM_CLASSES)
		return dgi_mem_alloc(m, size);
	return dgi_pool_get(&m->classes[c], m, (size_t)DGI_MEM_SMALLEST << c);
}

void
dgi_mem_put(struct dgi_mem *m, void *p, size_t size)
{
	unsigned c = class_of(size);

	if (p == NULL)
		return;
	if (c == DGI_MEM_CLASSES)
		dgi_mem_free(m, p, size);
	else
		dgi_pool_put(&m->classes[c], p);
}

void *
dgi_mem_reserve(struct dgi_mem *m, size_t size)
{
	int saved_errno = errno;
	void *p;

	if (m->allocator.alloc != NULL)
		return dgi_mem_alloc(m, size);
	p = map(size);
	if (p == NULL)
		return NULL;
#if DGI_HAVE_NOHUGEPAGE
	(void)madvise(p, size, MADV_NOHUGEPAGE);
#endif
	errno = saved_errno;
	m->held += size;
	return p;
}

void
dgi_mem_release(struct dgi_mem *m, void *p, size_t size)
{
	if (p == NULL)
		return;
	if (m->allocator.alloc != NULL) {
		dgi_mem_free(m, p, size);
		return;
	}
	m->held -= size;
	(void)munmap(p, size);
}
