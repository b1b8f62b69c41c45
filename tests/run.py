#!/usr/bin/python3
"""Run tests and count them: the closing line is `N passed, N failed, N skipped`.

usage: run.py [-j JOBS] [-k PATTERN] UNIT-PROGRAM... [--replay FUZZ-PROGRAM...]
              [--alone FILE...] [--python FOLDER...] [--again BUILD FOLDER]

Unit programs are cmocka's; a fuzz program replays its corpus folder
(tests/fuzz/corpus/NOUN), which is one test; python folders hold unittest files. Some of
these run alone, before all others, where the figures of a busy machine say nothing; one
of the folders can run again with the programs of BUILD.

With RELAYD_NO_SKIPS=1 in the environment a skip is a failure, unless tests/skips.allowed
has it.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOAK = bool(os.environ.get("RELAYD_SOAK"))
NO_SKIPS = os.environ.get("RELAYD_NO_SKIPS") == "1"
UNIT_SECONDS = 7200 if SOAK else 600
FILE_SECONDS = 6 * 3600 if SOAK else 1500
NOTHING = 5  # exit status of a file none of whose tests was wanted
passed = failed = skipped = 0
failures = []  # told once more at the end, where a log that was cut still has them


def count(good, bad, none=0):
    global passed, failed, skipped
    passed += good
    failed += bad
    skipped += none


def may_skip(text):
    """TEXT is `test: reason`."""
    if not NO_SKIPS:
        return True
    with open(os.path.join(ROOT, "tests", "skips.allowed")) as f:
        lines = f.read().splitlines()
    return any(re.search(line, text) for line in lines if line and not line.startswith("#"))


def fail(line):
    print(line, flush=True)
    failures.append(line)


def close():
    """The end of what is printed."""
    if failures:
        print("---- failed ----", *failures, sep="\n")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")


def run_program(command, timeout, env=None):
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout)
        return done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as e:
        return -1, (e.stdout or b"").decode("utf-8", "replace") + "\ntimed out\n"


def run_unit(program):
    status, out = run_program([program], UNIT_SECONDS)
    good = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", out))
    bad = sum(int(n) for n in re.findall(r"\[  FAILED  \] (\d+) test", out))
    skips = set(re.findall(r"\[  SKIPPED \] ([a-z]\w*)$", out, re.M))
    lost = [test for test in skips if not may_skip(f"{os.path.basename(program)}: {test}")]
    out += "".join(f"skipped, which it may not: {test}\n" for test in lost)
    bad, none = bad + len(lost), len(skips) - len(lost)
    if status != 0 and bad == 0:
        bad = 1
    if good + bad + none == 0:
        bad = 1
    return program, good, bad, none, out if bad else ""


def run_replay(program):
    noun = os.path.basename(program)[len("fuzz_"):]
    corpus = os.path.join(ROOT, "tests", "fuzz", "corpus", noun)
    files = sorted(os.path.join(corpus, f) for f in os.listdir(corpus))
    status, out = run_program([program, *files], 300)
    return program, int(status == 0), int(status != 0), 0, out if status else ""


def report(results):
    for program, good, bad, none, out in results:
        name = os.path.relpath(program, ROOT)
        line = f"{'FAIL' if bad else 'ok  '} {name}: {good} passed, {bad} failed"
        fail(line) if bad else print(line, flush=True)
        if out:
            print(out[-20000:], flush=True)
        count(good, bad, none)


class Result(unittest.TextTestResult):
    def startTest(self, test):
        self.began = time.monotonic()
        super(unittest.TextTestResult, self).startTest(test)

    def _line(self, word, test):
        seconds = time.monotonic() - self.began
        print(f"{word} {test.id()} ({seconds:.1f} s)", flush=True)

    def addSuccess(self, test):
        self._line("ok  ", test)
        count(1, 0)

    def addFailure(self, test, err):
        super(unittest.TextTestResult, self).addFailure(test, err)
        self._line("FAIL", test)
        count(0, 1)

    def addError(self, test, err):
        super(unittest.TextTestResult, self).addError(test, err)
        self.began = getattr(self, "began", time.monotonic())
        self._line("FAIL", test)
        count(0, 1)

    def addSubTest(self, test, subtest, err):
        super(unittest.TextTestResult, self).addSubTest(test, subtest, err)
        if err:
            print(f"FAIL {subtest.id()}", flush=True)
            count(0, 1)

    def addSkip(self, test, reason):
        text = f"{test.id()}: {reason}"
        good = may_skip(text)
        print(f"skip {text}" if good else f"FAIL {text} (skipped, which it may not)", flush=True)
        count(0, not good, good)


def run_file(path, pattern):
    """The tests of one file, in this process."""
    folder, name = os.path.split(os.path.abspath(path))
    sys.path.insert(0, folder)
    loader = unittest.TestLoader()
    if pattern:
        loader.testNamePatterns = [f"*{pattern}*"]
    suite = loader.loadTestsFromName(os.path.splitext(name)[0])
    if suite.countTestCases():
        runner = unittest.TextTestRunner(stream=sys.stdout, resultclass=Result, verbosity=0)
        runner.run(suite)


def files_of(folder):
    return sorted(os.path.join(folder, f) for f in os.listdir(folder)
                  if f.startswith("test_") and f.endswith(".py"))


def run_python(files, pattern, jobs, build=None):
    """Files at the same time, since most tests wait most of the time. What each says
    is shown when it is over."""
    env = dict(os.environ, RELAYD_BUILD=os.path.abspath(build)) if build else None
    command = [sys.executable, os.path.abspath(__file__), "-k", pattern, "--file"]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for path, (status, out) in zip(files, pool.map(
                lambda f: run_program([*command, f], FILE_SECONDS, env), files)):
            found = re.search(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", out, re.M)
            if found:
                count(*(int(n) for n in found.groups()))
                out = out[:found.start()]
            if not found or (status not in (0, NOTHING) and found.group(2) == "0"):
                fail(f"FAIL {path}: ended with status {status}")
                count(0, 1)
            if out.strip():
                print(out.rstrip("\n"), flush=True)
            failures.extend(re.findall(r"^FAIL .*$", out, re.M))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-k", default="")
    parser.add_argument("programs", nargs="*")
    parser.add_argument("--replay", nargs="*", default=[])
    parser.add_argument("--alone", nargs="*", default=[])
    parser.add_argument("--python", nargs="*", default=[])
    parser.add_argument("--again", nargs=2, metavar=("BUILD", "FOLDER"))
    parser.add_argument("--file", help="one file of such a folder, in this process")
    options = parser.parse_args()
    if options.file:
        run_file(options.file, options.k)
        print(f"{passed} passed, {failed} failed, {skipped} skipped")
        return 1 if failed else 0 if passed + skipped else NOTHING
    run_python(options.alone, options.k, 1)
    wanted = [p for p in options.programs if options.k in p or options.python]
    with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
        report(pool.map(run_unit, wanted))
        report(pool.map(run_replay, options.replay))
    for folder in options.python:
        run_python([f for f in files_of(folder) if f not in options.alone], options.k,
                   options.j * (1 if SOAK else 2))
    if options.again:
        build, folder = options.again
        print(f"---- {folder} with the programs of {os.path.relpath(build, ROOT)} ----")
        run_python(files_of(folder), options.k, options.j * 2, build)
    close()
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
