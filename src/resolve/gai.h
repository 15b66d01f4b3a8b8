/* SPDX-License-Identifier: ISC */

/*
 * getaddrinfo(3): the only file that calls it, and the codes it fails with.
 */

#ifndef DGI_GAI_H
#define DGI_GAI_H

#include "core/plat.h"

#include <stddef.h>

#include "dgram.h"

/*
 * 0 and addresses (malloc(3)'s, at least one, in the order of the system, port 0,
 * of that family or, AF_UNSPEC, of both), or a negative code.  Any thread.
 */
int	dgi_gai(const char *name, int family, struct dgram_addr **, size_t *n);

#endif
