"""What tests/analyze.sh makes of tools that find something, or do not come to their end. The
tools are played."""
import os
import shutil
import subprocess
import tempfile
import unittest

from harness.relay import ROOT

QUIET = "#!/bin/sh\nexit 0\n"
# The source is the last argument.
ON_ONE = '#!/bin/sh\nfor source; do :; done\n[ "$source" != conf/conf.c ] || { %s; }\n'


class Analyze(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="relayd-test-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        for tool in ("gcc", "clang", "cppcheck"):
            self.play(tool, QUIET)

    def play(self, tool, text):
        path = os.path.join(self.folder, tool)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def analyze(self):
        """What it says of the tools; all lines of analyze.suppress fit nothing here."""
        environment = dict(os.environ, PATH=self.folder + ":" + os.environ["PATH"])
        done = subprocess.run([os.path.join(ROOT, "tests", "analyze.sh"), os.path.join(self.folder, "out")],
                              env=environment, capture_output=True, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        lines = done.stdout.splitlines()
        with open(os.path.join(ROOT, "tests", "analyze.suppress")) as f:
            wanted = [line for line in f.read().splitlines() if line and not line.startswith("#")]
        stale = "tests/analyze.suppress: this fits no finding: "
        self.assertEqual([line[len(stale):] for line in lines if line.startswith(stale)], wanted)
        return [line for line in lines if not line.startswith(stale)]

    def test_lines_that_fit_nothing(self):
        self.assertRegex("\n".join(self.analyze()), r"^analyze: \d+ files, 0 findings, 0 open ")

    def test_a_compiler_that_is_killed_on_one_file(self):
        for tool in ("gcc", "clang"):
            with self.subTest(tool):
                self.play(tool, ON_ONE % "kill -9 $$")
                self.assertEqual(self.analyze()[0], f"{tool} conf/conf.c ended with status 137:")
                self.play(tool, QUIET)

    def test_a_compiler_that_refuses_one_file(self):
        said = "conf/conf.c:3:4: error: no such thing"
        self.play("gcc", ON_ONE % f"echo '{said}' >&2; exit 1")
        self.assertEqual(self.analyze()[:3], ["gcc conf/conf.c ended with status 1:", "    " + said, said])

    def test_a_cppcheck_that_does_not_know_an_option(self):
        said = 'cppcheck: error: unrecognized command line option: "--nosuch".'
        self.play("cppcheck", f"#!/bin/sh\necho '{said}'\nexit 1\n")
        self.assertEqual(self.analyze()[:2], ["cppcheck ended with status 1:", "    " + said])

    def test_a_finding(self):
        said = "conf/conf.c:3: style: Something is odd [odd]"
        self.play("cppcheck", f"#!/bin/sh\necho '{said}'\n")
        found = self.analyze()
        self.assertEqual(found[0], said)
        self.assertRegex(found[1], r"^analyze: \d+ files, 1 findings, 1 open ")


if __name__ == "__main__":
    unittest.main()
