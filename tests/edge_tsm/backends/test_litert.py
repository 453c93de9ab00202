"""LiteRT: tensors by the names that lie behind the graph, damaged files never opened."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.bundle.tflitefile import Names, append, read
from edge_tsm.errors import BackendError

# frame (1, 3, 4, 4), cache (1, 2, 4, 4) -> frame.mean((2, 3)) + cache.mean((1, 2, 3)) and
# frame[:, :2] * 2, written by litert-torch 0.10 from torch's export.
GRAPH = Path(__file__).with_name("tiny.tflite")
NAMES = Names(("frame", "cache_00"), ("logits", "next_cache_00"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(GRAPH.read_bytes())
    append(path, '{"name": "tiny"}', NAMES)
    return path


def test_state_goes_in_and_comes_out_by_name(model: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the engine is not installed")
    backend = open_backend("litert", model, RuntimeOptions(threads=1))
    assert backend.card_text == '{"name": "tiny"}'
    frame = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
    cache = np.full((1, 2, 4, 4), 5, np.float32)
    for _ in range(2):  # and none is kept
        answer = backend.run({"cache_00": cache, "frame": frame})
        np.testing.assert_allclose(answer["logits"], frame.mean((2, 3)) + 5, rtol=1e-6)
        np.testing.assert_array_equal(answer["next_cache_00"], frame[:, :2] * 2)
    for inputs in ({"frame": frame}, {"frame": frame[:, :1], "cache_00": cache}):
        with pytest.raises(BackendError, match="LiteRT"):
            backend.run(inputs)
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.run({"cache_00": cache, "frame": frame})


def test_a_device_or_precision_that_it_has_not(model: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the engine is not installed")
    for options in (RuntimeOptions("gpu"), RuntimeOptions(precision="f16")):
        with pytest.raises(BackendError, match="LiteRT"):
            open_backend("litert", model, options)


def test_other_names_than_the_graph_has_tensors(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the engine is not installed")
    path = tmp_path / "model.tflite"
    path.write_bytes(GRAPH.read_bytes())
    append(path, "{}", Names(("clip",), ("logits",)))
    with pytest.raises(BackendError, match="finds other tensors than the 1 args"):
        open_backend("litert", path, RuntimeOptions())


def test_a_file_of_somebody_else(model: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="is no LiteRT file of edge-tsm"):
        read(GRAPH)
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(model.read_bytes()[:-40])
    with pytest.raises(BackendError, match="is no LiteRT file of edge-tsm"):
        read(cut)
    other = tmp_path / "other.tflite"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("edge_tsm.card", "{}")
        archive.writestr("edge_tsm.names", '{"inputs": 3}')
    with pytest.raises(BackendError, match="outputs is missing"):
        read(other)
