"""Batch files: what they become, and each wrong one with its sentence and line."""

import ast
import os
from pathlib import Path

import pytest

import diffusion_as_shader
from diffusion_as_shader.shared import shots
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.messages import EngineInfo
from diffusion_as_shader.shared.shot_fields import BadShots


@pytest.fixture
def folder(tmp_path) -> Path:
    """Scenes in a folder with an awkward name; nothing here opens them."""
    for name in ("a.blend", "b ü.blend", "other/c.blend", "video.mp4", "look.png"):
        file = tmp_path / "Szenen für heute" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return tmp_path / "Szenen für heute"


def read(folder: Path, text: str):
    file = folder / "shots.toml"
    file.write_text(text, encoding="utf-8")
    return shots.read_shots(file)


def errors_of(folder: Path, text: str) -> list[str]:
    """Message and fix of each error, with the line in place of the file's whole name."""
    with pytest.raises(UsageError) as caught:
        read(folder, text)
    errors = caught.value.errors if isinstance(caught.value, BadShots) else [caught.value]
    return [str(error).replace(f"{folder / 'shots.toml'}:", "").replace(str(folder) + os.sep, "") for error in errors]


def test_defaults_globs_and_overrides(folder):
    takes = read(
        folder,
        """
[defaults]
size = "240x160"
engine = "das"
steps = 20
[defaults.repaint]
model = "sdxl"
strength = 0.5

[[shot]]
scene = "*.blend"
range = "-5:20"
frames = 17

[[shot]]
scene = "other/c.blend"
name = "act1/{scene}"
engine = "projection"
first_frame = "look.png"
camera = "Camera.001"
[shot.repaint]
strength = 0.7
""",
    )
    assert [take.name for take in takes] == ["a", "b ü", "act1/c"]
    first, _, last = takes
    assert first.capture.words[0] == "track" and first.capture.words[1] == str(folder / "a.blend")
    assert set(first.capture.words[2:]) == {"--size=240x160", "--frames=-5.0:20.0", "--count=17"}
    assert {"--engine=das", "--steps=20", "--repaint=sdxl", "--strength=0.5"} <= set(first.words)
    assert (first.request.frames, first.request.width, first.request.steps, first.request.start) == (17, 240, 20, -5.0)
    assert {f"--first-frame={folder / 'look.png'}", "--camera=Camera.001"} <= set(last.capture.words)
    assert {"--engine=projection", "--repaint=sdxl", "--strength=0.7"} <= set(last.words)
    assert last.capture.files == (str(folder / "other" / "c.blend"), str(folder / "look.png"))


def test_seeds_and_variations_share_a_capture(folder):
    takes = read(
        folder,
        """
[[shot]]
scene = "a.blend"
seed = 7
seeds = 2
[[shot.variations]]
name = "day"
prompt = "a day"
[[shot.variations]]
name = "wide"
size = "480x320"
""",
    )
    assert [take.name for take in takes] == ["a-day-s7", "a-day-s8", "a-wide-s7", "a-wide-s8"]
    assert takes[0].capture == takes[1].capture != takes[2].capture
    assert [take.request.seed for take in takes] == [7, 8, 7, 8]
    assert "--prompt=a day" in takes[1].words and "--seed=8" in takes[1].words


def test_tasks_of_pictures_and_best_of(folder):
    takes = read(
        folder,
        """
[[shot]]
source = "video.mp4"
task = "motion_transfer"
first_frame = "look.png"
transfer = { grid = "20x20" }
seeds = [3]
best_of = 4
""",
    )
    assert takes[0].capture.words[0] == "motion-transfer" and not takes[0].capture.is_scene
    assert {"--grid=20x20", "--tracker=dis"} <= set(takes[0].capture.words)
    assert takes[0].best_of_words == ["--best-of=4"] and takes[0].others == ["video-seed-4", "video-seed-5", "video-seed-6"]


