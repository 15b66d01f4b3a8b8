/* SPDX-License-Identifier: ISC */

/*
 * What getaddrinfo(3) says, as dgram.h says it.
 */

#include "fake_gai.h"

#include "core/addr.h"
#include "core/queue.h"
#include "resolve/gai.h"

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define POISON		12345

static struct dgram_addr *addrs;
static size_t naddrs;

/* Leaves errno alone, and nothing behind. */
static int
look_up(const char *name, int family)
{
	int r;

	free(addrs);
	addrs = NULL;
	naddrs = 0;
	errno = POISON;
	r = dgi_gai(name, family, &addrs, &naddrs);
	cr_assert_eq(errno, POISON, "errno is %d", errno);
	FAKE_CHECK(fake.lists == 0 && fake.in == 0);
	cr_assert(r == 0 ? naddrs > 0 : r < 0 && addrs == NULL);
	return r;
}

/* They are what the literals are, in this order. */
static void
check_addrs(const char *const *literals, size_t n)
{
	struct dgram_addr a;
	size_t i;

	cr_assert_eq(naddrs, n, "%zu, not %zu", naddrs, n);
	for (i = 0; i < n; i++) {
		cr_assert_eq(dgram_addr_parse(&a, literals[i], 0), 0);
		cr_assert_eq(addrs[i].len, a.len);
		cr_assert(memcmp(&addrs[i].u, &a.u, a.len) == 0, "%zu: %s", i,
		    literals[i]);
	}
}

TEST(gai, codes)
{
	static const struct {
		int eai, err, code;
	} v[] = {
		{ EAI_NONAME, EMFILE, DGRAM_ENOTFOUND },
#if DGI_HAVE_EAI_NODATA
		{ EAI_NODATA, 0, DGRAM_ENOTFOUND },
#endif
		{ EAI_AGAIN, EMFILE, DGRAM_EAI_AGAIN },
#if DGI_HAVE_EAI_ADDRFAMILY
		{ EAI_ADDRFAMILY, 0, DGRAM_EAI_ADDRFAMILY },
#endif
		{ EAI_BADFLAGS, 0, DGRAM_EAI_BADFLAGS },
		{ EAI_FAIL, 0, DGRAM_EAI_FAIL },
		{ EAI_FAMILY, 0, DGRAM_EAI_FAMILY },
		{ EAI_MEMORY, 0, DGRAM_EAI_MEMORY },
		{ EAI_OVERFLOW, 0, DGRAM_EAI_OVERFLOW },
		{ EAI_SERVICE, 0, DGRAM_EAI_SERVICE },
		{ EAI_SOCKTYPE, 0, DGRAM_EAI_SOCKTYPE },
		{ EAI_SYSTEM, EMFILE, -EMFILE },
		{ EAI_SYSTEM, ENOMEM, -ENOMEM },
		{ EAI_SYSTEM, 0, DGRAM_EAI_SYSTEM },
		{ -4321, EMFILE, DGRAM_EAI_FAIL },
		{ 4321, 0, DGRAM_EAI_FAIL },
	};
	size_t i;
	int r;

	for (i = 0; i < COUNT(v); i++) {
		fake_fail("x.test", v[i].eai, v[i].err);
		r = look_up("x.test", AF_INET);
		cr_assert_eq(r, v[i].code, "%d, errno %d: %d (%s), not %s",
		    v[i].eai, v[i].err, r, dgram_err_name(r),
		    dgram_err_name(v[i].code));
	}
}

/* The order is the system's choice (RFC 6724), nothing is left out. */
TEST(gai, order)
{
	static const char *const all[] = { "10.0.0.9", "2001:db8::2",
	    "10.0.0.1", "fe80::1", "10.0.0.9", "::ffff:10.0.0.3" };
	static const char *const v4[] = { "10.0.0.9", "10.0.0.1",
	    "10.0.0.9" };
	static const char *const v6[] = { "2001:db8::2", "fe80::1",
	    "::ffff:10.0.0.3" };
	static const int careless[] = { false, true };
	size_t i;

	fake_answer("x.test", "10.0.0.9 2001:db8::2 10.0.0.1 fe80::1 "
	    "10.0.0.9 ::ffff:10.0.0.3");
	for (i = 0; i < COUNT(careless); i++) {
		fake.careless = careless[i];
		cr_assert_eq(look_up("x.test", AF_UNSPEC), 0);
		check_addrs(all, COUNT(all));
		cr_assert_eq(look_up("x.test", AF_INET), 0);
		check_addrs(v4, COUNT(v4));
		cr_assert_eq(look_up("x.test", AF_INET6), 0);
		check_addrs(v6, COUNT(v6));
	}
	free(addrs);
}

