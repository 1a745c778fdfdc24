"""Streamed decoding against diffusers' own, untiled and tiled, and what arrives when."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLCogVideoX

from diffusion_as_shader.backend.models import decode as decoding
from diffusion_as_shader.backend.models import latents as encoding


def small_vae(dtype: torch.dtype) -> AutoencoderKLCogVideoX:
    """Random weights; tiles of 6x5 latents that begin every 5x4."""
    torch.manual_seed(0)
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8,) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        sample_height=96,
        sample_width=80,
    )
    return vae.to(dtype).eval()


def random_latents(frames: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(1, 4, frames, 8, 6, generator=torch.Generator().manual_seed(frames), dtype=dtype)


@pytest.mark.parametrize("tiled", [False, True], ids=["whole", "tiled"])
@pytest.mark.parametrize("frames, dtype", [(1, torch.float32), (4, torch.float32), (5, torch.float32), (3, torch.float64)])
def test_pictures_are_those_of_diffusers(frames, tiled, dtype):
    vae, z = small_vae(dtype), random_latents(frames, dtype)
    if tiled:
        vae.enable_tiling()
    with torch.no_grad():
        expected = vae.decode(z).sample
    got = torch.cat(list(decoding.decode(vae, z, tiled=tiled)), dim=2)
    assert got.shape == expected.shape and expected.std() > 1e-3
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def test_tiles_are_not_the_whole():
    """Else the comparison above would not have tested tiling."""
    vae, z = small_vae(torch.float32), random_latents(3, torch.float32)
    whole, tiled = (next(decoding.decode(vae, z, tiled=tiled)) for tiled in (False, True))
    assert (whole - tiled).abs().max() > 1e-3


def test_latents_smaller_than_a_tile_are_decoded_whole():
    vae, z = small_vae(torch.float32), random_latents(3, torch.float32)[..., :4, :5]
    torch.testing.assert_close(next(decoding.decode(vae, z, tiled=True)), next(decoding.decode(vae, z)), rtol=0, atol=0)


def test_the_first_pictures_come_before_the_rest_is_decoded():
    vae, z = small_vae(torch.float32), random_latents(7, torch.float32)
    calls = []
    vae.decoder.register_forward_pre_hook(lambda *_: calls.append(1))
    pictures = decoding.decode(vae, z, tiled=True)
    counts = [(part.shape[2], len(calls)) for part in pictures]
    tiles = len(calls) // 3
    assert counts == [(9, tiles), (8, 2 * tiles), (8, 3 * tiles)]


def test_49_pictures_come_as_9_and_six_times_8():
    assert [s.stop - s.start for s in decoding.frame_batches(13, 2)] == [3, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("tiled", [False, True])
def test_encoding_is_that_of_diffusers(tiled):
    vae = small_vae(torch.float32)
    pictures = torch.rand(1, 3, 9, 64, 56, generator=torch.Generator().manual_seed(1)) * 2 - 1
    vae.enable_tiling() if tiled else vae.disable_tiling()
    with torch.no_grad():
        posterior = vae.encode(pictures).latent_dist
    expected = posterior.sample(torch.Generator().manual_seed(7))
    got = encoding.encode(vae, pictures, torch.Generator().manual_seed(7), tiled=tiled)
    torch.testing.assert_close(got.transpose(1, 2), expected, rtol=0, atol=0)
    torch.testing.assert_close(encoding.encode(vae, pictures, tiled=tiled).transpose(1, 2), posterior.mode(), rtol=0, atol=0)
    assert got.shape == (1, 3, 4, 8, 7)


def test_frames_keep_their_levels():
    frames = np.arange(256, dtype=np.uint8)[None, :, None, None].repeat(3, -1).repeat(2, 2)
    for dtype in (torch.float32, torch.float64):
        np.testing.assert_array_equal(encoding.to_frames(encoding.to_pictures(frames, torch.device("cpu"), dtype)), frames)


@pytest.mark.parametrize("chosen, invert, expected", [("auto", False, 2), ("auto", True, 0.5), ("mul", True, 2), ("div", False, 0.5)])
def test_the_first_frames_scale(chosen, invert, expected):
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8,) * 4, latent_channels=4, layers_per_block=1, norm_num_groups=2, scaling_factor=2, invert_scale_latents=invert
    )
    assert encoding.image_latent_scale(vae, chosen) == expected


def test_one_picture_is_followed_by_zeros():
    first = torch.randn(1, 1, 4, 2, 3)
    whole = encoding.after_first(first, 3)
    assert whole.shape == (1, 3, 4, 2, 3) and torch.equal(whole[:, :1], first) and not whole[:, 1:].any()


def test_the_published_vae_is_tiled_as_diffusers_does():
    vae = AutoencoderKLCogVideoX(block_out_channels=(8,) * 4, latent_channels=4, layers_per_block=1, norm_num_groups=2)
    assert decoding.decoder_tilings(vae) == ((30, 25, 200, 40), (45, 36, 288, 72))
    assert decoding.encoder_tilings(vae) == ((240, 200, 25, 5), (360, 288, 36, 9))


def test_the_two_generators_of_a_seed_differ():
    for seed in (0, 1, 2**32 - 1):
        one, other = (torch.randn(4, generator=generator) for generator in encoding.generators(seed))
        assert not torch.equal(one, other)
    again, _ = encoding.generators(5)
    assert torch.equal(torch.randn(4, generator=again), torch.randn(4, generator=encoding.generators(5)[0]))
