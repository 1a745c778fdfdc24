"""Query points: grids on pixel centres, files in every form, and what is said of those that are no points."""

import json

import msgspec
import numpy as np
import pytest

from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.points import query_points
from diffusion_as_shader.shared.request import GenerationRequest

REQUEST = GenerationRequest(width=96, height=64, frames=9)


def points(text):
    return query_points(msgspec.structs.replace(REQUEST, points=str(text)))


def test_a_grid_lies_evenly_on_pixel_centres():
    grid = points("6x4")
    assert grid.shape == (24, 3) and not grid[:, 0].any()
    assert np.unique(grid[:, 2]).tolist() == [8.5, 24.5, 40.5, 56.5, 72.5, 88.5]
    assert np.unique(grid[:, 1]).tolist() == [8.5, 24.5, 40.5, 56.5]
    assert len(np.unique(points("96x64"), axis=0)) == 96 * 64


@pytest.mark.parametrize(("text", "count"), [("24", 24), ("1", 1), ("400", 408)])
def test_a_number_is_a_grid_of_square_cells(text, count):
    assert len(points(text)) == count


ROWS = [[3.25, 4.5, 0], [95.9, 63.9, 8]]
QUERIES = [[0, 4.5, 3.25], [8, 63.9, 95.9]]


def write(file, rows):
    match file.suffix:
        case ".csv":
            file.write_text("\n".join(",".join(str(number) for number in row) for row in rows))
        case ".json":
            file.write_text(json.dumps(rows))
        case ".npz":
            np.savez(file, points=np.array(rows))


@pytest.mark.parametrize("kind", ["csv", "json", "npz"])
def test_files_of_every_form(tmp_path, kind):
    write(tmp_path / f"a.{kind}", ROWS)
    assert points(tmp_path / f"a.{kind}").tolist() == QUERIES
    write(tmp_path / f"b.{kind}", [row[:2] for row in ROWS])
    assert points(tmp_path / f"b.{kind}").tolist() == [[0, *row[1:]] for row in QUERIES]


def test_a_line_of_names_and_our_own_tracks(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeffx,y,t\n3.25,4.5,0\n9.59e1,63.9,8\n\n")
    np.savez(tmp_path / "tracks.npz", query_points=np.array(QUERIES), tracks=np.zeros(3))
    assert points(tmp_path / "a.csv").tolist() == points(tmp_path / "tracks.npz").tolist() == QUERIES


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "1,2\n3", "cannot be read as points"),
        ("a.csv", "", "holds no rows"),
        ("a.csv", "1,2\nthree,4", "cannot be read as points"),
        ("a.json", '{"x": 3}', "cannot be read as points"),
        ("a.json", "[1, 2]", "holds no rows"),
        ("a.json", "[", "cannot be read as points"),
        ("a.npz", "PK", "cannot be read as points"),
        ("a.txt", "1,2", "is no grid and no file"),
        ("a.csv", "96,2", "Point 1 .* is not in the video"),
        ("a.csv", "2,2\n-1,2", "Point 2 .* is not in the video"),
        ("a.csv", "2,2,9", "is not in the video"),
        ("a.csv", "2,2,0.5", "is not in the video"),
        ("a.csv", "nan,2", "is not in the video"),
    ],
)
def test_what_is_no_points_is_said(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said) as caught:
        points(tmp_path / name)
    assert caught.value.fix


@pytest.mark.parametrize("text", ["97x4", "0x4", "0", "7000"])
def test_a_grid_that_does_not_fit_is_said(text):
    with pytest.raises(UsageError, match="does not fit 96x64"):
        points(text)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(UsageError, match="There is no file of points"):
        points(tmp_path / "none.csv")
