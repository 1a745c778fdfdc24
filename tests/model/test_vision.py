"""Depth, masks by a click, and their weights: the real networks, tiny and random, so that all code runs without downloads."""

import gc
import sys
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))

from tiny_vision import depth_anything, sam  # noqa: E402

from diffusion_as_shader.backend.models import weights  # noqa: E402
from diffusion_as_shader.backend.models.weights import KeysError, WeightsError  # noqa: E402
from diffusion_as_shader.backend.vision import catalogue, depth_models, loading  # noqa: E402
from diffusion_as_shader.backend.vision.conversion import convert  # noqa: E402
from diffusion_as_shader.backend.vision.depth import estimate_depth  # noqa: E402
from diffusion_as_shader.backend.vision.masks import mask_from_click  # noqa: E402
from diffusion_as_shader.shared.errors import Cancelled, UsageError  # noqa: E402
from diffusion_as_shader.shared.task_settings import DepthSettings  # noqa: E402

WIDTH, HEIGHT = 96, 64
FRAMES = np.random.default_rng(0).integers(0, 255, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def depth_folder(tmp_path_factory):
    return depth_anything(tmp_path_factory.mktemp("depth"))


@pytest.fixture(scope="module")
def sam_folder(tmp_path_factory):
    return sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture
def moge_config(monkeypatch):
    """MoGe-2 with a backbone of two small blocks in the place of DINOv2."""
    pytest.importorskip("moge", reason="needs MoGe: das models list says how to install it")
    from moge.model.dinov2.hub import backbones
    from moge.model.dinov2.models.vision_transformer import DinoVisionTransformer

    small = partial(DinoVisionTransformer, img_size=28, patch_size=14, embed_dim=24, depth=2, num_heads=2, mlp_ratio=2, init_values=1.0, block_chunks=0)
    monkeypatch.setattr(backbones, "tiny", lambda pretrained: small(), raising=False)
    widths = [8, 8, 4, 4, 4]
    head = dict(dim_in=widths, dim_res_blocks=[8, 4, 4, 4, 4], resamplers=["bilinear"] * 4, num_res_blocks=0)
    return dict(
        encoder=dict(backbone="tiny", intermediate_layers=1, dim_out=8),
        neck=dict(dim_in=[10, 2, 2, 2, 2], dim_res_blocks=widths, dim_out=widths, resamplers=["bilinear"] * 4, num_res_blocks=0),
        points_head=head | {"dim_out": [None] * 4 + [3]},
        mask_head=head | {"dim_out": [None] * 4 + [1]},
        scale_head=dict(dims=[24, 8, 1]),
        remap_output="exp",
        num_tokens_range=[12, 24],
    )


def write_moge(folder, config):
    """model.pt as it is published: its configuration and its weights."""
    from moge.model.v2 import MoGeModel

    torch.manual_seed(0)
    model = MoGeModel(**config)
    with torch.no_grad():
        for head, bias in ((model.points_head, (0, 0, 1)), (model.mask_head, (4,))):
            head.output_blocks[-1].bias.copy_(torch.tensor(bias))
            head.output_blocks[-1].weight.mul_(0.1)
    torch.save({"model_config": config, "model": model.state_dict()}, folder / "model.pt")
    convert(catalogue.known("moge"), folder)
    return folder


def settings(folder, source="depth_anything") -> DepthSettings:
    return DepthSettings(source=source, weights=str(folder))


# Depth Anything


def test_relative_depth_of_a_video(depth_folder):
    told = []
    depth = estimate_depth(FRAMES, settings(depth_folder), device="cpu", progress=lambda *step: told.append(step))
    assert depth.z.shape == (3, HEIGHT, WIDTH) and depth.z.dtype == np.float32 and depth.K is None
    assert np.percentile(depth.z[0], 1) == pytest.approx(1, abs=1e-3) and depth.z.max() <= 50
    ratio = np.median(depth.z[1] / depth.z[0])
    assert ratio == pytest.approx(1, abs=0.02), "frames have one scale"
    assert "the nearest of the first frame is taken to be 1 away" in depth.notes[0]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_depth_is_the_inverse_of_what_the_network_gives(depth_folder):
    """By hand: what it is surest is near has the least z, and z times its answer is the same everywhere."""
    with depth_models.open_model(settings(depth_folder), "cpu") as model:
        z, _ = model.measure(FRAMES[0])
        pixels = loading.prepared(torch.tensor(FRAMES[0]), (42, 56))
        answer = model._network(pixel_values=pixels).predicted_depth[:, None]
        answer = torch.nn.functional.interpolate(answer, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)[0, 0].detach().numpy()
    assert model._working_size(WIDTH, HEIGHT) == (42, 56) and np.allclose(z * answer, 1, atol=1e-4)


@pytest.mark.parametrize("size, working", [((720, 480), (518, 784)), ((480, 720), (784, 518)), ((518, 518), (518, 518)), ((1920, 1080), (518, 924))])
def test_the_working_size_keeps_the_shape(size, working):
    """As the published preprocessing: 14 px patches, the side that changes least becomes 518."""
    model = depth_models.DepthAnything.__new__(depth_models.DepthAnything)
    config = type("Config", (), {"image_size": 518, "patch_size": 14})
    model._network = type("Network", (), {"config": type("Outer", (), {"backbone_config": config})})
    assert model._working_size(*size) == working


def test_a_metric_model_is_in_metres(tmp_path):
    folder = depth_anything(tmp_path, depth_estimation_type="metric", max_depth=20)
    depth = estimate_depth(FRAMES[:1], settings(folder), device="cpu")
    assert depth.notes[0] == "Depth is estimated in metres by Depth Anything." and 0 < depth.z.max() <= 20


def test_a_picture_that_is_all_sky_is_told(depth_folder, monkeypatch):
    with depth_models.open_model(settings(depth_folder), "cpu") as model:
        model._network.head.conv3.bias.data.fill_(-1e3)
        with pytest.raises(UsageError, match="as far as the sky"):
            model.measure(FRAMES[0])


def test_a_cancel_ends_between_two_frames(depth_folder):
    told = []
    with pytest.raises(Cancelled):
        estimate_depth(
            FRAMES, settings(depth_folder), device="cpu", cancelled=lambda: len(told) == 2, progress=lambda *step: told.append(step)
        )
    assert told == [(1, 3), (2, 3)]


def test_the_model_s_memory_is_given_back_even_if_it_is_still_known(depth_folder):
    with depth_models.open_model(settings(depth_folder), "cpu") as model:
        weight = weakref.ref(next(model._network.parameters()).untyped_storage())
        assert next(model._network.parameters()).device.type == "cpu"
    gc.collect()
    assert weight() is None or next(model._network.parameters()).device.type == "meta"
    assert all(one.device.type == "meta" for one in model._network.parameters())


# SAM 2


def test_a_click_gives_a_mask_of_the_picture_s_size(sam_folder):
    mask = mask_from_click(FRAMES[0], (70.5, 20.0), source=sam_folder, device="cpu")
    assert mask.pixels.shape == (HEIGHT, WIDTH) and mask.pixels.dtype == bool and mask.pixels.any()
    assert "of the picture (SAM 2)" in mask.notes[0]


def test_the_click_reaches_the_network_in_its_own_pixels(sam_folder, monkeypatch):
    """48 of 96 and 16 of 64 pixels are 32 and 16 of its 64x64, and the best of three masks counts."""
    from diffusion_as_shader.backend.vision import sam2

    class Network:
        config = type("Config", (), {"prompt_encoder_config": type("Prompt", (), {"image_size": 64})})

        def __call__(self, pixel_values, input_points, input_labels, multimask_output):
            assert pixel_values.shape == (1, 3, 64, 64) and input_points.flatten().tolist() == [32, 16] and input_labels.tolist() == [[[1]]]
            masks = -torch.ones(1, 1, 3, 16, 16)
            masks[0, 0, 1, 2:6, 4:12] = 1
            return type("Found", (), {"iou_scores": torch.tensor([[[0.1, 0.9, 0.5]]]), "pred_masks": masks})

    mask = sam2._segment(Network(), FRAMES[0], (48, 16), "cpu")
    assert mask[10:22, 26:70].all() and not mask[:6].any() and not mask[:, :20].any()


def test_nothing_under_the_click_is_told(sam_folder, monkeypatch):
    monkeypatch.setattr("diffusion_as_shader.backend.vision.sam2._segment", lambda network, frame, xy, device: np.zeros((HEIGHT, WIDTH), bool))
    with pytest.raises(UsageError, match="SAM 2 finds nothing at 3,4"):
        mask_from_click(FRAMES[0], (3, 4), source=sam_folder, device="cpu")


def test_a_click_can_be_cancelled(sam_folder):
    with pytest.raises(Cancelled):
        mask_from_click(FRAMES[0], (3, 4), source=sam_folder, device="cpu", cancelled=lambda: True)


# MoGe


def test_moge_gives_depth_and_one_lens_for_all_frames(tmp_path, moge_config):
    depth = estimate_depth(FRAMES, settings(write_moge(tmp_path, moge_config), "moge"), device="cpu")
    assert depth.z.shape == (3, HEIGHT, WIDTH) and np.isfinite(depth.z).mean() > 0.5 and depth.z.min() > 0
    assert depth.K.shape == (3, 3, 3) and np.allclose(depth.K, depth.K[0], rtol=1e-3)
    assert depth.K[0, :2, 2].tolist() == [WIDTH / 2, HEIGHT / 2]
    assert depth.K[0, 0, 0] == pytest.approx(depth.K[0, 1, 1], rel=1e-4), "square pixels"
    assert depth.notes[0] == "Depth and lens are estimated by MoGe, depth in metres."


def test_moge_s_pickle_is_opened_by_pull_alone(tmp_path, moge_config):
    write_moge(tmp_path, moge_config)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError) as refused:
        estimate_depth(FRAMES[:1], settings(tmp_path, "moge"), device="cpu")
    assert "pickle" in refused.value.message and "das models pull moge" in refused.value.fix


