"""The bundle folder: its card, the entries of its files, all or nothing on disk."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from converters.architectures.classifier import cache_shapes
from converters.export import Writer
from converters.recipe import Recipe
from edge_tsm.backends import artifact_parts, engine, versions
from edge_tsm.bundle.card import (
    CARD_FILE,
    SCHEMA,
    Cache,
    Card,
    File,
    Input,
    Output,
    Provenance,
    Streaming,
    checksum,
)
from edge_tsm.errors import ConversionError, EdgeTsmError
from edge_tsm.system.files import umask

_BUNDLE_FILE = re.compile(
    r"^(card\.json|golden\.npz|report\.(json|md|html|png)|rules\.toml|model\.([\w.]+))$"
)


def card_of(recipe: Recipe, name: str, *, checkpoint_sha256: str) -> Card:
    """Return the card of a bundle called `name`, without files and what will be proven of them."""
    return Card(
        schema=SCHEMA,
        name=name,
        labels=recipe.labels.names,
        family=recipe.network.family,
        arch=dict(recipe.arch),
        sampling=recipe.sampling,
        preprocess=recipe.preprocess,
        input=_input(recipe),
        output=Output("logits", recipe.facts.activation.value),
        streaming=_streaming(recipe),
        files={},
        provenance=Provenance(
            checkpoint_sha256=checkpoint_sha256,
            inferred={fact: found.source for fact, found in recipe.facts.rows()},
            tools=_tools(),
        ),
        verification={},
    )


def _input(recipe: Recipe) -> Input:
    name, frames = ("frame", 1) if recipe.streaming else ("clip", recipe.segments)
    size = recipe.preprocess.crop_px
    shape = (recipe.batch, frames * 3, size, size)
    dynamic = recipe.facts.dynamic_batch is not None
    return Input(name, shape, "float32", dynamic_batch=dynamic)


def _streaming(recipe: Recipe) -> Streaming | None:
    if recipe.streaming is None:
        return None
    shapes = cache_shapes(recipe, recipe.preprocess.crop_px)
    caches = (Cache(f"cache_{i:02d}", f"next_cache_{i:02d}", s) for i, s in enumerate(shapes))
    return replace(recipe.streaming, caches=tuple(caches))


def _tools() -> dict[str, str]:
    return {n: version(n) for n in ("edge-tsm", "torch", "onnx", "onnxsim")} | {
        name: _engine_version(name) for name in ("onnxruntime", "openvino")
    }


def _engine_version(name: str) -> str:
    """Return an engine's version, whichever distribution it comes in (`onnxruntime-gpu`)."""
    return next(iter(versions(engine(name).distributions).values()))


def file_entry(path: Path, writer: Writer, also: Iterable[str], *, proven: bool) -> File:
    """Return the entry of a finished artifact; `also` are further engines it is proven on."""
    return File(
        path=path.name,
        sha256=checksum(path),
        precision=writer.precision,
        engine=writer.engine,
        engine_version=_engine_version(writer.engine),
        parts={part.name: checksum(part) for part in artifact_parts(path, writer.engine)},
        also={name: _engine_version(name) for name in also},
        target=writer.target,
        proven=proven,
    )


@contextmanager
def temporary_bundle(bundle: Path, *, force: bool) -> Iterator[Path]:
    """Yield a hidden folder beside `bundle`; it becomes the bundle, or is removed on failure."""
    _refuse_existing(bundle, force=force)
    try:
        bundle.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{bundle.name}-", dir=bundle.parent))
    except OSError as error:
        raise ConversionError(f"{bundle.parent}: cannot write there ({error.strerror})") from error
    try:
        yield folder
        folder.chmod(0o777 & ~umask())
        _replace(folder, bundle, force=force)
    except (EdgeTsmError, BrokenPipeError):
        raise
    except OSError as error:
        raise ConversionError(f"{bundle}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_existing(bundle: Path, *, force: bool) -> None:
    if not bundle.exists() and not bundle.is_symlink():
        return
    if not force:
        raise ConversionError(f"{bundle} exists; pass --force to replace it, or another -o")
    names = {path.name for path in bundle.iterdir()} if bundle.is_dir() else {"a file"}
    strangers = sorted(name for name in names if not _BUNDLE_FILE.match(name))
    if strangers or CARD_FILE not in names:
        found = f"holds {strangers[0]}" if strangers else f"holds no {CARD_FILE}"
        raise ConversionError(f"{bundle} {found}, so it is no plain bundle and is not replaced")


def _replace(folder: Path, bundle: Path, *, force: bool) -> None:
    """Move the finished folder into place; an old bundle is removed only after that."""
    _refuse_existing(bundle, force=force)
    if not bundle.exists():
        folder.rename(bundle)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{bundle.name}-old-", dir=bundle.parent))
    try:
        bundle.rename(old / "bundle")
        try:
            folder.rename(bundle)
        except OSError:
            (old / "bundle").rename(bundle)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
