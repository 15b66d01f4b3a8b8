/* SPDX-License-Identifier: ISC */

/*
 * A program that sends a datagram to itself by address.  make check-static looks
 * into it: neither the resolver nor threads may be linked in, and it must run.
 * With BY_NAME it sends to a name, for the difference in size.
 */

#include <stddef.h>

#include "dgram.h"

static void
message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t *received = arg;

	(void)s;
	(void)m;
	*received += n;
}

static int
send_byte(struct dgram_socket *s, const struct dgram_addr *to)
{
	static char byte = 'x';
#ifdef BY_NAME
	return dgram_send(s, &byte, 1, dgram_addr_port(to), "localhost", NULL,
	    NULL);
#else
	const struct iovec iov = { .iov_base = &byte, .iov_len = 1 };

	return dgram_send_addr(s, &iov, 1, to, NULL, NULL);
#endif
}

int
main(void)
{
	const struct dgram_events events = { .message = message };
	struct dgram_options options = { .type = DGRAM_UDP4, .events = &events };
	struct dgram_loop *loop;
	struct dgram_socket *s;
	struct dgram_addr addr;
	size_t received = 0;
	int i;

	options.arg = &received;
	if (dgram_loop_new(NULL, &loop) < 0)
		return 1;
	if (dgram_open(loop, &options, &s) < 0)
		return 2;
	if (dgram_addr_parse(&addr, "127.0.0.1", 0) < 0 ||
	    dgram_bind_addr(s, &addr) < 0 || dgram_address(s, &addr) < 0)
		return 3;
	if (send_byte(s, &addr) < 0)
		return 4;
	for (i = 0; i < 100 && received == 0; i++) {
		if (dgram_loop_run_once(loop, 100) < 0)
			return 5;
	}
	if (dgram_close(s, NULL, NULL) < 0 || dgram_loop_free(loop) < 0)
		return 6;
	return received == 1 ? 0 : 7;
}
