"""Engines: what is offered, what is asked of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_tsm import backends, demo
from edge_tsm.backends import RuntimeOptions, candidates
from edge_tsm.backends.onnxruntime import refuse_free_batch
from edge_tsm.errors import BackendError
from edge_tsm.system.machine import Processor


def test_a_missing_engine_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "installed", lambda engine: False)
    with pytest.raises(BackendError, match=r"edge-tsm\[onnx\]"):
        candidates("cuda")
    with pytest.raises(BackendError, match=r"edge-tsm\[openvino\]"):
        candidates("gpu")
    with pytest.raises(BackendError, match=r"edge-tsm\[.*\].* or .*edge-tsm\["):
        candidates("cpu")


@pytest.mark.parametrize(
    ("machine", "first"),
    [("x86_64", "openvino"), ("AMD64", "openvino"), ("aarch64", "onnxruntime")],
)
def test_the_preferred_engine(machine: str, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "installed", lambda engine: True)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert candidates("cpu")[0] == first
    assert candidates("CUDA") == ("onnxruntime",)
    assert candidates("gpu") == ("openvino",)


def test_tensorrt_keeps_its_engines(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from edge_tsm.backends.onnxruntime import provider_options

    options = RuntimeOptions("tensorrt", precision="f16", cache_dir=tmp_path / "cache")
    [(first, settings), (second, _)] = provider_options(options)
    assert (first, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert settings["trt_fp16_enable"] is True
    assert settings["trt_int8_enable"] is False
    assert settings["trt_engine_cache_enable"] is True
    assert settings["trt_engine_cache_path"] == str(tmp_path / "cache")
    assert (tmp_path / "cache").is_dir()


def test_sums_are_made_exact_only_where_they_would_saturate() -> None:
    pytest.importorskip("onnxruntime")
    from edge_tsm.backends.onnxruntime import session_options

    key = "session.x64quantprecision"
    old, new = (Processor("x", flags, 2, None) for flags in (("AVX2",), ("AVX2", "VNNI")))
    assert session_options(RuntimeOptions(), old).get_session_config_entry(key) == "1"
    with pytest.raises(RuntimeError, match=key):
        session_options(RuntimeOptions(), new).get_session_config_entry(key)


@pytest.mark.parametrize(
    ("device", "precision"), [("cpu", "f16"), ("cpu", "int8"), ("cuda", "f16")]
)
def test_precision_that_is_not_offered(device: str, precision: str) -> None:
    pytest.importorskip("onnxruntime")
    from edge_tsm.backends.onnxruntime import provider_options

    with pytest.raises(BackendError, match=f"precision '{precision}' is not offered"):
        provider_options(RuntimeOptions(device, precision=precision))  # type: ignore[arg-type]


def test_openvino_is_held_to_f32_unless_asked_otherwise(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("openvino")
    from edge_tsm.backends.openvino import OpenVinoBackend

    def taken(options: RuntimeOptions) -> str:
        backend = OpenVinoBackend(bundle / "model.xml", options)
        compiled = backend._idle.get().get_compiled_model()
        return str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())

    assert taken(RuntimeOptions()) == "f32"
    assert not caplog.records
    # A CPU may have no bf16: OpenVINO then takes f32, and it is said.
    replaced = taken(RuntimeOptions(precision="bf16")) != "bf16"
    assert replaced == ("CPU does not compute in bf16: OpenVINO takes f32" in caplog.text)
    with pytest.raises(BackendError, match="precision 'int8'"):
        OpenVinoBackend(bundle / "model.xml", RuntimeOptions(precision="int8"))


def test_tensorrt_gets_no_graph_of_any_batch() -> None:
    refuse_free_batch(Path("model.onnx"), [[2, 24, 224, 224], [2, 3, 56, 56]])
    for free in ("batch", None):
        with pytest.raises(BackendError, match="--batch N instead of --dynamic-batch"):
            refuse_free_batch(Path("model.onnx"), [[2, 3], [free, 3, 56, 56]])


def test_openvino_takes_all_inputs_or_none_and_keeps_none() -> None:
    """One left out would be that of the run before; one that cannot be shared is copied."""
    pytest.importorskip("openvino")
    from edge_tsm.backends.openvino import OpenVinoBackend

    backend = OpenVinoBackend(demo.bundle() / "model.onnx", RuntimeOptions(threads=1))
    clip = np.random.default_rng(0).standard_normal((1, 24, 224, 224)).astype(np.float32)
    [expected] = backend.run({"clip": clip}).values()
    for inputs in ({}, {"clip": clip, "other": clip}, {"other": clip}):
        with pytest.raises(BackendError, match="the inputs are clip"):
            backend.run(inputs)
    frozen, turned, wide = clip.copy(), np.asfortranarray(clip), clip.astype(np.float64)
    frozen.flags.writeable = False
    for given in (frozen, turned, wide):
        [found] = backend.run({"clip": given}).values()
        np.testing.assert_array_equal(found, expected)
