"""Errors of installing, in the form that the whole project uses: what is wrong, and what to do."""


class InstallError(Exception):
    """``message`` and ``fix`` are one sentence each; the scripts print them and end with ``exit_code``."""

    def __init__(self, message: str, fix: str = "", exit_code: int = 1):
        super().__init__(f"{message} {fix}".strip())
        self.message = message
        self.fix = fix
        self.exit_code = exit_code
