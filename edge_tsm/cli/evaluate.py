"""`edge-tsm evaluate`: how good are the answers on labeled clips?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import cloup

from edge_tsm.cli.lists import LIST_OPTIONS, as_read
from edge_tsm.cli.options import ADDRESS, Decorator, collect, fetched, runtime_options
from edge_tsm.cli.progress import Progress
from edge_tsm.cli.scores import as_text, failures
from edge_tsm.data.checks import check_files
from edge_tsm.data.clips import Dataset
from edge_tsm.data.listing import Roles
from edge_tsm.data.sets import read_sets
from edge_tsm.errors import InputError, SourceError
from edge_tsm.evaluation.evaluate import Evaluation, evaluate
from edge_tsm.evaluation.journal import Journal
from edge_tsm.evaluation.metrics import Average
from edge_tsm.evaluation.models import OpenModel, open_models, run_facts, short_names
from edge_tsm.evaluation.output import OutputFiles, check_inputs
from edge_tsm.evaluation.views import CROPS, Method, ViewProtocol
from edge_tsm.inference.sampling import TEST_RULES
from edge_tsm.system.printable import printable

METHODS: dict[str, tuple[Method, ...]] = {
    "video": ("video",),
    "voting": ("voting",),
    "both": ("video", "voting"),
}


_CLIPS: tuple[Decorator, ...] = (
    click.option("--root", type=click.Path(path_type=Path), help="Where LIST's paths start."),
    *LIST_OPTIONS,
    click.option("--skip-missing", is_flag=True, help="Go on without clips that are not there."),
    click.option(
        "--sampling",
        type=click.Choice(["card", *TEST_RULES]),
        default="card",
        show_default=True,
        help="Frames: the card's rule, or upstream's; dense is 10 clips, twice 2.",
    ),
    click.option(
        "--clips",
        type=click.IntRange(1, 100),
        default=1,
        show_default=True,
        help="Clips of a video by the card's rule, where that takes clips of fixed length.",
    ),
    click.option(
        "--crops",
        type=click.Choice([str(count) for count in CROPS]),
        default="1",
        show_default=True,
        help="Upstream's crops per frame.",
    ),
    click.option(
        "--average",
        type=click.Choice(["logits", "softmax"]),
        default="logits",
        show_default=True,
        help="What is averaged over crops, clips, frames and bundles.",
    ),
    click.option(
        "--method",
        type=click.Choice(list(METHODS)),
        default="video",
        show_default=True,
        help="voting: every frame alone, answers averaged; both: side by side.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 64),
        help="Decoding threads. [default: cores, at most 4]",
    ),
)
_MODELS: tuple[Decorator, ...] = (
    click.option(
        "--variant", default="auto", help="Artifact, as model.int8.onnx. [default: fastest]"
    ),
    click.option("--weights", help="Also an ensemble of the bundles, weighted: 1,0.5."),
)
_OUTPUT: tuple[Decorator, ...] = (
    click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures."),
    click.option(
        "--csv", "csv_file", type=click.Path(path_type=Path), help="Write a row per clip."
    ),
    click.option(
        "--html",
        "html_file",
        type=click.Path(path_type=Path),
        help="Write a page: classes, confusions, calibration, worst clips.",
    ),
    click.option(
        "--results",
        "results_file",
        type=click.Path(path_type=Path),
        help="Keep answers here (JSON lines); the same command goes on with them.",
    ),
)
_EXAMPLES = """\b
Examples:
  edge-tsm evaluate gestures.bundle val.txt
  edge-tsm evaluate a.bundle b.bundle val.txt --method both --html report.html
  edge-tsm evaluate a.bundle/model.xml a.bundle/model.int8.xml val.txt
  edge-tsm evaluate x.bundle val.txt --clips 10 --crops 3 --average softmax
  edge-tsm evaluate timesformer.bundle val.txt --crops 3
