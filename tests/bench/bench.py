#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""relayd beside Postfix in one run on one machine.

usage: bench.py [--build DIR] [--out FILE] [--rounds N] [--seconds N] [--only PART]...

The same smtp-source and smtp-sink (Postfix's own) load and drain each system;
rounds take turns (A B C D A B C D ...), the table has medians. The spools lie
on an ext4 with journal (place.py). Nothing leaves the loopback interface.
Parts: mail, big, memory, start, sign, more, limiter.
"""
import argparse
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import limiter  # noqa: E402
from place import Place, enter_namespace, run, write_out  # noqa: E402
from systems import Postfix, Relayd, Sink, favour, free_port, source  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

PARTS = ["mail", "big", "memory", "start", "sign", "more", "limiter"]
COLUMNS = ["accepted/s", "delivered/s", "CPU us/msg", "busy cores", "RSS MiB", "PSS MiB"]
SETTLE = 0.5
LAST_LIMIT = 120
BIG_MB, BIG_COUNT = 100, 3


class Report:
    """Lines go to the terminal at once and to FILE in the end."""

    def __init__(self, path):
        self.path = path
        self.lines = []

    def __call__(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def save(self):
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        with open(self.path, "w") as f:
            f.write("\n".join(self.lines) + "\n")


def first_line(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return (done.stdout.splitlines() or [""])[0].strip()
    except FileNotFoundError:
        return "not installed"


def describe(say, options, place):
    with open("/proc/cpuinfo") as f:
        cpu = re.search(r"^model name\s*: (.*)$", f.read(), re.M)
    with open("/proc/meminfo") as f:
        mib = int(f.read().split()[1]) // 1024
    say(f"when        {time.strftime('%Y-%m-%d %H:%M:%S %z')}")
    say(f"machine     {os.cpu_count()} x {cpu.group(1) if cpu else platform.machine()}, {mib} MiB, "
        f"Linux {platform.release()}; load average before: {os.getloadavg()[0]:.1f}, "
        f"nice {options.nice}")
    say(f"spools on   {place.text}")
    say(f"sync        {sync_time(place)}")
    say("versions    " + "; ".join([
        first_line(os.path.join(options.build, "relayd"), "-V"),
        "Postfix " + first_line("postconf", "-d", "-h", "mail_version"),
        first_line("opendkim", "-V").partition(": ")[2], first_line("openssl", "version")]))


def sync_time(place):
    """What one fdatasync of 4 KiB, 16 KiB, 64 KiB written in place costs there."""
    name = os.path.join(place.path, "sync")
    write_out(name, 8 << 20)
    texts = []
    with open(name, "r+b", buffering=0) as f:
        for size in (4096, 16384, 65536):
            times = []
            for i in range(60):
                began = time.monotonic()
                os.pwrite(f.fileno(), os.urandom(size), i * size)
                os.fdatasync(f.fileno())
                times.append(time.monotonic() - began)
            texts.append(f"{statistics.median(times) * 1e6:.0f} us for {size >> 10} KiB")
    os.unlink(name)
    return "fdatasync takes " + ", ".join(texts)


# ---- mail ----

def busy():
    """Seconds that all processors have worked."""
    with open("/proc/stat") as f:
        n = [int(x) for x in f.readline().split()[1:9]]
    return (sum(n) - n[3] - n[4]) / os.sysconf("SC_CLK_TCK")


def one_run(system, count, options, way):
    """Send COUNT messages, wait for the last one at the sink. {column: number}

    WAY: "each" message in a connection of its own, or "many" in one."""
    sink = Sink(system.sink_port)
    cpu, all_cpu, own = system.cpu(), busy(), time.process_time()
    began = time.monotonic()
    load = source(system.port, count, options.sessions, options.length, way == "many")
    _, status, usage = os.wait4(load.pid, 0)
    accepted = time.monotonic() - began
    while sink.messages() < count and time.monotonic() - began - accepted < LAST_LIMIT:
        time.sleep(0.005)
    delivered = time.monotonic() - began
    all_cpu, own = busy() - all_cpu, time.process_time() - own
    got, tools = sink.messages(), sink.cpu() + usage.ru_utime + usage.ru_stime
    time.sleep(SETTLE)  # removing from the queue is work, too
    cpu = system.cpu() - cpu
    rss, pss = system.memory()  # all processes of the load are still there; to look disturbs
    left = system.waiting()
    sink.close()
    if status != 0 or got != count or left != 0:
        raise RuntimeError(f"smtp-source status {status}, {got} of {count} messages at the sink, "
                           f"{left} left in the queue\n{system.log_tail()}")
    return {"accepted/s": count / accepted, "delivered/s": count / delivered,
            "CPU us/msg": cpu / count * 1e6, "busy cores": cpu / delivered,
            "RSS MiB": rss / 2**20, "PSS MiB": pss / 2**20,
            "tools": tools / count * 1e6,
            "others": max(0, all_cpu - cpu - tools - own) / delivered}


def check_signature(system, folder, wanted):
    """One message through SYSTEM: is it signed, or not, as this run says?"""
    dump = os.path.join(folder, "dump")
    os.makedirs(dump)
    sink = Sink(system.sink_port, os.path.join(dump, "m."))
    try:
        source(system.port, 1, 1, 100, False).wait()
        end = time.monotonic() + 20
        text = ""
        while "\n\n" not in text:
            if time.monotonic() > end:
                raise RuntimeError(f"no message came\n{system.log_tail()}")
            time.sleep(0.02)
            text = "".join(open(os.path.join(dump, n)).read() for n in os.listdir(dump))
        time.sleep(SETTLE)
    finally:
        sink.close()
        shutil.rmtree(dump)
    if bool(re.search(r"^DKIM-Signature:", text, re.M | re.I)) != wanted:
        raise RuntimeError(f"signed: should be {wanted}; it was:\n{text[:1500]}\n{system.log_tail()}")


def systems(options, place, key):
    """[(name, signed, system)]"""
    port = free_port()

    def at(word):
        return os.path.join(place.path, word)
    return [
        ("Postfix", False, Postfix(at("postfix"), port)),
        ("relayd", False, Relayd(at("relayd"), port, options.build)),
        ("Postfix+OpenDKIM", True, Postfix(at("postfix-dkim"), port, key)),
        ("relayd, signing", True, Relayd(at("relayd-dkim"), port, options.build, key)),
    ]


def mail(say, options, place, made, way):
    runs, idle, counts = {}, {}, {}
    for turn in range(options.rounds):
        for name, signed, system in made:
            system.start()
            try:
                favour(system.pids(), options.nice)
                if turn == 0:
                    time.sleep(2)
                    idle[name] = system.memory()
                    check_signature(system, place.path, signed)
                    trial = one_run(system, 1000, options, way)  # also warms up
                    counts[name] = max(1000, min(30000, round(trial["delivered/s"]
                                                              * options.seconds, -2)))
                    counts[name] = int(counts[name])
                runs.setdefault(name, []).append(one_run(system, counts[name], options, way))
            finally:
                system.stop()
    rows = {name: {key: statistics.median(r[key] for r in list_) for key in list_[0]}
            for name, list_ in runs.items()}
    mail_table(say, options, runs, rows, counts, way)
    goals(say, rows, idle)


def mail_table(say, options, runs, rows, counts, way):
    words = "many messages a connection" if way == "many" else "a connection for each message"
    say(f"\nMail: {options.sessions} sessions, {options.length} bytes, {words}; medians of "
        f"{options.rounds} rounds (lowest-highest delivered/s)")
    say(f"{'':18}" + "".join(f"{c:>12}" for c in COLUMNS) + "   messages")
    for name, row in rows.items():
        rates = [r["delivered/s"] for r in runs[name]]
        say(f"{name:18}" + "".join(f"{row[c]:12.{0 if row[c] > 20 else 2}f}" for c in COLUMNS)
            + f"   {counts[name]} ({min(rates):.0f}-{max(rates):.0f})")
    for ours, theirs in (("relayd", "Postfix"), ("relayd, signing", "Postfix+OpenDKIM")):
        a, b = rows[ours], rows[theirs]
        say(f"{ours} / {theirs}: accepted {a['accepted/s'] / b['accepted/s']:.1f} x, delivered "
            f"{a['delivered/s'] / b['delivered/s']:.1f} x, CPU per message 1/"
            f"{b['CPU us/msg'] / a['CPU us/msg']:.1f}, PSS 1/{b['PSS MiB'] / a['PSS MiB']:.1f}")
    tools = statistics.median(r["tools"] for r in rows.values())
    ceiling = os.cpu_count() / tools * 1e6
    say(f"smtp-source and smtp-sink themselves take {tools:.0f} us a message: with "
        f"{os.cpu_count()} processors nothing can deliver over {ceiling:.0f}/s here")
    say("other programs and the kernel's own threads took "
        + ", ".join(f"{r['others']:.1f}" for r in rows.values())
        + " processors meanwhile (in the order of the table)")


def goals(say, rows, idle):
    say("idle memory: " + "; ".join(f"{name} RSS {rss / 2**20:.1f} PSS {pss / 2**20:.1f} MiB"
                                    for name, (rss, pss) in idle.items()))
    ratio = rows["relayd"]["delivered/s"] / rows["Postfix"]["delivered/s"]
    rss, pss = idle["relayd"]
    goal(say, ratio > 10, f"delivered/s unsigned {ratio:.1f} x Postfix's", "over 10 x")
    goal(say, rss < 12 << 20, f"idle memory {rss / 2**20:.1f} MiB resident "
         f"({pss / 2**20:.1f} without what others share)", "under 12 MiB")


def idle_by_mx(say, options, place):
    """As it is without smarthosts: what fetches MTA-STS policies is loaded at the start."""
    system = Relayd(os.path.join(place.path, "relayd-mx"), None, options.build)
    system.start()
    try:
        time.sleep(2)
        rss, pss = system.memory()
    finally:
        system.stop()
    say(f"\nidle memory of relayd that delivers by MX, the default: RSS {rss / 2**20:.1f} "
        f"PSS {pss / 2**20:.1f} MiB")


def goal(say, met, text, wanted):
    say(f"goal {'met' if met else 'MISSED'}: {text} (wanted: {wanted})")


def big(say, options, place):
    """Messages of 100 MB, one after another, all the way to the sink."""
    port = free_port()
    made = {"Postfix": Postfix(os.path.join(place.path, "postfix-big"), port,
                               more="message_size_limit = 0\n"),
            "relayd": Relayd(os.path.join(place.path, "relayd-big"), port, options.build,
                             more='limits = { message_size = "200M"; };')}
    way = argparse.Namespace(sessions=1, length=BIG_MB * 1000000)
    say(f"\nBig: {BIG_COUNT} messages of {BIG_MB} MB one after another; medians of "
        f"{options.rounds} rounds\n{'':18}{'accepted MB/s':>16}{'delivered MB/s':>16}"
        f"{'CPU ms/MB':>12}")
    rates = {}
    for name, system in made.items():
        system.start()
        try:
            favour(system.pids(), options.nice)
            runs = [one_run(system, BIG_COUNT, way, "each") for _ in range(options.rounds)]
        finally:
            system.stop()
        row = {key: statistics.median(r[key] for r in runs) for key in runs[0]}
        rates[name] = row["delivered/s"] * BIG_MB
        say(f"{name:18}{row['accepted/s'] * BIG_MB:16.0f}{rates[name]:16.0f}"
            f"{row['CPU us/msg'] / 1000 / BIG_MB:12.1f}")
    goal(say, rates["relayd"] >= 50, f"big messages pass at {rates['relayd']:.0f} MB/s, "
         f"{rates['relayd'] / rates['Postfix']:.1f} x Postfix's", "50 MB/s")


# ---- the rest ----

def output(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def tool(options, name):
    return os.path.join(options.build, "tests", "bench", name)


def waiting_memory(say, options):
    say("\nA million waiting messages in memory (bench_queue)")
    text = output([tool(options, "bench_queue"), str(options.waiting)])
    say(text.rstrip())
    each = float(re.search(r"([\d.]+) bytes a message", text).group(1))
    goal(say, each <= 300, f"{each:.0f} bytes a waiting message", "300")


def start_up(say, options, place):
    """Fill a spool through the front door towards a dead host, then start on it."""
    count = options.recovered
    say(f"\nStart-up with {count} waiting messages of 512 bytes (files in the page cache)")
    system = Relayd(os.path.join(place.path, "start"), free_port(), options.build)
    system.start()
    try:
        empty, began = system.memory()[0], time.monotonic()
        source(system.port, count, options.sessions, 512, True).wait()
        took = time.monotonic() - began
        time.sleep(SETTLE)
        if system.waiting() != count:
            raise RuntimeError(f"{system.waiting()} of {count} messages wait")
        full = system.memory()[0]
        system.stop()
        seconds = system.start()
        cpu, back = system.cpu(), system.memory()[0]
        if system.waiting() != count:
            raise RuntimeError(f"{system.waiting()} of {count} messages were found again")
    finally:
        system.stop()
    say(f"accepted in {took:.1f} s; ready after {seconds:.2f} s ({cpu:.2f} s of CPU); resident "
        f"{full / 2**20:.0f} MiB before, {back / 2**20:.0f} MiB after\n"
        f"that is {(full - empty) / count:.0f} and {(back - empty) / count:.0f} bytes a message "
        "over the empty daemon")


def signing(say, options):
    """Turns, since the two processors of many a virtual machine are one core."""
    say("\nSigning, per processor (bench_dkim beside `openssl speed`)")
    raws, rates = [], []
    for _ in range(options.rounds):
        speed = output(["openssl", "speed", "-seconds", "1", "rsa2048"])
        raws.append(float(re.search(r"rsa +2048 bits +\S+ +\S+ +([\d.]+)", speed).group(1)))
        text = output([tool(options, "bench_dkim"), "0.4"])
        rates.append(float(re.search(r"rsa2048 +4 KB +1 threads +(\d+) per CPU", text).group(1)))
    say(text.rstrip())
    ratios = [rate / raw for rate, raw in zip(rates, raws)]
    say(f"openssl speed rsa2048: {statistics.median(raws):.0f} signatures per second")
    ratio = statistics.median(ratios)
    goal(say, ratio > 0.8, f"rsa2048 signing of 4 KB at {ratio:.2f} of openssl speed ("
         + ", ".join(f"{r:.2f}" for r in ratios) + ")", "over 0.8")


def more(say, options, place):
    """The benches of single parts, where they were built."""
    for name, arguments in (("bench_spool", [os.path.join(place.path, "part"), "20000", "64", "4096"]),
                            ("bench_verdict", [os.path.join(ROOT, "conf", "replies.conf")])):
        if os.path.exists(tool(options, name)):
            say(f"\n{name}")
            text = output([tool(options, name), *arguments]).rstrip()
            say(text)
            if name == "bench_verdict":
                verdict_goals(say, text)


def verdict_goals(say, text):
    slowest = float(re.search(r"slowest reply ([\d.]+) us", text).group(1))
    hostile = max(float(n) for n in re.findall(r"worst of 200 +([\d.]+) us", text))
    goal(say, slowest < 20, f"a reply is judged in {slowest:.1f} us at most", "under 20 us")
    goal(say, hostile < 1000, f"a hostile reply or rule takes {hostile:.0f} us at most",
         "under 1 ms")


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6, help="of one run, about")
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--way", action="append", choices=["each", "many"],
                        help="messages in a connection of their own, or many in one")
    parser.add_argument("--nice", type=int, default=0,
                        help="for all that is measured; below 0 on a machine with other work")
    parser.add_argument("--waiting", type=int, default=1000000, help="messages in memory")
    parser.add_argument("--recovered", type=int, default=100000, help="messages at start-up")
    parser.add_argument("--limited", type=int, default=20,
                        help="minutes of real time against a limiter")
    parser.add_argument("--only", action="append", choices=PARTS)
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    options.out = options.out or os.path.join(options.build, "bench.txt")
    options.only = options.only or PARTS
    options.way = options.way or ["each", "many"]
    return options


def parts(say, options, place):
    favour([os.getpid()], options.nice)
    describe(say, options, place)
    if "mail" in options.only:
        key = os.path.join(place.path, "key.pem")
        run("openssl", "genrsa", "-out", key, "2048")
        os.chmod(key, 0o600)
        made = systems(options, place, key)
        for way in options.way:
            mail(say, options, place, made, way)
        idle_by_mx(say, options, place)
    if "big" in options.only:
        big(say, options, place)
    if "memory" in options.only:
        waiting_memory(say, options)
    if "sign" in options.only:
        signing(say, options)
    if "more" in options.only:
        more(say, options, place)
    if "start" in options.only:
        start_up(say, options, place)
    if "limiter" in options.only:
        limiter.bench(say, options, place)


def main():
    os.environ.setdefault("RELAYD_REPLIES", os.path.join(ROOT, "conf", "replies.conf"))
    enter_namespace()
    options = parse_options()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    say = Report(options.out)
    place = Place(options.build)
    try:
        parts(say, options, place)
    finally:
        place.close()
        say.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
