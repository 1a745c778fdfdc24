"""Where the server listens, and how it is reached: on this machine, and from another."""

from __future__ import annotations

import ipaddress
import logging
import socket

import msgspec
import zmq

from ..shared.errors import UsageError
from ..shared.wire import ConnectionFile

ANYWHERE = "192.0.2.1"  # of a net that does not exist (RFC 5737); nothing is sent to it
REMOTE_NAME = "connection-to-copy.json"

log = logging.getLogger(__name__)


def bind_any_port(router: zmq.Socket, host: str) -> int:
    """The system chooses the port as it binds, so no other process can take it in between. UsageError where ``host`` is not ours."""
    address = resolve(host)
    router.ipv6 = address.version == 6
    try:
        router.bind(f"tcp://[{address}]:0" if address.version == 6 else f"tcp://{address}:0")
    except zmq.ZMQError as error:
        raise UsageError(f"This machine cannot listen on {host}: {error.strerror}.", "Give one of its own addresses.") from None
    return int(router.last_endpoint.rpartition(b":")[2])


def resolve(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """A host's first address; UsageError where there is none of this name."""
    try:
        return ipaddress.ip_address(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError, ValueError):
        raise UsageError(f"There is no address {host[:200]}.", "Give one of this machine's, for example 127.0.0.1.") from None


def is_remote(host: str) -> bool:
    """Other machines may reach a server that listens there."""
    return not resolve(host).is_loopback


def for_this_machine(connection: ConnectionFile) -> ConnectionFile:
    """As it is found here: all addresses include the loopback."""
    address = resolve(connection.host)
    loopback = "::1" if address.version == 6 else "127.0.0.1"
    return msgspec.structs.replace(connection, host=loopback if address.is_unspecified else str(address))


def for_other_machines(connection: ConnectionFile) -> ConnectionFile:
    """As it is copied to another machine, where our process ids and our loopback mean nothing."""
    address = resolve(connection.host)
    host = _outward_address() if address.is_unspecified else str(address)
    return msgspec.structs.replace(connection, host=host, machine="")


def _outward_address() -> str:
    """The address by which this machine speaks to others, or its name where it has no way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((ANYWHERE, 9))
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()
