"""Who has no key: other keys, other mechanisms, noise, and the recording of somebody who was let in."""

from __future__ import annotations

import random
import selectors
import socket
import threading
import time
from contextlib import suppress

import msgspec
import zmq

from diffusion_as_shader.shared import client, wire

GREETING_BYTES = 64
LET_IN = b"\x05READY"  # CURVE's last word to a client that is let in
SECONDS = 10.0


class Strangers:
    """Connections that must never be answered. :meth:`knock` with a message; :attr:`answers` is what came back."""

    def __init__(self, connection: wire.ConnectionFile, dice: random.Random):
        self.answers: list[bytes] = []
        self.knocks = 0
        self._connection, self._dice = connection, dice
        self._recording = record_entry(connection)
        self._context = zmq.Context()
        self._dealers = [self._dealer(how) for how in ("curve", "plain", "null")]
        self._raw: list[socket.socket] = []

    def knock(self, frames: list[bytes]) -> None:
        """Offer a message through every socket with a wrong key or none, and bytes through a bare connection."""
        for dealer in self._dealers:
            with suppress(zmq.Again):  # its queue is full, as nobody takes anything
                dealer.send_multipart(frames, zmq.NOBLOCK)
        self._knock_raw()
        self.knocks += len(self._dealers) + 1
        if len(self._raw) >= 20:
            self.listen()

    def listen(self) -> None:
        """Take in what was answered, and hang up on the bare connections."""
        for dealer in self._dealers:
            while dealer.poll(0):
                self.answers.append(b"".join(dealer.recv_multipart()))
        for raw in self._raw:
            if LET_IN in (said := _all_of(raw)):
                self.answers.append(said)
        self._raw.clear()

    def close(self) -> None:
        self.listen()
        for dealer in self._dealers:
            dealer.close(0)
        self._context.term()

    def _dealer(self, how: str) -> zmq.Socket:
        dealer = self._context.socket(zmq.DEALER)
        dealer.linger, dealer.sndhwm = 0, 100
        if how == "curve":
            wire.join_curve(dealer, self._connection.server_public, *wire.make_keys())
        elif how == "plain":
            dealer.plain_username, dealer.plain_password = b"admin", b"admin"
        dealer.connect(self._connection.address)
        return dealer

    def _knock_raw(self) -> None:
        """The recorded entry as it was, spoilt, or noise from the start."""
        said = bytearray(self._recording)
        roll = self._dice.random()
        if roll < 0.4:
            said = bytearray(self._dice.randbytes(self._dice.randint(0, 400)))
        elif roll < 0.8:
            said[self._dice.randrange(len(said))] ^= 1 << self._dice.randrange(8)
        raw = socket.create_connection((self._connection.host, self._connection.port), SECONDS)
        with suppress(OSError):  # the server may hang up in the middle
            raw.sendall(said)
        raw.setblocking(False)
        self._raw.append(raw)


def record_entry(connection: wire.ConnectionFile) -> bytes:
    """All bytes that a good client says until it is welcome, heard on the way."""
    listener = socket.create_server(("127.0.0.1", 0))
    said = bytearray()
    thread = threading.Thread(target=_forward, args=(listener, connection, said), daemon=True)
    thread.start()
    here = msgspec.structs.replace(connection, host="127.0.0.1", port=listener.getsockname()[1])
    with client.connect(here, "recorded", SECONDS):
        pass
    thread.join(SECONDS)
    return bytes(said)


def _forward(listener: socket.socket, connection: wire.ConnectionFile, said: bytearray) -> None:
    with listener, socket.create_connection((connection.host, connection.port)) as server, listener.accept()[0] as peer:
        with selectors.DefaultSelector() as selector:
            selector.register(peer, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, peer)
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                for key, _ in selector.select(0.1):
                    if not (data := key.fileobj.recv(65536)):
                        return
                    said.extend(data if key.fileobj is peer else b"")
                    key.data.sendall(data)


def _all_of(raw: socket.socket) -> bytes:
    said = bytearray()
    with raw, suppress(OSError):  # nothing more for now, or hung up
        while data := raw.recv(65536):
            said.extend(data)
    return bytes(said)
