// The tab Tune: thresholds and durations, decided again on what was seen before they are tried or saved.

import { get, post } from "./api.js";
import { Surface } from "./canvas.js";
import { areaOf, paintStrip } from "./chart.js";
import { openDialog, toast } from "./dialog.js";
import { attribute, choice, empty, h, icon, text } from "./dom.js";
import { changed, changesOf, discard, pairOf, setNumber, setPair, setThreshold, valueOf } from "./draft.js";
import { countdown, duration, plural } from "./format.js";
import { assignColors, colorOf, now_ms, on, scopeOf, state, tell, writable } from "./state.js";
import { traceOf } from "./trace.js";

const LANES = 2;
const TRY_S = 600;
const WAIT_MS = 60;
const ORIGINS = {
  default: "default", preset: "preset", bundle: "from the bundle", rules: "rules file", config: "config file",
  option: "command line", page: "saved here", trying: "being tried",
};

let camera = null; // whose evidence the strip shows
let label = ""; // the class; "" is all without their own
let hours = 1;
let preview = null;
let asked = 0;

const scope = () => scopeOf(camera);

// --- the chart and its two handles ---------------------------------------------------------------

const canvas = h("canvas", { class: "strip tall", role: "img", "aria-label": "Probability, and events before and after the change" });
const surface = new Surface(canvas, (context, width, height) => {
  if (!ready()) return;
  paintStrip(context, width, height, look());
  for (const handle of handles) place(handle, areaOf(width, height, LANES));
});
const ready = () => state.rules && camera && scope();

function look() {
  const to = now_ms();
  const oldest = preview?.since_utc ? Date.parse(preview.since_utc) : 0;
  const from = Math.max(to - hours * 3_600_000, Math.min(oldest, to - 60_000));
  const series = seriesShown(from);
  return { from, to, series, gaps: traceOf(camera).gaps, thresholds: [], hover: null, lanes: [{ name: "Now", bars: ghosts("before", from, to, series) }, { name: "Then", bars: ghosts("after", from, to, series) }] };
}

function seriesShown(from) {
  const scores = preview?.cameras.find((one) => one.camera === camera)?.scores;
  if (!scores) return [];
  const times = scores.utc.map((utc) => Date.parse(utc));
  const line = (name, values, rest) => ({ index: state.labels.indexOf(name), points: times.map((t, i) => [t, values[i]]), ...rest });
  const before = changed(scope()) ? scores.series.map((one) => line(one.label, one.before, { faint: true, dash: [3, 3] })) : [];
  return [...before, ...scores.series.map((one) => line(one.label, one.after)).reverse()].filter(({ points }) => points.at(-1)?.[0] >= from);
}

