/* SPDX-License-Identifier: ISC */

/*
 * Rows of Node's tests with several processes: see README.  Node's workers ask
 * their primary for a socket: here a child has it by fork(2), or is passed the
 * descriptor.
 */

#include "children.h"
#include "heard.h"
#include "netns.h"

#define PACKETS		10		/* for each worker */

static struct dgram_loop *l;
static struct peer p, q;
static int room = ROOM;

/* ---- sockets ---- */

static const struct dgram_options reuse_addr = { .reuse_addr = true };
static const struct dgram_options reuse_port = { .reuse_port = true };
/* A worker closes when it has enough: the others get the rest. */
static const struct dgram_options one_by_one = { .messages_per_call = 1 };

/* A loop, if ports are shared evenly here; else it is said so, and skipped. */
static void
enter_sharing(const char *backend)
{
	struct dgram_options o = reuse_port;

	l = test_loop(backend);
	if (DGI_HAVE_REUSEPORT_BALANCED || DGI_HAVE_REUSEPORT_LB)
		return;
	o.type = DGRAM_UDP4;
	CHECK(dgram_open(l, &o, &p.s), -ENOTSUP);
	free_loop(l);
	cr_skip_test("ports are not shared evenly on this system");
}

/* In a child; on the loop of the parent, or on its own. */
static int
child_open(struct peer *peer, int type, const struct dgram_options *options)
{
	struct dgram_options o = *options;

	memset(peer, 0, sizeof(*peer));
	o.type = (enum dgram_type)type;
	o.events = &peer_events;
	o.arg = peer;
	return dgram_open(l, &o, &peer->s);
}

static void
child_closes(struct peer *peer)
{
	CHILD(dgram_close(peer->s, NULL, NULL) == 0);
	CHILD_UNTIL(l, peer->s == NULL);
}

/* Without the parent's socket: the loop would take what is for the parent. */
static void
child_begins(void)
{
	CHILD(dgram_loop_fork(l, 0) == 0);
	if (p.s != NULL)
		child_closes(&p);
}

/* From a socket of its own each, as reuse_port goes by the sender. */
static void
send_as_many(int n, const struct dgram_addr *there)
{
	struct dgram_addr from;
	int i, fd;

	for (i = 0; i < n; i++) {
		fd = bare_socket(DGRAM_UDP4, &from);
		bare_send(fd, there, (uint32_t)i);
		close(fd);
	}
}

/* ---- a port that is bound several times ---- */

#define SENDERS	60

/* Tells of each datagram; until the parent says enough. */
static void
child_shares_port(void)
{
	struct pollfd w = { .fd = to_parent, .events = POLLIN };
	int64_t end = clock_ms() + 8000;
	size_t told = 0;

	child_begins();
	CHILD(child_open(&q, DGRAM_UDP4, &one_by_one) == 0);
	CHILD(dgram_bind_addr(q.s, &p.addr) == -EADDRINUSE);
	child_closes(&q);
	CHILD(child_open(&q, DGRAM_UDP4, &reuse_port) == 0);
	CHILD(dgram_bind_addr(q.s, &p.addr) == 0);
	CHILD_UNTIL(l, q.n[EV_LISTENING] == 1);
	CHILD(write(to_parent, "L", 1) == 1);
	while (poll(&w, 1, 0) == 0 && clock_ms() < end) {
		CHILD(dgram_loop_run_once(l, 5) >= 0);
		for (; told < q.got; told++)
			CHILD(write(to_parent, "m", 1) == 1);
	}
	CHILD(clock_ms() < end);
	child_closes(&q);
	CHILD(q.n[EV_ERROR] == 0);
}

/* What each child has told by now; the sum. */
static size_t
count_words(size_t *told)
{
	struct pollfd w = { .events = POLLIN };
	size_t sum = 0;
	int i;

	for (i = 0; i < nworkers; i++) {
		for (w.fd = workers[i].fd; poll(&w, 1, 0) == 1; told[i]++)
			WORKER_SAYS(i, 'm');
		sum += told[i];
	}
	return sum;
}

/*
 * Parent and two children bind one port, and each datagram comes to one of
 * them; who does not say that it shares is refused.
 */
