/* SPDX-License-Identifier: ISC */

/*
 * getaddrinfo(3) as a test wants it: for one test program, which has it by
 * including this file in its only source.  No name server is asked, nothing of
 * the system is read.
 *
 * What is known of a name is told by fake_answer() or fake_fail(); a name that
 * is four numbers, as 10-0-0-1, has the addresses 10.0.0.1 and fd00::10.0.0.1;
 * no other exists.  A name that is blocked is answered when it is released, or
 * never.
 *
 * What happens is in `fake`, which other threads write: looked at by
 * FAKE_UNTIL() and FAKE_CHECK().
 */

#ifndef DGT_FAKE_GAI_H
#define DGT_FAKE_GAI_H

#include "test.h"

#include <sys/types.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FAKE_NAMES	64
#define FAKE_LOG	64
#define FAKE_NAME_ROOM	300
/* Seconds for a FAKE_UNTIL() that does not come true. */
#define FAKE_PATIENCE	8

struct fake_name {
	char name[FAKE_NAME_ROOM];
	const char *addrs;	/* literals with blanks between, or NULL: none */
	int eai, err;		/* what it fails with, errno then; or 0 */
	bool blocked;
	unsigned calls;		/* begun */
	unsigned in;		/* of them not over */
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct fake_name names[FAKE_NAMES];
	unsigned nnames;
	/* Answers with all that is known of a name, whatever was asked for. */
	bool careless;
	/* Called by the thread that asks, before it waits. */
	void (*hook)(const char *name);
	unsigned calls, in, most;	/* of all names; most at a time */
	unsigned threads;		/* that have asked, and are not over */
	unsigned lists;			/* answers that are not freed */
	char log[FAKE_LOG][FAKE_NAME_ROOM];	/* the first, as they came */
	struct addrinfo hints;		/* of the last call */
	bool service;			/* it named one */
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER };

/* One piece of memory for each. */
struct fake_entry {
	struct addrinfo ai;
	struct sockaddr_storage ss;
};

static pthread_once_t fake_once = PTHREAD_ONCE_INIT;
static pthread_key_t fake_key;

/* ---- what is known ---- */

/* Under the lock; NULL: nothing. */
static inline struct fake_name *
fake_find(const char *name)
{
	unsigned i;

	for (i = 0; i < fake.nnames; i++) {
		if (strcmp(fake.names[i].name, name) == 0)
			return &fake.names[i];
	}
	return NULL;
}

static inline struct fake_name *
fake_make(const char *name)
{
	struct fake_name *f = fake_find(name);

	if (f == NULL) {
		if (fake.nnames == FAKE_NAMES)
			abort();
		f = &fake.names[fake.nnames++];
		snprintf(f->name, sizeof(f->name), "%s", name);
	}
	return f;
}

static inline void
fake_set(const char *name, const char *addrs, int eai, int err)
{
	struct fake_name *f;

	pthread_mutex_lock(&fake.lock);
	f = fake_make(name);
	f->addrs = addrs;
	f->eai = eai;
	f->err = err;
	pthread_mutex_unlock(&fake.lock);
}

/*
 * "10.0.0.1 fe80::1%3 unix": in this order; the last is an address of a family
 * that nobody asks for.  The string must stay.
 */
static inline void
fake_answer(const char *name, const char *addrs)
{
	fake_set(name, addrs, 0, 0);
}

static inline void
fake_fail(const char *name, int eai, int err)
{
	fake_set(name, NULL, eai, err);
}

static inline void
fake_block(const char *name)
{
	pthread_mutex_lock(&fake.lock);
	fake_make(name)->blocked = true;
	pthread_mutex_unlock(&fake.lock);
}

