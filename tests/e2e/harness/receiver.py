"""A receiver whose answers a test decides, and which keeps what it got.

A Behaviour says what to answer at each stage; None means the usual positive
answer. An answer is text ("550 5.1.1 no such user"), bytes to send raw, an iterator
of such bytes (endless ones go on until the relay has had enough; one may end with
RESET), or one of DROP (close without a word), RESET (TCP reset), HANG (say nothing,
keep open).
A callable gets the receiver's connection number (Receiver.peers tells the address
behind it) and the argument.
"""
import base64
import socket
import ssl
import struct
import threading
import time

DROP = object()
RESET = object()
HANG = object()


class Behaviour:
    """`tls` is an SSLContext, which makes STARTTLS offered and work; a STARTTLS
    that is only named in `extensions` gets its 220, and rubbish for a handshake.
    `tls_now` speaks TLS from the first octet."""

    def __init__(self, **stages):
        self.extensions = stages.pop("extensions", ["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 0"])
        self.tls = stages.pop("tls", None)
        self.tls_now = stages.pop("tls_now", False)
        self.stages = stages

    def at(self, stage, number, argument):
        answer = self.stages.get(stage)
        return answer(number, argument) if callable(answer) else answer


class Message:
    def __init__(self, sender, recipients, data, connection, dialogue=None):
        self.sender = sender
        self.recipients = recipients
        self.data = data
        self.connection = connection
        self.peer = dialogue and dialogue.peer  # the address it came from
        self.helo = dialogue and dialogue.helo
        self.tls = dialogue is not None and dialogue.is_tls()
        self.login = dialogue and dialogue.login  # (mechanism, user, password)
        self.time = time.monotonic()

    @property
    def header(self):
        return self.data.split(b"\r\n\r\n", 1)[0].decode("utf-8", "surrogateescape")

    @property
    def body(self):
        parts = self.data.split(b"\r\n\r\n", 1)
        return parts[1] if len(parts) > 1 else b""


