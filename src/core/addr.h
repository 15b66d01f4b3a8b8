/* SPDX-License-Identifier: ISC */

/*
 * Addresses, for the library itself; what users call is in dgram.h.
 */

#ifndef DGI_ADDR_H
#define DGI_ADDR_H

#include "core/plat.h"

#include <stdbool.h>
#include <stdint.h>

#include "dgram.h"

/* AF_INET, AF_INET6, AF_UNIX. */
int	dgi_type_family(enum dgram_type);

/*
 * The length to give to the kernel, exact by family (OpenBSD insists on it), or
 * -EINVAL: another family, cut off, or no address.
 */
int	dgi_addr_check(const struct dgram_addr *, int family);

/* The wildcard address, and the loopback's, of AF_INET or AF_INET6, port 0. */
void	dgi_addr_wildcard(struct dgram_addr *, int family);
void	dgi_addr_loopback(struct dgram_addr *, int family);

/* That of 4 or 16 bytes in the order of the network, port 0. */
void	dgi_addr_from(struct dgram_addr *, int family, const void *bytes);

/* Of an interface as a decimal number, all of the text; 0: it is none. */
uint32_t	dgi_addr_index(const char *text);

/* The port of one of AF_INET or AF_INET6. */
void	dgi_addr_set_port(struct dgram_addr *, int port);

/*
 * Brings what the kernel wrote, with a->len as it said, to the form that
 * dgram_addr_unix() makes: no bytes behind a path's NUL; length 0 for unnamed,
 * which systems tell as a length of 0 or of the family alone.
 */
void	dgi_addr_trim(struct dgram_addr *);

/* Link-local, or multicast within a link or node: a zone means something. */
bool	dgi_addr_has_zone(const struct sockaddr_in6 *);

/* ::ffff:a.b.c.d */
bool	dgi_addr_is_mapped(const struct dgram_addr *);

/* fe80::/10, of 16 bytes. */
bool	dgi_addr_is_link_local6(const uint8_t *);

/* 0.0.0.0, ::; 169.254/16, fe80::/10; a group: of IPv4 also if mapped. */
bool	dgi_addr_is_any(const struct dgram_addr *);
bool	dgi_addr_is_link_local(const struct dgram_addr *);
bool	dgi_addr_is_multicast(const struct dgram_addr *);

/* Bytes of a path, or of an abstract name with its leading NUL. */
size_t	dgi_addr_path_len(const struct dgram_addr *);

#endif
