/* SPDX-License-Identifier: ISC */

/*
 * Addresses: what is a literal and what is not, paths of every length, and the
 * way through the kernel and back.
 */

#include "test.h"

#include <sys/un.h>

#include <arpa/inet.h>
#include <net/if.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/addr.h"

#define POISON		4711
#define PATH_OFFSET	offsetof(struct sockaddr_un, sun_path)
#define PATH_ROOM	sizeof(((struct sockaddr_un *)0)->sun_path)

/* Any interface of this system. */
static unsigned
interface(char name[IF_NAMESIZE])
{
	struct if_nameindex *all = if_nameindex();
	unsigned index;

	cr_assert(all != NULL && all[0].if_index != 0, "no interface");
	index = all[0].if_index;
	snprintf(name, IF_NAMESIZE, "%s", all[0].if_name);
	if_freenameindex(all);
	return index;
}

/* Must be refused with `error`, and nothing written. */
static void
refused(const char *literal, int port, int error)
{
	struct dgram_addr a, old;
	int r;

	memset(&a, 0xa5, sizeof(a));
	old = a;
	errno = POISON;
	r = dgram_addr_parse(&a, literal, port);
	cr_assert(r == error, "'%s' port %d: %d, not %d",
	    literal != NULL ? literal : "(null)", port, r, error);
	cr_assert(memcmp(&a, &old, sizeof(a)) == 0, "'%s' wrote something",
	    literal != NULL ? literal : "(null)");
	cr_assert_eq(errno, POISON);
}

/* Must be taken, and come out as `host`. */
static void
accepted(const char *literal, const char *host, const char *family)
{
	struct dgram_addr a;
	char buf[512];
	int r;

	memset(&a, 0xa5, sizeof(a));
	errno = POISON;
	r = dgram_addr_parse(&a, literal, 54321);
	cr_assert(r == 0, "'%s': %d", literal, r);
	cr_assert_eq(errno, POISON);
	cr_assert_eq(dgram_addr_port(&a), 54321);
	cr_assert_eq(strcmp(dgram_addr_family(&a), family), 0);
	r = dgram_addr_host(&a, buf, sizeof(buf));
	cr_assert(r == (int)strlen(host) && strcmp(buf, host) == 0,
	    "'%s' is '%s', not '%s'", literal, buf, host);
	if (a.u.sa.sa_family == AF_INET)
		cr_assert_eq(a.len, sizeof(struct sockaddr_in));
	else
		cr_assert_eq(a.len, sizeof(struct sockaddr_in6));
	cr_assert_eq(dgi_addr_check(&a, a.u.sa.sa_family), (int)a.len);
}

TEST(addr, ipv4)
{
	struct dgram_addr a;
	const unsigned char *b;

	accepted("127.0.0.1", "127.0.0.1", "IPv4");
	accepted("0.0.0.0", "0.0.0.0", "IPv4");
	accepted("255.255.255.255", "255.255.255.255", "IPv4");
	accepted("239.1.2.3", "239.1.2.3", "IPv4");
	cr_assert_eq(dgram_addr_parse(&a, "1.2.3.4", 0x1234), 0);
	/* Network order, and nothing behind the address. */
	b = (const unsigned char *)a.u.raw;
	cr_assert(a.u.sa.sa_family == AF_INET);
	cr_assert(b[2] == 0x12 && b[3] == 0x34);
	cr_assert(b[4] == 1 && b[5] == 2 && b[6] == 3 && b[7] == 4);
	cr_assert(b[8] == 0 && b[15] == 0);
}

TEST(addr, ipv6)
{
	struct dgram_addr a;

	accepted("::", "::", "IPv6");
	accepted("::1", "::1", "IPv6");
	accepted("2001:db8::1", "2001:db8::1", "IPv6");
	accepted("2001:DB8:0:0:0:0:0:1", "2001:db8::1", "IPv6");
	accepted("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", "IPv6");
	accepted("::ffff:1.2.3.4", "::ffff:1.2.3.4", "IPv6");
	accepted("ff02::1", "ff02::1", "IPv6");
	accepted("fe80::1", "fe80::1", "IPv6");
	accepted("64:ff9b::192.0.2.33", "64:ff9b::c000:221", "IPv6");
	/* The longest there is, 45 characters. */
	accepted("0000:0000:0000:0000:0000:ffff:255.255.255.255",
	    "::ffff:255.255.255.255", "IPv6");
	cr_assert_eq(dgram_addr_parse(&a, "::1", 80), 0);
	cr_assert_eq(a.u.in6.sin6_scope_id, 0);
	cr_assert_eq(a.u.in6.sin6_flowinfo, 0);
}

