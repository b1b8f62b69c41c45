#!/bin/sh
# coverage.sh FOLDER: of a build with --coverage that unit tests and corpora have run:
# lines and branches of each source file, those of the parsers first, and of all.
set -eu
build=$1
parsers="smtp/command smtp/address smtp/mailbox smtp/header smtp/reply smtp/body smtp/proxy
smtp/xtext smtp/sts smtp/dane smtp/auth smtp/dns_answer smtp/tlsrpt queue/record queue/envelope
queue/rules_read conf/scan conf/units relayd/control_words relayd/users"

one() {
	gcov -n -b -o "$build/obj/$(dirname "$1")" "$1.c" 2>/dev/null | awk -v name="$1" '
		/^File/ { mine = index($0, name ".c") > 0 }
		mine && /^Lines executed/ { sub(/.*:/, ""); lines = $1 }
		mine && /^Taken at least once/ { sub(/.*:/, ""); taken = $1; mine = 0 }
		END { printf "%-24s %8s of lines, %8s of branches\n", name, lines, taken }'
}

echo "parsers:"
for file in $parsers; do one "$file"; done
echo "all:"
find "$build/obj/relayd" "$build/obj/smtp" "$build/obj/dkim" "$build/obj/queue" \
	"$build/obj/conf" -name '*.gcda' -exec gcov -n -b {} + 2>/dev/null | tail -1
