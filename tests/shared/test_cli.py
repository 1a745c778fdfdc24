"""The command line: what it parses, where it runs, how it ends."""

import json
import os
import signal
import subprocess
import sys

import msgspec
import pytest

from diffusion_as_shader.shared import cli, home, options
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.interrupt import interrupt_postponed
from diffusion_as_shader.shared.report import JsonReporter, Reporter
from diffusion_as_shader.shared.request import FirstFrame, GenerationRequest


def das(*words, timeout=60, **variables):
    """`das` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "diffusion_as_shader", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **variables},
    )


def write_environments(*entries):
    home.home().mkdir(parents=True, exist_ok=True)
    content = msgspec.json.encode(home.Environments(environments=list(entries)))
    home.environments_file().write_bytes(content)


def blender(version, python=sys.executable):
    return home.Environment(room="blender", name=f"blender-{version}", python=str(python), blender=version)


@pytest.mark.parametrize(
    "words, key",
    [
        (["track", "a.blend"], "track"),
        (["generate", "a.blend"], "generate"),
        (["generate", "."], "generate take"),
        (["generate", "--tracking", "v.mkv", "--first-frame", "f.png"], "generate tracking"),
        (["benchmark", "projection"], "benchmark projection"),
        (["benchmark", "points"], "benchmark points"),
        (["benchmark", "score"], "benchmark score"),
        (["benchmark", "score", "."], "benchmark score take"),
        (["score", "take", "another"], "score"),
        (["doctor", "--json"], "doctor"),
        (["models", "pull", "some/weights@v2", "--json"], "models"),
        (["models", "verify"], "models"),
    ],
)
def test_every_command_has_a_place(words, key):
    assert cli.command_key(cli.parser().parse_args(words)) == key
    assert key in cli.PLACES


@pytest.mark.parametrize("words", [["models", "list"], ["models", "path"], ["models", "remove", "sam2"]])
def test_lists_of_models_need_no_torch(words, monkeypatch):
    args = cli.parser().parse_args(words)
    monkeypatch.setattr(cli, "_model_is_first", lambda: False)
    assert cli.command_key(args) == "models without torch"
    monkeypatch.setattr(cli, "_model_is_first", lambda: True)
    assert cli.command_key(args) == "models"


def test_options_change_the_request():
    args = cli.parser().parse_args(
        "generate a.blend --frames=-3:12.5 --size 480X320 --count 17 --fit pad --seed 7 --first-frame cycles:8 --prompt x".split()
    )
    request = options.changed(GenerationRequest(negative_prompt="kept"), args)
    assert request == GenerationRequest(
        start=-3,
        end=12.5,
        width=480,
        height=320,
        frames=17,
        fit="pad",
        seed=7,
        first_frame=FirstFrame(source="cycles", samples=8),
        prompt="x",
        negative_prompt="kept",
    )


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--frames", "5"], "'5' is no frame range"),
        (["--frames", "9:2"], "empty or reversed"),
        (["--size", "720"], "'720' is no size"),
        (["--size", "719x480"], "multiples of 16"),
        (["--count", "48"], "8N+1"),
        (["--first-frame", "missing.png"], "There is no image missing.png"),
        (["--write", "depht,flow"], "--write knows no 'depht'. Did you mean depth"),
        (["--write", "video,xyzzy"], "--write knows no 'xyzzy'. Choose of video, coordinates"),
        (["--write", "h264"], "das encode TAKE --codec h264"),
        (["--write", "depth", "--points", "50x50"], "no tracks are written"),
        (["--write", "tracks", "--points", "missing.csv"], "'missing.csv' is no grid of points"),
    ],
)
def test_wrong_options_say_the_fix(words, sentence):
    args = cli.parser().parse_args(["track", "a.blend", *words])
    with pytest.raises(UsageError, match=sentence.replace("+", r"\+")) as caught:
        options.changed(GenerationRequest(), args)
    assert caught.value.fix


def test_first_frame_may_have_samples():
    assert options.parse_first_frame("render:8") == FirstFrame(source="render", samples=8)


def test_first_frame_may_be_an_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    assert options.parse_first_frame(str(tmp_path / "a.png")) == FirstFrame(source="file", path=str(tmp_path / "a.png"))


def test_usage_errors_are_code_2_one_line_and_json():
    for words in ([], ["dance"], ["generate", "--frames"]):
        ended = das(*words)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("das: ") and ended.stderr.count("\n") == 1 and "--help" in ended.stderr
    ended = das("encode", "--json")
    assert ended.returncode == 2
    told = json.loads(ended.stdout)
    assert (told["event"], told["kind"], told["exit_code"]) == ("error", "usage", 2) and told["fix"]


def test_help_names_every_command():
    ended = das("--help")
    assert ended.returncode == 0
    for name in ("track", "camera", "generate", "benchmark", "serve", "doctor", "encode"):
        assert name in ended.stdout


def test_help_is_an_exit_code_for_a_caller(capsys):
    before = signal.getsignal(signal.SIGINT)
    try:
        assert cli.main(["track", "--help"]) == 0
    finally:
        signal.signal(signal.SIGINT, before)
    assert "--first-frame" in capsys.readouterr().out


def other_room():
    """A command that this Python cannot serve, and its room."""
    return (["serve"], "backend") if "blender" in cli.rooms_here() else (["track", "x.blend"], "blender")


def test_no_environment_for_the_other_room_is_code_2():
    words, _ = other_room()
    write_environments()
    ended = das(*words)
    assert ended.returncode == 2
    assert "install/run.py setup" in ended.stderr and "Traceback" not in ended.stderr


# Python and shell at once: a #! line cannot name a Python whose path has a space.
FAKE = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import os, signal, sys, time
print("other room:", *sys.argv[1:], flush=True)
if "--wait" in os.environ.get("FAKE", ""):
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    print("waiting", flush=True)
    time.sleep(60)
sys.exit(5)
"""


