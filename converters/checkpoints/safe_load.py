"""Checkpoint files are untrusted: they are read without running anything they contain."""

from __future__ import annotations

import codecs
import collections
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray

from edge_tsm.errors import CheckpointError

# Upstream's optimizer states may hold numpy scalars. Their reconstruction makes numbers and nothing
# else; numpy 1 and 2 spell the module differently. No other callable is allowed.
_NUMPY_SCALARS: list[Any] = [
    (multiarray.scalar, "numpy.core.multiarray.scalar"),
    (multiarray.scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
]
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
    struct.error,
    zipfile.BadZipFile,
)
_TORCH_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"  # in the first pickle of torch's older format


def read_file(path: Path) -> Any:
    """Return what a checkpoint holds, its tensors as torch tensors, without executing it.

    The kind is recognized by content: torch (zip or older), a pickle of numpy arrays
    (PaddlePaddle), safetensors.

    Raises:
        CheckpointError: missing, not a checkpoint, truncated, or it asks for code.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {found}; pass a checkpoint file")
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
        if start[:1] == b"\x80" and _TORCH_MAGIC not in start:
            return _read_pickle(path)
        if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
            return _read_safetensors(path)
        return _read_torch(path, start)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_refusal(error)}") from error
    except _READ_ERRORS as error:
        raise CheckpointError(
            f"{path} is not a checkpoint, or it is damaged: {_one_line(error)}"
        ) from error


def _read_torch(path: Path, start: bytes) -> Any:
    if start[:2] != b"PK" and _TORCH_MAGIC not in start:
        raise CheckpointError(f"{path} is not a checkpoint{_advice(path, start)}")
    allowed = [*_NUMPY_SCALARS, *_mmengine_placeholders(path, start)]
    with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about formats of old torch versions
        return torch.load(path, map_location="cpu", weights_only=True)


class _Placeholder:
    """Takes the place of a training log: accepts anything, does nothing, is thrown away."""

    def __new__(cls, *_: object) -> _Placeholder:
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        pass


_HISTORY = "mmengine.logging.history_buffer"
# What the training log in the files of mmengine's runner refers to; none of it is ever called.
_HISTORY_NAMES = (
    f"{_HISTORY}.HistoryBuffer",
    "builtins.getattr",
    "numpy.ndarray",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "_codecs.encode",
)


def _mmengine_placeholders(path: Path, start: bytes) -> list[Any]:
    """Return placeholders for the names in mmengine's training log, where a file has such a log."""
    if start[:2] != b"PK":
        return []
    asked = set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    if f"{_HISTORY}.HistoryBuffer" not in asked:
        return []
    return [(_Placeholder, name) for name in asked.intersection(_HISTORY_NAMES)]


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


# --- pickles of numpy arrays -------------------------------------------------------------------


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for `_codecs.encode`, by which protocol 2 writes bytes; no other codec is served."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"Unsupported GLOBAL codec {encoding}")
    return codecs.latin_1_encode(text)[0]


_PICKLE_GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _PICKLE_GLOBALS[_module, "_reconstruct"] = multiarray._reconstruct
    _PICKLE_GLOBALS[_module, "scalar"] = multiarray.scalar


class _ArrayUnpickler(pickle.Unpickler):
    """Knows numpy's reconstruction and containers, and nothing else that could be called."""

    def find_class(self, module: str, name: str) -> Any:
        known = _PICKLE_GLOBALS.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f"Unsupported GLOBAL {module}.{name}")
        return known


def _read_pickle(path: Path) -> Any:
    """Read what `paddle.save` writes: {name: array}, or (name, array) pairs as values."""
    with path.open("rb") as stream:
        content = _ArrayUnpickler(stream, encoding="latin1").load()
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds {type(content).__name__}, not arrays by name")
    joined = _join_slices(dict(content))
    arrays = {name: _array(value) for name, value in joined.items() if isinstance(name, str)}
    return {name: torch.from_numpy(a) for name, a in arrays.items() if a is not None}


def _join_slices(content: dict[Any, Any]) -> dict[Any, Any]:
    """Join parameters beyond 2^30 bytes, which protocols 2 and 3 store as flat slices."""
    for name, info in (content.pop("UnpackBigParamInfor@@", None) or {}).items():
        slices = [np.ravel(content.pop(part)) for part in info["slices"]]
        content[name] = np.concatenate(slices).reshape(info["OriginShape"])
    return content


def _array(value: Any) -> np.ndarray[Any, np.dtype[Any]] | None:
    """Return an array that torch can hold; None for anything else (names of parameters)."""
    if isinstance(value, tuple) and len(value) == 2:
        value = value[1]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        return None
    return np.ascontiguousarray(value)


# --- what to say -------------------------------------------------------------------------------


def _advice(path: Path, start: bytes) -> str:
    """Say what to pass instead of an exported model."""
    if path.suffix == ".onnx":
        return "; it is an exported model: pass the checkpoint it was exported from"
    if path.suffix in (".pdiparams", ".pdmodel", ".pdopt"):
        return "; it is PaddlePaddle's inference form: pass the .pdparams of training"
    if path.suffix in (".xml", ".bin", ".engine", ".tflite", ".json"):
        return "; it is a compiled or described model: pass the checkpoint of training"
    if not start:
        return "; the file is empty"
    return " (neither PyTorch's, nor PaddlePaddle's, nor safetensors)"


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
