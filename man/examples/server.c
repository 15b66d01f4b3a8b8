/* SPDX-License-Identifier: ISC */

/*
 * server: prints what arrives, and from whom.
 *
 *	server [port]
 *
 * The first program in the documentation of Node's dgram: createSocket('udp4'),
 * the events `error`, `message` and `listening`, and bind(41234).  Port 0 lets
 * the kernel choose.  SIGTERM and SIGINT end it.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "dgram.h"

static struct dgram_loop *loop;

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

/* Node's closes the socket here: then any stranger could end the server. */
static void
on_error(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	char text[256];

	(void)s, (void)arg;
	if (dgram_error_format(e, text, sizeof(text)) >= 0)
		fprintf(stderr, "server error: %s\n", text);
}

/* Bytes from the network never reach a terminal as they are. */
static void
print_text(const char *p, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c < 0x20 || c >= 0x7f)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
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
		printf("server got: ");
		print_text(m[i].data, m[i].size);
		printf(" from %s\n", from);
	}
	(void)fflush(stdout);
}

static void
on_listening(struct dgram_socket *s, void *arg)
{
	struct dgram_addr a;
	char text[64];

	(void)arg;
	if (dgram_address(s, &a) == 0 &&
	    dgram_addr_format(&a, text, sizeof(text)) >= 0)
		printf("server listening %s\n", text);
	(void)fflush(stdout);
}

int
main(int argc, char **argv)
{
	static const struct dgram_events events = {
		.listening = on_listening,
		.message = on_message,
		.error = on_error,
	};
	const struct dgram_options options = { .type = DGRAM_UDP4,
	    .events = &events };
	struct dgram_socket *s;
	int r;

	if (argc > 2) {
		fprintf(stderr, "usage: server [port]\n");
		return 2;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		(void)signal(SIGTERM, on_signal);
		(void)signal(SIGINT, on_signal);
		r = dgram_open(loop, &options, &s);
		if (r == 0)
			r = dgram_bind(s, argc == 2 ? port_of(argv[1]) : 41234,
			    NULL, NULL, NULL);
		if (r == 0)
			r = dgram_loop_run(loop);
		/* The handler would find no loop. */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "server: %s\n", dgram_strerror(r));
	return r < 0;
}
