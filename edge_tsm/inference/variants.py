"""Which artifact of a bundle to run: those that may serve a device, and the choice remembered."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_tsm.backends import RuntimeOptions, engine, versions
from edge_tsm.bundle.card import Card, File
from edge_tsm.errors import CardError, SinkError
from edge_tsm.system.cache import cache_folder
from edge_tsm.system.files import whole_file
from edge_tsm.system.machine import Processor, processor_identity

_log = logging.getLogger("edge_tsm")


@dataclass(frozen=True)
class Variant:
    """An artifact on one of the engines on which it was verified."""

    file: File
    engine: str

    def __str__(self) -> str:
        return f"{self.file.path} on {self.engine}"

    def may_saturate(self, cpu: Processor) -> bool:
        """Whether its int8 sums saturate on `cpu`, unless the file's weights are 7-bit."""
        int8 = self.file.precision == "int8"
        return int8 and cpu.int8_saturates and engine(self.engine).int8_saturates


def variants(card: Card, bundle: Path, engines: Sequence[str], device: str) -> list[Variant]:
    """Return what may serve `device`, in the order of `engines` and, of one engine, of the card.

    Files in TensorRT's form serve TensorRT alone, and it takes no other int8.

    Raises:
        CardError: the bundle has none.
    """
    found = [
        Variant(file, engine)
        for engine in engines
        for file in card.files.values()
        if engine in file.engines and _serves(file, device) and (bundle / file.path).is_file()
    ]
    if not found:
        listed = ", ".join(card.files) or "none"
        raise CardError(
            f"{bundle}: no artifact for {' or '.join(engines)} on {device}; the card lists {listed}"
        )
    return found


def proven(found: Sequence[Variant], *, where: Path) -> list[Variant]:
    """Return those of `found` that are proven: the others run only where they are named.

    Raises:
        CardError: there are none.
    """
    chosen = [variant for variant in found if variant.file.proven]
    if not chosen:
        files = ", ".join(dict.fromkeys(v.file.path for v in found))
        raise CardError(f"{where}: {files} is not proven; name it as the variant to run it still")
    return chosen


def named(found: Sequence[Variant], name: str) -> Variant:
    """Return the file of `found` called `name`, else the first proven one on the engine `name`.

    Raises:
        CardError: there is none.
    """
    for variant in found:
        if name == variant.file.path or (name == variant.engine and variant.file.proven):
            return variant
    files = ", ".join(dict.fromkeys(v.file.path for v in found))
    raise CardError(f"no variant {name!r} serves here; choose {files}, or pass auto")


class Remembered:
    """What was found best for a bundle, these options and this machine, in the user's cache.

    EDGE_TSM_CACHE names another folder. A cache that cannot be read or written is no error: the
    choice is then made again.

    Args:
        kind: of choice, a folder of the cache.
        found: the variants that there are to choose from, or that the choice is about.
    """

    def __init__(
        self, kind: str, card: Card, options: RuntimeOptions, found: Sequence[Variant]
    ) -> None:
        known = {
            "card": asdict(card),
            "engines": versions(name for v in found for name in engine(v.engine).distributions),
            "cpu": processor_identity(),
            "options": [options.device, options.threads, options.precision],
            "variants": list(map(str, found)),
        }
        key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
        self._path = cache_folder() / kind / f"{key}.json"

    def read(self) -> Any:
        """Return what is remembered, None for nothing."""
        try:
            return json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def forget(self) -> None:
        """Drop what is remembered."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def write(self, value: object) -> None:
        """Write down a choice, where the cache can be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._path) as path:
                path.write_text(json.dumps(value), encoding="utf-8")
        except (OSError, SinkError) as error:
            _log.info("the choice of %s is not remembered: %s", value, error)


class Choice(Remembered):
    """The variant found best."""

    def __init__(self, card: Card, options: RuntimeOptions, found: Sequence[Variant]) -> None:
        super().__init__("variants", card, options, found)

    def recall(self, found: Sequence[Variant]) -> Variant | None:
        """Return the remembered one of `found`, if there is one."""
        remembered = self.read()
        return next((variant for variant in found if str(variant) == remembered), None)

    def remember(self, variant: Variant) -> None:
        """Write down the choice, where the cache can be written."""
        self.write(str(variant))


def _serves(file: File, device: str) -> bool:
    if device.lower() == "tensorrt":
        return file.precision != "int8" or file.target == "tensorrt"
    return file.target == "any"
