"""`python -m diffusion_as_shader` is the command `das`."""

import sys

from .shared.cli import main

if __name__ == "__main__":
    sys.exit(main())