class Receiver:
    """Listens on ADDRESS (a loopback one, or a path), any free port unless PORT is given."""

    def __init__(self, address="127.0.0.1", port=0, behaviour=None):
        self.behaviour = behaviour or Behaviour()
        self.messages = []
        self.connections = 0
        self.peers = {}  # the address that each connection came from, by its number
        self.commands = []
        self.pipelined = 0  # commands that came before the answer to the one before
        self.open_now = 0
        self.socks = set()
        self.open_most = 0
        self.changed = threading.Condition()
        self.local = address.startswith("/")
        family = socket.AF_UNIX if self.local else \
            socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address if self.local else (address, port))
        self.listener.listen(512)
        self.address = address
        self.port = None if self.local else self.listener.getsockname()[1]
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.closing = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def hang_up(self):
        """End all connections that stand."""
        with self.changed:
            for sock in self.socks:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it has ended by itself

    def wait(self, count, timeout=30):
        """Until COUNT messages are here; their list."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.messages) >= count, timeout)
            if len(self.messages) < count:
                raise AssertionError(f"{len(self.messages)} messages came, {count} expected")
            return list(self.messages)

    def wait_for(self, condition, timeout=30):
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self), timeout):
                raise AssertionError(f"not reached; commands were {self.commands[-20:]}")

    def take(self, message):
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def _accept(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            if not self.local:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                self.connections += 1
                self.socks.add(sock)
                self.open_now += 1
                self.open_most = max(self.open_most, self.open_now)
                number = self.connections
                self.peers[number] = peer[:1] and peer[0]
                self.changed.notify_all()
            threading.Thread(target=self._run, args=(sock, number), daemon=True).start()

    def _run(self, sock, number):
        dialogue = None
        try:
            dialogue = _Dialogue(self, sock, number)
            dialogue.run()
        except (OSError, _Over):
            pass
        finally:
            if dialogue:
                dialogue.close()
            sock.close()
            with self.changed:
                self.open_now -= 1
                self.socks.discard(sock)
                self.changed.notify_all()


class _Over(Exception):
    pass


class _Dialogue:
    def __init__(self, receiver, sock, number):
        self.receiver = receiver
        self.sock = sock
        self.number = number
        self.file = sock.makefile("rb")
        self.peer = receiver.peers[number]
        self.helo = None
        self.login = None
        self.sender = None
        self.recipients = []

    def is_tls(self):
        return isinstance(self.sock, ssl.SSLSocket)

    def close(self):
        self.file.close()
        self.sock.close()  # the one that TLS has wrapped

    def start_tls(self):
        self.file.close()
        self.sock = self.receiver.behaviour.tls.wrap_socket(self.sock, server_side=True)
        self.file = self.sock.makefile("rb")

    def has_input(self):
        if self.is_tls():
            return self.sock.pending() > 0
        self.sock.setblocking(False)
        try:
            return bool(self.file.peek(1))
        except OSError:
            return False
        finally:
            self.sock.setblocking(True)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Over()

    def say(self, stage, argument, usual, taken=None):
        """TAKEN is called before a positive answer: who hears of it finds it in the account."""
        answer = self.receiver.behaviour.at(stage, self.number, argument)
        if answer is None:
            answer = usual
        if answer is DROP:
            raise _Over()
        if answer is RESET:
            self.reset()
        if answer is HANG:
            self.file.read()
            raise _Over()
        if hasattr(answer, "__next__"):
            for piece in answer:
                if piece is RESET:
                    self.reset()
                self.sock.sendall(piece)
            raise _Over()
        if taken and answer[:1] in ("2", b"2"):
            taken()
        if isinstance(answer, bytes):
            self.sock.sendall(answer)
            return answer[:1]
        self.sock.sendall(answer.encode() + b"\r\n")
        if answer.startswith("421"):
            raise _Over()
        return answer[:1].encode()

    def run(self):
        if self.receiver.behaviour.tls_now:
            self.start_tls()
        if self.say("banner", "", "220 receiver.test ESMTP") != b"2":
            self.file.readline()
            return
        while True:
            line = self.file.readline(70000)
            if not line:
                return
            text = line.rstrip(b"\r\n").decode("utf-8", "replace")
            with self.receiver.changed:
                self.receiver.commands.append(text)
                self.receiver.pipelined += self.has_input()
                self.receiver.changed.notify_all()
            verb, _, argument = text.partition(" ")
            handler = getattr(self, "do_" + verb.lower(), None)
            if handler:
                handler(argument.strip())
            else:
                self.say("unknown", text, "500 5.5.1 unknown")

    def do_ehlo(self, argument):
        self.helo = argument
        behaviour = self.receiver.behaviour
        lines = ["receiver.test"] + [e for e in behaviour.extensions
                                     if e != "STARTTLS" or not self.is_tls()]
        if behaviour.tls and not self.is_tls():
            lines.append("STARTTLS")
        usual = "\r\n".join("250" + ("-" if i < len(lines) - 1 else " ") + l
                            for i, l in enumerate(lines))
        self.say("ehlo", argument, usual)

    def do_helo(self, argument):
        self.helo = argument
        self.say("helo", argument, "250 receiver.test")

    def do_starttls(self, argument):
        if self.say("starttls", argument, "220 2.0.0 go on") != b"2":
            return
        if not self.receiver.behaviour.tls:
            self.sock.sendall(b"this is no handshake\r\n" * 4)
            raise _Over()
        self.start_tls()

    def do_auth(self, argument):
        mechanism, _, rest = argument.partition(" ")
        if mechanism.upper() == "PLAIN":
            rest = rest or self.ask("334 ")
            _, user, password = base64.b64decode(rest).decode().split("\0")
        else:
            user = base64.b64decode(self.ask("334 VXNlcm5hbWU6")).decode()
            password = base64.b64decode(self.ask("334 UGFzc3dvcmQ6")).decode()
        login = (mechanism.upper(), user, password)
        if self.say("auth", login, "235 2.7.0 welcome") == b"2":
            self.login = login

    def ask(self, challenge):
        self.sock.sendall(challenge.encode() + b"\r\n")
        return self.file.readline(70000).strip().decode()

    def do_mail(self, argument):
        self.sender = None
        if self.say("mail", argument, "250 2.1.0 ok") == b"2":
            self.sender = argument[argument.find("<") + 1:argument.rfind(">")]
            self.recipients = []

    def do_rcpt(self, argument):
        address = argument[argument.find("<") + 1:argument.rfind(">")]
        if self.sender is None:
            self.sock.sendall(b"503 5.5.1 MAIL first\r\n")
        elif self.say("rcpt", address, "250 2.1.5 ok") == b"2":
            self.recipients.append(address)

    def do_rset(self, argument):
        self.recipients = []
        self.say("rset", argument, "250 2.0.0 ok")

    def do_noop(self, argument):
        self.say("noop", argument, "250 2.0.0 ok")

    def do_quit(self, argument):
        self.say("quit", argument, "221 2.0.0 bye")
        raise _Over()

    def do_data(self, argument):
        if not self.recipients:
            self.say("data", argument, "554 5.5.1 no valid recipients")
            return
        if self.say("data", argument, "354 go on") != b"3":
            return
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                return
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        data = b"".join(lines)
        message = Message(self.sender, self.recipients, data, self.number, self)
        self.recipients = []
        self.say("end", data, "250 2.0.0 taken", lambda: self.receiver.take(message))
