"""What most tests start from: a name server, one receiver for dest.test, relays."""
import os
import re
import subprocess
import unittest

from .dns import NameServer
from .receiver import Receiver
from .relay import Relay, build_dir, wait_until

TEXT = b"From: a@example.jp\r\nTo: user@dest.test\r\nSubject: hello\r\n\r\nThe text.\r\n"


class Case(unittest.TestCase):
    def setUp(self):
        self.names = NameServer()
        self.addCleanup(self.names.close)
        self.receiver = self.another_receiver()
        self.names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")
        self.records = {}

    def another_receiver(self, address="127.0.0.1", behaviour=None, port=0):
        receiver = Receiver(address, port, behaviour)
        self.addCleanup(receiver.close)
        return receiver

    def relay(self, delivery=None, env=None, wrapper=(), **settings):
        relay = Relay(self.names, env=env, wrapper=wrapper, **settings)
        relay.change(delivery={"port": self.receiver.port, "reuse_idle": "0s", **(delivery or {})})
        self.addCleanup(relay.close)
        return relay

    def key(self, relay, domain="example.jp", selector="s1", *options):
        """Make a key, publish it, and return its entry for the configuration."""
        out = subprocess.run([os.path.join(build_dir(), "relayctl"), "-f", relay.conf, "dkim",
                              "new", domain, selector, "--dir", relay.folder, *options],
                             capture_output=True, text=True, check=True).stdout
        record = re.search(r"value: (.*)", out).group(1)
        self.records[f"{selector}._domainkey.{domain}."] = record
        return {"selector": selector, "key": f"{relay.folder}/{domain}.{selector}.key"}

    def lookup(self, name, timeout=5):
        """For dkim.verify: the record that key() has published."""
        return self.records[name.decode()].encode()

    def gone(self, relay):
        """Until the relay has nothing left in its queue."""
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")

    def waiting(self, relay, result="result=deferred"):
        """Until an attempt has put the only message off; its row of the queue list."""
        relay.wait_log(result)
        wait_until(lambda: relay.ctl("queue", "list")[0]["state"] == "waiting", what="the end of the attempt")
        row, = relay.ctl("queue", "list")
        return row
