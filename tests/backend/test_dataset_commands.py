"""`das dataset check`, `stats` and `preview` as a user runs them: exit codes, sentences with file and line, the sheet."""

import json
import subprocess
import sys

import numpy as np
import pytest
from small_dataset import FRAMES, HEIGHT, WIDTH, add_clip, write_dataset

from diffusion_as_shader.backend.images import ImageioImages
from diffusion_as_shader.backend.training.inspection import GAP, LABEL, TILE_WIDTH, TIMES
from diffusion_as_shader.shared.dataset import Dataset


def das(*words):
    """(exit code, standard output, standard error) of `das dataset WORDS`."""
    command = [sys.executable, "-m", "diffusion_as_shader", "dataset", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def result(out: str) -> dict:
    return next(line for line in map(json.loads, out.splitlines()) if line["event"] == "result")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("Clips für Übung") / "wand"
    write_dataset(root, 3)
    return root


@pytest.fixture
def dataset(tmp_path):
    write_dataset(tmp_path / "clips", 3)
    return tmp_path / "clips"


def lines_of(file, change) -> None:
    file.write_text("".join(f"{line}\n" for line in change(file.read_text(encoding="utf-8").splitlines())), encoding="utf-8")


def test_a_right_dataset_is_said_to_be_right(whole):
    code, out, _ = das("check", whole)
    assert code == 0 and out.strip() == f"{whole} is right: 3 clips."
    code, out, _ = das("check", whole, "--json")
    assert code == 0 and (result(out)["clips"], result(out)["findings"]) == (3, 0)


def test_lists_out_of_step_are_told_by_file_and_line(dataset):
    lines_of(dataset / "videos.txt", lambda lines: lines[:2])
    lines_of(dataset / "prompt.txt", lambda lines: [lines[0], "", lines[2]])
    code, out, _ = das("check", dataset)
    assert code == 2
    assert "videos.txt, line 3: It ends after 2 lines, and prompt.txt has 3. Give each clip one line in every list." in out
    assert "prompt.txt, line 2: The prompt is empty. Say what the clip shows." in out
    code, out, _ = das("check", dataset, "--json")
    found = [line for line in map(json.loads, out.splitlines()) if line["event"] == "finding"]
    assert code == 2 and {"file": "prompt.txt", "line": 2}.items() <= found[1].items() | found[0].items()
    assert result(out)["findings"] == len(found) >= 2


def test_a_file_that_is_missing_and_a_path_that_leads_out(dataset):
    (dataset / "videos/00002.mkv").unlink()
    lines_of(dataset / "trackings.txt", lambda lines: ["../00001_tracking.mkv", *lines[1:]])
    code, out, _ = das("check", dataset)
    assert code == 2 and "videos.txt, line 2: There is no file videos/00002.mkv." in out
    assert "trackings.txt, line 1: ../00001_tracking.mkv leads out of the dataset." in out


def test_clips_that_are_corrupt_short_black_or_of_another_size(dataset):
    opened = Dataset.open(dataset)
    add_clip(opened, "00004", 1, size=(64, 64))
    add_clip(opened, "00005", 1, frames=8)
    whole = (dataset / "videos/00001.mkv").read_bytes()
    (dataset / "videos/00001.mkv").write_bytes(whole[:200])
    ImageioImages().write_lossless(dataset / "tracking/00002_tracking.mkv", np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8), 8.0)
    ImageioImages().write_lossless(dataset / "tracking/00003_tracking.mkv", np.ones((FRAMES - 1, HEIGHT, WIDTH, 3), np.uint8), 8.0)
    code, out, err = das("check", dataset)
    assert code == 2 and "Traceback" not in err
    told = dict(line.split(": ", 1) for line in out.splitlines())
    assert "00001.mkv cannot be read as a video" in told["videos.txt, line 1"]
    assert "00002_tracking.mkv begins black: nothing is followed." in told["trackings.txt, line 2"]
    assert f"00003.mkv is 96x64 with {FRAMES} frames, and its tracking 96x64 with {FRAMES - 1} frames." in told["trackings.txt, line 3"]
    assert "frames 8N+1" in out and "videos.txt, line 5" in told
    assert "2 clips are not of the size that most have, 96x64 with 9 frames: this is 64x64 with 9 frames." in told["videos.txt, line 4"]


def test_a_dataset_of_which_most_cannot_be_read(dataset):
    for name in ("00001", "00002"):
        (dataset / f"videos/{name}.mkv").write_bytes(b"nothing")
    code, out, err = das("check", dataset)
    assert code == 2 and out.count("cannot be read as a video") == 2 and "Traceback" not in err


def test_what_is_no_dataset_is_told(tmp_path):
    for action in ("check", "stats", "preview"):
        code, _, err = das(action, tmp_path / "none")
        assert code == 2 and "There is no folder" in err, action
    (tmp_path / "empty").mkdir()
    code, out, _ = das("check", tmp_path / "empty")
    assert code == 2 and "prompt.txt: It is missing." in out
    code, _, err = das("stats", tmp_path / "empty")
    assert code == 2 and "is missing" in err


def test_stats_say_how_much_is_followed_and_how_far_it_moves(whole, tmp_path):
    code, out, _ = das("stats", whole, "--json")
    assert code == 0
    for clip in result(out)["clips"]:
        assert clip["moved"] == pytest.approx(3 * (FRAMES - 1) / WIDTH, abs=1 / WIDTH)
        assert clip["coverage"] == pytest.approx(1 - 3 * (FRAMES - 1) / 2 / WIDTH, abs=0.01)
    write_dataset(tmp_path / "still", 2, pixels_a_frame=0)
    code, out, _ = das("stats", tmp_path / "still")
    assert code == 0 and "In 2 clips hardly anything moves: 00001, 00002." in out


def test_a_preview_is_a_row_a_clip_with_its_tracking_below(whole, tmp_path):
    code, out, _ = das("preview", whole, "-o", tmp_path / "Blatt.png", "--count", "2")
    assert code == 0 and str(tmp_path / "Blatt.png") in out
    sheet = ImageioImages().read(tmp_path / "Blatt.png")
    tile = TILE_WIDTH * HEIGHT // WIDTH
    row = LABEL + 2 * (tile + GAP)
    assert sheet.shape == (2 * row, GAP + TIMES * (TILE_WIDTH + GAP), 3)
    last = sheet[LABEL + tile + GAP : LABEL + 2 * tile, GAP + 3 * (TILE_WIDTH + GAP) : -GAP]
    assert last[:, 10:100].any(axis=-1).all() and not last[:, -30:].any(), "what came in at the right was not followed"
    code, out, _ = das("preview", whole)
    assert code == 0 and (whole / "preview.png").is_file()
