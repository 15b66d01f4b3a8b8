/* SPDX-License-Identifier: ISC */

/*
 * Paths: what is bound is there, what lay there survives, and what is removed
 * is the socket's own.
 */

#include "between.h"
#include "sockets.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdatomic.h>

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
	CHECK(dgram_bind_path(p.s, path, DGRAM_UNLINK_STALE << 1), -EINVAL);
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
	/* No address has it; test_path.c has those that do without. */
	snprintf(path, sizeof(path), "%s", path_of(room + 1));
	peer_open(&p, l, DGRAM_UNIX, NULL);
	CHECK(dgram_addr_unix(&a, path), -ENAMETOOLONG);
	CHECK(dgram_send_path(p.s, "x", 1, path, NULL, NULL), -ENAMETOOLONG);
	if (!DGI_HAVE_LONG_PATH) {
		CHECK(dgram_bind_path(p.s, path, 0), -ENAMETOOLONG);
		CHECK(dgram_connect_path(p.s, path), -ENAMETOOLONG);
	}
	CHECK(dgram_fileno(p.s), -EBADF);
	cr_assert(!exists(path));
	path[room] = '\0';
	cr_assert(!exists(path));
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

/* A name of the kernel's choice, of the form that unix(7) tells. */
BACKEND_TEST(unix, autobind)
{
#if DGI_HAVE_ABSTRACT
	static struct peer p, q;
	struct dgram_options o = { .path_mode = 0600 };
	struct dgram_owner owner = { (uid_t)-1, getegid() };
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a, b;
	char host[128];

	peer_open(&p, l, DGRAM_UNIX, NULL);
	peer_open(&q, l, DGRAM_UNIX, NULL);
	OK(dgram_bind_path(p.s, NULL, 0));
	CHECK(dgram_bind_path(p.s, NULL, 0), ALREADY_BOUND);
	/* One that has sent, too. */
	OK(dgram_address(p.s, &a));
	OK(send_done(&q, 1, &a));
	OK(dgram_bind_path(q.s, NULL, 0));
	OK(dgram_address(q.s, &b));
	cr_assert(dgram_addr_host(&a, host, sizeof(host)) == 6 &&
	    strspn(host + 1, "0123456789abcdef") == 5, "%s", host);
	cr_assert(!dgram_addr_equal(&a, &b));
	OK(send_done(&q, 2, &a));
	RUN_UNTIL(l, p.got == 2);
	cr_assert(dgram_addr_equal(&p.from, &b));
	OK(send_done(&p, 3, &p.from));
	RUN_UNTIL(l, q.got == 1);
	cr_assert(p.n[EV_LISTENING] == 1 && q.n[EV_LISTENING] == 1);
	OK(dgram_close(p.s, NULL, NULL));
	CHECK(dgram_bind_path(p.s, NULL, 0), NOT_RUNNING);
	turns(l, 3);
	/* Nothing there that could have a mode or an owner. */
	peer_open(&p, l, DGRAM_UNIX, &o);
	CHECK(dgram_bind_path(p.s, NULL, 0), -EINVAL);
	CHECK(dgram_bind_addr(p.s, &b), -EINVAL);
	o.path_mode = 0;
	o.path_owner = &owner;
	peer_open(&q, l, DGRAM_UNIX, &o);
	CHECK(dgram_bind_path(q.s, NULL, 0), -EINVAL);
	CHECK(dgram_bind_addr(q.s, &b), -EINVAL);
	CHECK(dgram_fileno(p.s), -EBADF);
	CHECK(dgram_fileno(q.s), -EBADF);
	free_loop(l);
#else
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);

	peer_open(&p, l, DGRAM_UNIX, NULL);
	CHECK(dgram_bind_path(p.s, NULL, 0), -ENOTSUP);
	CHECK(dgram_fileno(p.s), -EBADF);
	OK(dgram_bind_path(p.s, fresh_path(), 0));
	CHECK(dgram_bind_path(p.s, NULL, 0), ALREADY_BOUND);
	free_loop(l);
