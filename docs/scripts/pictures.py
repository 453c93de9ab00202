"""Make the pictures of README and docs that are not screenshots, from generated video.

    python docs/scripts/pictures.py [--out docs/pictures]

The demo model answers, the decider decides; what is drawn is what they said.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import svg
from PIL import Image, ImageDraw, ImageFont

import edge_tsm
from edge_tsm import demo
from edge_tsm.datatypes import Event, Prediction
from edge_tsm.datatypes import Image as Picture
from edge_tsm.demo.synthetic import LABELS, generate
from edge_tsm.sinks.overlay import Overlay

FPS, EVERY, WINDOW = 25, 3, 50  # frames a second, between answers, of a window
SHOWN_S, MOVING_FPS, BYTES = 8, 12.5, 2_000_000
SCENES = (
    (60, "nothing"),
    (3, "swipe left"),
    (14, "zoom in"),
    (25, "turn clockwise"),
    (31, "nothing"),
    (42, "swipe down"),
)
RULES = edge_tsm.Rules(on=0.85, off=0.45, mean_answers=2, background=("nothing",))


@dataclass(frozen=True)
class Trace:
    """Answers of a video, by the time of their last frame."""

    frames: list[Picture]
    times_s: list[float]
    answers: list[Prediction]

    def decided(self, rules: edge_tsm.Rules) -> tuple[list[Prediction], list[Event]]:
        """Return the answers with decisions, and the events."""
        decider = edge_tsm.Decider(rules, LABELS)
        made = [
            replace(answer, decision=decider.update(answer, time_s=time_s))
            for answer, time_s in zip(self.answers, self.times_s, strict=True)
        ]
        events = [event for answer in made for event in decision(answer).events]
        return made, [*events, *decider.finish()]


def watch(scenes: Sequence[tuple[int, str]], *, rest_s: float) -> Trace:
    """Return the demo model's answers to generated scenes, one after the other."""
    frames = list[Picture]()
    for seed, label in scenes:
        clip = generate(seed, label=LABELS.index(label), times=2 * FPS, short_side_px=240)
        frames += [*clip, *[clip[-1]] * round(rest_s * FPS)]
    with edge_tsm.load(demo.bundle(), engine="onnxruntime") as recognizer:
        crops = [recognizer.prepare(frame) for frame in frames]
        ends = list(range(WINDOW, len(frames) + 1, EVERY))
        clips = [
            [crops[end - WINDOW + int(WINDOW * (i + 0.5) / 8)] for i in range(8)] for end in ends
        ]
        answers = [recognizer.predict(clip) for clip in clips]
    return Trace(frames, [end / FPS for end in ends], answers)


# --- the moving picture ---------------------------------------------------------------------------

SIZE, VIDEO, STRIP_TOP, STRIP_H = (720, 430), (400, 300), 318, 100
DARK, PANEL, PALE = (17, 22, 31), (28, 35, 47), (172, 182, 197)


def moving(trace: Trace, out: Path) -> None:
    """Write seconds of video with its answers, the probabilities over time, and the events."""
    answers, events = trace.decided(RULES)
    start_s = trace.times_s[0] + 1.2
    pictures = [
        _screen(trace, answers, events, start_s + number / MOVING_FPS)
        for number in range(round(SHOWN_S * MOVING_FPS))
    ]
    first, *rest = pictures
    pace = {"save_all": True, "append_images": rest, "duration": 1000 / MOVING_FPS, "loop": 0}
    first.save(out, quality=45, method=4, **pace)
    if out.stat().st_size > BYTES:
        raise SystemExit(f"{out} has {out.stat().st_size} bytes, more than {BYTES}")


def _screen(
    trace: Trace, answers: list[Prediction], events: list[Event], now_s: float
) -> Image.Image:
    screen = Image.new("RGB", SIZE, DARK)
    draw = ImageDraw.Draw(screen)
    shown = [i for i, time_s in enumerate(trace.times_s) if time_s <= now_s + 1e-6]
    frame = trace.frames[min(round(now_s * FPS), len(trace.frames)) - 1].copy()
    frame = np.asarray(Image.fromarray(frame).resize(VIDEO, Image.Resampling.BICUBIC)).copy()
    Overlay().draw(frame, answers[shown[-1]])
    screen.paste(Image.fromarray(frame[..., ::-1]), (10, 10))
    _list(draw, [event for event in events if event.told_s <= now_s + 1e-6])
    _Strip(draw, now_s).paint(trace.times_s[: len(shown)], answers[: len(shown)])
    return screen


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _list(draw: ImageDraw.ImageDraw, events: list[Event]) -> None:
    """Draw the newest events."""
    draw.text((424, 12), "Events", fill=PALE, font=_font(15))
    for row, event in enumerate(reversed(events[-7:])):
        top = 40 + 38 * row
        draw.rounded_rectangle((424, top, 710, top + 32), 5, fill=PANEL)
        draw.rounded_rectangle((424, top, 429, top + 32), 2, fill=_color(event.label))
        words = f"{event.told_s:4.1f} s   {event.kind}"
        draw.text((438, top + 8), words, fill=PALE, font=_font(14))
        draw.text((548, top + 8), event.label, fill="white", font=_font(14))


