"""The projection engine: every result pixel shows what the first frame shows of the same surface point.

out(t, p) = first_frame[where p was in the first frame]; what the first frame does not show is filled. It needs
no weights and no GPU: the instant preview, the default, and the test of the whole path. docs/projection.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...shared.errors import Cancelled
from ...shared.messages import EngineInfo
from ...shared.request import GenerationRequest
from . import Event, Frame, Progress, Report
from .projection_background import Background, black_margin
from .projection_fill import NearestSurface, fill_by_object
from .projection_view import GEOMETRY, ColourViews, GeometryViews, View
from .projection_warp import FirstFrame, unchanged_edges


class ProjectionEngine:
    """engines.Engine without a model."""

    name = "projection"

    def capabilities(self) -> EngineInfo:
        return EngineInfo(name=self.name, title="Projection", uses=[*GEOMETRY, "object", "depth"], resumes=True)

    def load(self, request: GenerationRequest) -> None:
        """Nothing to load."""

    def release(self) -> None:
        """Nothing is held."""

    def generate(
        self,
        request: GenerationRequest,
        signals: dict[str, np.ndarray],
        *,
        cancelled: Callable[[], bool],
        have: frozenset[int] = frozenset(),
    ) -> Iterator[Event]:
        """Frames in order but those in ``have``, then the Report. Raises Cancelled between frames."""
        projection = Projection(signals, padded=request.fit == "pad")
        count = len(signals["tracking"])
        for index in range(count):
            if cancelled():
                raise Cancelled("The generation was cancelled.")
            if index not in have:
                yield Frame(index, projection.frame(index))
            yield Progress("project", index + 1, count)
        yield Report(["tracking", "first_frame", *projection.used], projection.notes)


class Projection:
    """One first frame projected through one tracking video. ``used``: the signals beside tracking and first_frame.

    ``padded``: black rows and columns along the borders are no picture and stay black.
    """

    def __init__(self, signals: dict[str, np.ndarray], padded: bool = False):
        self.notes = []
        self.views = self._choose(signals)
        self.used = self.views.used
        self.first = FirstFrame(signals["first_frame"], self.views.view(0))
        margin = black_margin(signals["first_frame"], signals["tracking"])
        self.margin = margin if padded else np.zeros_like(margin)
        self.background = Background(self.first, self.margin)
        self.nearest = NearestSurface(self.first)

    def _choose(self, signals: dict[str, np.ndarray]) -> GeometryViews | ColourViews:
        if all(name in signals for name in GEOMETRY):
            return GeometryViews(signals)
        self.notes.append(
            "The tracking video came without first-frame positions or cameras: places are read from its 8-bit "
            "colours, and the background stays where it was."
        )
        return ColourViews(signals)

    def frame(self, index: int) -> np.ndarray:
        """Result ``index``, u8 [H,W,3]."""
        view = self.views.view(index)
        motion = np.where(view.background[..., None], self.views.directions(index), view.pixels)
        unchanged = unchanged_edges(view, motion)
        result, fetched = self.first.fetch(view, unchanged)
        self._fill_surface(result, view, fetched)
        self.background.draw(result, view, motion, unchanged)
        result[self.margin] = 0
        return np.rint(np.clip(result, 0, 255)).astype(np.uint8)

    def _fill_surface(self, result: np.ndarray, view: View, fetched: np.ndarray) -> None:
        """Half from the same object around it in the picture, half from the nearest surface in space."""
        holes = ~view.background & ~fetched
        if not holes.any():
            return
        if self.nearest.empty:  # the first frame shows no surface at all
            result[holes] = self.first.image.mean(axis=(0, 1))
            return
        near = self.nearest.colours(_finite(view.positions[holes]), view.label[holes])
        around = fill_by_object(result, fetched, view.label, holes)
        result[holes] = (near + np.where(np.isnan(around), near, around)) / 2


def _finite(positions: np.ndarray) -> np.ndarray:
    return np.nan_to_num(positions, nan=0.0, posinf=0.0, neginf=0.0)
