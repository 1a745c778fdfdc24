"""An artist's day in a real Blender window. Run inside the room of install/gui.py.

Arguments: the extension's zip, a folder for this run alone, a folder for what is kept, the backend's Python.
All that changes anything is a click or a key, but for the preparations that ``prepare`` names, and for the path that
is chosen in Blender's file browser.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from report import run_steps, write_results  # noqa: E402
from window import Failed, Window  # noqa: E402

ARCHIVE, WORK, KEPT, BACKEND_PYTHON = map(Path, sys.argv[1:5])
PROJECT = WORK / "Mein Film Ümläut"
RUNNER = "addon('blender_addon.runner').runner"
SCENE = "bpy.context.window_manager.windows[0].scene"
PROMPT = "a robot of painted tin dances"
SHORT = {"width": 240, "height": 160, "frames": 17, "first_frame": "cycles", "first_frame_samples": 4}
LONGER = {"width": 720, "height": 480, "frames": 49}
SECONDS_TO_GENERATE = 150
SECONDS_TO_CANCEL = 10
SECONDS_BETWEEN_LOOKS = 0.1
LONGEST_CALLBACK = 200  # milliseconds
LONG_CALLBACK = 20


# preparations


def the_backends_python_runs_here(window: Window) -> None:
    subprocess.run([BACKEND_PYTHON, "-c", "import zmq, av, diffusion_as_shader.backend"], check=True, timeout=60)


def open_the_window(window: Window) -> None:
    window.start()
    prepare(window)
    window.key("Escape")  # the splash
    window.picture("new window")


def prepare(window: Window) -> None:
    """Preferences that a screen without a window manager needs: every editor in the one window; F3 finds all there is."""
    window.ask("bpy.context.preferences.view.filebrowser_display_type = 'SCREEN'")
    window.ask("bpy.context.preferences.view.render_display_type = 'NONE'")
    window.ask("bpy.context.preferences.view.show_developer_ui = True")


def choose_file(window: Window, file: Path) -> None:
    """In Blender's file browser."""
    window.wait("any(area.type == 'FILE_BROWSER' for area in bpy.context.window_manager.windows[0].screen.areas)")
    window.wait("place('FILE_BROWSER')[1].spaces.active.params is not None")
    params = "place('FILE_BROWSER')[1].spaces.active.params"
    window.ask(f"{params}.directory = {str(file.parent) + '/'!r}.encode()")
    window.ask(f"{params}.filename = {file.name!r}")
    window.settle()
    window.picture(f"choose {file.suffix[1:]}")
    window.move(*window.middle("FILE_BROWSER"))
    window.key("Return")


# the day


def install_the_zip(window: Window) -> None:
    window.move(*window.middle("VIEW_3D"))
    window.key("F3")
    window.write("Install from Disk")
    window.key("Return")
    choose_file(window, ARCHIVE)
    window.wait("MODULE in bpy.context.preferences.addons", 60, "the extension")
    window.picture("installed")


def open_the_shot(window: Window) -> None:
    """The robot's dance where it lies beside the checkout, else the project's own example; small enough for a quick run."""
    PROJECT.mkdir()
    shot = PROJECT / "shot.blend"
    given = WORK / "robot_dance.blend"
    if given.exists():
        shutil.copyfile(given, shot)
        window.key("ctrl+o")
        choose_file(window, shot)
    else:
        print("robot_dance.blend is not here: the example scene is used")
        window.ask("addon('blender_addon.example_scene').build_example_scene()")
        window.ask(f"bpy.ops.wm.save_as_mainfile(filepath={str(shot)!r})")
    window.wait(f"bpy.data.filepath == {str(shot)!r}")
    set_settings(window, SHORT)
    window.picture("shot")


def see_the_panel(window: Window) -> None:
    window.move(*window.middle("VIEW_3D"))
    window.key("n")
    left, top, width, height = window.ask("rectangle('VIEW_3D', 'UI')")
    for y in range(top + 10, top + height, 18):
        window.click(left + width - 10, y)
        if window.ask("place('VIEW_3D', 'UI')[2].active_panel_category") == "DaS":
            break
    else:
        raise Failed("there is no tab DaS in the sidebar")
    window.find("das.prompt")
    window.picture("panel")