TEST(addr, not_a_literal)
{
	static const char *const bad[] = {
		"", " ", ".", ":", "%", "localhost", "example.com",
		/* IPv4: exactly four decimal parts. */
		"127.1", "127.0.1", "1", "2130706433", "1.2.3.4.5", "1.2.3.",
		".1.2.3", "1..2.3", "1.2.3.256", "1.2.3.1000", "1.2.3.-1",
		"1.2.3.+1", "0x7f.0.0.1", "0x7f.1", "0x7f000001", "0177.0.0.1",
		"127.0.0.01", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4\n",
		"\t1.2.3.4", "1.2.3.4:80", "1.2.3.4/8", "1.2.3.4%lo",
		"1.2.3.4%1", "1.2.3.4x", "1,2,3,4",
		/* IPv6. */
		":::", "::1::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:",
		":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
		"12345::", "g::", "::g", "[::1]", "[::1]:80", "::1 ", " ::1",
		"::1\n", "::1/64", "::1.2.3", "::1.2.3.4.5", "::1.2.3.256",
		"::ffff:127.1", "::ffff:0x7f.0.0.1", "1:2:3:4:5:6:7:1.2.3.4",
		"1::2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5:6::7:1.2.3.4",
		"1:2:3:4::5:6:1.2.3.4", "1.2.3.4::", "::1.2.3.4:5",
		"fe80::1%", "::1%", "fe80::%", "%lo", "%1", "fe80%lo",
		" fe80::1%lo", "fe80::1 %lo",
		/* One more than the longest. */
		"0000:0000:0000:0000:0000:0ffff:255.255.255.255",
		"00000:0000:0000:0000:0000:ffff:255.255.255.255",
		"unix", "/run/x", "@name",
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(bad[i], 80, -EINVAL);
	refused(NULL, 80, -EINVAL);
	cr_assert_eq(dgram_addr_parse(NULL, "127.0.0.1", 80), -EINVAL);
}

/* Around the sizes of buffers: neither overrun nor cut to a literal. */
TEST(addr, long_literals)
{
	static const size_t lengths[] = { 15, 16, 17, 45, 46, 47, 63, 64, 255,
	    256, 257, 300, 1024, 65536 };
	static const char *const heads[] = { "", "1.2.3.4", "::1", "1:", "::",
	    "fe80::1" };
	static const char fill[] = "a0. :";
	char *text;
	size_t i, j, k, n;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		n = lengths[i];
		text = malloc(n + 1);
		cr_assert(text != NULL);
		for (j = 0; j < sizeof(heads) / sizeof(heads[0]); j++) {
			for (k = 0; k < sizeof(fill) - 1; k++) {
				memset(text, fill[k], n);
				memcpy(text, heads[j], strlen(heads[j]));
				text[n] = '\0';
				refused(text, 80, -EINVAL);
			}
		}
		/* In the zone, where names are shorter than any of these. */
		memset(text, 'a', n);
		memcpy(text, "fe80::1%", 8);
		text[n] = '\0';
		refused(text, 80, -ENODEV);
		free(text);
	}
}

TEST(addr, ports)
{
	static const int bad[] = { -1, 65536, INT_MIN, INT_MAX, 65536 + 80 };
	struct dgram_addr a;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		refused("127.0.0.1", bad[i], DGRAM_ERR_SOCKET_BAD_PORT);
		refused("::1", bad[i], DGRAM_ERR_SOCKET_BAD_PORT);
	}
	cr_assert_eq(dgram_addr_parse(&a, "127.0.0.1", 0), 0);
	cr_assert_eq(dgram_addr_port(&a), 0);
	cr_assert_eq(dgram_addr_parse(&a, "::1", 65535), 0);
	cr_assert_eq(dgram_addr_port(&a), 65535);
	cr_assert_eq(dgram_addr_port(NULL), 0);
	a.len = 0;
	cr_assert_eq(dgram_addr_port(&a), 0);
	cr_assert_eq(dgram_addr_unix(&a, "/x"), 0);
	cr_assert_eq(dgram_addr_port(&a), 0);
}

