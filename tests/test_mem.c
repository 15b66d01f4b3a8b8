/* SPDX-License-Identifier: ISC */

/*
 * Memory of a loop: accounting, free lists, reserved pages.
 */

#include "test.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "core/mem.h"

#define LARGEST	((size_t)DGI_MEM_SMALLEST << (DGI_MEM_CLASSES - 1))
/* More than can be mapped; half of it can be, where pointers have 32 bits. */
#define TOO_MUCH	(SIZE_MAX - 65535)

/* One size below, at and above each class, and what has none. */
static const size_t sizes[] = { 1, 63, 64, 65, 127, 128, 129, 1000, 1024, 1500,
    4095, 4096, 4097, 65507, 65536, LARGEST - 1, LARGEST, LARGEST + 1,
    3 * LARGEST };
#define NSIZES	(sizeof(sizes) / sizeof(sizes[0]))

TEST(mem, accounting)
{
	struct test_alloc alloc;
	struct dgi_mem mem;
	char *p, *q;

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	cr_assert_eq(mem.held, 0);
	p = dgi_mem_alloc(&mem, 100);
	q = dgi_mem_alloc(&mem, 1);
	cr_assert(p != NULL && q != NULL);
	cr_assert_eq(mem.held, 101);
	cr_assert_eq(alloc.held, 101);
	dgi_mem_free(&mem, p, 100);
	cr_assert_eq(mem.held, 1);
	dgi_mem_free(&mem, NULL, 55);
	cr_assert_eq(mem.held, 1);
	dgi_mem_free(&mem, q, 1);
	dgi_mem_done(&mem);
	cr_assert_eq(mem.held, 0);
	cr_assert(test_alloc_clean(&alloc));
}

/* The struct is copied: what it was made from may go. */
TEST(mem, allocator_is_copied)
{
	struct test_alloc alloc;
	struct dgram_allocator a;
	struct dgi_mem mem;
	void *p;

	test_alloc_init(&alloc);
	a = alloc.allocator;
	dgi_mem_init(&mem, &a);
	memset(&a, 0, sizeof(a));
	p = dgi_mem_alloc(&mem, 10);
	cr_assert_eq(alloc.calls, 1);
	dgi_mem_free(&mem, p, 10);
	cr_assert(test_alloc_clean(&alloc));
}

TEST(mem, grow_keeps_content)
{
	struct test_alloc alloc;
	struct dgi_mem mem;
	char *p, *q;
	int i;

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	p = dgi_mem_grow(&mem, NULL, 0, 50);
	cr_assert(p != NULL);
	for (i = 0; i < 50; i++)
		p[i] = (char)i;
	q = dgi_mem_grow(&mem, p, 50, 200);
	cr_assert(q != NULL);
	for (i = 0; i < 50; i++)
		cr_assert_eq(q[i], i);
	memset(q, 1, 200);
	cr_assert_eq(mem.held, 200);
	cr_assert_eq(alloc.pieces, 1);
	/* Refused: the old one is still whole, and still counted. */
	test_alloc_fail(&alloc, true);
	cr_assert(dgi_mem_grow(&mem, q, 200, 400) == NULL);
	cr_assert_eq(mem.held, 200);
	for (i = 0; i < 200; i++)
		cr_assert_eq(q[i], 1);
	dgi_mem_free(&mem, q, 200);
	cr_assert(test_alloc_clean(&alloc));
}

/*
 * What is put back is what comes next, and nothing is allocated for it.  Each
 * piece is as large as was asked for (filled, under the sanitizers).
 */
TEST(mem, steady_state_does_not_allocate)
{
	struct test_alloc alloc;
	struct dgi_mem mem;
	unsigned long calls;
	void *p[NSIZES];
	size_t held, i, round;

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	for (i = 0; i < NSIZES; i++) {
		p[i] = dgi_mem_get(&mem, sizes[i]);
		cr_assert(p[i] != NULL);
		memset(p[i], 0x11, sizes[i]);
	}
	for (i = 0; i < NSIZES; i++)
		dgi_mem_put(&mem, p[i], sizes[i]);
	/* Free lists count as held, what is too large for one is gone. */
	held = mem.held;
	cr_assert_eq(held, alloc.held);
	cr_assert(held > LARGEST && held < 6 * LARGEST, "held %zu", held);
	calls = alloc.calls;
	for (round = 0; round < 100; round++) {
		for (i = 0; i < NSIZES && sizes[i] <= LARGEST; i++) {
			p[i] = dgi_mem_get(&mem, sizes[i]);
			cr_assert(p[i] != NULL);
			memset(p[i], 0x22, sizes[i]);
		}
		while (i-- > 0)
			dgi_mem_put(&mem, p[i], sizes[i]);
	}
	cr_assert_eq(alloc.calls, calls);
	cr_assert_eq(mem.held, held);
	dgi_mem_done(&mem);
	cr_assert_eq(mem.held, 0);
	cr_assert(test_alloc_clean(&alloc));
}

