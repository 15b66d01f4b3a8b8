/* SPDX-License-Identifier: ISC */

/*
 * What every bind of an AF_UNIX socket does, and its close.
 *
 * A bind makes a file, and nobody but its maker removes it.  The socket
 * remembers device and inode, and at close unlinks the path only if that is
 * still what lies there: a successor's socket, or a file that somebody put in
 * its place, survives.  An adopted socket never unlinks.
 *
 * A file that is to have a certain mode or owner appears with mode 0, which
 * nobody can send to, is given to its owner and then gets its mode.
 */

#include "core/plat.h"

#include <errno.h>

#include "core/addr.h"
#include "core/socket.h"

/* NULL: no file. */
static const char *
path_of(const struct dgram_addr *a)
{
	const char *path = a->u.raw + offsetof(struct sockaddr_un, sun_path);

	return dgi_addr_path_len(a) > 0 && *path != '\0' ? path : NULL;
}

static bool
is_exact(const struct dgram_socket *s)
{
	return s->options.path_mode != 0 || s->options.path_owner != NULL;
}

int
dgi_unix_check(const struct dgram_socket *s, const struct dgram_addr *a)
{
	return path_of(a) == NULL && is_exact(s) ? -EINVAL : 0;
}

/* A socket lies at the path; *st says which. */
static bool
find(const struct dgram_socket *s, const char *path, struct stat *st)
{
	const struct dgi_os *os = s->loop->os;

	return path != NULL && os->lstat(os, path, st) == 0 &&
	    S_ISSOCK(st->st_mode);
}

static void
remember(struct dgram_socket *s, const struct stat *st)
{
	s->own_path = true;
	s->path_dev = st->st_dev;
	s->path_ino = st->st_ino;
}

static void
unlink_own(struct dgram_socket *s, const char *path)
{
	const struct dgi_os *os = s->loop->os;
	struct stat st;

	if (!s->own_path)
		return;
	s->own_path = false;
	if (find(s, path, &st) && st.st_dev == s->path_dev &&
	    st.st_ino == s->path_ino)
		(void)os->unlink(os, path);
}

void
dgi_unix_unlink(struct dgram_socket *s)
{
	if (s->long_path == NULL) {
		unlink_own(s, path_of(&s->local));
		return;
	}
	unlink_own(s, s->long_path);
	dgi_mem_free(&s->loop->mem, s->long_path, s->long_size);
	s->long_path = NULL;
}

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
	r = os->get_umask(os, &mask);
	*mode = 0777 & ~mask;
	return r;
}

static int
call_bind(struct dgram_socket *s, const struct dgi_unix_name *n)
{
	const struct dgi_os *os = s->loop->os;
	struct stat st;
	int r;

	r = n->sa != NULL ? os->bind(os, s->fd, n->sa, n->len) :
	    os->bindat(os, n->dir, s->fd, n->base);
	if (r == 0 && find(s, n->path, &st))
		remember(s, &st);
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

	r = os->fstat(os, fd, &st);
	if (r < 0)
		return r;
	/* Not what was made just now, or it cannot be made so here. */
	if (!S_ISSOCK(st.st_mode) || (st.st_mode & 0777) != 0)
		return -ENOTSUP;
	remember(s, &st);
	if (owner != NULL)
		r = os->set_owner(os, fd, owner->uid, owner->gid);
	return r < 0 ? r : os->set_mode(os, fd, mode);
}

/* Behind bind(2). */
static int
show(struct dgram_socket *s, const char *path, mode_t mode)
{
	const struct dgi_os *os = s->loop->os;
	int fd, r;

	fd = os->open(os, path, DGI_OPEN_NODE);
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

	r = os->fchmod(os, s->fd, 0);
	/* Most systems: a socket has no mode that a file could get. */
	if (r < 0)
		return r == -EINVAL || r == -EOPNOTSUPP ? -ENOTSUP : r;
	r = call_bind(s, n);
	if (r < 0)
		return r;
	r = show(s, n->path, mode);
	if (r < 0)
		unlink_own(s, n->path);
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

	r = os->socket(os, AF_UNIX, SOCK_DGRAM, 0);
	if (r < 0)
		return r;
	s->fd = r;
	r = bind_exactly(s, n, 0);
	unlink_own(s, n->path);
	(void)os->close(os, s->fd);
	s->fd = fd;
	return r;
}

int
dgi_unix_bind(struct dgram_socket *s, const struct dgi_unix_name *n)
{
	mode_t mode;
	int r;

	if (n->path == NULL || !is_exact(s))
		return call_bind(s, n);
	r = find_mode(s, &mode);
	/* It has sent something so far. */
	if (r == 0 && dgi_state_can_send(s))
		r = rehearse(s, n);
	return r < 0 ? r : bind_exactly(s, n, mode);
}

int
dgi_unix_bind_addr(struct dgram_socket *s, const struct dgram_addr *addr)
{
	struct dgram_addr a = *addr;
	struct dgi_unix_name n = { .sa = &addr->u.sa,
	    .len = (socklen_t)dgi_addr_check(addr, AF_UNIX) };

	/* Its path ends where its length says. */
	dgi_addr_trim(&a);
	n.path = path_of(&a);
	return dgi_unix_bind(s, &n);
}
