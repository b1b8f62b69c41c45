# SPDX-License-Identifier: MIT
"""Where the spools under test lie: an ext4 with a journal.

Many a virtual machine's root has no journal, and a sync costs half there. So
root gets a loop image, written out in full and with direct I/O where the file
system below can do that. The image is unlinked as soon as it is attached and
is mounted in a mount namespace of our own: nothing stays behind, even when we
are killed.
"""
import os
import subprocess
import sys
import tempfile

INSIDE = "RELAYD_BENCH_INSIDE"


def enter_namespace():
    """Start again in mount and process namespaces of our own; all in them ends with us."""
    if os.environ.get(INSIDE) or os.geteuid() != 0:
        return
    wrap = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*wrap, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        return
    os.environ[INSIDE] = "1"
    os.execvp(wrap[0], [*wrap, sys.executable, *sys.argv])


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def write_out(path, size):
    """Zeros, not a hole: blocks that were never written would cost extra in the run."""
    block = bytes(4 << 20)
    with open(path, "wb", buffering=0) as image:
        for _ in range(size // len(block)):
            image.write(block)
        os.fsync(image.fileno())


class Place:
    """A fresh folder; `.text` says on what kind of file system it is."""

    def __init__(self, base, size=3 << 30):
        self.top = tempfile.mkdtemp(prefix="bench-", dir=base)
        os.chmod(self.top, 0o755)
        self.mounted = False
        self.path = os.path.join(self.top, "spools")
        os.mkdir(self.path)
        given = os.environ.get("BENCH_DIR")
        if given:
            os.rmdir(self.path)
            self.path = tempfile.mkdtemp(prefix="relayd-bench-", dir=given)
            os.chmod(self.path, 0o755)
            self.text = f"{self._kind()} at BENCH_DIR"
            return
        try:
            self._mount(size)
        except OSError as e:
            self.text = (f"{self._kind()}, NOT a loop image with a journal: {e}\n"
                         "            (root may mount one; or set BENCH_DIR)")

    def _mount(self, size):
        if not os.environ.get(INSIDE):
            raise OSError("needs root and namespaces of its own")
        image = os.path.join(self.top, "image")
        try:
            write_out(image, size)
            run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
            direct = "direct I/O"
            try:
                device = run("losetup", "--find", "--show", "--direct-io=on", image)
            except OSError:
                direct = "through the page cache"
                device = run("losetup", "--find", "--show", image)
        finally:
            if os.path.exists(image):
                os.unlink(image)
        try:
            run("mount", "-t", "ext4", device, self.path)
            self.mounted = True
        finally:
            run("losetup", "-d", device)  # takes effect with the end of the mount
        self.text = (f"{self._kind()} with journal on a loop image of {size >> 20} MiB "
                     f"({direct}), which lies on {self._kind(self.top)}")

    def _kind(self, path=None):
        return run("stat", "-f", "-c", "%T", path or self.path).replace("ext2/ext3", "ext4")

    def close(self):
        if self.mounted:
            run("umount", "-l", self.path)
            self.mounted = False
        subprocess.run(["rm", "-rf", "--", self.path, self.top])
