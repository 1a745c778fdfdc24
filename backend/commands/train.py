"""`das train CONFIG`: fine-tune the model on a dataset, on one card, or on several under `accelerate launch`."""

from __future__ import annotations

import argparse
import os
import threading

from ...shared.interrupt import cancelled_by_signal
from ...shared.report import Reporter
from ..models.costs import GB
from ..training import sweep
from ..training.config import TrainConfig, read_config
from ..training.session import Result, Session


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    if os.environ.get("RANK", "0") != "0":
        reporter = Silent(reporter.out, reporter.err)
    variants = read_config(args.config, args.set)
    stopped = threading.Event()
    with cancelled_by_signal(stopped.set):
        if args.plan:
            return _tell_plans(Session(variants[0].config, reporter, stopped.is_set), reporter)
        train = lambda config: Session(config, reporter, stopped.is_set).train(args.resume)  # noqa: E731
        if variants[0].name:  # a list, be it of one
            return sweep.run(variants, train, reporter)
        _tell(train(variants[0].config), variants[0].config, reporter)
    return 0


class Silent(Reporter):
    """Of the processes beside the main one: they tell errors only."""

    def progress(self, phase: str, step: int, total: int, eta: float | None = None) -> None:
        pass

    def note(self, sentence: str) -> None:
        pass

    def result(self, text: str, **fields) -> None:
        pass


def _tell(result: Result, config: TrainConfig, reporter: Reporter) -> None:
    errors = result.errors
    lines = [f"{result.run}: {result.step} steps, loss {result.loss:.4f}, {result.rate:.2f} clips a second."]
    if errors:
        lines.append(f"On clips held out: error {errors.matched:.4f}, control ratio {errors.control_ratio:.2f}.")
    if seen := result.training_errors:
        lines.append(f"On clips of the training: error {seen.matched:.4f}, control ratio {seen.control_ratio:.2f}.")
    lines.append(f"das export {result.run} -o FOLDER makes weights of it that das generate --weights takes.")
    reporter.result("\n".join(lines), run=str(result.run), step=result.step, loss=result.loss, clips_a_second=result.rate, **result.told())


def _tell_plans(session: Session, reporter: Reporter) -> int:
    plans = session.plans
    width = max(len(name) for name, _ in plans)
    lines = [f"{'GB on each card':<{width}} {'total':>8} {'frozen':>8} {'trained':>8} {'gradients':>9} {'optimizer':>9} {'activations':>11} {'VAE':>6}"]
    for name, one in plans:
        values = (one.total, *one)
        lines.append(f"{name:<{width}} " + " ".join(f"{value / GB:>{size}.2f}" for value, size in zip(values, (8, 8, 8, 9, 9, 11, 6))))
    reporter.result("\n".join(lines), plans={name: one._asdict() | {"total": one.total} for name, one in plans})
    return 0

