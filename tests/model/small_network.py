"""A transformer small enough for any CPU, with every weight random, and what the pipeline gives it."""

import torch

from diffusion_as_shader.backend.models.transformer import DaSTransformer3DModel

CONFIG = {
    "num_attention_heads": 2, "attention_head_dim": 32, "in_channels": 8, "out_channels": 4, "time_embed_dim": 32, "text_embed_dim": 32,
    "num_layers": 4, "sample_width": 12, "sample_height": 8, "sample_frames": 13, "max_text_seq_length": 16,
    "use_rotary_positional_embeddings": True,
}  # fmt: skip
FRAMES, ROWS, COLUMNS = 4, 8, 12  # of latents


def make(seed=0, tracking_blocks=2, dtype=torch.float32, **change) -> DaSTransformer3DModel:
    generator = torch.Generator().manual_seed(seed)
    model = DaSTransformer3DModel(num_tracking_blocks=tracking_blocks, **(CONFIG | change)).to(dtype).eval().requires_grad_(False)
    for parameter in [*model.parameters(), *model.buffers()]:
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / max(parameter.shape[-1], 8) ** 0.5)
    return model


def inputs(batch=2, dtype=torch.float32, seed=2, noise=0.0) -> dict:
    """``noise`` is added to the latents: what the next step would bring."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator).to(dtype)

    count = FRAMES * ROWS * COLUMNS // 4
    angles = torch.rand(count, 16, generator=generator).repeat_interleave(2, 1)
    given = {
        "hidden_states": drawn(batch, FRAMES, 8, ROWS, COLUMNS),
        "encoder_hidden_states": drawn(batch, 16, 32),
        "timestep": torch.tensor([313] * batch),
        "image_rotary_emb": (angles.cos(), angles.sin()),
        "attention_kwargs": {"tracking_maps": drawn(1, FRAMES, 8, ROWS, COLUMNS)},
        "return_dict": False,
    }
    given["hidden_states"] += noise * drawn(*given["hidden_states"].shape)
    return given


@torch.no_grad()
def run(model, given, context="cond_uncond") -> torch.Tensor:
    with model.cache_context(context):
        return model(**given)[0]


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The distance as a share of what is expected."""
    return ((found - expected).norm() / expected.norm()).item()
