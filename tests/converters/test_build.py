"""Conversion as a whole: what a bundle holds, which networks convert, what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
import torch
from torch import nn

from converters.architectures.classifier import build_reference
from converters.architectures.shift import Shift, TemporalShift
from converters.builder import Settings, build, convert
from converters.export import simplify
from converters.export.onnx import export_onnx
from converters.export.openvino import write_ir
from converters.planning import Plan, plan
from converters.recipe import Options
from converters.verification.reference import TOLERANCE, Reference
from edge_tsm import load
from edge_tsm.actions.rules import RULES_FILE, read_rules
from edge_tsm.bundle.card import METADATA_KEY, Card
from edge_tsm.errors import ConversionError, IncompleteError, InputError, VerificationError
from tests.helpers.upstream import write_checkpoint


def nothing_left(folder: Path, *known: str) -> bool:
    return {path.name for path in folder.iterdir()} == set(known)


def test_a_bundle_is_whole(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == {
        "card.json",
        "golden.npz",
        "model.bin",
        "model.f16.bin",
        "model.f16.xml",
        "model.onnx",
        "model.xml",
        "report.html",
        "report.json",
        "report.md",
    }
    card = Card.read(bundle)
    assert set(card.files) == set(card.verification) == {"model.onnx", "model.xml", "model.f16.xml"}
    assert card.files["model.xml"].parts.keys() == {"model.bin"}
    for name, proven in card.verification.items():
        assert proven.max_rel_diff <= proven.tolerance == TOLERANCE[card.files[name].precision]
    report = json.loads((bundle / "report.json").read_text())
    assert report["facts"]["segments"] == {"value": 8, "source": "default"}
    assert set(report["tools"]) == {
        "edge-tsm", "torch", "onnx", "onnxsim", "onnxruntime", "openvino"
    }  # fmt: skip
    text = (bundle / "report.md").read_text()
    assert "| segments | 8 | default |" in text
    assert "frames reversed" in text


def test_the_graph_is_static_and_old_engines_can_read_it(bundle: Path) -> None:
    model = onnx.load(str(bundle / "model.onnx"))
    assert model.ir_version == 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    [graph_input] = model.graph.input
    assert [d.dim_value for d in graph_input.type.tensor_type.shape.dim] == [1, 24, 224, 224]
    assert {n.op_type for n in model.graph.node} <= {
        "Conv", "Relu", "MaxPool", "Add", "Slice", "Pad", "Concat", "ReduceMean", "Gemm",
        "Reshape", "Transpose",
    }  # fmt: skip


def test_every_artifact_carries_the_same_card(bundle: Path) -> None:
    card = Card.read(bundle)
    embedded = dataclasses.replace(card, files={}, verification={})
    metadata = {p.key: p.value for p in onnx.load(str(bundle / "model.onnx")).metadata_props}
    assert Card.from_json(metadata[METADATA_KEY], where="onnx") == embedded
    model = openvino.Core().read_model(bundle / "model.xml")
    text = model.get_rt_info(["edge_tsm", "card"]).value
    assert Card.from_json(text, where="ir") == embedded


@pytest.mark.parametrize(
    ("arch", "kind", "options"),
    [
        ("resnet34", {}, Options()),
        ("resnet18", {"shift": "block"}, Options(segments=16)),
        ("resnet50", {"temporal_pool": True}, Options()),
        ("resnet50", {"shift": "block", "temporal_pool": True}, Options(batch=2)),
        ("resnet50", {"non_local": True}, Options(segments=4, batch=2)),
        ("mobilenetv2", {"shift": "none"}, Options(segments=5, shift_place="none")),
        ("resnet18", {}, Options(segments=8, shift_segments=4)),
        ("mobilenetv2", {"classes": 400}, Options(segments=16, batch=3)),
        ("resnet18", {"classes": 2}, Options(shift_div=4, color="bgr")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_variants_convert(
    arch: str, kind: dict[str, Any], options: Options, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path, arch, **kind)
    card = Card.read(convert(path, tmp_path / "x.bundle", options))
    assert card.input.shape == (options.batch, (options.segments or 8) * 3, 224, 224)
    assert all(proven.max_rel_diff <= 1e-4 for proven in card.verification.values())
    report = json.loads((tmp_path / "x.bundle/report.json").read_text())
    moved = [step["check"]["proof"]["order_effect"] for step in report["steps"]]
    shifted = kind.get("shift") != "none"
    assert all(effect > 1e-4 if shifted else effect < 1e-5 for effect in moved)


def test_real_clips_are_checked_too(checkpoint: Path, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "clips/basket.avi").symlink_to(shared / "clips/misc/v_Basketball_g01_c01.avi")
    (tmp_path / "clips/half.mp4.part").touch()
    lines: list[str] = []
    settings = Settings(clips=tmp_path / "clips")
    convert(checkpoint, tmp_path / "x.bundle", settings=settings, progress=lines.append)
    report = json.loads((tmp_path / "x.bundle/report.json").read_text())
    assert report["steps"][1]["check"]["groups"]["real"]["clips"] == 1
    assert any("broken.mp4" in text for text in report["warnings"])
    assert any("1 file ignored: half.mp4.part" in text for text in report["warnings"])


def test_clips_that_are_not_there(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="no readable clip"):
        convert(checkpoint, tmp_path / "x", settings=Settings(clips=tmp_path / "none"))
    assert nothing_left(tmp_path)


# --- the proof catches what it is for ---------------------------------------------------------


class InPlaceShift(nn.Module):
    """Upstream's own formulation, whose slice assignment old exporters fold into a constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x) + 0 * x


