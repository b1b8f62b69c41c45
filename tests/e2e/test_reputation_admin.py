"""What the administrator sees and sets: the warm-up's budget and the keys of `reputation`,
replies that no rule knew, verdicts about one address family or one sender's domain, and a
notice that takes a way which is open."""
import os
import time
import unittest

from harness import Behaviour, wait_until
from harness.case import TEXT, Case

ONE = {"name": "one", "ipv4": "127.0.0.2"}
TWO = {"name": "two", "ipv4": "127.0.0.3"}
BOTH = {"name": "both"}  # the system chooses: there is no second address of IPv6 here
GMO = "554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using gmo-rbl.jp; Poor " \
      "Reputation Sender"
NO_PTR = "550-5.7.1 [::1] Our system has detected that this message does not meet\r\n" \
         "550-5.7.1 IPv6 sending guidelines regarding PTR records and authentication.\r\n" \
         "550 5.7.1 https://support.google.com/mail/?p=IPv6AuthError"
DMARC = "550-5.7.26 Unauthenticated email from example.jp is not accepted due to\r\n" \
        "550-5.7.26 domain's DMARC policy. Please contact the administrator of\r\n" \
        "550 5.7.26 example.jp domain. https://support.google.com/mail/?p=DmarcRejection"


class Administration(Case):
    def setUp(self):
        super().setUp()
        self.names.mail_host("gmo.test", "mx1.gmoserver.jp", "127.0.0.1")
        self.names.mail_host("google.test", "aspmx.l.google.com", "127.0.0.1", "::1")

    def row(self, relay, provider, source):
        found = [r for r in relay.ctl("reputation")
                 if (r["provider"], r["source"]) == (provider, source)]
        return found[0] if found else None

    def facts(self, relay, number=1):
        return {r["what"]: r["value"] for r in relay.ctl("incidents", "show", str(number))}

    def test_warm_up(self):
        since = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 6 * 86400))
        relay = self.relay(sources=({**ONE, "since": since},)).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        self.receiver.wait(1)
        self.gone(relay)
        self.assertRegex(self.row(relay, "gmo", "one")["budget"],
                         "^day [67] of 30, [01] of (151|211) this hour$")
        self.assertEqual(self.row(relay, "gmo", "one")["state"], "warming")
        # a reload changes the plan, a bad one nothing
        relay.change(reputation={"warmup_start": 1, "warmup_growth": 0, "warmup_days": 20})
        relay.write_conf()
        relay.ctl("reload")
        self.assertRegex(self.row(relay, "gmo", "one")["budget"], "^day [67] of 20, [01] of 1 ")
        relay.change(reputation={"warmup_start": 0})
        relay.write_conf()
        done = relay.run_ctl("reload")
        self.assertEqual(done.returncode, 1)
        self.assertIn("reputation.warmup_start: 0 is out of range", done.stdout + done.stderr)
        self.assertRegex(self.row(relay, "gmo", "one")["budget"], "of 1 this hour$")
        relay.change(reputation={"warmup_start": 1, "warmup_days": 0})
        relay.write_conf()
        relay.ctl("reload")
        self.assertEqual(self.row(relay, "gmo", "one")["state"], "open")

    def test_the_ladder_is_a_key(self):
        self.names.mail_host("small.test", "mx.small.test", "127.0.0.1")
        self.receiver.behaviour = Behaviour(rcpt=lambda _, to: GMO)
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1h"]},
                           reputation={"probes": ["7h"]}).start()
        replies = os.path.join(relay.folder, "replies.d")
        os.mkdir(replies)
        with open(os.path.join(replies, "own.conf"), "w") as f:
            f.write('rules = ( { id = "own"; text = "go away"; category = "ip-blocked"; '
                    'examples = [ "550 go away" ]; } );')
        relay.ctl("reload")
        self.receiver.behaviour = Behaviour(rcpt="550 go away")
        relay.send("a@example.jp", "user@small.test", TEXT)
        wait_until(lambda: relay.ctl("incidents"), what="an incident")
        self.assertAlmostEqual(self.row(relay, "mx.small.test", "one")["next"], 7 * 3600, delta=60)

    def test_unknown_replies(self):
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, to: f"451 4.9.9 flux {n} for <{to}> \x1b[1m")
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1s"]}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        relay.wait_log("result=deferred", count=2)
        row, = relay.ctl("reputation", "unknown")
        self.assertEqual((row["reply"], row["stage"], row["provider"]),
                         ("451 4.9.9 flux # for <address> \\x1b[#m", "rcpt", "gmo"))
        self.assertGreaterEqual(row["count"], 2)
        self.assertIn("retry", row["judged"])
        relay.kill()
        relay.start()
        self.assertEqual(relay.ctl("reputation", "unknown")[0]["reply"], row["reply"])
        self.assertIn("flux", relay.run_ctl("reputation", "unknown").stdout)

    def test_only_ipv6_is_closed(self):
        six = self.another_receiver("::1", port=self.receiver.port,
                                    behaviour=Behaviour(end=NO_PTR))
        self.receiver.behaviour = Behaviour()
        relay = self.relay(sources=(BOTH,), queue={"backoff": ["1s"]}).start()
        count = 0
        while not six.connections:  # which family is first is a matter of chance
            relay.send("a@example.jp", "user@google.test", TEXT)
            count += 1
            wait_until(lambda: six.connections or len(self.receiver.messages) == count,
                       what="an attempt")
        self.receiver.wait(count)
        self.gone(relay)
        self.assertEqual({m.peer for m in self.receiver.messages}, {"127.0.0.1"})
        row = self.row(relay, "google", "both")
        self.assertTrue(row["ipv6_closed"])
        self.assertNotEqual(row["state"], "held")
        facts = self.facts(relay)
        self.assertEqual((facts["family"], facts["open"]), ("ipv6", True))
        self.assertIn("IPv4 is used", facts["done"])
        connections = six.connections
        for _ in range(4):
            relay.send("a@example.jp", "user@google.test", TEXT)
        self.receiver.wait(count + 4)
        self.assertEqual(six.connections, connections)

    def test_a_senders_domain(self):
        self.names.mail_host("google4.test", "aspmx2.google.com", "127.0.0.1")
        senders = {}
        self.receiver.behaviour = Behaviour(
            mail=lambda n, sender: senders.update({n: str(sender)}),
            end=lambda n, _: DMARC if "@example.jp" in senders[n] else None)
        relay = self.relay(sources=(ONE, TWO), queue={"backoff": ["1h"]},
                           routes=({"match": "*", "via": ["one", "two"]},),
                           domains=({"name": "example.jp"}, {"name": "second.jp"})).start()
        relay.send("a@example.jp", "user@google4.test", TEXT)
        wait_until(lambda: relay.ctl("incidents"), what="an incident")
        relay.send("a@example.jp", "later@google4.test", TEXT)
        wait_until(lambda: [r["state"] for r in relay.ctl("queue", "list")] == ["waiting"] * 2,
                   what="both waiting")
        # no other source was tried, no path is held, and another domain's mail goes
        self.assertEqual(set(self.receiver.peers.values()), {"127.0.0.2"})
        self.assertEqual(self.receiver.connections, 1)
        self.assertEqual(self.row(relay, "google", "example.jp")["state"], "domain held")
        self.assertNotEqual(self.row(relay, "google", "one")["state"], "held")
        relay.send("a@second.jp", "user@google4.test", TEXT.replace(b"example.jp", b"second.jp"))
        message, = self.receiver.wait(1)
        self.assertEqual((message.peer, message.sender), ("127.0.0.2", "a@second.jp"))
        facts = self.facts(relay)
        self.assertEqual((facts["sender_domain"], facts["class"]), ("example.jp", "auth-failed"))
        self.assertIn("DNS", facts["do"])
        self.assertEqual(facts["waiting"], 2)
        page, = relay.ctl("delist", "1")
        self.assertEqual(page["entry"], "authentication")
        self.assertIn("SPF of example.jp", " ".join(page["steps_en"]))
        self.assertIn("is about the domain example.jp",
                      relay.run_ctl("delist", "1", "--send").stderr)

    def test_the_notice_takes_an_open_way(self):
        self.receiver.behaviour = Behaviour(
            banner=lambda n, _: GMO if self.receiver.peers[n] == "127.0.0.2" else None)
        relay = self.relay(sources=(ONE, TWO), routes=({"match": "*", "via": ["one", "two"]},),
                           notify={"mail": "root@gmo.test"}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        messages = self.receiver.wait(2)
        notice, = [m for m in messages if m.recipients == ["root@gmo.test"]]
        self.assertEqual({m.peer for m in messages}, {"127.0.0.3"})
        self.gone(relay)
        self.assertIn(b"What was done: nothing goes this way but a probe", notice.body)
        self.assertIn(b"gmo-rbl.jp; Poor Reputation Sender", notice.body)

    def test_all_of_an_incident(self):
        self.receiver.behaviour = Behaviour(rcpt=GMO)
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        wait_until(lambda: relay.ctl("incidents"), what="an incident")
        for _ in range(2):
            relay.send("a@example.jp", "more@gmo.test", TEXT)
        wait_until(lambda: self.facts(relay)["waiting"] == 3, what="all waiting")
        facts = self.facts(relay)
        self.assertEqual((facts["met"], facts["rerouted"], facts["removal"]), (1, 0, "gmo-rbl.jp"))
        self.assertIn("gmo.jp", facts["removal_portal"])
        self.assertGreater(facts["next_probe_ms"], facts["last_ms"])
        reply = facts["reply"]
        self.assertEqual((reply["stage"], reply["domain"], reply["text"]),
                         ("rcpt", "gmo.test", GMO))
        self.assertRegex(reply["when"], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$")

    def test_answers_that_are_no_smtp(self):
        for answer in b"\x00\xff\x1bgarbage\r\n", b"<html><body>" + b"x" * 5000 + b"\r\n":
            with self.subTest(answer=answer[:6]):
                receiver = self.another_receiver(behaviour=Behaviour(banner=answer))
                relay = self.relay(sources=(ONE,), queue={"backoff": ["1h"]},
                                   delivery={"port": receiver.port}).start()
                relay.send("a@example.jp", "user@gmo.test", TEXT)
                said = self.waiting(relay)["last"]
                self.assertTrue(said.isprintable() and len(said) < 1000, said)
                self.assertNotEqual(self.row(relay, "gmo", "one")["state"], "held")
                self.assertEqual(relay.ctl("incidents"), [])
                self.assertEqual(relay.ctl("reputation", "unknown"), [])


if __name__ == "__main__":
    unittest.main()
