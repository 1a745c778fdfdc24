"""The first frame painted anew: both models on random weights, in the layouts that are published."""

import gc
import shutil
import sys
import threading
import time
import weakref
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, FluxTransformer2DModel, UNet2DConditionModel
from transformers import PreTrainedModel

sys.path.insert(0, str(Path(__file__).parent))

import tiny_painters  # noqa: E402
from alive import Alive  # noqa: E402

from diffusion_as_shader.backend.engines import Progress, Report  # noqa: E402
from diffusion_as_shader.backend.models import plans  # noqa: E402
from diffusion_as_shader.backend.models.costs import GB  # noqa: E402
from diffusion_as_shader.backend.models.plans import Machine, NoMemory  # noqa: E402
from diffusion_as_shader.backend.models.weights import WeightsError  # noqa: E402
from diffusion_as_shader.backend.vision import painters, painting_memory, parts  # noqa: E402
from diffusion_as_shader.backend.vision.repaint import Candidate, repaint  # noqa: E402
from diffusion_as_shader.shared.errors import Cancelled, GenerationError, UsageError  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402
from diffusion_as_shader.shared.task_settings import Repaint  # noqa: E402

WIDTH, HEIGHT = 96, 64
MODELS = ("flux", "sdxl")


@pytest.fixture(scope="module", autouse=True)
def quick_collection():
    """Memory is given back by collecting garbage, which looks at all that the libraries have made; these tests' own is little."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """By model: what a request's repaint names."""
    root = tmp_path_factory.mktemp("painters")
    base, control = tiny_painters.write_sdxl(root / "sdxl", root / "control")
    flux = tiny_painters.write_flux(root / "flux")
    return {"flux": {"weights": str(flux)}, "sdxl": {"weights": str(control), "base": str(base)}}


def make_request(folders, model, *, steps=2, seed=7, **change) -> GenerationRequest:
    settings = {name: change.pop(name) for name in list(change) if name in Repaint.__struct_fields__}
    repaint_settings = Repaint(model=model, steps=steps, **(folders[model] | settings))
    return GenerationRequest(width=WIDTH, height=HEIGHT, frames=9, prompt="a red fox", seed=seed, repaint=repaint_settings, **change)


@pytest.fixture(scope="module")
def depth() -> np.ndarray:
    """A box before a wall, with a hole to the sky."""
    found = np.full((HEIGHT, WIDTH), 6, np.float32)
    found[14:50, 20:64] = 2
    found[:8] = np.inf
    return found


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def run(picture, depth, request, **options) -> list:
    return list(repaint(picture, depth, request, cancelled=lambda: False, **options))


def pictures(events) -> list[np.ndarray]:
    return [event.pixels for event in events if isinstance(event, Candidate)]


# What comes out


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strength, made", [(1.0, 2), (0.5, 1)])
def test_candidates_come_one_by_one_with_their_progress(folders, picture, depth, model, strength, made):
    events = run(picture, depth, make_request(folders, model, strength=strength, candidates=2))
    found = [event for event in events if isinstance(event, Candidate)]
    assert [one.index for one in found] == [0, 1]
    for one in found:
        assert one.pixels.shape == (HEIGHT, WIDTH, 3) and one.pixels.dtype == np.uint8 and one.pixels.std() > 5
        assert one.note.startswith(f"Candidate {one.index + 1} (seed {7 + one.index}) ")
    told = [event for event in events if isinstance(event, Progress) and event.phase == "repaint"]
    assert [(one.step, one.total) for one in told] == [(step, 2 * made) for step in range(1, 2 * made + 1)]
    assert events.index(found[0]) < events.index(told[made])
    assert isinstance(events[-1], Report) and events[-1].versions["repaint memory plan"] == "cpu"
    assert any(note.startswith("Licence of ") for note in events[-1].notes)


@pytest.mark.parametrize("model", MODELS)
def test_the_seed_decides_and_nothing_else(folders, picture, depth, model):
    request = make_request(folders, model, candidates=2)
    first, second = pictures(run(picture, depth, request))
    again = pictures(run(picture, depth, request))
    assert (first == again[0]).all() and (second == again[1]).all()
    assert (first != second).any()
    (later,) = pictures(run(picture, depth, make_request(folders, model, seed=8)))
    assert (later == second).all()


