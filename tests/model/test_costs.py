"""What the network costs, by formula, against counting on the real classes."""

import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))

import small_network  # noqa: E402
from alive import Alive  # noqa: E402

from diffusion_as_shader.backend.models import costs, decode  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402

SIZE = GenerationRequest(width=8 * small_network.COLUMNS, height=8 * small_network.ROWS, frames=13)
LEARNED = {"use_learned_positional_embeddings": True}


def network_of(model) -> costs.Network:
    return costs.network(model.config, {}, 0, 0)


@pytest.mark.parametrize("change, blocks", [({}, 2), (LEARNED, 4), ({"num_layers": 3, "time_embed_dim": 48}, 1)])
def test_parameters_are_counted_to_the_last(change, blocks):
    model = small_network.make(tracking_blocks=blocks, **change)
    assert network_of(model).transformer == sum(weight.numel() for weight in model.state_dict().values())


def test_of_the_published_network():
    request = GenerationRequest()
    assert costs.PUBLISHED.transformer == pytest.approx(8.13e9, rel=0.01)
    assert costs.PUBLISHED.tokens(720, 480, 49) == 17_550
    assert costs.operations(costs.PUBLISHED, request) == pytest.approx(962e12, rel=0.001)
    assert costs.operations(costs.PUBLISHED, request, passes=1) * 2 == costs.operations(costs.PUBLISHED, request)
    assert costs.block_activations(costs.PUBLISHED, request, 2, 2) == pytest.approx(3.5e9, rel=0.01)


def test_operations_are_those_that_torch_counts():
    model = small_network.make()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # it does not know the CPU's own attention
        small_network.run(model, small_network.inputs())
    # The formula leaves out what does not grow with the tokens: modulation and time.
    assert costs.operations(network_of(model), SIZE) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_a_step_keeps_sixteen_tensors(monkeypatch):
    """Where the text is short beside the video, as it is in the published sizes."""
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", lambda query, *rest, **options: torch.empty_like(query))
    model, given = small_network.make(dtype=torch.bfloat16), small_network.inputs(dtype=torch.bfloat16)
    with Alive(model) as alive:
        small_network.run(model, given)
    assert alive.peak == pytest.approx(costs.block_activations(network_of(model), SIZE, 2, 2), rel=0.1)


@pytest.fixture(scope="module")
def vae():
    """The published VAE without its weights."""
    kinds = {"down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4}
    with torch.device("meta"):
        return AutoencoderKLCogVideoX(latent_channels=16, sample_height=480, sample_width=720, **kinds).to(torch.bfloat16).eval()


@pytest.mark.parametrize("width, height, tiled", [(720, 480, False), (360, 240, True), (720, 240, True)])
def test_memory_of_the_vae(vae, width, height, tiled):
    assert sum(weight.numel() for weight in vae.parameters()) == costs.PUBLISHED.vae
    request = GenerationRequest(width=width, height=height)
    with torch.device("meta"):
        latents = torch.empty(1, 16, 5, height // 8, width // 8, dtype=torch.bfloat16)
        pictures = torch.empty(1, 3, 17, height, width, dtype=torch.bfloat16)
    for decoding, given in ((True, latents), (False, pictures)):
        expected = costs.vae_activations(costs.PUBLISHED, request, 2, decoding=decoding, tiled=tiled, spilled=False)
        with Alive(vae) as alive:
            for _ in (decode.decode if decoding else decode.encode)(vae, given, tiled=tiled):
                pass
        assert alive.peak == pytest.approx(expected, rel=0.1), "decode" if decoding else "encode"


def test_tiles_whose_caches_wait_in_main_memory_need_no_more_than_one():
    whole = GenerationRequest(width=costs.TILE[1], height=costs.TILE[0])
    one = costs.vae_activations(costs.PUBLISHED, whole, 2, decoding=True, tiled=False, spilled=False)
    assert costs.vae_activations(costs.PUBLISHED, GenerationRequest(), 2, decoding=True, tiled=True, spilled=True) == one
