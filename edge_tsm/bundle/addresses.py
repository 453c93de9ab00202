"""Models that are elsewhere: the one place where the address of a model becomes a folder or file.

What has an address is downloaded into the user's cache, under the commit it was of: a commit is
downloaded once, and needs no network afterwards. Kinds of addresses are entries of STORES.
"""

from __future__ import annotations

import logging
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Protocol

from edge_tsm.bundle.card import CARD_FILE, GOLDEN_FILE, MOST_BYTES, Card
from edge_tsm.bundle.integrity import check_files
from edge_tsm.errors import HubError, InputError
from edge_tsm.system.cache import cache_folder
from edge_tsm.system.files import whole_file

MOST_BUNDLE_BYTES, MOST_CHECKPOINT_BYTES = 4 << 30, 16 << 30
RULES_FILE = "rules.toml"  # of a bundle, beside what the card lists
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
_PLACE = re.compile(
    r"(?P<name>[\w.-]{1,96}/[\w.-]{1,96})(@(?P<revision>[\w.-]{1,128}))?(/(?P<file>.+))?", re.ASCII
)
_PART = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f:]{1,255}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_log = logging.getLogger("edge_tsm")


@dataclass(frozen=True)
class Address:
    """Where a model is: `name` is ORG/NAME, `file` one of its files ("" for all)."""

    scheme: str
    name: str
    revision: str | None = None
    file: str = ""

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.scheme}://{self.name}{at}" + (f"/{self.file}" if self.file else "")


@dataclass(frozen=True)
class Listing:
    """What a store has under an address: the commit, and every file with its bytes."""

    commit: str
    files: Mapping[str, int]


class Store(Protocol):
    """A place that keeps models by name and revision."""

    def listing(self, address: Address) -> Listing:
        """Return what is there now.

        Raises:
            HubError: it is not there, or not for us; `unreachable` where nobody answers.
        """
        ...

    def download(self, address: Address, commit: str, file: str, folder: Path) -> None:
        """Write one file of a commit into a folder, under its own name.

        Raises:
            HubError: it cannot be read.
        """
        ...

    def upload(self, address: Address, files: Mapping[str, Path], *, private: bool) -> str:
        """Keep files, in one commit; return the URL to look at.

        Raises:
            HubError: it is refused.
        """
        ...


STORES: dict[str, str] = {"hf": "edge_tsm.bundle.huggingface:HuggingFace"}
"""By scheme: the class, which is imported when somebody writes such an address."""


def parse_address(text: str | Path) -> Address | None:
    """Return an address, None for what is a path.

    Raises:
        InputError: an address that is none, or of no known kind.

    >>> parse_address("hf://org/name@v1/ckpt.pth")
    Address(scheme='hf', name='org/name', revision='v1', file='ckpt.pth')
    >>> parse_address("gestures.bundle") is None
    True
    """
    url = _URL.fullmatch(text) if isinstance(text, str) else None
    if url is None:
        return None
    scheme, place = url.groups()
    forms = ", ".join(f"{known}://ORG/NAME[@REVISION]" for known in STORES)
    if scheme not in STORES:
        raise InputError(f"{text}: models are read from folders and from {forms}")
    found = _PLACE.fullmatch(place)
    file = (found["file"] or "") if found else ""
    if found is None or not all(map(_PART.fullmatch, [*found["name"].split("/"), *_parts(file)])):
        raise InputError(f"{text}: an address is {forms}, of a checkpoint with its file: …/FILE")
    return Address(scheme, found["name"], found["revision"], file)


def _parts(file: str) -> list[str]:
    return file.split("/") if file else []


def store_of(address: Address) -> Store:
    """Return the store of an address.

    Raises:
        InputError: what it needs is not installed.
    """
    module, _, name = STORES[address.scheme].partition(":")
    try:
        store: Store = getattr(import_module(module), name)()
    except ImportError as error:
        raise InputError(
            f"{address.scheme}:// needs {error.name}: pip install 'edge-tsm[hub]'"
        ) from error
    return store


def fetch_bundle(address: Address, *, check: Callable[[Path], None]) -> Path:
    """Return the folder of a bundle, downloaded unless it is there already.

    Only what its card lists is taken, with golden clips and rules. Checksums are compared, then
    `check` is called, and only then it is kept.

    Raises:
        HubError: it is not there, is no bundle, or larger than any; nobody answers.
        CardError: the card is not valid, or (`DamageError`) a file is not that of the card.
    """
    if address.file:
        raise InputError(f"{address}: a bundle is addressed without a file")

    def take(listing: Listing, get: _Get) -> None:
        if CARD_FILE not in listing.files:
            raise HubError(f"{address} holds no {CARD_FILE}: it is no bundle of edge-tsm")
        folder = get([CARD_FILE], MOST_BYTES)
        card = Card.read(folder)
        listed = [name for file in card.files.values() for name in (file.path, *file.parts)]
        rules = [RULES_FILE] if RULES_FILE in listing.files else []
        get([*dict.fromkeys(listed), GOLDEN_FILE, *rules], MOST_BUNDLE_BYTES)
        for file in card.files.values():
            check_files(folder, file)
        check(folder)

    name = PurePosixPath(address.name).name
    return _kept(address, f"{name.removesuffix('.bundle')}.bundle", take)


