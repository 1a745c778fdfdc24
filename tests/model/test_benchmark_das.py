"""`das benchmark das` on the tiny model: every way is measured, told in a table and as JSON, and compared with the plain one."""

import io
import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import small_network  # noqa: E402

from diffusion_as_shader.backend.commands import benchmark_das  # noqa: E402
from diffusion_as_shader.backend.models import costs, measuring, speed  # noqa: E402
from diffusion_as_shader.backend.models.tiny import write_tiny_checkpoint  # noqa: E402
from diffusion_as_shader.shared import cli  # noqa: E402
from diffusion_as_shader.shared.errors import UsageError  # noqa: E402
from diffusion_as_shader.shared.report import JsonReporter, Reporter  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402


def benchmark(*words, reporter=JsonReporter) -> str:
    out = io.StringIO()
    assert benchmark_das.run(cli.parser().parse_args(["benchmark", "das", *words]), reporter(out, io.StringIO())) == 0
    return out.getvalue()


@pytest.fixture(autouse=True)
def no_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> list[dict]:
    """The results of one run of three steps."""
    weights = write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny")
    text = benchmark("--weights", str(weights), "--steps", "3", "--json")
    return [line for line in map(json.loads, text.splitlines()) if line["event"] == "result"]


def test_machine_and_limit(told):
    machine = told[0]
    assert machine["operations"] > 0 and machine["matrix_rate"] > 0
    assert machine["least_seconds"] == pytest.approx(machine["operations"] / machine["matrix_rate"])
    assert set(machine["versions"]) == {"torch", "diffusers", "torchao"}


def test_every_way_is_measured_against_the_plain_one(told):
    found = {one["name"]: one for one in told[1]["features"]}
    assert {f"attention {name}" for name in (*speed.EXACT, *speed.APPROXIMATE)} < set(found)
    assert {f"quality {name}" for name in speed.PRESETS} < set(found)
    ran = {name: one for name, one in found.items() if not one["why_not"]}
    assert all(one["why_not"] for name, one in found.items() if name in ("attention flash", "compiled blocks"))
    assert {"plain", "fused projections", "cache 0.1", "guidance split", "plan int8", "plan fp8", "plan cast8", "plan stream", "plan leaf"} < set(ran)
    plain = ran.pop("plain")
    assert plain["gain"] == 0 and plain["share"] == pytest.approx(told[0]["least_seconds"] / plain["seconds"])
    for name, one in ran.items():
        assert one["gain"] == pytest.approx(plain["seconds"] / one["seconds"]), name
        limit = 0.05 if name in ("cache 0.1", "quality draft") or "8" in name or name == "plan compact" else 1e-5
        assert one["error"] < limit, name
    assert ran["plan int8"]["error"] > 0 and ran["quality final"]["error"] == 0


def test_the_vae_is_measured(told):
    assert [one["name"] for one in told[2]["vae"]] == [
        f"{work} {way}" for work in ("encode", "decode") for way in ("in one piece", "in tiles", "in tiles, spilled")
    ]
    assert all(one["seconds"] > 0 for one in told[2]["vae"])


def test_the_table_is_for_people(monkeypatch):
    plain = measuring.Feature(name="plain", seconds=2.0, share=0.5, peak=3 * 10**9, expected=2e9)
    monkeypatch.setattr(measuring, "features", lambda case, rate: iter([plain]))
    monkeypatch.setattr(measuring, "vae_features", lambda case: iter([measuring.Feature(name="decode in tiles", why_not="out of memory")]))
    text = benchmark("--size", "tiny", reporter=Reporter)
    line = next(line for line in text.splitlines() if line.startswith("plain")).split()
    assert line == ["plain", "2", "0", "50", "100", "50%", "3.0", "GB", "2.0", "GB"]
    assert "decode in tiles" in text and "out of memory" in text and "TFLOP/s" in text


def test_random_weights_of_the_full_size_are_the_same_each_time(monkeypatch):
    """On a network of which every size is smaller."""
    monkeypatch.setattr(measuring, "TRANSFORMER", small_network.CONFIG | {"num_layers": 18, "use_learned_positional_embeddings": True, "sample_frames": 9})
    network = costs.network(dict(measuring.TRANSFORMER, num_tracking_blocks=18), {}, 0, 0)
    monkeypatch.setattr(costs, "PUBLISHED", network)
    with measuring.make_case("full", "", "cpu", 2) as case:
        case = case._replace(request=GenerationRequest(width=96, height=64, frames=9))
        model = case.make(case.plan)
        assert sum(weight.numel() for weight in model.state_dict().values()) == case.network.transformer
        with torch.inference_mode():
            seconds, latents = measuring.run_steps(case, model, case.plan)
            again = measuring.run_steps(case, case.make(case.plan), case.plan)[1]
            streamed = measuring.run_steps(case, case.make(case.plan._replace(offload="block")), case.plan)[1]
    assert len(seconds) == 2 and latents.isfinite().all() and latents.std() > 0
    assert torch.equal(latents, again) and torch.equal(latents, streamed)


def test_what_cannot_run_is_told_and_hides_nothing_else(monkeypatch):
    def short(*args):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(measuring, "run_steps", short)
    with measuring.make_case("tiny", "", "cpu", 2) as case:
        found = list(measuring.features(case, 1e9))
    assert found[0].name == "plain" and found[0].why_not == "out of memory"
    assert found[-1].name == "plan leaf" and found[-1].why_not == "out of memory"


@pytest.mark.parametrize("words", [("--size", "full"), ("--size", "large"), ("--steps", "0"), ("--steps", "51")])
def test_wrong_options_say_their_fix(words):
    with pytest.raises(UsageError) as caught:
        benchmark(*words)
    assert caught.value.fix
