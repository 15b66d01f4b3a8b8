/* SPDX-License-Identifier: ISC */

/*
 * libdgram: datagram sockets (udp4, udp6, unix_dgram) on an event loop.
 *
 * Rules that hold for every call; dgram(7) has them in full:
 *  - int results are 0 or a count, or negative: -errno or a DGRAM_E code.
 *    errno is neither set nor read.
 *  - A loop and everything on it belong to one thread, except where a comment
 *    says "any thread".
 *  - Callbacks come from dgram_loop_run() and dgram_loop_run_once() only (and
 *    from dgram_loop_free()), never from inside the call that caused them.  The
 *    one exception is dgram_options.configure, a step of making a descriptor.
 *  - An operation that was accepted (>= 0) with a completion function gets
 *    exactly one call of it.
 *  - Structures of options are copied; filled with zeros they mean the defaults.
 *  - Times are nanoseconds of the monotonic clock unless a name ends in _ms.
 */

#ifndef DGRAM_H
#define DGRAM_H

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- version, errors: dgram_strerror(3) ---- */

#define DGRAM_VERSION "0.1.0"
#define DGRAM_VERSION_MAJOR	0
#define DGRAM_VERSION_MINOR	1
#define DGRAM_VERSION_PATCH	0

/* Codes of the library.  All are below -4095, the lowest -errno there is. */
#define DGRAM_ERR_SOCKET_BAD_TYPE		(-5001)
#define DGRAM_ERR_SOCKET_ALREADY_BOUND		(-5002)
#define DGRAM_ERR_SOCKET_BAD_PORT		(-5003)
#define DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE	(-5004)
#define DGRAM_ERR_SOCKET_DGRAM_IS_CONNECTED	(-5005)
#define DGRAM_ERR_SOCKET_DGRAM_NOT_CONNECTED	(-5006)
#define DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING	(-5007)
#define DGRAM_ERR_INVALID_FD_TYPE		(-5008)
#define DGRAM_ERR_IP_BLOCKED			(-5009)

/* What getaddrinfo(3) says, under Node's names. */
#define DGRAM_ENOTFOUND				(-5101)
#define DGRAM_EAI_AGAIN				(-5102)
#define DGRAM_EAI_ADDRFAMILY			(-5103)
#define DGRAM_EAI_BADFLAGS			(-5104)
#define DGRAM_EAI_FAIL				(-5105)
#define DGRAM_EAI_FAMILY			(-5106)
#define DGRAM_EAI_MEMORY			(-5107)
#define DGRAM_EAI_OVERFLOW			(-5108)
#define DGRAM_EAI_SERVICE			(-5109)
#define DGRAM_EAI_SOCKTYPE			(-5110)
#define DGRAM_EAI_SYSTEM			(-5111)

/* DGRAM_VERSION of the library that was linked.  Any thread. */
const char	*dgram_version(void);
/* One sentence for a person; static storage.  Any thread. */
const char	*dgram_strerror(int err);
/* "EADDRINUSE", "ERR_SOCKET_BAD_PORT", "ENOTFOUND"; static.  Any thread. */
const char	*dgram_err_name(int err);

/* ---- addresses: values, no loop, any thread; dgram_addr(3) ---- */

struct dgram_addr {
	socklen_t len;		/* bytes of u; 0: no address */
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		/* Linux tells 111 bytes for a path of 108 without NUL. */
		char raw[sizeof(struct sockaddr_un) + 1];
	} u;
};

/*
 * Numeric IPv4, IPv6, or IPv6%zone (interface name or number); port 0 to 65535.
 * -EINVAL (not a literal), -ENODEV (no such zone), DGRAM_ERR_SOCKET_BAD_PORT;
 * the address is unchanged then.
 */
int	dgram_addr_parse(struct dgram_addr *, const char *literal, int port);
/* Path of an AF_UNIX socket.  -EINVAL (empty), -ENAMETOOLONG: never cut. */
int	dgram_addr_unix(struct dgram_addr *, const char *path);
/* Abstract name, any bytes, `len` of them.  Linux; elsewhere -ENOTSUP. */
int	dgram_addr_abstract(struct dgram_addr *, const void *name, size_t len);
/*
 * Host as text: "127.0.0.1", "fe80::1%eth0", a path, "@name" if abstract, "" if
 * there is none.  Returns the length without the NUL, or -ENOSPC.
 */
