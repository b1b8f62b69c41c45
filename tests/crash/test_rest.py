"""What the daemon holds at rest, in use and in the long run, counted on the release
build: it takes nothing before it needs it, and gives back what it needed."""
import os
import unittest

from base import FULL, wait_until
from harness import Behaviour, SignedServer
from test_cost import MIB, Measured
from test_crowds import print_figure


class Rest(Measured):
    def setUp(self):
        super().setUp()
        self.names = SignedServer()
        self.addCleanup(self.names.close)
        self.names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")
        _, _, self.context = self.certificate("mx.dest.test")

    def relay(self, **settings):
        relay = super().relay(**settings)
        relay.change(dns=self.names.settings(relay.folder))
        return relay

    def with_key(self, relay):
        relay.write_conf()  # where relayctl looks for the user
        relay.change(domains=({"name": "example.jp", "dkim": (self.key(relay),)},))

    def own(self, relay):
        """Without what is mapped of programs and libraries, which others share."""
        return self.status(relay, "RssAnon") * 1024

    def settled(self, relay, what, most, most_own):
        """Less than MOST of memory, as soon as what the last step needed is gone."""
        try:
            wait_until(lambda: self.memory(relay) < most and self.own(relay) < most_own, timeout=10)
        except AssertionError:
            self.assertLess((self.memory(relay) / MIB, self.own(relay) / MIB),
                            (most / MIB, most_own / MIB), what)
        print_figure(f"{what}: {self.memory(relay) / MIB:.1f} MiB, {self.own(relay) / MIB:.1f} of its own")

    def test_at_rest(self):
        """Signatures of the root are validated, by a trial that leaves nothing. Who
        delivers by MX has libcurl, for policies, from the start."""
        up = {"smarthosts": ({"name": "up", "host": "127.0.0.1"},),
              "routes": ({"match": "*", "via": ["up"]},)}
        for what, keys, settings, most in (("all to a smarthost", 0, up, 12),
                                           ("signed", 1, up, 12.5), ("by MX, signed", 1, {}, 16.5)):
            relay = self.release(**settings)
            if keys:
                self.with_key(relay)
            relay.start().wait_log("answers are validated")
            spare = 0 if FULL else 0.5  # what is mapped of libraries hangs on the machine
            self.settled(relay, "at rest, " + what, (most + spare) * MIB, 3.5 * MIB)
            relay.stop()

    def test_what_comes_late(self):
        """Under the filter of system calls: the first look-up and the first TLS, and the
        first key by a reload."""
        self.receiver.behaviour = Behaviour(tls=self.context)
        relay = self.release().start()
        relay.wait_log("answers are validated")
        self.round_trips(relay, 1)
        self.assertNotIn(b"DKIM-Signature", self.receiver.wait(1)[0].data)
        self.with_key(relay)
        relay.write_conf()
        relay.ctl("reload")
        self.round_trips(relay, 1)
        last = self.receiver.wait(2)[1]
        self.assertTrue(last.tls)
        self.assertIn(b"DKIM-Signature", last.data)
        self.assertEqual(relay.log("decoded for each message"), [])
        self.gone(relay)
        self.settled(relay, "after messages with DNS, DKIM and TLS", 20.5 * MIB, 7 * MIB)

    def test_module_of_openssl(self):
        """One that the machine's openssl.cnf names is loaded before the filter, which
        lets no code in later: FIPS and the like."""
        conf = os.path.join(self.folder(), "openssl.cnf")
        with open(conf, "w") as f:
            f.write("openssl_conf = all\n[all]\nproviders = list\n[list]\ndefault = on\nlegacy = on\n"
                    "[on]\nactivate = 1\n")
        self.receiver.behaviour = Behaviour(tls=self.context)
        relay = self.release(env={"OPENSSL_CONF": conf}).start()
        with open(f"/proc/{relay.process.pid}/maps") as maps:
            self.assertIn("legacy.so", maps.read())
        self.round_trips(relay, 1)
        self.assertTrue(self.receiver.wait(1)[0].tls)

    def test_long_run(self):
        """Two rounds behind a warm-up as long as each. A leak grows in both; an arena may
        grow in one."""
        count = 100000 if FULL else 1500
        relay = self.release(limits={"messages_per_connection": 0})
        self.with_key(relay)
        relay.start()
        memory, files = [], []
        for _ in range(3):
            self.fill(relay, count, lambda i: f"user{i}@dest.test")
            self.gone(relay)
            self.assertEqual(len(self.receiver.messages), count)
            self.receiver.messages.clear()
            memory.append(self.memory(relay))
            files.append(len(os.listdir(f"/proc/{relay.process.pid}/fd")))
        grown = [after - before for before, after in zip(memory, memory[1:])]
        print_figure(f"{count} messages behind {count}: {grown[0] / 1024:.0f} KiB more than "
                     f"{memory[0] / MIB:.1f} MiB, then {grown[1] / 1024:.0f}; descriptors: {files}")
        # such a step is more than 1 % of a short run
        self.assertLess(min(grown), 0.01 * memory[0] if FULL else MIB / 2)
        self.assertLess(files[2], files[0] + 8)


if __name__ == "__main__":
    unittest.main()
