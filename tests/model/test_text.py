"""Prompts: how long they may be, what is kept on the disk, and that the encoder is loaded only where it must be."""

import weakref

import pytest
import torch
from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

from diffusion_as_shader.backend.models import text
from diffusion_as_shader.shared.errors import UsageError

LENGTH = 16


@pytest.fixture(scope="module")
def tokenizer():
    return ByT5Tokenizer()


def make_encoder():
    torch.manual_seed(0)
    return T5EncoderModel(T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=384)).eval()


@pytest.fixture
def cache(tmp_path):
    return text.EmbeddingCache(tmp_path / "embeddings", "hash of the encoder", torch.float32)


class Loader:
    """Loads the encoder, and knows how often and whether it still lives."""

    def __init__(self):
        self.loaded = []

    def __call__(self):
        encoder = make_encoder()
        self.loaded.append(weakref.ref(encoder))
        return encoder


def test_embeddings_are_those_of_diffusers(tokenizer, cache):
    from diffusers import CogVideoXImageToVideoPipeline

    pipe = CogVideoXImageToVideoPipeline.__new__(CogVideoXImageToVideoPipeline)
    pipe.tokenizer, pipe.text_encoder = tokenizer, make_encoder()
    with torch.no_grad():
        expected = pipe._get_t5_prompt_embeds("a red fox", 1, LENGTH, torch.device("cpu"))
    (got,) = text.embeddings(["a red fox"], LENGTH, tokenizer, cache, make_encoder)
    assert torch.equal(got, expected) and got.shape == (1, LENGTH, 32)


def test_the_encoder_is_loaded_once_and_freed(tokenizer, cache):
    load = Loader()
    first = text.embeddings(["a fox", ""], LENGTH, tokenizer, cache, load)
    assert len(load.loaded) == 1 and load.loaded[0]() is None
    again = text.embeddings(["", "a fox"], LENGTH, tokenizer, cache, load)
    assert len(load.loaded) == 1, "both lay on the disk"
    assert torch.equal(again[0], first[1]) and torch.equal(again[1], first[0]) and not torch.equal(*first)
    text.embeddings(["a fox", "a hen"], LENGTH, tokenizer, cache, load)
    assert len(load.loaded) == 2


def test_another_encoder_type_or_length_is_another_embedding(tmp_path, tokenizer, cache):
    text.embeddings(["a fox"], LENGTH, tokenizer, cache, make_encoder)
    assert cache.find("a fox", LENGTH) is not None and cache.find("a fox", 8) is None
    for encoder, dtype in (("another", torch.float32), ("hash of the encoder", torch.bfloat16)):
        assert text.EmbeddingCache(tmp_path / "embeddings", encoder, dtype).find("a fox", LENGTH) is None


def test_a_damaged_file_is_made_again(tmp_path, tokenizer, cache):
    load = Loader()
    (first,) = text.embeddings(["a fox"], LENGTH, tokenizer, cache, load)
    (file,) = (tmp_path / "embeddings").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    (again,) = text.embeddings(["a fox"], LENGTH, tokenizer, cache, load)
    assert torch.equal(first, again) and len(load.loaded) == 2


def test_the_oldest_embeddings_make_room(tmp_path):
    cache = text.EmbeddingCache(tmp_path / "embeddings", "encoder", torch.float32, kept=2)
    for index in range(4):
        cache.keep(f"prompt {index}", LENGTH, torch.full((1, 1, 1), float(index)))
    assert len(list((tmp_path / "embeddings").iterdir())) == 2
    assert cache.find("prompt 3", LENGTH).item() == 3


def test_a_prompt_too_long_is_refused(tokenizer):
    fitting = "x" * (LENGTH - 1)  # and one token for the end
    assert text.tokens(tokenizer, fitting, LENGTH).shape == (1, LENGTH) and text.fits(tokenizer, fitting, LENGTH)
    assert not text.fits(tokenizer, fitting + "x", LENGTH)
    with pytest.raises(UsageError, match="The negative prompt has 17 tokens, and the model reads 16") as caught:
        text.tokens(tokenizer, fitting + "x", LENGTH, "negative prompt")
    assert caught.value.fix == "Shorten the negative prompt."
