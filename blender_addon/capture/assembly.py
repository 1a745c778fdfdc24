"""Instances of a frame joined into single arrays, with each vertex's place in the first frame."""

from __future__ import annotations

import msgspec
import numpy as np

from .instances import Instance, Key, Topology

MAX_OBJECTS = np.iinfo(np.uint16).max


class Layout(msgspec.Struct):
    """What stays while the same instances have the same topologies."""

    parts: list[tuple[Key, Topology, bool]]
    triangles: np.ndarray  # i32 [M,3]
    rest: np.ndarray  # f32 [V,3]
    tracked: np.ndarray  # bool [V]
    objects: np.ndarray  # u16 [V]


class Assembly:
    """Joins frame after frame; the first one added gives the rest positions."""

    def __init__(self):
        self.object_names: list[str] = []
        self._numbers: dict[Key, int] = {}
        self._first: dict[Key, Instance] | None = None
        self._layout: Layout | None = None
        self._untracked: set[str] = set()

    def add(self, instances: list[Instance]) -> tuple[np.ndarray, Layout]:
        """World positions f32 [V,3] and the layout, which is the previous frame's object where nothing changed."""
        if self._first is None:
            self._first = {each.key: each for each in instances}
        parts = [(each.key, each.topology, each.holdout) for each in instances]
        if self._layout is None or not _same(self._layout.parts, parts):
            self._layout = self._lay_out(instances, parts)
        return _join([each.positions for each in instances], np.float32), self._layout

    def notes(self) -> list[str]:
        notes = []
        if self._untracked:
            names = ", ".join(sorted(self._untracked))
            notes.append(f"Black, because their vertices cannot be followed from the first frame: {names}.")
        if len(self.object_names) > MAX_OBJECTS:
            notes.append(f"More than {MAX_OBJECTS} instances: the last ones share one object number.")
        return notes

    def _lay_out(self, instances: list[Instance], parts: list) -> Layout:
        starts = np.cumsum([0] + [len(each.positions) for each in instances])
        followed = [self._follow(each) for each in instances]
        return Layout(
            parts,
            triangles=_join([each.topology.triangles + start for each, start in zip(instances, starts)], np.int32),
            rest=_join([rest for rest, _ in followed], np.float32),
            tracked=np.concatenate([np.full(len(rest), tracked) for rest, tracked in followed] or [np.zeros(0, bool)]),
            objects=np.concatenate(
                [np.full(len(each.positions), self._number(each), np.uint16) for each in instances] or [np.zeros(0, np.uint16)]
            ),
        )

    def _follow(self, instance: Instance) -> tuple[np.ndarray, bool]:
        """Where an instance's vertices were in the first frame, and whether that is known and shown."""
        first = self._first.get(instance.key)
        if first is None or first.topology is not instance.topology:
            self._untracked.add(instance.name)
            return instance.positions, False
        return first.positions, not instance.holdout

    def _number(self, instance: Instance) -> int:
        if instance.key not in self._numbers:
            self.object_names.append(instance.name)
            self._numbers[instance.key] = len(self.object_names)
        return min(self._numbers[instance.key], MAX_OBJECTS)


def _same(parts: list, others: list) -> bool:
    return len(parts) == len(others) and all(
        key == other_key and topology is other_topology and holdout == other_holdout
        for (key, topology, holdout), (other_key, other_topology, other_holdout) in zip(parts, others)
    )


def _join(arrays: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(arrays, dtype=kind) if arrays else np.zeros((0, 3), kind)
