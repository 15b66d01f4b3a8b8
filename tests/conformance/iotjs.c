/* SPDX-License-Identifier: ISC */

/* Rows of the tests of IoT.js, test/run_pass: see README. */

#include "names.h"
#include "children.h"
#include "heard.h"
#include "netns.h"

static const char greeting[] = "Hello IoT.js";
static struct peer server;
static int there;			/* its port */

/* A server on all interfaces, and a client that is not bound: p. */
static void
begin(const char *backend, const struct dgram_options *o)
{
	enter(backend, NULL, o, NULL);
	fake_answer("localhost", "127.0.0.1 ::1");
	open_named(&server, o, NULL);
	OK(dgram_bind(server.s, 0, NULL, NULL, NULL));
	there = port_of(&server);
}

static void
close_peer(struct peer *peer)
{
	OK(dgram_close(peer->s, NULL, NULL));
	RUN_UNTIL(l, peer->s == NULL);
}

/* ---- one server ---- */

static void
answer_and_close(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	hear(peer, e, m, n);
	if (e == EV_MESSAGE) {
		MUST(strcmp(dgram_addr_family(m->remote), "IPv4") == 0,
		    "family");
		MUST(strcmp(host_of(m->remote), "127.0.0.1") == 0, "host");
		OK(dgram_send(peer->s, greeting, strlen(greeting),
		    dgram_addr_port(m->remote), "localhost", sent, peer));
	} else if (e == EV_DONE) {
		OK(dgram_close(peer->s, NULL, NULL));
	}
}

static void
close_at_message(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	hear(peer, e, m, n);
	if (e == EV_MESSAGE)
		OK(dgram_close(peer->s, NULL, NULL));
}

BACKEND_TEST(iotjs, 1_server_1_client)
{
	begin(backend, NULL);
	server.hook = answer_and_close;
	p.hook = close_at_message;
	OK(dgram_send(p.s, greeting, strlen(greeting), there, "localhost",
	    sent, &p));
	RUN_UNTIL(l, p.s == NULL && server.s == NULL);
	TRACE(&p, "LdMX");
	TRACE(&server, "LMdX");
	cr_assert_eq(record_of('d', 0)->status, 12);
	cr_assert_eq(record_of('d', 1)->status, 12);
	cr_assert(heard_text(0, greeting) && heard_text(1, greeting));
	cr_assert_eq(dgram_addr_port(&heard.d[1].from), there);
	leave();
}

#define CLIENTS	5

static struct peer clients[CLIENTS];

static void
send_back(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	for (i = 0; e == EV_MESSAGE && i < n; i++)
		OK(dgram_send(peer->s, m[i].data, m[i].size,
		    dgram_addr_port(m[i].remote), host_of(m[i].remote), NULL,
		    NULL));
}

/* Its own digit, from the server. */
static void
check_digit(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	if (e != EV_MESSAGE)
		return;
	MUST(n == 1 && m->size == 1 && ((const char *)m->data)[0] ==
	    '0' + (char)(peer - clients), "another digit");
	MUST(dgram_addr_port(m->remote) == there, "another sender");
	OK(dgram_close(peer->s, NULL, NULL));
}

/* All at once, where IoT.js lets 200 ms pass between them. */
BACKEND_TEST(iotjs, 1_server_n_clients)
{
	static const char digits[] = "01234";
	int i, open = CLIENTS;

	begin(backend, NULL);
	server.hook = send_back;
	for (i = 0; i < CLIENTS; i++) {
		open_named(&clients[i], NULL, NULL);
		clients[i].hook = check_digit;
		OK(dgram_sendto(clients[i].s, digits, (size_t)i, 1, there,
		    "localhost", sent, &clients[i]));
	}
	while (open > 0) {
		i = CLIENTS - open;
		RUN_UNTIL(l, clients[i].s == NULL);
		TRACE(&clients[i], "LdMX");
		cr_assert_eq(record_of('d', i)->status, 1);
		open--;
	}
	cr_assert_eq(server.got, CLIENTS);
	close_peer(&server);
	leave();
}

