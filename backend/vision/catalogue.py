"""The models that stand beside the video model: what each is for, where it comes from, how big it is, under which licence.

One table. Nothing here or in its users downloads: what is missing is an error that names the command that fetches it. A
commit can be fixed in ``revision``; none is known yet, so `das models pull` takes what main holds and its manifest keeps
that commit. Sizes are those of the files that ``files`` names, rounded.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import msgspec

from ...shared.errors import UsageError
from ..models import weights
from ..models.weights import WeightsError

MB, GB = 10**6, 10**9
ONE_MODEL = r"config\.json|preprocessor_config\.json|processor_config\.json|model\.safetensors"
PIPELINE = r"model_index\.json|scheduler/[^/]+\.json|tokenizer(_\d)?/[^/]+\.(json|model|txt)"
SETUP = "Install the backend with the model, in the add-on's preferences or by python3 install/run.py setup --model."
OURS = ("torch", "diffusers", "transformers")
COTRACKER = (
    "Install the authors' code (facebookresearch/co-tracker at 82e02e8029753ad4ef13cf06be7f4fc5facdda4d, for non-commercial use only)"
    " with the Python that das doctor names, or choose the tracker dis."
)


class SideModel(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table. ``files``: a pattern of what is fetched. ``bytes`` of all that.

    ``pickled`` is the file that pull converts to safetensors, where they publish no other. ``terms``: what a user should know of the licence before the download. ``packages`` are modules that must be importable, and
    ``installs`` says how where the model's environment does not have them.
    """

    name: str
    hub: str
    what: str
    tasks: str
    bytes: int
    licence: str
    terms: str = ""
    revision: str = ""
    files: str = ONE_MODEL
    pickled: str = ""
    packages: tuple[str, ...] = ()
    installs: str = ""

    @property
    def source(self) -> str:
        """The hub id, with its revision where one is fixed."""
        return f"{self.hub}@{self.revision}" if self.revision else self.hub

    @property
    def size(self) -> str:
        """'99 MB' or '6.9 GB'."""
        return f"{self.bytes / GB:.1f} GB" if self.bytes >= GB else f"{self.bytes / MB:.0f} MB"

    @property
    def missing(self) -> list[str]:
        """Modules that it runs on and that this Python has not."""
        return [module for module in self.packages if importlib.util.find_spec(module) is None]

    @property
    def needs(self) -> str:
        """What must be done first, a sentence; empty where nothing must."""
        if not self.missing:
            return ""
        return SETUP if self.missing[0] in OURS or not self.installs else self.installs

    def wants(self, file: str) -> bool:
        """Is this file of its repository fetched?"""
        return re.fullmatch(rf"README\.md|LICENSE[^/]*|{self.files}", file) is not None


