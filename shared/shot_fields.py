"""What a shot of a batch file may say: names, types and files of its fields, each error with the line it stands on."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from . import options, toml_lines
from .errors import UsageError, did_you_mean
from .request import GenerationRequest, Task
from .request_words import OTHER_NAMES

OWN_FIELDS: dict[str, Any] = {
    "scene": str | list[str],
    "scene_name": str,
    "scene_camera": str,
    "name": str,
    "range": str,
    "size": str,
    "first_frame": str,
    "write": str | list[str],
    "seeds": int | list[int],
    "best_of": int,
    "source": str | list[str],
    "lens": float,
    "path_depth": float,
}
FILES = ("first_frame.path", "depth.path", "camera.path", "object.mask", "object.path", "transfer.tracks")
# What a file implies where nothing else is said, as its option does on the command line.
IMPLIED = {
    "first_frame.path": ("first_frame.source", "file"),
    "depth.path": ("depth.source", "file"),
    "object.path": ("object.motion", "path"),
    "object.follow": ("object.motion", "follow"),
    "transfer.tracks": ("transfer.tracker", "file"),
}
WORDS_OF_TYPES = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}


class Field(NamedTuple):
    """A field's value and the line it stands on."""

    value: Any
    line: int


Fields = dict[str, Field]  # by name, those of tables dotted: 'repaint.model'


class BadShots(UsageError):
    """All that is wrong with a batch file; ``errors`` one by one, each with its line."""

    def __init__(self, errors: list[UsageError]):
        self.errors = errors
        super().__init__(*[(error.message, error.fix) for error in errors][-1])


class Problems:
    """Gathers errors, so that a file is judged whole."""

    def __init__(self, file: Path):
        self.file = file
        self.errors: dict[tuple[int, str], UsageError] = {}

    def add(self, line: int, message: str, fix: str) -> None:
        """Once, even where several takes come from the same line."""
        self.errors.setdefault((line, message), UsageError(f"{self.file}:{line}: {message}", fix))

    @contextmanager
    def at(self, line: int) -> Iterator[None]:
        """A UsageError within is one of this line."""
        try:
            yield
        except UsageError as error:
            self.add(line, error.message, error.fix)

    def raise_all(self) -> None:
        """BadShots where there are any."""
        if self.errors:
            raise BadShots([self.errors[key] for key in sorted(self.errors)])


def request_fields() -> dict[str, Any]:
    """Types of the request's fields by name, those of structs dotted. scene_fps is the scene's own."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(GenerationRequest):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            found |= {f"{field.name}.{inner.name}": inner.type for inner in msgspec.structs.fields(field.type)}
        elif field.name != "scene_fps":
            found[field.name] = field.type
    return found


KNOWN = request_fields() | OWN_FIELDS


def flatten(table: Mapping[str, Any], path: toml_lines.Path, lines: Mapping[toml_lines.Path, int]) -> Fields:
    """A TOML table's fields with their lines; ``variations`` and arrays stay as they are."""
    found: Fields = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= {f"{key}.{name}": field for name, field in flatten(value, (*path, key), lines).items()}
        else:
            found[_own_name(key, value)] = Field(value, lines[(*path, key)])
    return found


def _own_name(key: str, value: Any) -> str:
    """camera = "NAME" is the scene's camera, the table is camera control's."""
    return "scene_camera" if key == "camera" and isinstance(value, str) else key


def overlaid(below: Fields, above: Fields) -> Fields:
    """Fields of ``below`` where ``above`` says nothing. A field and the table of its name displace each other."""

    def displaced(name: str) -> bool:
        return any(name == other or name.startswith(f"{other}.") or other.startswith(f"{name}.") for other in above)

    return {name: field for name, field in below.items() if not displaced(name)} | above


def checked(fields: Fields, problems: Problems) -> Fields:
    """The fields that exist and have the right type, converted; the others are problems."""
    good: Fields = {}
    for name, field in fields.items():
        if name not in KNOWN:
            problems.add(field.line, f"There is no field '{name}'.", _nearest_field(name) or "docs/batch.md names all.")
            continue
        try:
            good[name] = Field(msgspec.convert(field.value, KNOWN[name]), field.line)
        except msgspec.ValidationError:
            problems.add(field.line, *_wrong_value(name, field.value))
    return good


