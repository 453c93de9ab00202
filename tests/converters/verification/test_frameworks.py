"""Reading mmaction2's and PaddleVideo's files: forms, facts beside the weights, refusals."""

from __future__ import annotations

import collections
import inspect
import io
import os
import pickle
import re
import sys
import types
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.architectures.classifier import build_reference
from converters.checkpoints import READERS
from converters.planning import Plan, plan
from converters.recipe import Options
from edge_tsm.errors import CheckpointError
from tests.helpers.goldens import arrays, load_golden, write_golden

FUZZ = settings(max_examples=30, suppress_health_check=list(HealthCheck))


def read(path: Path, options: Options | None = None) -> Plan:
    planned = plan(path, options or Options())
    build_reference(planned.recipe, planned.checkpoint.tensors)
    return planned


@pytest.fixture(scope="module")
def paddle(shared: Path, golden_recipe: ModuleType) -> dict[str, np.ndarray]:
    return arrays(load_golden("pptsm_mobilenetv3_8f", shared), golden_recipe)


@pytest.fixture(scope="module")
def mmaction(shared: Path, golden_recipe: ModuleType) -> dict[str, torch.Tensor]:
    found = arrays(load_golden("mmaction2_tsm_resnet50_8f", shared), golden_recipe)
    return {key: torch.from_numpy(np.asarray(value)) for key, value in found.items()}


