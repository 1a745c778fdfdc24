"""A request's fields as words of a command line: the way back of :func:`options.changes`."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import UsageError
from .request import FirstFrame
from .task_settings import CameraControl, DepthSettings, MotionTransfer, ObjectManipulation, Repaint

OTHER_NAMES = {"frames": "count", "memory_plan": "plan"}
PAIRS = {"start": "end", "width": "height"}


def words_of(fields: Mapping[str, object]) -> list[str]:
    """Options that give a request these fields. UsageError where one of a pair is given without the other."""
    words: list[str] = []
    for name, value in fields.items():
        match value:
            case FirstFrame() | DepthSettings() | CameraControl() | ObjectManipulation() | MotionTransfer() | Repaint():
                words += _words_of_struct(value)
            case _ if name in PAIRS or name in PAIRS.values():
                words += _pair(name, fields)
            case tuple():
                words.append(_word(name, ",".join(value)))
            case True:
                words.append(f"--{name.replace('_', '-')}")
            case False:
                pass  # the default of every switch
            case _:
                words.append(_word(OTHER_NAMES.get(name, name), value))
    return words


def _pair(name: str, fields: Mapping[str, object]) -> list[str]:
    """Both of a range or a size in one word, at the first of them."""
    first = name if name in PAIRS else next(one for one, other in PAIRS.items() if other == name)
    if missing := {first, PAIRS[first]} - set(fields):
        raise UsageError(f"{name} is given without {missing.pop()}.", "Give both.")
    if name != first:
        return []
    if first == "start":
        return [f"--frames={fields['start']!r}:{fields['end']!r}"]
    return [f"--size={fields['width']}x{fields['height']}"]


def _words_of_struct(settings: object) -> list[str]:
    match settings:
        case FirstFrame(source="file"):
            return [_word("first_frame", settings.path)]
        case FirstFrame():
            return [_word("first_frame", settings.source + (f":{settings.samples}" if settings.samples else ""))]
        case DepthSettings():
            source = settings.path or (settings.source if settings.source != "auto" else "")
            return _given(depth=source, depth_weights=settings.weights)
        case CameraControl():
            onto = settings.onto if settings.onto != "append" else ""
            order = settings.order if settings.order != "sequence" else ""
            return _given(camera_motion=settings.motion, path=settings.path, order=order, onto=onto)
        case ObjectManipulation():
            return _words_of_object(settings)
        case MotionTransfer(tracks=tracks):
            return _given(tracks=tracks, tracker="" if tracks else settings.tracker, grid=settings.grid)
        case Repaint():
            return _given(
                repaint=settings.model, strength=settings.strength, candidates=settings.candidates, choose=settings.choice,
                repaint_steps=settings.steps or "", repaint_weights=settings.weights, repaint_base=settings.base,
            )  # fmt: skip


def _words_of_object(settings: ObjectManipulation) -> list[str]:
    click = ",".join(map(repr, settings.click)) if settings.click else ""
    motion = settings.motion if settings.motion not in ("path", "follow") else ""
    return _given(
        mask=settings.mask, object=settings.object, click=click, motion=motion,
        motion_path=settings.path, follow=settings.follow, distance=settings.distance,
    )  # fmt: skip


def _given(**options: object) -> list[str]:
    return [_word(name, value) for name, value in options.items() if value != ""]


def _word(name: str, value: object) -> str:
    return f"--{name.replace('_', '-')}={value}"
