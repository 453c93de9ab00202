"""What is wrong with the lists of a training, before its hours begin: classes, damaged videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_tsm.data.clips import Dataset
from edge_tsm.data.sets import classes_of
from edge_tsm.errors import InputError, SourceError
from edge_tsm.sources import open_recording

PROBED = 24  # clips of each list that are opened: a second or two
_NAMED = 5


def refuse_from_one(train: Dataset, val: Dataset) -> None:
    """Refuse lists of numbers alone whose classes seem to count from 1.

    Raises:
        InputError: no clip of class 0 though there are some of class 1.
    """
    classes = {c for dataset in (train, val) for s in dataset for c in classes_of(s)}
    if train.labels is None and 0 not in classes and 1 in classes:
        raise InputError(
            f"the lists' classes count from 1 to {max(classes)}; class 0 would be trained on no "
            "clip: pass first_class=1, or number from 0"
        )


def check_classes(
    train: Dataset, val: Dataset, labels: Sequence[str], *, is_new: bool
) -> Iterator[str]:
    """Yield what is odd about the classes of lists whose indices are those of `labels`.

    Args:
        train, val: the lists.
        labels: all classes.
        is_new: whether the head knows only what it will be shown.

    Raises:
        InputError: clips to validate by are of a class that a new head is never shown.
    """
    shown, asked = ({c for s in dataset for c in classes_of(s)} for dataset in (train, val))
    if not shown:
        raise InputError("no clip to train on has a class")
    strange = sorted(asked - shown)
    if strange and is_new:
        raise InputError(
            f"clips to validate by are of {_named(strange, labels)}, of which no clip is trained "
            "on; complete the training list, or take them out"
        )
    every = set(range(len(labels)))
    for what, missing in (("trained on", every - shown), ("validated by", shown - asked)):
        if missing:
            yield f"no clip is {what} of {_named(sorted(missing), labels)}"


def check_readable(*datasets: Dataset) -> Iterator[str]:
    """Open clips spread over each list; yield a note where some cannot be read.

    Raises:
        InputError: not one of them can.
    """
    for dataset in datasets:
        step = max(1, len(dataset) // PROBED)
        probed = dataset.samples[::step][:PROBED]
        errors = [error for sample in probed if (error := _error(sample.path.absolute()))]
        if errors and len(errors) == len(probed):
            raise InputError(f"none of {len(probed)} clips tried can be read; first: {errors[0]}")
        if errors:
            yield (
                f"{len(errors)} of {len(probed)} clips tried cannot be read and will be replaced "
                f"by others, as {errors[0]}"
            )


def _error(path: Path) -> str:
    """Return why the first frame of a clip cannot be read, "" where it can."""
    try:
        open_recording(path).sample(lambda count: [0])
    except (SourceError, OSError) as error:
        return str(error)
    return ""


def _named(classes: Sequence[int], labels: Sequence[str]) -> str:
    names = ", ".join(repr(labels[i]) for i in classes[:_NAMED])
    return names + (f" and {len(classes) - _NAMED} more classes" if classes[_NAMED:] else "")
