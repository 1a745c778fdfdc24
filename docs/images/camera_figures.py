"""Draw the pictures of docs/camera.md: python docs/images/camera_figures.py, in the backend's environment.

The moves are drawn by the motion grammar itself, so that the pictures cannot say other than the program.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffusion_as_shader.shared.camera_motion import motion

HERE = Path(__file__).parent
YAW, PITCH = np.radians((48, 24))
SMOOTH = 3  # drawn so many times larger, then reduced
PAPER, INK, FAINT, CONTENT = (255, 255, 255), (40, 44, 52), (190, 195, 203), (236, 240, 245)
RED, GREEN, BLUE, ORANGE = (214, 60, 60), (60, 150, 70), (50, 100, 210), (230, 140, 30)
CORNERS = np.array([(-0.45, -0.3, 0.8), (0.45, -0.3, 0.8), (0.45, 0.3, 0.8), (-0.45, 0.3, 0.8)])  # of a camera's picture
BOX = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
MOVES = [
    ("trans 1 0 0", "content right, camera left"),
    ("trans 0 1 0", "content down, camera up"),
    ("trans 0 0 1", "content farther, camera back"),
    ("rot x 30", "content up, camera tilts down"),
    ("rot y 30", "content right, camera pans left"),
    ("rot z 30", "content clockwise"),
    ("spiral 12", "round and back, eyes on one point"),
    ("trans 0 0 -3 0 0; rot y 40; trans 0 0 3 0 0", "a chain: an orbit"),
]


class Panel:
    """A picture of so many pixels, whose 3D points (x right, y down, z forward) are seen from above on the left."""

    def __init__(self, width: int, height: int, origin: tuple[float, float] = (0, 0), unit: float = 60):
        self.image = Image.new("RGB", (width * SMOOTH, height * SMOOTH), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.origin, self.unit = np.array(origin), unit

    def place(self, point) -> tuple[float, float]:
        x, y, z = point
        across, away = x * np.cos(YAW) + z * np.sin(YAW), z * np.cos(YAW) - x * np.sin(YAW)
        return tuple((self.origin + self.unit * np.array([across, y * np.cos(PITCH) - away * np.sin(PITCH)])) * SMOOTH)

    def line(self, points, colour, width: float = 2) -> None:
        self.draw.line([self.place(point) for point in points], fill=colour, width=round(width * SMOOTH), joint="curve")

    def arrow(self, start, end, colour, label: str = "") -> None:
        self.line([start, end], colour, 3)
        tip, back = np.array(self.place(end)), np.array(self.place(start))
        along = (tip - back) / np.linalg.norm(tip - back)
        across, size = np.array([-along[1], along[0]]), 9 * SMOOTH
        self.draw.polygon([tuple(tip + along * size), tuple(tip + across * size * 0.55), tuple(tip - across * size * 0.55)], fill=colour)
        self.text((tip + along * 2.3 * size) / SMOOTH, label, colour, 17, "mm")

    def text(self, place, words: str, colour=INK, size: int = 15, anchor: str = "lm") -> None:
        self.draw.text(tuple(np.array(place) * SMOOTH), words, fill=colour, font=ImageFont.load_default(size * SMOOTH), anchor=anchor)

    def frustum(self, camera_to_world: np.ndarray, colour, width: float = 2) -> None:
        """A camera: its centre, its picture, and a tick on the picture's upper side."""
        def world(points):
            return np.asarray(points) @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]

        corners, centre = world(CORNERS), world([(0, 0, 0)])[0]
        self.line([*corners, corners[0]], colour, width)
        for corner in corners:
            self.line([centre, corner], colour, width)
        self.line(world([(-0.15, -0.34, 0.8), (0, -0.48, 0.8), (0.15, -0.34, 0.8)]), colour, width)

    def finished(self) -> Image.Image:
        return self.image.resize((self.image.width // SMOOTH, self.image.height // SMOOTH), Image.LANCZOS)


def axes() -> Image.Image:
    """One camera that looks away from us, in the axes of each convention; and the world's own."""
    kinds = [
        ("OpenCV camera", "json, re10k, colmap, npz", (1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ("OpenGL and Blender camera", "nerfstudio, Blender's objects", (1, 0, 0), (0, -1, 0), (0, 0, -1)),
        ("world", "Blender's, in every format", (1, 0, 0), (0, 0, 1), (0, -1, 0)),
    ]
    panels = []
    for index, (title, where, *directions) in enumerate(kinds):
        panel = Panel(280, 250, (110, 150), 90)
        if index < 2:
            panel.frustum(np.eye(4), FAINT)
        for direction, colour, name in zip(directions, (RED, GREEN, BLUE), "xyz"):
            panel.arrow((0, 0, 0), np.array(direction) * 0.8, colour, name)
        panel.text((140, 18), title, size=17, anchor="mm")
        panel.text((140, 40), where, (120, 125, 133), 13, "mm")
        panels.append(panel.finished())
    return beside(panels, 3)


def pixels() -> Image.Image:
    """A picture of 6 by 4 pixels: whole numbers are edges, halves are centres."""
    panel, side, corner = Panel(560, 330), 60, np.array([70, 50])
    for column in range(6):
        for row in range(4):
            place = (corner + np.array([column, row]) * side) * SMOOTH
            panel.draw.rectangle([*place, *(place + side * SMOOTH)], fill=CONTENT, outline=FAINT, width=SMOOTH)
            dot(panel, corner + np.array([column + 0.5, row + 0.5]) * side, 3, FAINT)
    for column in range(7):
        panel.text(corner + np.array([column * side, -14]), str(column), anchor="mm")
    for row in range(5):
        panel.text(corner + np.array([-16, row * side]), str(row), anchor="mm")
    panel.text((30, 20), "v", GREEN, 17, "mm")
    panel.text((corner[0] + 6 * side + 28, 36), "u", RED, 17, "mm")
    dot(panel, corner + np.array([0.5, 0.5]) * side, 6, BLUE)
    panel.text(corner + np.array([0.5, 0.5]) * side + (0, 16), "(0.5, 0.5)", BLUE, 11, "mm")
    dot(panel, corner + np.array([3, 2]) * side, 6, ORANGE)
    panel.text(corner + np.array([3, 2]) * side + (0, 17), "cx 3, cy 2", ORANGE, 13, "mm")
    panel.text((corner[0], 312), "6 x 4 pixels: pixel i covers [i, i + 1), its centre is i + 0.5", INK, 13)
    return panel.finished()


def dot(panel: Panel, place: np.ndarray, radius: float, colour) -> None:
    panel.draw.ellipse([*((place - radius) * SMOOTH), *((place + radius) * SMOOTH)], fill=colour)


def moves() -> Image.Image:
    """Where the camera goes: grey before, faint on the way, orange after."""
    panels = []
    for text, meaning in MOVES:
        panel = Panel(300, 260, (85, 185), 52)
        for start, end in ((a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1):
            panel.line([BOX[start] + (0, 0, 3), BOX[end] + (0, 0, 3)], FAINT, 1.5)
        poses = np.linalg.inv(motion(text, 25))
        panel.line(poses[:, :3, 3], BLUE, 2)
        for index, colour in ((0, INK), (6 if "spiral" in text else 12, FAINT), (18 if "spiral" in text else 24, ORANGE)):
            panel.frustum(poses[index], colour)
        panel.text((150, 18), text, size=13 if len(text) > 20 else 16, anchor="mm")
        panel.text((150, 40), meaning, (120, 125, 133), 13, "mm")
        panels.append(panel.finished())
    return beside(panels, 4)


def beside(panels: list[Image.Image], columns: int) -> Image.Image:
    width, height = panels[0].size
    whole = Image.new("RGB", (width * columns, height * -(-len(panels) // columns)), PAPER)
    for index, panel in enumerate(panels):
        whole.paste(panel, (index % columns * width, index // columns * height))
    return whole


if __name__ == "__main__":
    for name, picture in (("axes", axes()), ("pixels", pixels()), ("moves", moves())):
        picture.save(HERE / f"camera_{name}.png", optimize=True)
