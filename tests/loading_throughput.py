"""Does reading keep up with training? Samples a second from cached latents and from video, beside a training step's time.

``python tests/loading_throughput.py [--clips 8] [--workers 0 2]`` with the model's Python. Makes clips of 49 frames at 720x480 (the
model's size; moving patterns with noise, so that they are as long as filmed ones) with latents of its shapes in bf16, and times what
the training's own loader brings, over and over. Then trains a tiny model on tiny clips, with and without the cache, and tells how long a
step took and how long it waited for its samples. Last, what the first look at a large dataset costs, 200 clips.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parent / "model"), str(Path(__file__).parent / "model/training")]

import tiny_training  # noqa: E402
from toy_dataset import SETTINGS, write_dataset  # noqa: E402

from diffusion_as_shader.backend.images import ImageioImages  # noqa: E402
from diffusion_as_shader.backend.models.weights import HashCache  # noqa: E402
from diffusion_as_shader.backend.training import data, inspection, log  # noqa: E402
from diffusion_as_shader.backend.training.cache import LatentCache  # noqa: E402
from diffusion_as_shader.backend.training.config import read_config  # noqa: E402
from diffusion_as_shader.backend.training.session import Session  # noqa: E402
from diffusion_as_shader.shared.dataset import ClipRecord, Dataset, check_lists  # noqa: E402
from diffusion_as_shader.shared.report import Reporter  # noqa: E402

WIDTH, HEIGHT, FRAMES = 720, 480, 49
LATENTS, CHANNELS = (13, 60, 90), 32  # of means and logarithms of variances
TIMES, SCANNED, STEPS = 20, 200, 20


class SameText:
    """In place of the cache of texts: T5's embedding of one prompt."""

    def of(self, prompt: str) -> torch.Tensor:
        return torch.zeros(226, 4096, dtype=torch.bfloat16)


