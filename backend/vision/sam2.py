"""Segment Anything 2 (arXiv 2408.00714): what was clicked on, as a mask. By transformers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from transformers import Sam2Model

from ...shared.errors import Cancelled
from ..models.weights import Place
from .loading import choose_device, loaded, prepared


def segment(frame: np.ndarray, xy: tuple[float, float], place: Place, device: str, cancelled: Callable[[], bool]) -> np.ndarray:
    """bool [H,W] of u8 [H,W,3]: of the masks that the model offers (part, object, whole) the one it is surest of."""
    device = choose_device(device)
    with loaded(Sam2Model, place, device) as network:
        if cancelled():
            raise Cancelled("The selection was cancelled.")
        return _segment(network, frame, xy, device)


@torch.inference_mode()
def _segment(network: nn.Module, frame: np.ndarray, xy: tuple[float, float], device: str) -> np.ndarray:
    height, width = frame.shape[:2]
    side = network.config.prompt_encoder_config.image_size  # it sees squares
    point = torch.tensor([xy[0] / width * side, xy[1] / height * side], device=device)
    found = network(
        pixel_values=prepared(torch.tensor(frame, device=device), (side, side)),
        input_points=point.view(1, 1, 1, 2),
        input_labels=torch.ones(1, 1, 1, dtype=torch.long, device=device),
        multimask_output=True,
    )
    best = int(found.iou_scores[0, 0].argmax())
    mask = nn.functional.interpolate(found.pred_masks[:, 0, best : best + 1].float(), (height, width), mode="bilinear", align_corners=False)
    return (mask[0, 0] > 0).cpu().numpy()
