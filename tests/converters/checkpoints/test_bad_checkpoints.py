"""Damaged, foreign and hostile files: always a clear CheckpointError, never code run."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.architectures.classifier import build_reference
from converters.planning import Plan, plan
from converters.recipe import Options
from edge_tsm.errors import CheckpointError
from tests.helpers.upstream import upstream_state

STATE = upstream_state("resnet18")
MOBILE = upstream_state("mobilenetv2")


def read(path: Path) -> Plan:
    """Everything of a conversion that looks at the file."""
    planned = plan(path, Options())
    build_reference(planned.recipe, planned.checkpoint.tensors)
    return planned


def save(state: Any, path: Path) -> Path:
    torch.save({"state_dict": state}, path)
    return path


class Payload:
    """Runs a command when unpickled by anything that lets it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
@pytest.mark.parametrize("place", ["outer", "state"])
def test_hostile_pickles_do_not_run(form: str, place: str, tmp_path: Path) -> None:
    trap, path = Payload(tmp_path / "owned"), tmp_path / "x.pth"
    state = OrderedDict(STATE, trap=trap) if place == "state" else STATE
    outer = {"state_dict": state, "arch": trap if place == "outer" else "resnet18"}
    if form == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": {}, "arch": trap}))
    else:
        torch.save(outer, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(CheckpointError):
        read(path)
    assert not (tmp_path / "owned").exists()


def test_a_refusal_says_what_was_asked_for(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "x": Payload(tmp_path / "owned")}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"asks to run posix\.system"):
        read(tmp_path / "x.pth")


@pytest.mark.parametrize("allowed", [np.float64(64.6), np.int64(3), np.bool_(True)])
def test_numpy_scalars_are_read(allowed: Any, tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "best_prec1": allowed}, tmp_path / "x.pth")
    assert read(tmp_path / "x.pth").recipe.classes == 5


