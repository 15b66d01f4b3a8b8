/* SPDX-License-Identifier: ISC */

/*
 * The examples of the manual at work: each is started as a program of its own,
 * and bare sockets talk to it.  Each must end with 0, on SIGTERM if it is a
 * server, and leave no process.
 */

#include "program.h"

#ifndef DGT_EXAMPLES

TEST(examples, all)
{
	cr_skip_test("the examples are not built here");
}

#else

/* ---- a program of the examples ---- */

/* The descriptor that the next program has besides 0, 1 and 2, and as which. */
static int give = -1, give_as;

static void
give_socket(void)
{
	char pid[16];

	if (give < 0)
		return;
	if (dup2(give, give_as) < 0)
		_exit(126);
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	setenv("LISTEN_PID", give_as == 3 ? pid : "1", 1);
	setenv("LISTEN_FDS", "1", 1);
}

static const char *
example(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", DGT_EXAMPLES, name);
	return path;
}

static void
start(struct program *p, const char *const *argv)
{
	const char *args[PROGRAM_ARGS];
	size_t i;

	for (i = 0; argv[i] != NULL; i++)
		args[i] = argv[i];
	args[0] = example(argv[0]);
	args[i] = NULL;
	program_child = give_socket;
	program_start(p, args);
}

#define START(p, ...)	start(p, (const char *const[]){ __VA_ARGS__, NULL })

/* ---- datagrams ---- */

static const char *
text_of(int n)
{
	static char text[16];

	snprintf(text, sizeof(text), "%d", n);
	return text;
}

static struct dgram_addr
at(const char *host, int port)
{
	struct dgram_addr a;

	HOLDS(dgram_addr_parse(&a, host, port) == 0, "%s", host);
	return a;
}

static void
tell(int fd, const struct dgram_addr *to, const char *text)
{
	HOLDS(sendto(fd, text, strlen(text), 0, &to->u.sa, to->len) ==
	    (ssize_t)strlen(text), "%s: %s", text, strerror(errno));
}

/* The next datagram as text, and where it came from. */
static const char *
hear(int fd, struct dgram_addr *from)
{
	static char text[512];
	struct dgram_addr a = { .len = sizeof(a.u) };
	ssize_t r;

	HOLDS(readable(fd, clock_ms() + PATIENCE), "nothing came");
	r = recvfrom(fd, text, sizeof(text) - 1, 0, &a.u.sa, &a.len);
	HOLDS(r >= 0, "%s", strerror(errno));
	text[r] = '\0';
	if (from != NULL)
		*from = a;
	return text;
}

static void
answers(int fd, const struct dgram_addr *to, const char *text)
{
	struct dgram_addr from;
	const char *got;

	tell(fd, to, text);
	got = hear(fd, &from);
	HOLDS(strcmp(got, text) == 0, "%s", got);
	HOLDS(dgram_addr_equal(&from, to), "from another");
}

/* ---- Node's documentation ---- */

TEST(examples, server)
{
	struct dgram_addr own, to;
	int fd = bare_socket(DGRAM_UDP4, &own);
	struct program p;
	char line[96];

	START(&p, "server", "0");
	to = at("127.0.0.1", number_after(&p, "server listening 0.0.0.0:"));
	tell(fd, &to, "hello");
	tell(fd, &to, "a\033b");
	/* Among them the second half of the control codes, as UTF-8, too. */
	tell(fd, &to, "c\302\2330m");
	snprintf(line, sizeof(line), "server got: hello from 127.0.0.1:%d\n",
	    dgram_addr_port(&own));
	says(&p, line);
	says(&p, "server got: a\\x1bb from ");
	says(&p, "server got: c\\xc2\\x9b0m from ");
	ends_on_sigterm(&p);
	close(fd);
}

TEST(examples, multi_buffer)
{
	struct dgram_addr own, from;
	int fd = bare_socket(DGRAM_UDP4, &own), status;
	struct program p;

	START(&p, "multi_buffer", text_of(dgram_addr_port(&own)));
	HOLDS(strcmp(hear(fd, &from), "Some bytes") == 0, "another datagram");
	HOLDS(number_after(&p, "10 bytes sent from port ") ==
	    dgram_addr_port(&from), "%s", p.text);
	ends_itself(&p);
	START(&p, "multi_buffer", "0");
	status = status_of(&p);
	HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%s", p.text);
	HOLDS(strstr(p.text, "Port is not") != NULL, "%s", p.text);
	close(fd);
}

