"""Memory plans: which is chosen, what each costs, what it computes, and what happens where memory does not suffice."""

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from small_network import error, inputs, make, run  # noqa: E402

from diffusion_as_shader.backend import engines  # noqa: E402
from diffusion_as_shader.backend.engines.das import DasEngine  # noqa: E402
from diffusion_as_shader.backend.models import placement, plans, planned  # noqa: E402
from diffusion_as_shader.backend.models.costs import GB, PUBLISHED  # noqa: E402
from diffusion_as_shader.backend.models.plans import NAMES, PLANS, Machine, NoMemory, Remembered  # noqa: E402
from diffusion_as_shader.backend.models.tiny import write_tiny_checkpoint  # noqa: E402
from diffusion_as_shader.shared.errors import UsageError  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402

REQUEST = GenerationRequest()
TOLERANCES = {"same": 1e-6, "int8": 0.01, "fp8": 0.03, "cast8": 0.05}  # as a share of the plain result, in float32


def card(gigabytes: float, main: float = 64) -> Machine:
    """A card as it is sold, with a little of it in use."""
    total = int(gigabytes * 2**30)
    return Machine(f"A card of {gigabytes} GB", "cuda", total, int(0.96 * total), int(main * GB))


def chosen(machine: Machine, request=REQUEST, remembered=None) -> str:
    return plans.choose(machine, PUBLISHED, request, remembered or Remembered()).plan.name


@pytest.mark.parametrize(
    "size, main, name",
    [(80, 64, "full"), (40, 64, "full"), (24, 64, "large"), (16, 64, "stream"), (16, 12, "int8"), (12, 64, "stream"), (12, 12, "compact"), (8, 64, "leaf")],
)
def test_the_card_decides(size, main, name):
    assert chosen(card(size, main)) == name


def test_on_a_cpu():
    assert chosen(Machine("cpu", "cpu", 0, int(128 * GB), int(128 * GB))) == "cpu"
    assert chosen(Machine("cpu", "cpu", 0, int(40 * GB), int(40 * GB))) == "cpu-small"


def test_better_plans_are_passed_over_with_their_reason():
    choice = plans.choose(card(16, 12), PUBLISHED, REQUEST, Remembered())
    assert [line.split()[0] for line in choice.passed_over] == ["full", "large", "stream"]
    assert "GB are free" in choice.passed_over[0] and "main memory" in choice.passed_over[2]


def test_where_nothing_fits_it_says_so():
    with pytest.raises(NoMemory, match="leaf needs .* are free") as caught:
        chosen(card(4))
    assert caught.value.kind == "out_of_memory" and "--plan" in caught.value.fix


def test_a_plan_by_its_name_is_not_judged():
    assert chosen(card(4), GenerationRequest(memory_plan="large")) == "large"
    assert chosen(card(4), GenerationRequest(memory_plan="cpu")) == "cpu"
    with pytest.raises(UsageError, match="moon is not possible"):
        chosen(card(80), GenerationRequest(memory_plan="moon"))
    with pytest.raises(UsageError, match="large is not possible"):
        chosen(Machine("cpu", "cpu", 0, int(80 * GB), int(80 * GB)), GenerationRequest(memory_plan="large"))


def test_smaller_pictures_need_less():
    assert chosen(card(24), GenerationRequest(width=384, height=256)) == "full"


@pytest.mark.parametrize("name, peak", [("full", 32.6), ("large", 20.8), ("stream", 9.5), ("int8", 12.8), ("compact", 10.6), ("leaf", 4.4)])
def test_expected_peaks_of_the_published_model(name, peak):
    """As docs/das-engine.md has them."""
    assert plans.need(PLANS[NAMES.index(name)], PUBLISHED, REQUEST).peak == pytest.approx(peak * GB, abs=0.06 * GB)


# What a plan computes


@pytest.mark.parametrize("plan", PLANS, ids=NAMES)
def test_a_plan_computes_what_the_plain_run_does(plan):
    model, given = make(), inputs()
    expected = run(model, given)
    here = plan._replace(device="cpu", dtype=torch.float32)
    found = run(placement.place(model, here), given)
    off = error(found, expected)
    assert off < TOLERANCES[plan.weights]
    assert (off > 0) == (plan.weights != "same")


@pytest.mark.parametrize("weights", ["int8", "fp8", "cast8"])
def test_weights_of_eight_bits_are_smaller(weights):
    def size(model):
        return sum(weight.untyped_storage().nbytes() if weights == "cast8" else _bytes(weight) for weight in model.parameters())

    plan = PLANS[-1]._replace(weights=weights, dtype=torch.float32)
    before = size(make())
    assert size(placement.place(make(), plan)) < 0.6 * before


def _bytes(weight: torch.Tensor) -> int:
    parts = getattr(weight, "__tensor_flatten__", None)
    return sum(getattr(weight, name).nbytes for name in parts()[0]) if parts else weight.nbytes


class Moved:
    """Stands for a transformer where only its way matters."""

    def __init__(self):
        self.went = []

    def to(self, device):
        self.went.append(device)


