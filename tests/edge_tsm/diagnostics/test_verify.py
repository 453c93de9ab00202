"""What verify finds on this machine, as values."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_tsm import demo
from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.card import Verification
from edge_tsm.diagnostics.doctor import check_bundle
from edge_tsm.diagnostics.verify import Status, verify_bundle
from edge_tsm.errors import BackendError, CardError

PROVEN = Verification(2, 0.0, 0.0, 1e-4, 1.0, 1.0, 1.0, 0.0)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime")
    return Path(shutil.copytree(demo.bundle(), tmp_path / "copy.bundle"))


def shift_golden(bundle: Path, share: float) -> None:
    """Move one logit of the f32 reference by a share of their range."""
    arrays = dict(np.load(bundle / "golden.npz"))
    arrays["logits"][0, 0] -= share * np.ptp(arrays["logits"])
    np.savez(bundle / "golden.npz", **arrays)


def found(bundle: Path, options: RuntimeOptions | None = None) -> dict[str, Status]:
    replays = verify_bundle(bundle, options, engine="onnxruntime")
    return {replay.variant.file.path: replay.status for replay in replays}


@pytest.mark.parametrize(
    ("diff", "top1", "status"),
    [
        (1e-4, 1.0, Status.AGREE),
        (1.1e-4, 1.0, Status.DRIFTED),
        (1.1e-4, 0.5, Status.BROKEN),
        (float("inf"), 0.0, Status.BROKEN),
    ],
)
def test_the_status_of_figures(diff: float, top1: float, status: Status) -> None:
    assert Status.of(replace(PROVEN, max_rel_diff=diff, top1_agreement=top1)) is status


def test_an_untouched_bundle_agrees_with_figures(copy: Path) -> None:
    replays = verify_bundle(copy, engine="onnxruntime")
    assert {replay.status for replay in replays} == {Status.AGREE}
    for replay in replays:
        assert replay.measured is not None and not replay.reason
        assert replay.summary.startswith("agree (max |Δ| ")


def test_damaged_and_missing_files_are_not_run(copy: Path) -> None:
    with (copy / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    (copy / "model.int8.onnx").unlink()
    first, second = verify_bundle(copy, engine="onnxruntime")
    assert first.status is second.status is Status.BROKEN
    assert first.measured is second.measured is None
    assert "model.onnx is not the file that was verified: sha256 is " in first.summary
    assert second.reason == f"{copy / 'model.int8.onnx'} is missing; copy the bundle again"


def test_drift_and_what_does_not_run(copy: Path) -> None:
    shift_golden(copy, 0.01)
    assert found(copy) == {"model.onnx": Status.DRIFTED, "model.int8.onnx": Status.AGREE}
    options = RuntimeOptions(precision="bf16")
    assert set(found(copy, options).values()) == {Status.SKIPPED}


def test_doctor_ranks_what_verify_finds(copy: Path) -> None:
    shift_golden(copy, 0.01)
    with (copy / "model.int8.onnx").open("ab") as stream:
        stream.write(b"x")
    findings = {f.name: f for f in check_bundle(copy, RuntimeOptions())}
    drifted, broken = (findings[f"{f} onnxruntime"] for f in ("model.onnx", "model.int8.onnx"))
    assert (drifted.status, drifted.found[:7]) == ("warning", "drifted")
    assert (broken.status, broken.remedy) == ("problem", "copy the bundle again")
    (copy / "card.json").unlink()
    [gone] = check_bundle(copy, RuntimeOptions())
    assert (gone.status, gone.name) == ("problem", "bundle")


def test_what_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="not a bundle"):
        verify_bundle(tmp_path)
    with pytest.raises(BackendError, match="engine 'caffe' is unknown"):
        verify_bundle(demo.bundle(), engine="caffe")
