"""A name server on loopback whose zone is a dictionary that a test fills."""
import re
import socket
import socketserver
import struct
import threading

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


class NameServer:
    """Answers on UDP and TCP. add() records; `servfail` and `silent` hold names. What
    is over `udp_most` is to be had by TCP only."""

    def __init__(self):
        self.udp_most = 65535
        self.records = {}
        self.servfail = set()
        self.silent = set()
        self.lock = threading.Lock()
        while not self._bind():
            pass
        self.threads = [
            threading.Thread(target=self._serve_udp, daemon=True),
            # it looks that often whether it shall end
            threading.Thread(target=self.tcp.serve_forever, args=(0.02,), daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def _bind(self):
        """One port for both; False: it was free for UDP only."""
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.port = self.udp.getsockname()[1]
        self.tcp = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), _TcpHandler, False)
        self.tcp.daemon_threads = True
        self.tcp.allow_reuse_address = True
        self.tcp.names = self
        try:
            self.tcp.server_bind()
        except OSError:
            self.udp.close()
            self.tcp.server_close()
            return False
        self.tcp.server_activate()
        return True

    @property
    def server(self):
        return f"127.0.0.1@{self.port}"

    def add(self, name, kind, *values, ttl=60):
        """add("example.net", "MX", "10 mx.example.net.")"""
        with self.lock:
            self.records.setdefault(dns.name.from_text(name), {})[kind] = (ttl, list(values))

    def mail_host(self, domain, host, *addresses):
        """DOMAIN's mail goes to HOST at ADDRESSES."""
        self.add(domain, "MX", f"10 {host}.")
        four = [a for a in addresses if ":" not in a]
        six = [a for a in addresses if ":" in a]
        if four:
            self.add(host, "A", *four)
        if six:
            self.add(host, "AAAA", *six)

    def publish(self, printed):
        """The TXT record that PRINTED holds as a line of a zone file."""
        name, value = re.search(r"^(\S+)\. IN TXT \( (.*) \)$", printed, re.M).groups()
        self.add(name, "TXT", value)

    def text(self, name):
        """What a resolver that asks this server gets for NAME's TXT; None: nothing."""
        query = dns.message.make_query(name, "TXT")
        reply, _ = dns.query.udp_with_fallback(query, "127.0.0.1", 10, self.port)
        for rrset in reply.answer:
            return b"".join(rrset[0].strings)
        return None

    def remove(self, name):
        with self.lock:
            self.records.pop(dns.name.from_text(name), None)

    def reply_to(self, wire):
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.canonicalize()
        kind = dns.rdatatype.to_text(question.rdtype)
        text = name.to_text(omit_final_dot=True)
        if text in self.silent:
            return None
        reply = dns.message.make_response(query, recursion_available=True)
        with self.lock:
            sets = self.records.get(name)
        if text in self.servfail:
            reply.set_rcode(dns.rcode.SERVFAIL)
        else:
            self.answer(reply, name, kind, sets)
        return reply.to_wire(max_size=65535)

    def answer(self, reply, name, kind, sets):
        """Fill in REPLY from SETS, the records of NAME; None: there is no such name."""
        if sets is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif "CNAME" in sets or kind in sets:
            found = "CNAME" if "CNAME" in sets else kind
            ttl, values = sets[found]
            reply.answer.append(dns.rrset.from_text(name, ttl, "IN", found, *values))

    def cut(self, reply):
        """REPLY as it goes by UDP."""
        if len(reply) <= self.udp_most:
            return reply
        short = dns.message.make_response(dns.message.from_wire(reply[:2] + b"\1\0" + reply[4:6] + bytes(6) +
                                                                 self.question(reply)))
        short.flags |= dns.flags.TC | dns.flags.RA
        return short.to_wire()

    def question(self, reply):
        end = 12
        while reply[end]:
            end += reply[end] + 1
        return reply[12:end + 5]

    def _serve_udp(self):
        while True:
            try:
                wire, peer = self.udp.recvfrom(65535)
                answer = self.reply_to(wire)
                if answer:
                    self.udp.sendto(self.cut(answer), peer)
            except OSError:
                return
            except Exception:  # a question that dnspython can not read
                continue

    def close(self):
        self.tcp.shutdown()
        self.tcp.server_close()
        self.udp.close()


class _TcpHandler(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            answer = self.server.names.reply_to(self.rfile.read(struct.unpack("!H", head)[0]))
            if answer is None:
                return
            self.wfile.write(struct.pack("!H", len(answer)) + answer)