def open_the_sequencer(window: Window) -> None:
    window.move(*window.middle("DOPESHEET_EDITOR"))
    window.key("shift+F8")
    window.ask("place('SEQUENCE_EDITOR')[1].spaces.active.view_type = 'SEQUENCER_PREVIEW'")
    window.picture("sequencer")


def preview_tracking(window: Window) -> None:
    window.press("das.preview_tracking")
    ends_well(window)
    strips = strips_of(window)
    if len(strips) != 1 or not strips[0].endswith("/tracking"):
        raise Failed(f"not one strip of the tracking, but {strips}")
    see_strips(window)
    window.picture("tracking preview")


def write_a_prompt(window: Window) -> None:
    write_prompt(window, PROMPT)


def generate(window: Window) -> None:
    seen = begin_generating(window)
    window.picture("generating")
    ends_well(window, seen)
    if len(seen) < 3:
        raise Failed(f"no progress was shown but {seen}")
    strips = strips_of(window)
    if len(strips) != 2 or not strips[1].endswith("/frames"):
        raise Failed(f"not one more strip of frames, but {strips}")
    see_strips(window)
    window.picture("generated")


def scrub_the_strip(window: Window) -> None:
    """Along the ruler above the strips; the picture follows."""
    left, top, width, _ = window.ask("rectangle('SEQUENCE_EDITOR')")
    frames = []
    for share in (0.3, 0.7):
        window.drag((left + round(width * (share - 0.1)), top + 12), (left + round(width * share), top + 12))
        frames.append(window.ask(f"{SCENE}.frame_current"))
        window.picture(f"frame {frames[-1]}")
    if frames[0] == frames[1]:
        raise Failed(f"the playhead stands still at {frames}")


def cancel(window: Window) -> None:
    """A longer job, so that there is time to look for the button."""
    set_settings(window, LONGER)
    begin_generating(window)
    window.picture("before cancel")
    window.press_below("das.cancel()", "das.generate")
    window.wait(f"not {RUNNER}.running", SECONDS_TO_CANCEL, "the end of a cancelled job")
    window.picture("cancelled")
    if window.ask(f"{RUNNER}.message") != "Cancelled.":
        raise Failed(window.ask(f"{RUNNER}.message"))


def kill_the_backend(window: Window) -> None:
    """A killed backend is replaced and the job goes on; one whose successors are killed too fails, and says what to do."""
    set_settings(window, LONGER)
    begin_generating(window, "backend")
    killed: set[int] = set()
    end = time.monotonic() + SECONDS_TO_GENERATE
    while window.ask(f"{RUNNER}.running"):
        if time.monotonic() > end:
            raise Failed(f"the job did not end, although {len(killed)} backends were killed")
        at_work = window.ask(f"{RUNNER}.progress.phase") not in ("backend", "")
        connection = json.loads((WORK / "home" / "connection.json").read_text(encoding="utf-8"))
        if at_work and connection["pid"] not in killed:
            killed.add(connection["pid"])
            os.kill(connection["pid"], signal.SIGKILL)
        time.sleep(SECONDS_BETWEEN_LOOKS)
    window.picture("backend killed")
    message, failed = window.ask(f"[{RUNNER}.message, {RUNNER}.failed]")
    if not failed or len(killed) < 2:
        raise Failed(f"{len(killed)} backends were killed and the job says {message}")


def go_on_by_the_messages_button(window: Window) -> None:
    window.press("das.resume_last")
    window.wait(f"{RUNNER}.running")
    ends_well(window)
    window.picture("gone on")


def queue_two_and_cancel_one(window: Window) -> None:
    """Of two jobs the second is cancelled in the queue's box, and the first goes on, until it is cancelled too."""
    set_settings(window, LONGER)
    begin_generating(window)
    set_settings(window, SHORT)
    window.press("das.generate")
    window.wait(f"len({RUNNER}.jobs) == 2")
    first, second = window.ask(f"[job.folder.name for job in {RUNNER}.jobs]")
    window.picture("queue")
    window.press_below(second, "das.generate")
    window.wait(f"len({RUNNER}.jobs) == 1", SECONDS_TO_CANCEL)
    if window.ask(f"{RUNNER}.jobs[0].folder.name") != first:
        raise Failed("the wrong job was cancelled")
    window.press_below("das.cancel()", "das.generate")
    window.wait(f"not {RUNNER}.running", SECONDS_TO_CANCEL)


