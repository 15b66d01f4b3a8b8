/* SPDX-License-Identifier: ISC */

/*
 * getaddrinfo(3), made to say what dgram.h says.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>

#include <netdb.h>
#include <netinet/in.h>

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "core/addr.h"
#include "resolve/gai.h"

/* Not all systems have them all, some have one under two names. */
static const struct {
	int eai, code;
} codes[] = {
	{ EAI_NONAME, DGRAM_ENOTFOUND },
#if DGI_HAVE_EAI_NODATA
	{ EAI_NODATA, DGRAM_ENOTFOUND },
#endif
	{ EAI_AGAIN, DGRAM_EAI_AGAIN },
#if DGI_HAVE_EAI_ADDRFAMILY
	{ EAI_ADDRFAMILY, DGRAM_EAI_ADDRFAMILY },
#endif
	{ EAI_BADFLAGS, DGRAM_EAI_BADFLAGS },
	{ EAI_FAIL, DGRAM_EAI_FAIL },
	{ EAI_FAMILY, DGRAM_EAI_FAMILY },
	{ EAI_MEMORY, DGRAM_EAI_MEMORY },
	{ EAI_OVERFLOW, DGRAM_EAI_OVERFLOW },
	{ EAI_SERVICE, DGRAM_EAI_SERVICE },
	{ EAI_SOCKTYPE, DGRAM_EAI_SOCKTYPE },
	{ EAI_SYSTEM, DGRAM_EAI_SYSTEM },
};

/* err: errno as the call left it. */
static int
error_of(int eai, int err)
{
	size_t i;

	if (eai == EAI_SYSTEM && err > 0)
		return -err;
	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (codes[i].eai == eai)
			return codes[i].code;
	}
	return DGRAM_EAI_FAIL;
}

/*
 * No blank and no control character is part of a name; old C libraries take
 * "127.0.0.1 x" for 127.0.0.1 (CVE-2016-10739).  Nor is the empty string one.
 */
static bool
is_name(const char *name)
{
	const unsigned char *p = (const unsigned char *)name;

	do {
		if (*p <= 0x20 || *p == 0x7f)
			return false;
	} while (*++p != '\0');
	return true;
}

static bool
is_wanted(const struct addrinfo *ai, int family)
{
	return (ai->ai_family == AF_INET || ai->ai_family == AF_INET6) &&
	    (family == AF_UNSPEC || family == ai->ai_family);
}

/* The host and its zone, and nothing else of what is there. */
static void
copy(struct dgram_addr *a, const struct addrinfo *ai)
{
	const void *sa = ai->ai_addr;
	const struct sockaddr_in *in = sa;
	const struct sockaddr_in6 *in6 = sa;

	dgi_addr_wildcard(a, ai->ai_family);
	if (ai->ai_family == AF_INET) {
		a->u.in.sin_addr = in->sin_addr;
	} else {
		a->u.in6.sin6_addr = in6->sin6_addr;
		a->u.in6.sin6_scope_id = in6->sin6_scope_id;
	}
}

static int
copy_all(const struct addrinfo *list, int family, struct dgram_addr **ret,
    size_t *n)
{
	const struct addrinfo *ai;
	size_t count = 0;

	for (ai = list; ai != NULL; ai = ai->ai_next)
		count += is_wanted(ai, family);
	if (count == 0)
		return DGRAM_ENOTFOUND;
	*ret = malloc(count * sizeof(**ret));
	if (*ret == NULL)
		return -ENOMEM;
	*n = 0;
	for (ai = list; ai != NULL; ai = ai->ai_next) {
		if (is_wanted(ai, family))
			copy(&(*ret)[(*n)++], ai);
	}
	return 0;
}

int
dgi_gai(const char *name, int family, struct dgram_addr **addrs, size_t *n)
{
	/* One socket type, or each address comes once for each of them. */
	const struct addrinfo hints = { .ai_family = family,
	    .ai_socktype = SOCK_DGRAM };
	struct addrinfo *list = NULL;
	int r, saved_errno = errno;

	if (!is_name(name))
		return DGRAM_ENOTFOUND;
	errno = 0;
	r = getaddrinfo(name, NULL, &hints, &list);
	if (r != 0) {
		r = error_of(r, errno);
	} else {
		r = copy_all(list, family, addrs, n);
		freeaddrinfo(list);
	}
	errno = saved_errno;
	return r;
}
