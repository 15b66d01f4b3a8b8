/* SPDX-License-Identifier: ISC */

/* Rows of Node's tests that are not shipped any more, 0.2 to 0.12: README. */

#include "names.h"
#include "heard.h"
#include "netns.h"

static const char question[] = "A message to send";

static void
close_peer(struct peer *peer)
{
	OK(dgram_close(peer->s, NULL, NULL));
	RUN_UNTIL(l, peer->s == NULL);
}

/* ---- paths ---- */

static struct peer server, client;
static char server_path[96], client_path[96];

static void
begin_unix(const char *backend)
{
	l = test_loop(backend);
	snprintf(server_path, sizeof(server_path), "%s", fresh_path());
	snprintf(client_path, sizeof(client_path), "%s", fresh_path());
}

static void
check_sender(const struct dgram_message *m, const char *path)
{
	MUST(strcmp(host_of(m->remote), path) == 0, "%s", host_of(m->remote));
	MUST(strcmp(dgram_addr_family(m->remote), "unix") == 0, "family");
	MUST(dgram_addr_port(m->remote) == 0, "port");
}

static void
echo_by_path(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	hear(peer, e, m, n);
	if (e != EV_MESSAGE)
		return;
	MUST(n == 1, "%zu messages", n);
	check_sender(m, client_path);
	OK(dgram_send_path(peer->s, m->data, m->size, host_of(m->remote), NULL,
	    NULL));
}

static void
ask_by_path(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	hear(peer, e, m, n);
	if (e == EV_LISTENING)
		OK(dgram_send_path(peer->s, question, strlen(question),
		    server_path, peer_done, peer));
	if (e != EV_MESSAGE)
		return;
	MUST(n == 1, "%zu messages", n);
	check_sender(m, server_path);
	OK(dgram_close(client.s, NULL, NULL));
	OK(dgram_close(server.s, NULL, NULL));
}

/*
 * There and back between two paths.  0.4 told a send from inside of the call,
 * and unlinked whatever lay at a path: here neither.
 */
BACKEND_TEST(node04, dgram_unix)
{
	struct dgram_addr a;

	begin_unix(backend);
	peer_open(&server, l, DGRAM_UNIX, NULL);
	peer_open(&client, l, DGRAM_UNIX, NULL);
	server.hook = echo_by_path;
	client.hook = ask_by_path;
	OK(dgram_bind_path(server.s, server_path, 0));
	TRACE(&server, "");
	RUN_UNTIL(l, server.n[EV_LISTENING] == 1);
	CHECK(dgram_bind_path(client.s, server_path, 0), -EADDRINUSE);
	OK(dgram_bind_path(client.s, client_path, 0));
	OK(dgram_address(client.s, &a));
	cr_assert(strcmp(host_of(&a), client_path) == 0);
	RUN_UNTIL(l, client.s == NULL && server.s == NULL);
	TRACE(&client, "LdMX");
	TRACE(&server, "LMX");
	cr_assert_eq(client.done[0], 17);
	cr_assert_eq(heard.n, 2);
	cr_assert(heard_text(0, question) && heard_text(1, question));
	/* Close removes the paths. */
	cr_assert(access(server_path, F_OK) < 0 && errno == ENOENT);
	cr_assert(access(client_path, F_OK) < 0 && errno == ENOENT);
	free_loop(l);
}

static int anonymous_reply;

static void
hear_nobody(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	hear(peer, e, m, n);
	for (i = 0; e == EV_MESSAGE && i < n; i++) {
		check_sender(&m[i], "");
		MUST(m[i].remote->len == 0, "an address");
		anonymous_reply = CALL(dgram_reply(peer->s, &m[i], "x", 1));
	}
	if (e == EV_MESSAGE && heard.n == 4)
		OK(dgram_close(peer->s, NULL, NULL));
}

/*
 * One that is not bound may send, has the empty string for an address, and
 * cannot be answered.
 */
