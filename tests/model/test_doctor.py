"""`das doctor` of the model: cards and their driver, weights, and what each memory plan needs."""

import pytest
import torch

from diffusion_as_shader.backend.commands import doctor as backend_doctor
from diffusion_as_shader.backend.models import cards, plans
from diffusion_as_shader.backend.models.costs import GB
from diffusion_as_shader.backend.models.plans import Machine
from diffusion_as_shader.shared import doctor

TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading and "
    "installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No weights of this user are found, and no card."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def findings() -> dict[str, doctor.Finding]:
    return {name: doctor.look(name, question) for name, question in backend_doctor.of_the_model().items()}


def machines(monkeypatch, free: float) -> None:
    cpu = Machine("the CPU", "cpu", int(64 * GB), int(30 * GB), int(30 * GB))
    monkeypatch.setattr(plans, "machines", lambda: [Machine("A card", "cuda", int(free * GB), int(free * GB), int(30 * GB)), cpu])


def test_each_plan_says_what_it_needs_and_whether_that_is_there(monkeypatch):
    machines(monkeypatch, free=25)
    found = findings()
    assert set(found) == {"cards", "weights", "memory plan", *(f"plan {name}" for name in plans.NAMES)}
    assert found["plan large"].value.startswith("20.8 GB: bf16, VAE in tiles") and found["plan large"].value.endswith("(fits)")
    assert found["plan full"].value.endswith("(needs 34.8 GB, 25.0 GB are free)")
    assert found["plan cpu-small"].value.endswith("(fits)")
    chosen = found["memory plan"]
    assert chosen.ok and chosen.value.startswith("large for 720x480 and 49 frames, 20.8 GB expected; full needs")


def test_weights_that_are_missing_are_a_finding_with_its_fix(monkeypatch):
    machines(monkeypatch, free=25)
    found = findings()["weights"]
    assert not found.ok and "das models pull" in found.fix


def test_without_a_card():
    assert "none that torch can use" in findings()["cards"].value
    assert findings()["plan full"].value.endswith("(no card)")


def test_a_driver_that_is_too_old_is_told_by_doctor_and_by_a_generation(monkeypatch):
    def refuse():
        raise RuntimeError(TOO_OLD)

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", refuse)
    found = findings()["cards"]
    assert not found.ok and "Update the driver" in found.fix
    assert "too old for this torch. It knows CUDA 11.4, and torch is built for 13.0." in found.value
    with pytest.raises(cards.CardError, match="too old"):
        plans.machine_for("auto")
    assert plans.machine_for("cpu").device == "cpu", "who asks for the CPU gets it"


def test_a_machine_without_a_driver_has_no_card(monkeypatch):
    def refuse():
        raise RuntimeError("Found no NVIDIA driver on your system.")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", refuse)
    assert [machine.device for machine in plans.machines()] == ["cpu"]


def test_a_card_that_this_torch_is_not_built_for(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(cards.shutil, "which", lambda name: f"/usr/bin/{name}")
    found = findings()["cards"]
    assert not found.ok and "built for the CPU" in found.value and "Install torch for CUDA" in found.fix


def test_the_card_that_torch_knows(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index=0: (int(20 * GB), int(25.8 * GB)))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: "NVIDIA Example")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index=0: (8, 9))
    monkeypatch.setattr(cards.shutil, "which", lambda name: None)
    assert cards.describe() == "NVIDIA Example, 20.0 of 25.8 GB free, compute capability 8.9"
    assert plans.machines()[0][:4] == ("NVIDIA Example", "cuda", int(25.8 * GB), int(20 * GB))
