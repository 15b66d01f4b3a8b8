/* SPDX-License-Identifier: ISC */

/*
 * The heap of timers, against a naive oracle.
 */

#include "test.h"

#include <errno.h>

#include "alloc.h"
#include "core/heap.h"

#define NTIMERS	700

static struct dgram_timer timers[NTIMERS];
static uint64_t keys[NTIMERS];		/* what the oracle knows */

/* xorshift64*: the same numbers everywhere. */
static uint32_t
next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)(*state * 0x2545f4914f6cdd1du >> 32);
}

/* The oracle's first: least key, then least seq; -1 if none is active. */
static int
naive_first(void)
{
	int i, first = -1;

	for (i = 0; i < NTIMERS; i++) {
		if (timers[i].index == 0)
			continue;
		if (first < 0 || keys[i] < keys[first] ||
		    (keys[i] == keys[first] && timers[i].seq <
		    timers[first].seq))
			first = i;
	}
	return first;
}

/* Each timer knows its place, and no child comes before its parent. */
static void
check_shape(const struct dgi_heap *h)
{
	const struct dgi_heap_entry *e, *up;
	size_t i, active = 0;

	for (i = 0; i < NTIMERS; i++)
		active += timers[i].index != 0;
	cr_assert_eq(active, h->n);
	for (i = 0; i < h->n; i++) {
		e = &h->v[i];
		cr_assert_eq(e->timer->index, i + 1);
		cr_assert_eq(e->key, keys[e->timer - timers]);
		if (i == 0)
			continue;
		up = &h->v[(i - 1) / 4];
		cr_assert(up->key < e->key || (up->key == e->key &&
		    up->timer->seq < e->timer->seq), "order at %zu", i);
	}
}

/*
 * 10^5 random inserts, removes and moves.  Half of the keys are from a small
 * range, so that many are equal.
 */
TEST(heap, random_against_oracle)
{
	struct test_alloc alloc;
	struct dgi_heap h = { 0 };
	struct dgi_mem mem;
	uint64_t rnd = 20240607, seq = 0;
	int first, i, last, round;

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	for (round = 0; round < 100000; round++) {
		i = (int)(next_random(&rnd) % NTIMERS);
		if (timers[i].index != 0 && next_random(&rnd) % 2 == 0) {
			dgi_heap_remove(&h, &timers[i]);
			cr_assert_eq(timers[i].index, 0);
		} else {
			keys[i] = next_random(&rnd);
			if (keys[i] % 2 == 0)
				keys[i] = keys[i] / 2 % 40;
			timers[i].seq = (uint32_t)++seq;
			if (timers[i].index != 0)
				dgi_heap_move(&h, &timers[i], keys[i]);
			else
				cr_assert_eq(dgi_heap_insert(&h, &mem, keys[i],
				    &timers[i]), 0);
		}
		first = naive_first();
		if (first < 0) {
			cr_assert_eq(h.n, 0);
			continue;
		}
		cr_assert(h.v[0].timer == &timers[first], "round %d", round);
		cr_assert_eq(h.v[0].key, keys[first]);
		if (round % 1000 == 0)
			check_shape(&h);
	}
	check_shape(&h);
	cr_assert(h.n > 100, "%zu are enough to say something", h.n);
	/* The rest comes out in order. */
	for (last = -1; h.n > 0; last = i) {
		i = (int)(h.v[0].timer - timers);
		cr_assert_eq(i, naive_first());
		if (last >= 0)
			cr_assert(keys[last] <= keys[i]);
		dgi_heap_remove(&h, &timers[i]);
	}
	dgi_heap_done(&h, &mem);
	cr_assert_eq(mem.held, 0);
	cr_assert(test_alloc_clean(&alloc));
}

