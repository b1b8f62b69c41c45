"""Behind a balancer: whose connection it is, says its PROXY header, and only its."""
import socket
import ssl
import struct
import unittest

from harness import RawClient
from harness.case import TEXT, Case

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def version2(command, family, addresses):
    return V2 + bytes([0x20 | command, family]) + struct.pack("!H", len(addresses)) + addresses


def four(client):
    return (socket.inet_aton(client) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 4000, 25))


def six(client):
    return (socket.inet_pton(socket.AF_INET6, client) + socket.inet_pton(socket.AF_INET6, "::1") +
            struct.pack("!HH", 4000, 25))


class Proxy(Case):
    def start(self, balancers=("127.0.0.1/32",), trusted=("10.1.0.0/16", "2001:db8::/32"), **settings):
        relay = self.relay(trusted_networks=list(trusted), **settings)
        relay.change(listen=({"address": "127.0.0.1", "port": relay.port,
                              "proxy": list(balancers)},))
        return relay.start()

    def client(self, relay, header, apart=False):
        client = RawClient(relay, greet=False)
        self.addCleanup(client.close)
        client.send(header, apart)
        return client

    def rcpt(self, relay, header, apart=False):
        """What RCPT is answered to whom the header names."""
        client = self.client(relay, header, apart)
        client.expect(220)
        client.ask(b"EHLO client.example.jp", 250)
        client.ask(b"MAIL FROM:<a@example.jp>", 250)
        return client.ask(b"RCPT TO:<user@dest.test>")

    def test_the_header_says_who_may_relay(self):
        relay = self.start()
        for apart in (False, True):
            for header, code in ((b"PROXY TCP4 10.1.2.3 127.0.0.1 4000 25\r\n", 250),
                                 (b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 25\r\n", 554),
                                 (b"PROXY TCP4 127.0.0.1 127.0.0.1 4000 25\r\n", 554),
                                 (b"PROXY TCP6 2001:db8::7 ::1 4000 25\r\n", 250),
                                 (b"PROXY TCP6 ::ffff:10.1.2.3 ::1 4000 25\r\n", 250),
                                 (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 4000 25\r\n", 554),
                                 (b"PROXY UNKNOWN\r\n", 554),
                                 (version2(1, 0x11, four("10.1.2.3")), 250),
                                 (version2(1, 0x11, four("192.0.2.1")), 554),
                                 (version2(1, 0x21, six("2001:db8::7")), 250),
                                 (version2(1, 0x21, six("2001:db9::7")), 554),
                                 (version2(0, 0, b""), 554)):
                with self.subTest(header, apart=apart):
                    got, text = self.rcpt(relay, header, apart)
                    self.assertEqual(got, code)
                    if b"192.0.2.1 " in header:
                        self.assertIn("denied: 192.0.2.1 is not in trusted_networks", text)

    def test_who_is_not_named_is_not_the_balancer(self):
        """A balancer on this machine, as trusted as it may be: nobody relays in its name."""
        relay = self.start(trusted=("127.0.0.0/8", "::1"))
        for header in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ::1 ::1 1 2\r\n", version2(0, 0, b""),
                       version2(0, 0x11, four("127.0.0.1")), version2(1, 0, b"")):
            with self.subTest(header):
                code, text = self.rcpt(relay, header)
                self.assertEqual(code, 554)
                self.assertIn("the PROXY header of 127.0.0.1 names no client", text)
        self.assertEqual(self.rcpt(relay, b"PROXY TCP4 127.0.0.1 127.0.0.1 4000 25\r\n")[0], 250)

    def test_the_client_is_in_log_and_trace(self):
        relay = self.start()
        client = self.client(relay, b"PROXY TCP4 10.1.2.3 127.0.0.1 4000 25\r\nEHLO c.test\r\n")
        client.expect(220)
        client.expect(250)
        client.envelope()
        client.ask(b"DATA", 354)
        client.send(TEXT + b".\r\n")
        client.expect(250)
        self.assertIn("Received: from c.test ([10.1.2.3])", self.receiver.wait(1)[0].header)
        relay.wait_log(r"accept .*client=10\.1\.2\.3")

    def test_tls_follows_the_header_at_once(self):
        pem, key, _ = self.certificate("relay.example.jp")
        relay = self.relay(trusted_networks=["10.1.0.0/16"], tls={"certificate": pem, "key": key})
        relay.change(listen=({"address": "127.0.0.1", "port": relay.port, "tls": "implicit",
                              "proxy": ["127.0.0.1"]},))
        relay.start()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        client = self.client(relay, version2(1, 0x11, four("10.1.2.3")) + outgoing.read())
        while True:
            try:
                tls.do_handshake()
                banner = tls.read(100)
                break
            except ssl.SSLWantReadError:
                client.send(outgoing.read())
                incoming.write(client.sock.recv(65536))
        self.assertTrue(banner.startswith(b"220 "))

    def test_what_is_no_header_is_not_spoken_to(self):
        relay = self.start()
        for octets in (b"EHLO client.example.jp\r\n", b"PROXY TCP4 10.1.2.3\r\n", b"PROXY " + b"x" * 500,
                       b"PROXY TCP4 10.1.2.3 127.0.0.1 4000 25\n", V2 + b"\x31\x11\0\x0c" + four("10.1.2.3"),
                       b"\x16\x03\x01\x02\0\x01", b"PROXY TCP4 10.1.2.3 127.0.0.1 4000 99999\r\n"):
            with self.subTest(octets):
                self.assertEqual(self.client(relay, octets).replies(), [])
        relay.wait_log("127.0.0.1: what it says is no PROXY header; expected a PROXY header", 7)
        self.assertEqual(self.rcpt(relay, b"PROXY TCP4 10.1.2.3 127.0.0.1 4000 25\r\n")[0], 250)

    def test_only_balancers_are_spoken_to(self):
        relay = self.start(balancers=("192.0.2.0/24",))
        client = self.client(relay, b"PROXY TCP4 10.1.2.3 127.0.0.1 4000 25\r\n")
        (code, text), = client.replies()
        self.assertEqual(code, 554)
        self.assertIn("listen.proxy", text)

    def test_without_the_setting_a_header_is_an_unknown_command(self):
        relay = self.relay(trusted_networks=["10.1.0.0/16"]).start()
        client = self.client(relay, b"PROXY TCP4 10.1.2.3 127.0.0.1 4000 25\r\nEHLO c.test\r\n")
        client.expect(220)
        client.expect(500)
        client.expect(250)
        client.ask(b"MAIL FROM:<a@example.jp>", 250)
        client.ask(b"RCPT TO:<user@dest.test>", 554)

    def test_limits_count_the_client(self):
        relay = self.start(limits={"connections_per_client": 2})
        header = b"PROXY TCP4 10.1.2.%d 127.0.0.1 4000 25\r\n"
        held = [self.client(relay, header % 3) for _ in range(2)]
        for client in held:
            client.expect(220)
        (code, _), = self.client(relay, header % 3).replies()
        self.assertEqual(code, 421)
        self.client(relay, header % 4).expect(220)

    def test_headers_that_never_end_hold_no_place(self):
        relay = self.start(limits={"connections": 3})
        silent = [self.client(relay, b"PROXY ") for _ in range(3)]
        (code, _), = self.client(relay, b"PROXY TCP4 10.1.2.3 127.0.0.1 4000 25\r\n").replies()
        self.assertEqual(code, 421)
        for client in silent:
            self.assertEqual(client.replies(), [])  # cut after its five seconds
        relay.wait_log("no header came in time", 3)
        self.assertEqual(self.rcpt(relay, b"PROXY TCP4 10.1.2.3 127.0.0.1 4000 25\r\n")[0], 250)


class Rates(Case):
    def test_messages_per_minute(self):
        relay = self.relay(limits={"messages_per_minute": 3}).start()
        with RawClient(relay) as client:
            for _ in range(3):
                client.ask(b"MAIL FROM:<a@example.jp>", 250)
                client.ask(b"RSET", 250)
            code, text = client.ask(b"MAIL FROM:<a@example.jp>")
            self.assertEqual(code, 450)
            self.assertIn("limits.messages_per_minute", text)
        relay.change(limits={"messages_per_minute": 0})
        relay.write_conf()
        relay.ctl("reload")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)

    def test_connections_per_minute(self):
        relay = self.relay(limits={"connections_per_minute": 3}).start()
        for _ in range(3):
            with RawClient(relay) as client:
                client.ask(b"QUIT", 221)
        with RawClient(relay, greet=False) as client:
            (code, text), = client.replies()
        self.assertEqual(code, 421)
        self.assertIn("within a minute", text)


if __name__ == "__main__":
    unittest.main()
