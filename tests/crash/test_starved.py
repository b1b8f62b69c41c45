"""Calls that fail for want of descriptors, memory or threads: the relay waits instead of
spinning, loses nothing, and goes on by itself once there is enough again."""
import os
import shutil
import smtplib
import time
import unittest

from base import FULL, Behaviour, Faults, share, wait_for_all, wait_until

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
AT_START = [("clone,clone3", "EAGAIN"), ("eventfd2,pipe2,socketpair,epoll_create1", "EMFILE"),
            ("socket", "EMFILE"), ("openat", "ENFILE")]
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
    """The kernel refuses one kind of call for a while, or once at the start."""

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

    def test_one_call_of_the_start_fails(self):
        """It says why and ends, or does without; the next start works."""
        relay = self.release().start()
        promised = {n for n in range(1, 4) if self.send(relay, n)}
        self.assertEqual(relay.stop(), 0)
        ended = went_on = 0
        for calls, error in AT_START:
            for when in range(1, share(100, 4) + 1):
                with self.subTest(f"{calls} {error} at {when}"):
                    relay.lines.clear()
                    relay.wrapper = [STRACE, "-D", "-f", "-qq", "-o", "/dev/null", "-e",
                                     f"trace={calls}", "-e",
                                     f"inject={calls}:error={error}:when={when}"]
                    relay.start(wait=False)
                    wait_until(lambda: relay.log("is ready") or relay.process.poll() is not None,
                               what="a start or an end")
                    if relay.log("is ready"):
                        went_on += 1
                        wait_until(lambda: relay.process.poll() is not None or
                                   relay.ctl("status", check=False), what="its control")
                        self.assertEqual(relay.stop(), 0)
                    else:
                        ended += 1
                        relay.reader.join(5)
                        self.assertTrue(relay.lines, "it ended and said nothing")
                        self.assertNotEqual(relay.process.returncode, 0)
        print(f"     faults at the start: {ended} ended with a reason, {went_on} went on",
              flush=True)
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
