"""Checkpoint files are untrusted: they are read without running anything they contain."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
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


def read_file(path: Path) -> Any:
    """Return what a torch checkpoint holds, without executing it.

    Raises:
        CheckpointError: not there, not a checkpoint, truncated, or it asks for code.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {found}; pass a checkpoint file")
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats of old torch versions
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_refusal(error)}") from error
    except _READ_ERRORS as error:
        raise CheckpointError(
            f"{path} is not a PyTorch checkpoint, or it is damaged: {_one_line(error)}"
        ) from error


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
    struct.error,
    zipfile.BadZipFile,
)


def _refusal(error: pickle.UnpicklingError) -> str:
    asked = re.search(r"(?:Unsupported|unsupported)(?: global:)? GLOBAL (\S+)", str(error))
    if asked:
        return f"refused: it asks to run {asked[1]}, and weights need no code"
    return f"not a PyTorch checkpoint, or it is damaged: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:160] or type(error).__name__
