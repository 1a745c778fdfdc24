"""Pictures and videos in the backend's environment, by imageio: exact PNG, H.264 for people, FFV1 for exactness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from ..shared.errors import UsageError
from ..shared.request import MAX_FRAMES

GREY_16_BIT = ("I", "I;16", "I;16B")


class ImageioImages:
    """shared.take.Images without Blender."""

    def read(self, file: Path) -> np.ndarray:
        """u8 [H,W,3] sRGB; transparency lies over black. UsageError where the file is missing or no image."""
        file = Path(file)
        if not file.is_file():
            raise UsageError(f"There is no image at {file}.", "Check the path.")
        try:
            return _read(file)
        except (OSError, ValueError, SyntaxError) as error:
            raise UsageError(f"{file} cannot be read as an image: {error}.", "Give a PNG or JPEG file.") from error

    def write(self, file: Path, pixels: np.ndarray) -> None:
        """An exact 8-bit PNG of u8 [H,W,3], whatever the name ends in."""
        content = imageio.imwrite("<bytes>", pixels, plugin="pillow", extension=".png", compress_level=3)
        Path(file).write_bytes(content)

    def write_video(self, file: Path, frames: list[Path], fps: float) -> None:
        """H.264 (yuv420p, sides made even by repeating the last row or column) of image files; whole or not at all."""
        if not frames:
            raise UsageError(f"{file} would have no frames.", "Generate some first.")
        self.write_h264(file, (self.read(frame) for frame in frames), fps)

    def writing_video(self, file: Path, frames: list[Path], fps: float) -> Iterator[None]:
        """As :meth:`write_video`, in one step."""
        self.write_video(file, frames, fps)
        yield

    def write_h264(self, file: Path, frames: Iterable[np.ndarray], fps: float) -> None:
        """The same of u8 [H,W,3] frames."""
        _encode(Path(file), map(_even, frames), fps, "mp4", "libx264", "yuv420p", {"crf": "16"}, {"movflags": "+faststart"})

    def write_lossless(self, file: Path, frames: Iterable[np.ndarray], fps: float) -> None:
        """FFV1 in Matroska, pixel format bgr0: u8 [H,W,3] frames come back exactly. Whole or not at all."""
        _encode(Path(file), frames, fps, "matroska", "ffv1", "bgr0")

    def write_lossless_h264(self, file: Path, frames: Iterable[np.ndarray], fps: float) -> None:
        """H.264 in MP4 whose RGB frames come back exactly (x264's crf 0, High 4:4:4 Predictive). Whole or not at all."""
        _encode(Path(file), frames, fps, "mp4", "libx264rgb", "rgb24", {"crf": "0"}, {"movflags": "+faststart"})

    def read_video(self, file: Path, most: int = MAX_FRAMES) -> np.ndarray:
        """u8 [T,H,W,3]. UsageError where the file is missing, no video, or has more than ``most`` frames."""
        file = Path(file)
        if not file.is_file():
            raise UsageError(f"There is no video at {file}.", "Check the path.")
        frames = []
        try:
            for frame in imageio.imiter(file, plugin="pyav"):
                frames.append(frame)
                if len(frames) > most:
                    raise UsageError(f"{file} has more than {most} frames.", "Cut it shorter.")
        except (OSError, ValueError, IndexError) as error:
            raise UsageError(f"{file} cannot be read as a video: {error}.", "Give an mp4 or mkv file.") from error
        if not frames:
            raise UsageError(f"{file} holds no frames.", "Give an mp4 or mkv file.")
        return np.stack(frames)


def _read(file: Path) -> np.ndarray:
    with imageio.imopen(file, "r", plugin="pillow") as opened:
        if opened.metadata(index=0)["mode"] in GREY_16_BIT:
            grey = np.rint(opened.read(index=0, rotate=True) / 257.0).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=-1)
        pixels = opened.read(index=0, mode="RGBA", rotate=True)
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    return colour.copy() if (alpha == 255).all() else np.rint(colour * (alpha / 255.0)).astype(np.uint8)


def _even(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _encode(
    file: Path,
    frames: Iterable[np.ndarray],
    fps: float,
    container: str,
    codec: str,
    pixel_format: str,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> None:
    partial = file.with_name(file.name + ".partial")
    opening = {"plugin": "pyav", "extension": f".{container}", "container": container}
    try:
        with imageio.imopen(partial, "w", **opening, container_options=container_options or {}) as video:
            video.init_video_stream(codec, fps=fps, pixel_format=pixel_format)
            video._video_stream.options = codec_options or {}  # imageio has no public way to the encoder's options
            for frame in frames:
                video.write_frame(frame)
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
