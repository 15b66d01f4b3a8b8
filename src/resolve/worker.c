/* SPDX-License-Identifier: ISC */

/*
 * Threads that wait in getaddrinfo(3).
 *
 * One lock guards all of it, and is held for moments only: nothing that waits
 * is done under it.  The other one is held by who calls the loop, so that it
 * cannot go meanwhile.
 *
 * A thread is started when more jobs wait than threads are idle.  Those that
 * hang in a look-up do not count among the `threads` that serve, so others are
 * started in their place; whoever comes back from there and finds as many others
 * serving as there may be, ends.
 *
 * An idle thread sleeps on the condition, or comes to look at the queue without
 * being called: it has just begun, or was called already.  So a job that is
 * queued needs a call if the idle are as many as the jobs that wait, it
 * included; if they are fewer, all of them were called, or come anyway.
 */

#include "core/plat.h"

#include <sys/types.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if DGI_HAVE_TLS_IN_STACK
#include <link.h>
#endif

#include "resolve/gai.h"
#include "resolve/worker.h"

/* Ticks that find a thread with the same job: it hangs. */
#define TICKS_STUCK	2u
/* Threads in all, for each that may serve. */
#define THREADS_MOST	4u

struct dgi_workers {
	pthread_mutex_t door;		/* taken before the other */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct dgi_list queued, running, done;	/* struct dgi_job */
	unsigned nqueued, nrunning;
	unsigned stuck;			/* of those that run */
	unsigned total;			/* threads, idle ones and all */
	unsigned threads;		/* that serve, at most */
	size_t stack;
	bool closed;			/* nobody but threads is here: read
					   under either lock */
	void (*ready)(void *arg);
	void *arg;
};

/* ---- jobs ---- */

struct dgi_job *
dgi_job_new(const char *name, int family)
{
	size_t size = strlen(name) + 1;
	struct dgi_job *job;
	int saved_errno = errno;

	job = malloc(sizeof(*job) + size);
	errno = saved_errno;
	if (job == NULL)
		return NULL;
	memset(job, 0, sizeof(*job));
	dgi_list_init(&job->link);
	job->family = family;
	memcpy(job->name, name, size);
	return job;
}

void
dgi_job_free(struct dgi_job *job)
{
	free(job->addrs);
	free(job);
}

static struct dgi_job *
first_job(struct dgi_list *list)
{
	return DGI_CONTAINER(list->next, struct dgi_job, link);
}

static void
free_jobs(struct dgi_list *list)
{
	struct dgi_job *job;

	while (!dgi_list_empty(list)) {
		job = first_job(list);
		dgi_list_remove(&job->link);
		dgi_job_free(job);
	}
}

static void
unqueue(struct dgi_workers *w, struct dgi_job *job)
{
	dgi_list_remove(&job->link);
	job->queued = false;
	w->nqueued--;
}

/* ---- threads ---- */

static void
destroy(struct dgi_workers *w)
{
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	pthread_mutex_destroy(&w->door);
	free(w);
}

/* The next job, also after a long sleep; NULL: one thread less is needed. */
static struct dgi_job *
next_job(struct dgi_workers *w)
{
	struct dgi_job *job;

	while (!w->closed && w->total - w->stuck <= w->threads) {
		if (dgi_list_empty(&w->queued)) {
			pthread_cond_wait(&w->wake, &w->lock);
			continue;
		}
		job = first_job(&w->queued);
		unqueue(w, job);
		dgi_list_append(&w->running, &job->link);
		w->nrunning++;
		return job;
	}
	return NULL;
}

/* There is something to take, or there was. */
static void
tell(struct dgi_workers *w)
{
	pthread_mutex_unlock(&w->lock);
	pthread_mutex_lock(&w->door);
	if (!w->closed)
		w->ready(w->arg);
	pthread_mutex_unlock(&w->door);
	pthread_mutex_lock(&w->lock);
}

/* It has run: to the loop, or away with it if there is none any more. */
static void
finish(struct dgi_workers *w, struct dgi_job *job)
{
	bool first = dgi_list_empty(&w->done);

	dgi_list_remove(&job->link);
	w->nrunning--;
	w->stuck -= job->ticks == TICKS_STUCK;
	if (w->closed) {
		dgi_job_free(job);
		return;
	}
	dgi_list_append(&w->done, &job->link);
	if (first)
		tell(w);
}

static void *
work(void *arg)
{
	struct dgi_workers *w = arg;
	struct dgi_job *job;
	struct dgram_addr *addrs;
	size_t n;
	int status;
	bool last;

	pthread_mutex_lock(&w->lock);
	while ((job = next_job(w)) != NULL) {
		pthread_mutex_unlock(&w->lock);
		addrs = NULL;
		n = 0;
		status = dgi_gai(job->name, job->family, &addrs, &n);
		pthread_mutex_lock(&w->lock);
		job->status = status;
		job->addrs = addrs;
		job->n = n;
		finish(w, job);
	}
	last = --w->total == 0 && w->closed;
	pthread_mutex_unlock(&w->lock);
	if (last)
		destroy(w);
	return NULL;
}

