/* SPDX-License-Identifier: ISC */

/*
 * lookup: names of our own, in front of those that the system knows.
 *
 *	lookup table port name ...
 *
 * Sends "hello" and the name to that port of each name, and tells what came of
 * it and what comes back: from an echo server, the same.  It ends when as much
 * has come back as was sent, with 0, or after two seconds.
 *
 * The table is a file with lines "name address".  A name that is not there is
 * left to dgram_resolve(), and so to getaddrinfo(3).  A resolver of another kind
 * would have its place where that is called: it keeps the id, and answers later.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dgram.h"

#define ENTRIES		64u
#define PATIENCE	((uint64_t)2 * 1000000000)

static struct entry {
	char name[256];
	struct dgram_addr addr;
} table[ENTRIES];
static size_t entries;

static int underway = 1;	/* datagrams, and main() while it sends */
static int failed;

/* ---- looking up ---- */

/* A port, or -1, which nothing accepts. */
static int
port_of(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text == '\0' || *end != '\0' || n < 0 || n > 65535 ? -1 :
	    (int)n;
}

static int
read_table(const char *path)
{
	char line[512], name[256], text[64];
	struct entry *e;
	FILE *f;

	f = fopen(path, "r");
	if (f == NULL)
		return -1;
	while (entries < ENTRIES && fgets(line, sizeof(line), f) != NULL) {
		e = &table[entries];
		if (sscanf(line, "%255s %63s", name, text) == 2 &&
		    dgram_addr_parse(&e->addr, text, 0) == 0) {
			(void)strcpy(e->name, name);
			entries++;
		}
	}
	return fclose(f);
}

/* Which look-up dgram_resolve() is at work for. */
struct pending {
	struct dgram_loop *loop;
	uint64_t id;
};

static void
on_resolved(int status, const struct dgram_addr *addrs, size_t n, void *arg)
{
	struct pending *p = arg;

	(void)n;
	/* Refused if nobody waits any more: that is all right. */
	(void)dgram_lookup_done(p->loop, p->id, status, addrs);
	free(p);
}

/* The port is the library's business; the family is the socket's. */
static void
on_lookup(struct dgram_socket *s, uint64_t id, const char *host, int family,
    void *arg)
{
	struct dgram_loop *loop = dgram_socket_loop(s);
	struct pending *p;
	size_t i;
	int r = -ENOMEM;

	(void)arg;
	for (i = 0; i < entries; i++) {
		if (strcasecmp(table[i].name, host) == 0 &&
		    table[i].addr.u.sa.sa_family == family) {
			(void)dgram_lookup_done(loop, id, 0, &table[i].addr);
			return;
		}
	}
	p = malloc(sizeof(*p));
	if (p != NULL) {
		p->loop = loop;
		p->id = id;
		r = dgram_resolve(loop, host, family, on_resolved, p, NULL);
	}
	if (r < 0) {
		free(p);
		(void)dgram_lookup_done(loop, id, r, NULL);
	}
}

/* ---- sending ---- */

static void
over(struct dgram_socket *s)
{
	if (--underway == 0)
		(void)dgram_close(s, NULL, NULL);
}

static void
on_sent(struct dgram_socket *s, int status, void *arg)
{
	const char *name = arg;
	struct dgram_error e;
	char text[640];

	if (status >= 0) {
		printf("  %d bytes to %s\n", status, name);
		return;
	}
	/* It has the name, if that is what was at fault. */
	if (dgram_last_error(s, &e) == 0 &&
	    dgram_error_format(&e, text, sizeof(text)) >= 0)
		printf("  %s\n", text);
	failed = 1;
	over(s);
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	char text[160];
	size_t i;

	(void)arg;
	for (i = 0; i < n && underway > 0; i++) {
		(void)dgram_addr_format(m[i].remote, text, sizeof(text));
		printf("  %zu bytes from %s\n", m[i].size, text);
		over(s);
	}
}

static void
on_late(struct dgram_timer *t, void *arg)
{
	(void)t;
	printf("  nothing more comes back\n");
	failed = 1;
	(void)dgram_close(arg, NULL, NULL);
}

static void
greet(struct dgram_socket *s, int port, char *name)
{
	static char hello[] = "hello ";
	struct iovec iov[2] = {
		{ .iov_base = hello, .iov_len = strlen(hello) },
		{ .iov_base = name, .iov_len = strlen(name) },
	};
	int r;

	underway++;
	/* The bytes are borrowed until on_sent(); these stay. */
	r = dgram_sendv(s, iov, 2, port, name, on_sent, name);
	if (r < 0) {
		printf("  %s: %s\n", name, dgram_strerror(r));
		failed = 1;
		over(s);
	}
}

int
main(int argc, char **argv)
{
	static const struct dgram_events events = { .message = on_message };
	const struct dgram_options options = { .type = DGRAM_UDP4,
	    .lookup = on_lookup, .events = &events };
	struct dgram_timer patience;
	struct dgram_loop *loop;
	struct dgram_socket *s;
	int i, r;

	if (argc < 4) {
		fprintf(stderr, "usage: lookup table port name ...\n");
		return 2;
	}
	if (read_table(argv[1]) < 0) {
		perror(argv[1]);
		return 1;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		r = dgram_open(loop, &options, &s);
		if (r == 0) {
			dgram_timer_init(&patience, loop, on_late, s);
			/* Nobody waits for it once the socket is closed. */
			dgram_timer_unref(&patience);
			r = dgram_timer_start(&patience, PATIENCE, 0);
		}
		for (i = 3; r == 0 && i < argc; i++)
			greet(s, port_of(argv[2]), argv[i]);
		if (r == 0) {
			over(s);
			r = dgram_loop_run(loop);
		}
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "lookup: %s\n", dgram_err_name(r));
	return r < 0 || failed;
}
