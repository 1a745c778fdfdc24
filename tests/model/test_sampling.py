"""Our loop against diffusers' own pipeline, its guidance, and what a cancel reaches."""

import itertools
import math

import pytest
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXImageToVideoPipeline,
)

from diffusion_as_shader.backend.models import latents as encoding
from diffusion_as_shader.backend.models import sampling
from diffusion_as_shader.backend.models.transformer import DaSTransformer3DModel
from diffusion_as_shader.shared.errors import Cancelled, UsageError

SCHEDULERS = {"ddim": CogVideoXDDIMScheduler, "dpm": CogVideoXDPMScheduler}
PUBLISHED = dict(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    snr_shift_scale=1.0,
    timestep_spacing="trailing",
    clip_sample=False,
)


@pytest.fixture(scope="module")
def transformer():
    """Every weight random, the zero-initialised ones too."""
    model = DaSTransformer3DModel(
        num_tracking_blocks=2,
        num_attention_heads=2,
        attention_head_dim=32,
        in_channels=8,
        out_channels=4,
        time_embed_dim=32,
        text_embed_dim=32,
        num_layers=3,
        sample_width=12,
        sample_height=8,
        sample_frames=9,
        max_text_seq_length=16,
        use_rotary_positional_embeddings=True,
    ).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return AutoencoderKLCogVideoX(block_out_channels=(8,) * 4, latent_channels=4, layers_per_block=1, norm_num_groups=2).eval()


@pytest.fixture(scope="module")
def texts():
    return torch.randn(2, 1, 16, 32, generator=torch.Generator().manual_seed(5)).unbind()


@pytest.fixture(scope="module")
def picture():
    return torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(6)) * 2 - 1


@pytest.fixture(scope="module")
def tracking():
    return torch.randn(1, 3, 8, 8, 12, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def parts(transformer, vae, texts, picture, tracking):
    return transformer, vae, texts, picture, tracking


def stock(parts, scheduler, steps, seed, **guidance):
    """The final latents of diffusers' pipeline."""
    transformer, vae, texts, picture, tracking = parts
    pipe = CogVideoXImageToVideoPipeline(None, None, vae, transformer, scheduler)
    pipe.set_progress_bar_config(disable=True)
    generator, _ = encoding.generators(seed)
    vae.disable_tiling()
    return pipe(
        image=picture / 2 + 0.5,
        prompt_embeds=texts[0],
        negative_prompt_embeds=texts[1],
        num_frames=9,
        num_inference_steps=steps,
        generator=generator,
        output_type="latent",
        attention_kwargs={"tracking_maps": tracking},
        **guidance,
    ).frames


def ours(parts, kind, steps, seed, guidance, scale=6.0, batched=True):
    transformer, vae, texts, picture, tracking = parts
    generator, _ = encoding.generators(seed)
    image = encoding.image_latent_scale(vae) * encoding.after_first(encoding.encode(vae, picture[:, :, None], generator), 3)
    scheduler = SCHEDULERS[kind](**PUBLISHED)
    schedule = sampling.trailing_schedule(scheduler, steps)
    conditions = sampling.Conditions(*texts, image, tracking)
    model = sampling.guided(transformer, conditions, sampling.guidance_scale(guidance, scale, schedule), batched=batched)
    noise = sampling.drawn(generator, image)
    *_, last = sampling.sample(kind, model, noise(), schedule, noise)
    return last.x


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("guidance", ["constant", "reference"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_final_latents_are_those_of_diffusers(parts, kind, guidance, steps):
    scheduler = SCHEDULERS[kind](**PUBLISHED)
    dynamic = guidance == "reference"
    expected = stock(parts, scheduler, steps, 11, guidance_scale=6.0, use_dynamic_cfg=dynamic)
    got = ours(parts, kind, steps, 11, guidance)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_unguided_latents_are_those_of_diffusers(parts):
    expected = stock(parts, SCHEDULERS["ddim"](**PUBLISHED), 2, 11, guidance_scale=1.0)
    got = ours(parts, "ddim", 2, 11, "constant", 1.0)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_split_guidance_is_batched_guidance(parts):
    both = [ours(parts, "dpm", 4, 1, "dynamic", batched=batched) for batched in (True, False)]
    torch.testing.assert_close(*both, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 2, 7, 30, 50])
def test_a_perfect_model_is_followed_to_its_clean_latents(kind, steps):
    """Any number of steps ends without noise: v of a known x_0 leads to it."""
    schedule = sampling.trailing_schedule(SCHEDULERS[kind](**PUBLISHED), steps)
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(1, 3, 4, 8, 12, generator=generator, dtype=torch.float64)
    asked = []

    def model(x, t, step):
        asked.append((step, t))
        a = schedule.alphas[step]
        noise = (x - a**0.5 * x0) / (1 - a) ** 0.5
        return a**0.5 * noise - (1 - a) ** 0.5 * x0

    noise = sampling.drawn(generator, x0)
    done = list(sampling.sample(kind, model, noise(), schedule, noise))
    assert len(done) == steps and asked == list(enumerate(schedule.timesteps))
    assert asked[0][1] == 999 and all(one > other for one, other in itertools.pairwise(schedule.timesteps))
    torch.testing.assert_close(done[-1].x, x0, rtol=0, atol=1e-9)
    for step in done:
        torch.testing.assert_close(step.x0, x0, rtol=0, atol=1e-9)


def test_guidance_rises_by_step_is_constant_or_jumps():
    schedule = sampling.trailing_schedule(SCHEDULERS["dpm"](**PUBLISHED), 50)
    rising = sampling.guidance_scale("dynamic", 6, schedule)
    assert rising[0] == 1 and rising == sorted(rising) and 6.5 < rising[-1] < 7
    assert sampling.guidance_scale("constant", 4.5, schedule) == [4.5] * 50
    jumping = sampling.guidance_scale("reference", 6, schedule)
    assert jumping[0] == pytest.approx(1 + 6 * (1 - math.cos(math.pi * ((50 - 999) / 50) ** 5)) / 2)
    assert jumping != sorted(jumping) and min(jumping) >= 1 and max(jumping) <= 7


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_steps_are_refused(steps):
    with pytest.raises(UsageError, match="not possible"):
        sampling.trailing_schedule(SCHEDULERS["dpm"](**PUBLISHED), steps)


def test_another_prediction_is_refused():
    with pytest.raises(UsageError, match="predicts epsilon"):
        sampling.trailing_schedule(SCHEDULERS["dpm"](**PUBLISHED | {"prediction_type": "epsilon"}), 4)


def test_cancel_acts_between_blocks(parts, transformer):
    """The second block of a step is not run once the answer is yes, and nothing is left on the model."""
    ran = []
    hooks = [block.register_forward_hook(lambda *_: ran.append(1)) for block in transformer.transformer_blocks]
    try:
        with pytest.raises(Cancelled), sampling.cancellable(transformer, lambda: len(ran) >= 4):
            ours(parts, "dpm", 3, 0, "constant")
        assert len(ran) == 4, "the second block of the second step was the first that asked"
    finally:
        for hook in hooks:
            hook.remove()
    ours(parts, "dpm", 1, 0, "constant")
