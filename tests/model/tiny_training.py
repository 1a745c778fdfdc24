"""A tiny model of the published classes that learns in a minute to follow its tracking: shapes that move over a plain ground.

Nothing in a first frame tells where its shapes will go, so only a model that follows the tracking can make the video.
The training is the reference's: the mean squared error of v at timesteps drawn evenly (arXiv 2501.03847), AdamW, but of
all weights, since there is no trained base. Its VAE is exact and written down by hand: latents are mean colours.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler
from einops import rearrange, reduce, repeat

from diffusion_as_shader.backend.models import sampling, text
from diffusion_as_shader.backend.models.checkpoint import Checkpoint
from diffusion_as_shader.backend.models.tiny import write_tiny_checkpoint
from diffusion_as_shader.backend.models.transformer import DaSTransformer3DModel
from diffusion_as_shader.shared.tracking import quantise

WIDTH, HEIGHT, FRAMES = 96, 64, 9
PROMPT = "moving shapes"
TEXT_LENGTH = 16
SCALING_FACTOR = 3.0  # latents of colours then vary by about 1, as the published ones do
PIXEL_X, PIXEL_Y = np.arange(WIDTH)[None] + 0.5, np.arange(HEIGHT)[:, None] + 0.5
LINEAR = 20.0  # silu(x + 20) - 20 is x to 1e-6 for colours x
CONSTANT = 100.0  # beside it colours change the variance of a group by 1e-4


class Scene(NamedTuple):
    """A disc or a square that moves over a plain ground, in pixels and frames."""

    x: float
    y: float
    half: float  # half a side, or the radius
    velocity: tuple[float, float]
    disc: bool
    colour: np.ndarray
    ground: np.ndarray


class Clips(NamedTuple):
    """Videos and their tracking videos, both u8 [N,T,H,W,3]."""

    video: np.ndarray
    tracking: np.ndarray


def random_scene(rng: np.random.Generator) -> Scene:
    """A bright colour that goes in any direction over a grey ground; nothing is at rest."""
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(2, 5)
    return Scene(
        x=rng.uniform(20, WIDTH - 20),
        y=rng.uniform(16, HEIGHT - 16),
        half=rng.uniform(10, 16),
        velocity=(speed * np.cos(angle), speed * np.sin(angle)),
        disc=rng.random() < 0.5,
        colour=rng.permutation([rng.integers(0, 64), rng.integers(192, 256), rng.integers(0, 256)]),
        ground=rng.integers(96, 160, 3),
    )


def draw(scenes: list[Scene], frames: int = FRAMES) -> Clips:
    """What the scenes look like, and the colour code of where each point of their shapes was in the first frame."""
    shape = (len(scenes), frames, HEIGHT, WIDTH, 3)
    clips = Clips(np.empty(shape, np.uint8), np.zeros(shape, np.uint8))
    for video, tracking, scene in zip(*clips, scenes):
        video[:] = scene.ground
        for time in range(frames):
            paint(video[time], tracking[time], scene, time)
    return clips


def paint(picture: np.ndarray, tracking: np.ndarray, scene: Scene, time: int) -> None:
    """The shape, in place, into one frame of both; black in the tracking where it was off screen at first."""
    rest_x, rest_y = PIXEL_X - scene.velocity[0] * time, PIXEL_Y - scene.velocity[1] * time
    dx, dy = abs(rest_x - scene.x), abs(rest_y - scene.y)
    rows, columns = np.nonzero((np.hypot(dx, dy) if scene.disc else np.maximum(dx, dy)) < scene.half)
    picture[rows, columns] = scene.colour
    code = np.stack([rest_x[0, columns] / WIDTH, rest_y[rows, 0] / HEIGHT, np.ones(len(rows))], axis=-1)
    on_screen = ((code >= 0) & (code <= 1)).all(axis=-1, keepdims=True)
    tracking[rows, columns] = on_screen * quantise(code.clip(0, 1))


def mean_colours(frames: np.ndarray) -> torch.Tensor:
    """What the VAE makes of u8 [N,T,H,W,3]: means of 8x8 pixels of the first frame and of each four others, [N,F,4,h,w]."""
    small = reduce(torch.from_numpy(frames).float() / 127.5 - 1, "n t (h p) (w q) c -> n t c h w", "mean", p=8, q=8)
    four = reduce(small[:, 1:], "n (f g) c h w -> n f c h w", "mean", g=4)
    colours = torch.cat([small[:, :1], four], dim=1)
    return torch.cat([colours, colours.mean(dim=2, keepdim=True)], dim=2)


@torch.no_grad()
def mean_colour_vae() -> AutoencoderKLCogVideoX:
    """diffusers' VAE with weights that make it :func:`mean_colours`, without noise; decoding repeats each colour.

    Its residual blocks add nothing. Normalisation is what a linear one must get around: the encoder's sees each colour
    with its negative and a large constant, whose mean is 0 and whose variance is the constant's; the decoder's is
    multiplied by 0 and the latents added.
    """
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4, block_out_channels=(8,) * 4,
        latent_channels=4, layers_per_block=1, norm_num_groups=1, sample_width=WIDTH, sample_height=HEIGHT,
        scaling_factor=SCALING_FACTOR,
    )  # fmt: skip
    for parameter in vae.parameters():
        parameter.zero_()
    _encode_means(vae.encoder)
    _decode_means(vae.decoder)
    return vae


def _encode_means(encoder: torch.nn.Module) -> None:
    into, out = encoder.conv_in.conv, encoder.conv_out.conv
    for colour in range(3):
        into.weight[2 * colour : 2 * colour + 2, colour, -1, 1, 1] = torch.tensor([1.0, -1.0])
        out.weight[[colour, 3], 2 * colour, -1, 1, 1] = torch.tensor([1.0, 1 / 3])
    into.bias[6:] = torch.tensor([CONSTANT, -CONSTANT])
    for block in encoder.down_blocks[:-1]:
        block.downsamplers[0].conv.weight[range(8), range(8), :2, :2] = 0.25
    encoder.norm_out.weight.fill_(CONSTANT / 2)
    encoder.norm_out.bias.fill_(LINEAR)
    out.bias[:4], out.bias[4:] = -LINEAR, -30.0  # means, and logarithms of variances


def _decode_means(decoder: torch.nn.Module) -> None:
    added, out = decoder.norm_out.conv_b.conv, decoder.conv_out.conv
    added.weight[range(4), range(4), 0, 0, 0] = 1.0
    added.bias.fill_(LINEAR)
    out.weight[range(3), range(3), -1, 1, 1] = 1.0
    out.bias.fill_(-LINEAR)


class Examples(NamedTuple):
    """Clips as the transformer sees them: video and image [N,F,C,h,w], tracking [N,F,2C,h,w]."""

    video: torch.Tensor
    image: torch.Tensor
    tracking: torch.Tensor

    def chosen(self, which: torch.Tensor) -> Examples:
        return Examples(*(part[which] for part in self))


def examples(clips: Clips) -> Examples:
    video, tracking = (SCALING_FACTOR * mean_colours(frames) for frames in clips)
    image, beside = (torch.cat([one[:, :1], torch.zeros_like(one[:, 1:])], dim=1) for one in (video, tracking))
    return Examples(video, image, torch.cat([tracking, beside], dim=2))


class Loss:
    """The mean squared error of v, for a transformer and one prompt."""

    def __init__(self, transformer: DaSTransformer3DModel, words: torch.Tensor, alphas: torch.Tensor):
        self.transformer = transformer
        self.words = words
        self.alphas = alphas

    def __call__(self, given: Examples, timestep: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        a = rearrange(self.alphas[timestep], "n -> n 1 1 1 1")
        noisy = a**0.5 * given.video + (1 - a) ** 0.5 * noise
        v = a**0.5 * noise - (1 - a) ** 0.5 * given.video
        predicted = self.transformer(
            torch.cat([noisy, given.image], dim=2),
            repeat(self.words, "1 l d -> n l d", n=len(noisy)),
            timestep,
            image_rotary_emb=sampling.rotary_embedding(self.transformer, noisy),
            attention_kwargs={"tracking_maps": given.tracking},
            return_dict=False,
        )[0]
        return torch.nn.functional.mse_loss(predicted, v)


class Lesson(NamedTuple):
    """How long, how fast, on how many clips."""

    steps: int = 300
    batch: int = 8
    rate: float = 5e-3
    clips: int = 1024


def write_beginner(folder: Path, seed: int) -> Checkpoint:
    """An untrained checkpoint: the tiny one with the exact VAE and a text of 16 tokens, nothing in it zero."""
    write_tiny_checkpoint(folder, seed, num_layers=2, tracking_blocks=2)
    config = dict(Checkpoint(str(folder)).transformer().config) | {"max_text_seq_length": TEXT_LENGTH, "sample_frames": FRAMES}
    torch.manual_seed(seed)
    fresh = DaSTransformer3DModel(**{name: value for name, value in config.items() if not name.startswith("_")})
    for linear in (fresh.initial_combine_linear, *fresh.combine_linears):
        linear.reset_parameters()  # from zero it would spend half of its minute on getting away from there
    for name, part in (("transformer", fresh), ("vae", mean_colour_vae())):
        shutil.rmtree(folder / name)
        part.save_pretrained(folder / name)
    return Checkpoint(str(folder))


def make_loss(checkpoint: Checkpoint) -> Loss:
    """On the checkpoint's own text encoder and scheduler."""
    tokens = text.tokens(checkpoint.tokenizer(), PROMPT, TEXT_LENGTH)
    with torch.no_grad():
        words = checkpoint.text_encoder()(tokens)[0]
    alphas = CogVideoXDDIMScheduler.from_config(checkpoint.scheduler_config()).alphas_cumprod.float()
    return Loss(checkpoint.transformer(), words, alphas)


