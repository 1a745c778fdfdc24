"""A take's way through a generation, with a backend that plays what each test needs, frame by frame."""

import numpy as np
import pytest

from diffusion_as_shader.shared import generation, messages
from diffusion_as_shader.shared.errors import BackendError, Cancelled, GenerationError, UsageError
from diffusion_as_shader.shared.generation import generate
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.take import Take, content_hash

COUNT = 9
REQUEST = GenerationRequest(width=32, height=16, frames=COUNT, start=1, end=9)


class Pictures:
    """Pictures as numpy files under their PNG names."""

    full = False

    def read(self, file):
        return np.load(file)

    def write(self, file, pixels):
        if self.full:
            raise OSError(28, "No space left on device")
        with file.open("wb") as stream:
            np.save(stream, pixels)

    def writing_video(self, file, frames, fps):
        yield
        file.write_text(str(len(frames)))


class Backend:
    """shared.client.Client's side of a job: ``plays`` are rounds of events, one a call of events()."""

    def __init__(self, *plays, knows=()):
        self.plays = list(plays)
        self.knows, self.state = set(knows), "running"  # jobs that it still has, and how they stand there
        self.slow = 0  # rounds until it answers
        self.submitted, self.attached, self.acknowledged, self.cancelled = [], [], [], []

    def submit(self, job, request, signals, title=""):
        self.submitted.append((job, sorted(signals), title))

    def attaching(self, job, have, patience):
        for _ in range(self.slow):
            yield None
        if job not in self.knows and job not in [sent[0] for sent in self.submitted]:
            raise UsageError("There is no such job.", "Submit it.")
        self.attached.append(have)
        return messages.JobInfo(job=job, state=self.state, title="", engine="projection", frames=COUNT)

    def wait(self, job, timeout):
        return bool(self.plays)

    def events(self, job):
        return [event(job) for event in self.plays.pop(0)] if self.plays else []

    def received(self, job, index):
        self.acknowledged.append(index)

    def cancel(self, job):
        self.cancelled.append(job)


def frame(index, value=None):
    pixels = np.full((16, 32, 3), index if value is None else value, np.uint8)
    return lambda job: messages.Frame(job=job, index=index, array=pixels)


def progress(step):
    return lambda job: messages.Progress(job=job, phase="project", step=step, total=COUNT)


def done(job):
    return messages.Done(job=job, used=["tracking", "rest"], notes=["It chose."], timings={"load": 1.5}, versions={"numpy": "2"})


def failed(job):
    return messages.Failed(job=job, kind="engine", message="It broke.", fix="Mend it.")


def cancelled(job):
    return messages.Cancelled(job=job)


@pytest.fixture
def take(tmp_path):
    take = Take.create(tmp_path / "take", REQUEST, Pictures())
    for index in range(COUNT):
        take.write_tracking_frame(index, np.full((16, 32, 3), 100 + index, np.uint8))
    take.write_first_frame(np.zeros((16, 32, 3), np.uint8))
    return take


def play(take, backend, **options):
    return list(generate(take, backend, **options))


def arrived(take):
    return [int(take.images.read(take.frame_file(index))[0, 0, 0]) for index in range(COUNT) if index not in take.missing_frames()]


def test_frames_are_on_disk_before_they_are_acknowledged(take):
    backend = Backend([progress(0), frame(1), frame(0)], [], [frame(index) for index in range(2, COUNT)], [done])
    seen = []
    for event in generate(take, backend, title="night"):
        if isinstance(event, messages.Frame):
            assert take.frame_file(event.index).exists() and backend.acknowledged[-1] == event.index
        seen.append((type(event).__name__, take.record.state))
    assert seen[0] == ("Progress", "running") and ("NoneType", "running") in seen
    assert arrived(take) == list(range(COUNT)) and take.video.read_text() == "9"
    record = Take.open(take.folder, take.images).record
    assert (record.state, record.used, record.notes) == ("done", ["tracking", "rest"], ["It chose."])
    assert record.hashes["tracking"] == content_hash(take.read_tracking())
    assert record.timings["backend load"] == 1.5 and record.versions["numpy"] == "2" and record.timings["generation"] >= 0
    assert backend.submitted == [(record.job, ["first_frame", "tracking"], "night")]


def test_failure_is_raised_and_kept(take):
    backend = Backend([frame(0), failed])
    with pytest.raises(GenerationError, match="It broke. Mend it."):
        play(take, backend)
    record = Take.open(take.folder, take.images).record
    assert (record.state, record.failure.message, record.failure.fix) == ("failed", "It broke.", "Mend it.")
    assert arrived(take) == [0] and not take.video.exists()


def test_cancel_keeps_what_has_arrived(take):
    backend = Backend([frame(0)], [], [frame(1)], [cancelled])
    with pytest.raises(Cancelled):
        play(take, backend, cancelled=lambda: bool(backend.acknowledged))
    assert arrived(take) == [0, 1], "what was on its way is still taken"
    assert take.record.state == "cancelled" and take.record.job in backend.cancelled


