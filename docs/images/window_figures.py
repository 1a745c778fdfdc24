"""Cuts the pictures of the pages out of what `python3 install/run.py test --gui` leaves in build/window.

    python docs/images/window_figures.py build/window
"""

import sys
from pathlib import Path

from PIL import Image

# what becomes of which picture: left, top, right, bottom
CUTS = {
    "window_panel": ("06-panel", (931, 26, 1190, 645)),
    "window_tracking": ("08-tracking-preview", (0, 26, 1190, 850)),
    "window_result": ("12-frame-36", (0, 26, 1190, 850)),
}

if __name__ == "__main__":
    for name, (source, box) in CUTS.items():
        with Image.open(Path(sys.argv[1]) / f"{source}.png") as opened:
            cut = opened.convert("RGB").crop(box)
        if cut.width > 800:
            cut = cut.resize((800, round(800 * cut.height / cut.width)), Image.Resampling.LANCZOS)
        cut.quantize(256, dither=Image.Dither.NONE).save(Path(__file__).with_name(f"{name}.png"), optimize=True)
