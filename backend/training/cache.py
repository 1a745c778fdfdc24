"""Latents and texts on the disk, made once: training then reads them instead of decoding and encoding.

A file's name is the hash of all that its content depends on: the clip's two videos, the VAE's weights, the size and the
type. Any file may be deleted. The noise of the first frame is drawn anew at each step, so its pixels are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ...shared.errors import Cancelled, GenerationError, UsageError
from ...shared.files import becoming
from ..models import text
from ..models.checkpoint import Checkpoint
from ..models.weights import HashCache, is_whole
from .data import Latents, Source, encode, read_pictures

Progress = Callable[[str, int, int], None]


class LatentCache:
    """The latents of clips under one VAE, in one type."""

    def __init__(self, folder: Path, vae: str, dtype: torch.dtype, tiled: bool = False):
        self.folder = folder
        self._of = [vae, str(dtype), tiled]
        self._hashes = HashCache(folder / "hashes.json")
        self._known: dict[Path, str] = {}

    def file(self, source: Source) -> Path:
        """Where a clip's latents are, or will be."""
        videos = (source.clip.video, source.clip.tracking)
        if not all(video in self._known for video in videos):
            self._known |= self._hashes.hash_all(videos)
        key = [*(self._known[video] for video in videos), list(source.size), *self._of]
        return self.folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()}.safetensors"

    def load(self, source: Source) -> Latents:
        """UsageError where it is not there or damaged."""
        try:
            return Latents(**load_file(self.file(source)))
        except (OSError, SafetensorError, TypeError) as error:
            raise UsageError(f"The latents of {source.clip.video} cannot be read: {error}.", "Start again with --resume: what is missing is made.") from error

    def build(self, found: list[Source], load_vae: Callable[[], torch.nn.Module], progress: Progress, cancelled: Callable[[], bool]) -> int:
        """Make what is missing; how many that were. The VAE is loaded only where it is needed. Cancelled between clips.

        ``progress(phase, done, total)``: the clips' files are read for their hashes first, then what is missing is encoded.
        """
        self._hash(found, progress, cancelled)
        missing = [source for source in found if not is_whole(self.file(source))]
        if not missing:
            return 0
        vae = load_vae()
        for index, source in enumerate(missing):
            _stop_if(cancelled)
            self._keep(source, encode(vae, read_pictures(source), tiled=self._of[2]))
            progress("encode clips", index + 1, len(missing))
        return len(missing)

    def _hash(self, found: list[Source], progress: Progress, cancelled: Callable[[], bool]) -> None:
        files = [file for source in found for file in (source.clip.video, source.clip.tracking)]

        def told(done: int) -> None:
            _stop_if(cancelled)
            progress("read clips", done, len(files))

        self._known = self._hashes.hash_all(files, told)

    def _keep(self, source: Source, made: Latents) -> None:
        file = self.file(source)
        try:
            with becoming(file) as partial:
                save_file({name: tensor.cpu().contiguous() for name, tensor in made._asdict().items()}, partial)
        except OSError as error:
            raise GenerationError(f"Latents cannot be written into {self.folder}: {error.strerror or error}.", "Free some space, or set cache_folder.") from error


def _stop_if(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled("The latents were not finished.", "Go on with --resume: those that are made stay.")


class Texts:
    """Embeddings of prompts [L,D], each encoded once, from the disk when it is needed."""

    def __init__(self, checkpoint: Checkpoint, folder: Path, dtype: torch.dtype):
        self._length = checkpoint.text_length
        self._cache = text.EmbeddingCache(folder, checkpoint.hash("text_encoder"), dtype, kept=None)

    def build(self, prompts: list[str], checkpoint: Checkpoint, load_encoder: Callable[[], torch.nn.Module]) -> None:
        """Make what is missing. UsageError where a prompt is too long for the model."""
        tokenizer = checkpoint.tokenizer()
        for prompt in prompts:
            text.tokens(tokenizer, prompt, self._length, f"prompt '{prompt[:40]}'")
        missing = [prompt for prompt in prompts if not self._cache.has(prompt, self._length)]
        for prompt, embedding in text.encoded(missing, self._length, tokenizer, load_encoder):
            self._cache.keep(prompt, self._length, embedding)

    def of(self, prompt: str) -> torch.Tensor:
        found = self._cache.find(prompt, self._length)
        if found is None:
            raise UsageError(f"The text of '{prompt[:40]}' is not in the cache any more.", "Start again with --resume: it is made again.")
        return found[0]
