/* SPDX-License-Identifier: ISC */

/*
 * Addresses: literals and paths to sockaddr, compare, lengths.
 *
 * A dgram_addr always carries its exact length: an AF_UNIX name is what its
 * length says, and sizeof(struct sockaddr_un) would be another name.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <errno.h>
#include <string.h>

#include "core/addr.h"

#define PATH_OFFSET	offsetof(struct sockaddr_un, sun_path)
#define PATH_ROOM	sizeof(((struct sockaddr_un *)0)->sun_path)

static void
set_len(struct dgram_addr *a, size_t len)
{
	a->len = (socklen_t)len;
#if DGI_HAVE_SA_LEN
	a->u.sa.sa_len = (unsigned char)len;
#endif
}

uint32_t
dgi_addr_index(const char *text)
{
	uint64_t v = 0;

	/* An int to the kernel. */
	while (*text >= '0' && *text <= '9' && v <= INT32_MAX)
		v = v * 10 + (uint64_t)(*text++ - '0');
	return *text == '\0' && v <= INT32_MAX ? (uint32_t)v : 0;
}

/* The index of an interface by name or number, or -ENODEV. */
static int
zone_index(const char *zone, uint32_t *index)
{
	char name[IF_NAMESIZE];
	int saved_errno = errno;

	*index = strlen(zone) < sizeof(name) ? if_nametoindex(zone) : 0;
	if (*index == 0) {
		*index = dgi_addr_index(zone);
		if (*index != 0 && if_indextoname(*index, name) == NULL)
			*index = 0;
	}
	errno = saved_errno;
	return *index == 0 ? -ENODEV : 0;
}

/*
 * Literals are read strictly: nothing before, behind or left out, no octal, no
 * hexadecimal IPv4 (inet_aton(3) would take them, and so name other hosts than
 * a reader sees).
 */

