/* SPDX-License-Identifier: ISC */

/*
 * AF_UNIX datagrams to and from programs of others: logger(1), systemd-notify(1),
 * socat(1), Python.  What the kernel says of the sender is compared with what it
 * is.  A tool that is missing is a test that is skipped.
 */

#include "program.h"

#include <sys/stat.h>

/* ---- what the library receives ---- */

#define MOST	8

struct note {
	char text[512];
	pid_t pid;
	uid_t uid;
	gid_t gid;
	unsigned flags;
	int fds[4];		/* kept; closed by forget() */
	size_t nfds;
	struct dgram_addr from;
};

struct notes {
	struct dgram_loop *loop;
	struct dgram_socket *s;
	char path[96];
	struct note note[MOST];
	size_t n;
};

static void
on_note(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	struct notes *r = arg;
	size_t i;

	(void)s;
	for (i = 0; i < n; i++, r->n++) {
		struct note *t = &r->note[r->n];

		HOLDS(r->n < MOST && m[i].size < sizeof(t->text) &&
		    m[i].nfds <= COUNT(t->fds), "too much");
		memcpy(t->text, m[i].data, m[i].size);
		t->text[m[i].size] = '\0';
		t->pid = m[i].pid;
		t->uid = m[i].uid;
		t->gid = m[i].gid;
		t->flags = m[i].flags;
		t->nfds = m[i].nfds;
		if (t->nfds > 0)
			memcpy(t->fds, m[i].fds, t->nfds * sizeof(t->fds[0]));
		t->from = *m[i].remote;
	}
}

static void
on_bad(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	(void)s, (void)arg;
	HOLDS(e == NULL, "%s: %s", e->syscall, dgram_err_name(e->status));
}

/* Receives at a path of its own, and at the abstract name if there is one. */
static void
listen_for(struct notes *r, const char *name)
{
	static const struct dgram_events events = { .message = on_note,
	    .error = on_bad };
	const struct dgram_options o = { .type = DGRAM_UNIX, .arg = r,
	    .want = DGRAM_CREDS | DGRAM_FDS, .events = &events };
	struct dgram_addr a;
	int e;

	memset(r, 0, sizeof(*r));
	snprintf(r->path, sizeof(r->path), "%s", fresh_path());
	OK(dgram_loop_new(NULL, &r->loop));
	e = dgram_open(r->loop, &o, &r->s);
	if (e == -ENOTSUP) {
		free_loop(r->loop);
		cr_skip_test("no credentials on this system");
	}
	CHECK(e, 0);
	if (name != NULL) {
		OK(dgram_addr_abstract(&a, name, strlen(name)));
		OK(dgram_bind_addr(r->s, &a));
	} else {
		OK(dgram_bind_path(r->s, r->path, 0));
	}
}

static void
hear_notes(struct notes *r, struct program *p, size_t n)
{
	int64_t end = clock_ms() + PATIENCE;

	while (r->n < n && clock_ms() < end)
		turn_wait(r->loop, 20);
	if (r->n < n)
		(void)status_of(p);
	HOLDS(r->n >= n, "%zu of %zu datagrams: %s", r->n, n, p->text);
}

static void
forget(struct note *t)
{
	while (t->nfds > 0)
		close(t->fds[--t->nfds]);
}

/* It is of that process and of who runs this. */
static void
is_from(const struct note *t, pid_t pid)
{
	HOLDS((t->flags & DGRAM_CREDS) != 0, "%s: from nobody", t->text);
	HOLDS(t->uid == getuid() && t->gid == getgid(), "%s: %ld %ld",
	    t->text, (long)t->uid, (long)t->gid);
	/* 0: not told. */
	HOLDS(t->pid == pid || (!ON_LINUX && t->pid == 0),
	    "%s: of %ld, not %ld", t->text, (long)t->pid, (long)pid);
}

static void
is_text(const struct note *t, const char *text)
{
	HOLDS(strcmp(t->text, text) == 0, "\"%s\", not \"%s\"", t->text, text);
}

/* ---- tools ---- */

