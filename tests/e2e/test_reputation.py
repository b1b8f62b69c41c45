"""Blocks: the path is held, mail leaves another way or waits, the administrator hears."""
import json
import os
import time
import unittest

from harness import Behaviour
from harness.case import TEXT, Case
from harness.relay import wait_until

ONE = {"name": "one", "ipv4": "127.0.0.2"}
TWO = {"name": "two", "ipv4": "127.0.0.3"}
GMO = "554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using gmo-rbl.jp; Poor " \
      "Reputation Sender"
MICROSOFT = "550 5.7.606 Access denied, banned sending IP [127.0.0.2]. AS(1430)"
GOOGLE = "550-5.7.1 this message is likely suspicious due to the very low reputation of the\r\n" \
         "550 5.7.1 sending IP address, and has been blocked."


class Blocks(Case):
    def setUp(self):
        super().setUp()
        self.names.mail_host("gmo.test", "mx1.gmoserver.jp", "127.0.0.1")
        self.names.mail_host("microsoft.test", "gmo-test.mail.protection.outlook.com", "127.0.0.1")
        self.names.mail_host("google.test", "aspmx.l.google.com", "127.0.0.1")

    def block(self, reply, address="127.0.0.2"):
        """What to answer: REPLY to connections from ADDRESS, the usual thing to others."""
        return lambda number, _: reply if self.receiver.peers[number] == address else None

    def command(self):
        """A notify.command, and where it puts what it was told."""
        folder = self.folder()
        told = os.path.join(folder, "told")
        program = os.path.join(folder, "on-incident")
        with open(program, "w") as f:
            f.write(f'#!/bin/sh\ncat > "{told}.new"\nmv "{told}.new" "{told}"\n')
        os.chmod(program, 0o755)
        return program, told

    def two_sources(self, **settings):
        return self.relay(sources=(ONE, TWO), routes=({"match": "*", "via": ["one", "two"]},),
                          queue={"backoff": ["1h"]}, **settings).start()

    def reports(self):
        return [m for m in self.receiver.messages if m.sender == ""]

    def state(self, relay, provider, source):
        return {(r["provider"], r["source"]): r["state"]
                for r in relay.ctl("reputation")}.get((provider, source))

    def goes_by_the_second(self, relay, domain, provider):
        relay.send("a@example.jp", f"user@{domain}", TEXT)
        message, = self.receiver.wait(1)
        self.gone(relay)
        self.assertEqual((message.peer, message.recipients), ("127.0.0.3", [f"user@{domain}"]))
        self.assertEqual(self.reports(), [])
        incident, = relay.ctl("incidents")
        self.assertEqual((incident["state"], incident["provider"], incident["source"],
                          incident["class"]), ("open", provider, "one", "ip-blocked"))
        self.assertEqual(incident["rerouted"], 1)
        self.assertEqual(self.state(relay, provider, "one"), "held")
        self.assertNotEqual(self.state(relay, provider, "two"), "held")
        relay.wait_log(f"incident number=1 source=one provider={provider} class=ip-blocked")

    def test_banner(self):
        program, told = self.command()
        self.receiver.behaviour = Behaviour(banner=self.block(GMO))
        relay = self.two_sources(notify={"command": program})
        self.goes_by_the_second(relay, "gmo.test", "gmo")
        wait_until(lambda: os.path.exists(told), what="the command's run")
        with open(told) as f:
            incident = json.load(f)
        self.assertEqual((incident["number"], incident["provider"], incident["rule"]),
                         (1, "gmo", "gmo-listed"))
        self.assertIn("gmo-rbl.jp", incident["replies"][0]["text"])
        facts = {r["what"]: r["value"] for r in relay.ctl("incidents", "show", "1")}
        self.assertIn("gmo.jp", facts["help"])
        # the next message does not even ask by the first source
        connections = self.receiver.connections
        relay.send("a@example.jp", "other@gmo.test", TEXT)
        self.receiver.wait(2)
        self.gone(relay)
        self.assertEqual(self.receiver.connections, connections + 1)
        self.assertEqual(len(relay.log("^.*incident number=")), 1)
        self.assertEqual(relay.ctl("incidents")[0]["rerouted"], 2)

    def test_hosts_of_no_known_provider(self):
        """They are held by the name of their best host, and nobody else with them."""
        self.names.mail_host("small.test", "mx.small.test", "127.0.0.1")
        self.receiver.behaviour = Behaviour(
            rcpt=lambda _, to: GMO if to.endswith("small.test") else None)
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@small.test", TEXT)
        relay.wait_log("result=deferred .*path=mx.small.test")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        self.assertEqual(self.state(relay, "mx.small.test", "one"), "held")
        self.assertEqual(self.state(relay, "mx.dest.test", "one"), "open")

    def test_recipient_stage(self):
        self.receiver.behaviour = Behaviour(rcpt=self.block(MICROSOFT))
        self.goes_by_the_second(self.two_sources(), "microsoft.test", "microsoft365")

    def dead_backup(self, domain):
        """A second host, where nobody listens."""
        self.names.add(domain, "MX", "10 mx1.gmoserver.jp.", "20 backup.dest.test.")
        self.names.add("backup.dest.test", "A", "127.0.0.66")

    def test_a_backup_host_that_is_dead(self):
        """What the first one has said stays true."""
        self.dead_backup("gmo.test")
        self.receiver.behaviour = Behaviour(banner=self.block(GMO))
        self.goes_by_the_second(self.two_sources(), "gmo.test", "gmo")

    def test_a_backup_host_that_is_dead_and_the_only_way(self):
        self.dead_backup("gmo.test")
        self.receiver.behaviour = Behaviour(banner=GMO)
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        relay.wait_log("mx=backup.dest.test .*stage=connect .*reply=")
        self.assertIn("gmo-rbl.jp", self.waiting(relay)["last"])

    def test_no_further_part_of_a_list_goes_into_a_block(self):
        """Each transaction of a message is one of its path's, and a block stops the next one:
        all of them take the other way."""
        self.receiver.behaviour = Behaviour(rcpt=self.block(MICROSOFT))
        relay = self.two_sources(delivery={"recipients": 2})
        to = [f"user{i}@microsoft.test" for i in range(8)]
        relay.send("a@example.jp", to, TEXT)
        messages = self.receiver.wait(4)
        self.gone(relay)
        self.assertEqual({m.peer for m in messages}, {"127.0.0.3"})
        self.assertEqual(sorted(r for m in messages for r in m.recipients), to)
        self.assertEqual(len(relay.log("source=one .* code=550 ")), 2)

    def test_a_list_keeps_to_the_budget_of_a_young_source(self):
        today = time.strftime("%Y-%m-%d", time.gmtime())
        relay = self.relay(sources=({**ONE, "since": today},), delivery={"recipients": 1},
                           routes=({"match": "*", "via": ["one"]},),
                           reputation={"warmup_start": 3}).start()
        to = [f"user{i}@dest.test" for i in range(5)]
        relay.send("a@example.jp", to, TEXT)
        wait_until(lambda: [row["state"] for row in relay.ctl("queue", "list")] == ["waiting"],
                   what="the rest put off")
        self.assertEqual([m.recipients for m in self.receiver.messages], [[r] for r in to[:3]])
        row, = relay.ctl("queue", "list")
        self.assertEqual(row["to"], to[3:])
        self.assertGreater(row["next"], 60)
        self.assertEqual(relay.ctl("why", row["id"])[0]["attempts"], 0)

    def test_a_turn_is_kept(self):
        """Whoever asks before it has it still; and where nobody waits any more the next one is
        the first."""
        today = time.strftime("%Y-%m-%d", time.gmtime())
        relay = self.relay(sources=({**ONE, "since": today},), delivery={"recipients": 1},
                           routes=({"match": "*", "via": ["one"]},),
                           reputation={"warmup_start": 1}).start()

        def waiting():
            return [row["next"] for row in relay.ctl("queue", "list") if row["state"] == "waiting"]
        for i in range(5):
            relay.send("a@example.jp", f"user{i}@dest.test", TEXT)
        wait_until(lambda: len(waiting()) == 4, what="four that wait")
        turns = waiting()
        self.assertGreater(max(turns), 2 * 3600)
        for _ in range(3):
            relay.ctl("queue", "retry", "--all")
            wait_until(lambda: len(waiting()) == 4 and min(waiting()) > 60, what="four that wait again")
        for before, after in zip(turns, waiting()):
            self.assertLess(abs(before - after), 120)
        relay.ctl("queue", "delete", "--all")
        relay.send("a@example.jp", "last@dest.test", TEXT)
        wait_until(lambda: len(waiting()) == 1, what="one that waits")
        self.assertLessEqual(waiting()[0], 3600)
        # the configuration has the last word
        relay.change(sources=(ONE,))
        relay.write_conf()
        relay.ctl("reload")
        self.receiver.wait(2)
        self.gone(relay)

    def test_a_list_of_which_nobody_is_taken_has_had_an_attempt(self):
        """Else the same few would be tried at each turn of the path, and the others never."""
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        today = time.strftime("%Y-%m-%d", time.gmtime())
        relay = self.relay(sources=({**ONE, "since": today},), delivery={"recipients": 1},
                           routes=({"match": "*", "via": ["one"]},), queue={"backoff": ["2h"]},
                           reputation={"warmup_start": 3}).start()
        relay.send("a@example.jp", [f"user{i}@dest.test" for i in range(5)], TEXT)
        wait_until(lambda: [row["state"] for row in relay.ctl("queue", "list")] == ["waiting"],
                   what="the list put off")
        row, = relay.ctl("queue", "list")
        self.assertEqual(relay.ctl("why", row["id"])[0]["attempts"], 1)
        self.assertGreater(row["next"], 3600)

    def test_end_of_data_then_smarthost(self):
        smart = self.another_receiver()
        self.receiver.behaviour = Behaviour(end=self.block(GOOGLE))
        relay = self.relay(
            sources=(ONE,), queue={"backoff": ["1h"]},
            smarthosts=({"name": "smart", "host": "127.0.0.1", "port": smart.port, "tls": "none"},),
            routes=({"match": "*", "via": ["one", "smart"]},)).start()
        relay.send("a@example.jp", ["user@google.test", "two@google.test"], TEXT)
        message, = smart.wait(1)
        self.gone(relay)
        self.assertEqual(sorted(message.recipients), ["two@google.test", "user@google.test"])
        self.assertEqual(self.receiver.messages, [])
        self.assertEqual(self.state(relay, "google", "one"), "held")
        self.assertNotEqual(self.state(relay, "smarthost:smart", "smarthost:smart"), "held")

    def test_only_one_way(self):
        self.receiver.behaviour = Behaviour(banner=self.block(GMO))
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        self.assertIn("gmo-rbl.jp", self.waiting(relay)["last"])
        relay.send("a@example.jp", "later@gmo.test", TEXT)
        wait_until(lambda: [r["state"] for r in relay.ctl("queue", "list")] == ["waiting"] * 2,
                   what="both waiting")
        self.assertIn("held", relay.ctl("queue", "list")[1]["last"])
        self.assertEqual((self.receiver.connections, self.reports()), (1, []))
        # a probe while the block stands changes nothing
        relay.ctl("reputation", "probe", "gmo")
        self.receiver.wait_for(lambda r: r.connections == 2)
        relay.wait_log("result=deferred", count=2)
        self.assertEqual(self.state(relay, "gmo", "one"), "held")
        self.receiver.behaviour = Behaviour()
        relay.ctl("reputation", "probe", "gmo", "one")
        self.receiver.wait(1)
        wait_until(lambda: self.state(relay, "gmo", "one") == "slowed", what="a slow start")
        self.assertEqual(relay.ctl("incidents")[0]["state"], "closed")
        relay.ctl("reputation", "reset", "gmo")
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(2)
        self.gone(relay)
        self.assertEqual(self.reports(), [])

    def test_a_probe_by_the_second_address(self):
        """That the first one is dead, as IPv6 is on many machines, says nothing of the block."""
        self.names.add("mx1.gmoserver.jp", "AAAA", "::1")  # nobody listens there
        self.receiver.behaviour = Behaviour(banner=GMO)
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        self.waiting(relay)
        self.assertEqual(self.state(relay, "gmo", "default"), "held")
        self.receiver.behaviour = Behaviour()
        relay.ctl("reputation", "probe", "gmo")
        self.receiver.wait(1)
        wait_until(lambda: self.state(relay, "gmo", "default") == "slowed", what="a slow start")
        self.assertEqual(relay.ctl("incidents")[0]["state"], "closed")

    def test_opened_by_hand(self):
        self.receiver.behaviour = Behaviour(banner=self.block(GMO))
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1s"]}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        self.waiting(relay)
        # the second step of the ladder finds the path held: that is no attempt
        wait_until(lambda: relay.ctl("queue", "list")[0]["next"] > 600, what="being put off")
        self.receiver.behaviour = Behaviour()
        relay.ctl("reputation", "open", "gmo")
        self.receiver.wait(1)
        self.gone(relay)

    def test_survives_a_crash(self):
        self.receiver.behaviour = Behaviour(banner=self.block(GMO))
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        self.waiting(relay)
        relay.kill()
        relay.start()
        self.assertEqual(self.state(relay, "gmo", "one"), "held")
        self.assertEqual(len(relay.ctl("incidents")), 1)
        relay.ctl("queue", "retry", "--all")
        wait_until(lambda: "held" in relay.ctl("queue", "list")[0]["last"], what="being put off")
        self.assertEqual(self.receiver.connections, 1)
        self.assertEqual(relay.log("damage"), [])

    def test_a_notice_that_a_crash_prevented(self):
        """Nobody could be told before the kill -9: they are after the restart, once."""
        program, told = self.command()
        self.receiver.behaviour = Behaviour(banner=self.block(GMO))
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1h"]})
        relay.start()  # has nobody to tell
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        self.waiting(relay)
        relay.kill()
        store = os.path.join(relay.spool, "reputation")
        with open(store) as f:
            lines = f.read().splitlines()
        # as it was written before somebody was told
        with open(store, "w") as f:
            f.writelines(line + "\n" for line in lines if not line.endswith("\tnoticed=1"))
        self.assertEqual(len([line for line in lines if line.endswith("\tnoticed=1")]), 1)
        relay.change(notify={"command": program})
        relay.start()
        wait_until(lambda: os.path.exists(told), what="the notice")
        with open(told) as f:
            incident = json.load(f)
        self.assertEqual((incident["number"], incident["provider"]), (1, "gmo"))
        os.unlink(told)
        relay.kill()
        relay.start()
        relay.send("a@example.jp", "later@gmo.test", TEXT)
        wait_until(lambda: len(relay.ctl("queue", "list")) == 2 and
                   "held" in relay.ctl("queue", "list")[1]["last"], what="being put off")
        self.assertFalse(os.path.exists(told))

    def test_what_the_administrator_reads(self):
        """Of what waits for a block: the block, and not a trouble of theirs."""
        self.receiver.behaviour = Behaviour(banner=self.block(GMO))
        relay = self.relay(sources=(ONE,), queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        self.waiting(relay)
        relay.send("a@example.jp", "later@gmo.test", TEXT)
        wait_until(lambda: "held" in relay.ctl("queue", "list")[-1]["last"], what="being put off")
        for who in ("user", "later"):
            text = relay.run_ctl("why", f"{who}@gmo.test").stdout
            self.assertIn("relayctl incidents show 1 ", text)
            self.assertIn("relayctl reputation probe gmo ", text)
            self.assertIn("Ask for removal from the list", text)
            self.assertNotIn("trouble of its own", text)
        self.assertEqual([r["waiting"] for r in relay.ctl("reputation")], [2])
        text = relay.run_ctl("incidents", "show", "1").stdout
        self.assertNotIn("_ms", text)
        self.assertNotIn("sender_domain", text)
        relay.ctl("incidents", "close", "1")
        relay.ctl("reputation", "open", "gmo")
        self.assertIn('no "reputation frob"', relay.run_ctl("reputation", "frob").stderr)

    def test_unknown_users_do_not_hold(self):
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.1")
        self.receiver.behaviour = Behaviour(
            rcpt=lambda _, to: "550 5.1.1 no such user" if "nobody" in to else None)
        relay = self.two_sources()
        for i in range(3):
            relay.send("a@example.jp", f"nobody{i}@gmo.test", TEXT)
        self.receiver.wait(3)  # the reports
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        messages = self.receiver.wait(4)
        self.assertEqual([m.peer for m in messages if m.recipients == ["user@gmo.test"]],
                         ["127.0.0.2"])
        self.assertEqual(relay.ctl("incidents"), [])
        self.assertNotIn(self.state(relay, "gmo", "one"), ("held", "slowed"))

    def test_greylisting_stays_with_its_source(self):
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, to: (GMO if "blocked" in to else "450 4.2.0 Greylisted, try again later")
            if self.receiver.peers[n] == "127.0.0.2" else None)
        relay = self.two_sources()
        relay.send("a@example.jp", ["grey@gmo.test", "blocked@gmo.test"], TEXT)
        message, = self.receiver.wait(1)
        self.assertEqual((message.peer, message.recipients), ("127.0.0.3", ["blocked@gmo.test"]))
        wait_until(lambda: relay.ctl("queue", "list")[0]["to"] == ["grey@gmo.test"],
                   what="the other one waiting")

    def test_mail_to_the_administrator(self):
        self.names.mail_host("admin.test", "mx.admin.test", "127.0.0.1")
        self.receiver.behaviour = Behaviour(banner=self.block(GMO))
        relay = self.two_sources(notify={"mail": "root@admin.test"})
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        messages = self.receiver.wait(2)
        notice, = [m for m in messages if m.recipients == ["root@admin.test"]]
        self.assertIn("From: MAILER-DAEMON@example.jp", notice.header)
        self.assertIn(b"gmo-rbl.jp", notice.body)

    def test_a_command_that_is_broken(self):
        folder = self.folder()
        program = os.path.join(folder, "no-interpreter")
        with open(program, "w") as f:
            f.write("#!/no/such/shell\n")
        os.chmod(program, 0o755)
        self.receiver.behaviour = Behaviour(banner=self.block(GMO))
        relay = self.two_sources(notify={"command": program})
        self.goes_by_the_second(relay, "gmo.test", "gmo")
        relay.wait_log("notify.command .* could not be run for incident 1")


if __name__ == "__main__":
    unittest.main()
