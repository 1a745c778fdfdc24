"""`python -m diffusion_as_shader` is the command `das`."""

from .shared.cli import console

if __name__ == "__main__":
    console()
