"""Random image models in the published layouts, small enough for any CPU: FLUX.1 Depth, and SDXL with a depth ControlNet."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import ByT5Tokenizer, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel
from transformers.models.clip import CLIPTokenizer

SIDE = 96  # pixels: what these were trained on, so to speak
WIDTH = 32  # of the text


def write_flux(folder: Path, seed: int = 0, in_channels: int = 32) -> Path:
    """The layout of FLUX.1-Depth-dev."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = FluxTransformer2DModel(
            in_channels=in_channels, out_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
        )  # fmt: skip
        vae = _vae(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1159, scaling_factor=0.3611)
        words = T5EncoderModel(T5Config(d_model=WIDTH, d_kv=8, d_ff=64, num_layers=1, num_heads=4, vocab_size=384, feed_forward_proj="gated-gelu"))
        _write(folder, transformer=transformer, vae=vae, text_encoder=CLIPTextModel(_clip()), text_encoder_2=words)
    _rename_as_published(folder / "text_encoder" / "model.safetensors")
    _write_clip_tokenizer(folder / "tokenizer")
    ByT5Tokenizer().save_pretrained(folder / "tokenizer_2")
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)
    scheduler.save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxControlPipeline"}))
    return folder


def write_sdxl(folder: Path, control: Path, seed: int = 0) -> tuple[Path, Path]:
    """The layouts of stable-diffusion-xl-base-1.0 and of controlnet-depth-sdxl-1.0, in 16 bits as both are fetched."""
    blocks = {
        "in_channels": 4, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "block_out_channels": (8, 16), "layers_per_block": 1,
        "cross_attention_dim": 2 * WIDTH, "transformer_layers_per_block": 1, "attention_head_dim": (2, 4), "norm_num_groups": 4,
        "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(sample_size=SIDE // 8, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **blocks)
        net = ControlNetModel(**blocks, conditioning_embedding_out_channels=(4, 8, 8, 16))
        for weight in net.parameters():  # its way out begins at zero
            torch.nn.init.normal_(weight, std=0.1)
        encoders = {"text_encoder": CLIPTextModel(_clip()), "text_encoder_2": CLIPTextModelWithProjection(_clip())}
        _write(folder, variant="fp16", unet=unet, vae=_vae(4, scaling_factor=0.13025), **encoders)
        net.half().save_pretrained(control, variant="fp16")
    _rename_as_published(folder / "text_encoder" / "model.fp16.safetensors")
    for name in ("tokenizer", "tokenizer_2"):
        _write_clip_tokenizer(folder / name)
    EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    ).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    return folder, control


def _vae(channels: int, **options) -> AutoencoderKL:
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    sizes = {"block_out_channels": (4, 4, 8, 8), "layers_per_block": 1, "norm_num_groups": 2, "sample_size": SIDE}
    return AutoencoderKL(**kinds, **sizes, latent_channels=channels, **options)


def _clip() -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, vocab_size=600, projection_dim=WIDTH,
        bos_token_id=512, eos_token_id=513, pad_token_id=513, max_position_embeddings=77,
    )  # fmt: skip


def _write(folder: Path, variant: str | None = None, **models) -> None:
    for name, model in models.items():
        (model.half() if variant else model).save_pretrained(folder / name, variant=variant)


def _rename_as_published(file: Path) -> None:
    """The published CLIP has text_model. before its names, and a counter that programs of its time wrote along."""
    found = {name if name.startswith("text_model.") else f"text_model.{name}": weight for name, weight in load_file(file).items()}
    save_file(found | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, file, metadata={"format": "pt"})


def _write_clip_tokenizer(folder: Path) -> None:
    """Of single characters."""
    folder.mkdir(parents=True)
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))] + [chr(256 + n) for n in range(68)]
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=77).save_pretrained(folder)
