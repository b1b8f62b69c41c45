"""Attacks by a user of the same machine, on the drop folder, the spool and the control
socket. What he makes there must harm nobody but himself."""
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import unittest

from harness.case import TEXT, TRANSACTION, Case, DropCase
from harness.receiver import HANG, Behaviour
from harness.relay import release_dir, wait_until

class Drop(DropCase):
    def taken_and_set_aside(self, count, says, left=None):
        """Put a good file beside the bad ones; it is delivered, they are set aside, and
        LEFT of them (all of them) stay under other names."""
        self.put("new.good")
        relay = self.relay().start()
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, ["user@dest.test"])
        lines = relay.wait_log(r"drop id=\w+ file=.* refused=", count)
        for line in lines:
            self.assertRegex(line, says)
        left = count if left is None else left
        self.gone(relay)
        self.assertEqual([name[:4] for name in self.left()], ["bad."] * left)
        self.assertEqual(len(self.receiver.messages), 1)
        return relay

    def test_links_to_foreign_files(self):
        secret = os.path.join(self.home, "secret")
        with open(secret, "wb") as f:
            f.write(TRANSACTION)
        os.link(secret, os.path.join(self.drop, "new.hard"))
        os.symlink(secret, os.path.join(self.drop, "new.soft"))
        os.symlink("/dev/zero", os.path.join(self.drop, "new.device"))
        os.symlink("/nonexistent", os.path.join(self.drop, "new.nowhere"))
        self.taken_and_set_aside(4, "not a plain file", left=1)
        with open(secret, "rb") as f:
            self.assertEqual(f.read(), TRANSACTION)

    def test_what_is_no_file(self):
        os.mkfifo(os.path.join(self.drop, "new.fifo"))
        os.mkdir(os.path.join(self.drop, "new.folder"))
        with open(os.path.join(self.drop, "new.folder", "file"), "w"):
            pass
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(os.path.join(self.drop, "new.socket"))
        self.taken_and_set_aside(3, "not a plain file", left=1)

    def test_names(self):
        """Newlines, escapes, octets that are no UTF-8, a name as long as can be."""
        names = [b"new.a\nb error forged=line", b"new.\x1b[2J", b"new.\xff\xfe", b"new." + b"x" * 251]
        for name in names:
            with open(os.path.join(os.fsencode(self.drop), name), "wb") as f:
                f.write(b"rubbish\n")
        relay = self.taken_and_set_aside(4, "MAIL, RCPT lines and DATA are expected")
        self.assertEqual(relay.log("^.?error forged|forged=line$"), [])
        self.assertTrue(relay.log(r'file="new\.a\\x0ab error forged=line"'))

    def test_earlier_files_stay(self):
        """A name chosen so that the file set aside would replace another."""
        self.put("bad.x", b"somebody's")
        self.put("bad.new.x", b"somebody's")
        self.put("new.x", b"rubbish\n")
        relay = self.relay().start()
        relay.wait_log(r"drop id=\w+ file=new.x renamed=bad")
        self.assertEqual(len(self.left()), 3)
        for name in ("bad.x", "bad.new.x"):
            with open(os.path.join(self.drop, name)) as f:
                self.assertEqual(f.read(), "somebody's")

    def test_a_crowd_that_can_not_be_read_keeps_nobody_out(self):
        if os.geteuid() == 0:
            # root without its powers is kept out by the mode as anybody is
            owner = pwd.getpwnam("nobody").pw_uid
        else:
            owner = os.getuid()
        for i in range(3000):
            os.chown(self.put(f"new.{i:04}", b"", mode=0), owner, -1)
        relay = self.taken_and_set_aside_crowd(3000)
        self.assertLess(len(relay.log(r"drop id=\w+ file=")), 30)
        relay.wait_log("drop: 29[0-9][0-9] more files were set aside")

    def taken_and_set_aside_crowd(self, count):
        self.put("new.good")
        relay = self.relay().start()
        self.receiver.wait(1)
        wait_until(lambda: len(self.left()) == count and
                   all(n.startswith("bad.") for n in self.left()), what="the end of the scan")
        return relay

    def test_a_full_folder_does_not_stop_the_others(self):
        for i in range(5000):
            os.close(os.open(os.path.join(self.drop, f"junk.{i}"), os.O_CREAT | os.O_WRONLY))
        self.put("new.good")
        relay = self.relay().start()
        self.receiver.wait(1)
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(2)
        self.gone(relay)

    @unittest.skipUnless(os.geteuid() == 0, "files of another user need root")
    def test_a_flood_of_one_user_lets_the_others_pass(self):
        """Users have turns, wherever in the folder their files happen to be."""
        for i in range(700):
            self.put(f"new.{i}")
            if i % 100 == 50:
                os.chown(self.put(f"new.other{i}"), 65534, 65534)
        relay = self.relay().start()
        lines = relay.wait_log("accept id=.*client=drop:", 707)
        at = [i for i, line in enumerate(lines) if "client=drop:65534" in line]
        self.assertEqual(len(at), 7)
        self.assertLess(at[-1], 300)
        self.gone(relay)

    def test_a_full_queue_leaves_them_where_they_are(self):
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now, try again in 3 hours")
        for i in range(30):
            self.put(f"new.{i:02}")
        relay = self.relay(limits={"queue_messages": 20}).start()
        relay.wait_log("drop: files wait: .*limits.queue_messages")
        taken = len(relay.log("accept id="))
        self.assertTrue(20 <= taken <= 28, taken)  # eight are on their way at a time
        wait_until(lambda: len(self.left()) == 30 - taken, what="the end of those on their way")
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(30)
        self.gone(relay)
        self.assertEqual(self.left(), [])

    def test_a_shutdown_takes_no_more(self):
        """Deliveries that hang make the end take its four seconds. What is on its way in
        from the folder is taken and removed, what is not stays for the next start."""
        self.receiver.behaviour = Behaviour(end=HANG)
        for i in range(2000):
            self.put(f"new.{i:04}")
        relay = self.relay().start()
        relay.wait_log("accept id=.*client=drop:", 20)
        self.assertEqual(relay.stop(), 0)
        end = relay.lines.index(*relay.log("shutting down"))
        taken = [i for i, line in enumerate(relay.lines) if "accept id=" in line]
        self.assertLessEqual(sum(i > end for i in taken), 8)
        self.assertEqual(len(self.left()), 2000 - len(taken))

    def test_too_large(self):
        with open(self.put("new.large"), "wb") as f:
            f.truncate(30 << 20)
        self.taken_and_set_aside(1, "over limits.message_size")

    def test_large_ones_are_not_all_in_memory(self):
        body = b"".join(b"%0998d\r\n" % i for i in range(20000))
        for i in range(8):
            self.put(f"new.{i}", TRANSACTION[:-3] + body + b".\r\n")
        relay = self.relay(spool={"memory": "16M"})
        relay.program = lambda name: os.path.join(release_dir(), name)
        relay.start()
        self.receiver.wait(8, timeout=120)
        self.gone(relay)
        self.assertEqual(self.left(), [])
        with open(f"/proc/{relay.process.pid}/status") as f:
            peak = int(next(line for line in f if line.startswith("VmHWM")).split()[1])
        self.assertLess(peak >> 10, 100)  # MiB, of 160 of them

    def test_a_file_that_grows(self):
        """Somebody writes while it is read: bounded, whatever he does."""
        path = self.put("new.grows", b"MAIL FROM:<a@example.jp>\r\n")
        writer = subprocess.Popen([sys.executable, "-c",
                                   "import sys\n"
                                   "with open(sys.argv[1], 'ab', 0) as f:\n"
                                   "    print('go', flush=True)\n"
                                   "    for _ in range(400): f.write(b'x' * (1 << 18))\n", path],
                                  stdout=subprocess.PIPE)
        self.addCleanup(writer.stdout.close)
        self.addCleanup(writer.wait)
        self.addCleanup(writer.kill)
        writer.stdout.readline()
        self.taken_and_set_aside(1, "grows while|over limits|are expected")

    def test_a_folder_where_users_can_replace_files(self):
        os.chmod(self.drop, 0o777)
        relay = self.relay().start(wait=False)
        relay.wait_log("users can replace each other's files; do: chmod 1733")
        self.assertNotEqual(relay.process.wait(30), 0)

    def test_a_folder_of_somebody_else(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to give a folder away")
        os.chown(self.drop, pwd.getpwnam("nobody").pw_uid, -1)
        relay = self.relay().start(wait=False)
        relay.wait_log("drop: .* belongs to user id .* do: chown")
        self.assertNotEqual(relay.process.wait(30), 0)

    def test_a_link_instead_of_the_folder(self):
        os.rename(self.drop, self.drop + ".real")
        os.symlink(self.drop + ".real", self.drop)
        relay = self.relay().start(wait=False)
        relay.wait_log("drop: .*(Not a directory|Too many levels)")
        self.assertNotEqual(relay.process.wait(30), 0)

    def test_the_folder_is_replaced_while_it_runs(self):
        relay = self.relay().start()
        os.rename(self.drop, self.drop + ".old")
        other = os.path.join(self.home, "other")
        os.mkdir(other)
        os.symlink(other, self.drop)
        with open(os.path.join(other, "new.theirs"), "wb") as f:
            f.write(TRANSACTION)
        self.drop += ".old"
        self.put("new.ours")
        self.receiver.wait(1)  # from the folder that was opened at the start
        self.gone(relay)
        self.assertEqual(os.listdir(other), ["new.theirs"])
        self.assertEqual(len(self.receiver.messages), 1)


class Spool(Case):
    def refused(self, relay, says):
        relay.start(wait=False)
        relay.wait_log(says)
        self.assertNotEqual(relay.process.wait(30), 0)

    def test_a_folder_that_can_not_be_made(self):
        """As /run/relayd, where no service manager has made it."""
        self.refused(self.relay(control="/proc/none/control.sock"),
                     "the folder /proc/none can not be made here; make it, and give it to who runs relayd")

    def test_modes_and_owners(self):
        relay = self.relay()
        os.mkdir(relay.spool)
        os.chmod(relay.spool, 0o750)
        self.refused(relay, "mode 750, expected 700")
        os.chmod(relay.spool, 0o700)
        if os.geteuid() == 0:
            os.chown(relay.spool, pwd.getpwnam("nobody").pw_uid, -1)
            self.refused(relay, "belongs to user .* chown it")

    def test_a_link_instead_of_the_spool(self):
        relay = self.relay()
        os.mkdir(relay.spool + ".real")
        os.symlink(relay.spool + ".real", relay.spool)
        self.refused(relay, "spool folder .* can not be opened")
        self.assertEqual(os.listdir(relay.spool + ".real"), [])

    def test_links_in_the_spool(self):
        """Each name that the daemon opens or makes there."""
        victim = os.path.join(self.folder(), "victim")
        for name in ("lock", "version", "version.new", "big", "damaged", "reputation",
                     "reputation.new"):
            with open(victim, "w") as f:
                f.write("precious")
            relay = self.relay()
            os.mkdir(relay.spool, 0o700)
            os.symlink(victim, os.path.join(relay.spool, name))
            relay.start(wait=False)
            relay.wait_log(f"{name}|is ready")
            relay.stop()
            with open(victim) as f:
                self.assertEqual(f.read(), "precious", name)

    def test_newer_files_stop_the_start(self):
        relay = self.relay().start()
        relay.stop()
        for name, text in (("version", "relayd spool 3\n"), ("reputation", None)):
            path = os.path.join(relay.spool, name)
            with open(path) as f:
                old = f.read()
            if text is None:
                self.assertTrue(old.startswith("relayd reputation 1\n"), old[:60])
                text = old.replace("reputation 1", "reputation 2", 1)
            with open(path, "w") as f:
                f.write(text)
            self.refused(relay, "version [23].*start the newer program")
            with open(path) as f:
                self.assertEqual(f.read(), text)  # and is not touched
            with open(path, "w") as f:
                f.write(old)
        relay.start()

    def test_an_older_program_keeps_off_what_we_have_written(self):
        """What it does not know it would take for damage."""
        relay = self.relay().start()
        relay.stop()
        path = os.path.join(relay.spool, "version")
        with open(path, "w") as f:
            f.write("relayd spool 1\n")
        relay.start()
        with open(path) as f:
            self.assertEqual(f.read(), "relayd spool 2\n")


class Control(Case):
    def test_what_stands_in_the_socket_s_place(self):
        victim = os.path.join(self.folder(), "victim")
        with open(victim, "w") as f:
            f.write("precious")
        relay = self.relay()
        for make in (lambda: os.symlink(victim, relay.control),
                     lambda: shutil.copy(victim, relay.control),
                     lambda: os.mkdir(relay.control), lambda: os.mkfifo(relay.control)):
            make()
            before = os.lstat(relay.control)
            relay.start(wait=False)
            relay.wait_log("control: .*Address already in use")
            self.assertNotEqual(relay.process.wait(30), 0)
            after = os.lstat(relay.control)
            self.assertEqual((before.st_ino, before.st_mode), (after.st_ino, after.st_mode))
            os.rmdir(relay.control) if stat.S_ISDIR(after.st_mode) else os.unlink(relay.control)
        with open(victim) as f:
            self.assertEqual(f.read(), "precious")


if __name__ == "__main__":
    unittest.main()
