"""Tensors and arrays out of pickles that torch's own safe reader refuses; see `inert`.

Such files hold more than weights: arguments, logs, paths, arrays. That becomes `Inert`.
"""

from __future__ import annotations

import mmap
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any, cast

import numpy as np
import torch
from torch import Tensor

from converters.checkpoints.inert import Global, Inert, Machine, Maker

Array = np.ndarray[Any, np.dtype[Any]]
_STORAGES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "Untyped": torch.uint8,
}
_DTYPE = re.compile(r"[?bBhHiIlLqQefd]|[biuf][1248]")
_SIZE_BYTES = 8  # of the count before each storage of torch's older format


class Storage:
    """Memory that tensors share, and the type of its numbers."""

    def __init__(self, dtype: torch.dtype, memory: torch.UntypedStorage) -> None:
        self.dtype, self.memory = dtype, memory


# --- torch ---------------------------------------------------------------------------------------


def read_torch_zip(path: Path) -> Any:
    """Return what a file of torch's zip format holds.

    Raises:
        UnpicklingError: it names what would run code.
    """
    with zipfile.ZipFile(path) as archive:
        pickled = next(n for n in archive.namelist() if n.split("/", 1)[-1] == "data.pkl")
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and _stored(
            archive, f"{folder}byteorder"
        ).startswith(b"big"):
            raise UnpicklingError("its numbers are big-endian; save it on a little-endian machine")
        known: dict[str, torch.UntypedStorage] = {}

        def persistent(name: Any) -> Storage:
            _, kind, key, *_ = name
            if key not in known:
                data = bytearray(_stored(archive, f"{folder}data/{key}"))
                known[key] = _memory(data)
            return Storage(_storage_dtype(kind), known[key])

        with archive.open(_checked(archive, pickled)) as stream:
            return Machine(stream, _TORCH, persistent).load()


def _checked(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Return an entry that is as large as it says: torch compresses nothing."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise UnpicklingError(f"{name} is compressed, as torch never writes it")
    return info


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    return archive.read(_checked(archive, name))


def read_torch_legacy(path: Path) -> Any:
    """Return what a file of torch's format before 1.6 holds: pickles, then the numbers.

    Raises:
        UnpicklingError: it names what would run code.
    """
    with _mapped(path) as stream:
        size_bytes, known = path.stat().st_size, dict[str, Storage]()

        def persistent(name: Any) -> Storage:
            _, kind, key, _, count, *view = name
            dtype = _storage_dtype(kind)
            if not 0 <= count * dtype.itemsize <= size_bytes:
                raise UnpicklingError(f"storage {key} is larger than the file")
            if key not in known:
                known[key] = Storage(dtype, _memory(bytearray(count * dtype.itemsize)))
            return _view(known[key], *view)

        for _ in range(3):  # magic number, version, the machine
            Machine(stream, {}).load()
        content = Machine(stream, _TORCH, persistent).load()
        for key in Machine(stream, {}).load():
            _fill(known[key], stream)
        return content


def _view(storage: Storage, view: Any = None) -> Storage:
    """Return the part of a storage that a file of torch 0.3 and before refers to."""
    if view is None:
        return storage
    _, offset, count = view
    size = storage.dtype.itemsize
    part = cast(torch.UntypedStorage, storage.memory[offset * size : (offset + count) * size])
    return Storage(storage.dtype, part)


def _fill(storage: Storage, stream: IO[bytes]) -> None:
    count = int.from_bytes(stream.read(_SIZE_BYTES), "little", signed=True)
    if count * storage.dtype.itemsize != storage.memory.nbytes():
        raise UnpicklingError("a storage has another size than its tensors say")
    data = bytearray(stream.read(storage.memory.nbytes()))
    storage.memory.copy_(_memory(data))


def _memory(data: bytearray) -> torch.UntypedStorage:
    numbers = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0)
    return numbers.untyped_storage()


def _storage_dtype(kind: Any) -> torch.dtype:
    found = re.fullmatch(r"torch\.(?:cuda\.|storage\.)?(\w+?)(?:Typed)?Storage", kind.name)
    if not found or found[1] not in _STORAGES:
        raise UnpicklingError(f"unknown storage {kind.name}")
    return _STORAGES[found[1]]


