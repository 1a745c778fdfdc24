"""`das dataset blender`: training clips of Blender scenes, several Blenders beside each other."""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import time
from contextlib import closing
from pathlib import Path

from ...shared import options
from ...shared.dataset import FAILURES, Dataset, clips_in_words, note_failure
from ...shared.errors import DONE, GenerationError, UsageError
from ...shared.interrupt import cancelled_by_signal
from ...shared.only_writer import only_writer
from ...shared.points import is_grid
from ...shared.report import Reporter
from ...shared.request import FirstFrame, GenerationRequest, check
from ...shared.sidecars import read_sidecar
from ..dataset import recipe as recipes
from ..dataset.making import STAGING, staging_folder
from ..dataset.pool import Failed, Made, make_all
from ..dataset.recipe import Recipe, clip_name, files_in


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    recipe = recipe_of(args)
    Dataset.create(args.output)
    with only_writer(args.output):
        dataset = Dataset.create(args.output)
        dataset.mend_lists()
        recipes.settle(args.output, recipe)
        there = {record.name for record in dataset.records}
        wanted = [number for number in range(args.clips) if clip_name(number) not in there]
        failed = _make(args, dataset, wanted, reporter)
    _tell(dataset, len(wanted) - len(failed), failed, reporter)
    return GenerationError.exit_code if failed else DONE


def _make(args: argparse.Namespace, dataset: Dataset, wanted: list[int], reporter: Reporter) -> list[Failed]:
    """Make the clips that are missing; those that could not be made."""
    stopped: list[bool] = []
    failed: list[Failed] = []
    began, total = time.monotonic(), len(wanted)
    try:
        outcomes = make_all(dataset.root, wanted, args.jobs or default_jobs(), args.clips_per_process, lambda: bool(stopped))
        with cancelled_by_signal(lambda: stopped.append(True)), closing(outcomes):
            for done, outcome in enumerate(outcomes, start=1):
                if isinstance(outcome, Made):
                    dataset.append(outcome.record, staging_folder(dataset.root, outcome.number))
                else:
                    failed.append(outcome)
                    name, error = clip_name(outcome.number), GenerationError(outcome.message, outcome.fix)
                    reporter.event("failed", **note_failure(dataset.root, name, error))
                    reporter.note(f"Clip {name} was not made: {error}".strip())
                eta = (time.monotonic() - began) / done * (total - done)
                reporter.progress("clips", done, total, eta)
    finally:
        shutil.rmtree(dataset.root / STAGING, ignore_errors=True)
    return failed


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The command's options, checked before a Blender is started."""
    if args.clips < 1 or args.clips_per_process < 1 or (args.jobs is not None and args.jobs < 1):
        raise UsageError("--clips, --jobs and --clips-per-process are at least 1.", "Give a positive number.")
    width, height = options.parse_size(args.size)
    start, end = options.parse_range(args.frames) if args.frames else (None, None)
    range_given = {} if start is None else {"start": start, "end": end}
    check(GenerationRequest(width=width, height=height, frames=args.count, seed=args.seed, **range_given))
    sources = _sources(args)
    for file in itertools.chain(*sources.values()):
        read_sidecar(Path(file))
    composed = not sources["scenes"]
    return Recipe(
        seed=args.seed,
        **sources,
        width=width,
        height=height,
        frames=args.count,
        fit=args.fit,
        start=start,
        end=end,
        step=_step(args.step),
        render=_render(args.render),
        vary=recipes.VARIED if args.vary is None else recipes.parse_vary(args.vary),
        prompt=recipes.check_prompt(args.prompt if args.prompt is not None else recipes.COMPOSED_PROMPT if composed else recipes.SCENE_PROMPT),
        licence=args.licence,
        points=_grid(args.points),
        scripts=args.scripts,
    )


def default_jobs() -> int:
    return max(1, (os.cpu_count() or 1) // 2)


def _sources(args: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    composed = {"--characters": args.characters, "--motions": args.motions, "--worlds": args.worlds}
    if args.files and any(composed.values()):
        raise UsageError("Scenes and --characters, --motions or --worlds were given.", "Give either of them.")
    if args.files:
        return {"scenes": tuple(file for each in args.files for file in files_in(each, (".blend",), "FILE"))}
    if not args.characters:
        raise UsageError("Nothing to make clips of was given.", "Give .blend files, or --characters FOLDER.")
    return {
        "scenes": (),
        "characters": files_in(args.characters, recipes.SKIN, "--characters"),
        "motions": files_in(args.motions, recipes.MOTION, "--motions") if args.motions else (),
        "worlds": files_in(args.worlds, recipes.SETTING, "--worlds") if args.worlds else (),
    }


def _step(step: float) -> float:
    if not 0 < step <= 100:
        raise UsageError(f"A step of {step:g} scene frames is not possible.", "Give a number above 0, up to 100.")
    return step


def _render(text: str) -> FirstFrame:
    if text.partition(":")[0] not in ("render", "workbench", "cycles"):
        raise UsageError(f"'{text}' is no way to render.", "Give --render render, workbench, cycles, render:SAMPLES or cycles:SAMPLES.")
    return options.parse_first_frame(text)


def _grid(text: str) -> str:
    if not is_grid(text):
        raise UsageError(f"'{text}' is no grid of points.", "Give it as 50x50.")
    return text


def _tell(dataset: Dataset, made: int, failed: list[Failed], reporter: Reporter) -> None:
    count = len(dataset.records)
    lines = [f"{dataset.root}: {clips_in_words(count)}, {made} of them new."]
    if failed:
        lines.append(f"{len(failed)} could not be made: see {dataset.root / FAILURES}; the same command tries them again.")
    reporter.result("\n".join(lines), dataset=str(dataset.root.resolve()), clips=count, made=made, failed=[clip_name(each.number) for each in failed])