static inline void
fake_release(const char *name)
{
	pthread_mutex_lock(&fake.lock);
	fake_make(name)->blocked = false;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

/* ---- what happens ---- */

static inline unsigned
fake_calls(const char *name)
{
	struct fake_name *f;
	unsigned n;

	pthread_mutex_lock(&fake.lock);
	f = fake_find(name);
	n = f != NULL ? f->calls : 0;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

static inline struct timespec
fake_deadline(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += FAKE_PATIENCE;
	return ts;
}

/* What is said of fake.x is so now, or will be. */
#define FAKE_UNTIL(cond) do {						\
	struct timespec end_ = fake_deadline();				\
	bool is_;							\
	pthread_mutex_lock(&fake.lock);					\
	while (!(is_ = (cond)) && pthread_cond_timedwait(&fake.changed,	\
	    &fake.lock, &end_) == 0)					\
		;							\
	pthread_mutex_unlock(&fake.lock);				\
	cr_assert(is_, "never: %s", #cond);				\
} while (0)
#define FAKE_CHECK(cond) do {						\
	bool is_;							\
	pthread_mutex_lock(&fake.lock);					\
	is_ = (cond);							\
	pthread_mutex_unlock(&fake.lock);				\
	cr_assert(is_, "%s", #cond);					\
} while (0)

/* In the child of fork(2), where no other thread is. */
static inline void
fake_forked(void)
{
	static const pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static const pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
	unsigned i;

	fake.lock = lock;
	fake.changed = changed;
	fake.in = fake.threads = 0;
	for (i = 0; i < fake.nnames; i++)
		fake.names[i].in = 0;
}

/* ---- answers ---- */

/* A port and a flow label that nobody asked for: not to be relied on. */
static inline bool
fake_read(struct fake_entry *e, const char *text)
{
	struct sockaddr_in *in = (void *)&e->ss;
	struct sockaddr_in6 *in6 = (void *)&e->ss;
	char host[64];
	size_t len = strcspn(text, " %");

	snprintf(host, sizeof(host), "%.*s", (int)len, text);
	e->ai.ai_socktype = SOCK_DGRAM;
	e->ai.ai_addr = (struct sockaddr *)&e->ss;
	if (strcmp(host, "unix") == 0) {
		e->ai.ai_family = AF_UNIX;
		e->ai.ai_addrlen = sizeof(e->ss);
	} else if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
		e->ai.ai_family = AF_INET;
		e->ai.ai_addrlen = sizeof(*in);
		in->sin_port = htons(4242);
	} else if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
		e->ai.ai_family = AF_INET6;
		e->ai.ai_addrlen = sizeof(*in6);
		in6->sin6_port = htons(4242);
		in6->sin6_flowinfo = htonl(7);
		if (text[len] == '%')
			in6->sin6_scope_id = (uint32_t)atoi(text + len + 1);
	} else {
		return false;
	}
	e->ss.ss_family = (sa_family_t)e->ai.ai_family;
	return true;
}

/* Those of the family. */
static inline int
fake_list(const char *addrs, int family, struct addrinfo **ret)
{
	struct addrinfo **tail = ret;
	struct fake_entry *e;

	*ret = NULL;
	while (*(addrs += strspn(addrs, " ")) != '\0') {
		e = calloc(1, sizeof(*e));
		if (e == NULL || !fake_read(e, addrs))
			abort();
		addrs += strcspn(addrs, " ");
		if (family != AF_UNSPEC && family != e->ai.ai_family &&
		    !fake.careless) {
			free(e);
			continue;
		}
		*tail = &e->ai;
		tail = &e->ai.ai_next;
	}
	if (*ret == NULL)
		return EAI_NONAME;
	fake.lists++;
	return 0;
}

/* errno is changed in any case. */
static inline int
fake_result(const struct fake_name *f, const char *name, int family,
    struct addrinfo **ret)
{
	unsigned a, b, c, d;
	char text[128];
	int end = 0;

	errno = EDOM;
	if (f != NULL && f->eai != 0) {
		errno = f->err;
		return f->eai;
	}
	if (f != NULL && f->addrs != NULL)
		return fake_list(f->addrs, family, ret);
	if (sscanf(name, "%u-%u-%u-%u%n", &a, &b, &c, &d, &end) != 4 ||
	    name[end] != '\0')
		return EAI_NONAME;
	snprintf(text, sizeof(text), "%u.%u.%u.%u fd00::%u.%u.%u.%u", a, b, c,
	    d, a, b, c, d);
	return fake_list(text, family, ret);
}

/* ---- in place of those of the system ---- */

static inline void
fake_thread_over(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&fake.lock);
	fake.threads--;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

static inline void
fake_make_key(void)
{
	if (pthread_key_create(&fake_key, fake_thread_over) != 0)
		abort();
}

/* Under the lock. */
static inline void
fake_write_down(const char *name, const char *service,
    const struct addrinfo *hints)
{
	if (pthread_getspecific(fake_key) == NULL) {
		pthread_setspecific(fake_key, &fake);
		fake.threads++;
	}
	if (fake.calls < FAKE_LOG)
		snprintf(fake.log[fake.calls], FAKE_NAME_ROOM, "%s", name);
	fake.calls++;
	if (++fake.in > fake.most)
		fake.most = fake.in;
	fake.hints = *hints;
	fake.service = service != NULL;
	pthread_cond_broadcast(&fake.changed);
}

int
getaddrinfo(const char *restrict name, const char *restrict service,
    const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
	struct fake_name *f;
	int r;

	pthread_once(&fake_once, fake_make_key);
	pthread_mutex_lock(&fake.lock);
	fake_write_down(name, service, hints);
	f = fake_find(name);
	if (f != NULL) {
		f->calls++;
		f->in++;
	}
	if (fake.hook != NULL)
		fake.hook(name);
	while (f != NULL && f->blocked)
		pthread_cond_wait(&fake.changed, &fake.lock);
	fake.in--;
	if (f != NULL)
		f->in--;
	r = fake_result(f, name, hints->ai_family, ret);
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	return r;
}

void
freeaddrinfo(struct addrinfo *list)
{
	struct addrinfo *next;

	pthread_mutex_lock(&fake.lock);
	fake.lists--;
	pthread_mutex_unlock(&fake.lock);
	for (; list != NULL; list = next) {
		next = list->ai_next;
		/* The first member of its entry. */
		free(list);
	}
}

#endif
