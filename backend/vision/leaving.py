"""Leaving a library's call that runs for minutes, between two blocks of its networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from ...shared.errors import Cancelled


@contextmanager
def between_blocks(models: Iterable[nn.Module], cancelled: Callable[[], bool]) -> Iterator[None]:
    """Inside, every block of the models first asks whether to go on, and raises Cancelled where not."""

    def ask(*_) -> None:
        if cancelled():
            raise Cancelled("The generation was cancelled.")

    blocks = [block for model in models for part in model.modules() if isinstance(part, nn.ModuleList) for block in part]
    handles = [block.register_forward_pre_hook(ask) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
