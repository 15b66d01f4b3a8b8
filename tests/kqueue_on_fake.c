/* SPDX-License-Identifier: ISC */

/*
 * The kqueue backend over the fake, where the system has none.  It takes the
 * place of the empty one in the library; a system with kqueue(2) has its own, and
 * nothing is here.
 */

#include "core/plat.h"

#if !DGI_HAVE_KQUEUE && DGI_OS_LINUX
#include <unistd.h>

#include "fake_kqueue.h"

#undef DGI_HAVE_KQUEUE
#define DGI_HAVE_KQUEUE	1
#define close(fd)	fake_kqueue_close(fd)
#include "poll/kqueue.c"
#else
/* ISO C wants something to be here. */
extern int	dgt_no_fake_kqueue;
#endif
