"""The network is found wherever in a file it lies, or what lies there is named."""

from __future__ import annotations

import argparse
import collections
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from converters.checkpoints import Checkpoint, read_checkpoint
from converters.planning import plan
from converters.recipe import Options
from edge_tsm.errors import CheckpointError, InputError
from tests.helpers.odd_files import light_state, write_cases

STATE = light_state()
AVERAGE = light_state(salt="ema")
HEADLESS = {name: tensor for name, tensor in STATE.items() if not name.startswith("new_fc.")}
Tensors = Mapping[str, Tensor]


def save(content: Any, folder: Path, **form: Any) -> Path:
    torch.save(content, folder / "x.pth", **form)
    return folder / "x.pth"


def named(state: Tensors, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def first_numbers(read: Checkpoint) -> dict[str, float]:
    return {name: float(tensor.flatten()[0]) for name, tensor in read.tensors.items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The numbers as they are read from the official form."""
    path = save({"state_dict": named(STATE, "module.")}, tmp_path_factory.mktemp("plain"))
    return first_numbers(read_checkpoint(path))


# --- the files of the shared data ----------------------------------------------------------------

REFUSED = {
    "classes1.pth": r"one class.*--activation sigmoid",
    "ema_beside.pth": r"holds 2 networks.*--weights",
    "functional_shift_noname.pth": r"nothing shows whether.*--shift-place",
    "gray.pth": "takes 1 channels: a grayscale network",
    "html.pth": r"is a web page \('quota exceeded'\)",
    "lfs.pth": "is a git-lfs pointer.*git lfs pull",
    "whole_module.pth": r"whole pickled module \(__main__\.Whole\).*state_dict",
}
SEGMENTS = {"args_namespace.pth": 16}


def test_every_shared_case_is_read_right_or_refused_with_the_way_out(
    shared: Path, tmp_path: Path
) -> None:
    if not (shared / "cases/checkpoints/make.py").is_file():
        pytest.skip("no cases in the shared data")
    for path in sorted(write_cases(shared, tmp_path).iterdir()):
        if path.name in REFUSED:
            with pytest.raises(CheckpointError, match=REFUSED[path.name]) as caught:
                plan(path, Options())
            assert "\n" not in str(caught.value)
            continue
        recipe = plan(path, Options()).recipe
        assert recipe.facts.own["shifted blocks"].value == "8 of 8", path.name
        assert recipe.shift.segments == SEGMENTS.get(path.name, 8)
        assert recipe.classes == 5
        assert recipe.warnings == []
        path.unlink()


# --- any key, any prefix, anything beside --------------------------------------------------------

WORDS = st.text("abcdefgmnot_", min_size=1, max_size=8).filter(lambda word: word.strip("_"))
JUNK: dict[str, Any] = {
    "epoch": 3,
    "args": argparse.Namespace(lr=0.1, root=Path("data"), dataset="mine"),
    "time": datetime.datetime(2024, 1, 1),
    "confusion": np.eye(3),
    "history": collections.defaultdict(list, loss=[1.0]),
    "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
    "queue": torch.ones(4, 2),
    "best": np.float64(0.5),
}
INSIDE: dict[str, Tensor] = {
    "criterion.weight": torch.ones(5),
    "n_averaged": torch.tensor(3),
    "val_acc.tp": torch.ones(5),
}


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    outer=st.lists(WORDS, max_size=3),
    prefix=st.lists(WORDS | st.sampled_from(["module", "model", "net", "_orig_mod"]), max_size=3),
    junk=st.sets(st.sampled_from(sorted(JUNK))),
    inside=st.sets(st.sampled_from(sorted(INSIDE))),
    form=st.sampled_from(["zip", "legacy", "tuple"]),
)
def test_wrapping_changes_nothing(
    outer: list[str],
    prefix: list[str],
    junk: set[str],
    inside: set[str],
    form: str,
    plain: dict[str, float],
    tmp_path: Path,
) -> None:
    start = "".join(f"{part}." for part in prefix)
    content: Any = named(STATE, start) | {name: INSIDE[name] for name in inside}
    for key in reversed(outer):
        content = {key: content} | {name: JUNK[name] for name in junk - {key}}
    if form == "tuple":
        content = (content, 12)
    read = read_checkpoint(save(content, tmp_path, _use_new_zipfile_serialization=form == "zip"))
    assert first_numbers(read) == plain
    assert read.topology.weights is not None
    assert all(name in read.topology.weights.value for name in inside)


def test_a_backbone_and_its_head_may_lie_apart(plain: dict[str, float], tmp_path: Path) -> None:
    head = {"weight": STATE["new_fc.weight"], "bias": STATE["new_fc.bias"]}
    backbone = {name.removeprefix("base_model."): tensor for name, tensor in HEADLESS.items()}
    read = read_checkpoint(save({"feature": backbone, "classifier": head}, tmp_path))
    assert first_numbers(read) == plain


def test_arrays_by_name_are_weights_too(plain: dict[str, float], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{name: tensor.numpy() for name, tensor in STATE.items()})
    assert first_numbers(read_checkpoint(tmp_path / "x.npz")) == plain


# --- several networks ----------------------------------------------------------------------------

SEVERAL = {
    "keys": {"state_dict": STATE, "state_dict_ema": AVERAGE},
    "model_ema": {"model": named(STATE, "module."), "model_ema": named(AVERAGE, "module.")},
    "prefixes": {"state_dict": named(STATE, "model.") | named(AVERAGE, "ema_model.module.")},
    "averaged": {"state_dict": STATE, "swa": named(AVERAGE, "module.")},
}


@pytest.mark.parametrize("form", SEVERAL)
def test_of_several_networks_the_user_chooses(
    form: str, plain: dict[str, float], tmp_path: Path
) -> None:
    path = save(SEVERAL[form], tmp_path)
    with pytest.raises(CheckpointError, match=r"holds 2 networks.*--weights"):
        read_checkpoint(path)
    raw, average = (read_checkpoint(path, weights=name) for name in ("raw", "ema"))
    assert first_numbers(raw) == plain
    assert first_numbers(average) != plain
    assert raw.topology.weights is not None
    assert raw.topology.weights.source == "option --weights raw"


def test_the_names_of_a_message_choose(tmp_path: Path) -> None:
    path = save({"student": STATE, "teacher": AVERAGE}, tmp_path)
    with pytest.raises(CheckpointError, match=r"student \(student, prefix base_model\.\)"):
        read_checkpoint(path)
    for name in ("student", "teacher"):
        assert read_checkpoint(path, weights=name).topology.classes == 5
    with pytest.raises(InputError, match="--weights other names none of these: student"):
        read_checkpoint(path, weights="other")


def test_mmengine_saves_the_average_as_state_dict(tmp_path: Path) -> None:
    meta = {"mmengine_version": "0.10.7"}
    path = save({"meta": meta, "state_dict": AVERAGE, "ema_state_dict": STATE}, tmp_path)
    chosen = read_checkpoint(path, weights="ema")
    assert first_numbers(chosen) == first_numbers(read_checkpoint(path, weights="state_dict"))


def test_the_same_numbers_twice_are_one_network(plain: dict[str, float], tmp_path: Path) -> None:
    copy = {name: tensor.clone() for name, tensor in STATE.items()}
    assert first_numbers(read_checkpoint(save({"last": STATE, "best": copy}, tmp_path))) == plain


# --- classifiers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["last_linear", "new_fc.1", "head.fc", "cls", "base_model.fc"])
def test_the_classifier_may_have_any_name(head: str, tmp_path: Path) -> None:
    state = {name.replace("new_fc", head): tensor for name, tensor in STATE.items()}
    assert read_checkpoint(save(state, tmp_path)).topology.classes == 5


def test_a_missing_bias_is_zero(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in STATE.items() if name != "new_fc.bias"}
    read = read_checkpoint(save(state, tmp_path))
    assert not read.tensors["head.bias"].any()
    assert read.topology.head == "new_fc.weight, no bias"


def test_a_leftover_classifier_is_named(tmp_path: Path) -> None:
    old = {"base_model.fc.weight": torch.ones(9, 512), "base_model.fc.bias": torch.ones(9)}
    read = read_checkpoint(save({**STATE, **old}, tmp_path))
    assert read.topology.classes == 5
    assert read.topology.weights is not None
    assert "not used: fc.weight, fc.bias" in read.topology.weights.value


def _mask(tensor: Tensor) -> Tensor:
    """Leave every other output out."""
    return (torch.arange(len(tensor)) % 2).reshape(-1, 1, 1, 1).expand(tensor.shape)


def in_parts(kind: str) -> dict[str, Tensor]:
    """Convolutions as torch keeps them under a mask, weight norm, a parametrization, observers."""
    state = dict[str, Tensor]()
    for name, tensor in STATE.items():
        layer = name.removesuffix("weight")
        length = tensor.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1) if tensor.ndim == 4 else None
        if length is None or kind == "observed":
            state[name] = tensor
        elif kind == "pruned":
            state |= {f"{name}_orig": tensor, f"{name}_mask": _mask(tensor)}
        elif kind == "old weight norm":
            state |= {f"{name}_g": length, f"{name}_v": tensor * 3}
        else:
            original = f"{layer}parametrizations.weight.original"
            state |= {f"{original}0": length, f"{original}1": tensor * 3}
        if kind == "observed" and tensor.ndim == 4:
            state[f"{layer}weight_fake_quant.scale"] = torch.ones(1)
            state[f"{layer}activation_post_process.min_val"] = torch.zeros(1)
    return state


@pytest.mark.parametrize("kind", ["old weight norm", "weight norm", "observed", "pruned"])
def test_weights_that_training_kept_in_parts_are_joined(kind: str, tmp_path: Path) -> None:
    read = read_checkpoint(save(in_parts(kind), tmp_path)).tensors
    whole = read_checkpoint(save(STATE, tmp_path)).tensors
    assert read.keys() == whole.keys()
    for name, tensor in whole.items():
        pruned = kind == "pruned" and tensor.ndim == 4
        wanted = tensor * _mask(tensor) if pruned else tensor
        torch.testing.assert_close(read[name], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("conv2.weight", ["conv2.weight_orig", "conv2.weight_u"], "remove_spectral_norm"),
        ("conv2.weight", ["conv2.parametrizations.weight.original"], "remove_parametrizations"),
    ],
)
def test_parts_that_only_code_can_join_are_refused(
    old: str, new: list[str], message: str, tmp_path: Path
) -> None:
    state = {n: t for n, t in STATE.items() if not n.endswith(old) or "layer1.0" not in n}
    for name, tensor in STATE.items():
        if name not in state:
            state |= {name.replace(old, other): tensor for other in new}
    with pytest.raises(CheckpointError, match=rf"conv2.*weight.*{message}"):
        read_checkpoint(save(state, tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"verb.weight": torch.ones(3, 512), "noun.weight": torch.ones(4, 512)},
            r"several classifiers: verb \(3 classes\), noun \(4 classes\)",
        ),
        ({"fc1.weight": torch.ones(64, 512), "fc2.weight": torch.ones(5, 64)}, "unexpected: fc2"),
        (
            {"fc.weight": torch.ones(5, 99)},
            r"no 2-D weight takes the 512 features.*fc\.weight \(5, 99\)",
        ),
        (
            {"cls.weight": torch.ones(5, 512), "lstm.weight_ih_l0": torch.ones(4, 512)},
            r"unexpected: lstm\.weight_ih_l0",
        ),
        (
            {"cls.weight": torch.ones(5, 512), "after.conv1.weight": torch.ones(4, 3, 7, 7)},
            r"unexpected: after\.",
        ),
    ],
)
def test_what_answers_otherwise_is_refused(
    change: dict[str, Tensor], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(save({**HEADLESS, **change}, tmp_path))


# --- no network ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state": {0: {"exp_avg": torch.ones(3)}}}, "holds an optimizer's state.*state_dict"),
        ({"q.lora_A.weight": torch.ones(3, 2)}, "holds an adapter.*merge"),
        ({"model": torch.nn.Linear(2, 3)}, r"whole pickled module \(torch\.nn\.\S+Linear\)"),
        ({"epoch": 3}, "holds no tensors; the keys are 'epoch'"),
        ({"encoder.weight": torch.ones(3)}, r"names like encoder\.weight; .* mit: base_model"),
        ({"state_dict": {**STATE, "new_fc.bias": None}}, "new_fc.bias is NoneType, not a tensor"),
    ],
)
def test_what_a_file_holds_instead_is_said(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(save(content, tmp_path))
    assert "\n" not in str(caught.value)