#endif
}

/* ---- mode and owner ---- */

#define NO_ID	12345		/* of a user and group that nobody has */

BACKEND_TEST(unix, bad_mode)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_owner owner = { (uid_t)-1, (gid_t)-1 };
	struct dgram_options o = { 0 };
	struct dgram_socket *s = NULL;

	EACH_TYPE(type) {
		o.type = (enum dgram_type)type;
		o.path_mode = 01000;
		CHECK(dgram_open(l, &o, &s), -EINVAL);
		o.path_mode = 04755;
		CHECK(dgram_open(l, &o, &s), -EINVAL);
		o.path_mode = (mode_t)-1;
		CHECK(dgram_open(l, &o, &s), -EINVAL);
		if (type == DGRAM_UNIX)
			continue;
		o.path_mode = 0777;
		CHECK(dgram_open(l, &o, &s), -EINVAL);
		o.path_mode = 0;
		o.path_owner = &owner;
		CHECK(dgram_open(l, &o, &s), -EINVAL);
		o.path_owner = NULL;
	}
	cr_assert(s == NULL);
	free_loop(l);
}

/* What somebody else bound stays as it was made, and stays. */
BACKEND_TEST(unix, mode_of_adopted)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_owner owner = { NO_ID, NO_ID };
	struct dgram_options o = { .path_mode = 0611, .path_owner = &owner };
	struct dgram_socket *s;
	struct dgram_addr a;
	struct stat before, st;
	int fd;

	fd = bare_socket(DGRAM_UNIX, &a);
	cr_assert_eq(lstat(a.u.un.sun_path, &before), 0);
	OK(dgram_open_fd(l, &o, fd, &s));
	OK(dgram_close(s, NULL, NULL));
	turns(l, 3);
	cr_assert_eq(lstat(a.u.un.sun_path, &st), 0);
	cr_assert(st.st_mode == before.st_mode && st.st_uid == before.st_uid);
	free_loop(l);
}

/* Nothing is made where the system cannot do it. */
BACKEND_TEST(unix, mode_of_other_systems)
{
	static struct peer p;
	struct dgram_options o = { .path_mode = 0600 };
	struct dgram_owner owner = { geteuid(), (gid_t)-1 };
	struct dgram_loop *l;
	struct fault_os f;
	const char *path = fresh_path();
	int i;

	for (i = 0; i < 4; i++) {
		o.path_mode = i % 2 == 0 ? 0600 : 0;
		o.path_owner = i % 2 == 1 ? &owner : NULL;
		fault_init(&f);
		l = fault_loop(&f, backend, NULL);
		if (i < 2)
			fault_always(&f, FAULT_FCHMOD, -EINVAL);
		else
			fault_always(&f, FAULT_SET_MODE, -ENOTSUP);
		peer_open(&p, l, DGRAM_UNIX, &o);
		CHECK(dgram_bind_path(p.s, path, 0), -ENOTSUP);
		CHECK(dgram_bind_path(p.s, path, DGRAM_UNLINK_STALE),
		    -ENOTSUP);
		CHECK(dgram_fileno(p.s), -EBADF);
		cr_assert(!exists(path));
		free_fault_loop(l, &f);
	}
}

#if DGI_HAVE_PROC_FD

static int
no_fchmod(const struct dgi_os *os, int fd, mode_t mode)
{
	(void)os, (void)fd, (void)mode;
	return 0;
}

/* A mode that was taken, and made no difference. */
BACKEND_TEST(unix, mode_has_no_effect)
{
	static struct peer p;
	struct dgram_options o = { .path_mode = 0600 };
	struct dgi_os os = dgi_os_real;
	struct dgram_loop_options lo = { .backend = backend };
	struct dgram_loop *l;
	const char *path = fresh_path();

	os.fchmod = no_fchmod;
	cr_assert_eq(dgi_loop_new(&lo, &os, NULL, &l), 0);
	peer_open(&p, l, DGRAM_UNIX, &o);
	CHECK(dgram_bind_path(p.s, path, 0), -ENOTSUP);
	cr_assert(!exists(path));
	free_loop(l);
}

