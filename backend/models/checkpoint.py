"""A checkpoint of the published layout: each component checked and loaded from its subfolder, one at a time.

Names and shapes are compared with the configuration before anything is loaded, from the files' headers: a checkpoint that
does not fit is an error with the names, never a model with a branch that was left as it was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers import AutoTokenizer, T5Config, T5EncoderModel
from transformers.utils import logging as transformers_logging

from ...shared.errors import first_line
from . import weights
from .transformer import TRACKING_PARTS, DaSTransformer3DModel
from .weights import WeightsError

# Of the published files, and of those that this program writes.
TRANSFORMERS = ("CogVideoXTransformer3DModelTracking", "DaSTransformer3DModel")
BASE = "CogVideoXTransformer3DModel"
TRACKING_BLOCKS = 18  # of a branch that is made anew
COMPONENTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
STEMS = {"transformer": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
WIDTH_OF_LATENT = 8  # pixels

Size = tuple[int, int, int]  # width, height, frames


class Components(NamedTuple):
    """All of a checkpoint, loaded. ``hashes`` by component, ``notes`` a sentence each."""

    transformer: DaSTransformer3DModel
    vae: AutoencoderKLCogVideoX
    text_encoder: T5EncoderModel
    tokenizer: Any
    scheduler: dict
    hashes: dict[str, str]
    notes: list[str]


class Checkpoint:
    """Weights in a folder, or of a hub id that has been pulled (:func:`weights.find`); nothing is loaded until it is asked for.

    ``from_base`` takes CogVideoX-5b-I2V and gives its transformer a new, untrained branch. Whatever is wrong raises
    WeightsError, at the latest when the component is loaded. Models come ready for inference: no parameter asks for a gradient.
    """

    def __init__(self, source: str | Path = "", *, revision: str | None = None, cache: Path | None = None, from_base: bool = False):
        self.place = weights.find(source, revision, cache)
        self.from_base = from_base
        self._hashes = weights.HashCache()

    @property
    def name(self) -> str:
        """The hub id, or the folder."""
        return self.place.hub or str(self.place.folder)

    @property
    def notes(self) -> list[str]:
        """What a take should say about these weights."""
        return ["The tracking branch is new and untrained: it has no effect yet."] if self.from_base else []

    # What they are, from configurations alone

    @cached_property
    def transformer_config(self) -> dict:
        """transformer/config.json, its architecture checked."""
        config = weights.read_config(self.place, "transformer")
        name = config.get("_class_name")
        if name == BASE and not self.from_base:
            raise WeightsError(
                f"{self.name} is a base model without the tracking branch ({BASE}).",
                "Choose weights of Diffusion as Shader, or give it a new branch on purpose with --from-base.",
            )
        if name in TRANSFORMERS and self.from_base:
            raise WeightsError(f"{self.name} has a tracking branch already.", "Leave out --from-base.")
        self._check_class("transformer", name, (*TRANSFORMERS, BASE))
        if config.get("patch_size_t") is not None or config.get("in_channels") != 2 * config.get("out_channels", 16):
            raise WeightsError(
                f"The transformer of {self.name} is not that of CogVideoX 1.0 from image to video.", "Choose CogVideoX-5b-I2V or weights made from it."
            )
        return config if name in TRANSFORMERS else config | {"num_tracking_blocks": min(TRACKING_BLOCKS, config.get("num_layers", 30))}

    @property
    def text_length(self) -> int:
        """How many tokens of a prompt the transformer reads."""
        return self.transformer_config.get("max_text_seq_length", 226)

    def allowed_sizes(self) -> list[Size] | None:
        """Width, height and frame count that these weights can make; None where any will do.

        Positions that were learnt fit one size only; rotary ones alone fit all.
        """
        config = self.transformer_config
        if not config.get("use_learned_positional_embeddings"):
            return None
        width, height, frames = (config.get(f"sample_{name}", default) for name, default in (("width", 90), ("height", 60), ("frames", 49)))
        return [(width * WIDTH_OF_LATENT, height * WIDTH_OF_LATENT, frames)]

    def scheduler_config(self) -> dict:
        """scheduler/scheduler_config.json."""
        return weights.read_config(self.place, "scheduler", "scheduler_config.json")

    # Loading

    def transformer(self, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> DaSTransformer3DModel:
        """The transformer in ``dtype``, or as it is stored."""
        self.check("transformer")
        if not self.from_base:
            return self._load(DaSTransformer3DModel, "transformer", dtype, device)
        blocks = self.transformer_config["num_tracking_blocks"]
        # What the files lack must be made and not left without memory, hence low_cpu_mem_usage.
        with _names_of_the_branch_untold():
            model = self._load(DaSTransformer3DModel, "transformer", dtype, "cpu", num_tracking_blocks=blocks, low_cpu_mem_usage=False)
        model.start_from_base()
        return model.to(device)

    def vae(self, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> AutoencoderKLCogVideoX:
        """The video encoder and decoder."""
        self.check("vae")
        return self._load(AutoencoderKLCogVideoX, "vae", dtype, device)

    def text_encoder(self, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> T5EncoderModel:
        """The prompt's encoder, the largest part but the transformer."""
        self.check("text_encoder")
        folder = self.place.folder / "text_encoder"
        transformers_logging.disable_progress_bar()  # a worker tells of progress by its events
        model = T5EncoderModel.from_pretrained(folder, dtype=dtype or "auto", use_safetensors=True, local_files_only=True)
        return model.eval().requires_grad_(False).to(device)

    def tokenizer(self) -> Any:
        """What turns a prompt into the text encoder's tokens."""
        weights.read_config(self.place, "tokenizer", "tokenizer_config.json")
        try:
            return AutoTokenizer.from_pretrained(self.place.folder / "tokenizer", local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, ImportError, TypeError) as error:
            raise WeightsError(f"The tokenizer of {self.name} cannot be read: {first_line(error)}.", self.place.again) from error

    def _load(self, model: type, component: str, dtype: torch.dtype | None, device: str | torch.device, **options) -> nn.Module:
        options |= {} if str(device) == "cpu" else {"device_map": {"": device}}
        dtype = dtype or self._stored_dtype(component)
        folder = self.place.folder / component
        loaded = model.from_pretrained(folder, torch_dtype=dtype, use_safetensors=True, local_files_only=True, **options)
        return loaded.requires_grad_(False)

    def _stored_dtype(self, component: str) -> torch.dtype:
        first = self._files(component)[0]
        kinds = {entry["dtype"] for entry in weights.read_header(first, self.place).values()}
        names = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        return next((dtype for kind, dtype in names.items() if kind in kinds), torch.float32)

    # Checking

    def check(self, component: str) -> None:
        """Compare a component's files with its configuration: whole, and all names and shapes as they must be."""
        make = {"transformer": self._empty_transformer, "vae": self._empty_vae, "text_encoder": self._empty_text_encoder}[component]
        found = weights.read_shapes(self._files(component), self.place)
        expected, optional = _shapes(make)
        if component == "transformer" and self.from_base:
            expected = {name: shape for name, shape in expected.items() if not name.startswith(TRACKING_PARTS)}
        weights.compare(f"The weights of {self.name}/{component}", expected, found, optional, self.place.again)

    def _files(self, component: str) -> list[Path]:
        return weights.weight_files(self.place, component, STEMS[component])

    def _empty_transformer(self) -> nn.Module:
        return self._empty(DaSTransformer3DModel, self.transformer_config)

    def _empty_vae(self) -> nn.Module:
        config = weights.read_config(self.place, "vae")
        self._check_class("vae", config.get("_class_name"), ("AutoencoderKLCogVideoX",))
        return self._empty(AutoencoderKLCogVideoX, config)

    def _empty_text_encoder(self) -> nn.Module:
        config = weights.read_config(self.place, "text_encoder")
        self._check_class("text_encoder", config.get("model_type"), ("t5",))
        return T5EncoderModel(T5Config.from_dict(config))

    def _empty(self, model: type, config: dict) -> nn.Module:
        try:
            return model.from_config(config)
        except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
            raise WeightsError(f"No {model.__name__} can be made of its configuration: {first_line(error)}.", self.place.again) from error

    def _check_class(self, component: str, found: str | None, wanted: tuple[str, ...]) -> None:
        if found not in wanted:
            raise WeightsError(
                f"The {component} of {self.name} is of another architecture: {found or 'it does not say which'} instead of {wanted[0]}.",
                "Choose weights of Diffusion as Shader.",
            )

    def verify(self, said: Callable[[str], None] = lambda component: None) -> None:
        """Check all components as far as is possible without computing; ``said`` is told each before it is looked at."""
        for component in COMPONENTS:
            said(component)
            if component in STEMS:
                self.check(component)
            elif component == "tokenizer":
                self.tokenizer()
            else:
                self.scheduler_config()

    # Hashes

    def hash(self, component: str) -> str:
        """One sha256 over the names and hashes of a component's files of weights."""
        lines = [f"{self._hashes.hash(file)}  {file.name}\n" for file in self._files(component)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def hashes(self) -> dict[str, str]:
        """:meth:`hash` of every component that has weights."""
        return {component: self.hash(component) for component in STEMS}


def load_components(
    source: str | Path = "",
    *,
    revision: str | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    cache: Path | None = None,
    from_base: bool = False,
) -> Components:
    """Load everything at once; the published weights need 27 GB."""
    checkpoint = Checkpoint(source, revision=revision, cache=cache, from_base=from_base)
    checkpoint.verify()
    return Components(
        checkpoint.transformer(dtype, device),
        checkpoint.vae(dtype, device),
        checkpoint.text_encoder(dtype, device),
        checkpoint.tokenizer(),
        checkpoint.scheduler_config(),
        checkpoint.hashes,
        checkpoint.notes,
    )


@contextmanager
def _names_of_the_branch_untold() -> Iterator[None]:
    """diffusers would list all that a base lacks as if it were a fault."""
    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(verbosity)


def _shapes(make: Callable[[], nn.Module]) -> tuple[dict[str, tuple], set[str]]:
    """Shapes of a model's weights by name, none of them made; and the names of those that are another's by another name."""
    with torch.device("meta"):
        state = make().state_dict(keep_vars=True)
    first: dict[int, str] = {}
    tied = {name for name, weight in state.items() if first.setdefault(id(weight), name) != name}
    return {name: tuple(weight.shape) for name, weight in state.items()}, tied
