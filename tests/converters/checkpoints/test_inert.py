"""What lies beside weights is read as data: nothing in a file is imported, called or built."""

from __future__ import annotations

import argparse
import enum
import io
import os
import pickle
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.checkpoints.inert import Inert, Machine
from converters.checkpoints.pickles import array, read_pickle, read_torch_legacy, read_torch_zip
from converters.checkpoints.safe_load import read_file
from edge_tsm.errors import CheckpointError

TENSORS = {
    "float": torch.randn(3, 4),
    "parameter": torch.nn.Parameter(torch.randn(2)),
    "half": torch.randn(5).half(),
    "bfloat16, transposed": torch.randn(4, 2).bfloat16().T,
    "scalar": torch.tensor(3),
    "view": torch.arange(10)[3:7],
    "repeated": torch.ones(1).expand(3),
    "empty": torch.empty(0),
    "unsigned": torch.arange(3).to(torch.uint16),
}


class Settings(dict[str, Any]):
    """As easydict, addict and yacs have them."""


class Color(enum.Enum):
    RED = 1


BESIDE = {
    "args": argparse.Namespace(num_segments=16, root=Path("/data")),
    "space": SimpleNamespace(lr=0.1),
    "settings": Settings(shift_div=4),
    "color": Color.RED,
    "array": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    "number": np.float32(0.5),
    "words": {"a", "b"},
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_arrays_and_fields_are_kept(protocol: int, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    content = {**BESIDE, "tensors": TENSORS}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    read = (read_torch_zip if zipped else read_torch_legacy)(path)
    for name, tensor in TENSORS.items():
        assert torch.equal(read["tensors"][name], tensor), name
        assert read["tensors"][name].dtype == tensor.dtype
    assert read["args"].name == "argparse.Namespace"
    assert read["args"].fields["num_segments"] == 16
    assert read["space"].fields == {"lr": 0.1}
    assert read["settings"].fields == {"shift_div": 4}
    assert isinstance(read["color"], Inert)
    for name in ("array", "fortran"):
        assert np.array_equal(array(read[name]), BESIDE[name])  # type: ignore[arg-type]
    assert (read["number"], sorted(read["words"])) == (0.5, ["a", "b"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol_are_read(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"w": np.ones((2, 2)), "args": BESIDE["args"]}, protocol))
    read = read_file(path) if protocol >= 2 else read_pickle(path)
    assert np.array_equal(array(read["w"]), np.ones((2, 2)))  # type: ignore[arg-type]
    assert read["args"].fields["num_segments"] == 16


def test_pickles_of_python_2_are_read() -> None:
    # cPickle.dumps({'w': Args()}, 2), an old-style class included: byte strings, INST.
    data = b"\x80\x02}q\x00U\x01wq\x01(imain\nArgs\nq\x02}q\x03U\x0cnum_segmentsq\x04K\x10sbs."
    read = Machine(io.BytesIO(data), {}).load()
    assert (read["w"].name, read["w"].fields) == ("main.Args", {"num_segments": 16})


# --- hostile files -------------------------------------------------------------------------------


class Trap:
    """Asks for a call when it is unpickled."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


class Later:
    """Has the trap in its state, keys and items."""

    def __init__(self, trap: Trap) -> None:
        self.trap = trap

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("called")

    def __reduce__(self) -> Any:
        return Later, (self.trap,), {"x": self.trap}, iter([self.trap]), iter([("k", self.trap)])


def traps(target: Path) -> dict[str, Any]:
    code = f"open({str(target)!r}, 'w')"
    return {
        "os.system": Trap(os.system, f"touch {target}"),
        "eval": Trap(eval, code),
        "exec": Trap(exec, code),
        "open": Trap(open, str(target), "w"),
        "import": Trap(__import__, "antigravity"),
        "subprocess": Trap(subprocess.call, ["touch", str(target)]),
        "state": Later(Trap(os.system, f"touch {target}")),
    }


@pytest.mark.parametrize("trap", traps(Path("x")))
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "protocol 4"])
def test_nothing_is_run_and_the_call_is_named(trap: str, form: str, tmp_path: Path) -> None:
    target, path = tmp_path / "owned", tmp_path / "x.pth"
    content = {"w": torch.ones(1), "args": BESIDE["args"], "trap": traps(target)[trap]}
    if form == "pickle":
        path.write_bytes(pickle.dumps({"trap": content["trap"]}, 2))
    else:
        protocol = 4 if form == "protocol 4" else 2
        torch.save(
            content,
            path,
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=form != "legacy",
        )
    with pytest.raises(CheckpointError, match="refused: it asks to run"):
        read_file(path)
    assert not target.exists()


class Stranger:
    """A class that nobody knows, which acts whatever is done with it."""

    def __new__(cls, *_: Any) -> Stranger:
        Path("owned").touch()
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        Path("owned").touch()

    def __reduce__(self) -> Any:
        return Stranger, (1,), {"x": 1}


def test_classes_of_the_file_are_never_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(1), "x": object.__new__(Stranger)}, tmp_path / "x.pth")
    read = read_file(tmp_path / "x.pth")
    assert isinstance(read["x"], Inert)
    assert (read["x"].args, read["x"].fields) == ((1,), {"x": 1})
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.", "posix.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.", "posix.system"),
        (b"\x80\x02(cos\nsystem\nX\x02\x00\x00\x00lso.", "os.system"),
        (b"\x80\x02\x82\x01.", "EXT1 has no place"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "not in the file"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "rot13"),
    ],
)
def test_every_way_to_name_a_call_is_seen(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        read_file(tmp_path / "x.pkl")


def test_a_tensor_cannot_reach_beyond_its_memory(tmp_path: Path) -> None:
    beyond = Trap(
        torch._utils._rebuild_tensor_v2, torch.ones(2)._typed_storage(), 0, (9,), (1,), False, {}
    )
    torch.save({"w": beyond, "args": BESIDE["args"]}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError):
        read_file(tmp_path / "x.pth")


def test_deep_nests_do_not_overflow_the_stack() -> None:
    data = b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"K\x01s."
    assert Machine(io.BytesIO(data), {}).load() == {}


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data(), zipped=st.booleans())
def test_damage_is_an_error_or_harmless(
    data: st.DataObject, zipped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    content = {"w": torch.arange(9.0), **BESIDE}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, min(len(damaged), 3000) - 1))] = data.draw(
            st.integers(0, 255)
        )
    path.write_bytes(bytes(damaged))
    try:
        read_file(path)
    except CheckpointError as error:
        assert "\n" not in str(error)
