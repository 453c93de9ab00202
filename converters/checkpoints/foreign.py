"""What a file is that is not a checkpoint, and what to do about it."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

STATE_DICT = "torch.save(model.state_dict(), 'weights.pth')"
_CHECKPOINTS = (
    ".pth",
    ".pyth",
    ".pt",
    ".tar",
    ".ckpt",
    ".safetensors",
    ".pdparams",
    ".npz",
    ".bin",
    ".pkl",
)
_START_BYTES = 512
# By the first bytes.
_MAGIC: dict[bytes, str] = {
    b"version https://git-lfs": "is a git-lfs pointer, not the file itself: run git lfs pull in "
    "its repository, or download the file again",
    b"\x1f\x8b": "is compressed with gzip: unpack it first (gunzip, or tar xzf)",
    b"BZh": "is compressed with bzip2: unpack it first (bunzip2, or tar xjf)",
    b"\xfd7zXZ\x00": "is compressed with xz: unpack it first (unxz, or tar xJf)",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: unpack it first (unzstd)",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive: unpack it first (7z x), and pass the file inside",
    b"Rar!": "is a rar archive: unpack it first, and pass the file inside",
    b"\x89HDF\r\n\x1a\n": "is an HDF5 file, as Keras writes it: edge-tsm reads PyTorch's and "
    "PaddlePaddle's weights; copy the layers into the PyTorch network and "
    f"{STATE_DICT} there",
    b"GGUF": "holds a language model (GGUF), not a video network",
    b"\x89PNG": "is a picture, not a checkpoint",
    b"\xff\xd8\xff": "is a picture, not a checkpoint",
    b"%PDF": "is a PDF document, not a checkpoint",
}
_EXPORTED = "is an exported model: pass the checkpoint it was exported from"
_COMPILED = "is a compiled or described model: pass the checkpoint of training"
_PADDLE = "is PaddlePaddle's inference form: pass the .pdparams of training"
_TENSORFLOW = (
    "is TensorFlow's: edge-tsm reads PyTorch's and PaddlePaddle's weights; pass the checkpoint of "
    "a PyTorch training"
)
_SUFFIXES: dict[str, str] = {
    ".onnx": _EXPORTED,
    **dict.fromkeys((".pdiparams", ".pdmodel", ".pdopt"), _PADDLE),
    **dict.fromkeys(
        (".xml", ".bin", ".engine", ".tflite", ".json", ".mlmodel", ".rknn"), _COMPILED
    ),
    **dict.fromkeys((".param", ".mnn", ".plan", ".trt", ".hef", ".blob"), _COMPILED),
    **dict.fromkeys((".pb", ".index", ".meta"), _TENSORFLOW),
    ".caffemodel": "is Caffe's: pass the checkpoint of a PyTorch training",
    **dict.fromkeys((".keras", ".h5", ".hdf5"), _MAGIC[b"\x89HDF\r\n\x1a\n"]),
}
_SHARDED = (
    "is {} of a sharded checkpoint: load all parts in its project and write one file, "
    f"{STATE_DICT}"
)
_PART = re.compile(r"-\d{5}-of-\d{5}\.|\.data-\d{5}-of-\d{5}$")


def describe(path: Path) -> str | None:
    """Return what a file is and what to do; None for what may be a checkpoint.

    Args:
        path: an existing file.
    """
    with path.open("rb") as stream:
        start = stream.read(_START_BYTES)
    if not start:
        return "is not a checkpoint; the file is empty: download or copy it again"
    for magic, text in _MAGIC.items():
        if start.startswith(magic):
            return text
    if start[:2] == b"PK":
        return _archive(path)
    if start[4:8] == b"TFL3":
        return _COMPILED
    if start.lstrip()[:1] == b"<" and path.suffix not in _SUFFIXES:
        return _page(start)
    if start.lstrip()[:1] == b"{":
        return _json(start)
    return _tar(path) if start[257:262] == b"ustar" else None


def unknown(path: Path) -> str:
    """Return what a file is that has no checkpoint's first bytes, by its name."""
    known = _SUFFIXES.get(path.suffix.lower())
    if known is not None:
        return f"is not a checkpoint; it {known}"
    if _PART.search(path.name):
        return _SHARDED.format("one part")
    return "is not a checkpoint (neither PyTorch's, nor PaddlePaddle's, nor safetensors, nor npz)"


