"""What a sender asks of reports (RFC 3461): kept, passed on, and where the next hop does
not know it, done by us."""
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


if __name__ == "__main__":
    unittest.main()
