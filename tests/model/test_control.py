"""A model that is trained here follows its tracking: in its error, and in the frames that a real backend makes with it.

docs/das-engine.md, "How it was checked", has what these errors are over several seeds: the bounds below have room.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import tiny_training  # noqa: E402
from tiny_training import Clips, Scene, held_out_errors, mean_colour_vae, mean_colours, random_scene, train  # noqa: E402

from diffusion_as_shader.backend.images import ImageioImages  # noqa: E402
from diffusion_as_shader.backend.models import decode, latents  # noqa: E402
from diffusion_as_shader.shared.take import Take  # noqa: E402

SECONDS = 120.0  # every wait's bound
SCENES = 3
STEPS = 20


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A minute of training."""
    return train(tmp_path_factory.mktemp("weights") / "trained", seed=0).place.folder


def repeated(colours: torch.Tensor) -> torch.Tensor:
    """Latents [1,F,C,h,w] as the pictures [1,3,T,H,W] that they stand for."""
    pictures = colours[:, :, :3].transpose(1, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
    return torch.cat([pictures[:, :, :1], pictures[:, :, 1:].repeat_interleave(4, 2)], dim=2)


def test_the_exact_vae_is_means_of_colours():
    """What the trained model rests on: with it, frames show latents, and nothing else."""
    video = tiny_training.draw([random_scene(np.random.default_rng(0))]).video
    expected = mean_colours(video)
    vae = mean_colour_vae()
    pictures = latents.to_pictures(video[0], vae.device, vae.dtype)
    got = latents.encode(vae, pictures, torch.Generator().manual_seed(0))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-3)
    decoded = torch.cat(list(decode.decode(vae, expected.transpose(1, 2))), dim=2)
    torch.testing.assert_close(decoded, repeated(expected), rtol=0, atol=1e-3)


def test_matched_error_is_at_most_half_of_the_shuffled_one(trained):
    errors = held_out_errors(tiny_training.Checkpoint(trained))
    print(errors)
    assert errors.matched <= errors.shuffled / 2
    assert errors.matched <= errors.black / 2


def going_back(scene: Scene) -> Scene:
    """The same first frame, and the shape goes the other way."""
    return scene._replace(velocity=tuple(-v for v in scene.velocity))


def shown(video: np.ndarray) -> np.ndarray:
    """The best that the VAE can make of u8 [T,H,W,3]."""
    return latents.to_frames(repeated(mean_colours(video[None])))


def write_pictures(folder: Path, clips: Clips, index: int) -> tuple[Path, Path]:
    """A tracking folder and a first frame."""
    (folder / "tracking").mkdir(parents=True)
    images = ImageioImages()
    for time_, frame in enumerate(clips.tracking[index]):
        images.write(folder / "tracking" / f"{time_ + 1:04d}.png", frame)
    images.write(folder / "first.png", clips.video[index, 0])
    return folder / "tracking", folder / "first.png"


def das_generate(folder: Path, clips: Clips, index: int, weights: Path) -> np.ndarray:
    """The frames u8 [T,H,W,3] of `das generate`, in a process of its own and by the backend that runs."""
    tracking, first = write_pictures(folder, clips, index)
    words = ["generate", "--tracking", tracking, "--first-frame", first, "--engine", "das", "--weights", weights, "-o", folder / "take"]
    words += ["--steps", STEPS, "--guidance", "constant", "--guidance-scale", 1, "--prompt", tiny_training.PROMPT, "--seed", index, "--json"]
    command = [sys.executable, "-m", "diffusion_as_shader", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    take = Take.open(folder / "take", ImageioImages())
    assert take.record.request.engine == "das" and json.loads(done.stdout.splitlines()[-1])["state"] == "done"
    return np.stack([take.images.read(take.frame_file(time_)) for time_ in range(tiny_training.FRAMES)])


def frame_error(frames: np.ndarray, expected: np.ndarray) -> float:
    """Mean squared difference of levels, without the first frame, which is given."""
    return float(np.square(frames[1:].astype(float) - expected[1:]).mean())


def test_frames_of_a_backend_follow_the_tracking(trained, peer, tmp_path):
    """One first frame, two trackings: the frames of each are near what its own tracking tells and far from the other's."""
    rng = np.random.default_rng(2_000_000)
    matched, shuffled = [], []
    for number in range(SCENES):
        scene = random_scene(rng)
        clips = tiny_training.draw([scene, going_back(scene)])
        assert np.array_equal(clips.video[0, 0], clips.video[1, 0]) and np.array_equal(clips.tracking[0, 0], clips.tracking[1, 0])
        expected = [shown(video) for video in clips.video]
        for given in range(2):
            frames = das_generate(tmp_path / f"{number} {given}", clips, given, trained)
            matched.append(frame_error(frames, expected[given]))
            shuffled.append(frame_error(frames, expected[1 - given]))
            assert matched[-1] < shuffled[-1], "each clip by itself too"
    print(f"matched {np.mean(matched):.1f}, shuffled {np.mean(shuffled):.1f}")
    assert np.mean(matched) <= np.mean(shuffled) / 2
