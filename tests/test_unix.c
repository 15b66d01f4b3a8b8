/* SPDX-License-Identifier: ISC */

/*
 * Paths: what is bound is there, what lay there survives, and what is removed
 * is the socket's own.
 */

#include "sockets.h"

#include <sys/stat.h>

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static char *
path_of(size_t length)
{
	static char path[200];
	size_t n;

	snprintf(path, sizeof(path), "%s", fresh_path());
	n = strlen(path);
	cr_assert(n < length && length < sizeof(path));
	memset(path + n, 'p', length - n);
	path[length] = '\0';
	return path;
}

/* The path appears with the bind and goes with the close. */
BACKEND_TEST(unix, path)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	const char *path = path_of(50);
	struct dgram_addr a, want;

	peer_open(&p, l, DGRAM_UNIX, NULL);
	CHECK(dgram_bind_path(p.s, path, 1), -EINVAL);
	CHECK(dgram_bind_path(p.s, path, UINT_MAX), -EINVAL);
	CHECK(dgram_bind_path(p.s, "", 0), -EINVAL);
	cr_assert(!exists(path));
	OK(dgram_bind_path(p.s, path, 0));
	cr_assert(exists(path));
	OK(dgram_address(p.s, &a));
	OK(dgram_addr_unix(&want, path));
	cr_assert(dgram_addr_equal(&a, &want));
	cr_assert_eq(a.len, want.len);
	OK(dgram_close(p.s, NULL, NULL));
	cr_assert(!exists(path));
	turns(l, 3);
	/* By the free of the loop, too. */
	peer_open(&p, l, DGRAM_UNIX, NULL);
	OK(dgram_bind_path(p.s, path, 0));
	free_loop(l);
	cr_assert(!exists(path));
}

static int
on_udp(const char *backend, const char *path)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	int r;

	peer_open(&p, l, DGRAM_UDP4, NULL);
	r = CALL(dgram_bind_path(p.s, path, 0));
	free_loop(l);
	return r;
}

/* Something that is removed, or replaced, by a bind. */
BACKEND_TEST(unix, bind_never_unlinks)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a, stale = dead_addr(DGRAM_UNIX);
	struct stat before, st;
	char paths[5][128], target[128];
	size_t i;
	int fd, live;

	for (i = 0; i < 3; i++)
		snprintf(paths[i], sizeof(paths[i]), "%s", fresh_path());
	fd = open(paths[0], O_CREAT | O_WRONLY, 0600);
	close(fd);
	cr_assert_eq(mkdir(paths[1], 0700), 0);
	snprintf(target, sizeof(target), "%s", fresh_path());
	cr_assert_eq(symlink(target, paths[2]), 0);
	snprintf(paths[3], sizeof(paths[3]), "%s", stale.u.un.sun_path);
	live = bare_socket(DGRAM_UNIX, &a);
	snprintf(paths[4], sizeof(paths[4]), "%s", a.u.un.sun_path);
	for (i = 0; i < 5; i++) {
		/* NetBSD binds to where the link leads. */
		if (i == 2 && !ON_LINUX)
			continue;
		peer_open(&p, l, DGRAM_UNIX, NULL);
		cr_assert_eq(lstat(paths[i], &before), 0);
		CHECK(dgram_bind_path(p.s, paths[i], 0), -EADDRINUSE);
		CHECK(dgram_bind_path(p.s, paths[i], 0), -EADDRINUSE);
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);
		cr_assert_eq(lstat(paths[i], &st), 0, "%zu", i);
		cr_assert(st.st_ino == before.st_ino &&
		    st.st_mode == before.st_mode);
	}
	cr_assert(!exists(target));
	cr_assert_eq(on_udp(backend, paths[0]), -EINVAL);
	close(live);
	free_loop(l);
}

