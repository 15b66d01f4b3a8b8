/* SPDX-License-Identifier: ISC */

/* Rows of the tests of IoT.js, test/run_pass: see README. */

#include "names.h"
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
