/* SPDX-License-Identifier: ISC */

/*
 * The table of system calls.
 *
 * A loop makes all its system calls through one of these, so that a test can
 * replace an entry and have EMFILE, ENOBUFS or a short send on demand, and so
 * that a simulated network is one more table.  Each entry takes the table as
 * its first argument: what embeds one has its state beside it, not in globals.
 *
 * Results are 0, a count, or -errno; errno itself is left alone.  EINTR is
 * retried and EWOULDBLOCK is EAGAIN, here and nowhere else.
 *
 * Calls that do not pass through here: the waiting of the backends in src/poll,
 * getaddrinfo(3), mmap(2) of the receive arena, and the interface names that
 * dgram_addr_parse() and dgram_addr_host(), which know no loop, ask for.
 */

#ifndef DGI_OS_H
#define DGI_OS_H

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <stdint.h>

/*
 * Told of each interface, once, with NULL, and of each of its addresses of IPv4
 * and IPv6.  Unless it returns 0 that is the end.
 */
typedef int	dgi_interface_fn(unsigned index, const struct sockaddr *,
		    void *arg);

/* An element of a batch, on systems with or without recvmmsg(2). */
#if DGI_HAVE_MMSG
#define dgi_mmsg mmsghdr
#else
struct dgi_mmsg {
	struct msghdr msg_hdr;
	unsigned msg_len;
};
#endif

/* What open() is for; close-on-exec all of them. */
enum dgi_open {
	DGI_OPEN_NEW_LOCK,	/* a file that was not there, 0600: -EEXIST */
	DGI_OPEN_LOCK,		/* one that is there; not through a link */
	DGI_OPEN_DIR,		/* a directory, for bindat() and connectat() */
	DGI_OPEN_NODE		/* whatever it is, to be changed; -ENOTSUP */
};

struct dgi_os {
	/* Non-blocking and close-on-exec. */
	int (*socket)(const struct dgi_os *, int domain, int type, int proto);
	int (*close)(const struct dgi_os *, int fd);
	int (*bind)(const struct dgi_os *, int fd, const struct sockaddr *,
	    socklen_t);
	int (*connect)(const struct dgi_os *, int fd, const struct sockaddr *,
	    socklen_t);
	int (*getsockname)(const struct dgi_os *, int fd, struct sockaddr *,
	    socklen_t *);
	int (*getpeername)(const struct dgi_os *, int fd, struct sockaddr *,
	    socklen_t *);
	int (*getsockopt)(const struct dgi_os *, int fd, int level, int name,
	    void *, socklen_t *);
	int (*setsockopt)(const struct dgi_os *, int fd, int level, int name,
	    const void *, socklen_t);

	/*
	 * MSG_DONTWAIT is added to the flags of all of these.  Descriptors that
	 * are received are close-on-exec.
	 */
	ssize_t (*recvfrom)(const struct dgi_os *, int fd, void *, size_t,
	    int flags, struct sockaddr *, socklen_t *);
	ssize_t (*recvmsg)(const struct dgi_os *, int fd, struct msghdr *,
	    int flags);
	ssize_t (*sendto)(const struct dgi_os *, int fd, const void *, size_t,
	    const struct sockaddr *, socklen_t);
	ssize_t (*sendmsg)(const struct dgi_os *, int fd,
	    const struct msghdr *);
	/* -ENOSYS where they do not exist; mmsg.h has what serves then. */
	int (*recvmmsg)(const struct dgi_os *, int fd, struct dgi_mmsg *,
	    unsigned n, int flags);
	int (*sendmmsg)(const struct dgi_os *, int fd, struct dgi_mmsg *,
	    unsigned n);

	/* CLOCK_MONOTONIC in ns. */
	uint64_t (*now)(const struct dgi_os *);

	/* 0 if there is no such interface. */
	unsigned (*if_nametoindex)(const struct dgi_os *, const char *name);

	/*
	 * What fn returned last, or 0.  NULL: dgi_os_interfaces(), so that a
	 * program without multicast is not linked with getifaddrs(3).
	 */
	int (*interfaces)(const struct dgi_os *, dgi_interface_fn *, void *arg);

	/* Paths of AF_UNIX sockets. */
	int (*lstat)(const struct dgi_os *, const char *path, struct stat *);
	int (*unlink)(const struct dgi_os *, const char *path);

	/*
	 * Called by way of DGI_FILE(), for they may be NULL: then those of
	 * file.c are meant, which a program that needs none of them is not
	 * linked with.
	 */
	int (*dup)(const struct dgi_os *, int fd);	/* close-on-exec */
	int (*open)(const struct dgi_os *, const char *path, enum dgi_open);
	int (*fstat)(const struct dgi_os *, int fd, struct stat *);
	/* flock(2), alone; -EAGAIN: somebody else has it. */
	int (*lock)(const struct dgi_os *, int fd);
	/* fchmod(2): of a socket, on Linux, for the file that its bind makes. */
	int (*fchmod)(const struct dgi_os *, int fd, mode_t);
	/* Of what DGI_OPEN_NODE opened; -ENOTSUP. */
	int (*set_owner)(const struct dgi_os *, int fd, uid_t, gid_t);
	int (*set_mode)(const struct dgi_os *, int fd, mode_t);
	/* What umask(2) takes away, without setting it; -ENOTSUP. */
	int (*get_umask)(const struct dgi_os *, mode_t *);
	/* `base` in the directory `dir`; -ENAMETOOLONG: also, not here. */
	int (*bindat)(const struct dgi_os *, int dir, int fd, const char *base);
	int (*connectat)(const struct dgi_os *, int dir, int fd,
	    const char *base);

	/*
	 * What wakes a wait: fd[0] becomes readable by event_signal on fd[1],
	 * which any thread and a signal handler may call, and stays so until
	 * event_clear.  The two may be one descriptor.
	 */
	int (*event_open)(const struct dgi_os *, int fd[2]);
	int (*event_signal)(const struct dgi_os *, int fd);
	void (*event_clear)(const struct dgi_os *, int fd);
};

/* The real ones. */
extern const struct dgi_os	dgi_os_real;
int	dgi_os_interfaces(const struct dgi_os *, dgi_interface_fn *, void *arg);

/* ---- file.c ---- */

/*
 * Of the thread: /proc/self is the first thread, which may have ended, or have
 * other descriptors and another umask(2).
 */
#define DGI_PROC	"/proc/thread-self/"
#define DGI_PROC_FD	DGI_PROC "fd/"

#define DGI_FILE(os, name)						\
	((os)->name != NULL ? (os)->name : dgi_file_##name)

int	dgi_file_lstat(const struct dgi_os *, const char *path, struct stat *);
int	dgi_file_unlink(const struct dgi_os *, const char *path);
int	dgi_file_dup(const struct dgi_os *, int fd);
int	dgi_file_open(const struct dgi_os *, const char *path, enum dgi_open);
int	dgi_file_fstat(const struct dgi_os *, int fd, struct stat *);
int	dgi_file_lock(const struct dgi_os *, int fd);
int	dgi_file_fchmod(const struct dgi_os *, int fd, mode_t);
int	dgi_file_set_owner(const struct dgi_os *, int fd, uid_t, gid_t);
int	dgi_file_set_mode(const struct dgi_os *, int fd, mode_t);
int	dgi_file_get_umask(const struct dgi_os *, mode_t *);
int	dgi_file_bindat(const struct dgi_os *, int dir, int fd, const char *base);
int	dgi_file_connectat(const struct dgi_os *, int dir, int fd,
	    const char *base);

#endif
