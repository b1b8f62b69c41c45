"""kill -9 and SIGTERM under load: nothing that got its 250 is lost."""
import random
import signal
import time
import unittest

from base import Behaviour, Faults, Load, account, copies, share, wait_for_all, wait_until


class Kill(Faults):
    def assert_duplicates_explained(self, arrived, kills, kinds):
        """A second copy is right only when the first one's reply was on its way as
        the daemon died: so its first copy came shortly before a kill."""
        again = {n: times for n, times in arrived.items() if len(times) > 1}
        for number, times in again.items():
            near = [k for k in kills if times[0] - 0.05 <= k <= times[0] + 1.0]
            self.assertTrue(near, f"message {number} came {len(times)} times, at {times}, "
                                  f"without a {kinds} near the first")
        return len(again)

    def answered_before(self, kills):
        """How many that came twice had their reply on the way before the daemon was
        killed; the others' replies found nobody."""
        def nearest(moment):
            return min(kills, key=lambda kill: abs(kill - moment))
        firsts = [all_copies[0].answered for all_copies in copies(self.receiver).values()
                  if len(all_copies) > 1]
        return sum(1 for moment in firsts if moment <= nearest(moment))

    def test_kill_9_under_load(self):
        relay = self.relay().start()
        load = Load(relay).start()
        kills = []
        for _ in range(share(1000, 50)):
            load.stopping.wait(random.uniform(0.05, 0.4))
            kills.append(time.monotonic())
            relay.kill()
            relay.start()
        load.stop()
        arrived = wait_for_all(self.receiver, load.promised)
        twice = self.assert_duplicates_explained(arrived, kills, "kill")
        early = self.answered_before(kills)
        print(f"     {len(kills)} kills: {len(load.promised)} promised, 0 lost, {twice} duplicates "
              f"({twice / len(kills):.2f} a kill), {early} of them with a reply that the receiver "
              f"had sent before the kill ({early / len(kills):.2f} a kill)", flush=True)
        self.assertGreater(len(load.promised), len(kills))
        wait_until(lambda: relay.ctl("queue", "list") == [], what="an empty queue")

    def test_kill_9_with_everything_deferred(self):
        """Results, states and messages of a queue that does not move."""
        self.receiver.behaviour = Behaviour(rcpt=lambda n, a: "451 4.2.0 later")
        relay = self.relay().start()
        load = Load(relay).start()
        for _ in range(share(100, 10)):
            load.stopping.wait(random.uniform(0.05, 0.3))
            relay.kill()
            relay.start()
        load.stop()
        self.assertEqual(account(self.receiver), {})
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        wait_for_all(self.receiver, load.promised)

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
            self.assertLess(time.monotonic() - began, 10)
            relay.start()
        load.stop()
        arrived = wait_for_all(self.receiver, load.promised)
        self.assertEqual([n for n, times in arrived.items() if len(times) > 1], [])

    def test_hangup_under_load_drops_no_connection(self):
        relay = self.relay().start()
        load = Load(relay).start()
        for round_ in range(share(200, 10)):
            load.stopping.wait(random.uniform(0.02, 0.1))
            relay.process.send_signal(1)
            relay.wait_log("reload: ", count=round_ + 1)
        load.stop()
        self.assertEqual(load.unsure, set())
        arrived = wait_for_all(self.receiver, load.promised)
        self.assertEqual([n for n, times in arrived.items() if len(times) > 1], [])


if __name__ == "__main__":
    unittest.main()