SHOT = '[[shot]]\nscene = "a.blend"\n'
WRONG = {
    "": ["1: There is no shot in this file. Add a [[shot]] with a scene."],
    "[[shot]\n": ["1: This is no TOML: expected ']]' at the end of an array declaration. Mend the line; docs/batch.md has an example."],
    '[shots]\nscene = "a.blend"\n': [
        "1: There is no shot in this file. Add a [[shot]] with a scene.",
        "1: There is no table 'shots'. Did you mean shot?",
    ],
    '[shot]\nscene = "a.blend"\n': ["1: shot is no array of tables. Write [[shot]] above each shot, in double brackets."],
    SHOT + 'promt = "x"\n': ["3: There is no field 'promt'. Did you mean prompt?"],
    SHOT + "count = 17\n": ["3: There is no field 'count'. Did you mean frames?"],
    SHOT + 'xyz = "x"\n': ["3: There is no field 'xyz'. docs/batch.md names all."],
    SHOT + 'engine = "projecton"\n': ["3: There is no engine 'projecton'. Did you mean projection? Choose of projection, das."],
    SHOT + 'steps = "many"\n': ["3: steps cannot be 'many'. Give a whole number."],
    SHOT + "prompt = 3\n": ["3: prompt cannot be 3. Give a text in quotes."],
    SHOT + 'quality = "finl"\n': ["3: 'finl' is no quality. Did you mean final? Choose of draft, balanced, final."],
    SHOT + "[shot.repaint]\nmodel = 'sdxl'\nstrength = 3.0\n": ["5: A repaint strength of 3 is not possible. Choose above 0 and up to 1, for example 0.8."],
    SHOT + 'range = "49:1"\n': ["3: The frame range 49:1 is empty or reversed. Give the first frame before the last, for example 1:49."],
    SHOT + 'range = "all"\n': ["3: 'all' is no frame range. Give it as A:B, for example --frames 1:49."],
    SHOT + "start = 3\n": ["3: start is given without end. Give both, or range."],
    SHOT + "frames = 10\n": ["3: A generation of 10 frames is not possible. The frame count must be 8N+1 between 9 and 1025, for example 9 or 49."],
    SHOT + 'size = "100x100"\n': ["3: The size 100x100 is not possible. Width and height must be multiples of 16 between 16 and 4096, for example 720x480."],
    SHOT + 'first_frame = "no.png"\n': ["3: There is no image no.png. Give --first-frame render, workbench, cycles, cycles:SAMPLES or an image file."],
    SHOT + 'write = ["dpth"]\n': [
        "3: --write knows no 'dpth'. Did you mean depth? Choose of video, coordinates, depth, mattes, flow, tracks."
    ],
    SHOT + "seeds = 0\n": ["3: seeds cannot be 0. Give how many, 1 to 1000, or a list of different whole numbers from 0 on."],
    SHOT + "best_of = 0\n": ["3: best_of cannot be 0. Give how many seeds to choose from, 1 to 1000, for example 4."],
    SHOT + 'variations = "day"\n': ["3: variations cannot be 'day'. Give each as a table [[shot.variations]]."],
    SHOT + 'name = "../out"\n': ["3: '../out' cannot be a folder's name. Give another name; / makes folders in folders."],
    SHOT + 'name = "captures"\n': ["3: 'captures' cannot be a folder's name. Give another name; / makes folders in folders."],
    SHOT + 'name = "{sed}"\n': ["1: The name has no {sed}. Did you mean seed?"],
    SHOT + "depth = { source = 'moge' }\n": [
        "3: depth.source is no setting of mesh_to_video. Leave it away, or set task to camera_control or object_manipulation or motion_transfer."
    ],
    SHOT + 'source = "video.mp4"\n': ["3: Both scene and source are given. Give one of them."],
    '[[shot]]\nprompt = "x"\n': ['1: The shot has neither scene nor source. Give it a .blend file, for example scene = "shot.blend".'],
    '[[shot]]\nscene = "gone.blend"\n': ["2: There is no file gone.blend. Check the path of the scene; it counts from the batch file's folder."],
    '[[shot]]\nscene = "gone/*.blend"\n': ["2: No file matches gone/*.blend. Check the path of the scene; it counts from the batch file's folder."],
    '[[shot]]\nscene = "look.png"\n': ["2: look.png is no .blend file. Give pictures and videos as source, with the task that takes them."],
    '[[shot]]\nsource = "video.mp4"\n': [
        "2: Mesh to video takes a scene, not a picture or video. Set task to camera_control, object_manipulation, motion_transfer, or give scene."
    ],
    SHOT + SHOT: ["3: This shot writes the folder a, and so does the shot of line 1. Give one of them another name."],
    SHOT + SHOT + 'name = "A"\n': ["3: This shot writes the folder A, and so does the shot of line 1. Give one of them another name."],
    SHOT + SHOT + 'name = "a/b"\n': ["3: This shot writes the folder a/b, and so does the shot of line 1. Give one of them another name."],
    SHOT + 'name = "x"\nseeds = 2\n[shot.camera]\npath = "no.json"\n': [
        "6: There is no file no.json. Check the path; it counts from the batch file's folder.",
        "6: camera.path is no setting of mesh_to_video. Leave it away, or set task to camera_control or object_manipulation.",
    ],
    '[[shot]]\nscene = "*.blend"\nname = "x"\n': [
        "1: Two takes of this shot write the folder x. Put {scene}, {variation} or {seed} into its name."
    ],
    '[defaults]\nstps = 3\n[[shot]]\nscene = "gone.blend"\nengine = 3\n': [
        "2: There is no field 'stps'. Did you mean steps?",
        "4: There is no file gone.blend. Check the path of the scene; it counts from the batch file's folder.",
        "5: engine cannot be 3. Give a text in quotes.",
    ],
}