int	dgram_addr_host(const struct dgram_addr *, char *buf, size_t size);
/* Port, 0 to 65535; 0 for AF_UNIX and for no address. */
int	dgram_addr_port(const struct dgram_addr *);
/* "IPv4", "IPv6", "unix" (also for no address); static. */
const char	*dgram_addr_family(const struct dgram_addr *);
/* "127.0.0.1:80", "[fe80::1%eth0]:80", "/run/x".  Length or -ENOSPC. */
int	dgram_addr_format(const struct dgram_addr *, char *buf, size_t size);
/* Same family, host, port and zone; same path or abstract name. */
bool	dgram_addr_equal(const struct dgram_addr *, const struct dgram_addr *);

/* ---- loop: dgram_loop(3) ---- */

struct dgram_loop;
struct dgram_socket;
struct dgram_abort;
struct dgram_block_list;

/* alloc: NULL if there is none; aligned as malloc(3).  free: never NULL. */
struct dgram_allocator {
	void *(*alloc)(size_t size, void *arg);
	void (*free)(void *, size_t size, void *arg);
	void *arg;
};

struct dgram_loop_options {
	const char *backend;	/* "epoll" "kqueue" "poll"; NULL: the best */
	/*
	 * All memory of the loop, from its thread and, for posts, from others;
	 * copied.  NULL: malloc(3), and mmap(2) for the receive arena.
	 */
	const struct dgram_allocator *allocator;
	unsigned batch;		/* datagrams per system call, to 1024; 0: 32 */
	unsigned budget;	/* datagrams a socket may receive, and send, per
				   turn, to 65536; 0: 64 */
	size_t max_datagram;	/* bytes, to 16 MiB; 0: 65535 */
	/* Names only: no thread is started before the first one. */
	unsigned resolver_threads;	/* at most, to 64, and as many as three
			times that for those that are stuck; 0: 2 */
	size_t resolver_stack;		/* bytes, to 1 GiB; 0: 256 KiB */
	unsigned resolver_timeout_ms;	/* per look-up; 0: 30000 */
};

/* -EINVAL (options), -ENOTSUP (backend not built), -ENOMEM, -EMFILE. */
int	dgram_loop_new(const struct dgram_loop_options *,
	    struct dgram_loop **ret);
/*
 * Ends everything: sockets are closed, what waits gets -ECANCELED, posts run;
 * then the memory goes.  NULL is 0; -EBUSY inside a callback.
 */
int	dgram_loop_free(struct dgram_loop *);
/* Until nothing is left (0), stopped (1), failed (< 0); nested: -EBUSY. */
int	dgram_loop_run(struct dgram_loop *);
/* One turn; -1 waits without end, 0 polls.  1: more to come, 0: nothing left. */
int	dgram_loop_run_once(struct dgram_loop *, int timeout_ms);
/* Any thread, signal handler.  Stays until a run consumes it. */
void	dgram_loop_stop(struct dgram_loop *);
/* Any thread, signal handler.  Ends one wait, this or the next; keeps errno. */
int	dgram_loop_wake(struct dgram_loop *);
/*
 * Any thread.  fn runs once on the loop's thread, in order per thread: in a turn,
 * or in dgram_loop_free().  While that calls back, -ECANCELED; no thread may be
 * in here, in stop or in wake when it is done with that.  -ENOMEM.
 */
int	dgram_loop_post(struct dgram_loop *, void (*fn)(void *arg), void *arg);
/*
 * For use inside of another loop: a descriptor that is readable when
 * dgram_loop_run_once(l, 0) has something to do.  From now on changes made
 * outside of a run take effect at once.  -ENOTSUP: the poll backend has none.
 */
int	dgram_loop_fd(struct dgram_loop *);
/*
 * ms until run_once(l, 0) is due whatever the descriptor says; 0: now, -1: no
 * end.  To be asked before each wait, or, if that is another's, after each
 * run_once: what shortens it outside of a run makes the descriptor readable.
 */
int	dgram_loop_timeout(const struct dgram_loop *);

#define DGRAM_FORK_TAKE_PATHS	0x1u	/* close removes them here */

