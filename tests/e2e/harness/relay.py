"""The relay under test: the real programs, in a folder of their own, on loopback."""
import json
import os
import random
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def build_dir():
    """Where the programs are that shall be tested (the sanitized ones by default)."""
    return os.environ.get("RELAYD_BUILD", os.path.join(ROOT, "build", "asan"))


def release_dir():
    """Programs without sanitizers: for tracing, and where memory is counted."""
    folder = build_dir()
    return os.path.dirname(folder) if os.path.basename(folder) == "asan" else folder


given_ports = set()


def free_port():
    """One that no connection of other tests gets by chance before it is used: below
    those that the kernel gives out; and never the same twice."""
    while True:
        port = random.randrange(10000, 32000)
        if port in given_ports:
            continue
        given_ports.add(port)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass  # taken: another one


def wait_until(condition, timeout=30, step=0.02, what="condition"):
    """For states that announce themselves by no event (a file, a process). What the last look
    finds is too late, if that look itself took longer than there was time."""
    begun = time.monotonic()
    while True:
        reached = condition()
        took = time.monotonic() - begun
        if took > timeout:
            late = f", but in {took:.1f} s" if reached else ""
            raise AssertionError(f"{what} was not reached in {timeout} s{late}")
        if reached:
            return
        time.sleep(step)


def setting(value):
    """A Python value in libconfig's syntax. Tuples are lists, lists are arrays."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{ " + " ".join(f"{k} = {setting(v)};" for k, v in value.items()) + " }"
    if isinstance(value, tuple):
        return "( " + ", ".join(setting(v) for v in value) + " )"
    return "[ " + ", ".join(setting(v) for v in value) + " ]"


class Relay:
    """Settings given as keyword arguments replace the defaults below, key by key
    where both are dictionaries."""

    def __init__(self, names=None, folder=None, port=None, env=None, wrapper=(), **settings):
        self.folder = folder or tempfile.mkdtemp(prefix="relayd-test-")
        self.own_folder = folder is None
        self.port = port or free_port()
        self.conf = os.path.join(self.folder, "relayd.conf")
        self.spool = os.path.join(self.folder, "spool")
        self.control = os.path.join(self.folder, "control.sock")
        self.submit = os.path.join(self.folder, "submit.sock")
        rules = os.path.join(ROOT, "conf", "replies.conf")
        self.env = dict(os.environ, RELAYD_REPLIES=rules, **(env or {}))
        self.wrapper = list(wrapper)
        self.pass_fds = ()  # descriptors that it inherits
        self.settings = {
            "hostname": "relay.example.jp",
            "user": "",
            "listen": ({"address": "127.0.0.1", "port": self.port}, {"address": self.submit}),
            "domains": ({"name": "example.jp", "return_path": "bounce@example.jp"},),
            "return_path": {"mode": "repair", "default_domain": "example.jp"},
            "spool": {"path": self.spool, "segment_size": "4M", "free_space": "1M"},
            "control": self.control,
            "dns": {"servers": [names.server] if names else ["127.0.0.1@9"], "dnssec": False,
                    "timeout": "5s"},
            "delivery": {"allow_private": True},
        }
        self.change(**settings)
        self.process = None
        self.lines = []
        self.changed = threading.Condition()

    def change(self, **settings):
        for key, value in settings.items():
            if isinstance(value, dict) and isinstance(self.settings.get(key), dict):
                self.settings[key] = {**self.settings[key], **value}
            else:
                self.settings[key] = value

    def write_conf(self):
        with open(self.conf, "w") as f:
            for key, value in self.settings.items():
                f.write(f"{key} = {setting(value)};\n")

    def program(self, name):
        return os.path.join(build_dir(), name)

    def start(self, wait=True):
        self.write_conf()
        self.lines_before = len(self.lines)
        self.process = subprocess.Popen(
            self.wrapper + [self.program("relayd"), "-f", self.conf],
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=self.env,
            pass_fds=self.pass_fds)
        self.silent = False  # it has ended, and said all
        self.reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()
        if wait:
            self.wait_log("is ready", since=self.lines_before)
        return self

    def _read(self, process):
        for line in process.stderr:
            with self.changed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            # an earlier process may end its output after the next has begun
            self.silent |= process is self.process
            self.changed.notify_all()

    def log(self, pattern):
        with self.changed:
            return [l for l in self.lines if re.search(pattern, l)]

    def wait_log(self, pattern, count=1, timeout=30, since=0):
        """Until COUNT lines fit PATTERN; those lines."""
        def found():
            return [l for l in self.lines[since:] if re.search(pattern, l)]

        def over():
            return len(found()) >= count or self.silent
        with self.changed:
            self.changed.wait_for(over, timeout)
            if len(found()) < count:
                tail = "\n".join(self.lines[-40:])
                ended = f"exit status {self.process.wait()}; " if self.silent else ""
                raise AssertionError(
                    f"the log has no {pattern!r} (x{count}); {ended}its end is:\n{tail}")
            return found()

    def kill(self):
        """kill -9"""
        self.process.kill()
        self.process.wait()
        self.reader.join(5)

    def stop(self, timeout=10):
        """SIGTERM; the exit status."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout)
        if self.process:
            self.reader.join(5)
            return self.process.returncode
        return None

    def close(self):
        """End it and leave nothing behind. A sanitizer's complaint fails the test."""
        status = None
        try:
            status = self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            complaints = self.log(r"ERROR: \w+Sanitizer|runtime error:|bug at ")
            if self.own_folder:
                shutil.rmtree(self.folder, ignore_errors=True)
            if complaints:
                raise AssertionError("\n".join(self.lines[-80:]))
        return status

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # ---- talking to it ----

    def smtp(self, timeout=30):
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example.jp",
                            timeout=timeout)

    def send(self, sender, recipients, message, **options):
        if isinstance(recipients, str):
            recipients = [recipients]
        with self.smtp() as client:
            return client.sendmail(sender, recipients, message, **options)

    def ctl(self, *words, check=True):
        """Rows of `relayctl --json WORDS`."""
        done = self.run_ctl("--json", *words)
        if check and done.returncode != 0:
            raise AssertionError(f"relayctl {words}: {done.returncode}: {done.stdout}{done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines() if line]

    def run_ctl(self, *words, input=None):
        return subprocess.run([self.program("relayctl"), "-s", self.control, *words],
                              capture_output=True, text=True, timeout=60, input=input)

    def run_ctl_bytes(self, *words):
        """What it prints, as it is (`queue cat`)."""
        return subprocess.run([self.program("relayctl"), "-s", self.control, *words],
                              capture_output=True, timeout=60, check=True).stdout

    def sendmail(self, *arguments, input=b"", env=None):
        return subprocess.run([self.program("relay-sendmail"), *arguments], input=input,
                              capture_output=True, timeout=60,
                              env=dict(self.env, RELAY_SENDMAIL_SOCKET=self.submit, **(env or {})))
