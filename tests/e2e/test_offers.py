"""What the receiver offers is used, and nothing else: extensions, TLS."""
import itertools
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

    def test_the_words_of_a_host_s_name_are_no_refusal(self):
        self.names.mail_host("wall.test", "mx.dnsbl.wall.test", "127.0.0.1")
        relay = self.send(["SIZE 0"], TEXT + "日本".encode() + b"\r\n", to="user@wall.test",
                          options=["BODY=8BITMIME"])
        relay.wait_log("to=user@wall.test .*result=failed .*status=5.6.3 verdict=protocol "
                       "scope=message rule=structure")

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


class NextHost(Case):
    """8-bit text, and hosts of which not all offer 8BITMIME."""

    LACKING = Behaviour(extensions=["PIPELINING"])
    AWAY = None

    def setUp(self):
        super().setUp()
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.9")
        self.reports = self.another_receiver("127.0.0.9", None, self.receiver.port)

    def send(self):
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        text = TEXT + "日本".encode() + b"\r\n"
        relay.send("a@example.jp", "user@dest.test", text, mail_options=["BODY=8BITMIME"])
        return relay

    def send_to(self, *hosts):
        numbered = [(f"mx{i}.dest.test", f"127.0.0.{i}", host) for i, host in enumerate(hosts, 11)]
        self.names.add("dest.test", "MX", *(f"{i} {name}." for i, (name, _, _) in enumerate(numbered)))
        for name, address, _ in numbered:
            self.names.add(name, "A", address)
        self.hosts = [self.another_receiver(address, host, self.receiver.port)
                      for _, address, host in numbered if host is not self.AWAY]
        return self.send()

    def test_the_first_one_that_offers_it(self):
        relay = self.send_to(self.LACKING, self.LACKING, self.LACKING, Behaviour())
        self.hosts[3].wait(1)
        self.gone(relay)
        self.assertEqual(self.reports.messages, [])

    def test_none_offers_it(self):
        relay = self.send_to(self.LACKING, self.LACKING, self.LACKING)
        report, = self.reports.wait(1)
        self.gone(relay)
        self.assertIn(b"Status: 5.6.3", report.body)
        self.assertEqual([h.connections for h in self.hosts], [1, 1, 1])

    def test_one_puts_it_off(self):
        relay = self.send_to(self.LACKING, Behaviour(rcpt="451 4.7.1 greylisted"), self.LACKING)
        self.waiting(relay)
        self.assertEqual(len(relay.log("attempt .*result=deferred")), 3)
        self.hosts[1].behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        self.hosts[1].wait(1)
        self.gone(relay)
        self.assertEqual(self.reports.messages, [])

    def test_one_is_away(self):
        relay = self.send_to(self.AWAY, self.LACKING)
        row = self.waiting(relay)
        self.assertIn("8BITMIME", row["last"])
        self.assertEqual(self.reports.messages, [])

    def test_another_address_is_no_other_host(self):
        """What one address lacks the other would lack, too: nobody waits for it."""
        self.names.add("mx.dest.test", "A", "127.0.0.11", "127.0.0.1")
        self.receiver.behaviour = self.LACKING
        self.send()
        report, = self.reports.wait(1)
        self.assertIn(b"Status: 5.6.3", report.body)


class Tls(Case):
    """Between servers TLS is used where it works, and never a reason to keep mail back."""

    def send(self, **stages):
        self.receiver.behaviour = Behaviour(**stages)
        relay = self.relay(delivery={"command_timeout": "1s"}, queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        message, = self.receiver.wait(1)
        self.gone(relay)
        return relay, message

    def test_offered(self):
        relay, message = self.send(tls=self.certificate("elsewhere.test")[2])
        self.assertTrue(message.tls)
        self.assertEqual(self.receiver.connections, 1)
        # what was said in the clear does not count: EHLO is said again
        self.assertEqual([c.split()[0] for c in self.receiver.commands[:4]],
                         ["EHLO", "STARTTLS", "EHLO", "MAIL"])
        relay.wait_log("attempt .*tls=.?TLSv1")

    def test_expired_certificate(self):
        _, message = self.send(tls=self.certificate("mx.dest.test", expired=True)[2])
        self.assertTrue(message.tls)

    def test_switched_off(self):
        self.receiver.behaviour = Behaviour(tls=self.certificate("mx.dest.test")[2])
        relay = self.relay(delivery={"starttls": False}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        message, = self.receiver.wait(1)
        self.assertFalse(message.tls)
        self.assertNotIn("STARTTLS", self.receiver.commands)

    def test_offered_but_refused(self):
        for answer in ("454 4.7.0 not now", "502 5.5.1 what", "554 5.7.3 no"):
            with self.subTest(answer):
                _, message = self.send(extensions=["STARTTLS"], starttls=answer)
                self.assertFalse(message.tls)
                self.receiver.messages.clear()

    def test_offered_but_broken(self):
        """The handshake fails in one way or another: the same host again, in the clear."""
        ways = {"rubbish": None, "drop": DROP, "hang": HANG, "421": "421 4.7.0 no",
                "lines behind 220": b"220 go on\r\n250 injected\r\n250 PIPELINING\r\n",
                "no handshake": b"220 go on\r\n",
                "endless": lambda n, a: itertools.repeat(b"220-x\r\n" * 1000)}
        for name, answer in ways.items():
            with self.subTest(name):
                relay, message = self.send(extensions=["STARTTLS"], starttls=answer)
                self.assertFalse(message.tls)
                self.assertEqual(len(self.receiver.messages), 1)
                self.receiver.messages.clear()
                relay.stop()


if __name__ == "__main__":
    unittest.main()