@pytest.mark.parametrize("text", WRONG)
def test_each_wrong_file_with_its_sentences(folder, text):
    assert errors_of(folder, text) == WRONG[text]


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.toml").write_bytes("prompt = 'Ü'".encode("latin-1"))
    for name, sentence in {"none.toml": "There is no batch file", "latin.toml": "is no text in UTF-8", "": "cannot be read"}.items():
        with pytest.raises(UsageError, match=sentence):
            shots.read_shots(tmp_path / name)


def test_engines_are_those_of_the_backend_that_does_it(folder):
    takes = read(folder, SHOT + 'engine = "das"\nframes = 17\nsize = "240x160"\n')
    file = folder / "shots.toml"
    shots.check_engines(file, takes, [EngineInfo(name="das")])
    das = {"name": "das"}
    for engine, sentence in (
        (EngineInfo(name="projection"), "The backend has no engine 'das'. Choose of projection."),
        (EngineInfo(**das, available=False, reason="No weights.", fix="Pull them."), "The engine das cannot be used: No weights. Pull them."),
        (EngineInfo(**das, frames=[49]), "The engine das cannot make 17 frames. Set frames to 49."),
        (EngineInfo(**das, sizes=[(720, 480)]), "The engine das cannot make 240x160. Set size to 720x480."),
    ):
        with pytest.raises(BadShots) as caught:
            shots.check_engines(file, takes, [engine])
        assert str(caught.value) == f"{file}:1: {sentence}"


def test_weights_of_its_own_are_the_engines_to_judge(folder):
    (folder / "own").mkdir()
    takes = read(folder, SHOT + 'engine = "das"\nweights = "own"\nframes = 17\nsize = "240x160"\n')
    unfit = EngineInfo(name="das", available=False, reason="No weights.", frames=[49], sizes=[(720, 480)])
    shots.check_engines(folder / "shots.toml", takes, [unfit])


def test_engines_known_here_are_the_backends():
    tree = ast.parse((Path(diffusion_as_shader.__file__).parent / "backend" / "engines" / "__init__.py").read_text(encoding="utf-8"))
    table = next(node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "TABLE")
    assert tuple(ast.literal_eval(table)) == shots.ENGINES
