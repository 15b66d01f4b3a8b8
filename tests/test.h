/* SPDX-License-Identifier: ISC */

/*
 * What every test program includes: TEST(), BACKEND_TEST() and a few helpers.
 *
 * Of the test library only Test(suite, name, .timeout =), cr_assert,
 * cr_assert_eq, cr_expect and cr_skip_test are used, so that the small runner of
 * mini.h can stand in for Criterion.
 *
 * A cr_assert that fails in a FORKED child hangs the run: a child must leave
 * with _exit() and the parent asserts on what waitpid(2) tells.
 */

#ifndef DGT_TEST_H
#define DGT_TEST_H

#include "core/plat.h"

#ifdef DGT_MINI
#include "mini.h"
#else
#include <criterion/criterion.h>
#endif

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>

#include "dgram.h"

/* Seconds that one test may take. */
#define TEST_LIMIT	10

/*
 * A test with a time limit that fails if it leaks descriptors.  The check is in
 * the body: a failure in a .fini function would not count.
 *
 *	TEST(suite, name)
 *	{
 *		cr_assert_eq(1 + 1, 2);
 *	}
 */
#define TEST(suite, name)						\
	static void suite##_##name##_body(void);			\
	Test(suite, name, .timeout = TEST_LIMIT)			\
	{								\
		int before_ = test_count_fds();				\
		suite##_##name##_body();				\
		test_clean();						\
		cr_assert_eq(test_count_fds(), before_,			\
		    "descriptor leak");					\
	}								\
	static void suite##_##name##_body(void)

#define TEST_ON_BACKEND(suite, name, backend_)				\
	Test(suite, name##_##backend_, .timeout = TEST_LIMIT)		\
	{								\
		int before_;						\
									\
		if (!test_backend_exists(#backend_))			\
			cr_skip_test("no " #backend_ " on this system");	\
		before_ = test_count_fds();				\
		suite##_##name##_body(#backend_);			\
		test_clean();						\
		cr_assert_eq(test_count_fds(), before_,			\
		    "descriptor leak");					\
	}

/*
 * The same, once per backend, as suite::name_epoll and so on; skipped where the
 * backend does not exist.  The body has `const char *backend`.  A test that does
 * not use it says (void)backend.
 */
#define BACKEND_TEST(suite, name)					\
	static void suite##_##name##_body(const char *backend);		\
	TEST_ON_BACKEND(suite, name, epoll)				\
	TEST_ON_BACKEND(suite, name, kqueue)				\
	TEST_ON_BACKEND(suite, name, poll)				\
	static void suite##_##name##_body(const char *backend)

/* False if dgram_loop_new() says -ENOTSUP to the name. */
bool	test_backend_exists(const char *backend);

/* A loop on that backend; the test fails if there is none. */
struct dgram_loop	*test_loop(const char *backend);

/*
 * Turns the loop until cond() holds or `ms` have passed; what cond() says then.
 * Also waits when nothing is left on the loop: another thread may still post.
 */
bool	test_run_until(struct dgram_loop *, bool (*cond)(void *), void *arg,
	    int ms);

/*
 * The kernel has recvmmsg, sendmmsg or epoll_create1: an old one may not, nor one
 * under a filter (enosys.c).  Asks the kernel, not the library.
 */
bool	test_has(const char *call);

/*
 * The program runs under user-mode emulation of another processor, which does
 * not pass all there is to the kernel; DGT_EMULATED in the environment says so.
 */
bool	test_emulated(void);

/* fork(2), or the test is skipped: there are kernels without. */
pid_t test_fork(void);

/* Open descriptors below 1024. */
int	test_count_fds(void);

/* Threads of this process, or 0: not told here. */
unsigned	test_count_threads(void);

/*
 * Name of a fresh directory, short enough for a socket path of 40 bytes in it.
 * It and all in it go when the test ends.
 */
const char	*test_tmpdir(void);

/* Closes the descriptor when the test ends. */
void	test_keep(int fd);

/* Removes the directories, closes what was kept; TEST() calls it. */
void	test_clean(void);

#endif
