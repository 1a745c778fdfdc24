"""What is passed on to others holds no name of a person, machine or folder."""

import getpass
import socket
from pathlib import Path

from diffusion_as_shader.shared import privacy
from diffusion_as_shader.shared.privacy import without_names


def test_home_user_and_machine_are_gone(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/jane doe"))
    monkeypatch.setattr(getpass, "getuser", lambda: "jane")
    monkeypatch.setattr(socket, "gethostname", lambda: "studio-7")
    text = without_names("Jane at studio-7: /home/jane doe/films/shot.blend; jane@studio-7 wrote janet.", [])
    assert text == "USER at MACHINE: .../films/shot.blend; USER@MACHINE wrote janet."


def test_paths_keep_their_last_part():
    said = without_names('File "/opt/secret client/work/jobs.py", line 3; C:\\Users\\Someone Else\\shot.png; \\\\server\\share\\a.mkv')
    assert said == 'File ".../jobs.py", line 3; .../shot.png; .../a.mkv'


def test_what_is_no_path_stays():
    for text in ("Frame 3/49 and/or 4/49", "https://example.org/a/b", "see logs/backend.log", "1 / 2 / 3"):
        assert without_names(text) == text


def test_a_path_ends_where_the_sentence_goes_on():
    assert without_names("/data/in.png is larger than /data/out.png") == ".../in.png is larger than .../out.png"


def test_given_folders_are_hidden_with_their_spaces():
    assert without_names("/mnt/The Client/My Film/a b.png", [Path("/mnt/The Client/My Film")]) == ".../a b.png"


def test_a_short_user_name_is_left(monkeypatch):
    monkeypatch.setattr(privacy, "_user", lambda: "al")
    assert without_names("al and all") == "al and all"
