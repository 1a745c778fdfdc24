"""An artist's day in a real Blender window. Run inside the room of install/gui.py.

Arguments: the extension's zip, a folder for this run alone, a folder for what is kept, the backend's Python.
All that changes anything is a click or a key, but for the preparations in first_steps.prepare, the settings that make a
job as long as its step needs, and the path that is chosen in Blender's file browser.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import first_steps as first  # noqa: E402
import job_steps as jobs  # noqa: E402
import take_steps as takes  # noqa: E402
from moves import KEPT, WORK  # noqa: E402
from report import run_steps, write_results  # noqa: E402
from window import Failed, Window  # noqa: E402

SECONDS = 1080
STEPS = [
    first.the_backends_python_runs_here,
    first.open_the_window,
    first.install_the_zip,
    first.open_the_shot,
    first.see_the_panel,
    first.see_each_task,
    first.see_the_repaint,
    first.open_the_sequencer,
    first.preview_tracking,
    first.write_a_prompt,
    first.generate,
    first.scrub_the_strip,
    first.make_two_variations,
    jobs.cancel_a_capture,
    jobs.kill_the_backend,
    jobs.go_on_by_the_messages_button,
    jobs.queue_one_more_and_cancel_it,
    jobs.cancel,
    jobs.see_a_live_preview,
    jobs.undo_in_the_middle_of_a_job,
    jobs.keep_the_live_preview,
    jobs.close_the_file_with_a_queue,
    takes.export_the_camera,
    takes.re_apply_from_the_history,
    takes.make_a_take_a_favourite,
    takes.compare_two_takes,
    takes.delete_a_take,
    jobs.work_in_a_second_window,
    takes.see_preferences,
    takes.disable_in_the_middle_of_a_job,
    takes.callbacks_were_quick,
    jobs.quit_in_the_middle_of_a_job,
    takes.nothing_was_raised,
]


def too_long(number: int, frame: object) -> None:
    raise Failed(f"the session was to end within {SECONDS} s")


def main() -> int:
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    window = Window(WORK, KEPT)
    try:
        outcomes = run_steps(window, STEPS)
    finally:
        window.stop()
    write_results(outcomes, WORK / "results.xml")
    return int(any(one.failure != "" for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
