"""Ctrl-C: code 130, a take that says so, and what has arrived is kept."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import das_command, partial_files

LONG = ("--size", "480x320", "--count", "49", "--first-frame", "workbench")
pytest.importorskip("bpy")
if os.name != "posix":
    pytest.skip("sends SIGINT to one process", allow_module_level=True)


def interrupt_when(words, ready, timeout=120) -> tuple[int, str]:
    """Run a command, send one SIGINT as soon as ``ready()``; its code and standard error."""
    process = subprocess.Popen(das_command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + timeout
        while not ready():
            assert time.monotonic() < deadline and process.poll() is None, "it ended before it could be cancelled"
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        return process.returncode, err
    finally:
        process.kill()
        process.wait()


def state_of(take: Path) -> str:
    record = take / "take.json"
    return json.loads(record.read_text())["state"] if record.exists() else ""


def test_in_mid_generation(scene_file, tmp_path):
    take = tmp_path / "take"
    frames = take / "frames"
    code, err = interrupt_when(
        ("generate", scene_file, *LONG, "-o", take), lambda: frames.is_dir() and (frames / "0001.png").exists()
    )
    assert code == 130, err
    assert "Traceback" not in err
    assert state_of(take) == "cancelled"
    arrived = sorted(frames.iterdir())
    assert 0 < len(arrived) < 49
    assert all(file.read_bytes().endswith(b"IEND\xaeB`\x82") for file in arrived)
    assert not partial_files(take) and not (take / "video.mp4").exists()


def test_while_tracking_is_drawn(scene_file, tmp_path):
    take = tmp_path / "take"
    code, err = interrupt_when(("track", scene_file, *LONG, "-o", take), lambda: (take / "tracking").is_dir())
    assert code == 130, err
    assert "Traceback" not in err
    assert state_of(take) == "cancelled"
    assert not partial_files(take) and not (take / "signals.npz").exists()
