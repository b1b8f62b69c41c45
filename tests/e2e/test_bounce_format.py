"""Reports as the sender's mail program reads them: real ones, parsed with Python's email
package, whatever the receiver has said."""
import email
import email.policy
import re
import unittest

from harness import Behaviour
from harness.case import TEXT, Case

BINARY = b"550 5.1.1 \xe3\x81\x82\xff\x1b[31m \x01 no\r\n"
FORGED = (b"550-5.1.1 no\r\n550---report-0000000000000000\r\n"
          b"550-Content-Type: text/html\r\n550-Final-Recipient: rfc822; victim@example.jp\r\n"
          b"550 Action: delivered\r\n")


class BounceFormat(Case):
    def setUp(self):
        super().setUp()
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.2")
        self.sender = self.another_receiver("127.0.0.2", port=self.receiver.port)

    def report(self, relay, recipients=("user@dest.test",), sender="a@example.jp", text=TEXT,
               **options):
        relay.send(sender, list(recipients), text, **options)
        return self.parse(self.sender.wait(len(self.sender.messages) + 1)[-1])

    def parse(self, message):
        """The report, after all that holds for each of them."""
        self.assertEqual(message.sender, "")
        raw = message.data
        self.assertNotRegex(raw, rb"(?<!\r)\n|\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
        self.assertLessEqual(max(map(len, raw.split(b"\r\n"))), 998)
        report = email.message_from_bytes(raw, policy=email.policy.default)
        self.assertEqual(report.get_content_type(), "multipart/report")
        for name in ("From", "To", "Subject", "Date", "Message-ID"):
            self.assertEqual(len(report.get_all(name)), 1, name)
            self.assertFalse(report[name].defects, name)
        self.assertEqual(report["Auto-Submitted"], "auto-replied")
        self.assertFalse(report.defects)
        self.assertIsNotNone(report["Date"].datetime)
        words, status, header = report.iter_parts()
        for part in (words, status, header):
            self.assertFalse(part.defects)
        wide = report.get_param("report-type") == "global-delivery-status"
        self.assertEqual(
            [p.get_content_type() for p in (words, status, header)],
            ["text/plain", "message/global-delivery-status", "message/global-headers"] if wide else
            ["text/plain", "message/delivery-status", "text/rfc822-headers"])
        if not wide:
            self.assertTrue(raw.isascii())
        return report

    def groups(self, report):
        """Of the status part: the message's fields, and those of each recipient."""
        _, status, _ = report.iter_parts()
        if status.get_content_type() == "message/delivery-status":
            return [dict(group.items()) for group in status.get_payload()]
        text = status.get_payload(decode=False)
        text = text if isinstance(text, str) else text[0].as_string()
        return [dict(email.message_from_string(group).items())
                for group in re.split(r"\n\n", text.strip())]

    def words(self, report):
        return next(report.iter_parts()).get_content()

    def test_unknown_user(self):
        self.receiver.behaviour = Behaviour(rcpt="550 5.1.1 no such user here")
        relay = self.relay().start()
        report = self.report(relay)
        self.assertEqual(report["To"].addresses[0].addr_spec, "a@example.jp")
        self.assertRegex(report["From"].addresses[0].addr_spec, "^MAILER-DAEMON@example.jp$")
        whole, one = self.groups(report)
        self.assertEqual(whole["Reporting-MTA"], "dns; relay.example.jp")
        self.assertRegex(whole["X-Relayd-Queue-ID"], "^[0-9a-f]{16}$")
        self.assertEqual(one["Final-Recipient"], "rfc822; user@dest.test")
        self.assertEqual((one["Action"], one["Status"]), ("failed", "5.1.1"))
        self.assertEqual(one["Remote-MTA"], "dns; mx.dest.test")
        self.assertIn("no such user here", one["Diagnostic-Code"])
        self.assertIn("There is no such mailbox", self.words(report))
        header = list(report.iter_parts())[2].get_content()
        self.assertIn("Subject: hello", header)
        self.assertNotIn("The text.", report.as_string())

    def test_hostile_replies(self):
        relay = self.relay().start()
        for reply in (BINARY, FORGED, b"550 " + b"x" * 450 + b"\r\n", b"550 \r\n",
                      b"".join(b"550-line %d\r\n" % i for i in range(60)) + b"550 end\r\n"):
            self.receiver.behaviour = Behaviour(rcpt=reply)
            report = self.report(relay)
            whole, one = self.groups(report)
            self.assertEqual(one["Final-Recipient"], "rfc822; user@dest.test")
            self.assertEqual(one["Action"], "failed")
            self.assertNotIn("victim", one["Final-Recipient"])

    def test_many_recipients(self):
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, a: f"550 5.1.1 <{a}> unknown" if "bad" in a else None)
        relay = self.relay().start()
        good = [f"good{i}@dest.test" for i in range(20)]
        bad = [f"bad{i}@dest.test" for i in range(80)]
        report = self.report(relay, good + bad)
        groups = self.groups(report)[1:]
        self.assertEqual(sorted(g["Final-Recipient"] for g in groups),
                         sorted(f"rfc822; {a}" for a in bad))
        for group in groups:
            self.assertIn(group["Final-Recipient"][8:], group["Diagnostic-Code"])
        message, = self.receiver.wait(1)
        self.assertEqual(sorted(message.recipients), sorted(good))

    def test_every_mode_of_the_return_path(self):
        """What is done to others' mail is not done to reports: they go out from <>."""
        self.receiver.behaviour = Behaviour(rcpt="550 5.1.1 no such user")
        for mode, to in (("repair", "a@example.jp"), ("always", "bounce@example.jp"),
                         ("masquerade", "a@example.jp"), ("off", "a@example.jp")):
            with self.subTest(mode):
                relay = self.relay(return_path={"mode": mode}).start()
                report = self.report(relay)
                self.assertEqual(self.sender.messages[-1].recipients, [to])
                self.assertEqual(report["From"].addresses[0].domain, "example.jp")
                relay.stop()

    def test_the_disk_is_full_when_a_report_is_due(self):
        """No spin and nothing lost: the message waits by the ladder, and is reported once
        there is room."""
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        relay = self.relay(queue={"backoff": ["3s"]}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        relay.wait_log("result=deferred")
        relay.stop()
        self.receiver.behaviour = Behaviour(rcpt="550 5.1.1 no such user")
        relay.change(spool={"free_space": "1000G"})  # more than there is
        relay.start()
        relay.wait_log("warn report .*result=later", 2)
        self.assertLess(len(relay.log("result=failed")), 5)
        row, = relay.ctl("queue", "list")
        self.assertEqual(row["to"], ["user@dest.test"])
        relay.stop()
        self.assertEqual(self.sender.messages, [])
        relay.change(spool={"free_space": "1M"})
        relay.start()
        self.parse(self.sender.wait(1)[0])
        self.gone(relay)

    def test_domain_that_does_not_exist(self):
        relay = self.relay().start()
        report = self.report(relay, ["user@nowhere.test"])
        whole, one = self.groups(report)
        self.assertNotIn("Remote-MTA", one)
        self.assertTrue(one["Diagnostic-Code"].startswith("x-relayd; "))

    def test_utf8_address(self):
        self.receiver.behaviour = Behaviour(rcpt="550 5.1.1 no such user")
        relay = self.relay().start()
        text = "From: a@example.jp\r\nTo: 用戶@dest.test\r\nSubject: 件名\r\n\r\nText\r\n".encode()
        report = self.report(relay, ["用戶@dest.test"], text=text,
                             mail_options=["SMTPUTF8", "BODY=8BITMIME"])
        self.assertEqual(report.get_param("report-type"), "global-delivery-status")
        raw = self.sender.messages[-1].data.decode()
        self.assertIn("Final-Recipient: utf-8; 用戶@dest.test\r\n", raw)
        self.assertIn("Subject: 件名\r\n", raw)
        self.assertIn("Content-Transfer-Encoding: 8bit\r\n", raw)

    def test_header_of_any_kind(self):
        """Raw 8-bit, ISO-2022-JP, very long and folded lines of the message come back in
        a form that any mail program takes."""
        self.receiver.behaviour = Behaviour(rcpt="550 5.1.1 no such user")
        relay = self.relay().start()
        fields = ("Subject: \x1b$B$\"\x1b(B あ\r\nX-Long: " + "y" * 1200 + "\r\n"
                  "X-Folded: one\r\n\ttwo\r\nX-Back: C:\\temp\r\n--report: x = y\r\n")
        text = ("From: a@example.jp\r\n" + fields + "\r\nText\r\n").encode()
        report = self.report(relay, text=text, mail_options=["BODY=8BITMIME"])
        header = list(report.iter_parts())[2].get_content()
        self.assertIn(fields, header)

    def test_delay_notice(self):
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        relay = self.relay(queue={"delay_notice": "2s", "backoff": ["1s"]}).start()
        report = self.report(relay)
        self.assertEqual(report["Subject"], "Your message is delayed")
        whole, one = self.groups(report)
        self.assertEqual(one["Action"], "delayed")
        self.assertEqual(one["Status"], "4.2.0")
        self.assertIn("not now", one["Diagnostic-Code"])
        self.assertIn("Will-Retry-Until", one)
        self.assertIn("You need not send it again.", self.words(report).replace("\n", " "))

    def test_expired(self):
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        relay = self.relay(queue={"lifetime": "3s", "delay_notice": "0s", "backoff": ["1s"]}).start()
        report = self.report(relay)
        whole, one = self.groups(report)
        self.assertEqual((one["Action"], one["Status"]), ("failed", "4.4.7"))
        self.assertIn("not now", one["Diagnostic-Code"])

    def test_nobody_reports_to_nobody(self):
        """What has an empty envelope sender, and our own reports, die with a log line."""
        self.receiver.behaviour = Behaviour(rcpt="550 5.1.1 no such user")
        self.sender.behaviour = Behaviour(rcpt="550 5.1.1 no such sender either")
        relay = self.relay(return_path={"mode": "off"}).start()
        relay.send("", "user@dest.test", TEXT)
        relay.wait_log("discard")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        relay.wait_log("discard", 2)
        self.gone(relay)
        self.assertEqual(self.sender.messages, [])


if __name__ == "__main__":
    unittest.main()
