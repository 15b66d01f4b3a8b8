#!/bin/sh
# SPDX-License-Identifier: ISC
#
# The tests where Criterion cannot go:  matrix.sh outdir name
#
#	tsan	ThreadSanitizer; a race fails the test
#	asan	the address and undefined-behaviour sanitizers, leaks included
#	musl	musl-gcc, static
#	m32	gcc -m32, with a time_t of 32 and of 64 bits
#	s390x	big-endian, user-mode emulation
#	armv7	32 bits that want alignment, user-mode emulation
#	bsd	what a BSD has (bsd_os.h, the fake kqueue, its facts in plat.h), on
#		this system: once with what NetBSD has, once with what all have
#	enosys	a kernel without recvmmsg, sendmmsg, epoll_create1, eventfd2: all
#		of them and each by itself; every one must have been refused
#
# Builds the programs with the small runner (mini.h) in outdir/name and runs
# them.  What the machine cannot build or run is one skipped test, with the
# reason; the last line is `N passed, N failed, N skipped` over all runs.  A
# single test in one of these, after make check-s390x for example:
#
#	DGT_EMULATED=1 qemu-s390x-static out/s390x/mini/test_timer 'timer::*'
#	out/enosys/enosys recvmmsg -- out/enosys/mini/test_recv 'recv::drain*'
#
# Environment: MAKE, TESTS (names of all test programs), CONFORMANCE (those of
# tests/conformance, which run in tsan, asan, musl and bsd), WERROR, GCC (the
# compiler of the machine), JOBS.
set -u

# For sanitizers and emulators on a busy machine.
DGT_SLOW=${DGT_SLOW:-3}
TEST_TIME=${TEST_TIME:-300}
export DGT_SLOW TEST_TIME

out=$1
what=$2
make=${MAKE:-make}
: "${TESTS:?}"
case $what in
tsan | asan | musl | bsd) CONFORMANCE=${CONFORMANCE:-} ;;
*) CONFORMANCE= ;;
esac
# shellcheck source=tests/limits.sh
. "${0%/*}/limits.sh"
export JOBS
# Built with what is said here, whatever this make was called with.
werror=${WERROR:-}
unset MAKEFLAGS MFLAGS MAKEOVERRIDES O V CC WERROR CPPFLAGS CFLAGS LDFLAGS

tmp=$(mktemp -d "${TMPDIR:-/tmp}/dgt.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0 skipped=0

finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
	exit
}

skip() {
	echo "  SKIP check-$what: $1"
	skipped=$((skipped + 1))
}

# A program that can be built so, and runs: cc, flags, what to link with, header.
can() {
	printf '%s\n' '#include <stdio.h>' '#include <sys/socket.h>' \
	    "#include <${4:-errno.h}>" 'int main(void) { return puts("runs") < 0; }' > "$tmp/can.c"
	# shellcheck disable=SC2086
	$1 $2 "$tmp/can.c" $3 -pthread -o "$tmp/can" > "$tmp/log" 2>&1 || {
		skip "nothing is built by $1 $2 here"
		return 1
	}
	# shellcheck disable=SC2086
	[ "$(${DGT_EXEC:-} "$tmp/can" 2>&1)" = runs ] || {
		skip "what $1 $2 builds does not run here"
		return 1
	}
}

# directory, target, cc, flags, what to link with.
build() {
	"$make" -j"$JOBS" O="$1" CC="$3" CFLAGS="$4" LDFLAGS="$5" \
	    TESTS="$TESTS" CONFORMANCE="$CONFORMANCE" WERROR="$werror" \
	    "$2" > "$tmp/log" 2>&1 && return 0
	grep -v '^  \(CC\|AR\)  ' "$tmp/log"
	echo "  FAIL check-$what: does not compile"
	failed=$((failed + 1))
	return 1
}

# title, command: adds the sum that the command prints.
add() {
	echo "  -- $1"
	shift
	status=0
	"$@" > "$tmp/run" 2>&1 || status=$?
	# A backend or so that is not there is told once, with how often.
	awk '
	/^    SKIP / {
		reason = $0
		sub(/^    SKIP [^ ]* /, "", reason)
		n[reason]++
		next
	}
	/ 0 failed, [0-9]* skipped$/ || /^[0-9]+ passed, / { next }
	{ print }
	END { for (r in n) print "    SKIP " n[r] " tests: " r }' "$tmp/run"
	sums=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' \
	    "$tmp/run")
	# shellcheck disable=SC2086
	set -- ${sums:-0 0 0}
	echo "     $1 passed, $2 failed, $3 skipped"
	if [ "$status" -ne 0 ] && [ "$2" -eq 0 ]; then
		echo "  FAIL check-$what: status $status"
		failed=$((failed + 1))
	fi
	passed=$((passed + $1)) failed=$((failed + $2))
	skipped=$((skipped + $3))
}

# directory, names or none for all: those that sleep longest first, or the end
# waits for them.
programs() {
	dir=$1
	shift
	# shellcheck disable=SC2086
	[ $# -gt 0 ] || set -- $TESTS
	names=" $* "
	for t in queue threads adopt flush; do
		case $names in
		*" $t "*)
			names=" $t$(echo "$names" | sed "s/ $t / /")" ;;
		esac
	done
	for t in $names; do
		printf '%s ' "$dir/mini/test_$t"
	done
	for t in $CONFORMANCE; do
		printf '%s ' "$dir/mini/conformance/$t"
	done
}