@pytest.mark.parametrize("model", MODELS)
def test_words_and_depth_count_and_the_picture_only_below_full_strength(folders, picture, depth, model):
    """At full strength it is drawn from noise."""
    request = make_request(folders, model)
    (plain,) = pictures(run(picture, depth, request))
    assert (pictures(run(picture[::-1].copy(), depth, request))[0] == plain).all()
    assert (pictures(run(picture, depth[:, ::-1].copy(), request))[0] != plain).any()
    assert (pictures(run(picture, depth, msgspec.structs.replace(request, prompt="snow")))[0] != plain).any()
    half = make_request(folders, model, strength=0.5)
    assert (pictures(run(picture, depth, half))[0] != pictures(run(picture[::-1].copy(), depth, half))[0]).any()


@pytest.mark.parametrize("model", MODELS)
def test_the_lowest_strength_still_makes_a_step(folders, picture, depth, model):
    events = run(picture, depth, make_request(folders, model, strength=0.04, steps=1))
    told = [event for event in events if isinstance(event, Progress) and event.phase == "repaint"]
    assert told and told[-1].step == told[-1].total >= 1


def test_flux_sees_the_depth_between_minus_one_and_one(folders, picture, depth, monkeypatch):
    """Near is +1, and what is unknown -1: its VAE is that of pictures."""
    seen, encode = [], AutoencoderKL.encode
    monkeypatch.setattr(AutoencoderKL, "encode", lambda self, x, *args, **options: (seen.append(x), encode(self, x, *args, **options))[1])
    run(picture, depth, make_request(folders, "flux"))
    (given,) = seen
    assert given.shape == (1, 3, 80, 128) and (given[0, 0] == given[0, 2]).all()
    assert given[0, 0, 40, 50] == pytest.approx(1) and given[0, 0, 4, 50] == pytest.approx(-1)
    assert given[0, 0, 75, 100] == pytest.approx(2 * 0.1 - 1, abs=1e-5)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_controlnet_sees_it_between_zero_and_one(folders, picture, depth, monkeypatch, strength):
    seen, forward = [], ControlNetModel.forward

    def spy(self, *args, **options):
        seen.append((options["controlnet_cond"], options["conditioning_scale"]))
        return forward(self, *args, **options)

    monkeypatch.setattr(ControlNetModel, "forward", spy)
    run(picture, depth, make_request(folders, "sdxl", strength=strength))
    given, scale = seen[0]
    assert scale == 0.5 and given.shape == (2, 3, 96, 128)
    assert given[0, 0, 40, 50] == pytest.approx(1) and given[0, 0, 4, 50] == pytest.approx(0)
    assert given[0, 0, 75, 100] == pytest.approx(0.1, abs=1e-5)


def test_steps_and_guidance_are_the_models_own(folders, picture, depth, monkeypatch):
    asked = []

    def spy(self, **options):
        asked.append((options["num_inference_steps"], options["guidance_scale"]))
        raise RuntimeError("seen")

    for kind in ("FluxControlPipeline", "StableDiffusionXLControlNetPipeline"):
        monkeypatch.setattr(getattr(painters, kind), "__call__", spy)
    for model in MODELS:
        with pytest.raises(RuntimeError, match="seen"):
            run(picture, depth, make_request(folders, model, steps=0))
    assert asked == [(30, 10.0), (30, 5.0)]


def test_what_was_not_read_is_said(folders, picture, depth):
    flux = run(picture, depth, make_request(folders, "flux", negative_prompt="blur"))
    assert "The repaint's model FLUX reads no negative prompt." in flux[-1].notes
    long = msgspec.structs.replace(make_request(folders, "sdxl"), prompt="fox " * 40)
    assert any("77 tokens" in note for note in run(picture, depth, long)[-1].notes)


# Whether it lines up


@pytest.mark.parametrize("moved, said", [(0, "lines up"), (5, "is shifted by 5"), (None, "does not show the outlines")])
def test_each_candidate_is_measured_against_the_geometry(folders, picture, depth, monkeypatch, moved, said):
    shown = np.where(np.isfinite(depth), 1 / depth, 0)[..., None].repeat(3, -1).astype(np.float32)
    noise = np.random.default_rng(1).random((80, 128, 3), np.float32)

    def call(self, pipeline, work, words, **options):
        return noise if moved is None else np.pad(np.roll(shown, moved, 1), ((0, 16), (0, 32), (0, 0)), mode="edge")

    monkeypatch.setattr(painters.FluxDepth, "call", call)
    monkeypatch.setattr(painters.FluxDepth, "side", 80)
    (found,) = [event for event in run(picture, depth, make_request(folders, "flux")) if isinstance(event, Candidate)]
    assert said in found.note


