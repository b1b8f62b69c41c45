"""What relayd and relayctl say of a configuration, by the real programs."""
import glob
import os
import re
import subprocess
import unittest

from harness import Relay
from harness.case import needs_open_tree
from harness.relay import ROOT


class Configuration(unittest.TestCase):
    def relay(self, **settings):
        relay = Relay(**settings)
        self.addCleanup(relay.close)
        relay.write_conf()
        return relay

    def run_relayd(self, relay, *options, **more):
        return subprocess.run([relay.program("relayd"), *options, "-f", relay.conf], env=relay.env, text=True,
                              timeout=60, stderr=subprocess.PIPE, **{"stdout": subprocess.PIPE, **more})

    def test_what_can_not_be_printed_is_a_failure(self):
        relay = self.relay()
        with open("/dev/full", "w") as full:
            for option in ("-T", "-t", "-s", "-m", "-V", "-h"):
                done = self.run_relayd(relay, option, stdout=full)
                self.assertEqual(done.returncode, 74, option)
                self.assertIn("relayd: output: No space left on device", done.stderr)

    def test_what_a_new_user_tries(self):
        for word, says in (("--help", "usage: relayd "), ("--version", "relayd ")):
            done = self.run_relayd(self.relay(), word)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(done.stdout.startswith(says), done.stdout)

    def test_a_bad_command_line(self):
        relay = self.relay()
        for program, usage, lines in (
                ("relayd", "usage: relayd [-f FILE] ", (["-Z"], ["foo"], ["-f"], ["-t", "foo"], ["--nosuch"])),
                ("relay-catcher", "usage: relay-catcher -d FOLDER ", ([], ["-d"], ["-Z"], [
                    "-d", relay.folder, "foo"], ["-d", relay.folder, "-p", "65536"], ["-d", relay.folder, "-p", "x"]))):
            for line in lines:
                with self.subTest(program, line=line):
                    done = subprocess.run([relay.program(program), *line], env=relay.env, text=True,
                                          capture_output=True, timeout=60)
                    self.assertEqual((done.returncode, done.stdout), (64, ""))
                    self.assertIn("\n" + usage, "\n" + done.stderr)

    def put(self, relay, name, text):
        path = os.path.join(relay.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)

    def mistakes(self, relay):
        """What it says, each line, without the folder's name."""
        done = self.run_relayd(relay, "-t")
        self.assertEqual((done.returncode, done.stdout), (78, ""))
        return done.stderr.replace(relay.folder + "/", "").splitlines()

    def test_all_mistakes_are_told_at_once(self):
        """Of the file, of those it includes, and of the contents of those it names."""
        relay = self.relay()
        for name in ("k1", "k2", "cert", "key", "ca", "cert2", "key2"):
            self.put(relay, name, "junk")
        self.put(relay, "users", "bob:x\n\neve\n")
        self.put(relay, "replies.d/x.conf", "rules = ( );\nother = 1;\n")
        folder = relay.folder
        self.put(relay, "domains.conf", f"""
domains = ( {{ name = "example.jp"; dkim = ( {{ selector = "a"; key = "{folder}/k1"; }},
  {{ selector = "b";
    key = "{folder}/k2"; }},
  {{ selector = "c"; key = "{folder}/none"; }} ); }} );""")
        self.put(relay, "relayd.conf", f"""hostnam = "x";
listen = ( {{ address = "127.0.0.1"; port = 2525; tls = "starttls"; auth = true; }} );
tls = {{ certificate = "{folder}/cert";
  key = "{folder}/key";
  client_ca = "{folder}/ca"; }};
certificates = ( {{ certificate = "{folder}/cert2"; key = "{folder}/key2"; }} );
users = "{folder}/users";
@include "domains.conf"
clients = ( {{ name = "a"; certificates = [ "host.test" ]; via = [ "nosuch" ]; }} );
""")
        pem = "expected a PEM file with"
        expected = [
            'relayd.conf:1: hostnam: is not known, did you mean "hostname"?',
            'relayd.conf:9: clients.via: "nosuch" is neither',
            'domains.conf:5: domains.dkim.key: "none": can not be found',
            'domains.conf:2: domains.dkim.key: k1: is not a private key in PEM form',
            'domains.conf:4: domains.dkim.key: k2: is not a private key in PEM form',
            f"relayd.conf:3: tls.certificate: TLS certificate cert: no start line; {pem}",
            f"relayd.conf:4: tls.key: TLS key key: .*; {pem}",
            f"relayd.conf:6: certificates.certificate: TLS certificate cert2: no start line; {pem}",
            f"relayd.conf:6: certificates.key: TLS key key2: .*; {pem}",
            f"relayd.conf:5: tls.client_ca: TLS authorities of clients ca: .*; {pem}",
            "users:1: expected a yescrypt", "users:3: expected a yescrypt",
            'replies.d/x.conf:2: "other" is not known here']
        told = self.mistakes(relay)
        self.assertEqual(told.pop(), f"relayd: {len(expected)} mistakes in the configuration")
        for pattern, line in zip(expected, told, strict=True):
            self.assertRegex(line, "^" + pattern.replace("?", r"\?"))
        # where nothing can be known of the file, the rules still are
        self.put(relay, "relayd.conf", "hostname = x;\n")
        told = self.mistakes(relay)
        self.assertRegex(told[0], "^relayd.conf:1: syntax error: ")
        self.assertEqual(told[1:], ['replies.d/x.conf:2: "other" is not known here; expected rules, providers or '
                                    'delist', "relayd: 2 mistakes in the configuration"])

    def test_authorities_are_read_though_nobody_is_asked(self):
        """A listener with TLS or an entry of clients may come with the next reload."""
        relay = self.relay()
        self.put(relay, "key.pem", "-----BEGIN PRIVATE KEY-----\nQQ==\n-----END PRIVATE KEY-----\n")
        self.put(relay, "relayd.conf", f'user = ""; tls = {{ client_ca = "{relay.folder}/key.pem"; }};\n')
        told = self.mistakes(relay)
        self.assertRegex(told[0], "^relayd.conf:1: tls.client_ca: TLS authorities of clients key.pem: "
                                  ".*; expected a PEM file with their certificates")
        self.assertEqual(len(told), 2)

    def test_what_was_refused_is_not_looked_into(self):
        """Neither what is not there is read, nor what stands for it by default."""
        relay = self.relay()
        self.put(relay, "cert", "junk")
        os.chmod(os.path.join(relay.folder, "cert"), 0o644)
        self.put(relay, "relayd.conf", f"""users = 5;
listen = ( {{ address = "127.0.0.1"; port = 2525; auth = true; }} );
tls = {{ certificate = "{relay.folder}/none"; key = "{relay.folder}/cert"; }};
domains = ( {{ name = "-x"; dkim = ( {{ selector = "s"; key = "{relay.folder}/cert"; }} ); }} );
""")
        told = self.mistakes(relay)
        self.assertEqual(told.pop(), "relayd: 5 mistakes in the configuration")
        self.assertEqual([re.match(r"\S+: \S+: ", line).group() for line in told], [
            "relayd.conf:1: users: ", "relayd.conf:3: tls.certificate: ", "relayd.conf:3: tls.key: ",
            "relayd.conf:4: domains.name: ", "relayd.conf:4: domains.dkim.key: "])

    @unittest.skipIf(os.geteuid(), "needs root, which becomes the daemon's user at a start")
    def test_a_user_that_is_not_there(self):
        needs_open_tree(self)
        relay = self.relay(user="nosuchuser")
        os.chmod(relay.folder, 0o755)
        missing = 'user: there is no user "nosuchuser" on this machine'
        told = self.mistakes(relay)
        self.assertEqual(told.pop(), "relayd: 1 mistake in the configuration")
        self.assertIn(f"relayd.conf: {missing}, and relayd does not start", told[0])
        done = relay.run_ctl("-f", relay.conf, "config", "check")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(missing, done.stderr)
        self.assertEqual(self.run_relayd(relay, "-T").returncode, 0)
        # who only tries it stays what he is, and needs no such user
        done = self.run_relayd(relay, "-t", user=65534, group=65534, extra_groups=())
        self.assertEqual((done.returncode, done.stdout),
                         (0, f"{relay.conf}: the configuration is good\n"))
        self.assertIn("warning: " + missing, done.stderr)

    def test_groups_that_are_not_there(self):
        for key in ("control_group", "control_look_group"):
            told = self.mistakes(self.relay(**{key: "nosuchgroup"}))
            self.assertEqual(told, [
                f'relayd.conf: {key}: there is no group "nosuchgroup" on this machine, and relayd does not '
                "start; do: groupadd nosuchgroup", "relayd: 1 mistake in the configuration"])

    def warnings(self, relay):
        done = self.run_relayd(relay, "-t")
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr.splitlines()

    def test_entries_of_clients_that_come_to_nothing(self):
        clients = ({"name": "a", "login": "x"}, {"name": "b", "login": "x"},
                   {"name": "c", "login": "y", "from": ["me@example.jp", "q@stranger.test"]},
                   {"name": "d", "login": "z", "domains": ["a.example.jp"], "from": ["me@b.example.jp", "me@a.example.jp"]})
        relay = self.relay(clients=clients)
        self.assertEqual(self.warnings(relay), [
            'warning: clients: "b" is never taken, since "a" stands before it and is for the same login, "x"',
            'warning: clients: "c" may have "q@stranger.test" in From, but mail with it is refused, since '
            '"stranger.test" is not in domains, nor under one of them',
            'warning: clients: "d" may have "me@b.example.jp" in From, but mail with it is refused, since '
            '"b.example.jp" is not in its domains, nor under one of them'])
        # whose From is passed may be anybody's
        relay.change(foreign_from="pass", clients=clients[2:3])
        relay.write_conf()
        self.assertEqual(self.warnings(relay), [])

    def test_lists_that_are_shown_keep_the_socket_of_relay_sendmail(self):
        shown = 0
        for name in [*glob.glob("conf/examples/*", root_dir=ROOT), "README.md", "relayd/man/relayd.conf.5.tail"]:
            with open(os.path.join(ROOT, name)) as f:
                text = re.sub("(?m)^#", "", f.read())
            for entries in re.findall(r"\blisten = \((.*?)\);", text, re.DOTALL):
                shown += 1
                self.assertIn('{ address = "/run/relayd/submit.sock"; }', entries, name)
        self.assertGreater(shown, 4)


if __name__ == "__main__":
    unittest.main()