TEST(examples, connected)
{
	struct dgram_addr own, from;
	int fd = bare_socket(DGRAM_UDP4, &own);
	struct program p;
	char line[96];

	START(&p, "connected", text_of(dgram_addr_port(&own)));
	HOLDS(strcmp(hear(fd, &from), "Some bytes") == 0, "another datagram");
	snprintf(line, sizeof(line), "10 bytes sent from 127.0.0.1:%d to "
	    "127.0.0.1:%d\n", dgram_addr_port(&from), dgram_addr_port(&own));
	says(&p, line);
	ends_itself(&p);
	close(fd);
}

/* What is no port is not taken for 0, which would be any. */
TEST(examples, bad_ports)
{
	static const char *const args[][4] = { { "server" }, { "abort" },
		{ "broadcast", "receive" }, { "multicast", "receive", "*" },
		{ "workers" }, { "connected" }, { "multi_buffer" } };
	static const char *const ports[] = { "x", "", "80x", "-1", "65536" };
	struct program p;
	size_t i, k, n;
	int status;

	for (i = 0; i < COUNT(args); i++) {
		for (k = 0; k < COUNT(ports); k++) {
			const char *argv[5] = { NULL };

			for (n = 0; args[i][n] != NULL; n++)
				argv[n] = args[i][n];
			argv[n] = ports[k];
			start(&p, argv);
			status = status_of(&p);
			nstarted--;
			HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 1 &&
			    strstr(p.text, "Port is not") != NULL, "%s %s: %s",
			    args[i][0], ports[k], p.text);
		}
	}
}

TEST(examples, broadcast)
{
	struct program sender, hearer;
	struct dgram_addr own, to;
	char line[96];
	int fd, port;

	if (!DGI_OS_LINUX)
		cr_skip_test("no broadcast on the loopback");
	fd = bare_socket(DGRAM_UDP4, &own);
	START(&hearer, "broadcast", "receive", "0");
	port = number_after(&hearer, "listening on port ");
	START(&sender, "broadcast", "send", text_of(port), "127.255.255.255",
	    "to all");
	snprintf(line, sizeof(line), "6 bytes from 127.0.0.1:%d, broadcast\n",
	    number_after(&sender, "6 bytes sent from port "));
	says(&hearer, line);
	ends_itself(&sender);
	to = at("127.0.0.1", port);
	tell(fd, &to, "you");
	snprintf(line, sizeof(line), "3 bytes from 127.0.0.1:%d\n",
	    dgram_addr_port(&own));
	says(&hearer, line);
	ends_on_sigterm(&hearer);
	close(fd);
}

TEST(examples, multicast)
{
	struct program sender, hearer;
	struct dgram_addr own, to;
	char line[96];
	int fd, port;

	if (!DGI_OS_LINUX)
		cr_skip_test("no groups on the loopback");
	fd = bare_socket(DGRAM_UDP4, &own);
	START(&hearer, "multicast", "receive", "lo", "0");
	port = number_after(&hearer, "listening on 224.0.0.114 port ");
	START(&sender, "multicast", "send", "127.0.0.1", text_of(port),
	    "to some");
	snprintf(line, sizeof(line), "7 bytes from 127.0.0.1:%d to the "
	    "group\n", number_after(&sender, "7 bytes sent from port "));
	says(&hearer, line);
	ends_itself(&sender);
	to = at("127.0.0.1", port);
	tell(fd, &to, "you");
	snprintf(line, sizeof(line), "3 bytes from 127.0.0.1:%d\n",
	    dgram_addr_port(&own));
	says(&hearer, line);
	ends_on_sigterm(&hearer);
	close(fd);
}

