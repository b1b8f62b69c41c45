"""Failing disks, full disks, and rubbish on disks."""
import itertools
import os
import re
import shutil
import smtplib
import unittest

from base import FULL, Behaviour, Faults, number_of, text, wait_for_all, wait_until
from disk import small_disk
from harness.case import Case
from harness.client import RawClient

STRACE = shutil.which("strace")
ROOM_SECONDS = 10 if FULL else 30  # after which a disk that has space again is used again
FULL_REPLY = (452, b"4.3.1 ")


@unittest.skipUnless(STRACE, "strace is not installed")
class BadDisk(Case):
    def with_fault(self, relay, inject):
        """Of the spool only the folder of bodies is concerned: the log goes on."""
        relay.wrapper = [STRACE, "-D", "-f", "-qq", "-o", os.devnull, "-P", relay.spool + "/big",
                         "-e", "trace=fsync", "-e", f"inject=fsync:{inject}"]
        relay.env["ASAN_OPTIONS"] = "detect_leaks=0"  # it would trace too
        relay.start()

    def test_a_body_that_can_not_be_synced(self):
        """That is no full disk, and the log has the file and the reason."""
        relay = self.relay(spool={"big_message": "64K"})
        self.with_fault(relay, "error=EIO")
        with self.assertRaises(smtplib.SMTPDataError) as refused:
            relay.send("a@example.jp", "user@dest.test", text(1, 100000))
        self.assertEqual((refused.exception.smtp_code, refused.exception.smtp_error[:5]),
                         (451, b"4.3.0"))
        relay.wait_log(r"error spool: spool file big/[0-9a-f]{16} can not be written: Input/output")
        self.assertEqual(os.listdir(relay.spool + "/big"), [])

    def test_a_sync_that_outlasts_the_shutdown(self):
        """A big body is being synced when the patience of the end is over. Its client has
        no 250, and the daemon ends in order."""
        relay = self.relay()
        relay.change(domains=({"name": "example.jp", "dkim": (self.key(relay),)},))
        self.with_fault(relay, "delay_enter=7000000")
        size = 2 << 20
        with RawClient(relay) as client:
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
            client.ask(b"RCPT TO:<user@dest.test>", 250)
            client.ask(b"DATA", 354)
            client.send(b"From: a@example.jp\r\n\r\n" + (b"x" * 998 + b"\r\n") * (size // 1000)
                        + b".\r\n")
            folder = relay.spool + "/big"
            wait_until(lambda: any(e.stat().st_size >= size // 1000 * 1000
                                   for e in os.scandir(folder)), what="a whole body")
            self.assertEqual(relay.stop(30), 0)
            self.assertNotIn(250, [code for code, _ in client.replies()])
        relay.wrapper = []
        relay.start()
        self.assertEqual(relay.ctl("queue", "list"), [])
        self.assertEqual(os.listdir(folder), [])


class FullDisk(Faults):
    def relay_on(self, disk, **settings):
        return self.relay(spool={"path": disk + "/spool", "segment_size": "1M",
                                 "big_message": "128K", "spare_segments": 1,
                                 "free_space": "1M"}, **settings)

    def wait_for_room(self, relay, size=200):
        """Now that there is space again, message 1000 is taken in time, and arrives."""
        wait_until(lambda: self.send(relay, 1000, size), timeout=ROOM_SECONDS, step=0.2,
                   what="room again")
        wait_for_all(self.receiver, {1000})

    def assert_refused(self, relay, numbers, size):
        """It is full: none of them is taken, each with the reply for that."""
        promised, codes = self.refusals(relay, numbers, size)
        self.assertEqual((promised, codes), (set(), {FULL_REPLY}))

    def assert_once(self, arrived):
        self.assertEqual([n for n, times in arrived.items() if len(times) > 1], [])

    def nothing_waits(self, relay):
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")

    def test_full_disk_refuses_delivers_and_recovers(self):
        disk = small_disk(self)
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not yet")
        relay = self.relay_on(disk).start()
        promised, codes = self.refusals(relay, range(1, 700), 60000)
        self.assertEqual(codes, {FULL_REPLY}, "the disk never got full")
        self.assert_refused(relay, range(2000, 2020), 60000)
        # delivery goes on while it is full, and makes room
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        self.assert_once(wait_for_all(self.receiver, promised))
        self.wait_for_room(relay)
        self.nothing_waits(relay)
        # nothing of it was only in memory
        relay.kill()
        relay.start()
        self.assertEqual(relay.ctl("queue", "list"), [])

    def test_disk_filled_by_others_while_mail_waits(self):
        disk = small_disk(self)
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not yet")
        relay = self.relay_on(disk).start()
        promised, codes = self.refusals(relay, range(1, 30), 2000)
        self.assertEqual((len(promised), codes), (29, set()))
        self.fill(disk)
        numbers = itertools.count(2000)
        wait_until(lambda: not self.send(relay, next(numbers), 2000), what="a refusal")
        self.assert_refused(relay, range(500, 520), 2000)
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        wait_for_all(self.receiver, promised)
        self.nothing_waits(relay)
        relay.kill()
        relay.start()
        self.nothing_waits(relay)
        os.unlink(disk + "/filler")
        self.wait_for_room(relay, 2000)
        self.nothing_waits(relay)
        self.assert_once(wait_for_all(self.receiver, promised))

    def refusals(self, relay, numbers, size):
        """What got its 250 of messages of that SIZE, and the codes of the others."""
        promised, codes = set(), set()
        with relay.smtp() as client:
            for number in numbers:
                try:
                    client.sendmail("app@example.jp", f"u{number}@dest.test", text(number, size))
                    promised.add(number)
                except smtplib.SMTPResponseException as e:
                    codes.add((e.smtp_code, e.smtp_error[:6]))
        return promised, codes

    def test_no_inodes_refuses_delivers_and_recovers(self):
        """There is room, but not for another file: neither for a segment nor for a big message."""
        disk = small_disk(self, inodes=60)
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not yet")
        relay = self.relay_on(disk).start()
        promised, codes = self.refusals(relay, range(1, 4), 200000)
        self.assertEqual((len(promised), codes), (3, set()))
        others = []
        with self.assertRaises(OSError):
            while True:
                others.append(f"{disk}/{len(others)}")
                open(others[-1], "x").close()
        others.pop()
        self.assert_refused(relay, range(10, 30), 200000)
        small, codes = self.refusals(relay, range(100, 160), 60000)
        self.assertEqual(codes, {FULL_REPLY})
        self.assert_refused(relay, range(200, 220), 60000)
        promised |= small
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        self.assert_once(wait_for_all(self.receiver, promised))
        for other in others:
            os.unlink(other)
        self.wait_for_room(relay, 200000)
        self.nothing_waits(relay)
        relay.kill()
        relay.start()
        self.assertEqual(relay.ctl("queue", "list"), [])

    def queued_on(self, disk):
        """A relay that has stopped, and what it was promised: 30 messages wait on DISK."""
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not yet")
        relay = self.relay_on(disk, queue={"backoff": ["1h"]}).start()
        promised, codes = self.refusals(relay, range(1, 31), 2000)
        self.assertEqual((len(promised), codes), (30, set()))
        relay.wait_log(r"result=deferred", count=30)
        relay.stop()
        return relay, promised

    def start_on(self, disk, fill, empty, forget=()):
        """Mail is queued on DISK, which FILL fills while the daemon is down: it starts, and
        delivers, and what it learns is written once EMPTY has made room."""
        relay, promised = self.queued_on(disk)
        for name in forget:
            os.unlink(f"{disk}/spool/{name}")
        fill()
        self.receiver.behaviour = Behaviour()
        relay.start()
        self.assertTrue(relay.log(r"what is learnt of paths can not be written down"))
        relay.ctl("queue", "retry", "--all")
        self.assert_once(wait_for_all(self.receiver, promised))
        self.nothing_waits(relay)
        empty()
        self.wait_for_room(relay, 2000)
        self.nothing_waits(relay)
        learnt = len(relay.ctl("reputation"))
        self.assertEqual(relay.stop(), 0)
        relay.start()
        self.assertEqual(relay.ctl("queue", "list"), [])
        self.assertEqual(len(relay.ctl("reputation")), learnt)
        self.assertGreater(learnt, 0)
        self.assertTrue(os.path.exists(f"{disk}/spool/reputation"))

    def fill(self, disk, left=0):
        """But for LEFT bytes."""
        with self.assertRaises(OSError), open(disk + "/filler", "wb", buffering=0) as filler:
            while True:
                filler.write(b"z" * 4096)
        os.truncate(disk + "/filler", os.path.getsize(disk + "/filler") - left)

    def test_a_start_without_a_byte(self):
        disk = small_disk(self)
        self.start_on(disk, lambda: self.fill(disk), lambda: os.unlink(disk + "/filler"))

    def test_a_start_without_room_for_damage(self):
        """What is damaged stays in its segment, and everything else goes out; once there is
        room a start sets it aside."""
        disk = small_disk(self)
        spool = disk + "/spool"
        relay, promised = self.queued_on(disk)
        name = min(n for n in os.listdir(spool) if n.endswith(".log"))
        with open(f"{spool}/{name}", "r+b") as f:
            at = f.read().index(b"\x52\xa7\x59\x4c", 8192)  # where a record begins
            f.seek(at)
            f.write(os.urandom(40000))
            f.seek(0)
            before = f.read()
        self.fill(disk, 24 << 10)
        self.receiver.behaviour = Behaviour()
        relay.start()
        relay.wait_log(rf"error damage file={name} .*No space left on device.*make room")
        incident, = relay.ctl("incidents")
        self.assertEqual(incident["source"], "spool-kept")
        self.assertIn("make room on the disk, then restart relayd", incident["last"])
        whole = {int(row["to"][0].split("@")[0][1:]) for row in relay.ctl("queue", "list")}
        self.assertEqual(len(whole), len(relay.ctl("queue", "list")))
        self.assertTrue(0 < len(whole) < 30)
        relay.ctl("queue", "retry", "--all")
        wait_for_all(self.receiver, whole)
        self.nothing_waits(relay)
        os.unlink(disk + "/filler")
        self.wait_for_room(relay, 2000)
        for number in range(1001, 1040):  # segments come and go
            self.assertTrue(self.send(relay, number, 60000))
        self.nothing_waits(relay)
        with open(f"{spool}/{name}", "rb") as f:
            self.assertEqual(f.read()[:at + 40000], before[:at + 40000])
        self.assertEqual(os.listdir(spool + "/damaged"), [])
        relay.stop()
        relay.start()
        saved, = os.listdir(spool + "/damaged")
        with open(f"{spool}/damaged/{saved}", "rb") as f:
            self.assertEqual(f.read()[:40000], before[at:at + 40000])
        wait_until(lambda: not os.path.exists(f"{spool}/{name}"), what="the segment gone")
        # what is lost now does not stand under "nothing was thrown away"
        facts = {i["source"]: {f["what"]: f["value"] for f in relay.ctl(
            "incidents", "show", str(i["number"]))} for i in relay.ctl("incidents")}
        self.assertIn("nothing was thrown away", facts["spool-kept"]["do"])
        self.assertIn("ask the senders", facts["spool"]["do"])

    def test_a_start_without_an_inode(self):
        disk = small_disk(self, inodes=60)
        others = []

        def use_up():
            with self.assertRaises(OSError):
                while True:
                    others.append(f"{disk}/{len(others)}")
                    open(others[-1], "x").close()
            others.pop()

        def empty():
            for other in others:
                os.unlink(other)
        self.start_on(disk, use_up, empty, ("reputation", "brake"))


class Lock(Faults):
    def test_second_daemon_on_one_spool(self):
        relay = self.relay().start()
        program = self.release if FULL else self.relay
        other = program(spool={"path": relay.spool})
        other.start(wait=False)
        self.assertNotEqual(other.process.wait(1 if FULL else 10), 0)
        other.reader.join(5)
        self.assertTrue(other.log(r"spool.*(in use|held|another)"), other.lines)
        self.assertTrue(self.send(relay, 1))
        wait_for_all(self.receiver, {1})


class Rubbish(Faults):
    def spool_with_mail(self, count=20, **settings):
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not yet")
        relay = self.relay(**settings)
        relay.start()
        promised = {n for n in range(1, count + 1) if self.send(relay, n, 500 * n)}
        self.assertEqual(len(promised), count)
        relay.kill()
        self.receiver.behaviour = Behaviour()
        return relay, promised

    def segments(self, relay):
        return sorted(f for f in os.listdir(relay.spool) if f.endswith(".log"))

    def overwrite(self, relay, text, by):
        """The first bytes of TEXT, wherever that stands in a segment."""
        for name in self.segments(relay):
            with open(os.path.join(relay.spool, name), "r+b") as f:
                at = f.read().find(text)
                if at >= 0:
                    f.seek(at)
                    f.write(by)

    def test_foreign_files_are_left_alone(self):
        relay, promised = self.spool_with_mail()
        for name in ("notes.txt", "0000.log", "ffffffffffffffff.log"):
            with open(os.path.join(relay.spool, name), "wb") as f:
                f.write(b"rubbish\n" * 10)
        os.mkdir(os.path.join(relay.spool, "folder"))
        os.symlink("/etc/passwd", os.path.join(relay.spool, "link.log"))
        relay.start()
        wait_for_all(self.receiver, promised)
        self.assertTrue(os.path.exists(os.path.join(relay.spool, "notes.txt")))
        self.assertTrue(os.path.islink(os.path.join(relay.spool, "link.log")))
        self.assertEqual(relay.ctl("incidents"), [])  # that is no damage

    def test_a_flipped_byte_costs_one_message(self):
        relay, promised = self.spool_with_mail(notify={"mail": "root@dest.test"})
        self.overwrite(relay, b"X-Number: 7\r\n", b"#")
        relay.start()
        wait_for_all(self.receiver, promised - {7})
        line, = relay.wait_log(r"error damage id=[0-9a-f]{16} .*from <app@example.jp> to 1 recipient")
        self.assertTrue(os.listdir(os.path.join(relay.spool, "damaged")), line)
        self.assertNotIn(7, [number_of(m) for m in self.receiver.messages])
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")
        self.assert_told(relay, re.search(r" id=([0-9a-f]{16}) ", line)[1])

    def assert_told(self, relay, what):
        """There is one incident, which says WHAT, and a mail about it."""
        incident, = relay.ctl("incidents")
        self.assertEqual((incident["source"], incident["state"]), ("spool", "open"))
        self.assertIn(what, incident["last"])
        facts = {f["what"]: f["value"] for f in relay.ctl("incidents", "show",
                                                          str(incident["number"]))}
        self.assertEqual(facts["rule"], "spool-damage")
        self.assertIn(relay.spool + "/damaged", facts["do"])
        self.assertIn("is about no receiver", relay.run_ctl("delist", str(incident["number"])).stderr)
        wait_until(lambda: [m for m in self.receiver.messages if b"spool-damage" in m.data],
                   what="a mail about it")
        mail, = [m for m in self.receiver.messages if b"spool-damage" in m.data]
        self.assertIn(what.encode(), mail.data)
        self.assertIn(b"\r\nSomething in the spool can not be read", mail.data)
        relay.ctl("incidents", "close", str(incident["number"]))
        self.assertEqual(relay.ctl("incidents")[0]["state"], "closed")

    def test_damage_that_the_start_finds(self):
        """The head of a record: it is met before anything else of the daemon runs."""
        relay, promised = self.spool_with_mail(notify={"mail": "root@dest.test"})
        self.overwrite(relay, b"u7@dest.test", b"#")
        relay.start()
        wait_for_all(self.receiver, promised - {7})
        relay.wait_log(r"error damage file=.* text=.*no record that can be read")
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")
        self.assert_told(relay, "no record that can be read")


if __name__ == "__main__":
    unittest.main()
