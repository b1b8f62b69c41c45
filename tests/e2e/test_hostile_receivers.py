"""Receivers that lie, stall, break off and drown us: what becomes of the message.

Each message is delivered, or waits where `relayctl queue list` shows it with the
last answer, or is returned to its sender. None is lost, and none is sent twice
but where the receiver hid its answer to the final dot.
"""
import itertools
import os
import re
import unittest

from harness import DROP, HANG, RESET, Behaviour, wait_until
from harness.case import TEXT, Case

QUICK = {"connect_timeout": "1s", "banner_timeout": "1s", "command_timeout": "1s",
         "data_timeout": "1s", "block_timeout": "2s", "end_timeout": "1s"}
STAGES = ("banner", "ehlo", "mail", "rcpt", "data", "end")


def endless(number, argument):
    return itertools.repeat(b"250-and so on\r\n" * 500)


def long_line(number, argument):
    """10 MB without a line end."""
    return itertools.chain(iter([b"250 "]), itertools.repeat(b"x" * 65536, 160))


class Fates(Case):
    """Many receivers at once, each with a domain of its own, and one good one
    between them. All share the relay, so each also shows that it harms nobody else."""

    def setUp(self):
        super().setUp()
        self.others = {}
        self.reports = self.another_receiver("127.0.2.1", port=self.receiver.port)
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.2.1")

    def meet(self, cases, **settings):
        """CASES: name -> Behaviour. Sends one message to each and to the good one."""
        relay = self.relay(delivery=QUICK, queue={"backoff": ["1h"]}, **settings)
        for i, (name, behaviour) in enumerate(cases.items()):
            address = f"127.0.3.{i + 1}"
            self.others[name] = self.another_receiver(address, behaviour, self.receiver.port)
            self.names.mail_host(f"{name}.test", f"mx.{name}.test", address)
        relay.start()
        with relay.smtp() as client:
            for name in cases:
                client.sendmail("a@example.jp", [f"user@{name}.test"], TEXT)
            client.sendmail("a@example.jp", ["user@dest.test"], TEXT)
        for name in cases:
            relay.wait_log(rf"^.*attempt id=\w+ to=user@{name}\.test .*result=\w+")
        self.receiver.wait(1)
        return relay

    def last_answers(self, relay):
        return {row["to"][0].partition("@")[2].removesuffix(".test"): row["last"]
                for row in relay.ctl("queue", "list")}

    def check_waiting(self, relay, cases, expected):
        """All of CASES wait, and show what was answered."""
        answers = self.last_answers(relay)
        for name in cases:
            with self.subTest(name):
                self.assertIn(name, answers)
                self.assertRegex(answers[name], expected.get(name, "."))
                self.assertEqual(self.others[name].messages, [])
        self.assertEqual(self.reports.messages, [])

    def mend_all(self, relay):
        """The receivers become well: each message arrives once."""
        for receiver in self.others.values():
            receiver.behaviour = Behaviour()
        for row in relay.ctl("reputation"):
            if row["state"] in ("held", "slowed"):
                relay.ctl("reputation", "open", row["provider"])
        relay.ctl("queue", "retry", "--all")
        for name, receiver in self.others.items():
            with self.subTest(name):
                receiver.wait(1)
        self.gone(relay)
        for name, receiver in self.others.items():
            with self.subTest(name):
                self.assertEqual(len(receiver.messages), 1)
        self.assertEqual(len(self.receiver.messages), 1)

    def test_421_at_every_stage(self):
        cases = {stage: Behaviour(**{stage: f"421 4.3.2 not now at {stage}"}) for stage in STAGES}
        relay = self.meet(cases)
        self.check_waiting(relay, cases, {s: f"421 .*not now at {s}" for s in STAGES})
        self.mend_all(relay)

    def test_breaking_off_at_every_stage(self):
        cases = {f"drop-{stage}": Behaviour(**{stage: DROP}) for stage in STAGES}
        cases.update({f"reset-{stage}": Behaviour(**{stage: RESET}) for stage in STAGES})
        relay = self.meet(cases)
        self.check_waiting(relay, cases, {
            "drop-banner": "closed the connection.*greeting",
            "drop-rcpt": "closed the connection.*RCPT",
            "drop-end": "may have taken the message",
            "reset-end": "may have taken the message"})
        self.mend_all(relay)

    def test_silence_at_every_stage(self):
        cases = {stage: Behaviour(**{stage: HANG}) for stage in STAGES}
        relay = self.meet(cases)
        self.check_waiting(relay, cases, {s: "waited 1 seconds for" for s in STAGES})
        self.mend_all(relay)

    def test_answers_without_end(self):
        cases = {f"lines-{stage}": Behaviour(**{stage: endless}) for stage in STAGES}
        cases.update({f"line-{stage}": Behaviour(**{stage: long_line}) for stage in STAGES})
        relay = self.meet(cases)
        self.check_waiting(relay, cases, {
            "lines-ehlo": "not an SMTP reply|more than",
            "line-ehlo": "more than \\d+ bytes"})
        self.mend_all(relay)

    def test_answers_that_are_none(self):
        rubbish = {"text": b"hello there\r\n", "short": b"25\r\n", "empty": b"\r\n",
                   "nul": b"\0\0\0\0\r\n", "code-999": b"999 what\r\n", "code-000": b"000 what\r\n",
                   "code-100": b"100 what\r\n", "mixed": b"250-one\r\n550 two\r\n",
                   "unended": b"250-\r\n250-", "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
                   "ssh": b"SSH-2.0-OpenSSH_9.2\r\n", "tls": b"\x15\x03\x03\0\x02\x02\x28\r\n",
                   "wide": "２５０ ok\r\n".encode(), "sign": b"+250 ok\r\n"}
        cases = {}
        for name, octets in rubbish.items():
            for stage in ("banner", "mail", "end"):
                cases[f"{name}-{stage}"] = Behaviour(**{stage: octets})
        relay = self.meet(cases)
        for name, receiver in self.others.items():
            receiver.messages.clear()  # of those who meant to say that they took it
        self.check_waiting(relay, cases, {})
        self.mend_all(relay)

    def test_answers_of_the_wrong_kind(self):
        cases = {
            "354-banner": Behaviour(banner="354 go on"),
            "354-ehlo": Behaviour(ehlo="354 go on"),
            "354-mail": Behaviour(mail="354 go on"),
            "354-rcpt": Behaviour(rcpt="354 go on"),
            "250-data": Behaviour(data="250 taken"),
            "354-end": Behaviour(end="354 more"),
            "334-mail": Behaviour(mail="334 Vm9=")}
        relay = self.meet(cases)
        self.check_waiting(relay, cases, {n: "out of turn" for n in cases})
        self.mend_all(relay)

    def test_answers_ahead_of_the_questions(self):
        """Nothing of that may pass for the answer to the final dot."""
        cases = {
            "all": Behaviour(banner=b"220 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n250 taken\r\n"),
            "behind-ehlo": Behaviour(ehlo=b"250 b\r\n250 c\r\n250 d\r\n354 e\r\n250 taken\r\n"),
            "behind-mail": Behaviour(mail=b"250 c\r\n250 d\r\n354 e\r\n250 taken\r\n")}
        relay = self.meet(cases)
        for name in cases:
            self.assertEqual(relay.log(rf"to=user@{name}\.test .*result=delivered"), [])
        self.check_waiting(relay, cases, {})
        self.mend_all(relay)

    def test_refusals_before_the_recipient_never_return_the_message(self):
        """5xx in the banner or at EHLO is about us, not about the message, whatever
        words it uses: nobody has heard of the message yet."""
        cases = {"banner": Behaviour(banner="554 5.7.1 poor reputation sender"),
                 "banner-bare": Behaviour(banner="554 no"),
                 "banner-550": Behaviour(banner="550 5.7.1 go away"),
                 "banner-user": Behaviour(banner="550 5.1.1 user unknown"),
                 "banner-spam": Behaviour(banner="554 spam message rejected, bad content"),
                 "banner-policy": Behaviour(banner="554 5.7.1 refused by local policy"),
                 "ehlo-access": Behaviour(ehlo="550 5.7.1 access denied"),
                 "ehlo-full": Behaviour(ehlo="552 5.2.2 mailbox full"),
                 "ehlo-relay": Behaviour(ehlo="554 5.7.1 relaying denied"),
                 "ehlo": Behaviour(ehlo="554 5.7.1 no"),
                 "ehlo-550": Behaviour(ehlo="550 no", helo="550 no"),
                 "helo": Behaviour(ehlo="502 no", helo="554 no"),
                 "mail": Behaviour(mail="550 5.7.606 Access denied, banned sending IP [192.0.2.1]")}
        relay = self.meet(cases)
        self.check_waiting(relay, cases, {"banner": "554 .*poor reputation sender",
                                          "mail": "550 .*banned sending IP"})
        self.mend_all(relay)

    def test_temporary_refusals_wait(self):
        cases = {stage: Behaviour(**{stage: "451 4.7.1 later"}) for stage in STAGES[1:]}
        cases["bare"] = Behaviour(rcpt="450 greylisted")
        cases["452"] = Behaviour(rcpt="452 4.2.2 full")
        cases["552"] = Behaviour(rcpt="552 no")  # RFC 5321 section 4.5.3.1.10: it is a 452
        cases["lying"] = Behaviour(rcpt="450 5.1.1 the first digit counts")
        relay = self.meet(cases)
        self.check_waiting(relay, cases, {"end": "451 .*later"})
        self.mend_all(relay)

    def test_permanent_refusals_are_reported(self):
        cases = {"rcpt": Behaviour(rcpt="550 5.1.1 no such user"),
                 "rcpt-bare": Behaviour(rcpt="550 who"),
                 "end": Behaviour(end="554 5.6.0 not like this"),
                 "data": Behaviour(data="554 5.6.0 not like this either"),
                 "lying": Behaviour(rcpt="550 4.1.1 the first digit counts"),
                 "early": Behaviour(extensions=["8BITMIME"], rcpt="550 5.1.1 no such user")}
        relay = self.meet(cases)
        reports = self.reports.wait(len(cases))
        self.gone(relay)
        self.assertEqual(len(self.reports.messages), len(cases))
        for name in cases:
            with self.subTest(name):
                own, = [r for r in reports if f"user@{name}.test".encode() in r.body]
                self.assertEqual((own.sender, own.recipients), ("", ["a@example.jp"]))
                self.assertEqual(self.others[name].messages, [])
        self.assertIn(b"no such user", b"".join(r.body for r in reports))

    def test_control_octets_in_answers(self):
        noise = b"no\x1b[31m\x00\x07\x7f\x08 such\r user\x9b\xff"
        cases = {"bounce": Behaviour(rcpt=b"550-5.1.1 " + noise + b"\r\n550 5.1.1 \x1b[2Jend\r\n"),
                 "wait": Behaviour(rcpt=b"451 4.2.0 " + noise + b"\r\n"),
                 "banner": Behaviour(banner=b"554 " + noise + b"\r\n"),
                 "type": Behaviour(rcpt=b"550-type: mda\r\n550-mda-exec: x\r\n550\r\n")}
        relay = self.meet(cases)
        reports = self.reports.wait(2)
        answers = self.last_answers(relay)
        self.assertEqual(sorted(answers), ["banner", "wait"])
        bad = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]")
        for text in [*answers.values(), *relay.lines]:
            self.assertIsNone(bad.search(text), text)
        shown = relay.run_ctl("queue", "list").stdout
        self.assertIsNone(bad.search(shown), shown)
        for report in reports:
            self.assertIsNone(re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x9b\xff]|\r(?!\n)|(?<!\r)\n",
                                        report.data))

    def test_codes_without_text(self):
        cases = {"good": Behaviour(banner=b"220\r\n", ehlo=b"250\r\n", mail=b"250\r\n",
                                   rcpt=b"250\r\n", data=b"354\r\n", end=b"250\r\n"),
                 "multi": Behaviour(banner=b"220-\r\n220-\r\n220\r\n", mail=b"250-a\r\n250-b\r\n250 c\r\n",
                                    end=b"250-\r\n250\r\n"),
                 "lf": Behaviour(banner=b"220 a\n", ehlo=b"250-a\n250 PIPELINING\n", mail=b"250 a\n",
                                 rcpt=b"250 a\n", data=b"354 a\n", end=b"250 a\n"),
                 "long": Behaviour(banner=b"220 " + b"x" * 3000 + b"\r\n", end=b"250 " + b"x" * 9000 + b"\r\n"),
                 "bare-ehlo": Behaviour(ehlo="550 no"),  # HELO may still be good
                 "apart": Behaviour(banner=lambda n, a: b"220 a\r\n", rcpt="251 will forward")}
        relay = self.meet(cases)
        self.gone(relay)
        for name in cases:
            self.assertEqual(len(self.others[name].messages), 1, name)


