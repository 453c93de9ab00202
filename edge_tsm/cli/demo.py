"""`edge-tsm demo`: the packaged model on generated clips, or on a camera."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from edge_tsm import demo as packaged
from edge_tsm.cli.options import collect, runtime_options
from edge_tsm.cli.run import run
from edge_tsm.datatypes import Frame, Prediction
from edge_tsm.errors import SinkError
from edge_tsm.inference.loading import load
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.sinks import Terminal, check_video_path, write_annotated
from edge_tsm.system.opencv import opencv

FPS, FRAMES, SHORT_SIDE_PX = 25.0, 50, 240


@click.command()
@click.option("--camera", help="Answer on a camera (index or /dev/video path) until Ctrl-C.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="First clip.")
@click.option("--clips", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option("--online", is_flag=True, help="The form that takes one frame at a time.")
@click.option("--save", type=click.Path(path_type=Path), help="The (last) clip as .mp4 or .avi.")
@click.option("--force", is_flag=True, help="Let --save replace an existing file.")
@runtime_options
def demo(camera: str | None, online: bool, **arguments: Any) -> None:
    """Try the demo model that comes with the package: no checkpoint, no video needed.

    It tells swipes, zooms and turns from nothing in particular. Its classes differ in the order of
    the frames only, so that a classifier of single frames could only guess.
    """
    bundle = packaged.bundle("online" if online else "clip")
    if camera is not None:
        run.main([str(bundle), "--camera", camera, *_typed(arguments)], standalone_mode=False)
        return
    save, first = arguments.pop("save"), arguments.pop("seed")
    if save is not None:
        check_video_path(save)
        if save.exists() and not arguments["force"]:
            raise SinkError(f"{save} exists; pass --force to replace it, or another name")
    opencv()  # says what to install where it is missing
    seeds = range(first, first + arguments.pop("clips"))
    with load(bundle, engine=arguments["engine"], options=collect(arguments)) as recognizer:
        backend = recognizer.backend
        click.echo(f"{recognizer.card.name} on {backend.engine} {backend.device}", err=True)
        right = sum(_answer(recognizer, seed, save) for seed in seeds)
        classes = len(recognizer.card.labels)
    if len(seeds) > 1:
        click.echo(f"{right} of {len(seeds)} right; guessing would get {1 / classes:.0%}")


def _typed(arguments: dict[str, Any]) -> list[str]:
    """Return the options that `run` has too, as typed."""
    force = ["--force"] if arguments.pop("force") else []
    shared = {k: v for k, v in arguments.items() if k not in ("seed", "clips") and v is not None}
    return [f"--{k.replace('_', '-')}={v}" for k, v in shared.items()] + force


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
