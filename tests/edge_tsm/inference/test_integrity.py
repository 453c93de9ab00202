"""A damaged or odd artifact does not answer: the next one does, or nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.golden import Golden
from edge_tsm.datatypes import Image
from edge_tsm.demo.synthetic import generate
from edge_tsm.errors import AnswerError, BackendError, DamageError, VerificationError
from edge_tsm.inference.loading import load
from edge_tsm.inference.recognizer import Recognizer
from tests.helpers.fakes import FakeBackend, make_card
from tests.helpers.hostile import change_card, demo_copy, only_file, vouch_for, zero_page

ORT = "onnxruntime"
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path / "cache"))
    return demo_copy(tmp_path / "x.bundle")


def frames() -> list[Image]:
    return list(generate(0))


def test_pages_lost_after_the_first_run_are_no_answer(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with load(bundle, engine=ORT) as recognizer:
        chosen, before = recognizer.variant, recognizer(frames()).label
    assert chosen is not None
    zero_page(bundle / chosen.file.path)
    with load(bundle, engine=ORT) as recognizer:
        assert recognizer.variant is not None
        assert recognizer.variant.file.path != chosen.file.path
        assert recognizer(frames()).label == before
    assert "does not open any more" in caplog.text
    with pytest.raises(DamageError, match=r"sha256 is \w+…, the card says \w+…; copy"):
        load(bundle, variant=chosen.file.path)


def test_nothing_answers_when_every_file_is_damaged(bundle: Path) -> None:
    for name in ("model.onnx", "model.int8.onnx"):
        zero_page(bundle / name)
    with pytest.raises(DamageError, match="is not the file that was verified"):
        load(bundle, engine=ORT)
    (bundle / "golden.npz").unlink()
    with pytest.raises(DamageError, match="is not the file that was verified"):
        load(bundle, engine=ORT)


def test_a_single_file_is_held_to_the_card_beside_it(bundle: Path) -> None:
    path = bundle / "model.onnx"
    load(path, engine=ORT).close()
    zero_page(path)
    with pytest.raises(DamageError, match="is not the file that was verified"):
        load(path, engine=ORT)


def test_without_goldens_a_damaged_file_is_passed_over(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (bundle / "golden.npz").unlink()
    zero_page(bundle / "model.onnx")
    with load(bundle, engine=ORT) as recognizer:
        assert recognizer.variant is not None
        assert recognizer.variant.file.path == "model.int8.onnx"
    assert "is passed over" in caplog.text


def test_a_remembered_file_that_does_not_open_is_dropped(bundle: Path) -> None:
    """It is whole, as its card says, and no engine takes it: once it did, with another version."""
    with load(bundle, engine=ORT) as recognizer:
        assert recognizer.variant is not None
        name = recognizer.variant.file.path
    (bundle / name).write_bytes(b"not a model")
    vouch_for(bundle, name)
    with load(bundle, engine=ORT) as recognizer:
        assert recognizer.variant is not None
        assert recognizer.variant.file.path != name
    with pytest.raises(BackendError, match="not an ONNX file"):
        load(bundle, variant=name)


def test_goldens_that_all_fail_forbid_to_run_unless_told(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    golden = Golden.read(bundle)
    Golden(golden.clips, golden.logits[:, ::-1].copy()).write(bundle)
    with pytest.raises(VerificationError, match="--variant NAME runs one all the same"):
        load(bundle, engine=ORT)
    only_file(bundle)
    with pytest.raises(VerificationError, match="no artifact answers its golden clips"):
        load(bundle, engine=ORT)
    with load(bundle, variant="model.onnx") as recognizer:
        assert recognizer(frames()).label


def test_drift_in_an_arithmetic_that_was_asked_for_is_a_warning(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("openvino")
    golden = Golden.read(bundle)
    Golden(golden.clips, golden.logits + np.float32(0.01) * golden.logits.std()).write(bundle)
    only_file(bundle)
    change_card(bundle, lambda card: card["files"]["model.onnx"].update(also={"openvino": "2026"}))
    with pytest.raises(VerificationError):
        load(bundle, engine="openvino")
    with load(bundle, engine="openvino", options=RuntimeOptions(precision="f16")) as recognizer:
        assert recognizer(frames()).label
    assert "no variant passes its golden check in f16" in caplog.text


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_answer(odd: float) -> None:
    class Odd(FakeBackend):
        def run(self, inputs):  # type: ignore[no-untyped-def]
            logits = super().run(inputs)["logits"]
            logits[0, 1] = odd
            return {"logits": logits}

    with pytest.raises(AnswerError, match="fake on onnxruntime cpu answers NaN or infinity"):
        Recognizer(make_card(), Odd())(frames())


def test_a_model_that_answers_nan_ends_in_one_line(bundle: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import numpy_helper

    path = bundle / "model.onnx"
    model = onnx.load(str(path))
    bias = next(t for t in model.graph.initializer if list(t.dims) == [9])
    bias.CopyFrom(numpy_helper.from_array(np.full(9, np.nan, np.float32), bias.name))
    path.write_bytes(model.SerializeToString())
    only_file(bundle)
    vouch_for(bundle)
    for source, count in (("--source", 1), ("--camera", 2)):
        address = bundle.parent / "pictures" if source == "--source" else "test://64x48/30"
        if source == "--source":
            _pictures(bundle.parent / "pictures")
        rate = ("--window", "0.2", "--every", "0.1", "--duration", "60") if count == 2 else ()
        done = subprocess.run(
            [sys.executable, "-m", "edge_tsm", "run", str(bundle), "--variant", "model.onnx",
             "--json", source, str(address), *rate],
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (13, "")
        assert done.stderr.count("answers NaN or infinity, which is no answer") == count
        assert "Traceback" not in done.stderr


def _pictures(folder: Path) -> None:
    import cv2

    folder.mkdir()
    for index, image in enumerate(frames()[:8]):
        cv2.imwrite(str(folder / f"{index}.png"), image)
