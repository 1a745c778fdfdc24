"""Cuts the pictures of the pages out of what `python3 install/run.py test --gui` leaves in build/window.

    python docs/images/window_figures.py build/window
"""

import sys
from pathlib import Path

from PIL import Image

WINDOW = (0, 28, 972, 676)
ADD_ON = (634, 445, 962, 620)
PANEL = (687, 28, 972, 650)
# what becomes of which picture: left, top, right, bottom
CUTS = {
    "window_backend": ("preferences-backend", ADD_ON),
    "window_models": ("preferences-models", (634, 28, 962, 650)),
    "window_panel": ("panel", (687, 28, 972, 590)),
    "window_tracking": ("tracking-preview", WINDOW),
    "window_result": ("frame-2", WINDOW),
    "window_rendering": ("first-frame", (460, 28, 972, 800)),
    "window_queue": ("queue", PANEL),
    "window_live_preview": ("live-preview", WINDOW),
    "window_message": ("backend-killed", PANEL),
    "window_repaint": ("repaint", PANEL),
    "window_camera": ("camera", PANEL),
    "window_history": ("history", PANEL),
    "window_compared": ("compared", WINDOW),
    "window_camera_control": ("camera-control", PANEL),
    "window_object_manipulation": ("object-manipulation", PANEL),
    "window_motion_transfer": ("motion-transfer", PANEL),
}
SIDE_BY_SIDE = {"panel_tasks": ("camera-control", "object-manipulation", "motion-transfer")}
WIDTH = 800
COLOURS = 256


def picture(folder: Path, name: str) -> Image.Image:
    """Of a step, whatever its number."""
    (file,) = folder.glob(f"[0-9][0-9]-{name}.png")
    with Image.open(file) as opened:
        return opened.convert("RGB")


def beside(pictures: list[Image.Image]) -> Image.Image:
    """From left to right, with a little between them."""
    whole = Image.new("RGB", (sum(one.width + 10 for one in pictures) - 10, max(one.height for one in pictures)), "white")
    left = 0
    for one in pictures:
        whole.paste(one, (left, 0))
        left += one.width + 10
    return whole


def keep(name: str, cut: Image.Image) -> None:
    if cut.width > WIDTH:
        cut = cut.resize((WIDTH, round(WIDTH * cut.height / cut.width)), Image.Resampling.LANCZOS)
    palette = cut.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    cut.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(Path(__file__).with_name(f"{name}.png"), optimize=True)


if __name__ == "__main__":
    source = Path(sys.argv[1])
    for name, (step, box) in CUTS.items():
        keep(name, picture(source, step).crop(box))
    for name, steps in SIDE_BY_SIDE.items():
        keep(name, beside([picture(source, step).crop(PANEL) for step in steps]))
