/* SPDX-License-Identifier: ISC */

/*
 * notify_server: the supervisor's side of sd_notify(3).
 *
 *	notify_server /path | @name [command argument ...]
 *
 * Prints each assignment with who sent it, as the kernel says.  The command is
 * run with NOTIFY_SOCKET in its environment, and this program ends with it and
 * with its status; SIGTERM is passed on to it.  Without a command SIGTERM and
 * SIGINT end it.
 *
 * Anybody may write to an abstract name, and to a path whose mode permits it:
 * only what comes from this user or root is listened to.
 *
 * A descriptor that comes with BARRIER=1 is closed when all that came before it
 * has been handled, which is what the sender waits for, sd_notify_barrier(3).
 * There is no store for those of FDSTORE=1: they are closed, too.
 */

#include <sys/wait.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dgram.h"

static struct dgram_loop *loop;
static volatile sig_atomic_t terminate;

static void
on_signal(int sig)
{
	if (sig != SIGCHLD)
		terminate = 1;
	dgram_loop_stop(loop);
}

/* ---- what comes ---- */

/* Bytes of others never reach a terminal as they are. */
static void
print_line(const struct dgram_message *m, const char *p, size_t size)
{
	size_t i;

	printf("pid %ld uid %lu gid %lu: ", (long)m->pid,
	    (unsigned long)m->uid, (unsigned long)m->gid);
	for (i = 0; i < size; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c < 0x20 || c >= 0x7f || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
	putchar('\n');
}

/* The length of the line at p; the text ends at `end`, and has no NUL. */
static size_t
line_len(const char *p, const char *end)
{
	const char *nl = memchr(p, '\n', (size_t)(end - p));

	return (size_t)((nl != NULL ? nl : end) - p);
}

static bool
is_line(const char *p, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(p, text, len) == 0;
}

/* NULL: all of it is to be heeded; else why it is not. */
static const char *
refuse(const struct dgram_message *m)
{
	const char *p = m->data, *end = p + m->size;
	size_t len;

	if ((m->flags & DGRAM_CREDS) == 0)
		return "sender unknown";
	if (m->uid != 0 && m->uid != geteuid())
		return "of another user";
	/* The last assignment would be another one. */
	if ((m->flags & DGRAM_TRUNCATED) != 0)
		return "too long";
	/* Alone, and with exactly one descriptor. */
	for (; p < end; p += len + 1) {
		len = line_len(p, end);
		if (is_line(p, len, "BARRIER=1") &&
		    (len != m->size || m->nfds != 1))
			return "not a barrier";
		if (len == (size_t)(end - p))
			break;
	}
	return NULL;
}

static void
handle(const struct dgram_message *m)
{
	const char *p = m->data, *end = p + m->size;
	const char *why = refuse(m);
	size_t len, i;

	for (; p < end && why == NULL; p += len + 1) {
		len = line_len(p, end);
		if (len > 0)
			print_line(m, p, len);
		if (len == (size_t)(end - p))
			break;
	}
	if (why != NULL)
		printf("pid %ld: ignored, %s\n", (long)m->pid, why);
	if (m->nfds > 0)
		printf("pid %ld: %zu descriptors closed\n", (long)m->pid,
		    m->nfds);
	(void)fflush(stdout);
	/* They are ours, whatever came of the datagram; a barrier ends here. */
	for (i = 0; i < m->nfds; i++)
		(void)close(m->fds[i]);
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t i;

	(void)s, (void)arg;
	for (i = 0; i < n; i++)
		handle(&m[i]);
}

static void
on_error(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	char text[640];

	(void)s, (void)arg;
	if (dgram_error_format(e, text, sizeof(text)) > 0)
		fprintf(stderr, "notify_server: %s\n", text);
}

/* ---- the command ---- */

static pid_t
start(const char *where, char **argv)
{
	pid_t pid = fork();

	if (pid < 0)
		perror("notify_server: fork");
	if (pid != 0)
		return pid;
	/* Of the loop nothing is used here; exec closes what it has open. */
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGINT, SIG_DFL);
	if (setenv("NOTIFY_SOCKET", where, 1) == 0)
		(void)execvp(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

/* Something has come that was not read yet. */
static bool
has_more(const struct dgram_socket *s)
{
	struct pollfd p = { .fd = dgram_fileno(s), .events = POLLIN };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLIN) != 0;
}

/* Until the command has ended, or a signal came; the status to end with. */
static int
run(struct dgram_socket *s, pid_t pid)
{
	int status, r;

	for (;;) {
		r = dgram_loop_run(loop);
		if (r <= 0 || pid == 0)
			return r < 0;
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		if (terminate)
			(void)kill(pid, SIGTERM);
		terminate = 0;
	}
	/* What it has said before its end is still to be read. */
	while (r >= 0 && has_more(s))
		r = dgram_loop_run_once(loop, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 +
	    WTERMSIG(status);
}

static int
listen_at(const char *where, struct dgram_socket **s)
{
	static const struct dgram_events events = {
		.message = on_message,
		.error = on_error,
	};
	/* systemd takes as many bytes, and as many descriptors as can be. */
	const struct dgram_options options = { .type = DGRAM_UNIX,
	    .max_datagram = 4096, .want = DGRAM_CREDS | DGRAM_FDS,
	    .max_fds = DGRAM_FDS_MOST, .events = &events };
	struct dgram_addr a;
	int r;

	r = dgram_open(loop, &options, s);
	if (r == 0 && where[0] == '/')
		return dgram_bind_path(*s, where, DGRAM_UNLINK_STALE);
	if (r == 0)
		r = dgram_addr_abstract(&a, where + 1, strlen(where + 1));
	return r < 0 ? r : dgram_bind_addr(*s, &a);
}

int
main(int argc, char **argv)
{
	struct dgram_socket *s;
	pid_t pid = 0;
	int r, status = 1;

	/* A relative path would be another one in the command's directory. */
	if (argc < 2 || (argv[1][0] != '/' && argv[1][0] != '@')) {
		fprintf(stderr, "usage: notify_server /path | @name "
		    "[command argument ...]\n");
		return 2;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		(void)signal(SIGTERM, on_signal);
		(void)signal(SIGINT, on_signal);
		(void)signal(SIGCHLD, on_signal);
		r = listen_at(argv[1], &s);
		if (r == 0) {
			printf("listening on %s\n", argv[1]);
			(void)fflush(stdout);
			if (argc > 2)
				pid = start(argv[1], argv + 2);
			if (pid >= 0)
				status = run(s, pid);
		}
		/* The handler would find no loop. */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		(void)signal(SIGCHLD, SIG_DFL);
		/* Closes the socket, which removes the path. */
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "notify_server: %s: %s\n", argv[1],
		    dgram_strerror(r));
	return status;
}