def test_a_backend_that_does_not_heed_a_cancel_is_left(take, monkeypatch):
    monkeypatch.setattr(generation, "SECONDS_TO_CANCEL", 0.01)
    with pytest.raises(Cancelled):
        play(take, Backend([frame(0)]), cancelled=lambda: True)
    assert take.record.state == "cancelled"


def test_a_generator_closed_early_cancels(take):
    backend = Backend([frame(0)])
    events = generate(take, backend)
    next(events)
    events.close()
    assert take.record.state == "cancelled" and backend.cancelled == [take.record.job]


def test_a_client_that_leaves_leaves_the_job_with_the_backend(take):
    def left():
        if backend.acknowledged:
            raise generation.Left
        return False

    backend = Backend([progress(0), frame(0)], [], [frame(1)])
    with pytest.raises(generation.Left):
        play(take, backend, cancelled=left)
    assert take.record.state == "running" == Take.open(take.folder, take.images).record.state
    assert not backend.cancelled and not take.video.exists()


def test_an_interrupted_take_fetches_only_what_is_missing(take):
    take.set_state("running")
    for index in (0, 1, 5):
        take.write_frame(index, np.full((16, 32, 3), 200 + index, np.uint8))
    backend = Backend([frame(index) for index in (2, 3, 4, 6, 7, 8)], [done], knows=[take.record.job])
    play(take, backend)
    assert backend.attached == [[0, 1, 5]] and not backend.submitted
    assert arrived(take) == [200, 201, 2, 3, 4, 205, 6, 7, 8] and take.record.state == "done"


@pytest.mark.parametrize("state", ["prepared", "running", "failed", "cancelled"])
def test_what_the_backend_has_forgotten_is_submitted_anew(take, state):
    take.set_state(state)
    job = take.record.job
    backend = Backend([frame(index) for index in range(COUNT)], [done])
    play(take, backend)
    assert [sent[0] for sent in backend.submitted] == [take.record.job] != [job]
    assert take.record.state == "done" and take.record.failure is None


def test_what_the_backend_has_given_up_is_submitted_anew(take):
    take.set_state("running")
    backend = Backend([frame(index) for index in range(COUNT)], [done], knows=[take.record.job])
    backend.state = "cancelled"
    play(take, backend)
    assert len(backend.submitted) == 1 and take.record.state == "done"


def test_nobody_waits_for_a_backend_that_is_slow_to_answer(take):
    take.set_state("running")
    backend = Backend([frame(index) for index in range(COUNT)], [done], knows=[take.record.job])
    backend.slow = 3
    events = generate(take, backend)
    assert [next(events) for _ in range(3)] == [None] * 3 and not backend.attached
    assert sum(event is not None for event in events) > COUNT and take.record.state == "done"


def test_a_backend_that_never_answers_can_be_given_up(take):
    take.set_state("running")
    backend = Backend(knows=[take.record.job])
    backend.slow = 1000
    with pytest.raises(Cancelled):
        list(generate(take, backend, cancelled=lambda: True))
    assert take.record.state == "cancelled" and backend.cancelled == [take.record.job] and not backend.attached


def test_frames_lost_on_the_way_are_fetched_once(take):
    some = [frame(index) for index in range(COUNT - 1)]
    backend = Backend([*some, done], [frame(8), done])
    play(take, backend)
    assert backend.attached == [list(range(8))] and take.record.state == "done"


def test_frames_that_never_come_are_a_failure(take):
    some = [frame(index) for index in range(COUNT - 1)]
    with pytest.raises(GenerationError, match="without 1 of 9 frames"):
        play(take, Backend([*some, done], [done]))
    assert take.record.state == "failed"


def test_a_full_disk_stops_the_backend_too(take):
    take.images.full = True
    backend = Backend([frame(0)])
    with pytest.raises(GenerationError, match="No space left"):
        play(take, backend)
    assert backend.cancelled and not backend.acknowledged and take.record.state == "failed"


def test_a_backend_that_ends_just_now_is_replaced(monkeypatch):
    from diffusion_as_shader.shared import backend_process

    tries = []

    def starting():
        tries.append(1)
        yield None
        yield f"connection {len(tries)}"

    def connecting(connection, name):
        if connection == "connection 1":
            raise BackendError("It is gone.", "Again.")
        yield None
        yield f"client by {connection}"

    monkeypatch.setattr(backend_process, "starting", starting)
    monkeypatch.setattr(generation, "connecting", connecting)
    monkeypatch.setattr(backend_process, "find_backend", lambda: None)
    assert list(generation.reach_backend("test")) == [None, None, None, "client by connection 2"]
    monkeypatch.setattr(backend_process, "find_backend", lambda: "another")
    tries.clear()
    with pytest.raises(BackendError, match="It is gone"):
        list(generation.reach_backend("test"))
