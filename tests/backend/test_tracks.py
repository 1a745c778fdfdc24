"""The embedded tracker on pictures whose motion is known, its score, and its files."""

import msgspec
import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from diffusion_as_shader.backend.vision.tracks import score, track  # noqa: E402
from diffusion_as_shader.shared.errors import Cancelled, UsageError  # noqa: E402
from diffusion_as_shader.shared.track_files import Tracks, encode_tracks, read_tracks  # noqa: E402

SIZE = (160, 112)
METHODS = ("dis", "lucas_kanade")


def texture(seed, size=(400, 400)):
    """Soft random spots, u8 [h,w,3]."""
    noise = np.random.default_rng(seed).normal(0, 1, (*size, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(127 + 45 * soft / soft.std(), 0, 255).astype(np.uint8)


def seen(plane, matrix):
    """A picture of SIZE: the texture's point p is shown at ``matrix`` p; pixel i covers [i, i+1)."""
    centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    pixels = np.linalg.inv(centre) @ matrix @ centre
    return cv2.warpPerspective(plane, pixels, SIZE, flags=cv2.INTER_LINEAR)


def moved(matrix, xy):
    return cv2.perspectiveTransform(np.asarray(xy, np.float64)[None], matrix)[0]


def view(index):
    """The backdrop turns, shrinks and shifts a little."""
    turn = np.deg2rad(0.6 * index)
    scale = 1 - 0.004 * index
    return np.array(
        [[scale * np.cos(turn), -scale * np.sin(turn), -90 + 1.6 * index], [scale * np.sin(turn), scale * np.cos(turn), -100 - 0.7 * index], [2e-5 * index, 0, 1]]
    )


def grid(step=8):
    x, y = np.meshgrid(np.arange(4.5, SIZE[0], step), np.arange(4.5, SIZE[1], step))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def inside(xy):
    return ((xy >= 0) & (xy < SIZE)).all(axis=-1)


@pytest.fixture(scope="module")
def backdrop():
    """A moving textured plane, and its true tracks."""
    plane, points = texture(1), grid()
    video = np.stack([seen(plane, view(index)) for index in range(17)])
    true = np.stack([moved(view(index) @ np.linalg.inv(view(0)), points) for index in range(17)])
    return video, Tracks(xy=true.astype(np.float32), visible=inside(true))


@pytest.fixture(scope="module")
def crossing():
    """A textured card of 44x56 pixels crosses the moving plane; object 1 is the card, 2 the plane."""
    plane, card, points = texture(1), texture(2), grid()
    video, true, visible = [], [], []
    on_card = covers(points, 0)
    for index in range(17):
        picture = seen(plane, view(index))
        left, top = corner(index)
        picture[top : top + 56, left : left + 44] = card[:56, :44]
        xy = np.where(on_card[:, None], points + np.subtract(corner(index), corner(0)), moved(view(index) @ np.linalg.inv(view(0)), points))
        video.append(picture)
        true.append(xy)
        visible.append(inside(xy) & (on_card | ~covers(xy, index)))
    objects = np.where(on_card, 1, 2).astype(np.uint16)
    return np.stack(video), Tracks(xy=np.stack(true).astype(np.float32), visible=np.stack(visible), objects=objects)


def corner(index):
    return 16 + 5 * index, 20 + index


def covers(xy, index):
    left, top = corner(index)
    return ((xy >= (left, top)) & (xy < (left + 44, top + 56))).all(axis=1)


@pytest.mark.parametrize("method", METHODS)
def test_a_moving_plane_is_followed(backdrop, method):
    video, truth = backdrop
    result = score(track(video, truth.xy[0], method=method), truth)
    assert result.within[4] > 0.97 and result.median_error < 0.5
    assert result.occlusion_accuracy > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_what_crosses_hides_what_lies_behind(crossing, method):
    video, truth = crossing
    result = score(track(video, truth.xy[0], method=method), truth)
    assert result.within[8] > 0.88 and result.occlusion_accuracy > 0.9
    assert result.per_object[1].within[4] > 0.65 and result.per_object[2].within[8] > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_points_that_leave_the_frame_are_not_visible(backdrop, method):
    video, truth = backdrop
    found = track(video, truth.xy[0], method=method)
    gone = ~inside(truth.xy[-1]) & (np.abs(truth.xy[-1] - np.clip(truth.xy[-1], 0, SIZE)).max(axis=1) > 2)
    assert gone.sum() > 5
    assert found.visible[-1][gone].mean() < 0.1
    assert np.isfinite(found.xy).all() and found.visible[0].all()


def test_a_still_video_stays_where_it_is():
    video = np.repeat(seen(texture(3), view(0))[None], 5, axis=0)
    for method in METHODS:
        found = track(video, grid(), method=method)
        assert np.abs(found.xy - found.xy[0]).max() < 0.3 and found.visible.mean() > 0.99


def test_a_grey_video_is_tracked_without_harm():
    video = np.full((5, SIZE[1], SIZE[0], 3), 128, np.uint8)
    for method in METHODS:
        found = track(video, grid(), method=method)
        assert found.xy.shape == (5, len(grid()), 2) and np.isfinite(found.xy).all()


def test_it_says_how_far_it_is_and_stops_when_asked(backdrop):
    video, truth = backdrop
    told = []
    track(video[:5], truth.xy[0], progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (told[-1][1], told[-1][1]) and [done for done, _ in told] == sorted(done for done, _ in told)
    with pytest.raises(Cancelled):
        track(video, truth.xy[0], cancelled=lambda: True)
    with pytest.raises(UsageError, match="One frame"):
        track(video[:1], truth.xy[0])


def test_the_score_counts_what_is_truly_visible():
    true = np.zeros((3, 4, 2), np.float32)
    visible = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]], bool)
    truth = Tracks(xy=true, visible=visible, objects=np.array([1, 1, 2, 2]))
    xy = true.copy()
    xy[1, 0] = (3, 4)  # 5 pixels off
    xy[2, 1] = (8, 8)
    xy[2, 3] = (99, 99)  # hidden: does not count
    xy[0] += 50  # the first frame is given
    xy[1, 2] = np.nan
    found = Tracks(xy=xy, visible=np.ones((3, 4), bool))
    result = score(found, truth)
    assert result.within == {4: 2 / 5, 8: 3 / 5}
    assert result.occlusion_accuracy == 5 / 8
    assert result.median_error == 5
    assert result.per_object[1].within == {4: 2 / 4, 8: 3 / 4} and result.per_object[1].occlusion_accuracy == 1
    assert result.per_object[2].within == {4: 0, 8: 0} and result.per_object[2].occlusion_accuracy == 1 / 4
    assert score(truth, truth).within == {4: 1, 8: 1}
    with pytest.raises(UsageError, match="4 points in 2 frames"):
        score(msgspec.structs.replace(found, xy=xy[:2]), truth)


