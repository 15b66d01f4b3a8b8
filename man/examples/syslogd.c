/* SPDX-License-Identifier: ISC */

/*
 * syslogd: prints what logger(1) sends, over UDP and over a path (RFC 3164).
 *
 *	syslogd port path
 *	logger -n 127.0.0.1 -P port -d hello
 *	logger -u path hello
 *
 * A line per message: who sent it, facility and severity by number, the text.
 * SIGTERM and SIGINT end it; the path is removed.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* "<13>" at the start: facility * 8 + severity, 0 to 191; its length. */
static size_t
priority(const char *p, size_t size, int *value)
{
	size_t i;
	int v = 0;

	if (size < 3 || p[0] != '<')
		return 0;
	for (i = 1; i < size && i < 4 && p[i] >= '0' && p[i] <= '9'; i++)
		v = v * 10 + (p[i] - '0');
	if (i == 1 || i == size || p[i] != '>' || v > 191)
		return 0;
	*value = v;
	return i + 1;
}

/* Bytes of others never reach a terminal as they are. */
static void
print_text(const char *p, size_t size)
{
	size_t i;

	while (size > 0 && (p[size - 1] == '\n' || p[size - 1] == '\0'))
		size--;
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
	char from[128];
	size_t i, skip;
	int pri;

	(void)s;
	for (i = 0; i < n; i++) {
		if (dgram_addr_format(m[i].remote, from, sizeof(from)) <= 0)
			(void)snprintf(from, sizeof(from), "%s",
			    (const char *)arg);
		pri = 13;	/* user.notice, RFC 3164, 4.3.3 */
		skip = priority(m[i].data, m[i].size, &pri);
		/* A path is the sender's choice, too. */
		print_text(from, strlen(from));
		printf(" %d.%d ", pri / 8, pri % 8);
		print_text((const char *)m[i].data + skip, m[i].size - skip);
		printf("%s\n", (m[i].flags & DGRAM_TRUNCATED) != 0 ? " ..." :
		    "");
	}
	(void)fflush(stdout);
}

static void
on_listening(struct dgram_socket *s, void *arg)
{
	struct dgram_addr a;
	char text[128];

	(void)arg;
	if (dgram_address(s, &a) == 0 &&
	    dgram_addr_format(&a, text, sizeof(text)) > 0)
		printf("listening on %s\n", text);
	(void)fflush(stdout);
}

static int
listen_udp(int port)
{
	static const struct dgram_events events = {
		.listening = on_listening,
		.message = on_message,
	};
	static char nobody[] = "?";
	/* 8 KiB is what receivers are to take, RFC 5424, 6.1 and RFC 5426. */
	const struct dgram_options options = { .type = DGRAM_UDP4,
	    .max_datagram = 8192, .events = &events, .arg = nobody };
	struct dgram_socket *s;
	struct dgram_addr a;
	int r;

	r = dgram_addr_parse(&a, "127.0.0.1", port);
	if (r == 0)
		r = dgram_open(loop, &options, &s);
	if (r == 0)
		r = dgram_bind_addr(s, &a);
	if (r < 0)
		fprintf(stderr, "syslogd: port %d: %s\n", port,
		    dgram_strerror(r));
	return r;
}

static int
listen_path(char *path)
{
	static const struct dgram_events events = {
		.listening = on_listening,
		.message = on_message,
	};
	/* logger(1) has no path of its own: the path stands for it. */
	const struct dgram_options options = { .type = DGRAM_UNIX,
	    .max_datagram = 8192, .events = &events, .arg = path };
	struct dgram_socket *s;
	int r;

	r = dgram_open(loop, &options, &s);
	if (r == 0)
		/* Also if one that was killed has left its socket there. */
		r = dgram_bind_path(s, path, DGRAM_UNLINK_STALE);
	if (r < 0)
		fprintf(stderr, "syslogd: %s: %s\n", path, dgram_strerror(r));
	return r;
}

int
main(int argc, char **argv)
{
	int r;

	if (argc != 3) {
		fprintf(stderr, "usage: syslogd port path\n");
		return 2;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r < 0)
		return 1;
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGINT, on_signal);
	r = listen_udp(port_of(argv[1]));
	if (r == 0)
		r = listen_path(argv[2]);
	if (r == 0)
		r = dgram_loop_run(loop);
	/* The handler would find no loop. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	/* Closes the sockets, which removes the path. */
	(void)dgram_loop_free(loop);
	return r < 0;
}
