"""The network against the same written down in plain torch, against its base, on disk, in training, in diffusers' pipeline."""

import copy
import json
import sys
from pathlib import Path

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXImageToVideoPipeline, CogVideoXTransformer3DModel
from diffusers.hooks import FirstBlockCacheConfig, apply_first_block_cache

sys.path.insert(0, str(Path(__file__).parent))

import plain_network  # noqa: E402

from diffusion_as_shader.backend.models.transformer import TRACKING_PARTS, DaSTransformer3DModel  # noqa: E402

SMALL = {
    "num_attention_heads": 2, "attention_head_dim": 32, "in_channels": 8, "out_channels": 4, "time_embed_dim": 32, "text_embed_dim": 32,
    "num_layers": 4, "sample_width": 12, "sample_height": 8, "sample_frames": 13, "max_text_seq_length": 16,
    "use_rotary_positional_embeddings": True,
}  # fmt: skip
LEARNED = SMALL | {"use_learned_positional_embeddings": True}  # as CogVideoX-5b-I2V has
FRAMES, ROWS, COLUMNS = 4, 4, 6  # of tokens


def make(config=SMALL, tracking_blocks=2, seed=0, dtype=torch.float64) -> DaSTransformer3DModel:
    torch.manual_seed(seed)
    return DaSTransformer3DModel(num_tracking_blocks=tracking_blocks, **config).to(dtype).eval()


def randomised(model, seed=1):
    """No weight is left at what its construction made of it: zeros and ones would hide errors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in [*model.parameters(), *model.buffers()]:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / max(parameter.shape[-1], 8) ** 0.5)
    return model


def inputs(batch=2, dtype=torch.float64, seed=2) -> dict:
    """What the pipeline passes: latents with image latents, text, a time step each, tracking latents."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=generator).to(dtype)

    angles = plain_network.angles(32, FRAMES, ROWS, COLUMNS).repeat_interleave(2, 1)
    return {
        "hidden_states": noise(batch, FRAMES, 8, 2 * ROWS, 2 * COLUMNS),
        "encoder_hidden_states": noise(batch, 16, 32),
        "timestep": torch.tensor([999, 313, 40][:batch]),
        "image_rotary_emb": (angles.cos(), angles.sin()),
        "attention_kwargs": {"tracking_maps": noise(batch, FRAMES, 8, 2 * ROWS, 2 * COLUMNS)},
        "return_dict": False,
    }


def run(model, **given) -> torch.Tensor:
    with torch.no_grad():
        return model(**given)[0]


def plain(model, given: dict, tracking=True) -> torch.Tensor:
    network = plain_network.PlainNetwork(dict(model.state_dict()), dict(model.config))
    maps = given["attention_kwargs"]["tracking_maps"] if tracking else None
    words = ("hidden_states", "encoder_hidden_states", "timestep")
    return network.velocity(*(given[word] for word in words), maps, given["image_rotary_emb"])


@pytest.mark.parametrize("config", [SMALL, LEARNED], ids=["rotary", "learned"])
@pytest.mark.parametrize("tracking_blocks", [1, 2, 4])
def test_equals_the_formulas(config, tracking_blocks):
    model, given = randomised(make(config, tracking_blocks)), inputs()
    expected = plain(model, given)
    assert expected.std() > 0.1
    torch.testing.assert_close(run(model, **given), expected, rtol=0, atol=1e-6)


def test_the_formulas_of_the_base_are_the_base_models():
    """Or else the golden test above would compare with something of ours alone."""
    torch.manual_seed(0)
    base, given = randomised(CogVideoXTransformer3DModel(**SMALL).double()), inputs()
    expected = plain(base, given, tracking=False)
    given["attention_kwargs"] = None
    torch.testing.assert_close(run(base, **given), expected, rtol=0, atol=1e-6)


def test_a_new_branch_changes_nothing_at_all():
    model, given = make(), inputs()
    base = CogVideoXTransformer3DModel(**SMALL).double()
    base.load_state_dict({name: weight for name, weight in model.state_dict().items() if not name.startswith(TRACKING_PARTS)})
    expected = run(base, **(given | {"attention_kwargs": None}))
    assert torch.equal(run(model, **given), expected)


def test_starting_from_a_base_copies_its_blocks():
    model = randomised(make())
    model.start_from_base()
    for main, side in zip(model.transformer_blocks, model.transformer_blocks_copy):
        assert all(torch.equal(a, b) for a, b in zip(main.parameters(), side.parameters()))
    assert not any(linear.weight.any() or linear.bias.any() for linear in (model.initial_combine_linear, *model.combine_linears))


def test_tracking_is_repeated_where_guidance_doubles_the_video():
    model, given = randomised(make()), inputs()
    one = given["attention_kwargs"]["tracking_maps"][:1]
    both = run(model, **(given | {"attention_kwargs": {"tracking_maps": torch.cat([one, one])}}))
    assert torch.equal(run(model, **(given | {"attention_kwargs": {"tracking_maps": one}})), both)


def test_without_tracking_it_refuses():
    with pytest.raises(ValueError, match="tracking_maps"):
        run(make(), **(inputs() | {"attention_kwargs": {}}))


@pytest.mark.parametrize("change", [{"patch_size_t": 2}, {"ofs_embed_dim": 512}, {"num_layers": 1}])
def test_what_cannot_carry_the_branch_is_refused(change):
    with pytest.raises(ValueError):
        DaSTransformer3DModel(num_tracking_blocks=2, **(SMALL | change))


def test_names_are_the_published_ones():
    names = set(make(LEARNED).state_dict())
    base = set(CogVideoXTransformer3DModel(**LEARNED).state_dict())
    block = {name.split(".", 2)[2] for name in base if name.startswith("transformer_blocks.0.")}
    branch = {f"transformer_blocks_copy.{i}.{name}" for i in (0, 1) for name in block}
    branch |= {f"combine_linears.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")}
    branch |= {f"initial_combine_linear.{kind}" for kind in ("weight", "bias")}
    assert names == base | branch


