"""Death, or an error, at every single system call of a message's life.

All threads count together, so the Nth call is one call, and each point asserts that it was
hit. At full size a sweep goes on from call to call until no life has that many any more;
the short form takes some of them, spread over the whole life, others in each run.
"""
import errno
import random
import signal
import smtplib
import subprocess
import unittest

from base import FULL, Behaviour, Life, account, text, wait_until
from preload import ALL, COMPILER, FILES, HALF, KILL, OTHER_SOCKET, STREAM, Plan, listed

SYNCS = "fsync fdatasync"
WRITES = "write writev pwrite pwritev"
NAMES = "rename link unlink ftruncate"
NET = "send sendto sendmsg connect accept"
TRIES = 3  # the lives differ by some calls: what one did not come to another one may
BIG = 100000  # over big_message


class Sweep(Life):
    """A life, with a fault at the Nth call of a set."""

    from_start = True  # or the life says from where it counts

    def setUp(self):
        super().setUp()
        self.plan = Plan(self)

    def planned(self):
        relay = self.release(queue={"backoff": ["200ms"]}, workers=1, spool={
            "segment_size": "1M", "big_message": "64K", "spare_segments": 1})
        relay.wrapper = self.plan.wrapper
        return relay

    def send(self, relay, number, size=200):
        """The second one is big. A refusal is for now, and never a promise."""
        try:
            relay.send("app@example.jp", f"u{number}@dest.test",
                       text(number, BIG if number == 2 else size))
            return True
        except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as e:
            replies = getattr(e, "recipients", {"": (getattr(e, "smtp_code", 0), b"")})
            for code, _ in replies.values():
                self.assertTrue(code == -1 or 400 <= code < 500, e)  # -1: cut off
            return False
        except (OSError, smtplib.SMTPException):
            return False

    def live(self, at):
        """A life, with the fault at call AT of it; its relay and what got its 250."""
        self.at = at
        self.receiver.messages.clear()
        relay = self.planned()
        self.plan.first = 0
        if self.from_start:
            self.plan.arm(at)
        self.ready = self.start(relay)
        good = self.life(relay) if self.ready else set()
        try:
            status = relay.stop(15)
        except subprocess.TimeoutExpired:
            self.fail("it does not end\n" + "\n".join(relay.lines[-30:]))
        return relay, good, status

    def check_end(self, relay, status, what):
        said = f"status {status}\n" + "\n".join(relay.lines[-30:])
        hit = self.plan.hit()
        self.assertEqual(self.plan.get(Plan.SECOND_SYNCS), 0, said)
        if what == KILL and hit:
            self.assertEqual(status, -signal.SIGKILL, said)
        elif self.ready:
            self.assertGreaterEqual(status, 0, said)
            self.assertTrue(status == 0 or hit, said)
        else:
            self.assertGreater(status, 0, said)
            self.assertTrue(hit and relay.lines, said)

    def try_at(self, what, at):
        """What was hit, or None. And nothing is lost."""
        relay, good, status = self.live(at)
        hit = self.plan.hit()
        self.check_end(relay, status, what)
        relay.wrapper = []
        self.afterlife(relay, good)
        relay.close()
        return hit

    def hit_at(self, calls, kinds, what, at):
        for _ in range(TRIES):
            self.plan.make(calls, kinds, what)
            hit = self.try_at(what, at)
            if hit:
                return hit
        return None

    def count_calls(self, calls, kinds, what):
        self.plan.make(calls, kinds, what)
        relay, good, status = self.live(0)
        self.assertEqual(status, 0)
        total = self.plan.made()
        relay.wrapper = []
        self.afterlife(relay, good)
        relay.close()
        self.assertGreater(total, 0)
        return total

    def points(self, total, share):
        """All, and what lies behind the last; or SHARE of what each life has."""
        if FULL:
            return range(1, 2 * total + 20)
        sure = max(1, int(total * 0.9))
        share = min(share, sure)
        return [1 + int((i + random.random()) * sure / share) for i in range(share)]

    def sweep(self, calls, kinds, what, share):
        total = self.count_calls(calls, kinds, what)
        hits, late = [], 0
        name = {KILL: "SIGKILL", HALF: "half"}.get(what) or errno.errorcode[what]
        for at in self.points(total, share):
            with self.subTest(f"{name} at {at} of {total}: {calls}"):
                hit = "what failed"
                hit = self.hit_at(calls, kinds, what, at)
                if not FULL:
                    self.assertTrue(hit, "no life came to it")
            if not hit:
                break
            hits.append(hit)
            late += self.ready
        print(f"     {name}: {len(hits)} of {total} calls hit, {late} after the start: "
              f"{listed(hits)}", flush=True)
        if FULL:
            self.assertIsNone(hit, "that life has no end")
            self.assertGreater(len(hits), total * 0.8)
        return hits, late


