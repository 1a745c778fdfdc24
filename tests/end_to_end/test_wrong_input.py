"""Wrong input: the exit code, one sentence and its fix, no traceback, nothing half-written.

One process runs the whole table through ``shared.cli.main``, whose result is the process's exit code; what
needs a process of its own has one.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
import zmq

from diffusion_as_shader.shared import home, messages, png, wire

from .conftest import SMALL, Run, das, das_command, partial_files

# Reads [[words, ...], ...] and writes [[exit code, standard error], ...].
SESSION = """
import json, os, sys
from diffusion_as_shader.shared.cli import main
from diffusion_as_shader.shared.processes import end_process
ends = []
for words in json.loads(sys.argv[1]):
    kept = os.dup(2)
    with open(sys.argv[2] + ".err", "w+b") as err:
        os.dup2(err.fileno(), 2)
        code = main(words)
        sys.stderr.flush()
        os.dup2(kept, 2)
        err.seek(0)
        ends.append([code, err.read().decode()])
    os.close(kept)
with open(sys.argv[2], "w") as out:
    json.dump(ends, out)
end_process(0)
"""

CASES = {  # name: exit code, words of the message, words of the fix
    "no camera": (3, "no camera", "camera"),
    "nothing visible": (3, "no visible geometry", "into view"),
    "panoramic": (3, "panoramic", "perspective"),
    "not a scene": (3, "cannot be opened", ".blend"),
    "missing file": (2, "no file", "path"),
    "empty range": (2, "empty or reversed", "1:49"),
    "reversed range": (2, "empty or reversed", "1:49"),
    "no range": (2, "no frame range", "A:B"),
    "missing image": (2, "no image", "--first-frame"),
    "not an image": (2, "image", "PNG"),
    "image of another size": (2, "48x32", "96x64"),
    "file in place of the folder": (2, "letter.txt", "-o"),
    "folder is not empty": (2, "not empty", "-o"),
    "odd size": (2, "100x50", "multiples of 16"),
    "odd count": (2, "10 frames", "8N+1"),
    "nothing to write": (2, "knows no 'dept'", "Did you mean depth"),
    "points outside": (2, "is not in the video", "from 0 to 96"),
    "no points": (2, "holds no rows", ".csv"),
    "no scene at all": (3, "No .blend file is open", "save the scene"),
}


def words_of(case: str, scenes: Path, folder: Path) -> list[str]:
    good, small = scenes / "moving cube.blend", [str(word) for word in SMALL]
    images = {"missing image": "nowhere.png", "not an image": "letter.txt", "image of another size": "small.png"}
    ranges = {"empty range": "5:5", "reversed range": "9:1", "no range": "1-9"}
    outputs = {"file in place of the folder": folder / "letter.txt" / "take", "folder is not empty": folder / "occupied"}
    file = scenes / f"{case}.blend" if (scenes / f"{case}.blend").exists() else good
    words = [str(folder / "nowhere.blend" if case == "missing file" else file), *small]
    if case == "no scene at all":
        words = small
    if case in images:
        words[-1] = str(folder / images[case])
    if case in ranges:
        words += ["--frames", ranges[case]]
    if case == "odd size":
        words += ["--size", "100x50"]
    if case == "odd count":
        words += ["--count", "10"]
    if case == "nothing to write":
        words += ["--write", "dept"]
    if case in ("points outside", "no points"):
        words += ["--write", "tracks", "--points", str(folder / f"{case}.csv")]
    return ["track", *words, "-o", str(outputs.get(case, folder / "takes" / case)), "--json"]


@pytest.fixture(scope="module")
def played(scenes, tmp_path_factory) -> tuple[dict[str, Run], Path]:
    """Every case's end, and the folder in which they were run."""
    folder = tmp_path_factory.mktemp("wrong input ä")
    (folder / "letter.txt").write_text("This is a letter.\n")
    (folder / "small.png").write_bytes(png.encode(np.zeros((32, 48, 3), np.uint8)))
    (folder / "points outside.csv").write_text("x,y\n96,3\n")
    (folder / "no points.csv").write_text("one,two\n")
    (folder / "occupied").mkdir()
    (folder / "occupied" / "keep.txt").write_text("mine\n")
    # "no scene at all" comes first: no file is open yet
    order = sorted(CASES, key=lambda case: case != "no scene at all")
    answers = folder / "answers.json"
    words = [words_of(case, scenes, folder) for case in order]
    variables = {**os.environ, "DAS_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-c", SESSION, json.dumps(words), str(answers)],
        capture_output=True, text=True, timeout=300, env=variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {case: Run(code, "", err) for case, (code, err) in zip(order, json.loads(answers.read_text()))}, folder


