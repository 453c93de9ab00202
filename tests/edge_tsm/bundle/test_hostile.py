"""Bundles from anybody: whatever is in them ends in one line, in bounded time and memory."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tsm.bundle.arrays import read_arrays
from edge_tsm.bundle.card import Card
from edge_tsm.bundle.golden import Golden
from edge_tsm.bundle.onnxfile import external_files
from edge_tsm.errors import BackendError, CardError, EdgeTsmError
from edge_tsm.inference.loading import load
from tests.helpers.hostile import change_card, demo_copy, only_file, vouch_for
from tests.helpers.paths import SHARED

CASES = SHARED / "cases" / "live" / "bundles"
MOST_KIB = 1_000_000


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return demo_copy(tmp_path / "x.bundle")


def npy(descr: str, shape: tuple[int, ...], version: int = 1, pad: int = 0) -> bytes:
    """The header of an array, as anybody may write it."""
    text = (
        f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
        + b" " * pad
    )
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


def write_npz(path: Path, clips: bytes, fill: int = 0) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("clips.npy", "w", force_zip64=True) as stream:
            stream.write(clips)
            for _ in range(fill):
                stream.write(bytes(1 << 24))
        archive.writestr("logits.npy", npy("<f4", (0, 9)))


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (npy("|u1", (10_000_000, 8, 224, 224, 3)), "ends before its"),
        (npy("|u1", (1 << 62, 1 << 62)), "ends before its"),
        (npy("|u1", (-1, 8)), "not readable"),
        (npy("|O", (1,)), "holds no numbers"),
        (npy("|V0", (1 << 40,)), "holds no numbers"),
        (npy("<f4", (1,), version=2, pad=1 << 20), "not readable"),
        (npy("<f4", (1,), version=3), "npy version 1 or 2"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "not readable"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16, "not readable"),
        (b"nonsense", "not readable"),
    ],
)
def test_arrays_that_are_not_what_they_say(clips: bytes, message: str, bundle: Path) -> None:
    write_npz(bundle / "golden.npz", clips)
    with pytest.raises(CardError, match=message):
        Golden.read(bundle)


def test_a_bomb_is_not_unpacked(bundle: Path) -> None:
    """66 members of 16 MiB, which weigh some KB, are refused by what the zip file says of them."""
    write_npz(bundle / "golden.npz", npy("|u1", (1 << 30,)), fill=66)
    assert (bundle / "golden.npz").stat().st_size < 10_000_000
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CardError, match="more than it may hold"):
        Golden.read(bundle)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 100_000


def test_pickles_are_not_run(bundle: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return (Path.touch, (tmp_path / "owned",))

    np.savez(bundle / "golden.npz", clips=np.array([Evil()], object))
    with pytest.raises(CardError, match="holds no numbers"):
        Golden.read(bundle)
    assert not (tmp_path / "owned").exists()


def test_other_compressions_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("clips.npy", npy("|u1", (0,)))
    with pytest.raises(CardError, match="unusual compression"):
        read_arrays(tmp_path / "x.npz", most_bytes=1000)


def set_in(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(card: Any) -> None:
        for key in path[:-1]:
            card = card[key]
        card[path[-1]] = value

    return change


def rename(card: dict[str, Any]) -> None:
    for key in ("files", "verification"):
        card[key] = {"a": card[key].pop("model.onnx"), **card[key]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("input", "shape", 0, value=10**12), "is no shape, or more than"),
        (set_in("input", "shape", 0, value=-1), "no batch"),
        (rename, "must be equal"),
        (set_in("files", "model.onnx", "path", value="/etc/passwd"), "must be equal"),
        (set_in("files", "model.onnx", "parts", value={"..": "0"}), "no name of a file"),
        (set_in("files", "model.onnx", "parts", value={"a/b": "0"}), "outside the bundle"),
        (set_in("verification", "model.onnx", "tolerance", value=float("nan")), "is nan"),
        (set_in("name", value="\ud800"), "expected a string"),
        (set_in("labels", 0, value="\ud800"), "expected a string"),
        (set_in("arch", value={"\udfff": 1}), "which is no text"),
        (set_in("sampling", "every_s", value=1e300), "more than 0 to 3600"),
        (set_in("preprocess", "resize", "short_side_px", value=10**9), "1 to 16384 pixels"),
    ],
)
def test_cards_that_ask_for_too_much_or_contradict(
    change: Callable[[dict[str, Any]], None], message: str, bundle: Path
) -> None:
    change_card(bundle, change)
    with pytest.raises(CardError, match=message) as caught:
        Card.read(bundle)
    assert "\n" not in str(caught.value)


def test_a_card_that_is_no_file_of_its_size(bundle: Path) -> None:
    card = bundle / "card.json"
    card.unlink()
    card.symlink_to("/dev/zero")
    with pytest.raises(CardError, match="not a regular file"):
        Card.read(bundle)
    card.unlink()
    with card.open("wb") as stream:
        stream.truncate(1 << 33)
    with pytest.raises(CardError, match="larger than"):
        Card.read(bundle)


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret.bin", "beside.bin"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_weights_from_elsewhere_are_refused(location: str, engine: str, bundle: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip(engine)
    path = bundle / "model.onnx"
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    for key, value in (("location", location), ("offset", "0"), ("length", "64")):
        tensor.external_data.add(key=key, value=value)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())
    only_file(bundle)
    change_card(bundle, set_in("files", "model.onnx", "engine", value=engine))
    vouch_for(bundle)
    assert external_files(path) == {location}
    with pytest.raises(CardError, match="reads weights from"):
        load(bundle, engine=engine)
    with pytest.raises(CardError, match="reads weights from"):
        load(path, engine=engine)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x3a\xff\xff\x03", b"\x0b"])
def test_what_is_no_protobuf(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(BackendError, match="not an ONNX file"):
        external_files(tmp_path / "x.onnx")


def test_messages_within_messages_without_end(tmp_path: Path) -> None:
    data = b""
    for number in [6, 5, 1] * 100:  # a graph in an attribute of a node, and so on
        size = len(data)
        varint = bytearray()
        while size > 127:
            varint.append(size & 127 | 128)
            size >>= 7
        data = bytes([number << 3 | 2]) + bytes(varint) + bytes([size]) + data
    size = len(data)
    head = bytes([7 << 3 | 2, size & 127 | 128, size >> 7])
    named = b"\x12\x08location"  # what holds this word is walked through whole
    (tmp_path / "x.onnx").write_bytes(head + data + named)
    with pytest.raises(BackendError, match="nested too deeply"):
        external_files(tmp_path / "x.onnx")


@pytest.mark.skipif(not CASES.is_dir(), reason="needs shared/")
def test_the_cases_end_in_one_line(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_TSM_CACHE", str(bundle.parent))
    for case in sorted(CASES.iterdir()):
        shutil.copytree(case, bundle, dirs_exist_ok=True, copy_function=shutil.copyfile)
        if case.name == "bomb":
            write_npz(bundle / "golden.npz", npy("|u1", (1 << 33,)), fill=2)
        with pytest.raises(EdgeTsmError) as caught:
            load(bundle)
        assert "\n" not in str(caught.value), case.name


def test_the_command_ends_in_one_line_with_little_memory(bundle: Path, tmp_path: Path) -> None:
    write_npz(bundle / "golden.npz", npy("|u1", (1 << 34,)), fill=60)
    # A child's largest memory counts its parent's at the fork: so it is asked from a small one.
    code = (
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[1:]).returncode\n"
        "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-m", "edge_tsm", "verify", str(bundle)]
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    *_, code, most_kib = done.stdout.split()
    assert int(code) == 3
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("edge-tsm: error: ")
    assert int(most_kib) < MOST_KIB
