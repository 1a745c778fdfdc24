"""das models, and fetching from a hub: a stand-in on loopback that breaks off, refuses, and sends what it should not."""

import io
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stand_in_hub import StandInHub  # noqa: E402

from diffusion_as_shader.backend.commands import models as command  # noqa: E402
from diffusion_as_shader.backend.models import hub, integrity, weights  # noqa: E402
from diffusion_as_shader.backend.models.tiny import write_tiny_checkpoint  # noqa: E402
from diffusion_as_shader.backend.models.weights import WeightsError  # noqa: E402
from diffusion_as_shader.backend.vision import catalogue  # noqa: E402
from diffusion_as_shader.shared import cli, home  # noqa: E402
from diffusion_as_shader.shared.model_entries import Entries  # noqa: E402
from diffusion_as_shader.shared.report import JsonReporter  # noqa: E402

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
SOURCE = "some/weights"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("published") / "tiny")
    (folder / "README.md").write_text("# Weights\n")
    return folder


@pytest.fixture
def server(tiny, tmp_path, monkeypatch):
    """The hub, and an empty cache of other programs."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "other programs"))
    standing = StandInHub(Path(shutil.copytree(tiny, tmp_path / "served")))
    yield standing
    standing.stop()


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """huggingface_hub writes after each 10 MB, which is more than there is here, and waits a second before it tries again."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)


def pull(server: StandInHub, source: str = SOURCE, progress=lambda done, size: None) -> Path:
    """As das models pull does."""
    client = hub.Hub(server.endpoint)
    return client.pull(client.look(source), progress)


def refusal(server: StandInHub, source: str = SOURCE) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        pull(server, source)
    assert caught.value.fix and "\n" not in str(caught.value)
    return caught.value


def spoil(file: Path) -> None:
    """Change one bit of its last byte."""
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != weights.MANIFEST)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_all_files_come_are_right_and_are_found_by_their_id(server, tiny):
    told = []
    folder = pull(server, progress=lambda done, size: told.append((done, size)))
    assert contents(folder) == contents(tiny)
    assert weights.find(SOURCE) == weights.Place(folder, SOURCE)
    assert folder == home.model_folder() / "some" / "weights"
    assert told == sorted(told) and told[-1] == (sum(map(len, contents(tiny).values())),) * 2
    assert not list(home.model_folder().rglob("*.partial"))


def test_the_manifest_tells_commit_licence_and_hashes(server, tiny):
    manifest = weights.read_manifest(pull(server))
    assert (manifest.hub, manifest.commit, manifest.licence) == (SOURCE, "c" * 40, "some-licence (LICENSE)")
    assert {name: stored.hash for name, stored in manifest.files.items()} == {name: weights.sha256(tiny / name) for name in contents(tiny)}


def test_hashes_for_the_take_are_known_without_reading(server, monkeypatch):
    folder = pull(server)
    monkeypatch.setattr(weights, "sha256", lambda *ignored: pytest.fail("it was read again"))
    assert len(weights.HashCache().hash(folder / TRANSFORMER)) == 64


def test_a_second_time_nothing_is_fetched(server):
    pull(server)
    server.ranges.clear()
    pull(server)
    assert server.ranges == []


