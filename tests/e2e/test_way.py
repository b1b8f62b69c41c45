"""The way of a message: in by SMTP, repaired, signed, queued, out to its MX."""
import unittest

import dkim

from harness import Behaviour
from harness.case import Case

PHP = (b"To: user@dest.test\r\nSubject: hello\r\n"
       b"From: apache@localhost.localdomain\r\n\r\nText of the form.\r\n")


class Way(Case):
    def test_broken_sender_is_repaired_and_signed(self):
        relay = self.relay()
        relay.change(domains=({"name": "example.jp", "return_path": "bounce@example.jp",
                               "dkim": (self.key(relay), self.key(relay, "example.jp", "e1",
                                                                  "--ed25519"))},))
        relay.start()
        relay.send("apache@localhost.localdomain", "user@dest.test", PHP)
        message, = self.receiver.wait(1)
        self.assertEqual(message.sender, "bounce@example.jp")
        self.assertEqual(message.recipients, ["user@dest.test"])
        self.assertIn("\r\nDate: ", message.header)
        self.assertIn("Message-ID: <", message.header)
        self.assertRegex(message.header, r"Received: from client\.example\.jp")
        self.assertEqual(message.header.count("DKIM-Signature:"), 2)
        for index in (0, 1):
            self.assertTrue(dkim.DKIM(message.data).verify(index, dnsfunc=self.lookup))
        relay.wait_log(r"attempt id=\w+ to=user@dest.test .*result=delivered")
        self.assertEqual(relay.ctl("queue", "list"), [])

    def test_unknown_user_is_reported_to_the_repaired_sender(self):
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, a: "550 5.1.1 no such user" if a == "nobody@dest.test" else None)
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.1")
        relay = self.relay().start()
        relay.send("www-data@web01", ["nobody@dest.test", "user@dest.test"], PHP)
        good, report = sorted(self.receiver.wait(2), key=lambda m: m.sender == "")
        self.assertEqual(good.recipients, ["user@dest.test"])
        self.assertEqual((report.sender, report.recipients), ("", ["bounce@example.jp"]))
        self.assertIn("report-type=delivery-status", report.header)
        self.assertIn(b"no such user", report.data)
        self.assertIn(b"Final-Recipient: rfc822; nobody@dest.test", report.data)

    def test_temporary_failure_stays_and_is_retried(self):
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        relay = self.relay(queue={"backoff": ["1s"]}).start()
        relay.send("a@example.jp", "user@dest.test", PHP)
        relay.wait_log("result=deferred")
        row, = relay.ctl("queue", "list")
        self.assertEqual(row["to"], ["user@dest.test"])
        self.assertIn("not now", row["last"])
        self.receiver.behaviour = Behaviour()
        self.receiver.wait(1)

    def test_a_restart_keeps_the_queue(self):
        self.receiver.behaviour = Behaviour(banner="421 not now")
        relay = self.relay().start()
        relay.send("a@example.jp", "user@dest.test", PHP)
        relay.wait_log("result=deferred")
        relay.kill()
        self.receiver.behaviour = Behaviour()
        relay.start()
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(1)
        relay.wait_log("result=delivered")
        self.assertEqual(relay.ctl("queue", "list"), [])

    def test_strangers_may_not_relay(self):
        relay = self.relay(trusted_networks=["192.0.2.0/24"]).start()
        with relay.smtp() as client:
            client.ehlo()
            client.mail("a@example.jp")
            for address in ("user@dest.test", "user%dest.test@example.jp", "user%dest.test@[127.0.0.1]",
                            "dest.test!user@example.jp", "dest.test!user", "user%dest.test", "user",
                            "@example.jp:user@dest.test", "@example.jp,@a.test:user@dest.test",
                            '"user@dest.test"@example.jp', '"user%dest.test"@example.jp',
                            "user@[127.0.0.1]", "user@[IPv6:::1]", "user@dest.test.", "user@example.jp",
                            "user@relay.example.jp", "postmaster", "Postmaster@dest.test"):
                code, text = client.docmd("RCPT", f"TO:<{address}>")
                self.assertEqual((code, text[:6]), (554, b"5.7.1 "), address)
            self.assertEqual(client.docmd("DATA")[0], 554)
        with relay.smtp() as client:
            client.ehlo()
            client.mail("a@example.jp")
            for address in ("user%dest.test@", "user@dest.test@example.jp",
                            "user@dest.test,user@example.jp", "<user@dest.test>"):
                code, text = client.docmd("RCPT", f"TO:<{address}>")
                self.assertEqual((code, text[:6]), (501, b"5.1.3 "), address)
            self.assertEqual(client.docmd("DATA")[0], 554)

    def test_foreign_from_is_refused_with_the_reason(self):
        relay = self.relay().start()
        with relay.smtp() as client:
            client.ehlo()
            client.mail("a@example.jp")
            client.rcpt("user@dest.test")
            code, text = client.data(b"From: me@gmail.com\r\n\r\nx\r\n")
            self.assertEqual(code, 550)
            self.assertIn(b"5.7.1", text)
            self.assertIn(b"gmail.com", text)


if __name__ == "__main__":
    unittest.main()
