/* SPDX-License-Identifier: ISC */

/*
 * Bind and connect to a path: over what a dead process has left there, and to one
 * that is longer than an address.
 *
 * A socket file does not go with the process that bound it.  With
 * DGRAM_UNLINK_STALE one that nobody answers at is removed, all under a lock
 * file, so that of those that start at once only one looks:
 *
 *  - bind(2); if something lies there, and it is a socket, and a connect(2) to it
 *    is refused:
 *  - bind(2) again.  The kernel makes the file before the name answers, with the
 *    directory locked: a bind that fails has waited for whoever was half-way
 *    without our lock.  If the same socket still refuses, it is dead:
 *  - unlink(2), and bind(2).
 *
 * Nothing waits.  The lock goes with its process; its file, which one that was
 * killed leaves behind, is taken by the next and removed.
 *
 * A long path is a name in a directory that is open meanwhile.
 */

#include "core/plat.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "core/addr.h"
#include "core/socket.h"

#define LOCK_SUFFIX	".lock"
/* Times that the file of the lock may vanish before one gives up. */
#define LOCK_TRIES	16

struct path {
	struct dgi_way way;
	struct dgi_unix_name name;
	char *text;		/* with room for the suffix */
	size_t size;		/* of that piece of memory */
	bool may_unlink;
};

/* ---- stale sockets ---- */

/* 0: fd is what lies at the path, and of the kind that we make; 1: not there. */
static int
check_lock(const struct dgi_os *os, int fd, const char *path)
{
	struct stat st, now;
	int r;

	r = DGI_FILE(os, fstat)(os, fd, &st);
	if (r < 0)
		return r;
	/* Somebody's file, which would be removed. */
	if (!S_ISREG(st.st_mode) || st.st_size != 0)
		return -EEXIST;
	r = os->lstat(os, path, &now);
	if (r < 0)
		return r == -ENOENT ? 1 : r;
	return st.st_dev != now.st_dev || st.st_ino != now.st_ino;
}

/* A descriptor that holds the lock; -EADDRINUSE: somebody else does. */
static int
take_lock(const struct dgi_os *os, const char *path)
{
	bool is_new;
	int fd, i, r;

	for (i = 0; i < LOCK_TRIES; i++) {
		fd = DGI_FILE(os, open)(os, path, DGI_OPEN_NEW_LOCK);
		is_new = fd >= 0;
		if (fd == -EEXIST) {
			fd = DGI_FILE(os, open)(os, path, DGI_OPEN_LOCK);
			if (fd == -ENOENT)
				continue;
		}
		if (fd < 0)
			return fd;
		r = DGI_FILE(os, lock)(os, fd);
		if (r == 0)
			r = check_lock(os, fd, path);
		if (r == 0)
			return fd;
		if (r < 0 && r != -EAGAIN && is_new)
			(void)os->unlink(os, path);
		(void)os->close(os, fd);
		if (r < 0)
			return r == -EAGAIN ? -EADDRINUSE : r;
	}
	return -EADDRINUSE;
}

static int
probe(const struct dgi_os *os, int fd, const struct dgi_unix_name *n)
{
	return n->sa != NULL ? os->connect(os, fd, n->sa, n->len) :
	    DGI_FILE(os, connectat)(os, n->dir, fd, n->base);
}

/*
 * Nobody may ask a socket whose file has mode 0: its process was killed before it
 * had given it another, or is about to.  Its owner may for the moment of a probe.
 */
static int
probe_hidden(const struct dgi_os *os, int fd, const struct dgi_unix_name *n,
    const struct stat *was)
{
	struct stat st;
	int node, r;

	node = DGI_FILE(os, open)(os, n->path, DGI_OPEN_NODE);
	if (node < 0)
		return -EACCES;
	r = DGI_FILE(os, fstat)(os, node, &st);
	if (r == 0 && (st.st_dev != was->st_dev || st.st_ino != was->st_ino))
		r = -EACCES;
	if (r == 0)
		r = DGI_FILE(os, set_mode)(os, node, 0200);
	if (r == 0) {
		r = probe(os, fd, n);
		(void)DGI_FILE(os, set_mode)(os, node, 0);
	}
	(void)os->close(os, node);
	return r;
}

/* 0: a socket lies at the path, *st, and nobody answers; or -EADDRINUSE, ... */
static int
check_stale(struct dgram_socket *s, const struct dgi_unix_name *n,
    struct stat *st)
{
	const struct dgi_os *os = s->loop->os;
	int fd, r;

