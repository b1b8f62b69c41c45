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
universal-ctags faketime openssl util-linux systemd valgrind"

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
[ -n "$missing" ] || exit 0

echo "installing:$missing"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
# starting the daemons that some of them bring is not wanted
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
	$sudo chmod 755 $policy
	trap '$sudo rm -f $policy' EXIT
fi
$sudo apt-get update -q
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
