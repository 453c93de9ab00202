"""Every artifact is measured in a process of its own; what does not run is a row that says why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_tsm import demo
from edge_tsm.bundle.card import Card
from edge_tsm.diagnostics.benchmark import Failed, Job, Selection, measure, measure_apart, select
from edge_tsm.errors import BackendError, CardError
from edge_tsm.inference.variants import Variant
from tests.helpers.command import edge_tsm


def a_job(device: str, engine: str = "onnxruntime") -> Job:
    pytest.importorskip(engine)
    bundle = demo.bundle()
    return Job(bundle, Variant(Card.read(bundle).files["model.onnx"], engine), device, 1, 1)


@pytest.mark.parametrize("measured", [measure, measure_apart])
def test_a_failure_is_a_value(measured) -> None:  # type: ignore[no-untyped-def]
    row = measured(a_job("toaster"))
    assert isinstance(row, Failed)
    assert (row.file, row.engine, row.device) == ("model.onnx", "onnxruntime", "toaster")
    assert row.error.startswith("device 'toaster' is not available")


def test_a_bundle_that_is_gone_ends_only_its_own_process(tmp_path: Path) -> None:
    job = a_job("cpu")
    gone = measure_apart(Job(tmp_path, job.variant, "cpu"))
    assert isinstance(gone, Failed)
    assert gone.error.startswith(f"{tmp_path}: no readable card.json")


def test_a_process_that_dies_leaves_its_last_words() -> None:
    job = a_job("cpu")
    file = replace(job.variant.file, path="gone.onnx")
    died = measure_apart(replace(job, variant=replace(job.variant, file=file)))
    assert isinstance(died, Failed)
    assert (died.file, died.error) == ("gone.onnx", "KeyError: 'gone.onnx'")


def test_a_selection_narrows_the_jobs() -> None:
    bundle = demo.bundle()
    jobs = select(bundle, Selection(engine="openvino", device="cpu"), threads=1, runs=2)
    assert {(job.variant.engine, job.device, job.threads, job.runs) for job in jobs} == {
        ("openvino", "cpu", 1, 2)
    }
    [job] = select(bundle, Selection("openvino", "cpu", "model.int8.onnx"))
    assert job.variant.file.path == "model.int8.onnx"
    with pytest.raises(BackendError, match="engine 'caffe' is unknown"):
        select(bundle, Selection(engine="caffe"))
    with pytest.raises(CardError, match="not a bundle"):
        select(bundle.parent, Selection())


def test_the_command_measures_every_artifact(bundle: Path) -> None:
    done = edge_tsm("bench", bundle, "--runs", 1, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["file"] for row in rows} <= set(Card.read(bundle).files)
    for row in rows:
        assert row["agreement"]["max_rel_diff"] <= row["agreement"]["tolerance"]
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["clips_per_s"] == pytest.approx(1000 / row["median_ms"])
        assert row["peak_mib"] > 20


def test_the_command_says_why_nothing_runs(bundle: Path) -> None:
    done = edge_tsm("bench", bundle, "--runs", 1, "--device", "toaster", "--json")
    assert done.returncode == 5
    assert "device 'toaster' is not available" in done.stderr
    for row in json.loads(done.stdout):
        assert row.keys() == {"file", "engine", "device", "error"}
