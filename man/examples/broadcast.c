/* SPDX-License-Identifier: ISC */

/*
 * broadcast: to all hosts of a network, and what comes from one of them.
 *
 *	broadcast receive port
 *	broadcast send port address text
 *
 * In Node the receiver is createSocket({ type: 'udp4', reuseAddr: true }) and
 * bind(port): reuseAddr, for several of a host to hear the same.  The sender is
 * bind() and, once it is bound, setBroadcast(true) and send(); without that the
 * kernel refuses with EACCES.  The address is 255.255.255.255, or that of one
 * network, such as 192.0.2.255.  SIGTERM and SIGINT end the receiver.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dgram.h"

static struct dgram_loop *loop;
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
on_signal(int sig)
{
	(void)sig;
	dgram_loop_stop(loop);
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	char from[64];
	size_t i;

	(void)s, (void)arg;
	for (i = 0; i < n; i++) {
		(void)dgram_addr_format(m[i].remote, from, sizeof(from));
		printf("%zu bytes from %s", m[i].size, from);
		/* Whether it was for all, or for us alone. */
		printf("%s\n", (m[i].flags & DGRAM_GROUP) != 0 ?
		    ", broadcast" : "");
	}
	(void)fflush(stdout);
}

static int
receive(int port)
{
	static const struct dgram_events events = { .message = on_message };
	const struct dgram_options options = { .type = DGRAM_UDP4,
	    .reuse_addr = true, .want = DGRAM_LOCAL, .events = &events };
	struct dgram_socket *s;
	struct dgram_addr own;
	int r;

	r = dgram_open(loop, &options, &s);
	if (r == 0)
		r = dgram_bind(s, port, NULL, NULL, NULL);
	if (r == 0)
		r = dgram_address(s, &own);
	if (r == 0) {
		printf("listening on port %d\n", dgram_addr_port(&own));
		(void)fflush(stdout);
	}
	return r;
}

static void
on_sent(struct dgram_socket *s, int status, void *arg)
{
	struct dgram_addr own;

	(void)arg;
	if (status < 0) {
		fprintf(stderr, "broadcast: %s\n", dgram_strerror(status));
		failed = 1;
	} else if (dgram_address(s, &own) == 0) {
		printf("%d bytes sent from port %d\n", status,
		    dgram_addr_port(&own));
	}
	(void)dgram_close(s, NULL, NULL);
}

static int
send_one(int port, const char *address, const char *text)
{
	const struct dgram_options options = { .type = DGRAM_UDP4 };
	struct dgram_socket *s;
	int r;

	r = dgram_open(loop, &options, &s);
	/* Bound when the call returns: the setter needs a descriptor. */
	if (r == 0)
		r = dgram_bind(s, 0, NULL, NULL, NULL);
	if (r == 0)
		r = dgram_set_broadcast(s, 1);
	if (r == 0)
		r = dgram_send(s, text, strlen(text), port, address, on_sent,
		    NULL);
	return r;
}

int
main(int argc, char **argv)
{
	bool receiver = argc == 3 && strcmp(argv[1], "receive") == 0;
	int r;

	if (!receiver && (argc != 5 || strcmp(argv[1], "send") != 0)) {
		fprintf(stderr, "usage: broadcast receive port\n"
		    "       broadcast send port address text\n");
		return 2;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		(void)signal(SIGTERM, on_signal);
		(void)signal(SIGINT, on_signal);
		r = receiver ? receive(port_of(argv[2])) :
		    send_one(port_of(argv[2]), argv[3], argv[4]);
		if (r == 0)
			r = dgram_loop_run(loop);
		/* The handler would find no loop. */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "broadcast: %s\n", dgram_strerror(r));
	return r < 0 || failed;
}
