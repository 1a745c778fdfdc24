"""The zip that users get, in Blender's own hands: install, enable, use, disable, remove."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def archive(checkout, tmp_path_factory) -> Path:
    """The zip for this Blender's Python, made and validated by the script."""
    folder = tmp_path_factory.mktemp("dist")
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    command = [sys.executable, checkout / "install" / "build_extension.py", "--python", python, "-o", folder]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr
    (made,) = folder.glob("*.zip")
    return made


def blender_session(archive: Path, resources: Path) -> dict:
    """What a new Blender with an empty user folder found while it had the extension."""
    script = Path(__file__).with_name("extension_session.py")
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(resources)}
    run = subprocess.run(
        [sys.executable, script, archive], env=environment, capture_output=True, text=True, timeout=120
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith("FOUND ")]
    assert len(lines) == 1 and run.returncode == 0, run.stdout + run.stderr
    return json.loads(lines[0].removeprefix("FOUND "))


def test_install_enable_use_disable_remove(archive, tmp_path):
    resources = tmp_path / "Benutzer Ümläut"
    found = blender_session(archive, resources)
    assert found["enabled"]
    assert found["panels"], "no panel in the tab DaS"
    assert Path(found["folder"]).is_relative_to(resources)
    assert found["installer"] == "result"
    assert set(found["wheels"]) == {"msgspec", "zmq", "platformdirs"}
    for name, file in found["wheels"].items():
        assert Path(file).is_relative_to(resources), f"{name} came from {file}"
    assert found["disabled"]
    assert found["removed"]
