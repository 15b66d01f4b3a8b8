/* SPDX-License-Identifier: ISC */

/*
 * The small runner in place of Criterion, with -DDGT_MINI: the part of its
 * interface that test.h names, for where Criterion cannot go (ThreadSanitizer,
 * musl, other processors, other systems).  Knows C11 and POSIX only.
 *
 *	test_x [--list] [pattern...]	patterns of fnmatch(3) for suite::name,
 *					!pattern: but not these
 *
 * Lines that a test prints are shown if it fails, or if they begin with NOTE.
 * One process for each test, one test after the other.  Where fork(2) does not
 * work, or with DGT_NO_FORK in the environment, the first test that is wanted runs
 * in the process itself, and the others are skipped: tests begin with variables
 * that nobody has touched.  How a test ended is its exit status, so that what a
 * sanitizer finds at the end counts.
 */

#ifndef DGT_MINI_H
#define DGT_MINI_H

struct mini_test {
	const char *suite, *name;
	void (*run)(void);
	struct mini_test *next;
	unsigned timeout;		/* seconds */
};

void	mini_add(struct mini_test *);
/* Says what did not hold, or the message if there is one; the test has failed, even if it goes on. */
void	mini_report(const char *file, int line, const char *what,
	    const char *format, ...);
_Noreturn void	mini_fail(void);
_Noreturn void	mini_skip(const char *format, ...);

#define Test(suite_, name_, ...)					\
	static void suite_##_##name_##_test(void);			\
	static struct mini_test suite_##_##name_##_entry = {		\
		.suite = #suite_, .name = #name_,			\
		.run = suite_##_##name_##_test, __VA_ARGS__ };		\
	__attribute__((constructor)) static void			\
	suite_##_##name_##_add(void)					\
	{								\
		mini_add(&suite_##_##name_##_entry);			\
	}								\
	static void suite_##_##name_##_test(void)

/* The empty string at the end is the message where there is none. */
#define MINI_CHECK(end, what, cond, ...) do {				\
	if (!(cond)) {							\
		mini_report(__FILE__, __LINE__, what, __VA_ARGS__);	\
		end;							\
	}								\
} while (0)
#define MINI_EQUAL(what, a, b, ...)					\
	MINI_CHECK(mini_fail(), what, (a) == (b), __VA_ARGS__)

#define cr_assert(...)	\
	MINI_CHECK(mini_fail(), #__VA_ARGS__, __VA_ARGS__, "")
#define cr_assert_eq(...)	MINI_EQUAL(#__VA_ARGS__, __VA_ARGS__, "")
#define cr_expect(...)	MINI_CHECK((void)0, #__VA_ARGS__, __VA_ARGS__, "")
#define cr_skip_test(...)	mini_skip(__VA_ARGS__)

#endif
