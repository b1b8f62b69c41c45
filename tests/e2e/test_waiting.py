"""What people are told of mail that this server keeps back: its own limit or hold, and not a
receiver that was not asked."""
import time
import unittest

from harness import Behaviour, wait_until
from harness.case import TEXT, Case

BLAME = "does not trust"


class Waiting(Case):
    def setUp(self):
        super().setUp()
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.1")

    def put_off(self, relay):
        """A message that the path does not let go; what `why` says of it."""
        relay.send("b@example.jp", "user@dest.test", TEXT)
        wait_until(lambda: [r["next"] > 0 for r in relay.ctl("queue", "list")] == [True],
                   what="being put off")
        return self.why(relay)

    def why(self, relay):
        return " ".join(relay.run_ctl("why", "user@dest.test").stdout.split())

    def open_path(self, **settings):
        relay = self.relay(**settings).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        self.gone(relay)
        return relay

    def young_path(self, **settings):
        """This hour's only message has gone."""
        wait_until(lambda: time.time() % 3600 < 3540, timeout=61, what="an hour that lasts")
        today = time.strftime("%Y-%m-%d", time.gmtime())
        return self.open_path(sources=({"name": "w3", "since": today},),
                              reputation={"warmup_start": 1}, **settings)


class Why(Waiting):
    def test_held_by_hand(self):
        relay = self.open_path()
        relay.ctl("reputation", "hold", "mx.dest.test")
        shown = self.put_off(relay)
        self.assertIn("next nothing, while its path is held by hand; returned to the sender in", shown)
        self.assertIn("holds the path to that provider by hand", shown)
        self.assertIn("command relayctl reputation open mx.dest.test ", shown)
        for word in ("tried again", "tries it now", "its turn", BLAME):
            self.assertNotIn(word, shown)
        relay.ctl("reputation", "open", "mx.dest.test")
        self.receiver.wait(2)

    def test_held_by_hand_after_an_answer(self):
        """What was answered before stays, and does not hide the hold."""
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.waiting(relay)
        relay.ctl("reputation", "hold", "mx.dest.test")
        relay.ctl("queue", "retry", "--all")
        wait_until(lambda: "held by hand" in self.why(relay), what="being put off")
        shown = self.why(relay)
        self.assertIn("451 4.2.0 not now", shown)
        self.assertIn("command relayctl reputation open mx.dest.test ", shown)

    def test_a_young_source(self):
        shown = self.put_off(self.young_path())
        self.assertIn("tried again in", shown)
        self.assertIn("The sending address is in its warm-up", shown)
        self.assertIn("reputation.warmup_start", shown)
        self.assertIn("command relayctl reputation (the paths", shown)
        self.assertNotIn("queue retry", shown)
        self.assertNotIn(BLAME, shown)

    def test_a_message_that_is_held(self):
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        row = self.waiting(relay)
        relay.ctl("queue", "hold", row["id"])
        shown = self.why(relay)
        self.assertIn("next nothing, until it is released", shown)
        self.assertIn("nothing is tried before", shown)
        self.assertNotIn("it is tried again", shown)

    def test_after_a_restart(self):
        """An answer is in no file, and nobody shall think that there was none."""
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        row = self.waiting(relay)
        relay.stop()
        relay.start()
        self.assertIn("1 attempt so far", self.why(relay))
        self.assertIn("answer not known any more, as after a restart of relayd", self.why(relay))
        facts = {f["what"]: f["value"] for f in relay.ctl("queue", "show", row["id"])}
        self.assertIn("not known any more", facts["last_answer"])

    def test_held_before_a_restart(self):
        relay = self.open_path()
        relay.ctl("reputation", "hold", "mx.dest.test")
        self.put_off(relay)
        relay.stop()
        relay.start()
        shown = self.why(relay)
        self.assertIn("answer none yet", shown)
        self.assertIn("keeps its mail for that provider back. Why is not known any more", shown)
        self.assertIn("command relayctl reputation (the paths", shown)