def test_a_pickle_that_holds_a_program_is_not_converted(tmp_path, moge_config, capsys):
    class Program:
        def __reduce__(self):
            return print, ("this must not run",)

    file = tmp_path / "model.pt"
    for content in ({"model_config": moge_config, "model": Program()}, {"model": {}}, {"model": {"a": "text"}}, [1]):
        torch.save(content, file)
        with pytest.raises(WeightsError, match="cannot be read as weights"):
            convert(catalogue.known("moge"), tmp_path)
    torch.save({"model": {"a": torch.zeros(2000)}}, file)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        convert(catalogue.known("moge"), tmp_path)
    assert "must not run" not in capsys.readouterr().out
    assert [one.name for one in tmp_path.iterdir()] == ["model.pt"]


def test_what_is_converted_keeps_names_and_values(tmp_path):
    state = {"fnet.weight": torch.randn(3, 4), "shared": torch.randn(4, 4).T}
    torch.save(state, tmp_path / "scaled_offline.pth")
    made = convert(catalogue.known("cotracker"), tmp_path)
    assert convert(catalogue.known("cotracker"), tmp_path) == made, "a second pull changes nothing"
    assert {name: value.tolist() for name, value in load_file(made).items()} == {name: value.tolist() for name, value in state.items()}


def test_weights_that_are_not_moge_s_are_told(tmp_path, moge_config):
    write_moge(tmp_path, moge_config)
    save_file({"neck.other": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(KeysError, match="missing"):
        estimate_depth(FRAMES[:1], settings(tmp_path, "moge"), device="cpu")
    (tmp_path / "model.safetensors").write_bytes(b"no safetensors at all")
    with pytest.raises(WeightsError):
        estimate_depth(FRAMES[:1], settings(tmp_path, "moge"), device="cpu")


# What is not there, or wrong


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: estimate_depth(FRAMES, DepthSettings(), device="cpu"), ("Depth-Anything-V2-Small-hf", "99 MB", "Apache-2.0")),
        (lambda: mask_from_click(FRAMES[0], (3, 4), device="cpu"), ("facebook/sam2.1-hiera-tiny", "156 MB", "Apache-2.0")),
    ],
)
def test_a_model_that_is_not_here_is_named_and_not_fetched(call, words, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.http_get", lambda *ignored, **options: pytest.fail("it was fetched"))
    with pytest.raises(WeightsError) as caught:
        call()
    assert all(word in caught.value.message for word in words) and "das models pull" in caught.value.fix


def test_weights_that_do_not_fit_are_refused(depth_folder, sam_folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    with pytest.raises(WeightsError, match="another architecture: sam2_video instead of depth_anything"):
        estimate_depth(FRAMES, settings(sam_folder), device="cpu")
    broken = shutil.copytree(depth_folder, tmp_path / "broken")
    file = broken / "model.safetensors"
    state = load_file(file)
    removed = next(iter(state))
    save_file({name: weight for name, weight in state.items() if name != removed}, file, metadata={"format": "pt"})
    with pytest.raises(KeysError, match="1 missing"):
        estimate_depth(FRAMES, settings(broken), device="cpu")
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(WeightsError, match="cut short"):
        estimate_depth(FRAMES, settings(broken), device="cpu")
    file.rename(broken / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="can run any program"):
        estimate_depth(FRAMES, settings(broken), device="cpu")
    assert weights.find(str(broken)).folder == broken