TEST(examples, log_by_path_and_port)
{
	struct program log, sender;
	struct dgram_addr own, to;
	char path[96], line[160];
	int fd = bare_socket(DGRAM_UDP4, &own), name;

	snprintf(path, sizeof(path), "%s/log", test_tmpdir());
	START(&log, "syslogd", "0", path);
	to = at("127.0.0.1", number_after(&log, "listening on 127.0.0.1:"));
	snprintf(line, sizeof(line), "listening on %s\n", path);
	says(&log, line);
	START(&sender, "syslog_send", path, "tag", "hello");
	says(&sender, " bytes sent to ");
	ends_itself(&sender);
	snprintf(line, sizeof(line), "%s 1.5 ", path);
	says(&log, line);
	says(&log, " tag: hello\n");
	tell(fd, &to, "<34>su: failed");
	says(&log, " 4.2 su: failed\n");
	tell(fd, &to, "no priority");
	says(&log, " 1.5 no priority\n");
	/* Of a sender whose name would write to the terminal. */
	snprintf(line, sizeof(line), "%s/a\n\033[2J", test_tmpdir());
	OK(dgram_addr_unix(&own, line));
	name = socket(AF_UNIX, SOCK_DGRAM, 0);
	OK(bind(name, &own.u.sa, own.len));
	OK(dgram_addr_unix(&to, path));
	tell(name, &to, "<34>hi");
	says(&log, "/a\\x0a\\x1b[2J 4.2 hi\n");
	close(name);
	cr_assert_eq(unlink(line), 0);
	ends_on_sigterm(&log);
	HOLDS(access(path, F_OK) < 0, "the path is left");
	close(fd);
}

/* ---- echoes ---- */

TEST(examples, echo)
{
	EACH_TYPE(t) {
		struct dgram_addr own, to;
		struct program p;
		int fd;

		if (t == DGRAM_UNIX)
			break;
		fd = bare_socket(t, &own);
		START(&p, "echo", t == DGRAM_UDP4 ? "udp4" : "udp6", "0");
		to = at(t == DGRAM_UDP4 ? "127.0.0.1" : "::1",
		    number_after(&p, "listening on port "));
		answers(fd, &to, "hello");
		ends_on_sigterm(&p);
		close(fd);
	}
}

TEST(examples, unix_echo)
{
	struct program server, client;
	char path[96], own[96];

	snprintf(path, sizeof(path), "%s/server", test_tmpdir());
	snprintf(own, sizeof(own), "%s/client", test_tmpdir());
	/* The first leaves its path behind. */
	START(&server, "unix_echo", "server", path);
	says(&server, "listening on ");
	kill(server.pid, SIGKILL);
	(void)status_of(&server);
	START(&server, "unix_echo", "server", path);
	says(&server, "listening on ");
	START(&client, "unix_echo", "client", path, own, "one", "two");
	says(&client, "one\ntwo\n");
	ends_itself(&client);
	HOLDS(access(own, F_OK) < 0, "the client's path is left");
	ends_on_sigterm(&server);
	HOLDS(access(path, F_OK) < 0, "the server's path is left");
}

/* The one that was started ends at once, and the daemon on its own. */
TEST(examples, daemon)
{
	struct dgram_addr own, to;
	int fd = bare_socket(DGRAM_UDP4, &own), status;
	struct program p;
	pid_t pid;

	START(&p, "daemon", "0");
	to = at("127.0.0.1", number_after(&p, "listening on 127.0.0.1:"));
	pid = number_after(&p, "pid ");
	HOLDS(pid > 1, "%s", p.text);
	started[nstarted++] = pid;
	HOLDS(waitpid(p.pid, &status, 0) == p.pid && ENDED_WELL(status), "%s",
	    p.text);
	answers(fd, &to, "hello");
	kill(pid, SIGTERM);
	HOLDS(readable(p.alive, clock_ms() + PATIENCE), "it does not end");
	close(p.out);
	close(p.alive);
	close(fd);
}

/* ---- descriptors of others ---- */

TEST(examples, adopt_from_inetd)
{
	struct dgram_addr own, to;
	int fd = bare_socket(DGRAM_UDP4, &own);
	struct program p;

	give = bare_socket(DGRAM_UDP4, &to);
	give_as = 0;
	START(&p, "adopt");
	answers(fd, &to, "hello");
	ends_on_sigterm(&p);
	/* It is ours again, and the next one begins with what waits. */
	tell(fd, &to, "waits");
	START(&p, "adopt", "1");
	HOLDS(strcmp(hear(fd, NULL), "waits") == 0, "another answer");
	ends_itself(&p);
	HOLDS(p.n == 0, "%s", p.text);
	close(give);
	close(fd);
}

