#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Shows that dgram.h compiles alone and twice, as C11 and as C++17, without a
# warning, and that each private header does after core/plat.h.  CC, CXX, WARN
# and CPPFLAGS are those of the build.
set -u

bad=0

# Flags are lists of words.
# shellcheck disable=SC2086
c() {
	${CC:-cc} -std=c11 -Iinclude -Isrc ${WARN:--Wall} -Werror \
	    ${CPPFLAGS:-} -fsyntax-only -x c -
}

printf '#include "dgram.h"\n#include "dgram.h"\n' | c || bad=1

cxx=
for candidate in ${CXX:-} c++ g++ clang++; do
	if [ -z "$cxx" ] && command -v "$candidate" > /dev/null 2>&1; then
		cxx=$candidate
	fi
done
if [ -n "$cxx" ]; then
	printf '%s\n' '#include "dgram.h"' '#include "dgram.h"' \
	    'int main() { return dgram_version() == nullptr; }' |
	    "$cxx" -std=c++17 -Iinclude -Wall -Wextra -Wpedantic -Wshadow \
		-Werror -fsyntax-only -x c++ - || bad=1
else
	echo "  SKIP check-headers: no C++ compiler"
fi

for f in $(find src -name '*.h' | sort); do
	h=${f#src/}
	printf '%s\n' '#include "core/plat.h"' "#include \"$h\"" \
	    "#include \"$h\"" 'typedef int not_empty;' | c || {
		echo "does not compile alone: $f" >&2
		bad=1
	}
done

[ "$bad" -eq 0 ] && echo "  OK   check-headers"
exit "$bad"
