"""What arrives is what was sent, octet by octet, and its signatures hold."""
import unittest

import dkim

from harness import Behaviour, RawClient
from harness.case import Case

HEAD = b"From: a@example.jp\r\nTo: user@dest.test\r\nSubject: x\r\n"
JIS = "日本語の本文です。半角ｶﾅ"


class Content(Case):
    def setUp(self):
        super().setUp()
        self.up = self.relay(delivery={"reuse_idle": "5s"})
        self.up.change(domains=({"name": "example.jp", "dkim": (
            self.key(self.up), self.key(self.up, "example.jp", "e1", "--ed25519"))},))
        self.up.start()

    def send(self, message, chunks=()):
        """By DATA, or by BDAT in pieces of the sizes CHUNKS and the rest."""
        with RawClient(self.up) as client:
            client.ask(b"MAIL FROM:<a@example.jp> BODY=8BITMIME", 250)
            client.ask(b"RCPT TO:<user@dest.test>", 250)
            if not chunks:
                client.ask(b"DATA", 354)
                stuffed = b"\r\n".join(b"." + l if l.startswith(b".") else l
                                       for l in message.split(b"\r\n"))
                client.send(stuffed + b".\r\n")
            else:
                for size in chunks:
                    client.send(b"BDAT %d\r\n" % len(message[:size]) + message[:size])
                    message = message[size:]
                    client.expect(250)
                client.send(b"BDAT %d LAST\r\n" % len(message) + message)
            client.expect(250)

    def arrived(self, count=1):
        """The last message that came; its signatures hold."""
        message = self.receiver.wait(count)[-1]
        self.assertEqual(message.header.count("DKIM-Signature:"), 2)
        for index in (0, 1):
            self.assertTrue(dkim.DKIM(message.data).verify(index, dnsfunc=self.lookup))
        return message

    def check_bodies(self, *bodies, **how):
        for i, body in enumerate(bodies):
            self.send(HEAD + b"\r\n" + body, **how)
            self.assertEqual(self.arrived(i + 1).body, body)

    def test_japanese(self):
        self.check_bodies(*(JIS.encode(charset, "replace") + b"\r\n" for charset in (
            "iso-2022-jp", "iso-2022-jp-3", "shift_jis", "cp932", "euc-jp", "utf-8")))

    def test_japanese_names(self):
        """Unencoded, as old programs write them: kana, a character of JIS X 0212, and in
        Shift_JIS one that ends in a backslash."""
        for i, name in enumerate((b"\x0e\"1<\x0f", b"\x1b$(D\"!\x1b(B", b"\"\x95\x5c\"")):
            field = b"From: " + name + b" <a@example.jp>\r\n"
            self.send(field + b"Subject: x\r\n\r\nbody\r\n")
            self.assertIn(field, self.arrived(i + 1).data)

    def test_every_octet(self):
        octets = bytes(o for o in range(1, 256) if o not in b"\r\n")
        self.check_bodies(octets + b"\r\n", b"".join(bytes([o]) + b"\r\n" for o in octets))

    def test_long_lines(self):
        self.check_bodies(b"x" * 20000 + b"\r\n", b"\x80" * 20000 + b"\r\n",
                          b"x" * 998 + b"\r\n" + b"y" * 999 + b"\r\n" + b"z" * 1000 + b"\r\n")

    def test_dots(self):
        self.check_bodies(b".\r\n", b"..\r\n", b"...\r\n.\r\n..x\r\n", b". \r\n", b".\r\n" * 1000)

    def test_blanks(self):
        """Relaxed canonicalisation is the verifier's matter: here nothing is trimmed."""
        self.check_bodies(b"a  b\t \r\n\r\n\r\n", b"\r\n", b"\r\n\r\n", b" \r\n", b"")

    def test_pieces_of_all_sizes(self):
        """Line ends and dots on each side of the borders of buffers."""
        for i, size in enumerate((4093, 4094, 4095, 4096, 16383, 16384, 32766, 32767, 32768, 65535, 65536)):
            body = b"x" * 70 + b"\r\n"
            body = body * (size // len(body))
            body += b"y" * (size - len(body)) + b"\r\n.\r\n..\r\nend\r\n"
            self.send(HEAD + b"\r\n" + body)
            self.assertEqual(self.arrived(i + 1).body, body)

    def test_chunks(self):
        body = b".\r\n..\r\nline\r\n" + b"x" * 5000 + b"\r\n"
        for i, chunks in enumerate(([1], [10, 1, 1, 1], [len(HEAD) + 2], [len(HEAD) + 3, 1, 1], [0, 0])):
            self.send(HEAD + b"\r\n" + body, chunks=chunks)
            self.assertEqual(self.arrived(i + 1).body, body)

    def test_chunks_without_the_last_line_end(self):
        self.send(HEAD + b"\r\nno end", chunks=[5])
        self.assertEqual(self.arrived().body, b"no end\r\n")

    def test_header_only(self):
        """No empty line, no body: one empty line is put behind the header section."""
        self.send(HEAD)
        self.assertEqual(self.arrived().body, b"")

    def test_fields_stay_as_they_are(self):
        fields = [b"X-Field-%d: value %d\r\n" % (i, i) for i in range(200)]
        fields += [b"X-Folded: a\r\n\tb\r\n  c\r\n", b"x-odd-CASE:no blank\r\n", b"X-Blanks:  z  \r\n",
                   b"Subject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n", b"X-8bit: \xe6\x97\xa5\r\n",
                   b"X-Empty:\r\n", b"X-Long: " + b"y" * 5000 + b"\r\n"]
        head = b"From: a@example.jp\r\nTo: user@dest.test\r\n" + b"".join(fields)
        self.send(head + b"\r\nbody\r\n")
        arrived = self.arrived().data
        at = 0
        for field in fields:
            at = arrived.find(field, at)
            self.assertGreaterEqual(at, 0, field)
            at += len(field)

    def test_blanks_before_colons(self):
        """Obsolete, still sent, and no field to some readers: they do not leave."""
        self.send(b"From : a@example.jp\r\nSubject\t: x\r\nX-A \t: y\r\n\r\nbody\r\n")
        self.assertIn(b"\r\nFrom: a@example.jp\r\nSubject: x\r\nX-A: y\r\n", self.arrived().data)

    def test_the_longest_line(self):
        relay = self.relay(limits={"text_line": "8M"})
        relay.change(domains=({"name": "example.jp", "dkim": (
            self.key(relay), self.key(relay, "example.jp", "e1", "--ed25519"))},))
        self.up = relay.start()
        body = b"x" * (8 << 20) + b"\r\n"
        self.send(HEAD + b"\r\n" + body)
        self.assertEqual(self.arrived().body, body)

    def test_big_message_by_way_of_a_file(self):
        body = b"".join(b"%08d %s\r\n" % (i, b"x" * (i % 90)) for i in range(60000))
        self.send(HEAD + b"\r\n" + body)
        self.assertEqual(self.arrived().body, body)

    def test_the_same_after_a_restart_and_a_second_try(self):
        self.receiver.behaviour = Behaviour(end="451 4.3.0 later")
        body = b".\r\n" + bytes(range(128, 256)) + b"\r\n" * 3
        big = b"z" * 78 + b"\r\n"
        self.send(HEAD + b"\r\n" + body)
        self.send(HEAD + b"\r\n" + big * 20000)
        self.up.wait_log("result=deferred", 2)
        self.up.kill()
        self.receiver.behaviour = Behaviour()
        self.up.start()
        self.up.ctl("queue", "retry", "--all")
        messages = self.receiver.wait(2)
        self.assertEqual({m.body for m in messages}, {body, big * 20000})
        for message in messages:
            for index in (0, 1):
                self.assertTrue(dkim.DKIM(message.data).verify(index, dnsfunc=self.lookup))
        self.gone(self.up)

    def test_repaired_newlines_are_signed_as_they_leave(self):
        relay = self.relay(bare_newline="repair")
        relay.change(domains=({"name": "example.jp", "dkim": (
            self.key(relay), self.key(relay, "example.jp", "e1", "--ed25519"))},))
        relay.start()
        self.up = relay
        self.send(HEAD + b"\r\none\ntwo\rthree\n.\nfour\r\n")
        self.assertEqual(self.arrived().body, b"one\r\ntwo\r\nthree\r\n.\r\nfour\r\n")

    def test_what_queue_cat_shows(self):
        self.receiver.behaviour = Behaviour(banner="421 later")
        self.send(HEAD + b"\r\n.dot\r\n\xff\r\n")
        row = self.waiting(self.up)
        done = self.up.run_ctl_bytes("queue", "cat", row["id"])
        self.assertTrue(done.endswith(b"\r\n\r\n.dot\r\n\xff\r\n"), done[-60:])


if __name__ == "__main__":
    unittest.main()
