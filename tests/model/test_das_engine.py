"""The das engine on a tiny checkpoint: what it tells and in which order, to the bit the same, cancelled, refused."""

import json
import shutil
import sys
import weakref

import numpy as np
import pytest
import torch
from diffusers import CogVideoXTransformer3DModel

from diffusion_as_shader.backend import engines
from diffusion_as_shader.backend.engines import das
from diffusion_as_shader.backend.models import pipeline
from diffusion_as_shader.backend.models.tiny import write_tiny_checkpoint
from diffusion_as_shader.shared.errors import Cancelled, DasError, GenerationError, UsageError
from diffusion_as_shader.shared.request import GenerationRequest

SIZE, COUNT, STEPS = (32, 48, 3), 9, 3


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def signals():
    """A square that moves, and a first frame of other colours."""
    tracking = np.zeros((COUNT, *SIZE), np.uint8)
    for index in range(COUNT):
        tracking[index, 8:24, 2 * index : 2 * index + 16] = (200, 120, 60)
    return {"tracking": tracking, "first_frame": np.full(SIZE, (30, 90, 200), np.uint8)}


@pytest.fixture(scope="module")
def engine():
    return das.DasEngine()


def make_request(weights, **fields) -> GenerationRequest:
    fields = {"prompt": "a fox", "steps": STEPS, "width": SIZE[1], "height": SIZE[0], "frames": COUNT} | fields
    return GenerationRequest(engine="das", weights=str(weights), **fields)


def run(engine, request, signals, cancelled=lambda: False) -> list:
    engine.load(request)
    return list(engine.generate(request, signals, cancelled=cancelled))


def frames_of(events) -> np.ndarray:
    return np.stack([event.pixels for event in events if isinstance(event, engines.Frame)])


@pytest.fixture(scope="module")
def plain(engine, weights, signals):
    """The frames of the plain request."""
    return frames_of(run(engine, make_request(weights), signals))


def test_phases_and_frames_come_in_order(weights, signals):
    events = run(das.DasEngine(), make_request(weights), signals)
    steps = [event for event in events if isinstance(event, engines.Progress)]
    assert list(dict.fromkeys(event.phase for event in steps)) == ["prompt", "load", "encode", "denoise", "decode"]
    assert [event.step for event in steps if event.phase == "denoise"] == list(range(STEPS + 1))
    for phase in {event.phase for event in steps}:
        of_phase = [event for event in steps if event.phase == phase]
        assert of_phase[0].step == 0 and of_phase[-1].step == of_phase[-1].total
    kinds = [type(event) for event in events]
    assert [event.index for event in events if isinstance(event, engines.Frame)] == list(range(COUNT))
    assert kinds.index(engines.Preview) < kinds.index(engines.Frame) and kinds[-1] is engines.Report
    shown = next(event.frames for event in events if isinstance(event, engines.Preview))
    assert shown.shape == (3, 4, 6, 3) and shown.dtype == np.uint8


def test_the_report_says_what_was_used(engine, weights, signals):
    report = run(engine, make_request(weights), signals)[-1]
    assert report.used == ["tracking", "first_frame"]
    assert report.versions["weights"] == str(weights) and report.versions["memory plan"] == "cpu"
    assert report.versions["torch"] == torch.__version__ and len(report.versions["weights transformer"]) == 64


def test_the_first_frames_leave_before_the_last_are_decoded(engine, weights, signals):
    clip = {"tracking": np.repeat(signals["tracking"], 2, axis=0)[:17], "first_frame": signals["first_frame"]}
    request = make_request(weights, frames=17, steps=1)
    engine.load(request)
    calls = []
    for event in engine.generate(request, clip, cancelled=lambda: False):
        if isinstance(event, engines.Frame):
            calls.append(event.index)
        if isinstance(event, engines.Progress) and event.phase == "decode":
            assert len(calls) == event.step
    assert calls == list(range(17))


