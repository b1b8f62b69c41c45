"""MTA-STS (RFC 8461): what each message's fate is, by policy, server and certificate."""
import hashlib
import os
import ssl
import threading
import time
import unittest

from harness import Behaviour, SignedServer, wait_until
from harness.case import TEXT, Case
from harness.policy import Authority, PolicyServer
from harness.relay import release_dir


class Base(Case):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder())
        self.good = self.authority.context("mx.dest.test")
        self.receiver.behaviour = Behaviour(tls=self.good)
        self.policies = PolicyServer(self.authority.context("mta-sts.dest.test"))
        self.addCleanup(self.policies.close)
        self.names.add("mta-sts.dest.test", "A", "127.0.0.1")

    def announce(self, *records, ttl=0):
        quoted = [f'"{r}"' for r in records or ("v=STSv1; id=one;",)]
        self.names.add("_mta-sts.dest.test", "TXT", *quoted, ttl=ttl)

    def relay(self, **settings):
        relay = super().relay(env={"SSL_CERT_FILE": self.authority.pem},
                              queue={"backoff": ["1h"]}, **settings)
        relay.change(delivery={"mta_sts_port": self.policies.port})
        return relay

    def send(self, relay=None, **settings):
        relay = relay or self.relay(**settings).start()
        before = len(relay.lines)
        relay.send("a@example.jp", "user@dest.test", TEXT)
        return relay, relay.wait_log("attempt .*result=", since=before)[-1]

    def goes(self, *fields, relay=None, **settings):
        relay, line = self.send(relay, **settings)
        for field in ("result=delivered", *fields):
            self.assertIn(field, line)
        return relay

    def waits(self, reason, relay=None, **settings):
        """Put off for REASON; nobody got a word of it, and the sender no report."""
        before = len(self.receiver.messages)
        relay, line = self.send(relay, **settings)
        self.assertIn("result=deferred", line)
        self.assertIn(reason, line)
        self.gone_quiet(relay)
        self.assertEqual(len(self.receiver.messages), before)
        return relay

    def gone_quiet(self, relay):
        wait_until(lambda: all(row["state"] == "waiting" for row in relay.ctl("queue", "list")),
                   what="the end of the attempt")


