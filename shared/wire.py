"""Messages on ZeroMQ: struct and arrays to frames and back, the connection file, CURVE keys.

    frame 0    msgpack map: the message; an array in it stands as {dtype, shape, chunks}
    frame 1..  the arrays' bytes, C order, little-endian, in the order in which they stand in the message,
               each cut into ``chunks`` frames of at most CHUNK_BYTES

Arrays are neither copied when sent nor, up to one chunk, when received. Nothing is allocated before the number of
frames, their bytes, and each array's dtype, shape and length have been checked against each other and against the bounds
below; :func:`outline` gives the receiver a message to judge before its arrays are put together. (On a ROUTER the peer's
identity comes before frame 0.)
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

from . import messages
from .errors import DasError
from .private_file import check_private, write_private
from .steps import returned

CHUNK_BYTES = 4 << 20  # CURVE is twice as fast on chunks as on one frame of 51 MB
MAX_HEADER_BYTES = 1 << 20
MAX_MESSAGE_BYTES = 8 << 30  # 1025 frames of 720x480 with every signal, in single precision, are 7.8 GB
MAX_ARRAYS = 32
MAX_DIMENSIONS = 5
DTYPES = ("|b1", "|u1", "<u2", "<i4", "<f2", "<f4", "<f8")
HEARTBEAT_SECONDS, SILENCE_SECONDS = 2.0, 10.0
HANDSHAKE_SECONDS = 5.0  # a connection that has not shown its key by then is dropped
OTHER_PROTOCOL_FIX = "Install the same version on both sides, then close whatever holds the old backend and try again."


class Malformed(DasError):
    """Frames that are no message of the protocol."""

    kind = "malformed"


class ArrayHead(msgspec.Struct):
    """What stands in the message for an array."""

    dtype: str
    shape: list[int]
    chunks: int


class ConnectionFile(msgspec.Struct, kw_only=True):
    """connection.json, readable by its user alone. Keys are Z85 text; ``started`` is in Unix seconds.

    ``machine`` is empty in a file that is to be copied to another one.
    """

    protocol: int
    host: str
    port: int
    server_public: str
    client_public: str
    client_secret: str
    pid: int
    machine: str
    started: float

    @property
    def address(self) -> str:
        return f"tcp://[{self.host}]:{self.port}" if self.is_ipv6 else f"tcp://{self.host}:{self.port}"

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def is_local(self) -> bool:
        """The backend runs on this machine, so that its process id means something here."""
        return self.machine == socket.gethostname()


# ---- messages to frames and back


def encode(message: messages.Message) -> list:
    """A message as frames for ``send_multipart(copy=False)``. Its arrays must not be written to until sent."""
    chunks: list[memoryview] = []

    def put(value: Any) -> ArrayHead:
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{type(value).__name__} cannot be sent")
        array = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        _check_dtype(array.dtype.str)
        data = memoryview(array.reshape(-1).view(np.uint8))
        pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        chunks.extend(pieces)
        return ArrayHead(array.dtype.str, list(value.shape), len(pieces))

    return [msgspec.msgpack.Encoder(enc_hook=put).encode(message), *chunks]


def decode(frames: Sequence, kind: Any) -> Any:
    """Frames (bytes, or anything with the buffer interface) as one of the messages of the union ``kind``.

    Arrays are read-only. Raises Malformed.
    """
    return returned(decoding(frames, kind))


def decoding(frames: Sequence, kind: Any) -> Generator[int, None, Any]:
    """As :func:`decode` in steps, because a large array takes long to put together: the bytes of each chunk once it is in place."""
    copies: list[tuple[np.ndarray, Any]] = []

    def filled(chunks: list, dtype: np.dtype, shape: list[int]) -> np.ndarray:
        whole = np.frombuffer(chunks[0], np.uint8) if len(chunks) == 1 else np.empty(size(chunks), np.uint8)
        if len(chunks) > 1:
            copies.extend((whole[index * CHUNK_BYTES :][: len(chunk)], chunk) for index, chunk in enumerate(chunks))
        array = whole.view(dtype).reshape(shape)
        array.flags.writeable = False
        return array

    message = _decode(frames, kind, filled)
    for place, chunk in copies:
        place[:] = np.frombuffer(chunk, np.uint8)
        yield len(chunk)
    return message


def outline(frames: Sequence, kind: Any) -> Any:
    """As :func:`decode`, but the arrays have only their type and shape: all zeros, which take no memory."""
    return _decode(frames, kind, _zeros)


def size(frames: Sequence) -> int:
    """Bytes of all frames."""
    return sum(len(frame) for frame in frames)


Filled = Callable[[list, np.dtype, list[int]], np.ndarray]  # chunks of checked lengths, type, shape


def _decode(frames: Sequence, kind: Any, filled: Filled) -> Any:
    if not frames or len(frames[0]) > MAX_HEADER_BYTES:
        raise Malformed("The message has no header, or too long a one.")
    if len(frames) > 1 + MAX_ARRAYS + MAX_MESSAGE_BYTES // CHUNK_BYTES or size(frames) > MAX_MESSAGE_BYTES:
        raise Malformed(f"The message has more than {MAX_MESSAGE_BYTES >> 30} GB.")
    rest, arrays = iter(frames[1:]), []

    def take(_: type, value: Any) -> np.ndarray:
        head = msgspec.convert(value, ArrayHead)
        arrays.append(head)
        if len(arrays) > MAX_ARRAYS:
            raise Malformed(f"The message has more than {MAX_ARRAYS} arrays.")
        return _array(head, [chunk for _, chunk in zip(range(head.chunks), rest)], filled)

    try:
        message = msgspec.msgpack.Decoder(kind, dec_hook=take).decode(frames[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"This is no message of protocol {messages.PROTOCOL_VERSION}: {error}.") from None
    if next(rest, None) is not None:
        raise Malformed("The message has more frames than its arrays need.")
    return message


def _array(head: ArrayHead, chunks: list, filled: Filled) -> np.ndarray:
    _check_dtype(head.dtype)
    if len(head.shape) > MAX_DIMENSIONS or any(side < 0 for side in head.shape):
        raise Malformed(f"{head.shape[:MAX_DIMENSIONS]} is no shape of an array.")
    dtype = np.dtype(head.dtype)
    expected = math.prod(head.shape) * dtype.itemsize
    if expected != size(chunks) or len(chunks) != head.chunks or head.chunks != -(-expected // CHUNK_BYTES):
        raise Malformed(f"An array of {expected} bytes came with {size(chunks)} in {len(chunks)} frames.")
    return filled(chunks, dtype, head.shape)


def _zeros(chunks: list, dtype: np.dtype, shape: list[int]) -> np.ndarray:
    return np.broadcast_to(np.zeros((), dtype), shape)


def _check_dtype(name: str) -> None:
    if name not in DTYPES:
        raise Malformed(f"Arrays of type {name[:20]!r} are not sent.")


# ---- keys, sockets


def make_keys() -> tuple[str, str]:
    """A CURVE key pair: public, secret."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def serve_curve(socket: zmq.Socket, secret: str, domain: str) -> None:
    """Make a socket a CURVE server of a ZAP domain, before it binds; without an authenticator nobody gets in."""
    socket.curve_server = True
    socket.curve_secretkey = secret.encode()
    socket.zap_domain = domain.encode()
    socket.zap_enforce_domain = True
    _set_common(socket)


