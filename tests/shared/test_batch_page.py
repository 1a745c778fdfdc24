"""The batch's page: everything in it, nothing of the user's read as HTML, and small clips."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from diffusion_as_shader.shared.batch_clip import WIDTH, shrunk
from diffusion_as_shader.shared.batch_estimate import duration, seconds_of_night
from diffusion_as_shader.shared.batch_page import Page
from diffusion_as_shader.shared.batch_plan import make_plan
from diffusion_as_shader.shared.batch_state import BatchState, Folder
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.shots import Capture, PlannedTake
from diffusion_as_shader.shared.take import Failure, Take

EVIL = '<script>alert("x")</script>&\'"'


class Reader(HTMLParser):
    """The tags of a page, and whether each is closed."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def page(tmp_path) -> Page:
    """A take that is done, with texts that are HTML, one that failed and one that waits."""
    requests = [GenerationRequest(prompt=EVIL, seed=number) for number in range(3)]
    takes = [PlannedTake(f"take {number}", 1, Capture(("track", EVIL), ()), (), request) for number, request in enumerate(requests)]
    folder = Folder(tmp_path)
    plan = make_plan(takes, folder, None)
    done = Take.create(folder.take("take 0"), requests[0], None)
    done.record.timings["generation"] = 12.5
    done.note(EVIL)
    done.video.write_bytes(b"a small video")
    done.set_state("done")
    plan.takes[0].made.state, plan.takes[0].made.seconds = "done", 75
    plan.takes[1].made.state, plan.takes[1].made.failure = "failed", Failure(kind="scene", message=f"Dark {EVIL}", fix="Add a light.")
    plan.captures[0].made.findings.append({"severity": "warning", "message": EVIL, "fix": EVIL})
    return Page(folder, plan, BatchState(file=f"/x/{EVIL.replace('/', '')}.toml", began=0.0), None)


def test_it_is_whole_and_nobodys_text_is_html(page):
    page.write()
    text = page.folder.page.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    tags = [tag for tag, _ in reader.tags]
    assert "script" not in tags and tags.count("article") == 3
    videos = [attributes["src"] for tag, attributes in reader.tags if tag == "video"]
    assert videos == ["data:video/mp4;base64," + base64.b64encode(b"a small video").decode()]
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)  # it loads nothing
    assert "1 min 15 s" in text and "generation 12.5 s" in text and "Add a light." in text


def test_clips_are_small():
    pixels = np.random.default_rng(1).integers(0, 256, (481, 721, 3), dtype=np.uint8)
    small = shrunk(pixels)
    assert small.shape == (160, 240, 3) and small.shape[1] <= WIDTH
    assert np.abs(small[3, 5].astype(float) - pixels[9:12, 15:18].reshape(9, 3).mean(0)).max() <= 0.5
    assert shrunk(pixels[:, :WIDTH]).shape == (481, WIDTH, 3)


def test_times():
    assert [duration(seconds) for seconds in (None, 0.2, 59.4, 200, 7500)] == ["unknown", "1 s", "59 s", "3 min 20 s", "2 h 05 min"]
    assert seconds_of_night([10, 10], [100, 100], 1) == 210  # captures hide behind generations
    assert seconds_of_night([100, 100], [10, 10], 1) == 210
    assert seconds_of_night([100, 100], [10, 10], 2) == 110
    assert seconds_of_night([10, None], [1, 1], 1) is None
