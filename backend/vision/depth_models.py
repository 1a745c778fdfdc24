"""Models that estimate depth from a picture: Depth Anything V2 (arXiv 2406.09414) and MoGe (2410.19115, 2507.02546)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ...shared.errors import Cancelled, UsageError, first_line
from ...shared.task_settings import DepthSettings
from ..models import weights
from ..models.weights import KeysError, Place, WeightsError
from . import catalogue, depth_scale
from .depth import Depth, judge
from .loading import choose_device, freed, loaded, prepared


class DepthModel(Protocol):
    """What :func:`estimate` asks of one. ``relative``: it knows depth up to a factor; ``note`` says what it is."""

    relative: bool
    note: str

    def measure(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """z f32 [H,W] of u8 [H,W,3], inf where unknown, and K f64 [3,3] in pixels where it tells the lens."""


def estimate(
    model: DepthModel, frames: np.ndarray, cancelled: Callable[[], bool], progress: Callable[[int, int], None]
) -> Depth:
    """Depth of all frames u8 [S,H,W,3], in one scale."""
    pictures, lenses = [], []
    for index, frame in enumerate(frames):
        if cancelled():
            raise Cancelled("The estimation of depth was cancelled.")
        z, K = model.measure(frame)
        pictures.append(z)
        lenses.append(K)
        progress(index + 1, len(frames))
    z, notes = depth_scale.steady(np.stack(pictures), model.relative)
    z = depth_scale.in_units_of_the_nearest(z) if model.relative else z
    z, more = judge(z, "The estimated depth")
    return Depth(z, None if lenses[0] is None else np.stack(lenses), [model.note, *notes, *more])


@contextmanager
def open_model(settings: DepthSettings, device: str) -> Iterator[DepthModel]:
    """The model that the settings name, in memory until the block ends. UsageError where it cannot be had."""
    moge = settings.source == "moge"
    name = "moge" if moge else "depth_anything"
    place = catalogue.find(name, settings.weights)
    with _moge(place, device) if moge else _depth_anything(place, device) as model:
        yield model


@contextmanager
def _depth_anything(place: Place, device: str) -> Iterator[DepthModel]:
    from transformers import DepthAnythingForDepthEstimation

    device = choose_device(device)
    with loaded(DepthAnythingForDepthEstimation, place, device) as network:
        yield DepthAnything(network, device)


class DepthAnything:
    """Depth Anything V2: relative models give the inverse of depth up to a factor, 0 for the sky; metric ones metres."""

    def __init__(self, network: nn.Module, device: str):
        self._network, self._device = network, device
        self.relative = network.config.depth_estimation_type != "metric"
        self.note = (
            "Depth Anything knows depth up to a factor: the nearest of the first frame is taken to be 1 away, and nothing farther than"
            f" {depth_scale.FARTHEST:g}."
            if self.relative
            else "Depth is estimated in metres by Depth Anything."
        )

    @torch.inference_mode()
    def measure(self, frame: np.ndarray) -> tuple[np.ndarray, None]:
        height, width = frame.shape[:2]
        pixels = prepared(torch.tensor(frame, device=self._device), self._working_size(width, height))
        found = self._network(pixel_values=pixels).predicted_depth[:, None]
        found = nn.functional.interpolate(found, (height, width), mode="bilinear", align_corners=False)[0, 0].float().cpu().numpy()
        if not self.relative:
            return found, None
        if not found.max() > 0:
            raise UsageError("Depth Anything sees no depth in the picture: all of it is as far as the sky.", "Give a depth file, or choose moge.")
        # The sky, infinitely far, is farther than what comes of it in the end.
        return 1 / np.maximum(found, found.max() / (10 * depth_scale.FARTHEST)), None

    def _working_size(self, width: int, height: int) -> tuple[int, int]:
        """(height, width): one side is the size that the model was trained at, whichever changes the picture less."""
        backbone = self._network.config.backbone_config
        trained, patch = _side(backbone.image_size), _side(backbone.patch_size)
        scale = min(trained / width, trained / height, key=lambda one: abs(one - 1))
        return tuple(max(patch, round(side * scale / patch) * patch) for side in (height, width))


@contextmanager
def _moge(place: Place, device: str) -> Iterator[DepthModel]:
    device = choose_device(device)
    network, metric = load_moge(place)
    with freed(network):
        yield MoGe(network, metric, device)


class MoGe:
    """MoGe: depth and the lens; version 2 in metres. The lens of the first frame holds for all."""

    def __init__(self, network: nn.Module, metric: bool, device: str):
        self._network, self._device, self._across = network.to(device), device, None
        self.relative = not metric
        self.note = (
            "Depth and lens are estimated by MoGe, depth in metres."
            if metric
            else "MoGe 1 knows depth up to a factor: the nearest of the first frame is taken to be 1 away, and nothing farther than"
            f" {depth_scale.FARTHEST:g}."
        )

    def measure(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = frame.shape[:2]
        picture = torch.tensor(frame, device=self._device).permute(2, 0, 1).float() / 255
        found = self._network.infer(picture, fov_x=self._across, use_fp16=self._device != "cpu")
        K = found["intrinsics"].double().cpu().numpy() * np.array([[width], [height], [1.0]])
        self._across = self._across or float(np.degrees(2 * np.arctan(width / (2 * K[0, 0]))))
        return found["depth"].float().cpu().numpy(), K


def load_moge(place: Place) -> tuple[nn.Module, bool]:
    """The network in main memory, and whether it knows metres.

    From config.json and model.safetensors, which `das models pull moge` makes of what is published (:mod:`conversion`).
    """
    from moge.model import import_model_class_by_version

    config, state = _read_moge(place)
    version = "v2" if isinstance(config.get("encoder"), dict) else "v1"
    try:
        network = import_model_class_by_version(version)(**config)
        told = network.load_state_dict(state, strict=False)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
        raise WeightsError(f"The weights of {place.hub or place.folder} are not MoGe's: {first_line(error)}.", place.again) from error
    parameters = {name for name, _ in network.named_parameters()}
    if missing := sorted(parameters & set(told.missing_keys)):
        raise KeysError(f"The weights of {place.hub or place.folder}", missing, [], [], place.again)
    return network.eval().requires_grad_(False), "scale_head" in config


def _read_moge(place: Place) -> tuple[dict, dict[str, torch.Tensor]]:
    """Configuration and weights."""
    if (place.folder / "model.pt").is_file() and not (place.folder / "model.safetensors").is_file():
        raise WeightsError(f"{place.folder} holds MoGe as a pickle, which is not opened here.", "Run das models pull moge, which converts it.")
    (safe,) = weights.weight_files(place, "", "model")
    try:
        return weights.read_config(place, ""), load_file(safe)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{safe} cannot be read as MoGe's weights: {first_line(error)}.", place.again) from error


def _side(size) -> int:
    return size if isinstance(size, int) else size[0]
