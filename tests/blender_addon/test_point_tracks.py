"""Tracks on a real scene agree with its flow, depth and mattes; anchors sit on the surface to sub-pixels; what is
unseen is said to be."""

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon.capture.anchors import anchor, cut, seen_triangles  # noqa: E402
from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer, choose_drawer  # noqa: E402
from diffusion_as_shader.blender_addon.capture.flow import forward_flow  # noqa: E402
from diffusion_as_shader.blender_addon.capture.geometry import capture  # noqa: E402
from diffusion_as_shader.blender_addon.capture.point_tracks import PointTracks  # noqa: E402
from diffusion_as_shader.blender_addon.capture.signals import draw_signals  # noqa: E402
from diffusion_as_shader.shared.points import query_points  # noqa: E402
from diffusion_as_shader.shared.rasterize import rasterize  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402

from . import analytic_scene as truth  # noqa: E402
from .drawing import grown, near_edges  # noqa: E402
from .test_flow import between  # noqa: E402

GRID = msgspec.structs.replace(truth.REQUEST, write=("tracks",), points="48x32")


@pytest.fixture(params=["chosen", "numpy"])
def drawer(request):
    made = choose_drawer()[0] if request.param == "chosen" else NumpyDrawer()
    yield made
    made.close()


def fixed(captured, request, drawer) -> PointTracks:
    tracks = PointTracks(query_points(request), len(captured.frames))
    assert list(tracks.fix(captured, drawer)) == [(1, 1)]
    return tracks


def tracked(captured, request, drawer) -> PointTracks:
    tracks = fixed(captured, request, drawer)
    for index, seen in draw_signals(captured, request, drawer):
        tracks.add(index, captured.frames[index], seen.depth)
    return tracks


def test_triangles_are_those_of_the_reference_rasteriser(drawer):
    with capture(truth.build(), GRID) as captured:
        frame = captured.frames[3]
        seen = seen_triangles(frame, drawer)
    reference = rasterize(frame.positions, frame.triangles, np.zeros((len(frame.positions), 1)), frame.camera).triangle
    assert (seen != reference).mean() < 1e-3, "edges may differ"


def test_shares_are_where_the_ray_meets_the_triangle():
    """The point of the shares lies on the ray, at the depth that is said."""
    rng = np.random.default_rng(0)
    corners = rng.normal(size=(50, 3, 3)) + (0, 0, 8)
    wanted = rng.dirichlet((1, 1, 1), 50)
    places = np.einsum("ni,nik->nk", wanted, corners)
    shares, depth = cut(places / places[:, 2:], corners)
    assert np.allclose(shares, wanted, atol=1e-6) and np.allclose(depth, places[:, 2])


def test_anchors_beside_a_silhouette_stay_on_the_surface(drawer):
    """Every position in a pixel that shows the screen gives a place on a board, near that position."""
    with capture(truth.build(), GRID) as captured:
        frame = captured.frames[0]
        centres = truth.pixel_centres()
        chosen = np.flatnonzero((truth.trace(centres, 1.0).board == 2) & truth.near_borders(centres, 1.0))
        pixels = centres[chosen] + np.random.default_rng(0).uniform(-0.5, 0.5, (len(chosen), 2))
        anchors = anchor(frame, pixels, drawer)
        places = np.einsum("ni,nik->nk", anchors.shares, anchors.corner_positions(frame))
    assert (anchors.shares >= -1e-6).all() and np.allclose(anchors.shares.sum(axis=1), 1)
    apart = np.linalg.norm(truth.on_screen(places, 1.0)[0] - pixels, axis=1)
    exact = truth.trace(pixels, 1.0)
    assert apart.max() < 1 and len(chosen) > 50
    met = np.abs(exact.depth - truth.on_screen(places, 1.0)[1]) < 1e-4
    assert met.mean() > 0.95, "but for rounding, what the exact ray meets"


