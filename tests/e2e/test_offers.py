"""What the receiver offers is used, and nothing else: extensions, TLS."""
import unittest

from harness import DROP, HANG, Behaviour
from harness.case import TEXT, Case


class Offers(Case):
    """What the receiver does not offer is not used."""

    def setUp(self):
        super().setUp()
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.9")
        self.reports = self.another_receiver("127.0.0.9", None, self.receiver.port)

    def send(self, offers, message=TEXT, sender="a@example.jp", to="user@dest.test", options=(), **stages):
        self.receiver.behaviour = Behaviour(extensions=offers, **stages)
        relay = self.relay().start()
        relay.send(sender, to, message, mail_options=options)
        return relay

    def test_no_pipelining(self):
        self.send(["8BITMIME"])
        self.receiver.wait(1)
        self.assertEqual(self.receiver.pipelined, 0)

    def test_pipelining(self):
        self.send(["PIPELINING", "8BITMIME"])
        self.receiver.wait(1)
        self.assertGreater(self.receiver.pipelined, 0)

    def test_nothing_offered(self):
        self.send([])
        self.receiver.wait(1)
        mail, = [c for c in self.receiver.commands if c.startswith("MAIL")]
        self.assertEqual(mail, "MAIL FROM:<a@example.jp>")

    def test_helo_only(self):
        self.send([], ehlo="502 5.5.1 what")
        self.receiver.wait(1)
        self.assertIn("HELO relay.example.jp", self.receiver.commands)

    def test_8bit_text(self):
        relay = self.send(["SIZE 0"], TEXT + "日本".encode() + b"\r\n", options=["BODY=8BITMIME"])
        report, = self.reports.wait(1)
        self.gone(relay)
        self.assertIn(b"8BITMIME", report.body)
        self.assertIn(b"5.6.3", report.body)
        self.assertEqual(self.receiver.messages, [])

    def test_8bit_text_where_it_is_offered(self):
        self.send(["8BITMIME", "SIZE 0"], TEXT + "日本".encode() + b"\r\n", options=["BODY=8BITMIME"])
        message, = self.receiver.wait(1)
        self.assertTrue(message.body.endswith("日本\r\n".encode()))
        self.assertTrue([c for c in self.receiver.commands if "BODY=8BITMIME" in c])

    def test_utf8_addresses(self):
        relay = self.send(["8BITMIME"], to="ユーザ@dest.test", options=["SMTPUTF8"])
        report, = self.reports.wait(1)
        self.gone(relay)
        self.assertIn(b"SMTPUTF8", report.body)
        self.assertIn(b"5.6.7", report.body)
        self.assertEqual(self.receiver.messages, [])

    def test_utf8_addresses_where_they_are_offered(self):
        self.send(["8BITMIME", "SMTPUTF8"], to="ユーザ@dest.test", options=["SMTPUTF8"])
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, ["ユーザ@dest.test"])

    def test_utf8_domain(self):
        """Needs no SMTPUTF8: its ASCII form is sent."""
        self.names.mail_host("xn--wgv71a119e.test", "mx.dest.test", "127.0.0.1")
        self.send(["8BITMIME", "SMTPUTF8"], to="user@日本語.test", options=["SMTPUTF8"])
        self.receiver.wait(1)

    def test_size(self):
        relay = self.send(["SIZE 1000"], TEXT + b"x" * 998 + b"\r\n")
        report, = self.reports.wait(1)
        self.gone(relay)
        self.assertIn(b"5.3.4", report.body)
        self.assertEqual(self.receiver.messages, [])

    def test_size_is_declared(self):
        self.send(["SIZE 1000000"])
        message, = self.receiver.wait(1)
        mail, = [c for c in self.receiver.commands if c.startswith("MAIL")]
        self.assertIn(f"SIZE={len(message.data)}", mail)

    def test_odd_offers(self):
        """Hundreds of keywords, long ones, empty ones, sizes that wrap."""
        self.send([f"X-{i}" for i in range(400)] + ["", " ", "=", "SIZE", "SIZE 99999999999999999999",
                                                   "AUTH=LOGIN", "A" * 1000])
        self.receiver.wait(1)


if __name__ == "__main__":
    unittest.main()
