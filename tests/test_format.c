/* SPDX-License-Identifier: ISC */

/*
 * Addresses and failures as text.
 */

#include "test.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/addr.h"

#define POISON	4711

typedef int format_fn(const void *what, char *buf, size_t size);

static int
as_host(const void *what, char *buf, size_t size)
{
	return dgram_addr_host(what, buf, size);
}

static int
as_address(const void *what, char *buf, size_t size)
{
	return dgram_addr_format(what, buf, size);
}

static int
as_error(const void *what, char *buf, size_t size)
{
	return dgram_error_format(what, buf, size);
}

/*
 * The text for every size of buffer: it fits from its length plus one on, and
 * up to there it is -ENOSPC and "".  Not a byte is written behind the buffer.
 */
static void
check(format_fn *fn, const void *what, const char *text)
{
	size_t len = strlen(text), size;
	char *buf;
	int r;

	for (size = 0; size <= len + 3; size++) {
		buf = malloc(size + 1);
		cr_assert(buf != NULL);
		memset(buf, '#', size + 1);
		errno = POISON;
		r = fn(what, buf, size);
		cr_assert_eq(errno, POISON);
		cr_assert_eq(buf[size], '#', "'%s': behind %zu", text, size);
		if (size > len) {
			cr_assert(r == (int)len && strcmp(buf, text) == 0,
			    "'%s', not '%s'", buf, text);
		} else {
			cr_assert_eq(r, -ENOSPC, "'%s' in %zu: %d", text, size,
			    r);
			cr_assert(size == 0 || buf[0] == '\0');
		}
		free(buf);
	}
}

static void
check_both(const struct dgram_addr *a, const char *host, const char *address)
{
	check(as_host, a, host);
	check(as_address, a, address);
}

static struct dgram_addr
parsed(const char *literal, int port)
{
	struct dgram_addr a;

	cr_assert_eq(dgram_addr_parse(&a, literal, port), 0);
	return a;
}

TEST(format, ipv4)
{
	struct dgram_addr a;

	a = parsed("127.0.0.1", 80);
	check_both(&a, "127.0.0.1", "127.0.0.1:80");
	a = parsed("255.255.255.255", 65535);
	check_both(&a, "255.255.255.255", "255.255.255.255:65535");
	a = parsed("0.0.0.0", 0);
	check_both(&a, "0.0.0.0", "0.0.0.0:0");
}

