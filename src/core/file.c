/* SPDX-License-Identifier: ISC */

/*
 * The entries of the table of system calls that are about files, directories and
 * other descriptors than a socket's.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "core/call.h"
#include "core/os.h"

int
dgi_file_lstat(const struct dgi_os *os, const char *path, struct stat *st)
{
	int r;

	(void)os;
	CALL(r, lstat(path, st));
	return r;
}

int
dgi_file_unlink(const struct dgi_os *os, const char *path)
{
	int r;

	(void)os;
	CALL(r, unlink(path));
	return r;
}

int
dgi_file_open(const struct dgi_os *os, const char *path, enum dgi_open what)
{
	int r, flags = O_CLOEXEC;

	switch (what) {
	case DGI_OPEN_NEW_LOCK:
		flags |= O_RDWR | O_CREAT | O_EXCL;
		break;
	case DGI_OPEN_LOCK:
		/* Whatever it is, this does not wait for it. */
		flags |= O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
		break;
#if DGI_HAVE_PROC_FD
	case DGI_OPEN_DIR:
		flags |= O_PATH | O_DIRECTORY;
		break;
	case DGI_OPEN_NODE:
		flags |= O_PATH | O_NOFOLLOW;
		break;
#else
	case DGI_OPEN_DIR:
		flags |= O_RDONLY | O_DIRECTORY;
		break;
	case DGI_OPEN_NODE:
		return -ENOTSUP;
#endif
	}
	CALL(r, open(path, flags, 0600));
	/* umask(2) has cut it: the next of this user must be able to open it. */
	if (r >= 0 && what == DGI_OPEN_NEW_LOCK)
		(void)dgi_file_fchmod(os, r, 0600);
	return r;
}

int
dgi_file_dup(const struct dgi_os *os, int fd)
{
	int r;

	(void)os;
	CALL(r, fcntl(fd, F_DUPFD_CLOEXEC, 0));
	return r;
}

int
dgi_file_fstat(const struct dgi_os *os, int fd, struct stat *st)
{
	int r;

	(void)os;
	CALL(r, fstat(fd, st));
	return r;
}

int
dgi_file_lock(const struct dgi_os *os, int fd)
{
	int r;

	(void)os;
	CALL(r, flock(fd, LOCK_EX | LOCK_NB));
	return r;
}

int
dgi_file_fchmod(const struct dgi_os *os, int fd, mode_t mode)
{
	int r;

	(void)os;
	CALL(r, fchmod(fd, mode));
	return r;
}

#if DGI_HAVE_PROC_FD
/* Room for that, a number, a slash and a NUL. */
#define FD_PATH		(sizeof(DGI_PROC_FD) + 3 * sizeof(int) + 1)

/* The path of what a descriptor names: its length. */
static size_t
fd_path(char *path, int fd)
{
	char digits[3 * sizeof(int)];
	size_t n = sizeof(DGI_PROC_FD) - 1, i = 0;

	memcpy(path, DGI_PROC_FD, n);
	do {
		digits[i++] = (char)('0' + fd % 10);
	} while ((fd /= 10) > 0);
	while (i > 0)
		path[n++] = digits[--i];
	path[n] = '\0';
	return n;
}