@pytest.fixture
def fake_environment(tmp_path):
    """A 'Python' of the other room that tells what it was asked for."""
    if os.name != "posix":
        pytest.skip("the stand-in is a script with a #! line")
    python = tmp_path / "python"
    python.write_text(FAKE.format(python=sys.executable))
    python.chmod(0o755)
    words, room = other_room()
    entry = home.Environment(room=room, name=room, python=str(python), blender="9.9.9" if room == "blender" else None)
    write_environments(entry)
    return words


def test_other_room_gets_the_words_and_gives_its_exit_code(fake_environment):
    ended = das(*fake_environment)
    assert ended.returncode == 5
    assert ended.stdout.split() == ["other", "room:", "-m", "diffusion_as_shader", *fake_environment]


def test_signals_reach_the_other_room(fake_environment):
    process = subprocess.Popen(
        [sys.executable, "-m", "diffusion_as_shader", *fake_environment],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FAKE": "--wait"},
    )
    assert "other room" in process.stdout.readline()
    assert "waiting" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    process.stdout.close()


def test_environment_that_cannot_serve_its_room_is_said():
    words, room = other_room()
    write_environments(home.Environment(room=room, name=room, python=sys.executable, blender="9.9"))
    ended = das(*words)
    assert ended.returncode == 2 and "cannot serve it" in ended.stderr


def test_environment_that_is_no_program_is_said(tmp_path):
    words, room = other_room()
    (tmp_path / "python").write_text("no program")
    (tmp_path / "python").chmod(0o755)
    write_environments(home.Environment(room=room, name=room, python=str(tmp_path / "python"), blender="9.9"))
    ended = das(*words)
    assert ended.returncode == 2 and "cannot be run" in ended.stderr and "install/run.py setup" in ended.stderr


def test_home_that_is_no_folder_is_said(tmp_path):
    (tmp_path / "home").write_text("a file")
    words, _ = other_room()
    ended = das(*words, DAS_HOME=str(tmp_path / "home"))
    assert ended.returncode == 2 and "Set DAS_HOME to a folder" in ended.stderr


def test_reader_that_goes_away_ends_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        reporter = JsonReporter(out, Stream(False))
        for step in range(3):
            reporter.progress("capture", step, 2)
        assert not out.closed


def test_postponed_interrupt_comes_at_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with interrupt_postponed():
            signal.raise_signal(signal.SIGINT)
            done.append(True)
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_which_blender():
    with pytest.raises(UsageError, match="'newest' is no Blender version"):
        cli._is_version("4.5.15", "newest")
    write_environments(blender("4.5.15"), blender("5.2.3"), blender("4.10.1"))
    assert cli.find_environment("blender").blender == "5.2.3"
    assert cli.find_environment("blender", "4.5").blender == "4.5.15"
    assert cli.find_environment("blender", "4.1" + "0").blender == "4.10.1"
    with pytest.raises(UsageError, match=r"no Blender 4\.1 here, only 4\.5\.15, 5\.2\.3, 4\.10\.1"):
        cli.find_environment("blender", "4.1")


