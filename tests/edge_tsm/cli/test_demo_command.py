"""The demo model in the package: small, proven, right on clips it never saw, blind to stills."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

from edge_tsm import demo, load
from edge_tsm.backends import installed
from edge_tsm.bundle.card import Card
from edge_tsm.bundle.golden import Golden
from edge_tsm.demo.synthetic import LABELS, generate, label_of
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.variants import Variant
from edge_tsm.system.machine import processor
from tests.helpers.command import edge_tsm
from tests.helpers.paths import ROOT

SEEDS = range(500_000, 500_000 + 90)  # neither trained on nor published


@pytest.fixture(scope="module")
def crops() -> list[list[np.ndarray]]:
    with load(demo.bundle()) as recognizer:
        return [
            [recognizer.prepare(image) for image in generate(seed, short_side_px=240)]
            for seed in SEEDS
        ]


def accuracy(answers: list[int]) -> float:
    return float(np.mean([a == label_of(seed) for a, seed in zip(answers, SEEDS, strict=True)]))


def top1(recognizer: Recognizer, clips: list[list[np.ndarray]]) -> list[int]:
    return [int(p.logits.argmax()) for p in recognizer.predict_many(clips)]


@pytest.mark.parametrize("engine", [*filter(installed, ("onnxruntime", "openvino"))])
@pytest.mark.parametrize(("form", "least"), [("clip", 0.93), ("online", 0.88)])
def test_it_tells_what_moves_how(
    engine: str, form: str, least: float, crops: list[list[np.ndarray]]
) -> None:
    found = {}
    for name in Card.read(demo.bundle(form)).files:  # type: ignore[arg-type]
        with load(demo.bundle(form), engine=engine, variant=name) as recognizer:  # type: ignore[arg-type]
            found[name] = top1(recognizer, crops)
        assert accuracy(found[name]) >= least, name
    assert set(found) == {"model.onnx", "model.int8.onnx"}
    same = np.mean(np.array(found["model.onnx"]) == np.array(found["model.int8.onnx"]))
    assert same >= 0.96


def test_single_frames_tell_it_nothing(crops: list[list[np.ndarray]]) -> None:
    with load(demo.bundle()) as recognizer:
        answers = []
        for clip in crops:
            stills = recognizer.predict_many([frame] * len(clip) for frame in clip)
            answers.append(int(np.mean([p.probabilities for p in stills], axis=0).argmax()))
    assert accuracy(answers) <= 0.25


@pytest.mark.parametrize("form", ["clip", "online"])
def test_a_device_can_check_it(form: str) -> None:
    bundle = demo.bundle(form)  # type: ignore[arg-type]
    card, golden = Card.read(bundle), Golden.read(bundle)
    assert card.labels == LABELS
    assert card.online == (form == "online")
    for name, file in card.files.items():
        for engine in filter(installed, file.engines):
            if Variant(file, engine).may_saturate(processor()):
                continue  # loading it warns: its answers drift on such a CPU
            with load(bundle, engine=engine, variant=name) as recognizer:
                tolerance = card.verification[name].tolerance
                result = golden.replay(recognizer, tolerance=tolerance, file=name)
            assert result.max_rel_diff <= tolerance


def test_it_is_small() -> None:
    files = [path for form in ("clip", "online") for path in demo.bundle(form).iterdir()]  # type: ignore[arg-type]
    assert sum(path.stat().st_size for path in files) <= 5_000_000
    assert all(path.is_relative_to(ROOT) or "site-packages" in str(path) for path in files)


def test_the_command_answers_on_generated_clips(tmp_path: object) -> None:
    done = edge_tsm("demo", "--clips", 2, "--seed", 9, "--save", f"{tmp_path}/clip.avi")
    assert done.returncode == 0, done.stderr
    for seed in (9, 10):
        assert f"generated clip {seed}: {LABELS[label_of(seed)]}" in done.stdout
    assert "of 2 right" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    again = edge_tsm("run", demo.bundle(), "--source", f"{tmp_path}/clip.avi")
    assert again.returncode == 0, again.stderr


def test_the_command_has_the_online_form() -> None:
    done = edge_tsm("demo", "--online")
    assert done.returncode == 0, done.stderr
    assert "demo-online" in done.stderr


def test_a_camera_that_is_not_there_is_one_line() -> None:
    done = edge_tsm("demo", "--camera", 97)
    assert done.returncode == 4
    assert "camera 97 cannot be opened" in done.stderr
    assert "Traceback" not in done.stderr
