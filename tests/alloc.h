/* SPDX-License-Identifier: ISC */

/*
 * An allocator that counts, checks and fails.
 *
 * A piece remembers its size, which must be the one that free is told.  New
 * pieces are filled with 0xa5 and old ones with 0x5a, so that what is read too
 * soon or too late is not zero by luck.  Not for several threads at a time.
 */

#ifndef DGT_ALLOC_H
#define DGT_ALLOC_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dgram.h"

#define TEST_ALLOC_HEAD	64u		/* keeps the alignment of malloc(3) */
#define TEST_ALLOC_FILL	65536u		/* at most; the arena is large */

struct test_alloc {
	struct dgram_allocator allocator;	/* what to give to a loop */
	size_t held, pieces;		/* now */
	unsigned long calls;		/* of alloc, the failed ones too */
	unsigned long fail_at;		/* this call fails; 0: none */
	unsigned long fail_from;	/* this one and all after it; 0: none */
	unsigned long wrong;		/* frees with another size */
};

static inline void *
test_alloc_alloc(size_t size, void *arg)
{
	struct test_alloc *a = arg;
	unsigned char *p;

	a->calls++;
	if (a->calls == a->fail_at ||
	    (a->fail_from != 0 && a->calls >= a->fail_from))
		return NULL;
	p = malloc(size + TEST_ALLOC_HEAD);
	if (p == NULL)
		return NULL;
	memcpy(p, &size, sizeof(size));
	memset(p + TEST_ALLOC_HEAD, 0xa5,
	    size < TEST_ALLOC_FILL ? size : TEST_ALLOC_FILL);
	a->held += size;
	a->pieces++;
	return p + TEST_ALLOC_HEAD;
}

static inline void
test_alloc_free(void *piece, size_t size, void *arg)
{
	struct test_alloc *a = arg;
	unsigned char *p = (unsigned char *)piece - TEST_ALLOC_HEAD;
	size_t was;

	memcpy(&was, p, sizeof(was));
	a->wrong += was != size;
	a->held -= was;
	a->pieces--;
	memset(p, 0x5a, TEST_ALLOC_HEAD +
	    (was < TEST_ALLOC_FILL ? was : TEST_ALLOC_FILL));
	free(p);
}

static inline void
test_alloc_init(struct test_alloc *a)
{
	memset(a, 0, sizeof(*a));
	a->allocator.alloc = test_alloc_alloc;
	a->allocator.free = test_alloc_free;
	a->allocator.arg = a;
}

/* From now on every allocation fails, or none. */
static inline void
test_alloc_fail(struct test_alloc *a, bool fail)
{
	a->fail_at = 0;
	a->fail_from = fail ? a->calls + 1 : 0;
}

/* All was given back, with the right sizes. */
static inline bool
test_alloc_clean(const struct test_alloc *a)
{
	return a->held == 0 && a->pieces == 0 && a->wrong == 0;
}

#endif
