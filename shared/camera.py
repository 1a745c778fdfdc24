"""Cameras: intrinsics, poses, every axis conversion as a named pair, the window that an engine sees, and camera.json.

Cameras are OpenCV's: x right, y down, z forward; pixel i covers [i, i + 1), its centre is i + 0.5.
A projected point is u = fx X/Z + cx, v = fy Y/Z + cy.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from .errors import UsageError

OPENCV_FROM_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])


class Intrinsics(msgspec.Struct, frozen=True):
    """A pinhole camera's intrinsics in pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @property
    def matrix(self) -> np.ndarray:
        """K, f64 [3,3]."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])


class Camera(msgspec.Struct, frozen=True):
    """One frame's camera: intrinsics, ``world_to_camera`` f64 [4,4] and the clipping distances in scene units.

    ``visible`` is the part of the window (left, top, right, bottom in pixels) that shows anything; None is all
    of it. Only a padded window has margins.
    """

    intrinsics: Intrinsics
    world_to_camera: np.ndarray
    near: float = 1e-3
    far: float = np.inf
    visible: tuple[float, float, float, float] | None = None

    @property
    def centre(self) -> np.ndarray:
        """The camera's position in the world, f64 [3]."""
        rotation, translation = self.world_to_camera[:3, :3], self.world_to_camera[:3, 3]
        return -rotation.T @ translation


class PathFrame(msgspec.Struct, kw_only=True):
    """One entry of camera.json. ``relative`` is P_t = E_t E_0^-1."""

    frame: float
    world_to_camera: list[list[float]]
    relative: list[list[float]]
    fx: float
    fy: float
    cx: float
    cy: float


class CameraPath(msgspec.Struct, kw_only=True):
    """camera.json: one camera a result. ``fps`` is the rate of video.mp4, ``frame`` the scene frame."""

    width: int
    height: int
    fps: float
    axes: str = "opencv: x right, y down, z forward; world_to_camera; pixel centres at i + 0.5"
    frames: list[PathFrame]

    def camera(self, index: int) -> Camera:
        """The camera of one result."""
        entry = self.frames[index]
        intrinsics = Intrinsics(self.width, self.height, entry.fx, entry.fy, entry.cx, entry.cy)
        return Camera(intrinsics, np.array(entry.world_to_camera))

    @property
    def K(self) -> np.ndarray:
        """f64 [T,3,3]."""
        return np.stack([self.camera(index).intrinsics.matrix for index in range(len(self.frames))])

    @property
    def world_to_camera(self) -> np.ndarray:
        """f64 [T,4,4]."""
        return np.array([entry.world_to_camera for entry in self.frames])


def camera_path(cameras: list[Camera], scene_frames: np.ndarray, fps: float) -> CameraPath:
    """The path of all sampled cameras, which share one window size."""
    first = np.linalg.inv(cameras[0].world_to_camera)
    window = cameras[0].intrinsics
    frames = [
        PathFrame(
            frame=float(frame),
            world_to_camera=camera.world_to_camera.tolist(),
            relative=(camera.world_to_camera @ first).tolist(),
            fx=float(camera.intrinsics.fx),
            fy=float(camera.intrinsics.fy),
            cx=float(camera.intrinsics.cx),
            cy=float(camera.intrinsics.cy),
        )
        for camera, frame in zip(cameras, scene_frames)
    ]
    return CameraPath(width=window.width, height=window.height, fps=fps, frames=frames)


def write_camera_path(path: CameraPath, file: Path) -> None:
    """camera.json, whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(path), indent=1))
    partial.replace(file)


def read_camera_path(file: Path) -> CameraPath:
    """camera.json read back; UsageError where it is missing or not of this form."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=CameraPath)
    except FileNotFoundError:
        raise UsageError(f"There is no camera path at {file}.", "Capture the take again with das track.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not a camera path: {error}.", "Capture the take again with das track.") from None


def blender_to_opencv(matrix_world: np.ndarray) -> np.ndarray:
    """A Blender camera's matrix_world [4,4] (y up, looks along -z, scale ignored) to world_to_camera [4,4]."""
    pose = np.array(matrix_world, dtype=np.float64)
    pose[:3, :3] /= np.linalg.norm(pose[:3, :3], axis=0)
    return OPENCV_FROM_BLENDER @ np.linalg.inv(pose)


def opencv_to_blender(world_to_camera: np.ndarray) -> np.ndarray:
    """The inverse of :func:`blender_to_opencv`."""
    return np.linalg.inv(np.asarray(world_to_camera, dtype=np.float64)) @ np.linalg.inv(OPENCV_FROM_BLENDER)


def opencv_to_opengl(world_to_camera: np.ndarray) -> np.ndarray:
    """world_to_camera [...,4,4] of OpenCV's axes to camera_to_world [...,4,4] of OpenGL's (x right, y up, looks along -z).

    The world's own axes and unit stay as they are. Blender's cameras have OpenGL's axes, as nerfstudio's have.
    """
    return np.linalg.inv(np.asarray(world_to_camera, dtype=np.float64)) @ OPENCV_FROM_BLENDER


def opengl_to_opencv(camera_to_world: np.ndarray) -> np.ndarray:
    """The inverse of :func:`opencv_to_opengl`."""
    return OPENCV_FROM_BLENDER @ np.linalg.inv(np.asarray(camera_to_world, dtype=np.float64))