/* A close that removes what has taken the path since. */
BACKEND_TEST(unix, close_removes_its_own_only)
{
	static struct peer p, q;
	struct dgram_loop *l = test_loop(backend);
	char path[128], moved[128];
	int way, fd;

	for (way = 0; way < 5; way++) {
		snprintf(path, sizeof(path), "%s", fresh_path());
		snprintf(moved, sizeof(moved), "%s", fresh_path());
		peer_open(&p, l, DGRAM_UNIX, NULL);
		peer_open(&q, l, DGRAM_UNIX, NULL);
		OK(dgram_bind_path(p.s, path, 0));
		switch (way) {
		case 0:		/* a file */
			unlink(path);
			fd = open(path, O_CREAT | O_WRONLY, 0600);
			close(fd);
			break;
		case 1:		/* a successor */
			cr_assert_eq(rename(path, moved), 0);
			OK(dgram_bind_path(q.s, path, 0));
			break;
		case 2:		/* a link to itself, elsewhere */
			cr_assert_eq(rename(path, moved), 0);
			cr_assert_eq(symlink(moved, path), 0);
			break;
		case 3:		/* a directory */
			unlink(path);
			cr_assert_eq(mkdir(path, 0700), 0);
			break;
		default:	/* nothing */
			unlink(path);
			break;
		}
		OK(dgram_close(p.s, NULL, NULL));
		cr_assert_eq(exists(path), way != 4, "way %d", way);
		cr_assert_eq(exists(moved), way == 1 || way == 2);
		OK(dgram_close(q.s, NULL, NULL));
		turns(l, 3);
		if (way == 1)
			cr_assert(!exists(path));
	}
	free_loop(l);
}

/* A bind that fails behind bind(2), or a kernel that does not tell. */
BACKEND_TEST(unix, failed_bind_leaves_no_path)
{
	static struct peer p;
	struct fault_os f;
	struct dgram_loop *l;
	char path[128];
	size_t k;
	int r;

	for (k = 1; k < 20; k++) {
		fault_init(&f);
		l = fault_loop(&f, backend, NULL);
		snprintf(path, sizeof(path), "%s", fresh_path());
		peer_open(&p, l, DGRAM_UNIX, NULL);
		f.fail_alloc = f.allocs + k;
		r = CALL(dgram_bind_path(p.s, path, 0));
		f.fail_alloc = 0;
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_eq(exists(path), r == 0);
		if (r < 0) {
			OK(dgram_bind_path(p.s, path, 0));
			cr_assert(exists(path));
		}
		free_fault_loop(l, &f);
		cr_assert(!exists(path));
	}
	/* Without lstat the socket does not know its own, and removes none. */
	fault_init(&f);
	l = fault_loop(&f, backend, NULL);
	peer_open(&p, l, DGRAM_UNIX, NULL);
	fault_always(&f, FAULT_LSTAT, -EACCES);
	OK(dgram_bind_path(p.s, path, 0));
	free_fault_loop(l, &f);
	cr_assert(exists(path));
}

/* Paths that are cut (libuv, node-unix-dgram), or refused too early. */
BACKEND_TEST(unix, long_paths)
{
	const size_t room = sizeof(((struct sockaddr_un *)0)->sun_path);
	static struct peer p, q;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a, want;
	char path[200];
	size_t n;

	for (n = room - 2; n <= room; n++) {
		snprintf(path, sizeof(path), "%s", path_of(n));
		peer_open(&p, l, DGRAM_UNIX, NULL);
		peer_open_bound(&q, l, DGRAM_UNIX, NULL);
		OK(dgram_bind_path(p.s, path, 0));
		cr_assert(exists(path));
		OK(dgram_address(p.s, &a));
		OK(dgram_addr_unix(&want, path));
		cr_assert(dgram_addr_equal(&a, &want));
		OK(dgram_send_path(q.s, number(1), 4, path, NULL, NULL));
		OK(send_done(&p, 2, &q.addr));
		RUN_UNTIL(l, p.got == 1 && q.got == 1);
		cr_assert(dgram_addr_equal(&q.from, &want));
		OK(dgram_connect_path(q.s, path));
		OK(dgram_remote_address(q.s, &a));
		cr_assert(dgram_addr_equal(&a, &want));
		OK(send_done(&q, 3, NULL));
		RUN_UNTIL(l, p.got == 2);
		OK(dgram_close(p.s, NULL, NULL));
		cr_assert(!exists(path));
		OK(dgram_close(q.s, NULL, NULL));
		turns(l, 3);
	}
	snprintf(path, sizeof(path), "%s", path_of(room + 1));
	peer_open(&p, l, DGRAM_UNIX, NULL);
	CHECK(dgram_bind_path(p.s, path, 0), -ENAMETOOLONG);
	CHECK(dgram_connect_path(p.s, path), -ENAMETOOLONG);
	CHECK(dgram_send_path(p.s, "x", 1, path, NULL, NULL), -ENAMETOOLONG);
	path[room] = '\0';
	cr_assert(!exists(path));
	CHECK(dgram_fileno(p.s), -EBADF);
	free_loop(l);
}