def test_numpy_1_spelling_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(
        {"state_dict": STATE, "x": np.float64(1)}, path, _use_new_zipfile_serialization=False
    )
    data = path.read_bytes()
    path.write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray" in path.read_bytes()
    read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello", "is not a checkpoint"),
        (b"PK\x03\x04 not really", "is not a checkpoint"),
        (b"\x89PNG\r\n\x1a\n", "is a picture, not a checkpoint"),
    ],
)
def test_files_of_other_kinds(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path / "x.pth")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        read(tmp_path / "nope.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read(tmp_path)


def _other(change: Any) -> Any:
    state = OrderedDict(STATE)
    change(state)
    return state


def _flow(state: Any) -> None:
    state["module.base_model.conv1.weight"] = torch.zeros(64, 10, 7, 7)


def _nan(state: Any) -> None:
    state["module.base_model.layer3.0.conv2.weight"] = torch.full((256, 256, 3, 3), torch.nan)


def _variance(state: Any) -> None:
    state["module.base_model.layer3.0.bn2.running_var"] = torch.full((256,), -1.0)


def _too_large(state: Any) -> None:
    state["module.base_model.layer3.0.bn2.bias"] = torch.full((256,), 1e300, dtype=torch.float64)


IMAGE = {
    key.removeprefix("module.base_model.")
    .replace("module.new_fc", "fc")
    .replace(".net.", "."): value
    for key, value in STATE.items()
}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (_other(_flow), "takes 10 channels: an optical-flow"),
        (_other(_nan), r"not finite floats: backbone\.layer3\.0\.conv2\.conv\.weight"),
        (_other(_variance), r"negative variances: backbone\.layer3\.0\.conv2\.bn\.running_var"),
        (_other(_too_large), r"not finite floats: backbone\.layer3\.0\.conv2\.bn\.bias"),
        (IMAGE, "plain image classifier"),
        ({"base_model.conv1_7x7_s2.weight": torch.zeros(64, 3, 7, 7)}, "BNInception"),
        ({"backbone.conv1.conv.weight": torch.zeros(1)}, r"none of cls_head\.fc_cls"),
        ({"encoder.0.weight": torch.zeros(1)}, "no TSM network is known"),
        ({}, "holds no tensors"),
        ([torch.zeros(1)], "no TSM network is known with names like 0;"),
        ({3: torch.zeros(1)}, "no TSM network is known with names like 3;"),
        (_other(lambda s: s.pop("module.new_fc.weight")), "no classifier"),
        (_other(lambda s: s.update({"module.new_fc.bias": 3})), "new_fc.bias is int, not a tensor"),
        (
            _other(lambda s: s.update({"module.base_model.layer9.0.x": torch.zeros(1)})),
            r"unexpected: layer9\.0\.x",
        ),
        (
            _other(lambda s: s.update({"module.conv1.weight": torch.zeros(64, 3, 7, 7)})),
            "duplicate weights, with and without `base_model.`",
        ),
    ],
)
def test_what_is_wrong_is_said(state: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(save(state, tmp_path / "x.pth"))


def test_a_file_without_its_last_block_is_not_taken_for_another_network(tmp_path: Path) -> None:
    cut = OrderedDict((n, t) for n, t in STATE.items() if ".layer3.1." not in n)
    path = save(cut, tmp_path / "TSM_ucf101_RGB_resnet18_shift8_blockres_avg_segment8_e50.pth")
    with pytest.raises(CheckpointError, match=r"resnet18.*resnet\[2, 2, 1, 2\].*all weights"):
        plan(path, Options())
    taken = plan(path, Options(backbone="resnet[2, 2, 1, 2]")).recipe
    assert taken.facts.backbone.value == "resnet[2, 2, 1, 2]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


FUZZ = settings(max_examples=40, suppress_health_check=list(HealthCheck))


@FUZZ
@given(data=st.data(), mobile=st.booleans())
def test_any_dropped_renamed_or_reshaped_key_is_reported(
    folder: Path, data: st.DataObject, mobile: bool
) -> None:
    state = OrderedDict(MOBILE if mobile else STATE)
    # A classifier may have no bias, and no file has to hold counters.
    names = [name for name in state if not name.endswith(("num_batches_tracked", "fc.bias"))]
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)):
        tensor = state.pop(name)
        change = data.draw(st.sampled_from(["drop", "rename", "reshape", "empty", "type"]))
        if change == "rename":
            text = st.text(alphabet="abcdefgnetlayer._0123456789", max_size=12)
            state[name + "." + data.draw(text)] = tensor
        elif change == "reshape":
            state[name] = tensor.reshape(-1)[:-1] if tensor.numel() > 1 else tensor.expand(2)
        elif change == "empty":
            state[name] = tensor[:0]
        elif change == "type":
            state[name] = data.draw(st.sampled_from([3, "x", None, tensor.to(torch.int64)]))
    with pytest.raises(CheckpointError) as caught:
        read(save(state, folder / "x.pth"))
    assert "\n" not in str(caught.value)


@FUZZ
@given(data=st.data(), zipped=st.booleans())
def test_truncated_and_overwritten_files(folder: Path, data: st.DataObject, zipped: bool) -> None:
    small = OrderedDict((k, v) for k, v in STATE.items() if v.numel() < 5000)
    path = folder / "y.pth"
    torch.save({"state_dict": small}, path, _use_new_zipfile_serialization=zipped)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        start = data.draw(st.integers(0, min(len(content) - 64, 20000)))
        content[start : start + 64] = data.draw(st.binary(min_size=64, max_size=64))
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError):  # the small file lacks its large weights in any case
        read(path)


@FUZZ
@given(content=st.binary(max_size=300))
def test_any_bytes_at_all(folder: Path, content: bytes) -> None:
    (folder / "z.pth").write_bytes(content)
    with pytest.raises(CheckpointError):
        read(folder / "z.pth")


CONTENT = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just(torch.zeros(2)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=6,
)


@FUZZ
@given(content=CONTENT)
def test_any_content_at_all(folder: Path, content: Any) -> None:
    torch.save(content, folder / "w.pth")
    with pytest.raises(CheckpointError):
        read(folder / "w.pth")
