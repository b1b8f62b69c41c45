#!/bin/sh
# analyze.sh FOLDER CFLAGS...: what the analyzers of gcc and clang and cppcheck say
# of the product, and calls that are forbidden there. The reports stay in FOLDER.
# A finding that a line of tests/analyze.suppress fits is not open; a line that fits
# none, and a tool that did not come to its end, fail as well.
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
broken="$out/broken.txt"
: >"$broken"

# ended NAME STATUS LOG: what is not 0 is kept, with the last that the tool said
ended() {
	[ "$2" != 0 ] || return 0
	echo "$1 ended with status $2:" >>"$broken"
	tail -n 5 "$3" | sed 's/^/    /' >>"$broken"
}

# each NAME COMMAND...: for every source, its words in a file of its own meanwhile, and its
# status in another if it is not 0
each() {
	name=$1
	shift
	rm -rf "${out:?}/$name"
	for folder in $(find $folders -type d); do mkdir -p "$out/$name/$folder"; done
	echo "$sources" | xargs -P "$(nproc)" -I{} sh -c 'source=$1 log=$2/$1
		shift 2
		"$@" "$source" >"$log" 2>&1 || echo $? >"$log.status"' each {} "$out/$name" "$@"
	for source in $sources; do
		log=$out/$name/$source
		[ ! -e "$log.status" ] || ended "$name $source" "$(cat "$log.status")" "$log"
	done
	find "$out/$name" -name '*.c' -exec cat {} + >"$out/$name.txt"
}

# select_lines OPTION... FILE: grep for which no line at all is no fault
select_lines() {
	grep "$@" || [ $? = 1 ]
}

# Not -j, which would switch off the search for functions that nobody calls. uthash's exit
# when memory is out is not ours (relayd/base/hash.h). Off are variableScope: a buffer whose
# text a later line prints stands at the head of its function, since braces for its sake
# would say nothing; missingIncludeSystem: cppcheck knows the system's functions by its own
# tables.
cppcheck --std=c11 --enable=all --suppress=variableScope --suppress=missingIncludeSystem \
	--quiet -D_GNU_SOURCE '-Duthash_fatal(text)=no_memory(text)' -I. \
	--include=/usr/include/uthash.h --include=/usr/include/utlist.h \
	--include=/usr/include/jansson.h --template='{file}:{line}: {severity}: {message} [{id}]' \
	$folders >"$out/cppcheck.txt" 2>&1 &
cppcheck=$!
each gcc gcc "$@" $quick -O0 -fanalyzer -fdiagnostics-plain-output -c -o /dev/null
each clang clang "$@" $quick --analyze --analyzer-output text
status=0
wait "$cppcheck" || status=$?
ended cppcheck "$status" "$out/cppcheck.txt"
forbidden='strcpy|strcat|sprintf|vsprintf|strtok|atoi|gets|system|popen|alloca'
select_lines -rnE --include='*.[ch]' "(^|[^A-Za-z0-9_])($forbidden)[[:space:]]*\(" $folders \
	>"$out/calls.txt"
sed -i 's/$/ [forbidden]/' "$out/calls.txt"

# the line numbers move, so a suppression names file, message and check
grep -vE '^(#|$)' tests/analyze.suppress >"$out/suppress"
cat "$out/gcc.txt" "$out/clang.txt" "$out/cppcheck.txt" "$out/calls.txt" >"$out/said.txt"
select_lines -E '^[^ ]+:[0-9]+:.*(\[[^]]+\]$|(warning|error): )' "$out/said.txt" |
	sort -u >"$out/all.txt"
select_lines -vEf "$out/suppress" "$out/all.txt" >"$out/open.txt"
while IFS= read -r line; do
	grep -qE -e "$line" "$out/all.txt" || printf '%s\n' "$line"
done <"$out/suppress" >"$out/stale.txt"

cat "$broken" "$out/open.txt"
sed 's/^/tests\/analyze.suppress: this fits no finding: /' "$out/stale.txt"
open=$(wc -l <"$out/open.txt")
echo "analyze: $(echo "$sources" | wc -l) files, $(wc -l <"$out/all.txt") findings," \
	"$open open (the others: tests/analyze.suppress)"
[ ! -s "$broken" ] && [ ! -s "$out/stale.txt" ] && [ "$open" = 0 ]
