/* SPDX-License-Identifier: ISC */

/*
 * echo: a UDP echo daemon (RFC 862).
 *
 *	echo udp4|udp6 port
 *
 * Port 0 lets the kernel choose; the port is printed.  SIGTERM and SIGINT end
 * it.  No stdio, so that a static one stays small.
 */

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "dgram.h"

static struct dgram_loop *loop;
static int own_port;

static void
say(int fd, const char *a, const char *b)
{
	char line[256];
	size_t n = strlen(a), k = strlen(b);

	if (n + k + 1 > sizeof(line))
		return;
	memcpy(line, a, n);
	memcpy(line + n, b, k);
	line[n + k] = '\n';
	if (write(fd, line, n + k + 1) < 0)
		return;
}

/*
 * The source of a datagram is easily forged.  Whoever sends us one "from" port
 * 19 (chargen) or 7 (echo) of another host, or from our own address, would have
 * the two of us talk to each other for ever (CERT CA-1996-01, CVE-2024-2169).
 * So nobody with a privileged port gets an answer, where such services live,
 * and nobody with our own port: that is ourselves, or an echo like us.
 */
static int
may_answer(const struct dgram_addr *remote)
{
	int port = dgram_addr_port(remote);

	return port >= 1024 && port != own_port;
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < n; i++) {
		/* The bytes are the library's and are not copied. */
		if (may_answer(m[i].remote))
			(void)dgram_reply(s, &m[i], m[i].data, m[i].size);
	}
}

static void
on_listening(struct dgram_socket *s, void *arg)
{
	char text[6] = "", *p = text + 5;
	struct dgram_addr a;
	int port;

	(void)arg;
	if (dgram_address(s, &a) < 0)
		return;
	own_port = port = dgram_addr_port(&a);
	do {
		*--p = (char)('0' + port % 10);
		port /= 10;
	} while (port > 0);
	say(STDOUT_FILENO, "listening on port ", p);
}

/* A decimal number and nothing else, or -1. */
static int
number(const char *p)
{
	int v = *p == '\0' ? -1 : 0;

	for (; *p != '\0' && v <= 65535; p++) {
		if (*p < '0' || *p > '9')
			return -1;
		v = v * 10 + (*p - '0');
	}
	return v;
}

static void
on_signal(int sig)
{
	(void)sig;
	dgram_loop_stop(loop);
}

int
main(int argc, char **argv)
{
	static const struct dgram_events events = {
		.listening = on_listening,
		.message = on_message,
	};
	struct dgram_options options = { .events = &events };
	struct dgram_socket *s;
	struct dgram_addr any;
	int r;

	r = argc == 3 ? dgram_type_parse(argv[1]) : -1;
	if ((r != DGRAM_UDP4 && r != DGRAM_UDP6) ||
	    dgram_addr_parse(&any, r == DGRAM_UDP4 ? "0.0.0.0" : "::",
	    number(argv[2])) < 0) {
		say(STDERR_FILENO, "usage: echo udp4|udp6 port", "");
		return 2;
	}
	options.type = (enum dgram_type)r;
	r = dgram_loop_new(NULL, &loop);
	if (r < 0)
		goto fail;
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGINT, on_signal);
	r = dgram_open(loop, &options, &s);
	if (r == 0)
		r = dgram_bind_addr(s, &any);
	if (r == 0)
		r = dgram_loop_run(loop);
	/* The handler would find no loop. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)dgram_loop_free(loop);
	if (r >= 0)
		return 0;
fail:
	say(STDERR_FILENO, "echo: ", dgram_err_name(r));
	return 1;
}
