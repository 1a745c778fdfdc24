"""One clip after the other, each from a fresh copy of its files, in a staging folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ...shared.dataset import ClipRecord, Source
from ...shared.errors import Cancelled, GenerationError
from ...shared.files import sha256_of
from ...shared.sidecars import read_sidecar
from ...shared.timeline import video_fps
from .clip import ClipFiles, make_clip
from .recipe import Recipe, clip_name
from .scenes import set_stage

STAGING = "making"


class Maker:
    """Makes clips of a recipe by number, from 0. ``progress(phase, done, total)`` and ``cancelled()`` as everywhere."""

    def __init__(self, root: Path, recipe: Recipe, progress: Callable[[str, int, int], None], cancelled: Callable[[], bool]):
        self.root, self.recipe = root, recipe
        self._progress, self._cancelled = progress, cancelled

    def make(self, number: int) -> ClipRecord:
        """The record of a clip, whose files now lie in its staging folder."""
        folder = staging_folder(self.root, number)
        try:
            return self._make(number, folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise GenerationError(f"{folder} cannot be written: {error.strerror or error}.", "Free some space or check the folder's permissions.") from error
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _make(self, number: int, folder: Path) -> ClipRecord:
        if self._cancelled():
            raise Cancelled("The dataset was cancelled.")
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
        folder.mkdir(parents=True)
        self._progress("scene", 0, 1)
        ingredients = self.recipe.ingredients(number)
        stage = set_stage(self.recipe, ingredients, number)
        request, files = stage.request, ClipFiles(clip_name(number))
        hashes = make_clip(stage.scene, request, files, folder, self._progress, self._cancelled)
        return ClipRecord(
            name=clip_name(number),
            prompt=" ".join(self.recipe.prompt.format_map(stage.words).split()),
            **files.relative(),
            frames=request.frames,
            width=request.width,
            height=request.height,
            fps=video_fps(request.start, request.end, request.frames, request.scene_fps),
            seed=self.recipe.seed,
            sources=[source_of(file, self.recipe.licence) for file in ingredients.files],
            hashes=hashes,
            settings=stage.settings,
        )


def staging_folder(root: Path, number: int) -> Path:
    return root / STAGING / clip_name(number)


def source_of(file: Path, licence: str) -> Source:
    side = read_sidecar(file)
    return Source(path=str(file), licence=side.licence or licence, source=side.source, sha256=_sha256(file))


_sha256 = cache(sha256_of)  # a source serves many clips
