"""What a run tells: JSON lines in its folder always, and accelerate's trackers (TensorBoard, Weights & Biases) where asked."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from accelerate import Accelerator

from ...shared.errors import UsageError

FILE = "log.jsonl"


class Log:
    """Of the main process; in the others nothing happens."""

    def __init__(self, run: Path, accelerator: Accelerator):
        self._file = run / FILE if accelerator.is_main_process else None
        self._accelerator = accelerator

    def write(self, event: str, step: int, **values: float) -> None:
        """One line, on the disk at once, and numbers to the trackers."""
        if self._file:
            with self._file.open("a", encoding="utf-8") as opened:
                opened.write(json.dumps({"event": event, "step": step, "time": round(time.time(), 3), **values}) + "\n")
        numbers = {f"{event}/{name}": value for name, value in values.items() if isinstance(value, (int, float))}
        self._accelerator.log(numbers, step=step)

    def close(self) -> None:
        """The trackers end. The process group does not: once destroyed its end may wait for ever (gloo's thread for Python's lock,
        Python for the thread), and the next run of a sweep needs it. It goes with the process."""
        for tracker in self._accelerator.trackers:
            tracker.finish()


def read(run: Path) -> list[dict]:
    """The lines of a run's log; a line that a killed process has left unfinished is left out."""
    lines = (run / FILE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def last_loss(run: Path) -> float:
    """Of the last step that was logged."""
    return next((line["loss"] for line in reversed(read(run)) if line["event"] == "train"), math.nan)


def check_trackers(names: tuple[str, ...]) -> None:
    """UsageError where one is unknown or not installed."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    here = {str(one.value) for one in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UsageError(f"There is no tracker {name}.", f"Choose of {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}.")
        if name not in here:
            raise UsageError(f"The tracker {name} is not installed.", f"Install it with pip, or leave it out: {FILE} is written always.")