@dataclass(frozen=True)
class _Strip:
    """The smoothed probabilities of the last seconds, the thresholds, and what was on."""

    draw: ImageDraw.ImageDraw
    now_s: float

    def at(self, time_s: float, score: float = 0.0) -> tuple[float, float]:
        """Return where a probability at a time is."""
        x = 700 - (self.now_s - time_s) * 680 / SHOWN_S
        return max(x, 14), STRIP_TOP + 86 - score * 76

    def paint(self, times_s: list[float], answers: list[Prediction]) -> None:
        """Draw all of it."""
        self.draw.rounded_rectangle((10, STRIP_TOP, 710, STRIP_TOP + STRIP_H), 6, fill=PANEL)
        for _, y in (self.at(0, RULES.on), self.at(0, RULES.off)):
            for x in range(20, 700, 12):
                self.draw.line((x, y, x + 6, y), fill=(94, 104, 120))
        for time_s, answer in zip(times_s, answers, strict=True):
            if (action := decision(answer).action) is not None:
                x, end = self.at(time_s)[0], min(self.at(time_s + EVERY / FPS)[0], 706)
                bar = (x, STRIP_TOP + 93, end, STRIP_TOP + 97)
                self.draw.rectangle(bar, fill=_color(LABELS[action]))
        for index, label in enumerate(LABELS[:-1]):
            self._curve(label, times_s, [float(decision(a).scores[index]) for a in answers])

    def _curve(self, label: str, times_s: list[float], scores: list[float]) -> None:
        if max(scores) <= 0.3:
            return
        line = [self.at(t, score) for t, score in zip(times_s, scores, strict=True)]
        self.draw.line(line, fill=_color(label), width=2, joint="curve")
        if scores[-1] > 0.3:
            corner = (line[-1][0] - 110, max(line[-1][1] - 18, STRIP_TOP + 2))
            self.draw.text(corner, label, fill=_color(label), font=_font(13))


def decision(answer: Prediction) -> edge_tsm.Decision:
    """Return what was decided of an answer."""
    assert answer.decision is not None
    return answer.decision


def _color(label: str) -> str:
    light = (
        "#5aa2ff",
        "#5aa2ff",
        "#ffb454",
        "#ffb454",
        "#5fd38d",
        "#5fd38d",
        "#d08bff",
        "#d08bff",
        "#98a2b3",
    )
    return light[LABELS.index(label)]


# --- the drawings ---------------------------------------------------------------------------------


def decisions(trace: Trace) -> svg.Drawing:
    """Return what one threshold, two, and a mean make of the same answers."""
    kinds = {
        "one threshold, 0.65": edge_tsm.Rules(on=0.65, off=0.65, background=("nothing",)),
        "on 0.8, off 0.4": edge_tsm.Rules(on=0.8, off=0.4, background=("nothing",)),
        "and a mean of 4": edge_tsm.Rules(on=0.8, off=0.4, mean_answers=4, background=("nothing",)),
    }
    rows = {
        name: [
            (event.start_s, event.told_s, event.label)
            for event in trace.decided(rules)[1]
            if event.kind == "end"
        ]
        for name, rules in kinds.items()
    }
    probabilities = np.stack([answer.probabilities for answer in trace.answers])
    shown = [
        i
        for i, label in enumerate(LABELS)
        if label != "nothing" and probabilities[:, i].max() > 0.6
    ]
    scores = {LABELS[i]: list(map(float, probabilities[:, i])) for i in shown}
    return svg.Decisions(trace.times_s, scores, {"on": 0.8, "off": 0.4}, rows).draw()


def main() -> None:
    """Make all, and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    out: Path = parser.parse_args().out
    trace = watch(SCENES, rest_s=0.7)
    moving(trace, out / "demo.webp")
    for name, drawing in (
        ("shift", svg.shift()),
        ("doors", svg.doors()),
        ("decisions", decisions(trace)),
    ):
        (out / f"{name}.svg").write_text(str(drawing), encoding="utf-8")
    for path in [*sorted(out.glob("d*")), out / "shift.svg"]:
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