def join_curve(socket: zmq.Socket, server_public: str, public: str, secret: str) -> None:
    """Make a socket a CURVE client, before it connects."""
    socket.curve_serverkey = server_public.encode()
    socket.curve_publickey, socket.curve_secretkey = public.encode(), secret.encode()
    _set_common(socket)


def _set_common(socket: zmq.Socket) -> None:
    socket.maxmsgsize = CHUNK_BYTES + (64 << 10)
    socket.linger = 0
    socket.handshake_ivl = int(HANDSHAKE_SECONDS * 1000)
    socket.heartbeat_ivl = int(HEARTBEAT_SECONDS * 1000)
    socket.heartbeat_timeout = int(SILENCE_SECONDS * 1000)


# ---- the connection file


def write_connection(connection: ConnectionFile, file: Path) -> None:
    """The file, whole or not at all, for its user alone. NotPrivate where that cannot be."""
    write_private(msgspec.json.format(msgspec.json.encode(connection), indent=1), file)


def read_connection(file: Path) -> ConnectionFile | None:
    """The connection file; None where there is none or it is of no form that we know.

    NotPrivate where others could have read or written it: they would know its keys, or it would lead us to them.
    """
    try:
        connection = msgspec.json.decode(file.read_bytes(), type=ConnectionFile)
        check_private(file)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):  # its backend may end and remove it just now
        return None
    return connection
