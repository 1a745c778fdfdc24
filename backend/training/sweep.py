"""Several runs, one after the other, and the table that compares them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from ...shared.errors import Cancelled, DasError
from ...shared.files import write_whole
from ...shared.report import Reporter
from .config import TrainConfig, Variant
from .session import Result

TABLE = "sweep.json"


def run(variants: list[Variant], train: Callable[[TrainConfig], Result], reporter: Reporter) -> int:
    """Train each; one that fails is a line of the table. The first failure's exit code, or 0. Cancelled ends all."""
    rows, codes = [], []
    for number, variant in enumerate(variants, start=1):
        reporter.note(f"Run {number} of {len(variants)}: {variant.name}.")
        try:
            rows.append(_row(variant, train(variant.config)))
        except Cancelled:
            raise
        except DasError as error:
            reporter.note(f"{variant.name} has failed: {error}")
            codes.append(error.exit_code)
            rows.append({"run": variant.config.output, "name": variant.name, "failure": str(error)})
    if os.environ.get("RANK", "0") == "0":  # the first of several processes
        write_whole(Path(variants[0].config.output).parent / TABLE, json.dumps(rows, indent=1).encode() + b"\n")
    reporter.result(_text(rows), runs=rows)
    return codes[0] if codes else 0


def _row(variant: Variant, result: Result) -> dict:
    return {"run": str(result.run), "name": variant.name, "step": result.step, "loss": result.loss, "clips_a_second": result.rate, **result.told()}


def _text(rows: list[dict]) -> str:
    width = max(len(row["name"]) for row in rows)
    lines = [f"{'':<{width}} {'loss':>8} {'held out':>9} {'ratio':>6} {'clips/s':>8}"]
    for row in rows:
        if "failure" in row:
            lines.append(f"{row['name']:<{width}} failed: {row['failure']}")
            continue
        held, ratio = (f"{row['matched']:.4f}", f"{row['control_ratio']:.2f}") if "matched" in row else ("", "")
        lines.append(f"{row['name']:<{width}} {row['loss']:>8.4f} {held:>9} {ratio:>6} {row['clips_a_second']:>8.2f}")
    return "\n".join(lines)
