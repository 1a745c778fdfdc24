"""A run: what it trains, how it is kept, gone on with, spread over processes, and what ends it."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))

from toy_dataset import SETTINGS  # noqa: E402

from diffusion_as_shader.backend.models.checkpoint import Checkpoint
from diffusion_as_shader.backend.models.transformer import TRACKING_PARTS, zero_
from diffusion_as_shader.backend.training import checkpoints, export, loss
from diffusion_as_shader.backend.training.checkpoints import Checkpoints
from diffusion_as_shader.backend.training.config import read_config
from diffusion_as_shader.backend.training.loop import NotFinite
from diffusion_as_shader.backend.training.session import Session
from diffusion_as_shader.shared.errors import Cancelled, GenerationError, UsageError
from diffusion_as_shader.shared.report import Reporter

SECONDS = 240.0
DAS = (sys.executable, "-m", "diffusion_as_shader")


def session(file: Path, *changes: str, stop=lambda: False) -> Session:
    return Session(read_config(file, list(changes))[0].config, Reporter(io.StringIO(), io.StringIO()), stop)


def last(run: Path) -> checkpoints.Saved:
    return checkpoints.load(Checkpoints(run, 2).found()[-1])


def assert_same(one: checkpoints.Saved, other: checkpoints.Saved) -> None:
    """To the bit: weights and optimiser."""
    assert one.state.step == other.state.step
    for mine, theirs in ((one.trained, other.trained), (one.optimizer, other.optimizer)):
        assert mine.keys() == theirs.keys() and mine
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture(scope="module")
def whole(dataset, weights, tmp_path_factory):
    """Four steps in one go."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "train.toml").write_text(SETTINGS.format(data=dataset.as_posix(), weights=weights.as_posix()), encoding="utf-8")
    result = session(folder / "train.toml").train(resume=False)
    return result


