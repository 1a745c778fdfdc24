"""Errors of operators, told as Blender tells them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import bpy

from ...shared.errors import DasError

Execute = Callable[[bpy.types.Operator, bpy.types.Context], set[str]]


def reports_errors(execute: Execute) -> Execute:
    """``execute`` whose DasError becomes an error message, and the operator cancelled."""

    @functools.wraps(execute)
    def reporting(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        try:
            return execute(self, context)
        except DasError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

    return reporting
