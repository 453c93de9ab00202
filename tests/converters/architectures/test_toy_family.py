"""A new network family is one file and one entry in `FAMILIES`; nothing else knows of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from converters.architectures import FAMILIES
from converters.architectures.base import Network, refuse_offline, shift_place
from converters.architectures.classifier import (
    VideoClassifier,
    build_online,
    build_reference,
    cache_shapes,
)
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize, topology
from converters.checkpoints.writer import upstream_names
from edge_tsm.errors import CheckpointError, InputError
from tests.helpers.toy_family import Toy

SHIFT = Shift(segments=4, div=4, direction="past")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    with pytest.raises(
        InputError, match="unknown network 'toynet'; choose mobilenetv2, mobilenetv3"
    ):
        topology("toynet")
    monkeypatch.setitem(FAMILIES, Toy.family, Toy)
    return topology("toynet")


def fresh(network: Network) -> VideoClassifier:
    model = VideoClassifier(network, 3, SHIFT)
    initialize(model, seed=1)
    return model.eval().requires_grad_(False)


def blueprint(network: Network, *, batch: int = 1) -> SimpleNamespace:
    return SimpleNamespace(network=network, classes=3, segments=4, shift=SHIFT, batch=batch)


def clip(*, size: int = 32) -> torch.Tensor:
    return torch.randn(1, 12, size, size, generator=torch.Generator().manual_seed(0))


def test_every_family_is_listed_under_its_own_name() -> None:
    assert list(FAMILIES) == [
        *("mobilenet", "resnet", "mobileone", "lcnet", "efficientnet", "regnet"),
        *("resnet3d", "slowfast"),
    ]
    assert all(family.family == name for name, family in FAMILIES.items())


def test_the_order_of_frames_reaches_its_answer(network: Network) -> None:
    model, x = fresh(network), clip()
    turned = x.reshape(1, 4, 3, 32, 32).flip(1).reshape(x.shape)
    assert model(x).shape == (1, 3)
    assert not torch.allclose(model(x), model(turned), atol=1e-5)


def test_weights_are_loaded_strictly(network: Network) -> None:
    model = fresh(network)
    state = {k: v for k, v in model.state_dict().items() if "num_batches" not in k}
    assert torch.equal(build_reference(blueprint(network), state)(clip()), model(clip()))
    del state["backbone.conv.bn.bias"]
    with pytest.raises(CheckpointError, match=r"missing: backbone\.conv\.bn\.bias"):
        build_reference(blueprint(network), state)


def test_frame_by_frame_it_answers_as_the_clip_form(network: Network) -> None:
    model, x = fresh(network), clip()
    state = {k: v for k, v in model.state_dict().items() if "num_batches" not in k}
    online, caches = build_online(blueprint(network), state), ()
    assert cache_shapes(blueprint(network, batch=2), 32) == [(2, 2, 4, 4)]
    for frame, expected in zip(x.reshape(4, 1, 3, 32, 32), model.frames(x), strict=True):
        logits, *caches = online(frame, *caches)
        assert torch.allclose(logits[0], expected, atol=1e-6)


def test_usual_answers_need_no_code(network: Network) -> None:
    assert shift_place(network) == "blockres"
    refuse_offline(network, "past", force=False)
    assert network.with_default_shifts() == network.with_non_local("gaussian", scale=True)
    with pytest.raises(CheckpointError, match="ResNet and MobileNetV2, and no toynet"):
        upstream_names(network, fresh(network).state_dict())


def test_nothing_in_the_tree_knows_of_it() -> None:
    root = Path(__file__).resolve().parents[3]
    files = [path for room in ("converters", "edge_tsm") for path in (root / room).rglob("*.py")]
    assert len(files) > 50
    assert not [path for path in files if "toynet" in path.read_text(encoding="utf-8")]
