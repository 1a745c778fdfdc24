"""CoTracker by a stand-in of its authors' module: how it is called, and what is said where it is not there."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from diffusion_as_shader.backend.models.weights import WeightsError
from diffusion_as_shader.backend.vision import catalogue
from diffusion_as_shader.backend.vision.catalogue import MissingModel
from diffusion_as_shader.backend.vision.tracks import track
from diffusion_as_shader.shared.errors import Cancelled, UsageError

# The same form of call as facebookresearch/co-tracker at 82e02e8; it moves each point by the weights' value a frame.
STAND_IN = """
    import torch

    class CoTrackerPredictor(torch.nn.Module):
        def __init__(self, checkpoint="./checkpoints/scaled_offline.pth", offline=True, v2=False, window_len=60):
            super().__init__()
            assert checkpoint is None and offline and not v2 and window_len == 60
            self.model = torch.nn.Module()
            self.model.blocks = torch.nn.ModuleList([torch.nn.Linear(1, 2, bias=False)])

        def forward(self, video, queries=None, segm_mask=None, grid_size=0, grid_query_frame=0, backward_tracking=False):
            batch, frames, channels, height, width = video.shape
            assert batch == 1 and channels == 3 and video.dtype == torch.float32 and 1 < video.max() <= 255
            assert queries.shape[2] == 3 and (queries[..., 0] == 0).all()
            step = self.model.blocks[0](torch.ones(1))
            tracks = queries[:, None, :, 1:] + torch.arange(frames)[None, :, None, None] * step
            inside = (tracks >= 0) & (tracks <= torch.tensor([width - 1, height - 1]))
            return tracks, inside.all(-1)
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    package = tmp_path / "code" / "cotracker"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "predictor.py").write_text(textwrap.dedent(STAND_IN))
    monkeypatch.syspath_prepend(package.parent)
    yield package
    for name in ("cotracker", "cotracker.predictor"):
        sys.modules.pop(name, None)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("DAS_MODELS", str(tmp_path / "models"))
    folder = tmp_path / "models" / catalogue.named("cotracker").hub
    folder.mkdir(parents=True)
    save_file({"blocks.0.weight": torch.tensor([[2.0], [-1.0]])}, folder / "model.safetensors")
    return folder


VIDEO = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
POINTS = np.array([[10.5, 20.5], [46.5, 3.5]])


def test_points_and_colours_are_given_as_it_counts_them(code, weights):
    told = []
    found = track(VIDEO, POINTS, method="cotracker", progress=lambda done, total: told.append((done, total)))
    expected = POINTS + np.arange(5)[:, None, None] * (2, -1)
    assert np.allclose(found.xy, expected) and found.xy.dtype == np.float32
    assert found.visible.tolist() == [[True, True]] + [[True, False]] * 4
    assert told == [(0, 1), (1, 1)]


def test_it_stops_between_blocks(code, weights):
    with pytest.raises(Cancelled):
        track(VIDEO, POINTS, method="cotracker", cancelled=lambda: True)


def test_without_its_code_it_is_refused_with_its_licence(weights):
    with pytest.raises(UsageError, match="cotracker") as raised:
        track(VIDEO, POINTS, method="cotracker")
    assert "non-commercial" in raised.value.fix and "82e02e8" in raised.value.fix


def test_without_its_weights_it_says_what_they_would_be(code, tmp_path, monkeypatch):
    monkeypatch.setenv("DAS_MODELS", str(tmp_path / "none"))
    with pytest.raises(MissingModel, match="102 MB, licence CC-BY-NC-4.0; weights and code are not for commercial use"):
        track(VIDEO, POINTS, method="cotracker")


def test_other_weights_are_refused(code, weights):
    save_file({"other": torch.zeros(1)}, weights / "model.safetensors")
    with pytest.raises(WeightsError, match="not CoTracker 3's"):
        track(VIDEO, POINTS, method="cotracker")


def test_the_module_is_imported_without_torch():
    program = "import sys, diffusion_as_shader.backend.vision.cotracker; sys.exit('torch' in sys.modules or 'cotracker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