/* Two sizes of one class share pieces, two classes never do. */
TEST(mem, classes)
{
	struct test_alloc alloc;
	struct dgi_mem mem;
	void *p, *q;

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	p = dgi_mem_get(&mem, 65);
	dgi_mem_put(&mem, p, 65);
	cr_assert(dgi_mem_get(&mem, 128) == p);
	dgi_mem_put(&mem, p, 128);
	q = dgi_mem_get(&mem, 129);
	cr_assert(q != p);
	memset(q, 0, 129);
	dgi_mem_put(&mem, q, 129);
	q = dgi_mem_get(&mem, 64);
	cr_assert(q != p);
	dgi_mem_put(&mem, q, 64);
	dgi_mem_put(&mem, NULL, 64);
	cr_assert(dgi_mem_get(&mem, 64) == q);
	dgi_mem_put(&mem, q, 64);
	dgi_mem_done(&mem);
	cr_assert(test_alloc_clean(&alloc));
}

TEST(mem, get_fails)
{
	struct test_alloc alloc;
	struct dgi_mem mem;
	struct dgi_pool pool = { 0 };
	void *p;
	size_t i;

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	test_alloc_fail(&alloc, true);
	for (i = 0; i < NSIZES; i++) {
		cr_assert(dgi_mem_get(&mem, sizes[i]) == NULL);
		cr_assert(dgi_mem_alloc(&mem, sizes[i]) == NULL);
		cr_assert(dgi_mem_reserve(&mem, sizes[i]) == NULL);
		cr_assert(dgi_mem_alloc_shared(&mem, sizes[i]) == NULL);
		cr_assert(dgi_pool_get(&pool, &mem, sizes[i]) == NULL);
	}
	cr_assert_eq(mem.held, 0);
	test_alloc_fail(&alloc, false);
	p = dgi_mem_get(&mem, 64);
	cr_assert(p != NULL);
	dgi_mem_put(&mem, p, 64);
	/* A piece of the free list is not affected. */
	test_alloc_fail(&alloc, true);
	cr_assert(dgi_mem_get(&mem, 64) == p);
	dgi_mem_put(&mem, p, 64);
	dgi_mem_done(&mem);
	cr_assert(test_alloc_clean(&alloc));
}

TEST(mem, pool)
{
	struct test_alloc alloc;
	struct dgi_mem mem;
	struct dgi_pool pool = { 0 };
	void *p[10];
	unsigned long calls;
	int i, j;

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	for (i = 0; i < 10; i++) {
		p[i] = dgi_pool_get(&pool, &mem, 48);
		cr_assert(p[i] != NULL);
		memset(p[i], i, 48);
	}
	calls = alloc.calls;
	for (j = 0; j < 5; j++) {
		for (i = 0; i < 10; i++)
			dgi_pool_put(&pool, p[i]);
		/* The last one put is the warmest and comes first. */
		for (i = 9; i >= 0; i--)
			cr_assert(dgi_pool_get(&pool, &mem, 48) == p[i]);
	}
	cr_assert_eq(alloc.calls, calls);
	for (i = 0; i < 10; i++)
		dgi_pool_put(&pool, p[i]);
	cr_assert_eq(mem.held, 480);
	dgi_pool_done(&pool, &mem);
	cr_assert_eq(mem.held, 0);
	cr_assert(test_alloc_clean(&alloc));
	/* Done twice is done. */
	dgi_pool_done(&pool, &mem);
	cr_assert_eq(mem.held, 0);
}

/* Posts are made by other threads: the count is not theirs to touch. */
TEST(mem, shared_is_not_counted)
{
	struct test_alloc alloc;
	struct dgi_mem mem;
	void *p;

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	p = dgi_mem_alloc_shared(&mem, 24);
	cr_assert(p != NULL);
	cr_assert_eq(alloc.held, 24);
	cr_assert_eq(mem.held, 0);
	dgi_mem_free_shared(&mem, p, 24);
	cr_assert_eq(mem.held, 0);
	cr_assert(test_alloc_clean(&alloc));
}

