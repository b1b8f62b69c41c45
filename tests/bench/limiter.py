# SPDX-License-Identifier: MIT
"""A receiver with a provider's limiter: N messages a minute from an address, then 421,
and when more than a few attempts ignore that, 5xx for an hour. Who keeps within it?

In real time, and both systems at once, each against a limiter of its own: relayd learns
a rate by the minute, so a minute that lasts two seconds would measure something else.
"""
import asyncio
import os
import re
import subprocess
import threading
import time

from systems import DOMAIN, Postfix, Relayd, source

MINUTE = 60
SLOW = b"421 4.7.0 Too many messages from your IP address, slow down\r\n"
BLOCKED = b"554 5.7.1 Your IP address has been blocked for sending too fast\r\n"
IGNORED_MAX = 40     # attempts over the limit in ten minutes; then comes the block
LEARNING = 10        # minutes that are counted apart
TO = "hanako@example.net"


class Limiter:
    """A token bucket of PER_MINUTE. Counts what it said, by minute since the beginning."""

    def __init__(self, per_minute):
        self.per_minute = per_minute
        self.tokens = float(per_minute)
        self.filled = self.began = time.monotonic()
        self.ignored = []
        self.blocked_until = 0
        self.blocked_time = 0
        self.said = []  # (minute, "taken" | "deferred" | "refused")
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)

    def begin(self):
        self.began = time.monotonic()

    def _note(self, what, now):
        self.said.append((int((now - self.began) // MINUTE), what))

    def _judge(self):
        """None: take it. Else the reply."""
        now = time.monotonic()
        if now < self.blocked_until:
            self._note("refused", now)
            return BLOCKED
        self.tokens = min(self.per_minute,
                          self.tokens + (now - self.filled) / MINUTE * self.per_minute)
        self.filled = now
        if self.tokens >= 1:
            self.tokens -= 1
            self._note("taken", now)
            return None
        self._note("deferred", now)
        self.ignored = [t for t in self.ignored if now - t < 10 * MINUTE] + [now]
        if len(self.ignored) > IGNORED_MAX:
            self.blocked_until = now + 60 * MINUTE
            self.blocked_from = now
            self.ignored = []
        return SLOW

    async def _serve(self, reader, writer):
        try:
            writer.write(b"220 limiter.test ESMTP\r\n")
            while line := await reader.readline():
                if not await self._answer(line.upper(), reader, writer):
                    break
            await writer.drain()
        except (OSError, ValueError):
            pass
        finally:
            writer.close()

    async def _answer(self, line, reader, writer):
        if line.startswith(b"EHLO"):
            writer.write(b"250-limiter.test\r\n250 8BITMIME\r\n")
        elif line.startswith(b"MAIL") and b"<>" not in line:
            reply = self._judge()
            writer.write(reply or b"250 2.1.0 ok\r\n")
            return reply != SLOW
        elif line.startswith(b"DATA"):
            writer.write(b"354 go on\r\n")
            while await reader.readline() not in (b".\r\n", b""):
                pass
            writer.write(b"250 2.0.0 taken\r\n")
        elif line.startswith(b"QUIT"):
            writer.write(b"221 2.0.0 bye\r\n")
            return False
        else:
            writer.write(b"250 2.0.0 ok\r\n")
        return True

    def count(self, what, since=0):
        return sum(1 for minute, said in self.said if said == what and minute >= since)

    def blocked(self):
        """Seconds."""
        end = min(time.monotonic(), self.blocked_until)
        return max(0, end - self.blocked_from) if self.blocked_until else 0


def bounced_by_postfix(system):
    with open(os.path.join(system.folder, "maillog"), errors="replace") as f:
        return len(re.findall(rf"to=<{re.escape(TO)}>.* status=bounced", f.read()))


def bounced_by_relayd(system):
    done = subprocess.run([os.path.join(system.build, "relayctl"), "-s", system.control, "status"],
                          stdout=subprocess.PIPE, text=True)
    return int(re.search(r"^bounced\s+(\d+)", done.stdout, re.M).group(1))


def row(limiter, bounced, minutes):
    after = [limiter.count(what, LEARNING) for what in ("taken", "deferred", "refused")]
    allowed = limiter.per_minute * (minutes - LEARNING)
    return {"delivered": limiter.count("taken"),
            "of the limit": limiter.count("taken") / (limiter.per_minute * (minutes + 1)),
            "then": after[0] / allowed if allowed > 0 else 0,
            "put off": limiter.count("deferred"),
            "share then": (after[1] + after[2]) / max(1, sum(after)),
            "refused": limiter.count("refused"), "blocked s": limiter.blocked(),
            "bounced": bounced}


def bench(say, options, place):
    minutes, per_minute = options.limited, 60
    limiters = [Limiter(per_minute), Limiter(per_minute)]
    made = [("Postfix", Postfix(os.path.join(place.path, "limited-p"), limiters[0].port),
             bounced_by_postfix),
            ("relayd", Relayd(os.path.join(place.path, "limited-r"), limiters[1].port,
                              options.build), bounced_by_relayd)]
    count = int(per_minute * minutes * 1.3)
    rows = {}
    try:
        for (_, system, _), limiter in zip(made, limiters):
            system.start()
            limiter.begin()
            source(system.port, count, 20, 1024, True).wait()
        time.sleep(minutes * MINUTE)
        for (name, system, bounced), limiter in zip(made, limiters):
            rows[name] = row(limiter, bounced(system), minutes)
    finally:
        for (_, system, _), limiter in zip(made, limiters):
            system.stop()
            limiter.close()
    table(say, rows, count, minutes, per_minute)


def table(say, rows, count, minutes, per_minute):
    say(f"\nA limiter: {per_minute} messages a minute, then 421, and 5xx for an hour after "
        f"{IGNORED_MAX} ignored ones;\n{count} messages of {DOMAIN} at once, {minutes} minutes of "
        f"real time, both systems beside each other")
    say(f"{'':10}{'delivered':>11}{'of allowed':>12}{'put off':>9}{'refused':>9}{'blocked':>9}"
        f"{'bounced':>9}   after {LEARNING} minutes: of allowed, put off or refused")
    for name, r in rows.items():
        say(f"{name:10}{r['delivered']:11}{r['of the limit']:12.0%}{r['put off']:9}"
            f"{r['refused']:9}{r['blocked s']:7.0f} s{r['bounced']:9}   {r['then']:29.0%}"
            f"{r['share then']:16.1%}")
    ours, theirs = rows["relayd"], rows["Postfix"]
    say(f"relayd / Postfix: delivered {ours['delivered'] / max(1, theirs['delivered']):.1f} x; "
        f"bounced {ours['bounced']} and {theirs['bounced']}")
    met = ours["bounced"] == 0 and ours["blocked s"] == 0 and ours["share then"] < 0.02
    say(f"goal {'met' if met else 'MISSED'}: relayd is never blocked, bounces nothing, and has "
        f"{ours['share then']:.1%} put off after {LEARNING} minutes (wanted: under 2 %)")