class Recipients(Case):
    def test_half_refused(self):
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.1")
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, a: "550 5.1.1 no such user" if a.startswith("odd") else None)
        relay = self.relay().start()
        recipients = [f"{w}{i}@dest.test" for i in range(10) for w in ("odd", "even")]
        relay.send("a@example.jp", recipients, TEXT)
        good, report = sorted(self.receiver.wait(2), key=lambda m: m.sender == "")
        self.gone(relay)
        self.assertEqual(good.recipients, [r for r in recipients if r.startswith("even")])
        self.assertEqual(len(self.receiver.messages), 2)
        for recipient in recipients:
            said = f"Final-Recipient: rfc822; {recipient}".encode() in report.body
            self.assertEqual(said, recipient.startswith("odd"), recipient)

    def test_half_put_off(self):
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, a: "451 4.2.0 later" if a.startswith("odd") else None)
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        recipients = [f"{w}{i}@dest.test" for i in range(5) for w in ("odd", "even")]
        relay.send("a@example.jp", recipients, TEXT)
        self.receiver.wait(1)
        row = self.waiting(relay)
        self.assertEqual(row["to"], [r for r in recipients if r.startswith("odd")])
        relay.kill()  # what is known of each recipient survives
        self.receiver.behaviour = Behaviour()
        relay.start()
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(2)
        self.gone(relay)
        first, second = self.receiver.messages
        self.assertEqual(first.recipients, [r for r in recipients if r.startswith("even")])
        self.assertEqual(second.recipients, [r for r in recipients if r.startswith("odd")])

    def test_all_refused_but_data_allowed(self):
        """RFC 2920: a receiver may answer DATA with 354 after refusing everybody."""
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.9")
        reports = self.another_receiver("127.0.0.9", port=self.receiver.port)
        empties = []
        self.receiver.behaviour = Behaviour(rcpt="550 5.1.1 no", data="354 go on",
                                            unknown=lambda n, a: empties.append(a) or "250 2.0.0 ok")
        relay = self.relay().start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        reports.wait(1)
        self.gone(relay)
        self.assertEqual(empties, ["."])  # an empty text, and nothing of the message

    def test_many_recipients_are_split(self):
        relay = self.relay().start()
        recipients = [f"user{i}@dest.test" for i in range(150)]
        relay.send("a@example.jp", recipients, TEXT)
        messages = self.receiver.wait(2)
        self.gone(relay)
        self.assertEqual([len(m.recipients) for m in messages], [100, 50])
        self.assertEqual(messages[0].recipients + messages[1].recipients, recipients)
        self.assertEqual(self.receiver.connections, 1)

    def test_one_transaction_for_each_connection(self):
        """The receiver has had enough of a connection, and not of the message: the other
        recipients come by the next one, at once."""
        seen = set()

        def enough(number, argument):
            used = number in seen
            seen.add(number)
            return answer if used else None
        for answer in ("421 4.3.2 one message a connection", DROP):
            seen.clear()
            receiver = self.another_receiver("127.0.0.77", Behaviour(mail=enough))
            self.names.mail_host("one.test", "mx.one.test", "127.0.0.77")
            relay = self.relay(delivery={"recipients": 2, "port": receiver.port}, queue={"backoff": ["1h"]}).start()
            recipients = [f"user{i}@one.test" for i in range(6)]
            relay.send("a@example.jp", recipients, TEXT)
            messages = receiver.wait(3)
            self.gone(relay)
            self.assertEqual([r for m in messages for r in m.recipients], recipients)
            self.assertEqual(len(relay.log("result=delivered .*attempts=1 ")), 6)
            relay.close()
            receiver.close()

    def test_too_many_for_the_receiver(self):
        """RFC 5321 4.5.3.1.10: 452 to the recipients over its limit; they come next, as many at
        a time as it took."""
        count = itertools.count()
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, a: "452 4.5.3 too many" if next(count) in range(5, 12) else None)
        relay = self.relay(queue={"backoff": ["1s"]}).start()
        recipients = [f"user{i}@dest.test" for i in range(12)]
        relay.send("a@example.jp", recipients, TEXT)
        messages = self.receiver.wait(3)
        self.gone(relay)
        self.assertEqual([m.recipients for m in messages],
                         [recipients[:5], recipients[5:10], recipients[10:]])

    def test_few_at_a_time(self):
        """The same, however often: as long as some are taken, the others do not wait for the
        ladder."""
        for refusal in ("452 4.5.3 no more of them", "452 too many recipients", "552 no"):
            taken = {}
            self.receiver.messages.clear()
            self.receiver.behaviour = Behaviour(
                mail=lambda n, a, taken=taken: taken.clear(),
                rcpt=lambda n, a, taken=taken, refusal=refusal:
                    refusal if len(taken) == 3 else taken.update({a: 1}))
            relay = self.relay(queue={"backoff": ["1h"]}).start()
            relay.send("a@example.jp", [f"user{i}@dest.test" for i in range(5)], TEXT)
            messages = self.receiver.wait(2)
            self.gone(relay)
            self.assertEqual([len(m.recipients) for m in messages], [3, 2], refusal)
            relay.close()

    def test_one_at_a_time(self):
        """More transactions than the ladder has steps; what is greylisted does not hurry."""
        taken = []
        self.receiver.behaviour = Behaviour(
            mail=lambda n, a: taken.clear(),
            rcpt=lambda n, a: "451 4.7.1 greylisted, come back in an hour" if a == "grey@dest.test"
            else "452 4.5.3 no more of them" if taken else taken.append(a))
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        recipients = [f"user{i}@dest.test" for i in range(20)]
        relay.send("a@example.jp", ["grey@dest.test", *recipients], TEXT)
        messages = self.receiver.wait(20)
        self.assertEqual(sorted(r for m in messages for r in m.recipients), sorted(recipients))
        wait_until(lambda: [row["to"] for row in relay.ctl("queue", "list")] == [["grey@dest.test"]],
                   what="a queue with the one that is greylisted")
        self.assertEqual(sum("grey@" in c for c in self.receiver.commands), 1)


class Space(Case):
    def test_one_that_hangs_keeps_no_space(self):
        """A receiver hangs in the middle of a transaction while the mail of others fills
        segment after segment of the spool: they are used anew all the same."""
        hangs = self.another_receiver("127.0.3.1", Behaviour(mail=HANG), self.receiver.port)
        self.names.mail_host("slow.test", "mx.slow.test", "127.0.3.1")
        relay = self.relay(spool={"segment_size": "64K", "big_message": "32K",
                                  "spare_segments": 1, "free_space": "1M"})
        relay.start()
        text = TEXT + (b"y" * 78 + b"\r\n") * 38
        with relay.smtp() as client:
            client.sendmail("a@example.jp", ["user@slow.test"], TEXT)
            hangs.wait_for(lambda r: any(c.startswith("MAIL") for c in r.commands))
            for _ in range(100):
                client.sendmail("a@example.jp", ["user@dest.test"], text)
        self.receiver.wait(100)
        wait_until(lambda: sum(name.endswith(".log") for name in os.listdir(relay.spool)) <= 4,
                   what="a spool of few segments")
        self.assertEqual([row["to"] for row in relay.ctl("queue", "list")], [["user@slow.test"]])


if __name__ == "__main__":
    unittest.main()
