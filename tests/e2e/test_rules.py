"""Rules of the administrator's own: they come first, and a broken file changes nothing."""
import os
import subprocess
import unittest

from harness import Behaviour, wait_until
from harness.case import TEXT, Case

OWN = """rules = (
	{ id = "own-wall"; code = "5xx"; text = [ "the wall says no" ];
	  category = "server-busy"; action = "retry";
	  examples = [ "550 5.1.1 The wall says no" ]; }
);
"""


class Rules(Case):
    def write(self, relay, text, name="own.conf"):
        folder = os.path.join(relay.folder, "replies.d")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)

    def test_own_rules_come_first_and_a_broken_file_changes_nothing(self):
        self.receiver.behaviour = Behaviour(rcpt="550 5.1.1 the wall says no")
        relay = self.relay()
        self.write(relay, OWN)
        relay.start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        relay.wait_log("result=deferred .*rule=own-wall")
        # an example that its rule does not fit
        self.write(relay, OWN.replace('"550 5.1.1 The wall says no"', '"550 something else"'))
        done = relay.run_ctl("reload")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout + done.stderr, r"own\.conf:\d+.*own-wall")
        relay.ctl("queue", "retry", "--all")
        relay.wait_log("result=deferred .*rule=own-wall", count=2)
        # without it the reply means what it says
        self.write(relay, "rules = ( );\n")
        relay.ctl("reload")
        relay.ctl("queue", "retry", "--all")
        relay.wait_log("result=failed .*verdict=unknown-recipient")
        wait_until(lambda: not relay.ctl("queue", "list", "--domain", "dest.test"),
                   what="the end of the message")

    def test_more_files_than_are_read_are_a_mistake(self):
        relay = self.relay()
        for i in range(201):
            self.write(relay, "rules = ( );\n", f"{i}.conf")
        relay.write_conf()
        check = [relay.program("relayd"), "-t", "-f", relay.conf]
        done = subprocess.run(check, env=relay.env, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, "^/.*/replies.d: has more than 200 files; ")
        os.unlink(os.path.join(relay.folder, "replies.d", "0.conf"))
        self.assertEqual(subprocess.run(check, env=relay.env, capture_output=True, timeout=60).returncode, 0)


if __name__ == "__main__":
    unittest.main()