BACKEND_TEST(parallel, child_process_dgram_reuseport)
{
	size_t told[WORKERS] = { 0 };
	int i;

	enter_sharing(backend);
	peer_open_bound(&p, l, DGRAM_UDP4, &reuse_port);
	for (i = 0; i < 2; i++) {
		start_worker(child_shares_port);
		WORKER_SAYS(i, 'L');
	}
	send_as_many(SENDERS, &p.addr);
	RUN_UNTIL(l, p.got + count_words(told) == SENDERS);
	turns(l, 3);
	cr_assert_eq(p.got + count_words(told), SENDERS);
	cr_assert(p.got > 0 && told[0] > 0 && told[1] > 0);
	tell_workers('x');
	for (i = 0; i < 2; i++)
		MUST(next_word(workers[i].fd) == '\0', "one datagram twice");
	join_workers();
	free_loop(l);
}

/* Twice in one process that is not the first. */
static void
child_binds_twice(const struct dgram_options *options)
{
	struct dgram_addr a = { 0 };
	struct peer *each[] = { &p, &q };
	size_t i;

	child_begins();
	CHILD(dgram_addr_parse(&a, "127.0.0.1", 0) == 0);
	for (i = 0; i < COUNT(each); i++) {
		CHILD(child_open(each[i], DGRAM_UDP4, options) == 0);
		CHILD(dgram_bind_addr(each[i]->s, &a) == 0);
		CHILD(dgram_address(each[i]->s, &each[i]->addr) == 0);
		a = each[i]->addr;
	}
	CHILD(dgram_addr_equal(&p.addr, &q.addr));
	CHILD_UNTIL(l, p.n[EV_LISTENING] == 1 && q.n[EV_LISTENING] == 1);
	child_closes(&p);
	child_closes(&q);
	CHILD(p.n[EV_ERROR] + q.n[EV_ERROR] == 0);
	CHILD(dgram_loop_run(l) == 0);
}

static void
child_reuses_addr(void)
{
	child_binds_twice(&reuse_addr);
}

static void
child_reuses_port(void)
{
	child_binds_twice(&reuse_port);
}

BACKEND_TEST(parallel, cluster_dgram_reuse)
{
	l = test_loop(backend);
	start_worker(child_reuses_addr);
	join_workers();
	free_loop(l);
}

BACKEND_TEST(parallel, cluster_dgram_reuseport)
{
	enter_sharing(backend);
	start_worker(child_reuses_port);
	join_workers();
	free_loop(l);
}

/* ---- one socket in several processes ---- */

/* A descriptor and a byte, as a message of AF_UNIX. */
union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int))];
};

static void
pass_fd(int to, int fd)
{
	union control c;
	char byte = 'F';
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = c.room, .msg_controllen = sizeof(c.room) };
	struct cmsghdr *h;

	memset(&c, 0, sizeof(c));
	h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	MUST(sendmsg(to, &m, 0) == 1, "%s", strerror(errno));
}

/* What was passed, or -1. */
static int
take_fd(int from)
{
	union control c;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = c.room, .msg_controllen = sizeof(c.room) };
	struct cmsghdr *h;
	int fd = -1;

	if (recvmsg(from, &m, 0) != 1)
		return -1;
	h = CMSG_FIRSTHDR(&m);
	if (h != NULL && h->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return fd;
}

/* Takes five, rests, and goes on until it is told to end. */
static void
child_is_passed(void)
{
	struct pollfd w = { .fd = to_parent, .events = POLLIN };
	int64_t end;
	uint32_t got;
	int fd;

	fd = take_fd(to_parent);
	CHILD(fd >= 0);
	child_begins();
	CHILD(child_open(&q, DGRAM_UDP4, &one_by_one) == 0);
	CHILD(dgram_bind_fd(q.s, fd) == 0);
	CHILD(dgram_address(q.s, &q.addr) == 0);
	CHILD(write(to_parent, &q.addr.u.in.sin_port, 2) == 2);
	CHILD_UNTIL(l, q.got == 5);
	CHILD(dgram_pause(q.s) == 0);
	CHILD(write(to_parent, "5", 1) == 1);
	CHILD(next_word(to_parent) == 'g');
	CHILD(dgram_resume(q.s) == 0);
	CHILD(write(to_parent, "g", 1) == 1);
	end = clock_ms() + 8000;
	while (poll(&w, 1, 0) == 0 && clock_ms() < end)
		CHILD(dgram_loop_run_once(l, 5) >= 0);
	CHILD(clock_ms() < end);
	got = (uint32_t)q.got;
	CHILD(write(to_parent, &got, sizeof(got)) == sizeof(got));
	child_closes(&q);
	CHILD(q.n[EV_ERROR] == 0);
}