/*
 * In the child of fork(2), before any other call: sockets, timers and watches go
 * on in both.  What waits to be sent ends with -ECANCELED here, posts that wait
 * are dropped, paths stay the parent's.  A foreign loop asks for dgram_loop_fd()
 * again.  -EMFILE, -ENOMEM: nothing has changed; the loop may not be used.
 */
int	dgram_loop_fork(struct dgram_loop *, unsigned flags);
/* Monotonic clock, ns, as read last: at each turn and by _update. */
uint64_t	dgram_loop_now(const struct dgram_loop *);
void	dgram_loop_update(struct dgram_loop *);
/* "epoll", "kqueue", "poll"; static. */
const char	*dgram_loop_backend(const struct dgram_loop *);
/*
 * Bytes that the loop holds now, and the most that it may hold with its present
 * sockets and limits (SIZE_MAX: one of them is DGRAM_UNLIMITED).  Neither
 * counts posts.  Either pointer may be NULL.
 */
int	dgram_loop_memory(const struct dgram_loop *, size_t *held,
	    size_t *bound);

/* ---- timers: the caller's storage; dgram_timer(3) ---- */

struct dgram_timer;
typedef void	dgram_timer_fn(struct dgram_timer *, void *arg);

struct dgram_timer {
	/* private */
	struct dgram_loop *loop;
	dgram_timer_fn *fn;
	void *arg;
	uint64_t repeat_ns;
	uint64_t seq;
	uint32_t index;		/* in the heap, from 1; 0: not active */
	bool unrefd;
};

void	dgram_timer_init(struct dgram_timer *, struct dgram_loop *,
	    dgram_timer_fn *, void *arg);
/*
 * Due `after_ns` from dgram_loop_now(), then each `repeat_ns` (0: once).
 * Restarts an active timer.  -ENOMEM; -ECANCELED during dgram_loop_free().
 */
int	dgram_timer_start(struct dgram_timer *, uint64_t after_ns,
	    uint64_t repeat_ns);
/* Then the storage may go, also inside a callback. */
void	dgram_timer_stop(struct dgram_timer *);
bool	dgram_timer_active(const struct dgram_timer *);
/* An active referenced timer keeps the loop running (the default). */
void	dgram_timer_ref(struct dgram_timer *);
void	dgram_timer_unref(struct dgram_timer *);

/* ---- watches of foreign descriptors: dgram_watch(3) ---- */

#define DGRAM_READABLE	0x1u
#define DGRAM_WRITABLE	0x2u

struct dgram_watch;
typedef void	dgram_watch_fn(struct dgram_watch *, unsigned events, void *arg);

struct dgram_watch {
	/* private */
	struct dgram_loop *loop;
	dgram_watch_fn *fn;
	void *arg;
	struct dgram_watch *next, **prev;
	int fd;
	uint32_t slot;
	unsigned char have, want, flags;
};

/* The descriptor stays the caller's. */
void	dgram_watch_init(struct dgram_watch *, struct dgram_loop *, int fd,
	    dgram_watch_fn *, void *arg);
/*
 * Level-triggered; again to change.  Error and hang-up are reported as all that
 * was asked for.  -EINVAL (events), -EBADF, -EPERM (a file), -EEXIST (watched
 * already), -ENOMEM; -ECANCELED during dgram_loop_free().
 */
int	dgram_watch_start(struct dgram_watch *, unsigned events);
/* Before the descriptor is closed.  Then the storage may go. */
void	dgram_watch_stop(struct dgram_watch *);
/* A started referenced watch keeps the loop running (the default). */
void	dgram_watch_ref(struct dgram_watch *);
void	dgram_watch_unref(struct dgram_watch *);

/* ---- sockets: dgram_socket(3), dgram_recv(3), dgram_send(3) ---- */

enum dgram_type { DGRAM_UDP4 = 1, DGRAM_UDP6, DGRAM_UNIX };

/* "udp4" "udp6" "unix_dgram", else DGRAM_ERR_SOCKET_BAD_TYPE.  Any thread. */
int	dgram_type_parse(const char *name);

