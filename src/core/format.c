/* SPDX-License-Identifier: ISC */

/*
 * Addresses and failures as text.
 *
 * Written without printf(3) and inet_ntop(3), which uses it in some C libraries:
 * they would be half of a small static daemon.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <net/if.h>
#include <netinet/in.h>

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/addr.h"

static const char hex[] = "0123456789abcdef";

/* Text being written; counts on when there is no room left. */
struct text {
	char *buf;
	size_t size, len;
};

static void
add(struct text *t, const char *s, size_t n)
{
	if (t->len < t->size && n < t->size - t->len)
		memcpy(t->buf + t->len, s, n);
	t->len += n;
}

static void
add_string(struct text *t, const char *s)
{
	add(t, s, strlen(s));
}

static void
add_number(struct text *t, uint32_t v)
{
	char digits[10];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	add(t, digits + i, sizeof(digits) - i);
}

/* The length, or -ENOSPC with nothing but a NUL in the buffer. */
static int
finish(struct text *t)
{
	if (t->len >= t->size || t->len > INT32_MAX) {
		if (t->size > 0)
			t->buf[0] = '\0';
		return -ENOSPC;
	}
	t->buf[t->len] = '\0';
	return (int)t->len;
}

static void
add_v4(struct text *t, const uint8_t *b)
{
	unsigned i;

	for (i = 0; i < 4; i++) {
		if (i > 0)
			add(t, ".", 1);
		add_number(t, b[i]);
	}
}

/* The longest run of two or more zero groups; its length, 0 if none. */
static unsigned
zero_run(const uint16_t *group, unsigned *start)
{
	unsigned i, n = 0, longest = 1;

	for (i = 0; i <= 8; i++) {
		if (i < 8 && group[i] == 0) {
			n++;
			continue;
		}
		if (n > longest) {
			longest = n;
			*start = i - n;
		}
		n = 0;
	}
	return longest > 1 ? longest : 0;
}

/* RFC 5952: lower case, no leading zeros, the first longest run as "::". */
static void
add_v6(struct text *t, const uint8_t *b)
{
	uint16_t group[8];
	unsigned i, digits, start = 8, run;

	for (i = 0; i < 8; i++)
		group[i] = (uint16_t)(b[2 * i] << 8 | b[2 * i + 1]);
	run = zero_run(group, &start);
	for (i = 0; i < 8; i++) {
		if (run > 0 && i == start) {
			add(t, "::", 2);
			i += run - 1;
			continue;
		}
		if (i > 0 && (run == 0 || i != start + run))
			add(t, ":", 1);
		/* Mapped addresses keep the form of IPv4. */
		if (i == 6 && start == 0 && run == 5 && group[5] == 0xffff) {
			add_v4(t, b + 12);
			break;
		}
		digits = group[i] > 0xfff ? 4 : group[i] > 0xff ? 3 :
		    group[i] > 0xf ? 2 : 1;
		while (digits-- > 0)
			add(t, &hex[group[i] >> (4 * digits) & 15], 1);
	}
}

static void
add_abstract(struct text *t, const char *name, size_t n)
{
	unsigned char c;
	size_t i;

	add(t, "@", 1);
	for (i = 0; i < n; i++) {
		c = (unsigned char)name[i];
		if (c >= 0x20 && c < 0x7f && c != '\\')
			add(t, &name[i], 1);
		else
			add(t, (char[]){ '\\', 'x', hex[c >> 4], hex[c & 15] },
			    4);
	}
}

static void
add_host(struct text *t, const struct dgram_addr *a)
{
	char name[IF_NAMESIZE];
	const char *path = a->u.raw + offsetof(struct sockaddr_un, sun_path);
	int saved_errno = errno;
	size_t n;

	if (a->len == 0)
		return;
	switch (a->u.sa.sa_family) {
	case AF_INET:
		add_v4(t, (const uint8_t *)&a->u.in.sin_addr);
		break;
	case AF_INET6:
		add_v6(t, a->u.in6.sin6_addr.s6_addr);
		if (a->u.in6.sin6_scope_id == 0 ||
		    !dgi_addr_has_zone(&a->u.in6))
			break;
		add(t, "%", 1);
		if (if_indextoname(a->u.in6.sin6_scope_id, name) != NULL)
			add_string(t, name);
		else
			add_number(t, a->u.in6.sin6_scope_id);
		break;
	case AF_UNIX:
		n = dgi_addr_path_len(a);
		if (n > 0 && *path == '\0')
			add_abstract(t, path + 1, n - 1);
		else
			add(t, path, n);
		break;
	default:
		break;
	}
	errno = saved_errno;
}

static void
add_port(struct text *t, const struct dgram_addr *a)
{
	add(t, ":", 1);
	add_number(t, (uint32_t)dgram_addr_port(a));
}

int
dgram_addr_host(const struct dgram_addr *a, char *buf, size_t size)
{
	struct text t = { buf, size, 0 };

	if (a == NULL || buf == NULL)
		return -EINVAL;
	add_host(&t, a);
	return finish(&t);
}

int
dgram_addr_format(const struct dgram_addr *a, char *buf, size_t size)
{
	struct text t = { buf, size, 0 };
	bool v6;

	if (a == NULL || buf == NULL)
		return -EINVAL;
	v6 = a->len > 0 && a->u.sa.sa_family == AF_INET6;
	if (v6)
		add(&t, "[", 1);
	add_host(&t, a);
	if (v6)
		add(&t, "]", 1);
	if (v6 || (a->len > 0 && a->u.sa.sa_family == AF_INET))
		add_port(&t, a);
	return finish(&t);
}

/* Node says nothing of the peer that an error of receiving came from. */
static bool
is_shown(const struct dgram_error *e)
{
	return e->addr != NULL && e->addr->len > 0 &&
	    e->kind != DGRAM_IN_RECEIVE && e->kind != DGRAM_IN_ICMP;
}

int
dgram_error_format(const struct dgram_error *e, char *buf, size_t size)
{
	struct text t = { buf, size, 0 };

	if (e == NULL || buf == NULL)
		return -EINVAL;
	if (e->syscall != NULL) {
		add_string(&t, e->syscall);
		add(&t, " ", 1);
	}
	add_string(&t, dgram_err_name(e->status));
	if (e->host != NULL) {
		add(&t, " ", 1);
		add_string(&t, e->host);
	} else if (is_shown(e)) {
		add(&t, " ", 1);
		add_host(&t, e->addr);
		/* Node leaves a port of 0 out, and brackets too. */
		if (dgram_addr_port(e->addr) != 0)
			add_port(&t, e->addr);
	}
	return finish(&t);
}
