/* SPDX-License-Identifier: ISC */

/*
 * The file of an AF_UNIX socket: what every bind and every close does to it.
 *
 * A bind makes a file, and nobody but its maker removes it.  The socket
 * remembers device and inode, and at close unlinks the path only if that is
 * still what lies there: a successor's socket, or a file that somebody put in
 * its place, survives.  An adopted socket never unlinks.
 */

#include "core/plat.h"

#include "core/addr.h"
#include "core/socket.h"

/* NULL: no file. */
static const char *
path_of(const struct dgram_addr *a)
{
	const char *path = a->u.raw + offsetof(struct sockaddr_un, sun_path);

	return dgi_addr_path_len(a) > 0 && *path != '\0' ? path : NULL;
}

/* A socket lies at the path; *st says which. */
static bool
find(const struct dgram_socket *s, const char *path, struct stat *st)
{
	const struct dgi_os *os = s->loop->os;

	return path != NULL && os->lstat(os, path, st) == 0 &&
	    S_ISSOCK(st->st_mode);
}

void
dgi_unix_remember(struct dgram_socket *s, const struct stat *st)
{
	s->own_path = true;
	s->path_dev = st->st_dev;
	s->path_ino = st->st_ino;
}

void
dgi_unix_unlink_own(struct dgram_socket *s, const char *path)
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
		dgi_unix_unlink_own(s, path_of(&s->local));
		return;
	}
	dgi_unix_unlink_own(s, s->long_path);
	dgi_mem_free(&s->loop->mem, s->long_path, s->long_size);
	s->long_path = NULL;
}

void
dgi_unix_bound(struct dgram_socket *s, const char *path)
{
	struct stat st;

	if (find(s, path, &st))
		dgi_unix_remember(s, &st);
}

void
dgi_unix_named(struct dgram_socket *s)
{
	if (!s->own_path)
		dgi_unix_bound(s, path_of(&s->local));
}