"""


@cloup.command("evaluate", epilog=_EXAMPLES)
@click.argument("paths", metavar="BUNDLE... LIST", nargs=-1, required=True, type=ADDRESS)
@cloup.option_group("Clips and protocol", *_CLIPS)
@cloup.option_group("Models", *_MODELS)
@cloup.option_group("Output", *_OUTPUT)
@runtime_options
def evaluate_command(paths: Sequence[str | Path], **arguments: Any) -> None:
    """Measure BUNDLE (or several, side by side) on the labeled clips of LIST.

    LIST has lines `path class` or `path frames class` in any usual dialect (docs/tables.md), or is
    a folder of class folders; it is shown as it was read, and checked whole first. Clips with
    several classes (`path 1,4`) are for models with a sigmoid, which get mAP. A bundle's
    artifact (gestures.bundle/model.xml) may stand for it, to compare artifacts.

    The protocols are upstream's at the model's input size; its --full_res, 256x256 pictures, is
    for models converted with --full-res. Unreadable videos are listed, and accuracy is over the
    readable ones.

    Voting is the baseline: each sampled frame alone, as a clip of equal frames, from the same
    weights.
    """
    runtime = collect(arguments)
    given = _Given(**arguments)
    *addresses, last = paths
    bundles, listed = list(map(fetched, addresses)), Path(last)
    check_inputs(bundles, listed)
    files = given.files()
    files.check(listed)
    weights = _weights(given.weights, len(bundles))
    dataset = read_sets(
        listed, root=given.root, columns=given.columns, first_class=given.first_class
    )
    with open_models(
        short_names(bundles), options=runtime, engine=given.engine, variant=given.variant
    ) as models:
        answered_by = {name: model.file for name, model in models.items()}
        notes = check_files(dataset, skip_missing=given.skip_missing)
        found = _evaluate(models, replace(dataset, notes=notes), given)
    for line in failures(found):
        click.echo(printable(line), err=True)
    if not found.answered:
        raise SourceError(f"none of {len(dataset)} clips could be read; is --root right?")
    found = found.with_ensemble(weights) if weights else found
    files.write(found, answered_by)
    click.echo("\n".join(map(printable, as_text(found))))


@dataclass(frozen=True)
class _Given:
    """The options, as click parses them."""

    root: Path | None
    engine: str | None
    variant: str
    sampling: str
    clips: int
    crops: str
    average: Average
    method: str
    weights: str | None
    json_file: Path | None
    csv_file: Path | None
    html_file: Path | None
    results_file: Path | None
    workers: int | None
    columns: Roles | None
    first_class: int | None
    skip_missing: bool

    def protocol(self) -> ViewProtocol:
        methods = METHODS[self.method]
        return ViewProtocol(self.sampling, int(self.crops), self.average, methods, self.clips)

    def files(self) -> OutputFiles:
        return OutputFiles(self.json_file, self.csv_file, self.html_file, self.results_file)


def _evaluate(models: dict[str, OpenModel], dataset: Dataset, given: _Given) -> Evaluation:
    """Say which file answers for each model and how the list was read; show a progress line."""
    protocol, progress = given.protocol(), Progress("evaluating")
    with ExitStack() as stack:
        stack.callback(progress.clear)
        journal = None
        if given.results_file:
            facts = run_facts(models, protocol)
            journal = stack.enter_context(Journal(given.results_file, facts))
        for name, model in models.items():
            click.echo(printable(f"{name}: {model.file}"), err=True)
        for line in as_read(dataset):
            click.echo(printable(line), err=True)
        return evaluate(
            {name: model.recognizer for name, model in models.items()},
            dataset,
            protocol,
            workers=given.workers,
            journal=journal,
            progress=progress,
        )


def _weights(text: str | None, bundles: int) -> list[float]:
    """Return one positive weight per bundle, or none at all."""
    if text is None:
        return []
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) != bundles or bundles < 2 or not all(0 < w < math.inf for w in weights):
        raise InputError(
            f"--weights {text}: give one positive number per bundle, as 1,0.5 for two; "
            f"there {'is 1 bundle' if bundles == 1 else f'are {bundles} bundles'}"
        )
    return weights
