// What every canvas here needs: sharp pixels, the design's colors, a redraw at most once per frame.

let colors = null;
addEventListener("theme", () => { colors = null; });

/** The value of a variable of style.css: `color("muted")`. */
export function color(name) {
  colors ??= getComputedStyle(document.documentElement);
  return colors.getPropertyValue(`--${name}`).trim();
}

export const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif';

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Calls `paint(context, width, height)` in CSS pixels at each `draw()`, and when size or theme change. */
export class Surface {
  constructor(canvas, paint) {
    this.canvas = canvas;
    this.paint = paint;
    this.context = canvas.getContext("2d");
    new ResizeObserver(() => this.now()).observe(canvas);
    addEventListener("theme", () => this.draw());
  }

  draw() {
    this.asked ??= requestAnimationFrame(() => this.now());
  }

  now() {
    cancelAnimationFrame(this.asked);
    this.asked = undefined;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const scale = Math.min(devicePixelRatio || 1, 3);
    const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== wide) this.canvas.width = wide;
    if (this.canvas.height !== high) this.canvas.height = high;
    this.context.setTransform(wide / width, 0, 0, high / height, 0, 0);
    this.context.clearRect(0, 0, width, height);
    this.paint(this.context, width, height);
  }
}

/** `text`, cut with an ellipsis so that it is at most `width` wide. */
export function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  const letters = [...text];
  let low = 0;
  let high = letters.length;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (context.measureText(`${letters.slice(0, middle).join("")}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low ? `${letters.slice(0, low).join("")}…` : "";
}

/** Fills the current path with diagonal lines. */
export function hatch(context, x, y, width, height) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = color("hatch");
  context.lineWidth = 1.5;
  context.beginPath();
  for (let at = Math.floor((x - height) / 7) * 7; at < x + width; at += 7) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.stroke();
  context.restore();
}
