"""Where the surface of one captured frame is in another."""

from __future__ import annotations

import numpy as np

from .frames import GeometryFrame


def following_positions(frame: GeometryFrame, other: GeometryFrame) -> tuple[np.ndarray, np.ndarray]:
    """World positions f32 [V,3] in ``other`` of the vertices of ``frame``, and where they are known, bool [V].

    Unknown where an instance is gone or has another topology; its vertices keep their own positions.
    """
    positions, known = frame.positions.copy(), np.zeros(len(frame.positions), bool)
    there = {(part.key, part.topology): part for part in other.parts}
    for part in frame.parts:
        same = there.get((part.key, part.topology))
        if same and same.stop - same.start == part.stop - part.start:
            positions[part.start : part.stop] = other.positions[same.start : same.stop]
            known[part.start : part.stop] = True
    return positions, known