# --- PaddleVideo -------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4])  # all that Paddle writes
def test_pickles_of_every_protocol(
    protocol: int, paddle: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "any.name"
    path.write_bytes(pickle.dumps(collections.OrderedDict(paddle), protocol=protocol))
    assert read(path).recipe.network.name == "mobilenetv3_large"


def test_numpy_1_spelling(paddle: dict[str, np.ndarray], tmp_path: Path) -> None:
    data = pickle.dumps(paddle, protocol=2).replace(b"numpy._core", b"numpy.core")
    (tmp_path / "x.pdparams").write_bytes(data)
    read(tmp_path / "x.pdparams")


def test_tuples_of_name_and_array(paddle: dict[str, np.ndarray], tmp_path: Path) -> None:
    pairs = {key: (f"param_{i}", value) for i, (key, value) in enumerate(paddle.items())}
    (tmp_path / "x.pdparams").write_bytes(pickle.dumps(pairs, protocol=4))
    read(tmp_path / "x.pdparams")


def test_parameters_in_slices(paddle: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Paddle cuts what exceeds 2^30 bytes; a smaller array is cut here."""
    content: dict[str, Any] = dict(paddle)
    big = content.pop("backbone.last_conv.weight")
    flat = big.ravel()
    parts = {"w@@.0": flat[:1000], "w@@.1": flat[1000:]}
    info = {"backbone.last_conv.weight": {"OriginShape": big.shape, "slices": list(parts)}}
    (tmp_path / "x.pdparams").write_bytes(
        pickle.dumps({**content, **parts, "UnpackBigParamInfor@@": info}, protocol=2)
    )
    planned = read(tmp_path / "x.pdparams")
    loaded = planned.checkpoint.tensors["backbone.tail.weight"].numpy()
    assert np.array_equal(loaded, big.reshape(big.shape[:2]))


@pytest.mark.parametrize("prefix", ["Student.0.", "0."])
def test_the_student_of_a_distillation(
    prefix: str, paddle: dict[str, np.ndarray], tmp_path: Path
) -> None:
    both = {f"{prefix}{key.removeprefix('backbone.')}": value for key, value in paddle.items()}
    both |= {f"Teacher.0.{key}": value for key, value in list(paddle.items())[:5]}
    (tmp_path / "x.pdparams").write_bytes(pickle.dumps(both, protocol=4))
    read(tmp_path / "x.pdparams")


def test_the_divisor_follows_the_segments(paddle: dict[str, np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "x.pdparams").write_bytes(pickle.dumps(paddle, protocol=4))
    recipe = read(tmp_path / "x.pdparams", Options(segments=16)).recipe
    assert (recipe.shift.segments, recipe.shift.div) == (16, 16)
    assert recipe.shift.ends(24) == (1, 3)  # int(24/16) and int(2*24/16)


def test_the_attention_tells_the_segments(
    shared: Path, golden_recipe: ModuleType, tmp_path: Path
) -> None:
    golden = load_golden("pptsmv2_lcnet_16f", shared)
    recipe = read(write_golden(golden, golden_recipe, tmp_path)).recipe
    assert recipe.facts.segments.value == 16
    assert recipe.facts.segments.source == "size of the temporal attention"


class Payload:
    """Creates a file when unpickled by anything that lets it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


class Evil(Payload):
    """By way of eval, as Paddle's own LoD tensors are pickled."""

    def __reduce__(self) -> Any:
        return eval, (f"open({str(self.target)!r}, 'w')",)


@pytest.mark.parametrize("trap", [Payload, Evil])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickles_do_not_run(
    trap: type[Payload], protocol: int, paddle: dict[str, np.ndarray], tmp_path: Path
) -> None:
    content = {**paddle, "x": trap(tmp_path / "owned")}
    (tmp_path / "x.pdparams").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(CheckpointError):
        read(tmp_path / "x.pdparams")
    assert not (tmp_path / "owned").exists()


def test_a_refusal_names_what_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.pdparams").write_bytes(pickle.dumps({"x": Payload(tmp_path / "owned")}))
    with pytest.raises(CheckpointError, match=r"asks to run posix\.system"):
        read(tmp_path / "x.pdparams")


def test_codecs_are_no_way_in(tmp_path: Path) -> None:
    data = b"\x80\x02}c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86Rs."
    (tmp_path / "x.pdparams").write_bytes(data)
    with pytest.raises(CheckpointError, match="codec rot13"):
        read(tmp_path / "x.pdparams")


@FUZZ
@given(data=st.data())
def test_damaged_paddle_files(
    data: st.DataObject, paddle: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = dict(paddle)
    for name in data.draw(
        st.lists(st.sampled_from(sorted(content)), min_size=1, max_size=3, unique=True)
    ):
        value = content.pop(name)
        change = data.draw(st.sampled_from(["drop", "rename", "reshape", "type"]))
        if change == "rename":
            content[name + data.draw(st.text(alphabet="abc._0", min_size=1, max_size=6))] = value
        elif change == "reshape":
            content[name] = np.ravel(value)[:-1] if value.size > 1 else np.zeros(2, np.float32)
        elif change == "type":
            content[name] = data.draw(st.sampled_from([3, "x", value.astype(object), [value]]))
    path = tmp_path_factory.getbasetemp() / "fuzzed.pdparams"
    stream = io.BytesIO(pickle.dumps(content, protocol=4)).getvalue()
    path.write_bytes(stream[: data.draw(st.sampled_from([len(stream), len(stream) // 2]))])
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert "\n" not in str(caught.value)


# --- mmaction2 ---------------------------------------------------------------------------------

CONFIG = """
preprocess_cfg = dict(mean=[123.675], std=[58.395])
model = dict(
    backbone=dict(
        depth=50, num_segments=16, shift_div=4, type='ResNetTSM',
        non_local_cfg=dict(mode='dot_product', use_scale=False, sub_sample=True)),
    cls_head=dict(num_classes=27, spatial_type='avg', type='TSMHead'))
x = __import__('os').system('touch owned')
"""


@pytest.mark.parametrize("key", ["cfg", "config"])
def test_facts_in_meta(
    key: str, mmaction: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"action {i}" for i in range(27)]
    meta = {key: CONFIG, "dataset_meta": {"classes": names}}
    torch.save({"meta": meta, "state_dict": mmaction}, "x.pth")
    recipe = read(Path("x.pth")).recipe
    assert (recipe.segments, recipe.shift.segments, recipe.shift.div) == (16, 16, 4)
    assert recipe.facts.segments.source == "config in `meta`"
    assert recipe.labels.names == tuple(names)
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    "config", ["model = f(", "model = 3", "model = dict(backbone=g())", "\x00"]
)
def test_configs_that_say_nothing(
    config: str, mmaction: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({"meta": {"cfg": config}, "state_dict": mmaction}, tmp_path / "x.pth")
    assert read(tmp_path / "x.pth").recipe.facts.segments.source == "default"


def test_training_checkpoints_with_a_log(
    mmaction: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmengine's runner leaves a HistoryBuffer in `message_hub`, which torch alone refuses."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    exec(HISTORY_BUFFER, module.__dict__)
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    log = {"train/loss": module.HistoryBuffer()}
    content = {"message_hub": {"log_scalars": log}, "meta": {}, "state_dict": mmaction}
    torch.save(content, tmp_path / "epoch_1.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    assert read(tmp_path / "epoch_1.pth").recipe.network.name == "resnet50"


HISTORY_BUFFER = """
import numpy as np
class HistoryBuffer:
    def __init__(self):
        self._log_history, self._count_history = np.zeros(3), np.ones(3)
    def mean(self): ...
    def __getstate__(self):
        return {**self.__dict__, "statistics_methods": {"mean": HistoryBuffer.mean}}
    def __setstate__(self, state): ...
"""


def test_a_log_opens_no_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a HistoryBuffer, code is refused all the same."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    exec(HISTORY_BUFFER, module.__dict__)
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save({"a": module.HistoryBuffer(), "b": Payload(tmp_path / "owned")}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="asks to run posix"):
        read(tmp_path / "x.pth")
    assert not (tmp_path / "owned").exists()


def test_safetensors(mmaction: dict[str, torch.Tensor], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in mmaction.items()}, tmp_path / "x.pth")
    assert read(tmp_path / "x.pth").recipe.facts.format.value == "mmaction2"
    (tmp_path / "y").write_bytes((tmp_path / "x.pth").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        read(tmp_path / "y")


# --- which is which ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.onnx", b"\x08\x08\x12\x07pytorch", "pass the checkpoint it was exported from"),
        ("m.pdiparams", b"\x00\x00\x00\x00", "pass the .pdparams of training"),
        ("m.pdmodel", b"\n\x05\x08", "pass the .pdparams of training"),
        ("m.xml", b"<?xml", "pass the checkpoint of training"),
        ("m.pth", b"", "the file is empty"),
    ],
)
def test_exported_models_get_advice(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path / name)


def test_the_kind_can_be_forced_and_then_must_fit(
    mmaction: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(mmaction, tmp_path / "x.pth")
    assert read(tmp_path / "x.pth", Options(kind="mmaction2")).recipe.classes == 27
    for kind in set(READERS) - {"mmaction2"}:
        with pytest.raises(CheckpointError):
            read(tmp_path / "x.pth", Options(kind=kind))


def test_readers_know_nothing_of_each_other() -> None:
    modules = {name: inspect.getmodule(reader.read) for name, reader in READERS.items()}
    assert len(set(modules.values())) == len(READERS)
    for name, module in modules.items():
        text = inspect.getsource(module)
        others = {modules[other].__name__.rpartition(".")[2] for other in set(READERS) - {name}}
        assert not any(f"checkpoints.{other}" in text for other in others)
        assert not re.search(rf"from converters.checkpoints import .*({'|'.join(others)})", text)
