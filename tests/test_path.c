/* SPDX-License-Identifier: ISC */

/*
 * DGRAM_UNLINK_STALE: what is dead makes room and nothing else does, whoever
 * comes at once, is killed or stands still; and paths longer than an address.
 */

#include "between.h"
#include "sockets.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define ROUNDS		200
#define STALE		DGRAM_UNLINK_STALE

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static const char *
lock_of(const char *path)
{
	static char lock[PATH_MAX + 8];

	snprintf(lock, sizeof(lock), "%s.lock", path);
	return lock;
}

/* A socket at a path; type: SOCK_DGRAM, ... */
static int
bare_at(const char *path, int type)
{
	struct dgram_addr a;
	int fd = socket(AF_UNIX, type, 0);

	OK(dgram_addr_unix(&a, path));
	MUST(fd >= 0 && bind(fd, &a.u.sa, a.len) == 0, "%s", strerror(errno));
	return fd;
}

static void
make_stale(const char *path)
{
	close(bare_at(path, SOCK_DGRAM));
}

/* The same where a path may be too long: moved there. */
static void
make_stale_far(const char *path)
{
	char near[128];

	snprintf(near, sizeof(near), "%s", fresh_path());
	make_stale(near);
	MUST(rename(near, path) == 0, "%s", strerror(errno));
}

/* A path of so many bytes, in directories that are there; its last part. */
static const char *
long_path(size_t length, size_t last)
{
	static char path[PATH_MAX];
	size_t n, part;

	snprintf(path, sizeof(path), "%s", fresh_path());
	n = strlen(path);
	MUST(length < sizeof(path) && n + 3 + last <= length, "%zu", length);
	for (;;) {
		MUST(mkdir(path, 0700) == 0, "%s", strerror(errno));
		if (n + 1 + last == length)
			break;
		part = length - n - last - 2;
		/* Not one that leaves no room for another. */
		part = part > 200 ? 190 : part;
		path[n++] = '/';
		memset(path + n, 'd', part);
		path[n += part] = '\0';
	}
	path[n++] = '/';
	memset(path + n, 'b', last);
	path[length] = '\0';
	return path;
}

/* Somebody answers there. */
static bool
is_alive(const char *path)
{
	struct dgram_addr a;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	bool ok;

	ok = dgram_addr_unix(&a, path) == 0 &&
	    connect(fd, &a.u.sa, a.len) == 0;
	close(fd);
	return ok;
}

static void
make_file(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0640);

	MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text),
	    "%s", strerror(errno));
	close(fd);
}

/* The next start succeeds, can be reached, and leaves nothing. */
static void
start_and_end(const char *backend, const char *path)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);

	peer_open(&p, l, DGRAM_UNIX, NULL);
	OK(dgram_bind_path(p.s, path, STALE));
	cr_assert(is_alive(path));
	cr_assert(!exists(lock_of(path)));
	free_loop(l);
	cr_assert(!exists(path));
}

/* ---- what lies there ---- */

struct thing {
	struct stat st;
	char path[128], target[128];
	int fd;			/* of a server, or -1 */
	bool listens;
};

enum kind { A_FILE, A_DIRECTORY, A_FIFO, A_SERVER, A_CLIENT, A_STREAM,
	A_LISTENER, A_SEQPACKET, A_LINK, A_LINK_TO_STALE, A_LINK_TO_SERVER,
	NKINDS };

static void
make_thing(struct thing *t, int kind)
{
	struct dgram_addr a;

	memset(t, 0, sizeof(*t));
	snprintf(t->path, sizeof(t->path), "%s", fresh_path());
	snprintf(t->target, sizeof(t->target), "%s", fresh_path());
	t->fd = -1;
	switch (kind) {
	case A_FILE:
		make_file(t->path, "content");
		break;
	case A_DIRECTORY:
		cr_assert_eq(mkdir(t->path, 0700), 0);
		break;
	case A_FIFO:
		cr_assert_eq(mkfifo(t->path, 0600), 0);
		break;
	case A_CLIENT:
		/* Connected to somebody else, it refuses us: EPERM. */
		t->fd = bare_at(t->path, SOCK_DGRAM);
		test_keep(bare_at(t->target, SOCK_DGRAM));
		OK(dgram_addr_unix(&a, t->target));
		cr_assert_eq(connect(t->fd, &a.u.sa, a.len), 0);
		break;
	case A_SERVER:
		t->fd = bare_at(t->path, SOCK_DGRAM);
		break;
	case A_STREAM:
	case A_LISTENER:
		t->fd = bare_at(t->path, SOCK_STREAM);
		if (kind == A_LISTENER)
			cr_assert_eq(listen(t->fd, 5), 0);
		break;
	case A_SEQPACKET:
		t->fd = bare_at(t->path, SOCK_SEQPACKET);
		break;
	case A_LINK_TO_STALE:
		make_stale(t->target);
		/* FALLTHROUGH */
	case A_LINK:
		cr_assert_eq(symlink(t->target, t->path), 0);
		break;
	default:
		t->fd = bare_at(t->target, SOCK_DGRAM);
		cr_assert_eq(symlink(t->target, t->path), 0);
		break;
	}
	cr_assert_eq(lstat(t->path, &t->st), 0);
}

static void
check_thing(const struct thing *t, int kind)
{
	struct stat st;
	struct dgram_addr a;
	char text[16] = "";
	int fd;

	cr_assert_eq(lstat(t->path, &st), 0, "kind %d", kind);
	cr_assert(st.st_ino == t->st.st_ino && st.st_mode == t->st.st_mode,
	    "kind %d", kind);
	cr_assert(!exists(lock_of(t->path)), "kind %d", kind);
	if (kind == A_FILE) {
		fd = open(t->path, O_RDONLY);
		cr_assert(read(fd, text, sizeof(text)) == 7 &&
		    strcmp(text, "content") == 0);
		close(fd);
	}
	if (kind == A_LINK_TO_STALE)
		cr_assert(exists(t->target));
	if (kind == A_SERVER || kind == A_LINK_TO_SERVER) {
		OK(dgram_addr_unix(&a, t->path));
		fd = socket(AF_UNIX, SOCK_DGRAM, 0);
		bare_send(fd, &a, 4711);
		close(fd);
		cr_assert_eq(bare_recv(t->fd), 4711);
		cr_assert_eq(bare_recv(t->fd), -1);
	}
	if (kind == A_LISTENER) {
		OK(dgram_addr_unix(&a, t->path));
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		cr_assert_eq(connect(fd, &a.u.sa, a.len), 0);
		close(fd);
	}
}

