"""What a submitted job must be: its engine can be used and makes that size, unless it brings weights of its own."""

import uuid

import msgspec
import pytest
from conftest import make_signals

from diffusion_as_shader.backend.intake import check_submit
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.messages import EngineInfo, Submit
from diffusion_as_shader.shared.request import GenerationRequest

MISSING = EngineInfo(name="das", available=False, reason="The weights are not on this machine.", fix="Fetch them.")
FIXED = EngineInfo(name="das", frames=[49], sizes=[(720, 480)])


def submit(**fields) -> Submit:
    request = GenerationRequest(engine="das", **{"width": 32, "height": 16, "frames": 9} | fields)
    return Submit(job=uuid.uuid4().hex, request=request, signals=make_signals(request))


@pytest.mark.parametrize(
    "info, sentence",
    [
        (MISSING, "not on this machine"),
        (FIXED, "makes 49 frames, not 9"),
        (msgspec.structs.replace(FIXED, frames=[]), "makes 720x480, not 32x16"),
        (EngineInfo(name="other"), "no engine das"),
    ],
)
def test_what_the_engine_cannot_do_is_refused(info, sentence):
    with pytest.raises(UsageError, match=sentence) as caught:
        check_submit(submit(), [info])
    assert caught.value.fix


@pytest.mark.parametrize("info", [MISSING, FIXED], ids=["not available", "other sizes"])
def test_own_weights_are_for_the_engine_to_judge(info):
    check_submit(submit(weights="/somewhere"), [info])
    with pytest.raises(UsageError, match="no engine das"):
        check_submit(submit(weights="/somewhere"), [EngineInfo(name="other")])
