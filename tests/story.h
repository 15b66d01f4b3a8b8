/* SPDX-License-Identifier: ISC */

/*
 * A socket whose life is told in words, for the tests of the state machine: all
 * that happens to it and around it is written down in its order.
 *
 *	L C D X		listening, connect, drain, close
 *	M7 E:ENOENT	a message of 7 bytes; an error
 *	d4 d:EINVAL	a completion with the letter d, and its status
 *	f		a function of dgram_close() or dgram_end()
 *	>p4 >o3		datagrams that are at the peer, at the other
 *
 * Names are looked up by the test itself: answer().
 */

#ifndef DGT_STORY_H
#define DGT_STORY_H

#include "sockets.h"

#include <stdarg.h>

#define BOUND_NAME	"bound.test"
#define PEER_NAME	"peer.test"
#define OTHER_NAME	"other.test"

#define LOG	400

/* A look-up that the hook was asked for. */
struct ask {
	uint64_t id;
	char host[32];
	int family;
};

static struct story {
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_socket *s;		/* NULL: gone */
	int type;
	int peer_fd, other_fd;		/* whom it connects, sends to */
	struct dgram_addr peer, other;
	int spare;			/* a descriptor to adopt */
	char log[LOG];
	struct ask asks[32];
	size_t asked, answered;
	char on;			/* behind this word it acts, once */
	int (*act)(struct dgram_socket *);
	int r;				/* its result */
	bool gone;
	struct dgram_stats last;	/* as of `close` or its function */
	struct dgram_error error;	/* the last, its strings copied */
	struct dgram_addr error_addr;
	char error_host[32];
} sc;

/* ---- what happens is written down ---- */

static inline void
say(const char *format, ...)
{
	size_t at = strlen(sc.log);
	va_list ap;

	MUST(in_call == 0, "%s from inside of a call", format);
	if (at > 0)
		sc.log[at++] = ' ';
	va_start(ap, format);
	vsnprintf(sc.log + at, sizeof(sc.log) - at, format, ap);
	va_end(ap);
}

/* What a test does inside of an event, by its letter. */
static inline void
acts(char letter)
{
	int (*act)(struct dgram_socket *) = sc.act;

	if (sc.on != letter || act == NULL)
		return;
	sc.act = NULL;
	sc.r = act(sc.s);
}

static inline void
on_listening(struct dgram_socket *s, void *arg)
{
	(void)s, (void)arg;
	say("L");
	acts('L');
}

static inline void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	(void)s, (void)arg;
	for (; n > 0; n--, m++)
		say("M%zu", m->size);
	acts('M');
}

static inline void
on_connect(struct dgram_socket *s, void *arg)
{
	(void)s, (void)arg;
	say("C");
	acts('C');
}

static inline void
keep_error(const struct dgram_error *e)
{
	sc.error = *e;
	sc.error_addr.len = 0;
	if (e->addr != NULL)
		sc.error_addr = *e->addr;
	sc.error_host[0] = '\0';
	if (e->host != NULL)
		snprintf(sc.error_host, sizeof(sc.error_host), "%s", e->host);
}

static inline void
on_error(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	(void)s, (void)arg;
	say("E:%s", dgram_err_name(e->status));
	keep_error(e);
	acts('E');
}

static inline void
on_drain(struct dgram_socket *s, void *arg)
{
	(void)s, (void)arg;
	say("D");
	acts('D');
}

static inline void
keep_stats(void)
{
	sc.last.size = sizeof(sc.last);
	OK(dgram_get_stats(sc.s, &sc.last));
}

static inline void
on_close(struct dgram_socket *s, void *arg)
{
	(void)arg;
	MUST(s == sc.s, "another socket");
	say("X");
	acts('X');
}

static const struct dgram_events events = {
	.listening = on_listening,
	.message = on_message,
	.connect = on_connect,
	.error = on_error,
	.drain = on_drain,
	.close = on_close,
};

/* What a completion or a close function says, as the `arg` of it. */
static inline void *
letter(char c)
{
	static char letters[128];

	letters[(unsigned char)c] = c;
	return &letters[(unsigned char)c];
}

static inline void
on_done(struct dgram_socket *s, int status, void *arg)
{
	struct dgram_error e;

	MUST(s == sc.s, "another socket");
	if (status < 0)
		say("%c:%s", *(char *)arg, dgram_err_name(status));
	else
		say("%c%d", *(char *)arg, status);
	CHECK(dgram_last_error(s, &e), status < 0 ? 0 : -ENOENT);
	if (status < 0) {
		MUST(e.status == status, "%d, not %d", e.status, status);
		keep_error(&e);
	}
	acts(*(char *)arg);
}

static inline void
on_closed(void *arg)
{
	say("%c", *(char *)arg);
	keep_stats();
	sc.gone = true;
	acts(*(char *)arg);
}

static inline void
on_lookup(struct dgram_socket *s, uint64_t id, const char *host, int family,
    void *arg)
{
	struct ask *a = &sc.asks[sc.asked++];

	(void)arg;
	MUST(in_call == 0, "%s is asked for inside of a call", host);
	MUST(sc.asked <= COUNT(sc.asks), "asked too often");
	MUST(s == sc.s, "another socket");
	a->id = id;
	a->family = family;
	snprintf(a->host, sizeof(a->host), "%s", host);
	acts('?');
}

/* ---- the scene ---- */

