"""`edge-tsm frames`: videos to frame folders and lists that upstream's code trains on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cloup

from edge_tsm.cli.lists import LIST_OPTIONS
from edge_tsm.cli.options import Decorator
from edge_tsm.cli.progress import Progress
from edge_tsm.cli.table import layout
from edge_tsm.data.annotations import KINDS
from edge_tsm.data.extract import Cut
from edge_tsm.data.frames import Selection, Summary, by_reason, write_frames, write_lists
from edge_tsm.data.listing import Roles
from edge_tsm.system.machine import usable_cores

MOST_NAMES = 3


_VIDEOS: tuple[Decorator, ...] = (
    click.option(
        "--videos",
        type=click.Path(path_type=Path),
        help="Folder of an annotation's videos. [default: the annotation's own]",
    ),
    click.option(
        "--format",
        "kind",
        metavar="KIND",
        type=click.Choice(KINDS),
        help=f"{', '.join(KINDS)}. [default: by content]",
    ),
    click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="FILE|SET",
        help="Class names in order; only these are taken.",
    ),
    *LIST_OPTIONS,
    click.option(
        "--val-share",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Hold out so much of each class as val.txt, clip by clip.",
    ),
    click.option("--seed", default=0, show_default=True, help="Of --val-share."),
)
_PICTURES: tuple[Decorator, ...] = (
    click.option(
        "--labels-only", is_flag=True, help="Lists of the videos themselves; cut nothing."
    ),
    click.option(
        "--short-side",
        type=click.IntRange(16, 8192),
        default=Cut.short_side_px,
        show_default=True,
        help="Pixels; smaller videos stay as they are.",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        default=Cut.quality,
        show_default=True,
        help="JPEG's.",
    ),
    click.option(
        "--fps",
        type=click.FloatRange(0, 1000, min_open=True),
        help="Thin to so many a second. [default: all]",
    ),
    click.option(
        "--workers", type=click.IntRange(1, 1024), help="Videos at a time. [default: cores]"
    ),
)
_EXAMPLES = """\b
Examples:
  edge-tsm frames videos/ frames/ --val-share 0.25
  edge-tsm frames train.csv val.csv frames/ --videos kinetics/
"""


@cloup.command(epilog=_EXAMPLES)
@click.argument(
    "sources", metavar="SRC...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@cloup.option_group("Videos and classes", *_VIDEOS)
@cloup.option_group("Pictures", *_PICTURES)
def frames(sources: tuple[Path, ...], target: Path, **options: Any) -> None:
    """Cut the videos of SRC into DST/…/img_00001.jpg, with lists as upstream has them.

    SRC is a folder of class folders (or of train, val and test with these in them), or annotation
    files: Kinetics csv or json, Something-Something and Jester csv or json, UCF101 and HMDB51
    splits, lists of `path class` or `path frames class`. Frame folders count as videos.

    DST gets labels.txt and train.txt, val.txt, … (or list.txt) with lines `path frames class`, and
    skipped.csv. Spaces in paths become _. Run it again to go on after an interruption.
    """
    given = _Given(**options)
    selection, cut = given.selection(sources), given.cut()
    if given.labels_only:
        summary = write_lists(selection, target)
    else:
        progress, workers = Progress("videos"), given.workers or usable_cores()
        try:
            summary = write_frames(selection, target, cut, workers=workers, progress=progress)
        finally:
            progress.clear()
    click.echo("\n".join(layout(_rows(summary, cut=not given.labels_only))))


@dataclass(frozen=True)
class _Given:
    """The options, as click parses them."""

    videos: Path | None
    kind: str | None
    labels: Path | None
    labels_only: bool
    val_share: float | None
    seed: int
    columns: Roles | None
    first_class: int | None
    short_side: int
    quality: int
    fps: float | None
    workers: int | None

    def selection(self, sources: tuple[Path, ...]) -> Selection:
        return Selection(
            sources,
            self.videos,
            self.kind,
            self.labels,
            self.val_share,
            seed=self.seed,
            columns=self.columns,
            first_class=self.first_class,
        )

    def cut(self) -> Cut:
        return Cut(self.short_side, self.quality, self.fps)


def _rows(summary: Summary, *, cut: bool) -> Iterator[tuple[str, str]]:
    """Yield the table that says what was written, and what was not and why."""
    catalog = summary.catalog
    yield "format", ", ".join(catalog.formats)
    for reading in catalog.readings:
        yield "read", str(reading)
    yield "videos", f"{summary.listed}{_note(summary, cut=cut)}"
    for reason, names in by_reason(summary.skipped).items():
        yield "skipped", f"{len(names)} {reason}: {_first(names)}"
    empty = summary.empty_classes
    note = f"; {empty} of them without a video" if empty else ""
    yield "classes", f"{len(catalog.labels)}: {_first(catalog.labels)}{note}"
    for name, count in summary.written.items():
        yield "written", f"{summary.target / name}, {count} lines"
    if summary.skipped:
        yield "", f"{summary.skipped_file}: all that was skipped"


def _note(summary: Summary, *, cut: bool) -> str:
    if cut:
        return f" cut, {summary.earlier} of them by an earlier run" if summary.earlier else " cut"
    if not summary.whole:
        return ""
    return f"; {len(summary.whole)} listed whole, though a part is meant: {_first(summary.whole)}"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (", …" if len(names) > MOST_NAMES else "")
