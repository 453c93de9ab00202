"""What engines make of an artifact is kept, checked, and answers as the artifact does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_tsm import demo
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.backends.compiled import Compiled, CompiledCache

ARTIFACT = demo.bundle() / "model.int8.onnx"
CLIP = {"clip": np.random.default_rng(0).standard_normal((1, 24, 224, 224), np.float32)}


def answer(engine: str, folder: Path, artifact: Path = ARTIFACT) -> tuple[np.ndarray, str | None]:
    options = RuntimeOptions(threads=1, cache_dir=folder)
    backend = open_backend(engine, artifact, options, checksum="a" * 64)
    logits = backend.run(CLIP)["logits"]
    backend.close()
    return logits, backend.card_text


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_what_is_kept_answers_to_the_bit_and_what_was_tampered_with_is_not_loaded(
    engine: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip(engine)
    plain = open_backend(engine, ARTIFACT, RuntimeOptions(threads=1)).run(CLIP)["logits"]
    first, card = answer(engine, tmp_path)
    [entry] = (tmp_path / "compiled").iterdir()
    assert entry.stat().st_mode & 0o077 == 0
    # The artifact is not read: a missing one is as good, where its checksum was checked elsewhere.
    kept, kept_card = answer(engine, tmp_path, Path("/nowhere/model.int8.onnx"))
    np.testing.assert_array_equal(first, plain)
    np.testing.assert_array_equal(kept, plain)
    assert kept_card == card is not None

    data = bytearray(entry.read_bytes())
    data[-100] ^= 1
    entry.write_bytes(data)
    again, _ = answer(engine, tmp_path)
    assert "is damaged; the model is compiled anew" in caplog.text
    np.testing.assert_array_equal(again, plain)


def test_the_graph_of_a_large_file_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("edge_tsm.backends.onnxruntime._LARGEST_KEPT", ARTIFACT.stat().st_size - 1)
    answer("onnxruntime", tmp_path)
    assert not (tmp_path / "compiled").exists()


def test_another_artifact_version_thread_or_stream_has_an_entry_of_its_own(tmp_path: Path) -> None:
    def cache(checksum: str = "a", **options: int) -> CompiledCache:
        return CompiledCache(checksum, RuntimeOptions(cache_dir=tmp_path, **options))

    cache().write("engine 1", Compiled(b"model", "card"))
    assert cache().read("engine 1") == Compiled(b"model", "card")
    assert cache("b").read("engine 1") is None
    assert cache().read("engine 2") is None
    assert cache(threads=1).read("engine 1") is None
    assert cache(streams=2).read("engine 1") is None
    [entry] = (tmp_path / "compiled").iterdir()
    entry.chmod(0o666)  # who else can write it could have it load anything
    assert cache().read("engine 1") is None


def test_the_cache_is_bounded_and_one_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    for number in range(20):
        options = RuntimeOptions(cache_dir=tmp_path)
        CompiledCache(str(number), options).write("engine 1", Compiled(b"x", None))
    assert len(list((tmp_path / "compiled").iterdir())) == 16
    (tmp_path / "file").touch()
    refused = CompiledCache("a", RuntimeOptions(cache_dir=tmp_path / "file"))
    refused.write("engine 1", Compiled(b"x", None))
    assert refused.read("engine 1") is None
