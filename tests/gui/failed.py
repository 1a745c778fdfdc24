"""What ends a step."""


class Failed(AssertionError):
    """What should have been seen was not."""