/* A path from the directory of the process. */
BACKEND_TEST(unix, relative_path)
{
	static struct peer p, q;
	struct dgram_loop *l = test_loop(backend);
	char back[256];
	struct dgram_addr a;

	cr_assert(getcwd(back, sizeof(back)) != NULL);
	cr_assert_eq(chdir(test_tmpdir()), 0);
	peer_open(&p, l, DGRAM_UNIX, NULL);
	peer_open(&q, l, DGRAM_UNIX, NULL);
	OK(dgram_bind_path(p.s, "here", 0));
	OK(dgram_address(p.s, &a));
	cr_assert(strcmp(a.u.un.sun_path, "here") == 0);
	OK(dgram_send_path(q.s, number(1), 4, "here", NULL, NULL));
	RUN_UNTIL(l, p.got == 1);
	cr_assert_eq(p.from.len, 0);
	OK(dgram_close(p.s, NULL, NULL));
	cr_assert(!exists("here"));
	free_loop(l);
	cr_assert_eq(chdir(back), 0);
}

/* Abstract names of every kind; K7: the length is a part of the name. */
BACKEND_TEST(unix, abstract_names)
{
#if DGI_HAVE_ABSTRACT
	static struct peer p, q;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a, name;
	char text[108];
	size_t n;

	for (n = 8; n <= 107; n += 33) {
		memset(text, 'a', sizeof(text));
		snprintf(text, sizeof(text), "%ld", (long)getpid());
		text[6] = '\0';
		OK(dgram_addr_abstract(&name, text, n));
		peer_open(&p, l, DGRAM_UNIX, NULL);
		peer_open_bound(&q, l, DGRAM_UNIX, NULL);
		OK(dgram_bind_addr(p.s, &name));
		OK(dgram_address(p.s, &a));
		cr_assert(dgram_addr_equal(&a, &name));
		cr_assert_eq(a.len, name.len);
		OK(send_done(&q, 1, &name));
		OK(send_done(&p, 2, &q.addr));
		RUN_UNTIL(l, p.got == 1 && q.got == 1);
		cr_assert(dgram_addr_equal(&q.from, &name));
		/* In a batch, too. */
		OK(send_copy(&q, 1, &name));
		OK(send_copy(&q, 1, &name));
		RUN_UNTIL(l, p.got == 3);
		OK(dgram_connect_addr(q.s, &name));
		OK(send_copy(&q, 1, NULL));
		RUN_UNTIL(l, p.got == 4);
		OK(dgram_close(p.s, NULL, NULL));
		OK(dgram_close(q.s, NULL, NULL));
		turns(l, 3);
	}
	free_loop(l);
#else
	(void)backend;
	cr_skip_test("no abstract names on this system");
#endif
}

/* Two of a kind talk, as a client with a path of its own does. */
BACKEND_TEST(unix, exchange)
{
	static struct peer p, q;
	struct dgram_loop *l = test_loop(backend);
	uint32_t i;

	peer_open_bound(&p, l, DGRAM_UNIX, NULL);
	peer_open_bound(&q, l, DGRAM_UNIX, NULL);
	for (i = 1; i <= 100; i++) {
		OK(send_done(&p, i, &q.addr));
		OK(send_done(&q, i, &p.addr));
	}
	RUN_UNTIL(l, p.got == 100 && q.got == 100);
	for (i = 1; i <= 100; i++) {
		cr_assert_eq(p.seq[i - 1], i);
		cr_assert_eq(q.seq[i - 1], i);
	}
	cr_assert(dgram_addr_equal(&p.from, &q.addr));
	RUN_UNTIL(l, p.n[EV_DONE] == 100 && q.n[EV_DONE] == 100);
	free_loop(l);
}

/*
 * A socket that has only sent so far is given a path, and the backend has no room:
 * it is bound, which cannot be taken back, and is read as soon as there is room.
 */
BACKEND_TEST(unix, named_while_the_backend_is_full)
{
	struct dgram_loop *l = test_loop(backend);
	static struct peer p;
	struct dgram_addr to;
	int fd = bare_socket(DGRAM_UNIX, &to);

	make_stubborn(l);
	peer_open(&p, l, DGRAM_UNIX, NULL);
	OK(send_copy(&p, 1, &to));
	turns(l, 3);
	cr_assert_eq(bare_recv(fd), 1);
	stubborn.refuse = -ENOSPC;
	OK(dgram_bind_path(p.s, fresh_path(), 0));
	OK(dgram_address(p.s, &p.addr));
	cr_assert(exists(p.addr.u.un.sun_path));
	turns(l, 3);
	stubborn.refuse = 0;
	bare_send(fd, &p.addr, 2);
	RUN_UNTIL(l, p.got == 1);
	free_loop(l);
	close(fd);
}
