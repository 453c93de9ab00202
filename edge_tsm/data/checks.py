"""Lists checked whole, before hours of work start: files, frame counts, where classes begin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from edge_tsm.data.clips import Dataset, Sample
from edge_tsm.errors import SourceError
from edge_tsm.sources import Pictures, pictures_of
from edge_tsm.system.tables import are, clip, count

MOST_NAMED = 3


def check_files(dataset: Dataset, *, skip_missing: bool = False) -> tuple[str, ...]:
    """Look for every clip of a list, and return what looks odd, for a person to read.

    Frame folders are counted: a list's frame count that is not theirs, and folders that hold other
    pictures too, are named. Nothing is decoded.

    Raises:
        SourceError: clips are missing, unless `skip_missing`; or a folder without one clip in it.
    """
    missing = [sample for sample in dataset if not sample.path.exists()]
    if missing and not skip_missing:
        raise SourceError(
            f"{len(missing)} of {count(len(dataset), 'clip')} {are(len(missing))} missing: "
            f"{_named(missing)}; looked for {missing[0].path}: pass --root FOLDER where paths "
            "start, or --skip-missing to go on without"
        )
    gone = (f"{count(len(missing), 'clip')} missing: {_named(missing)}",) if missing else ()
    return (*dataset.notes, *gone, *_from_one(dataset), *_folders(dataset, skip_missing))


def _from_one(dataset: Dataset) -> Iterator[str]:
    """Yield a warning where classes seem to count from 1, within the model's though."""
    numbers = {sample.label for sample in dataset}
    if dataset.labels is None and min(numbers) == 1 and len(numbers) == max(numbers) > 1:
        yield (
            f"classes run from 1 to {max(numbers)}, no clip is of class 0; if they count from 1, "
            "pass --first-class 1"
        )


def _folders(dataset: Dataset, skip_missing: bool) -> Iterator[str]:
    """Yield what is odd about the frame folders of a list.

    Raises:
        SourceError: a folder that is no clip, unless such may be skipped.
    """
    found = list[tuple[Sample, Pictures]]()
    for sample in dataset:
        try:
            found += [(sample, pictures_of(sample.path))] if sample.path.is_dir() else []
        except SourceError as error:
            if not skip_missing:
                raise
            yield str(error)
    yield from _other_pictures([pictures.note for _, pictures in found if pictures.note])
    yield from _other_counts([(sample, len(pictures.files)) for sample, pictures in found])


def _other_pictures(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        note, times = Counter(notes).most_common(1)[0]
        others = len(notes) - times
        rest = f" and {count(others, 'folder')} alike" if others else ""
        yield f"{count(times, 'folder')} with other pictures: {note}{rest}"


def _other_counts(counts: Sequence[tuple[Sample, int]]) -> Iterator[str]:
    differ = [(sample, real) for sample, real in counts if sample.frames not in (None, real)]
    if differ:
        sample, real = differ[0]
        yield (
            f"{count(len(differ), 'clip')} with another frame count than listed, as "
            f"{clip(sample.name)}: {sample.frames} listed, {real} found; the first listed ones are "
            "used, as upstream does"
        )


def _named(samples: Sequence[Sample]) -> str:
    named = (f"{clip(s.name)}" + (f" (line {s.line})" if s.line else "") for s in samples)
    return ", ".join(list(named)[:MOST_NAMED]) + (", …" if len(samples) > MOST_NAMED else "")
