// The strip of the tab Tune: lines and events by the rules before and after, and two handles to drag.

import { Surface } from "./canvas.js";
import { areaOf, paintStrip } from "./chart.js";
import { attribute, h, text } from "./dom.js";
import { changed, pairOf, setThreshold } from "./draft.js";
import { now_ms, scopeOf, state } from "./state.js";
import { traceOf } from "./trace.js";

const LANES = 2;

/**
 * What is looked at: a camera, a class ("": all without their own), the last hours, and the answer.
 *
 * `alone`: what is changed is to hold for this camera only, though it has no rules of its own yet.
 */
export const seen = { camera: null, label: "", hours: 1, preview: null, alone: false };

/** The rules that hold for the camera, and the cameras that a change would hold for. */
export function scope() {
  const found = scopeOf(seen.camera);
  if (!seen.alone || found?.camera !== null) return found;
  return { ...found, camera: seen.camera, cameras: [seen.camera] };
}

const canvas = h("canvas", { class: "strip tall", role: "img", "aria-label": "Probability, and events before and after the change" });
const surface = new Surface(canvas, (context, width, height) => {
  if (!ready()) return;
  paintStrip(context, width, height, look());
  for (const handle of handles) place(handle, areaOf(width, height, LANES));
});

/** Whether there are rules of a camera to show. */
export const ready = () => state.rules && seen.camera && scope();

function look() {
  const to = now_ms();
  const oldest = seen.preview?.since_utc ? Date.parse(seen.preview.since_utc) : 0;
  const from = Math.max(to - seen.hours * 3_600_000, Math.min(oldest, to - 60_000));
  const series = seriesShown(from);
  const lanes = [["Now", "before"], ["Then", "after"]].map(([name, part]) => ({ name, bars: ghosts(part, from, to, series) }));
  return { from, to, series, lanes, gaps: traceOf(seen.camera).gaps, thresholds: [], hover: null };
}

function seriesShown(from) {
  const scores = seen.preview?.cameras.find((one) => one.camera === seen.camera)?.scores;
  if (!scores) return [];
  const times = scores.utc.map((utc) => Date.parse(utc));
  const line = (name, values, rest) => ({ index: state.labels.indexOf(name), points: times.map((t, i) => [t, values[i]]), ...rest });
  const before = changed(scope()) ? scores.series.map((one) => line(one.label, one.before, { faint: true, dash: [3, 3] })) : [];
  return [...before, ...scores.series.map((one) => line(one.label, one.after)).reverse()].filter(({ points }) => points.at(-1)?.[0] >= from);
}

function ghosts(part, from, to, series) {
  const found = seen.preview?.cameras.find((one) => one.camera === seen.camera)?.[part] ?? [];
  return found.filter(({ start_utc }) => start_utc).filter((ghost) => !seen.label || ghost.label === seen.label).map((ghost) => ({
    index: ghost.index, label: ghost.label, faint: part === "after", plain: !series.some(({ index }) => index === ghost.index),
    from: Date.parse(ghost.start_utc), to: ghost.end_utc ? Date.parse(ghost.end_utc) : to,
  })).filter((bar) => bar.to >= from);
}

const handles = ["on", "off"].map((part) => {
  const chip = h("span", { class: "chip" });
  const element = h("div", { class: `handle ${part}`, role: "slider", tabindex: 0, "aria-orientation": "vertical", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": `Threshold ${part}` }, chip);
  element.addEventListener("keydown", (event) => byKey(part, event));
  element.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    element.focus();
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => element.hasPointerCapture(event.pointerId) && byPointer(part, event));
  return { part, element, chip };
});

function place({ part, element, chip }, area) {
  const value = pairOf(scope(), seen.label)[part];
  element.style.left = `${area.left}px`;
  element.style.width = `${area.width}px`;
  element.style.top = `${area.bottom - value * area.height}px`;
  attribute(element, "aria-valuenow", Math.round(value * 1000) / 10);
  attribute(element, "aria-valuetext", `${part} at ${show(value)}%`);
  text(chip, `${part} ${show(value)}%`);
}

/** A share as a percentage with a decimal where it has one. */
export const show = (value) => String(Math.round(value * 1000) / 10);

function byPointer(part, event) {
  const box = canvas.getBoundingClientRect();
  const area = areaOf(box.width, box.height, LANES);
  move(part, (box.top + area.bottom - event.clientY) / area.height);
}

const STEPS = { ArrowUp: 0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowLeft: -0.01, PageUp: 0.1, PageDown: -0.1 };

function byKey(part, event) {
  const value = { Home: 0, End: 1 }[event.key] ?? (STEPS[event.key] ? pairOf(scope(), seen.label)[part] + STEPS[event.key] : null);
  if (value === null) return;
  event.preventDefault();
  move(part, value);
}

function move(part, value) {
  setThreshold(scope(), seen.label, part, Math.round(Math.min(1, Math.max(0, value)) * 100) / 100);
}

export const plot = h("div", { class: "plot" }, canvas, ...handles.map(({ element }) => element));

export const draw = () => surface.draw();
