/* SPDX-License-Identifier: ISC */

/*
 * Control messages: the bytes that the kernel of each system writes and takes,
 * on any of them, and bytes that no kernel would write.
 *
 * Fixtures are words in the order of the machine, as kernels write them; single
 * bytes and addresses, which have an order of their own, are B().
 */

#include "test.h"

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <netinet/in.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/cmsg.h"

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
/* Each assertion is reported, also one that holds: this one if it fails. */
#define MUST(cond, ...) do {						\
	if (!(cond))							\
		cr_assert(false, __VA_ARGS__);				\
} while (0)

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define BIG	1
#define B(a, b, c, d)	((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define W64(v)	0, (v)
#else
#define BIG	0
#define B(a, b, c, d)	((uint32_t)(d) << 24 | (c) << 16 | (b) << 8 | (a))
#define W64(v)	(v), 0
#endif

/* ---- the systems ---- */

#define NONE	DGI_CMSG_NONE

static const struct dgi_cmsg_abi linux64 = {
	.len_size = 8, .align = 8, .socket = 1, .ip = 0, .ip6 = 41,
	.pktinfo = 8, .pktinfo_size = 12, .dstaddr = NONE, .recvif = NONE,
	.ttl = 2, .ttl_size = 4, .tos = 1,
	.pktinfo6 = 50, .hoplimit = 52, .tclass = 67,
	.timestamp = 29, .timestampns = 35,
	.timeval = { 8, 8, 8 }, .timespec = { 8, 8, 8 },
	.rights = 1, .pidfd = 4, .creds = 2, .cred = { 0, 4, 8, 12 },
	.send_srcaddr = NONE, .send_ttl = 2, .send_tos = 1,
	.tos_size = 4, .mapped_by_ip6 = true,
};

static const struct dgi_cmsg_abi linux32 = {
	.len_size = 4, .align = 4, .socket = 1, .ip = 0, .ip6 = 41,
	.pktinfo = 8, .pktinfo_size = 12, .dstaddr = NONE, .recvif = NONE,
	.ttl = 2, .ttl_size = 4, .tos = 1,
	.pktinfo6 = 50, .hoplimit = 52, .tclass = 67,
	.timestamp = 29, .timestampns = 35,
	.timeval = { 4, 4, 4 }, .timespec = { 4, 4, 4 },
	.rights = 1, .pidfd = 4, .creds = 2, .cred = { 0, 4, 8, 12 },
	.send_srcaddr = NONE, .send_ttl = 2, .send_tos = 1,
	.tos_size = 4, .mapped_by_ip6 = true,
};

/* The same with a time_t of 64 bits; tv_nsec is a long with padding. */
static const struct dgi_cmsg_abi linux32_time64 = {
	.len_size = 4, .align = 4, .socket = 1, .ip = 0, .ip6 = 41,
	.pktinfo = 8, .pktinfo_size = 12, .dstaddr = NONE, .recvif = NONE,
	.ttl = 2, .ttl_size = 4, .tos = 1,
	.pktinfo6 = 50, .hoplimit = 52, .tclass = 67,
	.timestamp = 63, .timestampns = 64,
	.timeval = { 8, 8, 8 }, .timespec = { 8, BIG ? 12 : 8, 4 },
	.rights = 1, .pidfd = 4, .creds = 2, .cred = { 0, 4, 8, 12 },
	.send_srcaddr = NONE, .send_ttl = 2, .send_tos = 1,
	.tos_size = 4, .mapped_by_ip6 = true,
};

static const struct dgi_cmsg_abi freebsd = {
	.len_size = 4, .align = 8, .socket = 0xffff, .ip = 0, .ip6 = 41,
	.pktinfo = NONE, .dstaddr = 7, .recvif = 20,
	.ttl = 65, .ttl_size = 1, .tos = 68,
	.pktinfo6 = 46, .hoplimit = 47, .tclass = 61,
	.timestamp = 2, .timestampns = NONE, .timeval = { 8, 8, 8 },
	.rights = 1, .pidfd = NONE, .creds = 8, .cred = { 4, 8, 16, 92 },
	.send_srcaddr = 7, .send_ttl = NONE, .send_tos = 3,
	.tos_size = 1,
};

/* Without the pid, and not beside what the sender says of itself. */
static const struct dgi_cmsg_abi freebsd12 = {
	.len_size = 4, .align = 8, .socket = 0xffff, .ip = 0, .ip6 = 41,
	.pktinfo = NONE, .dstaddr = 7, .recvif = 20,
	.ttl = 65, .ttl_size = 1, .tos = 68,
	.pktinfo6 = 46, .hoplimit = 47, .tclass = 61,
	.timestamp = 2, .timestampns = NONE, .timeval = { 8, 8, 8 },
	.rights = 1, .pidfd = NONE, .creds = 3,
	.cred = { DGI_CMSG_NO_PID, 0, 8, 84 },
	.send_srcaddr = 7, .send_ttl = NONE, .send_tos = 3,
	.tos_size = 1,
};

static const struct dgi_cmsg_abi openbsd = {
	.len_size = 4, .align = 8, .socket = 0xffff, .ip = 0, .ip6 = 41,
	.pktinfo = NONE, .dstaddr = 7, .recvif = 30,
	.ttl = 31, .ttl_size = 1, .tos = NONE,
	.pktinfo6 = 46, .hoplimit = 47, .tclass = 61,
	.timestamp = 4, .timestampns = NONE, .timeval = { 8, 8, 8 },
	.rights = 1, .pidfd = NONE, .creds = NONE,
	.send_srcaddr = 7, .send_ttl = NONE, .send_tos = NONE,
	.tos_size = 1,
};

static const struct dgi_cmsg_abi netbsd10 = {
	.len_size = 4, .align = 8, .socket = 0xffff, .ip = 0, .ip6 = 41,
	.pktinfo = 25, .pktinfo_size = 8, .dstaddr = 7, .recvif = 20,
	.ttl = 23, .ttl_size = 1, .tos = NONE,
	.pktinfo6 = 46, .hoplimit = 47, .tclass = 61,
	.timestamp = 8, .timestampns = NONE, .timeval = { 8, 8, 4 },
	.rights = 1, .pidfd = NONE, .creds = 0x10, .cred = { 0, 4, 12, 88 },
	.send_srcaddr = 7, .send_ttl = NONE, .send_tos = NONE,
	.tos_size = 1,
};

/* 7.99 of 2016 had the two numbers the other way round. */
static const struct dgi_cmsg_abi netbsd7 = {
	.len_size = 4, .align = 8, .socket = 0xffff, .ip = 0, .ip6 = 41,
	.pktinfo = 26, .pktinfo_size = 8, .dstaddr = 7, .recvif = 20,
	.ttl = 23, .ttl_size = 1, .tos = NONE,
	.pktinfo6 = 46, .hoplimit = 47, .tclass = 61,
	.timestamp = 8, .timestampns = NONE, .timeval = { 8, 8, 4 },
	.rights = 1, .pidfd = NONE, .creds = 4,
	.cred = { DGI_CMSG_NO_PID, 0, 8, 84 },
	.send_srcaddr = 7, .send_ttl = NONE, .send_tos = NONE,
	.tos_size = 1,
};

