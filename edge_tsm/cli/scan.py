"""`edge-tsm scan`: a timeline of the actions in long recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
import cloup

from edge_tsm.cli.messages import messages_to_stderr
from edge_tsm.cli.options import ADDRESS, Decorator, fetched, grouped
from edge_tsm.cli.outputs import RuleOptions, decision_options
from edge_tsm.cli.progress import Progress
from edge_tsm.cli.run import ModelOptions, model_options, variant_option
from edge_tsm.cli.table import layout
from edge_tsm.errors import SourceError
from edge_tsm.evaluation.models import OpenModel, open_models
from edge_tsm.scanning.clips import write_clips
from edge_tsm.scanning.formats import FORMATS, Output, clock
from edge_tsm.scanning.journal import ScanJournal
from edge_tsm.scanning.scan import ScanOptions, find, scan, scan_facts
from edge_tsm.scanning.timeline import Timeline
from edge_tsm.system.printable import printable

_POSITIVE = click.FloatRange(min=0, min_open=True)
_SCAN: tuple[Decorator, ...] = (
    click.option(
        "--window", "window_s", type=_POSITIVE, help="Seconds seen. [default: the card's]"
    ),
    click.option("--every", "every_s", type=_POSITIVE, help="Seconds apart. [default: the card's]"),
    click.option("--fps", type=_POSITIVE, help="Rate of folders of pictures. [default: 25]"),
    click.option(
        "--workers",
        type=click.IntRange(1, 64),
        help="Recordings read at once. [default: cores, at most 4]",
    ),
)


@dataclass(frozen=True)
class TimelineOptions:
    """Where a timeline goes, as the options below say."""

    output: str | None = None
    form: str | None = None
    clips: Path | None = None
    results: Path | None = None

    def target(self, recordings: int) -> Output | None:
        """Return where the timeline is to be written, None for nowhere.

        Raises:
            InputError, SinkError: see `Output.of`.
        """
        if self.output is None:
            return None
        folder = self.output.endswith("/")
        return Output.of(Path(self.output), self.form, recordings=recordings, folder=folder)


_OUTPUT: tuple[Decorator, ...] = (
    click.option(
        "-o",
        "--output",
        metavar="FILE|FOLDER/",
        help="Timeline of all recordings, or in a folder one of each.",
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(list(FORMATS)),
        help="Of the timeline. [default: by its suffix, else json]",
    ),
    click.option(
        "--clips",
        type=click.Path(path_type=Path, file_okay=False),
        help="Cut a clip of every action into this folder.",
    ),
    click.option(
        "--results",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Keep answers here (JSON lines); the same command goes on with them.",
    ),
)
_EXAMPLES = """\b
Examples:
  edge-tsm scan gestures.bundle day.mp4 -o day.json
  edge-tsm scan gestures.bundle recordings/ -o timelines/ --format vtt
  edge-tsm scan gestures.bundle day.mp4 --results r.jsonl --on 0.8 --clips cut/
"""


@cloup.command("scan", epilog=_EXAMPLES)
@click.argument("address", metavar="BUNDLE", type=ADDRESS)
@click.argument(
    "videos", metavar="VIDEO...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@grouped("options", ScanOptions, _SCAN, title="Windows")
@decision_options
@grouped("outputs", TimelineOptions, _OUTPUT, title="Where the timeline goes")
@cloup.option_group("Model", variant_option)
@model_options
def scan_command(
    address: str | Path,
    videos: Sequence[Path],
    options: ScanOptions,
    rules: RuleOptions,
    outputs: TimelineOptions,
    model: ModelOptions,
) -> None:
    """Find the actions in recordings with BUNDLE, as live video would have told of them.

    VIDEO is a video, a folder of pictures, or a folder in which videos are searched. Times are
    those of the recording: an action starts at the end of the first window that speaks for it.

    Answers kept by --results serve a second scan by other rules, without looking again.
    Recordings that cannot be read, or not whole, are told; the others go on, and the exit code is
    then 4.
    """
    progress = Progress("scanning")
    with ExitStack() as stack:
        stack.enter_context(messages_to_stderr())
        stack.callback(progress.clear)
        bundle = fetched(address)
        paths, _ = find(videos)
        target = outputs.target(len(paths))
        opened = stack.enter_context(
            open_models(
                {"model": bundle}, options=model.runtime, engine=model.engine, variant=model.variant
            )
        )["model"]
        chosen = rules.chosen(bundle, opened.recognizer.card.labels, (), needed=True)
        click.echo(printable(f"{bundle.name}: {opened.file}"), err=True)
        journal = _journal(opened, options, outputs.results, stack)
        timeline = scan(
            opened.recognizer,
            videos,
            options=options,
            rules=chosen,
            journal=journal,
            progress=progress.share,
        )
    _report(timeline, outputs, target)


def _journal(
    model: OpenModel, options: ScanOptions, path: Path | None, stack: ExitStack
) -> ScanJournal | None:
    if path is None:
        return None
    return stack.enter_context(ScanJournal(path, scan_facts(model, options)))


def _report(timeline: Timeline, outputs: TimelineOptions, target: Output | None) -> None:
    """Write what is asked for, and tell the rest.

    Raises:
        SourceError: not all could be read.
    """
    for line in _remarks(timeline):
        click.echo(printable(line), err=True)
    if target is None:
        click.echo("\n".join(_table(timeline)))
    else:
        for path in target.write(timeline):
            click.echo(printable(str(path)))
    if outputs.clips is not None:
        cutting = Progress("cutting clips")
        made = write_clips(timeline, outputs.clips, progress=cutting)
        cutting.clear()
        click.echo(printable(f"{len(made)} clips in {outputs.clips}"), err=True)
    click.echo(_summary(timeline), err=True)
    if lost := timeline.not_whole:
        raise SourceError(
            f"{len(lost)} of {len(timeline.files)} recordings could not be read whole"
        )


def _remarks(timeline: Timeline) -> Iterator[str]:
    yield from timeline.notes
    for file in timeline.files:
        if file.error:
            yield f"unreadable: {file.error}"
        if file.damage:
            yield f"damaged: {file.path}: {file.damage}"
        if file.note:
            yield f"{file.path}: {file.note}"


def _table(timeline: Timeline) -> list[str]:
    """Return a line per action: recording, start, end, score, label."""
    several = len(timeline.files) > 1
    rows = [
        (
            *([path.name] if several else []),
            clock(event.start_s)[:-2],
            clock(event.told_s)[:-2],
            f"{event.score:.0%}",
            event.label,
        )
        for path, event in timeline.actions
    ]
    head = (*(["recording"] if several else []), "start", "end", "score", "action")
    return layout([head, *rows]) if rows else ["no actions"]


def _summary(timeline: Timeline) -> str:
    actions, files = len(timeline.actions), len(timeline.files)
    text = f"{actions} action{'s' * (actions != 1)} in {files} recording{'s' * (files != 1)}"
    if timeline.scanned_s:
        video, took = (clock(round(s))[:-4] for s in (timeline.scanned_s, timeline.seconds))
        text += f": {video} of video in {took}, {timeline.speed:.1f} times real time"
    return text
