"""What dkim/ signs is verified by dkimpy, which others have written.

The unit test of DKIM writes each message that it has signed and the DNS records
of its keys into a folder; both signatures of each are verified here.
"""
import glob
import os
import subprocess
import tempfile
import unittest

import dkim

from harness import build_dir

# valid by the obsolete syntax of RFC 5322, but dkimpy does not parse it at all
NOT_PARSED = {"space-before-colon.eml"}


def read_records(folder):
    """The DNS of these tests: name to text, as test_dkim has written them."""
    with open(os.path.join(folder, "records"), encoding="ascii") as lines:
        pairs = [line.rstrip("\n").split(" ", 1) for line in lines]
    return {name.encode(): value.encode() for name, value in pairs}


def fault_of(message, records):
    """None, or what is wrong with the signatures of MESSAGE."""
    verifier = dkim.DKIM(message)
    for index in range(2):
        try:
            if not verifier.verify(idx=index, dnsfunc=lambda name, timeout=5: records.get(name)):
                return f"signature {index} is bad"
        except dkim.DKIMException as error:
            return f"signature {index}: {error}"
    return None


class Verifiers(unittest.TestCase):
    def test_dkimpy_verifies_every_message(self):
        with tempfile.TemporaryDirectory(prefix="relayd-dkim-") as folder:
            program = os.path.join(build_dir(), "tests", "unit", "test_dkim")
            subprocess.run([program], env=dict(os.environ, RELAYD_DKIM_OUT=folder), check=True,
                           capture_output=True, timeout=300)
            records = read_records(folder)
            files = [path for path in sorted(glob.glob(os.path.join(folder, "*.eml")))
                     if os.path.basename(path) not in NOT_PARSED]
            self.assertEqual(len(records), 2)
            self.assertGreaterEqual(len(files), 30)
            for path in files:
                with self.subTest(os.path.basename(path)), open(path, "rb") as file:
                    message = file.read()
                    self.assertIsNone(fault_of(message, records))
                    # a verifier that says yes to everything would prove nothing
                    self.assertIsNotNone(fault_of(message + b"x\r\n", records))


if __name__ == "__main__":
    unittest.main()
