"""What only its user may read is never readable by others, and on Windows has an access list before it has content."""

import os
import stat
import sys

import pytest

from diffusion_as_shader.shared import private_file
from diffusion_as_shader.shared.private_file import NotPrivate, check_private, write_private

posix = pytest.mark.skipif(sys.platform == "win32", reason="stands in for Windows on other systems")

# Says who the user is; notes how it was asked, and how long the file was then.
STAND_INS = {
    "whoami": 'echo "HOME\\\\somebody"',
    "icacls": 'echo "$@ has $(wc -c < "$1") bytes" >> "$(dirname "$0")/asked.txt"; exit ${ICACLS_CODE:-0}',
}


@pytest.fixture
def windows(tmp_path, monkeypatch):
    """As on Windows, with programs of the same names."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, line in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(private_file, "ON_WINDOWS", True)
    return folder / "asked.txt"


def test_it_is_written_whole_and_replaces_what_was_there(tmp_path):
    for content in (b"old", b"new " * 1000):
        write_private(content, tmp_path / "deep" / "file")
        assert (tmp_path / "deep" / "file").read_bytes() == content
        check_private(tmp_path / "deep" / "file")
    assert len(list((tmp_path / "deep").iterdir())) == 1


@posix
def test_a_link_that_waits_for_it_is_not_followed(tmp_path):
    (tmp_path / f"file.{os.getpid()}.partial").symlink_to(tmp_path / "elsewhere")
    write_private(b"secret", tmp_path / "file")
    assert not (tmp_path / "elsewhere").exists()
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


@posix
def test_on_windows_the_access_list_comes_before_the_content(tmp_path, windows):
    write_private(b"secret", tmp_path / "file")
    partial = tmp_path / f"file.{os.getpid()}.partial"
    assert windows.read_text() == f"{partial} /inheritance:r /grant:r HOME\\somebody:F has 0 bytes\n"
    assert (tmp_path / "file").read_bytes() == b"secret"


@posix
def test_on_windows_what_cannot_be_restricted_is_not_written(tmp_path, windows, monkeypatch):
    monkeypatch.setenv("ICACLS_CODE", "5")
    with pytest.raises(NotPrivate, match="cannot be made private") as caught:
        write_private(b"secret", tmp_path / "file")
    assert caught.value.fix and [entry.name for entry in tmp_path.iterdir()] == ["bin"]
