"""The map from latents to colours: exact where it is linear, close on the VAE's own latents, cheap."""

import time

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX

from diffusion_as_shader.backend.models import latents as encoding
from diffusion_as_shader.backend.models import preview


def moving_shapes(count: int) -> np.ndarray:
    """u8 [T,64,96,3]: a coloured square on a gradient."""
    y, x = np.mgrid[:64, :96]
    frames = np.stack([np.stack([x * 2, y * 3, np.full_like(x, 90)], axis=-1)] * count).astype(np.uint8)
    for index in range(count):
        frames[index, 16:40, 4 * index : 4 * index + 24] = (230, 40, 30)
    return frames


def test_a_linear_map_is_found_again():
    pictures = encoding.to_pictures(moving_shapes(9), torch.device("cpu"), torch.float32)
    mixing = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    small = preview.shrunk(pictures, torch.Size((1, 3, 8, 8, 12)))
    latents = torch.einsum("kc,fchw->fkhw", mixing, small)[None] + 0.5
    got = preview.preview(latents, preview.fit([(latents, pictures)]))
    expected = encoding.to_frames(small.transpose(0, 1)[None])
    assert got.shape == (3, 8, 12, 3) and got.dtype == np.uint8
    assert np.abs(got.astype(int) - expected).max() <= 2


def test_a_latent_frame_is_the_mean_of_its_pictures():
    frames = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((9, 8, 8, 3), np.uint8)
    small = preview.shrunk(torch.from_numpy(frames).float().permute(3, 0, 1, 2)[None], torch.Size((1, 3, 4, 1, 1)))
    assert small.flatten(1)[:, 0].tolist() == [0, 2.5, 6.5]


def test_latents_of_a_vae_with_random_weights_say_something():
    """The pictures it was fitted on are nearer than their mean colour is; more a random VAE does not keep of colours."""
    torch.manual_seed(0)
    vae = AutoencoderKLCogVideoX(block_out_channels=(8,) * 4, latent_channels=4, layers_per_block=1, norm_num_groups=2).eval()
    clip = encoding.to_pictures(moving_shapes(9), torch.device("cpu"), torch.float32)
    latents = encoding.encode(vae, clip)
    shown = preview.preview(latents, preview.fit([(latents, clip)])).astype(float)
    expected = encoding.to_frames(preview.shrunk(clip, latents.shape).transpose(0, 1)[None]).astype(float)
    mean = expected.mean((0, 1, 2))
    assert ((shown - expected) ** 2).mean() < 0.85 * ((mean - expected) ** 2).mean()


def test_a_blank_first_frame_gives_a_finite_map():
    pictures = torch.ones(1, 3, 1, 16, 16)
    to_rgb = preview.fit([(torch.full((1, 1, 4, 2, 2), 0.3), pictures)])
    assert torch.isfinite(to_rgb).all()
    assert (preview.preview(torch.full((1, 1, 4, 2, 2), 0.3), to_rgb) > 250).all()


def test_a_preview_costs_little():
    """Under 2 % of the quickest step that the published size can take: 962 TFLOP at 790 TFLOP/s are 1.2 s."""
    x0, to_rgb = torch.randn(1, 13, 16, 60, 90), torch.randn(17, 3).double()
    taken = []
    for _ in range(10):
        began = time.perf_counter()
        assert preview.preview(x0, to_rgb).shape == (13, 60, 90, 3)
        taken.append(time.perf_counter() - began)
    assert min(taken) < 0.02 * 962 / 790
