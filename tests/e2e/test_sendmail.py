"""relay-sendmail as cron, mailx, git and others call it: to the daemon, to a relay
elsewhere, to the drop folder, and what must not work."""
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

from harness import DROP, HANG, RESET, Behaviour, build_dir, free_port
from harness.case import Case, needs_open_tree
from harness.relay import ROOT, release_dir, setting

PROGRAM = os.path.join(build_dir(), "relay-sendmail")
TEXT = b"To: user@dest.test\nSubject: hello\nFrom: a@example.jp\n\nThe text.\n"


class Sendmail(Case):
    """With $HOME and the drop folder in a folder of the test's own."""

    def setUp(self):
        super().setUp()
        self.home = self.folder()
        self.drop = os.path.join(self.home, "drop")
        self.env = {"HOME": self.home, "RELAY_SENDMAIL_DROP": self.drop}

    def call(self, *arguments, input=TEXT, env=None, program=PROGRAM, **options):
        done = subprocess.run([program, *arguments], input=input, capture_output=True,
                              timeout=60, env=dict(os.environ, **self.env, **(env or {})), **options)
        text = done.stderr.decode()
        self.assertNotIn("Sanitizer", text)
        for line in text.partition("usage: ")[0].splitlines():
            self.assertTrue(line.startswith("relay-sendmail: "), line)
        return done

    def good(self, *arguments, **options):
        done = self.call(*arguments, **options)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))

    def bad(self, status, pattern, *arguments, **options):
        done = self.call(*arguments, **options)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertRegex(done.stderr.decode(), pattern)
        return done

    def conf(self, mode=0o600, **settings):
        path = os.path.join(self.home, ".relay-sendmail.conf")
        with open(path, "w") as f:
            f.writelines(f"{key} = {setting(value)};\n" for key, value in settings.items())
        os.chmod(path, mode)

    def check_reports_asked(self):
        mail, rcpt = [c for c in self.receiver.commands if c[:4] in ("MAIL", "RCPT")]
        self.assertTrue(mail.endswith(" RET=HDRS ENVID=my+20id"), mail)
        self.assertTrue(rcpt.endswith(" NOTIFY=NEVER"), rcpt)

    def ask_for_reports(self):
        self.receiver.behaviour = Behaviour(extensions=["DSN"])
        done = self.call("-N", "never", "-R", "hdrs", "-V", "my id", "-f", "a@example.jp",
                         "user@dest.test", input=TEXT)
        self.assertEqual(done.returncode, 0, done.stderr)


