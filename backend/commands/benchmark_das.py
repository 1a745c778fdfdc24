"""`das benchmark das`: seconds a step, peak memory and share of the card's rate, for each plan and switch.

With random weights of the published size, which take as long and as much as the published ones, or with ``--weights``. It
only measures: a slow machine is no error. Without a card the tiny model shows that the command works.
"""

from __future__ import annotations

import argparse
import importlib.metadata

import msgspec
import torch

from ...shared.errors import UsageError
from ...shared.report import Reporter
from ..models import cards, costs, measuring, plans
from ..models.measuring import Case, Feature

STEPS = 6
SIZES = ("full", "tiny")


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    device = measuring.default_device()
    size = args.size or ("tiny" if device == "cpu" else "full")
    _check(size, device, args)
    with torch.inference_mode(), measuring.make_case(size, args.weights or "", device, args.steps or STEPS) as case:
        rate = measuring.matrix_rate(device, case.plan.dtype)
        _tell_machine(reporter, case, size, rate, args.weights)
        _tell_table(reporter, case, _told(measuring.features(case, rate), reporter))
        _tell_vae(reporter, _told(measuring.vae_features(case), reporter))
    return 0


def _check(size: str, device: str, args: argparse.Namespace) -> None:
    if size not in SIZES:
        raise UsageError(f"das benchmark das has no size {size}.", "Choose --size full or --size tiny.")
    if size == "full" and device == "cpu":
        raise UsageError("The full size needs a card: one step takes a CPU many minutes.", "Use --size tiny here.")
    if args.steps is not None and not 1 <= args.steps <= measuring.SCHEDULE_STEPS:
        raise UsageError(f"{args.steps} steps cannot be measured.", f"Choose from 1 to {measuring.SCHEDULE_STEPS}; {STEPS} are usual.")


def _told(found, reporter: Reporter) -> list[Feature]:
    """The features, each told as it is measured."""
    features = []
    for feature in found:
        features.append(feature)
        reporter.progress(feature.name, 1, 1)
    return features


def _tell_machine(reporter: Reporter, case: Case, size: str, rate: float, weights: str | None) -> None:
    request, operations = case.request, costs.operations(case.network, case.request)
    versions = {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "torchao")}
    machine = plans.machine_for("auto").name + (cards.driver() if case.plan.device != "cpu" else f", {torch.get_num_threads()} threads")
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    reporter.result(
        f"{machine}; {made}\n"
        f"{'weights ' + weights if weights else f'random weights, {size}'}: {case.network.transformer:,} parameters, "
        f"{request.width}x{request.height}, {request.frames} frames, {case.plan.dtype}\n"
        f"matrices: {rate / 1e12:.3g} TFLOP/s; a step with guidance: {operations / 1e12:.4g} TFLOP, "
        f"so at least {operations / rate:.3g} s, and {50 * operations / rate:.3g} s for 50 steps",
        machine=machine,
        versions=versions,
        parameters=case.network.transformer,
        width=request.width,
        height=request.height,
        frames=request.frames,
        matrix_rate=rate,
        operations=operations,
        least_seconds=operations / rate,
    )


def _tell_table(reporter: Reporter, case: Case, found: list[Feature]) -> None:
    lines = [f"\n{'a step, with guidance':<26} {'s/step':>8} {'first':>8} {'25 steps':>9} {'50 steps':>9} {'share':>6} {'gain':>6} {'error':>8} {'peak':>9} {'expected':>9}"]
    for one in found:
        if one.why_not:
            lines.append(f"{one.name:<26} not here: {one.why_not}")
            continue
        gain, error = (f"{one.gain:.2f}x", f"{one.error:.1e}") if one.gain else ("", "")
        peak, expected = (plans.gigabytes(one.peak), plans.gigabytes(one.expected)) if one.peak else ("", "")
        lines.append(
            f"{one.name:<26} {one.seconds:>8.3g} {one.first:>8.3g} {25 * one.seconds:>9.3g} {50 * one.seconds:>9.3g} "
            f"{one.share:>6.0%} {gain:>6} {error:>8} {peak:>9} {expected:>9}"
        )
    lines.append("Error: the distance of the latents from the plain run's after the measured steps, as a share. With random weights it")
    lines.append("says nothing of the published ones, and neither does the gain of the cache; times and memory do not depend on them.")
    reporter.result("\n".join(lines), features=msgspec.to_builtins(found), steps=case.steps)


def _tell_vae(reporter: Reporter, found: list[Feature]) -> None:
    lines = [f"\n{'the VAE, a whole video':<26} {'seconds':>8} {'peak':>9} {'expected':>9}"]
    for one in found:
        peak = plans.gigabytes(one.peak) if one.peak else ""
        lines.append(f"{one.name:<26} {one.why_not or f'{one.seconds:.3g}':>8} {peak:>9} {plans.gigabytes(one.expected) if one.peak else '':>9}")
    reporter.result("\n".join(lines), vae=msgspec.to_builtins(found))
