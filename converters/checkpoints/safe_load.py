"""Checkpoint files are untrusted: they are read without running anything they contain."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from converters.checkpoints import foreign
from converters.checkpoints.pickles import read_pickle, read_torch_legacy, read_torch_zip
from edge_tsm.errors import CheckpointError

# What torch and pickle raise on bytes that are not what they seem (found by the fuzz test).
_READ_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    AssertionError,
    MemoryError,
    OverflowError,
    ImportError,
    StopIteration,
    struct.error,
    zipfile.BadZipFile,
)
_TORCH_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"  # in the first pickle of torch's older format
_MOST_BYTES = 8 << 30  # of arrays in an npz file, which may be compressed


def read_file(path: Path) -> Any:
    """Return what a checkpoint holds, without executing it.

    The kind is recognized by content: torch (zip or older), a pickle (PaddlePaddle's, or of
    arrays), safetensors, npz. Tensors are torch's; arrays, and objects of classes that are not
    known here, are `Inert`.

    Raises:
        CheckpointError: missing, not a checkpoint, truncated, or it asks for code.
    """
    if not path.is_file():
        found = foreign.folder(path) if path.is_dir() else "does not exist; pass a checkpoint file"
        raise CheckpointError(f"{path} {found}")
    try:
        if other := foreign.describe(path):
            raise CheckpointError(f"{path} {other}")
        return _reader(path)(path)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_refusal(error)}") from error
    except _READ_ERRORS as error:
        raise CheckpointError(
            f"{path} is not a checkpoint, or it is damaged: {_one_line(error)}"
        ) from error


def _reader(path: Path) -> Callable[[Path], Any]:
    """Return what reads a file, by its first bytes."""
    with path.open("rb") as stream:
        start = stream.read(64)
    if start[:2] == b"PK":
        with zipfile.ZipFile(path) as archive:
            arrays = all(name.endswith(".npy") for name in archive.namelist())
        return _read_npz if arrays else _read_torch_zip
    if _TORCH_MAGIC in start:
        return _read_torch_legacy
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return _read_safetensors
    if start[:1] == b"\x80" or start[:2] in (b"(d", b"(l", b"cc"):  # protocols 2 and up; 0 and 1
        return read_pickle
    raise CheckpointError(f"{path} {foreign.unknown(path)}")


def _read_torch_zip(path: Path) -> Any:
    return _read_torch(path, read_torch_zip)


def _read_torch_legacy(path: Path) -> Any:
    return _read_torch(path, read_torch_legacy)


def _read_torch(path: Path, otherwise: Callable[[Path], Any]) -> Any:
    """Read a file by torch's safe reader; what that refuses, without its objects."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats of old torch versions
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return otherwise(path)


def _read_safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except ModuleNotFoundError as error:
        raise CheckpointError(f"{path} needs safetensors: pip install safetensors") from error
    except Exception as error:
        if type(error).__module__.startswith("safetensors"):
            raise CheckpointError(f"{path}: {_one_line(error)}") from error
        raise


def _read_npz(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        size_bytes = sum(info.file_size for info in archive.infolist())
    if size_bytes > _MOST_BYTES:
        raise CheckpointError(f"{path} expands to {size_bytes} bytes, more than any network here")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in arrays}


# --- what to say -------------------------------------------------------------------------------


def _refusal(error: pickle.UnpicklingError) -> str:
    asked = re.search(
        r"(?:Unsupported|unsupported)(?: global:)? GLOBAL (.+?)(?: whose| was|$)", str(error)
    )
    if asked:
        return f"refused: it asks to run {asked[1]}, and weights need no code"
    # torch's own message is long, and advises switching the protection off.
    _, _, reason = str(error).rpartition("WeightsUnpickler error:")
    detail = "" if "Weights only load" in reason else f": {' '.join(reason.split())[:160]}"
    return f"not a checkpoint, or it is damaged{detail}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:160] or type(error).__name__
