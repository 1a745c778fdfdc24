"""The command line's options of training."""

from __future__ import annotations

from pathlib import Path


def add_train_commands(add) -> None:
    """`das train` and `das export`, each made by ``add(name, help)``."""
    train = add("train", "Fine-tune the model on a dataset.")
    train.add_argument("config", type=Path, metavar="CONFIG", help="a TOML file (docs/training.md)")
    train.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    train.add_argument("-s", dest="set", action="append", default=[], metavar="NAME=VALUE", help="a setting in place of the file's; again for more")
    train.add_argument("--plan", action="store_true", help="only say what memory it and other strategies need")

    export = add("export", "Write a training run's weights as a checkpoint that the engine loads.")
    export.add_argument("run", type=Path, metavar="RUN", help="the output folder of das train")
    export.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER", help="a new folder")
    export.add_argument("--step", type=int, metavar="N", help="the checkpoint of this step (default: the last)")