/*
 * A bound socket is passed to a child that was there before it: both receive,
 * no datagram comes twice, and when the child has closed it the parent goes on.
 */
BACKEND_TEST(parallel, child_process_fork_dgram)
{
	struct pollfd w = { .events = POLLIN };
	struct dgram_addr bare;
	int fd = bare_socket(DGRAM_UDP4, &bare);
	in_port_t at = 0;
	uint32_t theirs = 0, i;

	l = test_loop(backend);
	start_worker(child_is_passed);
	peer_open_bound(&p, l, DGRAM_UDP4, &one_by_one);
	OK(dgram_pause(p.s));
	turns(l, 3);
	pass_fd(workers[0].fd, dgram_fileno(p.s));
	cr_assert(hears_from(workers[0].fd, &at, sizeof(at)));
	cr_assert_eq(at, p.addr.u.in.sin_port);
	for (i = 0; i < 5; i++)
		bare_send(fd, &p.addr, i);
	WORKER_SAYS(0, '5');
	for (i = 5; i < 10; i++)
		bare_send(fd, &p.addr, i);
	OK(dgram_resume(p.s));
	RUN_UNTIL(l, p.got == 5);
	for (i = 0; i < 5; i++)
		cr_assert_eq(p.seq[i], 5 + i);
	/* Now both at once. */
	tell_workers('g');
	WORKER_SAYS(0, 'g');
	for (i = 10; i < 50; i++) {
		bare_send(fd, &p.addr, i);
		turn_wait(l, 0);
	}
	/* What is there is taken by one of them. */
	for (w.fd = dgram_fileno(p.s); poll(&w, 1, 0) == 1;)
		turn_wait(l, 0);
	tell_workers('x');
	cr_assert(hears_from(workers[0].fd, &theirs, sizeof(theirs)));
	turns(l, 3);
	cr_assert_eq(p.got + theirs, 50, "%zu and %u", p.got, theirs);
	join_workers();
	bare_send(fd, &p.addr, 99);
	RUN_UNTIL(l, p.seq[p.got - 1] == 99);
	close(fd);
	free_loop(l);
}

static void
close_when_enough(struct peer *peer, enum event e,
    const struct dgram_message *m, size_t n)
{
	(void)m, (void)n;
	if (e == EV_MESSAGE && peer->got == PACKETS)
		CHILD(dgram_close(peer->s, NULL, NULL) == 0);
}

/* A worker tells that it listens, takes its part, and closes. */
static void
child_takes_part(struct peer *peer)
{
	peer->hook = close_when_enough;
	CHILD(dgram_loop_run_once(l, 0) >= 0);
	CHILD(peer->n[EV_LISTENING] == 1);
	CHILD(write(to_parent, "L", 1) == 1);
	CHILD_UNTIL(l, peer->s == NULL);
	CHILD(peer->got == PACKETS);
	CHILD(peer->n[EV_ERROR] == 0);
	/* Nothing is left. */
	CHILD(dgram_loop_run(l) == 0);
}

static void
child_has_socket(void)
{
	CHILD(dgram_loop_fork(l, 0) == 0);
	child_takes_part(&p);
}

/*
 * All datagrams to what the workers share are taken, each by one of them, and
 * each worker has its part.
 */
static void
share_out(int fd, const struct dgram_addr *there)
{
	struct dgram_addr from;
	int sender = bare_socket(DGRAM_UDP4, &from), i;

	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room,
	    sizeof(room)), 0);
	for (i = 0; i < WORKERS; i++)
		WORKER_SAYS(i, 'L');
	for (i = 0; i < WORKERS * PACKETS; i++)
		bare_send(sender, there, (uint32_t)i);
	join_workers();
	cr_assert_eq(bare_recv(fd), -1, "one is left");
	close(sender);
}

