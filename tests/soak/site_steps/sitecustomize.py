"""Python runs this as it starts where this folder is on its path: the server's loop is timed from its first step."""

from soak import steps

steps.install()