#define PIECES	300

/* Writes a piece in full, or tells whether it still is as written. */
static void
mark(unsigned char *p, size_t size, int i)
{
	memset(p, i % 255 + 1, size);
}

static bool
is_marked(const unsigned char *p, size_t size, int i)
{
	while (size > 0 && p[--size] == i % 255 + 1)
		continue;
	return size == 0 && p[0] == i % 255 + 1;
}

/*
 * Without an allocator of the user's: pieces of all sizes come and go, are
 * aligned, never overlap, and all goes at the end.
 */
TEST(mem, default_allocator)
{
	static struct {
		unsigned char *p;
		size_t size;
	} piece[PIECES];
	struct dgi_mem mem;
	unsigned seed = 20240607;
	size_t in_use = 0;
	int i, round;

	dgi_mem_init(&mem, NULL);
	for (round = 0; round < 20000; round++) {
		i = rand_r(&seed) % PIECES;
		if (piece[i].p != NULL) {
			cr_assert(is_marked(piece[i].p, piece[i].size, i),
			    "round %d: %zu bytes were changed", round,
			    piece[i].size);
			dgi_mem_free(&mem, piece[i].p, piece[i].size);
			in_use -= piece[i].size;
			piece[i].p = NULL;
			continue;
		}
		piece[i].size = (size_t)rand_r(&seed) % 20 == 0 ?
		    (size_t)rand_r(&seed) % 50000 + 1 :
		    (size_t)rand_r(&seed) % 700 + 1;
		piece[i].p = dgi_mem_alloc(&mem, piece[i].size);
		cr_assert(piece[i].p != NULL);
		cr_assert_eq((uintptr_t)piece[i].p % (2 * sizeof(void *)), 0);
		mark(piece[i].p, piece[i].size, i);
		in_use += piece[i].size;
		cr_assert_eq(mem.held, in_use);
	}
	for (i = 0; i < PIECES; i++)
		dgi_mem_free(&mem, piece[i].p, piece[i].size);
	dgi_mem_done(&mem);
	cr_assert_eq(mem.held, 0);
}

/* At the edges of the sizes, both sides of it; what was put back is reused. */
TEST(mem, default_sizes)
{
	static const size_t some[] = { 1, 63, 64, 65, 4096, 8191, 8192, 8193,
	    16384, 32752, 32768, 100000 };
	unsigned char *p[12];
	struct dgi_mem mem;
	size_t sum = 0;
	int i, round;

	dgi_mem_init(&mem, NULL);
	for (i = 0; i < 12; i++)
		sum += some[i];
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 12; i++) {
			p[i] = dgi_mem_alloc(&mem, some[i]);
			cr_assert(p[i] != NULL);
			mark(p[i], some[i], i);
		}
		cr_assert_eq(mem.held, sum);
		for (i = 0; i < 12; i++) {
			cr_assert(is_marked(p[i], some[i], i), "%zu", some[i]);
			dgi_mem_free(&mem, p[i], some[i]);
		}
		cr_assert_eq(mem.held, 0);
	}
#if !DGI_HAVE_MALLOC
	cr_assert(mem.slack <= 4 * sum, "%zu bytes for nothing", mem.slack);
#endif
	p[0] = dgi_mem_get(&mem, 1000);
	p[1] = dgi_mem_get(&mem, 100000);
	p[2] = dgi_mem_get(&mem, 200000);
	dgi_mem_put(&mem, p[0], 1000);
	dgi_mem_put(&mem, p[1], 100000);
	dgi_mem_put(&mem, p[2], 200000);
	dgi_mem_done(&mem);
	cr_assert_eq(mem.held, 0);
}

#if !DGI_HAVE_MALLOC
#if !defined(RLIMIT_AS)
#define RLIMIT_AS	RLIMIT_DATA	/* OpenBSD counts mmap(2), too */
#endif

/* The limit is one of mmap(2), which that of macOS is not. */
static bool
is_limited(void)
{
	const size_t size = 1 << 20;
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED || munmap(p, size) != 0;
}

