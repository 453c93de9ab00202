"""Layers that look along time and picture at once, in the two forms in which engines run them.

The reference works on volumes, (N, C, T, H, W), as upstream's code does. For an engine, layers are
folded with their batch norms, and either stay so or work on planes: (T*N, C, H, W), time-major as
in networks with a shift. There a kernel over k frames is a concatenation of k shifted frames and a
2-D convolution; frames are shifted by slices and zeros, which an int8 graph moves as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.network import Classifier

Form = Literal["volumes", "planes"]
M = TypeVar("M", bound=nn.Module)


FORMS: dict[str, Form] = {"onnxruntime": "planes", "openvino": "volumes"}
"""By engine what it runs faster. ONNX Runtime's fast kernels are 2-D ones (NCHWc, QLinearConv);
OpenVINO runs 3-D ones as well, and needs no copies of shifted frames for them."""


@runtime_checkable
class Formed(Protocol):
    """A layer that is another one in an engine's graph."""

    def form(self, form: str) -> nn.Module:
        """Return the layer as an engine is to run it."""
        ...


def formed(model: M, form: str) -> M:
    """Return a copy of a network whose layers are in a form, batch norms folded."""
    model = deepcopy(model)
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, Formed)]
    for name, layer in layers:
        model.set_submodule(name, layer.form(form))
    return model.eval().requires_grad_(False)


class VolumeForms:
    """What specs of networks of these layers answer about forms."""

    @property
    def forms(self) -> dict[str, Form]:
        """See `Network`."""
        return FORMS

    def formed(self, model: nn.Module, form: str) -> nn.Module:
        """See `Network`."""
        return formed(model, form)


@dataclass(frozen=True)
class Kernel:
    """A convolution's widths, its kernel over `time` frames and `side` pixels each way."""

    inputs: int
    outputs: int
    time: int
    side: int


class Layer(nn.Module):
    """A layer in two forms; one that is `early` works on planes in both, before `Volume`."""

    early = False

    def plane(self, form: str) -> bool:
        """Return whether the layer works on planes in a form."""
        return form == "planes" or self.early


