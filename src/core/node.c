/* SPDX-License-Identifier: ISC */

/*
 * A bind that says whose its file is to be, and of which mode.
 *
 * The file appears with mode 0, which nobody can send to, is given to its owner
 * and then gets its mode.  If a step fails, all is as it was.
 */

#include "core/plat.h"

#include <errno.h>

#include "core/socket.h"

/* What the mode of the file is to be. */
static int
find_mode(const struct dgram_socket *s, mode_t *mode)
{
	const struct dgi_os *os = s->loop->os;
	mode_t mask;
	int r;

	*mode = s->options.path_mode;
	if (*mode != 0)
		return 0;
	r = DGI_FILE(os, get_umask)(os, &mask);
	*mode = 0777 & ~mask;
	return r;
}

static int
call_bind(struct dgram_socket *s, const struct dgi_unix_name *n)
{
	const struct dgi_os *os = s->loop->os;
	int r;

	r = n->sa != NULL ? os->bind(os, s->fd, n->sa, n->len) :
	    DGI_FILE(os, bindat)(os, n->dir, s->fd, n->base);
	if (r == 0)
		dgi_unix_bound(s, n->path);
	return r;
}

/* Gives the file that fd names its owner and its mode. */
static int
dress(struct dgram_socket *s, int fd, mode_t mode)
{
	const struct dgram_owner *owner = s->options.path_owner;
	const struct dgi_os *os = s->loop->os;
	struct stat st;
	int r;

	r = DGI_FILE(os, fstat)(os, fd, &st);
	if (r < 0)
		return r;
	/* Not what was made just now, or it cannot be made so here. */
	if (!S_ISSOCK(st.st_mode) || (st.st_mode & 0777) != 0)
		return -ENOTSUP;
	dgi_unix_remember(s, &st);
	if (owner != NULL)
		r = DGI_FILE(os, set_owner)(os, fd, owner->uid, owner->gid);
	return r < 0 ? r : DGI_FILE(os, set_mode)(os, fd, mode);
}

/* Behind bind(2). */
static int
show(struct dgram_socket *s, const char *path, mode_t mode)
{
	const struct dgi_os *os = s->loop->os;
	int fd, r;

	fd = DGI_FILE(os, open)(os, path, DGI_OPEN_NODE);
	if (fd < 0)
		return fd;
	r = dress(s, fd, mode);
	(void)os->close(os, fd);
	return r;
}

/* With a file of that mode, or none. */
static int
bind_exactly(struct dgram_socket *s, const struct dgi_unix_name *n,
    mode_t mode)
{
	const struct dgi_os *os = s->loop->os;
	int r;

	r = DGI_FILE(os, fchmod)(os, s->fd, 0);
	/* Most systems: a socket has no mode that a file could get. */
	if (r < 0)
		return r == -EINVAL || r == -EOPNOTSUPP ? -ENOTSUP : r;
	r = call_bind(s, n);
	if (r < 0)
		return r;
	r = show(s, n->path, mode);
	if (r < 0)
		dgi_unix_unlink_own(s, n->path);
	return r;
}

/*
 * What bind(2) has done to a descriptor that is to live on cannot be taken back:
 * whether it can be followed up is tried with another one.
 */
static int
rehearse(struct dgram_socket *s, const struct dgi_unix_name *n)
{
	const struct dgi_os *os = s->loop->os;
	int fd = s->fd, r;

	/* Not of a kind that takes, and loses, what privileged ones send. */
	r = os->socket(os, AF_UNIX, SOCK_STREAM, 0);
	if (r < 0)
		return r;
	s->fd = r;
	r = bind_exactly(s, n, 0);
	dgi_unix_unlink_own(s, n->path);
	(void)os->close(os, s->fd);
	s->fd = fd;
	return r;
}

int
dgi_node_bind(struct dgram_socket *s, const struct dgi_unix_name *n)
{
	mode_t mode;
	int r;

	if (n->path == NULL || !dgi_option_has_owner(&s->options))
		return call_bind(s, n);
	r = find_mode(s, &mode);
	/* It has sent something so far. */
	if (r == 0 && dgi_state_can_send(s))
		r = rehearse(s, n);
	return r < 0 ? r : bind_exactly(s, n, mode);
}