# title, directory, cc, flags, what to link with.
suite() {
	can "$3" "$4" "$5" || return
	build "$2" tests-mini "$3" "$4" "$5" || return
	# More than there are processors: they mostly sleep.
	# shellcheck disable=SC2046
	add "$1" env JOBS=$((JOBS * 2)) sh tests/run-mini.sh $(programs "$2")
}

emulated() {
	DGT_EXEC=$1
	DGT_EMULATED=1
	export DGT_EXEC DGT_EMULATED
	command -v "$1" > /dev/null 2>&1 || {
		skip "no $1"
		finish
	}
}

gcc=${GCC:-gcc}
case $what in
tsan)
	TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
	export TSAN_OPTIONS
	suite "$gcc -fsanitize=thread" "$out/tsan" "$gcc" \
	    "-O1 -g -fsanitize=thread" ""
	;;
asan)
	suite "$gcc -fsanitize=address,undefined" "$out/asan" "$gcc" \
	    "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
-fno-sanitize-recover=all" ""
	;;
musl)
	suite "musl-gcc" "$out/musl" musl-gcc "-O1 -g" -static
	;;
m32)
	# Without gcc-multilib, which no cross compiler can stand beside.
	cc="$gcc -m32 -idirafter /usr/include/x86_64-linux-gnu"
	suite "$gcc -m32" "$out/m32" "$cc" "-O1 -g" ""
	# What sees a time; the others have just run.
	TESTS='os cmsg meta recv timer threads embed'
	suite "$gcc -m32, 64-bit time_t" "$out/m32-time64" "$cc" \
	    "-O1 -g -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64" ""
	;;
s390x)
	emulated qemu-s390x-static
	suite "s390x" "$out/s390x" s390x-linux-gnu-gcc "-O1 -g" -static
	;;
armv7)
	emulated qemu-arm-static
	suite "armv7" "$out/armv7" arm-linux-gnueabihf-gcc "-O1 -g" -static
	;;
bsd)
	# Not those of addresses and metadata: they ask this system's headers.
	TESTS="mem mmsg poller kqueue arena loop timer watch wake threads embed \
fork socket state adopt access states recv send queue flush hold peer rights option \
mcast unix path stats \
abort blocklist faults rules input bsd"
	facts=-DDGT_BSD=1
	for fact in EPOLL POLLRDHUP EVENTFD TRUE_LENGTH ERRQUEUE ABSTRACT \
	    EMPTY_NAME MEMINFO FORGETFUL_DISCONNECT MULTICAST_ALL \
	    BINDTODEVICE REUSEPORT_BALANCED SO_PROTOCOL TIMESTAMPNS ENONET \
	    RECVTOS SEND_TTL SEND_TOS NOHUGEPAGE PASSCRED MREQN SOURCE_GROUP \
	    MSFILTER PROC_FD FCHMODAT2; do
		facts="$facts -DDGI_HAVE_$fact=0"
	done
	facts="$facts -DDGI_HAVE_REUSEADDR_IS_REUSEPORT=1 -DDGI_HAVE_SNDBUF_LIMIT=1"
	skip "no BSD has epoll, its tests are left out"
	DGT_ARGS='!*_epoll'
	export DGT_ARGS
	suite "as on NetBSD" "$out/bsd" "$gcc" "-O1 -g $facts" ""
	suite "as on NetBSD, without recvmmsg, sendmmsg, SOCK_CLOEXEC" \
	    "$out/bsd-least" "$gcc" "-O1 -g $facts -DDGI_HAVE_MMSG=0 \
-DDGI_HAVE_RAW_SENDMMSG=0 -DDGI_HAVE_SOCK_CLOEXEC=0" ""
	;;
enosys)
	dir=$out/enosys
	can "$gcc" "-O1" "" linux/seccomp.h || finish
	build "$dir" "$dir/enosys" "$gcc" "-O1 -g" "" || finish
	"$dir/enosys" eventfd2 -- true > "$tmp/log" 2>&1
	[ $? -ne 77 ] || {
		skip "$(head -n 1 "$tmp/log")"
		finish
	}
	build "$dir" tests-mini "$gcc" "-O1 -g" "" || finish
	# The fake kqueue of the tests is made of epoll: left out.
	TESTS=$(echo " $TESTS " | sed 's/ fake_kqueue / /; s/ kqueue / /')
	# All calls, or one and the tests of those who make it.
	while read -r calls names; do
		calls=$(echo "$calls" | tr , ' ')
		unset DGT_ARGS
		case $calls in
		*epoll_create1*)
			# shellcheck disable=SC2086
			"$dir/enosys" $calls -- "$dir/mini/test_loop" \
			    loop::nothing_epoll > "$tmp/log"
			grep -q 'SKIP .* no epoll on this system' \
			    "$tmp/log" || {
				echo "  FAIL check-enosys: epoll was there"
				failed=$((failed + 1))
			}
			# All of them for the same reason: that counts once.
			skip "without epoll neither its tests nor the fake's"
			DGT_ARGS='!*_epoll !*_kqueue'
			export DGT_ARGS ;;
		esac
		# shellcheck disable=SC2046,SC2086
		add "without $calls" "$dir/enosys" $calls -- \
		    env JOBS=$((JOBS * 2)) \
		    sh tests/run-mini.sh $(programs "$dir" $names)
	done <<- end
		recvmmsg,sendmmsg,epoll_create1,eventfd2
		recvmmsg os mmsg recv stats faults rules
		sendmmsg os mmsg send flush unix faults rules
		epoll_create1 poller loop watch wake socket
		eventfd2 os loop wake
	end
	;;
*)
	echo "matrix.sh: $what?" >&2
	exit 2
	;;
esac
finish