def test_a_transformer_apart_waits_in_main_memory_and_is_brought_back():
    model = Moved()
    with pytest.raises(RuntimeError), placement.away(model, PLANS[NAMES.index("compact")]):
        assert model.went == ["cpu"]
        raise RuntimeError
    assert model.went == ["cpu", "cuda"]
    with placement.away(model, PLANS[NAMES.index("large")]), placement.away(None, PLANS[NAMES.index("compact")]):
        assert model.went == ["cpu", "cuda"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")
@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.device == "cuda"], ids=lambda plan: plan.name)
def test_a_plan_on_a_card(plan):
    """Against the CPU in float32; two passes, since streams learn their order in the first."""
    expected = run(make(), inputs())
    model, given = placement.place(make(), plan._replace(dtype=torch.float32)), inputs()
    moved = {name: value.to(plan.device) if isinstance(value, torch.Tensor) else value for name, value in given.items()}
    moved["image_rotary_emb"] = tuple(one.to(plan.device) for one in given["image_rotary_emb"])
    moved["attention_kwargs"] = {"tracking_maps": given["attention_kwargs"]["tracking_maps"].to(plan.device)}
    for _ in range(2):
        assert error(run(model, moved).cpu(), expected) < max(TOLERANCES[plan.weights], 1e-3)


# A whole generation


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture
def case(weights):
    return make_case(weights)


def make_case(weights):
    """An engine, a request, and its signals."""
    request = GenerationRequest(engine="das", weights=str(weights), width=48, height=32, frames=9, steps=2, quality="final")
    tracking = np.random.default_rng(0).integers(0, 256, (9, 32, 48, 3), np.uint8)
    return DasEngine(), request, {"tracking": tracking, "first_frame": tracking[0]}


@pytest.mark.parametrize("name, levels", [("large", 0.1), ("stream", 0.1), ("int8", 1.0), ("compact", 1.0), ("leaf", 0.1)])
def test_a_generation_under_a_plan(case, plain_frames, monkeypatch, name, levels):
    """Nearly the plain one's frames: the mean difference in levels of 255. The VAE's tiles are cut by another pattern."""
    here = [plan._replace(device="cpu", text_device="cpu", dtype=torch.float32) for plan in PLANS]
    monkeypatch.setattr(plans, "PLANS", here)
    engine, request, signals = case
    request.memory_plan = name
    engine.load(request)
    for _ in range(2):  # the second finds it loaded
        found = frames_of(engine.generate(request, signals, cancelled=lambda: False))
        assert np.abs(found.astype(int) - plain_frames).mean() < levels


def generate(engine, request, signals) -> list:
    engine.load(request)
    return list(engine.generate(request, signals, cancelled=lambda: False))


def report_of(events) -> engines.Report:
    return next(event for event in events if isinstance(event, engines.Report))


def frames_of(events) -> np.ndarray:
    return np.stack([event.pixels for event in events if isinstance(event, engines.Frame)])


@pytest.fixture(scope="module")
def plain_frames(weights):
    engine, request, signals = make_case(weights)
    return frames_of(generate(engine, request, signals))


# Where memory does not suffice


@pytest.fixture
def short_of_memory(monkeypatch):
    """Plans whose names are put in here run out of memory at the first step; the list of plans that were begun."""
    fails, begun = set(), []
    denoise = planned.Pipeline._denoise

    def short(self, *args):
        begun.append(self.plan.name)
        if self.plan.name in fails:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return (yield from denoise(self, *args))

    monkeypatch.setattr(planned.Pipeline, "_denoise", short)
    return fails, begun


def test_the_report_has_the_measured_peak_beside_the_expected(case):
    note = report_of(generate(*case)).notes[-1]
    assert note.startswith("Memory plan cpu: at most ") and note.endswith(" expected.")


def test_out_of_memory_falls_to_the_next_plan_says_so_and_remembers_it(case, short_of_memory):
    fails, begun = short_of_memory
    fails.add("cpu")
    events = generate(*case)
    assert sorted(event.index for event in events if isinstance(event, engines.Frame)) == list(range(9))
    report = report_of(events)
    assert report.notes[0].startswith("The memory plan cpu ran out of memory, so cpu-small was used")
    assert report.versions["memory plan"] == "cpu-small"
    assert begun == ["cpu", "cpu-small"]
    again = report_of(generate(DasEngine(), *case[1:]))
    assert begun == ["cpu", "cpu-small", "cpu-small"] and not any("ran out" in note for note in again.notes)


def test_what_is_remembered_holds_for_one_size_and_while_no_more_is_free(das_home):
    remembered, machine = Remembered(), card(24)
    remembered.add(PLANS[1], machine, PUBLISHED, REQUEST)
    assert chosen(machine) == "stream"
    assert chosen(machine, GenerationRequest(frames=41)) == "large"
    assert chosen(machine._replace(free=int(machine.free * 1.02))) == "stream"
    assert chosen(machine._replace(free=int(machine.free * 1.06))) == "large"
    assert chosen(card(80)) == "full"
    (das_home / "memory-plans.json").write_text("not json")
    assert chosen(machine) == "large"


def test_where_all_plans_fail_the_job_does(case, short_of_memory):
    engine, request, signals = case
    short_of_memory[0].update(NAMES)
    with pytest.raises(NoMemory, match="No memory plan"):
        generate(engine, request, signals)
    short_of_memory[0].clear()
    longer = msgspec.structs.replace(request, frames=17)
    events = generate(engine, longer, signals | {"tracking": np.repeat(signals["tracking"], 2, 0)[:17]})
    assert report_of(events).versions["memory plan"] == "cpu"


def test_a_plan_by_its_name_is_not_left_silently(case, short_of_memory):
    engine, request, signals = case
    short_of_memory[0].add("cpu")
    request.memory_plan = "cpu"
    with pytest.raises(NoMemory, match="plan cpu ran out of memory"):
        generate(engine, request, signals)


def test_other_errors_are_not_taken_for_it(case, monkeypatch):
    def torn(self, *args):
        raise RuntimeError("shape mismatch")
        yield

    monkeypatch.setattr(planned.Pipeline, "_denoise", torn)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        generate(*case)
    assert placement.is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert placement.is_out_of_memory(MemoryError())
