#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Runs test programs built with the small runner (mini.h) and sums up, as run.sh
# does for those built with Criterion:  run-mini.sh program...
#
# Several programs run at a time, the tests of each one after the other.  A
# program that runs no test, hangs or dies fails.  The last line is `N passed,
# N failed, N skipped`; status 1 if anything failed or nothing passed.
# Environment: JOBS (programs at a time), TEST_TIME (seconds for one program,
# 120), DGT_EXEC (a command in front of each, as qemu-s390x-static), DGT_ARGS
# (patterns of tests), DGT_SLOW (the limit of each test times this).  A single test, for example:
#
#	make out/mini/test_timer && out/mini/test_timer 'timer::order*'
set -u

tmp=$(mktemp -d "${TMPDIR:-/tmp}/dgt.XXXXXX") || exit 1
workers=
trap 'rm -rf "$tmp"' EXIT
# shellcheck disable=SC2086
trap 'kill $workers 2> /dev/null; wait; exit 1' HUP INT TERM

# shellcheck source=tests/limits.sh
. "${0%/*}/limits.sh"

# Directories of tests that crash stay behind: they go with this one.
mkdir "$tmp/dir"
TMPDIR=$tmp/dir
export TMPDIR

# Leaves the report of a program and `p f s` in its directory.
run() {
	status=0
	# In the background, for only so does a signal reach this shell meanwhile.
	# shellcheck disable=SC2086
	$limit ${DGT_EXEC:-} "$1" ${DGT_ARGS:-} < /dev/null > "$2/out" 2>&1 &
	pid=$!
	wait "$pid" || status=$?
	sums=$(sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' \
	    "$2/out")
	# shellcheck disable=SC2086
	set -- "$1" "$2" ${sums:-0 0 0}
	p=$3 f=$4 s=$5
	why=
	if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
		why="no end after $seconds seconds"
	elif [ -z "$sums" ]; then
		why="no last line, status $status"
	elif [ $((p + f + s)) -eq 0 ]; then
		# A pattern need not match in every program.
		[ -n "${DGT_ARGS:-}" ] || why="runs no test"
	elif [ "$f" -eq 0 ] && [ "$p" -gt 0 ] && [ "$status" -ne 0 ]; then
		why="status $status"
	fi
	counts="$p passed, $f failed, $s skipped"
	if [ -n "$why" ]; then
		f=$((f + 1))
		counts="$counts; FAILED: $why"
	fi
	{
		printf '  %-20s %s\n' "${1##*/}" "$counts"
		# Without the summary.
		sed '${/^[0-9]* passed, /d;}' "$2/out" | head -n 400
	} > "$2/report"
	echo "$p $f $s" > "$2/sums"
}

# Takes programs that no other worker has taken.
worker() {
	pid=
	# shellcheck disable=SC2086
	trap 'kill $pid 2> /dev/null; exit 1' TERM
	for program in "$@"; do
		dir=$tmp/${program##*/}
		mkdir "$dir" 2> /dev/null && run "$program" "$dir"
	done
}

i=0
while [ "$i" -lt "$JOBS" ]; do
	worker "$@" &
	workers="$workers $!"
	i=$((i + 1))
done
wait

passed=0 failed=0 skipped=0
for program in "$@"; do
	dir=$tmp/${program##*/}
	p=0 f=1 s=0
	if [ -f "$dir/sums" ]; then
		cat "$dir/report"
		read -r p f s < "$dir/sums"
	else
		echo "  ${program##*/}: FAILED: no report"
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