/* Binds in all three ways, to a path that is short or long. */
static int
bind_way(struct dgram_socket *s, const char *path, int way)
{
	struct dgram_addr a;

	/* By the address it would be ignored. */
	OK(dgram_addr_unix(&a, path));
	if (dgi_option_has_owner(&s->options)) {
		CHECK(dgram_bind_addr(s, &a), -EINVAL);
		cr_assert(!exists(path));
	}
	return CALL(dgram_bind_path(s, path, way == 0 ? 0 :
	    DGRAM_UNLINK_STALE));
}

static void
check_mode(const char *backend, mode_t mask, mode_t mode,
    const struct dgram_owner *owner)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_options o = { .path_mode = mode };
	struct dgram_owner copy = { 0, 0 };
	struct stat st;
	char path[128];
	int way, nameless;
	mode_t old = umask(mask);

	if (owner != NULL) {
		copy = *owner;
		o.path_owner = &copy;
	}
	for (way = 0; way < 4; way++) {
		nameless = way / 2;
		snprintf(path, sizeof(path), "%s", fresh_path());
		copy = owner != NULL ? *owner : copy;
		peer_open(&p, l, DGRAM_UNIX, &o);
		/* Looked at when it was opened. */
		copy.uid = copy.gid = 4711;
		if (nameless)
			(void)dgram_send_path(p.s, "x", 1, path, NULL, NULL);
		cr_assert_eq(bind_way(p.s, path, way % 2), 0);
		cr_assert_eq(lstat(path, &st), 0);
		cr_assert_eq(st.st_mode & 07777, mode != 0 ? mode :
		    0777 & ~mask, "%o", (unsigned)st.st_mode);
		cr_assert_eq(st.st_uid, owner != NULL &&
		    owner->uid != (uid_t)-1 ? owner->uid : geteuid());
		cr_assert_eq(st.st_gid, owner != NULL &&
		    owner->gid != (gid_t)-1 ? owner->gid : getegid());
		OK(dgram_close(p.s, NULL, NULL));
		cr_assert(!exists(path));
		turns(l, 3);
	}
	cr_assert_eq(umask(old), mask);
	free_loop(l);
}

/* A mode that umask(2) has cut, or that another thread's files get. */
BACKEND_TEST(unix, mode)
{
	static const mode_t modes[] = { 0600, 0660, 0666, 0777, 0222, 0001 };
	static const mode_t masks[] = { 0, 077, 0777, 022 };
	size_t i, j;

	for (i = 0; i < COUNT(masks); i++) {
		for (j = 0; j < COUNT(modes); j++)
			check_mode(backend, masks[i], modes[j], NULL);
		check_mode(backend, masks[i], 0, NULL);
	}
}

BACKEND_TEST(unix, owner)
{
	static const mode_t modes[] = { 0600, 0666, 0 };
	struct dgram_owner owner = { geteuid(), getegid() };
	struct dgram_owner none = { (uid_t)-1, (gid_t)-1 };
	size_t i;
	int way;

	for (i = 0; i < COUNT(modes); i++) {
		for (way = 0; way < 4; way++) {
			if (geteuid() == 0)
				owner.uid = owner.gid = NO_ID;
			if ((way & 1) != 0)
				owner.uid = (uid_t)-1;
			if ((way & 2) != 0)
				owner.gid = (gid_t)-1;
			check_mode(backend, 022, modes[i], &owner);
			owner.uid = geteuid();
			owner.gid = getegid();
		}
		check_mode(backend, 077, modes[i], &none);
	}
}

