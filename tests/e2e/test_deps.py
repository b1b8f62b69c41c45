"""`make deps` and `make test-deps`: what they leave on a machine, and what they do not remove.
dpkg, apt and sudo are played."""
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness.relay import ROOT, wait_until

# Installed is what stands in the file INSTALLED, with what it provides.
DPKG_QUERY = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
*Provides*) sed 's/^/installed /' "$here/installed" ;;
*) for name; do :; done; grep -q "^$name " "$here/installed" && echo installed ;;
esac
"""
# Notes what it is told, and whether the policy is in force; `install` waits where asked to.
APT_GET = """#!/bin/sh
here=$(dirname "$0")
echo "$*" >>"$here/said"
cat "$POLICY_RC_D" >"$here/policy"
[ "$1" != install ] || [ ! -e "$here/slow" ] || { : >"$here/waits"; exec sleep 60; }
"""
SUDO = """#!/bin/sh
exec "$@"
"""


def take_signals():
    """As in a terminal: what is ignored from the start (nohup, a job of a script) no shell
    can trap."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Deps(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="relayd-test-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.policy = os.path.join(self.folder, "policy-rc.d")
        self.write("installed", "")
        for name, text in (("dpkg-query", DPKG_QUERY), ("apt-get", APT_GET), ("sudo", SUDO)):
            os.chmod(self.write(name, text), 0o755)
        self.environment = dict(os.environ, POLICY_RC_D=self.policy,
                                PATH=self.folder + ":" + os.environ["PATH"])
        self.environment.pop("REPLACE_MTA", None)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def read(self, name):
        with open(os.path.join(self.folder, name)) as f:
            return f.read()

    def start(self, what):
        return subprocess.Popen([os.path.join(ROOT, "tests", "deps.sh"), what], env=self.environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                start_new_session=True, preexec_fn=take_signals)

    def run_deps(self, what):
        process = self.start(what)
        out, error = process.communicate(timeout=60)
        return process.returncode, out, error

    def test_no_service_is_started_and_nothing_is_left(self):
        status, _, error = self.run_deps("build")
        self.assertEqual((status, error), (0, ""))
        self.assertRegex(self.read("said"), r"^update -q\ninstall -y .* libevent-dev ")
        self.assertTrue(self.read("policy").endswith("\nexit 101\n"))
        self.assertFalse(os.path.exists(self.policy))

    def test_interrupted(self):
        """Ctrl-C goes to all that runs in the terminal."""
        self.write("slow", "")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.start("build")
            self.addCleanup(process.stdout.close)
            self.addCleanup(process.stderr.close)
            wait_until(lambda: os.path.exists(os.path.join(self.folder, "waits")), what="the installation")
            self.assertTrue(os.path.exists(self.policy))
            os.killpg(process.pid, number)
            self.assertNotEqual(process.wait(30), 0)
            self.assertFalse(os.path.exists(self.policy), number)
            os.unlink(os.path.join(self.folder, "waits"))

    def test_what_a_killed_one_has_left(self):
        self.write("slow", "")
        process = self.start("build")
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        wait_until(lambda: os.path.exists(os.path.join(self.folder, "waits")), what="the installation")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        self.assertTrue(os.path.exists(self.policy))
        os.unlink(os.path.join(self.folder, "slow"))
        self.assertEqual(self.run_deps("build")[0], 0)
        self.assertFalse(os.path.exists(self.policy))

    def test_a_policy_of_somebody_else_stays(self):
        self.write("policy-rc.d", "#!/bin/sh\nexit 101\n")
        self.assertEqual(self.run_deps("build")[0], 0)
        self.assertEqual(self.read("policy-rc.d"), "#!/bin/sh\nexit 101\n")

    def test_the_mail_system_of_the_machine_stays(self):
        self.write("installed", "gcc c-compiler\nexim4-daemon-light default-mta, mail-transport-agent\n")
        status, _, error = self.run_deps("test")
        self.assertEqual(status, 1)
        self.assertIn("would remove exim4-daemon-light,", error)
        self.assertIn("REPLACE_MTA=1", error)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "said")))
        self.assertEqual(self.run_deps("build")[0], 0)  # which needs no postfix
        os.unlink(os.path.join(self.folder, "said"))
        self.environment["REPLACE_MTA"] = "1"
        self.assertEqual(self.run_deps("test")[0], 0)
        self.assertIn(" postfix ", self.read("said"))

    def test_postfix_is_not_asked_about(self):
        self.write("installed", "postfix mail-transport-agent\n")
        self.assertEqual(self.run_deps("test")[0], 0)
        self.assertNotIn(" postfix ", self.read("said"))


if __name__ == "__main__":
    unittest.main()
