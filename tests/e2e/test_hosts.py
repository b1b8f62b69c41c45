"""Which host gets the message: MX records of every kind, addresses, and who is next."""
import os
import threading
import unittest

from harness import DROP, HANG, RESET, Behaviour, wait_until
from harness.case import TEXT, Case
from harness.relay import free_port

QUICK = {"connect_timeout": "1s", "banner_timeout": "1s", "command_timeout": "1s",
         "data_timeout": "1s", "block_timeout": "2s", "end_timeout": "1s"}


class Hosts(Case):
    """Which host is asked, and who is next."""

    def two_hosts(self, first, second=None, text=TEXT, **settings):
        second_receiver = self.another_receiver("127.0.0.2", second, self.receiver.port)
        self.receiver.behaviour = first
        self.names.remove("dest.test")
        self.names.add("dest.test", "MX", "20 mx2.dest.test.", "10 mx.dest.test.")
        self.names.add("mx2.dest.test", "A", "127.0.0.2")
        relay = self.relay(delivery=QUICK, queue={"backoff": ["1h"]}, **settings).start()
        relay.send("a@example.jp", ["user@dest.test", "other@dest.test"], text)
        return relay, second_receiver

    def test_next_host_after_a_temporary_refusal(self):
        relay, second = self.two_hosts(
            Behaviour(rcpt=lambda n, a: "451 4.2.0 no" if a.startswith("user") else None))
        message, = second.wait(1)
        self.gone(relay)
        self.assertEqual(message.recipients, ["user@dest.test"])
        self.assertEqual([m.recipients for m in self.receiver.messages], [["other@dest.test"]])

    def test_next_host_after_a_broken_connection(self):
        for behaviour in (Behaviour(banner=DROP), Behaviour(banner="554 5.7.1 no"),
                          Behaviour(banner="421 no"), Behaviour(ehlo=RESET), Behaviour(mail="421 x"),
                          Behaviour(banner=HANG), Behaviour(rcpt=DROP)):
            with self.subTest(behaviour.stages):
                relay, second = self.two_hosts(behaviour)
                message, = second.wait(1)
                self.gone(relay)
                self.assertEqual(message.recipients, ["user@dest.test", "other@dest.test"])
                second.close()
                relay.stop()

    def test_a_dead_backup_host_forgets_no_time(self):
        """The first one has named it."""
        relay, second = self.two_hosts(Behaviour(rcpt="451 4.7.1 Greylisting in action, please come "
                                                      "back in 00:05:00"), Behaviour(banner=DROP))
        row = self.waiting(relay)
        self.assertEqual(second.connections, 1)
        self.assertLess(row["next"], 600)
        self.assertIn("Greylisting", row["last"])

    def test_no_host_is_asked_after_a_hidden_answer(self):
        """It may have been taken: another host at once would make sure of a duplicate."""
        relay, second = self.two_hosts(Behaviour(end=DROP))
        self.assertIn("may have taken", self.waiting(relay)["last"])
        self.assertEqual(second.connections, 0)

    def test_next_host_after_a_text_that_broke_off(self):
        """It can not have taken what it has not seen the end of: a path that loses big
        packets to one host shall not keep the message from the others."""
        relay, second = self.two_hosts(
            Behaviour(data=lambda n, a: iter([b"354 go on\r\n"])), text=TEXT + (b"m" * 900 + b"\r\n") * 14_000)
        second.wait(1)
        self.gone(relay)

    def test_no_host_is_asked_during_a_stop(self):
        """What had said its final dot is waited for; nothing more is begun."""
        dotted = threading.Event()
        stopping = threading.Event()

        def end(_, __):
            dotted.set()
            return stopping.wait(30) and "451 4.3.0 no"
        relay, second = self.two_hosts(Behaviour(end=end))
        self.assertTrue(dotted.wait(30))
        relay.process.terminate()
        relay.wait_log("shutting down")
        stopping.set()
        relay.wait_log("result=deferred .*code=451")
        relay.stop()
        self.assertEqual(second.connections, 0)
        relay.start()
        self.assertEqual(len(relay.ctl("queue", "list")), 1)

    def test_no_host_is_asked_after_a_permanent_refusal(self):
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.9")
        reports = self.another_receiver("127.0.0.9", port=self.receiver.port)
        relay, second = self.two_hosts(Behaviour(rcpt="550 5.1.1 no"))
        reports.wait(1)
        self.gone(relay)
        self.assertEqual(second.connections, 0)

    def test_554_from_all_hosts_waits(self):
        relay, second = self.two_hosts(Behaviour(banner="554 5.7.1 no"), Behaviour(banner="554 5.7.1 never"))
        row = self.waiting(relay)
        self.assertEqual(second.connections, 1)
        self.assertIn("554", row["last"])
        self.assertEqual(row["to"], ["user@dest.test", "other@dest.test"])

    def test_unreachable_then_unwilling_then_good(self):
        self.names.remove("dest.test")
        self.names.add("dest.test", "MX", *(f"{i}0 mx{i}.dest.test." for i in range(1, 5)))
        for i in range(1, 5):
            self.names.add(f"mx{i}.dest.test", "A", f"127.0.0.{10 + i}")
        # 127.0.0.11 and .12: nobody listens
        unwilling = self.another_receiver("127.0.0.13", Behaviour(rcpt="451 4.2.0 no"), self.receiver.port)
        good = self.another_receiver("127.0.0.14", None, self.receiver.port)
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        good.wait(1)
        self.gone(relay)
        self.assertEqual(unwilling.connections, 1)

    def test_the_other_family_of_the_same_host(self):
        """A host whose IPv6 address is dead is reached by its IPv4 address at once."""
        self.names.add("mx.dest.test", "AAAA", "::1")  # nobody listens there
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        self.gone(relay)

    def test_the_other_address_of_the_same_host(self):
        self.names.add("mx.dest.test", "A", *(f"127.0.0.{i}" for i in (66, 67, 68, 69, 1)))
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        self.gone(relay)

    def test_ipv6(self):
        six = self.another_receiver("::1", None, self.receiver.port)
        self.names.mail_host("six.test", "mx.six.test", "::1")
        relay = self.relay().start()
        relay.send("a@example.jp", ["user@six.test"], TEXT)
        message, = six.wait(1)
        self.assertEqual(message.peer, "::1")
        relay.send("a@example.jp", ["user@[IPv6:::1]"], TEXT)
        six.wait(2)
        self.gone(relay)

    def test_ipv6_switched_off(self):
        six = self.another_receiver("::1", None, self.receiver.port)
        self.names.add("mx.dest.test", "AAAA", "::1")
        relay = self.relay(delivery={"ipv6": False}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        self.assertEqual(six.connections, 0)

    def test_equal_hosts_share(self):
        second = self.another_receiver("127.0.0.2", None, self.receiver.port)
        self.names.add("dest.test", "MX", "10 mx.dest.test.", "10 mx2.dest.test.")
        self.names.add("mx2.dest.test", "A", "127.0.0.2")
        relay = self.relay().start()
        with relay.smtp() as client:
            for _ in range(30):
                client.sendmail("a@example.jp", ["user@dest.test"], TEXT)
        relay.wait_log("result=delivered", 30)
        self.gone(relay)
        self.assertEqual(len(self.receiver.messages) + len(second.messages), 30)
        self.assertGreater(len(self.receiver.messages), 0)
        self.assertGreater(len(second.messages), 0)

    def test_address_literals(self):
        relay = self.relay().start()
        relay.send("a@example.jp", ["user@[127.0.0.1]"], TEXT)
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, ["user@[127.0.0.1]"])

    def test_aliases(self):
        """CNAME at the domain, and (against RFC 2181) behind the MX."""
        self.names.add("alias.test", "CNAME", "dest.test.")
        self.names.add("odd.test", "MX", "10 cn.test.")
        self.names.add("cn.test", "CNAME", "mx.dest.test.")
        relay = self.relay().start()
        relay.send("a@example.jp", ["user@alias.test"], TEXT)
        relay.send("a@example.jp", ["user@odd.test"], TEXT)
        messages = self.receiver.wait(2)
        self.assertEqual(sorted(m.recipients[0] for m in messages), ["user@alias.test", "user@odd.test"])
        self.gone(relay)

    def test_no_mx_but_an_address(self):
        self.names.add("plain.test", "A", "127.0.0.1")
        relay = self.relay().start()
        relay.send("a@example.jp", ["user@plain.test"], TEXT)
        self.receiver.wait(1)


