"""`edge-tsm evaluate`: how good are the answers on labeled clips?"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from PIL.Image import Image

from edge_tsm.backends import RuntimeOptions, artifact_parts, readers
from edge_tsm.bundle.card import CARD_FILE, checksum
from edge_tsm.cli.options import collect, runtime_options
from edge_tsm.cli.progress import Progress
from edge_tsm.cli.scores import as_csv, as_json, as_text, failures
from edge_tsm.data.clips import Dataset, read_dataset
from edge_tsm.errors import InputError, SinkError, SourceError
from edge_tsm.evaluation.charts import confusion_chart, reliability_chart
from edge_tsm.evaluation.evaluate import Evaluation, evaluate
from edge_tsm.evaluation.journal import Results
from edge_tsm.evaluation.views import CROPS, Method, Protocol
from edge_tsm.inference.loading import load
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.sampling import TEST_RULES
from edge_tsm.system.files import whole_file

METHODS: dict[str, tuple[Method, ...]] = {
    "video": ("video",),
    "voting": ("voting",),
    "both": ("video", "voting"),
}


@click.command("evaluate")
@click.argument(
    "paths", metavar="BUNDLE... LIST", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("--root", type=click.Path(path_type=Path), help="Where LIST's paths start.")
@click.option("--variant", default="auto", help="Artifact, as model.int8.onnx. [default: fastest]")
@click.option(
    "--sampling",
    type=click.Choice(["card", *TEST_RULES]),
    default="card",
    show_default=True,
    help="Frames: the card's rule, or upstream's; dense is 10 clips, twice 2.",
)
@click.option(
    "--crops",
    type=click.Choice([str(count) for count in CROPS]),
    default="1",
    show_default=True,
    help="Upstream's crops per frame.",
)
@click.option(
    "--average",
    type=click.Choice(["logits", "softmax"]),
    default="logits",
    show_default=True,
    help="What is averaged over crops, clips, frames and bundles.",
)
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    default="video",
    show_default=True,
    help="voting: every frame alone, answers averaged; both: side by side.",
)
@click.option("--weights", help="Also an ensemble of the bundles, weighted: 1,0.5.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write a row per clip.")
@click.option(
    "--charts",
    type=click.Path(path_type=Path),
    help="Folder for confusion and reliability pictures.",
)
@click.option(
    "--results",
    "results_file",
    type=click.Path(path_type=Path),
    help="Keep answers here (JSON lines); the same command goes on with them.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Decoding threads. [default: cores, at most 4]"
)
@runtime_options
def evaluate_command(paths: Sequence[Path], **arguments: Any) -> None:
    """Measure BUNDLE (or several, side by side) on the labeled clips of LIST.

    LIST has lines `path class` or `path frames class`, or is a folder of class folders. A bundle's
    artifact (gestures.bundle/model.xml) may stand for it, to compare artifacts.

    The protocols are upstream's at the model's input size; its --full_res shows 256x256 pictures,
    which a model of fixed size cannot take. Unreadable videos are listed, and accuracy is over the
    readable ones.

    Voting is the baseline: each sampled frame alone, as a clip of equal frames, from the same
    weights.
    """
    *bundles, listed = paths
    _check_paths(bundles, listed, arguments)
    weights = _weights(arguments["weights"], len(bundles))
    dataset = read_dataset(listed, root=arguments["root"])
    found, models = _evaluate(_named(bundles), dataset, arguments)
    for line in failures(found):
        click.echo(line, err=True)
    if not found.answered:
        raise SourceError(f"none of {len(dataset)} clips could be read; is --root right?")
    _report(found.with_ensemble(weights) if weights else found, models, arguments)


def _evaluate(
    artifacts: dict[str, Path], dataset: Dataset, arguments: dict[str, Any]
) -> tuple[Evaluation, dict[str, str]]:
    """Open the models and the file of results, and show a progress line.

    Returned beside the answers: which file answered for each model, on which engine and device.
    """
    crops, methods = int(arguments["crops"]), METHODS[arguments["method"]]
    protocol = Protocol(arguments["sampling"], crops, arguments["average"], methods)
    options, progress = collect(arguments), Progress("evaluating")
    chosen = {name: arguments[name] for name in ("engine", "variant")}
    with ExitStack() as stack:
        stack.callback(progress.clear)
        models = {
            name: stack.enter_context(load(path, options=options, **chosen))
            for name, path in artifacts.items()
        }
        results = None
        if arguments["results_file"]:
            prints = {n: _fingerprint(artifacts[n], m, options) for n, m in models.items()}
            run = {**asdict(protocol), "methods": list(methods), "models": prints}
            results = stack.enter_context(Results(arguments["results_file"], run))
        told = {name: _told(artifacts[name], model) for name, model in models.items()}
        for name, what in told.items():
            click.echo(f"{name}: {what}", err=True)
        workers = arguments["workers"]
        found = evaluate(
            models, dataset, protocol, workers=workers, results=results, progress=progress
        )
        return found, told


def _told(path: Path, model: Recognizer) -> str:
    file = model.variant.file.path if model.variant else path.name
    return f"{file} on {model.backend.engine} {model.backend.device}"


def _report(found: Evaluation, models: dict[str, str], arguments: dict[str, Any]) -> None:
    """Write the files asked for, then print the tables."""
    if arguments["json_file"]:
        _write(arguments["json_file"], as_json(found, models).encode())
    if arguments["csv_file"]:
        _write(arguments["csv_file"], as_csv(found).encode())
    if arguments["charts"]:
        for path, picture in _charts(found, arguments["charts"]):
            encoded = io.BytesIO()
            picture.save(encoded, "PNG")
            _write(path, encoded.getvalue())
    click.echo("\n".join(as_text(found)))


def _charts(found: Evaluation, folder: Path) -> Iterator[tuple[Path, Image]]:
    for column in found.columns:
        name, figures = re.sub(r"[^\w.-]+", "-", column), found.figures(column)
        title = f"{column}: {figures.correct} of {figures.clips} right"
        confusion = confusion_chart(figures.confusion, found.labels, title)
        yield folder / f"{name}.confusion.png", confusion
        yield (
            folder / f"{name}.reliability.png",
            reliability_chart(figures.bins, figures.ece, column),
        )


def _check_paths(bundles: Sequence[Path], listed: Path, arguments: dict[str, Any]) -> None:
    """Refuse before hours of work what could not be read or written afterwards."""
    if not bundles:
        raise InputError(f"pass one or more bundles, and then the list of clips; got {listed} only")
    if (listed / CARD_FILE).exists():
        raise InputError(f"{listed} is a bundle; the list of clips comes last")
    charts = arguments["charts"]
    if charts and charts.exists() and not charts.is_dir():
        raise SinkError(f"{charts} is a file; --charts takes a folder")
    for path in (arguments[name] for name in ("json_file", "csv_file", "results_file")):
        if path and (path.is_dir() or not path.parent.is_dir()):
            raise SinkError(f"{path} cannot be written: a folder, or in a folder that is not there")
        if path and path.exists() and listed.exists() and path.samefile(listed):
            raise SinkError(f"{path} is the list of clips; write under another name")


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


def _named(bundles: Sequence[Path]) -> dict[str, Path]:
    """Return short names for the tables; where they are not distinct, the paths as typed."""
    names = [_name(path) for path in bundles]
    if len(set(names)) < len(names):
        names = list(map(str, bundles))
    if len(set(names)) < len(names):
        raise InputError(f"{max(names, key=names.count)} is given twice")
    return dict(zip(names, bundles, strict=True))


def _name(path: Path) -> str:
    path = path.absolute()
    if readers(path):
        return f"{path.parent.name.removesuffix('.bundle')}/{path.name}"
    return path.name.removesuffix(".bundle")


def _fingerprint(path: Path, model: Recognizer, options: RuntimeOptions) -> str:
    """Return what decides a model's answers: its card, its file, engine, device, arithmetic."""
    engine, device = model.backend.engine, model.backend.device
    if model.variant is None:
        files = [path, *artifact_parts(path, engine)]
    else:
        files = [path / name for name in (model.variant.file.path, *model.variant.file.parts)]
    sums = "".join(checksum(file) for file in files if file.is_file())
    digest = hashlib.sha256((model.card.embedded() + sums).encode()).hexdigest()
    return f"{engine} {device} {options.precision} sha256 {digest[:16]}"


def _write(path: Path, data: bytes) -> None:
    """Write a whole file or none."""
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise SinkError(f"{path.parent}: cannot be made ({error.strerror})") from error
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
