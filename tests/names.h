/* SPDX-License-Identifier: ISC */

/*
 * For the tests of calls by name: a socket whose completions and errors are
 * written down with what dgram_last_error() says of them, a look-up of the
 * user's that is answered when the test says so, and a bare socket to send to.
 */

#ifndef DGT_NAMES_H
#define DGT_NAMES_H

#include "fake_gai.h"
#include "sockets.h"

static struct fault_os f;
static struct dgram_loop *l;
static struct peer p;
static int fd;			/* bare */
static struct dgram_addr to;	/* its address, on the loopback */
static int port;		/* and its port */

/* ---- what is told ---- */

struct record {
	char what;		/* b, c, d: completions of bind, connect and
				   sends; E: `error` */
	int status, kind;
	char text[400];		/* dgram_error_format() of the failure */
	bool has_host;
};

#define RECORDS	256
static struct record records[RECORDS];
static int nrecords;

static inline void
record(char what, const struct dgram_error *e, int status)
{
	struct record *r = &records[nrecords % RECORDS];

	nrecords++;
	memset(r, 0, sizeof(*r));
	r->what = what;
	r->status = status;
	if (e == NULL)
		return;
	r->kind = e->kind;
	r->has_host = e->host != NULL;
	MUST(dgram_error_format(e, r->text, sizeof(r->text)) > 0, "no text");
}

static inline void
note(struct peer *peer, char what, struct dgram_socket *s, int status)
{
	size_t at = strlen(peer->trace);
	struct dgram_error e;
	int r = dgram_last_error(s, &e);

	MUST(in_call == 0, "completion %c from inside of a call", what);
	MUST(s == peer->s, "another socket");
	MUST(r == (status < 0 ? 0 : -ENOENT), "dgram_last_error: %d", r);
	MUST(r < 0 || e.status == status, "%d, not %d", e.status, status);
	record(what, r == 0 ? &e : NULL, status);
	if (at + 1 < sizeof(peer->trace))
		peer->trace[at] = what;
	peer->n[EV_DONE]++;
	if (peer->hook != NULL)
		peer->hook(peer, EV_DONE, NULL, 0);
}

static inline void
bind_done(struct dgram_socket *s, int status, void *arg)
{
	note(arg, 'b', s, status);
}

static inline void
connect_done(struct dgram_socket *s, int status, void *arg)
{
	note(arg, 'c', s, status);
}

static inline void
sent(struct dgram_socket *s, int status, void *arg)
{
	note(arg, 'd', s, status);
}

static inline void
told_error(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	record('E', e, e->status);
	peer_error(s, e, arg);
}

static const struct dgram_events names_events = {
	.listening = peer_listening,
	.message = peer_message,
	.connect = peer_connect,
	.error = told_error,
	.drain = peer_drain,
	.close = peer_closed,
};

/* The k-th of that kind, from 0. */
static inline const struct record *
record_of(char what, int k)
{
	int i;

	for (i = 0; i < nrecords && i < RECORDS; i++) {
		if (records[i].what == what && k-- == 0)
			return &records[i];
	}
	MUST(false, "no %c", what);
	return NULL;
}

#define TOLD(what_, k, status_, kind_, text_) do {			\
	const struct record *r_ = record_of(what_, k);			\
	MUST(r_->status == (status_), "%c %d: %s", what_, k,		\
	    dgram_err_name(r_->status));				\
	MUST(r_->kind == (kind_), "%c %d: kind %d", what_, k, r_->kind); \
	MUST(strcmp(r_->text, text_) == 0, "%c %d: %s", what_, k,	\
	    r_->text);							\
} while (0)
/* All that has happened to the socket, in order. */
#define TRACE(peer, text)						\
	MUST(strcmp((peer)->trace, text) == 0, "%s, not %s",		\
	    (peer)->trace, text)

/* ---- the look-up of the user ---- */

struct ask {
	uint64_t id;
	char host[256];
	int family;
	struct dgram_socket *s;
	void *arg;
};

static struct ask asks[64];
static int nasks;
static void (*on_ask)(struct ask *);

static inline void
look_up(struct dgram_socket *s, uint64_t id, const char *host, int family,
    void *arg)
{
	struct ask *a = &asks[nasks];

	MUST(in_call == 0, "asked from inside of a call");
	MUST(++nasks < (int)COUNT(asks), "asked too often");
	a->id = id;
	snprintf(a->host, sizeof(a->host), "%s", host);
	a->family = family;
	a->s = s;
	a->arg = arg;
	if (on_ask != NULL)
		on_ask(a);
}

/* The k-th that was asked for, with an address; what the call says. */
static inline int
answer(int k, const char *literal)
{
	struct dgram_addr a;

	OK(dgram_addr_parse(&a, literal, 9));
	MUST(k < nasks, "not asked");
	return CALL(dgram_lookup_done(l, asks[k].id, 0, &a));
}

static inline int
refuse(int k, int status)
{
	MUST(k < nasks, "not asked");
	return CALL(dgram_lookup_done(l, asks[k].id, status, NULL));
}

/* ---- scenes ---- */

static inline void
open_typed(struct peer *peer, int type, const struct dgram_options *options,
    dgram_lookup_fn *lookup)
{
	struct dgram_options o = { 0 };

	if (options != NULL)
		o = *options;
	o.events = &names_events;
	o.lookup = lookup;
	peer_open(peer, l, (enum dgram_type)type, &o);
}

static inline void
open_named(struct peer *peer, const struct dgram_options *options,
    dgram_lookup_fn *lookup)
{
	open_typed(peer, DGRAM_UDP4, options, lookup);
}

/* A loop and a bare socket; and a socket of the library that is not bound. */
static inline void
enter(const char *backend, const struct dgram_loop_options *lo,
    const struct dgram_options *o, dgram_lookup_fn *lookup)
{
	fault_init(&f);
	l = fault_loop(&f, backend, lo);
	fd = bare_socket(DGRAM_UDP4, &to);
	port = dgram_addr_port(&to);
	open_named(&p, o, lookup);
}

static inline void
leave(void)
{
	free_fault_loop(l, &f);
	close(fd);
	FAKE_UNTIL(fake.threads == 0);
	FAKE_CHECK(fake.lists == 0);
}

/* A number to that name, with and without completion. */
static inline int
send_to(const char *name, uint32_t seq)
{
	return CALL(dgram_send(p.s, number(seq), sizeof(seq), port, name, sent,
	    &p));
}

static inline int
send_silent(const char *name, uint32_t seq)
{
	return CALL(dgram_send(p.s, &seq, sizeof(seq), port, name, NULL,
	    NULL));
}

/* Accepted is what is over or waits, each in one sum. */
#define LEDGER(n_sent, n_failed, n_cancelled, n_waiting) do {		\
	struct dgram_stats st_ = stats_of(&p);				\
	MUST(st_.sent == (n_sent) && st_.failed == (n_failed) &&	\
	    st_.cancelled == (n_cancelled) &&				\
	    st_.waiting == (n_waiting), "sent %d, failed %d, "		\
	    "cancelled %d, waiting %d", (int)st_.sent,			\
	    (int)st_.failed, (int)st_.cancelled, (int)st_.waiting);	\
	MUST(dgram_get_send_queue_count(p.s) == (n_waiting), "count");	\
} while (0)

#endif
