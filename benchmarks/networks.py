"""What is compared: bundles of untrained networks, and the same weights exported by hand.

Time does not depend on weights; accuracy does, and is judged on trained ones elsewhere.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import environment, report
from torch import Tensor, nn
from turns import Run

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from converters import ClipSet, Int8, Options, Settings, build, plan
from converters.architectures.classifier import build_reference
from converters.architectures.shift import TemporalShift
from converters.planning import Plan
from converters.verification.clips import generated_clip
from edge_tsm.backends import ENGINES, RuntimeOptions
from edge_tsm.bundle.card import Card
from edge_tsm.inference.opening import open_variant
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.variants import Variant
from tests.helpers.upstream import write_checkpoint

ENGINE_NAMES = {name: engine.title for name, engine in ENGINES.items()}
CALIBRATION_CLIPS = 8
Measure = Callable[[str, Path, int], dict[str, Any]]  # arch, folder, rounds


def each_network(
    about: str, archs: Mapping[str, str], measure: Measure, *, rounds: int
) -> tuple[dict[str, Any], Path | None]:
    """Run a script that measures the networks the command line names, by default all of `archs`.

    Returns what was found by network, and where to draw it if --out is given.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(archs), help=f"of {', '.join(archs)}")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if unknown := set(given.networks) - archs.keys():
        parser.error(f"{min(unknown)} is none of {', '.join(archs)}")
    before, results = environment(), {}
    for name in given.networks:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = measure(archs[name], Path(folder), given.rounds)
    report(results, before, given.out)
    return results, given.out and given.out.with_suffix(".png")


def make_bundle(
    folder: Path, arch: str, options: Options | None = None, *, size_px: int = 224, **kind: Any
) -> tuple[Path, Path]:
    """Convert an untrained network with int8; return its checkpoint and its bundle.

    `kind` is what `tests.helpers.upstream.upstream_state` takes, as shift="none".
    """
    options = options or Options()
    if kind.get("shift") == "none":  # which nothing in the file shows
        options = replace(options, shift_place="none")
    name = "-".join(map(str, (arch, options.segments, options.batch, size_px, *kind.values())))
    checkpoint = write_checkpoint(folder, arch, name=f"{name}.pth.tar", **kind)
    bundle = folder / f"{name}.bundle"
    if bundle.exists():
        return checkpoint, bundle
    planned = plan(checkpoint, options)
    preprocess = replace(planned.recipe.preprocess, crop_px=size_px)
    planned = replace(planned, recipe=replace(planned.recipe, preprocess=preprocess))
    clips = range(CALIBRATION_CLIPS)
    crops = [generated_clip(seed, planned.recipe.segments, size_px) for seed in clips]
    int8 = Int8(ClipSet(np.stack(crops)), keep_float="none", max_drop=1 - 1e-9)
    return checkpoint, build(planned, bundle, Settings(int8=int8))


def opened(bundle: Path, *, threads: int | None = None) -> Iterator[tuple[str, Recognizer]]:
    """Yield every artifact under "ENGINE PRECISION", OpenVINO's f32 also computed in bf16."""
    card = Card.read(bundle)
    for file in card.files.values():
        both = (file.precision, file.engine) == ("f32", "openvino")
        for math in ("f32", "bf16")[: 1 + both]:
            options = RuntimeOptions(threads=threads, precision=math)
            told = "bf16" if math == "bf16" else file.precision
            recognizer = open_variant(bundle, card, Variant(file, file.engine), options)
            yield f"{ENGINE_NAMES[file.engine]} {told}", recognizer


def answer(recognizer: Recognizer) -> Run:
    """Return the engine's run on random clips: one batch, nothing around it."""
    name, shape = recognizer.card.input.name, recognizer.card.input.shape
    inputs = {name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    return lambda: recognizer.backend.run(inputs)


class HandShift(nn.Module):
    """The shift as users write it so that it exports: 5-D view, slices, zeros concatenated."""

    def __init__(self, segments: int, div: int) -> None:
        super().__init__()
        self.segments, self.div = segments, div

    def forward(self, x: Tensor) -> Tensor:
        """Shift (N*T, C, H, W), batch-major."""
        rows, channels, height, width = x.shape
        x = x.view(-1, self.segments, channels, height, width)
        fold = channels // self.div
        zeros = torch.zeros_like(x[:, :1, :fold])
        from_next = torch.cat((x[:, 1:, :fold], zeros), dim=1)
        from_previous = torch.cat((zeros, x[:, :-1, fold : 2 * fold]), dim=1)
        x = torch.cat((from_next, from_previous, x[:, :, 2 * fold :]), dim=2)
        return x.view(rows, channels, height, width)


class HandExport(nn.Module):
    """The network with hand-written shifts, frames batch-major as upstream has them."""

    def __init__(self, planned: Plan) -> None:
        super().__init__()
        model = build_reference(planned.recipe, planned.checkpoint.tensors)
        self.segments, self.div = planned.recipe.segments, planned.recipe.shift.div
        shifts = [name for name, m in model.named_modules() if isinstance(m, TemporalShift)]
        for name in shifts:
            model.set_submodule(name, HandShift(self.segments, self.div))
        self.backbone, self.head = model.backbone, model.head
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of (N, T*3, H, W)."""
        logits = self.head(self.backbone(x.view(-1, 3, *x.shape[-2:])))
        return logits.view(-1, self.segments, logits.shape[-1]).mean(1)


def export_by_hand(
    model: nn.Module, path: Path, *, shape: tuple[int, ...] = (1, 24, 224, 224)
) -> Path:
    """Write the network as `torch.onnx.export` does it."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        clip = torch.zeros(shape)
        torch.onnx.export(
            model, (clip,), str(path), input_names=["clip"], output_names=["logits"],
            opset_version=17, dynamo=False,
        )  # fmt: skip
    return path
