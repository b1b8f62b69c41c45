"""One life of the daemon under ThreadSanitizer: what its threads share is looked at as it
signs, tries passwords, writes, reads back and ends. The unit tests of the parts see less."""
import os
import smtplib
import threading
import unittest

from harness import free_port
from harness.case import Case
from harness.relay import release_dir

PROGRAM = os.path.join(release_dir(), "tsan", "relayd")
REPORTED = 66  # the exit status when there was a report
USER, PASSWORD = "shop@example.jp", "right battery staple"
SENDERS, EACH = 6, 8
HEADER = "From: app@example.jp\r\nSubject: {}\r\n\r\n"


@unittest.skipUnless(os.path.exists(PROGRAM), "there is no build with ThreadSanitizer")
class Threads(Case):
    def life(self):
        relay = self.relay(
            queue={"backoff": ["1s"]}, workers=3, spool={"big_message": "64K", "segment_size": "1M"},
            trusted_networks=[], auth={"workers": 3, "delay": "0s", "cache": "0s"})
        relay.program = lambda name: PROGRAM if name == "relayd" else os.path.join(release_dir(), name)
        self.clear = free_port()
        relay.change(listen=({"address": "127.0.0.1", "port": self.clear, "auth": True},),
                     users=os.path.join(relay.folder, "users"))
        relay.write_conf()
        done = relay.run_ctl("-f", relay.conf, "user", "add", USER, input=PASSWORD + "\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.keys = (self.key(relay), self.key(relay, "example.jp", "s2", "--ed25519"))
        relay.change(domains=({"name": "example.jp", "return_path": "bounce@example.jp", "dkim": self.keys},))
        return relay.start()

    def send(self, number):
        """One login, then messages; each third is too big to be kept in memory."""
        with smtplib.SMTP("127.0.0.1", self.clear, local_hostname="client.example.jp", timeout=120) as client:
            client.login(USER, PASSWORD)
            for i in range(EACH):
                body = "some text\r\n" * (9000 if i % 3 == 2 else 3)
                client.sendmail("app@example.jp", ["user@dest.test"], HEADER.format(f"{number}.{i}") + body)

    def test_a_life(self):
        turns = iter(range(1000))
        self.receiver.behaviour.stages["end"] = lambda *_: "451 later" if next(turns) % 5 == 0 else None
        relay = self.life()
        senders = [threading.Thread(target=self.send, args=(n,)) for n in range(SENDERS)]
        for sender in senders:
            sender.start()
        relay.wait_log("result=delivered")
        relay.ctl("reload")
        for sender in senders:
            sender.join()
        self.gone(relay)
        status = relay.stop(60)
        reports = relay.log("ThreadSanitizer")
        self.assertEqual((status, reports), (0, []), "\n".join(relay.lines[-200:]) if status == REPORTED else "")
        self.assertEqual(len(self.receiver.messages), SENDERS * EACH)
        for message in self.receiver.messages:
            self.assertEqual(message.data.count(b"DKIM-Signature: "), 2)


if __name__ == "__main__":
    unittest.main()