/* Bits of dgram_options.want and of dgram_message.flags. */
#define DGRAM_LOCAL	0x01u	/* local, ifindex */
#define DGRAM_TTL	0x02u	/* ttl (IPv6: hop limit) */
#define DGRAM_TOS	0x04u	/* tos (IPv6: traffic class) */
#define DGRAM_TIME	0x08u	/* time_ns */
#define DGRAM_CREDS	0x10u	/* pid, uid, gid */
#define DGRAM_FDS	0x20u	/* fds, nfds */
#define DGRAM_NO_REMOTE	0x40u	/* the sender's address is not asked for */
#define DGRAM_TRUNCATED	0x80u	/* flags only: the datagram was longer */
#define DGRAM_GROUP	0x100u	/* flags only, beside DGRAM_LOCAL: it came to a
				   multicast or broadcast address */
#define DGRAM_FDS_CUT	0x200u	/* flags only: descriptors came with it that
				   were closed */

/* Descriptors that one datagram can carry. */
#define DGRAM_FDS_MOST	253u

/* A received datagram; valid until the callback returns, in any case. */
struct dgram_message {
	const void *data;
	size_t size;		/* bytes in data; 0 is a datagram */
	size_t wire_size;	/* bytes on the wire; 0: cut, and not told */
	const struct dgram_addr *remote;	/* len 0: unnamed; NULL with
						   DGRAM_NO_REMOTE */
	unsigned flags;		/* DGRAM_TRUNCATED; a bit per valid field */
	const struct dgram_addr *local;
	unsigned ifindex;
	uint8_t ttl, tos;
	int64_t time_ns;	/* CLOCK_REALTIME of the kernel */
	pid_t pid;		/* of who sent it, when; 0: not told */
	uid_t uid;		/* real ones */
	gid_t gid;
	const int *fds;		/* the callback's to close */
	size_t nfds;
};

/* Bits of dgram_datagram.flags. */
#define DGRAM_SET_TTL	0x1u	/* ttl is meant, also if 0 */
#define DGRAM_SET_TOS	0x2u	/* tos is meant, also if 0 */

/* A datagram to send with dgram_send_batch() or dgram_try_send(). */
struct dgram_datagram {
	const struct iovec *iov;
	int iovcnt;		/* 0 to 1024; 0 sends an empty datagram */
	const struct dgram_addr *to;	/* NULL: the connected peer */
	/*
	 * -EINVAL: out of range, another family.  -ENOTSUP: not of this type,
	 * or not on this system (dgram_send(3)).
	 */
	const struct dgram_addr *from;	/* source, its port is not looked at;
			NULL or the wildcard: the system's choice */
	unsigned ifindex;	/* to leave by; 0: the system's choice */
	int ttl, tos;		/* 0 to 255; -1, or 0 without its flag: the
			socket's */
	unsigned flags;		/* DGRAM_SET_TTL, DGRAM_SET_TOS */
	uint64_t deadline_ns;	/* of dgram_loop_now(); 0: none */
	/* AF_UNIX.  Borrowed until done, duplicated if it is NULL. */
	const int *fds;
	size_t nfds;		/* to DGRAM_FDS_MOST: -EMSGSIZE */
	int result;		/* out: bytes, or negative */
};

enum dgram_error_kind { DGRAM_IN_BIND = 1, DGRAM_IN_CONNECT, DGRAM_IN_SEND,
	DGRAM_IN_RECEIVE, DGRAM_IN_LOOKUP, DGRAM_IN_ICMP };

/* A failure; pointers are valid during the callback. */
struct dgram_error {
	int status;		/* negative */
	int kind;		/* enum dgram_error_kind */
	const char *syscall;	/* "bind" "connect" "send" "recvmsg"
				   "getaddrinfo"; static */
	const struct dgram_addr *addr;	/* NULL: not known */
	const char *host;	/* the name that was looked up, or NULL */
};

/* "bind EADDRINUSE 0.0.0.0:80", as Node puts it.  Length or -ENOSPC. */
int	dgram_error_format(const struct dgram_error *, char *buf, size_t size);

/* Events of a socket; each may be NULL.  Without message nothing is read. */
struct dgram_events {
	void (*listening)(struct dgram_socket *, void *arg);
	void (*message)(struct dgram_socket *, const struct dgram_message *,
	    size_t n, void *arg);	/* n >= 1 */
	void (*connect)(struct dgram_socket *, void *arg);
	void (*error)(struct dgram_socket *, const struct dgram_error *,
	    void *arg);		/* the socket lives on */
	void (*drain)(struct dgram_socket *, void *arg);	/* the queue fell
			below half of a limit after a send was refused */
	void (*close)(struct dgram_socket *, void *arg);	/* the last call
			for this socket; then it is freed */
};