def said(run: Run) -> str:
    """The one line of das on standard error."""
    assert "Traceback" not in run.err
    lines = [line for line in run.err.splitlines() if line.startswith("das: ")]
    assert len(lines) == 1, run.err
    return lines[0]


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_its_fix(case, played):
    runs, folder = played
    code, message, fix = CASES[case]
    line = said(runs[case])
    assert runs[case].code == code, line
    place = line.find(message)
    assert place >= 0 and fix in line[place:], line
    assert line.endswith(".")


def test_nothing_is_left_behind(played):
    _, folder = played
    assert not partial_files(folder)
    assert not [file for file in folder.rglob("take.json")]
    assert [file.name for file in (folder / "occupied").iterdir()] == ["keep.txt"]


def can_mount() -> bool:
    """Whether a folder of a few kilobytes can be had without leaving anything behind."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs a mount namespace of its own (unshare -rm) for a tiny disk")
def test_a_full_disk(scene_file, tmp_path):
    disk = tmp_path / "tiny disk"
    disk.mkdir()
    listing = tmp_path / "listing"
    # Room for all pictures and the stacks of signals, not for signals.npz too; nothing outlives the namespace.
    script = 'mount -t tmpfs -o size=1600k tmpfs "$0" && "$@"; code=$?; ls -R "$0" > "$LISTING"; exit $code'
    command = ["unshare", "-rm", "sh", "-c", script, disk, *das_command("track", scene_file, *SMALL, "-o", disk / "take", "--json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "LISTING": str(listing)})
    run = Run(done.returncode, done.stdout, done.stderr)
    line = said(run)
    assert run.code == 5, line
    assert "No space left" in line and "Free some space" in line
    left = listing.read_text()
    assert "0009.png" in left
    assert ".partial" not in left and "signals.npz" not in left


def test_a_backend_of_another_protocol(scene_file, tmp_path, das_home):
    take = tmp_path / "take"
    with socket.create_server(("127.0.0.1", 0)) as server:
        public, secret = zmq.curve_keypair()
        connection = wire.ConnectionFile(
            protocol=messages.PROTOCOL_VERSION + 1, host="127.0.0.1", port=server.getsockname()[1], pid=os.getpid(),
            server_public=public.decode(), client_public=public.decode(), client_secret=secret.decode(),
            machine=socket.gethostname(), started=time.time(),
        )  # fmt: skip
        wire.write_connection(connection, home.connection_file())
        run = das("generate", scene_file, *SMALL, "-o", take, "--json")
    line = said(run)
    assert run.code == 4, line
    assert f"protocol {messages.PROTOCOL_VERSION + 1}" in line or f"version {messages.PROTOCOL_VERSION + 1}" in line
    assert json.loads((take / "take.json").read_text())["state"] == "failed"
    assert not partial_files(take)


def test_no_backend_at_all(scene_file, tmp_path, das_home):
    home.environments_file().unlink(missing_ok=True)
    run = das("generate", scene_file, *SMALL, "-o", tmp_path / "take", "--json")
    line = said(run)
    assert run.code == 4, line
    assert "No backend is installed" in line and "install/run.py setup" in line


@pytest.mark.parametrize("times, code", [(1, 0), (2, 5)])
def test_a_backend_that_dies(scene_file, tmp_path, times, code):
    """Once, the generation goes on with the next backend; as often as a job is tried, it is given up."""
    take = tmp_path / "take"
    words = ("generate", scene_file, "--size", "480x320", "--count", "49", "--first-frame", "workbench", "-o", take, "--json")
    process = subprocess.Popen(das_command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        killed: set[int] = set()
        for attempt in range(1, times + 1):
            kill_backend_in(attempt, killed)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    record = json.loads((take / "take.json").read_text())
    assert process.returncode == code, err
    assert not partial_files(take)
    if code:
        line = said(Run(code, out, err))
        assert record["state"] == "failed" and "attempt 2, the last" in line
        assert record["failure"]["message"] in line and record["failure"]["fix"] in line
        assert not (take / "video.mp4").exists()
    else:
        assert record["state"] == "done" and (take / "video.mp4").exists()
        assert any("ended in the middle of attempt 1" in note for note in record["notes"])


def kill_backend_in(attempt: int, killed: set[int]) -> None:
    """SIGKILL for the server as soon as it runs the job for that time; ``killed`` learns its process, and leaves files behind."""
    deadline, queue = time.monotonic() + 120, home.spool_folder() / "queue.sqlite"
    while time.monotonic() < deadline:
        if queue.exists() and home.connection_file().exists():
            with closing(sqlite3.connect(queue)) as base, suppress(sqlite3.OperationalError):
                runs = base.execute("SELECT 1 FROM jobs WHERE state = 'running' AND attempts = ?", (attempt,)).fetchone()
                pid = json.loads(home.connection_file().read_text())["pid"]
                if runs and pid not in killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                    return
        time.sleep(0.01)
    pytest.fail("the job never ran")
