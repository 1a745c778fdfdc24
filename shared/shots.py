"""The batch file: shots with their defaults, globs, variations and seeds become takes to make, judged whole beforehand.

    [defaults]
    engine = "das"

    [[shot]]
    scene = "scenes/*.blend"
    prompt = "a fox made of paper"
    seeds = 3

docs/batch.md names the fields.
"""

from __future__ import annotations

import glob
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import msgspec

from . import shot_fields, toml_lines
from .errors import UsageError, did_you_mean
from .messages import EngineInfo
from .request import GenerationRequest, Task, check
from .request_words import words_of
from .shot_fields import Field, Fields, Problems
from .take_command import GENERATION_FIELDS
from .task_options import TASKS

ENGINES = ("projection", "das")
MAX_SEEDS = 1000
RESERVED = {"captures", "replaced", "logs", "clips"}  # folders of the batch itself
FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]|(?:^|/)(?:\.{1,2}|[^/]*[. ])?(?:/|$)')
PLACEHOLDER = re.compile(r"\{(\w*)\}")
# What else than range, frames, size, fit and first frame a task's tracking video is made from.
SETTINGS: dict[Task, set[str]] = {
    "mesh_to_video": {"hidden", "percentiles", "background", "write", "points"},
    "camera_control": {"depth", "camera"},
    "object_manipulation": {"depth", "camera", "object"},
    "motion_transfer": {"depth", "transfer"},
}
TOGETHER = {
    **dict.fromkeys(("range", "start", "end"), ("start", "end")),
    **dict.fromkeys(("size", "width", "height"), ("width", "height")),
}  # fields of a request that are judged together


class Capture(msgspec.Struct, frozen=True):
    """One tracking video to draw: ``das WORDS``, to which -o and the like are added. ``files`` are what it reads."""

    words: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def is_scene(self) -> bool:
        """Blender makes it, and can say beforehand whether the shot will work."""
        return self.words[1].lower().endswith(".blend")


class PlannedTake(msgspec.Struct, frozen=True):
    """One take to make: ``das generate CAPTURE WORDS``. ``name`` is its folder; ``request`` has what the file says of it."""

    name: str
    line: int
    capture: Capture
    words: tuple[str, ...]
    request: GenerationRequest
    best_of: int = 1

    @property
    def best_of_words(self) -> list[str]:
        return [f"--best-of={self.best_of}"] if self.best_of > 1 else []

    @property
    def others(self) -> list[str]:
        """The folders of the further seeds that best_of chooses from."""
        return [f"{self.name}-seed-{self.request.seed + number}" for number in range(1, self.best_of)]


def read_shots(file: Path) -> list[PlannedTake]:
    """All takes of a batch file, in its order. BadShots with every error and its line; nothing has been begun then."""
    text = _text(file)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(file, text, str(error)) from None
    return _Reader(file, document, toml_lines.lines_of(text)).takes()


def check_engines(file: Path, takes: Sequence[PlannedTake], engines: Sequence[EngineInfo]) -> None:
    """BadShots where the backend that will do it has no such engine, or one that cannot make this."""
    problems, known = Problems(file), {engine.name: engine for engine in engines}
    for take in takes:
        request, info = take.request, known.get(take.request.engine)
        if info is None:
            problems.add(take.line, f"The backend has no engine '{request.engine}'.", f"Choose of {', '.join(known)}.")
            continue
        match info.unfit(request):
            case "unavailable":
                problems.add(take.line, f"The engine {info.name} cannot be used: {info.reason}", info.fix)
            case "frames":
                problems.add(take.line, f"The engine {info.name} cannot make {request.frames} frames.", f"Set frames to {_or(info.frames)}.")
            case "size":
                sizes = [f"{width}x{height}" for width, height in info.sizes]
                problems.add(take.line, f"The engine {info.name} cannot make {request.width}x{request.height}.", f"Set size to {_or(sizes)}.")
    problems.raise_all()


def _or(values: Sequence[object]) -> str:
    return " or ".join(map(str, values))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"There is no batch file {file}.", "Check the path.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text in UTF-8.", "Save it as UTF-8.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", "Give a file like the one in docs/batch.md.") from None


