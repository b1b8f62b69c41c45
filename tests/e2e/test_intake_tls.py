"""TLS of clients: which certificate is shown to whom, and what a reload changes."""
import os
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
import unittest

from harness import Behaviour, RawClient, free_port
from harness.case import TEXT, Case
from harness.relay import release_dir

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


class TlsCase(Case):
    def setUp(self):
        super().setUp()
        self.pem, self.key_file, _ = self.certificate("relay.example.jp")

    def start(self, **settings):
        self.implicit = free_port()
        relay = self.relay(tls={"certificate": self.pem, "key": self.key_file, **settings.pop("tls", {})},
                           **settings)
        relay.change(listen=({"address": "127.0.0.1", "port": relay.port, "tls": "starttls"},
                             {"address": "127.0.0.1", "port": self.implicit, "tls": "implicit"},
                             {"address": relay.submit}))
        return relay.start()

    def anyone(self, **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for name, value in options.items():
            setattr(context, name, value)
        return context

    def shown(self, name="relay.example.jp", context=None):
        """The certificate that a client gets to see who asks for NAME."""
        with socket.create_connection(("127.0.0.1", self.implicit), timeout=30) as sock:
            with (context or self.anyone()).wrap_socket(sock, server_hostname=name) as tls:
                self.assertTrue(tls.recv(100).startswith(b"220 "))
                return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))

    def assertShown(self, pem, *args, **options):
        with open(pem) as f:
            self.assertEqual(self.shown(*args, **options), f.read())


