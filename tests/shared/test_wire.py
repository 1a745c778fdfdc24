"""Arrays cross exactly and uncopied; wrong frames and descriptors are refused; the connection file is private."""

import os
import stat
import sys

import msgspec
import numpy as np
import pytest
import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from diffusion_as_shader.shared import messages, wire
from diffusion_as_shader.shared.private_file import NotPrivate
from diffusion_as_shader.shared.request import GenerationRequest

JOB = "a" * 32
MAX_FRAMES_OF_A_MESSAGE = 1 + wire.MAX_ARRAYS + wire.MAX_MESSAGE_BYTES // wire.CHUNK_BYTES
TRACKING = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)


def submit(**signals) -> messages.Submit:
    return messages.Submit(job=JOB, request=GenerationRequest(), signals=signals)


def crossed(**signals) -> dict[str, np.ndarray]:
    frames = [bytes(frame) for frame in wire.encode(submit(**signals))]
    return wire.decode(frames, messages.ToServer).signals


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "i4", "f2", "f4", "f8", ">f4", ">u2"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4, 5)])
def test_every_dtype_and_shape_crosses_exactly(dtype, shape):
    array = np.random.default_rng(3).integers(0, 2**15, shape).astype(dtype)
    back = crossed(a=array)["a"]
    assert back.shape == shape and back.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(back, array)


def test_not_contiguous_arrays_cross():
    array = np.arange(60).reshape(3, 4, 5).astype(np.float32)
    back = crossed(turned=array.T, part=array[::2, 1:3])
    np.testing.assert_array_equal(back["turned"], array.T)
    np.testing.assert_array_equal(back["part"], array[::2, 1:3])


