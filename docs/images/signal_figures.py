"""The picture of docs/signals.md: python docs/images/signal_figures.py TAKE, in the backend's environment.

TAKE is a folder of das track --write coordinates,depth,mattes,flow,tracks --points 40x26.
"""

from __future__ import annotations

import colorsys
import sys
from pathlib import Path

import cv2
import imageio.v3 as imageio
import numpy as np

INDEX = 24
SIZE = (480, 320)
COLOURS = (np.array([colorsys.hsv_to_rgb((0.618 * number) % 1, 0.6, 0.95) for number in range(512)]) * 255).astype(np.uint8)
COLOURS[0] = 0


def read_exr(file: Path) -> np.ndarray:
    import OpenEXR

    with OpenEXR.File(str(file)) as opened:
        return next(iter(opened.channels().values())).pixels.copy()


def read_flo(file: Path) -> np.ndarray:
    width, height = np.fromfile(file, "<i4", 2, offset=4)
    flow = np.fromfile(file, "<f4", offset=12).reshape(height, width, 2)
    return np.where(np.abs(flow) > 1e9, np.nan, flow)


def depth_picture(depth: np.ndarray) -> np.ndarray:
    near = 1 / depth
    grey = np.clip(near / np.percentile(near[near > 0], 99), 0, 1) * 255
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)


def flow_picture(flow: np.ndarray) -> np.ndarray:
    """The colour wheel: hue is the direction, saturation the length; black is unknown."""
    length = np.linalg.norm(flow, axis=-1)
    known = np.isfinite(length)
    hue = (np.degrees(np.arctan2(-flow[..., 1], flow[..., 0])) % 360) / 2
    full = np.clip(length / np.percentile(length[known], 99), 0, 1)
    picture = np.zeros((*length.shape, 3), np.uint8)
    picture[known] = np.stack([hue, 255 * full, np.full_like(hue, 255)], axis=-1)[known].astype(np.uint8)
    return cv2.cvtColor(picture, cv2.COLOR_HSV2RGB)


def coordinates_picture(rest: np.ndarray) -> np.ndarray:
    """Each axis from its lowest to its highest seen position, so that a checker shows where surface has stayed."""
    low, high = np.nanpercentile(rest, (2, 98), axis=(0, 1))
    return (np.nan_to_num(np.clip((rest - low) / (high - low), 0, 1)) * 255).astype(np.uint8)


def tracks_picture(first_frame: np.ndarray, tracks: np.ndarray, visibility: np.ndarray) -> np.ndarray:
    """Where the points have come from until INDEX: lines where they were seen, a dot where they are seen now."""
    picture = (first_frame * 0.55).astype(np.uint8)
    for number in range(tracks.shape[1]):
        colour = COLOURS[1 + number % 500].tolist()
        for before in range(INDEX):
            if visibility[before, number] and visibility[before + 1, number]:
                ends = [tuple(int(16 * v) for v in tracks[time, number] - 0.5) for time in (before, before + 1)]
                cv2.line(picture, *ends, colour, 1, cv2.LINE_AA, 4)
        if visibility[INDEX, number]:
            cv2.circle(picture, tuple(int(16 * v) for v in tracks[INDEX, number] - 0.5), 32, colour, -1, cv2.LINE_AA, 4)
    return picture


def main(take: Path) -> None:
    name = f"{INDEX + 1:04d}"
    tracks = np.load(take / "tracks.npz")
    tiles = {
        "tracking": imageio.imread(take / "tracking" / f"{name}.png"),
        "coordinates": coordinates_picture(read_exr(take / "coordinates" / f"{name}.exr")),
        "depth (1/z)": depth_picture(read_exr(take / "depth" / f"{name}.exr")),
        "mattes": COLOURS[imageio.imread(take / "mattes" / f"{name}.png").astype(int)],
        "flow": flow_picture(read_flo(take / "flow" / f"{name}.flo")),
        "tracks, over the first frame": tracks_picture(imageio.imread(take / "first_frame.png"), tracks["tracks"], tracks["visibility"]),
    }
    pictures = []
    for label, picture in tiles.items():
        small = cv2.resize(picture[..., :3], SIZE, interpolation=cv2.INTER_AREA)
        small[:32] = small[:32] // 3
        cv2.putText(small, label, (10, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
        pictures.append(np.pad(small, ((3, 3), (3, 3), (0, 0))))
    rows = [np.concatenate(pictures[start : start + 3], axis=1) for start in (0, 3)]
    imageio.imwrite(Path(__file__).with_name("signals.jpg"), np.concatenate(rows), quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
