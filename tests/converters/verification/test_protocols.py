"""Test protocols equal upstream's fusion, worked out with torch and PIL on one moving clip."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from converters.architectures.classifier import build_reference
from converters.planning import plan
from converters.recipe import Options
from edge_tsm import load
from edge_tsm.data.clips import Dataset, Sample
from edge_tsm.evaluation.evaluate import evaluate
from edge_tsm.evaluation.views import ViewProtocol
from tests.helpers.upstream_pixels import upstream_crop, upstream_crops

FRAMES, SEGMENTS = 90, 8
CENTERS = [int(FRAMES / 16 + FRAMES / 8 * x) for x in range(8)]
LEFTS = [int(FRAMES / 8 * x) for x in range(8)]
STARTS = np.linspace(0, FRAMES - 64, num=10, dtype=int)
DENSE = [(k * 8 + int(start)) % FRAMES for start in STARTS for k in range(8)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texture that moves and brightens, 96 x 64."""
    path = tmp_path_factory.mktemp("clip") / "x.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (96, 64))
    texture = np.random.default_rng(0).integers(0, 150, (16, 60, 3), dtype=np.uint8)
    texture = texture.repeat(4, 0).repeat(4, 1)
    for i in range(FRAMES):
        writer.write(texture[:, i : i + 96] + np.uint8(i))
    writer.release()
    return path


def upstream_logits(model: torch.nn.Module, clip: Path, indices: list[int], crops: int) -> Tensor:
    """test_models.py's data order (crop, clip, time, color), and its mean over crops and clips."""
    capture = cv2.VideoCapture(str(clip))
    frames = [capture.read()[1][..., ::-1] for _ in range(FRAMES)]
    pictures = [np.ascontiguousarray(frames[i]) for i in indices]
    groups = [[upstream_crop(p)] if crops == 1 else upstream_crops(p, crops) for p in pictures]
    data = np.concatenate([group[c] for c in range(crops) for group in groups], axis=2)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    tensor = torch.from_numpy(data).permute(2, 0, 1).float().div(255)
    views = ((tensor.view(-1, 3, 224, 224) - mean) / std).view(-1, SEGMENTS * 3, 224, 224)
    with torch.no_grad():
        return torch.cat([model(view[None]) for view in views])


@pytest.mark.parametrize(
    ("protocol", "indices"),
    [
        (ViewProtocol("uniform", 10), CENTERS),
        (ViewProtocol("twice", 3), CENTERS + LEFTS),
        (ViewProtocol("dense"), DENSE),
        (ViewProtocol("uniform", 5, "softmax"), CENTERS),
    ],
    ids=lambda value: f"{value.sampling} {value.crops}" if isinstance(value, ViewProtocol) else "",
)
def test_the_fusion_is_upstreams(
    protocol: ViewProtocol, indices: list[int], checkpoint: Path, bundle: Path, clip: Path
) -> None:
    if "EDGE_TSM_TEST_BUNDLE" in os.environ:
        pytest.skip("the bundle is not of this checkpoint")
    planned = plan(checkpoint, Options())
    model = build_reference(planned.recipe, planned.checkpoint.tensors)
    views = upstream_logits(model, clip, indices, protocol.crops)
    with load(bundle) as recognizer:
        dataset = Dataset((Sample(clip, 0, "x"),))
        [ours] = evaluate({"x": recognizer}, dataset, protocol).logits("x")
    spread = float(views.max() - views.min())
    if protocol.average == "softmax":
        theirs = views.softmax(1).mean(0).log()
        ours, theirs = ours - ours.max(), theirs - theirs.max()
    else:
        theirs = views.mean(0)
    assert np.abs(ours - theirs.numpy()).max() <= 2e-3 * spread
    assert float((views.amax(0) - views.amin(0)).max()) > 1e-2 * spread  # the views do differ
