"""The programs are built as hardened as the compiler can."""
import glob
import os
import platform
import re
import subprocess
import unittest

from harness.relay import ROOT, release_dir

STATIC = "relay-sendmail.static"
PROGRAMS = ("relayd", "relayctl", "relay-sendmail", "relay-catcher", STATIC)
X86 = platform.machine() == "x86_64"
# What a binary tells of only in part: not which functions have it, nor the level.
FLAGS = ("-fPIE", "-fstack-protector-strong", "-fstack-clash-protection", "-D_FORTIFY_SOURCE=3",
         *(["-fcf-protection"] if X86 else []))
TAKEN_BACK = re.compile(r" (-fno-stack\S*|-fcf-protection=\S*|-U_FORTIFY\S*|-fno-pie|-no-pie|-O0) ")


def readelf(option, *programs):
    return subprocess.run(["readelf", "-W", option, *(os.path.join(release_dir(), p) for p in programs)],
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
                symbols = readelf("-s", program)
                self.assertIn("__stack_chk_fail", symbols)
                self.assertRegex(symbols, r"__\w+_chk\b")  # FORTIFY
                self.assertEqual("NEEDED" in dynamic, program != STATIC)

    def test_all_is_compiled_with_it(self):
        """The lines of the compiler, those that link as well: one of them compiles, too."""
        done = subprocess.run(["make", "-n", "V=1", "B=nowhere", "all", "static"], cwd=ROOT, text=True,
                              capture_output=True, check=True, stdin=subprocess.DEVNULL,
                              env={k: v for k, v in os.environ.items() if "MAKE" not in k})
        lines = [line for line in done.stdout.replace("\\\n", " ").splitlines() if " -std=c11 " in line]
        self.assertEqual(len([line for line in lines if " -c -o " not in line]), len(PROGRAMS))
        self.assertGreater(len(lines), 100)
        for line in lines:
            self.assertEqual([flag for flag in FLAGS if f" {flag} " not in line], [], line)
            self.assertIsNone(TAKEN_BACK.search(line), line)

    @unittest.skipUnless(X86, "control flow is protected on x86 only")
    def test_all_of_ours_is_marked_for_the_processor(self):
        """IBT and SHSTK. The linked programs have no such mark: crti.o and crtn.o, which are
        the C library's, carry none, and the linker keeps what all objects have."""
        objects = glob.glob(os.path.join(release_dir(), "obj", "**", "*.o"), recursive=True)
        objects = [o for o in objects if "/obj/tests/" not in o]
        self.assertGreater(len(objects), 100)
        notes = readelf("-n", *objects).split("\nFile: ")[1:]
        self.assertEqual(len(notes), len(objects))
        self.assertEqual([n.split("\n")[0] for n in notes if "x86 feature: IBT, SHSTK" not in n], [])

    def test_sendmail_loads_little(self):
        needed = set(re.findall(r"NEEDED.*\[(\w+)", readelf("-d", "relay-sendmail")))
        self.assertLessEqual(needed, {"libssl", "libcrypto", "libconfig", "libc"})


if __name__ == "__main__":
    unittest.main()
