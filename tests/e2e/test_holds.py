"""Mail that waits for a held path: a restart takes none of its time, it ends in words that
name the block, and those that wait are not all asked again at once."""
import threading
import unittest

from harness import Behaviour, wait_until
from harness.case import TEXT, Case

ONE = {"name": "one", "ipv4": "127.0.0.2"}
GMO = "554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using gmo-rbl.jp; Poor " \
      "Reputation Sender"
LISTED = "554 5.7.1 Client host [127.0.0.2] blocked using zen.spamhaus.org"  # no ladder of its own


class Holds(Case):
    def setUp(self):
        super().setUp()
        self.names.mail_host("gmo.test", "mx1.gmoserver.jp", "127.0.0.1")
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.1")
        self.receiver.behaviour = Behaviour(
            rcpt=lambda _, to: GMO if to.endswith("gmo.test") else None)

    def show(self, relay):
        row, = relay.ctl("queue", "list")
        return {r["what"]: r["value"] for r in relay.ctl("queue", "show", row["id"])}

    def put_off(self, relay):
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        wait_until(lambda: [r["next"] > 600 for r in relay.ctl("queue", "list")] == [True],
                   what="being put off")

    def test_the_end_of_the_patience(self):
        relay = self.relay(sources=(ONE,), reputation={"hold_max": "2s"},
                           queue={"backoff": ["1s"], "lifetime": "2s", "delay_notice": "0"})
        relay.start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        report, = self.receiver.wait(1)
        self.assertEqual(report.recipients, ["a@example.jp"])
        text = b" ".join(report.data.split())
        self.assertIn(b"Status: 4.4.7", text)
        self.assertIn(b"refuses mail from this mail server's address", text)
        self.assertIn(b"the recipient's address are not the cause", text)
        self.assertIn(b"gmo refuses mail of this mail server", text)
        self.assertIn(b"blocked using gmo-rbl.jp", text)
        self.gone(relay)

    def test_a_restart_in_the_middle(self):
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1s"]}).start()
        self.put_off(relay)
        before = self.show(relay)
        self.assertGreater(before["expires_s"], 5 * 86400 + 1800)
        for end in (relay.kill, relay.stop):
            end()
            relay.start()
            after = self.show(relay)
            self.assertAlmostEqual(after["expires_s"], before["expires_s"], delta=90)
            self.assertAlmostEqual(after["recipient"]["next_s"], before["recipient"]["next_s"],
                                   delta=30)
        self.assertEqual(len(relay.log("result=deferred")), 1)

    def stopped_list(self, relay):
        """The path is held while the first of two transactions of a list is under way."""
        dot, held = threading.Event(), threading.Event()
        self.addCleanup(held.set)
        self.receiver.behaviour = Behaviour(end=lambda n, d: dot.set() or held.wait(20) and None)
        relay.start()
        relay.send("a@example.jp", ["one@dest.test", "two@dest.test"], TEXT)
        self.assertTrue(dot.wait(20))
        relay.ctl("reputation", "hold", "mx.dest.test")
        held.set()
        relay.wait_log("result=delivered")
        wait_until(lambda: [r["next"] > 600 for r in relay.ctl("queue", "list")] == [True],
                   what="the rest of it waiting")

    def test_the_rest_of_a_list_waits_for_the_path(self):
        relay = self.relay(delivery={"recipients": 1})
        self.stopped_list(relay)
        relay.kill()  # and a restart knows it
        relay.start()
        relay.ctl("reputation", "open", "mx.dest.test")
        self.receiver.wait(2)
        self.gone(relay)
        self.assertEqual(len(relay.log("result=delivered")), 2)

    def test_not_all_at_once(self):
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1s"]}).start()
        self.put_off(relay)
        for i in range(7):
            relay.send("a@example.jp", f"user{i}@gmo.test", TEXT)
        wait_until(lambda: sum(r["next"] > 600 for r in relay.ctl("queue", "list")) == 8,
                   what="all being put off")
        times = sorted(r["next"] for r in relay.ctl("queue", "list"))
        # the probe and one more, two in the next interval of the slow start, ...
        self.assertGreater(times[2] - times[0], 250)
        self.assertGreater(times[-1] - times[0], 600)
        self.assertEqual(len(set(times)), 8)

    def test_a_good_probe_brings_the_others_back(self):
        """What met the block waits by its own ladder; it comes back once a probe was good."""
        self.receiver.behaviour = Behaviour(rcpt=LISTED)
        relay = self.relay(sources=(ONE,), queue={"backoff": ["6h"]},
                           reputation={"probes": ["2s"]}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        relay.wait_log("to=user@gmo.test .*result=deferred")
        self.receiver.behaviour = Behaviour()
        relay.send("a@example.jp", "probe@gmo.test", TEXT)
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, ["probe@gmo.test"])
        wait_until(lambda: relay.ctl("incidents")[0]["state"] == "closed", what="its end")
        wait_until(lambda: all(r["next"] <= 600 for r in relay.ctl("queue", "list")),
                   what="the slow start's time")

    def test_what_is_escaped_once(self):
        self.receiver.behaviour = Behaviour(rcpt=GMO + " \x1b[2J \\ \"x\"")
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        line, = relay.wait_log(" incident number=1 ")
        self.assertIn("\\x1b[2J \\x5c \\\"x\\\"\"", line)
        self.assertNotIn("\\x5cx1b", line)


if __name__ == "__main__":
    unittest.main()