BACKEND_TEST(node04, dgram_unix_anon)
{
	static const char *const messages[] = { "First message to send",
		"Second message to send", "Third message to send",
		"Fourth message to send" };
	struct dgram_addr a;
	size_t i;

	begin_unix(backend);
	peer_open(&server, l, DGRAM_UNIX, NULL);
	peer_open(&client, l, DGRAM_UNIX, NULL);
	server.hook = hear_nobody;
	OK(dgram_bind_path(server.s, server_path, 0));
	for (i = 0; i < COUNT(messages); i++)
		OK(dgram_send_path(client.s, messages[i], strlen(messages[i]),
		    server_path, peer_done, &client));
	RUN_UNTIL(l, server.s == NULL);
	cr_assert_eq(client.n[EV_DONE], (int)COUNT(messages));
	for (i = 0; i < COUNT(messages); i++) {
		cr_assert(heard_text(i, messages[i]));
		cr_assert_eq(client.done[i], (int)strlen(messages[i]));
	}
	cr_assert(anonymous_reply < 0);
	OK(dgram_address(client.s, &a));
	cr_assert(strcmp(host_of(&a), "") == 0);
	close_peer(&client);
	cr_assert_eq(client.n[EV_ERROR] + server.n[EV_ERROR], 0);
	free_loop(l);
}

/* ---- pingpong ---- */

#define ROUNDS	500

struct game {
	struct peer server, client;
	const char *host;
	int port, count, callbacks, callbacks_at_close;
};

static void
ponged(struct dgram_socket *s, int status, void *arg)
{
	struct game *g = arg;

	MUST(s == g->server.s && status == 4, "%d", status);
	g->callbacks++;
}

static void
ping(struct game *g)
{
	OK(dgram_sendto(g->client.s, "PING", 0, 4, g->port, "localhost", NULL,
	    NULL));
	g->count++;
}

static void
on_client(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct game *g = peer->arg;

	if (e == EV_MESSAGE) {
		MUST(n == 1 && m->size == 4 && memcmp(m->data, "PONG", 4) == 0,
		    "other bytes");
		ping(g);
		if (g->count == ROUNDS)
			OK(dgram_close(peer->s, NULL, NULL));
	} else if (e == EV_CLOSE) {
		g->callbacks_at_close = g->callbacks;
		OK(dgram_close(g->server.s, NULL, NULL));
	}
}

static void
on_server(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct game *g = peer->arg;

	if (e == EV_LISTENING) {
		g->port = port_of(peer);
		open_named(&g->client, NULL, NULL);
		g->client.arg = g;
		g->client.hook = on_client;
		ping(g);
	} else if (e == EV_MESSAGE) {
		MUST(n == 1 && m->size == 4 && memcmp(m->data, "PING", 4) == 0,
		    "other bytes");
		OK(dgram_sendto(peer->s, "PONG", 0, 4,
		    dgram_addr_port(m->remote), host_of(m->remote), ponged,
		    g));
	}
}

/*
 * 500 pings to a name, three games at once; the last is cut off by its close,
 * for the name is still looked up: so 499 answers, all told of before.
 */
BACKEND_TEST(node04, dgram_pingpong)
{
	static struct game games[3] = { { .host = "127.0.0.1" },
		{ .host = "localhost" }, { .host = NULL } };
	size_t i;

	enter(backend, NULL, NULL, NULL);
	fake_answer("localhost", "127.0.0.1 ::1");
	for (i = 0; i < COUNT(games); i++) {
		open_named(&games[i].server, NULL, NULL);
		games[i].server.arg = &games[i];
		games[i].server.hook = on_server;
		OK(dgram_bind(games[i].server.s, 0, games[i].host, NULL,
		    NULL));
	}
	RUN_UNTIL(l, games[0].server.n[EV_CLOSE] +
	    games[1].server.n[EV_CLOSE] + games[2].server.n[EV_CLOSE] == 3);
	for (i = 0; i < COUNT(games); i++) {
		cr_assert_eq(games[i].count, ROUNDS);
		cr_assert_eq(games[i].client.got, ROUNDS - 1);
		cr_assert_eq(games[i].callbacks_at_close, ROUNDS - 1);
		cr_assert_eq(games[i].callbacks, ROUNDS - 1);
		cr_assert_eq(games[i].client.n[EV_ERROR] +
		    games[i].server.n[EV_ERROR], 0);
	}
	leave();
}

