/* SPDX-License-Identifier: ISC */

/*
 * connected: a socket with one peer, which datagrams go to and come from.
 *
 *	connected port [host]
 *
 * In Node: connect(port, 'localhost', callback) on a new udp4 socket, send(msg)
 * without a destination in the callback, and close() in that of the send.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dgram.h"

static int failed;

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
fail(struct dgram_socket *s, int status)
{
	struct dgram_error e;
	char text[640];

	/* It has the name, if that is what was at fault. */
	if (dgram_last_error(s, &e) == 0 &&
	    dgram_error_format(&e, text, sizeof(text)) >= 0)
		fprintf(stderr, "connected: %s\n", text);
	else
		fprintf(stderr, "connected: %s\n", dgram_strerror(status));
	failed = 1;
	(void)dgram_close(s, NULL, NULL);
}

static void
on_sent(struct dgram_socket *s, int status, void *arg)
{
	struct dgram_addr own, peer;
	char from[64], to[64];

	(void)arg;
	if (status < 0) {
		fail(s, status);
		return;
	}
	if (dgram_address(s, &own) == 0 &&
	    dgram_remote_address(s, &peer) == 0) {
		(void)dgram_addr_format(&own, from, sizeof(from));
		(void)dgram_addr_format(&peer, to, sizeof(to));
		printf("%d bytes sent from %s to %s\n", status, from, to);
	}
	(void)dgram_close(s, NULL, NULL);
}

static void
on_connected(struct dgram_socket *s, int status, void *arg)
{
	static const char message[] = "Some bytes";
	int r = status;

	(void)arg;
	/* Port 0 and no address: to the peer. */
	if (r == 0)
		r = dgram_send(s, message, strlen(message), 0, NULL, on_sent,
		    NULL);
	if (r < 0)
		fail(s, r);
}

int
main(int argc, char **argv)
{
	const struct dgram_options options = { .type = DGRAM_UDP4 };
	struct dgram_loop *loop;
	struct dgram_socket *s;
	int r;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: connected port [host]\n");
		return 2;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		r = dgram_open(loop, &options, &s);
		if (r == 0)
			r = dgram_connect(s, port_of(argv[1]),
			    argc == 3 ? argv[2] : "localhost", on_connected,
			    NULL);
		if (r == 0)
			r = dgram_loop_run(loop);
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "connected: %s\n", dgram_strerror(r));
	return r < 0 || failed;
}
