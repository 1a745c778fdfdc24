"""The warp: colours fetched from the first frame, only from pixels that show the same surface."""

from __future__ import annotations

import cv2
import numpy as np

from .projection_view import View

LEAST_WEIGHT = 0.05  # of a bilinear fetch that must come from the same surface
UNKNOWN = 1e6
SAME_MOTION = 0.5  # pixels by which the motion of neighbours may differ where an edge moves as a whole


class FirstFrame:
    """The first frame's pixels, which surface each shows, and which of them are mixtures.

    image  f32 [H,W,3], as given
    clean  f32 [H,W,3], pixels at depth edges replaced by their own surface's inner neighbours, where it has any
    edge   bool [H,W], at a depth edge: an anti-aliased mixture of two surfaces
    """

    def __init__(self, image: np.ndarray, view: View):
        self.image = image.astype(np.float32)
        self.view = view
        across, down = _slopes(view.nearness)
        self.edge = depth_edges(view)
        self.clean = _clean(self.image, view, self.edge)
        self._tests = np.stack([view.nearness, across, down, view.grain], axis=-1).reshape(-1, 4)

    def fetch(self, view: View, unchanged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colours f32 [H,W,3] of a frame's surface and where they hold, bool [H,W]; ``unchanged`` edges as they were."""
        colours = np.zeros_like(self.image)
        fetched = np.zeros(view.located.shape, bool)
        rows, columns = np.nonzero(view.located & on_screen(view.pixels))
        found, weight = self._fetch_points(view, rows, columns)
        whole = unchanged[rows, columns]
        found[whole] = bilinear(self.image, view.pixels[rows[whole], columns[whole]])
        kept = weight > LEAST_WEIGHT
        colours[rows[kept], columns[kept]] = found[kept]
        fetched[rows[kept], columns[kept]] = True
        return colours, fetched

    def _fetch_points(self, view: View, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bilinear over those of the four pixels that pass the test: colours [N,3], weight [N]."""
        height, width = self.edge.shape
        corner = view.pixels[rows, columns] - np.float32(0.5)
        first = np.floor(corner)
        share = corner - first
        left, top = first.astype(np.int32).T
        label, nearness = view.label[rows, columns], view.nearness[rows, columns]
        colours, weights = np.zeros((len(rows), 3), np.float32), np.zeros(len(rows), np.float32)
        labels, clean = self.view.label.reshape(-1), self.clean.reshape(-1, 3)
        for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
            x, y = left + right, top + below
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            index = np.where(inside, y * width + x, 0)
            away = np.abs(share - np.float32([right, below]))
            weight = (1 - away).prod(axis=-1)
            weight[~(inside & (labels[index] == label) & self._same_depth(index, nearness, away))] = 0
            colours += clean[index] * weight[:, None]
            weights += weight
        return colours / np.maximum(weights, 1e-9)[:, None], weights

    def _same_depth(self, index: np.ndarray, nearness: np.ndarray, away: np.ndarray) -> np.ndarray:
        """The point lies on the surface seen in a first-frame pixel, ``away`` pixels from its centre.

        Inverse depth is linear in the image over a plane, however grazing.
        """
        there, across, down, grain = self._tests[index].T
        return np.abs(nearness - there) <= 2 * (across * away[:, 0] + down * away[:, 1]) + grain


def unchanged_edges(view: View, motion: np.ndarray) -> np.ndarray:
    """bool [H,W]: depth edges of a frame where all around came from the first frame by one motion.

    ``motion`` f32 [H,W,2] is where each pixel came from, background included (nan: unknown). Such an edge
    moves as a whole, so that the first frame's mixture is still right.
    """
    height, width = motion.shape[:2]
    rows, columns = np.indices((height, width), dtype=np.float32)
    moved = motion - np.stack([columns, rows], axis=-1)
    moved = np.where(np.isfinite(moved), moved, UNKNOWN).astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    alike = ((cv2.dilate(moved, kernel) - cv2.erode(moved, kernel)) < SAME_MOTION).all(axis=-1)
    return depth_edges(view) & alike & (moved[..., 0] < UNKNOWN)


def on_screen(pixels: np.ndarray) -> np.ndarray:
    """bool [H,W] of places [H,W,2] in a picture of the same size; False where nan."""
    height, width = pixels.shape[:2]
    return ((pixels >= 0) & (pixels < np.float32([width, height]))).all(axis=-1)


def bilinear(picture: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """A picture f32 [H,W,C] at pixels f32 [N,2] (centres at i + 0.5), its border repeated: f32 [N,C].

    Not cv2.remap, whose fixed point keeps five bits of the fraction.
    """
    height, width = picture.shape[:2]
    places = np.clip(pixels - np.float32(0.5), 0, np.float32([width - 1, height - 1]))
    first = places.astype(np.int32)
    right, down = (places - first).T[:, :, None]
    left, top = first.T
    beside, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    upper = picture[top, left] * (1 - right) + picture[top, beside] * right
    lower = picture[below, left] * (1 - right) + picture[below, beside] * right
    return upper * (1 - down) + lower * down


def _slopes(nearness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Change of nearness over one pixel, across and down; at an edge that of the smoother side."""
    slopes = []
    for axis in (1, 0):
        step = np.abs(np.diff(nearness, axis=axis))
        before = np.concatenate([np.take(step, [0], axis), step], axis)
        after = np.concatenate([step, np.take(step, [-1], axis)], axis)
        slopes.append(np.minimum(before, after))
    return slopes[0], slopes[1]


def depth_edges(view: View) -> np.ndarray:
    """bool [H,W]: another surface within a pixel: another object, or a bend of inverse depth beyond the grain."""
    kernel = np.ones((3, 3), np.uint8)
    label = view.label.astype(np.float32)
    edge = cv2.dilate(label, kernel) != cv2.erode(label, kernel)
    padded = np.pad(view.nearness, 1, mode="reflect", reflect_type="odd")
    centre = padded[1:-1, 1:-1]
    bend = np.maximum(
        np.abs(padded[1:-1, :-2] + padded[1:-1, 2:] - 2 * centre), np.abs(padded[:-2, 1:-1] + padded[2:, 1:-1] - 2 * centre)
    )
    return edge | (bend > 2 * view.grain)


def _clean(image: np.ndarray, view: View, edge: np.ndarray) -> np.ndarray:
    """The image with mixtures replaced by the mean of inner pixels of the same surface up to two pixels away."""
    height, width = edge.shape
    rows, columns = np.nonzero(edge & view.located)
    total, weights = np.zeros((len(rows), 3), np.float32), np.zeros(len(rows), np.float32)
    for down in range(-2, 3):
        for right in range(-2, 3):
            y, x = rows + down, columns + right
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            y, x = y.clip(0, height - 1), x.clip(0, width - 1)
            apart = np.abs(view.nearness[y, x] - view.nearness[rows, columns])
            same = (view.label[y, x] == view.label[rows, columns]) & (apart <= 8 * view.grain[rows, columns])
            weight = (inside & same & ~edge[y, x]) / np.float32(1 + (down * down + right * right) ** 2)
            total += image[y, x] * weight[:, None]
            weights += weight
    clean = image.copy()
    found = weights > 0
    clean[rows[found], columns[found]] = total[found] / weights[found, None]
    return clean
