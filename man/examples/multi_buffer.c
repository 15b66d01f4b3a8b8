/* SPDX-License-Identifier: ISC */

/*
 * multi_buffer: one datagram of several pieces, which are not copied together.
 *
 *	multi_buffer port [address]
 *
 * In Node: send([buf1, buf2], port, callback) on a new udp4 socket, and close()
 * in the callback.  Without an address both send to the loopback.
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
on_sent(struct dgram_socket *s, int status, void *arg)
{
	struct dgram_addr own;

	(void)arg;
	if (status < 0) {
		fprintf(stderr, "multi_buffer: %s\n", dgram_strerror(status));
		failed = 1;
	} else if (dgram_address(s, &own) == 0) {
		/* The send has bound the socket. */
		printf("%d bytes sent from port %d\n", status,
		    dgram_addr_port(&own));
	}
	(void)dgram_close(s, NULL, NULL);
}

int
main(int argc, char **argv)
{
	const struct dgram_options options = { .type = DGRAM_UDP4 };
	/* Borrowed until on_sent(). */
	static char some[] = "Some ", bytes[] = "bytes";
	const struct iovec iov[2] = {
		{ .iov_base = some, .iov_len = strlen(some) },
		{ .iov_base = bytes, .iov_len = strlen(bytes) },
	};
	struct dgram_loop *loop;
	struct dgram_socket *s;
	int r;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: multi_buffer port [address]\n");
		return 2;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		r = dgram_open(loop, &options, &s);
		if (r == 0)
			r = dgram_sendv(s, iov, 2, port_of(argv[1]),
			    argc == 3 ? argv[2] : NULL, on_sent, NULL);
		/* Returns when the socket is closed: nothing is left then. */
		if (r == 0)
			r = dgram_loop_run(loop);
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "multi_buffer: %s\n", dgram_strerror(r));
	return r < 0 || failed;
}
