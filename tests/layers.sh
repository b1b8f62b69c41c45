#!/bin/sh
# The arrows between the folders: base <- conf <- {smtp, dkim, queue} <- relayd.
set -eu
cd "$(dirname "$0")/.."

# check FOLDER PATTERN: no file of FOLDER includes what PATTERN does not allow
check() {
	bad=$(grep -nE '^#include "' "$1"/*.c "$1"/*.h 2>/dev/null |
		grep -vE "#include \"($2)/" || true)
	[ -z "$bad" ] && return 0
	echo "wrong arrow out of $1/ (allowed: $2):"
	echo "$bad"
	return 1
}

status=0
check relayd/base 'relayd/base' || status=1
check conf 'relayd/base|conf' || status=1
check smtp 'relayd/base|conf|smtp' || status=1
check dkim 'relayd/base|conf|dkim' || status=1
check queue 'relayd/base|conf|queue' || status=1
check relayd 'relayd|conf|smtp|dkim|queue' || status=1
if grep -rlE '^#include <uthash.h>' relayd conf smtp dkim queue --include='*.[ch]' |
	grep -vx relayd/base/hash.h; then
	echo "these include uthash.h, not relayd/base/hash.h: out of memory would exit silently"
	status=1
fi
[ $status = 0 ] && echo "layers: all arrows are right"
exit $status
