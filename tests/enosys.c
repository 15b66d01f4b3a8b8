/* SPDX-License-Identifier: ISC */

/*
 * A kernel without some system calls:  enosys name... -- command...
 *
 * Runs the command under a seccomp(2) filter that refuses the named calls with
 * ENOSYS.  The filter asks this program each time, which counts: the last line
 * on stderr is `refused: name count...`, and a call that was never refused is a
 * failure, for then the run has shown nothing.  Otherwise the status is that of
 * the command; 77 where there is no such filter.  Linux 5.5 and later.
 */

#define _GNU_SOURCE 1

#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NCALLS	4
#define SKIPPED	77

static struct {
	const char *name;
	unsigned nr;
	unsigned long refused;
	int wanted;
} calls[NCALLS] = {
	{ "recvmmsg", SYS_recvmmsg, 0, 0 },
	{ "sendmmsg", SYS_sendmmsg, 0, 0 },
	{ "epoll_create1", SYS_epoll_create1, 0, 0 },
	{ "eventfd2", SYS_eventfd2, 0, 0 },
};

/*
 * Sets the filter for this process and all it starts; a descriptor that tells of
 * each call.  There is one numbering of calls here only, so the filter need not
 * look at the architecture.
 */
static int
set_filter(void)
{
	struct sock_filter f[2 * NCALLS + 2] = { BPF_STMT(BPF_LD | BPF_W |
	    BPF_ABS, offsetof(struct seccomp_data, nr)) };
	struct sock_fprog prog = { .len = 1, .filter = f };
	int i;

	for (i = 0; i < NCALLS; i++) {
		if (!calls[i].wanted)
			continue;
		f[prog.len++] = (struct sock_filter)BPF_JUMP(BPF_JMP |
		    BPF_JEQ | BPF_K, calls[i].nr, 0, 1);
		f[prog.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
		    SECCOMP_RET_USER_NOTIF);
	}
	f[prog.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
	    SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
	    SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
}

/* Refuses one call. */
static void
answer(int fd)
{
	struct seccomp_notif req;
	struct seccomp_notif_resp resp;
	int i;

	memset(&req, 0, sizeof(req));
	memset(&resp, 0, sizeof(resp));
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &req) == -1)
		return;		/* a signal has ended it */
	resp.id = req.id;
	resp.error = -ENOSYS;
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp) == -1)
		return;
	for (i = 0; i < NCALLS; i++) {
		if ((unsigned)req.data.nr == calls[i].nr)
			calls[i].refused++;
	}
}

static void
on_child(int sig)
{
	(void)sig;
}

/* Answers until the command has ended; its status as of a shell. */
static int
supervise(int fd, pid_t pid, const sigset_t *unblocked)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int status;

	for (;;) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		if (ppoll(&p, 1, NULL, unblocked) == 1)
			answer(fd);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int
print_counts(void)
{
	int i, r = 0;

	fprintf(stderr, "refused:");
	for (i = 0; i < NCALLS; i++) {
		if (!calls[i].wanted)
			continue;
		fprintf(stderr, " %s %lu", calls[i].name, calls[i].refused);
		if (calls[i].refused == 0)
			r = 1;
	}
	fputc('\n', stderr);
	if (r != 0)
		fprintf(stderr, "enosys: a call was never made\n");
	return r;
}

int
main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_child };
	sigset_t block, unblocked;
	int fd, i, j, status;
	pid_t pid;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		for (j = 0; j < NCALLS; j++) {
			if (strcmp(argv[i], calls[j].name) == 0)
				break;
		}
		if (j == NCALLS) {
			fprintf(stderr, "enosys: %s?\n", argv[i]);
			return 2;
		}
		calls[j].wanted = 1;
	}
	if (i == 1 || i + 1 >= argc) {
		fprintf(stderr, "usage: enosys name... -- command...\n");
		return 2;
	}
	if ((fd = set_filter()) == -1) {
		perror("enosys: seccomp");
		return SKIPPED;
	}
	/* Let in by ppoll only, so that the end of the command is not missed. */
	sigemptyset(&block);
	sigaddset(&block, SIGCHLD);
	sigprocmask(SIG_BLOCK, &block, &unblocked);
	sigaction(SIGCHLD, &sa, NULL);
	pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &unblocked, NULL);
		execvp(argv[i + 1], argv + i + 1);
		perror(argv[i + 1]);
		_exit(127);
	}
	if (pid == -1) {
		perror("fork");
		return 1;
	}
	status = supervise(fd, pid, &unblocked);
	return print_counts() != 0 && status == 0 ? 1 : status;
}
