"""The still and moving drawings of the docs: plain SVG on a light ground, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

INK, FAINT, GROUND = "#1f2733", "#8a93a3", "#fbfcfe"
COLORS = (
    *("#184e9c", "#c8641e", "#2f8f5b", "#8a3fa0", "#b3283c", "#2793a8", "#7a6a1f", "#5a5f6b"),
    "#b9bec8",
)
FONT = "font-family='system-ui, sans-serif'"


@dataclass
class Drawing:
    """Elements on a light rounded ground, for both themes of the site."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, **style: object) -> None:
        """Add words; `style` are attributes of SVG, `_` for `-`."""
        given = {"font-size": 13, "fill": INK, **_named(style)}
        self.parts.append(
            f"<text x='{x:g}' y='{y:g}' {_attributes(given)}>{_escaped(words)}</text>"
        )

    def box(self, x: float, y: float, width: float, height: float, **style: object) -> None:
        """Add a rectangle."""
        size = f"x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}'"
        self.parts.append(f"<rect {size} {_attributes(_named(style))}/>")

    def line(self, points: Iterable[tuple[float, float]], **style: object) -> None:
        """Add a line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        given = {"fill": "none", "stroke": INK, **_named(style)}
        self.parts.append(f"<polyline points='{path}' {_attributes(given)}/>")

    def __str__(self) -> str:
        ground = f"<rect width='100%' height='100%' rx='8' fill='{GROUND}' stroke='#dfe3ea'/>"
        head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width} {self.height}'"
        size = f"width='{self.width}' height='{self.height}'"
        title = f"<title>{_escaped(self.title)}</title>"
        return "\n".join([f"{head} {size} {FONT}>{title}", ground, *self.parts, "</svg>\n"])


def _named(style: Mapping[str, object]) -> dict[str, object]:
    return {name.replace("_", "-"): value for name, value in style.items()}


def _attributes(given: Mapping[str, object]) -> str:
    return " ".join(f"{name}='{value}'" for name, value in given.items())


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;")


# --- three doors ----------------------------------------------------------------------------------


def doors() -> Drawing:
    """Return the three doors of the runtime, one inside the other."""
    drawing = Drawing(760, 290, "Three doors: Pipeline, Recognizer, Backend")
    boxes = (
        ("Pipeline", "cameras in, answers and actions out", "threads, reconnects, counted losses"),
        ("Recognizer", "frames in, Prediction out", "samples and prepares as the card says"),
        ("Backend", "tensors in, tensors out", "one engine; state goes in and comes out"),
    )
    doors = ("camera, video", "frames", "tensors")
    for depth, ((name, what, how), word) in enumerate(zip(boxes, doors, strict=True)):
        x, y, color = 140 + 130 * depth, 16 + 78 * depth, COLORS[depth]
        drawing.box(x, y, 744 - x - 16 * depth, 258 - 86 * depth, rx=8, fill=GROUND, stroke=color)
        drawing.text(x + 14, y + 26, name, font_size=17, font_weight=600, fill=color)
        drawing.text(x + 14, y + 46, what)
        drawing.text(x + 14, y + 64, how, fill=FAINT)
        door, end = y + 36, x - 6
        drawing.text(16, door - 6, word, font_size=14)
        drawing.line([(16, door), (end, door)], stroke=color, stroke_width=2)
        drawing.line([(end - 7, door - 5), (end, door), (end - 7, door + 5)], stroke=color)
    return drawing


# --- the shift ------------------------------------------------------------------------------------

FRAMES, ROWS, CELL_W, CELL_H = 8, 8, 66, 26
LEFT, TOP = 214, 62
TURN_S, TIMES = 6, "0;0.2;0.4;0.85;1"


def shift() -> Drawing:
    """Return the temporal shift, moving: frames are columns, channels rows."""
    width = LEFT + FRAMES * CELL_W + 24
    drawing = Drawing(width, TOP + ROWS * CELL_H + 52, "The temporal shift")
    area = f"x='{LEFT}' y='{TOP}' width='{FRAMES * CELL_W}' height='{ROWS * CELL_H}'"
    drawing.parts.append(f"<clipPath id='grid'><rect {area}/></clipPath>")
    drawing.text(LEFT, 26, "time", fill=FAINT)
    for frame in range(FRAMES):
        drawing.text(LEFT + (frame + 0.5) * CELL_W, 50, f"frame {frame + 1}", text_anchor="middle")
    for row, words in ((0, "first fold: from the next"), (1, "second: from the one before")):
        drawing.text(LEFT - 12, TOP + row * CELL_H + 18, words, text_anchor="end")
    drawing.text(LEFT - 12, TOP + 4.5 * CELL_H, "all others stay", text_anchor="end")
    _empty(drawing, FRAMES - 1, 0)
    _empty(drawing, 0, 1)
    for row in range(ROWS):
        _row(drawing, row, by={0: -CELL_W, 1: CELL_W}.get(row, 0))
    words = "A cell is an eighth of a frame's channels, its color the frame it came from; 0: zeros."
    drawing.text(LEFT, TOP + ROWS * CELL_H + 30, words, fill=FAINT)
    return drawing


def _empty(drawing: Drawing, frame: int, row: int) -> None:
    x, y = LEFT + frame * CELL_W, TOP + row * CELL_H
    dash = {"stroke_dasharray": "3 3", "stroke": FAINT, "fill": "none"}
    drawing.box(x + 2, y + 2, CELL_W - 4, CELL_H - 4, rx=3, **dash)
    drawing.text(x + CELL_W / 2, y + 18, "0", text_anchor="middle", fill=FAINT)


def _row(drawing: Drawing, row: int, *, by: int) -> None:
    drawing.parts.append("<g clip-path='url(#grid)'><g>")
    if by:
        values = f"0 0;0 0;{by} 0;{by} 0;0 0"
        drawing.parts.append(
            "<animateTransform attributeName='transform' type='translate' "
            f"values='{values}' keyTimes='{TIMES}' calcMode='spline' "
            f"keySplines='{';'.join(['0.4 0 0.2 1'] * 4)}' dur='{TURN_S}s' "
            "repeatCount='indefinite'/>"
        )
    for frame in range(FRAMES):
        x, y = LEFT + frame * CELL_W, TOP + row * CELL_H
        paint = {"fill": COLORS[frame], "fill_opacity": 0.85 if by else 0.45}
        drawing.box(x + 2, y + 2, CELL_W - 4, CELL_H - 4, rx=3, **paint)
    drawing.parts.append("</g></g>")


# --- decisions ------------------------------------------------------------------------------------

Bar = tuple[float, float, str]  # from, to (seconds), label
PLOT_LEFT, PLOT_W, PLOT_TOP, PLOT_H, BAR_H = 190, 640, 46, 200, 30


@dataclass
class Decisions:
    """Probabilities over time, and the actions that different rules make of them.

    `scores` are a class's probabilities at `times_s`, `rows` the actions by the rules' title.
    """

    times_s: Sequence[float]
    scores: Mapping[str, Sequence[float]]
    thresholds: Mapping[str, float]
    rows: Mapping[str, Sequence[Bar]]

    def draw(self) -> Drawing:
        """Return the drawing."""
        height = PLOT_TOP + PLOT_H + 58 + BAR_H * len(self.rows)
        drawing = Drawing(PLOT_LEFT + PLOT_W + 40, height, "From probabilities to actions")
        self._grid(drawing)
        self._curves(drawing)
        for number, (title, bars) in enumerate(self.rows.items()):
            self._bars(drawing, PLOT_TOP + PLOT_H + 34 + BAR_H * number, title, bars)
        return drawing

    def _x(self, time_s: float) -> float:
        first, last = self.times_s[0], self.times_s[-1]
        return PLOT_LEFT + PLOT_W * (time_s - first) / (last - first)

    def _y(self, score: float) -> float:
        return PLOT_TOP + PLOT_H * (1 - score)

    def _level(self, drawing: Drawing, score: float, **style: object) -> None:
        ends = [(PLOT_LEFT, self._y(score)), (PLOT_LEFT + PLOT_W, self._y(score))]
        drawing.line(ends, **style)

    def _grid(self, drawing: Drawing) -> None:
        for score, words in ((0, "0"), (0.5, "0.5"), (1, "probability 1")):
            self._level(drawing, score, stroke="#e4e7ec")
            drawing.text(PLOT_LEFT - 12, self._y(score) + 4, words, text_anchor="end")
        for name, score in self.thresholds.items():
            self._level(drawing, score, stroke_dasharray="6 4")
            drawing.text(PLOT_LEFT + PLOT_W + 4, self._y(score) + 4, name, font_size=12)
        for second in range(int(self.times_s[0]) + 1, int(self.times_s[-1]) + 1, 2):
            middle = {"text_anchor": "middle", "fill": FAINT}
            drawing.text(self._x(second), PLOT_TOP + PLOT_H + 18, f"{second} s", **middle)

    def _curves(self, drawing: Drawing) -> None:
        for number, (name, scores) in enumerate(self.scores.items()):
            left, color = PLOT_LEFT + 128 * number, COLORS[number]
            drawing.box(left, 16, 11, 11, rx=2, fill=color)
            drawing.text(left + 16, 26, name)
            points = zip(map(self._x, self.times_s), map(self._y, scores), strict=True)
            drawing.line(points, stroke=color, stroke_width=2)

    def _bars(self, drawing: Drawing, top: float, title: str, bars: Sequence[Bar]) -> None:
        colors = dict(zip(self.scores, COLORS, strict=False))
        drawing.text(PLOT_LEFT - 12, top + 15, title, text_anchor="end")
        drawing.box(PLOT_LEFT, top, PLOT_W, BAR_H - 8, fill="#eef1f6", rx=3)
        for start_s, end_s, label in bars:
            left, width = self._x(start_s), max(self._x(end_s) - self._x(start_s), 2)
            drawing.box(left, top, width, BAR_H - 8, fill=colors.get(label, FAINT), rx=3)
