"""What most tests start from: a name server, one receiver for dest.test, relays."""
import os
import shutil
import ssl
import subprocess
import tempfile
import unittest

from .dns import NameServer
from .receiver import Receiver
from .relay import ROOT, Relay, build_dir, wait_until

TEXT = b"From: a@example.jp\r\nTo: user@dest.test\r\nSubject: hello\r\n\r\nThe text.\r\n"
# TEXT as a file of the drop folder
TRANSACTION = (b"MAIL FROM:<a@example.jp>\r\nRCPT TO:<user@dest.test>\r\nDATA\r\n" + TEXT + b".\r\n")

EXPIRED = """[ca]
default_ca = one
[one]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


def needs_open_tree(test):
    """Skip TEST where other users can not enter the folders of programs and rules."""
    for folder in (ROOT, build_dir()):
        while folder != "/":
            if not os.stat(folder).st_mode & 0o001:
                test.skipTest(f"other users can not enter {folder}")
            folder = os.path.dirname(os.path.abspath(folder))


class Case(unittest.TestCase):
    def setUp(self):
        self.names = NameServer()
        self.addCleanup(self.names.close)
        self.receiver = self.another_receiver()
        self.names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")

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
        self.names.publish(out)
        return {"selector": selector, "key": f"{relay.folder}/{domain}.{selector}.key"}

    def lookup(self, name, timeout=5):
        """For dkim.verify: the record that key() has published, asked of the name server."""
        return self.names.text(name.decode())

    def folder(self):
        path = tempfile.mkdtemp(prefix="relayd-test-")
        self.addCleanup(shutil.rmtree, path, True)
        return path

    def certificate(self, name, expired=False, kind="ec", days=1):
        """A certificate for NAME that nobody else has signed: its file, its key's file,
        and an SSLContext with both."""
        folder = self.folder()
        pem, key, request = f"{folder}/cert.pem", f"{folder}/key.pem", f"{folder}/request.pem"
        options = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["rsa:2048"]}
        openssl = ["openssl", "req", "-newkey", *options[kind], "-nodes", "-keyout", key, "-subj", f"/CN={name}", "-addext",
                   f"subjectAltName=DNS:{name}"]
        if expired:
            subprocess.run([*openssl, "-out", request], check=True, capture_output=True)
            with open(f"{folder}/ca.conf", "w") as f:
                f.write(EXPIRED.format(folder=folder))
            open(f"{folder}/index", "w").close()
            openssl = ["openssl", "ca", "-config", f"{folder}/ca.conf", "-batch", "-selfsign",
                       "-keyfile", key, "-in", request, "-startdate", "20200101000000Z",
                       "-enddate", "20200201000000Z", "-notext"]
        else:
            openssl += ["-x509", "-days", str(days)]
        subprocess.run([*openssl, "-out", pem], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        return pem, key, context

    def gone(self, relay):
        """Until the relay has nothing left in its queue."""
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")

    def waiting(self, relay, result="result=deferred"):
        """Until an attempt has put the only message off; its row of the queue list."""
        relay.wait_log(result)
        wait_until(lambda: relay.ctl("queue", "list")[0]["state"] == "waiting", what="the end of the attempt")
        row, = relay.ctl("queue", "list")
        return row


class DropCase(Case):
    """Relays with a drop folder of the test's own."""

    def setUp(self):
        super().setUp()
        self.home = self.folder()
        self.drop = os.path.join(self.home, "drop")
        os.mkdir(self.drop)
        os.chmod(self.drop, 0o1733)

    def put(self, name, text=TRANSACTION, mode=0o644):
        """As relay-sendmail does it: it is complete when its name says that it may be taken."""
        path = os.path.join(self.drop, name)
        with open(os.path.join(self.drop, "tmp." + name), "wb") as f:
            f.write(text)
        os.chmod(f.name, mode)
        os.rename(f.name, path)
        return path

    def relay(self, **settings):
        return super().relay(drop=self.drop, **settings)

    def left(self):
        return sorted(os.listdir(self.drop))
