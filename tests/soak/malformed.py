"""Messages of a client that nobody should send: of the schema with wrong values (hypothesis), and right ones spoilt byte by byte."""

from __future__ import annotations

import math
import random
import re
import uuid
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from hypothesis import strategies as st
from msgspec import inspect

from diffusion_as_shader.shared import messages, wire
from diffusion_as_shader.shared.request import GenerationRequest

from .backend import ENGINE
from .engine import signals_of

Frames = list[bytes]
LONGEST = 300  # bytes of a part that was made up
SHARE_OF_MORE = 0.3
JOBS = [uuid.UUID(int=number).hex for number in range(8)]  # few, so that messages meet the jobs of others

_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=40) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
_SHAPES = st.lists(st.integers(-1, 40) | st.sampled_from([0, 2**31, 2**62, 2**64 - 1]), max_size=7)
_HEADS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*wire.DTYPES, "|O", "|V8", ">f4", "|S4", "", "u1"]) | st.text(max_size=4),
        "shape": _SHAPES,
        "chunks": st.integers(-1, 3) | st.sampled_from([2**31, 2**63]),
    }
)


def of_schema() -> st.SearchStrategy[Frames]:
    """Messages with the names of the schema and mostly its types; every value may be of another."""
    kinds = [one for one in messages.ToServer.__args__ if one is not messages.Shutdown]
    return st.builds(_with_arrays, st.one_of([_of(inspect.type_info(kind)) for kind in kinds]), st.booleans())


def seeds() -> list[Frames]:
    """One right message of each type but Shutdown."""
    request = GenerationRequest(engine=ENGINE, width=16, height=16, frames=9)
    job = JOBS[0]
    right = [
        messages.Hello(protocol=messages.PROTOCOL_VERSION, name="fuzz"),
        messages.Submit(job=job, request=request, signals=signals_of(request), title="fuzz"),
        *(kind(job=job) for kind in (messages.Cancel, messages.Status, messages.Retry, messages.Attach)),
        messages.List(),
        messages.Reorder(job=job, position=0),
        messages.Received(job=job, index=0),
        messages.Heartbeat(number=1),
        messages.Release(),
        messages.ReleaseMemory(),
    ]
    return [[bytes(frame) for frame in wire.encode(message)] for message in right]


def spoilt(dice: random.Random, more: Sequence[Frames] = ()) -> Iterator[tuple[str, Frames]]:
    """Right messages for ever, and some of ``more``, each spoilt in one way, which is named."""
    right = seeds()
    ways = {"mutated": _mutated, "truncated": _truncated, "oversized": _oversized, "replayed": lambda frames, dice: frames}
    while True:
        way = dice.choice(list(ways))
        frames = ways[way](dice.choice(more if more and dice.random() < SHARE_OF_MORE else right), dice)
        if not stops(frames):
            yield way, frames


def stops(frames: Frames) -> bool:
    """They say Shutdown, which is a client's right."""
    try:
        return isinstance(wire.outline(frames, messages.ToServer), messages.Shutdown)
    except wire.Malformed:
        return False


def _mutated(frames: Frames, dice: random.Random) -> Frames:
    """Some bytes of some frame changed, put in, left out, or repeated."""
    place = dice.randrange(len(frames)) if dice.random() < 0.2 else 0
    data = bytearray(frames[place])
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        what = dice.randrange(4)
        if what == 0 and at < len(data):
            data[at] = dice.randrange(256)
        elif what == 1:
            data[at:at] = dice.randbytes(dice.randint(1, 8))
        elif what == 2:
            del data[at : at + dice.randint(1, 8)]
        else:
            data[at:at] = data[max(0, at - 8) : at]
    return [*frames[:place], bytes(data), *frames[place + 1 :]]


def _truncated(frames: Frames, dice: random.Random) -> Frames:
    """The end cut off: of the frames, or of the last one."""
    if len(frames) > 1 and dice.random() < 0.5:
        return frames[: dice.randint(1, len(frames) - 1)]
    return [*frames[:-1], frames[-1][: dice.randrange(len(frames[-1]) + 1)]]


