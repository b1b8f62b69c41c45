"""Somebody sets the clock while mail waits, or it is another time at the next start:
nothing is returned early, nothing is tried in a storm, and new mail is as long-lived as
ever."""
import collections
import datetime
import os
import re
import unittest

from harness import Behaviour, wait_until
from harness.case import TEXT, Case
from harness.relay import release_dir

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@unittest.skipUnless(os.path.exists(LIBRARY), "libfaketime is not installed")
class Clock(Case):
    # the machine was off until then, or its clock was wrong when it came up; with some that
    # wait while 31 bits of seconds get full
    STARTS = ("+1d", "-1d", "+3650d", "@2038-01-19 03:14:06", "@2038-01-20 03:14:08", "+0")
    JUMPS = ("+1h", "-1h", "+1d", "-1d", "+3650d", "@2038-01-19 03:14:00", "+0")

    def jump(self, relay, to):
        with open(self.file, "w") as f:
            f.write(to + "\n")

    def start(self, **queue):
        """A relay whose clock the test sets, and a receiver that puts everything off."""
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not yet")
        relay = self.relay(queue={"backoff": ["1h"], "lifetime": "5d", **queue})
        self.file = os.path.join(relay.folder, "time")
        self.jump(relay, "+0")
        relay.program = lambda name: os.path.join(release_dir(), name)
        relay.env.update(LD_PRELOAD=LIBRARY, FAKETIME_TIMESTAMP_FILE=self.file,
                         FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1")
        return relay.start()

    def test_jumps(self):
        relay = self.start()
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
        self.deliver(relay, len(self.JUMPS))

    def test_an_incident_has_the_time_that_people_have(self):
        relay = self.start()
        self.receiver.behaviour = Behaviour(rcpt="550 5.7.606 Access denied, banned sending IP [192.0.2.1]")
        self.jump(relay, "+30d")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        line, = relay.wait_log(" incident number=1 ")
        said = datetime.datetime.fromisoformat(line[:19] + "+00:00")
        facts = {f["what"]: f["value"] for f in relay.ctl("incidents", "show", "1")}
        reply = facts.pop("reply")
        for text, ms, after in ((facts["first"], facts["first_ms"], 0), (facts["last"], facts["last_ms"], 0),
                                (facts["next_probe"], facts["next_probe_ms"], 3600),
                                (reply["when"], reply["when_ms"], 0)):
            at = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc)
            self.assertEqual(text, at.strftime("%Y-%m-%d %H:%M:%S UTC"))
            self.assertLess(abs((at - said).total_seconds() - after), 60, (text, line))
        self.assertIn(facts["first"][:16] + " UTC", relay.ctl("delist", "1")[0]["text_en"])
        self.assertLess(relay.ctl("incidents")[0]["age"], 60)

    def deliver(self, relay, count):
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(count)
        self.gone(relay)

    def attempts(self, relay):
        """How often each was tried so far, in all lives."""
        return collections.Counter(re.search(r"attempt id=(\w+)", line)[1]
                                   for line in relay.log("attempt id="))

    def wait_for_rest(self, relay, count):
        wait_until(lambda: len(self.attempts(relay)) == count and
                   all(r["state"] == "waiting" for r in relay.ctl("queue", "list")),
                   what="the end of the attempts")

    def test_starts_at_another_time(self):
        """Each time with one more that waits: it is tried once more at most, and nothing is
        over for the time that no relay was there."""
        relay = self.start(delay_notice="0s")  # which would be right after a day
        for count, to in enumerate(self.STARTS, 1):
            relay.send("a@example.jp", "user@dest.test", TEXT)
            self.wait_for_rest(relay, count)
            before = self.attempts(relay)
            self.assertEqual(relay.stop(), 0)
            self.jump(relay, to)
            relay.start()
            self.wait_for_rest(relay, count)
            again = self.attempts(relay) - before
            self.assertLessEqual(max(again.values(), default=0), 1, to)
            rows = relay.ctl("queue", "list")
            self.assertEqual(len(rows), count)
            for row in rows:
                self.assertGreater(row["next"], 2000, to)  # and so nothing is tried soon
                facts = {f["what"]: f["value"] for f in relay.ctl("queue", "show", row["id"])}
                self.assertGreater(facts["expires_s"], 3000, to)
            self.assertEqual(relay.log("result=failed"), [])
        self.assertTrue(relay.log(r"^2036-"), "it never ran ten years later")
        self.assertTrue(relay.log(r"^2038-01-19"), "nor in 2038")
        self.deliver(relay, len(self.STARTS))
        self.assertEqual(len(self.receiver.messages), len(self.STARTS))


if __name__ == "__main__":
    unittest.main()
