/* SPDX-License-Identifier: ISC */

/*
 * The arena: slots that fit, bytes that stay, pages that are not touched.
 */

#include "test.h"

#include <sys/mman.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "core/arena.h"

#define BATCH	32u

static struct test_alloc alloc;
static struct dgi_mem mem;
static struct dgi_arena arena;

static void
start(unsigned batch)
{
	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	cr_assert_eq(dgi_arena_init(&arena, &mem, batch), 0);
}

static void
end(void)
{
	dgi_arena_done(&arena, &mem);
	cr_assert_eq(mem.held, 0);
	cr_assert(test_alloc_clean(&alloc));
}

/* The first n slots are as long as they must be, and do not overlap. */
static void
check_slots(size_t datagram, bool named, unsigned n)
{
	size_t must = datagram + !DGI_HAVE_TRUE_LENGTH;
	char *base, *last = NULL;
	unsigned i;

	for (i = 0; i < n; i++) {
		const struct msghdr *m = &arena.rx[i].msg_hdr;

		cr_assert_eq(m->msg_iov, &arena.rx_iov[i]);
		cr_assert_eq(m->msg_iovlen, 1);
		base = arena.rx_iov[i].iov_base;
		cr_assert(arena.rx_iov[i].iov_len >= must, "%zu of %zu",
		    arena.rx_iov[i].iov_len, must);
		cr_assert_eq((uintptr_t)base % 64, (uintptr_t)arena.base % 64);
		cr_assert(base >= arena.base && base +
		    arena.rx_iov[i].iov_len <= arena.base + arena.size);
		if (last != NULL)
			cr_assert(base >= last);
		last = base + arena.rx_iov[i].iov_len;
		cr_assert_eq(arena.messages[i].data, base);
		if (named) {
			cr_assert_eq(m->msg_name, &arena.rx_addr[i].u);
			cr_assert_eq(m->msg_namelen,
			    sizeof(arena.rx_addr[i].u));
			cr_assert_eq(arena.messages[i].remote,
			    &arena.rx_addr[i]);
		} else {
			cr_assert(m->msg_name == NULL);
			cr_assert_eq(m->msg_namelen, 0);
			cr_assert(arena.messages[i].remote == NULL);
		}
	}
}

/* Writes each slot in full: under a sanitizer it shows what is too short. */
static void
fill_slots(size_t datagram, unsigned n)
{
	const unsigned char *p;
	unsigned i;

	for (i = 0; i < n; i++)
		memset(arena.rx_iov[i].iov_base, (int)i + 1, datagram);
	for (i = 0; i < n; i++) {
		p = arena.rx_iov[i].iov_base;
		cr_assert_eq(p[0], i + 1);
		cr_assert_eq(p[datagram - 1], i + 1);
	}
}

TEST(arena, init)
{
	unsigned i;

	start(BATCH);
	cr_assert_eq(arena.size, 0, "nothing is reserved before it is used");
	for (i = 0; i < BATCH; i++) {
		cr_assert(arena.tx[i].msg_hdr.msg_control == NULL);
		cr_assert_eq(arena.tx[i].msg_hdr.msg_controllen, 0);
		cr_assert_eq(arena.rx[i].msg_hdr.msg_controllen, 0);
	}
	end();
}

TEST(arena, init_without_memory)
{
	unsigned long fail_at;

	for (fail_at = 1; fail_at <= 20; fail_at++) {
		test_alloc_init(&alloc);
		alloc.fail_at = fail_at;
		dgi_mem_init(&mem, &alloc.allocator);
		if (dgi_arena_init(&arena, &mem, BATCH) == 0)
			break;
		cr_assert_eq(mem.held, 0);
		cr_assert(test_alloc_clean(&alloc));
	}
	cr_assert(fail_at > 1 && fail_at < 20);
	end();
}

TEST(arena, slots_fit)
{
	static const size_t sizes[] = { 1, 63, 64, 65, 100, 512, 1472, 1500,
	    8192, 65507, 65535, 65536 };
	unsigned n;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		start(BATCH);
		cr_assert_eq(dgi_arena_reserve(&arena, &mem, sizes[i]), 0);
		cr_assert(arena.size >= sizes[i] * BATCH);
		for (n = 1; n <= BATCH; n++) {
			cr_assert_eq(dgi_arena_prepare(&arena, sizes[i], true,
			    n), n);
			check_slots(sizes[i], true, n);
		}
		fill_slots(sizes[i], BATCH);
		end();
	}
}

/*
 * Sockets with other sizes and wishes take turns, some sizes so near that the
 * slots lie in the same places: each finds headers of its own.
 */
