"""TLS reports (RFC 8460): counted, kept over a restart, sent by mail and HTTPS."""
import email
import email.policy
import gzip
import json
import os
import threading
import unittest
from datetime import datetime, timedelta, timezone

from harness import Behaviour, wait_until
from harness.case import TEXT, Case
from harness.policy import Authority, PolicyServer
from harness.relay import release_dir


class Reports(Case):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder())
        self.receiver.behaviour = Behaviour(tls=self.authority.context("mx.dest.test"))
        self.names.mail_host("reports.test", "mx.reports.test", "127.0.0.9")
        self.reports = self.another_receiver("127.0.0.9", port=self.receiver.port)
        self.policies = PolicyServer(self.authority.context("mta-sts.dest.test"))
        self.addCleanup(self.policies.close)
        self.names.add("mta-sts.dest.test", "A", "127.0.0.1")

    def ask(self, value, domain="dest.test"):
        self.names.add(f"_smtp._tls.{domain}", "TXT", f'"{value}"')

    def relay(self, interval="1s", **delivery):
        relay = super().relay(env={"SSL_CERT_FILE": self.authority.pem},
                              delivery={"mta_sts_port": self.policies.port,
                                        "tls_report_interval": interval, **delivery},
                              notify={"mail": "admin@example.jp"}, queue={"backoff": ["1h"]})
        relay.change(domains=({"name": "example.jp", "return_path": "bounce@example.jp",
                               "dkim": (self.key(relay),)},))
        return relay

    def read(self, data):
        """The JSON in a mail; what RFC 8460 demands of both."""
        message = email.message_from_bytes(data, policy=email.policy.SMTP)
        self.assertEqual(message.get_content_type(), "multipart/report")
        self.assertEqual(message.get_param("report-type"), "tlsrpt")
        self.assertEqual(message["TLS-Report-Domain"], "dest.test")
        self.assertEqual(message["TLS-Report-Submitter"], "relay.example.jp")
        self.assertIn("d=example.jp", message["DKIM-Signature"])
        text, packed = message.iter_parts()
        self.assertEqual(packed.get_content_type(), "application/tlsrpt+gzip")
        self.assertRegex(packed.get_filename(), r"^relay.example.jp!dest.test!\d+!\d+!.*\.json\.gz$")
        return self.check(packed.get_payload(decode=True))

    def check(self, packed):
        report = json.loads(gzip.decompress(packed))
        self.assertEqual(report["organization-name"], "relay.example.jp")
        self.assertEqual(report["contact-info"], "admin@example.jp")
        self.assertRegex(report["report-id"], "@relay.example.jp$")
        for key in ("start-datetime", "end-datetime"):
            self.assertRegex(report["date-range"][key], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        for policy in report["policies"]:
            failed = policy["summary"]["total-failure-session-count"]
            told = sum(d["failed-session-count"] for d in policy.get("failure-details", ()))
            self.assertEqual(failed, told)
            self.assertEqual(policy["policy"]["policy-domain"], "dest.test")
        return report

    def test_by_mail(self):
        self.ask("v=TLSRPTv1; rua=mailto:tls@reports.test")
        relay = self.relay().start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        message, = self.reports.wait(1)
        self.assertEqual((message.sender, message.recipients), ("", ["tls@reports.test"]))
        policy, = self.read(message.data)["policies"]
        self.assertEqual(policy["policy"]["policy-type"], "no-policy-found")
        self.assertEqual(policy["summary"]["total-successful-session-count"], 1)
        self.gone(relay)
        self.assertEqual(len(self.reports.messages), 1)

    def test_none_on_reports(self):
        """They go to the domain that they are about: each would be a reason for the next."""
        self.ask("v=TLSRPTv1; rua=mailto:tls@dest.test")
        self.ask("v=TLSRPTv1; rua=mailto:tls@reports.test", "reports.test")
        relay = self.relay().start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(2)
        # one who is counted after it gets his: by then that on the report would be there
        relay.send("a@example.jp", "user@reports.test", TEXT)
        self.reports.wait(2)
        self.gone(relay)
        self.assertEqual([m.recipients for m in self.receiver.messages],
                         [["user@dest.test"], ["tls@dest.test"]])

    def test_failures_of_a_policy(self):
        """Another host's certificate, in a policy that is only tested: it is delivered."""
        self.ask("v=TLSRPTv1;rua=mailto:tls@reports.test")
        self.names.add("_mta-sts.dest.test", "TXT", '"v=STSv1; id=one;"')
        for mode, context, failure in (
                ("testing", self.authority.context("other.test"), "certificate-host-mismatch"),
                ("enforce", self.certificate("mx.dest.test")[2], "certificate-not-trusted"),
                ("enforce", None, "starttls-not-supported")):
            with self.subTest(failure):
                self.policies.policy(mode, "mx.dest.test")
                self.receiver.behaviour = Behaviour(tls=context)
                self.reports.messages.clear()
                relay = self.relay().start()
                relay.send("a@example.jp", "user@dest.test", TEXT)
                message, = self.reports.wait(1)
                policy, = self.read(message.data)["policies"]
                self.assertEqual(policy["policy"]["policy-type"], "sts")
                self.assertIn(f"mode: {mode}", policy["policy"]["policy-string"])
                self.assertEqual(policy["policy"]["mx-host"], ["mx.dest.test"])
                detail, = policy["failure-details"]
                self.assertEqual(detail["result-type"], failure)
                self.assertEqual(detail["receiving-mx-hostname"], "mx.dest.test")
                self.assertEqual(detail["receiving-ip"], "127.0.0.1")
                relay.stop()

    def test_what_was_not_tried_is_no_failure(self):
        """A route without TLS is our own wish."""
        self.ask("v=TLSRPTv1; rua=mailto:tls@reports.test")
        self.ask("v=TLSRPTv1; rua=mailto:tls@reports.test", "reports.test")
        relay = self.relay()
        relay.change(routes=({"match": "dest.test", "via": ["default"], "tls": "none"},
                             {"match": "*", "via": ["default"]}))
        relay.start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        relay.send("a@example.jp", "user@reports.test", TEXT)
        self.reports.wait(2)
        self.gone(relay)
        self.assertEqual([m.recipients[0] for m in self.reports.messages],
                         ["user@reports.test", "tls@reports.test"])
        self.assertIn(b"TLS-Report-Domain: reports.test", self.reports.messages[1].data)

    def test_one_whose_starttls_is_broken_offers_it(self):
        """The second message goes in the clear at once, and says the same of the host."""
        self.ask("v=TLSRPTv1; rua=mailto:tls@reports.test")
        self.receiver.behaviour = Behaviour(extensions=["STARTTLS"], starttls=b"220 go\r\n")
        relay = self.relay("3s").start()
        for i in range(2):
            relay.send("a@example.jp", "user@dest.test", TEXT)
            self.receiver.wait(i + 1)
        failed = {}
        wait_until(lambda: self.count(failed) == 2, what="both sessions reported")
        self.assertEqual(failed, {"validation-failure": 2})

    def count(self, failed):
        """How many sessions have failed, in all reports so far, and how."""
        failed.clear()
        for message in list(self.reports.messages):
            for policy in self.read(message.data)["policies"]:
                for detail in policy["failure-details"]:
                    kind = detail["result-type"]
                    failed[kind] = failed.get(kind, 0) + detail["failed-session-count"]
        return sum(failed.values())

    def test_by_https(self):
        self.post_from(self.relay())

    def test_by_https_behind_the_filter(self):
        relay = self.relay()
        relay.program = lambda name: os.path.join(release_dir(), name)
        self.post_from(relay)

    def post_from(self, relay):
        self.policies.context = self.authority.context("collect.dest.test")
        self.names.add("collect.dest.test", "A", "127.0.0.1")
        self.ask(f"v=TLSRPTv1; rua=https://collect.dest.test:{self.policies.port}/v1/tls")
        relay.start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        wait_until(lambda: self.policies.posted, what="a report")
        path, kind, body = self.policies.posted[0]
        self.assertEqual((path, kind), ("/v1/tls", "application/tlsrpt+gzip"))
        self.check(body)

    def test_a_few_at_a_time_by_https(self):
        """Places that take long keep a few connections, and not one for each domain."""
        self.policies.context = self.authority.context("collect.dest.test")
        self.policies.hold = threading.Event()
        self.addCleanup(self.policies.hold.set)
        self.names.add("collect.dest.test", "A", "127.0.0.1")
        domains = [f"d{i}.test" for i in range(40)]
        for domain in domains:
            self.names.mail_host(domain, "mx.dest.test", "127.0.0.1")
            self.ask(f"v=TLSRPTv1; rua=https://collect.dest.test:{self.policies.port}/", domain)
        relay = self.relay().start()
        relay.send("a@example.jp", [f"user@{d}" for d in domains], TEXT)
        self.gone(relay)
        relay.wait_log("gets one at", 10)
        for _ in range(3):
            relay.ctl("status")
        self.assertEqual(len(relay.log("gets one at")), 10)
        self.policies.hold.set()
        wait_until(lambda: len(self.policies.posted) == len(domains), what="all reports")

    def test_counts_survive_a_restart(self):
        self.ask("v=TLSRPTv1; rua=mailto:tls@reports.test")
        relay = self.relay("1d").start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        self.gone(relay)
        relay.stop()
        path = os.path.join(relay.spool, "tls-reports")
        with open(path) as f:
            kept = json.load(f)
        kept["now"]["period"] -= 1  # that was yesterday
        with open(path, "w") as f:
            json.dump(kept, f)
        relay.change(delivery={"tls_report_interval": "1d"})
        relay.start()
        relay.ctl("queue", "list")  # it takes signals from here on
        relay.stop()
        with open(path) as f:
            kept = json.load(f)
        self.assertEqual(len(kept["due"]["entries"]), 1)  # within the hour
        self.assertEqual(kept["now"]["entries"], [])
        with open(path, "w") as f:
            f.write('{"now": 7, "due": [')
        relay.start()
        relay.wait_log("tls-reports can not be read")

    def test_another_interval_ends_the_period(self):
        """What was counted till then is of the days when that was, whatever a number of the
        new interval would mean."""
        self.ask("v=TLSRPTv1; rua=mailto:tls@reports.test")
        begun = datetime.now(timezone.utc)
        relay = self.relay("1d").start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        self.gone(relay)
        relay.change(delivery={"tls_report_interval": "1s"})
        relay.write_conf()
        relay.ctl("reload")
        message, = self.reports.wait(1, timeout=60)
        dates = self.read(message.data)["date-range"]
        first, last = (datetime.fromisoformat(dates[key].replace("Z", "+00:00"))
                       for key in ("start-datetime", "end-datetime"))
        self.assertLessEqual(begun - timedelta(days=1), first)
        self.assertLessEqual(first, begun)
        self.assertEqual(last - first, timedelta(days=1, seconds=-1))

    def test_who_gets_none(self):
        """Nobody asked, asked twice, or for what is no place; or it is switched off."""
        self.ask("v=TLSRPTv1; rua=mailto:tls@reports.test", "asks.test")
        for value in (None, "v=TLSRPTv1; rua=ftp://x.y/"):
            with self.subTest(value):
                self.names.remove("_smtp._tls.dest.test")
                if value:
                    self.ask(value)
                self.names.mail_host("asks.test", "mx.dest.test", "127.0.0.1")
                self.reports.messages.clear()
                relay = self.relay().start()
                relay.send("a@example.jp", ["user@dest.test"], TEXT)
                relay.send("a@example.jp", ["user@asks.test"], TEXT)
                message = self.reports.wait(1)[0]
                self.assertIn(b"asks.test", message.data)
                relay.stop()
        self.reports.messages.clear()
        relay = self.relay("1d").start()
        relay.send("a@example.jp", ["user@asks.test"], TEXT)
        self.gone(relay)
        relay.change(delivery={"tls_reports": False, "tls_report_interval": "1s"})
        relay.write_conf()
        relay.ctl("reload")  # what was counted before is not told either
        relay.ctl("status")
        relay.stop()
        with open(os.path.join(relay.spool, "tls-reports")) as f:
            kept = json.load(f)
        self.assertEqual((kept["now"]["entries"], kept["due"]), ([], None))
        self.assertEqual(relay.log("gets one at"), [])
        relay = self.relay(tls_reports=False).start()
        relay.send("a@example.jp", ["user@asks.test"], TEXT)
        self.gone(relay)
        relay.stop()
        with open(os.path.join(relay.spool, "tls-reports")) as f:
            self.assertEqual(json.load(f)["now"]["entries"], [])


if __name__ == "__main__":
    unittest.main()
