"""What several steps of the session do and look at."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from window import Failed, Window

ARCHIVE, WORK, KEPT, BACKEND_PYTHON = map(Path, sys.argv[1:5])
PROJECT = WORK / "Mein Film Ümläut"
SHOT = PROJECT / "shot.blend"
RUNNER = "addon('blender_addon.runner').runner"
QUEUE = "addon('blender_addon.queue_view').queue"
SCENE = "window().scene"
PROMPT = "a robot of painted tin dances"
SHORT = {"engine": "projection", "width": 240, "height": 160, "frames": 9, "first_frame": "workbench", "prompt": PROMPT}
SECONDS_TO_GENERATE = 240
SECONDS_TO_CANCEL = 30
SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_TAKE_IN = 3
TRIES = 3


def painted(words: str) -> dict:
    """Settings of a job of painter.py, which lasts as long as the words say."""
    return {**SHORT, "engine": "das", "prompt": f"{PROMPT} {words}"}


def set_settings(window: Window, settings: dict) -> None:
    """Sizes and prompts that make a job quick, or long enough to do something in the middle of it."""
    window.ask(f"[setattr({SCENE}.das, name, value) for name, value in {settings!r}.items()]")


def write_into(window: Window, button: str, text: str, value: str, **where: str) -> None:
    """Over what a field holds, whose value in Blender is ``value``. A field that is drawn anew just then does not open."""
    for _ in range(TRIES):
        window.press(button, **where)
        window.key("ctrl+a")
        window.write(text)
        window.key("Return")
        if window.comes(f"str({value}) == {text!r}", SECONDS_TO_TAKE_IN):
            return
        window.key("Escape")
    raise Failed(f"{text} was written {TRIES} times, and there is {window.ask(value)}")


def write_prompt(window: Window, prompt: str) -> None:
    write_into(window, "das.prompt", prompt, f"{SCENE}.das.prompt")


def choose_file(window: Window, file: Path) -> None:
    """In Blender's file browser."""
    window.wait("any(area.type == 'FILE_BROWSER' for area in window().screen.areas)")
    window.wait("place('FILE_BROWSER')[1].spaces.active.params is not None")
    params = "place('FILE_BROWSER')[1].spaces.active.params"
    window.ask(f"{params}.directory = {str(file.parent) + '/'!r}.encode()")
    window.ask(f"{params}.filename = {file.name!r}")
    window.settle()
    window.picture(f"choose {file.suffix[1:]}")
    window.move(*window.middle("FILE_BROWSER"))
    window.key("Return")
    window.wait("not any(area.type == 'FILE_BROWSER' for area in window().screen.areas)", why="the end of the file browser")


def call(window: Window, words: str) -> None:
    """An operator of Blender's, found by its name (F3)."""
    window.wait_until_heard()
    window.move(*window.middle("VIEW_3D"))
    window.key("F3")
    window.write(words)
    window.key("Return")


def until(happened: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Poll what is not Blender's to say."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise Failed(f"{what} did not come within {seconds:.0f} s")
        time.sleep(SECONDS_BETWEEN_LOOKS)


# jobs


def begin_generating(window: Window, phases: tuple[str, ...] = ()) -> list:
    """Press Generate; the progress seen until it is in one of the ``phases``, or in any."""
    window.press("das.generate")
    return see_progress(window, phases)


def see_progress(window: Window, phases: tuple[str, ...] = ()) -> list:
    """The progress shown until it is in one of the ``phases``, or in any."""
    seen: list = []
    end = time.monotonic() + SECONDS_TO_GENERATE
    while not any(phase in phases if phases else phase for phase, _ in seen):
        if time.monotonic() > end or not window.ask(f"{RUNNER}.running"):
            raise Failed(f"no phase of {phases}; the job showed {seen} and says {window.ask(f'{RUNNER}.message')}")
        note_progress(window, seen)
    return seen


def note_progress(window: Window, seen: list) -> None:
    time.sleep(SECONDS_BETWEEN_LOOKS)
    if (progress := window.ask(f"list({RUNNER}.progress)")[:2]) not in seen:
        seen.append(progress)


def ends_well(window: Window, seen: list | None = None) -> None:
    """Wait for the running jobs; their end must be a good one."""
    seen, end = [] if seen is None else seen, time.monotonic() + SECONDS_TO_GENERATE
    while window.ask(f"{RUNNER}.running"):
        if time.monotonic() > end:
            raise Failed(f"the job did not end; it showed {seen}")
        note_progress(window, seen)
    message, failed = window.ask(f"[{RUNNER}.message, {RUNNER}.failed]")
    if failed or not message.endswith("is ready."):
        raise Failed(f"the job says: {message} {window.ask(f'{RUNNER}.fix')}")


def seed_of(take: Path) -> int:
    return json.loads((take / "take.json").read_text(encoding="utf-8"))["request"].get("seed", 0)


def takes() -> list[Path]:
    """Folders of all takes, the oldest first."""
    return sorted(file.parent for file in (PROJECT / "das").glob("*/take.json"))


# strips


def strips_of(window: Window) -> list[str]:
    """Folders of the image strips on the timeline."""
    folders = "[s.directory for s in scene.sequence_editor.strips if s.type == 'IMAGE']"
    found = window.ask(f"[folder for scene in bpy.data.scenes if scene.sequence_editor for folder in {folders}]")
    if strange := [folder for folder in found if not folder.startswith("//")]:
        raise Failed(f"strips with paths that are not relative to the .blend: {strange}")
    return [folder.rstrip("/") for folder in found]


def see_strips(window: Window) -> None:
    """Zoom the Sequencer to all of them."""
    window.move(*window.middle("SEQUENCE_EDITOR"))
    window.key("Home")
