"""The drop folder: what relayd can not send goes back or is seen, nothing is sent twice, and
its limits are those of clients."""
import ctypes
import email.utils
import os
import re
import struct
import time
import unittest

from harness import Behaviour
from harness.case import TEXT, DropCase
from harness.relay import wait_until


def transaction(sender, *recipients, text=TEXT):
    lines = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in recipients), "DATA", ""]
    return "\r\n".join(lines).encode() + text + b".\r\n"


FOREIGN = b"From: visitor@gmail.com\r\nTo: user@dest.test\r\nSubject: a form\r\n\r\nHello.\r\n"


class Scans:
    """Tells of each look at a folder that has ended (inotify(7))."""
    CLOSE_NOWRITE = 0x10
    ISDIR = 0x40000000

    def __init__(self, test, folder):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_CLOEXEC)
        test.addCleanup(os.close, self.fd)
        if libc.inotify_add_watch(self.fd, os.fsencode(folder), self.CLOSE_NOWRITE) < 0:
            raise OSError(ctypes.get_errno(), folder)

    def wait(self, count):
        while count > 0:
            events, at = os.read(self.fd, 65536), 0
            while at < len(events):
                _, mask, _, length = struct.unpack_from("iIII", events, at)
                at += 16 + length
                count -= bool(mask & self.ISDIR) and length == 0


class Patient(DropCase):
    def heard(self, relay):
        """Until all that was logged so far is here."""
        relay.ctl("reload")
        relay.wait_log("reload: .* is in force")


class When(DropCase):
    """PHP and cron send no Date: what waited for relayd overnight is of last night."""

    def parsed(self, message):
        return email.message_from_bytes(message.data)

    def seconds(self, text):
        return email.utils.parsedate_to_datetime(text.split(";")[-1].strip()).timestamp()

    def test_a_message_without_a_date(self):
        begun = int(time.time())
        written = {"night": begun - 8 * 3600, "future": begun + 86400, "ancient": 0}
        for name, mtime in written.items():
            text = TEXT.replace(b"Subject: hello", b"Subject: " + name.encode())
            os.utime(self.put("new." + name, transaction("a@example.jp", "user@dest.test", text=text)), (mtime, mtime))
        self.relay().start()
        messages = {m["Subject"]: m for m in map(self.parsed, self.receiver.wait(3))}
        now = time.time()
        dates = {name: self.seconds(m["Date"]) for name, m in messages.items()}
        self.assertEqual(dates["night"], written["night"])
        # a time that can not be true is not believed
        self.assertTrue(begun <= dates["future"] <= now, dates)
        self.assertTrue(begun - 5 * 86400 <= dates["ancient"] <= now - 5 * 86400, dates)
        for message in messages.values():
            self.assertTrue(begun <= self.seconds(message["Received"]) <= now, message["Received"])

    def test_its_life_begins_when_it_is_taken(self):
        """It had no attempt so far: it is neither returned at once nor called late."""
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        path = self.put("new.x", transaction("a@example.jp", "user@dest.test"))
        os.utime(path, (0, 0))
        relay = self.relay().start()
        self.waiting(relay)
        self.assertEqual(self.receiver.messages, [])
        self.assertEqual(relay.ctl("queue", "list", "--older", "1h"), [])

    def test_what_is_returned_names_the_time(self):
        self.names.mail_host("example.jp", "mx.dest.test", "127.0.0.1")
        mtime = int(time.time()) - 8 * 3600
        os.utime(self.put("new.x", transaction("a@example.jp", "user@dest.test", text=FOREIGN)), (mtime, mtime))
        self.relay().start()
        report, = self.receiver.wait(1)
        arrived = re.search(r"Arrival-Date: (.*?)\r\n", report.data.decode()).group(1)
        self.assertEqual(self.seconds(arrived), mtime)


