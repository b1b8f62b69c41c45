"""kill -9 and SIGTERM under load: nothing that got its 250 is lost."""
import bisect
import os
import random
import re
import shutil
import signal
import statistics
import time
import unittest

from base import (FULL, Behaviour, Faults, Load, account, copies, share, text, wait_for_all,
                  wait_until)
from harness import RawClient, free_port
from sink import Sink

OUT = 10  # deliveries at a time
DUPLICATES = 0.5  # a kill, in the mean: the goal


class Kill(Faults):
    def stop(self, load, kills):
        """The end of LOAD: nobody was turned away, nobody was left without an answer but by
        one of the KILLS."""
        load.stop()
        self.assertEqual(load.refused, [])
        self.assertLessEqual(len(load.unsure), kills * len(load.threads))

    def duplicates(self, starts, kills):
        """What came twice, by the kill that ended the process which sent the first copy:
        {kill: [messages]}. The reply was on its way then, in one direction or the other,
        or the result on the way to the file."""
        found = {}
        for number, all_copies in copies(self.sink).items():
            if len(all_copies) == 1:
                continue
            first = all_copies[0]
            life = bisect.bisect(starts, first.opened) - 1
            self.assertTrue(life < len(kills) and kills[life] - 1 <= first.answered,
                            f"message {number} came at {[m.time for m in all_copies]}, "
                            f"without a kill near the first")
            found.setdefault(kills[life], []).append(first)
        return found

    def test_kill_9_under_load(self):
        self.sink = Sink()
        self.addCleanup(self.sink.close)
        program = self.release if FULL else self.relay  # its figure is of the real one
        relay = program(queue={"connections": OUT}, delivery={"port": self.sink.port},
                        spool={"segment_size": "64M"}).start()
        # a queue at all times, of which the end can be awaited
        load = Load(relay, clients=8, receiver=self.sink).start()
        starts = [0]
        kills = []
        for _ in range(share(1000, 50)):
            load.stopping.wait(random.uniform(0.05, 0.4))
            kills.append(time.monotonic())
            relay.kill()
            starts.append(time.monotonic())
            relay.start()
        self.stop(load, len(kills))
        wait_for_all(self.sink, load.promised)
        found = self.duplicates(starts, kills)
        early = sum(m.answered <= kill for kill, messages in found.items() for m in messages)
        print(f"     {len(kills)} kills: {len(load.promised)} promised, 0 lost, {early} duplicates "
              f"({early / len(kills):.2f} a kill) with a reply that the receiver had sent before "
              "the kill", flush=True)
        self.assert_few([len(found.get(kill, ())) for kill in kills])
        self.assertGreater(len(load.promised), len(kills))
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")
        self.assert_undamaged(relay, load)

    def assert_few(self, twice):
        """Of as many kills as TWICE has numbers. Where the goal is the truth, every other run
        is over it: what has to be under it is the mean less two standard errors, which one
        run of forty exceeds by chance."""
        mean = statistics.mean(twice)
        error = statistics.stdev(twice) / len(twice) ** 0.5
        print(f"     duplicates: {sum(twice)}, {mean:.3f} a kill (goal {DUPLICATES}), standard "
              f"error {error:.3f}", flush=True)
        self.assertLessEqual(max(twice), OUT)
        if FULL:
            self.assertLessEqual(mean - 2 * error, DUPLICATES)

    def assert_undamaged(self, relay, load):
        """A kill may cut a write short. Such a record's bytes are kept, nobody has to hear of
        them, and it was no promise yet."""
        self.assertEqual(relay.log(r" error damage "), [])
        self.assertEqual(relay.ctl("incidents"), [])
        for file in os.scandir(relay.spool + "/damaged"):
            with open(file, "rb") as f:
                numbers = set(map(int, re.findall(rb"^X-Number: (\d+)", f.read(), re.M)))
            self.assertEqual(numbers & load.promised, set(), file.name)

    def release_all(self, relay, load, kills):
        """The end of LOAD, of which all was deferred so far: it arrives."""
        self.stop(load, kills)
        self.assertEqual(account(self.receiver), {})
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        wait_for_all(self.receiver, load.promised)
        self.assert_undamaged(relay, load)

    def test_kill_9_with_everything_deferred(self):
        """Results, states and messages of a queue that does not move."""
        self.receiver.behaviour = Behaviour(rcpt=lambda n, a: "451 4.2.0 later")
        relay = self.relay().start()
        load = Load(relay).start()
        kills = share(100, 10)
        for _ in range(kills):
            load.stopping.wait(random.uniform(0.05, 0.3))
            relay.kill()
            relay.start()
        self.release_all(relay, load, kills)

    def test_kill_9_ever_later(self):
        """100 ms after the start, then 200 ms, ...: whatever it is at."""
        relay = self.relay().start()
        load = Load(relay, receiver=self.receiver).start()
        kills = share(50, 5)
        for step in range(1, kills + 1):
            load.stopping.wait(0.1 * step)
            relay.kill()
            relay.start()
        self.stop(load, kills)
        wait_for_all(self.receiver, load.promised)
        self.assert_undamaged(relay, load)

    def test_start_and_kill_9_each_100_ms(self):
        """Most of these processes have not finished their start; the queue is there yet."""
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 later")
        relay = self.relay().start()
        load = Load(relay).start()
        wait_until(lambda: len(load.promised) >= share(2000, 200), what="a queue")
        relay.kill()
        kills = share(50, 10)
        for _ in range(kills):
            relay.start(wait=False)
            load.stopping.wait(0.1)
            relay.kill()
        relay.start()
        self.release_all(relay, load, kills + 1)

    def test_terminate_at_once(self):
        """Whatever the first word after "is ready" is: it is an orderly end."""
        relay = self.relay()
        for number in (signal.SIGTERM, signal.SIGINT) * share(100, 5):
            relay.start(wait=False)
            relay.wait_log("is ready", since=relay.lines_before)
            relay.process.send_signal(number)
            self.assertEqual(relay.process.wait(10), 0)
            relay.reader.join(5)
            self.assertTrue(relay.lines[-1].endswith(" ended"), relay.lines[-1])

    def test_terminate_under_load_makes_no_duplicate(self):
        relay = self.relay().start()
        load = Load(relay).start()
        for _ in range(share(200, 10)):
            load.stopping.wait(random.uniform(0.05, 0.3))
            began = time.monotonic()
            self.assertEqual(relay.stop(), 0)
            self.assertLess(time.monotonic() - began, 5 if FULL else 10)
            relay.start()
        load.stop()
        self.assertEqual(load.unsure, set())  # whoever was let in got an answer
        self.assertEqual([r for r in load.refused if "421, b'4.3.2 relayd is shut" not in r], [])
        arrived = wait_for_all(self.receiver, load.promised)
        self.assertEqual([n for n, times in arrived.items() if len(times) > 1], [])

    def hang_up(self, relay, megabytes):
        """SIGHUP with another limit, and another port; that port, when both are in force."""
        port = free_port()
        relay.change(limits={"message_size": f"{megabytes}M"},
                     listen=({"address": "127.0.0.1", "port": relay.port},
                             {"address": "127.0.0.1", "port": port}))
        relay.write_conf()
        count = len(relay.log("is in force"))
        relay.process.send_signal(signal.SIGHUP)
        relay.wait_log("is in force", count=count + 1)
        with RawClient(relay, greet=False) as client:
            client.expect(220)
            self.assertIn(f"SIZE {megabytes << 20}", client.ask(b"EHLO c.example.jp", 250)[1])
        return port

    def begin_text(self, client, number):
        """In the middle of message NUMBER; the rest of that."""
        client.envelope(b"app@example.jp")
        client.ask(b"DATA", 354)
        whole = text(number, 20000).encode() + b".\r\n"
        client.send(whole[:10000])
        return whole[10000:]

    def test_hangup_under_load_drops_no_connection(self):
        """Each has another configuration. Beside the load one client says nothing most of the
        time, and one is in the middle of its text, at a port that goes with that SIGHUP."""
        relay = self.relay().start()
        load = Load(relay).start()
        idle = RawClient(relay)
        self.addCleanup(idle.close)
        rounds = share(200, 10)
        port = self.hang_up(relay, 1)
        held = set(range(1000000, 1000000 + rounds))
        for round_, number in enumerate(sorted(held)):
            load.stopping.wait(random.uniform(0.02, 0.1))
            with RawClient(relay, port=port) as writer:
                rest = self.begin_text(writer, number)
                port = self.hang_up(relay, round_ + 2)
                idle.ask(b"NOOP", 250)
                writer.send(rest)
                writer.expect(250)
                writer.ask(b"QUIT", 221)
        load.stop()
        idle.send(self.begin_text(idle, 0))
        idle.expect(250)
        self.assertEqual((load.refused, load.broken, load.unsure), ([], [], set()))
        self.assertGreater(len(load.promised), rounds)
        arrived = wait_for_all(self.receiver, load.promised | held | {0})
        self.assertEqual([n for n, times in arrived.items() if len(times) > 1], [])