/* Four decimal numbers without leading zeros, all of the text. */
static bool
read_v4(const char *p, uint8_t *out)
{
	unsigned i, v, digits;

	for (i = 0; i < 4; i++) {
		v = digits = 0;
		while (*p >= '0' && *p <= '9' && digits < 3) {
			/* "01" might mean octal. */
			if (digits++ > 0 && v == 0)
				return false;
			v = v * 10 + (unsigned)(*p++ - '0');
		}
		if (digits == 0 || v > 255 || *p++ != (i < 3 ? '.' : '\0'))
			return false;
		out[i] = (uint8_t)v;
	}
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 4291, 2.2, up to the NUL. */
static bool
read_v6(const char *p, uint8_t *out)
{
	unsigned n = 0, gap = 16, digits, v;
	const char *group;

	memset(out, 0, 16);
	if (p[0] == ':' && *++p != ':')
		return false;
	for (;;) {
		if (*p == ':') {
			/* The second colon of "::", once. */
			if (gap < 16)
				return false;
			gap = n;
			p++;
			if (*p == '\0')
				break;
		}
		group = p;
		for (v = digits = 0; digits < 4 && hex_digit(*p) >= 0; digits++)
			v = v << 4 | (unsigned)hex_digit(*p++);
		if (*p == '.' && n <= 12 && read_v4(group, out + n)) {
			n += 4;
			break;
		}
		if (digits == 0 || n == 16)
			return false;
		out[n++] = (uint8_t)(v >> 8);
		out[n++] = (uint8_t)v;
		if (*p == '\0')
			break;
		if (*p++ != ':' || n == 16)
			return false;
	}
	if (gap == 16)
		return n == 16;
	/* "::" stands for one group at least. */
	if (n == 16)
		return false;
	memmove(out + gap + 16 - n, out + gap, n - gap);
	memset(out + gap, 0, 16 - n);
	return true;
}

static int
parse6(struct sockaddr_in6 *sin6, const char *literal)
{
	char text[INET6_ADDRSTRLEN];
	const char *zone;
	size_t n;
	int r;

	for (n = 0; literal[n] != '\0' && literal[n] != '%'; n++) {
		if (n == sizeof(text) - 1)
			return -EINVAL;
		text[n] = literal[n];
	}
	text[n] = '\0';
	if (!read_v6(text, sin6->sin6_addr.s6_addr))
		return -EINVAL;
	zone = literal + n;
	if (*zone == '\0')
		return 0;
	if (zone[1] == '\0')
		return -EINVAL;
	r = zone_index(zone + 1, &sin6->sin6_scope_id);
	/* It must exist, but means something within a link only, RFC 4007. */
	if (!dgi_addr_has_zone(sin6))
		sin6->sin6_scope_id = 0;
	return r;
}

int
dgram_addr_parse(struct dgram_addr *ret, const char *literal, int port)
{
	struct dgram_addr a;
	int r;

	if (ret == NULL || literal == NULL)
		return -EINVAL;
	if (port < 0 || port > 65535)
		return DGRAM_ERR_SOCKET_BAD_PORT;
	memset(&a, 0, sizeof(a));
	if (read_v4(literal, (uint8_t *)&a.u.in.sin_addr)) {
		a.u.in.sin_family = AF_INET;
		a.u.in.sin_port = htons((uint16_t)port);
		set_len(&a, sizeof(a.u.in));
	} else {
		/* What was read so far lies in the union. */
		memset(&a, 0, sizeof(a));
		r = parse6(&a.u.in6, literal);
		if (r < 0)
			return r;
		a.u.in6.sin6_family = AF_INET6;
		a.u.in6.sin6_port = htons((uint16_t)port);
		set_len(&a, sizeof(a.u.in6));
	}
	*ret = a;
	return 0;
}

int
dgram_addr_unix(struct dgram_addr *ret, const char *path)
{
	struct dgram_addr a;
	size_t n;

	if (ret == NULL || path == NULL || *path == '\0')
		return -EINVAL;
	n = strlen(path);
	if (n > PATH_ROOM)
		return -ENAMETOOLONG;
	memset(&a, 0, sizeof(a));
	a.u.un.sun_family = AF_UNIX;
	memcpy(a.u.raw + PATH_OFFSET, path, n);
	/* The kernel takes a path that fills sun_path without a NUL. */
	set_len(&a, PATH_OFFSET + (n < PATH_ROOM ? n + 1 : n));
	*ret = a;
	return 0;
}

int
dgram_addr_abstract(struct dgram_addr *a, const void *name, size_t len)
{
#if DGI_HAVE_ABSTRACT
	if (a == NULL || (name == NULL && len > 0))
		return -EINVAL;
	if (len > PATH_ROOM - 1)
		return -ENAMETOOLONG;
	memset(a, 0, sizeof(*a));
	a->u.un.sun_family = AF_UNIX;
	if (len > 0)
		memcpy(a->u.raw + PATH_OFFSET + 1, name, len);
	set_len(a, PATH_OFFSET + 1 + len);
	return 0;
#else
	(void)a, (void)name, (void)len;
	return -ENOTSUP;
#endif
}

int
dgram_addr_port(const struct dgram_addr *a)
{
	if (a == NULL || a->len == 0)
		return 0;
	if (a->u.sa.sa_family == AF_INET)
		return ntohs(a->u.in.sin_port);
	if (a->u.sa.sa_family == AF_INET6)
		return ntohs(a->u.in6.sin6_port);
	return 0;
}

const char *
dgram_addr_family(const struct dgram_addr *a)
{
	if (a != NULL && a->len > 0) {
		if (a->u.sa.sa_family == AF_INET)
			return "IPv4";
		if (a->u.sa.sa_family == AF_INET6)
			return "IPv6";
	}
	return "unix";
}

size_t
dgi_addr_path_len(const struct dgram_addr *a)
{
	size_t n, len;

	if (a->len <= PATH_OFFSET)
		return 0;
	n = a->len - PATH_OFFSET;
	if (n > PATH_ROOM)
		n = PATH_ROOM;
	if (a->u.raw[PATH_OFFSET] == '\0' && DGI_HAVE_ABSTRACT)
		return n;
	for (len = 0; len < n && a->u.raw[PATH_OFFSET + len] != '\0';)
		len++;
	return len;
}

bool
dgram_addr_equal(const struct dgram_addr *a, const struct dgram_addr *b)
{
	size_t n;

	if (a == NULL || b == NULL)
		return a == b;
	if (a->len == 0 || b->len == 0)
		return a->len == b->len;
	if (a->u.sa.sa_family != b->u.sa.sa_family)
		return false;
	switch (a->u.sa.sa_family) {
	case AF_INET:
		return a->u.in.sin_port == b->u.in.sin_port &&
		    a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
	case AF_INET6:
		return a->u.in6.sin6_port == b->u.in6.sin6_port &&
		    a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id &&
		    memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr,
		    sizeof(a->u.in6.sin6_addr)) == 0;
	default:
		n = dgi_addr_path_len(a);
		return n == dgi_addr_path_len(b) &&
		    memcmp(a->u.raw + PATH_OFFSET, b->u.raw + PATH_OFFSET,
		    n) == 0;
	}
}

int
dgi_type_family(enum dgram_type type)
{
	switch (type) {
	case DGRAM_UDP4:
		return AF_INET;
	case DGRAM_UDP6:
		return AF_INET6;
	default:
		return AF_UNIX;
	}
}

