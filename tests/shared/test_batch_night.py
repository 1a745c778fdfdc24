"""The order of a batch's night, with a small program in place of `das`: real processes, no Blender."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from diffusion_as_shader.shared.batch_night import Night
from diffusion_as_shader.shared.batch_plan import make_plan
from diffusion_as_shader.shared.batch_state import BatchState, Folder
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.shots import Capture, PlannedTake

# What it does is told by files beside it: NAME.fail, NAME.crash, NAME.hold; it says that it began by NAME.began.
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
here = Path(__file__).parent
words = sys.argv[1:]
out = Path(words[words.index("-o") + 1])
name = f"{words[0]} {out.name}"
(here / f"{name}.began").write_text(" ".join(words))
signal.signal(signal.SIGINT, lambda *_: (print(json.dumps({"event": "note"})), sys.stdout.flush(), os._exit(130)))
end = time.monotonic() + 60
while (here / f"{name}.hold").exists() and not (here / (here / f"{name}.hold").read_text()).exists() and time.monotonic() < end:
    time.sleep(0.005)
if (here / f"{name}.crash").exists():
    print("it fell over", file=sys.stderr, flush=True)
    os.abort()
if (here / f"{name}.fail").exists():
    print(json.dumps({"event": "error", "kind": "scene", "message": "It is dark.", "fix": "Add a light."}))
    sys.exit(3)
print("a line of somebody else's")
print(json.dumps({"event": "progress", "phase": "capture", "step": 1, "total": 1}))
print(json.dumps({"event": "finding", "severity": "warning", "message": "Fast."}))
out.mkdir(parents=True)
"""


@pytest.fixture
def program(tmp_path) -> Path:
    file = tmp_path / "program" / "das.py"
    file.parent.mkdir()
    file.write_text(PROGRAM, encoding="utf-8")
    return file


def night_of(program: Path, *names: str, jobs: int = 1, keep_going: bool = False) -> Night:
    takes = [PlannedTake(name, number, Capture(("track", f"{name}.blend"), ()), (f"--prompt={name}",), GenerationRequest()) for number, name in enumerate(names)]
    folder = Folder(program.parent.parent / "out")
    state = BatchState(file="shots.toml", began=0.0)
    return Night(
        make_plan(takes, folder, None), folder, state, [sys.executable, str(program)], jobs=jobs, keep_going=keep_going,
        blender=["--blender", "5.2"], changed=lambda work: None, tick=lambda: None,
    )  # fmt: skip


def states(night: Night) -> dict[str, str]:
    return {take.name: take.made.state for take in night.plan.takes}


def hold(program: Path, name: str, until: str) -> None:
    """Let one command wait for the beginning of another."""
    (program.parent / f"{name}.hold").write_text(f"{until}.began")


def began(program: Path) -> set[str]:
    return {file.stem for file in program.parent.glob("*.began")}


def test_the_next_shot_is_captured_while_one_is_generated(program):
    hold(program, "generate a", until="track b")
    night = night_of(program, "a", "b")
    started = time.monotonic()
    night.run()
    assert time.monotonic() - started < 30  # it did not wait for its bound
    assert states(night) == {"a": "done", "b": "done"}
    words = (program.parent / "track a.began").read_text()
    assert "--check --blender 5.2 -o" in words and words.endswith("--json")
    assert night.plan.captures[0].made.findings == [{"severity": "warning", "message": "Fast."}]
    stored = json.loads((night.folder.path / "batch.json").read_text())
    assert {name: made["state"] for name, made in stored["takes"].items()} == states(night)


def test_jobs_are_captures_at_a_time(program):
    hold(program, "track a", until="track b")
    night = night_of(program, "a", "b", "c", jobs=2)
    night.run()
    assert set(states(night).values()) == {"done"}


def test_as_many_generations_at_a_time_as_there_are_places(program):
    hold(program, "generate a", until="generate b")
    hold(program, "generate b", until="generate c")
    night = night_of(program, "a", "b", "c")
    night.generations = 3
    started = time.monotonic()
    night.run()
    assert time.monotonic() - started < 30 and set(states(night).values()) == {"done"}


@pytest.mark.parametrize("keep_going", [True, False])
def test_a_shot_that_fails(program, keep_going):
    (program.parent / "track a.fail").touch()
    night = night_of(program, "a", "b", keep_going=keep_going)
    night.run()
    assert states(night) == {"a": "failed", "b": "done" if keep_going else "waiting"}
    assert night.first_failure.made.exit_code == 3
    assert night.plan.takes[0].made.failure.message == "It is dark." and night.plan.takes[0].made.failure.fix == "Add a light."


@pytest.mark.skipif(os.name != "posix", reason="ends by a signal")
def test_a_program_that_crashes_is_told_by_its_last_words(program):
    (program.parent / "generate a.crash").touch()
    night = night_of(program, "a")
    night.run()
    failure = night.plan.takes[0].made.failure
    assert failure.message == f"The program ended by signal {signal.SIGABRT.value}: it fell over."
    assert night.first_failure.made.exit_code == 5 and "generate.log" in failure.fix


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to one process")
def test_stop_interrupts_what_runs_and_begins_nothing(program):
    hold(program, "track a", until="never")
    night = night_of(program, "a", "b")
    thread = threading.Thread(target=lambda: (_wait(lambda: "track a" in began(program)), night.stop()))
    thread.start()
    night.run()
    thread.join()
    assert night.plan.captures[0].made.state == "cancelled" and began(program) == {"track a"}
    assert states(night) == {"a": "waiting", "b": "waiting"} and night.first_failure is None


def test_an_interrupt_ends_what_runs_at_once(program):
    hold(program, "track a", until="never")
    night = night_of(program, "a")

    def tick():
        if "track a" in began(program):
            raise KeyboardInterrupt

    night._tick = tick
    with pytest.raises(KeyboardInterrupt):
        night.run()
    assert night.plan.captures[0].made.state == "cancelled" and night.plan.captures[0].made.pid == 0


def _wait(happened, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.005)