# Memory


@pytest.fixture
def loaded(monkeypatch):
    """Weak references to all models that are loaded, by part; and how many others were alive at each."""
    references, load = {}, parts.load

    def watched(place, part, kind, *args):
        alive = [name for name, reference in references.items() if reference() is not None]
        model = load(place, part, kind, *args)
        references[part] = weakref.ref(model)
        if not issubclass(kind, PreTrainedModel):
            assert not [name for name in alive if name.startswith("text_encoder")], "encoders of text go before the network comes"
        return model

    monkeypatch.setattr(parts, "load", watched)
    return references


def kept(references) -> list[str]:
    return [name for name, reference in references.items() if reference() is not None]


@pytest.mark.parametrize("model, count", [("flux", 4), ("sdxl", 5)])
def test_all_is_gone_at_the_end(folders, picture, depth, loaded, model, count):
    run(picture, depth, make_request(folders, model))
    assert len(loaded) == count and kept(loaded) == []


@pytest.mark.parametrize("model", MODELS)
def test_a_cancel_ends_it_between_blocks_and_lets_go(folders, picture, depth, loaded, model, monkeypatch):
    """The first step goes on until it is left in front of a block, so no step ends."""
    kind = {"flux": FluxTransformer2DModel, "sdxl": UNet2DConditionModel}[model]
    began, forward, threads = threading.Event(), kind.forward, threading.active_count()

    def again_and_again(self, *args, **options):
        began.set()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            forward(self, *args, **options)
        pytest.fail("it was not left")

    monkeypatch.setattr(kind, "forward", again_and_again)
    events = []
    with pytest.raises(Cancelled) as caught:
        events.extend(repaint(picture, depth, make_request(folders, model), cancelled=began.is_set))
    assert not [event for event in events if isinstance(event, Progress) and event.phase == "repaint"]
    assert threading.active_count() == threads
    assert caught.value.exit_code == 130 and loaded and kept(loaded) == []


def test_a_consumer_that_leaves_lets_go_too(folders, picture, depth, loaded):
    threads = threading.active_count()
    going = repaint(picture, depth, make_request(folders, "flux", steps=50), cancelled=lambda: False)
    for event in going:
        if isinstance(event, Progress) and event.phase == "repaint":
            break
    going.close()
    assert threading.active_count() == threads and kept(loaded) == []


class Published(painters.Painter):
    """Sizes of the published weights."""

    def __init__(self, model):
        self.model, self.title = model, model

    def sizes(self):
        if self.model == "flux":
            return painters.Sizes(4_885_000_000, 11_901_604_928, 743_984_192, 8 * 56_623_104, 83_819_683)
        return painters.Sizes(817_000_000, 3_818_477_844, 3_625_071_769, 8 * 29_491_200, 83_653_863)

    def activations(self, width, height):
        if self.model == "flux":
            return 2 * painters.FluxDepth.tensors_in_a_block * (width * height / 256 + 512) * 3072
        return painters.SdxlDepth.bytes_a_pixel * width * height


def card(gigabytes: float, main: float = 64) -> Machine:
    total = int(gigabytes * 2**30)
    return Machine(f"A card of {gigabytes} GB", "cuda", total, int(0.96 * total), int(main * GB))


@pytest.mark.parametrize(
    "model, size, name",
    [
        ("flux", 80, "full"), ("flux", 32, "full"), ("flux", 24, "stream"), ("flux", 12, "stream"), ("flux", 8, "leaf"),
        ("sdxl", 24, "full"), ("sdxl", 12, "full"), ("sdxl", 10, "stream"), ("sdxl", 8, "leaf"), ("sdxl", 6, "leaf"),
    ],
)  # fmt: skip
def test_the_card_decides(model, size, name):
    assert painting_memory.fitting(card(size), "auto", Published(model), (1264, 848))[0][0].name == name


def test_where_nothing_fits_one_sentence_says_what_it_would_need():
    with pytest.raises(NoMemory, match=r"^No memory plan fits flux on A card of 2 GB: leaf needs .* GB, .* are free\. End"):
        painting_memory.fitting(card(2), "auto", Published("flux"), (1264, 848))
    with pytest.raises(NoMemory, match="main memory"):
        painting_memory.fitting(card(12, main=8), "auto", Published("flux"), (1264, 848))
    assert painting_memory.fitting(card(12, main=8), "auto", Published("sdxl"), (1264, 848))[0][0].name == "full"