/* ---- hosts that are not there ---- */

#define HOSTS	1000

/* Sends to each of the hosts and to itself; both are told, and it goes on. */
static void
send_to_nobody(const char *net, int want)
{
	int own, at, i, told, before;
	char host[64];
	uint32_t rand = 1;

	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	own = port_of(&p);
	for (i = 0; i < HOSTS; i++) {
		rand = rand * 1664525 + 1013904223;
		snprintf(host, sizeof(host), net, rand >> 8 & 255,
		    rand >> 16 & 255, 1 + (rand >> 24) % 254);
		at = 1 + (int)(rand >> 4) % 65535;
		/* Not to itself. */
		at = at == own ? at % 65535 + 1 : at;
		before = nrecords;
		OK(dgram_send(p.s, "x", 1, at, host, sent, &p));
		OK(dgram_send(p.s, number((uint32_t)i), 4, own, "127.0.0.1",
		    sent, &p));
		RUN_UNTIL(l, nrecords == before + 2 &&
		    p.got == (size_t)i + 1);
		told = records[before % RECORDS].status;
		MUST(told == want, "%s: %d", host, told);
		MUST(records[(before + 1) % RECORDS].status == 4, "itself");
		MUST(p.seq[i] == (uint32_t)i, "%u", p.seq[i]);
	}
	cr_assert_eq(p.n[EV_ERROR], 0);
	close_peer(&p);
}

/*
 * What the network says of a datagram later is nobody's error.  The hosts are
 * those of the loopback, where none leaves the machine.
 */
BACKEND_TEST(node04, dgram_send_error)
{
#if DGI_OS_LINUX
	enter(backend, NULL, NULL, NULL);
	send_to_nobody("127.%u.%u.%u", 1);
	leave();
#else
	(void)backend;
	cr_skip_test("the loopback has one address on this system");
#endif
}

/* What the kernel says of it at once is the completion's, never an `error`. */
BACKEND_TEST(node04, dgram_send_error_at_once)
{
	netns_unshare();
	netns_run("ip link set lo up");
	enter(backend, NULL, NULL, NULL);
	send_to_nobody("10.%u.%u.%u", -ENETUNREACH);
	leave();
}

/* ---- groups ---- */

static int
set_all(struct peer *peer)
{
	int r = CALL(dgram_set_ttl(peer->s, 1));

	CHECK(dgram_set_broadcast(peer->s, 1), r);
	CHECK(dgram_set_multicast_ttl(peer->s, 1), r);
	CHECK(dgram_set_multicast_loopback(peer->s, 1), r);
	return r;
}

/*
 * 0.4 had a descriptor from the beginning, and so could set all before the
 * bind: here that is refused, as in Node today.  A membership binds.
 */
BACKEND_TEST(node04, dgram_multicast)
{
	struct dgram_addr a;
	struct peer q;

	netns_enter();
	enter(backend, NULL, NULL, NULL);
	p.hook = hear;
	cr_assert_eq(set_all(&p), -EBADF);
	OK(dgram_add_membership(p.s, "224.0.0.1", NULL));
	OK(dgram_address(p.s, &a));
	cr_assert(dgram_addr_port(&a) > 0);
	CHECK(dgram_bind(p.s, 0, NULL, NULL, NULL), ALREADY_BOUND);
	cr_assert_eq(set_all(&p), 0);
	TRACE(&p, "");
	RUN_UNTIL(l, p.n[EV_LISTENING] == 1);
	open_named(&q, NULL, NULL);
	OK(dgram_send(q.s, question, strlen(question), dgram_addr_port(&a),
	    "224.0.0.1", sent, &q));
	RUN_UNTIL(l, heard.n == 1 && q.n[EV_DONE] == 1);
	cr_assert(heard_text(0, question));
	cr_assert(strcmp(host_of(&heard.d[0].from), "10.9.0.1") == 0);
	OK(dgram_drop_membership(p.s, "224.0.0.1", NULL));
	TRACE(&p, "LM");
	leave();
}
