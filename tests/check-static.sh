#!/bin/sh
# SPDX-License-Identifier: ISC
#
# check-static.sh outdir: shows what a small static daemon pays.  A program of
# by-address calls, linked statically, runs and holds neither getaddrinfo nor
# pthread_create nor what asks for interfaces.  With musl-gcc the echo daemon,
# built for size and stripped, is at most 48 KiB; and a program of calls by name
# runs and tells what these add to it.  CC, CPPFLAGS, CFLAGS, LDFLAGS and MAKE are
# those of the build; SIZE_CFLAGS and SIZE_LDFLAGS those of the small daemon.
set -u

out=$1
limit=49152
rm -rf "$out/static" "$out/musl"
mkdir -p "$out/static"

# Flags are lists of words.
# shellcheck disable=SC2086
link() {
	${CC:-cc} -std=gnu11 -Iinclude ${CPPFLAGS:-} ${CFLAGS:-} -static "$1" \
	    "$out/libdgram.a" ${LDFLAGS:-} -Wl,--gc-sections -o "$2"
}

echo 'int main(void) { return 0; }' > "$out/static/none.c"
if ! link "$out/static/none.c" "$out/static/none" 2> /dev/null; then
	echo "  SKIP check-static: static programs cannot be linked here"
	exit 0
fi

link tests/static.c "$out/static/static" || exit 1
"${NM:-nm}" "$out/static/static" > "$out/static/symbols" || exit 1
if grep -E '[ _@](getaddrinfo|pthread_create|dgi_os_interfaces)(@|$)' "$out/static/symbols" >&2
then
	echo "check-static: linked into a program of by-address calls" >&2
	exit 1
fi
grep -q ' dgram_send_addr$' "$out/static/symbols" || {
	echo "check-static: the program does not hold the library" >&2
	exit 1
}
"$out/static/static" || {
	echo "check-static: tests/static.c ends with status $?" >&2
	exit 1
}

if ! command -v musl-gcc > /dev/null 2>&1; then
	echo "  SKIP check-static: no musl-gcc to tell the size of echo"
	echo "  OK   check-static"
	exit 0
fi
(
	# As a user would type it, whatever this make was called with.
	unset MAKEFLAGS MFLAGS MAKEOVERRIDES WERROR
	"${MAKE:-make}" O="$out/musl" CC=musl-gcc CFLAGS="${SIZE_CFLAGS:--Os}" \
	    CPPFLAGS='' LDFLAGS='' "$out/musl/libdgram.a"
) > "$out/static/log" 2>&1 || {
	cat "$out/static/log" >&2
	exit 1
}
# A small daemon: its source, its name, more flags.
# shellcheck disable=SC2086
small() {
	musl-gcc -std=gnu11 ${SIZE_CFLAGS:--Os} -ffunction-sections \
	    -fdata-sections -Iinclude -static -s $3 "$1" \
	    "$out/musl/libdgram.a" -Wl,--gc-sections ${SIZE_LDFLAGS:-} \
	    -o "$out/static/$2" && size=$(wc -c < "$out/static/$2") &&
	    size=$((size))
}
small tests/static.c by-addr '' || exit 1
without=$size
small tests/static.c by-name -DBY_NAME || exit 1
echo "  by address, static with musl, stripped: $without bytes; by name: $size"
[ "$size" -gt "$without" ] || {
	echo "check-static: names add nothing" >&2
	exit 1
}
"$out/static/by-name" || {
	echo "check-static: by-name ends with status $?" >&2
	exit 1
}
small man/examples/echo.c echo-musl '' || exit 1
echo "  echo, static with musl, stripped: $size bytes, of $limit allowed"
[ "$size" -le "$limit" ] || exit 1
echo "  OK   check-static"
