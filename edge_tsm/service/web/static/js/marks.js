// How classes are told apart: by a color, a shape and, beyond eight in one chart, the line's dashes.

const COLORS = 8; // --series-0 … --series-7, each with a shape
const DASHES = [[], [9, 4], [2, 4], [9, 4, 2, 4]];
const slots = new Map(); // class -> number of its mark

/** Gives the classes of one chart marks of their own; each keeps its mark while it can. */
export function assignMarks(indices) {
  const taken = new Set();
  for (const index of indices) {
    const slot = free(slotOf(index), taken);
    slots.set(index, slot);
    taken.add(slot);
  }
}

/** The nearest slot to `wanted` that is not taken, of those with the fewest dashes. */
function free(wanted, taken) {
  for (let round = 0; round < DASHES.length; round += 1) {
    for (let step = 0; step < COLORS; step += 1) {
      const slot = round * COLORS + ((wanted + step) % COLORS);
      if (!taken.has(slot)) return slot;
    }
  }
  return wanted;
}

function slotOf(index) {
  if (!slots.has(index)) slots.set(index, slots.size % COLORS);
  return slots.get(index);
}

/** The variable of style.css with a class's color, without the dashes before it. */
export const inkOf = (index) => `series-${slotOf(index) % COLORS}`;

export const dashOf = (index) => DASHES[Math.floor(slotOf(index) / COLORS)];

/** The number of a class's mark: what is drawn here and there along a line is shifted by it. */
export const numberOf = slotOf;

const SQRT3 = Math.sqrt(3);
// Outlines around 0, 0, about as large as a circle with a radius of 1; a ring and crosses are stroked.
const SHAPES = [
  { circle: 1 },
  { points: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]] },
  { points: [[0, -1.3], [0.65 * SQRT3, 0.7], [-0.65 * SQRT3, 0.7]] },
  { points: [[0, -1.35], [1.1, 0], [0, 1.35], [-1.1, 0]] },
  { points: [[0, 1.3], [0.65 * SQRT3, -0.7], [-0.65 * SQRT3, -0.7]] },
  { strokes: [[[-1.2, 0], [1.2, 0]], [[0, -1.2], [0, 1.2]]] },
  { strokes: [[[-0.9, -0.9], [0.9, 0.9]], [[-0.9, 0.9], [0.9, -0.9]]] },
  { circle: 0.9, hollow: true },
];
const shapeOf = (index) => SHAPES[slotOf(index) % COLORS];

/** Paints a class's shape in `ink` on `ground`. */
export function paintMark(context, index, { x, y, radius, ink, ground }) {
  const { circle, points, strokes, hollow } = shapeOf(index);
  context.save();
  context.translate(x, y);
  context.scale(radius, radius);
  context.lineJoin = "round";
  context.beginPath();
  if (circle) context.arc(0, 0, circle, 0, 7);
  for (const line of strokes ?? [[...points ?? [], ...(points ?? []).slice(0, 1)]]) line.forEach(([a, b], i) => (i ? context.lineTo(a, b) : context.moveTo(a, b)));
  if (ground) stroke(context, ground, (strokes || hollow ? 0.75 : 0) + 0.8);
  if (strokes || hollow) stroke(context, ink, 0.75);
  else {
    context.fillStyle = ink;
    context.fill();
  }
  context.restore();
}

function stroke(context, ink, width) {
  context.strokeStyle = ink;
  context.lineWidth = width;
  context.stroke();
}

const SVG = "http://www.w3.org/2000/svg";
const part = (name, attributes) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

/** A place for a class's mark: its shape, `wide` on a piece of its line. */
export function swatch({ wide = false } = {}) {
  const element = part("svg", { class: "swatch", "aria-hidden": "true", viewBox: wide ? "-13 -6 26 12" : "-6 -6 12 12", width: wide ? 26 : 12, height: 12 });
  element.dataset.wide = wide;
  return element;
}

/** Shows a class's mark in a swatch. */
export function markSwatch(element, index) {
  const slot = String(slotOf(index));
  if (element.dataset.slot === slot) return;
  element.dataset.slot = slot;
  element.style.color = `var(--${inkOf(index)})`;
  const { circle, points, strokes, hollow } = shapeOf(index);
  const outline = (lines) => lines.map((line) => `M${line.map(([a, b]) => `${4.4 * a} ${4.4 * b}`).join("L")}`).join("");
  const kind = strokes || hollow ? { fill: "none", stroke: "currentColor", "stroke-width": 2.6 } : { fill: "currentColor" };
  element.replaceChildren(
    ...(element.dataset.wide === "true" ? [part("path", { d: "M-13 0H13", stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": dashOf(index).map((one) => one / 1.6).join(" ") || "none" })] : []),
    circle ? part("circle", { r: 4.4 * circle, ...kind }) : part("path", { d: strokes ? outline(strokes) : `${outline([points])}Z`, ...kind }),
  );
}
