"""What an earlier run of the same command has left in its folder: gone on with where it is whole, made anew where it is not.

A farm runs a task's command line again after a failure, on the same folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .errors import UsageError
from .request import GenerationRequest
from .take import Images, Take

FILES = (
    *("camera.json", "objects.json", "first_frame.png", "signals.npz", "tracks.npz", "video.mp4"),
    *("tracking.mkv", "tracking.mp4", "frames.mkv", "frames.mp4", "*.partial"),
)
CAPTURES = "das-capture-*"  # what a capture keeps on disk while it runs, and leaves only where it is killed
FOLDERS = ("tracking", "frames", "coordinates", "depth", "mattes", "flow", "candidates")


def begun_take(folder: Path, request: GenerationRequest, images: Images) -> Take | None:
    """The take in ``folder`` if all that a generation needs is in it; None where it is to be made, in a folder that holds
    no half-made take any more. UsageError where it was begun with another request."""
    if not (folder / "take.json").exists():
        _remove(folder, "take.json.partial")  # it was killed in its first moment
        return None
    take = Take.open(folder, images)
    if take.record.request != request:
        names = [name for name in request.__struct_fields__ if getattr(take.record.request, name) != getattr(request, name)]
        raise UsageError(f"{folder} was begun with other settings: {', '.join(names)}.", "Give another folder with -o.")
    if is_prepared(take):
        return take
    clear(take)
    return None


def is_prepared(take: Take) -> bool:
    """Whether tracking video, first frame and signals are all there. The hash of the tracking video is saved after them."""
    record = take.record
    tracked = all(take.tracking_file(index).exists() for index in range(record.request.frames))
    painted = not record.request.repaint.model or take.candidate_file(1).exists()
    names = ["first_frame.png", *(["signals.npz", "camera.json"] if record.scene else [])]
    return tracked and painted and all((take.folder / name).exists() for name in names) and "tracking" in record.hashes


def clear(take: Take) -> None:
    """Remove all that makes a take, its record last, and nothing else."""
    folder = take.folder
    for unfinished in folder.glob(CAPTURES):
        shutil.rmtree(unfinished)
    for name in FOLDERS:
        for pattern in ("*.png", "*.exr", "*.flo", "*.json", "*.npz", "*.partial"):
            _remove(folder / name, pattern)
        if (folder / name).is_dir() and next((folder / name).iterdir(), None) is None:
            (folder / name).rmdir()
    for pattern in FILES:
        _remove(folder, pattern)
    (folder / "take.json").unlink()


def _remove(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()