/* A bind that removes a file, a link or somebody who is alive. */
BACKEND_TEST(path, others_survive)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct thing t;
	int kind, times;

	for (kind = 0; kind < NKINDS; kind++) {
		/* NetBSD binds to where a link leads. */
		if (kind >= A_LINK && !ON_LINUX)
			continue;
		make_thing(&t, kind);
		peer_open(&p, l, DGRAM_UNIX, NULL);
		for (times = 0; times < 3; times++) {
			CHECK(dgram_bind_path(p.s, t.path, STALE),
			    -EADDRINUSE);
			check_thing(&t, kind);
			CHECK(dgram_fileno(p.s), -EBADF);
		}
		/* It is as it was, and can be bound. */
		OK(dgram_bind_path(p.s, fresh_path(), STALE));
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);
		check_thing(&t, kind);
		if (t.fd >= 0)
			close(t.fd);
	}
	free_loop(l);
}

/* What is dead does not stop it, of whatever type it was. */
BACKEND_TEST(path, stale_makes_room)
{
	static const int types[] = { SOCK_DGRAM, SOCK_STREAM, SOCK_SEQPACKET };
	char path[128];
	size_t i;

	for (i = 0; i < COUNT(types); i++) {
		snprintf(path, sizeof(path), "%s", fresh_path());
		close(bare_at(path, types[i]));
		start_and_end(backend, path);
	}
	/* And without anything in the way. */
	start_and_end(backend, path);
}

BACKEND_TEST(path, arguments)
{
	static struct peer p, q;
	struct dgram_loop *l = test_loop(backend);
	char path[128];

	snprintf(path, sizeof(path), "%s", fresh_path());
	make_stale(path);
	peer_open(&p, l, DGRAM_UNIX, NULL);
	CHECK(dgram_bind_path(p.s, path, STALE << 1), -EINVAL);
	CHECK(dgram_bind_path(p.s, path, UINT_MAX), -EINVAL);
	CHECK(dgram_bind_path(p.s, "", STALE), -EINVAL);
	CHECK(dgram_bind_path(p.s, NULL, STALE), -EINVAL);
	CHECK(dgram_bind_path(NULL, path, STALE), -EINVAL);
	CHECK(dgram_bind_path(p.s, path, 0), -EADDRINUSE);
	cr_assert(exists(path));
	/* The state is looked at before the path. */
	OK(dgram_bind_path(p.s, fresh_path(), STALE));
	CHECK(dgram_bind_path(p.s, path, STALE), ALREADY_BOUND);
	cr_assert(exists(path) && !is_alive(path));
	peer_open(&q, l, DGRAM_UDP4, NULL);
	CHECK(dgram_bind_path(q.s, path, STALE), -EINVAL);
	CHECK(dgram_bind_path(q.s, NULL, 0), -EINVAL);
	CHECK(dgram_fileno(q.s), -EBADF);
	cr_assert(exists(path) && !exists(lock_of(path)));
	free_loop(l);
}

/* A socket that has only sent so far, connected or not. */
BACKEND_TEST(path, nameless)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr to, a;
	int fd = bare_socket(DGRAM_UNIX, &to), connected;
	char path[128];

	for (connected = 0; connected < 2; connected++) {
		snprintf(path, sizeof(path), "%s", fresh_path());
		make_file(path, "");
		peer_open(&p, l, DGRAM_UNIX, NULL);
		if (connected)
			OK(dgram_connect_addr(p.s, &to));
		OK(send_copy(&p, 1, connected ? NULL : &to));
		turns(l, 3);
		cr_assert_eq(bare_recv(fd), 1);
		CHECK(dgram_bind_path(p.s, path, STALE), -EADDRINUSE);
		unlink(path);
		make_stale(path);
		OK(dgram_bind_path(p.s, path, STALE));
		cr_assert(!exists(lock_of(path)));
		CHECK(dgram_bind_path(p.s, path, STALE), ALREADY_BOUND);
		OK(dgram_address(p.s, &a));
		cr_assert(strcmp(a.u.un.sun_path, path) == 0);
		RUN_UNTIL(l, p.n[EV_LISTENING] == 1);
		/* Connected, it hears its peer only. */
		if (!connected) {
			bare_send(fd, &a, 7);
			RUN_UNTIL(l, p.got == 1);
		}
		OK(dgram_close(p.s, NULL, NULL));
		cr_assert(!exists(path));
		turns(l, 3);
	}
	free_loop(l);
	close(fd);
}

static char seen_path[128];
static int seen;

/* The descriptor is made; nothing has been looked for yet. */
static int
see(int fd, void *arg)
{
	struct peer *p = arg;
	int saved_errno = errno;

	seen += !exists(lock_of(seen_path)) && !is_alive(seen_path) &&
	    exists(seen_path) && fd == dgram_fileno(p->s);
	errno = saved_errno;
	return 0;
}

static int
give_up(int fd, void *arg)
{
	struct peer *p = arg;

	(void)fd;
	return dgram_close(p->s, NULL, NULL);
}

