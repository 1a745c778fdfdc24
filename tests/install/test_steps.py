"""Steps end with what they run: nothing goes on after Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffusion_as_shader.install import steps
from diffusion_as_shader.install.errors import InstallError


def test_a_step_says_that_it_began_and_ended(tmp_path, capsys):
    steps.run_step("counting", [sys.executable, "-c", "print(1 + 1)"], tmp_path / "log", tmp_path)
    assert capsys.readouterr().out.splitlines() == ["counting ...", "counting: done in 0 s"]
    assert (tmp_path / "log").read_text().strip() == "2"


def test_a_failure_shows_the_end_of_the_log(tmp_path):
    script = "import sys; print('\\n' * 99, 'disk full', file=sys.stderr); sys.exit(7)"
    with pytest.raises(InstallError, match="code 7") as failure:
        steps.run_step("writing", [sys.executable, "-c", script], tmp_path / "log", tmp_path)
    assert "disk full" in failure.value.message and str(tmp_path / "log") in failure.value.fix


def test_other_pythons_packages_stay_out(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert "PYTHONPATH" not in steps.clean_environment()
    assert "PATH" in steps.clean_environment()


@pytest.mark.skipif(os.name == "nt", reason="signals to one process are of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_its_child(checkout, tmp_path, number):
    """As in run.py, but with a step that would take an hour; only the script gets the signal."""
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"
    script = (
        f"import signal, sys; sys.path.insert(0, {str(checkout)!r})\n"
        "from pathlib import Path\n"
        "from install import run, steps\n"
        f"log = Path({str(tmp_path / 'log')!r})\n"
        f"step = lambda args: steps.run_step('an hour', [sys.executable, '-c', {child!r}], log, log.parent)\n"
        "run.run_setup = step\n"
        "sys.exit(run.main(['setup']))"
    )
    outer = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    inner = int(wait_for(lambda: read(tmp_path / "log")))
    outer.send_signal(number)
    _, said = outer.communicate(timeout=30)
    assert outer.returncode == 130
    assert "Traceback" not in said and "Stopped" in said
    with pytest.raises(ProcessLookupError):
        os.kill(inner, signal.SIGKILL)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait_for(question, within: float = 30):
    deadline = time.monotonic() + within
    while not (answer := question()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return answer
