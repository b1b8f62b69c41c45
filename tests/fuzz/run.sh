#!/bin/sh
# run.sh FOLDER SECONDS: every fuzz target built in FOLDER, SECONDS each, as many
# at a time as there are processors. Fails when one of them has found something.
set -u
cd "$(dirname "$0")/../.."
if [ $# = 3 ]; then
	noun=${3##*fuzz_}
	new=$1/new/$noun
	mkdir -p "$new"
	if "$3" -max_total_time="$2" -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
		-artifact_prefix="$1/new/found-$noun-" "$new" "tests/fuzz/corpus/$noun" \
		>"$1/new/$noun.log" 2>&1; then
		echo "ok   $noun"
		exit 0
	fi
	echo "FAIL $noun: see $1/new/$noun.log"
	exit 1
fi
find "$1/tests/fuzz" -maxdepth 1 -type f -name 'fuzz_*' | sort |
	xargs -P "$(nproc)" -I{} "$0" "$1" "$2" {}
