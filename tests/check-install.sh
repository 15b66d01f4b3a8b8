#!/bin/sh
# SPDX-License-Identifier: ISC
#
# check-install.sh outdir: installs into an empty stage, compiles and runs a
# program by what libdgram.pc there says, finds a manual page for each public
# function, and shows that uninstall leaves no file.  CC, CFLAGS, LDFLAGS, PREFIX
# and MAKE are those of the build.
set -u

out=$1
stage=$PWD/$out/stage
prefix=${PREFIX:-/usr/local}
rm -rf "$stage"
mkdir -p "$stage"

run() {
	"${MAKE:-make}" O="$out" PREFIX="$prefix" DESTDIR="$stage" "$@" \
	    > "$stage.log" 2>&1 || {
		cat "$stage.log" >&2
		exit 1
	}
}

run install
pc=$(find "$stage" -name libdgram.pc)
[ -n "$pc" ] || { echo "check-install: no libdgram.pc" >&2; exit 1; }

if command -v pkg-config > /dev/null 2>&1; then
	# System directories too: the stage is none.
	flags=$(PKG_CONFIG_LIBDIR=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$stage \
	    PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 \
	    pkg-config --static --cflags --libs libdgram) || exit 1
	version=$(PKG_CONFIG_LIBDIR=${pc%/*} pkg-config --modversion libdgram)
else
	value() {
		sed -n "s/^$1=//p" "$pc" | sed "s|\${prefix}|$prefix|"
	}
	flags="-I$stage$(value includedir) -L$stage$(value libdir) -ldgram"
	version=$(sed -n 's/^Version: //p' "$pc")
fi

cat > "$stage.c" << 'END'
#include <dgram.h>
#include <string.h>

int
main(int argc, char **argv)
{
	struct dgram_addr addr;

	return argc != 2 || strcmp(dgram_version(), argv[1]) != 0 ||
	    strcmp(DGRAM_VERSION, argv[1]) != 0 ||
	    dgram_addr_parse(&addr, "127.0.0.1", 80) != 0;
}
END
# Flags are lists of words.
# shellcheck disable=SC2086
${CC:-cc} ${CFLAGS:-} "$stage.c" $flags ${LDFLAGS:-} -o "$stage.prog" || {
	echo "check-install: does not compile with: $flags" >&2
	exit 1
}
"$stage.prog" "$version" || {
	echo "check-install: version $version of libdgram.pc is not the library's" >&2
	exit 1
}

# A link page for each function that the pages name, to a page that is there.
bad=0
man3=$(find "$stage" -type d -name man3)
names=$(sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \([a-z0-9_]*\).*/\1/p' man/*.3)
for name in $names; do
	if [ ! -f "$man3/$name.3" ]; then
		echo "check-install: no page $name.3" >&2
		bad=1
		continue
	fi
	target=$(sed -n '1s/^\.so //p' "$man3/$name.3")
	if [ -n "$target" ] && [ ! -f "${man3%/*}/$target" ]; then
		echo "check-install: $name.3 leads to $target, which is missing" >&2
		bad=1
	fi
done
count=$(find "$stage" -type f | wc -l)

run uninstall
left=$(find "$stage" -type f -o -type l)
if [ -n "$left" ]; then
	echo "check-install: left by uninstall: $left" >&2
	bad=1
fi
rm -rf "$stage" "$stage.log" "$stage.c" "$stage.prog"
[ "$bad" -eq 0 ] && echo "  OK   check-install: $((count)) files"
exit "$bad"