def train(folder: Path, seed: int, lesson: Lesson = Lesson()) -> Checkpoint:
    """A trained checkpoint in a new folder; the same seed gives the same weights on one machine."""
    loss = make_loss(write_beginner(folder, seed))
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    given = examples(draw([random_scene(rng) for _ in range(lesson.clips)]))
    weights = [one.requires_grad_() for one in loss.transformer.train().parameters()]
    optimizer = torch.optim.AdamW(weights, lesson.rate, betas=(0.9, 0.95), weight_decay=1e-3)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, lesson.rate, lesson.steps, pct_start=0.1)
    for _ in range(lesson.steps):
        which = torch.randint(len(given.video), (lesson.batch,), generator=generator)
        timestep, noise = random_noise(given.video[which].shape, generator)
        optimizer.zero_grad()
        loss(given.chosen(which), timestep, noise).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        pace.step()
    shutil.rmtree(folder / "transformer")
    loss.transformer.save_pretrained(folder / "transformer")
    return Checkpoint(str(folder))


def random_noise(shape: torch.Size, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Timesteps [N] and noise of a shape [N,...]."""
    return torch.randint(1000, shape[:1], generator=generator), torch.randn(shape, generator=generator)


class Errors(NamedTuple):
    """v-MSE on held-out clips: with their own tracking, with another clip's, with a black one."""

    matched: float
    shuffled: float
    black: float


@torch.no_grad()
def held_out_errors(checkpoint: Checkpoint, count: int = 64, seed: int = 1_000_000) -> Errors:
    """The same clips, timesteps and noise for each kind of tracking, and for every checkpoint."""
    loss = make_loss(checkpoint)
    rng = np.random.default_rng(seed)
    given = examples(draw([random_scene(rng) for _ in range(count)]))
    timestep, noise = random_noise(given.video.shape, torch.Generator().manual_seed(seed))
    black = examples(Clips(*(np.zeros((1, FRAMES, HEIGHT, WIDTH, 3), np.uint8),) * 2)).tracking
    trackings = (given.tracking, given.tracking.roll(1, 0), black.expand_as(given.tracking))
    return Errors(*(loss(given._replace(tracking=one), timestep, noise).item() for one in trackings))
