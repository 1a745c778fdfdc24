"""python3 install/build_extension.py: the extension's zip, one per range of Python and per platform, into dist/.

Blender 5.2 refuses a zip that holds a wheel for another Python, so Blender 4.5 to 5.0 (Python 3.11) and 5.1 and later
(3.13) get zips of their own. Needs an environment with Blender in it: python3 install/run.py setup.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
if not __package__:  # run as a script: its siblings are the package `install` of the root
    sys.path[0] = str(ROOT)
    __package__ = "install"

from .environments import PLANS, lock, python_in  # noqa: E402
from .errors import InstallError  # noqa: E402
from .steps import run_step, say  # noqa: E402

FILES = ("__init__.py", "__main__.py", "blender_manifest.toml", "pyproject.toml", "LICENSE", "README.md")
IN_BLENDER = {"numpy"}  # dependencies that every Blender brings
BUNDLER = "bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
# The oldest systems that Blender 4.5 runs on, in pip's words.
PLATFORMS = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "linux-arm64": ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    "windows-x64": ("win_amd64",),
    "windows-arm64": ("win_arm64",),
    "macos-x64": ("macosx_11_0_x86_64",),
    "macos-arm64": ("macosx_11_0_arm64",),
}


class Range(NamedTuple):
    """Which Blenders a Python stands for: from ``first``, and before ``end``."""

    first: str
    end: str | None = None


# 3.14 is in no Blender of blender.org, but in those that distributions build.
RANGES = {"3.11": Range("4.5.0", "5.1.0"), "3.13": Range("5.1.0"), "3.14": Range("4.5.0")}


def main(argv: list[str] | None = None) -> int:
    """Build the zips that are asked for; the exit code."""
    args = parser().parse_args(argv)
    try:
        for system in PLATFORMS if args.platform == "all" else (args.platform,):
            for python in args.python or ("3.11", "3.13"):
                say(str(build(ROOT, python, system, args.output)))
    except InstallError as error:
        print(f"Error: {error.message}\n{error.fix}".rstrip(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    whole.add_argument("--platform", choices=[*PLATFORMS, "all"], default=this_platform(), help="default: this machine's")
    whole.add_argument("--python", action="append", choices=RANGES, help="default: 3.11 and 3.13; may be repeated")
    whole.add_argument("-o", dest="output", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    return whole


def this_platform() -> str:
    """This machine in Blender's words."""
    system = {"darwin": "macos"}.get(platform.system().lower(), platform.system().lower())
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine())
    return f"{system}-{machine}"


def build(root: Path, python: str, system: str, output: Path) -> Path:
    """Stage, build and validate one zip; its path. Raises InstallError with what Blender's tool found wrong."""
    blender = blender_python(root)
    bundler = bundlers(blender)[0]
    tag = f"cp{python.replace('.', '')}-{system}"
    name = f"diffusion_as_shader-{project(root)['version']}-{tag}.zip"
    output.mkdir(parents=True, exist_ok=True)
    wheels = gather_wheels(root, blender, python, system)
    with tempfile.TemporaryDirectory(prefix="das-extension-") as temporary:
        stage, made, log = Path(temporary, "stage"), Path(temporary, name), root / ".venv" / "extension.log"
        stage_extension(root, stage, wheels, python, system)
        run_step(f"{tag}: build", [blender, bundler, "build", "--source-dir", stage, "--output-filepath", made], log, stage)
        run_step(f"{tag}: validate", [blender, bundler, "validate", "--valid-tags", tags_of(bundler), made], log, stage)
        partial = output / f"{name}.partial"
        shutil.copyfile(made, partial)
        partial.replace(output / name)
    return output / name


def blender_python(root: Path) -> Path:
    """A Python that has Blender's own building tool: that of the newest Blender here."""
    for plan in reversed(PLANS):
        python = python_in(root / ".venv" / plan.name)
        if plan.blender and python.exists() and bundlers(python):
            return python
    raise InstallError("No environment here holds a Blender.", "Run python3 install/run.py setup first.")


def bundlers(python: Path) -> list[Path]:
    """Blender's tool in an environment, which runs as a plain script."""
    environment = python.parents[1]
    return [*environment.glob(f"lib/python*/site-packages/{BUNDLER}"), *environment.glob(f"Lib/site-packages/{BUNDLER}")]


def tags_of(bundler: Path) -> Path:
    """Blender's own list of tags, which its tool looks at only when told."""
    return bundler.parents[3] / "modules" / "_bpy_internal" / "extensions" / "tags.py"


def project(root: Path) -> dict:
    """The table [project] of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def packages(root: Path) -> list[str]:
    """The root's folders that are packages, from the list in pyproject.toml."""
    content = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    names = [name.split(".") for name in content["tool"]["setuptools"]["packages"]]
    return sorted({name[1] for name in names if len(name) > 1})


def gather_wheels(root: Path, python: Path, version: str, system: str) -> list[Path]:
    """The wheels of our dependencies for one Python and platform, downloaded once per list of requirements."""
    requirements = bundled(root)
    state = hashlib.sha256(" ".join(requirements).encode()).hexdigest()[:12]
    folder = root / ".venv" / "wheels" / f"{state}-{version}-{system}"
    with lock(root / ".venv"):
        if not folder.is_dir():
            folder.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="partial-", dir=folder.parent) as temporary:
                download(python, requirements, version, system, Path(temporary, "wheels"), root / ".venv" / "extension.log")
                Path(temporary, "wheels").replace(folder)
    return sorted(folder.glob("*.whl"))


def bundled(root: Path) -> list[str]:
    """Requirements that go into the zip as wheels."""
    return [one for one in project(root)["dependencies"] if one.split(">")[0] not in IN_BLENDER]


def download(python: Path, requirements: list[str], version: str, system: str, folder: Path, log: Path) -> None:
    """Let pip fetch wheels, and wheels alone."""
    platforms = [word for tag in PLATFORMS[system] for word in ("--platform", tag)]
    command = [
        python, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
        "--implementation", "cp", "--python-version", version, *platforms, "--dest", folder, *requirements,
    ]  # fmt: skip
    run_step(f"wheels for Python {version} on {system}", command, log, folder.parent)


def stage_extension(root: Path, stage: Path, wheels: list[Path], python: str, system: str) -> None:
    """Copy what belongs into the zip, and nothing else, to a new folder."""
    stage.mkdir()
    for name in FILES:
        shutil.copyfile(root / name, stage / name)
    for name in packages(root):
        shutil.copytree(root / name, stage / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
    (stage / "wheels").mkdir()
    for wheel in wheels:
        shutil.copyfile(wheel, stage / "wheels" / wheel.name)
    manifest = stage / "blender_manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(fill_manifest(text, wheels, python, system), encoding="utf-8")


def fill_manifest(text: str, wheels: list[Path], python: str, system: str) -> str:
    """The manifest with wheels, platform and Blender versions in place of its line blender_version_min."""
    blenders = RANGES[python]
    lines = [f'blender_version_min = "{blenders.first}"']
    if blenders.end:
        lines.append(f'blender_version_max = "{blenders.end}"')
    lines.append(f'platforms = ["{system}"]')
    lines.append("wheels = [" + ", ".join(f'"./wheels/{wheel.name}"' for wheel in wheels) + "]")
    head, line, rest = text.partition('blender_version_min = "4.5.0"')
    if not line:
        raise InstallError("blender_manifest.toml does not say blender_version_min = \"4.5.0\".", "Write that line again.")
    return head + "\n".join(lines) + rest


if __name__ == "__main__":
    sys.exit(main())
