"""The batch's summary page."""

from __future__ import annotations

from .batch_plan import Plan
from .batch_state import BatchState, Folder
from .take import Images


class Page:
    def __init__(self, folder: Folder, plan: Plan, state: BatchState, images: Images):
        self.folder = folder

    def write(self) -> None:
        self.folder.write_file(self.folder.page, b"<!doctype html>")
