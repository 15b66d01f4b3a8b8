#!/bin/sh
# SPDX-License-Identifier: ISC
#
# check-symbols.sh libdgram.a: a static archive shares one name space with the
# program, and the library has no state of its own.  So every global symbol that
# the archive defines begins with dgram_ or dgi_, and no object in it is writable.
# For a plain build: sanitizers add symbols.
set -u

nm=${NM:-nm}
archive=$1
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dgt.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

"$nm" -g "$archive" > "$tmp/global" || exit 1
awk '
/:$/ { member = $0 }
NF == 3 && $3 ~ /^_?(dgram_|dgi_)/ { n++ }
NF == 3 && $3 !~ /^_?(dgram_|dgi_)/ {
	print "global without prefix: " member " " $3
	bad = 1
}
END {
	if (n == 0) {
		print "no global symbols at all"
		bad = 1
	}
	exit bad
}' "$tmp/global" >&2 || exit 1

# Objects in .data, .bss and their like.  .data.rel.ro is const with addresses
# in it, which a position-independent program's start makes read-only.
if "$nm" -f sysv "$archive" > "$tmp/all" 2> /dev/null; then
	awk -F'|' '
	/^Symbols from / { member = $0; sub(/:$/, "", member) }
	NF == 7 {
		gsub(/ /, "", $1)
		gsub(/ /, "", $3)
		gsub(/ /, "", $7)
		if ($3 !~ /^[BbCcDdGgSs]$/ || $7 ~ /^\.data\.rel\.ro/)
			next
		print "writable: " $1 " in " $7 ", " member
		bad = 1
	}
	END { exit bad }' "$tmp/all" >&2 || exit 1
else
	echo "  SKIP check-symbols: this nm tells no sections"
fi
echo "  OK   check-symbols"
