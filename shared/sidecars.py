"""FILE.json beside a FILE: what it is called in prompts, where it is from and under which licence."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from .errors import UsageError


class Sidecar(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """``name`` is what prompts say for the file, for example 'a tin robot'."""

    name: str = ""
    licence: str = ""
    source: str = ""


def read_sidecar(file: Path) -> Sidecar:
    """That of a file, or an empty one. UsageError where it cannot be read."""
    beside = file.with_name(file.name + ".json")
    try:
        return msgspec.json.decode(beside.read_bytes(), type=Sidecar)
    except FileNotFoundError:
        return Sidecar()
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{beside} cannot be read: {error}.", "It is a JSON object of name, licence and source, each a text.") from None


def said(file: Path) -> str:
    """What a prompt says for a file: its sidecar's name, or its own in words."""
    return read_sidecar(file).name or in_words(file.stem)


def in_words(name: str) -> str:
    """'robot_dance-02' to 'robot dance 02'."""
    return " ".join(re.split(r"[\s_.\-]+", name)).strip() or name