/* configure() comes first; and may close the socket. */
BACKEND_TEST(path, configure)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_options o = { .configure = see };

	snprintf(seen_path, sizeof(seen_path), "%s", fresh_path());
	make_stale(seen_path);
	seen = 0;
	peer_open(&p, l, DGRAM_UNIX, &o);
	OK(dgram_bind_path(p.s, seen_path, STALE));
	cr_assert_eq(seen, 1);
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 3);
	make_stale(seen_path);
	o.configure = give_up;
	peer_open(&p, l, DGRAM_UNIX, &o);
	CHECK(dgram_bind_path(p.s, seen_path, STALE), NOT_RUNNING);
	cr_assert(exists(seen_path) && !exists(lock_of(seen_path)));
	turns(l, 3);
	free_loop(l);
}

/* ---- many at once ---- */

#define RACERS	4

/* In memory that processes share. */
struct race {
	atomic_int ready, go, done, release;
	atomic_int result[RACERS];
	bool plain[RACERS];		/* by bind(2) alone */
	char path[128];
};

static struct race *race;

/* False: the test has failed, or it takes too long. */
static bool
until(atomic_int *v, int n)
{
	int64_t end = clock_ms() + 9000;
	int turns_left = 100;

	/* Mostly at once, all together; on a busy machine that takes too long. */
	while (atomic_load(v) < n) {
		if (clock_ms() > end)
			return false;
		if (turns_left-- > 0)
			sched_yield();
		else
			poll(NULL, 0, 1);
	}
	return true;
}

static int
race_plain(int *fd)
{
	struct dgram_addr a;

	(void)dgram_addr_unix(&a, race->path);
	*fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	return bind(*fd, &a.u.sa, a.len) < 0 ? -errno : 0;
}

/* One of them: binds when it is told to, each round; 0 if all went as it ought. */
static int
race_run(int who)
{
	struct dgram_options o = { .type = DGRAM_UNIX };
	struct dgram_socket *s;
	struct dgram_loop *l;
	int round, r, fd = -1;

	for (round = 1; round <= ROUNDS; round++) {
		if (dgram_loop_new(NULL, &l) < 0 || dgram_open(l, &o, &s) < 0)
			return 1;
		atomic_fetch_add(&race->ready, 1);
		if (!until(&race->go, round))
			return 2;
		r = race->plain[who] ? race_plain(&fd) :
		    dgram_bind_path(s, race->path, STALE);
		atomic_store(&race->result[who], r);
		atomic_fetch_add(&race->done, 1);
		if (!until(&race->release, round))
			return 3;
		if (dgram_loop_free(l) < 0)
			return 4;
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	return 0;
}

static void *
race_thread(void *arg)
{
	return (void *)(intptr_t)race_run((int)(intptr_t)arg);
}

/* Tells them each round what to do, and looks at what came of it. */
static void
race_judge(int n, bool stale)
{
	int round, i, won, lost;

	for (round = 1; round <= ROUNDS; round++) {
		cr_assert(until(&race->ready, n * round), "round %d", round);
		/* What bind(2) alone has made is nobody's. */
		(void)unlink(race->path);
		if (stale)
			make_stale(race->path);
		atomic_store(&race->go, round);
		cr_assert(until(&race->done, n * round), "round %d", round);
		for (i = won = lost = 0; i < n; i++) {
			won += atomic_load(&race->result[i]) == 0;
			lost += atomic_load(&race->result[i]) == -EADDRINUSE;
		}
		MUST(won == 1 && lost == n - 1, "round %d: %d %d", round, won,
		    lost);
		MUST(is_alive(race->path), "round %d", round);
		MUST(!exists(lock_of(race->path)), "round %d", round);
		atomic_store(&race->release, round);
	}
}

static void
race_start(void)
{
	race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE, MAP_SHARED |
	    MAP_ANONYMOUS, -1, 0);
	cr_assert(race != MAP_FAILED);
	snprintf(race->path, sizeof(race->path), "%s", fresh_path());
}

static void
race_processes(int n, bool stale, bool plain)
{
	pid_t pid[RACERS];
	int i, status;

	race_start();
	race->plain[0] = plain;
	for (i = 0; i < n; i++) {
		pid[i] = test_fork();
		if (pid[i] == 0)
			_exit(race_run(i));
	}
	race_judge(n, stale);
	for (i = 0; i < n; i++) {
		cr_assert_eq(waitpid(pid[i], &status, 0), pid[i]);
		cr_assert_eq(status, 0, "%d", status);
	}
	cr_assert(plain || !exists(race->path));
	munmap(race, sizeof(*race));
}

/* Several that each remove what the other has just bound. */
TEST(path, two_processes_stale)
{
	race_processes(2, true, false);
}

TEST(path, two_processes_nothing)
{
	race_processes(2, false, false);
}

TEST(path, four_processes_stale)
{
	race_processes(4, true, false);
}

TEST(path, four_processes_nothing)
{
	race_processes(4, false, false);
}

/* Somebody who knows nothing of the lock, half-way. */
TEST(path, beside_plain_bind)
{
	race_processes(2, false, true);
}

TEST(path, beside_plain_bind_many)
{
	race_processes(4, false, true);
}

static void
race_threads(bool stale)
{
	pthread_t thread[RACERS];
	void *status;
	int i;

	race_start();
	for (i = 0; i < RACERS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, race_thread,
		    (void *)(intptr_t)i), 0);
	race_judge(RACERS, stale);
	for (i = 0; i < RACERS; i++) {
		cr_assert_eq(pthread_join(thread[i], &status), 0);
		cr_assert(status == NULL);
	}
	cr_assert(!exists(race->path));
	munmap(race, sizeof(*race));
}

/* A lock that is the process's. */
TEST(path, threads_stale)
{
	race_threads(true);
}

TEST(path, threads_nothing)
{
	race_threads(false);
}

/* ---- killed ---- */

