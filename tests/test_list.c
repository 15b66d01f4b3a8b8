/* SPDX-License-Identifier: ISC */

/*
 * Rings and queues.
 */

#include "test.h"

#include "core/list.h"

struct item {
	int value;
	struct dgi_list node;
};

struct job {
	char before;			/* the task is not at the front */
	struct dgi_task task;
};

static int
value(struct dgi_list *node)
{
	return DGI_CONTAINER(node, struct item, node)->value;
}

/* The ring holds exactly the values first, first + 1, ..., both ways round. */
static void
check_ring(struct dgi_list *head, int first, int n)
{
	struct dgi_list *i;
	int v = first;

	for (i = head->next; i != head; i = i->next) {
		cr_assert(v < first + n, "too many");
		cr_assert_eq(value(i), v++);
	}
	cr_assert_eq(v, first + n);
	for (i = head->prev; i != head; i = i->prev)
		cr_assert_eq(value(i), --v);
	cr_assert_eq(v, first);
}

TEST(list, ring_keeps_order)
{
	struct dgi_list head;
	struct item items[5];
	int i;

	dgi_list_init(&head);
	cr_assert(dgi_list_empty(&head));
	for (i = 0; i < 5; i++) {
		items[i].value = i;
		dgi_list_append(&head, &items[i].node);
		check_ring(&head, 0, i + 1);
	}
	dgi_list_remove(&items[4].node);
	check_ring(&head, 0, 4);
	dgi_list_remove(&items[0].node);
	check_ring(&head, 1, 3);
	items[3].value = 2;
	dgi_list_remove(&items[2].node);
	check_ring(&head, 1, 2);
}

/* A removed node points at itself: once more must not harm the ring. */
TEST(list, ring_remove_twice)
{
	struct dgi_list head;
	struct item items[3];
	int i;

	dgi_list_init(&head);
	for (i = 0; i < 3; i++) {
		items[i].value = i;
		dgi_list_append(&head, &items[i].node);
	}
	dgi_list_remove(&items[2].node);
	cr_assert(dgi_list_empty(&items[2].node));
	items[1].value = 1;
	dgi_list_remove(&items[2].node);
	check_ring(&head, 0, 2);
	dgi_list_append(&head, &items[2].node);
	check_ring(&head, 0, 3);
}

TEST(list, ring_take)
{
	struct dgi_list from, to;
	struct item items[4];
	int i;

	dgi_list_init(&from);
	dgi_list_take(&to, &from);
	cr_assert(dgi_list_empty(&to) && dgi_list_empty(&from));
	for (i = 0; i < 3; i++) {
		items[i].value = i;
		dgi_list_append(&from, &items[i].node);
	}
	dgi_list_take(&to, &from);
	cr_assert(dgi_list_empty(&from));
	check_ring(&to, 0, 3);
	/* Both still work on their own. */
	items[3].value = 7;
	dgi_list_append(&from, &items[3].node);
	check_ring(&from, 7, 1);
	check_ring(&to, 0, 3);
	dgi_list_remove(&items[0].node);
	check_ring(&to, 1, 2);
}

/* A ring of one: its only node points at the head twice. */
TEST(list, ring_take_one)
{
	struct dgi_list from, to;
	struct item item = { .value = 3 };

	dgi_list_init(&from);
	dgi_list_append(&from, &item.node);
	dgi_list_take(&to, &from);
	check_ring(&to, 3, 1);
	dgi_list_remove(&item.node);
	cr_assert(dgi_list_empty(&to));
}

/* Behind what is there, as often as there is something. */
TEST(list, ring_join)
{
	struct dgi_list from, to;
	struct item items[6];
	int i;

	dgi_list_init(&from);
	dgi_list_init(&to);
	dgi_list_join(&to, &from);
	cr_assert(dgi_list_empty(&to) && dgi_list_empty(&from));
	for (i = 0; i < 6; i++) {
		items[i].value = i;
		dgi_list_append(&from, &items[i].node);
		if (i == 1 || i == 2 || i == 5) {
			dgi_list_join(&to, &from);
			cr_assert(dgi_list_empty(&from));
			check_ring(&to, 0, i + 1);
		}
	}
	dgi_list_join(&to, &from);
	check_ring(&to, 0, 6);
	dgi_list_remove(&items[0].node);
	check_ring(&to, 1, 5);
}

TEST(list, queue_is_fifo)
{
	struct dgi_queue q;
	struct dgi_task t[4];
	int i;

	dgi_queue_init(&q);
	cr_assert(dgi_queue_shift(&q) == NULL);
	for (i = 0; i < 4; i++)
		dgi_queue_append(&q, &t[i]);
	for (i = 0; i < 4; i++)
		cr_assert(dgi_queue_shift(&q) == &t[i]);
	cr_assert(dgi_queue_shift(&q) == NULL);
	/* The tail is back at the head: what is appended now is not lost. */
	dgi_queue_append(&q, &t[2]);
	dgi_queue_append(&q, &t[1]);
	cr_assert(dgi_queue_shift(&q) == &t[2]);
	cr_assert(dgi_queue_shift(&q) == &t[1]);
	cr_assert(dgi_queue_shift(&q) == NULL);
}

TEST(list, queue_take)
{
	struct dgi_queue from, to;
	struct dgi_task t[4];

	dgi_queue_init(&from);
	dgi_queue_take(&to, &from);
	cr_assert(dgi_queue_shift(&to) == NULL);
	/* Taken from an empty one, both ends are still its own. */
	dgi_queue_append(&to, &t[3]);
	cr_assert(from.head == NULL);
	cr_assert(dgi_queue_shift(&to) == &t[3]);

	dgi_queue_append(&from, &t[0]);
	dgi_queue_append(&from, &t[1]);
	dgi_queue_take(&to, &from);
	dgi_queue_append(&from, &t[2]);
	dgi_queue_append(&to, &t[3]);
	cr_assert(dgi_queue_shift(&to) == &t[0]);
	cr_assert(dgi_queue_shift(&to) == &t[1]);
	cr_assert(dgi_queue_shift(&to) == &t[3]);
	cr_assert(dgi_queue_shift(&to) == NULL);
	cr_assert(dgi_queue_shift(&from) == &t[2]);
	cr_assert(dgi_queue_shift(&from) == NULL);
}

TEST(list, container)
{
	struct job j;

	cr_assert(DGI_CONTAINER(&j.task, struct job, task) == &j);
}
