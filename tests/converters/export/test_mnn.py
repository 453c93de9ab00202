"""MNN as a further engine: written apart, proven on itself, checked before it sees a file."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tsm import demo
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.bundle.card import Card, checksum
from edge_tsm.bundle.mnnfile import metadata
from edge_tsm.demo.synthetic import generate
from edge_tsm.diagnostics.verify import Status, verify_bundle
from edge_tsm.errors import (
    BackendError,
    ConversionError,
    DamageError,
    ExportError,
    IncompleteError,
)
from edge_tsm.inference.loading import load
from tests.helpers.command import edge_tsm
from tests.helpers.hostile import change_card, zero_page

pytest.importorskip("MNN", reason="the engine is not installed")
pytest.importorskip("torch", reason="writing files needs what converts")

from converters import Options, Settings, convert
from converters.export import WRITERS, targets
from converters.export.mnn import write_mnn
from tests.helpers.upstream import write_checkpoint

NAME = "model.mnn"


def with_mnn(folder: Path, source: Path) -> Path:
    """A copy of a demo bundle with an MNN file beside its ONNX files."""
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    write_mnn(source / "model.onnx", Card.read(source), folder / NAME)

    def enter(card: dict[str, Any]) -> None:
        entry = {**card["files"]["model.onnx"], "path": NAME, "sha256": checksum(folder / NAME)}
        card["files"][NAME] = {**entry, "engine": "mnn", "engine_version": "3", "also": {}}
        card["verification"][NAME] = card["verification"]["model.onnx"]

    return change_card(folder, enter)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_mnn(tmp_path_factory.mktemp("mnn") / "x.bundle", demo.bundle())


def test_both_forms_answer_as_proven(bundle: Path, tmp_path: Path) -> None:
    online = with_mnn(tmp_path / "online.bundle", demo.bundle("online"))
    for folder in (bundle, online):
        [replay] = verify_bundle(folder, RuntimeOptions(threads=1), engine="mnn")
        assert (replay.variant.file.path, replay.status) == (NAME, Status.AGREE)


def test_the_file_alone_answers_and_brings_its_card(bundle: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.mnn"
    moved.write_bytes((bundle / NAME).read_bytes())
    with load(moved) as recognizer, load(bundle, engine="onnxruntime") as other:
        frames = list(generate(0))
        assert recognizer.card.labels == Card.read(bundle).labels
        assert recognizer(frames).label == other(frames).label


def test_other_inputs_are_refused_and_do_not_spoil_the_next_run(bundle: Path) -> None:
    backend = open_backend("mnn", bundle / NAME, RuntimeOptions(threads=1))
    clip = np.ones((1, 24, 224, 224), np.float32)
    before = backend.run({"clip": clip})["logits"]
    for inputs in ({"clip": clip[:, :3]}, {"other": clip}, {"clip": np.repeat(clip, 3, axis=0)}):
        with pytest.raises(BackendError, match="MNN"):
            backend.run(inputs)
    np.testing.assert_array_equal(backend.run({"clip": clip})["logits"], before)
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.run({"clip": clip})


def test_a_device_or_precision_that_it_has_not(bundle: Path) -> None:
    for options in (RuntimeOptions("gpu"), RuntimeOptions(precision="int8")):
        with pytest.raises(BackendError, match=r"MNN|not offered"):
            open_backend("mnn", bundle / NAME, options)


def test_a_damaged_file_never_reaches_the_engine(bundle: Path, tmp_path: Path) -> None:
    """It would end the process: one of forty-five files with twenty other bytes did."""
    folder = Path(shutil.copytree(bundle, tmp_path / "x.bundle"))
    zero_page(folder / NAME)
    opened: list[Path] = []
    for path in (folder, folder / NAME):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "edge_tsm.backends.mnn.open_model", lambda path, options: opened.append(path)
            )
            with pytest.raises(DamageError, match="is not the file that was verified"):
                load(path, engine="mnn")
    assert not opened


@pytest.mark.parametrize("kept", [0, 3, 40, 2000])
def test_what_is_no_mnn_file(kept: int, bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes((bundle / NAME).read_bytes()[:kept])
    with pytest.raises(BackendError, match="is not an MNN file"):
        metadata(path)


def test_metadata_of_any_bytes_is_an_error_or_text(bundle: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / NAME, bytearray((bundle / NAME).read_bytes())
    random = np.random.default_rng(0)
    for _ in range(100):
        damaged = whole.copy()
        for place in random.integers(0, 9000, 200):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            assert all(isinstance(text, str) for text in metadata(path).values())
        except BackendError as error:
            assert "is not an MNN file" in str(error)


def test_nothing_but_answers_goes_to_standard_output(bundle: Path) -> None:
    """The engine prints lines of its own there."""
    done = edge_tsm("bench", bundle, "--engine", "mnn", "--variant", NAME, "--runs", 1, "--json")
    assert (done.returncode, done.stdout[:2]) == (0, "[\n"), done.stderr


def test_a_conversion_writes_it_and_survives_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, card: Card, path: Path) -> Path:
        crash = ("import os; os.abort()",)
        return write_mnn(source, card, path, command=(sys.executable, "-c", *crash))

    monkeypatch.setitem(WRITERS, "mnn-f16", dataclasses.replace(WRITERS["mnn-f16"], write=refuse))
    settings = Settings(ir=False, f16=True, targets=("mnn",))
    with pytest.raises(IncompleteError, match=r"no model\.f16\.mnn: .* ended with code -6") as left:
        convert(
            write_checkpoint(tmp_path, "resnet18"),
            tmp_path / "x.bundle",
            Options(segments=2, size=64),
            settings,
        )
    card = Card.read(left.value.bundle)
    assert list(card.files) == ["model.onnx", "model.f16.xml", NAME]
    assert card.files[NAME].proven
    assert card.files[NAME].engines == ("mnn",)
    assert 0 < card.verification[NAME].max_rel_diff <= 1e-4
    assert not list(left.value.bundle.glob("*mnn-*"))


def test_a_converter_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"model\.mnn: MNN's converter took more than 0\.2 s"):
        write_mnn(
            demo.bundle() / "model.onnx",
            Card.read(demo.bundle()),
            tmp_path / NAME,
            timeout_s=0.2,
            command=(sys.executable, "-c", "import time; time.sleep(60)"),
        )
    assert not list(tmp_path.iterdir())


def test_targets_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConversionError, match="target 'mmn' is unknown; did you mean mnn"):
        targets.check_targets(["mmn"])
    with pytest.raises(ConversionError, match="no file for ncnn is written: of its"):
        targets.check_targets(["mnn", "ncnn"])
    monkeypatch.setattr(targets, "installed", lambda name: False)
    with pytest.raises(ConversionError, match=r"pip install 'edge-tsm\[mnn\]'"):
        targets.check_targets(["mnn"])
