"""How the last work ended, as a panel says it."""

from __future__ import annotations

import traceback

from ..shared.errors import Cancelled, DasError
from .stepwise import Stepwise


class Telling:
    """``message``, ``fix`` and ``failed`` are what a panel says, ``action`` what mends it, ``traceback`` of an error of our own."""

    def __init__(self):
        self.tell("")

    def tell(self, message: str) -> None:
        """Let the panel say that all is well."""
        self.message, self.fix, self.failed, self.action, self.traceback = message, "", False, "", ""

    def tell_error(self, error: DasError) -> None:
        """Let the panel say what is wrong, with the button that mends it."""
        self.tell(error.message)
        self.fix, self.failed, self.action = error.fix, True, error.action

    def step_of(self, work: Stepwise) -> bool:
        """One step of a work; False once it has ended, and that is told."""
        try:
            if work.step():
                return True
            self.tell(work.ready)
        except Cancelled:
            self.tell(work.stopped)
        except DasError as error:
            self.tell_error(error)
        except Exception as error:
            traceback.print_exc()
            self.tell_error(DasError(f"{type(error).__name__}: {error}.", "Copy the report and pass it on."))
            self.traceback = traceback.format_exc()
        return False