static const struct dgi_cmsg_abi macos = {
	.len_size = 4, .align = 4, .socket = 0xffff, .ip = 0, .ip6 = 41,
	.pktinfo = 26, .pktinfo_size = 12, .dstaddr = 7, .recvif = 20,
	.ttl = 24, .ttl_size = 1, .tos = 27,
	.pktinfo6 = 46, .hoplimit = 47, .tclass = 36,
	.timestamp = 2, .timestampns = NONE, .timeval = { 8, 8, 4 },
	.rights = 1, .pidfd = NONE, .creds = NONE,
	.send_srcaddr = NONE, .send_ttl = NONE, .send_tos = NONE,
	.tos_size = 1,
};

static const struct dgi_cmsg_abi *const abis[] = { &linux64, &linux32,
	&linux32_time64, &freebsd, &freebsd12, &openbsd, &netbsd10, &netbsd7, &macos,
	&dgi_cmsg_native };

/* ---- what arrives ---- */

/* 192.0.2.7 here, 2001:db8::7 there, interface 3, TTL 61, TOS 0xb8. */
#define ADDR4	B(192, 0, 2, 7)
#define ADDR6	B(0x20, 1, 0xd, 0xb8), 0, 0, B(0, 0, 0, 7)
#define MAPPED	0, 0, B(0, 0, 0xff, 0xff), ADDR4
#define LINK6	B(0xfe, 0x80, 0, 0), 0, 0, B(0, 0, 0, 7)
#define GROUP6	B(0xff, 0x02, 0, 0), 0, 0, B(0, 0, 0, 0xfb)
#define SECONDS	1700000000
#define AT_US	(SECONDS * INT64_C(1000000000) + 123456000)
#define AT_NS	(SECONDS * INT64_C(1000000000) + 123456789)

/* Linux, 64 bits: a length of two words, level, type. */
#define L_PKT4	W64(28), 0, 8, 3, ADDR4, ADDR4, 0
#define L_TTL4	W64(20), 0, 2, 61, 0
#define L_TOS4	W64(17), 0, 1, B(0xb8, 0, 0, 0), 0
#define L_NS	W64(32), 1, 35, W64(SECONDS), W64(123456789)
#define L_US	W64(32), 1, 29, W64(SECONDS), W64(123456)

static const uint32_t linux64_v4[] = { L_NS, L_PKT4, L_TTL4, L_TOS4 };
static const uint32_t linux64_us[] = { L_US };
static const uint32_t linux64_v6[] = { L_NS,
	W64(36), 41, 50, ADDR6, 3, 0,
	W64(20), 41, 52, 61, 0, W64(20), 41, 67, 0xb8, 0 };
static const uint32_t linux64_mapped[] = { L_NS,
	W64(36), 41, 50, MAPPED, 3, 0, L_PKT4, L_TTL4, L_TOS4 };
/* The answer would come from .7. */
static const uint32_t linux64_broadcast[] = {
	W64(28), 0, 8, 3, ADDR4, B(192, 0, 2, 255), 0 };
static const uint32_t linux64_limited[] = {
	W64(28), 0, 8, 3, 0, B(255, 255, 255, 255), 0 };
static const uint32_t linux64_group4[] = {
	W64(28), 0, 8, 3, 0, B(224, 0, 0, 251), 0 };
/* Without a route there is no address to answer from: not a group. */
static const uint32_t linux64_noroute[] = {
	W64(28), 0, 8, 0, 0, ADDR4, 0 };
static const uint32_t linux64_mapped_broadcast[] = {
	W64(36), 41, 50, 0, 0, B(0, 0, 0xff, 0xff), B(192, 0, 2, 255), 3, 0,
	W64(28), 0, 8, 3, ADDR4, B(192, 0, 2, 255), 0 };
static const uint32_t linux64_link[] = { W64(36), 41, 50, LINK6, 3, 0 };
static const uint32_t linux64_group6[] = { W64(36), 41, 50, GROUP6, 3, 0 };

static const uint32_t linux32_v4[] = {
	20, 1, 35, SECONDS, 123456789,
	24, 0, 8, 3, ADDR4, ADDR4,
	16, 0, 2, 61, 13, 0, 1, B(0xb8, 0, 0, 0) };
static const uint32_t linux32_us[] = { 20, 1, 29, SECONDS, 123456 };
static const uint32_t linux32_v6[] = {
	20, 1, 35, SECONDS, 123456789,
	32, 41, 50, ADDR6, 3, 16, 41, 52, 61, 16, 41, 67, 0xb8 };
static const uint32_t linux32_v4_time64[] = {
	28, 1, 64, W64(SECONDS), W64(123456789),
	24, 0, 8, 3, ADDR4, ADDR4,
	16, 0, 2, 61, 13, 0, 1, B(0xb8, 0, 0, 0) };
static const uint32_t linux32_us_time64[] = {
	28, 1, 63, W64(SECONDS), W64(123456) };

/* BSD, 64 bits: a length of one word, level, type, padding. */
#define F_TIME	32, 0xffff, 2, 0, W64(SECONDS), W64(123456)
#if BIG
#define INDEX3	B(54, 18, 0, 3)
#else
#define INDEX3	B(54, 18, 3, 0)
#endif
/* struct sockaddr_dl of em0. */
#define DL	INDEX3, B(6, 3, 6, 0), B('e', 'm', '0', 2), B(1, 2, 3, 4), \
		B(5, 0, 0, 0), 0, 0, 0, 0, 0, 0, 0, 0, 0

static const uint32_t freebsd_v4[] = { F_TIME,
	20, 0, 7, 0, ADDR4, 0,
	17, 0, 65, 0, B(61, 0, 0, 0), 0,
	70, 0, 20, 0, DL,
	17, 0, 68, 0, B(0xb8, 0, 0, 0), 0 };
static const uint32_t freebsd_v6[] = { F_TIME,
	36, 41, 46, 0, ADDR6, 3, 0,
	20, 41, 47, 0, 61, 0, 20, 41, 61, 0, 0xb8, 0 };
static const uint32_t freebsd_mapped[] = { F_TIME,
	36, 41, 46, 0, MAPPED, 3, 0,
	20, 41, 47, 0, 61, 0, 20, 41, 61, 0, 0xb8, 0 };

static const uint32_t openbsd_v4[] = {
	20, 0, 7, 0, ADDR4, 0,
	48, 0, 30, 0, INDEX3, B(6, 3, 6, 0), B('e', 'm', '0', 2), 0, 0, 0, 0, 0,
	17, 0, 31, 0, B(61, 0, 0, 0), 0,
	32, 0xffff, 4, 0, W64(SECONDS), W64(123456) };
static const uint32_t openbsd_v6[] = {
	36, 41, 46, 0, ADDR6, 3, 0,
	20, 41, 47, 0, 61, 0, 20, 41, 61, 0, 0xb8, 0,
	32, 0xffff, 4, 0, W64(SECONDS), W64(123456) };

/* tv_usec is an int, and nobody clears what follows it. */
#define N_TIME	32, 0xffff, 8, 0, W64(SECONDS), 123456, 0xdeadbeef
#define N_V4	17, 0, 23, 0, B(61, 0, 0, 0), 0

static const uint32_t netbsd10_v4[] = { N_TIME,
	24, 0, 25, 0, ADDR4, 3, N_V4 };
static const uint32_t netbsd7_v4[] = { N_TIME,
	24, 0, 26, 0, ADDR4, 3, N_V4 };
static const uint32_t netbsd10_both[] = { N_TIME,
	20, 0, 7, 0, ADDR4, 0, 24, 0, 25, 0, ADDR4, 3,
	36, 0, 20, 0, INDEX3, B(6, 3, 6, 0), B('w', 'm', '0', 2), 0, 0, 0,
	N_V4 };
