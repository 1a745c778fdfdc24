"""Weights from somewhere else cannot run a program: not by a pickle, not by code that comes with them."""

import json
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from diffusion_as_shader.backend.models import weights
from diffusion_as_shader.backend.models.checkpoint import Checkpoint
from diffusion_as_shader.backend.models.tiny import write_tiny_checkpoint
from diffusion_as_shader.backend.models.weights import WeightsError

WEIGHTS = {
    "transformer": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "given"))


@pytest.fixture
def owned(tmp_path) -> Path:
    """What a program of theirs would make."""
    return tmp_path / "owned"


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def test_the_pickle_of_these_tests_is_harmful(owned, tmp_path):
    pickle.loads(pickle.dumps(Touch(owned)))
    assert owned.exists()


@pytest.mark.parametrize("component", WEIGHTS)
@pytest.mark.parametrize("suffix", weights.PICKLES)
def test_a_pickle_is_refused_and_not_opened(folder, owned, component, suffix):
    safe = folder / component / WEIGHTS[component]
    for name in (safe.with_suffix(suffix), folder / component / f"pytorch_model{suffix}"):
        name.write_bytes(pickle.dumps(Touch(owned)))
    safe.unlink()
    with pytest.raises(WeightsError, match="can run any program"):
        getattr(Checkpoint(folder), component)()
    assert not owned.exists()


@pytest.mark.parametrize("component", WEIGHTS)
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "as torch writes it"])
def test_a_pickle_by_the_name_of_safetensors_is_refused(folder, owned, component, zipped):
    file = folder / component / WEIGHTS[component]
    if zipped:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Touch(owned)))
            archive.writestr("archive/version", "3")
    else:
        file.write_bytes(pickle.dumps(Touch(owned)))
    with pytest.raises(WeightsError):
        getattr(Checkpoint(folder), component)()
    assert not owned.exists()


@pytest.mark.parametrize("component", [*WEIGHTS, "tokenizer"])
def test_code_that_comes_with_weights_is_not_run(folder, owned, component, monkeypatch):
    """Where a class of theirs is asked for, ours is taken or none; nobody is asked on the terminal either."""
    for place in (folder, folder / component):
        (place / "theirs.py").write_text(f"import os\nos.mkdir({str(owned)!r})\nclass Theirs: pass\n")
    name = "tokenizer_config.json" if component == "tokenizer" else "config.json"
    config = json.loads((folder / component / name).read_text())
    names = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM")
    auto = {each: "theirs.Theirs" for each in names} | {"AutoTokenizer": ["theirs.Theirs", "theirs.Theirs"]}
    (folder / component / name).write_text(json.dumps(config | {"auto_map": auto, "trust_remote_code": True}))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question on the terminal"))
    try:
        getattr(Checkpoint(folder), component)()
    except WeightsError:
        pass  # to refuse them is as good
    assert not owned.exists() and "theirs" not in sys.modules


def test_a_tokenizer_of_theirs_alone_is_refused(folder, owned, monkeypatch):
    (folder / "tokenizer" / "theirs.py").write_text(f"import os\nos.mkdir({str(owned)!r})\nclass Theirs: pass\n")
    config = {"tokenizer_class": "Theirs", "auto_map": {"AutoTokenizer": ["theirs.Theirs", None]}}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question on the terminal"))
    with pytest.raises(WeightsError) as caught:
        Checkpoint(folder).tokenizer()
    assert caught.value.fix and not owned.exists()
