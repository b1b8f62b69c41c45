"""Each limit of the configuration: what is over it is refused with a reason, what is
at it is taken, and the session or the relay goes on."""
import os
import socket
import unittest

from harness.relay import release_dir
from harness import HANG, Behaviour, RawClient, wait_until
from harness.case import TEXT, Case


class Limits(Case):
    def data(self, client, text, sender=b"a@example.jp"):
        client.envelope(sender)
        client.ask(b"DATA", 354)
        client.send(text + b".\r\n")
        return client.reply()

    def test_message_size(self):
        relay = self.relay(limits={"message_size": "10K"}).start()
        fill = b"x" * 98 + b"\r\n"
        rest = 10240 - len(TEXT)
        exact = TEXT + fill * (rest // 100 - 1) + b"y" * (rest % 100 + 98) + b"\r\n"
        self.assertEqual(len(exact), 10240)
        with RawClient(relay, greet=False) as client:
            client.expect(220)
            self.assertIn("SIZE 10240", client.ask(b"EHLO x.example.jp", 250)[1])
            client.ask(b"MAIL FROM:<a@example.jp> SIZE=10241", 552)
            client.ask(b"MAIL FROM:<a@example.jp> SIZE=10240", 250)
            client.ask(b"RSET", 250)
            self.assertEqual(self.data(client, exact)[0], 250)
            code, text = self.data(client, exact + b"z\r\n")
            self.assertEqual((code, text[:5]), (552, "5.3.4"))
            self.assertIn("over 10240 bytes (limits.message_size)", text)
            self.assertEqual(self.data(client, TEXT + b"x" * 300000 + b"\r\n")[0], 552)
            client.envelope()
            client.send(b"BDAT 10241 LAST\r\n" + b"x" * 10241)
            self.assertIn("over 10240 bytes (limits.message_size)", client.expect(552)[1])
            client.envelope()
            client.send(b"BDAT 10000\r\n" + b"x" * 10000 + b"BDAT 241 LAST\r\n" + b"x" * 241)
            client.expect(250)
            client.expect(552)
            self.assertEqual(self.data(client, TEXT)[0], 250)
        self.receiver.wait(2)
        self.gone(relay)
        self.assertEqual(len(self.receiver.messages), 2)

    def test_header_size(self):
        relay = self.relay(limits={"header_size": "4K"}).start()
        field = b"X-F: " + b"x" * 93 + b"\r\n"
        with RawClient(relay) as client:
            self.assertEqual(self.data(client, field * 30 + TEXT)[0], 250)
            for head in (field * 50, b"X: " + b"y" * 5000 + b"\r\n", b"X: y\r\n" + b" z\r\n" * 2000):
                code, text = self.data(client, head + TEXT)
                self.assertEqual(code, 552)
                self.assertIn("header", text)
            self.assertEqual(self.data(client, b"x" * 300000 + b"\r\n")[0], 552)  # never ends
        self.receiver.wait(1)

    def test_text_without_an_empty_line(self):
        """The header section ends where a line is no field; what follows is no part of it."""
        relay = self.relay(limits={"header_size": "4K"}).start()
        lines = (b"x" * 70 + b"\r\n") * 300
        field = b"X-F: " + b"x" * 93 + b"\r\n"
        head = b"From: a@example.jp\r\n" + field * 20
        with RawClient(relay) as client:
            self.assertEqual(self.data(client, lines)[0], 250)
            self.assertEqual(self.data(client, head + b"look at this\r\n" + lines)[0], 250)
            # no line of it is seen whole, or only behind too many fields
            self.assertEqual(self.data(client, head + b"x" * 9000 + b"\r\n")[0], 552)
            self.assertEqual(self.data(client, field * 42 + lines)[0], 552)
        bodies = sorted(m.data.partition(b"\r\n\r\n")[2] for m in self.receiver.wait(2))
        self.assertEqual(bodies, [b"look at this\r\n" + lines, lines])
        self.gone(relay)
        self.assertEqual(len(self.receiver.messages), 2)

    def test_text_line(self):
        relay = self.relay(limits={"text_line": "2000B"}).start()
        with RawClient(relay) as client:
            self.assertEqual(self.data(client, TEXT + b"x" * 2000 + b"\r\n")[0], 250)
            code, text = self.data(client, TEXT + b"x" * 2001 + b"\r\n")
            self.assertEqual(code, 554)
            self.assertIn("over 2000 bytes (limits.text_line)", text)
        self.receiver.wait(1)

    def test_command_line(self):
        relay = self.relay(limits={"command_line": "600B"}).start()
        with RawClient(relay) as client:
            client.ask(b"NOOP " + b"x" * (600 - 7), 250)
            client.ask(b"NOOP " + b"x" * (600 - 6), 500)
            client.ask(b"NOOP " + b"x" * 100000, 500)
            client.ask(b"NOOP", 250)

    def test_recipients(self):
        relay = self.relay(limits={"recipients": 5}).start()
        with RawClient(relay) as client:
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
            codes = [client.ask(b"RCPT TO:<u%d@dest.test>" % i)[0] for i in range(8)]
            self.assertEqual(codes, [250] * 5 + [452] * 3)
            client.ask(b"DATA", 354)
            client.send(TEXT + b".\r\n")
            client.expect(250)
            self.assertEqual(self.data(client, TEXT)[0], 250)
        messages = self.receiver.wait(2)
        self.assertEqual(sorted(len(m.recipients) for m in messages), [1, 5])

    def test_recipients_that_can_not_be_read(self):
        """As a list sends them on that nobody has checked: the good ones get their mail."""
        relay = self.relay(limits={"errors": 5}).start()
        with RawClient(relay) as client:
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
            for i in range(20):
                client.ask(b"RCPT TO:<u%d@dest..test>" % i, 501)
            client.ask(b"RCPT TO:<user@dest.test>", 250)
            for i in range(20):
                client.ask(b"RCPT TO:<u%d@dest..test>" % i, 501)
            client.ask(b"DATA", 354)
            client.send(TEXT + b".\r\n")
            client.expect(250)
        self.receiver.wait(1)

    def test_hops(self):
        relay = self.relay(limits={"hops": 30}).start()
        hop = b"Received: from x by y; Sat, 21 Nov 2026 00:00:00 +0900\r\n"
        with RawClient(relay) as client:
            self.assertEqual(self.data(client, hop * 30 + TEXT)[0], 250)
            code, text = self.data(client, hop * 31 + TEXT)
            self.assertEqual((code, text[:5]), (554, "5.4.6"))
        self.receiver.wait(1)

    def test_a_message_in_a_circle(self):
        """A receiver that gives each message back: it ends, and somebody hears of it."""
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.9")
        reports = self.another_receiver("127.0.0.9", None, self.receiver.port)
        relay = self.relay(limits={"hops": 10})

        def back(number, data):
            with RawClient(relay) as client:
                client.ask(b"MAIL FROM:<a@example.jp>", 250)
                client.ask(b"RCPT TO:<user@dest.test>", 250)
                client.ask(b"DATA", 354)
                client.send(data + b".\r\n")
                code, text = client.reply()
            return f"{code} {text.strip()}"

        self.receiver.behaviour = Behaviour(end=back)
        relay.start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        report, = reports.wait(1)
        self.gone(relay)
        self.assertIn(b"hops", report.body)
        self.assertEqual(len(self.receiver.messages), 10)

    def test_errors(self):
        relay = self.relay(limits={"errors": 3}).start()
        with RawClient(relay) as client:
            client.send(b"FOO\r\n" * 10)
            self.assertEqual([c for c, _ in client.replies()], [500, 500, 500, 421])

    def test_messages_per_connection(self):
        relay = self.relay(limits={"messages_per_connection": 2}).start()
        with RawClient(relay) as client:
            self.data(client, TEXT)
            self.data(client, TEXT)
            client.ask(b"MAIL FROM:<a@example.jp>", 421)
            self.assertEqual(client.replies(), [])
        self.receiver.wait(2)

    def test_connections_of_one_client(self):
        relay = self.relay(limits={"connections_per_client": 3}).start()
        some = [RawClient(relay) for _ in range(3)]
        with RawClient(relay, greet=False) as one_more:
            self.assertEqual(one_more.replies()[0][0], 421)
        other = socket.socket()  # somebody else is let in
        self.addCleanup(other.close)
        other.bind(("127.0.0.77", 0))
        other.connect(("127.0.0.1", relay.port))
        self.assertTrue(other.recv(100).startswith(b"220"))
        some.pop().close()
        wait_until(lambda: self.greeted(relay), what="room for one more")
        for client in some:
            client.close()

    def test_who_says_goodbye_and_stays(self):
        """What counts are connections, not what is said on them: each costs a descriptor. As
        many as one may have sessions are let off, for who comes again at once."""
        relay = self.relay(limits={"connections_per_client": 3}).start()
        some = [RawClient(relay) for _ in range(3)]
        for client in some[:3]:
            client.ask(b"QUIT", 221)
            some.append(RawClient(relay))
        for client in some[3:]:
            client.ask(b"QUIT", 221)
        with RawClient(relay, greet=False) as one_more:
            self.assertEqual(one_more.replies()[0][0], 421)
        status = {row["what"]: row["value"] for row in relay.ctl("status")}
        self.assertEqual(status["connections_now"], 6)
        for client in some:
            client.close()
        wait_until(lambda: self.greeted(relay), what="room again")

    def greeted(self, relay):
        with RawClient(relay, greet=False) as client:
            return client.reply()[0] == 220

    def test_connections_in_all(self):
        relay = self.relay(limits={"connections": 3}).start()
        some = [RawClient(relay) for _ in range(3)]
        with RawClient(relay, greet=False) as one_more:
            code, text = one_more.replies()[0]
            self.assertEqual(code, 421)
        for client in some:
            client.ask(b"QUIT", 221)
            client.close()
        wait_until(lambda: self.greeted(relay), what="room")

    def test_queue_messages(self):
        self.receiver.behaviour = Behaviour(banner="421 later")
        relay = self.relay(limits={"queue_messages": 2}, queue={"backoff": ["1h"]}).start()
        with RawClient(relay) as client:
            self.data(client, TEXT)
            self.data(client, TEXT)
            code, text = client.ask(b"MAIL FROM:<a@example.jp>")
            self.assertEqual(code, 452)
            self.assertIn("limits.queue_messages", text)
            relay.wait_log("result=deferred", 2)
            self.receiver.behaviour = Behaviour()
            relay.ctl("queue", "retry", "--all")
            self.receiver.wait(2)
            self.gone(relay)
            self.data(client, TEXT)
        self.receiver.wait(3)


class Starved(Case):
    def limited(self, files, **settings):
        return self.relay(wrapper=("prlimit", f"--nofile={files}"), **settings)

    def test_few_descriptors(self):
        """64 of them: more clients than that are put off or wait, nothing is lost, and
        when they have gone everybody is served again."""
        relay = self.limited(64).start()
        crowd = [socket.create_connection(("127.0.0.1", relay.port), timeout=30) for _ in range(150)]
        for sock in crowd:
            sock.close()
        accepted = 0
        for i in range(20):
            wait_until(lambda: self.try_send(relay, i), what="a client that is let in")
            accepted += 1
        self.receiver.wait(accepted)
        self.gone(relay)
        self.assertEqual(len({m.recipients[0] for m in self.receiver.messages}), 20)
        self.assertEqual(len(self.receiver.messages), 20)

    def try_send(self, relay, i):
        try:
            relay.send("a@example.jp", f"user{i}@dest.test", TEXT)
            return True
        except OSError:  # smtplib's errors are such
            return False

    def test_deliveries_out_of_descriptors(self):
        """More want out than there are descriptors: the mail waits its turn."""
        self.receiver.behaviour = Behaviour(banner=HANG)
        relay = self.limited(80, delivery={"banner_timeout": "2s"},
                             queue={"backoff": ["1s"], "window_start": 100, "window_max": 100}).start()
        count = 60
        with relay.smtp() as client:
            for i in range(count):
                client.sendmail("a@example.jp", [f"user{i}@dest.test"], TEXT)
        relay.wait_log("result=deferred", 2)
        self.receiver.behaviour = Behaviour()
        wait_until(lambda: len({m.recipients[0] for m in self.receiver.messages}) == count,
                   timeout=60, what="delivery of all")
        self.gone(relay)
        self.assertEqual(len(self.receiver.messages), count)


class Crowded(Case):
    """Memory for texts is one budget of all clients, not so much for each of many."""

    def begin(self, relay, number, octets):
        client = RawClient(relay)
        self.addCleanup(client.close)
        client.envelope(b"a@example.jp", b"user%d@dest.test" % number)
        client.ask(b"DATA", 354)
        client.send(octets)
        return client

    def test_texts_go_to_disk_where_memory_is_short(self):
        relay = self.relay(spool={"memory": "64K"}).start()
        body = b"".join(b"%060d\r\n" % i for i in range(1000))
        clients = [self.begin(relay, i, TEXT + body) for i in range(40)]
        big = os.path.join(relay.spool, "big")
        wait_until(lambda: len(os.listdir(big)) >= 35, what="texts in files")
        for client in clients:
            client.send(b".\r\n")
            client.expect(250)
        for message in self.receiver.wait(40):
            self.assertEqual(message.body, b"The text.\r\n" + body)
        self.gone(relay)
        wait_until(lambda: os.listdir(big) == [], what="no files left")

    def test_too_many_large_headers_are_put_off(self):
        relay = self.relay(spool={"memory": "1M"}).start()
        fields = b"".join(b"X-%04d: %080d\r\n" % (i, i) for i in range(1000))
        clients = [self.begin(relay, i, fields) for i in range(10)]
        codes = []
        for client in clients:
            client.send(TEXT + b".\r\n")
            codes.append(client.expect(250, 452)[0])
        self.assertGreaterEqual(codes.count(250), 1)
        self.assertGreaterEqual(codes.count(452), 1)
        relay.send("a@example.jp", "user@dest.test", fields + TEXT)  # there is room again
        self.receiver.wait(codes.count(250) + 1)

    def test_what_descriptors_do_not_allow_is_said(self):
        relay = self.relay(wrapper=("prlimit", "--nofile=264")).start()
        relay.wait_log("limits.connections is 150 here, not 2000, for want of descriptors; raise LimitNOFILE")
        relay.wait_log("queue.connections is 50 here, not 200")


class Memory(Case):
    def peak(self, relay):
        with open(f"/proc/{relay.process.pid}/status") as f:
            return int(next(l for l in f if l.startswith("VmHWM")).split()[1]) * 1024

    def begin(self):
        """A relay that has sent one message, the size of its memory, and a client in DATA."""
        relay = self.relay(limits={"message_size": "200M", "text_line": "8M"})
        relay.program = lambda name: os.path.join(release_dir(), name)
        relay.start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        before = self.peak(relay)
        client = RawClient(relay, timeout=120)
        self.addCleanup(client.close)
        client.envelope()
        client.ask(b"DATA", 354)
        return relay, before, client

    def test_a_message_of_100_MB(self):
        """In and out again without ever being in memory."""
        relay, before, client = self.begin()
        piece = (b"x" * 998 + b"\r\n") * 1000
        client.send(TEXT)
        for _ in range(100):
            client.send(piece)
        client.send(b".\r\n")
        client.expect(250)
        message = self.receiver.wait(2, timeout=120)[1]
        self.assertEqual(len(message.body), len(piece) * 100 + len(b"The text.\r\n"))
        self.assertLess(self.peak(relay) - before, 4 << 20)

    def test_lines_of_8_MB(self):
        """The longest that are taken: none is in memory as a whole."""
        relay, before, client = self.begin()
        client.send(TEXT)
        for _ in range(8):
            client.send(b"x" * (8 << 20) + b"\r\n")
        client.send(b".\r\n")
        client.expect(250)
        message = self.receiver.wait(2, timeout=120)[1]
        self.assertEqual(len(message.body), 8 * ((8 << 20) + 2) + len(b"The text.\r\n"))
        self.assertLess(self.peak(relay) - before, 4 << 20)

    def test_a_line_and_a_header_of_100_MB(self):
        """More than is taken: read to the end, kept nowhere, refused."""
        relay, before, client = self.begin()
        client.send(TEXT)
        for _ in range(100):
            client.send(b"x" * 1000000)
        client.send(b"\r\n.\r\n")
        self.assertEqual(client.reply()[0], 554)
        client.envelope()
        client.ask(b"DATA", 354)
        piece = (b"X-Field: " + b"x" * 900 + b"\r\n") * 1000
        for _ in range(110):
            client.send(piece)
        client.send(b"\r\n.\r\n")
        self.assertEqual(client.reply()[0], 552)
        self.assertLess(self.peak(relay) - before, 4 << 20)


if __name__ == "__main__":
    unittest.main()