def part_of_many(path: Path) -> str:
    """Return what to add where weights are missing: that the file's name is one part's."""
    return f"; the file {_SHARDED.format('one part')}" if _PART.search(path.name) else ""


def folder(path: Path) -> str:
    """Return what a folder is, and which file in it to pass."""
    names = sorted(entry.name for entry in path.iterdir())
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return (
            "is a folder: a distributed checkpoint of torch; join it with python -m "
            "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pth"
        )
    if "zero_to_fp32.py" in names or any("_model_states.pt" in name for name in names):
        return (
            "is a folder: DeepSpeed's; join it with its zero_to_fp32.py, and pass what that writes"
        )
    if "saved_model.pb" in names:
        return f"is a folder that {_TENSORFLOW}"
    if any(_PART.search(name) for name in names):
        return f"is a folder that holds {_SHARDED.removeprefix('is {} of ')}"
    found = [name for name in names if name.endswith(_CHECKPOINTS)]
    here = f", such as {found[0]!r} in it" if found else ""
    return f"is a folder; pass a checkpoint file{here}"


def _page(start: bytes) -> str:
    text = start.decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>([^<]{1,80})", text, re.IGNORECASE)
    named = f" ({title[1].strip()!r})" if title else ""
    return (
        f"is a web page{named}, not the file: the download was answered by a page (log in, quota, "
        "wrong link); download it again, and look at its size"
    )


def _json(start: bytes) -> str:
    if b"weight_map" in start or b'"metadata"' in start:
        return _SHARDED.format("the index")
    return f"is a JSON text, not a checkpoint; it {_COMPILED}"


def _tar(path: Path) -> str:
    try:
        with tarfile.open(path) as archive:
            names = archive.getnames()
    except (tarfile.TarError, OSError, EOFError):
        return "is a damaged tar archive: download it again"
    if {"storages", "tensors", "pickle"} <= set(names):
        return (
            "is in PyTorch's format before 0.1.10: load it with a PyTorch before 2.0 and "
            f"{STATE_DICT}"
        )
    return f"is a tar archive: unpack it (tar xf) and pass the file inside{_inside(names)}"


def _archive(path: Path) -> str | None:
    """Return what a zip file is; None for a checkpoint of torch and for npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return (
            "is not a checkpoint, or it is damaged: cut short, perhaps; download or copy it again"
        )
    for fits, text in _ZIPS:
        if fits(names):
            return text
    return f"is a zip archive: unpack it and pass the file inside{_inside(names)}"


def _ends(names: Iterable[str], *ends: str) -> bool:
    return any(name.endswith(ends) for name in names)


# What a zip file is by the names in it, the first that fits; None is for `read_file` to read.
_ZIPS: tuple[tuple[Callable[[list[str]], bool], str | None], ...] = (
    (
        lambda names: _ends(names, "/constants.pkl"),
        "is TorchScript (torch.jit.save), a program with its weights: in its project run "
        f"{STATE_DICT} of the network it was made from; without that, "
        "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth') keeps the weights",
    ),
    (
        lambda names: _ends(names, "archive_format", "serialized_exported_program.json"),
        f"is a program of torch.export (.pt2): in its project run {STATE_DICT}",
    ),
    (lambda names: _ends(names, "/data.pkl"), None),
    (lambda names: bool(names) and all(name.endswith(".npy") for name in names), None),
    (
        lambda names: _ends(names, "model.weights.h5"),
        _MAGIC[b"\x89HDF\r\n\x1a\n"].replace("an HDF5 file, as Keras writes it", "Keras's"),
    ),
)


def _inside(names: Iterable[str]) -> str:
    found = next((name for name in names if name.endswith(_CHECKPOINTS)), None)
    return "" if found is None else f", {found!r}"
