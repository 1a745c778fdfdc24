"""The room of the window tests: who gets one, and what is never touched. Making one takes minutes and is `test --gui`'s."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffusion_as_shader.install import gui, run as script
from diffusion_as_shader.install.environments import Made
from diffusion_as_shader.install.errors import InstallError


def room_with_tools(folder: Path, stamp: str = "") -> Path:
    """A room as a finished set-up leaves it, `import` being a link that leads nowhere from outside."""
    tools = folder / "usr" / "bin"
    tools.mkdir(parents=True)
    for name in gui.TOOLS:
        (tools / name).symlink_to("/etc/alternatives/of the room")
    if stamp:
        (folder / gui.STAMP).write_text(stamp)
    return folder


MADE = json.dumps(gui.READY)
OLD = json.dumps(gui.READY | {"packages": ["blender"]})


@pytest.mark.parametrize("stamp, ready", [("", True), (MADE, True), (OLD, False), ('{"state": "making"}', False), ('{"sta', False)])
def test_a_room_is_used_again_if_it_was_finished(tmp_path, stamp, ready):
    assert gui.is_ready(room_with_tools(tmp_path / "room", stamp)) == ready
    assert not gui.is_ready(tmp_path / "none")


@pytest.mark.parametrize("works", [True, False])
def test_a_room_whose_blender_does_not_start_any_more_is_made_anew(tmp_path, monkeypatch, works):
    made = []
    monkeypatch.setattr(gui, "APART", ("sh", "-c", f"exit {0 if works else 1}", "sh"))
    monkeypatch.setattr(gui, "refuse_others", lambda: None)
    monkeypatch.setattr(gui, "make_room", made.append)
    room = room_with_tools(tmp_path / "cache" / "room", MADE)
    assert gui.ready_room(room) == room
    assert made == ([] if works else [room])


def test_a_set_up_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(gui, "debian_mirror", lambda: "file:///nowhere")
    monkeypatch.setattr(gui, "APART", ("sh", "-c", "echo waits for the network; exec sleep 300", "sh"))
    monkeypatch.setattr(gui, "SECONDS_TO_MAKE", 0.5)
    monkeypatch.setattr(gui.shutil, "which", lambda name: name)
    with pytest.raises(gui.CannotBeHere, match="(?s)did not end.*waits for the network"):
        gui.make_room(tmp_path / "window")


def test_a_run_that_hangs_is_ended_and_names_its_last_picture(tmp_path, capsys):
    pictures, folder = tmp_path / "build" / "window", tmp_path / "run"
    pictures.mkdir(parents=True)
    folder.mkdir()
    (pictures / "07-sequencer.png").touch()
    command = [sys.executable, "-c", "import time; time.sleep(300)"]
    run = gui.WindowRun("window", folder, command, dict(os.environ), tmp_path, patience=0, seconds=0.5)
    run.follow()
    assert run.counts().failed == 1
    assert "is stopped; the last picture is" in (said := capsys.readouterr().out) and "07-sequencer.png" in said


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "photo.png").write_text("mine")
    with pytest.raises(InstallError, match="was not made by this script"):
        gui.make_room(tmp_path)
    assert (tmp_path / "photo.png").read_text() == "mine"


def test_a_set_up_that_fails_is_told_and_is_made_anew_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setattr(gui, "debian_mirror", lambda: "file:///nowhere")
    monkeypatch.setattr(gui, "APART", ("sh", "-c", "echo no network; exit 7", "sh"))
    monkeypatch.setattr(gui.shutil, "which", lambda name: name)
    room = tmp_path / "cache" / "window"
    for _ in range(2):
        with pytest.raises(gui.CannotBeHere, match="(?s)could not be made.*code 7.*no network"):
            gui.make_room(room)
        assert not gui.is_ready(room)
        assert not (room / "half-made").exists()
        (room / "half-made").touch()


@pytest.mark.parametrize(
    "name, text",
    [
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://one.example/debian\nSuites: bookworm\n"),
        ("sources.list", "# a comment\ndeb [signed-by=/a/key] http://one.example/debian bookworm main\n"),
        ("sources.list", "deb http://security.example/debian-security stable main\ndeb http://one.example/debian stable main\n"),
    ],
)
def test_the_mirror_is_this_machines_own(tmp_path, name, text):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    assert gui.debian_mirror(tmp_path) == "http://one.example/debian"


def test_a_machine_without_a_mirror_is_told(tmp_path):
    with pytest.raises(gui.CannotBeHere, match="no mirror"):
        gui.debian_mirror(tmp_path)


def test_what_a_run_reads_of_this_machine_holds_the_python_and_the_checkout(tmp_path):
    *pythons, checkout = gui.lent(tmp_path, Path(sys.executable))
    assert checkout == tmp_path
    assert any(Path(sys.executable).resolve().is_relative_to(one) for one in pythons)
    assert Path("/usr") not in pythons


@pytest.mark.parametrize("words, code, tested", [(["--gui"], 0, []), (["--with-gui"], 3, ["backend"])])
def test_where_there_can_be_no_window_that_is_said_and_left_out(monkeypatch, capsys, words, code, tested):
    def refuse(room: Path) -> Path:
        raise gui.CannotBeHere("it needs root on Linux.")

    ran = []
    monkeypatch.setattr(script, "ready_room", refuse)
    made = [Made("backend", "backend", Path(sys.executable), None)]
    monkeypatch.setattr(script, "make_environments", lambda root, plans, test: (made, []))
    monkeypatch.setattr(script, "run_tests", lambda root, made, *rest: ran.extend(one.name for one in made) or 3)
    assert script.main(["test", *words]) == code
    assert ran == tested
    assert "Left out window: it needs root on Linux." in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux")
def test_what_a_run_mounts_and_starts_ends_with_it(tmp_path):
    if subprocess.run([*gui.APART, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], capture_output=True).returncode:
        pytest.skip("this machine does not let root mount anything")
    words = [*gui.APART, "sh", "-c", "mount -t tmpfs tmpfs \"$1\"; touch \"$1/inside\"; sleep 100 & echo $!; sleep 100", "sh", tmp_path]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline().strip().isdigit()
    assert not list(tmp_path.iterdir())
    run.kill()
    assert run.stdout.read() == ""  # returns once all that could write is gone
    run.wait(10)
