"""Crowds over TLS: idle connections, handshakes that never come or are given up, and a
client with a login among them. Figures are printed; asserted is memory, and in the full
run the times, too."""
import smtplib
import socket
import ssl
import statistics
import threading
import time
import unittest

from base import FULL, share, wait_until
from harness import free_port
from harness.case import TEXT
from test_crowds import Crowd, print_figure

KIB = 1024
USER, PASSWORD = "shop@example.jp", "right battery staple"


def anyone(newest=None):
    """A client that takes every certificate, up to the protocol NEWEST."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if newest:
        context.maximum_version = newest
    return context


def client_hello():
    """The first octets of a handshake, as a client would send them."""
    out = ssl.MemoryBIO()
    handshake = anyone().wrap_bio(ssl.MemoryBIO(), out, server_hostname="relay.example.jp")
    try:
        handshake.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


class TlsCrowd(Crowd):
    """`port` is TLS from the first octet, for who is trusted; `login` the same, for who
    logs in."""

    def start(self, kind="ec", **settings):
        pem, key, _ = self.certificate("relay.example.jp", kind=kind)
        relay = self.release(tls={"certificate": pem, "key": key}, **settings)
        self.port, self.login = free_port(), free_port()
        relay.change(users=f"{relay.folder}/users",
                     listen=({"address": "127.0.0.1", "port": relay.port},
                             {"address": "127.0.0.1", "port": self.port, "tls": "implicit"},
                             {"address": "127.0.0.1", "port": self.login, "tls": "implicit",
                              "auth": True}))
        relay.write_conf()
        done = relay.run_ctl("-f", relay.conf, "user", "add", USER, input=PASSWORD + "\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        relay.start()
        self.send_over_tls(5)  # what is made at the first use is made
        return relay

    def secure(self, sock, context, greeting=b"220 "):
        tls = context.wrap_socket(sock)
        self.socks.append(tls)
        self.assertTrue(tls.recv(200).startswith(greeting))
        return tls

    def logged_in(self):
        client = smtplib.SMTP_SSL("127.0.0.1", self.login, "client.example.jp", timeout=60,
                                  context=anyone())
        self.addCleanup(client.close)
        client.login(USER, PASSWORD)
        return client

    def send_over_tls(self, count):
        """Seconds of COUNT messages, each by a client that is new."""
        took = []
        for _ in range(count):
            begun = time.monotonic()
            with smtplib.SMTP_SSL("127.0.0.1", self.port, "client.example.jp", timeout=60,
                                  context=anyone()) as client:
                client.sendmail("a@example.jp", ["user@dest.test"], TEXT)
            took.append(time.monotonic() - begun)
        return took

    def each(self, relay, before, count):
        return (self.memory(relay) - before) / count


class Idle(TlsCrowd):
    def test_idle_tls_connections(self):
        """H4: under 30 KiB each, whatever the protocol, also when all come at once; and a
        client that is new is served."""
        count = share(10000, 600)
        relay = self.start()
        before = self.memory(relay)
        contexts = (anyone(), anyone(ssl.TLSVersion.TLSv1_2))
        at_once = self.crowd(self.port, count // 2)
        for i, sock in enumerate(at_once):
            self.secure(sock, contexts[i % 2])
        for i in range(count - count // 2):
            tls = self.secure(self.crowd(self.port, 1)[0], contexts[i % 2])
            tls.sendall(b"EHLO client.example.jp\r\n")
            self.assertTrue(tls.recv(2000).startswith(b"250-"))
        each = self.each(relay, before, count)
        took = sorted(self.send_over_tls(share(300, 20)))
        p99 = took[int(len(took) * 0.99) - 1]
        print_figure(f"{count} idle TLS connections: {each / KIB:.1f} KiB each; a new client's "
                     f"handshake and message p50 {statistics.median(took) * 1e3:.0f} ms, p99 "
                     f"{p99 * 1e3:.0f} ms")
        self.assertLess(each, 30 * KIB)
        if FULL:
            self.assertLess(p99, 1)

    def test_stalled_handshakes(self):
        """Who says nothing costs as little; who stops within his first words costs no more
        than OpenSSL's buffer besides."""
        count = share(2000, 300)
        hello = client_hello()
        relay = self.start()
        for what, octets, most in (("nothing said", b"", 20), ("half a hello", hello[:100], 60),
                                   ("a hello, and no more", hello, 80)):
            before = self.memory(relay)
            stalled = self.crowd(self.port, count)
            for sock in stalled:
                sock.sendall(octets)
            if octets == hello:
                for sock in stalled:
                    self.assertTrue(sock.recv(1))
            self.send_over_tls(3)  # behind them in the relay's loop
            each = self.each(relay, before, count)
            print_figure(f"{count} handshakes stalled ({what}): {each / KIB:.1f} KiB each")
            self.assertLess(each, most * KIB)


