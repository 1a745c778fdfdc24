"""`das score TAKE...`: what both rooms do alike."""

from __future__ import annotations

import argparse

import msgspec

from .best_of import score_takes
from .control_score import ControlScore
from .ranking import name_of, rank, tell_ranking
from .report import Reporter
from .take import Images, Take


def score_command(args: argparse.Namespace, reporter: Reporter, images: Images) -> int:
    """Score takes that are finished, and rank them where they are several; the exit code."""
    takes = [Take.open(folder, images) for folder in args.takes]
    score_takes(takes, reporter)
    if len(takes) > 1:
        tell_ranking(rank(takes), reporter)
    else:
        _tell(takes[0], reporter)
    return 0


def _tell(take: Take, reporter: Reporter) -> None:
    score = take.record.score
    reporter.result(
        f"{take.folder.name}: {score.sentence}\n{objects_table(score)}".rstrip(),
        take=str(take.folder.resolve()),
        score=msgspec.to_builtins(score, str_keys=True),
    )


def objects_table(score: ControlScore) -> str:
    """A line an object, the one with most points first; empty where it is not scored."""
    if score.value is None:
        return ""
    lines = [f"  {'':<24} points   score  within 4 px    8 px   median error   motion   visibility right"]
    for part in sorted(score.objects, key=lambda each: -each.points):
        near, far = part.within.values()
        value = "still" if part.value is None else f"{part.value:.3f}"
        lines.append(
            f"  {name_of(part)[:24]:<24} {part.points:6} {value:>7} {near:12.1%} {far:7.1%} {part.median_error:11.2f} px"
            f" {part.motion:5.1f} px {part.occlusion_accuracy:18.1%}"
        )
    return "\n".join(lines)
