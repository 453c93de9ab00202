"""`edge-tsm run`: answers from videos, folders of images and cameras."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Any

import click

from edge_tsm.card import Card
from edge_tsm.cli.options import collect, find_bundle, runtime_options
from edge_tsm.cli.progress import Progress
from edge_tsm.datatypes import Prediction
from edge_tsm.errors import InputError, SinkError
from edge_tsm.pipeline import Pipeline
from edge_tsm.recognizer import Recognizer, load
from edge_tsm.sinks import (
    AnnotatedVideo,
    JsonLines,
    Sink,
    Terminal,
    check_video_path,
    write_annotated,
)
from edge_tsm.sources import Source, open_source


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--source", "sources", multiple=True, help="Video or folder of images; repeatable.")
@click.option("--camera", help="Camera index, or /dev/video path.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per answer and line.")
@click.option("--save", type=click.Path(path_type=Path), help="Annotated video (.mp4 or .avi).")
@click.option("--force", is_flag=True, help="Let --save replace an existing file.")
@click.option("--window", type=click.FloatRange(min=0, min_open=True), help="Live: seconds seen.")
@click.option("--every", type=click.FloatRange(min=0, min_open=True), help="Live: seconds apart.")
@click.option(
    "--fps", type=click.FloatRange(min=0, min_open=True), help="Live, online models: steps/s."
)
@click.option("--max-answers", type=click.IntRange(min=1), help="Stop after so many answers.")
@click.option(
    "--variant",
    default="auto",
    show_default=True,
    help="File of the bundle, as model.int8.onnx; auto: the fastest that is right.",
)
@runtime_options
def run(bundle: Path | None, **arguments: Any) -> None:
    """Classify videos or a camera with BUNDLE (default: the only one in this folder).

    A file gives one answer, on frames spread over all of it. A camera gives one every --every
    seconds, on the last --window seconds; Ctrl-C ends it. An online model (the card
    says so) steps on a frame --fps times a second instead, and needs no window.
    """
    camera = arguments["camera"]
    cameras = [int(camera) if camera.isdecimal() else camera] if camera else []
    uris = [*arguments["sources"], *cameras]
    if not uris:
        raise InputError("nothing to look at: pass --source FILE or --camera 0")
    _check_save(arguments["save"], uris, force=arguments["force"])
    options = collect(arguments)
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(open_source(uri))) for uri in uris]
        recognizer = stack.enter_context(
            load(
                find_bundle(bundle),
                engine=arguments["engine"],
                options=options,
                variant=arguments["variant"],
            )
        )
        sink: Sink = JsonLines(sys.stdout) if arguments["as_json"] else Terminal(sys.stdout)
        if not arguments["as_json"]:
            backend, variant = recognizer.backend, recognizer.variant
            file = f" ({variant.file.path})" if variant else ""
            click.echo(
                f"{recognizer.card.name}{file} on {backend.engine} {backend.device}", err=True
            )
        for source in opened:
            with closing(_answers(source, recognizer, arguments)) as answers:
                for prediction in islice(answers, arguments["max_answers"]):
                    sink.write(prediction, source.uri)


def _check_save(save: Path | None, uris: list[str | int], *, force: bool) -> None:
    """Refuse before any work what could not be saved, or would destroy something."""
    if save is None:
        return
    if len(uris) > 1:
        raise InputError(f"--save takes one source, got {len(uris)}")
    check_video_path(save)
    if save.exists() and Path(str(uris[0])).exists() and save.samefile(str(uris[0])):
        raise SinkError(f"{save} is the source itself; save under another name")
    if save.exists() and not force:
        raise SinkError(f"{save} exists; pass --force to replace it, or another name")


def _window_s(card: Card, arguments: dict[str, Any]) -> float | None:
    """Return the seconds that --window names, or --fps for an online model's steps."""
    fps: float | None = arguments["fps"]
    window_s: float | None = arguments["window"]
    if fps is None:
        return window_s
    if card.streaming is None or window_s is not None:
        hint = "or --window, not both" if card.streaming else "this one takes --window"
        raise InputError(f"--fps is for online models; {hint}")
    return card.streaming.horizon / fps


def _answers(
    source: Source, recognizer: Recognizer, arguments: dict[str, Any]
) -> Generator[Prediction, None, None]:
    """Yield answers, and save the pictures: a camera's as they come, a file's with its answer."""
    save, progress = arguments["save"], Progress(f"decoding {Path(source.uri).name}")
    with ExitStack() as stack:
        film = AnnotatedVideo(save, fps=source.fps) if save and source.live else None
        pipeline = Pipeline(
            source,
            recognizer,
            window_s=_window_s(recognizer.card, arguments),
            every_s=arguments["every"],
            on_frame=stack.enter_context(closing(film)).write if film else None,
            progress=progress,
        )
        stack.callback(_tell_dropped, pipeline)
        for prediction in pipeline:
            progress.clear()
            if film:
                film.prediction = prediction
            yield prediction
            if save and not film:
                write_annotated(save, source, prediction, fps=source.fps)


def _tell_dropped(pipeline: Pipeline) -> None:
    if pipeline.dropped:
        click.echo(f"{pipeline.dropped} frames came while the model was busy; --fps?", err=True)
