"""Shared by the crash tests: load that knows what was promised, and the account."""
import os
import random
import smtplib
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from harness import Behaviour, NameServer, Receiver, Relay, wait_until  # noqa: E402,F401
from harness.relay import release_dir  # noqa: E402

# how much of the full-size run is done; `make soak` sets 1.0 or more
SIZE = float(os.environ.get("RELAYD_SOAK", "0.05"))
FULL = SIZE >= 1


def share(full, least):
    return max(least, int(full * SIZE))


# those of smtplib's errors that stand for a reply
ANSWERS = (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused)


class Load:
    """Clients that send numbered messages until told to stop. `promised` holds
    those that got their 250, `unsure` those whose answer never came. `refused` has each
    answer that said no, `broken` each connection that could not be made or ended without a
    word. Given RECEIVER, they wait when it lacks AHEAD of those."""

    def __init__(self, relay, clients=4, sender="app@example.jp", pause=0.0, size=600,
                 receiver=None, ahead=2000):
        self.relay = relay
        self.sender = sender
        self.pause = pause
        self.size = size
        self.receiver = receiver
        self.ahead = ahead
        self.promised = set()
        self.unsure = set()
        self.refused = []
        self.broken = []
        self.lock = threading.Lock()
        self.next = 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def _is_ahead(self):
        return self.receiver and len(self.promised) - len(self.receiver.messages) > self.ahead

    def _take_number(self):
        with self.lock:
            self.next += 1
            return self.next

    def _run(self):
        while not self.stopping.is_set():
            try:
                with self.relay.smtp(timeout=20) as client:
                    self._session(client)
                continue
            except ANSWERS as e:  # the greeting, and the one to QUIT, too
                self.refused.append(str(e))
            except (OSError, smtplib.SMTPException) as e:
                self.broken.append(repr(e))
            self.stopping.wait(0.02)

    def _session(self, client):
        code, answer = client.ehlo()
        if code != 250:
            raise smtplib.SMTPHeloError(code, answer)
        for _ in range(random.randint(1, 20)):
            while self._is_ahead() and not self.stopping.wait(0.01):
                pass
            if self.stopping.is_set():
                return
            number = self._take_number()
            text = (f"From: {self.sender}\r\nSubject: number {number}\r\nX-Number: {number}\r\n\r\n"
                    + "x" * (self.size % 900) + "\r\n")
            try:
                client.sendmail(self.sender, [f"user{number % 50}@dest.test"], text)
            except ANSWERS:
                raise
            except (OSError, smtplib.SMTPException):
                with self.lock:
                    self.unsure.add(number)
                raise
            with self.lock:
                self.promised.add(number)
            if self.pause:
                self.stopping.wait(self.pause)


def number_of(message):
    for line in message.header.split("\r\n"):
        if line.startswith("X-Number: "):
            return int(line[10:])
    return None


def copies(receiver):
    """What arrived, by number: {number: [messages]}"""
    arrived = {}
    with receiver.changed:
        for message in receiver.messages:
            number = number_of(message)
            if number is not None:
                arrived.setdefault(number, []).append(message)
    return arrived


def account(receiver):
    """Arrivals by number: {number: [times]}"""
    return {n: [m.time for m in messages] for n, messages in copies(receiver).items()}


def wait_for_all(receiver, promised, timeout=120):
    """Until every promised message is here; the arrivals."""
    end = time.monotonic() + timeout
    with receiver.changed:  # the account of half a million takes a second
        receiver.changed.wait_for(lambda: len(receiver.messages) >= len(promised), timeout)
    while True:
        arrived = account(receiver)
        missing = promised - arrived.keys()
        if not missing:
            return arrived
        with receiver.changed:
            receiver.changed.wait(0.2)
        if time.monotonic() > end:
            raise AssertionError(f"{len(missing)} of {len(promised)} promised messages are lost, "
                                 f"such as {sorted(missing)[:10]}")


