/* SPDX-License-Identifier: ISC */

/*
 * dnsforward: a small DNS forwarder (RFC 1035), to show answers that come later.
 *
 *	dnsforward udp4|udp6 port upstream-address upstream-port
 *
 * It listens on the wildcard address, where a host has many, and a resolver
 * takes an answer only from the address that it asked.  The answer comes long
 * after the message, so what is needed is kept: who asked, where, and the id.
 * Port 0 lets the kernel choose; the port is printed.  SIGTERM and SIGINT end it.
 *
 * It knows no TCP and has no cache.  Who forges an answer has to guess the id and
 * the port, which stays: in the open each question takes a new socket.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dgram.h"

#define SLOTS		256u
#define PATIENCE	((uint64_t)5 * 1000000000)
#define HEADER		12u	/* bytes: id, flags, four counts */
#define QUESTION	259u	/* a name of 255, type, class */
#define IS_ANSWER(p)	(((p)[2] & 0x80) != 0)

struct question {
	struct dgram_timer timer;	/* active: the slot is in use */
	struct dgram_addr remote, local;
	unsigned ifindex;
	bool has_local;
	unsigned char id[2], own_id[2];	/* of the asker; upstream */
	unsigned char text[QUESTION];
	size_t size;
};

static struct dgram_loop *loop;
static struct dgram_socket *front, *upstream;
static struct question slots[SLOTS];
static int randomness = -1;

/* The bytes of the one question in a message; 0: it is not as it should be. */
static size_t
question_size(const unsigned char *p, size_t size)
{
	size_t at = HEADER;

	if (size < HEADER || p[4] != 0 || p[5] != 1)
		return 0;
	/* Labels; a pointer has its two high bits set. */
	while (at < size && p[at] != 0) {
		if (p[at] > 63)
			return 0;
		at += (size_t)p[at] + 1;
	}
	at += 1 + 4;
	return at <= size && at - HEADER <= QUESTION ? at - HEADER : 0;
}

/* A struct iovec has no place for a const. */
static struct iovec
piece(const void *p, size_t size)
{
	struct iovec v = { .iov_len = size };

	memcpy(&v.iov_base, &p, sizeof(p));
	return v;
}

static struct question *
find(const unsigned char own_id[2])
{
	unsigned i;

	for (i = 0; i < SLOTS; i++) {
		if (dgram_timer_active(&slots[i].timer) &&
		    memcmp(slots[i].own_id, own_id, 2) == 0)
			return &slots[i];
	}
	return NULL;
}

/* A free slot with an id that nobody can guess and no other has, or NULL. */
static struct question *
take(void)
{
	struct question *q = NULL;
	unsigned char id[2];
	unsigned i;

	for (i = 0; i < SLOTS && q == NULL; i++) {
		if (!dgram_timer_active(&slots[i].timer))
			q = &slots[i];
	}
	if (q == NULL)
		return NULL;
	do {
		if (read(randomness, id, sizeof(id)) != (ssize_t)sizeof(id))
			return NULL;
	} while (find(id) != NULL);
	memcpy(q->own_id, id, sizeof(id));
	return q;
}

/* Nobody answered: whoever asked will ask again. */
static void
on_late(struct dgram_timer *t, void *arg)
{
	(void)t, (void)arg;
}

static void
ask(const struct dgram_message *m)
{
	const unsigned char *p = m->data;
	struct iovec iov[2];
	struct question *q;
	size_t size;

	/* An answer is never answered: so two of us cannot play ball. */
	size = question_size(p, m->size);
	if (size == 0 || IS_ANSWER(p) || (m->flags & DGRAM_TRUNCATED) != 0 ||
	    (q = take()) == NULL)
		return;
	q->remote = *m->remote;
	/* A group's address is nobody's: then the interface has to do. */
	q->has_local = (m->flags & DGRAM_LOCAL) != 0 &&
	    (m->flags & DGRAM_GROUP) == 0;
	if (q->has_local)
		q->local = *m->local;
	q->ifindex = (m->flags & DGRAM_GROUP) != 0 ? m->ifindex : 0;
	memcpy(q->id, p, sizeof(q->id));
	memcpy(q->text, p + HEADER, size);
	q->size = size;
	/* Without a completion the bytes are copied. */
	iov[0] = piece(q->own_id, 2);
	iov[1] = piece(p + 2, m->size - 2);
	if (dgram_send_addr(upstream, iov, 2, NULL, NULL, NULL) == 0)
		(void)dgram_timer_start(&q->timer, PATIENCE, 0);
}

