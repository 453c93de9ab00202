"""Bundles and artifacts to evaluate: their names in tables, and what decides their answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_tsm.backends import RuntimeOptions, artifact_parts, readers
from edge_tsm.bundle.card import checksum
from edge_tsm.errors import InputError
from edge_tsm.evaluation.views import ViewProtocol
from edge_tsm.inference.loading import load
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.throughput import Aim


@dataclass(frozen=True, eq=False)
class OpenModel:
    """A bundle or artifact at `path`, opened with `options`."""

    path: Path
    recognizer: Recognizer
    options: RuntimeOptions

    @property
    def file(self) -> str:
        """The artifact that answers, on which engine and device."""
        variant, backend = self.recognizer.variant, self.recognizer.backend
        name = variant.file.path if variant else self.path.name
        return f"{name} on {backend.engine} {backend.device}"

    def fingerprint(self) -> str:
        """Return what decides the answers: the card, the files, engine, device, arithmetic."""
        variant, backend = self.recognizer.variant, self.recognizer.backend
        if variant is None:
            files = [self.path, *artifact_parts(self.path, backend.engine)]
        else:
            files = [self.path / name for name in (variant.file.path, *variant.file.parts)]
        sums = "".join(checksum(file) for file in files if file.is_file())
        digest = hashlib.sha256((self.recognizer.card.embedded() + sums).encode()).hexdigest()
        return f"{backend.engine} {backend.device} {self.options.precision} sha256 {digest[:16]}"


@contextmanager
def open_models(
    paths: Mapping[str, Path],
    *,
    options: RuntimeOptions | None = None,
    engine: str | None = None,
    variant: str = "auto",
    aim: Aim = "throughput",
) -> Iterator[dict[str, OpenModel]]:
    """Open bundles or artifacts by name (see `short_names`); all are closed at the end.

    What counts is clips a second, unless `aim` says otherwise.

    Raises:
        CardError, BackendError: as `edge_tsm.load`.
    """
    options = options or RuntimeOptions()
    with ExitStack() as stack:
        models = {}
        for name, path in paths.items():
            recognizer = load(path, variant=variant, engine=engine, options=options, aim=aim)
            models[name] = OpenModel(path, stack.enter_context(recognizer), options)
        yield models


def short_names(paths: Sequence[Path]) -> dict[str, Path]:
    """Return names for tables; where the short ones are not distinct, the paths as given.

    Raises:
        InputError: a path is given twice.
    """
    names = [_short_name(path) for path in paths]
    if len(set(names)) < len(names):
        names = list(map(str, paths))
    if len(set(names)) < len(names):
        raise InputError(f"{max(names, key=names.count)} is given twice")
    return dict(zip(names, paths, strict=True))


def _short_name(path: Path) -> str:
    path = path.absolute()
    if readers(path):
        return f"{path.parent.name.removesuffix('.bundle')}/{path.name}"
    return path.name.removesuffix(".bundle")


def run_facts(models: Mapping[str, OpenModel], protocol: ViewProtocol) -> dict[str, Any]:
    """Return what decides the answers of a run, JSON-ready, for its `Journal`."""
    prints = {name: model.fingerprint() for name, model in models.items()}
    return {**asdict(protocol), "methods": list(protocol.methods), "models": prints}