static const uint32_t netbsd10_v6[] = { N_TIME,
	36, 41, 46, 0, ADDR6, 3, 0,
	20, 41, 47, 0, 61, 0, 20, 41, 61, 0, 0xb8, 0 };

/* macOS: no padding anywhere, and ipi_spec_dst is 0. */
#define M_TIME	28, 0xffff, 2, W64(SECONDS), 123456, 0xdeadbeef

static const uint32_t macos_v4[] = { M_TIME,
	13, 0, 24, B(61, 0, 0, 0), 24, 0, 26, 3, 0, ADDR4,
	13, 0, 27, B(0xb8, 0, 0, 0) };
static const uint32_t macos_v6[] = { M_TIME,
	32, 41, 46, ADDR6, 3, 16, 41, 47, 61, 16, 41, 36, 0xb8 };

/* Who sent it: pid 1234, real uid 1000, gid 1001; effective ones are others. */
#define CREDS	1000, 2000, 1001, 2001, 2, 1001, 2001

static const uint32_t linux64_creds[] = { W64(28), 1, 2, 1234, 1000, 1001, 0 };
static const uint32_t linux32_creds[] = { 24, 1, 2, 1234, 1000, 1001 };
static const uint32_t freebsd_creds[] = { F_TIME,
	52, 0xffff, 8, 0, 0, 1234, CREDS, 0 };
/* The sender says who it is, in another layout, where nobody asks it. */
static const uint32_t freebsd_cmsgcred[] = {
	100, 0xffff, 3, 0, 1234, 1000, 1000, 1001, 1, 1001, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0,
	52, 0xffff, 8, 0, 0, 1234, CREDS, 0 };
static const uint32_t freebsd12_creds[] = { 44, 0xffff, 3, 0, CREDS, 0 };
static const uint32_t netbsd10_creds[] = { 48, 0xffff, 0x10, 0, 1234, CREDS };
static const uint32_t netbsd7_creds[] = { 44, 0xffff, 4, 0, CREDS, 0 };

struct arrival {
	const char *name;
	const struct dgi_cmsg_abi *abi;
	const uint32_t *words;
	size_t size;			/* bytes */
	const char *local;		/* NULL: not told */
	unsigned flags;
	int64_t time_ns;		/* 0: not told */
	uint8_t ttl, tos;		/* 0: not told */
	unsigned ifindex;
	uint32_t scope;
	pid_t pid;
	uid_t uid;			/* that and the gid */
};

#define LOCAL	DGRAM_LOCAL
#define LT	(DGRAM_LOCAL | DGRAM_TTL | DGRAM_TIME)
#define ALL	(LT | DGRAM_TOS)
#define GRP	(DGRAM_LOCAL | DGRAM_GROUP)
#define A(name, abi)	#name, &abi, name, sizeof(name)

static const struct arrival arrivals[] = {
	{ A(linux64_v4, linux64), "192.0.2.7", ALL, AT_NS, 61, 0xb8, 3, 0, 0, 0 },
	{ A(linux64_us, linux64), NULL, DGRAM_TIME, AT_US, 0, 0, 0, 0, 0, 0 },
	{ A(linux64_v6, linux64), "2001:db8::7", ALL, AT_NS, 61, 0xb8, 3, 0, 0, 0 },
	{ A(linux64_mapped, linux64), "::ffff:192.0.2.7", ALL, AT_NS, 61, 0xb8,
	    3, 0, 0, 0 },
	{ A(linux64_broadcast, linux64), "192.0.2.255", GRP, 0, 0, 0, 3, 0, 0, 0 },
	{ A(linux64_limited, linux64), "255.255.255.255", GRP, 0, 0, 0, 3, 0, 0, 0 },
	{ A(linux64_group4, linux64), "224.0.0.251", GRP, 0, 0, 0, 3, 0, 0, 0 },
	{ A(linux64_noroute, linux64), "192.0.2.7", LOCAL, 0, 0, 0, 0, 0, 0, 0 },
	{ A(linux64_mapped_broadcast, linux64), "::ffff:192.0.2.255", GRP, 0, 0,
	    0, 3, 0, 0, 0 },
	{ A(linux64_link, linux64), "fe80::7", LOCAL, 0, 0, 0, 3, 3, 0, 0 },
	{ A(linux64_group6, linux64), "ff02::fb", GRP, 0, 0, 0, 3, 3, 0, 0 },
	{ A(linux32_v4, linux32), "192.0.2.7", ALL, AT_NS, 61, 0xb8, 3, 0, 0, 0 },
	{ A(linux32_us, linux32), NULL, DGRAM_TIME, AT_US, 0, 0, 0, 0, 0, 0 },
	{ A(linux32_v6, linux32), "2001:db8::7", ALL, AT_NS, 61, 0xb8, 3, 0, 0, 0 },
	{ A(linux32_v4_time64, linux32_time64), "192.0.2.7", ALL, AT_NS, 61,
	    0xb8, 3, 0, 0, 0 },
	{ A(linux32_us_time64, linux32_time64), NULL, DGRAM_TIME, AT_US, 0, 0,
	    0, 0, 0, 0 },
	{ A(freebsd_v4, freebsd), "192.0.2.7", ALL, AT_US, 61, 0xb8, 3, 0, 0, 0 },
	{ A(freebsd_v6, freebsd), "2001:db8::7", ALL, AT_US, 61, 0xb8, 3, 0, 0, 0 },
	{ A(freebsd_mapped, freebsd), "::ffff:192.0.2.7", ALL, AT_US, 61, 0xb8,
	    3, 0, 0, 0 },
	{ A(openbsd_v4, openbsd), "192.0.2.7", LT, AT_US, 61, 0, 3, 0, 0, 0 },
	{ A(openbsd_v6, openbsd), "2001:db8::7", ALL, AT_US, 61, 0xb8, 3, 0, 0, 0 },
	{ A(netbsd10_v4, netbsd10), "192.0.2.7", LT, AT_US, 61, 0, 3, 0, 0, 0 },
	{ A(netbsd7_v4, netbsd7), "192.0.2.7", LT, AT_US, 61, 0, 3, 0, 0, 0 },
	{ A(netbsd10_both, netbsd10), "192.0.2.7", LT, AT_US, 61, 0, 3, 0, 0, 0 },
	{ A(netbsd10_v6, netbsd10), "2001:db8::7", ALL, AT_US, 61, 0xb8, 3, 0, 0, 0 },
	{ A(macos_v4, macos), "192.0.2.7", ALL, AT_US, 61, 0xb8, 3, 0, 0, 0 },
	{ A(macos_v6, macos), "2001:db8::7", ALL, AT_US, 61, 0xb8, 3, 0, 0, 0 },
	{ A(linux64_creds, linux64), NULL, DGRAM_CREDS, 0, 0, 0, 0, 0, 1234, 1000 },
	{ A(linux32_creds, linux32), NULL, DGRAM_CREDS, 0, 0, 0, 0, 0, 1234, 1000 },
	{ A(freebsd_creds, freebsd), NULL, DGRAM_CREDS | DGRAM_TIME, AT_US, 0, 0, 0, 0, 1234, 1000 },
	{ A(freebsd_cmsgcred, freebsd), NULL, DGRAM_CREDS, 0, 0, 0, 0, 0, 1234, 1000 },
	{ A(freebsd12_creds, freebsd12), NULL, DGRAM_CREDS, 0, 0, 0, 0, 0, 0, 1000 },
	{ A(netbsd10_creds, netbsd10), NULL, DGRAM_CREDS, 0, 0, 0, 0, 0, 1234, 1000 },
	{ A(netbsd7_creds, netbsd7), NULL, DGRAM_CREDS, 0, 0, 0, 0, 0, 0, 1000 },
};

