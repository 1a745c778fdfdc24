"""A new take with the tracking video, signals and first frame of another, at no cost where the disk allows links."""

from __future__ import annotations

import shutil
from pathlib import Path

from .errors import GenerationError, UsageError
from .files import link_or_copy
from .request import GenerationRequest
from .take import Take

# The first frame is what people paint over, in programs that write into the same file.
COPIED = ("first_frame.png", "camera.json", "objects.json")
LINKED = ("signals.npz", "tracks.npz", "tracking.mkv")
EXPORTED = ("coordinates", "depth", "mattes", "flow")  # folders of files for other tools


def copy_take(source: Take, folder: Path, request: GenerationRequest) -> Take:
    """A prepared take in a new folder. UsageError where the source's tracking video is not whole."""
    frames = [source.tracking_file(index) for index in range(source.record.request.frames)]
    if missing := [file for file in (*frames, source.folder / "first_frame.png") if not file.exists()]:
        raise UsageError(f"{source.folder} is no whole take: {missing[0].relative_to(source.folder)} is missing.", "Make that take again with das track.")
    take = Take.create(folder, request, source.images, source.record.scene)
    try:
        exported = [file for name in EXPORTED for file in (source.folder / name).glob("*")]
        for file in (*frames, *exported, *_there(source.folder, LINKED)):
            _link(file, folder / file.relative_to(source.folder))
        for file in _there(source.folder, COPIED):
            shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise GenerationError(f"{folder} cannot be written: {error.strerror}.", "Free some space or check the folder's permissions.") from None
    take.record.hashes = {name: source.record.hashes[name] for name in ("tracking", "first_frame") if name in source.record.hashes}
    take.note(f"Tracking video of {source.folder.resolve()}.")
    take.save()
    return take


def _there(folder: Path, names: tuple[str, ...]) -> list[Path]:
    return [folder / name for name in names if (folder / name).exists()]


def _link(source: Path, target: Path) -> None:
    """Takes replace files and never write into them."""
    target.parent.mkdir(exist_ok=True)
    link_or_copy(source, target)
