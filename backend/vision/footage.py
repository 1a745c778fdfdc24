"""Moving pictures of any length, a few frames at a time: a video file, or a folder of images.

A frame's number counts from 1 at the video's own rate. Of a film only what is asked for is decoded, from the keyframe
before it on, and never more than one frame is held. A phone's turned pictures are turned upright, and pixels that are
not square are made square.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ...shared.errors import UsageError
from ..images import ImageioImages
from ..tracking_input import picture_files

FOLDER_FPS = 24.0
SEEK_GAP = 250  # frames: usual encoders set a keyframe at least so often, so that seeking over less gains nothing
SEEK_MARGINS = (0.2, 2.0, 20.0)  # seconds
GIVE_ANOTHER = "Give an mp4, mkv or mov file, or a folder of images."
BT709, UNSPECIFIED = 1, 2  # colour matrices, as files number them


class Folder:
    """A folder's images in the order of their names, at 24 frames a second."""

    def __init__(self, folder: Path):
        self.name = folder.name
        self._files = picture_files(folder)
        self._images = ImageioImages()
        self.count, self.fps = len(self._files), FOLDER_FPS
        self.size = self._read(0).shape[1::-1]
        self.notes = [f"{folder.name} is a folder of images and is taken to run at {FOLDER_FPS:g} frames a second."]

    def pictures(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """u8 [h,w,3] of each frame number, in their order."""
        for number in numbers:
            picture = self._read(number - 1)
            if picture.shape[1::-1] != self.size:
                raise UsageError(
                    f"{self._files[number - 1]} is {picture.shape[1]}x{picture.shape[0]}, {self._files[0].name} is {self.size[0]}x{self.size[1]}.",
                    "All must be of one size.",
                )
            yield picture

    def _read(self, index: int) -> np.ndarray:
        return self._images.read(self._files[index])

    def close(self) -> None:
        """Nothing is held."""


class Movie:
    """A video file. ``size`` is that of the upright picture, ``count`` how many frames there are to its end.

    UsageError where it cannot be read or shows no pictures.
    """

    def __init__(self, file: Path):
        self.name, self._file = file.name, file
        self._open()
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            self._container = av.open(str(self._file))
        except (av.FFmpegError, ValueError) as error:
            raise self._unreadable(error) from None
        if not self._container.streams.video:
            self.close()
            raise UsageError(f"{self._file} shows no pictures.", GIVE_ANOTHER)
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"

    def _begin(self) -> None:
        rate = self._stream.average_rate or self._stream.guessed_rate
        if not rate:
            raise UsageError(f"{self._file} does not say how many frames a second it has.", "Convert it to an mp4 file.")
        self.fps = float(rate)
        first = next(self._decode(), None)
        if first is None:
            raise UsageError(f"{self._file} holds no frames that say their time.", GIVE_ANOTHER)
        self._start = first.time
        self.count = max(1, round((self._last_time() - self._start) * self.fps) + 1)
        upright = self._upright(first)
        self.size = upright.shape[1::-1]
        turned = _display_matrix(first) is not None
        self.notes = [f"{self.name} was turned upright to {self.size[0]}x{self.size[1]}, as it asks for."] if turned else []

    def pictures(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """u8 [h,w,3] of the frame nearest to each number, which must not fall. UsageError where the file breaks off."""
        around, frames = (None, None), iter(())  # the frames before and after the wanted moment
        for number in numbers:
            moment = self._start + (number - 1) / self.fps
            if around[1] is None or moment - around[1].time > SEEK_GAP / self.fps:
                frames = self._from(moment)
                around = (None, next(frames, None))
            while around[1] is not None and around[1].time < moment:
                around = (around[1], next(frames, None))
            nearest = min((one for one in around if one is not None), key=lambda one: abs(one.time - moment), default=None)
            if nearest is None or (around[1] is None and moment - nearest.time > 3 / self.fps):
                raise UsageError(
                    f"{self._file} breaks off before its frame {number}.",
                    f"Convert it anew, or choose frames before it with --frames 1:{max(2, number - 1)}.",
                )
            yield self._upright(nearest)

    def close(self) -> None:
        self._container.close()

    def _from(self, moment: float) -> Iterator[av.VideoFrame]:
        """Frames from one at or before a moment on. Some kinds of files are searched badly: then from farther back."""
        for margin in SEEK_MARGINS:
            self._seek(max(moment - margin, self._start))
            frames = self._decode()
            first = next(frames, None)
            if first is not None and first.time <= moment + 1e-6:
                return itertools.chain([first], frames)
        self._open_again()
        return self._decode()

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Frames that say their time, from where the file is on."""
        try:
            for frame in self._container.decode(self._stream):
                if frame.pts is not None:
                    yield frame
        except (av.FFmpegError, ValueError) as error:
            raise self._unreadable(error) from None

    def _seek(self, moment: float) -> None:
        """To the keyframe before a moment."""
        try:
            self._container.seek(int(moment / self._stream.time_base), stream=self._stream, backward=True)
        except av.FFmpegError:  # a kind of file that can only be read from its beginning
            self._open_again()

    def _open_again(self) -> None:
        self.close()
        self._open()

    def _last_time(self) -> float:
        """The last frame's moment, by reading (not decoding) what follows the last keyframe: headers are often wrong."""
        length = (self._container.duration or 0) / av.time_base
        for start in ((self._start + length,) if length else ()) + (self._start,):
            self._seek(start)
            stamps = [packet.pts for packet in self._container.demux(self._stream) if packet.pts is not None]
            if stamps:
                self._seek(self._start)
                return float(max(stamps) * self._stream.time_base)
        return self._start

    def _upright(self, frame: av.VideoFrame) -> np.ndarray:
        if frame.colorspace == UNSPECIFIED and frame.height >= 720:
            frame.colorspace = BT709  # as players do; the library takes SD's
        pixels = _square(frame.to_ndarray(format="rgb24"), self._stream.sample_aspect_ratio)
        return _turned(pixels, _display_matrix(frame))

    def _unreadable(self, error: Exception) -> UsageError:
        reason = getattr(error, "strerror", None) or str(error)
        return UsageError(f"{self._file} cannot be read as a video: {reason}.", GIVE_ANOTHER)


def _square(pixels: np.ndarray, aspect: Fraction | None) -> np.ndarray:
    """The same picture of square pixels, made wider where ``aspect`` (width / height of a pixel) is not 1."""
    if not aspect or aspect == 1:
        return pixels
    from PIL import Image

    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((max(1, round(width * aspect)), height), Image.Resampling.LANCZOS))


def _display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """i32 [2,2] of -1, 0, 1 that turns stored (x, y) into shown ones, of quarter turns and mirrors; None where they are the same."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    values = np.frombuffer(data, np.int32).reshape(3, 3)[:2, :2].T
    matrix = np.rint(values / max(1, np.abs(values).max())).astype(int)
    return None if (matrix == np.eye(2)).all() or abs(np.linalg.det(matrix)) != 1 else matrix


def _turned(pixels: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    if matrix is None:
        return pixels
    swapped = matrix[0, 0] == 0
    shown = pixels.transpose(1, 0, 2) if swapped else pixels
    across, down = matrix[0].sum(), matrix[1].sum()
    return np.ascontiguousarray(shown[::down, ::across])