class ToDaemon(Sendmail):
    def setUp(self):
        super().setUp()
        self.names.mail_host("example.jp", "mx.dest.test", "127.0.0.1")
        self.daemon = self.relay()
        self.daemon.change(drop=self.drop)
        self.daemon.start()
        self.env["RELAY_SENDMAIL_SOCKET"] = self.daemon.submit

    def test_what_is_asked_of_reports(self):
        """-N, -R and -V get to the host that takes the message."""
        self.ask_for_reports()
        self.receiver.wait(1)
        self.check_reports_asked()

    def test_callers(self):
        """Arguments as the programs themselves give them."""
        plain = b"From: a@example.jp\nSubject: x\n\nText.\n"
        lines = (
            ("cron", ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "user@dest.test"], plain),
            ("anacron", ["-FAnacron", "-odi", "user@dest.test"], plain),
            ("bsd-mailx", ["-i", "-t", "-f", "a@example.jp"], TEXT),
            ("s-nail", ["-i", "-f", "a@example.jp", "--", "user@dest.test"], plain),
            ("mutt", ["-oem", "-oi", "-f", "a@example.jp", "--", "user@dest.test"], plain),
            ("git", ["-f", "a@example.jp", "-i", "user@dest.test"], plain),
            ("php", ["-t", "-i"], TEXT),
            ("wordpress", ["-oi", "-fa@example.jp", "-t"], TEXT),
            ("logwatch", ["-t"], TEXT),
            ("fail2ban", ["-f", "<a@example.jp>", "user@dest.test"], plain),
        )
        for count, (name, arguments, text) in enumerate(lines, 1):
            with self.subTest(name):
                self.good(*arguments, input=text)
                message = self.receiver.wait(count)[-1]
                self.assertEqual(message.recipients, ["user@dest.test"])
                self.assertIn(message.sender, ("a@example.jp", "bounce@example.jp"))

    def test_cron_to_root(self):
        self.good("-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root",
                  input=b"Subject: Cron <root@web> job\n\ndone\n.\nmore\n")
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, ["root@example.jp"])
        self.assertRegex(message.header, r"\r\nFrom: CronDaemon <[^@>]+@example\.jp>")
        self.assertIn(b"done\r\n.\r\nmore\r\n", message.body)

    def test_recipients_of_the_header(self):
        self.good("-t", "-i", input=b"To: user@dest.test\nCc: \"B, C\" <b@dest.test>,\n c@dest.test\n"
                  b"Bcc: secret@dest.test\nFrom: a@example.jp\n\nx\n")
        message, = self.receiver.wait(1)
        self.assertEqual(sorted(message.recipients),
                         ["b@dest.test", "c@dest.test", "secret@dest.test", "user@dest.test"])
        self.assertNotIn(b"secret", message.data)

    def test_arguments_are_added_to_the_header(self):
        self.good("-t", "b@dest.test", "user@dest.test")
        self.assertEqual(sorted(self.receiver.wait(1)[0].recipients), ["b@dest.test", "user@dest.test"])

    def test_null_sender(self):
        for count, null in enumerate(("", "<>"), 1):
            self.good("-f", null, "user@dest.test")
            self.assertEqual(self.receiver.wait(count)[-1].sender, "")

    def test_utf8_addresses(self):
        self.good("-i", "用户@dest.test", input="From: a@example.jp\nSubject: 日本\n\n語\n".encode())
        message, = self.receiver.wait(1)
        self.assertEqual(message.recipients, ["用户@dest.test"])
        self.assertIn("語".encode(), message.body)

    def test_verbose_says_the_queue_id(self):
        done = self.call("-v", "user@dest.test")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr.decode(), r"250 2\.0\.0 queued as [0-9a-f]{16}")

    def test_big_message(self):
        text = TEXT + (b"0123456789abcdef" * 4000 + b"\n") * 100 + b".\n" * 1000
        self.good("-i", "user@dest.test", input=text)
        message, = self.receiver.wait(1)
        self.assertEqual(message.body, b"The text.\r\n" + (b"0123456789abcdef" * 4000 + b"\r\n") * 100 +
                         b".\r\n" * 1000)

    def test_too_big_for_the_daemon(self):
        text = TEXT + (b"x" * 98 + b"\n") * 300000
        self.bad(65, r"552 5\.3\.4", "-i", "user@dest.test", input=text)

    def test_one_bad_recipient_stops_all(self):
        done = self.bad(67, r"x@nodot: 550 5\.1\.2", "user@dest.test", "x@nodot")
        self.assertIn(b"nothing was sent", done.stderr)
        self.assertEqual(self.daemon.ctl("queue", "list"), [])

    def test_more_recipients_than_the_daemon_takes(self):
        """Trying again would not help, and a line for each one neither."""
        self.daemon.change(limits={"recipients": 60})
        self.daemon.write_conf()
        self.daemon.ctl("reload")
        many = [f"u{i}@dest.test" for i in range(200)]
        done = self.bad(65, "200 recipients, and the relay takes 60 in one message", *many)
        self.assertEqual(len(done.stderr.splitlines()), 2)
        self.assertIn(b"nothing was sent", done.stderr)
        self.assertFalse(os.path.exists(self.drop) and os.listdir(self.drop))
        self.good(*many[:60])
        # what is wrong with others is said beside it
        self.bad(67, r"x@nodot: 550 5\.1\.2 .*\n.* 201 recipients,", *many[:10], "x@nodot", *many[10:])

    def test_foreign_from(self):
        self.bad(77, r"550 5\.7\.1", "user@dest.test", input=b"From: me@gmail.com\n\nx\n")

    def test_dialogue(self):
        done = self.call("-bs", input=b"EHLO me\r\nMAIL FROM:<a@example.jp>\r\nRCPT TO:<user@dest.test>\r\n"
                         b"DATA\r\nFrom: a@example.jp\r\n\r\nBy hand.\r\n.\r\nQUIT\r\n")
        self.assertEqual(done.returncode, 0)
        codes = re.findall(rb"^(\d{3})(?: |$)", done.stdout, re.M)
        self.assertEqual(codes, [b"220", b"250", b"250", b"250", b"354", b"250", b"221"])
        self.assertIn(b"By hand.", self.receiver.wait(1)[0].body)

    def test_dialogue_in_lines_of_lf(self):
        """As local programs speak; the text keeps what is in it."""
        done = self.call("-bs", input=b"EHLO me\nMAIL FROM:<a@example.jp>\nRCPT TO:<user@dest.test>\nDATA\n"
                         b"From: a@example.jp\n\nBy hand.\n..\r\n.\nQUIT\n")
        codes = re.findall(rb"^(\d{3})(?: |$)", done.stdout, re.M)
        self.assertEqual(codes, [b"220", b"250", b"250", b"250", b"354", b"250", b"221"])
        self.assertEqual(self.receiver.wait(1)[0].body, b"By hand.\r\n.\r\n")

    def test_dialogue_hides_no_lf(self):
        """Where the caller ends lines with CRLF a LF alone is not made one: a dot behind it
        would end a text that the caller took for one."""
        done = self.call("-bs", input=b"EHLO me\r\nMAIL FROM:<a@example.jp>\r\nRCPT TO:<user@dest.test>\r\nDATA\r\n"
                         b"From: a@example.jp\r\n\r\nBy hand.\n.\nMAIL FROM:<>\r\n.\r\nQUIT\r\n")
        codes = re.findall(rb"^(\d{3})(?: |$)", done.stdout, re.M)
        self.assertEqual(codes, [b"220", b"250", b"250", b"250", b"354", b"550", b"221"])

    def test_long_pipelining(self):
        """Who reads and writes at once is never stuck: neither direction waits for the other."""
        done = self.call("-bs", input=b"EHLO me\r\n" + b"NOOP\r\n" * 60000 + b"QUIT\r\n")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(done.stdout.count(b"\r\n250 2.0.0 Ok"), 60000)
        self.assertTrue(done.stdout.splitlines()[-1].startswith(b"221 "))

    def test_dialogue_without_quit(self):
        done = self.call("-bs", input=b"EHLO me\r\n")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"250", done.stdout)

    def test_mailq(self):
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        self.conf(control=self.daemon.control)
        self.good("user@dest.test")
        self.waiting(self.daemon)
        mailq = os.path.join(self.home, "mailq")
        os.symlink(PROGRAM, mailq)
        for arguments, program in ((["-bp"], PROGRAM), ([], mailq)):
            done = self.call(*arguments, program=program)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(b"user@dest.test", done.stdout)
        ignore = lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as some callers do
        self.assertEqual(self.call("-bp", preexec_fn=ignore).returncode, 0)
        done = self.sees_enough("-bp")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.receiver.behaviour = Behaviour()
        self.assertEqual(self.call("-q").returncode, 0)
        self.receiver.wait(1)

    def sees_enough(self, *arguments):
        """Its reader has gone, as head does."""
        reading, writing = os.pipe()
        os.close(reading)
        self.addCleanup(os.close, writing)
        return subprocess.run([PROGRAM, *arguments], stdout=writing, stderr=subprocess.PIPE,
                              timeout=60, env=dict(os.environ, **self.env))

    def test_standard_descriptors_closed(self):
        done = subprocess.run(["sh", "-c", f"exec '{PROGRAM}' -t <&- >&- 2>&-"], timeout=60,
                              env=dict(os.environ, **self.env))
        self.assertEqual(done.returncode, 74)

    def test_what_an_exit_status_says(self):
        """The help and the manual name the same ones, and promise no more than is true."""
        told = self.call("--help").stdout.decode().partition("exit status:")[2]
        with open(os.path.join(ROOT, "relayd", "man", "relay-sendmail.1")) as f:
            manual = f.read().partition(".SH EXIT STATUS")[2].partition(".SH ")[0]
        statuses = re.findall(r"\b\d\d?\b", told)
        self.assertEqual(sorted(set(statuses)), sorted(set(re.findall(r"\b\d\d?\b", manual))))
        self.assertEqual(statuses[0], "0")
        for text in told, manual:
            self.assertRegex(text.replace("\n", " "), "75 .*may or may not have been taken")

    def test_descriptors_that_do_not_wait(self):
        """As a server leaves its sockets to a program that it starts."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        env = dict(os.environ, **self.env)
        with subprocess.Popen([PROGRAM, "user@dest.test"], stdin=reading, env=env) as process:
            os.close(reading)
            time.sleep(0.2)  # it reads before there is anything
            os.write(writing, TEXT)
            os.close(writing)
        self.assertEqual(process.returncode, 0)
        self.receiver.wait(1)
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with ours, subprocess.Popen([PROGRAM, "-bs"], stdin=theirs, stdout=theirs, env=env) as process:
            theirs.close()
            words = b"EHLO me\r\n" + b"NOOP\r\n" * 60000 + b"QUIT\r\n"
            sender = threading.Thread(target=ours.sendall, args=(words,))
            sender.start()
            time.sleep(0.2)  # nobody reads what it says
            said = b"".join(iter(lambda: ours.recv(65536), b""))
            sender.join()
        self.assertEqual((process.returncode, said.count(b"\r\n250 2.0.0 Ok")), (0, 60000))

    def test_no_standard_input(self):
        """Nothing to read is an empty message; nowhere to read from is a mistake."""
        shell = ["sh", "-c", f"exec '{PROGRAM}' \"$@\" <&-", "sh"]
        for arguments in ("user@dest.test",), ("-t",), ("-bs",):
            done = subprocess.run([*shell, *arguments], timeout=60, capture_output=True,
                                  env=dict(os.environ, **self.env))
            self.assertEqual(done.returncode, 74)
            self.assertEqual(done.stderr.decode(), "relay-sendmail: standard input: Bad file descriptor\n")
        self.assertEqual(subprocess.run([*shell, "--help"], timeout=60, capture_output=True).returncode, 0)
        self.good("user@dest.test", input=b"")
        self.receiver.wait(1)


class DeafRelay(Sendmail):
    """-bs, and a relay that does not read what it is sent."""

    def relay_says(self, text, close):
        path = os.path.join(self.home, "deaf.sock")
        self.env["RELAY_SENDMAIL_SOCKET"] = path
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen()

        def serve():
            client = listener.accept()[0]
            client.sendall(text)
            if close:
                client.close()
            else:
                self.addCleanup(client.close)
        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)

    def test_it_reads_nothing(self):
        self.conf(timeout=1)
        self.relay_says(b"220 x\r\n", close=False)
        done = self.bad(75, "no answer in time", "-bs", input=b"NOOP\r\n" * 1000000)
        self.assertTrue(done.stdout.endswith(b"220 x\r\n"), done.stdout)

    def test_its_last_words_are_passed_on(self):
        self.relay_says(b"220 x\r\n421 4.3.2 bye\r\n", close=True)
        done = self.call("-bs", input=b"NOOP\r\n" * 1000000)
        self.assertTrue(done.stdout.endswith(b"421 4.3.2 bye\r\n"), done.stdout)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_it_ends_without_a_word(self):
        self.relay_says(b"220 x\r\n", close=True)
        self.bad(75, "the relay: ", "-bs", input=b"NOOP\r\n" * 1000000)


class Injection(Sendmail):
    """Nothing of a command line becomes an option, a field or a command."""

    def setUp(self):
        super().setUp()
        self.env["RELAY_SENDMAIL_SOCKET"] = os.path.join(self.home, "none.sock")
        os.mkdir(self.drop)

    def dropped(self):
        """What is in the drop folder, which is emptied."""
        texts = []
        for name in sorted(os.listdir(self.drop)):
            path = os.path.join(self.drop, name)
            self.assertRegex(name, r"^new\.[0-9a-f]{32}$")
            with open(path, "rb") as f:
                texts.append(f.read())
            os.unlink(path)
        return texts

    def test_commands_in_addresses(self):
        for address in ("a@b.jp\nRCPT TO:<x@evil.test>", "a@b.jp>\r\nDATA\r\n", "a@b.jp\r",
                        "a@b.jp> SIZE=1 <", "a@b.jp\x00", "a@b.jp\x7f", "\na@b.jp", "<a@b.jp", "a@b.jp>"):
            if "\0" not in address:  # execve ends it there
                for arguments in (("-f", address, "user@dest.test"), ("-r" + address, "user@dest.test"),
                                  (address,), ("user@dest.test", address)):
                    with self.subTest(arguments):
                        self.bad(65, "sender|recipient", *arguments)
        self.assertEqual(self.dropped(), [])

    def test_fields_in_the_name(self):
        for name in ("A\nBcc: x@evil.test", "A\r\n\r\nbody", "A\rBcc: x@evil.test", "\\\"A\\", "A <b@c>"):
            self.good("-F", name, "user@dest.test", input=b"Subject: x\n\ny\n")
            self.good("user@dest.test", input=b"Subject: x\n\ny\n", env={"NAME": name})
            for text in self.dropped():
                self.assertEqual(text.count(b"RCPT"), 1)
                self.assertEqual(text.count(b"\r\n"), 8, text)
                self.assertNotRegex(text, b"\nBcc")

    def test_options_that_name_files(self):
        for option in ("-X{}", "-C{}", "-D{}", "-oQ{}", "-OQueueDirectory={}", "-oX{}", "-O LogFile={}"):
            path = os.path.join(self.home, "made")
            self.good(option.format(path), "user@dest.test")
            self.assertFalse(os.path.exists(path), option)
            self.bad(64, "no option", "user@dest.test", option.format(path))
        self.dropped()

    def test_what_php_leaves_of_a_shell_line(self):
        self.good("-t", "-i", "-f", "bounce@example.jp", "-F", "Full Name", "-oi;", "touch@b.test", "f@b.test")
        text, = self.dropped()
        self.assertIn(b"MAIL FROM:<bounce@example.jp>\r\n", text)

    def test_expansions_stay_text(self):
        for address in ("${run{touch}}@dest.test", "`id`@dest.test", "a|b@dest.test", "a%b@dest.test"):
            self.good("--", address)
            self.assertIn(f"RCPT TO:<{address}>\r\n".encode(), self.dropped()[0])

    def test_a_cr_hides_no_bcc(self):
        self.good("-t", input=b"To: user@dest.test\r\nSubject: a\rBcc: x@evil.test\r\n\r\ny\n")
        text, = self.dropped()
        self.assertEqual(text.count(b"RCPT"), 1)
        self.assertIn(b"Subject: a Bcc: x@evil.test\r\n", text)

    def test_dots_and_commands_in_the_text(self):
        self.good("-i", "user@dest.test", input=TEXT + b".\r\nMAIL FROM:<x@evil.test>\n.\n")
        text, = self.dropped()
        self.assertTrue(text.endswith(b"\r\n..\r\nMAIL FROM:<x@evil.test>\r\n..\r\n.\r\n"))

    def test_bad_usage(self):
        for arguments in ([], ["-Z"], ["-f"], ["-bd"], ["-bt"], ["-bh"], ["-bv", "a@b.jp"], ["--", ]):
            self.bad(64, "usage: relay-sendmail ", *arguments)

    def test_no_recipients(self):
        self.bad(65, "no recipients", "-t", input=b"Subject: x\n\ny\n")
        self.bad(65, "no recipients", "-t", input=b"")


class DropFolder(Sendmail):
    def setUp(self):
        super().setUp()
        self.daemon = self.relay()
        self.daemon.change(drop=self.drop)
        self.env["RELAY_SENDMAIL_SOCKET"] = self.daemon.submit

    def test_what_is_asked_of_reports(self):
        os.mkdir(self.drop)
        os.chmod(self.drop, 0o1733)
        self.ask_for_reports()
        self.daemon.start()
        self.receiver.wait(1)
        self.check_reports_asked()

    def test_taken_in_when_the_daemon_comes(self):
        os.mkdir(self.drop)
        os.chmod(self.drop, 0o1733)
        self.good("-t", "-i", input=b"To: user@dest.test\nBcc: b@dest.test\nFrom: a@example.jp\n\n.\ndown\n")
        self.good("-f", "", "用@dest.test", input=TEXT)
        self.daemon.start()
        one, two = sorted(self.receiver.wait(2), key=lambda m: m.sender, reverse=True)
        self.assertEqual(sorted(one.recipients), ["b@dest.test", "user@dest.test"])
        self.assertIn(b".\r\ndown\r\n", one.body)
        self.assertEqual((two.sender, two.recipients), ("", ["用@dest.test"]))
        self.gone(self.daemon)
        self.assertEqual(os.listdir(self.drop), [])

    def test_after_a_kill(self):
        self.daemon.start()
        self.good("user@dest.test")
        self.receiver.wait(1)
        self.daemon.kill()  # the socket file stays, nobody listens
        self.good("user@dest.test")
        self.assertEqual(len(os.listdir(self.drop)), 1)
        self.daemon.start()
        self.receiver.wait(2)

    def test_nobody_may_drop_and_not_look(self):
        if os.getuid() != 0:
            self.skipTest("only root can become nobody")
        needs_open_tree(self)
        self.daemon.start()
        self.daemon.kill()
        os.chmod(self.home, 0o755)
        os.chmod(self.drop, 0o1733)
        self.good("user@dest.test", user=65534, group=65534, extra_groups=[], umask=0o077)
        name, = os.listdir(self.drop)
        info = os.stat(os.path.join(self.drop, name))
        self.assertEqual((info.st_uid, info.st_mode & 0o777), (65534, 0o644))
        self.daemon.start()
        self.receiver.wait(1)

    def test_without_a_folder(self):
        self.bad(75, "No such file.*try again later", "user@dest.test")

    def test_a_link_is_not_followed(self):
        os.mkdir(self.drop + ".real")
        os.symlink(self.drop + ".real", self.drop)
        self.bad(75, "drop folder", "user@dest.test")
        self.assertEqual(os.listdir(self.drop + ".real"), [])

    def test_full_disk_leaves_nothing(self):
        os.mkdir(self.drop)
        self.bad(75, "drop folder", "-i", "user@dest.test", input=TEXT + b"x\n" * 100000,
                 preexec_fn=limit_file_size)
        self.assertEqual(os.listdir(self.drop), [])

    def test_too_much_for_the_folder(self):
        os.mkdir(self.drop)
        many = [f"u{i}@dest.test" for i in range(1001)]
        self.bad(75, "over 1000 recipients", *many)
        self.assertEqual(os.listdir(self.drop), [])

    def test_a_limit_on_files_is_no_death(self):
        os.mkdir(self.drop)
        self.bad(75, "File too large", "-i", "user@dest.test", input=TEXT + b"x\n" * 3000000,
                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))
        self.assertEqual(os.listdir(self.drop), [])

    def daemon_says(self, **stages):
        """One that plays relayd at the submission socket."""
        path = os.path.join(self.folder(), "submit.sock")
        self.env["RELAY_SENDMAIL_SOCKET"] = path
        return self.another_receiver(path, Behaviour(**stages))

    def test_an_end_in_the_middle_of_a_submission(self):
        """Before the final dot nothing can have been taken, nor with 421 behind it."""
        os.mkdir(self.drop)
        away = "421 4.3.2 shutting down"
        big = TEXT + b"x" * 70 + (b"\n" + b"x" * 70) * 50000
        for stages, text in (({"mail": away}, TEXT), ({"rcpt": away}, TEXT), ({"data": away}, TEXT),
                             ({"end": away}, TEXT), ({"mail": DROP}, TEXT), ({"rcpt": DROP}, TEXT),
                             ({"data": DROP}, TEXT), ({"rcpt": b"what\r\n"}, TEXT),
                             ({"data": lambda *_: iter((b"354 go on\r\n", RESET))}, big),
                             ({"data": lambda *_: iter((b"354 go on\r\n421 4.3.2 bye\r\n", RESET))}, big)):
            with self.subTest(stages):
                daemon = self.daemon_says(**stages)
                self.good("-i", "user@dest.test", "other@dest.test", input=text)
                name, = os.listdir(self.drop)
                os.unlink(os.path.join(self.drop, name))
                self.assertEqual(daemon.messages, [])

    def test_a_word_of_the_daemon_counts(self):
        """What it may have taken, or has refused, does not go into the folder."""
        os.mkdir(self.drop)
        for stages, status in (({"end": DROP}, 75), ({"mail": "451 4.3.0 later"}, 75),
                               ({"rcpt": "450 4.2.0 later"}, 75), ({"end": "452 4.3.1 full"}, 75),
                               ({"rcpt": lambda n, to: "550 5.1.1 nobody" if "other" in to else
                                 "421 4.3.2 shutting down"}, 67)):
            with self.subTest(stages):
                self.daemon_says(**stages)
                self.bad(status, ".", "other@dest.test", "user@dest.test")
                self.assertEqual(os.listdir(self.drop), [])

    def test_queue_while_the_daemon_is_down(self):
        """A status of sysexits.h, not relayctl's."""
        self.conf(control=os.path.join(self.home, "no.sock"))
        for option in ("-bp", "-q"):
            done = subprocess.run([PROGRAM, option], capture_output=True, timeout=60,
                                  env=dict(os.environ, **self.env))
            self.assertEqual(done.returncode, 69, done.stderr)

    def test_dialogue_while_the_daemon_is_down(self):
        done = self.bad(75, "no connection", "-bs", input=b"EHLO x\r\n")
        self.assertTrue(done.stdout.startswith(b"421 4.3.2 "))


