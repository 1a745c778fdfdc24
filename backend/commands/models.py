"""`das models`: which weights there are and where, fetching and checking them, and a tiny random set to try everything with."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from ...shared import home
from ...shared.model_entries import Entries, Entry, size_text
from ...shared.report import Reporter
from ..models import integrity, weights
from ..models.weights import WeightsError
from ..vision import catalogue

BASE = "zai-org/CogVideoX-5b-I2V"
KNOWN = {weights.PUBLISHED: "the published model, 49 frames of 720x480", BASE: "its base without the tracking branch, to train one (--from-base)"}
SIZES = {weights.PUBLISHED: 27_000_000_000, BASE: 0}  # to download, as far as it is known
MEGABYTE = 1_000_000


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    """Do what ``args.action`` says."""
    return {"list": list_models, "pull": pull, "verify": verify, "path": path, "remove": remove, "tiny": tiny}[args.action](args, reporter)


def list_models(args: argparse.Namespace, reporter: Reporter) -> int:
    """What is known and what is on this machine."""
    entries = [_known(name, what) for name, what in KNOWN.items()] + [_side(model) for model in catalogue.TABLE] + _others()
    lines = [f"Weights are kept in {home.model_folder()}."]
    for one in entries:
        lines.append(f"{one.name}: {one.what}")
        lines.extend(f"  {line}" for line in (one.tasks and f"for {one.tasks}", _where(one), f"licence: {one.licence}", one.needs) if line)
    listed = Entries(str(home.model_folder()), entries, _free(home.model_folder()))
    reporter.result("\n".join(lines), **msgspec.to_builtins(listed))
    return 0


def _known(name: str, what: str) -> Entry:
    try:
        place = weights.find(name)
    except WeightsError:
        return Entry(name, what, bytes=SIZES[name], partial=_partial(name), licence="see its page on the hub")
    return _entry(name, what, place.folder)


def _side(model: catalogue.SideModel) -> Entry:
    """A model of the catalogue; the licence of what is here is what the hub said."""
    licence = f"{model.licence}; {model.terms}" if model.terms else model.licence
    about = {"hub": model.source, "tasks": model.tasks, "needs": model.needs}
    try:
        place = weights.find(model.source)
    except WeightsError:
        return Entry(model.name, model.what, bytes=model.bytes, partial=_partial(model.source), licence=licence, **about)
    here = _entry(model.name, model.what, place.folder)
    return msgspec.structs.replace(here, licence=licence, **about)


def _partial(source: str) -> int:
    """Bytes of a download that was interrupted."""
    name, _, revision = source.partition("@")
    folder = weights.stored_folder(name, revision or "main")
    return _occupied(folder.with_name(f"{folder.name}.partial"))


def _free(folder: Path) -> int:
    """Bytes that are free where weights go, whether their folder is there yet or not."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def _where(one: Entry) -> str:
    if one.folder:
        return f"{one.folder} ({size_text(one.bytes)})"
    if one.partial:
        return f"{size_text(one.partial)} are here: das models pull {one.name} goes on"
    return f"not here: das models pull {one.name}" + _from(one)


def _from(one: Entry) -> str:
    size = size_text(one.bytes) if one.bytes else ""
    return f" ({size} from {one.hub})" if size and one.hub else f" ({size})" if size else ""


def _others() -> list[Entry]:
    """What else das models pull has put into the model folder."""
    folders = sorted(file.parent for file in home.model_folder().glob(f"*/*/{weights.MANIFEST}") if not file.parent.name.endswith(".partial"))
    entries = []
    for folder in folders:
        manifest = weights.read_manifest(folder)
        name = manifest.hub if manifest.revision == "main" else f"{manifest.hub}@{manifest.revision}"
        if name not in KNOWN and not any(name == model.source for model in catalogue.TABLE):
            entries.append(_entry(name, f"commit {manifest.commit[:8]}", folder))
    return entries


def _entry(name: str, what: str, folder: Path) -> Entry:
    manifest = weights.read_manifest(folder)
    ours = manifest is not None and folder.is_relative_to(home.model_folder())
    return Entry(name, what, str(folder), _occupied(folder), ours=ours, licence=manifest.licence if manifest else "see its page on the hub")


def pull(args: argparse.Namespace, reporter: Reporter) -> int:
    """Fetch weights from the hub, or find them in another program's cache; the folder is the result."""
    from ..models import hub

    side = catalogue.known(args.source)
    name, _, revision = catalogue.source_of(args.source or weights.PUBLISHED).partition("@")
    source = f"{name}@{args.revision or revision or 'main'}"
    if not weights.HUB_ID.fullmatch(source):
        raise WeightsError(f"{name} is no hub id.", f"Give owner/name, such as {weights.PUBLISHED}.")
    server = hub.Hub()
    offer = server.look(source, side.wants if side else None)
    terms = f"; {side.terms}" if side and side.terms else ""
    reporter.note(f"{offer.hub}: {size_text(offer.size)}, licence {offer.licence}{terms}.")
    folder = None if side and side.pickled else hub.in_hub_cache(offer)  # what is converted is written to
    if folder:
        reporter.note("It is in the cache of another Hugging Face program already, and is used from there.")
    else:
        folder = server.pull(offer, _megabytes("fetch MB", reporter))
    if side and side.pickled:
        from ..vision.conversion import convert

        reporter.note(f"{side.pickled} is not of the safetensors format and was converted: {convert(side, folder)}.")
    reporter.result(str(folder), folder=str(folder), commit=offer.commit, licence=offer.licence, bytes=offer.size)
    return 0