/* The client's port is what the server is told; its address is the wildcard. */
BACKEND_TEST(iotjs, address)
{
	static const struct dgram_options reuse = { .reuse_addr = true };
	struct dgram_addr a;

	begin(backend, &reuse);
	server.hook = close_at_message;
	RUN_UNTIL(l, server.n[EV_LISTENING] == 1);
	OK(dgram_address(server.s, &a));
	cr_assert(strcmp(host_of(&a), "0.0.0.0") == 0);
	cr_assert(strcmp(dgram_addr_family(&a), "IPv4") == 0);
	cr_assert_eq(dgram_addr_port(&a), there);
	OK(dgram_send(p.s, greeting, strlen(greeting), there, "localhost",
	    sent, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1 && server.s == NULL);
	OK(dgram_address(p.s, &a));
	cr_assert(strcmp(host_of(&a), "0.0.0.0") == 0);
	cr_assert(strcmp(dgram_addr_family(&a), "IPv4") == 0);
	cr_assert(dgram_addr_port(&a) > 0);
	cr_assert_eq(dgram_addr_port(&heard.d[0].from), dgram_addr_port(&a));
	cr_assert(heard_text(0, greeting));
	close_peer(&p);
	leave();
}

/* ---- with interfaces ---- */

#define LISTENERS	3

/* Each of three sends one, and hears all three. */
BACKEND_TEST(iotjs, broadcast)
{
	static const struct dgram_options reuse = { .reuse_addr = true };
	static struct peer each[LISTENERS];
	int i, k, at = 0;

	netns_enter();
	netns_run("ip route add default dev d0");
	enter(backend, NULL, NULL, NULL);
	for (i = 0; i < LISTENERS; i++) {
		open_named(&each[i], &reuse, NULL);
		OK(dgram_bind(each[i].s, at, NULL, NULL, NULL));
		at = port_of(&each[i]);
		OK(dgram_set_broadcast(each[i].s, 1));
	}
	for (i = 0; i < LISTENERS; i++)
		OK(dgram_send(each[i].s, number((uint32_t)i), 4, at,
		    "255.255.255.255", sent, &each[i]));
	RUN_UNTIL(l, each[0].got + each[1].got + each[2].got == 9);
	turns(l, 3);
	for (i = 0; i < LISTENERS; i++) {
		cr_assert_eq(record_of('d', i)->status, 4);
		cr_assert_eq(each[i].got, LISTENERS);
		for (k = 0; k < LISTENERS; k++)
			cr_assert_eq(each[i].seq[k], (uint32_t)k);
		cr_assert(strcmp(host_of(&each[i].from), "10.9.0.1") == 0);
		cr_assert_eq(each[i].n[EV_ERROR], 0);
	}
	leave();
}

#define GROUP	"230.1.2.3"

static int
send_three(const char *host, const char *word)
{
	return CALL(dgram_send(p.s, word, 3, there, host, NULL, NULL));
}

/* A group that was left is not heard any more, what is sent to the host is. */
BACKEND_TEST(iotjs, multicast_membership)
{
	netns_enter();
	begin(backend, NULL);
	server.hook = hear;
	OK(dgram_add_membership(server.s, GROUP, NULL));
	OK(send_three(GROUP, "one"));
	RUN_UNTIL(l, heard.n == 1);
	OK(dgram_drop_membership(server.s, GROUP, NULL));
	OK(send_three(GROUP, "two"));
	OK(send_three(GROUP, "and"));
	OK(send_three("10.9.0.1", "end"));
	RUN_UNTIL(l, heard.n == 2);
	cr_assert(heard_text(0, "one") && heard_text(1, "end"));
	close_peer(&server);
	leave();
}

/* Its own datagrams to a group come back to the machine, or do not. */
BACKEND_TEST(iotjs, multicast_set_multicast_loop)
{
	netns_enter();
	begin(backend, NULL);
	server.hook = hear;
	OK(dgram_add_membership(server.s, GROUP, NULL));
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	OK(dgram_set_multicast_loopback(p.s, 0));
	OK(send_three(GROUP, "one"));
	turns(l, 3);
	OK(dgram_set_multicast_loopback(p.s, 1));
	OK(send_three(GROUP, "two"));
	RUN_UNTIL(l, heard.n == 1);
	cr_assert(heard_text(0, "two"));
	leave();
}

/* ---- across a router ---- */

/*
 * The test is a router between two children, each in a namespace of its own:
 * the server at 10.9.0.2, the client at 10.9.1.2.
 */
static void
child_lives_behind(int net)
{
	char line[256];

#if HAVE_NETNS
	CHILD(unshare(CLONE_NEWNET) == 0);
#endif
	CHILD(write(to_parent, "u", 1) == 1);
	CHILD(next_word(to_parent) == 'p');
	snprintf(line, sizeof(line), "PATH=$PATH:/sbin:/usr/sbin; "
	    "ip addr add 10.9.%d.2/24 dev p%d && ip link set p%d up && "
	    "ip route add default via 10.9.%d.1", net, net, net, net);
	CHILD(system(line) == 0);
	CHILD(dgram_loop_fork(l, 0) == 0);
	CHILD(write(to_parent, "r", 1) == 1);
}

/* The other end of d0 or d1 is its. */
static void
start_behind(int net, void (*fn)(void))
{
	char line[128];

	start_worker(fn);
	WORKER_SAYS(net, 'u');
	snprintf(line, sizeof(line), "ip link set p%d netns %d", net,
	    (int)workers[net].pid);
	netns_run(line);
	tell(workers[net].fd, "p", 1);
	WORKER_SAYS(net, 'r');
}

static void
enter_router(void)
{
	netns_enter();
	if (system("echo 1 2> /dev/null > /proc/sys/net/ipv4/ip_forward") != 0)
		cr_skip_test("forwarding cannot be switched on");
}

static void
child_open(unsigned want)
{
	struct dgram_options o = { .type = DGRAM_UDP4, .events = &peer_events,
	    .arg = &p, .want = want, .messages_per_call = 1 };

	memset(&p, 0, sizeof(p));
	CHILD(dgram_open(l, &o, &p.s) == 0);
	CHILD(dgram_bind(p.s, 0, NULL, NULL, NULL) == 0);
}

static void
answer_with_ttl(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	hear(peer, e, m, n);
	if (e != EV_MESSAGE)
		return;
	/* One was taken off on the way. */
	CHILD((m->flags & DGRAM_TTL) != 0 && m->ttl == 1);
	CHILD(dgram_reply(peer->s, m, m->data, m->size) == 0);
}

static void
child_is_server(void)
{
	struct dgram_addr a;

	child_lives_behind(0);
	child_open(DGRAM_TTL);
	p.hook = answer_with_ttl;
	CHILD(dgram_address(p.s, &a) == 0);
	CHILD(write(to_parent, &a.u.in.sin_port, 2) == 2);
	CHILD_UNTIL(l, heard_text(heard.n - 1, "end"));
	CHILD(dgram_close(p.s, NULL, NULL) == 0);
	CHILD_UNTIL(l, p.s == NULL);
	/* What had no time left did not arrive. */
	CHILD(heard.n == 2 && heard_text(0, "two"));
	CHILD(p.n[EV_ERROR] == 0);
}

static void
child_sends(const char *word, int ttl)
{
	CHILD(dgram_set_ttl(p.s, ttl) == 0);
	CHILD(dgram_send(p.s, word, 3, there, "10.9.0.2", peer_done, &p) == 0);
}

static void
child_is_client(void)
{
	in_port_t at;

	child_lives_behind(1);
	child_open(0);
	p.hook = hear;
	CHILD(hears_from(to_parent, &at, sizeof(at)));
	there = ntohs(at);
	child_sends("two", 2);
	CHILD_UNTIL(l, heard.n == 1);
	child_sends("one", 1);
	CHILD_UNTIL(l, p.n[EV_DONE] == 2);
	child_sends("end", 2);
	CHILD_UNTIL(l, heard.n == 2 && p.n[EV_DONE] == 3);
	CHILD(heard_text(0, "two") && heard_text(1, "end"));
	/* That the router dropped one is nobody's error. */
	CHILD(p.done[0] == 3 && p.done[1] == 3 && p.done[2] == 3);
	CHILD(p.n[EV_ERROR] == 0);
}

/* Client and server: with a TTL of 2 it is answered, with 1 it is lost. */
BACKEND_TEST(iotjs, setttl)
{
	in_port_t at = 0;

	enter_router();
	l = test_loop(backend);
	start_behind(0, child_is_server);
	start_behind(1, child_is_client);
	cr_assert(hears_from(workers[0].fd, &at, sizeof(at)));
	tell(workers[1].fd, &at, sizeof(at));
	join_workers();
	free_loop(l);
}
