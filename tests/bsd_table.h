/* SPDX-License-Identifier: ISC */

/*
 * The entries of bsd_os.c, for who makes a table of them.
 */

#ifndef DGT_BSD_TABLE_H
#define DGT_BSD_TABLE_H

#include "core/os.h"

int	bsd_socket(const struct dgi_os *, int domain, int type, int proto);
int	bsd_connect(const struct dgi_os *, int fd, const struct sockaddr *,
	    socklen_t);
int	bsd_getsockname(const struct dgi_os *, int fd, struct sockaddr *,
	    socklen_t *);
int	bsd_getsockopt(const struct dgi_os *, int fd, int level, int name,
	    void *, socklen_t *);
int	bsd_setsockopt(const struct dgi_os *, int fd, int level, int name,
	    const void *, socklen_t);
ssize_t	bsd_recvfrom(const struct dgi_os *, int fd, void *, size_t, int flags,
	    struct sockaddr *, socklen_t *);
ssize_t	bsd_recvmsg(const struct dgi_os *, int fd, struct msghdr *, int flags);
ssize_t	bsd_sendto(const struct dgi_os *, int fd, const void *, size_t,
	    const struct sockaddr *, socklen_t);
ssize_t	bsd_sendmsg(const struct dgi_os *, int fd, const struct msghdr *);
int	bsd_recvmmsg(const struct dgi_os *, int fd, struct dgi_mmsg *,
	    unsigned n, int flags);
int	bsd_fchmod(const struct dgi_os *, int fd, mode_t);
int	bsd_sendmmsg(const struct dgi_os *, int fd, struct dgi_mmsg *,
	    unsigned n);

#endif
