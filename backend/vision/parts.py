"""Parts of an image model's folder, in the layout that diffusers writes: looked at without loading, and loaded checked."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ...shared.errors import first_line
from ..models import weights
from ..models.weights import KeysError, Place, WeightsError

HALF = "fp16"  # how files are called that hold 16 bits beside files with 32
BUFFERS = "position_ids"  # older programs wrote these counters among the weights; they are made anew


def config(place: Place, part: str, kind: type) -> dict:
    """A part's config.json; WeightsError where it is of another class than ``kind``."""
    found = weights.read_config(place, part)
    name = found.get("_class_name") or (found.get("architectures") or ["it does not say which"])[0]
    if name != kind.__name__:
        of = f"{part if part != '.' else 'model'} of {place.hub or place.folder}"
        raise WeightsError(f"The {of} is of another architecture: {name} instead of {kind.__name__}.", "Choose other weights.")
    return found


def shapes(place: Place, part: str, kind: type) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a part's weights, from the headers of its files; WeightsError where one is missing or cut short."""
    stem = _stem(kind)
    half = f"{stem}.{HALF}"
    there = (place.folder / part / f"{half}.safetensors").is_file()
    return weights.read_shapes(weights.weight_files(place, part, half if there else stem), place)


def count(found: dict[str, tuple[int, ...]]) -> int:
    """How many numbers they are."""
    return sum(math.prod(shape) for shape in found.values())


def load(place: Place, part: str, kind: type, dtype: torch.dtype, device: str = "cpu") -> Any:
    """A part in ``dtype`` on ``device``, ready for inference; KeysError where its files do not fit its configuration."""
    config(place, part, kind)
    folder = place.folder / part
    half = HALF if (folder / f"{_stem(kind)}.{HALF}.safetensors").is_file() else None
    options: dict[str, Any] = {"dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype": dtype, "variant": half}
    if device != "cpu" and not issubclass(kind, PreTrainedModel):
        options["device_map"] = {"": device}
    for logging in (diffusers_logging, transformers_logging):
        logging.disable_progress_bar()  # a worker tells of progress by its events
    what, fix = f"The weights of {place.hub or place.folder}/{part}", place.again
    try:
        model, told = kind.from_pretrained(folder, use_safetensors=True, local_files_only=True, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise WeightsError(f"{what} do not fit the configuration: {first_line(error)}.", fix) from error
    unexpected = sorted(name for name in told["unexpected_keys"] if not name.endswith(BUFFERS))
    missing, misshaped = sorted(told["missing_keys"]), [str(one[0]) for one in told["mismatched_keys"]]
    if missing or misshaped or unexpected:
        raise KeysError(what, missing, unexpected, misshaped, fix)
    return model.eval().requires_grad_(False).to(device)


def tokenizer(place: Place, part: str) -> Any:
    """A tokenizer of the folder."""
    weights.read_config(place, part, "tokenizer_config.json")
    try:
        return AutoTokenizer.from_pretrained(place.folder / part, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, ImportError, TypeError) as error:
        raise WeightsError(f"The {part} of {place.hub or place.folder} cannot be read: {first_line(error)}.", place.again) from error


def scheduler(place: Place) -> Any:
    """The scheduler that the folder names, of those that diffusers has."""
    found = weights.read_config(place, "scheduler", "scheduler_config.json")
    kind = getattr(diffusers, str(found.get("_class_name")), None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise WeightsError(f"The scheduler of {place.hub or place.folder} is unknown: {found.get('_class_name')}.", place.again)
    return kind.from_config(found)


def streamed(found: dict[str, tuple[int, ...]]) -> int:
    """How many numbers are on the card at once where blocks come and go: all that is in no list of blocks, and two of the largest."""
    blocks: dict[str, int] = {}
    for name, shape in found.items():
        head, _, rest = name.partition(".")
        number = rest.partition(".")[0]
        key = f"{head}.{number}" if number.isdigit() else ""
        blocks[key] = blocks.get(key, 0) + math.prod(shape)
    around = blocks.pop("", 0)
    return around + sum(sorted(blocks.values())[-2:])


def largest(found: dict[str, tuple[int, ...]]) -> int:
    """The most numbers in one weight."""
    return max(map(math.prod, found.values()))


def _stem(kind: type) -> str:
    return "model" if issubclass(kind, PreTrainedModel) else "diffusion_pytorch_model"
