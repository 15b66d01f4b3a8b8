/* SPDX-License-Identifier: ISC */

/*
 * abort: several sockets that one call closes.
 *
 *	abort port ...
 *
 * In Node: new AbortController(), createSocket({ type: 'udp4', signal }), and
 * later controller.abort().  Here that may be done by another thread, or by a
 * signal handler, as SIGTERM and SIGINT do it.  Then nothing is left for the
 * loop, and the program ends.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "dgram.h"

static struct dgram_abort *controller;

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
	dgram_abort_trigger(controller);
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
		printf("%zu bytes from %s\n", m[i].size, from);
	}
	(void)fflush(stdout);
}

static void
on_listening(struct dgram_socket *s, void *arg)
{
	struct dgram_addr a;

	(void)arg;
	if (dgram_address(s, &a) == 0)
		printf("listening on port %d\n", dgram_addr_port(&a));
	(void)fflush(stdout);
}

/* The only thing that tells: an abort calls back nobody else. */
static void
on_close(struct dgram_socket *s, void *arg)
{
	(void)s, (void)arg;
	printf("closed\n");
}

static int
serve(struct dgram_loop *loop, char **ports)
{
	static const struct dgram_events events = {
		.listening = on_listening,
		.message = on_message,
		.close = on_close,
	};
	const struct dgram_options options = { .type = DGRAM_UDP4,
	    .signal = controller, .events = &events };
	struct dgram_socket *s;
	int r = 0;

	for (; *ports != NULL && r == 0; ports++) {
		r = dgram_open(loop, &options, &s);
		if (r == 0)
			r = dgram_bind(s, port_of(*ports), NULL, NULL, NULL);
	}
	return r < 0 ? r : dgram_loop_run(loop);
}

int
main(int argc, char **argv)
{
	struct dgram_loop *loop;
	int r;

	if (argc < 2) {
		fprintf(stderr, "usage: abort port ...\n");
		return 2;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		r = dgram_abort_new(loop, &controller);
		if (r == 0) {
			(void)signal(SIGTERM, on_signal);
			(void)signal(SIGINT, on_signal);
			r = serve(loop, argv + 1);
		}
		(void)dgram_loop_free(loop);
		/* From here on a signal does nothing. */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		dgram_abort_free(controller);
	}
	if (r < 0)
		fprintf(stderr, "abort: %s\n", dgram_strerror(r));
	return r < 0;
}