def test_saved_loaded_and_saved_again_is_the_same_bytes(tmp_path):
    randomised(make(LEARNED, dtype=torch.float32)).save_pretrained(tmp_path / "one")
    loaded = DaSTransformer3DModel.from_pretrained(tmp_path / "one")
    loaded.save_pretrained(tmp_path / "two")
    one, two = ((tmp_path / name / "diffusion_pytorch_model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    one, two = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("one", "two"))
    assert one == {key: value for key, value in two.items() if key != "_name_or_path"}
    assert one["num_tracking_blocks"] == 2 and one["num_layers"] == 4 and one["use_learned_positional_embeddings"] is True


def test_a_copy_runs_its_own_weights():
    model, given = randomised(make()), inputs()
    twin = copy.deepcopy(model)
    assert torch.equal(run(model, **given), run(twin, **given))
    before = run(model, **given)
    randomised(twin, seed=9)
    assert torch.equal(run(model, **given), before)
    assert not torch.allclose(run(twin, **given), before)


def train(model, steps: int) -> torch.Tensor:
    """The last step's loss on one fixed batch; its gradients are left on the parameters."""
    given, target = inputs(dtype=torch.float32), torch.randn(2, FRAMES, 4, 2 * ROWS, 2 * COLUMNS, generator=torch.Generator().manual_seed(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        loss = ((model(**given)[0] - target) ** 2).mean()
        loss.backward()
        if step + 1 < steps:
            optimizer.step()
    return loss.detach()


def without_gradient(model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()}


def test_gradients_reach_the_injectors_at_once_and_everything_after_two_more_steps():
    model = make(dtype=torch.float32).train()
    train(model, 1)
    branch = {name for name, _ in model.named_parameters() if name.startswith(TRACKING_PARTS)}
    assert {name.split(".")[0] for name in branch - without_gradient(model)} == {"combine_linears"}
    train(model, 3)
    # No gradient can reach what a copy makes of the text, nor keys' biases, which softmax does not see.
    assert branch & without_gradient(model) <= {name for name in branch if "copy.1" in name or "norm_k.bias" in name or "to_k.bias" in name}


def test_checkpointing_changes_no_gradient():
    plain_model = randomised(make(dtype=torch.float32)).train()
    model = copy.deepcopy(plain_model)
    model.enable_gradient_checkpointing()
    assert torch.equal(train(model, 1), train(plain_model, 1))
    for (name, a), b in zip(model.named_parameters(), plain_model.parameters()):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_a_cache_skips_whole_units():
    """The control must not be added to what was cached with it in."""
    model, given = randomised(make()), inputs()
    expected, calls = run(model, **given), []
    model.combine_linears[1].register_forward_hook(lambda *ignored: calls.append(1))
    apply_first_block_cache(model.pairs, FirstBlockCacheConfig(threshold=0.05))
    with model.cache_context("cond_uncond"):
        outputs = [run(model, **given) for _ in range(3)]
    assert len(calls) == 1, "the second and third pass should have skipped all units but the first"
    for output in outputs:
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)


def test_blocks_compile_without_a_break():
    model, given = randomised(make(dtype=torch.float32)), inputs(dtype=torch.float32)
    expected = run(model, **given)
    model.compile_repeated_blocks(fullgraph=True, backend="eager")
    torch.testing.assert_close(run(model, **given), expected)


def test_runs_in_diffusers_own_pipeline_step_by_step_as_by_hand():
    """Two DDIM steps with guidance, on embeddings and latents, against the same arithmetic around the plain forward."""
    model = randomised(make())
    scheduler = CogVideoXDDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True)
    given, start = inputs(), torch.randn(1, FRAMES, 4, 2 * ROWS, 2 * COLUMNS, generator=torch.Generator().manual_seed(4)).double()
    image, tracking = given["hidden_states"][:1, :, 4:], given["attention_kwargs"]["tracking_maps"][:1]
    text = given["encoder_hidden_states"]
    result = in_pipeline(model, scheduler, start, image, tracking, text)
    latents = start
    scheduler.set_timesteps(2)
    for step in scheduler.timesteps:
        both = torch.cat([torch.cat([latents, image], 2)] * 2)
        maps = torch.cat([tracking, tracking])
        states = {"hidden_states": both, "encoder_hidden_states": text, "timestep": step.expand(2), "image_rotary_emb": given["image_rotary_emb"]}
        unconditional, conditional = plain(model, states | {"attention_kwargs": {"tracking_maps": maps}}).chunk(2)
        # The pipeline takes the network's answer to float32.
        unconditional, conditional = unconditional.float(), conditional.float()
        latents = scheduler.step(unconditional + 3.0 * (conditional - unconditional), step, latents, return_dict=False)[0]
    torch.testing.assert_close(result, latents.double(), rtol=0, atol=1e-5)


def in_pipeline(model, scheduler, start, image, tracking, text) -> torch.Tensor:
    """The pipeline's latents; its VAE is not asked, for the latents of the image are given."""
    pipeline = CogVideoXImageToVideoPipeline(tokenizer=None, text_encoder=None, vae=None, transformer=model, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.prepare_latents = lambda *ignored: (start, image)
    return pipeline(
        image=torch.zeros(1, 3, 64, 96), height=64, width=96, num_frames=13, num_inference_steps=2, guidance_scale=3.0,
        prompt_embeds=text[1:], negative_prompt_embeds=text[:1], output_type="latent", return_dict=False,
        attention_kwargs={"tracking_maps": tracking},
    )[0]  # fmt: skip
