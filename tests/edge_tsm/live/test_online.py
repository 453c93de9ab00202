"""Online models: state is a value, one per stream; live frames are stepped on by time."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_tsm.bundle.card import Card
from edge_tsm.cli import main
from edge_tsm.cli.info import _rows
from edge_tsm.datatypes import Prediction
from edge_tsm.errors import CardError, InputError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.streaming import push_together
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.timing import StepClock
from edge_tsm.sources import VideoFile
from tests.helpers.fakes import FakeBackend, FakeCamera, FakeOnlineBackend, frames_at, make_card
from tests.helpers.fakes import make_online_card as online_card
from tests.helpers.videos import write_video

pytestmark = pytest.mark.timeout(30)
FRAMES_SEEN = 1  # the fake's logit that counts frames since the reset


def recognizer(**kind: float) -> Recognizer:
    return Recognizer(online_card(**kind), FakeOnlineBackend())  # type: ignore[arg-type]


def crops(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(count)
    return [generator.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(count)]


# --- streams ------------------------------------------------------------------------------------


def test_a_stream_carries_state_and_averages_over_the_horizon() -> None:
    stream = recognizer(horizon=4).stream()
    counts = [stream.push(crop).logits[FRAMES_SEEN] for crop in crops(6)]
    assert counts == [1, 1.5, 2, 2.5, 3.5, 4.5]
    assert stream.logits[0, FRAMES_SEEN] == 6


def test_a_reset_is_a_fresh_start() -> None:
    model, pictures = recognizer(), crops(3)
    stream = model.stream()
    first = [stream.push(crop).logits for crop in pictures]
    stream.reset()
    again = [stream.push(crop).logits for crop in pictures]
    fresh = model.stream()
    assert np.array_equal(first, again)
    assert np.array_equal(first, [fresh.push(crop).logits for crop in pictures])


def test_streams_of_one_recognizer_do_not_mix() -> None:
    model, pictures = recognizer(), crops(4)
    alone = model.stream()
    expected = [alone.push(crop).logits for crop in pictures]
    stream, other = model.stream(), model.stream()
    found = []
    for crop in pictures:
        found.append(stream.push(crop).logits)
        other.push(255 - crop)
    assert np.array_equal(found, expected)


def test_several_streams_step_together_and_reset_apart() -> None:
    stream = recognizer(batch=3).stream()
    assert [a.logits[FRAMES_SEEN] for a in stream.push_all(crops(3))] == [1, 1, 1]
    stream.reset(1)
    assert [a.logits[FRAMES_SEEN] for a in stream.push_all(crops(3))] == [1.5, 1, 1.5]
    assert len(stream.push_all(crops(2))) == 2
    assert [a.logits[FRAMES_SEEN] for a in stream.push_all(crops(3))] == [2.5, 2, 2]


def test_streams_that_are_pushed_together_stay_apart() -> None:
    """Any of them, in any order; what each answers is what it answers alone."""
    model, pictures = recognizer(batch=2), crops(6)
    streams, alone = [model.stream() for _ in range(3)], [model.stream() for _ in range(3)]
    for first, second in [(0, 1), (2, 0), (1, 2), (0, 1)]:
        shown = [pictures[first], pictures[second + 3]]
        together = push_together([streams[first], streams[second]], shown)
        one_by_one = [alone[i].push(crop) for i, crop in zip((first, second), shown, strict=True)]
        assert [a.logits.tolist() for a in together] == [a.logits.tolist() for a in one_by_one]
    with pytest.raises(InputError, match="2 streams at a time, not 3"):
        push_together(streams, pictures[:3])


def test_a_graph_of_any_batch_steps_as_many_streams_as_there_are() -> None:
    made, alone = recognizer(dynamic=True), recognizer()
    pictures, streams, own = crops(5), [made.stream() for _ in range(5)], alone.stream()
    for _ in range(2):
        together = push_together(streams, pictures)
    apart = [own.push(pictures[0]) for _ in range(2)]
    assert together[0].logits.tolist() == apart[1].logits.tolist()
    assert {float(answer.logits[FRAMES_SEEN]) for answer in together} == {1.5}
    assert streams[0].push(pictures[0]).logits[FRAMES_SEEN] == 2
    with pytest.raises(InputError, match="1 streams at a time, not 2"):
        streams[0].push_all(pictures[:2])


@pytest.mark.parametrize("count", [0, 3])
def test_crops_that_do_not_fit(count: int) -> None:
    with pytest.raises(InputError, match="2 streams at a time"):
        recognizer(batch=2).stream().push_all(crops(count))
    with pytest.raises(InputError, match="as `prepare` makes"):
        recognizer().stream().push(np.zeros((10, 10, 3), np.uint8))


def test_there_are_no_logits_before_a_step() -> None:
    with pytest.raises(InputError, match="no frame"):
        _ = recognizer().stream().logits


def test_a_clip_model_has_no_stream() -> None:
    with pytest.raises(InputError, match="answers clips"):
        Recognizer(make_card(), FakeBackend()).stream()


def test_a_state_that_does_not_come_back() -> None:
    card = online_card()
    caches = (dataclasses.replace(card.state[0], output="x"),)
    assert card.streaming is not None
    card = dataclasses.replace(card, streaming=dataclasses.replace(card.streaming, caches=caches))
    with pytest.raises(CardError, match="names x"):
        Recognizer(card, FakeOnlineBackend()).stream().push(crops(1)[0])


# --- clips, as evaluation, verification and calibration ask for them ----------------------------


@pytest.mark.parametrize("batch", [1, 2])
def test_a_clip_is_its_frames_from_a_fresh_state(batch: int) -> None:
    model = recognizer(batch=batch)
    clips = [crops(4), crops(4)[::-1], crops(4)]
    stream = recognizer().stream()
    for clip, answer in zip(clips, model.predict_many(clips), strict=True):
        stream.reset()
        steps = [stream.push(crop) for crop in clip]  # the horizon is four
        assert np.allclose(answer.logits, steps[-1].logits, atol=1e-6)
        assert answer.logits[FRAMES_SEEN] == 2.5


def test_a_recording_gives_one_answer(tmp_path: Path) -> None:
    source = VideoFile(write_video(tmp_path / "x.avi", 40))
    [answer] = Pipeline(source, recognizer())
    assert answer.window is not None
    assert answer.window.frames == (5, 15, 25, 35)


# --- live ---------------------------------------------------------------------------------------


def answers(
    times_s: list[float], *, every_s: float = 0.001, window_s: float | None = None, **kind: float
) -> list[Prediction]:
    """What an online model says to a camera of these frames."""
    camera = FakeCamera(frames_at(times_s))
    pipeline = Pipeline(
        camera, recognizer(**kind), every_s=every_s, window_s=window_s, capture=camera.options
    )
    found = list(pipeline)
    assert camera.closed
    assert pipeline.counts()[0].skipped == 0
    return found


def frames_of(found: list[Prediction]) -> list[tuple[int, ...]]:
    return [answer.window.frames for answer in found if answer.window]


def test_steps_are_taken_by_time_and_answered_from_the_first_on() -> None:
    found = answers([i / 30 for i in range(10)], fps=15, horizon=3)
    assert frames_of(found) == [(0,), (0, 2), (0, 2, 4), (2, 4, 6), (4, 6, 8)]
    assert found[-1].window is not None
    assert (found[-1].window.start_s, found[-1].window.end_s) == (4 / 30, 8 / 30)


def test_answers_come_every_so_many_seconds_steps_all_the_time() -> None:
    found = answers([i / 10 for i in range(12)], every_s=0.5)
    assert frames_of(found) == [(0,), (2, 3, 4, 5), (7, 8, 9, 10)]
    assert found[-1].logits[FRAMES_SEEN] == np.mean([8, 9, 10, 11])


@pytest.mark.parametrize("jump", [0.6, -0.05, -10.0])
def test_a_gap_or_time_running_backwards_resets(jump: float) -> None:
    times = [20.0, 20.1, 20.2, 20.3]
    found = answers([*times, *(20.3 + jump + i / 10 for i in range(3))], every_s=1.0)
    assert frames_of(found)[0] == (0,)
    assert frames_of(found)[-1] == (4,)
    assert found[-1].logits[FRAMES_SEEN] == 1


def test_a_slow_model_sees_the_newest_frame_and_counts_the_others() -> None:
    """Every answer is held for 0.33 s of the camera's time; the break at 5 is not lost with it."""
    frames = [
        dataclasses.replace(f, gap=f.index == 5) for f in frames_at(i / 10 for i in range(16))
    ]
    camera = FakeCamera(frames)
    pause, found = camera.clock.condition(), list[Prediction]()
    pipeline = Pipeline(camera, recognizer(), every_s=0.001, capture=camera.options)
    for answer in pipeline:
        found.append(answer)
        with pause:
            pause.wait(0.33)
    assert [w.frames[-1] for w in (a.window for a in found) if w] == [0, 3, 6, 9, 13, 15]
    assert [a.logits[FRAMES_SEEN] for a in found] == [1, 1.5, 1, 1.5, 2, 2.5]
    assert pipeline.counts()[0].skipped == 10


