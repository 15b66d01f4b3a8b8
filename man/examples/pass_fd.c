/* SPDX-License-Identifier: ISC */

/*
 * pass_fd: open files, passed from one process to another.
 *
 *	pass_fd file ...
 *
 * A helper opens the files and sends each descriptor with the name of its file
 * over a pair of sockets; the main process prints the first line of each.  So a
 * program that has given up its rights is handed what it may use.
 *
 * The main process trusts nothing that comes: a name is printed escaped, and what
 * is no regular file, on which a read could wait without end, is not read.  It
 * ends with the helper, and with its status.
 */

#include <sys/stat.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dgram.h"

static struct dgram_loop *loop;

static void
on_error(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	char text[640];

	(void)s, (void)arg;
	if (dgram_error_format(e, text, sizeof(text)) > 0)
		fprintf(stderr, "pass_fd: %s\n", text);
}

/* A loop, and a socket on it that is one end of the pair. */
static int
adopt(int fd, unsigned want, const struct dgram_events *events,
    struct dgram_socket **s)
{
	const struct dgram_options options = { .type = DGRAM_UNIX,
	    .want = want, .events = events };
	int r;

	r = dgram_loop_new(NULL, &loop);
	if (r == 0)
		r = dgram_open_fd(loop, &options, fd, s);
	/* What was not taken is still ours. */
	if (r < 0)
		(void)close(fd);
	return r;
}

/* ---- the helper, which sends ---- */

/* What is on its way: borrowed until it is done. */
struct sending {
	char **name;		/* this one; NULL behind the last */
	int fd;
	struct iovec iov;
	struct dgram_datagram datagram;
	int failed;
};

static void	on_sent(struct dgram_socket *, int status, void *arg);

/* The next file that can be opened; none: the socket is closed. */
static void
send_next(struct dgram_socket *s, struct sending *w)
{
	for (; *w->name != NULL; w->name++) {
		/* Not to wait for the writer of a FIFO. */
		w->fd = open(*w->name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (w->fd < 0) {
			perror(*w->name);
			w->failed = 1;
			continue;
		}
		w->iov.iov_base = *w->name;
		w->iov.iov_len = strlen(*w->name);
		memset(&w->datagram, 0, sizeof(w->datagram));
		w->datagram.iov = &w->iov;
		w->datagram.iovcnt = 1;
		w->datagram.fds = &w->fd;
		w->datagram.nfds = 1;
		if (dgram_send_batch(s, &w->datagram, 1, on_sent, w) == 0)
			return;
		(void)close(w->fd);
		w->failed = 1;
	}
	(void)dgram_close(s, NULL, NULL);
}

/* The other process has a descriptor of its own now. */
static void
on_sent(struct dgram_socket *s, int status, void *arg)
{
	struct sending *w = arg;

	if (status < 0 || w->datagram.result < 0) {
		fprintf(stderr, "%s: %s\n", *w->name, dgram_strerror(
		    status < 0 ? status : w->datagram.result));
		w->failed = 1;
	}
	(void)close(w->fd);
	w->name++;
	send_next(s, w);
}

static int
help(int fd, char **names)
{
	static const struct dgram_events events = { .error = on_error };
	static struct sending sending;
	struct dgram_socket *s;
	int r;

	r = adopt(fd, 0, &events, &s);
	if (r == 0) {
		sending.name = names;
		send_next(s, &sending);
		r = dgram_loop_run(loop);
	}
	if (r < 0)
		fprintf(stderr, "pass_fd: %s\n", dgram_strerror(r));
	(void)dgram_loop_free(loop);
	return r < 0 || sending.failed;
}

/* ---- the main process, which receives ---- */

static void
on_child(int sig)
{
	(void)sig;
	dgram_loop_stop(loop);
}

static void
print_text(const char *p, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c < 0x20 || c >= 0x7f || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static void
print_file(const struct dgram_message *m)
{
	struct stat st;
	const char *nl;
	char line[128];
	ssize_t r = -1;

	/* The offset is shared with who sent it: read at one of our own. */
	if (m->nfds == 1 && fstat(m->fds[0], &st) == 0 && S_ISREG(st.st_mode))
		r = pread(m->fds[0], line, sizeof(line), 0);
	print_text(m->data, m->size);
	if (r < 0) {
		printf(": no file\n");
		return;
	}
	nl = memchr(line, '\n', (size_t)r);
	printf(": ");
	print_text(line, nl != NULL ? (size_t)(nl - line) : (size_t)r);
	putchar('\n');
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t i, k;

	(void)s, (void)arg;
	for (i = 0; i < n; i++) {
		print_file(&m[i]);
		for (k = 0; k < m[i].nfds; k++)
			(void)close(m[i].fds[k]);
	}
}

/* Something has come that was not read yet. */
static bool
has_more(const struct dgram_socket *s)
{
	struct pollfd p = { .fd = dgram_fileno(s), .events = POLLIN };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLIN) != 0;
}

/* Until the helper has ended, and then what it has sent before. */
static int
receive(struct dgram_socket *s, pid_t helper, int *status)
{
	int r = 1;

	(void)signal(SIGCHLD, on_child);
	while (r > 0 && waitpid(helper, status, WNOHANG) == 0)
		r = dgram_loop_run(loop);
	(void)signal(SIGCHLD, SIG_DFL);
	while (r >= 0 && has_more(s))
		r = dgram_loop_run_once(loop, 0);
	return r;
}

static int
take(int fd, pid_t helper)
{
	static const struct dgram_events events = {
		.message = on_message,
		.error = on_error,
	};
	struct dgram_socket *s;
	int status = -1, r;

	r = adopt(fd, DGRAM_FDS, &events, &s);
	if (r == 0)
		r = receive(s, helper, &status);
	if (r < 0)
		fprintf(stderr, "pass_fd: %s\n", dgram_strerror(r));
	/* Closes the socket: the helper, if it still sends, sees that. */
	(void)dgram_loop_free(loop);
	if (r < 0)
		(void)waitpid(helper, NULL, 0);
	return r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

int
main(int argc, char **argv)
{
	int pair[2];
	pid_t pid;

	if (argc < 2) {
		fprintf(stderr, "usage: pass_fd file ...\n");
		return 2;
	}
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0 ||
	    (pid = fork()) < 0) {
		perror("pass_fd");
		return 1;
	}
	/* Each has a loop of its own, made behind the fork. */
	if (pid == 0) {
		(void)close(pair[0]);
		_exit(help(pair[1], argv + 1));
	}
	(void)close(pair[1]);
	return take(pair[0], pid);
}
