"""`edge-tsm run`: answers from videos, folders of images and cameras."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Any

import click

from edge_tsm.cli.options import collect, find_bundle, runtime_options
from edge_tsm.cli.progress import Progress
from edge_tsm.datatypes import Frame, Prediction
from edge_tsm.errors import InputError
from edge_tsm.pipeline import Pipeline
from edge_tsm.recognizer import Recognizer, load
from edge_tsm.sinks import AnnotatedVideo, JsonLines, Sink, Terminal, write_annotated
from edge_tsm.sources import Source, open_source


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--source", "sources", multiple=True, help="Video or folder of images; repeatable.")
@click.option("--camera", help="Camera index, or /dev/video path.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per answer and line.")
@click.option("--save", type=click.Path(path_type=Path), help="Annotated video (.mp4 or .avi).")
@click.option("--window", type=click.FloatRange(min=0, min_open=True), help="Live: seconds seen.")
@click.option("--every", type=click.FloatRange(min=0, min_open=True), help="Live: seconds apart.")
@click.option("--max-answers", type=click.IntRange(min=1), help="Stop after so many answers.")
@runtime_options
def run(bundle: Path | None, **arguments: Any) -> None:
    """Classify videos or a camera with BUNDLE (default: the only one in this folder).

    A file gives one answer, on frames spread over all of it. A camera gives one every --every
    seconds, on the last --window seconds; Ctrl-C ends it.
    """
    uris = [*arguments["sources"], *([arguments["camera"]] if arguments["camera"] else [])]
    if not uris:
        raise InputError("nothing to look at: pass --source FILE or --camera 0")
    if arguments["save"] and len(uris) > 1:
        raise InputError(f"--save takes one source, got {len(uris)}")
    options = collect(arguments)
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(open_source(uri))) for uri in uris]
        recognizer = stack.enter_context(
            load(find_bundle(bundle), engine=arguments["engine"], options=options)
        )
        sink: Sink = JsonLines(sys.stdout) if arguments["as_json"] else Terminal(sys.stdout)
        if not arguments["as_json"]:
            backend = recognizer.backend
            click.echo(f"{recognizer.card.name} on {backend.engine} {backend.device}", err=True)
        for source in opened:
            for prediction in islice(_answers(source, recognizer, arguments), _most(arguments)):
                sink.write(prediction, source.uri)


def _most(arguments: dict[str, Any]) -> int | None:
    most: int | None = arguments["max_answers"]
    return most


def _answers(
    source: Source, recognizer: Recognizer, arguments: dict[str, Any]
) -> Iterator[Prediction]:
    save: Path | None = arguments["save"]
    if source.live and save:
        return _live_saved(source, recognizer, arguments, save)
    return _plain(source, recognizer, arguments)


def _plain(
    source: Source, recognizer: Recognizer, arguments: dict[str, Any]
) -> Iterator[Prediction]:
    progress = Progress(f"decoding {Path(source.uri).name}")
    pipeline = Pipeline(
        source,
        recognizer,
        window_s=arguments["window"],
        every_s=arguments["every"],
        progress=progress,
    )
    for prediction in pipeline:
        progress.clear()
        yield prediction
        if arguments["save"]:
            write_annotated(arguments["save"], source, prediction, fps=source.fps)


def _live_saved(
    source: Source, recognizer: Recognizer, arguments: dict[str, Any], save: Path
) -> Iterator[Prediction]:
    """Answers of a camera, every frame going to a video with the answer of that moment."""
    video, latest = AnnotatedVideo(save, fps=source.fps), list[Prediction]()

    def draw(frame: Frame) -> None:
        video.write(frame, latest[-1] if latest else None)

    pipeline = Pipeline(
        source,
        recognizer,
        window_s=arguments["window"],
        every_s=arguments["every"],
        on_frame=draw,
    )
    with closing(video), closing(iter(pipeline)) as predictions:  # type: ignore[type-var]
        for prediction in predictions:
            latest[:] = [prediction]
            yield prediction
