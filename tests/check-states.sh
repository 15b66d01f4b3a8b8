#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Each function of dgram.h that takes a socket has a row in the table of
# test_states.c, and each row is of such a function.
set -u

tmp=$(mktemp -d "${TMPDIR:-/tmp}/dgt.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

awk '
!/^#/ { text = text " " $0 }
END {
	gsub(/\/\*[^*]*\*+([^\/*][^*]*\*+)*\//, " ", text)
	n = split(text, part, ";")
	for (i = 1; i <= n; i++) {
		if (part[i] ~ /typedef / ||
		    part[i] !~ /struct dgram_socket \*[^*]/)
			continue
		if (match(part[i], /dgram_[a-z0-9_]+\(/))
			print substr(part[i], RSTART, RLENGTH - 1)
	}
}' include/dgram.h | sort > "$tmp/functions"
sed -n 's/^[ 	]*ROW(\([a-z0-9_]*\),.*/\1/p' tests/test_states.c |
    sort -u > "$tmp/rows"

grep -qx dgram_bind_addr "$tmp/functions" || {
	echo "check-states: no functions found in include/dgram.h" >&2
	exit 1
}
cmp -s "$tmp/functions" "$tmp/rows" || {
	echo "check-states: a function without a row, > a row without one:" >&2
	diff "$tmp/functions" "$tmp/rows" | grep '^[<>]' >&2
	exit 1
}
echo "  OK   check-states"
