"""From the zip to the first strip."""

from __future__ import annotations

import shutil
import subprocess

from moves import (
    ARCHIVE, BACKEND_PYTHON, PROJECT, PROMPT, RUNNER, SCENE, SHORT, SHOT, WORK,
    begin_generating, call, choose_file, ends_well, see_strips, seed_of, set_settings, strips_of, takes, write_into, write_prompt,
)  # fmt: skip
from window import Failed, Window

LOWER_THAN_A_TAB = 36  # pixels
TASKS = ("mesh_to_video", "camera_control", "object_manipulation", "motion_transfer")


def the_backends_python_runs_here(window: Window) -> None:
    subprocess.run([BACKEND_PYTHON, "-c", "import zmq, av, diffusion_as_shader.backend"], check=True, timeout=60)


def open_the_window(window: Window) -> None:
    window.start()
    prepare(window)
    window.key("Escape")  # the splash
    window.picture("new window")


def prepare(window: Window) -> None:
    """Preferences that a screen without a window manager needs: every editor in the one window; F3 finds all there is. And a
    sidebar beside the viewport, not upon it: software takes a second to draw a viewport, each time that a progress changes."""
    window.ask("bpy.context.preferences.system.use_region_overlap = False")
    window.ask("bpy.context.preferences.system.viewport_aa = 'FXAA'")
    window.ask("bpy.context.preferences.view.show_tooltips = False")
    window.ask("bpy.context.preferences.view.filebrowser_display_type = 'SCREEN'")
    window.ask("bpy.context.preferences.view.render_display_type = 'NONE'")
    window.ask("bpy.context.preferences.view.show_developer_ui = True")


def install_the_zip(window: Window) -> None:
    call(window, "Install from Disk")
    choose_file(window, ARCHIVE)
    window.wait("MODULE in bpy.context.preferences.addons", 60, "the extension")
    window.picture("installed")


def open_the_shot(window: Window) -> None:
    """The robot's dance where it lies beside the checkout, else the project's own example; small enough for a quick run."""
    PROJECT.mkdir()
    given = WORK / "robot_dance.blend"
    if given.exists():
        shutil.copyfile(given, SHOT)
        window.move(*window.middle("VIEW_3D"))
        window.key("ctrl+o")
        choose_file(window, SHOT)
    else:
        print("robot_dance.blend is not here: the example scene is used")
        window.ask("addon('blender_addon.example_scene').build_example_scene()")
        window.ask(f"bpy.ops.wm.save_as_mainfile(filepath={str(SHOT)!r})")
    window.wait(f"bpy.data.filepath == {str(SHOT)!r}")
    set_settings(window, SHORT)
    window.picture("shot")


def see_the_panel(window: Window) -> None:
    window.move(*window.middle("VIEW_3D"))
    window.key("n")
    choose_tab(window)
    window.find("das.prompt")
    window.picture("panel")


def choose_tab(window: Window) -> None:
    """DaS, among the tabs at the sidebar's edge."""
    left, top, width, height = window.ask("rectangle('VIEW_3D', 'UI')")
    for y in range(top + 10, top + height, LOWER_THAN_A_TAB):
        window.click(left + width - 10, y)
        if window.ask("place('VIEW_3D', 'UI')[2].active_panel_category") == "DaS":
            return
    raise Failed("there is no tab DaS in the sidebar")


def see_each_task(window: Window) -> None:
    for task in TASKS[1:]:
        window.turn("das.task", 1)
        if window.ask(f"{SCENE}.das.task") != task:
            raise Failed(f"the task is {window.ask(f'{SCENE}.das.task')}, not {task}")
        window.picture(task.replace("_", " "))
    window.turn("das.task", 1 - len(TASKS))
    if window.ask(f"{SCENE}.das.task") != TASKS[0]:
        raise Failed("the first task does not come back")


def see_the_repaint(window: Window) -> None:
    header = window.region("VIEW_3D", "UI").open_panel("DAS_PT_repaint")
    window.picture("repaint")
    window.click(*header)


def open_the_sequencer(window: Window) -> None:
    window.move(*window.middle("DOPESHEET_EDITOR"))
    window.key("shift+F8")
    window.wait("place('SEQUENCE_EDITOR')[1].spaces.active is not None")
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
    set_settings(window, {"prompt": ""})
    write_prompt(window, PROMPT)


def generate(window: Window) -> None:
    set_settings(window, {"first_frame": "cycles", "first_frame_samples": 4})
    seen = begin_generating(window)
    window.picture("generating")
    ends_well(window, seen)
    if len({one[0] for one in seen}) < 3:
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
        window.picture(f"frame {len(frames)}")
    if frames[0] == frames[1]:
        raise Failed(f"the playhead stands still at {frames}")


def make_two_variations(window: Window) -> None:
    """Two takes, whose seeds follow each other."""
    set_settings(window, SHORT)
    before = takes()
    write_into(window, "das.variations", "2", f"{SCENE}.das.variations")
    window.press("das.generate")
    if window.ask(f"len({RUNNER}.jobs)") != 2:
        raise Failed("there are not two jobs")
    window.picture("variations")
    ends_well(window)
    set_settings(window, {"variations": 1})
    seeds = [seed_of(take) for take in takes() if take not in before]
    if len(seeds) != 2 or abs(seeds[1] - seeds[0]) != 1:
        raise Failed(f"the seeds of the two variations are {seeds}")
