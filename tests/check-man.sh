#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Shows that the manual and the header agree: each function of dgram.h stands in
# the NAME and the SYNOPSIS of exactly one page of section 3, no page names a
# function that is not in the header, references lead somewhere, the code of the
# pages compiles, and mandoc(1) has nothing to say at its level "warning".
set -u

bad=0
fail() {
	echo "$1" >&2
	bad=1
}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/dgt.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

pages=$(find man -name '*.[0-9]' | sort)
[ -n "$pages" ] || { echo "check-man: no pages in man" >&2; exit 1; }

# Names before a parenthesis that are neither in comments nor types.
awk '
{
	line = $0
	while (line != "") {
		if (inside) {
			if ((i = index(line, "*/")) == 0)
				break
			line = substr(line, i + 2)
			inside = 0
		} else if ((i = index(line, "/*")) > 0) {
			code(substr(line, 1, i - 1))
			line = substr(line, i + 2)
			inside = 1
		} else {
			code(line)
			break
		}
	}
}
function code(s) {
	while (match(s, /dgram_[a-z0-9_]+[ \t]*\(/)) {
		name = substr(s, RSTART, RLENGTH)
		sub(/[ \t]*\($/, "", name)
		if (name !~ /_fn$/)
			print name
		s = substr(s, RSTART + RLENGTH)
	}
}' include/dgram.h | sort -u > "$tmp/header"
[ -s "$tmp/header" ] || fail "no functions found in include/dgram.h"

# For each page lines "what name page": nm in NAME, syn in SYNOPSIS, fn anywhere,
# xr for references.
for page in $pages; do
	base=${page##*/}
	[ "$(sed 1q "$page")" = '.\" SPDX-License-Identifier: ISC' ] ||
		fail "first line is not the licence: $page"
	awk -v page="$base" '
	/^\.Sh / { section = $0; sub(/^\.Sh /, "", section) }
	/^\./ {
		for (i = 1; i <= NF; i++) {
			word = $i
			sub(/^\./, "", word)
			name = $(i + 1)
			if (word == "Nm" && section == "NAME")
				print "nm", name, page
			if (word == "Fn" || word == "Fo") {
				print "fn", name, page
				if (section == "SYNOPSIS")
					print "syn", name, page
			}
			if (word == "Xr")
				print "xr", name "." $(i + 2), page
		}
	}' "$page"
done > "$tmp/found"

grep '^syn dgram_.*\.3$' "$tmp/found" | sort -u > "$tmp/syn"
while read -r fn; do
	n=$(grep -c "^syn $fn " "$tmp/syn")
	if [ "$n" -eq 0 ]; then
		fail "in no page's SYNOPSIS: $fn"
	elif [ "$n" -gt 1 ]; then
		fail "in the SYNOPSIS of $n pages: $fn"
	else
		page=$(awk -v fn="$fn" '$2 == fn { print $3 }' "$tmp/syn")
		grep -q "^nm $fn $page\$" "$tmp/found" ||
			fail "not in the NAME of $page: $fn"
	fi
done < "$tmp/header"

# The reverse.  A page may carry a name of its own, and tell of types of
# functions, dgram_..._fn.
while read -r what name page; do
	case $what:$name in
	*:dgram_*_fn) continue ;;
	nm:dgram_* | fn:dgram_*) ;;
	*) continue ;;
	esac
	if [ "$what" = nm ] && [ "$name" = "${page%.*}" ]; then
		continue
	fi
	grep -qx "$name" "$tmp/header" ||
		fail "$page: no such function in dgram.h: $name"
	[ "$what" != nm ] || grep -q "^syn $name $page\$" "$tmp/syn" ||
		fail "$page: in NAME, not in SYNOPSIS: $name"
done < "$tmp/found"

# References to pages of ours: a page, or a function that has a link page.
grep '^xr dgram' "$tmp/found" | sort -u > "$tmp/xr"
while read -r _ ref page; do
	[ -f "man/$ref" ] || {
		case $ref in
		*.3) grep -qx "${ref%.3}" "$tmp/header" ;;
		*) false ;;
		esac
	} || fail "$page: refers to $ref, which does not exist"
done < "$tmp/xr"

# Blocks with a function in them, in their order.
for page in $pages; do
	awk '
	/^\.Bd -literal/ { inside = 1; code = 0; text = ""; next }
	/^\.Ed/ {
		if (inside && code)
			printf "%s", text
		inside = 0
	}
	inside {
		gsub(/\\e/, "\\")
		text = text $0 "\n"
		code = code || $0 == "{"
	}' "$page" > "$tmp/code.c"
	${CC:-cc} -std=gnu11 -Wall -Wextra -Wpedantic -Werror -Iinclude \
	    -fsyntax-only -include dgram.h "$tmp/code.c" 2> "$tmp/log" ||
		fail "does not compile: the code of $page: $(cat "$tmp/log")"
done

if command -v mandoc > /dev/null 2>&1; then
	# shellcheck disable=SC2086
	mandoc -T lint -W warning $pages || bad=1
else
	echo "  SKIP check-man: mandoc, which lints the pages, is missing"
fi

[ "$bad" -eq 0 ] && echo "  OK   check-man"
exit "$bad"
