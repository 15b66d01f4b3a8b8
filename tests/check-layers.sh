#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Shows that data flows one way and that the habits of src/README hold:
#  - a file includes only its own layer and those below, by full names;
#  - only plat.h names systems and feature-test macros; elsewhere #if DGI_HAVE_X;
#  - every .c includes core/plat.h first; every file begins with its licence;
#  - threads only in resolve/worker.c, getaddrinfo only in resolve/gai.c, system
#    calls on sockets and files only in core/os.c and file.c, waiting only in poll/;
#  - no file above 600 lines, no function above 90;
#  - examples know nothing of src, the bare loops of bench nothing of dgram.h.
set -u

bad=0
fail() {
	echo "$1" >&2
	bad=1
}

files=$(find src -name '*.[ch]' | sort)
[ -n "$files" ] || { echo "check-layers: no sources in src" >&2; exit 1; }

# A pattern that must not occur in some files; $3 says why.
forbid() {
	# Names of files have no blanks here.
	# shellcheck disable=SC2086
	found=$(grep -nE "$1" $2 /dev/null) && fail "$3:
$found"
}

# The same text without comments and strings' content, line for line.
strip() {
	awk '
	{
		line = $0
		out = ""
		while (line != "") {
			if (inside) {
				if ((i = index(line, "*/")) == 0)
					break
				line = substr(line, i + 2)
				inside = 0
			} else if (match(line, /\/\*|"([^"\\]|\\.)*"/)) {
				out = out substr(line, 1, RSTART - 1)
				inside = substr(line, RSTART, 1) == "/"
				if (!inside)
					out = out "\"\""
				line = substr(line, RSTART + RLENGTH)
			} else {
				out = out line
				break
			}
		}
		print FILENAME ":" FNR ":" out
	}' "$@"
}

# shellcheck disable=SC2086
grep -HoE '^[ 	]*#[ 	]*include[ 	]*"[^"]*"' $files |
    sed 's/:[ 	]*#[ 	]*include[ 	]*"/ /; s/"$//' | awk '
