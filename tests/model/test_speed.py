"""Each switch against the plain run, alone and switched off again."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from small_network import error, inputs, make, run  # noqa: E402

from diffusion_as_shader.backend.models import plans, sampling, speed  # noqa: E402

EXACT = 1e-6
CACHED = 0.02  # of a step that is a hundredth away from the last one
CPU = plans.named("cpu", plans.Machine("cpu", "cpu", 0, 0, 0))


@pytest.fixture
def model():
    return make()


@pytest.fixture
def given():
    return inputs()


def test_attention_through_the_dispatch(model, given):
    expected = run(model, given)
    speed.use_attention(model, "native")
    assert all(isinstance(attn.processor, speed.DispatchedAttention) for attn in speed.attentions(model))
    assert error(run(model, given), expected) < EXACT
    speed.use_attention(model, "plain")
    assert torch.equal(run(model, given), expected)


def test_the_dispatch_is_asked(model, given, monkeypatch):
    asked = []

    def dispatched(query, key, value, **options):
        asked.append(options["backend"])
        return torch.zeros_like(query)

    monkeypatch.setattr(speed, "dispatch_attention_fn", dispatched)
    expected = run(model, given)
    speed.use_attention(model, "flash")
    assert error(run(model, given), expected) > 1000 * EXACT
    assert asked == ["flash"] * 6


def test_attention_of_a_model_without_rotation():
    model = make(use_rotary_positional_embeddings=False)
    given = inputs() | {"image_rotary_emb": None}
    expected = run(model, given)
    speed.use_attention(model, "native")
    assert error(run(model, given), expected) < EXACT


def test_fused_projections(model, given):
    expected, count = run(model, given), sum(one.numel() for one in model.parameters())
    speed.fuse(model)
    speed.fuse(model)
    assert sum(one.numel() for one in model.parameters()) == count, "the three projections should be gone"
    assert error(run(model, given), expected) < EXACT
    speed.unfuse(model)
    speed.use_attention(model, "plain")
    assert torch.equal(run(model, given), expected)


def test_compiled_blocks(model, given):
    """Traced as one graph; what turns that into kernels, which needs a C++ compiler or a card, is PyTorch's own business."""
    expected = run(model, given)
    speed.use_attention(model, "native")
    speed.fuse(model)
    speed.compile_blocks(model, backend="eager")
    compiled = model.transformer_blocks[0]._compiled_call_impl
    assert compiled is not None
    assert error(run(model, given), expected) < EXACT
    speed.uncompile(model)
    assert model.transformer_blocks[0]._compiled_call_impl is None
    assert error(run(model, given), expected) < EXACT


def test_compilation_that_cannot_work_says_why(monkeypatch):
    def broken(function):
        raise RuntimeError("Cannot find a working triton installation.\nMore.")

    monkeypatch.setattr(torch, "compile", broken)
    speed.why_not_compile.cache_clear()
    assert speed.why_not_compile("cpu") == "Cannot find a working triton installation"
    speed.why_not_compile.cache_clear()


def test_the_next_generation_finds_all_as_it_was(model):
    """Anything new in a block would have it compiled again."""

    def state():
        return [(id(attn.processor), id(attn.to_qkv)) for attn in speed.attentions(model)], model.transformer_blocks[0]._compiled_call_impl

    speed.prepare(model, CPU, "balanced")
    speed.compile_blocks(model)
    before = state()
    speed.compile_blocks(model)
    assert state() == before
    speed.prepare(model, CPU, "draft")
    assert state()[0] == before[0] and state()[1] is None  # never compiled on a CPU


def units_run(model) -> list[int]:
    """Numbers of units as their main block is computed."""
    seen = []
    for number, block in enumerate(model.transformer_blocks):
        block.register_forward_hook(lambda *ignored, number=number: seen.append(number))
    return seen


def test_the_cache_passes_over_units_and_stays_near(model):
    steps = [inputs(noise=0.01 * step) for step in range(3)]
    expected = [run(model, given) for given in steps]
    seen = units_run(model)
    speed.use_cache(model, 0.1)
    found = [run(model, given) for given in steps]
    assert seen == [0, 1, 2, 3, 0, 0]
    assert torch.equal(found[0], expected[0])
    assert all(0 < error(*pair) < CACHED for pair in zip(found[1:], expected[1:]))


def test_a_great_change_is_computed(model):
    steps = [inputs(seed=2), inputs(seed=3)]
    expected = [run(model, given) for given in steps]
    speed.use_cache(model, 0.1)
    assert all(torch.equal(run(model, given), wanted) for given, wanted in zip(steps, expected))


def test_both_passes_of_guidance_have_caches_of_their_own(model):
    first, second = inputs(seed=2), inputs(seed=3)
    expected = [run(model, first), run(model, second)]
    speed.use_cache(model, 0.1)
    for _ in range(2):
        assert torch.equal(run(model, first, "cond"), expected[0]) or error(run(model, first, "cond"), expected[0]) < EXACT
        assert error(run(model, second, "uncond"), expected[1]) < EXACT


def test_the_next_generation_begins_with_an_empty_cache_and_it_can_be_taken_away(model, given):
    speed.use_cache(model, 0.1)
    run(model, given)
    seen = units_run(model)
    speed.use_cache(model, 0.1)
    run(model, given)
    assert seen == [0, 1, 2, 3]
    speed.use_cache(model, 0)
    run(model, given)
    assert seen == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("kind", ["dynamic", "constant"])
def test_guidance_split_is_guidance_batched(model, kind):
    generator = torch.Generator().manual_seed(0)
    text, negative, image, tracking, x = (
        torch.randn(shape, generator=generator)
        for shape in ((1, 16, 32), (1, 16, 32), (1, 4, 4, 8, 12), (1, 4, 8, 8, 12), (1, 4, 4, 8, 12))
    )
    conditions = sampling.Conditions(text, negative, image, tracking)
    both, split = (sampling.guided(model, conditions, [6.0, 3.0], batched=batched) for batched in (True, False))
    with torch.no_grad():
        assert error(split(x, 313, 1), both(x, 313, 1)) < EXACT


# Presets


def test_final_is_the_plain_run(model, given):
    expected = run(model, given)
    speed.prepare(model, CPU, "draft")
    assert speed.prepare(model, CPU, "final") == []
    assert torch.equal(run(model, given), expected)


def test_balanced_is_exact_and_draft_caches(model, given):
    expected = run(model, given)
    assert speed.prepare(model, CPU, "balanced") == []
    seen = units_run(model)
    assert error(run(model, given), expected) < EXACT and error(run(model, given), expected) < EXACT
    assert seen == [0, 1, 2, 3] * 2 and next(speed.attentions(model)).fused_projections
    seen.clear()
    speed.prepare(model, CPU, "draft")
    run(model, given)
    run(model, given)
    assert seen == [0, 1, 2, 3, 0]


def test_what_is_not_installed_is_not_used():
    assert speed.why_not_attention("sage", torch.device("cpu"), torch.float32)
    assert speed.best_backend(CPU, "fastest") == speed.best_backend(CPU, "exact") == "native"
    assert speed.best_backend(CPU, "plain") == "plain"


def test_blocks_in_8_bits_and_on_their_way_are_not_fused():
    assert speed.can_fuse(CPU)
    assert not speed.can_fuse(CPU._replace(weights="int8")) and not speed.can_fuse(CPU._replace(offload="block"))