/*
 * In a directory that everybody may write to, as somebody who may not give files
 * away: 0, or the number of what went wrong.
 */
static int
give_away(const char *dir, bool has_sent)
{
	struct dgram_owner owner = { 0, 0 };
	struct dgram_options o = { .type = DGRAM_UNIX, .path_mode = 0600,
	    .path_owner = &owner };
	struct dgram_socket *s;
	struct dgram_loop *l;
	int fd;

	/* The way there may be closed to others. */
	if (chdir(dir) < 0 || (geteuid() == 0 && (setgid(NO_ID) < 0 ||
	    setuid(NO_ID) < 0)) || dgram_loop_new(NULL, &l) < 0 ||
	    dgram_open(l, &o, &s) < 0)
		return 1;
	if (has_sent && dgram_send_path(s, "x", 1, "x", NULL, NULL) < 0)
		return 2;
	fd = dgram_fileno(s);
	if (dgram_bind_path(s, "x", 0) != -EPERM || exists("x") ||
	    dgram_bind_path(s, "x", DGRAM_UNLINK_STALE) != -EPERM ||
	    exists("x") || exists("x.lock") || dgram_fileno(s) != fd)
		return 3;
	/* If it may, it goes: the descriptor has no name yet. */
	s->path_owner.uid = geteuid();
	s->path_owner.gid = getegid();
	if (dgram_bind_path(s, "x", DGRAM_UNLINK_STALE) < 0 || !exists("x") ||
	    exists("x.lock"))
		return 4;
	return dgram_loop_free(l) == 0 && !exists("x") ? 0 : 5;
}

/* What is not allowed leaves nothing behind. */
TEST(unix, owner_is_refused)
{
	char dir[128];
	int status, has_sent;
	pid_t pid;

	snprintf(dir, sizeof(dir), "%s", test_tmpdir());
	cr_assert_eq(chmod(dir, 0777), 0);
	for (has_sent = 0; has_sent < 2; has_sent++) {
		pid = test_fork();
		if (pid == 0)
			_exit(give_away(dir, has_sent == 1));
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert_eq(status, 0, "%x", (unsigned)status);
	}
}

/* ---- at no moment another ---- */

static char watched[128];
static unsigned moments[8], nmoments;	/* modes, in order */
static uid_t uids[8];

/* Between two system calls. */
static void
look(void)
{
	struct stat st;
	int saved_errno = errno;

	if (lstat(watched, &st) == 0 && (nmoments == 0 ||
	    moments[nmoments - 1] != (st.st_mode & 07777) ||
	    uids[nmoments - 1] != st.st_uid)) {
		MUST(nmoments < COUNT(moments), "%u", nmoments);
		moments[nmoments] = st.st_mode & 07777;
		uids[nmoments++] = st.st_uid;
	}
	errno = saved_errno;
}

BACKEND_TEST(unix, mode_step_by_step)
{
	static struct peer p;
	struct dgram_owner owner = { geteuid() == 0 ? NO_ID : geteuid(),
	    (gid_t)-1 };
	struct dgram_options o = { .path_mode = 0620, .path_owner = &owner };
	struct dgi_os os = between(look);
	struct dgram_loop_options lo = { .backend = backend };
	struct dgram_loop *l;
	unsigned flags, n;

	for (flags = 0; flags <= DGRAM_UNLINK_STALE; flags++) {
		snprintf(watched, sizeof(watched), "%s", fresh_path());
		nmoments = 0;
		cr_assert_eq(dgi_loop_new(&lo, &os, NULL, &l), 0);
		peer_open(&p, l, DGRAM_UNIX, &o);
		OK(dgram_bind_path(p.s, watched, flags));
		look();
		n = geteuid() == 0 ? 3 : 2;
		cr_assert_eq(nmoments, n);
		cr_assert(moments[0] == 0 && uids[0] == geteuid());
		cr_assert(moments[n - 2] == 0 && uids[n - 2] == owner.uid);
		cr_assert(moments[n - 1] == 0620 && uids[n - 1] == owner.uid);
		free_loop(l);
	}
}

