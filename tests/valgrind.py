#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Under valgrind: memcheck sees every unit program and one life of the daemon, helgrind
those with threads. The closing line is `N passed, N failed`; any report fails.

usage: valgrind.py UNIT-PROGRAM... [--threads UNIT-PROGRAM...]
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "e2e"))

from harness.dns import NameServer  # noqa: E402
from harness.receiver import Behaviour, Receiver  # noqa: E402
from harness.relay import Relay, wait_until  # noqa: E402

REPORTED = 99  # exit status when there was a report
VALGRIND = ["valgrind", "-q", f"--error-exitcode={REPORTED}", "--num-callers=25"]


def memcheck(kinds):
    return [*VALGRIND, "--leak-check=full", f"--errors-for-leak-kinds={kinds}",
            f"--show-leak-kinds={kinds}", "--child-silent-after-fork=yes"]


MEMCHECK = memcheck("definite,indirect,possible")
# The daemon does not wait for libunbound's thread when it ends: what that thread holds then
# is all possibly lost.
LIFE = memcheck("definite,indirect")
HELGRIND = [*VALGRIND, "--tool=helgrind", "--child-silent-after-fork=yes"]
# The filter of system calls that this one tests would end valgrind as well.
NOT_UNDER_VALGRIND = {"test_sandbox"}
# The reports are of libraries' own variables: libopendkim asserts that its count of users is
# above 0 before it takes that count's lock; libunbound's thread shares some of its globals,
# and a flag of libevent that only ever becomes 1, with the thread that asks it.
NOT_UNDER_HELGRIND = {"test_dkim_keys", "test_dns"}
LONGEST = 3600


def run(tool, program):
    done = subprocess.run([*tool, program], cwd=os.path.dirname(HERE), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LONGEST)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def life():
    """Start, accept, sign, deliver, defer, bounce, reload, stop. (status, log)"""
    names = NameServer()
    receiver = Receiver(behaviour=Behaviour(
        rcpt=lambda _, address: "550 5.1.1 no" if address.startswith("nobody@") else None,
        end=lambda n, d, seen=[]: seen.append(1) or ("451 later" if len(seen) == 1 else None)))
    names.mail_host("dest.test", "mx.dest.test", "127.0.0.1")
    names.mail_host("example.jp", "mx.example.jp", "127.0.0.1")
    relay = Relay(names, wrapper=LIFE, sandbox="off", queue={"backoff": ["1s"]},
                  delivery={"port": receiver.port, "allow_private": True})
    key = os.path.join(relay.folder, "example.jp.life.key")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True,
                   capture_output=True)
    os.chmod(key, 0o600)
    relay.change(domains=({"name": "example.jp", "return_path": "bounce@example.jp",
                           "dkim": ({"selector": "life", "key": key},)},))
    try:
        relay.start(wait=False)
        relay.wait_log("is ready", timeout=300)
        with relay.smtp(timeout=300) as client:
            client.ehlo()
            client.sendmail("app@example.jp", ["one@dest.test", "nobody@dest.test"],
                            "From: app@example.jp\r\nSubject: a life\r\n\r\ntext\r\n")
        wait_until(lambda: relay.ctl("queue", "list") == [], timeout=300, what="an empty queue")
        subjects = [re.search(rb"^Subject: (.*?)\r$", m.data, re.M).group(1)
                    for m in receiver.messages]
        assert len(subjects) == 2 and b"a life" in subjects, subjects
        assert sum(b"DKIM-Signature:" in m.data for m in receiver.messages) >= 1
        relay.ctl("reload")
        relay.wait_log("is in force", timeout=300)
        status = relay.stop(300)
        return status, "\n".join(relay.lines)
    finally:
        relay.close()
        receiver.close()
        names.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", nargs="*")
    parser.add_argument("--threads", nargs="*", default=[])
    options = parser.parse_args()
    wanted = [p for p in options.programs if os.path.basename(p) not in NOT_UNDER_VALGRIND]
    jobs = [("memcheck", MEMCHECK, p) for p in wanted]
    jobs += [("helgrind", HELGRIND, p) for p in options.threads
             if os.path.basename(p) not in NOT_UNDER_HELGRIND]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        rest = pool.submit(life)
        for (tool, _, program), (status, out) in zip(jobs, pool.map(lambda j: run(*j[1:]), jobs)):
            passed, failed = passed + (status == 0), failed + (status != 0)
            print(f"{'FAIL' if status else 'ok  '} {tool} {os.path.basename(program)}", flush=True)
            if status:
                print(out[-20000:], flush=True)
        status, out = rest.result()
        passed, failed = passed + (status == 0), failed + (status != 0)
        print(f"{'FAIL' if status else 'ok  '} memcheck a life of relayd", flush=True)
        if status:
            print(out[-20000:], flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
