// The probability strip: lines, dashed thresholds, hatched gaps, and bars of events under them.

import { color, fitted, FONT, hatch } from "./canvas.js";
import { dashOf, inkOf, numberOf, paintMark } from "./marks.js";

const LEFT = 46;
const RIGHT = 10;
const TOP = 10;
const AXIS = 22;
const LANE = 26;
const MARKS_APART = 110; // pixels

/** Where the plot of a strip with `lanes` lanes lies in a canvas of that size. */
export function areaOf(width, height, lanes) {
  const bottom = height - AXIS - lanes * LANE;
  return { left: LEFT, right: width - RIGHT, top: TOP, bottom, width: width - LEFT - RIGHT, height: bottom - TOP };
}

/**
 * Paints a strip.
 *
 * `view`: {from, to: ms; series: [{index, dash, points: [[ms, score or null]…]}]; gaps: [{from, to, reason}];
 * thresholds: [{on, off, color}]; lanes: [{name, bars: [{from, to, index, label, faint, plain}]}]; hover: ms or null}
 * A bar is plain where its class has no line: colors are those of the legend.
 */
export function paintStrip(context, width, height, view) {
  const area = areaOf(width, height, view.lanes.length);
  const x = (t) => area.left + ((t - view.from) / (view.to - view.from)) * area.width;
  const y = (score) => area.bottom - score * area.height;
  context.lineJoin = "round";
  paintGround(context, area, y, view, x);
  context.save();
  context.beginPath();
  context.rect(area.left, 0, area.width + RIGHT / 2, height); // with the marks of the newest points
  context.clip();
  for (const gap of view.gaps) paintGap(context, area, gap, view, x);
  for (const pair of view.thresholds) paintThresholds(context, area, y, pair);
  for (const series of view.series) paintLine(context, series, x, y);
  for (const series of view.series) if (!series.faint) paintMarks(context, area, series, view, { x, y });
  context.restore();
  view.lanes.forEach((lane, row) => paintLane(context, area, lane, area.bottom + AXIS + row * LANE, x));
  if (view.hover) paintHover(context, area, x(view.hover), view, y);
}

function paintGround(context, area, y, view, x) {
  context.font = `500 11px ${FONT}`;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.lineWidth = 1;
  for (const share of [0, 0.5, 1]) {
    context.strokeStyle = color("line");
    context.beginPath();
    context.moveTo(area.left, Math.round(y(share)) + 0.5);
    context.lineTo(area.right, Math.round(y(share)) + 0.5);
    context.stroke();
    context.fillStyle = color("muted");
    context.fillText(`${share * 100}%`, area.left - 8, y(share));
  }
  context.textBaseline = "top";
  const seconds = (view.to - view.from) / 1000;
  const step = [10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].find((one) => seconds / one <= Math.max(2, area.width / 84)) ?? 14400;
  for (let back = 0; back <= seconds; back += step) {
    const at = x(view.to - back * 1000);
    if (at < area.left + 12) break;
    context.textAlign = back ? "center" : "right";
    context.fillText(back ? ago(back) : view.end ?? "now", back ? at : area.right, area.bottom + 6);
  }
}

function ago(seconds) {
  if (seconds < 120 && seconds % 60) return `−${seconds} s`;
  if (seconds < 7200 && seconds % 3600) return `−${seconds / 60} min`;
  return `−${seconds / 3600} h`;
}

function paintGap(context, area, { from, to, reason }, view, x) {
  const [left, right] = [Math.max(area.left, x(from)), Math.min(area.right, x(to ?? view.to))];
  if (right <= left) return;
  hatch(context, left, area.top, right - left, area.height);
  context.font = `600 11px ${FONT}`;
  const wide = context.measureText(reason).width + 12;
  if (wide > right - left) return;
  context.fillStyle = color("surface");
  context.beginPath();
  context.roundRect((left + right - wide) / 2, area.top + area.height / 2 - 9, wide, 18, 6);
  context.fill();
  context.fillStyle = color("muted");
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(reason, (left + right) / 2, area.top + area.height / 2 + 1);
}

function paintThresholds(context, area, y, { on, off, index }) {
  const ink = color(index === null ? "line-strong" : inkOf(index));
  for (const [value, word, dash] of [[on, "on", [7, 4]], [off, "off", [2, 4]]]) {
    const at = Math.round(y(value)) + 0.5;
    context.strokeStyle = ink;
    context.lineWidth = 1.25;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(area.left, at);
    context.lineTo(area.right, at);
    context.stroke();
    context.setLineDash([]);
    if (index !== null || (on - off) * area.height < 14) continue;
    context.font = `600 10.5px ${FONT}`;
    context.textAlign = "left";
    context.textBaseline = word === "on" ? "bottom" : "top";
    context.fillStyle = color("muted");
    context.fillText(word, area.left + 4, at + (word === "on" ? -2 : 3));
  }
}

