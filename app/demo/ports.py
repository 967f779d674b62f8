"""Loopback ports: which are free, and whether somebody answers there. Nothing here waits.

A process gives each port only once, as whoever asked may take a while to listen there. Tests in several processes use
a range each. A preferred port is claimed by a name that ends with its process (an abstract socket of Linux, which
belongs to the same network as the port): two demos started at once both found 9092 free, and one ran on the other's
broker.

Ports are taken below the range the kernel gives to outgoing connections. Within it, a client that tries again and again
to reach a stopped broker sooner or later connects to itself (TCP's simultaneous open), and the broker can't have its
port back.
"""

import http.client
import random
import socket
import sys
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"
LOWEST, HIGHEST = 15_000, 32_000
"""Below Linux's default `net.ipv4.ip_local_port_range`, 32768-60999."""

_chance = random.SystemRandom()
_given: set[int] = set()
_claims: dict[int, socket.socket] = {}


def is_free(port: int) -> bool:
    """Tell whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(prefer: int | None = None) -> int:
    """Return a port nobody listens on: the preferred one if it is free, else one that was not given before."""
    if prefer is not None and is_free(prefer) and _claimed(prefer):
        return prefer
    for _ in range(1_000):
        port = _chance.randrange(LOWEST, HIGHEST)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST}")


def _claimed(port: int) -> bool:
    """Tell whether this process may have it: no other one has asked for it first, and lives."""
    if port not in _claims and sys.platform == "linux":
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0phonon-events port {port}")
        except OSError:
            claim.close()
            return False
        _claims[port] = claim
    return True


def answers(url: str) -> bool:
    """Tell whether a plain GET of the address gets a 200 within a second."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or LOOPBACK, address.port or 80, timeout=1.0)
    try:
        connection.request("GET", address.path or "/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