/* A server in a process of its own, which is bound when this returns. */
static pid_t
serve(const char *path)
{
	struct dgram_options o = { .type = DGRAM_UNIX };
	struct dgram_socket *s;
	struct dgram_loop *l;
	int tell[2], r;
	pid_t pid;

	MUST(pipe(tell) == 0, "%s", strerror(errno));
	pid = test_fork();
	if (pid == 0) {
		r = dgram_loop_new(NULL, &l);
		if (r == 0)
			r = dgram_open(l, &o, &s);
		if (r == 0)
			r = dgram_bind_path(s, path, STALE);
		if (write(tell[1], &r, sizeof(r)) != sizeof(r))
			_exit(1);
		for (;;)
			pause();
	}
	MUST(read(tell[0], &r, sizeof(r)) == sizeof(r), "%s", strerror(errno));
	close(tell[0]);
	close(tell[1]);
	MUST(r == 0, "bind: %s", dgram_err_name(r));
	return pid;
}

static void
slay(pid_t pid)
{
	int status;

	MUST(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid,
	    "%s", strerror(errno));
	MUST(WIFSIGNALED(status), "%d", status);
}

/* A daemon that was killed is started again. */
BACKEND_TEST(path, killed_and_restarted)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	char path[128];
	pid_t pid;
	int i;

	snprintf(path, sizeof(path), "%s", fresh_path());
	peer_open(&p, l, DGRAM_UNIX, NULL);
	for (i = 0; i < ROUNDS; i++) {
		pid = serve(path);
		CHECK(dgram_bind_path(p.s, path, STALE), -EADDRINUSE);
		MUST(is_alive(path), "round %d", i);
		slay(pid);
		MUST(exists(path) && !is_alive(path), "round %d", i);
		MUST(!exists(lock_of(path)), "round %d", i);
	}
	CHECK(dgram_bind_path(p.s, path, 0), -EADDRINUSE);
	OK(dgram_bind_path(p.s, path, STALE));
	free_loop(l);
	cr_assert(!exists(path));
}

/* A bind is killed after so many steps. */
static int steps_left;

static void
die(void)
{
	if (steps_left-- == 0)
		kill(getpid(), SIGKILL);
}

/* A bind that dies after so many steps; its status. */
static int
bind_and_die(const char *path, const struct dgram_options *options, int steps)
{
	struct dgram_options o = *options;
	struct dgi_os os = between(die);
	struct dgram_socket *s;
	struct dgram_loop *l;
	int status;
	pid_t pid = test_fork();

	if (pid == 0) {
		steps_left = -1;
		o.type = DGRAM_UNIX;
		if (dgi_loop_new(NULL, &os, NULL, &l) < 0 ||
		    dgram_open(l, &o, &s) < 0)
			_exit(1);
		steps_left = steps;
		_exit(dgram_bind_path(s, path, STALE) == 0 ? 0 : 2);
	}
	MUST(waitpid(pid, &status, 0) == pid, "%s", strerror(errno));
	return status;
}

/* Killed at any moment, it does not stop the next. */
BACKEND_TEST(path, killed_in_the_middle)
{
	struct dgram_options o = { .type = DGRAM_UNIX };
	char path[128];
	int with_stale, status, i, locks = 0;

	/* Of mode 0, as it is then, only root can ask whether it answers. */
	if (DGI_HAVE_PROC_FD && geteuid() == 0)
		o.path_mode = 0600;
	for (with_stale = 0; with_stale < 2; with_stale++) {
		for (i = 0;; i++) {
			snprintf(path, sizeof(path), "%s", fresh_path());
			if (with_stale)
				make_stale(path);
			status = bind_and_die(path, &o, i);
			if (!WIFSIGNALED(status))
				break;
			cr_assert_eq(WTERMSIG(status), SIGKILL);
			locks += exists(lock_of(path));
			start_and_end(backend, path);
		}
		cr_assert_eq(status, 0, "%d", status);
		cr_assert(i > 10 && locks > 5, "%d %d", i, locks);
	}
}

/* ---- the lock ---- */

/* Somebody who holds it and does not go on is not waited for. */
BACKEND_TEST(path, lock_held_by_a_stopped_process)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	char path[128];
	int fd, tell[2], status, i;
	int64_t begin;
	pid_t pid;

	snprintf(path, sizeof(path), "%s", fresh_path());
	make_stale(path);
	cr_assert_eq(pipe(tell), 0);
	pid = test_fork();
	if (pid == 0) {
		fd = open(lock_of(path), O_CREAT | O_RDWR, 0600);
		if (fd < 0 || flock(fd, LOCK_EX) < 0 ||
		    write(tell[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			raise(SIGSTOP);
	}
	cr_assert_eq(read(tell[0], &status, 1), 1);
	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	cr_assert(WIFSTOPPED(status));
	peer_open(&p, l, DGRAM_UNIX, NULL);
	begin = clock_ms();
	for (i = 0; i < 10; i++)
		CHECK(dgram_bind_path(p.s, path, STALE), -EADDRINUSE);
	cr_assert(clock_ms() - begin < 2000);
	cr_assert(exists(path) && exists(lock_of(path)));
	slay(pid);
	OK(dgram_bind_path(p.s, path, STALE));
	cr_assert(is_alive(path) && !exists(lock_of(path)));
	free_loop(l);
	close(tell[0]);
	close(tell[1]);
}

/* What is no lock of ours stays, and stops it; also where the bind would do. */
BACKEND_TEST(path, lock_is_something_else)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	char path[128], target[128], lock[140];
	struct stat before, st;
	int kind, r;

	for (kind = 0; kind < 6; kind++) {
		snprintf(path, sizeof(path), "%s", fresh_path());
		snprintf(target, sizeof(target), "%s", fresh_path());
		snprintf(lock, sizeof(lock), "%s.lock", path);
		if (kind % 2 == 1)
			make_stale(path);
		switch (kind) {
		case 0:
			cr_assert_eq(symlink(target, lock), 0);
			break;
		case 1:
			make_file(target, "");
			cr_assert_eq(symlink(target, lock), 0);
			break;
		case 2:
			cr_assert_eq(mkdir(lock, 0700), 0);
			break;
		case 3:
			cr_assert_eq(mkfifo(lock, 0600), 0);
			break;
		case 4:
			make_file(lock, "123\n");
			break;
		default:
			make_stale(lock);
			break;
		}
		cr_assert_eq(lstat(lock, &before), 0);
		peer_open(&p, l, DGRAM_UNIX, NULL);
		r = CALL(dgram_bind_path(p.s, path, STALE));
		cr_assert(r < 0 && r != -EADDRINUSE, "kind %d: %d", kind, r);
		cr_assert_eq(lstat(lock, &st), 0);
		cr_assert(st.st_ino == before.st_ino &&
		    st.st_size == before.st_size);
		cr_assert_eq(exists(target), kind == 1);
		cr_assert_eq(exists(path), kind % 2 == 1);
		CHECK(dgram_fileno(p.s), -EBADF);
		/* Of no concern without the flag. */
		unlink(path);
		OK(dgram_bind_path(p.s, path, 0));
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);
		cr_assert(exists(lock));
	}
	free_loop(l);
}

