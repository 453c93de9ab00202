"""What is read of SlowFast's and its relatives' files, what is asked for, what is refused."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from converters.architectures.classifier import build_reference
from converters.architectures.resnet3d import WHOLE, ResNet3d, bottlenecks, read_pathway
from converters.architectures.slowfast import read_slowfast, slowfast
from converters.architectures.topologies import initialize
from converters.checkpoints.facebook_slowfast import facebook_state, renamed
from converters.planning import Plan, plan
from converters.recipe import Options
from edge_tsm.errors import CheckpointError
from tests.helpers.goldens import load_golden, write_weights
from tests.helpers.video_resnets import narrow

SLOWFAST, SLOW, I3D = "fb_slowfast_r50_4x16", "fb_slow_r50_4x16", "fb_i3d_r50_8x8"
Weights = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def made(shared: Path, golden_recipe: ModuleType) -> Any:
    """Narrow weights of a golden's names, and the golden."""
    found: dict[str, tuple[dict[str, Any], Weights]] = {}

    def get(name: str) -> tuple[dict[str, Any], Weights]:
        if name not in found:
            golden = load_golden(name, shared)
            found[name] = golden, narrow(golden, golden_recipe)
        return found[name]

    return get


def read(path: Path, **options: Any) -> Plan:
    planned = plan(path, Options(**options))
    build_reference(planned.recipe, planned.checkpoint.tensors)
    return planned


def facts(path: Path, **options: Any) -> dict[str, tuple[Any, str]]:
    return {n: (f.value, f.source) for n, f in read(path, **options).recipe.facts.rows()}


# --- alpha and the frames of a clip ---------------------------------------------------------------


def test_the_configuration_tells_before_the_name(made: Any, tmp_path: Path) -> None:
    golden, weights = made(SLOWFAST)
    found = facts(write_weights(golden, weights, tmp_path, name="SLOWFAST_8x8_R50.pyth"))
    assert found["alpha"] == (8, "the checkpoint's `cfg`")
    assert (found["segments"][0], found["interval"][0], found["window_s"][0]) == (32, 2, 2.133)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SLOWFAST_4x16_R50.pyth", (8, 32, 2)),
        ("SLOWFAST_8x8_R101.pyth", (4, 32, 2)),
        ("SLOWFAST_16x8_R101_50_50.pyth", (4, 64, 2)),
    ],
)
def test_without_one_the_name_tells(
    name: str, expected: tuple[int, int, int], made: Any, tmp_path: Path
) -> None:
    golden, weights = made(SLOWFAST)
    found = facts(write_weights(golden, weights, tmp_path, name=name, config=""))
    assert tuple(found[key][0] for key in ("alpha", "segments", "interval")) == expected


def test_what_nobody_tells_is_asked_for(made: Any, tmp_path: Path) -> None:
    golden, weights = made(SLOWFAST)
    path = write_weights(golden, weights, tmp_path, name="best.pyth", config="")
    with pytest.raises(CheckpointError, match=r"pass --fact alpha=8 \(as in 4x16\)"):
        read(path)
    with pytest.raises(CheckpointError, match="pass --segments"):
        read(path, own={"alpha": 4})
    with pytest.raises(CheckpointError, match="pass --interval"):
        read(path, own={"alpha": 4}, segments=32)
    recipe = read(path, own={"alpha": 4}, segments=32, interval=2).recipe
    assert recipe.arch["alpha"] == 4
    with pytest.raises(CheckpointError, match=r"alpha 8 .* does not divide.*: 16"):
        read(path, own={"alpha": 8}, segments=18, interval=2)
    with pytest.raises(CheckpointError, match="alpha is 'eight'"):
        read(path, own={"alpha": "eight"}, segments=32, interval=2)
    with pytest.raises(CheckpointError, match=r"--fact shape: slowfast_r50 has alpha, window"):
        read(path, own={"shape": 3})


def test_a_lateral_kernel_of_seven_means_four(made: Any, tmp_path: Path) -> None:
    golden, weights = made("fb_slowfast_r50_8x8")
    path = write_weights(golden, weights, tmp_path, name="best.pyth", config="")
    found = facts(path, segments=32, interval=2)
    assert found["alpha"] == (4, "lateral kernel of 7 frames")