int
dgi_file_set_owner(const struct dgi_os *os, int fd, uid_t uid, gid_t gid)
{
	int r;

	(void)os;
	CALL(r, fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
	return r;
}

int
dgi_file_set_mode(const struct dgi_os *os, int fd, mode_t mode)
{
	char path[FD_PATH];
	int r;

	(void)os;
	/* fchmod(2) does not take a descriptor of O_PATH. */
	(void)fd_path(path, fd);
	CALL(r, chmod(path, mode));
#if DGI_HAVE_FCHMODAT2
	if (r == -ENOENT)
		CALL(r, (int)syscall(452, fd, "", mode, AT_EMPTY_PATH));
#endif
	return r == -ENOENT || r == -ENOSYS ? -ENOTSUP : r;
}

int
dgi_file_get_umask(const struct dgi_os *os, mode_t *mask)
{
	static const char field[] = "\nUmask:\t";
	char buf[256];
	const char *p = buf;
	ssize_t n;
	int fd;

	(void)os;
	CALL(fd, open(DGI_PROC "status", O_RDONLY | O_CLOEXEC));
	if (fd < 0)
		return fd == -ENOENT ? -ENOTSUP : fd;
	CALL(n, read(fd, buf, sizeof(buf) - 1));
	(void)close(fd);
	if (n < 0)
		return (int)n;
	buf[n] = '\0';
	/* The second line of it, proc(5), since Linux 4.7. */
	while (*p != '\n' && *p != '\0')
		p++;
	if (strncmp(p, field, sizeof(field) - 1) != 0)
		return -ENOTSUP;
	*mask = 0;
	for (p += sizeof(field) - 1; *p >= '0' && *p <= '7'; p++)
		*mask = *mask * 8 + (mode_t)(*p - '0');
	return 0;
}
#else
int
dgi_file_set_owner(const struct dgi_os *os, int fd, uid_t uid, gid_t gid)
{
	(void)os, (void)fd, (void)uid, (void)gid;
	return -ENOTSUP;
}

int
dgi_file_set_mode(const struct dgi_os *os, int fd, mode_t mode)
{
	(void)os, (void)fd, (void)mode;
	return -ENOTSUP;
}

int
dgi_file_get_umask(const struct dgi_os *os, mode_t *mask)
{
	(void)os, (void)mask;
	return -ENOTSUP;
}
#endif

#if DGI_HAVE_LONG_PATH
/* Its length, or -ENAMETOOLONG. */
static int
name_at(struct sockaddr_un *un, int dir, const char *base)
{
	const size_t room = sizeof(un->sun_path), offset =
	    offsetof(struct sockaddr_un, sun_path);
	size_t n = strlen(base), len = 0;

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
#if DGI_HAVE_BINDAT
	(void)dir;
#else
	len = fd_path(un->sun_path, dir);
	un->sun_path[len++] = '/';
#endif
	if (n > room - len)
		return -ENAMETOOLONG;
	memcpy(un->sun_path + len, base, n);
	len += offset + n;
#if DGI_HAVE_SA_LEN
	un->sun_len = (unsigned char)len;
#endif
	return (int)len;
}

#if DGI_HAVE_BINDAT
#define at_result(r, dir)	(r)
#else
/* The name leads there by itself. */
static int
bindat(int dir, int fd, const struct sockaddr *sa, socklen_t len)
{
	(void)dir;
	return bind(fd, sa, len);
}

static int
connectat(int dir, int fd, const struct sockaddr *sa, socklen_t len)
{
	(void)dir;
	return connect(fd, sa, len);
}

/* Unless there is no /proc. */
static int
at_result(int r, int dir)
{
	char path[FD_PATH];
	struct stat st;

	(void)fd_path(path, dir);
	return r == -ENOENT && dgi_file_lstat(NULL, path, &st) < 0 ?
	    -ENAMETOOLONG : r;
}
#endif

int
dgi_file_bindat(const struct dgi_os *os, int dir, int fd, const char *base)
{
	struct sockaddr_un un;
	int r, len = name_at(&un, dir, base);

	(void)os;
	if (len < 0)
		return len;
	CALL(r, bindat(dir, fd, (struct sockaddr *)&un, (socklen_t)len));
	return at_result(r, dir);
}

int
dgi_file_connectat(const struct dgi_os *os, int dir, int fd, const char *base)
{
	struct sockaddr_un un;
	int r, len = name_at(&un, dir, base);

	(void)os;
	if (len < 0)
		return len;
	CALL(r, connectat(dir, fd, (struct sockaddr *)&un, (socklen_t)len));
	return at_result(r, dir);
}
#else
int
dgi_file_bindat(const struct dgi_os *os, int dir, int fd, const char *base)
{
	(void)os, (void)dir, (void)fd, (void)base;
	return -ENAMETOOLONG;
}

int
dgi_file_connectat(const struct dgi_os *os, int dir, int fd, const char *base)
{
	(void)os, (void)dir, (void)fd, (void)base;
	return -ENAMETOOLONG;
}
#endif