/* status: send: bytes (batch: datagrams); bind, connect: 0; or negative. */
typedef void	dgram_done_fn(struct dgram_socket *, int status, void *arg);
/*
 * Asked for the address of a name; answers by dgram_lookup_done(), here or later.
 * host is valid during the call; family: AF_INET or AF_INET6.
 */
typedef void	dgram_lookup_fn(struct dgram_socket *, uint64_t id,
	    const char *host, int family, void *arg);

#define DGRAM_UNLIMITED	SIZE_MAX

/* Of a file; (uid_t)-1 and (gid_t)-1: as it was made. */
struct dgram_owner {
	uid_t uid;
	gid_t gid;
};

struct dgram_options {
	enum dgram_type type;
	bool reuse_addr, reuse_port, ipv6_only;
	int recv_buffer_size, send_buffer_size;	/* bytes; 0: the system's */
	size_t max_datagram;	/* bytes to receive, to 16 MiB; 0: the loop's */
	size_t send_queue_bytes;	/* 0: 1 MiB; DGRAM_UNLIMITED */
	size_t send_queue_count;	/* 0: 4096; DGRAM_UNLIMITED */
	unsigned messages_per_call;	/* at most; 0: all there are; 1: Node's
			way: close and pause are looked at after each */
	unsigned want;		/* DGRAM_LOCAL | _TTL | _TOS | _TIME | _CREDS |
			_FDS | _NO_REMOTE; -ENOTSUP: not here, or not of this
			type, at open or at bind */
	unsigned max_fds;	/* with DGRAM_FDS: that one datagram may bring,
			to DGRAM_FDS_MOST; 0: 16 */
	const char *device;	/* bound to this interface before the address;
			as reuse_: not with DGRAM_UNIX, -ENOTSUP */
	bool reconnect;		/* DGRAM_UNIX: connects to the name of its peer
			again when that has gone, while something waits for
			it; what does is not lost.  Other types: -EINVAL */
	/*
	 * Of the file that dgram_bind_path() makes, set before anybody can send
	 * to it.  DGRAM_UNIX; -EINVAL: another type, bits beyond 0777, at the
	 * bind any other name; -ENOTSUP: not on this system, at the bind.
	 */
	mode_t path_mode;	/* 0: 0777 less umask(2), which does not cut
				   any other */
	const struct dgram_owner *path_owner;	/* copied; NULL: as made */
	int (*configure)(int fd, void *arg);	/* after socket(2), before
			bind(2), inside the call that binds; < 0 fails it */
	dgram_lookup_fn *lookup;	/* instead of getaddrinfo(3), for names;
			literals are never asked for */
	/* Of this loop.  Needs events->close: -EINVAL, here and when events are
	   changed. */
	struct dgram_abort *signal;
	/* What comes from there is dropped, what goes there fails.  -EINVAL:
	   the first with DGRAM_NO_REMOTE; -ENOTSUP: AF_UNIX. */
	struct dgram_block_list *receive_block_list, *send_block_list;
	const struct dgram_events *events;	/* copied */
	void *arg;		/* of events, configure and lookup */
};

/* No descriptor is made before bind, connect or send.  -EINVAL, -ENOMEM, ... */
int	dgram_open(struct dgram_loop *, const struct dgram_options *,
	    struct dgram_socket **ret);
/*
 * Adopts a datagram socket, bound and connected as it is; type 0: asked of it.
 * On success close closes it, on failure it is the caller's.  -EBADF, -EEXIST
 * (on this loop already), DGRAM_ERR_INVALID_FD_TYPE.
 */
int	dgram_open_fd(struct dgram_loop *, const struct dgram_options *, int fd,
	    struct dgram_socket **ret);
/*
 * Sends what can be sent without waiting, gives -ECANCELED to the rest, then
 * `close`, then fn (may be NULL); then the socket is gone.
 */