class Reports(Waiting):
    def report(self, relay):
        """That on the one message which waits."""
        relay.send("b@example.jp", "user@dest.test", TEXT)
        report = self.receiver.wait(2)[1]
        self.assertEqual(report.recipients, ["b@example.jp"])
        text = b" ".join(report.data.split()).decode()
        for word in (BLAME, "relayctl", "stage path", "Last-Attempt-Date"):
            self.assertNotIn(word, text)
        return text

    def test_a_young_source_at_the_end(self):
        text = self.report(self.young_path(queue={"lifetime": "2s", "delay_notice": "0"}))
        self.assertIn("limits by itself how much it sends in an hour", text)
        self.assertIn("The receiving side was not asked.", text)
        self.assertIn("Status: 4.4.7", text)
        self.assertIn("x-relayd; not tried: mail to mx.dest.test has to wait: this mail server limits", text)

    def test_a_young_source_and_the_delay(self):
        text = self.report(self.young_path(queue={"delay_notice": "1s"}))
        self.assertIn("Action: delayed", text)
        self.assertIn("not tried: mail to mx.dest.test has to wait: this mail server limits", text)

    def test_held_by_hand_at_the_end(self):
        relay = self.open_path(queue={"lifetime": "2s", "delay_notice": "0"},
                               reputation={"hold_max": "0s"})
        relay.ctl("reputation", "hold", "mx.dest.test")
        text = self.report(relay)
        self.assertIn("The administrator of this mail server holds all mail", text)
        self.assertIn("is held by the administrator of this mail server", text)

    def test_after_a_restart(self):
        """There were attempts, and what was answered is in no file."""
        self.receiver.behaviour = Behaviour(rcpt=lambda _, to: "451 4.2.0 no" if "dest" in to else None)
        relay = self.relay(queue={"backoff": ["1h"], "delay_notice": "1d"}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.waiting(relay)
        relay.stop()
        relay.change(queue={"delay_notice": "1s"})
        relay.start()
        notice, = self.receiver.wait(1)
        text = b" ".join(notice.data.split()).decode()
        self.assertIn("Action: delayed", text)
        self.assertIn("what was answered is not known any more, as after a restart", text)
        self.assertNotIn("Last-Attempt-Date", text)


class Own(Waiting):
    """What our configuration demands or lacks is no trouble of the receiver's."""

    def told(self, relay, *words):
        """In `why`, and in the report at the end."""
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.waiting(relay)
        shown = self.why(relay)
        report = self.receiver.wait(1)[-1]
        text = b" ".join(report.data.split()).decode()
        self.assertEqual(report.recipients, ["a@example.jp"])
        for blame in ("The receiving side wants", "trouble of its own", "could not be reached",
                      "Check the MX"):
            self.assertNotIn(blame, shown + text)
        return shown, text

    def routes(self, *first):
        return self.relay(queue={"backoff": ["1h"], "lifetime": "4s", "delay_notice": "0"}, routes=(
            *first, {"match": "example.jp", "via": ["default"]})).start()

    def test_encryption_is_demanded(self):
        for tls in ("encrypt", "verify", "dane"):
            with self.subTest(tls):
                del self.receiver.messages[:]
                relay = self.routes({"match": "dest.test", "via": ["default"], "tls": tls})
                shown, text = self.told(relay)
                self.assertIn("This mail may go over safe encryption only, by tls of its route", shown)
                self.assertIn("route of its own", shown)
                self.assertIn("Your message may go to the receiving side over safe encryption only", text)
                relay.stop()

    def test_starttls_is_broken(self):
        self.receiver.behaviour = Behaviour(
            extensions=["STARTTLS"], starttls=lambda *_: "454 4.7.0 TLS not available")
        relay = self.routes({"match": "dest.test", "via": ["default"], "tls": "encrypt"})
        shown, text = self.told(relay)
        self.assertIn("This mail may go over safe encryption only, by tls of its route", shown)
        self.assertIn("454 4.7.0 TLS not available", shown)
        self.assertIn("Your message may go to the receiving side over safe encryption only", text)

    def test_no_route(self):
        shown, text = self.told(self.routes())
        self.assertIn("No entry of routes in the configuration is for this recipient", shown)
        self.assertIn("relayctl reload", shown)
        self.assertIn("This mail server is not set up to send from your address to this recipient", text)
        self.assertIn("no entry of routes in the configuration fits", text)
        self.assertNotIn("relayctl", text)


if __name__ == "__main__":
    unittest.main()
