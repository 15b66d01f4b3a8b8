/* SPDX-License-Identifier: ISC */

/*
 * The table of system calls, with a function of the test's between two of those
 * that a bind to a path makes.
 */

#ifndef DGT_BETWEEN_H
#define DGT_BETWEEN_H

#include "sockets.h"

/* Calls step() in front of each and behind it. */
static void (*step)(void);

#define BETWEEN(name, params, args)					\
	AROUND(name, (dgi_os_real.name), params, args)
#define BETWEEN_FILE(name, params, args)				\
	AROUND(name, dgi_file_##name, params, args)
#define AROUND(name, real, params, args)				\
	static inline int						\
	b_##name params							\
	{								\
		int r_;							\
									\
		step();							\
		r_ = real args;						\
		step();							\
		return r_;						\
	}

BETWEEN(socket, (const struct dgi_os *os, int domain, int type, int proto),
    (os, domain, type, proto))
BETWEEN(close, (const struct dgi_os *os, int fd), (os, fd))
BETWEEN(bind, (const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len), (os, fd, sa, len))
BETWEEN(connect, (const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len), (os, fd, sa, len))
BETWEEN(lstat, (const struct dgi_os *os, const char *path, struct stat *st),
    (os, path, st))
BETWEEN(unlink, (const struct dgi_os *os, const char *path), (os, path))
BETWEEN_FILE(fstat, (const struct dgi_os *os, int fd, struct stat *st),
    (os, fd, st))
BETWEEN_FILE(lock, (const struct dgi_os *os, int fd), (os, fd))
BETWEEN_FILE(fchmod, (const struct dgi_os *os, int fd, mode_t mode),
    (os, fd, mode))
BETWEEN_FILE(set_owner, (const struct dgi_os *os, int fd, uid_t uid, gid_t gid),
    (os, fd, uid, gid))
BETWEEN_FILE(set_mode, (const struct dgi_os *os, int fd, mode_t mode),
    (os, fd, mode))
BETWEEN_FILE(get_umask, (const struct dgi_os *os, mode_t *mask), (os, mask))
BETWEEN_FILE(bindat, (const struct dgi_os *os, int dir, int fd, const char *base),
    (os, dir, fd, base))
BETWEEN_FILE(connectat, (const struct dgi_os *os, int dir, int fd,
    const char *base), (os, dir, fd, base))

/* None of them is a child's. */
static inline int
b_open(const struct dgi_os *os, const char *path, enum dgi_open what)
{
	int fd;

	step();
	fd = dgi_file_open(os, path, what);
	MUST(fd < 0 || (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, "%s", path);
	step();
	return fd;
}

static inline struct dgi_os
between(void (*fn)(void))
{
	struct dgi_os os = dgi_os_real;

	step = fn;
	os.socket = b_socket;
	os.close = b_close;
	os.bind = b_bind;
	os.connect = b_connect;
	os.lstat = b_lstat;
	os.unlink = b_unlink;
	os.open = b_open;
	os.fstat = b_fstat;
	os.lock = b_lock;
	os.fchmod = b_fchmod;
	os.set_owner = b_set_owner;
	os.set_mode = b_set_mode;
	os.get_umask = b_get_umask;
	os.bindat = b_bindat;
	os.connectat = b_connectat;
	return os;
}

#endif