def verify(args: argparse.Namespace, reporter: Reporter) -> int:
    """Compare every file with its hash, and every component of a checkpoint with its configuration.

    WeightsError for the first that is wrong. A side model is compared with its configuration when it is loaded.
    """
    if catalogue.known(args.source):
        place = weights.find(catalogue.source_of(args.source), args.revision)
        count = len(_compare(place, reporter))
        reporter.result(f"{place.folder} is whole: {count} files have the hub's hashes.", folder=str(place.folder), compared=count)
        return 0
    from ..models.checkpoint import Checkpoint

    checkpoint = Checkpoint(args.source, revision=args.revision, from_base=args.from_base)
    files = _compare(checkpoint.place, reporter)
    checkpoint.verify(lambda component: reporter.event("component", component=component))
    hashes = f"{len(files)} files have the hub's hashes" if files else "nobody has given hashes to compare with"
    lines = [f"{checkpoint.place.folder} is whole: {hashes}, and names and shapes are right."]
    lines += [f"{name:<12} sha256 {value}" for name, value in checkpoint.hashes.items()]
    reporter.result("\n".join(lines), folder=str(checkpoint.place.folder), compared=len(files), hashes=checkpoint.hashes)
    return 0


def _compare(place: weights.Place, reporter: Reporter) -> dict[str, weights.Stored]:
    """The files whose hash is known, all of them right; WeightsError else."""
    files = integrity.expected(place)
    if wrong := integrity.damaged(place, files, _megabytes("verify MB", reporter)):
        raise WeightsError(f"{len(wrong)} files are not what the hub holds, {wrong[0]} the first of them.", place.again)
    return files


def path(args: argparse.Namespace, reporter: Reporter) -> int:
    """Where the weights lie."""
    folder = weights.find(catalogue.source_of(args.source), args.revision).folder
    reporter.result(str(folder), folder=str(folder))
    return 0


def remove(args: argparse.Namespace, reporter: Reporter) -> int:
    """Delete what `das models pull` has fetched, whole or not, and nothing else. WeightsError for what others have put there."""
    name, _, revision = (catalogue.source_of(args.source) or weights.PUBLISHED).partition("@")
    if not weights.HUB_ID.fullmatch(name):
        raise WeightsError(f"{name} is no hub id.", "Give what das models list shows; a folder of your own you can delete yourself.")
    folder = weights.stored_folder(name, args.revision or revision or "main")
    partial = folder.with_name(f"{folder.name}.partial")
    manifest = weights.read_manifest(folder)
    if manifest is None and not partial.is_dir():
        raise WeightsError(f"das models pull has not fetched {name} into {home.model_folder()}.", "Remove it by the program that has.")
    before = _occupied(folder) + _occupied(partial)
    if manifest:
        made = [name for name in catalogue.converted(name) if name not in manifest.files]
        _remove_files(folder, [*manifest.files, *made, weights.MANIFEST])
    if partial.is_dir():
        shutil.rmtree(partial)
    left = _occupied(folder)
    kept = f" What is not from the hub stays in {folder}." if left else ""
    reporter.result(f"{name} is removed.{kept}", folder=str(folder), freed=before - left, left=left)
    return 0


def _remove_files(folder: Path, names: list[str]) -> None:
    """These files, and the folders that are then empty."""
    for name in names:
        if weights.stays_below(name):
            (folder / name).unlink(missing_ok=True)
    for place in (*sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True), folder):
        with suppress(OSError):  # not empty
            place.rmdir()


def _occupied(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def tiny(args: argparse.Namespace, reporter: Reporter) -> int:
    """Write a small random checkpoint."""
    from ..models.tiny import write_tiny_checkpoint

    folder = write_tiny_checkpoint(args.folder, args.seed)
    reporter.result(str(folder), folder=str(folder))
    return 0


def _megabytes(phase: str, reporter: Reporter) -> Callable[[int, int], None]:
    """Tell bytes as progress, with the time left at the speed since the beginning."""
    start, first = time.monotonic(), None

    def told(done: int, size: int) -> None:
        nonlocal first
        first = done if first is None else first
        rate = (done - first) / max(time.monotonic() - start, 1e-6)
        reporter.progress(phase, done // MEGABYTE, max(size // MEGABYTE, 1), (size - done) / rate if rate else None)

    return told
