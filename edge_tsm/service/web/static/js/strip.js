// The probability strip of the selected camera, live.

import { calm, Surface } from "./canvas.js";
import { momentAt, nearest, paintStrip } from "./chart.js";
import { attribute, choice, h, icon, reconcile, text } from "./dom.js";
import { localTime, percent } from "./format.js";
import { keep, kept } from "./kept.js";
import { assignMarks, markSwatch, swatch } from "./marks.js";
import { now_ms, on, scopeOf, selected, state, tell, thresholds } from "./state.js";
import { pins, traceOf } from "./trace.js";

const TOP = 3;
const REDRAW_MS = 100;

const canvas = h("canvas", { class: "strip", role: "img", "aria-label": "Probability of the best classes over time" });
const legend = h("ul", { class: "legend", "aria-label": "Classes; press to keep one in sight" });
const title = h("span", { class: "muted clip-text of-camera" });
const readout = h("p", { class: "small muted readout" });
let span_s = Number(kept("span", 60));
let frozen_ms = null;
let hover_ms = null;
let shown = [];
let view = null;

const surface = new Surface(canvas, (context, width, height) => {
  view = look();
  if (view) paintStrip(context, width, height, view);
});

export const strip = h(
  "article",
  { class: "card", "aria-label": "Probability strip" },
  h("div", { class: "head" }, h("h2", {}, "Probability"), h("div", { class: "grow row" }, title),
    choice("Time span", [[60, "1"], [120, "2"], [300, "5"], [600, "10 min"]], span_s, (chosen) => {
      span_s = chosen;
      keep("span", chosen);
      refresh();
    })),
  h("div", { class: "body stack tight" }, canvas, legend, readout),
);

canvas.addEventListener("pointermove", (event) => { hover_ms = view && momentAt(canvas, event, view); refresh(); });
canvas.addEventListener("pointerleave", () => { hover_ms = null; refresh(); });

/** Classes that the strip of the selected camera shows. */
export const shownClasses = () => shown;

function look() {
  const trace = traceOf(state.selected);
  const to = frozen_ms ?? now_ms();
  const from = to - span_s * 1000;
  const scope = scopeOf(state.selected);
  const early = trace.points.findIndex(({ t }) => t >= from);
  const points = early < 0 ? [] : trace.points.slice(Math.max(0, early - 1));
  return {
    from,
    to,
    end: frozen_ms ? localTime(frozen_ms - state.ahead_ms) : "now",
    hover: hover_ms,
    series: shown.map((index) => ({ index, points: lineOf(points, index) })).reverse(),
    gaps: trace.gaps,
    thresholds: lines(scope),
    lanes: [{ name: "Events", bars: bars(trace, from, to) }],
  };
}

const BREAK_MS = 2500;

/** A class's line: it breaks where the stream did, and where nothing was told of the class for long. */
function lineOf(points, index) {
  const longest_ms = Math.max(BREAK_MS, 3000 * (selected()?.every_s ?? 0));
  const line = [];
  for (const { t, scores } of points) {
    const score = scores.size ? scores.get(index) : null;
    if (score === undefined) continue;
    if (line.length && t - line.at(-1)[0] > longest_ms) line.push([t, null]);
    line.push([t, score]);
  }
  return line;
}

/** The general thresholds, and those of the classes shown that have their own. */
function lines(scope) {
  if (!scope || scope.values.on.value === undefined) return [];
  const general = { on: scope.values.on.value, off: scope.values.off.value, index: null };
  const own = shown.map((index) => ({ index, ...thresholds(scope, state.labels[index]) })).filter((pair) => pair.own);
  return [general, ...own];
}

function bars(trace, from, to) {
  return [...trace.bars.values()]
    .filter(({ start_utc }) => start_utc)
    .map((event) => ({ plain: !shown.includes(event.index), index: event.index, label: event.label, from: Date.parse(event.start_utc), to: event.end_utc ? Date.parse(event.end_utc) : to }))
    .filter((bar) => bar.to >= from && bar.from <= to);
}

/** Chooses the classes again: the best three of what is in sight, and the pinned ones. */
function choose() {
  const trace = traceOf(state.selected);
  const pinned = pins.of(state.selected);
  const best = trace.best((frozen_ms ?? now_ms()) - span_s * 1000, TOP + pinned.length).filter((index) => !pinned.includes(index));
  const before = shown.join();
  shown = [...pinned, ...best.slice(0, TOP)];
  if (shown.join() !== before) tell("watch"); // their scores are wanted in any case
  assignMarks(shown);
  trace.want(shown).catch(() => {});
}

function refresh() {
  if (state.tab !== "live" || document.hidden) return;
  if (state.selected) choose();
  const latest = traceOf(state.selected).points.at(-1)?.scores;
  text(title, state.selected ?? "");
  reconcile(legend, shown, { key: (index) => index, make: entry, update: (element, index) => update(element, index, latest) });
  text(readout, readoutOf(latest));
  surface.draw();
}

function readoutOf(latest) {
  if (hover_ms) return [`At ${localTime(hover_ms - state.ahead_ms)}`, ...eventsAt(hover_ms)].join(" · ");
  if (!latest) return "No answer yet.";
  return state.paused ? "Paused." : "Dashed: on and off. Press a class to keep it in sight.";
}

const eventsAt = (t) => view.lanes[0].bars.filter((bar) => bar.from <= t && t <= bar.to).map((bar) => bar.label);

function entry(index) {
  return h("li", {}, h("button", { type: "button", onclick: () => pins.toggle(state.selected, index) },
    swatch({ wide: true }), h("bdi", { class: "clip-text" }), h("b", {}), icon("pin")));
}

function update(element, index, latest) {
  const [mark, label, value] = element.firstElementChild.children;
  const pinned = pins.of(state.selected).includes(index);
  markSwatch(mark, index);
  text(label, state.labels[index] ?? `class ${index}`);
  const series = hover_ms && view?.series.find((one) => one.index === index);
  const score = series ? nearest(series.points, hover_ms)?.[1] : latest?.get(index);
  text(value, score === null || score === undefined ? "–" : percent(score));
  attribute(element.firstElementChild, "aria-pressed", String(pinned));
  attribute(element.firstElementChild, "title", `${state.labels[index]}${pinned ? " (pinned)" : ""}`);
}

let due = 0;
function tick(time) {
  requestAnimationFrame(tick);
  if (state.tab !== "live" || state.paused || time < due) return;
  due = time + (calm() ? 1000 : REDRAW_MS);
  surface.draw();
}
requestAnimationFrame(tick);

on("paused", () => { frozen_ms = state.paused ? now_ms() : null; refresh(); });
on("selected rules tab cameras", refresh);
on("trace", (id) => id === state.selected && refresh());
on("selected", () => tell("watch"));