def test_the_back_of_a_thin_box_is_hidden(drawer):
    """A slab that turns round: its front is seen at first, its back at the end, an inch apart."""
    scene = truth.build()
    for name in ("slider", "screen"):
        bpy.data.objects.remove(bpy.data.objects[name])
    scene.camera.animation_data_clear()
    scene.camera.location, scene.camera.rotation_euler = (0, -6, 0), (np.pi / 2, 0, 0)
    bpy.ops.mesh.primitive_cube_add(size=1)
    slab = bpy.context.object
    slab.scale = (2, 0.15, 1.5)
    for frame, turn in ((1, 0.1), (truth.END, np.pi + 0.1)):
        slab.rotation_euler.z = turn
        slab.keyframe_insert("rotation_euler", frame=frame)
    truth.straighten(slab)
    with capture(scene, GRID) as captured:
        tracks = tracked(captured, GRID, drawer)
        number = captured.object_names.index(slab.name) + 1
    turns = np.interp(truth.TIMES, (1, truth.END), (0.1, np.pi + 0.1))
    front = tracks.objects == number
    assert front.sum() > 100
    for index, turn in enumerate(turns):
        normal = np.array([np.sin(turn), -np.cos(turn), 0])
        facing = (np.array([0, -6, 0]) - tracks.world[index, front]) @ normal > 0.02
        assert (tracks.visibility[index, front] == facing).mean() > 0.99


def test_tracks_agree_with_flow_depth_and_mattes_on_a_real_scene(shared_data):
    """An armature under subdivision and a moving camera: each step of a track that is seen is the flow where it stands."""
    bpy.ops.wm.open_mainfile(filepath=str(shared_data / "robot_dance.blend"))
    scene = bpy.context.scene
    request = GenerationRequest(
        width=720, height=480, frames=9, start=scene.frame_start, end=scene.frame_start + 12, write=("tracks",), points="90x60"
    )
    drawer = choose_drawer()[0]
    compared = 0
    with capture(scene, request) as captured:
        tracks = fixed(captured, request, drawer)
        steps = []
        for index, seen in draw_signals(captured, request, drawer):
            frame = captured.frames[index]
            tracks.add(index, frame, seen.depth)
            if index + 1 < len(captured.frames):
                steps.append((seen, forward_flow(frame, seen, captured.frames[index + 1], drawer)))
    drawer.close()
    for index, (seen, flow) in enumerate(steps):
        pixels = tracks.tracks[index].astype(float)
        inside = tracks.visibility[index] & (pixels > 1).all(axis=1) & (pixels < (719, 479)).all(axis=1)
        columns, rows = np.floor(np.where(inside[:, None], pixels, 1)).astype(int).T
        inside &= ~folds(seen.depth)[rows, columns] & ~near_edges(seen.depth, seen.object)[rows, columns]
        chosen = np.flatnonzero(inside)
        apart = np.abs(between(flow, pixels[chosen]) - (tracks.tracks[index + 1] - tracks.tracks[index])[chosen]).max(axis=1)
        assert apart.max() < 0.05 and np.median(apart) < 0.001
        deep = between(seen.depth[..., None], pixels[chosen])[:, 0]
        assert np.percentile(np.abs(deep / tracks.depth[index, chosen] - 1), 99) < 5e-3
        assert (seen.object[rows, columns] == tracks.objects)[chosen].mean() > 0.999
        compared += len(chosen)
    assert compared > 5000


def folds(depth):
    """bool [H,W]: within two pixels of a crease, or of a border at which an object hides a part of itself. 1/z of a
    plane is even over the picture."""
    inverse = 1 / depth
    bent = np.zeros(depth.shape, bool)
    bent[1:-1] |= np.abs(np.diff(inverse, 2, axis=0)) > 2e-3 * inverse[1:-1]
    bent[:, 1:-1] |= np.abs(np.diff(inverse, 2, axis=1)) > 2e-3 * inverse[:, 1:-1]
    return grown(grown(bent))
