"""What a run is expected to need: the factors are counted on real blocks, the parameters on real models."""

import pytest
import torch

from diffusion_as_shader.backend.models.costs import PUBLISHED, network
from diffusion_as_shader.backend.models.transformer import DaSTransformer3DModel
from diffusion_as_shader.backend.training import memory, parameters
from diffusion_as_shader.backend.training.config import TrainConfig

CONFIG = TrainConfig(data="d", output="o", lora_rank=4)
TOKENS, TEXT, WIDTH = 512, 16, 256


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DaSTransformer3DModel(
        num_layers=2, num_tracking_blocks=1, num_attention_heads=4, attention_head_dim=64, in_channels=8, out_channels=4, time_embed_dim=32,
        text_embed_dim=32, max_text_seq_length=TEXT, sample_width=48, sample_height=32, sample_frames=9, use_rotary_positional_embeddings=True,
    )  # fmt: skip


def kept(block) -> float:
    """What its forward pass leaves for the backward one beside its weights, in tensors of [B,S,D]."""
    weights = {one.untyped_storage().data_ptr() for one in block.parameters()}
    seen: dict[int, int] = {}
    alive = []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    video, text = (torch.randn(1, count, WIDTH, requires_grad=True) for count in (TOKENS, TEXT))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        block(video, text, torch.randn(1, 32), (torch.randn(TOKENS, 64), torch.randn(TOKENS, 64)), {})
    return sum(seen.values()) / (4 * (TOKENS + TEXT) * WIDTH)


def test_factors_are_what_real_blocks_keep(model):
    parameters.make_trainable(model, CONFIG)
    assert kept(model.transformer_blocks[0]) == pytest.approx(memory.KEPT_FROZEN, rel=0.02)
    assert kept(model.transformer_blocks_copy[0]) == pytest.approx(memory.KEPT_TRAINED, rel=0.02)


def test_the_factor_of_lora_is_what_a_real_block_keeps(model):
    pytest.importorskip("peft", reason="needs the extra train")
    parameters.add_lora(model, 4, 4, 0)
    assert kept(model.transformer_blocks[0]) == pytest.approx(memory.KEPT_LORA, rel=0.02)


@pytest.mark.parametrize("method", ["side", "lora"])
def test_trained_parameters_are_counted(model, method):
    if method == "lora":
        pytest.importorskip("peft", reason="needs the extra train")
    config = TrainConfig(data="d", output="o", method=method, lora_rank=4)
    chosen = parameters.make_trainable(model, config)
    of = network(dict(model.config), {}, 0, 0)
    assert memory.trained_parameters(of, config) == sum(one.numel() for one in chosen.values())


def test_the_published_model_needs_what_the_notes_say():
    """2.56e9 parameters of the branch: weights, gradients and AdamW are 16 bytes each."""
    plan = memory.plan(PUBLISHED, CONFIG, (720, 480, 49), 2)
    assert plan.trained / 4 == pytest.approx(2.56e9, rel=0.01)
    assert plan.trained + plan.gradients + plan.optimizer == pytest.approx(41e9, rel=0.01)
    smaller = dict(memory.alternatives(PUBLISHED, CONFIG, (720, 480, 49), 2))
    assert smaller['method = "lora", micro_batch = 1'].total < smaller['method = "lora"'].total < plan.total
