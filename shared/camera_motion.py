"""The motion grammar: a camera move in words, as matrices.

    trans DX DY DZ [S E]      move along the camera's axes
    rot AXIS DEGREES [S E]    turn about one of them: x, y or z
    spiral RADIUS [S E]       one turn of a spiral that opens and closes, looking at one point

Segments are separated by ``;``. S and E are frame numbers from 0 to T - 1, the whole range where they are left
out: before S nothing has moved, after E it stays as it is, between them it grows evenly. S = E is a jump between
that frame and the next. Frame 0 never moves.

A move is P_t, world-to-camera and relative to frame 0: E_t = P_t E_0, or X_t = P_t X_0 for points in the first
camera's space. Axes are OpenCV's (x right, y down, z forward), lengths the scene's units, angles degrees. So the
signs say where the *content* goes, and the camera goes the other way:

    trans +x  content right     camera left        rot +x  content up           camera tilts down
    trans +y  content down      camera up          rot +y  content right        camera pans left
    trans +z  content farther   camera back        rot +z  content clockwise    camera rolls anticlockwise

Grammar, signs and the spiral's shape follow the reference program of Diffusion as Shader (Gu et al., 2025,
arXiv 2501.03847). What was wrong there is not kept: ranges counted to 48 whatever the clip's length, S = E divided
by zero, and the spiral's pose was used where its inverse belongs.
"""

from __future__ import annotations

import difflib
import math
import re
from functools import partial
from typing import Callable, Literal, NamedTuple, get_args

import numpy as np

from .errors import UsageError

Order = Literal["sequence", "reference"]
TOKEN = re.compile(r";|[^\s;]+")
FORMS = {"trans": "trans DX DY DZ [S E]", "rot": "rot AXIS DEGREES [S E]", "spiral": "spiral RADIUS [S E]"}
VALUES = {"trans": 3, "rot": 2, "spiral": 1}
AXES = "xyz"


class Word(NamedTuple):
    """A word of the text and its column, from 1."""

    text: str
    column: int


class Segment(NamedTuple):
    """``matrices`` takes how much of the move is done, f64 [M] in 0..1, to world-to-camera f64 [M,4,4]."""

    matrices: Callable[[np.ndarray], np.ndarray]
    start: float
    end: float

    def done(self, at: np.ndarray) -> np.ndarray:
        """How much of the move is done at frames [M], in 0..1."""
        if self.start == self.end:
            return (at > self.start).astype(np.float64)
        return np.clip((at - self.start) / (self.end - self.start), 0, 1)


def motion(text: str, frames: int, order: Order = "sequence", at: np.ndarray | None = None) -> np.ndarray:
    """P_t, f64 [T,4,4], of a move over T = ``frames`` frames; with ``at`` [M] at these frame numbers instead.

    ``sequence`` makes each segment in the camera's frame as the segments before it have left it: P = C B A for the
    text "A; B; C". ``reference`` is the order of the reference program, P = A B C: each segment acts in the frame
    before the segments to its left. UsageError, with the column, where the text is no motion.
    """
    if frames < 1:
        raise UsageError(f"A motion over {frames} frames is not possible.", "Give at least one frame.")
    if order not in get_args(Order):
        raise UsageError(f"'{order}' is no order of a motion.", f"Use {' or '.join(get_args(Order))}.")
    at = np.arange(frames, dtype=np.float64) if at is None else np.asarray(at, dtype=np.float64)
    whole = np.broadcast_to(np.eye(4), (len(at), 4, 4))
    for segment in parse_motion(text, frames):
        part = segment.matrices(segment.done(at))
        whole = part @ whole if order == "sequence" else whole @ part
    return whole.copy()


def parse_motion(text: str, frames: int) -> list[Segment]:
    """The segments of a motion over ``frames`` frames; UsageError, with the column, where there is a mistake."""
    words = [Word(match[0], match.start() + 1) for match in TOKEN.finditer(text)]
    segments, current = [], []
    for word in [*words, Word(";", len(text) + 1)]:
        if word.text != ";":
            current.append(word)
        elif current:
            segments.append(_segment(current, frames))
            current = []
    if not segments:
        raise UsageError("The motion is empty.", f"Give it as {'; '.join(FORMS.values())}, for example 'trans 0 0 -1; rot y 15'.")
    return segments


