#!/bin/sh
# `make run`: relayd with a generated configuration and key under run/, a
# catcher as its next hop, and one message sent as PHP would send it. Nothing
# leaves this machine. Ctrl-C ends it; DEMO_ONCE=1 ends it after the message.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
run=${RUN:-run}
port=${PORT:-2525}
# the rules of this tree, wherever the programs were built
export RELAYD_REPLIES="${RELAYD_REPLIES:-$PWD/conf/replies.conf}"

# Under sudo it is who called it: relayd keeps no capability, and root without them can
# not enter a home of mode 0700.
if [ "$(id -u)" = 0 ] && [ "${SUDO_USER:-root}" != root ] &&
	runuser -u "$SUDO_USER" -- test -x "$build/relayd"; then
	mkdir -p "$run"
	chown -R "$SUDO_USER:" "$run"
	exec runuser -u "$SUDO_USER" -- tests/demo.sh "$@"
fi

mkdir -p "$run/dkim" "$run/caught"
chmod 700 "$run" "$run/dkim"
here=$(cd "$run" && pwd)
# what an earlier run has left says nothing of this one
rm -f "$here"/caught/* "$here"/*.log

pids=
finish() {
	trap - EXIT INT TERM
	for pid in $pids; do kill "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
}
trap finish EXIT
trap 'exit 0' INT TERM

# wait_for FILE TEXT PID: until FILE holds TEXT; fails when PID has ended
wait_for() {
	tries=0
	while ! grep -q "$2" "$1" 2>/dev/null; do
		tries=$((tries + 1))
		if ! kill -0 "$3" 2>/dev/null || [ $tries -gt 200 ]; then
			echo "it did not start; $1 says:" >&2
			cat "$1" >&2
			[ "$(id -u)" != 0 ] ||
				echo "If that is about permissions: run it without sudo, as the owner of $PWD." >&2
			exit 1
		fi
		sleep 0.1
	done
}

"$build/relay-catcher" -d "$here/caught" >"$here/catcher.log" 2>&1 &
catcher=$!
pids="$catcher"
wait_for "$here/catcher.log" listening "$catcher"
catcher_port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$here/catcher.log")

if [ ! -f "$here/dkim/example.jp.demo.key" ]; then
	"$build/relayctl" dkim new example.jp demo --dir "$here/dkim" >"$here/dkim/record.txt"
fi
[ "$(id -u)" = 0 ] && user='user = "";   # the demonstration stays who it is' || user=
cat >"$here/relayd.conf" <<END
hostname = "relay.example.jp";
$user
listen = ( { address = "127.0.0.1"; port = $port; },
           { address = "$here/submit.sock"; } );
domains = ( { name = "example.jp";
              return_path = "bounce@example.jp";
              dkim = ( { selector = "demo"; key = "$here/dkim/example.jp.demo.key"; } ); } );
return_path = { mode = "repair"; default_domain = "example.jp"; };
smarthosts = ( { name = "catcher"; host = "127.0.0.1"; port = $catcher_port; tls = "none"; } );
routes = ( { match = "*"; via = [ "catcher" ]; } );
spool = "$here/spool";
drop = "$here/drop";
control = "$here/control.sock";
END

"$build/relayd" -f "$here/relayd.conf" 2>"$here/relayd.log" &
relayd=$!
pids="$relayd $pids"
wait_for "$here/relayd.log" "is ready" "$relayd"

# what PHP's mail() hands to sendmail on a host that nobody has set up
RELAY_SENDMAIL_SOCKET="$here/submit.sock" "$build/relay-sendmail" -t -i \
	-f apache@localhost.localdomain <<'END'
To: someone@example.com
Subject: Hello from a web form
From: apache@localhost.localdomain
X-PHP-Originating-Script: 48:contact.php

This was sent by mail() on a shared host.
END

tries=0
until [ -f "$here/caught/000001.eml" ]; do
	tries=$((tries + 1))
	[ $tries -le 200 ] || { echo "the message did not come; see $here/relayd.log" >&2; exit 1; }
	sleep 0.1
done

echo
echo "Sent, as PHP would:    envelope sender apache@localhost.localdomain, no Date, no signature"
echo "Left, as a receiver sees it:"
echo
sed -n '/^\r*$/q;p' "$here/caught/000001.eml" | tr -d '\r' | sed 's/^/    /'
echo
printf 'DKIM: '
"$build/relayctl" dkim test demo "$here/dkim/example.jp.demo.key" "$here/caught/000001.eml"
echo
cat <<END
relayd listens on 127.0.0.1 port $port. Send one of your own:

    swaks --server 127.0.0.1:$port --from you@example.jp --to friend@example.com
    echo "Subject: test" | RELAY_SENDMAIL_SOCKET=$here/submit.sock \\
        $build/relay-sendmail friend@example.com

What leaves is kept in $run/caught/. Look around:

    $build/relayctl -s $here/control.sock status
    $build/relayctl -s $here/control.sock queue list

To let it deliver to the world: end this, take the smarthosts and routes lines out
of $run/relayd.conf, put your own domain and address in (conf/relayd.conf explains
every key), make a key for it, publish the DNS record that is printed, and start
relayd by itself (make run would write the file anew):

    $build/relayctl dkim new YOUR.DOMAIN SELECTOR --dir $here/dkim
    $build/relayd -f $here/relayd.conf
END
[ -z "${DEMO_ONCE:-}" ] || exit 0
echo
echo "Running; Ctrl-C ends it. The log is $run/relayd.log."
wait "$relayd"
