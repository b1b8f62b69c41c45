"""Urgent mail goes before a newsletter; a client's own way; as whom a client may send."""
import smtplib
import threading
import time
import unittest

from harness import Behaviour
from harness.case import TEXT, Case
from harness.relay import wait_until


def with_field(field):
    return field.encode() + b"\r\n" + TEXT


class Priority(Case):
    def slow(self):
        """The receiver takes one message, and then no more until the gate opens."""
        gate = threading.Event()
        self.addCleanup(gate.set)

        def end(number, data):
            if not gate.wait(60):
                return "451 4.3.0 the test is over"
            return None
        self.receiver.behaviour = Behaviour(end=end)
        return gate

    def test_a_password_reset_behind_500_newsletters(self):
        gate = self.slow()
        relay = self.relay(queue={"window_start": 1, "window_max": 1}).start()
        with relay.smtp() as client:
            for i in range(500):
                client.sendmail("a@example.jp", f"u{i}@dest.test", with_field("Precedence: bulk"))
            relay.kill()  # the priority survives a restart
            relay.start()
        wait_until(lambda: any(r["state"] == "running" for r in relay.ctl("queue", "list")),
                   what="a start")
        relay.send("a@example.jp", "reset@dest.test", with_field("X-Relayd-Priority: urgent"))
        gate.set()
        messages = self.receiver.wait(4)
        at = [m.recipients for m in messages].index(["reset@dest.test"])
        self.assertLessEqual(at, 2)  # behind those on their way, before and after the kill
        self.assertNotIn("X-Relayd-Priority", messages[at].header)

    def test_a_password_reset_when_the_budget_is_used_up(self):
        """A source of today may send 20 an hour: 12 of them newsletters."""
        today = time.strftime("%Y-%m-%d", time.gmtime())
        relay = self.relay(sources=({"name": "young", "since": today},)).start()
        with relay.smtp() as client:
            for i in range(100):
                client.sendmail("a@example.jp", f"u{i}@dest.test", with_field("List-Id: <n.test>"))
        self.receiver.wait(12)
        wait_until(lambda: all(r["state"] == "waiting" for r in relay.ctl("queue", "list")),
                   what="the others put off")
        relay.send("a@example.jp", "reset@dest.test", with_field("X-Relayd-Priority: urgent"))
        self.receiver.wait_for(lambda r: ["reset@dest.test"] in [m.recipients for m in r.messages])
        self.assertLess(len(self.receiver.messages), 26)  # where a new hour has begun meanwhile

    def test_what_is_said_and_what_it_makes(self):
        self.receiver.behaviour = Behaviour(banner="421 not now")
        relay = self.relay(clients=(
            {"name": "news", "networks": ["127.0.0.2"], "priority": "bulk"},
            {"name": "app", "networks": ["127.0.0.3"], "priority": "urgent"})).start()
        for address, field, priority in (
                ("127.0.0.1", "Subject: x", "normal"), ("127.0.0.1", "List-Id: <l.test>", "bulk"),
                ("127.0.0.1", "Importance: high", "normal"),
                ("127.0.0.1", "X-Relayd-Priority: urgent", "urgent"),
                ("127.0.0.2", "X-Relayd-Priority: urgent", "bulk"),
                ("127.0.0.3", "Subject: x", "urgent"), ("127.0.0.3", "Precedence: list", "bulk")):
            before = {r["id"] for r in relay.ctl("queue", "list")}
            self.send_from(relay, address, with_field(field))
            new, = [r["id"] for r in relay.ctl("queue", "list") if r["id"] not in before]
            facts = {r["what"]: r["value"] for r in relay.ctl("queue", "show", new)}
            self.assertEqual(facts["priority"], priority, (address, field))

    def send_from(self, relay, address, message):
        with smtplib.SMTP("127.0.0.1", relay.port, source_address=(address, 0)) as client:
            return client.sendmail("a@example.jp", ["user@dest.test"], message)


