"""What --write writes agrees with what rays see of an analytic scene, and each file with the others."""

import json
import subprocess

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon.jobs import Job  # noqa: E402
from diffusion_as_shader.shared import home  # noqa: E402
from diffusion_as_shader.shared.errors import Cancelled, GenerationError, SceneError, UsageError  # noqa: E402
from diffusion_as_shader.shared.take import Take  # noqa: E402

from . import analytic_scene as truth  # noqa: E402
from .readers import read_exr, read_flo, read_png16  # noqa: E402

ALL = ("video", "coordinates", "depth", "mattes", "flow", "tracks")
REQUEST = msgspec.structs.replace(truth.REQUEST, write=ALL, points="24x16")
SHAPE = (truth.HEIGHT, truth.WIDTH)


@pytest.fixture(scope="module")
def take(tmp_path_factory) -> Take:
    return Job(truth.build(), REQUEST, tmp_path_factory.mktemp("written") / "take", "track").run()


@pytest.fixture(scope="module")
def tracks(take):
    with np.load(take.folder / "tracks.npz") as stored:
        return dict(stored)


def expected(index):
    """What each pixel of a frame sees, and which are far enough from a border."""
    pixels, time = truth.pixel_centres(), truth.TIMES[index]
    return truth.trace(pixels, time), ~truth.near_borders(pixels, time)


@pytest.mark.parametrize("index", [0, 4, 8])
def test_depth_mattes_and_coordinates_are_what_rays_see(take, index):
    seen, inner = expected(index)
    name = f"{index + 1:04d}"
    depth = read_exr(take.folder / "depth" / f"{name}.exr").ravel()
    assert np.abs(depth - seen.depth)[inner].max() < 1e-4
    names = {int(number): name for number, name in json.loads((take.folder / "mattes/objects.json").read_text()).items()}
    assert set(names.values()) == {board.name for board in truth.BOARDS}
    numbers = read_png16(take.folder / "mattes" / f"{name}.png").ravel()
    boards = np.array([board.name for board in truth.BOARDS])[seen.board]
    assert (np.array([names.get(number, "") for number in numbers]) == boards)[inner].all()
    rest = read_exr(take.folder / "coordinates" / f"{name}.exr").reshape(-1, 3)
    assert np.abs(rest - truth.world_at(seen, truth.TIMES[0]))[inner].max() < 1e-4
    assert inner.mean() > 0.8 and (np.bincount(seen.board[inner], minlength=3) > 100).all()


def test_flow_is_the_motion_of_the_boards(take):
    for index in range(8):
        seen, inner = expected(index)
        flow = read_flo(take.folder / "flow" / f"{index + 1:04d}.flo").reshape(-1, 2)
        there, _ = truth.on_screen(truth.world_at(seen, truth.TIMES[index + 1]), truth.TIMES[index + 1])
        assert np.abs(flow - (there - truth.pixel_centres()))[inner].max() < 0.01
    assert len(list((take.folder / "flow").iterdir())) == 8


def test_tracks_are_the_motion_of_the_boards(tracks):
    queries = tracks["query_points"].astype(float)
    seen = truth.trace(queries[:, [2, 1]], truth.TIMES[0])
    inner = ~truth.near_borders(queries[:, [2, 1]], truth.TIMES[0])
    assert inner.sum() > 300 and not queries[:, 0].any()
    for index, time in enumerate(truth.TIMES):
        world = truth.world_at(seen, time)
        pixels, depth = truth.on_screen(world, time)
        assert np.abs(tracks["tracks"][index] - pixels)[inner].max() < 0.01
        assert np.abs(tracks["world"][index] - world)[inner].max() < 1e-4
        assert np.abs(tracks["depth"][index] - depth)[inner].max() < 1e-4
        first_met = truth.trace(pixels, time)
        inside = (pixels >= 0).all(axis=1) & (pixels < (truth.WIDTH, truth.HEIGHT)).all(axis=1)
        visible = inside & (np.abs(first_met.depth - depth) < 1e-6)
        sure = inner & ~truth.near_borders(pixels, time, 1.5)
        assert (tracks["visibility"][index] == visible)[sure].all()
    hidden = ~tracks["visibility"].all(axis=0) & (seen.board == 1)
    assert hidden.sum() > 5, "the screen should hide some of the slider on its way"


def test_tracks_have_the_layout_of_tap_vid(tracks):
    points = tracks["tracks"].shape[1]
    assert tracks["query_points"].shape == (points, 3) and tracks["object"].shape == (points,)
    assert np.array_equal(tracks["target_points"], tracks["tracks"].swapaxes(0, 1))
    assert np.array_equal(tracks["occluded"], ~tracks["visibility"].T) and tracks["occluded"].dtype == bool
    assert np.allclose(tracks["tracks"][0], tracks["query_points"][:, :0:-1], atol=1e-3), "x, y against t, y, x"
    assert tracks["size"].tolist() == [truth.WIDTH, truth.HEIGHT] and tracks["fps"] == pytest.approx(9 * 24 / 13)


