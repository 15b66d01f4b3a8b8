/* SPDX-License-Identifier: ISC */

/*
 * Paths of AF_UNIX sockets.
 *
 * A bind makes a file, and nobody but its maker removes it.  The socket
 * remembers device and inode, and at close unlinks the path only if that is
 * still what lies there: a successor's socket, or a file that somebody put in
 * its place, survives.  An adopted socket never unlinks.
 */

#include "core/plat.h"

#include <errno.h>

#include "core/addr.h"
#include "core/socket.h"

static const char *
path_of(const struct dgram_socket *s)
{
	const char *path = s->local.u.raw +
	    offsetof(struct sockaddr_un, sun_path);

	return dgi_addr_path_len(&s->local) > 0 && *path != '\0' ? path : NULL;
}

/* A socket lies at the path; *st says which. */
static bool
find(const struct dgram_socket *s, struct stat *st)
{
	const struct dgi_os *os = s->loop->os;
	const char *path = path_of(s);

	return path != NULL && os->lstat(os, path, st) == 0 &&
	    S_ISSOCK(st->st_mode);
}

void
dgi_unix_bound(struct dgram_socket *s)
{
	struct stat st;

	s->own_path = find(s, &st);
	if (!s->own_path)
		return;
	s->path_dev = st.st_dev;
	s->path_ino = st.st_ino;
}

void
dgi_unix_unlink(struct dgram_socket *s)
{
	const struct dgi_os *os = s->loop->os;
	struct stat st;

	if (!s->own_path)
		return;
	s->own_path = false;
	if (find(s, &st) && st.st_dev == s->path_dev &&
	    st.st_ino == s->path_ino)
		(void)os->unlink(os, path_of(s));
}

int
dgram_bind_path(struct dgram_socket *s, const char *path, unsigned flags)
{
	struct dgram_addr a;
	int r;

	if (s == NULL || flags != 0)
		return -EINVAL;
	r = dgram_addr_unix(&a, path);
	return r < 0 ? r : dgram_bind_addr(s, &a);
}
