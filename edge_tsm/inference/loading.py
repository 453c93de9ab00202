"""Open a bundle or an artifact: the one asked for, else the fastest that answers as verified."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_tsm.backends import ENGINES, RuntimeOptions, candidates, engine, open_backend, readers
from edge_tsm.bundle.card import GOLDEN_FILE, Card
from edge_tsm.bundle.golden import Golden
from edge_tsm.errors import BackendError, CardError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.variants import Choice, Variant, named, proven, variants
from edge_tsm.system.machine import processor

# A variant replaces one earlier in order only if it is faster by this factor: timings vary.
_CLEARLY_FASTER = 0.9
_TIMED_RUNS = 5
_log = logging.getLogger("edge_tsm")


def load(
    path: str | Path,
    *,
    engine: str | None = None,
    options: RuntimeOptions | None = None,
    variant: str = "auto",
) -> Recognizer:
    """Open a bundle folder, or a single artifact (`.onnx`, `.xml`) made by edge-tsm.

    Of a bundle's proven artifacts the fastest that answers its golden clips as at conversion is
    taken; the choice is made once per bundle, machine and options, and remembered in the user's
    cache. What is not proven (int8 judged on too few clips) is taken by name only.

    Args:
        path: the bundle or artifact.
        engine: onnxruntime, openvino or one that another package brings; by default all installed
            ones of edge-tsm that serve the device.
        options: device, threads, precision, cache folder.
        variant: the file of a bundle to take, as `model.int8.onnx`, or its engine.

    Raises:
        CardError: not a bundle or artifact of edge-tsm, or no such variant.
        BackendError: engine or device not available, or the file is refused.

    >>> from edge_tsm import demo
    >>> with load(demo.bundle(), options=RuntimeOptions(threads=1)) as recognizer:
    ...     recognizer.card.name
    'demo'
    """
    path, options = Path(path), options or RuntimeOptions()
    if path.is_dir():
        card = Card.read(path)
        found = variants(card, path, candidates(options.device, engine), options.device)
        if variant != "auto":
            return open_variant(path, card, named(found, variant), options)
        return _open_best(path, card, proven(found, where=path), options)
    return _open_file(path, engine, options)


def open_variant(bundle: Path, card: Card, variant: Variant, options: RuntimeOptions) -> Recognizer:
    """Open one artifact that the card of a bundle names.

    Raises:
        BackendError: engine or device not available, or the file is refused.
    """
    backend = open_backend(variant.engine, bundle / variant.file.path, options)
    if not variant.file.proven:
        _log.warning(
            "%s: too few clips prove its answers; report.md of the bundle says more", variant
        )
    if backend.device == "cpu" and variant.may_saturate(processor()):
        _log.warning(
            "%s: int8 sums may saturate on this CPU (AVX2 without VNNI) and answers drift, unless "
            "converted with --reduce-range; on %s they are exact",
            variant,
            " or ".join(name for name, known in ENGINES.items() if not known.int8_saturates),
        )
    return Recognizer(card, backend, variant)


def _open_best(
    bundle: Path, card: Card, found: Sequence[Variant], options: RuntimeOptions
) -> Recognizer:
    """Open the remembered variant, else try all and remember the best."""
    if len(found) == 1 or not (bundle / GOLDEN_FILE).is_file():
        return open_variant(bundle, card, found[0], options)
    choice = Choice(card, options, found)
    best = choice.recall(found)
    if best is None:
        best = _fastest(bundle, card, found, options)
        choice.remember(best)
    return open_variant(bundle, card, best, options)


def _fastest(
    bundle: Path, card: Card, found: Sequence[Variant], options: RuntimeOptions
) -> Variant:
    """Return the fastest variant that passes its golden check here, with its reason in the log.

    Raises:
        BackendError: none can be opened.
    """
    golden = Golden.read(bundle)
    refused: dict[str, BackendError] = {}
    best: tuple[float, Variant] | None = None
    for variant in found:
        try:
            with open_variant(bundle, card, variant, options) as recognizer:
                time_ms = _trial(recognizer, golden)
        except BackendError as error:
            refused[str(variant)] = error
            continue
        if time_ms is None:
            _log.warning("%s: %s does not answer as at conversion here", bundle, variant)
        elif best is None or time_ms < _CLEARLY_FASTER * best[0]:
            best = (time_ms, variant)
    if best is not None:
        _log.info("%s: chose %s, %.1f ms a run", bundle, best[1], best[0])
        return best[1]
    return _first_opened(found, refused)


def _first_opened(found: Sequence[Variant], refused: Mapping[str, BackendError]) -> Variant:
    """Return the first variant that opens though none passed; `edge-tsm verify` says why."""
    for variant in found:
        if str(variant) not in refused:
            _log.warning("no variant passes its golden check with these options; using %s", variant)
            return variant
    raise refused[str(found[0])]


def _trial(recognizer: Recognizer, golden: Golden) -> float | None:
    """Return the median time of a run in milliseconds, None where golden clips are missed."""
    variant = recognizer.variant
    assert variant is not None  # opened by `open_variant`
    name = variant.file.path
    tolerance = recognizer.card.verification[name].tolerance
    result = golden.replay(recognizer, tolerance=tolerance, file=name)
    if not result.max_rel_diff <= tolerance:
        return None
    clip = list(golden.clips[0])
    return statistics.median(recognizer.predict(clip).inference_ms for _ in range(_TIMED_RUNS))


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
    backend = open_backend(chosen[0], path, options)
    if backend.card_text is None:
        raise CardError(f"{path} holds no card; make it with `edge-tsm convert`")
    return Recognizer(Card.from_json(backend.card_text, where=str(path)), backend)