def test_large_arrays_go_in_chunks_of_their_own_memory():
    array = np.arange(3 * wire.CHUNK_BYTES // 2 + 1, dtype=np.uint16)
    header, *chunks = wire.encode(submit(a=array))
    assert [len(chunk) for chunk in chunks] == [wire.CHUNK_BYTES] * 3 + [2]
    assert all(np.shares_memory(np.frombuffer(chunk, np.uint8), array) for chunk in chunks)
    back = wire.decode([header, *chunks], messages.ToServer).signals["a"]
    np.testing.assert_array_equal(back, array)
    assert not back.flags.writeable


def test_an_array_of_one_chunk_is_not_copied_when_received():
    frames = [bytes(frame) for frame in wire.encode(submit(a=TRACKING))]
    back = wire.decode(frames, messages.ToServer).signals["a"]
    assert np.shares_memory(back, np.frombuffer(frames[1], np.uint8))


def test_a_large_array_is_put_together_a_chunk_a_step():
    array = np.random.default_rng(0).integers(0, 256, 2 * wire.CHUNK_BYTES + 5, np.uint8)
    frames, steps = wire.encode(submit(tracking=array, valid=TRACKING)), []
    decoding = wire.decoding(frames, messages.ToServer)
    try:
        while True:
            steps.append(next(decoding))
    except StopIteration as end:
        signals = end.value.signals
    assert steps == [wire.CHUNK_BYTES, wire.CHUNK_BYTES, 5]
    assert np.array_equal(signals["tracking"], array) and np.array_equal(signals["valid"], TRACKING)
    assert not signals["tracking"].flags.writeable


def test_objects_are_never_sent():
    with pytest.raises(wire.Malformed):
        wire.encode(submit(a=np.array([{}], dtype=object)))


@pytest.mark.parametrize(
    "head, data",
    [
        ({"dtype": "|O", "shape": [1], "chunks": 1}, [b"12345678"]),
        ({"dtype": "|V1", "shape": [1], "chunks": 1}, [b"1"]),
        ({"dtype": ">f4", "shape": [1], "chunks": 1}, [b"1234"]),
        ({"dtype": "|u1", "shape": [2], "chunks": 1}, [b"1"]),
        ({"dtype": "|u1", "shape": [2], "chunks": 1}, [b"123"]),
        ({"dtype": "|u1", "shape": [2], "chunks": 1}, []),
        ({"dtype": "|u1", "shape": [2], "chunks": 1}, [b"12", b"12"]),
        ({"dtype": "|u1", "shape": [2], "chunks": 2}, [b"12"]),
        ({"dtype": "|u1", "shape": [1000], "chunks": 2}, [b"12", b"34"]),
        ({"dtype": "|u1", "shape": [2**62, 4], "chunks": 1}, [b""]),
        ({"dtype": "|u1", "shape": [2**40], "chunks": 0}, []),
        ({"dtype": "|u1", "shape": [-1, -2], "chunks": 1}, [b"12"]),
        ({"dtype": "|u1", "shape": [1] * 33, "chunks": 1}, [b"1"]),
        ({"dtype": "|u1", "shape": [2.5], "chunks": 1}, [b"12"]),
        ({"dtype": "|u1", "shape": [1], "chunks": -1}, []),
        ({"dtype": "|u1", "shape": [0], "chunks": 2**60}, []),
        ({"dtype": "|u1", "shape": [0], "chunks": 1}, [b""]),
        ({"dtype": "|u1", "shape": [2], "chunks": 2}, [b"1", b"2"]),
        ({"shape": [1], "chunks": 1}, [b"1"]),
        (7, [b"1"]),
    ],
)
def test_descriptors_are_checked_before_anything_is_made(head, data):
    raw = msgspec.msgpack.encode({"type": "submit", "job": JOB, "request": {}, "signals": {"a": head}})
    with pytest.raises(wire.Malformed):
        wire.decode([raw, *data], messages.ToServer)


@pytest.mark.parametrize("frames", [[], [b""], [b"\xc1"], [b"\x91" * 5000], [b"x" * (wire.MAX_HEADER_BYTES + 1)]])
def test_frames_that_hold_no_message(frames):
    with pytest.raises(wire.Malformed):
        wire.decode(frames, messages.ToServer)


def test_a_message_has_so_many_arrays_and_no_more():
    assert len(crossed(**{f"a{number}": TRACKING for number in range(wire.MAX_ARRAYS)})) == wire.MAX_ARRAYS
    with pytest.raises(wire.Malformed, match="arrays"):
        crossed(**{f"a{number}": TRACKING for number in range(wire.MAX_ARRAYS + 1)})


def test_a_message_has_so_many_bytes_and_no_more():
    header, frames = wire.encode(submit())[0], MAX_FRAMES_OF_A_MESSAGE
    with pytest.raises(wire.Malformed, match="8 GB"):
        wire.decode([header, *[b""] * frames], messages.ToServer)
    chunk = memoryview(bytes(wire.CHUNK_BYTES))  # one and the same, many times
    with pytest.raises(wire.Malformed, match="8 GB"):
        wire.decode([header, *[chunk] * (wire.MAX_MESSAGE_BYTES // wire.CHUNK_BYTES)], messages.ToServer)


def test_an_outline_has_types_and_shapes_and_no_content():
    whole = submit(a=TRACKING, b=np.ones((3, 1000, 1000), np.float32))
    outline = wire.outline([bytes(frame) for frame in wire.encode(whole)], messages.ToServer)
    assert outline.job == JOB and list(outline.signals) == ["a", "b"]
    for name, array in outline.signals.items():
        assert (array.shape, array.dtype) == (whole.signals[name].shape, whole.signals[name].dtype)
        assert array.base.nbytes <= 8 and not array.any()
    with pytest.raises(wire.Malformed):
        wire.outline(wire.encode(whole)[:-1], messages.ToServer)


@pytest.mark.parametrize("depth", [100_000, 500_000])
def test_a_field_that_nobody_knows_may_not_be_deep(depth):
    raw = msgspec.msgpack.encode({"type": "list", "deep": None})[:-1] + b"\x91" * depth + b"\xc0"
    with pytest.raises(wire.Malformed):
        wire.decode([raw], messages.ToServer)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "hello", "protocol": 1, "name": "n" * 201},
        {"type": "hello", "protocol": 1, "pid": 2**31},
        {"type": "reorder", "job": JOB, "position": 2**40},
        {"type": "reorder", "job": JOB, "position": -1},
        {"type": "attach", "job": JOB, "have": [0] * 1026},
        {"type": "received", "job": JOB, "index": 1025},
        {"type": "submit", "job": JOB, "request": {}, "signals": {}, "title": "t" * 201},
        {"type": "cancel", "job": JOB + "\n"},
        {"type": "cancel", "job": "../" + JOB[3:]},
    ],
)
def test_fields_are_bounded(message):
    with pytest.raises(wire.Malformed):
        wire.decode([msgspec.msgpack.encode(message)], messages.ToServer)


# ---- sockets


@pytest.mark.parametrize("asked", [False, True], ids=["nobody knows the keys", "the keys are asked for"])
def test_without_somebody_who_knows_the_keys_nobody_gets_in(asked):
    public, secret = wire.make_keys()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as server, context.socket(zmq.DEALER) as peer:
        authenticator = ThreadAuthenticator(context)
        if asked:
            authenticator.start()
            authenticator.configure_curve(domain="test", location=zmq.auth.CURVE_ALLOW_ANY)
        wire.serve_curve(server, secret, "test")
        port = server.bind_to_random_port("tcp://127.0.0.1")
        wire.join_curve(peer, public, *wire.make_keys())
        peer.connect(f"tcp://127.0.0.1:{port}")
        peer.send(b"let me in")
        assert bool(server.poll(5000 if asked else 500)) == asked
        if asked:
            authenticator.stop()


# ---- the connection file


def connection(**changes) -> wire.ConnectionFile:
    fields = dict(
        protocol=1, host="127.0.0.1", port=5, server_public="s", client_public="p", client_secret="x", pid=1, machine="m",
        started=1.5,
    )
    return wire.ConnectionFile(**(fields | changes))


def test_connection_file_round_trip(tmp_path):
    wire.write_connection(connection(), tmp_path / "new" / "connection.json")
    assert wire.read_connection(tmp_path / "new" / "connection.json") == connection()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["connection.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has the profile's access list instead of a mode")
def test_connection_file_is_its_users_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        (tmp_path / "connection.json").write_text("an old one, open to all")
        wire.write_connection(connection(), tmp_path / "connection.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "connection.json").stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has the profile's access list instead of a mode")
@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o620])
def test_a_connection_file_that_others_can_read_or_write_is_not_used(tmp_path, mode):
    file = tmp_path / "connection.json"
    wire.write_connection(connection(), file)
    file.chmod(mode)
    with pytest.raises(NotPrivate, match="others can read it") as caught:
        wire.read_connection(file)
    assert f"chmod 600 {file}" in caught.value.fix


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has owners of another kind")
def test_a_connection_file_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    wire.write_connection(connection(), tmp_path / "connection.json")
    monkeypatch.setattr(os, "getuid", lambda: (tmp_path / "connection.json").stat().st_uid + 1)
    with pytest.raises(NotPrivate, match="belongs to another user") as caught:
        wire.read_connection(tmp_path / "connection.json")
    assert caught.value.fix


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b"\xff\xfe", b'{"protocol": "one"}'])
def test_a_connection_file_of_another_form_is_none(tmp_path, content):
    (tmp_path / "connection.json").write_bytes(content)
    assert wire.read_connection(tmp_path / "connection.json") is None


def test_no_connection_file(tmp_path):
    assert wire.read_connection(tmp_path / "connection.json") is None