def test_each_agrees_with_the_others(take, tracks):
    """Depth put into the world by the camera and seen by the next one is the flow, where nothing moves by itself, and
    along tracks everywhere; a track's step is the flow where it stands."""
    path = take.read_camera_path()
    for index in range(8):
        depth = read_exr(take.folder / "depth" / f"{index + 1:04d}.exr")
        flow = read_flo(take.folder / "flow" / f"{index + 1:04d}.flo")
        matte = read_png16(take.folder / "mattes" / f"{index + 1:04d}.png")
        inner = ~truth.near_borders(truth.pixel_centres(), truth.TIMES[index], 1.5).reshape(SHAPE)
        still = inner & (matte != 2)
        world = unprojected(depth, path, index)
        pixels = projected(world, path, index + 1)
        assert np.abs(pixels - truth.pixel_centres().reshape(*SHAPE, 2) - flow)[still].max() < 0.01
        x, y = tracks["tracks"][index].T
        columns, rows = np.floor(x).clip(0, truth.WIDTH - 1).astype(int), np.floor(y).clip(0, truth.HEIGHT - 1).astype(int)
        seen = tracks["visibility"][index] & inner[rows, columns]
        assert (matte[rows, columns] == tracks["object"])[seen].all() and seen.sum() > 200
        step = tracks["tracks"][index + 1] - tracks["tracks"][index]
        assert np.abs(sampled(flow, x, y) - step)[seen].max() < 0.05
        assert np.abs(sampled(world, x, y) - tracks["world"][index])[seen].max() < 0.02


def unprojected(depth, path, index):
    """World positions [H,W,3] of a depth picture."""
    rays = np.concatenate([truth.pixel_centres(), np.ones((depth.size, 1))], axis=1) @ np.linalg.inv(path.K[index]).T
    seen = np.concatenate([rays * depth.reshape(-1, 1), np.ones((depth.size, 1))], axis=1)
    return (seen @ np.linalg.inv(path.world_to_camera[index]).T)[:, :3].reshape(*SHAPE, 3)


def projected(world, path, index):
    seen = world @ path.world_to_camera[index][:3, :3].T + path.world_to_camera[index][:3, 3]
    pixels = seen @ path.K[index].T
    return pixels[..., :2] / pixels[..., 2:]


