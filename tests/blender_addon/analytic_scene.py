"""A scene of flat boards, some of which move and turn, under a camera that moves and turns: built in Blender, and
traced here by rays without it. What a signal should be is known everywhere, to rounding."""

import bpy
import msgspec
import numpy as np

from diffusion_as_shader.shared.request import FirstFrame, GenerationRequest

WIDTH, HEIGHT = 192, 128
REQUEST = GenerationRequest(
    width=WIDTH, height=HEIGHT, frames=9, start=1, end=13, first_frame=FirstFrame(source="workbench")
)
TIMES = np.linspace(1, 13, 9)
LENS, SENSOR = 35.0, 36.0
FOCAL = LENS / SENSOR * WIDTH
END = 13


class Motion(msgspec.Struct):
    """Straight from one place to another and evenly from one turn (Euler angles in radians) to another."""

    place: tuple
    turn: tuple
    moved: tuple = (0.0, 0.0, 0.0)
    turned: tuple = (0.0, 0.0, 0.0)

    def pose(self, time: float) -> np.ndarray:
        """To world, f64 [4,4]."""
        share = (time - 1) / (END - 1)
        pose = np.eye(4)
        x, y, z = np.array(self.turn) + share * np.array(self.turned)
        pose[:3, :3] = about(2, z) @ about(1, y) @ about(0, x)
        pose[:3, 3] = np.array(self.place) + share * np.array(self.moved)
        return pose


class Board(msgspec.Struct):
    """A rectangle of these half sizes in its own x and y."""

    name: str
    size: tuple
    motion: Motion


UPRIGHT = np.pi / 2
BOARDS = [
    Board("wall", (9, 6), Motion((0, 5, 0), (UPRIGHT, 0, 0))),
    Board("slider", (1.2, 0.9), Motion((-1.1, 0, -0.2), (UPRIGHT, 0.1, -0.5), (2.0, -0.7, 0.4), (0.1, 0.6, 0.9))),
    Board("screen", (0.4, 1.6), Motion((0.9, -2, 0), (UPRIGHT, 0, 0.2))),
]
CAMERA = Motion((0.1, -6, 0.2), (UPRIGHT, 0, -0.05), (0.5, 0.3, -0.2), (0.04, 0, 0.12))


def about(axis: int, angle: float) -> np.ndarray:
    """A rotation about an axis, f64 [3,3]."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[first, first] = rotation[second, second] = np.cos(angle)
    rotation[second, first], rotation[first, second] = np.sin(angle), -np.sin(angle)
    return rotation


# ---- in Blender


def build() -> bpy.types.Scene:
    """A new file with the scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.frame_end = END
    for board in BOARDS:
        x, y = board.size
        mesh = bpy.data.meshes.new(board.name)
        mesh.from_pydata([(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)], [], [(0, 1, 2, 3)])
        animate(bpy.data.objects.new(board.name, mesh), board.motion)
    camera = bpy.data.cameras.new("camera")
    camera.lens, camera.sensor_width, camera.sensor_fit = LENS, SENSOR, "HORIZONTAL"
    scene.camera = animate(bpy.data.objects.new("camera", camera), CAMERA)
    return scene


def animate(thing: bpy.types.Object, motion: Motion) -> bpy.types.Object:
    bpy.context.scene.collection.objects.link(thing)
    for frame, share in ((1, 0), (END, 1)):
        thing.location = np.array(motion.place) + share * np.array(motion.moved)
        thing.rotation_euler = np.array(motion.turn) + share * np.array(motion.turned)
        thing.keyframe_insert("location", frame=frame)
        thing.keyframe_insert("rotation_euler", frame=frame)
    straighten(thing)
    return thing


def straighten(thing: bpy.types.Object) -> None:
    """Even motion from key to key."""
    animation = thing.animation_data
    for layer in animation.action.layers:
        for strip in layer.strips:
            for curve in strip.channelbag(animation.action_slot).fcurves:
                for point in curve.keyframe_points:
                    point.interpolation = "LINEAR"


# ---- without it


class Seen(msgspec.Struct):
    """What rays through pixels [N,2] meet: the board (-1: nothing), where on it [N,4], its camera z (inf: nothing)."""

    board: np.ndarray
    local: np.ndarray
    depth: np.ndarray


def camera_pose(time: float) -> np.ndarray:
    """To world, f64 [4,4], x right, y down, z forward."""
    return CAMERA.pose(time) @ np.diag([1.0, -1, -1, 1])


def trace(pixels: np.ndarray, time: float) -> Seen:
    """By rays from the camera to each board in turn."""
    seen = Seen(np.full(len(pixels), -1), np.zeros((len(pixels), 4)), np.full(len(pixels), np.inf))
    rays = np.column_stack([(pixels - (WIDTH / 2, HEIGHT / 2)) / FOCAL, np.ones(len(pixels)), np.zeros(len(pixels))])
    for number, board in enumerate(BOARDS):
        to_board = np.linalg.inv(board.motion.pose(time)) @ camera_pose(time)
        start, directions = to_board[:, 3], rays @ to_board.T
        depth = -start[2] / directions[:, 2]
        local = start + depth[:, None] * directions
        hit = (depth > 0) & (depth < seen.depth) & (np.abs(local[:, :2]) <= board.size).all(axis=1)
        seen.board[hit], seen.local[hit], seen.depth[hit] = number, local[hit], depth[hit]
    return seen


def world_at(seen: Seen, time: float) -> np.ndarray:
    """Where what was seen is at another time, f64 [N,3]; NaN where nothing was seen."""
    world = np.full((len(seen.board), 3), np.nan)
    for number, board in enumerate(BOARDS):
        chosen = seen.board == number
        world[chosen] = (seen.local[chosen] @ board.motion.pose(time).T)[:, :3]
    return world


def on_screen(world: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [N,2] and camera z [N] of world points."""
    x, y, z, _ = (np.column_stack([world, np.ones(len(world))]) @ np.linalg.inv(camera_pose(time)).T).T
    return np.column_stack([FOCAL * x / z + WIDTH / 2, FOCAL * y / z + HEIGHT / 2]), z


def pixel_centres() -> np.ndarray:
    """f64 [H*W,2] (x, y), row by row."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    return np.column_stack([x.ravel(), y.ravel()])


def near_borders(pixels: np.ndarray, time: float, reach: float = 1.0) -> np.ndarray:
    """bool [N]: within ``reach`` pixels another board is seen."""
    board = trace(pixels, time).board
    steps = [(x, y) for x in (-reach, 0, reach) for y in (-reach, 0, reach)]
    return np.any([trace(pixels + step, time).board != board for step in steps], axis=0)
