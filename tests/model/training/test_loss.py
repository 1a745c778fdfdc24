"""What is learnt: the loss, its noise and dropouts."""

import pytest
import torch
from einops import rearrange

from diffusion_as_shader.backend.models.tiny import SCHEDULER, write_tiny_checkpoint
from diffusion_as_shader.backend.models.checkpoint import Checkpoint
from diffusion_as_shader.backend.training import loss, order
from diffusion_as_shader.backend.training.data import Pictures, encode
from diffusers import CogVideoXDPMScheduler


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return Checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny"))


@pytest.fixture(scope="module")
def clip(checkpoint):
    frames = torch.randint(0, 256, (2, 9, 64, 96, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    return encode(checkpoint.vae(), Pictures(frames[0], frames[1]))


def examples(checkpoint, clip, settings=loss.Settings(), count=2):
    conditioner = loss.Conditioner(checkpoint.vae(), 1000, settings, blank=torch.zeros(226, 32))
    return conditioner([clip] * count, [torch.ones(226, 32)] * count, [order.generator(3, 0, place) for place in range(count)])


def test_the_error_of_v_is_the_reference_weighted_error_of_x0(checkpoint, clip):
    """The reference: mean of (x0_hat - x0)^2 / (1 - a_t), x0_hat = scheduler.get_velocity(v, noisy, t)."""
    transformer, scheduler = checkpoint.transformer(), CogVideoXDPMScheduler(**SCHEDULER)
    given = examples(checkpoint, clip, count=4)
    seen = {}

    def watched(states, *rest, **named):
        seen["v"] = transformer(states, *rest, **named)[0]
        seen["noisy"] = states[:, :, :4]
        return (seen["v"],)

    watched.module = transformer
    with torch.no_grad():
        ours = loss.v_error(watched, given, scheduler.alphas_cumprod)
    clean = scheduler.get_velocity(seen["v"], seen["noisy"], given.timestep)
    weight = rearrange(1 / (1 - scheduler.alphas_cumprod[given.timestep]), "b -> b 1 1 1 1")
    reference = (weight * (clean - given.video) ** 2).mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(ours.double(), reference.double(), rtol=1e-5, atol=0)


def test_dropout_is_of_each_clip_and_leaves_the_tracking(checkpoint, clip):
    given = examples(checkpoint, clip, loss.Settings(drop_conditioning=0.3, drop_prompt=0.5), count=64)
    dropped = [not image.any() for image in given.image]
    for image_gone, maps, image in zip(dropped, given.tracking, given.image):
        assert maps[:, :4].any(), "the tracking itself stays"
        assert maps[:, 4:].any() != image_gone
        assert not image[1:].any(), "the first frame is in latent frame 0 alone"
    assert 8 <= sum(dropped) <= 32
    assert 16 <= sum(not text.any() for text in given.text) <= 48


def test_noise_on_the_first_frame_differs_by_clip_and_can_be_left_out(checkpoint, clip):
    noisy, plain = examples(checkpoint, clip).image, examples(checkpoint, clip, loss.Settings(image_noise=None)).image
    assert not torch.equal(noisy[0], noisy[1])
    assert (noisy - plain).abs().max() > 0


def test_a_place_draws_the_same_in_any_batch(checkpoint, clip):
    whole = examples(checkpoint, clip, count=3)
    conditioner = loss.Conditioner(checkpoint.vae(), 1000, loss.Settings())
    alone = conditioner([clip], [torch.ones(226, 32)], [order.generator(3, 0, 2)])
    assert all(torch.equal(many[2], one[0]) for many, one in zip(whole, alone))
