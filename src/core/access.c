/* SPDX-License-Identifier: ISC */

/*
 * What a program asks of a socket and sets on it between its events.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/addr.h"
#include "core/queue.h"
#include "core/send.h"
#include "core/socket.h"

static int
set_paused(struct dgram_socket *s, bool paused)
{
	int r = dgi_socket_check(s);

	if (r < 0)
		return r;
	s->paused = paused;
	dgi_socket_changed(s);
	return 0;
}

int
dgram_pause(struct dgram_socket *s)
{
	return set_paused(s, true);
}

int
dgram_resume(struct dgram_socket *s)
{
	return set_paused(s, false);
}

int
dgram_set_events(struct dgram_socket *s, const struct dgram_events *events,
    void *arg)
{
	int r = dgi_socket_check(s);

	if (r < 0)
		return r;
	/* Closed from elsewhere: somebody has to be told. */
	if (s->options.signal != NULL &&
	    (events == NULL || events->close == NULL))
		return -EINVAL;
	if (events != NULL)
		s->events = *events;
	else
		memset(&s->events, 0, sizeof(s->events));
	s->arg = arg;
	dgi_socket_changed(s);
	return 0;
}

void *
dgram_arg(const struct dgram_socket *s)
{
	return s == NULL ? NULL : s->arg;
}

struct dgram_loop *
dgram_socket_loop(const struct dgram_socket *s)
{
	return s == NULL ? NULL : s->loop;
}

int
dgram_fileno(const struct dgram_socket *s)
{
	int r = dgi_socket_check(s);

	if (r < 0)
		return r;
	return s->fd < 0 ? -EBADF : s->fd;
}

/* Without effect on a closed one, as in Node. */
static int
set_unref(struct dgram_socket *s, bool unrefd)
{
	if (s == NULL)
		return -EINVAL;
	s->unrefd = unrefd;
	if (s->state != DGI_CLOSED)
		dgi_socket_changed(s);
	return 0;
}

int
dgram_ref(struct dgram_socket *s)
{
	return set_unref(s, false);
}

int
dgram_unref(struct dgram_socket *s)
{
	return set_unref(s, true);
}

int
dgram_last_error(const struct dgram_socket *s, struct dgram_error *ret)
{
	if (s == NULL || ret == NULL)
		return -EINVAL;
	if (s->failure.status == 0)
		return -ENOENT;
	*ret = s->failure;
	return 0;
}

int
dgram_address(const struct dgram_socket *s, struct dgram_addr *ret)
{
	struct dgram_addr a = { .len = sizeof(a.u) };
	int r = dgi_socket_check(s);

	if (r == 0 && ret == NULL)
		r = -EINVAL;
	if (r == 0 && (s->fd < 0 || s->state < DGI_BOUND))
		r = -EBADF;
	if (r == 0)
		r = s->loop->os->getsockname(s->loop->os, s->fd, &a.u.sa,
		    &a.len);
	if (r < 0)
		return r;
	dgi_addr_trim(&a);
	*ret = a;
	return 0;
}

int
dgram_remote_address(const struct dgram_socket *s, struct dgram_addr *ret)
{
	struct dgram_addr a = { .len = sizeof(a.u) };
	int r = dgi_socket_check(s);

	if (r == 0 && ret == NULL)
		r = -EINVAL;
	if (r == 0 && s->state != DGI_CONNECTED)
		r = DGRAM_ERR_SOCKET_DGRAM_NOT_CONNECTED;
	if (r == 0)
		r = s->loop->os->getpeername(s->loop->os, s->fd, &a.u.sa,
		    &a.len);
	if (r < 0)
		return r;
	dgi_addr_trim(&a);
	*ret = a;
	return 0;
}

size_t
dgram_get_send_queue_size(const struct dgram_socket *s)
{
	return s == NULL ? 0 : dgi_queue_bytes(s);
}

size_t
dgram_get_send_queue_count(const struct dgram_socket *s)
{
	return s == NULL ? 0 : dgi_queue_count(s);
}

int
dgram_max_send_size(const struct dgram_socket *s)
{
	const bool ip4 = s != NULL && (s->type == DGRAM_UDP4 ||
	    dgi_addr_is_mapped(&s->peer));
	int most = ip4 ? (int)DGI_UDP4_MOST : (int)DGI_UDP6_MOST, room;

	room = dgram_get_send_buffer_size(s);
	if (room < 0)
		return room;
	if (s->type != DGRAM_UNIX)
		return DGI_HAVE_SNDBUF_LIMIT && room < most ? room : most;
	/* What Linux has to keep beside the bytes, af_unix.c there. */
	return DGI_HAVE_SNDBUF_LIMIT ? room : room - 32;
}
