"""Python runs this as it starts where this folder is on its path: faults are there before the backend is imported."""

from soak import faults

faults.install()