@pytest.mark.parametrize(("number", "batch", "runs"), [(2, 1, 12), (2, 4, 6), (3, 2, 12)])
@pytest.mark.parametrize("phase_s", [0.0, 0.02])
def test_every_source_has_a_state_of_its_own(
    phase_s: float, number: int, batch: int, runs: int
) -> None:
    """And a model with a batch steps several at once, also where they come a little apart."""
    made = [FakeCamera(frames_at(k * phase_s + i / 10 for i in range(6))) for k in range(number)]
    for index, camera in enumerate(made):
        camera.clock, camera._changed = made[0].clock, made[0].clock.condition()
        camera.uri = f"camera {index}"
    backend = FakeOnlineBackend()
    model = Recognizer(online_card(batch=batch), backend)
    found = list(Pipeline(made, model, every_s=0.001, capture=made[0].options))
    for camera in made:
        own = [a.logits[FRAMES_SEEN] for a in found if a.address == camera.uri]
        assert own == [1, 1.5, 2, 2.5, 3.5, 4.5]
    assert sum(backend.steps.acquire(blocking=False) for _ in range(100)) == runs


@pytest.mark.parametrize(
    ("camera_fps", "fps", "taken"), [(30, 15, 30), (25, 15, 30), (60, 15, 30), (10, 15, 20)]
)
def test_cameras_of_any_rate_and_jitter_are_stepped_evenly(
    camera_fps: int, fps: int, taken: int
) -> None:
    generator, clock = np.random.default_rng(0), StepClock(fps)
    jitter_s = generator.uniform(-0.2, 0.2, 2 * camera_fps) / max(fps, camera_fps)
    times = np.arange(2 * camera_fps) / camera_fps + jitter_s
    steps = [time_s for time_s in times if clock.due(time_s)]
    assert abs(len(steps) - taken) <= 1
    assert np.diff(steps).max() <= 1 / min(fps, camera_fps) + 1.4 / camera_fps