int	dgram_close(struct dgram_socket *, void (*fn)(void *arg), void *arg);
/* No new sends; closes when nothing waits any more.  fn as above. */
int	dgram_end(struct dgram_socket *, void (*fn)(void *arg), void *arg);
/* Receiving. */
int	dgram_pause(struct dgram_socket *);
int	dgram_resume(struct dgram_socket *);
/* Takes effect with the next event; NULL: none. */
int	dgram_set_events(struct dgram_socket *, const struct dgram_events *,
	    void *arg);
void	*dgram_arg(const struct dgram_socket *);
struct dgram_loop	*dgram_socket_loop(const struct dgram_socket *);
/* The descriptor, still the socket's; -EBADF before there is one. */
int	dgram_fileno(const struct dgram_socket *);
/* A referenced socket that may receive keeps the loop running (default). */
int	dgram_ref(struct dgram_socket *);
int	dgram_unref(struct dgram_socket *);
/* Inside a completion of a socket: its failure.  Elsewhere -ENOENT. */
int	dgram_last_error(const struct dgram_socket *, struct dgram_error *);

/*
 * By address.  Errors of arguments, state, size and queue limits, and the
 * result of bind and connect, are returned; what the kernel says of a send
 * comes by completion, or as `error` if there is none.
 */
int	dgram_bind_addr(struct dgram_socket *, const struct dgram_addr *);

#define DGRAM_UNLINK_STALE	0x1u	/* a socket that nobody has open makes
					   room */

/*
 * Close removes the path if it is still this socket's.  What lies there is never
 * unlinked but with DGRAM_UNLINK_STALE, which takes the file path.lock meanwhile:
 * of several that start at once one succeeds, the others get -EADDRINUSE.
 * A path that is too long for an address is reached through its directory, or
 * -ENAMETOOLONG: not on this system, or its last part is too long.
 * path NULL: an abstract name of the system's choice (Linux; -ENOTSUP).
 */
int	dgram_bind_path(struct dgram_socket *, const char *path,
	    unsigned flags);
/* Adopts as dgram_open_fd() does; the socket must have no descriptor. */
int	dgram_bind_fd(struct dgram_socket *, int fd);
int	dgram_connect_addr(struct dgram_socket *, const struct dgram_addr *);
/* Long paths as above. */
int	dgram_connect_path(struct dgram_socket *, const char *path);
/*
 * What waits for the peer gets -ENOTCONN.  The local port is kept; where that
 * takes another bind(2), its error is returned.
 */
int	dgram_disconnect(struct dgram_socket *);
/*
 * `to` NULL: the connected peer.  The bytes are borrowed until `done`, copied
 * if it is NULL; iov and to are copied.  -EMSGSIZE, -ENOBUFS (queue limits, or
 * 4096 completions wait to be called).
 */
int	dgram_send_addr(struct dgram_socket *, const struct iovec *, int iovcnt,
	    const struct dgram_addr *to, dgram_done_fn *, void *arg);
int	dgram_send_path(struct dgram_socket *, const void *, size_t,
	    const char *path, dgram_done_fn *, void *arg);
/*
 * All n are tried, each with its result; done's status is how many went.  The
 * array and all it points to are borrowed until done, copied if it is NULL.
 */
int	dgram_send_batch(struct dgram_socket *, struct dgram_datagram *,
	    size_t n, dgram_done_fn *, void *arg);
/*
 * Now: the first so many went, with results; negative if none did.  -EAGAIN
 * while anything waits in the queue; a name that is looked up is not waited for.
 */
int	dgram_try_send(struct dgram_socket *, struct dgram_datagram *, size_t n);
/*
 * To the sender of a message; with DGRAM_LOCAL from the address that it came
 * to, unless that is a group's.  Bytes of the message itself are not copied.
 * What the kernel refuses is counted as failed, never an `error`.
 */
int	dgram_reply(struct dgram_socket *, const struct dgram_message *,
	    const void *, size_t);
/* Sends what waits, as far as the kernel takes it; how many still wait. */
int	dgram_flush(struct dgram_socket *);

/*
 * By name; Internet sockets.  A literal of the socket's family is used at once,
 * as by the calls above, with their results; one of another family is -EINVAL.
 * Another address is a name (255 bytes at most: -ENAMETOOLONG): it is looked up,
 * and all that can still fail comes by completion or, if there is none, as
 * `error`.  Ports are 0 to 65535 to bind, else 1 to 65535:
 * DGRAM_ERR_SOCKET_BAD_PORT.
 */
