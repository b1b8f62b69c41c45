"""Small file systems that a test may fill: an ext4 with a journal, or memory where no
image can be mounted."""
import os
import shutil
import subprocess
import tempfile


def mount_ext4(folder, megabytes, inodes):
    image = folder + ".image"
    with open(image, "wb") as f:
        f.truncate(megabytes << 20)
    try:
        # -m 0: root would go on where others find it full
        return succeeds("mkfs.ext4", "-q", "-F", "-m", "0", *(["-N", str(inodes)] if inodes else []),
                        "-E", "lazy_itable_init=0,lazy_journal_init=0", image) and \
            succeeds("mount", "-o", "loop", image, folder)
    finally:
        os.unlink(image)  # gone with the mount


def mount_memory(folder, megabytes, inodes):
    return succeeds("mount", "-t", "tmpfs", "-o", f"size={megabytes}M,nr_inodes={inodes}",
                    "relayd-test", folder)


def succeeds(*command):
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def small_disk(test, megabytes=32, inodes=0):
    """The folder that it is mounted at until the end of TEST. INODES: 0 for enough."""
    folder = tempfile.mkdtemp(prefix="relayd-disk-")
    test.addCleanup(shutil.rmtree, folder, True)
    if not mount_ext4(folder, megabytes, inodes) and not mount_memory(folder, megabytes, inodes):
        test.skipTest("mounting a small file system is not allowed here")
    test.addCleanup(subprocess.run, ["umount", "-l", folder])
    return folder
