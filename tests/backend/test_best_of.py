"""Scores of finished takes and the best of several seeds, through a real backend."""

import json
import os
import signal
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import moving_engine  # noqa: E402
from conftest import know_backend  # noqa: E402

from diffusion_as_shader.backend.commands import generate, score  # noqa: E402
from diffusion_as_shader.backend.images import ImageioImages  # noqa: E402
from diffusion_as_shader.shared import cli, home  # noqa: E402
from diffusion_as_shader.shared.camera import Camera, Intrinsics, camera_path  # noqa: E402
from diffusion_as_shader.shared.errors import Cancelled, GenerationError, UsageError  # noqa: E402
from diffusion_as_shader.shared.report import JsonReporter, Reporter  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402
from diffusion_as_shader.shared.take import Take, content_hash  # noqa: E402

WIDTH, HEIGHT, COUNT = 128, 80, 9


class Lines(list):
    def write(self, text):
        self.append(text)

    def flush(self):
        pass

    def isatty(self):
        return False

    @property
    def result(self):
        return json.loads(self[-1])


@pytest.fixture(autouse=True)
def this_is_the_backend(monkeypatch):
    """A backend is started from the Python that runs the tests, with the engine for tests."""
    home.home().mkdir(parents=True, exist_ok=True)
    know_backend()
    monkeypatch.setenv("DAS_EXTRA_ENGINES", f"{moving_engine.NAME}=moving_engine:MovingEngine")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]))


def das(command, *words, reporter=JsonReporter) -> Lines:
    lines = Lines()
    args = cli.parser().parse_args([command, *map(str, words)])
    module = {"generate": generate, "score": score}[command]
    assert module.run(args, reporter(lines, Lines())) == 0
    return lines


@pytest.fixture
def take(tmp_path) -> Take:
    """A wall that fills the window and moves to the right, as a capture would tell it."""
    request = GenerationRequest(engine=moving_engine.NAME, width=WIDTH, height=HEIGHT, frames=COUNT, start=1, end=9, seed=1)
    take = Take.create(tmp_path / "take", request, ImageioImages())
    noise = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (HEIGHT, WIDTH, 3)), (0, 0), 2)
    take.write_first_frame(np.clip(127 + 45 * noise / noise.std(), 0, 255).astype(np.uint8))
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    rest = np.stack([[(x - index * moving_engine.SPEED - WIDTH / 2) / 100, (y - HEIGHT / 2) / 100, np.ones_like(x)] for index in range(COUNT)])
    rest = np.ascontiguousarray(rest.transpose(0, 2, 3, 1).astype(np.float32))
    tracking = np.zeros((COUNT, HEIGHT, WIDTH, 3), np.uint8)
    for index, frame in enumerate(tracking):
        take.write_tracking_frame(index, frame)
    shape = rest.shape[:3]
    take.write_signals({"valid": np.ones(shape, bool), "rest": rest, "object": np.ones(shape, np.uint16), "depth": np.ones(shape, np.float32)})
    camera = Camera(Intrinsics(WIDTH, HEIGHT, 100.0, 100.0, WIDTH / 2, HEIGHT / 2), np.eye(4))
    take.write_camera_path(camera_path([camera] * COUNT, np.arange(1, 10), 24))
    take.write_objects(["Wall"])
    take.record.hashes["tracking"] = content_hash(tracking)
    take.save()
    return take


def reopened(folder) -> Take:
    return Take.open(folder, ImageioImages())


def test_the_seed_that_keeps_to_the_motion_is_the_best(take):
    told = das("generate", take.folder, "--best-of", 3).result
    folders = {seed: take.folder.with_name(name) for seed, name in ((1, "take"), (2, "take-seed-2"), (3, "take-seed-3"))}
    assert told["take"] == str(folders[2]) and told["video"] == str(folders[2] / "video.mp4")
    assert [row["seed"] for row in told["best_of"]][0] == 2 and len(told["best_of"]) == 3
    values = {row["seed"]: row["score"]["value"] for row in told["best_of"]}
    assert values[2] > 0.9 and 0.1 < values[1] < 0.8 and 0.1 < values[3] < 0.8
    assert told["why"].startswith("take-seed-2 keeps nearest") and "Wall (median error 0." in told["why"]
    records = {seed: reopened(folder).record for seed, folder in folders.items()}
    assert {seed: record.request.seed for seed, record in records.items()} == {1: 1, 2: 2, 3: 3}
    assert records[2].score.rank == 1 and {record.score.of for record in records.values()} == {3}
    wall = records[2].score.objects[0]
    assert wall.name == "Wall" and wall.median_error < 0.3 and wall.within[4] > 0.95 and 14 < wall.motion < 22
    assert [seed for seed, folder in folders.items() if (folder / "favourite").exists()] == [2]


