"""The fast drawer: Blender's gpu module, off screen, into float targets without anti-aliasing or blending."""

from __future__ import annotations

import gpu
import numpy as np

from ...shared.camera import Camera
from .draw import Drawn
from .frames import GeometryFrame
from .gpu_start import start_gpu

VERTEX = """
void main()
{
  rest_depth = vec4(rest, place.z);
  number = object_number;
  gl_Position = projection * vec4(place, 1.0);
}
"""

# near / z, the greatest of which is nearest, keeps a float's full precision at every distance; 1 - near / z does not.
FRAGMENT = """
void main()
{
  drawn = rest_depth;
  drawn_number = number;
  gl_FragDepth = near / rest_depth.w;
}
"""


NOTHING = (0.0, 0.0, 0.0, np.inf)  # no rest, no object, infinitely deep
NOWHERE = np.float32(1e30)  # the rest of vertices not tracked: a pixel between such ones is as far, however small their share


class GpuDrawer:
    """Draws positions in camera space and rest positions around their middle, so that f32 stays exact far from the origin.

    Buffers of what did not change since the last frame (triangles, rest) are used again.
    """

    name = "gpu"

    def __init__(self):
        start_gpu()
        self._shader = _shader()
        self._targets: _Targets | None = None
        self._layout: _Layout | None = None

    def draw(self, frame: GeometryFrame) -> Drawn:
        window = frame.camera.intrinsics
        if self._targets is None or self._targets.size != (window.width, window.height):
            self._targets = _Targets(window.width, window.height)
        if self._layout is None or not self._layout.is_of(frame):
            self._layout = _Layout(frame)
        with self._targets.framebuffer.bind():
            self._targets.framebuffer.clear(color=NOTHING, depth=0.0)
            if len(frame.triangles):
                self._draw_batch(frame)
        return self._read()

    def _draw_batch(self, frame: GeometryFrame) -> None:
        place = gpu.types.GPUVertBuf(_format(place=3), len(frame.positions))
        place.attr_fill("place", seen_from(frame.camera, frame.positions))
        batch = gpu.types.GPUBatch(type="TRIS", buf=place, elem=self._layout.triangles)
        batch.vertbuf_add(self._layout.vertices)
        self._shader.bind()
        self._shader.uniform_float("projection", projection(frame.camera).T.ravel().tolist())
        self._shader.uniform_float("near", frame.camera.near)
        gpu.state.depth_test_set("GREATER")
        gpu.state.depth_mask_set(True)
        gpu.state.blend_set("NONE")
        gpu.state.face_culling_set("NONE")
        try:
            batch.draw(self._shader)
        finally:
            gpu.state.depth_test_set("NONE")
            gpu.state.depth_mask_set(False)

    def _read(self) -> Drawn:
        place, numbers = self._targets.read()
        rest, objects = place[..., :3], numbers.astype(np.uint16)
        nowhere = rest[..., 0] > NOWHERE / 1e10
        tracked = (objects > 0) & ~nowhere
        if nowhere.any():
            rest[nowhere] = 0
        if self._layout.middle.any():
            rest[tracked] += self._layout.middle
        return Drawn(rest, tracked, objects, np.ascontiguousarray(place[..., 3]))

    def close(self) -> None:
        """Free the buffers."""
        self._targets = self._layout = None


class _Targets:
    """The textures drawn into, and arrays of the same size to read them into."""

    def __init__(self, width: int, height: int):
        self.size = (width, height)
        self._place = gpu.types.GPUTexture(self.size, format="RGBA32F")
        self._numbers = gpu.types.GPUTexture(self.size, format="R32F")
        self._depth = gpu.types.GPUTexture(self.size, format="DEPTH_COMPONENT32F")
        self.framebuffer = gpu.types.GPUFrameBuffer(depth_slot=self._depth, color_slots=(self._place, self._numbers))

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        return self._read(0, 4), self._read(1, 1)[..., 0]

    def _read(self, slot: int, channels: int) -> np.ndarray:
        width, height = self.size
        pixels = np.empty((height, width, channels), np.float32)
        target = gpu.types.Buffer("FLOAT", pixels.shape, pixels)
        with self.framebuffer.bind():
            self.framebuffer.read_color(0, 0, width, height, channels, slot, "FLOAT", data=target)
        return pixels


