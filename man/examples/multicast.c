/* SPDX-License-Identifier: ISC */

/*
 * multicast: a group, heard and sent to by an interface of choice.
 *
 *	multicast receive interface port
 *	multicast send interface port text
 *
 * In Node the receiver is createSocket({ type: 'udp4', reuseAddr: true }),
 * bind(port) and, in its callback, addMembership('224.0.0.114', address); the
 * sender is bind(), setMulticastInterface(address) and send().  The interface is
 * the address of one, as in Node, or its name; for the receiver also "*": all.
 * SIGTERM and SIGINT end the receiver, and with the socket the membership.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dgram.h"

#define GROUP	"224.0.0.114"

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
		/* The port is open to what is sent to the host itself, too. */
		printf("%s\n", (m[i].flags & DGRAM_GROUP) != 0 ?
		    " to the group" : "");
	}
	(void)fflush(stdout);
}

static int
receive(const char *interface, int port)
{
	static const struct dgram_events events = { .message = on_message };
	/* For several of a host to hear the same. */
	const struct dgram_options options = { .type = DGRAM_UDP4,
	    .reuse_addr = true, .want = DGRAM_LOCAL, .events = &events };
	struct dgram_socket *s;
	struct dgram_addr own;
	int r;

	r = dgram_open(loop, &options, &s);
	/* Bound when the call returns: there is no callback to wait for. */
	if (r == 0)
		r = dgram_bind(s, port, NULL, NULL, NULL);
	if (r == 0)
		r = dgram_add_membership(s, GROUP, interface);
	if (r == 0)
		r = dgram_address(s, &own);
	if (r == 0) {
		printf("listening on %s port %d\n", GROUP,
		    dgram_addr_port(&own));
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
		fprintf(stderr, "multicast: %s\n", dgram_strerror(status));
		failed = 1;
	} else if (dgram_address(s, &own) == 0) {
		printf("%d bytes sent from port %d\n", status,
		    dgram_addr_port(&own));
	}
	(void)dgram_close(s, NULL, NULL);
}

static int
send_one(const char *interface, int port, const char *text)
{
	const struct dgram_options options = { .type = DGRAM_UDP4 };
	struct dgram_socket *s;
	int r;

	r = dgram_open(loop, &options, &s);
	if (r == 0)
		r = dgram_bind(s, 0, NULL, NULL, NULL);
	if (r == 0)
		r = dgram_set_multicast_interface(s, interface);
	if (r == 0)
		r = dgram_send(s, text, strlen(text), port, GROUP, on_sent,
		    NULL);
	return r;
}

int
main(int argc, char **argv)
{
	bool receiver = argc == 4 && strcmp(argv[1], "receive") == 0;
	int r;

	if (!receiver && (argc != 5 || strcmp(argv[1], "send") != 0)) {
		fprintf(stderr, "usage: multicast receive interface port\n"
		    "       multicast send interface port text\n");
		return 2;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		(void)signal(SIGTERM, on_signal);
		(void)signal(SIGINT, on_signal);
		r = receiver ? receive(argv[2], port_of(argv[3])) :
		    send_one(argv[2], port_of(argv[3]), argv[4]);
		if (r == 0)
			r = dgram_loop_run(loop);
		/* The handler would find no loop. */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "multicast: %s\n", dgram_strerror(r));
	return r < 0 || failed;
}
