"""The online form of a network: one frame and the caches in, logits and the new caches out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from converters.architectures.shift import Shift, TemporalShift


class OnlineShift(nn.Module):
    """`TemporalShift` from the past, frame by frame: the first fold comes from the frame before.

    `cache` is that fold, zeros where there is none; a run leaves this frame's in `kept`.
    Source: mit-han-lab/temporal-shift-module, online_demo/mobilenet_v2_tsm.py
    (`InvertedResidualWithShift`).
    """

    def __init__(self, shift: Shift) -> None:
        super().__init__()
        self.shift = shift
        self.cache: Tensor | None = None
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Shift (N, C, H, W), one frame of N videos."""
        fold, _ = self.shift.ends(x.shape[1])
        self.kept = x[:, :fold]
        cache = torch.zeros_like(self.kept) if self.cache is None else self.cache
        return torch.cat((cache, x[:, fold:]), dim=1)


class OnlineClassifier(nn.Module):
    """The same layers, under the same names, as the clip form whose parts are given.

    A step is (N, 3, H, W) and the caches to (N, classes) and the new caches, all in network order.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self._shifts: list[OnlineShift] = []
        for name, module in list(backbone.named_modules()):
            if isinstance(module, TemporalShift):
                shift = OnlineShift(module.shift)
                backbone.set_submodule(name, shift)
                self._shifts.append(shift)

    def forward(self, frame: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """Answer one frame of N videos; without caches these begin."""
        for index, shift in enumerate(self._shifts):
            shift.cache = caches[index] if caches else None
        logits: Tensor = self.head(self.backbone(frame))
        kept = [shift.kept for shift in self._shifts if shift.kept is not None]
        for shift in self._shifts:  # the caller has the state, and only the caller
            shift.cache = shift.kept = None
        return (logits, *kept)