def test_one_pathway_counts_its_own_frames(made: Any, tmp_path: Path) -> None:
    golden, weights = made(SLOW)
    found = facts(write_weights(golden, weights, tmp_path, name="SLOW_4x16_R50.pyth", config=""))
    assert (found["segments"][0], found["interval"][0]) == (4, 16)
    assert found["temporal pool"][0] is False


def test_mmaction2s_config_tells_alpha_and_frames(made: Any, tmp_path: Path) -> None:
    golden, weights = made("mmaction2_slowfast_r50_4x16")
    config = (
        "model = dict(backbone=dict(type='ResNet3dSlowFast', resample_rate=8, speed_ratio=8))\n"
        "val_pipeline = [dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1)]\n"
    )
    path = write_weights(golden, weights, tmp_path, name="best.pth", meta={"cfg": config})
    found = facts(path)
    assert [found[n][0] for n in ("alpha", "segments", "interval")] == [8, 32, 2]
    assert found["slow frames"] == ("strided", "mmaction2")
    other = write_weights(
        golden, weights, tmp_path, meta={"cfg": config.replace("rate=8", "rate=4")}
    )
    with pytest.raises(CheckpointError, match="resample_rate 4 and speed_ratio 8"):
        read(other)


# --- pools of pairs of frames ---------------------------------------------------------------------


def c2d(weights: Weights) -> Weights:
    """Weights without any kernel over time."""
    return {n: w[:, :, :1] if w.ndim == 5 else w for n, w in weights.items()}


def test_a_c2d_is_asked_whether_it_pools_pairs(made: Any, tmp_path: Path) -> None:
    golden, weights = made(SLOW)
    path = write_weights(golden, c2d(weights), tmp_path, name="C2D_8x8.pyth", config="")
    with pytest.raises(CheckpointError, match=r"--fact temporal_pool=yes or =no"):
        read(path)
    assert read(path, own={"temporal_pool": "yes"}).recipe.arch["temporal_pool"] is True
    config = "MODEL:\n  ARCH: {}\n"
    for arch, pairs in (("c2d", True), ("2d", False)):
        told = write_weights(golden, c2d(weights), tmp_path, config=config.format(arch))
        assert facts(told)["temporal pool"] == (pairs, "the checkpoint's `cfg`")


def test_an_i3d_pools_pairs_unless_its_configuration_says_otherwise(
    made: Any, tmp_path: Path
) -> None:
    golden, weights = made(I3D)
    plain = write_weights(golden, weights, tmp_path, config="")
    assert facts(plain)["temporal pool"][0] is True
    slow = write_weights(golden, weights, tmp_path, config="MODEL: {ARCH: slow_i3d}")
    assert facts(slow)["temporal pool"][0] is False
    assert facts(plain)["backbone"][0] == "i3d_r50"


# --- what a configuration says of pictures, and how it is read ------------------------------------


def test_pictures_and_probabilities_are_the_configurations(made: Any, tmp_path: Path) -> None:
    golden, weights = made(SLOW)
    config = golden["config_yaml"] + "MULTIGRID:\n  SHORT_CYCLE: true\n"
    config = config.replace("DATA:\n", "DATA:\n  REVERSE_INPUT_CHANNEL: true\n")
    config = config.replace("MODEL:\n", "MODEL:\n  HEAD_ACT: sigmoid\n")
    recipe = read(write_weights(golden, weights, tmp_path, config=config), size=256).recipe
    assert (recipe.preprocess.color, recipe.facts.activation.value) == ("bgr", "sigmoid")
    assert recipe.preprocess.mean == (0.45, 0.45, 0.45)
    assert recipe.network.reading.window == 0
    assert "head" not in recipe.facts.own