struct told {
	struct dgram_message m;
	struct dgram_addr local;
	struct dgi_cmsg_rest rest;
};

/* Parses a copy that ends where its memory does, over what was there before. */
static void
parse(const struct dgi_cmsg_abi *abi, const void *bytes, size_t size,
    int family, struct told *t)
{
	unsigned char *block = malloc(size + 1);

	cr_assert(block != NULL);
	memcpy(block + 1, bytes, size);
	memset(t, 0x5a, sizeof(*t));
	t->m.flags = 0;
	dgi_cmsg_parse(abi, block + 1, size, family, &t->m, &t->local,
	    &t->rest);
	free(block);
}

static int
family_of(const struct arrival *a)
{
	return a->local != NULL && strchr(a->local, ':') != NULL ? AF_INET6 :
	    AF_INET;
}

static bool
is_local(const struct told *t, const struct arrival *a)
{
	struct dgram_addr want;

	cr_assert_eq(dgram_addr_parse(&want, a->local, 0), 0);
	if (family_of(a) == AF_INET6)
		want.u.in6.sin6_scope_id = a->scope;
	return dgram_addr_equal(&t->local, &want);
}

TEST(cmsg, arrives)
{
	struct told t;
	size_t i;

	for (i = 0; i < COUNT(arrivals); i++) {
		const struct arrival *a = &arrivals[i];

		parse(a->abi, a->words, a->size, family_of(a), &t);
		cr_assert_eq(t.m.flags, a->flags, "%s: flags %#x, not %#x",
		    a->name, t.m.flags, a->flags);
		cr_assert(a->local == NULL || is_local(&t, a), "%s: local",
		    a->name);
		cr_assert_eq(t.m.time_ns, a->time_ns, "%s: time", a->name);
		cr_assert_eq(t.m.ttl, a->ttl, "%s: ttl %u", a->name, t.m.ttl);
		cr_assert_eq(t.m.tos, a->tos, "%s: tos %u", a->name, t.m.tos);
		cr_assert_eq(t.m.ifindex, a->ifindex, "%s: ifindex %u",
		    a->name, t.m.ifindex);
		cr_assert_eq(t.rest.nfds, 0);
		cr_assert_eq(t.m.pid, a->pid, "%s: pid %ld", a->name,
		    (long)t.m.pid);
		cr_assert_eq(t.m.uid, a->uid, "%s: uid %ld", a->name,
		    (long)t.m.uid);
		cr_assert_eq(t.m.gid, a->uid == 0 ? 0 : a->uid + 1,
		    "%s: gid %ld", a->name, (long)t.m.gid);
	}
}

/* A part of a message: what it tells is right, or it tells nothing. */
static void
check_part(const struct arrival *a, const void *bytes, size_t size)
{
	struct told t;

	parse(a->abi, bytes, size, family_of(a), &t);
	if ((t.m.flags & ~a->flags) == 0 &&
	    ((t.m.flags & DGRAM_LOCAL) == 0 || is_local(&t, a)) &&
	    (t.m.time_ns == 0 || t.m.time_ns == a->time_ns) &&
	    (t.m.ttl == 0 || t.m.ttl == a->ttl) &&
	    (t.m.tos == 0 || t.m.tos == a->tos) &&
	    (t.m.ifindex == 0 || t.m.ifindex == a->ifindex) &&
	    (t.m.pid == 0 || t.m.pid == a->pid) &&
	    ((t.m.flags & DGRAM_CREDS) == 0 || (t.m.uid == a->uid &&
	    t.m.gid == a->uid + 1)))
		return;
	cr_assert(false, "%s: %zu of %zu bytes: flags %#x, ttl %u, tos %u, "
	    "ifindex %u, time %lld", a->name, size, a->size, t.m.flags,
	    t.m.ttl, t.m.tos, t.m.ifindex, (long long)t.m.time_ns);
}

TEST(cmsg, cut_anywhere)
{
	size_t i, size;

	for (i = 0; i < COUNT(arrivals); i++) {
		for (size = 0; size < arrivals[i].size; size++)
			check_part(&arrivals[i], arrivals[i].words, size);
	}
	cr_assert(true);
}

static size_t
head_of(const struct dgi_cmsg_abi *abi)
{
	return CMSG_LEN(0) * (abi->align == 0) + (abi->align == 0 ? 0 :
	    ((size_t)abi->len_size + 8 + abi->align - 1) / abi->align *
	    abi->align);
}

static size_t
round_up(const struct dgi_cmsg_abi *abi, size_t n)
{
	const size_t unit = abi->align != 0 ? abi->align :
	    CMSG_SPACE(1) - CMSG_LEN(0);

	return (n + unit - 1) / unit * unit;
}

static void
set_len(const struct dgi_cmsg_abi *abi, unsigned char *p, uint64_t len)
{
	uint32_t len32 = (uint32_t)len;

	if (abi->len_size == 4)
		memcpy(p, &len32, sizeof(len32));
	else
		memcpy(p, &len, sizeof(len));
}

static size_t
get_len(const struct dgi_cmsg_abi *abi, const unsigned char *p)
{
	uint32_t len32;
	uint64_t len;

	memcpy(&len32, p, sizeof(len32));
	memcpy(&len, p, abi->len_size == 4 ? 4 : 8);
	return abi->len_size == 4 ? len32 : (size_t)len;
}

/* Linux says of a message that it cut how much of it is there, put_cmsg(). */
TEST(cmsg, cut_and_said)
{
	unsigned char copy[512];
	size_t i, size, at, next;

	for (i = 0; i < COUNT(arrivals); i++) {
		const struct arrival *a = &arrivals[i];

		for (size = head_of(a->abi); size < a->size; size++) {
			memcpy(copy, a->words, a->size);
			for (at = 0; at + head_of(a->abi) <= size; at = next) {
				next = at + round_up(a->abi,
				    get_len(a->abi, copy + at));
				if (next > size &&
				    get_len(a->abi, copy + at) > size - at)
					set_len(a->abi, copy + at, size - at);
			}
			check_part(a, copy, size);
		}
	}
	cr_assert(true);
}

/* ---- what no kernel writes ---- */

struct control {
	unsigned char bytes[1024];
	size_t size, last;		/* where the last one begins */
};

static void
add(struct control *c, const struct dgi_cmsg_abi *abi, int level, int type,
    const void *data, size_t size)
{
	unsigned char *p = c->bytes + c->size;

	c->last = c->size;
	c->size += round_up(abi, head_of(abi) + size);
	cr_assert(c->size <= sizeof(c->bytes));
	memset(p, 0, c->size - c->last);
	set_len(abi, p, head_of(abi) + size);
	memcpy(p + abi->len_size, &level, sizeof(level));
	memcpy(p + abi->len_size + 4, &type, sizeof(type));
	if (size > 0)
		memcpy(p + head_of(abi), data, size);
}

static void
add_hoplimit(struct control *c, const struct dgi_cmsg_abi *abi, int ttl)
{
	add(c, abi, abi->ip6, abi->hoplimit, &ttl, sizeof(ttl));
}

#define EACH_ABI(abi)							\
	for (size_t k_ = 0; k_ < COUNT(abis); k_++)			\
		for (const struct dgi_cmsg_abi *abi = abis[k_];		\
		    abi != NULL; abi = NULL)

