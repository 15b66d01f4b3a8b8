/* SPDX-License-Identifier: ISC */

/*
 * Intrusive lists: a doubly linked ring, and a queue of tasks.
 *
 * A ring is a head and nodes of the same type; an empty ring and a node that is
 * in none point at themselves, so that removal is always safe.
 */

#ifndef DGI_LIST_H
#define DGI_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* The struct that holds `member`, whose address is `ptr`. */
#define DGI_CONTAINER(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

struct dgi_list {
	struct dgi_list *next, *prev;
};

static inline void
dgi_list_init(struct dgi_list *l)
{
	l->next = l->prev = l;
}

static inline bool
dgi_list_empty(const struct dgi_list *l)
{
	return l->next == l;
}

/* Last before `head`, that is at the end of the ring. */
static inline void
dgi_list_append(struct dgi_list *head, struct dgi_list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void
dgi_list_remove(struct dgi_list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	dgi_list_init(node);
}

/* Moves all of `from` to the end of the ring `to`. */
static inline void
dgi_list_join(struct dgi_list *to, struct dgi_list *from)
{
	if (dgi_list_empty(from))
		return;
	from->next->prev = to->prev;
	from->prev->next = to;
	to->prev->next = from->next;
	to->prev = from->prev;
	dgi_list_init(from);
}

/* The same with a ring `to` that is not begun. */
static inline void
dgi_list_take(struct dgi_list *to, struct dgi_list *from)
{
	dgi_list_init(to);
	dgi_list_join(to, from);
}

/*
 * Something that is to be done once, later.  run() may free the task.  The
 * same link serves the queues in which a task waits before it is due.
 */
struct dgi_task {
	struct dgi_task *next;
	void (*run)(struct dgi_task *);
};

struct dgi_queue {
	struct dgi_task *head, **tail;
};

static inline void
dgi_queue_init(struct dgi_queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static inline void
dgi_queue_append(struct dgi_queue *q, struct dgi_task *t)
{
	t->next = NULL;
	*q->tail = t;
	q->tail = &t->next;
}

/* The head, or NULL. */
static inline struct dgi_task *
dgi_queue_shift(struct dgi_queue *q)
{
	struct dgi_task *t = q->head;

	if (t == NULL)
		return NULL;
	q->head = t->next;
	if (q->head == NULL)
		q->tail = &q->head;
	return t;
}

/* Moves all of `from` into the empty queue `to`. */
static inline void
dgi_queue_take(struct dgi_queue *to, struct dgi_queue *from)
{
	dgi_queue_init(to);
	if (from->head == NULL)
		return;
	*to = *from;
	dgi_queue_init(from);
}

#endif
