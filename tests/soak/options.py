"""How much of everything, and from which seed."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """``messages`` are the fuzz's; ``rounds`` is how often a figure is measured; ``seconds`` bounds each wait."""

    seed: int = 1
    jobs: int = 200
    clients: int = 8
    messages: int = 100_000
    rounds: int = 9
    seconds: float = 120.0


class Broken(AssertionError):
    """A promise of the backend is broken: one sentence each."""

    def __init__(self, sentences: list[str]):
        super().__init__("\n".join(sentences))
        self.sentences = sentences


def hold(promises: list[tuple[bool, str]]) -> None:
    """Broken with the sentences of those that do not hold."""
    broken = [sentence for held, sentence in promises if not held]
    if broken:
        raise Broken(broken)
