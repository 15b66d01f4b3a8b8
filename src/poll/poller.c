/* SPDX-License-Identifier: ISC */

/*
 * Choice of a backend: by name, or the first that opens.  And what backends
 * have in common.
 */

#include "core/plat.h"

#include <sys/stat.h>

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "poll/poller.h"

/* Best first; one whose open is NULL is not built on this system. */
static const struct dgi_poller_ops *const backends[] = {
	&dgi_epoll_ops,
	&dgi_kqueue_ops,
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
dgi_poller_check_fd(int fd)
{
	struct stat st;
	int saved_errno = errno, r = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		r = -EBADF;
	else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		r = -EPERM;
	errno = saved_errno;
	return r;
}

void *
dgi_poller_room(struct dgi_mem *mem, void *table, size_t *n, size_t size,
    int fd)
{
	size_t room;
	char *t;

	if ((size_t)fd < *n)
		return table;
	room = ((size_t)fd + 64) / 64 * 64;
	t = dgi_mem_grow(mem, table, *n * size, room * size);
	if (t == NULL)
		return NULL;
	memset(t + *n * size, 0, (room - *n) * size);
	*n = room;
	return t;
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
