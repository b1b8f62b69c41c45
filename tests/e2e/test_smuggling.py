"""A second message hidden in the text of a first one.

Whatever stands between two parts of a text, what leaves for the receiver is one
message or none, and every line end in it is CRLF: a receiver that takes other
octets for the end of a text must find none that we did not mean.
"""
import re
import unittest

from harness import RawClient
from harness.case import TEXT, Case

HIDDEN = (b"MAIL FROM:<admin@example.jp>\r\nRCPT TO:<victim@dest.test>\r\nDATA\r\n"
          b"From: admin@example.jp\r\n\r\nsmuggled\r\n")

# What some server somewhere has taken for the end of a text.
ENDS = {
    "lf dot lf": b"\n.\n",
    "lf dot crlf": b"\n.\r\n",
    "crlf dot lf": b"\r\n.\n",
    "cr dot cr": b"\r.\r",
    "cr dot crlf": b"\r.\r\n",
    "crlf dot cr": b"\r\n.\r",
    "lf dot cr": b"\n.\r",
    "cr dot lf": b"\r.\n",
    "crlf dot cr crlf": b"\r\n.\r\r\n",
    "crlf cr dot crlf": b"\r\n\r.\r\n",
    "crlf lf dot crlf": b"\r\n\n.\r\n",
    "crlf dot lf crlf": b"\r\n.\n\r\n",
    "lf cr dot lf cr": b"\n\r.\n\r",
    "crlf nul dot crlf": b"\r\n\0.\r\n",
    "crlf dot nul crlf": b"\r\n.\0\r\n",
    "crlf dot crlf behind a nul": b"\0\r\n.\0\r\n.\n",
}
# Octets that only look like it: text, and passed on as such.
HARMLESS = {
    "dot dot": b"\r\n..\r\n",
    "dot space": b"\r\n.. \r\n",
    "vertical tab": b"\r\n\x0b.\r\n",
    "form feed": b"\r\n\x0c.\r\n",
    "next line": b"\r\n\xc2\x85.\r\n",
    "line separator": b"\xe2\x80\xa8.\xe2\x80\xa8",
}
NEVER = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


