"""The real PHP: mail() and mb_send_mail() through relay-sendmail and the daemon to a
receiver, with signatures that hold."""
import os
import shutil
import subprocess
import unittest

import dkim

from harness import build_dir
from harness.case import Case


@unittest.skipUnless(shutil.which("php"), "php is not installed")
class Php(Case):
    def setUp(self):
        super().setUp()
        self.home = self.folder()
        self.daemon = self.relay()
        self.daemon.change(domains=({"name": "example.jp", "return_path": "bounce@example.jp",
                                     "dkim": (self.key(self.daemon),)},))
        self.daemon.start()

    def php(self, code, *settings):
        """What CODE prints; PHP's own complaints fail the test."""
        sendmail = os.path.join(build_dir(), "relay-sendmail") + " -t -i"
        done = subprocess.run(["php", "-n", "-d", f"sendmail_path={sendmail}", "-d", "display_errors=stderr",
                               "-d", "extension=mbstring", *settings, "-r", code],
                              capture_output=True, text=True, timeout=60,
                              env=dict(os.environ, HOME=self.home, RELAY_SENDMAIL_SOCKET=self.daemon.submit))
        return done.stdout, done.stderr

    def sent(self, code, *settings, count=1):
        out, err = self.php(code, *settings)
        self.assertEqual((out, err), ("bool(true)\n" * count, ""))
        messages = self.receiver.wait(count)
        for message in messages:
            self.assertTrue(dkim.verify(message.data, dnsfunc=self.lookup), message.data)
            self.assertNotIn(b"\r\r", message.data)
            self.assertNotRegex(message.data, rb"[^\r]\n")
        return messages[-1]

    def test_nothing_but_the_arguments(self):
        message = self.sent('var_dump(mail("user@dest.test", "hello", "Text."));')
        self.assertEqual(message.recipients, ["user@dest.test"])
        self.assertEqual(message.sender, "bounce@example.jp")
        self.assertRegex(message.header, r"\nFrom: [^\r]*@example\.jp")
        for field in ("Date: ", "Message-ID: ", "To: user@dest.test", "Subject: hello"):
            self.assertIn("\r\n" + field, message.header)
        self.assertEqual(message.body, b"Text.\r\n")

    def test_mixed_line_ends(self):
        message = self.sent(r'var_dump(mail("user@dest.test", "x", "one\ntwo\r\nthree\rfour\n\n.\n..\nend",'
                            r' "From: web@example.jp\nX-One: 1\r\nX-Two: 2"));')
        self.assertEqual(message.body, b"one\r\ntwo\r\nthree\r\nfour\r\n\r\n.\r\n..\r\nend\r\n")
        self.assertIn("\r\nX-One: 1\r\nX-Two: 2\r\n", message.header + "\r\n")

    def test_old_line_ends(self):
        message = self.sent(r'var_dump(mail("user@dest.test", "x", "one\ntwo", "From: web@example.jp"));',
                            "-d", "mail.mixed_lf_and_crlf=On")
        self.assertEqual(message.body, b"one\r\ntwo\r\n")

    def test_bcc(self):
        message = self.sent(r'var_dump(mail("user@dest.test", "x", "y",'
                            r' "From: web@example.jp\r\nCc: c@dest.test\r\nBcc: secret@dest.test"));')
        self.assertEqual(sorted(message.recipients), ["c@dest.test", "secret@dest.test", "user@dest.test"])
        self.assertNotIn(b"secret", message.data)

    def test_fifth_argument(self):
        message = self.sent('var_dump(mail("user@dest.test", "x", "y", "From: web@example.jp",'
                            ' "-fsender@example.jp -oi -F \'Full Name\'"));')
        self.assertEqual(message.sender, "sender@example.jp")

    def test_forced_arguments(self):
        message = self.sent('var_dump(mail("user@dest.test", "x", "y", "From: web@example.jp", "-fother@example.jp"));',
                            "-d", "mail.force_extra_parameters=-fforced@example.jp")
        self.assertEqual(message.sender, "forced@example.jp")

    def test_files_are_never_written(self):
        made = os.path.join(self.home, "made.php")
        self.sent(f'var_dump(mail("user@dest.test", "x", "<?php", "From: web@example.jp",'
                  f' "-fa@example.jp -X{made} -OQueueDirectory={self.home} -C{made} -D{made}"));')
        self.assertEqual(os.listdir(self.home), [])

    def test_japanese(self):
        message = self.sent('mb_language("ja"); mb_internal_encoding("UTF-8");'
                            'var_dump(mb_send_mail("user@dest.test", "件名のテストです", "本文です。\\nよろしく。",'
                            ' "From: " . mb_encode_mimeheader("山田太郎") . " <web@example.jp>"));')
        self.assertIn("Subject: =?ISO-2022-JP?B?", message.header)
        self.assertIn("<web@example.jp>", message.header)
        body = message.body.decode("iso-2022-jp")
        self.assertEqual(body, "本文です。\r\nよろしく。\r\n")

    def test_japanese_uni(self):
        message = self.sent('mb_language("uni"); mb_internal_encoding("UTF-8");'
                            'var_dump(mb_send_mail("user@dest.test", "件名", "本文",'
                            ' "From: web@example.jp"));')
        self.assertIn("Subject: =?UTF-8?B?", message.header)
        self.assertIn("base64", message.header.lower())

    def test_raw_utf8(self):
        message = self.sent('var_dump(mail("user@dest.test", "件名", "本文", "From: 山田 <web@example.jp>"));')
        self.assertIn("Subject: 件名", message.header)
        self.assertEqual(message.body, "本文\r\n".encode())

    def test_script_is_named(self):
        script = os.path.join(self.home, "contact.php")
        with open(script, "w") as f:
            f.write('<?php var_dump(mail("user@dest.test", "x", "y", "From: web@example.jp"));')
        message = self.sent(f'require "{script}";', "-d", "mail.add_x_header=On")
        self.assertIn("X-PHP-Originating-Script: ", message.header)

    def test_refusal_is_false(self):
        for code in ('mail("user@nodot", "x", "y")',
                     'mail("user@dest.test", "x", "y", "From: me@gmail.com")',
                     'mail("user@dest.test", "x", "y", "", "-Z")'):
            out, _ = self.php(f"var_dump({code});")
            self.assertEqual(out, "bool(false)\n", code)
        self.assertEqual(self.daemon.ctl("queue", "list"), [])

    def test_many_in_one_script(self):
        self.sent('for ($i = 0; $i < 20; $i++)'
                  ' var_dump(mail("user$i@dest.test", "x", "y", "From: web@example.jp"));', count=20)


if __name__ == "__main__":
    unittest.main()