def test_the_window_sets_the_pace() -> None:
    """What `run --fps` does: horizon steps per window."""
    found = answers([i / 10 for i in range(9)], horizon=4, window_s=4 / 5)
    assert frames_of(found)[-1] == (2, 4, 6, 8)


# --- what the card and the commands say ---------------------------------------------------------


def test_an_online_card_survives_json() -> None:
    card = online_card()
    assert Card.from_json(card.to_json(), where="x") == card


@pytest.mark.parametrize(
    ("streaming", "message"),
    [
        (None, "not N x"),
        ({"caches": []}, "caches: there are none"),
        ({"fps": 0.0}, "fps goes to"),
        ({"horizon": 0}, "horizon from 1"),
        ({"horizon": None}, r"streaming\.horizon is None, expected a whole number"),
        ({"caches": [{"input": "a", "output": "a", "shape": [1, 1]}]}, "duplicate name"),
        ({"caches": [{"input": "a", "output": "b", "shape": [2, 1]}]}, "batch is not"),
        ({"caches": [{"input": "a", "shape": [2, 1]}]}, r"caches\[0\]\.output is missing"),
    ],
)
def test_what_an_online_card_may_not_say(streaming: dict[str, object] | None, message: str) -> None:
    data = json.loads(online_card().to_json())
    data["streaming"] = streaming and data["streaming"] | streaming
    with pytest.raises(CardError, match=message):
        Card.from_json(json.dumps(data), where="x")


def test_info_tells_the_pace_and_the_state() -> None:
    rows = dict(_rows(online_card(fps=15, horizon=12)))
    assert rows["live"].startswith("15 steps a second, an answer every 0.5 s on the last 12 steps")
    assert rows["state"] == "1 caches, 0.0 KiB"


def test_fps_is_for_online_models(bundle: Path, tmp_path: Path) -> None:
    video = str(write_video(tmp_path / "x.avi", 10))
    done = CliRunner().invoke(main, ["run", str(bundle), "--source", video, "--fps", "15"])
    assert done.exit_code == 2
    assert "--fps is for online models" in done.output