/* address NULL or "": all interfaces. */
int	dgram_bind(struct dgram_socket *, int port, const char *address,
	    dgram_done_fn *, void *arg);
/* address NULL or "": the loopback.  An unbound socket is bound. */
int	dgram_connect(struct dgram_socket *, int port, const char *address,
	    dgram_done_fn *, void *arg);
/*
 * The same; port 0 and no address: to the connected peer.  The bytes as with
 * dgram_send_addr().  Datagrams to one name keep their order and wait for one
 * look-up; those to other addresses do not wait for it.
 */
int	dgram_send(struct dgram_socket *, const void *, size_t, int port,
	    const char *address, dgram_done_fn *, void *arg);
int	dgram_sendv(struct dgram_socket *, const struct iovec *, int iovcnt,
	    int port, const char *address, dgram_done_fn *, void *arg);
/* `length` bytes from `offset` on. */
int	dgram_sendto(struct dgram_socket *, const void *, size_t offset,
	    size_t length, int port, const char *address, dgram_done_fn *,
	    void *arg);
/*
 * The answer to a look-up that options.lookup was asked for, on the loop's
 * thread: 0 and an address, whose port is not looked at, or why there is none.
 * -ENOENT: nobody asks, or not any more; -EINVAL: status > 0.
 */
int	dgram_lookup_done(struct dgram_loop *, uint64_t id, int status,
	    const struct dgram_addr *);
/*
 * status 0 and n >= 1 addresses in the order of getaddrinfo(3), with port 0, valid
 * during the call; or negative, and none.
 */
typedef void	dgram_resolve_fn(int status, const struct dgram_addr *,
	    size_t n, void *arg);
/*
 * family: AF_INET, AF_INET6 (or 4, 6), AF_UNSPEC.  *id, unless id is NULL, is
 * for dgram_resolve_cancel().  -EINVAL, -ENAMETOOLONG, -ENOMEM, -EAGAIN (no
 * thread), -ENOBUFS (16384 look-ups wait).
 */
int	dgram_resolve(struct dgram_loop *, const char *host, int family,
	    dgram_resolve_fn *, void *arg, uint64_t *id);
/* fn is called with -ECANCELED in the next turn.  -ENOENT: it was called. */
int	dgram_resolve_cancel(struct dgram_loop *, uint64_t id);

/* -EBADF before there is a descriptor.  Paths are as bound. */
int	dgram_address(const struct dgram_socket *, struct dgram_addr *);
int	dgram_remote_address(const struct dgram_socket *, struct dgram_addr *);

/* Setters return 0; -EBADF before bind. */
int	dgram_set_broadcast(struct dgram_socket *, int on);
int	dgram_set_ttl(struct dgram_socket *, int ttl);	/* 1 to 255 */
int	dgram_set_tos(struct dgram_socket *, int tos);	/* 0 to 255 */
/* -ENOTSUP: not on this system.  NULL or "": to none any more.  -ENODEV. */
int	dgram_bind_to_device(struct dgram_socket *, const char *ifname);

/*
 * Multicast, dgram_multicast(3).  interface: NULL, "0.0.0.0" or "::" (the system
 * picks), the address or the name of one, its number, "::%zone".
 */
int	dgram_set_multicast_ttl(struct dgram_socket *, int ttl); /* 0 to 255 */
int	dgram_set_multicast_loopback(struct dgram_socket *, int on);
/* For what is sent.  -EADDRNOTAVAIL, -EINVAL, -ENODEV, -ENOPROTOOPT. */
int	dgram_set_multicast_interface(struct dgram_socket *,
	    const char *interface);
/*
 * To hear a group on one interface, or, with "*", on all that there are now.
 * add binds an unbound socket as a send does; -EADDRINUSE: joined already.
 * -EINVAL: no group, or of another family than interface; -ENODEV: there is no
 * such interface; -EADDRNOTAVAIL: not joined; -ENOBUFS: too many; -ENOMEM.
 */
int	dgram_add_membership(struct dgram_socket *, const char *group,
	    const char *interface);
int	dgram_drop_membership(struct dgram_socket *, const char *group,
	    const char *interface);