/* No address space is left: NULL, nothing counted, and it goes on after. */
TEST(mem, default_fails)
{
	struct rlimit old, none;
	struct dgi_mem mem;
	void *large, *p, *reserved, *small;
	bool limited;

	dgi_mem_init(&mem, NULL);
	cr_assert(dgi_mem_alloc(&mem, TOO_MUCH) == NULL);
	cr_assert_eq(mem.held, 0);
	if (test_emulated())
		cr_skip_test("RLIMIT_AS does nothing under user-mode emulation");
	cr_assert_eq(getrlimit(RLIMIT_AS, &old), 0);
	none = old;
	none.rlim_cur = 0;
	cr_assert_eq(setrlimit(RLIMIT_AS, &none), 0);
	limited = is_limited();
	small = dgi_mem_alloc(&mem, 10);
	large = dgi_mem_alloc(&mem, 100000);
	reserved = dgi_mem_reserve(&mem, 10);
	cr_assert_eq(setrlimit(RLIMIT_AS, &old), 0);
	if (!limited)
		cr_skip_test("address space cannot be limited here");
	cr_assert(small == NULL && large == NULL && reserved == NULL);
	cr_assert_eq(mem.held, 0);
	p = dgi_mem_alloc(&mem, 10);
	cr_assert(p != NULL);
	dgi_mem_free(&mem, p, 10);
	dgi_mem_done(&mem);
	cr_assert_eq(mem.held, 0);
}
#endif

TEST(mem, reserve_by_allocator)
{
	struct test_alloc alloc;
	struct dgi_mem mem;
	char *p;

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	p = dgi_mem_reserve(&mem, 100000);
	cr_assert(p != NULL);
	cr_assert_eq(alloc.held, 100000);
	cr_assert_eq(mem.held, 100000);
	memset(p, 1, 100000);
	dgi_mem_release(&mem, NULL, 100000);
	cr_assert_eq(mem.held, 100000);
	dgi_mem_release(&mem, p, 100000);
	cr_assert_eq(mem.held, 0);
	cr_assert(test_alloc_clean(&alloc));
}

TEST(mem, reserve_by_default)
{
	struct dgi_mem mem;
	size_t size = (size_t)3 << 20;
	char *p;

	dgi_mem_init(&mem, NULL);
	p = dgi_mem_reserve(&mem, size);
	cr_assert(p != NULL);
	cr_assert_eq(mem.held, size);
	cr_assert_eq((uintptr_t)p % 64, 0);
	p[0] = p[size - 1] = 1;
	dgi_mem_release(&mem, p, size);
	cr_assert_eq(mem.held, 0);
	dgi_mem_release(&mem, NULL, 0);
	/* More than there is: no memory, nothing counted. */
	cr_assert(dgi_mem_reserve(&mem, TOO_MUCH) == NULL);
	cr_assert_eq(mem.held, 0);
}

#if DGI_OS_LINUX
static size_t
resident(void *p, size_t size)
{
	static unsigned char pages[32768];
	size_t i, n, count = 0, page = (size_t)sysconf(_SC_PAGESIZE);

	n = size / page;
	cr_assert(n <= sizeof(pages));
	cr_assert_eq(mincore(p, size, pages), 0);
	for (i = 0; i < n; i++)
		count += pages[i] & 1;
	return count;
}

/* Pages become memory when touched, and not 2 MiB at a time. */
TEST(mem, reserve_is_lazy)
{
	struct dgi_mem mem;
	size_t size = (size_t)16 << 20;
	char *p;

	dgi_mem_init(&mem, NULL);
	p = dgi_mem_reserve(&mem, size);
	cr_assert(p != NULL);
	cr_assert_eq(resident(p, size), 0);
	p[0] = p[size / 2] = 1;
	cr_assert_eq(resident(p, size), 2);
	dgi_mem_release(&mem, p, size);
}
#endif

/* A sanitizer ends the program that asks malloc(3) for too much. */
#if DGI_HAVE_MALLOC || defined(__SANITIZE_THREAD__)
#define STRICT_MALLOC	1
#elif defined(__has_feature)
#define STRICT_MALLOC	__has_feature(thread_sanitizer)
#else
#define STRICT_MALLOC	0
#endif

/* What fails says so by its result alone. */
TEST(mem, errno_is_left_alone)
{
	struct dgi_mem mem;
	volatile size_t most = TOO_MUCH;

	dgi_mem_init(&mem, NULL);
	errno = 4711;
	cr_assert(dgi_mem_reserve(&mem, most) == NULL);
	cr_assert_eq(errno, 4711);
#if !STRICT_MALLOC
	cr_assert(dgi_mem_alloc(&mem, most) == NULL);
	cr_assert_eq(errno, 4711);
	cr_assert(dgi_mem_alloc_shared(&mem, most) == NULL);
	cr_assert_eq(errno, 4711);
#endif
	cr_assert_eq(mem.held, 0);
	dgi_mem_done(&mem);
}