/* Also where the sequence number wraps: by difference, not by size. */
TEST(heap, equal_keys_by_seq)
{
	struct dgi_heap h = { 0 };
	struct dgi_mem mem;
	int i, order[8] = { 5, 2, 7, 0, 3, 6, 1, 4 };

	dgi_mem_init(&mem, NULL);
	timers[0].seq = 0;
	timers[0].seq -= 3;
	for (i = 1; i < 8; i++) {
		timers[i].seq = timers[i - 1].seq;
		timers[i].seq++;
	}
	cr_assert(timers[7].seq < timers[0].seq, "it wraps");
	for (i = 0; i < 8; i++)
		cr_assert_eq(dgi_heap_insert(&h, &mem, 1000,
		    &timers[order[i]]), 0);
	for (i = 0; i < 8; i++) {
		cr_assert(h.v[0].timer == &timers[i], "place %d", i);
		dgi_heap_remove(&h, &timers[i]);
	}
	dgi_heap_done(&h, &mem);
	dgi_mem_done(&mem);
}

/* Extreme keys are compared without overflow. */
TEST(heap, extreme_keys)
{
	static const uint64_t values[] = { UINT64_MAX, 0, 1,
	    (uint64_t)INT64_MAX + 1, INT64_MAX, UINT64_MAX - 1 };
	static const int order[] = { 1, 2, 4, 3, 5, 0 };
	struct dgi_heap h = { 0 };
	struct dgi_mem mem;
	int i;

	dgi_mem_init(&mem, NULL);
	for (i = 0; i < 6; i++) {
		timers[i].seq = (uint32_t)i;
		cr_assert_eq(dgi_heap_insert(&h, &mem, values[i], &timers[i]),
		    0);
	}
	for (i = 0; i < 6; i++) {
		cr_assert(h.v[0].timer == &timers[order[i]], "place %d", i);
		dgi_heap_remove(&h, h.v[0].timer);
	}
	dgi_heap_done(&h, &mem);
	dgi_mem_done(&mem);
}

/* Growth that fails leaves the heap and the timer as they were. */
TEST(heap, growth_fails)
{
	struct test_alloc alloc;
	struct dgi_heap h = { 0 };
	struct dgi_mem mem;
	int i, refused = 0;

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	test_alloc_fail(&alloc, true);
	cr_assert_eq(dgi_heap_insert(&h, &mem, 1, &timers[0]), -ENOMEM);
	cr_assert_eq(timers[0].index, 0);
	cr_assert_eq(h.n, 0);
	cr_assert_eq(mem.held, 0);
	for (i = 0; i < NTIMERS; i++) {
		keys[i] = (uint64_t)(i * 7919 % NTIMERS);
		timers[i].seq = (uint32_t)i;
		test_alloc_fail(&alloc, true);
		if (dgi_heap_insert(&h, &mem, keys[i], &timers[i]) < 0) {
			refused++;
			cr_assert_eq(timers[i].index, 0);
			check_shape(&h);
			test_alloc_fail(&alloc, false);
			cr_assert_eq(dgi_heap_insert(&h, &mem, keys[i],
			    &timers[i]), 0);
		}
		cr_assert_eq(h.n, (size_t)i + 1);
	}
	cr_assert(refused >= 3 && refused < 12, "refused %d", refused);
	check_shape(&h);
	test_alloc_fail(&alloc, true);
	/* Removes and moves need no memory. */
	for (i = 0; i < NTIMERS / 2; i++) {
		keys[i] = (uint64_t)(NTIMERS - i);
		dgi_heap_move(&h, &timers[i], keys[i]);
	}
	check_shape(&h);
	dgi_heap_done(&h, &mem);
	cr_assert(test_alloc_clean(&alloc));
}

/* Who is left at the end learns that it is in no heap. */
TEST(heap, done_resets_timers)
{
	struct dgi_heap h = { 0 };
	struct dgi_mem mem;
	int i;

	dgi_mem_init(&mem, NULL);
	for (i = 0; i < 30; i++)
		cr_assert_eq(dgi_heap_insert(&h, &mem, (uint64_t)i,
		    &timers[i]), 0);
	dgi_heap_done(&h, &mem);
	for (i = 0; i < 30; i++)
		cr_assert_eq(timers[i].index, 0);
	cr_assert_eq(h.n, 0);
	/* And it can be used again. */
	cr_assert_eq(dgi_heap_insert(&h, &mem, 5, &timers[3]), 0);
	cr_assert(h.v[0].timer == &timers[3]);
	dgi_heap_done(&h, &mem);
	dgi_mem_done(&mem);
	cr_assert_eq(mem.held, 0);
}
