"""What relayd and relayctl say of a configuration, by the real programs."""
import glob
import os
import re
import subprocess
import unittest

from harness import Relay
from harness.relay import ROOT


class Configuration(unittest.TestCase):
    def relay(self, **settings):
        relay = Relay(**settings)
        self.addCleanup(relay.close)
        relay.write_conf()
        return relay

    def run_relayd(self, relay, *options, **more):
        return subprocess.run([relay.program("relayd"), *options, "-f", relay.conf], env=relay.env, text=True,
                              timeout=60, stderr=subprocess.PIPE, **{"stdout": subprocess.PIPE, **more})

    def test_what_can_not_be_printed_is_a_failure(self):
        relay = self.relay()
        with open("/dev/full", "w") as full:
            for option in ("-T", "-t", "-s", "-m", "-V", "-h"):
                done = self.run_relayd(relay, option, stdout=full)
                self.assertEqual(done.returncode, 74, option)
                self.assertIn("relayd: output: No space left on device", done.stderr)

    def warnings(self, relay):
        done = self.run_relayd(relay, "-t")
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr.splitlines()

    def test_entries_of_clients_that_come_to_nothing(self):
        clients = ({"name": "a", "login": "x"}, {"name": "b", "login": "x"},
                   {"name": "c", "login": "y", "from": ["me@example.jp", "q@stranger.test"]},
                   {"name": "d", "login": "z", "domains": ["a.example.jp"], "from": ["me@b.example.jp", "me@a.example.jp"]})
        relay = self.relay(clients=clients)
        self.assertEqual(self.warnings(relay), [
            'warning: clients: "b" is never taken, since "a" stands before it and is for the same login, "x"',
            'warning: clients: "c" may have "q@stranger.test" in From, but mail with it is refused, since '
            '"stranger.test" is not in domains, nor under one of them',
            'warning: clients: "d" may have "me@b.example.jp" in From, but mail with it is refused, since '
            '"b.example.jp" is not in its domains, nor under one of them'])
        # whose From is passed may be anybody's
        relay.change(foreign_from="pass", clients=clients[2:3])
        relay.write_conf()
        self.assertEqual(self.warnings(relay), [])

    def test_lists_that_are_shown_keep_the_socket_of_relay_sendmail(self):
        shown = 0
        for name in [*glob.glob("conf/examples/*", root_dir=ROOT), "README.md", "relayd/man/relayd.conf.5.tail"]:
            with open(os.path.join(ROOT, name)) as f:
                text = re.sub("(?m)^#", "", f.read())
            for entries in re.findall(r"\blisten = \((.*?)\);", text, re.DOTALL):
                shown += 1
                self.assertIn('{ address = "/run/relayd/submit.sock"; }', entries, name)
        self.assertGreater(shown, 4)


if __name__ == "__main__":
    unittest.main()
