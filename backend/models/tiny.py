"""A random checkpoint of the published layout, small enough for any CPU: for tests, and to try every path without 27 GB."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDPMScheduler
from transformers import ByT5Tokenizer, T5Config, T5EncoderModel
from transformers.utils import logging as transformers_logging

from ...shared.errors import UsageError
from .transformer import DaSTransformer3DModel

TEXT_WIDTH = 32
# As in the published checkpoint, but for the sizes.
SCHEDULER = {
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True, "set_alpha_to_one": True, "snr_shift_scale": 1.0, "timestep_spacing": "trailing",
}  # fmt: skip
CLASSES = {
    "scheduler": ["diffusers", "CogVideoXDPMScheduler"],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "ByT5Tokenizer"],
    "transformer": ["diffusers", "DaSTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLCogVideoX"],
}


def write_tiny_checkpoint(folder: Path | str, seed: int = 0, *, num_layers: int = 4, tracking_blocks: int = 2) -> Path:
    """Write it into a new or empty folder; the same seed gives the same weights. It makes any size that is a multiple of 16.

    Its tracking branch is random too, so that the tracking changes the result. UsageError for a folder with something in it.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already and is not empty.", "Choose a new folder.")
    transformers_logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {"transformer": _transformer(num_layers, tracking_blocks), "vae": _vae(), "text_encoder": _text_encoder()}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    ByT5Tokenizer().save_pretrained(folder / "tokenizer")
    CogVideoXDPMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "CogVideoXImageToVideoPipeline", **CLASSES}, indent=2) + "\n")
    return folder


def _transformer(num_layers: int, tracking_blocks: int) -> DaSTransformer3DModel:
    model = DaSTransformer3DModel(
        num_tracking_blocks=tracking_blocks, num_layers=num_layers, num_attention_heads=2, attention_head_dim=32,
        in_channels=8, out_channels=4, time_embed_dim=32, text_embed_dim=TEXT_WIDTH, max_text_seq_length=226,
        sample_width=12, sample_height=8, sample_frames=17, use_rotary_positional_embeddings=True,
    )  # fmt: skip
    for linear in (model.initial_combine_linear, *model.combine_linears):
        linear.reset_parameters()
    return model


def _vae() -> AutoencoderKLCogVideoX:
    return AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4, block_out_channels=(8,) * 4,
        latent_channels=4, layers_per_block=1, norm_num_groups=2, sample_width=96, sample_height=64, scaling_factor=0.7,
    )  # fmt: skip


def _text_encoder() -> T5EncoderModel:
    return T5EncoderModel(T5Config(d_model=TEXT_WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=384, feed_forward_proj="gated-gelu"))
