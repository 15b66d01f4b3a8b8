#!/bin/sh
# SPDX-License-Identifier: ISC
#
# check-readme.sh outdir: the program in README compiles, without a warning.
set -eu

out=$1/readme
mkdir -p "$out"
sed -n '/^A program$/,/^More of them/p' README | grep '^	' |
    sed 's/^	//' > "$out/program.c"
grep -q '^main' "$out/program.c"
${CC:-cc} -std=c11 -Wall -Wextra -Wpedantic -Werror -Iinclude \
    "$out/program.c" "$1/libdgram.a" -o "$out/program"
echo "  OK   check-readme"
