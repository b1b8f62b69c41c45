"""What a sender asks of reports (RFC 3461): kept, passed on, and where the next hop does
not know it, done by us. And reports in general: whose answer they quote, and what
becomes of those that nobody takes."""
import email
import threading
import unittest

from harness import Behaviour
from harness.case import TEXT, Case

DSN = ["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 0", "DSN"]


class Dsn(Case):
    def submit(self, relay, mail="", rcpts=(("user@dest.test", ""),), sender="a@example.jp", text=TEXT):
        with relay.smtp() as client:
            client.command_encoding = "utf-8"
            client.ehlo()
            self.assertIn("dsn", client.esmtp_features)
            for command in [f"MAIL FROM:<{sender}> {mail}".rstrip()] + [
                    f"RCPT TO:<{to}> {options}".rstrip() for to, options in rcpts]:
                code, answer = client.docmd(command)
                self.assertEqual(code, 250, (command, answer))
            code, answer = client.data(text)
            self.assertEqual(code, 250, answer)

    def commands(self, verb):
        return [c for c in self.receiver.commands if c.startswith(verb)]

    def test_passed_on_to_a_host_that_offers_it(self):
        """Section 5.2.1: each parameter as it came, per recipient."""
        self.receiver.behaviour = Behaviour(extensions=DSN)
        relay = self.relay().start()
        self.submit(relay, "RET=HDRS ENVID=QQ+2B314", [
            ("user@dest.test", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first+2Btag@example.net"),
            ("plain@dest.test", ""),
            ("never@dest.test", "NOTIFY=NEVER")])
        self.receiver.wait(1)
        self.gone(relay)
        mail, = self.commands("MAIL")
        self.assertTrue(mail.endswith(" RET=HDRS ENVID=QQ+2B314"), mail)
        self.assertEqual(sorted(self.commands("RCPT")), [
            "RCPT TO:<never@dest.test> NOTIFY=NEVER",
            "RCPT TO:<plain@dest.test>",
            "RCPT TO:<user@dest.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first+2Btag@example.net"])

    def test_passed_on_after_a_restart(self):
        self.receiver.behaviour = Behaviour(extensions=DSN, mail="451 4.3.0 not now")
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        self.submit(relay, "RET=FULL ENVID=x", [("user@dest.test", "NOTIFY=NEVER ORCPT=utf-8;\\x{E9}@b")])
        self.waiting(relay)
        relay.kill()
        relay.start()
        self.receiver.behaviour = Behaviour(extensions=DSN)
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(1)
        self.gone(relay)
        self.assertTrue(self.commands("MAIL")[-1].endswith(" RET=FULL ENVID=x"))
        self.assertEqual(self.commands("RCPT")[-1],
                         "RCPT TO:<user@dest.test> NOTIFY=NEVER ORCPT=utf-8;\\x{E9}@b")

    def test_not_said_to_a_host_that_does_not_offer_it(self):
        relay = self.relay().start()
        self.submit(relay, "RET=FULL ENVID=x", [("user@dest.test", "NOTIFY=NEVER ORCPT=rfc822;a@b")])
        self.receiver.wait(1)
        self.gone(relay)
        self.assertNotIn("ENVID", self.commands("MAIL")[0])
        self.assertEqual(self.commands("RCPT"), ["RCPT TO:<user@dest.test>"])

    def test_utf8_original_address_is_made_ascii(self):
        """RFC 6533 section 3: the next hop need not know SMTPUTF8 for it."""
        self.receiver.behaviour = Behaviour(extensions=["DSN", "8BITMIME"])
        relay = self.relay().start()
        self.submit(relay, "SMTPUTF8", [("user@dest.test", "ORCPT=utf-8;\u00e9@b")])
        self.receiver.wait(1)
        self.assertEqual(self.commands("RCPT"),
                         ["RCPT TO:<user@dest.test> ORCPT=utf-8;\\x{E9}@b"])

    # ---- done by us ----

    def reports(self, behaviour, port=None):
        """The sender's own host, so that reports do not mix with what is sent."""
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.9")
        self.receiver.behaviour = behaviour
        return self.another_receiver("127.0.0.9", port=self.receiver.port)

    def parts(self, message):
        """The words, the fields about the message, those of each recipient, what came back."""
        report = email.message_from_bytes(message.data)
        self.assertEqual(report.get_content_type(), "multipart/report")
        words, status, returned = report.get_payload()
        fields, *recipients = status.get_payload()
        return words.get_payload(), fields, recipients, returned

    def test_never_and_no_failure_asked_for(self):
        """Section 4.1: only those that want to hear of a failure are in the report."""
        sender = self.reports(Behaviour(rcpt="550 5.1.1 no such user"))
        relay = self.relay().start()
        self.submit(relay, "ENVID=QQ+2B314+20x", [
            ("never@dest.test", "NOTIFY=NEVER"),
            ("success@dest.test", "NOTIFY=SUCCESS,DELAY"),
            ("failure@dest.test", "NOTIFY=FAILURE ORCPT=rfc822;first+2Btag@example.net"),
            ("plain@dest.test", "")])
        message, = sender.wait(1)
        self.gone(relay)
        self.assertEqual(len(sender.messages), 1)
        _, fields, recipients, _ = self.parts(message)
        self.assertEqual(fields["Original-Envelope-Id"], "QQ+314 x")
        self.assertEqual([r["Final-Recipient"] for r in recipients],
                         ["rfc822; failure@dest.test", "rfc822; plain@dest.test"])
        self.assertEqual([r["Original-Recipient"] for r in recipients],
                         ["rfc822; first+tag@example.net", None])
        self.assertEqual(len(relay.log("warn discard .*NOTIFY")), 2)

    def test_never_for_all_is_the_end(self):
        sender = self.reports(Behaviour(rcpt="550 5.1.1 no such user"))
        relay = self.relay().start()
        self.submit(relay, "", [("never@dest.test", "NOTIFY=NEVER")])
        relay.wait_log("warn discard ")
        self.gone(relay)
        self.assertEqual(sender.connections, 0)

    def test_a_success_that_nobody_else_tells_of(self):
        """Section 5.2.2: the next hop does not know DSN."""
        sender = self.reports(Behaviour(rcpt=lambda n, a: "550 5.1.1 no" if a[0] == "b" else None))
        relay = self.relay().start()
        self.submit(relay, "RET=FULL ENVID=x1", [
            ("user@dest.test", "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first@example.net"),
            ("plain@dest.test", "NOTIFY=FAILURE"),
            ("bad@dest.test", "NOTIFY=SUCCESS,FAILURE")])
        messages = sender.wait(2)
        self.gone(relay)
        told = {self.parts(m)[2][0]["Action"]: self.parts(m) for m in messages}
        words, fields, (recipient,), returned = told["relayed"]
        self.assertEqual(fields["Original-Envelope-Id"], "x1")
        self.assertEqual(recipient["Final-Recipient"], "rfc822; user@dest.test")
        self.assertEqual(recipient["Original-Recipient"], "rfc822; first@example.net")
        self.assertTrue(recipient["Status"].startswith("2."), recipient["Status"])
        self.assertIn("handed to the mail server", words)
        self.assertEqual(returned.get_content_type(), "text/rfc822-headers")  # section 4.3
        _, _, (recipient,), returned = told["failed"]
        self.assertEqual(recipient["Final-Recipient"], "rfc822; bad@dest.test")
        self.assertEqual(returned.get_content_type(), "message/rfc822")
        self.assertEqual(len(self.receiver.messages), 1)

    def test_a_success_before_a_stop(self):
        """The rest of the list is cut by it; he who has his message is told of now, or never."""
        sender = self.reports(Behaviour())
        begun, go = threading.Event(), threading.Event()
        self.addCleanup(go.set)

        def wait(_, address):
            if address.startswith("last"):
                begun.set()
                go.wait(20)
        self.receiver.behaviour = Behaviour(rcpt=wait)
        relay = self.relay(delivery={"recipients": 1}).start()
        self.submit(relay, "", [("user@dest.test", "NOTIFY=SUCCESS"), ("last@dest.test", "")])
        self.assertTrue(begun.wait(20))
        relay.stop()
        go.set()
        relay.start()
        message, = sender.wait(1)
        _, _, (recipient,), _ = self.parts(message)
        self.assertEqual((recipient["Action"], recipient["Final-Recipient"]),
                         ("relayed", "rfc822; user@dest.test"))
        self.gone(relay)
        self.assertEqual([m.recipients for m in self.receiver.messages],
                         [["user@dest.test"], ["last@dest.test"]])

    def test_a_success_that_the_next_hop_tells_of(self):
        sender = self.reports(Behaviour(extensions=DSN))
        relay = self.relay().start()
        self.submit(relay, "", [("user@dest.test", "NOTIFY=SUCCESS")])
        self.receiver.wait(1)
        self.gone(relay)
        self.assertEqual(sender.connections, 0)

    def test_nothing_goes_to_the_empty_sender(self):
        sender = self.reports(Behaviour())
        relay = self.relay().start()
        self.submit(relay, "", [("user@dest.test", "NOTIFY=SUCCESS")], sender="")
        self.receiver.wait(1)
        self.gone(relay)
        self.assertEqual(sender.connections, 0)

    def test_who_hears_of_a_delay(self):
        sender = self.reports(Behaviour(rcpt=lambda n, a: f"451 4.2.0 not now, {a[0]}"))
        relay = self.relay(queue={"backoff": ["1h"], "delay_notice": "1s"}).start()
        self.submit(relay, "", [("all@dest.test", "NOTIFY=DELAY"), ("no@dest.test", "NOTIFY=FAILURE"),
                                ("plain@dest.test", ""), ("quiet@dest.test", "NOTIFY=NEVER")])
        message, = sender.wait(1)
        _, _, recipients, _ = self.parts(message)
        self.assertEqual([(r["Final-Recipient"], r["Action"]) for r in recipients],
                         [("rfc822; all@dest.test", "delayed"), ("rfc822; plain@dest.test", "delayed")])
        self.assertEqual([r["Diagnostic-Code"] for r in recipients],
                         ["smtp; 451 not now, a", "smtp; 451 not now, p"])

    def returned(self, ret, text):
        sender = self.reports(Behaviour(rcpt="550 5.1.1 no"))
        relay = self.relay().start()
        self.submit(relay, ret, text=text)
        words, _, _, returned = self.parts(sender.wait(1)[0])
        sender.close()
        return words, returned

    def test_how_much_comes_back(self):
        """Section 4.3; a report must get through to anywhere, so 8-bit text stays here."""
        words, returned = self.returned("RET=FULL", TEXT)
        self.assertEqual(returned.get_content_type(), "message/rfc822")
        self.assertIn("The text.", returned.get_payload(0).get_payload())
        self.assertNotIn("All of it was asked for", words)
        for ret, text, asked in [("RET=HDRS", TEXT, False), ("", TEXT, False),
                                 ("RET=FULL", TEXT + b"\xe3\x81\x82\r\n", True),
                                 ("RET=FULL", TEXT + b"x" * 999 + b"\r\n", True),
                                 ("RET=FULL", TEXT + (b"x" * 70 + b"\r\n") * 4000, True)]:
            words, returned = self.returned(ret, text)
            self.assertEqual(returned.get_content_type(), "text/rfc822-headers")
            self.assertIn("Subject: hello", returned.get_payload())
            self.assertEqual("All of it was asked for" in words, asked)

    # ---- whose answer ----

    def test_each_recipient_has_its_own_last_answer(self):
        answers = {"one": "451 4.7.1 Greylisted, come back later", "two": "452 4.2.2 mailbox full"}
        sender = self.reports(Behaviour(rcpt=lambda n, a: answers[a.partition("@")[0]]))
        relay = self.relay(queue={"backoff": ["1h"], "lifetime": "4s", "delay_notice": "0"}).start()
        relay.send("a@example.jp", ["one@dest.test", "two@dest.test"], TEXT)
        row = self.waiting(relay)
        facts = [r["value"] for r in relay.ctl("queue", "show", row["id"]) if r["what"] == "recipient"]
        self.assertEqual([(f["address"], f["said"], f["stage"]) for f in facts], [
            ("one@dest.test", "mx.dest.test: 451 4.7.1 Greylisted, come back later", "rcpt"),
            ("two@dest.test", "mx.dest.test: 452 4.2.2 mailbox full", "rcpt")])
        for name, word, category in [("one", "Greylisted", "greylisted"), ("two", "full", "mailbox-full")]:
            why, = relay.ctl("why", f"{name}@dest.test")
            self.assertIn(word, why["said"])
            self.assertEqual(why["category"], category)
            self.assertEqual(len(why["answers"]), 2)
        shown = relay.run_ctl("why", "one@dest.test").stdout
        self.assertIn("other    two@dest.test: ", shown)
        words, _, recipients, _ = self.parts(sender.wait(1)[0])
        self.assertEqual([(r["Status"], r["Diagnostic-Code"]) for r in recipients], [
            ("4.4.7", "smtp; 451 4.7.1 Greylisted, come back later"),
            ("4.4.7", "smtp; 452 4.2.2 mailbox full")])
        self.assertIn("asks unknown senders", words)
        self.assertIn("mailbox is full", words)
        self.gone(relay)

    def test_eight_bit_text_that_a_host_can_not_take(self):
        sender = self.reports(Behaviour(extensions=["SIZE"]))
        relay = self.relay().start()
        self.submit(relay, "BODY=8BITMIME", text=TEXT + b"\xe3\x81\x82\r\n")
        words, _, (recipient,), _ = self.parts(sender.wait(1)[0])
        self.assertEqual(recipient["Status"], "5.6.3")
        self.assertIn("quoted-printable or base64", " ".join(words.split()))
        self.check_not_quoted(words, recipient, "mx.dest.test", "8BITMIME is not offered")
        line, = relay.log("attempt .*to=user@dest.test .*result=failed")
        self.assertIn(" code=0 status=5.6.3 ", line)  # none that the host would have given

    def test_a_host_that_is_not_there(self):
        sender = self.reports(Behaviour())
        self.names.mail_host("dead.test", "mx.dead.test", "127.0.0.66")
        relay = self.relay(queue={"backoff": ["1h"], "lifetime": "4s", "delay_notice": "0"}).start()
        relay.send("a@example.jp", "user@dead.test", TEXT)
        words, _, (recipient,), _ = self.parts(sender.wait(1)[0])
        self.assertEqual(recipient["Status"], "4.4.7")
        self.assertIn("could not be reached", " ".join(words.split()))
        self.check_not_quoted(words, recipient, "mx.dead.test", "connect to 127.0.0.66 ")

    def check_not_quoted(self, words, recipient, host, finding):
        """What was found here is not said to be the host's (RFC 3464 section 2.3.6)."""
        self.assertIn(f"Delivery to {host} failed here", words)
        self.assertNotIn(" said ", words)
        self.assertTrue(recipient["Diagnostic-Code"].startswith(f"x-relayd; {finding}"))
        self.assertIsNone(recipient["Remote-MTA"])

    # ---- a report that nobody takes ----

    def test_a_report_that_our_own_intake_refuses_is_dropped(self):
        """Its header is over limits.header_size: it will never be taken, and is not tried again."""
        domain = ".".join(["d" * 63] * 3 + ["d" * 30]) + ".jp"
        self.receiver.behaviour = Behaviour(rcpt="550 5.1.1 no such user")
        relay = self.relay(hostname="r" * 20 + "." + domain, limits={"header_size": "1K"},
                           domains=({"name": domain},), return_path={"default_domain": domain}).start()
        relay.send("a" * 20 + "@" + domain, "user@dest.test", b"From: a@" + domain.encode() + b"\r\n\r\nx\r\n")
        line, = relay.wait_log("error report ")
        self.assertIn("result=dropped", line)
        self.gone(relay)
        facts = {row["what"]: row["value"] for row in relay.ctl("status")}
        self.assertEqual(facts["reports_dropped"], 1)
        self.assertEqual(facts["bounced"], 1)


if __name__ == "__main__":
    unittest.main()
