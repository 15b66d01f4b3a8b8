/* SPDX-License-Identifier: ISC */

/*
 * resolve: the addresses of names, as getent(1) ahosts tells them.
 *
 *	resolve [-4 | -6] name ...
 *
 * All names are asked for at once, and each is printed when its answer is there:
 * one that takes long holds up no other.  Ends with 1 if one of them has none.
 */

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "dgram.h"

static int missing;

/* The addresses are the library's and gone after this. */
static void
on_answer(int status, const struct dgram_addr *addrs, size_t n, void *arg)
{
	const char *name = arg;
	char text[64];
	size_t i;

	if (status < 0) {
		fprintf(stderr, "resolve: %s: %s\n", name,
		    dgram_strerror(status));
		missing = 1;
		return;
	}
	for (i = 0; i < n; i++) {
		if (dgram_addr_host(&addrs[i], text, sizeof(text)) >= 0)
			printf("%-23s %s\n", text, name);
	}
	(void)fflush(stdout);
}

int
main(int argc, char **argv)
{
	int family = AF_UNSPEC, first = 1, i, r;
	struct dgram_loop *loop;

	if (argc > 1 && strcmp(argv[1], "-4") == 0)
		family = AF_INET;
	else if (argc > 1 && strcmp(argv[1], "-6") == 0)
		family = AF_INET6;
	if (family != AF_UNSPEC)
		first = 2;
	if (first >= argc) {
		fprintf(stderr, "usage: resolve [-4 | -6] name ...\n");
		return 2;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r < 0) {
		fprintf(stderr, "resolve: %s\n", dgram_strerror(r));
		return 1;
	}
	for (i = first; i < argc; i++) {
		/* What is wrong with a name at once has no callback. */
		r = dgram_resolve(loop, argv[i], family, on_answer, argv[i],
		    NULL);
		if (r < 0)
			on_answer(r, NULL, 0, argv[i]);
	}
	/* Returns when nothing is looked up any more. */
	r = dgram_loop_run(loop);
	if (r < 0)
		fprintf(stderr, "resolve: %s\n", dgram_strerror(r));
	(void)dgram_loop_free(loop);
	return r < 0 || missing;
}
