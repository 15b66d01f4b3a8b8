/* SPDX-License-Identifier: ISC */

/*
 * Names and sentences of errors.
 */

#include "test.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

struct code {
	int code;
	const char *name;
};

static const struct code library[] = {
	{ DGRAM_ERR_SOCKET_BAD_TYPE, "ERR_SOCKET_BAD_TYPE" },
	{ DGRAM_ERR_SOCKET_ALREADY_BOUND, "ERR_SOCKET_ALREADY_BOUND" },
	{ DGRAM_ERR_SOCKET_BAD_PORT, "ERR_SOCKET_BAD_PORT" },
	{ DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE, "ERR_SOCKET_BAD_BUFFER_SIZE" },
	{ DGRAM_ERR_SOCKET_DGRAM_IS_CONNECTED,
	    "ERR_SOCKET_DGRAM_IS_CONNECTED" },
	{ DGRAM_ERR_SOCKET_DGRAM_NOT_CONNECTED,
	    "ERR_SOCKET_DGRAM_NOT_CONNECTED" },
	{ DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING,
	    "ERR_SOCKET_DGRAM_NOT_RUNNING" },
	{ DGRAM_ERR_INVALID_FD_TYPE, "ERR_INVALID_FD_TYPE" },
	{ DGRAM_ERR_IP_BLOCKED, "ERR_IP_BLOCKED" },
	{ DGRAM_ENOTFOUND, "ENOTFOUND" },
	{ DGRAM_EAI_AGAIN, "EAI_AGAIN" },
	{ DGRAM_EAI_ADDRFAMILY, "EAI_ADDRFAMILY" },
	{ DGRAM_EAI_BADFLAGS, "EAI_BADFLAGS" },
	{ DGRAM_EAI_FAIL, "EAI_FAIL" },
	{ DGRAM_EAI_FAMILY, "EAI_FAMILY" },
	{ DGRAM_EAI_MEMORY, "EAI_MEMORY" },
	{ DGRAM_EAI_OVERFLOW, "EAI_OVERFLOW" },
	{ DGRAM_EAI_SERVICE, "EAI_SERVICE" },
	{ DGRAM_EAI_SOCKTYPE, "EAI_SOCKTYPE" },
	{ DGRAM_EAI_SYSTEM, "EAI_SYSTEM" },
};
#define NLIBRARY	(sizeof(library) / sizeof(library[0]))

/* What the kernel says of datagrams, ICMP's errors included, and the rest. */
#define E(code)	{ -code, #code }
static const struct code system_codes[] = {
	E(EACCES), E(EADDRINUSE), E(EADDRNOTAVAIL), E(EAFNOSUPPORT), E(EAGAIN),
	E(EBADF), E(EBUSY), E(ECANCELED), E(ECONNREFUSED), E(ECONNRESET),
	E(EDESTADDRREQ), E(EEXIST), E(EFAULT), E(EHOSTDOWN), E(EHOSTUNREACH),
	E(EINTR), E(EINVAL), E(EIO), E(EISCONN), E(ELOOP), E(EMFILE),
	E(EMSGSIZE), E(ENAMETOOLONG), E(ENETDOWN), E(ENETUNREACH), E(ENFILE),
	E(ENOBUFS), E(ENODEV), E(ENOENT), E(ENOMEM), E(ENOPROTOOPT),
	E(ENOSPC), E(ENOSYS), E(ENOTCONN), E(ENOTDIR), E(ENOTSOCK),
	/* The same number as EOPNOTSUPP on Linux; then this is Node's name. */
	E(ENOTSUP), E(EPERM), E(EPIPE), E(EPROTO), E(EPROTONOSUPPORT),
	E(EPROTOTYPE), E(EROFS), E(ESHUTDOWN), E(ETIMEDOUT),
#ifdef ENONET
	E(ENONET),		/* ICMP: source host is isolated */
#endif
};
#define NSYSTEM	(sizeof(system_codes) / sizeof(system_codes[0]))

static void
check_sentence(int code)
{
	const char *s = dgram_strerror(code);
	size_t n;

	cr_assert(s != NULL);
	n = strlen(s);
	cr_assert(n >= 6 && n < 80, "%d: '%s'", code, s);
	cr_assert(isupper((unsigned char)s[0]), "'%s'", s);
	cr_assert(s[n - 1] != '.' && strchr(s, '\n') == NULL, "'%s'", s);
	cr_assert(strcmp(s, "Unknown error") != 0, "%d", code);
}

