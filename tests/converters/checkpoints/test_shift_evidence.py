"""Where the shift is: weights, arguments, names and the option may not contradict each other."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from converters.architectures.topologies import topology
from converters.checkpoints import read_checkpoint
from converters.facts import Facts
from converters.planning import plan
from converters.recipe import Options
from edge_tsm.errors import CheckpointError
from tests.helpers.odd_files import light_state

STATE = light_state()
MOBILE = light_state("mobilenetv2")
BLOCKRES, NONE = (
    "TSM_x_RGB_resnet18_shift8_blockres_avg_segment8_e1",
    "TSM_x_RGB_resnet18_avg_segment8_e1",
)


def renamed(state: Mapping[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {name.replace(old, new): tensor for name, tensor in state.items()}


FUNCTION = renamed(STATE, ".net.", ".")  # as forks leave it that shift in a function


def facts(
    state: Mapping[str, Tensor],
    folder: Path,
    *,
    name: str = "x",
    args: object = None,
    options: Options | None = None,
) -> Facts:
    path = folder / f"{name}.pth"
    torch.save({"state_dict": state, **({"args": args} if args else {})}, path)
    return plan(path, options or Options()).recipe.facts


def shift(found: Facts) -> tuple[str, str, str]:
    return found.own["shift"].value, found.own["shifted blocks"].value, found.own["shift"].source


# --- no wrapper shows it -------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv2"])
def test_without_evidence_the_place_is_asked_for(arch: str, tmp_path: Path) -> None:
    state = renamed(light_state(arch), ".net.", ".")
    with pytest.raises(CheckpointError, match=r"nothing shows whether.*--shift-place"):
        facts(state, tmp_path)


@pytest.mark.parametrize(
    ("place", "expected"),
    [("blockres", "8 of 8"), ("block", "8 of 8"), ("none", "0 of 8")],
)
def test_the_option_is_evidence(place: str, expected: str, tmp_path: Path) -> None:
    found = facts(FUNCTION, tmp_path, options=Options(shift_place=place))
    assert shift(found) == (place, expected, "option --shift-place")


def test_deep_networks_are_shifted_in_every_second_block(tmp_path: Path) -> None:
    state = renamed(light_state("resnet101"), ".net.", ".")
    found = facts(state, tmp_path, options=Options(shift_place="blockres"))
    assert found.own["shifted blocks"].value == "18 of 33"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (argparse.Namespace(shift=True, shift_place="blockres"), "blockres"),
        (argparse.Namespace(shift=True, shift_place="block", num_segments=8), "block"),
        (argparse.Namespace(shift=False, shift_place="blockres"), "none"),
        ({"model": {"is_shift": True, "shift_place": "blockres"}}, "blockres"),
    ],
)
def test_arguments_in_the_file_are_evidence(args: object, expected: str, tmp_path: Path) -> None:
    found = facts(FUNCTION, tmp_path, args=args)
    assert (found.own["shift"].value, found.own["shift"].source) == (
        expected,
        "the checkpoint's `args`",
    )


def test_names_and_args_txt_are_evidence(tmp_path: Path) -> None:
    assert shift(facts(FUNCTION, tmp_path, name=BLOCKRES))[::2] == ("blockres", "name of the file")
    assert shift(facts(FUNCTION, tmp_path, name=NONE))[::2] == ("none", "name of the file")
    (tmp_path / "args.txt").write_text("Namespace(shift=True, shift_place='block')")
    assert shift(facts(FUNCTION, tmp_path))[::2] == ("block", "args.txt")


# --- contradictions ------------------------------------------------------------------------------


def test_a_name_and_weights_that_differ_stop_the_conversion(tmp_path: Path) -> None:
    message = "name of the file says shift none, the weights show blockres"
    with pytest.raises(CheckpointError, match=message):
        facts(STATE, tmp_path, name=NONE)
    with pytest.raises(CheckpointError, match="says shift block, the weights show blockres"):
        facts(STATE, tmp_path, name=BLOCKRES.replace("blockres", "block"))


def test_an_option_against_the_weights_stops_the_conversion(tmp_path: Path) -> None:
    for place in ("block", "none"):
        message = f"--shift-place says shift {place}, the weights show blockres.*leave out"
        with pytest.raises(CheckpointError, match=message):
            facts(STATE, tmp_path, options=Options(shift_place=place))
    assert (
        facts(STATE, tmp_path, options=Options(shift_place="blockres")).own["shift"].source
        == "weights"
    )


def test_between_two_statements_the_option_decides(tmp_path: Path) -> None:
    args = argparse.Namespace(shift=True, shift_place="block")
    message = r"name of the file says shift blockres, the checkpoint's `args` says block.*--shift-"
    with pytest.raises(CheckpointError, match=message):
        facts(FUNCTION, tmp_path, name=BLOCKRES, args=args)
    chosen = Options(shift_place="block")
    assert (
        facts(FUNCTION, tmp_path, name=BLOCKRES, args=args, options=chosen).own["shift"].value
        == "block"
    )


def test_networks_with_one_place_have_it_whatever_it_is_called(tmp_path: Path) -> None:
    args = argparse.Namespace(shift=True, shift_place="block")
    found = facts(MOBILE, tmp_path, args=args)
    assert shift(found) == ("blockres", "10 of 17", "weights")


def test_a_place_that_nobody_knows_is_named(tmp_path: Path) -> None:
    args = argparse.Namespace(shift=True, shift_place="stem")
    with pytest.raises(CheckpointError, match=r"shift place is 'stem' \(the checkpoint's `args`\)"):
        facts(FUNCTION, tmp_path, args=args)


# --- wrappers of other names ---------------------------------------------------------------------


@pytest.mark.parametrize("word", ["conv", "module", "block", "shifted", "1", "shift.conv", "_conv"])
@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv2"])
def test_a_wrapper_of_any_name_is_the_shifts(arch: str, word: str, tmp_path: Path) -> None:
    torch.save(renamed(light_state(arch), ".net.", f".{word}."), tmp_path / "x.pth")
    read = read_checkpoint(tmp_path / "x.pth").topology
    assert read.network == topology(arch)
    assert read.shift_source == f"weights ({word} around what is shifted)"


def test_a_wrapper_of_blocks_is_place_block(tmp_path: Path) -> None:
    block = re.compile(r"(\.layer\d\.\d\.)")
    state = {block.sub(r"\1inner.", name): tensor for name, tensor in FUNCTION.items()}
    torch.save(state, tmp_path / "x.pth")
    read = read_checkpoint(tmp_path / "x.pth").topology
    assert read.network == topology("resnet18", shift="block")


def test_what_compiling_puts_around_layers_is_none(tmp_path: Path) -> None:
    torch.save(renamed(STATE, ".layer1.0.", ".layer1.0._orig_mod."), tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth").topology.shift_source == "weights"


def test_a_wrapper_of_some_other_layers_is_refused(tmp_path: Path) -> None:
    some = {
        name.replace(".net.", ".conv." if "layer1" in name else "."): tensor
        for name, tensor in STATE.items()
    }
    every = renamed(renamed(STATE, ".net.", ".conv."), "conv2.weight", "conv2.conv.weight")
    for state in (some, every):
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match="wrapper that does not wrap"):
            read_checkpoint(tmp_path / "x.pth")
