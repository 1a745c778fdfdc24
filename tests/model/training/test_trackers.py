"""What a run tells beside its own log: TensorBoard's files, and the sentence where a tracker or another library is not there."""

import io
import json

import pytest

from diffusion_as_shader.backend.training.config import read_config
from diffusion_as_shader.backend.training.session import Session
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.report import Reporter


def session(file) -> Session:
    return Session(read_config(file)[0].config, Reporter(io.StringIO(), io.StringIO()), lambda: False)


def test_tensorboard_holds_what_the_log_holds(written, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs the extra train")
    session(written(trackers=["tensorboard"], steps=3, validate_every=2)).train(resume=False)
    [events] = {file.parent for file in (tmp_path / "run").rglob("*tfevents*") if reader.EventAccumulator(str(file)).Reload().Tags()["scalars"]}
    found = reader.EventAccumulator(str(events)).Reload()
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    for event, name in (("train", "loss"), ("validation", "control_ratio"), ("validation", "training_control_ratio")):
        told = [(one.step, one.value) for one in found.Scalars(f"{event}/{name}")]
        assert told == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines if line["event"] == event]
    assert [line["step"] for line in lines if line["event"] == "validation"] == [2, 3]


def test_a_tracker_that_is_not_there_is_told_before_anything_is_loaded(written, tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: [])
    with pytest.raises(UsageError, match="The tracker wandb is not installed. Install it with pip, or leave it out: log.jsonl is written always."):
        session(written(trackers=["wandb"]))
    with pytest.raises(UsageError, match="There is no tracker diary. Choose of .*tensorboard"):
        session(written(trackers=["diary"]))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("setting", "needs"), [({"optimizer": "adamw8bit"}, "The optimizer adamw8bit needs bitsandbytes."), ({"method": "lora"}, "The method lora needs PEFT.")])
def test_a_library_that_is_not_there_is_told_before_anything_is_loaded(written, tmp_path, monkeypatch, setting, needs):
    monkeypatch.setattr("diffusion_as_shader.backend.training.session.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=needs):
        session(written(**setting))
    assert not (tmp_path / "run").exists()
