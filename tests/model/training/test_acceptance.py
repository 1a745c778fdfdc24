"""What training is for: a base that has never seen tracking follows it afterwards, on clips made by das dataset blender.

One seed here; three, and their range: ``python tests/training_acceptance.py``.
"""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import training_acceptance as acceptance  # noqa: E402
from tiny_base import write_base  # noqa: E402

from diffusion_as_shader.shared import home  # noqa: E402


@pytest.mark.timeout(900)
def test_the_branch_learns_to_follow_its_tracking_on_clips_that_it_has_not_seen(tmp_path):
    if not home.environments("blender"):
        pytest.skip("needs a Blender that is registered: python3 install/run.py setup")
    acceptance.make_clips(tmp_path)
    write_base(tmp_path / "base")
    [row] = acceptance.train(tmp_path, [0], acceptance.STEPS)
    assert row["control_ratio"] >= acceptance.HELD_OUT_LEAST, row
    assert row["training_control_ratio"] >= acceptance.TRAINING_LEAST, row
