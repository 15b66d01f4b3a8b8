/* SPDX-License-Identifier: ISC */

/*
 * Asks the example dnsforward at two addresses, as its upstream answers it out of
 * order, and sends it what no resolver would:  forward dnsforward.  Bare sockets.
 */

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* example. IN A, one question. */
static const unsigned char question[] = { 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0,
	7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1 };

#define SIZE	sizeof(question)

static pid_t child;

static void
fail(const char *why)
{
	printf("forward: %s\n", why);
	if (child > 0)
		(void)kill(child, SIGKILL);
	exit(1);
}

static struct sockaddr_in
at(const char *host, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port) };

	(void)inet_pton(AF_INET, host, &a.sin_addr);
	return a;
}

static int
bound(int *port)
{
	struct sockaddr_in a = at("127.0.0.1", 0);
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		fail("no socket");
	*port = ntohs(a.sin_port);
	return fd;
}

static void
give(int fd, const struct sockaddr_in *to, const void *p, size_t size)
{
	if (sendto(fd, p, size, 0, (const struct sockaddr *)to, sizeof(*to)) !=
	    (ssize_t)size)
		fail("sendto");
}

/* What comes within that time; its size, or -1. */
static ssize_t
take(int fd, void *p, size_t size, struct sockaddr_in *from, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	socklen_t len = sizeof(*from);

	if (poll(&pfd, 1, ms) != 1)
		return -1;
	return recvfrom(fd, p, size, 0, (struct sockaddr *)from, &len);
}

static int
start(const char *program, int port)
{
	char text[16];
	int out[2], own = 0;
	FILE *f;

	(void)snprintf(text, sizeof(text), "%d", port);
	if (pipe(out) < 0)
		fail("pipe");
	child = fork();
	if (child == 0) {
		(void)dup2(out[1], STDOUT_FILENO);
		(void)execl(program, program, "udp4", "0", "127.0.0.1", text,
		    (char *)NULL);
		_exit(127);
	}
	(void)close(out[1]);
	f = fdopen(out[0], "r");
	if (f == NULL || fscanf(f, "listening on port %d", &own) != 1)
		fail("it does not start");
	(void)fclose(f);
	return own;
}

/* Every part of it, and each byte spoilt, but for the id and what is allowed. */
static void
give_junk(int fd, const struct sockaddr_in *to, const unsigned char *p)
{
	unsigned char junk[SIZE];
	size_t i;

	for (i = 0; i < SIZE; i++)
		give(fd, to, p, i);
	for (i = 4; i < 6; i++) {
		memcpy(junk, p, SIZE);
		junk[i] = 0xff;
		give(fd, to, junk, SIZE);
	}
	/* A label behind the end, a pointer, and no end. */
	memcpy(junk, p, SIZE);
	junk[12] = 63;
	give(fd, to, junk, SIZE);
	junk[12] = 0xc0;
	give(fd, to, junk, SIZE);
	memset(junk + 12, 1, SIZE - 12);
	give(fd, to, junk, SIZE);
}

int
main(int argc, char **argv)
{
	static const char *const hosts[2] = { "127.0.0.1", "127.0.0.2" };
	unsigned char got[2][SIZE], p[SIZE], answer[SIZE];
	struct sockaddr_in front[2], from[2], who;
	int asker, up, port, status, i, k;

	if (argc != 2)
		return 2;
	up = bound(&port);
	asker = bound(&status);
	port = start(argv[1], port);
	for (i = 0; i < 2; i++) {
		front[i] = at(hosts[i], port);
		give_junk(asker, &front[i], question);
		memcpy(p, question, SIZE);
		p[2] |= 0x80;			/* an answer */
		give(asker, &front[i], p, SIZE);
		memcpy(p, question, SIZE);
		p[0] = p[1] = (unsigned char)(i + 1);
		give(asker, &front[i], p, SIZE);
		if (take(up, got[i], SIZE, &from[i], 5000) != (ssize_t)SIZE)
			fail("no question upstream");
		if (memcmp(got[i] + 2, question + 2, SIZE - 2) != 0)
			fail("another question upstream");
	}
	if (memcmp(got[0], got[1], 2) == 0)
		fail("the same id twice");
	for (i = 1; i >= 0; i--) {
		memcpy(answer, got[i], SIZE);
		answer[2] |= 0x80;
		give_junk(up, &from[i], answer);
		give(up, &from[i], got[i], SIZE);	/* not an answer */
		memcpy(p, answer, SIZE);
		p[14] ^= 0x20;			/* to another question */
		give(up, &from[i], p, SIZE);
		memcpy(p, answer, SIZE);
		do
			p[0]++;			/* with another id */
		while (memcmp(p, got[0], 2) == 0 || memcmp(p, got[1], 2) == 0);
		give(up, &from[i], p, SIZE);
		give(up, &from[i], answer, SIZE);
		give(up, &from[i], answer, SIZE);	/* and again */
		if (take(asker, p, SIZE, &who, 5000) != (ssize_t)SIZE)
			fail("no answer");
		if (p[0] != i + 1 || p[1] != i + 1 ||
		    memcmp(p + 2, answer + 2, SIZE - 2) != 0)
			fail("another answer");
		for (k = 0; who.sin_addr.s_addr != front[k].sin_addr.s_addr;)
			if (++k == 2)
				fail("answered from neither");
		if (k != i || who.sin_port != front[i].sin_port)
			fail("answered from where it was not asked");
		printf("  asked at %s, answered from %s\n", hosts[i], hosts[k]);
	}
	if (take(asker, p, SIZE, &who, 100) >= 0 ||
	    take(up, p, SIZE, &who, 0) >= 0)
		fail("more than was asked for");
	(void)kill(child, SIGTERM);
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 0)
		fail("it does not end well");
	printf("  OK   check-forward\n");
	return 0;
}