static mode_t lock_mode;

static int
note_mode(const struct dgi_os *os, int fd)
{
	struct stat st;

	lock_mode = fstat(fd, &st) == 0 ? st.st_mode & 07777 : 0;
	return dgi_file_lock(os, fd);
}

/* One that umask(2) has closed to its user, too, stops his next start. */
BACKEND_TEST(path, lock_has_a_mode)
{
	static const mode_t masks[] = { 0, 022, 077, 0200, 0777 };
	static struct peer p;
	struct dgi_os os = dgi_os_real;
	struct dgram_loop_options lo = { .backend = backend };
	struct dgram_loop *l;
	mode_t old = umask(0);
	size_t i;

	os.lock = note_mode;
	cr_assert_eq(dgi_loop_new(&lo, &os, NULL, &l), 0);
	for (i = 0; i < COUNT(masks); i++) {
		umask(masks[i]);
		peer_open(&p, l, DGRAM_UNIX, NULL);
		OK(dgram_bind_path(p.s, fresh_path(), STALE));
		cr_assert_eq(lock_mode, 0600, "%o", (unsigned)lock_mode);
	}
	umask(old);
	free_loop(l);
}

static int swaps;
static char swapped[140];

/*
 * The file vanishes when it has been opened, as if another had just ended; or
 * one more has begun.
 */
static int
swap_lock(const struct dgi_os *os, int fd)
{
	if (swaps > 0) {
		unlink(swapped);
		if (swaps-- % 2 == 0)
			make_file(swapped, "");
	}
	return dgi_file_lock(os, fd);
}

/* A lock on a file that is not there any more is none. */
BACKEND_TEST(path, lock_vanishes)
{
	static struct peer p;
	struct dgi_os os = dgi_os_real;
	struct dgram_loop_options lo = { .backend = backend };
	struct dgram_loop *l;
	char path[128];

	os.lock = swap_lock;
	cr_assert_eq(dgi_loop_new(&lo, &os, NULL, &l), 0);
	snprintf(path, sizeof(path), "%s", fresh_path());
	snprintf(swapped, sizeof(swapped), "%s.lock", path);
	peer_open(&p, l, DGRAM_UNIX, NULL);
	swaps = 1000;
	CHECK(dgram_bind_path(p.s, path, STALE), -EADDRINUSE);
	cr_assert(swaps > 900 && !exists(path));
	swaps = 4;
	OK(dgram_bind_path(p.s, path, STALE));
	cr_assert(swaps == 0 && !exists(swapped));
	free_loop(l);
}

/* The path is somebody's who has bound since it was found to be dead. */
static const char *other_path;
static int other_fd, probes;

static int
bind_meanwhile(const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	int r = dgi_os_real.connect(os, fd, sa, len);

	if (++probes == 1) {
		unlink(other_path);
		other_fd = bare_at(other_path, SOCK_DGRAM);
	}
	return r;
}

BACKEND_TEST(path, bound_meanwhile)
{
	static struct peer p;
	struct dgi_os os = dgi_os_real;
	struct dgram_loop_options lo = { .backend = backend };
	struct dgram_loop *l;
	char path[128];

	os.connect = bind_meanwhile;
	cr_assert_eq(dgi_loop_new(&lo, &os, NULL, &l), 0);
	snprintf(path, sizeof(path), "%s", fresh_path());
	make_stale(path);
	other_path = path;
	probes = 0;
	peer_open(&p, l, DGRAM_UNIX, NULL);
	CHECK(dgram_bind_path(p.s, path, STALE), -EADDRINUSE);
	cr_assert(is_alive(path) && !exists(lock_of(path)));
	close(other_fd);
	/* Dead by now. */
	OK(dgram_bind_path(p.s, path, STALE));
	free_loop(l);
}

/* ---- faults ---- */

/* Each call that a bind with the flag makes fails once, in front of a path: */
struct fault_case {
	char path[300];
	bool stale, is_long;
	mode_t mode;
	struct stat st;
};

