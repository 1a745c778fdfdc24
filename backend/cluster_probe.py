"""Whether a Ray cluster answers, before Ray is asked: its own way of finding out takes minutes and ends the process."""

from __future__ import annotations

import socket

from ..shared.errors import BackendError, UsageError

SECONDS = 5.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # HTTP/2, in which gRPC speaks: RFC 9113, 3.4
SETTINGS = 4


def check_reachable(address: str) -> None:
    """BackendError where nothing, or nothing of Ray's kind, answers at HOST:PORT within 5 seconds."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"'{address[:200]}' is no address of a Ray cluster.", "Give --cluster auto or HOST:PORT, for example 10.0.0.5:6379.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), SECONDS) as line:
            line.settimeout(SECONDS)
            line.sendall(PREFACE)
            head = line.recv(9)
    except (OSError, OverflowError, UnicodeError) as error:
        raise _unreachable(address, getattr(error, "strerror", None) or "no answer") from None
    if len(head) < 9 or head[3] != SETTINGS:
        raise _unreachable(address, "what answers there is not Ray")


def _unreachable(address: str, why: str) -> BackendError:
    return BackendError(
        f"The Ray cluster at {address} cannot be reached: {why}.",
        "Start it there with ray start --head, give its right address, or leave --cluster out to use this machine.",
    )
