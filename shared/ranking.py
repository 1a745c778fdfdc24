"""Takes of one shot beside each other, the best first: what --best-of and `das score` tell (docs/best-of-n.md)."""

from __future__ import annotations

import msgspec

from .control_score import ControlScore, ObjectScore
from .report import Reporter
from .take import Take

FAVOURITE = "favourite"  # an empty file, the star in the panel's history: take.json belongs to the job while it runs
OBJECTS_SHOWN = 4
WIDEST_NAME = 14


def rank(takes: list[Take]) -> list[Take]:
    """The best first, unscored ones last, in their order where they are alike; each take's record says its place."""
    ranked = sorted(takes, key=lambda take: -(_value(take) if _value(take) is not None else -1.0))
    scored = [take for take in ranked if _value(take) is not None]
    for place, take in enumerate(scored, start=1):
        take.record.score = msgspec.structs.replace(take.record.score, rank=place, of=len(scored))
        take.save()
    return ranked


def ranked_with_star(takes: list[Take]) -> list[Take]:
    """As :func:`rank`; the best gets the history's star, which the best of an earlier ranking then loses."""
    before = [take for take in takes if take.record.score and take.record.score.rank == 1]
    best, *others = ranked = rank(takes)
    for take in others:
        if take in before:
            (take.folder / FAVOURITE).unlink(missing_ok=True)
    if _value(best) is not None:
        best.write_file(FAVOURITE, b"")
    return ranked


def why_best(ranked: list[Take]) -> str:
    """One sentence: what the best is better in than the next."""
    best, *others = [take for take in ranked if _value(take) is not None] or [None]
    if best is None:
        return "None could be scored."
    if not others:
        return f"{best.folder.name} is the only one that could be scored."
    other = others[0]
    if _value(best) == _value(other):
        return f"{best.folder.name} and {other.folder.name} have the same score."
    text = f"{best.folder.name} keeps nearest to the motion: {_value(best):.3f}, the next {_value(other):.3f}"
    gain = _largest_gain(best.record.score, other.record.score)
    return f"{text}; it is most ahead in {gain}." if gain else f"{text}."


def _largest_gain(best: ControlScore, other: ControlScore) -> str:
    """The object in which the difference weighs most, with its figures; empty where there is none."""
    theirs = {part.number: part for part in other.objects}
    pairs = [(part, theirs[part.number]) for part in best.objects if part.value is not None and part.number in theirs]
    pairs = [(mine, its) for mine, its in pairs if its.value is not None and mine.value > its.value]
    if not pairs:
        return ""
    mine, its = max(pairs, key=lambda pair: (pair[0].value - pair[1].value) * pair[0].points**0.5 * pair[0].motion)
    return f"{name_of(mine)} (median error {mine.median_error:.1f} px, the next {its.median_error:.1f} px)"


def table(ranked: list[Take]) -> str:
    """For people: a line a take, with the median errors of its largest objects."""
    shown = _largest_objects(ranked)
    width = max(len(take.folder.name) for take in ranked) + 2
    heads = "".join(f"{name_of(part)[:WIDEST_NAME]:>{WIDEST_NAME + 2}}" for part in shown)
    lines = [f"   {'':<{width}}score  within 4 px    8 px   median px{heads}"]
    for place, take in enumerate(ranked, start=1):
        mark = " * " if place == 1 and _value(take) is not None else "   "
        lines.append(f"{mark}{take.folder.name:<{width}}{_cells(take, shown)}")
    return "\n".join(lines)


def _cells(take: Take, shown: list[ObjectScore]) -> str:
    score, failure = take.record.score, take.record.failure
    if score is None or score.value is None:
        return failure.message if failure else (score.sentence if score else take.record.state)
    theirs = {part.number: part for part in score.objects}
    errors = (f"{theirs[part.number].median_error:.1f}" if part.number in theirs else "" for part in shown)
    near, far = score.within.values()
    return f"{score.value:5.3f} {near:12.1%} {far:7.1%} {score.median_error:11.2f}" + "".join(f"{error:>{WIDEST_NAME + 2}}" for error in errors)


def _largest_objects(ranked: list[Take]) -> list[ObjectScore]:
    scored = [take.record.score for take in ranked if _value(take) is not None]
    moving = [part for part in scored[0].objects if part.value is not None] if scored else []
    return sorted(moving, key=lambda part: -part.points)[:OBJECTS_SHOWN]


def name_of(part: ObjectScore) -> str:
    """The object's name, or its number."""
    return part.name or f"object {part.number}"


def tell_ranking(ranked: list[Take], reporter: Reporter) -> None:
    """The table, which is the best and why, as the command's one result."""
    best = ranked[0]
    reporter.result(
        f"{table(ranked)}\n{why_best(ranked)}\n{best.folder}",
        take=str(best.folder.resolve()),
        video=str(best.video.resolve()),
        state=best.record.state,
        score=msgspec.to_builtins(best.record.score, str_keys=True),
        best_of=[_row(take) for take in ranked],
        why=why_best(ranked),
        timings=best.record.timings,
        notes=best.record.notes,
    )


def _row(take: Take) -> dict:
    record = take.record
    return {
        "take": str(take.folder.resolve()),
        "seed": record.request.seed,
        "state": record.state,
        "score": msgspec.to_builtins(record.score, str_keys=True),
        "failure": msgspec.to_builtins(record.failure),
    }


def _value(take: Take) -> float | None:
    return take.record.score.value if take.record.score else None
