# SPDX-License-Identifier: ISC
#
# Read by the scripts beside it:  . "${0%/*}/limits.sh"
#
# JOBS, how many compilers or programs run at a time: the processors, unless the
# environment says it.  limit, a command in front of a program that must end after
# $seconds: TEST_TIME of the environment, or 120.
#
# Not all who read this use all of it.
# shellcheck shell=sh disable=SC2034

if [ -z "${JOBS:-}" ]; then
	JOBS=$(nproc 2> /dev/null || sysctl -n hw.ncpu 2> /dev/null || echo 2)
fi
seconds=${TEST_TIME:-120}
if command -v timeout > /dev/null 2>&1; then
	limit="timeout -k 5 $seconds"
elif command -v gtimeout > /dev/null 2>&1; then
	limit="gtimeout -k 5 $seconds"
else
	limit=
fi