TEST(addr, zones)
{
	struct dgram_addr a, b, c;
	char name[IF_NAMESIZE], text[100], host[100];
	unsigned index;

	index = interface(name);
	snprintf(text, sizeof(text), "fe80::1%%%s", name);
	accepted(text, text, "IPv6");
	cr_assert_eq(dgram_addr_parse(&a, text, 80), 0);
	cr_assert_eq(a.u.in6.sin6_scope_id, index);
	/* By number it is the same address, told by name. */
	snprintf(host, sizeof(host), "fe80::1%%%u", index);
	accepted(host, text, "IPv6");
	cr_assert_eq(dgram_addr_parse(&b, host, 80), 0);
	cr_assert(dgram_addr_equal(&a, &b));
	cr_assert_eq(dgram_addr_parse(&c, "fe80::1", 80), 0);
	cr_assert(!dgram_addr_equal(&a, &c));
	snprintf(text, sizeof(text), "ff02::1%%%s", name);
	accepted(text, text, "IPv6");

	refused("fe80::1%nonexistent0", 80, -ENODEV);
	refused("fe80::1%0", 80, -ENODEV);
	refused("fe80::1%4294967295", 80, -ENODEV);
	/* Numbers that are an index when cut to 32 or 64 bits. */
	snprintf(text, sizeof(text), "fe80::1%%%llu",
	    ((unsigned long long)1 << 32) + index);
	refused(text, 80, -ENODEV);
	snprintf(text, sizeof(text), "fe80::1%%184467440737095516%02u",
	    16 + index % 80);
	refused(text, 80, -ENODEV);
	/* Something in front of it or behind. */
	snprintf(text, sizeof(text), "fe80::1%%%ux", index);
	refused(text, 80, -ENODEV);
	snprintf(text, sizeof(text), "fe80::1%%%u ", index);
	refused(text, 80, -ENODEV);
	snprintf(text, sizeof(text), "fe80::1%% %u", index);
	refused(text, 80, -ENODEV);
	snprintf(text, sizeof(text), "fe80::1%%-%u", index);
	refused(text, 80, -ENODEV);
	snprintf(text, sizeof(text), "fe80::1%%+%u", index);
	refused(text, 80, -ENODEV);
	snprintf(text, sizeof(text), "fe80::1%%%s ", name);
	refused(text, 80, -ENODEV);
	snprintf(text, sizeof(text), "fe80::1%%%s%%%s", name, name);
	refused(text, 80, -ENODEV);
	/* What is wrong on both sides is no literal first of all. */
	refused("fe80::x%nonexistent0", 80, -EINVAL);
}

TEST(addr, paths_of_every_length)
{
	struct dgram_addr a, old;
	char path[PATH_ROOM + 2], host[200];
	size_t n;

	for (n = 1; n <= PATH_ROOM; n++) {
		memset(path, 'p', n);
		path[n] = '\0';
		memset(&a, 0xa5, sizeof(a));
		cr_assert_eq(dgram_addr_unix(&a, path), 0, "length %zu", n);
		cr_assert_eq(a.len, PATH_OFFSET + n + (n < PATH_ROOM));
		cr_assert_eq(a.u.sa.sa_family, AF_UNIX);
		cr_assert_eq(memcmp(a.u.raw + PATH_OFFSET, path, n + 1), 0);
		cr_assert_eq(dgi_addr_path_len(&a), n);
		cr_assert_eq(dgi_addr_check(&a, AF_UNIX), (int)a.len);
		cr_assert_eq(dgram_addr_host(&a, host, sizeof(host)), (int)n);
		cr_assert_eq(strcmp(host, path), 0);
	}
	memset(&a, 0xa5, sizeof(a));
	old = a;
	memset(path, 'p', n);
	path[n] = '\0';
	cr_assert_eq(dgram_addr_unix(&a, path), -ENAMETOOLONG);
	cr_assert_eq(dgram_addr_unix(&a, ""), -EINVAL);
	cr_assert_eq(dgram_addr_unix(&a, NULL), -EINVAL);
	cr_assert_eq(memcmp(&a, &old, sizeof(a)), 0);
	cr_assert_eq(dgram_addr_unix(NULL, "x"), -EINVAL);
	cr_assert_eq(strcmp(dgram_addr_family(&a), "unix"), 0);
}

