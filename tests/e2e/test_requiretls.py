"""REQUIRETLS and "TLS-Required: No" (RFC 8689), from the client to the receiver."""
import smtplib
import ssl
import unittest

from harness import Behaviour, SignedServer, free_port
from harness.case import TEXT, Case
from harness.policy import Authority

OFFER = ["PIPELINING", "8BITMIME", "REQUIRETLS"]


class RequireTls(Case):
    def setUp(self):
        super().setUp()
        self.names = SignedServer()
        self.addCleanup(self.names.close)
        self.names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.9")
        self.authority = Authority(self.folder())
        self.good = self.authority.context("mx.dest.test")
        self.reports = self.another_receiver("127.0.0.9", port=self.receiver.port)
        self.reports.behaviour = Behaviour(tls=self.authority.context("mx.example.jp"), extensions=OFFER)

    def relay(self, **settings):
        self.tls_port = free_port()
        pem, key, _ = self.certificate("relay.example.jp")
        relay = super().relay(env={"SSL_CERT_FILE": self.authority.pem}, queue={"backoff": ["1h"]},
                              tls={"certificate": pem, "key": key}, **settings)
        relay.change(dns=self.names.settings(relay.folder), listen=(
            *relay.settings["listen"], {"address": "127.0.0.1", "port": self.tls_port, "tls": "starttls"}))
        relay.start()
        relay.wait_log("answers are validated")
        return relay

    def client(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client = smtplib.SMTP("127.0.0.1", self.tls_port, timeout=30)
        client.starttls(context=context)
        client.ehlo()
        return client

    def send(self, text=TEXT, options=("REQUIRETLS",), **settings):
        relay = self.relay(**settings)
        with self.client() as client:
            client.sendmail("a@example.jp", ["user@dest.test"], text, mail_options=list(options))
        return relay, relay.wait_log("attempt .*result=")[0]

    def test_offered_under_tls_only(self):
        relay = self.relay()
        with relay.smtp() as client:
            client.ehlo()
            self.assertFalse(client.has_extn("requiretls"))
            self.assertEqual(client.docmd("MAIL FROM:<a@example.jp> REQUIRETLS")[0], 555)
        with self.client() as client:
            self.assertTrue(client.has_extn("requiretls"))
            self.assertEqual(client.docmd("MAIL FROM:<a@example.jp> REQUIRETLS=1")[0], 501)
            self.assertEqual(client.docmd("MAIL FROM:<a@example.jp> REQUIRETLS")[0], 250)

    def test_delivered_where_all_holds(self):
        self.receiver.behaviour = Behaviour(tls=self.good, extensions=OFFER)
        _, line = self.send()
        self.assertIn("result=delivered", line)
        self.assertIn("verified=authority", line)
        mail = [c for c in self.receiver.commands if c.startswith("MAIL")]
        self.assertTrue(mail[0].endswith(" REQUIRETLS"), mail)

    def test_returned_where_it_is_not_offered(self):
        self.receiver.behaviour = Behaviour(tls=self.good)
        _, line = self.send()
        self.assertIn("result=failed", line)
        self.assertIn("5.7.30", line)
        report, = self.reports.wait(1)
        self.assertIn(b"5.7.30", report.data)
        self.assertEqual(self.receiver.messages, [])

    def test_the_next_host_offers_it(self):
        """RFC 8689 section 4.2.1: each is tried before the message is returned."""
        self.names.add("dest.test", "MX", "10 mx.dest.test.", "20 mx2.dest.test.")
        self.names.add("mx2.dest.test", "A", "127.0.0.2")
        second = self.another_receiver("127.0.0.2", port=self.receiver.port)
        second.behaviour = Behaviour(tls=self.authority.context("mx2.dest.test"), extensions=OFFER)
        self.receiver.behaviour = Behaviour(tls=self.good)
        relay, _ = self.send()
        second.wait(1)
        self.gone(relay)
        self.assertEqual(self.reports.messages, [])

    def test_its_report_is_no_less_secret(self):
        """RFC 8689 section 5: REQUIRETLS holds for the report, and RET=FULL does not."""
        self.receiver.behaviour = Behaviour(tls=self.good)
        self.send(options=("REQUIRETLS", "RET=FULL"))
        report, = self.reports.wait(1)
        mail = [c for c in self.reports.commands if c.startswith("MAIL")]
        self.assertTrue(mail[0].endswith(" REQUIRETLS"), mail)
        self.assertIn(b"text/rfc822-headers", report.data)
        self.assertNotIn(TEXT.split(b"\r\n\r\n", 1)[1], report.data)

    def test_a_report_that_nobody_takes_so_ends_there(self):
        self.receiver.behaviour = Behaviour(tls=self.good)
        self.reports.behaviour = Behaviour(tls=self.authority.context("mx.example.jp"))
        relay, _ = self.send()
        relay.wait_log("discard id=.* to=a@example.jp")
        self.assertEqual(self.reports.messages, [])

    def test_returned_where_nobody_says_whose_host_it_is(self):
        self.names.unsigned = {"dest.test"}
        self.receiver.behaviour = Behaviour(tls=self.good, extensions=OFFER)
        _, line = self.send()
        self.assertIn("result=failed", line)
        self.assertIn("5.7.30", line)
        self.assertEqual(self.receiver.connections, 0)

    def test_a_bad_certificate_waits(self):
        self.receiver.behaviour = Behaviour(tls=self.certificate("mx.dest.test")[2], extensions=OFFER)
        _, line = self.send()
        self.assertIn("result=deferred", line)
        self.assertEqual(self.receiver.messages, [])

    def test_it_survives_a_restart(self):
        self.receiver.behaviour = Behaviour(tls=self.good, extensions=OFFER, banner="421 later")
        relay, line = self.send()
        self.assertIn("result=deferred", line)
        relay.kill()
        self.receiver.behaviour = Behaviour(tls=self.good)
        relay.start()
        relay.wait_log("answers are validated")
        relay.run_ctl("queue", "retry", "--all")
        self.assertIn("5.7.30", relay.wait_log("attempt .*result=failed")[0])

    def test_field_that_asks_for_less(self):
        """Records that do not fit do not keep it; REQUIRETLS beats the field."""
        self.names.add(f"_{self.receiver.port}._tcp.mx.dest.test", "TLSA", "3 1 1 " + 64 * "0")
        self.receiver.behaviour = Behaviour(tls=self.good, extensions=OFFER)
        field = b"TLS-Required: No\r\n" + TEXT
        for text, options, result in ((field, (), "delivered"), (TEXT, (), "deferred"),
                                      (field.replace(b"No", b"Yes"), (), "deferred"),
                                      (field, ("REQUIRETLS",), "deferred")):
            with self.subTest(text[:20] + b" ".join(o.encode() for o in options)):
                relay, line = self.send(text, options)
                self.assertIn(f"result={result}", line)
                relay.stop()


if __name__ == "__main__":
    unittest.main()
