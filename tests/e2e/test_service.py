"""With a service manager: its sockets, what it is told, and its sandbox. The manager here
is the test: a NOTIFY_SOCKET of its own, and descriptors handed over by a small wrapper."""
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

from harness.case import TEXT, Case
from harness.relay import ROOT, free_port

# As systemd does it: sockets become 3, 4, ...; LISTEN_PID is who is executed.
HAND_OVER = """
import os, sys
count = int(sys.argv[1])
os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="a:b")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """Where the daemon says how it is."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(30)
        self.name = path if isinstance(path, str) else "@" + path[1:].decode()

    def wait(self, pattern):
        """The next message that fits, those before it dropped."""
        while True:
            text = self.socket.recv(4096).decode()
            if re.search(pattern, text):
                return text

    def close(self):
        self.socket.close()


class Service(Case):
    def manager(self, path=None):
        manager = Manager(path or os.path.join(self.folder(), "notify"))
        self.addCleanup(manager.close)
        return manager

    def handing_over(self, relay, *sockets):
        """Start RELAY with these listening sockets as descriptors 3 and up."""
        copies = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 100) for s in sockets]
        script = "".join(f"os.dup2({fd}, {3 + i})\n" for i, fd in enumerate(copies))
        relay.wrapper = [sys.executable, "-c", "import os\n" + script + HAND_OVER,
                         str(len(sockets))]
        relay.pass_fds = copies
        self.addCleanup(lambda: [os.close(fd) for fd in copies])
        return relay.start()

    def listening(self, family, address, both=False):
        s = socket.socket(family)
        self.addCleanup(s.close)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        s.bind(address)
        s.listen(16)
        return s

    def test_states(self):
        manager = self.manager()
        relay = self.relay(env={"NOTIFY_SOCKET": manager.name}).start()
        manager.wait("^READY=1$")
        self.assertIn("STATUS=0 messages in the queue", manager.wait("STATUS="))
        relay.process.send_signal(signal.SIGHUP)
        self.assertRegex(manager.wait("RELOADING=1"), r"\nMONOTONIC_USEC=\d+\n")
        manager.wait("^READY=1$")
        # one that seems to be older than its wish is not heard: same millisecond or not
        for _ in range(20):
            wished = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            relay.process.send_signal(signal.SIGHUP)
            told = re.search(r"MONOTONIC_USEC=(\d+)", manager.wait("RELOADING=1"))
            self.assertGreaterEqual(int(told[1]), wished)
            manager.wait("^READY=1$")
        # a reload that fails is over as well
        with open(relay.conf, "a") as f:
            f.write("nonsense = 1;\n")
        relay.process.send_signal(signal.SIGHUP)
        manager.wait("RELOADING=1")
        manager.wait("^READY=1$")
        relay.stop()
        manager.wait("STOPPING=1")

    def test_an_abstract_address(self):
        manager = self.manager(b"\0relayd-test-%d" % os.getpid())
        self.relay(env={"NOTIFY_SOCKET": manager.name}).start()
        manager.wait("^READY=1$")

    def test_watchdog(self):
        manager = self.manager()
        self.relay(env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "100000"}).start()
        for _ in range(5):
            manager.wait("WATCHDOG=1")

    def test_a_manager_that_is_gone_or_odd_stops_nothing(self):
        for name in ("/nonexistent/notify", "relative", "@", "/" + "x" * 200):
            relay = self.relay(env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "x"}).start()
            relay.send("a@example.jp", "user@dest.test", TEXT)
            self.receiver.wait(1)
            relay.close()

    def test_passed_sockets(self):
        port = free_port()
        folder = self.folder()
        relay = self.relay(listen=({"address": "127.0.0.1", "port": port},
                                   {"address": "::1", "port": port},
                                   {"address": f"{folder}/submit.sock"}))
        relay.port = port
        relay.submit = f"{folder}/submit.sock"
        relay.change(control=f"{folder}/control.sock")
        relay.control = f"{folder}/control.sock"
        sockets = [self.listening(socket.AF_UNIX, relay.control),
                   self.listening(socket.AF_INET6, ("::1", port)),
                   self.listening(socket.AF_UNIX, relay.submit),
                   self.listening(socket.AF_INET, ("127.0.0.1", port))]
        before = [os.stat(p).st_ino for p in (relay.control, relay.submit)]
        # a client that came before the daemon was there is served
        early = socket.create_connection(("::1", port))
        self.addCleanup(early.close)
        self.handing_over(relay, *sockets)
        self.assertEqual(early.recv(4), b"220 ")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.assertEqual(relay.sendmail("user@dest.test", input=TEXT).returncode, 0)
        self.receiver.wait(2)
        self.assertEqual(relay.ctl("queue", "list"), [])
        self.assertEqual(relay.log("did not name|does not name"), [])
        relay.stop()
        # they are the manager's: neither gone nor made anew
        self.assertEqual([os.stat(p).st_ino for p in (relay.control, relay.submit)], before)

    def test_a_socket_for_both_families(self):
        """As systemd makes them for ListenStream=25: an IPv4 client is one, in all respects."""
        port = free_port()
        relay = self.relay(listen=({"address": "::", "port": port},))
        relay.port = port
        self.handing_over(relay, self.listening(socket.AF_INET6, ("::", port), both=True))
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.assertIn("([127.0.0.1])", self.receiver.wait(1)[0].header)
        relay.wait_log(r"accept .*client=127\.0\.0\.1")

    def test_a_socket_that_nobody_wants(self):
        relay = self.relay()
        port = free_port()
        unwanted = [self.listening(socket.AF_INET, ("127.0.0.1", port)),
                    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
        self.addCleanup(unwanted[1].close)
        self.handing_over(relay, *unwanted)
        relay.wait_log(f"passed a socket for 127.0.0.1 port {port}, which listen does not name")
        relay.wait_log("descriptor 4 from the service manager is no listening stream socket")
        relay.send("a@example.jp", "user@dest.test", TEXT)

    def test_variables_for_somebody_else(self):
        relay = self.relay(env={"LISTEN_FDS": "3", "LISTEN_PID": "1"}).start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.assertEqual(relay.log("service manager"), [])


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
class Unit(unittest.TestCase):
    def test_exposure(self):
        unit = os.path.join(ROOT, "relayd", "relayd.service")
        out = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
                             capture_output=True, text=True, env=dict(os.environ, LC_ALL="C.UTF-8"))
        level = re.search(r"exposure level for relayd\.service: ([0-9.]+)", out.stdout)
        self.assertIsNotNone(level, out.stdout + out.stderr)
        print(f"     exposure {level.group(1)}")
        self.assertLessEqual(float(level.group(1)), 1.2, out.stdout)

    def test_nothing_in_it_is_unknown(self):
        folder = os.path.join(ROOT, "relayd")
        for name in ("relayd.service", "relayd.socket"):
            out = subprocess.run(["systemd-analyze", "verify", os.path.join(folder, name)],
                                 capture_output=True, text=True).stderr
            self.assertNotRegex(out, rf"{name}:\d+:")


if __name__ == "__main__":
    unittest.main()