class _Layout:
    """Buffers of the triangles and of the vertices' rest places and marks."""

    def __init__(self, frame: GeometryFrame):
        self._of = (frame.triangles, frame.rest, frame.tracked, frame.objects)
        self.middle = _far_middle(frame.rest)
        if not len(frame.triangles):
            return
        self.triangles = gpu.types.GPUIndexBuf(type="TRIS", seq=np.ascontiguousarray(frame.triangles, np.int32))
        self.vertices = gpu.types.GPUVertBuf(_format(rest=3, object_number=1), len(frame.rest))
        rest = frame.rest - self.middle
        rest[~frame.tracked] = NOWHERE
        self.vertices.attr_fill("rest", rest)
        self.vertices.attr_fill("object_number", frame.objects.astype(np.float32))

    def is_of(self, frame: GeometryFrame) -> bool:
        return all(mine is theirs for mine, theirs in zip(self._of, (frame.triangles, frame.rest, frame.tracked, frame.objects)))


def _far_middle(points: np.ndarray) -> np.ndarray:
    """f32 [3]: the middle of points that lie far from the origin, else zero, which saves adding it to every pixel."""
    if not len(points):
        return np.zeros(3, np.float32)
    middle, size = points.mean(axis=0), np.ptp(points, axis=0).max()
    return (middle if np.abs(middle).max() > 16 * size else np.zeros(3)).astype(np.float32)


def _format(**lengths: int) -> gpu.types.GPUVertFormat:
    vertex_format = gpu.types.GPUVertFormat()
    for name, length in lengths.items():
        vertex_format.attr_add(id=name, comp_type="F32", len=length, fetch_mode="FLOAT")
    return vertex_format


def _shader() -> gpu.types.GPUShader:
    between = gpu.types.GPUStageInterfaceInfo("das_drawn")
    between.smooth("VEC4", "rest_depth")
    between.flat("FLOAT", "number")
    info = gpu.types.GPUShaderCreateInfo()
    info.vertex_in(0, "VEC3", "place")
    info.vertex_in(1, "VEC3", "rest")
    info.vertex_in(2, "FLOAT", "object_number")
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "drawn")
    info.fragment_out(1, "FLOAT", "drawn_number")
    info.push_constant("MAT4", "projection")
    info.push_constant("FLOAT", "near")
    info.depth_write("ANY")
    info.vertex_source(VERTEX)
    info.fragment_source(FRAGMENT)
    return gpu.shader.create_from_info(info)


def seen_from(camera: Camera, positions: np.ndarray) -> np.ndarray:
    """World positions f32 [V,3] in camera space, f32 [V,3]. The camera's place is taken off first, which keeps f32 exact
    enough far from the origin, where f64 takes several times as long."""
    near_by = camera.centre.astype(np.float32)
    rotation = camera.world_to_camera[:3, :3]
    seen = np.dot(positions - near_by, rotation.T.astype(np.float32))
    seen += (rotation @ (near_by - camera.centre)).astype(np.float32)
    return seen


def projection(camera: Camera) -> np.ndarray:
    """OpenCV camera space to clip space, f64 [4,4]: clipped at the near plane, no far plane, the first row on top.

    Row 0 of the target is the window's upper edge, so that nothing is flipped after reading.
    """
    window = camera.intrinsics
    return np.array(
        [
            [2 * window.fx / window.width, 0, 2 * window.cx / window.width - 1, 0],
            [0, 2 * window.fy / window.height, 2 * window.cy / window.height - 1, 0],
            [0, 0, 1, -2 * camera.near],
            [0, 0, 1, 0],
        ]
    )