class Frames(Layer):
    """A clip (N, T*3, H, W), channel `t*3 + c`, as a volume (N, 3, T, H, W)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """Return the volume."""
        clips, _, height, width = x.shape
        return x.reshape(clips, self.count, 3, height, width).transpose(1, 2)

    def form(self, form: str) -> nn.Module:
        """See `Formed`."""
        return _PlaneFrames(self.count) if self.plane(form) else self


class _PlaneFrames(Frames):
    def forward(self, x: Tensor) -> Tensor:
        clips, _, height, width = x.shape
        frames = x.reshape(clips, self.count, 3, height, width)
        if clips > 1:  # one clip is in order: no engine is to copy it
            frames = frames.transpose(0, 1)
        return frames.reshape(-1, 3, height, width)


class Volume(nn.Module):
    """Where early layers end: planes become a volume, in the form of volumes.

    OpenVINO runs a 3-D convolution of what has a zero point, as pictures have, in f32 (measured: a
    tenth of Slow's time in int8), and a 2-D one in int8.
    """

    def __init__(self, frames: int, *, early: bool) -> None:
        super().__init__()
        self.frames, self.early = frames, early

    def forward(self, x: Tensor) -> Tensor:
        """Return the volume as it is."""
        return x

    def form(self, form: str) -> nn.Module:
        """See `Formed`."""
        between = form == "volumes" and self.early
        return _Stacked(self.frames, early=True) if between else self


class _Stacked(Volume):
    def forward(self, x: Tensor) -> Tensor:
        rows, *inner = x.shape
        stacked = x.reshape(self.frames, rows // self.frames, *inner)  # (T, N, C, H, W)
        return stacked.permute(1, 2, 0, 3, 4)


class Pick(Layer):
    """Some frames of a volume, in order, by runs of equal steps."""

    def __init__(self, frames: int, chosen: Sequence[int]) -> None:
        super().__init__()
        self.frames, self.runs = frames, _runs(chosen)

    def forward(self, x: Tensor) -> Tensor:
        """Pick from (N, C, T, H, W)."""
        return _joined([x[:, :, run.start : run.stop : run.step] for run in self.runs], 2)

    def form(self, form: str) -> nn.Module:
        """See `Formed`."""
        chosen = [t for run in self.runs for t in run]
        return _PlanePick(self.frames, chosen) if self.plane(form) else self


class _PlanePick(Pick):
    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(self.frames, -1, *x.shape[2:])  # (T, N*C, H, W)
        picked = _joined([rows[run.start : run.stop : run.step] for run in self.runs], 0)
        return picked.reshape(-1, *x.shape[1:])


def _runs(chosen: Sequence[int]) -> list[range]:
    """Return indices as ranges, as few as a greedy search finds.

    >>> _runs([0, 10, 20, 31])
    [range(0, 21, 10), range(31, 32)]
    """
    runs: list[range] = []
    left = list(chosen)
    while left:
        step = max(1, left[1] - left[0]) if len(left) > 1 else 1
        count = 1
        while count < len(left) and left[count] - left[count - 1] == step:
            count += 1
        runs.append(range(left[0], left[count - 1] + 1, step))
        left = left[count:]
    return runs


def _joined(parts: Sequence[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), axis)


class Convolution(Layer):
    """Convolution over time and picture, batch norm, ReLU; `frames` come in.

    Zeros are around both; every `stride`-th frame and every `step`-th pixel is kept.
    """

    def __init__(
        self,
        kernel: Kernel,
        frames: int,
        *,
        stride: int = 1,
        step: int = 1,
        norm: bool = True,
        activation: bool = True,
    ) -> None:
        super().__init__()
        side, time = kernel.side, kernel.time
        self.conv = nn.Conv3d(
            kernel.inputs,
            kernel.outputs,
            (time, side, side),
            (stride, step, step),
            padding=(time // 2, side // 2, side // 2),
            bias=False,
        )
        self.bn: nn.Module = nn.BatchNorm3d(kernel.outputs) if norm else nn.Identity()
        self.frames, self.activation = frames, activation

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer on (N, C, T, H, W)."""
        y: Tensor = self.bn(self.conv(x))
        return F.relu(y) if self.activation else y

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias with the batch norm in them."""
        weight = self.conv.weight.detach()
        if not isinstance(self.bn, nn.BatchNorm3d):
            return weight, torch.zeros(len(weight))
        scale, offset = _affine(self.bn)
        return weight * scale.reshape(-1, 1, 1, 1, 1), offset

    def form(self, form: str) -> nn.Module:
        """See `Formed`."""
        return _Planes(self) if self.plane(form) else _Folded(self)


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return by what a batch norm multiplies channels, and what it then adds."""
    assert isinstance(norm, nn.BatchNorm3d)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None  # as layers here make them
    scale = norm.weight.detach() / torch.sqrt(variance + norm.eps)
    return scale, norm.bias.detach() - mean * scale


class _Folded(nn.Module):
    """`Convolution` on volumes with its batch norm folded."""

    def __init__(self, layer: Convolution) -> None:
        super().__init__()
        conv, (weight, bias) = layer.conv, layer.folded()
        self.conv = nn.Conv3d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
        )
        self.conv.load_state_dict({"weight": weight, "bias": bias})
        self.activation = layer.activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return F.relu(y) if self.activation else y