#if DGI_HAVE_ABSTRACT
TEST(addr, abstract_names)
{
	struct dgram_addr a, b, old;
	char name[PATH_ROOM];
	size_t n;

	for (n = 0; n < PATH_ROOM; n++)
		name[n] = (char)(n * 37);
	for (n = 0; n < PATH_ROOM; n++) {
		memset(&a, 0xa5, sizeof(a));
		cr_assert_eq(dgram_addr_abstract(&a, name, n), 0);
		cr_assert_eq(a.len, PATH_OFFSET + 1 + n);
		cr_assert_eq(a.u.raw[PATH_OFFSET], 0);
		cr_assert_eq(memcmp(a.u.raw + PATH_OFFSET + 1, name, n), 0);
		cr_assert_eq(dgi_addr_path_len(&a), n + 1);
		cr_assert_eq(dgi_addr_check(&a, AF_UNIX), (int)a.len);
	}
	/* NULs inside and at the end belong to the name. */
	cr_assert_eq(dgram_addr_abstract(&a, "a\0b", 3), 0);
	cr_assert_eq(dgram_addr_abstract(&b, "a\0c", 3), 0);
	cr_assert(!dgram_addr_equal(&a, &b));
	cr_assert_eq(dgram_addr_abstract(&a, "a", 1), 0);
	cr_assert_eq(dgram_addr_abstract(&b, "a\0", 2), 0);
	cr_assert(!dgram_addr_equal(&a, &b));
	cr_assert_eq(dgram_addr_abstract(&a, NULL, 0), 0);
	cr_assert_eq(a.len, PATH_OFFSET + 1);

	memset(&a, 0xa5, sizeof(a));
	old = a;
	cr_assert_eq(dgram_addr_abstract(&a, name, PATH_ROOM), -ENAMETOOLONG);
	cr_assert_eq(dgram_addr_abstract(&a, name, SIZE_MAX), -ENAMETOOLONG);
	cr_assert_eq(dgram_addr_abstract(&a, NULL, 1), -EINVAL);
	cr_assert_eq(memcmp(&a, &old, sizeof(a)), 0);
	cr_assert_eq(dgram_addr_abstract(NULL, name, 1), -EINVAL);
}
#else
TEST(addr, abstract_names)
{
	struct dgram_addr a;

	cr_assert_eq(dgram_addr_abstract(&a, "x", 1), -ENOTSUP);
}
#endif

/*
 * Binds `a`, asks for the name and sends from it: what the kernel tells, both
 * ways, must be `a` again once it is trimmed.
 */
static void
round_trip(const struct dgram_addr *a, const struct dgram_addr *to, int to_fd)
{
	struct dgram_addr b, c;
	int fd, len = dgi_addr_check(a, AF_UNIX);
	char byte;

	cr_assert(len > 0);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	cr_assert(fd >= 0);
	cr_assert_eq(bind(fd, &a->u.sa, (socklen_t)len), 0, "bind: %s",
	    strerror(errno));
	memset(&b, 0xa5, sizeof(b));
	b.len = sizeof(b.u);
	cr_assert_eq(getsockname(fd, &b.u.sa, &b.len), 0);
	dgi_addr_trim(&b);
	cr_assert_eq(b.len, a->len);
	cr_assert(dgram_addr_equal(a, &b));
	cr_assert_eq(memcmp(&b.u, &a->u, a->len), 0);

	cr_assert_eq(sendto(fd, "x", 1, 0, &to->u.sa, to->len), 1);
	memset(&c, 0xa5, sizeof(c));
	c.len = sizeof(c.u);
	cr_assert_eq(recvfrom(to_fd, &byte, 1, 0, &c.u.sa, &c.len), 1);
	dgi_addr_trim(&c);
	cr_assert_eq(c.len, a->len);
	cr_assert(dgram_addr_equal(a, &c));
	/* And it can be sent to. */
	cr_assert_eq(sendto(to_fd, "y", 1, 0, &c.u.sa,
	    (socklen_t)dgi_addr_check(&c, AF_UNIX)), 1);
	cr_assert_eq(recv(fd, &byte, 1, 0), 1);
	close(fd);
}

