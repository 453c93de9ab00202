// The tab Tune: thresholds and durations, decided again on what was seen before they are tried or saved.

import { post } from "./api.js";
import { choice, empty, h, icon, text } from "./dom.js";
import { changed, changesOf, discard, pairOf, setNumber, setPair, setThreshold, valueOf } from "./draft.js";
import { duration, plural } from "./format.js";
import { attempt, save, undo } from "./operate.js";
import { draw, plot, ready, scope, seen, show } from "./plot.js";
import { assignColors, colorOf, now_ms, on, state, writable } from "./state.js";
import { traceOf } from "./trace.js";

const FRESH_MS = 10_000; // the answers that a preview is made of are read again so often
const ORIGINS = {
  default: "default", preset: "preset", bundle: "from the bundle", rules: "rules file", config: "config file",
  option: "command line", page: "saved here", trying: "being tried",
};

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
  if (name in changesOf(scope()) && !scope().trying) return `changed; now ${shown(name, value.value)}`;
  return told(value);
}

const shown = (name, value) => (name === "on" || name === "off" ? `${show(value)}%` : String(value));
const told = ({ origin, where }) => [ORIGINS[origin] ?? origin, where].filter(Boolean).join(": ");

function fromOfPair(part) {
  if (!seen.label) return fromOf(part);
  if (seen.label in (changesOf(scope()).thresholds ?? {})) return "changed for this class";
  const own = scope().values.thresholds[seen.label];
  return own ? `this class's own; ${told(own)}` : `as all classes; ${told(scope().values[part])}`;
}

const threshold = (part, words) => number(`tune-${part}`, words, {
  step: "any", max: 100, unit: "%", read: () => show(pairOf(scope(), seen.label)[part]),
  write: (value) => setThreshold(scope(), seen.label, part, Math.round(value * 10) / 1000), origin: () => fromOfPair(part),
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

const cameraBox = h("select", { id: "tune-camera", onchange: () => { seen.camera = cameraBox.value; seen.label = labelBox.value; refresh(); } });
const labelBox = h("select", { id: "tune-label", onchange: () => { seen.label = labelBox.value; refresh(); } });
const verdict = h("p", { class: "verdict", role: "status" });
const legend = h("ul", { class: "legend plain", "aria-label": "Lines" });
const evidence = h("p", { class: "small muted" });
const holds = h("p", { class: "small muted" });
const general = h("button", { class: "link small", type: "button", onclick: () => setPair(scope(), seen.label, null) }, "As all classes");
const fixed = h("dl", { class: "facts" });
const reason = h("p", { class: "small muted" });
const buttons = {
  discard: h("button", { class: "button", type: "button", onclick: () => discard(scope()) }, "Discard"),
  undo: h("button", { class: "button", type: "button", onclick: undo, title: "Undo last save", "aria-label": "Undo last save" }, icon("undo"), h("span", {}, "Undo last save")),
  attempt: h("button", { class: "button", type: "button", onclick: () => attempt(scope()) }, "Try 10 min"),
  save: h("button", { class: "button main", type: "button", onclick: () => save(scope()) }, "Save…"),
};
const content = h("div", { class: "tune" },
  h("div", { class: "card" },
    h("div", { class: "body stack" },
      h("div", { class: "filters two" },
        h("div", { class: "field" }, h("label", { for: "tune-camera" }, "Camera"), cameraBox),
        h("div", { class: "field" }, h("label", { for: "tune-label" }, "Class"), labelBox)),
      verdict,
      plot,
      legend,
      h("div", { class: "row wrap between" }, evidence, choice("Time span", [[1 / 6, "10 min"], [1, "1 h"], [6, "6 h"]], 1, (chosen) => { seen.hours = Number(chosen); refresh(); })))),
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
  if (seen.camera === null || !state.cameras.some(({ id }) => id === seen.camera)) seen.camera = state.selected;
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
  general.hidden = !seen.label || !pairOf(scope(), seen.label).own;
  draw();
}

function fillSelects() {
  options(cameraBox, state.cameras.map(({ id }) => [id, id]), seen.camera);
  const silent = new Set(["background", "ignored", "held"].flatMap((name) => scope().values[name].value));
  const own = (name) => (pairOf(scope(), name).own ? " (own)" : "");
  options(labelBox, [["", "All classes"], ...state.labels.filter((name) => !silent.has(name)).map((name) => [name, `${name}${own(name)}`])], seen.label);
  seen.label = labelBox.value;
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

let asking = false;
let moved = false;
let asked_ms = 0;

/** The classes whose lines are drawn: the chosen one, or those with most events. */
function drawnLabels() {
  if (seen.label) return [seen.label];
  const counts = new Map(traceOf(seen.camera).best(0, 3).map((index) => [state.labels[index], 0]));
  for (const ghost of seen.preview?.cameras.find((one) => one.camera === seen.camera)?.before ?? []) counts.set(ghost.label, (counts.get(ghost.label) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1]).slice(0, 3).map(([name]) => name);
}

/** Asks for a new preview; one at a time, and once more where something moved meanwhile. */
async function refresh() {
  render();
  if (!ready() || state.tab !== "tune") return;
  moved = true;
  if (asking) return;
  asking = true;
  while (moved) {
    moved = false;
    await ask();
  }
  asking = false;
}

async function ask() {
  asked_ms = Date.now();
  const wanted = { camera: scope().camera, changes: changesOf(scope()), hours: seen.hours, labels: drawnLabels() };
  try {
    const answer = await post("rules/preview", wanted);
    seen.preview = answer;
    assignColors(wanted.labels.map((name) => state.labels.indexOf(name)));
    renderVerdict();
    renderLegend(wanted.labels);
  } catch (error) {
    text(verdict, error.message);
  }
  draw();
}

function renderLegend(labels) {
  legend.replaceChildren(...labels.map((name) => {
    const swatch = h("span", { class: "swatch" });
    swatch.style.background = `var(--series-${colorOf(state.labels.indexOf(name))})`;
    return h("li", { class: "row small" }, swatch, h("span", { class: "clip-text" }, name));
  }));
}

function renderVerdict() {
  const { before, after, lost_up, lost_down, answers, since_utc, took_ms } = seen.preview;
  const lost = lost_up ? `${lost_up} of your thumbs-up would be lost` : "";
  const gone = lost_down ? `${lost_down} of your thumbs-down would go` : "";
  verdict.replaceChildren(
    h("b", { class: "figure", "data-before": before, "data-after": after }, changed(scope()) ? `${before} → ${after} events` : plural(before, "event")),
    lost ? h("span", { class: "pill bad" }, lost) : "",
    gone ? h("span", { class: "pill good" }, gone) : "",
    changed(scope()) ? "" : h("span", { class: "muted small" }, "Move a line to see what would change."));
  text(evidence, answers ? `Decided again on ${plural(answers, "answer")} of the last ${duration((now_ms() - Date.parse(since_utc)) / 1000)} in ${Math.max(1, Math.round(took_ms))} ms.` : "No stored answers yet: the seen.preview fills up while the run goes on.");
}

on("rules draft", refresh);
on("cameras version", render);
on("no rules", render);
on("selected", () => { seen.camera = state.selected; render(); });
on("tab", () => state.tab === "tune" && refresh());
on("event", () => state.tab === "tune" && Date.now() - asked_ms > FRESH_MS && refresh());
on("trace", (id) => state.tab === "tune" && id === seen.camera && draw());
