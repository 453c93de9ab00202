"""A picture of what each artifact costs and how well it agrees, drawn by Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

INK, FAINT, PAPER = (32, 36, 44), (130, 136, 146), (255, 255, 255)
BLUE, PALE = (24, 78, 156), (150, 176, 214)
PAD_PX, TEXT_PX, TITLE_PX, ROW_PX, BAR_PX, PLOT_PX = 20, 14, 16, 34, 20, 420


@dataclass(frozen=True)
class Bar:
    """One artifact on one engine; a `strong` bar stands out."""

    name: str
    latency_ms: float
    agreement: float
    strong: bool


def latency_chart(bars: Sequence[Bar], title: str) -> PilImage.Image:
    """Draw a bar per artifact, as long as its latency, with its top-1 agreement at the end."""
    left = PAD_PX + max(_width(bar.name) for bar in bars) + 12
    told = [f"{bar.latency_ms:.1f} ms, {bar.agreement:.1%} agree" for bar in bars]
    right = left + PLOT_PX + 10 + max(map(_width, told)) + PAD_PX
    top = PAD_PX + TITLE_PX + 22
    width = max(right, 2 * PAD_PX + _width(title, TITLE_PX))
    image = PilImage.new("RGB", (width, top + ROW_PX * len(bars) + PAD_PX), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(TEXT_PX)
    draw.text((PAD_PX, PAD_PX), title, fill=INK, font=ImageFont.load_default(TITLE_PX))
    scale = PLOT_PX / max(bar.latency_ms for bar in bars)
    for row, (bar, text) in enumerate(zip(bars, told, strict=True)):
        middle = top + row * ROW_PX + ROW_PX / 2
        end = left + max(bar.latency_ms * scale, 2)
        box = (left, middle - BAR_PX / 2, end, middle + BAR_PX / 2)
        draw.rectangle(box, fill=BLUE if bar.strong else PALE)
        draw.text((left - 12, middle), bar.name, fill=INK, font=font, anchor="rm")
        draw.text((end + 10, middle), text, fill=INK, font=font, anchor="lm")
    draw.line((left, top, left, top + ROW_PX * len(bars)), fill=FAINT)
    return image


def _width(text: str, size: int = TEXT_PX) -> int:
    return round(ImageFont.load_default(size).getlength(text))
