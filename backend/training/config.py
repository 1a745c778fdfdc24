"""The settings of one training run, read from TOML; a list in place of a value makes a sweep of runs.

Defaults are the published training's (Gu et al., arXiv 2501.03847, and its code) where those are known.
"""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from ...shared.errors import UsageError, did_you_mean

SIDE = 16  # pixels: sides of a clip are multiples
Method = Literal["side", "lora"]


class TrainConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One run. Paths are relative to the configuration's file. ``method`` side trains the tracking branch and its linears,
    lora trains low-rank additions to it and to the main blocks.

    ``batch`` clips make one step, ``micro_batch`` of them are in memory at once on each card. ``buckets`` are sizes WxHxT
    that clips are brought to; without, every clip keeps its own. Counts of steps are of the optimiser's.
    """

    data: str
    output: str
    weights: str = ""
    from_base: bool = False
    method: Method = "side"
    lora_rank: int = 64
    lora_alpha: float = 64.0

    steps: int = 2000
    batch: int = 64
    micro_batch: int = 2
    learning_rate: float = 1e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    gradient_checkpointing: bool = True
    seed: int = 42

    image_noise: tuple[float, float] | None = (-3.0, 0.5)  # mean and deviation of the logarithm of sigma
    drop_conditioning: float = 0.05
    drop_prompt: float = 0.0

    buckets: tuple[str, ...] = ()
    cache: bool = True
    cache_folder: str = ""
    workers: int = 2

    save_every: int = 500
    keep: int = 2
    trackers: tuple[str, ...] = ()

    validation: str = ""
    held_out: int = 0
    validate_every: int = 500
    validation_clips: int = 32
    validation_training_clips: int = 8
    samples: int = 1
    sample_steps: int = 25


class Variant(NamedTuple):
    """A run of a sweep: its ``name`` such as ``learning_rate=0.0001``, empty where there is but one."""

    name: str
    config: TrainConfig


def read_config(file: Path, changes: list[str] = []) -> list[Variant]:  # noqa: B006
    """The runs of a file, with ``changes`` such as ``steps=100`` in place of its values. UsageError names file and field."""
    file = Path(file)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no file {file}.", "Check the path; docs/training.md shows a configuration.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no TOML: {error}.", "Mend that line; docs/training.md shows a configuration.") from None
    values |= dict(_change(text) for text in changes)
    _check_names(values, file)
    swept = {name: value for name, value in values.items() if isinstance(value, list) and not _takes(name, value)}
    if empty := next((name for name, value in swept.items() if not value), None):
        raise UsageError(f"{file}: {empty} is an empty list.", "Give a value, or several to try.")
    variants = []
    for chosen in itertools.product(*swept.values()):
        one = dict(zip(swept, chosen))
        config = _resolved(_converted(values | one, file), file.resolve().parent)
        _check(config, file)
        name = ",".join(f"{key}={_short(value)}" for key, value in one.items())
        variants.append(Variant(name, msgspec.structs.replace(config, output=str(Path(config.output) / name)) if name else config))
    return variants


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"'{text}' sets nothing.", "Give -s NAME=VALUE, for example -s steps=100.")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:  # a text without quotes
        return name.strip(), value


def _check_names(values: dict[str, Any], file: Path) -> None:
    known = [field.name for field in msgspec.structs.fields(TrainConfig)]
    for name in values:
        if name not in known:
            raise UsageError(f"{file}: there is no setting {name}.", did_you_mean(name, known) or f"Choose of {', '.join(known)}.")
    for field in msgspec.structs.fields(TrainConfig):
        if field.required and field.name not in values:
            raise UsageError(f"{file} does not say {field.name}.", f"Add a line {field.name} = \"FOLDER\".")


def _takes(name: str, value: list) -> bool:
    """Whether a list is the setting's own value and no sweep."""
    field = next(field for field in msgspec.structs.fields(TrainConfig) if field.name == name)
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError:
        return False
    return True


def _converted(values: dict[str, Any], file: Path) -> TrainConfig:
    try:
        return msgspec.convert(values, TrainConfig)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at ")
        raise UsageError(f"{file}: {place.strip('`$.') or 'a value'} is wrong: {reason}.", "docs/training.md lists all settings.") from None


def _resolved(config: TrainConfig, folder: Path) -> TrainConfig:
    """Paths made whole; weights are a hub id where there is no such folder."""
    paths = {name: getattr(config, name) for name in ("data", "output", "validation", "cache_folder")}
    if config.weights and (folder / config.weights).is_dir():
        paths["weights"] = config.weights
    return msgspec.structs.replace(config, **{name: str(folder / path) for name, path in paths.items() if path})


def _check(config: TrainConfig, file: Path) -> None:
    least = {name: 1 for name in ("steps", "batch", "micro_batch", "lora_rank", "keep", "save_every", "validate_every")}
    least |= {name: 0 for name in ("warmup", "workers", "held_out", "validation_clips", "validation_training_clips", "samples")}
    for name, bound in least.items():
        if getattr(config, name) < bound:
            raise UsageError(f"{file}: {name} is {getattr(config, name)}.", f"Give at least {bound}.")
    for name in ("drop_conditioning", "drop_prompt"):
        if not 0 <= getattr(config, name) <= 1:
            raise UsageError(f"{file}: {name} is {getattr(config, name):g}.", "Give a share from 0 to 1.")
    if config.learning_rate <= 0:
        raise UsageError(f"{file}: learning_rate is {config.learning_rate:g}.", "Give a positive number, for example 1e-4.")
    for text in config.buckets:
        parse_bucket(text)


def parse_bucket(text: str) -> tuple[int, int, int]:
    """'720x480x49' to (720, 480, 49). UsageError where the model cannot make it."""
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise UsageError(f"'{text}' is no bucket.", "Give WIDTHxHEIGHTxFRAMES, for example 720x480x49.")
    width, height, frames = map(int, parts)
    check_size(width, height, frames, f"The bucket {text}")
    return width, height, frames


def size_in_words(width: int, height: int, frames: int) -> str:
    """'720x480 with 49 frames'."""
    return f"{width}x{height} with {frames} frames"


def check_size(width: int, height: int, frames: int, what: str) -> None:
    """UsageError where latents cannot have this size."""
    if width % SIDE or height % SIDE or frames % 8 != 1 or frames < 9 or not width or not height:
        raise UsageError(f"{what} is {size_in_words(width, height, frames)}.", f"Sides must be multiples of {SIDE}, and frames 8N+1, for example 720x480x49.")


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("/", "_").replace("\\", "_")