TEST(err, library_codes)
{
	size_t i, j;

	for (i = 0; i < NLIBRARY; i++) {
		cr_assert(strcmp(dgram_err_name(library[i].code),
		    library[i].name) == 0, "%s is %s", library[i].name,
		    dgram_err_name(library[i].code));
		check_sentence(library[i].code);
		/* Never taken for an errno: those end at 4095. */
		cr_assert(library[i].code < -4095);
		for (j = 0; j < i; j++) {
			cr_assert(library[i].code != library[j].code);
			cr_assert(strcmp(dgram_strerror(library[i].code),
			    dgram_strerror(library[j].code)) != 0);
		}
	}
}

/* No code has a name that is not in the list above. */
TEST(err, no_others)
{
	size_t i;
	int code;

	for (code = -4096; code > -10000; code--) {
		for (i = 0; i < NLIBRARY && library[i].code != code; i++)
			continue;
		cr_assert((strcmp(dgram_err_name(code), "UNKNOWN") == 0) ==
		    (i == NLIBRARY), "%d is %s", code, dgram_err_name(code));
	}
}

/* No code of the header was forgotten, here or in the table. */
TEST(err, all_of_the_header)
{
	FILE *f = fopen("include/dgram.h", "r");
	char line[200], name[100];
	size_t i, n = 0;
	int code;

	if (f == NULL)
		cr_skip_test("not run from the top of the tree");
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "#define DGRAM_%99s (%d)", name, &code) != 2)
			continue;
		n++;
		cr_assert(strcmp(dgram_err_name(code), name) == 0,
		    "%s is %s", name, dgram_err_name(code));
		for (i = 0; i < NLIBRARY; i++) {
			if (strcmp(library[i].name, name) == 0)
				break;
		}
		cr_assert(i < NLIBRARY, "%s is not tested", name);
	}
	fclose(f);
	cr_assert_eq(n, NLIBRARY);
}

TEST(err, system_codes)
{
	size_t i, j;

	for (i = 0; i < NSYSTEM; i++) {
		cr_assert(strcmp(dgram_err_name(system_codes[i].code),
		    system_codes[i].name) == 0, "%s is %s",
		    system_codes[i].name, dgram_err_name(system_codes[i].code));
		check_sentence(system_codes[i].code);
		for (j = 0; j < i; j++)
			cr_assert(strcmp(dgram_strerror(system_codes[i].code),
			    dgram_strerror(system_codes[j].code)) != 0,
			    "%s and %s", system_codes[i].name,
			    system_codes[j].name);
	}
}

/* Each name belongs to one code only. */
TEST(err, names_are_unique)
{
	static char seen[256][40];
	const char *name;
	int code, i, n = 0;

	for (code = -1; code > -6000; code--) {
		name = dgram_err_name(code);
		if (strcmp(name, "UNKNOWN") == 0)
			continue;
		for (i = 0; i < n; i++)
			cr_assert(strcmp(seen[i], name) != 0, "%s twice", name);
		cr_assert(n < 256 && strlen(name) < 40);
		strcpy(seen[n++], name);
		check_sentence(code);
	}
	cr_assert(n >= (int)(NSYSTEM + NLIBRARY));
}

TEST(err, unknown_and_success)
{
	static const int unknown[] = { INT_MIN, -4000, -4095, -4096, -5000,
	    -5010, -5100, -5112, -1000000 };
	static const int success[] = { 0, 1, 65507, INT_MAX };
	size_t i;

	for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		cr_assert_eq(strcmp(dgram_err_name(unknown[i]), "UNKNOWN"), 0);
		cr_assert_eq(strcmp(dgram_strerror(unknown[i]),
		    "Unknown error"), 0);
	}
	for (i = 0; i < sizeof(success) / sizeof(success[0]); i++) {
		cr_assert_eq(strcmp(dgram_err_name(success[i]), "OK"), 0);
		cr_assert_eq(strcmp(dgram_strerror(success[i]), "Success"), 0);
	}
}

TEST(err, version)
{
	char text[40];

	snprintf(text, sizeof(text), "%d.%d.%d", DGRAM_VERSION_MAJOR,
	    DGRAM_VERSION_MINOR, DGRAM_VERSION_PATCH);
	cr_assert_eq(strcmp(dgram_version(), text), 0);
	cr_assert_eq(strcmp(dgram_version(), DGRAM_VERSION), 0);
}
