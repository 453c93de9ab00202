"""From videos to what upstream's code trains on: frame folders and lists, or lists alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_tsm.bundle.data_sets import SORTED_UPSTREAM
from edge_tsm.bundle.labels import Labels, read_labels
from edge_tsm.data.catalog import (
    Catalog,
    CatalogClip,
    ListForm,
    Skipped,
    hold_out,
    read_catalog,
)
from edge_tsm.data.extract import Cut, Cutter
from edge_tsm.data.listing import Roles
from edge_tsm.data.lists import SKIPPED_FILE, FrameLists
from edge_tsm.errors import InputError, SourceError
from edge_tsm.sources import OnProgress


@dataclass(frozen=True)
class Selection:
    """Which videos are taken; see `read_catalog` and `hold_out`.

    `labels` is a file of class names in order, or a data set's built-in ones; only these classes
    are taken. `val_share` of each class, by `seed`, become the split val. `columns` and
    `first_class` are of lists, see `read_dataset`.
    """

    sources: tuple[Path, ...]
    videos: Path | None = None
    kind: str | None = None
    labels: Path | None = None
    val_share: float | None = None
    seed: int = 0
    columns: Roles | None = None
    first_class: int | None = None

    @property
    def given_labels(self) -> Labels | None:
        """The classes in `labels`, in the order in which upstream trains on them, if given."""
        if self.labels is None:
            return None
        return read_labels(self.labels).of_code_base("upstream", SORTED_UPSTREAM)

    def catalog(self) -> Catalog:
        """Find the videos.

        Raises:
            InputError: a source, or the file of labels, that cannot be used.
        """
        labels = self.given_labels
        form = ListForm(self.kind, self.columns, self.first_class)
        catalog = read_catalog(
            self.sources, videos=self.videos, form=form, labels=labels.names if labels else None
        )
        if labels and labels.reading:
            catalog = replace(catalog, readings=(*catalog.readings, labels.reading))
        return hold_out(catalog, self.val_share, seed=self.seed) if self.val_share else catalog


@dataclass(frozen=True)
class Summary:
    """What a run wrote to `target`.

    `written` has the lines of each list; `listed` clips are in them, `earlier` of these were cut by
    an earlier run. `whole` names clips that are listed as whole recordings though only a part of
    each is meant.
    """

    target: Path
    catalog: Catalog
    written: Mapping[str, int]
    listed: int
    skipped: tuple[Skipped, ...]
    earlier: int = 0
    whole: tuple[str, ...] = ()

    @property
    def skipped_file(self) -> Path:
        """The file that names all that was skipped, if anything was."""
        return self.target / SKIPPED_FILE

    @property
    def empty_classes(self) -> int:
        """How many classes have no video."""
        return len(self.catalog.labels) - len({clip.label for clip in self.catalog.clips})


def write_lists(selection: Selection, target: Path) -> Summary:
    """Write lists of the videos themselves.

    Raises:
        InputError: sources or target cannot be used.
        SourceError: no video was found.
        SinkError: the target cannot be written.
    """
    catalog = selection.catalog()
    lists = FrameLists(target, catalog, None)
    lines = {clip: f"{lists.path_of(clip)} {clip.label}" for clip in catalog.clips}
    written = lists.write(lines, catalog.skipped)
    _refuse_none(lines, catalog.skipped, target)
    whole = tuple(clip.name for clip in catalog.clips if clip.span_s)
    return Summary(target, catalog, written, len(lines), catalog.skipped, whole=whole)


def write_frames(
    selection: Selection,
    target: Path,
    cut: Cut,
    *,
    workers: int,
    progress: OnProgress | None = None,
) -> Summary:
    """Cut the videos into pictures, `workers` at a time, and write lists of the frame folders.

    `progress` is called with (videos done, videos). A run that was interrupted goes on.

    Raises:
        InputError: sources or target cannot be used, or an earlier run had other settings.
        SourceError: no video could be cut.
        SinkError: the target cannot be written.
    """
    catalog = selection.catalog()
    _check_apart(target, [selection.videos, *selection.sources])
    lists, cutter = FrameLists(target, catalog, cut), Cutter(target, cut, workers=workers)
    lines, skipped = dict[CatalogClip, str](), list(catalog.skipped)
    results = cutter.run(catalog.clips, progress=progress)
    for clip, result in zip(catalog.clips, results, strict=True):
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            lines[clip] = f"{clip.name} {result} {clip.label}"
    written = lists.write(lines, skipped)
    _refuse_none(lines, skipped, target)
    return Summary(target, catalog, written, len(lines), tuple(skipped), len(cutter.kept))


def by_reason(skipped: Sequence[Skipped]) -> dict[str, list[str]]:
    """Return the names of what was skipped, by reason."""
    names = defaultdict[str, list[str]](list)
    for item in skipped:
        names[item.reason].append(item.name)
    return dict(names)


def _check_apart(target: Path, sources: Sequence[Path | None]) -> None:
    """Refuse to cut into the folder of the videos: a clip and its frames would have one name."""
    for source in filter(None, sources):
        if source.resolve() == target.resolve():
            raise InputError(f"DST is {source} itself; choose another folder, it may be inside")


def _refuse_none(
    lines: Mapping[CatalogClip, str], skipped: Sequence[Skipped], target: Path
) -> None:
    if not lines:
        reasons = ", ".join(f"{len(names)} {why}" for why, names in by_reason(skipped).items())
        raise SourceError(f"no video to list: {reasons}; see {target / SKIPPED_FILE}")