class Transactions(Case):
    """A recipient each; whose turn has not come has no part in the end of another's."""

    def transactions(self, *names, **stages):
        self.receiver.behaviour = Behaviour(extensions=["8BITMIME"], **stages)
        relay = self.relay(delivery={**QUICK, "recipients": 1}, queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", [f"{name}@dest.test" for name in names], TEXT)
        return relay

    def test_421_to_one_recipient(self):
        """The others go without him, in a transaction of their own, and he waits for himself."""
        self.receiver.behaviour = Behaviour(
            rcpt=lambda _, address: "421 4.3.2 going down" if address.startswith("odd") else None)
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", [f"{name}@dest.test" for name in ("one", "odd", "two", "odder", "three")], TEXT)
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, [f"{name}@dest.test" for name in ("one", "two", "three")])
        self.assertEqual(self.waiting(relay)["to"], ["odd@dest.test", "odder@dest.test"])
        self.assertEqual(relay.log("to=(one|two|three)@dest.test .*result=deferred"), [])

    def test_421_to_each_recipient(self):
        """That is about the host, however many a transaction has."""
        self.receiver.behaviour = Behaviour(rcpt="421 4.3.2 going down")
        for count in (20, 1):
            with self.subTest(count):
                before = self.receiver.connections
                relay = self.relay(delivery={"recipients": count}, queue={"backoff": ["1h"]}).start()
                relay.send("a@example.jp", [f"u{n}@dest.test" for n in range(20)], TEXT)
                self.assertEqual(len(self.waiting(relay)["to"]), 20)
                self.assertLess(self.receiver.connections - before, 8)
                relay.stop()

    def no_bad(self, _, address):
        return "550 5.1.1 no such user" if address.startswith("bad") else None

    def check(self, relay, bad, good):
        relay.wait_log(f"to={bad}@dest.test .*result=failed")
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, [f"{good}@dest.test"])
        self.assertEqual(relay.log(f"to={good}@dest.test .*result=(failed|deferred)"), [])
        self.gone(relay)

    def test_a_refused_rset_is_about_nobody(self):
        for answer in ("502 5.5.1 what", "550 5.7.1 no", "421 4.4.2 bye", "354 go on", DROP):
            with self.subTest(answer):
                relay = self.transactions("bad", "good", rcpt=self.no_bad, rset=answer)
                self.check(relay, "bad", "good")
                self.receiver.messages.clear()
                relay.stop()

    def test_a_refused_rset_when_nobody_is_left(self):
        for answer in ("502 5.5.1 what", "421 4.4.2 bye", DROP):
            with self.subTest(answer):
                relay = self.transactions("good", "bad", rcpt=self.no_bad, rset=answer)
                self.check(relay, "bad", "good")
                self.receiver.messages.clear()
                relay.stop()

    def test_a_text_that_is_refused_early(self):
        refusal = iter([b"354 go on\r\n552 5.3.4 no\r\n"])
        relay = self.transactions("first", "second", data=lambda n, a: refusal if n == 1 else None)
        self.check(relay, "first", "second")

    def test_a_hidden_answer_hides_that_of_its_recipient_only(self):
        self.names.add("dest.test", "MX", "10 mx.dest.test.", "20 mx2.dest.test.")
        self.names.add("mx2.dest.test", "A", "127.0.0.2")
        second = self.another_receiver("127.0.0.2", None, self.receiver.port)
        relay = self.transactions("first", "second", end=DROP)
        message, = second.wait(1)
        self.assertEqual(message.recipients, ["second@dest.test"])
        row = self.waiting(relay)
        self.assertEqual(row["to"], ["first@dest.test"])
        self.assertIn("may have taken", row["last"])

    def test_the_time_that_one_is_told_is_not_the_others(self):
        """He may wait for a day; they wait by the ladder."""
        busy = iter(["451 4.3.0 not now"])
        self.receiver.behaviour = Behaviour(
            rcpt=lambda _, address: "452 4.2.2 over quota, try again in 20 hours"
            if address.startswith("full") else next(busy, None))
        relay = self.relay(queue={"backoff": ["1s"]}).start()
        relay.send("a@example.jp", ["full@dest.test", "busy@dest.test"], TEXT)
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, ["busy@dest.test"])
        wait_until(lambda: [r["next"] > 3600 for r in relay.ctl("queue", "list")] == [True],
                   what="his own time")

    def under_way(self):
        """A list of which the first transaction waits for its answer."""
        dot, go = threading.Event(), threading.Event()
        self.addCleanup(go.set)
        relay = self.transactions("one", "two", "three", end=lambda n, a: dot.set() or go.wait(20) and None)
        self.assertTrue(dot.wait(20))
        row, = relay.ctl("queue", "list")
        return relay, row["id"], go

    def test_what_is_deleted_goes_no_further(self):
        relay, number, go = self.under_way()
        relay.ctl("queue", "delete", number)
        go.set()
        relay.wait_log("result=delivered")
        self.gone(relay)
        self.assertEqual([m.recipients for m in self.receiver.messages], [["one@dest.test"]])
        self.assertEqual(len(relay.log("result=delivered")), 1)

    def test_what_is_held_goes_no_further(self):
        relay, number, go = self.under_way()
        relay.ctl("queue", "hold", number)
        go.set()
        wait_until(lambda: [r["to"] for r in relay.ctl("queue", "list") if r["state"] == "held"] ==
                   [["two@dest.test", "three@dest.test"]], what="the rest being held")
        self.assertEqual(len(self.receiver.messages), 1)
        relay.ctl("queue", "release", number)
        self.receiver.wait(3)
        self.gone(relay)

    def test_what_is_deleted_asks_no_other_host(self):
        self.names.add("dest.test", "MX", "10 mx.dest.test.", "20 mx2.dest.test.")
        self.names.add("mx2.dest.test", "A", "127.0.0.2")
        second = self.another_receiver("127.0.0.2", None, self.receiver.port)
        greeted, go = threading.Event(), threading.Event()
        self.addCleanup(go.set)
        relay = self.transactions("one", rcpt=lambda n, a: greeted.set() or go.wait(20) and "451 no")
        self.assertTrue(greeted.wait(20))
        row, = relay.ctl("queue", "list")
        relay.ctl("queue", "delete", row["id"])
        go.set()
        relay.wait_log("result=deferred")
        self.gone(relay)
        self.assertEqual(second.messages, [])

    def test_what_is_deleted_while_we_connect_is_not_sent(self):
        greeted, go = threading.Event(), threading.Event()
        self.addCleanup(go.set)
        relay = self.transactions("one", banner=lambda n, a: greeted.set() or go.wait(20) and None)
        self.assertTrue(greeted.wait(20))
        row, = relay.ctl("queue", "list")
        relay.ctl("queue", "delete", row["id"])
        go.set()
        self.receiver.wait_for(lambda r: "QUIT" in r.commands or r.messages)
        self.assertEqual(self.receiver.messages, [])

    def test_who_is_put_off_each_time_keeps_nobody_from_his_turn(self):
        """A path with a rate lets one transaction go in each attempt, and all of the first one wait."""
        self.receiver.behaviour = Behaviour(
            rcpt=lambda _, address: "452 4.2.2 over quota" if address.startswith("full") else None)
        relay = self.relay(delivery={"recipients": 2}, queue={"backoff": ["1s"]})
        os.makedirs(relay.folder + "/replies.d")
        with open(relay.folder + "/replies.d/slow.conf", "w") as f:
            f.write('providers = ( { id = "slow"; mx = [ "mx.dest.test" ]; per_minute = 20; } );\n')
        relay.start()
        relay.send("a@example.jp", [f"{name}@dest.test" for name in ("full1", "full2", "one", "two")], TEXT)
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, ["one@dest.test", "two@dest.test"])
        self.assertEqual(self.waiting(relay)["to"], ["full1@dest.test", "full2@dest.test"])


