"""`edge-tsm run`: answers from videos, folders of images, cameras and streams."""

from __future__ import annotations

import functools
import math
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import cloup

from edge_tsm import __version__
from edge_tsm.backends import RuntimeOptions
from edge_tsm.cli.inputs import InputOptions, input_options, is_same_file
from edge_tsm.cli.messages import messages_to_stderr
from edge_tsm.cli.options import ADDRESS, Decorator, collect, find_bundle, grouped, runtime_options
from edge_tsm.cli.outputs import OutputOptions, RuleOptions, output_options, rule_options
from edge_tsm.cli.page import PageOptions, page_options
from edge_tsm.cli.progress import Progress
from edge_tsm.errors import InputError, SinkError
from edge_tsm.inference.loading import load
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.throughput import Aim
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.worker import SourceInput
from edge_tsm.service.monitor import Monitor
from edge_tsm.service.running import Running
from edge_tsm.service.supervisor import Supervisor, Watch
from edge_tsm.sinks import Dispatcher, Route, open_routes
from edge_tsm.sinks.run import RunFacts
from edge_tsm.sources import SCHEMES
from edge_tsm.system.printable import printable
from edge_tsm.system.secrets import warn_of_visible_password, warn_of_visible_secrets

if TYPE_CHECKING:
    from edge_tsm.service.web.page import Page

_POSITIVE = click.FloatRange(min=0, min_open=True)


@dataclass(frozen=True)
class PaceOptions:
    """When there are answers, and when there are enough, as the options below say."""

    window: float | None = None
    every: float | None = None
    duration: float | None = None
    max_answers: int | None = None
    stats: float | None = None

    def watch(self) -> Watch:
        """Return when a live run ends, and how often its figures are logged."""
        return Watch(self.duration or math.inf, self.stats or math.inf)


@dataclass(frozen=True)
class ModelOptions:
    """Which file of the bundle answers, and what runs it."""

    variant: str = "auto"
    engine: str | None = None
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    aim: Aim | None = None


@dataclass(frozen=True)
class ServiceOptions:
    """Who may look at a run from outside, as the options below say."""

    metrics: str | None = None

    def serve(self, monitor: Monitor, stack: ExitStack, page: Page | None) -> None:
        """Serve what is asked for until `stack` ends; on a `page`, before it answers, in any case.

        Raises:
            InputError: no address, or what it needs is not installed.
            SinkError: it cannot be listened there.
        """
        if page is None and self.metrics is None:
            return
        from edge_tsm.service.endpoints import Endpoints, MetricsServer

        endpoints = Endpoints(monitor)
        if page is not None:
            from edge_tsm.service.web.health_api import health_routes

            page.server.add(health_routes(endpoints))
        if self.metrics is not None:
            stack.enter_context(MetricsServer(endpoints, self.metrics))


