/* SPDX-License-Identifier: ISC */

/*
 * Who waits, by name and by number.
 */

#include "test.h"

#include <sys/socket.h>

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "resolve/table.h"

#define MANY	1000u

static struct test_alloc alloc;
static struct dgi_mem mem;

/* ---- numbers ---- */

static struct dgi_ids ids;

static void
begin_ids(void)
{
	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	memset(&ids, 0, sizeof(ids));
}

static void
end_ids(void)
{
	dgi_ids_done(&ids, &mem);
	dgi_mem_done(&mem);
	cr_assert(test_alloc_clean(&alloc));
}

TEST(table, ids_find_what_they_were_taken_for)
{
	static uint64_t id[MANY];
	static int what[MANY];
	unsigned i, k;

	begin_ids();
	for (i = 0; i < MANY; i++) {
		id[i] = dgi_ids_take(&ids, &mem, &what[i]);
		cr_assert(id[i] != 0);
		for (k = i % 97; k < i; k += 97)
			cr_assert(id[k] != id[i]);
	}
	cr_assert_eq(ids.used, MANY);
	for (i = 0; i < MANY; i++)
		cr_assert(dgi_ids_find(&ids, id[i]) == &what[i]);
	for (i = 0; i < MANY; i += 2)
		dgi_ids_put(&ids, id[i]);
	cr_assert_eq(ids.used, MANY / 2);
	for (i = 0; i < MANY; i++)
		cr_assert(dgi_ids_find(&ids, id[i]) ==
		    (i % 2 == 0 ? NULL : &what[i]));
	end_ids();
}

TEST(table, id_given_back_is_not_found_when_its_place_is_taken)
{
	uint64_t first, id;
	int what, i;

	begin_ids();
	first = id = dgi_ids_take(&ids, &mem, &what);
	for (i = 0; i < 100; i++) {
		dgi_ids_put(&ids, id);
		cr_assert(dgi_ids_find(&ids, id) == NULL);
		id = dgi_ids_take(&ids, &mem, &what);
		cr_assert(id != first);
		cr_assert(dgi_ids_find(&ids, first) == NULL);
		cr_assert(dgi_ids_find(&ids, id) == &what);
	}
	end_ids();
}

TEST(table, numbers_that_are_no_ids)
{
	int what;
	uint64_t id;

	begin_ids();
	cr_assert(dgi_ids_find(&ids, 0) == NULL);
	cr_assert(dgi_ids_find(&ids, 1) == NULL);
	id = dgi_ids_take(&ids, &mem, &what);
	cr_assert(dgi_ids_find(&ids, 0) == NULL);
	cr_assert(dgi_ids_find(&ids, id + 1) == NULL);
	cr_assert(dgi_ids_find(&ids, UINT32_MAX) == NULL);
	cr_assert(dgi_ids_find(&ids, UINT64_MAX) == NULL);
	cr_assert(dgi_ids_find(&ids, id | (uint64_t)1 << 32) == NULL);
	dgi_ids_put(&ids, 0);
	cr_assert_eq(ids.used, 1);
	end_ids();
}

TEST(table, ids_without_memory)
{
	static int what[MANY];
	static uint64_t id[MANY];
	unsigned i, n = 0;

	begin_ids();
	test_alloc_fail(&alloc, true);
	cr_assert_eq(dgi_ids_take(&ids, &mem, what), 0);
	cr_assert_eq(ids.used, 0);
	test_alloc_fail(&alloc, false);
	id[n] = dgi_ids_take(&ids, &mem, &what[n]);
	cr_assert(id[n++] != 0);
	/* To the end of the room that there is, and not beyond. */
	test_alloc_fail(&alloc, true);
	while ((id[n] = dgi_ids_take(&ids, &mem, &what[n])) != 0)
		cr_assert(++n < MANY);
	for (i = 0; i < n; i++)
		cr_assert(dgi_ids_find(&ids, id[i]) == &what[i]);
	test_alloc_fail(&alloc, false);
	cr_assert(dgi_ids_take(&ids, &mem, &what[n]) != 0);
	cr_assert_eq(ids.used, n + 1);
	end_ids();
}

/* ---- names ---- */

static struct dgi_names names;

static struct dgi_named
named(const void *of, const char *name, int family)
{
	return (struct dgi_named){ .of = of, .name = name, .family = family };
}

TEST(table, names_are_told_apart)
{
	int a = 0, b = 0;
	struct dgi_named n[] = {
		named(NULL, "host", AF_INET), named(NULL, "host", AF_INET6),
		named(NULL, "hosT", AF_INET), named(NULL, "hos", AF_INET),
		named(NULL, "host.", AF_INET), named(NULL, "", AF_INET),
		named(&a, "host", AF_INET), named(&b, "host", AF_INET),
	};
	size_t i, count = sizeof(n) / sizeof(n[0]);
	char name[8];

	dgi_names_init(&names);
	cr_assert(dgi_names_find(&names, NULL, "host", AF_INET) == NULL);
	for (i = 0; i < count; i++)
		dgi_names_add(&names, &n[i]);
	for (i = 0; i < count; i++) {
		/* By what it says, not by where it lies. */
		snprintf(name, sizeof(name), "%s", n[i].name);
		cr_assert(dgi_names_find(&names, n[i].of, name,
		    n[i].family) == &n[i]);
	}
	cr_assert(dgi_names_find(&names, &a, "host", AF_INET6) == NULL);
	for (i = 0; i < count; i++) {
		dgi_names_remove(&n[i]);
		cr_assert(dgi_names_find(&names, n[i].of, n[i].name,
		    n[i].family) == NULL);
	}
}

/* More than there are buckets. */
TEST(table, many_names)
{
	static struct dgi_named n[MANY];
	static char text[MANY][16];
	unsigned i, step;

	dgi_names_init(&names);
	for (i = 0; i < MANY; i++) {
		snprintf(text[i], sizeof(text[i]), "n%u.example", i);
		n[i] = named(NULL, text[i], AF_INET);
		dgi_names_add(&names, &n[i]);
	}
	for (step = 2; step > 0; step--) {
		for (i = 0; i < MANY; i += step)
			cr_assert(dgi_names_find(&names, NULL, text[i],
			    AF_INET) == (step == 2 || i % 2 == 0 ? &n[i] :
			    NULL));
		for (i = 1; i < MANY && step == 2; i += 2)
			dgi_names_remove(&n[i]);
	}
}