TEST(cmsg, absurd_length)
{
	EACH_ABI(abi) {
		const size_t head = head_of(abi);
		const uint64_t lens[] = { 0, 1, head - 1, head + 9,
		    UINT32_MAX, UINT32_MAX - 3, UINT32_MAX - 7, UINT64_MAX,
		    UINT64_MAX - 7, UINT64_C(1) << 31, UINT64_C(1) << 32,
		    (UINT64_C(1) << 32) + head + 4, UINT64_C(1) << 63 };
		struct control c;
		struct told t;
		size_t i;

		for (i = 0; i < COUNT(lens); i++) {
			c.size = 0;
			add_hoplimit(&c, abi, 61);
			add_hoplimit(&c, abi, 62);
			set_len(abi, c.bytes + c.last, lens[i]);
			if (abi->len_size == 4 && lens[i] > UINT32_MAX &&
			    (uint32_t)lens[i] == head + 4)
				continue;
			parse(abi, c.bytes, c.size, AF_INET6, &t);
			cr_assert_eq(t.m.flags, DGRAM_TTL, "%zu: %#x", i,
			    t.m.flags);
			cr_assert_eq(t.m.ttl, 61, "%zu: %u", i, t.m.ttl);
			/* The same in front. */
			set_len(abi, c.bytes, lens[i]);
			parse(abi, c.bytes, c.size, AF_INET6, &t);
			cr_assert_eq(t.m.flags & ~DGRAM_TTL, 0);
			cr_assert(lens[i] == head + 9 || t.m.flags == 0);
		}
	}
}

TEST(cmsg, unknown)
{
	static const int numbers[] = { -1, 0, 1, 2, 3, 7, 20, 99, 255, 256,
	    0x7fffffff, -2147483647 - 1 };
	const unsigned char junk[64] = { 0xff, 0xfe, 0xfd, 0xfc, 0xfb };

	EACH_ABI(abi) {
		const int levels[] = { abi->socket, abi->ip, abi->ip6, 6, 17,
		    -1, 0x7fffffff };
		struct control c;
		struct told t;
		size_t i, j;

		/* They do not stand in the way of the one behind. */
		for (i = 0; i < COUNT(levels); i++) {
			for (j = 0; j < COUNT(numbers); j++) {
				c.size = 0;
				add(&c, abi, levels[i], numbers[j], junk, 0);
				add_hoplimit(&c, abi, 61);
				parse(abi, c.bytes, c.size, AF_INET6, &t);
				cr_assert_eq(t.m.flags, DGRAM_TTL);
				cr_assert_eq(t.m.ttl, 61);
			}
		}
		/* What a system lacks is not found under any number. */
		for (i = 0; i < 3; i++) {
			c.size = 0;
			add(&c, abi, levels[i], DGI_CMSG_NONE, junk, 64);
			add(&c, abi, levels[i], 99, junk, 64);
			add(&c, abi, levels[i] + 1000, abi->hoplimit, junk, 64);
			parse(abi, c.bytes, c.size, AF_INET, &t);
			cr_assert_eq(t.m.flags, 0, "%#x", t.m.flags);
			cr_assert_eq(t.m.ifindex, 0);
			cr_assert_eq(t.rest.nfds, 0);
		}
	}
}

TEST(cmsg, short_payload)
{
	unsigned char some[40];

	memset(some, 0x11, sizeof(some));
	EACH_ABI(abi) {
		const struct {
			int level, type;
			size_t least;
		} v[] = {
			{ abi->ip, abi->pktinfo, abi->pktinfo_size },
			{ abi->ip, abi->dstaddr, 4 },
			{ abi->ip, abi->ttl, abi->ttl_size },
			{ abi->ip, abi->tos, 1 },
			{ abi->ip6, abi->pktinfo6, 20 },
			{ abi->ip6, abi->hoplimit, 4 },
			{ abi->ip6, abi->tclass, 4 },
			{ abi->socket, abi->timestamp,
			    (size_t)abi->timeval.at + abi->timeval.frac },
			{ abi->socket, abi->timestampns,
			    (size_t)abi->timespec.at + abi->timespec.frac },
			{ abi->socket, abi->rights, 4 },
			{ abi->socket, abi->pidfd, 4 },
			{ abi->socket, abi->creds, abi->cred.gid + 4u },
		};
		struct control c;
		struct told t;
		size_t i, n;

		for (i = 0; i < COUNT(v); i++) {
			for (n = 0; v[i].type != NONE && n < v[i].least; n++) {
				c.size = 0;
				add(&c, abi, v[i].level, v[i].type, some, n);
				parse(abi, c.bytes, c.size, AF_INET6, &t);
				cr_assert_eq(t.m.flags, 0, "%zu of %zu: %#x", n,
				    v[i].least, t.m.flags);
				cr_assert_eq(t.rest.nfds, 0);
				cr_assert_eq(t.rest.pidfd, -1);
			}
		}
	}
}

TEST(cmsg, twice)
{
	EACH_ABI(abi) {
		const int a[3] = { 3, 4, 5 }, b[2] = { 6, 7 };
		struct control c = { .size = 0 };
		struct told t;
		size_t i;

		add_hoplimit(&c, abi, 61);
		add(&c, abi, abi->socket, abi->rights, a, sizeof(a));
		add_hoplimit(&c, abi, 62);
		add(&c, abi, abi->socket, abi->rights, b, sizeof(b));
		parse(abi, c.bytes, c.size, AF_INET6, &t);
		cr_assert_eq(t.m.flags, DGRAM_TTL);
		cr_assert_eq(t.m.ttl, 62);
		/* Each descriptor is one to close. */
		cr_assert_eq(t.rest.nfds, 5, "%zu", t.rest.nfds);
		for (i = 0; i < 5; i++)
			cr_assert_eq(t.rest.fds[i], (int)i + 3);
	}
}

/* One that nobody asked for is to be closed, and not told. */
TEST(cmsg, pidfd)
{
	const int fd = 5, fds[2] = { 6, 7 };
	struct control c = { .size = 0 };
	struct told t;

	add(&c, &linux64, 1, 1, fds, sizeof(fds));
	add(&c, &linux64, 1, 4, &fd, sizeof(fd));
	parse(&linux64, c.bytes, c.size, AF_UNIX, &t);
	cr_assert_eq(t.rest.pidfd, 5, "%d", t.rest.pidfd);
	cr_assert_eq(t.rest.nfds, 2);
	parse(&freebsd, c.bytes, c.size, AF_UNIX, &t);
	cr_assert_eq(t.rest.pidfd, -1);
}

TEST(cmsg, absurd_time)
{
	static const int64_t v[][2] = { { -1, 0 }, { INT64_MAX, 0 },
	    { INT64_MIN, 0 }, { SECONDS, -1 }, { SECONDS, INT64_MAX },
	    { SECONDS, 1000000000 }, { INT64_MAX / 1000000000, 0 } };
	struct told t;
	size_t i;

	for (i = 0; i < COUNT(v); i++) {
		struct control c = { .size = 0 };

		add(&c, &linux64, 1, 35, v[i], sizeof(v[i]));
		add(&c, &linux64, 1, 29, v[i], sizeof(v[i]));
		parse(&linux64, c.bytes, c.size, AF_INET, &t);
		cr_assert_eq(t.m.flags, 0, "%zu", i);
	}
}