class OwnWay(Case):
    def test_the_way_of_a_client(self):
        smart = self.another_receiver()
        settings = {"smarthosts": ({"name": "smart", "host": "127.0.0.1", "port": smart.port,
                                    "tls": "none"},)}
        entry = {"name": "shop", "networks": ["127.0.0.1"], "via": ["smart"]}
        relay = self.relay(clients=(entry,), queue={"backoff": ["1h"]}, **settings).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        smart.wait(1)
        self.gone(relay)
        # a restart keeps it, since the envelope has its name
        smart.behaviour = Behaviour(mail="451 4.3.0 later")
        relay.send("a@example.jp", "two@dest.test", TEXT)
        relay.wait_log("result=deferred")
        relay.stop()
        smart.behaviour = Behaviour()
        relay.start()
        relay.ctl("queue", "retry", "--all")
        self.assertEqual(smart.wait(2)[1].recipients, ["two@dest.test"])
        self.gone(relay)
        # one that is gone from the configuration has no way of its own
        smart.behaviour = Behaviour(mail="451 4.3.0 later")
        relay.send("a@example.jp", "three@dest.test", TEXT)
        relay.wait_log("to=three@dest.test .*result=deferred")
        relay.stop()
        relay.change(clients=())
        relay.start()
        relay.ctl("queue", "retry", "--all")
        self.assertEqual(self.receiver.wait(1)[0].recipients, ["three@dest.test"])


class Policy(Case):
    def refusal(self, relay, sender, header):
        with relay.smtp() as client:
            client.ehlo()
            client.mail(sender)
            client.rcpt("user@dest.test")
            code, text = client.data(header + b"To: user@dest.test\r\n\r\nx\r\n")
            return code, text.decode()

    def relay_of(self, **entry):
        domains = tuple({"name": n} for n in ("example.jp", "other.jp", "xn--r8jz45g.jp"))
        relay = self.relay(domains=domains, clients=(
            {"name": "shop", "networks": ["127.0.0.0/8"], **entry},)).start()
        return relay

    def test_only_its_domains(self):
        relay = self.relay_of(domains=["other.jp"])
        self.assertEqual(self.refusal(relay, "a@other.jp", b"From: a@other.jp\r\n")[0], 250)
        self.assertEqual(self.refusal(relay, "a@sub.other.jp", b"From: A@Sub.OTHER.jp\r\n")[0], 250)
        self.assertEqual(self.refusal(relay, "", b"From: a@other.jp\r\n")[0], 250)
        for sender, field in (
                ("a@example.jp", b"From: a@other.jp\r\n"),
                ("a@other.jp", b"From: a@example.jp\r\n"),
                ("a@other.jp", b"From: a@other.jp, b@example.jp\r\n"),
                ("a@other.jp", b"From: x:a@example.jp;\r\n"),
                ("a@other.jp", b"From: \"a@other.jp\" <a@example.jp>\r\n"),
                ("a@other.jp", b"From: a@other.jp <a@example.jp>\r\n"),
                ("a@other.jp", b"From: (a@other.jp) \"a\"@EXAMPLE.JP\r\n"),
                ("a@other.jp", b"From: <@other.jp:a@example.jp>\r\n"),
                ("a@other.jp", b"From : a@example.jp\r\n"),
                ("a@other.jp", b"From:\r\n a@example.jp\r\n"),
                ("a@other.jp", b"From: a@notother.jp\r\n"),
                ("a@other.jp", b"From: a@xn--r8jz45g.jp\r\n"),
                ("a@other.jp", b"From: a@other.jp\r\nFrom: a@example.jp\r\n"),
                ("a@EXAMPLE.jp", b"From: a@other.jp\r\n"),
                ("\"a@other.jp\"@example.jp", b"From: a@other.jp\r\n")):
            code, text = self.refusal(relay, sender, field)
            self.assertEqual((code, text[:5]), (550, "5.7.1"), (sender, field, text))
        self.assertIn('client "shop"', self.refusal(relay, "a@example.jp", b"From: a@other.jp\r\n")[1])
        # what has to be repaired gets a name that it may use
        self.assertEqual(self.refusal(relay, "apache@localhost", b"From: apache@web01\r\n")[0], 250)
        wait_until(lambda: len(self.receiver.messages) == 4, what="all that was taken")
        mended, = [m for m in self.receiver.messages if m.sender == "postmaster@other.jp"]
        self.assertIn("From: postmaster@other.jp", mended.header)

    def test_only_its_addresses(self):
        relay = self.relay_of(**{"from": ["shop@other.jp"]})
        for field in (b"From: Shop <shop@other.jp>\r\n", b""):  # a missing one is made
            self.assertEqual(self.refusal(relay, "b@other.jp", field)[0], 250)
        for message in self.receiver.wait(2):
            self.assertRegex(message.header, r"(?m)^From: .*\bshop@other\.jp")
        for field in (b"From: a@other.jp\r\n", b"From: shop@other.jp, a@other.jp\r\n",
                      b"From: \"shop@other.jp\" <a@other.jp>\r\n"):
            code, text = self.refusal(relay, "b@other.jp", field)
            self.assertEqual((code, text[:5]), (550, "5.7.1"), (field, text))
        self.assertIn("shop@other.jp", text)


if __name__ == "__main__":
    unittest.main()