def sampled(picture, x, y):
    """Bilinearly between pixel centres, [N,C]."""
    left, top = np.floor(x - 0.5).clip(0, truth.WIDTH - 2).astype(int), np.floor(y - 0.5).clip(0, truth.HEIGHT - 2).astype(int)
    right, down = (x - 0.5 - left)[:, None], (y - 0.5 - top)[:, None]
    upper = picture[top, left] * (1 - right) + picture[top, left + 1] * right
    lower = picture[top + 1, left] * (1 - right) + picture[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def test_files_are_those_of_the_page(take):
    counts = {folder: len(list((take.folder / folder).iterdir())) for folder in ALL[1:5]}
    assert counts == {"coordinates": 9, "depth": 9, "mattes": 10, "flow": 8}
    assert not [file for file in take.folder.rglob("*") if "partial" in file.name or "das-capture" in file.name]
    assert take.record.request.write == ALL


def test_the_backend_reads_video_and_mattes_exactly(take):
    """imageio is in the other room: it reads there, and answers with numpy files."""
    environments = home.environments("backend")
    if not environments:
        pytest.skip("environments.json names no backend environment")
    script = (
        "import sys, numpy, imageio.v3 as imageio; folder = sys.argv[1]\n"
        "video = imageio.imread(folder + '/tracking.mkv', plugin='pyav')\n"
        "mattes = [imageio.imread(f'{folder}/mattes/{n:04d}.png') for n in range(1, 10)]\n"
        "pictures = [imageio.imread(f'{folder}/tracking/{n:04d}.png') for n in range(1, 10)]\n"
        "numpy.savez(sys.argv[2], video=video, mattes=mattes, pictures=pictures)"
    )
    answer = take.folder.parent / "answer.npz"
    subprocess.run([environments[0].python, "-c", script, str(take.folder), str(answer)], check=True, timeout=60)
    with np.load(answer) as read:
        assert np.array_equal(read["video"], read["pictures"]) and read["video"].shape == (9, *SHAPE, 3)
        ours = [read_png16(take.folder / "mattes" / f"{number:04d}.png") for number in range(1, 10)]
        assert read["mattes"].dtype.itemsize >= 2 and np.array_equal(read["mattes"], ours)


def test_chosen_points_at_their_own_frames(tmp_path):
    """A point of the slider at frame 4, to sub-pixels, one of the wall, and one that meets nothing."""
    queries = [[88.3, 70.9, 4], [20.25, 30.5, 8], [188.0, 5.0, 0]]
    (tmp_path / "points.json").write_text(json.dumps(queries))
    scene = truth.build()
    bpy.data.objects["wall"].scale = (0.6, 0.6, 1)
    request = msgspec.structs.replace(REQUEST, write=("tracks",), points=str(tmp_path / "points.json"))
    take = Job(scene, request, tmp_path / "take", "track").run()
    with np.load(take.folder / "tracks.npz") as stored:
        tracks = dict(stored)
    assert (tracks["object"] > 0).tolist() == [True, True, False]
    assert np.isnan(tracks["tracks"][:, 2]).all() and not tracks["visibility"][:, 2].any()
    assert any("1 of 3 points" in note for note in take.record.notes)
    for column, query in enumerate(queries[:2]):
        seen = truth.trace(np.array([query[:2]]), truth.TIMES[query[2]])
        assert tracks["visibility"][query[2], column]
        for index, time in enumerate(truth.TIMES):
            assert np.abs(tracks["tracks"][index, column] - truth.on_screen(truth.world_at(seen, time), time)[0][0]).max() < 0.01


def test_points_that_meet_nothing_are_an_error_and_leave_no_take(tmp_path):
    (tmp_path / "points.csv").write_text("1,1\n190,126\n")
    scene = truth.build()
    bpy.data.objects.remove(bpy.data.objects["wall"])
    request = msgspec.structs.replace(REQUEST, points=str(tmp_path / "points.csv"))
    with pytest.raises(SceneError, match="None of the points lies on a surface") as caught:
        Job(scene, request, tmp_path / "take", "track").run()
    assert caught.value.fix and not (tmp_path / "take").exists()


def test_a_wrong_file_of_points_is_said_before_anything_is_captured(tmp_path):
    (tmp_path / "points.csv").write_text("1000,1\n")
    steps = []
    request = msgspec.structs.replace(REQUEST, points=str(tmp_path / "points.csv"))
    with pytest.raises(UsageError, match="is not in the video"):
        Job(truth.build(), request, tmp_path / "take", "track", tell=steps.append).run()
    assert {step.step for step in steps} == {0} and not (tmp_path / "take").exists()


def test_a_grid_leaves_out_what_lies_on_nothing(tmp_path):
    scene = truth.build()
    bpy.data.objects.remove(bpy.data.objects["wall"])
    take = Job(scene, msgspec.structs.replace(REQUEST, write=("tracks",)), tmp_path / "take", "track").run()
    with np.load(take.folder / "tracks.npz") as stored:
        count = stored["tracks"].shape[1]
        assert 0 < count < 24 * 16 and (stored["object"] > 0).all()
    assert any(f"{24 * 16 - count} of 384 points" in note for note in take.record.notes)


def test_what_vanishes_is_gone(tmp_path):
    """An object that is no longer rendered has no place, and its flow is unknown."""
    scene = truth.build()
    slider = bpy.data.objects["slider"]
    for frame, hidden in ((1, False), (6, True)):
        slider.hide_render = hidden
        slider.keyframe_insert("hide_render", frame=frame)
    take = Job(scene, msgspec.structs.replace(REQUEST, write=("tracks", "flow")), tmp_path / "take", "track").run()
    with np.load(take.folder / "tracks.npz") as stored:
        tracks = dict(stored)
    gone = truth.TIMES >= 6
    mine = truth.trace(tracks["query_points"][:, [2, 1]], 1.0).board == 1
    assert mine.sum() > 5 and np.isnan(tracks["tracks"][gone][:, mine]).all()
    assert np.isfinite(tracks["tracks"][~gone]).all() and not tracks["visibility"][gone][:, mine].any()
    last = int(np.flatnonzero(~gone)[-1])
    flow = read_flo(take.folder / "flow" / f"{last + 1:04d}.flo")
    seen, inner = expected(last)
    unknown = np.isnan(flow).any(axis=-1).ravel()
    assert (unknown == (seen.board == 1))[inner].all()


def test_the_video_is_told_and_cancel_ends_the_writing(tmp_path):
    steps = []
    job = Job(truth.build(), REQUEST, tmp_path / "take", "track", tell=steps.append)
    while not (tmp_path / "take/flow/0003.flo").exists():
        assert job.step()
    job.cancel()
    with pytest.raises(Cancelled):
        job.run()
    take = tmp_path / "take"
    assert not [file for file in take.rglob("*") if "partial" in file.name] and not (take / "tracks.npz").exists()
    assert sorted(entry.name for entry in take.iterdir() if "capture" in entry.name) == []


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(self, name, content):
        if name.startswith("flow"):
            with self._guarded():
                raise OSError(28, "No space left on device")
        return write(self, name, content)

    write = Take.write_file
    monkeypatch.setattr(Take, "write_file", full)
    with pytest.raises(GenerationError, match="No space left on device"):
        Job(truth.build(), REQUEST, tmp_path / "take", "track").run()
    assert not [file for file in (tmp_path / "take").rglob("*") if "partial" in file.name]
