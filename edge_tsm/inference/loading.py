"""Open a bundle or an artifact: the one asked for, else the fastest that answers as verified."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from edge_tsm.backends import ENGINES, RuntimeOptions, candidates, engine, open_backend, readers
from edge_tsm.bundle.card import GOLDEN_FILE, Card
from edge_tsm.bundle.integrity import checked_single
from edge_tsm.errors import (
    BackendError,
    CardError,
    DamageError,
    InputError,
)
from edge_tsm.inference.opening import open_variant
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.throughput import Aim, with_best_streams
from edge_tsm.inference.variants import Choice, Variant, named, proven, variants

_log = logging.getLogger("edge_tsm")


def load(
    path: str | Path,
    *,
    engine: str | None = None,
    options: RuntimeOptions | None = None,
    variant: str = "auto",
    aim: Aim | None = None,
    sources: int = 1,
) -> Recognizer:
    """Open a bundle folder, or a single artifact (`.onnx`, `.xml`, `.mnn`) made by edge-tsm.

    Of a bundle's proven artifacts the fastest that answers its golden clips as at conversion is
    taken; the choice is made once per bundle, machine and options, and remembered in the user's
    cache. What is not proven (int8 judged on too few clips) is taken by name only.

    Args:
        path: the bundle or artifact; `hf://ORG/NAME[@REVISION]` is downloaded (`local_bundle`).
        engine: onnxruntime, openvino, mnn or one that another package brings; by default all
            installed ones of edge-tsm that serve the device.
        options: device, threads, precision, cache folder.
        variant: the file of a bundle to take, as `model.int8.onnx`, or its engine.
        aim: "latency", or "throughput" where clips a second count and not when each is answered:
            `predict_many` and `push_many` then run several at a time where that was measured to be
            faster. By default latency, but throughput for an online model of several `sources`: a
            step is too small for all cores. For bundles; a single artifact answers one at a time.
        sources: how many live videos, as those of a `Pipeline`, are to be answered at once.

    Raises:
        InputError: an aim that there is not.
        CardError: not a bundle or artifact of edge-tsm, no such variant, or (`DamageError`) a file
            that is not the one that was proven.
        BackendError: engine or device not available, or the file is refused.
        VerificationError: no artifact answers the golden clips here; one that is asked for by
            `variant` runs all the same.
        HubError: a model that is elsewhere cannot be downloaded.

    >>> from edge_tsm import demo
    >>> with load(demo.bundle(), options=RuntimeOptions(threads=1)) as recognizer:
    ...     recognizer.card.name
    'demo'
    """
    if aim not in (None, *get_args(Aim)):
        raise InputError(f"aim is {aim!r}; it must be one of {', '.join(get_args(Aim))}")
    path, options = local_bundle(path), options or RuntimeOptions()
    if path.is_dir():
        card = Card.read(path)
        if aim is None:
            aim = "throughput" if card.streaming is not None and sources > 1 else "latency"
        found = variants(card, path, candidates(options.device, engine), options.device)
        if variant != "auto":
            return _opened(path, card, named(found, variant), options, aim=aim)
        return _open_best(path, card, proven(found, where=path), options, aim=aim)
    return _open_file(path, engine, options)


def local_bundle(path: str | Path) -> Path:
    """Return where a bundle is on this machine: a path as it is, an address once downloaded.

    What is downloaded is kept only if its files have the checksums of its card, and one of its
    artifacts answers the golden clips here as at conversion.

    Raises:
        InputError: an address that is none.
        HubError: it cannot be downloaded.
        CardError, BackendError, VerificationError: it is no such bundle; see `load`.

    >>> local_bundle("gestures.bundle").name
    'gestures.bundle'
    """
    if isinstance(path, Path) or "://" not in path:
        return Path(path)
    from edge_tsm.bundle.addresses import fetch_bundle, parse_address  # slow to import

    address = parse_address(path)
    return Path(path) if address is None else fetch_bundle(address, check=_prove)


def _prove(bundle: Path) -> None:
    """Refuse a bundle of which nothing answers here as at conversion."""
    card, options = Card.read(bundle), RuntimeOptions()
    found = variants(card, bundle, candidates(options.device, None), options.device)
    able = proven(found, where=bundle)
    _choose(bundle, card, able, options)


def _opened(
    bundle: Path, card: Card, variant: Variant, options: RuntimeOptions, *, aim: Aim
) -> Recognizer:
    """Open the variant that was chosen, with what was compiled of it before."""

    def open_with(options: RuntimeOptions) -> Recognizer:
        return open_variant(bundle, card, variant, options)

    if aim == "throughput" and options.streams == 1:
        options = with_best_streams(card, variant, options, open_with)
    return open_variant(bundle, card, variant, options, kept=True)


def _open_best(
    bundle: Path, card: Card, found: Sequence[Variant], options: RuntimeOptions, *, aim: Aim
) -> Recognizer:
    """Open the remembered variant, else try all and remember the best."""
    if not (bundle / GOLDEN_FILE).is_file():
        return _open_first(bundle, card, found, options)
    choice = Choice(card, options, found)
    if (best := choice.recall(found)) is not None:
        try:
            return _opened(bundle, card, best, options, aim=aim)
        except (BackendError, DamageError) as error:
            _log.warning("%s does not open any more, trying the others: %s", best, error)
            choice.forget()
    best = _choose(bundle, card, found, options)
    return _opened(bundle, card, best, options, aim=aim)


def _choose(bundle: Path, card: Card, found: Sequence[Variant], options: RuntimeOptions) -> Variant:
    """Return the fastest variant that passes its golden check here, and remember it."""
    from edge_tsm.inference.trials import fastest  # slow to import, and a choice is made once

    best = fastest(bundle, card, found, options)
    Choice(card, options, found).remember(best)
    return best


def _open_first(
    bundle: Path, card: Card, found: Sequence[Variant], options: RuntimeOptions
) -> Recognizer:
    """Open the first variant that opens."""
    for variant in found[:-1]:
        try:
            return open_variant(bundle, card, variant, options)
        except (BackendError, DamageError) as error:
            _log.warning("%s is passed over: %s", variant, error)
    return open_variant(bundle, card, found[-1], options)


def _open_file(path: Path, name: str | None, options: RuntimeOptions) -> Recognizer:
    """Open a single artifact, on the engine whose own form it is in where that is possible."""
    known = dict.fromkeys([*ENGINES, name] if name else ENGINES)
    readable = readers(path, known)
    if not path.is_file() or not readable:
        found = "is of another kind" if path.exists() else "does not exist"
        forms = " or ".join(engine(other).suffixes[0] for other in known)
        raise CardError(f"{path} {found}; pass a bundle folder, or its {forms}")
    able = candidates(options.device, name)
    chosen = readers(path, able)
    if not chosen:
        raise BackendError(f"{path} is for {' or '.join(readable)}; {able[0]} cannot read it")
    with checked_single(path, first=engine(chosen[0]).crashes_on_damage):
        backend = open_backend(chosen[0], path, options)
    if backend.card_text is None:
        raise CardError(f"{path} holds no card; make it with `edge-tsm convert`")
    return Recognizer(Card.from_json(backend.card_text, where=str(path)), backend)