	if (os->lstat(os, n->path, st) < 0 || !S_ISSOCK(st->st_mode))
		return -EADDRINUSE;
	fd = os->socket(os, AF_UNIX, SOCK_DGRAM, 0);
	if (fd < 0)
		return fd;
	r = probe(os, fd, n);
	if (r == -EACCES && (st->st_mode & 0777) == 0)
		r = probe_hidden(os, fd, n, st);
	(void)os->close(os, fd);
	return r == -ECONNREFUSED ? 0 : -EADDRINUSE;
}

static int
bind_over(struct dgram_socket *s, const struct dgi_unix_name *n)
{
	const struct dgi_os *os = s->loop->os;
	struct stat was, st;
	int r, dead;

	r = dgi_node_bind(s, n);
	if (r != -EADDRINUSE)
		return r;
	dead = check_stale(s, n, &was);
	if (dead < 0)
		return dead;
	r = dgi_node_bind(s, n);
	if (r != -EADDRINUSE)
		return r;
	dead = check_stale(s, n, &st);
	if (dead < 0)
		return dead;
	if (st.st_dev != was.st_dev || st.st_ino != was.st_ino)
		return -EADDRINUSE;
	r = os->unlink(os, n->path);
	return r < 0 && r != -ENOENT ? r : dgi_node_bind(s, n);
}

static int
bind_locked(struct dgram_socket *s, struct path *p)
{
	const struct dgi_os *os = s->loop->os;
	size_t len = strlen(p->text);
	int fd, r;

	memcpy(p->text + len, LOCK_SUFFIX, sizeof(LOCK_SUFFIX));
	fd = take_lock(os, p->text);
	p->text[len] = '\0';
	if (fd < 0)
		return fd;
	r = bind_over(s, &p->name);
	p->text[len] = LOCK_SUFFIX[0];
	/* Before somebody else can have the lock. */
	(void)os->unlink(os, p->text);
	p->text[len] = '\0';
	(void)os->close(os, fd);
	return r;
}

/* ---- long paths ---- */

/*
 * Opens the directory of a long path.  The base is the last part of it, with the
 * slashes at its end, to which the kernel has something to say.
 */
static int
open_dir(const struct dgi_os *os, struct path *p)
{
	char *base = p->text + strlen(p->text), first;

	while (base > p->text && base[-1] == '/')
		base--;
	while (base > p->text && base[-1] != '/')
		base--;
	first = *base;
	*base = '\0';
	p->name.dir = DGI_FILE(os, open)(os, base == p->text ? "." : p->text,
	    DGI_OPEN_DIR);
	*base = first;
	p->name.base = base;
	return p->name.dir;
}

static int
connect_in_dir(struct dgram_socket *s, struct path *p)
{
	const struct dgi_os *os = s->loop->os;
	int dir = open_dir(os, p), r;

	if (dir < 0)
		return dir;
	r = DGI_FILE(os, connectat)(os, dir, s->fd, p->name.base);
	(void)os->close(os, dir);
	return r;
}

/* dgram_options.reconnect. */
static int
connect_again(struct dgram_socket *s)
{
	struct path p = { .text = s->peer_path };

	return connect_in_dir(s, &p);
}

static int
connect_long(struct dgram_socket *s, struct dgi_way *w)
{
	struct path *p = DGI_CONTAINER(w, struct path, way);
	const struct dgi_os *os = s->loop->os;
	int r;

	r = connect_in_dir(s, p);
	if (r < 0)
		return r;
	if (s->options.reconnect) {
		s->peer_path = p->text;
		s->peer_size = p->size;
		s->connect_again = connect_again;
		p->text = NULL;
	}
	/* As it was bound: what was connected to means nothing any more. */
	s->peer.len = sizeof(s->peer.u);
	if (os->getpeername(os, s->fd, &s->peer.u.sa, &s->peer.len) < 0)
		s->peer.len = 0;
	dgi_addr_trim(&s->peer);
	return 0;
}

/* ---- the calls ---- */

/* A base that does not fit, whatever number the directory gets. */
static bool
is_base_too_long(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t n = strlen(slash != NULL ? slash + 1 : path);

	return n > sizeof(((struct sockaddr_un *)0)->sun_path) -
	    (DGI_HAVE_BINDAT ? 0 : sizeof(DGI_PROC_FD "0/") - 1);
}