class Refused(DropCase):
    """The program that left it there was told 0: somebody has to hear of it."""

    def setUp(self):
        super().setUp()
        self.names.mail_host("example.jp", "mx.dest.test", "127.0.0.1")

    def status(self, relay):
        return {r["what"]: r["value"] for r in relay.ctl("status")}["drop_set_aside"]

    def incidents(self, relay):
        return [(i["source"], i["state"]) for i in relay.ctl("incidents")]

    def goes_back(self, relay, to, *says):
        relay.start()
        report, = self.receiver.wait(1)
        self.assertEqual((report.sender, report.recipients), ("", [to]))
        for words in says:
            self.assertIn(words, b" ".join(report.data.split()))
        number, = re.search(rb"X-Relayd-Queue-ID: (\w+)", report.data).groups()
        relay.wait_log(f"drop id={number.decode()} file=new.x returned={to} refused=")
        self.gone(relay)
        self.assertEqual((self.left(), self.status(relay), self.incidents(relay)), ([], 0, []))
        self.assertEqual(len(self.receiver.messages), 1)
        return report

    def test_a_foreign_from(self):
        """A web form in the visitor's name: to the address that bounces go to."""
        self.put("new.x", transaction("visitor@gmail.com", "user@dest.test", text=FOREIGN))
        report = self.goes_back(self.relay(), "bounce@example.jp", b"5.7.1", b"<user@dest.test>",
                                b"relayd could not be reached when this message was sent",
                                b"Final-Recipient: rfc822; user@dest.test", b"Subject: a form",
                                b"put the visitor's address in Reply-To:")
        self.assertIn("From: Mail delivery <MAILER-DAEMON@example.jp>", report.header)
        self.assertIn(b"\r\nContent-Type: message/rfc822\r\n", report.data)
        self.assertIn(FOREIGN, report.data)  # nobody else may have a copy

    def test_what_can_not_go_back_whole(self):
        """Eight bits do not pass everywhere; and whoever asks for the header gets no more."""
        for text, more in ((FOREIGN.replace(b"Hello", "\u3053\u3093".encode()), ""), (FOREIGN, " RET=HDRS")):
            with self.subTest(more or "8-bit"):
                del self.receiver.messages[:]
                self.put("new.x", f"MAIL FROM:<a@example.jp>{more}\r\nRCPT TO:<user@dest.test>\r\n"
                         "DATA\r\n".encode() + text + b".\r\n")
                relay = self.relay()
                report = self.goes_back(relay, "a@example.jp", b"The header of your message is attached",
                                        b"Subject: a form")
                self.assertIn(b"\r\nContent-Type: text/rfc822-headers\r\n", report.data)
                self.assertNotIn(text.split(b"\r\n\r\n")[1], report.data)
                relay.stop()

    def test_the_sender_is_one_of_ours(self):
        self.put("new.x", transaction("me@example.jp", "user@dest.test", text=FOREIGN))
        self.goes_back(self.relay(return_path={"mode": "masquerade"}), "me@example.jp", b"5.7.1")

    def test_no_domain_is_ours(self):
        self.put("new.x", transaction("me@elsewhere.test", "user@nodot"))
        self.goes_back(self.relay(domains=(), return_path={"default_domain": ""},
                                  notify={"mail": "admin@dest.test"}), "admin@dest.test", b"user@nodot")

    def test_a_recipient_that_can_not_be(self):
        self.put("new.x", transaction("a@example.jp", "user@dest.test", "root@web01"))
        self.goes_back(self.relay(), "a@example.jp", b"root@web01: no mail leaves for a domain without a dot",
                       b"Final-Recipient: rfc822; user@dest.test", b"Final-Recipient: rfc822; root@web01")

    def test_too_many_recipients(self):
        self.put("new.x", transaction("a@example.jp", *(f"u{i}@dest.test" for i in range(5))))
        self.goes_back(self.relay(limits={"recipients": 3}), "a@example.jp", b"limits.recipients")

    def test_too_large(self):
        for size in (1500000, 3500000):  # of one that is far too large only the beginning is read
            with self.subTest(size):
                del self.receiver.messages[:]
                self.put("new.x", transaction("a@example.jp", "user@dest.test",
                                              text=TEXT + b"x\r\n" * (size // 3)))
                relay = self.relay(limits={"message_size": "1M"})
                self.goes_back(relay, "a@example.jp", b"Subject: hello")
                relay.stop()

    def test_nobody_can_be_told(self):
        """It is seen, and can be given in again once the cause is mended."""
        self.put("new.null", transaction("", "user@dest.test", text=FOREIGN))
        self.put("new.never", transaction("a@example.jp", "user@dest.test", text=FOREIGN)
                 .replace(b"test>\r\n", b"test> NOTIFY=NEVER\r\n", 1))
        self.put("new.rubbish", b"From: a@example.jp\r\n\r\nno envelope\r\n")
        relay = self.relay(notify={"mail": "admin@dest.test"}).start()
        relay.wait_log(r"drop id=(\w+) file=new.* renamed=bad.\1 refused=", 3)
        self.assertEqual([name[:4] for name in self.left()], ["bad."] * 3)
        self.assertEqual((self.status(relay), self.incidents(relay)), (3, [("drop", "open")]))
        notice, = self.receiver.wait(1)
        self.assertIn(b"Mail in the drop folder can neither be sent nor returned.", notice.body)
        facts = {r["what"]: r["value"] for r in relay.ctl("incidents", "show", "1")}
        self.assertIn("mv bad.X new.X", facts["do"])
        self.assertIn("kept in the folder as bad.*", facts["done"])
        relay.kill()  # both are there after a restart
        relay.change(foreign_from="pass")
        relay.start()
        self.assertEqual((self.status(relay), self.incidents(relay)), (3, [("drop", "open")]))
        relay.stop()
        for name in self.left():
            with open(os.path.join(self.drop, name), "rb") as f:
                text = f.read()
            if text.startswith(b"MAIL"):
                os.rename(f.name, os.path.join(self.drop, "new" + name[3:]))
            else:
                os.unlink(f.name)
        relay.start()
        self.receiver.wait(3)
        wait_until(lambda: self.status(relay) == 0, what="the count of nothing")
        self.assertEqual(self.incidents(relay), [("drop", "closed")])


class Once(Patient):
    """Neither lost nor doubled."""

    def test_it_was_taken_before_the_crash(self):
        """A kill between the sync and the file's removal."""
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        self.put("new.x")
        relay = self.relay(queue={"backoff": ["1h"]}).start()
        row = self.waiting(relay)
        wait_until(lambda: self.left() == [], what="the file's removal")
        relay.kill()
        self.put(f"in.0123456789abcdef.{row['id']}")
        relay.start()
        self.assertEqual(self.left(), [])
        self.assertEqual([r["id"] for r in relay.ctl("queue", "list")], [row["id"]])

    def test_it_was_not_taken(self):
        self.put("in.0123456789abcdef.0123456789abcdef")
        relay = self.relay().start()
        self.receiver.wait(1)
        self.gone(relay)
        self.assertEqual(self.left(), [])

    def test_what_is_put_off_comes_again(self):
        """Here for its header, which is too much while memory is short."""
        header = b"From: a@example.jp\r\n" + b"".join(b"X-%d: x\r\n" % i for i in range(500))
        header += b"Subject: " + b"x\r\n " * 5000 + b"x\r\n"
        self.put("new.x", transaction("a@example.jp", "user@dest.test", text=header + b"\r\nHello.\r\n"))
        relay = self.relay(spool={"memory": "8K"}).start()
        relay.wait_log("refuse .*quarter of spool.memory")
        relay.change(spool={"memory": "16M"})
        relay.write_conf()
        self.heard(relay)
        self.receiver.wait(1)
        self.gone(relay)
        self.assertEqual((len(self.receiver.messages), self.left()), (1, []))

    def test_a_file_that_can_not_be_renamed_is_not_sent_again_and_again(self):
        """Nor at all: it could not be removed either. Said once, and taken when it is mended."""
        self.put("new.x")
        os.chmod(self.drop, 0o555)
        scans = Scans(self, self.drop)
        relay = self.relay().start()
        scans.wait(4)  # the first look at the start and three scans
        self.heard(relay)
        self.assertEqual(len(relay.log("error drop: .*/new.x can not be taken in, and waits: .*lsattr")), 1)
        self.assertEqual((relay.log("accept id="), self.left()), ([], ["new.x"]))
        os.chmod(self.drop, 0o1733)
        self.receiver.wait(1)
        self.gone(relay)
        self.assertEqual((len(self.receiver.messages), self.left()), (1, []))


class Limits(Patient):
    def test_messages_per_minute(self):
        """Of a user, by the folder and by the socket together."""
        for i in range(5):
            self.put(f"new.{i}")
        relay = self.relay(limits={"messages_per_minute": 3}).start()
        relay.wait_log("drop: files wait: a user has sent too many within a minute")
        self.receiver.wait(3)
        wait_until(lambda: len(self.left()) == 2, what="the end of those on their way")
        done = relay.sendmail("-f", "a@example.jp", "user@dest.test", input=TEXT)
        self.assertEqual(done.returncode, 75)
        self.assertIn(b"450 4.7.1", done.stderr)
        relay.change(limits={"messages_per_minute": 0})
        relay.write_conf()
        relay.ctl("reload")
        self.receiver.wait(5)
        self.gone(relay)
        self.assertEqual(self.left(), [])

    def test_a_full_queue_is_not_told_of_where_nothing_waits(self):
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        relay = self.relay(limits={"queue_messages": 1}, queue={"backoff": ["1h"]}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.waiting(relay)
        Scans(self, self.drop).wait(1)
        self.heard(relay)
        self.assertEqual(relay.log("drop: files wait"), [])
        self.put("new.x")
        relay.wait_log("drop: files wait: .*limits.queue_messages")


class Folder(DropCase):
    def test_one_where_nobody_looks(self):
        """relay-sendmail connects here, and has another folder for when nobody answers."""
        relay = self.relay()
        relay.env.update(RELAY_SENDMAIL_SOCKET=relay.submit, RELAY_SENDMAIL_DROP=self.home)
        relay.start()
        relay.wait_log(f'warn drop: .* leaves messages in "{self.home}", where nobody takes them; '
                       f'expected drop = "{self.drop}"; in /etc/relayd/sendmail.conf')
        self.assertEqual(relay.stop(), 0)
        relay.env["RELAY_SENDMAIL_DROP"] = self.drop + "/"
        relay.start()
        self.assertEqual(len(relay.log("warn drop: ")), 1)


if __name__ == "__main__":
    unittest.main()
