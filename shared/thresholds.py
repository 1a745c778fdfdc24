"""Where the numbers of a pre-flight begin to matter, and why: the one table that judges and documentation read."""

from __future__ import annotations

from typing import Literal

import msgspec

Severity = Literal["block", "warning", "info"]
ORDER: tuple[Severity, ...] = ("block", "warning", "info")


class Threshold(msgspec.Struct, frozen=True):
    """Where a number begins to matter. ``low`` says that small numbers are the bad ones; None never happens."""

    name: str
    number: str
    warning: float | None
    block: float | None
    reason: str
    unit: str = ""
    low: bool = False

    def severity(self, value: float) -> Severity | None:
        """How bad a value is; None where it is good."""
        if self.block is not None and self._is_beyond(value, self.block):
            return "block"
        if self.warning is not None and self._is_beyond(value, self.warning):
            return "warning"
        return None

    def _is_beyond(self, value: float, limit: float) -> bool:
        return value < limit if self.low else value > limit


TRACKED_AT_START = Threshold(
    "tracked at the start", "share of the first frame with tracking colour", 0.05, 0.005, unit="%", low=True,
    reason="Only coloured pixels tell the model how things move. It sees 45x30 tokens of 16x16 pixels: 5 % is 68 of "
    "them, one small figure; 0.5 % is 7, which steer nothing.",
)  # fmt: skip
TRACKED_LATER = Threshold(
    "tracked later", "least share of a later frame with tracking colour", 0.02, None, unit="%", low=True,
    reason="Below 27 of 1350 tokens the model is left to the prompt. It never blocks: a shot may end on an empty stage.",
)  # fmt: skip
UNSEEN = Threshold(
    "never seen at the start", "greatest share of a later frame with surface that was hidden or off screen", 0.35, 0.9, unit="%",
    reason="The first frame is all that the model knows of the look. Beyond a third it makes up more than what stands "
    "beside it can guide; beyond nine tenths the shot has next to nothing in common with its first frame.",
)  # fmt: skip
LOST = Threshold(
    "cannot be followed", "greatest share of a frame with surface that has no place in the first frame", 0.1, None, unit="%",
    reason="It is black in the tracking video, as the background is, so the model may put anything there: a tenth of the "
    "frame is a figure in full. It never blocks: the rest of the shot is tracked.",
)  # fmt: skip
MOTION = Threshold(
    "motion", "99th percentile of the motion from one result to the next, as a share of the width", 0.05, None, unit="%",
    reason="The model's codec folds four frames into one: 5 % a frame (36 of 720 pixels) is nine tokens within one. "
    "Beyond, limbs smear. It never blocks: a fast shot is hard, not impossible.",
)  # fmt: skip
STILL = Threshold(
    "standing still", "largest motion of the whole range in pixels", 0.5, None, unit="px", low=True,
    reason="Half a pixel in all is less than the tracking video's 8-bit colours can tell (720/255 = 2.8 pixels): the "
    "video would be a still.",
)  # fmt: skip
STILL_SHARE = Threshold(
    "standing still for a while", "share of the range, at its begin or end, in which nothing moves", 0.34, None, unit="%",
    reason="The model makes a fixed number of frames: a third of them for nothing costs a third of the motion's detail.",
)  # fmt: skip
CLIPPED = Threshold(
    "clipping", "greatest share of a frame cut away by the near or far clipping distance", 0.005, None, unit="%",
    reason="What is cut is missing from tracking and first frame alike; half a per cent is a patch of 40x40 pixels that "
    "comes and goes, and the model makes it a hole.",
)  # fmt: skip
DEPTH_RANGE = Threshold(
    "depth range", "98th over 2nd percentile of depth at the start", 100.0, None,
    reason="Blue is inverse distance in 255 levels: at 100 to 1 all that is beyond 40 % of the far distance shares four "
    "of them, so the model sees no depth there.",
)  # fmt: skip
OFFSET = Threshold(
    "first frame's offset", "shift in pixels at which the first frame fits the tracking video best", 1.5, 4.0, unit="px",
    reason="Beyond a pixel and a half it is no rounding; four pixels are half of the 8-pixel cells in which the model's "
    "codec sees picture and tracking video together.",
)  # fmt: skip
MATCH = Threshold(
    "first frame's match", "how much more the first frame changes at the objects' outlines than beside them", 0.3, 0.1, low=True,
    reason="0 is chance, 1 is perfect. True renders measure 0.6 to 1.0, those of another camera or another frame at most "
    "0.26; below 0.1 no outline of the scene is in the picture.",
)  # fmt: skip
JUMP = Threshold(
    "camera jump", "motion of the view from one result to the next, over the median around it", None, 8.0,
    reason="A camera that speeds up does it over some frames; eight times at once, and by a tenth of the width or more, is "
    "a cut, after which tracking colours point at a picture that is gone.",
)  # fmt: skip
RATE_LOW = Threshold(
    "slow frame rate", "results a second", 8.0, None, unit="fps", low=True,
    reason="The model's videos have 8 frames a second or more; fewer look like a slide show, and motion per frame grows.",
)  # fmt: skip
RATE_HIGH = Threshold(
    "high frame rate", "results a second", 60.0, None, unit="fps",
    reason="Beyond 60 a second neighbouring results are the same picture, and the model's motion is spent on nothing.",
)  # fmt: skip

THRESHOLDS = (
    TRACKED_AT_START, TRACKED_LATER, UNSEEN, LOST, MOTION, STILL, STILL_SHARE, CLIPPED, DEPTH_RANGE,
    OFFSET, MATCH, JUMP, RATE_LOW, RATE_HIGH,
)  # fmt: skip
LEAST_JUMP = 0.1  # of the width
LEAST_CUT = 1.0  # pixels: two cameras at one place make no cut
MOVES = 0.02  # pixels from one result to the next; what stands still measures less than a thousandth


def documentation() -> str:
    """The table as docs/check.md prints it."""
    rows = ["| what | number | warns | blocks | why |", "|---|---|---|---|---|"]
    for each in THRESHOLDS:
        warns, blocks = (_limit(each, limit) for limit in (each.warning, each.block))
        rows.append(f"| {each.name} | {each.number} | {warns} | {blocks} | {each.reason} |")
    return "\n".join(rows)


def _limit(threshold: Threshold, limit: float | None) -> str:
    """'below 5 %', or 'never'."""
    if limit is None:
        return "never"
    number = f"{100 * limit:g} %" if threshold.unit == "%" else f"{limit:g} {threshold.unit}".rstrip()
    return f"{'below' if threshold.low else 'above'} {number}"
