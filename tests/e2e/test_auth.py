"""Logins: the real clients log in and deliver, wrong ones don't; what a failure tells,
how guesses are slowed, and the users' file under a daemon that runs."""
import base64
import hashlib
import hmac
import os
import pty
import select
import shutil
import smtplib
import socket
import ssl
import subprocess
import termios
import unittest

import test_postfix
from harness import RawClient, build_dir, free_port, wait_until
from harness.case import TEXT, Case
from harness.relay import setting

USER = "shop@example.jp"
PASSWORD = "right battery staple"
REFUSED = b"535 5.7.8 Authentication credentials invalid\r\n"


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode())


def plain(user, password):
    return b64(f"\0{user}\0{password}")


class Scram:
    """A client's SCRAM-SHA-256 after RFC 5802, from hashlib alone."""

    def __init__(self, user, password):
        self.password = password.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = "n={},r={}".format(user.replace("=", "=3D").replace(",", "=2C"), self.nonce)

    def first(self):
        return b64("n,," + self.bare)

    def final(self, challenge):
        server = base64.b64decode(challenge).decode()
        parts = dict(p.split("=", 1) for p in server.split(","))
        assert parts["r"].startswith(self.nonce)
        self.salt, self.iterations = parts["s"], int(parts["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(self.salt), self.iterations)
        without = "c=biws,r=" + parts["r"]
        signed = f"{self.bare},{server},{without}".encode()

        def mac(key, text):
            return hmac.new(key, text, "sha256").digest()
        key = mac(salted, b"Client Key")
        proof = bytes(a ^ b for a, b in zip(key, mac(hashlib.sha256(key).digest(), signed)))
        self.wanted = b64("v=" + b64(mac(mac(salted, b"Server Key"), signed)).decode())
        return b64(f"{without},p={b64(proof).decode()}")


class Auth(Case):
    """A daemon that trusts nobody: TLS on one port, logins in the clear on another."""

    auth = {"delay": "0s", "failures": 100, "ban": "6s", "cache": "0s"}

    def setUp(self):
        super().setUp()
        self.daemon = self.relay()
        self.certificate_file, key, _ = self.certificate("localhost")
        self.clear = free_port()
        self.users = os.path.join(self.daemon.folder, "users")
        self.daemon.change(
            trusted_networks=[], users=self.users, auth=self.auth,
            tls={"certificate": self.certificate_file, "key": key},
            listen=({"address": "127.0.0.1", "port": self.daemon.port, "tls": "starttls", "auth": True},
                    {"address": "127.0.0.1", "port": self.clear, "auth": True}))
        self.settings()
        self.daemon.write_conf()
        self.user("add", USER, password=PASSWORD)
        self.daemon.start()

    def settings(self):
        """For more of the daemon's configuration."""

    def user(self, verb, *arguments, password=None, status=0):
        done = self.daemon.run_ctl("-f", self.daemon.conf, "user", verb, *arguments,
                                   input=None if password is None else password + "\n")
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr if status else done.stdout

    def raw(self, source="127.0.0.1"):
        """In the clear, from an address of the loopback."""
        client = RawClient.__new__(RawClient)
        client.sock = socket.create_connection(("127.0.0.1", self.clear), 30, (source, 0))
        client.file = client.sock.makefile("rb")
        self.addCleanup(client.close)
        client.expect(220)
        client.ask(b"EHLO client.example.jp", 250)
        return client

    def line(self, client, text):
        """The reply's own bytes."""
        client.send(text + b"\r\n")
        return client.file.readline()

    def secure(self):
        client = self.daemon.smtp()
        client.starttls(context=self.context())
        client.ehlo()
        return client

    def context(self):
        context = ssl.create_default_context(cafile=self.certificate_file)
        context.check_hostname = False
        return context

    def came(self, protocol="ESMTPSA"):
        message = self.receiver.wait(1)[-1]
        self.assertRegex(message.header, rf"\swith {protocol} id ")
        return message


class Clients(Auth):
    def test_smtplib(self):
        for mechanism in ("PLAIN", "LOGIN"):
            with self.secure() as client:
                self.assertEqual(client.esmtp_features["auth"].split(), ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
                client.user, client.password = USER, PASSWORD
                code, _ = client.auth(mechanism, getattr(client, "auth_" + mechanism.lower()))
                self.assertEqual(code, 235)
                client.sendmail("a@example.jp", ["user@dest.test"], TEXT)
            self.came()
            self.receiver.messages.clear()
        with self.secure() as client:
            with self.assertRaises(smtplib.SMTPAuthenticationError) as failed:
                client.login(USER, "wrong")
            self.assertEqual(failed.exception.smtp_code, 535)
            self.assertEqual(client.mail("a@example.jp")[0], 530)

    def test_scram(self):
        for initial in (True, False):
            client, scram = self.raw(), Scram(USER, PASSWORD)
            if initial:
                line = self.line(client, b"AUTH SCRAM-SHA-256 " + scram.first())
            else:
                self.assertEqual(self.line(client, b"AUTH SCRAM-SHA-256"), b"334 \r\n")
                line = self.line(client, scram.first())
            line = self.line(client, scram.final(line[4:]))
            self.assertEqual(line, b"334 " + scram.wanted + b"\r\n")
            self.assertEqual(self.line(client, b""), b"235 2.7.0 Authentication successful\r\n")
            client.ask(b"MAIL FROM:<a@example.jp>", 250)
        client, scram = self.raw(), Scram(USER, "wrong")
        line = self.line(client, b"AUTH SCRAM-SHA-256 " + scram.first())
        self.assertEqual(self.line(client, scram.final(line[4:])), REFUSED)
        client.ask(b"MAIL FROM:<a@example.jp>", 530)

    def test_scram_given_up_at_the_end(self):
        """Who does not like what the server proves is not logged in."""
        client, scram = self.raw(), Scram(USER, PASSWORD)
        line = self.line(client, b"AUTH SCRAM-SHA-256 " + scram.first())
        self.assertEqual(self.line(client, scram.final(line[4:]))[:4], b"334 ")
        self.assertEqual(self.line(client, b"*")[:3], b"501")
        client.ask(b"MAIL FROM:<a@example.jp>", 530)

    def openssl(self, *lines):
        """What is said to LINES by `openssl s_client`, one after the other."""
        process = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-crlf", "-starttls", "smtp", "-verify_return_error",
             "-CAfile", self.certificate_file, "-connect", f"127.0.0.1:{self.daemon.port}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        said = []  # its own EHLO is not shown
        try:
            for line in lines:
                process.stdin.write(line + b"\n")
                process.stdin.flush()
                said.append(process.stdout.readline())
                while said[-1][3:4] == b"-":
                    said[-1] = process.stdout.readline()
        finally:
            process.stdin.close()
            process.wait(30)
            process.stdout.close()
        return [line[:3] for line in said]

    def test_openssl(self):
        dialogue = [b"EHLO client", b"AUTH PLAIN " + plain(USER, PASSWORD), b"MAIL FROM:<a@example.jp>",
                    b"rcpt TO:<user@dest.test>", b"DATA", TEXT.replace(b"\r\n", b"\n") + b".", b"quit"]
        self.assertEqual(self.openssl(*dialogue), [b"250", b"235", b"250", b"250", b"354", b"250", b"221"])
        self.came()
        said = self.openssl(b"EHLO client", b"AUTH PLAIN " + plain(USER, "wrong"),
                            b"MAIL FROM:<a@example.jp>", b"quit")
        self.assertEqual(said, [b"250", b"535", b"530", b"221"])

    def test_swaks(self):
        for mechanism in ("PLAIN", "LOGIN"):
            self.assertEqual(self.swaks(mechanism, PASSWORD), 0)
            self.came()
            self.receiver.messages.clear()
            self.assertEqual(self.swaks(mechanism, "wrong"), 28)
        self.assertEqual(self.receiver.messages, [])

    def swaks(self, mechanism, password):
        return subprocess.run(
            ["swaks", "--server", "127.0.0.1", "--port", str(self.daemon.port), "--tls", "--auth", mechanism,
             "--auth-user", USER, "--auth-password", password, "--from", "a@example.jp",
             "--to", "user@dest.test"], capture_output=True, timeout=60).returncode

    @unittest.skipUnless(shutil.which("php"), "php is not installed")
    def test_php(self):
        code = 'var_dump(mail("user@dest.test", "hello", "Text.", "From: web@example.jp"));'
        self.assertEqual(self.php(code, PASSWORD), ("bool(true)\n", ""))
        self.assertEqual(self.came().recipients, ["user@dest.test"])
        out, err = self.php(code, "wrong battery")
        self.assertEqual(out, "bool(false)\n")
        self.assertIn("535 5.7.8", err)

    def php(self, code, password):
        home = self.folder()
        with open(os.open(f"{home}/password", os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(password + "\n")
        with open(os.open(f"{home}/.relay-sendmail.conf", os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            for key, value in {"host": "localhost", "port": self.daemon.port, "tls": "starttls",
                               "ca_file": self.certificate_file, "user": USER,
                               "password_file": f"{home}/password"}.items():
                f.write(f"{key} = {setting(value)};\n")
        sendmail = os.path.join(build_dir(), "relay-sendmail") + " -t -i"
        done = subprocess.run(["php", "-n", "-d", f"sendmail_path={sendmail}", "-r", code],
                              capture_output=True, text=True, timeout=60, env=dict(os.environ, HOME=home))
        return done.stdout, done.stderr

    def test_what_is_known_of_a_message(self):
        self.receiver.behaviour.stages["rcpt"] = "450 4.2.0 later"
        with self.secure() as client:
            client.login(USER, PASSWORD)
            client.sendmail("a@example.jp", ["user@dest.test"], TEXT)
        row = self.waiting(self.daemon)
        facts = {f["what"]: f["value"] for f in self.daemon.ctl("queue", "show", row["id"])}
        self.assertEqual(facts["user"], USER)
        self.assertTrue(self.daemon.log(f"accept .*user={USER}"))
        self.assertTrue(self.daemon.log(f"auth result=ok client=127.0.0.1 user={USER} mechanism=PLAIN"))
        status = {f["what"]: f["value"] for f in self.daemon.ctl("status")}
        self.assertEqual((status["users"], status["logins"], status["logins_failed"]), (1, 1, 0))

    def test_the_log_keeps_secrets(self):
        client = self.raw()
        self.line(client, b"AUTH PLAIN " + plain("us er\x1b[2J", "secret-word"))
        self.line(client, b"AUTH LOGIN " + b64(USER))
        self.line(client, b64("secret-word"))
        self.line(client, b"AUTH PLAIN " + plain(USER, PASSWORD))
        self.daemon.wait_log("auth result=ok")
        self.assertTrue(self.daemon.log(r'user="us er\\x1b\[2J"'), self.daemon.log("auth "))
        for secret in ("secret-word", PASSWORD, b64("secret-word").decode(), plain(USER, PASSWORD).decode()):
            self.assertEqual([l for l in self.daemon.log("") if secret in l], [])


@unittest.skipUnless(shutil.which("postfix") and os.getuid() == 0, "needs Postfix, and root to start it")
class PostfixLogsIn(test_postfix.Postfix):
    """The real Postfix as a client with SASL over TLS."""

    tls = "encrypt"
    mechanism = "scram-sha-256"
    password = PASSWORD
    for inherited in dir(test_postfix.Postfix):
        if inherited.startswith("test_"):
            locals()[inherited] = None
    del inherited

    def settings(self):
        certificate, key, _ = self.certificate("relay.example.jp")
        folder = self.folder()
        self.daemon.change(tls={"certificate": certificate, "key": key}, users=f"{folder}/users",
                           trusted_networks=[], auth={"delay": "0s"},
                           listen=({"address": "127.0.0.1", "port": self.daemon.port, "tls": "starttls",
                                    "auth": True},))
        self.daemon.write_conf()
        done = self.daemon.run_ctl("-f", self.daemon.conf, "user", "add", USER, input=PASSWORD + "\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(f"{folder}/passwords", "w") as f:
            f.write(f"[127.0.0.1]:{self.daemon.port} {USER}:{self.password}\n")
        self.more = ("smtp_sasl_auth_enable = yes\nsmtp_sasl_security_options = noanonymous\n"
                     f"smtp_sasl_password_maps = texthash:{folder}/passwords\n"
                     f"smtp_sasl_mechanism_filter = {self.mechanism}\n")

    def test_a_login(self):
        self.submit("user@dest.test")
        message, = self.arrived(1)
        self.assertRegex(message.header, r"\swith ESMTPSA id ")
        self.empty()
        self.assertTrue(self.daemon.log(f"auth result=ok .*mechanism={self.mechanism.upper()}"))


class PostfixLogsInPlain(PostfixLogsIn):
    mechanism = "plain"


class PostfixIsRefused(PostfixLogsIn):
    password = "wrong battery"

    def test_a_login(self):
        self.submit("user@dest.test")
        wait_until(lambda: "SASL authentication failed" in self.log() and "535 5.7.8" in self.log(),
                   what="the refusal in Postfix's log")
        self.assertEqual(self.receiver.messages, [])


class Oracle(Auth):
    """Nothing tells a wrong password from a user who is not there."""

    def replies(self, user):
        client = self.raw()
        scram = Scram(user, "wrong")
        found = [self.line(client, b"AUTH PLAIN " + plain(user, "wrong")),
                 self.line(client, b"AUTH LOGIN " + b64(user)), self.line(client, b64("wrong"))]
        line = self.line(client, b"AUTH SCRAM-SHA-256 " + scram.first())
        found.append(self.line(client, scram.final(line[4:])))
        return found, len(line), len(scram.salt), scram.iterations, scram.salt

    def test_same_bytes(self):
        known, unknown = self.replies(USER), self.replies("nobody@example.jp")
        self.assertEqual(known[0], [REFUSED, b"334 UGFzc3dvcmQ6\r\n", REFUSED, REFUSED])
        self.assertEqual(known[:4], unknown[:4])

    def test_salts_stay(self):
        """A salt that changes would be that of nobody, after a restart too."""
        before = [self.replies(user)[4] for user in (USER, "nobody@example.jp", "other@example.jp")]
        self.assertEqual(len(set(before)), 3)
        self.daemon.stop()
        self.daemon.start()
        self.assertEqual([self.replies(user)[4] for user in (USER, "nobody@example.jp", "other@example.jp")],
                         before)


class Guessing(Auth):
    auth = {"delay": "10ms", "failures": 3, "ban": "1h"}

    def guess(self, source, user=USER, password="wrong"):
        return self.line(self.raw(source), b"AUTH PLAIN " + plain(user, password))[:3]

    def test_one_address(self):
        for user in ("a", "b", "c"):
            self.assertEqual(self.guess("127.0.0.2", user), b"535")
        self.assertEqual(self.guess("127.0.0.2", "d"), b"454")
        self.assertEqual(self.guess("127.0.0.2", USER, PASSWORD), b"454")
        self.assertEqual(self.guess("127.0.0.3", USER, PASSWORD), b"235")
        status = {f["what"]: f["value"] for f in self.daemon.ctl("status")}
        self.assertEqual((status["logins_failed"], status["logins_put_off"]), (3, 2))
        self.assertEqual(status["logins_banned"], 1)

    def test_one_user_from_many_addresses(self):
        self.assertEqual(self.guess("127.0.0.9", USER, PASSWORD), b"235")
        for i in range(3):
            self.assertEqual(self.guess(f"127.0.1.{i}"), b"535")
        for i in range(20):
            self.assertEqual(self.guess(f"127.0.2.{i}"), b"454")
        # one who does not exist is counted too
        for i in range(3):
            self.assertEqual(self.guess(f"127.0.3.{i}", "nobody"), b"535")
        self.assertEqual(self.guess("127.0.3.3", "nobody"), b"454")
        # who has been here before is not locked out by others; a neighbour may not guess on
        self.assertEqual(self.guess("127.0.0.9", USER, PASSWORD), b"235")
        self.assertEqual(self.guess("127.0.4.1", USER, PASSWORD), b"454")

    def test_many_at_once(self):
        """Tries that are under way count before they have failed."""
        clients = [self.raw("127.0.0.5") for _ in range(20)]
        for i, client in enumerate(clients):
            client.send(b"AUTH PLAIN " + plain(f"u{i}", "wrong") + b"\r\n")
        found = [client.file.readline()[:3] for client in clients]
        self.assertEqual((found.count(b"535"), found.count(b"454")), (3, 17))

    def test_a_crowd_that_is_right(self):
        """None of those is put off, though they come at once from a new address."""
        clients = [self.raw("127.0.0.6") for _ in range(20)]
        for client in clients:
            client.send(b"AUTH PLAIN " + plain(USER, PASSWORD) + b"\r\n")
        self.assertEqual({client.file.readline()[:3] for client in clients}, {b"235"})

    def test_gone_meanwhile(self):
        """A client that does not wait for its reply is counted, and hurts nobody."""
        for i in range(3):
            client = self.raw("127.0.0.7")
            client.send(b"AUTH PLAIN " + plain(USER, "wrong") + b"\r\n")
            client.close()
        self.daemon.wait_log("auth result=failed", 3)
        self.assertEqual(self.guess("127.0.0.7", "other"), b"454")


class Users(Auth):
    """The file changes under a daemon that runs."""

    def login(self, user, password):
        return self.line(self.raw(), b"AUTH PLAIN " + plain(user, password))[:3]

    def test_in_force_at_once(self):
        stays = self.raw()
        made = self.user("add", "new", "--generate").strip()
        self.assertRegex(made, r"^[a-z2-9]{20}$")
        self.assertEqual(self.login("new", made), b"235")
        self.user("passwd", "new", password="another password")
        self.assertEqual(self.login("new", made), b"535")
        self.assertEqual(self.login("new", "another password"), b"235")
        self.assertEqual([u["user"] for u in self.daemon.ctl("-f", self.daemon.conf, "user", "list")],
                         [USER, "new"])
        row, = self.daemon.ctl("-f", self.daemon.conf, "user", "passwd", "--generate", "new")
        self.assertEqual(row["user"], "new")
        self.assertEqual(self.login("new", row["password"]), b"235")
        self.user("remove", "new")
        self.assertEqual(self.login("new", row["password"]), b"535")
        stays.ask(b"NOOP", 250)
        self.assertEqual(os.stat(self.users).st_mode & 0o7777, 0o600)
        self.assertEqual(os.listdir(os.path.dirname(self.users)).count("users.new"), 0)

    def test_what_is_refused(self):
        for words, password, text in (
                (("add", USER), PASSWORD, "there already"), (("passwd", "nobody"), PASSWORD, "no such user"),
                (("remove", "nobody"), None, "no such user"), (("add", "a:b"), PASSWORD, "a colon"),
                (("add", "a b"), PASSWORD, "a space"), (("add", "#a"), PASSWORD, "comment"),
                (("add", "x" * 129), PASSWORD, "129 bytes"), (("add", "new"), "short", "5 bytes"),
                (("add", "new"), "x" * 600, "511 bytes"), (("add", "new"), "x\x07" * 9, "control")):
            self.assertIn(text, self.user(*words, password=password, status=1), words)
        self.user("add", status=2)
        self.user("list", "x", status=2)
        for words in (("remove", "x", "--generate"), ("add", "--generate"), ("add", "--generate", "--generate"),
                      ("add", "x", "y"), ("add", "x", "--generated")):
            self.user(*words, status=2)

    def test_other_lines_stay(self):
        with open(self.users) as f:
            old = f.read()
        with open(self.users, "a") as f:
            f.write("# a comment\n\n")
        self.user("add", "new", password=PASSWORD)
        self.user("remove", "new")
        with open(self.users) as f:
            self.assertEqual(f.read(), old + "# a comment\n\n")

    def test_broken_lines(self):
        with open(self.users, "a") as f:
            f.write("bob:$1$abc$def\n\neve\n")
        self.assertEqual(self.login(USER, PASSWORD), b"235")
        self.daemon.wait_log(r"error users: .*/users:4: expected a yescrypt")
        self.daemon.wait_log(r"error users: .*/users:6: expected a yescrypt")
        self.assertIn("users:4: ", self.user("add", "new", password=PASSWORD, status=1))
        done = subprocess.run([self.daemon.program("relayd"), "-t", "-f", self.daemon.conf],
                              capture_output=True, text=True, env=self.daemon.env)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr + done.stdout, "users:4: .*\n.*users:6: ")

    def test_broken_lines_are_mended_one_by_one(self):
        """As relayd -t advises: by passwd or remove, while there are others."""
        with open(self.users) as f:
            old = f.read()
        with open(self.users, "a") as f:
            f.write("# bob\nbob:$1$abc$def\n\neve\n" + old.splitlines()[-1] + "\nb b:x\n")
        told = self.user("add", "new", password=PASSWORD, status=1)
        for line, advice in ((5, "passwd bob"), (7, "passwd eve"), (8, f"passwd {USER}"), (9, "a space")):
            self.assertRegex(told, f"users:{line}: .*{advice}")
        done = self.daemon.run_ctl("-f", self.daemon.conf, "user", "passwd", "bob", input="password of bob\n")
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("users:5: ", done.stderr)
        self.assertRegex(done.stderr, "users:7: .*\n.*users:8: .*\n.*users:9: .*\n.*not in force until")
        self.assertEqual(self.login("bob", "password of bob"), b"535")
        self.user("remove", "eve")
        self.user("passwd", USER, password="another password")  # the second line goes
        self.user("remove", "b b")
        self.assertEqual(self.login(USER, "another password"), b"235")
        self.assertEqual(self.login("bob", "password of bob"), b"235")
        self.assertEqual(self.login("eve", "password of eve"), b"535")
        # nobody's lines are not touched, whatever name is given
        for name in ("# bob", ":secret", ""):
            self.assertIn("no such user", self.user("remove", name, status=1))
        self.user("add", "new", password=PASSWORD)
        with open(self.users) as f:
            self.assertEqual([line.split(":")[0] for line in f.read().splitlines()],
                             [line.split(":")[0] for line in old.splitlines()] + ["# bob", "bob", "", "new"])

    def test_rights_of_nobody_are_warned_of(self):
        """An entry of clients whose login the file does not have, by a slip or not yet."""
        self.daemon.change(clients=({"name": "shop", "login": USER}, {"name": "blog", "login": "blog@example.jp"}))
        self.daemon.write_conf()
        said = '"blog" is for the login "blog@example.jp", which .*/users does not have; do: relayctl user add'
        done = subprocess.run([self.daemon.program("relayd"), "-t", "-f", self.daemon.conf],
                              capture_output=True, text=True, env=self.daemon.env)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, said)
        self.assertNotIn("shop", done.stderr)
        self.daemon.ctl("reload")
        self.daemon.wait_log("warn clients: " + said)

    def test_open_to_others(self):
        os.chmod(self.users, 0o640)
        self.assertEqual(self.login(USER, PASSWORD), b"235")  # as it was read before
        self.daemon.wait_log(r"error users: .*mode 0640.*chmod 0600")
        self.assertIn("chmod 0600", self.user("list", status=1))

    def test_no_file(self):
        os.unlink(self.users)
        self.assertEqual(self.login(USER, PASSWORD), b"535")
        self.user("add", USER, password=PASSWORD)
        self.assertEqual(self.login(USER, PASSWORD), b"235")

    def test_two_writers(self):
        command = [self.daemon.program("relayctl"), "-f", self.daemon.conf, "user", "add"]
        writers = [subprocess.Popen([*command, f"u{i}", "--generate"], stdout=subprocess.DEVNULL)
                   for i in range(8)]
        self.assertEqual([w.wait(60) for w in writers], [0] * 8)
        names = {u["user"] for u in self.daemon.ctl("-f", self.daemon.conf, "user", "list")}
        self.assertEqual(names, {USER} | {f"u{i}" for i in range(8)})

    def test_terminal(self):
        """The password is asked for twice, and not shown."""
        shown = self.typed(0, (b"Password: ", PASSWORD), (b"Again: ", PASSWORD))
        self.assertNotIn(b"battery", shown)
        self.assertEqual(self.login("new", PASSWORD), b"235")

    def test_terminal_given_up(self):
        self.assertIn(b"given up", self.typed(1, (b"Password: ", "right\x03")))
        self.assertIn(b"differ", self.typed(1, (b"Password: ", PASSWORD), (b"Again: ", PASSWORD + "x")))
        self.assertEqual(len(self.daemon.ctl("-f", self.daemon.conf, "user", "list")), 1)

    def typed(self, status, *dialogue):
        """What the terminal shows of `user add new`; it echoes again at the end."""
        try:
            ours, theirs = pty.openpty()
        except OSError as e:
            self.skipTest(f"no terminal can be made here: {e}")
        self.addCleanup(os.close, ours)
        process = subprocess.Popen([self.daemon.program("relayctl"), "-f", self.daemon.conf, "user", "add", "new"],
                                   stdin=theirs, stdout=theirs, stderr=theirs)
        shown = b""
        for prompt, answer in dialogue:
            while prompt not in shown:
                self.assertTrue(select.select([ours], [], [], 30)[0], shown)
                shown += os.read(ours, 1000)
            os.write(ours, answer.encode() + (b"" if "\x03" in answer else b"\n"))
        self.assertEqual(process.wait(60), status)
        self.assertTrue(termios.tcgetattr(theirs)[3] & termios.ECHO)
        self.assertTrue(termios.tcgetattr(theirs)[3] & termios.ISIG)
        os.set_blocking(ours, False)
        while select.select([ours], [], [], 0)[0]:
            shown += os.read(ours, 1000)
        os.close(theirs)
        return shown


class Crowded(Auth):
    auth = {"delay": "0s", "failures": 100, "queue": 1, "workers": 1}

    def test_busy(self):
        """Over the queue nobody waits in the dark, and the right one is served again."""
        clients = [self.raw(f"127.0.5.{i}") for i in range(20)]
        for i, client in enumerate(clients):
            client.send(b"AUTH PLAIN " + plain(f"u{i}", "wrong") + b"\r\n")
        found = {client.file.readline()[:3] for client in clients}
        self.assertEqual(found, {b"535", b"454"})
        self.assertTrue(self.daemon.log("auth result=busy"))
        self.assertEqual(self.line(self.raw(), b"AUTH PLAIN " + plain(USER, PASSWORD))[:3], b"235")


if __name__ == "__main__":
    unittest.main()