TEST(examples, adopt_from_systemd)
{
	EACH_TYPE(t) {
		struct dgram_addr own, to;
		int fd = bare_socket(t, &own);
		struct program p;

		give = bare_socket(t, &to);
		give_as = 3;
		START(&p, "adopt");
		says(&p, "listening on ");
		close(give);
		answers(fd, &to, "hello");
		ends_on_sigterm(&p);
		close(fd);
	}
}

/* Which of them has a datagram is the kernel's choice: one of them is stopped. */
TEST(examples, workers)
{
	struct dgram_addr own, to, from;
	int fd = bare_socket(DGRAM_UDP4, &own), i, status;
	char expected[32];
	struct program p;
	pid_t pid[2];

	START(&p, "workers", "0");
	to = at("127.0.0.1", number_after(&p, "listening on port "));
	says(&p, " by fork\n");
	says(&p, " by message\n");
	for (i = 0; i < 2; i++) {
		const char *line = says(&p, i == 0 ? " by fork" :
		    " by message");

		while (line > p.text && line[-1] != ' ')
			line--;
		pid[i] = atoi(line);
		HOLDS(pid[i] > 1, "%s", p.text);
	}
	for (i = 0; i < 2; i++) {
		kill(pid[!i], SIGSTOP);
		tell(fd, &to, "who");
		snprintf(expected, sizeof(expected), "worker %ld",
		    (long)pid[i]);
		HOLDS(strcmp(hear(fd, &from), expected) == 0, "the other");
		HOLDS(dgram_addr_equal(&from, &to), "from another");
		kill(pid[!i], SIGCONT);
	}
	ends_on_sigterm(&p);
	/* The end of one is the end of all. */
	START(&p, "workers", "0");
	says(&p, " by fork\n");
	pid[0] = number_after(&p, "worker ");
	says(&p, " by message\n");
	kill(pid[0], SIGKILL);
	status = status_of(&p);
	HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%#x",
	    (unsigned)status);
	close(fd);
}

/* Both are closed by the one call, and the program ends by itself. */
TEST(examples, abort)
{
	struct dgram_addr own, to;
	int fd = bare_socket(DGRAM_UDP4, &own), port, i;
	char line[96] = "listening on port ";
	struct program p;

	START(&p, "abort", "0", "0");
	for (i = 0; i < 2; i++) {
		port = number_after(&p, line);
		to = at("127.0.0.1", port);
		tell(fd, &to, i == 0 ? "one" : "three");
		says(&p, i == 0 ? "3 bytes from 127.0.0.1:" :
		    "5 bytes from 127.0.0.1:");
		snprintf(line, sizeof(line), "listening on port %d\n"
		    "listening on port ", port);
	}
	ends_on_sigterm(&p);
	HOLDS(strstr(p.text, "closed\nclosed\n") != NULL, "%s", p.text);
	close(fd);
}

/* ---- names ---- */

TEST(examples, resolve)
{
	struct program p;
	int status;

	START(&p, "resolve", "127.0.0.1", "::1");
	says(&p, "127.0.0.1 ");
	says(&p, "::1 ");
	ends_itself(&p);
	START(&p, "resolve", "-4", "::1");
	status = status_of(&p);
	HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%s", p.text);
	HOLDS(strstr(p.text, "resolve: ::1: ") != NULL, "%s", p.text);
}

TEST(examples, lookup)
{
	struct program server, p;
	char path[96], line[64];
	int port;

	snprintf(path, sizeof(path), "%s/table", test_tmpdir());
	write_file(path, "one.test 127.0.0.1\n");
	START(&server, "echo", "udp4", "0");
	port = number_after(&server, "listening on port ");
	START(&p, "lookup", path, text_of(port), "one.test");
	says(&p, "14 bytes to one.test\n");
	snprintf(line, sizeof(line), "14 bytes from 127.0.0.1:%d\n", port);
	says(&p, line);
	ends_itself(&p);
	ends_on_sigterm(&server);
}