class Names(Case):
    """Domains that can not be had."""

    def setUp(self):
        super().setUp()
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.1")

    def check_returned(self, domain, status, text, **settings):
        relay = self.relay(**settings).start()
        relay.send("a@example.jp", [f"user@{domain}"], TEXT)
        report, = self.receiver.wait(1)
        self.gone(relay)
        self.assertEqual(report.sender, "")
        self.assertIn(f"Status: {status}".encode(), report.body)
        self.assertRegex(report.body.decode(), text)

    def check_kept(self, domain, text, **settings):
        relay = self.relay(**settings).start()
        relay.send("a@example.jp", [f"user@{domain}"], TEXT)
        self.assertRegex(self.waiting(relay)["last"], text)
        self.assertEqual(self.receiver.messages, [])

    def test_null_mx(self):
        self.names.add("null.test", "MX", "0 .")
        self.names.add("null.test", "A", "127.0.0.1")
        self.check_returned("null.test", "5.1.10", "takes no mail")

    def test_no_such_domain(self):
        self.check_returned("nowhere.test", "5.1.2", "no such domain")

    def test_the_words_of_a_name_are_no_refusal(self):
        """What we found ourselves is not read as if a receiver had said it."""
        self.names.add("blacklist.test", "MX", "0 .")
        relay = self.relay().start()
        for domain, status in (("blacklist.test", "5.1.10"), ("dnsbl.spamhaus.test", "5.1.2")):
            relay.send("a@example.jp", [f"user@{domain}"], TEXT)
            relay.wait_log(f"to=user@{domain} .*result=failed .*status={status} verdict=routing "
                           "scope=destination rule=structure")
        self.gone(relay)

    def test_no_address(self):
        self.names.add("empty.test", "TXT", '"x"')
        self.check_returned("empty.test", "5.1.2", "no mail server with an address")

    def test_mx_without_address(self):
        self.names.add("dangling.test", "MX", "10 gone.test.")
        self.check_returned("dangling.test", "5.1.2", "no mail server with an address")

    def test_servfail(self):
        self.names.servfail.add("broken.test")
        self.check_kept("broken.test", "could not be looked up")

    def test_servfail_of_the_host(self):
        self.names.add("half.test", "MX", "10 mx.half.test.")
        self.names.servfail.add("mx.half.test")
        self.check_kept("half.test", "could not be looked up")

    def test_silent_name_server(self):
        self.names.silent.add("silent.test")
        self.check_kept("silent.test", "could not be looked up", dns={"timeout": "1s"})

    def test_private_addresses(self):
        self.names.mail_host("inside.test", "mx.inside.test", "127.0.0.1", "10.0.0.1", "169.254.169.254",
                             "::1", "fe80::1", "::ffff:127.0.0.1")
        receiver = self.another_receiver("127.0.0.1")
        relay = self.relay(delivery={"allow_private": False, "port": receiver.port},
                           notify={}).start()
        relay.send("a@example.jp", ["user@inside.test"], TEXT)
        relay.wait_log("to=user@inside.test .*result=failed .*status=5.4.4")
        relay.send("a@example.jp", ["user@[127.0.0.1]"], TEXT)
        relay.wait_log(r"to=.?user@\[127.0.0.1\].? .*result=failed .*status=5.4.4")
        self.assertEqual(receiver.connections, 0)

    def test_ourselves(self):
        """Our own address behind an MX is a loop, and so are the hosts behind it."""
        relay = self.relay()
        relay.change(delivery={"port": relay.port})
        self.names.mail_host("loop.test", "mx.loop.test", "127.0.0.1")
        relay.start()
        relay.send("a@example.jp", ["user@loop.test"], TEXT)
        relay.wait_log("to=user@loop.test .*result=failed .*status=5.4.6")

    def test_ourselves_at_any_address(self):
        """A listener for all addresses answers at each that this host has."""
        for listen, address in (("0.0.0.0", "127.0.0.3"), ("::", "::1")):
            with self.subTest(listen):
                port = free_port()
                relay = self.relay(delivery={"port": port})
                relay.change(listen=(*relay.settings["listen"], {"address": listen, "port": port}))
                self.names.remove("mx.around.test")
                self.names.mail_host("around.test", "mx.around.test", address)
                relay.start()
                relay.send("a@example.jp", ["user@around.test"], TEXT)
                relay.wait_log("to=user@around.test .*result=failed .*status=5.4.6 .*this relay itself")
                relay.stop()

    def test_a_receiver_with_our_name(self):
        for stage, answer in (("banner", "220 relay.example.jp ESMTP"), ("ehlo", "250 RELAY.example.jp")):
            receiver = self.another_receiver("127.0.0.5", Behaviour(**{stage: answer}), self.receiver.port)
            self.names.mail_host("mirror.test", "mx.mirror.test", "127.0.0.5")
            relay = self.relay(queue={"backoff": ["1h"]})
            relay.change(listen=(*relay.settings["listen"],
                                 {"address": "127.0.0.9", "port": self.receiver.port}))
            relay.start()
            relay.send("a@example.jp", ["user@mirror.test"], TEXT)
            relay.wait_log("to=user@mirror.test .*result=(failed|deferred) .*loop back")
            self.assertEqual(receiver.messages, [])
            relay.stop()
            receiver.close()

    def test_another_server_of_this_machine(self):
        """One machine, one name: another program takes its mail at the port where we do not
        listen, as a receiver or as a filter in front of it."""
        self.receiver.behaviour = Behaviour(banner="220 relay.example.jp ESMTP",
                                            ehlo="250 relay.example.jp")
        self.names.mail_host("site.test", "relay.example.jp", "127.0.0.1")
        filters = ({"name": "filter", "host": "127.0.0.1", "port": self.receiver.port, "tls": "none"},)
        for more in ({}, {"smarthosts": filters, "routes": ({"match": "*", "via": ["filter"]},)}):
            with self.subTest(more):
                relay = self.relay(**more).start()
                relay.send("a@example.jp", ["user@site.test"], TEXT)
                relay.wait_log("attempt id=")
                self.gone(relay)
                message, = self.receiver.messages
                self.assertEqual(message.recipients, ["user@site.test"])
                del self.receiver.messages[:]
                relay.stop()


if __name__ == "__main__":
    unittest.main()
