#!/bin/sh
# coverage.sh FOLDER: of a build with --coverage that unit tests and corpora have run:
# lines and branches of each file that reads what others wrote, and of all. Fails when one
# of these files has less than it should, or no figures.
set -eu
build=$1
lines_min=90
branches_min=80
# commands, addresses, messages, and what servers answer
parsers="smtp/command smtp/address smtp/domain smtp/mailbox smtp/header smtp/xtext smtp/priority
smtp/server smtp/server_commands smtp/server_text smtp/server_auth smtp/body smtp/auth
smtp/auth_exchange smtp/proxy smtp/return_path smtp/fixup smtp/reply smtp/client_replies
smtp/dns_answer smtp/dane smtp/sts smtp/tlsrpt dkim/fields dkim/sign dkim/check relayd/drop_file"
# what replies mean
parsers="$parsers queue/plain queue/words queue/backoff queue/verdict queue/verdict_text
queue/verdict_structure queue/unknown"
# the spool and the lines of state in it
parsers="$parsers queue/record queue/walk queue/envelope queue/reader queue/recover
queue/recover_folder queue/damage queue/field queue/reputation_store queue/brake
relayd/line_store"
# files and commands of the administrator, and of who calls relay-sendmail
parsers="$parsers conf/conf conf/scan conf/read conf/value conf/units conf/syntax conf/address
conf/pattern conf/lookup queue/rules_file queue/rules_read queue/rules_values queue/rules_check
queue/delist_read queue/delist relayd/users relayd/control_words relayd/selection
relayd/sendmail_config relayd/sendmail_header relayd/sendmail_message relayd/sendmail_options
relayd/sendmail_dsn"

# What has to be reached of FILE, "LINES BRANCHES", where that is less than of others,
# and why.
least() {
	case $1 in
	# all that is left are branches within the macros of the list library
	queue/unknown) echo "$lines_min 79" ;;
	*) echo "$lines_min $branches_min" ;;
	esac
}

# "LINES BRANCHES" in percent; nothing when it was not built or has no such code.
figures() {
	gcov -n -b -o "$build/obj/$(dirname "$1")" "$1.c" 2>/dev/null | awk -v name="$1" '
		/^File/ { mine = index($0, "\047" name ".c\047") > 0 }
		mine && /^Lines executed/ { sub(/.*:/, ""); lines = $1 + 0 }
		mine && /^Taken at least once/ { sub(/.*:/, ""); print lines, $1 + 0; exit }'
}

# FILE, its figures ("" for none), what is wanted: say them. Fails when that is more.
judge() {
	awk -v name="$1" -v lines="$2" -v taken="$3" -v want_lines="$4" -v want_taken="$5" 'BEGIN {
		if (lines == "") { printf "%-24s no figures\n", name; exit 1 }
		few = lines < want_lines ? sprintf("  FEW: %s %% of lines are wanted", want_lines) : ""
		if (taken < want_taken) few = few sprintf("  FEW: %s %% of branches are wanted", want_taken)
		printf "%-24s %6.2f %% of lines, %6.2f %% of branches%s\n", name, lines, taken, few
		exit few != "" }'
}

failed=
echo "parsers:"
for file in $parsers; do
	found=$(figures "$file")
	wanted=$(least "$file")
	judge "$file" "${found% *}" "${found#* }" "${wanted% *}" "${wanted#* }" || failed="$failed $file"
done
echo "all:"
find "$build/obj/relayd" "$build/obj/smtp" "$build/obj/dkim" "$build/obj/queue" \
	"$build/obj/conf" -name '*.gcda' -exec gcov -n -b {} + 2>/dev/null | tail -1
[ -z "$failed" ] || {
	echo "too little is reached of:$failed"
	exit 1
}