static inline struct dgram_addr
loopback(int port)
{
	struct dgram_addr a;

	OK(dgram_addr_parse(&a, sc.type == DGRAM_UDP4 ? "127.0.0.1" : "::1",
	    port));
	return a;
}

/* Until all has happened that can. */
static inline void
quiet(void)
{
	turns(sc.l, 6);
	if (sc.gone)
		sc.s = NULL;
}

/* That many bytes, each of which tells how many, and whose they are. */
static inline char *
payload(size_t size)
{
	static char bytes[8][8];

	MUST(size < sizeof(bytes[0]), "%zu", size);
	memset(bytes[size], (int)((size_t)getpid() % 31 * 8 + size), size);
	return bytes[size];
}

/* What has arrived at a bare socket. */
static inline void
arrived(int fd, char who)
{
	char buf[64];
	ssize_t n;
	int i = 0;

	do {
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0) {
			sched_yield();
			continue;
		}
		/* Else another program's, which had the port before. */
		if (n < 8 && memcmp(buf, payload((size_t)n), (size_t)n) == 0)
			say(">%c%zd", who, n);
	} while (n >= 0 || i++ < LOOPBACK_YIELDS);
}

static inline void
phase(void)
{
	quiet();
	arrived(sc.peer_fd, 'p');
	arrived(sc.other_fd, 'o');
}

/* Answers the next look-up. */
static inline int
answer(int status)
{
	struct dgram_addr a = loopback(0);

	MUST(sc.answered < sc.asked, "nothing was asked");
	return CALL(dgram_lookup_done(sc.l, sc.asks[sc.answered++].id, status,
	    status == 0 ? &a : NULL));
}

/* Nothing is in the way any more. */
static inline void
release(void)
{
	fault_sends(&sc.f, 0);
	if (sc.s != NULL)
		ACCEPT(dgram_flush(sc.s));
	do {
		while (sc.answered < sc.asked)
			CHECK(answer(0), sc.gone ? -ENOENT : 0);
		quiet();
	} while (sc.answered < sc.asked);
}

/* Requests that are free: without any the short ways to send are not taken. */
static inline void
warm_up(void)
{
	struct dgram_socket *s;
	struct dgram_options o = { .type = (enum dgram_type)sc.type };
	int i;

	OK(dgram_open(sc.l, &o, &s));
	for (i = 0; i < 8; i++)
		OK(CALL(dgram_send_addr(s, NULL, 0, &sc.other, NULL, NULL)));
	turns(sc.l, 2);
	OK(dgram_close(s, NULL, NULL));
	turns(sc.l, 2);
	for (i = 0; i < 8; i++)
		MUST(recv(sc.other_fd, NULL, 0, MSG_DONTWAIT) == 0, "%s",
		    strerror(errno));
	memset(sc.f.entry, 0, sizeof(sc.f.entry));
}

static inline void
open_with(const char *backend, int type, struct dgram_options o)
{
	struct dgram_addr a;

	o.type = (enum dgram_type)type;
	o.lookup = on_lookup;
	o.events = &events;
	memset(&sc, 0, sizeof(sc));
	sc.type = type;
	fault_init(&sc.f);
	sc.l = fault_loop(&sc.f, backend, NULL);
	sc.peer_fd = bare_socket(type, &sc.peer);
	sc.other_fd = bare_socket(type, &sc.other);
	sc.spare = bare_socket(type, &a);
	warm_up();
	OK(dgram_open(sc.l, &o, &sc.s));
}

static inline void
open_scene(const char *backend, int type)
{
	open_with(backend, type, (struct dgram_options){ .type = 0 });
}

static inline void
leave(void)
{
	free_fault_loop(sc.l, &sc.f);
	close(sc.peer_fd);
	close(sc.other_fd);
	if (sc.spare >= 0)
		close(sc.spare);
}

static inline int
send_to(const struct dgram_addr *to, size_t size, char who)
{
	struct iovec iov = { payload(size), size };

	return CALL(dgram_send_addr(sc.s, &iov, 1, to, who != '\0' ? on_done :
	    NULL, letter(who)));
}

static inline void
bind_here(void)
{
	struct dgram_addr a = any_addr(sc.type);

	OK(dgram_bind_addr(sc.s, &a));
	quiet();
}

static inline int
bind_name(char who)
{
	return CALL(dgram_bind(sc.s, 0, BOUND_NAME, who != '\0' ? on_done :
	    NULL, letter(who)));
}

static inline int
connect_name(char who)
{
	return CALL(dgram_connect(sc.s, dgram_addr_port(&sc.peer), PEER_NAME,
	    who != '\0' ? on_done : NULL, letter(who)));
}

static inline int
send_name(size_t size, char who)
{
	return CALL(dgram_send(sc.s, payload(size), size, dgram_addr_port(&sc.other),
	    OTHER_NAME, who != '\0' ? on_done : NULL, letter(who)));
}

/* A datagram that the kernel does not take, and an end behind it. */
static inline void
block(const struct dgram_addr *to)
{
	fault_sends(&sc.f, -EAGAIN);
	OK(send_to(to, 3, 's'));
}

static inline void
adopt_unbound(void)
{
	int fd = socket(sc.type == DGRAM_UDP4 ? AF_INET : AF_INET6, SOCK_DGRAM,
	    0);

	cr_assert(fd >= 0);
	OK(dgram_bind_fd(sc.s, fd));
}

#endif