def test_tracks_come_back_from_their_file(tmp_path, crossing):
    _, truth = crossing
    queries = np.insert(truth.xy[0, :, ::-1], 0, 0, axis=1)
    written = msgspec.structs.replace(truth, depth=np.ones(truth.visible.shape, np.float32), queries=queries, fps=24.0)
    (tmp_path / "a.npz").write_bytes(encode_tracks(written))
    back = read_tracks(tmp_path / "a.npz")
    for name in ("xy", "visible", "depth", "objects"):
        assert (getattr(back, name) == getattr(written, name)).all(), name
    assert back.fps == 24
    stored = np.load(tmp_path / "a.npz")
    assert (stored["target_points"] == truth.xy.swapaxes(0, 1)).all() and (stored["occluded"] == ~truth.visible.T).all()
    assert (stored["query_points"] == queries).all() and "world" not in stored


def test_other_tools_tracks_are_read(tmp_path):
    xy = np.random.default_rng(0).uniform(0, 90, (5, 7, 2))
    xy[3, 2] = np.nan
    np.savez(tmp_path / "batch.npz", tracks=xy[None], visibility=np.ones((1, 5, 7), np.uint8))
    np.savez(tmp_path / "bare.npz", tracks=xy)
    for name in ("batch.npz", "bare.npz"):
        found = read_tracks(tmp_path / name)
        assert found.xy.shape == (5, 7, 2) and found.visible.dtype == bool
        assert not found.visible[3, 2] and found.visible.sum() == 34
        assert found.depth is None and found.fps is None


def test_files_that_are_no_tracks_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no arrays")
    np.savez(tmp_path / "other.npz", points=np.zeros((5, 2)))
    np.savez(tmp_path / "flat.npz", tracks=np.zeros((5, 7)))
    np.savez(tmp_path / "short.npz", tracks=np.zeros((1, 7, 2)))
    np.savez(tmp_path / "uneven.npz", tracks=np.zeros((5, 7, 2)), visibility=np.ones((5, 8)))
    np.savez(tmp_path / "deep.npz", tracks=np.zeros((5, 7, 2)), depth=np.ones((4, 7)))
    np.savez(tmp_path / "objects.npz", tracks=np.array([{}], object))
    for name, said in [
        ("none.npz", "no file of tracks"),
        ("text.npz", "cannot be read as tracks"),
        ("other.npz", "it holds points and no tracks"),
        ("flat.npz", r"its tracks are \[5, 7\]"),
        ("short.npz", r"its tracks are \[1, 7, 2\]"),
        ("uneven.npz", r"its visibility is \[5, 8\]"),
        ("deep.npz", r"its depth is \[4, 7\]"),
        ("objects.npz", "cannot be read as tracks"),
    ]:
        with pytest.raises(UsageError, match=said) as raised:
            read_tracks(tmp_path / name)
        assert raised.value.fix
