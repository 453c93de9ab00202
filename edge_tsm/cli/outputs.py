"""Options that say where answers go and how they become actions, and what comes of them."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edge_tsm.actions.decider import Decider, Decision
from edge_tsm.actions.rules import Rules, Threshold, read_rules
from edge_tsm.cli.options import Decorator
from edge_tsm.datatypes import Frame, Prediction
from edge_tsm.errors import InputError
from edge_tsm.sinks import (
    Clips,
    JsonLines,
    LiveTerminal,
    SavedVideo,
    Screen,
    Shelf,
    Sink,
    Snapshots,
    Terminal,
    Webhook,
    check_window,
)
from edge_tsm.sinks.dispatcher import FLUSH_S, HURRIED_FLUSH_S, Delivery, Outlet, OutletCounts
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock

TOKEN_VARIABLE = "EDGE_TSM_WEBHOOK_TOKEN"
_SHARE = click.FloatRange(0, 1)
_SECONDS = click.FloatRange(min=0)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_OPTIONS: tuple[Decorator, ...] = (
    click.option("--json", "as_json", is_flag=True, help="One JSON object per answer and line."),
    click.option("--show", is_flag=True, help="Live: a window with pictures and answers; q ends."),
    click.option(
        "--webhook", metavar="URL", envvar="EDGE_TSM_WEBHOOK", help="POST starts and ends as JSON."
    ),
    click.option("--snapshots", type=_FOLDER, help="Live: save a picture at each start in FOLDER."),
    click.option("--clips", type=_FOLDER, help="Live: save seconds around each start in FOLDER."),
    click.option(
        "--keep",
        type=click.IntRange(min=1),
        default=200,
        show_default=True,
        help="Newest pictures, and clips, to keep.",
    ),
    click.option(
        "--keep-mb",
        type=click.IntRange(min=1),
        default=500,
        show_default=True,
        help="Megabytes of pictures, and of clips, to keep.",
    ),
    click.option("--actions", is_flag=True, help="Tell starts and ends of actions."),
    click.option(
        "--rules",
        metavar="FILE",
        help="TOML file of --actions, or a preset: jester-demo. [default: the bundle's]",
    ),
    click.option("--on", type=_SHARE, help="Probability that starts an action. [default: 0.6]"),
    click.option("--off", type=_SHARE, help="Probability below which it ends. [default: 0.4]"),
    click.option(
        "--threshold",
        "thresholds",
        multiple=True,
        metavar="LABEL=ON[/OFF]",
        help="The same for one class; repeatable.",
    ),
    click.option("--mean", "mean_answers", type=click.IntRange(1), help="Average N answers."),
    click.option("--decay", "decay_s", type=_SECONDS, help="Or average over so many seconds."),
    click.option("--min-duration", "min_duration_s", type=_SECONDS, help="Shortest action, s."),
    click.option("--cool-down", "cool_down_s", type=_SECONDS, help="Pause before the same again."),
    click.option("--background", multiple=True, help="Label that means nothing; repeatable."),
    click.option("--ignore", "ignored", multiple=True, help="Label left out; repeatable."),
)
_RULES = (
    *("on", "off", "thresholds", "mean_answers", "decay_s", "min_duration_s", "cool_down_s"),
    *("background", "ignored"),
)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options above, --json included; read by `open_outputs`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Outputs:
    """Decides and delivers: give it every answer, and every frame of a live source.

    `stopped` is set when someone closed the window of --show; `lift` makes room on the terminal
    for somebody else's line.
    """

    def __init__(self, delivery: Delivery, rules: Rules | None, labels: tuple[str, ...]) -> None:
        self.stopped = threading.Event()
        self.lift: Callable[[], None] = lambda: None
        self._delivery, self._rules, self._labels = delivery, rules, labels
        self._deciders = dict[str, Decider]()
        self._last = dict[str, Prediction]()

    def write(self, prediction: Prediction, source: str) -> Decision | None:
        """Decide on one answer and queue it for every sink; waits for none of a live run.

        Raises:
            Exception: what stdout or --save ran into before, or a defect of any sink.
        """
        decision = None
        if self._rules is not None:
            if source not in self._deciders:
                self._deciders[source] = Decider(self._rules, self._labels)
            decision = self._deciders[source].update(prediction)
            self._last[source] = prediction
        self._delivery.write(prediction, source, decision)
        return decision

    def frame(self, frame: Frame, source: str) -> None:
        """Queue one picture for the sinks that want pictures; from any thread, never waiting."""
        self._delivery.frame(frame, source)

    def counts(self) -> dict[str, OutletCounts]:
        """Return what became of the answers, by sink."""
        return self._delivery.counts()

    def close(self, timeout_s: float = FLUSH_S) -> None:
        """End the actions that are on (their last answer comes again), flush and close the sinks.

        Raises:
            Exception: as `write` does.
        """
        for source, decider in self._deciders.items():
            events = decider.finish()
            if events:
                last = self._last[source]
                ended = Decision(self._labels, None, last.probabilities, events)
                self._delivery.write(last, source, ended)
        self._delivery.close(timeout_s)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(FLUSH_S if kind is None else HURRIED_FLUSH_S)


def open_outputs(
    arguments: dict[str, Any],
    labels: tuple[str, ...],
    *,
    live: bool,
    several: bool = False,
    film: tuple[Path, float] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Outputs:
    """Take the options above out of a command's arguments and open what they ask for.

    Args:
        arguments: of the command; `own_rules` among them is the bundle's file, if it has one.
        labels: of the model; labels in the options must be among them.
        live: whether answers are to be dropped rather than waited for, and pictures come.
        several: whether there are several sources, whose names then stand in the live line.
        film: path and frames per second of a live --save.
        clock: of deadlines and pauses.

    Raises:
        InputError: contradicting options, a bad rules file, unknown labels.
        SinkError: a folder, window or file that cannot be had.
    """
    chosen = {name: arguments.pop(name) for name in _NAMES}
    rules = _rules(chosen, arguments.pop("own_rules", None))
    if rules is not None:
        rules.check(labels)
    wants_live = [name for name in ("show", "snapshots", "clips") if chosen[name]]
    if wants_live and not live:
        raise InputError(f"--{wants_live[0]} is for live sources; --save draws on a file")
    closed = threading.Event()
    printer = _printer(chosen, live, several)
    outlets = [Outlet("output", printer, essential=True)]
    outlets += _extra_outlets(chosen, closed, clock)
    if film is not None:
        outlets.append(Outlet("video", SavedVideo(film[0], fps=film[1]), essential=True))
    outputs = Outputs(Delivery(outlets, lossless=not live, clock=clock), rules, labels)
    outputs.stopped = closed
    if isinstance(printer, LiveTerminal):
        outputs.lift = printer.lift
    return outputs


def _printer(chosen: dict[str, Any], live: bool, several: bool) -> Sink:
    if chosen["as_json"]:
        return JsonLines(sys.stdout)
    return LiveTerminal(sys.stdout, several=several) if live else Terminal(sys.stdout)


def _extra_outlets(chosen: dict[str, Any], closed: threading.Event, clock: Clock) -> list[Outlet]:
    limits = {"most_files": chosen["keep"], "most_bytes": chosen["keep_mb"] * 1_000_000}
    outlets = []
    if chosen["webhook"]:
        token = os.environ.get(TOKEN_VARIABLE)
        outlets.append(Outlet("webhook", Webhook(chosen["webhook"], token=token, clock=clock)))
    if chosen["snapshots"]:
        shelf = Shelf(chosen["snapshots"], ".jpg", **limits)
        outlets.append(Outlet("snapshots", Snapshots(shelf)))
    if chosen["clips"]:
        shelf = Shelf(chosen["clips"], ".avi", **limits)
        outlets.append(Outlet("clips", Clips(shelf)))
    if chosen["show"]:
        check_window()
        outlets.append(Outlet("window", Screen(closed.set)))
    return outlets


def _rules(chosen: dict[str, Any], bundled: Path | None) -> Rules | None:
    """Return the rules that options and file ask for, or None: answers as they are."""
    given = {name: chosen[name] for name in _RULES if chosen[name] not in (None, ())}
    needs = any(chosen[name] for name in ("actions", "rules", "webhook", "snapshots", "clips"))
    if not needs and not given:
        return None
    name = chosen["rules"] or bundled
    start = read_rules(str(name)) if name else Rules()
    if "mean_answers" in given:
        given.setdefault("decay_s", 0.0)
    elif given.get("decay_s"):
        given["mean_answers"] = 1
    if "on" in given:
        given.setdefault("off", min(start.off, given["on"]))
    if "thresholds" in given:
        own = dict(_threshold(text) for text in given["thresholds"])
        given["thresholds"] = {**start.thresholds, **own}
    return dataclasses.replace(start, **given)


def _threshold(text: str) -> tuple[str, Threshold]:
    """Return label and threshold of LABEL=ON[/OFF]; OFF is two thirds of ON if not given."""
    label, _, numbers = text.rpartition("=")
    on, _, off = numbers.partition("/")
    try:
        pair = Threshold(float(on), float(off) if off else float(on) * 2 / 3)
    except ValueError as error:
        raise InputError(f"--threshold {text!r}: write LABEL=ON or LABEL=ON/OFF") from error
    return label, pair


_NAMES = (
    *("as_json", "show", "webhook", "snapshots", "clips", "keep", "keep_mb", "actions", "rules"),
    *_RULES,
)