def re_apply_from_the_history(window: Window) -> None:
    """Another prompt, and then that of a take again, which is found by a word of its own."""
    write_prompt(window, "something else")
    window.open_panel("DAS_PT_history")
    window.press("das_history.search")
    window.write("painted tin")
    window.key("Return")
    window.press("das_history.index")
    window.press("das.apply_take")
    window.picture("history")
    if window.ask(f"{SCENE}.das.prompt") != PROMPT:
        raise Failed(f"the prompt is {window.ask(f'{SCENE}.das.prompt')}")


def callbacks_were_quick(window: Window) -> None:
    """Each of our callbacks, as Blender waited for it."""
    times = window.ask("clock.summary()")
    (KEPT / "callbacks.json").write_text(json.dumps(times, indent=1), encoding="utf-8")
    everything = times.pop("")
    print(f"95th percentile of {everything['calls']} callbacks: {everything['p95']:.2f} ms, longest {everything['worst']:.0f} ms")
    for name, one in sorted(times.items(), key=lambda item: -item[1]["worst"]):
        if one["worst"] > LONG_CALLBACK:
            print(f"  {one['worst']:6.1f} ms at most, {one['p95']:5.1f} ms at the 95th percentile of {one['calls']}: {name}")
            print(*(f"            {line}" for line in one["inside"]), sep="\n")
    if everything["worst"] > LONGEST_CALLBACK:
        raise Failed(f"a callback took more than {LONGEST_CALLBACK} ms; all are in {KEPT / 'callbacks.json'}")


def quit_in_the_middle_of_a_job(window: Window) -> None:
    begin_generating(window, "")
    window.move(*window.middle("VIEW_3D"))
    window.quit()


# what several do


def set_settings(window: Window, settings: dict) -> None:
    """Sizes that make a job quick, or long enough to do something in the middle of it."""
    window.ask(f"[setattr({SCENE}.das, name, value) for name, value in {settings!r}.items()]")


def write_prompt(window: Window, prompt: str) -> None:
    window.press("das.prompt")
    window.key("ctrl+a")
    window.write(prompt)
    window.key("Return")
    if window.ask(f"{SCENE}.das.prompt") != prompt:
        raise Failed("the prompt is not what was written")


def begin_generating(window: Window, phase: str = "") -> list:
    """Press Generate; the progress seen until the panel speaks of ``phase``."""
    window.press("das.generate")
    seen: list = []
    end = time.monotonic() + SECONDS_TO_GENERATE
    while not any(phase in one[0] for one in seen):
        if time.monotonic() > end or not window.ask(f"{RUNNER}.running"):
            raise Failed(f"no phase {phase}; the job showed {seen} and says {window.ask(f'{RUNNER}.message')}")
        note_progress(window, seen)
    return seen


def note_progress(window: Window, seen: list) -> None:
    time.sleep(SECONDS_BETWEEN_LOOKS)
    if (progress := window.ask(f"list({RUNNER}.progress)")[:2]) not in seen:
        seen.append(progress)


def ends_well(window: Window, seen: list | None = None) -> None:
    """Wait for the running job; its end must be a good one."""
    seen, end = [] if seen is None else seen, time.monotonic() + SECONDS_TO_GENERATE
    while window.ask(f"{RUNNER}.running"):
        if time.monotonic() > end:
            raise Failed(f"the job did not end; it showed {seen}")
        note_progress(window, seen)
    message, failed = window.ask(f"[{RUNNER}.message, {RUNNER}.failed]")
    if failed or not message.endswith("is ready."):
        raise Failed(f"the job says: {message} {window.ask(f'{RUNNER}.fix')}")


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


STEPS = [
    the_backends_python_runs_here,
    open_the_window,
    install_the_zip,
    open_the_shot,
    see_the_panel,
    open_the_sequencer,
    preview_tracking,
    write_a_prompt,
    generate,
    scrub_the_strip,
    cancel,
    kill_the_backend,
    go_on_by_the_messages_button,
    queue_two_and_cancel_one,
    re_apply_from_the_history,
    callbacks_were_quick,
    quit_in_the_middle_of_a_job,
]


def main() -> int:
    window = Window(WORK, KEPT)
    try:
        outcomes = run_steps(window, STEPS)
    finally:
        window.stop()
    write_results(outcomes, WORK / "results.xml")
    return int(any(one.failure != "" for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
