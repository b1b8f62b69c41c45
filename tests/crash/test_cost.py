"""What a peer, a message, a login can cost at most (README.md has the table), counted
on the release build; and what happens near a limit: new work is put off, running work
goes on."""
import os
import smtplib
import statistics
import subprocess
import threading
import time
import unittest

from base import FULL, share, wait_until
from harness import HANG, Behaviour, RawClient
from harness.case import TEXT
from test_crowds import ROUNDS, Crowd, print_figure
from test_crowds_tls import PASSWORD, USER

KIB = 1024
MIB = 1024 * KIB


class Measured(Crowd):
    def status(self, relay, name):
        with open(f"/proc/{relay.process.pid}/status") as f:
            return int(next(line for line in f if line.startswith(name + ":")).split()[1])

    def peak(self, relay):
        return self.status(relay, "VmHWM") * KIB

    def open_text(self, relay, number, octets):
        client = RawClient(relay, timeout=60)
        self.addCleanup(client.close)
        client.envelope(b"a@example.jp", b"user%d@dest.test" % number)
        client.ask(b"DATA", 354)
        client.send(octets)
        return client

    def fill(self, relay, count, address):
        with relay.smtp() as client:
            for i in range(count):
                client.sendmail("a@example.jp", [address(i)], TEXT)


