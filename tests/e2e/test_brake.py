"""The brake: who floods or writes to nobody is held, with an incident; nobody else."""
import re
import subprocess
import unittest

from harness import Behaviour
from harness.case import TEXT, Case
from harness.relay import wait_until


def script(name, uid=33):
    return b"X-PHP-Originating-Script: %d:%s\r\n" % (uid, name.encode()) + TEXT


class Brake(Case):
    def rows(self, relay, state="held"):
        return [r for r in relay.ctl("queue", "list") if r["state"] == state]

    def senders(self, relay):
        return {r["who"]: r for r in relay.ctl("brake")}

    def incidents(self, relay):
        return {(i["source"], i["class"]): i["state"] for i in relay.ctl("incidents")}

    def test_a_client_over_its_rate(self):
        relay = self.relay(brake={"client_messages_per_hour": 3}).start()
        for _ in range(5):
            relay.send("a@example.jp", "user@dest.test", TEXT)  # each gets its 250
        self.receiver.wait(3)
        wait_until(lambda: len(relay.ctl("queue", "list")) == 2, what="only the held ones left")
        row = self.rows(relay)[0]
        self.assertIn("client:127.0.0.1 has sent more", row["last"])
        facts = {r["what"]: r["value"] for r in relay.ctl("queue", "show", row["id"])}
        self.assertIn("client:127.0.0.1", facts["held_because"])
        self.assertIn("client:127.0.0.1 has sent", relay.run_ctl("why", row["id"]).stdout.replace(
            "\n" + " " * 11, " "))
        self.assertEqual(self.incidents(relay), {("client:127.0.0.1", "rate-limited"): "open"})
        incident = {r["what"]: r["value"] for r in relay.ctl("incidents", "show", "1")}
        self.assertIn("queue release --who client:127.0.0.1", incident["do"])
        self.assertEqual(incident["met"], 2)
        sender = self.senders(relay)["client:127.0.0.1"]
        self.assertEqual((sender["kind"], sender["held"], sender["hour"]), ("client", "rate", "5/3"))
        # a local user is another client
        relay.sendmail("-f", "a@example.jp", "user@dest.test", input=TEXT)
        self.receiver.wait(4)
        # what is held stays when the brake is let go, and goes when it is released itself
        relay.ctl("brake", "release", "client:127.0.0.1")
        self.assertEqual(self.incidents(relay), {("client:127.0.0.1", "rate-limited"): "closed"})
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(5)
        self.assertEqual(len(self.rows(relay)), 2)
        done = relay.ctl("queue", "release", "--who", "client:127.0.0.1")
        self.assertEqual([r["result"] for r in done], ["released"] * 2)
        self.receiver.wait(7)
        self.gone(relay)

    def test_only_the_script_is_held(self):
        relay = self.relay(brake={"script_messages_per_hour": 1}).start()
        for _ in range(3):
            relay.send("a@example.jp", "user@dest.test", script("hacked.php"))
        relay.send("a@example.jp", "user@dest.test", script("hacked.php(3) : eval()'d code"))
        relay.send("a@example.jp", "user@dest.test", script("contact.php"))
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(3)
        wait_until(lambda: len(relay.ctl("queue", "list")) == 3, what="only the held ones left")
        who = "script:33:hacked.php@127.0.0.1"
        self.assertEqual(self.senders(relay)[who]["messages"], 4)
        self.assertEqual(self.incidents(relay), {(who, "rate-limited"): "open"})
        self.assertIsNone(self.senders(relay)["script:33:contact.php@127.0.0.1"]["since"])
        relay.kill()  # what is held, and who is braked, is there again
        relay.start()
        self.assertEqual(len(self.rows(relay)), 3)
        sender = self.senders(relay)[who]
        self.assertEqual(sender["held"], "rate")
        self.assertIsInstance(sender["since"], int)
        self.assertEqual(len(relay.ctl("queue", "delete", "--who", who)), 3)
        self.assertEqual(relay.ctl("queue", "list"), [])

    def test_unknown_recipients(self):
        """What waits already is held as well, and a restart changes nothing."""
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, to: "550 5.1.1 no such user" if to.startswith("nobody") else
            "451 4.2.0 later" if to.startswith("later") else None)
        relay = self.relay(brake={"unknown_share": 30, "minimum": 10},
                           queue={"backoff": ["1h"]}, sources=({"name": "one"},)).start()
        who = "script:33:list.php@127.0.0.1"
        relay.send("a@example.jp", "later@dest.test", script("list.php"))
        relay.wait_log("result=deferred")
        relay.send("a@example.jp", [f"nobody{i}@dest.test" for i in range(4)] +
                   [f"user{i}@dest.test" for i in range(6)], script("list.php"))
        relay.wait_log("incident number=.*source=client:127.0.0.1 .*unknown-recipient")
        relay.wait_log(f"incident number=.*source={who}")
        wait_until(lambda: len(relay.ctl("queue", "list")) == 1, what="all results noted")
        relay.kill()
        self.receiver.behaviour = Behaviour()
        relay.start()
        sender = self.senders(relay)[who]
        self.assertEqual((sender["held"], sender["recipients"], sender["unknown_recipients"]),
                         ("unknown", 10, 4))
        relay.ctl("queue", "retry", "--all")
        wait_until(lambda: len(self.rows(relay)) == 1, what="the waiting one held")
        self.assertIn("recipients that do not exist", self.rows(relay)[0]["last"])
        relay.kill()
        relay.start()
        row, = self.rows(relay)
        self.assertIn("recipients that do not exist", row["last"])
        # released by hand it goes, though its sender is still braked
        relay.ctl("queue", "release", row["id"])
        self.receiver.wait_for(lambda r: any("later@dest.test" in m.recipients for m in r.messages))
        self.assertEqual(self.senders(relay)[who]["held"], "unknown")

    def test_an_entry_has_its_own_limits(self):
        relay = self.relay(
            clients=({"name": "shop", "networks": ["127.0.0.0/8"], "messages_per_hour": 1},),
            brake={"client_messages_per_hour": 1000}).start()
        for _ in range(2):
            relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        wait_until(lambda: len(self.rows(relay)) == 1, what="a held message")
        self.assertEqual(self.senders(relay)["client:127.0.0.1"]["hour"], "2/1")

    def test_without_limits_nobody_is_held(self):
        relay = self.relay().start()
        for _ in range(30):
            relay.send("a@example.jp", "user@dest.test", script("form.php"))
        self.receiver.wait(30)
        self.gone(relay)
        self.assertEqual(relay.ctl("incidents"), [])
        self.assertEqual(self.senders(relay)["client:127.0.0.1"]["hour"], "30")
        self.assertEqual(relay.run_ctl("brake", "release", "client:192.0.2.1").returncode, 1)
        self.assertEqual(relay.run_ctl("brake", "release").returncode, 2)


