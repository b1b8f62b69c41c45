"""The real Postfix with the daemon as its relayhost: its own configuration, queue and
data folders, its own sendmail to submit. Nothing of the system's Postfix is touched."""
import os
import shutil
import subprocess
import unittest

import dkim

from harness import wait_until
from harness.case import Case

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = web.hosting.example
mydestination =
inet_interfaces = loopback-only
relayhost = [127.0.0.1]:{port}
smtp_tls_security_level = {tls}
smtputf8_enable = yes
alias_maps =
master_service_disable = inet
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
"""

MASTER = """\
pickup    unix  n  -  n  1     1  pickup
cleanup   unix  n  -  n  -     0  cleanup
qmgr      unix  n  -  n  1     1  qmgr
tlsmgr    unix  -  -  n  1000? 1  tlsmgr
rewrite   unix  -  -  n  -     -  trivial-rewrite
bounce    unix  -  -  n  -     0  bounce
defer     unix  -  -  n  -     0  bounce
trace     unix  -  -  n  -     0  bounce
verify    unix  -  -  n  -     1  verify
flush     unix  n  -  n  1000? 0  flush
proxymap  unix  -  -  n  -     -  proxymap
proxywrite unix -  -  n  -     1  proxymap
smtp      unix  -  -  n  -     -  smtp
showq     unix  n  -  n  -     -  showq
error     unix  -  -  n  -     -  error
retry     unix  -  -  n  -     -  error
scache    unix  -  -  n  -     1  scache
postlog   unix-dgram n - n -   1  postlogd
"""

TEXT = "From: Web <apache@web.hosting.example>\nTo: user@dest.test\nSubject: hello\n\n{}\n"


@unittest.skipUnless(shutil.which("postfix") and os.getuid() == 0, "needs Postfix, and root to start it")
class Postfix(Case):
    tls = "none"
    more = ""  # lines for main.cf

    def setUp(self):
        super().setUp()
        self.daemon = self.relay()
        self.daemon.change(domains=({"name": "example.jp", "return_path": "bounce@example.jp",
                                     "dkim": (self.key(self.daemon),)},))
        self.settings()
        self.daemon.start()
        self.start_postfix()

    def settings(self):
        """For more of the daemon's configuration."""

    def start_postfix(self):
        self.place = self.folder()
        os.chmod(self.place, 0o755)
        for name in ("queue", "data", "conf"):
            os.mkdir(os.path.join(self.place, name), 0o755)
        shutil.chown(os.path.join(self.place, "data"), "postfix")
        self.conf = os.path.join(self.place, "conf")
        with open(os.path.join(self.conf, "main.cf"), "w") as f:
            f.write(MAIN.format(folder=self.place, port=self.daemon.port, tls=self.tls) + self.more)
        with open(os.path.join(self.conf, "master.cf"), "w") as f:
            f.write(MASTER)
        self.postfix("start")
        self.addCleanup(self.postfix, "stop", check=False)

    def postfix(self, verb, check=True):
        done = subprocess.run(["postfix", "-c", self.conf, verb], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(f"postfix {verb}: {done.returncode}\n{self.log()}")

    def log(self):
        try:
            with open(os.path.join(self.place, "log")) as f:
                return f.read()[-5000:]
        except FileNotFoundError:
            return "no log"

    def submit(self, *recipients, text=TEXT.format("Text."), sender="apache@web.hosting.example"):
        subprocess.run(["/usr/sbin/sendmail", "-C", self.conf, "-i", "-f", sender, "--", *recipients],
                       input=text.encode(), check=True, timeout=60)

    def arrived(self, count):
        try:
            messages = self.receiver.wait(count, 60)
        except AssertionError as e:
            ours = "\n".join(self.daemon.log("")[-20:])
            raise AssertionError(f"{e}; Postfix says:\n{self.log()}\nrelayd ({self.daemon.process.poll()}) says:\n{ours}") from None
        for message in messages:
            self.assertTrue(dkim.verify(message.data, dnsfunc=self.lookup))
            self.assertEqual(message.sender, "bounce@example.jp")
        return messages

    def empty(self):
        """Postfix has nothing left, and nothing was returned."""
        queue = ["postqueue", "-c", self.conf, "-j"]
        wait_until(lambda: subprocess.run(queue, capture_output=True, timeout=30).stdout == b"",
                   what="an empty queue of Postfix")
        self.assertNotIn("status=bounced", self.log())

    def test_a_message(self):
        self.submit("user@dest.test")
        message, = self.arrived(1)
        self.assertEqual(message.recipients, ["user@dest.test"])
        self.assertIn("From: Web <", message.header)
        self.empty()

    def test_8bit_and_utf8(self):
        self.submit("user@dest.test", text=TEXT.format("八ビット"))
        message, = self.arrived(1)
        self.assertIn("八ビット".encode(), message.body)
        self.submit("用户@dest.test", text=TEXT.format("x").replace("hello", "件名"))
        message = self.arrived(2)[-1]
        self.assertEqual(message.recipients, ["用户@dest.test"])
        self.assertIn("件名", message.header)
        self.empty()

    def test_dots_and_long_lines(self):
        lines = [".", "..", "." * 5, "x" * 2000, "", "."]
        self.submit("user@dest.test", text=TEXT.format("\n".join(lines)))
        body = self.arrived(1)[0].body
        self.assertTrue(body.startswith(b".\r\n..\r\n.....\r\n"), body[:40])
        self.assertTrue(body.endswith(b"\r\n\r\n.\r\n"))
        self.empty()

    def test_120_recipients(self):
        many = [f"u{i}@dest.test" for i in range(120)]
        self.submit(*many)
        self.receiver.wait_for(lambda r: sum(len(m.recipients) for m in r.messages) >= 120, 60)
        messages = self.arrived(1)
        self.assertEqual(sorted(a for m in messages for a in m.recipients), sorted(many))
        self.empty()

    def test_burst(self):
        for i in range(30):
            self.submit("user@dest.test", text=TEXT.format(f"number {i}"))
        bodies = sorted(m.body for m in self.arrived(30))
        self.assertEqual(bodies, sorted(f"number {i}\r\n".encode() for i in range(30)))
        self.empty()

    def test_while_the_daemon_is_away(self):
        self.daemon.kill()
        self.submit("user@dest.test")
        wait_until(lambda: "status=deferred" in self.log(), what="a deferral in Postfix's log")
        self.daemon.start()
        self.postfix("flush")
        self.arrived(1)
        self.empty()

    def test_a_refusal_comes_back(self):
        """What the daemon refuses for good Postfix returns, by the daemon again."""
        self.names.mail_host("example.jp", "mx.dest.test", "127.0.0.1")
        self.submit("user@dest.test", sender="a@example.jp",
                    text=TEXT.format("x").replace("apache@web.hosting.example", "me@gmail.com"))
        report, = self.receiver.wait(1, 60)
        self.assertEqual((report.sender, report.recipients), ("", ["a@example.jp"]))
        self.assertIn(b"5.7.1", report.body)


class PostfixTls(Postfix):
    """The same with STARTTLS."""

    tls = "encrypt"

    def settings(self):
        certificate, key, _ = self.certificate("relay.example.jp")
        self.daemon.change(tls={"certificate": certificate, "key": key},
                           listen=({"address": "127.0.0.1", "port": self.daemon.port, "tls": "starttls"},
                                   {"address": self.daemon.submit}))


if __name__ == "__main__":
    unittest.main()