TEST(addr, kernel_round_trip)
{
	struct dgram_addr a, to;
	char path[PATH_ROOM + 1];
	size_t n;
	int fd;

	cr_assert_eq(chdir(test_tmpdir()), 0);
	cr_assert_eq(dgram_addr_unix(&to, "to"), 0);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	cr_assert_eq(bind(fd, &to.u.sa, to.len), 0);
	for (n = 1; n <= PATH_ROOM; n++) {
		memset(path, 'q', n);
		path[n] = '\0';
		cr_assert_eq(dgram_addr_unix(&a, path), 0);
		round_trip(&a, &to, fd);
		cr_assert_eq(unlink(path), 0, "no such path of %zu", n);
	}
	close(fd);
	cr_assert_eq(chdir("/"), 0);
}

#if DGI_HAVE_ABSTRACT
TEST(addr, abstract_round_trip)
{
	struct dgram_addr a, to;
	char name[PATH_ROOM];
	size_t n;
	int fd;

	memset(name, 0, sizeof(name));
	snprintf(name, sizeof(name), "dgt.%ld", (long)getpid());
	cr_assert_eq(dgram_addr_abstract(&to, name, 50), 0);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	cr_assert_eq(bind(fd, &to.u.sa, to.len), 0);
	/* With more and more NULs behind the text: each is another name. */
	for (n = strlen(name); n < PATH_ROOM; n++) {
		if (n == 50)
			continue;
		cr_assert_eq(dgram_addr_abstract(&a, name, n), 0);
		round_trip(&a, &to, fd);
	}
	close(fd);
}
#endif

