"""relayctl against the daemon: every command, its exit status, rights, and clients that
do not behave."""
import glob
import grp
import json
import os
import pwd
import select
import signal
import socket
import stat
import subprocess
import threading
import unittest

from harness import HANG, Behaviour, build_dir, wait_until
from harness.case import TEXT, Case, needs_open_tree
from harness.relay import ROOT, free_port

ID = r"^[0-9a-f]{16}$"
LATER = Behaviour(rcpt="451 4.2.0 <user@dest.test> not now, try again in 3 hours")


class Control(Case):
    def waiting_relay(self, count=1, **settings):
        """A relay with COUNT messages that were put off."""
        self.receiver.behaviour = LATER
        relay = self.relay(**settings).start()
        for i in range(count):
            relay.send(f"u{i}@example.jp", f"user{i}@dest.test", TEXT)
        relay.wait_log("result=deferred", count)
        wait_until(lambda: all(r["state"] == "waiting" for r in relay.ctl("queue", "list")))
        return relay, [r["id"] for r in relay.ctl("queue", "list")]

    def fails(self, relay, *words, status=1, says=""):
        done = relay.run_ctl(*words)
        self.assertEqual(done.returncode, status, (words, done.stdout, done.stderr))
        self.assertIn(says, done.stderr)
        self.assertTrue(done.stderr.startswith(("relayctl: ", "usage: ")), done.stderr)


