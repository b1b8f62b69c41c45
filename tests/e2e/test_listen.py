"""Listening sockets: whose they are, and what a reload does with them."""
import os
import signal
import socket
import threading
import unittest

from harness import HANG, Behaviour, free_port
from harness.case import TEXT, Case


class Reload(Case):
    """ONE and SAME are the same address in two forms: neither can be opened beside the other,
    as 0.0.0.0 can not beside 127.0.0.1."""
    ONE = "::1"
    SAME = "0:0:0:0:0:0:0:1"

    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.running = self.relay(listen=self.listen(self.ONE)).start()

    def listen(self, *addresses):
        return tuple({"address": a, "port": self.port} for a in addresses)

    def reload(self, listen):
        self.running.change(listen=listen)
        self.running.write_conf()
        return self.running.run_ctl("reload")

    def banner(self):
        with socket.create_connection(("::1", self.port), timeout=30) as s:
            return s.recv(4)

    def test_an_address_that_stands_in_the_way_of_the_new_one(self):
        for address in (self.SAME, self.ONE, self.SAME):
            done = self.reload(self.listen(address))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(self.banner(), b"220 ")

    def test_a_reload_that_fails_leaves_all_as_it_was(self):
        """Though the old one had been closed for the new one."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            other = {"address": "127.0.0.1", "port": taken.getsockname()[1]}
            done = self.reload((*self.listen(self.SAME), other))
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"127.0.0.1 port {other['port']}: Address already in use", done.stdout + done.stderr)
            self.assertEqual(self.banner(), b"220 ")
        self.assertEqual(self.reload(self.listen(self.ONE)).returncode, 0)
        self.assertEqual(self.banner(), b"220 ")

    def test_a_port_of_somebody_else_is_not_ours_to_close(self):
        with socket.socket(socket.AF_INET6) as taken:
            taken.bind(("::1", 0))
            taken.listen()
            done = self.reload(({"address": "::1", "port": taken.getsockname()[1]},))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.banner(), b"220 ")


class Second(Case):
    """A relayd that is started by mistake, while one runs."""

    def refused(self, relay, says):
        relay.start(wait=False)
        relay.wait_log(says)
        self.assertEqual(relay.process.wait(30), 71)

    def test_the_submission_socket_stays_that_of_the_first(self):
        first = self.relay().start()
        second = self.relay(listen=({"address": first.submit},))
        self.refused(second, f"listen: {first.submit}: another relayd answers there; stop it")
        done = first.sendmail("-f", "a@example.jp", "user@dest.test", input=TEXT)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.receiver.wait(1)

    def test_what_a_killed_one_has_left_is_replaced(self):
        relay = self.relay().start()
        relay.kill()
        self.assertTrue(os.path.exists(relay.submit))
        relay.start()
        self.assertEqual(relay.sendmail("user@dest.test", input=TEXT).returncode, 0)


class Stop(Case):
    def test_no_reload_during_one(self):
        """It would open again what the stop has closed, and take mail till the end."""
        dotted = threading.Event()

        def end(_, __):
            dotted.set()
            return HANG  # so that the stop takes its four seconds
        self.receiver.behaviour = Behaviour(end=end)
        relay = self.relay().start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.assertTrue(dotted.wait(30))
        relay.process.terminate()
        relay.wait_log("shutting down")
        done = relay.run_ctl("reload")
        self.assertEqual(done.returncode, 1)
        self.assertIn("shutting down", done.stdout + done.stderr)
        relay.process.send_signal(signal.SIGHUP)
        relay.wait_log("reload failed.*shutting down", 2)
        with self.assertRaises(ConnectionRefusedError):
            relay.smtp()
        self.assertEqual(relay.stop(), 0)


if __name__ == "__main__":
    unittest.main()