class Flood(TlsCrowd):
    """Handshakes begun and given up, again and again, from one address."""

    FLOODERS = 500

    def setUp(self):
        super().setUp()
        self.stopping = threading.Event()
        self.begun = 0

    def flood(self, hello):
        """FLOODERS at a time: each says hello, and hangs up when he is answered."""
        while not self.stopping.is_set():
            some = []
            for _ in range(self.FLOODERS):
                sock = socket.socket()
                sock.settimeout(30)
                sock.bind(("127.0.0.9", 0))
                some.append(sock)
                try:
                    sock.connect(("127.0.0.1", self.port))
                    sock.sendall(hello)
                    self.begun += 1
                except OSError:
                    pass  # turned away: one address may have so many
            for sock in some:
                try:
                    sock.recv(1)
                except OSError:
                    pass
                sock.close()

    def run_flood(self, relay, client, count):
        hello = client_hello()
        quiet = self.time_messages(client, count)
        flooder = threading.Thread(target=self.flood, args=(hello,), daemon=True)
        flooder.start()
        self.addCleanup(self.stopping.set)
        wait_until(lambda: self.begun > self.FLOODERS, what="a flood")
        before = len(self.receiver.messages)
        crowded = self.time_messages(client, count)
        fresh = self.logged_in()  # who has not been in before gets in, too
        fresh.sendmail("a@example.jp", ["user@dest.test"], TEXT)
        self.stopping.set()
        flooder.join(60)
        self.receiver.wait(before + count + 1)
        return quiet, crowded

    def time_messages(self, client, count):
        took = []
        for _ in range(count):
            begun = time.monotonic()
            client.sendmail("a@example.jp", ["user@dest.test"], TEXT)
            took.append(time.monotonic() - begun)
        return sorted(took)

    def report(self, what, quiet, crowded):
        print_figure(f"handshake flood, {what}: {self.begun} begun; a logged-in client's message "
                     f"p50 {statistics.median(crowded) * 1e3:.0f} ms, p99 "
                     f"{crowded[int(len(crowded) * 0.99) - 1] * 1e3:.0f} ms (quiet: p50 "
                     f"{statistics.median(quiet) * 1e3:.0f} ms)")

    def test_flood(self):
        """As many as the limits of one address let in by default, RSA (the costly kind)."""
        relay = self.start("rsa", limits={"connections_per_client": 100})
        client = self.logged_in()
        self.report("100 connections of an address",
                    *self.run_flood(relay, client, share(2000, 60)))
        self.receiver.messages.clear()
        self.gone(relay)

    def test_flood_without_a_limit(self):
        relay = self.start("rsa", limits={"connections_per_client": 15000})
        before = self.memory(relay)
        client = self.logged_in()
        self.report("500 connections at a time", *self.run_flood(relay, client, share(2000, 60)))
        wait_until(lambda: self.fact(relay, "connections_now") <= 2, what="only good clients left")
        grown = self.memory(relay) - before
        print_figure(f"what is left of it in memory: {grown / KIB:.0f} KiB")
        self.assertLess(grown, 60 * KIB * self.FLOODERS)

    def test_rate_of_connections(self):
        """limits.connections_per_minute turns a flood away before it costs a handshake."""
        relay = self.start("rsa", limits={"connections_per_minute": 100})
        client = self.logged_in()
        spent = self.cpu(relay)
        quiet, crowded = self.run_flood(relay, client, share(2000, 60))
        spent = self.cpu(relay) - spent
        self.report("100 connections a minute", quiet, crowded)
        print_figure(f"processor time of one attempt turned away: {spent / self.begun * 1e6:.0f} us "
                     "at most")


if __name__ == "__main__":
    unittest.main()
