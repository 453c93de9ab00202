"""A new ecosystem of checkpoints is one file and one entry in `READERS`, up to a proven bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from converters.architectures import FAMILIES
from converters.architectures.classifier import VideoClassifier
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize
from converters.builder import Settings, convert
from converters.checkpoints import READERS, read_checkpoint
from converters.checkpoints.keys import Reader, Tensors, channels, find_head
from converters.checkpoints.upstream import CONVENTION
from converters.recipe import Options, Topology
from edge_tsm import load
from edge_tsm.bundle.card import Card
from edge_tsm.bundle.golden import Golden
from edge_tsm.errors import CheckpointError, InputError
from edge_tsm.inference.preprocess import Preprocessor
from tests.helpers.toy_family import Toy

SEGMENTS = 4


def recognizes(keys: Iterable[str]) -> bool:
    return any(name.startswith("toy/") for name in keys)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    plain = {name.removeprefix("toy/").replace("/", "."): t for name, t in tensors.items()}
    head, classes, rest = find_head(plain, ("answer",))
    canonical = {n if n.startswith("head.") else f"backbone.{n}": t for n, t in rest.items()}
    width, _ = channels(canonical, "backbone.stem.conv.weight")
    hints = [("the toy file", {"segments": outer["frames"], "shift_div": 4})]
    convention = replace(CONVENTION, name="toyware", shift_direction="past")
    return Topology(Toy(width), classes, head, hints, convention), canonical


@pytest.fixture
def model() -> VideoClassifier:
    made = VideoClassifier(Toy(width=8), 3, Shift(SEGMENTS, 4, "past"))
    initialize(made, seed=1)
    return made.eval().requires_grad_(False)


@pytest.fixture
def toy_file(model: VideoClassifier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of the toy ecosystem, which is known from here on."""
    renamed = {
        "toy/" + name.removeprefix("backbone.").replace("head.", "answer.").replace(".", "/"): t
        for name, t in model.state_dict().items()
    }
    path = tmp_path / "toy.pth"
    torch.save({"frames": SEGMENTS, "model": renamed}, path)
    with pytest.raises(CheckpointError, match="no TSM network is known with names like toy/stem"):
        read_checkpoint(path)
    monkeypatch.setitem(FAMILIES, Toy.family, Toy)
    monkeypatch.setitem(READERS, "toy", Reader("toy", recognizes, read))
    return path


def test_its_files_are_recognized_and_read(toy_file: Path, model: VideoClassifier) -> None:
    checkpoint = read_checkpoint(toy_file)
    assert checkpoint.topology.network == Toy(width=8)
    for name, tensor in checkpoint.tensors.items():
        assert torch.equal(tensor, model.state_dict()[name])
    assert read_checkpoint(toy_file, "toy").topology.classes == 3
    for other in set(READERS) - {"toy"}:
        with pytest.raises(CheckpointError):
            read_checkpoint(toy_file, other)


@pytest.mark.parametrize("online", [False, True])
def test_a_bundle_answers_as_the_network_does(
    online: bool, toy_file: Path, model: VideoClassifier, tmp_path: Path
) -> None:
    bundle = convert(toy_file, tmp_path / "toy.bundle", Options(online=online), Settings(ir=False))
    card, golden = Card.read(bundle), Golden.read(bundle)
    assert (card.arch["backbone"], card.arch["segments"]) == ("toynet", SEGMENTS)
    assert [state.shape for state in card.state] == ([(1, 2, 28, 28)] if online else [])
    clips = [Preprocessor(card.preprocess).tensor(list(clip)) for clip in golden.clips]
    expected = model(torch.from_numpy(np.stack(clips))).numpy()
    for engine in ("onnxruntime", "openvino"):
        with load(bundle, engine=engine) as recognizer:
            assert np.allclose(golden.answers(recognizer), expected, atol=1e-4)


def test_an_unknown_ecosystem_is_refused_by_name(toy_file: Path) -> None:
    with pytest.raises(InputError, match=r"unknown code base 'caffe'; choose paddle, .*, mit, toy"):
        read_checkpoint(toy_file, "caffe")
