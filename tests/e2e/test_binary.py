"""The programs are built as hardened as the compiler can."""
import os
import re
import subprocess
import unittest

from harness.relay import ROOT, release_dir

PROGRAMS = ("relayd", "relayctl", "relay-sendmail")


def readelf(option, program):
    return subprocess.run(["readelf", "-W", option, os.path.join(release_dir(), program)],
                          capture_output=True, text=True, check=True).stdout


class Binary(unittest.TestCase):
    def test_hardening(self):
        for program in PROGRAMS:
            with self.subTest(program):
                self.assertRegex(readelf("-h", program), r"Type:\s+DYN")  # PIE
                dynamic = readelf("-d", program)
                self.assertRegex(dynamic, r"BIND_NOW|FLAGS.*NOW")
                self.assertNotRegex(dynamic, r"R(UN)?PATH")
                segments = readelf("-l", program)
                self.assertIn("GNU_RELRO", segments)
                self.assertRegex(segments, r"GNU_STACK\s+(\S+\s+){5}RW\s")
                self.assertIsNone(re.search(r"LOAD.*RWE", segments))
                symbols = readelf("--dyn-syms", program)
                self.assertIn("__stack_chk_fail", symbols)
                self.assertRegex(symbols, r"__\w+_chk@")  # FORTIFY

    def test_fortified_fully(self):
        """A binary does not tell level 3 from level 2; how it is built does."""
        done = subprocess.run(["make", "-n", "V=1", "B=nowhere", "all"], cwd=ROOT, text=True,
                              capture_output=True, check=True, stdin=subprocess.DEVNULL,
                              env={k: v for k, v in os.environ.items() if "MAKE" not in k})
        compiled = [line for line in done.stdout.splitlines() if " -c -o " in line]
        self.assertTrue(compiled)
        self.assertEqual([l for l in compiled if "-D_FORTIFY_SOURCE=3 " not in l], [])

    def test_sendmail_loads_little(self):
        needed = set(re.findall(r"NEEDED.*\[(\w+)", readelf("-d", "relay-sendmail")))
        self.assertLessEqual(needed, {"libssl", "libcrypto", "libconfig", "libc"})


if __name__ == "__main__":
    unittest.main()