def _segment(words: list[Word], frames: int) -> Segment:
    kind, *rest = words
    if kind.text not in FORMS:
        near = difflib.get_close_matches(kind.text.lower(), FORMS, n=1) or FORMS
        raise _mistake(kind, f"'{kind.text}' is no motion", f"Use {', '.join(FORMS[name] for name in near)}.")
    count = VALUES[kind.text]
    if len(rest) not in (count, count + 2):
        raise _mistake(kind, f"{kind.text} has {len(rest)} value{'s' if len(rest) != 1 else ''}", f"Give it as {FORMS[kind.text]}.")
    start, end = _range(rest[count:], frames)
    if kind.text == "trans":
        return Segment(partial(_translations, np.array([_number(word) for word in rest[:3]])), start, end)
    if kind.text == "rot":
        return Segment(partial(_rotations, _axis(rest[0]), math.radians(_number(rest[1]))), start, end)
    return Segment(partial(_spiral, _radius(rest[0])), start, end)


def _range(words: list[Word], frames: int) -> tuple[float, float]:
    last = frames - 1
    if not words:
        return 0.0, float(last)
    start, end = (_number(word) for word in words)
    for word, value in zip(words, (start, end)):
        if not 0 <= value <= last:
            raise _mistake(word, f"frame {word.text} is outside the motion's {frames} frames", f"Frames count from 0 to {last}.")
    if end < start:
        raise _mistake(words[1], f"the range {words[0].text} {words[1].text} is reversed", "Give the first frame before the last.")
    return start, end


def _number(word: Word) -> float:
    try:
        value = float(word.text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _mistake(word, f"'{word.text}' is no number", "Use numbers such as 1, -0.5 or 15.")
    return value


def _axis(word: Word) -> int:
    if word.text.lower() not in tuple(AXES):
        raise _mistake(word, f"'{word.text}' is no axis", f"Use x, y or z: {FORMS['rot']}.")
    return AXES.index(word.text.lower())


def _radius(word: Word) -> float:
    radius = _number(word)
    if radius <= 0:
        raise _mistake(word, f"the radius {word.text} is not above 0", "Give the spiral a positive radius.")
    return radius


def _mistake(word: Word, what: str, fix: str) -> UsageError:
    return UsageError(f"Column {word.column} of the motion: {what}.", fix)


def _translations(offset: np.ndarray, done: np.ndarray) -> np.ndarray:
    matrices = _identities(len(done))
    matrices[:, :3, 3] = done[:, None] * offset
    return matrices


def _rotations(axis: int, angle: float, done: np.ndarray) -> np.ndarray:
    matrices = _identities(len(done))
    cosine, sine = np.cos(done * angle), np.sin(done * angle)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrices[:, first, first] = matrices[:, second, second] = cosine
    matrices[:, second, first], matrices[:, first, second] = sine, -sine
    return matrices


def _spiral(radius: float, done: np.ndarray) -> np.ndarray:
    """The camera goes round once on an ellipse that opens to a tenth of the radius and closes again, a little
    backwards too, and always looks at the point half a radius ahead of where it began."""
    wide, angle = 0.1 * radius * np.sin(np.pi * done), 2 * np.pi * done
    positions = np.stack([wide * np.sin(angle), 0.3 * wide * np.cos(angle), -0.5 * wide], axis=-1)
    forward = _unit(np.array([0, 0, 0.5 * radius]) - positions)
    right = _unit(np.cross([0.0, 1.0, 0.0], forward))
    rotations = np.stack([right, np.cross(forward, right), forward], axis=1)  # rows: world to camera
    matrices = _identities(len(done))
    matrices[:, :3, :3] = rotations
    matrices[:, :3, 3] = -np.einsum("tij,tj->ti", rotations, positions)
    return matrices


def _identities(count: int) -> np.ndarray:
    return np.tile(np.eye(4), (count, 1, 1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