def test_unexpected_error_is_told_without_a_traceback(monkeypatch, capsys):
    def fail(argv, reporter):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(cli, "run", fail)
    monkeypatch.setattr(cli, "rooms_here", lambda: [])
    before = signal.getsignal(signal.SIGINT)
    try:
        assert cli.main(["doctor"]) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    told = capsys.readouterr().err
    assert "ZeroDivisionError: boom" in told and "Traceback" not in told
    assert "ZeroDivisionError" in (home.log_folder() / "das-error.log").read_text()


class Stream:
    """A stand-in for a stream that may be a terminal."""

    def __init__(self, terminal: bool):
        self.text, self.terminal = "", terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return self.terminal


def test_bar_on_a_terminal_and_lines_elsewhere():
    err = Stream(terminal=True)
    bar = Reporter(Stream(False), err)
    for step in range(5):
        bar.progress("capture", step, 4, 3.2)
    bar.note("A note.")
    last, note, _ = err.text.rpartition("\r")[2].split("\n")
    assert err.text.count("\r") == 5 and note == "A note."
    assert last.rstrip() == "[############################] capture        4/4, about 3 s left"
    err = Stream(terminal=False)
    lines = Reporter(Stream(False), err)
    for step in range(101):
        lines.progress("capture", step, 100)
    assert err.text.splitlines() == ["capture        0/100", "capture        100/100"]


def test_json_is_one_object_a_line():
    out = Stream(False)
    reporter = JsonReporter(out, Stream(False))
    reporter.progress("capture", 1, 4)
    reporter.note("é\n")
    reporter.event("frame", index=3)
    reporter.result("text", take=home.home())
    reporter.error(UsageError("Wrong.", "Mend it."))
    told = [json.loads(line) for line in out.text.splitlines()]
    assert [one["event"] for one in told] == ["progress", "note", "frame", "result", "error"]
    assert told[4] == {"event": "error", "kind": "usage", "message": "Wrong.", "fix": "Mend it.", "exit_code": 2}


def test_what_is_written_beside_a_take(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n")
    args = cli.parser().parse_args(["track", "a.blend", "--write", "tracks, Depth", "--points", str(tmp_path / "a.csv")])
    request = options.changed(GenerationRequest(), args)
    assert request.write == ("depth", "tracks") and request.points == str(tmp_path / "a.csv")
    assert options.changed(GenerationRequest(write=("tracks",)), cli.parser().parse_args(["track", "a.blend", "--points", "8X6"])).points == "8x6"


def test_options_of_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    words = "--engine das --steps 25 --guidance constant --guidance-scale 4.5 --scheduler ddim --quality draft --plan low-12gb"
    words += " --tracking-range unsigned --image-latent-scale div --from-base --weights weights"
    request = options.changed(GenerationRequest(), cli.parser().parse_args(["generate", "a.blend", *words.split()]))
    assert (request.engine, request.steps, request.guidance, request.guidance_scale) == ("das", 25, "constant", 4.5)
    assert (request.scheduler, request.quality, request.memory_plan) == ("ddim", "draft", "low-12gb")
    assert (request.tracking_range, request.image_latent_scale) == ("unsigned", "div")
    assert request.weights == str(tmp_path / "weights"), "the backend stands elsewhere"
    assert request.from_base
    hub = cli.parser().parse_args(["generate", "a.blend", "--weights", "owner/name@main"])
    assert options.changed(GenerationRequest(), hub).weights == "owner/name@main"


def test_a_command_that_needs_the_model_says_how_to_get_it():
    """Run again in the backend's environment, which has no torch either."""
    write_environments(home.Environment("backend", "backend", sys.executable))
    ended = das("models", "pull", DAS_RUN_AGAIN="1")
    assert ended.returncode == 2 and ended.stdout == ""
    assert "needs the model's environment" in ended.stderr and "setup --model" in ended.stderr


def test_the_model_is_asked_of_the_environment_that_has_it(monkeypatch):
    asked = []
    monkeypatch.setattr(cli, "rooms_here", lambda: ["backend"])
    monkeypatch.setattr(cli, "_has", lambda library: library is None)
    monkeypatch.setattr(cli, "run_again", lambda argv, room, blender: asked.append(room) or 0)
    assert cli.main(["models", "pull"]) == 0 and asked == ["backend"]
    write_environments(home.Environment("backend", home.MODEL_ENVIRONMENT, sys.executable))
    assert cli.main(["models", "list"]) == 0 and asked == ["backend"] * 2


def test_what_the_preferences_have_installed_comes_before_the_model_and_that_before_all_others():
    names = ["backend", home.MODEL_ENVIRONMENT, home.MANAGED_ENVIRONMENT]
    write_environments(*(home.Environment("backend", name, sys.executable) for name in names))
    assert [entry.name for entry in home.environments("backend")] == names[::-1]
