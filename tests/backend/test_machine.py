"""Which cards this machine has, by a stand-in of the program that NVIDIA's driver brings."""

import os
import sys
from pathlib import Path

import pytest

from diffusion_as_shader.backend import machine
from diffusion_as_shader.backend.machine import Card, find_cards, find_devices
from diffusion_as_shader.backend.worker_line import Device
from diffusion_as_shader.shared.errors import UsageError

TWO = b"0, GPU-1111aaaa, NVIDIA H200, 143771, 143200\n1, GPU-2222bbbb, NVIDIA GeForce RTX 4090, 24564, 1024\n"
MIB = 1 << 20


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Puts a program of the driver's name on the PATH that says these bytes; torch is there, as far as the finding of cards asks."""
    (tmp_path / "torch.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def says(told: bytes, code: int = 0, seconds: float = 0.0) -> None:
        script = tmp_path / "driver.py"
        script.write_text(
            "import sys, time\n"
            f"assert sys.argv[1:] == ['--query-gpu=index,uuid,name,memory.total,memory.free', '--format=csv,noheader,nounits'], sys.argv\n"
            f"time.sleep({seconds})\nsys.stdout.buffer.write({told!r})\nsys.exit({code})\n"
        )
        put_on_path(tmp_path, script)

    return says


def put_on_path(folder: Path, script: Path) -> None:
    if os.name == "nt":
        (folder / "nvidia-smi.cmd").write_text(f'@"{sys.executable}" "{script}" %*\n')
    else:
        program = folder / "nvidia-smi"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
        program.chmod(0o755)


def names(devices: list[Device]) -> list[str]:
    return [device.name for device in devices]


def test_several_cards_are_a_device_each_named_by_its_uuid(driver):
    driver(TWO)
    assert find_cards()[1] == Card("1", "GPU-2222bbbb", "NVIDIA GeForce RTX 4090", 24564 * MIB, 1024 * MIB)
    assert find_devices() == [
        Device("card 0: NVIDIA H200", "GPU-1111aaaa", 143771 * MIB),
        Device("card 1: NVIDIA GeForce RTX 4090", "GPU-2222bbbb", 24564 * MIB),
    ]
    assert names(find_devices(1)) == ["card 0: NVIDIA H200"]
    with pytest.raises(UsageError, match="2 cards, one worker each, and 3 workers were asked for"):
        find_devices(3)


def test_one_card_is_left_as_it_is_visible(driver):
    driver(TWO.splitlines()[0])
    assert find_devices() == [Device("card 0: NVIDIA H200", None, 143771 * MIB)]


@pytest.mark.parametrize(
    "visible, expected",
    [
        ("1", [Device("card 1: NVIDIA GeForce RTX 4090", "1", 24564 * MIB)]),
        ("GPU-2222", [Device("card GPU-2222: NVIDIA GeForce RTX 4090", "GPU-2222", 24564 * MIB)]),
        ("7", [Device("card 7", "7", 0)]),  # torch will say what is wrong with it
        ("", [Device("CPU")]),
        ("-1", [Device("CPU")]),
    ],
)
def test_the_variable_leaves_cards_out(driver, monkeypatch, visible, expected):
    driver(TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_devices() == expected


@pytest.mark.parametrize(
    "told, code",
    [
        (b"", 0),
        (b"No devices were found\n", 6),
        (b"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9),
        (TWO, 15),
        (b"\xff\xfe\x00, half a\n", 0),
        (b"Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.\n", 0),
    ],
)
def test_what_is_no_list_of_cards_is_none(driver, told, code):
    driver(told, code)
    assert find_cards() == [] and names(find_devices(2)) == ["CPU 1", "CPU 2"]


def test_memory_that_is_not_told_is_unknown_and_bad_lines_are_left_out(driver):
    driver(b"0, GPU-1, NVIDIA GB10, [N/A], [Not Supported]\nUnable to ask GPU 1: it is lost\n" + TWO.splitlines()[1])
    assert [(card.index, card.memory, card.free) for card in find_cards()] == [("0", 0, 0), ("1", 24564 * MIB, 1024 * MIB)]


def test_a_driver_that_does_not_answer_is_not_waited_for(driver, monkeypatch):
    driver(TWO, seconds=30)
    monkeypatch.setattr(machine, "SECONDS_TO_ASK", 0.5)
    assert find_cards() == []


def test_without_the_program_or_without_torch_there_is_the_processor_alone(driver, monkeypatch, tmp_path):
    assert find_devices() == [Device("CPU")]
    driver(TWO)
    (tmp_path / "torch.py").unlink()
    assert find_devices() == [Device("CPU")] and len(find_cards()) == 2
