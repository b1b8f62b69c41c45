"""Listening sockets: whose they are."""
import os
import unittest

from harness.case import TEXT, Case


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


if __name__ == "__main__":
    unittest.main()
