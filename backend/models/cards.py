"""The cards of this machine, their driver, and why torch cannot use them."""

from __future__ import annotations

import gc
import re
import shutil
import subprocess

import torch

from ...shared.errors import UsageError
from .costs import GB

SECONDS_TO_ASK = 10.0


class CardError(UsageError):
    """There is a card that torch cannot use."""


def available() -> bool:
    """Whether torch can use a card. CardError where the driver is too old for it: a CPU would silently take hours."""
    if torch.cuda.is_available():
        return True
    if torch.version.cuda:
        try:
            torch.cuda.init()
        except RuntimeError as error:
            check_driver(str(error), torch.version.cuda)
    return False


def check_driver(words: str, built_for: str) -> None:
    """CardError where ``words``, torch's own, say that the driver is too old. No card and no driver are no error."""
    if "driver" in words and "too old" in words:
        found = re.search(r"found version (\d+)(\d\d)\d", words)
        knows = f" It knows CUDA {found[1]}.{int(found[2])}" if found else " It is older than CUDA"
        raise CardError(
            f"The driver of the NVIDIA card is too old for this torch.{knows}, and torch is built for {built_for}.",
            "Update the driver from nvidia.com/drivers, or choose --plan cpu.",
        )


def describe() -> str:
    """Each card with its memory, what of it is free, and its driver. CardError where there is one that torch cannot use."""
    if not available():
        if torch.version.cuda is None and shutil.which("nvidia-smi"):
            raise CardError(
                "There is an NVIDIA card, but the torch that is installed is built for the CPU.",
                "Install torch for CUDA (pytorch.org says how) with the Python that das doctor names.",
            )
        return "none that torch can use: the model runs on the CPU, which takes hours"
    return "; ".join(map(_card, range(torch.cuda.device_count()))) + driver()


def _card(index: int) -> str:
    free, total = torch.cuda.mem_get_info(index)
    capability = ".".join(map(str, torch.cuda.get_device_capability(index)))
    return f"{torch.cuda.get_device_name(index)}, {free / GB:.1f} of {total / GB:.1f} GB free, compute capability {capability}"


def driver() -> str:
    """', driver 580.65.06', or nothing where it does not say."""
    if not (program := shutil.which("nvidia-smi")):
        return ""
    try:
        command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_ASK)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f", driver {told.stdout.split()[0]}" if told.returncode == 0 and told.stdout.split() else ""


def give_back_memory() -> None:
    """Hand memory that nothing refers to any more back to the system and the driver."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
