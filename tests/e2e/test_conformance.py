"""The dialogue as the RFCs have it, from outside: each test names its section. What a
message becomes on its way is in the other files; here it is order, replies, limits."""
import re
import unittest

from harness import Behaviour, RawClient
from harness.case import TEXT, Case

HEAD = b"From: a@example.jp\r\nTo: user@dest.test\r\nSubject: x\r\n\r\n"


class Conformance(Case):
    def setUp(self):
        super().setUp()
        self.daemon = self.relay(limits={"errors": 1000, "recipients": 100}).start()

    def client(self, **options):
        client = RawClient(self.daemon, **options)
        self.addCleanup(client.close)
        return client

    def answers(self, client, rows):
        """Each line its code; and the class of the enhanced one is that of the code
        (RFC 2034 section 4), which all but greetings and 3xx have."""
        for line, code in rows:
            code_said, text = client.ask(line)
            self.assertEqual(code_said, code, (line, text))
            if line[:4].upper() not in (b"EHLO", b"HELO") and code // 100 != 3:
                self.assertRegex(text, rf"^{code // 100}\.\d+\.\d+ ", line)

    # ---- RFC 5321 ----

    def test_a_recipient_named_twice_gets_one(self):
        self.daemon.send("a@example.jp", ["user@dest.test", "user@dest.test", "other@dest.test"],
                         TEXT)
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, ["user@dest.test", "other@dest.test"])

    def test_before_ehlo(self):
        """4.1.4, 4.1.1.1: what may come before EHLO, and what not."""
        client = self.client(greet=False)
        client.expect(220)
        self.answers(client, [(b"NOOP", 250), (b"NOOP any thing", 250), (b"RSET", 250), (b"HELP", 214),
                              (b"VRFY user", 252), (b"EXPN list", 502), (b"MAIL FROM:<a@example.jp>", 503),
                              (b"RCPT TO:<user@dest.test>", 503), (b"DATA", 503), (b"QUIT", 221)])
        self.assertIsNone(client.reply())

    def test_helo_is_one_line(self):
        """4.1.1.1, and no parameters behind it (4.1.1.11)."""
        client = self.client(greet=False)
        client.expect(220)
        client.send(b"HELO client.example.jp\r\nNOOP\r\n")
        self.assertEqual(client.file.readline()[:4], b"250 ")
        self.assertEqual(client.file.readline(), b"250 2.0.0 Ok\r\n")
        self.answers(client, [(b"MAIL FROM:<a@example.jp> SIZE=1", 555), (b"MAIL FROM:<a@example.jp> BODY=7BIT", 555),
                              (b"MAIL FROM:<a@example.jp>", 250)])

    def test_ehlo_words(self):
        client = self.client(greet=False)
        client.expect(220)
        self.answers(client, [(b"EHLO", 501), (b"EHLO bad name", 501), (b"HELO", 501)])
        code, text = client.ask(b"EHLO [IPv6:2001:db8::1]")
        words = {line.split(" ")[0] for line in text.splitlines()[1:]}
        self.assertEqual(code, 250)
        self.assertLessEqual({"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN",
                              "ENHANCEDSTATUSCODES"}, words)
        self.assertNotIn("BINARYMIME", words)
        self.assertNotIn("VRFY", words)

    def test_ehlo_begins_anew(self):
        """4.1.4: it does what RSET does."""
        client = self.client()
        client.envelope()
        self.answers(client, [(b"EHLO again.example.jp", 250), (b"DATA", 503), (b"RCPT TO:<user@dest.test>", 503),
                              (b"MAIL FROM:<a@example.jp>", 250)])

    def test_order(self):
        """4.1.4, 3.3"""
        client = self.client()
        self.answers(client, [
            (b"RCPT TO:<user@dest.test>", 503), (b"DATA", 503), (b"BDAT 0 LAST", 503),
            (b"MAIL FROM:<a@example.jp>", 250), (b"MAIL FROM:<a@example.jp>", 503), (b"DATA", 554),
            (b"RCPT TO:<user@dest.test>", 250), (b"MAIL FROM:<a@example.jp>", 503), (b"NOOP", 250),
            (b"VRFY user", 252), (b"RSET", 250), (b"RCPT TO:<user@dest.test>", 503)])

    def test_syntax(self):
        """4.1.1.2, 4.1.1.3, 4.1.1.11, 4.2.4"""
        client = self.client()
        self.answers(client, [
            (b"XYZZY", 500), (b"", 500), (b"EXPN list", 502), (b"TURN", 500), (b"RSET now", 501),
            (b"VRFY", 501), (b"MAIL", 501), (b"MAIL TO:<a@example.jp>", 501), (b"MAIL FROM:<a@example.jp", 501),
            (b"MAIL FROM:<a@@example.jp>", 501), (b"MAIL FROM:<a@example..jp>", 501),
            (b"MAIL FROM:<a b@example.jp>", 501), (b"MAIL FROM:<a@example.jp> FOO=1", 555),
            (b"MAIL FROM:<a@example.jp> FOO", 555), (b"MAIL FROM:<a@example.jp> =1", 501),
            (b"mail from:<a@example.jp>", 250), (b"RCPT TO:<>", 501), (b"RCPT TO:<user@dest.test> FOO=1", 555),
            (b"RCPT TO:<user@-dest.test>", 501), (b"RCPT TO:<a\x01b@dest.test>", 500),
            (b"rcpt to:<\"a b\\\"\"@dest.test>", 250), (b"RCPT TO:<@relay.test:user@dest.test>", 250),
            (b"DATA now", 501), (b"DATA", 354)])

    def test_minima(self):
        """4.5.3.1: local part 64, domain 255, path 256, command 512, text line 998, 100 recipients;
        4.5.3.1.10: more of those get 452, and those that were taken stay."""
        client = self.client()
        path = b"l" * 64 + b"@" + b".".join([b"d" * 60] * 3) + b".test"
        path = path[:-5] + b"x" * (254 - len(path)) + b".test"
        self.assertEqual(len(path), 254)
        domain = b".".join([b"d" * 63] * 3 + [b"d" * 58, b"test"])
        self.assertEqual(len(domain), 255)
        self.answers(client, [(b"MAIL FROM:<" + b"l" * 64 + b"@" + domain + b">", 250),
                              (b"RCPT TO:<" + b"l" * 64 + b"@" + domain + b">", 250), (b"RSET", 250)])
        self.answers(client, [(b"NOOP " + b"x" * 505, 250), (b"MAIL FROM:<" + b"l" * 64 + b"@example.jp>", 250),
                              (b"RCPT TO:<" + path + b">", 250), (b"RSET", 250), (b"MAIL FROM:<a@example.jp>", 250)])
        for i in range(100):
            client.ask(b"RCPT TO:<u%d@dest.test>" % i, 250)
        self.answers(client, [(b"RCPT TO:<u100@dest.test>", 452), (b"RCPT TO:<u101@dest.test>", 452), (b"DATA", 354)])
        client.send(HEAD + b"x" * 998 + b"\r\n.\r\n")
        client.expect(250)
        message, = self.receiver.wait(1)
        self.assertEqual(len(message.recipients), 100)
        self.assertIn(b"x" * 998, message.body)

    def test_long_local_parts(self):
        """4.5.3.1: there is no limit where none is needed; VERP, SRS and reply tokens are longer."""
        sender, recipient, author = (b"%c=" % c + b"l" * 230 for c in b"srf")
        with self.client() as client:
            client.ask(b"MAIL FROM:<" + sender + b"@example.jp>", 250)
            client.ask(b"RCPT TO:<" + recipient + b"@dest.test>", 250)
            client.ask(b"DATA", 354)
            client.send(b"From: <" + author + b"@example.jp>\r\nSubject: x\r\n\r\nx\r\n.\r\n")
            client.expect(250)
        done = self.daemon.sendmail("-t", "-f", sender.decode() + "@example.jp", input=b"From: a@example.jp\nTo: "
                              + recipient + b"@dest.test\n\nx\n")
        self.assertEqual(done.returncode, 0)
        for message in self.receiver.wait(2):
            self.assertEqual(message.sender, sender.decode() + "@example.jp")
            self.assertEqual(message.recipients, [recipient.decode() + "@dest.test"])
            self.assertIn(b"for <" + recipient + b"@dest.test>", message.data)
        self.assertIn(author + b"@example.jp", self.receiver.messages[0].data)

    def test_line_too_long(self):
        """4.5.3.1.4: one answer to it, and none of it is run."""
        client = self.client()
        client.send(b"NOOP " + b"x" * 5000 + b" QUIT\r\nNOOP\r\n")
        self.assertEqual([client.reply()[0], client.reply()[0]], [500, 250])

    def test_postmaster(self):
        """4.5.1: without a domain, in any case of letters."""
        client = self.client()
        self.answers(client, [(b"MAIL FROM:<>", 250), (b"RCPT TO:<postmaster>", 250), (b"RCPT TO:<PostMaster>", 250)])

    def test_no_recipient_is_left(self):
        """4.1.1.4, and RFC 2920 section 3.1: a group that a client has sent in one go."""
        client = self.client()
        client.send(b"MAIL FROM:<a@example.jp>\r\nRCPT TO:<>\r\nRCPT TO:<x>y>\r\nDATA\r\nRSET\r\nNOOP\r\n")
        self.assertEqual([client.reply()[0] for _ in range(6)], [250, 501, 501, 554, 250, 250])

    # ---- RFC 1870 ----

    def test_size(self):
        """6.1: digits only; what wraps at 2^32, 2^64 or below zero is no small number."""
        client = self.client()
        rows = [(b"%d" % (1 << 32), 552), (b"%d" % ((1 << 32) + 10), 552), (b"%d" % ((1 << 64) - 1), 552),
                (b"%d" % (1 << 64), 552), (b"%d" % ((1 << 64) + 10), 552), (b"9" * 20, 552),
                (b"9" * 21, 501), (b"-1", 501), (b"+10", 501), (b"0x10", 501),
                (b"1e3", 501), (b"1K", 501), (b"10 SIZE=10", 501), (b"10", 250)]
        self.answers(client, [(b"MAIL FROM:<a@example.jp> SIZE=" + value, code) for value, code in rows])
        self.answers(client, [(b"RCPT TO:<user@dest.test>", 250), (b"DATA", 354)])
        client.send(TEXT + b".\r\n")  # more than was said: no matter
        client.expect(250)

    # ---- RFC 2920 ----

    def test_pipelining(self):
        """3.2: answers in order, and the next transaction behind the dot."""
        client = self.client()
        group = b"MAIL FROM:<a@example.jp>\r\nRCPT TO:<user@dest.test>\r\nDATA\r\n"
        client.send(group)
        self.assertEqual([client.reply()[0] for _ in range(3)], [250, 250, 354])
        client.send(TEXT + b".\r\n" + group)
        self.assertEqual([client.reply()[0] for _ in range(4)], [250, 250, 250, 354])
        client.send(TEXT + b".\r\nQUIT\r\n")
        self.assertEqual([code for code, _ in client.replies()], [250, 221])
        self.receiver.wait(2)

    # ---- RFC 3030 ----

    def test_chunks(self):
        """2: a chunk that is refused is swallowed; DATA after BDAT is 503; sizes do not wrap."""
        client = self.client()
        client.send(b"BDAT 6\r\nNOOP\r\nNOOP\r\n")
        self.assertEqual([client.reply()[0] for _ in range(2)], [503, 250])
        client.envelope()
        client.send(b"BDAT %d\r\n" % len(HEAD) + HEAD)
        client.expect(250)
        self.answers(client, [(b"DATA", 503), (b"MAIL FROM:<a@example.jp>", 503)])
        client.send(b"BDAT 11 LAST\r\n.\r\n..\r\nQUIT")
        client.expect(250)
        message, = self.receiver.wait(1)
        self.assertEqual(message.body, b".\r\n..\r\nQUIT\r\n")
        client.envelope()
        self.answers(client, [(b"BDAT %d" % ((1 << 64) + 8), 501)])
        self.assertIsNone(client.reply())  # how much text follows nobody knows

    def test_binary(self):
        """3: it is not offered, so it is refused."""
        self.answers(self.client(), [(b"MAIL FROM:<a@example.jp> BODY=BINARYMIME", 555),
                                     (b"MAIL FROM:<a@example.jp> BODY=9BIT", 501),
                                     (b"MAIL FROM:<a@example.jp> BODY=8bitmime", 250)])

    # ---- RFC 6531 ----

    def test_utf8(self):
        """3.4, 3.5: only when asked for, and well-formed."""
        client = self.client()
        cafe = "caf\u00e9@example.jp".encode()
        self.answers(client, [
            (b"MAIL FROM:<" + cafe + b">", 553), (b"MAIL FROM:<" + cafe + b"> SMTPUTF8=yes", 501),
            (b"MAIL FROM:<caf\xe9@example.jp> SMTPUTF8", 501), (b"MAIL FROM:<a\xc0\xaf@example.jp> SMTPUTF8", 501),
            (b"MAIL FROM:<a\xed\xa0\x80@example.jp> SMTPUTF8", 501), (b"MAIL FROM:<a\xc2\x85@example.jp> SMTPUTF8", 501),
            (b"MAIL FROM:<a@example.jp>", 250), (b"RCPT TO:<" + cafe + b">", 553), (b"RSET", 250),
            (b"MAIL FROM:<" + cafe + b"> SMTPUTF8", 250), (b"RCPT TO:<" + cafe + b">", 250)])

    # ---- RFC 3461 ----

    def test_reports(self):
        """4.1 to 4.4, and values that hide a line end (CVE-2020-28021, -28026)."""
        client = self.client()
        mail = b"MAIL FROM:<a@example.jp> "
        rcpt = b"RCPT TO:<user@dest.test> "
        self.answers(client, [(mail + words, 501) for words in (
            b"RET=ALL", b"RET", b"RET=", b"RET=FULL RET=FULL", b"ENVID=a ENVID=a", b"ENVID=a=b", b"ENVID=a+0a",
            b"ENVID=a+0AInjected", b"ENVID=a+0D+0A", b"ENVID=+7F", b"ENVID=" + b"x" * 101)])
        self.answers(client, [(mail + b"NOTIFY=NEVER", 555), (mail + b"RET=FULL ENVID=a+20b", 250), (rcpt + b"RET=FULL", 555)])
        self.answers(client, [(rcpt + words, 501) for words in (
            b"NOTIFY=NEVER,SUCCESS", b"NOTIFY=ALWAYS", b"NOTIFY=", b"NOTIFY=SUCCESS NOTIFY=SUCCESS", b"ORCPT=x",
            b"ORCPT=rfc822;a+0Ab", b"ORCPT=rfc822;a+0D+0AX", b"ORCPT=rfc822;", b"ORCPT=rfc822;" + b"x" * 494)])
        self.answers(client, [(rcpt + b"NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a+2Bb@c.test", 250),
                              (rcpt + b"NOTIFY=NEVER", 250)])

    # ---- the other side ----

    def test_as_a_client(self):
        """RFC 2920 section 3.1: no pipelining unless it is offered; 5321 section 4.1.1.10:
        QUIT at the end; 6152 section 3: BODY only where it is offered."""
        for extensions in ([], ["PIPELINING", "8BITMIME"]):
            self.receiver.behaviour = Behaviour(extensions=extensions)
            self.receiver.pipelined = 0
            before = len(self.receiver.commands)
            self.daemon.send("a@example.jp", ["user@dest.test", "other@dest.test"], TEXT)
            self.receiver.wait_for(lambda r: "QUIT" in r.commands[before:])
            commands = self.receiver.commands[before:]
            self.assertEqual([re.split(r"[ :]", c)[0] for c in commands],
                             ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "QUIT"])
            self.assertEqual(self.receiver.pipelined > 0, bool(extensions))
            self.assertNotIn("BODY", commands[1])
            self.assertNotIn("SIZE", commands[1])


class PostmasterOnly(Case):
    def test_postmaster_without_a_default_domain(self):
        """RFC 5321 section 4.5.1: it is the one address that is always there."""
        relay = self.relay(domains=(), return_path={"mode": "off", "default_domain": ""}).start()
        self.names.mail_host("relay.example.jp", "mx.example.jp", "127.0.0.1")
        with RawClient(relay) as client:
            client.ask(b"MAIL FROM:<>", 250)
            client.ask(b"RCPT TO:<root>", 550)
            client.ask(b"RCPT TO:<Postmaster>", 250)
            client.ask(b"DATA", 354)
            client.send(TEXT + b".\r\n")
            client.expect(250)
        self.assertEqual(self.receiver.wait(1)[0].recipients, ["Postmaster@relay.example.jp"])


if __name__ == "__main__":
    unittest.main()
