"""Each refusal of a message or a recipient has a line in the log and is counted, whoever
says it; and nobody fills the log with them."""
import re
import unittest

from harness import Behaviour, RawClient
from harness.case import TEXT, Case

SHOWN = 100  # in a row


class Refused(Case):
    def count(self, relay):
        return next(row["value"] for row in relay.ctl("status") if row["what"] == "refused")

    def said(self, relay, pattern, count=1):
        """COUNT lines of refusals fit PATTERN."""
        return relay.wait_log(f"info refuse client=127\\.0\\.0\\.1 {pattern}", count)

    def text(self, client, text, code):
        client.envelope()
        client.ask(b"DATA", 354)
        client.send(text + b"\r\n.\r\n")
        client.expect(code)

    def test_texts(self):
        relay = self.relay(limits={"message_size": "10K", "text_line": "2000B"}).start()
        with RawClient(relay) as client:
            for text, code, reply in (
                    (b"a\nb", 550, r"5\.6\.11 .* CR or LF alone"),
                    (b"a\0b", 550, r"5\.6\.0 .* NUL"),
                    (b"x" * 2001, 554, r"5\.6\.0 .* line of over"),
                    ((b"x" * 98 + b"\r\n") * 200, 552, r"5\.3\.4 .* is over")):
                self.text(client, text, code)
                self.said(relay, f'from=a@example\\.jp reply="{code} {reply}')
            client.envelope()
            client.send(b"BDAT 10241 LAST\r\n" + b"x" * 10241)
            client.expect(552)
            self.said(relay, r'from=a@example\.jp reply="552 5\.3\.4 .* is over', 2)
        self.assertEqual(self.count(relay), 5)
        self.assertEqual(len(relay.log(" refuse ")), 5)

    def test_commands(self):
        relay = self.relay(limits={"messages_per_minute": 1, "recipients": 2}).start()
        with RawClient(relay) as client:
            client.ask(b"MAIL FROM:<a@example.jp> SIZE=99999999999", 552)
            self.said(relay, r'from="<a@example\.jp> SIZE=99999999999" reply="552 5\.3\.4')
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
            client.ask(b"RCPT TO:<b c@x.org>", 501)
            self.said(relay, r'from=a@example\.jp to="<b c@x\.org>" reply="501 5\.1\.3')
            client.ask(b"RCPT TO:<b@nodot>", 550)
            self.said(relay, r'from=a@example\.jp to=b@nodot reply="550 5\.1\.2')
            for i in range(20):
                client.ask(b"RCPT TO:<u%d@dest.test>" % i, 250 if i < 2 else 452)
            self.said(relay, r'from=a@example\.jp to=<u2@dest\.test> reply="452 4\.5\.3')
            client.ask(b"RSET", 250)
            client.ask(b"MAIL FROM:<a@example.jp>", 450)
            self.said(relay, r'from=a@example\.jp reply="450 4\.7\.1 .*messages_per_minute')
        self.assertEqual(self.count(relay), 5)
        self.assertEqual(len(relay.log(" refuse ")), 5)

    def test_a_queue_that_is_full(self):
        self.receiver.behaviour = Behaviour(banner="421 later")
        relay = self.relay(limits={"queue_messages": 1}, queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        with RawClient(relay) as client:
            client.ask(b"MAIL FROM:<a@example.jp>", 452)
        self.said(relay, r'from=a@example\.jp reply="452 4\.3\.2 .*queue_messages')
        self.assertEqual(self.count(relay), 1)

    def test_who_has_not_logged_in(self):
        relay = self.relay(trusted_networks=[])
        relay.start()
        with RawClient(relay) as client:
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
            client.ask(b"RCPT TO:<user@dest.test>", 554)
        self.said(relay, r'from=a@example\.jp to=user@dest\.test reply="554 5\.7\.1 relay access denied')
        self.assertEqual(self.count(relay), 1)

    def test_junk_has_one_line(self):
        relay = self.relay().start()
        with RawClient(relay) as client:
            client.send(b"XYZZY\r\n" * 21)
            self.assertEqual(client.replies()[-1][0], 421)
        self.said(relay, r'reply="421 4\.7\.0 Too many errors"')
        self.assertEqual(self.count(relay), 1)
        self.assertEqual(len(relay.log(" refuse ")), 1)

    def test_a_flood_does_not_fill_the_log(self):
        relay = self.relay().start()
        with RawClient(relay) as client:
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
            client.send(b"RCPT TO:<b@nodot>\r\n" * 3000)
            for _ in range(3000):
                client.expect(550)
            relay.wait_log(f"client 127.0.0.1: {SHOWN} refusals in a row")
            self.assertEqual(self.count(relay), 3000)
            self.assertEqual(len(relay.log(" refuse ")), SHOWN)
            # a message that is taken ends that
            client.ask(b"RCPT TO:<user@dest.test>", 250)
            client.ask(b"DATA", 354)
            client.send(TEXT + b".\r\n")
            client.expect(250)
            client.ask(b"MAIL FROM:<a@example.jp> SIZE=99999999999", 552)
            self.said(relay, r'from="<a@example\.jp> SIZE=99999999999"')
        self.assertFalse([l for l in relay.log(" refuse ") if not re.search(r' reply="\d\d\d ', l)])


if __name__ == "__main__":
    unittest.main()
