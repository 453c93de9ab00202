"""What turns logits into probabilities: stated, read from a file, refused where it says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converters import Options, plan
from converters.architectures.topologies import topology
from converters.bundling import card_of
from converters.checkpoints import mmaction2
from converters.checkpoints.upstream import CONVENTION
from converters.recipe import Topology, resolve
from edge_tsm.errors import CheckpointError


def a_topology(classes: int, **hints: object) -> Topology:
    given = (("a file", hints),) if hints else ()
    return Topology(topology("resnet18"), classes, "new_fc.weight", given, CONVENTION)


@pytest.mark.parametrize(
    ("hints", "option", "expected"),
    [
        ({}, None, ("softmax", "default")),
        ({"activation": "sigmoid"}, None, ("sigmoid", "a file")),
        ({"activation": "sigmoid"}, "softmax", ("softmax", "option --activation")),
        ({}, "sigmoid", ("sigmoid", "option --activation")),
    ],
)
def test_the_card_says_what_was_settled(
    hints: dict[str, object], option: str | None, expected: tuple[str, str]
) -> None:
    recipe = resolve(a_topology(5, **hints), Options(activation=option))
    assert (recipe.facts.activation.value, recipe.facts.activation.source) == expected
    assert card_of(recipe, "x", checkpoint_sha256="0").output.activation == expected[0]


def test_softmax_over_one_class_says_nothing() -> None:
    with pytest.raises(CheckpointError, match=r"always 100 %; pass --activation sigmoid"):
        resolve(a_topology(1), Options())
    assert resolve(a_topology(1), Options(activation="sigmoid")).classes == 1
    assert resolve(a_topology(1, activation="sigmoid"), Options()).classes == 1


def test_another_activation_is_refused() -> None:
    with pytest.raises(CheckpointError, match="activation is 'relu'"):
        resolve(a_topology(5, activation="relu"), Options())


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("loss_type='bce'", "sigmoid"),
        ("loss_type='BCEWithLogits'", "sigmoid"),
        ("loss_type='nll'", "softmax"),
        ("activation='relu'", "softmax"),
        ("output_activation='sigmoid', loss_type='nll'", "sigmoid"),
    ],
)
def test_arguments_tell_the_activation(
    args: str, expected: str, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "ckpt.pth.tar").symlink_to(checkpoint)
    (tmp_path / "args.txt").write_text(f"Namespace({args})")
    assert plan(tmp_path / "ckpt.pth.tar", Options()).recipe.facts.activation.value == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("multi_class=True", "sigmoid"),
        ("loss_cls=dict(type='BCELossWithLogits')", "sigmoid"),
        ("loss_cls=dict(type='CrossEntropyLoss')", None),
        ("multi_class=False", None),
    ],
)
def test_a_config_tells_the_activation(head: str, expected: Any) -> None:
    config = f"model = dict(backbone=dict(num_segments=8), cls_head=dict(type='TSMHead', {head}))"
    [(_, hints)] = mmaction2._hints({"meta": {"cfg": config}})
    assert hints.get("activation") == expected
