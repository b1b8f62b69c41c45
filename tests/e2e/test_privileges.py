"""What the daemon has given up once it runs: started as root, it is somebody else without
any power, shut in by filters; its helper too. And what stays possible afterwards."""
import json
import os
import pwd
import re
import signal
import stat
import unittest

from harness import Behaviour
from harness.case import TEXT, Case, needs_open_tree
from harness.relay import release_dir, wait_until

BLOCKED = "554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using gmo-rbl.jp; Poor " \
          "Reputation Sender"
ONE = {"name": "one", "ipv4": "127.0.0.2"}
NO_POWER = {f"Cap{kind}": "0" * 16 for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}


def status(pid, thread=None):
    path = f"/proc/{pid}/task/{thread}/status" if thread else f"/proc/{pid}/status"
    with open(path) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def threads(pid):
    return [status(pid, thread) for thread in os.listdir(f"/proc/{pid}/task")]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(word) for word in f.read().split()]


def resident(pid):
    """All that PID could write to or has written to, as one string of bytes."""
    found = b""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            first, last = (int(n, 16) for n in line.split()[0].split("-"))
            if "rw" in line.split()[1] and last - first < 256 << 20:
                memory.seek(first)
                try:
                    found += memory.read(last - first)
                except OSError:
                    pass
    return found


class Root(Case):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root, to start as root")
        needs_open_tree(self)
        self.nobody = pwd.getpwnam("nobody")

    def give(self, *paths):
        for path in paths:
            os.chown(path, self.nobody.pw_uid, self.nobody.pw_gid)

    def relay_as_nobody(self, **settings):
        relay = self.relay(user="nobody", **settings)
        self.give(relay.folder)
        return relay

    def command(self):
        folder = self.folder()
        os.chmod(folder, 0o755)
        told, program = os.path.join(folder, "out", "told"), os.path.join(folder, "on-incident")
        os.mkdir(os.path.dirname(told))
        self.give(os.path.dirname(told))
        with open(program, "w") as f:
            f.write("#!/bin/sh\n"
                    f'{{ cat; id -u; env; ls /proc/self/fd; cat /proc/self/status; }} > "{told}.new"\n'
                    f'mv "{told}.new" "{told}"\n')
        os.chmod(program, 0o755)
        return program, told