/*
 * The workers have the socket by fork.  It is the library's in all of them, and
 * the parent does not read.
 */
BACKEND_TEST(parallel, cluster_dgram_1)
{
	int i;

	l = test_loop(backend);
	peer_open_bound(&p, l, DGRAM_UDP4, &one_by_one);
	for (i = 0; i < WORKERS; i++)
		start_worker(child_has_socket);
	share_out(dgram_fileno(p.s), &p.addr);
	free_loop(l);
}

static int shared_fd;
static struct dgram_addr shared_addr;

static void
child_adopts(void)
{
	child_begins();
	CHILD(child_open(&p, DGRAM_UDP4, &one_by_one) == 0);
	CHILD(dgram_bind_fd(p.s, shared_fd) == 0);
	CHILD(dgram_address(p.s, &p.addr) == 0);
	CHILD(dgram_addr_equal(&p.addr, &shared_addr));
	child_takes_part(&p);
}

/* ... and here each makes its own of one descriptor. */
BACKEND_TEST(parallel, cluster_dgram_bind_fd)
{
	int i;

	l = test_loop(backend);
	shared_fd = bare_socket(DGRAM_UDP4, &shared_addr);
	for (i = 0; i < WORKERS; i++)
		start_worker(child_adopts);
	share_out(shared_fd, &shared_addr);
	close(shared_fd);
	free_loop(l);
}

static void
child_sends(void)
{
	struct iovec iov = { (char[]){ "hello world" }, 11 };
	int i;

	child_begins();
	CHILD(child_open(&q, DGRAM_UDP4, &one_by_one) == 0);
	for (i = 0; i < PACKETS; i++)
		CHILD(dgram_send_addr(q.s, &iov, 1, &p.addr, peer_done, &q) ==
		    0);
	CHILD_UNTIL(l, q.n[EV_DONE] == PACKETS);
	for (i = 0; i < PACKETS; i++)
		CHILD(q.done[i] == 11);
	child_closes(&q);
	CHILD(q.n[EV_ERROR] == 0);
}

/* The other way about: the workers send, and the parent counts. */
BACKEND_TEST(parallel, cluster_dgram_2)
{
	struct dgram_addr senders[WORKERS];
	size_t n = 0, i, k;

	l = test_loop(backend);
	peer_open_bound(&p, l, DGRAM_UDP4, &one_by_one);
	p.hook = hear;
	OK(dgram_set_recv_buffer_size(p.s, room));
	for (i = 0; i < WORKERS; i++)
		start_worker(child_sends);
	RUN_UNTIL(l, p.got == WORKERS * PACKETS);
	join_workers();
	turns(l, 3);
	cr_assert_eq(p.got, WORKERS * PACKETS);
	/* Each from its own port. */
	for (i = 0; i < heard.n; i++) {
		cr_assert(heard_text(i, "hello world"));
		for (k = 0; k < n && !dgram_addr_equal(&senders[k],
		    &heard.d[i].from); k++)
			;
		MUST(k < WORKERS, "another sender");
		if (k == n)
			senders[n++] = heard.d[i].from;
	}
	cr_assert_eq(n, WORKERS);
	free_loop(l);
}

/* ---- many listeners ---- */

/* What is heard, and where it is sent; group NULL: broadcasts. */
static struct {
	int type;
	const char *group, *source, *from, *interface;
} now;

static int
join(struct peer *peer)
{
	return now.source == NULL ?
	    dgram_add_membership(peer->s, now.group, now.interface) :
	    dgram_add_source_specific_membership(peer->s, now.source,
	    now.group, now.interface);
}

static int
drop(struct peer *peer)
{
	return now.source == NULL ?
	    dgram_drop_membership(peer->s, now.group, now.interface) :
	    dgram_drop_source_specific_membership(peer->s, now.source,
	    now.group, now.interface);
}

#define LISTENERS	3