static void
answer(const struct dgram_message *m)
{
	const unsigned char *p = m->data;
	struct dgram_datagram d = { .iovcnt = 2 };
	struct question *q;
	struct iovec iov[2];
	size_t size;

	size = question_size(p, m->size);
	if (size == 0 || !IS_ANSWER(p) || (q = find(p)) == NULL ||
	    q->size != size || memcmp(q->text, p + HEADER, size) != 0)
		return;
	dgram_timer_stop(&q->timer);
	iov[0] = piece(q->id, 2);
	iov[1] = piece(p + 2, m->size - 2);
	d.iov = iov;
	d.to = &q->remote;
	d.from = q->has_local ? &q->local : NULL;
	d.ifindex = q->ifindex;
	(void)dgram_send_batch(front, &d, 1, NULL, NULL);
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < n; i++) {
		if (s == front)
			ask(&m[i]);
		else
			answer(&m[i]);
	}
}

/* A port, or -1, which nothing accepts. */
static int
port_of(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text == '\0' || *end != '\0' || n < 0 || n > 65535 ? -1 :
	    (int)n;
}

static void
on_signal(int sig)
{
	(void)sig;
	dgram_loop_stop(loop);
}

static int
open_both(enum dgram_type type, const struct dgram_addr *own,
    const struct dgram_addr *to)
{
	static const struct dgram_events events = { .message = on_message };
	struct dgram_options o = { .type = type, .want = DGRAM_LOCAL,
	    .max_datagram = 4096, .events = &events };
	struct dgram_addr a;
	int r;

	r = dgram_open(loop, &o, &front);
	if (r == 0)
		r = dgram_bind_addr(front, own);
	if (r < 0)
		return r;
	o.type = to->u.sa.sa_family == AF_INET ? DGRAM_UDP4 : DGRAM_UDP6;
	o.want = DGRAM_NO_REMOTE;	/* connected: it is known */
	r = dgram_open(loop, &o, &upstream);
	if (r == 0)
		r = dgram_connect_addr(upstream, to);
	if (r == 0 && (r = dgram_address(front, &a)) == 0) {
		printf("listening on port %d\n", dgram_addr_port(&a));
		(void)fflush(stdout);
	}
	return r;
}

int
main(int argc, char **argv)
{
	struct dgram_addr own, to;
	int type, r;
	unsigned i;

	type = argc == 5 ? dgram_type_parse(argv[1]) : -1;
	if ((type != DGRAM_UDP4 && type != DGRAM_UDP6) ||
	    dgram_addr_parse(&own, type == DGRAM_UDP4 ? "0.0.0.0" : "::",
	    port_of(argv[2])) < 0 ||
	    dgram_addr_parse(&to, argv[3], port_of(argv[4])) < 0) {
		fprintf(stderr, "usage: dnsforward udp4|udp6 port "
		    "upstream-address upstream-port\n");
		return 2;
	}
	randomness = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	r = randomness < 0 ? -1 : dgram_loop_new(NULL, &loop);
	if (r == 0) {
		(void)signal(SIGTERM, on_signal);
		(void)signal(SIGINT, on_signal);
		for (i = 0; i < SLOTS; i++)
			dgram_timer_init(&slots[i].timer, loop, on_late, NULL);
		r = open_both((enum dgram_type)type, &own, &to);
		if (r == 0)
			r = dgram_loop_run(loop);
		/* The handler would find no loop. */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "dnsforward: %s\n", dgram_err_name(r));
	return r < 0;
}
