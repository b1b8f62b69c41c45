"""A name server that does what it should not: slow, silent, lying, too big, broken."""
import threading
import time

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

from .dns import NameServer


class HostileServer(NameServer):
    """`odd` holds functions by name: odd[NAME](query, reply) gives the octets to send
    instead of `reply` (a list: each of them; None: nothing). `slow` holds seconds by
    name. Names below one in `below` are
    found as that name. `asked` counts."""

    def __init__(self):
        self.odd = {}
        self.slow = {}
        self.below = {}
        self.tcp_answers = True
        self.asked = {"udp": 0, "tcp": 0}
        super().__init__()
        self.udp_most = 1232

    def find(self, table, name):
        while name != dns.name.root:
            text = name.to_text(omit_final_dot=True)
            if text in table:
                return table[text]
            name = name.parent()
        return None

    def answers(self, wire):
        """What goes back for WIRE: a list of octets."""
        query = dns.message.from_wire(wire)
        name = query.question[0].name.canonicalize()
        delay = self.find(self.slow, name)
        if delay:
            time.sleep(delay)
        base = self.find(self.below, name)
        if base:
            found = self.records.get(dns.name.from_text(base))
            with self.lock:
                self.records.setdefault(name, found)
        reply = super().reply_to(wire)
        odd = self.find(self.odd, name)
        if odd:
            reply = odd(query, reply)
        if reply is None:
            return []
        return reply if isinstance(reply, list) else [reply]

    def reply_to(self, wire):
        """Over TCP."""
        self.asked["tcp"] += 1
        answers = self.answers(wire)
        return answers[0] if answers and self.tcp_answers else None

    def one(self, wire, peer):
        try:
            for reply in self.answers(wire):
                self.udp.sendto(self.cut(reply), peer)
        except Exception:  # closed, or a question that dnspython can not read
            return

    def _serve_udp(self):
        while True:
            try:
                wire, peer = self.udp.recvfrom(65535)
            except OSError:
                return
            self.asked["udp"] += 1
            threading.Thread(target=self.one, args=(wire, peer), daemon=True).start()


def kind_of(query):
    return dns.rdatatype.to_text(query.question[0].rdtype)


def with_more(reply, section, name, kind, *values, ttl=3600):
    """REPLY with records that nobody asked for."""
    message = dns.message.from_wire(reply)
    getattr(message, section).append(dns.rrset.from_text(name, ttl, "IN", kind, *values))
    return message.to_wire(max_size=65535)
