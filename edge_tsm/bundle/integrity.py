"""Whether the files of a bundle are those that were proven at conversion.

Memory cards lose pages and copies break off: a damaged file may still open, and answer wrongly. So
every load reads the files and compares their checksums; no note of an earlier check is trusted,
since decay changes neither size nor time of a file. The reading goes on while the engine opens the
file, in a thread of its own (hashing needs no GIL), or, with `first`, before that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from edge_tsm.bundle.card import Card, File, checksum
from edge_tsm.bundle.onnxfile import external_files
from edge_tsm.errors import CardError, DamageError


@contextmanager
def checked(bundle: Path, file: File, *, first: bool = False) -> Iterator[None]:
    """Check the files of an artifact while the block opens them, or `first`.

    What is wrong with them comes before any error of the block, which it explains.

    Raises:
        DamageError: a file is missing, or not the one that was proven.
        CardError: the artifact reads files that the card does not list.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="edge-tsm checksum") as pool:
        check = pool.submit(check_files, bundle, file)
        try:
            if first:
                check.result()
            _check_external(bundle / file.path, file.parts)
            yield
        finally:
            check.result()


@contextmanager
def checked_single(path: Path, *, first: bool = False) -> Iterator[None]:
    """Check an artifact while the block opens it: against the card of its bundle, if it is in one.

    Raises:
        DamageError: see `checked`.
        CardError: it reads other files, and no card lists them.
    """
    if (file := _listed(path)) is not None:
        with checked(path.parent, file, first=first):
            yield
        return
    _check_external(path, {})
    yield


def _listed(path: Path) -> File | None:
    """Return what the card beside a file says of it; a card that cannot be read says nothing."""
    try:
        return Card.read(path.parent).files.get(path.name)
    except CardError:
        return None


def check_files(bundle: Path, file: File) -> None:
    """Compare an artifact and its parts with the card's checksums.

    Raises:
        DamageError: one is missing, or another.
    """
    for name, expected in {file.path: file.sha256, **file.parts}.items():
        path = bundle / name
        try:
            found = checksum(path)
        except FileNotFoundError:
            raise DamageError(f"{path} is missing; copy the bundle again") from None
        except OSError as error:
            raise DamageError(f"{path} cannot be read ({error.strerror})") from error
        if found != expected:
            raise DamageError(
                f"{path} is not the file that was verified: sha256 is {found[:16]}…, the card says "
                f"{expected[:16]}…; copy the bundle again, or convert again"
            )


def _check_external(path: Path, parts: Mapping[str, str]) -> None:
    """Refuse weights in files that the card does not vouch for, wherever they are."""
    if path.suffix != ".onnx" or not path.is_file():
        return
    for name in sorted(external_files(path) - parts.keys()):
        raise CardError(f"{path} reads weights from {name!r}, which its card does not list")
