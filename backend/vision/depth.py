"""Depth of a picture or video: from files here, from models by :func:`estimate_depth`.

Depth is camera z, the distance along the camera's axis (not to its centre), positive and larger for what is farther. What is
not known - holes, background, infinities, NaN - is inf in everything that leaves this module.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import imageio.v3 as imageio
import numpy as np

from ...shared.errors import UsageError, first_line
from ...shared.task_settings import DepthSettings
from . import catalogue

BACKGROUND = 1e9  # Blender renders 1e10 where nothing is
HALF_MAX = 65504.0  # and what a 16-bit float makes of that
MILLIMETRE = 0.001
MOST_NUMBERS = 1 << 30  # of a file, 4 GB as floats
FLAT = 1e-6  # a relative spread below this is one wall
FORMS = "OpenEXR (.exr), 16-bit grey PNG in millimetres (.png), NumPy (.npy, .npz), or a folder of .exr or .png"


class Depth(NamedTuple):
    """z f32 [S,H,W], inf where unknown; K f64 [S,3,3] in pixels where it was estimated too; notes, a sentence each."""

    z: np.ndarray
    K: np.ndarray | None
    notes: list[str]


def estimate_depth(
    frames: np.ndarray,
    settings: DepthSettings,
    *,
    device: str = "auto",
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Depth:
    """Depth of u8 [S,H,W,3] by a model: MoGe where ``settings.source`` says so, else Depth Anything V2.

    ``progress`` is told frames done and in all. The model is in memory only inside this call. UsageError where it is not on
    this machine or its packages are not installed, Cancelled once ``cancelled()``.
    """
    catalogue.need_packages("moge" if settings.source == "moge" else "depth_anything")
    from . import depth_models

    with depth_models.open_model(settings, device) as model:
        return depth_models.estimate(model, frames, cancelled, progress)


def read_depth(file: str | Path) -> Depth:
    """The depth in a file, in the file's own size; S is 1 for a picture, and the number of files for a folder.

    EXR: the channel of depth or the only one, in scene units. PNG: 16-bit grey, millimetres, 0 where unknown, so that z comes
    in metres. NumPy: [H,W] or [T,H,W], in an .npz under ``depth`` or alone. UsageError where it is missing, of another form,
    or holds no depth.
    """
    file = Path(file).expanduser()
    if file.is_dir():
        return _read_folder(file)
    if not file.is_file():
        raise UsageError(f"There is no depth file {file}.", "Check the path.")
    reader = {".exr": _read_exr, ".png": _read_png, ".npy": _read_npy, ".npz": _read_npz}.get(file.suffix.lower())
    if reader is None:
        raise UsageError(f"{file} is not a depth file by its ending.", f"Give {FORMS}.")
    try:
        z = reader(file)
    except (OSError, ValueError, SyntaxError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{file} cannot be read as depth: {first_line(error)}.", f"Give {FORMS}.") from error
    known, notes = judge(_frames_of(z, file), str(file))
    return Depth(known, None, notes)


def judge(z: np.ndarray, what: str) -> tuple[np.ndarray, list[str]]:
    """z f32 [S,H,W] with inf where it is not known, and what is to be said of it.

    UsageError where a frame has no depth at all. ``what`` names the depth in sentences.
    """
    with np.errstate(over="ignore"):
        z = np.asarray(z, np.float32)
    known = np.isfinite(z) & (z > 0) & (z < BACKGROUND)
    counts = known.reshape(len(z), -1).sum(axis=1)
    if not counts.all():
        where = f"Frame {int(np.argmin(counts)) + 1} of {what}" if len(z) > 1 else what
        raise UsageError(
            f"{where} holds no depth: every value is 0, negative, infinite or no number.", "Give another file, or let a model estimate it."
        )
    notes = []
    if share := 1 - counts.sum() / known.size:
        notes.append(f"{_percent(share)} of {what} has no depth (holes, background or infinities) and is left out.")
    values = z[known]
    if values.max() - values.min() <= FLAT * values.max():
        notes.append(f"{what} is {values.max():g} everywhere it is known: the picture is moved as one flat wall.")
    return np.where(known, z, np.float32(np.inf)), notes


def _read_folder(folder: Path) -> Depth:
    """One depth a frame, in the order of names."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".exr", ".png"))
    if not files:
        raise UsageError(f"{folder} holds no .exr or .png files.", f"Give {FORMS}.")
    frames = [read_depth(file) for file in files]
    for file, frame in zip(files, frames):
        if frame.z.shape != frames[0].z.shape:
            raise UsageError(f"{file} is {_size(frame.z)} and {files[0].name} {_size(frames[0].z)}.", "Give depth of one size for all frames.")
    z, notes = judge(np.concatenate([frame.z for frame in frames]), str(folder))
    return Depth(z, None, notes)