function ghosts(part, from, to, series) {
  const found = preview?.cameras.find((one) => one.camera === camera)?.[part] ?? [];
  return found.filter(({ start_utc }) => start_utc).filter((ghost) => !label || ghost.label === label).map((ghost) => ({
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
  const value = pairOf(scope(), label)[part];
  element.style.left = `${area.left}px`;
  element.style.width = `${area.width}px`;
  element.style.top = `${area.bottom - value * area.height}px`;
  attribute(element, "aria-valuenow", Math.round(value * 1000) / 10);
  attribute(element, "aria-valuetext", `${part} at ${show(value)}%`);
  text(chip, `${part} ${show(value)}%`);
}

const show = (value) => String(Math.round(value * 1000) / 10);

function byPointer(part, event) {
  const box = canvas.getBoundingClientRect();
  const area = areaOf(box.width, box.height, LANES);
  move(part, (box.top + area.bottom - event.clientY) / area.height);
}

const STEPS = { ArrowUp: 0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowLeft: -0.01, PageUp: 0.1, PageDown: -0.1 };

function byKey(part, event) {
  const value = { Home: 0, End: 1 }[event.key] ?? (STEPS[event.key] ? pairOf(scope(), label)[part] + STEPS[event.key] : null);
  if (value === null) return;
  event.preventDefault();
  move(part, value);
}

function move(part, value) {
  setThreshold(scope(), label, part, Math.round(Math.min(1, Math.max(0, value)) * 100) / 100);
}

// --- the fields ----------------------------------------------------------------------------------

function number(id, words, { step, unit, max = null, read, write, origin }) {
  const input = h("input", { type: "number", id, min: 0, max, step, inputmode: "decimal", "aria-describedby": `${id}-from` });
  const from = h("span", { class: "from", id: `${id}-from` });
  input.addEventListener("change", () => {
    const value = Number(input.value);
    if (input.value !== "" && input.checkValidity()) write(value);
    else render();
  });
  const element = h("div", { class: "field" }, h("label", { for: id }, words), h("div", { class: "unit" }, input, h("span", { class: "muted small" }, unit)), from);
  const update = () => {
    if (document.activeElement !== input || input.value === "") input.value = String(read());
    text(from, origin());
  };
  return { element, update };
}

function fromOf(name) {
  const value = scope().values[name];
  if (name in changesOf(scope())) return `changed; now ${shown(name, value.value)}`;
  return told(value);
}

const shown = (name, value) => (name === "on" || name === "off" ? `${show(value)}%` : String(value));
const told = ({ origin, where }) => [ORIGINS[origin] ?? origin, where].filter(Boolean).join(": ");

function fromOfPair(part) {
  if (!label) return fromOf(part);
  if (label in (changesOf(scope()).thresholds ?? {})) return "changed for this class";
  const own = scope().values.thresholds[label];
  return own ? `this class's own; ${told(own)}` : `as all classes; ${told(scope().values[part])}`;
}

const threshold = (part, words) => number(`tune-${part}`, words, {
  step: "any", max: 100, unit: "%", read: () => show(pairOf(scope(), label)[part]),
  write: (value) => setThreshold(scope(), label, part, Math.round(value * 10) / 1000), origin: () => fromOfPair(part),
});
const seconds = (name, words) => number(`tune-${name}`, words, {
  step: "any", unit: "s", read: () => valueOf(scope(), name), write: (value) => setNumber(scope(), name, value), origin: () => fromOf(name),
});

const fields = {
  on: threshold("on", "Starts at (on)"),
  off: threshold("off", "Ends below (off)"),
  mean_answers: number("tune-mean_answers", "Mean over answers", {
    step: 1, unit: "", read: () => valueOf(scope(), "mean_answers"), write: (value) => setNumber(scope(), "mean_answers", Math.max(1, value)), origin: () => fromOf("mean_answers"),
  }),
  decay_s: seconds("decay_s", "Or exponential mean"),
  min_duration_s: seconds("min_duration_s", "Shortest action"),
  cool_down_s: seconds("cool_down_s", "Cool-down"),
};

// --- the page ------------------------------------------------------------------------------------

const cameraBox = h("select", { id: "tune-camera", onchange: () => { camera = cameraBox.value; label = labelBox.value; refresh(); } });
const labelBox = h("select", { id: "tune-label", onchange: () => { label = labelBox.value; refresh(); } });
const verdict = h("p", { class: "verdict", role: "status" });
const legend = h("ul", { class: "legend plain", "aria-label": "Lines" });
const evidence = h("p", { class: "small muted" });
const holds = h("p", { class: "small muted" });
const general = h("button", { class: "link small", type: "button", onclick: () => setPair(scope(), label, null) }, "As all classes");
const fixed = h("dl", { class: "facts" });
const reason = h("p", { class: "small muted" });
const buttons = {
  discard: h("button", { class: "button", type: "button", onclick: () => discard(scope()) }, "Discard"),
  undo: h("button", { class: "button", type: "button", onclick: undo, title: "Undo last save", "aria-label": "Undo last save" }, icon("undo"), h("span", {}, "Undo last save")),
  attempt: h("button", { class: "button", type: "button", onclick: attempt }, "Try 10 min"),
  save: h("button", { class: "button main", type: "button", onclick: save }, "Save…"),
};
const content = h("div", { class: "tune" },
  h("div", { class: "card" },
    h("div", { class: "body stack" },
      h("div", { class: "filters two" },
        h("div", { class: "field" }, h("label", { for: "tune-camera" }, "Camera"), cameraBox),
        h("div", { class: "field" }, h("label", { for: "tune-label" }, "Class"), labelBox)),
      verdict,
      h("div", { class: "plot" }, canvas, ...handles.map(({ element }) => element)),
      legend,
      h("div", { class: "row wrap between" }, evidence, choice("Time span", [[1 / 6, "10 min"], [1, "1 h"], [6, "6 h"]], 1, (chosen) => { hours = Number(chosen); refresh(); })))),
  h("div", { class: "stack" },
    h("section", { class: "card", "aria-label": "Thresholds" }, h("div", { class: "head" }, h("h2", { class: "grow" }, "Thresholds"), general),
      h("div", { class: "body filters two" }, fields.on.element, fields.off.element)),
    h("section", { class: "card", "aria-label": "Smoothing" }, h("div", { class: "head" }, h("h2", {}, "Smoothing")),
      h("div", { class: "body filters two" }, fields.mean_answers.element, fields.decay_s.element)),
    h("section", { class: "card", "aria-label": "Durations" }, h("div", { class: "head" }, h("h2", {}, "Durations")),
      h("div", { class: "body filters two" }, fields.min_duration_s.element, fields.cool_down_s.element)),
    h("details", { class: "card" }, h("summary", {}, "Also in force"), h("div", { class: "body" }, fixed)),
    holds, reason),
  h("div", { class: "card actions-bar" }, buttons.undo, h("span", { class: "grow" }), buttons.discard, buttons.attempt, buttons.save));
const nothing = empty("tune", "No rules to tune", "Start the run with --actions or --rules: then its answers become events, and this page tunes them.");

export function build(panel) {
  panel.append(nothing, content);
  render();
}

function render() {
  if (camera === null || !state.cameras.some(({ id }) => id === camera)) camera = state.selected;
  const usable = Boolean(ready());
  nothing.hidden = usable;
  content.hidden = !usable;
  if (!usable) return;
  fillSelects();
  for (const field of Object.values(fields)) field.update();
  renderFixed();
  renderButtons();
  const others = scope().cameras;
  text(holds, scope().camera === null ? `These rules hold for: ${others.join(", ")}.` : `These rules are ${scope().camera}'s own.`);
  general.hidden = !label || !pairOf(scope(), label).own;
  surface.draw();
}

function fillSelects() {
  options(cameraBox, state.cameras.map(({ id }) => [id, id]), camera);
  const silent = new Set(["background", "ignored", "held"].flatMap((name) => scope().values[name].value));
  const own = (name) => (pairOf(scope(), name).own ? " (own)" : "");
  options(labelBox, [["", "All classes"], ...state.labels.filter((name) => !silent.has(name)).map((name) => [name, `${name}${own(name)}`])], label);
  label = labelBox.value;
}

function options(box, pairs, chosen) {
  const key = JSON.stringify(pairs);
  if (box.dataset.options !== key) box.replaceChildren(...pairs.map(([value, words]) => h("option", { value }, words)));
  box.dataset.options = key;
  box.value = chosen;
  if (box.selectedIndex < 0) box.selectedIndex = 0;
}

const FIXED = { background: "Mean nothing", ignored: "Left out", held: "Change nothing", settle_answers: "Settle, answers", gap_s: "Fresh start after, s" };

function renderFixed() {
  fixed.replaceChildren(...Object.entries(FIXED).flatMap(([name, words]) => {
    const { value, ...rest } = scope().values[name];
    const list = Array.isArray(value) ? value.join(", ") || "none" : String(value);
    return [h("dt", {}, words), h("dd", {}, list, h("span", { class: "from" }, told(rest)))];
  }));
}

function renderButtons() {
  const { target, history } = state.rules;
  const some = changed(scope());
  buttons.discard.disabled = !some;
  buttons.attempt.disabled = !some || !writable();
  buttons.save.disabled = !some || !writable() || !target.writable;
  buttons.undo.disabled = !history || !writable();
  text(reason, writable() ? (target.writable ? `Save writes to ${target.file}.` : `Cannot be saved: ${target.reason}`) : "Read only: nothing can be tried or saved here.");
}

// --- what it would have changed ------------------------------------------------------------------

let waiting = null;

/** The classes whose lines are drawn: the chosen one, or those with most events. */
function drawnLabels() {
  if (label) return [label];
  const counts = new Map(traceOf(camera).best(0, 3).map((index) => [state.labels[index], 0]));
  for (const ghost of preview?.cameras.find((one) => one.camera === camera)?.before ?? []) counts.set(ghost.label, (counts.get(ghost.label) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1]).slice(0, 3).map(([name]) => name);
}

/** Asks for a new preview, at most one at a time; the newest wins. */
function refresh() {
  render();
  if (!ready() || state.tab !== "tune") return;
  clearTimeout(waiting);
  waiting = setTimeout(ask, WAIT_MS);
}

async function ask() {
  const number = (asked += 1);
  const wanted = { camera: scope().camera, changes: changesOf(scope()), hours, labels: drawnLabels() };
  try {
    const answer = await post("rules/preview", wanted);
    if (number !== asked) return;
    preview = answer;
    assignColors(wanted.labels.map((name) => state.labels.indexOf(name)));
    renderVerdict();
    renderLegend(wanted.labels);
  } catch (error) {
    if (number === asked) text(verdict, error.message);
  }
  surface.draw();
}

function renderLegend(labels) {
  legend.replaceChildren(...labels.map((name) => {
    const swatch = h("span", { class: "swatch" });
    swatch.style.background = `var(--series-${colorOf(state.labels.indexOf(name))})`;
    return h("li", { class: "row small" }, swatch, h("span", { class: "clip-text" }, name));
  }));
}

function renderVerdict() {
  const { before, after, lost_up, lost_down, answers, since_utc, took_ms } = preview;
  const lost = lost_up ? `${plural(lost_up, "event")} with your thumb up would be lost` : "";
  const gone = lost_down ? `${lost_down} with your thumb down would go` : "";
  verdict.replaceChildren(
    h("b", { class: "figure", "data-before": before, "data-after": after }, changed(scope()) ? `${before} → ${after} events` : plural(before, "event")),
    lost ? h("span", { class: "pill bad" }, lost) : "",
    gone ? h("span", { class: "pill good" }, gone) : "",
    changed(scope()) ? "" : h("span", { class: "muted small" }, "Move a line to see what would change."));
  text(evidence, answers ? `Decided again on ${plural(answers, "answer")} of the last ${duration((now_ms() - Date.parse(since_utc)) / 1000)} in ${Math.max(1, Math.round(took_ms))} ms.` : "No stored answers yet: the preview fills up while the run goes on.");
}

// --- try, save, undo -----------------------------------------------------------------------------

async function attempt() {
  await guarded(async () => {
    take(await post("rules/try", { camera: scope().camera, changes: changesOf(scope()), seconds: TRY_S }));
    toast("Being tried for ten minutes; then the rules are as before.");
  });
}

/** Ends a try. */
export const revert = () => guarded(async () => take(await post("rules/revert")));

/** Shows the difference, then writes it. */
export async function save() {
  const wanted = { camera: scope().camera, changes: changesOf(scope()) };
  await guarded(async () => {
    const plan = await post("rules/save", { ...wanted, dry_run: true });
    if (!(await confirmDiff("Save these rules?", plan, "Save"))) return;
    const done = await post("rules/save", wanted);
    discard(scope());
    take(done.rules);
    toast(`Saved to ${done.file}.${done.backup ? ` The file before is ${done.backup}.` : ""}`);
  });
}

async function undo() {
  await guarded(async () => {
    const plan = await post("rules/undo", { dry_run: true });
    if (!(await confirmDiff("Undo the last save?", plan, "Undo"))) return;
    const done = await post("rules/undo");
    take(done.rules);
    toast(`Undone in ${done.file}.`);
  });
}

const TONES = { "+": "good", "-": "bad", "@": "muted" };

function confirmDiff(title, { file, diff, overridden }, word) {
  const lines = diff.split("\n").filter((line) => !line.startsWith("---") && !line.startsWith("+++"));
  return openDialog(title, (close) => ({
    body: [
      h("p", { class: "muted small" }, "What changes in ", h("code", {}, file)),
      h("pre", { class: "diff", tabindex: 0, "aria-label": "Difference" }, ...lines.map((line) => h("span", { class: TONES[line[0]] ?? "" }, `${line}\n`))),
      overridden?.length ? h("p", { class: "warn small" }, `An option of the command line goes before the file at the next start: ${overridden.join(", ")}.`) : "",
    ],
    actions: [
      h("button", { class: "button", type: "button", onclick: () => close() }, "Cancel"),
      h("button", { class: "button main", type: "button", autofocus: true, onclick: () => close(true) }, word),
    ],
  }), { wide: true });
}

async function guarded(action) {
  try {
    await action();
  } catch (error) {
    toast(error.message);
  }
}

function take(rules) {
  tell("rules", { rules });
}

/** Loads the rules; a run without decisions has none. */
export async function load() {
  try {
    take(await get("rules"));
  } catch (error) {
    if (error.code !== "not_found" && error.code !== "conflict") throw error;
    state.rules = null;
    render();
  }
}

/** A try that runs: {scope, left_s}, or null. */
export function trying() {
  const found = state.rules?.scopes.find((one) => one.trying);
  return found ? { scope: found, left_s: (found.until_ms - Date.now()) / 1000, left: countdown((found.until_ms - Date.now()) / 1000) } : null;
}

on("rules draft", refresh);
on("cameras version", render);
on("selected", () => { camera = state.selected; render(); });
on("tab", () => state.tab === "tune" && refresh());
on("event", () => state.tab === "tune" && refresh());
on("trace", (id) => state.tab === "tune" && id === camera && surface.draw());