TABLE = (
    SideModel(
        name="depth_anything",
        hub="depth-anything/Depth-Anything-V2-Small-hf",
        what="depth of a picture, up to scale and distance: Depth Anything V2, small",
        tasks="camera control, object manipulation, motion transfer and repaint where depth is not known",
        bytes=99 * MB,
        licence="Apache-2.0",
        packages=("torch", "transformers"),
    ),
    SideModel(
        name="depth_anything_metric",
        hub="depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf",
        what="depth of a picture in metres, indoors up to 20 m: Depth Anything V2, small, metric",
        tasks="the same as depth_anything",
        bytes=99 * MB,
        licence="Apache-2.0",
        packages=("torch", "transformers"),
    ),
    SideModel(
        name="moge",
        hub="Ruicheng/moge-2-vitl",
        what="depth of a picture in metres, and its field of view: MoGe-2, large",
        tasks="the same as depth_anything, sharper and slower",
        bytes=1310 * MB,
        licence="MIT",
        files=r"model\.pt",
        pickled="model.pt",
        packages=("torch", "moge", "utils3d", "pipeline"),
    ),
    SideModel(
        name="sam2",
        hub="facebook/sam2.1-hiera-tiny",
        what="the mask of what was clicked on: SAM 2.1, tiny",
        tasks="object manipulation by a click",
        bytes=156 * MB,
        licence="Apache-2.0",
        packages=("torch", "transformers"),
    ),
    SideModel(
        name="cotracker",
        hub="facebook/cotracker3",
        what="point tracks of a video: CoTracker 3, offline",
        tasks="motion transfer, and camera control of a video, instead of OpenCV's trackers",
        bytes=102 * MB,
        licence="CC-BY-NC-4.0",
        terms="weights and code are not for commercial use",
        files=r"scaled_offline\.pth",
        pickled="scaled_offline.pth",
        packages=("torch", "cotracker"),
        installs=COTRACKER,
    ),
    SideModel(
        name="flux",
        hub="black-forest-labs/FLUX.1-Depth-dev",
        what="a picture painted along a depth map: FLUX.1 Depth [dev]",
        tasks="repaint, on cards of 24 GB and more",
        bytes=33_700 * MB,
        licence="FLUX.1 [dev] Non-Commercial License",
        terms="to be accepted on its page first; the model is not for commercial use",
        files=PIPELINE + r"|(transformer|vae|text_encoder|text_encoder_2)/([^/]+\.json|[\w-]+\.safetensors)",
        packages=("torch", "diffusers", "transformers"),
    ),
    SideModel(
        name="sdxl",
        hub="stabilityai/stable-diffusion-xl-base-1.0",
        what="pictures from words: Stable Diffusion XL 1.0, in 16 bits",
        tasks="repaint on smaller cards, together with sdxl_depth",
        bytes=6_940 * MB,
        licence="CreativeML Open RAIL++-M",
        terms="forbids some uses, which its text lists",
        files=PIPELINE + r"|(unet|vae|text_encoder|text_encoder_2)/(config\.json|[\w-]+\.fp16\.safetensors)",
        packages=("torch", "diffusers", "transformers"),
    ),
    SideModel(
        name="sdxl_depth",
        hub="diffusers/controlnet-depth-sdxl-1.0",
        what="keeps Stable Diffusion XL to a depth map: ControlNet, in 16 bits",
        tasks="repaint, together with sdxl",
        bytes=2_500 * MB,
        licence="CreativeML Open RAIL++-M",
        terms="forbids some uses, which its text lists",
        files=r"config\.json|diffusion_pytorch_model\.fp16\.safetensors",
        packages=("torch", "diffusers"),
    ),
)


class MissingModel(WeightsError):
    """A side model is not on this machine; says what it would be to fetch it."""


def named(name: str) -> SideModel:
    """The entry of a name. KeyError where there is none: names are the program's own."""
    return {entry.name: entry for entry in TABLE}[name]


def known(source: str) -> SideModel | None:
    """The entry of a name or hub id, whatever its revision; None where it is none of ours."""
    hub = source.partition("@")[0]
    return next((entry for entry in TABLE if hub in (entry.name, entry.hub)), None)


def source_of(text: str) -> str:
    """The hub id that a name of the table stands for; any other text as it is."""
    return next((entry.source for entry in TABLE if entry.name == text), text)


def converted(source: str) -> tuple[str, ...]:
    """Files that pull makes of what it has fetched."""
    entry = known(source)
    return ("model.safetensors", "config.json") if entry and entry.pickled else ()


def find(name: str, source: str | Path = "") -> weights.Place:
    """The folder of a side model, or of ``source`` (a folder, a hub id, or a name of the table) in its place.

    MissingModel where it has not been fetched, WeightsError where ``source`` is nothing.
    """
    text = source_of(str(source) or name)
    entry = known(text)
    return _find_ours(entry, text) if entry else weights.find(text)


def _find_ours(entry: SideModel, source: str) -> weights.Place:
    try:
        return weights.find(source)
    except WeightsError:
        terms = f"; {entry.terms}" if entry.terms else ""
        raise MissingModel(
            f"{source} is not on this machine ({entry.what}; {entry.size}, licence {entry.licence}{terms}).",
            f"Fetch it with das models pull {source}, or give a folder.",
        ) from None


def need_packages(name: str) -> None:
    """UsageError with what installs them where modules that a side model runs on are missing."""
    entry = named(name)
    if missing := entry.missing:
        are = "is" if len(missing) == 1 else "are"
        raise UsageError(f"The model {name} needs {', '.join(missing)}, which {are} not installed.", entry.needs)