def fetch_checkpoint(address: Address, choose: Callable[[Sequence[str]], Sequence[str]]) -> Path:
    """Return a checkpoint's file, or its folder where it is several, downloaded if need be.

    `choose` takes the names of all files there and returns those that are the checkpoint.

    Raises:
        HubError: it is not there, or larger than any; nobody answers.
    """

    def take(listing: Listing, get: _Get) -> None:
        names = [address.file] if address.file else choose(sorted(listing.files))
        get(names, MOST_CHECKPOINT_BYTES)

    # By the model's name at last, which a bundle is called by where the file's says nothing.
    part = f"of-{re.sub(r'[^a-zA-Z0-9.-]', '_', address.file)}/" if address.file else ""
    folder = _kept(address, f"{part}{PurePosixPath(address.name).name}", take)
    names = [address.file] if address.file else [path.name for path in folder.iterdir()]
    return folder / names[0] if len(names) == 1 else folder


_Get = Callable[[Sequence[str], int], Path]


def _kept(address: Address, name: str, take: Callable[[Listing, _Get], None]) -> Path:
    """Return the folder `name` of an address's commit, filled by `take` if it is not there."""
    own = cache_folder() / "models" / address.scheme / address.name
    if address.revision and _COMMIT.fullmatch(address.revision):
        found = own / address.revision / name
        if found.is_dir():
            return found
    store = store_of(address)
    try:
        listing = store.listing(address)
    except HubError as error:
        last = _last(own, address, name) if error.unreachable else None
        if last is None:
            raise
        _log.warning("%s; using what was downloaded before", error)
        return last
    if not _COMMIT.fullmatch(listing.commit):
        raise HubError(f"{address}: the commit is {listing.commit!r:.60}, which is none")
    target = own / listing.commit / name
    if not target.is_dir():
        with _folder(target) as folder:
            take(listing, _Download(store, address, listing, folder))
    _note(own, address, listing.commit)
    return target


@dataclass(frozen=True)
class _Download:
    """Takes files of a listing into a folder, within bounds."""

    store: Store
    address: Address
    listing: Listing
    folder: Path

    def __call__(self, names: Sequence[str], most_bytes: int) -> Path:
        """Download files, all together of at most so many bytes.

        Raises:
            HubError: one is not there, too large, or not what the listing says.
        """
        for name in names:
            if name not in self.listing.files or not all(map(_PART.fullmatch, name.split("/"))):
                raise HubError(f"{self.address} has no {name!r}")
        total = sum(self.listing.files[name] for name in names)
        if total > most_bytes:
            raise HubError(
                f"{self.address}: {total / 2**20:,.0f} MiB are more than the "
                f"{most_bytes / 2**20:,.0f} MiB that are taken"
            )
        for name in names:
            size = self.listing.files[name]
            _log.info("downloading %s of %s, %s bytes", name, self.address, f"{size:,}")
            self.store.download(self.address, self.listing.commit, name, self.folder)
            path = self.folder / name
            status = path.lstat() if path.exists() else None
            if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != size:
                raise HubError(f"{self.address}: {name} is no file of {size:,} bytes, as announced")
        return self.folder


@contextmanager
def _folder(target: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `target`, which it becomes if all went well."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".download-", dir=target.parent))
    except OSError as error:
        raise HubError(f"{target.parent}: cannot write there ({error.strerror})") from error
    try:
        yield folder
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        try:
            folder.rename(target)
        except OSError as error:
            if not target.is_dir():  # by another process, which was faster
                raise HubError(f"{target}: cannot be kept ({error.strerror})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reference(own: Path, address: Address) -> Path:
    return own / "revisions" / (address.revision or "default")


def _note(own: Path, address: Address, commit: str) -> None:
    """Write down which commit a revision was last."""
    path = _reference(own, address)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_text(commit, encoding="ascii")


def _last(own: Path, address: Address, name: str) -> Path | None:
    """Return what a revision was when it was last downloaded."""
    try:
        commit = _reference(own, address).read_text("ascii")
    except (OSError, ValueError):
        return None
    found = own / commit / name
    return found if _COMMIT.fullmatch(commit) and found.is_dir() else None