class Smuggling(Case):
    def send_text(self, client, octets, apart):
        """TEXT's header and a body around OCTETS by DATA; the code of the answer."""
        client.envelope()
        client.ask(b"DATA", 354)
        client.send(TEXT + b"before" + octets + HIDDEN + b".\r\n", apart)
        return client.reply()[0]

    def send_chunk(self, client, octets, apart):
        text = TEXT + b"before" + octets + HIDDEN
        client.envelope()
        client.send(b"BDAT %d LAST\r\n" % len(text) + text, apart)
        return client.reply()[0]

    def check_left(self, relay, count):
        """COUNT messages left, each to its own recipient, each in clean lines."""
        self.gone(relay)
        messages = self.receiver.wait(count)
        self.assertEqual(len(messages), count)
        for message in messages:
            self.assertEqual(message.recipients, ["user@dest.test"])
            self.assertEqual(message.sender, "a@example.jp")
            self.assertIsNone(NEVER.search(message.data))
            self.assertIn(b"smuggled\r\n", message.body)
        for command in self.receiver.commands:
            self.assertNotIn("victim", command)
            self.assertNotIn("admin", command)

    def each(self, ends, send, *codes, **settings):
        """Each of ENDS in one piece and octet by octet; how many were taken."""
        relay = self.relay(**settings).start()
        taken = 0
        for name, octets in ends.items():
            for apart in (False, True):
                with self.subTest(name, apart=apart), RawClient(relay) as client:
                    code = send(client, octets, apart)
                    self.assertIn(code, codes)
                    taken += code == 250
                    # and the session has not lost its place
                    self.assertEqual(client.ask(b"NOOP", 250)[1].strip(), "2.0.0 Ok")
                    client.ask(b"QUIT", 221)
                    self.assertEqual(client.replies(), [])
        return relay, taken

    def test_false_ends_are_refused(self):
        relay, taken = self.each(ENDS, self.send_text, 550)
        self.assertEqual(taken, 0)
        self.check_left(relay, 0)
        self.assertEqual(self.receiver.connections, 0)

    def test_false_ends_in_chunks_are_refused(self):
        relay, taken = self.each(ENDS, self.send_chunk, 550)
        self.assertEqual(taken, 0)
        self.check_left(relay, 0)

    def test_false_ends_are_repaired_into_text(self):
        relay, taken = self.each(ENDS, self.send_text, 250, 550, bare_newline="repair")
        self.assertEqual(taken, 2 * sum(b"\0" not in e for e in ENDS.values()))
        self.check_left(relay, taken)

    def test_false_ends_in_chunks_are_repaired_into_text(self):
        relay, taken = self.each(ENDS, self.send_chunk, 250, 550, bare_newline="repair")
        self.assertEqual(taken, 2 * sum(b"\0" not in e for e in ENDS.values()))
        self.check_left(relay, taken)

    def test_what_only_looks_like_an_end_is_text(self):
        relay, taken = self.each(HARMLESS, self.send_text, 250)
        self.assertEqual(taken, 2 * len(HARMLESS))
        self.check_left(relay, taken)

    def test_a_real_end_in_a_chunk_is_text(self):
        relay, taken = self.each({"crlf dot crlf": b"\r\n.\r\n", "twice": b"\r\n.\r\n.\r\n"},
                                 self.send_chunk, 250)
        self.check_left(relay, taken)
        for message in self.receiver.messages:
            self.assertIn(b"before\r\n.\r\n", message.body)

    def test_a_bare_dot_at_the_very_start(self):
        relay = self.relay().start()
        for octets in (b".\n", b".\r", b"\n.\r\n", b"\r.\r\n", b".\0\r\n"):
            for apart in (False, True):
                with self.subTest(octets, apart=apart), RawClient(relay) as client:
                    client.envelope()
                    client.ask(b"DATA", 354)
                    client.send(octets + HIDDEN + b".\r\n", apart)
                    self.assertEqual(client.reply()[0], 550)
                    client.ask(b"NOOP", 250)
        self.check_left(relay, 0)

    def test_chunk_borders_within_an_end(self):
        relay = self.relay().start()
        text = TEXT + b"before\r\n.\r\n" + HIDDEN
        for at in range(len(TEXT) + 5, len(TEXT) + 12):
            with RawClient(relay) as client:
                client.envelope()
                client.send(b"BDAT %d\r\n" % at + text[:at])
                client.expect(250)
                client.send(b"BDAT %d LAST\r\n" % (len(text) - at) + text[at:])
                client.expect(250)
        self.check_left(relay, 7)
        self.assertEqual(len({m.body for m in self.receiver.messages}), 1)

    def test_last_chunk_without_a_line_end(self):
        relay = self.relay().start()
        for tail, code in ((b"smuggled", 250), (b"smuggled\r\n.", 250), (b"smuggled\r\n..", 250),
                           (b"smuggled\r", 550), (b"smuggled\n", 550), (b"smuggled\r\n\r", 550)):
            with self.subTest(tail), RawClient(relay) as client:
                client.envelope()
                client.send(b"BDAT %d\r\n" % len(TEXT) + TEXT)
                client.expect(250)
                client.send(b"BDAT %d LAST\r\n" % len(tail) + tail)
                self.assertEqual(client.reply()[0], code)
        # what waited for the rest of a line is not lost with an empty last chunk
        with RawClient(relay) as client:
            client.envelope()
            client.send(b"BDAT %d\r\n" % (len(TEXT) + 8) + TEXT + b"smuggled" + b"BDAT 0 LAST\r\n")
            client.expect(250)
            client.expect(250)
        self.check_left(relay, 4)
        ends = sorted(m.data[-12:] for m in self.receiver.messages)
        self.assertEqual([e[-5:] for e in ends].count(b"led\r\n"), 2)
        self.assertTrue(any(e.endswith(b"\r\n.\r\n") for e in ends))
        self.assertTrue(any(e.endswith(b"\r\n..\r\n") for e in ends))

    def test_chunk_sizes_that_wrap(self):
        relay = self.relay().start()
        for size in (b"18446744073709551624", b"4294967304", b"-1", b"0x10", b"+5", b"99999999999999",
                     b"8 8", b"", b"8 LAST LAST"):
            with self.subTest(size), RawClient(relay) as client:
                client.envelope()
                client.send(b"BDAT " + size + b"\r\n" + HIDDEN)
                codes = [code for code, _ in self.until_quiet(client)]
                self.assertNotIn(250, codes)
                self.assertNotIn(354, codes)
        self.check_left(relay, 0)

    def until_quiet(self, client):
        """Half-close, so that the relay ends the session whatever it waits for."""
        client.sock.shutdown(1)
        return client.replies()

    def test_a_refused_chunk_is_no_command(self):
        relay = self.relay().start()
        chunk = b"RSET\r\nMAIL FROM:<admin@example.jp>\r\n"
        with RawClient(relay) as client:  # no transaction at all
            client.send(b"BDAT %d LAST\r\n" % len(chunk) + chunk + b"NOOP\r\n")
            client.expect(503)
            client.expect(250)
        with RawClient(relay) as client:  # no recipient
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
            client.send(b"BDAT %d\r\n" % len(chunk) + chunk + b"BDAT %d LAST\r\n" % len(chunk) + chunk)
            client.expect(554, 503)
            client.expect(503)
            client.ask(b"NOOP", 250)
        with RawClient(relay) as client:  # in the middle of chunks
            client.envelope()
            client.send(b"BDAT 4\r\nabcd" + b"DATA\r\n")
            client.expect(250)
            client.expect(503)
            client.ask(b"RSET", 250)
        self.check_left(relay, 0)

    def test_the_tail_of_a_long_command_is_no_command(self):
        relay = self.relay(limits={"command_line": "1K"}).start()
        for size in (1000, 1018, 1019, 1020, 1021, 1022, 1023, 1024, 2048, 70000):
            for end in (b"\n", b"\r", b"\0"):
                with self.subTest(size=size, end=end), RawClient(relay) as client:
                    client.send(b"NOOP " + b"x" * size + end + b"MAIL FROM:<admin@example.jp>\r\n")
                    # a NUL is one of the argument's octets, which NOOP does not read
                    self.assertIn(client.reply()[0], (500, 501, 250))
                    client.send(b"RCPT TO:<user@dest.test>\r\n")
                    # no transaction has begun, or the relay has hung up
                    self.assertIn(client.reply(), (None, (503, "5.5.1 Send MAIL first\r\n")))

    def test_commands_end_with_crlf_only(self):
        relay = self.relay().start()
        for end in (b"\n", b"\r", b"\n\r", b"\0"):
            for apart in (False, True):
                with self.subTest(end, apart=apart), RawClient(relay) as client:
                    client.send(b"MAIL FROM:<a@example.jp>" + end +
                                b"RCPT TO:<victim@dest.test>" + end + b"DATA\r\n", apart)
                    self.assertIn(client.reply()[0], (500, 501, 555))
                    client.send(b"DATA\r\n")
                    self.assertIn(client.reply(), (None, (503, "5.5.1 Send MAIL first\r\n")))
        self.check_left(relay, 0)

    def test_long_lines_are_not_cut_before_a_dot(self):
        relay = self.relay().start()
        line = (b"x" * 997 + b".") * 20 + b"." * 4000
        with RawClient(relay) as client:
            client.envelope()
            client.ask(b"DATA", 354)
            client.send(TEXT + line + b"\r\nsmuggled\r\n.\r\n")
            client.expect(250)
        self.check_left(relay, 1)
        self.assertIn(b"\r\n" + line + b"\r\n", self.receiver.messages[0].body)


