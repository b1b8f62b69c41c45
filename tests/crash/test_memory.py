"""Memory runs out: malloc gives NULL at one call after another of a life. The relay
answers 4xx, goes on, or aborts; whatever it does, nothing that got its 250 is lost.

At full size each of the 2,000 calls of a life fails once, in a quarter of an hour. A start has
16,000, which would take hours: it is a thousand of them, evenly spread, from another first one
in each run; the runs together try them all.
"""
import collections
import random
import signal
import unittest

from base import FULL, Life
from preload import COMPILER, Library

CALLS, FIRST, LAST, SECCOMP = range(4)
DEAF = "looked up nothing any more"
DEAF_SHARE = 0.01
UNREACHED = 0.05  # of the points: lives differ by some calls, so the last may not come


def points(first, end, count):
    """About COUNT calls from FIRST to before END, evenly spread."""
    step = max(1, (end - first) // count)
    return range(first + random.randrange(step), end, step)


@unittest.skipUnless(COMPILER, "a compiler makes the library that fails")
class Memory(Life):
    def setUp(self):
        super().setUp()
        self.library = Library(self, "failing_malloc.c", "COUNTER_FILE", 4)

    def short(self, first, last):
        """A relay whose calls of malloc FIRST to LAST will fail."""
        self.library.set(CALLS, 0, first, last, 0)
        relay = self.release(queue={"backoff": ["200ms"]}, workers=1, spool={
            "segment_size": "1M", "big_message": "64K", "spare_segments": 1})
        relay.wrapper = self.library.wrapper
        return relay

    def calls(self):
        return self.library.get(CALLS)

    def all_over(self, relay, good):
        """Or libunbound could not begin its thread: nothing is looked up until a restart."""
        try:
            super().all_over(relay, good)
        except AssertionError:
            if not relay.log("no answer in time"):
                raise
            self.deaf = True

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
        self.deaf = False
        relay = self.short(first, last)
        ready = self.start(relay)
        good = self.life(relay) if ready else set()
        status = relay.stop(15)
        self.failed = self.calls() >= first
        said = "\n".join(relay.lines[-30:])
        if ready:
            # libc's own abort has another status
            self.assertTrue(status in (0, -signal.SIGABRT) or "thread-local data: ABORT" in said,
                            f"{status}\n{said}")
        elif self.library.get(SECCOMP):
            # it may crash, or leave out a rule: then a start may end in any way but one,
            # to stand there half started
            self.assertNotEqual(status, 0, said)
        else:
            self.assertTrue(status > 0 or status == -signal.SIGABRT, f"{status}\n{said}")
        relay.lines.clear()  # bug() may have said why it aborted
        relay.wrapper = []
        self.afterlife(relay, good)
        relay.close()
        if self.deaf:
            return DEAF
        return "abort" if status < 0 else "went on" if ready else "did not start"

    def sweep(self, firsts, length):
        ends = collections.Counter()
        unreached = []
        for first in firsts:
            with self.subTest(f"malloc {first}, {length} of them"):
                ends[self.try_at(first, first + length - 1)] += 1
                if not self.failed:
                    unreached.append(first)
        print(f"     {sum(ends.values())} points, {length} calls each: "
              + ", ".join(f"{end} {n}" for end, n in sorted(ends.items()))
              + f", not reached {len(unreached)}", flush=True)
        self.assertLessEqual(ends[DEAF], max(1, len(firsts) * DEAF_SHARE))
        self.assertLessEqual(len(unreached), max(1, len(firsts) * UNREACHED), unreached)

    def test_one_call_fails(self):
        """One of them all, then plenty again."""
        start, whole = self.count_calls()
        self.assertGreater(whole, start + 500)
        print(f"     calls of malloc: {start} to the start, {whole - start} in a life", flush=True)
        self.sweep(points(1, start, 1000 if FULL else 4), 1)
        self.sweep(points(start + 1, whole, whole if FULL else 15), 1)

    def test_all_calls_fail_for_a_while(self):
        start, whole = self.count_calls()
        self.sweep(points(start + 1, whole, 100 if FULL else 3), 200)


if __name__ == "__main__":
    unittest.main()
