"""Checkpoints on disk: every component from its folder, whatever can be wrong with one, base models, snapshots, hashes."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel
from safetensors.torch import load_file, save_file

from diffusion_as_shader.backend.models import weights
from diffusion_as_shader.backend.models.checkpoint import Checkpoint, load_components
from diffusion_as_shader.backend.models.tiny import write_tiny_checkpoint
from diffusion_as_shader.backend.models.transformer import TRACKING_PARTS
from diffusion_as_shader.backend.models.weights import KeysError, WeightsError
from diffusion_as_shader.shared.errors import UsageError

WEIGHTS = "diffusion_pytorch_model.safetensors"
FILES = {"transformer": WEIGHTS, "vae": WEIGHTS, "text_encoder": "model.safetensors"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("Gewichte für Übung") / "tiny")


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    """A checkpoint that a test may ruin."""
    return Path(shutil.copytree(tiny, tmp_path / "ruined"))


def edit(file: Path, **changes) -> None:
    """Change entries of a JSON file; None removes one."""
    content = {key: value for key, value in (json.loads(file.read_text()) | changes).items() if value is not None}
    file.write_text(json.dumps(content))


def refusal(source, component="transformer", **options) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        checkpoint = Checkpoint(source, **options)
        getattr(checkpoint, component)()
    assert caught.value.fix and "\n" not in str(caught.value)
    return caught.value


def same(model, file: Path) -> bool:
    stored, loaded = load_file(file), model.state_dict()
    return all(torch.equal(stored[name], loaded[name]) for name in stored)


def test_each_component_loads_from_its_folder_as_it_was_stored(tiny, capfd):
    parts = load_components(tiny)
    for component, file in FILES.items():
        model = getattr(parts, component)
        assert same(model, tiny / component / file) and not model.training and model.dtype is torch.float32, component
        assert not any(parameter.requires_grad for parameter in model.parameters()), component
    assert parts.scheduler["prediction_type"] == "v_prediction"
    assert parts.tokenizer("cube").input_ids == [102, 120, 101, 104, 1]
    assert parts.notes == [] and set(parts.hashes) == set(FILES)
    assert "it/s" not in capfd.readouterr().err, "bars of libraries are nobody's progress"


@pytest.mark.parametrize("component", FILES)
def test_a_type_is_obeyed(tiny, component):
    model = getattr(Checkpoint(tiny), component)(torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_what_is_stored_in_half_precision_stays_so(folder):
    Checkpoint(folder).transformer(torch.bfloat16).save_pretrained(folder / "transformer")
    assert Checkpoint(folder).transformer().dtype is torch.bfloat16


@pytest.mark.parametrize("component", FILES)
def test_sharded_weights_load_too(tiny, folder, component):
    model = getattr(Checkpoint(tiny), component)()
    shutil.rmtree(folder / component)
    model.save_pretrained(folder / component, max_shard_size="60KB")
    assert len(list((folder / component).glob("*.safetensors"))) > 1 and not (folder / component / FILES[component]).exists()
    assert same(getattr(Checkpoint(folder), component)(), tiny / component / FILES[component])


def test_loaded_and_saved_is_the_same_bytes(tiny, tmp_path):
    Checkpoint(tiny).transformer().save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (tiny / "transformer" / WEIGHTS).read_bytes()


def test_the_published_class_name_is_known(folder, tiny):
    edit(folder / "transformer" / "config.json", _class_name="CogVideoXTransformer3DModelTracking")
    assert same(Checkpoint(folder).transformer(), tiny / "transformer" / WEIGHTS)


@pytest.mark.parametrize("component", FILES)
def test_wrong_names_and_shapes_are_told(folder, component):
    file = folder / component / FILES[component]
    stored = load_file(file)
    gone, bent = sorted(name for name in stored if stored[name].ndim == 2 or component == "vae")[:2]
    stored["surplus.weight"] = torch.zeros(3)
    stored[bent] = torch.zeros(5, 7)
    del stored[gone]
    save_file(stored, file, {"format": "pt"})
    error = refusal(folder, component)
    assert isinstance(error, KeysError)
    assert (error.missing, error.unexpected) == ([gone], ["surplus.weight"])
    assert len(error.misshaped) == 1 and error.misshaped[0].startswith(f"{bent} [5, 7] instead of")
    assert all(name in error.message for name in (gone, bent, "surplus.weight"))


def test_of_many_wrong_names_the_first_are_told_and_how_many(folder):
    file = folder / "transformer" / WEIGHTS
    kept = {name: weight for name, weight in load_file(file).items() if not name.startswith("transformer_blocks_copy.")}
    lost = len(load_file(file)) - len(kept)
    save_file(kept, file, {"format": "pt"})
    message = refusal(folder).message
    assert f"{lost} missing (transformer_blocks_copy.0." in message and f"and {lost - 3} more" in message


@pytest.mark.parametrize("keep", [0, 5, 8, 500, -1])
@pytest.mark.parametrize("component", FILES)
def test_a_file_cut_short_is_said(folder, component, keep):
    file = folder / component / FILES[component]
    file.write_bytes(file.read_bytes()[:keep])
    assert "cut short" in refusal(folder, component).message


@pytest.mark.parametrize(
    "content, said",
    [(b"x" * 4000, "not of the safetensors format"), (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS")],
)
def test_what_is_no_weights_is_said(folder, content, said):
    (folder / "vae" / WEIGHTS).write_bytes(content)
    assert said in refusal(folder, "vae").message


def test_a_file_with_more_than_its_header_says_is_damaged(folder):
    with (folder / "vae" / WEIGHTS).open("ab") as file:
        file.write(b"more")
    assert "damaged" in refusal(folder, "vae").message


def test_a_pickle_is_never_opened(folder):
    file = folder / "vae" / WEIGHTS
    torch.save(load_file(file), file.with_suffix(".bin"))
    assert Checkpoint(folder).vae() is not None, "beside safetensors it does no harm"
    file.unlink()
    error = refusal(folder, "vae")
    assert "diffusion_pytorch_model.bin" in error.message and "safetensors" in error.fix


@pytest.mark.parametrize("component", ["transformer", "vae", "text_encoder", "tokenizer", "scheduler_config"])
def test_a_missing_component_is_named(folder, component):
    name = component.removesuffix("_config")
    shutil.rmtree(folder / name)
    assert f" {name}" in refusal(folder, component).message


def test_missing_files_are_named(folder):
    (folder / "vae" / WEIGHTS).unlink()
    assert WEIGHTS in refusal(folder, "vae").message
    (folder / "vae" / (WEIGHTS + ".index.json")).write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    assert "lacks 2 of 2" in refusal(folder, "vae").message
    (folder / "text_encoder" / "config.json").unlink()
    assert "text_encoder/config.json" in refusal(folder, "text_encoder").message


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_broken_configuration_is_said(folder, content):
    (folder / "transformer" / "config.json").write_text(content)
    assert "config.json" in refusal(folder).message


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"_class_name": "WanTransformer3DModel"}, "WanTransformer3DModel"),
        ({"_class_name": None}, "does not say which"),
        ({"in_channels": 4}, "image to video"),
        ({"patch_size_t": 2}, "CogVideoX 1.0"),
        ({"num_tracking_blocks": 40}, "40 tracking blocks"),
        ({"num_attention_heads": "many"}, "can be made"),
    ],
)
def test_another_architecture_is_refused(folder, changes, said):
    edit(folder / "transformer" / "config.json", **changes)
    assert said in refusal(folder).message


def test_other_encoders_are_refused(folder):
    edit(folder / "vae" / "config.json", _class_name="AutoencoderKLWan")
    edit(folder / "text_encoder" / "config.json", model_type="umt5")
    assert "AutoencoderKLWan" in refusal(folder, "vae").message
    assert "umt5" in refusal(folder, "text_encoder").message


def test_sizes_are_free_unless_positions_were_learnt(tiny, folder):
    assert Checkpoint(tiny).allowed_sizes() is None
    edit(folder / "transformer" / "config.json", use_learned_positional_embeddings=True, sample_width=90, sample_height=60, sample_frames=49)
    assert Checkpoint(folder).allowed_sizes() == [(720, 480, 49)]


# Base models


@pytest.fixture
def base(folder) -> Path:
    """The same with the transformer of a base model."""
    config = json.loads((folder / "transformer" / "config.json").read_text())
    config = {key: value for key, value in config.items() if key != "num_tracking_blocks" and not key.startswith("_")}
    shutil.rmtree(folder / "transformer")
    torch.manual_seed(5)
    CogVideoXTransformer3DModel(**config).save_pretrained(folder / "transformer")
    return folder


def test_a_base_model_is_refused_unless_asked_for(base):
    error = refusal(base)
    assert "base model" in error.message and "--from-base" in error.fix


def test_from_base_lists_no_names_as_if_they_were_a_fault(base, capfd):
    Checkpoint(base, from_base=True).transformer()
    assert "newly initialized" not in capfd.readouterr().err


def test_from_base_copies_the_blocks_and_says_that_they_are_untrained(base):
    checkpoint = Checkpoint(base, from_base=True)
    checkpoint.verify()
    model = checkpoint.transformer()
    assert same(model, base / "transformer" / WEIGHTS)
    assert model.config.num_tracking_blocks == 4, "as many as there are, up to the published 18"
    assert not any(linear.weight.any() for linear in model.combine_linears)
    for main, side in zip(model.transformer_blocks, model.transformer_blocks_copy):
        assert all(torch.equal(a, b) for a, b in zip(main.parameters(), side.parameters()))
    assert all(not parameter.is_meta for parameter in model.parameters())
    assert "untrained" in checkpoint.notes[0]


def test_from_base_is_no_way_around_a_broken_base(base, tiny):
    file = base / "transformer" / WEIGHTS
    stored = load_file(file)
    del stored["proj_out.weight"]
    save_file(stored, file, {"format": "pt"})
    assert refusal(base, from_base=True).missing == ["proj_out.weight"]
    assert "branch already" in refusal(tiny, from_base=True).message


def test_a_branch_without_weights_is_no_reason_to_make_one(folder):
    """The reference falls back to the base model here, silently."""
    file = folder / "transformer" / WEIGHTS
    save_file({name: weight for name, weight in load_file(file).items() if not name.startswith(TRACKING_PARTS)}, file, {"format": "pt"})
    assert len(refusal(folder).missing) > 50


# Where it lies


@pytest.mark.parametrize("source", ["/no/such/folder", "no folder", "a/b/c"])
def test_a_source_that_is_nothing_is_refused(source):
    assert "There is no folder" in refusal(source).message


def test_a_file_is_no_source(tiny):
    assert "is a file" in refusal(tiny / "model_index.json").message


def test_what_was_not_pulled_is_told_how(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    error = refusal("")
    assert "EXCAI/Diffusion-As-Shader" in error.message and "das models pull EXCAI/Diffusion-As-Shader" in error.fix


def as_snapshot(tiny: Path, cache: Path, name="some/weights", commit="c" * 40, branch="main") -> None:
    """Lay a checkpoint into a cache as huggingface_hub does, large files as links to blobs."""
    root = weights.repository_folder(cache, name)
    snapshot = root / "snapshots" / commit
    shutil.copytree(tiny, snapshot)
    (root / "blobs").mkdir(exist_ok=True)
    for file in snapshot.rglob("*.safetensors"):
        blob = root / "blobs" / weights.sha256(file)
        shutil.move(file, blob)
        file.symlink_to(blob)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / branch).write_text(commit)


def test_a_snapshot_of_another_program_is_used_where_it_lies(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    as_snapshot(tiny, tmp_path)
    checkpoint = Checkpoint("some/weights")
    assert same(checkpoint.transformer(), tiny / "transformer" / WEIGHTS)
    assert checkpoint.name == "some/weights"
    assert checkpoint.hashes == Checkpoint(tiny).hashes


def test_a_revision_is_a_snapshot_of_its_own(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    as_snapshot(tiny, tmp_path)
    as_snapshot(tiny, tmp_path, commit="d" * 40, branch="v2")
    assert Checkpoint("some/weights@v2").place.folder.name == "d" * 40
    assert Checkpoint("some/weights", revision="c" * 40).place.folder.name == "c" * 40
    assert "some/weights@v3" in refusal("some/weights@v3").message


# Hashes


def test_hashes_follow_the_files_and_are_kept(folder, tiny, monkeypatch):
    before, read = Checkpoint(folder).hashes, []
    assert before == Checkpoint(tiny).hashes
    original = weights.sha256
    monkeypatch.setattr(weights, "sha256", lambda file: read.append(file) or original(file))
    assert Checkpoint(folder).hashes == before and read == []
    stored = load_file(folder / "vae" / WEIGHTS)
    save_file({name: weight + 1 for name, weight in stored.items()}, folder / "vae" / WEIGHTS, {"format": "pt"})
    after = Checkpoint(folder).hashes
    assert [one for one in FILES if after[one] != before[one]] == ["vae"] and read == [folder / "vae" / WEIGHTS]


# The tiny checkpoint


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_seed_is_the_whole_truth_about_tiny_weights(tiny, tmp_path):
    torch.manual_seed(77)
    expected = torch.random.get_rng_state()
    again = write_tiny_checkpoint(tmp_path / "again")
    assert torch.equal(torch.random.get_rng_state(), expected)
    assert contents(again) == contents(tiny)
    other = contents(write_tiny_checkpoint(tmp_path / "other", seed=1))
    changed = {name for name in other if other[name] != contents(tiny)[name]}
    assert changed == {f"{component}/{file}" for component, file in FILES.items()}


def test_tiny_weights_of_other_depths(tmp_path):
    write_tiny_checkpoint(tmp_path / "deep", num_layers=6, tracking_blocks=3)
    model = Checkpoint(tmp_path / "deep").transformer()
    assert (len(model.transformer_blocks), len(model.transformer_blocks_copy)) == (6, 3)
    assert all(linear.weight.any() for linear in (model.initial_combine_linear, *model.combine_linears))


def test_tiny_weights_overwrite_nothing(tiny, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for folder in (tiny, tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(UsageError, match="exists already"):
            write_tiny_checkpoint(folder)
