"""What the sender hears: the notice of a delay, the end of a lifetime, nothing for <>."""
import unittest

from harness import Behaviour, Relay, wait_until
from harness.case import Case

TEXT = "From: shop@example.jp\r\nSubject: order\r\n\r\nx\r\n"


class Notices(Case):
    def setUp(self):
        super().setUp()
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.1")
        self.refuse = True
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, a: "451 4.2.0 not yet" if self.refuse and a == "user@dest.test"
            else None)

    def queue(self, **settings):
        relay = Relay(self.names, queue=settings,
                      delivery={"port": self.receiver.port, "allow_private": True})
        self.addCleanup(relay.close)
        return relay.start()

    def test_a_delay_is_told_once_and_the_mail_arrives(self):
        relay = self.queue(delay_notice="1s", backoff=["1s"])
        relay.send("shop@example.jp", "user@dest.test", TEXT)
        notice, = self.receiver.wait(1)
        self.assertEqual((notice.sender, notice.recipients), ("", ["shop@example.jp"]))
        self.assertIn("delayed", notice.header)
        self.assertIn(b"Action: delayed", notice.data)
        self.assertIn(b"not yet", notice.data)
        relay.wait_log("result=deferred", count=3)
        self.refuse = False
        messages = self.receiver.wait(2)
        self.assertEqual([m.recipients for m in messages[1:]], [["user@dest.test"]])

    def test_the_end_of_a_lifetime_is_reported_with_the_last_answer(self):
        relay = self.queue(lifetime="3s", delay_notice="0", backoff=["1s"])
        relay.send("shop@example.jp", "user@dest.test", TEXT)
        report, = self.receiver.wait(1)
        self.assertEqual(report.sender, "")
        self.assertIn(b"Action: failed", report.data)
        self.assertIn(b"Status: 4.4.7", report.data)
        self.assertIn(b"not yet", report.data)
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")

    def test_a_report_outlives_its_domain(self):
        """Its sender is told though his domain is not configured any more."""
        self.names.mail_host("kunde.org", "mx.kunde.org", "127.0.0.1")
        relay = self.queue(delay_notice="0", backoff=["1h"])
        own = relay.settings["domains"]
        relay.change(domains=(*own, {"name": "kunde.org"}))
        relay.write_conf()
        relay.ctl("reload")
        relay.send("boss@kunde.org", "user@dest.test", TEXT.replace("shop@example.jp", "boss@kunde.org"))
        relay.wait_log("result=deferred")
        relay.change(domains=own)
        relay.write_conf()
        relay.ctl("reload")
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, a: "550 5.1.1 no such user" if a == "user@dest.test" else None)
        relay.ctl("queue", "retry", "--all")
        report, = self.receiver.wait(1)
        self.assertEqual((report.sender, report.recipients), ("", ["boss@kunde.org"]))
        self.assertIn("MAILER-DAEMON@example.jp", report.header)
        self.assertIn(b"no such user", report.data)

    def test_nothing_answers_the_empty_sender(self):
        self.receiver.behaviour = Behaviour(rcpt="550 5.1.1 no such user")
        relay = self.queue(delay_notice="0")
        relay.send("", "user@dest.test", TEXT)
        relay.wait_log("warn discard ")
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")
        self.assertEqual(self.receiver.messages, [])


if __name__ == "__main__":
    unittest.main()