/* example. IN A: the id is the forwarder's own on the way there and back. */
TEST(examples, dnsforward)
{
	static const unsigned char question[] = { 7, 7, 1, 0, 0, 1, 0, 0, 0,
		0, 0, 0, 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1 };
	struct dgram_addr own, upstream, to, from = { .len = sizeof(from.u) };
	int fd = bare_socket(DGRAM_UDP4, &own);
	int up = bare_socket(DGRAM_UDP4, &upstream);
	unsigned char got[64];
	struct program p;

	START(&p, "dnsforward", "udp4", "0", "127.0.0.1",
	    text_of(dgram_addr_port(&upstream)));
	to = at("127.0.0.1", number_after(&p, "listening on port "));
	HOLDS(sendto(fd, question, sizeof(question), 0, &to.u.sa, to.len) ==
	    (ssize_t)sizeof(question), "%s", strerror(errno));
	HOLDS(readable(up, clock_ms() + PATIENCE), "nothing went on");
	HOLDS(recvfrom(up, got, sizeof(got), 0, &from.u.sa, &from.len) ==
	    (ssize_t)sizeof(question) && memcmp(got + 2, question + 2,
	    sizeof(question) - 2) == 0, "another question");
	got[2] |= 0x80;
	HOLDS(sendto(up, got, sizeof(question), 0, &from.u.sa, from.len) ==
	    (ssize_t)sizeof(question), "%s", strerror(errno));
	HOLDS(readable(fd, clock_ms() + PATIENCE), "no answer");
	HOLDS(recv(fd, got, sizeof(got), 0) == (ssize_t)sizeof(question) &&
	    got[0] == 7 && got[1] == 7 && got[2] == (question[2] | 0x80),
	    "another answer");
	ends_on_sigterm(&p);
	close(up);
	close(fd);
}

/* ---- unix sockets ---- */

/* With descriptors, which are closed here. */
static void
tell_fds(int fd, const struct dgram_addr *to, const char *text, int *fds,
    size_t n)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} c;
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_name = (void *)(uintptr_t)&to->u, .msg_namelen = to->len };
	struct cmsghdr *p;

	memset(&c, 0, sizeof(c));
	h.msg_control = c.room;
	h.msg_controllen = CMSG_SPACE(n * sizeof(int));
	p = CMSG_FIRSTHDR(&h);
	p->cmsg_level = SOL_SOCKET;
	p->cmsg_type = SCM_RIGHTS;
	p->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(p), fds, n * sizeof(int));
	HOLDS(sendmsg(fd, &h, 0) == (ssize_t)strlen(text), "%s: %s", text,
	    strerror(errno));
	while (n > 0)
		close(fds[--n]);
}

/* Nobody has the other end of that pipe any more; it is closed. */
static void
is_closed(int fd, const char *what)
{
	char c;

	HOLDS(readable(fd, clock_ms() + PATIENCE) && read(fd, &c, 1) == 0,
	    "still open: %s", what);
	close(fd);
}

/* What the server prints before an assignment of that process. */
static const char *
line_of(pid_t pid, const char *text)
{
	static char line[160];

	snprintf(line, sizeof(line), "pid %ld uid %lu gid %lu: %s\n",
	    (long)pid, (unsigned long)getuid(), (unsigned long)getgid(), text);
	return line;
}

static void
need_credentials(void)
{
	if (!DGI_OS_LINUX)
		cr_skip_test("credentials as Linux has them");
}

/* The client under the server: each line is from it, as the kernel says. */
TEST(examples, notify)
{
	char path[96], name[128], text[32];
	const char *where[2] = { path, name };
	struct program p;
	pid_t pid;
	int i;

	need_credentials();
	snprintf(path, sizeof(path), "%s/notify", test_tmpdir());
	snprintf(name, sizeof(name), "@%s", path);
	setenv("WATCHDOG_USEC", "100000", 1);
	for (i = 0; i < 2; i++) {
		char client[512];

		snprintf(client, sizeof(client), "%s", example("notify"));
		START(&p, "notify_server", where[i], client, "all is well");
		pid = number_after(&p, "MAINPID=");
		HOLDS(pid > 1 && pid != p.pid, "%s", p.text);
		says(&p, line_of(pid, "READY=1"));
		snprintf(text, sizeof(text), "MAINPID=%ld", (long)pid);
		says(&p, line_of(pid, text));
		says(&p, line_of(pid, "STATUS=all is well"));
		says(&p, line_of(pid, "WATCHDOG=1"));
		ends_on_sigterm(&p);
		says(&p, line_of(pid, "STOPPING=1"));
		HOLDS(access(path, F_OK) < 0, "the path is left");
	}
}

