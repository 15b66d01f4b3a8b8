/* SPDX-License-Identifier: ISC */

/*
 * One bare loop for a counter of instructions: rawinstr row datagrams
 *
 * Only measured() is to be counted (instructions.sh says so to callgrind):
 * what fills a queue before it is not the loop's.  Prints datagrams and system
 * calls of the measured part.
 */

#define _GNU_SOURCE 1

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raw.h"

/* 64 bytes each: as many as the receive buffer of any system can hold. */
#define FILL	512
#define SIZE	64

enum need { FULL, EMPTY, CONNECTED, EPOLL };

struct bench {
	struct raw_in in;
	struct raw_out out;	/* of the peer, who fills */
	struct raw_out send;
	int fd, peer, ep;
};

struct row {
	const char *name;
	enum need need;
	size_t (*run)(struct bench *, size_t);
};

static size_t
run_recvmmsg(struct bench *b, size_t n)
{
	return raw_recvmmsg(&b->in, b->fd, n);
}

static size_t
run_recvfrom(struct bench *b, size_t n)
{
	return raw_recvfrom(&b->in, b->fd, n);
}

static size_t
run_epoll(struct bench *b, size_t n)
{
	return raw_epoll(&b->in, b->ep, n);
}

static size_t
run_echo(struct bench *b, size_t n)
{
	return raw_echo_mmsg(&b->in, b->fd, n);
}

static size_t
run_sendmmsg(struct bench *b, size_t n)
{
	return raw_sendmmsg(&b->send, b->fd, n);
}

static size_t
run_sendto(struct bench *b, size_t n)
{
	return raw_sendto(&b->send, b->fd, n);
}

static size_t
run_send(struct bench *b, size_t n)
{
	return raw_send(&b->send, b->fd, n);
}

static const struct row rows[] = {
	{ "recvmmsg", FULL, run_recvmmsg },
	{ "recvfrom", FULL, run_recvfrom },
	{ "epoll", EPOLL, run_epoll },
	{ "echo", FULL, run_echo },
	{ "sendmmsg", EMPTY, run_sendmmsg },
	{ "sendto", EMPTY, run_sendto },
	{ "send", CONNECTED, run_send },
};

static size_t
measured(const struct row *row, struct bench *b, size_t n)
{
	size_t done;

	done = row->run(b, n);
	if (done != n)
		errx(1, "%s: %zu of %zu datagrams", row->name, done, n);
	return done;
}

/* Never inlined or cloned: a counter has to find it by name. */
static size_t (*volatile measure)(const struct row *, struct bench *, size_t) =
    measured;

static void
run(const struct row *row, size_t n)
{
	static struct bench b;
	struct raw_addr here, there;
	size_t done = 0;

	b.fd = raw_socket(RAW_UDP4, &here);
	b.peer = raw_socket(RAW_UDP4, &there);
	if (b.fd < 0 || b.peer < 0)
		errx(1, "socket: %s", strerror(b.fd < 0 ? -b.fd : -b.peer));
	b.ep = raw_epoll_new(&b.fd, 1);
	if (b.ep < 0)
		errx(1, "epoll: %s", strerror(-b.ep));
	raw_in_init(&b.in);
	raw_out_init(&b.out, &here, SIZE);
	/* Nobody reads what is sent to the peer: the kernel drops the rest. */
	raw_out_init(&b.send, &there, SIZE);
	if (row->need == CONNECTED &&
	    connect(b.fd, &there.u.sa, there.len) < 0)
		err(1, "connect");
	for (; done < n; done += FILL) {
		if ((row->need == FULL || row->need == EPOLL) &&
		    raw_sendmmsg(&b.out, b.peer, FILL) != FILL)
			errx(1, "cannot fill the queue");
		(void)measure(row, &b, FILL);
	}
	printf("%zu %llu\n", done,
	    (unsigned long long)(b.in.calls + b.send.calls));
}

int
main(int argc, char **argv)
{
	size_t i;

	if (argc != 3)
		errx(1, "usage: rawinstr row datagrams");
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, argv[1]) == 0) {
			run(&rows[i], (size_t)strtoul(argv[2], NULL, 10));
			return 0;
		}
	errx(1, "%s: no such row", argv[1]);
}
