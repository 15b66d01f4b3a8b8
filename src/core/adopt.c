/* SPDX-License-Identifier: ISC */

/*
 * Descriptors that somebody else made.
 *
 * All is asked of the descriptor: type, protocol, family, whether it is bound
 * and connected.  Nothing is set on it but what dgram_options.want and the sizes of
 * buffers ask for (and that is not taken back if a later step fails) and
 * SO_NOSIGPIPE where a send cannot say so; its flags neither: every call of ours
 * says MSG_DONTWAIT.  Nothing of it is kept unless all went well.
 */

#include "core/plat.h"

#include <errno.h>

#include <netinet/in.h>

#include "core/addr.h"
#include "core/socket.h"

/* The dgram_type of a descriptor, or an error. */
static int
ask_type(const struct dgi_os *os, int fd, struct dgram_addr *local)
{
	socklen_t len = sizeof(int);
	int type = 0, r;

	r = os->getsockopt(os, fd, SOL_SOCKET, SO_TYPE, &type, &len);
	if (r < 0)
		return r == -ENOTSOCK ? DGRAM_ERR_INVALID_FD_TYPE : r;
	if (type != SOCK_DGRAM)
		return DGRAM_ERR_INVALID_FD_TYPE;
	local->len = sizeof(local->u);
	r = os->getsockname(os, fd, &local->u.sa, &local->len);
	if (r < 0)
		return r;
	switch (local->u.sa.sa_family) {
	case AF_INET:
		r = DGRAM_UDP4;
		break;
	case AF_INET6:
		r = DGRAM_UDP6;
		break;
	case AF_UNIX:
		dgi_addr_trim(local);
		return DGRAM_UNIX;
	default:
		return DGRAM_ERR_INVALID_FD_TYPE;
	}
#if DGI_HAVE_SO_PROTOCOL
	/* Ping sockets are datagram sockets, too: icmp(7). */
	len = sizeof(int);
	type = 0;
	if (os->getsockopt(os, fd, SOL_SOCKET, SO_PROTOCOL, &type, &len) == 0 &&
	    type != IPPROTO_UDP)
		return DGRAM_ERR_INVALID_FD_TYPE;
#endif
	return r;
}

/* Another socket of the loop has it, also if it is not watched now. */
static bool
is_ours(const struct dgram_socket *self, int fd)
{
	struct dgram_loop *l = self->loop;
	struct dgi_list *i;
	uint32_t k;

	for (i = l->members.next; i != &l->members; i = i->next) {
		struct dgi_member *m = DGI_CONTAINER(i, struct dgi_member, all);

		/* Not all of them are sockets. */
		if (m->ops == self->member.ops &&
		    DGI_CONTAINER(m, struct dgram_socket, member)->fd == fd)
			return true;
	}
	for (k = 0; k < l->nslots; k++) {
		if (l->slots[k].watch != NULL && l->slots[k].watch->fd == fd)
			return true;
	}
	return false;
}

/* What is known of a descriptor that can be adopted. */
struct found {
	int fd;
	enum dgram_type type;
	struct dgram_addr local, peer;
};

static int
take(struct dgram_socket *s, const struct found *f)
{
	enum dgram_type before = s->type;
	bool connected = f->peer.len > 0, named;
	int r;

	/* The descriptor of a socketpair(2) has no name, but a peer. */
	named = f->type == DGRAM_UNIX ? f->local.len > 0 || connected :
	    dgram_addr_port(&f->local) != 0;
	dgi_socket_set_type(s, f->type);
	r = dgi_socket_attach(s, f->fd);
	if (r == 0)
		r = dgi_option_apply_any(s);
	if (r == 0 && named)
		r = dgi_meta_set_creds(s, true);
	if (r == 0)
		r = dgi_meta_look(s);
	if (r == 0) {
		s->receives = named;
		r = dgi_socket_register(s);
	}
	if (r < 0) {
		s->receives = false;
		s->fd = s->watch.fd = -1;
		dgi_socket_set_type(s, before);
		return r;
	}
	if (named || f->type == DGRAM_UNIX) {
		s->local = f->local;
		dgi_state_move(s, DGI_BIND);
		dgi_state_move(s, DGI_BIND_DONE);
	}
	if (connected) {
		s->peer = f->peer;
		dgi_state_move(s, DGI_CONNECT);
		dgi_state_move(s, DGI_CONNECT_DONE);
	}
	dgi_socket_changed(s);
	if (named)
		dgi_socket_owe(s, DGI_OWES_LISTENING);
	return 0;
}

int
dgi_socket_adopt(struct dgram_socket *s, int fd)
{
	const struct dgi_os *os = s->loop->os;
	struct found f = { .fd = fd };
	int type;

	if (fd < 0)
		return -EBADF;
	type = ask_type(os, fd, &f.local);
	if (type < 0)
		return type;
	if (s->type != 0 && (int)s->type != type)
		return DGRAM_ERR_INVALID_FD_TYPE;
	if (type == DGRAM_UNIX && dgi_option_has_list(&s->options))
		return -ENOTSUP;
	if (type != DGRAM_UNIX && s->options.reconnect)
		return -EINVAL;
	if (is_ours(s, fd))
		return -EEXIST;
	f.type = (enum dgram_type)type;
	f.peer.len = sizeof(f.peer.u);
	if (os->getpeername(os, fd, &f.peer.u.sa, &f.peer.len) < 0) {
		f.peer.len = 0;
	} else if (type == DGRAM_UNIX) {
		/* Connected to somebody without a name: a length remains. */
		dgi_addr_trim(&f.peer);
		if (f.peer.len == 0)
			f.peer.len = sizeof(f.peer.u.sa.sa_family);
	}
	return take(s, &f);
}