static uint64_t
next_random(uint64_t *x)
{
	/* xorshift64. */
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

/* One word of a header that could be, or not. */
static int
some_number(const struct dgi_cmsg_abi *abi, uint64_t r)
{
	const int v[] = { abi->socket, abi->ip, abi->ip6, abi->pktinfo,
	    abi->dstaddr, abi->recvif, abi->ttl, abi->tos, abi->pktinfo6,
	    abi->hoplimit, abi->tclass, abi->timestamp, abi->timestampns,
	    abi->rights, abi->rights, abi->pidfd, abi->creds,
	    (int)(r >> 32) };

	return v[r % COUNT(v)];
}

/* Only sanitizers see a read behind the end; what is told must be sane. */
TEST(cmsg, random_bytes)
{
	uint64_t x = 0x9e3779b97f4a7c15, r;
	struct told t;
	int round;

	for (round = 0; round < 100000; round++) {
		const struct dgi_cmsg_abi *abi = abis[(size_t)(next_random(&x) %
		    COUNT(abis))];
		struct control c = { .size = 0 };
		size_t size;

		while (c.size < 200 && next_random(&x) % 8 != 0) {
			const uint64_t data[8] = { next_random(&x),
			    next_random(&x), next_random(&x) };

			add(&c, abi, some_number(abi, next_random(&x)),
			    some_number(abi, next_random(&x)), data,
			    (size_t)(next_random(&x) % sizeof(data)));
			r = next_random(&x);
			if (r % 8 == 0)
				set_len(abi, c.bytes + c.last, r >> 8 & 0x7f);
			else if (r % 64 == 1)
				set_len(abi, c.bytes + c.last, r);
		}
		size = c.size == 0 ? 0 : next_random(&x) % (c.size + 1);
		parse(abi, c.bytes, round % 2 == 0 ? c.size : size,
		    round % 4 < 2 ? AF_INET : AF_INET6, &t);
		if ((t.m.flags & ~(ALL | DGRAM_GROUP | DGRAM_CREDS)) != 0 ||
		    t.rest.nfds > 200 / sizeof(int) ||
		    ((t.m.flags & DGRAM_LOCAL) != 0 &&
		    t.local.len != sizeof(struct sockaddr_in) &&
		    t.local.len != sizeof(struct sockaddr_in6)) ||
		    ((t.m.flags & DGRAM_TIME) != 0 && t.m.time_ns < 0))
			cr_assert(false, "round %d", round);
	}
	cr_assert(true);
}

/*
 * Descriptors in messages whose lengths say anything: only those that lie in the
 * bytes that came are taken, each once: they are some of its words, in order.
 */
TEST(cmsg, random_rights)
{
	uint64_t x = 0x2545f4914f6cdd1d, r;
	static uint32_t words[2048 / 4];
	static struct told t;
	size_t size, at, len, k, taken = 0;
	int round;

	for (round = 0; round < 50000; round++) {
		const struct dgi_cmsg_abi *abi = abis[(size_t)(next_random(&x) %
		    COUNT(abis))];
		unsigned char *p = (unsigned char *)words;

		for (k = 0; k < COUNT(words); k++)
			words[k] = (uint32_t)k;
		size = (size_t)(next_random(&x) % (sizeof(words) + 1));
		for (at = 0; at + head_of(abi) <= sizeof(words); at += len) {
			r = next_random(&x);
			len = round_up(abi, head_of(abi) + (size_t)(r >> 8) %
			    (r % 4 == 0 ? 2000 : 40));
			set_len(abi, p + at, r % 16 == 1 ? r >> 32 :
			    r % 16 == 2 ? r >> 56 : len - (r >> 16) % 4);
			memcpy(p + at + abi->len_size, &abi->socket, 4);
			if (r % 8 != 3)
				memcpy(p + at + abi->len_size + 4, &abi->rights,
				    4);
		}
		parse(abi, words, size, AF_UNIX, &t);
		MUST(t.rest.nfds <= DGI_CMSG_RECV_FDS / sizeof(int),
		    "round %d: %zu", round, t.rest.nfds);
		for (k = 0, at = 0; k < t.rest.nfds; k++, at++) {
			while (at < size / 4 &&
			    words[at] != (uint32_t)t.rest.fds[k])
				at++;
			MUST(at < size / 4, "round %d: %d, the %zuth of %zu, "
			    "is not in %zu bytes", round, t.rest.fds[k], k,
			    t.rest.nfds, size);
			taken++;
		}
	}
	cr_assert(taken > 100000, "%zu", taken);
}

/* ---- what is sent ---- */

static const uint32_t linux64_rights[] = { W64(24), 1, 1, 5, 6 };
static const uint32_t linux32_rights[] = { 20, 1, 1, 5, 6 };
static const uint32_t bsd_rights[] = { 24, 0xffff, 1, 0, 5, 6 };
static const uint32_t macos_rights[] = { 20, 0xffff, 1, 5, 6 };

TEST(cmsg, rights_depart)
{
	static const struct {
		const char *name;
		const struct dgi_cmsg_abi *abi;
		const uint32_t *words;
		size_t size;
	} v[] = { { A(linux64_rights, linux64) }, { A(linux32_rights, linux32) },
		{ A(bsd_rights, freebsd) }, { A(bsd_rights, openbsd) },
		{ A(bsd_rights, netbsd10) }, { A(macos_rights, macos) } };
	int fds[DGRAM_FDS_MOST] = { 5, 6 };
	unsigned char *p = malloc(DGI_CMSG_SEND_FDS);
	static struct told t;
	size_t i, n;

	cr_assert(p != NULL);
	for (i = 0; i < COUNT(v); i++) {
		memset(p, 0x5a, DGI_CMSG_SEND_FDS);
		n = dgi_cmsg_build_rights(v[i].abi, p, fds, 2);
		cr_assert_eq(n, v[i].size, "%s: %zu", v[i].name, n);
		cr_assert_eq(memcmp(p, v[i].words, n), 0, "%s", v[i].name);
	}
	/* As many as there can be have room, and come as they were sent. */
	for (i = 0; i < DGRAM_FDS_MOST; i++)
		fds[i] = (int)i + 3;
	EACH_ABI(abi) {
		n = dgi_cmsg_build_rights(abi, p, fds, DGRAM_FDS_MOST);
		cr_assert(n <= DGI_CMSG_SEND_FDS, "%zu", n);
		parse(abi, p, n, AF_UNIX, &t);
		cr_assert_eq(t.rest.nfds, DGRAM_FDS_MOST);
		cr_assert_eq(memcmp(t.rest.fds, fds, sizeof(fds)), 0);
	}
	free(p);
}

/* Room for what was asked for, and not for one descriptor more. */
TEST(cmsg, room_of_unix)
{
	const unsigned wants[] = { 0, DGRAM_TIME, DGRAM_CREDS,
	    DGRAM_TIME | DGRAM_CREDS };
	size_t room, i;
	unsigned n;

	EACH_ABI(abi) {
		cr_assert_eq(dgi_cmsg_room(abi, 0, 0), 0);
		for (i = 0; i < COUNT(wants); i++) {
			room = dgi_cmsg_room(abi, wants[i], 0);
			cr_assert_eq(room, ((wants[i] & DGRAM_TIME) == 0 ? 0 :
			    round_up(abi, head_of(abi) +
			    2u * abi->timeval.sec)) +
			    ((wants[i] & DGRAM_CREDS) == 0 ? 0 :
			    round_up(abi, head_of(abi) + abi->cred.most)));
			for (n = 1; n <= DGRAM_FDS_MOST; n++)
				cr_assert_eq(dgi_cmsg_room(abi, wants[i], n),
				    room + head_of(abi) + n * 4);
			cr_assert(dgi_cmsg_room(abi, wants[i], n) <=
			    DGI_CMSG_RECV_FDS);
		}
	}
}

#define FULL4	{ .addr = { 192, 0, 2, 7 }, .has_addr = true, .ifindex = 3, \
		.ttl = 61, .tos = 0xb8 }