def test_windows_are_told_where_the_map_is_larger(made: Any, tmp_path: Path) -> None:
    golden, weights = made(SLOW)
    found = facts(write_weights(golden, weights, tmp_path), size=256)
    assert found["head"][0] == "mean of softmax over 4 windows of 7x7"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("DETECTION: {ENABLE: true}", "RoI head, AVA"),
        ("RESNET: {SPATIAL_STRIDES: [[1], [2], [2], [1]]}", "SPATIAL_STRIDES"),
        ("!!python/object/apply:os.system ['touch owned']", "no YAML of plain values"),
        ("a: [", "no YAML of plain values"),
        ("x: " + "y" * (1 << 20), "more than any configuration"),
    ],
)
def test_configurations_that_are_refused(
    config: str, message: str, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    golden, weights = made(SLOW)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(write_weights(golden, weights, tmp_path, config=config))
    assert "\n" not in str(caught.value)
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("extra", "name", "message"),
    [
        ("s3.pathway0_nonlocal1.conv_theta.weight", None, "non-local blocks over clips"),
        ("s2.pathway0_res0.branch2.norm_b.1.block.0.weight", None, "an X3D"),
        ("s1.pathway0_stem.conv_xy.weight", None, "an X3D"),
        ("head.s0_roi.weight", None, "RoI head"),
        (None, "SLOWFAST_32x2_R50_AVA.pyth", "RoI head"),
    ],
)
def test_relatives_are_refused_by_name(
    extra: str | None, name: str | None, message: str, made: Any, tmp_path: Path
) -> None:
    golden, weights = made(SLOW)
    more = {extra: np.zeros((1, 1, 1, 1, 1), np.float32)} if extra else {}
    with pytest.raises(CheckpointError, match=message):
        read(write_weights(golden, {**weights, **more}, tmp_path, name=name, config=""))


def test_an_online_form_is_refused_with_the_reason(made: Any, tmp_path: Path) -> None:
    golden, weights = made(SLOWFAST)
    with pytest.raises(CheckpointError, match=r"slowfast_r50 cannot run online: it looks at all"):
        read(write_weights(golden, weights, tmp_path), online=True)


# --- forms of the weights -------------------------------------------------------------------------


