"""Instances of a frame joined into single arrays, with each vertex's place in the first frame."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from .frames import Key, Layout, Part
from .identity import FirstSurface, Followed
from .instances import Instance
from .untracked import Untracked

MAX_OBJECTS = np.iinfo(np.uint16).max
COUNTED_ANEW = "counted anew"
NO_NUMBER = 2**31 - 1  # what Blender fills a persistent_id with
NO_EXTRA = np.zeros(0, np.int32)


class _Followed(msgspec.Struct):
    """A layout, what it was made from, and which of each instance's vertices occur a second time."""

    made_of: list[tuple]
    layout: Layout
    extra: list[np.ndarray]


class Assembly:
    """Joins frame after frame; the first one added gives the rest positions."""

    def __init__(self):
        self.object_names: list[str] = []
        self.untracked: dict[Untracked, None] = {}
        self._numbers: dict[Key, int] = {}
        self._first: dict[Key, Instance] | None = None
        self._counts: dict[Key, int] | None = None
        self._surfaces: dict[Key, FirstSurface] = {}
        self._latest: _Followed | None = None

    def add(self, instances: list[Instance]) -> tuple[np.ndarray, Layout]:
        """World positions f32 [V,3] and the layout, which is the previous frame's object where nothing changed."""
        instances = self._renumbered(instances)
        if self._first is None:
            self._first = {each.key: each for each in instances}
        made_of = [(each.key, each.topology.number, each.holdout, each.looks, each.mirrored) for each in instances]
        if self._latest is None or self._latest.made_of != made_of:
            self._latest = self._lay_out(instances, made_of)
        positions = []
        for each, extra in zip(instances, self._latest.extra):
            positions.append(each.positions)
            if len(extra):
                positions.append(each.positions[extra])
        return _join(positions, np.float32, 3), self._latest.layout

    def notes(self) -> list[str]:
        if len(self.object_names) > MAX_OBJECTS:
            return [f"More than {MAX_OBJECTS} instances: the last ones share one object number."]
        return []

    def _renumbered(self, instances: list[Instance]) -> list[Instance]:
        """Instances of a group that is counted 0, 1, 2 ... and has become smaller get keys of their own: nobody knows
        which of them are gone, unless their points have an ``id``."""
        counts = _plain_counts(instances)
        if self._counts is None:
            self._counts = counts
        shrunk = {group for group, count in counts.items() if count < self._counts.get(group, 0)}
        if not shrunk:
            return instances
        return [
            msgspec.structs.replace(each, key=(*each.key, COUNTED_ANEW, *gone))
            if (gone := [counts[group] for group, _ in _groups(each.key) if group in shrunk])
            else each
            for each in instances
        ]

    def _lay_out(self, instances: list[Instance], made_of: list[tuple]) -> _Followed:
        followed = [self._follow(each) for each in instances]
        starts = np.cumsum([0, *(len(each.rest) for each in followed)]).tolist()
        shown = [_shown(each) for each in instances]
        turned = [each.triangles[:, ::-1] if one.mirrored else each.triangles for one, each in zip(instances, followed)]
        layout = Layout(
            [Part(each.key, each.topology.number, *span) for each, span in zip(instances, zip(starts, starts[1:]))],
            triangles=_join([each[keep] + start for each, keep, start in zip(turned, shown, starts)], np.int32, 3),
            rest=_join([each.rest for each in followed], np.float32, 3),
            tracked=_join([each.tracked for each in followed], bool),
            objects=_join([np.full(len(rest.rest), self._number(each), np.uint16) for each, rest in zip(instances, followed)], np.uint16),
            culled=_join([_with_look(each, "culled")[keep] for each, keep in zip(instances, shown)], bool),
        )
        return _Followed(made_of, layout, [each.extra for each in followed])

    def _follow(self, instance: Instance) -> Followed:
        """Where an instance's vertices were in the first frame, and whether that is known and shown."""
        first, triangles, count = self._first.get(instance.key), instance.topology.triangles, len(instance.positions)
        if first is not None and first.topology is instance.topology:
            return Followed(first.positions, np.full(count, not instance.holdout), triangles, NO_EXTRA)
        surface, reason = self._surface(instance, first)
        if surface is None:
            if not instance.holdout:
                self.untracked[Untracked(instance.name, reason)] = None
            return Followed(instance.positions, np.zeros(count, bool), triangles, NO_EXTRA)
        followed = surface.follow(instance.topology.identity, triangles)
        if not (followed.tracked.all() or instance.holdout):
            self.untracked[Untracked(instance.name, "some of its surface is not there in the first frame; black")] = None
        return msgspec.structs.replace(followed, tracked=followed.tracked & (not instance.holdout))

    def _surface(self, instance: Instance, first: Instance | None) -> tuple[FirstSurface | None, str]:
        """The first frame's surface of an instance whose topology has changed, or why there is none to follow."""
        if first is None and COUNTED_ANEW in instance.key[2:]:
            return None, "its instances are counted anew as they become fewer and their points have no id; black"
        if first is None:
            return None, "it is not there in the first frame; black"
        own, identity = first.topology.identity, instance.topology.identity
        if own is None or identity is None or own.kind != identity.kind:
            return None, "its topology changes and no attribute says which vertex is which; black"
        if instance.key not in self._surfaces:
            self._surfaces[instance.key] = FirstSurface(own, first.positions, first.topology.triangles)
        surface = self._surfaces[instance.key]
        if surface.ambiguous:
            return None, "its topology changes and several parts share their rest positions; black"
        return surface, ""

    def _number(self, instance: Instance) -> int:
        if instance.key not in self._numbers:
            self.object_names.append(instance.name)
            self._numbers[instance.key] = len(self.object_names)
        return min(self._numbers[instance.key], MAX_OBJECTS)


def _plain_counts(instances: list[Instance]) -> dict[tuple, int]:
    """The sizes of the groups of instances that are counted 0, 1, 2 ... without a gap."""
    numbers: dict[tuple, set[int]] = {}
    for each in instances:
        for group, number in _groups(each.key):
            numbers.setdefault(group, set()).add(number)
    return {group: len(found) for group, found in numbers.items() if max(found) == len(found) - 1}


def _groups(key: Key) -> Iterator[tuple[tuple, int]]:
    """For each number in an instance's key: who shares all the rest of the key, and the number."""
    for place in range(2, len(key)):
        if key[place] != NO_NUMBER:
            yield (place, *key[:place], *key[place + 1 :]), key[place]


def _shown(instance: Instance) -> np.ndarray | slice:
    """The triangles that are drawn: those whose material is not invisible."""
    return ~_with_look(instance, "invisible") if "invisible" in instance.looks else slice(None)


def _with_look(instance: Instance, look: str) -> np.ndarray:
    """bool [M]: the triangles whose material has this look. Numbers beyond the last material mean the last."""
    matching = np.array([each == look for each in instance.looks])
    return matching[np.clip(instance.topology.materials, 0, len(matching) - 1)]


def _join(arrays: list[np.ndarray], kind: type, columns: int = 0) -> np.ndarray:
    return np.concatenate(arrays, dtype=kind) if arrays else np.zeros((0, columns) if columns else 0, kind)