def text(number, size=200):
    return (f"From: app@example.jp\r\nX-Number: {number}\r\n\r\n" + "y" * size + "\r\n")


class Faults(unittest.TestCase):
    def setUp(self):
        self.names = NameServer()
        self.addCleanup(self.names.close)
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)
        self.names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")

    def relay(self, **settings):
        settings["queue"] = {"backoff": ["1s"], **settings.get("queue", {})}
        settings["delivery"] = {"port": self.receiver.port, "allow_private": True,
                                **settings.get("delivery", {})}
        relay = Relay(self.names, **settings)
        self.addCleanup(relay.close)
        return relay

    def release(self, **settings):
        """Without sanitizers: to be traced while it runs."""
        relay = self.relay(**settings)
        relay.program = lambda name: os.path.join(release_dir(), name)
        return relay

    def inject(self, relay, calls, what):
        """From now on each of CALLS fails or waits, as strace's WHAT says; the tracer,
        whose end lets the program go on without it, which it does at the test's end."""
        tracer = subprocess.Popen(
            ["strace", "-f", "-p", str(relay.process.pid), "-o", "/dev/null", "-e",
             f"trace={calls}", "-e", f"inject={calls}:{what}"],
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        for step in (tracer.stderr.close, tracer.wait, tracer.terminate):  # the last one first
            self.addCleanup(step)
        line = tracer.stderr.readline()
        if "attached" not in line:
            tracer.wait(10)
            self.skipTest(f"a running program can not be traced here: {line.strip()}")
        return tracer

    def send(self, relay, number, size=200):
        """True: 250. False: refused or cut."""
        try:
            relay.send("app@example.jp", f"u{number}@dest.test", text(number, size))
            return True
        except (OSError, smtplib.SMTPException):
            return False


def no_third(_, address):
    return "550 5.1.1 no" if address.startswith("u3@") else None


class Life(Faults):
    """Messages' lives under some fault, and a life without it after that."""

    def setUp(self):
        super().setUp()
        self.names.mail_host("example.jp", "mx.example.jp", "127.0.0.1")  # for the bounce

    def life(self, relay):
        """Accept, defer, deliver, bounce: what got a 250."""
        self.receiver.behaviour = Behaviour(
            rcpt=no_third,
            end=lambda n, d, seen=[]: seen.append(1) or ("451 later" if len(seen) == 1 else None))
        good = {n for n in (1, 2, 3) if self.send(relay, n)}
        self.all_over(relay, good)
        return good

    def all_over(self, relay, good):
        """What got its 250 has its end, and so has the report; or the process has."""
        wanted = len(good) + (3 in good)

        def over():
            lines = relay.lines[relay.lines_before:]
            ends = sum("result=delivered" in l or "result=failed" in l for l in lines)
            return ends >= wanted or relay.silent
        with relay.changed:
            self.assertTrue(relay.changed.wait_for(over, 30), "\n".join(relay.lines[-30:]))

    def reports(self):
        return [m for m in self.receiver.messages if m.sender == "" and b"u3@" in m.data]

    def start(self, relay):
        """False: the fault hit before it was ready."""
        relay.start(wait=False)
        try:
            relay.wait_log("is ready", since=relay.lines_before, timeout=20)
            return True
        except AssertionError:
            return False

    def finish(self, relay, good):
        """Everything that was promised has its end."""
        arrived = wait_for_all(self.receiver, good - {3}, timeout=30)
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")
        if 3 in good:
            self.receiver.wait_for(lambda _: self.reports())
        copies_of_one = [len(times) for times in arrived.values()]
        self.assertLessEqual(max([len(self.reports()), *copies_of_one]), 2)
        return arrived

    def afterlife(self, relay, good):
        """Started again, without the fault: all that was promised has its end."""
        self.receiver.behaviour = Behaviour(rcpt=no_third)
        relay.start()
        return self.finish(relay, good)
