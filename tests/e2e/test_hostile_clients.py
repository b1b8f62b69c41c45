"""Clients that stall, flood, never read or never end: the relay stays up for the others.

Deadlines are short here and awaited; that they hold is what is tested, not how fast
anything is.
"""
import resource
import socket
import struct
import threading
import unittest

from harness import RawClient, wait_until
from harness.case import TEXT, Case


class Stalling(Case):
    def served(self, relay):
        """A new client still gets its message through."""
        before = len(self.receiver.messages)
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(before + 1)

    def drip(self, client, octets, pause):
        """One octet each PAUSE seconds until the relay hangs up."""
        stop = threading.Event()

        def run():
            for i in range(10000):
                if stop.wait(pause):
                    return
                try:
                    client.sock.send(octets[i % len(octets)].to_bytes(1, "big"))
                except OSError:
                    return
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)
        self.addCleanup(stop.set)

    def test_a_command_without_end(self):
        relay = self.relay(limits={"command_timeout": "1s"}).start()
        with RawClient(relay) as client:
            self.drip(client, b"x", 0.05)
            self.assertEqual([code for code, _ in client.replies()], [421])
        self.served(relay)

    def test_nothing_said_at_all(self):
        relay = self.relay(limits={"command_timeout": "1s"}).start()
        with RawClient(relay, greet=False) as client:
            self.assertEqual([code for code, _ in client.replies()], [220, 421])

    def test_commands_for_ever(self):
        """Each one in time: the session as a whole has an end."""
        relay = self.relay(limits={"command_timeout": "1s", "session_total": "2s"}).start()
        with RawClient(relay) as client:
            self.drip(client, b"NOOP\r\n", 0.02)
            codes = [code for code, _ in client.replies()]
            self.assertEqual(codes[-1], 421)
            self.assertEqual(set(codes[:-1]), {250})

    def test_a_text_octet_by_octet(self):
        """An octet now and then is no progress."""
        relay = self.relay(limits={"data_timeout": "1s"}).start()
        with RawClient(relay) as client:
            client.envelope()
            client.ask(b"DATA", 354)
            self.drip(client, b"x", 0.05)
            self.assertEqual([code for code, _ in client.replies()], [421])
        self.served(relay)

    def test_a_text_without_end(self):
        """Fast enough at each moment, but never done."""
        relay = self.relay(limits={"data_timeout": "1s", "data_total": "2s"}).start()
        with RawClient(relay) as client:
            client.envelope()
            client.ask(b"DATA", 354)
            line = TEXT + b"x" * 2000 + b"\r\n"
            self.drip_lines(client, line)
            self.assertEqual([code for code, _ in client.replies()], [421])
        self.served(relay)

    def drip_lines(self, client, line):
        stop = threading.Event()

        def run():
            while not stop.wait(0.1):
                try:
                    client.sock.sendall(line)
                except OSError:
                    return
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)
        self.addCleanup(stop.set)

    def test_a_chunk_that_does_not_come(self):
        relay = self.relay(limits={"data_timeout": "1s"}).start()
        with RawClient(relay) as client:
            client.envelope()
            client.send(b"BDAT 1000000 LAST\r\n" + TEXT)
            self.assertEqual([code for code, _ in client.replies()], [421])
        self.gone(relay)
        self.assertEqual(self.receiver.messages, [])

    def test_replies_that_are_never_read(self):
        """The relay stops reading, holds little, and hangs up at the deadline."""
        relay = self.relay(limits={"command_timeout": "1s"},
                           env={"ASAN_OPTIONS": "quarantine_size_mb=1"}).start()
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", relay.port))
        sock.settimeout(30)
        before = self.memory(relay)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += sock.send(b"HELP\r\n" * 5000)
        except (ConnectionResetError, BrokenPipeError):
            pass
        self.assertLess(sent, 64 << 20)
        self.assertLess(self.memory(relay) - before, 8 << 20)
        self.served(relay)

    def memory(self, relay):
        with open(f"/proc/{relay.process.pid}/statm") as f:
            return int(f.read().split()[1]) * resource.getpagesize()

    def test_connections_that_vanish(self):
        """Reset at each step of a transaction; nothing of it is left."""
        relay = self.relay().start()
        steps = [b"MAIL FROM:<a@example.jp>\r\n", b"RCPT TO:<user@dest.test>\r\n", b"DATA\r\n", TEXT,
                 b"more"]
        for n in range(len(steps) + 1):
            for reset in (False, True):
                client = RawClient(relay)
                for step in steps[:n]:
                    client.send(step)
                if reset:
                    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
        self.served(relay)
        wait_until(lambda: self.fact(relay, "connections_now") == 0, what="no connection")
        self.assertEqual(len(self.receiver.messages), 1)

    def fact(self, relay, name):
        """One value of `relayctl status`."""
        for row in relay.ctl("status"):
            for key, value in row.items():
                if key == name:
                    return value
                if value == name:
                    return row["value"]
        raise AssertionError(f"status has no {name}")

    def test_the_client_hangs_up_before_its_answer(self):
        """Behind the final dot it is our message, whoever still listens."""
        relay = self.relay().start()
        for _ in range(10):
            client = RawClient(relay)
            client.envelope()
            client.ask(b"DATA", 354)
            client.send(TEXT + b".\r\n")
            client.sock.shutdown(socket.SHUT_WR)
            codes = [code for code, _ in client.replies()]
            self.assertEqual(codes, [250])
            client.close()
        self.receiver.wait(10)