def write_large(root: Path, count: int) -> Dataset:
    """Clips of the model's size: patterns that move, with noise over them, and their tracking."""
    dataset, rng = Dataset.create(root), np.random.default_rng(0)
    code = np.stack([*np.meshgrid(np.arange(WIDTH) * 255 // WIDTH, np.arange(HEIGHT) * 255 // HEIGHT), np.full((HEIGHT, WIDTH), 128)], axis=-1).astype(np.uint8)
    for index in range(1, count + 1):
        wall = rng.integers(0, 240, (HEIGHT // 16, 2 * WIDTH // 16, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
        video = [wall[:, 4 * t : 4 * t + WIDTH] + rng.integers(0, 12, (HEIGHT, WIDTH, 1)).astype(np.uint8) for t in range(FRAMES)]
        tracking = [np.roll(code, -4 * t, axis=1) for t in range(FRAMES)]
        name = f"{index:05d}"
        record = ClipRecord(
            name=name, prompt="a wall", video=f"videos/{name}.mp4", tracking=f"tracking/{name}_tracking.mkv", frames=FRAMES, width=WIDTH, height=HEIGHT, fps=8.0
        )
        for path in (record.video, record.tracking):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
        ImageioImages().write_h264(root / record.video, video, 8.0)
        ImageioImages().write_lossless(root / record.tracking, tracking, 8.0)
        dataset.append(record)
    return dataset


def fill(cache: LatentCache, found: list[data.Source]) -> None:
    """Latents of the right shapes: what is in them does not matter to reading."""
    for source in found:
        moving = torch.randn(CHANNELS, *LATENTS).bfloat16()
        picture = torch.from_numpy(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        cache._keep(source, data.Latents(moving, moving.clone(), moving[:, :1].clone(), picture))


def rate(clips: data.Clips, workers: int, times: int) -> float:
    """Samples a second, in micro-batches of two, once all workers have begun; each is copied, as to a card."""
    count = len(clips.sources)
    batches = [[(0, place, number) for place, number in enumerate((i % count, (i + 1) % count))] for i in range(0, times * count, 2)]
    began, samples = 0.0, 0
    for index, batch in enumerate(data.loader(clips, iter(batches), workers)):
        for sample in batch:
            [torch.as_tensor(part).clone() for part in sample.clip]
        if index == 2 * workers:
            began = time.perf_counter()
        samples += len(batch) * (index > 2 * workers)
    return samples / (time.perf_counter() - began)


def tell_loading(folder: Path, count: int, workers: list[int]) -> None:
    found = data.sources(write_large(folder, count).clips, ())
    cache = LatentCache(folder / "latents", "measured", torch.bfloat16)
    fill(cache, found)
    size = cache.file(found[0]).stat().st_size / 1e6
    films = sum((folder / path).stat().st_size for record in Dataset.open(folder).records for path in (record.video, record.tracking)) / count / 1e6
    print(f"{count} clips of {FRAMES} frames, {WIDTH}x{HEIGHT}: {size:.1f} MB of latents a clip, {films:.1f} MB of video and tracking video")
    for many in workers:
        cached = rate(data.Clips(found, cache, SameText()), many, TIMES)
        decoded = rate(data.Clips(found, None, SameText()), many, 4)
        print(f"  {many} workers: {cached:7.1f} samples a second from latents, {decoded:5.2f} from video (decoded, not encoded)")


def tell_step(folder: Path) -> None:
    """A tiny model's step, and what of it was waiting."""
    write_dataset(folder / "data", 10)
    tiny_training.write_beginner(folder / "weights", 0)
    text = SETTINGS.format(data=(folder / "data").as_posix(), weights=(folder / "weights").as_posix())
    (folder / "train.toml").write_text(text, encoding="utf-8")
    for cached in (True, False):
        changes = [f"steps={STEPS}", f"cache={str(cached).lower()}", f'output="{(folder / f"run-{cached}").as_posix()}"', "held_out=0"]
        Session(read_config(folder / "train.toml", changes)[0].config, Reporter(io.StringIO(), io.StringIO()), lambda: False).train(False)
        steps = [line for line in log.read(folder / f"run-{cached}") if line["event"] == "train"][2:]
        seconds, waited = (float(np.median([line[name] for line in steps])) for name in ("seconds", "waited"))
        print(f"A tiny model's step of 4 clips {'with' if cached else 'without'} a cache: {seconds:.3f} s, of which {waited:.4f} s were spent waiting for samples")


def tell_scan(folder: Path, one: Path) -> None:
    """Many names of the same clip: what is asked of each before the start."""
    root = folder / "many"
    record = Dataset.open(one).records[0]
    for path in ("videos", "tracking"):
        (root / path).mkdir(parents=True)
    records = []
    for index in range(SCANNED):
        named = {"video": f"videos/{index}.mp4", "tracking": f"tracking/{index}.mkv"}
        for name, path in named.items():
            os.link(one / getattr(record, name), root / path)
        records.append((named, index))
    for file, lines in {"prompt.txt": ["x"] * SCANNED, "videos.txt": [one["video"] for one, _ in records], "trackings.txt": [one["tracking"] for one, _ in records]}.items():
        (root / file).write_text("\n".join(lines) + "\n")
    hashes = HashCache(root / "hashes.json")
    clips = Dataset.open(root).clips
    files = [file for clip in clips for file in (clip.video, clip.tracking)]
    print(f"{SCANNED} clips of that size, their files in the memory of the operating system:")
    for what, work in {
        "lists": lambda: check_lists(root),
        "every video opened (das train)": lambda: data.sources(clips, ()),
        "every file read for its hash, the first time": lambda: hashes.hash_all(files),
        "the second time": lambda: hashes.hash_all(files),
        "das dataset check": lambda: inspection.check(root, lambda done, total: None),
    }.items():
        began = time.perf_counter()
        work()
        print(f"  {what}: {time.perf_counter() - began:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8, help="how many of the model's size (default: %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    args = parser.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as temporary, contextlib.suppress(KeyboardInterrupt):
        folder = Path(temporary)
        tell_loading(folder / "large", args.clips, args.workers)
        tell_scan(folder, folder / "large")
        tell_step(folder)


if __name__ == "__main__":
    main()