def _nearest_field(name: str) -> str:
    """A question with the field that is meant: the one whose option has this name, or the one of the nearest name."""
    of_option = {option: field for field, option in OTHER_NAMES.items()}
    return did_you_mean(of_option.get(name, name).lower(), [*KNOWN, "variations"])


def _wrong_value(name: str, value: Any) -> tuple[str, str]:
    """Message and fix."""
    if get_origin(KNOWN[name]) is Literal and isinstance(value, str):
        choices = [choice for choice in get_args(KNOWN[name]) if choice]
        return f"'{value}' is no {name}.", f"{did_you_mean(value.lower(), choices)} Choose of {', '.join(choices)}.".strip()
    return f"{name} cannot be {shown(value)}.", f"Give {_in_words(KNOWN[name])}."


def _in_words(kind: Any) -> str:
    if get_origin(kind) is types.UnionType:
        return " or ".join(_in_words(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) in (list, tuple):
        inner = next(part for part in get_args(kind) if part is not Ellipsis)
        several = {"a whole number": "whole numbers", "a number": "numbers"}.get(_in_words(inner), "texts")
        return f"a list of {several}"
    return WORDS_OF_TYPES.get(kind, str(kind))


def shown(value: Any) -> str:
    """A TOML value as its author wrote it, about."""
    text = f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) < 60 else text[:57] + "..."


def request_changes(fields: Fields, folder: Path, problems: Problems) -> dict[str, Any]:
    """The request's fields that are given, as :func:`options.changes` has them; files are relative to ``folder``."""
    values: dict[str, Any] = {}
    for name, (value, line) in fields.items():
        with problems.at(line):
            values |= _as_request(name, value, folder)
    for name, (implied, value) in IMPLIED.items():
        if values.get(name):
            values.setdefault(implied, value)
    return _nested(values)


def _as_request(name: str, value: Any, folder: Path) -> dict[str, Any]:
    """A field of the file as one or two of the request."""
    if name in FILES and value:
        return {name: existing_file(value, folder)}
    if convert := _SHORT.get(name):
        return convert(value, folder)
    return {name: value} if name in KNOWN and name not in OWN_FIELDS else {}


def _range(text: str, folder: Path) -> dict[str, float]:
    return dict(zip(("start", "end"), options.parse_range(text)))


def _size(text: str, folder: Path) -> dict[str, int]:
    return dict(zip(("width", "height"), options.parse_size(text)))


def _first_frame(text: str, folder: Path) -> dict[str, Any]:
    source, _, samples = text.partition(":")
    is_source = source in ("render", "workbench", "cycles") and (samples.isdigit() or not samples)
    chosen = options.parse_first_frame(text if is_source else str(folder / text))
    return {f"first_frame.{name}": value for name, value in msgspec.structs.asdict(chosen).items()}


def _write(names: str | list[str], folder: Path) -> dict[str, Any]:
    return {"write": options.parse_write(names if isinstance(names, str) else ",".join(names))}


def _points(text: str, folder: Path) -> dict[str, str]:
    return {"points": options.parse_points(text if options.is_grid(text) else str(folder / text))}


def _weights(name: str) -> Callable[[str, Path], dict[str, str]]:
    """A folder beside the file, or a hub id as it is."""
    return lambda text, folder: {name: str((folder / text).resolve()) if text and (folder / text).is_dir() else text}


_SHORT: dict[str, Callable[[Any, Path], dict[str, Any]]] = {
    "range": _range,
    "size": _size,
    "first_frame": _first_frame,
    "write": _write,
    "points": _points,
    **{name: _weights(name) for name in ("weights", "depth.weights", "repaint.weights", "repaint.base")},
}


def existing_file(text: str, folder: Path) -> str:
    """The whole path of a file that is there."""
    file = folder / text
    if not file.is_file():
        raise UsageError(f"There is no file {file}.", "Check the path; it counts from the batch file's folder.")
    return str(file.resolve())


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """'repaint.model' and its like in their structs again."""
    found: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    structs = {field.name: field.type for field in msgspec.structs.fields(GenerationRequest)}
    for table in sorted({name.partition(".")[0] for name in values if "." in name}):
        inner = {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{table}.")}
        found[table] = structs[table](**inner)
    return found


def task_of(fields: Fields) -> Task:
    return fields["task"].value if "task" in fields else "mesh_to_video"
