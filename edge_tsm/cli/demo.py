"""`edge-tsm demo`: the packaged model on generated clips, or on a camera."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import click
import cloup

from edge_tsm import demo as packaged
from edge_tsm.cli.inputs import InputOptions
from edge_tsm.cli.options import grouped
from edge_tsm.cli.outputs import OutputOptions
from edge_tsm.cli.run import ModelOptions, RunOptions, classify, model_options
from edge_tsm.datatypes import Frame, Prediction
from edge_tsm.errors import SinkError
from edge_tsm.inference.loading import load
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.sinks.terminal import Terminal
from edge_tsm.sinks.video import check_video_path, write_annotated
from edge_tsm.system.opencv import opencv
from edge_tsm.system.printable import printable

FPS, FRAMES, SHORT_SIDE_PX = 25.0, 50, 240


@dataclass(frozen=True)
class DemoOptions:
    """What the demo shows, as the options below say."""

    camera: str | None
    seed: int
    clips: int
    online: bool
    save: Path | None
    force: bool


demo_options = grouped(
    "options",
    DemoOptions,
    (
        click.option(
            "--camera", help="Answer on a camera (index or /dev/video path) until Ctrl-C."
        ),
        click.option(
            "--seed", type=click.IntRange(0), default=0, show_default=True, help="First clip."
        ),
        click.option(
            "--clips", type=click.IntRange(1), default=1, show_default=True, help="How many."
        ),
        click.option("--online", is_flag=True, help="The form that takes one frame at a time."),
        click.option(
            "--save", type=click.Path(path_type=Path), help="The (last) clip as .mp4 or .avi."
        ),
        click.option("--force", is_flag=True, help="Let --save replace an existing file."),
    ),
    title="What is shown",
)


@cloup.command()
@demo_options
@model_options
def demo(options: DemoOptions, model: ModelOptions) -> None:
    """Try the demo model that comes with the package: no checkpoint, no video needed.

    It tells swipes, zooms and turns from nothing in particular. Its classes differ in the order of
    the frames only, so that a classifier of single frames could only guess.
    """
    bundle = packaged.bundle("online" if options.online else "clip")
    if options.camera is None:
        _show_clips(bundle, options, model)
        return
    inputs = InputOptions(cameras=(options.camera,))
    outputs = OutputOptions(save=options.save, force=options.force)
    classify(bundle, RunOptions(inputs=inputs, outputs=outputs, model=model))


def _show_clips(bundle: Path, options: DemoOptions, model: ModelOptions) -> None:
    """Answer generated clips."""
    save = options.save
    if save is not None:
        check_video_path(save)
        if save.exists() and not options.force:
            raise SinkError(f"{save} exists; pass --force to replace it, or another name")
    opencv()  # says what to install where it is missing
    seeds = range(options.seed, options.seed + options.clips)
    with load(bundle, engine=model.engine, options=model.runtime) as recognizer:
        backend = recognizer.backend
        name = printable(recognizer.card.name)
        click.echo(f"{name} on {backend.engine} {backend.device}", err=True)
        right = sum(_answer(recognizer, seed, save) for seed in seeds)
        classes = len(recognizer.card.labels)
    if len(seeds) > 1:
        click.echo(f"{right} of {len(seeds)} right; guessing would get {1 / classes:.0%}")


def _answer(recognizer: Recognizer, seed: int, save: Path | None) -> bool:
    """Show the answer to one generated clip; return whether it is right."""
    from edge_tsm.demo.synthetic import (  # needs OpenCV, other commands do not
        LABELS,
        generate,
        label_of,
    )

    images = generate(seed, times=FRAMES, short_side_px=SHORT_SIDE_PX)
    prediction: Prediction = recognizer(list(images))
    truth = LABELS[label_of(seed)]
    Terminal(sys.stdout).write(prediction, f"generated clip {seed}: {truth}")
    if save is not None:
        frames = (Frame(image, i, i / FPS) for i, image in enumerate(images))
        write_annotated(save, frames, prediction, fps=FPS)
    return prediction.label == truth