def test_a_plan_by_its_name_is_taken_and_one_of_the_video_model_alone_is_not():
    names = lambda asked: [plan.name for plan, _ in painting_memory.fitting(card(80), asked, Published("flux"), (1264, 848))]  # noqa: E731
    assert names("leaf") == ["leaf"] and names("int8") == names("auto") == ["full", "stream", "leaf"]


@pytest.mark.parametrize("name", ["stream", "leaf", "cpu-small"])
@pytest.mark.parametrize("model", MODELS)
def test_a_plan_paints_what_the_plain_run_does(folders, picture, depth, monkeypatch, model, name):
    (plain,) = pictures(run(picture, depth, make_request(folders, model)))
    same_numbers = {} if name == "cpu-small" else {"dtype": torch.float32, "tiled": False}
    here = [plan._replace(device="cpu", text_device="cpu", **same_numbers) for plan in plans.PLANS]
    monkeypatch.setattr(plans, "PLANS", here)
    monkeypatch.setattr(plans, "CPU_NAMES", plans.NAMES)
    events = run(picture, depth, make_request(folders, model, memory_plan=name))
    assert events[-1].versions["repaint memory plan"] == name
    off = np.abs(pictures(events)[0].astype(int) - plain).mean()
    assert off < (12 if name == "cpu-small" else 0.1)


@pytest.fixture
def short_of_memory(monkeypatch):
    """The plans of these names run out of memory at the second candidate."""
    fails, call = set(), painters.FluxDepth.call
    begun = []

    def pipeline(self, plan, from_noise, make=painters.FluxDepth.pipeline):
        begun.append(plan.name)
        return make(self, plan, from_noise)

    def short(self, given, work, *args, **options):
        if begun[-1] in fails and work.seed == 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return call(self, given, work, *args, **options)

    monkeypatch.setattr(painters.FluxDepth, "pipeline", pipeline)
    monkeypatch.setattr(painters.FluxDepth, "call", short)
    return fails, begun


def test_out_of_memory_goes_on_with_the_next_plan_and_says_so(folders, picture, depth, short_of_memory):
    fails, begun = short_of_memory
    fails.add("cpu")
    events = run(picture, depth, make_request(folders, "flux", candidates=2))
    assert [event.index for event in events if isinstance(event, Candidate)] == [0, 1] and begun == ["cpu", "cpu-small"]
    assert "The repaint ran out of memory with the memory plan cpu." in events[-1].notes
    assert events[-1].versions["repaint memory plan"] == "cpu-small"


def test_out_of_memory_everywhere_is_an_error(folders, picture, depth, short_of_memory, loaded):
    short_of_memory[0].update(("cpu", "cpu-small"))
    with pytest.raises(NoMemory, match="cpu-small"):
        run(picture, depth, make_request(folders, "flux", candidates=2))
    assert kept(loaded) == []


