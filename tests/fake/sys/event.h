/* SPDX-License-Identifier: ISC */

/*
 * <sys/event.h> for a system without kqueue(2); fake_kqueue.c is behind it.
 *
 * Where systems differ this is as on NetBSD 10: filters are unsigned, from 0,
 * and wider than a short, so that no code can keep one in a short or take 0 for
 * "none".  The values of flags differ from those of any system where no program
 * may depend on them.
 */

#ifndef DGT_FAKE_EVENT_H
#define DGT_FAKE_EVENT_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define EVFILT_READ	0U
#define EVFILT_WRITE	1U
#define EVFILT_TIMER	6U
#define EVFILT_USER	8U

struct kevent {
	uintptr_t ident;
	uint32_t filter;
	uint32_t flags;
	uint32_t fflags;
	int64_t data;
	void *udata;
};

#define EV_SET(kevp, ident_, filter_, flags_, fflags_, data_, udata_) do { \
	struct kevent *kevp_ = (kevp);					\
									\
	kevp_->ident = (ident_);					\
	kevp_->filter = (filter_);					\
	kevp_->flags = (flags_);					\
	kevp_->fflags = (fflags_);					\
	kevp_->data = (data_);						\
	kevp_->udata = (udata_);					\
} while (0)

#define EV_ADD		0x0001U
#define EV_DELETE	0x0002U
#define EV_ENABLE	0x0004U
#define EV_DISABLE	0x0008U
#define EV_ONESHOT	0x0010U
#define EV_CLEAR	0x0020U
#define EV_RECEIPT	0x0040U
#define EV_DISPATCH	0x0080U
#define EV_ERROR	0x4000U		/* data is the errno */
#define EV_EOF		0x8000U

/* EVFILT_READ of a socket: data is how many bytes make an event. */
#define NOTE_LOWAT	0x00000001U
/* EVFILT_TIMER. */
#define NOTE_USECONDS	0x00000002U
/* EVFILT_USER. */
#define NOTE_TRIGGER	0x01000000U

int	kqueue(void);
int	kevent(int kq, const struct kevent *changes, size_t nchanges,
	    struct kevent *events, size_t nevents,
	    const struct timespec *timeout);

#endif
