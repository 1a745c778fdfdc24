"""The request: what it accepts, what it says where it does not, and that it keeps its form."""

import msgspec
import pytest

from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.request import FirstFrame, GenerationRequest, check


def test_the_default_request_is_the_models():
    request = check(GenerationRequest())
    assert (request.width, request.height, request.frames) == (720, 480, 49)


@pytest.mark.parametrize(
    "change",
    [
        {"start": 1, "end": 1},
        {"start": 9, "end": 2},
        {"start": float("nan")},
        {"end": float("inf")},
        {"scene_fps": 0},
        {"frames": 48},
        {"frames": 1},
        {"frames": 1033},
        {"width": 719},
        {"height": 0},
        {"width": 8192},
        {"prompt": "a" * 4001},
        {"negative_prompt": "a" * 4001},
        {"seed": -1},
        {"seed": 2**32},
        {"engine": "../das"},
        {"first_frame": FirstFrame(source="file")},
        {"first_frame": FirstFrame(source="cycles", samples=-1)},
        {"steps": 0},
        {"steps": 1001},
        {"guidance_scale": -1},
        {"guidance_scale": float("nan")},
        {"memory_plan": "../plan"},
    ],
    ids=lambda change: ",".join(change),
)
def test_what_cannot_be_done_is_refused_with_a_fix(change):
    with pytest.raises(UsageError) as caught:
        check(GenerationRequest(**change))
    assert caught.value.fix and caught.value.message.endswith(".")


def test_frame_count_suggests_what_is_possible():
    with pytest.raises(UsageError, match="41 or 49"):
        check(GenerationRequest(frames=48))


def test_a_request_survives_json_and_leaves_defaults_out():
    request = GenerationRequest(prompt="a red fox", start=1.5, end=20, first_frame=FirstFrame(source="cycles", samples=4))
    stored = msgspec.json.encode(request)
    assert msgspec.json.decode(stored, type=GenerationRequest) == request
    assert set(msgspec.json.decode(stored)) == {"prompt", "start", "end", "first_frame"}


def test_fields_of_a_newer_version_are_ignored():
    assert msgspec.json.decode(b'{"seed": 3, "sampler": "new"}', type=GenerationRequest).seed == 3