def test_batch_norms_of_multigrid_training_are_read_as_plain_ones(
    made: Any, tmp_path: Path
) -> None:
    golden, weights = made(SLOW)
    split: Weights = {}
    for name, value in weights.items():
        match = re.match(r"(.*bn)\.(running_\w+)$", name)
        if match is None:
            split[name] = (
                value[:, None, None, None] if re.search(r"bn\.(weight|bias)$", name) else value
            )
            continue
        split[f"{match[1]}.bn.{match[2]}"] = value
        split[f"{match[1]}.split_bn.{match[2]}"] = np.tile(value, 2)
    plain = read(write_weights(golden, weights, tmp_path, name="a_4x16.pyth")).checkpoint
    found = read(write_weights(golden, split, tmp_path, name="b_4x16.pyth")).checkpoint
    assert found.tensors.keys() == plain.tensors.keys()
    assert all(torch.equal(found.tensors[n], t) for n, t in plain.tensors.items())


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes texts and bytes as Python 2 did: one kind of string."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def _string(self, value: Any) -> None:
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(b"T" + len(raw).to_bytes(4, "little") + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _string


def caffe2(name: str) -> str:
    """Return PySlowFast's name as the model zoo's Caffe2 files have it."""
    kinds = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    stem, _, kind = name.rpartition(".")
    norm = stem.endswith("bn")
    suffix = f"_bn_{kinds[kind]}" if norm else "_w" if kind == "weight" else "_b"
    stem = stem.removesuffix("_bn").removesuffix(".bn")
    if stem.startswith("head"):
        return f"pred{suffix}"
    fuse = re.match(r"s(\d)_fuse", stem)
    if fuse:
        blocks = {"2": 2, "3": 3, "4": 5}
        last = blocks.get(fuse[1])
        place = "t_pool1" if fuse[1] == "1" else f"t_res{fuse[1]}_{last}_branch2c_bn"
        return f"{place}_subsample{suffix}"
    path = "t_" if "pathway1" in stem else ""
    if "stem" in stem:
        return f"{path}{'res_' if norm else ''}conv1{suffix}"
    stage, block, branch = re.match(r"s(\d)\.pathway\d_res(\d+)\.branch(.*)$", stem).groups()  # type: ignore[union-attr]
    return f"{path}res{stage}_{block}_branch{branch.replace('.', '')}{suffix}"


@pytest.mark.parametrize("golden_name", [SLOWFAST, I3D])
def test_caffe2s_pickles_are_read_as_the_same_network(
    golden_name: str, made: Any, tmp_path: Path
) -> None:
    golden, weights = made(golden_name)
    blobs: dict[str, Any] = {
        caffe2(name): value for name, value in weights.items() if "num_batches" not in name
    }
    blobs |= {f"{name}_momentum": value for name, value in blobs.items()}
    blobs |= {"lr": np.float32(0.1), "model_iter": np.int64(3)}
    path = tmp_path / f"{golden['suggested_file_name'].removesuffix('.pyth')}.pkl"
    with path.open("wb") as stream:
        Python2Pickler(stream, 2).dump({"blobs": blobs})
    found = read(path)
    plain = read(write_weights(golden, weights, tmp_path))
    assert found.recipe.network == plain.recipe.network
    assert all(
        torch.equal(found.checkpoint.tensors[n], t) for n, t in plain.checkpoint.tensors.items()
    )


def test_two_depths_and_kernels_by_block_are_read_of_the_weights(made: Any, tmp_path: Path) -> None:
    golden, weights = made(SLOWFAST)
    deep = dict(weights)
    for name, value in weights.items():
        if match := re.match(r"s4\.pathway0_res5\.(.*)$", name):
            for block in range(6, 23):
                one = value[:, :, :1] if match[1] == "branch2.a.weight" else value
                deep[f"s4.pathway0_res{block}.{match[1]}"] = one
    recipe = read(write_weights(golden, deep, tmp_path)).recipe
    assert recipe.network.name == "slowfast_r101_r50"
    kernels = [block.convs[0].time for block in recipe.network.slow.stages[2]]
    assert kernels == [3] * 6 + [1] * 17


def test_a_file_that_is_not_whole_is_refused_by_what_is_missing(made: Any, tmp_path: Path) -> None:
    golden, weights = made(SLOWFAST)
    part = {n: w for n, w in weights.items() if not n.startswith("s3.pathway1_res1")}
    with pytest.raises(CheckpointError, match=r"fast\.stages\.1"):
        read(write_weights(golden, part, tmp_path))


# --- what is built and written here ---------------------------------------------------------------


def shapes(golden: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A golden's weights without their numbers, under the modules' names."""
    kinds = {name: torch.empty(shape, device="meta") for name, shape, _ in golden["tensors"]}
    return renamed({n: t for n, t in kinds.items() if "num_batches" not in n}).tensors


def test_networks_of_published_size_are_built_as_their_files_are(shared: Path) -> None:
    tensors = shapes(load_golden("fb_slow_r50_8x8", shared))
    assert bottlenecks(64, (3, 4, 6, 3), (1, 1, 3, 3)) == read_pathway(tensors, "")
    tensors = shapes(load_golden(SLOWFAST, shared))
    found = read_slowfast(tensors, normed=True, slow_frames="linspace", reading=WHOLE, relations={})
    assert slowfast(64, (3, 4, 6, 3), alpha=8) == replace(found, alpha=8)


@pytest.mark.parametrize("kind", ["slowfast", "slow"])
def test_what_training_writes_is_read_as_it_was(kind: str, tmp_path: Path) -> None:
    counts = (2, 1, 1, 1)
    spec: Any = {
        "slowfast": slowfast(8, counts, alpha=2, thinner=2),
        "slow": ResNet3d(bottlenecks(8, counts, (1, 1, 3, 3)), pairs=False),
    }[kind]
    model = spec.classifier(SimpleNamespace(segments=4, classes=5))
    initialize(model, seed=1)
    cfg = "DATA: {NUM_FRAMES: 4, SAMPLING_RATE: 2, TRAIN_CROP_SIZE: 64}\nSLOWFAST: {ALPHA: 2}"
    torch.save({"model_state": facebook_state(model), "cfg": cfg}, tmp_path / "x.pyth")
    found = read(tmp_path / "x.pyth").checkpoint.tensors
    written = {n: t for n, t in model.state_dict().items() if "num_batches" not in n}
    assert found.keys() == written.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in written.items())
