"""Death, or an error, at every single system call of a message's life."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from base import Behaviour, Life, account, share, wait_until
from harness.relay import release_dir

STRACE = shutil.which("strace")


class Sweep(Life):
    """A life, with a fault at the Nth call of one kind."""

    passed = 0  # calls when the life came to what the sweep is about

    CALLS = {"disk": "pwritev,pwrite64",
             "write": "pwritev,pwrite64,write,writev", "sync": "fdatasync,fsync",
             "name": "openat,renameat,renameat2,unlinkat,ftruncate,fallocate",
             "net": "sendto,sendmsg,writev,connect,accept4"}

    def traced(self, calls, inject=None):
        """A relay under strace, which writes self.trace."""
        trace = os.path.join(tempfile.mkdtemp(prefix="relayd-trace-"), "trace")
        self.addCleanup(shutil.rmtree, os.path.dirname(trace), True)
        self.trace = trace
        wrapper = [STRACE, "-D", "-f", "-qq", "-o", trace, "-e", f"trace={calls}"]
        if inject:
            wrapper += ["-e", f"inject={calls}:{inject}"]
        relay = self.relay(queue={"backoff": ["200ms"]}, workers=1,
                           spool={"segment_size": "1M", "big_message": "64K", "spare_segments": 1})
        relay.wrapper = wrapper
        relay.program = lambda name: os.path.join(release_dir(), name)
        return relay

    def made(self):
        """How many calls there were by now."""
        with open(self.trace) as f:
            return sum(1 for line in f if re.search(r"\w\(", line))

    def count_calls(self, calls):
        """Those before the part of the life that matters, and all."""
        relay = self.traced(calls)
        self.assertTrue(self.start(relay))
        good = self.life(relay)
        self.finish(relay, good)
        relay.stop()
        return self.passed, self.made()

    def sweep(self, kind, inject, points):
        calls = self.CALLS[kind]
        first, total = self.count_calls(calls)
        self.assertGreater(total, first)
        step = max(1, (total - first) // points)
        tried = 0
        for when in range(first + 1, total + 1, step):
            with self.subTest(f"{kind} {inject} at {when} of {total}"):
                self.receiver.messages.clear()
                relay = self.traced(calls, inject.format(when))
                ready = self.start(relay)
                good = self.life(relay) if ready else set()
                try:
                    relay.stop(15)
                except subprocess.TimeoutExpired:
                    relay.kill()  # a tracer may lose a process that ends while it stops it
                relay.wrapper = []
                self.afterlife(relay, good)
                relay.close()
                tried += 1
        print(f"     {kind}, {inject}: {tried} points of {total}", flush=True)


@unittest.skipUnless(STRACE, "strace is not installed")
class Syscalls(Sweep):
    """Accept, defer, deliver, bounce."""

    def test_killed_at_every_write(self):
        self.sweep("write", "signal=SIGKILL:when={}", share(400, 8))

    def test_killed_at_every_sync(self):
        self.sweep("sync", "signal=SIGKILL:when={}", share(400, 5))

    def test_killed_at_every_name(self):
        self.sweep("name", "signal=SIGKILL:when={}", share(400, 5))

    def test_killed_at_every_send(self):
        self.sweep("net", "signal=SIGKILL:when={}", share(400, 6))

    def test_io_error_at_sync(self):
        self.sweep("sync", "error=EIO:when={}", share(400, 4))

    def test_io_error_at_write(self):
        self.sweep("disk", "error=EIO:when={}", share(400, 4))

    def test_no_space_at_write(self):
        self.sweep("disk", "error=ENOSPC:when={}", share(400, 4))


@unittest.skipUnless(STRACE, "strace is not installed")
class Expiry(Sweep):
    """A message's time runs out, and its sender is told."""

    def traced(self, calls, inject=None):
        relay = super().traced(calls, inject)
        relay.change(queue={"lifetime": "1s"})
        return relay

    def reports(self):
        return [m for m in self.receiver.messages if m.sender == "" and b"u4@" in m.data]

    def life(self, relay):
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, a: "451 4.2.0 not yet" if a.startswith("u4@") else None)
        if not self.send(relay, 4):
            return set()
        self.passed = self.made()
        wait_until(lambda: self.reports() or relay.process.poll() is not None, what="a report")
        return {4}

    def finish(self, relay, good):
        """It has arrived after all, or its sender has heard of it, or both."""
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")
        if good:
            self.receiver.wait_for(lambda _: self.reports() or account(self.receiver))
        self.assertLessEqual(len(self.reports()), 2)
        self.assertLessEqual(len(account(self.receiver).get(4, [])), 1)

    def afterlife(self, relay, good):
        self.receiver.behaviour = Behaviour()
        relay.start()
        self.finish(relay, good)

    def test_killed(self):
        for kind in ("write", "sync", "name", "net"):
            self.sweep(kind, "signal=SIGKILL:when={}", share(60, 3))

    def test_disk_fails(self):
        self.sweep("sync", "error=EIO:when={}", share(60, 3))
        self.sweep("disk", "error=EIO:when={}", share(60, 3))
        self.sweep("disk", "error=ENOSPC:when={}", share(60, 3))


if __name__ == "__main__":
    unittest.main()
