"""What README says to type to put it into service: the build behind `make deps`, and a
staged installation whose programs, unit, examples and manual fit each other."""
import configparser
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from harness.relay import ROOT, build_dir

# A variant's folder lies in that of the plain build, which is what is installed.
BUILD = build_dir() if os.path.basename(build_dir()) != "asan" else os.path.dirname(build_dir())


def make(*arguments, umask=0o022, **environment):
    """As from a shell: what an outer make has set is not for this one."""
    clean = {k: v for k, v in os.environ.items()
             if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "RELAYD_REPLIES")}
    return subprocess.run(["make", "--no-print-directory", *arguments], cwd=ROOT, umask=umask,
                          env={**clean, **environment}, capture_output=True, text=True, timeout=600)


class Build(unittest.TestCase):
    def test_deps_and_all_in_one_go(self):
        """The link line has the libraries, also when deps is among the goals."""
        for goals in (["all"], ["deps", "all"], ["deps", "all", "install"]):
            with self.subTest(goals=goals):
                done = make("-n", "V=1", f"B={tempfile.gettempdir()}/relayd-none", *goals)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                link = re.search(r"-o \S*/relayd .*", done.stdout).group()
                for library in ("event_core", "ssl", "config", "unbound", "opendkim", "gsasl"):
                    self.assertRegex(link, rf"-l{library}\b")

    def test_what_is_missing_is_said(self):
        done = make("-n", f"B={tempfile.gettempdir()}/relayd-none", "all", PKG_CONFIG_LIBDIR="/nonexistent")
        self.assertEqual(done.returncode, 2)
        self.assertIn("libraries are missing; make deps installs them", done.stderr)


class Install(unittest.TestCase):
    def setUp(self):
        self.stage = tempfile.mkdtemp(prefix="relayd-test-")
        self.addCleanup(shutil.rmtree, self.stage, True)

    def install(self, *arguments, umask=0o022):
        done = make(f"B={BUILD}", f"DESTDIR={self.stage}", *arguments, "install", umask=umask)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def path(self, *parts):
        return os.path.join(self.stage, *parts)

    def run_installed(self, program, *arguments, prefix="usr"):
        environment = {k: v for k, v in os.environ.items() if k != "RELAYD_REPLIES"}
        return subprocess.run([self.path(prefix, "sbin", program), *arguments], env=environment,
                              capture_output=True, text=True, timeout=60)

    def test_it_finds_its_rules_wherever_it_is(self):
        for prefix in ("/usr", "/usr/local", "/opt/relayd"):
            with self.subTest(prefix):
                self.install(f"PREFIX={prefix}")
                # -t would ask for the user relayd, whom systemd-sysusers makes
                done = self.run_installed("relayd", "-T", "-f", self.path("etc/relayd/relayd.conf"),
                                          prefix=prefix[1:])
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                done = self.run_installed("relayctl", "-f", self.path("etc/relayd/relayd.conf"), "reputation",
                                          "explain", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
                                          "--stage", "rcpt", prefix=prefix[1:])
                self.assertNotIn("no rule knows", done.stdout)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_what_it_names_is_where_it_says(self):
        """The unit and the examples name programs of this installation, and files that are read."""
        for prefix in ("/usr", "/usr/local"):
            with self.subTest(prefix):
                shutil.rmtree(self.path("usr"), True)
                self.install(f"PREFIX={prefix}")
                unit = configparser.ConfigParser(strict=False, interpolation=None)
                unit.optionxform = str
                unit.read(self.path(prefix[1:], "lib/systemd/system/relayd.service"))
                self.assertEqual(unit["Service"]["ExecStart"],
                                 f"{prefix}/sbin/relayd -f /etc/relayd/relayd.conf")
                named = [unit["Service"]["ExecStart"].split()[0]]
                examples = self.path(prefix[1:], "share/relayd/examples")
                for example in os.listdir(examples):
                    with open(os.path.join(examples, example)) as f:
                        named += re.findall(r"/[\w./-]+/(?:relay-sendmail|relayd|relayctl)(?=[\s\"])", f.read())
                self.assertGreater(len(named), 1)
                for program in named:
                    self.assertTrue(os.access(self.path(program[1:]), os.X_OK), program)

    def test_again_over_an_old_one(self):
        """The configuration stays, and the folder of keys open to whom it was opened to."""
        self.install()
        with open(self.path("etc/relayd/relayd.conf"), "w") as f:
            f.write('hostname = "mine.example.jp";\n')
        os.chmod(self.path("etc/relayd/dkim"), 0o750)
        self.install()
        with open(self.path("etc/relayd/relayd.conf")) as f:
            self.assertEqual(f.read(), 'hostname = "mine.example.jp";\n')
        self.assertEqual(os.stat(self.path("etc/relayd/dkim")).st_mode & 0o777, 0o750)

    def test_the_names_of_sendmail(self):
        """Only where they are asked for, and never another program's."""
        self.install()
        self.assertFalse(os.path.lexists(self.path("usr/sbin")))
        self.install("SENDMAIL=/usr/sbin")
        for _ in range(2):  # once more over its own
            for name in ("sendmail", "mailq"):
                self.assertEqual(os.readlink(self.path("usr/sbin", name)), "/usr/local/sbin/relay-sendmail")
            self.install("SENDMAIL=/usr/sbin")
        for name in ("sendmail", "mailq"):
            os.unlink(self.path("usr/sbin", name))
        with open(self.path("usr/sbin/sendmail"), "w") as f:
            f.write("postfix's")
        self.install("SENDMAIL=/usr/sbin")
        self.assertEqual(os.listdir(self.path("usr/sbin")), ["sendmail"])
        with open(self.path("usr/sbin/sendmail")) as f:
            self.assertEqual(f.read(), "postfix's")

    def test_a_strict_umask_hides_nothing(self):
        self.install(umask=0o077)
        for folder, _, files in os.walk(self.path("usr")):
            for name in files:
                mode = os.stat(os.path.join(folder, name)).st_mode & 0o777
                self.assertEqual(mode & 0o044, 0o044, os.path.join(folder, name))
        self.assertEqual(os.stat(self.path("etc/relayd/dkim")).st_mode & 0o777, 0o700)
        self.assertEqual(os.stat(self.path("etc/relayd/relayd.conf")).st_mode & 0o777, 0o640)

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_the_manual_has_no_faults(self):
        self.install()
        pages = self.path("usr/local/share/man")
        for folder, _, files in os.walk(pages):
            for page in files:
                done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", os.path.join(folder, page)],
                                      capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (0, ""), page)


if __name__ == "__main__":
    unittest.main()
