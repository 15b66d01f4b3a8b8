/* SPDX-License-Identifier: ISC */

/*
 * unix_echo: the server and the client of a pair of paths.
 *
 *	unix_echo server path
 *	unix_echo client server-path own-path text ...
 *
 * The server gives each datagram back to the path it came from.  The client
 * binds a path of its own, or nobody could answer it, sends each text, prints
 * what comes back and ends when all has.  Both remove their path at the end.
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "dgram.h"

static struct dgram_loop *loop;
static size_t waiting;

static void
on_signal(int sig)
{
	(void)sig;
	dgram_loop_stop(loop);
}

static void
on_error(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	char text[256];

	(void)s, (void)arg;
	if (dgram_error_format(e, text, sizeof(text)) > 0)
		fprintf(stderr, "unix_echo: %s\n", text);
}

/* ---- server ---- */

static void
on_request(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < n; i++) {
		/* A sender without a path cannot be answered. */
		if (m[i].remote->len > 0)
			(void)dgram_reply(s, &m[i], m[i].data, m[i].size);
	}
}

static int
serve(struct dgram_socket *s, char **argv)
{
	int r;

	/* Also if one that was killed has left its socket there. */
	r = dgram_bind_path(s, argv[2], DGRAM_UNLINK_STALE);
	if (r < 0)
		return r;
	printf("listening on %s\n", argv[2]);
	(void)fflush(stdout);
	return dgram_loop_run(loop);
}

/* ---- client ---- */

static void
on_answer(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < n; i++)
		printf("%.*s\n", (int)m[i].size, (const char *)m[i].data);
	waiting -= n < waiting ? n : waiting;
	if (waiting == 0)
		(void)dgram_close(s, NULL, NULL);
}

static void
on_sent(struct dgram_socket *s, int status, void *arg)
{
	if (status >= 0)
		return;
	fprintf(stderr, "unix_echo: %s: %s\n", (const char *)arg,
	    dgram_strerror(status));
	dgram_loop_stop(dgram_socket_loop(s));
}

static int
ask(struct dgram_socket *s, int argc, char **argv)
{
	int i, r;

	r = dgram_bind_path(s, argv[3], DGRAM_UNLINK_STALE);
	for (i = 4; i < argc && r == 0; i++) {
		/* argv stays: the text may be borrowed until on_sent. */
		r = dgram_send_path(s, argv[i], strlen(argv[i]), argv[2],
		    on_sent, argv[2]);
		waiting += r == 0;
	}
	return r < 0 ? r : dgram_loop_run(loop);
}

int
main(int argc, char **argv)
{
	struct dgram_events events = { .error = on_error };
	struct dgram_options options = { .type = DGRAM_UNIX,
	    .events = &events };
	struct dgram_socket *s;
	bool server = argc == 3 && strcmp(argv[1], "server") == 0;
	int r;

	if (!server && (argc < 5 || strcmp(argv[1], "client") != 0)) {
		fprintf(stderr, "usage: unix_echo server path\n"
		    "       unix_echo client server-path own-path text ...\n");
		return 2;
	}
	events.message = server ? on_request : on_answer;
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		(void)signal(SIGTERM, on_signal);
		(void)signal(SIGINT, on_signal);
		r = dgram_open(loop, &options, &s);
		if (r == 0)
			r = server ? serve(s, argv) : ask(s, argc, argv);
		/* The handler would find no loop. */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "unix_echo: %s\n", dgram_strerror(r));
	/* A client that was stopped has not had all its answers. */
	return r < 0 || (!server && waiting > 0);
}
