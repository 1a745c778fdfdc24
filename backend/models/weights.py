"""Files of weights: where a checkpoint lies, whether a file is whole, what it holds, its hash. Without torch.

A source is a folder or a hub id, ``owner/name`` or ``owner/name@revision``. A hub id stands for what `das models pull` has
put into our model folder, or else for a snapshot in the cache that other Hugging Face programs of this user fill, which is
used where it lies; nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from ...shared import home
from ...shared.errors import UsageError

PUBLISHED = "EXCAI/Diffusion-As-Shader"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?")
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
KINDS = (".safetensors", *PICKLES)
INDEX = ".safetensors.index.json"
MANIFEST = "das-weights.json"
LFS_POINTER = b"version https://git-lfs"
LONGEST_HEADER = 100 << 20  # bytes: what the safetensors format allows
CHUNK = 8 << 20
SHOWN = 3
SECONDS_BETWEEN_WRITES = 10.0

Progress = Callable[[int, int], None]  # bytes done, bytes in all


class WeightsError(UsageError):
    """The weights cannot be used, and why. Nothing else is taken in their place."""

    def __init__(self, message: str, fix: str = ""):
        super().__init__(message, fix, "pull_weights")


class KeysError(WeightsError):
    """A component's weights are not those of its configuration: names without, names too many, names of another shape."""

    def __init__(self, what: str, missing: list[str], unexpected: list[str], misshaped: list[str], fix: str):
        kinds = {"missing": missing, "unexpected": unexpected, "of another shape": misshaped}
        told = [f"{len(names)} {kind} ({_first(names)})" for kind, names in kinds.items() if names]
        super().__init__(f"{what} do not fit the configuration: {'; '.join(told)}.", fix)
        self.missing, self.unexpected, self.misshaped = missing, unexpected, misshaped


class Stored(msgspec.Struct, frozen=True):
    """A file's length and its sha256; or ``git:`` and what git calls its content, where the hub knows no more."""

    bytes: int
    hash: str


class Manifest(msgspec.Struct, frozen=True):
    """What das models pull has put into a folder, written when all of it was there and right."""

    hub: str
    revision: str
    commit: str
    licence: str
    files: dict[str, Stored]


class Place(NamedTuple):
    """Where a source lies. ``hub`` is the hub id, empty for a folder of the user's own."""

    folder: Path
    hub: str

    @property
    def again(self) -> str:
        """The fix for files that are damaged or missing."""
        if self.hub:
            return f"Fetch them again with das models pull {self.hub}."
        return "Copy or download the checkpoint again."


def find(source: str | Path, revision: str | None = None, cache: Path | None = None) -> Place:
    """The folder of a source. WeightsError where there is none; of the hub's caches only ``cache`` is asked if it is given."""
    text = str(source) or PUBLISHED
    folder = Path(text).expanduser()
    if folder.is_dir():
        return Place(folder, "")
    if folder.is_file():
        raise WeightsError(f"{folder} is a file, and weights are a folder with transformer, vae and others in it.", "Give the folder.")
    if not HUB_ID.fullmatch(text):
        raise WeightsError(f"There is no folder {folder}.", f"Give a folder, or a hub id such as {PUBLISHED}.")
    name, _, wanted = text.partition("@")
    wanted = revision or wanted
    hub = f"{name}@{wanted}" if wanted else name
    snapshots = [find_snapshot(one, name, wanted or "main") for one in ([cache] if cache else hub_caches())]
    for found in (stored_folder(name, wanted or "main"), *snapshots):
        if found and found.is_dir():
            return Place(found, hub)
    raise WeightsError(f"The weights {hub} are not on this machine.", f"Fetch them with das models pull {hub}, or choose another folder of weights.")


def stored_folder(name: str, revision: str) -> Path:
    """Where das models pull puts ``owner/name``."""
    owner, _, last = name.partition("/")
    return home.model_folder() / owner / (last if revision == "main" else f"{last}@{revision.replace('/', '--')}")


def read_manifest(folder: Path) -> Manifest | None:
    """What das models pull wrote; None where it did not fill this folder."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.MsgspecError as error:
        raise WeightsError(f"{folder / MANIFEST} cannot be read: {error}.", "Delete the folder and fetch the weights again.") from None


def hub_caches() -> list[Path]:
    """The cache that other Hugging Face programs of this user share."""
    base = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return [Path(os.environ.get("HF_HUB_CACHE") or Path(base) / "hub").expanduser()]


def repository_folder(cache: Path, name: str) -> Path:
    """Of ``owner/name`` in a cache of the hub's layout (blobs, refs, snapshots)."""
    return cache / ("models--" + name.replace("/", "--"))


def find_snapshot(cache: Path, name: str, revision: str) -> Path | None:
    """The folder of a branch, tag or commit that was pulled."""
    folder = repository_folder(cache, name)
    reference = folder / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def weight_files(place: Place, component: str, stem: str) -> list[Path]:
    """A component's safetensors: one, or the shards that its index names. ``stem``: model, or diffusion_pytorch_model."""
    folder = place.folder / component
    if not folder.is_dir():
        raise WeightsError(f"{place.folder} has no folder {component}.", place.again)
    index = folder / f"{stem}{INDEX}"
    single = folder / f"{stem}.safetensors"
    if single.is_file():
        return [single]
    if index.is_file():
        names = set(_entry(index, "weight_map").values())
        if strange := [str(name) for name in names if not isinstance(name, str) or "/" in name or not stays_below(name)]:
            raise WeightsError(f"{index} names {_first(strange)}, which is no file beside it.", place.again)
        files = [folder / name for name in sorted(names)]
        if lost := [file.name for file in files if not file.is_file()]:
            raise WeightsError(f"{folder} lacks {len(lost)} of {len(files)} files of weights ({_first(lost)}).", place.again)
        return files
    if pickles := sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES):
        raise WeightsError(
            f"{folder} holds weights only as {_first(pickles)}, a format that can run any program when it is opened.",
            "Choose weights in the safetensors format, or convert them where you trust their source.",
        )
    raise WeightsError(f"{folder} has no {single.name}.", place.again)