def _tensor(storage: Storage, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """Stand in for `torch._utils._rebuild_tensor_v2`, and for the one of version 1."""
    return torch.empty(0, dtype=storage.dtype).set_(storage.memory, offset, size, stride)


def _typed_tensor(
    storage: Storage, offset: int, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Global
) -> Tensor:
    """Stand in for `torch._utils._rebuild_tensor_v3`, which names the type apart."""
    kind = getattr(torch, dtype.name.removeprefix("torch."), None)
    if not isinstance(kind, torch.dtype):
        raise UnpicklingError(f"unknown type {dtype.name}")
    return _tensor(Storage(kind, storage.memory), offset, size, stride)


def _of_type(function: Any, _kind: Any, args: Any, _state: Any = None) -> Any:
    """Stand in for `torch._tensor._rebuild_from_type_v2`, which wraps one of the others."""
    return Machine(cast(IO[bytes], None), _TORCH).call(function, args)


# --- numpy ---------------------------------------------------------------------------------------


def read_pickle(path: Path) -> Any:
    """Return what a pickle without torch's framing holds.

    Raises:
        UnpicklingError: it names what would run code.
    """
    with _mapped(path) as stream:
        content = Machine(stream, _TORCH).load()
    return _join_slices(content) if isinstance(content, dict) else content


def _join_slices(content: dict[Any, Any]) -> dict[Any, Any]:
    """Join Paddle's parameters beyond 2^30 bytes, which protocols 2 and 3 store as flat slices."""
    for name, info in (content.pop("UnpackBigParamInfor@@", None) or {}).items():
        slices = [np.ravel(array(content.pop(part))) for part in info["slices"]]  # type: ignore[arg-type]
        content[name] = np.concatenate(slices).reshape(info["OriginShape"])
    return content


def array(value: Any) -> Array | None:
    """Return the array that an `Inert` stands for; None for anything else, and for objects."""
    if not isinstance(value, Inert):
        return None
    if value.name.endswith("._reconstruct") and isinstance(value.state, tuple):
        *_, shape, dtype, fortran, data = value.state
    elif value.name.endswith("._frombuffer"):  # protocol 5
        data, dtype, shape, order = value.args
        fortran = order == "F"
    else:
        return None
    kind, data = _dtype(dtype), _plain_bytes(data)
    if kind is None or not isinstance(data, bytes | bytearray):
        return None
    flat = np.frombuffer(bytes(data), kind)
    return flat.reshape(shape, order="F" if fortran else "C")


def _dtype(value: Any) -> np.dtype[Any] | None:
    if not (isinstance(value, Inert) and value.name == "numpy.dtype" and value.args):
        return None
    code, state = value.args[0], value.state
    order = state[1] if isinstance(state, tuple) and state[1] in ("<", ">") else "="
    return np.dtype(order + code) if _DTYPE.fullmatch(str(code)) else None


def _scalar(dtype: Any, data: Any = b"") -> Any:
    kind = _dtype(dtype)
    return None if kind is None else np.frombuffer(_plain_bytes(data), kind, 1)[0].item()


def _plain_bytes(data: Any) -> Any:
    """Return bytes that Python 2 wrote, whose texts and bytes are one kind of string."""
    return data.encode("latin1") if isinstance(data, str) else data


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for `_codecs.encode`, by which protocol 2 writes bytes; no other codec is served."""
    if encoding != "latin1":
        raise UnpicklingError(f"Unsupported GLOBAL codec {encoding}")
    return text.encode("latin1")


# --- the names known ------------------------------------------------------------------------------


def _mapping(items: Any = (), *_: Any) -> dict[Any, Any]:
    pairs = items.items() if isinstance(items, dict) else items if isinstance(items, list) else ()
    return {key: value for key, value in pairs if isinstance(key, str | int)}


def _sequence(items: Any = (), *_: Any) -> list[Any]:
    return list(items) if isinstance(items, list | tuple) else []


def _first(value: Any = None, *_: Any) -> Any:
    return value


_TORCH: dict[str, Maker] = {
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": lambda *_: {},
    "collections.Counter": _mapping,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.nn.parameter.Parameter": _first,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "_codecs.encode": _latin1,
}
for _module in ("builtins", "__builtin__"):
    _TORCH |= {f"{_module}.{name}": _sequence for name in ("set", "frozenset", "list", "tuple")}
    _TORCH |= {f"{_module}.dict": _mapping, f"{_module}.bytearray": _first}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _TORCH[f"{_module}.scalar"] = _scalar


@contextmanager
def _mapped(path: Path) -> Iterator[IO[bytes]]:
    """Open a file so that no read asks for more memory than it has bytes."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield cast(IO[bytes], mapped)
