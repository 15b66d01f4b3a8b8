/* SPDX-License-Identifier: ISC */

/*
 * Tests with several processes.  A failed assertion in a child would hang the
 * run: a child ends with _exit(), CHILD() with the line that was wrong, and the
 * parent asserts on its status.
 */

#ifndef DGT_CHILDREN_H
#define DGT_CHILDREN_H

#include "sockets.h"

#include <sys/wait.h>

#include <signal.h>

#define WORKERS		4

#define CHILD(cond) do {						\
	if (!(cond)) {							\
		fprintf(stderr, "child, line %d: %s\n", __LINE__, #cond); \
		_exit(1);						\
	}								\
} while (0)

/* Turns until it holds; in a child, where RUN_UNTIL() may not fail. */
#define CHILD_UNTIL(l, cond) do {					\
	int64_t end_ = clock_ms() + 5000;				\
	while (!(cond)) {						\
		CHILD(clock_ms() < end_);				\
		CHILD(dgram_loop_run_once(l, 10) >= 0);			\
	}								\
} while (0)

/* An end of a pair of stream sockets each: what they tell each other. */
static struct worker {
	pid_t pid;
	int fd;
} workers[WORKERS];
static int nworkers;
static int to_parent;			/* in a child */

static inline void
tell(int whom, const void *data, size_t size)
{
	MUST(write(whom, data, size) == (ssize_t)size, "%s", strerror(errno));
}

/* False: the other is gone, or silent for too long. */
static inline bool
hears_from(int from, void *data, size_t size)
{
	struct pollfd w = { .fd = from, .events = POLLIN };

	return poll(&w, 1, 5000) == 1 &&
	    read(from, data, size) == (ssize_t)size;
}

/* The next byte that is told in there. */
static inline char
next_word(int from)
{
	char c = '\0';

	return hears_from(from, &c, 1) ? c : '\0';
}

/* What the child tells, or that it is gone. */
#define WORKER_SAYS(i, word)						\
	MUST(next_word(workers[i].fd) == (word), "no %c from child %d",	\
	    word, i)

static inline void
start_worker(void (*fn)(void))
{
	struct worker *w = &workers[nworkers];
	int pair[2], i;

	cr_assert(nworkers < WORKERS);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fflush(NULL);
	w->pid = test_fork();
	cr_assert(w->pid >= 0);
	if (w->pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		close(pair[0]);
		for (i = 0; i < nworkers; i++)
			close(workers[i].fd);
		to_parent = pair[1];
		fn();
		_exit(0);
	}
	close(pair[1]);
	w->fd = pair[0];
	nworkers++;
}

/* All of them have ended, and well. */
static inline void
join_workers(void)
{
	int status;

	while (nworkers > 0) {
		close(workers[--nworkers].fd);
		cr_assert_eq(waitpid(workers[nworkers].pid, &status, 0),
		    workers[nworkers].pid);
		cr_assert_eq(status, 0, "child %d failed: status %#x", nworkers,
		    (unsigned)status);
	}
}

static inline void
tell_workers(char word)
{
	int i;

	for (i = 0; i < nworkers; i++)
		tell(workers[i].fd, &word, 1);
}

#endif
