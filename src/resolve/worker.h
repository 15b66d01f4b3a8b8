/* SPDX-License-Identifier: ISC */

/*
 * The threads of one loop that wait in getaddrinfo(3), and what they share with
 * it.
 *
 * A job is one look-up.  It belongs to who made it until it is submitted, then
 * to the workers, and again to who takes it when it is done:
 *
 *            a thread            its result            take
 *   QUEUED ------------> RUNNING ------------> DONE ----------> (the loop's)
 *    |  |                   |                   |
 *    |  | free              | free              | free
 *    |  +--> (freed)        v                   +--> (freed)
 *    | withdraw          ORPHAN ----> (freed by its thread)
 *    v
 *   (the loop's)
 *
 * What threads touch may outlive the loop, for nobody waits for a thread that
 * hangs in a name server's silence.  So it is malloc(3)'s and not the loop's,
 * and goes with the last of its users.
 */

#ifndef DGI_WORKER_H
#define DGI_WORKER_H

#include "core/plat.h"

#include <stdbool.h>
#include <stddef.h>

#include "dgram.h"
#include "core/list.h"

struct dgi_workers;

struct dgi_job {
	struct dgi_list link;		/* worker.c: of one of its queues */
	bool queued;			/* worker.c */
	unsigned ticks;			/* worker.c: that found it running */
	int family;			/* AF_UNSPEC, AF_INET, AF_INET6 */
	void *owner;			/* for who made it */
	/* When it is done: */
	int status;			/* 0 or negative, as in dgram.h */
	struct dgram_addr *addrs;	/* malloc(3)'s */
	size_t n;
	char name[];
};

/* malloc(3)'s; NULL: no memory. */
struct dgi_job	*dgi_job_new(const char *name, int family);
/* One that is not submitted. */
void	dgi_job_free(struct dgi_job *);

/*
 * No thread is started.  stack: bytes for a look-up, at least.  ready() is called
 * by a thread when there is something to take and there was nothing before, or
 * shortly after that; not any more once dgi_workers_free() has returned.  It must
 * not call what is here.
 */
int	dgi_workers_new(struct dgi_workers **, unsigned threads, size_t stack,
	    void (*ready)(void *arg), void *arg);
/*
 * Never waits for a thread: jobs that wait or are done are freed here, those that
 * run by their threads, which then end.  NULL is nothing.
 */
void	dgi_workers_free(struct dgi_workers *);
/*
 * The same in a child process, where there are none of the threads: takes no
 * lock, touches no job; all that were not taken are the caller's.
 */
void	dgi_workers_forget(struct dgi_workers *);

/* -EAGAIN: there is no thread and none can be started; the job is not taken. */
int	dgi_workers_submit(struct dgi_workers *, struct dgi_job *);
/* Out of the queue; false: a thread is at it, or it is done. */
bool	dgi_workers_withdraw(struct dgi_workers *, struct dgi_job *);
/* Moves all that is done to the end of a list, oldest first. */
void	dgi_workers_take(struct dgi_workers *, struct dgi_list *);
/*
 * To be called each DGI_WORKERS_TICK_MS while jobs may wait in the queue: a
 * thread that is found with the same job twice is stuck, and replaced if jobs
 * wait.  True: they still do, call again.
 */
#define DGI_WORKERS_TICK_MS	100u
bool	dgi_workers_tick(struct dgi_workers *);

#endif
