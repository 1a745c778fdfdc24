"""`das dataset clips FOLDER NUMBER ...`: what each of the parallel Blenders of `das dataset blender` does.

It tells JSON lines: ``begin``, then ``clip`` with the record, whose files lie in the clip's staging folder, or ``failed``.
A clip that cannot be made is told, and the next one begun. It ends once nobody holds its standard input any more.
"""

from __future__ import annotations

import argparse
import os
import threading
import traceback

import msgspec

from ...shared.errors import DONE, Cancelled, DasError, GenerationError
from ...shared.interrupt import cancelled_by_signal
from ...shared.report import Reporter
from ..dataset.making import Maker
from ..dataset.recipe import read_recipe


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    stopped = threading.Event()
    threading.Thread(target=_watch_input, args=[stopped], daemon=True).start()
    maker = Maker(args.root, read_recipe(args.root), lambda *step: reporter.progress(*step), stopped.is_set)
    with cancelled_by_signal(stopped.set):
        for number in args.numbers:
            _make(maker, number, reporter)
    return DONE


def _make(maker: Maker, number: int, reporter: Reporter) -> None:
    reporter.event("begin", number=number)
    try:
        record = maker.make(number)
    except (Cancelled, GenerationError):  # a full disk is full for all
        raise
    except DasError as error:
        reporter.event("failed", number=number, message=error.message, fix=error.fix)
    except Exception as error:  # of an importer, or a defect of ours: the other clips can be made all the same
        traceback.print_exc()
        reporter.event("failed", number=number, message=f"{type(error).__name__}: {error}", fix="")
    else:
        reporter.event("clip", number=number, record=msgspec.to_builtins(record))


def _watch_input(stopped: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stopped.set()
