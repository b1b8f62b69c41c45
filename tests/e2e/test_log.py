"""The log holds no secret, at whatever level, and each event is one line of printable text,
whatever clients and receivers say."""
import base64
import os
import re
import socket
import subprocess
import unittest

from harness import Behaviour, RawClient
from harness.case import TEXT, Case

USER = "relay@example.jp"
PASSWORD = "sehr-geheim-8f3a"
HOSTILE = b"\x00\x01\x07\x1b[2J\x7f\x9b\r\xff\xfe\xe2\x80\xa8 forged=1 \"quote"


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Secrets(Case):
    def smarthost(self, **stages):
        path = os.path.join(self.folder(), "password")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(PASSWORD + "\n")
        self.names.add("smart.test", "A", "127.0.0.1")
        self.receiver.behaviour = Behaviour(tls=self.certificate("smart.test")[2], **stages)
        return self.relay(log_level="debug", queue={"backoff": ["1h"]},
                          smarthosts=({"name": "smart", "host": "smart.test",
                                       "port": self.receiver.port, "tls": "encrypt",
                                       "user": USER, "password_file": path},),
                          routes=({"match": "*", "via": ["smart"]},)).start()

    def holds_no_secret(self, relay):
        shown = relay.run_ctl("log").stdout + relay.run_ctl("queue", "list").stdout + \
            relay.run_ctl("why", "dest.test").stdout + "".join(relay.log(""))
        self.assertIn("dest.test", shown)
        for secret in (PASSWORD, b64(PASSWORD), b64(f"\0{USER}\0{PASSWORD}"), b64(USER)):
            self.assertNotIn(secret, shown)

    def test_login_at_a_smarthost(self):
        for mechanism in ("PLAIN", "LOGIN"):
            relay = self.smarthost(extensions=[f"AUTH {mechanism}"])
            relay.send("a@example.jp", "user@dest.test", TEXT)
            message, = self.receiver.wait(1)
            self.assertEqual(message.login, (mechanism, USER, PASSWORD))
            self.gone(relay)
            self.holds_no_secret(relay)
            self.receiver.messages.clear()
            relay.close()

    def test_a_login_that_is_refused(self):
        relay = self.smarthost(extensions=["AUTH PLAIN LOGIN"], auth="535 5.7.8 no")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        relay.wait_log("result=deferred")
        self.holds_no_secret(relay)


class Lines(Case):
    def lines_are_whole(self, relay):
        """Nothing but printable characters, and what could be an event is one of ours."""
        for line in relay.log(""):
            self.assertIsNone(re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]", line), repr(line))
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|info|debug) ")
        forged = [l for l in relay.log("forged=1") if not re.search(r'"[^"]*forged=1', l)]
        self.assertEqual(forged, [])

    def test_hostile_client(self):
        relay = self.relay(log_level="debug").start()
        for begin in (b"", b"EHLO ", b"MAIL FROM:<", b"MAIL FROM:<a@example.jp> ENVID=", b"AUTH PLAIN ",
                      b"VRFY ", b"RCPT TO:<", b"XYZ "):
            with RawClient(relay) as client:
                client.send(begin + HOSTILE + b"\r\nQUIT\r\n")
                client.replies()
        with RawClient(relay) as client:
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
            client.ask(b"RCPT TO:<user@dest.test>", 250)
            client.ask(b"DATA", 354)
            client.send(b"Subject: " + HOSTILE.replace(b"\r", b"") + b"\r\nMessage-ID: <" +
                        HOSTILE.replace(b"\r", b"") + b">\r\nFrom: a@example.jp\r\n\r\nx\r\n.\r\nQUIT\r\n")
            client.replies()
        self.lines_are_whole(relay)

    def test_escaped_once_and_bounded(self):
        self.receiver.behaviour = Behaviour(banner="421 later")
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@dest.test", b"From: \"a\\b\"\r\n <www@web01>\r\nMessage-ID:\r\n"
                   b" <a\\b@web01>\r\n\r\nx\r\n")
        line, = relay.wait_log("info accept ")
        self.assertIn(r' header_from_was="\"a\x5cb\" <www@web01>" ', line)
        self.assertIn(r" message_id=<a\x5cb@web01>", line)
        self.waiting(relay)
        shown = {row["what"]: row["value"] for row in relay.ctl("queue", "show", line.split("id=")[1].split()[0])}
        self.assertEqual(shown["header_from_was"], r'"a\x5cb" <www@web01>')
        self.assertEqual(shown["message_id"], r"<a\x5cb@web01>")
        relay.send("a@example.jp", "user@dest.test",
                   b"From: a@example.jp\r\nMessage-ID: <" + b"\\" * 300 + b"@web01>\r\n\r\nx\r\n")
        line = relay.wait_log("info accept ", 2)[1]
        value = re.search(r" message_id=(\S+)", line).group(1)
        self.assertRegex(value, r"^<(\\x5c)+\.\.\.$")
        self.assertTrue(590 < len(value) <= 600, len(value))

    def test_hostile_receiver(self):
        text = HOSTILE.decode("latin-1").replace("\r", "")
        for stage in ("banner", "ehlo", "mail", "rcpt", "data", "end"):
            self.receiver.behaviour = Behaviour(**{stage: f"550 5.7.1 {text}"})
            relay = self.relay(log_level="debug").start()
            relay.send("", "user@dest.test", TEXT)
            relay.wait_log("attempt .*result=")
            self.lines_are_whole(relay)
            relay.close()