/* Sender and name of a socket that has none. */
TEST(addr, unnamed)
{
	struct dgram_addr a;
	char byte, host[10];
	int sv[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	memset(&a, 0xa5, sizeof(a));
	a.len = sizeof(a.u);
	cr_assert_eq(getsockname(sv[0], &a.u.sa, &a.len), 0);
	dgi_addr_trim(&a);
	cr_assert_eq(a.len, 0);
	cr_assert_eq(send(sv[0], "x", 1, 0), 1);
	memset(&a, 0xa5, sizeof(a));
	a.len = sizeof(a.u);
	cr_assert_eq(recvfrom(sv[1], &byte, 1, 0, &a.u.sa, &a.len), 1);
	dgi_addr_trim(&a);
	cr_assert_eq(a.len, 0);
	cr_assert_eq(dgram_addr_host(&a, host, sizeof(host)), 0);
	cr_assert_eq(host[0], '\0');
	cr_assert_eq(strcmp(dgram_addr_family(&a), "unix"), 0);
	close(sv[0]);
	close(sv[1]);
}

TEST(addr, trim)
{
	struct dgram_addr a, b;
	size_t n;

	/* As systems tell "unnamed". */
	for (n = 0; n <= PATH_OFFSET; n++) {
		memset(&a, 0xa5, sizeof(a));
		a.u.sa.sa_family = AF_UNIX;
		a.len = (socklen_t)n;
		dgi_addr_trim(&a);
		cr_assert_eq(a.len, 0, "%zu", n);
	}
	/* Bytes behind the NUL of a path. */
	cr_assert_eq(dgram_addr_unix(&b, "/x"), 0);
	for (n = PATH_OFFSET + 2; n <= sizeof(struct sockaddr_un) + 1; n++) {
		memset(&a, 0xa5, sizeof(a));
		a.u.sa.sa_family = AF_UNIX;
		memcpy(a.u.raw + PATH_OFFSET, "/x", 3);
		a.len = (socklen_t)n;
		dgi_addr_trim(&a);
		cr_assert_eq(a.len, b.len, "told as %zu", n);
		cr_assert(dgram_addr_equal(&a, &b));
		cr_assert_eq(a.u.raw[PATH_OFFSET + 2], '\0');
	}
	/* More than there is room for, as recvfrom(2) tells what it cut. */
	memset(&a, 'z', sizeof(a));
	a.u.sa.sa_family = AF_UNIX;
	a.len = 400;
	dgi_addr_trim(&a);
	cr_assert_eq(a.len, PATH_OFFSET + PATH_ROOM);
	cr_assert_eq(dgi_addr_path_len(&a), PATH_ROOM);
	cr_assert_eq(a.u.raw[PATH_OFFSET + PATH_ROOM], '\0');
	memset(&a, 0, sizeof(a));
	a.u.sa.sa_family = AF_UNIX;
	a.len = 400;
	dgi_addr_trim(&a);
	cr_assert(a.len <= sizeof(a.u));
	/* Other families stay. */
	cr_assert_eq(dgram_addr_parse(&a, "1.2.3.4", 5), 0);
	b = a;
	dgi_addr_trim(&a);
	cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
	cr_assert_eq(dgram_addr_parse(&a, "fe80::1", 5), 0);
	b = a;
	dgi_addr_trim(&a);
	cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
}

/* Addresses of which no two are equal. */
static const struct kind {
	char type;		/* n: none, i: IP, u: path, a: abstract */
	const char *text;
	int n;			/* port, or bytes of the abstract name */
	uint32_t zone;
} kinds[] = {
	{ 'n', "", 0, 0 },
	{ 'i', "127.0.0.1", 80, 0 },
	{ 'i', "127.0.0.1", 81, 0 },
	{ 'i', "127.0.0.2", 80, 0 },
	{ 'i', "::1", 80, 0 },
	{ 'i', "::1", 81, 0 },
	{ 'i', "::2", 80, 0 },
	{ 'i', "1::1", 80, 0 },
	{ 'i', "::ffff:127.0.0.1", 80, 0 },
	{ 'i', "fe80::1", 80, 0 },
	{ 'i', "fe80::1", 80, 1 },
	{ 'i', "fe80::1", 80, 2 },
	{ 'u', "/run/x", 0, 0 },
	{ 'u', "/run/xy", 0, 0 },
	{ 'u', "/run/y", 0, 0 },
	{ 'u', "r", 0, 0 },
#if DGI_HAVE_ABSTRACT
	{ 'a', "/run/x", 6, 0 },
	{ 'a', "/run/x", 7, 0 },
	{ 'a', "", 1, 0 },
	{ 'a', "", 0, 0 },
#endif
};
#define NKINDS	(sizeof(kinds) / sizeof(kinds[0]))

/* 0xa5 where nothing counts. */
static struct dgram_addr
make(const struct kind *k)
{
	struct dgram_addr a;

	memset(&a, 0xa5, sizeof(a));
	switch (k->type) {
	case 'i':
		cr_assert_eq(dgram_addr_parse(&a, k->text, k->n), 0);
		if (k->zone != 0)
			a.u.in6.sin6_scope_id = k->zone;
		break;
	case 'u':
		cr_assert_eq(dgram_addr_unix(&a, k->text), 0);
		break;
	case 'a':
		cr_assert_eq(dgram_addr_abstract(&a, k->text, (size_t)k->n),
		    0);
		break;
	default:
		a.len = 0;
		break;
	}
	return a;
}

TEST(addr, equal)
{
	struct dgram_addr a, b;
	size_t i, j;

	for (i = 0; i < NKINDS; i++) {
		a = make(&kinds[i]);
		for (j = 0; j < NKINDS; j++) {
			b = make(&kinds[j]);
			cr_assert(dgram_addr_equal(&a, &b) == (i == j),
			    "%zu and %zu", i, j);
		}
		cr_assert(!dgram_addr_equal(&a, NULL));
		cr_assert(!dgram_addr_equal(NULL, &a));
	}
	cr_assert(dgram_addr_equal(NULL, NULL));
	/* The flow, and what lies behind the address, are not compared. */
	cr_assert_eq(dgram_addr_parse(&a, "::1", 80), 0);
	b = a;
	b.u.in6.sin6_flowinfo = 5;
	cr_assert(dgram_addr_equal(&a, &b));
	cr_assert_eq(dgram_addr_parse(&a, "1.2.3.4", 80), 0);
	b = a;
	memset(b.u.raw + 8, 0x77, sizeof(b.u.raw) - 8);
	cr_assert(dgram_addr_equal(&a, &b));
	cr_assert_eq(dgram_addr_unix(&a, "/run/x"), 0);
	b = a;
	b.len = sizeof(struct sockaddr_un);
	memset(b.u.raw + a.len, 0x77, sizeof(b.u.raw) - a.len);
	cr_assert(dgram_addr_equal(&a, &b) && dgram_addr_equal(&b, &a));
}

TEST(addr, check)
{
	static const int families[] = { AF_INET, AF_INET6, AF_UNIX };
	static const char *const hosts[] = { "1.2.3.4", "::1" };
	struct dgram_addr a;
	socklen_t n;
	size_t i, j;

	for (i = 0; i < 3; i++) {
		if (i < 2)
			cr_assert_eq(dgram_addr_parse(&a, hosts[i], 1), 0);
		else
			cr_assert_eq(dgram_addr_unix(&a, "/run/x"), 0);
		for (j = 0; j < 3; j++)
			cr_assert_eq(dgi_addr_check(&a, families[j]),
			    i == j ? (int)a.len : -EINVAL);
		if (i == 2)
			break;
		/* Cut off; longer is cut to what is exact. */
		for (n = 0; n < a.len; n++) {
			struct dgram_addr b = a;

			b.len = n;
			cr_assert_eq(dgi_addr_check(&b, families[i]), -EINVAL);
		}
		n = a.len;
		a.len = sizeof(a.u);
		cr_assert_eq(dgi_addr_check(&a, families[i]), (int)n);
		a.len = sizeof(a.u) + 1;
		cr_assert_eq(dgi_addr_check(&a, families[i]), -EINVAL);
		a.len = (socklen_t)-1;
		cr_assert_eq(dgi_addr_check(&a, families[i]), -EINVAL);
	}
	/* A path: at least a byte, never more than the struct. */
	for (n = 0; n <= PATH_OFFSET; n++) {
		a.len = n;
		cr_assert_eq(dgi_addr_check(&a, AF_UNIX), -EINVAL);
	}
	for (; n <= sizeof(struct sockaddr_un); n++) {
		a.len = n;
		cr_assert_eq(dgi_addr_check(&a, AF_UNIX), (int)n);
	}
	a.len = n;
	cr_assert_eq(dgi_addr_check(&a, AF_UNIX),
	    (int)sizeof(struct sockaddr_un));
	a.len = sizeof(a.u) + 1;
	cr_assert_eq(dgi_addr_check(&a, AF_UNIX), -EINVAL);
}

TEST(addr, wildcard_and_mapped)
{
	struct dgram_addr a, b;

	memset(&a, 0xa5, sizeof(a));
	dgi_addr_wildcard(&a, AF_INET);
	cr_assert_eq(dgram_addr_parse(&b, "0.0.0.0", 0), 0);
	cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
	cr_assert(!dgi_addr_is_mapped(&a));
	memset(&a, 0xa5, sizeof(a));
	dgi_addr_wildcard(&a, AF_INET6);
	cr_assert_eq(dgram_addr_parse(&b, "::", 0), 0);
	cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
	cr_assert(!dgi_addr_is_mapped(&a));

	cr_assert_eq(dgram_addr_parse(&a, "::ffff:1.2.3.4", 0), 0);
	cr_assert(dgi_addr_is_mapped(&a));
	cr_assert_eq(dgram_addr_parse(&a, "::1.2.3.4", 0), 0);
	cr_assert(!dgi_addr_is_mapped(&a));
	/* Bytes of an IPv4 address that look like it. */
	cr_assert_eq(dgram_addr_parse(&a, "::ffff:1.2.3.4", 0), 0);
	a.u.sa.sa_family = AF_INET;
	cr_assert(!dgi_addr_is_mapped(&a));
}

TEST(addr, type_family)
{
	cr_assert_eq(dgi_type_family(DGRAM_UDP4), AF_INET);
	cr_assert_eq(dgi_type_family(DGRAM_UDP6), AF_INET6);
	cr_assert_eq(dgi_type_family(DGRAM_UNIX), AF_UNIX);
}

/* The family by the C library's parser, without the zone; 0: no literal. */
static int
oracle(const char *text, unsigned char bytes[16])
{
	const char *zone = strchr(text, '%');
	char head[2048];

	if (zone == NULL && inet_pton(AF_INET, text, bytes) == 1)
		return AF_INET;
	snprintf(head, sizeof(head), "%.*s", zone != NULL ?
	    (int)(zone - text) : (int)strlen(text), text);
	return inet_pton(AF_INET6, head, bytes) == 1 ? AF_INET6 : 0;
}

/* What must become of it. */
static bool
as_oracle(const char *text, int r, const struct dgram_addr *a)
{
	const char *zone = strchr(text, '%');
	unsigned char bytes[16];
	int family = oracle(text, bytes);

	if (family == 0 || (zone != NULL && zone[1] == '\0'))
		return r == -EINVAL;
	if (zone != NULL && r == -ENODEV)
		return true;
	if (r != 0 || a->u.sa.sa_family != family)
		return false;
	if (family == AF_INET)
		return memcmp(&a->u.in.sin_addr, bytes, 4) == 0;
	/* A zone must exist, and is kept where it means something. */
	return memcmp(&a->u.in6.sin6_addr, bytes, 16) == 0 &&
	    (a->u.in6.sin6_scope_id != 0) == (zone != NULL &&
	    dgi_addr_has_zone(&a->u.in6));
}

static const char *
mutate(char *text, size_t size, uint32_t *seed)
{
	static const char *const seeds[] = { "127.0.0.1", "255.255.255.255",
	    "::1", "::", "fe80::1%lo", "fe80::1%1", "2001:db8::8:800:200c:417a",
	    "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "ff02::1%2", "0.0.0.0",
	    "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8",
	    "1::8", "1:2:3:4::6:1.2.3.4", "A:bC:0:00:000:0000:1:ffff" };
	static const char letters[] = "0123456789abcdefABF.:%xgl- \n\x80\xff";
	size_t at, i, n;

	snprintf(text, size, "%s", seeds[(unsigned)rand_r(seed) %
	    (sizeof(seeds) / sizeof(seeds[0]))]);
	for (i = (unsigned)rand_r(seed) % 6; i > 0; i--) {
		n = strlen(text);
		at = n > 0 ? (unsigned)rand_r(seed) % n : 0;
		switch (rand_r(seed) % 4) {
		case 0:			/* another letter */
			text[at] = letters[(unsigned)rand_r(seed) %
			    (sizeof(letters) - 1)];
			if (n == 0)
				text[1] = '\0';
			break;
		case 1:			/* one less */
			memmove(text + at, text + at + (n > 0),
			    n - at + (n == 0));
			break;
		case 2:			/* one more */
			memmove(text + at + 1, text + at, n - at + 1);
			text[at] = letters[(unsigned)rand_r(seed) %
			    (sizeof(letters) - 1)];
			break;
		default:		/* a piece twice */
			if (2 * n - at >= size)
				break;
			memmove(text + n, text + at, n - at);
			text[2 * n - at] = '\0';
			break;
		}
	}
	return text;
}

/*
 * Mutated literals: the same are taken as by inet_pton(3), with the same bytes;
 * nothing is written otherwise; and what is taken comes back equal.
 * TEST_SEED=n repeats a run.
 */
TEST(addr, fuzz_parse)
{
	const char *env = getenv("TEST_SEED"), *host;
	struct dgram_addr a, again, old;
	char *copy, text[2048], buf[100];
	uint32_t first, seed;
	int r, round, taken[2] = { 0 };

	first = env != NULL ? (uint32_t)strtoul(env, NULL, 10) :
	    (uint32_t)time(NULL) ^ (uint32_t)getpid() << 16;
	seed = first;
	memset(&old, 0xa5, sizeof(old));
	for (round = 0; round < 100000; round++) {
		/* In a piece of its own: reading past its end is seen. */
		copy = strdup(mutate(text, sizeof(text), &seed));
		cr_assert(copy != NULL);
		a = old;
		r = dgram_addr_parse(&a, copy, round % 65536);
		cr_assert(as_oracle(copy, r, &a), "seed %u: '%s' is %d", first,
		    copy, r);
		free(copy);
		if (r < 0) {
			cr_assert(memcmp(&a, &old, sizeof(a)) == 0,
			    "seed %u: '%s' wrote", first, text);
			continue;
		}
		cr_assert(dgram_addr_host(&a, buf, sizeof(buf)) > 0);
		host = buf;
		r = dgram_addr_parse(&again, host, round % 65536);
		cr_assert(r == 0, "seed %u: '%s' gives '%s'", first, text,
		    host);
		cr_assert(dgram_addr_equal(&a, &again),
		    "seed %u: '%s' gives '%s'", first, text, host);
		taken[a.u.sa.sa_family == AF_INET6]++;
	}
	/* Else it says little. */
	cr_assert(taken[0] > 1000 && taken[1] > 5000, "seed %u: %d %d", first,
	    taken[0], taken[1]);
}