static size_t taken;		/* datagrams that somebody has taken */

/* From one that no mode stops. */
static void
send_there(void)
{
	int saved_errno = errno, fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct dgram_addr a;

	OK(dgram_addr_unix(&a, watched));
	taken += sendto(fd, "x", 1, MSG_DONTWAIT, &a.u.sa, a.len) == 1;
	close(fd);
	errno = saved_errno;
}

/* What is sent while a bind goes on is refused, or arrives. */
BACKEND_TEST(unix, mode_loses_nothing)
{
	static struct peer p;
	struct dgram_options o = { .path_mode = 0600 };
	struct dgi_os os = between(send_there);
	struct dgram_loop_options lo = { .backend = backend };
	struct dgram_loop *l;
	int has_sent;

	if (geteuid() != 0)
		cr_skip_test("root may send to any file");
	for (has_sent = 0; has_sent < 2; has_sent++) {
		snprintf(watched, sizeof(watched), "%s", fresh_path());
		taken = 0;
		cr_assert_eq(dgi_loop_new(&lo, &os, NULL, &l), 0);
		peer_open(&p, l, DGRAM_UNIX, &o);
		if (has_sent)
			OK(dgram_send_path(p.s, "x", 1, fresh_path(), NULL,
			    NULL));
		OK(dgram_bind_path(p.s, watched, 0));
		cr_assert(taken > 0);
		RUN_UNTIL(l, p.got >= taken);
		cr_assert_eq(p.got, taken);
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);
		free_loop(l);
	}
}

/* What another process sees, in memory that both have. */
struct sight {
	atomic_int ready, stop;
	atomic_uint hidden, shown, wrong;
	atomic_uint mode, uid;		/* what was wrong */
};

/*
 * The kernel reads the owner first, then the mode (generic_fillattr() of Linux):
 * that they do not go together is true only if it is told twice.
 */
static bool
glance(const char *path, mode_t mode, uid_t uid, struct stat *st)
{
	struct stat first;

	if (lstat(path, &first) < 0)
		return false;
	*st = first;
	if ((first.st_mode & 07777) != mode || first.st_uid == uid)
		return true;
	return lstat(path, st) == 0 && st->st_ino == first.st_ino;
}

static void
watch(struct sight *sight, const char *path, mode_t mode, uid_t uid)
{
	struct stat st;

	atomic_store(&sight->ready, 1);
	while (atomic_load(&sight->stop) == 0) {
		if (!glance(path, mode, uid, &st))
			continue;
		if ((st.st_mode & 07777) == 0) {
			atomic_fetch_add(&sight->hidden, 1);
		} else if ((st.st_mode & 07777) == mode && st.st_uid == uid) {
			atomic_fetch_add(&sight->shown, 1);
		} else {
			atomic_store(&sight->mode, st.st_mode);
			atomic_store(&sight->uid, st.st_uid);
			atomic_fetch_add(&sight->wrong, 1);
		}
	}
}