OWN_DEV = """set -e
mount -t tmpfs none "$1"
for name in null urandom; do
	touch "$1/$name"
	mount --bind /dev/$name "$1/$name"
done
ln -s "$2" "$1/log"
mount --move "$1" /dev
shift 2
exec "$@"
"""


class StartThatFails(Case):
    def test_syslog_does_not_keep_it_for_itself(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            relay = self.relay(log="syslog", port=taken.getsockname()[1])
            relay.start(wait=False)
            relay.wait_log("error .*Address already in use")
            self.assertEqual(relay.process.wait(30), 71)


class Syslog(Case):
    """With a /dev/log of its own, in a mount namespace."""

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.folder(), "log")
        self.enter = ["unshare", "-m", "sh", "-c", OWN_DEV, "sh", self.folder(), self.path]
        if subprocess.run([*self.enter, "true"], capture_output=True).returncode != 0:
            self.skipTest("a mount namespace of its own is not allowed here")

    def listen(self):
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        log.settimeout(30)
        log.bind(self.path)
        self.addCleanup(log.close)
        return log

    def until(self, log, pattern):
        while True:
            line = log.recv(65536).decode()
            self.assertRegex(line, r"^<2[0-3]>[A-Z][a-z][a-z] [ 123]\d \d\d:\d\d:\d\d relayd\[\d+\]: ")
            if re.search(pattern, line):
                return line

    def drain(self, log):
        lines = []
        log.settimeout(0)
        try:
            while True:
                lines.append(log.recv(65536).decode())
        except BlockingIOError:
            log.settimeout(30)
        return lines

    def test_lines_and_a_log_that_stands_still(self):
        log = self.listen()
        relay = self.relay(wrapper=self.enter, log="syslog")
        relay.start(wait=False)
        self.until(log, " is ready")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.until(log, r"^<22>.*info accept id=")
        self.until(log, r"^<22>.*info attempt id=.*result=delivered")
        # more than its queue holds: nobody waits for it
        for _ in range(100):
            relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(101)
        lost = r"^<20>.*warn \d+ lines of this log were lost"
        # it is said with the next line that finds room, perhaps in the middle of this
        if not any(re.search(lost, line) for line in self.drain(log)):
            relay.send("a@example.jp", "user@dest.test", TEXT)
            self.until(log, lost)
        # it ends, and is started again
        log.close()
        os.unlink(self.path)
        before = len(self.receiver.messages)
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(before + 1)
        log = self.listen()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.until(log, r"info accept id=")
        self.assertEqual(relay.log(""), [])


if __name__ == "__main__":
    unittest.main()