class Privileges(Root):
    def test_nothing_is_left_of_root(self):
        program, _ = self.command()
        relay = self.relay_as_nobody(notify={"command": program}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        helper, = children(relay.process.pid)
        all_threads = threads(relay.process.pid)
        self.assertGreater(len(all_threads), 2)  # signing, the spool
        for one in all_threads + threads(helper):
            self.assertEqual({key: one[key] for key in NO_POWER}, NO_POWER, one["Name"])
            self.assertEqual(set(one["Uid"].split()), {str(self.nobody.pw_uid)})
            self.assertEqual(set(one["Gid"].split()), {str(self.nobody.pw_gid)})
            self.assertNotIn("0", one["Groups"].split())
            self.assertEqual((one["NoNewPrivs"], one["Seccomp"]), ("1", "2"))
            self.assertEqual(one["Umask"], "0077")
        for pid in (relay.process.pid, helper):
            # of a process that is not dumpable, all of /proc/PID is root's
            self.assertEqual(os.stat(f"/proc/{pid}/status").st_uid, 0)
            with open(f"/proc/{pid}/limits") as f:
                self.assertRegex(f.read(), r"Max core file size +0 +0 ")

    def test_what_it_leaves_is_its_own(self):
        relay = self.relay_as_nobody().start()
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not now")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        relay.wait_log("result=deferred")
        for folder, folders, files in os.walk(relay.spool):
            for name in [""] + folders + files:
                info = os.lstat(os.path.join(folder, name))
                self.assertEqual(info.st_uid, self.nobody.pw_uid, name)
                self.assertEqual(stat.S_IMODE(info.st_mode) & 0o077, 0, name)
        self.assertEqual(stat.S_IMODE(os.stat(relay.control).st_mode), 0o660)
        self.assertEqual(stat.S_IMODE(os.stat(relay.submit).st_mode), 0o666)
        self.assertEqual(stat.S_IMODE(os.stat(relay.spool + "-drop").st_mode), 0o1733)

    def test_a_new_key_belongs_to_the_daemon(self):
        """Made by root, read by the daemon after it has given up root, signed with."""
        relay = self.relay_as_nobody()
        relay.write_conf()
        entry = self.key(relay)
        info = os.stat(entry["key"])
        self.assertEqual((info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)),
                         (self.nobody.pw_uid, self.nobody.pw_gid, 0o600))
        relay.change(domains=({"name": "example.jp", "dkim": (entry,)},))
        relay.start()
        self.assertEqual(relay.run_ctl("reload").returncode, 0)
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.assertIn(b"DKIM-Signature: ", self.receiver.wait(1)[0].data)

    def test_stays_root_without_power(self):
        relay = self.relay().start()
        one = status(relay.process.pid)
        self.assertEqual({key: one[key] for key in NO_POWER}, NO_POWER)
        self.assertEqual((one["NoNewPrivs"], one["Seccomp"]), ("1", "2"))

    def test_off_and_log(self):
        program, _ = self.command()
        relay = self.relay(sandbox="off", notify={"command": program}).start()
        relay.wait_log("nothing bounds what the process may do")
        for pid in (relay.process.pid, *children(relay.process.pid)):
            self.assertEqual(status(pid)["Seccomp"], "0")
        relay.close()
        relay = self.relay(sandbox="log").start()
        self.assertEqual(status(relay.process.pid)["Seccomp"], "2")

    def test_no_such_user(self):
        relay = self.relay(user="no-such-user-here").start(wait=False)
        relay.wait_log('there is no user "no-such-user-here"')
        self.assertNotEqual(relay.process.wait(30), 0)

    def test_folder_that_others_could_replace(self):
        shared = self.folder()
        os.chmod(shared, 0o777)
        for settings in ({"spool": {"path": f"{shared}/spool"}}, {"drop": f"{shared}/drop"}):
            relay = self.relay(**settings).start(wait=False)
            relay.wait_log("can be written by anybody.*chmod o-w")
            self.assertNotEqual(relay.process.wait(30), 0)
        os.chmod(shared, 0o1777)  # as /tmp is
        self.relay(spool={"path": f"{shared}/spool"}).start()

    def test_folder_of_a_third_user(self):
        theirs = self.folder()
        self.give(theirs)
        relay = self.relay(spool={"path": f"{theirs}/spool"}).start(wait=False)
        relay.wait_log("belongs to user id .* who could replace it")
        self.assertNotEqual(relay.process.wait(30), 0)

    def test_reload_of_a_key_that_only_root_can_read(self):
        relay = self.relay_as_nobody()
        key = self.key(relay)
        relay.change(domains=({"name": "example.jp", "return_path": "bounce@example.jp",
                               "dkim": (key,)},))
        relay.start()  # read before root was left
        relay.wait_log(f"{key['key']}\": belongs to root.*chown nobody {key['key']}")
        relay.process.send_signal(signal.SIGHUP)
        line, = relay.wait_log("reload failed")
        self.assertIn(f"{key['key']}\"", line)
        self.assertIn("belongs to root (mode 0600)", line)
        self.assertIn(f"do: chown nobody {key['key']}", line)
        self.give(key["key"])
        relay.process.send_signal(signal.SIGHUP)
        relay.wait_log("reload: .* is in force")

    def test_reload_that_needs_what_was_given_up(self):
        relay = self.relay_as_nobody().start()
        relay.change(listen=({"address": "127.0.0.1", "port": relay.port},
                             {"address": "127.0.0.1", "port": 26}))
        relay.write_conf()
        relay.process.send_signal(signal.SIGHUP)
        relay.wait_log("127.0.0.1 port 26 .*relayd.socket.*restart relayd.*Permission denied")
        relay.send("a@example.jp", "user@dest.test", TEXT)


    def test_nothing_is_written_elsewhere(self):
        """Modes would allow it: Landlock does not."""
        elsewhere = os.path.join(self.folder(), "submit.sock")
        for sandbox, says in (("off", "is in force"), ("kill", "restart relayd.*Permission denied")):
            relay = self.relay(sandbox=sandbox).start()
            if relay.log("has no Landlock"):
                self.skipTest("the kernel has no Landlock")
            relay.change(listen=({"address": "127.0.0.1", "port": relay.port},
                                 {"address": elsewhere}))
            relay.write_conf()
            relay.process.send_signal(signal.SIGHUP)
            relay.wait_log(says)
            relay.close()