def _no_toml(file: Path, text: str, said: str) -> UsageError:
    where = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", said)
    line = int(where[1] or text.count("\n") + 1) if where else 1
    reason = said[: where.start()] if where else said
    return UsageError(f"{file}:{line}: This is no TOML: {reason[:1].lower()}{reason[1:].rstrip('.')}.", "Mend the line; docs/batch.md has an example.")


class _Reader:
    """One batch file on its way to takes."""

    def __init__(self, file: Path, document: Mapping[str, Any], lines: Mapping[toml_lines.Path, int]):
        self.file, self.document, self.lines = file, document, lines
        self.folder = file.resolve().parent
        self.problems = Problems(file)

    def takes(self) -> list[PlannedTake]:
        for name in set(self.document) - {"defaults", "shot"}:
            near = did_you_mean(name.lower(), ["defaults", "shot"])
            self.problems.add(self.lines[(name,)], f"There is no table '{name}'.", near or "A batch file has [defaults] and a [[shot]] for each shot.")
        defaults, shots = self.document.get("defaults", {}), self.document.get("shot", [])
        if not isinstance(defaults, dict):
            self.problems.add(self.lines[("defaults",)], "defaults is no table.", "Write [defaults] on a line of its own.")
            defaults = {}
        if not isinstance(shots, list) or not all(isinstance(shot, dict) for shot in shots):
            self.problems.add(self.lines[("shot",)], "shot is no array of tables.", "Write [[shot]] above each shot, in double brackets.")
            shots = []
        elif not shots:
            self.problems.add(1, "There is no shot in this file.", "Add a [[shot]] with a scene.")
        below = shot_fields.flatten(defaults, ("defaults",), self.lines)
        takes = [take for number, shot in enumerate(shots) for take in self._shot(below, shot, ("shot", number))]
        if not shots:
            shot_fields.checked({name: field for name, field in below.items() if name != "variations"}, self.problems)
        self._check_folders(takes)
        self.problems.raise_all()
        return takes

    def _shot(self, defaults: Fields, shot: Mapping[str, Any], path: toml_lines.Path) -> Iterator[PlannedTake]:
        """All takes of a shot: of each of its files, each variation and each seed."""
        fields = shot_fields.overlaid(defaults, shot_fields.flatten(shot, path, self.lines))
        variations = fields.pop("variations", None)
        where = path if "variations" in shot else ("defaults",)
        for label, varied in self._variations(fields, variations, where):
            good = shot_fields.checked(varied, self.problems)
            yield from self._takes(good, self.lines[path], label)

    def _variations(self, fields: Fields, variations: Field | None, path: toml_lines.Path) -> Iterator[tuple[str, Fields]]:
        """Name and fields of each variation, or the fields alone."""
        if variations is None:
            yield "", fields
            return
        if not isinstance(variations.value, list) or not all(isinstance(one, dict) for one in variations.value) or not variations.value:
            self.problems.add(variations.line, f"variations cannot be {shot_fields.shown(variations.value)}.", "Give each as a table [[shot.variations]].")
            return
        for number, table in enumerate(variations.value):
            here = shot_fields.flatten(table, (*path, "variations", number), self.lines)
            label = here.pop("name", Field(str(number + 1), 0)).value
            yield str(label), shot_fields.overlaid(fields, here)

    def _takes(self, fields: Fields, line: int, label: str) -> Iterator[PlannedTake]:
        changes = shot_fields.request_changes(fields, self.folder, self.problems)
        request = self._request(changes, fields, line)
        seeds = self._seeds(fields, request.seed)
        targets = self._targets(fields, line)
        if not {"scene", "source"} <= set(fields):
            self._check_task(fields, request.task)
        best_of = self._best_of(fields)
        for target in targets:
            for seed in seeds:
                with self.problems.at(line):
                    own = changes | {"seed": seed} if "seeds" in fields else changes
                    name = self._name(fields, line, target, label, seed, len(seeds) > 1)
                    yield self._take(name, line, target, own, fields, best_of)

    def _take(self, name: str, line: int, target: Path, changes: dict[str, Any], fields: Fields, best_of: int) -> PlannedTake:
        generation = {key: value for key, value in changes.items() if key in GENERATION_FIELDS}
        capture = {key: value for key, value in changes.items() if key not in GENERATION_FIELDS and key != "task"}
        command = next((word for word, task in TASKS.items() if task == changes.get("task")), "track")
        words = [command, str(target), *words_of(capture), *_own_words(fields)]
        files = [str(target), *(word.partition("=")[2] for word in words[2:] if Path(word.partition("=")[2]).is_file())]
        request = msgspec.structs.replace(GenerationRequest(), **changes)
        return PlannedTake(name, line, Capture(tuple(words), tuple(files)), tuple(words_of(generation)), request, best_of)

    def _request(self, changes: dict[str, Any], fields: Fields, line: int) -> GenerationRequest:
        """The request that a shot gives, checked; the default where it is wrong."""
        self._check_engine(changes, fields)
        self._check_pairs(changes, fields)
        request = msgspec.structs.replace(GenerationRequest(), **changes)
        try:
            return check(request)
        except UsageError as error:
            self.problems.add(_line_of(error, changes, fields, line), error.message, error.fix)
            return GenerationRequest()

    def _check_pairs(self, changes: dict[str, Any], fields: Fields) -> None:
        for one, other in (("start", "end"), ("width", "height")):
            given = [name for name in (one, other) if name in changes]
            if len(given) == 1:
                missing = other if given == [one] else one
                short = "range" if one == "start" else "size"
                self.problems.add(fields[given[0]].line, f"{given[0]} is given without {missing}.", f"Give both, or {short}.")
                del changes[given[0]]

    def _check_engine(self, changes: dict[str, Any], fields: Fields) -> None:
        extra = [entry.partition("=")[0].strip() for entry in os.environ.get("DAS_EXTRA_ENGINES", "").split(",") if entry.strip()]
        known = [*ENGINES, *extra]
        engine = changes.get("engine", "projection")
        if engine not in known:
            changes.pop("engine")
            near = did_you_mean(engine.lower(), known)
            self.problems.add(fields["engine"].line, f"There is no engine '{engine}'.", f"{near} Choose of {', '.join(known)}.".strip())

    def _seeds(self, fields: Fields, first: int) -> list[int]:
        if "seeds" not in fields:
            return [first]
        value, line = fields["seeds"]
        seeds = list(range(first, first + value)) if isinstance(value, int) else value
        if not 1 <= len(seeds) <= MAX_SEEDS or len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
            self.problems.add(line, f"seeds cannot be {shot_fields.shown(value)}.", f"Give how many, 1 to {MAX_SEEDS}, or a list of different whole numbers from 0 on.")
            return [first]
        return seeds

    def _best_of(self, fields: Fields) -> int:
        value, line = fields.get("best_of", Field(1, 0))
        if not 1 <= value <= MAX_SEEDS:
            self.problems.add(line, f"best_of cannot be {value}.", f"Give how many seeds to choose from, 1 to {MAX_SEEDS}, for example 4.")
            return 1
        return value

    def _targets(self, fields: Fields, line: int) -> list[Path]:
        """The scenes, pictures or videos of a shot."""
        given = [name for name in ("scene", "source") if name in fields]
        if len(given) == 2:
            self.problems.add(fields["source"].line, "Both scene and source are given.", "Give one of them.")
        if len(given) != 1:
            if not given:
                self.problems.add(line, "The shot has neither scene nor source.", 'Give it a .blend file, for example scene = "shot.blend".')
            return []
        value, line = fields[given[0]]
        found = [file for text in ([value] if isinstance(value, str) else value) for file in self._files(text, given[0], line)]
        return list(dict.fromkeys(found))

    def _files(self, text: str, what: str, line: int) -> list[Path]:
        """The files of a path or glob, by name."""
        whole = self.folder / text
        if whole.is_file():
            found = [whole]
        else:
            found = [Path(name) for name in sorted(glob.glob(str(whole), recursive=True)) if Path(name).is_file()]
        if not found:
            sentence = f"No file matches {text}." if glob.has_magic(text) else f"There is no file {whole}."
            self.problems.add(line, sentence, f"Check the path of the {what}; it counts from the batch file's folder.")
        wrong = [file for file in found if what == "scene" and file.suffix.lower() != ".blend"]
        if wrong:
            self.problems.add(line, f"{wrong[0]} is no .blend file.", "Give pictures and videos as source, with the task that takes them.")
        return [file.resolve() for file in found if file not in wrong]

    def _check_task(self, fields: Fields, task: Task) -> None:
        """Each setting belongs to the task."""
        if task == "mesh_to_video" and "source" in fields:
            tasks = ", ".join(name for name in get_args(Task) if name != task)
            self.problems.add(fields["source"].line, "Mesh to video takes a scene, not a picture or video.", f"Set task to {tasks}, or give scene.")
        if task == "motion_transfer" and "scene" in fields:
            self.problems.add(fields["scene"].line, "Motion transfer takes a video, not a scene.", "Give the video as source.")
        own = SETTINGS[task]
        for name, field in fields.items():
            table = name.partition(".")[0]
            owners = [other for other, settings in SETTINGS.items() if table in settings]
            if owners and table not in own:
                self.problems.add(field.line, f"{name} is no setting of {task}.", f"Leave it away, or set task to {_or(owners)}.")

    def _name(self, fields: Fields, line: int, target: Path, label: str, seed: int, several: bool) -> str:
        """The take's folder below the output folder."""
        given, line = fields.get("name", Field("{scene}", line))
        pattern = given + ("-{variation}" if label and "{variation}" not in given else "")
        pattern += "-s{seed}" if several and "{seed}" not in given else ""
        engine = fields["engine"].value if "engine" in fields else "projection"
        values = {"scene": target.stem, "variation": label, "seed": str(seed), "engine": engine}
        for name in PLACEHOLDER.findall(pattern):
            if name not in values:
                fix = did_you_mean(name.lower(), values) or f"Use of {', '.join(f'{{{one}}}' for one in values)}."
                raise UsageError(f"The name has no {{{name}}}.", fix)
        name = PLACEHOLDER.sub(lambda match: values[match[1]], pattern)
        if FORBIDDEN.search(name) or name.split("/")[0].lower() in RESERVED:
            self.problems.add(line, f"'{name}' cannot be a folder's name.", "Give another name; / makes folders in folders.")
        return name

    def _check_folders(self, takes: Sequence[PlannedTake]) -> None:
        """No take lies in the folder of another, also where names are not told apart by case."""
        lines: dict[PurePosixPath, PlannedTake] = {}
        for take in takes:
            folder = PurePosixPath(take.name.casefold())
            other = next((lines[one] for one in (folder, *folder.parents) if one in lines), None)
            other = other or next((found for one, found in lines.items() if folder in one.parents), None)
            if other:
                both = f"line {other.line}" if other.line != take.line else "the same shot"
                self.problems.add(
                    take.line,
                    f"This shot writes the folder {take.name}, and so does the shot of {both}." if other.line != take.line
                    else f"Two takes of this shot write the folder {take.name}.",
                    "Give one of them another name." if other.line != take.line else "Put {scene}, {variation} or {seed} into its name.",
                )  # fmt: skip
            lines.setdefault(folder, take)


def _line_of(error: UsageError, changes: Mapping[str, Any], fields: Fields, line: int) -> int:
    """Where the field stands that makes a request wrong: the first that does so alone, or the shot."""
    for name, field in sorted(fields.items(), key=lambda item: item[1].line):
        table, _, inner = name.partition(".")
        alone = {key: changes[key] for key in TOGETHER.get(table, (table,)) if key in changes}
        if inner and table in alone:
            alone = {table: type(alone[table])(**{inner: getattr(alone[table], inner)})}
        try:
            check(msgspec.structs.replace(GenerationRequest(), **alone))
        except UsageError as found:
            if found.message == error.message:
                return field.line
    return line


def _own_words(fields: Fields) -> list[str]:
    """Options of a capture that no request has."""
    options = {"scene_name": "--scene", "scene_camera": "--camera", "lens": "--lens", "path_depth": "--path-depth"}
    return [f"{option}={fields[name].value}" for name, option in options.items() if name in fields]
