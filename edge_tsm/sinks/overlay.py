"""An answer as a picture, drawn over another."""

from __future__ import annotations

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw

from edge_tsm.datatypes import Decision, Image, Prediction
from edge_tsm.system.fonts import font_for
from edge_tsm.system.width import fit

Fill = tuple[int, int, int, int]  # red, green, blue, opacity
_RAW: Fill = (40, 110, 60, 200)
_ACTION: Fill = (190, 100, 20, 220)
_WHITE: Fill = (255, 255, 255, 255)
_MOST_ACTIONS = 3


class Overlay:
    """Draws an answer into the upper left corner; painted once per answer, not per frame."""

    def __init__(self) -> None:
        self._painted: tuple[Prediction, tuple[int, int], Image, Image] | None = None

    def draw(self, image: Image, prediction: Prediction) -> None:
        """Blend the answer into `image`, (H, W, 3) BGR, in place."""
        size = (image.shape[1], image.shape[0])
        if self._painted is None or self._painted[:2] != (prediction, size):
            self._painted = (prediction, size, *draw_overlay(prediction, *size))
        _, _, color, alpha = self._painted
        corner = image[: color.shape[0], : color.shape[1]]
        mixed = corner.astype(np.uint16) * (255 - alpha) + color.astype(np.uint16) * alpha
        corner[...] = (mixed // 255).astype(np.uint8)


def draw_overlay(prediction: Prediction, width: int, height: int) -> tuple[Image, Image]:
    """Return the answer as a picture, (h, w, 3) BGR, and its opacity, (h, w, 1).

    The name of the source comes first, if it has one: the index of one without tells nothing. With
    a decision, the action that is on comes above the scores, in another color. Drawn by Pillow,
    in a font of the system where its own lacks letters (Chinese), and OpenCV prints question marks.
    """
    text_px = max(min(height // 18, 28), 10)
    rows = _rows(prediction)
    line_px, pad = round(text_px * 1.5), text_px // 2
    panel_w, panel_h = min(width, text_px * 18), min(height, line_px * len(rows) + 2 * pad)
    panel = PilImage.new("RGBA", (panel_w, panel_h), (0, 0, 0, 150))
    draw = ImageDraw.Draw(panel)
    for row, (share, text, fill) in enumerate(rows):
        top = pad + row * line_px
        bar = round((panel_w - 2 * pad) * share)
        draw.rectangle((pad, top, pad + bar, top + line_px - 4), fill=fill)
        draw.text((pad + 4, top), text, fill=_WHITE, font=font_for(text, text_px))
    pixels = np.asarray(panel)
    return pixels[..., 2::-1], pixels[..., 3:].astype(np.uint16)


def _rows(prediction: Prediction) -> list[tuple[float, str, Fill]]:
    """Return a bar's length (0 to 1), a text and the bar's color for each line."""
    rows = [
        (score.probability, f"{score.probability:4.0%}  {fit(score.label, 26)}", _RAW)
        for score in prediction.top(3)
    ]
    source = prediction.source
    named = [(0.0, fit(source, 32), _RAW)] if source and not source.isdecimal() else []
    return [*named, *_decided(prediction.decision), *rows]


def _decided(decision: Decision | None) -> list[tuple[float, str, Fill]]:
    if decision is None:
        return []
    if decision.action is None:
        return [(0.0, "no action", _ACTION)]
    scores = ((float(decision.scores[i]), decision.labels[i]) for i in decision.on)
    best = sorted(scores, key=lambda score: -score[0])[:_MOST_ACTIONS]
    return [(score, f"{score:4.0%}  {fit(label, 26)}", _ACTION) for score, label in best]
