"""The short form of the soak's fuzz: nonsense, with the key and without, harms nobody."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind tests/backend: both have a conftest

from soak import steps  # noqa: E402
from soak.backend import Backend  # noqa: E402
from soak.fuzz import fuzz, promises  # noqa: E402
from soak.options import hold  # noqa: E402

MESSAGES = 1500
SLOWEST = 0.5  # seconds that the server itself makes a good client wait, on a disk that is busy with other tests


def test_nonsense_is_survived_and_a_good_client_is_served_meanwhile(tmp_path):
    with Backend(tmp_path, **steps.variables()) as backend:
        figures = fuzz(backend, MESSAGES, number=7)
    print(*figures.lines(), sep="\n")
    hold(promises(figures))
    assert figures.sent.total() > MESSAGES and figures.answers["refused malformed"] > MESSAGES / 10
    assert max(figures.longest_undisturbed, figures.longest_step) < SLOWEST if steps.can_tell() else figures.p99 < SLOWEST
