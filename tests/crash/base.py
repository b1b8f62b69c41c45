"""Shared by the crash tests: load that knows what was promised, and the account."""
import os
import random
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from harness import Behaviour, NameServer, Receiver, Relay, wait_until  # noqa: E402,F401

# how much of the full-size run is done; `make soak` sets 1.0 or more
SIZE = float(os.environ.get("RELAYD_SOAK", "0.05"))


def share(full, least):
    return max(least, int(full * SIZE))


class Load:
    """Clients that send numbered messages until told to stop. `promised` holds
    those that got their 250, `unsure` those whose answer never came."""

    def __init__(self, relay, clients=4, sender="app@example.jp", pause=0.0, size=600):
        self.relay = relay
        self.sender = sender
        self.pause = pause
        self.size = size
        self.promised = set()
        self.unsure = set()
        self.refused = 0
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

    def _take_number(self):
        with self.lock:
            self.next += 1
            return self.next

    def _run(self):
        while not self.stopping.is_set():
            try:
                with self.relay.smtp(timeout=20) as client:
                    self._session(client)
            except (OSError, smtplib.SMTPException):
                self.stopping.wait(0.02)

    def _session(self, client):
        client.ehlo()
        for _ in range(random.randint(1, 20)):
            if self.stopping.is_set():
                return
            number = self._take_number()
            text = (f"From: {self.sender}\r\nSubject: number {number}\r\nX-Number: {number}\r\n\r\n"
                    + "x" * (self.size % 900) + "\r\n")
            try:
                client.sendmail(self.sender, [f"user{number % 50}@dest.test"], text)
            except smtplib.SMTPResponseException:
                self.refused += 1
                return
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


def account(receiver):
    """Arrivals by number: {number: [times]}"""
    arrived = {}
    with receiver.changed:
        for message in receiver.messages:
            number = number_of(message)
            if number is not None:
                arrived.setdefault(number, []).append(message.time)
    return arrived


def wait_for_all(receiver, promised, timeout=120):
    """Until every promised message is here; the arrivals."""
    end = time.monotonic() + timeout
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