static void
fault_case(struct fault_case *c, const char *backend)
{
	static const enum fault_call calls[] = { FAULT_SOCKET, FAULT_BIND,
		FAULT_CONNECT, FAULT_LSTAT, FAULT_OPEN, FAULT_FSTAT,
		FAULT_LOCK, FAULT_FCHMOD, FAULT_SET_OWNER, FAULT_SET_MODE,
		FAULT_GET_UMASK, FAULT_BINDAT, FAULT_CONNECTAT };
	struct dgram_owner owner = { geteuid(), (gid_t)-1 };
	struct dgram_options o = { .path_mode = c->mode,
	    .path_owner = c->mode != 0 ? &owner : NULL };
	static struct peer p;
	struct dgram_loop *l;
	struct fault_os f;
	struct stat st;
	unsigned k, before;
	size_t i;
	int r, fds, failed = 0;

	for (i = 0; i < COUNT(calls); i++) {
		for (k = 1; k < 20; k++) {
			if (c->stale && !exists(c->path)) {
				make_stale_far(c->path);
				MUST(lstat(c->path, &c->st) == 0, "lstat");
			}
			fault_init(&f);
			l = fault_loop(&f, backend, NULL);
			peer_open(&p, l, DGRAM_UNIX, &o);
			fds = test_count_fds();
			before = f.entry[calls[i]].calls;
			fault_at(&f, calls[i], k, -EIO);
			r = CALL(dgram_bind_path(p.s, c->path, STALE));
			MUST(r == 0 || r == -EIO || r == -EADDRINUSE,
			    "%zu %u: %d", i, k, r);
			MUST(!exists(lock_of(c->path)), "%zu %u", i, k);
			if (r < 0) {
				failed++;
				MUST(test_count_fds() == fds, "%zu %u", i, k);
				MUST(!exists(c->path) || (c->stale &&
				    lstat(c->path, &st) == 0 &&
				    st.st_ino == c->st.st_ino), "%zu %u", i, k);
				OK(dgram_bind_path(p.s, c->path, STALE));
			}
			MUST(test_count_fds() == fds + 1, "%zu %u", i, k);
			MUST(exists(c->path), "%zu %u", i, k);
			free_fault_loop(l, &f);
			/* One that was not told which is its own leaves it. */
			MUST(!exists(c->path) || (r == 0 &&
			    calls[i] == FAULT_LSTAT), "%zu %u", i, k);
			unlink(c->path);
			if (f.entry[calls[i]].calls - before < k)
				break;
		}
		MUST(k < 20, "%zu", i);
	}
	cr_assert(failed > 5, "%d", failed);
}

BACKEND_TEST(path, faults)
{
	struct fault_case c = { .stale = false };
	int way;

	for (way = 0; way < 8; way++) {
		c.stale = way % 2 == 1;
		c.is_long = (way & 2) != 0;
		c.mode = (way & 4) != 0 ? 0640 : 0;
		/* Not on this system. */
		if ((c.is_long && !DGI_HAVE_LONG_PATH) || (c.mode != 0 && !DGI_HAVE_PROC_FD))
			continue;
		snprintf(c.path, sizeof(c.path), "%s", c.is_long ?
		    long_path(200, 10) : fresh_path());
		fault_case(&c, backend);
	}
}

/* No memory for the path. */
BACKEND_TEST(path, no_memory)
{
	static struct peer p;
	struct dgram_loop *l;
	struct fault_os f;
	char path[300];
	size_t k;
	int is_long, r, failed = 0;

	for (is_long = 0; is_long <= DGI_HAVE_LONG_PATH; is_long++) {
		for (k = 1; k < 20; k++) {
			snprintf(path, sizeof(path), "%s", is_long ?
			    long_path(200, 10) : fresh_path());
			make_stale_far(path);
			fault_init(&f);
			l = fault_loop(&f, backend, NULL);
			peer_open(&p, l, DGRAM_UNIX, NULL);
			f.fail_alloc = f.allocs + k;
			r = CALL(dgram_bind_path(p.s, path, STALE));
			f.fail_alloc = 0;
			cr_assert(r == 0 || r == -ENOMEM);
			failed += r < 0;
			cr_assert(!exists(lock_of(path)));
			if (r < 0)
				OK(dgram_bind_path(p.s, path, STALE));
			free_fault_loop(l, &f);
			cr_assert(!exists(path));
		}
	}
	cr_assert(failed > 0);
}

/* ---- long paths ---- */

/* Client and server, each by a long path and by a short one. */
BACKEND_TEST(path, long_exchange)
{
#if DGI_HAVE_LONG_PATH
	static const size_t lengths[] = { 0, 109, 110, 255, 1000, 4000 };
	static struct peer p, q;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a, b;
	char path[PATH_MAX], host[200];
	size_t i;
	int fds, n, round;

	for (i = 0; i < COUNT(lengths); i++) {
		if (lengths[i] == 0)
			snprintf(path, sizeof(path), "%s", fresh_path());
		else
			snprintf(path, sizeof(path), "%s",
			    long_path(lengths[i], 20));
		/* The second time over what was left there. */
		for (round = 0; round < 2; round++) {
			peer_open(&p, l, DGRAM_UNIX, NULL);
			peer_open_bound(&q, l, DGRAM_UNIX, NULL);
			fds = test_count_fds();
			if (round == 0) {
				OK(dgram_bind_path(p.s, path, 0));
			} else {
				make_stale_far(path);
				CHECK(dgram_bind_path(p.s, path, 0),
				    -EADDRINUSE);
				OK(dgram_bind_path(p.s, path, STALE));
			}
			cr_assert_eq(test_count_fds(), fds + 1);
			cr_assert(exists(path) && !exists(lock_of(path)));
			CHECK(dgram_bind_path(p.s, path, STALE), ALREADY_BOUND);
			OK(dgram_connect_path(q.s, path));
			cr_assert_eq(test_count_fds(), fds + 1);
			CHECK(dgram_connect_path(q.s, path), IS_CONNECTED);
			OK(dgram_address(p.s, &a));
			OK(dgram_remote_address(q.s, &b));
			cr_assert(dgram_addr_equal(&a, &b));
			n = dgram_addr_host(&a, host, sizeof(host));
			cr_assert(n > 5 && strcmp(host + n - 5,
			    path + strlen(path) - 5) == 0);
			OK(send_done(&q, 1, NULL));
			RUN_UNTIL(l, p.got == 1 && q.n[EV_CONNECT] == 1);
			cr_assert(dgram_addr_equal(&p.from, &q.addr));
			OK(send_done(&p, 2, &p.from));
			RUN_UNTIL(l, q.got == 1);
			OK(dgram_disconnect(q.s));
			OK(dgram_close(p.s, NULL, NULL));
			cr_assert(!exists(path));
			CHECK(dgram_connect_path(q.s, path), -ENOENT);
			OK(dgram_close(q.s, NULL, NULL));
			turns(l, 3);
		}
	}
	free_loop(l);
#else
	(void)backend;
	cr_skip_test("no long paths on this system");
#endif
}

#if DGI_HAVE_PROC_FD

