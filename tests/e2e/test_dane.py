"""DANE (RFC 7672), against a signed zone: what each message's fate is."""
import hashlib
import subprocess
import unittest

from harness import Behaviour, SignedServer
from harness.case import TEXT, Case
from harness.policy import Authority


class Dane(Case):
    def setUp(self):
        super().setUp()
        self.names = SignedServer()
        self.addCleanup(self.names.close)
        self.names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")
        self.pem, self.key_file, self.context = self.certificate("mx.dest.test")
        self.receiver.behaviour = Behaviour(tls=self.context)

    def relay(self, **settings):
        relay = super().relay(**{"queue": {"backoff": ["1h"]}, **settings})
        relay.change(dns=self.names.settings(relay.folder))
        return relay

    def publish(self, *records, host="mx.dest.test"):
        self.names.add(f"_{self.receiver.port}._tcp.{host}", "TLSA", *records)

    def record(self, usage=3, selector=1, matching=1, pem=None):
        """The TLSA record that fits the certificate in PEM."""
        command = {0: ["openssl", "x509", "-outform", "DER"],
                   1: ["openssl", "x509", "-pubkey", "-noout"]}[selector]
        out = subprocess.run([*command, "-in", pem or self.pem], capture_output=True, check=True).stdout
        if selector == 1:
            out = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=out,
                                 capture_output=True, check=True).stdout
        data = {0: out.hex(), 1: hashlib.sha256(out).hexdigest(),
                2: hashlib.sha512(out).hexdigest()}[matching]
        return f"{usage} {selector} {matching} {data}"

    def send(self, relay=None, **settings):
        relay = relay or self.relay(**settings).start()
        relay.wait_log("answers are validated")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        return relay

    def delivered(self, relay, *fields):
        message = self.receiver.wait(1)[-1]
        line = relay.wait_log("^.*attempt .*result=delivered")[-1]
        for field in fields:
            self.assertIn(field, line)
        self.receiver.messages.clear()
        return message

    def waits(self, relay, reason):
        """Put off with REASON; nothing was said in the clear, nobody was told a word."""
        last = self.waiting(relay)["last"]
        self.assertIn(reason, last)
        self.assertLessEqual(last.count("4.7.5"), 1)  # as status, and not in the text too
        self.assertEqual(self.receiver.messages, [])
        self.assertFalse([c for c in self.receiver.commands if c.startswith("MAIL")])

    def test_records_that_fit(self):
        for usage, selector, matching in ((3, 1, 1), (3, 1, 2), (3, 0, 1), (3, 0, 2), (3, 0, 0), (3, 1, 0)):
            with self.subTest(f"{usage} {selector} {matching}"):
                self.publish(self.record(usage, selector, matching))
                relay = self.send()
                message = self.delivered(relay, "tls_level=dane ", "verified=dane-ee", 'tls="TLSv1.3')
                self.assertTrue(message.tls)
                relay.stop()

    def test_names_and_dates_do_not_count_for_dane_ee(self):
        for name, expired in (("other.test", False), ("mx.dest.test", True)):
            with self.subTest(name):
                pem, _, context = self.certificate(name, expired)
                self.receiver.behaviour = Behaviour(tls=context)
                self.publish(self.record(pem=pem))
                relay = self.send()
                self.delivered(relay, "verified=dane-ee")
                relay.stop()

    def test_another_key_waits(self):
        self.publish(self.record(pem=self.certificate("mx.dest.test")[0]))
        self.waits(self.send(), "no matching DANE TLSA records")

    def test_one_of_many_fits(self):
        wrong = [f"3 1 1 {i:064x}" for i in range(60)]
        self.publish(*wrong, self.record())
        self.delivered(self.send(), "verified=dane-ee")

    def test_thousands_of_records(self):
        """As many as DNS can carry, or the resolver likes: bounded, and no other end than a wait."""
        self.publish(*(f"3 1 1 {i:064x}" for i in range(1200)))
        self.waits(self.send(), "TLSA records")

    def test_no_starttls_waits(self):
        self.receiver.behaviour = Behaviour()
        self.publish(self.record())
        self.waits(self.send(), "does not offer STARTTLS")

    def test_starttls_refused_or_broken_waits(self):
        for name, answer in (("refused", "502 5.5.1 what"), ("rubbish", None)):
            with self.subTest(name):
                self.receiver.behaviour = Behaviour(extensions=["STARTTLS"], starttls=answer)
                self.publish(self.record())
                relay = self.send()
                self.waits(relay, "502" if answer else "TLS")
                relay.stop()

    def test_unusable_records_want_encryption_only(self):
        """PKIX usages, a kind that nobody knows, a digest of odd length."""
        for record in (self.record(usage=1), self.record(usage=0), "3 1 9 00ff00ff", "3 1 1 00ff"):
            with self.subTest(record[:6]):
                self.publish(record)
                relay = self.send()
                message = self.delivered(relay, "tls_level=dane-unusable", "verified=no")
                self.assertTrue(message.tls)
                relay.stop()
        self.receiver.behaviour = Behaviour()
        self.receiver.commands.clear()
        self.waits(self.send(), "does not offer STARTTLS")

    def test_look_up_that_fails_waits(self):
        name = f"_{self.receiver.port}._tcp.mx.dest.test"
        for kind in ("servfail", "bogus"):
            with self.subTest(kind):
                getattr(self.names, kind).add(name)
                self.publish(self.record())
                relay = self.send()
                self.waits(relay, "can not be looked up")
                self.assertEqual(self.receiver.connections, 0)
                relay.stop()

    def test_bogus_mx_and_address_wait(self):
        for name in ("dest.test", "mx.dest.test"):
            with self.subTest(name):
                self.names.bogus = {name}
                self.publish(self.record())
                relay = self.send()
                self.waiting(relay)
                self.assertEqual(self.receiver.connections, 0)
                relay.stop()

    def test_unsigned_zones_demand_nothing(self):
        """Records that do not fit, where nobody vouches for them."""
        for cut in ("dest.test", "test"):
            with self.subTest(cut):
                self.names.unsigned = {cut}
                self.publish("3 1 1 " + 64 * "0")
                relay = self.send()
                self.delivered(relay, "tls_level=may", "verified=no")
                relay.stop()

    def test_signed_host_of_an_unsigned_domain(self):
        """Who can forge the MX can as well name another host."""
        self.names.unsigned = {"dest.test"}
        self.names.mail_host("dest.test", "mx.other.test", "127.0.0.1")
        self.publish("3 1 1 " + 64 * "0", host="mx.other.test")
        self.delivered(self.send(), "tls_level=may")

    def test_no_records(self):
        self.delivered(self.send(), "tls_level=may", "verified=no")
        self.receiver.behaviour = Behaviour()
        message = self.delivered(self.send(), "tls_level=may", 'tls=""')
        self.assertFalse(message.tls)

    def test_base_is_where_the_cname_leads(self):
        self.names.remove("mx.dest.test")
        self.names.add("mx.dest.test", "CNAME", "real.host.test.")
        self.names.add("real.host.test", "A", "127.0.0.1")
        seen = []
        self.context.sni_callback = lambda sock, name, ctx: seen.append(name)
        self.publish(self.record(), host="real.host.test")
        self.publish("3 1 1 " + 64 * "0")
        self.delivered(self.send(), "verified=dane-ee")
        self.assertEqual(seen, ["real.host.test"])

    def test_records_under_the_name_when_its_end_has_none(self):
        for cut in ((), ("host.test",)):  # the second: out of a signed zone into an unsigned one
            with self.subTest(cut):
                self.names.unsigned = set(cut)
                self.names.remove("mx.dest.test")
                self.names.add("mx.dest.test", "CNAME", "real.host.test.")
                self.names.add("real.host.test", "A", "127.0.0.1")
                self.publish(self.record())
                relay = self.send()
                self.delivered(relay, "verified=dane-ee")
                relay.stop()

    def test_authority_of_the_records(self):
        """DANE-TA: the chain counts, and the name of host or domain."""
        for name, good in (("mx.dest.test", True), ("dest.test", True), ("other.test", False)):
            with self.subTest(name):
                authority = Authority(self.folder())
                self.receiver.behaviour = Behaviour(tls=authority.context(name))
                self.publish(self.record(2, 0, 1, authority.pem))
                relay = self.send()
                if good:
                    self.delivered(relay, "verified=dane-ta")
                else:
                    self.receiver.commands.clear()
                    self.waits(relay, "ostname mismatch")
                relay.stop()

    def test_next_host_when_one_does_not_fit(self):
        second = self.another_receiver("127.0.0.2", Behaviour(tls=self.context), self.receiver.port)
        self.names.add("dest.test", "MX", "10 mx.dest.test.", "20 mx2.dest.test.")
        self.names.add("mx2.dest.test", "A", "127.0.0.2")
        self.publish("3 1 1 " + 64 * "0")
        self.publish(self.record(), host="mx2.dest.test")
        self.send()
        second.wait(1)
        self.assertEqual(self.receiver.messages, [])

    def test_level_dane(self):
        level = {"routes": ({"match": "*", "via": ["default"], "tls": "dane"},)}
        self.waits(self.send(**level), "has no TLSA records")
        self.publish(self.record())
        self.delivered(self.send(**level), "verified=dane-ee")

    def test_switched_off(self):
        self.publish("3 1 1 " + 64 * "0")
        self.delivered(self.send(delivery={"dane": False}), "tls_level=may")

    def test_parked_connections_are_not_shared_between_levels(self):
        """The same host, by a route that demands more than the first message's."""
        self.names.add("second.test", "MX", "10 mx.dest.test.")
        self.names.add("third.test", "MX", "10 mx.dest.test.")
        via = {"via": ["default"]}
        relay = self.relay(delivery={"reuse_idle": "30s"}, routes=(
            {"match": "second.test", "tls": "verify", **via}, {"match": "*", **via}))
        relay = self.send(relay.start())
        self.delivered(relay, "tls_level=may")
        relay.send("a@example.jp", "user@third.test", TEXT)
        self.delivered(relay, "tls_level=may")
        self.assertEqual(self.receiver.connections, 1)
        self.receiver.commands.clear()
        relay.send("a@example.jp", "user@second.test", TEXT)
        self.waits(relay, "self-signed")

    def test_sessions_are_resumed_as_long_as_the_records_are_the_same(self):
        self.publish(self.record())
        relay = self.relay().start()
        for resumed in (False, True, True):
            self.send(relay)
            self.receiver.wait(1)
            self.receiver.messages.clear()
        lines = relay.wait_log("attempt .*result=delivered", 3)
        self.assertEqual([" resumed" in l for l in lines], [False, True, True])
        self.assertTrue(all("verified=dane" in l for l in lines))
        # another level does not take it
        self.names.add("alias.test", "A", "127.0.0.1")
        self.names.mail_host("second.test", "alias.test", "127.0.0.1")
        relay.send("a@example.jp", "user@second.test", TEXT)
        self.assertNotIn(" resumed", relay.wait_log("attempt .*tls_level=may")[0])