def test_memory_of_a_step_and_of_the_vae_as_counted(monkeypatch):
    """On the real classes without storage; fewer blocks of FLUX, which come one after the other."""

    def attention(*args, **options):
        return torch.empty_like(args[0] if args else options["query"])

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
    (width, height), b = (720, 480), torch.bfloat16
    with torch.device("meta"), torch.no_grad():
        flux = FluxTransformer2DModel(in_channels=128, out_channels=64, num_layers=1, num_single_layers=1, guidance_embeds=True).to(b)
        tokens = width * height // 256
        with Alive(flux) as alive:
            flux(
                hidden_states=torch.empty(1, tokens, 128, dtype=b), timestep=torch.empty(1, dtype=b), guidance=torch.empty(1),
                pooled_projections=torch.empty(1, 768, dtype=b), encoder_hidden_states=torch.empty(1, 512, 4096, dtype=b),
                txt_ids=torch.empty(512, 3, dtype=b), img_ids=torch.empty(tokens, 3, dtype=b),
            )  # fmt: skip
        assert alive.peak == pytest.approx(Published("flux").activations(width, height), rel=0.1)
        kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        vae = AutoencoderKL(**kinds, block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=16, sample_size=1024).to(b)
        with Alive(vae) as alive:
            vae.decode(torch.empty(1, 16, height // 8, width // 8, dtype=b))
        assert alive.peak == pytest.approx(painting_memory.DECODE_BYTES * width * height, rel=0.05)
        with Alive(vae) as alive:
            vae.encode(torch.empty(1, 3, height, width, dtype=b))
        assert alive.peak == pytest.approx(painting_memory.ENCODE_BYTES * width * height, rel=0.05)


# What cannot be used


def test_missing_weights_say_all_that_one_needs_to_know(folders, picture, depth):
    with pytest.raises(WeightsError) as caught:
        run(picture, depth, msgspec.structs.replace(make_request(folders, "flux"), repaint=Repaint(model="flux")))
    for words in ("black-forest-labs/FLUX.1-Depth-dev", "GB", "Non-Commercial", "das models pull"):
        assert words in str(caught.value)


def spoiled(folders, model, tmp_path, spoil) -> dict:
    """A copy of a model's folders with something wrong, as a request names them."""
    copies = {name: str(shutil.copytree(folder, tmp_path / name)) for name, folder in folders[model].items()}
    spoil({name: Path(folder) for name, folder in copies.items()})
    return {model: copies}


def _another_class(at):
    file = at["weights"] / "transformer" / "config.json"
    file.write_text(file.read_text().replace("FluxTransformer2DModel", "SD3Transformer2DModel"))


def _cut(at):
    file = at["weights"] / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _pickled(at):
    file = at["weights"] / "transformer" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))


def _of_another_shape(at):
    file = at["weights"] / "text_encoder_2" / "config.json"
    file.write_text(file.read_text().replace('"d_ff": 64', '"d_ff": 48'))


def _names_missing(at):
    from safetensors.torch import load_file, save_file

    file = at["weights"] / "transformer" / "diffusion_pytorch_model.safetensors"
    found = load_file(file)
    del found["x_embedder.weight"]
    save_file(found, file, metadata={"format": "pt"})


def _no_text_encoder(at):
    shutil.rmtree(at["weights"] / "text_encoder")


def _for_another_model(at):
    file = at["weights"] / "config.json"
    file.write_text(file.read_text().replace('"cross_attention_dim": 64', '"cross_attention_dim": 768'))


@pytest.mark.parametrize(
    "model, spoil, said",
    [
        ("flux", _another_class, "transformer .* another architecture: SD3Transformer2DModel"),
        ("flux", _cut, "is cut short"),
        ("flux", _pickled, "a format that can run any program"),
        ("flux", _of_another_shape, "text_encoder_2 do not fit the configuration"),
        ("flux", _names_missing, r"transformer do not fit the configuration: 1 missing \(x_embedder.weight\)"),
        ("flux", _no_text_encoder, "no folder text_encoder"),
        ("sdxl", _for_another_model, "ControlNet .* is for another model"),
    ],
)
def test_wrong_weights_are_said_and_nothing_is_painted(folders, picture, depth, tmp_path, model, spoil, said):
    request = make_request(spoiled(folders, model, tmp_path, spoil), model)
    with pytest.raises(WeightsError, match=said):
        run(picture, depth, request)


def test_flux_without_depth_is_no_painter(folders, picture, depth, tmp_path):
    plain = tiny_painters.write_flux(tmp_path / "plain", in_channels=16)
    with pytest.raises(WeightsError, match="FLUX without depth"):
        run(picture, depth, make_request({"flux": {"weights": str(plain)}}, "flux"))


def test_what_cannot_be_asked(folders, picture, depth):
    with pytest.raises(UsageError, match="no base"):
        run(picture, depth, make_request(folders, "flux", base="some/base"))
    with pytest.raises(UsageError, match="No model is chosen"):
        run(picture, depth, GenerationRequest(width=WIDTH, height=HEIGHT))
    with pytest.raises(UsageError, match="unknown everywhere"):
        run(picture, np.full_like(depth, np.nan), make_request(folders, "flux"))
    with pytest.raises(UsageError, match=r"depth \[32, 48\]"):
        run(picture, depth[::2, ::2], make_request(folders, "flux"))


def test_a_picture_that_is_not_finite_is_an_error(folders, picture, depth, monkeypatch):
    monkeypatch.setattr(painters.FluxDepth, "call", lambda *args, **options: np.full((80, 128, 3), np.nan, np.float32))
    with pytest.raises(GenerationError, match="not finite"):
        run(picture, depth, make_request(folders, "flux"))