TEST(tools, logger)
{
	char expected[64];
	struct program p;
	struct notes r;

	NEED("logger", "--version", "util-linux");
	listen_for(&r, NULL);
	PROGRAM(&p, "logger", "-u", r.path, "-d", "-i", "-t", "tag", "-p",
	    "auth.crit", "--socket-errors=on", "hello there");
	hear_notes(&r, &p, 1);
	is_from(&r.note[0], p.pid);
	HOLDS(strncmp(r.note[0].text, "<34>", 4) == 0, "%s", r.note[0].text);
	snprintf(expected, sizeof(expected), " tag[%ld]: hello there",
	    (long)p.pid);
	HOLDS(strstr(r.note[0].text, expected) != NULL, "%s", r.note[0].text);
	cr_assert_eq(r.note[0].from.len, 0, "logger has a name");
	ends_itself(&p);
	free_loop(r.loop);
}

/*
 * As root it says READY=1 in the name of who has started it, here this process;
 * the barrier is its own.  It waits for the end of the barrier's descriptor.
 */
static void
notify_by_systemd(const char *name)
{
	char where[128];
	struct program p;
	struct notes r;
	pid_t ready;
	int status;

	NEED("systemd-notify", "--version", "systemd");
	listen_for(&r, name);
	snprintf(where, sizeof(where), "%s%s", name != NULL ? "@" : "",
	    name != NULL ? name : r.path);
	setenv("NOTIFY_SOCKET", where, 1);
	PROGRAM(&p, "systemd-notify", "--ready", "--status=all is well");
	hear_notes(&r, &p, 1);
	is_text(&r.note[0], "READY=1\nSTATUS=all is well");
	ready = r.note[0].pid;
	HOLDS(ready == p.pid || ready == getpid(), "of %ld", (long)ready);
	is_from(&r.note[0], ready);
	cr_assert_eq(r.note[0].nfds, 0u);
	hear_notes(&r, &p, 2);
	is_text(&r.note[1], "BARRIER=1");
	is_from(&r.note[1], p.pid);
	HOLDS(r.note[1].nfds == 1, "%zu descriptors", r.note[1].nfds);
	HOLDS(waitpid(p.pid, &status, WNOHANG) == 0, "it does not wait");
	forget(&r.note[1]);
	ends_itself(&p);
	/* In time, and without a barrier. */
	PROGRAM(&p, "systemd-notify", "--no-block", "STOPPING=1");
	hear_notes(&r, &p, 3);
	is_text(&r.note[2], "STOPPING=1");
	ends_itself(&p);
	turns(r.loop, 3);
	cr_assert_eq(r.n, 3u);
	free_loop(r.loop);
}

TEST(tools, systemd_notify)
{
	notify_by_systemd(NULL);
}

TEST(tools, systemd_notify_abstract)
{
	char name[64];

	if (!DGI_OS_LINUX)
		cr_skip_test("no abstract names on this system");
	snprintf(name, sizeof(name), "dgt %ld", (long)getpid());
	notify_by_systemd(name);
}

TEST(tools, socat_sends)
{
	char file[128], to[128];
	struct program p;
	struct notes r;

	NEED("socat", "-V", "socat");
	listen_for(&r, NULL);
	snprintf(file, sizeof(file), "%s/text", test_tmpdir());
	write_file(file, "from a file");
	snprintf(to, sizeof(to), "UNIX-SENDTO:%s", r.path);
	PROGRAM(&p, "socat", "-u", file, to);
	hear_notes(&r, &p, 1);
	is_text(&r.note[0], "from a file");
	is_from(&r.note[0], p.pid);
	ends_itself(&p);
	free_loop(r.loop);
}

/* What became of a send. */
static void
on_done(struct dgram_socket *s, int status, void *arg)
{
	(void)s;
	*(int *)arg = status;
}

/* It is there when it takes the datagram. */
static void
send_when_there(struct notes *r, struct program *p, const char *path,
    const char *text)
{
	int64_t end = clock_ms() + PATIENCE;
	int status = -ENOENT;

	while (status == -ENOENT || status == -ECONNREFUSED) {
		status = 1;
		OK(dgram_send_path(r->s, text, strlen(text), path, on_done,
		    &status));
		while (status == 1)
			turn_wait(r->loop, 20);
		if (clock_ms() >= end)
			(void)status_of(p);
		HOLDS(clock_ms() < end, "nobody at %s: %s", path, p->text);
	}
	HOLDS(status == (int)strlen(text), "%s", dgram_err_name(status));
}

