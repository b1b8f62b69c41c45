"""The name server with signatures: one zone, the root, signed as it is asked.

`unsigned` holds domains that a delegation without DS cuts off; `bogus` holds names
whose signatures are wrong. A name that does not exist is denied by an NSEC record of
its own (as "it has no such type"), which needs no order among the names.
"""
import dns.dnssec
import dns.name
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec

from .dns import NameServer

SOA = "ns.test. hostmaster.test. 1 3600 600 86400 2"


class SignedServer(NameServer):
    def __init__(self):
        self.unsigned = set()
        self.bogus = set()
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.key = dns.dnssec.make_dnskey(self.private.public_key(), "ECDSAP256SHA256", 257)
        super().__init__()
        self.add(".", "SOA", SOA)
        self.add(".", "DNSKEY", self.key.to_text())

    def trust_anchor(self, path):
        with open(path, "w") as f:
            f.write(f". IN DNSKEY {self.key.to_text()}\n")
        return path

    def settings(self, folder):
        """For the relay's `dns`."""
        return {"servers": [self.server], "timeout": "5s", "dnssec": True,
                "trust_anchor_file": self.trust_anchor(f"{folder}/root.key")}

    def is_unsigned(self, name):
        return any(name.is_subdomain(dns.name.from_text(cut)) for cut in self.unsigned)

    def sign(self, section, rrset):
        section.append(rrset)
        if self.is_unsigned(rrset.name) and rrset.rdtype != dns.rdatatype.NSEC:
            return
        signature = dns.dnssec.sign(rrset, self.private, dns.name.root, self.key, lifetime=3600)
        if rrset.name.to_text(omit_final_dot=True) in self.bogus:
            signature = signature.replace(signature=bytes(64))
        section.append(dns.rrset.from_rdata(rrset.name, rrset.ttl, signature))

    def deny(self, reply, name, sets):
        cut = name.to_text(omit_final_dot=True) in self.unsigned
        if self.is_unsigned(name) and not cut:
            reply.authority.append(dns.rrset.from_text(name, 2, "IN", "SOA", SOA))
            return
        self.sign(reply.authority, dns.rrset.from_text(".", 2, "IN", "SOA", SOA))
        types = ["NS"] if cut else list(sets or ())
        following = dns.name.Name((b"\x00",) + name.labels)
        nsec = f"{following} {' '.join(types)} RRSIG NSEC"
        self.sign(reply.authority, dns.rrset.from_text(name, 2, "IN", "NSEC", nsec))

    def answer(self, reply, name, kind, sets):
        if kind != "DS" and sets and ("CNAME" in sets or kind in sets):
            found = kind if kind in sets else "CNAME"
            ttl, values = sets[found]
            self.sign(reply.answer, dns.rrset.from_text(name, ttl, "IN", found, *values))
        else:
            self.deny(reply, name, sets)
