/* SPDX-License-Identifier: ISC */

/*
 * Choice of a backend: by name, or the first that opens.
 */

#include "core/plat.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "poll/poller.h"

/* Best first; one whose open is NULL is not built on this system. */
static const struct dgi_poller_ops *const backends[] = {
	&dgi_epoll_ops,
	&dgi_poll_ops,
};

int
dgi_poller_open(struct dgi_poller *p, struct dgi_mem *mem, const char *name)
{
	size_t i;
	int r = -ENOTSUP;

	for (i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		if (backends[i]->open == NULL)
			continue;
		if (name != NULL && strcmp(name, backends[i]->name) != 0)
			continue;
		p->ops = backends[i];
		p->mem = mem;
		p->fd = -1;
		p->priv = NULL;
		r = p->ops->open(p);
		if (r == 0)
			return 0;
	}
	return r;
}

int
dgi_poller_ms(int64_t timeout_ns)
{
	int64_t ms;

	if (timeout_ns < 0)
		return -1;
	ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
	return ms > INT_MAX ? INT_MAX : (int)ms;
}
