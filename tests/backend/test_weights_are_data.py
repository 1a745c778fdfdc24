"""What is read from files is data: no call in our code opens a pickle, or runs a program that came with weights."""

import ast
import json
from pathlib import Path

import pytest

from diffusion_as_shader.backend.models.weights import Place, WeightsError, stays_below, weight_files

ROOMS = ("shared", "backend", "blender_addon", "install")
RUN_PROGRAMS = {"exec", "eval", "compile", "__import__", "os.system", "os.popen", "runpy.run_path"}
OPEN_PICKLES = {"pickle", "dill", "joblib", "marshal", "shelve"}
# das models pull converts what is published in no other form; torch makes tensors and plain values of it and nothing else.
RESTRICTED = {"backend/vision/conversion.py"}


def calls(checkout: Path):
    """Each call in our code, where it stands, and what is called: 'eval', 'np.load', or '.eval' of some object."""
    for room in ROOMS:
        for file in sorted((checkout / room).rglob("*.py")):
            name = file.relative_to(checkout).as_posix()
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield name, node, _called(node.func)


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return f"{getattr(function.value, 'id', '')}.{function.attr}"
    return getattr(function, "id", "")


def said(node: ast.Call) -> dict:
    """Its arguments that are constants, by name."""
    return {one.arg: one.value.value for one in node.keywords if isinstance(one.value, ast.Constant)}


def test_no_program_comes_with_weights(checkout):
    looked_at = 0
    for file, node, called in calls(checkout):
        where, arguments = f"{file}:{node.lineno}", said(node)
        if called.endswith(".from_pretrained"):
            looked_at += 1
            automatic = called.startswith("Auto")  # takes the class that the files name
            assert arguments.get("local_files_only") is True, f"{where} may fetch something"
            assert not automatic or arguments.get("trust_remote_code") is False, f"{where} may run code of the weights"
            assert automatic or arguments.get("use_safetensors") is True, f"{where} may open a pickle"
        assert arguments.get("trust_remote_code", False) is False, f"{where} runs code of the weights"
        assert called not in RUN_PROGRAMS, f"{where} runs a program"
        assert arguments.get("allow_pickle", False) is False, f"{where} may open a pickle"
        if called == "torch.load":
            assert file in RESTRICTED and arguments.get("weights_only") is True, f"{where} opens a pickle"
    assert looked_at >= 4


def test_pickle_is_imported_by_nobody_who_opens_one(checkout):
    for room in ROOMS:
        for file in (checkout / room).rglob("*.py"):
            names = set()
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
                names |= {node.module} if isinstance(node, ast.ImportFrom) else set()
            named = names & OPEN_PICKLES
            assert not named or file.relative_to(checkout).as_posix() in RESTRICTED, f"{file} imports {named}"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "C:/x", "a\\..\\..\\x", "..", ".", "", "a//b", "a\0"])
def test_names_that_lead_out_of_a_folder(name):
    assert not stays_below(name)


@pytest.mark.parametrize("name", ["model.safetensors", "vae/config.json", "model-00001-of-00002.safetensors", "..x", "Übung.json"])
def test_names_that_do_not(name):
    assert stays_below(name)


@pytest.mark.parametrize("name", ["../../elsewhere.safetensors", "/elsewhere.safetensors", "..\\x.safetensors", 7])
def test_an_index_names_files_beside_it_only(tmp_path, name):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(WeightsError, match="no file beside it") as caught:
        weight_files(Place(tmp_path, ""), "vae", "model")
    assert caught.value.fix
