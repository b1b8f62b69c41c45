#!/bin/sh
# Files over 700 lines and functions over 60 fail; the largest are shown.
set -eu
cd "$(dirname "$0")/.."
status=0
long=$(git ls-files '*.c' '*.h' | xargs wc -l | awk '$2 != "total" && $1 > 700 {print "  " $2 ": " $1 " lines"}')
if [ -n "$long" ]; then echo "files over 700 lines:"; echo "$long"; status=1; fi
functions=$(git ls-files '*.c' | xargs ctags --fields=+ne --kinds-C=f -f - 2>/dev/null |
	awk -F'\t' '{l=e=0; for (i=4; i<=NF; i++) {if ($i ~ /^line:/) l=substr($i,6); if ($i ~ /^end:/) e=substr($i,5)}
		if (e) print e-l+1, $1, $2}' | sort -rn)
big=$(echo "$functions" | awk '$1 > 60 {print "  " $2 " (" $3 "): " $1 " lines"}')
if [ -n "$big" ]; then echo "functions over 60 lines:"; echo "$big"; status=1; fi
echo "$functions" | awk '{n[NR]=$1} END {if (NR) printf "functions: %d, median %d lines, p90 %d, longest %d\n", NR, n[int((NR+1)/2)], n[int(NR/10)+1], n[1]}'
exit $status
