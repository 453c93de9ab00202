"""Backbones as their libraries build them: names, shapes and answers, recorded in one golden file.

The answers are those of the libraries' own modules with weights that follow from the names, plain
and with upstream's shift around the convolutions that forks of TSM shift. Where the libraries are
installed, a test asks them again; `python -m tests.helpers.backbones` writes the file anew (it
takes timm, torchvision and efficientnet_pytorch).
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.helpers import upstream

FILE = Path(__file__).resolve().parent.parent / "goldens" / "backbones.json.gz"
SEGMENTS, CLASSES, SIZE_PX = 4, 5, 80  # 80 px: the last stages have odd sides
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Case:
    """A library's network: the name here, the attribute path of its classifier, what is shifted.

    `shifted` fits the paths of modules that a shift wraps; `answers` is False where names and
    shapes are enough.
    """

    library: str
    network: str
    ours: str
    head: str
    shifted: str
    answers: bool = True

    @property
    def id(self) -> str:
        return f"{self.library} {self.network}"


_TV, _TIMM, _LUKE = "torchvision", "timm", "efficientnet_pytorch"
_RES = r"layer\d\.\d+\.conv1"
_TIMM_V3 = r"blocks\.[1-5]\.[1-9]\.conv_pw"
_TIMM_B0 = r"blocks\.(?:[12]\.1|[34]\.[12]|5\.[1-3])\.conv_pw"


def _features(blocks: str, rest: str = r"block\.0\.0") -> str:
    return rf"features\.(?:{blocks})\.{rest}"


CASES = (
    Case(_TV, "resnext50_32x4d", "resnext50_32x4d", "fc", _RES),
    Case(_TV, "resnext101_32x8d", "resnext101_32x8d", "fc", _RES, answers=False),
    Case(_TV, "wide_resnet50_2", "wide_resnet50_2", "fc", _RES, answers=False),
    Case(_TIMM, "seresnet50", "seresnet50", "fc", _RES),
    Case(_TIMM, "seresnext50_32x4d", "seresnext50_32x4d", "fc", _RES, answers=False),
    Case(_TIMM, "legacy_seresnet50", "legacy_seresnet50", "last_linear", _RES),
    Case(_TIMM, "legacy_seresnext50_32x4d", "legacy_seresnext50_32x4d", "last_linear", _RES),
    Case(_TIMM, "ecaresnet50d", "ecaresnet50d", "fc", _RES),
    Case(_TIMM, "ecaresnet101d", "ecaresnet101d", "fc", _RES, answers=False),
    Case(
        _TV,
        "mobilenet_v2",
        "mobilenetv2",
        "classifier.1",
        _features("3|5|6|8|9|10|12|13|15|16", r"conv\.0\.0"),
    ),
    Case(_TIMM, "mobilenetv2_100", "mobilenetv2", "classifier", r"blocks\.\d\.[1-3]\.conv_pw"),
    Case(
        _TV, "mobilenet_v3_small", "mobilenetv3_small", "classifier.3", _features("3|5|6|8|10|11")
    ),
    Case(
        _TV,
        "mobilenet_v3_large",
        "mobilenetv3_large",
        "classifier.3",
        _features("3|5|6|8|9|10|12|14|15"),
    ),
    Case(_TIMM, "mobilenetv3_small_100", "mobilenetv3_small", "classifier", _TIMM_V3),
    Case(_TIMM, "tf_mobilenetv3_small_100", "tf_mobilenetv3_small", "classifier", _TIMM_V3),
    Case(
        _TIMM, "mobilenetv3_large_100", "mobilenetv3_large", "classifier", _TIMM_V3, answers=False
    ),
    Case(
        _TV,
        "efficientnet_b0",
        "efficientnet_b0",
        "classifier.1",
        _features(r"[23]\.1|[45]\.[12]|6\.[1-3]"),
    ),
    Case(_TIMM, "efficientnet_b0", "efficientnet_b0", "classifier", _TIMM_B0),
    Case(_TIMM, "tf_efficientnet_b0", "tf_efficientnet_b0", "classifier", _TIMM_B0),
    Case(
        _LUKE,
        "efficientnet-b0",
        "efficientnet_b0",
        "_fc",
        r"_blocks\.(?:2|4|6|7|9|10|12|13|14)\._expand_conv",
    ),
    Case(_LUKE, "efficientnet-b1", "efficientnet_b1", "_fc", "", answers=False),
    Case(_TIMM, "efficientnet_b2", "efficientnet_b2", "classifier", "", answers=False),
    Case(
        _LUKE,
        "efficientnet-b3",
        "efficientnet_b3",
        "_fc",
        r"_blocks\.(?:[3467]|9|1[0124567]|19|2[01235])\._expand_conv",
    ),
    Case(_TV, "regnet_x_400mf", "regnet_x_400mf", "fc", r".*\.f\.a\.0"),
    Case(_TV, "regnet_y_400mf", "regnet_y_400mf", "fc", r".*block\d-\d+"),
    Case(_TIMM, "regnety_004", "regnet_y_400mf", "head.fc", r".*\.conv1\.conv"),
    *(
        Case(_TV, name, name, "fc", "", answers=False)
        for name in (
            f"regnet_{kind}_{size}" for kind in "xy" for size in ("800mf", "1_6gf", "3_2gf")
        )
    ),
    Case(_TIMM, "regnetx_004", "regnetx_004", "head.fc", "", answers=False),
    Case(_TIMM, "regnety_008", "regnety_008", "head.fc", "", answers=False),
)


def recorded() -> dict[str, Any]:
    """What the libraries' networks hold and answer, by the cases' ids."""
    content: dict[str, Any] = json.loads(gzip.decompress(FILE.read_bytes()))
    return content


def checkpoint(
    golden: Mapping[str, Any], *, shifted: bool, meta: bool = False
) -> dict[str, Tensor]:
    """The state dict of a TSN with the backbone: `base_model.`, `.net.` where shifted, `new_fc`."""
    wrapped = golden["wrapped"] if shifted else []
    state = {}
    for name, shape in golden["tensors"].items():
        stem = next((path for path in wrapped if name.startswith(f"{path}.")), None)
        key = f"{stem}.net{name.removeprefix(stem)}" if stem else name
        full = name if name.startswith("new_fc.") else f"base_model.{key}"
        state[full] = torch.empty(shape, device="meta") if meta else weight(name, shape)
    return state


def weight(name: str, shape: list[int]) -> Tensor:
    """A tensor that follows from its name: statistics and signals stay alive through any depth."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    kind = name.rpartition(".")[2]
    if kind == "running_var":
        value = 0.5 + random.random_sample(shape)
    elif len(shape) == 1 and kind == "weight":
        value = 0.45 + 0.5 * random.random_sample(shape)
    elif len(shape) == 1:
        value = 0.1 * random.standard_normal(shape)
    else:
        gain = 2.5 if len(shape) == 4 and shape[1] == 1 else 1.0  # depthwise
        value = gain * random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(value.astype(np.float32))


