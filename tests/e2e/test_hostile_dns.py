"""DNS as others run it, and as somebody who means us harm would: what becomes of the
message, and that nobody else's mail suffers. test_hosts.py has the plain cases."""
import hashlib
import os
import ssl
import unittest

import dns.message
import dns.rcode
import dns.rrset
from harness import Behaviour, HostileServer, SignedServer, wait_until
from harness.case import TEXT, Case
from harness.hostile_dns import kind_of, with_more
from harness.relay import release_dir

PRIVATE = ("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
           "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1",
           "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "fe80::1", "fec0::1", "fc00::1",
           "fd12:3456::1", "ff02::1", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::1",
           "2002:7f00:1::1", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2001::1", "2001:db8::1", "100::1")


class HostileDns(Case):
    def setUp(self):
        super().setUp()
        self.names.close()
        self.names = HostileServer()
        self.addCleanup(self.names.close)
        self.names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")
        # where reports go
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.9")
        self.reports = self.another_receiver("127.0.0.9", None, self.receiver.port)

    def start(self, **settings):
        return self.relay(**{"queue": {"backoff": ["1h"]}, **settings}).start()

    def deliver(self, relay, domain):
        """A message to DOMAIN arrives."""
        relay.send("a@example.jp", f"user@{domain}", TEXT, mail_options=(
            () if domain.isascii() else ("SMTPUTF8",)))
        relay.wait_log(f"attempt .*to=\"?user@{domain}\"? .*result=delivered")

    def keep(self, relay, domain, reason):
        """A message to DOMAIN waits, and `relayctl` says why; one to another does not."""
        relay.send("a@example.jp", f"user@{domain}", TEXT)
        relay.wait_log(f"attempt .*to=user@{domain} .*result=deferred")
        wait_until(lambda: all(r["state"] == "waiting" for r in relay.ctl("queue", "list")), what="the end of it")
        rows = [r for r in relay.ctl("queue", "list") if f"user@{domain}" in str(r["to"])]
        self.assertRegex(rows[0]["last"], reason)

    def fail(self, relay, domain, status, reason):
        """A message to DOMAIN comes back with STATUS and REASON."""
        before = len(self.reports.messages)
        relay.send("a@example.jp", f"user@{domain}", TEXT)
        relay.wait_log(f"attempt .*to=user@{domain} .*result=failed .*status={status}")
        report = self.reports.wait(before + 1)[-1]
        self.assertIn(f"Status: {status}".encode(), report.body)
        self.assertRegex(b" ".join(report.body.split()).decode("utf-8", "replace"), reason)


class Sizes(HostileDns):
    def test_best_of_400_hosts(self):
        """The answer comes by TCP, and the only host that lives is the last one in it."""
        self.names.add("many.test", "MX", *(f"{i + 10} m{i}.many.test." for i in range(400)), "5 mx.dest.test.")
        relay = self.start()
        self.deliver(relay, "many.test")
        self.assertGreater(self.names.asked["tcp"], 0)

    def test_hosts_without_end_and_none_alive(self):
        self.names.add("dead.test", "MX", *(f"10 m{i}.dead.test." for i in range(2000)))
        self.names.below["dead.test"] = "nowhere.test"
        self.names.add("nowhere.test", "A", "127.0.0.88")
        relay = self.start()
        self.keep(relay, "dead.test", "connect|refused")
        self.deliver(relay, "dest.test")
        # one MX look-up; of 16 hosts two questions each, asked again at most
        self.assertLess(self.names.asked["udp"], 200)

    def test_addresses_without_end(self):
        self.names.add("crowd.test", "MX", "10 mx.crowd.test.")
        self.names.add("mx.crowd.test", "A", *(f"127.0.{i // 250}.{i % 250 + 1}" for i in range(3000)))
        relay = self.start()
        relay.send("a@example.jp", "user@crowd.test", TEXT)
        relay.wait_log("attempt .*to=user@crowd.test .*result=(deferred|delivered)")
        self.deliver(relay, "dest.test")

    def test_longest_names(self):
        """As many octets of domain as a path has room for (RFC 5321 section 4.5.3.1.3), and
        253 of host."""
        long = ".".join(["a" * 63] * 3 + ["b" * 50, "test"])
        host = ".".join(["c" * 63] * 3 + ["d" * 56, "test"])
        self.assertEqual((len(f"<user@{long}>"), len(host)), (254, 253))
        self.names.add(long, "MX", f"10 {host}.")
        self.names.add(host, "A", "127.0.0.1")
        self.deliver(self.start(), long)

    def test_memory(self):
        """A hundred domains, each with an answer as large as DNS has them."""
        relay = self.relay(queue={"backoff": ["1h"]})
        relay.program = lambda name: os.path.join(release_dir(), name)
        relay.start()
        self.deliver(relay, "dest.test")
        before = self.memory(relay)
        wire = {}

        def big(query, reply):
            """1500 records, made once: dnspython takes its time."""
            if kind_of(query) != "MX":
                return reply
            if not wire:
                bare = dns.message.make_response(query, recursion_available=True).to_wire()
                wire["rest"] = with_more(bare, "answer", query.question[0].name, "MX",
                                         *(f"{k} m{k}.big.test." for k in range(1500)))
            question = len(b"\6big000\4test\0\0\x0f\0\1")
            return (reply[:2] + wire["rest"][2:12] + query.to_wire()[12:12 + question] +
                    wire["rest"][12 + question:])
        for i in range(100):
            self.names.odd[f"big{i:03}.test"] = big
            relay.send("a@example.jp", f"user@big{i:03}.test", TEXT)
        relay.wait_log("attempt .*to=user@big.* status=5.1.2", 100, timeout=90)
        grown = self.memory(relay) - before
        print(f"     100 answers of 1500 MX records each: {grown >> 10} KiB", flush=True)
        self.assertLess(grown, 48 << 20)  # libunbound's caches are 12 MB

    def memory(self, relay):
        with open(f"/proc/{relay.process.pid}/status") as f:
            return int(next(l for l in f if l.startswith("VmHWM")).split()[1]) * 1024


class ManyRecords(Case):
    """TLSA records by the thousand, by TCP, validated. Not all are looked at, so one that
    would fit may be missed: then the mail waits, and never goes to a host unproven."""

    def setUp(self):
        super().setUp()
        self.names.close()
        self.names = SignedServer()
        self.addCleanup(self.names.close)
        self.names.udp_most = 1232
        self.names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")
        self.names.mail_host("good.test", "mx.good.test", "127.0.0.3")
        self.good = self.another_receiver("127.0.0.3", None, self.receiver.port)
        self.pem, _, context = self.certificate("mx.dest.test")
        self.receiver.behaviour = Behaviour(tls=context)

    def send(self, count, *more):
        """With COUNT records that do not fit, and MORE."""
        relay = self.relay(queue={"backoff": ["1h"]})
        relay.change(dns=self.names.settings(relay.folder))
        relay.start()
        relay.wait_log("answers are validated")
        self.names.add(f"_{self.receiver.port}._tcp.mx.dest.test", "TLSA",
                       *(f"3 1 1 {i:064x}" for i in range(count)), *more)
        relay.send("a@example.jp", "user@dest.test", TEXT)
        return relay

    def test_more_than_a_thousand(self):
        relay = self.send(1200)
        self.assertRegex(self.waiting(relay)["last"], "TLSA|certificate")
        self.assertEqual(self.receiver.messages, [])
        relay.send("a@example.jp", "user@good.test", TEXT)
        self.good.wait(1)

    def test_one_that_fits_among_many(self):
        with open(self.pem) as f:
            digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest()
        relay = self.send(60, f"3 0 1 {digest}")
        relay.wait_log("attempt .*result=delivered .*tls_level=dane")


class Addresses(HostileDns):
    def test_addresses_that_are_not_connected_to(self):
        """Each alone is refused, by MX, by A or AAAA at the domain, and through an alias;
        metadata services of clouds and this machine's own ones hear nothing."""
        relay = self.start(delivery={"allow_private": False, "port": self.receiver.port},
                           return_path={"default_domain": "example.jp"}, notify={})
        for i, address in enumerate(PRIVATE):
            kind = "AAAA" if ":" in address else "A"
            self.names.add(f"mx{i}.inside.test", kind, address)
            self.names.add(f"alias{i}.inside.test", "CNAME", f"mx{i}.inside.test.")
            self.names.add(f"d{i}.test", "MX", f"10 {'alias' if i % 3 == 0 else 'mx'}{i}.inside.test.")
            if i % 3 == 1:
                self.names.remove(f"d{i}.test")
                self.names.add(f"d{i}.test", kind, address)
            relay.send("a@example.jp", f"user@d{i}.test", TEXT)
        for i, address in enumerate(PRIVATE):
            with self.subTest(address):
                relay.wait_log(f"attempt .*to=user@d{i}.test .*result=failed .*status=5.4.4")
        self.assertEqual(self.receiver.connections + self.reports.connections, 0)

    def test_never_connected_to(self):
        """Not even where private addresses are allowed."""
        relay = self.start()
        for i, address in enumerate(("0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "::ffff:127.0.0.1", "ff02::1")):
            self.names.mail_host(f"never{i}.test", f"mx.never{i}.test", address)
            self.fail(relay, f"never{i}.test", "5.4.4", "not connected to")
        self.assertEqual(self.receiver.connections, 0)

    def test_localhost(self):
        self.names.add("lo.test", "MX", "10 localhost.")
        relay = self.relay(delivery={"allow_private": False}, notify={}).start()
        relay.send("a@example.jp", "user@lo.test", TEXT)
        relay.wait_log("attempt .*to=user@lo.test .*result=failed .*status=5.4.4")
        self.assertEqual(self.receiver.connections, 0)

    def test_alias_of_our_own_name(self):
        self.names.add("ring.test", "MX", "10 back.ring.test.", "20 mx.dest.test.")
        self.names.add("back.ring.test", "CNAME", "relay.example.jp.")
        self.names.add("relay.example.jp", "A", "127.0.0.1")
        relay = self.relay()
        relay.change(listen=(*relay.settings["listen"],  # at a port of others it is no loop
                             {"address": "127.0.0.77", "port": self.receiver.port}))
        relay.start()
        self.fail(relay, "ring.test", "5.4.6", "this relay itself")
        self.assertEqual(self.receiver.connections, 0)

    def test_number_as_a_host(self):
        """"MX 10 127.0.0.1." is a name like any other, and there is none of it."""
        self.names.add("number.test", "MX", "10 127.0.0.1.")
        self.names.add("better.test", "MX", "10 127.0.0.1.", "20 mx.dest.test.")
        relay = self.start()
        self.fail(relay, "number.test", "5.1.2", "no mail server with an address")
        self.deliver(relay, "better.test")


class Chains(HostileDns):
    def test_aliases_of_aliases(self):
        for i in range(8):
            self.names.add(f"c{i}.test", "CNAME", f"c{i + 1}.test.")
        self.names.add("c8.test", "MX", "10 h0.test.")
        for i in range(6):
            self.names.add(f"h{i}.test", "CNAME", f"h{i + 1}.test.")
        self.names.add("h6.test", "A", "127.0.0.1")
        self.deliver(self.start(), "c0.test")

    def test_circles(self):
        relay = self.start()
        self.names.add("one.ring.test", "CNAME", "two.ring.test.")
        self.names.add("two.ring.test", "CNAME", "one.ring.test.")
        self.names.add("self.test", "CNAME", "self.test.")
        self.names.add("host.test", "MX", "10 self.test.")
        for domain in ("one.ring.test", "self.test", "host.test"):
            self.keep(relay, domain, "could not be looked up")
        self.deliver(relay, "dest.test")

    def test_a_chain_without_end(self):
        def onward(query, reply):
            name = query.question[0].name
            bare = dns.message.make_response(query, recursion_available=True).to_wire()
            return with_more(bare, "answer", name, "CNAME", f"n{int(name.labels[0][1:] or 0) + 1}.endless.test.")
        self.names.odd["endless.test"] = onward
        relay = self.start()
        self.keep(relay, "n1.endless.test", "could not be looked up")
        self.assertLess(self.names.asked["udp"] + self.names.asked["tcp"], 300)
        self.deliver(relay, "dest.test")

    def test_alias_to_nothing(self):
        self.names.add("stale.test", "CNAME", "gone.test.")
        self.fail(self.start(), "stale.test", "5.1.2", "no such domain")

    def test_repeated_and_null_among_others(self):
        self.names.add("mixed.test", "MX", "0 .", "10 mx.dest.test.", "10 MX.dest.test.", "30 mx.dest.test.")
        self.deliver(self.start(), "mixed.test")


class Answers(HostileDns):
    """What comes back is wrong, late, or not for us."""

    def test_garbage(self):
        """Nothing of it is used; the right answer behind it is."""
        def wrong_id(query, reply):
            return bytes([reply[0] ^ 1]) + reply[1:]

        def other_name(query, reply):
            other = dns.message.make_query("other.test", kind_of(query))
            other.id = query.id
            return dns.message.make_response(other).to_wire()

        def loop(query, reply):
            """The answer's name is a pointer to itself."""
            if kind_of(query) != "MX":
                return reply
            head = query.to_wire()
            end = head.index(b"\0\x0f\0\1", 12) + 4
            return (reply[:4] + b"\0\1\0\1\0\0\0\0" + head[12:end] +
                    bytes([0xc0, end]) + reply[end + 2:])
        kinds = {
            "noise": lambda q, r: r[:2] + os.urandom(60),
            "empty": lambda q, r: b"",
            "short": lambda q, r: r[:11],
            "torn": lambda q, r: r[:-5],
            "question": lambda q, r: q.to_wire(),
            "id": wrong_id,
            "name": other_name,
            "counts": lambda q, r: r[:6] + b"\xff\xff\xff\xff\xff\xff" + r[12:],
            "loop": loop,
        }
        relay = self.start(dns={"timeout": "3s"})
        for kind, spoil in kinds.items():
            self.names.mail_host(f"{kind}.bad.test", "mx.dest.test")
            self.names.odd[f"{kind}.bad.test"] = spoil
            self.names.mail_host(f"{kind}.late.test", "mx.dest.test")
            self.names.odd[f"{kind}.late.test"] = (
                lambda q, r, spoil=spoil: [spoil(q, r), r] if kind_of(q) == "MX" else r)
            relay.send("a@example.jp", f"user@{kind}.bad.test", TEXT)
        for kind in kinds:
            relay.wait_log(f"attempt .*to=user@{kind}.bad.test .*result=deferred")
        self.deliver(relay, "dest.test")
        for kind in ("id", "empty"):  # no answer at all to what was asked
            self.deliver(relay, f"{kind}.late.test")

    def test_poison(self):
        """Records that nobody asked for, with an answer that is fine, move nobody's mail."""
        thief = self.another_receiver("127.0.0.66", None, self.receiver.port)

        def poison(query, reply):
            for name, kind, value in (("victim.test.", "MX", "1 thief.test."), ("mx.victim.test.", "A", "127.0.0.66"),
                                      ("thief.test.", "A", "127.0.0.66"), ("test.", "NS", "thief.test."),
                                      ("victim.test.", "CNAME", "thief.test.")):
                for section in ("answer", "authority", "additional"):
                    reply = with_more(reply, section, name, kind, value)
            return reply
        self.names.mail_host("evil.test", "mx.dest.test")
        self.names.odd["evil.test"] = poison
        self.names.mail_host("victim.test", "mx.victim.test", "127.0.0.1")
        relay = self.start()
        self.deliver(relay, "evil.test")
        self.deliver(relay, "victim.test")
        self.assertEqual(thief.connections, 0)

    def test_error_codes(self):
        """None of them is a statement about the domain."""
        relay = self.start(dns={"timeout": "3s"})
        codes = ("FORMERR", "SERVFAIL", "NOTIMP", "REFUSED", "YXDOMAIN", "NOTAUTH")
        for code in codes:
            def spoil(query, reply, code=code):
                message = dns.message.make_response(query, recursion_available=True)
                message.set_rcode(dns.rcode.from_text(code))
                return message.to_wire()
            self.names.odd[f"{code.lower()}.test"] = spoil
            # an address is there, but without the MX nobody may use it
            relay.send("a@example.jp", f"user@{code.lower()}.test", TEXT)
        for code in codes:
            relay.wait_log(f"attempt .*to=user@{code.lower()}.test .*result=deferred .*status=4.4.3")
        self.assertEqual(self.receiver.connections, 0)

    def test_no_edns(self):
        """Old servers say FORMERR to a question with EDNS; without it they answer."""
        def old(query, reply):
            if query.edns < 0:
                return reply
            message = dns.message.make_response(query)
            message.use_edns(False)
            message.set_rcode(dns.rcode.FORMERR)
            return message.to_wire()
        self.names.mail_host("old.test", "mx.old.test", "127.0.0.1")
        self.names.odd["old.test"] = old
        self.deliver(self.start(), "old.test")

    def test_no_tcp(self):
        """The answer does not fit, and nobody answers by TCP."""
        self.names.add("cut.test", "MX", *(f"10 m{i}.cut.test." for i in range(400)))
        self.names.tcp_answers = False
        relay = self.start(dns={"timeout": "3s"})
        self.keep(relay, "cut.test", "could not be looked up")
        self.deliver(relay, "dest.test")

    def test_one_type_only(self):
        """No answer, or a failure, for AAAA is no reason not to use the A record."""
        relay = self.start(dns={"timeout": "2s"})
        self.names.mail_host("half.test", "mx.half.test", "127.0.0.1")
        self.names.odd["mx.half.test"] = lambda q, r: None if kind_of(q) == "AAAA" else r
        self.deliver(relay, "half.test")

    def test_records_that_do_not_last(self):
        self.names.add("brief.test", "MX", "10 mx.brief.test.", ttl=0)
        self.names.add("mx.brief.test", "A", "127.0.0.1", ttl=0)
        relay = self.start()
        self.deliver(relay, "brief.test")
        self.names.remove("brief.test")
        self.names.add("brief.test", "MX", "0 .", ttl=0)
        self.fail(relay, "brief.test", "5.1.10", "takes no mail")

    def test_odd_names(self):
        """Underscores, digits, hyphens, a wildcard, other letters, any case."""
        relay = self.start()
        for domain in ("a_b.odd.test", "_x.odd.test", "1.odd.test", "a--b.odd.test", "3com.odd.test"):
            self.names.mail_host(domain, "my_mx.odd.test", "127.0.0.1")
        self.names.mail_host("wild.test", "mx.dest.test")
        self.names.below["wild.test"] = "wild.test"
        self.names.mail_host("xn--wgv71a119e.test", "mx.dest.test")
        for domain in ("a_b.odd.test", "_x.odd.test", "1.odd.test", "a--b.odd.test", "3com.odd.test", "x.y.wild.test",
                       "xn--wgv71a119e.test", "DEST.test"):
            with self.subTest(domain):
                before = len(self.receiver.messages)
                relay.send("a@example.jp", f"user@{domain}", TEXT)
                self.receiver.wait(before + 1)
        self.gone(relay)

    def test_hosts_that_are_no_names(self):
        """Records whose host can be none are left out; only such: wait, they may be mended."""
        self.names.add("odd.test", "MX", "5 a\\.b\\032c.dest.test.", "10 mx.dest.test.")
        self.names.add("worse.test", "MX", "5 a\\000b.dest.test.")
        relay = self.start()
        self.deliver(relay, "odd.test")
        self.keep(relay, "worse.test", "malformed")


class Weather(HostileDns):
    """Servers that are slow, down, or down for many: the others' mail flows."""

    def test_slow_answers(self):
        self.names.mail_host("slow.test", "mx.slow.test", "127.0.0.1")
        self.names.slow["slow.test"] = 1
        relay = self.start(dns={"timeout": "20s"})
        relay.send("a@example.jp", "user@slow.test", TEXT)
        for i in range(10):
            self.names.mail_host(f"quick{i}.test", "mx.dest.test")
            self.deliver(relay, f"quick{i}.test")
        relay.wait_log("attempt .*to=user@slow.test .*result=delivered")

    def test_down_then_up(self):
        """A failure is not remembered for long."""
        self.names.servfail.add("later.test")
        relay = self.start(queue={"backoff": ["1s"]})
        relay.send("a@example.jp", "user@later.test", TEXT)
        relay.wait_log("attempt .*to=user@later.test .*result=deferred")
        self.names.servfail.clear()
        self.names.mail_host("later.test", "mx.dest.test")
        relay.wait_log("attempt .*to=user@later.test .*result=delivered")

    def storm(self, spoil, **settings):
        """Hundreds of domains that can not be looked up, and one beside them."""
        self.names.odd["storm.test"] = spoil
        relay = self.start(**settings)
        with relay.smtp() as client:
            for i in range(300):
                client.sendmail("a@example.jp", [f"user@d{i}.storm.test"], TEXT)
            for i in range(10):
                self.names.mail_host(f"good{i}.test", f"mx.good{i}.test", "127.0.0.1")
                client.sendmail("a@example.jp", [f"user@good{i}.test"], TEXT)
        self.receiver.wait(10, timeout=60)
        relay.wait_log("attempt .*to=user@d.*result=deferred .*status=4.4.3", 300, timeout=60)
        self.assertEqual(self.receiver.connections, 10)
        self.assertEqual(len(relay.ctl("queue", "list")), 300)

    def test_storm_of_failures(self):
        def fail(query, reply):
            message = dns.message.make_response(query, recursion_available=True)
            message.set_rcode(dns.rcode.SERVFAIL)
            return message.to_wire()
        self.storm(fail)

    def test_storm_of_silence(self):
        self.storm(lambda query, reply: None, dns={"timeout": "3s"})

    def test_storm_of_silence_that_lasts(self):
        """Hundreds of questions are under way, and there is room for one more."""
        self.names.odd["storm.test"] = lambda query, reply: None
        relay = self.start(dns={"timeout": "5m"})
        for start in range(0, 700, 100):
            relay.send("a@example.jp", [f"user@d{i}.storm.test" for i in range(start, start + 100)], TEXT)
        wait_until(lambda: self.names.asked["udp"] >= 700, what="a question for each")
        self.deliver(relay, "dest.test")


if __name__ == "__main__":
    unittest.main()
