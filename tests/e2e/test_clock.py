"""Somebody sets the clock while mail waits: nothing is returned early, nothing is
tried in a storm, and new mail is as long-lived as ever."""
import os
import unittest

from harness import Behaviour, wait_until
from harness.case import TEXT, Case
from harness.relay import release_dir

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@unittest.skipUnless(os.path.exists(LIBRARY), "libfaketime is not installed")
class Clock(Case):
    JUMPS = ("+1h", "-1h", "+1d", "-1d", "+3650d", "@2038-01-19 03:14:00", "+0")

    def jump(self, relay, to):
        with open(self.file, "w") as f:
            f.write(to + "\n")

    def test_jumps(self):
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not yet")
        relay = self.relay(queue={"backoff": ["1h"], "lifetime": "5d"})
        self.file = os.path.join(relay.folder, "time")
        self.jump(relay, "+0")
        relay.program = lambda name: os.path.join(release_dir(), name)
        relay.env.update(LD_PRELOAD=LIBRARY, FAKETIME_TIMESTAMP_FILE=self.file,
                         FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1")
        relay.start()
        for count, to in enumerate(self.JUMPS, 1):
            self.jump(relay, to)
            relay.send("a@example.jp", "user@dest.test", TEXT)
            relay.wait_log("result=deferred", count=count)
            wait_until(lambda: all(r["state"] == "waiting" for r in relay.ctl("queue", "list")),
                       what="the end of the attempt")
            for row in relay.ctl("queue", "list"):
                self.assertLess(row["age"], 3600, to)
                self.assertGreater(row["next"], 3000, to)
        self.assertTrue(relay.log(r"^2036-"), "the clock was never set forward")
        self.assertTrue(relay.log(r"^2038-"), "nor into 2038")
        # one attempt each, none of them over, none returned
        self.assertEqual(len(relay.ctl("queue", "list")), len(self.JUMPS))
        self.assertEqual(len(relay.log("attempt id=")), len(self.JUMPS))
        self.assertEqual(relay.log("result=failed"), [])
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(len(self.JUMPS))
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")


if __name__ == "__main__":
    unittest.main()
