"""A dataset and weights for all tests of training, and runs on them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from toy_dataset import SETTINGS, write_dataset  # noqa: E402

@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("Übungs clips") / "data"
    write_dataset(root, 10)
    return root


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """With the exact VAE, and a tracking branch that is random: nothing in it is zero."""
    import tiny_training

    return Path(tiny_training.write_beginner(tmp_path_factory.mktemp("weights") / "tiny", 0).place.folder)


@pytest.fixture
def written(dataset, weights, tmp_path):
    """A configuration's file, with lines after the usual ones' place; a name may be given anew in ``changes``."""

    def write(name: str = "train", **changes) -> Path:
        import tomllib

        values = tomllib.loads(SETTINGS.format(data=dataset.as_posix(), weights=weights.as_posix())) | changes
        file = tmp_path / f"{name}.toml"
        file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items()), encoding="utf-8")
        return file

    return write


def toml(value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value) if not isinstance(value, Path) else repr(value.as_posix())