/* 0: it may be a path of this socket's; addr->len 0: a long one. */
static int
check_path(const struct dgram_socket *s, const char *path,
    struct dgram_addr *addr)
{
	int r = dgram_addr_unix(addr, path);

	if (r == 0)
		return 0;
	addr->len = 0;
	if (s->type != DGRAM_UNIX || r != -ENAMETOOLONG || !DGI_HAVE_LONG_PATH)
		return r;
	return strlen(path) < PATH_MAX && !is_base_too_long(path) ? 0 : r;
}

static int
copy_path(struct dgram_socket *s, struct path *p, const char *path)
{
	size_t len = strlen(path);

	p->size = len + sizeof(LOCK_SUFFIX);
	p->text = dgi_mem_alloc(&s->loop->mem, p->size);
	if (p->text == NULL)
		return -ENOMEM;
	memcpy(p->text, path, len + 1);
	p->name.path = p->text;
	return 0;
}

static void
free_path(struct dgram_socket *s, struct path *p)
{
	if (p->text != NULL)
		dgi_mem_free(&s->loop->mem, p->text, p->size);
}

static int
bind_path(struct dgram_socket *s, struct dgi_way *w)
{
	struct path *p = DGI_CONTAINER(w, struct path, way);
	const struct dgi_os *os = s->loop->os;
	bool is_long = p->name.sa == NULL;
	int r;

	if (is_long && open_dir(os, p) < 0)
		return p->name.dir;
	r = p->may_unlink ? bind_locked(s, p) : dgi_node_bind(s, &p->name);
	if (!is_long)
		return r;
	(void)os->close(os, p->name.dir);
	if (r == 0) {
		/* For the close of the socket. */
		s->long_path = p->text;
		s->long_size = p->size;
		p->text = NULL;
	}
	return r;
}

/* An abstract name of the kernel's choice, unix(7). */
static int
autobind(struct dgram_socket *s, struct dgi_way *w)
{
	const struct sockaddr sa = { .sa_family = AF_UNIX };
	const struct dgi_unix_name n = { .sa = &sa,
	    .len = sizeof(sa.sa_family) };

	(void)w;
	return dgi_node_bind(s, &n);
}

static int
bind_automatically(struct dgram_socket *s)
{
	struct dgi_way w = { autobind, true };
	int r = dgi_state_check_name(s);

	if (r < 0)
		return r;
	if (s->type != DGRAM_UNIX || dgi_option_has_owner(&s->options))
		return -EINVAL;
	return DGI_HAVE_ABSTRACT ? dgi_state_name(s, &w) : -ENOTSUP;
}

int
dgram_bind_path(struct dgram_socket *s, const char *path, unsigned flags)
{
	struct path p = { .way = { bind_path, true },
	    .may_unlink = (flags & DGRAM_UNLINK_STALE) != 0 };
	struct dgram_addr a;
	int r;

	if (s == NULL || (flags & ~DGRAM_UNLINK_STALE) != 0 ||
	    (path == NULL && flags != 0))
		return -EINVAL;
	if (path == NULL)
		return bind_automatically(s);
	r = check_path(s, path, &a);
	if (r < 0)
		return r;
	if (a.len > 0 && flags == 0 && !dgi_option_has_owner(&s->options))
		return dgram_bind_addr(s, &a);
	r = dgi_state_check_name(s);
	if (r == 0 && s->type != DGRAM_UNIX)
		r = -EINVAL;
	if (r == 0)
		r = copy_path(s, &p, path);
	if (r < 0)
		return r;
	if (a.len > 0) {
		p.name.sa = &a.u.sa;
		p.name.len = a.len;
	}
	r = dgi_state_name(s, &p.way);
	free_path(s, &p);
	return r;
}

int
dgram_connect_path(struct dgram_socket *s, const char *path)
{
	struct path p = { .way = { connect_long, false } };
	struct dgram_addr a;
	int r;

	if (s == NULL)
		return -EINVAL;
	r = check_path(s, path, &a);
	if (r < 0)
		return r;
	if (a.len > 0)
		return dgram_connect_addr(s, &a);
	r = dgi_state_check_peer(s);
	if (r == 0)
		r = copy_path(s, &p, path);
	if (r == 0)
		r = dgi_state_reach(s, &p.way);
	free_path(s, &p);
	return r;
}
