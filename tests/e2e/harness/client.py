"""A client that may misbehave: raw octets in, replies out, nothing checked."""
import socket


class RawClient:
    """Speaks to RELAY, at its first port unless PORT is given. Replies are (code, text) pairs;
    None when the relay hung up."""

    def __init__(self, relay, timeout=30, greet=True, port=None):
        self.sock = socket.create_connection(("127.0.0.1", port or relay.port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")
        if greet:
            self.expect(220)
            self.ask(b"EHLO client.example.jp", 250)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def send(self, octets, apart=False):
        """APART: one octet per packet. A relay that has hung up is no error here:
        what it said is still to be read."""
        try:
            if apart:
                for i in range(len(octets)):
                    self.sock.send(octets[i:i + 1])
            else:
                self.sock.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def reply(self):
        text = b""
        while True:
            try:
                line = self.file.readline(2000)
            except ConnectionResetError:
                return None
            if not line:
                return None
            if not line.endswith(b"\r\n") or not line[:3].isdigit():
                raise AssertionError(f"no reply: {line!r}")
            text += line[4:]
            if line[3:4] == b" ":
                return int(line[:3]), text.decode()

    def replies(self):
        """All until the relay hangs up."""
        found = []
        while True:
            reply = self.reply()
            if reply is None:
                return found
            found.append(reply)

    def expect(self, *codes):
        reply = self.reply()
        if reply is None or reply[0] not in codes:
            raise AssertionError(f"expected {codes}, got {reply}")
        return reply

    def ask(self, line, *codes):
        self.send(line + b"\r\n")
        return self.expect(*codes) if codes else self.reply()

    def envelope(self, sender=b"a@example.jp", *recipients):
        self.ask(b"MAIL FROM:<" + sender + b">", 250)
        for recipient in recipients or (b"user@dest.test",):
            self.ask(b"RCPT TO:<" + recipient + b">", 250)
