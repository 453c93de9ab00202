"""Models at addresses: a hub on loopback, through the library that talks to the real one."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_tsm import demo
from edge_tsm.bundle.addresses import STORES, Address, fetch_checkpoint, parse_address
from edge_tsm.bundle.card import Card
from edge_tsm.bundle.modelcard import accuracies_of, model_card
from edge_tsm.diagnostics.publishing import prepare, publish
from edge_tsm.errors import CardError, DamageError, EdgeTsmError, HubError, InputError
from edge_tsm.inference.loading import local_bundle
from tests.helpers.hub import COMMIT, Hub, Model, hub

pytest.importorskip("onnxruntime")
NAME = "org/gestures"
AT = f"hf://{NAME}"


def files_of(bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.iterdir()}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the demo model, and with files that its card does not list."""
    huggingface = pytest.importorskip("edge_tsm.bundle.huggingface")
    files = files_of(demo.bundle()) | {"setup.py": b"raise SystemExit('run')", "x/y.bin": b"1"}
    with hub({NAME: Model(files)}) as running:
        monkeypatch.setattr(
            huggingface, "Local", lambda: huggingface.HuggingFace(running.url), raising=False
        )
        monkeypatch.setitem(STORES, "hf", "edge_tsm.bundle.huggingface:Local")
        monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield running


def kept(tmp_path: Path) -> set[str]:
    commit = tmp_path / f"cache/models/hf/{NAME}/{COMMIT}"
    return {path.name for path in commit.iterdir()} if commit.exists() else set()


