"""A receiver in a process of its own, in one thread: between taking a message and
saying so there is next to no time, so that a duplicate after kill -9 is the relay's
share. Prints `NUMBER OPENED TAKEN ANSWERED` for each message when all that had come is
answered: its X-Number and moments of the monotonic clock, the first one that of its
connection.

As a program: sink.py, which prints the port first, and ends with its standard input.
"""
import re
import selectors
import socket
import subprocess
import sys
import threading
import time

GREETING = b"220 sink.test ESMTP\r\n"
OFFER = b"250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
REPLIES = {b"EHLO": OFFER, b"HELO": b"250 sink.test\r\n", b"DATA": b"354 go on\r\n",
           b"QUIT": b"221 2.0.0 bye\r\n"}
OK = b"250 2.0.0 ok\r\n"


class Taken:
    """One message that came, as far as an account needs it."""

    def __init__(self, line):
        number, *moments = line.split()
        self.header = f"X-Number: {number}"
        self.opened, self.time, self.answered = map(float, moments)


class Sink:
    """The process as a test sees it: the account of harness.Receiver, and its port."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, __file__], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())
        self.messages = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.messages.append(Taken(line))
                self.changed.notify_all()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.reader.join(5)
        self.process.stdout.close()


class Dialogue:
    def __init__(self, sock, taken):
        self.sock = sock
        self.taken = taken
        self.opened = time.monotonic()
        self.input = b""
        self.in_text = False
        sock.sendall(GREETING)

    def on_input(self):
        """False: it is over."""
        try:
            piece = self.sock.recv(65536)
        except ConnectionResetError:
            return False
        self.input += piece
        try:
            return bool(piece) and self.take_all()
        except (BrokenPipeError, ConnectionResetError):
            return False

    def take_all(self):
        answers = b""
        while True:
            end = b"\r\n.\r\n" if self.in_text else b"\r\n"
            piece, found, rest = self.input.partition(end)
            if not found:
                break
            self.input = rest
            if self.in_text:
                self.take_text(piece)
                continue
            verb = piece[:4].upper()
            self.in_text = verb == b"DATA"
            answers += REPLIES.get(verb, OK)
            if self.in_text or verb == b"QUIT":
                break  # what waits for the answer, or needs none
        if answers:
            self.sock.sendall(answers)
        return not answers.endswith(REPLIES[b"QUIT"])

    def take_text(self, text):
        number = int(re.search(rb"^X-Number: (\d+)", text, re.M).group(1))
        taken = time.monotonic()
        self.in_text = False
        try:
            self.sock.sendall(OK)
        finally:
            self.taken.append(f"{number} {self.opened} {taken} {time.monotonic()}\n")


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    taken = []
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listener:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(sock, selectors.EVENT_READ, Dialogue(sock, taken))
            elif not key.data.on_input():
                selector.unregister(key.fileobj)
                key.fileobj.close()
        sys.stdout.write("".join(taken))
        sys.stdout.flush()
        taken.clear()


if __name__ == "__main__":
    main()