def test_the_same_request_gives_the_same_frames_to_the_bit(engine, plain, weights, signals):
    np.testing.assert_array_equal(frames_of(run(engine, make_request(weights), signals)), plain)
    np.testing.assert_array_equal(frames_of(run(das.DasEngine(), make_request(weights), signals)), plain)
    assert plain.std() > 5


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"prompt": "a hen"},
        {"negative_prompt": "fog"},
        {"steps": STEPS + 1},
        {"scheduler": "ddim"},
        {"guidance": "constant"},
        {"guidance_scale": 3.0},
        {"tracking_range": "unsigned"},
        {"image_latent_scale": "div"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_in_the_request_counts(engine, plain, weights, signals, change):
    changed = frames_of(run(engine, make_request(weights, **change), signals))
    assert changed.shape == plain.shape and (changed != plain).any()


def test_tracking_and_first_frame_count(engine, plain, weights, signals):
    for name in signals:
        other = signals | {name: 255 - signals[name]}
        assert (frames_of(run(engine, make_request(weights), other)) != plain).any()


def test_what_is_loaded_stays_until_other_weights_are_asked_for(weights, signals, tmp_path):
    engine = das.DasEngine()
    run(engine, make_request(weights), signals)
    again = run(engine, make_request(weights, seed=3), signals)
    assert "load" not in {event.phase for event in again if isinstance(event, engines.Progress)}
    transformer = weakref.ref(engine._planned._pipeline._transformer)
    other = write_tiny_checkpoint(tmp_path / "other", seed=1)
    events = run(engine, make_request(other), signals)
    assert transformer() is None, "the first one has made room"
    assert "load" in {event.phase for event in events if isinstance(event, engines.Progress)}
    shutil.rmtree(other)
    write_tiny_checkpoint(other, seed=2)
    new = frames_of(run(engine, make_request(other), signals))
    assert (new != frames_of(events)).any(), "weights that changed on the disk are loaded again"
    transformer = weakref.ref(engine._planned._pipeline._transformer)
    engine.release()
    assert transformer() is None


def test_cancel_in_the_middle_of_a_step(engine, weights, signals, plain):
    """No block and no decoder runs after the answer was yes; the engine is well afterwards."""
    request = make_request(weights)
    engine.load(request)
    run(engine, request, signals)
    ran, decoded = [], []
    network = engine._planned._pipeline._transformer
    hooks = [block.register_forward_hook(lambda *_: ran.append(1)) for block in network.transformer_blocks]
    hooks.append(engine._planned._pipeline._vae.decoder.register_forward_hook(lambda *_: decoded.append(1)))
    try:
        with pytest.raises(Cancelled):
            run(engine, request, signals, cancelled=lambda: len(ran) >= 6)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(ran) == 6 and not decoded, "the third of four blocks in the second step was not run"
    np.testing.assert_array_equal(frames_of(run(engine, request, signals)), plain)


@pytest.mark.parametrize("phase", ["prompt", "load", "encode", "decode"])
def test_cancel_in_every_phase(weights, signals, phase):
    engine, seen = das.DasEngine(), []
    request = make_request(weights)
    engine.load(request)
    with pytest.raises(Cancelled):
        for event in engine.generate(request, signals, cancelled=lambda: phase in seen):
            if isinstance(event, engines.Progress) and event.step > 0:
                seen.append(event.phase)
    assert seen[-1] == phase


def test_the_preview_is_shown_at_an_interval(engine, weights, signals, monkeypatch):
    monkeypatch.setattr(pipeline, "SECONDS_BETWEEN_PREVIEWS", 0.0)
    every = run(engine, make_request(weights), signals)
    assert sum(isinstance(event, engines.Preview) for event in every) == STEPS
    monkeypatch.setattr(pipeline, "SECONDS_BETWEEN_PREVIEWS", 1000.0)
    once = run(engine, make_request(weights), signals)
    assert sum(isinstance(event, engines.Preview) for event in once) == 1


def test_a_prompt_too_long_is_refused(engine, weights, signals):
    with pytest.raises(UsageError, match="The prompt has 301 tokens, and the model reads 226"):
        run(engine, make_request(weights, prompt="x" * 300), signals)
    with pytest.raises(UsageError, match="The negative prompt has"):
        run(engine, make_request(weights, negative_prompt="x" * 300), signals)


def test_sizes_that_the_weights_do_not_make_are_refused(weights, signals, tmp_path):
    """Learnt positions, as in the published weights, fit one size."""
    folder = tmp_path / "fixed"
    shutil.copytree(weights, folder)
    config = json.loads((folder / "transformer" / "config.json").read_text())
    (folder / "transformer" / "config.json").write_text(json.dumps(config | {"use_learned_positional_embeddings": True}))
    with pytest.raises(UsageError, match="make 96x64 and 17 frames, not 48x32 and 9 frames") as caught:
        das.DasEngine().load(make_request(folder))
    assert caught.value.fix


def test_weights_that_are_not_there_are_refused(tmp_path):
    for source in (tmp_path / "nothing", "nobody/nothing"):
        with pytest.raises(DasError) as caught:
            das.DasEngine().load(make_request(source))
        assert caught.value.fix


def test_an_unknown_plan_is_refused(weights):
    with pytest.raises(UsageError, match="memory plan moon is not possible"):
        das.DasEngine().load(make_request(weights, memory_plan="moon"))


def test_what_is_missing_is_told(monkeypatch, das_home, tmp_path):
    monkeypatch.setenv("DAS_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    info = das.DasEngine().capabilities()
    assert not info.available and "not on this machine" in info.reason and "das models pull" in info.fix
    assert info.prompt and info.preview and info.sizes == [(720, 480)] and info.frames == [49]
    monkeypatch.setitem(sys.modules, "diffusers", None)
    info = das.DasEngine().capabilities()
    assert "diffusers" in info.reason and "setup --model" in info.fix
    with pytest.raises(GenerationError, match="diffusers"):
        das.DasEngine().load(make_request(tmp_path))


def test_a_base_model_gets_a_branch_on_purpose_only(engine, weights, signals, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(weights, base)
    shutil.rmtree(base / "transformer")
    engine.load(make_request(weights))
    run(engine, make_request(weights), signals)
    network = engine._planned._pipeline._transformer
    config = {key: value for key, value in network.config.items() if not key.startswith("_") and key != "num_tracking_blocks"}
    CogVideoXTransformer3DModel(**config).save_pretrained(base / "transformer")
    with pytest.raises(UsageError, match="without the tracking branch") as caught:
        run(das.DasEngine(), make_request(base), signals)
    assert "--from-base" in caught.value.fix
    report = run(das.DasEngine(), make_request(base, from_base=True), signals)[-1]
    assert any("untrained" in note for note in report.notes)
