#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Shows that the tests notice a broken rule.  Each tests/mutants/*.patch (made
# for patch -p1) is applied to a copy of the tree; then at least one test must
# fail.  A patch that does not apply, a mutant that does not compile and a test
# that fails without any patch are errors.  A line `# tests: send socket` in the
# head of a patch names the test programs to try first.  Arguments: the patches,
# or none for all.  Environment: MAKE, TESTS (names of all test programs), JOBS.
set -u

make=${MAKE:-make}
: "${TESTS:?}"
# shellcheck source=tests/limits.sh
. "${0%/*}/limits.sh"
# Mutants are built with the defaults, whatever this make was called with, but
# as fast as can be: most of the time goes into compiling.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES O V CC WERROR CPPFLAGS CFLAGS LDFLAGS

[ $# -gt 0 ] || set -- tests/mutants/*.patch
[ -f "$1" ] || { echo "check-mutants: no patches" >&2; exit 1; }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/dgt.XXXXXX") || exit 1
workers=
trap 'rm -rf "$tmp"' EXIT
# shellcheck disable=SC2086
trap 'kill $workers 2> /dev/null; wait; exit 1' HUP INT TERM

apply() {
	if command -v patch > /dev/null 2>&1; then
		patch -p1 -s -f --no-backup-if-mismatch < "$1"
	else
		git apply -p1 "$1"
	fi
}

programs() {
	for t in "$@"; do
		printf 'out/tests/test_%s ' "$t"
	done
}

# shellcheck disable=SC2046,SC2086
build() {
	"$make" -j"$JOBS" CFLAGS=-O0 $(programs "$@") > ../log 2>&1
}

# The programs that patches name: others run only if those see nothing.
named=$(sed -n 's/^# tests: *//p' "$@" | tr ' ' '\n' | sort -u | tr '\n' ' ')

# Built once; a copy with its times compiles again only what a patch touches.
mkdir "$tmp/base"
tar cf - --exclude='./out*' --exclude='./.git' . | (cd "$tmp/base" && tar xf -) ||
	exit 1
(
	cd "$tmp/base" || exit 1
	# shellcheck disable=SC2086
	build $named || {
		cat ../log >&2
		exit 1
	}
	# A make that compares whole seconds must see the patched files as newer.
	sleep 1
	# shellcheck disable=SC2046,SC2086
	sh tests/run.sh $(programs $named) > ../log 2>&1 || {
		cat ../log >&2
		echo "check-mutants: the tests fail without any mutant" >&2
		exit 1
	}
) || exit 1

# One program after the other, those named by the patch first, until one fails.
try() {
	first=$(sed -n 's/^# tests: *//p; /^diff /q; /^---/q' "$1")
	for t in $first; do
		case " $TESTS " in
		*" $t "*) ;;
		*)
			echo "error     $2: no test program $t"
			return 1 ;;
		esac
	done
	apply "$1" > ../log 2>&1 || {
		echo "error     $2: does not apply"
		sed 's/^/    /' ../log
		return 1
	}
	rest=
	for t in $TESTS; do
		case " $first " in
		*" $t "*) ;;
		*) rest="$rest $t" ;;
		esac
	done
	for group in "$first" "$rest"; do
		# shellcheck disable=SC2086
		build $group || {
			echo "error     $2: does not compile"
			sed 's/^/    /' ../log
			return 1
		}
		for t in $group; do
			DGT_ARGS=--fail-fast sh tests/run.sh \
			    "out/tests/test_$t" > ../log 2>&1 && continue
			by=$(sed -n 's/^ *FAIL \([^ ]*\).*/\1/p' ../log |
			    sed 1q)
			echo "killed    $2 by ${by:-test_$t}"
			return 0
		done
	done
	echo "SURVIVED  $2"
	return 1
}

# Takes mutants that no other worker has taken.  Each leaves a file in killed or
# in bad.
worker() {
	mkdir "$tmp/$1"
	dir=$tmp/$1
	shift
	for mutant in "$@"; do
		name=${mutant##*/}
		mkdir "$tmp/taken/$name" 2> /dev/null || continue
		case $mutant in
		/*) ;;
		*) mutant=$PWD/$mutant ;;
		esac
		rm -rf "$dir/tree"
		cp -Rp "$tmp/base" "$dir/tree"
		if (cd "$dir/tree" && try "$mutant" "${name%.patch}"); then
			: > "$tmp/killed/$name"
		else
			: > "$tmp/bad/$name"
		fi
	done
}

# Most of the time one compiler runs, or one that waits: as many at a time as
# there are processors.
mkdir "$tmp/taken" "$tmp/killed" "$tmp/bad"
i=0
while [ "$i" -lt "$JOBS" ]; do
	worker "worker$i" "$@" &
	workers="$workers $!"
	i=$((i + 1))
done
wait

count() {
	find "$tmp/$1" -type f | wc -l | tr -d ' '
}
echo "  $(count killed) mutants killed, $(count bad) not"
[ "$(count bad)" -eq 0 ] && [ "$(count killed)" -eq $# ]
