"""Prompts to embeddings: by the text encoder once, from the disk from then on.

The encoder is the largest part but the transformer (9.5 GB), and is needed for a second: it is loaded only where an
embedding is not on the disk, and freed at once.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ...shared.errors import UsageError
from .placement import give_back_memory
from .weights import is_whole

KEPT = 500  # embeddings on the disk, of 2 MB each
# What the published results were made with where nothing else was said not to show.
NEGATIVE_PROMPT = (
    "The video is not of a high quality, it has a low resolution. Watermark present in each frame. "
    "The background is solid. Strange body and strange trajectory. Distortion."
)

log = logging.getLogger(__name__)


def tokens(tokenizer, text: str, length: int, name: str = "prompt") -> torch.Tensor:
    """Token ids [1,length], padded. UsageError where the text has more: the model would not see its end."""
    count = len(tokenizer(text).input_ids)
    if count > length:
        raise UsageError(f"The {name} has {count} tokens, and the model reads {length}.", f"Shorten the {name}.")
    return tokenizer(text, padding="max_length", max_length=length, return_tensors="pt").input_ids


def fits(tokenizer, text: str, length: int) -> bool:
    """Whether the model reads the whole text."""
    return len(tokenizer(text).input_ids) <= length


@torch.no_grad()
def embed(encoder, ids: torch.Tensor) -> torch.Tensor:
    """Embeddings [1,L,D] of token ids [1,L]; padding is not masked, as CogVideoX was trained."""
    return encoder(ids.to(encoder.device))[0]


class EmbeddingCache:
    """Embeddings on the disk, each under the hash of its prompt, encoder, type and length; the ``kept`` used last, or all for
    None. Any file may be deleted."""

    def __init__(self, folder: Path, encoder: str, dtype: torch.dtype, kept: int | None = KEPT):
        self._folder = folder
        self._kept = kept
        self._of = [encoder, str(dtype)]

    def find(self, text: str, length: int) -> torch.Tensor | None:
        """[1,L,D], or None where it is not there or the file is damaged."""
        file = self._file(text, length)
        try:
            found = load_file(file)["embedding"]
            file.touch()  # the files used last are kept
            return found
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError) as error:
            log.warning("the embedding %s is made again: %s", file, error)
            return None

    def has(self, text: str, length: int) -> bool:
        """Whether it is there, whole; it is not read."""
        return is_whole(self._file(text, length))

    def keep(self, text: str, length: int, embedding: torch.Tensor) -> None:
        """Write it; the oldest ones make room."""
        file = self._file(text, length)
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        try:
            save_file({"embedding": embedding.cpu().contiguous()}, partial)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
        files = sorted(self._folder.glob("*.safetensors"), key=lambda one: one.stat().st_mtime) if self._kept else []
        for old in files[: -(self._kept or 1)]:
            old.unlink(missing_ok=True)

    def _file(self, text: str, length: int) -> Path:
        key = json.dumps([text, length, *self._of]).encode()
        return self._folder / f"{hashlib.sha256(key).hexdigest()}.safetensors"


def embeddings(
    texts: list[str], length: int, tokenizer, cache: EmbeddingCache, load_encoder: Callable[[], torch.nn.Module]
) -> list[torch.Tensor]:
    """Each text's embedding [1,L,D] on the CPU. The encoder is loaded where one is not on the disk, and freed after."""
    found = {text: cache.find(text, length) for text in texts}
    for text, embedding in encoded([text for text, known in found.items() if known is None], length, tokenizer, load_encoder):
        found[text] = embedding
        cache.keep(text, length, embedding)
    return [found[text] for text in texts]


def encoded(texts: list[str], length: int, tokenizer, load_encoder: Callable[[], torch.nn.Module]) -> Iterator[tuple[str, torch.Tensor]]:
    """Each text with its embedding [1,L,D] on the CPU. The encoder is loaded where there is one to encode, and freed after."""
    if not texts:
        return
    encoder = load_encoder()
    for text in texts:
        yield text, embed(encoder, tokens(tokenizer, text, length)).cpu()
    del encoder
    give_back_memory()