/* The only thread of a child; 0, or what went wrong. */
static int
alone(const char *dir)
{
	struct dgram_owner owner = { (uid_t)-1, getegid() };
	struct dgram_options o = { .type = DGRAM_UNIX };
	struct dgram_socket *s;
	struct dgram_loop *l;
	int64_t end = clock_ms() + 5000;
	struct stat st;
	char far[160];

	memset(far, 'd', sizeof(far));
	strcpy(far + 150, "/name");
	/* The first one ends. */
	while (exists("/proc/self/fd/0")) {
		if (clock_ms() > end)
			return 1;
		sched_yield();
	}
	(void)umask(027);
	far[150] = '\0';
	if (chdir(dir) < 0 || mkdir(far, 0700) < 0 ||
	    dgram_loop_new(NULL, &l) < 0 || dgram_open(l, &o, &s) < 0)
		return 2;
	far[150] = '/';
	if (dgram_bind_path(s, far, STALE) < 0 || dgram_open(l, &o, &s) < 0 ||
	    dgram_connect_path(s, far) < 0)
		return 3;
	o.path_owner = &owner;
	if (dgram_open(l, &o, &s) < 0 || dgram_bind_path(s, "mode", 0) < 0 ||
	    lstat("mode", &st) < 0 || (st.st_mode & 07777) != 0750)
		return 4;
	return dgram_loop_free(l) == 0 ? 0 : 5;
}

static void *
run_alone(void *arg)
{
	_exit(alone(arg));
	return NULL;
}

/* What /proc/self tells is of the first thread. */
TEST(path, first_thread_has_ended)
{
	pthread_t thread;
	char dir[128];
	int status;
	pid_t pid;

	snprintf(dir, sizeof(dir), "%s", test_tmpdir());
	pid = test_fork();
	if (pid == 0) {
		if (pthread_create(&thread, NULL, run_alone, dir) != 0)
			_exit(99);
		pthread_exit(NULL);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "%x", (unsigned)status);
}
#endif

/* A peer that is back at a long path, of which the address tells nothing. */
BACKEND_TEST(path, long_reconnect)
{
#if DGI_HAVE_LONG_PATH
	const struct dgram_options o = { .reconnect = true };
	static struct peer p, q;
	struct dgram_loop *l = test_loop(backend);
	char path[PATH_MAX];
	uint32_t round;

	snprintf(path, sizeof(path), "%s", long_path(300, 20));
	peer_open(&q, l, DGRAM_UNIX, &o);
	for (round = 0; round < 3; round++) {
		peer_open(&p, l, DGRAM_UNIX, NULL);
		OK(dgram_bind_path(p.s, path, 0));
		if (round == 0)
			OK(dgram_connect_path(q.s, path));
		RUN_UNTIL(l, q.n[EV_CONNECT] == (int)round + 1 &&
		    q.n[EV_DONE] == (int)round && p.got == (round > 0));
		cr_assert_eq(q.n[EV_ERROR], (int)round);
		OK(dgram_close(p.s, NULL, NULL));
		OK(send_done(&q, round, NULL));
		turns(l, 3);
	}
	OK(dgram_disconnect(q.s));
	/* By a name that is not long it is another peer. */
	peer_open_bound(&p, l, DGRAM_UNIX, NULL);
	OK(dgram_connect_addr(q.s, &p.addr));
	OK(send_done(&q, 7, NULL));
	RUN_UNTIL(l, p.got == 1);
	free_loop(l);
#else
	(void)backend;
	cr_skip_test("no long paths on this system");
#endif
}

/* What cannot be reached; nothing has been made then. */
BACKEND_TEST(path, too_long)
{
	const size_t room = sizeof(((struct sockaddr_un *)0)->sun_path);
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	static char huge[5001];
	char path[PATH_MAX];
	unsigned flags;

	for (flags = 0; flags <= STALE; flags++) {
		peer_open(&p, l, DGRAM_UNIX, NULL);
		/* The last part alone is. */
		snprintf(path, sizeof(path), "%s", long_path(room * 2, room));
		CHECK(dgram_bind_path(p.s, path, flags), -ENAMETOOLONG);
		CHECK(dgram_fileno(p.s), -EBADF);
		cr_assert(!exists(path) && !exists(lock_of(path)));
		memset(huge, 'h', sizeof(huge) - 1);
		CHECK(dgram_bind_path(p.s, huge, flags), -ENAMETOOLONG);
		CHECK(dgram_connect_path(p.s, huge), -ENAMETOOLONG);
		CHECK(dgram_fileno(p.s), -EBADF);
		memset(huge, '/', sizeof(huge) - 1);
		CHECK(dgram_bind_path(p.s, huge, flags), -ENAMETOOLONG);
		CHECK(dgram_send_path(p.s, "x", 1, huge, NULL, NULL),
		    -ENAMETOOLONG);
		CHECK(dgram_connect_path(p.s, path), -ENAMETOOLONG);
		OK(dgram_bind_path(p.s, fresh_path(), flags));
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);
	}
	free_loop(l);
}

/* Directories that are not there, or are none; slashes at the end. */
BACKEND_TEST(path, no_directory)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	char paths[2][300], *slash;
	unsigned flags;
	int i;

	snprintf(paths[0], sizeof(paths[0]), "%s", long_path(90, 4));
	snprintf(paths[1], sizeof(paths[1]), "%s", long_path(200, 4));
	peer_open(&p, l, DGRAM_UNIX, NULL);
	for (i = 0; i <= DGI_HAVE_LONG_PATH; i++) {
		for (flags = 0; flags <= STALE; flags++) {
			slash = strrchr(paths[i], '/');
			*slash = '\0';
			cr_assert_eq(rmdir(paths[i]), 0);
			*slash = '/';
			CHECK(dgram_bind_path(p.s, paths[i], flags), -ENOENT);
			*slash = '\0';
			make_file(paths[i], "");
			*slash = '/';
			CHECK(dgram_bind_path(p.s, paths[i], flags), -ENOTDIR);
			*slash = '\0';
			unlink(paths[i]);
			cr_assert_eq(mkdir(paths[i], 0700), 0);
			*slash = '/';
			CHECK(dgram_fileno(p.s), -EBADF);
			strcat(paths[i], "//");
			cr_assert(CALL(dgram_bind_path(p.s, paths[i],
			    flags)) < 0);
			paths[i][strlen(paths[i]) - 2] = '\0';
			cr_assert(!exists(paths[i]));
			cr_assert(!exists(lock_of(paths[i])));
		}
	}
	OK(dgram_bind_path(p.s, paths[DGI_HAVE_LONG_PATH], STALE));
	free_loop(l);
}