/* The kernel makes the file with a mode of ours, not first with another. */
TEST(unix, mode_seen_from_outside)
{
	static struct peer p;
	struct dgram_owner owner = { geteuid() == 0 ? NO_ID : geteuid(),
	    (gid_t)-1 };
	struct dgram_options o = { .path_mode = 0622, .path_owner = &owner };
	struct dgram_loop *l = test_loop(NULL);
	const char *path = fresh_path();
	mode_t old = umask(0);
	int64_t end = clock_ms() + 3000;
	struct sight *sight;
	int status, binds = 0;
	pid_t pid;

	sight = mmap(NULL, sizeof(*sight), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert(sight != MAP_FAILED);
	pid = test_fork();
	if (pid == 0) {
		watch(sight, path, 0622, owner.uid);
		_exit(0);
	}
	while (atomic_load(&sight->ready) == 0 && clock_ms() < end)
		sched_yield();
	/* Until both were seen, and often. */
	while (clock_ms() < end && (binds < 2000 ||
	    atomic_load(&sight->hidden) < 20 ||
	    atomic_load(&sight->shown) < 20)) {
		peer_open(&p, l, DGRAM_UNIX, &o);
		OK(dgram_bind_path(p.s, path, binds % 2 == 0 ? 0 :
		    DGRAM_UNLINK_STALE));
		OK(dgram_close(p.s, NULL, NULL));
		turn_wait(l, 0);
		binds++;
	}
	atomic_store(&sight->stop, 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	umask(old);
	cr_assert_eq(atomic_load(&sight->wrong), 0, "%o of %u",
	    atomic_load(&sight->mode), atomic_load(&sight->uid));
	cr_assert(atomic_load(&sight->shown) > 0);
	munmap(sight, sizeof(*sight));
	free_loop(l);
}

/* Without /proc: the umask is not told, and fchmodat2(2) is younger. */
TEST(unix, mode_without_proc)
{
	struct dgram_options o = { .type = DGRAM_UNIX, .path_mode = 0620 };
	struct dgram_owner owner = { NO_ID, NO_ID };
	struct dgram_socket *s;
	struct dgram_loop *l;
	char dir[128], far[300];
	struct stat st;
	int status, r;
	pid_t pid;

	if (geteuid() != 0)
		cr_skip_test("chroot(2) is for root");
	snprintf(dir, sizeof(dir), "%s", test_tmpdir());
	pid = test_fork();
	if (pid == 0) {
		if (chroot(dir) < 0 || chdir("/") < 0 ||
		    dgram_loop_new(NULL, &l) < 0 || dgram_open(l, &o, &s) < 0)
			_exit(1);
		r = dgram_bind_path(s, "x", 0);
		if (r != 0 && r != -ENOTSUP)
			_exit(2);
		if (r == 0 && (lstat("x", &st) < 0 ||
		    (st.st_mode & 07777) != 0620))
			_exit(3);
		if (r < 0 && exists("x"))
			_exit(4);
		o.path_mode = 0;
		o.path_owner = &owner;
		if (dgram_open(l, &o, &s) < 0 ||
		    dgram_bind_path(s, "y", 0) != -ENOTSUP || exists("y"))
			_exit(5);
		o.path_owner = NULL;
		memset(far, 'd', sizeof(far));
		far[150] = '\0';
		if (mkdir(far, 0700) < 0)
			_exit(6);
		strcpy(far + 150, "/x");
		if (dgram_open(l, &o, &s) < 0 ||
		    dgram_bind_path(s, far, 0) != -ENAMETOOLONG ||
		    dgram_connect_path(s, far) != -ENAMETOOLONG ||
		    exists(far))
			_exit(7);
		_exit(r == 0 ? 0 : 99);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 99)
		cr_skip_test("no fchmodat2 on this system");
	cr_assert_eq(status, 0, "%x", (unsigned)status);
}
#else
BACKEND_TEST(unix, mode)
{
	static struct peer p;
	struct dgram_options o = { .path_mode = 0600 };
	struct dgram_owner owner = { geteuid(), (gid_t)-1 };
	struct dgram_loop *l = test_loop(backend);
	const char *path = fresh_path();

	peer_open(&p, l, DGRAM_UNIX, &o);
	CHECK(dgram_bind_path(p.s, path, 0), -ENOTSUP);
	CHECK(dgram_bind_path(p.s, path, DGRAM_UNLINK_STALE), -ENOTSUP);
	o.path_mode = 0;
	o.path_owner = &owner;
	peer_open(&p, l, DGRAM_UNIX, &o);
	CHECK(dgram_bind_path(p.s, path, 0), -ENOTSUP);
	cr_assert(!exists(path));
	free_loop(l);
}
#endif