/* It gives the datagram back to where that came from. */
TEST(tools, socat_answers)
{
	char path[96], address[128];
	struct program p;
	struct notes r;

	NEED("socat", "-V", "socat");
	listen_for(&r, NULL);
	snprintf(path, sizeof(path), "%s", fresh_path());
	snprintf(address, sizeof(address), "UNIX-RECVFROM:%s", path);
	PROGRAM(&p, "socat", address, "PIPE");
	send_when_there(&r, &p, path, "there and back");
	hear_notes(&r, &p, 1);
	is_text(&r.note[0], "there and back");
	is_from(&r.note[0], p.pid);
	cr_assert_eq(dgram_addr_host(&r.note[0].from, address,
	    sizeof(address)), (int)strlen(path));
	HOLDS(strcmp(address, path) == 0, "from %s", address);
	/* It waits for more until its own time is over. */
	kill(p.pid, SIGTERM);
	(void)status_of(&p);
	free_loop(r.loop);
}

/* ---- Python ---- */

/*
 * Sends its text, then the same with credentials that it has itself filled in,
 * then a pipe by send_fds(); prints what came through the pipe.  What it then
 * receives it prints: text, what the file says that came along, and who sent it.
 */
static const char python[] =
"import os, socket, struct, sys\n"
"s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
"s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)\n"
"s.bind(sys.argv[2])\n"
"s.connect(sys.argv[1])\n"
"who = os.getpid(), os.getuid(), os.getgid()\n"
"s.send(b'plain %d' % who[0])\n"
"s.sendmsg([b'filled in'], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS,\n"
"    struct.pack('3i', *who))])\n"
"r, w = os.pipe()\n"
"socket.send_fds(s, [b'a pipe'], [w, r])\n"
"os.close(w)\n"
"print(os.read(r, 100).decode(), 'came through', flush=True)\n"
"data, control, flags, sender = s.recvmsg(100, 1000)\n"
"for level, kind, value in control:\n"
"    if kind == socket.SCM_CREDENTIALS:\n"
"        print('from %d %d %d' % struct.unpack('3i', value))\n"
"    if kind == socket.SCM_RIGHTS:\n"
"        fd = struct.unpack('i', value)[0]\n"
"        print('file:', os.pread(fd, 100, 0).decode())\n"
"print('text:', data.decode(), 'of', sender, 'flags', flags)\n";

static void
send_file(struct notes *r, const struct dgram_addr *to, const char *content)
{
	struct iovec iov = { (void *)(uintptr_t)"a file", 6 };
	char path[96];
	int fd;
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1, .to = to,
	    .fds = &fd, .nfds = 1 };

	snprintf(path, sizeof(path), "%s", fresh_path());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	HOLDS(fd >= 0 && write(fd, content, strlen(content)) ==
	    (ssize_t)strlen(content), "%s", path);
	/* Duplicated by the call. */
	OK(dgram_send_batch(r->s, &d, 1, NULL, NULL));
	close(fd);
}

TEST(tools, python)
{
	char own[96], line[160];
	struct program p;
	struct notes r;
	struct stat st;
	pid_t pid;

	if (!DGI_OS_LINUX)
		cr_skip_test("Python speaks of Linux here");
	NEED("python3", "-V", "Python 3");
	listen_for(&r, NULL);
	snprintf(own, sizeof(own), "%s", fresh_path());
	PROGRAM(&p, "python3", "-c", python, r.path, own);
	hear_notes(&r, &p, 3);
	HOLDS(sscanf(r.note[0].text, "plain %d", &pid) == 1, "%s",
	    r.note[0].text);
	is_from(&r.note[0], pid);
	is_text(&r.note[1], "filled in");
	is_from(&r.note[1], pid);
	is_text(&r.note[2], "a pipe");
	is_from(&r.note[2], pid);
	HOLDS(r.note[2].nfds == 2 && (r.note[2].flags & DGRAM_FDS) != 0,
	    "%zu descriptors", r.note[2].nfds);
	HOLDS(fstat(r.note[2].fds[0], &st) == 0 && S_ISFIFO(st.st_mode) &&
	    (fcntl(r.note[2].fds[0], F_GETFD) & FD_CLOEXEC) != 0,
	    "not a pipe, or not close-on-exec");
	HOLDS(write(r.note[2].fds[0], "this", 4) == 4, "%s", strerror(errno));
	forget(&r.note[2]);
	says(&p, "this came through\n");
	send_file(&r, &r.note[2].from, "its content");
	turns(r.loop, 1);
	snprintf(line, sizeof(line), "from %ld %ld %ld\n", (long)getpid(),
	    (long)getuid(), (long)getgid());
	says(&p, line);
	says(&p, "file: its content\n");
	snprintf(line, sizeof(line), "text: a file of %s flags ", r.path);
	says(&p, line);
	ends_itself(&p);
	free_loop(r.loop);
}
