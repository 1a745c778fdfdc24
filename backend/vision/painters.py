"""The image models that follow a depth map: what each is made of, how it was trained, how its pipeline is called.

FLUX.1 Depth reads the map as further channels of what it denoises; Stable Diffusion XL is kept to it by a ControlNet.
Both pipelines are those of diffusers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DiffusionPipeline,
    FluxControlImg2ImgPipeline,
    FluxControlPipeline,
    FluxTransformer2DModel,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

from ...shared.errors import UsageError
from ...shared.request import GenerationRequest
from ...shared.task_settings import Repaint
from ..models import placement, weights
from ..models.plans import Plan
from ..models.weights import Place, WeightsError
from . import catalogue, parts


class Sizes(NamedTuple):
    """Of a painter, in parameters: encoders of text, the network, what of it is on a card while it is streamed by blocks
    and by layers, and the VAE."""

    text: int
    network: int
    by_blocks: int
    by_layers: int
    vae: int


class Work(NamedTuple):
    """One candidate: picture f32 [h,w,3] and depth f32 [h,w], both in 0..1 at the painted size; the strength, steps, seed."""

    picture: np.ndarray
    depth: np.ndarray
    strength: float
    steps: int
    seed: int

    @property
    def asked_steps(self) -> int:
        """What a pipeline must be asked for, so that at least one step is left of it at a low strength."""
        return self.steps if self.steps * self.strength >= 1 else math.floor(1 / self.strength) + 1

    def arguments(self, name_of_depth: str) -> dict[str, Any]:
        """What both pipelines call alike; from noise the depth is under another name in one of them."""
        height, width = self.depth.shape
        # Arrays, because a tensor would go into FLUX as it is, without being brought to -1..1.
        depth = np.repeat(self.depth[None, :, :, None], 3, axis=-1)
        given: dict[str, Any] = {name_of_depth: depth, "height": height, "width": width, "num_inference_steps": self.asked_steps}
        if self.strength < 1:
            given |= {"image": self.picture[None], "strength": self.strength}
        # Drawn on the CPU, so that one seed is one picture whatever the card's generator is.
        return given | {"generator": torch.Generator().manual_seed(self.seed), "output_type": "np", "return_dict": False}


class Painter:
    """A model on the disk; nothing is loaded until it is asked for."""

    title: str
    multiple: int  # of pixels
    steps: int
    guidance: float

    place: Place  # of all but a ControlNet

    @property
    def places(self) -> tuple[Place, ...]:
        """Where its weights lie."""
        return (self.place,)

    def sizes(self) -> Sizes:
        raise NotImplementedError

    def activations(self, width: int, height: int) -> float:
        """Bytes of the worst moment of a step, in numbers of two bytes."""
        raise NotImplementedError

    def embed(self, request: GenerationRequest, dtype: torch.dtype, device: str) -> tuple[dict[str, torch.Tensor], list[str]]:
        """The words as the pipeline takes them, on the CPU, and a note for each that was not read; the encoders are gone again."""
        raise NotImplementedError

    def pipeline(self, plan: Plan, from_noise: bool) -> DiffusionPipeline:
        """The pipeline placed as the plan wants it, without encoders of text."""
        raise NotImplementedError

    def networks(self, pipeline: DiffusionPipeline) -> list[torch.nn.Module]:
        """Its models, which can be left in front of each block."""
        raise NotImplementedError

    def call(self, pipeline: DiffusionPipeline, work: Work, words: dict[str, torch.Tensor], **options: Any) -> np.ndarray:
        """f32 [h,w,3] in 0..1."""
        raise NotImplementedError

    @property
    def side(self) -> int:
        """The model was trained on pictures of about side x side pixels."""
        return weights.read_config(self.place, "vae").get("sample_size", 1024)

    @property
    def name(self) -> str:
        """Hub ids, or folders."""
        return " with ".join(place.hub or str(place.folder) for place in self.places)

    def _vae(self, plan: Plan) -> AutoencoderKL:
        vae = parts.load(self.place, "vae", AutoencoderKL, plan.dtype, plan.device)
        if plan.tiled:
            vae.enable_tiling()
        return vae

    def _network(self, place: Place, part: str, kind: type, plan: Plan) -> torch.nn.Module:
        whole = plan.exact and plan.offload == "none"
        return placement.place(parts.load(place, part, kind, plan.dtype, plan.device if whole else "cpu"), plan)


class FluxDepth(Painter):
    """FLUX.1 Depth [dev], or a checkpoint of its layout."""

    title = "FLUX.1 Depth [dev]"
    multiple, steps, guidance = 16, 30, 10.0
    tokens = 512
    tensors_in_a_block = 18  # alive at the worst moment, of [tokens, width]; counted as those of costs.py

    def __init__(self, settings: Repaint):
        if settings.base:
            raise UsageError("FLUX.1 Depth has no base model of its own.", "Leave out the base, or choose sdxl.")
        self.place = catalogue.find("flux", settings.weights)
        self._config = parts.config(self.place, "transformer", FluxTransformer2DModel)
        read, made = self._config.get("in_channels", 64), self._config.get("out_channels") or self._config.get("in_channels", 64)
        if read != 2 * made:
            raise WeightsError(
                f"{self.name} is FLUX without depth: its transformer reads {read} channels instead of {2 * made}.", "Choose FLUX.1-Depth-dev."
            )

    def sizes(self) -> Sizes:
        network = parts.shapes(self.place, "transformer", FluxTransformer2DModel)
        encoders = {"text_encoder": CLIPTextModel, "text_encoder_2": T5EncoderModel}
        text = sum(parts.count(parts.shapes(self.place, part, kind)) for part, kind in encoders.items())
        vae = parts.count(parts.shapes(self.place, "vae", AutoencoderKL))
        return Sizes(text, parts.count(network), parts.streamed(network), 8 * parts.largest(network), vae)

    def activations(self, width: int, height: int) -> float:
        wide = self._config.get("num_attention_heads", 24) * self._config.get("attention_head_dim", 128)
        return 2 * self.tensors_in_a_block * (width * height / 256 + self.tokens) * wide

    @torch.no_grad()
    def embed(self, request: GenerationRequest, dtype: torch.dtype, device: str) -> tuple[dict[str, torch.Tensor], list[str]]:
        encoders = {
            "text_encoder": parts.load(self.place, "text_encoder", CLIPTextModel, dtype, device),
            "text_encoder_2": parts.load(self.place, "text_encoder_2", T5EncoderModel, dtype, device),
        }
        tokenizers = {name: parts.tokenizer(self.place, name) for name in ("tokenizer", "tokenizer_2")}
        pipeline = FluxControlPipeline(scheduler=None, vae=None, transformer=None, **encoders, **tokenizers)
        words, pooled, _ = pipeline.encode_prompt(request.prompt, None, device=torch.device(device), max_sequence_length=self.tokens)
        notes = ["The repaint's model FLUX reads no negative prompt."] if request.negative_prompt else []
        notes += _cut_short(tokenizers["tokenizer_2"], request.prompt, self.tokens)
        return {"prompt_embeds": words.cpu(), "pooled_prompt_embeds": pooled.cpu()}, notes

    def pipeline(self, plan: Plan, from_noise: bool) -> DiffusionPipeline:
        kind = FluxControlPipeline if from_noise else FluxControlImg2ImgPipeline
        network = self._network(self.place, "transformer", FluxTransformer2DModel, plan)
        without = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
        return kind(scheduler=parts.scheduler(self.place), vae=self._vae(plan), transformer=network, **without)

    def networks(self, pipeline: DiffusionPipeline) -> list[torch.nn.Module]:
        return [pipeline.transformer, pipeline.vae]

    def call(self, pipeline: DiffusionPipeline, work: Work, words: dict[str, torch.Tensor], **options: Any) -> np.ndarray:
        return pipeline(**words, **work.arguments("control_image"), guidance_scale=self.guidance, **options)[0][0]


class SdxlDepth(Painter):
    """Stable Diffusion XL with a ControlNet for depth; ``base`` and ``weights`` of the settings take their places."""

    title = "Stable Diffusion XL with a depth ControlNet"
    multiple, steps, guidance = 32, 30, 5.0
    hold = 0.5  # how strongly the ControlNet holds, as its page advises
    bytes_a_pixel = 440  # alive at the worst moment with both passes of guidance, counted as those of costs.py

    def __init__(self, settings: Repaint):
        self.place, self._control = catalogue.find("sdxl", settings.base), catalogue.find("sdxl_depth", settings.weights)
        unet, control = parts.config(self.place, "unet", UNet2DConditionModel), parts.config(self._control, ".", ControlNetModel)
        if unet.get("addition_embed_type") != "text_time":
            raise WeightsError(f"{self.place.hub or self.place.folder} is not Stable Diffusion XL.", "Choose weights of SDXL.")
        if unet.get("cross_attention_dim") != control.get("cross_attention_dim"):
            names = [place.hub or str(place.folder) for place in (self._control, self.place)]
            raise WeightsError(f"The ControlNet {names[0]} is for another model than {names[1]}.", "Choose a ControlNet for SDXL.")

    @property
    def places(self) -> tuple[Place, ...]:
        return (self.place, self._control)

    def sizes(self) -> Sizes:
        unet, control = parts.shapes(self.place, "unet", UNet2DConditionModel), parts.shapes(self._control, ".", ControlNetModel)
        encoders = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
        text = sum(parts.count(parts.shapes(self.place, part, kind)) for part, kind in encoders.items())
        vae = parts.count(parts.shapes(self.place, "vae", AutoencoderKL))
        by_layers = 8 * max(parts.largest(unet), parts.largest(control))
        return Sizes(text, parts.count(unet) + parts.count(control), parts.streamed(unet) + parts.streamed(control), by_layers, vae)

    def activations(self, width: int, height: int) -> float:
        return self.bytes_a_pixel * width * height

    @torch.no_grad()
    def embed(self, request: GenerationRequest, dtype: torch.dtype, device: str) -> tuple[dict[str, torch.Tensor], list[str]]:
        encoders = {
            "text_encoder": parts.load(self.place, "text_encoder", CLIPTextModel, dtype, device),
            "text_encoder_2": parts.load(self.place, "text_encoder_2", CLIPTextModelWithProjection, dtype, device),
        }
        tokenizers = {name: parts.tokenizer(self.place, name) for name in ("tokenizer", "tokenizer_2")}
        without = {"scheduler": None, "vae": None, "unet": None, "controlnet": None}
        pipeline = StableDiffusionXLControlNetPipeline(**without, **encoders, **tokenizers, add_watermarker=False)
        negative = request.negative_prompt or None
        told = pipeline.encode_prompt(request.prompt, None, torch.device(device), 1, True, negative)
        names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        return {name: one.cpu() for name, one in zip(names, told)}, _cut_short(tokenizers["tokenizer"], request.prompt, 77)

    def pipeline(self, plan: Plan, from_noise: bool) -> DiffusionPipeline:
        kind = StableDiffusionXLControlNetPipeline if from_noise else StableDiffusionXLControlNetImg2ImgPipeline
        unet = self._network(self.place, "unet", UNet2DConditionModel, plan)
        control = self._network(self._control, ".", ControlNetModel, plan)
        without = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
        return kind(scheduler=parts.scheduler(self.place), vae=self._vae(plan), unet=unet, controlnet=control, **without, add_watermarker=False)

    def networks(self, pipeline: DiffusionPipeline) -> list[torch.nn.Module]:
        return [pipeline.controlnet, pipeline.unet, pipeline.vae]

    def call(self, pipeline: DiffusionPipeline, work: Work, words: dict[str, torch.Tensor], **options: Any) -> np.ndarray:
        given = work.arguments("image" if work.strength == 1 else "control_image")
        return pipeline(**words, **given, guidance_scale=self.guidance, controlnet_conditioning_scale=self.hold, **options)[0][0]


PAINTERS = {"flux": FluxDepth, "sdxl": SdxlDepth}


def _cut_short(tokenizer: Any, prompt: str, length: int) -> list[str]:
    if len(tokenizer(prompt).input_ids) <= length:
        return []
    return [f"The repaint's model reads {length} tokens of the prompt, and what is beyond was left out."]
