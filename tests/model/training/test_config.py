"""A configuration's file: what it says, what a list in it means, and the sentence for each thing that is wrong."""

import pytest

from diffusion_as_shader.backend.training.config import read_config
from diffusion_as_shader.shared.errors import UsageError


@pytest.fixture
def written(tmp_path):
    def write(text: str, *changes: str):
        file = tmp_path / "Lauf für Übung.toml"
        file.write_text('data = "clips"\noutput = "run"\n' + text, encoding="utf-8")
        return read_config(file, list(changes))

    return write


def test_paths_are_of_the_file_and_changes_win(written, tmp_path):
    (tmp_path / "own weights").mkdir()
    [(name, config)] = written('weights = "own weights"\nsteps = 10\nbetas = [0.8, 0.9]', "steps=20", "method=lora")
    assert name == "" and config.data == str(tmp_path / "clips") and config.weights == str(tmp_path / "own weights")
    assert (config.steps, config.method, config.betas) == (20, "lora", (0.8, 0.9))


def test_weights_of_the_hub_stay_as_they_are(written):
    assert written('weights = "owner/name"')[0].config.weights == "owner/name"


def test_a_list_makes_a_run_of_each_value(written, tmp_path):
    runs = written("learning_rate = [1e-4, 1e-3]\nsteps = [5, 6]")
    assert [name for name, _ in runs] == [f"learning_rate={rate},steps={steps}" for rate in ("0.0001", "0.001") for steps in (5, 6)]
    assert runs[3].config.learning_rate == 1e-3 and runs[3].config.output == str(tmp_path / "run" / "learning_rate=0.001,steps=6")


def test_several_pairs_are_swept_and_one_is_a_value(written):
    assert len(written("betas = [[0.9, 0.95], [0.8, 0.9]]")) == 2
    assert len(written('buckets = ["96x64x17", "64x96x17"]')) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rat = 1", "there is no setting learning_rat. Did you mean learning_rate?"),
        ("steps = 'many'", "steps is wrong: Expected `int`, got `str`."),
        ("steps = 0", "steps is 0. Give at least 1."),
        ("steps = []", "steps is an empty list."),
        ("method = 'all'", "method is wrong"),
        ("drop_conditioning = 2.0", "drop_conditioning is 2. Give a share from 0 to 1."),
        ("buckets = ['720x480']", "'720x480' is no bucket."),
        ("buckets = ['720x480x48']", "Sides must be multiples of 16, and frames 8N+1"),
        ("steps = ", "is no TOML"),
    ],
)
def test_what_is_wrong_is_said(written, text, said):
    with pytest.raises(UsageError) as raised:
        written(text)
    assert said in str(raised.value) and raised.value.exit_code == 2


def test_a_missing_file_and_a_missing_setting(tmp_path):
    with pytest.raises(UsageError, match="There is no file"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "half.toml").write_text('data = "x"')
    with pytest.raises(UsageError, match='does not say output. Add a line output = "FOLDER"'):
        read_config(tmp_path / "half.toml")
