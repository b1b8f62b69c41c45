"""By which way a message leaves: sources, smarthosts with login, connections kept open."""
import os
import unittest

from harness import DROP, Behaviour, wait_until
from harness.case import TEXT, Case

PASSWORD = "geheim \u65e5\u672c"


class Sources(Case):
    SOURCES = ({"name": "one", "ipv4": "127.0.0.21", "hostname": "one.example.jp"},
               {"name": "two", "ipv4": "127.0.0.22", "ipv6": "::1", "hostname": "two.example.jp"},
               {"name": "six", "ipv6": "::1", "hostname": "six.example.jp"})

    def test_each_has_its_address_and_name(self):
        self.names.mail_host("other.test", "mx.dest.test")
        relay = self.relay(sources=self.SOURCES, routes=(
            {"match": "other.test", "via": ["two"]},
            {"match": "*", "sender": "second.jp", "via": ["two"]},
            {"match": "*", "via": ["one"]}),
            domains=({"name": "example.jp"}, {"name": "second.jp"})).start()
        relay.send("a@example.jp", ["user@dest.test"], TEXT)
        relay.send("a@example.jp", ["user@other.test"], TEXT)
        relay.send("a@second.jp", ["third@dest.test"], TEXT.replace(b"a@example.jp", b"a@second.jp"))
        self.receiver.wait(3)
        self.gone(relay)
        ways = {m.recipients[0]: (m.peer, m.helo) for m in self.receiver.messages}
        self.assertEqual(ways, {"user@dest.test": ("127.0.0.21", "one.example.jp"),
                                "user@other.test": ("127.0.0.22", "two.example.jp"),
                                "third@dest.test": ("127.0.0.22", "two.example.jp")})

    def test_recipients_of_one_message_part(self):
        self.names.mail_host("other.test", "mx.dest.test")
        relay = self.relay(sources=self.SOURCES, routes=(
            {"match": "other.test", "via": ["two"]}, {"match": "*", "via": ["one"]})).start()
        relay.send("a@example.jp", ["user@dest.test", "user@other.test"], TEXT)
        messages = self.receiver.wait(2)
        self.gone(relay)
        self.assertEqual(sorted((m.recipients[0], m.peer) for m in messages),
                         [("user@dest.test", "127.0.0.21"), ("user@other.test", "127.0.0.22")])

    def test_the_family_that_a_source_lacks(self):
        six = self.another_receiver("::1", None, self.receiver.port)
        self.names.mail_host("both.test", "mx.both.test", "127.0.0.1", "::1")
        self.names.mail_host("only6.test", "mx.only6.test", "::1")
        relay = self.relay(sources=self.SOURCES[:1], queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", ["user@both.test"], TEXT)
        self.receiver.wait(1)
        relay.send("a@example.jp", ["user@only6.test"], TEXT)
        self.assertIn("family", self.waiting(relay)["last"])
        self.assertEqual(six.connections, 0)

    def test_the_family_that_a_host_lacks(self):
        relay = self.relay(sources=self.SOURCES[2:], queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", ["user@dest.test"], TEXT)
        self.assertIn("family", self.waiting(relay)["last"])
        self.assertEqual(self.receiver.connections, 0)

    def test_an_address_that_is_not_here(self):
        """A source whose address this machine lacks is our trouble: the mail waits."""
        relay = self.relay(sources=({"name": "away", "ipv4": "192.0.2.77"},),
                           queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.assertIn("192.0.2.77", self.waiting(relay)["last"])
        self.assertEqual(self.receiver.connections, 0)
        incident, = relay.ctl("incidents")
        self.assertEqual((incident["state"], incident["source"]), ("open", "source:away"))
        relay.change(sources=({"name": "away", "ipv4": "127.0.0.1"},))
        relay.write_conf()
        relay.ctl("reload")
        relay.wait_log("reload: .* is in force")
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(1)
        wait_until(lambda: relay.ctl("incidents")[0]["state"] == "closed", what="the incident's end")

    def test_the_next_way_after_an_address_that_is_not_here(self):
        relay = self.relay(sources=({"name": "away", "ipv4": "192.0.2.77"}, {"name": "here", "ipv4": "127.0.0.1"}),
                           routes=({"match": "*", "via": ["away", "here"]},), queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", ["user@dest.test", "other@dest.test"], TEXT)
        message, = self.receiver.wait(1)
        self.gone(relay)
        self.assertEqual(message.recipients, ["user@dest.test", "other@dest.test"])

    def test_another_server_at_an_address_of_ours(self):
        """We send by that address, and it is another program that takes mail there."""
        relay = self.relay(sources=({"name": "one", "ipv4": "127.0.0.1"},)).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        self.gone(relay)

    def test_a_refusal_before_a_recipient_is_about_us(self):
        """Whatever the words: nobody but the sender is named yet. The next source may go."""
        self.receiver.behaviour = Behaviour(mail=lambda number, _: "550 5.7.0 Local Policy Violation"
                                            if self.receiver.peers[number] == "127.0.0.21" else None)
        relay = self.relay(sources=self.SOURCES[:2], routes=({"match": "*", "via": ["one", "two"]},)).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        message, = self.receiver.wait(1)
        self.assertEqual(message.peer, "127.0.0.22")
        self.gone(relay)
        incident, = relay.ctl("incidents")
        self.assertEqual((incident["source"], incident["class"]), ("one", "policy"))

    def test_nothing_fits(self):
        """A slip in routes costs time and no mail; it is warned of before."""
        relay = self.relay(routes=({"match": "example.jp", "via": ["default"]},),
                           queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        row = self.waiting(relay)
        self.assertIn("no entry of routes in the configuration fits", row["last"])
        self.assertIn('match = "*"', relay.ctl("why", row["id"])[0]["do"])
        relay.change(routes=({"match": "*", "sender": "no.test", "via": ["default"]},))
        relay.write_conf()
        self.assertIn("none of them is for all mail", relay.ctl("reload")[0]["warning"])
        self.assertEqual(len(relay.wait_log("routes: none of them is for all mail", count=2)), 2)
        relay.change(routes=(*relay.settings["routes"], {"match": "*", "via": ["default"]}))
        relay.write_conf()
        self.assertEqual(relay.ctl("reload"), [])
        self.assertEqual(len(relay.log("routes: none of them is for all mail")), 2)
        relay.ctl("queue", "retry", "--all")
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, ["user@dest.test"])
        self.gone(relay)
        self.assertEqual(relay.log("event=discard| discard |result=failed"), [])

    def test_what_has_no_route_stops_nobody_else(self):
        relay = self.relay(routes=({"match": "*", "sender": "second.jp", "via": ["default"]},),
                           domains=({"name": "example.jp"}, {"name": "second.jp"}),
                           queue={"backoff": ["1h"]}).start()
        for _ in range(12):
            relay.send("a@example.jp", "user@dest.test", TEXT)
        relay.wait_log("result=deferred", count=12)
        relay.send("a@second.jp", "user@dest.test", TEXT.replace(b"a@example.jp", b"a@second.jp"))
        message, = self.receiver.wait(1)
        self.assertEqual(message.sender, "a@second.jp")

    def test_a_report_where_routes_go_by_sender(self):
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.1")
        self.receiver.behaviour = Behaviour(
            rcpt=lambda _, to: "550 5.1.1 no such user" if to.endswith("dest.test") else None)
        relay = self.relay(routes=({"match": "*", "sender": "example.jp", "via": ["default"]},)).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        report, = self.receiver.wait(1)
        self.assertEqual((report.sender, report.recipients), ("", ["a@example.jp"]))
        self.assertIn(b"no such user", report.body)
        self.gone(relay)

    def test_domains_in_any_letters(self):
        """A route for a domain is for its name in DNS as well."""
        idn = "\u4f8b\u3048.jp"
        self.names.mail_host("xn--r8jz45g.jp", "mx.dest.test")
        relay = self.relay(sources=self.SOURCES, routes=(
            {"match": idn, "via": ["two"]}, {"match": "*", "via": ["one"]})).start()
        to = [f"n@{idn}", "m@xn--r8jz45g.jp", "user@dest.test"]
        relay.send("a@example.jp", to, TEXT, mail_options=["SMTPUTF8"])
        self.gone(relay)
        ways = {r: m.peer for m in self.receiver.messages for r in m.recipients}
        self.assertEqual(ways, dict(zip(to, ["127.0.0.22", "127.0.0.22", "127.0.0.21"])))


class Smarthosts(Case):
    def password_file(self, text=PASSWORD):
        path = os.path.join(self.folder(), "password")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(text + "\n")
        return path

    def by_smarthost(self, env=None, **smarthost):
        self.names.add("smart.test", "A", "127.0.0.1")
        smarthost = {"name": "smart", "host": "smart.test", "port": self.receiver.port, **smarthost}
        relay = self.relay(delivery={"port": 1, "allow_private": False}, queue={"backoff": ["1h"]},
                           smarthosts=(smarthost,), routes=({"match": "*", "via": ["smart"]},), env=env)
        return relay.start()

    def login(self, **more):
        return {"user": "relay@example.jp", "password_file": self.password_file(), **more}

    def offer(self, extensions, **stages):
        self.receiver.behaviour = Behaviour(extensions=extensions, **stages,
                                            tls=self.certificate("smart.test")[2])

    def test_plain(self):
        self.offer(["AUTH PLAIN LOGIN", "PIPELINING"])
        relay = self.by_smarthost(**self.login(tls="encrypt"))
        relay.send("a@example.jp", ["user@a.test", "user@b.test"], TEXT)
        message, = self.receiver.wait(1)  # both in one: the smarthost is the destination
        self.assertEqual(message.recipients, ["user@a.test", "user@b.test"])
        self.assertEqual(message.login, ("PLAIN", "relay@example.jp", PASSWORD))

    def test_login(self):
        self.offer(["AUTH LOGIN CRAM-MD5"])
        relay = self.by_smarthost(**self.login(tls="encrypt"))
        relay.send("a@example.jp", "user@a.test", TEXT)
        message, = self.receiver.wait(1)
        self.assertEqual(message.login, ("LOGIN", "relay@example.jp", PASSWORD))

    def test_old_way_of_offering(self):
        self.offer(["AUTH=LOGIN PLAIN"])
        relay = self.by_smarthost(**self.login(tls="encrypt"))
        relay.send("a@example.jp", "user@a.test", TEXT)
        message, = self.receiver.wait(1)
        self.assertEqual(message.login, ("PLAIN", "relay@example.jp", PASSWORD))

    def test_verified(self):
        pem, _, context = self.certificate("smart.test")
        self.receiver.behaviour = Behaviour(extensions=["AUTH PLAIN"], tls=context)
        relay = self.by_smarthost(env={"SSL_CERT_FILE": pem}, **self.login())
        relay.send("a@example.jp", "user@a.test", TEXT)
        message, = self.receiver.wait(1)
        self.assertTrue(message.tls)
        self.assertEqual(message.login[0], "PLAIN")

    def test_implicit(self):
        pem, _, context = self.certificate("smart.test")
        self.receiver.behaviour = Behaviour(extensions=["AUTH LOGIN"], tls=context, tls_now=True)
        relay = self.by_smarthost(env={"SSL_CERT_FILE": pem}, **self.login(tls="implicit"))
        relay.send("a@example.jp", "user@a.test", TEXT)
        message, = self.receiver.wait(1)
        self.assertTrue(message.tls)
        self.assertEqual(message.login[0], "LOGIN")

    def test_no_other_way_after_a_hidden_answer(self):
        """The message may have been taken; that a better host was dead makes no silence of it."""
        self.names.add("dest.test", "MX", "5 dead.dest.test.", "10 mx.dest.test.")
        self.names.add("dead.dest.test", "A", "127.0.0.9")
        self.receiver.behaviour = Behaviour(end=DROP)
        smart = self.another_receiver()
        relay = self.relay(queue={"backoff": ["1h"]}, routes=({"match": "*", "via": ["default", "smart"]},),
                           smarthosts=({"name": "smart", "host": "127.0.0.1", "port": smart.port},)).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.assertIn("may have taken", self.waiting(relay)["last"])
        self.assertEqual(smart.connections, 0)

    # ---- the routes change while mail waits ----

    def changed_routes(self, routes, apply, **delivery):
        """Mail that waits for a smarthost; then other routes."""
        self.receiver.behaviour = Behaviour(banner="421 4.3.0 not now")
        relay = self.by_smarthost()
        relay.send("a@example.jp", ["user@dest.test", "user@other.test"], TEXT)
        self.waiting(relay)
        self.names.mail_host("other.test", "mx.dest.test")
        self.receiver.behaviour = Behaviour()
        relay.change(routes=routes, delivery={"port": self.receiver.port, "allow_private": True})
        apply(relay)
        relay.ctl("queue", "retry", "--all")
        messages = self.receiver.wait(2)
        self.gone(relay)
        self.assertEqual(sorted(m.recipients for m in messages), [["user@dest.test"], ["user@other.test"]])
        self.assertEqual(relay.log("smarthost:.*no such domain"), [])
        return relay

    def reload(self, relay):
        relay.write_conf()
        # libcurl, for MTA-STS, comes with a start only
        self.assertEqual([row for row in relay.ctl("reload") if "MTA-STS" not in row["warning"]], [])

    def restart(self, relay):
        relay.stop()
        relay.start()

    def test_direct_after_a_reload(self):
        relay = self.changed_routes(({"match": "*", "via": ["default"]},), self.reload)
        self.assertEqual(len(relay.log("the routes have changed")), 1)

    def test_direct_after_a_restart(self):
        self.changed_routes(({"match": "*", "via": ["default"]},), self.restart)

    def test_no_smarthost_any_more(self):
        def without(relay):
            relay.change(smarthosts=())
            self.reload(relay)
        self.changed_routes(({"match": "*", "via": ["default"]},), without)

    def test_by_a_smarthost_after_a_reload(self):
        self.names.add("smart.test", "A", "127.0.0.1")
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.waiting(relay)
        smart = self.another_receiver("127.0.0.1")
        relay.change(smarthosts=({"name": "smart", "host": "smart.test", "port": smart.port},),
                     routes=({"match": "*", "via": ["smart"]},))
        self.reload(relay)
        relay.ctl("queue", "retry", "--all")
        smart.wait(1)
        self.gone(relay)

    def check_kept(self, relay, pattern):
        relay.send("a@example.jp", "user@a.test", TEXT)
        self.assertRegex(self.waiting(relay)["last"], pattern)
        self.assertEqual(self.receiver.messages, [])
        self.assertEqual([c for c in self.receiver.commands if c.startswith("AUTH")], [])

    def test_wrong_name(self):
        pem, _, context = self.certificate("other.test")
        self.receiver.behaviour = Behaviour(extensions=["AUTH PLAIN"], tls=context)
        self.check_kept(self.by_smarthost(env={"SSL_CERT_FILE": pem}, **self.login()), "TLS")

    def test_unknown_signer(self):
        self.receiver.behaviour = Behaviour(extensions=["AUTH PLAIN"],
                                            tls=self.certificate("smart.test")[2])
        self.check_kept(self.by_smarthost(**self.login()), "TLS")

    def test_expired(self):
        pem, _, context = self.certificate("smart.test", expired=True)
        self.receiver.behaviour = Behaviour(extensions=["AUTH PLAIN"], tls=context)
        self.check_kept(self.by_smarthost(env={"SSL_CERT_FILE": pem}, **self.login()), "TLS")

    def test_stripped(self):
        """STARTTLS vanished from the offers: the password stays here, and so does the mail."""
        for tls in ("verify", "encrypt"):
            self.receiver.behaviour = Behaviour(extensions=["AUTH PLAIN"])
            relay = self.by_smarthost(**self.login(tls=tls))
            self.check_kept(relay, "STARTTLS")
            relay.stop()

    def test_broken_handshake(self):
        self.receiver.behaviour = Behaviour(extensions=["AUTH PLAIN", "STARTTLS"])
        self.check_kept(self.by_smarthost(**self.login(tls="encrypt")), "TLS")

    def test_wrong_password(self):
        self.offer(["AUTH PLAIN"], auth="535 5.7.8 no")
        relay = self.by_smarthost(**self.login(tls="encrypt"))
        relay.send("a@example.jp", "user@a.test", TEXT)
        row = self.waiting(relay)
        self.assertIn("535", row["last"])
        row, = relay.ctl("why", row["id"])
        self.assertEqual(row["means"], "The smarthost smart did not let this server log in.")
        self.assertIn("Check user and password_file of smarthost smart", row["do"])
        self.assertFalse([l for l in relay.lines if "geheim" in l or "Z2VoZWlt" in l])

    def test_nobody_listens(self):
        """Our own smarthost is to be mended here, and no receiving side to be waited for."""
        relay = self.by_smarthost()
        self.receiver.close()
        relay.send("a@example.jp", "user@a.test", TEXT)
        row, = relay.ctl("why", self.waiting(relay)["id"])
        self.assertEqual(row["means"], "The smarthost smart could not be reached.")
        self.assertIn("Check host and port of smarthost smart in the configuration", row["do"])

    # ---- what it has against our account ----

    def two_smarthosts(self, **settings):
        """The one that our own receiver plays, and a spare one."""
        self.names.add("smart.test", "A", "127.0.0.1")
        spare = self.another_receiver()
        relay = self.relay(queue={"backoff": ["1h"]}, **settings, smarthosts=(
            {"name": "smart", "host": "smart.test", "port": self.receiver.port, **self.login(tls="encrypt")},
            {"name": "spare", "host": "127.0.0.1", "port": spare.port}),
            routes=({"match": "*", "via": ["smart", "spare"]},))
        return relay.start(), spare

    def test_one_that_does_not_know_us_is_left(self):
        for stage, answer in (("rcpt", "550 5.7.1 Relaying denied"), ("mail", "530 5.7.0 Authentication required"),
                              ("auth", "535 5.7.139 Authentication unsuccessful, user is locked by your "
                                       "organization's security defaults policy")):
            with self.subTest(stage):
                self.offer(["AUTH PLAIN"], **{stage: answer})
                relay, spare = self.two_smarthosts()
                relay.send("a@example.jp", ["user@a.test", "user@b.test"], TEXT)
                message, = spare.wait(1)
                self.assertEqual(message.recipients, ["user@a.test", "user@b.test"])
                self.gone(relay)
                self.assertEqual(len(relay.log("result=deferred .*smarthost=smart .*scope=us")), 2)
                self.assertEqual(relay.log("result=failed"), [])
                incident, = relay.ctl("incidents")
                self.assertEqual((incident["provider"], incident["rerouted"]), ("smarthost:smart", 1))
                facts = {r["what"]: r["value"] for r in relay.ctl("incidents", "show", str(incident["number"]))}
                self.assertIn("our account", facts["help"])
                relay.stop()

    def test_without_another_one_mail_waits_for_the_account(self):
        """A reload tries it again: it may have been mended."""
        self.offer(["AUTH PLAIN"], rcpt="550 5.7.1 Relaying denied")
        relay = self.by_smarthost(**self.login(tls="encrypt"))
        for user in ("one", "two"):
            relay.send("a@example.jp", f"{user}@a.test", TEXT)
        relay.wait_log(" incident number=1 ")
        wait_until(lambda: all(r["next"] > 600 for r in relay.ctl("queue", "list")), what="both waiting")
        self.assertEqual(self.receiver.messages, [])
        self.assertTrue(any("our account" in row.get("help", "") for row in relay.ctl("why", "a.test")))
        self.offer(["AUTH PLAIN"])
        self.reload(relay)
        self.receiver.wait(1)
        wait_until(lambda: relay.ctl("incidents")[0]["state"] == "closed", what="its end")
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(2)
        self.gone(relay)

    def test_a_hold_by_hand_outlives_a_reload(self):
        relay = self.by_smarthost()
        relay.send("a@example.jp", "user@a.test", TEXT)
        self.receiver.wait(1)
        self.gone(relay)
        relay.ctl("reputation", "hold", "smarthost:smart")
        self.reload(relay)
        relay.send("a@example.jp", "user@a.test", TEXT)
        wait_until(lambda: [r["next"] > 600 for r in relay.ctl("queue", "list")] == [True], what="being put off")
        row, = relay.ctl("why", "a.test")
        self.assertIn("not tried: mail by the smarthost smart is held by the administrator", row["said"])
        self.assertIn("relayctl reputation open smarthost:smart ", relay.run_ctl("why", "a.test").stdout)
        self.assertEqual(len(self.receiver.messages), 1)

    def test_what_it_says_of_a_recipient_is_true(self):
        self.names.mail_host("example.jp", "mx.example.jp")
        self.offer(["AUTH PLAIN"], rcpt=lambda _, to: "550 5.1.1 no such user" if to == "nobody@a.test" else None)
        relay, spare = self.two_smarthosts()
        relay.send("a@example.jp", "nobody@a.test", TEXT)
        report, = self.receiver.wait(1)
        self.assertEqual(report.recipients, ["a@example.jp"])
        self.assertEqual((spare.messages, relay.ctl("incidents")), ([], []))

    def test_a_sender_that_it_refuses_holds_nobody_else(self):
        """As SES says it of an address that is not set up there, and as others do to MAIL."""
        self.names.mail_host("example.jp", "mx.example.jp")
        for stage, answer in (
                ("end", "554 Message rejected: Email address is not verified. The following identities failed "
                 "the check in region XX-EAST-1: a@example.jp"),
                ("mail", lambda _, said: "501 Invalid MAIL FROM address provided" if "a@" in said else None)):
            with self.subTest(stage):
                self.offer(["AUTH PLAIN"], **{stage: answer})
                relay, spare = self.two_smarthosts()
                relay.send("a@example.jp", "user@a.test", TEXT)
                relay.wait_log("result=failed .*smarthost=smart .*scope=domain")
                self.gone(relay)
                self.assertEqual((spare.messages, relay.ctl("incidents")), ([], []))
                relay.stop()

    def test_a_name_that_does_not_exist(self):
        """A slip in our configuration, and not the end of all mail."""
        relay = self.by_smarthost(host="smrat.test")
        relay.send("a@example.jp", "user@a.test", TEXT)
        row, = relay.ctl("why", self.waiting(relay)["id"])
        self.assertEqual(row["means"], "The smarthost smart could not be looked up in the DNS.")

    def test_a_name_that_can_not_be_had_is_left(self):
        """As a smarthost that nobody answers for is: its outage is not that of the next way."""
        self.names.servfail.add("broken.test")
        spare = self.another_receiver()
        for host in ("broken.test", "smrat.test"):
            with self.subTest(host):
                relay = self.relay(queue={"backoff": ["1h"]}, smarthosts=(
                    {"name": "smart", "host": host, "port": 587, "tls": "none"},
                    {"name": "spare", "host": "127.0.0.1", "port": spare.port, "tls": "none"}),
                    routes=({"match": "*", "via": ["smart", "spare"]},)).start()
                relay.send("a@example.jp", ["user@a.test", "user@b.test"], TEXT)
                message, = spare.wait(1)
                self.gone(relay)
                self.assertEqual(message.recipients, ["user@a.test", "user@b.test"])
                del spare.messages[:]
                relay.stop()

    def test_routes_that_begin_with_the_same_one(self):
        """Each message goes only by what its own route names."""
        spare = self.another_receiver()
        for order in (["user@a.test", "user@b.test"], ["user@b.test", "user@a.test"]):
            with self.subTest(order):
                relay = self.relay(queue={"backoff": ["1h"]}, smarthosts=(
                    {"name": "dead", "host": "127.0.0.66", "port": spare.port, "tls": "none"},
                    {"name": "spare", "host": "127.0.0.1", "port": spare.port, "tls": "none"}),
                    routes=({"match": "a.test", "via": ["dead"]},
                            {"match": "*", "via": ["dead", "spare"]})).start()
                relay.send("a@example.jp", order, TEXT)
                message, = spare.wait(1)
                self.assertEqual(message.recipients, ["user@b.test"])
                self.assertEqual(self.waiting(relay)["to"], ["user@a.test"])
                del spare.messages[:]
                relay.stop()

    def test_no_login_offered(self):
        self.offer([])
        self.check_kept(self.by_smarthost(**self.login(tls="encrypt")), "offers no AUTH")

    def test_numeric_host(self):
        relay = self.by_smarthost(host="127.0.0.1")
        relay.send("a@example.jp", "user@a.test", TEXT)
        self.receiver.wait(1)


class Reuse(Case):
    def one_by_one(self, count, **delivery):
        relay = self.relay(delivery={"reuse_idle": "30s", **delivery}, queue={"backoff": ["1h"]}).start()
        with relay.smtp() as client:
            for i in range(count):
                client.sendmail("a@example.jp", [f"user{i}@dest.test"], TEXT)
                relay.wait_log(f"to=user{i}@dest.test .*result=")
        return relay

    def test_a_connection_is_kept(self):
        self.one_by_one(6)
        self.assertEqual([m.connection for m in self.receiver.wait(6)], [1] * 6)

    def test_but_not_for_ever(self):
        self.one_by_one(6, reuse_messages=2)
        self.assertEqual([m.connection for m in self.receiver.wait(6)], [1, 1, 2, 2, 3, 3])

    def test_nor_for_all_parts_of_a_long_list(self):
        relay = self.relay(delivery={"reuse_idle": "30s", "reuse_messages": 2, "recipients": 1}).start()
        relay.send("a@example.jp", [f"user{i}@dest.test" for i in range(6)], TEXT)
        self.assertEqual([m.connection for m in self.receiver.wait(6)], [1, 1, 2, 2, 3, 3])

    def test_and_it_is_left_in_good_manners(self):
        self.one_by_one(1, reuse_idle="100ms")
        self.receiver.wait_for(lambda r: "QUIT" in r.commands)

    def test_kept_with_tls(self):
        self.receiver.behaviour = Behaviour(tls=self.certificate("mx.dest.test")[2])
        self.one_by_one(3)
        self.assertEqual([(m.connection, m.tls) for m in self.receiver.wait(3)], [(1, True)] * 3)

    def test_different_sources_do_not_share(self):
        self.names.mail_host("other.test", "mx.dest.test")
        relay = self.relay(delivery={"reuse_idle": "30s"}, sources=Sources.SOURCES, routes=(
            {"match": "other.test", "via": ["two"]}, {"match": "*", "via": ["one"]})).start()
        for count, domain in enumerate(("dest.test", "other.test") * 2, 1):
            relay.send("a@example.jp", f"user@{domain}", TEXT)
            relay.wait_log("result=delivered", count=count)
        messages = self.receiver.wait(4)
        self.assertEqual({(m.connection, m.peer) for m in messages},
                         {(1, messages[0].peer), (2, messages[1].peer)})

    def test_closed_behind_our_back(self):
        """A receiver that takes one message per connection and says nothing of it."""
        taken = set()

        def mail(number, argument):
            if number in taken:
                return DROP
            taken.add(number)

        self.receiver.behaviour = Behaviour(mail=mail)
        relay = self.one_by_one(4)
        self.assertEqual([m.connection for m in self.receiver.wait(4)], [1, 2, 3, 4])
        self.assertEqual(relay.log("result=deferred"), [])

    def test_421_to_the_second_message(self):
        """"Enough of this connection" is no word about the message: a new connection."""
        taken = set()

        def mail(number, argument):
            if number in taken:
                return "421 4.7.0 too many messages in one connection"
            taken.add(number)

        self.receiver.behaviour = Behaviour(mail=mail)
        relay = self.one_by_one(4)
        self.assertEqual([m.connection for m in self.receiver.wait(4)], [1, 2, 3, 4])
        self.assertEqual(relay.log("result=deferred"), [])

    def test_closed_after_each_message(self):
        self.receiver.behaviour = Behaviour(end=lambda n, a: "250 taken")
        relay = self.relay(delivery={"reuse_idle": "30s"}).start()
        for i in range(3):
            relay.send("a@example.jp", f"user{i}@dest.test", TEXT)
            relay.wait_log(f"to=user{i}@dest.test .*result=delivered")
            self.receiver.hang_up()
        self.assertEqual(len(self.receiver.wait(3)), 3)


if __name__ == "__main__":
    unittest.main()
