"""What users get is what stands in the tree: the zip, the wheel, and no file too few or too many."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

pytestmark = pytest.mark.backend

OUTSIDE = {"tests", "docs", "build", "dist", "demo"}  # of the root; and all that begins with a dot


def python_files(root: Path) -> set[str]:
    """The .py files that users should get, as paths from the root."""
    paths = (path.relative_to(root) for path in walk(root))
    return {path.as_posix() for path in paths if path.suffix == ".py"}


def walk(root: Path):
    """All files below the root but for those of folders that stay at home."""
    for path in root.iterdir():
        if path.name.startswith(".") or path.name in OUTSIDE or path.name.endswith(".egg-info"):
            continue
        yield from path.rglob("*") if path.is_dir() else [path]


def names(archive: Path, inside: str = "") -> list[str]:
    """Names in a zip, below a folder of it."""
    with zipfile.ZipFile(archive) as file:
        return [name.removeprefix(inside) for name in file.namelist() if name.startswith(inside)]


@pytest.fixture(scope="module")
def extension(checkout, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    return build([checkout / "install" / "build_extension.py", "--python", "3.13", "-o", folder], folder, "*.zip")


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> Path:
    """Made from a copy: setuptools would leave its build folder in the checkout, and reads an old one there."""
    copy, folder = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for path in walk(checkout):
        if path.is_file():
            target = copy / path.relative_to(checkout)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return build(["-m", "pip", "wheel", "--no-deps", copy, "-w", folder], folder, "*.whl")


def build(command: list, folder: Path, pattern: str) -> Path:
    """Run a command of Python; the one file that it made."""
    run = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr
    (made,) = folder.glob(pattern)
    return made


def test_zip_holds_the_python_files_of_the_tree(checkout, extension):
    assert {name for name in names(extension) if name.endswith(".py")} == python_files(checkout)


def test_wheel_holds_the_python_files_of_the_tree(checkout, wheel):
    inside = {name for name in names(wheel, "diffusion_as_shader/") if name.endswith(".py")}
    assert inside == python_files(checkout), "name every package in pyproject.toml"


def test_both_hold_the_data_files(extension, wheel):
    script = "shared/farm/diffusion_as_shader.js"
    assert script in names(extension) and script in names(wheel, "diffusion_as_shader/")


def test_zip_holds_no_more_than_the_extension(extension):
    tops = {PurePosixPath(name).parts[0] for name in names(extension)}
    assert tops <= {
        "__init__.py", "__main__.py", "blender_manifest.toml", "pyproject.toml", "LICENSE", "README.md",
        "backend", "blender_addon", "install", "shared", "wheels",
    }  # fmt: skip
    assert {"backend", "install"} <= tops


def test_zip_says_which_blenders_its_wheels_are_for(extension):
    with zipfile.ZipFile(extension) as file:
        manifest = tomllib.loads(file.read("blender_manifest.toml").decode())
    inside = {f"./{name}" for name in names(extension) if name.startswith("wheels/") and name.endswith(".whl")}
    assert set(manifest["wheels"]) == inside and len(inside) == 4
    assert manifest["blender_version_min"] == "5.1.0" and "blender_version_max" not in manifest
    assert manifest["permissions"].keys() == {"network", "files"}


def test_versions_agree(checkout):
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    manifest = tomllib.loads((checkout / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert project["version"] == manifest["version"]
    assert manifest["license"] == [f"SPDX:{project['license']}"]
