"""What the end-to-end tests stand on: a relay under test, receivers, a name server."""
from .dns import NameServer
from .receiver import Receiver, Behaviour
from .relay import Relay, free_port, build_dir, wait_until

__all__ = ["NameServer", "Receiver", "Behaviour", "Relay", "free_port", "build_dir", "wait_until"]