def _read_exr(file: Path) -> np.ndarray:
    import OpenEXR

    with OpenEXR.File(str(file), separate_channels=True) as opened:
        channels = {name: channel.pixels for part in opened.parts for name, channel in part.channels.items()}
    pixels = channels[depth_channel(channels)]
    if pixels.dtype == np.float16:
        pixels = np.where(pixels >= HALF_MAX, np.float16(np.inf), pixels)
    return pixels


def depth_channel(channels: dict[str, np.ndarray]) -> str:
    """The name of the channel that holds depth: one that is called so, the only one, or any of equal red, green and blue.

    ValueError with all names where none is clear. (Blender: "ViewLayer.Depth.Z", and Normal.Z must not be taken for it.)
    """
    for name in channels:
        if any("depth" in part for part in name.lower().split(".")[-2:]):
            return name
    if plain := [name for name in channels if name.upper() in ("Z", "Y", "V")] or (list(channels) if len(channels) == 1 else []):
        return plain[0]
    colours = [pixels for name, pixels in channels.items() if name.split(".")[-1] in "RGB"]
    if len(colours) == 3 and all(np.array_equal(colours[0], one, equal_nan=True) for one in colours[1:]):
        return next(name for name in channels if name.split(".")[-1] == "R")
    raise ValueError(f"no channel is called depth or Z among {', '.join(list(channels)[:8])}")


def _read_png(file: Path) -> np.ndarray:
    with imageio.imopen(file, "r", plugin="pillow") as opened:
        mode = opened.metadata(index=0)["mode"]
        if mode not in ("I", "I;16", "I;16B"):
            raise ValueError(f"it is a {mode} picture of 8 bits, and depth needs a single channel of 16")
        return opened.read(index=0) * np.float32(MILLIMETRE)


def _read_npy(file: Path) -> np.ndarray:
    return np.load(file, allow_pickle=False)


def _read_npz(file: Path) -> np.ndarray:
    with np.load(file, allow_pickle=False) as stored:
        if "depth" in stored:
            return stored["depth"]
        if len(stored.files) == 1:
            return stored[stored.files[0]]
        raise ValueError(f"it holds {', '.join(stored.files[:8]) or 'nothing'}, and none is called depth")


def _frames_of(z: np.ndarray, file: Path) -> np.ndarray:
    """[S,H,W] of numbers, or UsageError."""
    z = z[..., 0] if z.ndim in (3, 4) and z.shape[-1] == 1 else z
    z = z[None] if z.ndim == 2 else z
    if z.ndim != 3 or not z.size or z.dtype.kind not in "fiu" or z.size > MOST_NUMBERS:
        raise UsageError(f"{file} holds {z.dtype.name} {list(z.shape)}, not depth [H,W] or [T,H,W].", f"Give {FORMS}.")
    return z


def _size(z: np.ndarray) -> str:
    return f"{z.shape[2]}x{z.shape[1]}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "Less than 1 %"