class Helper(Root):
    def incident(self, relay):
        self.names.mail_host("gmo.test", "mx1.gmoserver.jp", "127.0.0.1")
        self.receiver.behaviour = Behaviour(
            banner=lambda n, _: BLOCKED if self.receiver.peers[n] == "127.0.0.2" else None)
        relay.send("a@example.jp", "user@gmo.test", TEXT)
        relay.wait_log("incident number=1")

    def blocked_relay(self, program):
        return self.relay_as_nobody(sources=(ONE,), queue={"backoff": ["1h"]},
                                    notify={"command": program})

    def test_what_the_command_gets(self):
        program, told = self.command()
        relay = self.blocked_relay(program).start()
        self.incident(relay)
        wait_until(lambda: os.path.exists(told), what="the command's run")
        with open(told) as f:
            first, uid, *rest = f.read().split("\n")
        self.assertEqual(json.loads(first)["number"], 1)
        self.assertEqual(uid, str(self.nobody.pw_uid))
        environment = {line.split("=")[0] for line in rest if re.match(r"[A-Z_]+=", line)}
        self.assertLessEqual(environment, {"PATH", "LANG", "PWD", "SHLVL", "_", "OLDPWD"})
        self.assertNotIn("RELAYD_REPLIES", environment)
        # 3 is the folder that ls itself reads
        self.assertLessEqual({line for line in rest if line.isdigit()}, {"0", "1", "2", "3"})
        self.assertIn("NoNewPrivs:\t1", rest)
        self.assertIn("CapEff:\t0000000000000000", rest)

    def test_its_death_is_noticed_and_mail_goes_on(self):
        program, told = self.command()
        relay = self.blocked_relay(program).start()
        helper, = children(relay.process.pid)
        os.kill(helper, signal.SIGKILL)
        relay.wait_log("the helper process has ended by itself: notify.command .* restart relayd")
        wait_until(lambda: children(relay.process.pid) == [], what="no zombie either")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        self.incident(relay)
        relay.wait_log("notify.command .* is not run for incident 1")
        self.assertFalse(os.path.exists(told))

    def test_signals_for_the_daemon_do_not_end_it(self):
        program, _ = self.command()
        relay = self.blocked_relay(program).start()
        helper, = children(relay.process.pid)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(helper, number)
        relay.process.send_signal(signal.SIGHUP)
        relay.wait_log("is in force")
        self.assertEqual(children(relay.process.pid), [helper])
        relay.kill()  # and without the daemon it ends by itself
        wait_until(lambda: not os.path.exists(f"/proc/{helper}"), what="the helper's end")

    def test_a_reload_does_not_change_the_command(self):
        program, told = self.command()
        relay = self.blocked_relay(program).start()
        relay.change(notify={"command": "/bin/false"})
        relay.write_conf()
        relay.process.send_signal(signal.SIGHUP)
        relay.wait_log("notify.command changes with the next start only")
        relay.wait_log("is in force")
        self.incident(relay)
        wait_until(lambda: os.path.exists(told), what="the run of the first command")

    def test_no_command_no_helper(self):
        relay = self.relay_as_nobody().start()
        wait_until(lambda: children(relay.process.pid) == [], what="the helper's end")
        self.assertEqual(relay.log("helper"), [])

    def test_it_never_saw_a_secret(self):
        program, _ = self.command()
        relay = self.blocked_relay(program)
        relay.program = lambda name: os.path.join(release_dir(), name)
        if not os.path.exists(relay.program("relayd")):
            self.skipTest("there is no build without sanitizers")
        key = self.key(relay)
        password = os.path.join(relay.folder, "password")
        with open(password, "w") as f:
            f.write("geheim-wie-nichts\n")
        os.chmod(password, 0o600)
        relay.change(smarthosts=({"name": "s", "host": "127.0.0.1", "user": "u", "tls": "none",
                                  "port": 9, "password_file": password},),
                     domains=({"name": "example.jp", "dkim": (key,)},))
        relay.start()
        with open(key["key"], "rb") as f:
            line = f.read().splitlines()[3]
        helper, = children(relay.process.pid)
        self.assertIn(b"geheim-wie-nichts", resident(relay.process.pid))
        self.assertIn(line, resident(relay.process.pid))
        self.assertNotIn(b"geheim-wie-nichts", resident(helper))
        self.assertNotIn(line, resident(helper))


if __name__ == "__main__":
    unittest.main()
