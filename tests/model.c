/* SPDX-License-Identifier: ISC */

/*
 * What must come of it: model.h says how it is known.
 */

#include "model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* An operation that waits for longer than this many turns is forgotten. */
#define CLOSE_TURNS	1
/* What could go on and does not, for so many turns, some of which do not wait. */
#define STUCK_TURNS	8
#define STUCK_NS	100000000u
/* So late may be what is late and waits, ns. */
#define LATE_NS		1000000u
/* Waits in a row that end at once for nothing. */
#define IDLE_MOST	64
#define SHORT_NS	100000u
/* Sends in a row that are tried when nothing has said that there is room. */
#define FUTILE_MOST	16

static void
mix(struct model *m, uint64_t v)
{
	m->report.digest = (m->report.digest ^ v) *
	    UINT64_C(0x9e3779b97f4a7c15);
	m->report.digest ^= m->report.digest >> 29;
}

void
m_trace(struct model *m, const char *what, int slot, int a, int result)
{
	m->trace[m->ntrace++ % M_TRACE] = (struct m_trace){ m->step, what,
	    slot, a, result };
	mix(m, (uint64_t)(unsigned)slot << 48 ^ (uint64_t)(unsigned)a << 24 ^
	    (uint64_t)(unsigned)result);
}

void
m_fail(struct model *m, const char *format, ...)
{
	const struct m_trace *t;
	va_list ap;
	unsigned i;

	if (m->failed)
		return;
	m->failed = true;
	fprintf(stderr, "the last steps:\n");
	for (i = m->ntrace < M_TRACE ? 0 : m->ntrace - M_TRACE; i < m->ntrace;
	    i++) {
		t = &m->trace[i % M_TRACE];
		fprintf(stderr, "%10" PRIu64 "  %-18s socket %2d  %6d  -> %d "
		    "%s\n", t->step, t->what, t->slot, t->a, t->result,
		    t->result < 0 ? dgram_err_name(t->result) : "");
	}
	fprintf(stderr, "model: seed %" PRIu64 ", step %" PRIu64 ", turn %"
	    PRIu64 ": ", m->seed, m->step, m->turn);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\n");
}

void
m_init(struct model *m, uint64_t seed)
{
	size_t i;

	memset(m, 0, sizeof(*m));
	m->seed = seed;
	m->rng = (seed + 7) * UINT64_C(0xd1342543de82ef95) | 1;
	for (i = 0; i < M_OPS; i++) {
		m->ops[i].next = m->free_ops;
		m->free_ops = &m->ops[i];
	}
	for (i = 0; i < M_STEPS; i++) {
		m->steps[i].next = m->free_steps;
		m->free_steps = &m->steps[i];
	}
	for (i = 0; i < M_PATTERN; i++)
		m->pattern[i] = (char)(sim_random(&m->rng) >> 56);
}

/* ---- operations ---- */

