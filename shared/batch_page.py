"""The batch's summary page: one HTML file with everything in it, a row a take. It loads nothing and runs no script."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import msgspec

from .batch_clip import clip_of
from .batch_estimate import duration
from .batch_plan import Plan, TakeWork
from .batch_state import BatchState, Folder, Made, read_record
from .batch_style import STYLE
from .errors import DasError
from .request import GenerationRequest
from .take import Images, TakeRecord

ALWAYS = ("engine", "seed")
TOLD = (*ALWAYS, "prompt", "start", "end", "width", "height", "frames", "scene_fps")
STATES = {"done": "done", "failed": "failed", "cancelled": "stopped", "running": "running", "waiting": "waiting"}
SEVERITIES = {"block": "blocks", "warning": "warning", "info": "note"}


class Page:
    """index.html of a batch's folder, written anew whenever a take has come to its end."""

    def __init__(self, folder: Folder, plan: Plan, state: BatchState, images: Images):
        self.folder, self.plan, self.state = folder, plan, state
        self._images = images

    def write(self) -> None:
        """The page as things stand."""
        self.folder.write_file(self.folder.page, self._html().encode())

    def _html(self) -> str:
        title = f"{Path(self.state.file).name}, {_counts(self.plan)}"
        return "".join(
            (
                f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
                '<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy"',
                " content=\"default-src 'none'; style-src 'unsafe-inline'; media-src data:; img-src data:\">",
                f"<style>{STYLE}</style></head><body>\n",
                self._head(),
                *(self._row(take) for take in self.plan.takes),
                "</body></html>\n",
            )
        )

    def _head(self) -> str:
        failed = [take for take in self.plan.takes if take.made.state == "failed"]
        links = ", ".join(f'<a href="#{escape(take.name)}">{escape(take.name)}</a>' for take in failed)
        ran = f"running, as of {_clock(time.time())}" if self.state.pid else f"ended {_clock(time.time())}"
        return (
            f"<header><h1>{escape(Path(self.state.file).name)}</h1>"
            f"<p>{escape(_counts(self.plan))} &middot; begun {_clock(self.state.began)}, {ran}</p>"
            + (f'<p class="failure">Failed: {links}</p>' if failed else "")
            + "</header>\n"
        )

    def _row(self, take: TakeWork) -> str:
        record = read_record(self.folder.take(take.name)) if take.made.state != "waiting" else None
        request = record.request if record else take.planned.request
        state = "kept" if take.action == "keep" else STATES[take.made.state]
        return (
            f'<article id="{escape(take.name)}" class="{take.made.state}"><div class="clip">{self._clip(take)}</div><div>'
            f'<h2>{escape(take.name)} <span class="state">{state}</span></h2>'
            + _failure(take)
            + _settings(request)
            + _timing(take, record)
            + _score(record, take.made)
            + _findings(take.capture.made.findings)
            + _notes(record.notes if record else [])
            + "</div></article>\n"
        )

    def _clip(self, take: TakeWork) -> str:
        """The playing video inside the page."""
        if take.made.state == "waiting":
            return "<span>not made yet</span>"
        name = take.made.best or take.name
        file = self.folder.path / "clips" / f"{name.replace('/', ' - ')}.mp4"
        try:
            clip = clip_of(self.folder.take(name), self._images, file)
            if clip is None:
                return "<span>no results</span>"
            content = base64.b64encode(clip.read_bytes()).decode()
        except (DasError, OSError) as error:  # a page with one clip less is a page
            return f"<span>{escape(f'no clip: {error}')}</span>"
        return f'<video src="data:video/mp4;base64,{content}" autoplay loop muted playsinline controls></video>'


def _counts(plan: Plan) -> str:
    numbers = {word: sum(take.made.state == state for take in plan.takes) for state, word in STATES.items()}
    return f"{len(plan.takes)} takes: " + ", ".join(f"{number} {word}" for word, number in numbers.items() if number)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _failure(take: TakeWork) -> str:
    failure = take.made.failure
    if failure is None:
        return ""
    where = "In the capture: " if take.capture.made.state == "failed" else ""
    return f'<p class="failure">{escape(where + failure.message)} {escape(failure.fix)}</p>'


def _settings(request: GenerationRequest) -> str:
    """What differs from the defaults, and what one always wants to know."""
    usual = GenerationRequest()
    given: dict[str, Any] = {name: getattr(request, name) for name in ALWAYS}
    given["size"] = f"{request.width}x{request.height}"
    given["frames"] = f"{request.frames} of {request.start:g}:{request.end:g} at {request.scene_fps:g} fps"
    other = [name for name in request.__struct_fields__ if name not in TOLD and getattr(request, name) != getattr(usual, name)]
    given |= {name: msgspec.to_builtins(getattr(request, name)) for name in other}
    prompt = f'<p class="prompt">{escape(request.prompt)}</p>' if request.prompt else ""
    return prompt + _list(_dotted(given))


def _dotted(values: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{before}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            if text:
                yield f"{before}{name}".removesuffix(".source").replace("_", " "), text


def _list(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in rows) + "</dl>"


def _timing(take: TakeWork, record: TakeRecord | None) -> str:
    parts = [f"{what} {duration(made.seconds)}" for what, made in (("capture", take.capture.made), ("generation", take.made)) if made.seconds]
    within = [f"{name} {seconds:.1f} s" for name, seconds in (record.timings if record else {}).items() if seconds >= 0.05]
    if not parts and not within:
        return ""
    inner = f"<details><summary>{escape(', '.join(parts) or 'timing')}</summary>{escape(', '.join(within))}</details>"
    return f'<div class="timing">{inner}</div>'


def _score(record: TakeRecord | None, made: Made) -> str:
    score = msgspec.to_builtins(record).get("score") if record else None
    if not score:
        return ""
    rows = "".join(
        f"<tr><td>{escape(Path(str(one.get('take', ''))).name)}</td><td>{one.get('seed', '')}</td><td>{_value(one.get('score'))}</td></tr>"
        for one in made.ranking
    )
    table = f"<table><tr><th>take</th><th>seed</th><th>score</th></tr>{rows}</table>" if rows else ""
    why = f"<p>{escape(made.why)}</p>" if made.why else ""
    return f'<div class="score">control score {_value(score)}{why}{table}</div>'


def _value(score: Mapping[str, Any] | None) -> str:
    if not score or score.get("value") is None:
        return escape(f"unknown: {score['why_not']}") if score and score.get("why_not") else "unknown"
    error = score.get("median_error")
    return f"{score['value']:.3f}" + (f", median error {error:.2f} px" if error is not None else "")


def _findings(findings: Iterable[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<li class="{escape(str(one.get("severity", "")))}"><b>{SEVERITIES.get(one.get("severity"), "note")}</b> '
        f"{escape(str(one.get('message', '')))} <i>{escape(str(one.get('fix', '')))}</i></li>"
        for one in findings
    )
    return f'<ul class="findings">{rows}</ul>' if rows else ""


def _notes(notes: Iterable[str]) -> str:
    rows = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<details class="notes"><summary>notes</summary><ul>{rows}</ul></details>' if rows else ""