/* The same, from one source only; -EADDRNOTAVAIL: joined already. */
int	dgram_add_source_specific_membership(struct dgram_socket *,
	    const char *source, const char *group, const char *interface);
int	dgram_drop_source_specific_membership(struct dgram_socket *,
	    const char *source, const char *group, const char *interface);
/*
 * Leaves and joins all of them again, when interfaces have come, gone or changed.
 * All are tried; 0 or the first error.  What failed is tried again the next time.
 */
int	dgram_refresh_memberships(struct dgram_socket *);

/* Bytes; 0 changes nothing.  Linux grants twice what is asked. */
int	dgram_set_recv_buffer_size(struct dgram_socket *, int);
int	dgram_get_recv_buffer_size(const struct dgram_socket *);
int	dgram_set_send_buffer_size(struct dgram_socket *, int);
int	dgram_get_send_buffer_size(const struct dgram_socket *);
/* Bytes of the largest datagram that it can send now. */
int	dgram_max_send_size(const struct dgram_socket *);
/* Bytes and datagrams accepted and not yet taken by the kernel. */
size_t	dgram_get_send_queue_size(const struct dgram_socket *);
size_t	dgram_get_send_queue_count(const struct dgram_socket *);

/* Bits of dgram_stats.reduced. */
#define DGRAM_REDUCED_RECVMMSG	0x1u	/* emulated: one call per datagram */
#define DGRAM_REDUCED_SENDMMSG	0x2u

/* The ledger: each datagram is in exactly one sum of its direction. */
struct dgram_stats {
	size_t size;		/* sizeof, set by the caller */
	uint64_t received, received_bytes, truncated;	/* truncated are also
			received */
	uint64_t blocked, discarded, kernel_drops;	/* UINT64_MAX: not told
			by this system */
	uint64_t sent, sent_bytes, failed, expired, cancelled, refused, waiting;
	uint64_t receive_calls, send_calls, wakeups, budget_used_up, backoffs;
	int granted_recv_buffer, granted_send_buffer;	/* bytes */
	unsigned reduced;
	uint64_t fds_refused;	/* received with descriptors that were closed:
				   not asked for, too many, no room */
};
/* Also valid in the `close` event. */
int	dgram_get_stats(const struct dgram_socket *, struct dgram_stats *);

/* ---- abort signals: dgram_abort(3) ---- */

/* Closes, once, all sockets that have it in options.signal.  -ENOMEM. */
int	dgram_abort_new(struct dgram_loop *, struct dgram_abort **ret);
/*
 * Any thread, signal handler.  As dgram_close(s, NULL, NULL) for each socket, in
 * the loop's turn; one that is opened with it later is closed at once.  Again,
 * and behind dgram_loop_free(): nothing.
 */
void	dgram_abort_trigger(struct dgram_abort *);
/*
 * At any time, also behind dgram_loop_free() or the trigger, which still takes
 * effect; sockets hold it.  NULL is nothing.
 */
void	dgram_abort_free(struct dgram_abort *);

/* ---- block lists: no loop; dgram_blocklist(3) ---- */

/*
 * A set of IP addresses; a rule for an IPv4 one holds for its mapped form, and
 * the reverse.  Any thread may check and share a list to which nothing is added
 * meanwhile.  -ENOMEM, and then a list is unchanged.
 */
int	dgram_block_list_new(struct dgram_block_list **ret);
/* At any time, any thread; sockets hold it.  NULL is nothing. */
void	dgram_block_list_free(struct dgram_block_list *);
/* Literals without a zone: else -EINVAL. */
int	dgram_block_list_add_address(struct dgram_block_list *, const char *);
/* Both included, of one family.  -EINVAL: last is before first. */
int	dgram_block_list_add_range(struct dgram_block_list *,
	    const char *first, const char *last);
/* prefix: 0 to 32, 0 to 128; bits of net behind it do not matter. */
int	dgram_block_list_add_subnet(struct dgram_block_list *, const char *net,
	    int prefix);
/*
 * The address, or one that it leads to (a wildcard, NAT64, 6to4), is in a rule.
 * The port does not matter.  Never of AF_UNIX, or of no address.
 */
bool	dgram_block_list_check(const struct dgram_block_list *,
	    const struct dgram_addr *);

#ifdef __cplusplus
}
#endif

#endif
