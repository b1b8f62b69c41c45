"""What failed logins tell by the time they take, and how fast passwords can be guessed
(H10): medians for users who are there and who are not, in one run, in turn.

    login.py --build BUILD [--tries N]
"""
import argparse
import base64
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from harness import RawClient, Relay, free_port  # noqa: E402

PASSWORD = "right battery staple"


def login(client, user, password):
    secret = base64.b64encode(f"\0{user}\0{password}".encode())
    begin = time.perf_counter()
    code, _ = client.ask(b"AUTH PLAIN " + secret)
    return code, time.perf_counter() - begin


def relay(**auth):
    daemon = Relay(trusted_networks=[], auth=auth)
    daemon.change(users=os.path.join(daemon.folder, "users"), limits={"errors": 10000},
                  listen=({"address": "127.0.0.1", "port": free_port(), "auth": True},))
    daemon.port = daemon.settings["listen"][0]["port"]
    daemon.write_conf()
    subprocess.run([daemon.program("relayctl"), "-f", daemon.conf, "user", "add", "shop"],
                   input=PASSWORD + "\n", text=True, check=True)
    return daemon


def medians(tries):
    """Each try is one of its own, so that no count of failures gets in its way."""
    times = {"shop": [], "nobody": []}
    for _ in range((tries + 39) // 40):
        with relay(delay="0s", failures=100, ban="6s", cache="0s") as daemon, RawClient(daemon) as client:
            for _ in range(40):
                for user, found in times.items():
                    code, took = login(client, user, "wrong battery")
                    assert code == 535, code
                    found.append(took)
    return {user: statistics.median(found) * 1000 for user, found in times.items()}


def guesses(seconds):
    """Tries that were judged in SECONDS, as fast as they can be made, by the defaults."""
    judged = made = 0
    with relay() as daemon, RawClient(daemon) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            code, _ = login(client, "shop", "wrong battery")
            made += 1
            judged += code == 535
    return made, judged


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--tries", type=int, default=400)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    os.environ["RELAYD_BUILD"] = os.path.abspath(options.build)
    found = medians(options.tries)
    apart = abs(found["shop"] - found["nobody"]) / found["shop"] * 100
    print(f"failed login, median of {options.tries}: {found['shop']:.2f} ms of a user, "
          f"{found['nobody']:.2f} ms of nobody, {apart:.2f} % apart (bound 5 %)")
    made, judged = guesses(options.seconds)
    print(f"guesses from one address in {options.seconds} s: {made} made, {judged} judged (bound 5 + 10 a minute)")
    return 0 if apart < 5 and judged <= 5 + options.seconds / 6 else 1


if __name__ == "__main__":
    sys.exit(main())