TEST(gai, zone)
{
	fake_answer("x.test", "fe80::1%7 fe80::1");
	cr_assert_eq(look_up("x.test", AF_INET6), 0);
	cr_assert_eq(naddrs, 2);
	cr_assert_eq(addrs[0].u.in6.sin6_scope_id, 7);
	cr_assert_eq(addrs[1].u.in6.sin6_scope_id, 0);
	free(addrs);
}

/* What is of no family of ours is as if it were not there. */
TEST(gai, other_families)
{
	static const char *const one[] = { "10.0.0.1" };

	fake.careless = true;
	fake_answer("x.test", "unix 10.0.0.1 unix");
	cr_assert_eq(look_up("x.test", AF_UNSPEC), 0);
	check_addrs(one, 1);
	cr_assert_eq(look_up("x.test", AF_INET), 0);
	check_addrs(one, 1);
	cr_assert_eq(look_up("x.test", AF_INET6), DGRAM_ENOTFOUND);
	fake_answer("x.test", "unix");
	cr_assert_eq(look_up("x.test", AF_UNSPEC), DGRAM_ENOTFOUND);
}

TEST(gai, many)
{
	static char text[300 * 16];
	struct dgram_addr a;
	char host[32];
	size_t i, at = 0;

	for (i = 0; i < 300; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at,
		    "10.1.%zu.%zu ", i / 256, i % 256);
	fake_answer("x.test", text);
	cr_assert_eq(look_up("x.test", AF_INET), 0);
	cr_assert_eq(naddrs, 300);
	for (i = 0; i < 300; i++) {
		snprintf(host, sizeof(host), "10.1.%zu.%zu", i / 256, i % 256);
		cr_assert_eq(dgram_addr_parse(&a, host, 0), 0);
		cr_assert(dgram_addr_equal(&a, &addrs[i]), "%zu", i);
	}
	free(addrs);
}

/* Each address once, none left out by what addresses this host has. */
TEST(gai, hints)
{
	static const int families[] = { AF_UNSPEC, AF_INET, AF_INET6 };
	size_t i;

	for (i = 0; i < COUNT(families); i++) {
		cr_assert_eq(look_up("10-0-0-1", families[i]), 0);
		cr_assert_eq(fake.hints.ai_family, families[i]);
		cr_assert_eq(fake.hints.ai_socktype, SOCK_DGRAM);
		cr_assert_eq(fake.hints.ai_flags, 0);
		cr_assert_eq(fake.hints.ai_protocol, 0);
		cr_assert(!fake.service);
	}
	free(addrs);
}

/* Names get there as they are. */
TEST(gai, names)
{
	static const size_t sizes[] = { 1, 2, 63, 254, DGI_NAME_MOST };
	static const char *const odd[] = { "-", "_a._b", "a.", ".", "A.b",
	    "\303\251.test", "\377", "a/b", "1", "127.1", "0x7f.1", "%eth0" };
	char name[DGI_NAME_MOST + 1];
	size_t i, n = 0;

	for (i = 0; i < COUNT(sizes); i++, n += 2) {
		memset(name, 'x', sizes[i]);
		name[sizes[i]] = '\0';
		cr_assert_eq(look_up(name, AF_INET), DGRAM_ENOTFOUND);
		cr_assert_eq(fake.calls, n + 1);
		cr_assert(strcmp(fake.log[n], name) == 0, "%zu", sizes[i]);
		fake_answer(name, "10.0.0.1");
		cr_assert_eq(look_up(name, AF_INET), 0);
	}
	for (i = 0; i < COUNT(odd); i++, n++) {
		cr_assert_eq(look_up(odd[i], AF_INET), DGRAM_ENOTFOUND);
		cr_assert(strcmp(fake.log[n], odd[i]) == 0, "%s", odd[i]);
	}
	free(addrs);
}

/* What is no name is not asked for, whatever the system would say to it. */
TEST(gai, no_names)
{
	char name[] = "10-0-0-1 x";
	int c;

	cr_assert_eq(look_up("", AF_INET), DGRAM_ENOTFOUND);
	for (c = 1; c < 256; c++) {
		if (c > 0x20 && c != 0x7f)
			continue;
		name[8] = (char)c;
		cr_assert_eq(look_up(name, AF_INET), DGRAM_ENOTFOUND, "%d", c);
		cr_assert_eq(look_up(name + 8, AF_INET), DGRAM_ENOTFOUND);
		name[9] = '\0';
		cr_assert_eq(look_up(name, AF_INET), DGRAM_ENOTFOUND);
		name[9] = 'x';
	}
	cr_assert_eq(fake.calls, 0);
	name[8] = '\0';
	cr_assert_eq(look_up(name, AF_INET), 0);
	free(addrs);
}