def stays_below(name: str) -> bool:
    """A name that somebody else gave leads to a file below the folder that it is put to, on every system."""
    return not re.search(r"[\\:\0]", name) and all(part not in ("", ".", "..") for part in name.split("/"))


def read_config(place: Place, component: str, name: str = "config.json") -> dict:
    """A component's configuration."""
    file = place.folder / component / name
    if not file.is_file():
        raise WeightsError(f"{place.folder} has no {component}/{name}.", place.again)
    return _read_json(file)


def read_shapes(files: Iterable[Path], place: Place) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights in ``files``, from their headers alone. WeightsError for a file that is not whole."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        shapes |= {name: tuple(entry["shape"]) for name, entry in read_header(file, place).items()}
    return shapes


def read_header(file: Path, place: Place) -> dict[str, dict]:
    """dtype, shape and data_offsets by name; the file's length is compared with what they need."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        length = int.from_bytes(start, "little")
        header = opened.read(length) if length <= LONGEST_HEADER else b""
    if start == LFS_POINTER[:8]:
        raise WeightsError(f"{file} is a pointer of Git LFS and not the weights.", "Run git lfs pull there.")
    if size < 8 or (length <= LONGEST_HEADER and len(header) < length):
        raise WeightsError(f"{file} is cut short: it has {size} bytes.", place.again)
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        needed = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise WeightsError(f"{file} is not of the safetensors format, or damaged.", place.again) from None
    if size != needed:
        found = "cut short" if size < needed else "damaged"
        raise WeightsError(f"{file} is {found}: it has {size} of {needed} bytes.", place.again)
    return entries


def is_whole(file: Path) -> bool:
    """Whether a file of safetensors is there, as long as its header says; no more than the header is read."""
    try:
        read_header(file, Place(file.parent, ""))
    except (OSError, WeightsError):
        return False
    return True


def compare(what: str, expected: dict[str, tuple], found: dict[str, tuple], optional: set[str], fix: str) -> None:
    """KeysError where names or shapes differ; ``optional`` ones may be left out."""
    missing = sorted(expected.keys() - found.keys() - optional)
    unexpected = sorted(found.keys() - expected.keys())
    misshaped = sorted(
        f"{name} {list(found[name])} instead of {list(expected[name])}"
        for name in expected.keys() & found.keys()
        if tuple(found[name]) != tuple(expected[name])
    )
    if missing or unexpected or misshaped:
        raise KeysError(what, missing, unexpected, misshaped, fix)


def sha256(file: Path, progress: Progress | None = None) -> str:
    """Hexadecimal, read in chunks; ``progress`` is told after each."""
    digest, done, size = hashlib.sha256(), 0, file.stat().st_size
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(done, size)
    return digest.hexdigest()


def known_sha256(file: Path) -> str | None:
    """What a hub cache calls a large file's content: its blob is named by its sha256."""
    name = file.resolve().name if file.is_symlink() else ""
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else None


class HashCache:
    """Hashes of files that have not changed since (by path, length and time), so that 27 GB are read once and not at each job."""

    def __init__(self, file: Path | None = None):
        self._file = file or home.home() / "weight-hashes.json"

    def hash(self, file: Path) -> str:
        """The sha256 of a file's content, as it was when it last was read."""
        return known_sha256(file) or self.hash_all([file])[file]

    def hash_all(self, files: Iterable[Path], progress: Callable[[int], None] = lambda done: None) -> dict[Path, str]:
        """The same of many files, by their content alone; the list of hashes is read once, and written every SECONDS_BETWEEN_WRITES and at the end.

        ``progress`` is told how many are done; what it raises ends it, and no hash is lost.
        """
        known, found, new, wrote = self._read(), {}, {}, time.monotonic()
        try:
            for done, file in enumerate(files, start=1):
                status = file.stat()
                key, stamp = str(file.resolve()), [status.st_size, status.st_mtime_ns]
                entry = known.get(key)
                if not entry or entry[:2] != stamp:
                    entry = new[key] = known[key] = [*stamp, sha256(file)]
                found[file] = entry[2]
                if new and time.monotonic() - wrote > SECONDS_BETWEEN_WRITES:
                    self._write(self._read() | new)
                    new, wrote = {}, time.monotonic()
                progress(done)
        finally:
            if new:
                self._write(self._read() | new)
        return found

    def remember(self, file: Path, value: str) -> None:
        """Note what a file's hash is, where it was read just now."""
        status = file.stat()
        self._write(self._read() | {str(file.resolve()): [status.st_size, status.st_mtime_ns, value]})

    def _read(self) -> dict[str, list]:
        try:
            return json.loads(self._file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}

    def _write(self, known: dict[str, list]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_name(f"{self._file.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(known, indent=1), encoding="utf-8")
        os.replace(partial, self._file)


def _entry(file: Path, key: str) -> dict:
    content = _read_json(file)
    if not isinstance(content.get(key), dict):
        raise WeightsError(f"{file} has no {key}.", "Copy or download the checkpoint again.")
    return content[key]


def _read_json(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file} cannot be read: {error}.", "Copy or download the checkpoint again.") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{file} is not a configuration.", "Copy or download the checkpoint again.")
    return content


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
