/* SPDX-License-Identifier: ISC */

/*
 * How a system call becomes a value, for the files that make them.
 */

#ifndef DGI_CALL_H
#define DGI_CALL_H

#include "core/plat.h"

#include <errno.h>

/* err.c: -errno of now, and errno is again what it was before the call. */
int	dgi_call_failure(int saved_errno);

/*
 * The value of `call` into r, or -errno; again after EINTR.  errno is put back:
 * a library that a signal handler may enter must not disturb it.
 */
#define CALL(r, call) do {						\
	int saved_errno = errno;					\
	do {								\
		r = (call);						\
	} while (r < 0 &&						\
	    (r = dgi_call_failure(saved_errno)) == -EINTR);		\
} while (0)

#endif