def _oversized(frames: Frames, dice: random.Random) -> Frames:
    """Too many frames, too deep, too long a text, or now and then more bytes than a header may have."""
    way = dice.random()
    if way < 0.4:
        return [*frames, *[dice.randbytes(dice.randint(0, LONGEST))] * dice.randint(1, 50)]
    if way < 0.8:
        return [_deep(dice.randint(100, 20_000)), *frames[1:]]
    text = "x" * (2 * wire.MAX_HEADER_BYTES if way > 0.99 else dice.randint(201, 20_000))
    return [msgspec.msgpack.encode({"type": "hello", "protocol": messages.PROTOCOL_VERSION, "name": text})]


def _deep(depth: int) -> bytes:
    """A hello with a field that nobody knows, of lists in lists."""
    whole = msgspec.msgpack.encode({"type": "hello", "protocol": messages.PROTOCOL_VERSION, "deep": None})
    return whole[:-1] + b"\x91" * depth + b"\xc0"


def _with_arrays(tree: dict, fits: bool) -> Frames:
    """The tree as a header, behind it frames for its arrays, or one that does not fit."""
    heads = [head for head in (tree.get("signals") or {}).values() if isinstance(head, dict)] if isinstance(tree.get("signals"), dict) else []
    lengths = [_bytes_of(head) for head in heads]
    if fits and all(length is not None and length <= LONGEST * 100 for length in lengths):
        for head, length in zip(heads, lengths):
            head["chunks"] = min(length, 1)
        return [msgspec.msgpack.encode(tree), *(bytes(length) for length in lengths if length)]
    return [msgspec.msgpack.encode(tree), *(b"12345678" for _ in heads)]


def _bytes_of(head: dict) -> int | None:
    shape, dtype = head.get("shape"), head.get("dtype")
    if dtype not in wire.DTYPES or not isinstance(shape, list) or not all(isinstance(side, int) and side >= 0 for side in shape):
        return None
    return math.prod(shape) * np.dtype(dtype).itemsize


def _of(info: inspect.Type) -> st.SearchStrategy:
    """Values of a type of the schema, one in eight of any other; of a message always one that says which it is."""
    if isinstance(info, inspect.StructType) and info.tag:
        return _struct(info)
    return st.one_of(*[_right(info)] * 7, _ANYTHING)


def _right(info: inspect.Type) -> st.SearchStrategy:
    match info:
        case inspect.StructType():
            return _struct(info)
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.integers(0, 60) | st.integers(-(2**63), 2**64 - 1)
        case inspect.FloatType():
            return st.floats()
        case inspect.StrType(pattern=pattern):
            return st.sampled_from(JOBS) if pattern and re.search("32", pattern) else st.sampled_from(["", ENGINE, "das"]) | st.text()
        case inspect.LiteralType(values=values):
            return st.sampled_from(sorted(values))
        case inspect.UnionType(types=types):
            return st.one_of([_of(one) for one in types])
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return st.lists(_of(item), max_size=4)
        case inspect.TupleType(item_types=items):
            return st.tuples(*[_of(item) for item in items])
        case inspect.DictType():
            names = st.sampled_from(["tracking", "first_frame", "depth", "source", "../../x"]) | st.text(max_size=8)
            return st.dictionaries(names, st.one_of(_HEADS, _HEADS, _ANYTHING), max_size=4)
        case _:
            return _ANYTHING


def _struct(info: inspect.StructType) -> st.SearchStrategy[dict]:
    needed = {field.encode_name: _of(field.type) for field in info.fields if field.required}
    free = {field.encode_name: _of(field.type) for field in info.fields if not field.required}
    tag = {info.tag_field: st.just(info.tag)} if info.tag else {}
    return st.fixed_dictionaries(tag | needed, optional=free | {"unknown": _ANYTHING})
