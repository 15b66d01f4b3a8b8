#!/bin/sh
# SPDX-License-Identifier: ISC
#
# check-install.sh outdir: installs into an empty stage, compiles and runs
# programs by what libdgram.pc there says, one of them of calls by name, finds a
# manual page for each public function, and shows that uninstall leaves no file.
# CC, CFLAGS, LDFLAGS, PREFIX and MAKE are those of the build.
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
	flags() {
		PKG_CONFIG_LIBDIR=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$stage \
		    PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 \
		    PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 \
		    pkg-config "$@" --cflags --libs libdgram
	}
	plain=$(flags) && static=$(flags --static) || exit 1
	version=$(PKG_CONFIG_LIBDIR=${pc%/*} pkg-config --modversion libdgram)
else
	value() {
		sed -n "s/^$1=//p" "$pc" | sed "s|\${prefix}|$prefix|"
	}
	plain="-I$stage$(value includedir) $(sed -n 's/^Libs: //p' "$pc" |
	    sed "s|\${libdir}|$stage$(value libdir)|")"
	static=$plain
	version=$(sed -n 's/^Version: //p' "$pc")
fi

# Here it may do without, elsewhere names would not.
case " $plain " in
*" -pthread "*) ;;
*)
	echo "check-install: no -pthread: $plain" >&2
	exit 1
	;;
esac

# compile what flags: $stage-what.c
compile() {
	# Flags are lists of words.
	# shellcheck disable=SC2086
	${CC:-cc} ${CFLAGS:-} "$stage-$1.c" $2 ${LDFLAGS:-} -o "$stage-$1" || {
		echo "check-install: does not compile with: $2" >&2
		exit 1
	}
}

cat > "$stage-addr.c" << 'END'
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
cat > "$stage-name.c" << 'END'
#include <dgram.h>
#include <string.h>
#include <sys/socket.h>

static int answers;

static void
on_answer(int status, const struct dgram_addr *addrs, size_t n, void *arg)
{
	(void)status, (void)addrs, (void)n, (void)arg;
	answers++;
}

int
main(void)
{
	struct dgram_loop *loop;

	return dgram_loop_new(NULL, &loop) != 0 ||
	    dgram_resolve(loop, "localhost", AF_UNSPEC, on_answer, NULL,
	    NULL) != 0 || dgram_loop_run(loop) != 0 || answers != 1 ||
	    dgram_loop_free(loop) != 0;
}
END
for how in "$plain" "$static"; do
	compile addr "$how"
	"$stage-addr" "$version" || {
		echo "check-install: version $version of libdgram.pc is not" \
		    "the library's" >&2
		exit 1
	}
	compile name "$how"
	"$stage-name" || {
		echo "check-install: no look-up with: $how" >&2
		exit 1
	}
done

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
rm -rf "$stage" "$stage.log" "$stage"-*
[ "$bad" -eq 0 ] && echo "  OK   check-install: $((count)) files"
exit "$bad"