def test_a_run_leaves_its_log_its_last_checkpoints_and_errors(whole):
    assert [path.name for path in Checkpoints(whole.run, 2).found()] == ["step-000002", "step-000004"]
    lines = [json.loads(line) for line in (whole.run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "train"] == [1, 2, 3, 4]
    assert all(line["loss"] > 0 and line["gradient_norm"] > 0 for line in lines if line["event"] == "train")
    assert whole.errors.matched > 0 and lines[-1]["control_ratio"] == pytest.approx(whole.errors.control_ratio)


def test_only_the_branch_changes_and_all_of_it_has_a_gradient_after_two_steps(written):
    """As from a base, whose linears are zero: in the first step they alone have one."""
    course = session(written(steps=2)).course(resume=False)
    model = course.trainer.plain
    zero_(model.initial_combine_linear, *model.combine_linears)
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    grown: list[set[str]] = []
    course.trainer.optimizer.register_step_pre_hook(
        lambda *_: grown.append({name for name, one in model.named_parameters() if one.grad is not None and one.grad.any()})
    )
    course.go()
    names = {name for name, _ in model.named_parameters() if name.startswith(TRACKING_PARTS)}
    assert grown[0] == {name for name in names if name.startswith("combine_linears")}
    assert grown[1] == names
    assert {name for name, one in model.named_parameters() if not torch.equal(one, before[name])} == names


def test_a_run_that_was_killed_goes_on_to_the_bit(whole, written, tmp_path):
    file = written(save_every=1)
    process = subprocess.Popen([*DAS, "train", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + SECONDS
    while not Checkpoints(tmp_path / "run", 2).found():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert last(tmp_path / "run").state.step < 4
    session(file).train(resume=True)
    assert_same(last(tmp_path / "run"), last(whole.run))


def test_ctrl_c_saves_and_a_run_goes_on_to_the_bit(whole, written, tmp_path):
    begun = []
    begun.append(session(written(save_every=100), stop=lambda: any(course.trainer.done == 2 for course in begun)).course(resume=False))
    with pytest.raises(Cancelled, match="after step 2. Step 2 is saved. Go on with --resume.") as raised:
        begun[0].go()
    assert raised.value.exit_code == 130
    session(written()).train(resume=True)
    assert_same(last(tmp_path / "run"), last(whole.run))


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a group of processes")
def test_ctrl_c_at_the_command_line(written, tmp_path):
    """With a process that reads ahead, which a terminal interrupts too."""
    command = [*DAS, "train", written(steps=1000, workers=1), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and event["phase"] == "train":
            break
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == 130 and "is saved. Go on with --resume." in told, told
    assert last(tmp_path / "run").state.step >= 1


def test_two_processes_are_one(whole, written, tmp_path):
    on_two_processes(written())
    alone, both = last(whole.run), last(tmp_path / "run")
    for name in alone.trained:
        torch.testing.assert_close(both.trained[name], alone.trained[name], rtol=0, atol=1e-5)
    logged = json.loads((tmp_path / "run/log.jsonl").read_text().splitlines()[-1])
    assert logged["matched"] == pytest.approx(whole.errors.matched, rel=1e-4)


def on_two_processes(file: Path) -> str:
    """The standard output of das train there."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()), *DAS[1:], "train", file]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_process_that_reads_ahead_changes_nothing_nor_does_video_in_place_of_the_cache(whole, written, tmp_path):
    done = subprocess.run([*DAS, "train", written(workers=1, cache=False)], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    for name, one in last(tmp_path / "run").trained.items():
        torch.testing.assert_close(one, last(whole.run).trained[name], rtol=0, atol=1e-6)


def test_a_run_that_is_done_says_again_what_it_has_reached(whole):
    again = session(whole.run.parent / "train.toml").train(resume=True)
    assert (again.step, again.loss, again.errors, again.training_errors) == (whole.step, whole.loss, whole.errors, whole.training_errors)


def test_checkpointing_of_gradients_changes_nothing(whole, written, tmp_path):
    session(written(gradient_checkpointing=False)).train(resume=False)
    for name, one in last(tmp_path / "run").trained.items():
        torch.testing.assert_close(one, last(whole.run).trained[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["side", "lora"])
def test_an_export_is_what_was_trained(written, tmp_path, method):
    file = written(method=method, steps=2, lora_rank=4)
    course = session(file).course(resume=False)
    course.go()
    folder = export.export(course.config, Checkpoints(tmp_path / "run", 2).found()[-1], tmp_path / "Gewichte für Übung")
    loaded = Checkpoint(folder)
    loaded.verify()
    given = next(iter_examples(course))
    with torch.no_grad():
        torch.testing.assert_close(error(loaded.transformer(), given, course), error(course.trainer.plain.eval(), given, course), rtol=1e-4, atol=1e-5)
        assert abs(error(course.session.checkpoint.transformer(), given, course) - error(loaded.transformer(), given, course)).max() > 1e-4
    assert not list(tmp_path.glob("*.partial"))


def iter_examples(course):
    clip = course.clips[0, 0, 0]
    yield course.conditioner([clip.clip], [clip.text], [torch.Generator().manual_seed(0)])


def error(transformer, given, course) -> torch.Tensor:
    return loss.v_error(transformer, given, course.session.alphas)


def test_a_loss_that_is_no_number_keeps_the_weights_before_it(written, tmp_path):
    course = session(written(save_every=100)).course(resume=False)
    broken = course.session.alphas.clone()
    course.trainer.optimizer.register_step_post_hook(lambda *_: broken_after(course, 2))
    with pytest.raises(NotFinite, match="The loss of step 3 is no number; its clips were 0000") as raised:
        course.go()
    assert broken is not None and raised.value.exit_code == 5
    saved = last(tmp_path / "run")
    assert saved.state.step == 2 and all(torch.isfinite(one).all() for one in saved.trained.values())


def broken_after(course, step: int) -> None:
    """From here on the cumulative alphas are no numbers."""
    if course.trainer.done == step - 1:
        course.session.alphas.fill_(float("nan"))


def test_a_full_disk_keeps_the_last_checkpoint(written, tmp_path, monkeypatch):
    real = checkpoints.save_file

    def full(tensors, file):
        if "step-000004" in str(file) and "optimizer" in file.name:
            file.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(tensors, file)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(GenerationError, match="The checkpoint of step 4 cannot be written: .*No space left.* The last checkpoint is .*step-000002"):
        session(written()).train(resume=False)
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-000002"]
    monkeypatch.undo()
    assert session(written()).train(resume=True).step == 4


def test_a_run_is_not_begun_over_another(whole):
    with pytest.raises(UsageError, match="holds a training run already. Go on with --resume"):
        session(whole.run.parent / "train.toml").train(resume=False)


def test_a_checkpoint_of_another_architecture_or_run_is_refused(whole, written, tmp_path):
    shutil.copytree(whole.run / "checkpoints", tmp_path / "run/checkpoints")
    with pytest.raises(UsageError, match="was trained with method side and seed 42, the configuration says side and 7"):
        session(written(seed=7, steps=8)).train(resume=True)
    file = Checkpoints(tmp_path / "run", 2).found()[-1] / "trained.safetensors"
    save_file({name: one for name, one in load_file(file).items() if not name.startswith("initial")}, file)
    with pytest.raises(UsageError, match="is of another architecture or method: initial_combine_linear.bias differs, and 1 more"):
        session(written(steps=8)).train(resume=True)


def test_a_damaged_checkpoint_is_told(whole, written, tmp_path):
    shutil.copytree(whole.run / "checkpoints", tmp_path / "run/checkpoints")
    file = Checkpoints(tmp_path / "run", 2).found()[-1] / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UsageError, match="step-000004 cannot be read: .* Delete it, and go on from the one before."):
        session(written(steps=8)).train(resume=True)


def test_data_is_checked_before_weights_are_loaded(written, dataset, tmp_path):
    copied = tmp_path / "data"
    shutil.copytree(dataset, copied, ignore=shutil.ignore_patterns("cache"))
    (copied / "videos.txt").write_text("".join((dataset / "videos.txt").read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UsageError, match="videos.txt, line 10: It ends after 9 lines, and .* has 10"):
        session(written(data=copied))
    shutil.copy(dataset / "videos.txt", copied)
    (copied / "videos/00003.mkv").write_bytes(b"no video")
    with pytest.raises(UsageError, match="00003.mkv cannot be read"):
        session(written(data=copied))
    with pytest.raises(UsageError, match="00001.mkv is 96x64 with 9 frames, which fits none of the buckets"):
        session(written(buckets=["96x64x17"]))
    with pytest.raises(UsageError, match="A batch of 4 cannot be made of micro-batches of 3 on 1 card"):
        session(written(micro_batch=3))
    with pytest.raises(UsageError, match="has 10 clips, and 10 are held out"):
        session(written(held_out=10))


def test_a_sweep_compares_its_runs(written, tmp_path):
    """On two processes, whose group must outlive the first run."""
    out = on_two_processes(written(learning_rate=[1e-3, -1.0e-9 + 1e-2], steps=1))
    rows = json.loads((tmp_path / "run/sweep.json").read_text())
    assert len(rows) == 2 and rows[0]["matched"] != rows[1]["matched"]
    assert "learning_rate=0.001 " in out and "ratio" in out
