"""What the end-to-end tests stand on: a relay under test, receivers, a name server."""
from .client import RawClient
from .dns import NameServer
from .hostile_dns import HostileServer
from .receiver import DROP, HANG, RESET, Behaviour, Receiver
from .signed import SignedServer
from .relay import Relay, free_port, build_dir, wait_until

__all__ = ["NameServer", "HostileServer", "SignedServer", "Receiver", "Behaviour", "DROP", "RESET",
           "HANG", "RawClient", "Relay", "free_port", "build_dir", "wait_until"]
