"""Calls that fail for want of descriptors, memory or threads: the relay waits instead of
spinning, loses nothing, and goes on by itself once there is enough again."""
import errno
import os
import random
import shutil
import smtplib
import time
import unittest

from base import FULL, Behaviour, Faults, wait_for_all, wait_until
from preload import ALL, COMPILER, Plan, listed

STRACE = shutil.which("strace")
TICK = os.sysconf("SC_CLK_TCK")
# percent of one processor: over half a second the tracer's share tells
CPU_MAX = 5 if FULL else 40
RECOVERY_SECONDS = 2 if FULL else 20

# brk is left alone: it knows no error but the old break, and libc takes what the tracer
# returns for memory. What malloc can not give is test_memory's.
STARVED = [("accept4", "EMFILE"), ("accept4", "ENFILE"), ("accept4", "ENOMEM"),
           ("socket", "EMFILE"), ("socket", "ENOBUFS"), ("openat", "EMFILE"),
           ("openat", "ENOMEM"), ("accept4,socket,openat", "ENFILE"),
           ("clone,clone3", "EAGAIN"), ("mmap", "ENOMEM")]
AT_START = [("thread", errno.EAGAIN), ("eventfd pipe epoll", errno.EMFILE),
            ("socket", errno.EMFILE), ("open", errno.ENFILE)]
STARVED_SECONDS = 20 if FULL else 0.5


class Starving(Faults):
    def release(self, **settings):
        return super().release(queue={"backoff": ["500ms"]}, **settings)

    def cpu(self, relay):
        """Seconds of processor time so far, of all threads."""
        with open(f"/proc/{relay.process.pid}/stat", encoding="ascii", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def assert_calm(self, relay, what, seconds):
        """It takes little processor time for SECONDS from now on."""
        begun, used = time.monotonic(), self.cpu(relay)
        wait_until(lambda: time.monotonic() > begun + seconds, step=0.1)
        percent = (self.cpu(relay) - used) / (time.monotonic() - begun) * 100
        print(f"     {what}: {percent:.1f} % of a processor", flush=True)
        self.assertLess(percent, CPU_MAX)

    def queue_is_empty(self, relay):
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")


@unittest.skipUnless(STRACE, "strace is not installed")
class Refused(Starving):
    """The kernel refuses one kind of call for a while."""

    def starve(self, relay, calls, error, first):
        """What got a 250 while CALLS failed; a client waits all the time."""
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not yet")
        promised = {n for n in range(first, first + 3) if self.send(relay, n)}
        self.receiver.behaviour = Behaviour()
        tracer = self.inject(relay, calls, f"error={error}")
        try:
            waiting = [self.connect(relay) for _ in range(5)]
            self.assert_calm(relay, f"{calls}: {error}", STARVED_SECONDS)
            for client in waiting:
                client.close()
        finally:
            tracer.terminate()  # which lets the program go on without it
            tracer.wait(10)
        self.assertIsNone(relay.process.poll(), "it has ended")
        return promised

    def connect(self, relay):
        client = smtplib.SMTP(timeout=0.05)
        try:
            client.connect("127.0.0.1", relay.port)
            client.ehlo()
            client.mail("app@example.jp")
        except (OSError, smtplib.SMTPException):
            pass
        return client

    def test_starved_and_fed_again(self):
        relay = self.release().start()
        for i, (calls, error) in enumerate(STARVED):
            with self.subTest(f"{calls} {error}"):
                promised = self.starve(relay, calls, error, 100 * i)
                self.assertEqual(len(promised), 3)
                wait_until(lambda n=100 * i + 50: self.send(relay, n), timeout=RECOVERY_SECONDS,
                           what="service again")
                wait_for_all(self.receiver, promised | {100 * i + 50}, timeout=30)
                self.queue_is_empty(relay)
        self.assertEqual(relay.stop(), 0)


@unittest.skipUnless(COMPILER, "a compiler makes the library that fails")
class RefusedOnce(Starving):
    """The kernel refuses one call of the start."""

    def start_at(self, relay, plan, at):
        """It says why and ends, or does without: whether it went on."""
        relay.lines.clear()
        relay.wrapper = plan.wrapper
        plan.first = 0
        plan.arm(at)
        relay.start(wait=False)
        wait_until(lambda: relay.log("is ready") or relay.process.poll() is not None,
                   what="a start or an end")
        if relay.log("is ready"):
            wait_until(lambda: relay.process.poll() is not None or
                       relay.ctl("status", check=False), what="its control")
            self.assertEqual(relay.stop(), 0)
            return True
        relay.reader.join(5)
        self.assertTrue(relay.lines, "it ended and said nothing")
        self.assertGreater(relay.process.returncode, 0)
        return False

    def points(self, relay, plan, calls, error):
        """All, and what lies behind the last; or four of them."""
        plan.make(calls, ALL, error)
        self.assertTrue(self.start_at(relay, plan, 0))
        total = plan.made()
        self.assertGreater(total, 1)
        if FULL:
            return range(1, 2 * total + 20)
        return sorted(random.sample(range(1, total // 2 + 1), min(4, total // 2)))

    def sweep(self, relay, plan, calls, error):
        """What was hit of starts that ended, and of those that went on."""
        ended, went_on = [], []
        hit = None
        for at in self.points(relay, plan, calls, error):
            hit = "what failed"
            with self.subTest(f"{calls} {errno.errorcode[error]} at {at}"):
                plan.make(calls, ALL, error)
                ready = self.start_at(relay, plan, at)
                hit = plan.hit()
                if hit:
                    (went_on if ready else ended).append(hit)
                elif not FULL:
                    self.fail("the start did not come to it")
            if not hit:
                break
        self.assertTrue(ended or went_on)
        if FULL:
            self.assertIsNone(hit, "that start has no end")
        return ended, went_on

    def test_one_call_of_the_start_fails(self):
        """The next start works."""
        plan = Plan(self)
        relay = self.release().start()
        promised = {n for n in range(1, 4) if self.send(relay, n)}
        self.assertEqual(relay.stop(), 0)
        ended, went_on = [], []
        for calls, error in AT_START:
            for all_of_them, some in zip((ended, went_on),
                                         self.sweep(relay, plan, calls, error)):
                all_of_them += some
        print(f"     faults at the start: ended with a reason: {listed(ended)}; "
              f"went on: {listed(went_on)}", flush=True)
        self.assertGreater(len(ended), 0)
        relay.wrapper = []
        relay.start()
        wait_for_all(self.receiver, promised)
        self.queue_is_empty(relay)


class Descriptors(Starving):
    def test_few_descriptors(self):
        """RLIMIT_NOFILE 64: connections are refused or wait, nothing is lost."""
        relay = self.release()
        relay.wrapper = ["prlimit", "--nofile=64", "--"]
        relay.start()
        idle = []
        try:
            for _ in range(100):
                idle.append(relay.smtp(timeout=2))
        except (OSError, smtplib.SMTPException):
            pass
        self.assertLess(len(idle), 100)
        self.assert_calm(relay, f"64 descriptors, {len(idle)} clients", STARVED_SECONDS)
        for client in idle:
            client.close()
        wait_until(lambda: self.send(relay, 1), timeout=RECOVERY_SECONDS, what="service again")
        promised = {1} | {n for n in range(2, 40) if self.send(relay, n)}
        self.assertEqual(len(promised), 39)
        wait_for_all(self.receiver, promised)


if __name__ == "__main__":
    unittest.main()
