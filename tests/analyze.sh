#!/bin/sh
# analyze.sh FOLDER CFLAGS...: what the analyzers of gcc and clang and cppcheck say
# of the product, and calls that are forbidden there. The reports stay in FOLDER.
# A finding that a line of tests/analyze.suppress fits is not open.
set -eu
cd "$(dirname "$0")/.."
out=$1
shift
mkdir -p "$out"
for tool in gcc clang cppcheck; do
	command -v $tool >/dev/null || { echo "analyze: $tool is missing" >&2; exit 2; }
done
folders="relayd conf smtp dkim queue"
sources=$(find $folders -name '*.c' | sort)
# uthash's own hash function has too many ways for one look-up: minutes a file
quick=-DHASH_FUNCTION=HASH_SAX

# each NAME COMMAND...: for every source, its words in a file of its own meanwhile
each() {
	name=$1
	shift
	rm -rf "$out/$name"
	mkdir "$out/$name"
	echo "$sources" | xargs -P "$(nproc)" -I{} sh -c 'source=$1 log=$2/$(echo "$1" | tr / _)
		shift 2
		exec "$@" "$source" >"$log" 2>&1' each {} "$out/$name" "$@" || true
	cat "$out/$name"/* >"$out/$name.txt"
}
each gcc gcc "$@" $quick -O0 -fanalyzer -fdiagnostics-plain-output -c -o /dev/null
each clang clang "$@" $quick --analyze --analyzer-output text
cppcheck -j "$(nproc)" --std=c11 --enable=warning,performance,portability --inline-suppr --quiet \
	-D_GNU_SOURCE -I. --include=/usr/include/uthash.h --include=/usr/include/utlist.h \
	--include=/usr/include/jansson.h \
	--suppress='*:/usr/include/*' --template='{file}:{line}: {severity}: {message} [{id}]' \
	$folders >"$out/cppcheck.txt" 2>&1 || true
forbidden='strcpy|strcat|sprintf|vsprintf|strtok|atoi|gets|system|popen|alloca'
grep -rnE --include='*.[ch]' "(^|[^A-Za-z0-9_])($forbidden)[[:space:]]*\(" $folders |
	sed 's/$/ [forbidden]/' >"$out/calls.txt" || true

# the line numbers move, so a suppression names file, message and check
grep -vE '^(#|$)' tests/analyze.suppress >"$out/suppress"
cat "$out/gcc.txt" "$out/clang.txt" "$out/cppcheck.txt" "$out/calls.txt" |
	grep -E '^[^ ]+:[0-9]+:.*\[[^]]+\]$' | sort -u >"$out/all.txt" || true
grep -hE '(^| )(fatal )?error:' "$out/gcc.txt" "$out/clang.txt" >>"$out/all.txt" || true
grep -vEf "$out/suppress" "$out/all.txt" >"$out/open.txt" || true
cat "$out/open.txt"
open=$(wc -l <"$out/open.txt")
echo "analyze: $(echo "$sources" | wc -l) files, $(wc -l <"$out/all.txt") findings," \
	"$open open (the others: tests/analyze.suppress)"
[ "$open" = 0 ]