static const char *const messages[] = { "First message to send",
	"Second message to send", "Third message to send",
	"Fourth message to send" };

static void
close_at_the_last(struct peer *peer, enum event e,
    const struct dgram_message *m, size_t n)
{
	hear(peer, e, m, n);
	if (e != EV_MESSAGE || heard.n != COUNT(messages))
		return;
	if (now.group != NULL) {
		CHILD(drop(peer) == 0);
		CHILD(drop(peer) == -EADDRNOTAVAIL);
	}
	CHILD(dgram_close(peer->s, NULL, NULL) == 0);
}

/* All messages, in order, from there; then the socket is closed. */
static void
child_listens(void)
{
	char host[64];
	size_t i;

	child_begins();
	CHILD(child_open(&q, now.type, &reuse_addr) == 0);
	CHILD(dgram_bind(q.s, dgram_addr_port(&p.addr), NULL, NULL, NULL) ==
	    0);
	q.hook = close_at_the_last;
	CHILD_UNTIL(l, q.n[EV_LISTENING] == 1);
	if (now.group != NULL) {
		CHILD(dgram_set_multicast_loopback(q.s, 1) == 0);
		CHILD(join(&q) == 0);
	}
	CHILD(write(to_parent, "L", 1) == 1);
	CHILD_UNTIL(l, q.s == NULL);
	CHILD(heard.n == COUNT(messages));
	for (i = 0; i < COUNT(messages); i++) {
		CHILD(heard_text(i, messages[i]));
		CHILD(dgram_addr_host(&heard.d[i].from, host, sizeof(host)) >
		    0);
		CHILD(strcmp(host, now.from) == 0);
	}
	CHILD(q.n[EV_ERROR] == 0);
}

/* In three children, and p, which is at their port, too. */
static void
start_listeners(const char *backend)
{
	int i;

	netns_enter();
	l = test_loop(backend);
	peer_open(&p, l, (enum dgram_type)now.type, &reuse_addr);
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	OK(dgram_address(p.s, &p.addr));
	for (i = 0; i < LISTENERS; i++) {
		start_worker(child_listens);
		WORKER_SAYS(i, 'L');
	}
}

/* To all of them; what a send is told. */
static void
send_messages(struct peer *from, const char *group, int at)
{
	size_t i;

	for (i = 0; i < COUNT(messages); i++)
		OK(dgram_send(from->s, messages[i], strlen(messages[i]), at,
		    group, peer_done, from));
	RUN_UNTIL(l, from->n[EV_DONE] == (int)COUNT(messages));
	for (i = 0; i < COUNT(messages); i++)
		cr_assert_eq(from->done[i], (int)strlen(messages[i]));
}

/* A broadcast comes to all who listen, and is refused if it is not allowed. */
BACKEND_TEST(internet, broadcast_multi_process)
{
	struct peer sender;

	now.type = DGRAM_UDP4;
	now.from = "10.9.0.1";
	start_listeners(backend);
	peer_open(&sender, l, DGRAM_UDP4, NULL);
	OK(dgram_bind(sender.s, 0, now.from, NULL, NULL));
	OK(dgram_send(sender.s, "x", 1, dgram_addr_port(&p.addr),
	    "255.255.255.255", peer_done, &sender));
	RUN_UNTIL(l, sender.n[EV_DONE] == 1);
	cr_assert_eq(sender.done[0], -EACCES);
	sender.n[EV_DONE] = 0;
	OK(dgram_set_broadcast(sender.s, 1));
	send_messages(&sender, "255.255.255.255", dgram_addr_port(&p.addr));
	RUN_UNTIL(l, p.got == COUNT(messages));
	join_workers();
	free_loop(l);
}

/* ---- groups ---- */

/* To the group, from there. */
static void
send_to_group(const char *from)
{
	struct peer sender;
	int at = dgram_addr_port(&p.addr);

	peer_open(&sender, l, (enum dgram_type)now.type, NULL);
	OK(dgram_bind(sender.s, 0, from, NULL, NULL));
	OK(dgram_set_ttl(sender.s, 1));
	OK(dgram_set_broadcast(sender.s, 1));
	OK(dgram_set_multicast_ttl(sender.s, 1));
	OK(dgram_set_multicast_loopback(sender.s, 1));
	if (now.interface != NULL)
		OK(dgram_set_multicast_interface(sender.s, now.interface));
	send_messages(&sender, now.group, at);
	OK(dgram_close(sender.s, NULL, NULL));
	RUN_UNTIL(l, sender.s == NULL);
}

