#!/bin/sh
# Install what is missing of the packages that building (or testing) needs.
# Asks dpkg first, so that a machine that has all of it needs neither network
# nor root.
set -eu

# nettle-dev: libunbound.pc names it, and without it pkg-config gives nothing
build="gcc make pkg-config libevent-dev libssl-dev libopendkim-dev libconfig-dev
libunbound-dev nettle-dev libpcre2-dev libjansson-dev libidn2-dev libgsasl-dev libcrypt-dev libseccomp-dev libcurl4-openssl-dev zlib1g-dev uthash-dev dns-root-data"
test="$build clang cppcheck libclang-rt-14-dev clang-format libcmocka-dev python3 python3-dkim
python3-dnspython python3-cryptography nsd php-cli php-mbstring swaks libnet-ssleay-perl postfix libsasl2-modules strace e2fsprogs opendkim
universal-ctags faketime openssl util-linux systemd valgrind groff-base"

case "${1:-build}" in
build) want=$build ;;
test) want=$test ;;
*) echo "usage: deps.sh build|test" >&2; exit 64 ;;
esac

missing=
for package in $want; do
	dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
		grep -qx installed || missing="$missing $package"
done

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo

# What an earlier run that was killed has left; nobody else's.
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}
mark="# made by relayd's tests/deps.sh while it installs packages"
if grep -qsxF "$mark" "$policy"; then $sudo rm -f "$policy"; fi

[ -n "$missing" ] || exit 0

# apt removes one mail system for another without a question
case "$missing" in
*" postfix"*)
	# shellcheck disable=SC2016
	mta=$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' |
		sed -n 's/^installed \([^ ]*\) .*mail-transport-agent.*/\1/p')
	if [ -n "$mta" ] && [ -z "${REPLACE_MTA:-}" ]; then
		echo "The tests need postfix, and installing it would remove $mta, with which this" >&2
		echo "machine sends its mail. Nothing was installed. Run the tests on another machine" >&2
		echo "or in a container, or with REPLACE_MTA=1 if it may be replaced." >&2
		exit 1
	fi ;;
esac

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# starting the daemons that some of them bring is not wanted
if [ ! -e "$policy" ]; then
	trap '$sudo rm -f "$policy"' EXIT
	trap 'exit 130' INT TERM HUP # a signal by itself ends a shell without EXIT
	printf '#!/bin/sh\n%s\nexit 101\n' "$mark" | $sudo tee "$policy" >/dev/null
	$sudo chmod 755 "$policy"
fi
$sudo apt-get update -q
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
