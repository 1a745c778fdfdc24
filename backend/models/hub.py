"""Weights from the Hugging Face hub into our model folder: resumed where it stopped, every file checked by its hash.

``model_folder()/owner/name`` (``name@revision`` for another than main) holds plain files and a manifest of them. It is
filled under ``….partial`` and gets its name when all of it is there and right, so what carries a name is whole. Files are
downloaded by huggingface_hub, which knows endpoint, token, proxy and offline mode; but its own download of a snapshot
begins an interrupted file anew, and 5 GB of one are an hour on a slow line, hence :func:`_fetch`.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HfHubHTTPError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers

from ...shared.errors import first_line
from ...shared.files import link_or_copy
from . import weights
from .integrity import Progress, has_length, is_stored
from .weights import MANIFEST, Manifest, Stored, WeightsError

# What a checkpoint consists of; other formats and other precisions of the same weights stay where they are.
WANTED = re.compile(
    r"(model_index\.json|README\.md|LICENSE[^/]*|scheduler/[^/]+\.json|tokenizer/[^/]+\.(json|model|txt)"
    r"|(transformer|vae|text_encoder)/([^/]+\.json|[\w-]+\.safetensors))"
)
# And what a single model of transformers does, which stands beside the video model.
ONE_MODEL = re.compile(r"README\.md|LICENSE[^/]*|(preprocessor_|processor_)?config\.json|model\.safetensors")
WEIGHTS = re.compile(r"transformer/.+\.safetensors|model\.safetensors")
ROOM_LEFT = 100 << 20  # bytes that a disk should keep


class Offer(msgspec.Struct):
    """What the hub holds under an id: its commit, its licence, and the files that we want."""

    hub: str
    revision: str
    commit: str
    licence: str
    files: dict[str, Stored]
    gated: bool = False

    @property
    def size(self) -> int:
        return sum(file.bytes for file in self.files.values())


class Hub:
    """The hub as huggingface_hub is set to find it (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE), or another ``endpoint``."""

    def __init__(self, endpoint: str | None = None):
        self.endpoint = endpoint or constants.ENDPOINT

    def page(self, name: str) -> str:
        """Where a person reads about a model and accepts its licence."""
        return f"{self.endpoint}/{name}"

    def look(self, source: str, wanted: Callable[[str], bool] | None = None) -> Offer:
        """What there is to fetch under ``owner/name[@revision]``: files that are ``wanted``, or else those of a checkpoint or of
        one model. WeightsError where it cannot be had."""
        name, _, revision = source.partition("@")
        with self._told(name, revision):
            info = HfApi(endpoint=self.endpoint).model_info(name, revision=revision or "main", files_metadata=True)
        files = {
            one.rfilename: Stored(one.lfs.size if one.lfs else one.size, one.lfs.sha256 if one.lfs else f"git:{one.blob_id}")
            for one in info.siblings
            if weights.stays_below(one.rfilename)
            and (wanted(one.rfilename) if wanted else WANTED.fullmatch(one.rfilename) or ONE_MODEL.fullmatch(one.rfilename))
        }
        if not any(WEIGHTS.fullmatch(file) or (wanted and file.endswith(weights.KINDS)) for file in files):
            raise WeightsError(f"{source} holds no weights of the published layout.", "Choose another id.")
        return Offer(name, revision or "main", info.sha, _licence(info, self.page(name)), files, bool(info.gated))

    def pull(self, offer: Offer, progress: Progress = lambda done, size: None) -> Path:
        """The folder with all of ``offer``; what is there already is not fetched again. WeightsError where it does not work out."""
        target = weights.stored_folder(offer.hub, offer.revision)
        known = weights.read_manifest(target)
        if known and known.commit == offer.commit and all(has_length(target / name, file) for name, file in offer.files.items()):
            return target
        if target.exists() and not known:
            raise WeightsError(f"{target} was not made by das models pull, so it is left alone.", "Move it away, or set DAS_MODELS.")
        partial = target.with_name(target.name + ".partial")
        with _writing(partial), _alone(partial):
            _reuse(offer, target, known, partial)
            _check_room(offer, partial)
            manifest = Manifest(offer.hub, offer.revision, offer.commit, offer.licence, self._fetch_all(offer, partial, progress))
            (partial / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
            _take_place(partial, target, known)
            hashes = weights.HashCache()
            for file, stored in manifest.files.items():
                hashes.remember(target / file, stored.hash)
        return target

    def _fetch_all(self, offer: Offer, folder: Path, progress: Progress) -> dict[str, Stored]:
        """Every file of the offer in ``folder``; its length and sha256."""
        before, found = 0, {}
        for name, wanted in sorted(offer.files.items(), key=lambda item: item[1].bytes):
            file = folder / name
            if not has_length(file, wanted):
                file.parent.mkdir(parents=True, exist_ok=True)
                with self._told(offer.hub, offer.revision):
                    self._fetch(offer, name, file, lambda done: progress(before + done, offer.size))
            # Read again from the disk: what counts is what lies there.
            if not is_stored(file, wanted):
                file.unlink()
                raise WeightsError(f"{name} of {offer.hub} has arrived damaged: its hash is not the hub's.", "Run das models pull again.")
            before += wanted.bytes
            progress(before, offer.size)
            found[name] = Stored(wanted.bytes, _sha256_of(file, wanted))
        return found

    def _fetch(self, offer: Offer, name: str, file: Path, progress: Callable[[int], None]) -> None:
        """Download one file, from where an interrupted download of it stopped."""
        part = file.with_name(file.name + ".partial")
        wanted = offer.files[name].bytes
        if part.exists() and part.stat().st_size > wanted:
            part.unlink()
        url = hf_hub_url(offer.hub, name, revision=offer.commit, endpoint=self.endpoint)
        with part.open("ab") as opened:
            http_get(
                url, opened, resume_size=opened.tell(), headers=build_hf_headers(), expected_size=wanted,
                displayed_filename=name, tqdm_class=functools.partial(_Told, progress),
            )  # fmt: skip
        part.replace(file)

    @contextmanager
    def _told(self, name: str, revision: str) -> Iterator[None]:
        """What huggingface_hub raises, in our form."""
        again = "Check the network and run it again: it goes on where it stopped."
        try:
            yield
        except GatedRepoError:
            fix = f"Accept it at {self.page(name)}, log in with hf auth login (or set HF_TOKEN), and run it again."
            raise WeightsError(f"The licence of {name} has not been accepted by you.", fix) from None
        except RevisionNotFoundError:
            raise WeightsError(f"{name} has no revision {revision}.", f"See {self.page(name)}/tree/main.") from None
        except (RepositoryNotFoundError, HFValidationError):
            fix = f"See {self.page(name)}; for a private one log in with hf auth login."
            raise WeightsError(f"The hub has no {name}, or does not show it to you.", fix) from None
        except OfflineModeIsEnabled:
            raise WeightsError("The hub may not be asked: HF_HUB_OFFLINE is set.", "Unset it, or give a folder.") from None
        except HfHubHTTPError as error:
            raise WeightsError(f"{self.endpoint} answers with {_status(error)}.", again) from error
        except HTTPError as error:
            raise WeightsError(f"{self.endpoint} cannot be reached: {first_line(error)}.", again) from error
        except OSError as error:
            if error.errno is None:  # huggingface_hub's word for a file of another length than announced
                raise WeightsError(f"The download has broken off: {first_line(error)}", again) from error
            raise


class _Told:
    """In the place of a tqdm bar: tells a function how many bytes there are."""

    def __init__(self, told: Callable[[int], None], *, initial: int = 0, **ignored):
        self._told, self._done = told, initial

    def update(self, count: int) -> None:
        self._done += count
        self._told(self._done)

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *ignored) -> None:
        self.close()


def in_hub_cache(offer: Offer) -> Path | None:
    """The snapshot of this very commit in the cache of other Hugging Face programs, if all files are there in their length."""
    for cache in weights.hub_caches():
        snapshot = weights.find_snapshot(cache, offer.hub, offer.commit)
        if snapshot and all(has_length(snapshot / name, stored) for name, stored in offer.files.items()):
            return snapshot
    return None


def _sha256_of(file: Path, wanted: Stored) -> str:
    return weights.sha256(file) if wanted.hash.startswith("git:") else wanted.hash


def _licence(info, page: str) -> str:
    card = info.card_data.to_dict() if info.card_data else {}
    name = card.get("license_name") or card.get("license") or "not stated"
    return f"{name} ({card.get('license_link') or page})"


def _check_room(offer: Offer, folder: Path) -> None:
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    needed, free = offer.size - there, shutil.disk_usage(folder).free
    if needed + ROOM_LEFT > free:
        raise WeightsError(
            f"{needed / 1e9:.1f} GB are to be fetched into {folder.parent}, and {free / 1e9:.1f} GB are free there.",
            "Free some space, or set DAS_MODELS to a folder on another disk.",
        )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        fix = "Free some space, or set DAS_MODELS to a folder on another disk, and run it again: it goes on where it stopped."
        raise WeightsError(f"{folder} cannot be written: {reason}.", fix) from error


@contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """Make the folder, and let nobody else fetch into it meanwhile."""
    partial.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(partial.with_name(f".{partial.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise WeightsError(f"Another das models pull is filling {partial}.", "Wait for it, or end it.") from None


def _reuse(offer: Offer, former: Path, known: Manifest | None, partial: Path) -> None:
    """Link what an older commit of the same weights has and this one has too."""
    for name, wanted in offer.files.items():
        goal = partial / name
        if known and name in known.files and not goal.exists() and is_stored(former / name, wanted):
            goal.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(former / name, goal)


def _take_place(partial: Path, target: Path, known: Manifest | None) -> None:
    """``partial`` becomes ``target``. Of an older commit there, the files that we had fetched go; the user's own stay."""
    if not known:
        os.replace(partial, target)
        return
    former = target.with_name(f"{target.name}.{known.commit[:8]}")
    os.replace(target, former)
    os.replace(partial, target)
    for name in (*known.files, MANIFEST):
        (former / name).unlink(missing_ok=True)
    for folder in sorted((path for path in former.rglob("*") if path.is_dir()), reverse=True):
        _remove_if_empty(folder)
    _remove_if_empty(former)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _status(error: HfHubHTTPError) -> str:
    response = getattr(error, "response", None)
    return f"code {response.status_code}" if response is not None else first_line(error)
