"""A side model of transformers: checked, loaded, and gone from memory again where its block ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from safetensors import SafetensorError
from torch import nn
from transformers.utils import logging as transformers_logging

from ...shared.errors import first_line
from ..models import cards, weights
from ..models.weights import KeysError, Place, WeightsError

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, as all of these were trained


def choose_device(device: str) -> str:
    """``auto`` is the card where torch can use one. CardError where its driver is too old."""
    return ("cuda" if cards.available() else "cpu") if device == "auto" else device


@contextmanager
def loaded(kind: type, place: Place, device: str) -> Iterator[nn.Module]:
    """A model of the class ``kind`` in 32 bits on ``device``; its memory is given back at the end.

    WeightsError where files are missing, cut short, of another class, or lack weights.
    """
    with freed(load(kind, place)) as model:
        yield model.to(device)


@contextmanager
def freed(model: nn.Module) -> Iterator[nn.Module]:
    """At the end the model's memory is given back, whoever still refers to it."""
    try:
        yield model
    finally:
        model.to("meta")
        cards.give_back_memory()


def load(kind: type, place: Place) -> nn.Module:
    """The model in main memory, ready for inference."""
    config = weights.read_config(place, "")
    wanted, found = kind.config_class.model_type, config.get("model_type") or "it does not say which"
    if found not in (wanted, f"{wanted}_video"):
        raise WeightsError(f"{place.hub or place.folder} is of another architecture: {found} instead of {wanted}.", "Choose other weights.")
    weights.read_shapes(weights.weight_files(place, "", "model"), place)
    transformers_logging.disable_progress_bar()  # a worker tells of progress by its events
    what = f"The weights of {place.hub or place.folder}"
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # it would list what belongs to the video half of SAM 2
    try:
        model, told = kind.from_pretrained(
            place.folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise WeightsError(f"{what} do not fit the configuration: {first_line(error)}.", place.again) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    missing, misshaped = sorted(told["missing_keys"]), [str(one) for one in told["mismatched_keys"]]
    if missing or misshaped:
        raise KeysError(what, missing, [], misshaped, place.again)
    return model.eval().requires_grad_(False)


def prepared(frame: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """u8 [H,W,3] as a model's input f32 [1,3,h,w]: resized to (height, width), colours about 0."""
    picture = frame.permute(2, 0, 1)[None].float() / 255
    resized = nn.functional.interpolate(picture, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    mean, deviation = (torch.tensor(values, device=frame.device).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return (resized - mean) / deviation