class Levels(Case):
    """Levels of a route, without anything published."""

    def try_level(self, level, behaviour, env=None):
        self.receiver.behaviour = behaviour
        relay = self.relay(env=env, queue={"backoff": ["1h"]},
                           routes=({"match": "*", "via": ["default"], "tls": level},)).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        line = relay.wait_log("attempt .*result=")[0]
        if "result=delivered" not in line:
            self.assertEqual(self.receiver.messages, [])
            self.waiting(relay)
        relay.stop()
        self.receiver.messages.clear()
        return line

    def test_levels(self):
        pem, _, good = self.certificate("mx.dest.test")
        other_pem, _, other = self.certificate("other.test")
        old_pem, _, old = self.certificate("mx.dest.test", expired=True)
        trust = {"SSL_CERT_FILE": pem}
        rows = (
            ("none", good, {}, "delivered", 'tls=""'),
            ("may", good, {}, "delivered", "verified=no"),
            ("may", None, {}, "delivered", 'tls=""'),
            ("encrypt", good, {}, "delivered", "verified=no"),
            ("encrypt", None, {}, "deferred", "STARTTLS"),
            ("verify", good, trust, "delivered", "verified=authority"),
            ("verify", good, {}, "deferred", "self-signed certificate"),
            ("verify", other, {"SSL_CERT_FILE": other_pem}, "deferred", "ostname mismatch"),
            ("verify", old, {"SSL_CERT_FILE": old_pem}, "deferred", "expired"),
            ("verify", None, trust, "deferred", "STARTTLS"),
            ("dane", good, trust, "deferred", "TLSA"),
        )
        for level, context, env, result, shown in rows:
            with self.subTest(f"{level} {shown}"):
                line = self.try_level(level, Behaviour(tls=context), env)
                self.assertIn(f"result={result}", line)
                self.assertIn(f"tls_level={level}", line)
                self.assertIn(shown, line)


class Broken(Case):
    """STARTTLS that is offered and does not work."""

    def test_it_is_remembered(self):
        self.receiver.behaviour = Behaviour(extensions=["STARTTLS"], starttls=b"220 go\r\n250 x\r\n")
        relay = self.relay().start()
        for count in (1, 2, 3):
            relay.send("a@example.jp", "user@dest.test", TEXT)
            self.receiver.wait(count)
        self.assertEqual(self.receiver.commands.count("STARTTLS"), 1)
        self.assertEqual(self.receiver.connections, 4)

    def test_a_level_that_wants_it_does_not_care(self):
        self.receiver.behaviour = Behaviour(extensions=["STARTTLS"], starttls=b"220 go\r\n250 x\r\n")
        self.names.mail_host("strict.test", "mx.dest.test", "127.0.0.1")
        relay = self.relay(routes=({"match": "strict.test", "via": ["default"], "tls": "encrypt"},
                                   {"match": "*", "via": ["default"]})).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        relay.send("a@example.jp", "user@strict.test", TEXT)
        relay.wait_log("attempt .*result=deferred .*tls_level=encrypt")
        self.assertEqual(len(self.receiver.messages), 1)


if __name__ == "__main__":
    unittest.main()