@unittest.skipUnless(COMPILER, "a compiler makes the library that fails")
class Killed(Sweep):
    """Accept, defer, deliver, bounce."""

    def sweep(self, calls, kinds, share):
        hits, late = super().sweep(calls, kinds, KILL, share)
        self.assertGreater(late, 0)
        return hits

    def test_at_every_write(self):
        self.sweep(WRITES, ALL, 8)

    def test_at_every_write_and_sync_of_the_spool(self):
        hits = self.sweep("pwritev fdatasync", FILES, 10)
        self.assertEqual({h.split()[0] for h in hits}, {"pwritev", "fdatasync"})

    def test_at_every_sync(self):
        self.sweep(SYNCS, ALL, 5)

    def test_at_every_name(self):
        self.sweep(f"open {NAMES}", ALL, 6)

    def test_at_every_send(self):
        self.sweep(NET, ALL, 6)


@unittest.skipUnless(COMPILER, "a compiler makes the library that fails")
class Fails(Sweep):
    """The same lives; the call fails once. Not that of a log line or of a wake-up."""

    def test_io_error_at_sync(self):
        self.sweep(SYNCS, FILES, errno.EIO, 4)

    def test_io_error_at_write(self):
        self.sweep(WRITES, FILES, errno.EIO, 4)

    def test_io_error_at_name(self):
        self.sweep(NAMES, FILES, errno.EIO, 2)

    def test_io_error_at_close(self):
        self.sweep("close", FILES, errno.EIO, 2)

    def test_no_space_at_write(self):
        self.sweep(WRITES, FILES, errno.ENOSPC, 4)

    def test_no_space_at_name(self):
        self.sweep(f"open {NAMES}", FILES, errno.ENOSPC, 3)

    def test_short_write(self):
        self.sweep(WRITES, FILES, HALF, 3)

    def test_short_send(self):
        self.sweep("write writev send sendto", STREAM, HALF, 2)

    def test_interrupted(self):
        self.sweep(f"open close {WRITES} {SYNCS}", FILES, errno.EINTR, 4)

    def test_interrupted_network(self):
        """Not the plain write, with which libunbound talks to its thread: once that fails,
        nothing is looked up until a restart."""
        self.sweep("accept writev send sendto sendmsg", STREAM | OTHER_SOCKET, errno.EINTR, 3)


class Expires(Sweep):
    """A message's time runs out, and its sender is told; what is before its first attempt
    is the same as for others."""

    from_start = False

    def planned(self):
        relay = super().planned()
        relay.change(queue={"lifetime": "1s"})
        return relay

    def reports(self):
        return [m for m in self.receiver.messages if m.sender == "" and b"u4@" in m.data]

    def life(self, relay):
        self.receiver.behaviour = Behaviour(
            rcpt=lambda n, a: "451 4.2.0 not yet" if a.startswith("u4@") else None)
        self.assertTrue(self.send(relay, 4))
        relay.wait_log("result=", since=relay.lines_before)
        self.plan.arm(self.at)
        with relay.changed:
            self.assertTrue(relay.changed.wait_for(
                lambda: relay.silent or any(
                    'from=""' in l and "result=delivered" in l
                    for l in relay.lines[relay.lines_before:]), 30),
                "\n".join(relay.lines[-30:]))
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


@unittest.skipUnless(COMPILER, "a compiler makes the library that fails")
class Expiry(Expires):
    def test_killed(self):
        for calls, kinds in ((WRITES, ALL), ("pwritev fdatasync", FILES), (f"open {NAMES}", ALL),
                             (NET, ALL)):
            self.sweep(calls, kinds, KILL, 3)

    def test_disk_fails(self):
        self.sweep("fdatasync", FILES, errno.EIO, 2)
        self.sweep(WRITES, FILES, errno.EIO, 3)
        self.sweep(WRITES, FILES, errno.ENOSPC, 3)
        self.sweep(WRITES, FILES, HALF, 2)


if __name__ == "__main__":
    unittest.main()
