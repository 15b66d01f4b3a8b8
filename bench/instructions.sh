#!/bin/sh
# SPDX-License-Identifier: ISC
#
# User-space instructions per datagram, by callgrind: instructions.sh [out]
#
# Each row runs twice, with N and with 2N datagrams; the difference divided by
# N is free of starts and ends and repeats to 0.1.  No time is measured.  Exit
# status 1 if a path of the library takes more than its limit.
#
# N is a multiple of 512, the datagrams of one pass.

out=${1:-out}
n=4096

if ! command -v valgrind >/dev/null 2>&1; then
	echo 'bench-instructions needs valgrind. To install it:' >&2
	echo '  Debian, Ubuntu   apt-get install valgrind' >&2
	echo '  Fedora           dnf install valgrind' >&2
	echo '  Alpine           apk add valgrind' >&2
	echo '  FreeBSD          pkg install valgrind' >&2
	exit 1
fi
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# Without debugging information: some compilers write what an older valgrind
# cannot read, and the names of functions are enough.
for p in instr rawinstr; do
	cp "$out/bench/$p" "$tmp/$p" || exit 1
	strip -g "$tmp/$p" 2>/dev/null
done

# count program row datagrams: "instructions datagrams calls"
count() {
	if ! valgrind --tool=callgrind --toggle-collect=measured \
	    --callgrind-out-file="$tmp/cg" "$tmp/$1" "$2" "$3" \
	    >"$tmp/said" 2>"$tmp/err"; then
		echo "instructions.sh: $1 $2 failed:" >&2
		cat "$tmp/err" >&2
		exit 1
	fi
	echo "$(awk '$1 == "totals:" { print $2 }' "$tmp/cg")" \
	    "$(cat "$tmp/said")"
}

# row title program row kind figure: kind "is" within 10 %, "max" at most, "-"
status=0
row() {
	one=$(count "$2" "$3" "$n") || exit 1
	two=$(count "$2" "$3" $((2 * n))) || exit 1
	echo "$one $two" | awk -v title="$1" -v kind="$4" -v figure="$5" \
	    -v alone="${6:-0}" '{
		instr = ($4 - $1) / ($5 - $2)
		calls = ($6 - $3) / ($5 - $2)
		note = ""
		bad = 0
		if (kind == "is") {
			off = 100 * (instr / figure - 1)
			note = sprintf("%4d known, %+.0f %%: %s", figure, off,
			    off > 10 || off < -10 ? "differs" : "same")
		} else if (kind == "max") {
			bad = instr - alone > figure
			note = sprintf("%4d at most: %s", figure,
			    bad ? "MORE" : "ok")
			if (alone > 0)
				note = note sprintf(", %.1f without the " \
				    "measuring program", instr - alone)
		}
		line = sprintf("%-34s %12.1f %12.3f   %s", title, instr,
		    calls, note)
		sub(/ +$/, "", line)
		print line
		exit bad
	}' || status=1
}

# What the loop and the callback of the measuring program are of a queued send.
alone=$(echo "$(count instr alone "$n") $(count instr alone $((2 * n)))" |
    awk '{ print ($4 - $1) / ($5 - $2) }')

printf '%-34s %12s %12s\n' 'udp4, 64 bytes, per datagram' instructions calls
row 'raw recvmmsg 32' rawinstr recvmmsg is 38
row 'raw recvfrom' rawinstr recvfrom is 40
row 'raw epoll, recvfrom once' rawinstr epoll - -
row 'raw echo, recvmmsg sendmmsg 32' rawinstr echo - -
row 'raw sendmmsg 32' rawinstr sendmmsg is 5
row 'raw sendto' rawinstr sendto is 28
row 'raw send, connected' rawinstr send - -
row 'libdgram drain' instr drain max 80
row 'libdgram echo' instr echo - -
row 'libdgram batch of 32' instr batch - -
row 'the measuring program alone, queued' instr alone - -
row 'libdgram queued, 32 in flight' instr queued max 120 "$alone"
row 'libdgram queued, one at a time' instr single - -
row 'libdgram queued, copied, 32' instr copied - -
row 'libdgram try_send, one' instr try - -
exit $status
