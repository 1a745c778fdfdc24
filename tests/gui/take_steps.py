"""What happens to takes that are there, to the camera, and in Preferences."""

from __future__ import annotations

import json

from first_steps import choose_tab
from moves import (
    KEPT, PROJECT, PROMPT, RUNNER, SCENE, WORK,
    begin_generating, choose_file, painted, see_strips, set_settings, strips_of, takes, until, write_into, write_prompt,
)  # fmt: skip
from window import Failed, Window

LONGEST_COMPUTATION = 200  # milliseconds
LONGEST_STANDSTILL = 1000  # disks and other programs have a part in it
LONG_CALLBACK = 20
HALF_A_ROW = 10  # pixels
UPKEEP = "addon('blender_addon.upkeep').upkeep"
IN_PREFERENCES = {"area": "PREFERENCES", "region": "WINDOW"}
HISTORY = "bpy.context.window_manager.das_history"


def re_apply_from_the_history(window: Window) -> None:
    """Another prompt, and then that of a take again, which is found by a word of its own."""
    write_prompt(window, "something else")
    window.region("VIEW_3D", "UI").open_panel("DAS_PT_history")
    write_into(window, "das_history.search", "painted tin", f"{HISTORY}.search")
    window.press("das_history.index", below="das_history.search")
    window.press("das.apply_take", below="das_history.search")
    window.picture("history")
    if not window.ask(f"{SCENE}.das.prompt").startswith(PROMPT):
        raise Failed(f"the prompt is {window.ask(f'{SCENE}.das.prompt')}")


def make_a_take_a_favourite(window: Window) -> None:
    before = set(PROJECT.glob("das/*/favourite"))
    window.press_below("das.favourite_take", "das_history.search", "das.favourite_take")
    if len(set(PROJECT.glob("das/*/favourite")) - before) != 1:
        raise Failed("no take has become a favourite")
    window.picture("favourite")


def compare_two_takes(window: Window) -> None:
    chosen = window.ask(f"{HISTORY}.chosen")
    other = next(take.name for take in takes() if take.name != chosen and (take / "frames").is_dir())
    before = len(strips_of(window))
    write_into(window, "das_history.other", other, f"{HISTORY}.other", below="das.apply_take")
    window.press("das.compare_takes", below="das.apply_take")
    if len(strips_of(window)) != before + 2:
        raise Failed(f"not two strips more than {before}, but {strips_of(window)}")
    see_strips(window)
    window.picture("compared")


def delete_a_take(window: Window) -> None:
    """To the trash of the system."""
    name = window.ask(f"{HISTORY}.chosen")
    window.press("das.delete_take", below="das.apply_take")
    if (PROJECT / "das" / name).exists():
        raise Failed(f"{name} is still there; {window.ask(f'{RUNNER}.message')}")
    if not list(WORK.glob(f"**/Trash/files/{name}")) + list(WORK.glob(f".Trash*/files/{name}")):
        raise Failed(f"{name} is not in the trash")
    window.wait(f"{name!r} not in [take.name for take in {HISTORY}.takes]")
    window.picture("deleted")


def export_the_camera(window: Window) -> None:
    sidebar = window.region("VIEW_3D", "UI")
    sidebar.open_panel("DAS_PT_camera")
    sidebar.scroll_to_the_end()
    window.picture("camera")
    window.press("das.export_camera_path")
    file = PROJECT / "the camera.json"
    choose_file(window, file)
    until(file.exists, f"{file.name}")
    json.loads(file.read_text(encoding="utf-8"))


# Preferences


def see_preferences(window: Window) -> None:
    """In the place of the viewport: a screen without a window manager has no room for a window of theirs."""
    window.ask("place('VIEW_3D')[1].type = 'PREFERENCES'")
    window.ask("bpy.context.preferences.active_section = 'ADDONS'")
    write_into(window, "addon_search", "diffusion as", "bpy.context.window_manager.addon_search", **IN_PREFERENCES)
    window.press("addon_expand", **IN_PREFERENCES)
    window.find("das.start_backend", **IN_PREFERENCES)
    window.picture("preferences backend")
    open_models(window)
    window.press("das.list_models", **IN_PREFERENCES)
    window.wait(f"{UPKEEP}.models is not None and not {UPKEEP}.running", 60, "the list of models")
    window.settle()
    window.region(**IN_PREFERENCES).scroll_to_the_end()
    window.picture("preferences models")


def open_models(window: Window) -> None:
    """By a click on the header below the buttons of the backend, which itself is none."""
    left, _, width, _ = window.ask("rectangle('PREFERENCES', 'WINDOW')")
    preferences, x = window.region(**IN_PREFERENCES), round(width * 0.7)
    for half_rows in (4, 3, 5, 2, 6):
        _, y = window.find("das.stop_backend", **IN_PREFERENCES)
        window.click(left + x, y + half_rows * HALF_A_ROW)
        if preferences.search_down("models_folder", x, preferences.depth_of(y + half_rows * HALF_A_ROW), rows=5):
            return
    raise Failed("the box Models does not open")


def disable_in_the_middle_of_a_job(window: Window) -> None:
    """The job ends with the extension, and nothing of it stays behind; enabled again it is there again."""
    window.ask("place('PREFERENCES')[1].type = 'VIEW_3D'")
    set_settings(window, painted("sleep=20"))
    begin_generating(window, ("pattern",))
    window.ask("place('VIEW_3D')[1].type = 'PREFERENCES'")
    window.press("addon_disable", **IN_PREFERENCES)
    window.wait("MODULE not in bpy.context.preferences.addons", 60)
    window.wait("not hasattr(bpy.types.Scene, 'das')")
    window.picture("disabled")
    window.press("addon_enable", **IN_PREFERENCES)
    window.wait("MODULE in bpy.context.preferences.addons", 60)
    window.ask("place('PREFERENCES')[1].type = 'VIEW_3D'")
    choose_tab(window)
    window.find("das.prompt")
    window.picture("enabled again")


# what all steps have left behind


def nothing_was_raised(window: Window) -> None:
    """Errors that Blender catches go into its log."""
    log = (KEPT / "blender.log").read_text(encoding="utf-8", errors="replace")
    if "Traceback" in log:
        raise Failed(log[log.index("Traceback") :][:4000])


def callbacks_were_quick(window: Window) -> None:
    """Each of our callbacks, as Blender waited for it."""
    times = window.ask("clock.summary()")
    (KEPT / "callbacks.json").write_text(json.dumps(times, indent=1), encoding="utf-8")
    everything = times.pop("")
    print(
        f"95th percentile of {everything['calls']} callbacks: {everything['p95']:.2f} ms computing, at most "
        f"{everything['worst']:.0f} ms; {everything['longest']:.0f} ms by the clock on the wall"
    )
    for name, one in sorted(times.items(), key=lambda item: -item[1]["worst"]):
        if one["worst"] > LONG_CALLBACK:
            print(f"  {one['worst']:6.1f} ms at most, {one['p95']:5.1f} ms at the 95th percentile of {one['calls']}: {name}")
            print(*(f"            {line}" for line in one["inside"]), sep="\n")
    if everything["worst"] > LONGEST_COMPUTATION or everything["longest"] > LONGEST_STANDSTILL:
        raise Failed(
            f"a callback computed for more than {LONGEST_COMPUTATION} ms, or stood still for {LONGEST_STANDSTILL}; "
            f"all are in {KEPT / 'callbacks.json'}"
        )
