#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Runs test programs and sums up:  run.sh program...
#
# What Criterion alone lets pass fails here: a program that runs no test, that
# hangs or dies, and what a sanitizer has to say, leaks included.  The last line
# is `N passed, N failed, N skipped`; status 1 if anything failed or nothing
# passed.  Environment: JOBS (tests at a time), TEST_TIME (seconds for one
# program, 120).
set -u

tmp=$(mktemp -d "${TMPDIR:-/tmp}/dgt.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# shellcheck source=tests/limits.sh
. "${0%/*}/limits.sh"

# Directories of tests that crash stay behind: they go with this one.
mkdir "$tmp/dir" "$tmp/san"
TMPDIR=$tmp/dir
# The logs tell of leaks, which Criterion sees too late.  A segment violation is
# left to the runner, which calls it a crash of that test.
san="log_path=$tmp/san/log"
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}$san:handle_segv=0"
UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}$san:print_stacktrace=1"
export TMPDIR ASAN_OPTIONS UBSAN_OPTIONS

# Prints the sanitizer logs, without the leaks of Criterion itself: those whose
# memory is allocated (frame 1) inside its library.
san_logs() {
	for log in "$tmp"/san/*; do
		[ -f "$log" ] || continue
		awk '
		function flush() {
			if (leak != "" && !theirs) {
				printf "%s", leak
				any = 1
			}
			leak = ""
			theirs = 0
		}
		/^(Direct|Indirect) leak of / {
			flush()
			leak = $0 "\n"
			next
		}
		leak != "" && /^ *#/ {
			leak = leak $0 "\n"
			if ($1 == "#1" && /lib(criterion|nanomsg|boxfort)/)
				theirs = 1
			next
		}
		{ flush() }
		/ERROR: LeakSanitizer: / || /^=*$/ || /^SUMMARY: .* leaked in/ {
			next
		}
		{ print; any = 1 }
		END { flush(); exit !any }' "$log"
	done
}

passed=0 failed=0 skipped=0
for program in "$@"; do
	name=${program##*/}
	rm -f "$tmp/tap" "$tmp/out" "$tmp/err" "$tmp"/san/*
	status=0
	# shellcheck disable=SC2086
	$limit "$program" --verbose -j"$JOBS" --tap="$tmp/tap" ${DGT_ARGS:-} \
	    < /dev/null > "$tmp/out" 2> "$tmp/err" || status=$?
	[ -f "$tmp/tap" ] || : > "$tmp/tap"

	# One line for each test: ok, not ok, or ok with # SKIP reason.
	p=0 f=0 s=0 plan=0
	eval "$(awk '
	/^1\.\.[0-9]+$/ { plan = substr($0, 4) + 0 }
	/^not ok - / { f++; next }
	/^ok - .*# SKIP/ { s++; next }
	/^ok - / { p++ }
	END {
		printf "p=%d f=%d s=%d plan=%d\n", p, f, s, plan
	}' "$tmp/tap")"
	total=$((p + f + s))
	counts="$p passed, $f failed, $s skipped"

	why=
	san_logs > "$tmp/sanitizer"
	if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
		why="no end after $seconds seconds"
	elif [ "$total" -ne "$plan" ]; then
		why="$plan tests planned, $total reported, status $status"
	elif [ "$total" -eq 0 ]; then
		why="runs no test, status $status"
	elif [ "$f" -eq 0 ] && [ "$status" -ne 0 ]; then
		why="status $status"
	elif [ "$f" -eq 0 ] && [ -s "$tmp/sanitizer" ]; then
		why="sanitizer"
	fi
	if [ -n "$why" ]; then
		f=$((f + 1))
		counts="$counts; FAILED: $why"
	fi
	printf '  %-20s %s\n' "$name" "$counts"

	sed -n 's/^NOTE /    &/p' "$tmp/out"
	# The skipped with their reason, the failed with their messages.
	awk '
	/^(not )?ok - / { show = 0 }
	/^ok - .*# SKIP/ {
		sub(/^ok - /, ""); sub(/ *# SKIP/, ":")
		print "    SKIP " $0
	}
	/^not ok - / {
		sub(/^not ok - /, "")
		print "    FAIL " $0
		show = 1
		next
	}
	/^#/ { next }
	show && !/^ *(---|\.\.\.|failures:|assertions: [0-9]+)$/ {
		print "    " $0
	}' "$tmp/tap"
	if [ "$f" -gt 0 ]; then
		# Tests that began and did not end, when there is no report.
		[ -s "$tmp/tap" ] || awk '
		/^\[RUN \] / { run[$3] = 1 }
		/^\[(PASS|FAIL|SKIP)\] / { sub(/:$/, "", $2); delete run[$2] }
		END { for (t in run) print "    FAIL " t " did not end" }' \
		    "$tmp/err"
		grep -hv '^\[[A-Z=-][A-Z =-]*\]' "$tmp/out" "$tmp/err" |
		    sed '/^$/d; s/^/      | /' | tail -n 200
		sed 's/^/      ! /' "$tmp/sanitizer"
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