#define FULL6	{ .addr = { 0x20, 1, 0xd, 0xb8, [15] = 7 }, .has_addr = true, \
		.ifindex = 3, .ttl = 61, .tos = 0xb8 }
#define FULLM	{ .addr = { [10] = 0xff, 0xff, 192, 0, 2, 7 }, \
		.has_addr = true, .ifindex = 3, .ttl = 61, .tos = 0xb8 }
#define ONLY4	{ .addr = { 192, 0, 2, 7 }, .has_addr = true, .ttl = -1, \
		.tos = -1 }
#define ONLYM	{ .addr = { [10] = 0xff, 0xff, 192, 0, 2, 7 }, \
		.has_addr = true, .ttl = -1, .tos = -1 }
#define LINK	{ .ifindex = 3, .ttl = -1, .tos = -1 }
#define TTL	{ .ttl = 61, .tos = -1 }
#define TOS	{ .ttl = -1, .tos = 0xb8 }
#define ZERO	{ .ttl = 0, .tos = 0 }

static const uint32_t linux64_send4[] = { W64(28), 0, 8, 3, ADDR4, 0, 0,
	W64(20), 0, 2, 61, 0, W64(20), 0, 1, 0xb8, 0 };
static const uint32_t linux64_send6[] = { W64(36), 41, 50, ADDR6, 3, 0,
	W64(20), 41, 52, 61, 0, W64(20), 41, 67, 0xb8, 0 };
static const uint32_t linux64_sendm[] = { W64(36), 41, 50, MAPPED, 3, 0,
	W64(20), 0, 2, 61, 0, W64(20), 0, 1, 0xb8, 0 };
static const uint32_t linux64_link4[] = { W64(28), 0, 8, 3, 0, 0, 0 };
static const uint32_t linux64_link6[] = { W64(36), 41, 50, 0, 0, 0, 0, 3, 0 };
static const uint32_t linux64_linkm[] = { W64(36), 41, 50, 0, 0,
	B(0, 0, 0xff, 0xff), 0, 3, 0 };
static const uint32_t linux64_zero[] = { W64(20), 0, 2, 0, 0,
	W64(20), 0, 1, 0, 0 };
static const uint32_t linux32_send4[] = { 24, 0, 8, 3, ADDR4, 0,
	16, 0, 2, 61, 16, 0, 1, 0xb8 };
static const uint32_t linux32_send6[] = { 32, 41, 50, ADDR6, 3,
	16, 41, 52, 61, 16, 41, 67, 0xb8 };
static const uint32_t bsd_src4[] = { 20, 0, 7, 0, ADDR4, 0 };
static const uint32_t bsd_send6[] = { 36, 41, 46, 0, ADDR6, 3, 0,
	20, 41, 47, 0, 61, 0, 20, 41, 61, 0, 0xb8, 0 };
static const uint32_t freebsd_tos[] = { 17, 0, 3, 0, B(0xb8, 0, 0, 0), 0 };
static const uint32_t netbsd10_src4[] = { 24, 0, 25, 0, ADDR4, 0 };
static const uint32_t netbsd7_src4[] = { 24, 0, 26, 0, ADDR4, 0 };
static const uint32_t netbsd10_link4[] = { 24, 0, 25, 0, 0, 3 };
static const uint32_t macos_src4[] = { 24, 0, 26, 0, ADDR4, 0 };
static const uint32_t macos_link4[] = { 24, 0, 26, 3, 0, 0 };
static const uint32_t macos_send6[] = { 32, 41, 46, ADDR6, 3,
	16, 41, 47, 61, 16, 41, 36, 0xb8 };

struct departure {
	const char *name;
	const struct dgi_cmsg_abi *abi;
	const uint32_t *words;
	size_t size;			/* bytes; 0: -ENOTSUP */
	int family;
	bool mapped;
	struct dgi_source src;
};

#define NOT(abi)	#abi, &abi, NULL, 0

static const struct departure departures[] = {
	{ A(linux64_send4, linux64), AF_INET, false, FULL4 },
	{ A(linux64_send6, linux64), AF_INET6, false, FULL6 },
	{ A(linux64_sendm, linux64), AF_INET6, true, FULLM },
	{ A(linux64_link4, linux64), AF_INET, false, LINK },
	{ A(linux64_link6, linux64), AF_INET6, false, LINK },
	{ A(linux64_linkm, linux64), AF_INET6, true, LINK },
	{ A(linux64_zero, linux64), AF_INET, false, ZERO },
	{ A(linux32_send4, linux32), AF_INET, false, FULL4 },
	{ A(linux32_send6, linux32), AF_INET6, false, FULL6 },
	{ A(bsd_src4, freebsd), AF_INET, false, ONLY4 },
	{ A(bsd_src4, freebsd), AF_INET6, true, ONLYM },
	{ A(bsd_send6, freebsd), AF_INET6, false, FULL6 },
	{ A(freebsd_tos, freebsd), AF_INET, false, TOS },
	{ NOT(freebsd), AF_INET, false, LINK },
	{ NOT(freebsd), AF_INET6, true, LINK },
	{ NOT(freebsd), AF_INET, false, FULL4 },
	{ NOT(freebsd), AF_INET, false, TTL },
	{ A(bsd_src4, openbsd), AF_INET, false, ONLY4 },
	{ A(bsd_send6, openbsd), AF_INET6, false, FULL6 },
	{ NOT(openbsd), AF_INET, false, TOS },
	{ NOT(openbsd), AF_INET, false, TTL },
	{ NOT(openbsd), AF_INET, false, LINK },
	{ A(netbsd10_src4, netbsd10), AF_INET, false, ONLY4 },
	{ A(netbsd10_src4, netbsd10), AF_INET6, true, ONLYM },
	{ A(netbsd10_link4, netbsd10), AF_INET, false, LINK },
	{ A(netbsd7_src4, netbsd7), AF_INET, false, ONLY4 },
	{ A(bsd_send6, netbsd10), AF_INET6, false, FULL6 },
	{ NOT(netbsd10), AF_INET, false, TTL },
	{ A(macos_src4, macos), AF_INET, false, ONLY4 },
	{ A(macos_link4, macos), AF_INET, false, LINK },
	{ A(macos_send6, macos), AF_INET6, false, FULL6 },
	{ NOT(macos), AF_INET, false, TOS },
	{ NOT(macos), AF_INET, false, TTL },
};

/* Into memory that ends there; the result, and the bytes in ret. */
static int
build(const struct dgi_cmsg_abi *abi, const struct dgi_source *src, int family,
    bool mapped, unsigned char *ret)
{
	unsigned char *block = malloc(DGI_CMSG_SEND);
	int n;

	cr_assert(block != NULL);
	memset(block, 0x5a, DGI_CMSG_SEND);
	n = dgi_cmsg_build(abi, block, src, family, mapped);
	memcpy(ret, block, DGI_CMSG_SEND);
	free(block);
	return n;
}

TEST(cmsg, departs)
{
	unsigned char got[DGI_CMSG_SEND];
	size_t i;
	int n;

	for (i = 0; i < COUNT(departures); i++) {
		const struct departure *d = &departures[i];

		n = build(d->abi, &d->src, d->family, d->mapped, got);
		cr_assert_eq(n, d->size == 0 ? -ENOTSUP : (int)d->size,
		    "%zu, %s: %d", i, d->name, n);
		cr_assert(d->size == 0 || memcmp(got, d->words, d->size) == 0,
		    "%zu, %s", i, d->name);
	}
}