int
dgi_addr_check(const struct dgram_addr *a, int family)
{
	if (a->len < sizeof(a->u.sa.sa_family) || a->len > sizeof(a->u) ||
	    a->u.sa.sa_family != family)
		return -EINVAL;
	switch (family) {
	case AF_INET:
		return a->len >= sizeof(a->u.in) ? (int)sizeof(a->u.in) :
		    -EINVAL;
	case AF_INET6:
		return a->len >= sizeof(a->u.in6) ? (int)sizeof(a->u.in6) :
		    -EINVAL;
	default:
		if (a->len <= PATH_OFFSET)
			return -EINVAL;
		return a->len <= sizeof(a->u.un) ? (int)a->len :
		    (int)sizeof(a->u.un);
	}
}

void
dgi_addr_wildcard(struct dgram_addr *a, int family)
{
	memset(a, 0, sizeof(*a));
	a->u.sa.sa_family = (sa_family_t)family;
	set_len(a, family == AF_INET ? sizeof(a->u.in) : sizeof(a->u.in6));
}

void
dgi_addr_from(struct dgram_addr *a, int family, const void *bytes)
{
	dgi_addr_wildcard(a, family);
	if (family == AF_INET)
		memcpy(&a->u.in.sin_addr, bytes, 4);
	else
		memcpy(&a->u.in6.sin6_addr, bytes, 16);
}

void
dgi_addr_loopback(struct dgram_addr *a, int family)
{
	dgi_addr_wildcard(a, family);
	if (family == AF_INET)
		a->u.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a->u.in6.sin6_addr = in6addr_loopback;
}

void
dgi_addr_set_port(struct dgram_addr *a, int port)
{
	if (a->u.sa.sa_family == AF_INET)
		a->u.in.sin_port = htons((uint16_t)port);
	else
		a->u.in6.sin6_port = htons((uint16_t)port);
}

void
dgi_addr_trim(struct dgram_addr *a)
{
	size_t n;

	if (a->len > sizeof(a->u))
		a->len = sizeof(a->u);
	if (a->len <= PATH_OFFSET) {
		a->len = 0;
		return;
	}
	if (a->u.sa.sa_family != AF_UNIX)
		return;
	n = dgi_addr_path_len(a);
	if (n == 0) {
		a->len = 0;
	} else if (a->u.raw[PATH_OFFSET] != '\0') {
		/* raw has a byte more than sun_path: always terminated. */
		a->u.raw[PATH_OFFSET + n] = '\0';
		set_len(a, PATH_OFFSET + (n < PATH_ROOM ? n + 1 : n));
	}
}

/* The macros IN6_IS_ADDR_ of musl cast const away. */
bool
dgi_addr_is_link_local6(const uint8_t *a)
{
	return a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

/* RFC 4291, 2.4 to 2.7. */
bool
dgi_addr_has_zone(const struct sockaddr_in6 *sin6)
{
	const uint8_t *a = sin6->sin6_addr.s6_addr;

	return dgi_addr_is_link_local6(a) ||
	    (a[0] == 0xff && ((a[1] & 0x0f) == 1 || (a[1] & 0x0f) == 2));
}

bool
dgi_addr_is_mapped(const struct dgram_addr *a)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return a->u.sa.sa_family == AF_INET6 &&
	    memcmp(&a->u.in6.sin6_addr, prefix, sizeof(prefix)) == 0;
}

/* The four bytes of an IPv4 address, also of a mapped one; else NULL. */
static const unsigned char *
bytes4(const struct dgram_addr *a)
{
	if (a->u.sa.sa_family == AF_INET)
		return (const void *)&a->u.in.sin_addr;
	return dgi_addr_is_mapped(a) ? a->u.in6.sin6_addr.s6_addr + 12 : NULL;
}

bool
dgi_addr_is_any(const struct dgram_addr *a)
{
	static const uint8_t any[16];
	const unsigned char *b = bytes4(a);

	if (b != NULL)
		return (b[0] | b[1] | b[2] | b[3]) == 0;
	return a->u.sa.sa_family == AF_INET6 &&
	    memcmp(&a->u.in6.sin6_addr, any, sizeof(any)) == 0;
}

bool
dgi_addr_is_link_local(const struct dgram_addr *a)
{
	const unsigned char *b = bytes4(a);

	if (b != NULL)
		return b[0] == 169 && b[1] == 254;	/* RFC 3927 */
	return a->u.sa.sa_family == AF_INET6 &&
	    dgi_addr_is_link_local6(a->u.in6.sin6_addr.s6_addr);
}

bool
dgi_addr_is_multicast(const struct dgram_addr *a)
{
	const unsigned char *b = bytes4(a);

	if (b != NULL)
		return b[0] >= 224 && b[0] < 240;
	return a->u.sa.sa_family == AF_INET6 &&
	    a->u.in6.sin6_addr.s6_addr[0] == 0xff;
}
