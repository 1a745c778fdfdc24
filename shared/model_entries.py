"""What `das models list` says of weights, in the form that the command writes and Preferences read."""

from __future__ import annotations

import msgspec


class Entry(msgspec.Struct):
    """A line of `das models list`. ``folder`` is empty where the weights are not on this machine.

    ``bytes`` are those in the folder, or else those to download where they are known; ``partial`` those of a download that
    was interrupted. ``tasks`` and ``needs`` are a side model's: what it is for, and what must be installed first. ``ours``:
    das models pull has fetched them, so that it may remove them too.
    """

    name: str
    what: str
    folder: str = ""
    bytes: int = 0
    partial: int = 0
    ours: bool = False
    licence: str = ""
    hub: str = ""
    tasks: str = ""
    needs: str = ""


class Entries(msgspec.Struct):
    """The result of the command: all of them, and the folder where they are kept."""

    folder: str
    models: list[Entry]
    free: int = 0


def size_text(count: int) -> str:
    """'99 MB' or '6.9 GB'."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
