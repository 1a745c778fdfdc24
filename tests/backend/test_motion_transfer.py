"""Motion transfer through the whole task, with tracks that are worked out by hand."""

import importlib.util
import threading

import numpy as np
import pytest
from small_tasks import FRAMES, HEIGHT, REQUEST, WIDTH, K, picture, place, prepare, replaced

from diffusion_as_shader.backend import tasks
from diffusion_as_shader.backend.tasks.point_cloud import square_for
from diffusion_as_shader.shared.errors import Cancelled, UsageError
from diffusion_as_shader.shared.task_settings import DepthSettings, MotionTransfer

TRANSFER = replaced(REQUEST, task="motion_transfer", transfer=MotionTransfer(tracker="file"))
STEP = np.array([2.0, 0.5])  # pixels a frame


def video() -> np.ndarray:
    return np.concatenate([picture(seed) for seed in range(FRAMES)])


def sliding(count: int = 12) -> dict[str, np.ndarray]:
    """A grid of tracks that goes right and down; the first is at 10.5, 6.5."""
    columns, rows = np.meshgrid(np.linspace(10.5, 70.5, count), np.linspace(6.5, 50.5, count))
    first = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return {
        "source": video(),
        "tracks": (first + STEP * np.arange(FRAMES)[:, None, None]).astype(np.float32),
        "track_visible": np.ones((FRAMES, count * count), bool),
        "track_depth": np.broadcast_to(np.linspace(3, 6, count * count, dtype=np.float32), (FRAMES, count * count)).copy(),
        "source_K": np.tile(K, (FRAMES, 1, 1)),
    }


def test_tracks_carry_the_colours_of_their_first_places():
    inputs = sliding()
    made = prepare(TRANSFER, inputs)
    for frame in (0, 4, 8):
        centre = np.floor(inputs["tracks"][frame]).astype(int)
        seen = place(made.signals["tracking"][frame])[centre[:, 1], centre[:, 0]]
        assert np.abs(seen - inputs["tracks"][0]).max() < 0.4
    column, row = np.floor(inputs["tracks"][0]).astype(int).T
    blue = made.signals["tracking"][0, row, column, 2]
    assert blue.max() == 255 and blue.min() == 0 and blue[:40].min() > blue[-40:].max()  # near is blue
    for name in ("tracks", "track_visible", "track_depth"):
        assert (made.signals[name] == inputs[name]).all()
    assert (made.signals["first_frame"] == inputs["source"][0]).all()
    assert made.report.used == ["source", "source_K", "tracks", "track_visible", "track_depth"]


def test_the_picture_that_is_brought_is_the_first_frame():
    look = picture(99)[0]
    assert (prepare(TRANSFER, sliding() | {"first_frame": look}).signals["first_frame"] == look).all()


def test_hidden_tracks_are_not_drawn_and_nearer_ones_cover():
    inputs = sliding(2)
    inputs["tracks"][4, 1] = inputs["tracks"][4, 0]
    made = prepare(TRANSFER, inputs)
    x, y = np.floor(inputs["tracks"][4, 0]).astype(int)
    assert made.signals["depth"][4, y, x] == 3
    inputs = sliding(2)
    inputs["tracks"][4, 1] = inputs["tracks"][4, 0]
    inputs["track_visible"][4, 0] = False
    made = prepare(TRANSFER, inputs)
    assert made.signals["depth"][4, y, x] == 4 and not made.signals["track_visible"][4, 0]


def test_blue_is_scaled_by_what_the_first_frame_shows():
    """A third of the tracks are hidden at first and far nearer; known with their depth, they are blue when they come, and
    what is seen at first has all the range of blue."""
    inputs = sliding()
    hidden = np.arange(144) % 3 == 1
    inputs["track_depth"][:, hidden] = 0.5
    inputs["track_visible"][0, hidden] = False
    made = prepare(TRANSFER, inputs)
    blue = []
    for frame in (0, 1):
        column, row = np.floor(inputs["tracks"][frame]).astype(int).T
        blue.append(made.signals["tracking"][frame, row, column, 2])
    assert blue[0][~hidden].max() == 255 and blue[0][~hidden].min() == 0
    assert (blue[1][hidden] == 255).all() and made.signals["track_visible"][1].all()


def test_depth_is_taken_where_each_track_is_in_each_frame():
    inputs = sliding()
    del inputs["track_depth"]
    steps = np.arange(1, FRAMES + 1, dtype=np.float32)[:, None, None]
    inputs["source_depth"] = np.broadcast_to(np.linspace(1, 2, WIDTH, dtype=np.float32), (FRAMES, HEIGHT, WIDTH)) * steps
    made = prepare(TRANSFER, inputs)
    for frame in (0, 8):
        column, row = np.floor(inputs["tracks"][frame]).astype(int).T
        assert np.array_equal(made.signals["track_depth"][frame], inputs["source_depth"][frame, row, column])