@unittest.skipUnless(shutil.which("strace"), "strace is not installed")
class SlowDisk(Faults):
    def test_few_results_wait_for_a_slow_write(self):
        """A delivery keeps its place until its result is written."""
        self.receiver.behaviour = Behaviour(rcpt="451 4.2.0 not yet")
        relay = self.release(queue={"connections": 2, "backoff": ["1h"]}).start()
        promised = {n for n in range(1, 9) if self.send(relay, n)}
        self.assertEqual(len(promised), 8)
        relay.wait_log("result=deferred", count=8)
        tracer = self.inject(relay, "pwritev", "delay_enter=500000")
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(8, timeout=60)
        # what is delivered is not in the queue for people any more
        self.assertEqual([row for row in relay.ctl("queue", "list") if not row["to"]], [])
        relay.kill()
        tracer.wait(10)
        relay.start()
        relay.ctl("queue", "retry", "--all")
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")
        again = [n for n, times in account(self.receiver).items() if len(times) > 1]
        self.assertLessEqual(len(again), 2)

    def test_a_retry_while_results_are_written(self):
        """One recipient is done and the other is not; a person asks for it before that is on
        disk."""
        self.receiver.behaviour = Behaviour(
            rcpt=lambda _, to: "451 4.2.0 not yet" if to.startswith("late@") else None)
        relay = self.release(queue={"backoff": ["1h"]}).start()
        self.inject(relay, "pwritev", "delay_enter=1000000")
        relay.send("app@example.jp", ["soon@dest.test", "late@dest.test"], text(1, 200))
        relay.wait_log("to=soon@dest.test .*result=delivered")
        self.receiver.behaviour = Behaviour()
        row, = relay.ctl("queue", "retry", "--all")
        self.assertEqual((row["to"], row["result"]), (["late@dest.test"], "due now"))
        message = self.receiver.wait(2, timeout=60)[1]
        self.assertEqual(message.recipients, ["late@dest.test"])
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")


if __name__ == "__main__":
    unittest.main()
