"""Errors of operators, told as Blender tells them, and in the panel, where a button may mend them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import bpy

from ...shared.errors import DasError
from ..runner import runner

Execute = Callable[[bpy.types.Operator, bpy.types.Context], set[str]]


def reports_errors(execute: Execute) -> Execute:
    """``execute`` whose DasError becomes an error message, and the operator cancelled."""

    @functools.wraps(execute)
    def reporting(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        try:
            return execute(self, context)
        except DasError as error:
            runner.tell_error(error)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

    return reporting
