/* SPDX-License-Identifier: ISC */

/*
 * Waiting: the interface of a backend.
 *
 * A backend watches descriptors, level-triggered.  It keeps no pointers of its
 * user and never calls back: wait() fills an array, the loop dispatches.  What
 * it gives back is the slot and generation it was told, so that a report for
 * something that was freed meanwhile is recognised and dropped.
 */

#ifndef DGI_POLLER_H
#define DGI_POLLER_H

#include "core/plat.h"

#include <stdint.h>

#include "dgram.h"
#include "core/mem.h"

/*
 * Bits of interest, beside DGRAM_READABLE and DGRAM_WRITABLE.  DGI_ERROR as
 * interest: keep the descriptor registered for its errors alone; as a report:
 * an error is pending.  The others are only reported: DGI_HANGUP, both directions
 * are shut down; DGI_READ_END, nothing more will come (with readability).
 */
#define DGI_ERROR	0x4u
#define DGI_HANGUP	0x8u
#define DGI_READ_END	0x10u

/* Most reports that the loop asks for at once. */
#define DGI_REPORTS	256

struct dgi_interest {
	int fd;
	uint32_t slot, gen;
};

struct dgi_report {
	uint32_t slot, gen;
	unsigned events;
};

struct dgi_poller {
	const struct dgi_poller_ops *ops;
	struct dgi_mem *mem;	/* the loop's, set before open() */
	int fd;			/* kernel object, or -1 */
	void *priv;		/* table of the backend */
};

struct dgi_poller_ops {
	const char *name;

	/*
	 * Makes the kernel object in p->fd and any table in p->priv.  NULL:
	 * this backend does not exist on this system.
	 */
	int (*open)(struct dgi_poller *p);

	/* Releases what open() made.  Registered descriptors stay open. */
	void (*close)(struct dgi_poller *p);

	/*
	 * The same in a child process, which shares the kernel object with its
	 * parent, or (kqueue) has none: without a call that the parent would
	 * notice.
	 */
	void (*forget)(struct dgi_poller *p);

	/*
	 * Makes the interest in a descriptor equal to `want`; `have` is what
	 * the previous call set, 0 at first.  want == 0 forgets the descriptor
	 * and cannot fail; called before it is closed.  -EEXIST, -EPERM (a
	 * file that is always ready), -EBADF, -ENOMEM; what was set stays then.
	 */
	int (*set)(struct dgi_poller *p, const struct dgi_interest *,
	    unsigned have, unsigned want);

	/*
	 * Waits at most timeout_ns (< 0: without end) for at least one event;
	 * stores at most `max` reports, one per descriptor, and returns their
	 * number.  EINTR is 0 events.  Timeouts are rounded up: never early.
	 */
	int (*wait)(struct dgi_poller *p, int64_t timeout_ns,
	    struct dgi_report *, int max);
};

extern const struct dgi_poller_ops	dgi_epoll_ops;
extern const struct dgi_poller_ops	dgi_kqueue_ops;
extern const struct dgi_poller_ops	dgi_poll_ops;

/*
 * Opens the backend of a name, or, with NULL, the best that works.  -ENOTSUP: no
 * such backend here.
 */
int	dgi_poller_open(struct dgi_poller *, struct dgi_mem *,
	    const char *name);

/*
 * For backends.  What epoll(7) would say of a descriptor, so that they do not
 * differ: 0, -EBADF, or -EPERM for a file that is always ready.
 */
int	dgi_poller_check_fd(int fd);

/*
 * A table by descriptor, of *n zeroed elements of `size` bytes, with one for
 * `fd`: itself, or a larger copy, or NULL if there is no memory for that.
 */
void	*dgi_poller_room(struct dgi_mem *, void *table, size_t *n, size_t size,
	    int fd);

/* ns to ms, up; -1 stays; what exceeds an int is the largest int. */
int	dgi_poller_ms(int64_t timeout_ns);

#endif