#if DGI_HAVE_TLS_IN_STACK
static int
add_tls(struct dl_phdr_info *info, size_t size, void *arg)
{
	size_t *sum = arg;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			*sum += info->dlpi_phdr[i].p_memsz +
			    info->dlpi_phdr[i].p_align;
	}
	return 0;
}
#endif

/*
 * No less than the system wants, in whole pages, and that much for the look-up:
 * what else comes from a stack is on top.
 */
static size_t
stack_size(size_t size)
{
	long least = sysconf(_SC_THREAD_STACK_MIN);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (least > 0 && size < (size_t)least)
		size = (size_t)least;
#if DGI_HAVE_TLS_IN_STACK
	(void)dl_iterate_phdr(add_tls, &size);
#endif
	return (size + page - 1) / page * page;
}

/* A thread takes no signal: they are for those that the program made. */
static bool
start_thread(struct dgi_workers *w)
{
	int saved_errno = errno;
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	bool ok;

	if (pthread_attr_init(&attr) != 0)
		return false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ok = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0 &&
	    pthread_attr_setstacksize(&attr, w->stack) == 0 &&
	    pthread_create(&thread, &attr, work, w) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	errno = saved_errno;
	return ok;
}

/* As many as are missing, and may be. */
static void
start_threads(struct dgi_workers *w)
{
	while (w->nqueued > w->total - w->nrunning &&
	    w->total - w->stuck < w->threads &&
	    w->total < w->threads * THREADS_MOST) {
		w->total++;
		if (!start_thread(w)) {
			w->total--;
			return;
		}
	}
}

/* ---- what the loop calls ---- */

int
dgi_workers_new(struct dgi_workers **ret, unsigned threads, size_t stack,
    void (*ready)(void *arg), void *arg)
{
	int saved_errno = errno;
	struct dgi_workers *w = calloc(1, sizeof(*w));

	errno = saved_errno;
	if (w == NULL)
		return -ENOMEM;
	if (pthread_mutex_init(&w->door, NULL) != 0)
		goto no_door;
	if (pthread_mutex_init(&w->lock, NULL) != 0)
		goto no_lock;
	if (pthread_cond_init(&w->wake, NULL) != 0)
		goto no_wake;
	dgi_list_init(&w->queued);
	dgi_list_init(&w->running);
	dgi_list_init(&w->done);
	w->threads = threads;
	w->stack = stack_size(stack);
	w->ready = ready;
	w->arg = arg;
	*ret = w;
	return 0;
no_wake:
	pthread_mutex_destroy(&w->lock);
no_lock:
	pthread_mutex_destroy(&w->door);
no_door:
	free(w);
	return -ENOMEM;
}

void
dgi_workers_free(struct dgi_workers *w)
{
	bool last;

	if (w == NULL)
		return;
	pthread_mutex_lock(&w->door);
	pthread_mutex_lock(&w->lock);
	w->closed = true;
	pthread_mutex_unlock(&w->door);
	free_jobs(&w->queued);
	free_jobs(&w->done);
	last = w->total == 0;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	if (last)
		destroy(w);
}

/* The locks may be held, by nobody: they are not even destroyed. */
void
dgi_workers_forget(struct dgi_workers *w)
{
	free(w);
}

int
dgi_workers_submit(struct dgi_workers *w, struct dgi_job *job)
{
	bool call = false;
	int r = 0;

	pthread_mutex_lock(&w->lock);
	dgi_list_append(&w->queued, &job->link);
	job->queued = true;
	w->nqueued++;
	start_threads(w);
	if (w->total == 0) {
		unqueue(w, job);
		r = -EAGAIN;
	} else {
		call = w->nqueued <= w->total - w->nrunning;
	}
	pthread_mutex_unlock(&w->lock);
	if (call)
		pthread_cond_signal(&w->wake);
	return r;
}

bool
dgi_workers_withdraw(struct dgi_workers *w, struct dgi_job *job)
{
	bool was;

	pthread_mutex_lock(&w->lock);
	was = job->queued;
	if (was)
		unqueue(w, job);
	pthread_mutex_unlock(&w->lock);
	return was;
}

void
dgi_workers_take(struct dgi_workers *w, struct dgi_list *to)
{
	pthread_mutex_lock(&w->lock);
	dgi_list_join(to, &w->done);
	pthread_mutex_unlock(&w->lock);
}

bool
dgi_workers_tick(struct dgi_workers *w)
{
	struct dgi_list *link;
	struct dgi_job *job;
	bool wait;

	pthread_mutex_lock(&w->lock);
	for (link = w->running.next; link != &w->running; link = link->next) {
		job = DGI_CONTAINER(link, struct dgi_job, link);
		if (job->ticks < TICKS_STUCK && ++job->ticks == TICKS_STUCK)
			w->stuck++;
	}
	start_threads(w);
	wait = w->nqueued > 0;
	pthread_mutex_unlock(&w->lock);
	return wait;
}
