"""What tests/run.py makes of a skip. The tests that it runs here are played."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from harness.relay import ROOT

SKIPS = """
import unittest
class Played(unittest.TestCase):
    def test_good(self):
        pass
    @unittest.skip({reason!r})
    def test_skipped(self):
        pass
"""
UNIT = """#!/bin/sh
echo "[  SKIPPED ] {name}"
echo "[  PASSED  ] 1 test(s)."
echo "[  SKIPPED ] 1 test(s), listed below:"
echo "[  SKIPPED ] {name}"
"""


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="relayd-test-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def run_tests(self, *arguments, no_skips):
        """(status, closing line, all that it said)"""
        done = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "run.py"), *arguments],
                              env=dict(os.environ, RELAYD_NO_SKIPS=no_skips), text=True,
                              capture_output=True, timeout=60)
        return done.returncode, done.stdout.splitlines()[-1], done.stdout

    def test_skips_of_python(self):
        needs, container = "php is not installed", "a mount namespace of its own is not allowed here"
        for reason, no_skips, wanted in (
                (needs, "0", (0, "1 passed, 0 failed, 1 skipped")),
                (needs, "1", (1, "1 passed, 1 failed, 0 skipped")),
                (container, "1", (0, "1 passed, 0 failed, 1 skipped"))):
            with self.subTest(reason, no_skips=no_skips):
                self.write("test_played.py", SKIPS.format(reason=reason))
                *found, said = self.run_tests("--python", self.folder, no_skips=no_skips)
                self.assertEqual(tuple(found), wanted)
                self.assertEqual(f"\nFAIL test_played.Played.test_skipped: {reason}" in said, wanted[0] == 1)

    def test_skips_of_unit_programs(self):
        for program, name, no_skips, wanted in (
                ("test_played", "test_one", "0", (0, "1 passed, 0 failed, 1 skipped")),
                ("test_played", "test_one", "1", (1, "1 passed, 1 failed, 0 skipped")),
                ("test_dns", "test_ipv6_server", "1", (0, "1 passed, 0 failed, 1 skipped"))):
            with self.subTest(program, no_skips=no_skips):
                path = self.write(program, UNIT.format(name=name))
                *found, said = self.run_tests(path, no_skips=no_skips)
                self.assertEqual(tuple(found), wanted)
                self.assertEqual(f"skipped, which it may not: {name}" in said, wanted[0] == 1)


if __name__ == "__main__":
    unittest.main()