def rotation_to_quaternion(rotation: np.ndarray) -> np.ndarray:
    """Rotation matrices [...,3,3] to unit quaternions (w, x, y, z) [...,4], w >= 0.

    The eigenvector of the largest eigenvalue of a symmetric 4x4 matrix: exact for every angle (Bar-Itzhack,
    New method for extracting the quaternion from a rotation matrix, 2000).
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.moveaxis(np.asarray(rotation, dtype=np.float64), (-2, -1), (0, 1))
    rows = [
        [xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, yy - xx - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, zz - xx - yy],
    ]
    symmetric = np.moveaxis(np.array(rows), (0, 1), (-2, -1))
    quaternion = np.linalg.eigh(symmetric)[1][..., -1]
    return np.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def quaternion_to_rotation(quaternion: np.ndarray) -> np.ndarray:
    """The inverse of :func:`rotation_to_quaternion`; quaternions (w, x, y, z) [...,4] need not be of unit length."""
    quaternion = np.asarray(quaternion, dtype=np.float64)
    w, x, y, z = np.moveaxis(quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def fit_window(view: Intrinsics, width: int, height: int, fit: str) -> Intrinsics:
    """The window of width x height pixels onto a camera's view, never stretched.

    ``view`` is the whole render of the scene, in its own pixels (fx != fy where pixels are not square).
    ``crop`` takes the largest centred part of the view that has the window's aspect, ``pad`` the whole view
    with a margin where the aspects differ. The window's pixels are square: fx == fy.
    """
    view_height = view.height * view.fx / view.fy  # in units of the view's pixel width
    across, down = width / view.width, height / view_height
    scale = max(across, down) if fit == "crop" else min(across, down)
    focal = view.fx * scale
    cx = width / 2 + (view.cx - view.width / 2) * scale
    cy = height / 2 + (view.cy - view.height / 2) * (view.fx / view.fy) * scale
    return Intrinsics(width, height, focal, focal, cx, cy)


def unfit_window(window: Intrinsics, width: int, height: int, pixel_ratio: float, fit: str) -> Intrinsics:
    """The inverse of :func:`fit_window`: the view of width x height pixels that has ``window`` as its window.

    ``pixel_ratio`` is the view's fx / fy; the window's pixels are square.
    """
    view_height = height * pixel_ratio
    across, down = window.width / width, window.height / view_height
    scale = max(across, down) if fit == "crop" else min(across, down)
    focal = window.fx / scale
    cx = width / 2 + (window.cx - window.width / 2) / scale
    cy = height / 2 + (window.cy - window.height / 2) / scale / pixel_ratio
    return Intrinsics(width, height, focal, focal / pixel_ratio, cx, cy)


def view_rectangle(view: Intrinsics, width: int, height: int, fit: str) -> tuple[float, float, float, float] | None:
    """The part (left, top, right, bottom) of :func:`fit_window`'s window that the view covers; None is all of it."""
    view_height = view.height * view.fx / view.fy
    scale = min(width / view.width, height / view_height)
    left, top = (width - view.width * scale) / 2, (height - view_height * scale) / 2
    if fit == "crop" or max(left, top) < 1e-3:
        return None
    return left, top, width - left, height - top


def in_view(across: np.ndarray, down: np.ndarray, camera: Camera) -> np.ndarray:
    """bool [...]: do pixels [...] lie in the window, and in the part of it that shows anything?"""
    left, top, right, bottom = camera.visible or (0, 0, camera.intrinsics.width, camera.intrinsics.height)
    return (across >= left) & (across < right) & (down >= top) & (down < bottom)


def shown_pixels(camera: Camera) -> np.ndarray:
    """bool [H,W]: the pixels whose centres lie in the part of the window that shows anything."""
    height, width = camera.intrinsics.height, camera.intrinsics.width
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return in_view(across, down, camera)


def from_camera(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """World points [N,3] as seen from the camera's position: world offsets [3,N], and K times camera space [3,N]
    (u z, v z, z), in the points' own precision.

    The camera's position is taken off first, so that f32 points lose nothing far from the world's origin. Rows of
    one coordinate each, because numpy is several times slower on rows of three.
    """
    kind = points.dtype if points.dtype == np.float32 else np.float64
    centre = camera.centre
    offsets = np.ascontiguousarray(points.T, kind) - centre.astype(kind)[:, None]
    rounding = centre.astype(kind) - centre
    matrix = camera.intrinsics.matrix @ camera.world_to_camera[:3, :3]
    seen = matrix.astype(kind) @ offsets
    if rounding.any():
        seen += (matrix @ rounding).astype(kind)[:, None]
    return offsets, seen


def project(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """World points [...,3] to pixels [...,2] and camera depth z [...]; pixels of points with z <= 0 mean nothing."""
    points = np.asarray(points)
    across, down, depth = from_camera(points.reshape(-1, 3), camera)[1]
    safe = np.where(np.abs(depth) < 1e-12, depth.dtype.type(1e-12), depth)
    pixels = np.stack([across / safe, down / safe], axis=-1)
    return pixels.reshape(*points.shape[:-1], 2), depth.reshape(points.shape[:-1])
