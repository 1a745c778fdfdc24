"""CoTracker 3 (arXiv 2410.11831) as a tracker, where its authors' code and weights are installed: not for commercial use.

Neither is fetched here: `das models pull cotracker` brings the weights, and the catalogue says which commit of the code.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import catalogue

WINDOW = 60  # frames that the published offline weights were trained with


def track_by_cotracker(
    video: np.ndarray,
    points: np.ndarray,
    *,
    method: str,
    cancelled: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """xy f32 [T,N,2] and visible bool [T,N] of points f64 [N,2] of the first frame of a video u8 [T,H,W,3].

    UsageError, or MissingModel, where code or weights are not here, which says how big they are and under which licence.
    """
    catalogue.need_packages("cotracker")
    place = catalogue.find("cotracker")

    import torch

    from .leaving import between_blocks
    from .loading import choose_device, freed

    device = choose_device("auto")
    predictor = _load(place)
    with freed(predictor), torch.inference_mode(), between_blocks([predictor], cancelled):
        progress(0, 1)
        # Colours from 0 to 255, and pixels that are counted at their centres.
        pictures = torch.from_numpy(video).permute(0, 3, 1, 2)[None].float().to(device)
        queries = np.concatenate([np.zeros((len(points), 1)), points - 0.5], axis=1)
        tracks, visible = predictor.to(device)(pictures, queries=torch.from_numpy(queries)[None].float().to(device))
        progress(1, 1)
        return tracks[0].float().cpu().numpy() + 0.5, visible[0].bool().cpu().numpy()


def _load(place):
    """The authors' predictor with the weights of a folder, in main memory. WeightsError where they are not its own."""
    from cotracker.predictor import CoTrackerPredictor
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from ..models import weights

    (file,) = weights.weight_files(place, "", "model")
    predictor = CoTrackerPredictor(checkpoint=None, offline=True, v2=False, window_len=WINDOW)
    try:
        predictor.model.load_state_dict(load_file(file))
    except (RuntimeError, SafetensorError, OSError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".:")
        raise weights.WeightsError(f"The weights of {place.hub or place.folder} are not CoTracker 3's: {reason}.", place.again) from error
    return predictor.eval()
