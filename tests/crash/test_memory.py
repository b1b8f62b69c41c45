"""Memory runs out: malloc gives NULL at one call after another of a life. The relay
answers 4xx, goes on, or aborts; whatever it does, nothing that got its 250 is lost."""
import collections
import mmap
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest

from base import FULL, Life
from harness.relay import release_dir

HERE = os.path.dirname(os.path.abspath(__file__))
COMPILER = shutil.which("cc")
NUMBERS = struct.Struct("QQQ")


@unittest.skipUnless(COMPILER, "a compiler makes the library that fails")
class Memory(Life):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="relayd-memory-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.library = os.path.join(self.folder, "failing_malloc.so")
        subprocess.run([COMPILER, "-shared", "-fPIC", "-O2", "-D_GNU_SOURCE", "-o", self.library,
                        os.path.join(HERE, "failing_malloc.c")], check=True)
        self.counter = os.path.join(self.folder, "counter")
        with open(self.counter, "wb") as f:
            f.write(bytes(NUMBERS.size))
        with open(self.counter, "r+b") as f:
            self.numbers = mmap.mmap(f.fileno(), NUMBERS.size)
        self.addCleanup(self.numbers.close)

    def short(self, first, last):
        """A relay whose calls of malloc FIRST to LAST will fail."""
        self.numbers[:] = NUMBERS.pack(0, first, last)
        relay = self.relay(queue={"backoff": ["200ms"]}, workers=1,
                           spool={"segment_size": "1M", "big_message": "64K", "spare_segments": 1})
        relay.program = lambda name: os.path.join(release_dir(), name)
        relay.wrapper = ["env", f"LD_PRELOAD={self.library}", f"COUNTER_FILE={self.counter}"]
        return relay

    def calls(self):
        return NUMBERS.unpack(self.numbers[:])[0]

    def count_calls(self):
        """Of the start, and of the whole life."""
        relay = self.short(0, 0)
        self.assertTrue(self.start(relay))
        start = self.calls()
        good = self.life(relay)
        self.finish(relay, good)
        self.assertEqual(relay.stop(), 0)
        return start, self.calls()

    def try_at(self, first, last):
        """How it ended."""
        self.receiver.messages.clear()
        relay = self.short(first, last)
        ready = self.start(relay)
        good = self.life(relay) if ready else set()
        status = relay.stop(15)
        said = "\n".join(relay.lines[-30:])
        if ready:
            self.assertIn(status, (0, -signal.SIGABRT), said)
        else:
            # libseccomp may leave out a rule: a start may end in any way but one, to
            # stand there half started
            self.assertNotEqual(status, 0, said)
        relay.lines.clear()  # bug() may have said why it aborted
        relay.wrapper = []
        self.afterlife(relay, good)
        relay.close()
        return "abort" if status < 0 else "went on" if ready else "did not start"

    def sweep(self, firsts, length):
        ends = collections.Counter()
        for first in firsts:
            with self.subTest(f"malloc {first}, {length} of them"):
                ends[self.try_at(first, first + length - 1)] += 1
        print(f"     {sum(ends.values())} points, {length} calls each: "
              + ", ".join(f"{end} {n}" for end, n in sorted(ends.items())), flush=True)

    def test_one_call_fails(self):
        """One of them all, then plenty again."""
        start, whole = self.count_calls()
        self.assertGreater(whole, start + 500)
        print(f"     calls of malloc: {start} to the start, {whole - start} in a life", flush=True)
        self.sweep(range(1, start, start // (1000 if FULL else 4)), 1)
        self.sweep(range(start + 1, whole, max(1, (whole - start) // (1000 if FULL else 15))), 1)

    def test_all_calls_fail_for_a_while(self):
        start, whole = self.count_calls()
        self.sweep(range(start + 1, whole, (whole - start) // (100 if FULL else 3)), 200)


if __name__ == "__main__":
    unittest.main()
