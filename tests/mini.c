/* SPDX-License-Identifier: ISC */

/*
 * The small runner; mini.h says what it does.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/wait.h>

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mini.h"

#define FAILED	1
#define SKIPPED	77

static struct mini_test *first, **last = &first;
static const struct mini_test *current;
static volatile sig_atomic_t failed;	/* in a test: an expectation */
static volatile sig_atomic_t child, timed_out;
static int report_fd;			/* in a test: stdout of the runner */
static int in_process;			/* the test is no process of its own */
static pthread_t runner;
static jmp_buf end_of_test;
static int ended;			/* and how */

void
mini_add(struct mini_test *t)
{
	*last = t;
	last = &t->next;
}

void
mini_report(const char *file, int line, const char *what, const char *format,
    ...)
{
	va_list ap;

	failed = 1;
	fprintf(stderr, "%s:%d: %s", file, line,
	    format[0] != '\0' ? "" : what);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* Out of the test.  Another thread cannot go there: that ends it all. */
static _Noreturn void
leave(int status)
{
	if (in_process && pthread_equal(pthread_self(), runner)) {
		ended = status;
		longjmp(end_of_test, 1);
	}
	exit(status);
}

void
mini_fail(void)
{
	leave(FAILED);
}

void
mini_skip(const char *format, ...)
{
	char reason[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(reason, sizeof(reason), format, ap);
	va_end(ap);
	if (failed)
		leave(FAILED);
	dprintf(report_fd, "    SKIP %s::%s: %s\n", current->suite,
	    current->name, reason);
	leave(SKIPPED);
}

/* Too long, or the end of it all: processes the test has started go too. */
static void
on_signal(int sig)
{
	if (child > 0)
		kill(-(pid_t)child, SIGKILL);
	if (sig != SIGALRM || in_process)
		_exit(FAILED);
	timed_out = 1;
}

static const int signals[] = { SIGALRM, SIGHUP, SIGINT, SIGTERM };

static void
set_signals(void (*handler)(int))
{
	struct sigaction sa = { .sa_handler = handler };
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
}

/* DGT_SLOW in the environment: so much longer may a test take. */
static unsigned
slowness(void)
{
	const char *s = getenv("DGT_SLOW");

	return s != NULL && atoi(s) > 0 ? (unsigned)atoi(s) : 1;
}

/* Where fork(2) fails: in this process; 0 or how it ended. */
static int
run_here(void)
{
	fflush(NULL);
	runner = pthread_self();
	report_fd = STDOUT_FILENO;
	failed = 0;
	alarm(current->timeout * slowness());
	if (setjmp(end_of_test) == 0) {
		current->run();
		ended = failed ? FAILED : 0;
	}
	alarm(0);
	if (ended == FAILED)
		printf("    FAIL %s::%s\n", current->suite, current->name);
	return ended;
}

/* The test's wait status; what it prints goes to `out`. */
static int
run_test(FILE *out)
{
	int status;
	pid_t pid;

	fflush(NULL);
	timed_out = 0;
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		set_signals(SIG_DFL);
		report_fd = dup(STDOUT_FILENO);
		dup2(fileno(out), STDOUT_FILENO);
		dup2(fileno(out), STDERR_FILENO);
		setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
		current->run();
		/* Not _exit: a sanitizer's last word comes at exit. */
		exit(failed ? FAILED : 0);
	}
	if (pid < 0)
		return -1;
	setpgid(pid, pid);
	child = (sig_atomic_t)pid;
	alarm(current->timeout * slowness());
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	alarm(0);
	child = 0;
	kill(-pid, SIGKILL);
	return status;
}

/* How a test failed, and what it has printed. */
static void
print_failure(int status, FILE *out)
{
	char line[1024];

	printf("    FAIL %s::%s\n", current->suite, current->name);
	if (timed_out)
		printf("      no end after %u seconds\n",
		    current->timeout * slowness());
	else if (WIFSIGNALED(status))
		printf("      signal %d\n", WTERMSIG(status));
	else if (WEXITSTATUS(status) != FAILED)
		printf("      status %d\n", WEXITSTATUS(status));
	rewind(out);
	while (fgets(line, sizeof(line), out) != NULL)
		printf("      %s%s", line,
		    strchr(line, '\n') != NULL ? "" : "\n");
}

/* What a test that did not fail has to say. */
static void
print_notes(FILE *out)
{
	char line[1024];

	rewind(out);
	while (fgets(line, sizeof(line), out) != NULL) {
		if (strncmp(line, "NOTE ", 5) == 0)
			printf("    %s", line);
	}
}

static int
is_wanted(const struct mini_test *t, int argc, char **argv)
{
	int i, asked = 0, wanted = 0;
	char name[256];

	snprintf(name, sizeof(name), "%s::%s", t->suite, t->name);
	for (i = 1; i < argc; i++) {
		if (argv[i][0] == '!') {
			if (fnmatch(argv[i] + 1, name, 0) == 0)
				return 0;
			continue;
		}
		asked = 1;
		wanted |= fnmatch(argv[i], name, 0) == 0;
	}
	return wanted || !asked;
}

/* Some kernels that are a library, or alone with one program, cannot. */
static int
can_fork(void)
{
	pid_t pid;

	if (getenv("DGT_NO_FORK") != NULL)
		return 0;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(0);
	return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

int
main(int argc, char **argv)
{
	int n[3] = { 0, 0, 0 }, list, status, end;
	FILE *out;

	list = argc > 1 && strcmp(argv[1], "--list") == 0;
	in_process = !list && !can_fork();
	set_signals(on_signal);
	for (current = first; current != NULL; current = current->next) {
		if (list) {
			printf("%s::%s\n", current->suite, current->name);
			continue;
		}
		if (!is_wanted(current, argc, argv))
			continue;
		if (in_process) {
			status = SKIPPED;
			if (n[0] + n[1] == 0)
				status = run_here();
			else
				printf("    SKIP %s::%s: one test a run "
				    "without fork(2)\n", current->suite,
				    current->name);
			n[status == 0 ? 0 : status == SKIPPED ? 2 : 1]++;
			continue;
		}
		if ((out = tmpfile()) == NULL) {
			perror("tmpfile");
			return FAILED;
		}
		status = run_test(out);
		if (status < 0) {
			perror("fork");
			return FAILED;
		}
		end = !WIFEXITED(status) ? 1 : WEXITSTATUS(status) == 0 ? 0 :
		    WEXITSTATUS(status) == SKIPPED ? 2 : 1;
		n[end]++;
		if (end == 1)
			print_failure(status, out);
		else
			print_notes(out);
		fclose(out);
	}
	if (list)
		return 0;
	printf("%d passed, %d failed, %d skipped\n", n[0], n[1], n[2]);
	return n[1] > 0 || n[0] == 0;
}
