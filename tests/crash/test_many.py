"""A spool with many waiting messages, started again after kill -9: nothing of it
is lost, new mail does not wait behind it, and all of it arrives once."""
import collections
import os
import resource
import shutil
import socket
import subprocess
import time
import unittest

from base import FULL, Behaviour, NameServer, Receiver, Relay, share, wait_until
from harness.receiver import HANG
from harness.relay import release_dir

SOURCE = shutil.which("smtp-source", path=os.environ.get("PATH", "") + ":/usr/sbin")
WINDOW = 4


@unittest.skipUnless(SOURCE, "smtp-source (of Postfix) makes the load")
class Many(unittest.TestCase):
    def setUp(self):
        self.names = NameServer()
        self.addCleanup(self.names.close)
        self.healthy = Receiver()
        self.addCleanup(self.healthy.close)
        self.names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")
        self.dead = Receiver("127.0.0.2", self.healthy.port,
                             Behaviour(banner=HANG))
        self.addCleanup(self.dead.close)
        self.names.mail_host("dead.test", "mx.dead.test", "127.0.0.2")
        # an hour: what is tried again is tried by its command alone
        self.relay = Relay(self.names, delivery={"port": self.healthy.port},
                           queue={"backoff": ["1h"], "window_max": WINDOW})
        self.relay.program = lambda name: os.path.join(release_dir(), name)
        self.addCleanup(self.relay.close)

    def inject(self, count):
        """COUNT messages, each to a recipient of its own: 1user@dead.test, 2user@..."""
        subprocess.run([SOURCE, "-d", "-N", "-s", "40", "-l", "600", "-m", str(count), "-C", "10",
                        "-M", "client.example.jp", "-f", "app@example.jp", "-t", "user@dead.test",
                        f"127.0.0.1:{self.relay.port}"], check=True, capture_output=True,
                       timeout=600)

    def waiting(self):
        facts = {row["what"]: row["value"] for row in self.relay.ctl("status")}
        return int(facts["queue_messages"])

    def memory(self):
        with open(f"/proc/{self.relay.process.pid}/statm") as f:
            return int(f.read().split()[1]) * resource.getpagesize()

    def assert_small(self, count, empty):
        """A restart leaves no holes between what stays in memory."""
        each = (self.memory() - empty) / count
        print(f"     {count} messages after the restart: {each:.0f} bytes each", flush=True)
        self.assertLess(each, 300)

    def wait_for_old(self, count):
        wait_until(lambda: self.waiting() == count, what="a queue with the old messages only")

    def is_greeted(self):
        try:
            with socket.create_connection(("127.0.0.1", self.relay.port), 30) as sock:
                return sock.recv(4) == b"220 "
        except ConnectionRefusedError:
            return False

    def assert_new_mail_passes(self, number):
        with self.relay.smtp() as client:  # the greeting is awaited
            client.sendmail("app@example.jp", ["user@dest.test"],
                            f"From: app@example.jp\r\nSubject: {number}\r\n\r\nnew\r\n")
        self.healthy.wait(number, timeout=60)

    def test_many_waiting_messages_are_started_again(self):
        count = share(100000, 15000)
        relay = self.relay.start()
        self.assert_new_mail_passes(1)  # with which much comes: name service, TLS
        wait_until(lambda: self.waiting() == 0, what="an empty queue")
        empty = self.memory()
        self.inject(count)
        self.assertEqual(self.waiting(), count)
        self.assert_new_mail_passes(2)
        self.wait_for_old(count)
        relay.kill()
        wait_until(lambda: self.dead.open_now == 0, what="the end of the old connections")

        # all of it is due at once, at a receiver that accepts connections and says nothing
        began = time.monotonic()
        relay.start(wait=False)
        wait_until(self.is_greeted, step=0.005, what="a greeting")
        greeted = time.monotonic() - began
        self.wait_for_old(count)
        scheduled = time.monotonic() - began
        print(f"     {count} messages, all due: greeting after {greeted:.2f} s, "
              f"all scheduled after {scheduled:.2f} s", flush=True)
        if FULL:
            self.assertLessEqual(greeted, 1)
            self.assertLessEqual(scheduled, 10)
        self.assert_new_mail_passes(3)
        self.wait_for_old(count)
        self.assert_small(count, empty)
        self.assertLessEqual(self.dead.open_most, WINDOW)

        # it refuses: a few are tried in vain, not each message
        self.dead.behaviour = Behaviour(banner="421 4.3.2 not now")
        self.dead.hang_up()
        relay.wait_log("result=deferred", since=relay.lines_before)
        self.assert_new_mail_passes(4)
        self.assertEqual(self.dead.messages, [])
        self.assertLess(self.dead.connections, count // 100)

        # it works again
        self.dead.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        self.dead.wait(count, timeout=3600)  # on a busy machine
        wait_until(lambda: self.waiting() == 0, timeout=60, what="an empty queue")
        copies = collections.Counter(r for m in self.dead.messages for r in m.recipients)
        self.assertEqual({r: n for r, n in copies.items() if n > 1}, {})
        self.assertEqual(len(copies), count)


if __name__ == "__main__":
    unittest.main()