class Cost(Measured):
    def test_texts_on_their_way_in(self):
        """spool.memory bounds them together; what is over it goes to disk at once."""
        count, budget = share(500, 100), 4 * MIB
        relay = self.release(spool={"memory": "4M"}).start()
        self.round_trips(relay, 5)
        before = self.peak(relay)
        body = (b"x" * 998 + b"\r\n") * 500
        clients = [self.open_text(relay, i, TEXT + body) for i in range(count)]
        for client in clients:
            client.send(b".\r\n")
        for client in clients:
            client.expect(250)
        grown = self.peak(relay) - before
        print_figure(f"{count} texts of 500 KB at once with spool.memory = 4M: {grown / MIB:.1f} MiB")
        self.assertLess(grown, budget + count * 128 * KIB + 8 * MIB)
        self.receiver.wait(5 + count, timeout=120)

    def test_waiting_messages_and_destinations(self):
        count = share(20000, 1500)
        self.receiver.behaviour = Behaviour(banner="421 4.3.2 later")
        relay = self.release(queue={"backoff": ["1h"]}).start()
        self.fill(relay, 50, lambda i: f"user{i}@dest.test")
        self.names.servfail.update(f"d{i}.many.test" for i in range(count))
        for what, address, most in (
                ("waiting messages", lambda i: f"user{i}@dest.test", 4),
                ("destinations with one each", lambda i: f"user@d{i}.many.test", 8)):
            before = self.memory(relay)
            self.fill(relay, count, address)
            wait_until(lambda: self.fact(relay, "queue_running") == 0, timeout=120, what="rest")
            each = (self.memory(relay) - before) / count
            print_figure(f"{count} {what}: {each / KIB:.2f} KiB each")
            self.assertLess(each, most * KIB)
        self.assertEqual(self.fact(relay, "queue_messages"), 50 + 2 * count)
        used = subprocess.run(["du", "-sB1", relay.spool], capture_output=True, text=True,
                              check=True).stdout.split()[0]
        print_figure(f"spool: {int(used) / (2 * count) / KIB:.2f} KiB of disk a message of {len(TEXT)} octets")
        relay.kill()

    def test_passwords(self):
        """Each worker hashes one at a time; those who wait cost next to nothing."""
        relay = self.release(users="/nonexistent", auth={"workers": 2, "delay": "0s", "failures": 100})
        relay.change(users=f"{relay.folder}/users",
                     listen=({"address": "127.0.0.1", "port": relay.port, "auth": True},))
        relay.write_conf()
        done = relay.run_ctl("-f", relay.conf, "user", "add", USER, input=PASSWORD + "\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        relay.start()
        before = self.peak(relay)
        clients = [RawClient(relay, timeout=60) for _ in range(60)]
        for client in clients:
            self.addCleanup(client.close)
            client.send(b"AUTH PLAIN AHNob3BAZXhhbXBsZS5qcAB3cm9uZw==\r\n")  # shop, "wrong"
        codes = [client.expect(535, 454)[0] for client in clients]
        grown = self.peak(relay) - before
        print_figure(f"60 wrong passwords at once, 2 workers: {grown / MIB:.1f} MiB ({codes.count(535)} x 535)")
        self.assertLess(grown, 2 * 20 * MIB + 60 * 16 * KIB)

    def test_receivers_that_hang(self):
        """A delivery under way, in the clear and over TLS."""
        count = share(1000, 150)
        _, _, context = self.certificate("mx.dest.test")
        for what, behaviour, most in (("silent receivers", Behaviour(banner=HANG), 40),
                                      ("silent over TLS", Behaviour(tls=context, mail=HANG), 80)):
            self.receiver.behaviour = behaviour
            relay = self.release(queue={"connections": 2 * count},
                                 delivery={"banner_timeout": "1h", "command_timeout": "1h"}).start()
            for i in range(count + 3):
                self.names.mail_host(f"h{i}.test", f"mx.h{i}.test", "127.0.0.1")
            self.fill(relay, 3, lambda i: f"user@h{count + i}.test")
            self.hanging(3)
            before = self.memory(relay)
            self.fill(relay, count, lambda i: f"user@h{i}.test")
            self.hanging(3 + count)
            each = (self.memory(relay) - before) / count
            print_figure(f"{count} {what}: {each / KIB:.1f} KiB each")
            self.assertLess(each, most * KIB)
            relay.kill()
            self.receiver.connections = 0
            self.receiver.commands.clear()

    def hanging(self, count):
        def reached():
            if self.receiver.behaviour.stages.get("mail"):
                return sum(c.startswith("MAIL") for c in self.receiver.commands) >= count
            return self.receiver.connections >= count
        wait_until(reached, timeout=300, what=f"{count} deliveries")  # on a busy machine

    def test_threads(self):
        """As many as the settings say, whatever comes."""
        relay = self.release(workers=3, auth={"workers": 4})
        relay.change(users=f"{relay.folder}/users",
                     listen=({"address": "127.0.0.1", "port": relay.port, "auth": True},))
        relay.start()
        with RawClient(relay) as client:
            client.ask(b"AUTH PLAIN AHNob3BAZXhhbXBsZS5qcAB3cm9uZw==", 535)
        threads = [threading.Thread(target=self.round_trips, args=(relay, 20)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        count = self.status(relay, "Threads")
        print_figure(f"{count} threads with workers = 3, auth.workers = 4")
        self.assertLessEqual(count, 3 + 4 + 6)


class Rate(Measured):
    """H7: 50 MB/s in the clear, in and out again, or until it is refused."""

    # what is too much of, a million octets of it, and the reply
    KINDS = (("message", (b"x" * 998 + b"\r\n") * 1000, 250),
             ("line", b"x" * 1000000, 554),
             ("header", (b"X-Field: " + b"x" * 989 + b"\r\n") * 1000, 552))

    def seconds(self, relay, piece, count, code):
        """For COUNT of PIECE in one message; until it has arrived, if CODE says that it will."""
        before = len(self.receiver.messages)
        with RawClient(relay, timeout=300) as client:
            client.envelope()
            client.ask(b"DATA", 354)
            begun = time.monotonic()
            client.send(piece if code == 552 else TEXT + piece)
            for _ in range(count - 1):
                client.send(piece)
            client.send(b"\r\n.\r\n")
            client.expect(code)
            if code == 250:
                message = self.receiver.wait(before + 1, timeout=300)[before]
                self.assertGreater(len(message.body), count * len(piece))
        took = time.monotonic() - begun
        self.receiver.messages.clear()
        return took

    def test_100_MB(self):
        size = share(100, 10)
        relay = self.release(limits={"message_size": "200M"}).start()
        for what, piece, code in self.KINDS:
            took = [self.seconds(relay, piece, size, code) for _ in range(ROUNDS)]
            rate = size * len(piece) / 1e6 / statistics.median(took)
            print_figure(f"a {what} of {size} MB: {rate:.0f} MB/s")
            if FULL:
                self.assertGreaterEqual(rate, 50)
        self.gone(relay)


class NearLimits(Measured):
    """New work gets 421 or 452, running work goes on, nothing is lost or doubled."""

    def test_disk_gets_short_under_fifty_texts(self):
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 later")
        disk = self.folder()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24M", "relayd-test", disk],
                          capture_output=True).returncode != 0:
            self.skipTest("mounting a small file system is not allowed here")
        self.addCleanup(subprocess.run, ["umount", "-l", disk])
        relay = self.release(queue={"backoff": ["1h"]}, spool={
            "path": disk + "/spool", "segment_size": "1M", "big_message": "128K", "spare_segments": 1,
            "free_space": "1M"}).start()
        self.fill(relay, 5, lambda i: f"early{i}@dest.test")
        clients = [self.open_text(relay, i, TEXT) for i in range(50)]
        filler = os.path.join(disk, "filler")
        left = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
        with open(filler, "wb") as f:
            f.write(bytes(left - 512 * KIB))
        wait_until(lambda: self.is_put_off(relay), what="452 for new messages")
        promised = set()
        for i, client in enumerate(clients):
            client.send(b".\r\n")
            if client.expect(250, 452)[0] == 250:
                promised.add(f"user{i}@dest.test")
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        promised |= {f"early{i}@dest.test" for i in range(5)}
        self.receiver.wait(len(promised))
        self.gone(relay)
        self.assertEqual(sorted(m.recipients[0] for m in self.receiver.messages), sorted(promised))
        os.remove(filler)
        wait_until(lambda: not self.is_put_off(relay), what="room again")
        self.round_trips(relay, 1)

    def is_put_off(self, relay):
        with RawClient(relay) as client:
            return client.ask(b"MAIL FROM:<a@example.jp>", 250, 452)[0] == 452

    def test_queue_is_full_while_deliveries_go_on(self):
        gate = threading.Event()
        self.receiver.behaviour = Behaviour(end=lambda n, d: gate.wait(60) and None)
        relay = self.release(limits={"queue_messages": 100}).start()
        promised = 0
        with relay.smtp() as client:
            try:
                for i in range(200):
                    client.sendmail("a@example.jp", [f"user{i}@dest.test"], TEXT)
                    promised += 1
            except smtplib.SMTPSenderRefused as e:
                self.assertEqual(e.smtp_code, 452)
        self.assertEqual(promised, 100)
        gate.set()
        self.receiver.wait(100)
        self.gone(relay)
        self.round_trips(relay, 1)
        self.receiver.wait(101)
        self.assertEqual(len(self.receiver.messages), 101)

    def test_nobody_reads_the_log(self):
        """A full pipe is nobody's reason to wait: lines are lost and counted."""
        relay = self.release(log_level="debug")
        reading = threading.Event()
        read = relay._read
        relay._read = lambda process: (reading.wait(), read(process))
        self.addCleanup(reading.set)
        relay.start(wait=False)
        wait_until(lambda: os.path.exists(relay.control) and relay.run_ctl("status").returncode == 0,
                   what="a daemon that answers")
        with relay.smtp() as client:  # more lines than the pipe's 1 MiB
            for i in range(60):
                client.sendmail("a@example.jp", [f"user{i}.{k}@dest.test" for k in range(100)], TEXT)
        self.gone(relay)
        self.assertEqual(sum(len(m.recipients) for m in self.receiver.messages), 6000)
        reading.set()
        wait_until(lambda: self.round_trips(relay, 1) and relay.log("lines of this log were lost"),
                   what="how many were lost")


if __name__ == "__main__":
    unittest.main()
