"""`relayctl reputation explain`: rules from the command line, without a daemon."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from harness import build_dir
from harness.relay import ROOT

BANNED = "550 5.7.606 Access denied, banned sending IP [192.0.2.1]. AS(1430)"


class Explain(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="relayd-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.env = dict(os.environ, RELAYD_REPLIES=os.path.join(ROOT, "conf", "replies.conf"))

    def run_ctl(self, *words, text=None, options=()):
        command = [os.path.join(build_dir(), "relayctl"), *options,
                   "-f", os.path.join(self.folder, "relayd.conf"), "reputation", "explain", *words]
        return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.env, timeout=60)

    def lines(self, *replies):
        done = self.run_ctl("-", text="".join(r + "\n" for r in replies).encode())
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.decode().splitlines()]

    def user_file(self, name, text):
        os.makedirs(os.path.join(self.folder, "replies.d"), exist_ok=True)
        with open(os.path.join(self.folder, "replies.d", name), "w") as f:
            f.write(text)

    def test_words(self):
        done = self.run_ctl(BANNED)
        self.assertEqual(done.returncode, 0, done.stderr)
        out = done.stdout.decode()
        self.assertIn("microsoft-banned-ip", out)
        self.assertIn("ip-blocked, about: ip", out)
        self.assertIn("hold; probes after 1h, 4h, 1d", out)
        self.assertIn("sender.office.com", out)

    def test_as_other_programs_quote_it(self):
        """Nobody has the bare reply: it stands in a log line or a bounce of the server before."""
        for quoted, stage, mx in (
                (f"host mx.test[192.0.2.9] said: {BANNED} (in reply to RCPT TO command)", "rcpt", "mx.test"),
                (f"Dec  1 05:00:00 web postfix/smtp[12]: 4DCF: to=<a@b.test>, relay=mx.test[192.0.2.9]:25, "
                 f"delay=1, dsn=5.7.606, status=bounced (host mx.test[192.0.2.9] said: {BANNED} "
                 f"(in reply to RCPT TO command))", "rcpt", "mx.test"),
                (f"host mx.test[2001:db8::9] refused to talk to me: {BANNED}", "banner", "mx.test"),
                (f"SMTP error from remote mail server after RCPT TO:<a@b.test>: {BANNED}", "rcpt", None),
                (f"<<< {BANNED}", None, None), (f"smtp; {BANNED}", None, None),
                (f"Diagnostic-Code: smtp;{BANNED}", None, None)):
            done = self.run_ctl(quoted)
            out = done.stdout.decode()
            self.assertEqual((done.returncode, done.stderr), (0, b""), quoted)
            self.assertIn("microsoft-banned-ip", out, quoted)
            self.assertEqual([f"stage {stage}" in out, f"host {mx}" in out], [bool(stage), bool(mx)], out)
            self.assertRegex(out, r"^read as:  550 5\.7\.606 Access denied.*AS\(1430\)(, (stage|host) .*)?\n")
            row = json.loads(self.run_ctl(quoted, options=["--json"]).stdout)
            self.assertEqual(row["rule"], "microsoft-banned-ip")
        out = self.run_ctl("host a.test[192.0.2.9] said: 550 x (in reply to end of DATA command)", "--stage",
                           "rcpt", "--mx", "b.test").stdout.decode()
        self.assertTrue(out.startswith("read as:  550 x, stage rcpt, host b.test\n"), out)

    def test_what_is_no_reply(self):
        note = "no code like 550"
        for text, said in (("Access denied", True), ("delivered 550 of 600: 700 x", True), (BANNED, False),
                           ("550 said: 551 x", False)):
            out = self.run_ctl(text).stdout.decode()
            self.assertEqual(note in out, said, text)
            self.assertNotIn("read as", out)

    def test_suppress_is_said_to_be_no_list(self):
        out = self.run_ctl("550 5.1.1 no such user", "--stage", "rcpt").stdout.decode()
        self.assertIn("suppress (back to the sender", out)
        self.assertIn("keeps no list", out)

    def test_object(self):
        done = self.run_ctl(BANNED, options=["--json"])
        row = json.loads(done.stdout)
        self.assertEqual((row["category"], row["scope"], row["action"], row["rule"]),
                         ("ip-blocked", "ip", "hold", "microsoft-banned-ip"))
        self.assertEqual(row["probes_seconds"], [3600, 14400, 86400])

    def test_stage_and_host_count(self):
        reply = "550 Unknown user a@docomo.ne.jp"
        for stage, action in (("rcpt", "suppress"), ("end", "bounce"), ("eod", "bounce")):
            done = self.run_ctl(reply, "--stage", stage, "--mx", "mfsmax.docomo.ne.jp", "--json")
            row = json.loads(done.stdout)
            self.assertEqual((row["category"], row["action"], row["provider"]),
                             ("unknown-recipient", action, "docomo"))

    def test_a_smarthost_is_asked_otherwise(self):
        reply = "550 5.7.1 Relaying denied"
        for words, expected in (((), ("destination", "bounce")), (("--smarthost",), ("us", "hold"))):
            row = json.loads(self.run_ctl(reply, "--stage", "rcpt", *words, "--json").stdout)
            self.assertEqual((row["scope"], row["action"]), expected)

    def test_lines(self):
        rows = self.lines(
            BANNED,
            "550-5.7.26 This mail has been blocked because the sender is\\n550-5.7.26 unauthenticated. "
            "SPF did not pass\\n550 5.7.26 for [192.0.2.1]",
            "550 mailbox unavailable\tmail",
            "550 5.1.1 User unknown\tend\tmx.example.net",
            "550 5.1.1 User unknown\t\tmx.example.net",
            "451 4.7.1 Greylisted, try again in 300 seconds\trcpt",
            "550 a backslash \\\\n is no line break",
            "",
            "no code at all",
            "421")
        self.assertEqual(len(rows), 10)
        self.assertEqual([r["category"] for r in rows[:6]],
                         ["ip-blocked", "auth-failed", "policy", "unknown-recipient",
                          "unknown-recipient", "greylisted"])
        self.assertEqual([r["action"] for r in rows[:6]],
                         ["hold", "hold-domain", "hold", "bounce", "suppress", "retry-same-source"])
        self.assertEqual(rows[5]["wait_seconds"], 310)
        self.assertFalse(rows[6]["known"])
        for row in rows:
            for key in ("category", "scope", "action", "rule"):
                self.assertIsInstance(row[key], str)

    def test_hostile_lines(self):
        text = (b"550 " + b"user unknown " * 20000 + b"\n" + bytes(range(1, 9)) + b"\xff\xfe\n"
                + b"550 " + "\u0001\u001b[31m".encode() + b"\r\n" + b"550-" + b"550-x\\n" * 5000 + b"\n")
        done = self.run_ctl("-", text=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
        self.assertEqual(len(rows), 4)

    def test_no_such_stage(self):
        done = self.run_ctl("-", text=b"550 x\tlunch\n550 y\n")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stdout.splitlines()), 2)
        self.assertIn(b"line 1", done.stderr)
        self.assertEqual(self.run_ctl("550 x", "--stage", "lunch").returncode, 2)

    def test_wrong_usage(self):
        for words in ((), ("a", "b"), ("--mx",), ("-", "--stage", "rcpt"), ("550 x", "--color")):
            self.assertEqual(self.run_ctl(*words).returncode, 2, words)

    def test_rules_of_the_user_come_first(self):
        self.user_file("20-later.conf", 'rules = ( { id = "late"; text = "banned sending ip"; '
                       'category = "other"; examples = [ "550 banned sending IP" ]; } );')
        self.user_file("10-ours.conf", 'rules = ( { id = "ours"; provider = "microsoft365"; '
                       'text = "banned sending ip"; category = "policy"; scope = "ip"; '
                       'examples = [ "550 banned sending IP" ]; } );')
        self.user_file("README", "this is no rule file")
        self.assertEqual(self.lines(BANNED)[0]["rule"], "ours")

    def test_broken_rules_are_told(self):
        self.user_file("bad.conf", 'rules = (\n{ id = "mine"; code = "550"; category = "policy"; '
                       'examples = [ "451 not this" ]; },\n'
                       '{ id = "other"; colour = "red"; category = "policy"; code = "5xx"; examples = [ "550 x" ]; } );')
        done = self.run_ctl(BANNED)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, b"")
        out = done.stderr.decode()
        self.assertIn("replies.d/bad.conf:3: rule other: \"colour\" is no key of a rule", out)
        self.assertIn("replies.d/bad.conf:2: rule mine: the example \"451 not this\" does not fit", out)


if __name__ == "__main__":
    unittest.main()