TEST(arena, taking_turns)
{
	static const size_t sizes[] = { 100, 65, 128, 66, 1500, 1, 127, 65535,
	    64, 63, 2048 };
	unsigned n, round;
	size_t i;
	bool named;

	start(BATCH);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 65535), 0);
	for (round = 0; round < 200; round++) {
		i = round * 7 % (sizeof(sizes) / sizeof(sizes[0]));
		named = round % 3 != 0;
		n = round * 5 % BATCH + 1;
		cr_assert_eq(dgi_arena_prepare(&arena, sizes[i], named, n),
		    n);
		check_slots(sizes[i], named, n);
		/* Nothing that a cut would pass unseen. */
		cr_assert(arena.rx_iov[n - 1].iov_len <= sizes[i] + 64);
	}
	end();
}

/* A second look at the same needs no work: the kernel's results stay. */
TEST(arena, prepared_once)
{
	start(BATCH);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 1500), 0);
	cr_assert_eq(dgi_arena_prepare(&arena, 1500, true, 8), 8);
	arena.rx[3].msg_hdr.msg_namelen = 1;
	cr_assert_eq(dgi_arena_prepare(&arena, 1500, true, 8), 8);
	cr_assert_eq(arena.rx[3].msg_hdr.msg_namelen, 1);
	/* More of them: only the new ones. */
	cr_assert_eq(dgi_arena_prepare(&arena, 1500, true, 20), 20);
	cr_assert_eq(arena.rx[3].msg_hdr.msg_namelen, 1);
	arena.rx[3].msg_hdr.msg_namelen = sizeof(arena.rx_addr[3].u);
	check_slots(1500, true, 20);
	end();
}

/* A datagram much larger than the others: fewer slots, never none. */
TEST(arena, fewer_slots)
{
	unsigned n;

	start(BATCH);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 1500), 0);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 4000), 0);
	n = dgi_arena_prepare(&arena, 4000, true, BATCH);
	cr_assert(n >= 1 && n <= BATCH);
	check_slots(4000, true, n);
	fill_slots(4000, n);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 65535), 0);
	n = dgi_arena_prepare(&arena, 65535, true, BATCH);
	cr_assert(n >= 8);
	check_slots(65535, true, n);
	fill_slots(65535, n);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, (size_t)16 << 20), 0);
	n = dgi_arena_prepare(&arena, (size_t)16 << 20, true, BATCH);
	cr_assert(n >= 1);
	check_slots((size_t)16 << 20, true, n);
	/* Small ones again, with all there are. */
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 10), 0);
	cr_assert_eq(dgi_arena_prepare(&arena, 10, true, BATCH), BATCH);
	check_slots(10, true, BATCH);
	end();
}

/*
 * The largest datagram in the largest batch: not 16 GiB (0 bytes, where size_t
 * has 32 bits), but the 1 GiB that a loop may ask for, with fewer slots.
 */
TEST(arena, size_is_bounded)
{
	size_t datagram = (size_t)16 << 20;
	unsigned n;

	dgi_mem_init(&mem, NULL);
	cr_assert_eq(dgi_arena_init(&arena, &mem, 1024), 0);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, datagram), 0);
	cr_assert(arena.size >= datagram && arena.size <= (size_t)1 << 30,
	    "%zu", arena.size);
	n = dgi_arena_prepare(&arena, datagram, true, 1024);
	cr_assert(n >= 1);
	check_slots(datagram, true, n);
	dgi_arena_done(&arena, &mem);
	dgi_mem_done(&mem);
	cr_assert_eq(mem.held, 0);
}

TEST(arena, batch_of_one)
{
	start(1);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 1000), 0);
	cr_assert_eq(dgi_arena_prepare(&arena, 1000, true, 1), 1);
	check_slots(1000, true, 1);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 9000), 0);
	cr_assert_eq(dgi_arena_prepare(&arena, 9000, true, 1), 1);
	check_slots(9000, true, 1);
	fill_slots(9000, 1);
	end();
}

/* What is there and large enough is not replaced. */
TEST(arena, reserve_is_stable)
{
	unsigned long calls;

	start(BATCH);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 65535), 0);
	calls = alloc.calls;
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 65535), 0);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 1), 0);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 2000), 0);
	cr_assert_eq(alloc.calls, calls);
	end();
}

TEST(arena, reserve_without_memory)
{
	char *base;
	size_t size;

	start(BATCH);
	test_alloc_fail(&alloc, true);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 1500), -ENOMEM);
	cr_assert_eq(arena.size, 0);
	test_alloc_fail(&alloc, false);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 1500), 0);
	cr_assert_eq(dgi_arena_prepare(&arena, 1500, true, BATCH), BATCH);
	base = arena.base;
	size = arena.size;
	/* The smaller one serves on. */
	test_alloc_fail(&alloc, true);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 65535), -ENOMEM);
	cr_assert(arena.base == base && arena.size == size);
	cr_assert_eq(dgi_arena_prepare(&arena, 1500, true, BATCH), BATCH);
	check_slots(1500, true, BATCH);
	fill_slots(1500, BATCH);
	end();
}

