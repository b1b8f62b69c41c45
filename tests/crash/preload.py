"""Libraries that are loaded before a program and make calls of it fail: failing_calls.c and
failing_malloc.c. Each shares some numbers with the test, in a file."""
import collections
import mmap
import os
import shutil
import struct
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
COMPILER = shutil.which("cc")


class Library:
    """SOURCE, compiled, and COUNT numbers of 64 bits whose file VARIABLE names."""

    def __init__(self, test, source, variable, count):
        folder = tempfile.mkdtemp(prefix="relayd-preload-")
        test.addCleanup(shutil.rmtree, folder, True)
        self.path = os.path.join(folder, "failing.so")
        subprocess.run([COMPILER, "-shared", "-fPIC", "-O2", "-D_GNU_SOURCE", "-o", self.path,
                        os.path.join(HERE, source)], check=True)
        file = os.path.join(folder, "numbers")
        with open(file, "wb") as f:
            f.write(bytes(8 * count))
        with open(file, "r+b") as f:
            self.numbers = mmap.mmap(f.fileno(), 8 * count)
        test.addCleanup(self.numbers.close)
        self.wrapper = ["env", f"LD_PRELOAD={self.path}", f"{variable}={file}"]

    def get(self, index):
        return struct.unpack_from("q", self.numbers, 8 * index)[0]

    def set(self, index, *values):
        struct.pack_into(f"{len(values)}q", self.numbers, 8 * index, *values)


# as in failing_calls.c
CALLS = ("open write writev pwrite pwritev fsync fdatasync rename link unlink ftruncate close "
         "send sendto sendmsg connect accept socket pipe eventfd epoll thread").split()
AT_NONE = "open rename link unlink socket pipe eventfd epoll thread".split()  # no descriptor yet
PLAIN, FOLDER, STREAM, OTHER_SOCKET, OTHER = 1, 2, 4, 8, 16
KINDS = {PLAIN: "file", FOLDER: "folder", STREAM: "stream", OTHER_SOCKET: "socket", OTHER: "pipe"}
FILES = PLAIN | FOLDER
ALL = FILES | STREAM | OTHER_SOCKET | OTHER
KILL, HALF = 0, -1


class Plan(Library):
    """Which call is hit, and what came of it."""

    MADE, SET, KINDS, AT, WHAT, HIT, HIT_KIND, SECOND_SYNCS = range(8)

    def __init__(self, test):
        super().__init__(test, "failing_calls.c", "PLAN_FILE", 8)

    def make(self, calls, kinds, what):
        """Of CALLS at descriptors of these KINDS; none is hit yet."""
        self.set(0, 0, sum(1 << CALLS.index(c) for c in calls.split()), kinds, 0, what, 0, 0, 0)

    def arm(self, at):
        """The AT-th call from now on, or the next one if that is over by now; 0: none."""
        self.first = self.get(self.MADE)
        self.set(self.AT, self.first + at if at else 0)

    def made(self):
        """Calls since it was armed."""
        return self.get(self.MADE) - self.first

    def hit(self):
        """What was hit: "pwritev of a file"; None: nothing yet."""
        if not self.get(self.HIT):
            return None
        call = CALLS[self.get(self.HIT) - 1]
        return call if call in AT_NONE else f"{call} of a {KINDS[self.get(self.HIT_KIND)]}"


def listed(hits):
    return ", ".join(f"{n} {what}" for what, n in sorted(collections.Counter(hits).items()))
