"""The reference network: one nn.Module for every recipe, loaded strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from converters.models.lcnet import LcNetFeatures
from converters.models.mobilenet import MobileNetFeatures
from converters.models.mobileone import MobileOneFeatures
from converters.models.resnet import ResNetFeatures
from converters.networks import LcNet, MobileNet, MobileOne, Network, ResNet, Shift
from converters.recipe import Recipe
from edge_tsm.errors import CheckpointError

COUNTER = "num_batches_tracked"  # of batch norm; used in training only, absent in old files
_BACKBONES: dict[type, Callable[[Any, Shift], nn.Module]] = {
    ResNet: ResNetFeatures,
    MobileNet: MobileNetFeatures,
    LcNet: LcNetFeatures,
    MobileOne: MobileOneFeatures,
}


class VideoClassifier(nn.Module):
    """(N, T*3, H, W), channel index `t*3 + c`, to logits (N, classes), averaged over frames.

    With fewer segments in `shift` than in the clip, the clip is shifted in that many parts, each
    on its own (mmaction2's released 16-frame MobileOne: two parts of 8).
    """

    def __init__(self, network: Network, classes: int, shift: Shift, *, parts: int = 1) -> None:
        super().__init__()
        self.backbone = _BACKBONES[type(network)](network, shift)
        self.head = nn.Linear(network.features, classes)
        self.segments, self.parts = shift.segments, parts

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of N clips."""
        return self.classify(self.features(x), clips=x.shape[0])

    def features(self, x: Tensor) -> Tensor:
        """Return one feature vector per frame of N clips, (T*N, F), time-major."""
        clips, _, height, width = x.shape
        frames = x.reshape(clips * self.parts, self.segments, 3, height, width).transpose(0, 1)
        result: Tensor = self.backbone(frames.reshape(-1, 3, height, width))
        return result

    def classify(self, features: Tensor, *, clips: int) -> Tensor:
        """Return logits of N clips from the features of their frames."""
        logits: Tensor = self.head(features)
        if self.parts == 1:
            return logits.reshape(-1, clips, self.head.out_features).mean(0)
        return logits.reshape(-1, clips, self.parts, self.head.out_features).mean((0, 2))


def build_reference(recipe: Recipe, tensors: Mapping[str, Tensor]) -> VideoClassifier:
    """Return the network with its weights, loaded strictly, in eval mode.

    Raises:
        CheckpointError: missing, unexpected, wrongly shaped or non-finite tensors.
    """
    with torch.device("meta"):  # no time spent on initial values that are replaced at once
        parts = recipe.segments // recipe.shift.segments
        model = VideoClassifier(recipe.network, recipe.classes, recipe.shift, parts=parts)
    check_tensors(model, tensors)
    state = {key: value.to(torch.float32) for key, value in tensors.items()}
    counters = (key for key in model.state_dict() if key.endswith(COUNTER))
    model.load_state_dict(state | dict.fromkeys(counters, torch.tensor(0)), assign=True)
    return model.eval().requires_grad_(False)


def check_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that do not fit the model exactly, naming the first few."""
    expected = {
        key: tuple(value.shape)
        for key, value in model.state_dict().items()
        if not key.endswith(COUNTER)
    }
    problems = {
        "missing": [key for key in expected if key not in tensors],
        "unexpected": [key for key in tensors if key not in expected],
        "wrong shape": [
            f"{key} {tuple(tensors[key].shape)}, not {shape}"
            for key, shape in expected.items()
            if key in tensors and tuple(tensors[key].shape) != shape
        ],
        "not finite floats": [k for k, v in tensors.items() if k in expected and not _finite(v)],
    }
    told = [f"{what}: {_few(keys)}" for what, keys in problems.items() if keys]
    if told:
        raise CheckpointError("the weights do not fit the network. " + "; ".join(told))


def _finite(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(torch.isfinite(tensor).all())


def _few(keys: list[str], count: int = 3) -> str:
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more