/* Bytes of a delivery, to the last one, and nothing else. */
TEST(arena, holds)
{
	static char elsewhere[100];
	char *p;

	start(BATCH);
	cr_assert(!dgi_arena_holds(&arena, elsewhere, 1), "there is none");
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 1500), 0);
	cr_assert_eq(dgi_arena_prepare(&arena, 1500, true, BATCH), BATCH);
	p = arena.rx_iov[0].iov_base;
	cr_assert(!dgi_arena_holds(&arena, p, 10), "nothing is delivered");
	arena.used = 2;
	cr_assert(dgi_arena_holds(&arena, p, 0));
	cr_assert(dgi_arena_holds(&arena, p, 1500));
	cr_assert(dgi_arena_holds(&arena, p + 1499, 1));
	p = arena.rx_iov[1].iov_base;
	cr_assert(dgi_arena_holds(&arena, p, 1500));
	cr_assert(!dgi_arena_holds(&arena, elsewhere, 10));
	cr_assert(!dgi_arena_holds(&arena, &arena, sizeof(arena)));
	/* Beyond the end, and around it. */
	cr_assert(!dgi_arena_holds(&arena, arena.base + arena.size - 1, 2));
	cr_assert(!dgi_arena_holds(&arena, arena.base, arena.size + 1));
	cr_assert(!dgi_arena_holds(&arena, arena.base + 1, SIZE_MAX));
	cr_assert(!dgi_arena_holds(&arena, NULL, 0));
	dgi_arena_release(&arena, &mem);
	cr_assert(!dgi_arena_holds(&arena, p, 10), "it is over");
	end();
}

/*
 * A callback opens a socket for larger datagrams: what it was given stays until
 * it returns, through a second growth as well; then the old one goes.
 */
TEST(arena, growth_in_a_delivery)
{
	const unsigned char *data;
	size_t held, i;

	start(BATCH);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 500), 0);
	cr_assert_eq(dgi_arena_prepare(&arena, 500, true, 4), 4);
	data = arena.rx_iov[3].iov_base;
	memset(arena.rx_iov[3].iov_base, 0x3c, 500);
	arena.used = 4;
	cr_assert(dgi_arena_holds(&arena, data, 500));
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 9000), 0);
	/* They are not where the next datagrams come; a copy must be made. */
	cr_assert(!dgi_arena_holds(&arena, data, 500));
	cr_assert(!dgi_arena_holds(&arena, arena.base, 500));
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 500000), 0);
	cr_assert_eq(dgi_arena_prepare(&arena, 500000, true, 2), 2);
	fill_slots(500000, 2);
	for (i = 0; i < 500; i++)
		cr_assert_eq(data[i], 0x3c);
	held = mem.held;
	dgi_arena_release(&arena, &mem);
	cr_assert(mem.held < held, "the old one was released");
	cr_assert_eq(dgi_arena_prepare(&arena, 9000, true, BATCH), BATCH);
	check_slots(9000, true, BATCH);
	/* Once more, and freed in the middle of it. */
	arena.used = 1;
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 5000000), 0);
	end();
}

/* Without a delivery the old one goes at once. */
TEST(arena, growth_outside)
{
	start(BATCH);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 500), 0);
	cr_assert_eq(dgi_arena_prepare(&arena, 500, true, BATCH), BATCH);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 65535), 0);
	cr_assert(arena.retired == NULL);
	/* The headers pointed into it. */
	cr_assert_eq(dgi_arena_prepare(&arena, 500, true, BATCH), BATCH);
	check_slots(500, true, BATCH);
	fill_slots(500, BATCH);
	end();
}

#if DGI_OS_LINUX
/* Reserved and prepared, it costs no page; a datagram costs those it fills. */
TEST(arena, pages_are_not_touched)
{
	static unsigned char pages[4096];
	size_t count, i, n, page = (size_t)sysconf(_SC_PAGESIZE);

	dgi_mem_init(&mem, NULL);
	cr_assert_eq(dgi_arena_init(&arena, &mem, BATCH), 0);
	cr_assert_eq(dgi_arena_reserve(&arena, &mem, 65535), 0);
	cr_assert_eq(dgi_arena_prepare(&arena, 65535, true, BATCH), BATCH);
	n = arena.size / page;
	cr_assert(n > 0 && n <= sizeof(pages));
	for (;;) {
		cr_assert_eq(mincore(arena.base, arena.size, pages), 0);
		for (i = count = 0; i < n; i++)
			count += pages[i] & 1;
		if (arena.used > 0)
			break;
		cr_assert_eq(count, 0);
		*(char *)arena.rx_iov[0].iov_base = 1;
		arena.used = 1;
	}
	cr_assert_eq(count, 1);
	dgi_arena_release(&arena, &mem);
	dgi_arena_done(&arena, &mem);
	dgi_mem_done(&mem);
	cr_assert_eq(mem.held, 0);
}
#endif
