"""Reading official checkpoints: topology from keys, facts from where they can be known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from converters.architectures.classifier import build_reference
from converters.architectures.topologies import topology
from converters.checkpoints import read_checkpoint
from converters.planning import default_bundle, plan
from converters.recipe import Options, resolve
from edge_tsm.errors import CheckpointError
from tests.helpers.upstream import upstream_state, write_checkpoint

VARIANTS = {
    "resnet18": {},
    "resnet34": {},
    "resnet50": {},
    "resnet101": {},
    "mobilenetv2": {},
    "resnet50 block": {"shift": "block"},
    "resnet18 block": {"shift": "block"},
    "resnet50 none": {"shift": "none"},
    "mobilenetv2 none": {"shift": "none"},
    "resnet50 nl": {"non_local": True},
    "resnet50 tpool": {"temporal_pool": True},
    "resnet50 block tpool": {"shift": "block", "temporal_pool": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_topology_is_read_from_the_keys(variant: str, tmp_path: Path) -> None:
    arch, kind = variant.split()[0], VARIANTS[variant]
    read = read_checkpoint(write_checkpoint(tmp_path, arch, **kind))
    assert read.topology.network == topology(arch, **kind)
    assert read.topology.classes == 5


# As upstream's code names them; see the reference's table of key layouts.
@pytest.mark.parametrize(
    ("variant", "key"),
    [
        ("resnet18", "module.base_model.layer1.0.conv1.net.weight"),
        ("resnet50 block", "module.base_model.layer1.0.net.conv1.weight"),
        ("resnet50 tpool", "module.base_model.layer2.net.0.conv1.net.weight"),
        ("resnet50 nl", "module.base_model.layer2.0.block.conv1.net.weight"),
        ("resnet50 nl", "module.base_model.layer3.4.nl.W.1.running_var"),
        ("resnet50 none", "module.base_model.layer1.0.conv1.weight"),
        ("mobilenetv2", "module.base_model.features.3.conv.0.net.weight"),
        ("mobilenetv2 none", "module.base_model.features.3.conv.0.weight"),
        ("resnet18", "module.new_fc.weight"),
    ],
)
def test_upstreams_names_are_written(variant: str, key: str) -> None:
    assert key in upstream_state(variant.split()[0], **VARIANTS[variant])


def test_goldens_of_upstream_have_the_same_keys(shared: Path) -> None:
    import json

    for name, arch, kind in (
        ("mit_tsm_resnet50_8f", "resnet50", {}),
        ("mit_tsm_resnet18_8f", "resnet18", {}),
        ("mit_tsm_mobilenetv2_8f", "mobilenetv2", {}),
        ("mit_tsm_resnet50_8f_nl", "resnet50", {"non_local": True}),
        ("mit_tsn_resnet50_8f", "resnet50", {"shift": "none"}),
    ):
        golden = json.loads((shared / f"golden/public/{name}.json").read_text())
        theirs = {key: tuple(shape) for key, shape, _ in golden["tensors"]}
        ours = upstream_state(arch, classes=27, **kind)
        assert {key: tuple(value.shape) for key, value in ours.items()} == theirs


def test_resnet101_is_shifted_in_every_second_block(tmp_path: Path) -> None:
    recipe = plan(write_checkpoint(tmp_path, "resnet101"), Options()).recipe
    assert recipe.facts.own["shifted blocks"].value == "18 of 33"


@pytest.mark.parametrize("head", ["new_fc", "base_model.fc", "fc"])
@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("outer", [True, False])
def test_prefixes_heads_and_flat_files(head: str, prefix: str, outer: bool, tmp_path: Path) -> None:
    state = {
        name.replace("module.", prefix, 1).replace("new_fc", head): tensor
        for name, tensor in upstream_state("resnet18", classes=2).items()
    }
    path = tmp_path / "mine.pth"
    torch.save({"state_dict": state} if outer else state, path)
    read = read_checkpoint(path)
    assert read.topology.classes == 2
    build_reference(resolve(read.topology, Options()), read.tensors)


def test_mobilenet_with_its_own_classifier(tmp_path: Path) -> None:
    state = upstream_state("mobilenetv2")
    renamed = {k.replace("new_fc", "base_model.classifier"): v for k, v in state.items()}
    torch.save({"state_dict": renamed}, tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth").topology.classes == 5


def test_files_without_counters_and_in_the_old_format(tmp_path: Path) -> None:
    state = {
        key: value
        for key, value in upstream_state("resnet18").items()
        if not key.endswith("num_batches_tracked")
    }
    path = tmp_path / "old.pth.tar"
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    planned = plan(path, Options())
    build_reference(planned.recipe, planned.checkpoint.tensors)


def test_half_precision_weights_are_accepted(tmp_path: Path) -> None:
    state = {
        key: value.half() if value.is_floating_point() else value
        for key, value in upstream_state("resnet18").items()
    }
    torch.save({"state_dict": state}, tmp_path / "half.pth")
    planned = plan(tmp_path / "half.pth", Options())
    model = build_reference(planned.recipe, planned.checkpoint.tensors)
    assert next(model.parameters()).dtype == torch.float32


def _facts(path: Path, options: Options | None = None) -> dict[str, tuple[object, str]]:
    facts = plan(path, options or Options()).recipe.facts
    return {name: (fact.value, fact.source) for name, fact in facts.rows()}


def test_facts_come_from_option_then_args_then_name_then_default(tmp_path: Path) -> None:
    run = tmp_path / "TSM_jester_RGB_resnet18_shift4_blockres_avg_segment16_e50"
    run.mkdir()
    path = write_checkpoint(run, "resnet18")
    facts = _facts(path)
    assert facts["segments"] == (16, "name of the folder")
    assert facts["shift_div"] == (4, "name of the folder")
    assert facts["window_s"] == (3.0, "dataset jester in name of the folder")
    assert facts["color"] == ("rgb", "default")
    (run / "args.txt").write_text("Namespace(num_segments=8, shift_div=8, arch='resnet18')")
    assert _facts(path)["segments"] == (8, "args.txt")
    assert _facts(path)["consensus"] == ("avg", "name of the folder")
    assert _facts(path, Options(segments=4))["segments"] == (4, "option --segments")


def test_an_anonymous_file_takes_defaults(tmp_path: Path) -> None:
    facts = _facts(write_checkpoint(tmp_path, "resnet18"))
    assert facts["segments"] == (8, "default")
    assert facts["labels"][1].startswith("default")


@pytest.mark.parametrize("folder", ["temporal-shift-module", "x_nl", "tpool_shift8"])
def test_other_folder_names_confuse_nothing(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()
    path = write_checkpoint(tmp_path / folder, "resnet18")
    recipe = plan(path, Options()).recipe
    assert recipe.shift.segments == 8
    assert recipe.facts.own["non-local"].value == 0
    assert recipe.warnings == []


def test_a_name_with_another_backbone_is_reported(tmp_path: Path) -> None:
    run = tmp_path / "TSM_jester_RGB_resnet50_shift8_blockres_avg_segment8_e50"
    run.mkdir()
    warnings = plan(write_checkpoint(run, "resnet18"), Options()).recipe.warnings
    assert warnings == ["name of the folder says backbone resnet50, the weights say resnet18"]


@pytest.mark.parametrize(
    "text",
    ["__import__('os').system('touch owned')", "Namespace(num_segments=open('x'))", "((", "\x00"],
)
def test_args_are_never_evaluated(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_checkpoint(tmp_path, "resnet18")
    (tmp_path / "args.txt").write_text(text)
    assert _facts(path)["segments"] == (8, "default")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(segments=0), "segments is 0"),
        (Options(segments=1), "segments is 1"),
        (Options(shift_div=1), "shift_div is 1"),
        (Options(consensus="identity"), "one answer per frame"),
        (Options(window_s=0.0), "window is 0"),
        (Options(batch=0), "batch is 0"),
    ],
)
def test_options_that_cannot_be_served(options: Options, message: str, checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        plan(checkpoint, options)


def test_odd_segments_cannot_be_pooled(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "resnet50", temporal_pool=True)
    with pytest.raises(CheckpointError, match="7 is odd"):
        plan(path, Options(segments=7))


def test_bundle_names() -> None:
    assert default_bundle(Path("a/TSM_x_e1/ckpt.best.pth.tar")) == Path("TSM_x_e1.bundle")
    assert default_bundle(Path("a/ckpt.pth.tar")) == Path("a.bundle")
    assert default_bundle(Path("ppTSM.pdparams")) == Path("ppTSM.bundle")
    assert default_bundle(Path("models/gestures.pth")) == Path("gestures.bundle")


def test_an_odd_value_in_args_costs_no_other(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "resnet18")
    text = "\ufeffNamespace(num_segments=16, device=device(type='cuda'), lr=inf, dataset=['a'])\n"
    (tmp_path / "args.txt").write_text(text)
    recipe = plan(path, Options()).recipe
    assert recipe.shift.segments == 16
    assert recipe.warnings == []


def test_what_could_not_be_used_is_reported(tmp_path: Path) -> None:
    run = tmp_path / "TSM_whatever"
    run.mkdir()
    path = write_checkpoint(run, "resnet18")
    (run / "args.txt").write_text("num_segments: 16")
    warnings = plan(path, Options()).recipe.warnings
    assert any("args.txt is not what main.py writes" in text for text in warnings)
    assert any("TSM_whatever is not one that main.py gives" in text for text in warnings)


def test_data_set_names_may_have_underscores(tmp_path: Path) -> None:
    run = tmp_path / "TSM_my_own_gestures_RGB_resnet18_shift4_blockres_avg_segment16_e1"
    run.mkdir()
    recipe = plan(write_checkpoint(run, "resnet18"), Options()).recipe
    assert (recipe.shift.segments, recipe.shift.div) == (16, 4)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["module.", "module.module.", "_orig_mod.", ""])
def test_other_wrappers(wrapper: str, prefix: str, tmp_path: Path) -> None:
    state = {k.replace("module.", prefix, 1): v for k, v in upstream_state("resnet18").items()}
    torch.save({wrapper: state}, tmp_path / "x.pth")
    assert plan(tmp_path / "x.pth", Options()).recipe.classes == 5