def test_tracks_without_a_first_place_are_left_out():
    inputs = sliding()
    inputs["tracks"][0, 3] = -5
    inputs["tracks"][0, 4] = np.nan
    inputs["track_depth"][0, 5] = np.inf
    made = prepare(TRANSFER, inputs)
    assert made.signals["tracks"].shape[1] == 141 and "3 of 144 tracks have no place or depth in the first frame" in made.notes


@pytest.mark.parametrize(
    "change, message",
    [
        ({"track_visible": np.zeros((FRAMES, 144), bool)}, "No track is seen in the first frame"),
        ({"tracks": np.full((FRAMES, 144, 2), np.nan, np.float32)}, "No track is seen in the first frame"),
    ],
)
def test_tracks_that_are_nowhere(change, message):
    with pytest.raises(UsageError, match=message):
        prepare(TRANSFER, sliding() | change)


def test_no_tracks_at_all():
    inputs = {"source": video(), "source_depth": np.ones((FRAMES, HEIGHT, WIDTH), np.float32)}
    with pytest.raises(UsageError, match="No tracks came from a file"):
        prepare(TRANSFER, inputs)
    with pytest.raises(UsageError, match="A picture does not move"):
        one = {name: array[:1] for name, array in inputs.items()}
        prepare(replaced(TRANSFER, transfer=MotionTransfer()), one)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="needs an environment without the model's libraries")
def test_without_any_depth_blue_is_even_and_a_note_says_why():
    inputs = sliding()
    del inputs["track_depth"]
    made = prepare(TRANSFER, inputs)
    assert "depth" not in made.signals and "track_depth" not in made.signals
    drawn = made.signals["tracking"][0][made.signals["valid"][0]]
    assert (drawn[:, 2] == 128).all() and "all points are taken to be equally far" in made.notes
    with pytest.raises(UsageError):
        prepare(replaced(TRANSFER, depth=DepthSettings(source="depth_anything")), inputs)


def test_squares_cover_alike_whatever_the_density():
    assert square_for(4900, (720, 480)) == (7, 5)
    assert square_for(4900, (720, 480), (5, 5)) == (5, 5)
    for side in (20, 35, 50, 70, 100):
        across, down = square_for(side * side, (720, 480))
        assert across % 2 == down % 2 == 1
        assert 0.4 < across * down * side * side / (720 * 480) < 0.65
    assert square_for(100_000, (96, 64)) == (1, 1)


def panning() -> np.ndarray:
    """A texture that goes right by two pixels a frame, u8 [T,H,W,3]."""
    noise = np.random.default_rng(3).random((HEIGHT, WIDTH + 2 * FRAMES, 3))
    smooth = sum(np.roll(noise, (down, right), (0, 1)) for down in range(-2, 3) for right in range(-2, 3)) / 25
    levels = np.clip((smooth - 0.5) * 800 + 128, 0, 255).astype(np.uint8)
    return np.stack([levels[:, 2 * (FRAMES - frame) : 2 * (FRAMES - frame) + WIDTH] for frame in range(FRAMES)])


def tracked(**changes):
    return replaced(TRANSFER, **({"transfer": MotionTransfer(tracker="dis", grid="12x8")} | changes))


def flat(frames: np.ndarray) -> dict[str, np.ndarray]:
    return {"source": frames, "source_depth": np.full(frames.shape[:3], 4, np.float32), "source_K": np.tile(K, (FRAMES, 1, 1))}


def test_points_are_tracked_on_a_grid():
    made = prepare(tracked(), flat(panning()))
    assert made.phases == ["tracks", "draw"] and "96 points were tracked by dis" in made.notes
    xy, visible = made.signals["tracks"], made.signals["track_visible"]
    assert xy.shape == (FRAMES, 96, 2) and np.allclose(xy[0, 0], (4.5, 4.5))
    error = np.abs(xy[4] - xy[0] - (8, 0)).max(axis=1)[visible[4]]
    assert visible[4].mean() > 0.7 and (error < 1).mean() > 0.9


def test_no_points_in_the_margins_of_a_padded_video():
    video = panning()
    video[:, :, :16] = video[:, :, 80:] = 0
    made = prepare(tracked(fit="pad"), flat(video))
    across = made.signals["tracks"][0, :, 0]
    assert across.min() > 16 and across.max() < 80 and len(across) == 64


def test_a_grid_that_is_none_and_a_cancel_while_tracking():
    with pytest.raises(UsageError, match="'points.csv' is no grid"):
        prepare(tracked(transfer=MotionTransfer(grid="points.csv")), flat(panning()))
    with pytest.raises(Cancelled):
        prepare(tracked(), flat(panning()), cancelled=lambda: True)


def test_an_abandoned_task_stops_its_thread():
    request, inputs = tracked(), flat(panning())
    events = tasks.prepare(request, inputs, cancelled=lambda: False)
    assert next(events).phase == "tracks"
    events.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tracks")]