@dataclass(frozen=True)
class RunOptions:
    """All that `run` can be asked for."""

    inputs: InputOptions = field(default_factory=InputOptions)
    pace: PaceOptions = field(default_factory=PaceOptions)
    outputs: OutputOptions = field(default_factory=OutputOptions)
    rules: RuleOptions = field(default_factory=RuleOptions)
    page: PageOptions = field(default_factory=PageOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    service: ServiceOptions = field(default_factory=ServiceOptions)


_PACE: tuple[Decorator, ...] = (
    click.option("--window", type=_POSITIVE, help="Live: seconds seen."),
    click.option("--every", type=_POSITIVE, help="Live: seconds apart."),
    click.option("--duration", type=_POSITIVE, help="Live: stop after so many seconds."),
    click.option("--max-answers", type=click.IntRange(min=1), help="Stop after so many answers."),
    click.option("--stats", type=_POSITIVE, help="Live: log rates and delays every N seconds."),
)
_SERVICE: tuple[Decorator, ...] = (
    click.option(
        "--metrics",
        metavar="HOST:PORT",
        help="Serve /metrics for Prometheus, /livez and /readyz, as at 127.0.0.1:9109.",
    ),
)
variant_option: Decorator = click.option(
    "--variant",
    default=ModelOptions.variant,
    show_default=True,
    help="File of the bundle, as model.int8.onnx; auto: the fastest that is right.",
)
_AIM: Decorator = click.option(
    "--aim",
    type=click.Choice(get_args(Aim)),
    help="throughput: of many cameras several at a time, if that was measured to be faster; the "
    "default for cameras of an online model, else latency.",
)
_EXAMPLES = """\b
Examples:
  edge-tsm run gestures.bundle --source clip.mp4 --save answer.mp4
  edge-tsm run --camera 0 --actions --on 0.7 --show
  edge-tsm run --camera porch=rtsp://camera/1 --camera door=/dev/video2 --json
  edge-tsm run --camera 0 --webhook https://plant.local/hook --snapshots starts/
"""
# The list of sources is the table's: a scheme that is added there is in the help.
_HELP = """Classify videos, cameras and streams with BUNDLE (default: the only one here).

BUNDLE may be hf://ORG/NAME[@REVISION], which is downloaded once.

A file gives one answer, on frames spread over all of it. A camera gives one every --every
seconds, on the last --window seconds; Ctrl-C ends it. An online model (the card says so) steps on
a frame --fps times a second instead, and needs no window.

NAME, 1 to 64 of A-Za-z0-9_.-, is the source's id in answers, events and file names; without
one it is the source's index: of --source first, then of --camera. An address that has a `=`
itself is taken whole where what comes before is no NAME, or where it is the name of a file.
SOURCE, CAMERA and URL may be env:NAME or file:PATH: arguments are shown to all users by `ps`.
GStreamer pipelines can read and write files: never take one from somebody else.

\b
SOURCE and CAMERA are
""" + "\n".join(f"  {scheme.form}  ({scheme.summary})" for scheme in SCHEMES.values())
pace_options = grouped("pace", PaceOptions, _PACE, title="When to answer, and how long")


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --engine, --device and what else says how a model runs; the command gets a `model`."""

    @runtime_options
    @functools.wraps(command)
    def parsed(
        engine: str | None,
        variant: str = ModelOptions.variant,
        aim: Aim | None = ModelOptions.aim,
        **arguments: Any,
    ) -> Any:
        model = ModelOptions(variant, engine, collect(arguments), aim)
        return command(model=model, **arguments)

    return parsed


@cloup.command(help=_HELP, epilog=_EXAMPLES)
@click.argument("bundle", required=False, type=ADDRESS)
@input_options
@pace_options
@output_options
@rule_options
@grouped("service", ServiceOptions, _SERVICE, title="Seen from outside")
@page_options
@cloup.option_group("Model", variant_option, _AIM)
@model_options
@grouped("options", RunOptions, ())
def run(bundle: str | Path | None, options: RunOptions) -> None:
    """Classify what the options name; see `classify`."""
    classify(bundle, options)


def classify(address: str | Path | None, options: RunOptions) -> None:
    """Do what `run` does.

    Raises:
        EdgeTsmError: what ends the command, with an exit code of its own.
    """
    inputs, outputs, model = options.inputs, options.outputs, options.model
    _check_files(inputs, outputs)
    with ExitStack() as stack:
        messages = stack.enter_context(messages_to_stderr())
        warn_of_visible_secrets(_addresses(inputs, outputs), sys.argv)
        warn_of_visible_password("--mqtt-password", outputs.mqtt_password, sys.argv)
        clock = inputs.clock()
        sources = inputs.open(clock, stack)
        if not (live := any(source.live for source in sources.values())):
            _check_replaced(outputs)
        page = options.page.open(stack)
        bundle = find_bundle(address)
        recognizer = stack.enter_context(
            load(
                bundle,
                engine=model.engine,
                options=model.runtime,
                variant=model.variant,
                aim=model.aim,
                sources=sum(source.live for source in sources.values()),
            )
        )
        if not outputs.as_json:
            _print_model(recognizer)
        labels = recognizer.card.labels
        requests = [*outputs.requests(live=live), *options.page.requests(live=live)]
        decided = page is not None or any(own.rules for own in inputs.own.values())
        rules = options.rules.chosen(bundle, labels, requests, needed=decided)
        watch = options.pace.watch() if live else Watch()
        store = stack.enter_context(outputs.store(requests, clock)) if rules is not None else None
        given = [inputs.input(name, source, rules) for name, source in sources.items()]
        applied = filter(None, [rules, *(one.rules for one in given)])
        facts = RunFacts.of(recognizer, sources, applied, version=__version__)
        reopen = functools.partial(inputs.reopen, clock=clock)
        monitor = Monitor(facts, given, clock, reopen)
        context = outputs.context(
            list(sources.values()), clock, store=store, run=monitor, on_close=watch.stopped.set
        )
        dispatcher = stack.enter_context(
            Dispatcher(
                [*open_routes(requests, context), *([Route("page", page)] if page else [])],
                lossless=not live,
                clock=clock,
            )
        )
        messages.lift = dispatcher.lift
        lines = {s: Progress(f"decoding {Path(sources[s].uri).name}") for s in sources}
        pipeline = Pipeline(
            [monitor.wired(_wired(one, dispatcher, lines[one.name or ""], page)) for one in given],
            recognizer,
            window_s=inputs.window_s(recognizer.card, options.pace.window),
            every_s=options.pace.every,
            capture=inputs.capture(clock),
            rules=rules,
        )
        monitor.watch(pipeline, dispatcher)
        options.service.serve(monitor, stack, page)
        if page is not None and store is not None:  # with a page there are rules, and a store
            running = Running(pipeline, monitor, recognizer, store, clock, outputs.folders())
            page.attach(running, options.rules.layers(bundle, inputs))
        stack.enter_context(_terminated_cleanly(live))
        stack.callback(_end_actions, pipeline, dispatcher)
        answers = iter(pipeline)  # from now on the supervisor may close it
        stack.enter_context(Supervisor(pipeline, monitor.counted, watch, clock=clock))
        stack.enter_context(closing(answers))
        for number, prediction in enumerate(islice(answers, options.pace.max_answers)):
            for line in lines.values():
                line.clear()
            dispatcher.write(prediction)
            monitor.answered(prediction)
            if number == 0 and outputs.save and not live:
                from edge_tsm.sinks.video import write_annotated

                [source] = sources.values()
                write_annotated(outputs.save, source, prediction, fps=source.fps)


def _addresses(inputs: InputOptions, outputs: OutputOptions) -> list[str]:
    sinks = [sink.partition("=")[2] for sink in outputs.sinks]
    uris = [] if inputs.own else map(str, inputs.uris)
    return [*uris, *sinks, *filter(None, (outputs.webhook, outputs.mqtt))]


def _print_model(recognizer: Recognizer) -> None:
    backend, variant = recognizer.backend, recognizer.variant
    file = f" ({variant.file.path})" if variant else ""
    name = printable(f"{recognizer.card.name}{file}")
    click.echo(f"{name} on {backend.engine} {backend.device}", err=True)


def _check_files(inputs: InputOptions, outputs: OutputOptions) -> None:
    """Refuse before any work what could not be saved, or would destroy something."""
    named, save, record = inputs.uris, outputs.save, outputs.record
    for name, path in (("save", save), ("record", record)):
        if path and len(named) > 1:
            raise InputError(f"--{name} takes one source, got {len(named)}")
    if save is None:
        return
    from edge_tsm.sinks.video import check_video_path  # what draws is for --save alone

    check_video_path(save)
    if is_same_file(save, named[0]):
        raise SinkError(f"{save} is the source itself; save under another name")


def _check_replaced(outputs: OutputOptions) -> None:
    """Refuse to replace a file; a live run goes on beside it, in a new segment."""
    if outputs.save and outputs.save.exists() and not outputs.force:
        raise SinkError(f"{outputs.save} exists; pass --force to replace it, or another name")


def _wired(
    given: SourceInput, dispatcher: Dispatcher, line: Progress, page: Page | None
) -> SourceInput:
    """Return a source whose pictures and states reach the sinks."""
    name = given.name or ""
    return replace(
        given,
        on_frame=functools.partial(dispatcher.frame, source=name),
        progress=line,
        on_state=dispatcher.state,
        on_clip=functools.partial(page.clip, source=name) if page else None,
    )


def _end_actions(pipeline: Pipeline, dispatcher: Dispatcher) -> None:
    """Write the ends of actions that are still on when the run is cut short."""
    for prediction in pipeline.finish():
        dispatcher.write(prediction)


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
