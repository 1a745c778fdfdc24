"""What happens to jobs: cancelled, killed, queued, undone, closed with their file, kept early."""

from __future__ import annotations

import json
import os
import signal
import time

from first_steps import choose_tab
from moves import (
    PROJECT, QUEUE, RUNNER, SCENE, SECONDS_BETWEEN_LOOKS, SECONDS_TO_CANCEL, SECONDS_TO_GENERATE, SHORT, SHOT, WORK,
    begin_generating, call, choose_file, ends_well, painted, see_progress, set_settings, takes,
)  # fmt: skip
from window import Failed, Window

PAINTING = ("pattern",)  # the phase of painter.py's frames
ENDLESS = painted("sleep=20")  # each of 9 frames: none of these ends by itself before it is found
SOON = painted("sleep=1")
LONG_CAPTURE = {**SHORT, "frames": 321}
LONG_FIRST_FRAME = {**SHORT, "first_frame": "cycles", "first_frame_samples": 4000}
WHAT_THERE_IS = f"[sorted(one.name for one in bpy.data.scenes), list({SCENE}.camera.location), {SCENE}.frame_current]"
SECONDS_TO_ESCAPE = 5
PREVIEWING = painted("previews=200 pause=6")


def cancel_a_capture(window: Window) -> None:
    """Escape ends a render of ours as it does any other, and leaves the scene as it was, with what is not keyed in it."""
    window.ask(f"{SCENE}.camera.location.x += 0.5")
    before = window.ask(WHAT_THERE_IS)
    for phase, settings in (("capture", LONG_CAPTURE), ("first frame", LONG_FIRST_FRAME)):
        set_settings(window, settings)
        begin_generating(window, (phase,))
        window.wait("bpy.app.is_job_running('RENDER')", SECONDS_TO_GENERATE)
        if phase == "first frame":
            window.picture(phase)
        window.key("Escape")
        window.wait(f"not {RUNNER}.running", SECONDS_TO_ESCAPE, f"the end of the {phase}")
        if (message := window.ask(f"{RUNNER}.message")) != "Cancelled.":
            raise Failed(f"the {phase} was cancelled and the job says: {message}")
        if (after := window.ask(WHAT_THERE_IS)) != before:
            raise Failed(f"before the {phase} there was {before}, and now {after}")
    window.ask(f"{SCENE}.camera.location.x -= 0.5")
    set_settings(window, {"first_frame_samples": 4})


def kill_the_backend(window: Window) -> None:
    """A killed backend is replaced and the job goes on; one whose successors are killed too fails, and says what to do."""
    set_settings(window, ENDLESS)
    begin_generating(window, PAINTING)
    killed: set[int] = set()
    end = time.monotonic() + SECONDS_TO_GENERATE
    while window.ask(f"{RUNNER}.running"):
        if time.monotonic() > end:
            raise Failed(f"the job did not end, although {len(killed)} backends were killed")
        at_work = window.ask(f"{RUNNER}.progress.phase") in PAINTING
        pid = backend_pid()
        if at_work and pid and pid not in killed:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        time.sleep(SECONDS_BETWEEN_LOOKS)
    window.picture("backend killed")
    message, failed = window.ask(f"[{RUNNER}.message, {RUNNER}.failed]")
    if not failed or len(killed) < 2:
        raise Failed(f"{len(killed)} backends were killed and the job says {message}")


def backend_pid() -> int:
    """0 between a backend and the next."""
    try:
        return json.loads((WORK / "home" / "connection.json").read_text(encoding="utf-8"))["pid"]
    except FileNotFoundError:
        return 0


def go_on_by_the_messages_button(window: Window) -> None:
    window.press("das.resume_last", below="das.generate")
    see_progress(window, PAINTING)
    window.picture("gone on")


def queue_one_more_and_cancel_it(window: Window) -> None:
    """It is cancelled in the queue's box, and the first goes on."""
    window.press("das.generate")
    window.wait(f"len({RUNNER}.jobs) == 2")
    first, second = window.ask(f"[job.folder.name for job in {RUNNER}.jobs]")
    both_wait_at_the_backend(window)
    window.picture("queue")
    window.press_below(second, "das.generate", "das.cancel_queued")
    window.wait(f"len({RUNNER}.jobs) == 1", SECONDS_TO_CANCEL, "the end of the job that was cancelled")
    if window.ask(f"{RUNNER}.jobs[0].folder.name") != first:
        raise Failed("the wrong job was cancelled")