/*
 * p did not join and hears nothing: Node's sockets on Linux hear the groups
 * that others have joined.
 */
static void
leave_group(void)
{
	join_workers();
	turns(l, 3);
	cr_assert_eq(p.got, 0);
	free_loop(l);
}

BACKEND_TEST(internet, multicast_multi_process)
{
	now.type = DGRAM_UDP4;
	now.group = "224.0.0.114";
	now.from = "10.9.0.1";
	start_listeners(backend);
	send_to_group(NULL);
	leave_group();
}

BACKEND_TEST(internet, multicast_ssm_multi_process)
{
	now.type = DGRAM_UDP4;
	now.group = "232.1.1.1";
	now.source = now.from = "10.9.0.1";
	start_listeners(backend);
	netns_run("ip addr add 10.9.0.3/24 dev d0");
	send_to_group("10.9.0.3");
	send_to_group(now.source);
	leave_group();
}

BACKEND_TEST(internet, multicast_ssmv6_multi_process)
{
	if (!have_ipv6())
		cr_skip_test("no IPv6 on this machine");
	now.type = DGRAM_UDP6;
	now.group = "ff3e::1234";
	now.source = now.from = "fd09::1";
	now.interface = "::%d0";
	start_listeners(backend);
	netns_run("ip addr add fd09::3/64 dev d0 nodad");
	send_to_group("fd09::3");
	send_to_group(now.source);
	leave_group();
}

#define GROUPS		3

/* How often each of them has heard something since the last look. */
static void
heard_by(struct peer (*each)[2], size_t first, size_t second, size_t third)
{
	const size_t want[GROUPS] = { first, second, third };
	size_t i, k;

	for (i = 0; i < GROUPS; i++) {
		for (k = 0; k < 2; k++) {
			RUN_UNTIL(l, each[i][k].got >= want[i]);
			turns(l, 3);
			MUST(each[i][k].got == want[i], "group %zu: %zu", i,
			    each[i][k].got);
			each[i][k].got = 0;
		}
	}
}

/*
 * Two listeners each on a group of the system's interface, of another and of
 * the loopback: the sender's interface decides who hears.
 */
BACKEND_TEST(internet, multicast_set_interface_lo)
{
	static const char *const groups[GROUPS] = { "224.0.0.115",
		"224.0.0.116", "224.0.0.117" };
	static const char *const interfaces[GROUPS] = { NULL, "10.9.1.1",
		"127.0.0.1" };
	static const char *const leave_by[] = { "10.9.0.1", "10.9.1.1",
		"127.0.0.1", "0.0.0.0" };
	static struct peer each[GROUPS][2];
	int at = 0;
	size_t i, k;

	netns_enter();
	l = test_loop(backend);
	for (i = 0; i < GROUPS; i++) {
		for (k = 0; k < 2; k++) {
			peer_open(&each[i][k], l, DGRAM_UDP4, &reuse_addr);
			/* The group itself: nothing else can be heard. */
			OK(dgram_bind(each[i][k].s, at, groups[i], NULL,
			    NULL));
			OK(dgram_address(each[i][k].s, &each[i][k].addr));
			at = dgram_addr_port(&each[i][k].addr);
			OK(dgram_add_membership(each[i][k].s, groups[i],
			    interfaces[i]));
		}
	}
	peer_open(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	for (k = 0; k < COUNT(leave_by); k++) {
		OK(dgram_set_multicast_interface(p.s, leave_by[k]));
		for (i = 0; i < GROUPS; i++)
			OK(dgram_send(p.s, "x", 1, at, groups[i], NULL, NULL));
		turns(l, 3);
		heard_by(each, k == 0 || k == 3, k == 1, k == 2);
	}
	cr_assert_eq(p.n[EV_ERROR], 0);
	free_loop(l);
}
