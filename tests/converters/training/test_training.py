"""Training: what learns, what stays, what is saved, and going on after a stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from converters.architectures.classifier import VideoClassifier, build_reference
from converters.architectures.mobilenet import InvertedResidual, MobileNet, mobilenet_v2
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize, topology
from converters.checkpoints.upstream import CONVENTION
from converters.planning import plan
from converters.recipe import Options, preprocess_of
from converters.training.dataset import (
    Augmentation,
    GeneratedClips,
    Item,
    VideoClips,
    augment,
    render_pool,
)
from converters.training.finetune import mirror_map, start_from, trainer
from converters.training.qat import simulate_int8
from converters.training.run_folder import BEST, RunFolder, run_name
from converters.training.trainer import (
    Distillation,
    Epoch,
    Trainer,
    TrainingSettings,
    choose_device,
)
from edge_tsm.data.clips import Dataset, Sample
from edge_tsm.errors import CheckpointError, InputError, SourceError
from tests.helpers.goldens import load_golden, write_golden
from tests.helpers.upstream import write_checkpoint
from tests.helpers.videos import write_video

SHIFT = Shift(segments=8, div=4)
NETWORK = mobilenet_v2(width=0.35, last=64)
SMALL = MobileNet(
    "mobilenetv2", 8,
    (InvertedResidual(8, 32, 16, 2, True, False), InvertedResidual(16, 64, 16, 1, True, True)),
    32,
)  # fmt: skip
PREPROCESS = preprocess_of(CONVENTION, "rgb")
QUICK = TrainingSettings(
    epochs=3, batch=8, learning_rate=3e-3, optimizer="adamw", dropout=0.0, partial_bn=False,
    workers=0, device="cpu", patience=None, half=False,
)  # fmt: skip
LONGER = replace(QUICK, epochs=12)


class Flashes:
    """Two classes that differ in order only: bright then dark, dark then bright."""

    def __init__(self, count: int) -> None:
        self.count, self.epoch = count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        random = np.random.default_rng(index)
        clip = random.integers(0, 40, (8, 3, 32, 32), dtype=np.uint8)
        clip[:4] += 120
        if index % 2:
            clip = clip[::-1].copy()
        return torch.from_numpy(clip).reshape(24, 32, 32), index % 2


def model(classes: int = 2, *, network: MobileNet = SMALL, shift: Shift = SHIFT) -> VideoClassifier:
    made = VideoClassifier(network, classes, shift)
    initialize(made, seed=1)
    return made


def make(
    settings: TrainingSettings = QUICK, *, network: MobileNet = SMALL, int8: bool = False
) -> Trainer:
    made = Trainer(model(network=network), PREPROCESS, Flashes(64), Flashes(16), settings)
    if int8:
        simulate_int8(made.model)
    return made


def silent(_: object) -> None:
    pass


def test_order_of_frames_is_learnt() -> None:
    history = make(LONGER).fit(silent, tell=silent)
    assert history.best.val_top1 == 1.0
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss


@pytest.mark.parametrize("int8", [False, True])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(int8: bool, tmp_path: Path) -> None:
    whole = make(int8=int8)
    whole.fit(silent, tell=silent)
    run = RunFolder(tmp_path / "run", SMALL, SHIFT, ("a", "b"))

    class Stop(Exception):
        pass

    def stop(state: Trainer) -> None:
        run.save(state)
        raise Stop

    with pytest.raises(Stop):
        make(int8=int8).fit(stop, tell=silent)
    second = make(int8=int8)
    run.resume(second)
    assert len(second.history.epochs) == 1
    second.fit(run.save, tell=silent)
    for of in (nn.Module.parameters, nn.Module.buffers):
        assert all(map(torch.equal, of(whole.model), of(second.model)))
    assert second.history == whole.history


def test_resuming_another_network_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, SMALL, SHIFT, ("a", "b"))
    make(replace(QUICK, epochs=1)).fit(run.save, tell=silent)
    other = Trainer(model(3), PREPROCESS, Flashes(64), Flashes(16), replace(QUICK, epochs=1))
    with pytest.raises(InputError, match="of another training"):
        run.resume(other)


def test_resuming_from_another_checkpoint_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, SMALL, SHIFT, ("a", "b"))
    training = make(replace(QUICK, epochs=1))
    training.fit(run.save, tell=silent)
    other = Trainer(training.model, PREPROCESS, Flashes(64), Flashes(16), replace(QUICK, epochs=1))
    with pytest.raises(InputError, match="starting weights was"):
        run.resume(other)


@pytest.mark.parametrize(
    ("settings", "folder", "message"),
    [
        ({"learning_rate": 0.1}, {}, "learning_rate was 0.003, now 0.1"),
        ({"int8": True}, {}, "simulated int8 was False, now True"),
        ({}, {"shift": replace(SHIFT, direction="past")}, "direction was future-past, now past"),
        ({"seed": 2}, {}, "seed was 1, now 2"),
        ({}, {"labels": ("b", "a")}, "labels was .*'a', 'b'.*, now .*'b', 'a'"),
    ],
)
def test_resuming_another_training_is_refused(
    settings: dict[str, Any], folder: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """What was trained otherwise would be taken for the result of this command."""
    run = RunFolder(tmp_path, SMALL, SHIFT, ("a", "b"))
    make(replace(QUICK, epochs=1)).fit(run.save, tell=silent)
    int8 = settings.pop("int8", False)
    with pytest.raises(InputError, match=message):
        replace(run, **folder).resume(make(replace(QUICK, **settings), int8=int8))


def test_a_run_is_what_convert_and_upstream_read(tmp_path: Path) -> None:
    name = run_name("flash", NETWORK, SHIFT, 1)
    assert name == "TSM_flash_RGB_mobilenetv2_shift4_blockres_avg_segment8_e1"
    run = RunFolder(tmp_path / name, NETWORK, replace(SHIFT, direction="past"), ("dim", "lit"))
    training = make(replace(QUICK, epochs=1), network=NETWORK)
    training.fit(run.save, tell=silent)
    written = {path.name for path in run.path.iterdir()}
    assert written == {"args.txt", "ckpt.best.pth.tar", "ckpt.pth.tar", "labels.txt", "log.csv",
                       "resume.pt", "curves.svg"}  # fmt: skip
    outer = torch.load(run.path / BEST, weights_only=True)
    assert {"epoch", "arch", "state_dict", "best_prec1"} <= outer.keys()
    assert "module.base_model.features.3.conv.0.net.weight" in outer["state_dict"]
    assert "module.new_fc.weight" in outer["state_dict"]
    planned = plan(run.path / BEST, Options())
    recipe = planned.recipe
    assert recipe.labels.names == ("dim", "lit")
    assert (recipe.shift.div, recipe.shift.direction, recipe.segments) == (4, "past", 8)
    assert recipe.warnings == []
    # The same weights answer the same.
    reference = build_reference(recipe, planned.checkpoint.tensors)
    mine = VideoClassifier(NETWORK, 2, recipe.shift)
    mine.load_state_dict(training.model.state_dict())
    clip = torch.randn(1, 24, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(reference(clip), mine.eval()(clip), atol=1e-5)


@pytest.mark.parametrize("name", ["tsm_resnet18_8f", "tsm_resnet50_8f_nl", "tsm_mobilenetv2_8f"])
def test_a_checkpoint_has_every_tensor_that_upstreams_code_makes(
    name: str, shared: Path, golden_recipe: ModuleType, tmp_path: Path
) -> None:
    """Upstream loads strictly: the golden lists what its own network had in its state dict."""
    golden = load_golden(f"mit_{name}", shared)
    written = write_golden(golden, golden_recipe, tmp_path)
    start = start_from(written, [str(i) for i in range(golden["config"]["num_class"])])
    run = RunFolder(tmp_path, start.network, start.shift, start.labels)
    training = Trainer(start.model, start.preprocess, Flashes(2), Flashes(2), QUICK)
    training.history.epochs.append(Epoch(1, 0, 0, 0, 0, 0))
    outer = run.checkpoint(training)
    assert set(golden["outer"]["keys"]) - set(outer) == {"optimizer"}  # is of its own training
    assert outer["arch"] == golden["outer"]["keys"]["arch"]
    theirs = torch.load(written, weights_only=True)["state_dict"]
    assert set(outer["state_dict"]) == set(theirs)
    for key, tensor in outer["state_dict"].items():
        assert tensor.dtype == theirs[key].dtype
        assert key.endswith("num_batches_tracked") or torch.equal(tensor, theirs[key])


def test_a_frozen_backbone_stays_as_it_is() -> None:
    training = make(replace(QUICK, epochs=1, frozen_backbone=True))
    before = {name: v.clone() for name, v in training.model.state_dict().items()}
    training.fit(silent, tell=silent)
    after = training.model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_partial_bn_keeps_every_norm_but_the_first() -> None:
    training = make(replace(QUICK, epochs=1, partial_bn=True))
    before = {n: v.clone() for n, v in training.model.state_dict().items() if "running" in n}
    training.fit(silent, tell=silent)
    after = training.model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"backbone.stem.bn.running_mean", "backbone.stem.bn.running_var"}


def test_early_stopping_ends_a_run_that_gets_no_better() -> None:
    settings = replace(QUICK, epochs=50, learning_rate=1e-12, patience=2)
    stopped = make(settings)
    epochs = len(stopped.fit(silent, tell=silent).epochs)
    assert epochs < 50
    assert len(stopped.fit(silent, tell=silent).epochs) == epochs


def test_a_student_follows_its_teacher() -> None:
    teacher = make(LONGER)
    teacher.fit(silent, tell=silent)
    pupil = model(shift=replace(SHIFT, direction="past"))
    lesson = Distillation(teacher.model, share=1.0)
    student = Trainer(
        pupil, PREPROCESS, Flashes(64), Flashes(16), LONGER, distillation=lesson
    )  # fmt: skip
    before = {name: v.clone() for name, v in teacher.model.state_dict().items()}
    assert student.fit(silent, tell=silent).best.val_top1 == 1.0
    assert all(torch.equal(v, before[n]) for n, v in teacher.model.state_dict().items())


def test_simulated_int8_rounds_and_keeps_the_names() -> None:
    plain, rounded = model(), model()
    names = set(plain.state_dict())
    simulate_int8(rounded)
    assert set(rounded.state_dict()) == names
    clip = torch.randn(4, 24, 32, 32, generator=torch.Generator().manual_seed(0))
    rounded.train()(clip)  # ranges
    rounded.load_state_dict(plain.state_dict())
    with torch.no_grad():
        expected, found = plain.eval()(clip), rounded.eval()(clip)
    assert not torch.equal(expected, found)
    assert float((expected - found).abs().max()) < 0.2 * float(expected.abs().max())
    training = Trainer(rounded, PREPROCESS, Flashes(64), Flashes(16), LONGER)
    assert training.fit(silent, tell=silent).best.val_top1 == 1.0


def test_a_frozen_backbone_in_simulated_int8_still_tells_clips_apart() -> None:
    training = make(replace(QUICK, epochs=1, frozen_backbone=True), int8=True)
    training.fit(silent, tell=silent)
    clips = torch.randn(2, 24, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = training.model.eval().features(clips).unflatten(0, (8, 2))[0]
    assert not torch.equal(one, other)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv2"])
def test_a_head_is_replaced_when_its_shape_differs(arch: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, arch, classes=5)
    kept, new = start_from(path, "abcde"), start_from(path, ["x", "y"])
    assert (kept.head, new.head) == ("kept", "new")
    assert (kept.shifts, new.shifts) == ("kept", "kept")
    assert new.model.head.weight.shape[0] == 2
    one, other = kept.model.backbone.state_dict(), new.model.backbone.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_an_image_classifier_gets_its_shifts(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "resnet18", classes=1000, shift="none")
    outer = torch.load(path, weights_only=True)
    flat = {
        name.removeprefix("module.base_model.").replace("module.new_fc", "fc"): value
        for name, value in outer["state_dict"].items()
    }
    torch.save(flat, tmp_path / "resnet18.pth")
    start = start_from(tmp_path / "resnet18.pth", ["x", "y"])
    assert start.network == topology("resnet18")
    assert (start.shift.direction, start.shifts) == ("future-past", "new")
    assert start_from(tmp_path / "resnet18.pth", ["x", "y"], online=True).shift.online


def test_a_network_that_upstream_cannot_build_is_refused(
    shared: Path, golden_recipe: object, tmp_path: Path
) -> None:
    golden = load_golden("pptsm_mobilenetv3_8f", shared)
    path = write_golden(golden, golden_recipe, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="no mobilenetv3"):
        start_from(path, ["x", "y"])


def test_fine_tuning_reads_videos_and_skips_what_it_cannot(tmp_path: Path) -> None:
    good, bad = write_video(tmp_path / "a.avi", 20), tmp_path / "b.avi"
    bad.write_bytes(b"no video")
    data = Dataset((Sample(good, 0, "a.avi"), Sample(bad, 1, "b.avi")), ("x", "y"))
    path = write_checkpoint(tmp_path, "mobilenetv2", classes=2)
    settings = replace(QUICK, epochs=1, batch=2)
    training = trainer(start_from(path, "xy", size_px=64), data, data, settings)
    assert len(training.fit(silent, tell=silent).epochs) == 1
    only = VideoClips(
        data.samples[1:], _sampling(), PREPROCESS, Augmentation(32), random=True
    )  # nothing to fall back on
    with pytest.raises(SourceError, match="none of the 1 clips"):
        only[0]


def _sampling() -> object:
    from edge_tsm.bundle.card import Sampling

    return Sampling("uniform", 8, 1.0, 1.0, interval=None, fps=None)


def test_a_list_with_more_classes_than_labels_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "mobilenetv2", classes=2)
    data = Dataset((Sample(write_video(tmp_path / "a.avi", 8), 4, "a"),))
    with pytest.raises(InputError, match="is of class 4, the model has 0 to 1"):
        trainer(start_from(path, "xy"), data, data, QUICK)


def test_class_names_decide_not_the_order_of_folders(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "a.avi", 20)
    train = Dataset((Sample(clip, 0, "a"), Sample(clip, 1, "b")), ("y", "x"))
    val = Dataset((Sample(clip, 0, "a"),), ("x",))  # a folder that lacks a class
    path = write_checkpoint(tmp_path, "mobilenetv2", classes=2)
    training = trainer(start_from(path, "yx", size_px=64), train, val, QUICK)
    assert [training._train[i][1] for i in range(2)] == [0, 1]
    assert training._val[0][1] == 1


def test_views_keep_their_class_or_change_it_with_the_picture() -> None:
    clip = np.zeros((8, 64, 64, 3), np.uint8)
    clip[:, :, :32] = 200  # bright on the left
    clip[4:] //= 2  # and darker later
    view = Augmentation(32, multiscale=False, mirrored=(1, 0), reversed=(0, 1))
    seen = set()
    for seed in range(20):
        tensor, label = augment(clip, 0, view, np.random.default_rng(seed))
        frames = tensor.reshape(8, 3, 32, 32).float()
        left = frames[..., :16].mean() > frames[..., 16:].mean()
        assert bool(left) == (label == 0)
        seen.add((label, bool(frames[0].mean() > frames[-1].mean())))
    assert len(seen) == 4


def test_generated_clips_are_rendered_once_and_shared(tmp_path: Path) -> None:
    pool = render_pool(tmp_path / "p.npy", range(5, 9), segments=8, side_px=48, workers=1)
    clips = GeneratedClips(pool, 5, Augmentation(32))
    tensor, label = clips[2]
    assert tensor.shape == (24, 32, 32)
    from edge_tsm.demo.synthetic import label_of

    assert label == label_of(7)
    assert [p.name for p in tmp_path.iterdir()] == ["p.npy"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("jump", "run"), (0, 1)),
        (("Swipe Left", "swipe right", "stop"), (1, 0, 2)),
        (("turn clockwise", "turn counterclockwise"), (1, 0)),
        (("swipe left", "stop"), None),
        (("leftovers", "bright"), (0, 1)),
    ],
)
def test_mirrors_swap_sides_or_are_not_used(
    labels: tuple[str, ...], expected: tuple[int, ...] | None
) -> None:
    assert mirror_map(labels) == expected


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="device 'toaster' is not available here"):
        choose_device("toaster")


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch": 0}, {"dropout": 1.0}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="it must be positive"):
        replace(QUICK, **wrong)  # type: ignore[arg-type]
