/* SPDX-License-Identifier: ISC */

/*
 * Helpers that every test program is linked with; test.h says what they do.
 */

#include "test.h"

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/stat.h>
#if DGI_HAVE_EPOLL
#include <sys/epoll.h>
#endif
#if DGI_OS_LINUX
#include <sys/prctl.h>
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TMPDIRS		8
#define TMPDIR_SIZE	64

static char tmpdirs[TMPDIRS][TMPDIR_SIZE];
static int ntmpdirs;
static pid_t owner;		/* of the directories: not a forked child */
static int kept[256], nkept;

bool
test_backend_exists(const char *backend)
{
	struct dgram_loop_options options = { .backend = backend };
	struct dgram_loop *loop;
	int r;

	r = dgram_loop_new(&options, &loop);
	if (r == 0)
		dgram_loop_free(loop);
	return r != -ENOTSUP;
}

struct dgram_loop *
test_loop(const char *backend)
{
	struct dgram_loop_options options = { .backend = backend };
	struct dgram_loop *loop = NULL;
	int r;

	r = dgram_loop_new(&options, &loop);
	cr_assert_eq(r, 0, "dgram_loop_new: %d", r);
	return loop;
}

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool
test_run_until(struct dgram_loop *loop, bool (*cond)(void *), void *arg, int ms)
{
	const struct timespec pause = { 0, 1000000 };
	int64_t end = now_ms() + ms, left;
	int r;

	while (!cond(arg)) {
		left = end - now_ms();
		if (left <= 0)
			return false;
		r = dgram_loop_run_once(loop, (int)left);
		if (r < 0)
			return cond(arg);
		if (r == 0 && !cond(arg))
			nanosleep(&pause, NULL);
	}
	return true;
}

static bool
ask_for(const char *call)
{
	int r = 0;
#if DGI_HAVE_MMSG
	char byte = 0;
	struct iovec iov = { &byte, sizeof(byte) };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } };
#endif

	(void)call;
	errno = 0;
#if DGI_HAVE_MMSG
	if (strcmp(call, "recvmmsg") == 0)
		r = recvmmsg(-1, &m, 1, 0, NULL);
	else if (strcmp(call, "sendmmsg") == 0)
		r = sendmmsg(-1, &m, 1, 0);
#endif
#if DGI_HAVE_EPOLL
	if (strcmp(call, "epoll_create1") == 0)
		r = epoll_create1(-1);
#endif
	return r == -1 && errno != ENOSYS;
}

bool
test_has(const char *call)
{
	int saved_errno = errno;
	bool has = ask_for(call);

	errno = saved_errno;
	return has;
}

bool
test_emulated(void)
{
	return getenv("DGT_EMULATED") != NULL;
}

pid_t
test_fork(void)
{
	/* For a test of what is done without. */
	pid_t pid = getenv("DGT_NO_FORK") != NULL ? -1 : fork();

	if (pid < 0)
		cr_skip_test("fork(2) fails on this system");
#if DGI_OS_LINUX
	/* A test that fails leaves no child that waits for it, or spins. */
	if (pid == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
	return pid;
}

int
test_count_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) != -1)
			n++;
	}
	return n;
}

unsigned
test_count_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	if (d == NULL)
		return 0;
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2;
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
test_keep(int fd)
{
	cr_assert(nkept < (int)(sizeof(kept) / sizeof(kept[0])));
	kept[nkept++] = fd;
}

void
test_clean(void)
{
	while (nkept > 0)
		close(kept[--nkept]);
	if (getpid() != owner)
		return;
	while (ntmpdirs > 0)
		nftw(tmpdirs[--ntmpdirs], remove_entry, 8,
		    FTW_DEPTH | FTW_PHYS);
}

const char *
test_tmpdir(void)
{
	const char *base = getenv("TMPDIR");
	char *path;
	int n;

	cr_assert(ntmpdirs < TMPDIRS, "too many temporary directories");
	/* After a failed assertion only exit(3) passes by here. */
	if (owner == 0) {
		owner = getpid();
		atexit(test_clean);
	}
	path = tmpdirs[ntmpdirs];
	if (base == NULL || base[0] == '\0' || strlen(base) > 40)
		base = "/tmp";
	n = snprintf(path, TMPDIR_SIZE, "%s/dgt.XXXXXX", base);
	cr_assert(n > 0 && n < TMPDIR_SIZE);
	cr_assert(mkdtemp(path) != NULL, "mkdtemp %s: %s", path,
	    strerror(errno));
	ntmpdirs++;
	return path;
}
