"""`das farm`: needs nothing of this room."""

from ...shared.farm.command import run

__all__ = ["run"]