class IntakeTls(TlsCase):
    def test_both_ways_deliver(self):
        relay = self.start()
        with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as client:
            client.starttls(context=self.anyone())
            client.sendmail("a@example.jp", ["user@dest.test"], TEXT)
        with smtplib.SMTP_SSL("127.0.0.1", self.implicit, timeout=30, context=self.anyone()) as client:
            client.ehlo()
            self.assertFalse(client.has_extn("starttls"))
            client.sendmail("a@example.jp", ["user@dest.test"], TEXT)
        for message in self.receiver.wait(2):
            self.assertRegex(message.header, r"\twith ESMTPS id ")

    def test_old_protocols_are_not_spoken(self):
        relay = self.start()
        old = self.anyone(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
        old.set_ciphers("DEFAULT@SECLEVEL=0")
        with self.assertRaises((ssl.SSLError, OSError)):
            self.shown(context=old)
        self.assertShown(self.pem)
        self.assertTrue(relay.process.poll() is None)

    def test_the_name_chooses(self):
        other, other_key, _ = self.certificate("mail.example.org")
        self.start(certificates=({"certificate": other, "key": other_key},))
        self.assertShown(self.pem)
        self.assertShown(other, "mail.example.org")
        self.assertShown(other, "MAIL.example.org")
        self.assertShown(self.pem, "unknown.test")
        self.assertShown(self.pem, None)

    def test_the_kind_of_key_chooses(self):
        rsa, rsa_key, _ = self.certificate("relay.example.jp", kind="rsa")
        self.start(certificates=({"certificate": rsa, "key": rsa_key},))
        two = ssl.TLSVersion.TLSv1_2
        for ciphers, pem in (("ECDHE-ECDSA-AES128-GCM-SHA256", self.pem),
                             ("ECDHE-RSA-AES128-GCM-SHA256", rsa)):
            context = self.anyone(maximum_version=two)
            context.set_ciphers(ciphers)
            self.assertShown(pem, context=context)
            self.assertShown(pem, "unknown.test", context=context)

    def test_a_reload_shows_the_new_one_and_drops_nobody(self):
        relay = self.start()
        with smtplib.SMTP_SSL("127.0.0.1", self.implicit, timeout=30, context=self.anyone()) as client:
            client.ehlo()
            new, new_key, _ = self.certificate("relay.example.jp")
            shutil.copy(new, self.pem)
            shutil.copy(new_key, self.key_file)
            relay.ctl("reload")
            self.assertShown(new)
            client.sendmail("a@example.jp", ["user@dest.test"], TEXT)
        self.receiver.wait(1)

    def test_a_reload_with_a_bad_one_changes_nothing(self):
        relay = self.start()
        shutil.copy(self.pem, kept := self.folder() + "/kept.pem")
        with open(self.pem, "w") as f:
            f.write("no certificate\n")
        done = relay.run_ctl("reload")
        self.assertEqual(done.returncode, 1)
        self.assertIn(self.pem, done.stdout + done.stderr)
        self.assertIn("expected a PEM file", done.stdout + done.stderr)
        self.assertShown(kept)

    def test_status_warns_before_the_end(self):
        self.pem, self.key_file, _ = self.certificate("relay.example.jp", days=40)
        soon, soon_key, _ = self.certificate("mail.example.org", days=20)
        ended, ended_key, _ = self.certificate("old.example.org", expired=True)
        relay = self.start(certificates=({"certificate": soon, "key": soon_key},
                                         {"certificate": ended, "key": ended_key}))
        warnings = [row["value"] for row in relay.ctl("status") if row["what"] == "warning"]
        self.assertEqual(len(warnings), 2)
        self.assertRegex(warnings[0], "certificate of mail.example.org ends in (19|20) days; renew it")
        self.assertIn("certificate of old.example.org has ended, since", warnings[1])
        relay.wait_log("mail.example.org ends in (19|20) days")

    def test_the_last_days_have_names(self):
        self.pem, self.key_file, _ = self.certificate("relay.example.jp", days=1)
        soon, soon_key, _ = self.certificate("mail.example.org", days=2)
        time.sleep(1.1)  # less than two days are left
        relay = self.start(certificates=({"certificate": soon, "key": soon_key},))
        warnings = [row["value"] for row in relay.ctl("status") if row["what"] == "warning"]
        self.assertEqual(warnings, [
            f"the certificate of {name}; renew it, then: relayctl reload" for name in (
                "relay.example.jp ends in less than a day", "mail.example.org ends in 1 day")])

    @unittest.skipUnless(os.path.exists(FAKETIME), "libfaketime is not installed")
    def test_a_long_life_is_warned_every_day(self):
        self.pem, self.key_file, _ = self.certificate("relay.example.jp", days=20)
        relay = self.relay(tls={"certificate": self.pem, "key": self.key_file})
        relay.program = lambda name: os.path.join(release_dir(), name)
        relay.env.update(LD_PRELOAD=FAKETIME, FAKETIME="+0 x20000")  # a day in four seconds
        relay.start()
        for days in (19, 18):
            relay.wait_log(f"warn the certificate of relay.example.jp ends in {days} days")

    def test_words_behind_starttls_end_the_session(self):
        """RFC 3207 section 4.2: whoever put them there, nothing of them counts."""
        relay = self.start()
        for behind in (b"EHLO evil\r\n", b"MAIL FROM:<a@example.jp>\r\nRCPT TO:<u@dest.test>\r\n", b"E"):
            with RawClient(relay) as client:
                client.send(b"STARTTLS\r\n" + behind)
                codes = [code for code, _ in client.replies()]
                self.assertNotIn(250, codes)
                self.assertNotIn(220, codes)

    def test_garbage_for_a_handshake(self):
        relay = self.start()
        with RawClient(relay) as client:
            client.ask(b"STARTTLS", 220)
            client.send(b"MAIL FROM:<a@example.jp>\r\n" * 20)
            try:
                said = client.file.read()
            except ConnectionResetError:
                said = b""
            self.assertIn(said[:1], (b"", b"\x15"))  # nothing, or a TLS alert
        self.assertShown(self.pem)


class ClientCertificates(TlsCase):
    """An alternative to a password, by fingerprint or by authority and name."""

    def setUp(self):
        super().setUp()
        self.ca = self.folder() + "/ca.pem"
        self.own_pem, self.own_key, _ = self.certificate("web1.example.jp")

    def print_of(self, pem):
        out = subprocess.run(["openssl", "x509", "-in", pem, "-noout", "-fingerprint", "-sha256"],
                             capture_output=True, text=True, check=True).stdout
        return "sha256:" + out.strip().split("=")[1]

    def serve(self, certificates, **tls):
        relay = self.start(trusted_networks=["192.0.2.1"], tls=tls, clients=(
            {"name": "web1", "certificates": certificates},))
        return relay

    def rcpt(self, pem=None, key=None):
        """What RCPT is answered to whom shows that certificate."""
        context = self.anyone()
        if pem:
            context.load_cert_chain(pem, key)
        with smtplib.SMTP_SSL("127.0.0.1", self.implicit, timeout=30, context=context) as client:
            client.ehlo()
            client.mail("a@example.jp")
            return client.rcpt("user@dest.test")[0]

    def test_by_fingerprint(self):
        other_pem, other_key, _ = self.certificate("web1.example.jp")
        relay = self.serve([self.print_of(self.own_pem)])
        self.assertEqual(self.rcpt(self.own_pem, self.own_key), 250)
        self.assertEqual(self.rcpt(other_pem, other_key), 554)
        self.assertEqual(self.rcpt(), 554)
        line, = relay.log("mechanism=certificate")
        self.assertIn("user=web1", line)

    def test_by_authority_and_name(self):
        signed_pem, signed_key, _ = self.certificate("web1.example.jp")
        shutil.copy(signed_pem, self.ca)  # it has signed itself
        named_pem, named_key, _ = self.certificate("web2.example.jp")
        with open(self.ca, "a") as to, open(named_pem) as pem:
            to.write(pem.read())
        self.serve(["web1.example.jp"], client_ca=self.ca)
        self.assertEqual(self.rcpt(signed_pem, signed_key), 250)
        self.assertEqual(self.rcpt(named_pem, named_key), 554)  # known, but another
        self.assertEqual(self.rcpt(self.own_pem, self.own_key), 554)  # the name, unsigned

    def test_an_ended_certificate_is_none(self):
        pem, key, _ = self.certificate("web1.example.jp", expired=True)
        shutil.copy(pem, self.ca)
        self.serve(["web1.example.jp"], client_ca=self.ca)
        self.assertEqual(self.rcpt(pem, key), 554)

    def test_the_login_is_in_the_queue(self):
        relay = self.serve([self.print_of(self.own_pem)])
        context = self.anyone()
        context.load_cert_chain(self.own_pem, self.own_key)
        self.receiver.behaviour = Behaviour(rcpt="450 4.2.0 later")
        with smtplib.SMTP_SSL("127.0.0.1", self.implicit, timeout=30, context=context) as client:
            client.sendmail("a@example.jp", ["user@dest.test"], TEXT)
        row = self.waiting(relay)
        facts = {r["what"]: r["value"] for r in relay.ctl("queue", "show", row["id"]) if "what" in r}
        self.assertEqual(facts["user"], "web1")


if __name__ == "__main__":
    unittest.main()
