#!/bin/sh
# SPDX-License-Identifier: ISC
#
# tests/conformance/README against the tests: what it names exists, what is in
# tests/conformance is named, no row is there twice, none of the 55 behaviours
# is missing.  A row is
#
#	what<tab>suite::name[, suite::name...]	or	what<tab>none: reason
set -u
LC_ALL=C
export LC_ALL

readme=${1:-tests/conformance/README}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dgt.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
status=0

fail() {
	echo "check-conformance: $1" >&2
	[ $# -lt 2 ] || sed 's/^/	/' "$2" >&2
	status=1
}

# suite::name of each test of these files.
tests_of() {
	sed -n -E 's/^(BACKEND_)?TEST\(([A-Za-z0-9_]+), ([A-Za-z0-9_]+)\).*/\2::\3/p' \
	    "$@" | sort
}

grep '	' "$readme" > "$tmp/rows" || {
	echo "check-conformance: no rows in $readme" >&2
	exit 1
}
tests_of tests/*.c tests/conformance/*.c | uniq > "$tmp/tests"
tests_of tests/conformance/*.c > "$tmp/here"

# Two tests of one name, in programs of their own, would pass for one.
uniq -d "$tmp/here" > "$tmp/out"
[ ! -s "$tmp/out" ] || fail "the name of two tests:" "$tmp/out"

awk -F '\t' '
NF != 2 || $1 == "" || ($2 !~ /^none: ./ &&
    $2 !~ /^[A-Za-z0-9_]+::[A-Za-z0-9_]+(, [A-Za-z0-9_]+::[A-Za-z0-9_]+)*$/)' \
    "$tmp/rows" > "$tmp/out"
[ ! -s "$tmp/out" ] || fail "not the form of a row:" "$tmp/out"

cut -f 1 "$tmp/rows" | sort | uniq -d > "$tmp/out"
[ ! -s "$tmp/out" ] || fail "rows that are there twice:" "$tmp/out"

cut -f 2 "$tmp/rows" | grep -v '^none: ' | tr -d ' ' | tr ',' '\n' |
    sort -u > "$tmp/named"
comm -23 "$tmp/named" "$tmp/tests" > "$tmp/out"
[ ! -s "$tmp/out" ] || fail "named in $readme, and no test:" "$tmp/out"
comm -13 "$tmp/named" "$tmp/here" | uniq > "$tmp/out"
[ ! -s "$tmp/out" ] ||
	fail "tests of tests/conformance without a row:" "$tmp/out"

i=0
while [ $((i += 1)) -le 55 ]; do
	grep -q "^5\\.$i " "$tmp/rows" || echo "5.$i"
done > "$tmp/out"
[ ! -s "$tmp/out" ] || fail "behaviours without a row:" "$tmp/out"

[ "$status" -ne 0 ] || echo "  OK   check-conformance"
exit "$status"