class Sts(Base):
    def test_enforced(self):
        self.announce()
        self.policies.policy("enforce", "mx.dest.test")
        relay = self.goes("tls_level=sts ", "verified=authority")
        self.goes("tls_level=sts ", relay=relay)
        self.assertEqual(self.policies.asked, [("mta-sts.dest.test", "/.well-known/mta-sts.txt")])

    def test_behind_the_filter(self):
        """That of the release build lets no code in, so libcurl is there before; not where
        all mail goes to a smarthost, which has no policy."""
        self.announce()
        self.policies.policy("enforce", "mx.dest.test")
        relay = self.relay()
        relay.program = lambda name: os.path.join(release_dir(), name)
        relay.change(smarthosts=({"name": "up", "host": "127.0.0.1"},),
                     routes=({"match": "*", "via": ["up"]},))
        self.assertFalse(self.has_libcurl(relay.start()))
        relay.change(routes=({"match": "*", "via": ["default"]},))
        relay.write_conf()
        relay.ctl("reload")
        relay.wait_log("warn reload: MTA-STS .* next start")
        relay.stop()
        self.assertTrue(self.has_libcurl(relay.start()))
        self.goes("tls_level=sts ", "verified=authority", relay=relay)

    def has_libcurl(self, relay):
        with open(f"/proc/{relay.process.pid}/maps") as maps:
            return "libcurl" in maps.read()

    def test_wildcard(self):
        for pattern, fits in (("*.dest.test", True), ("*.test", False), ("*.mx.dest.test", False)):
            with self.subTest(pattern):
                self.announce()
                self.policies.policy("enforce", "other.example", pattern)
                relay = self.goes("tls_level=sts ") if fits else self.waits("does not list")
                relay.stop()

    def test_certificates(self):
        """Wrong name, expired, self-signed, none at all, broken."""
        own = self.certificate("mx.dest.test")[2]
        old = self.certificate("mx.dest.test", expired=True)[2]
        rows = (
            (Behaviour(tls=self.authority.context("other.test")), "ostname mismatch"),
            (Behaviour(tls=old), "certificate"),
            (Behaviour(tls=own), "self-signed"),
            (Behaviour(), "does not offer STARTTLS"),
            (Behaviour(extensions=["STARTTLS"], starttls="502 no"), "502"),
            (Behaviour(extensions=["STARTTLS"], starttls=b"220 go\r\n"), "TLS"),
        )
        self.announce()
        for mode in ("enforce", "testing"):
            self.policies.policy(mode, "mx.dest.test")
            for behaviour, reason in rows:
                with self.subTest(f"{mode} {reason}"):
                    self.receiver.behaviour = behaviour
                    if mode == "enforce":
                        relay = self.waits(reason)
                    else:
                        relay = self.goes("tls_level=sts-testing")
                    relay.stop()

    def test_the_next_host_that_is_listed(self):
        second = self.another_receiver("127.0.0.2", Behaviour(tls=self.authority.context("mx2.dest.test")),
                                       self.receiver.port)
        self.names.add("dest.test", "MX", "10 mx.dest.test.", "20 mx2.dest.test.")
        self.names.add("mx2.dest.test", "A", "127.0.0.2")
        self.announce()
        self.policies.policy("enforce", "mx2.dest.test")
        relay = self.relay().start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        second.wait(1)
        self.assertEqual(self.receiver.connections, 0)

    def test_what_is_no_policy(self):
        """Not announced, malformed, not to be had: as if there were none."""
        self.policies.policy("enforce", "other.example")
        rows = (
            ("nothing", (), {}),
            ("two records", ("v=STSv1; id=one;", "v=STSv1; id=two;"), {}),
            ("no id", ("v=STSv1;",), {}),
            ("odd id", ("v=STSv1; id=o-n-e;",), {}),
            ("another version", ("v=STSv2; id=one;",), {}),
            ("404", ("v=STSv1; id=one;",), {"status": 404}),
            ("redirect", ("v=STSv1; id=one;",), {"status": 302, "location": "/x"}),
            ("html", ("v=STSv1; id=one;",), {"kind": "text/html"}),
            ("too long", ("v=STSv1; id=one;",), {"text": self.policies.text + "x: y\r\n" * 20000}),
            ("no version", ("v=STSv1; id=one;",), {"text": "mode: enforce\nmax_age: 9\nmx: a.b\n"}),
            ("mode none", ("v=STSv1; id=one;",), {"text": "version: STSv1\nmode: none\nmax_age: 9\n"}),
            ("certificate", ("v=STSv1; id=one;",), {"context": self.authority.context("dest.test")}),
            ("untrusted", ("v=STSv1; id=one;",), {"context": self.certificate("mta-sts.dest.test")[2]}),
        )
        usual = dict(vars(self.policies))
        for name, records, change in rows:
            with self.subTest(name):
                self.names.remove("_mta-sts.dest.test")
                if records:
                    self.announce(*records)
                vars(self.policies).update(change)
                self.goes("tls_level=may").stop()
                vars(self.policies).update({k: usual[k] for k in change})

    def test_kept_when_everything_is_gone(self):
        """Restart, no record, no server: it was promised."""
        self.announce()
        self.policies.policy("enforce", "mx.dest.test")
        relay = self.goes("tls_level=sts ")
        relay.stop()
        self.names.remove("_mta-sts.dest.test")
        self.names.remove("mta-sts.dest.test")
        self.receiver.behaviour = Behaviour()
        relay.start()
        self.waits("does not offer STARTTLS", relay=relay)

    def test_kept_when_the_new_one_can_not_be_fetched(self):
        self.announce()
        self.policies.policy("enforce", "mx.dest.test")
        relay = self.goes("tls_level=sts ")
        self.announce("v=STSv1; id=two;")
        self.policies.status = 500
        self.receiver.behaviour = Behaviour()
        self.waits("does not offer STARTTLS", relay=relay)
        relay.wait_log("mta-sts: the policy of dest.test can not be had: status 500")

    def test_another_status_than_200_is_said(self):
        self.announce()
        self.policies.status = 204
        relay = self.goes("tls_level=may")
        relay.wait_log("the policy of dest.test can not be had: status 204, expected 200")

    def test_another_id_is_another_policy(self):
        self.announce()
        self.policies.policy("enforce", "other.example")
        relay = self.waits("does not list")
        self.announce("v=STSv1; id=two;")
        self.policies.policy("enforce", "mx.dest.test")
        self.goes("tls_level=sts ", relay=relay)
        self.assertEqual(len(self.policies.asked), 2)

    def test_a_policy_that_has_run_out_is_fetched_again(self):
        self.announce()
        self.policies.policy("enforce", "other.example", max_age=0)
        relay = self.relay().start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        relay.wait_log("attempt .*result=")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        relay.wait_log("attempt .*result=", 2)
        self.assertEqual(len(self.policies.asked), 2)

    def test_nobody_overtakes_the_fetch_of_one_that_has_run_out(self):
        """Whoever asks while it is fetched waits for it, and lets nobody else go before."""
        self.announce()
        self.policies.policy("enforce", "mx.dest.test", max_age=1)
        relay = self.goes("tls_level=sts ")
        self.receiver.behaviour = Behaviour()
        self.policies.hold = threading.Event()
        self.addCleanup(self.policies.hold.set)
        time.sleep(1)
        for i in range(2):
            relay.send("a@example.jp", "user@dest.test", TEXT)
            self.policies.wait(2)
        wait_until(lambda: self.running(relay) == 2 or relay.log("result=delivered")[1:],
                   what="two attempts")
        self.policies.hold.set()
        for line in relay.wait_log("attempt .*result=", 3)[1:]:
            self.assertIn("does not offer STARTTLS", line)
        self.assertEqual(len(self.policies.asked), 2)

    def running(self, relay):
        return {row["what"]: row["value"] for row in relay.ctl("status")}["queue_running"]

    def test_a_policy_in_the_second_half_of_its_life_is_refreshed(self):
        """Nobody waits for that: this message still goes by the old one."""
        self.announce()
        self.policies.policy("enforce", "mx.dest.test", max_age=1000)
        relay = self.goes("tls_level=sts ")
        relay.stop()
        path = os.path.join(relay.spool, "mta-sts", "dest.test")
        with open(path) as f:
            first, rest = f.read().split("\n", 1)
        words = first.split(" ")
        words[3] = str(int(words[3]) - 600 * 1000)
        with open(path, "w") as f:
            f.write(" ".join(words) + "\n" + rest)
        self.policies.policy("enforce", "other.example", max_age=1000)
        relay.start()
        self.goes("tls_level=sts ", relay=relay)
        self.policies.wait(2)

        def is_new():
            with open(path) as f:
                return "other.example" in f.read()
        wait_until(is_new, what="the new policy on disk")
        self.waits("does not list", relay=relay)

    def test_files_that_are_damaged(self):
        self.announce()
        self.policies.policy("enforce", "mx.dest.test")
        relay = self.goes("tls_level=sts ")
        relay.stop()
        path = os.path.join(relay.spool, "mta-sts", "dest.test")
        with open(path) as f:
            whole = f.read()
        for text in ("", "rubbish", whole[:30], whole.replace("relayd-sts 1", "relayd-sts 2"),
                     whole.replace("mode", "mood"), "\0" * 100):
            with self.subTest(text[:20]), open(path, "w") as f:
                f.write(text)
            relay.start()
            self.goes("tls_level=sts ", relay=relay)
            relay.stop()

    def test_levels(self):
        by = {"routes": ({"match": "*", "via": ["default"], "tls": "sts"},)}
        self.waits("has no policy", **by)
        self.announce()
        self.policies.policy("testing", "mx.dest.test")
        self.goes("tls_level=sts ", "verified=authority", **by)
        self.policies.policy("enforce", "other.example")
        self.goes("tls_level=may", delivery={"mta_sts": False})
        self.assertEqual(len(self.policies.asked), 1)

    def test_private_policy_servers_are_not_asked(self):
        self.announce()
        relay = self.relay(delivery={"allow_private": False})
        relay.start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        relay.wait_log("result=failed")
        self.assertEqual(self.policies.asked, [])


class Both(Base):
    """A domain with TLSA records as well: they win."""

    def setUp(self):
        super().setUp()
        self.names = SignedServer()
        self.addCleanup(self.names.close)
        self.names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")
        self.names.add("mta-sts.dest.test", "A", "127.0.0.1")

    def relay(self, **settings):
        relay = super().relay(**settings)
        relay.change(dns=self.names.settings(relay.folder))
        return relay

    def test_records_win(self):
        self.announce()
        self.policies.policy("enforce", "other.example")
        pem, _, context = self.certificate("whoever.test")
        self.receiver.behaviour = Behaviour(tls=context)
        out = ssl.PEM_cert_to_DER_cert(open(pem).read())
        self.names.add(f"_{self.receiver.port}._tcp.mx.dest.test", "TLSA",
                       "3 0 1 " + hashlib.sha256(out).hexdigest())
        relay = self.relay().start()
        relay.wait_log("answers are validated")
        self.goes("tls_level=dane ", "verified=dane-ee", relay=relay)
        self.receiver.behaviour = Behaviour(tls=self.good)
        self.policies.policy("enforce", "mx.dest.test")
        self.waits("no matching DANE", relay=relay)


if __name__ == "__main__":
    unittest.main()
