#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Makes sure that a test program can be compiled: installs Criterion where that
# is one command, and says which command it is elsewhere.  CC, CPPFLAGS and
# LDFLAGS are those of the build.
set -u

probe=$(mktemp -d "${TMPDIR:-/tmp}/dgt.XXXXXX") || exit 1
trap 'rm -rf "$probe"' EXIT
trap 'exit 1' HUP INT TERM

works() {
	printf '%s\n' '#include <criterion/criterion.h>' \
	    'Test(a, b) { cr_assert(1); }' > "$probe/t.c"
	# The flags are lists of words.
	# shellcheck disable=SC2086
	${CC:-cc} ${CPPFLAGS:-} "$probe/t.c" ${LDFLAGS:-} -lcriterion \
	    -o "$probe/t" > "$probe/log" 2>&1
}

has() {
	command -v "$1" > /dev/null 2>&1
}

type_this() {
	echo "Criterion, the test library, is missing.  Install it with:" >&2
	echo "    $1" >&2
	exit 1
}

works && exit 0

if ! has "${CC:-cc}"; then
	echo "no C compiler: ${CC:-cc}" >&2
	exit 1
fi

if has apt-get; then
	if [ "$(id -u)" -eq 0 ]; then
		sudo=
	elif has sudo; then
		sudo=sudo
	else
		type_this "apt-get install libcriterion-dev    (as root)"
	fi
	echo "  Criterion, the test library, is missing: installing it"
	DEBIAN_FRONTEND=noninteractive
	export DEBIAN_FRONTEND
	{ $sudo apt-get update -qq &&
	    $sudo apt-get install -y -qq --no-install-recommends \
		libcriterion-dev; } > "$probe/apt" 2>&1 || {
		cat "$probe/apt" >&2
		type_this "apt-get install libcriterion-dev    (as root)"
	}
	works && exit 0
	cat "$probe/log" >&2
	echo "Criterion is installed but does not compile (above)." >&2
	exit 1
fi

if has brew; then type_this "brew install criterion"; fi
if has pkg; then type_this "pkg install criterion    (as root)"; fi
if has dnf; then type_this "dnf install criterion-devel    (as root)"; fi
if has pacman; then type_this "pacman -S criterion    (as root)"; fi
if has apk; then
	type_this "none: Criterion is not built for musl, use a glibc system"
fi
type_this "see https://github.com/Snaipe/Criterion"
