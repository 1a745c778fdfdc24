"""Datasets: lists and manifest that are never out of step, and findings that name file and line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffusion_as_shader.shared.dataset import ClipRecord, Dataset, Source, check_lists
from diffusion_as_shader.shared.errors import GenerationError, UsageError
from diffusion_as_shader.shared.only_writer import only_writer

PARTS = {"video": "videos/{}.mp4", "tracking": "tracking/{}_tracking.mkv", "image": "images/{}.png"}


def record(name: str, **changes) -> ClipRecord:
    paths = {part: path.format(name) for part, path in PARTS.items()}
    fields = {"prompt": f"a dög  runs {name}", "frames": 17, "width": 96, "height": 64, "fps": 24.0, "seed": 3, **paths}
    return ClipRecord(name=name, **{**fields, "sources": [Source(path="a.blend", licence="CC0")], **changes})


def stage(folder: Path, of: ClipRecord) -> Path:
    for path in (of.video, of.tracking, of.image):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"{of.name} {path}")
    return folder


@pytest.fixture
def filled(tmp_path) -> Dataset:
    """Two clips, the second of which came first."""
    dataset = Dataset.create(tmp_path / "Über Clips")
    for name in ("00002", "00001"):
        one = record(name)
        dataset.append(one, stage(tmp_path / name, one))
    return dataset


def reference_layout(root: Path, count: int = 3) -> Path:
    """What the reference program's scripts write: no manifest, Windows line ends for good measure."""
    for folder in ("videos", "tracking"):
        (root / folder).mkdir(parents=True)
    videos, trackings = [f"videos/{n:05d}.mp4" for n in range(count)], [f"tracking/{n:05d}_tracking.mp4" for n in range(count)]
    for path in videos + trackings:
        (root / path).touch()
    for name, lines in {"prompt": [f"clip {n}" for n in range(count)], "videos": videos, "trackings": trackings}.items():
        (root / f"{name}.txt").write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return root


def test_what_was_added_is_read_again_in_the_order_of_names(filled):
    again = Dataset.open(filled.root)
    assert [clip.name for clip in again.clips] == ["00001", "00002"] and [clip.line for clip in again.clips] == [1, 2]
    first = again.clips[0]
    assert first.video.read_text() == "00001 videos/00001.mp4" and first.image.is_file() and first.tracks is None
    assert first.record == record("00001", prompt="a dög runs 00001")
    assert (filled.root / "prompt.txt").read_text(encoding="utf-8") == "a dög runs 00001\na dög runs 00002\n"
    assert (filled.root / "trackings.txt").read_text() == "tracking/00001_tracking.mkv\ntracking/00002_tracking.mkv\n"
    assert check_lists(filled.root) == []


def test_a_full_disk_leaves_lists_and_manifest_as_they_were(filled, tmp_path, monkeypatch):
    before = {file: file.read_bytes() for file in filled.root.glob("*.*")}

    def full(self, content):
        raise OSError(28, "No space left on device")

    three = record("00003")
    staged = stage(tmp_path / "three", three)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(GenerationError, match="No space left"):
        filled.append(three, staged)
    monkeypatch.undo()
    assert {file: file.read_bytes() for file in filled.root.glob("*.*")} == before
    assert [clip.name for clip in filled.clips] == ["00001", "00002"]
    filled.append(three, stage(tmp_path / "three", three))
    assert len(Dataset.open(filled.root).clips) == 3


def test_lists_that_a_kill_has_left_behind_the_manifest_follow_it_at_the_next_clip(filled, tmp_path):
    (filled.root / "trackings.txt").write_text("tracking/00001_tracking.mkv\n")
    assert [clip.name for clip in Dataset.open(filled.root).clips] == ["00001", "00002"]
    found = check_lists(filled.root)
    assert {(each.file, each.line) for each in found} == {("trackings.txt", 2), ("manifest.jsonl", 2)}
    three = record("00003")
    Dataset.open(filled.root).append(three, stage(tmp_path / "three", three))
    assert check_lists(filled.root) == []


def test_a_prompt_rewritten_in_the_list_counts(filled, tmp_path):
    (filled.root / "prompt.txt").write_text("one\ntwo\n")
    again = Dataset.open(filled.root)
    assert [clip.prompt for clip in again.clips] == ["one", "two"]
    three = record("00003", prompt="three")
    again.append(three, stage(tmp_path / "three", three))
    assert (filled.root / "prompt.txt").read_text() == "one\ntwo\nthree\n"


def test_the_reference_s_layout_is_read(tmp_path):
    dataset = Dataset.open(reference_layout(tmp_path / "data"))
    assert [clip.prompt for clip in dataset.clips] == ["clip 0", "clip 1", "clip 2"]
    assert dataset.clips[2].tracking == tmp_path / "data" / "tracking/00002_tracking.mp4" and dataset.clips[2].record is None
    with pytest.raises(UsageError, match="without a manifest"):
        Dataset.create(tmp_path / "data")


def test_lists_of_different_lengths_are_refused_with_file_and_line(tmp_path):
    root = reference_layout(tmp_path / "data")
    (root / "trackings.txt").write_text("tracking/00000_tracking.mp4\n")
    with pytest.raises(UsageError, match=r"trackings.txt: It ends after 1 lines, and .* has 3"):
        Dataset.open(root)
    assert [(each.file, each.line) for each in check_lists(root)] == [("trackings.txt", 2)]


@pytest.mark.parametrize(
    "line, said",
    [("videos/gone.mp4", "There is no file"), ("../secret.mp4", "leads out"), ("/etc/passwd", "leads out"), ("C:\\clips\\1.mp4", "leads out"), ("", "is empty")],
)
def test_a_wrong_line_is_found_by_file_and_line(tmp_path, line, said):
    root = reference_layout(tmp_path / "data")
    (root / "videos.txt").write_text(f"videos/00000.mp4\n{line}\nvideos/00002.mp4\n")
    (finding,) = check_lists(root)
    assert (finding.file, finding.line) == ("videos.txt", 2) and said in str(finding)
    if said != "There is no file":
        with pytest.raises(UsageError, match="videos.txt, line 2"):
            Dataset.open(root)


def test_no_dataset_and_no_text_are_said(tmp_path):
    with pytest.raises(UsageError, match="There is no folder"):
        Dataset.open(tmp_path / "nothing")
    with pytest.raises(UsageError, match="prompt.txt is missing"):
        Dataset.open(tmp_path)
    (reference_layout(tmp_path / "data") / "prompt.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no UTF-8"):
        Dataset.open(tmp_path / "data")
    (tmp_path / "manifest.jsonl").write_text('{"name": "00001"}\n')
    with pytest.raises(UsageError, match="manifest.jsonl, line 1 cannot be read"):
        Dataset.open(tmp_path)


def test_one_process_writes_at_a_time(tmp_path):
    with only_writer(tmp_path):
        with pytest.raises(UsageError, match=f"Process {os.getpid()} is writing"):
            with only_writer(tmp_path):
                pass
    with only_writer(tmp_path):  # it was let go
        pass
    (tmp_path / ".writing").write_text(str(_ended_process()))
    with only_writer(tmp_path):
        pass


def _ended_process() -> int:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    return child.pid
