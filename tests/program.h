/* SPDX-License-Identifier: ISC */

/*
 * A program as a child of a test: what it prints, when it and all its children
 * have ended, and with which status.  It goes if the test fails.
 */

#ifndef DGT_PROGRAM_H
#define DGT_PROGRAM_H

#include "sockets.h"

#include <sys/wait.h>

#include <signal.h>

#define PROGRAM_ARGS	12
#define PATIENCE	5000	/* ms */
#define ENDED_WELL(status)	(WIFEXITED(status) && WEXITSTATUS(status) == 0)

struct program {
	pid_t pid;
	int out, alive;		/* at its end when no process has it any more */
	char text[2048];	/* what it has printed */
	size_t n;
};

/* What is to go if a test fails: groups of processes. */
static pid_t started[32];
static size_t nstarted;

/* Called in the child, in front of execvp(3). */
static void (*program_child)(void);

#define HOLDS(cond, ...) do {						\
	if (!(cond)) {							\
		end_all();						\
		cr_assert(false, __VA_ARGS__);				\
	}								\
} while (0)

static inline void
end_all(void)
{
	while (nstarted > 0)
		kill(-started[--nstarted], SIGKILL);
}

static inline void
program_exec(const char *const *argv, int out, int alive)
{
	setpgid(0, 0);
	alarm(TEST_LIMIT);
	if (dup2(out, 1) < 0 || dup2(out, 2) < 0 ||
	    fcntl(alive, F_DUPFD, 20) < 0)
		_exit(126);
	if (program_child != NULL)
		program_child();
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

/* argv[0]: a path, or a name that is looked for in PATH. */
static inline void
program_start(struct program *p, const char *const *argv)
{
	int out[2], alive[2];

	memset(p, 0, sizeof(*p));
	HOLDS(pipe(out) == 0 && pipe(alive) == 0, "%s", strerror(errno));
	/* So that a program has them as its output only. */
	fcntl(out[0], F_SETFD, FD_CLOEXEC);
	fcntl(alive[0], F_SETFD, FD_CLOEXEC);
	p->pid = test_fork();
	if (p->pid == 0)
		program_exec(argv, out[1], alive[1]);
	/* Whichever of the two comes first. */
	setpgid(p->pid, p->pid);
	started[nstarted++] = p->pid;
	close(out[1]);
	close(alive[1]);
	p->out = out[0];
	p->alive = alive[0];
}

#define PROGRAM(p, ...)							\
	program_start(p, (const char *const[]){ __VA_ARGS__, NULL })

static inline bool
readable(int fd, int64_t end)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int64_t left = end - clock_ms();

	return poll(&pfd, 1, left > 0 ? (int)left : 0) == 1;
}

/* Reads on; `what` is what is missed if nothing comes. */
static inline void
read_more(struct program *p, const char *what, int64_t end)
{
	ssize_t r;

	HOLDS(p->n < sizeof(p->text) - 1 && readable(p->out, end),
	    "not \"%s\" but: %s", what, p->text);
	r = read(p->out, p->text + p->n, sizeof(p->text) - 1 - p->n);
	HOLDS(r > 0, "not \"%s\" at its end but: %s", what, p->text);
	p->n += (size_t)r;
}

/* Waits until it has printed that; where it stands. */
static inline const char *
says(struct program *p, const char *text)
{
	int64_t end = clock_ms() + PATIENCE;

	while (strstr(p->text, text) == NULL)
		read_more(p, text, end);
	return strstr(p->text, text);
}

/* The number behind that, once its line is there as a whole. */
static inline int
number_after(struct program *p, const char *text)
{
	const char *at = says(p, text) + strlen(text);
	int64_t end = clock_ms() + PATIENCE;

	while (strchr(at, '\n') == NULL)
		read_more(p, "\\n", end);
	return atoi(at);
}

/* Its status when it has ended, and all its children with it. */
static inline int
status_of(struct program *p)
{
	int64_t end = clock_ms() + PATIENCE;
	int status = -1;
	ssize_t r = 1;
	char c;

	HOLDS(readable(p->alive, end) && read(p->alive, &c, 1) == 0,
	    "it does not end: %s", p->text);
	HOLDS(waitpid(p->pid, &status, 0) == p->pid, "waitpid");
	while (r > 0 && p->n < sizeof(p->text) - 1) {
		r = read(p->out, p->text + p->n, sizeof(p->text) - 1 - p->n);
		p->n += r > 0 ? (size_t)r : 0;
	}
	close(p->out);
	close(p->alive);
	return status;
}

static inline void
ends_itself(struct program *p)
{
	int status = status_of(p);

	HOLDS(ENDED_WELL(status), "status %#x: %s", (unsigned)status, p->text);
}

static inline void
ends_on_sigterm(struct program *p)
{
	int64_t end = clock_ms() + PATIENCE;
	int status;

	HOLDS(waitpid(p->pid, &status, WNOHANG) == 0, "it has ended: %s",
	    p->text);
	/* Whoever ends it may say so again while it does. */
	do {
		kill(p->pid, SIGTERM);
	} while (!readable(p->alive, clock_ms() + 1) && clock_ms() < end);
	ends_itself(p);
}

static inline void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	HOLDS(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0, "%s", path);
}

/* Skips the test unless it is there, and says that when it is asked. */
#define NEED(tool, option, words) do {					\
	static struct program probe_;					\
	PROGRAM(&probe_, tool, option);					\
	(void)status_of(&probe_);					\
	if (strstr(probe_.text, words) == NULL)				\
		cr_skip_test("there is no " tool);			\
} while (0)

#endif
