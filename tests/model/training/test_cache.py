"""What is kept on the disk of a dataset: found again by content, made again where it is damaged, and asked for without being read."""

import json

import pytest
import torch
from safetensors.torch import save_file

from diffusion_as_shader.backend.models import weights
from diffusion_as_shader.backend.models.checkpoint import Checkpoint
from diffusion_as_shader.backend.models.weights import HashCache, is_whole
from diffusion_as_shader.backend.training import data
from diffusion_as_shader.backend.training.cache import LatentCache, Texts
from diffusion_as_shader.backend.training.validation import DRAWS, timestep
from diffusion_as_shader.shared.dataset import Dataset
from diffusion_as_shader.shared.errors import Cancelled


def quiet(phase: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def found(dataset):
    return data.sources(Dataset.open(dataset).clips[:3], ())


@pytest.fixture
def cache(weights, tmp_path):
    return LatentCache(tmp_path / "latents", Checkpoint(str(weights)).hash("vae"), torch.float32)


def test_latents_are_made_once_and_a_damaged_file_again(found, cache, weights):
    vae = Checkpoint(str(weights)).vae().eval
    assert cache.build(found, vae, quiet, lambda: False) == 3
    before = [one.clone() for one in cache.load(found[1])]  # they are mapped memory
    assert cache.build(found, pytest.fail, quiet, lambda: False) == 0, "the VAE is not loaded"
    file = cache.file(found[1])
    file.write_bytes(file.read_bytes()[:-4])
    assert cache.build(found, vae, quiet, lambda: False) == 1
    assert all(torch.equal(one, other) for one, other in zip(before, cache.load(found[1])))


def test_another_size_type_or_vae_is_another_file(found, cache, tmp_path):
    one = found[0]
    others = [LatentCache(cache.folder, vae, dtype) for vae, dtype in (("other", torch.float32), (cache._of[0], torch.bfloat16))]
    files = {cache.file(one), cache.file(one._replace(size=(48, 32, 9))), *(other.file(one) for other in others)}
    assert len(files) == 4


def test_a_stop_while_clips_are_read_keeps_the_hashes_that_are_known(found, cache):
    asked = iter([False, False, False, True])
    with pytest.raises(Cancelled, match="Go on with --resume"):
        cache.build(found, pytest.fail, quiet, lambda: next(asked))
    assert len(json.loads((cache.folder / "hashes.json").read_text())) == 4


def test_hashes_of_many_files_are_read_and_written_once(found, tmp_path, monkeypatch):
    files, written = [source.clip.video for source in found], []
    hashes = HashCache(tmp_path / "hashes.json")
    monkeypatch.setattr(hashes, "_write", lambda known, real=hashes._write: (written.append(len(known)), real(known)))
    first = hashes.hash_all(files)
    assert written == [3] and first == {file: weights.sha256(file) for file in files}
    monkeypatch.setattr(weights, "sha256", pytest.fail)
    assert hashes.hash_all(files) == first and hashes.hash(files[2]) == first[files[2]]


def test_whole_files_are_told_by_their_header(tmp_path):
    file = tmp_path / "one.safetensors"
    assert not is_whole(file)
    save_file({"a": torch.zeros(100)}, file)
    assert is_whole(file)
    file.write_bytes(file.read_bytes()[:-1])
    assert not is_whole(file)
    file.write_bytes(b"no header")
    assert not is_whole(file)


def test_texts_are_encoded_once(weights, tmp_path):
    checkpoint, loaded = Checkpoint(str(weights)), []

    def load():
        loaded.append(1)
        return checkpoint.text_encoder()

    texts = Texts(checkpoint, tmp_path / "texts", torch.float32)
    texts.build(["a", ""], checkpoint, load)
    first = texts.of("a")
    texts.build(["", "a"], checkpoint, pytest.fail)
    texts.build(["a", "b"], checkpoint, load)
    assert len(loaded) == 2 and torch.equal(texts.of("a"), first) and not torch.equal(texts.of("b"), first)


def test_timesteps_of_validation_are_spread_evenly_and_each_clip_has_one_of_each_part():
    drawn = [[timestep(place, draw, 5, 1000) for draw in range(DRAWS)] for place in range(5)]
    assert sorted(sum(drawn, [])) == list(range(50, 1000, 100))
    assert all(low < 500 <= high for low, high in drawn)