def both_wait_at_the_backend(window: Window) -> None:
    unfinished = f"[job for job in {QUEUE}.jobs if job.state in ('queued', 'running')]"
    window.wait(f"len({unfinished}) == 2", SECONDS_TO_GENERATE, "two jobs in the backend's queue")


def cancel(window: Window) -> None:
    """By the cross beside the progress."""
    window.press_below("das.cancel()", "das.generate", "das.cancel")
    window.wait(f"not {RUNNER}.running", SECONDS_TO_CANCEL, "the end of a cancelled job")
    window.picture("cancelled")
    if window.ask(f"{RUNNER}.message") != "Cancelled.":
        raise Failed(window.ask(f"{RUNNER}.message"))


def see_a_live_preview(window: Window) -> None:
    """The clip plays while it is denoised."""
    set_settings(window, PREVIEWING)
    begin_generating(window, ("denoise",))
    window.wait("addon('blender_addon.operators.live_preview').shown_preview() is not None")
    window.find("das.keep_preview", below="das.generate")
    window.picture("live preview")


def undo_in_the_middle_of_a_job(window: Window) -> None:
    """Ctrl Z takes back what was done last, and not the job."""
    window.move(*window.middle("VIEW_3D"))
    window.key("ctrl+z")
    window.key("ctrl+z")
    window.picture("undone")
    if not window.ask(f"{RUNNER}.running"):
        raise Failed(f"undo has ended the job, which says {window.ask(f'{RUNNER}.message')}")


def keep_the_live_preview(window: Window) -> None:
    """As it is: the job ends well, and its take has all its frames."""
    window.press("das.keep_preview")
    ends_well(window)
    window.picture("kept preview")
    take = takes()[-1]
    notes = json.loads((take / "take.json").read_text(encoding="utf-8"))["notes"]
    if not any("live preview" in note for note in notes):
        raise Failed(f"the take does not say that it was stopped early: {notes}")
    if len(list((take / "frames").glob("*.png"))) != SHORT["frames"]:
        raise Failed("the take has not all its frames")


def close_the_file_with_a_queue(window: Window) -> None:
    """One job runs at the backend and one waits when the file is saved and opened again. Both are there again; the first is
    cancelled, and the second comes to its end."""
    set_settings(window, ENDLESS)
    begin_generating(window, PAINTING)
    set_settings(window, SOON)
    window.press("das.generate")
    window.wait(f"len({RUNNER}.jobs) == 2")
    first, second = window.ask(f"[job.folder.name for job in {RUNNER}.jobs]")
    both_wait_at_the_backend(window)
    window.move(*window.middle("VIEW_3D"))
    window.key("ctrl+s")
    window.wait("not bpy.data.is_dirty")
    window.key("ctrl+o")
    choose_file(window, SHOT)
    window.wait(f"len({RUNNER}.jobs) == 2", SECONDS_TO_GENERATE, "the jobs of the file that is open again")
    window.picture("opened again")
    window.press_below(first, "das.generate", "das.cancel_queued")
    window.wait(f"len({RUNNER}.jobs) == 1", SECONDS_TO_CANCEL, "the end of the job that was cancelled")
    ends_well(window)
    states = {name: json.loads((PROJECT / "das" / name / "take.json").read_text(encoding="utf-8"))["state"] for name in (first, second)}
    if states != {first: "cancelled", second: "done"}:
        raise Failed(f"the two takes are {states}")


def work_in_a_second_window(window: Window) -> None:
    """Generate there, close it in mid-job: the job is not the window's."""
    call(window, "New Main Window")
    window.wait("len(bpy.context.window_manager.windows) == 2")
    window.settle()
    choose_tab(window)
    set_settings(window, SOON)
    begin_generating(window, PAINTING)
    window.picture("second window")
    window.move(*window.middle("VIEW_3D"))
    call(window, "Close Window")
    window.wait("len(bpy.context.window_manager.windows) == 1")
    if not window.ask(f"{RUNNER}.running"):
        raise Failed("the job has ended with the window")
    ends_well(window)


def quit_in_the_middle_of_a_job(window: Window) -> None:
    set_settings(window, ENDLESS)
    begin_generating(window)
    window.wait(f"{RUNNER}.running and not {RUNNER}.uses_scene", SECONDS_TO_GENERATE, "a job that the backend has")
    window.move(*window.middle("VIEW_3D"))
    window.quit()