def test_what_does_not_belong_to_a_checkpoint_is_not_fetched(server):
    (server.folder / "transformer" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (server.folder / "transformer" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"other")
    (server.folder / "samples").mkdir()
    (server.folder / "samples" / "video.mp4").write_bytes(b"video")
    folder = pull(server)
    assert not [name for name in contents(folder) if name.endswith((".bin", ".mp4", "fp16.safetensors"))]


def test_a_broken_download_goes_on_where_it_stopped(server, tiny):
    """Every answer breaks off after 1 MB; the connection is tried again and asks for the rest."""
    server.break_off_after = 1_000_000
    assert contents(pull(server)) == contents(tiny)
    assert [range_ for name, range_ in server.ranges if name == TRANSFORMER] == ["", "bytes=1000000-"]


def test_an_interrupted_pull_goes_on_where_it_stopped(server, tiny):
    def interrupt(done, size):
        if size - done < 500_000:
            raise KeyboardInterrupt

    server.break_off_after = 1_200_000
    with pytest.raises(KeyboardInterrupt):
        pull(server, progress=interrupt)
    part = next(home.model_folder().rglob("*.safetensors.partial"))
    kept = part.stat().st_size
    with pytest.raises(WeightsError, match="not on this machine"):
        weights.find(SOURCE)
    server.break_off_after, server.ranges = None, []
    assert contents(pull(server)) == contents(tiny)
    assert server.ranges == [(TRANSFORMER, f"bytes={kept}-")] and kept > 1_000_000


def test_a_file_that_arrives_damaged_is_not_kept(server, tiny):
    for name in ("transformer/config.json", TRANSFORMER):
        server.spoil = name
        assert f"{name} of some/weights has arrived damaged" in refusal(server).message
        assert not (home.model_folder() / "some" / "weights").exists()
    server.spoil = ""
    assert contents(pull(server)) == contents(tiny)


def test_a_new_commit_takes_over_what_has_not_changed_and_keeps_what_is_not_ours(server):
    folder = pull(server)
    (folder / "notes.txt").write_text("mine")
    (server.folder / "README.md").write_text("# Better weights\n")
    server.commit, server.ranges = "d" * 40, []
    assert pull(server) == folder
    assert [name for name, _ in server.ranges] == ["README.md"]
    assert (folder / "README.md").read_text() == "# Better weights\n"
    left = folder.with_name("weights.cccccccc")
    assert contents(left) == {"notes.txt": b"mine"}


def test_a_folder_of_the_users_own_is_left_alone(server):
    theirs = home.model_folder() / "some" / "weights" / "thesis.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("years of work")
    assert "left alone" in refusal(server).message
    assert theirs.read_text() == "years of work"


def test_two_at_once_do_not_mix(server):
    from filelock import FileLock

    partial = home.model_folder() / "some" / "weights.partial"
    partial.parent.mkdir(parents=True)
    with FileLock(partial.with_name(f".{partial.name}.lock")):
        assert "Another das models pull" in refusal(server).message


def test_a_revision_stands_beside_main(server):
    main, fixed = pull(server), pull(server, f"{SOURCE}@{'c' * 40}")
    assert main != fixed and weights.find(f"{SOURCE}@{'c' * 40}").folder == fixed


def test_the_cache_of_other_programs_is_used_where_it_lies(server, tiny, tmp_path):
    snapshot = weights.repository_folder(tmp_path / "other programs", SOURCE) / "snapshots" / ("c" * 40)
    shutil.copytree(tiny, snapshot)
    offer = hub.Hub(server.endpoint).look(SOURCE)
    assert hub.in_hub_cache(offer) == snapshot
    (snapshot / TRANSFORMER).write_bytes(b"half")
    assert hub.in_hub_cache(offer) is None


@pytest.mark.parametrize(
    "change, said, fix",
    [
        ({"refused": True}, "licence of some/weights has not been accepted", "hf auth login"),
        ({"name": "other/weights"}, "The hub has no some/weights", "hf auth login"),
        ({"status": 503}, "code 503", "goes on where it stopped"),
        ({"endpoint": "http://127.0.0.1:9"}, "cannot be reached", "network"),
    ],
)
def test_what_the_hub_refuses_is_told_with_its_fix(server, change, said, fix):
    for key, value in change.items():
        setattr(server, key, value)
    error = refusal(server)
    assert said in error.message and fix in error.fix
    assert error.exit_code == 2


def test_an_unknown_revision_is_told(server):
    assert "no revision v9" in refusal(server, f"{SOURCE}@v9").message


def test_what_is_no_checkpoint_is_told(server):
    shutil.rmtree(server.folder / "transformer")
    assert "no weights of the published layout" in refusal(server).message


def test_no_space_is_told_before_anything_is_fetched(server, monkeypatch):
    usage = shutil.disk_usage(server.folder)
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    assert "free there" in refusal(server).message and server.ranges == []


def test_a_disk_that_fills_up_is_told(server, monkeypatch):
    def full(*ignored, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub, "http_get", full)
    error = refusal(server)
    assert "the disk is full" in error.message and "DAS_MODELS" in error.fix
    assert not (home.model_folder() / "some" / "weights").exists()


def test_damage_after_the_download_is_found(server):
    place = weights.Place(pull(server), SOURCE)
    files = integrity.expected(place)
    assert integrity.damaged(place, files) == []
    spoil(place.folder / TRANSFORMER)
    (place.folder / "vae" / "config.json").unlink()
    assert sorted(integrity.damaged(place, files)) == [TRANSFORMER, "vae/config.json"]


# Models that stand beside the video model


@pytest.fixture
def side_server(server):
    """The hub, with SAM 2 and much else in its folder."""
    for path in list(server.folder.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in ("model.safetensors", "config.json", "preprocessor_config.json", "sam2.1_hiera_tiny.pt", "README.md", "images/dog.jpg"):
        (server.folder / name).parent.mkdir(exist_ok=True)
        (server.folder / name).write_bytes(name.encode() * 100)
    server.name, server.licence = "facebook/sam2.1-hiera-tiny", {"license": "apache-2.0"}
    return server


def test_of_a_side_model_only_what_is_needed_is_fetched_and_its_name_finds_it(side_server, monkeypatch):
    monkeypatch.setattr(hub, "Hub", partial(hub.Hub, side_server.endpoint))
    told = here("pull", "sam2")
    assert set(contents(Path(told["folder"]))) == {"model.safetensors", "config.json", "preprocessor_config.json", "README.md"}
    assert catalogue.find("sam2").folder == Path(told["folder"]) == Path(here("path", "sam2")["folder"])
    assert here("verify", "sam2")["compared"] == 4
    listed = {one["name"]: one for one in here("list")["models"]}
    assert listed["sam2"]["folder"] == told["folder"] and listed["sam2"]["licence"] == "Apache-2.0"
    assert not listed["flux"]["folder"] and listed["flux"]["bytes"] > 3e10
    spoil(Path(told["folder"]) / "model.safetensors")
    with pytest.raises(WeightsError, match="not what the hub holds"):
        here("verify", "sam2")


def test_another_model_of_the_kind_is_fetched_by_its_id(side_server):
    side_server.name = "someone/other-depth"
    folder = pull(side_server, "someone/other-depth")
    assert set(contents(folder)) == {"model.safetensors", "config.json", "preprocessor_config.json", "README.md"}
    assert catalogue.find("depth_anything", "someone/other-depth").folder == folder


@pytest.mark.parametrize("entry", catalogue.TABLE, ids=lambda entry: entry.name)
def test_a_missing_side_model_says_what_it_is_and_how_to_fetch_it(entry, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(catalogue.MissingModel) as caught:
        catalogue.find(entry.name)
    for word in (entry.hub, entry.size, entry.licence, entry.terms):
        assert word in caught.value.message
    assert f"das models pull {entry.source}" in caught.value.fix


@pytest.mark.parametrize(
    "name, wanted, unwanted",
    [
        ("moge", ["model.pt"], ["model.onnx", "optimizer.pt"]),
        ("cotracker", ["scaled_offline.pth"], ["scaled_online.pth", "baseline_offline.pth"]),
        (
            "flux",
            ["model_index.json", "transformer/diffusion_pytorch_model-00001-of-00003.safetensors", "transformer/config.json", "tokenizer_2/spiece.model"],
            ["flux1-depth-dev.safetensors", "ae.safetensors", "text_encoder_2/pytorch_model.bin"],
        ),
        (
            "sdxl",
            ["unet/diffusion_pytorch_model.fp16.safetensors", "unet/config.json", "tokenizer/merges.txt", "vae/config.json"],
            ["unet/diffusion_pytorch_model.safetensors", "sd_xl_base_1.0.safetensors", "unet/model.onnx", "vae_1_0/config.json"],
        ),
        ("sdxl_depth", ["diffusion_pytorch_model.fp16.safetensors", "config.json"], ["diffusion_pytorch_model.safetensors", "images/a.png"]),
    ],
)
def test_which_files_of_a_repository_are_wanted(name, wanted, unwanted):
    entry = catalogue.named(name)
    assert all(map(entry.wants, [*wanted, "README.md", "LICENSE.md"])) and not any(map(entry.wants, unwanted))


# The command itself, in a process of its own


def das(*words, **variables) -> subprocess.CompletedProcess:
    whole = [sys.executable, "-m", "diffusion_as_shader", "models", *map(str, words)]
    environment = {**os.environ, "HF_TOKEN": "", **{name: str(value) for name, value in variables.items()}}
    return subprocess.run(whole, capture_output=True, text=True, timeout=200, env=environment)


def result(run: subprocess.CompletedProcess) -> dict:
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_pull_path_and_list_on_the_command_line(server, tmp_path):
    ended = das("pull", SOURCE, "--json", HF_ENDPOINT=server.endpoint)
    told = result(ended)
    folder = told["folder"]
    assert (told["commit"], told["licence"]) == ("c" * 40, "some-licence (LICENSE)")
    assert '"event": "progress"' in ended.stdout
    assert das("path", SOURCE).stdout == f"{folder}\n"
    listed = das("list")
    assert f"{SOURCE}: commit cccccccc" in listed.stdout and "licence: some-licence (LICENSE)" in listed.stdout
    assert "not here: das models pull EXCAI/Diffusion-As-Shader" in listed.stdout
    offline = das("pull", SOURCE, HF_ENDPOINT=server.endpoint, HF_HUB_OFFLINE="1")
    assert offline.returncode == 2 and "HF_HUB_OFFLINE" in offline.stderr
    elsewhere = das("path", SOURCE, DAS_MODELS=tmp_path)
    assert elsewhere.returncode == 2 and f"das models pull {SOURCE}" in elsewhere.stderr


def here(*words) -> dict:
    """A command that imports torch, which a process of its own takes seconds for."""
    out = io.StringIO()
    reporter = JsonReporter(out, io.StringIO())
    assert command.run(cli.parser().parse_args(["models", *map(str, words)]), reporter) == 0
    return json.loads(out.getvalue().splitlines()[-1])


def test_tiny_weights_are_written_and_verified(tmp_path):
    assert here("tiny", tmp_path / "tiny")["folder"] == str(tmp_path / "tiny")
    told = here("verify", tmp_path / "tiny")
    assert told["compared"] == 0 and set(told["hashes"]) == {"transformer", "vae", "text_encoder"}
    file = tmp_path / "tiny" / TRANSFORMER
    file.write_bytes(file.read_bytes()[:9000])
    with pytest.raises(WeightsError, match="cut short"):
        here("verify", tmp_path / "tiny")


def test_verify_compares_what_was_pulled_with_the_hubs_hashes(server):
    folder = pull(server)
    assert here("verify", SOURCE)["compared"] == len(contents(folder))
    spoil(folder / TRANSFORMER)
    with pytest.raises(WeightsError, match=f"1 files are not what the hub holds, {TRANSFORMER}") as caught:
        here("verify", SOURCE)
    assert caught.value.fix == f"Fetch them again with das models pull {SOURCE}."


def test_a_paused_pull_is_listed_with_what_has_come_and_goes_on(server, tiny, monkeypatch):
    monkeypatch.setattr(command, "KNOWN", {SOURCE: "some"})
    monkeypatch.setattr(command, "SIZES", {SOURCE: 0})
    partial = home.model_folder() / "some" / "weights.partial"
    part = partial / f"{TRANSFORMER}.partial"
    part.parent.mkdir(parents=True)
    part.write_bytes((tiny / TRANSFORMER).read_bytes()[:1_000_000])
    assert listed(SOURCE).partial == 1_000_000 and not listed(SOURCE).folder
    ended = das("pull", SOURCE, HF_ENDPOINT=server.endpoint)
    assert ended.returncode == 0, ended.stderr
    assert (TRANSFORMER, "bytes=1000000-") in server.ranges
    entry = listed(SOURCE)
    assert entry.ours and entry.partial == 0 and contents(Path(entry.folder)) == contents(tiny)


def listed(name: str):
    """The line of das models list."""
    out = io.StringIO()
    command.list_models(cli.parser().parse_args(["models", "list", "--json"]), JsonReporter(out, io.StringIO()))
    entries = msgspec.convert(json.loads(out.getvalue()), Entries, strict=False)
    return next(entry for entry in entries.models if entry.name == name)


def remove(source: str) -> dict:
    out = io.StringIO()
    command.remove(cli.parser().parse_args(["models", "remove", source, "--json"]), JsonReporter(out, io.StringIO()))
    return json.loads(out.getvalue())


def test_what_was_fetched_is_removed_and_what_lies_beside_it_stays(server):
    folder = pull(server)
    (folder / "transformer" / "notes.txt").write_text("mine")
    assert remove(SOURCE)["left"] == 4
    assert contents(folder) == {"transformer/notes.txt": b"mine"}
    with pytest.raises(WeightsError, match="has not fetched"):
        remove(SOURCE)


def test_an_unfinished_download_is_removed_whole(server):
    partial = home.model_folder() / "some" / "weights.partial"
    partial.mkdir(parents=True)
    (partial / "config.json").write_text("{}")
    assert remove(SOURCE)["freed"] == 2 and not partial.exists()


def test_a_folder_of_the_users_own_is_not_removed():
    theirs = home.model_folder() / "some" / "weights" / "thesis.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("years of work")
    with pytest.raises(WeightsError, match="has not fetched"):
        remove(SOURCE)
    with pytest.raises(WeightsError, match="is no hub id"):
        remove(str(theirs.parent))
    assert theirs.exists()
