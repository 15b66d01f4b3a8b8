/* SPDX-License-Identifier: ISC */

/*
 * Error codes: names and sentences.
 *
 * A table of our own and not strerror(3): static, the same everywhere, no
 * locale, and no resolver linked for the EAI codes.  It is three arrays in the
 * same order, codes and strings one behind the other, without pointers: a
 * program that asks for names only is linked without the sentences.
 */

#include "core/plat.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "dgram.h"
#include "core/call.h"

#if DGI_HAVE_ENONET
#define ONLY_HERE(S)	S(ENONET, "Host is isolated")
#else
#define ONLY_HERE(S)
#endif

/* L: codes of the library, S: of the system. */
#define CODES(L, S) \
	L(ERR_SOCKET_BAD_TYPE, "Bad socket type: not udp4, udp6 or " \
	    "unix_dgram") \
	L(ERR_SOCKET_ALREADY_BOUND, "Socket is already bound") \
	L(ERR_SOCKET_BAD_PORT, "Port is not within its range") \
	L(ERR_SOCKET_BAD_BUFFER_SIZE, "Buffer size must be a positive number " \
	    "of bytes") \
	L(ERR_SOCKET_DGRAM_IS_CONNECTED, "Already connected") \
	L(ERR_SOCKET_DGRAM_NOT_CONNECTED, "Not connected") \
	L(ERR_SOCKET_DGRAM_NOT_RUNNING, "Not running") \
	L(ERR_INVALID_FD_TYPE, "Descriptor is not a datagram socket of a " \
	    "known type") \
	L(ERR_IP_BLOCKED, "Address is blocked by a block list") \
	L(ENOTFOUND, "Name does not resolve") \
	L(EAI_AGAIN, "Temporary failure in name resolution") \
	L(EAI_ADDRFAMILY, "Name has no address of this family") \
	L(EAI_BADFLAGS, "Bad flags for name resolution") \
	L(EAI_FAIL, "Permanent failure in name resolution") \
	L(EAI_FAMILY, "Address family is not supported for names") \
	L(EAI_MEMORY, "Out of memory in name resolution") \
	L(EAI_OVERFLOW, "Name is too long to resolve") \
	L(EAI_SERVICE, "Service is not available for this socket type") \
	L(EAI_SOCKTYPE, "Socket type is not supported for names") \
	L(EAI_SYSTEM, "System error in name resolution") \
	S(EACCES, "Permission denied") \
	S(EADDRINUSE, "Address already in use") \
	S(EADDRNOTAVAIL, "Address is not available") \
	S(EAFNOSUPPORT, "Address family is not supported") \
	S(EAGAIN, "Resource temporarily unavailable") \
	S(EALREADY, "Operation is already in progress") \
	S(EBADF, "Bad descriptor, or socket has none yet") \
	S(EBADMSG, "Bad message") \
	S(EBUSY, "Resource is busy") \
	S(ECANCELED, "Operation was cancelled") \
	S(ECONNABORTED, "Connection was aborted") \
	S(ECONNREFUSED, "Connection refused: nobody receives there") \
	S(ECONNRESET, "Connection was reset by the peer") \
	S(EDESTADDRREQ, "Destination address is required") \
	S(EEXIST, "Exists already") \
	S(EFAULT, "Bad address in memory") \
	S(EHOSTDOWN, "Host is down") \
	S(EHOSTUNREACH, "Host is unreachable") \
	S(EINTR, "Interrupted system call") \
	S(EINVAL, "Invalid argument") \
	S(EIO, "Input or output error") \
	S(EISCONN, "Socket is connected") \
	S(EISDIR, "Is a directory") \
	S(ELOOP, "Too many symbolic links") \
	S(EMFILE, "Too many open descriptors in the process") \
	S(EMSGSIZE, "Datagram is too long") \
	S(ENAMETOOLONG, "Path or name is too long") \
	S(ENETDOWN, "Network is down") \
	S(ENETUNREACH, "Network is unreachable") \
	S(ENFILE, "Too many open descriptors in the system") \
	S(ENOBUFS, "No buffer space, or send queue is full") \
	S(ENODEV, "No such interface") \
	S(ENOENT, "No such file, path or item") \
	S(ENOMEM, "Out of memory") \
	S(ENOPROTOOPT, "Protocol option is not available") \
	S(ENOSPC, "No space left") \
	S(ENOSYS, "System call does not exist here") \
	S(ENOTCONN, "Socket is not connected") \
	S(ENOTDIR, "Not a directory") \
	S(ENOTSOCK, "Not a socket") \
	S(ENOTSUP, "Not supported here") \
	S(EOPNOTSUPP, "Operation is not supported on this socket") \
	S(EOVERFLOW, "Value is too large") \
	S(EPERM, "Operation is not permitted") \
	S(EPIPE, "Sending has been shut down") \
	S(EPROTO, "Protocol error") \
	S(EPROTONOSUPPORT, "Protocol is not supported") \
	S(EPROTOTYPE, "Socket at that address is of another type") \
	S(ERANGE, "Out of range") \
	S(EROFS, "File system is read-only") \
	S(ESHUTDOWN, "Socket has been shut down") \
	S(ESRCH, "No such process") \
	S(ETIMEDOUT, "Timed out") \
	ONLY_HERE(S)

#define L_CODE(name, text)	DGRAM_##name,
#define S_CODE(name, text)	-name,
#define NAME(name, text)	#name "\0"
#define TEXT(name, text)	text "\0"

static const short codes[] = { CODES(L_CODE, S_CODE) };

/* The n-th of strings that lie one behind the other. */
static const char *
nth(const char *strings, size_t n)
{
	while (n-- > 0)
		strings += strlen(strings) + 1;
	return strings;
}

/* Behind the last of the codes: a string for those that are not there. */
static size_t
find(int err)
{
	size_t i;

	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (codes[i] == err)
			break;
	}
	return i;
}

const char *
dgram_err_name(int err)
{
	return err >= 0 ? "OK" : nth(CODES(NAME, NAME) "UNKNOWN", find(err));
}

const char *
dgram_strerror(int err)
{
	return err >= 0 ? "Success" :
	    nth(CODES(TEXT, TEXT) "Unknown error", find(err));
}

const char *
dgram_version(void)
{
	return DGRAM_VERSION;
}

/* Not inline: it is the rare end of each system call. */
DGI_APART int
dgi_call_failure(int saved_errno)
{
	int e = errno == EWOULDBLOCK ? EAGAIN : errno;

	errno = saved_errno;
	return -e;
}