class Injection(Case):
    """Octets that shall not become a line of something else: Received, log, envelope."""

    def test_control_octets_in_commands(self):
        relay = self.relay().start()
        with RawClient(relay) as client:
            for octet in (b"\0", b"\x08", b"\x1b", b"\x7f"):
                self.assertIn(client.ask(b"EHLO client" + octet + b".jp")[0], (500, 501))
                self.assertIn(client.ask(b"MAIL FROM:<a" + octet + b"@example.jp>")[0], (500, 501, 553))
                client.ask(b"MAIL FROM:<a@example.jp>", 250)
                self.assertIn(client.ask(b"RCPT TO:<u" + octet + b"@dest.test>")[0], (500, 501, 553))
                client.ask(b"RSET", 250)

    def test_xtext_does_not_carry_lines(self):
        relay = self.relay().start()
        with RawClient(relay) as client:
            for line in (b"MAIL FROM:<> AUTH=a+0AInjected", b"MAIL FROM:<a@example.jp> ENVID=a+0D+0Ab",
                         b"MAIL FROM:<a@example.jp> SIZE=1 SIZE=1", b"MAIL FROM:<a@example.jp> X=+00"):
                code, _ = client.ask(line)
                self.assertIn(code, (501, 504, 555), line)
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
            self.assertIn(client.ask(b"RCPT TO:<u@dest.test> ORCPT=rfc822;a+0Ab@c")[0], (501, 555))

    def test_shell_text_is_only_an_address(self):
        relay = self.relay().start()
        for address in (b"`touch${IFS}x`@dest.test", b"${run{x}}@dest.test", b"|sh@dest.test",
                        b"-Xfile@dest.test", b"\"; sh ;\"@dest.test"):
            with RawClient(relay) as client:
                client.envelope(b"a@example.jp", address)
                client.ask(b"DATA", 354)
                client.send(TEXT + b".\r\n")
                client.expect(250)
        messages = self.receiver.wait(5)
        self.gone(relay)
        self.assertEqual(sorted(m.recipients[0] for m in messages),
                         sorted(["`touch${IFS}x`@dest.test", "${run{x}}@dest.test", "|sh@dest.test",
                                 "-Xfile@dest.test", "\"; sh ;\"@dest.test"]))

    def test_starttls_is_not_offered_without_a_certificate(self):
        relay = self.relay().start()
        with RawClient(relay, greet=False) as client:
            client.expect(220)
            _, text = client.ask(b"EHLO client.example.jp", 250)
            self.assertNotIn("STARTTLS", text)
            self.assertNotIn("AUTH", text)
            client.ask(b"STARTTLS", 502)
            client.ask(b"AUTH PLAIN AGEAYg==", 502, 503)
            client.ask(b"NOOP", 250)


if __name__ == "__main__":
    unittest.main()
