"""`das dataset video`: clips of real videos, with lists that are never out of step, whatever the videos are."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from diffusion_as_shader.backend.commands import dataset_video
from diffusion_as_shader.backend.images import ImageioImages
from diffusion_as_shader.backend.training import inspection, video_clips
from diffusion_as_shader.shared.command_line import parser
from diffusion_as_shader.shared.dataset import Dataset, check_lists
from diffusion_as_shader.shared.errors import GenerationError, UsageError
from diffusion_as_shader.shared.report import JsonReporter
from diffusion_as_shader.shared.track_files import Tracks, encode_tracks, read_tracks

WIDTH, HEIGHT, FRAMES = 96, 64, 9
SMALL = ("--count", str(FRAMES), "--size", f"{WIDTH}x{HEIGHT}", "--grid", "12x8")
STEP = np.array([3.0, 1.0])  # pixels a frame


def write_video(file: Path, count: int = FRAMES, seed: int = 0) -> Path:
    """A patched wall that the camera goes along: it slides by STEP to the left and upwards."""
    wall = np.random.default_rng(seed).integers(0, 256, (16, 24, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    frames = [wall[y : y + HEIGHT, x : x + WIDTH] for x, y in (STEP * np.arange(count)[:, None]).astype(int)]
    file.parent.mkdir(exist_ok=True, parents=True)
    ImageioImages().write_h264(file, frames, 24.0)
    return file


@pytest.fixture
def videos(tmp_path) -> Path:
    folder = tmp_path / "Videos für Übung"
    for seed, name in enumerate(("alte_wand", "neue-wand")):
        write_video(folder / f"{name}.mp4", seed=seed)
    return folder


def made(*words) -> dict:
    """The result of a command that ends well or with failures, with its exit code and events."""
    out = io.StringIO()
    args = parser().parse_args(["dataset", "video", *map(str, words)])
    code = dataset_video.run(args, JsonReporter(out, io.StringIO()))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    return {"code": code, "lines": lines} | next(line for line in lines if line["event"] == "result")


def test_a_folder_becomes_clips_that_training_takes(videos, tmp_path):
    root = tmp_path / "clips"
    run = made(videos, "-o", root, *SMALL, "--licence", "CC0 1.0", "--source", "ourselves")
    assert (run["code"], run["clips"], run["made"], run["failed"]) == (0, 2, 2, [])
    assert {"read", "tracks", "draw", "clips"} <= {line["phase"] for line in run["lines"] if line["event"] == "progress"}
    assert inspection.check(root, lambda done, total: None) == []
    first = Dataset.open(root).records[0]
    assert (first.name, first.prompt, first.fps) == ("v00001", "alte wand", 24.0)
    [source] = first.sources
    assert (source.licence, source.source, len(source.sha256)) == ("CC0 1.0", "ourselves", 64)
    assert first.settings["tracker"] == "dis" and first.settings["points"] == 96 and first.settings["kept"] > 0.5


def test_the_tracking_video_shows_where_the_tracker_has_seen_each_point(videos, tmp_path):
    made(videos, "-o", tmp_path / "clips", *SMALL)
    clip = Dataset.open(tmp_path / "clips").clips[0]
    tracks, tracking = read_tracks(clip.tracks), ImageioImages().read_video(clip.tracking)
    seen = tracks.visible[-1]
    moved = np.median((tracks.xy[-1] - tracks.xy[0])[seen], axis=0)
    assert np.abs(moved + STEP * (FRAMES - 1)).max() < 1.0
    column, row = np.floor(tracks.xy[-1][seen]).astype(int).T
    code = tracking[-1, row, column, :2] / 255 * (WIDTH, HEIGHT)
    assert np.median(np.abs(code - tracks.xy[0][seen])) < 1.0, "each colour says where its point was at first"


def test_what_fails_is_noted_and_the_rest_goes_on(videos, tmp_path):
    whole = (videos / "alte_wand.mp4").read_bytes()
    (videos / "broken.mp4").write_bytes(whole[: len(whole) // 2])
    write_video(videos / "kurz.mp4", count=5)
    root = tmp_path / "clips"
    run = made(videos, "-o", root, *SMALL)
    assert (run["code"], run["clips"]) == (5, 2) and len(run["failed"]) == 2
    assert check_lists(root) == []
    told = {line["clip"]: line["message"] for line in map(json.loads, (root / "failures.jsonl").read_text(encoding="utf-8").splitlines())}
    assert "broken.mp4 cannot be read as a video" in told["broken.mp4"] and "has 5 frames there, and a clip has 9" in told["kurz.mp4"]
    before = Dataset.open(root).records
    write_video(videos / "kurz.mp4", seed=5)
    again = made(videos, "-o", root, *SMALL)
    assert (again["code"], again["made"], again["clips"]) == (5, 1, 3), "only what was missing is made"
    assert Dataset.open(root).records[:2] == before and [one.name for one in Dataset.open(root).records] == ["v00001", "v00002", "v00003"]


def test_a_file_of_tracks_is_taken_where_no_tracker_is(videos, tmp_path):
    grid = np.stack(np.meshgrid(np.linspace(30, 90, 8), np.linspace(12, 60, 6)), axis=-1).reshape(-1, 2)
    xy = (grid - STEP * np.arange(FRAMES)[:, None, None]).astype(np.float32)
    (tmp_path / "tracks").mkdir()
    for video in videos.iterdir():
        content = encode_tracks(Tracks(xy=xy, visible=np.ones(xy.shape[:2], bool), depth=np.full(xy.shape[:2], 5, np.float32)))
        (tmp_path / "tracks" / f"{video.stem}.npz").write_bytes(content)
    run = made(videos, "-o", tmp_path / "clips", "--count", FRAMES, "--size", "96x64", "--tracks", tmp_path / "tracks")
    assert (run["code"], run["made"]) == (0, 2)
    clip = Dataset.open(tmp_path / "clips").clips[1]
    assert np.array_equal(read_tracks(clip.tracks).xy, xy) and clip.record.settings["depth"] == "known"
    (tmp_path / "tracks/neue-wand.npz").unlink()
    run = made(videos, "-o", tmp_path / "other", "--count", FRAMES, "--size", "96x64", "--tracks", tmp_path / "tracks")
    assert run["code"] == 5 and [Path(one).name for one in run["failed"]] == ["neue-wand.mp4"]


def test_prompts_by_line_by_table_and_by_sidecar(videos, tmp_path):
    (tmp_path / "prompts.txt").write_text("an old wall\na new wall\n", encoding="utf-8")
    made(videos, "-o", tmp_path / "a", *SMALL, "--prompts", tmp_path / "prompts.txt")
    assert (tmp_path / "a/prompt.txt").read_text() == "an old wall\na new wall\n"
    (tmp_path / "table.csv").write_text('video,prompt,licence\nneue-wand.mp4,"new, grey",CC BY\nalte_wand,old,\n', encoding="utf-8")
    made(videos, "-o", tmp_path / "b", *SMALL, "--prompts", tmp_path / "table.csv", "--licence", "own")
    records = Dataset.open(tmp_path / "b").records
    assert [(one.prompt, one.sources[0].licence) for one in records] == [("old", "own"), ("new, grey", "CC BY")]
    (videos / "alte_wand.mp4.json").write_text('{"name": "a ruin", "licence": "CC0"}')
    (tmp_path / "list.txt").write_text(f"{videos.name}/alte_wand.mp4\n", encoding="utf-8")
    made(tmp_path / "list.txt", "-o", tmp_path / "c", *SMALL, "--prompt", "a video of {video}")
    [record] = Dataset.open(tmp_path / "c").records
    assert (record.prompt, record.sources[0].licence) == ("a video of a ruin", "CC0")


@pytest.mark.parametrize(
    ("prompts", "content", "said"),
    [
        ("p.txt", "one\n", "p.txt has 1 lines, and there are 2 videos."),
        ("p.txt", "one\n\ntwo\n", "p.txt has 3 lines"),
        ("p.txt", "\ntwo\n", "p.txt, line 1 is empty."),
        ("p.csv", "file,prompt\n", "p.csv, line 1 names the columns file, prompt."),
        ("p.csv", "video,prompt\nalte_wand,old\n", "p.csv has no line for neue-wand.mp4."),
        ("p.csv", "video,prompt\nalte_wand,old, grey\n", "p.csv, line 2 has no prompt, or other columns"),
    ],
)
def test_prompts_that_do_not_fit_are_refused_before_the_start(videos, tmp_path, prompts, content, said):
    (tmp_path / prompts).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        made(videos, "-o", tmp_path / "clips", *SMALL, "--prompts", tmp_path / prompts)
    assert said in str(raised.value) and not (tmp_path / "clips").exists()


def test_what_makes_no_sense_is_refused(videos, tmp_path):
    out = ("-o", tmp_path / "clips")
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("alte.mp4\n")
    for words, said in {
        (tmp_path / "empty",): "empty holds no videos",
        (tmp_path / "list.txt",): "list.txt, line 1: There is no file",
        (tmp_path / "none.mp4",): "There is no file",
        (videos, "--prompt", "a {place}"): "is no template of a prompt",
        (videos, "--tracks", tmp_path / "list.txt"): "is no folder",
        (videos, "--depth", "scene"): "A video is no scene",
        (videos, "--size", "100x64"): "100",
        (videos, "--size", "96x64"): "A grid of 70x70 points does not fit 96x64 pixels. Give fewer with --grid",
    }.items():
        with pytest.raises(UsageError) as raised:
            made(*out, *words)
        assert said in str(raised.value), words
    assert not (tmp_path / "clips/prompt.txt").exists()


def test_a_full_disk_leaves_the_lists_as_they_were(videos, tmp_path, monkeypatch):
    real, written = video_clips.write, []

    def full(*given):
        if written:
            raise OSError(28, "No space left on device")
        written.append(real(*given))
        return written[0]

    monkeypatch.setattr(video_clips, "write", full)
    with pytest.raises(GenerationError, match="cannot be written: No space left"):
        made(videos, "-o", tmp_path / "clips", *SMALL)
    assert check_lists(tmp_path / "clips") == [] and len(Dataset.open(tmp_path / "clips").clips) == 1
    assert not (tmp_path / "clips/making").exists() and not (tmp_path / "clips/.writing").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to one process")
def test_ctrl_c_keeps_what_is_whole_and_the_same_command_goes_on(tmp_path):
    for seed in range(12):
        write_video(tmp_path / "videos" / f"{seed}.mp4", count=33, seed=seed)
    root = tmp_path / "clips"
    words = [tmp_path / "videos", "-o", root, "--count", "33", "--size", "96x64", "--grid", "40x30"]
    command = [sys.executable, "-m", "diffusion_as_shader", "dataset", "video", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not (root / "prompt.txt").exists():
            assert time.monotonic() < deadline and process.poll() is None, "it ended before it could be cancelled"
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130 and "The same command goes on." in err and "Traceback" not in err, err
    count = len(Dataset.open(root).clips)
    assert 1 <= count < 12 and check_lists(root) == [] and not (root / "making").exists()
    assert made(*words)["clips"] == 12