function paintLine(context, { index, points, dash, faint }, x, y) {
  context.strokeStyle = color(inkOf(index));
  context.globalAlpha = faint ? 0.45 : 1;
  context.lineWidth = faint ? 1.5 : 2;
  context.setLineDash(dash ?? dashOf(index));
  context.beginPath();
  let drawing = false;
  for (const [t, score] of points) {
    if (score === null || score === undefined) drawing = false;
    else if (drawing) context.lineTo(x(t), y(score));
    else {
      context.moveTo(x(t), y(score));
      drawing = true;
    }
  }
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
}

/** Paints the shape of a line's class at its end, and at the highest point of each stretch of it. */
function paintMarks(context, area, { index, points }, view, { x, y }) {
  const stretch_ms = ((view.to - view.from) / area.width) * MARKS_APART;
  const highest = new Map(); // stretches stand still in time, so that marks move with their line
  let last = null;
  for (const [t, score] of points) {
    if (score === null || score === undefined || t < view.from) continue;
    const stretch = Math.floor(t / stretch_ms + numberOf(index) / 8); // else those at 0 cover each other
    if (score > (highest.get(stretch)?.[1] ?? -1)) highest.set(stretch, [t, score]);
    last = [t, score];
  }
  const looks = { radius: 3.75, ink: color(inkOf(index)), ground: color("surface") };
  for (const [t, score] of new Set([...highest.values(), last ?? []])) if (t) paintMark(context, index, { x: x(t), y: y(score), ...looks });
}

function paintLane(context, area, { name, bars }, top, x) {
  context.font = `500 11px ${FONT}`;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillStyle = color("muted");
  context.fillText(name, area.left - 8, top + LANE / 2 - 1);
  context.fillStyle = color("sunken");
  context.beginPath();
  context.roundRect(area.left, top, area.width, LANE - 6, 5);
  context.fill();
  context.save();
  context.beginPath();
  context.roundRect(area.left, top, area.width, LANE - 6, 5);
  context.clip();
  for (const bar of bars) paintBar(context, bar, top, x, area);
  context.restore();
}

function paintBar(context, { from, to, index, label, faint, plain }, top, x, area) {
  const left = Math.max(area.left, x(from));
  const wide = Math.max(3, Math.min(area.right, x(to)) - left);
  const ink = color(plain ? "line-strong" : inkOf(index));
  context.globalAlpha = faint ? 0.28 : 1;
  context.fillStyle = ink;
  context.beginPath();
  context.roundRect(left, top + 2, wide, LANE - 10, 4);
  context.fill();
  context.globalAlpha = 1;
  if (faint) {
    context.strokeStyle = ink;
    context.lineWidth = 1.25;
    context.setLineDash([3, 2]);
    context.stroke();
    context.setLineDash([]);
  }
  context.font = `600 10.5px ${FONT}`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillStyle = faint ? color("ink") : color("surface");
  if (wide > 30) context.fillText(fitted(context, label, wide - 12), left + 6, top + LANE / 2 - 2);
}

function paintHover(context, area, at, view, y) {
  context.strokeStyle = color("muted");
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(Math.round(at) + 0.5, area.top);
  context.lineTo(Math.round(at) + 0.5, area.bottom);
  context.stroke();
  for (const { index, points } of view.series) {
    const score = nearest(points, view.hover)?.[1];
    if (score === null || score === undefined) continue;
    paintMark(context, index, { x: at, y: y(score), radius: 5, ink: color(inkOf(index)), ground: color("surface") });
  }
}

/** The point [ms, score] that is nearest in time. */
export function nearest(points, t) {
  let best = null;
  for (const point of points) if (best === null || Math.abs(point[0] - t) < Math.abs(best[0] - t)) best = point;
  return best;
}

/** The moment under the pointer, or null where it is not over the plot. */
export function momentAt(canvas, event, view) {
  const box = canvas.getBoundingClientRect();
  const area = areaOf(box.width, box.height, view.lanes.length);
  const share = (event.clientX - box.left - area.left) / area.width;
  return share >= 0 && share <= 1 ? view.from + share * (view.to - view.from) : null;
}