static void
queue_init(struct m_queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static void
append(struct m_queue *q, struct m_op *op)
{
	op->next = NULL;
	*q->tail = op;
	q->tail = &op->next;
}

static void
unlink_op(struct m_queue *q, struct m_op *op)
{
	struct m_op **p;

	for (p = &q->head; *p != op; p = &(*p)->next)
		if (*p == NULL)
			return;
	*p = op->next;
	if (op->next == NULL)
		q->tail = p;
}

struct m_op *
m_op_new(struct model *m, struct m_socket *ms, size_t n)
{
	struct m_op *op = m->free_ops;

	m->free_ops = op->next;
	m->ops_used++;
	m->next_id = (m->next_id + 1) & 0xfffff;
	if (m->next_id == 0)
		m->next_id = 1;
	op->next = NULL;
	op->id = m->next_id;
	op->slot = (uint8_t)ms->slot;
	op->silent = op->reply = op->arena = false;
	op->known = op->late = false;
	op->cut = NULL;
	op->name = 0;
	op->refused_at = 0;
	op->n = op->left = n;
	op->pos = op->went = 0;
	dgi_list_init(&op->one.link);
	op->one.over = false;
	op->one.op = op;
	op->v = &op->one;
	op->batch = NULL;
	return op;
}

void
m_op_free(struct model *m, struct m_op *op)
{
	if (op->batch != NULL) {
		op->batch->next = m->free_batches;
		m->free_batches = op->batch;
	}
	op->id = 0;
	op->next = m->free_ops;
	m->free_ops = op;
	m->ops_used--;
}

void *
m_arg(const struct m_op *op)
{
	return (void *)((uintptr_t)op->id << 12 | op->slot);
}

/* Found by id: those of a socket are few, and near the head. */
static struct m_op *
find_op(struct m_queue *q, uint32_t id)
{
	struct m_op *op;

	for (op = q->head; op != NULL && op->id != id; op = op->next)
		;
	return op;
}

/* ---- lines ---- */

void
m_lines_init(struct m_socket *ms)
{
	unsigned i;

	memset(ms->lines, 0, sizeof(ms->lines));
	for (i = 0; i < M_LINES; i++)
		dgi_list_init(&ms->lines[i].waiting);
}

static bool
is_first(const struct m_socket *ms, const struct m_line *line)
{
	return line == &ms->lines[0];
}

/* The line of datagrams to this name; NULL: none waits. */
static struct m_line *
find_line(struct m_socket *ms, const struct sim_name *to)
{
	struct m_line *line = ms->lines;

	if (ms->type != DGRAM_UNIX || to->family == 0)
		return line;
	while (++line < ms->lines + M_LINES) {
		if (line->waits > 0 && memcmp(&line->to, to, sizeof(*to)) == 0)
			return line;
	}
	return NULL;
}

/* It goes on as if nothing had been refused. */
static void
go_on(struct m_line *line)
{
	line->refusal = 0;
	line->now = line->timed = line->went = line->may_have = false;
	line->apart = 0;
}

static struct m_line *
line_for(struct m_socket *ms, const struct sim_name *to)
{
	struct m_line *line = find_line(ms, to);

	if (line != NULL)
		return line;
	for (line = ms->lines + 1; line->waits > 0; line++)
		;
	line->to = *to;
	go_on(line);
	return line;
}

static struct m_datagram *
head_of(const struct m_line *line)
{
	if (line->waits == 0)
		return NULL;
	return DGI_CONTAINER(line->waiting.next, struct m_datagram, link);
}

/* Accepted, with an address: to the end of its line. */
static void
enter_line(struct m_socket *ms, struct m_datagram *d)
{
	d->line = line_for(ms, &d->to);
	d->number = ++ms->pushes;
	dgi_list_append(&d->line->waiting, &d->link);
	d->line->waits++;
	ms->deadlines += d->deadline != 0;
}

static void
leave_line(struct m_socket *ms, struct m_datagram *d)
{
	struct m_line *line = d->line;

	/* Parked. */
	if (dgi_list_empty(&d->link))
		return;
	dgi_list_remove(&d->link);
	ms->deadlines -= d->deadline != 0;
	if (--line->waits == 0 && line->timed)
		go_on(line);
}

static void
enqueue(struct m_socket *ms, struct m_op *op)
{
	size_t i;

	append(&ms->queue, op);
	op->turn_queued = ms->m->turn;
	op->number = ++ms->pushes;
	ms->empty += op->n == 0;
	for (i = 0; i < op->n; i++) {
		op->v[i].op = op;
		op->v[i].over = false;
		enter_line(ms, &op->v[i]);
	}
}

void
m_asks(struct m_socket *ms, bool all_again)
{
	unsigned i;

	ms->asks = all_again;
	for (i = 0; i < M_LINES; i++)
		ms->lines[i].now = false;
}

/* Memory for a line may be missing: then all waits, as behind a UDP datagram. */
static bool
may_lack_memory(const struct m_socket *ms)
{
	return ms->m->sim.config.fail[SIM_ALLOC] != 0;
}

/* Everything behind the first line waits for it, what is set apart not. */
static bool
is_blocked(const struct m_socket *ms)
{
	return ms->lines[0].refusal != 0 && (!ms->lines[0].timed ||
	    (ms->reconnect && ms->lost));
}

/* The peer is waited for, to come back. */
static bool
is_lost(const struct m_socket *ms)
{
	return ms->reconnect && ms->lost && is_blocked(ms);
}

void
m_push(struct m_socket *ms, struct m_op *op)
{
	size_t i;

	enqueue(ms, op);
	ms->fresh = ms->m->in_callback > 0 ? ms->m->visited : NULL;
	for (i = 0; i < op->n; i++)
		ms->bytes += op->v[i].size;
	ms->queued += op->n;
	ms->sums.accepted += op->n;
}

void
m_park(struct m_socket *ms, struct m_op *op, unsigned name)
{
	struct m_name *nm = &ms->names[name];

	append(&nm->parked, op);
	ms->parked++;
	ms->queued++;
	ms->bytes += op->one.size;
	ms->sums.accepted++;
	if (!nm->look.looking)
		m_look_begins(ms, &nm->look, M_LOOK_SEND, name);
}

void
m_take_back(struct model *m, struct m_socket *ms, struct m_op *op)
{
	struct m_op *next;
	size_t i;

	for (; op != NULL; op = next) {
		next = op->next;
		if (op->known || op->left < op->n) {
			m_fail(m, "a datagram that was not accepted was sent");
			return;
		}
		unlink_op(&ms->queue, op);
		ms->empty -= op->n == 0;
		for (i = 0; i < op->n; i++) {
			ms->bytes -= op->v[i].size;
			leave_line(ms, &op->v[i]);
		}
		ms->queued -= op->n;
		ms->sums.accepted -= op->n;
		m_op_free(m, op);
	}
}

/* It is out of the queue, and this is what is to be told. */
static void
set_known(struct m_socket *ms, struct m_op *op, int status)
{
	unlink_op(&ms->queue, op);
	ms->empty -= op->n == 0;
	/* Unless all is in one line, nobody has seen when it was. */
	op->late = op->late || (op->n == 0 && ms->type == DGRAM_UNIX);
	op->known = true;
	op->status = status;
	op->turn = ms->m->turn;
	op->seq = ms->m->seq++;
	ms->untold += !op->silent;
	if (op->silent && (status >= 0 || op->reply || ms->closed))
		m_op_free(ms->m, op);
	else
		append(&ms->known, op);
}

/* The datagram is over. */
static void
step(struct m_socket *ms, struct m_datagram *d, int result)
{
	struct m_op *op = d->op;

	d->result = result;
	d->over = true;
	leave_line(ms, d);
	op->left--;
	while (op->pos < op->n && op->v[op->pos].over)
		op->pos++;
	ms->queued--;
	ms->bytes -= d->size;
	op->went += result >= 0;
	if (result >= 0) {
		ms->sums.sent++;
		ms->sums.sent_bytes += d->size;
	} else if (result == -ETIMEDOUT) {
		ms->sums.expired++;
		op->late = true;
	} else if (result == -ECANCELED) {
		ms->sums.cancelled++;
	} else {
		ms->sums.failed++;
	}
	if (op->left == 0)
		set_known(ms, op, op->batch != NULL ? (int)op->went : result);
}

/* It was late, and nobody has seen when it was dropped. */
static void
expire_one(struct m_socket *ms, struct m_datagram *d)
{
	struct m_line *line = d->line;
	const struct m_datagram *next;

	step(ms, d, -ETIMEDOUT);
	line->may_have = true;
	/* A flush that looked at it may have come to its budget. */
	ms->fresh = NULL;
	/* What is left of the line may have been none: it begins anew. */
	next = head_of(line);
	if (line->timed && (next == NULL || next->number > line->apart))
		line->not_before = 0;
}

/* Were errors told to somebody lately? */
static bool
is_unsure(const struct m_socket *ms)
{
	return ms->m->turn <= ms->unsure_turn;
}

static bool
is_late(const struct m_socket *ms, const struct m_datagram *d)
{
	return !d->over && d->deadline != 0 &&
	    d->deadline <= dgram_loop_now(ms->m->l);
}

/* An error that somebody is to be told of, kind DGRAM_IN_ICMP. */
static void
note(struct m_socket *ms, int status)
{
	if ((ms->events & M_EV_ERROR) == 0 || ms->nnotes == M_NOTES)
		return;
	if (ms->nnotes == 0)
		ms->notes_turn = ms->m->turn;
	ms->notes[ms->nnotes++] = status;
}

static void
tell_pending(struct m_socket *ms)
{
	if (ms->pending != 0)
		note(ms, ms->pending);
	ms->pending = 0;
}

void
m_fail_queue(struct m_socket *ms, int status, bool only_peer)
{
	struct m_op *op, *next;
	bool apart = false;
	unsigned i;

	for (i = 0; i < M_LINES; i++)
		apart = apart || ms->lines[i].timed;
	op = ms->queue.head;
	if (op != NULL && (!only_peer || (op->n > 0 &&
	    op->v[op->pos].to.family == 0)))
		tell_pending(ms);
	for (op = ms->queue.head; op != NULL; op = next) {
		next = op->next;
		if (only_peer && (op->n == 0 ||
		    op->v[op->pos].to.family != 0))
			continue;
		/* One line after the other. */
		op->late = op->late || apart;
		if (apart && op->n == 1)
			op->cut = op->v[0].line;
		if (op->n == 0)
			set_known(ms, op, 0);
		while (!op->known && op->left > 1)
			step(ms, &op->v[op->pos], status);
		if (!op->known)
			step(ms, &op->v[op->pos], status);
	}
}

/* ---- what the network sees ---- */

static bool
is_icmp(const struct m_socket *ms, int status)
{
	if (ms->type == DGRAM_UNIX)
		return false;
	if (status == -EACCES || status == -EMSGSIZE)
		return ms->state == M_CONNECTED;
	return status == -ECONNREFUSED || status == -EHOSTUNREACH ||
	    status == -ENETUNREACH || status == -EHOSTDOWN ||
	    status == -ENOPROTOOPT || status == -EPROTO ||
	    status == -EOPNOTSUPP;
}

static bool
bytes_are(const struct model *m, const struct iovec *iov, int n, size_t size,
    unsigned offset)
{
	const char *p = m->pattern + offset;
	size_t k;
	int i;

	for (i = 0; i < n && size > 0; i++) {
		k = iov[i].iov_len < size ? iov[i].iov_len : size;
		if (k > 0 && memcmp(iov[i].iov_base, p, k) != 0)
			return false;
		p += k;
		size -= k;
	}
	return size == 0;
}

static bool
matches(struct model *m, const struct sim_event *e, const struct m_datagram *d)
{
	struct sim_name to;
	size_t size = 0;
	int i;

	for (i = 0; i < e->iovcnt; i++)
		size += e->iov[i].iov_len;
	sim_name_of(&to, e->addr, e->len);
	if (size != d->size || memcmp(&to, &d->to, sizeof(to)) != 0)
		return false;
	return bytes_are(m, e->iov, e->iovcnt, size, d->offset);
}

static void	lose(struct m_socket *, int status);

/* What a send to a peer that is gone fails with. */
static bool
is_gone(int status)
{
	return status == -ECONNREFUSED || status == -ECONNRESET ||
	    status == -ENOTCONN;
}

static void
try_sent(struct model *m, struct m_socket *ms, struct sim_event *e)
{
	struct m_try *t = m->trying;
	const struct m_datagram *d = &t->v[t->pos];

	if (t->over || t->pos == t->n || !matches(m, e, d)) {
		m_fail(m, "dgram_try_send() sends what it must not");
		return;
	}
	if (d->deadline != 0 && d->deadline <= dgram_loop_now(m->l))
		m_fail(m, "dgram_try_send() sends what is late");
	e->tag = d->offset;
	if (e->result >= 0) {
		t->pos++;
		ms->sums.accepted++;
		ms->sums.sent++;
		ms->sums.sent_bytes += d->size;
		ms->lost_ms = 0;
		if (t->pending != 0)
			note(ms, t->pending);
		t->pending = 0;
	} else if (t->pending == 0 && is_icmp(ms, e->result)) {
		t->pending = e->result;
	} else if (ms->reconnect && !t->came_back && d->to.family == 0 &&
	    is_gone(e->result)) {
		t->came_back = true;
		t->status = e->result;
		lose(ms, e->result);
	} else {
		t->status = e->result;
		t->over = true;
		if (t->pending != 0 && t->pending != e->result)
			note(ms, t->pending);
	}
}

/* ENOBUFS: has the head waited for its second? */
static bool
gives_up(struct model *m, struct m_socket *ms)
{
	uint64_t now = m->in_turn || m->freeing ? dgram_loop_now(m->l) :
	    m->sim.now;
	size_t left = dgram_get_send_queue_count(ms->s) - ms->parked;
	struct m_op *op = ms->queue.head;

	if (ms->type == DGRAM_UNIX)
		return false;
	if (op->refused_at != 0 && now - op->refused_at >= 1000000000)
		return true;
	/* Not those that the call is still to queue. */
	for (; op != NULL && op->n - op->pos <= left; op = op->next) {
		left -= op->n - op->pos;
		if (op->refused_at == 0)
			op->refused_at = now;
	}
	return false;
}

/* Arrays of none in front of this number are over. */
static void
pass_empty(struct m_socket *ms, uint64_t number)
{
	struct m_op *op, *next;

	for (op = ms->queue.head; op != NULL && ms->empty > 0 &&
	    op->number < number; op = next) {
		next = op->next;
		if (op->n == 0)
			set_known(ms, op, 0);
	}
}

/*
 * The first of a line, with a smaller number, that the library cannot have
 * dropped when it goes on behind it: what it must have dropped is over.
 */
static struct m_datagram *
skip(struct model *m, struct m_socket *ms, struct m_line *line,
    uint64_t number, const struct sim_event *e)
{
	struct m_datagram *d;

	while ((d = head_of(line)) != NULL && d->number < number) {
		if (!line->timed)
			pass_empty(ms, d->number);
		if (is_late(ms, d)) {
			tell_pending(ms);
			expire_one(ms, d);
		} else if (d->op->arena && m->sim.alloc_failures > 0 &&
		    !matches(m, e, d)) {
			step(ms, d, -ENOMEM);
		} else {
			return d;
		}
	}
	return NULL;
}

/* Those that nobody has set apart go in order, whoever they are for. */
static void
check_fifo(struct model *m, struct m_socket *ms, const struct m_line *of,
    uint64_t number, const struct sim_event *e)
{
	struct m_line *line;

	for (line = ms->lines; line < ms->lines + M_LINES; line++) {
		if (line != of && !line->timed &&
		    skip(m, ms, line, number, e) != NULL)
			m_fail(m, "socket %u sends past one that was not "
			    "refused", ms->slot);
	}
}

/* What is sent now, or must be. */
static struct m_datagram *
next_of(struct model *m, struct m_socket *ms, const struct sim_event *e)
{
	struct m_datagram *d;
	struct m_line *line;
	struct sim_name to;

	sim_name_of(&to, e->addr, e->len);
	line = find_line(ms, &to);
	d = line != NULL ? skip(m, ms, line, UINT64_MAX, e) : NULL;
	if (d != NULL && !line->timed && ms->type == DGRAM_UNIX)
		check_fifo(m, ms, line, d->number, e);
	return d;
}

/* ---- full receivers, and peers that are gone ---- */

/* The library's time, which stands still only in a turn. */
static uint64_t
time_of(const struct model *m)
{
	return m->in_turn || m->freeing ? dgram_loop_now(m->l) : m->sim.now;
}

static unsigned
doubled(unsigned ms, unsigned most)
{
	return ms == 0 ? 1 : 2 * ms < most ? 2 * ms : most;
}

static unsigned
halved(unsigned ms)
{
	return ms < 2 ? 1 : ms / 2;
}

/* The receiver of a line is full: when is it tried again? */
static void
set_apart(struct m_socket *ms, struct m_line *line, const struct m_datagram *d)
{
	uint64_t now = time_of(ms->m), step;
	unsigned least = line->least_ms, most = line->most_ms;

	if (!line->timed) {
		least = most = 1;
	} else {
		line->least_ms = line->went || line->may_have ? halved(least) :
		    doubled(least, 50);
		line->most_ms = line->went ? halved(most) : doubled(most, 50);
		least = line->least_ms;
		most = line->most_ms;
		/* None of it may have been left, and this one came up then. */
		if (d->number > line->apart)
			least = 1;
	}
	ms->m->report.full++;
	line->timed = true;
	line->went = line->may_have = false;
	line->least_ms = least;
	line->most_ms = most;
	step = most * UINT64_C(1000000);
	line->not_after = least == most ? now + step - now % step : now + step;
	line->not_before = least == most ? line->not_after : 0;
	if (line->apart < d->number)
		line->apart = d->number;
}

static void
refuse(struct m_socket *ms, struct m_datagram *d, int status)
{
	struct m_line *line = d->line;
	bool peer = is_first(ms, line);

	line->now = true;
	if (ms->type == DGRAM_UNIX && (status == -ENOBUFS || !peer))
		set_apart(ms, line, d);
	line->refusal = status;
}

static void
check_early(struct m_socket *ms, const struct m_line *line)
{
	struct model *m = ms->m;

	uint64_t until = 0;

	if (line->timed)
		until = line->not_before;
	else if (is_first(ms, line) && is_lost(ms))
		until = ms->lost_until;
	if (!ms->asks && !m->freeing && !may_lack_memory(ms) &&
	    time_of(m) < until)
		m_fail(m, "socket %u tries %" PRIu64 " ns too early",
		    ms->slot, until - time_of(m));
}

/* Where the `error` of a loss that is not told yet is among the steps, or NULL. */
static struct m_step **
find_loss(struct m_socket *ms)
{
	struct m_step **p;

	for (p = &ms->steps; *p != NULL; p = &(*p)->next) {
		if ((*p)->loss)
			return p;
	}
	return NULL;
}

/* The peer has gone, and is to be connected to again, at once for a start. */
static void
lose(struct m_socket *ms, int status)
{
	struct m_step *st, **before;
	struct model *m = ms->m;

	ms->must_connect = true;
	if (ms->lost)
		return;
	ms->lost = true;
	m->report.lost++;
	ms->owes_connect = false;
	/* Back and gone again: one is told. */
	before = find_loss(ms);
	if (before != NULL) {
		(*before)->status = status;
		return;
	}
	st = m_step_new(m, true, true);
	if (st == NULL) {
		ms->unsure_turn = m->turn + 2;
		return;
	}
	st->loss = true;
	sim_name_of(&st->to, &ms->peer.u.sa, ms->peer.len);
	m_step_known(ms, st, status);
}

/* connect(2), of AF_UNIX, and not of a call that connects. */
static void
connects(struct model *m, struct m_socket *ms, const struct sim_event *e)
{
	struct m_line *peer = &ms->lines[0];
	struct sim_name to, name;

	sim_name_of(&to, e->addr, e->len);
	sim_name_of(&name, &ms->peer.u.sa, ms->peer.len);
	if (!ms->must_connect || memcmp(&to, &name, sizeof(to)) != 0) {
		m_fail(m, "socket %u connects, and must not", ms->slot);
		return;
	}
	ms->must_connect = false;
	if (e->result == 0) {
		ms->lost = false;
		m->report.found++;
		peer->went = true;
		if (!peer->timed)
			go_on(peer);
		m_connected(ms, &ms->peer);
		return;
	}
	if (m->trying != NULL) {
		m->trying->over = true;
		return;
	}
	ms->lost_ms = doubled(ms->lost_ms, 1000);
	ms->lost_until = time_of(m) + ms->lost_ms * UINT64_C(1000000);
	peer->now = true;
	peer->refusal = e->result;
	if (!peer->timed)
		return;
	/* It was full before, and has that time, too. */
	set_apart(ms, peer, head_of(peer));
	peer->least_ms = 1;
	peer->not_before = 0;
}

/* ---- names ---- */

static void	cancel_names(struct m_socket *, int status);

struct m_look *
m_look(struct m_socket *ms, unsigned i)
{
	return i < M_NAMES ? &ms->names[i].look :
	    i == M_NAMES ? &ms->bind_look : &ms->connect_look;
}

/* The one that began first, and so is to end first. */
static struct m_look *
first_look(struct model *m, struct m_socket **of)
{
	struct m_look *look, *first = NULL;
	unsigned i, k;

	for (i = 0; i < M_SOCKETS && m->looking > 0; i++) {
		for (k = 0; m->sockets[i].s != NULL && k < M_LOOKS; k++) {
			look = m_look(&m->sockets[i], k);
			if (!look->looking ||
			    (first != NULL && first->seq < look->seq))
				continue;
			first = look;
			*of = &m->sockets[i];
		}
	}
	return first;
}

void
m_look_begins(struct m_socket *ms, struct m_look *look, enum m_look_for what,
    unsigned name)
{
	uint64_t now = dgram_loop_now(ms->m->l);
	struct model *m = ms->m;
	struct m_socket *of;

	look->what = what;
	look->looking = true;
	look->asked = look->late = false;
	look->name = name;
	look->turn = m->turn;
	look->seq = m->look_ups++;
	look->deadline = m->sim.now + m->look_ns;
	m->looking++;
	m->look_key = first_look(m, &of)->deadline;
	if (m->look_key < now)
		m->look_key = now;
	m->look_seq = m->seq++;
	m->look_fresh = m->in_turn && !m->timers_ran;
}

void
m_look_ends(struct model *m, struct m_look *look)
{
	if (!look->looking)
		return;
	look->looking = false;
	m->looking--;
	if (look->asked)
		m->old_ids[m->nold++ % M_OLD_IDS] = look->id;
}

struct m_step *
m_step_new(struct model *m, bool connect, bool silent)
{
	struct m_step *st = m->free_steps;

	if (st == NULL)
		return NULL;
	m->free_steps = st->next;
	m->steps_used++;
	memset(st, 0, sizeof(*st));
	m->next_id = (m->next_id + 1) & 0xfffff;
	if (m->next_id == 0)
		m->next_id = 1;
	st->id = m->next_id;
	st->connect = connect;
	st->silent = silent;
	return st;
}

void
m_step_free(struct model *m, struct m_step *st)
{
	st->id = 0;
	st->next = m->free_steps;
	m->free_steps = st;
	m->steps_used--;
}

void *
m_step_arg(const struct m_socket *ms, const struct m_step *st)
{
	return (void *)((uintptr_t)st->id << 12 | ms->slot);
}

void
m_step_known(struct m_socket *ms, struct m_step *st, int status)
{
	struct m_step **p;

	st->next = NULL;
	st->status = status;
	st->turn = ms->m->turn;
	st->seq = ms->m->seq++;
	st->inside = ms->m->telling == ms;
	if (st->silent && (status == 0 || ms->closed)) {
		m_step_free(ms->m, st);
		return;
	}
	for (p = &ms->steps; *p != NULL; p = &(*p)->next)
		;
	*p = st;
}

/* A bind or connect ends: with the name, or with its address. */
static void
step_over(struct m_socket *ms, struct m_step *st, struct m_look *look,
    int status, bool of_name)
{
	m_look_ends(ms->m, look);
	if (of_name && status < 0 && status != -ECANCELED)
		st->name = (char)('0' + look->name);
	m_step_known(ms, st, status);
}

void
m_connect_over(struct m_socket *ms, int status, bool of_name)
{
	struct m_step *st = ms->connect;

	ms->connect = NULL;
	if (status == 0)
		m_connected(ms, &st->at);
	else
		ms->state = ms->state == M_BINDING_TO_CONNECT ? M_BINDING :
		    M_BOUND;
	step_over(ms, st, &ms->connect_look, status, of_name);
}

/* What waited for the bind that failed, and for names. */
static void
cancel_connect(struct m_socket *ms, int status)
{
	if (ms->connect == NULL)
		return;
	memset(&ms->connect->to, 0, sizeof(ms->connect->to));
	m_connect_over(ms, status, false);
}

void
m_bind_over(struct m_socket *ms, int status, bool of_name)
{
	struct m_step *st = ms->bind;

	ms->bind = NULL;
	step_over(ms, st, &ms->bind_look, status, of_name);
	if (status == 0) {
		ms->state = ms->state == M_BINDING_TO_CONNECT ? M_CONNECTING :
		    M_BOUND;
		if (dgram_fileno(ms->s) >= 0)
			m_bound(ms, true);
		return;
	}
	m_fail_queue(ms, status, false);
	cancel_names(ms, status);
	cancel_connect(ms, status);
	ms->state = M_UNBOUND;
	if (!ms->adopted)
		ms->fd = -1;
}

static void
end_look(struct m_socket *ms, struct m_look *look, int status)
{
	bool of_name = status != -ECANCELED;

	if (look->what == M_LOOK_SEND)
		m_answer(ms, &ms->names[look->name], status, of_name, NULL);
	else if (look->what == M_LOOK_BIND)
		m_bind_over(ms, status, of_name);
	else
		m_connect_over(ms, status, of_name);
}

/* When a loop is freed, look-ups end first, in the order in which they began. */
static void
cancel_looks(struct m_socket *ms)
{
	struct m_look *look, *first;
	unsigned i;

	do {
		first = NULL;
		for (i = 0; i < M_LOOKS; i++) {
			look = m_look(ms, i);
			if (look->looking &&
			    (first == NULL || look->seq < first->seq))
				first = look;
		}
		if (first != NULL)
			end_look(ms, first, -ECANCELED);
	} while (first != NULL);
}

/* The timer of the look-ups has run. */
static void
end_overdue(struct model *m)
{
	struct m_socket *ms = NULL;
	struct m_look *look;
	unsigned i, k;

	if (m->look_fresh || m->look_key > m->last_now)
		return;
	for (; (look = first_look(m, &ms)) != NULL && look->late;)
		end_look(ms, look, -ETIMEDOUT);
	m->look_key = look != NULL ? look->deadline : UINT64_MAX;
	if (m->look_key < m->last_now)
		m->look_key = m->last_now;
	m->look_seq = m->seq++;
	m->look_fresh = true;
	for (i = 0; i < M_SOCKETS; i++) {
		ms = &m->sockets[i];
		m_sync(ms);
		for (k = 0; ms->s != NULL && k < M_LOOKS; k++) {
			look = m_look(ms, k);
			look->late = look->deadline <= m->last_now;
		}
	}
}

/* Something is called that comes behind the timers of this turn. */
static void
past_timers(struct model *m)
{
	if (!m->in_turn || m->timers_ran)
		return;
	m->timers_ran = true;
	end_overdue(m);
}

void
m_check_state(struct m_socket *ms)
{
	struct model *m = ms->m;
	struct dgram_addr a;
	bool connects = ms->state >= M_CONNECTING ||
	    ms->state == M_BINDING_TO_CONNECT;

	if ((dgram_address(ms->s, &a) == -EBADF) != (ms->state < M_BOUND) ||
	    (dgram_remote_address(ms->s, &a) ==
	    DGRAM_ERR_SOCKET_DGRAM_NOT_CONNECTED) !=
	    (ms->state != M_CONNECTED))
		m_fail(m, "socket %u: is in another state than %d", ms->slot,
		    ms->state);
	if (ms->type == DGRAM_UNIX)
		return;
	if (dgram_bind(ms->s, -1, NULL, NULL, NULL) != (ms->state ==
	    M_UNBOUND ? DGRAM_ERR_SOCKET_BAD_PORT :
	    DGRAM_ERR_SOCKET_ALREADY_BOUND) ||
	    dgram_connect(ms->s, 9, ms->type == DGRAM_UDP4 ? "::1" :
	    "127.0.0.1", NULL, NULL) != (connects ?
	    DGRAM_ERR_SOCKET_DGRAM_IS_CONNECTED : -EINVAL))
		m_fail(m, "socket %u: binds or connects in state %d",
		    ms->slot, ms->state);
}

void
m_answer(struct m_socket *ms, struct m_name *nm, int status, bool of_name,
    const struct sim_name *to)
{
	struct model *m = ms->m;
	struct m_op *op;

	m_look_ends(m, &nm->look);
	while ((op = nm->parked.head) != NULL) {
		unlink_op(&nm->parked, op);
		ms->parked--;
		if (status == 0 && ms->state != M_CONNECTED) {
			op->one.to.family = to->family;
			op->one.to.u = to->u;
			enqueue(ms, op);
		} else {
			if (of_name && status < 0)
				op->name = (char)('0' + (nm - ms->names));
			step(ms, &op->one, status == 0 ? -EISCONN : status);
		}
	}
}

/* Look-ups that are cut off, in the order in which they began. */
static void
cancel_names(struct m_socket *ms, int status)
{
	struct m_name *nm, *first;

	do {
		first = NULL;
		for (nm = ms->names; nm < ms->names + M_NAMES; nm++) {
			if (nm->look.looking && (first == NULL ||
			    nm->look.seq < first->look.seq))
				first = nm;
		}
		if (first != NULL)
			m_answer(ms, first, status, false, NULL);
	} while (first != NULL);
}

/* In the array that was given to the library. */
static bool
is_told(const struct m_datagram *d)
{
	const struct m_op *op = d->op;

	return op->batch != NULL &&
	    op->batch->lib[d - op->v].result == -ETIMEDOUT;
}

/* Of AF_UNIX those of an array can be late at any time. */
static bool
was_dropped(const struct m_socket *ms, const struct m_datagram *d)
{
	const struct m_op *op = d->op;

	if (!is_late(ms, d))
		return false;
	if (ms->type != DGRAM_UNIX || op->batch == NULL)
		return d == &op->v[op->pos];
	return is_told(d);
}

/* Rather than the other, if they are not both dropped. */
static bool
is_dropped_first(const struct m_socket *ms, const struct m_datagram *d,
    const struct m_datagram *other)
{
	if (is_told(d) != is_told(other))
		return is_told(d);
	/* Of those that come up to be sent, one after the other. */
	if (ms->type == DGRAM_UNIX && d->line->timed != other->line->timed)
		return other->line->timed;
	if (ms->type == DGRAM_UNIX && !d->line->timed)
		return d->number < other->number;
	return d->deadline < other->deadline;
}

/* Of those that may have been dropped the one that was first. */
static struct m_datagram *
find_late(struct m_socket *ms)
{
	struct m_datagram *d, *first = NULL;
	struct m_op *op;
	size_t i;

	for (op = ms->queue.head; op != NULL && ms->deadlines > 0;
	    op = op->next) {
		for (i = op->pos; i < op->n; i++) {
			d = &op->v[i];
			if (was_dropped(ms, d) &&
			    (first == NULL || is_dropped_first(ms, d, first)))
				first = d;
			if (ms->type != DGRAM_UNIX)
				break;
		}
	}
	return first;
}

/* Bytes of the library's that it had no memory to copy. */
static struct m_op *
find_uncopied(struct m_socket *ms)
{
	struct m_op *op;

	for (op = ms->queue.head; op != NULL && !op->arena; op = op->next)
		;
	return ms->m->sim.config.fail[SIM_ALLOC] != 0 ? op : NULL;
}

/*
 * Among the timers of a turn: has a name that takes too long been given up, with
 * at most so many datagrams?
 */
static bool
drop_overdue(struct m_socket *ms, size_t most)
{
	struct model *m = ms->m;
	struct m_name *nm;
	struct m_op *op;
	size_t n;

	if (!m->in_turn || m->timers_ran || m->look_fresh || m->in_call ||
	    m->in_callback > 0 || m->look_key > m->last_now)
		return false;
	for (nm = ms->names; nm < ms->names + M_NAMES; nm++) {
		if (!nm->look.looking || !nm->look.late)
			continue;
		n = 0;
		for (op = nm->parked.head; op != NULL; op = op->next)
			n++;
		if (n <= most) {
			m_answer(ms, nm, -ETIMEDOUT, true, NULL);
			return true;
		}
	}
	return false;
}

/* What has left the queue unseen was late: all of what was, at some time. */
static void
drop_late(struct m_socket *ms, size_t count)
{
	struct model *m = ms->m;
	struct m_datagram *d;
	struct m_op *op;

	while (count < ms->queued && !m->failed) {
		if (drop_overdue(ms, ms->queued - count))
			continue;
		d = NULL;
		if (!m->borrowed || m->sim.alloc_failures == 0)
			d = find_late(ms);
		if (d != NULL) {
			if (d->op == ms->queue.head)
				tell_pending(ms);
			expire_one(ms, d);
		} else if ((op = find_uncopied(ms)) != NULL) {
			step(ms, &op->one, -ENOMEM);
		} else if ((d = find_late(ms)) != NULL) {
			expire_one(ms, d);
		} else {
			m_fail(m, "socket %u: %zu wait, not %zu", ms->slot,
			    count, ms->queued);
		}
	}
	if (count > ms->queued)
		m_fail(m, "socket %u: %zu wait, not %zu", ms->slot, count,
		    ms->queued);
}

/*
 * Where memory was missing it is not known which of the late were looked at, but
 * how many were: those of arrays are told there, others are not told.
 */
static void
drop_counted(struct m_socket *ms)
{
	struct dgram_stats st = { .size = sizeof(st) };
	struct m_datagram *d;

	if (dgram_get_stats(ms->s, &st) != 0)
		return;
	while (ms->sums.expired < st.expired && (d = find_late(ms)) != NULL)
		expire_one(ms, d);
}

/* The same of one line; false: it does not go on behind it. */
static bool
line_flushed(struct m_socket *ms, struct m_line *line)
{
	struct m_datagram *d;

	if (line->now) {
		line->apart = ms->pushes;
		return !is_blocked(ms) && line->timed && !may_lack_memory(ms);
	}
	while ((d = head_of(line)) != NULL) {
		pass_empty(ms, d->number);
		if (is_late(ms, d)) {
			tell_pending(ms);
			expire_one(ms, d);
			continue;
		}
		m_fail(ms->m, "socket %u: a flush leaves what nobody has "
		    "refused", ms->slot);
		return false;
	}
	return true;
}

void
m_flushed(struct m_socket *ms)
{
	unsigned i, n = ms->type == DGRAM_UNIX ? M_LINES : 1;

	if (ms->state < M_BOUND)
		return;
	for (i = 0; i < n && may_lack_memory(ms); i++) {
		if (!ms->lines[i].now)
			continue;
		if (ms->type == DGRAM_UNIX)
			drop_counted(ms);
		return;
	}
	for (i = 0; i < n; i++) {
		if (!line_flushed(ms, &ms->lines[i]))
			return;
	}
	pass_empty(ms, UINT64_MAX);
}

bool
m_can_go(struct m_socket *ms)
{
	unsigned i;

	if (ms->closed || ms->state < M_BOUND || is_blocked(ms))
		return false;
	if (ms->type != DGRAM_UNIX)
		return ms->queued > ms->parked &&
		    dgram_get_send_queue_count(ms->s) > ms->parked;
	for (i = 0; i < M_LINES && !may_lack_memory(ms); i++) {
		if (ms->lines[i].waits > 0 && ms->lines[i].refusal == 0)
			return true;
	}
	return false;
}

/* It is tried, and tried again, though the network has said when to. */
static void
check_futile(struct model *m, struct m_socket *ms, const struct m_line *line)
{
	const struct sim_socket *ss = sim_socket(&m->sim, ms->fd);

	if (m->in_call || m->freeing || line->refusal != -EAGAIN ||
	    line->timed || sim_is_writable(&m->sim, ss) || may_lack_memory(ms))
		ms->futile = 0;
	else if (++ms->futile > FUTILE_MOST)
		m_fail(m, "socket %u sends while there is no room", ms->slot);
}

/* The datagram has failed, for good. */
static void
sent_in_vain(struct m_socket *ms, struct m_datagram *d, int result)
{
	int before = ms->pending;

	/* Of those that nobody waits for only the first is told. */
	if (ms->type == DGRAM_UNIX && d->to.family == 0 && is_gone(result) &&
	    d->op->silent && !d->op->reply) {
		d->op->reply = ms->lost;
		ms->lost = true;
	}
	ms->pending = 0;
	d->line->went = true;
	step(ms, d, result);
	if (before != 0 && before != result)
		note(ms, before);
}

/* A datagram is tried: what was refused before? */
static void
attempted(struct m_socket *ms, struct m_line *line)
{
	check_early(ms, line);
	ms->attempted = ms->attempted || !line->timed;
	if (!is_first(ms, line) && !line->timed && ms->lines[0].waits == 0 &&
	    !is_lost(ms))
		go_on(&ms->lines[0]);
	line->now = false;
	if (!line->timed)
		line->refusal = 0;
	ms->fresh = NULL;
}

static void
sent(struct model *m, struct m_socket *ms, struct sim_event *e)
{
	struct m_datagram *d;

	if (m->trying != NULL) {
		try_sent(m, ms, e);
		return;
	}
	if (m->freeing && ms->parked > 0 &&
	    dgram_get_send_queue_count(ms->s) <= ms->queued - ms->parked)
		cancel_looks(ms);
	d = next_of(m, ms, e);
	/* Those behind that were dropped before what went now. */
	if (ms->type != DGRAM_UNIX && !m->in_call && e->first && ms->queued >
	    dgram_get_send_queue_count(ms->s)) {
		drop_late(ms, dgram_get_send_queue_count(ms->s));
		d = head_of(&ms->lines[0]);
	}
	if (d == NULL || !matches(m, e, d)) {
		m_fail(m, "socket %u sends what is not its next datagram",
		    ms->slot);
		return;
	}
	if (ms->goes_first && sim_open_fds(&m->sim) < m->fds_at_free)
		m_fail(m, "socket %u sends when others are closed", ms->slot);
	ms->goes_first = false;
	attempted(ms, d->line);
	e->tag = d->offset;
	if (e->result >= 0) {
		ms->futile = 0;
		if ((size_t)e->result != d->size)
			m_fail(m, "a datagram was sent in part");
		d->line->went = true;
		if (!ms->lost)
			ms->lost_ms = 0;
		step(ms, d, e->result);
		tell_pending(ms);
		if (ms->queue.head != NULL)
			ms->queue.head->refused_at = 0;
	} else if (e->result == -EAGAIN ||
	    (e->result == -ENOBUFS && !gives_up(m, ms))) {
		refuse(ms, d, e->result);
		check_futile(m, ms, d->line);
	} else if (ms->reconnect && d->to.family == 0 && is_gone(e->result)) {
		lose(ms, e->result);
	} else if (ms->pending == 0 && is_icmp(ms, e->result)) {
		ms->pending = e->result;
	} else {
		sent_in_vain(ms, d, e->result);
	}
}

static void
receive_error(struct m_socket *ms, int status)
{
	bool icmp = is_icmp(ms, status);

	ms->unheard = 0;
	if (!icmp && ms->recv_error == status)
		return;
	if (!icmp)
		ms->recv_error = status;
	if ((ms->events & M_EV_ERROR) != 0)
		ms->error_now = status;
}

/* What callbacks of other sockets have sent went before this one is read. */
static void
check_fresh(struct model *m, const struct m_socket *reads)
{
	struct m_socket *ms;
	unsigned i;

	for (i = 0; i < M_SOCKETS; i++) {
		ms = &m->sockets[i];
		if (ms->fresh == NULL || ms->fresh == reads || ms->s == NULL)
			continue;
		m_sync(ms);
		if (ms->fresh != NULL && m_can_go(ms))
			m_fail(m, "socket %u is not flushed in time", i);
	}
}

static void
received(struct model *m, struct m_socket *ms, const struct sim_event *e)
{
	struct m_rx *rx;

	if (ms->closed || ms->paused || (ms->events & M_EV_MESSAGE) == 0) {
		m_fail(m, "socket %u reads, and must not", ms->slot);
		return;
	}
	check_fresh(m, ms);
	if (e->result < 0) {
		if (e->result != -EAGAIN)
			receive_error(ms, e->result);
		return;
	}
	if (ms->nrx == M_RX) {
		m_fail(m, "socket %u reads too much at once", ms->slot);
		return;
	}
	ms->read = true;
	ms->recv_error = 0;
	rx = &ms->rx[ms->nrx++];
	rx->tag = e->tag;
	rx->size = e->size;
	sim_name_of(&rx->from, e->addr, e->len);
}

/* Whose descriptor it is: that of a call may have been made in it. */
static struct m_socket *
find_socket(struct model *m, int fd)
{
	struct m_socket *ms = m->of_fd[fd - SIM_FD];

	if (ms != NULL && ms->s != NULL && ms->fd == fd)
		return ms;
	ms = m->current;
	if (ms == NULL || ms->fd >= 0)
		return NULL;
	ms->fd = fd;
	m->of_fd[fd - SIM_FD] = ms;
	return ms;
}

/* `listening` or `connect` should have been told by now. */
static bool
is_state_overdue(const struct m_socket *ms)
{
	/* What was over before is told before. */
	uint64_t seq = ms->steps != NULL ? ms->steps->seq : UINT64_MAX;
	uint64_t turn = ms->m->turn;
	const struct m_step *st;

	for (st = ms->steps; st != NULL; st = st->next) {
		if (!st->silent && st->turn < turn)
			return true;
		if (st->silent && (ms->events & M_EV_ERROR) != 0)
			break;
	}
	return (ms->owes_listening && ms->listening_turn < turn &&
	    ms->listening_seq < seq &&
	    (ms->events & M_EV_LISTENING) != 0 &&
	    ms->events_turn < ms->listening_turn) ||
	    (ms->owes_connect && ms->connect_turn < turn &&
	    ms->connect_seq < seq && (ms->events & M_EV_CONNECT) != 0 &&
	    ms->events_turn < ms->connect_turn);
}

/* A wait of so long, -1: for ever, ends in time for what is due then. */
static void
check_due(struct m_socket *ms, uint64_t due, int64_t timeout_ns,
    const char *what)
{
	uint64_t now = dgram_loop_now(ms->m->l);

	if (due > now && timeout_ns >= 0 && (uint64_t)timeout_ns <= due - now)
		return;
	m_fail(ms->m, "waits for %" PRId64 " ns, but socket %u has %s %" PRId64
	    " ns from now", timeout_ns, ms->slot, what, (int64_t)(due - now));
}

/* What waits is tried again, and dropped, in time. */
static void
check_waiting(struct m_socket *ms, int64_t timeout_ns)
{
	const struct m_datagram *d;
	struct m_line *line;
	const struct m_op *op;
	size_t i;

	if (may_lack_memory(ms) || ms->closed || ms->state < M_BOUND)
		return;
	for (line = ms->lines; line < ms->lines + M_LINES; line++) {
		if (line->waits == 0 || !line->timed)
			continue;
		check_due(ms, line->not_after, timeout_ns, "a full receiver");
		if (!is_blocked(ms))
			line->apart = ms->pushes;
	}
	if (ms->lines[0].waits > 0 && !ms->lines[0].timed && is_lost(ms))
		check_due(ms, ms->lost_until, timeout_ns, "a lost peer");
	for (op = ms->queue.head; op != NULL && ms->deadlines > 0;
	    op = op->next) {
		for (i = op->pos; i < op->n; i++) {
			d = &op->v[i];
			if (!d->over && d->deadline != 0 &&
			    (i == op->pos || (d->line->timed &&
			    !is_blocked(ms))))
				check_due(ms, d->deadline, timeout_ns,
				    "a deadline");
		}
	}
}

/* Nothing that could be done now is left for after the wait. */
static void
check_wait(struct model *m, int64_t timeout_ns)
{
	const struct sim_socket *ss;
	const struct m_step *st;
	const struct m_op *op;
	struct m_socket *ms;
	unsigned i;

	past_timers(m);
	for (i = 0; i < M_SOCKETS; i++) {
		ms = &m->sockets[i];
		ss = sim_socket(&m->sim, ms->fd);
		/* It is told of room, which another may take before. */
		if (ms->futile > 0 && ss != NULL &&
		    sim_is_writable(&m->sim, ss))
			ms->futile = 0;
	}
	m->visited = NULL;
	m->waited = true;
	if (timeout_ns == 0)
		return;
	for (i = 0; i < M_SOCKETS; i++) {
		ms = &m->sockets[i];
		if (!m_may_touch(ms))
			continue;
		if (ms->closed || is_state_overdue(ms))
			m_fail(m, "waits, but socket %u owes an event", i);
		for (op = ms->known.head; op != NULL; op = op->next) {
			if (!op->silent)
				m_fail(m, "waits, but socket %u owes", i);
		}
		for (st = ms->steps; st != NULL; st = st->next) {
			if (!st->silent)
				m_fail(m, "waits, but socket %u owes", i);
		}
		if (ms->must_connect)
			m_fail(m, "waits, but socket %u has lost its peer", i);
		m_sync(ms);
		if (m_can_go(ms))
			m_fail(m, "waits, but socket %u can send", i);
		check_waiting(ms, timeout_ns);
	}
}

void
m_observe(struct sim *sim, struct sim_event *e)
{
	struct model *m = sim->arg;
	struct m_socket *ms;

	if (m->failed)
		return;
	if (e->what == SIM_WAIT) {
		check_wait(m, (int64_t)e->tag);
		return;
	}
	if (e->what == SIM_CONNECTED) {
		ms = m->of_fd[e->fd - SIM_FD];
		if (ms != NULL && ms->s != NULL && ms->fd == e->fd &&
		    ms->type == DGRAM_UNIX && ms->state == M_CONNECTED)
			connects(m, ms, e);
		return;
	}
	if (e->what != SIM_SENT && !m->in_call)
		past_timers(m);
	ms = find_socket(m, e->fd);
	if (ms != NULL && ms->must_connect)
		m_fail(m, "socket %u does not connect again", ms->slot);
	m->activity += e->result != -EAGAIN;
	mix(m, (uint64_t)e->what << 40 ^ (uint64_t)(unsigned)e->result << 8 ^
	    (unsigned)e->fd);
	if (ms == NULL)
		m_fail(m, "descriptor %d is nobody's", e->fd);
	else if (e->what == SIM_SENT)
		sent(m, ms, e);
	else if (e->what == SIM_RECEIVED)
		received(m, ms, e);
	else if (e->result < 0) {
		ms->unheard = 0;
		if ((ms->events & M_EV_ERROR) != 0)
			ms->error_now = e->result;
	}
}

/* ---- calls ---- */

void
m_enter(struct model *m, struct m_socket *ms)
{
	unsigned i;

	/* All of them: what an ended one had may be another's by now. */
	for (i = 0; i < M_SOCKETS; i++)
		m_sync(&m->sockets[i]);
	m->sim.nfailures = 0;
	if (!m->in_turn)
		m->sim.alloc_failures = 0;
	m->current = ms;
	if (ms != NULL)
		m_asks(ms, false);
	m->in_call = true;
	if (m->in_turn)
		m->stray_turn = m->turn;
}

void
m_leave(struct model *m, const char *what, struct m_socket *ms, int a, int r)
{
	m->in_call = false;
	m->current = NULL;
	if (ms != NULL)
		ms->asks = false;
	m_trace(m, what, ms != NULL ? (int)ms->slot : -1, a, r);
}

void
m_expect(struct model *m, int r, int expected)
{
	const struct m_trace *t = &m->trace[(m->ntrace - 1) % M_TRACE];

	if (r != expected)
		m_fail(m, "%s returned %d (%s), not %d (%s)", t->what, r,
		    dgram_err_name(r), expected, dgram_err_name(expected));
}

bool
m_is_injected(const struct model *m, int r, unsigned calls)
{
	unsigned i;

	if (r == -ENOMEM && m->sim.alloc_failures > 0)
		return true;
	for (i = 0; i < SIM_NCALLS; i++) {
		if ((calls & 1u << i) != 0 && r < 0 &&
		    sim_has_failed(&m->sim, (enum sim_call)i, r))
			return true;
	}
	return false;
}

static void
learn_address(struct m_socket *ms)
{
	struct sim_socket *ss = sim_socket(&ms->m->sim, ms->fd);
	struct dgram_addr a;

	ms->addr.len = 0;
	if (ss == NULL || dgram_address(ms->s, &a) < 0)
		return;
	if (ms->type == DGRAM_UDP4 && a.u.in.sin_addr.s_addr == 0)
		a.u.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (ms->type == DGRAM_UDP6 &&
	    IN6_IS_ADDR_UNSPECIFIED(&a.u.in6.sin6_addr))
		a.u.in6.sin6_addr.s6_addr[15] = 1;
	ms->addr = a;
}

void
m_bound(struct m_socket *ms, bool named)
{
	struct model *m = ms->m;
	int fd = dgram_fileno(ms->s);

	if (sim_socket(&m->sim, fd) == NULL) {
		m_fail(m, "bound, but to no descriptor");
		return;
	}
	ms->fd = fd;
	m->of_fd[fd - SIM_FD] = ms;
	if (ms->state < M_BOUND)
		ms->state = M_BOUND;
	learn_address(ms);
	if (!named)
		return;
	ms->receives = true;
	ms->owes_listening = true;
	ms->listening_turn = m->turn;
	ms->listening_seq = m->seq++;
}

void
m_connected(struct m_socket *ms, const struct dgram_addr *to)
{
	ms->any_peer = (ms->type == DGRAM_UDP4 &&
	    to->u.in.sin_addr.s_addr == htonl(INADDR_ANY)) ||
	    (ms->type == DGRAM_UDP6 &&
	    IN6_IS_ADDR_UNSPECIFIED(&to->u.in6.sin6_addr));
	ms->state = M_CONNECTED;
	ms->peer = *to;
	ms->owes_connect = true;
	ms->connect_again = ms->telling_connect;
	ms->connect_turn = ms->m->turn;
	ms->connect_seq = ms->m->seq++;
	learn_address(ms);
}

void
m_events_changed(struct m_socket *ms, unsigned before)
{
	ms->events_turn = ms->m->turn;
	if (((before ^ ms->events) & M_EV_ERROR) == 0)
		return;
	ms->unsure_turn = ms->m->turn + 2;
	/* What is to be told at once is not, to nobody. */
	if ((ms->events & M_EV_ERROR) == 0)
		ms->error_now = 0;
}

void
m_disconnected(struct m_socket *ms)
{
	struct m_step **loss, *st;

	ms->state = M_BOUND;
	ms->owes_connect = false;
	m_fail_queue(ms, -ENOTCONN, true);
	if (ms->type == DGRAM_UNIX)
		go_on(&ms->lines[0]);
	ms->lost = false;
	ms->lost_ms = 0;
	/* No news any more. */
	loss = find_loss(ms);
	if (loss != NULL) {
		st = *loss;
		*loss = st->next;
		m_step_free(ms->m, st);
	}
	learn_address(ms);
}

void
m_refused(struct m_socket *ms, size_t n)
{
	ms->sums.refused += n;
	ms->drains++;
	/* Those that are just being told do not count. */
	if ((ms->queued > 0 || (ms->untold > 0 &&
	    ms->m->in_callback == 0)) && !ms->must_drain) {
		ms->must_drain = true;
		ms->refused_turn = ms->m->turn;
		ms->must_drain_turn = 0;
	}
}

static void
forget(struct m_socket *ms)
{
	ms->s = NULL;
	ms->fd = -1;
}

/* Nobody has removed the path of another. */
static void
check_paths(struct model *m)
{
	const struct m_socket *ms;
	unsigned i;

	for (i = 0; i < M_SOCKETS && !m->freeing; i++) {
		ms = &m->sockets[i];
		if (ms->s != NULL && !ms->closed && !ms->ending &&
		    ms->owns_path && sim_has_file(&m->sim, ms->path) != 1)
			m_fail(m, "the path of socket %u is gone", i);
	}
}

void
m_closed(struct m_socket *ms)
{
	struct m_op *op, *next;
	struct m_step *st, **p;

	m_fail_queue(ms, -ECANCELED, false);
	cancel_names(ms, -ECANCELED);
	if (ms->bind != NULL)
		m_bind_over(ms, -ECANCELED, false);
	cancel_connect(ms, -ECANCELED);
	ms->closed = true;
	ms->ending = false;
	ms->closed_turn = ms->m->turn;
	ms->nnotes = ms->told_notes = 0;
	ms->error_now = 0;
	ms->owes_listening = ms->owes_connect = false;
	ms->fd = -1;
	for (op = ms->known.head; op != NULL; op = next) {
		next = op->next;
		if (op->silent) {
			unlink_op(&ms->known, op);
			m_op_free(ms->m, op);
		}
	}
	for (p = &ms->steps; (st = *p) != NULL;) {
		if (!st->silent) {
			p = &st->next;
			continue;
		}
		*p = st->next;
		m_step_free(ms->m, st);
	}
	if (ms->owns_path && sim_has_file(&ms->m->sim, ms->path) != 0)
		m_fail(ms->m, "socket %u left its path", ms->slot);
	ms->owns_path = false;
	check_paths(ms->m);
	ms->close_fns = ((ms->events & M_EV_CLOSE) != 0) + ms->end_fn +
	    ms->close_fn;
}

void
m_lose_path(struct model *m, const char *path)
{
	unsigned i;

	for (i = 0; i < M_SOCKETS; i++) {
		m_sync(&m->sockets[i]);
		if (strcmp(m->sockets[i].path, path) == 0)
			m->sockets[i].owns_path = false;
	}
}

void
m_sync(struct m_socket *ms)
{
	struct model *m = ms->m;
	size_t count;
	struct m_op *op;
	int fd;

	if (ms->s == NULL || ms->closed ||
	    (ms->queue.head == NULL && !ms->ending && !m->freeing))
		return;
	/* Those that it drops unseen are late, and it drops all of these. */
	count = dgram_get_send_queue_count(ms->s);
	fd = dgram_fileno(ms->s);
	if (m->freeing && fd == DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING) {
		cancel_looks(ms);
		m_flushed(ms);
		m_closed(ms);
		return;
	}
	drop_late(ms, count);
	if (!ms->ending || ms->queued > 0)
		return;
	/* A place in the queue without a datagram is not counted. */
	if (fd != DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING) {
		if (ms->queue.head == NULL && ms->bind == NULL &&
		    ms->connect == NULL)
			m_fail(m, "socket %u has ended, but is not closed",
			    ms->slot);
		return;
	}
	if (ms->bind != NULL || ms->connect != NULL)
		m_fail(m, "socket %u ends under a look-up", ms->slot);
	while ((op = ms->queue.head) != NULL)
		set_known(ms, op, 0);
	m_closed(ms);
}

/* ---- the ledger ---- */

static bool
may_differ(const struct m_socket *ms)
{
	/* Bytes of the library's that it could not copy. */
	return ms->m->sim.config.fail[SIM_ALLOC] != 0;
}

void
m_check_ledger(struct m_socket *ms)
{
	struct dgram_stats st = { .size = sizeof(st) };
	const struct m_sums *w = &ms->sums;
	struct model *m = ms->m;
	struct sim_socket *ss;
	uint64_t gone;

	if (dgram_get_stats(ms->s, &st) != 0) {
		m_fail(m, "there are no stats");
		return;
	}
	gone = st.sent + st.failed + st.expired + st.cancelled + st.waiting;
	if (gone != w->accepted)
		m_fail(m, "socket %u: %" PRIu64 " accepted, but the sums are %"
		    PRIu64, ms->slot, w->accepted, gone);
	if (st.sent != w->sent || st.sent_bytes != w->sent_bytes)
		m_fail(m, "socket %u: %" PRIu64 " datagrams went, it says %"
		    PRIu64, ms->slot, w->sent, st.sent);
	if (st.refused != w->refused)
		m_fail(m, "socket %u: %" PRIu64 " refused, it says %" PRIu64,
		    ms->slot, w->refused, st.refused);
	if (st.waiting != ms->queued)
		m_fail(m, "socket %u: %zu wait, it says %" PRIu64, ms->slot,
		    ms->queued, st.waiting);
	if (st.failed != w->failed || st.expired != w->expired ||
	    st.cancelled != w->cancelled)
		m_fail(m, "socket %u: %" PRIu64 " failed, %" PRIu64 " expired, "
		    "it says %" PRIu64 ", %" PRIu64, ms->slot, w->failed,
		    w->expired, st.failed, st.expired);
	if (st.received != w->received ||
	    st.received_bytes != w->received_bytes ||
	    st.truncated != w->truncated || st.discarded != 0)
		m_fail(m, "socket %u: %" PRIu64 " received, it says %" PRIu64,
		    ms->slot, w->received, st.received);
	ss = ms->closed ? NULL : sim_socket(&m->sim, ms->fd);
	if (ss != NULL && DGI_HAVE_MEMINFO && st.kernel_drops != ss->drops)
		m_fail(m, "socket %u: %" PRIu64 " drops, it says %" PRIu64,
		    ms->slot, ss->drops, st.kernel_drops);
	if (ms->queued > ms->count_limit)
		m_fail(m, "socket %u: over its limit", ms->slot);
}

/* ---- callbacks ---- */

/* The library has copied what it borrowed of its messages, or dropped it. */
static void
settle(struct model *m)
{
	struct m_op *op;
	unsigned i;

	if (!m->borrowed)
		return;
	for (i = 0; i < M_SOCKETS; i++) {
		m_sync(&m->sockets[i]);
		for (op = m->sockets[i].queue.head; op != NULL; op = op->next)
			op->arena = false;
	}
	m->borrowed = false;
}

/* Any callback of a socket. */
static void
called(struct m_socket *ms, const char *what, int a)
{
	struct model *m = ms->m;
	unsigned i;

	past_timers(m);
	for (i = 0; m->freeing && i < M_SOCKETS; i++)
		m_sync(&m->sockets[i]);
	m->activity++;
	m->visited = ms;
	m->report.events++;
	m_trace(m, what, (int)ms->slot, a, 0);
	if (m->in_call)
		m_fail(m, "%s of socket %u from inside of a call", what,
		    ms->slot);
	if (!m->in_turn && !m->freeing)
		m_fail(m, "%s of socket %u, but the loop does not run", what,
		    ms->slot);
}

/* An event, which a closed socket has not. */
static void
event(struct dgram_socket *s, struct m_socket *ms, unsigned bit,
    const char *what, int a)
{
	struct model *m = ms->m;

	called(ms, what, a);
	if (ms->s != s || (ms->events & bit) == 0)
		m_fail(m, "%s of a socket that has no such event", what);
	m_sync(ms);
	if (ms->closed)
		m_fail(m, "%s of socket %u, which is closed", what, ms->slot);
	if ((bit & ~(M_EV_LISTENING | M_EV_CONNECT)) == 0)
		return;
	if (is_state_overdue(ms))
		m_fail(m, "%s of socket %u before its state was told", what,
		    ms->slot);
}

static void
act(struct m_socket *ms, const struct dgram_message *msg, unsigned offset)
{
	struct model *m = ms->m;

	if (m->failed)
		return;
	m->in_callback++;
	m->telling = ms;
	m_play_inside(m, ms, msg, offset);
	m->telling = NULL;
	m->in_callback--;
}

static void
on_listening(struct dgram_socket *s, void *arg)
{
	struct m_socket *ms = arg;

	event(s, ms, M_EV_LISTENING, "- listening", 0);
	if (!ms->owes_listening)
		m_fail(ms->m, "listening once more");
	ms->owes_listening = false;
	act(ms, NULL, 0);
}

static void
on_connect(struct dgram_socket *s, void *arg)
{
	struct m_socket *ms = arg;
	const struct m_step *st;

	event(s, ms, M_EV_CONNECT, "- connect", 0);
	if (!ms->owes_connect)
		m_fail(ms->m, "connect once more");
	for (st = ms->steps; st != NULL && !is_unsure(ms); st = st->next) {
		if (st->connect && st->status < 0 && st->silent &&
		    (ms->events & M_EV_ERROR) != 0 &&
		    st->seq < ms->connect_seq)
			m_fail(ms->m, "connect before why");
	}
	if (ms->owes_listening && (ms->events & M_EV_LISTENING) != 0 &&
	    ms->listening_turn <= ms->connect_turn &&
	    ms->events_turn < ms->listening_turn &&
	    ms->listening_turn < ms->m->turn)
		m_fail(ms->m, "connect before listening");
	ms->owes_connect = ms->connect_again = false;
	ms->telling_connect = true;
	act(ms, NULL, 0);
	ms->telling_connect = false;
}

static bool
is_whole(const struct m_socket *ms, const struct dgram_message *msg,
    const struct m_rx *rx)
{
	struct iovec iov = { .iov_len = msg->size };

	memcpy(&iov.iov_base, &msg->data, sizeof(msg->data));
	return bytes_are(ms->m, &iov, 1, msg->size, (unsigned)rx->tag);
}

static void
check_message(struct m_socket *ms, const struct dgram_message *msg,
    const struct m_rx *rx)
{
	bool cut = rx->size > ms->max_datagram;
	struct model *m = ms->m;
	struct sim_name from;

	if (msg->size != (cut ? ms->max_datagram : rx->size) ||
	    ((msg->flags & DGRAM_TRUNCATED) != 0) != cut ||
	    (msg->wire_size != rx->size && (DGI_HAVE_TRUE_LENGTH || !cut)))
		m_fail(m, "a datagram of %zu bytes came as one of %zu",
		    rx->size, msg->size);
	if (!is_whole(ms, msg, rx))
		m_fail(m, "socket %u: other bytes were sent", ms->slot);
	if (ms->no_remote) {
		if (msg->remote != NULL)
			m_fail(m, "an address that was not asked for");
	} else {
		sim_name_of(&from, &msg->remote->u.sa, msg->remote->len);
		if (memcmp(&from, &rx->from, sizeof(from)) != 0)
			m_fail(m, "socket %u: another has sent it", ms->slot);
	}
	ms->sums.received++;
	ms->sums.received_bytes += msg->size;
	ms->sums.truncated += cut;
	m->report.received++;
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *msg, size_t n,
    void *arg)
{
	struct m_socket *ms = arg;
	struct model *m = ms->m;
	struct m_rx rx, last;
	size_t i;

	settle(m);
	event(s, ms, M_EV_MESSAGE, "- message", (int)n);
	if (ms->paused)
		m_fail(m, "a message while paused");
	if (n != ms->nrx || n == 0 || n > m->batch || n > m->budget ||
	    (ms->per_call != 0 && n > ms->per_call)) {
		m_fail(m, "socket %u: %u datagrams came, %zu are told",
		    ms->slot, ms->nrx, n);
		return;
	}
	for (i = 0; i < n && !m->failed; i++)
		check_message(ms, &msg[i], &ms->rx[i]);
	last = ms->rx[n - 1];
	ms->nrx = 0;
	i = m_below(m, (unsigned)n);
	rx = ms->rx[i];
	act(ms, &msg[i], (unsigned)rx.tag);
	/* Valid until here, whatever was done. */
	if (!m->failed && !is_whole(ms, &msg[n - 1], &last))
		m_fail(m, "the bytes of a message changed under it");
}

/* Silent failures before this one in the list must have been told. */
static void
drop_silent(struct m_socket *ms, const struct m_op *until)
{
	struct model *m = ms->m;
	struct m_op *op, *next;

	for (op = ms->known.head; op != until && op != NULL && !until->late;
	    op = next) {
		next = op->next;
		if (!op->silent || op->late)
			continue;
		if ((ms->events & M_EV_ERROR) != 0 && !ms->closed &&
		    !is_unsure(ms))
			m_fail(m, "socket %u: a failure was not told",
			    ms->slot);
		unlink_op(&ms->known, op);
		m_op_free(m, op);
	}
}

/* Is it the turn of this one, which is over? */
static void
check_order(struct m_socket *ms, const struct m_op *until)
{
	const struct m_op *op;

	for (op = ms->known.head; op != until && op != NULL; op = op->next) {
		if (!op->silent && ((!op->late && !until->late) ||
		    (op->cut != NULL && op->cut == until->cut)))
			m_fail(ms->m, "socket %u: completions out of order",
			    ms->slot);
	}
}

/* Was it the name, and which? */
static bool
is_failure_of(const struct m_op *op, const struct dgram_error *e)
{
	if (op->name == 0)
		return e->kind == DGRAM_IN_SEND && e->host == NULL;
	return e->kind == DGRAM_IN_LOOKUP && e->host != NULL &&
	    e->host[5] == op->name && strcmp(e->syscall, "getaddrinfo") == 0;
}

static struct m_op *
find_silent(struct m_socket *ms, const struct dgram_error *e)
{
	struct m_op *op;

	for (op = ms->known.head; op != NULL; op = op->next) {
		if (op->silent && op->status == e->status &&
		    is_failure_of(op, e))
			break;
	}
	return op;
}

static void
failed_send(struct m_socket *ms, const struct dgram_error *e)
{
	struct m_op *op;

	op = find_silent(ms, e);
	if (op == NULL && is_unsure(ms))
		return;
	if (op == NULL) {
		m_fail(ms->m, "socket %u: error %s of no send", ms->slot,
		    dgram_err_name(e->status));
		return;
	}
	drop_silent(ms, op);
	unlink_op(&ms->known, op);
	m_op_free(ms->m, op);
}

static bool
is_failure_of_step(const struct m_step *st, const struct dgram_error *e)
{
	struct sim_name to;

	if (st->name != 0)
		return e->kind == DGRAM_IN_LOOKUP && e->host != NULL &&
		    e->host[5] == st->name && e->addr == NULL &&
		    strcmp(e->syscall, "getaddrinfo") == 0;
	memset(&to, 0, sizeof(to));
	if (e->addr != NULL)
		sim_name_of(&to, &e->addr->u.sa, e->addr->len);
	return e->host == NULL && memcmp(&to, &st->to, sizeof(to)) == 0 &&
	    e->kind == (st->connect ? DGRAM_IN_CONNECT : DGRAM_IN_BIND) &&
	    strcmp(e->syscall, st->connect ? "connect" : "bind") == 0;
}

/* It is told: those before it have been. */
static void
step_told(struct m_socket *ms, struct m_step *until)
{
	struct m_step *st;

	while ((st = ms->steps) != until) {
		if (!st->silent)
			m_fail(ms->m, "socket %u: binds and connects out of "
			    "order", ms->slot);
		else if ((ms->events & M_EV_ERROR) != 0 && !is_unsure(ms))
			m_fail(ms->m, "socket %u: a failure was not told",
			    ms->slot);
		ms->steps = st->next;
		m_step_free(ms->m, st);
	}
	ms->steps = until->next;
}

/* The `error` of a bind or connect without completion? */
static bool
failed_step(struct m_socket *ms, const struct dgram_error *e)
{
	struct m_step *st;

	for (st = ms->steps; st != NULL; st = st->next) {
		if (st->silent && st->status == e->status &&
		    is_failure_of_step(st, e))
			break;
	}
	if (st == NULL)
		return false;
	step_told(ms, st);
	m_step_free(ms->m, st);
	return true;
}

static void
on_error(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	struct m_socket *ms = arg;
	struct model *m = ms->m;

	event(s, ms, M_EV_ERROR, "- error", e->status);
	if (e->status >= 0)
		m_fail(m, "an error without status");
	if ((e->kind == DGRAM_IN_ICMP || e->kind == DGRAM_IN_RECEIVE) &&
	    ms->type != DGRAM_UNIX &&
	    (e->addr != NULL) != (ms->state == M_CONNECTED))
		m_fail(m, "socket %u: an error of another address", ms->slot);
	if (ms->error_now != 0) {
		if (e->status != ms->error_now || e->kind !=
		    (is_icmp(ms, e->status) ? DGRAM_IN_ICMP : DGRAM_IN_RECEIVE))
			m_fail(m, "socket %u: another error", ms->slot);
		ms->error_now = 0;
	} else if (failed_step(ms, e)) {
		/* It is. */
	} else if (e->kind == DGRAM_IN_SEND || e->kind == DGRAM_IN_LOOKUP) {
		failed_send(ms, e);
	} else if (e->kind == DGRAM_IN_ICMP && ms->told_notes < ms->nnotes &&
	    ms->notes[ms->told_notes] == e->status) {
		if (++ms->told_notes == ms->nnotes)
			ms->told_notes = ms->nnotes = 0;
		ms->notes_turn = m->turn;
	} else if (!is_unsure(ms) &&
	    (e->kind != DGRAM_IN_ICMP || !may_differ(ms))) {
		m_fail(m, "socket %u: error %s of kind %d out of nowhere",
		    ms->slot, dgram_err_name(e->status), e->kind);
	}
	act(ms, NULL, 0);
}

static void
on_drain(struct dgram_socket *s, void *arg)
{
	struct m_socket *ms = arg;

	event(s, ms, M_EV_DRAIN, "- drain", 0);
	if (ms->drains == 0)
		m_fail(ms->m, "socket %u: drain, but nothing was refused",
		    ms->slot);
	else
		ms->drains--;
	ms->must_drain = false;
	act(ms, NULL, 0);
}

/* The last call for this socket has been made. */
static void
gone(struct m_socket *ms)
{
	struct model *m = ms->m;

	if (--ms->close_fns > 0)
		return;
	if (ms->known.head != NULL || ms->steps != NULL)
		m_fail(m, "socket %u is gone, but owes completions", ms->slot);
	forget(ms);
}

static void
on_close(struct dgram_socket *s, void *arg)
{
	struct m_socket *ms = arg;
	struct model *m = ms->m;

	called(ms, "- close", 0);
	m_sync(ms);
	if (ms->s != s || !ms->closed || ms->close_told) {
		m_fail(m, "close of a socket that is not closed");
		return;
	}
	if (ms->known.head != NULL || ms->steps != NULL)
		m_fail(m, "socket %u: close before its completions", ms->slot);
	ms->close_told = true;
	m_check_ledger(ms);
	act(ms, NULL, 0);
	gone(ms);
}

void
m_end_fn(void *arg)
{
	struct m_socket *ms = arg;

	called(ms, "- end fn", 0);
	m_sync(ms);
	if (ms->s == NULL || !ms->end_fn || !ms->closed ||
	    ((ms->events & M_EV_CLOSE) != 0 && !ms->close_told)) {
		m_fail(ms->m, "dgram_end() calls back too early, or twice");
		return;
	}
	ms->end_fn = false;
	gone(ms);
}

void
m_close_fn(void *arg)
{
	struct m_socket *ms = arg;

	called(ms, "- close fn", 0);
	if (ms->s == NULL || !ms->close_fn || !ms->closed || ms->end_fn ||
	    ((ms->events & M_EV_CLOSE) != 0 && !ms->close_told)) {
		m_fail(ms->m, "dgram_close() calls back too early, or twice");
		return;
	}
	ms->close_fn = false;
	gone(ms);
}

/* A batch was told: what of each? */
static void
check_results(struct model *m, const struct m_op *op)
{
	size_t i;
	int r;

	for (i = 0; i < op->n; i++) {
		r = op->batch->lib[i].result;
		if (r == op->v[i].result)
			continue;
		m_fail(m, "datagram %zu of %zu: %d is told, not %d", i, op->n,
		    r, op->v[i].result);
	}
}

/* It completes, but nobody has seen it leave: it was late. */
static void
expire(struct m_socket *ms, struct m_op *op)
{
	size_t i;

	for (i = op->pos; i < op->n && !op->known; i++) {
		if (is_late(ms, &op->v[i]))
			expire_one(ms, &op->v[i]);
	}
	if (!op->known && op->n == 0) {
		/* Nobody has seen when. */
		op->late = true;
		set_known(ms, op, 0);
	}
}

void
m_done(struct dgram_socket *s, int status, void *arg)
{
	struct m_socket *ms = dgram_arg(s);
	struct model *m = ms->m;
	struct dgram_error e;
	const struct m_step *st;
	struct m_op *op;
	int r;

	called(ms, "- done", status);
	m->report.completions++;
	m_sync(ms);
	op = find_op(&ms->known, (uint32_t)((uintptr_t)arg >> 12));
	if (op == NULL) {
		op = find_op(&ms->queue, (uint32_t)((uintptr_t)arg >> 12));
		if (op != NULL)
			expire(ms, op);
	}
	if (ms->s != s || op == NULL || op->silent || !op->known) {
		m_fail(m, "socket %u: a completion for nobody, or too early",
		    ms->slot);
		return;
	}
	if (is_state_overdue(ms))
		m_fail(m, "socket %u: done before its state was told",
		    ms->slot);
	if (ms->close_told)
		m_fail(m, "socket %u: done after close", ms->slot);
	for (st = ms->steps; st != NULL; st = st->next) {
		if (!st->silent && !st->inside && st->seq < op->seq)
			m_fail(m, "socket %u: a send is told before what made "
			    "it", ms->slot);
	}
	check_order(ms, op);
	drop_silent(ms, op);
	if (status != op->status)
		m_fail(m, "socket %u: done says %d (%s), it was %d (%s)",
		    ms->slot, status, dgram_err_name(status), op->status,
		    dgram_err_name(op->status));
	r = dgram_last_error(s, &e);
	if (status < 0 ? r != 0 || e.status != status ||
	    !is_failure_of(op, &e) : r != -ENOENT)
		m_fail(m, "socket %u: another last error", ms->slot);
	if (op->batch != NULL)
		check_results(m, op);
	unlink_op(&ms->known, op);
	m_op_free(m, op);
	ms->untold--;
	act(ms, NULL, 0);
}

/* `listening` and `connect` come in front of what tells of the same. */
static void
check_told_before(struct m_socket *ms, const struct m_step *st)
{
	bool sure = ms->events_turn != ms->m->turn;

	if (ms->closed)
		return;
	if ((st->connect || st->status == 0) && ms->owes_listening) {
		if (sure && (ms->events & M_EV_LISTENING) != 0)
			m_fail(ms->m, "socket %u: done before listening",
			    ms->slot);
		ms->owes_listening = false;
	}
	if (st->connect && st->status == 0 && ms->owes_connect &&
	    !ms->connect_again) {
		if (sure && (ms->events & M_EV_CONNECT) != 0)
			m_fail(ms->m, "socket %u: done before connect",
			    ms->slot);
		ms->owes_connect = false;
	}
}

void
m_step_done(struct dgram_socket *s, int status, void *arg)
{
	struct m_socket *ms = dgram_arg(s);
	struct model *m = ms->m;
	struct dgram_error e;
	struct m_step *st;
	int r;

	called(ms, "- step done", status);
	m->report.completions++;
	m_sync(ms);
	for (st = ms->steps; st != NULL && st->id !=
	    (uint32_t)((uintptr_t)arg >> 12); st = st->next)
		;
	if (ms->s != s || st == NULL || st->silent || ms->close_told) {
		m_fail(m, "socket %u: a bind or connect of nobody, or too "
		    "early", ms->slot);
		return;
	}
	if (status != st->status)
		m_fail(m, "socket %u: done says %d (%s), it was %d (%s)",
		    ms->slot, status, dgram_err_name(status), st->status,
		    dgram_err_name(st->status));
	step_told(ms, st);
	check_told_before(ms, st);
	r = dgram_last_error(s, &e);
	if (status < 0 ? r != 0 || e.status != status ||
	    !is_failure_of_step(st, &e) : r != -ENOENT)
		m_fail(m, "socket %u: another last error", ms->slot);
	m_step_free(m, st);
	act(ms, NULL, 0);
}

/* Who is to be asked for next, of all. */
static bool
is_next_asked(struct model *m, const struct m_look *look)
{
	const struct m_look *other;
	unsigned i, k;

	for (i = 0; i < M_SOCKETS; i++) {
		for (k = 0; m->sockets[i].s != NULL && k < M_LOOKS; k++) {
			other = m_look(&m->sockets[i], k);
			if (other->looking && !other->asked &&
			    other->seq < look->seq)
				return false;
		}
	}
	return true;
}

void
m_lookup(struct dgram_socket *s, uint64_t id, const char *host, int family,
    void *arg)
{
	struct m_socket *ms = arg;
	struct model *m = ms->m;
	struct m_look *look = NULL, *other;
	unsigned i;

	called(ms, "- lookup", host[5] - '0');
	m_sync(ms);
	if (ms->s != s || ms->closed || family != ms->family ||
	    strncmp(host, "host-", 5) != 0 || host[5] < '0' ||
	    host[5] >= '0' + M_NAMES) {
		m_fail(m, "socket %u: it is asked for %s", ms->slot, host);
		return;
	}
	for (i = 0; i < M_LOOKS; i++) {
		other = m_look(ms, i);
		if (other->looking && !other->asked &&
		    other->name == (unsigned)(host[5] - '0') &&
		    (look == NULL || other->seq < look->seq))
			look = other;
	}
	if (look == NULL || !is_next_asked(m, look)) {
		m_fail(m, "socket %u: %s is asked for twice, or too early",
		    ms->slot, host);
		return;
	}
	m->report.look_ups++;
	look->asked = true;
	look->id = id;
	if (!m->failed && !m->quiet && m_below(m, 100) < 30) {
		m->in_callback++;
		m_play_answer(m, ms, look);
		m->in_callback--;
	}
	act(ms, NULL, 0);
}

const struct dgram_events m_events = {
	.listening = on_listening,
	.message = on_message,
	.connect = on_connect,
	.error = on_error,
	.drain = on_drain,
	.close = on_close,
};

void
m_on_timer(struct dgram_timer *t, void *arg)
{
	struct m_timer *mt = arg;
	struct model *m = mt->m;
	uint64_t now = dgram_loop_now(m->l);

	m->activity++;
	m_trace(m, "- timer", -1, (int)(mt - m->timers), 0);
	if (m->in_call || !m->in_turn)
		m_fail(m, "a timer from inside of a call");
	if (&mt->t != t || !mt->active || now < mt->due || now > m->sim.now)
		m_fail(m, "a timer fires early, or twice");
	if (!m->timers_ran && (m->look_key < mt->due ||
	    (m->look_key == mt->due && m->look_seq < mt->armed_seq)))
		end_overdue(m);
	mt->active = mt->repeat != 0;
	if (mt->active) {
		mt->due += mt->repeat;
		if (mt->due <= now)
			mt->due = now + mt->repeat -
			    (now - (mt->due - mt->repeat)) % mt->repeat;
		mt->armed_turn = m->turn;
		mt->armed_seq = m->seq++;
	}
	if (dgram_timer_active(t) != mt->active)
		m_fail(m, "a timer is not as it should be");
	if (m->failed)
		return;
	m->in_callback++;
	m_play_inside(m, NULL, NULL, 0);
	m->in_callback--;
}

void
m_on_post(void *arg)
{
	struct model *m = arg;

	past_timers(m);
	m->activity++;
	m_trace(m, "- post", -1, (int)m->posts_run, 0);
	if (m->in_call || (!m->in_turn && !m->freeing))
		m_fail(m, "a post from inside of a call");
	if (m->posts_run == m->posts_made)
		m_fail(m, "a post that nobody has made");
	m->posts_run++;
	if (m->failed)
		return;
	m->in_callback++;
	m_play_inside(m, NULL, NULL, 0);
	m->in_callback--;
}

/* ---- turns ---- */

void
m_turn_begins(struct model *m)
{
	m->turn++;
	m->report.turns++;
	m->in_turn = true;
	m->timers_ran = m->look_fresh = false;
	m->sim.alloc_failures = 0;
	m->last_activity = m->activity;
	m->waited = false;
	m->prev_now = m->last_now;
	m->last_now = m->sim.now;
}

/* Could what waits be sent, as far as the network is concerned? */
static bool
has_room(struct model *m, const struct m_socket *ms)
{
	const struct sim_socket *ss = sim_socket(&m->sim, ms->fd);
	const struct m_line *line = &ms->lines[0];

	/* check_waiting() sees whether it is tried in time. */
	if (line->waits == 0 || line->timed || is_lost(ms))
		return false;
	return line->refusal != -EAGAIN || sim_is_writable(&m->sim, ss);
}

/* What can go on goes on, within a few turns. */
static void
check_progress(struct model *m, struct m_socket *ms)
{
	const struct sim_socket *ss = sim_socket(&m->sim, ms->fd);
	const struct sim_config *c = &m->sim.config;
	const struct m_op *op;
	int refusal = ms->lines[0].refusal;
	bool could, late;

	/* A turn need not wait. */
	if (c->fail[SIM_SET] != 0 || c->fail[SIM_ALLOC] != 0 || ss == NULL ||
	    !m->waited)
		return;
	could = ms->state >= M_BOUND && !ms->attempted && has_room(m, ms);
	ms->stuck = could ? ms->stuck + 1 : 0;
	ms->attempted = false;
	could = ss->error != 0 && ms->state == M_CONNECTED &&
	    ms->type != DGRAM_UNIX;
	ms->unheard = could ? ms->unheard + 1 : 0;
	could = ss->head != NULL && ms->receives && !ms->paused && !ms->read &&
	    (ms->events & M_EV_MESSAGE) != 0 && c->fail[SIM_RECV] == 0;
	ms->unread = could ? ms->unread + 1 : 0;
	ms->read = false;
	if (ms->stuck <= 1 && ms->unread <= 1)
		ms->moved_at = m->sim.now;
	/* Some things wait for a timer. */
	late = m->sim.now - ms->moved_at > STUCK_NS;
	if ((ms->stuck > STUCK_TURNS && (late || refusal == -EAGAIN)) ||
	    ms->unheard > STUCK_TURNS || (ms->unread > STUCK_TURNS && late))
		m_fail(m, "socket %u is stuck: %u turns not sending, %u not "
		    "fetching an error, %u not reading", ms->slot, ms->stuck,
		    ms->unheard, ms->unread);
	for (op = ms->queue.head; op != NULL && refusal != 0; op = op->next) {
		if (op->n > 0 && op->v[op->pos].deadline != 0 &&
		    op->v[op->pos].deadline + LATE_NS <= m->prev_now &&
		    op->turn_queued + 1 < m->turn)
			m_fail(m, "socket %u: what is late waits", ms->slot);
	}
}

/* What was owed before this turn began has been told in it. */
static void
check_told(struct model *m, struct m_socket *ms)
{
	struct m_op *op, *next;
	const struct m_look *look;
	struct m_step *st;
	unsigned i;

	for (i = 0; i < M_LOOKS; i++) {
		look = m_look(ms, i);
		if (look->looking && !look->asked && look->turn < m->turn)
			m_fail(m, "socket %u: a name is not asked for",
			    ms->slot);
	}
	while ((st = ms->steps) != NULL && st->turn < m->turn) {
		if (!st->silent || ((ms->events & M_EV_ERROR) != 0 &&
		    !is_unsure(ms))) {
			m_fail(m, "socket %u: a bind or connect is overdue",
			    ms->slot);
			return;
		}
		ms->steps = st->next;
		m_step_free(m, st);
	}
	if (ms->steps != NULL && is_unsure(ms))
		ms->unsure_turn = m->turn + 2;
	for (op = ms->known.head; op != NULL; op = next) {
		next = op->next;
		if (op->turn == m->turn) {
			/* It may be one too many until there are none. */
			if (op->silent && is_unsure(ms))
				ms->unsure_turn = m->turn + 2;
			continue;
		}
		if (!op->silent || ((ms->events & M_EV_ERROR) != 0 &&
		    !op->late && !is_unsure(ms))) {
			m_fail(m, "socket %u: a completion is overdue",
			    ms->slot);
			return;
		}
		/* Nobody was there to be told. */
		unlink_op(&ms->known, op);
		m_op_free(m, op);
	}
	if (ms->closed) {
		if (ms->close_fns > 0 &&
		    ms->closed_turn + CLOSE_TURNS <= m->turn)
			m_fail(m, "socket %u: close is overdue", ms->slot);
		return;
	}
	m_check_state(ms);
	if (ms->owes_listening && ms->listening_turn < m->turn) {
		if ((ms->events & M_EV_LISTENING) != 0 &&
		    ms->events_turn < ms->listening_turn)
			m_fail(m, "socket %u: listening is overdue", ms->slot);
		ms->owes_listening = false;
	}
	if (ms->owes_connect && ms->connect_turn < m->turn) {
		if ((ms->events & M_EV_CONNECT) != 0 &&
		    ms->events_turn < ms->connect_turn)
			m_fail(m, "socket %u: connect is overdue", ms->slot);
		ms->owes_connect = false;
	}
	if (ms->nrx != 0)
		m_fail(m, "socket %u: datagrams were lost", ms->slot);
	if (ms->error_now != 0 && ms->events_turn != m->turn)
		m_fail(m, "socket %u: an error was not told", ms->slot);
	ms->error_now = 0;
	/* As with silent failures: it may be one too many until there are none. */
	if (ms->nnotes > 0 && is_unsure(ms))
		ms->unsure_turn = m->turn + 2;
	if (ms->nnotes > 0 && ms->notes_turn < m->turn) {
		if ((ms->events & M_EV_ERROR) != 0 && !is_unsure(ms) &&
		    !may_differ(ms))
			m_fail(m, "socket %u: an ICMP error was not told",
			    ms->slot);
		ms->nnotes = ms->told_notes = 0;
	}
	check_progress(m, ms);
	if (!ms->must_drain || ms->queued > 0 || ms->known.head != NULL)
		return;
	if (ms->must_drain_turn == 0)
		ms->must_drain_turn = m->turn;
	else if (ms->must_drain_turn + 1 < m->turn) {
		if ((ms->events & M_EV_DRAIN) != 0 &&
		    ms->events_turn < ms->refused_turn)
			m_fail(m, "socket %u: drain is overdue", ms->slot);
		ms->must_drain = false;
	}
}

/* What keeps the loop running for sure; *maybe: or what may. */
static bool
is_alive(const struct model *m, bool *maybe)
{
	const struct m_socket *ms;
	const struct m_step *st;
	const struct m_op *op;
	bool sure = m->posts_run != m->posts_made;
	unsigned i;

	*maybe = m->stray_turn == m->turn;
	for (i = 0; i < M_TIMERS; i++)
		sure = sure || (m->timers[i].active && !m->timers[i].unrefd);
	for (i = 0; i < M_SOCKETS; i++) {
		ms = &m->sockets[i];
		if (ms->s == NULL)
			continue;
		*maybe = *maybe || ms->closed;
		if (!m_may_touch(ms))
			continue;
		*maybe = *maybe || ms->owes_listening || ms->owes_connect;
		sure = sure || ms->closed || (ms->owes_listening &&
		    (ms->events & M_EV_LISTENING) != 0 &&
		    ms->events_turn < ms->listening_turn) ||
		    (ms->owes_connect && (ms->events & M_EV_CONNECT) != 0 &&
		    ms->events_turn < ms->connect_turn) ||
		    (ms->receives && !ms->unrefd) ||
		    ms->queued > 0;
		for (op = ms->known.head; op != NULL; op = op->next)
			sure = sure || !op->silent;
		for (st = ms->steps; st != NULL; st = st->next)
			sure = sure || !st->silent;
		sure = sure || ms->bind != NULL || ms->connect != NULL;
		*maybe = *maybe || ms->steps != NULL;
		*maybe = *maybe || ms->queue.head != NULL ||
		    ms->known.head != NULL || ms->nnotes > 0 ||
		    ms->drains > 0 || ms->must_drain;
	}
	*maybe = *maybe || sure;
	return sure;
}

/* The wait had nothing to wait for: was that so? */
static void
check_stuck(struct model *m)
{
	const struct m_socket *ms;
	unsigned i, k;

	for (i = 0; i < M_SOCKETS; i++) {
		ms = &m->sockets[i];
		if (ms->s == NULL)
			continue;
		if (ms->closed || ms->known.head != NULL)
			m_fail(m, "waits, but socket %u owes", i);
		/* A peer that is full is waited for, and may never read. */
		if (ms->queue.head != NULL && (ms->type != DGRAM_UNIX ||
		    !is_blocked(ms) || ms->lost))
			m_fail(m, "waits, but socket %u has to send", i);
		for (k = 1; k < M_LINES; k++) {
			if (ms->lines[k].waits > 0)
				m_fail(m, "waits, but socket %u has lines", i);
		}
	}
	for (i = 0; i < M_TIMERS; i++) {
		if (m->timers[i].active)
			m_fail(m, "waits, but a timer is started");
	}
}

static void
check_timers(struct model *m)
{
	const struct m_timer *t;

	for (t = m->timers; t < m->timers + M_TIMERS; t++) {
		if (t->active && t->armed_turn < m->turn &&
		    t->due <= m->last_now)
			m_fail(m, "a timer is overdue");
	}
}

static void
check_fds(struct model *m)
{
	unsigned i, n = 1;

	for (i = 0; i < M_SOCKETS; i++)
		n += m->sockets[i].s != NULL && m->sockets[i].fd >= 0;
	if (sim_open_fds(&m->sim) != n)
		m_fail(m, "%u descriptors are open, not %u",
		    sim_open_fds(&m->sim), n);
}

static void
check_memory(struct model *m)
{
	size_t held, bound;

	if (dgram_loop_memory(m->l, &held, &bound) != 0 || held > bound)
		m_fail(m, "%zu bytes are held, %zu is the bound", held, bound);
}

void
m_turn_ends(struct model *m, int timeout, int r)
{
	struct m_socket *ms;
	bool maybe, sure;
	unsigned i;

	past_timers(m);
	m->in_turn = false;
	settle(m);
	for (i = 0; i < M_SOCKETS && !m->failed; i++) {
		ms = &m->sockets[i];
		if (ms->s == NULL)
			continue;
		m_sync(ms);
		check_told(m, ms);
		/* Nobody will say that it has gone. */
		if (ms->closed && ms->close_fns == 0 &&
		    ms->closed_turn < m->turn && ms->known.head == NULL &&
		    ms->steps == NULL)
			forget(ms);
	}
	if (m->failed)
		return;
	check_timers(m);
	check_fds(m);
	if (m->posts_run != m->posts_made && m->stray_turn != m->turn)
		m_fail(m, "a post is overdue");
	if (m->sim.misuse != NULL)
		m_fail(m, "%s", m->sim.misuse);
	if ((m->turn & 15) == 0)
		check_memory(m);
	if (r == -EDEADLK) {
		check_stuck(m);
		return;
	}
	sure = is_alive(m, &maybe);
	if (r < 0 || (r == 0 && sure) || (r == 1 && !maybe))
		m_fail(m, "dgram_loop_run_once() says %d", r);
	if (timeout == 0 || r == 0)
		return;
	if (m->activity != m->last_activity ||
	    m->sim.now - m->last_now > SHORT_NS)
		m->idle = 0;
	else if (++m->idle > IDLE_MOST)
		m_fail(m, "the loop spins");
}

/* ---- a loop ---- */

void
m_begin(struct model *m)
{
	unsigned i;

	for (i = 0; i < M_SOCKETS; i++) {
		memset(&m->sockets[i], 0, sizeof(m->sockets[i]));
		m->sockets[i].m = m;
		m->sockets[i].slot = i;
		m->sockets[i].fd = -1;
		m_lines_init(&m->sockets[i]);
		queue_init(&m->sockets[i].queue);
		queue_init(&m->sockets[i].known);
	}
	memset(m->of_fd, 0, sizeof(m->of_fd));
	memset(m->timers, 0, sizeof(m->timers));
	m->posts_made = m->posts_run = 0;
	memset(m->old_ids, 0, sizeof(m->old_ids));
	m->looking = 0;
	m->look_key = UINT64_MAX;
	m->telling = NULL;
	m->idle = 0;
	m->stray_turn = 0;
	m->visited = NULL;
	m->freeing = false;
	m->report.episodes++;
}

void
m_end(struct model *m)
{
	unsigned i;

	for (i = 0; i < M_SOCKETS; i++) {
		if (m->sockets[i].s != NULL && m->sockets[i].close_fns > 0)
			m_fail(m, "socket %u was not closed with the loop", i);
		if (m->sockets[i].known.head != NULL ||
		    m->sockets[i].queue.head != NULL)
			m_fail(m, "socket %u took completions with it", i);
	}
	if (m->posts_run != m->posts_made)
		m_fail(m, "a post was forgotten");
	if (m->steps_used != 0)
		m_fail(m, "%zu binds and connects are left", m->steps_used);
	if (m->ops_used != 0)
		m_fail(m, "%zu operations are left", m->ops_used);
	if (m->sim.pieces != 0 || m->sim.held != 0)
		m_fail(m, "%zu pieces of memory are left, %zu bytes",
		    m->sim.pieces, m->sim.held);
	if (sim_open_fds(&m->sim) != 0)
		m_fail(m, "%u descriptors are left", sim_open_fds(&m->sim));
	if (m->sim.misuse != NULL)
		m_fail(m, "%s", m->sim.misuse);
}