/* It has ended, and its parent has not asked yet. */
static void
becomes_zombie(pid_t pid)
{
	int64_t end = clock_ms() + PATIENCE;
	char path[32], text[256] = "";
	const char *state;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	do {
		FILE *f = fopen(path, "r");

		HOLDS(f != NULL && fgets(text, sizeof(text), f) != NULL,
		    "%s", path);
		fclose(f);
		state = strrchr(text, ')');
		HOLDS(state != NULL && clock_ms() < end, "%s", text);
		poll(NULL, 0, 1);
	} while (state[2] != 'Z');
}

/* The end of the command is known before what it has said is read. */
TEST(examples, notify_last_words)
{
	char path[96], client[512];
	struct program p;
	pid_t pid;

	need_credentials();
	snprintf(path, sizeof(path), "%s/notify", test_tmpdir());
	snprintf(client, sizeof(client), "%s", example("notify"));
	START(&p, "notify_server", path, client);
	pid = number_after(&p, "MAINPID=");
	says(&p, "STATUS=up\n");
	kill(p.pid, SIGSTOP);
	kill(pid, SIGTERM);
	becomes_zombie(pid);
	kill(p.pid, SIGCONT);
	ends_itself(&p);
	HOLDS(strstr(p.text, line_of(pid, "STOPPING=1")) != NULL, "%s", p.text);
}

/* The path of the killed one is stale; the client finds who is there now. */
TEST(examples, notify_again)
{
	struct program server, client;
	char path[96];

	need_credentials();
	snprintf(path, sizeof(path), "%s/notify", test_tmpdir());
	START(&server, "notify_server", path);
	says(&server, "listening on ");
	setenv("NOTIFY_SOCKET", path, 1);
	setenv("WATCHDOG_USEC", "100000", 1);
	START(&client, "notify");
	says(&server, line_of(client.pid, "WATCHDOG=1"));
	kill(server.pid, SIGKILL);
	(void)status_of(&server);
	HOLDS(access(path, F_OK) == 0, "nothing is stale");
	START(&server, "notify_server", path);
	says(&server, line_of(client.pid, "WATCHDOG=1"));
	ends_on_sigterm(&client);
	says(&server, line_of(client.pid, "STOPPING=1"));
	ends_on_sigterm(&server);
}

TEST(examples, notify_nobody)
{
	struct program p;
	char path[96];
	int status;

	unsetenv("NOTIFY_SOCKET");
	START(&p, "notify");
	ends_itself(&p);
	HOLDS(strstr(p.text, "nobody to notify") != NULL, "%s", p.text);
	snprintf(path, sizeof(path), "%s/notify", test_tmpdir());
	setenv("NOTIFY_SOCKET", path, 1);
	START(&p, "notify");
	status = status_of(&p);
	HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 1 &&
	    strstr(p.text, path) != NULL, "%s", p.text);
	setenv("NOTIFY_SOCKET", "vsock:1:2", 1);
	START(&p, "notify");
	status = status_of(&p);
	HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%s", p.text);
}

/* One that fires all the time, were it not for another process. */
TEST(examples, notify_watchdog_of_another)
{
	char path[96], client[512];
	struct program p;

	need_credentials();
	snprintf(path, sizeof(path), "%s/notify", test_tmpdir());
	snprintf(client, sizeof(client), "%s", example("notify"));
	setenv("WATCHDOG_USEC", "1", 1);
	setenv("WATCHDOG_PID", "1", 1);
	START(&p, "notify_server", path, client);
	says(&p, "STATUS=up\n");
	ends_on_sigterm(&p);
	HOLDS(strstr(p.text, "STOPPING=1\n") != NULL &&
	    strstr(p.text, "WATCHDOG") == NULL, "%s", p.text);
}