/*
 * One that is not root, in a directory that it may not write to: it has found its
 * way there before, for others may be closed to it.
 */
static int
unprivileged(const char *dir, const char *path, unsigned flags)
{
	struct dgram_options o = { .type = DGRAM_UNIX };
	struct dgram_socket *s;
	struct dgram_loop *l;
	int status;
	pid_t pid;

	MUST(chmod(dir, 0555) == 0, "%s", strerror(errno));
	pid = test_fork();
	if (pid == 0) {
		if (chdir(dir) < 0 || (geteuid() == 0 && setuid(65534) < 0) ||
		    dgram_loop_new(NULL, &l) < 0 || dgram_open(l, &o, &s) < 0)
			_exit(1);
		_exit(-dgram_bind_path(s, path, flags));
	}
	MUST(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "%d",
	    status);
	return -WEXITSTATUS(status);
}

/* 0, or the step that went wrong: sockets whose files have mode 0, of our own. */
static int
find_hidden(const char *dir)
{
	struct dgram_options o = { .type = DGRAM_UNIX, .path_mode = 0600 };
	struct dgram_socket *s;
	struct dgram_loop *l;
	struct stat st;
	int fd;

	if (chdir(dir) < 0 || (geteuid() == 0 && setuid(65534) < 0) ||
	    dgram_loop_new(NULL, &l) < 0 || dgram_open(l, &o, &s) < 0)
		return 1;
	fd = bare_at("x", SOCK_DGRAM);
	if (chmod("x", 0) < 0 ||
	    dgram_bind_path(s, "x", STALE) != -EADDRINUSE ||
	    lstat("x", &st) < 0 || (st.st_mode & 07777) != 0)
		return 2;
	close(fd);
	if (dgram_bind_path(s, "x", STALE) != 0 || lstat("x", &st) < 0 ||
	    (st.st_mode & 07777) != 0600 || exists("x.lock"))
		return 3;
	return dgram_loop_free(l) == 0 && !exists("x") ? 0 : 4;
}

/* Who is killed between bind(2) and chmod(2) can never start again. */
TEST(path, killed_while_hidden)
{
	char dir[128];
	int status;
	pid_t pid;

	if (!DGI_HAVE_PROC_FD)
		cr_skip_test("no file appears with mode 0 on this system");
	snprintf(dir, sizeof(dir), "%s", test_tmpdir());
	cr_assert_eq(chmod(dir, 0777), 0);
	fflush(NULL);
	pid = test_fork();
	cr_assert(pid >= 0);
	if (pid == 0)
		_exit(find_hidden(dir));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "%#x", (unsigned)status);
}

TEST(path, read_only_directory)
{
	char dir[128], path[300];

	snprintf(dir, sizeof(dir), "%s", test_tmpdir());
	cr_assert_eq(unprivileged(dir, "new", 0), -EACCES);
	cr_assert_eq(unprivileged(dir, "new", STALE), -EACCES);
	cr_assert_eq(unprivileged(dir, "new", STALE << 1), -EINVAL);
	chmod(dir, 0755);
	snprintf(path, sizeof(path), "%s/old", dir);
	make_stale(path);
	cr_assert_eq(unprivileged(dir, "old", STALE), -EACCES);
	chmod(dir, 0755);
	cr_assert(exists(path) && !exists(lock_of(path)));
	snprintf(path, sizeof(path), "%s/new", dir);
	cr_assert(!exists(path) && !exists(lock_of(path)));
}

/* From elsewhere by the time of the close: what is there is another's. */
BACKEND_TEST(path, relative)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	char back[256], here[128], there[128], name[300];
	int is_long, fd;
	unsigned flags;

	cr_assert(getcwd(back, sizeof(back)) != NULL);
	snprintf(here, sizeof(here), "%s", test_tmpdir());
	snprintf(there, sizeof(there), "%s", test_tmpdir());
	for (is_long = 0; is_long <= DGI_HAVE_LONG_PATH; is_long++) {
		cr_assert_eq(chdir(there), 0);
		if (!is_long) {
			strcpy(name, "name");
		} else {
			memset(name, 'n', 150);
			strcpy(name + 150, "/name");
			name[150] = '\0';
			cr_assert(mkdir(name, 0700) == 0 &&
			    chdir(here) == 0 && mkdir(name, 0700) == 0 &&
			    chdir(there) == 0);
			name[150] = '/';
		}
		fd = bare_socket(DGRAM_UNIX, &p.addr);
		cr_assert_eq(rename(p.addr.u.un.sun_path, name), 0);
		for (flags = 0; flags <= STALE; flags++) {
			cr_assert_eq(chdir(here), 0);
			peer_open(&p, l, DGRAM_UNIX, NULL);
			OK(dgram_bind_path(p.s, name, flags));
			cr_assert_eq(chdir(there), 0);
			OK(dgram_close(p.s, NULL, NULL));
			cr_assert(exists(name));
			cr_assert_eq(chdir(here), 0);
			cr_assert(exists(name) && !exists(lock_of(name)));
			turns(l, 3);
			/* Where it was bound it is removed. */
			unlink(name);
			peer_open(&p, l, DGRAM_UNIX, NULL);
			OK(dgram_bind_path(p.s, name, flags));
			OK(dgram_close(p.s, NULL, NULL));
			cr_assert(!exists(name));
			turns(l, 3);
		}
		close(fd);
	}
	free_loop(l);
	cr_assert_eq(chdir(back), 0);
}
