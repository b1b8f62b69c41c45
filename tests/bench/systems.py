# SPDX-License-Identifier: MIT
"""The programs that are compared, each with a configuration of its own in a
folder of its own, and what they cost: processor time and memory.

All of them keep their defaults but for names and ports. Both write their log
to a file, as somebody without syslog would have it.
"""
import os
import re
import socket
import subprocess
import time

DOMAIN = "example.jp"
TICK = os.sysconf("SC_CLK_TCK")
START_TIMEOUT = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def write(path, text, mode=0o644):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def wait_for(what, condition, process, seconds=START_TIMEOUT):
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise RuntimeError(f"{what}: ended with status {process.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.005)


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            return s.recv(3) == b"220"
    except OSError:
        return False


# ---- what processes cost ----

def stat(pid):
    """(parent, seconds of CPU with those of children that are gone)"""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[1]), sum(int(n) for n in fields[11:15]) / TICK


def tree(top):
    """{pid: CPU seconds} of a process and all below it."""
    parents, cpu = {}, {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)], cpu[int(name)] = stat(name)
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [top]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return {pid: cpu[pid] for pid in found if pid in cpu}


def memory(pids):
    """Bytes: (resident, proportional) of all together."""
    total = {"Rss": 0, "Pss": 0}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                for key, kib in re.findall(r"^(Rss|Pss): +(\d+) kB", f.read(), re.M):
                    total[key] += int(kib) * 1024
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total["Rss"], total["Pss"]


def favour(pids, nice):
    """Before other sessions, too, where the kernel shares by session (autogroup)."""
    for pid in pids:
        try:
            os.setpriority(os.PRIO_PROCESS, pid, nice)
            with open(f"/proc/{pid}/autogroup", "w") as f:
                f.write(str(nice))
        except OSError:
            continue


# ---- load and sink ----

class Sink:
    """smtp-sink, whose running counter goes to a file in memory that we look at."""

    def __init__(self, port, dump=None):
        self.port = port
        folder = "/dev/shm" if os.path.isdir("/dev/shm") else "/tmp"
        self.counter = os.path.join(folder, f"relayd-bench-{os.getpid()}")
        self.out = open(self.counter, "w")
        more = ["-d", dump] if dump else ["-c"]
        if os.geteuid() == 0:
            more += ["-u", "root"]  # it insists on a name
        self.process = subprocess.Popen(["smtp-sink", *more, "-m", "1000", f"127.0.0.1:{port}",
                                         "1000"], stdout=self.out, stderr=subprocess.DEVNULL)
        wait_for("smtp-sink", lambda: answers(port), self.process)

    def messages(self):
        with open(self.counter, "rb") as f:
            f.seek(max(0, os.path.getsize(self.counter) - 200))
            seen = re.findall(rb"mesg=(\d+)", f.read())
        return int(seen[-1]) if seen else 0

    def cpu(self):
        return stat(self.process.pid)[1]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.out.close()
        os.unlink(self.counter)


def source(port, count, sessions, length, keep):
    """smtp-source with COUNT messages; KEEP: one connection for many of them."""
    return subprocess.Popen(
        ["smtp-source", *(["-d"] if keep else []), "-s", str(min(sessions, count)),
         "-l", str(length), "-m", str(count), "-C", "10", "-M", f"web.{DOMAIN}",
         "-f", f"taro@{DOMAIN}", "-t", "hanako@example.net", f"127.0.0.1:{port}"])


# ---- the systems ----

class System:
    """start() and stop() come in pairs; between them the rest may be asked."""

    def __init__(self, folder, sink_port):
        os.makedirs(folder)
        self.folder = folder
        self.sink_port = sink_port
        self.port = free_port()
        self.processes = []

    def spawn(self, command, log):
        with open(os.path.join(self.folder, log), "a") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=subprocess.STDOUT, start_new_session=True)
        self.processes.append(process)
        return process

    def log_tail(self):
        text = ""
        for name in sorted(os.listdir(self.folder)):
            if name.endswith("log"):
                with open(os.path.join(self.folder, name), errors="replace") as f:
                    text += f"--- {name}\n" + "".join(f.readlines()[-15:])
        return text

    def pids(self):
        return [pid for p in self.processes for pid in tree(p.pid)]

    def cpu(self):
        return sum(sum(tree(p.pid).values()) for p in self.processes)

    def memory(self):
        return memory(self.pids())

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []


MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
local     unix  - n n - - local
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix(System):
    """With its defaults (default_process_limit = 100 among them). SIGNED: by OpenDKIM."""

    def __init__(self, folder, sink_port, key=None, more=""):
        super().__init__(folder, sink_port)
        self.key = key
        self.queue = os.path.join(folder, "queue")
        self.data = os.path.join(folder, "data")
        self.conf = os.path.join(folder, "conf")
        for path in (self.queue, self.data, self.conf):
            os.mkdir(path)
        os.chmod(folder, 0o755)
        subprocess.run(["chown", "postfix", self.data], check=True)
        write(os.path.join(self.conf, "master.cf"), MASTER.format(port=self.port))
        write(os.path.join(self.conf, "main.cf"), f"""\
compatibility_level = 3.6
queue_directory = {self.queue}
data_directory = {self.data}
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
myhostname = relay.{DOMAIN}
mydestination =
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
alias_maps =
relayhost = [127.0.0.1]:{sink_port}
""" + more)
        if key:
            self._conf_milter()

    def _conf_milter(self):
        self.milter_port = free_port()
        with open(os.path.join(self.conf, "main.cf"), "a") as f:
            f.write(f"smtpd_milters = inet:127.0.0.1:{self.milter_port}\n")
        write(os.path.join(self.conf, "opendkim.conf"), f"""\
Socket inet:{self.milter_port}@127.0.0.1
Canonicalization relaxed/relaxed
Mode s
Domain {DOMAIN}
Selector bench
KeyFile {self.key}
RequireSafeKeys false
Syslog no
Background no
""")

    def start(self):
        if self.key:
            process = self.spawn(["opendkim", "-f", "-x",
                                  os.path.join(self.conf, "opendkim.conf")], "opendkim.log")

            def listens():
                with socket.socket() as s:
                    return s.connect_ex(("127.0.0.1", self.milter_port)) == 0
            wait_for("opendkim", listens, process)
        master = self.spawn(["postfix", "-c", self.conf, "start-fg"], "start.log")
        wait_for("postfix", lambda: answers(self.port), master)

    def stop(self):
        if self.processes:
            subprocess.run(["postfix", "-c", self.conf, "stop"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        super().stop()

    def waiting(self):
        return sum(len(files) for name in ("maildrop", "incoming", "active", "deferred")
                   for _, _, files in os.walk(os.path.join(self.queue, name)))


class Relayd(System):
    """With SINK_PORT None it delivers by MX, as without a word about routes: it loads more."""

    def __init__(self, folder, sink_port, build, key=None, more=""):
        super().__init__(folder, sink_port)
        self.build = build
        self.conf = os.path.join(folder, "relayd.conf")
        self.log = os.path.join(folder, "relayd.log")
        self.control = os.path.join(folder, "control.sock")
        dkim = f'dkim = ( {{ selector = "bench"; key = "{key}"; }} );' if key else ""
        sink = f"""\
smarthosts = ( {{ name = "sink"; host = "127.0.0.1"; port = {sink_port}; tls = "none"; }} );
routes = ( {{ match = "*"; via = [ "sink" ]; }} );
""" if sink_port else ""
        write(self.conf, f"""\
hostname = "relay.{DOMAIN}";
user = "";
listen = ( {{ address = "127.0.0.1"; port = {self.port}; }} );
domains = ( {{ name = "{DOMAIN}"; {dkim} }} );
{sink}\
spool = "{folder}/spool";
control = "{self.control}";
{more}
""", 0o600)

    def start(self):
        """Result: seconds until it was ready."""
        before = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        began = time.monotonic()
        process = self.spawn([os.path.join(self.build, "relayd"), "-f", self.conf], "relayd.log")

        def ready():
            with open(self.log) as f:
                f.seek(before)
                return "is ready" in f.read()
        wait_for("relayd", ready, process, 600)
        return time.monotonic() - began

    def waiting(self):
        done = subprocess.run([os.path.join(self.build, "relayctl"), "-s", self.control, "status"],
                              stdout=subprocess.PIPE, text=True)
        found = re.search(r"^queue_messages\s+(\d+)", done.stdout, re.M)
        return int(found.group(1)) if found else -1