function rank(f) {
	if (f == "dgram.h")
		return 0
	if (f ~ /core\/(plat|list|heap|mem|os|call|file|ifaddr|mmsg|cmsg|addr|format|err)\.[ch]$/)
		return 0
	if (f ~ /^(src\/)?poll\//)
		return 1
	if (f ~ /core\/(loop|timer|watch|wake|fork|arena)\.[ch]$/)
		return 2
	if (f ~ /^(src\/)?core\//)
		return 3
	if (f ~ /^(src\/)?resolve\//)
		return 4
	return -1
}
rank($1) < 0 { print "in no layer: " $1; bad = 1; next }
rank($2) < 0 { print "in no layer: " $2 ", included by " $1; bad = 1; next }
rank($2) > rank($1) { print "upward include: " $1 " -> " $2; bad = 1 }
END { exit bad }' >&2 || bad=1

inner=$(find src -name '*.[ch]' ! -path src/core/plat.h | sort)
forbid '__(linux|gnu_linux|FreeBSD|OpenBSD|NetBSD|DragonFly|APPLE)(__)?' \
    "$inner" "names a system, which is for core/plat.h"
forbid '_(GNU|DARWIN_C|NETBSD|BSD|DEFAULT|POSIX_C|XOPEN|SVID)_SOURCE' \
    "$inner" "sets a feature-test macro, which is for core/plat.h"
forbid 'DGI_OS_(LINUX|[A-Z]+BSD|DRAGONFLY|MACOS)' \
    "$inner" "asks for a system instead of a DGI_HAVE_ fact"
# Of #ifdef and defined() only the include guards, #ifndef DGI_..._H.
# shellcheck disable=SC2086
found=$(grep -nE '^[ 	]*#[ 	]*(ifdef|ifndef|if.*defined|elif.*defined)' \
    $inner /dev/null | grep -vE '\.h:[0-9]+:#ifndef DG[A-Z0-9_]+_H$') &&
	fail "conditional other than #if DGI_HAVE_X:
$found"

for f in $files include/dgram.h; do
	case $f in
	*.h)
		[ "$(grep -cE '^#ifndef DG[A-Z0-9_]+_H$' "$f")" -eq 1 ] ||
			fail "no include guard: $f" ;;
	*.c)
		[ "$(grep -m 1 -E '^[ 	]*#[ 	]*include' "$f" |
		    sed 's/[ 	]*\/\*.*//')" = '#include "core/plat.h"' ] ||
			fail "first include is not core/plat.h: $f" ;;
	esac
	[ "$(sed 1q "$f")" = "/* SPDX-License-Identifier: ISC */" ] ||
		fail "first line is not the licence: $f"
	lines=$(wc -l < "$f")
	[ "$lines" -le 600 ] || [ "$f" = include/dgram.h ] ||
		fail "$f has $lines lines, more than 600"
done

# A function's body begins with { and ends with } in the first column.
# shellcheck disable=SC2086
awk '
FNR == 1 { head = 0; last = "" }
/^\{/ { head = FNR; name = last }
/^\}/ && head {
	if (FNR - head + 1 > 90) {
		print FILENAME ":" head ": " FNR - head + 1 \
		    " lines, more than 90: " name
		bad = 1
	}
	head = 0
}
/^[A-Za-z_].*\(/ { last = $0 }
END { exit bad }' $files >&2 || bad=1

forbid '^[ 	]*#[ 	]*include[ 	]*<(pthread|threads)\.h>' \
    "$(printf '%s\n' "$files" | grep -v '^src/resolve/worker\.c$')" \
    "threads outside resolve/worker.c"

# Calls of the system that have an entry in the table: of this name, not a
# member (x->send, x.send) nor the tail of a longer name.
calls='socket|bind|connect|getsockname|getpeername|getsockopt|setsockopt'
calls="$calls|recv|recvfrom|recvmsg|recvmmsg|send|sendto|sendmsg|sendmmsg"
calls="$calls|clock_gettime|lstat|unlink|open|openat|flock|fchmod|chmod"
calls="$calls|fchownat|umask|bindat|connectat|eventfd|pipe|pipe2"
# shellcheck disable=SC2046
found=$(strip $(printf '%s\n' "$files" | grep -vE '^src/core/(os|file)\.c$') |
    grep -E "(^|[^A-Za-z0-9_.>])($calls)\(") &&
	fail "system call that belongs in core/os.c:
$found"

# shellcheck disable=SC2046
found=$(strip $(printf '%s\n' "$files" | grep -v '^src/core/ifaddr\.c$') |
    grep -E "(^|[^A-Za-z0-9_.>])(get|free)ifaddrs\(") &&
	fail "interfaces are asked for in core/ifaddr.c:
$found"

# Waiting is for the backends.
waits='kqueue|kqueue1|kevent|epoll_create1|epoll_ctl|epoll_wait|poll|ppoll|select'
# shellcheck disable=SC2046
found=$(strip $(printf '%s\n' "$files" | grep -v '^src/poll/') |
    grep -E "(^|[^A-Za-z0-9_.>])($waits)\(") &&
	fail "system call that belongs in a backend, src/poll:
$found"

# shellcheck disable=SC2046
found=$(strip $(printf '%s\n' "$files" | grep -v '^src/resolve/gai\.c$') |
    grep -E "(^|[^A-Za-z0-9_.>])(get|free)addrinfo\(") &&
	fail "look-up that belongs in resolve/gai.c:
$found"

examples=$(find man/examples -name '*.[ch]' 2> /dev/null)
[ -z "$examples" ] ||
	forbid '#[ 	]*include[ 	]*"(core|poll|resolve)/' "$examples" \
	    "example that needs a private header"
raw=$(find bench -name 'raw*.[ch]' 2> /dev/null)
[ -z "$raw" ] ||
	forbid '#[ 	]*include.*dgram\.h' "$raw" "a bare loop that is not bare"

[ "$bad" -eq 0 ] && echo "  OK   check-layers"
exit "$bad"