TEST(cmsg, nothing_departs)
{
	const struct dgi_source none = { .ttl = -1, .tos = -1 };
	unsigned char got[DGI_CMSG_SEND];

	EACH_ABI(abi) {
		cr_assert_eq(build(abi, &none, AF_INET, false, got), 0);
		cr_assert_eq(build(abi, &none, AF_INET6, false, got), 0);
		cr_assert_eq(build(abi, &none, AF_INET6, true, got), 0);
	}
}

/* All that can be told, and all that can be asked, at once. */
TEST(cmsg, room)
{
	static const struct dgi_source all[3] = { FULL4, FULL6, FULLM };
	unsigned char got[DGI_CMSG_SEND];

	EACH_ABI(abi) {
		const size_t least = head_of(abi);
		size_t sum = 0;
		int i, n;

#define SPACE(size)	round_up(abi, least + (size))
		sum += abi->pktinfo != NONE ? SPACE(abi->pktinfo_size) : 0;
		sum += abi->dstaddr != NONE ? SPACE(4) + SPACE(54) : 0;
		sum += SPACE(4) + SPACE(4);		/* TTL, TOS */
		sum += abi->timestampns != NONE ? SPACE(16) : SPACE(16);
		/* Where a mapped one brings those of IPv6 as well. */
		if (abi->mapped_by_ip6)
			sum += SPACE(20);
		cr_assert(sum <= DGI_CMSG_RECV, "%zu", sum);
		sum = SPACE(20) + SPACE(4) + SPACE(4) + SPACE(16);
		cr_assert(sum <= DGI_CMSG_RECV, "%zu", sum);
		/* The sanitizer would see an overrun. */
		for (i = 0; i < 3; i++) {
			n = build(abi, &all[i], i == 0 ? AF_INET : AF_INET6,
			    i == 2, got);
			cr_assert(n == -ENOTSUP ||
			    (n > 0 && n <= DGI_CMSG_SEND), "%d", n);
		}
	}
}

/* ---- this system ---- */

TEST(cmsg, native_walk)
{
	const struct dgi_source src = FULL6;
	_Alignas(8) unsigned char bytes[DGI_CMSG_SEND];
	const int types[] = { IPV6_PKTINFO, IPV6_HOPLIMIT, IPV6_TCLASS };
	struct msghdr h = { .msg_control = bytes };
	struct cmsghdr *c;
	size_t i = 0;
	int n, v;

	n = build(&dgi_cmsg_native, &src, AF_INET6, false, bytes);
	cr_assert(n > 0);
	h.msg_controllen = (unsigned)n;
	for (c = CMSG_FIRSTHDR(&h); c != NULL; c = CMSG_NXTHDR(&h, c), i++) {
		cr_assert(i < COUNT(types));
		cr_assert_eq(c->cmsg_level, IPPROTO_IPV6);
		cr_assert_eq(c->cmsg_type, types[i]);
		cr_assert_eq(c->cmsg_len, CMSG_LEN(i == 0 ? 20u : 4u));
		if (i == 0) {
			cr_assert_eq(memcmp(CMSG_DATA(c), src.addr, 16), 0);
			cr_assert_eq(memcmp(CMSG_DATA(c) + 16, &src.ifindex,
			    4), 0);
		} else {
			memcpy(&v, CMSG_DATA(c), sizeof(v));
			cr_assert_eq(v, i == 1 ? 61 : 0xb8);
		}
	}
	cr_assert_eq(i, COUNT(types));
	cr_assert_eq((size_t)n, CMSG_SPACE(20) + 2 * CMSG_SPACE(4));
}

/* What the macros of the system write is read. */
TEST(cmsg, native_reads)
{
	_Alignas(8) unsigned char bytes[DGI_CMSG_RECV] = { 0 };
	struct msghdr h = { .msg_control = bytes,
	    .msg_controllen = sizeof(bytes) };
	struct timeval tv = { .tv_sec = SECONDS, .tv_usec = 123456 };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	const struct in6_pktinfo info = { .ipi6_addr = IN6ADDR_LOOPBACK_INIT,
	    .ipi6_ifindex = 3 };
	const int ttl = 61;
	struct told t;
	size_t size;

	c->cmsg_level = IPPROTO_IPV6;
	c->cmsg_type = IPV6_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	c = CMSG_NXTHDR(&h, c);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_TIMESTAMP;
	c->cmsg_len = CMSG_LEN(sizeof(tv));
	memcpy(CMSG_DATA(c), &tv, sizeof(tv));
	c = CMSG_NXTHDR(&h, c);
	c->cmsg_level = IPPROTO_IPV6;
	c->cmsg_type = IPV6_HOPLIMIT;
	c->cmsg_len = CMSG_LEN(sizeof(ttl));
	memcpy(CMSG_DATA(c), &ttl, sizeof(ttl));
	size = CMSG_SPACE(sizeof(info)) + CMSG_SPACE(sizeof(tv)) +
	    CMSG_SPACE(sizeof(ttl));
	parse(&dgi_cmsg_native, bytes, size, AF_INET6, &t);
	cr_assert_eq(t.m.flags, LT, "%#x", t.m.flags);
	cr_assert(IN6_IS_ADDR_LOOPBACK(&t.local.u.in6.sin6_addr));
	cr_assert_eq(t.m.ifindex, 3);
	cr_assert_eq(t.m.ttl, 61);
	cr_assert_eq(t.m.time_ns, AT_US);
}

static bool
same(const struct dgi_cmsg_abi *a, const struct dgi_cmsg_abi *b)
{
	return a->len_size == b->len_size && a->socket == b->socket &&
	    a->ip == b->ip && a->ip6 == b->ip6 && a->pktinfo == b->pktinfo &&
	    a->pktinfo_size == b->pktinfo_size && a->dstaddr == b->dstaddr &&
	    a->recvif == b->recvif && a->ttl == b->ttl &&
	    a->ttl_size == b->ttl_size && a->tos == b->tos &&
	    a->pktinfo6 == b->pktinfo6 && a->hoplimit == b->hoplimit &&
	    a->tclass == b->tclass && a->timestamp == b->timestamp &&
	    a->timestampns == b->timestampns && a->rights == b->rights &&
	    memcmp(&a->timeval, &b->timeval, sizeof(a->timeval)) == 0 &&
	    memcmp(&a->timespec, &b->timespec, sizeof(a->timespec)) == 0 &&
	    a->pidfd == b->pidfd && a->creds == b->creds &&
	    memcmp(&a->cred, &b->cred, sizeof(a->cred)) == 0 &&
	    a->send_srcaddr == b->send_srcaddr && a->send_ttl == b->send_ttl &&
	    a->send_tos == b->send_tos && a->tos_size == b->tos_size &&
	    a->mapped_by_ip6 == b->mapped_by_ip6;
}

/* The table made from this system's headers is one of those above. */
TEST(cmsg, native_is_known)
{
	size_t i, known = 0;

	for (i = 0; i + 1 < COUNT(abis); i++)
		known += same(abis[i], &dgi_cmsg_native);
#if DGI_HAVE_CMSG_IS_OPTION || UINTPTR_MAX > UINT32_MAX
	cr_assert_eq(known, 1, "%zu", known);
#else
	(void)known;
	cr_skip_test("a BSD of 32 bits: its layouts are not written down here");
#endif
}
