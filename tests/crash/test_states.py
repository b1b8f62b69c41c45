"""kill -9 and a restart while paths are in every state they can be in: what relayctl
shows is the same afterwards, the mail is still there, nobody is told twice, nothing is
returned, and the next step happens as it would have."""
import os
import time
import unittest

from base import wait_until
from harness.case import TEXT, Case
from harness.receiver import HANG, Behaviour

BLOCKED = "554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using gmo-rbl.jp"
DMARC = "550 5.7.26 Unauthenticated email from example.jp is not accepted due to domain DMARC policy"
SLOW = "421 4.7.0 Too many messages from your IP address, try again in 2 seconds"
SLOW_LEAST = 2  # seconds that pass before it is tried again, whatever happens
STATES = ("open", "warm", "held", "hand", "domain", "probe", "start", "slow")
# the window is a guess that grows with each message: a crash may cost some of it
ROW = ("state", "ipv6_closed", "budget", "rule", "last")
INCIDENT = ("state", "provider", "source", "class", "met", "rerouted", "last")


class States(Case):
    def setUp(self):
        super().setUp()
        self.answers = {}
        self.refused = {}
        for state in STATES:
            self.names.mail_host(f"{state}.test", f"mx.{state}.test", "127.0.0.1")
        self.receiver.behaviour = Behaviour(rcpt=self.on_rcpt)
        self.told = os.path.join(self.folder(), "told")
        self.setup = self.relay(
            sources=({"name": "one", "ipv4": "127.0.0.2"},
                     {"name": "young", "ipv4": "127.0.0.3",
                      "since": time.strftime("%Y-%m-%d", time.gmtime())}),
            routes=({"match": "warm.test", "via": ["young"]}, {"match": "*", "via": ["one"]}),
            queue={"backoff": ["1h"]}, notify={"command": self.command()})

    def command(self):
        """A notify.command that writes a line for each incident."""
        program = os.path.join(self.folder(), "on-incident")
        with open(program, "w") as f:
            f.write(f'#!/bin/sh\ncat >> "{self.told}"\n')
        os.chmod(program, 0o755)
        return program

    def on_rcpt(self, _, to):
        domain = to.rpartition("@")[2]
        answer = self.answers.get(domain)
        if answer:
            self.refused[domain] = time.monotonic()
        return answer

    # ---- looking ----

    def asked(self, domain):
        """How often the receiver was asked for somebody there."""
        with self.receiver.changed:
            return len([c for c in self.receiver.commands
                        if c.startswith("RCPT") and f"@{domain}.test>" in c])

    def arrived(self, domain):
        with self.receiver.changed:
            return [m for m in self.receiver.messages
                    if m.recipients[0].endswith(f"@{domain}.test")]

    def lines_told(self):
        if not os.path.exists(self.told):
            return 0
        with open(self.told) as f:
            return len(f.readlines())

    def state(self, domain):
        return [r["state"] for r in self.setup.ctl("reputation")
                if r["provider"] == f"mx.{domain}.test"]

    def picture(self):
        paths = {(r["provider"], r["source"]): r for r in self.setup.ctl("reputation")}
        incidents = {r["number"]: tuple(r[k] for k in INCIDENT)
                     for r in self.setup.ctl("incidents")}
        queue = sorted(r["to"][0] for r in self.setup.ctl("queue", "list"))
        return paths, incidents, queue, time.monotonic()

    def assert_same(self, before, after):
        self.assertEqual(before[0].keys(), after[0].keys())
        for key, row in before[0].items():
            now = after[0][key]
            for name in ROW:
                if name in row:
                    self.assertEqual(row[name], now[name], f"{key} {name}")
            passed = after[3] - before[3]
            if row["next"] > passed + 1:
                self.assertAlmostEqual(row["next"], now["next"], delta=passed + 2, msg=key)
        self.assertEqual(before[1], after[1])
        self.assertEqual(before[2], after[2])

    # ---- into the states ----

    def send(self, domain, count=1):
        for _ in range(count):
            self.setup.send("a@example.jp", f"user@{domain}.test", TEXT)

    def refuse(self, domain, answer):
        self.answers[f"{domain}.test"] = answer
        self.send(domain)
        self.setup.wait_log(f"result=deferred .*path=mx.{domain}.test")

    def quiet(self):
        """No attempt is under way."""
        wait_until(lambda: all(r["state"] != "running" for r in self.setup.ctl("queue", "list")),
                   what="the end of all attempts")

    def hang_the_probe(self):
        count = self.asked("probe")
        self.answers["probe.test"] = HANG
        self.setup.ctl("reputation", "probe", "mx.probe.test")
        wait_until(lambda: self.asked("probe") == count + 1, what="the probe")

    def into_states(self):
        self.send("open")
        self.send("warm")
        self.send("hand")
        self.receiver.wait(3)
        self.setup.ctl("reputation", "hold", "mx.hand.test")
        self.send("hand")
        self.refuse("held", BLOCKED)
        self.refuse("domain", DMARC)
        self.send("domain")
        self.refuse("probe", BLOCKED)
        self.refuse("start", BLOCKED)
        self.answers["start.test"] = None
        self.setup.ctl("reputation", "probe", "mx.start.test")
        self.receiver.wait(4)
        wait_until(lambda: self.state("start") == ["slowed"], what="a slow start")
        self.send("start")  # the one that this interval allows
        self.receiver.wait(5)
        self.send("start")
        self.refuse("slow", SLOW)
        self.quiet()
        wait_until(lambda: self.lines_told() == 4, what="all that is to be told")
        self.hang_the_probe()

    # ---- and on ----

    def delivered(self, domain, count):
        wait_until(lambda: len(self.arrived(domain)) == count, timeout=60,
                   what=f"message {count} for {domain}")

    def next_steps(self):
        for domain in ("open", "warm", "domain"):
            self.send(domain)
        self.delivered("open", 2)
        self.delivered("warm", 2)
        budgets = [r["budget"] for r in self.setup.ctl("reputation") if r["source"] == "young"]
        self.assertRegex(budgets[0], r"\b2 of 20\b")
        self.quiet()
        self.assertEqual((self.asked("held"), self.asked("hand"), self.asked("domain"),
                          self.asked("start")), (1, 1, 1, 3))
        self.answers.clear()
        for domain in ("held", "probe", "domain"):
            self.setup.ctl("reputation", "probe", f"mx.{domain}.test")
            wait_until(lambda: self.arrived(domain), what=f"the probe of {domain}")
        self.setup.ctl("reputation", "open", "mx.hand.test")
        self.delivered("hand", 2)
        self.delivered("slow", 1)
        self.assertGreater(self.arrived("slow")[0].time - self.refused["slow.test"], SLOW_LEAST)
        for domain in ("start", "domain"):
            self.setup.ctl("reputation", "reset", f"mx.{domain}.test")
        self.setup.ctl("queue", "retry", "--all")
        self.delivered("start", 3)
        self.delivered("domain", 3)

    def test_states(self):
        self.setup.start()
        self.into_states()
        before = self.picture()
        self.assertEqual({key[0][3:-5]: row["state"] for key, row in before[0].items()
                          if key[1] != "example.jp"},
                         {"open": "open", "warm": "warming", "held": "held", "hand": "held",
                          "domain": "open", "probe": "held", "start": "slowed",
                          "slow": "slowed"})
        self.assertEqual(before[0][("mx.domain.test", "example.jp")]["state"], "domain held")
        self.assertEqual(sorted(i[0] for i in before[1].values()), ["closed"] + ["open"] * 3)
        self.setup.kill()
        self.setup.start()
        self.quiet()
        self.assert_same(before, self.picture())
        self.hang_the_probe()
        self.setup.stop()
        self.setup.start()
        self.quiet()
        self.assert_same(before, self.picture())
        self.next_steps()
        wait_until(lambda: self.setup.ctl("queue", "list") == [], what="an empty queue")
        self.assertEqual([m for m in self.receiver.messages if m.sender == ""], [])
        self.assertEqual(self.setup.log("result=failed"), [])
        self.assertEqual(self.lines_told(), 4)


if __name__ == "__main__":
    unittest.main()