class _Planes(nn.Module):
    """`Convolution` on (T*N, C, H, W): shifted frames beside each other, and a 2-D convolution."""

    def __init__(self, layer: Convolution) -> None:
        super().__init__()
        weight, bias = layer.folded()
        outputs, inputs, self.time, side, _ = weight.shape
        self.frames, self.activation = layer.frames, layer.activation
        self.stride, step = int(layer.conv.stride[0]), layer.conv.stride[1]
        self.conv = nn.Conv2d(inputs * self.time, outputs, side, step, padding=side // 2)
        beside = weight.transpose(1, 2).reshape(outputs, -1, side, side)  # (O, k*I, side, side)
        self.conv.load_state_dict({"weight": beside, "bias": bias})

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self._beside(x))
        return F.relu(y) if self.activation else y

    def _beside(self, x: Tensor) -> Tensor:
        """Return what each kept frame sees: (T'*N, k*C, H, W)."""
        if self.time == self.stride == 1:
            return x
        clips = x.shape[0] // self.frames
        offsets = range(-(self.time // 2), self.time - self.time // 2)
        return _joined([self._moved(x, offset, clips) for offset in offsets], 1)

    def _moved(self, x: Tensor, offset: int, clips: int) -> Tensor:
        """Return the frames `offset` later than those that are kept, zeros beyond the ends."""
        blocks, phase = divmod(offset, self.stride)
        if self.stride > 1:
            rows = x.reshape(self.frames, -1, *x.shape[2:])[phase :: self.stride]
            x = rows.reshape(-1, *x.shape[1:])
        rows_moved = blocks * clips
        if blocks > 0:
            return F.pad(x[rows_moved:], (0, 0, 0, 0, 0, 0, 0, rows_moved))
        if blocks < 0:
            return F.pad(x[:rows_moved], (0, 0, 0, 0, 0, 0, -rows_moved, 0))
        return x


@dataclass(frozen=True)
class Relation:
    """How a non-local block relates positions: by a softmax, or by products over their number.

    What is attended to is pooled by `pool` pixels each way first.
    """

    softmax: bool
    pool: int


class NonLocal(Layer):
    """Attention over all positions of all frames, added to what comes in; inner width `inner`.

    Source: facebookresearch/SlowFast, `models/nonlocal_helper.py`.
    """

    def __init__(self, channels: int, inner: int, relation: Relation, frames: int) -> None:
        super().__init__()
        self.frames, self.relation = frames, relation
        self.theta, self.phi, self.g = (nn.Conv3d(channels, inner, 1) for _ in range(3))
        self.out: nn.Module = nn.Conv3d(inner, channels, 1)
        self.bn: nn.Module = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on (N, C, T, H, W)."""
        seen = self._pooled(x)
        theta, phi, g = (
            self._positions(layer(y))
            for layer, y in ((self.theta, x), (self.phi, seen), (self.g, seen))
        )
        pairs = theta.transpose(1, 2) @ phi  # (N, positions, pooled positions)
        if self.relation.softmax:
            shares = torch.softmax(pairs * theta.shape[1] ** -0.5, 2)
        else:
            shares = pairs / pairs.shape[2]
        result: Tensor = x + self.bn(self.out(self._placed(g @ shares.transpose(1, 2), x)))
        return result

    def _pooled(self, x: Tensor) -> Tensor:
        side = self.relation.pool
        return F.max_pool3d(x, (1, side, side)) if side > 1 else x

    def _positions(self, x: Tensor) -> Tensor:
        """Return (N, C, positions)."""
        return x.flatten(2)

    def _placed(self, found: Tensor, x: Tensor) -> Tensor:
        """Return what was found at the positions of `x` in the shape of `x`."""
        return found.reshape(found.shape[0], found.shape[1], *x.shape[2:])

    def form(self, form: str) -> nn.Module:
        """See `Formed`."""
        kind = _PlaneNonLocal if self.plane(form) else NonLocal
        inner, channels = self.theta.weight.shape[:2]
        made = kind(channels, inner, self.relation, self.frames)
        scale, offset = _affine(self.bn)
        for name in ("theta", "phi", "g", "out"):
            conv = getattr(self, name)
            weight, bias = conv.weight.detach(), conv.bias.detach()
            if name == "out":
                weight, bias = weight * scale.reshape(-1, 1, 1, 1, 1), bias * scale + offset
            setattr(made, name, made.layer(weight, bias))
        made.bn = nn.Identity()
        return made

    @staticmethod
    def layer(weight: Tensor, bias: Tensor) -> nn.Module:
        """Return a pointwise convolution (O, I, 1, 1, 1) as this form has it."""
        conv = nn.Conv3d(weight.shape[1], weight.shape[0], 1)
        conv.load_state_dict({"weight": weight, "bias": bias})
        return conv


class _PlaneNonLocal(NonLocal):
    @staticmethod
    def layer(weight: Tensor, bias: Tensor) -> nn.Module:
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
        conv.load_state_dict({"weight": weight[..., 0], "bias": bias})
        return conv

    def _pooled(self, x: Tensor) -> Tensor:
        side = self.relation.pool
        return F.max_pool2d(x, side) if side > 1 else x

    def _positions(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        found = x.reshape(self.frames, -1, channels, x.shape[2] * x.shape[3])
        return found.permute(1, 2, 0, 3).reshape(found.shape[1], channels, -1)

    def _placed(self, found: Tensor, x: Tensor) -> Tensor:
        rows = found.reshape(*found.shape[:2], self.frames, -1).permute(2, 0, 1, 3)
        return rows.reshape(-1, found.shape[1], *x.shape[2:])


class PicturePool(Layer):
    """Max over 3 x 3 pixels, every second one kept, and every `stride`-th frame."""

    def __init__(self, frames: int, stride: int = 1) -> None:
        super().__init__()
        self.frames, self.stride = frames, stride

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, T, H, W)."""
        return F.max_pool3d(x, (1, 3, 3), (self.stride, 2, 2), (0, 1, 1))

    def form(self, form: str) -> nn.Module:
        """See `Formed`."""
        return _PlanePicturePool(self.frames, self.stride) if self.plane(form) else self


class _PlanePicturePool(PicturePool):
    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            rows = x.reshape(self.frames, -1, *x.shape[2:])[:: self.stride]
            x = rows.reshape(-1, *x.shape[1:])
        return F.max_pool2d(x, 3, 2, 1)


class TimePool(Layer):
    """Max over pairs of frames: T becomes T // 2."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, T, H, W)."""
        return F.max_pool3d(x, (2, 1, 1), (2, 1, 1))

    def form(self, form: str) -> nn.Module:
        """See `Formed`."""
        return _PlaneTimePool(self.frames) if self.plane(form) else self


class _PlaneTimePool(TimePool):
    def forward(self, x: Tensor) -> Tensor:
        # Everything that is not time becomes one axis, so that a 2-D pool can slide along time.
        flat = x.reshape(1, 1, self.frames, -1)
        pooled = F.max_pool2d(flat, (2, 1), (2, 1))
        return pooled.reshape(-1, *x.shape[1:])


Joined = Literal["logits", "softmax", "sigmoid"]


class Pooling(nn.Module):
    """What of the last maps the classifier sees: means over time and over windows.

    Windows have `window` pixels a side (0: the whole map); `frames` are those of each pathway.
    """

    def __init__(self, window: int, frames: Sequence[int]) -> None:
        super().__init__()
        self.window, self.frames = window, tuple(frames)
        self.on_planes = False

    def form(self, form: str) -> nn.Module:
        """See `Formed`."""
        self.on_planes = form == "planes"
        return self

    def forward(self, *maps: Tensor) -> Tensor:
        """Return features (N, F) of one map per pathway; of several windows, (N, windows, F)."""
        means = [self._over_time(x, count) for x, count in zip(maps, self.frames, strict=True)]
        side = self.window
        if not side or max(means[0].shape[2:]) <= side:
            return _joined([x.mean((2, 3)) for x in means], 1)
        seen = _joined([F.avg_pool2d(x, side, 1) for x in means], 1)
        clips, features = seen.shape[:2]
        return seen.reshape(clips, features, -1).transpose(1, 2)

    def _over_time(self, x: Tensor, frames: int) -> Tensor:
        """Return the mean over frames, (N, C, H, W)."""
        if not self.on_planes:
            return x.mean(2)
        return x.reshape(frames, -1, *x.shape[1:]).mean(0)


class VolumeClassifier(Classifier):
    """A network whose classifier may see several windows; `joined` says of what the mean is taken.

    A mean of probabilities is given as logits that mean it: those of a softmax are free by a
    constant for all classes, which brings them as near to the mean of logits as can be.
    """

    joined: Joined

    def average(self, logits: Tensor, *, clips: int) -> Tensor:
        """Return the logits of N clips, of what `Pooling` makes."""
        return logits if logits.ndim == 2 else join(logits, self.joined)


def join(logits: Tensor, joined: Joined) -> Tensor:
    """Return the logits (N, K) of several windows' (N, W, K); see `VolumeClassifier`."""
    mean = logits.mean(1)
    if joined == "logits":
        return mean
    if joined == "sigmoid":
        share = torch.sigmoid(logits).mean(1)
        return torch.log(share) - torch.log(torch.sigmoid(-logits).mean(1))
    shares = F.log_softmax(logits, 2)
    most = shares.amax(1)
    level = most + torch.log(torch.exp(shares - most[:, None]).mean(1))
    off = level - mean
    return level - (off.amax(1, keepdim=True) + off.amin(1, keepdim=True)) / 2