def test_a_bundle_is_downloaded_once_proven_and_then_needs_no_network(
    server: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        folder = local_bundle(AT)
    assert folder == tmp_path / f"cache/models/hf/{NAME}/{COMMIT}/gestures.bundle"
    card = Card.read(folder)
    assert {path.name for path in folder.iterdir()} == {"card.json", "golden.npz", *card.files}
    assert "downloading model.onnx of hf://org/gestures" in caplog.text
    assert server.tokens == {"Bearer hf_secret"}
    asked = len(server.requests)
    assert local_bundle(f"{AT}@{COMMIT}") == folder
    assert len(server.requests) == asked  # a commit does not change
    server.down = True
    assert local_bundle(AT) == folder
    assert "using what was downloaded before" in caplog.text
    assert "hf_secret" not in caplog.text


@pytest.mark.parametrize(
    ("spoil", "kind", "told"),
    [
        (lambda m: m.files.pop("card.json"), HubError, "it is no bundle of edge-tsm"),
        (lambda m: m.files.pop("golden.npz"), HubError, "has no 'golden.npz'"),
        (lambda m: m.files.update({"model.onnx": b"x"}), DamageError, "is not the file that was"),
        (lambda m: m.sizes.update({"model.onnx": 1 << 40}), HubError, "more than the 4,096 MiB"),
        (lambda m: m.sizes.update({"model.onnx": 5}), HubError, "model.onnx"),
        (
            lambda m: m.files.update(
                {"golden.npz": (demo.bundle("online") / "golden.npz").read_bytes()}
            ),
            EdgeTsmError,  # all checksums agree, and the answers are not those of the golden clips
            "golden",
        ),
        (lambda m: m.files.update({"card.json": evil(m.files["card.json"])}), CardError, "outside"),
    ],
)
def test_what_is_not_the_proven_bundle_is_refused_and_not_kept(
    spoil: Callable[[Model], object],
    kind: type[EdgeTsmError],
    told: str,
    server: Hub,
    tmp_path: Path,
) -> None:
    spoil(server.models[NAME])
    with pytest.raises(kind, match=told):
        local_bundle(AT)
    assert not kept(tmp_path)
    assert not any("evil" in request for request in server.requests)


def evil(card: bytes) -> bytes:
    data = json.loads(card)
    data["files"]["model.onnx"]["parts"] = {"../../evil": "0" * 64}
    return json.dumps(data).encode()


def test_a_model_that_is_not_there_is_told(server: Hub) -> None:
    with pytest.raises(HubError, match="no such model, or it is private: log in"):
        local_bundle("hf://org/none")
    server.down = True
    with pytest.raises(HubError, match="hf://org/gestures: ") as error:
        local_bundle(AT)
    assert error.value.unreachable


def test_a_bundle_is_published_with_a_readme_and_runs_from_there(
    server: Hub, tmp_path: Path
) -> None:
    bundle = tmp_path / "mine.bundle"
    shutil.copytree(demo.bundle(), bundle)
    (bundle / "diary.txt").write_text("not part of it")
    url = publish(prepare(bundle, "hf://me/mine@v2", "apache-2.0"), "hf://me/mine@v2", private=True)
    assert url.startswith(f"{server.url}/me/mine/commit/")
    model = server.models["me/mine"]
    assert (model.private, server.branches) == (True, ["v2"])
    assert "diary.txt" not in model.files
    assert model.files["model.onnx"] == (bundle / "model.onnx").read_bytes()
    assert model.files["README.md"].decode().startswith("---\nlicense: apache-2.0\n")
    assert Card.read(local_bundle("hf://me/mine@v2")).name == "demo"
    (bundle / "model.onnx").write_bytes(b"torn")
    with pytest.raises(EdgeTsmError, match="what is published is proven first"):
        prepare(bundle, "hf://me/mine", "mit")


def test_of_a_checkpoint_s_model_only_its_files_are_taken(server: Hub, tmp_path: Path) -> None:
    server.models["org/tsm"] = Model({"tsm.pth": b"weights", "run.py": b"", "a/b.pth": b"other"})
    file = fetch_checkpoint(address("hf://org/tsm"), lambda names: [names[-1]])
    assert (file.name, file.read_bytes()) == ("tsm.pth", b"weights")
    other = fetch_checkpoint(address("hf://org/tsm/a/b.pth"), lambda names: [])
    assert other.read_bytes() == b"other"
    both = fetch_checkpoint(address("hf://org/tsm@main"), lambda names: [])
    assert both == file  # the same commit
    with pytest.raises(HubError, match=r"has no 'c\.pth'"):
        fetch_checkpoint(address("hf://org/tsm/c.pth"), lambda names: [])


def address(text: str) -> Address:
    found = parse_address(text)
    assert found is not None
    return found


def test_a_readme_is_text_whatever_labels_are_called_and_no_license_is_guessed() -> None:
    hostile = "<script>|\n# [x](http://evil)"
    card = replace(Card.read(demo.bundle()), labels=(hostile, "打架"))
    text = model_card(card, "hf://me/mine", "mit")
    assert "打架" in text
    assert r"\<script\>\|\\n\# \[x\](http://evil)" in text
    measured = {"results": {"demo": {"top1": 0.91, "top5": None, "clips": 200}}}
    measured_text = model_card(card, "hf://me/mine", "mit", accuracies_of(measured))
    assert "| demo | top-1 accuracy | 91.0% | 200 |" in measured_text
    for license_id in ("", "MIT\nx: y", "my own"):
        with pytest.raises(InputError, match="is no identifier of the hub"):
            model_card(card, "hf://me/mine", license_id)


def test_the_command_asks_for_a_license_and_reads_through_the_environment_s_endpoint(
    server: Hub, tmp_path: Path
) -> None:
    own = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "COLUMNS": "80"}

    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "edge_tsm", *map(str, arguments)]
        return subprocess.run(
            whole, env={**os.environ, **own}, capture_output=True, text=True, timeout=120
        )

    for words in (("info", "hf://gestures@v1"), ("scan", "hf://gestures@v1", tmp_path)):
        assert command(*words).stderr == (
            "edge-tsm: error: hf://gestures@v1: an address is hf://ORG/NAME[@REVISION], of a "
            "checkpoint with its file: …/FILE\n"
        )
    asked = command("push", demo.bundle(), "hf://me/demo")
    assert (asked.returncode, "Missing option '--license'" in asked.stderr) == (2, True)
    shown = command("info", AT)
    assert "swipe left" in shown.stdout
    assert shown.stderr.startswith(f"edge-tsm: downloading card.json of {AT}")


@pytest.mark.parametrize("text", ["a.bundle", "hf:/org/name", "./hf", "C:/x"])
def test_nothing_else_is_an_address(text: str) -> None:
    assert parse_address(text) is None
    assert parse_address(Path("hf://org/name")) is None


@pytest.mark.parametrize(
    "text", ["hf://", "hf://a", "hf://a/b@", "hf://a/b/.git/x", "hf://a/b/../c", "hf://a/b/c//d"]
)
def test_addresses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="an address is"):
        parse_address(text)
    with pytest.raises(InputError, match="models are read from folders and from hf://"):
        parse_address(text.replace("hf", "s3"))