class Queue(Control):
    def test_list(self):
        relay, ids = self.waiting_relay(3)
        rows = relay.ctl("queue", "list")
        self.assertEqual([r["from"] for r in rows], [f"u{i}@example.jp" for i in range(3)])
        for row in rows:
            self.assertRegex(row["id"], ID)
            self.assertEqual(row["state"], "waiting")
            self.assertGreater(row["next"], 3 * 3600 - 60)
            self.assertIn("mx.dest.test: 451 4.2.0 <user@dest.test> not now", row["last"])
            self.assertGreater(row["size"], len(TEXT))
        # --json may stand anywhere
        for words in (("queue", "list", "--json", "--all"), ("queue", "--json", "list"),
                      ("queue", "list", "--all", "--json")):
            lines = relay.run_ctl(*words).stdout.splitlines()
            self.assertEqual([json.loads(line)["id"] for line in lines], ids, words)
        table = relay.run_ctl("queue", "list").stdout.splitlines()
        self.assertRegex(table[0], r"^id +age +size +state +next +from +to +last$")
        self.assertEqual(len(table), 4)
        self.assertIn("3h", table[1])

    def test_empty_list(self):
        relay = self.relay().start()
        self.assertEqual(relay.ctl("queue", "list"), [])
        self.assertEqual(relay.ctl("destinations"), [])
        for words in (["destinations"], ["reputation"], ["reputation", "unknown"], ["incidents"], ["brake"],
                      ["queue", "list"]):
            done = relay.run_ctl(*words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertRegex(done.stdout, r"^[A-Z].*\.\n$", words)
        self.assertEqual(relay.run_ctl("queue", "list").stdout, "The queue is empty.\n")
        self.assertEqual(relay.run_ctl("queue", "delete", "--all").stdout, "No message fits.\n")

    def test_selectors(self):
        self.names.mail_host("other.test", "mx.other.test", "127.0.0.1")
        relay, ids = self.waiting_relay(2)
        relay.send("u9@example.jp", ["x@other.test", "y@dest.test"], TEXT)
        relay.wait_log("result=deferred", 4)

        def found(*words):
            return [r["from"][:2] for r in relay.ctl("queue", "list", *words)]
        self.assertEqual(found("--domain", "dest.test"), ["u0", "u1", "u9"])
        self.assertEqual(found("--domain", "OTHER.test"), ["u9"])
        self.assertEqual(found("--domain", "x@other.test"), ["u9"])
        self.assertEqual(found("--domain", "est.test"), [])
        self.assertEqual(found("--sender", "u1@example.jp"), ["u1"])
        self.assertEqual(found("--older", "1h"), [])
        self.assertEqual(found("--all"), ["u0", "u1", "u9"])
        self.assertEqual(found(ids[1]), ["u1"])
        self.assertEqual(found("--sender", "u1@example.jp", "--domain", "other.test"), [])
        # a dot ends a name in zone files; a domain alone is that of the sender
        for words in (["--domain", "other.test."], ["--domain", "x@other.test."]):
            self.assertEqual(found(*words), ["u9"], words)
        self.assertEqual(found("--sender", "u1@example.jp."), ["u1"])
        for domain in ("example.jp", "EXAMPLE.jp."):
            self.assertEqual(found("--sender", domain), ["u0", "u1", "u9"])
        self.assertEqual(found("--sender", "ample.jp"), [])
        relay.send("", "user@dest.test", TEXT)
        relay.wait_log("result=deferred", 5)
        for nobody in ("", "<>"):
            self.assertEqual(found("--sender", nobody), [""])

    def test_a_name_has_two_spellings(self):
        """Letters outside of ASCII and xn-- are the same domain, whichever the sender wrote."""
        self.names.mail_host("xn--bcher-kva.test", "mx.other.test", "127.0.0.1")
        relay, _ = self.waiting_relay()
        relay.send("u8@example.jp", "x@xn--bcher-kva.test", TEXT)
        relay.send("u9@example.jp", "x@b\u00fccher.test", TEXT, mail_options=["SMTPUTF8"])
        relay.wait_log("result=deferred", 2)
        self.waits_for_both(relay, "--domain", "b\u00fccher.test", "B\u00dcCHER.test.", "xn--bcher-kva.test",
                            "x@b\u00fccher.test", "X@B\u00dcCHER.test", "x@xn--bcher-kva.test", "x@XN--bcher-kva.test")
        for what in ("y@b\u00fccher.test", "b\u00fcher.test", "xn--nonsense-.test", "b\u00fc cher.test"):
            self.assertEqual(relay.ctl("queue", "list", "--domain", what), [])
        self.assertEqual(len(relay.ctl("why", "b\u00fccher.test")), 2)

    def waits_for_both(self, relay, option, *spellings):
        for what in spellings:
            self.assertEqual([r["from"][:2] for r in relay.ctl("queue", "list", option, what)], ["u8", "u9"],
                             what)

    def test_show_and_cat(self):
        self.receiver.behaviour = LATER
        relay = self.relay().start()
        text = TEXT + b"\xff\x00".replace(b"\x00", b"\x01") + b"8-bit line\r\n.dot\r\n"
        relay.send("www@web01", "user@dest.test", text, mail_options=["BODY=8BITMIME"])
        row = self.waiting(relay)
        facts = relay.ctl("queue", "show", row["id"])
        fact = {f["what"]: f["value"] for f in facts}
        self.assertEqual(fact["id"], row["id"])
        self.assertEqual(fact["from"], "bounce@example.jp")
        self.assertEqual(fact["from_was"], "www@web01")
        self.assertEqual(fact["recipient"]["address"], "user@dest.test")
        self.assertEqual(fact["recipient"]["attempts"], 1)
        self.assertEqual(fact["pending"], 1)
        self.assertIn("not now", fact["last_answer"])
        done = subprocess.run([relay.program("relayctl"), "-s", relay.control, "queue", "cat",
                               row["id"]], capture_output=True, check=True)
        self.assertTrue(done.stdout.endswith(text[len(TEXT):]), done.stdout[-100:])
        self.assertIn(b"Received: from", done.stdout)
        # what is sent is what was shown
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", row["id"])
        message, = self.receiver.wait(1)
        self.assertEqual(message.data, done.stdout)

    def test_hold_release_retry_delete(self):
        relay, ids = self.waiting_relay(4)
        self.receiver.behaviour = Behaviour()
        rows = relay.ctl("queue", "hold", ids[0], ids[1])
        self.assertEqual([(r["id"], r["result"]) for r in rows], [(i, "held") for i in ids[:2]])
        rows = relay.ctl("queue", "retry", "--all")
        self.assertEqual([r["result"] for r in rows],
                         ["held: release it first"] * 2 + ["due now"] * 2)
        self.receiver.wait(2)
        wait_until(lambda: len(relay.ctl("queue", "list")) == 2)
        # who names one that can not be tried has not got what he asked for
        done = relay.run_ctl("queue", "retry", *ids[:2])
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr.splitlines(),
                         [f"relayctl: {i}: held: release it first" for i in ids[:2]])
        row, = relay.ctl("queue", "release", "--sender", "u0@example.jp")
        self.assertEqual((row["id"], row["result"], row["to"]),
                         (ids[0], "released", ["user0@dest.test"]))
        row, = relay.ctl("queue", "release", ids[0])
        self.assertEqual(row["result"], "was not held")
        relay.ctl("queue", "retry", ids[0])
        self.receiver.wait(3)
        row, = relay.ctl("queue", "delete", "--domain", "dest.test")
        self.assertEqual(row["result"], "deleted")
        self.gone(relay)
        # nobody is told, and nothing comes back
        relay.kill()
        relay.start()
        self.assertEqual(relay.ctl("queue", "list"), [])
        self.assertEqual(len(self.receiver.messages), 3)

    def test_one_that_can_not_be_read(self):
        """Who names it may hold and delete it; what else it would fit is not known."""
        relay, ids = self.waiting_relay(2)
        for path in glob.glob(f"{relay.spool}/*.log"):
            with open(path, "r+b") as f:
                at = f.read().find(b"user0@dest.test")
                if at >= 0:
                    f.seek(at)
                    f.write(b"#")
        done = relay.run_ctl("queue", "hold", "--all")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{ids[0]}: message {ids[0]}: its record", done.stderr)
        self.assertEqual([(r["id"], r["result"], r["to"]) for r in relay.ctl("queue", "hold", ids[0])],
                         [(ids[0], "held", [])])
        self.assertEqual([r["result"] for r in relay.ctl("queue", "delete", *ids)], ["deleted"] * 2)
        self.gone(relay)
        relay.wait_log(f"admin action=\"queue delete\" uid={os.geteuid()} id={ids[0]} recipients=1$")

    def test_words_that_are_not_utf8(self):
        """Without such a word the others would ask for something else."""
        relay, _ = self.waiting_relay()
        self.fails(relay, "queue", "hold", b"\xff", "--all", status=2, says='"\\xff" is not UTF-8')
        self.fails(relay, "queue", "delete", "--all", "--sender\udcff", status=2, says="not UTF-8")
        self.assertEqual(relay.ctl("queue", "list")[0]["state"], "waiting")

    def test_hold_survives_a_restart(self):
        relay, ids = self.waiting_relay()
        relay.ctl("queue", "hold", "--all")
        self.receiver.behaviour = Behaviour()
        relay.stop()
        relay.start()
        row, = relay.ctl("queue", "list")
        self.assertEqual(row["state"], "held")
        relay.ctl("queue", "release", ids[0])
        relay.ctl("queue", "retry", ids[0])
        self.receiver.wait(1)

    def test_what_was_deleted_stays_so(self):
        """Also when an attempt is under way, and the spool moves old mail and forgets old notes."""
        self.names.mail_host("slow.test", "mx.slow.test", "127.0.0.2")
        slow = self.another_receiver("127.0.0.2", Behaviour(banner=HANG), self.receiver.port)
        relay = self.relay(spool={"segment_size": "64K", "big_message": "32K"}).start()
        relay.send("a@example.jp", "user@slow.test", TEXT)
        slow.wait_for(lambda r: r.connections == 1)
        row, = relay.ctl("queue", "list")
        relay.ctl("queue", "delete", row["id"])
        first = min(n for n in os.listdir(relay.spool) if n.endswith(".log"))
        for i in range(12):
            relay.send("a@example.jp", f"user{i}@dest.test", TEXT + b"text\r\n" * 3000)
        wait_until(lambda: relay.ctl("queue", "list")[1:] == [], what="delivery of the others")
        wait_until(lambda: first not in os.listdir(relay.spool), what="the first segment to go")
        relay.kill()
        relay.start()
        self.assertEqual(relay.ctl("queue", "list"), [])

    def test_delete_while_it_is_being_sent(self):
        release = threading.Event()
        self.addCleanup(release.set)

        def slow(number, argument):
            release.wait(30)
            return "451 4.3.0 not now"
        self.receiver.behaviour = Behaviour(end=slow)
        relay = self.relay().start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait_for(lambda r: "DATA" in r.commands)
        row, = relay.ctl("queue", "list")
        self.assertEqual(row["state"], "running")
        relay.ctl("queue", "delete", row["id"])
        release.set()
        self.gone(relay)

    def test_hold_while_it_is_connected(self):
        release = threading.Event()
        self.addCleanup(release.set)
        self.receiver.behaviour = Behaviour(banner=lambda n, a: release.wait(30) and None)
        relay = self.relay().start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait_for(lambda r: r.connections == 1)
        row, = relay.ctl("queue", "list")
        relay.ctl("queue", "hold", row["id"])
        release.set()
        wait_until(lambda: relay.ctl("queue", "list")[0]["state"] == "held", what="the hold")
        self.assertEqual(self.receiver.messages, [])
        relay.ctl("queue", "release", row["id"])
        self.receiver.wait(1, timeout=5)  # it was no attempt: no ladder
        self.gone(relay)

    def test_messages_that_are_not_there(self):
        relay, ids = self.waiting_relay(2)
        none = "0123456789abcdef"
        for command in ("show", "cat", "hold", "release", "retry", "delete", "list"):
            self.fails(relay, "queue", command, none, says=f"no message {none} in the queue")
        # of several, the others are dealt with
        done = relay.run_ctl("--json", "queue", "delete", ids[0], none, ids[1])
        self.assertEqual(done.returncode, 1)
        self.assertIn(none + ": not in the queue", done.stderr)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([r.get("result") for r in rows], ["deleted", None, "deleted"])

    def test_wrong_usage(self):
        relay, ids = self.waiting_relay()
        for command in ("hold", "release", "retry", "delete"):
            self.fails(relay, "queue", command, status=2, says="which messages?")
        self.fails(relay, "queue", "list", "--older", "soon", status=2, says="duration")
        self.fails(relay, "queue", "list", "--domain", status=2, says="needs a value")
        for words in (["--what", "x"], ["--what"]):
            self.fails(relay, "queue", "list", *words, status=2, says="--what is not known")
        self.fails(relay, "queue", "delete", "--domain", "a.test", "--domain", "b.test", status=2,
                   says="--domain can be given once only")
        self.fails(relay, "queue", "list", "--older", "1h", "--older", "2h", status=2,
                   says="--older can be given once only")
        for words, says in ((["-x", "status"], "there is no option -x"), (["-s"], "is missing behind -s"),
                            (["--jsn", "status"], "there is no option --jsn")):
            self.fails(relay, *words, status=2, says=says)
        for words in (["status", "-s", "x"], ["queue", "list", "-f", "x"], ["config", "check", "-f", "x"]):
            self.fails(relay, *words, status=2, says=f"before the command stands {words[-2]}")
        self.fails(relay, "queue", "delete", "--all", ids[0], status=2, says="not both")
        self.fails(relay, "queue", "show", status=2, says="give one queue id")
        self.fails(relay, "queue", "show", "x", status=2, says="give one queue id")
        self.fails(relay, "queue", "frob", status=2, says="there are:\n  queue list")
        self.fails(relay, "frob", status=2, says="no command \"frob\"")
        self.fails(relay, "frob", status=2, says="usage: relayctl ")
        self.fails(relay, "status", "now", status=2, says="takes no arguments")
        self.fails(relay, "why", status=2, says="why takes one")
        self.fails(relay, "log", "-x", status=2, says="log takes -f")
        done = relay.run_ctl()
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage: relayctl", done.stderr)
        self.assertEqual(len(relay.ctl("queue", "list")), 1)

    def test_why(self):
        relay, ids = self.waiting_relay()
        for what in (ids[0], "user0@dest.test", "dest.test", "DEST.test"):
            done = relay.run_ctl("why", what)
            self.assertEqual(done.returncode, 0)
            for piece in (ids[0], "user0@dest.test", "waiting, 1 attempt so far",
                          "tried again in 3h", "returned to the sender in 4d", "not now",
                          "means", f"relayctl queue retry {ids[0]}"):
                self.assertIn(piece, done.stdout)
            self.assertLess(len(done.stdout.splitlines()), 24)
            self.assertLessEqual(max(map(len, done.stdout.splitlines())), 78)
        row, = relay.ctl("why", ids[0])
        self.assertTrue(row["means"] and row["do"])
        for what in ("nobody@dest.test", "other.test", "localhost", "0123456789abcdef"):
            done = relay.run_ctl("why", what)
            self.assertEqual(done.returncode, 0)
            self.assertIn("it was delivered, returned, deleted or never came in", done.stdout)
            self.assertEqual("queue list --sender " + what in done.stdout, what[0] != "0")
        # it asks for recipients; that nothing waits would not be true of the sender's mail
        for what in ("u0@example.jp", "example.jp"):
            done = relay.run_ctl("why", what)
            self.assertIn(f"No mail to {what} is in the queue", done.stdout)
            self.assertIn(f"queue list --sender {what}", done.stdout)
            self.assertLessEqual(max(map(len, done.stdout.splitlines())), 78)
        relay.ctl("queue", "hold", ids[0])
        self.assertIn(f"relayctl queue release {ids[0]}", relay.run_ctl("why", ids[0]).stdout)

    def test_why_of_many_is_one_screen(self):
        relay, ids = self.waiting_relay(12)
        shown = relay.run_ctl("why", "dest.test").stdout
        self.assertIn("and 9 more; see them with relayctl queue list --domain dest.test", shown)
        self.assertEqual([i for i in ids if i in shown], ids[:3])  # the oldest
        self.assertLess(len(shown.splitlines()), 45)
        self.assertEqual(len(relay.ctl("why", "dest.test")), 12)

    def test_why_names_a_pause(self):
        port = self.receiver.port
        self.receiver.close()
        relay = self.relay({"port": port}).start()
        for i in range(3):
            relay.send("a@example.jp", f"user{i}@dest.test", TEXT)
        relay.wait_log("result=deferred", 2)
        wait_until(lambda: relay.ctl("destinations")[0]["paused"] > 0, what="the pause")
        self.assertIn("nobody answers for dest.test", relay.run_ctl("why", "dest.test").stdout)

    def test_why_tells_a_pace_from_a_pause(self):
        """A receiver that gets only so many a minute answers all the same."""
        relay = self.relay()
        os.makedirs(relay.folder + "/replies.d")
        with open(relay.folder + "/replies.d/slow.conf", "w") as f:
            f.write('providers = ( { id = "slow"; mx = [ "mx.dest.test" ]; per_minute = 8; } );\n')
        relay.start()
        for i in range(3):
            relay.send("a@example.jp", f"user{i}@dest.test", TEXT)
        wait_until(lambda: [r for r in relay.ctl("queue", "list") if r["state"] == "paused"
                            and r["next"] > 1], what="mail that waits for its turn")
        shown = relay.run_ctl("why", "dest.test").stdout
        self.assertIn("when its turn comes", " ".join(shown.split()))
        self.assertNotIn("nobody answers", shown)

    def test_what_waits_for_a_pause_says_so(self):
        port = self.receiver.port
        self.receiver.close()
        relay = self.relay({"port": port}, queue={"backoff": ["1h"]}).start()
        for i in range(3):
            relay.send("a@example.jp", f"user{i}@dest.test", TEXT)
        wait_until(lambda: relay.ctl("destinations")[0]["paused"] > 0, what="the pause")
        relay.send("b@example.jp", "user@dest.test", TEXT)
        wait_until(lambda: relay.ctl("destinations")[0]["running"] == 0, what="a pause of all")
        row, = relay.ctl("queue", "list", "--sender", "b@example.jp")
        paused = relay.ctl("destinations")[0]["paused"]
        self.assertEqual(row["state"], "paused")
        self.assertGreaterEqual(row["next"], paused)
        recipient = {f["what"]: f["value"] for f in relay.ctl("queue", "show", row["id"])}["recipient"]
        self.assertEqual(recipient["state"], "paused")
        self.assertAlmostEqual(recipient["next_s"], paused, delta=60)
        # none is said to be tried before the pause is over
        self.assertGreater(min(r["next"] for r in relay.ctl("queue", "list")), paused - 60)
        shown = relay.run_ctl("why", row["id"]).stdout
        self.assertIn("paused, 0 attempts so far", shown)
        self.assertIn(f"relayctl queue retry {row['id']}", shown)

    def test_why_speaks_of_now(self):
        """A message that waits was not returned: the words of a report would be wrong."""
        self.receiver.behaviour = Behaviour(rcpt="451 4.7.1 Greylisted, please try again later")
        relay = self.relay().start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        row, = relay.ctl("why", self.waiting(relay)["id"])
        self.assertEqual((row["category"], row["means"]), (
            "greylisted", "The receiving side asks unknown senders to come back later."))
        self.receiver.behaviour = Behaviour(rcpt="451 4.3.0 out of order")
        relay.ctl("queue", "retry", "--all")
        relay.wait_log("result=deferred", 2)
        row, = relay.ctl("why", row["id"])
        self.assertEqual(row["category"], "server-busy")
        self.assertIn("at the moment", row["means"])

    def test_a_big_message_is_shown_in_pieces(self):
        """30 MB come whole, and meanwhile others are served."""
        self.receiver.behaviour = LATER
        relay = self.relay(limits={"message_size": "64M"}).start()
        body = b"".join(b"%08d " % i + b"x" * 60 + b"\r\n" for i in range(430000))
        relay.send("a@example.jp", "user@dest.test", TEXT + body)
        row = self.waiting(relay)
        before = self.memory(relay)
        sleepers = [self.ask(relay, "queue", "cat", row["id"]) for _ in range(10)]
        try:
            # ten readers that sleep: the daemon has not read the message for them, which
            # would be 400 MB (the sanitizer keeps what was freed, too)
            self.assertEqual(relay.ctl("status")[0]["what"], "version")
            self.assertLess(self.memory(relay) - before, 150000)
            done = subprocess.run([relay.program("relayctl"), "-s", relay.control, "queue", "cat",
                                   row["id"]], capture_output=True, check=True)
        finally:
            for sock in sleepers:
                sock.close()
        self.assertTrue(done.stdout.endswith(b"\r\n\r\nThe text.\r\n" + body))
        with open("/dev/full", "w") as full:
            done = subprocess.run([relay.program("relayctl"), "-s", relay.control, "queue", "cat",
                                   row["id"]], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No space left", done.stderr)

    def memory(self, relay):
        """Of the daemon, in KiB."""
        with open(f"/proc/{relay.process.pid}/status") as status:
            return int(next(l for l in status if l.startswith("VmRSS")).split()[1])

    def ask(self, relay, *words):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(relay.control)
        sock.sendall(json.dumps(words).encode() + b"\n")
        return sock

    def test_a_long_list_while_mail_flows(self):
        """20,000 messages: the list is whole, it is in order, and mail goes on."""
        relay = self.relay(limits={"recipients": 1000, "messages_per_connection": 0}).start()
        self.names.servfail.add("slow.test")
        count = 20000
        with relay.smtp() as client:
            client.ehlo()
            sent = 0
            while sent < count:
                batch = b"".join(b"MAIL FROM:<u%d@example.jp>\r\nRCPT TO:<x@slow.test>\r\nDATA\r\n"
                                 % (sent + i) for i in range(1))
                client.sock.sendall(batch)
                for _ in range(3):
                    client.getreply()
                client.sock.sendall(b"Subject: x\r\n\r\nx\r\n.\r\n")
                code, text = client.getreply()
                self.assertEqual(code, 250, text)
                sent += 1
        rows = []
        thread = threading.Thread(target=lambda: rows.extend(relay.ctl("queue", "list")))
        thread.start()
        for i in range(20):
            relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(20)
        thread.join()
        names = [r["from"] for r in rows if r["to"] == ["x@slow.test"]]
        self.assertEqual(names, [f"u{i}@example.jp" for i in range(count)])
        # printed to somebody who stops reading
        done = subprocess.run(f"{relay.program('relayctl')} -s {relay.control} queue list | head -3",
                              shell=True, capture_output=True, text=True, timeout=60)
        self.assertEqual((len(done.stdout.splitlines()), done.stderr), (3, ""))
        # hold them all: as many rows
        self.assertEqual(len(relay.ctl("queue", "hold", "--domain", "slow.test")), count)
        self.assertEqual(len(relay.ctl("queue", "delete", "--all")), count)
        self.gone(relay)


class Daemon(Control):
    def test_status_and_destinations(self):
        relay, ids = self.waiting_relay(2)
        fact = {f["what"]: f["value"] for f in relay.ctl("status")}
        self.assertEqual(fact["queue_messages"], 2)
        self.assertEqual(fact["accepted"], 2)
        self.assertEqual(fact["deferred"], 2)
        row, = relay.ctl("destinations")
        self.assertEqual((row["destination"], row["waiting"]), ("dest.test", 2))
        self.assertIn("queue_messages", relay.run_ctl("status").stdout)

    def test_good_reload(self):
        relay, ids = self.waiting_relay(queue={"lifetime": "5d"})
        relay.change(hostname="renamed.example.jp")
        relay.write_conf()
        self.assertEqual(relay.ctl("reload"), [])
        with relay.smtp() as client:
            self.assertIn(b"renamed.example.jp", client.ehlo()[1])
        relay.change(hostname="again.example.jp")
        relay.write_conf()
        relay.process.send_signal(signal.SIGHUP)
        relay.wait_log("is in force", 2)
        with relay.smtp() as client:
            self.assertIn(b"again.example.jp", client.ehlo()[1])
        self.assertEqual(len(relay.ctl("queue", "list")), 1)

    def test_what_a_reload_leaves_as_it_was_is_said(self):
        relay = self.relay().start()
        relay.change(dns={"servers": ["127.0.0.1@9"]},  # another one, and as many
                     hostname="relay")
        relay.write_conf()
        fixed = "reload: dns changes with the next start only"
        servers = [self.names.server]
        rows = relay.ctl("reload")
        self.assertEqual(rows[0], {"warning": fixed})
        self.assertIn('hostname: "relay" is not a name', rows[1]["warning"])
        self.assertEqual(len(rows), 2)
        relay.wait_log(fixed)
        relay.change(dns={"servers": ["127.0.0.1@10"]})
        relay.write_conf()
        done = relay.run_ctl("reload")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.splitlines()[:2], ["warning", fixed])
        # as long as it is so, and no longer
        self.assertEqual(relay.ctl("reload")[0], {"warning": fixed})
        relay.change(dns={"servers": servers})
        relay.write_conf()
        self.assertEqual(len(relay.ctl("reload")), 1)
        relay.change(dns={"servers": ["127.0.0.1@10"]})
        relay.write_conf()
        relay.ctl("reload")
        self.assertIn("is not a name that others can look up", done.stdout)

    def test_a_reload_changes_the_level_of_the_log(self):
        relay = self.relay().start()
        for sender, level in (("quiet", "warn"), ("loud", "info")):
            relay.change(log_level=level)
            relay.write_conf()
            self.assertEqual(relay.ctl("reload"), [])
            relay.send(f"{sender}@example.jp", "user@dest.test", TEXT)
        relay.wait_log("info accept .* from=loud@example.jp ")
        self.assertEqual(relay.log("info accept .* from=quiet@example.jp"), [])

    def test_bad_reload_keeps_the_old_one(self):
        relay = self.relay().start()
        with open(relay.conf, "a") as f:
            f.write("hostnam = \"x\";\nqueue = { lifetime = \"for ever\"; };\n")
        done = relay.run_ctl("reload")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the old configuration stays in force", done.stderr)
        self.assertIn("hostnam", done.stdout)
        relay.process.send_signal(signal.SIGHUP)
        relay.wait_log("reload failed", 2)
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        os.unlink(relay.conf)
        self.fails(relay, "reload", says="stays in force")

    def test_bad_reload_opens_no_port(self):
        """Of two new listeners one can not be opened: then the other is not either."""
        relay = self.relay().start()
        new = free_port()
        with socket.create_server(("127.0.0.1", 0)) as other:
            relay.change(listen=relay.settings["listen"] + tuple(
                {"address": "127.0.0.1", "port": port} for port in (new, other.getsockname()[1])))
            relay.write_conf()
            self.assertIn("Address already in use", relay.run_ctl("reload").stdout)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", new))
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)

    def test_reload_says_what_it_can_not_change(self):
        relay = self.relay().start()
        for key, value in (("segment_size", "8M"), ("big_message", "512K"), ("memory", "64M")):
            relay.change(spool={key: value})
            relay.write_conf()
            count = len(relay.log("spool changes with the next start only"))
            self.assertEqual(relay.ctl("reload"),
                             [{"warning": "reload: spool changes with the next start only"}])
            relay.wait_log("spool changes with the next start only", count + 1)

    def test_log(self):
        relay = self.relay().start()
        relay.send("a@example.jp", '"a\\\\b"@dest.test', TEXT)
        relay.send("a@example.jp", "user@dest.test", TEXT)
        relay.wait_log("result=delivered", 2)
        done = relay.run_ctl("log")
        self.assertEqual(done.returncode, 0)
        # each line as it was written, escapes too
        self.assertTrue([line for line in done.stdout.splitlines() if "\\" in line])
        for line in done.stdout.splitlines():
            self.assertIn(line, relay.lines)
        self.assertIn("is ready", done.stdout)
        self.assertIn("result=delivered", done.stdout)
        follower = subprocess.Popen([relay.program("relayctl"), "-s", relay.control, "log", "-f"],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(follower.stdout.close)
        self.addCleanup(follower.stderr.close)
        for line in follower.stdout:
            if "result=delivered" in line:
                break  # the last lines come first
        relay.send("b@example.jp", "user@dest.test", TEXT)
        for line in follower.stdout:
            if "attempt" in line and "from=b@example.jp" in line:
                break
        relay.stop()
        follower.stdout.read()
        self.assertEqual(follower.wait(10), 1)
        self.assertIn("daemon ended", follower.stderr.read())

    def test_two_daemons_do_not_share_a_socket(self):
        relay = self.relay().start()
        other = self.relay(control=relay.control)
        other.start(wait=False)
        self.assertNotEqual(other.process.wait(30), 0)
        other.wait_log("another relayd answers there")
        self.assertEqual(relay.ctl("queue", "list"), [])
        # one that was killed leaves its socket, and that is no obstacle
        relay.kill()
        relay.start()
        self.assertEqual(relay.ctl("queue", "list"), [])

    def test_nobody_answers(self):
        relay = self.relay()
        self.fails(relay, "status", says="is relayd running")
        with open(relay.control, "w"):
            pass
        self.fails(relay, "status", says="is relayd running")

    def test_answers_that_are_none(self):
        relay = self.relay()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(relay.control)
        listener.listen(5)
        self.addCleanup(listener.close)
        for answer, says in ((b"", "without an answer"), (b"hello\n", "makes no sense"),
                             (b'{"ok":true}\n{"id":"x"}\n', "in the middle"),
                             (b'{"ok":false}\n{"end":true}\n', "makes no sense"),
                             (b'{"ok":true}\n[1]\nnull\n', "in the middle")):
            def serve():
                sock, _ = listener.accept()
                sock.recv(1000)
                sock.sendall(answer)
                sock.close()
            thread = threading.Thread(target=serve)
            thread.start()
            self.fails(relay, "queue", "list", says=says)
            thread.join()


class Changes(Control):
    """What an administrator changes is in the log, with who it was."""

    def admin(self, relay, action, rest, count=1):
        lines = relay.wait_log(f" info admin action={action} uid={os.geteuid()}{rest}$", count)
        self.assertEqual(len(lines), count, lines)

    def test_messages(self):
        relay, ids = self.waiting_relay(3)
        relay.ctl("queue", "hold", ids[0])
        self.admin(relay, '"queue hold"', f" id={ids[0]} from=u0@example.jp to=user0@dest.test recipients=1")
        # what changes nothing is no change
        self.assertEqual(relay.run_ctl("queue", "retry", ids[0]).returncode, 1)
        relay.ctl("queue", "release", ids[1])
        relay.ctl("queue", "retry", "--domain", "dest.test")
        self.admin(relay, '"queue retry"', ' which="--domain dest.test" messages=2')
        relay.ctl("queue", "release", "--all")
        self.admin(relay, '"queue release"', " which=--all messages=1")
        self.assertEqual(len(relay.log(" admin ")), 3)

    def test_each_deleted_message(self):
        relay, ids = self.waiting_relay(2)
        relay.send("u2@example.jp", ["x@dest.test", "y@dest.test"], TEXT)
        relay.wait_log("result=deferred", 4)
        relay.ctl("queue", "delete", "--all")
        self.admin(relay, '"queue delete"', r" id=\S+ from=u\d@example.jp to=\S+ recipients=\d", 3)
        for i, id_ in enumerate(ids):
            self.admin(relay, '"queue delete"',
                       f" id={id_} from=u{i}@example.jp to=user{i}@dest.test recipients=1")
        self.admin(relay, '"queue delete"',
                   r" id=\S+ from=u2@example.jp to=x@dest.test,y@dest.test recipients=2")

    def test_other_changes(self):
        relay = self.relay(brake={"client_messages_per_hour": 1}).start()
        for _ in range(2):
            relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        wait_until(lambda: relay.ctl("incidents"), what="an incident")
        path, = relay.ctl("reputation")
        for change in ("hold", "open", "probe", "reset"):
            relay.ctl("reputation", change, path["provider"])
            self.admin(relay, f'"reputation {change}"', f" provider={path['provider']}")
        relay.ctl("reputation", "hold", path["provider"], path["source"])
        self.admin(relay, '"reputation hold"', f" provider={path['provider']} source={path['source']}")
        self.fails(relay, "reputation", "hold", "nobody", says="no such path")
        relay.ctl("incidents", "close", "1")
        self.admin(relay, '"incidents close"', " number=1")
        relay.ctl("brake", "release", "client:127.0.0.1")
        self.admin(relay, '"brake release"', " who=client:127.0.0.1")
        relay.ctl("reload")
        self.admin(relay, "reload", "")
        self.assertEqual(len(relay.log(" admin ")), 8)


class Rights(Control):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root, to become somebody else")
        self.nobody = pwd.getpwnam("nobody")

    def as_nobody(self, relay, *words, group=None, groups=()):
        gid = self.nobody.pw_gid if group is None else group
        # a copy, since the build folder may be closed to others
        copy = os.path.join(relay.folder, "relayctl")
        if not os.path.exists(copy):
            with open(relay.program("relayctl"), "rb") as source, open(copy, "wb") as to:
                to.write(source.read())
            os.chmod(copy, 0o755)
        more = ("--groups=" + ",".join(map(str, groups)),) if groups else ("--clear-groups",)
        return subprocess.run(["setpriv", f"--reuid={self.nobody.pw_uid}", f"--regid={gid}",
                               *more, copy, "-s", relay.control, *words],
                              capture_output=True, text=True, timeout=60, cwd="/")

    def test_a_stranger_is_refused(self):
        relay, ids = self.waiting_relay()
        os.chmod(relay.folder, 0o755)
        done = self.as_nobody(relay, "status")
        self.assertEqual(done.returncode, 1)
        self.assertIn("Permission denied", done.stderr)
        os.chmod(relay.control, 0o666)  # the daemon itself asks who it is, too
        for words in (["status"], ["queue", "list"], ["queue", "cat", ids[0]], ["log"]):
            done = self.as_nobody(relay, *words)
            self.assertEqual(done.returncode, 1, words)
            self.assertIn("is for root, the daemon's user and members of control_", done.stderr)
            self.assertEqual(done.stdout, "")
        for words in (["queue", "delete", "--all"], ["reload"]):
            done = self.as_nobody(relay, *words)
            self.assertIn("is for root, the daemon's user and members of control_group", done.stderr)
        self.assertEqual(len(relay.ctl("queue", "list")), 1)

    def test_a_member_of_the_group_may_look(self):
        relay, ids = self.waiting_relay()
        os.chmod(relay.folder, 0o755)
        done = self.as_nobody(relay, "queue", "list", group=0)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(ids[0], done.stdout)
        for words in (["queue", "delete", "--all"], ["queue", "hold", ids[0]], ["reload"],
                      ["queue", "cat", ids[0]]):
            done = self.as_nobody(relay, *words, group=0)
            self.assertEqual(done.returncode, 1)
            self.assertIn("is for root, the daemon's user and members of control_group", done.stderr)
        self.assertEqual(relay.ctl("queue", "list")[0]["state"], "waiting")


    def test_two_groups(self):
        full, look, other = (grp.getgrnam(name).gr_gid for name in ("mail", "news", "games"))
        relay, ids = self.waiting_relay(control_group="mail", control_look_group="news")
        os.chmod(relay.folder, 0o755)
        self.assertEqual(stat.S_IMODE(os.stat(relay.control).st_mode), 0o660)
        looks = (["status"], ["queue", "list"], ["queue", "show", ids[0]], ["why", ids[0]])
        changes = (["queue", "cat", ids[0]], ["queue", "hold", ids[0]], ["reload"],
                   ["queue", "delete", "--all"])
        # the main group and one of the others count alike
        for rest in ({"group": look}, {"groups": (other, look)}):
            for words in looks:
                self.assertEqual(self.as_nobody(relay, *words, **rest).returncode, 0, words)
            for words in changes:
                done = self.as_nobody(relay, *words, **rest)
                self.assertEqual((done.returncode, done.stdout), (1, ""), words)
                self.assertIn("members of control_group", done.stderr)
        done = self.as_nobody(relay, "status", groups=(other,))
        self.assertIn("Permission denied", done.stderr)
        for words in looks + changes:
            done = self.as_nobody(relay, *words, groups=(other, full))
            self.assertEqual(done.returncode, 0, (words, done.stderr))
        self.assertEqual(relay.ctl("queue", "list"), [])

    def test_no_such_group(self):
        for key in ("control_group", "control_look_group"):
            relay = self.relay(**{key: "no-such-group"}).start(wait=False)
            relay.wait_log(f'{key}: there is no group "no-such-group".*groupadd')
            self.assertNotEqual(relay.process.wait(30), 0)

    def test_who_may_only_look_does_not_keep_others_out(self):
        relay, _ = self.waiting_relay()
        os.chmod(relay.folder, 0o755)
        os.setegid(0)
        os.setresuid(self.nobody.pw_uid, self.nobody.pw_uid, 0)
        try:
            crowd = []
            for _ in range(100):
                crowd.append(socket.socket(socket.AF_UNIX))
                self.addCleanup(crowd[-1].close)
                crowd[-1].connect(relay.control)
        finally:
            os.setresuid(0, 0, 0)
        self.assertEqual(len(relay.ctl("queue", "list")), 1)
        refused = [s for s in crowd if select.select([s], [], [], 0)[0]]
        self.assertEqual(len(refused), 84)


class Hostile(Control):
    def talk(self, relay, data, timeout=10):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(relay.control)
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            answer = b""
            try:
                while piece := sock.recv(65536):
                    answer += piece
            except ConnectionResetError:
                pass
            return answer

    def test_garbage(self):
        relay = self.relay().start()
        for data in (b"\n", b"\0\n", b"hello\n", b"[]\n", b"[1]\n", b"{}\n", b"GET / HTTP/1.1\r\n\r\n",
                     b"[" * 60000 + b"\n", b"\xff\xfe\n", b'["status"' * 3 + b"\n",
                     b'["' + b"x" * 65000 + b'"]\n', b"x" * 100000, b"x" * 70000 + b"\n",
                     b'["why","' + b"\\u0001" * 5000 + b'"]\n'):
            answer = self.talk(relay, data)
            first = answer.split(b"\n")[0]
            self.assertIn(b'"ok":', first, data[:40])
            self.assertEqual(json.loads(first)["ok"], b"why" in data)
        for data in (b"", b"[", b'["status"]'):  # no line at all
            self.assertEqual(self.talk(relay, data), b"")
        self.assertEqual(relay.ctl("queue", "list"), [])

    def test_second_request_on_a_connection_is_not_read(self):
        relay = self.relay().start()
        answer = self.talk(relay, b'["queue","list"]\n["reload"]\n["status"]\n')
        self.assertEqual([json.loads(line) for line in answer.splitlines()],
                         [{"ok": True}, {"end": True}])

    def test_half_closed_clients_get_their_answer(self):
        relay, ids = self.waiting_relay(3)
        rows = [json.loads(l) for l in self.talk(relay, b'["queue","list"]\n').splitlines()]
        self.assertEqual([r.get("id") for r in rows[1:-1]], ids)

    def test_too_many_clients(self):
        relay = self.relay().start()
        crowd = []
        self.addCleanup(lambda: [s.close() for s in crowd])
        for _ in range(64):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(relay.control)
            crowd.append(sock)
        self.fails(relay, "status", says="too many requests at once")
        relay.send("a@example.jp", "user@dest.test", TEXT)
        self.receiver.wait(1)
        for sock in crowd:
            sock.close()
        wait_until(lambda: relay.run_ctl("status").returncode == 0, what="room for a request")

    def test_answered_and_still_there(self):
        """Who has his answer and stays costs a descriptor, and what he has not read."""
        relay = self.relay().start()
        crowd = []
        self.addCleanup(lambda: [s.close() for s in crowd])
        for _ in range(64):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(relay.control)
            sock.sendall(b'["status"]\n')
            while b'{"end":true}' not in sock.recv(65536):
                pass
            crowd.append(sock)
        self.fails(relay, "status", says="too many requests at once")
        for sock in crowd:
            sock.close()
        wait_until(lambda: relay.run_ctl("status").returncode == 0, what="room for a request")

    def test_readers_that_never_read(self):
        """They hold a bounded part of a long list, and mail goes on."""
        relay, ids = self.waiting_relay(200)
        sleepers = []
        self.addCleanup(lambda: [s.close() for s in sleepers])
        for i in range(40):
            sock = socket.socket(socket.AF_UNIX)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(relay.control)
            sock.sendall((b'["log","-f"]\n', b'["queue","list"]\n')[i % 2])
            sleepers.append(sock)
        self.receiver.behaviour = Behaviour()
        relay.ctl("queue", "retry", "--all")
        self.receiver.wait(200)
        self.gone(relay)
        # gone in the middle of their answers
        for sock in sleepers:
            sock.close()
        self.assertEqual(relay.ctl("queue", "list"), [])


class Local(Control):
    def local(self, *words):
        rules = os.path.join(ROOT, "conf", "replies.conf")
        return subprocess.run([os.path.join(build_dir(), "relayctl"), *words],
                              capture_output=True, text=True, timeout=60,
                              env=dict(os.environ, RELAYD_REPLIES=rules))

    def test_config(self):
        relay = self.relay()
        relay.write_conf()
        done = self.local("config", "check", relay.conf)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("is good", done.stdout)
        shown = self.local("-f", relay.conf, "config", "show")
        self.assertEqual(shown.returncode, 0)
        again = os.path.join(relay.folder, "shown.conf")
        with open(again, "w") as f:
            f.write(shown.stdout)
        self.assertEqual(self.local("config", "show", again).stdout, shown.stdout)
        with open(relay.conf, "a") as f:
            f.write("lisen = 1;\nlimits = { recipients = \"many\"; };\n")
        done = self.local("config", "check", relay.conf)
        self.assertEqual(done.returncode, 1)
        self.assertIn("lisen", done.stderr)
        done = self.local("--json", "config", "check", relay.conf)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        row = json.loads(done.stdout)
        self.assertFalse(row["good"])
        self.assertEqual(len(row["mistakes"]), 2)
        self.assertIn("lisen", row["mistakes"][0] + row["mistakes"][1])
        self.assertEqual(json.loads(self.local("--json", "config", "check", again).stdout),
                         {"file": again, "good": True, "warnings": []})
        self.assertEqual(json.loads(self.local("--json", "config", "show", again).stdout),
                         {"file": again, "text": shown.stdout})
        self.assertEqual(self.local("config", "check", "/nonexistent.conf").returncode, 1)
        self.assertEqual(self.local("config", "check", "a", "b").returncode, 2)

    def test_what_works_but_badly_is_warned_of(self):
        """An empty file on a machine without a full name, say."""
        relay = self.relay()
        relay.change(hostname="web01", domains=(), return_path={"default_domain": ""},
                     listen=({"address": "127.0.0.1", "port": relay.port},),
                     sources=({"name": "default", "since": "2962-11-01"},), routes=(
                         {"match": "a.test", "via": ["default"]}, {"match": "*", "via": ["default"]},
                         {"match": "b.test", "via": ["default"]}))
        del relay.settings["return_path"]
        relay.write_conf()
        expected = [r"hostname: \"web01\" .*expected one like", "domains: there are none, so no mail is signed",
                    r"listen: there is no Unix socket.*expected { address = \"/run/relayd/submit.sock\"; }",
                    r"drop: .*relay-sendmail leaves messages in \"/var/spool/relayd-drop\", where nobody",
                    r"sources: \"default\" begins to send on 2962-11-01 only",
                    r"routes: the one with match = \"b\.test\" is never taken"]
        done = self.local("config", "check", relay.conf)
        warnings = done.stderr.splitlines()
        self.assertEqual((done.returncode, done.stdout),
                         (0, f"{relay.conf}: the configuration is good\n"))
        for pattern, line in zip(expected, warnings, strict=True):
            self.assertRegex(line, "^warning: " + pattern)
        done = subprocess.run([relay.program("relayd"), "-t", "-f", relay.conf], env=relay.env,
                              capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.splitlines()), (0, warnings))
        done = json.loads(self.local("--json", "config", "check", relay.conf).stdout)
        self.assertEqual([f"warning: {line}" for line in done["warnings"]], warnings)
        relay.start()
        said = [row["value"] for row in relay.ctl("status") if row["what"] == "warning"]
        self.assertEqual([f"warning: {line}" for line in said], warnings)

    @unittest.skipIf(os.geteuid(), "needs root, to ask as somebody else")
    def test_a_port_of_the_other_kind_of_tls_is_warned_of(self):
        """Both sides would wait for the other to speak first, until a timeout."""
        relay = self.relay()
        password = os.path.join(relay.folder, "password")
        with open(os.open(password, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write("secret\n")
        relay.change(listen=({"address": "127.0.0.1", "port": 465}, {"address": relay.submit}), smarthosts=(
            {"name": "a", "host": "a.test", "port": 465, "user": "u", "password_file": password},
            {"name": "b", "host": "b.test", "port": 465, "tls": "none"},
            {"name": "c", "host": "c.test", "port": 587, "tls": "implicit"},
            {"name": "d", "host": "d.test", "tls": "implicit"}, {"name": "e", "host": "e.test"},
            {"name": "f", "host": "f.test", "port": 2465, "tls": "implicit"},
            {"name": "g", "host": "g.test", "port": 25, "tls": "may"}))
        relay.write_conf()
        done = self.local("config", "check", relay.conf)
        expected = [f'warning: {key}: "{name}" has port {port}, where TLS .* expected .*tls = "implicit"' for
                    key, name, port in (("listen", "127.0.0.1", 465), ("smarthosts", "a", 465),
                                        ("smarthosts", "b", 465), ("smarthosts", "c", 587))]
        for pattern, line in zip(expected, done.stderr.splitlines(), strict=True):
            self.assertRegex(line, pattern)

    def test_who_checks_is_not_who_reads(self):
        """The key of another user is not to be given to whoever checks."""
        needs_open_tree(self)
        relay = self.relay()
        os.chmod(relay.folder, 0o755)
        key = self.key(relay)
        relay.change(domains=({"name": "example.jp", "dkim": (key,)},))
        relay.write_conf()
        os.chmod(relay.conf, 0o644)
        nobody = pwd.getpwnam("nobody")
        for owner, advice in ((pwd.getpwnam("daemon").pw_uid, "check as daemon: sudo -u daemon"),
                              (0, f"do: chown nobody {key['key']}")):
            os.chown(key["key"], owner, -1)
            done = subprocess.run([relay.program("relayd"), "-t", "-f", relay.conf], env=relay.env,
                                  capture_output=True, text=True, timeout=60, user=nobody.pw_uid,
                                  group=nobody.pw_gid, extra_groups=[])
            self.assertEqual(done.returncode, 78)
            self.assertIn(advice, done.stderr)

    def test_dkim(self):
        folder = self.folder()
        for options in ([], ["--bits", "3072"], ["--ed25519"]):
            selector = "s" + "".join(options).strip("-")
            done = self.local("dkim", "new", "example.jp", selector, "--dir", folder, *options)
            self.assertEqual(done.returncode, 0, done.stderr)
            key = f"{folder}/example.jp.{selector}.key"
            self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)
            for step in ("then: relayctl reload", "takes the place of an old one", "leave the old record"):
                self.assertIn(step, done.stdout)
            record = self.local("dkim", "record", "example.jp", selector, key)
            self.assertEqual(record.returncode, 0)
            self.assertIn(record.stdout, done.stdout)
            row = json.loads(self.local("--json", "dkim", "record", "example.jp", selector, key).stdout)
            self.assertEqual(row["name"], f"{selector}._domainkey.example.jp")
            self.assertIn(f"  value: {row['value']}\n", record.stdout)
            self.assertIn(row["zone"], record.stdout)
            before = open(key).read()
            again = self.local("dkim", "new", "example.jp", selector, "--dir", folder, *options)
            self.assertEqual(again.returncode, 1)
            self.assertIn("is there already", again.stderr)
            self.assertEqual(open(key).read(), before)
        for words in (["new"], ["new", "example.jp"], ["new", "../x", "s"], ["new", "a", "-s"],
                      ["new", "a.jp", "b", "c"], ["new", "a.jp", "b", "--bits", "0"],
                      ["new", "a.jp", "b", "--bits", "many"], ["record", "a.jp"], ["test"]):
            done = self.local("dkim", *words, "--dir", folder) if words[0] == "new" else \
                self.local("dkim", *words)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn("usage: ", done.stderr)
        self.assertEqual(self.local("dkim", "record", "a.jp", "b", "/nonexistent").returncode, 1)
        done = self.local("dkim", "new", "a.jp", "b", "--dir", folder, "--bits", "512")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(os.listdir(folder)), 3)
        row = json.loads(self.local("--json", "dkim", "new", "a.jp", "b", "--dir", folder).stdout)
        self.assertEqual(row["file"], f"{folder}/a.jp.b.key")
        # the configuration takes no relative path
        row, = [json.loads(line) for line in subprocess.run(
            [os.path.join(build_dir(), "relayctl"), "--json", "dkim", "new", "a.jp", "c", "--dir",
             f"../{os.path.basename(folder)}"], cwd=folder, capture_output=True, check=True).stdout.splitlines()]
        self.assertEqual(row["file"], f"{folder}/a.jp.c.key")
        self.assertTrue(row["value"].startswith("v=DKIM1; "))

    def test_dkim_test(self):
        relay = self.relay()
        key = self.key(relay)
        relay.change(domains=({"name": "example.jp", "dkim": (key,)},))
        relay.start()
        relay.send("a@example.jp", "user@dest.test", TEXT)
        message, = self.receiver.wait(1)
        path = os.path.join(relay.folder, "message")
        with open(path, "wb") as f:
            f.write(message.data)
        done = self.local("dkim", "test", "s1", key["key"], path)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        # as programs on Unix save it
        with open(path, "wb") as f:
            f.write(message.data.replace(b"\r\n", b"\n"))
        done = self.local("dkim", "test", "s1", key["key"], path)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        # whose line ends are not all the same was damaged on its way
        with open(path, "wb") as f:
            f.write(message.data.replace(b"\r\nSubject:", b"\nSubject:"))
        self.assertEqual(self.local("dkim", "test", "s1", key["key"], path).returncode, 1)
        with open(path, "wb") as f:
            f.write(message.data.replace(b"The text.", b"Another text."))
        self.assertEqual(self.local("dkim", "test", "s1", key["key"], path).returncode, 1)
        done = self.local("--json", "dkim", "test", "s1", key["key"], path)
        self.assertEqual((done.returncode, json.loads(done.stdout)["good"]), (1, False))
        for wrong in ("/nonexistent", relay.folder):
            self.assertEqual(self.local("dkim", "test", "s1", key["key"], wrong).returncode, 1)

    def test_completion(self):
        text = self.local("completion").stdout
        check = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
        self.assertEqual((check.returncode, check.stderr), (0, ""))

        def complete(*words):
            script = text + ("\nCOMP_WORDS=(" + " ".join(f"'{w}'" for w in words) +
                             f"); COMP_CWORD={len(words) - 1}; _relayctl; echo \"${{COMPREPLY[@]}}\"")
            return subprocess.run(["bash", "-c", script], capture_output=True, text=True,
                                  check=True).stdout.split()
        self.assertIn("reload", complete("relayctl", "re"))
        self.assertEqual(complete("relayctl", "queue", "re"), ["release", "retry"])
        self.assertEqual(complete("relayctl", "--json", "-s", "/x", "queue", "re"), ["release", "retry"])
        self.assertEqual(complete("relayctl", "-f", "re"), [])
        self.assertEqual(sorted(complete("relayctl", "dkim", "")), ["new", "record", "test"])
        self.assertEqual(sorted(complete("relayctl", "config", "")), ["check", "show"])

    def test_names_that_can_not_be(self):
        folder = self.folder()
        domain, selector = "expected a domain like", "expected a selector like"
        for words, says in ((["bad domain", "s1"], domain), (["日本.jp", "s1"], domain),
                            (["example.jp.", "s1"], "without a dot at its end"), (["jp", "s1"], domain),
                            (["example.jp", "s/1"], selector), (["example.jp", ""], selector),
                            (["example.jp", "s1."], "without a dot at its end"),
                            (["example.jp", "_s1"], selector),
                            (["example.jp", "s1._domainkey"], 'the selector alone, that is "s1"'),
                            (["example.jp", "s1._domainkey.example.jp"], 'that is "s1"')):
            for command in (["new", *words, "--dir", folder], ["record", *words, "/nonexistent"]):
                done = self.local("dkim", *command)
                self.assertEqual((done.returncode, done.stdout), (2, ""), command)
                self.assertRegex(done.stderr, "^relayctl: \".*\": " + ".*" + says)
                self.assertIn(f"usage: relayctl dkim {command[0]} ", done.stderr)
        self.assertEqual(os.listdir(folder), [])
        self.local("dkim", "new", "example.jp", "s1", "--ed25519", "--dir", folder)
        done = self.local("dkim", "new", "example.jp", "s1", "--dir", folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{folder}/example.jp.s1.key is there already; a new key takes another selector",
                      done.stderr)

    def test_help_with_one_command(self):
        for words in (["help", "queue"], ["--help", "queue"], ["queue", "--help"]):
            done = self.local(*words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(len(done.stdout.splitlines()), 14)
        for words in (["help", "queue", "list"], ["queue", "list", "-h"]):
            done = self.local(*words)
            self.assertEqual((done.returncode, len(done.stdout.splitlines())), (0, 2))
        # what stands behind the command does not matter
        done = self.local("queue", "delete", "0123456789abcdef", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, self.local("help", "queue", "delete").stdout)
        self.assertEqual(len(self.local("reputation", "--help").stdout.splitlines()), 14)
        for words in (["help", "frob"], ["queue", "frob", "--help"], ["reputation", "frob", "--help"]):
            done = self.local(*words)
            self.assertEqual(done.returncode, 2)
            self.assertIn("there is no command", done.stderr)

    def test_a_file_with_mistakes_does_not_lead_to_another_daemon(self):
        relay = self.relay().start()
        with open(relay.conf, "a") as f:
            f.write("hostnam = 1;\n")
        # a mistake of another key: the socket is still found, and the daemon says what is wrong
        done = self.local("-f", relay.conf, "reload")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the old configuration stays in force", done.stderr)
        self.assertIn("hostnam: is not known", done.stdout)
        # as a signal has it: a line for each mistake
        relay.wait_log('error reload failed.*:\\d+: hostnam: is not known, did you mean "hostname"\\?$')
        self.assertEqual(self.local("-f", relay.conf, "status").returncode, 0)
        with open(relay.conf, "a") as f:
            f.write("nonsense\n")
        for file, says in ((relay.conf, "syntax error"), ("/nonexistent", "can not be opened")):
            done = self.local("-f", file, "queue", "delete", "--all")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(says, done.stderr)
            self.assertIn("its daemon's socket is not known; give it with -s", done.stderr)

    def test_version(self):
        for word in ("--version", "-V"):
            done = self.local(word)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertRegex(done.stdout, r"^relayctl \d[^ ]*\n$")

    def test_help(self):
        done = self.local("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("queue list", "why", "dkim new", "exit status"):
            self.assertIn(word, done.stdout)


if __name__ == "__main__":
    unittest.main()