def test_what_is_there_is_not_made_again(take):
    das("generate", take.folder, "--best-of", 2)
    second = take.folder.with_name("take-seed-2")
    stamps = [(folder / "video.mp4").stat().st_mtime_ns for folder in (take.folder, second)]
    (second / "frames" / "0003.png").unlink()
    told = das("generate", take.folder, "--best-of", 3).result
    assert len(told["best_of"]) == 3 and not reopened(second).missing_frames()
    again = [(folder / "video.mp4").stat().st_mtime_ns for folder in (take.folder, second)]
    assert again[0] == stamps[0] and again[1] > stamps[1]


def test_a_seed_that_fails_leaves_the_others(take):
    told = das("generate", take.folder, "--best-of", 2, "--prompt", "no seed 1").result
    assert told["take"].endswith("take-seed-2") and told["state"] == "done"
    failed = told["best_of"][1]
    assert (failed["seed"], failed["state"], failed["score"]) == (1, "failed", None) and "seed 1 fails" in failed["failure"]["message"]


def test_all_seeds_fail(take):
    with pytest.raises(GenerationError, match="All of 2 seeds failed. The seed 1 fails"):
        das("generate", take.folder, "--best-of", 2, "--prompt", "no seed at all")


def test_one_take_is_scored_at_once_or_later_with_the_same_score(take):
    at_once = das("generate", take.folder, "--score").result["score"]
    assert at_once["value"] > 0.1 and at_once["of"] == 0
    later = das("score", take.folder).result
    assert later["score"] == at_once and later["take"] == str(take.folder)
    assert reopened(take.folder).record.state == "done"
    told = "".join(das("score", take.folder, reporter=Reporter))
    assert f"control score {at_once['value']:.3f}" in told and "Wall" in told


def test_takes_that_are_there_are_ranked(take):
    das("generate", take.folder)
    das("generate", take.folder, "--seed", 2, "-o", take.folder.with_name("other"))
    told = "".join(das("score", take.folder, take.folder.with_name("other"), reporter=Reporter))
    assert told.index(" * other") < told.index("   take") and "other keeps nearest" in told


def test_a_take_that_does_not_know_its_truth_says_why(take):
    (take.folder / "signals.npz").unlink()
    told = das("generate", take.folder, "--score").result
    assert told["score"]["value"] is None and "does not know where its points truly are" in told["score"]["why_not"]
    assert told["state"] == "done"


def test_a_still_wall_is_not_scored(take):
    with np.load(take.folder / "signals.npz") as stored:
        signals = dict(stored)
    signals["rest"] = np.repeat(signals["rest"][:1], COUNT, axis=0)
    take.write_signals(signals)
    told = das("generate", take.folder, "--score").result
    assert told["score"]["value"] is None and "Nothing moves" in told["score"]["why_not"]


@pytest.mark.parametrize("words, sentence", [(["--best-of", "0"], "best of 0"), (["--best-of", "99"], "best of 99")])
def test_what_is_refused(take, words, sentence):
    with pytest.raises(UsageError, match=sentence):
        das("generate", take.folder, *words)
    with pytest.raises(UsageError, match="lacks 9 of its frames"):
        das("score", take.folder)
    assert reopened(take.folder).record.state == "prepared"


def test_a_seed_with_other_settings_beside_it_is_refused(take):
    das("generate", take.folder, "--best-of", 2)
    other = reopened(take.folder.with_name("take-seed-2"))
    other.record.request = msgspec.structs.replace(other.record.request, prompt="another")
    other.save()
    with pytest.raises(UsageError, match="take-seed-2 was begun with other settings: prompt"):
        das("generate", take.folder, "--best-of", 2)


class Interrupting(JsonReporter):
    """Presses Ctrl-C once the first take is scored."""

    def progress(self, phase, step, total, eta=None):
        if phase == "score" and not getattr(self, "pressed", False):
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_stops_and_the_same_command_goes_on(take):
    with pytest.raises(Cancelled):
        das("generate", take.folder, "--best-of", 2, reporter=Interrupting)
    first, second = (reopened(folder).record for folder in (take.folder, take.folder.with_name("take-seed-2")))
    assert first.state == "done" and first.score is None and second.state == "prepared"
    told = das("generate", take.folder, "--best-of", 2).result
    assert [row["seed"] for row in told["best_of"]] == [2, 1]
