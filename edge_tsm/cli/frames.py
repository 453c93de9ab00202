"""`edge-tsm frames`: videos to frame folders and lists that upstream's code trains on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from edge_tsm.bundle.labels import read_labels
from edge_tsm.cli.progress import Progress
from edge_tsm.cli.table import layout
from edge_tsm.data.annotations import KINDS
from edge_tsm.data.catalog import Catalog, Clip, Skipped, hold_out, read_catalog
from edge_tsm.data.extract import Cut, Cutter
from edge_tsm.data.lists import SKIPPED_FILE, FrameLists
from edge_tsm.errors import InputError, SourceError
from edge_tsm.system.machine import usable_cores

MOST_NAMES = 3


@click.command()
@click.argument(
    "sources", metavar="SRC...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option(
    "--videos",
    type=click.Path(path_type=Path),
    help="Folder of an annotation's videos. [default: the annotation's own]",
)
@click.option(
    "--format",
    "kind",
    metavar="KIND",
    type=click.Choice(KINDS),
    help=f"{', '.join(KINDS)}. [default: by content]",
)
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Class names in order; only these are taken."
)
@click.option("--labels-only", is_flag=True, help="Lists of the videos themselves; cut nothing.")
@click.option(
    "--val-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Hold out so much of each class as val.txt, clip by clip.",
)
@click.option("--seed", default=0, show_default=True, help="Of --val-share.")
@click.option(
    "--short-side",
    type=click.IntRange(16, 8192),
    default=Cut.short_side_px,
    show_default=True,
    help="Pixels; smaller videos stay as they are.",
)
@click.option(
    "--quality", type=click.IntRange(1, 100), default=Cut.quality, show_default=True, help="JPEG's."
)
@click.option(
    "--fps",
    type=click.FloatRange(0, 1000, min_open=True),
    help="Thin to so many a second. [default: all]",
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Videos at a time. [default: cores]")
def frames(sources: tuple[Path, ...], target: Path, **options: Any) -> None:
    """Cut the videos of SRC into DST/…/img_00001.jpg, with lists as upstream has them.

    SRC is a folder of class folders (or of train, val and test with these in them), or annotation
    files: Kinetics csv or json, Something-Something and Jester csv or json, UCF101 and HMDB51
    splits, lists of `path class` or `path frames class`. Frame folders count as videos.

    DST gets labels.txt and train.txt, val.txt, … (or list.txt) with lines `path frames class`, and
    skipped.csv. Spaces in paths become _. Run it again to go on after an interruption.
    """
    catalog = _catalog(sources, options)
    if options["labels_only"]:
        lists, note = FrameLists(target, catalog, None), ""
        lines = {clip: f"{lists.path_of(clip)} {clip.label}" for clip in catalog.clips}
        skipped = list(catalog.skipped)
        uncut = [clip.name for clip in catalog.clips if clip.span_s]
        if uncut:
            note = f"; {len(uncut)} listed whole, whatever seconds are meant: {_first(uncut)}"
    else:
        _check_apart(target, [options["videos"], *sources])
        cut = Cut(options["short_side"], options["quality"], options["fps"])
        lists = FrameLists(target, catalog, cut)
        cutter = Cutter(target, cut, workers=options["workers"] or usable_cores())
        lines, failed = _cut(cutter, catalog)
        skipped = [*catalog.skipped, *failed]
        note = f" cut, {len(cutter.kept)} of them by an earlier run" if cutter.kept else " cut"
    written = lists.write(lines, skipped)
    if not lines:
        reasons = ", ".join(f"{len(found)} {reason}" for reason, found in _grouped(skipped))
        raise SourceError(f"no video to list: {reasons}; see {target / SKIPPED_FILE}")
    rows = [("format", ", ".join(catalog.formats)), ("videos", f"{len(lines)}{note}")]
    click.echo("\n".join(layout([*rows, *_summary(target, catalog, written, skipped)])))


def _cut(cutter: Cutter, catalog: Catalog) -> tuple[dict[Clip, str], list[Skipped]]:
    """Return lines of upstream's lists, and what could not be cut."""
    progress = Progress("videos")
    outcomes = cutter.run(catalog.clips, progress=progress)
    progress.clear()
    pairs = list(zip(catalog.clips, outcomes, strict=True))
    lines = {c: f"{c.name} {n} {c.label}" for c, n in pairs if not isinstance(n, Skipped)}
    return lines, [outcome for outcome in outcomes if isinstance(outcome, Skipped)]


def _catalog(sources: Sequence[Path], options: dict[str, Any]) -> Catalog:
    labels = read_labels(options["labels"]).names if options["labels"] else None
    catalog = read_catalog(sources, videos=options["videos"], kind=options["kind"], labels=labels)
    share = options["val_share"]
    return hold_out(catalog, share, seed=options["seed"]) if share else catalog


def _check_apart(target: Path, sources: Sequence[Path | None]) -> None:
    """Refuse to cut into the folder of the videos: a clip and its frames would be one name."""
    for source in filter(None, sources):
        if source.resolve() == target.resolve():
            raise InputError(f"DST is {source} itself; choose another folder, it may lie in that")


def _summary(
    target: Path, catalog: Catalog, written: dict[str, int], skipped: Sequence[Skipped]
) -> Iterator[tuple[str, str]]:
    """Yield rows of the table that says what was written, and what was not and why."""
    for reason, found in _grouped(skipped):
        yield "skipped", f"{len(found)} {reason}: {_first(found)}"
    empty = len(catalog.labels) - len({clip.label for clip in catalog.clips})
    note = f"; {empty} of them without a video" if empty else ""
    yield "classes", f"{len(catalog.labels)}: {_first(catalog.labels)}{note}"
    yield from (("written", f"{target / name}, {count} lines") for name, count in written.items())
    if skipped:
        yield "", f"{target / SKIPPED_FILE}: all that was skipped"


def _grouped(skipped: Sequence[Skipped]) -> list[tuple[str, list[str]]]:
    names = defaultdict[str, list[str]](list)
    for item in skipped:
        names[item.reason].append(item.name)
    return list(names.items())


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (", …" if len(names) > MOST_NAMES else "")