def _replace_shifts(model: nn.Module, make: Any) -> None:
    for module in model.modules():
        if isinstance(getattr(module, "shift_residual", None), TemporalShift):
            module.shift_residual = make()


@pytest.mark.parametrize(
    "make",
    [InPlaceShift, nn.Identity, lambda: TemporalShift(Shift(8, 8, "past-future"))],
    ids=["constant", "no", "reversed"],
)
def test_a_wrong_shift_is_caught(make: Any, checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    planned = plan(checkpoint, Options())
    model = build_reference(planned.recipe, planned.checkpoint.tensors)
    card = Card.read(bundle)
    clips = {"random": np.random.default_rng(0).standard_normal((2, 24, 224, 224), np.float32)}
    reference = Reference(model, clips, order_sensitive=True)
    _replace_shifts(model, make)
    path = export_onnx(model, card, tmp_path / "wrong.onnx")
    with pytest.raises(VerificationError, match=r"wrong\.onnx does not answer as the checkpoint"):
        reference.check(path, card, engine="onnxruntime", precision="f32")


def test_a_network_whose_shift_does_nothing_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    planned = plan(checkpoint, Options())
    tensors = dict(planned.checkpoint.tensors)
    for name, tensor in tensors.items():
        if name.endswith(".conv1.conv.weight"):
            folds = 2 * (tensor.shape[1] // 8)
            tensors[name] = torch.cat((torch.zeros_like(tensor[:, :folds]), tensor[:, folds:]), 1)
    dead = Plan(dataclasses.replace(planned.checkpoint, tensors=tensors), planned.recipe)
    with pytest.raises(VerificationError, match="reversing the frames does not change the answer"):
        build(dead, tmp_path / "x.bundle", Settings())
    assert nothing_left(tmp_path)


def test_a_network_that_ignores_its_input_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    planned = plan(checkpoint, Options())
    tensors = dict(planned.checkpoint.tensors)
    tensors["backbone.stem.0.conv.weight"] = torch.zeros_like(
        tensors["backbone.stem.0.conv.weight"]
    )
    dead = Plan(dataclasses.replace(planned.checkpoint, tensors=tensors), planned.recipe)
    with pytest.raises(VerificationError, match="does not depend on the input"):
        build(dead, tmp_path / "x.bundle", Settings())


# --- the simplifier may fail ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "ended with code -6"),
        ("import time; time.sleep(60)", "took more than 0.5 s"),
        ("raise SystemExit('a clear word')", "a clear word"),
        ("pass", "ended with code 0"),
    ],
)
def test_a_failing_simplifier_is_a_reason_and_no_error(
    code: str, message: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", code]
    reason = simplify.simplify(
        tmp_path / "in.onnx",
        tmp_path / "out.onnx",
        timeout_s=0.5 if "sleep" in code else 60,
        command=command,
    )
    assert reason is not None
    assert message in reason
    assert nothing_left(tmp_path)


def test_without_simplifier_the_plain_graph_serves(checkpoint: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    settings = Settings(simplify_timeout_s=0.001)
    bundle = convert(checkpoint, tmp_path / "x.bundle", settings=settings, progress=lines.append)
    assert any(line.startswith("warning: onnxsim took more than") for line in lines)
    assert Card.read(bundle).verification["model.onnx"].max_rel_diff <= 1e-4
    assert "unsimplified" in (bundle / "report.md").read_text()


def test_a_simplifier_that_errs_is_found_out(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that answers something else, as one without its first shift does."""

    def wrong(source: Path, path: Path, **_: Any) -> None:
        model = onnx.load(str(source))
        conv = next(node for node in model.graph.node if node.op_type == "Conv")
        [weight] = [i for i in model.graph.initializer if i.name == conv.input[1]]
        weight.raw_data = (onnx.numpy_helper.to_array(weight) * 0.9).tobytes()
        path.write_bytes(model.SerializeToString())

    monkeypatch.setattr("converters.builder.simplify", wrong)
    bundle = convert(checkpoint, tmp_path / "x.bundle")
    assert "onnxsim's graph is wrong" in (bundle / "report.md").read_text()
    assert Card.read(bundle).verification["model.onnx"].max_rel_diff <= 1e-4


def test_rules_go_into_the_bundle_if_they_suit_its_labels(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'No gesture'"):
        convert(checkpoint, tmp_path / "x.bundle", settings=Settings(rules="jester-demo"))
    assert nothing_left(tmp_path)
    rules = tmp_path / "mine.toml"
    rules.write_text('background = ["class_0"]\n')
    settings = Settings(ir=False, rules=str(rules))
    bundle = convert(checkpoint, tmp_path / "x.bundle", settings=settings)
    assert read_rules(str(bundle / RULES_FILE)).background == ("class_0",)


# --- where the bundle goes --------------------------------------------------------------------


def test_an_existing_bundle_is_refused_without_force(checkpoint: Path, tmp_path: Path) -> None:
    old = tmp_path / "x.bundle"
    old.mkdir()
    (old / "card.json").write_text("precious")
    (old / "rules.toml").write_text("on = 0.5")
    with pytest.raises(ConversionError, match="exists; pass --force"):
        convert(checkpoint, old)
    assert (old / "card.json").read_text() == "precious"
    convert(checkpoint, old, settings=Settings(force=True))
    assert Card.read(old).name == "x"
    assert nothing_left(tmp_path, "x.bundle")


def test_force_replaces_bundles_only(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_text("x")
    for _ in range(2):
        with pytest.raises(ConversionError, match=r"holds holiday\.jpg, so it is no plain bundle"):
            convert(checkpoint, tmp_path / "photos", settings=Settings(force=True))
        assert (tmp_path / "photos/holiday.jpg").exists()
        (tmp_path / "photos/card.json").write_text("{}")  # even beside a card


def test_nothing_in_the_current_folder_is_run(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("onnxsim", "onnx", "converters", "numpy"):
        (tmp_path / f"{name}.py").write_text("open('owned', 'w')")
    edge_tsm = Path(sys.executable).with_name("edge-tsm")
    done = subprocess.run(
        [edge_tsm, "convert", str(checkpoint), "-o", "x.bundle"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "unsimplified" not in done.stderr
    assert not (tmp_path / "owned").exists()


def test_an_output_path_through_a_folder_that_is_not_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    convert(checkpoint, Path("nope/../x.bundle"))
    assert nothing_left(tmp_path, "x.bundle")


def test_a_failed_check_leaves_the_old_bundle(checkpoint: Path, tmp_path: Path) -> None:
    bundle = convert(checkpoint, tmp_path / "x.bundle")
    before = Card.read(bundle)
    with pytest.raises(ConversionError):
        convert(checkpoint, bundle, settings=Settings(force=True, clips=tmp_path / "none"))
    assert Card.read(bundle) == before
    assert nothing_left(tmp_path, "x.bundle")


def test_a_folder_that_cannot_be_written(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file/x.bundle", Path("/proc/x/y.bundle")):
        with pytest.raises(ConversionError, match="cannot write there"):
            convert(checkpoint, target)


@pytest.mark.parametrize("limit_mb", [0, 20])
def test_a_disk_that_fills_up(limit_mb: int, checkpoint: Path, tmp_path: Path) -> None:
    """A limit on file size fails writes as a full disk does."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_mb << 20, limit_mb << 20))

    done = subprocess.run(
        [sys.executable, "-m", "edge_tsm", "convert", str(checkpoint), "-o", "x.bundle"],
        cwd=tmp_path,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode in (7, 9, 10), done.stderr
    assert "Traceback" not in done.stderr
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(
    number: signal.Signals, checkpoint: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "edge_tsm", "convert", str(checkpoint), "-o", "x.bundle"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("torch"):  # the hidden folder exists by now
            break
    assert any(tmp_path.glob(".x.bundle-*"))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert nothing_left(tmp_path)


def test_the_ir_alone_and_the_onnx_alone_load(bundle: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.onnx"
    moved.write_bytes((bundle / "model.onnx").read_bytes())
    with load(moved) as recognizer:
        assert recognizer.card.labels == Card.read(bundle).labels


def test_an_ir_is_not_written_where_it_cannot(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConversionError, match="could not write"):
        write_ir(bundle / "model.onnx", Card.read(bundle), tmp_path / "file/x.xml", f16=False)


def test_weights_beyond_f16_leave_the_bundle_without_f16(checkpoint: Path, tmp_path: Path) -> None:
    """A weight of 1e6 becomes 65504 there."""
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["module.new_fc.weight"][0, 0] = 1e6
    huge = tmp_path / "huge.pth.tar"
    torch.save(content, huge)
    with pytest.raises(IncompleteError, match=r"no model\.f16\.xml: ") as caught:
        convert(huge, tmp_path / "huge.bundle", Options(size=112), Settings(f16=True))
    assert caught.value.exit_code == 11
    bundle = caught.value.bundle
    assert list(Card.read(bundle).files) == ["model.onnx", "model.xml"]
    assert not list(bundle.glob("*f16*"))
    warnings = json.loads((bundle / "report.json").read_text())["warnings"]
    assert any("no model.f16.xml: " in warning for warning in warnings)