TEST(format, ipv6)
{
	struct dgram_addr a;

	a = parsed("2001:db8::1", 8080);
	check_both(&a, "2001:db8::1", "[2001:db8::1]:8080");
	a = parsed("::", 0);
	check_both(&a, "::", "[::]:0");
	a = parsed("::ffff:1.2.3.4", 7);
	check_both(&a, "::ffff:1.2.3.4", "[::ffff:1.2.3.4]:7");
	a = parsed("1111:2222:3333:4444:5555:6666:7777:8888", 65535);
	check_both(&a, "1111:2222:3333:4444:5555:6666:7777:8888",
	    "[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
}

/*
 * All places of zero groups, as inet_ntop(3) has them.  It may write the old
 * "compatible" addresses, 96 bits of zero, as IPv4; RFC 5952 does not.
 */
TEST(format, ipv6_as_inet_ntop)
{
	static const unsigned values[] = { 1, 0xf, 0x10, 0xff, 0x100, 0xfff,
	    0x1000, 0xffff, 0xa0b, 0xc00d };
	struct dgram_addr a = parsed("::", 80), b;
	char host[100], text[INET6_ADDRSTRLEN];
	unsigned group, i, mask, round, v;
	unsigned char *bytes = a.u.in6.sin6_addr.s6_addr;

	b = parsed("0:0:1:0:0:1:1:1", 80);
	cr_assert(inet_ntop(AF_INET6, &b.u.in6.sin6_addr, text, sizeof(text)) !=
	    NULL);
	if (strcmp(text, "0:0:1::1:1:1") == 0)
		cr_skip_test("inet_ntop(3) shortens the second of equal runs");
	for (round = 0; round < 10; round++) {
		for (mask = 0; mask < 256; mask++) {
			for (i = group = 0; i < 8; i++) {
				v = (mask >> i & 1) == 0 ? 0 :
				    values[(i * 7 + round) % 10];
				bytes[2 * i] = (unsigned char)(v >> 8);
				bytes[2 * i + 1] = (unsigned char)v;
				if (i < 6)
					group |= v;
			}
			cr_assert(dgram_addr_host(&a, host, sizeof(host)) > 0);
			cr_assert_eq(dgram_addr_parse(&b, host, 80), 0);
			cr_assert(dgram_addr_equal(&a, &b), "'%s'", host);
			if (group == 0)
				continue;
			cr_assert(inet_ntop(AF_INET6, bytes, text,
			    sizeof(text)) != NULL);
			cr_assert(strcmp(host, text) == 0, "'%s', not '%s'",
			    host, text);
		}
	}
	for (i = 0; i < 256; i++) {
		a = parsed("1.2.3.4", 80);
		((unsigned char *)&a.u.in.sin_addr)[i % 4] = (unsigned char)i;
		cr_assert(dgram_addr_host(&a, host, sizeof(host)) > 0);
		cr_assert(inet_ntop(AF_INET, &a.u.in.sin_addr, text,
		    sizeof(text)) != NULL);
		cr_assert_eq(strcmp(host, text), 0);
	}
}

/* Of what lies within a link or node only; by number where the interface is gone. */
TEST(format, zones)
{
	static const char *const shown[] = { "fe80::1", "febf::1", "ff02::1",
	    "ff12::1", "ff01::1" };
	static const char *const hidden[] = { "::1", "2001:db8::1", "fec0::1",
	    "ff05::1", "ff0e::1", "::ffff:1.2.3.4" };
	struct if_nameindex *all = if_nameindex();
	struct dgram_addr a;
	char host[100], address[110];
	size_t i;

	cr_assert(all != NULL && all[0].if_index != 0);
	for (i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		a = parsed(shown[i], 80);
		check_both(&a, shown[i], (snprintf(address, sizeof(address),
		    "[%s]:80", shown[i]), address));
		a.u.in6.sin6_scope_id = all[0].if_index;
		snprintf(host, sizeof(host), "%s%%%s", shown[i],
		    all[0].if_name);
		snprintf(address, sizeof(address), "[%s]:80", host);
		check_both(&a, host, address);
		a.u.in6.sin6_scope_id = 4294967295;
		snprintf(host, sizeof(host), "%s%%4294967295", shown[i]);
		snprintf(address, sizeof(address), "[%s]:80", host);
		check_both(&a, host, address);
	}
	for (i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		a = parsed(hidden[i], 80);
		a.u.in6.sin6_scope_id = all[0].if_index;
		check(as_host, &a, hidden[i]);
	}
	if_freenameindex(all);
}

TEST(format, paths)
{
	struct dgram_addr a;
	char path[sizeof(a.u.un.sun_path) + 1];

	cr_assert_eq(dgram_addr_unix(&a, "/run/x"), 0);
	check_both(&a, "/run/x", "/run/x");
	cr_assert_eq(dgram_addr_unix(&a, "a b\\c\n"), 0);
	check_both(&a, "a b\\c\n", "a b\\c\n");
	/* One without NUL in the struct. */
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	cr_assert_eq(dgram_addr_unix(&a, path), 0);
	check_both(&a, path, path);
	/* The length that Linux tells for it. */
	a.len = sizeof(a.u.un) + 1;
	check_both(&a, path, path);
}

#if DGI_HAVE_ABSTRACT
TEST(format, abstract)
{
	struct dgram_addr a;
	char all[256], text[600], *p;
	unsigned c;

	cr_assert_eq(dgram_addr_abstract(&a, "name", 4), 0);
	check_both(&a, "@name", "@name");
	cr_assert_eq(dgram_addr_abstract(&a, "", 0), 0);
	check_both(&a, "@", "@");
	cr_assert_eq(dgram_addr_abstract(&a, "\0a\\\x7f\xff ~\n", 8), 0);
	check_both(&a, "@\\x00a\\x5c\\x7f\\xff ~\\x0a",
	    "@\\x00a\\x5c\\x7f\\xff ~\\x0a");
	/* Every byte there is, in pieces of 64. */
	for (c = 0; c < 256; c++)
		all[c] = (char)c;
	for (c = 0; c < 256; c += 64) {
		unsigned i;

		cr_assert_eq(dgram_addr_abstract(&a, all + c, 64), 0);
		p = text;
		*p++ = '@';
		for (i = c; i < c + 64; i++) {
			if (i >= ' ' && i <= '~' && i != '\\')
				*p++ = (char)i;
			else
				p += sprintf(p, "\\x%02x", i);
		}
		*p = '\0';
		check_both(&a, text, text);
	}
}
#endif

TEST(format, none)
{
	struct dgram_addr a;

	memset(&a, 0xa5, sizeof(a));
	a.len = 0;
	check_both(&a, "", "");
	/* A family that is not ours. */
	a.u.sa.sa_family = 250;
	a.len = 20;
	check_both(&a, "", "");
}

TEST(format, bad_arguments)
{
	struct dgram_addr a = parsed("127.0.0.1", 80);
	struct dgram_error e = { .status = -EINVAL };
	char buf[10] = "#";

	cr_assert_eq(dgram_addr_host(NULL, buf, sizeof(buf)), -EINVAL);
	cr_assert_eq(dgram_addr_host(&a, NULL, 10), -EINVAL);
	cr_assert_eq(dgram_addr_format(NULL, buf, sizeof(buf)), -EINVAL);
	cr_assert_eq(dgram_addr_format(&a, NULL, 10), -EINVAL);
	cr_assert_eq(dgram_error_format(NULL, buf, sizeof(buf)), -EINVAL);
	cr_assert_eq(dgram_error_format(&e, NULL, 10), -EINVAL);
	cr_assert_eq(buf[0], '#');
}

/* Letter by letter what Node says. */
TEST(format, errors_as_node)
{
	struct dgram_addr a;
	struct dgram_error e = { 0 };

	a = parsed("0.0.0.0", 80);
	e.status = -EADDRINUSE;
	e.kind = DGRAM_IN_BIND;
	e.syscall = "bind";
	e.addr = &a;
	check(as_error, &e, "bind EADDRINUSE 0.0.0.0:80");
	/* No port when it is 0. */
	a = parsed("0.0.0.0", 0);
	check(as_error, &e, "bind EADDRINUSE 0.0.0.0");
	e.status = -EMSGSIZE;
	e.kind = DGRAM_IN_SEND;
	e.syscall = "send";
	a = parsed("127.0.0.1", 12345);
	check(as_error, &e, "send EMSGSIZE 127.0.0.1:12345");
	/* No brackets. */
	a = parsed("::1", 12345);
	check(as_error, &e, "send EMSGSIZE ::1:12345");
	a = parsed("::", 0);
	e.status = -EINVAL;
	check(as_error, &e, "send EINVAL ::");
	e.status = -ECONNREFUSED;
	e.syscall = "connect";
	e.addr = NULL;
	check(as_error, &e, "connect ECONNREFUSED");
	a.len = 0;
	e.addr = &a;
	check(as_error, &e, "connect ECONNREFUSED");
}

TEST(format, errors)
{
	struct dgram_addr a;
	struct dgram_error e = { 0 };

	cr_assert_eq(dgram_addr_unix(&a, "/run/x"), 0);
	e.status = -ENOENT;
	e.syscall = "send";
	e.addr = &a;
	check(as_error, &e, "send ENOENT /run/x");
	/* The name that was looked up comes before the address. */
	e.status = DGRAM_ENOTFOUND;
	e.syscall = "getaddrinfo";
	e.host = "nowhere.invalid";
	check(as_error, &e, "getaddrinfo ENOTFOUND nowhere.invalid");
	e.addr = NULL;
	check(as_error, &e, "getaddrinfo ENOTFOUND nowhere.invalid");
	e.host = NULL;
	e.syscall = NULL;
	e.status = DGRAM_ERR_SOCKET_BAD_PORT;
	check(as_error, &e, "ERR_SOCKET_BAD_PORT");
	e.status = -4000;
	check(as_error, &e, "UNKNOWN");
}
