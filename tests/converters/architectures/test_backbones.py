"""Backbones that people put into TSM, each against its own library's answers."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from converters.architectures import FAMILIES
from converters.architectures.classifier import build_reference
from converters.architectures.shift import Shift
from converters.architectures.topologies import topology
from converters.bundling import card_of
from converters.checkpoints import backbones
from converters.checkpoints.keys import Tensors, find_head
from converters.checkpoints.upstream import CONVENTION
from converters.checkpoints.wrappers import read_wrapped
from converters.export.onnx import export_onnx
from converters.recipe import Options, Topology, resolve
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.bundle.card import Card
from tests.helpers.backbones import (
    CASES,
    CLASSES,
    SEGMENTS,
    SIZE_PX,
    Case,
    ask,
    checkpoint,
    clip,
    recorded,
)

GOLDENS = recorded()
ANSWERED = [case for case in CASES if case.answers]
Graphs = Callable[[Case], tuple[Path, Card]]
NAMED = [name for family in FAMILIES.values() for name in family.names]


def read(state: Tensors, case: Case) -> tuple[Any, Tensors]:
    """The network of a case, the right one where names fit two, and its weights."""
    plain = {name.removeprefix("base_model."): tensor for name, tensor in state.items()}
    _, _, rest = find_head(plain, ("new_fc",))
    network, canonical, _ = read_wrapped(rest, backbones.read)
    return network.variants.get(case.ours, network), canonical


def close(case: Case, *, shifted: bool) -> None:
    """Compare logits with those recorded, to 1e-4 of their range."""
    golden = GOLDENS[case.id]
    network, canonical = read(checkpoint(golden, shifted=shifted), case)
    blueprint = SimpleNamespace(
        network=network, classes=CLASSES, segments=SEGMENTS, shift=Shift(SEGMENTS, 8), batch=1
    )
    with torch.no_grad():
        logits = build_reference(blueprint, canonical)(clip())[0]
    expected = torch.tensor(golden["shifted" if shifted else "plain"])
    assert (logits - expected).abs().max() < 1e-4 * (expected.max() - expected.min())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_librarys_names_and_shapes_tell_the_network(case: Case) -> None:
    state = checkpoint(GOLDENS[case.id], shifted=False, meta=True)
    network, canonical = read(state, case)
    assert network.name == case.ours
    assert set(network.shifts) == {"none"}
    assert len(canonical) == len(state)


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.id)
def test_with_its_shift_it_answers_as_the_librarys_own_network(case: Case) -> None:
    close(case, shifted=True)


@pytest.mark.parametrize("name", ["torchvision efficientnet_b0", "torchvision mobilenet_v3_small"])
def test_without_a_shift_it_answers_as_an_image_network(name: str) -> None:
    close(next(case for case in CASES if case.id == name), shifted=False)


@pytest.mark.parametrize("case", [case for case in CASES if case.shifted], ids=lambda case: case.id)
def test_shifts_are_found_where_the_wrappers_are(case: Case) -> None:
    golden = GOLDENS[case.id]
    network, _ = read(checkpoint(golden, shifted=True, meta=True), case)
    assert len([place for place in network.shifts if place != "none"]) == len(golden["wrapped"])


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.id)
def test_a_shift_that_no_key_shows_goes_where_forks_put_it(case: Case) -> None:
    golden = GOLDENS[case.id]
    bare, _ = read(checkpoint(golden, shifted=False, meta=True), case)
    shifted, _ = read(checkpoint(golden, shifted=True, meta=True), case)
    if "block" not in shifted.shifts:
        assert bare.with_default_shifts().shifts == shifted.shifts


@pytest.mark.parametrize(
    "name", ["torchvision mobilenet_v3_small", "torchvision mobilenet_v3_large"]
)
def test_a_mobilenet_v3_of_the_papers_widths_is_the_one_by_its_name(name: str) -> None:
    case = next(case for case in CASES if case.id == name)
    network, _ = read(checkpoint(GOLDENS[name], shifted=False, meta=True), case)
    assert network == topology(case.ours, shift="none")


@pytest.mark.parametrize("name", NAMED)
def test_a_name_builds_the_network_of_that_name(name: str) -> None:
    assert topology(name).name == name
    assert set(topology(name).shifts) != {"none"}


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.id)
def test_the_record_is_what_the_library_says_now(case: Case) -> None:
    missing = [m for m in {case.library, "torchvision"} if importlib.util.find_spec(m) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    found, golden = ask(case), GOLDENS[case.id]
    assert (found["tensors"], found["wrapped"]) == (golden["tensors"], golden["wrapped"])
    assert found["shifted"] == pytest.approx(golden["shifted"], abs=1e-4)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("network", ["tf_efficientnet_b0", "ecaresnet50d", "regnet_y_400mf"])
def test_an_exported_graph_answers_alike(network: str, engine: str, graphs: Graphs) -> None:
    case = next(case for case in ANSWERED if case.ours == network)
    path, card = graphs(case)
    with contextlib.closing(open_backend(engine, path, RuntimeOptions())) as backend:
        logits = backend.run({card.input.name: clip().numpy()})[card.output.name][0]
    expected = torch.tensor(GOLDENS[case.id]["shifted"]).numpy()
    assert abs(logits - expected).max() < 1e-4 * (expected.max() - expected.min())


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    """Export a case's network once for both engines."""
    folder = tmp_path_factory.mktemp("graphs")

    @functools.cache
    def export(case: Case) -> tuple[Path, Card]:
        network, canonical = read(checkpoint(GOLDENS[case.id], shifted=True), case)
        topology = Topology(network, CLASSES, "new_fc.weight", (), CONVENTION)
        recipe = resolve(topology, Options(segments=SEGMENTS, size=SIZE_PX))
        card = card_of(recipe, "x", checkpoint_sha256="0" * 64)
        model = build_reference(recipe, canonical)
        return export_onnx(model, card, folder / f"{network.name}.onnx"), card

    return export
