"""relay-sendmail where there is no relayd: what a customer of a shared host is told."""
import os
import unittest

import test_sendmail


@unittest.skipIf(os.path.exists("/etc/relayd/sendmail.conf") or os.path.exists("/run/relayd"),
                 "relayd is installed here")
class WithoutRelayd(test_sendmail.Sendmail):
    def test_no_configuration_is_found(self):
        """Then a relayd of this machine is meant, which he never heard of."""
        says = "no configuration was read: there is neither .relay-sendmail.conf of yours in %s nor /etc/"
        self.bad(75, "(?s)No such file.*" + says % self.home, "user@dest.test")
        self.env["HOME"] = "here"
        self.bad(75, says % "a home that is known", "user@dest.test")
        # who has said where it goes need not hear of it
        self.env["RELAY_SENDMAIL_SOCKET"] = self.home + "/none"
        self.assertNotIn(b"no configuration", self.bad(75, "again later", "user@dest.test").stderr)
        del self.env["RELAY_SENDMAIL_SOCKET"]
        self.env["HOME"] = self.home
        self.conf(timeout=5)
        self.assertNotIn(b"no configuration", self.bad(75, "again later", "user@dest.test").stderr)


if __name__ == "__main__":
    unittest.main()
