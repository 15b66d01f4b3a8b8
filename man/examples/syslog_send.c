/* SPDX-License-Identifier: ISC */

/*
 * syslog_send: a message to the system's log, as logger(1) sends it (RFC 3164).
 *
 *	syslog_send path tag text
 *
 * The path is /dev/log on Linux and /var/run/log on BSDs; syslogd of these
 * examples has one, too.  In Node 0.4: createSocket('unix_dgram') and
 * send(buf, 0, buf.length, '/dev/log', callback), and close() in the callback.
 */

#include <stdio.h>
#include <time.h>

#include "dgram.h"

#define USER_NOTICE	13	/* facility 1 * 8 + severity 5 */

static int failed;

static void
on_sent(struct dgram_socket *s, int status, void *arg)
{
	if (status < 0) {
		fprintf(stderr, "syslog_send: %s: %s\n", (const char *)arg,
		    dgram_strerror(status));
		failed = 1;
	} else {
		printf("%d bytes sent to %s\n", status, (const char *)arg);
	}
	(void)dgram_close(s, NULL, NULL);
}

int
main(int argc, char **argv)
{
	const struct dgram_options options = { .type = DGRAM_UNIX };
	/* RFC 3164, 4.1: a packet is 1024 bytes at most. */
	static char message[1024];
	struct dgram_loop *loop;
	struct dgram_socket *s;
	char when[32];
	time_t now = time(NULL);
	int n, r;

	if (argc != 4) {
		fprintf(stderr, "usage: syslog_send path tag text\n");
		return 2;
	}
	/* No locale is set, so the month is in English. */
	(void)strftime(when, sizeof(when), "%b %e %H:%M:%S", localtime(&now));
	n = snprintf(message, sizeof(message), "<%d>%s %s: %s", USER_NOTICE,
	    when, argv[2], argv[3]);
	if (n >= (int)sizeof(message))
		n = sizeof(message) - 1;
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		r = dgram_open(loop, &options, &s);
		/* The message is borrowed until on_sent(). */
		if (r == 0)
			r = dgram_send_path(s, message, (size_t)n, argv[1],
			    on_sent, argv[1]);
		if (r == 0)
			r = dgram_loop_run(loop);
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "syslog_send: %s\n", dgram_strerror(r));
	return r < 0 || failed;
}
