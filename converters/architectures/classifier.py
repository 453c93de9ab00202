"""The reference network: its weights are loaded strictly, whatever the family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from converters.architectures.network import Blueprint, Classifier, FrameNetwork
from converters.architectures.online import OnlineClassifier
from converters.architectures.shift import Shift
from edge_tsm.errors import CheckpointError

_VARIANCE = "running_var"
COUNTER = "num_batches_tracked"  # of batch norm; used in training only, absent in old files


class VideoClassifier(Classifier):
    """(N, T*3, H, W), channel index `t*3 + c`, to logits (N, classes), averaged over frames.

    With fewer segments in `shift` than in the clip, the clip is shifted in that many parts, each
    on its own (mmaction2's released 16-frame MobileOne: two parts of 8).
    """

    def __init__(
        self, network: FrameNetwork, classes: int, shift: Shift, *, parts: int = 1
    ) -> None:
        super().__init__()
        self.backbone = network.build(shift)
        self.head = nn.Linear(network.features, classes)
        self.segments, self.parts = shift.segments, parts

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of N clips."""
        return self.average(self.frames(x), clips=x.shape[0])

    def features(self, x: Tensor) -> Tensor:
        """Return one feature vector per frame of N clips, (T*N, F), time-major."""
        clips, _, height, width = x.shape
        frames = x.reshape(clips * self.parts, self.segments, 3, height, width)
        if clips * self.parts > 1:  # one clip is in order: no engine is to copy it
            frames = frames.transpose(0, 1)
        result: Tensor = self.backbone(frames.reshape(-1, 3, height, width))
        return result

    def frames(self, x: Tensor) -> Tensor:
        """Return the logits of every frame, (T*N, classes), time-major."""
        logits: Tensor = self.head(self.features(x))
        return logits

    def average(self, logits: Tensor, *, clips: int) -> Tensor:
        """Return the logits of N clips from those of their frames."""
        if self.parts == 1:
            return logits.reshape(-1, clips, self.head.out_features).mean(0)
        return logits.reshape(-1, clips, self.parts, self.head.out_features).mean((0, 2))


def build_reference(blueprint: Blueprint, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return the network with its weights, loaded strictly, in eval mode.

    Raises:
        CheckpointError: missing, unexpected, wrongly shaped or non-finite tensors.
    """
    model = empty(blueprint)
    _load(model, tensors)
    return model


def build_online(blueprint: Blueprint, tensors: Mapping[str, Tensor]) -> OnlineClassifier:
    """Return the network in online form, with the same weights.

    Raises:
        CheckpointError: see `build_reference`.
    """
    model = _empty_online(blueprint)
    _load(model, tensors)
    return model


def cache_shapes(blueprint: Blueprint, size_px: int) -> list[tuple[int, ...]]:
    """Return the shapes (N, C/div, h, w) of the online form's caches, in network order.

    Raises:
        CheckpointError: `shift_div` leaves a block without a fold.
    """
    frame = torch.zeros(blueprint.batch, 3, size_px, size_px, device="meta")
    shapes = [tuple(cache.shape) for cache in _empty_online(blueprint).eval()(frame)[1:]]
    if any(0 in shape for shape in shapes):
        raise CheckpointError(
            "some shifted blocks have too few channels for this shift_div to shift any, which the "
            "online form does not serve"
        )
    return shapes


def empty(blueprint: Blueprint) -> nn.Module:
    """Return the network without memory: no time spent on values that are replaced at once."""
    with torch.device("meta"):
        return blueprint.network.classifier(blueprint)


def _empty_online(blueprint: Blueprint) -> OnlineClassifier:
    clip_form = empty(blueprint)
    if not isinstance(clip_form, VideoClassifier):
        raise CheckpointError(f"{blueprint.network.name} has no online form; leave out --online")
    return OnlineClassifier(clip_form.backbone, clip_form.head)


def _load(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    check_tensors(model, tensors)
    state = {key: value.to(torch.float32) for key, value in tensors.items()}
    counters = (key for key in model.state_dict() if key.endswith(COUNTER))
    model.load_state_dict(state | dict.fromkeys(counters, torch.tensor(0)), assign=True)
    model.eval().requires_grad_(False)


def check_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that do not fit the model exactly, naming the first few."""
    problems, unexpected = unfit(model, tensors)
    if unexpected:
        problems.append(f"unexpected: {few(unexpected)}")
    if not problems:
        odd = {
            "not finite floats": [n for n, tensor in tensors.items() if not _finite(tensor)],
            "negative variances": [
                n for n, tensor in tensors.items() if n.endswith(_VARIANCE) and tensor.min() < 0
            ],
        }
        problems = [f"{problem}: {few(names)}" for problem, names in odd.items() if names]
    if problems:
        raise CheckpointError("the weights do not fit the network. " + "; ".join(problems))


def unfit(model: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Return what is wrong with tensors for the model, and the names of those it does not have."""
    expected = {
        key: tuple(value.shape)
        for key, value in model.state_dict().items()
        if not key.endswith(COUNTER)
    }
    problems = {
        "missing": [key for key in expected if key not in tensors],
        "wrong shape": [
            f"{key} {tuple(tensors[key].shape)}, not {shape}"
            for key, shape in expected.items()
            if key in tensors and tuple(tensors[key].shape) != shape
        ],
    }
    found = [f"{problem}: {few(keys)}" for problem, keys in problems.items() if keys]
    return found, [key for key in tensors if key not in expected]


def _finite(tensor: Tensor) -> bool:
    """Return whether values are finite as the float32 that the network computes with."""
    return tensor.is_floating_point() and bool(torch.isfinite(tensor.to(torch.float32)).all())


def few(keys: Sequence[str], count: int = 3) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more
