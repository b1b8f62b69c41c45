"""Asking block lists for removal: steps and texts filled in from the incident, and the
request by mail, from the listed address where the list wants that."""
import email
import os
import unittest

from harness import Behaviour, wait_until
from harness.case import TEXT, Case

ONE = {"name": "one", "ipv4": "127.0.0.2", "hostname": "one.example.jp"}
TWO = {"name": "two", "ipv4": "127.0.0.3"}
GMO = "554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using gmo-rbl.jp; Poor " \
      "Reputation Sender"
JUSTSPAM = "554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using " \
           "dnsbl.justspam.org; see http://www.justspam.org"
LISTS = """delist = (
{ id = "own-list"; name = "Our own list"; reply = [ "own-list.test" ]; mail = "remove@list.test";
  subject = "delist {ip}"; wait = "3h"; steps_en = [ "Write to {mail}." ]; steps_ja = [ "{mail} へ" ];
  from_listed = FROM; }
);
"""


class Delist(Case):
    def setUp(self):
        super().setUp()
        self.names.mail_host("gmo.test", "mx1.gmoserver.jp", "127.0.0.1")
        self.names.mail_host("list.test", "mx.list.test", "127.0.0.1")
        self.names.add("2.0.0.127.in-addr.arpa", "PTR", "host7.provider.test.")

    def blocked(self, reply, lists=None, one=ONE):
        """A relay with incident 1: REPLY met source one at gmo.test."""
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, to: reply if to.endswith("gmo.test") else None)
        # two is how mail to the list would usually leave
        relay = self.relay(sources=(one, TWO), queue={"backoff": ["1h"]},
                           routes=({"match": "list.test", "via": ["two"]},
                                   {"match": "*", "via": ["one"]}),
                           notify={"mail": "root@dest.test"})
        if lists:
            os.mkdir(os.path.join(relay.folder, "replies.d"))
            with open(os.path.join(relay.folder, "replies.d", "lists.conf"), "w") as f:
                f.write(lists)
        relay.start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        wait_until(lambda: relay.ctl("incidents"), what="an incident")
        self.receiver.wait(1)  # the notice
        return relay

    def request(self, to):
        """The request that has come, and its text."""
        self.receiver.wait_for(lambda r: any(to in m.recipients for m in r.messages))
        message, = [m for m in self.receiver.messages if to in m.recipients]
        parsed = email.message_from_bytes(message.data)
        return message, parsed, parsed.get_payload(decode=True).decode()

    def refused(self, relay, *words):
        done = relay.run_ctl("delist", *words)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        return done.stderr

    def test_the_page(self):
        relay = self.blocked(GMO)
        page, = relay.ctl("delist", "1")
        self.assertEqual((page["entry"], page["ip"], page["ehlo"], page["ptr"], page["how"]),
                         ("gmo-rbl", "127.0.0.2", "one.example.jp", "host7.provider.test",
                          "web form"))
        for text in page["text_en"], page["text_ja"]:
            for part in "127.0.0.2", "one.example.jp", "host7.provider.test", GMO, "gmo.test", \
                        "root@dest.test", "UTC":
                self.assertIn(part, text)
        self.assertIn("1 met the block, 1 wait now, 0 went", page["text_en"])
        self.assertIn("解除", page["text_ja"])
        self.assertTrue(page["steps_en"] and page["steps_ja"])
        self.assertNotIn("{", "".join(page["steps_en"] + page["steps_ja"]))
        shown = relay.run_ctl("delist", "1").stdout
        for part in "gmo-rbl.jp", "127.0.0.2", "\n  1. ", "手順", GMO:
            self.assertIn(part, shown)
        self.assertIn("takes no requests by mail, only at https://www.gmo.jp",
                      self.refused(relay, "1", "--send"))
        self.assertIn("no incident 7", self.refused(relay, "7"))
        self.assertEqual(relay.run_ctl("delist", "1", "--to", "a@b.c").returncode, 2)
        self.assertEqual(relay.run_ctl("delist", "x").returncode, 2)
        # by hand: noted, and probed when the list's time is over
        relay.ctl("delist", "1", "--asked")
        relay.wait_log(f"admin action=delist uid={os.geteuid()} number=1 asked_of=gmo-rbl.jp$")
        facts = {r["what"]: r["value"] for r in relay.ctl("incidents", "show", "1")}
        self.assertEqual(facts["asked_of"], "gmo-rbl.jp")
        self.assertAlmostEqual(facts["next_probe_ms"] - facts["asked_ms"], 86400000, delta=1000)

    def test_asked_where_no_probe_follows(self):
        relay = self.blocked(GMO)
        relay.ctl("reputation", "hold", relay.ctl("reputation")[0]["provider"])
        noted, = relay.ctl("delist", "1", "--asked")
        self.assertIsNone(noted["probe_s"])
        relay.ctl("incidents", "close", "1")
        self.assertIn("incident 1 is closed: there is nothing to be removed from",
                      self.refused(relay, "1", "--asked"))

    def test_from_the_listed_address(self):
        relay = self.blocked("554 5.7.1 [127.0.0.2] is blocked using own-list.test",
                             LISTS.replace("FROM", "true"))
        sent, = relay.ctl("delist", "1", "--send")
        self.assertEqual(sent["to"], "remove@list.test")
        self.assertGreater(sent["probe_s"], 10000)
        relay.wait_log(f"admin action=delist uid={os.geteuid()} number=1 asked_of=remove@list.test$")
        message, parsed, text = self.request("remove@list.test")
        self.assertEqual((message.peer, message.sender), ("127.0.0.2", "postmaster@example.jp"))
        self.assertEqual(message.helo, "one.example.jp")
        self.assertEqual((parsed["Subject"], parsed["From"], parsed["Reply-To"]),
                         ("delist 127.0.0.2", "postmaster@example.jp", "root@dest.test"))
        self.assertIn("127.0.0.2", text)
        self.assertIn("own-list.test", text)
        self.assertIn("was asked", self.refused(relay, "1", "--send"))
        relay.kill()
        relay.start()
        facts = {r["what"]: r["value"] for r in relay.ctl("incidents", "show", "1")}
        self.assertEqual(facts["asked_of"], "remove@list.test")
        self.assertAlmostEqual(facts["next_probe_ms"] - facts["asked_ms"], 3 * 3600000, delta=1000)
        self.assertIn("was asked", self.refused(relay, "1", "--send"))
        relay.ctl("delist", "1", "--send", "--again")
        self.receiver.wait_for(
            lambda r: sum("remove@list.test" in m.recipients for m in r.messages) == 2)
        self.assertEqual({m.peer for m in self.receiver.messages
                          if "remove@list.test" in m.recipients}, {"127.0.0.2"})

    def test_probed_when_the_answer_is_due(self):
        relay = self.blocked("554 5.7.1 [127.0.0.2] is blocked using own-list.test",
                             LISTS.replace("FROM", "true").replace("3h", "2s"))
        relay.send("a@example.jp", "later@gmo.test", TEXT)
        relay.ctl("delist", "1", "--send")
        self.request("remove@list.test")
        self.receiver.behaviour = Behaviour()
        self.receiver.wait_for(lambda r: any("gmo.test" in m.recipients[0] for m in r.messages))
        wait_until(lambda: relay.ctl("incidents")[0]["state"] == "closed", what="the end of it")
        self.assertEqual(relay.log("result=failed"), [])

    def test_by_any_way(self):
        relay = self.blocked("554 5.7.1 [127.0.0.2] is blocked using own-list.test",
                             LISTS.replace("FROM", "false"))
        relay.ctl("delist", "1", "--send")
        self.assertEqual(self.request("remove@list.test")[0].peer, "127.0.0.3")

    def test_a_mailbox_that_the_portal_names(self):
        relay = self.blocked(JUSTSPAM)
        page, = relay.ctl("delist", "1")
        self.assertEqual((page["entry"], page["from_listed"]), ("justspam", True))
        self.assertIn("--to ADDRESS", self.refused(relay, "1", "--send"))
        self.assertEqual(relay.run_ctl("delist", "1", "--send", "--to", "x").returncode, 2)
        relay.ctl("delist", "1", "--send", "--to", "removal@list.test", "--subject", "REMOVE 7")
        message, parsed, _ = self.request("removal@list.test")
        self.assertEqual((message.peer, parsed["Subject"]), ("127.0.0.2", "REMOVE 7"))

    def test_which_address(self):
        lists = LISTS.replace("FROM", "false")
        relay = self.blocked("554 5.7.1 blocked using own-list.test", lists, {"name": "one"})
        page, = relay.ctl("delist", "1")
        self.assertIn("which address", page["ip"])
        self.assertIn("which address of ours is listed is not known, since no reply names it; "
                      "give it with sources.ipv4", self.refused(relay, "1", "--send"))
        self.assertNotIn("asked_of", [r["what"] for r in relay.ctl("incidents", "show", "1")
                                      if r["value"]])
        relay.stop()
        # the address of a machine behind NAT says nothing to a list
        relay = self.blocked("554 5.7.1 blocked using own-list.test", lists)
        self.assertIn("and 127.0.0.2 is private; ask by hand", self.refused(relay, "1", "--send"))

    def test_the_address_that_the_reply_names(self):
        relay = self.blocked("554 5.7.1 [8.8.4.4] is blocked using own-list.test",
                             LISTS.replace("FROM", "false"), {"name": "one"})
        relay.ctl("delist", "1", "--send")
        _, parsed, text = self.request("remove@list.test")
        self.assertEqual(parsed["Subject"], "delist 8.8.4.4")
        self.assertIn("IP address:  8.8.4.4\r\n", text)

    def test_japanese(self):
        relay = self.blocked("554 5.7.1 [127.0.0.2] is blocked using own-list.test",
                             LISTS.replace("FROM", "true; japanese = true"))
        relay.ctl("delist", "1", "--send")
        message, parsed, text = self.request("remove@list.test")
        self.assertTrue(message.data.isascii())
        self.assertIn("ご担当者様", text)
        self.assertIn("Our own list からの解除", text)
        self.assertIn("Hello,", text)

    def test_a_broken_list(self):
        relay = self.blocked(GMO, LISTS.replace("FROM", "true"))
        with open(os.path.join(relay.folder, "replies.d", "lists.conf"), "w") as f:
            f.write(LISTS.replace("FROM", "true").replace("{mail}.", "{mial}."))
        done = relay.run_ctl("reload")
        self.assertEqual(done.returncode, 1)
        self.assertIn("lists.conf:3: rule own-list: {mial} is no name that is known",
                      done.stdout + done.stderr)
        self.assertEqual(relay.ctl("delist", "1")[0]["entry"], "gmo-rbl")


if __name__ == "__main__":
    unittest.main()
