"""`edge-tsm run`: answers from videos, folders of images, cameras and streams."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click

from edge_tsm.actions.rules import RULES_FILE
from edge_tsm.cli.inputs import input_options, is_same_file, open_inputs, uris, window_s
from edge_tsm.cli.messages import messages_to_stderr
from edge_tsm.cli.options import collect, find_bundle, runtime_options
from edge_tsm.cli.outputs import Outputs, open_outputs, output_options
from edge_tsm.cli.progress import Progress
from edge_tsm.datatypes import Frame
from edge_tsm.errors import InputError, SinkError
from edge_tsm.inference.loading import load
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.capture import CaptureOptions
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.worker import Feed, OnFrame
from edge_tsm.service.stats import Stats
from edge_tsm.service.supervisor import Watchman
from edge_tsm.service.systemd import Service
from edge_tsm.sinks import check_video_path, write_annotated
from edge_tsm.sources import Recorder, Source
from edge_tsm.system.redact import redact

_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@input_options
@click.option("--window", type=_POSITIVE, help="Live: seconds seen.")
@click.option("--every", type=_POSITIVE, help="Live: seconds apart.")
@click.option("--duration", type=_POSITIVE, help="Live: stop after so many seconds.")
@click.option("--max-answers", type=click.IntRange(min=1), help="Stop after so many answers.")
@click.option("--stats", type=_POSITIVE, help="Live: tell rates and delays every N seconds.")
@click.option("--save", type=click.Path(path_type=Path), help="Annotated video (.mp4 or .avi).")
@click.option("--force", is_flag=True, help="Let --save replace an existing file.")
@click.option(
    "--record", type=click.Path(path_type=Path), help="Live: keep the frames in a new FOLDER."
)
@output_options
@click.option(
    "--variant",
    default="auto",
    show_default=True,
    help="File of the bundle, as model.int8.onnx; auto: the fastest that is right.",
)
@runtime_options
def run(bundle: Path | None, **arguments: Any) -> None:
    """Classify videos, cameras and streams with BUNDLE (default: the only one here).

    A file gives one answer, on frames spread over all of it. A camera gives one every --every
    seconds, on the last --window seconds; Ctrl-C ends it. An online model (the card
    says so) steps on a frame --fps times a second instead, and needs no window.

    \b
    SOURCE and CAMERA are
      clip.mp4  frames/  'frames/*.png'  frames/img_%05d.jpg
      0  /dev/v4l/by-id/…  csi://0  rtsp://…  http://…  tcp://…  udp://…
      'v4l2src ! videoconvert' (a GStreamer pipeline)  av:URI (through PyAV)
      - (PPM or raw frames on stdin)  test://640x480/30
      replay:FOLDER (of --record)  replay:clip.mp4 (as if it were live)
    """
    _check_files(arguments)
    options = collect(arguments)
    with ExitStack() as stack:
        messages = stack.enter_context(messages_to_stderr())
        sources, capture = open_inputs(
            arguments, lambda source: stack.enter_context(closing(source))
        )
        bundle = find_bundle(bundle)
        recognizer = stack.enter_context(
            load(
                bundle,
                engine=arguments["engine"],
                options=options,
                variant=arguments["variant"],
            )
        )
        if not arguments["as_json"]:
            _tell(recognizer)
        live = any(source.live for source in sources)
        if arguments["record"] and not live:
            raise InputError("--record is for live sources")
        film = (arguments["save"], sources[0].fps) if arguments["save"] and live else None
        rules = bundle / RULES_FILE
        arguments["own_rules"] = rules if rules.is_file() else None
        outputs = stack.enter_context(
            open_outputs(
                arguments,
                recognizer.card.labels,
                live=live,
                several=len(sources) > 1,
                film=film,
                clock=capture.clock,
            )
        )
        messages.lift = outputs.lift
        lines = [Progress(f"decoding {Path(source.uri).name}") for source in sources]
        on_frame = _on_frame(outputs, _recorder(stack, arguments))
        pipeline = Pipeline(
            [Feed(s, on_frame(s), line) for s, line in zip(sources, lines, strict=True)],
            recognizer,
            window_s=window_s(recognizer.card, arguments),
            every_s=arguments["every"],
            capture=capture,
        )
        with _terminated_cleanly(live):
            _answer(pipeline, outputs, sources, arguments, capture, lines)


def _tell(recognizer: Recognizer) -> None:
    backend, variant = recognizer.backend, recognizer.variant
    file = f" ({variant.file.path})" if variant else ""
    click.echo(f"{recognizer.card.name}{file} on {backend.engine} {backend.device}", err=True)


def _check_files(arguments: dict[str, Any]) -> None:
    """Refuse before any work what could not be saved, or would destroy something."""
    named, save, record = uris(arguments), arguments["save"], arguments["record"]
    for name in ("save", "record"):
        if arguments[name] and len(named) > 1:
            raise InputError(f"--{name} takes one source, got {len(named)}")
    if record and record.exists():
        raise SinkError(f"{record} exists; record to a new folder")
    if save is None:
        return
    check_video_path(save)
    if is_same_file(save, named[0]):
        raise SinkError(f"{save} is the source itself; save under another name")
    if save.exists() and not arguments["force"]:
        raise SinkError(f"{save} exists; pass --force to replace it, or another name")


def _recorder(stack: ExitStack, arguments: dict[str, Any]) -> Recorder | None:
    folder = arguments["record"]
    return stack.enter_context(closing(Recorder(folder))) if folder else None


def _on_frame(outputs: Outputs, recorder: Recorder | None) -> Callable[[Source], OnFrame]:
    """Return what makes, for a source, what is to be done with each of its live frames."""

    def of_source(source: Source) -> OnFrame:
        shown = redact(source.uri)

        def on_frame(frame: Frame) -> None:
            outputs.frame(frame, shown)
            if recorder is not None:
                recorder.write(frame)

        return on_frame

    return of_source


def _answer(
    pipeline: Pipeline,
    outputs: Outputs,
    sources: list[Source],
    arguments: dict[str, Any],
    capture: CaptureOptions,
    lines: Sequence[Progress],
) -> None:
    """Write every answer, until the sources end, or somebody or something ends them."""
    clock = capture.clock
    stats, service = Stats(clock.now()), Service.from_environment()
    live = any(source.live for source in sources)
    watchman = Watchman(
        pipeline,
        outputs,
        stats,
        duration_s=arguments["duration"],
        stats_s=arguments["stats"],
        clock=clock,
    )
    with ExitStack() as stack:
        stack.callback(service.stopping)
        if live:
            stack.enter_context(watchman)
        answers = stack.enter_context(closing(iter(pipeline)))
        for prediction in islice(answers, arguments["max_answers"]):
            for line in lines:
                line.clear()
            outputs.write(prediction, prediction.source or "")
            stats.add(prediction)
            service.answered(clock.now())
            if arguments["save"] and not live:
                write_annotated(arguments["save"], sources[0], prediction, fps=sources[0].fps)


@contextmanager
def _terminated_cleanly(live: bool) -> Iterator[None]:
    """Let SIGTERM end a live run as a success: that is how a service is stopped."""
    if not live:
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