def limit_file_size():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))


class ToRelay(Sendmail):
    """~/.relay-sendmail.conf names a relay elsewhere; the receiver plays it."""

    def setUp(self):
        super().setUp()
        del self.env["RELAY_SENDMAIL_DROP"]
        self.pem, _, self.context = self.certificate("relay.test")
        self.pem_ip, _, self.context_ip = self.certificate_for_address()

    def certificate_for_address(self):
        """Like certificate(), for 127.0.0.1."""
        folder = self.folder()
        pem, key = f"{folder}/cert.pem", f"{folder}/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", pem,
                        "-days", "1", "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"],
                       check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        return pem, key, context

    def settings(self, **more):
        return {"host": "127.0.0.1", "port": self.receiver.port, "ca_file": self.pem_ip, **more}

    def test_starttls_and_auth(self):
        self.receiver.behaviour = Behaviour(tls=self.context_ip,
                                            extensions=["8BITMIME", "AUTH PLAIN LOGIN"])
        self.conf(**self.settings(user="web", password="secret"))
        self.good("user@dest.test")
        message, = self.receiver.wait(1)
        self.assertTrue(message.tls)
        commands = self.receiver.commands
        self.assertLess(commands.index("STARTTLS"), [c[:4] for c in commands].index("AUTH"))

    def test_the_static_one(self):
        """It runs where there is nothing: no library, no password file, no /dev."""
        built = os.path.join(release_dir(), "relay-sendmail.static")
        if not os.path.exists(built) or os.geteuid() != 0:
            self.skipTest("needs what `make static` builds, and root for a root folder of its own")
        self.receiver.behaviour = Behaviour(tls=self.context_ip, extensions=["8BITMIME", "AUTH PLAIN"])
        for path in (built, self.pem_ip):
            shutil.copy(path, self.home)
        self.conf(**self.settings(user="web", password="secret",
                                  ca_file="/" + os.path.basename(self.pem_ip)))
        self.env["HOME"] = "/"
        self.good(self.home, "/relay-sendmail.static", "-f", "a@example.jp", "user@dest.test",
                  program="/usr/sbin/chroot")
        message, = self.receiver.wait(1)
        self.assertTrue(message.tls)
        self.assertEqual((message.sender, message.login), ("a@example.jp", ("PLAIN", "web", "secret")))
        self.receiver.close()
        self.bad(75, "try again later|no connection", self.home, "/relay-sendmail.static",
                 "user@dest.test", program="/usr/sbin/chroot")

    def test_implicit_tls_and_login(self):
        self.receiver.behaviour = Behaviour(tls=self.context_ip, tls_now=True,
                                            extensions=["AUTH LOGIN"])
        path = os.path.join(self.home, "password")
        with open(path, "w") as f:
            f.write("secret\n")
        os.chmod(path, 0o600)
        self.conf(**self.settings(tls="implicit", user="web", password_file=path))
        self.good("user@dest.test")
        self.assertTrue(self.receiver.wait(1)[0].tls)

    def test_password_that_others_can_read(self):
        self.conf(mode=0o644, **self.settings(user="web", password="secret"))
        self.bad(78, "chmod 600", "user@dest.test")
        path = os.path.join(self.home, "password")
        with open(path, "w") as f:
            f.write("secret\n")
        os.chmod(path, 0o640)
        self.conf(**self.settings(user="web", password_file=path))
        self.bad(78, "chmod 600", "user@dest.test")
        self.assertEqual(self.receiver.connections, 0)

    def test_wrong_password(self):
        self.receiver.behaviour = Behaviour(tls=self.context_ip, extensions=["AUTH PLAIN"],
                                            auth="535 5.7.8 no")
        self.conf(**self.settings(user="web", password="secret"))
        done = self.bad(77, r"login: 535 5\.7\.8", "user@dest.test")
        self.assertNotIn(b"secret", done.stderr)

    def test_untrusted_certificate(self):
        self.receiver.behaviour = Behaviour(tls=self.context, extensions=["AUTH PLAIN"])
        self.conf(**self.settings(user="web", password="secret"))
        self.bad(75, "TLS.*certificate", "user@dest.test")
        self.conf(**self.settings(ca_file=self.pem, user="web", password="secret"))
        self.bad(75, "TLS.*IP address mismatch", "user@dest.test")
        self.assertFalse([c for c in self.receiver.commands if c.startswith("AUTH")])

    def test_an_authority_of_the_system_is_none_where_another_is_named(self):
        self.receiver.behaviour = Behaviour(tls=self.context_ip, extensions=["AUTH PLAIN"])
        self.env["SSL_CERT_FILE"] = self.pem_ip
        self.conf(**self.settings(ca_file=self.pem, user="web", password="secret"))
        self.bad(75, "TLS.*certificate", "user@dest.test")
        self.conf(host="127.0.0.1", port=self.receiver.port, user="web", password="secret")
        self.good("user@dest.test")
        self.receiver.wait(1)

    def test_an_authority_that_is_no_root(self):
        """The relay's own certificate, which somebody has signed who is not named."""
        folder = self.folder()
        root, root_key, _ = self.certificate("ca.test")
        pem, key = f"{folder}/cert.pem", f"{folder}/key.pem"
        request = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                   "-nodes", "-keyout", key, "-subj", "/CN=x"]
        signing = ["openssl", "x509", "-req", "-CA", root, "-CAkey", root_key, "-days", "1",
                   "-extfile", "/dev/stdin", "-in", f"{folder}/request", "-out", pem]
        subprocess.run([*request, "-out", f"{folder}/request"], check=True, capture_output=True)
        subprocess.run(signing, check=True, capture_output=True, input=b"subjectAltName=IP:127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        self.receiver.behaviour = Behaviour(tls=context)
        for ca_file in (pem, root):
            self.conf(**self.settings(ca_file=ca_file))
            self.good("user@dest.test")
        self.receiver.wait(2)

    def test_no_starttls_offered(self):
        self.receiver.behaviour = Behaviour(extensions=["AUTH PLAIN"])
        self.conf(**self.settings(user="web", password="secret"))
        self.bad(75, "does not offer STARTTLS", "user@dest.test")
        self.assertFalse([c for c in self.receiver.commands if c.startswith(("AUTH", "MAIL"))])

    def test_words_behind_starttls(self):
        self.receiver.behaviour = Behaviour(
            tls=self.context_ip, starttls=b"220 2.0.0 go\r\n250-relay\r\n250 AUTH PLAIN\r\n")
        self.conf(**self.settings())
        self.bad(75, "STARTTLS", "user@dest.test")

    def test_nobody_there(self):
        self.conf(host="127.0.0.1", port=free_port(), tls="none")
        self.bad(75, "Connection refused", "user@dest.test")
        self.assertFalse(os.path.exists(self.drop))

    def test_no_answer(self):
        for stages in ({"banner": HANG}, {"ehlo": HANG}, {"rcpt": HANG}, {"end": HANG},
                       {"banner": DROP}, {"mail": DROP}, {"data": DROP}, {"end": DROP},
                       {"banner": "421 4.3.2 busy"}, {"mail": "451 4.3.0 later"},
                       {"rcpt": "450 4.2.0 later"}, {"end": "452 4.3.1 full"},
                       {"banner": b"hello\r\n"}, {"mail": b"25\r\n"}, {"ehlo": b"250-" + b"x" * 9000}):
            with self.subTest(stages):
                self.receiver.behaviour = Behaviour(**stages)
                self.conf(host="127.0.0.1", port=self.receiver.port, tls="none", timeout=1)
                self.bad(75, ".", "user@dest.test")
        self.assertEqual(self.receiver.messages, [])

    def test_statuses(self):
        for stages, status in (({"rcpt": "550 5.1.1 nobody"}, 67), ({"rcpt": "550 nobody"}, 67),
                               ({"mail": "550 5.7.1 no"}, 77), ({"end": "554 5.6.0 what"}, 65),
                               ({"end": "554 5.3.0 no"}, 69), ({"banner": "554 go away"}, 69),
                               ({"data": "554 5.7.1 no"}, 77), ({"end": "550 no"}, 69)):
            with self.subTest(stages):
                self.receiver.behaviour = Behaviour(**stages)
                self.conf(host="127.0.0.1", port=self.receiver.port, tls="none")
                self.bad(status, r"5\d\d", "user@dest.test")

    def test_replies_are_not_printed_raw(self):
        self.receiver.behaviour = Behaviour(rcpt=b"550 5.1.1 \x1b]0;x\x07\xff no\r\n")
        self.conf(host="127.0.0.1", port=self.receiver.port, tls="none")
        done = self.bad(67, "no", "user@dest.test")
        self.assertNotRegex(done.stderr, rb"[\x00-\x09\x0b-\x1f\x7f-\xff]")

    def test_many_recipients(self):
        self.conf(host="127.0.0.1", port=self.receiver.port, tls="none")
        many = [f"u{i}@dest.test" for i in range(700)]
        self.good(*many)
        self.assertEqual(self.receiver.wait(1)[0].recipients, many)

    def test_no_recipients_for_now(self):
        """A relay that takes none at all may do so later."""
        self.receiver.behaviour = Behaviour(rcpt="452 4.5.3 too many recipients in this hour")
        self.conf(host="127.0.0.1", port=self.receiver.port, tls="none")
        self.bad(75, "452 4.5.3", "user@dest.test", "b@dest.test")

    def test_default_domain(self):
        self.conf(host="127.0.0.1", port=self.receiver.port, tls="none", from_domain="example.jp")
        self.good("root", "user@dest.test")
        message, = self.receiver.wait(1)
        self.assertTrue(message.sender.endswith("@example.jp"))
        self.assertEqual(message.recipients, ["root@example.jp", "user@dest.test"])

    def test_dialogue_over_tls(self):
        self.receiver.behaviour = Behaviour(tls=self.context_ip, extensions=["AUTH PLAIN"])
        self.conf(**self.settings(user="web", password="secret"))
        done = self.call("-bs", input=b"EHLO me\r\nMAIL FROM:<a@example.jp>\r\nRCPT TO:<user@dest.test>\r\n"
                         b"DATA\r\nSubject: x\r\n\r\nBy hand.\r\n.\r\nQUIT\r\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith(b"220 "))
        self.assertTrue(self.receiver.wait(1)[0].tls)

    def test_a_reset_behind_the_goodbye_is_no_failure(self):
        goodbye = lambda number, argument: iter((b"221 2.0.0 bye\r\n", RESET))
        self.receiver.behaviour = Behaviour(tls=self.context_ip, quit=goodbye)
        self.conf(**self.settings())
        done = self.call("-bs", input=b"EHLO me\r\nQUIT\r\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.endswith(b"221 2.0.0 bye\r\n"), done.stdout)

    def test_an_end_before_the_goodbye_is_a_failure(self):
        self.conf(**self.settings())
        for answer in (RESET, DROP):
            self.receiver.behaviour = Behaviour(tls=self.context_ip, mail=answer)
            done = self.call("-bs", input=b"EHLO me\r\nMAIL FROM:<a@example.jp>\r\nQUIT\r\n")
            self.assertEqual(done.returncode, 75, done.stderr)

    def test_the_home_of_somebody_else(self):
        if os.getuid() != 0:
            self.skipTest("only root can give files away")
        self.conf(host="127.0.0.1", port=self.receiver.port, tls="none")
        os.chown(os.path.join(self.home, ".relay-sendmail.conf"), 65534, 65534)
        self.env["RELAY_SENDMAIL_DROP"] = self.home
        self.env["RELAY_SENDMAIL_SOCKET"] = self.home + "/none.sock"
        self.good("user@dest.test")
        self.assertEqual(self.receiver.connections, 0)

    def test_mistakes_in_the_configuration(self):
        self.conf(host="127.0.0.1", prot=25)
        self.bad(78, r"\.relay-sendmail\.conf:2: prot: there is no such key", "user@dest.test")


if __name__ == "__main__":
    unittest.main()