class Floods(Case):
    def test_a_thousand_idle_connections(self):
        self.raise_files()
        relay = self.relay(limits={"connections_per_client": 1500}).start()
        idle = []
        try:
            for _ in range(1000):
                idle.append(socket.create_connection(("127.0.0.1", relay.port), timeout=30))
            for sock in idle:
                self.assertTrue(sock.recv(200).startswith(b"220 "))
            relay.send("a@example.jp", "user@dest.test", TEXT)
            self.receiver.wait(1)
            for sock in (idle[0], idle[-1]):
                sock.sendall(b"NOOP\r\n")
                self.assertTrue(sock.recv(200).startswith(b"250 "))
        finally:
            for sock in idle:
                sock.close()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(2)

    def raise_files(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 4096:
            self.skipTest("needs 4096 descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def test_a_million_recipients(self):
        """Asked for in one go; those over the limit are put off, the others served."""
        relay = self.relay(limits={"recipients": 1000}).start()
        with RawClient(relay) as client:
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
            sender = threading.Thread(target=self.send_recipients, args=(client, 1000000), daemon=True)
            sender.start()
            codes = self.count_replies(client, 1000000)
            sender.join()
            self.assertEqual(codes, {b"250": 1000, b"452": 999000})
            client.ask(b"DATA", 354)
            client.send(TEXT + b".\r\n")
            client.expect(250)
        relay.wait_log("result=delivered", 1000)
        self.gone(relay)
        self.assertEqual(sum(len(m.recipients) for m in self.receiver.messages), 1000)

    def count_replies(self, client, count):
        """Of the next COUNT replies of one line: how many of each code."""
        codes = {}
        rest = b"\n"  # each code stands behind one
        while sum(codes.values()) < count:
            rest += client.sock.recv(1 << 20)
            whole = rest[:rest.rfind(b"\n")]
            for code in (b"250", b"452"):
                codes[code] = codes.get(code, 0) + whole.count(b"\n" + code + b" ")
            rest = rest[len(whole):]
        return codes

    def send_recipients(self, client, count):
        for start in range(0, count, 1000):
            client.send(b"".join(b"RCPT TO:<u%d@dest.test>\r\n" % i for i in range(start, start + 1000)))

    def test_empty_lines(self):
        relay = self.relay().start()
        with RawClient(relay) as client:
            client.send(b"\r\n" * 50000)
            codes = [code for code, _ in client.replies()]
            self.assertEqual(set(codes[:-1]), {500})
            self.assertEqual(codes[-1], 421)
        self.assertEqual(len(codes), 21)

    def test_rubbish(self):
        relay = self.relay().start()
        for octets in (bytes(range(256)) * 400, b"\xff" * 200000, b"\0" * 200000,
                       b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100, b"\x16\x03\x01\x02\0\x01\0\x01\xfc" * 100,
                       b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n" * 100,
                       b"EHLO " + b"a" * 12000 + b"\r\n" + b"QUIT\r\n"):
            with self.subTest(octets[:20]), RawClient(relay, greet=False) as client:
                client.expect(220)
                client.send(octets)
                client.send(b"\r\nQUIT\r\n")
                codes = {code for code, _ in client.replies()}
                self.assertLessEqual(codes, {500, 501, 502, 503, 221, 421})
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)

    def test_http_is_not_smtp(self):
        """What a browser, or a server that fetches any URL, is made to send: the commands in
        it are not run, whatever the method is called."""
        relay = self.relay().start()
        body = (b"HELO x\r\nMAIL FROM:<a@example.jp>\r\nRCPT TO:<user@dest.test>\r\nDATA\r\n" + TEXT +
                b".\r\nQUIT\r\n")
        fields = b"Host: 127.0.0.1\r\nContent-Type: text/plain\r\n\r\n"
        for request, codes in ((b"POST / HTTP/1.1\r\n", [421]), (b"put /x\r\n", [421]),
                               (b"FETCH / HTTP/1.1\r\n", [500, 421]),
                               (b"GET /" + b"x" * 10000 + b" HTTP/1.1\r\n", [500, 421]),
                               (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\r\n", [421])):
            with self.subTest(request[:20]), RawClient(relay, greet=False) as client:
                client.expect(220)
                client.send(request + fields + body)
                self.assertEqual([code for code, _ in client.replies()], codes)
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        self.gone(relay)
        self.assertEqual(len(self.receiver.messages), 1)

    def test_parameters_without_end(self):
        relay = self.relay().start()
        with RawClient(relay) as client:
            for line in (b"MAIL FROM:<a@example.jp>" + b" SIZE=1" * 400,
                         b"MAIL FROM:<a@example.jp> SIZE=" + b"9" * 3000,
                         b"MAIL FROM:<a@example.jp> SIZE=18446744073709551617",
                         b"MAIL FROM:<a@example.jp> SIZE=-1",
                         b"MAIL FROM:<" + b"a" * 3000 + b"@example.jp>",
                         b"MAIL FROM:<a@" + b"a." * 1500 + b"jp>",
                         b"MAIL FROM:" + b"<" * 3000,
                         b"MAIL FROM:<" + b"\"" * 3001 + b"@example.jp>",
                         b"MAIL FROM:<" + b"@a.jp," * 600 + b":a@example.jp>",
                         b"MAIL FROM:<a\\",
                         b"RCPT TO:<" + b"\\" * 3000):
                code, _ = client.ask(line)
                self.assertIn(code, (500, 501, 503, 552, 553, 555), line[:60])

    def test_many_messages_in_one_packet(self):
        """RFC 2920: a whole session at once, answers in order."""
        relay = self.relay().start()
        one = (b"MAIL FROM:<a@example.jp>\r\nRCPT TO:<user@dest.test>\r\nDATA\r\n" + TEXT + b".\r\n")
        with RawClient(relay) as client:
            client.send(one * 20 + b"NOOP\r\nQUIT\r\n")
            codes = [code for code, _ in client.replies()]
        self.assertEqual(codes, [250, 250, 354, 250] * 20 + [250, 221])
        self.receiver.wait(20)
        self.gone(relay)


if __name__ == "__main__":
    unittest.main()