def clip() -> Tensor:
    """One clip (1, T*3, H, W)."""
    shape = (1, SEGMENTS * 3, SIZE_PX, SIZE_PX)
    return torch.from_numpy(np.random.RandomState(7).standard_normal(shape).astype(np.float32))


# --- the libraries themselves --------------------------------------------------------------------


class _Shifted(nn.Module):
    """A wrapper as TSM's: shift the input, then what was there before, under the name `net`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(upstream.shift(x, SEGMENTS, 8))


def _torchvision_names() -> None:
    """Let a torchvision that was built for CUDA be imported beside a torch for CPUs.

    Its compiled operators cannot be loaded there; two are looked up by name at import.
    """
    try:
        torch.ops.torchvision.nms  # noqa: B018
    except AttributeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)


_KEPT: list[Any] = []  # torch forgets the names with the object


def _create(case: Case) -> nn.Module:
    _torchvision_names()
    model: nn.Module
    if case.library == _TV:
        from torchvision import models

        model = getattr(models, case.network)()
    elif case.library == _TIMM:
        import timm

        model = timm.create_model(case.network)
    else:
        from efficientnet_pytorch import EfficientNet

        model = EfficientNet.from_name(case.network)
    return model.eval()


def ask(case: Case) -> dict[str, Any]:
    """What a library says now, as it is recorded."""
    model = _create(case)
    head = model.get_submodule(case.head)
    model.set_submodule(case.head, nn.Identity())
    shapes = {k: list(v.shape) for k, v in model.state_dict().items() if not k.endswith(COUNTER)}
    width: int = head.in_features
    shapes |= {"new_fc.weight": [CLASSES, width], "new_fc.bias": [CLASSES]}
    pattern = re.compile(case.shifted or "(?!)")
    wrapped = [path for path, _ in model.named_modules() if pattern.fullmatch(path)]
    found: dict[str, Any] = {"tensors": shapes, "wrapped": wrapped}
    if case.answers:
        state = {name: weight(name, shape) for name, shape in shapes.items()}
        new_fc = [state.pop(f"new_fc.{kind}") for kind in ("weight", "bias")]
        model.load_state_dict(state, strict=False)
        found["plain"] = _logits(model, *new_fc)
        for path in wrapped:
            model.set_submodule(path, _Shifted(model.get_submodule(path)))
        found["shifted"] = _logits(model, *new_fc)
    return found


def _logits(model: nn.Module, weight: Tensor, bias: Tensor) -> list[float]:
    with torch.no_grad():
        features = model(clip().reshape(SEGMENTS, 3, SIZE_PX, SIZE_PX))
        logits = torch.nn.functional.linear(features, weight, bias).mean(0)
    return [round(value, 6) for value in logits.tolist()]


def main(ask: Callable[[Case], dict[str, Any]] = ask) -> None:
    """Record all cases anew."""
    content = {case.id: ask(case) for case in CASES}
    FILE.write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))


if __name__ == "__main__":
    main()
