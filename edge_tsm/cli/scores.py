"""An evaluation as tables on the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np

from edge_tsm.cli.table import layout
from edge_tsm.evaluation.evaluate import Evaluation
from edge_tsm.evaluation.metrics import Figures, SetFigures
from edge_tsm.evaluation.views import column_name
from edge_tsm.system.width import columns_of, head, tail, wrap

MOST_CLASSES, LOWEST_CLASSES = 20, 10
NAME_COLUMNS = 24
MOST_FAILURES = 10


def as_text(evaluation: Evaluation) -> Iterator[str]:
    """Yield the lines of the tables and of the summary."""
    if evaluation.activation == "sigmoid":
        yield from _sets({name: evaluation.set_figures(name) for name in evaluation.columns})
        yield from _precisions(evaluation)
        yield ""
    if not evaluation.exclusive:
        yield from _summary(evaluation)
        return
    found = {name: evaluation.figures(name) for name in evaluation.columns}
    yield from _overall(found)
    yield from _gains(evaluation)
    yield ""
    yield from _per_class(evaluation, found)
    yield ""
    yield from _summary(evaluation)


def failures(evaluation: Evaluation) -> Iterator[str]:
    """Yield a line for each of the first clips that could not be read, or not whole."""
    failed = evaluation.failed
    for outcome in failed[:MOST_FAILURES]:
        yield f"unreadable: {outcome.error}"
    if len(failed) > MOST_FAILURES:
        yield f"unreadable: {len(failed) - MOST_FAILURES} more"
    damaged = evaluation.damaged
    for outcome in damaged[:MOST_FAILURES]:
        yield f"damaged: {outcome.sample.name}: {outcome.damage}"
    if len(damaged) > MOST_FAILURES:
        yield f"damaged: {len(damaged) - MOST_FAILURES} more"


def _sets(found: dict[str, SetFigures]) -> list[str]:
    """Return the figures of answers that may name several classes."""
    rows: list[tuple[str, ...]] = [("", "mAP", "F1", "all classes right")]
    for name, f in found.items():
        rows.append((_short(name), *map(_percent, (f.mean_precision, f.f1, f.exact))))
    return layout(rows)


def _precisions(evaluation: Evaluation) -> Iterator[str]:
    """Yield the average precision of each class that has clips, or with many of the lowest."""
    columns = _fitting(list(evaluation.columns), NAME_COLUMNS + len("  clips"))
    found = [evaluation.set_figures(name) for name in columns]
    shown = np.flatnonzero(found[0].having)
    if len(shown) > MOST_CLASSES:
        order = np.argsort(found[0].precisions[shown], kind="stable")
        yield f"the {LOWEST_CLASSES} lowest of {len(shown)} classes (--json has all)"
        shown = shown[order[:LOWEST_CLASSES]]
    rows = [("class: average precision", "clips", *map(_short, columns))]
    for i in shown:
        shares = [_percent(float(f.precisions[i])) for f in found]
        rows.append((head(evaluation.labels[i], NAME_COLUMNS), str(found[0].having[i]), *shares))
    yield from layout(rows)


def _overall(found: dict[str, Figures]) -> list[str]:
    top5 = any(f.top5 is not None for f in found.values())
    rows = [("", "top-1", "95 % interval", *(["top-5"] if top5 else []), "mean class", "ECE")]
    for name, f in found.items():
        interval = f"{100 * f.interval[0]:.1f} to {100 * f.interval[1]:.1f} %"
        best = [_percent(f.top5)] if top5 else []
        shares = (interval, *best, _percent(f.mean_class), _percent(f.ece))
        rows.append((_short(name), _percent(f.top1), *shares))
    return layout(rows)


def _gains(evaluation: Evaluation) -> Iterator[str]:
    """Yield what seeing the frames together brings, clip by clip."""
    for name in evaluation.columns:
        voting = column_name(name, "voting")
        if voting in evaluation.columns:
            answers = (evaluation.logits(column).argmax(1) for column in (name, voting))
            video, still = (answer == evaluation.truth for answer in answers)
            gain = (
                f"{name} over voting: {100 * (video.mean() - still.mean()):+.1f} points "
                f"(right only as video {(video & ~still).sum()}, "
                f"only by voting {(still & ~video).sum()})"
            )
            yield from wrap(gain, _terminal_columns())


def _per_class(evaluation: Evaluation, found: dict[str, Figures]) -> Iterator[str]:
    """Yield each class, or with many the worst by the first column."""
    columns = _fitting(list(found), NAME_COLUMNS + len("  clips"))
    confusions = [found[name].confusion for name in columns]
    clips = confusions[0].sum(1)
    right = np.stack([c.diagonal() for c in confusions])
    shown = np.flatnonzero(clips)
    rest = ""
    if len(shown) > MOST_CLASSES:
        worst = np.argsort(right[0, shown] / clips[shown], kind="stable")[:LOWEST_CLASSES]
        rest = f"the {LOWEST_CLASSES} lowest of {len(shown)} classes (--json has all)"
        shown = shown[worst]
    rows = [("class", "clips", *map(_short, columns))]
    for i in shown:
        shares = [_percent(k / clips[i]) for k in right[:, i]]
        rows.append((evaluation.labels[i], str(clips[i]), *shares))
    yield from layout([(head(row[0], NAME_COLUMNS), *row[1:]) for row in rows])
    if rest:
        yield rest
    if len(found) > len(columns):
        yield f"{len(found) - len(columns)} more columns: --json has them"


def _short(name: str) -> str:
    """Cut a long name at its start: artifact and method stand at its end."""
    return name if columns_of(name) <= NAME_COLUMNS else "…" + tail(name, NAME_COLUMNS - 1)


def _fitting(names: list[str], used: int) -> list[str]:
    """Return the first names, at least one, that fit beside `used` characters."""
    ends = np.cumsum([columns_of(_short(name)) + 2 for name in names]) + used
    return names[: max(1, int((ends <= _terminal_columns()).sum()))]


def _terminal_columns() -> int:
    return shutil.get_terminal_size().columns


def _summary(evaluation: Evaluation) -> Iterator[str]:
    read, clips = len(evaluation.answered), len(evaluation.outcomes)
    text = f"{read} of {clips} clips" + (" could be read" if read < clips else "")
    if evaluation.damaged:
        text += f", {len(evaluation.damaged)} of them damaged"
    if evaluation.resumed:
        text += f", resumed {evaluation.resumed} of {clips}"
    if evaluation.resumed < read:
        busy = evaluation.engine_s / max(evaluation.seconds, 1e-9)
        text += f", {evaluation.seconds:.1f} s, engine busy {100 * busy:.0f} %"
    yield text


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