class Logins(Case):
    """Two logins from one address: each is counted for itself, and may do its own."""

    def test_a_login_has_its_own_brake_and_policy(self):
        relay = self.relay(trusted_networks=[], auth={"delay": "0s"}, clients=(
            {"name": "shop", "login": "shop", "domains": ["example.jp"], "messages_per_hour": 1},),
            brake={"login_messages_per_hour": 100})
        relay.change(users=f"{relay.folder}/users", listen=(
            {"address": "127.0.0.1", "port": relay.port, "auth": True},),
            domains=({"name": "example.jp"}, {"name": "other.jp"}))
        relay.write_conf()
        secrets = {}
        for user in ("shop", "web1"):
            done = subprocess.run([relay.program("relayctl"), "-f", relay.conf, "user", "add", user,
                                   "--generate"], capture_output=True, text=True, check=True)
            secrets[user] = re.search(r"\S+\s*$", done.stdout).group().strip()
        relay.start()
        for user, sender, code in (("shop", "a@example.jp", 250), ("shop", "a@example.jp", 250),
                                   ("shop", "a@other.jp", 550), ("web1", "a@other.jp", 250)):
            with relay.smtp() as client:
                client.login(user, secrets[user])
                client.mail(sender)
                client.rcpt("user@dest.test")
                text = TEXT.replace(b"a@example.jp", sender.encode())
                self.assertEqual(client.data(text)[0], code, (user, sender))
        self.receiver.wait(2)
        wait_until(lambda: len(relay.ctl("queue", "list")) == 1, what="only the held one left")
        row, = relay.ctl("queue", "list", "--who", "login:shop")
        self.assertIn("login:shop has sent more", row["last"])
        senders = {r["who"]: (r["held"], r["hour"]) for r in relay.ctl("brake")}
        self.assertEqual(senders, {"login:shop": ("rate", "2/1"), "login:web1": ("", "1/100"),
                                   "client:127.0.0.1": ("", "3")})


if __name__ == "__main__":
    unittest.main()
