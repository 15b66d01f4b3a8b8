/* SPDX-License-Identifier: ISC */

/*
 * A quiet place to measure in, CPU time, random orders, medians.
 *
 * For one .c file each (pps.c, resolve.c); Linux only.
 */

#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <net/if.h>

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct measure_quartiles {
	double q1, median, q3;
};

/* CPU time of this thread, ns: time slices of others do not count. */
static inline uint64_t
measure_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline int
measure_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts v. */
static inline struct measure_quartiles
measure_quartiles(double *v, size_t n)
{
	struct measure_quartiles q;

	qsort(v, n, sizeof(*v), measure_compare);
	q.q1 = v[n / 4];
	q.median = n % 2 != 0 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
	q.q3 = v[n - 1 - n / 4];
	return q;
}

/* What one reading of the clock adds to a measurement. */
static inline double
measure_clock_cost(void)
{
	static double v[1001];
	size_t i;
	uint64_t t;

	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		t = measure_now();
		v[i] = (double)(measure_now() - t);
	}
	return measure_quartiles(v, sizeof(v) / sizeof(v[0])).median;
}

/* A new random order of 0 to n - 1. */
static inline void
measure_shuffle(size_t *order, size_t n)
{
	static uint64_t x;
	size_t i, j, t;

	if (x == 0)
		x = measure_now() | 1;
	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n; i > 1; i--) {
		x ^= x << 13;		/* xorshift64 */
		x ^= x >> 7;
		x ^= x << 17;
		j = (size_t)(x % i);
		t = order[i - 1];
		order[i - 1] = order[j];
		order[j] = t;
	}
}

static inline bool
measure_write(const char *path, const char *text)
{
	bool ok;
	int fd;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	(void)close(fd);
	return ok;
}

static inline bool
measure_lo_up(void)
{
	struct ifreq r;
	bool ok;
	int fd;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	memset(&r, 0, sizeof(r));
	memcpy(r.ifr_name, "lo", sizeof("lo"));
	ok = ioctl(fd, SIOCGIFFLAGS, &r) == 0;
	r.ifr_flags |= IFF_UP;
	ok = ok && ioctl(fd, SIOCSIFFLAGS, &r) == 0;
	(void)close(fd);
	return ok;
}

/*
 * Network of our own, so that loopback and the limits of AF_UNIX are private:
 * as root or in a user namespace.  Where neither is allowed, the one there is.
 */
static inline const char *
measure_network(void)
{
	const char *which = "own network";

	if (unshare(CLONE_NEWNET) < 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
			return "network of the system";
		which = "own network and users";
	}
	if (!measure_lo_up())
		return "own network, but loopback is down";
	/* unix(7): eleven datagrams may wait by default. */
	(void)measure_write("/proc/sys/net/unix/max_dgram_qlen", "2048");
	return which;
}

/*
 * How many datagrams a receive queue holds for certain.  Linux charges 768
 * bytes for a small one and 2304 for one of 1200.
 */
static inline size_t
measure_room(int fd, bool is_unix, size_t size)
{
	int bytes = 0, n;
	socklen_t len = sizeof(bytes);
	size_t room;
	FILE *f;

	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &len) < 0)
		return 1;
	room = (size_t)bytes / (size <= 128 ? 1024 : 2560);
	if (!is_unix)
		return room;
	f = fopen("/proc/sys/net/unix/max_dgram_qlen", "re");
	if (f == NULL || fscanf(f, "%d", &n) != 1 || n < 1)
		n = 10;
	if (f != NULL)
		(void)fclose(f);
	return room < (size_t)n ? room : (size_t)n;
}

/* The last core of those allowed; -1 if that fails. */
static inline int
measure_pin(void)
{
	cpu_set_t all, one;
	int i, cpu = -1;

	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		return -1;
	for (i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &all))
			cpu = i;
	if (cpu < 0)
		return -1;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0)
		return -1;
	(void)setpriority(PRIO_PROCESS, 0, -15);
	return cpu;
}

/* A title that has all of the words in it. */
static inline bool
measure_wants(const char *title, int n, char **words)
{
	int i;

	for (i = 0; i < n; i++)
		if (strstr(title, words[i]) == NULL)
			return false;
	return true;
}

#endif
