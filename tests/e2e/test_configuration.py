"""What relayd and relayctl say of a configuration, by the real programs."""
import subprocess
import unittest

from harness import Relay


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


if __name__ == "__main__":
    unittest.main()