/* Whatever comes, its descriptors are closed, and a barrier is after the rest. */
TEST(examples, notify_server)
{
	static char large[4097];
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), fds[4], in[2], one[2];
	struct dgram_addr to;
	struct program p;
	char path[96];

	need_credentials();
	snprintf(path, sizeof(path), "%s/notify", test_tmpdir());
	START(&p, "notify_server", path);
	says(&p, "listening on ");
	OK(dgram_addr_unix(&to, path));
	tell(fd, &to, "A=1\nB=\033x\n\nC=\\");
	HOLDS(pipe(one) == 0, "pipe");
	tell_fds(fd, &to, "BARRIER=1", &one[1], 1);
	is_closed(one[0], "barrier");
	/* It has been printed by now: nothing is waited for. */
	fcntl(p.out, F_SETFL, O_NONBLOCK);
	p.n += (size_t)read(p.out, p.text + p.n, sizeof(p.text) - 1 - p.n);
	HOLDS(strstr(p.text, line_of(getpid(), "A=1")) != NULL, "%s", p.text);
	HOLDS(strstr(p.text, line_of(getpid(), "B=\\x1bx")) != NULL, "%s",
	    p.text);
	HOLDS(strstr(p.text, line_of(getpid(), "C=\\x5c")) != NULL, "%s",
	    p.text);
	fcntl(p.out, F_SETFL, 0);

	HOLDS(pipe(one) == 0 && pipe(in) == 0, "pipe");
	fds[0] = one[1];
	fds[1] = in[1];
	tell_fds(fd, &to, "FDSTORE=1\nFDNAME=two", fds, 2);
	is_closed(one[0], "the first to store");
	is_closed(in[0], "the second to store");
	says(&p, line_of(getpid(), "FDNAME=two"));
	says(&p, ": 2 descriptors closed\n");

	HOLDS(pipe(one) == 0 && pipe(in) == 0, "pipe");
	/* Without a descriptor, or not alone. */
	tell(fd, &to, "BARRIER=1");
	says(&p, ": ignored, not a barrier\n");
	tell_fds(fd, &to, "BARRIER=1\nX=1", &one[1], 1);
	is_closed(one[0], "with another assignment");
	tell_fds(fd, &to, "Y=1\nBARRIER=1", &in[1], 1);
	is_closed(in[0], "behind another assignment");
	memset(large, 'L', sizeof(large) - 1);
	memcpy(large, "L=", 2);
	HOLDS(sendto(fd, large, sizeof(large), 0, &to.u.sa, to.len) ==
	    (ssize_t)sizeof(large), "%s", strerror(errno));
	says(&p, "ignored, too long\n");
	HOLDS(strstr(p.text, "X=1") == NULL && strstr(p.text, "Y=1") == NULL,
	    "%s", p.text);
	ends_on_sigterm(&p);
	HOLDS(access(path, F_OK) < 0, "the path is left");
	close(fd);
}

/* It waits until its barrier is closed, and fails if that is not soon. */
TEST(examples, notify_server_of_systemd)
{
	struct program p;
	char path[96];

	need_credentials();
	NEED("systemd-notify", "--version", "systemd");
	snprintf(path, sizeof(path), "%s/notify", test_tmpdir());
	START(&p, "notify_server", path, "systemd-notify", "--ready",
	    "--status=all is well");
	ends_itself(&p);
	says(&p, ": READY=1\n");
	says(&p, ": STATUS=all is well\n");
	says(&p, ": BARRIER=1\n");
}

TEST(examples, pass_fd)
{
	char one[96], two[96], none[96], line[256];
	struct program p;
	int status;

	snprintf(one, sizeof(one), "%s/one", test_tmpdir());
	snprintf(two, sizeof(two), "%s/two\033", test_tmpdir());
	snprintf(none, sizeof(none), "%s/none", test_tmpdir());
	write_file(one, "first\nsecond\n");
	write_file(two, "t\033xt");
	START(&p, "pass_fd", one, "/dev/zero", two);
	ends_itself(&p);
	two[strlen(two) - 1] = '\0';
	snprintf(line, sizeof(line), "%s: first\n/dev/zero: no file\n%s\\x1b: "
	    "t\\x1bxt\n", one, two);
	HOLDS(strcmp(p.text, line) == 0, "%s", p.text);
	/* What cannot be opened is told, and the rest goes. */
	START(&p, "pass_fd", none, one);
	status = status_of(&p);
	HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 1 &&
	    strstr(p.text, ": first\n") != NULL &&
	    strstr(p.text, "none: ") != NULL, "%s", p.text);
}

#endif
