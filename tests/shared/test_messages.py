"""Every message crosses and comes back the same; what is not of the schema is refused."""

from typing import get_args

import msgspec
import numpy as np
import pytest

from diffusion_as_shader.shared import messages, wire
from diffusion_as_shader.shared.request import GenerationRequest

JOB = "0123456789abcdef" * 2
PIXELS = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
ENGINE = messages.EngineInfo(name="projection", uses=["rest"], sizes=[(720, 480)])
INFO = messages.JobInfo(
    job=JOB,
    state="failed",
    title="A walk",
    engine="projection",
    frames=49,
    progress=messages.Progress(job=JOB, phase="warp", step=1, total=2, eta=1.5),
    failure=messages.Failed(job=JOB, kind="engine", message="No.", fix="Yes."),
)
EXAMPLES = {
    messages.ToServer: [
        messages.Hello(protocol=1, package="0.1", name="Blender", pid=4, host="here"),
        messages.Submit(job=JOB, request=GenerationRequest(prompt="été"), signals={"tracking": PIXELS}, title="A walk"),
        messages.Cancel(job=JOB),
        messages.Status(job=JOB),
        messages.List(),
        messages.Reorder(job=JOB, position=2),
        messages.Retry(job=JOB),
        messages.Attach(job=JOB, have=[0, 48]),
        messages.Received(job=JOB, index=3),
        messages.Release(),
        messages.ReleaseMemory(),
        messages.Shutdown(),
        messages.Heartbeat(number=5),
    ],
    messages.ToClient: [
        messages.Welcome(protocol=1, package="0.1", pid=5, engines=[ENGINE]),
        messages.Refused(kind="usage", message="No.", fix="Yes.", to="submit", job=JOB),
        messages.Accepted(job=JOB, position=1),
        messages.Job(info=INFO),
        messages.Jobs(jobs=[INFO, INFO]),
        messages.MemoryReleased(released=False),
        messages.Stopping(),
        messages.Heartbeat(number=5, answer=True),
        messages.Progress(job=JOB, phase="warp", step=1, total=2),
        messages.Preview(job=JOB, array=PIXELS[None]),
        messages.Frame(job=JOB, index=2, array=PIXELS),
        messages.Signal(job=JOB, index=1, name="tracking", array=PIXELS),
        messages.Done(job=JOB, used=["rest"], notes=["A note."], timings={"load": 0.5}, versions={"numpy": "2"}),
        messages.Failed(job=JOB, kind="engine", message="No.", fix="Yes.", action="smaller_video"),
        messages.Cancelled(job=JOB),
    ],
    messages.FromWorker: [messages.Ready(pid=3, engines=[ENGINE]), messages.MemoryReleased(), messages.Frame(job=JOB, index=2), messages.Signal(job=JOB, index=1, name="valid")],
    messages.ToWorker: [
        messages.Work(job=JOB, request=GenerationRequest(seed=7), folder="/spool/x"),
        messages.Stop(job=JOB),
        messages.ReleaseMemory(),
    ],
}
CASES = [(union, message) for union, examples in EXAMPLES.items() for message in examples]


@pytest.mark.parametrize("union, message", CASES, ids=lambda value: type(value).__name__)
def test_round_trip(union, message):
    back = wire.decode([bytes(frame) for frame in wire.encode(message)], union)
    assert type(back) is type(message)
    assert plain(back) == plain(message)


def test_no_message_is_forgotten_here():
    for union in (messages.ToServer, messages.ToClient):
        assert {type(message) for message in EXAMPLES[union]} == set(get_args(union))


def test_types_are_distinct():
    kinds = {kind for union in EXAMPLES for kind in get_args(union)}
    assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)


def test_unknown_fields_are_ignored():
    raw = msgspec.msgpack.encode({"type": "cancel", "job": JOB, "since_version_9": {"a": [1]}})
    assert wire.decode([raw], messages.ToServer) == messages.Cancel(job=JOB)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "cancel", "job": "../../etc/passwd"},
        {"type": "cancel", "job": JOB.upper()},
        {"type": "cancel", "job": JOB + "\n"},
        {"type": "cancel", "job": 3},
        {"type": "cancel"},
        {"type": "nothing of ours"},
        {"job": JOB},
        {"type": "received", "job": JOB, "index": -1},
        {"type": "attach", "job": JOB, "have": [10**9]},
        {"type": "hello", "protocol": 1, "name": "x" * 201},
        {"type": "submit", "job": JOB, "request": {"engine": 1}, "signals": {}},
        [1, 2],
        None,
    ],
)
def test_what_the_schema_does_not_allow_is_malformed(fields):
    with pytest.raises(wire.Malformed):
        wire.decode([msgspec.msgpack.encode(fields)], messages.ToServer)


def plain(message):
    """A message as builtins, arrays as (dtype, values)."""
    return msgspec.to_builtins(message, enc_hook=lambda array: [array.dtype.str, array.tolist()])
