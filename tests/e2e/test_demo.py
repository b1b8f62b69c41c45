"""`make run`: the demonstration shows a message as it leaves, on a machine of its own."""
import os
import pwd
import re
import shutil
import smtplib
import socket
import subprocess
import tempfile
import unittest

import dkim

from harness.case import needs_open_tree
from harness.relay import ROOT, build_dir, free_port


class Demo(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="relayd-test-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.port = free_port()

    def demo(self, **more):
        environment = dict(os.environ, BUILD=build_dir(), RUN=os.path.join(self.folder, "run"),
                           PORT=str(self.port), DEMO_ONCE="1", **more)
        environment.pop("RELAYD_REPLIES", None)
        return subprocess.run([os.path.join(ROOT, "tests", "demo.sh")], env=environment,
                              capture_output=True, text=True, timeout=120)

    def record(self, *_, **__):
        """What `dkim new` said is to be published, with its strings put together."""
        with open(os.path.join(self.folder, "run", "dkim", "record.txt")) as f:
            return re.search(r"value: (.*)", f.read()).group(1).encode()

    def test_a_message_as_it_leaves(self):
        for turn in ("first", "again"):
            with self.subTest(turn):
                done = self.demo()
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertRegex(done.stdout, r"\n    Return-Path: <bounce@example\.jp>\n")
                self.assertRegex(done.stdout, r"\n    DKIM-Signature: v=1; a=rsa-sha256;")
                self.assertRegex(done.stdout, r"\n    Received: from ")
                self.assertRegex(done.stdout, r"\nDKIM: the signature .* is good\n")
                self.assertIn(f"--server 127.0.0.1:{self.port}", done.stdout)
                self.assertIn("To let it deliver to the world", done.stdout)
                with open(os.path.join(self.folder, "run", "caught", "000001.eml"), "rb") as f:
                    message = f.read()
                # above the signature is what the catcher noted
                message = message[message.index(b"DKIM-Signature:"):]
                self.assertTrue(dkim.verify(message, dnsfunc=self.record))

    @unittest.skipUnless(os.geteuid() == 0, "to become another user needs root")
    def test_under_sudo_it_is_who_called_it(self):
        """Root without its powers can not enter a home of mode 0700."""
        needs_open_tree(self)
        nobody = pwd.getpwnam("nobody")
        os.mkdir(os.path.join(self.folder, "run"))  # as an earlier one by root has left it
        os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        done = self.demo(SUDO_USER="nobody")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\nDKIM: the signature .* is good\n")
        for name in ("relayd.conf", "caught/000001.eml"):
            self.assertEqual(os.stat(os.path.join(self.folder, "run", name)).st_uid, nobody.pw_uid)

    def test_a_port_that_is_taken_is_named(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port))
            taken.listen()
            done = self.demo()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"port {self.port}", done.stderr)
        self.assertIn("in use", done.stderr)


class Catcher(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="relayd-test-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def command(self, *arguments):
        return [os.path.join(build_dir(), "relay-catcher"), "-d", self.folder, *arguments]

    def catch(self, text):
        """One run that gets one message."""
        with subprocess.Popen(self.command(), stdout=subprocess.PIPE, text=True) as process:
            self.addCleanup(process.kill)
            port = int(re.search(r"port (\d+)", process.stdout.readline()).group(1))
            with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
                client.sendmail("a@example.jp", ["user@dest.test"], text)
            process.terminate()
        self.assertEqual(process.returncode, 0)

    def test_an_earlier_run_is_not_written_over(self):
        for text in ("one\n", "two\n"):
            self.catch(text)
        for name, text in (("000001.eml", "one\n"), ("000002.eml", "two\n")):
            with open(os.path.join(self.folder, name)) as f:
                self.assertTrue(f.read().endswith(text), name)

    def test_what_is_wrong_is_named(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = subprocess.run(self.command("-p", str(port)), capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr),
                         (71, f"relay-catcher: 127.0.0.1 port {port}: Address already in use\n"))
        shutil.rmtree(self.folder)
        done = subprocess.run(self.command(), capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr),
                         (71, f"relay-catcher: folder {self.folder}: No such file or directory\n"))


if __name__ == "__main__":
    unittest.main()
