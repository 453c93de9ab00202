"""An engine is one module and one `Engine`, in the table or in another package's entry point."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from click.testing import CliRunner

import edge_tsm
from edge_tsm.backends import (
    ENGINES,
    RuntimeOptions,
    artifact_parts,
    candidates,
    devices,
    engine,
    engine_of,
    readers,
)
from edge_tsm.cli import main
from edge_tsm.diagnostics.benchmark import Measured, Selection, measure, select
from edge_tsm.diagnostics.verify import Status, verify_bundle
from edge_tsm.errors import BackendError, CardError
from tests.helpers.fakes import make_card, random_pictures
from tests.helpers.toy_engine import ENGINE, write_bundle, write_file

TOYBOX = RuntimeOptions(device="toybox")
TOY = "tests.helpers.toy_engine:ENGINE"


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "toys.bundle")


@pytest.fixture
def in_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "toy", ENGINE)


def bring(monkeypatch: pytest.MonkeyPatch, refers_to: str) -> None:
    """Let another package bring an engine called toy."""
    brought = EntryPoints([EntryPoint("toy", refers_to, "edge_tsm.engines")])
    monkeypatch.setattr("importlib.metadata.entry_points", brought.select)


@pytest.mark.usefixtures("in_table")
def test_an_engine_in_the_table_serves_its_device_unasked(toys: Path) -> None:
    assert candidates("toybox") == ("toy",)
    assert devices("toy") == ("toybox",)
    assert "toy" not in candidates("cpu")
    with edge_tsm.load(toys, options=TOYBOX) as recognizer:
        prediction = recognizer(random_pictures(10))
        assert (recognizer.backend.engine, prediction.label) == ("toy", "label 1")
        assert str(recognizer.variant) == "model.toy on toy"


@pytest.mark.usefixtures("in_table")
def test_a_single_file_is_known_by_its_suffix(toys: Path) -> None:
    path = toys / "model.toy"
    assert (readers(path), engine_of(path)) == (["toy"], "toy")
    assert artifact_parts(path) == [toys / "model.bits"]
    with edge_tsm.load(path, options=TOYBOX) as recognizer:
        assert recognizer(random_pictures(3)).label == "label 1"
        assert recognizer.card.name == "fake"


@pytest.mark.usefixtures("in_table")
def test_it_is_verified_and_timed_as_any_other(toys: Path) -> None:
    [replay] = verify_bundle(toys, TOYBOX)
    assert (replay.variant.engine, replay.status) == ("toy", Status.AGREE)
    [job] = select(toys, Selection(), runs=1)
    row = measure(job)
    assert isinstance(row, Measured)
    assert (row.engine, row.device, row.agreement.max_rel_diff) == ("toy", "toybox", 0)


def test_an_engine_of_another_package_is_asked_for_by_name(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendError, match="engine 'toy' is unknown"):
        edge_tsm.load(toys, engine="toy", options=TOYBOX)
    bring(monkeypatch, TOY)
    assert engine("toy") is ENGINE
    for path in (toys, toys / "model.toy"):
        with edge_tsm.load(path, engine="toy", options=TOYBOX) as recognizer:
            assert recognizer(random_pictures(3)).label == "label 1"
    with pytest.raises(BackendError, match="device 'cpu' is not available; there is toybox"):
        edge_tsm.load(toys, engine="toy")


def test_it_is_not_looked_up_unless_named(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    bring(monkeypatch, "nowhere:NOTHING")
    with pytest.raises(CardError, match="no artifact for openvino on toybox"):
        edge_tsm.load(toys, options=TOYBOX)
    with pytest.raises(CardError, match=r"pass a bundle folder, or its \.onnx or \.xml"):
        edge_tsm.load(toys / "model.toy")


@pytest.mark.parametrize(
    ("refers_to", "reason"),
    [("nowhere:NOTHING", "does not load"), ("json:dumps", "refers to <function dumps")],
)
def test_an_entry_point_that_is_no_engine(
    refers_to: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(monkeypatch, refers_to)
    with pytest.raises(BackendError, match=reason):
        engine("toy")


def test_the_commands_take_its_name(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [str(toys), "--engine", "toy", "--device", "toybox"]
    unknown = CliRunner().invoke(main, ["verify", *arguments])
    assert unknown.exit_code == 2
    assert "'toy' is not an engine here; choose onnxruntime or openvino" in unknown.output
    bring(monkeypatch, TOY)
    known = CliRunner().invoke(main, ["verify", *arguments])
    assert (known.exit_code, known.output) == (
        0, "model.toy toy toybox: agree (max |Δ| 0.0e+00 of range, ≤ 1e-04)\n"
    )  # fmt: skip
    timed = CliRunner().invoke(
        main, ["bench", *arguments, "--variant", "model.toy", "--runs", "1", "--json"]
    )
    assert [row["engine"] for row in json.loads(timed.output)] == ["toy"]


def test_a_file_that_the_engine_does_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(monkeypatch, TOY)
    path = write_file(tmp_path / "model.onnx", make_card())
    with pytest.raises(BackendError, match="is for onnxruntime or openvino; toy cannot read it"):
        edge_tsm.load(path, engine="toy", options=TOYBOX)
