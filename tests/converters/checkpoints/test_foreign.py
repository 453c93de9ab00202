"""Files that are no checkpoints: each message says what it is, and what to do."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from converters.checkpoints.safe_load import read_file
from edge_tsm.errors import CheckpointError


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return stream.getvalue()


def tarred(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return stream.getvalue()


FILES: dict[str, tuple[str, bytes, str]] = {
    "empty": ("x.pth", b"", "the file is empty: download"),
    "lfs": ("x.pth", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "page": (
        "x.pth",
        b"\n<!DOCTYPE html><html><title>Sign\x1b in</title>",
        r"web page \('Sign\\x1b",
    ),
    "error": ("x.pth", b'<?xml version="1.0"?><Error><Code>AccessDenied', "is a web page"),
    "gzip": ("x.pth.gz", gzip.compress(b"x"), "gunzip"),
    "xz": ("x.xz", b"\xfd7zXZ\x00\x00", "unxz"),
    "7z": ("x.7z", b"7z\xbc\xaf\x27\x1c\x00", "7z x"),
    "rar": ("x.rar", b"Rar!\x1a\x07\x00", "rar archive: unpack"),
    "zip": ("x.zip", zipped("run/ckpt.best.pth.tar"), "unpack it.*'run/ckpt.best.pth.tar'"),
    "tar": ("x.pth.tar", tarred("run/model.pth"), r"tar xf.*'run/model\.pth'"),
    "torch 0.1": ("x.pth", tarred("storages", "tensors", "pickle"), "before 0.1.10"),
    "pt2": ("x.pt2", zipped("m/archive_format", "m/models/model.json"), r"torch\.export"),
    "keras": ("x.keras", zipped("config.json", "model.weights.h5"), "Keras's.*PyTorch's"),
    "h5": ("x.h5", b"\x89HDF\r\n\x1a\n\x00", "HDF5 file, as Keras"),
    "tensorflow": ("frozen.pb", b"\n\x10\n\x05input", "is TensorFlow's"),
    "tensorflow data": ("m.data-00000-of-00001", b"\x00\x01\x02", "one part of a sharded"),
    "tflite": ("m.bin", b"\x1c\x00\x00\x00TFL3\x00", "compiled"),
    "onnx": ("m.onnx", b"\x08\x08\x12\x07pytorch", "checkpoint it was exported from"),
    "engine": ("m.engine", b"ftrt\x00", "compiled"),
    "index": ("m.index.json", b'{"metadata": {}, "weight_map": {}}', "the index of a sharded"),
    "text": ("m.pth", b"hello", "is not a checkpoint"),
    "cut": ("m.pth", b"PK\x03\x04" + bytes(99), "cut short, perhaps; download"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_of_other_kinds_are_named(case: str, tmp_path: Path) -> None:
    name, content, message = FILES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_file(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_torchscript_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(zipped("x/data.pkl", "x/constants.pkl", "x/code/a.py"))
    with pytest.raises(CheckpointError, match=r"is TorchScript.*torch\.jit\.load"):
        read_file(tmp_path / "x.pt")


def test_a_checkpoint_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"w": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CheckpointError, match="cut short, perhaps"):
        read_file(path)


FOLDERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    r"such as 'a\.pth' in it": ("f", lambda folder: (folder / "a.pth").touch()),
    "is a folder; pass a checkpoint file$": ("f", lambda folder: (folder / "notes").touch()),
    "dcp_to_torch": (
        "f",
        lambda folder: [(folder / name).touch() for name in (".metadata", "__0_0.distcp")],
    ),
    r"zero_to_fp32\.py": ("f", lambda folder: (folder / "zero_to_fp32.py").touch()),
    "is TensorFlow's": ("f", lambda folder: (folder / "saved_model.pb").touch()),
}


@pytest.mark.parametrize("message", FOLDERS)
def test_folders_are_named(message: str, tmp_path: Path) -> None:
    name, fill = FOLDERS[message]
    (tmp_path / name).mkdir()
    fill(tmp_path / name)
    with pytest.raises(CheckpointError, match=message):
        read_file(tmp_path / name)
